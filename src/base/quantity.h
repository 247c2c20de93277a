/* quantity.h - numbers with a unit, as configurations write them: durations and sizes. */
#ifndef BASE_QUANTITY_H
#define BASE_QUANTITY_H

#include "base/common.h"

enum quantity {
	QUANTITY_COUNT,      /* bare */
	QUANTITY_DURATION,   /* milliseconds: 250ms, 10s, 5m, 1h */
	QUANTITY_SHORT_TIME, /* microseconds: 20us, 5ms, 1s */
	QUANTITY_SIZE,       /* bytes: 1B, 64KiB, 1MiB, 2GiB */
};

/*
 * A whole text with the unit that it must have (0 needs none). What is too large
 * becomes INT64_MAX. False with the reason in `what`.
 */
MUSTCHECK bool quantity_read(enum quantity q, const char *text, int64_t *value, char *what, size_t what_size);

/* With the largest unit that leaves no fraction. */
void quantity_format(enum quantity q, int64_t value, char *out, size_t size);

#endif
