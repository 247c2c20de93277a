/* map_secret.h - passwords and hashes in the mapping file: as they stand, or env:NAME, or file:PATH. */
#ifndef AUTH_MAP_MAP_SECRET_H
#define AUTH_MAP_MAP_SECRET_H

#include "map_file.h"

#define MAP_SECRET_MAX 4096

/* What is wrong with a file that is open: others may read it, or change it. `what` in the text is the file's name. */
void map_secret_check_mode(int fd, const char *what, map_warn_fn warn, void *arg);

/*
 * The secret, in the vault; NULL: `error` says why, without any of it. `folder` is what a relative PATH counts from, up
 * to `folder_length` bytes.
 */
const char *map_secret_read(struct vault *vault, const char *text, const char *folder, size_t folder_length,
			    char *error, map_warn_fn warn, void *arg);

#endif
