/* config_model.c - texts and where they stand, before anybody knows what they mean. */
#include "control/config_model.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "control/config_plugin.h"

/* Printable names only: they go into messages and metric labels. */
#define LISTENER_NAME_MAX 32

bool config_fail(struct config *config, const char *fmt, ...)
{
	va_list args;

	if (config->error_size == 0 || config->error[0])
		return false;
	va_start(args, fmt);
	vsnprintf(config->error, config->error_size, fmt, args);
	va_end(args);
	return false;
}

void config_warn(struct config *config, const char *fmt, ...)
{
	va_list args;

	if (!config->warnings)
		return;
	va_start(args, fmt);
	vfprintf(config->warnings, fmt, args);
	va_end(args);
	fputc('\n', config->warnings);
}

/* Of one of the setting's values; NULL: it has none. */
static char *place_of(const struct config *config, const struct setting *s, unsigned instance,
		      const struct config_value *v)
{
	enum setting_dialect dialect = v                                    ? v->dialect
				       : config->source == CONFIG_FROM_ENV  ? DIALECT_ENV
				       : config->source == CONFIG_FROM_YAML ? DIALECT_YAML
									    : DIALECT_INI;
	const char *place = v ? v->place : config->path;
	const char *section = setting_section_name(s->section, &config->settings, instance);
	char *name, *text;

	if (dialect == DIALECT_ENV && s->zdm)
		return setting_env_name(s, instance);
	if (dialect == DIALECT_YAML && s->zdm) {
		name = setting_yaml_key(s, instance);
		text = xasprintf("%s: %s", place, name);
		free(name);
		return text;
	}
	if (v && strcmp(place, "--set") == 0)
		return xasprintf("--set %s.%s", section, s->key);
	return xasprintf("%s: [%s] %s", place ? place : "configuration", section, s->key ? s->key : s->zdm);
}

char *config_place(const struct config *config, const struct setting *s, unsigned instance)
{
	return place_of(config, s, instance, config_value_find(config, s, instance));
}

/* Takes over the place. */
static bool fail_at(struct config *config, char *place, const char *fmt, va_list args)
	__attribute__((format(printf, 3, 0)));

static bool fail_at(struct config *config, char *place, const char *fmt, va_list args)
{
	char *text = NULL;

	if (vasprintf(&text, fmt, args) < 0)
		text = xstrdup(fmt);
	config_fail(config, "%s: %s", place, text);
	free(text);
	free(place);
	return false;
}

bool config_fail_setting(struct config *config, const struct setting *s, unsigned instance, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	fail_at(config, config_place(config, s, instance), fmt, args);
	va_end(args);
	return false;
}

bool config_fail_value(struct config *config, const struct config_value *v, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	fail_at(config, place_of(config, v->setting, v->instance, v), fmt, args);
	va_end(args);
	return false;
}

bool config_fail_key(struct config *config, enum setting_section section, const char *key, unsigned instance,
		     const char *fmt, ...)
{
	const struct setting *s = setting_find(section, key, NULL);
	va_list args;

	Assert(s);
	va_start(args, fmt);
	fail_at(config, config_place(config, s, instance), fmt, args);
	va_end(args);
	return false;
}

static struct config_value *find_from(const struct config *config, unsigned first, const struct setting *s,
				      unsigned instance)
{
	for (unsigned i = first; i < config->value_count; i++) {
		if (config->values[i].setting == s && config->values[i].instance == instance)
			return &config->values[i];
	}
	return NULL;
}

struct config_value *config_value_find(const struct config *config, const struct setting *s, unsigned instance)
{
	return find_from(config, 0, s, instance);
}

struct config_value *config_value_next(const struct config *config, const struct config_value *v)
{
	return find_from(config, (unsigned)(v - config->values) + 1, v->setting, v->instance);
}

static void value_clear(struct config_value *v)
{
	if (v->text && v->setting->type == SETTING_SECRET)
		explicit_bzero(v->text, strlen(v->text));
	free(v->text);
	free(v->place);
}

struct config_value *config_value_set(struct config *config, const struct setting *s, unsigned instance,
				      const char *text, const char *place, enum setting_dialect dialect)
{
	struct config_value *v;

	while ((v = config_value_find(config, s, instance)) != NULL) {
		value_clear(v);
		config->value_count--;
		memmove(v, v + 1, (size_t)(config->values + config->value_count - v) * sizeof(*v));
	}
	return config_value_add(config, s, instance, text, place, dialect);
}

struct config_value *config_value_add(struct config *config, const struct setting *s, unsigned instance,
				      const char *text, const char *place, enum setting_dialect dialect)
{
	struct config_value *v;

	config->values = xrealloc(config->values, (config->value_count + 1) * sizeof(*config->values));
	v = &config->values[config->value_count++];
	*v = (struct config_value){ s, instance, xstrdup(text), xstrdup(place), dialect, false, false };
	return v;
}

static bool is_listener_name(const char *name)
{
	size_t len = strlen(name);

	for (const char *p = name; *p; p++) {
		if (!isalnum((unsigned char)*p) && !strchr("-_.", *p))
			return false;
	}
	return len > 0 && len <= LISTENER_NAME_MAX;
}

static bool listener_find(struct config *config, const char *name, bool may_add, unsigned *instance)
{
	struct settings *settings = &config->settings;

	for (unsigned i = 0; i < settings->listener_count; i++) {
		if (strcmp(settings->listeners[i].name, name) == 0) {
			*instance = i;
			return true;
		}
	}
	if (!may_add || settings->listener_count == SETTINGS_MAX_LISTENERS)
		return false;
	settings->listeners[settings->listener_count].name = xstrdup(name);
	*instance = settings->listener_count++;
	return true;
}

bool config_section_find(struct config *config, const char *name, bool may_add, enum setting_section *section,
			 unsigned *instance)
{
	static const struct {
		const char *name;
		enum setting_section section;
		unsigned instance;
	} fixed[] = {
		{ "proxy", SECTION_PROXY, 0 },
		{ "origin", SECTION_CLUSTER, CLUSTER_ORIGIN },
		{ "target", SECTION_CLUSTER, CLUSTER_TARGET },
		{ "routing", SECTION_ROUTING, 0 },
		{ "lua", SECTION_LUA, 0 },
		{ "http", SECTION_HTTP, 0 },
		{ "log", SECTION_LOG, 0 },
		{ "zdm", SECTION_ZDM_ONLY, 0 },
	};
	const char *plugin;

	for (unsigned i = 0; i < ARRAY_LEN(fixed); i++) {
		if (strcmp(fixed[i].name, name) == 0) {
			*section = fixed[i].section;
			*instance = fixed[i].instance;
			return true;
		}
	}
	if (config_plugin_section(name, &plugin)) {
		*section = SECTION_PLUGIN;
		return config_plugin_find(config, plugin, may_add, instance);
	}
	*section = SECTION_LISTENER;
	if (strcmp(name, "listener") == 0)
		return listener_find(config, "", may_add, instance);
	if (strncmp(name, "listener", 8) == 0 && isspace((unsigned char)name[8])) {
		name += 8;
		name += strspn(name, " \t");
		return is_listener_name(name) && listener_find(config, name, may_add, instance);
	}
	return false;
}

const char *config_section_keys(enum setting_section section, char *out, size_t out_size)
{
	size_t used = 0;

	*out = '\0';
	for (unsigned i = 0; i < setting_count && used < out_size; i++) {
		const struct setting *s = &setting_table[i];

		if (s->section == section && s->key)
			used += (size_t)snprintf(out + used, out_size - used, "%s%s", used ? ", " : "", s->key);
	}
	return out;
}
