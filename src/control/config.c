/*
 * config.c - from a request to validated settings.
 *
 * The readers fill the model (config_model.h) with texts; then every row of the
 * table is parsed, its value or its default, in the order in which ZDM Proxy
 * validates, each group followed by the check that concerns it as a whole.
 */
#include "control/config.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "control/config_check.h"
#include "control/config_env.h"
#include "control/config_file.h"
#include "control/config_lua.h"
#include "control/config_model.h"
#include "control/config_plugin.h"
#include "control/config_yaml.h"

/* Rows of all instances belong to the step. */
#define ALL_INSTANCES (-1)

struct step {
	enum setting_step step;
	int cluster;
	bool (*check)(struct config *config, unsigned cluster);
};

/* The order of ZDM Proxy, in which TARGET's contact points come before ORIGIN's; then what it does not validate. */
static const struct step steps[] = {
	{ STEP_LOG_LEVEL, ALL_INSTANCES, NULL },
	{ STEP_CONTACT_POINTS, CLUSTER_TARGET, config_check_contact_points },
	{ STEP_CONTACT_POINTS, CLUSTER_ORIGIN, config_check_contact_points },
	{ STEP_BUCKETS, ALL_INSTANCES, NULL },
	{ STEP_TOPOLOGY, ALL_INSTANCES, config_check_topology },
	{ STEP_CLUSTER_TLS, CLUSTER_ORIGIN, config_check_cluster_tls },
	{ STEP_CLUSTER_TLS, CLUSTER_TARGET, config_check_cluster_tls },
	{ STEP_LISTENER_TLS, ALL_INSTANCES, config_check_listener_tls },
	{ STEP_PRIMARY, ALL_INSTANCES, NULL },
	{ STEP_SYSTEM_QUERIES, ALL_INSTANCES, NULL },
	{ STEP_READ_MODE, ALL_INSTANCES, NULL },
	{ STEP_MAX_VERSION, ALL_INSTANCES, NULL },
	{ STEP_BLOCKED_VERSIONS, ALL_INSTANCES, NULL },
	{ STEP_REST, ALL_INSTANCES, config_check_rest },
};

/* ---- one setting ---- */

static void warn_of_workers(struct config *config, const struct setting *s, const union setting_scratch *value)
{
	if ((s->flags & SETTING_WORKERS) && (value->number == 0 || value->number < -1))
		config_warn(config, "ZDM_%s: %lld is no number of workers, -1 is taken (without effect here)", s->zdm,
			    (long long)value->number);
}

/* Empty is "not set" where a setting may be unset, and a mistake elsewhere. ZDM's empty texts are left to their types. */
static bool check_empty(struct config *config, const struct config_value *v)
{
	const struct setting *s = v->setting;
	char allowed[256];

	if (*v->text || v->dialect != DIALECT_INI || (s->flags & SETTING_EMPTY_OK) || !s->native_default)
		return true;
	setting_allowed(s, v->dialect, allowed, sizeof(allowed));
	return config_fail_value(config, v, "no value; allowed: %s, or no such line (default %s)", allowed,
				 setting_default(s, config->settings.profile));
}

static void warn_clamped(struct config *config, const struct setting *s, unsigned instance, const void *member)
{
	const struct config_value *v = config_value_find(config, s, instance);
	char *used = setting_format(s, member);

	if (v && v->dialect != DIALECT_INI && strcmp(used, v->text) != 0 && strtoll(v->text, NULL, 0) > s->max)
		config_warn(config, "%s: %s is more than possible, %s is used", v->place, v->text, used);
	free(used);
}

/* `v` is one of its values, or NULL, then the default counts. */
static bool parse_value(struct config *config, const struct setting *s, unsigned instance, const struct config_value *v,
			void *member)
{
	struct setting_input in = { .text = setting_default(s, config->settings.profile),
				    .environment = config->request->environment };
	char what[512], allowed[256];

	if (v) {
		if (!check_empty(config, v))
			return false;
		in.text = v->text;
		in.place = v->place;
		in.dialect = v->dialect;
		in.quoted = v->quoted;
		in.bare_ms = v->bare_ms;
	} else if (!in.text) {
		return true;
	}
	if (setting_parse(s, &in, member, what, sizeof(what)))
		return true;
	setting_allowed(s, in.bare_ms ? DIALECT_ENV : in.dialect, allowed, sizeof(allowed));
	if (!v)
		return config_fail_setting(config, s, instance, "%s; allowed: %s", what, allowed);
	return config_fail_value(config, v, "%s; allowed: %s", what, allowed);
}

