/* map.c - see map.h */
#include "map.h"

#include <stdlib.h>
#include <string.h>

/* ---- life ---- */

struct map *map_new(const char *path)
{
	struct map *map = memory_new(1, sizeof(*map));

	map->path = memory_new(strlen(path) + 1, 1);
	strcpy(map->path, path);
	map->vault = vault_new();
	map->default_action = MAP_DENY;
	return map;
}

static void section_free(struct map_section *s)
{
	for (uint32_t i = 0; i < s->name_count; i++)
		pattern_free(&s->names[i]);
	free(s->names);
	free(s->heading);
	free(s->user);
	free(s);
}

void map_free(struct map *map)
{
	if (!map)
		return;
	for (uint32_t i = 0; i < map->section_count; i++)
		section_free(map->sections[i]);
	free(map->sections);
	free(map->users.items);
	free(map->wild_users.items);
	free(map->members.items);
	free(map->wild_members.items);
	free(map->certificates.items);
	free(map->hashes);
	vault_free(map->vault);
	free(map->path);
	free(map);
}

struct map_section *map_add(struct map *map, enum map_kind kind, const char *heading, unsigned line)
{
	struct map_section *s = memory_new(1, sizeof(*s));

	s->kind = kind;
	s->line = line;
	s->heading = memory_new(strlen(heading) + 1, 1);
	strcpy(s->heading, heading);
	map->sections = memory_grow(map->sections, map->section_count + 1, sizeof(struct map_section *));
	map->sections[map->section_count++] = s;
	return s;
}

/* ---- order ---- */

static int compare_text(const char *a, size_t a_length, const char *b, size_t b_length)
{
	const int order = memcmp(a, b, a_length < b_length ? a_length : b_length);

	return order != 0 ? order : a_length < b_length ? -1 : a_length > b_length;
}

static int by_line(const struct map_name *a, const struct map_name *b)
{
	return a->section->line < b->section->line ? -1 : a->section->line > b->section->line;
}

static int by_name(const void *a, const void *b)
{
	const struct map_name *x = a, *y = b;
	const int order = compare_text(x->pattern->text, x->pattern->length, y->pattern->text, y->pattern->length);

	return order != 0 ? order : by_line(x, y);
}

/* A subject without "*" is more specific than any with one. */
static int by_literals(const void *a, const void *b)
{
	const struct map_name *x = a, *y = b;

	if (x->pattern->is_wild != y->pattern->is_wild)
		return x->pattern->is_wild ? 1 : -1;
	if (x->pattern->literals != y->pattern->literals)
		return x->pattern->literals > y->pattern->literals ? -1 : 1;
	return by_line(x, y);
}

static struct map_names *list_of(struct map *map, const struct map_section *s, const struct pattern *p)
{
	switch (s->kind) {
	case MAP_USER:
		return p->is_wild ? &map->wild_users : &map->users;
	case MAP_GROUP:
		return p->is_wild ? &map->wild_members : &map->members;
	case MAP_CERTIFICATE:
		return &map->certificates;
	default:
		return NULL;
	}
}

static void sort(struct map_names *names, int (*order)(const void *, const void *))
{
	if (names->count > 0)
		qsort(names->items, names->count, sizeof(struct map_name), order);
}

static void index_section(struct map *map, const struct map_section *s)
{
	for (uint32_t i = 0; i < s->name_count; i++) {
		struct map_names *names = list_of(map, s, &s->names[i]);

		if ((names->count & (names->count - 1)) == 0) /* full: sizes are powers of two */
			names->items = memory_grow(names->items, names->count ? names->count * 2u : 1u,
						   sizeof(struct map_name));
		names->items[names->count++] = (struct map_name){ &s->names[i], s };
	}
	if (s->hash) {
		map->hashes = memory_grow(map->hashes, map->hash_count + 1, sizeof(char *));
		map->hashes[map->hash_count++] = s->hash;
	}
}

void map_index(struct map *map)
{
	for (uint32_t i = 0; i < map->section_count; i++)
		index_section(map, map->sections[i]);
	sort(&map->users, by_name);
	sort(&map->wild_users, by_literals);
	sort(&map->members, by_name);
	sort(&map->wild_members, by_literals);
	sort(&map->certificates, by_literals);
}

