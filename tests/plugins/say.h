/* say.h - lines on standard error, for fixtures that tell what they were called with. */
#ifndef TESTS_PLUGINS_SAY_H
#define TESTS_PLUGINS_SAY_H

#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

/*
 * "FIXTURE INSTANCE: ..." and the end of the line, in one write: the proxy's log goes to the same place from other threads,
 * and a line of it must not come between. What is longer than the buffer is cut.
 */
static inline void __attribute__((format(printf, 3, 4)))
say(const char *fixture, const char *instance, const char *format, ...)
{
	char line[4096];
	size_t room = sizeof(line) - 1;
	va_list args;
	int n = snprintf(line, room, "%s %s: ", fixture, instance);
	size_t length = n < 0 ? 0 : (size_t)n;

	if (length >= room)
		return;
	va_start(args, format);
	n = vsnprintf(line + length, room - length, format, args);
	va_end(args);
	if (n < 0)
		return;
	length = length + (size_t)n < room ? length + (size_t)n : room - 1;
	line[length++] = '\n';
	(void)!write(STDERR_FILENO, line, length);
}

#endif
