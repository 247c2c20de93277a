/* setting_number.c - see setting_number.h */
#include "control/setting_number.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/quantity.h"
#include "base/text.h"

static enum quantity quantity_of(const struct setting *s)
{
	switch (s->type) {
	case SETTING_DURATION:
		return QUANTITY_DURATION;
	case SETTING_SHORT_TIME:
		return QUANTITY_SHORT_TIME;
	case SETTING_SIZE:
		return QUANTITY_SIZE;
	default:
		return QUANTITY_COUNT;
	}
}

void number_format(const struct setting *s, enum setting_dialect dialect, int64_t value, char *out, size_t size)
{
	if (dialect == DIALECT_INI)
		quantity_format(quantity_of(s), value, out, size);
	else
		snprintf(out, size, "%" PRId64, s->type == SETTING_SHORT_TIME ? value / 1000 : value);
}

/* NAME_ms is milliseconds also where the setting is kept in microseconds. */
static bool number_read_ini(const struct setting *s, const struct setting_input *in, int64_t *value, char *what,
			    size_t what_size)
{
	if (!in->bare_ms)
		return quantity_read(quantity_of(s), in->text, value, what, what_size);
	if (!quantity_read(QUANTITY_COUNT, in->text, value, what, what_size))
		return false;
	if (s->type == SETTING_SHORT_TIME && __builtin_mul_overflow(*value, 1000, value))
		*value = INT64_MAX;
	return true;
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