static bool parse_setting(struct config *config, const struct setting *s, unsigned instance)
{
	const struct config_value *v = config_value_find(config, s, instance);
	union setting_scratch scratch = { .buckets = { .count = 0 } };
	void *member = setting_member(s, &config->settings, instance);

	do {
		if (!parse_value(config, s, instance, v, member ? member : &scratch))
			return false;
		v = v ? config_value_next(config, v) : NULL;
	} while (v);
	if (s->flags & SETTING_ZDM_CLAMP)
		warn_clamped(config, s, instance, member);
	if (!member) {
		warn_of_workers(config, s, &scratch);
		setting_clear(s, &scratch);
	}
	return true;
}

static bool run_step(struct config *config, const struct step *step)
{
	for (const struct setting *s = setting_table; s < setting_table + setting_count; s++) {
		if (s->step != step->step)
			continue;
		for (unsigned i = 0; i < setting_instances(s->section, &config->settings); i++) {
			if (step->cluster != ALL_INSTANCES && s->section == SECTION_CLUSTER &&
			    i != (unsigned)step->cluster)
				continue;
			if (!parse_setting(config, s, i))
				return false;
		}
	}
	return !step->check || step->check(config, step->cluster == ALL_INSTANCES ? 0 : (unsigned)step->cluster);
}

/* ---- reading ---- */

/* The last one counts; of a key that may be repeated all, in place of what the file has. */
static struct config_value *set_override(struct config *config, const struct setting *s, unsigned instance,
					 const char *text)
{
	const struct config_value *v = config_value_find(config, s, instance);

	if ((s->flags & SETTING_REPEATED) && v && strcmp(v->place, "--set") == 0)
		return config_value_add(config, s, instance, text, "--set", DIALECT_INI);
	return config_value_set(config, s, instance, text, "--set", DIALECT_INI);
}

/* "section.key=value"; the section may have dots and blanks (listener NAME), the value anything. */
static bool read_override(struct config *config, const char *text)
{
	const char *equals = strchr(text, '=');
	const char *dot = equals ? memrchr(text, '.', (size_t)(equals - text)) : NULL;
	char *section, *key, keys[1024];
	const struct setting *s;
	enum setting_section id;
	unsigned instance = 0;
	bool bare_ms, ok = true;

	/* What was given is not shown: it may be a password. */
	if (!dot || dot == text || dot + 1 == equals)
		return config_fail(config, "--set: not understood; allowed: --set section.key=value");
	section = xstrndup(text, (size_t)(dot - text));
	key = xstrndup(dot + 1, (size_t)(equals - dot - 1));
	if (!config_section_find(config, section, false, &id, &instance)) {
		ok = config_fail(config, "--set %s.%s: unknown section; allowed: %s that exist", section, key,
				 CONFIG_SECTIONS);
	} else if ((s = setting_find(id, key, &bare_ms)) == NULL && id == SECTION_LUA &&
		   config_lua_is_option_name(key)) {
		config_lua_set_option(config, key, equals + 1, "--set");
	} else if (!s && id == SECTION_PLUGIN && config_lua_is_option_name(key)) {
		config_plugin_override(config, instance, key, equals + 1);
	} else if (!s) {
		ok = config_fail(config, "--set %s.%s: unknown key; allowed: %s", section, key,
				 config_section_keys(id, keys, sizeof(keys)));
	} else {
		set_override(config, s, instance, equals + 1)->bare_ms = bare_ms;
	}
	free(section);
	free(key);
	return ok;
}

static bool has_extension(const char *path, const char *extension)
{
	size_t len = strlen(path), tail = strlen(extension);

	return len > tail && strcasecmp(path + len - tail, extension) == 0;
}

