/* map_file.h - reads the mapping file (map.h; etc/auth_map.ini is an example of all it may have). */
#ifndef AUTH_MAP_MAP_FILE_H
#define AUTH_MAP_MAP_FILE_H

#include "map.h"

/* Called with what is accepted but should not be so. */
typedef void (*map_warn_fn)(void *arg, const char *text);

/*
 * In main, at start and on a reload. NULL: `error` (MAP_TEXT_MAX bytes) says "FILE:LINE: ..." and what would be allowed,
 * never a password.
 */
struct map *map_file_read(const char *path, char *error, map_warn_fn warn, void *arg);

#endif
