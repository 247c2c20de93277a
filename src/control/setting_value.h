/* setting_value.h - texts to values and back, type by type, for the rows of setting.h. */
#ifndef CONTROL_SETTING_VALUE_H
#define CONTROL_SETTING_VALUE_H

#include "control/setting.h"

struct setting_input {
	const char *text;
	const char *place; /* as messages begin, "FILE:12"; NULL: none */
	enum setting_dialect dialect;
	bool quoted;              /* YAML: a quoted scalar is never a number or a boolean */
	bool bare_ms;             /* INI: the key ends in _ms, so the number has no unit */
	char *const *environment; /* for secrets written env:NAME */
};

/*
 * Parses and stores at `member`, which must be zeroed and of the row's width
 * (for rows without a member: union setting_scratch); rows with SETTING_REPEATED
 * add to what it has. False leaves the reason in `what`; a secret's text never
 * gets there.
 */
MUSTCHECK bool setting_parse(const struct setting *s, const struct setting_input *in, void *member, char *what,
			     size_t what_size);

/*
 * ZDM looks at the types of numbers and booleans before it validates anything;
 * this is that look. True for all other types.
 */
MUSTCHECK bool setting_check_type(const struct setting *s, const struct setting_input *in, char *what,
				  size_t what_size);

/* What a text may be, for messages and for the reference: "1 to 65535". */
void setting_allowed(const struct setting *s, enum setting_dialect dialect, char *out, size_t out_size);

/* The value as an INI file would write it, malloc'd; NULL when not set. Secrets give "***". */
char *setting_format(const struct setting *s, const void *member);

/* Frees what the member owns and zeroes it; secrets are overwritten first. */
void setting_clear(const struct setting *s, void *member);

/* Room for a value of any type. */
union setting_scratch {
	int64_t number;
	double real;
	bool flag;
	char *string;
	struct string_list list;
	struct net_range_list ranges;
	struct bucket_list buckets;
	struct level_map levels;
	struct rule_list rules;
};
/* The width to parse with when the row has no member. */
size_t setting_width(const struct setting *s);

/* The value of a variable, NULL when it is not set. */
const char *setting_getenv(char *const *environment, const char *name);

#endif
