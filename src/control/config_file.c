/*
 * config_file.c - reads an INI file into the model.
 *
 * inih splits sections, keys and continuation lines. What it would get wrong
 * is caught here, in the reader that feeds it line by line:
 *
 * - it gives no line number to the handler: the reader counts, and since the
 *   handler runs before the next line is read, the count is right;
 * - it cuts lines at the size of its buffer (200 bytes as Debian builds it) and
 *   reads the rest as another line, and cuts names at 50: longer ones are
 *   refused;
 * - it takes " ;" for the start of a comment even in quotes, but not on
 *   continuation lines: the value is cut out of the line by the rules below,
 *   inih's own is not used;
 * - it takes any indented line for a continuation of the key above, even
 *   "  port = 1": continuation is refused for all that is not a list, and so is
 *   the first indented line of a section, for the same look everywhere;
 * - it does not notice junk after "]", nor NUL bytes.
 *
 * A value ends at the end of the line or before a blank and ';'. Text in double
 * quotes is taken as it stands, "" in it being one quote. A '#' after a blank
 * is refused, because some would expect a comment; in a secret, so is ';'.
 */
#include "control/config_file.h"

#include <ctype.h>
#include <errno.h>
#include <ini.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "control/config_lua.h"
#include "control/config_plugin.h"

#define FILE_SIZE_MAX (1 << 20)
/* inih keeps 50 bytes of section and key names, the last one NUL. */
#define NAME_MAX_LEN 48

struct ini_file {
	struct config *config;
	const char *path;
	char *next; /* the unread rest of the text */
	char *end;
	char *line; /* what inih is looking at, NUL-terminated */
	unsigned line_number;
	bool failed;

	bool in_section;
	enum setting_section section;
	unsigned instance;
	char heading[NAME_MAX_LEN + 1];
	struct {
		enum setting_section section;
		unsigned instance;
		unsigned line;
	} seen[64]; /* to find doubles */
	unsigned seen_count;
	const struct setting *key; /* of the line above; NULL at the start of a section */
	bool has_comment;          /* behind the value that was read last */
};

static bool line_fail(struct ini_file *f, const char *fmt, ...) PRINTF_LIKE(2, 3);

static bool line_fail(struct ini_file *f, const char *fmt, ...)
{
	va_list args;
	char *text = NULL;

	va_start(args, fmt);
	if (vasprintf(&text, fmt, args) < 0)
		text = xstrdup(fmt);
	va_end(args);
	config_fail(f->config, "%s:%u: %s", f->path, f->line_number, text);
	free(text);
	f->failed = true;
	return false;
}

/* ---- lines ---- */

static bool is_comment(const char *p)
{
	return *p == ';' || *p == '#';
}

static const char *skip_blanks(const char *p)
{
	return p + strspn(p, " \t");
}

static bool section_open(struct ini_file *f, const char *name)
{
	struct config *config = f->config;
	const bool has_dot = strncmp(name, "plugin.", 7) == 0; /* --set says it so */
	const char *plugin;

	if (config->settings.listener_count == SETTINGS_MAX_LISTENERS && strncmp(name, "listener", 8) == 0)
		return line_fail(f, "[%s]: one listener too many; allowed: %d", name, SETTINGS_MAX_LISTENERS);
	if (config->settings.plugin_count == SETTINGS_MAX_PLUGINS && strncmp(name, "plugin", 6) == 0)
		return line_fail(f, "[%s]: one plugin too many; allowed: %d", name, SETTINGS_MAX_PLUGINS);
	if (has_dot || !config_section_find(config, name, true, &f->section, &f->instance)) {
		if (!has_dot && config_plugin_section(name, &plugin))
			return line_fail(f, "[%s]: no name of a plugin; allowed: letters, digits, _ and -, at most %d",
					 name, CONFIG_PLUGIN_NAME_MAX);
		return line_fail(f, "[%s]: unknown section; allowed: %s", name, CONFIG_SECTIONS);
	}
	/* By what it means: blanks within it make no other section. */
	for (unsigned i = 0; i < f->seen_count; i++) {
		if (f->seen[i].section == f->section && f->seen[i].instance == f->instance)
			return line_fail(f, "[%s]: the section began already in line %u; allowed: each section once",
					 name, f->seen[i].line);
	}
	Assert(f->seen_count < ARRAY_LEN(f->seen));
	f->seen[f->seen_count].section = f->section;
	f->seen[f->seen_count].instance = f->instance;
	f->seen[f->seen_count++].line = f->line_number;
	snprintf(f->heading, sizeof(f->heading), "%s", name);
	f->in_section = true;
	f->key = NULL;
	return true;
}

