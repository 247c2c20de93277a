/* quantity.c - see quantity.h */
#include "base/quantity.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"

struct unit {
	const char *name;
	int64_t factor;
};

/* Largest first, which is the order in which quantity_format() tries them. */
static const struct unit duration_units[] = {
	{ "h", 3600000 }, { "m", 60000 }, { "s", 1000 }, { "ms", 1 }, { NULL, 0 },
};
/* Of microseconds. */
static const struct unit short_units[] = {
	{ "s", 1000000 },
	{ "ms", 1000 },
	{ "us", 1 },
	{ NULL, 0 },
};
static const struct unit size_units[] = {
	{ "GiB", 1 << 30 }, { "MiB", 1 << 20 }, { "KiB", 1 << 10 }, { "B", 1 }, { NULL, 0 },
};

static const struct {
	const struct unit *units; /* NULL: none */
	const char *names;        /* what a number of this kind may end in */
} kinds[] = {
	[QUANTITY_COUNT] = { NULL, "" },
	[QUANTITY_DURATION] = { duration_units, "ms, s, m or h" },
	[QUANTITY_SHORT_TIME] = { short_units, "us, ms or s" },
	[QUANTITY_SIZE] = { size_units, "B, KiB, MiB or GiB" },
};

void quantity_format(enum quantity q, int64_t value, char *out, size_t size)
{
	const struct unit *u = kinds[q].units;

	if (!u || value == 0) {
		snprintf(out, size, "%" PRId64, value);
		return;
	}
	while (u[1].name && value % u->factor != 0)
		u++;
	snprintf(out, size, "%" PRId64 "%s", value / u->factor, u->name);
}

bool quantity_read(enum quantity q, const char *text, int64_t *value, char *what, size_t what_size)
{
	const struct unit *u = kinds[q].units;
	const char *end = NULL;
	char shown[TEXT_SHOWN_MAX];

	if (!text_decimal(text, value, &end)) {
		snprintf(what, what_size, "\"%s\" is not a number", text_show(text, shown));
		return false;
	}
	if (!*end && (!u || *value == 0))
		return true;
	if (!u) {
		snprintf(what, what_size, "\"%s\" is not a bare number", text_show(text, shown));
		return false;
	}
	for (; u->name; u++) {
		if (strcmp(end, u->name) != 0)
			continue;
		if (__builtin_mul_overflow(*value, u->factor, value))
			*value = *value < 0 ? -INT64_MAX : INT64_MAX;
		return true;
	}
	snprintf(what, what_size, "\"%s\" %s unit (%s)", text_show(text, shown), *end ? "has an unknown" : "has no",
		 kinds[q].names);
	return false;
}
