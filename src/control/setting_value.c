/*
 * setting_value.c - texts to values and back.
 *
 * The same row is written in three dialects. An INI file has units and plain
 * decimal numbers. ZDM's variables and YAML file follow the rules of the Go
 * libraries that ZDM Proxy reads them with, because a file or an environment
 * that starts ZDM Proxy must start us with the same values, and one that does
 * not must fail here too.
 */
#include "control/setting_value.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/text.h"
#include "control/setting_levels.h"
#include "control/setting_map.h"
#include "control/setting_number.h"
#include "control/setting_rules.h"
#include "cql/version.h"

/* ---- words ---- */

static bool bool_parse(const struct setting_input *in, bool *value, char *what, size_t what_size)
{
	static const char *const env_true[] = { "1", "t", "T", "TRUE", "true", "True", NULL };
	static const char *const env_false[] = { "0", "f", "F", "FALSE", "false", "False", NULL };
	static const char *const yaml_true[] = { "true", "True", "TRUE", "yes", "Yes", "YES",
						 "on",   "On",   "ON",   "y",   "Y",   NULL };
	static const char *const yaml_false[] = { "false", "False", "FALSE", "no", "No", "NO",
						  "off",   "Off",   "OFF",   "n",  "N",  NULL };
	static const char *const ini_true[] = { "true", "yes", "on", NULL };
	static const char *const ini_false[] = { "false", "no", "off", NULL };
	static const struct {
		const char *const *yes, *const *no;
	} spellings[] = {
		[DIALECT_INI] = { ini_true, ini_false },
		[DIALECT_ENV] = { env_true, env_false },
		[DIALECT_YAML] = { yaml_true, yaml_false },
	};
	char shown[TEXT_SHOWN_MAX];
	bool fold = in->dialect == DIALECT_INI;

	*value = text_is_one_of(in->text, spellings[in->dialect].yes, fold);
	if (!in->quoted && (*value || text_is_one_of(in->text, spellings[in->dialect].no, fold)))
		return true;
	snprintf(what, what_size, "\"%s\" is %s", text_show(in->text, shown),
		 in->quoted ? "quoted, so it is not a boolean" : "not a boolean");
	return false;
}

static bool word_parse(const struct setting *s, const struct setting_input *in, void *member, char *what,
		       size_t what_size)
{
	char *text = xstrdup(in->text);
	const char *trimmed = s->flags & SETTING_TRIM ? text_trim(text) : text;
	char shown[TEXT_SHOWN_MAX];
	bool found = false;

	for (const struct setting_word *w = s->words; w->word && !found; w++) {
		if (strcasecmp(w->word, trimmed) != 0)
			continue;
		number_store(member, setting_width(s), w->value);
		found = true;
	}
	if (!found)
		snprintf(what, what_size, "unknown word \"%s\"", text_show(in->text, shown));
	free(text);
	return found;
}

static const char *word_name(const struct setting *s, int64_t value)
{
	for (const struct setting_word *w = s->words; w->word; w++) {
		if (w->value == value)
			return w->word;
	}
	return "?";
}

/* ---- strings ---- */

static bool string_parse(const struct setting *s, const char *text, char **member)
{
	*member = *text || (s->flags & SETTING_EMPTY_OK) ? xstrdup(text) : NULL;
	return true;
}

/* `text` is "env:NAME" or "file:PATH" in our own files; ZDM's formats know literal secrets only. */
static bool secret_parse(const struct setting *s, const struct setting_input *in, char **member, char *what,
			 size_t what_size)
{
	if (in->dialect == DIALECT_INI && strncmp(in->text, "env:", 4) == 0) {
		const char *name = in->text + 4;
		const char *value = setting_getenv(in->environment, name);

		if (!value || !*value) {
			snprintf(what, what_size, "the environment variable %s is %s", name,
				 value ? "empty" : "not set");
			return false;
		}
		*member = xstrdup(value);
		return true;
	}
	if (in->dialect == DIALECT_INI && strncmp(in->text, "file:", 5) == 0) {
		*member = text_read_secret(in->text + 5, what, what_size);
		return *member != NULL;
	}
	return string_parse(s, in->text, member);
}

