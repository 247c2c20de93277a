/* plugin_option.c - see plugin_option.h */
#include "policy/plugin_option.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/quantity.h"
#include "base/secret.h"
#include "base/text.h"

#define WHAT_MAX 512
#define KNOWN_FLAGS (CQLFERRY_OPTION_REQUIRED | CQLFERRY_OPTION_RELOAD | CQLFERRY_OPTION_REPEATED)

/* Keys of each section that are the proxy's. */
static const char *const reserved[] = { "file", "on_error", "order", NULL };

static const struct {
	const char *name;
	bool is_number; /* has min and max */
	enum quantity quantity;
} types[] = {
	[CQLFERRY_OPTION_TEXT] = { "text", false, QUANTITY_COUNT },
	[CQLFERRY_OPTION_NUMBER] = { "number", true, QUANTITY_COUNT },
	[CQLFERRY_OPTION_BOOL] = { "on or off", false, QUANTITY_COUNT },
	[CQLFERRY_OPTION_DURATION] = { "duration", true, QUANTITY_DURATION },
	[CQLFERRY_OPTION_SIZE] = { "size", true, QUANTITY_SIZE },
	[CQLFERRY_OPTION_CHOICE] = { "choice", false, QUANTITY_COUNT },
	[CQLFERRY_OPTION_PATH] = { "file", false, QUANTITY_COUNT },
	[CQLFERRY_OPTION_SECRET] = { "secret", false, QUANTITY_COUNT },
};

static int64_t max_of(const struct cqlferry_option *o)
{
	return o->min == 0 && o->max == 0 ? INT64_MAX : o->max;
}

/* ---- what is allowed ---- */

/* "a, b or c" of "a b c". */
static void list_choices(const char *choices, char *out, size_t size)
{
	size_t used = 0;

	*out = '\0';
	for (const char *p = choices + strspn(choices, " "); *p && used < size;) {
		const size_t len = strcspn(p, " ");
		const char *next = p + len + strspn(p + len, " ");

		used += (size_t)snprintf(out + used, size - used, "%s%.*s",
					 used == 0 ? ""
					 : *next   ? ", "
						   : " or ",
					 (int)len, p);
		p = next;
	}
}

static void allowed(const struct cqlferry_option *o, char *out, size_t size)
{
	char min[32], max[32];

	if (o->type == CQLFERRY_OPTION_CHOICE) {
		list_choices(o->choices, out, size);
	} else if (o->type == CQLFERRY_OPTION_BOOL) {
		snprintf(out, size, "on, off, true, false, yes or no");
	} else if (o->type == CQLFERRY_OPTION_SECRET) {
		snprintf(out, size, "a secret, env:NAME or file:PATH");
	} else if (types[o->type].is_number) {
		quantity_format(types[o->type].quantity, o->min, min, sizeof(min));
		quantity_format(types[o->type].quantity, max_of(o), max, sizeof(max));
		if (max_of(o) == INT64_MAX)
			snprintf(out, size, "a %s from %s", types[o->type].name, min);
		else
			snprintf(out, size, "a %s from %s to %s", types[o->type].name, min, max);
	} else {
		snprintf(out, size, "a %s", types[o->type].name);
	}
}

/* ---- values ---- */

static bool read_bool(const char *text, int64_t *number)
{
	static const char *const yes[] = { "on", "true", "yes", NULL };
	static const char *const no[] = { "off", "false", "no", NULL };

	*number = text_is_one_of(text, yes, true);
	return *number || text_is_one_of(text, no, true);
}

/* The place of a word among choices; -1: it is none of them. */
static int64_t choice_of(const char *choices, const char *text)
{
	const size_t text_len = strlen(text);
	int64_t n = 0;

	for (const char *p = choices + strspn(choices, " "); *p; n++) {
		const size_t len = strcspn(p, " ");

		if (len == text_len && memcmp(p, text, len) == 0)
			return n;
		p += len;
		p += strspn(p, " ");
	}
	return -1;
}

/* NULL with the reason in `what`, which has nothing of the secret. */
static char *read_secret(const char *text, char *what, size_t what_size)
{
	char *copy, *read;
	const char *value;

	if (strncmp(text, "env:", 4) == 0) {
		value = getenv(text + 4);
		if (value && *value)
			return secret_strdup(value);
		snprintf(what, what_size, "the environment variable %s is %s", text + 4, value ? "empty" : "not set");
		return NULL;
	}
	if (strncmp(text, "file:", 5) != 0)
		return secret_strdup(text);
	read = text_read_secret(text + 5, what, what_size);
	if (!read)
		return NULL;
	copy = secret_strdup(read);
	explicit_bzero(read, strlen(read));
	free(read);
	return copy;
}

