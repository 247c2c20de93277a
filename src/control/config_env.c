/* config_env.c - reads the ZDM_* variables into the model. */
#include "control/config_env.h"

#include <stdlib.h>
#include <string.h>

void config_env_read(struct config *config)
{
	for (const struct setting *s = setting_table; s < setting_table + setting_count; s++) {
		for (unsigned i = 0; s->zdm && i < setting_instances(s->section, &config->settings); i++) {
			char *name = setting_env_name(s, i);
			const char *value = setting_getenv(config->request->environment, name);

			if (value)
				config_value_set(config, s, i, value, name, DIALECT_ENV);
			free(name);
		}
	}
}

static bool check_type(struct config *config, const struct setting *s, unsigned instance)
{
	const struct config_value *v = config_value_find(config, s, instance);
	struct setting_input in;
	char what[256], allowed[256];

	if (!v) {
		if (config->source != CONFIG_FROM_ENV || !(s->flags & SETTING_ENV_REQUIRED))
			return true;
		return config_fail_setting(config, s, instance,
					   "missing; allowed: text, also none (the variable set to the empty string)");
	}
	if (v->dialect == DIALECT_INI)
		return true; /* --set: looked at later, with the message of its dialect */
	in = (struct setting_input){ .text = v->text, .dialect = v->dialect, .quoted = v->quoted };
	if (setting_check_type(s, &in, what, sizeof(what)))
		return true;
	setting_allowed(s, v->dialect, allowed, sizeof(allowed));
	return config_fail_setting(config, s, instance, "%s; allowed: %s", what, allowed);
}

bool config_env_check_types(struct config *config)
{
	for (const struct setting *s = setting_table; s < setting_table + setting_count; s++) {
		for (unsigned i = 0; s->zdm && i < setting_instances(s->section, &config->settings); i++) {
			if (!check_type(config, s, i))
				return false;
		}
	}
	return true;
}

/* True for a variable that the file itself refers to, as env:NAME. */
static bool is_referred_to(const struct config *config, const char *name, size_t len)
{
	for (unsigned i = 0; i < config->value_count; i++) {
		const struct config_value *v = &config->values[i];

		if (v->setting->type == SETTING_SECRET && v->dialect == DIALECT_INI &&
		    strncmp(v->text, "env:", 4) == 0 && strlen(v->text + 4) == len &&
		    memcmp(v->text + 4, name, len) == 0)
			return true;
	}
	return false;
}

void config_env_warn_ignored(struct config *config)
{
	char names[400] = "";
	size_t used = 0;
	unsigned count = 0;

	for (char *const *e = config->request->environment; e && *e; e++) {
		size_t len = strcspn(*e, "=");

		if (strncmp(*e, "ZDM_", 4) != 0 || is_referred_to(config, *e, len))
			continue;
		/* A long list is cut; the count says that there are more. */
		if (used + len + 3 < sizeof(names))
			used += (size_t)snprintf(names + used, sizeof(names) - used, "%s%.*s", used ? ", " : "",
						 (int)len, *e);
		count++;
	}
	if (count)
		config_warn(config, "%u ZDM_ variable%s ignored, because %s is the configuration: %s", count,
			    count == 1 ? " is" : "s are", config->request->path, names);
}
