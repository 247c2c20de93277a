/*
 * setting.h - the table of settings. A row says everything about a setting:
 * where it stands in an INI file, what ZDM Proxy calls it, its type, range and
 * defaults, the member of struct settings it fills, and what it means. INI
 * file, ZDM_* variables, YAML file, --set, --print-config, error messages and
 * docs/config.md all come from these rows, so a new setting is one row and one
 * member.
 */
#ifndef CONTROL_SETTING_H
#define CONTROL_SETTING_H

#include "proxy/settings.h"

enum setting_section {
	SECTION_PROXY,
	SECTION_LISTENER, /* offsets count from struct listener_settings */
	SECTION_CLUSTER,  /* [origin] and [target]; offsets count from struct cluster_settings */
	SECTION_ROUTING,
	SECTION_PLUGIN, /* offsets count from struct plugin_settings; other keys are options of the plugin */
	SECTION_LUA,    /* other keys than those of the table are options of scripts: config_lua.h */
	SECTION_HTTP,
	SECTION_LOG,
	SECTION_ZDM_ONLY, /* [zdm]: ZDM's tuning, accepted, checked and without effect; no member */
	SECTION_COUNT,
};

enum setting_type {
	SETTING_COUNT,       /* integer */
	SETTING_DURATION,    /* milliseconds; an INI file writes a unit */
	SETTING_SHORT_TIME,  /* microseconds; an INI file writes a unit, also us */
	SETTING_SIZE,        /* bytes; an INI file writes a unit */
	SETTING_FLOAT,       /* double */
	SETTING_BOOL,        /* bool */
	SETTING_WORD,        /* enum, see `words` */
	SETTING_STRING,      /* char * */
	SETTING_PATH,        /* char * */
	SETTING_SECRET,      /* char *; never shown */
	SETTING_HOST,        /* char *: a host name or address */
	SETTING_HOSTS,       /* struct string_list of the same */
	SETTING_ADDRESSES,   /* struct string_list of IP literals */
	SETTING_NAMES,       /* struct string_list of any texts */
	SETTING_PATHS,       /* struct string_list of file names, each in a line of its own (SETTING_REPEATED) */
	SETTING_ADDRESS_MAP, /* struct address_map */
	SETTING_RANGES,      /* struct net_range_list: IP literals and networks */
	SETTING_BUCKETS,     /* struct bucket_list */
	SETTING_VERSION,     /* one protocol version */
	SETTING_VERSIONS,    /* bit set of protocol versions */
	SETTING_PREFIX,      /* char *: the start of a Prometheus metric name */
	SETTING_LEVELS,      /* struct level_map: consistency levels and what they become */
	SETTING_RULES,       /* struct rule_list, each in a line of its own (SETTING_REPEATED) */
};

/*
 * Rows are checked step by step in this order, the last one first in no case:
 * it is the order in which ZDM Proxy validates, so that of several errors the
 * same one is reported.
 */
enum setting_step {
	STEP_REST, /* what ZDM does not validate: after all others */
	STEP_LOG_LEVEL,
	STEP_CONTACT_POINTS,
	STEP_BUCKETS,
	STEP_TOPOLOGY,
	STEP_CLUSTER_TLS,
	STEP_LISTENER_TLS,
	STEP_PRIMARY,
	STEP_SYSTEM_QUERIES,
	STEP_READ_MODE,
	STEP_MAX_VERSION,
	STEP_BLOCKED_VERSIONS,
};

#define SETTING_EMPTY_OK 0x01     /* the empty text is a value of its own, not the absence of one */
#define SETTING_ENV_REQUIRED 0x02 /* the ZDM_ variable must exist, if only empty */
#define SETTING_ZDM_CLAMP 0x04    /* ZDM accepts more than the maximum: take the maximum, with a warning */
#define SETTING_ZDM_NEGATIVE 0x08 /* ZDM takes a negative number as 0 */
#define SETTING_TRIM 0x10         /* blanks around the word do not count */
#define SETTING_WORKERS 0x80      /* a worker count of ZDM: 0 and numbers below -1 give a warning */
#define SETTING_RELOAD 0x100      /* can change in a running process (reload.h) */
#define SETTING_WRITES 0x200      /* the levels are those of writes, not of reads */
#define SETTING_REPEATED 0x400    /* a list whose key may stand in several lines, each of which is one item */

struct setting_word {
	const char *word; /* compared without regard to letter case; NULL ends the list */
	int value;
	bool alias; /* another spelling of a value, accepted but not advertised */
};

struct setting {
	enum setting_section section;
	const char *key; /* in the INI file */
	const char *zdm; /* variable without "ZDM_" (and, in SECTION_CLUSTER, "ORIGIN_"); NULL: ZDM has no such setting */
	enum setting_type type;
	size_t offset;              /* of the member, from the section's struct */
	size_t width;               /* its size; 0: no member */
	const char *native_default; /* as an INI file would write it; NULL: not set */
	const char *zdm_default;    /* NULL: the same */
	int64_t min, max;           /* of numbers; of SETTING_FLOAT in thousandths */
	int64_t zero_means;         /* what replaces 0; 0: nothing */
	const struct setting_word *words;
	enum setting_step step;
	unsigned flags;
	const char *help;
};

extern const struct setting setting_table[];
extern const unsigned setting_count;

/* Where a text came from decides its syntax. */
enum setting_dialect {
	DIALECT_INI,  /* also --set and our own defaults */
	DIALECT_ENV,  /* ZDM_ variables */
	DIALECT_YAML, /* ZDM's YAML file */
};

/*
 * The row of a key. A duration NAME may also be called NAME_ms and is then a
 * bare number (*bare_ms); bare_ms may be NULL when only real names count. NULL
 * when the section has no such key.
 */
const struct setting *setting_find(enum setting_section section, const char *key, bool *bare_ms);

/* "ZDM_ORIGIN_PORT"; `instance` is the cluster in SECTION_CLUSTER. NULL when ZDM has no such setting, else malloc'd. */
char *setting_env_name(const struct setting *s, unsigned instance);
/* "origin_port", malloc'd, NULL as above. */
char *setting_yaml_key(const struct setting *s, unsigned instance);

/* How many instances a section has: 2 clusters, the listeners, the plugins, else 1. */
unsigned setting_instances(enum setting_section section, const struct settings *settings);
/* The member of an instance, NULL when the row has none. */
void *setting_member(const struct setting *s, struct settings *settings, unsigned instance);
/* "origin", "listener", "listener NAME", "plugin NAME", "proxy", as between the brackets; valid until the next call in this thread. */
const char *setting_section_name(enum setting_section section, const struct settings *settings, unsigned instance);

/* The default of the profile in INI syntax, NULL: not set. */
const char *setting_default(const struct setting *s, enum profile profile);

#endif