/* One value, of which *text is secret_strdup()ed and *number set. False with the reason in `what`. */
static bool read_value(const struct cqlferry_option *o, const char *folder, const char *in, char **text,
		       int64_t *number, char *what, size_t what_size)
{
	char shown[TEXT_SHOWN_MAX];

	*number = 0;
	switch (o->type) {
	case CQLFERRY_OPTION_NUMBER:
	case CQLFERRY_OPTION_DURATION:
	case CQLFERRY_OPTION_SIZE:
		if (!quantity_read(types[o->type].quantity, in, number, what, what_size))
			return false;
		if (*number < o->min || *number > max_of(o)) {
			snprintf(what, what_size, "%s is out of range", text_show(in, shown));
			return false;
		}
		break;
	case CQLFERRY_OPTION_BOOL:
		if (!read_bool(in, number)) {
			snprintf(what, what_size, "\"%s\" is neither", text_show(in, shown));
			return false;
		}
		break;
	case CQLFERRY_OPTION_CHOICE:
		*number = choice_of(o->choices, in);
		if (*number < 0) {
			snprintf(what, what_size, "\"%s\" is none of them", text_show(in, shown));
			return false;
		}
		break;
	case CQLFERRY_OPTION_SECRET:
		*text = read_secret(in, what, what_size);
		return *text != NULL;
	case CQLFERRY_OPTION_PATH:
		if (*in != '/' && folder) {
			char *path = xasprintf("%s/%s", folder, in);

			*text = secret_strdup(path);
			free(path);
			return true;
		}
		break;
	default:
		break;
	}
	*text = secret_strdup(in);
	return true;
}

/* Takes over `text`. */
static void add_value(struct cqlferry_value *value, char *text, int64_t number)
{
	if (value->text) {
		const size_t before = strlen(value->text), more = strlen(text);
		char *joined = secret_alloc(before + more + 2);

		memcpy(joined, value->text, before);
		joined[before] = '\n';
		memcpy(joined + before + 1, text, more + 1);
		secret_free((char *)(uintptr_t)value->text);
		secret_free(text);
		text = joined;
	}
	value->text = text;
	value->number = number;
}

/* ---- lines ---- */

struct reading {
	const struct plugin_file *file;
	const struct plugin_settings *settings;
	struct plugin_values *out;
	char *error;
	size_t error_size;
};

static bool line_fail(const struct reading *r, const struct plugin_line *line, const char *fmt, ...) PRINTF_LIKE(3, 4);

static bool line_fail(const struct reading *r, const struct plugin_line *line, const char *fmt, ...)
{
	const bool is_set = strcmp(line->place, "--set") == 0;
	char what[WHAT_MAX + 256];
	va_list args;

	va_start(args, fmt);
	vsnprintf(what, sizeof(what), fmt, args);
	va_end(args);
	if (is_set)
		snprintf(r->error, r->error_size, "--set plugin.%s.%s: %s", r->settings->name, line->key, what);
	else
		snprintf(r->error, r->error_size, "%s: [plugin %s] %s: %s", line->place, r->settings->name, line->key,
			 what);
	return false;
}

/* The row of a key, by its number; -1: there is none. */
static int row_of(const struct plugin_file *file, const char *key)
{
	for (unsigned i = 0; i < file->plugin.option_count; i++) {
		if (strcmp(file->options[i].name, key) == 0)
			return (int)i;
	}
	return -1;
}

static bool unknown_key(const struct reading *r, const struct plugin_line *line)
{
	char names[WHAT_MAX] = "file, on_error, order";
	size_t used = strlen(names);

	for (unsigned i = 0; i < r->file->plugin.option_count && used < sizeof(names); i++)
		used += (size_t)snprintf(names + used, sizeof(names) - used, ", %s", r->file->options[i].name);
	return line_fail(r, line, "unknown key; allowed: %s", names);
}

/* The last --set of a key counts, where it may not be repeated; in the file there can be only one. */
static bool check_once(const struct reading *r, const struct cqlferry_option *o, const struct plugin_line *line,
		       struct cqlferry_value *value)
{
	if (!value->is_set || (o->flags & CQLFERRY_OPTION_REPEATED))
		return true;
	if (strcmp(line->place, "--set") != 0)
		return line_fail(r, line, "given already at %s; allowed: once", value->place);
	secret_free((char *)(uintptr_t)value->text);
	value->text = NULL;
	return true;
}

static bool read_line(const struct reading *r, const struct plugin_line *line)
{
	const int row = row_of(r->file, line->key);
	const struct cqlferry_option *o;
	struct cqlferry_value *value;
	char what[WHAT_MAX], may[WHAT_MAX];
	char *text = NULL;
	int64_t number;

	if (row < 0)
		return unknown_key(r, line);
	o = &r->file->options[row];
	value = &r->out->items[row];
	if (!check_once(r, o, line, value))
		return false;
	allowed(o, may, sizeof(may));
	if (o->type == CQLFERRY_OPTION_SECRET && line->has_comment)
		return line_fail(r, line,
				 "a ; after a blank: end of the secret or part of it? allowed: the secret in double "
				 "quotes and comments on lines of their own, env:NAME, file:PATH");
	if (!*line->value && o->type != CQLFERRY_OPTION_TEXT)
		return line_fail(r, line, "no value; allowed: %s, or no such line", may);
	if (!read_value(o, strcmp(line->place, "--set") == 0 ? NULL : r->settings->folder, line->value, &text, &number,
			what, sizeof(what)))
		return line_fail(r, line, "%s; allowed: %s", what, may);
	add_value(value, text, number);
	value->place = line->place;
	value->is_set = 1;
	return true;
}