static bool section_line(struct ini_file *f)
{
	const char *name = f->line + 1;
	const char *close = strchr(name, ']');
	const char *rest;
	char copy[NAME_MAX_LEN + 1];

	if (!close)
		return line_fail(f, "a section heading without ]");
	rest = skip_blanks(close + 1);
	if (*rest && !is_comment(rest))
		return line_fail(f, "something follows the section heading");
	if (close - name > NAME_MAX_LEN)
		return line_fail(f, "a section name longer than %d bytes", NAME_MAX_LEN);
	memcpy(copy, name, (size_t)(close - name));
	copy[close - name] = '\0';
	return section_open(f, copy);
}

/* Of those that go on in indented lines; one that is repeated has a key in each line. */
static bool is_list(const struct setting *s)
{
	return s->type == SETTING_HOSTS || s->type == SETTING_ADDRESSES || s->type == SETTING_BUCKETS ||
	       s->type == SETTING_VERSIONS || s->type == SETTING_NAMES || s->type == SETTING_RANGES ||
	       s->type == SETTING_ADDRESS_MAP;
}

/* "[proxy]", unlike "[::1]", which an item of a list may be. */
static bool looks_like_heading(const char *text)
{
	return *text == '[' && text[strcspn(text, ":]")] == ']';
}

static bool indented_line(struct ini_file *f)
{
	if (looks_like_heading(skip_blanks(f->line)))
		return line_fail(f, "an indented section heading; allowed: headings in the first column");
	if (!f->key)
		return line_fail(f, "an indented line with no key above it; allowed: keys in the first column");
	if (!is_list(f->key))
		return line_fail(f,
				 "[%s] %s: an indented line continues the value above it; allowed: only in lists, "
				 "keys stand in the first column",
				 f->heading, f->key->key);
	return true;
}

static bool key_line(struct ini_file *f)
{
	size_t len = 0;

	while (isalnum((unsigned char)f->line[len]) || f->line[len] == '_' || f->line[len] == '-')
		len++;
	/* The text is not shown: it may be the rest of a secret. */
	if (len == 0 || *skip_blanks(f->line + len) != '=')
		return line_fail(f, "%s%s%sthis line is no \"key = value\"", f->in_section ? "[" : "",
				 f->in_section ? f->heading : "", f->in_section ? "] " : "");
	if (len > NAME_MAX_LEN)
		return line_fail(f, "a key longer than %d bytes", NAME_MAX_LEN);
	if (!f->in_section)
		return line_fail(f, "%.*s: a key before the first section; allowed sections: %s", (int)len, f->line,
				 CONFIG_SECTIONS);
	return true;
}

/* Cuts the next line out of the text. */
static bool line_next(struct ini_file *f, size_t max)
{
	char *newline = memchr(f->next, '\n', (size_t)(f->end - f->next));
	char *end = newline ? newline : f->end;
	size_t len;

	f->line = f->next;
	f->line_number++;
	f->next = newline ? newline + 1 : f->end;
	if (end > f->line && end[-1] == '\r')
		end--;
	len = (size_t)(end - f->line);
	if (memchr(f->line, '\0', len))
		return line_fail(f, "a NUL byte");
	*end = '\0';
	if (len > max)
		return line_fail(f, "a line of %zu bytes; allowed: %zu (lists go on in indented lines)", len, max);
	return true;
}

