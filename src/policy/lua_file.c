/* lua_file.c - see lua_file.h */
#include "policy/lua_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SCRIPT_BYTES_MAX (4 * 1024 * 1024)

char *lua_file_read(const char *path, size_t *size, char *error, size_t error_size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK); /* a pipe is none */
	struct stat st;
	char *text = NULL;
	ssize_t n = 1;

	*size = 0;
	if (fd < 0 || fstat(fd, &st) != 0) {
		(void)snprintf(error, error_size, "%s: %s", path, strerror(errno));
	} else if (!S_ISREG(st.st_mode) || st.st_size > SCRIPT_BYTES_MAX) {
		(void)snprintf(error, error_size, "%s: %s", path,
			       S_ISREG(st.st_mode) ? "a script has at most 4 MiB" : "is not a file");
	} else {
		text = malloc((size_t)st.st_size + 1);
		while (text && n > 0 && *size < (size_t)st.st_size) {
			n = read(fd, text + *size, (size_t)st.st_size - *size);
			*size += n > 0 ? (size_t)n : 0;
		}
		if (!text || n < 0) {
			(void)snprintf(error, error_size, "%s: %s", path, strerror(errno));
			free(text);
			text = NULL;
		}
	}
	if (fd >= 0)
		(void)close(fd);
	return text;
}
