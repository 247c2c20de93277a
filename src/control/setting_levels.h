/*
 * setting_levels.h - rows of type SETTING_LEVELS: one consistency level for
 * all requests, or a list of FROM:TO pairs; what no pair names stays as it is.
 */
#ifndef CONTROL_SETTING_LEVELS_H
#define CONTROL_SETTING_LEVELS_H

#include "control/setting.h"

/* As setting_parse(), setting_allowed() and setting_format(). An empty text leaves the map unset. */
MUSTCHECK bool levels_parse(const struct setting *s, const char *text, struct level_map *map, char *what,
			    size_t what_size);
void levels_allowed(const struct setting *s, char *out, size_t out_size);
char *levels_format(const struct level_map *map);

#endif