static bool host_parse(const struct setting *s, const char *text, char **member, char *what, size_t what_size)
{
	char shown[TEXT_SHOWN_MAX];

	if (!*text || ((s->flags & SETTING_EMPTY_OK) && strcmp(text, "*") == 0))
		return string_parse(s, text, member);
	*member = text_host(text);
	if (*member)
		return true;
	if (text_is_host_with_port(text))
		snprintf(what, what_size, "\"%s\" has a port, which has a setting of its own", text_show(text, shown));
	else
		snprintf(what, what_size, "\"%s\" is neither a host name nor an address", text_show(text, shown));
	return false;
}

/* A metric name is [a-zA-Z_:][a-zA-Z0-9_:]*, says Prometheus' data model; the prefix is its start. */
static bool prefix_parse(const struct setting *s, const char *text, char **member, char *what, size_t what_size)
{
	char shown[TEXT_SHOWN_MAX];

	for (const char *p = text; *p; p++) {
		if (*p == '_' || *p == ':' || isalpha((unsigned char)*p) || (p > text && isdigit((unsigned char)*p)))
			continue;
		snprintf(what, what_size, "\"%s\" is not a valid start of a metric name", text_show(text, shown));
		return false;
	}
	return string_parse(s, text, member);
}

/* ---- lists ---- */

static bool strings_parse(const struct setting *s, const struct setting_input *in, struct string_list *list, char *what,
			  size_t what_size)
{
	struct text_items items;
	bool ok = true;

	text_split(&items, in->text, in->dialect != DIALECT_INI);
	for (unsigned i = 0; ok && i < items.count; i++) {
		char *item = NULL;

		if (!*items.item[i]) {
			snprintf(what, what_size, "item %u of the list is empty", i + 1);
			ok = false;
		} else if (s->type == SETTING_HOSTS) {
			ok = host_parse(s, items.item[i], &item, what, what_size);
		} else if (s->type == SETTING_NAMES) {
			item = xstrdup(items.item[i]);
		} else {
			char shown[TEXT_SHOWN_MAX];

			item = text_ip_literal(items.item[i]);
			ok = item != NULL;
			if (!ok)
				snprintf(what, what_size, "\"%s\" is not an IP address",
					 text_show(items.item[i], shown));
		}
		if (ok) {
			list->items = xrealloc(list->items, (list->count + 1) * sizeof(*list->items));
			list->items[list->count++] = item;
		}
	}
	text_items_free(&items);
	return ok;
}

/* One name, whatever is in it. An empty text is none. */
static bool path_parse(const char *text, struct string_list *list)
{
	if (!*text)
		return true;
	list->items = xrealloc(list->items, (list->count + 1) * sizeof(*list->items));
	list->items[list->count++] = xstrdup(text);
	return true;
}

static bool ranges_parse(const struct setting_input *in, struct net_range_list *list, char *what, size_t what_size)
{
	struct text_items items;
	bool ok = true;

	text_split(&items, in->text, false);
	for (unsigned i = 0; ok && i < items.count; i++) {
		struct net_range range;

		if (!*items.item[i]) {
			snprintf(what, what_size, "item %u of the list is empty", i + 1);
			ok = false;
		} else if (net_range_parse(items.item[i], &range, what, what_size)) {
			net_range_list_add(list, &range);
		} else {
			ok = false;
		}
	}
	text_items_free(&items);
	return ok;
}

static bool buckets_parse(const struct setting_input *in, struct bucket_list *list, char *what, size_t what_size)
{
	struct text_items items;
	bool ok = true;
	char shown[TEXT_SHOWN_MAX];

	text_split(&items, in->text, false);
	if (items.count == 0 || items.count > SETTINGS_MAX_BUCKETS) {
		snprintf(what, what_size, items.count ? "%u numbers are too many" : "no numbers", items.count);
		ok = false;
	}
	for (unsigned i = 0; ok && i < items.count; i++) {
		double value;

		if (!text_float(items.item[i], &value) || value < 0) {
			snprintf(what, what_size, "\"%s\" is not a number of milliseconds",
				 text_show(items.item[i], shown));
			ok = false;
		} else if (i > 0 && value <= list->ms[i - 1]) {
			snprintf(what, what_size, "%s does not exceed the number before it",
				 text_show(items.item[i], shown));
			ok = false;
		} else {
			list->ms[list->count++] = value;
		}
	}
	text_items_free(&items);
	return ok;
}

