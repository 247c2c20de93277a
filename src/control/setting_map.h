/* setting_map.h - rows of type SETTING_ADDRESS_MAP: addresses, and what stands for each of them. */
#ifndef CONTROL_SETTING_MAP_H
#define CONTROL_SETTING_MAP_H

#include "control/setting.h"

/* As setting_parse(), setting_format() and setting_clear(). A map that has failed to parse is to be cleared, too. */
MUSTCHECK bool address_map_parse(const char *text, struct address_map *map, char *what, size_t what_size);
char *address_map_format(const struct address_map *map);
void address_map_clear(struct address_map *map);

#endif
