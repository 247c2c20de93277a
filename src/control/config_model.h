/*
 * config_model.h - the configuration while it is being read: texts and where
 * they stand, before anybody knows what they mean. The readers of the three
 * formats add values; config.c turns them into struct settings.
 */
#ifndef CONTROL_CONFIG_MODEL_H
#define CONTROL_CONFIG_MODEL_H

#include "control/config.h"
#include "control/setting_value.h"

/* One text for one setting. */
struct config_value {
	const struct setting *setting;
	unsigned instance; /* cluster or listener, else 0 */
	char *text;
	char *place; /* as messages begin: "FILE:12", "ZDM_ORIGIN_PORT", "--set" */
	enum setting_dialect dialect;
	bool quoted;
	bool bare_ms;
};

struct config {
	struct settings settings;
	struct config_value *values;
	unsigned value_count;
	enum config_source_kind source;
	char *path;                           /* NULL: the environment */
	const struct config_request *request; /* while loading only */
	FILE *warnings;
	char *error;
	size_t error_size;
};

/* Records the first error and returns false, so that callers can return it. */
bool config_fail(struct config *config, const char *fmt, ...) PRINTF_LIKE(2, 3);
void config_warn(struct config *config, const char *fmt, ...) PRINTF_LIKE(2, 3);

/*
 * An error of a setting: begins with the place of its value, or with the name
 * it would have in this source where it has none.
 */
bool config_fail_setting(struct config *config, const struct setting *s, unsigned instance, const char *fmt, ...)
	PRINTF_LIKE(4, 5);
/* The same for one of the setting's values. */
bool config_fail_value(struct config *config, const struct config_value *v, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* The same for a key that the table is known to have. */
bool config_fail_key(struct config *config, enum setting_section section, const char *key, unsigned instance,
		     const char *fmt, ...) PRINTF_LIKE(5, 6);

/*
 * Where a setting stands, as messages begin, malloc'd: "FILE:12: [origin] port",
 * "ZDM_ORIGIN_PORT", "FILE:3: origin_port", "--set origin.port". Without a value
 * the name it would have in this source.
 */
char *config_place(const struct config *config, const struct setting *s, unsigned instance);
/*
 * The value of a setting, NULL where the default counts; of one with
 * SETTING_REPEATED the first, in the order in which they were given. Valid until
 * the next value is added.
 */
struct config_value *config_value_find(const struct config *config, const struct setting *s, unsigned instance);
/* The next value of the same setting, NULL: `v` was the last. */
struct config_value *config_value_next(const struct config *config, const struct config_value *v);
/* Adds a value, also where there is one; text and place are copied. */
struct config_value *config_value_add(struct config *config, const struct setting *s, unsigned instance,
				      const char *text, const char *place, enum setting_dialect dialect);
/* The same, in place of all that there are. */
struct config_value *config_value_set(struct config *config, const struct setting *s, unsigned instance,
				      const char *text, const char *place, enum setting_dialect dialect);

/* A value as config_file.c would read it, for config_print(). */
void config_print_value(const char *text, FILE *out);

/* Section heading to section and instance; adds the listener when `may_add`. False: no such section, no message. */
MUSTCHECK bool config_section_find(struct config *config, const char *name, bool may_add, enum setting_section *section,
				   unsigned *instance);
/* What config_section_find knows, for messages. */
#define CONFIG_SECTIONS                                                                                                \
	"[proxy], [listener], [listener NAME], [origin], [target], [routing], [plugin NAME], [lua], [http], [log], [zdm]"
/* The keys of a section, for messages: "a, b, c". Returns out. */
const char *config_section_keys(enum setting_section section, char *out, size_t out_size);

/* True when the file or the environment is ZDM's own format, with its defaults and strictness. */
static inline bool config_is_zdm_source(const struct config *config)
{
	return config->source != CONFIG_FROM_INI;
}

#endif