/* ---- protocol versions ---- */

/* 0 for a text that names no version. Lists know more spellings, as with ZDM Proxy. */
static uint8_t version_from_text(const char *text, bool list_spelling)
{
	static const char *const dse1[] = { "DseV1", "Dse_V1", NULL };
	static const char *const dse2[] = { "DseV2", "Dse_V2", NULL };
	static const char *const dse1_plain[] = { "DseV1", NULL };
	static const char *const dse2_plain[] = { "DseV2", NULL };

	if (text_is_one_of(text, list_spelling ? dse1 : dse1_plain, true))
		return VERSION_DSE1;
	if (text_is_one_of(text, list_spelling ? dse2 : dse2_plain, true))
		return VERSION_DSE2;
	if (list_spelling && (*text == 'v' || *text == 'V'))
		text++;
	return *text >= '2' && *text <= '5' && !text[1] ? (uint8_t)(*text - '0') : 0;
}

static bool version_parse(const struct setting *s, const char *text, void *member, char *what, size_t what_size)
{
	const uint8_t version = version_from_text(text, false);
	char shown[TEXT_SHOWN_MAX];

	if (version == 0) {
		snprintf(what, what_size, "unknown protocol version \"%s\"", text_show(text, shown));
		return false;
	}
	number_store(member, setting_width(s), version);
	return true;
}

static bool versions_parse(const char *text, unsigned *bits, char *what, size_t what_size)
{
	struct text_items items;
	bool ok = true;
	char shown[TEXT_SHOWN_MAX];

	text_split(&items, text, false);
	for (unsigned i = 0; ok && i < items.count; i++) {
		uint8_t version;

		if (!*items.item[i])
			continue;
		version = version_from_text(items.item[i], true);
		if (version == 0) {
			snprintf(what, what_size, "unknown protocol version \"%s\"", text_show(items.item[i], shown));
			ok = false;
		} else {
			*bits |= version_bit(version);
		}
	}
	text_items_free(&items);
	return ok;
}

static const char *version_text(uint8_t version)
{
	static const char *const plain[] = { [2] = "2", [3] = "3", [4] = "4", [5] = "5" };

	if (version == VERSION_DSE1)
		return "DseV1";
	return version == VERSION_DSE2 ? "DseV2" : plain[version];
}

/* ---- by type ---- */

size_t setting_width(const struct setting *s)
{
	if (s->width)
		return s->width;
	return s->type == SETTING_BOOL ? sizeof(bool) : sizeof(int64_t);
}

bool setting_parse(const struct setting *s, const struct setting_input *in, void *member, char *what, size_t what_size)
{
	switch (s->type) {
	case SETTING_COUNT:
	case SETTING_DURATION:
	case SETTING_SHORT_TIME:
	case SETTING_SIZE:
		return number_parse(s, in, member, what, what_size);
	case SETTING_FLOAT:
		return number_parse_float(s, in, member, what, what_size);
	case SETTING_BOOL:
		return bool_parse(in, member, what, what_size);
	case SETTING_WORD:
		return word_parse(s, in, member, what, what_size);
	case SETTING_STRING:
	case SETTING_PATH:
		return string_parse(s, in->text, member);
	case SETTING_SECRET:
		return secret_parse(s, in, member, what, what_size);
	case SETTING_HOST:
		return host_parse(s, in->text, member, what, what_size);
	case SETTING_HOSTS:
	case SETTING_ADDRESSES:
	case SETTING_NAMES:
		return strings_parse(s, in, member, what, what_size);
	case SETTING_PATHS:
		return path_parse(in->text, member);
	case SETTING_RANGES:
		return ranges_parse(in, member, what, what_size);
	case SETTING_BUCKETS:
		return buckets_parse(in, member, what, what_size);
	case SETTING_VERSION:
		return version_parse(s, in->text, member, what, what_size);
	case SETTING_VERSIONS:
		return versions_parse(in->text, member, what, what_size);
	case SETTING_PREFIX:
		return prefix_parse(s, in->text, member, what, what_size);
	case SETTING_LEVELS:
		return levels_parse(s, in->text, member, what, what_size);
	case SETTING_ADDRESS_MAP:
		return address_map_parse(in->text, member, what, what_size);
	case SETTING_RULES:
		return rules_parse(in, member, what, what_size);
	}
	return false;
}

