/* sink.c - see sink.h */
#include "sink.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

/* A sink that is slow fails and works many times a second. */
#define TOLD_SECONDS 10

void sink_tell(struct sink *s, enum sink_level level, const char *fmt, ...)
{
	char text[1024];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	s->listener.tell(s->listener.arg, level, text);
}

static int64_t now_seconds(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec;
}

void sink_failed(struct sink *s, const char *name, const char *what, int error)
{
	s->counts.errors++;
	if (s->was_told || (s->told_at > 0 && now_seconds() - s->told_at < TOLD_SECONDS))
		return;
	s->was_told = true;
	s->told_at = now_seconds();
	sink_tell(s, SINK_ERROR, error == EMSGSIZE ? "%s: %s: %s" : "%s: %s: %s; it is tried again", name, what,
		  strerror(error));
}

void sink_works(struct sink *s, const char *name)
{
	if (s->was_told)
		sink_tell(s, SINK_INFO, "%s: it can be written again", name);
	s->was_told = false;
}
