/* settings.h - the options of the plugin's section, and the mapping that they name. */
#ifndef AUTH_MAP_SETTINGS_H
#define AUTH_MAP_SETTINGS_H

#include <cqlferry/plugin.h>

#include "lockout.h"
#include "map_check.h"

/* What a client's TLS certificate is good for, when a [certificate] section has its subject. */
enum settings_certificate {
	SETTINGS_CERTIFICATE_OFF,
	SETTINGS_CERTIFICATE_SUFFICIENT, /* in place of a password */
	SETTINGS_CERTIFICATE_REQUIRED,   /* the same, and without one nobody gets in */
	SETTINGS_CERTIFICATE_BOTH,       /* beside the password, of the same user */
};

/* One reading of the options and of the file. Does not change; the workers read it. */
struct settings {
	struct map *map;
	struct map_demand demand;
	enum settings_certificate certificate;
	uint64_t wait_ns, remember_ns;
	struct lockout_limits lockout;
	bool denies_outdated;
	/* Only read at the start. */
	unsigned threads, queue;
	int nice;
};

#define SETTINGS_OPTIONS 13
extern const struct cqlferry_option settings_options[SETTINGS_OPTIONS];

/* In open() and reload(). NULL after host->error(). */
struct settings *settings_new(const struct cqlferry_host *host, const struct cqlferry_value *values);
/* NULL is harmless. */
void settings_free(struct settings *s);

#endif
