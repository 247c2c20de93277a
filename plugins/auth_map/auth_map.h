/*
 * auth_map.h - what the parts of the plugin share. README.md is for those who
 * use it; the way of a log-in is drawn in login.c.
 */
#ifndef AUTH_MAP_AUTH_MAP_H
#define AUTH_MAP_AUTH_MAP_H

#include <cqlferry/plugin.h>

#include "remembered.h"
#include "settings.h"
#include "verifier.h"

/* How a log-in has ended, for auth_map_logins_total. */
enum auth_map_outcome {
	AUTH_MAP_VERIFIED,    /* its password was compared with a hash */
	AUTH_MAP_REMEMBERED,  /* the same, a while ago */
	AUTH_MAP_CERTIFICATE, /* by its certificate */
	AUTH_MAP_MAPPED,      /* without a hash: a cluster compares the password, or nobody */
	AUTH_MAP_PASSED,      /* as without this plugin */
	AUTH_MAP_WRONG,
	AUTH_MAP_UNKNOWN,   /* there is no such user */
	AUTH_MAP_FORBIDDEN, /* action = deny, certificates */
	AUTH_MAP_UNCHECKED, /* nobody would have compared the password */
	AUTH_MAP_REFUSED,   /* a cluster has refused what the client gave */
	AUTH_MAP_LOCKED_OUT,
	AUTH_MAP_OVERLOADED,
	AUTH_MAP_OUTCOMES,
};

struct auth_map {
	const struct cqlferry_host *host;
	struct settings *settings; /* what the workers use; changed by main when none reads it */
	struct settings *next;     /* of a reload under way */
	struct verifier *verifier;
	struct remembered *remembered;
	struct lockout *lockout;
	/* Metrics. */
	uint32_t logins[AUTH_MAP_OUTCOMES];
	uint32_t lockouts, locked_addresses, waiting, seconds;
};

/* A worker's part. */
struct auth_map_worker {
	struct auth_map *map;
	const struct settings *settings;
	uint32_t generation; /* counts reloads */
};

uint64_t auth_map_now_ns(void);
/* Any thread. */
void auth_map_count(const struct auth_map *am, enum auth_map_outcome outcome);
/* A log-in from this address has failed; in the log when that locks it out. Any thread. */
void auth_map_failed(const struct auth_map *am, const uint8_t address[LOCKOUT_KEY_LEN],
		     const struct lockout_limits *limits);

#endif
