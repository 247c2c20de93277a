/*
 * map_file.c - see map_file.h
 *
 * Lines come from lines.c; here headings become sections, and keys what they
 * say. What concerns more than one section is map_check.c's.
 */
#include "map_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "hash.h"
#include "lines.h"
#include "map_secret.h"

#define FILE_SIZE_MAX ((size_t)4 << 20)

struct reader {
	struct map *map;
	struct lines lines;
	struct map_section *section; /* NULL: before the first heading */
	char *error;
	map_warn_fn warn;
	void *arg;
	unsigned key_lines[16]; /* where the section's keys stand; 0: not yet */
};

static bool fail(struct reader *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static bool fail(struct reader *r, const char *fmt, ...)
{
	const int n = snprintf(r->error, MAP_TEXT_MAX, "%s:%u: ", r->map->path, r->lines.number);
	va_list args;

	va_start(args, fmt);
	if (n > 0 && n < MAP_TEXT_MAX)
		vsnprintf(r->error + n, MAP_TEXT_MAX - (size_t)n, fmt, args);
	va_end(args);
	return false;
}

static bool fail_key(struct reader *r, const char *why)
{
	return fail(r, "[%s] %s: %s", r->section->heading, r->lines.key, why);
}

/* ---- keys ---- */

#define OF(kind) (1u << (kind))
#define OF_MAPPED (OF(MAP_USER) | OF(MAP_GROUP))

typedef bool (*key_fn)(struct reader *r, unsigned cluster);

static bool read_secret(struct reader *r, const char **secret)
{
	const char *slash = strrchr(r->map->path, '/');
	char why[MAP_TEXT_MAX];

	if (r->lines.has_comment)
		return fail_key(r, "a ; after a blank: end of the secret or part of it? allowed: the secret in double "
				   "quotes and comments on lines of their own, env:NAME, file:PATH");
	*secret = map_secret_read(r->map->vault, r->lines.value, r->map->path,
				  slash ? (size_t)(slash - r->map->path) + 1 : 0, why, r->warn, r->arg);
	return *secret || fail_key(r, why);
}

static bool on_hash(struct reader *r, unsigned cluster)
{
	const char *why;

	(void)cluster;
	if (!read_secret(r, &r->section->hash))
		return false;
	why = hash_complaint(r->section->hash);
	return !why || fail_key(r, why);
}

static bool on_cluster(struct reader *r, unsigned cluster)
{
	struct map_login *login = &r->section->login[cluster];

	if (login->source != MAP_UNSET)
		return fail_key(r,
				"this cluster has a user or password of its own in this section; allowed: one of both");
	if (strcmp(r->lines.value, "client") != 0)
		return fail_key(r, "allowed: client, or the key left out");
	login->source = MAP_CLIENT;
	return true;
}

static bool set_own(struct reader *r, struct map_login *login)
{
	if (login->source == MAP_CLIENT)
		return fail_key(r, "this cluster gets what the client gives; allowed: one of both");
	login->source = MAP_OWN;
	return true;
}

static bool on_user(struct reader *r, unsigned cluster)
{
	struct map_login *login = &r->section->login[cluster];

	if (!*r->lines.value)
		return fail_key(r, "it is empty; allowed: the name of a user, or the key left out: as the client's");
	login->user = vault_copy(r->map->vault, r->lines.value, strlen(r->lines.value));
	return set_own(r, login);
}

static bool on_password(struct reader *r, unsigned cluster)
{
	struct map_login *login = &r->section->login[cluster];

	return read_secret(r, &login->password) && set_own(r, login);
}

static bool on_action(struct reader *r, unsigned cluster)
{
	struct map_section *s = r->section;

	(void)cluster;
	if (strcmp(r->lines.value, "deny") == 0)
		s->action = MAP_DENY;
	else if (strcmp(r->lines.value, "zdm") == 0)
		s->action = MAP_ZDM;
	else
		return fail_key(r, "allowed: deny, zdm");
	if (s->kind == MAP_DEFAULT)
		r->map->default_action = s->action;
	return true;
}

static bool add_name(struct reader *r, const char *text, size_t length)
{
	struct map_section *s = r->section;
	struct pattern p;
	const char *why = s->kind == MAP_CERTIFICATE ? pattern_of_subject(&p, text, length)
						     : pattern_of_user(&p, text, length);

	if (why)
		return fail(r, "[%s]: %s", s->heading, why);
	if ((s->name_count & (s->name_count - 1)) == 0) /* full: sizes are powers of two */
		s->names = memory_grow(s->names, s->name_count ? s->name_count * 2u : 1u, sizeof(struct pattern));
	s->names[s->name_count++] = p;
	return true;
}

/* May stand several times. */
static bool on_members(struct reader *r, unsigned cluster)
{
	const char *p = r->lines.value + strspn(r->lines.value, ", \t");

	(void)cluster;
	if (!*p)
		return fail_key(r, "it is empty; allowed: names and patterns with *, separated by commas or blanks");
	while (*p) {
		size_t length = 0;

		while (p[length] && !strchr(", \t", p[length]))
			length += p[length] == '\\' && p[length + 1] ? 2 : 1;
		if (!add_name(r, p, length))
			return false;
		p += length;
		p += strspn(p, ", \t");
	}
	return true;
}

static bool on_certificate_user(struct reader *r, unsigned cluster)
{
	struct map_section *s = r->section;

	(void)cluster;
	if (!*r->lines.value)
		return fail_key(
			r, "it is empty; allowed: the name of a user, or *: what the first * of the heading stands "
			   "for");
	if (strcmp(r->lines.value, "*") == 0 && !s->names[0].is_wild)
		return fail_key(r, "the heading has no *; allowed: the name of a user");
	if (strcmp(r->lines.value, "*") != 0 && strchr(r->lines.value, '*'))
		return fail_key(r, "allowed: the name of a user, or *: what the first * of the heading stands for");
	s->user = memory_new(strlen(r->lines.value) + 1, 1);
	strcpy(s->user, r->lines.value);
	return true;
}

static const struct key {
	const char *name;
	unsigned kinds; /* the sections that it may stand in */
	unsigned cluster;
	key_fn read;
} keys[] = {
	{ "hash", OF_MAPPED, 0, on_hash },
	{ "origin", OF_MAPPED, 0, on_cluster },
	{ "origin_user", OF_MAPPED, 0, on_user },
	{ "origin_password", OF_MAPPED, 0, on_password },
	{ "target", OF_MAPPED, 1, on_cluster },
	{ "target_user", OF_MAPPED, 1, on_user },
	{ "target_password", OF_MAPPED, 1, on_password },
	{ "action", OF_MAPPED | OF(MAP_DEFAULT), 0, on_action },
	{ "members", OF(MAP_GROUP), 0, on_members },
	{ "user", OF(MAP_CERTIFICATE), 0, on_certificate_user },
};
#define KEY_COUNT (sizeof(keys) / sizeof(keys[0]))

static bool fail_unknown(struct reader *r)
{
	char allowed[256] = "";
	size_t n = 0;

	for (unsigned i = 0; i < KEY_COUNT; i++) {
		if (keys[i].kinds & OF(r->section->kind))
			n += (size_t)snprintf(allowed + n, sizeof(allowed) - n, "%s%s", n ? ", " : "", keys[i].name);
	}
	return fail(r, "[%s] %.40s: unknown key; allowed: %s", r->section->heading, r->lines.key, allowed);
}

static bool on_pair(struct reader *r)
{
	unsigned i = 0;

	if (!r->section)
		return fail(r, "%.40s: a key before the first section; allowed: %s", r->lines.key,
			    "[user NAME], [group NAME], [certificate SUBJECT], [default]");
	while (i < KEY_COUNT && (strcmp(keys[i].name, r->lines.key) != 0 || !(keys[i].kinds & OF(r->section->kind))))
		i++;
	if (i == KEY_COUNT)
		return fail_unknown(r);
	if (r->key_lines[i] && keys[i].read != on_members)
		return fail(r, "[%s] %s: given already in line %u; allowed: once", r->section->heading, r->lines.key,
			    r->key_lines[i]);
	r->key_lines[i] = r->lines.number;
	return keys[i].read(r, keys[i].cluster);
}

/* ---- sections ---- */

static bool check_login(struct reader *r, unsigned cluster)
{
	static const char *const names[] = { "origin", "target" };
	const struct map_section *s = r->section;
	const struct map_login *login = &s->login[cluster];

	r->lines.number = s->line;
	if (login->source == MAP_OWN && !login->password)
		return fail(r,
			    "[%s] %s_password is missing, and there is %s_user; allowed: both, or the password alone",
			    s->heading, names[cluster], names[cluster]);
	return true;
}

/* When the section is over. Messages name the line of its heading. */
static bool section_end(struct reader *r)
{
	struct map_section *s = r->section;
	const unsigned number = r->lines.number;
	bool maps;

	if (!s)
		return true;
	r->lines.number = s->line;
	if (s->kind == MAP_CERTIFICATE && !s->user)
		return fail(r, "[%s] user is missing", s->heading);
	if (s->kind == MAP_GROUP && s->name_count == 0)
		return fail(r, "[%s] members is missing", s->heading);
	if (s->kind == MAP_DEFAULT && s->action == MAP_ACTION_UNSET)
		return fail(r, "[%s] action is missing; allowed: deny, zdm", s->heading);
	maps = s->login[0].source != MAP_UNSET || s->login[1].source != MAP_UNSET;
	if (s->action == MAP_DENY && (maps || s->hash))
		return fail(r, "[%s] action = deny leaves nothing for other keys; allowed: it alone", s->heading);
	if (s->action == MAP_ZDM && maps)
		return fail(r,
			    "[%s] action = zdm leaves no room for users and passwords of the clusters; allowed beside "
			    "it: hash",
			    s->heading);
	if (maps && s->action == MAP_ACTION_UNSET)
		s->action = MAP_MAP;
	if (s->kind <= MAP_GROUP && s->action == MAP_ACTION_UNSET && !s->hash)
		return fail(r, "[%s] says nothing; allowed: %s", s->heading,
			    "a user and password of a cluster, origin = client, target = client, hash, action");
	if (!check_login(r, 0) || !check_login(r, 1))
		return false;
	r->lines.number = number;
	return true;
}

static bool on_heading(struct reader *r)
{
	static const char *const kinds[] = { "user ", "group ", "certificate " };
	const char *heading = r->lines.key, *name = "";
	unsigned kind = 0;

	while (kind < MAP_DEFAULT && strncmp(heading, kinds[kind], strlen(kinds[kind])) != 0)
		kind++;
	if (kind == MAP_DEFAULT && strcmp(heading, "default") != 0)
		return fail(r,
			    "[%.60s]: unknown section; allowed: [user NAME], [group NAME], [certificate SUBJECT], "
			    "[default]",
			    heading);
	/* Users, of whom there may be many, are compared when they are in order: map_check.c. */
	for (uint32_t i = 0; kind != MAP_USER && i < r->map->section_count; i++) {
		if (strcmp(r->map->sections[i]->heading, heading) == 0)
			return fail(r, "[%s]: the section began already in line %u; allowed: each section once",
				    heading, r->map->sections[i]->line);
	}
	r->section = map_add(r->map, (enum map_kind)kind, heading, r->lines.number);
	memset(r->key_lines, 0, sizeof(r->key_lines));
	if (kind == MAP_DEFAULT || kind == MAP_GROUP)
		return true;
	name = heading + strlen(kinds[kind]);
	name += strspn(name, " \t");
	return add_name(r, name, strlen(name));
}

static bool read_sections(struct reader *r)
{
	for (;;) {
		switch (lines_next(&r->lines)) {
		case LINES_HEADING:
			if (!section_end(r) || !on_heading(r))
				return false;
			break;
		case LINES_PAIR:
			if (!on_pair(r))
				return false;
			break;
		case LINES_END:
			return section_end(r);
		case LINES_WRONG:
			return r->section ? fail(r, "[%s] %s", r->section->heading, r->lines.wrong)
					  : fail(r, "%s", r->lines.wrong);
		}
	}
}

/* ---- the file ---- */

static char *fail_file(const char *path, char *error, int fd, const char *why)
{
	snprintf(error, MAP_TEXT_MAX, "%s: %s", path, why);
	if (fd >= 0)
		close(fd);
	return NULL;
}

/* With a byte to spare behind it. */
static char *load(struct vault *vault, const char *path, size_t *size, char *error, map_warn_fn warn, void *arg)
{
	const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct stat st;
	size_t n = 0;
	char *text;

	if (fd < 0 || fstat(fd, &st) < 0)
		return fail_file(path, error, fd, strerror(errno));
	if (!S_ISREG(st.st_mode))
		return fail_file(path, error, fd, "this is no file");
	if ((size_t)st.st_size > FILE_SIZE_MAX)
		return fail_file(path, error, fd, "larger than 4 MiB");
	map_secret_check_mode(fd, path, warn, arg);
	text = vault_alloc(vault, (size_t)st.st_size + 1);
	while (n < (size_t)st.st_size) {
		const ssize_t got = read(fd, text + n, (size_t)st.st_size - n);

		if (got < 0 && errno != EINTR)
			return fail_file(path, error, fd, strerror(errno));
		if (got == 0)
			break;
		n += got > 0 ? (size_t)got : 0;
	}
	close(fd);
	*size = n;
	return text;
}

struct map *map_file_read(const char *path, char *error, map_warn_fn warn, void *arg)
{
	struct reader r = { .error = error, .warn = warn, .arg = arg };
	struct vault *vault = vault_new();
	size_t size = 0;
	char *text = load(vault, path, &size, error, warn, arg);
	bool ok = text != NULL;

	if (ok) {
		r.map = map_new(path);
		lines_init(&r.lines, text, size);
		ok = read_sections(&r);
		if (ok)
			map_index(r.map);
		else
			map_free(r.map);
	}
	vault_free(vault);
	return ok ? r.map : NULL;
}
