/* setting_number.h - rows that are numbers: counts, durations, sizes, and what is kept as one, such as words. */
#ifndef CONTROL_SETTING_NUMBER_H
#define CONTROL_SETTING_NUMBER_H

#include "control/setting_value.h"

/* As setting_parse(), for rows with a unit or without. */
MUSTCHECK bool number_parse(const struct setting *s, const struct setting_input *in, void *member, char *what,
			    size_t what_size);
/* The same for SETTING_FLOAT. */
MUSTCHECK bool number_parse_float(const struct setting *s, const struct setting_input *in, void *member, char *what,
				  size_t what_size);
/* The number that a text is, whatever its range; false with the reason in `what`. */
MUSTCHECK bool number_read(const struct setting *s, const struct setting_input *in, int64_t *value, char *what,
			   size_t what_size);

/* As the dialect writes it: in an INI file with the largest unit that leaves no fraction. */
void number_format(const struct setting *s, enum setting_dialect dialect, int64_t value, char *out, size_t size);

/* A member of 1, 2, 4 or 8 bytes. */
void number_store(void *member, size_t width, int64_t value);
int64_t number_load(const void *member, size_t width);

#endif