/* What no line says. */
static bool read_default(const struct reading *r, const struct cqlferry_option *o, struct cqlferry_value *value)
{
	char what[WHAT_MAX], may[WHAT_MAX];
	char *text = NULL;
	int64_t number;

	if (value->is_set)
		return true;
	value->place = r->settings->place;
	if (o->flags & CQLFERRY_OPTION_REQUIRED) {
		allowed(o, may, sizeof(may));
		snprintf(r->error, r->error_size, "%s: [plugin %s] %s: not set, but mandatory; allowed: %s",
			 r->settings->place, r->settings->name, o->name, may);
		return false;
	}
	if (!o->initial)
		return true;
	if (!read_value(o, r->settings->folder, o->initial, &text, &number, what, sizeof(what))) {
		snprintf(r->error, r->error_size, "%s: [plugin %s] %s: the plugin's own default: %s",
			 r->settings->place, r->settings->name, o->name, what);
		return false;
	}
	add_value(value, text, number);
	return true;
}

bool plugin_option_read(const struct plugin_file *file, const struct plugin_settings *settings,
			struct plugin_values *out, char *error, size_t error_size)
{
	const struct reading r = { file, settings, out, error, error_size };

	out->count = file->plugin.option_count;
	out->items = xcalloc(MAX(out->count, 1), sizeof(*out->items));
	for (unsigned i = 0; i < settings->line_count; i++) {
		if (!read_line(&r, &settings->lines[i]))
			return false;
	}
	for (unsigned i = 0; i < out->count; i++) {
		if (!read_default(&r, &file->options[i], &out->items[i]))
			return false;
	}
	return true;
}

void plugin_values_free(struct plugin_values *values)
{
	for (unsigned i = 0; i < values->count; i++)
		secret_free((char *)(uintptr_t)values->items[i].text);
	free(values->items);
	*values = (struct plugin_values){ NULL, 0 };
}

void plugin_option_mark(const struct plugin_file *file, struct plugin_settings *settings)
{
	for (unsigned i = 0; i < settings->line_count; i++) {
		struct plugin_line *line = &settings->lines[i];
		const int row = row_of(file, line->key);

		line->is_known = row >= 0;
		line->is_secret = row >= 0 && file->options[row].type == CQLFERRY_OPTION_SECRET;
		line->may_reload = row >= 0 && (file->options[row].flags & CQLFERRY_OPTION_RELOAD);
	}
}

/* ---- rows ---- */

static bool row_fail(const struct plugin_file *file, unsigned row, char *error, size_t error_size, const char *what)
{
	const char *name = file->options[row].name;

	snprintf(error, error_size, "%s: symbol " PLUGIN_SYMBOL ", option %u (%s): %s", file->path, row,
		 name ? name : "without a name", what);
	return false;
}

static const char *row_fault(const struct plugin_file *file, const struct cqlferry_option *o, unsigned row)
{
	if (!o->name || !*o->name || o->name[strspn(o->name, PLUGIN_NAME_BYTES)])
		return "expected a name of letters, digits, _ and -";
	if (text_is_one_of(o->name, reserved, false))
		return "the name is a key of the proxy's";
	if (row_of(file, o->name) != (int)row)
		return "there is another one with this name";
	if (o->type >= ARRAY_LEN(types))
		return "the type is none that this cqlferry knows";
	if (o->flags & ~KNOWN_FLAGS)
		return "a flag is none that this cqlferry knows";
	if (o->type == CQLFERRY_OPTION_CHOICE && (!o->choices || !o->choices[strspn(o->choices, " ")]))
		return "expected choices, found none";
	if ((o->flags & CQLFERRY_OPTION_RELOAD) && !file->plugin.reload)
		return "it may change in a running process, but the plugin has no reload()";
	return NULL;
}

bool plugin_option_check_rows(const struct plugin_file *file, char *error, size_t error_size)
{
	for (unsigned i = 0; i < file->plugin.option_count; i++) {
		const char *fault = row_fault(file, &file->options[i], i);

		if (fault)
			return row_fail(file, i, error, error_size, fault);
	}
	return true;
}

void plugin_option_describe(const struct plugin_file *file, FILE *out)
{
	fputs(file->plugin.option_count ? "options:\n" : "options: none\n", out);
	for (unsigned i = 0; i < file->plugin.option_count; i++) {
		const struct cqlferry_option *o = &file->options[i];
		char may[WHAT_MAX];

		allowed(o, may, sizeof(may));
		fprintf(out, "  %s = %s", o->name, may);
		if (o->flags & CQLFERRY_OPTION_REQUIRED)
			fputs("; mandatory", out);
		else
			fprintf(out, "; default %s", o->initial ? o->initial : "not set");
		fprintf(out, "%s; %s\n", o->flags & CQLFERRY_OPTION_REPEATED ? "; may be repeated" : "",
			o->flags & CQLFERRY_OPTION_RELOAD ? "a reload takes it over" : "a change needs a restart");
		if (o->help && *o->help)
			fprintf(out, "      %s\n", o->help);
	}
}
