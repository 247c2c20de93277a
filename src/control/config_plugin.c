/* config_plugin.c - see config_plugin.h */
#include "control/config_plugin.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#ifndef PLUGIN_DIR
#error "build with the configure script: it says where plugins are installed"
#endif

#define HIDDEN "***"

const struct setting config_plugin_option = { .section = SECTION_PLUGIN, .key = "option" };
static const struct setting reload_option = { .section = SECTION_PLUGIN, .key = "option", .flags = SETTING_RELOAD };

/* ---- reading ---- */

bool config_plugin_section(const char *section, const char **plugin)
{
	if (strncmp(section, "plugin", 6) != 0 || (section[6] != '.' && !isspace((unsigned char)section[6])))
		return false;
	*plugin = section + 7;
	if (section[6] != '.')
		*plugin += strspn(*plugin, " \t");
	return true;
}

static bool is_name(const char *name)
{
	const char *p = name;

	while (isalnum((unsigned char)*p) || *p == '_' || *p == '-')
		p++;
	return p > name && !*p && p - name <= CONFIG_PLUGIN_NAME_MAX;
}

bool config_plugin_find(struct config *config, const char *name, bool may_add, unsigned *instance)
{
	struct settings *settings = &config->settings;

	for (unsigned i = 0; i < settings->plugin_count; i++) {
		if (strcmp(settings->plugins[i].name, name) == 0) {
			*instance = i;
			return true;
		}
	}
	if (!may_add || !is_name(name) || settings->plugin_count == SETTINGS_MAX_PLUGINS)
		return false;
	settings->plugins[settings->plugin_count].name = xstrdup(name);
	*instance = settings->plugin_count++;
	return true;
}

static void line_clear(struct plugin_line *line)
{
	explicit_bzero(line->value, strlen(line->value));
	free(line->key);
	free(line->value);
	free(line->place);
}

struct plugin_line *config_plugin_add(struct config *config, unsigned instance, const char *key, const char *value,
				      const char *place)
{
	struct plugin_settings *p = &config->settings.plugins[instance];

	p->lines = xrealloc(p->lines, (p->line_count + 1) * sizeof(*p->lines));
	p->lines[p->line_count] = (struct plugin_line){
		.key = xstrdup(key),
		.value = xstrdup(value),
		.place = xstrdup(place),
	};
	return &p->lines[p->line_count++];
}

void config_plugin_override(struct config *config, unsigned instance, const char *key, const char *value)
{
	struct plugin_settings *p = &config->settings.plugins[instance];
	unsigned kept = 0;

	for (unsigned i = 0; i < p->line_count; i++) {
		if (strcmp(p->lines[i].key, key) == 0 && strcmp(p->lines[i].place, "--set") != 0)
			line_clear(&p->lines[i]);
		else
			p->lines[kept++] = p->lines[i];
	}
	p->line_count = kept;
	config_plugin_add(config, instance, key, value, "--set");
}

/* ---- checking ---- */

static bool is_override(const struct config_value *v)
{
	return strcmp(v->place, "--set") == 0;
}

/* Makes the name of the file one that needs no folder to be found. */
static bool find_file(struct config *config, unsigned instance)
{
	const struct setting *s = setting_find(SECTION_PLUGIN, "file", NULL);
	struct plugin_settings *p = &config->settings.plugins[instance];
	const struct config_value *v = config_value_find(config, s, instance);
	const char *dir = config->settings.plugin_dir ? config->settings.plugin_dir : PLUGIN_DIR;
	const char *slash = config->path ? strrchr(config->path, '/') : NULL;
	char *file = NULL;

	if (!v || !p->file)
		return config_fail_setting(config, s, instance,
					   "no file; allowed: the name of a shared object, which is the plugin");
	p->place = xstrdup(v->place);
	if (slash)
		p->folder = slash == config->path ? xstrdup("/")
						  : xstrndup(config->path, (size_t)(slash - config->path));
	if (!strchr(p->file, '/'))
		file = xasprintf("%s/%s", dir, p->file);
	else if (*p->file != '/' && p->folder && !is_override(v))
		file = xasprintf("%s/%s", p->folder, p->file);
	if (file) {
		free(p->file);
		p->file = file;
	}
	return true;
}