bool setting_check_type(const struct setting *s, const struct setting_input *in, char *what, size_t what_size)
{
	int64_t number;
	double real;
	bool flag;
	char shown[TEXT_SHOWN_MAX];

	switch (s->type) {
	case SETTING_COUNT:
	case SETTING_DURATION:
	case SETTING_SHORT_TIME:
	case SETTING_SIZE:
		return number_read(s, in, &number, what, what_size);
	case SETTING_BOOL:
		return bool_parse(in, &flag, what, what_size);
	case SETTING_FLOAT:
		if (!in->quoted && text_float(in->text, &real))
			return true;
		snprintf(what, what_size, "\"%s\" is not a number", text_show(in->text, shown));
		return false;
	default:
		return true;
	}
}

static void words_list(const struct setting *s, char *out, size_t out_size)
{
	size_t used = 0;

	*out = '\0';
	for (const struct setting_word *w = s->words; w->word && used < out_size; w++) {
		if (!w->alias)
			used += (size_t)snprintf(out + used, out_size - used, "%s%s", used ? ", " : "", w->word);
	}
}

void setting_allowed(const struct setting *s, enum setting_dialect dialect, char *out, size_t out_size)
{
	char min[32], max[32];

	number_format(s, dialect, s->min, min, sizeof(min));
	number_format(s, dialect, s->max, max, sizeof(max));
	switch (s->type) {
	case SETTING_COUNT:
	case SETTING_DURATION:
	case SETTING_SHORT_TIME:
	case SETTING_SIZE:
		snprintf(out, out_size, "%s to %s", min, max);
		break;
	case SETTING_FLOAT:
		snprintf(out, out_size, "%g to %g", (double)s->min / 1000, (double)s->max / 1000);
		break;
	case SETTING_BOOL:
		snprintf(out, out_size, "true, false");
		break;
	case SETTING_WORD:
		words_list(s, out, out_size);
		break;
	case SETTING_STRING:
		snprintf(out, out_size, "text");
		break;
	case SETTING_PATH:
		snprintf(out, out_size, "a file name");
		break;
	case SETTING_PATHS:
		snprintf(out, out_size, "a file name");
		break;
	case SETTING_SECRET:
		snprintf(out, out_size, dialect == DIALECT_INI ? "text, env:NAME, file:PATH" : "text");
		break;
	case SETTING_HOST:
		snprintf(out, out_size, "a host name or IP address");
		break;
	case SETTING_HOSTS:
		snprintf(out, out_size, "host names or IP addresses without ports, separated by commas");
		break;
	case SETTING_ADDRESSES:
		snprintf(out, out_size, "IP addresses, separated by commas");
		break;
	case SETTING_NAMES:
		snprintf(out, out_size, "names, separated by commas");
		break;
	case SETTING_ADDRESS_MAP:
		snprintf(out, out_size, "pairs ADDRESS=ADDRESS or ADDRESS=ADDRESS:PORT, separated by commas");
		break;
	case SETTING_RANGES:
		snprintf(out, out_size, "IP addresses and networks (10.0.0.0/8), separated by commas");
		break;
	case SETTING_BUCKETS:
		snprintf(out, out_size, "1 to %d rising numbers of milliseconds, separated by commas",
			 SETTINGS_MAX_BUCKETS);
		break;
	case SETTING_VERSION:
		snprintf(out, out_size, "2, 3, 4, 5, DseV1, DseV2");
		break;
	case SETTING_VERSIONS:
		snprintf(out, out_size, "2 to 5 (or v2 to v5), DseV1, DseV2, separated by commas");
		break;
	case SETTING_PREFIX:
		snprintf(out, out_size, "letters, digits, _ and :, not beginning with a digit");
		break;
	case SETTING_LEVELS:
		levels_allowed(s, out, out_size);
		break;
	case SETTING_RULES:
		rules_allowed(out, out_size);
		break;
	}
}

static char *list_format(const struct setting *s, const void *member)
{
	const struct string_list *list = member;
	const struct bucket_list *buckets = member;
	bool numbers = s->type == SETTING_BUCKETS;
	unsigned count = numbers ? buckets->count : list->count;
	char *out = NULL;

	for (unsigned i = 0; i < count; i++) {
		char *longer = numbers ? xasprintf("%s%s%.15g", out ? out : "", out ? ", " : "", buckets->ms[i])
				       : xasprintf("%s%s%s", out ? out : "", out ? ", " : "", list->items[i]);

		free(out);
		out = longer;
	}
	return out;
}

