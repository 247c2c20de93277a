/* setting_levels.c - see setting_levels.h */
#include "control/setting_levels.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/text.h"
#include "cql/tables.h"

static const char *level_name(unsigned level)
{
	return cql_consistency_name((uint16_t)level);
}

static bool is_serial(unsigned level)
{
	return level == CL_SERIAL || level == CL_LOCAL_SERIAL;
}

/*
 * Whether a level may be named, as what a level becomes (`to`) or as what a
 * request comes with. After a write at ANY no replica need have the data, and
 * a read at ANY does not exist.
 */
static bool may_be(const struct setting *s, unsigned level, bool to)
{
	if (is_serial(level))
		return false;
	return level != CL_ANY || (!to && (s->flags & SETTING_WRITES));
}

/* The level of a name in any letter case; -1 with the reason in `what`. */
static int level_parse(const struct setting *s, const char *name, bool to, char *what, size_t what_size)
{
	char shown[TEXT_SHOWN_MAX];

	for (unsigned level = 0; level < SETTINGS_LEVELS; level++) {
		if (strcasecmp(name, level_name(level)) != 0)
			continue;
		if (may_be(s, level, to))
			return (int)level;
		if (is_serial(level))
			snprintf(what, what_size, "%s stays as it is, and nothing becomes it", level_name(level));
		else
			snprintf(what, what_size, "a %s is not made at ANY",
				 s->flags & SETTING_WRITES ? "write" : "read");
		return -1;
	}
	snprintf(what, what_size, "unknown consistency level \"%s\"", text_show(name, shown));
	return -1;
}

/* One FROM:TO, which is changed. `seen` has a bit for each FROM so far. */
static bool pair_parse(const struct setting *s, char *pair, struct level_map *map, unsigned *seen, char *what,
		       size_t what_size)
{
	char *colon = strchr(pair, ':');
	char shown[TEXT_SHOWN_MAX];
	int from, to;

	if (!colon) {
		snprintf(what, what_size, "\"%s\" is no FROM:TO (a level for all stands alone)",
			 text_show(pair, shown));
		return false;
	}
	*colon = '\0';
	from = level_parse(s, text_trim(pair), false, what, what_size);
	if (from < 0)
		return false;
	to = level_parse(s, text_trim(colon + 1), true, what, what_size);
	if (to < 0)
		return false;
	if (*seen & 1u << from) {
		snprintf(what, what_size, "%s is given twice", level_name((unsigned)from));
		return false;
	}
	*seen |= 1u << from;
	map->to[from] = (uint8_t)to;
	return true;
}

bool levels_parse(const struct setting *s, const char *text, struct level_map *map, char *what, size_t what_size)
{
	struct text_items items;
	unsigned seen = 0;
	bool ok = true;

	text_split(&items, text, false);
	map->is_set = items.count > 0;
	for (unsigned level = 0; level < SETTINGS_LEVELS; level++)
		map->to[level] = (uint8_t)level;
	if (items.count == 1 && !strchr(items.item[0], ':')) {
		int to = level_parse(s, items.item[0], true, what, what_size);

		ok = to >= 0;
		for (unsigned from = 0; ok && from < SETTINGS_LEVELS; from++) {
			if (!is_serial(from))
				map->to[from] = (uint8_t)to;
		}
	} else {
		for (unsigned i = 0; ok && i < items.count; i++)
			ok = pair_parse(s, items.item[i], map, &seen, what, what_size);
	}
	text_items_free(&items);
	return ok;
}

static void list_allowed(const struct setting *s, bool to, char *out, size_t out_size)
{
	size_t used = 0;

	*out = '\0';
	for (unsigned level = 0; level < SETTINGS_LEVELS && used < out_size; level++) {
		if (may_be(s, level, to))
			used += (size_t)snprintf(out + used, out_size - used, "%s%s", used ? ", " : "",
						 level_name(level));
	}
}

void levels_allowed(const struct setting *s, char *out, size_t out_size)
{
	char to[128];

	list_allowed(s, true, to, sizeof(to));
	snprintf(out, out_size, "%s; or a list of FROM:TO of these%s", to,
		 may_be(s, CL_ANY, false) ? ", FROM also ANY" : "");
}

char *levels_format(const struct level_map *map)
{
	const uint8_t all = map->to[CL_ANY];
	bool is_one = all != CL_ANY;
	char *out = NULL;

	if (!map->is_set)
		return NULL;
	for (unsigned from = 0; from < SETTINGS_LEVELS; from++)
		is_one &= is_serial(from) || map->to[from] == all;
	if (is_one)
		return xstrdup(level_name(all));
	for (unsigned from = 0; from < SETTINGS_LEVELS; from++) {
		char *longer;

		if (map->to[from] == from)
			continue;
		longer = xasprintf("%s%s%s:%s", out ? out : "", out ? ", " : "", level_name(from),
				   level_name(map->to[from]));
		free(out);
		out = longer;
	}
	return out;
}