bool config_plugin_check(struct config *config)
{
	struct settings *settings = &config->settings;
	char error[1024];

	for (unsigned i = 0; i < settings->plugin_count; i++) {
		if (!find_file(config, i))
			return false;
	}
	if (settings->plugin_count == 0 || !config->request->check_plugins ||
	    config->request->check_plugins(settings->plugins, settings->plugin_count, error, sizeof(error)))
		return true;
	return config_fail(config, "%s", error);
}

/* ---- showing ---- */

/* Nothing that might be a secret. */
static const char *shown(const struct plugin_line *line)
{
	return line->is_known && !line->is_secret ? line->value : HIDDEN;
}

void config_plugin_print(const struct config *config, unsigned instance, FILE *out)
{
	const struct plugin_settings *p = &config->settings.plugins[instance];

	for (unsigned i = 0; i < p->line_count; i++) {
		fprintf(out, "%s = ", p->lines[i].key);
		config_print_value(shown(&p->lines[i]), out);
		fprintf(out, "  ; from %s\n", p->lines[i].place);
	}
}

/* ---- comparing ---- */

/* All that a section says for a key. */
struct value {
	char *text;                     /* for the comparison; NULL: no line */
	char *shown;                    /* for messages */
	const struct plugin_line *line; /* the last */
};

static struct value value_of(const struct plugin_settings *p, const char *key)
{
	struct value value = { NULL, NULL, NULL };

	for (unsigned i = 0; i < p->line_count; i++) {
		const struct plugin_line *line = &p->lines[i];
		char *text = value.text, *more = value.shown;

		if (strcmp(line->key, key) != 0)
			continue;
		value.text = xasprintf("%s%s%s", text ? text : "", text ? "\n" : "", line->value);
		value.shown = xasprintf("%s%s%s", more ? more : "", more ? ", " : "", shown(line));
		value.line = line;
		if (text)
			explicit_bzero(text, strlen(text));
		free(text);
		free(more);
	}
	return value;
}

static void value_clear(struct value *value)
{
	if (value->text)
		explicit_bzero(value->text, strlen(value->text));
	free(value->text);
	free(value->shown);
}

static void compare_key(const struct plugin_settings *before, const struct plugin_settings *after, const char *key,
			void (*differs)(const struct plugin_difference *d, void *arg), void *arg)
{
	struct value a = value_of(before, key), b = value_of(after, key);
	const struct plugin_line *line = b.line ? b.line : a.line;

	if (!a.text || !b.text || strcmp(a.text, b.text) != 0)
		differs(
			&(struct plugin_difference){
				.setting = line->may_reload ? &reload_option : &config_plugin_option,
				.plugin = after->name,
				.key = key,
				.place = line->place,
				.before = a.shown,
				.after = b.shown,
			},
			arg);
	value_clear(&a);
	value_clear(&b);
}

/* Each key once: where it stands first. */
static bool is_first(const struct plugin_settings *p, unsigned line)
{
	for (unsigned i = 0; i < line; i++) {
		if (strcmp(p->lines[i].key, p->lines[line].key) == 0)
			return false;
	}
	return true;
}

static bool has_key(const struct plugin_settings *p, const char *key)
{
	for (unsigned i = 0; i < p->line_count; i++) {
		if (strcmp(p->lines[i].key, key) == 0)
			return true;
	}
	return false;
}

void config_plugin_compare(const struct config *before, const struct config *after,
			   void (*differs)(const struct plugin_difference *d, void *arg), void *arg)
{
	for (unsigned i = 0; i < after->settings.plugin_count; i++) {
		const struct plugin_settings *a = &before->settings.plugins[i], *b = &after->settings.plugins[i];

		for (unsigned k = 0; k < a->line_count; k++) {
			if (is_first(a, k) && !has_key(b, a->lines[k].key))
				compare_key(a, b, a->lines[k].key, differs, arg);
		}
		for (unsigned k = 0; k < b->line_count; k++) {
			if (is_first(b, k))
				compare_key(a, b, b->lines[k].key, differs, arg);
		}
	}
}

void config_plugin_free(struct settings *settings)
{
	for (unsigned i = 0; i < settings->plugin_count; i++) {
		struct plugin_settings *p = &settings->plugins[i];

		for (unsigned k = 0; k < p->line_count; k++)
			line_clear(&p->lines[k]);
		free(p->lines);
		free(p->name);
		free(p->place);
		free(p->folder);
	}
	settings->plugin_count = 0;
}