/* ---- looking up ---- */

/* The first one of this name; `count` when there is none. */
static uint32_t find_name(const struct map_names *names, const char *user, size_t length)
{
	uint32_t low = 0, high = names->count;

	while (low < high) {
		const uint32_t middle = low + (high - low) / 2;
		const struct pattern *p = names->items[middle].pattern;

		if (compare_text(p->text, p->length, user, length) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static bool is_named(const struct map_name *n, const char *user, size_t length)
{
	return compare_text(n->pattern->text, n->pattern->length, user, length) == 0;
}

static const struct map_section *find_user(const struct map *map, const char *user, size_t length)
{
	const uint32_t at = find_name(&map->users, user, length);

	if (at < map->users.count && is_named(&map->users.items[at], user, length))
		return map->users.items[at].section;
	for (uint32_t i = 0; i < map->wild_users.count; i++) {
		if (pattern_match_user(map->wild_users.items[i].pattern, user, length))
			return map->wild_users.items[i].section;
	}
	return NULL;
}

/* What the section adds to what more specific ones have said. */
static void add(struct mapping *m, const struct map_section *s)
{
	if (!m->section)
		m->section = s;
	if (!m->hash)
		m->hash = s->hash;
	if (m->action == MAP_ACTION_UNSET)
		m->action = s->action;
	for (unsigned i = 0; i < MAP_CLUSTERS; i++) {
		if (m->login[i].source == MAP_UNSET)
			m->login[i] = s->login[i];
	}
}

static void add_groups(const struct map *map, const char *user, size_t length, struct mapping *m)
{
	for (uint32_t i = find_name(&map->members, user, length);
	     i < map->members.count && is_named(&map->members.items[i], user, length); i++)
		add(m, map->members.items[i].section);
	for (uint32_t i = 0; i < map->wild_members.count; i++) {
		if (pattern_match_user(map->wild_members.items[i].pattern, user, length))
			add(m, map->wild_members.items[i].section);
	}
}

void map_find(const struct map *map, const char *user, size_t length, struct mapping *m)
{
	const struct map_section *s = find_user(map, user, length);

	*m = (struct mapping){ 0 };
	if (s)
		add(m, s);
	add_groups(map, user, length, m);
	if (!m->section)
		m->action = map->default_action;
	else if (m->action == MAP_ACTION_UNSET)
		m->action = MAP_MAP;
	if (m->action != MAP_MAP)
		memset(m->login, 0, sizeof(m->login));
}

bool map_find_certificate(const struct map *map, const char *subject, size_t length, char *user, size_t size)
{
	for (uint32_t i = 0; i < map->certificates.count; i++) {
		const struct map_name *n = &map->certificates.items[i];
		const char *name = n->section->user, *start;
		size_t span;

		if (!pattern_match_subject(n->pattern, subject, length, &start, &span))
			continue;
		if (strcmp(name, "*") != 0)
			span = strlen(name);
		else if (span == 0 || memchr(start, '\\', span))
			return false;
		else
			name = start;
		if (span >= size)
			return false;
		memcpy(user, name, span);
		user[span] = '\0';
		return true;
	}
	return false;
}

const char *map_decoy(const struct map *map, const char *user, size_t length)
{
	const struct digest_part part = { user, length };
	uint8_t digest[DIGEST_LEN];
	uint32_t number;

	if (map->hash_count == 0)
		return NULL;
	digest_make(digest, &part, 1);
	memcpy(&number, digest, sizeof(number));
	return map->hashes[number % map->hash_count];
}

static struct digest_part part_of(const char *text)
{
	return (struct digest_part){ text ? text : "", text ? strlen(text) + 1 : 0 };
}

void map_digest(const struct mapping *m, uint8_t digest[DIGEST_LEN])
{
	const uint8_t how[] = { (uint8_t)m->action, (uint8_t)m->login[0].source, (uint8_t)m->login[1].source };
	const struct digest_part parts[] = {
		{ how, sizeof(how) },          part_of(m->hash),          part_of(m->login[0].user),
		part_of(m->login[0].password), part_of(m->login[1].user), part_of(m->login[1].password),
	};

	digest_make(digest, parts, sizeof(parts) / sizeof(parts[0]));
}
