/* map_secret.c - see map_secret.h */
#include "map_secret.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

void map_secret_check_mode(int fd, const char *what, map_warn_fn warn, void *arg)
{
	char text[MAP_TEXT_MAX];
	struct stat st;
	const char *can;

	if (fstat(fd, &st) < 0)
		return;
	if (st.st_uid != 0 && st.st_uid != geteuid()) {
		snprintf(text, sizeof(text), "%s belongs to user %u, who may change it: chown it to root or to ours",
			 what, (unsigned)st.st_uid);
		warn(arg, text);
	}
	can = st.st_mode & S_IWOTH ? "change" : st.st_mode & S_IROTH ? "read" : NULL;
	if (!can && st.st_mode & S_IWGRP)
		can = "(of its group) change";
	if (!can)
		return;
	snprintf(text, sizeof(text), "others may %s %s (its mode is %04o): it should be 0600, or 0640", can, what,
		 (unsigned)st.st_mode & 07777u);
	warn(arg, text);
}

static const char *refuse(char *error, const char *what, const char *name, const char *why)
{
	snprintf(error, MAP_TEXT_MAX, "%s%.900s: %s", what, name, why);
	return NULL;
}

static const char *from_environment(struct vault *vault, const char *name, char *error)
{
	const char *value = getenv(name);

	if (!value)
		return refuse(error, "env:", name, "this variable is not set");
	if (!*value)
		return refuse(error, "env:", name, "this variable is empty");
	if (strlen(value) > MAP_SECRET_MAX)
		return refuse(error, "env:", name, "a secret longer than 4096 bytes");
	return vault_copy(vault, value, strlen(value));
}

/* Reads to the end, or until the buffer is full; -1: errno. */
static ssize_t read_all(int fd, char *to, size_t size)
{
	size_t n = 0;

	while (n < size) {
		const ssize_t got = read(fd, to + n, size - n);

		if (got == 0)
			break;
		if (got < 0 && errno != EINTR)
			return -1;
		n += got > 0 ? (size_t)got : 0;
	}
	return (ssize_t)n;
}

static const char *from_file(struct vault *vault, const char *path, char *error, map_warn_fn warn, void *arg)
{
	char *text = vault_alloc(vault, MAP_SECRET_MAX + 2);
	const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	ssize_t n;

	if (fd < 0)
		return refuse(error, "file:", path, strerror(errno));
	n = read_all(fd, text, MAP_SECRET_MAX + 1);
	if (n < 0)
		refuse(error, "file:", path, strerror(errno));
	else
		map_secret_check_mode(fd, path, warn, arg);
	close(fd);
	if (n < 0)
		return NULL;
	if (n > 0 && text[n - 1] == '\n')
		n--;
	if (n > 0 && text[n - 1] == '\r')
		n--;
	text[n] = '\0';
	if (n == 0)
		return refuse(error, "file:", path, "it is empty");
	if (n > MAP_SECRET_MAX)
		return refuse(error, "file:", path, "a secret longer than 4096 bytes");
	if (strpbrk(text, "\r\n") || memchr(text, '\0', (size_t)n))
		return refuse(error, "file:", path, "it has more than one line; allowed: the secret and nothing else");
	return text;
}

const char *map_secret_read(struct vault *vault, const char *text, const char *folder, size_t folder_length,
			    char *error, map_warn_fn warn, void *arg)
{
	char path[4096];
	int n;

	if (!*text)
		return refuse(error, "", "it is empty", "allowed: the secret itself, env:NAME, file:PATH");
	if (strncmp(text, "env:", 4) == 0)
		return from_environment(vault, text + 4, error);
	if (strncmp(text, "file:", 5) != 0)
		return strlen(text) <= MAP_SECRET_MAX ? vault_copy(vault, text, strlen(text))
						      : refuse(error, "", "it", "longer than 4096 bytes");
	n = snprintf(path, sizeof(path), "%.*s%s", text[5] == '/' ? 0 : (int)folder_length, folder, text + 5);
	if (n < 0 || (size_t)n >= sizeof(path))
		return refuse(error, "file:", "...", "the name is too long");
	return from_file(vault, path, error, warn, arg);
}
