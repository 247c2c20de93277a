/*
 * map_check.h - what would let somebody in whose password nobody has compared.
 *
 * A client that names a user gets what the mapping says for it. Where that is
 * somebody else's password on a cluster, the client's own has to be compared
 * first: by us with a hash, or by a cluster that demands a log-in and gets what
 * the client has given. Its certificate counts, too.
 */
#ifndef AUTH_MAP_MAP_CHECK_H
#define AUTH_MAP_MAP_CHECK_H

#include "map_file.h"

enum map_verify {
	MAP_VERIFY_OFF,
	MAP_VERIFY_OPTIONAL, /* where there is a hash */
	MAP_VERIFY_REQUIRED,
};

struct map_demand {
	enum map_verify verify;
	bool accepts_any_password; /* the operator has said that nobody needs to compare it */
	bool has_certificates;     /* [certificate] sections are used */
	bool needs_password;       /* also where there is a certificate */
};

/*
 * Looks at all sections of a file that was read. False: `error` (MAP_TEXT_MAX bytes) says FILE:LINE, why, and what is
 * allowed. Patterns that overlap in a way that only a name shows are left to map_is_checked().
 */
bool map_check(const struct map *map, const struct map_demand *demand, char *error, map_warn_fn warn, void *arg);

/* At a log-in with a password. wants: the clusters that demand a log-in; NULL: all might. */
bool map_is_checked(const struct mapping *m, const struct map_demand *demand, const bool *wants);

#endif
