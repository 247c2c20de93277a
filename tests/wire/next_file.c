/*
 * next_file.c - preloaded into the proxy by test_lua_reload.py: when a file was
 * opened and there is one of the same name with ".next" behind it, that one
 * takes its place. So the one who opens it next finds another.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>

typedef int open_fn(const char *, int, ...);

static int open_and_replace(const char *real_name, const char *path, int flags, mode_t mode)
{
	open_fn *real = (open_fn *)dlsym(RTLD_NEXT, real_name);
	const int fd = real(path, flags, mode);
	const int error = errno;
	char next[PATH_MAX];

	if (fd >= 0 && snprintf(next, sizeof(next), "%s.next", path) < (int)sizeof(next))
		(void)rename(next, path);
	errno = error;
	return fd;
}

#define DEFINE_OPEN(name)                                                                                              \
	int name(const char *path, int flags, ...)                                                                     \
	{                                                                                                              \
		va_list args;                                                                                          \
		mode_t mode;                                                                                           \
                                                                                                                       \
		va_start(args, flags);                                                                                 \
		mode = (flags & O_CREAT) || (flags & O_TMPFILE) == O_TMPFILE ? va_arg(args, mode_t) : 0;               \
		va_end(args);                                                                                          \
		return open_and_replace(#name, path, flags, mode);                                                     \
	}

#undef open
#undef open64
DEFINE_OPEN(open)
DEFINE_OPEN(open64)