static bool is_yaml_path(const char *path)
{
	return has_extension(path, ".yaml") || has_extension(path, ".yml");
}

static void add_plain_listener(struct config *config)
{
	if (config->settings.listener_count == 0)
		config->settings.listeners[config->settings.listener_count++].name = xstrdup("");
}

static bool read_file(struct config *config, const char *path)
{
	size_t size = 0;
	char *text;
	bool ok;

	if (!is_yaml_path(path) && !has_extension(path, ".ini"))
		return config_fail(config, "%s: unknown format; allowed: names that end in .ini, .yaml or .yml", path);
	text = config_file_load(config, path, &size);
	if (!text)
		return false;
	if (config->source == CONFIG_FROM_YAML) {
		add_plain_listener(config);
		ok = config_yaml_read(config, text, size);
	} else {
		ok = config_file_read(config, text, size);
		add_plain_listener(config);
	}
	config_file_unload(text, size);
	return ok;
}

static bool read_sources(struct config *config)
{
	const struct config_request *request = config->request;

	if (!request->path) {
		add_plain_listener(config);
		config_env_read(config);
	} else if (!read_file(config, request->path)) {
		return false;
	}
	for (unsigned i = 0; i < request->override_count; i++) {
		if (!read_override(config, request->overrides[i]))
			return false;
	}
	if (request->path)
		config_env_warn_ignored(config);
	return true;
}

/* The profile comes first: the defaults of all others depend on it. */
static bool decide_profile(struct config *config)
{
	const struct setting *s = setting_find(SECTION_PROXY, "profile", NULL);

	config->settings.profile = config_is_zdm_source(config) ? PROFILE_ZDM : PROFILE_NATIVE;
	return parse_setting(config, s, 0);
}

static bool load(struct config *config)
{
	if (!read_sources(config) || !decide_profile(config))
		return false;
	if (config_is_zdm_source(config) && !config_env_check_types(config))
		return false;
	for (unsigned i = 0; i < ARRAY_LEN(steps); i++) {
		if (!run_step(config, &steps[i]))
			return false;
	}
	return config_lua_check(config) && config_plugin_check(config);
}

/* ---- public ---- */

struct config *config_load(const struct config_request *request, FILE *warnings, char *error, size_t error_size)
{
	struct config *config = xcalloc(1, sizeof(*config));

	config->request = request;
	config->path = request->path ? xstrdup(request->path) : NULL;
	config->warnings = warnings;
	config->error = error;
	config->error_size = error_size;
	config->source = !request->path                ? CONFIG_FROM_ENV
			 : is_yaml_path(request->path) ? CONFIG_FROM_YAML
						       : CONFIG_FROM_INI;
	if (error_size)
		error[0] = '\0';
	if (!load(config)) {
		config_free(config);
		return NULL;
	}
	for (unsigned i = 0; i < config->value_count; i++) {
		if (config->values[i].setting->type == SETTING_SECRET)
			explicit_bzero(config->values[i].text, strlen(config->values[i].text));
	}
	config->request = NULL;
	config->warnings = NULL;
	config->error = NULL;
	config->error_size = 0;
	return config;
}

void config_free(struct config *config)
{
	struct settings *settings;

	if (!config)
		return;
	settings = &config->settings;
	for (const struct setting *s = setting_table; s < setting_table + setting_count; s++) {
		for (unsigned i = 0; s->width && i < setting_instances(s->section, settings); i++)
			setting_clear(s, setting_member(s, settings, i));
	}
	config_lua_free(&settings->lua);
	config_plugin_free(settings);
	for (unsigned i = 0; i < settings->listener_count; i++)
		free(settings->listeners[i].name);
	for (unsigned i = 0; i < config->value_count; i++) {
		if (config->values[i].setting->type == SETTING_SECRET)
			explicit_bzero(config->values[i].text, strlen(config->values[i].text));
		free(config->values[i].text);
		free(config->values[i].place);
	}
	free(config->values);
	free(config->path);
	free(config);
}

const struct settings *config_settings(const struct config *config)
{
	return &config->settings;
}

bool config_request_is_zdm(const struct config_request *request)
{
	return !request->path || is_yaml_path(request->path);
}
