/* setting_number.c - see setting_number.h */
#include "control/setting_number.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "control/setting_text.h"

struct unit {
	const char *name;
	int64_t factor;
};

/* Largest first, which is the order in which setting_format tries them. */
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

static const struct unit *units_of(enum setting_type type)
{
	if (type == SETTING_DURATION)
		return duration_units;
	if (type == SETTING_SHORT_TIME)
		return short_units;
	return type == SETTING_SIZE ? size_units : NULL;
}

void number_format(const struct setting *s, enum setting_dialect dialect, int64_t value, char *out, size_t size)
{
	const struct unit *u = dialect == DIALECT_INI ? units_of(s->type) : NULL;

	if (!u && s->type == SETTING_SHORT_TIME)
		value /= 1000; /* what NAME_ms takes */
	if (!u || value == 0) {
		snprintf(out, size, "%" PRId64, value);
		return;
	}
	while (u[1].name && value % u->factor != 0)
		u++;
	snprintf(out, size, "%" PRId64 "%s", value / u->factor, u->name);
}

/* "ms, s, m, h": what a number of this type may end in. */
static const char *unit_names(enum setting_type type)
{
	if (type == SETTING_SHORT_TIME)
		return "us, ms or s";
	return type == SETTING_DURATION ? "ms, s, m or h" : "B, KiB, MiB or GiB";
}

static bool number_read_ini(const struct setting *s, const struct setting_input *in, int64_t *value, char *what,
			    size_t what_size)
{
	const struct unit *u = in->bare_ms ? NULL : units_of(s->type);
	const char *end = NULL;
	char shown[TEXT_SHOWN_MAX];

	if (!text_decimal(in->text, value, &end)) {
		snprintf(what, what_size, "\"%s\" is not a number", text_show(in->text, shown));
		return false;
	}
	if (!u || (*value == 0 && !*end)) {
		if (!*end && in->bare_ms && s->type == SETTING_SHORT_TIME &&
		    __builtin_mul_overflow(*value, 1000, value))
			*value = INT64_MAX;
		if (!*end)
			return true;
		snprintf(what, what_size, "\"%s\" is not a bare number", text_show(in->text, shown));
		return false;
	}
	for (; u->name; u++) {
		if (strcmp(end, u->name) != 0)
			continue;
		if (__builtin_mul_overflow(*value, u->factor, value))
			*value = *value < 0 ? -INT64_MAX : INT64_MAX;
		return true;
	}
	snprintf(what, what_size, "\"%s\" %s unit (%s)", text_show(in->text, shown), *end ? "has an unknown" : "has no",
		 unit_names(s->type));
	return false;
}

bool number_read(const struct setting *s, const struct setting_input *in, int64_t *value, char *what, size_t what_size)
{
	char shown[TEXT_SHOWN_MAX];

	if (in->dialect == DIALECT_INI)
		return number_read_ini(s, in, value, what, what_size);
	if (in->quoted) {
		snprintf(what, what_size, "\"%s\" is quoted, so it is not a number", text_show(in->text, shown));
		return false;
	}
	if (!text_go_integer(in->text, value)) {
		snprintf(what, what_size, "\"%s\" is not an integer", text_show(in->text, shown));
		return false;
	}
	return true;
}

void number_store(void *member, size_t width, int64_t value)
{
	switch (width) {
	case 1:
		*(uint8_t *)member = (uint8_t)value;
		break;
	case 2:
		*(uint16_t *)member = (uint16_t)value;
		break;
	case 4:
		*(uint32_t *)member = (uint32_t)value;
		break;
	default:
		Assert(width == 8);
		*(uint64_t *)member = (uint64_t)value;
	}
}

int64_t number_load(const void *member, size_t width)
{
	switch (width) {
	case 1:
		return *(const uint8_t *)member;
	case 2:
		return *(const uint16_t *)member;
	case 4:
		return *(const uint32_t *)member;
	default:
		return *(const int64_t *)member;
	}
}

bool number_parse(const struct setting *s, const struct setting_input *in, void *member, char *what, size_t what_size)
{
	int64_t value;
	char shown[TEXT_SHOWN_MAX];
	bool zdm = in->dialect != DIALECT_INI;

	if (!number_read(s, in, &value, what, what_size))
		return false;
	if (zdm && (s->flags & SETTING_ZDM_NEGATIVE) && value < 0)
		value = 0;
	if (zdm && (s->flags & SETTING_ZDM_CLAMP) && value > s->max)
		value = s->max;
	if (value < s->min || value > s->max) {
		snprintf(what, what_size, "%s is out of range", text_show(in->text, shown));
		return false;
	}
	if (value == 0 && s->zero_means)
		value = s->zero_means;
	number_store(member, setting_width(s), value);
	return true;
}

bool number_parse_float(const struct setting *s, const struct setting_input *in, void *member, char *what,
			size_t what_size)
{
	double value;
	char shown[TEXT_SHOWN_MAX];

	if (in->quoted || !text_float(in->text, &value)) {
		snprintf(what, what_size, "\"%s\" is not a number", text_show(in->text, shown));
		return false;
	}
	if (in->dialect != DIALECT_INI && (s->flags & SETTING_ZDM_NEGATIVE) && value < 0)
		value = 0;
	if (value * 1000 < (double)s->min || value * 1000 > (double)s->max) {
		snprintf(what, what_size, "%s is out of range", text_show(in->text, shown));
		return false;
	}
	*(double *)member = value > 0 || !s->zero_means ? value : (double)s->zero_means / 1000;
	return true;
}