static char *ranges_format(const struct net_range_list *list)
{
	char *out = NULL;

	for (unsigned i = 0; i < list->count; i++) {
		char one[NET_RANGE_TEXT_MAX];
		char *longer =
			xasprintf("%s%s%s", out ? out : "", out ? ", " : "", net_range_format(&list->items[i], one));

		free(out);
		out = longer;
	}
	return out;
}

static char *versions_format(unsigned bits)
{
	char out[64];
	size_t used = 0;

	for (uint8_t v = version_set_lowest(bits); v != 0; v = version_set_lowest(bits)) {
		used += (size_t)snprintf(out + used, sizeof(out) - used, "%s%s", used ? ", " : "", version_text(v));
		bits &= ~version_bit(v);
	}
	return used ? xstrdup(out) : NULL;
}

char *setting_format(const struct setting *s, const void *member)
{
	char number[32];

	switch (s->type) {
	case SETTING_COUNT:
	case SETTING_DURATION:
	case SETTING_SHORT_TIME:
	case SETTING_SIZE:
		number_format(s, DIALECT_INI, number_load(member, setting_width(s)), number, sizeof(number));
		return xstrdup(number);
	case SETTING_VERSION:
		return xstrdup(version_text((uint8_t)number_load(member, setting_width(s))));
	case SETTING_FLOAT:
		return xasprintf("%.15g", *(const double *)member);
	case SETTING_BOOL:
		return xstrdup(*(const bool *)member ? "true" : "false");
	case SETTING_WORD:
		return xstrdup(word_name(s, number_load(member, setting_width(s))));
	case SETTING_SECRET:
		return *(char *const *)member ? xstrdup("***") : NULL;
	case SETTING_STRING:
	case SETTING_PATH:
	case SETTING_HOST:
	case SETTING_PREFIX:
		return *(char *const *)member ? xstrdup(*(char *const *)member) : NULL;
	case SETTING_HOSTS:
	case SETTING_ADDRESSES:
	case SETTING_NAMES:
	case SETTING_PATHS:
	case SETTING_BUCKETS:
		return list_format(s, member);
	case SETTING_RANGES:
		return ranges_format(member);
	case SETTING_VERSIONS:
		return versions_format(*(const unsigned *)member);
	case SETTING_LEVELS:
		return levels_format(member);
	case SETTING_ADDRESS_MAP:
		return address_map_format(member);
	case SETTING_RULES:
		return rules_format(member);
	}
	return NULL;
}

void setting_clear(const struct setting *s, void *member)
{
	struct string_list *list = member;
	char **string = member;

	switch (s->type) {
	case SETTING_SECRET:
	case SETTING_STRING:
	case SETTING_PATH:
	case SETTING_HOST:
	case SETTING_PREFIX:
		if (*string && s->type == SETTING_SECRET)
			explicit_bzero(*string, strlen(*string));
		free(*string);
		*string = NULL;
		break;
	case SETTING_HOSTS:
	case SETTING_ADDRESSES:
	case SETTING_NAMES:
	case SETTING_PATHS:
		for (unsigned i = 0; i < list->count; i++)
			free(list->items[i]);
		free(list->items);
		*list = (struct string_list){ NULL, 0 };
		break;
	case SETTING_ADDRESS_MAP:
		address_map_clear(member);
		break;
	case SETTING_RANGES:
		net_range_list_free(member);
		break;
	case SETTING_RULES:
		rules_clear(member);
		break;
	case SETTING_LEVELS:
		*(struct level_map *)member = (struct level_map){ .is_set = false };
		break;
	default:
		memset(member, 0, s->type == SETTING_BUCKETS ? sizeof(struct bucket_list) : setting_width(s));
	}
}

const char *setting_getenv(char *const *environment, const char *name)
{
	size_t len = strlen(name);

	for (char *const *e = environment; e && *e; e++) {
		if (strncmp(*e, name, len) == 0 && (*e)[len] == '=')
			return *e + len + 1;
	}
	return NULL;
}
