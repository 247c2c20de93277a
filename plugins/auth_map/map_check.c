/* map_check.c - see map_check.h */
#include "map_check.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static bool fail(const struct map *map, unsigned line, char *error, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

static bool fail(const struct map *map, unsigned line, char *error, const char *fmt, ...)
{
	const int n = snprintf(error, MAP_TEXT_MAX, "%s:%u: ", map->path, line);
	va_list args;

	va_start(args, fmt);
	if (n > 0 && n < MAP_TEXT_MAX)
		vsnprintf(error + n, MAP_TEXT_MAX - (size_t)n, fmt, args);
	va_end(args);
	return false;
}

bool map_is_checked(const struct mapping *m, const struct map_demand *demand, const bool *wants)
{
	bool gives = false, asks = false;

	for (unsigned i = 0; i < MAP_CLUSTERS; i++) {
		if (wants && !wants[i])
			continue;
		gives |= m->login[i].source == MAP_OWN;
		asks |= m->login[i].source == MAP_CLIENT;
	}
	return !gives || asks || demand->accepts_any_password || (m->hash && demand->verify != MAP_VERIFY_OFF);
}

/* ---- one name ---- */

static bool check_mapping(const struct map *map, const struct map_section *s, const struct mapping *m,
			  const struct map_demand *demand, char *error)
{
	if (m->action == MAP_DENY)
		return true;
	if (demand->verify == MAP_VERIFY_REQUIRED && !m->hash)
		return fail(map, s->line, error,
			    "[%s] hash is missing, and verify = required; allowed: a hash here or in "
			    "one of its groups, verify = optional",
			    s->heading);
	if (!map_is_checked(m, demand, NULL))
		return fail(map, s->line, error,
			    "[%s] every client that names the user would get a cluster's password, since nobody "
			    "compares the client's own: %s; allowed: %s, origin = client or target = client (that "
			    "cluster compares it), accept_any_password = on in the plugin's section",
			    s->heading, m->hash ? "verify = off" : "there is no hash, and no cluster gets it",
			    m->hash ? "verify = optional" : "a hash");
	return true;
}

/* A pattern stands for itself as a name: what holds for all names that it matches holds for that. */
static bool check_name(const struct map *map, const struct map_section *s, const struct pattern *p,
		       const struct map_demand *demand, char *error)
{
	struct mapping m;

	map_find(map, p->text, p->length, &m);
	return check_mapping(map, s, &m, demand, error);
}

static bool check_certificate(const struct map *map, const struct map_section *s, const struct map_demand *demand,
			      char *error)
{
	struct mapping m;

	if (strcmp(s->user, "*") == 0 || !demand->has_certificates)
		return true;
	map_find(map, s->user, strlen(s->user), &m);
	if (!m.section && map->default_action == MAP_DENY)
		return fail(map, s->line, error,
			    "[%s] user: there is no section for %s; allowed: a [user] or [group] that "
			    "has it",
			    s->heading, s->user);
	return true;
}

/* ---- all of them ---- */

static bool check_doubles(const struct map *map, const struct map_names *names, char *error)
{
	for (uint32_t i = 1; i < names->count; i++) {
		const struct map_name *a = &names->items[i - 1], *b = &names->items[i];

		if (a->section != b->section && a->pattern->length == b->pattern->length &&
		    memcmp(a->pattern->text, b->pattern->text, a->pattern->length) == 0)
			return fail(map, b->section->line, error,
				    "[%s]: the section began already in line %u; allowed: each section once",
				    b->section->heading, a->section->line);
	}
	return true;
}

static bool check_section(const struct map *map, const struct map_section *s, const struct map_demand *demand,
			  char *error)
{
	if (s->kind == MAP_CERTIFICATE)
		return check_certificate(map, s, demand, error);
	for (uint32_t i = 0; i < s->name_count; i++) {
		if (!check_name(map, s, &s->names[i], demand, error))
			return false;
	}
	if (s->kind == MAP_DEFAULT && s->action == MAP_ZDM && demand->verify == MAP_VERIFY_REQUIRED)
		return fail(map, s->line, error,
			    "[default] action = zdm lets users in whose passwords only the clusters "
			    "compare, and verify = required; allowed: deny, verify = optional");
	return true;
}

bool map_check(const struct map *map, const struct map_demand *demand, char *error, map_warn_fn warn, void *arg)
{
	char text[MAP_TEXT_MAX];
	bool has_certificates = map->certificates.count > 0;

	if (!check_doubles(map, &map->users, error) || !check_doubles(map, &map->wild_users, error))
		return false;
	for (uint32_t i = 0; i < map->section_count; i++) {
		if (!check_section(map, map->sections[i], demand, error))
			return false;
	}
	/* As a file that somebody is about to fill, or that another program has just emptied. */
	if (map->users.count + map->wild_users.count + map->members.count + map->wild_members.count == 0 &&
	    map->default_action == MAP_DENY) {
		snprintf(text, sizeof(text), "%s has no user and no group, so nobody gets in", map->path);
		warn(arg, text);
	}
	if (demand->verify == MAP_VERIFY_OFF && map->hash_count > 0) {
		snprintf(text, sizeof(text), "%s has hashes that nobody looks at, since verify = off", map->path);
		warn(arg, text);
	}
	if (has_certificates && !demand->has_certificates) {
		snprintf(text, sizeof(text),
			 "%s has [certificate] sections that nobody looks at, since certificate = off", map->path);
		warn(arg, text);
	}
	return true;
}