/* The reader of ini_parse_stream: like fgets(), but looks at the line first. */
static char *read_line(char *to, int size, void *stream)
{
	struct ini_file *f = stream;
	/* ini.h: "must be 3 more than the longest line". */
	size_t max = (size_t)size - 3;
	const char *text;
	bool ok;

	if (f->failed || f->next == f->end || !line_next(f, max))
		return NULL;
	text = skip_blanks(f->line);
	if (!*text || is_comment(text))
		ok = true;
	else if (text > f->line)
		ok = indented_line(f);
	else if (*text == '[')
		ok = section_line(f);
	else
		ok = key_line(f);
	if (!ok)
		return NULL;
	snprintf(to, (size_t)size, "%s\n", f->line);
	return to;
}

/* ---- values ---- */

/* Reads the text in quotes at *p into `to` and leaves *p behind it; false when it does not end. */
static bool quoted_copy(const char **p, char *to)
{
	const char *from = *p + 1;

	for (;; from++) {
		if (!*from)
			return false;
		if (*from == '"' && *++from != '"')
			break;
		*to++ = *from;
	}
	*to = '\0';
	*p = from;
	return true;
}

static bool value_fail(struct ini_file *f, const char *name, const char *what)
{
	return line_fail(f, "[%s] %s: %s", f->heading, name, what);
}

/* Cuts the value out of what follows the '=' (or of a continuation line) into `to`, which is as large. */
static bool value_copy(struct ini_file *f, const struct setting *s, const char *name, const char *p, char *to)
{
	size_t len;

	f->has_comment = false;
	p = skip_blanks(p);
	if (*p == '"') {
		if (!quoted_copy(&p, to))
			return value_fail(
				f, name, "a double quote that is not closed; allowed: \"text\", with \"\" for a quote");
		if (*skip_blanks(p) && !(skip_blanks(p) > p && *skip_blanks(p) == ';'))
			return value_fail(f, name, "something follows the closing quote");
		return true;
	}
	for (len = 0; p[len]; len++) {
		if (!is_comment(p + len) || (len > 0 && !isspace((unsigned char)p[len - 1])))
			continue;
		if (s->type == SETTING_SECRET)
			return value_fail(
				f, name,
				"a ; or # after a blank: end of the secret or part of it? allowed: the secret in "
				"double quotes and comments on lines of their own, env:NAME, file:PATH");
		if (p[len] == '#')
			return value_fail(f, name,
					  "a # after a blank: comment or value? allowed: the value in double quotes, "
					  "comments that begin with ;");
		f->has_comment = true;
		break;
	}
	while (len > 0 && isspace((unsigned char)p[len - 1]))
		len--;
	memcpy(to, p, len);
	to[len] = '\0';
	return true;
}

static bool value_add(struct ini_file *f, const char *name, const char *text)
{
	struct config_value *v;
	bool bare_ms;
	const struct setting *s = setting_find(f->section, name, &bare_ms);
	char keys[1024];
	char *place;

	if (!s)
		return line_fail(f, "[%s] %s: unknown key; allowed: %s", f->heading, name,
				 config_section_keys(f->section, keys, sizeof(keys)));
	v = config_value_find(f->config, s, f->instance);
	if (v && !(s->flags & SETTING_REPEATED))
		return line_fail(f, "[%s] %s: given already at %s; allowed: once", f->heading, name, v->place);
	place = xasprintf("%s:%u", f->path, f->line_number);
	v = config_value_add(f->config, s, f->instance, text, place, DIALECT_INI);
	v->bare_ms = bare_ms;
	free(place);
	f->key = s;
	return true;
}

/* The items of a continuation line join those above; a comma missing in between shows up as one odd item. */
static void value_append(struct ini_file *f, const char *text)
{
	struct config_value *v = config_value_find(f->config, f->key, f->instance);
	char *joined = xasprintf("%s %s", v->text, text);

	free(v->text);
	v->text = joined;
}

