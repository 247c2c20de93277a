/* sink.c - see sink.h */
#include "sink.h"

#include <stdarg.h>
#include <stdio.h>

void sink_tell(struct sink *s, enum sink_level level, const char *fmt, ...)
{
	char text[1024];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	s->listener.tell(s->listener.arg, level, text);
}
