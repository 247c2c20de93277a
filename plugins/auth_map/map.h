/*
 * map.h - the mapping: what the file says, and what of it holds for a user.
 *
 * A user has the [user] section of its name, or else that with the most
 * specific pattern, and what that leaves out from the [group] sections it is a
 * member of, the most specific membership first. Whoever has none of these gets
 * what [default] says. [certificate] sections give clients names by the subject
 * of their TLS certificate.
 *
 * map_file.c reads it, map_check.c looks for what would let anybody in. Once it
 * is read it does not change, and any thread may look into it.
 */
#ifndef AUTH_MAP_MAP_H
#define AUTH_MAP_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "digest.h"
#include "pattern.h"
#include "vault.h"

#define MAP_CLUSTERS 2 /* CQLFERRY_ORIGIN, CQLFERRY_TARGET */
#define MAP_TEXT_MAX 1024

/* What a cluster gets. */
enum map_source {
	MAP_UNSET,  /* what the proxy does without this plugin: ZDM's rule */
	MAP_CLIENT, /* what the client has given */
	MAP_OWN,    /* user and password of the file */
};

enum map_action {
	MAP_ACTION_UNSET, /* of a section: as its keys say */
	MAP_MAP,
	MAP_ZDM, /* as without this plugin */
	MAP_DENY,
};

struct map_login {
	enum map_source source;
	const char *user; /* of MAP_OWN; NULL: the name of the client */
	const char *password;
};

enum map_kind {
	MAP_USER,
	MAP_GROUP,
	MAP_CERTIFICATE,
	MAP_DEFAULT,
};

struct map_section {
	enum map_kind kind;
	unsigned line;
	char *heading; /* "user app_*", for messages */
	enum map_action action;
	const char *hash; /* or NULL */
	struct map_login login[MAP_CLUSTERS];
	struct pattern *names; /* the user's, the certificate's, or the members of the group */
	uint32_t name_count;
	char *user; /* of a certificate; "*": what its first * stands for */
};

/* A name or pattern of a section. */
struct map_name {
	const struct pattern *pattern;
	const struct map_section *section;
};

/* Names: in the order of their bytes, then of the file. Patterns: the most specific first. */
struct map_names {
	struct map_name *items;
	uint32_t count;
};

struct map {
	char *path;
	struct vault *vault; /* passwords and hashes */
	struct map_section **sections;
	uint32_t section_count;
	struct map_names users, wild_users, members, wild_members, certificates;
	const char **hashes; /* all of them */
	uint32_t hash_count;
	enum map_action default_action; /* MAP_ZDM or MAP_DENY */
};

/* What holds for one user, put together; its pointers live as long as the map. */
struct mapping {
	enum map_action action; /* MAP_MAP, MAP_ZDM or MAP_DENY */
	const char *hash;
	struct map_login login[MAP_CLUSTERS];
	const struct map_section *section; /* the most specific one; NULL: it is the default */
};

/* An empty one. */
struct map *map_new(const char *path);
/* NULL is harmless. */
void map_free(struct map *map);
struct map_section *map_add(struct map *map, enum map_kind kind, const char *heading, unsigned line);
/* When all sections are there: for the functions below. */
void map_index(struct map *map);

void map_find(const struct map *map, const char *user, size_t length, struct mapping *m);
/*
 * The name that the certificates' sections give to this subject, in `user` of `size` bytes. False: no section has it, or
 * what "*" stands for is no name that can be taken from a subject as it is written (it has a backslash, or is too long).
 */
bool map_find_certificate(const struct map *map, const char *subject, size_t length, char *user, size_t size);

/* How an unknown user is to look: one of the hashes, always the same for the same name; NULL: there is none. */
const char *map_decoy(const struct map *map, const char *user, size_t length);

/* Equal for equal mappings. */
void map_digest(const struct mapping *m, uint8_t digest[DIGEST_LEN]);

#endif