/* A key of [lua] that is no setting. */
static bool option_add(struct ini_file *f, const char *name, const char *text)
{
	const struct lua_option *given = config_lua_option(f->config, name);
	char *place;

	if (given)
		return line_fail(f, "[%s] %s: given already at %s; allowed: once", f->heading, name, given->place);
	place = xasprintf("%s:%u", f->path, f->line_number);
	config_lua_set_option(f->config, name, text, place);
	free(place);
	f->key = &config_lua_any_option;
	return true;
}

/* A key of [plugin NAME] that is no setting: the plugin knows whether it may be there, and how often. */
static bool plugin_add(struct ini_file *f, const char *name, const char *text)
{
	char *place = xasprintf("%s:%u", f->path, f->line_number);

	config_plugin_add(f->config, f->instance, name, text, place)->has_comment = f->has_comment;
	free(place);
	f->key = &config_plugin_option;
	return true;
}

static int on_pair(void *user, const char *section, const char *name, const char *value)
{
	struct ini_file *f = user;
	const struct setting *s;
	bool continues = isspace((unsigned char)f->line[0]);
	bool ignored;
	char *text;
	bool ok;

	(void)section;
	/* Only libraries built to report headings and bare names do this; the reader has seen both. */
	if (f->failed || !name || !value)
		return 1;
	s = continues ? f->key : setting_find(f->section, name, &ignored);
	if (!s && f->section == SECTION_LUA)
		s = &config_lua_any_option;
	if (!s && f->section == SECTION_PLUGIN)
		s = &config_plugin_option;
	if (!s)
		return value_add(f, name, "");
	text = xmalloc(strlen(f->line) + 1);
	ok = value_copy(f, s, name, continues ? f->line : strchr(f->line, '=') + 1, text);
	if (ok && continues)
		value_append(f, text);
	else if (ok && s == &config_lua_any_option)
		ok = option_add(f, name, text);
	else if (ok && s == &config_plugin_option)
		ok = plugin_add(f, name, text);
	else if (ok)
		ok = value_add(f, name, text);
	explicit_bzero(text, strlen(f->line) + 1);
	free(text);
	return ok;
}

bool config_file_read(struct config *config, char *text, size_t size)
{
	struct ini_file f = { .config = config, .path = config->request->path, .next = text, .end = text + size };
	int bad_line;

	if (size >= 3 && memcmp(text, "\xEF\xBB\xBF", 3) == 0)
		f.next += 3;
	bad_line = ini_parse_stream(read_line, &f, on_pair, &f);
	if (bad_line && !f.failed)
		return config_fail(config, "%s:%d: this line cannot be understood", f.path, MAX(bad_line, 0));
	return !f.failed;
}

/* ---- the file ---- */

static bool file_read_all(FILE *file, char *text, size_t *size)
{
	setvbuf(file, NULL, _IONBF, 0);
	*size = fread(text, 1, FILE_SIZE_MAX + 1, file);
	return !ferror(file);
}

char *config_file_load(struct config *config, const char *path, size_t *size)
{
	FILE *file = fopen(path, "re");
	char *text;

	if (!file) {
		config_fail(config, "%s: cannot be opened: %s", path, strerror(errno));
		return NULL;
	}
	text = xmalloc(FILE_SIZE_MAX + 2);
	if (!file_read_all(file, text, size)) {
		config_fail(config, "%s: cannot be read: %s", path, strerror(errno));
	} else if (*size > FILE_SIZE_MAX) {
		config_fail(config, "%s: larger than %d bytes", path, FILE_SIZE_MAX);
	} else {
		text[*size] = '\0';
		fclose(file);
		return text;
	}
	fclose(file);
	config_file_unload(text, *size);
	return NULL;
}

void config_file_unload(char *text, size_t size)
{
	explicit_bzero(text, size);
	free(text);
}
