/* test_auth_map.c - the parts of plugins/auth_map: patterns, the mapping file, hashes, memory, lock-out, helper threads. */
#include "auth_map/map_check.h"

#include <check.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "auth_map/hash.h"
#include "auth_map/remembered.h"
#include "auth_map/verifier.h"

#define SECOND 1000000000ull
/* Of "secret". */
#define SHA512                                                                                                         \
	"$6$rounds=1000$abcdefgh$nhYjN017qxiYztzyUpZtPnUQcnLy62KsunSLHNeLahp2EHPlAKmFFlrjEwSXGo2kgY5hR2.peKEg2VGUqIJJu1"
#define YESCRYPT "$y$j9T$k2XAnEHBqQ1Ct2aMXFKNa/$wlUhTDUqAryQnsZkFoU5UZ6UStBlZ4Z8j4gtdFPQVn4"
#define BCRYPT "$2b$05$KBCwKxOzLha2MUDgW0PjXeGy8zDyKFegpVV4y0qPBUgij10WNyKY6"

/* ---- patterns ---- */

static bool matches_user(const char *pattern, const char *name)
{
	struct pattern p;
	bool matches;

	ck_assert_ptr_null(pattern_of_user(&p, pattern, strlen(pattern)));
	matches = pattern_match_user(&p, name, strlen(name));
	pattern_free(&p);
	return matches;
}

START_TEST(patterns_of_users)
{
	static const struct {
		const char *pattern, *name;
		bool matches;
	} cases[] = {
		{ "app", "app", true },
		{ "app", "App", false },
		{ "app", "apps", false },
		{ "app", "ap", false },
		{ "app_*", "app_", true },
		{ "app_*", "app_orders", true },
		{ "app_*", "xapp_orders", false },
		{ "*", "", true },
		{ "*", "anybody", true },
		{ "*_rw", "orders_rw", true },
		{ "*_rw", "orders_rw2", false },
		{ "a*b*c", "axxbxxbyyc", true },
		{ "a*b*c", "axxbxx", false },
		{ "a*b*c", "acb", false },
		{ "a**b", "ab", true },
		{ "a\\*b", "a*b", true },
		{ "a\\*b", "axb", false },
		{ "a\\\\b", "a\\b", true },
		{ "*", "\001", true },
		{ "a*", "a\001b", true },
		{ "\xC3\xA9*", "\xC3\xA9t\xC3\xA9", true },
	};

	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		ck_assert_msg(matches_user(cases[i].pattern, cases[i].name) == cases[i].matches, "%s: %s",
			      cases[i].pattern, cases[i].name);
}
END_TEST

/* Much going back: it stays below the product of the lengths. */
START_TEST(pattern_that_goes_back)
{
	char name[1001], pattern[128] = "";

	memset(name, 'a', 1000);
	name[1000] = '\0';
	for (unsigned i = 0; i < 30; i++)
		strcat(pattern, "a*");
	strcat(pattern, "b");
	ck_assert(!matches_user(pattern, name));
}
END_TEST

static int subject(const char *pattern, const char *name, char *first, size_t size)
{
	struct pattern p;
	const char *start;
	size_t span;
	bool matches;

	ck_assert_ptr_null(pattern_of_subject(&p, pattern, strlen(pattern)));
	matches = pattern_match_subject(&p, name, strlen(name), &start, &span);
	if (matches && first)
		snprintf(first, size, "%.*s", (int)span, start);
	pattern_free(&p);
	return matches;
}

START_TEST(patterns_of_subjects)
{
	char first[64];

	ck_assert(subject("CN=app,O=Example", "CN=app,O=Example", NULL, 0));
	ck_assert(subject("CN = app , O= Example", "CN=app,O=Example", NULL, 0));
	ck_assert(!subject("CN=app,O=Example", "CN=app,O=Example,C=DE", NULL, 0));
	ck_assert(subject("CN=app-*,O=Example", "CN=app-orders,O=Example", first, sizeof(first)));
	ck_assert_str_eq(first, "orders");
	ck_assert(subject("CN=*,OU=*,O=x", "CN=a,OU=b,O=x", first, sizeof(first)));
	ck_assert_str_eq(first, "a");
	ck_assert(subject("CN=*", "CN=a\\,b", first, sizeof(first)));
	ck_assert_str_eq(first, "a\\,b");
	/* A "*" ends with its attribute: nobody gets further by an attribute of his own. */
	ck_assert(!subject("CN=*,O=Example", "CN=x,OU=y,O=Example", NULL, 0));
	ck_assert(!subject("CN=*,O=Example", "CN=x+UID=y,O=Example", NULL, 0));
	ck_assert(!subject("CN=*,O=Example", "CN=x\\,O=Example", NULL, 0));
	ck_assert(subject("CN=a\\,b,O=x", "CN=a\\,b,O=x", NULL, 0));
}
END_TEST

START_TEST(patterns_that_are_refused)
{
	static const char *const users[] = { "", "a\nb", "a\\", "\001" };
	static const char *const subjects[] = { "",    "app",     "CN=a,",   "=a",    "CN=a,b",
						"*=a", "CN=**a*", "CN=a*b*", "CN=a\\" };
	struct pattern p;

	for (unsigned i = 0; i < sizeof(users) / sizeof(users[0]); i++)
		ck_assert_ptr_nonnull(pattern_of_user(&p, users[i], strlen(users[i])));
	for (unsigned i = 0; i < sizeof(subjects) / sizeof(subjects[0]); i++)
		ck_assert_msg(pattern_of_subject(&p, subjects[i], strlen(subjects[i])) != NULL, "%s", subjects[i]);
}
END_TEST

/* ---- the file ---- */

static char folder[] = "/tmp/test_auth_map.XXXXXX";
static char path[64];
static char warnings[4096];

static void on_warn(void *arg, const char *text)
{
	(void)arg;
	strncat(warnings, text, sizeof(warnings) - strlen(warnings) - 2);
	strcat(warnings, "\n");
}

static void write_file(const char *name, const void *text, size_t size, mode_t mode)
{
	char full[128];
	FILE *f;

	snprintf(full, sizeof(full), "%s/%s", folder, name);
	f = fopen(full, "w");
	ck_assert_ptr_nonnull(f);
	ck_assert_uint_eq(fwrite(text, 1, size, f), size);
	ck_assert_int_eq(fclose(f), 0);
	ck_assert_int_eq(chmod(full, mode), 0);
}

static const struct map_demand optional = { .verify = MAP_VERIFY_OPTIONAL, .has_certificates = true };

/* NULL: `error` says why, without the folder. */
static struct map *read_map(const char *text, size_t size, const struct map_demand *demand, char *error)
{
	char full[MAP_TEXT_MAX] = "";
	struct map *map;

	warnings[0] = '\0';
	write_file("map.ini", text, size, 0600);
	map = map_file_read(path, full, on_warn, NULL);
	if (map && !map_check(map, demand, full, on_warn, NULL)) {
		map_free(map);
		map = NULL;
	}
	if (!map) {
		ck_assert_msg(strncmp(full, folder, strlen(folder)) == 0, "%s", full);
		strcpy(error, full + strlen(folder) + 1);
	}
	return map;
}

static struct map *good_map(const char *text)
{
	char error[MAP_TEXT_MAX];
	struct map *map = read_map(text, strlen(text), &optional, error);

	ck_assert_msg(map != NULL, "%s", error);
	return map;
}

static void find(const struct map *map, const char *user, struct mapping *m)
{
	map_find(map, user, strlen(user), m);
}

static const char users[] = "; a comment\r\n"
			    "# another one\n"
			    "\n"
			    "[user alice]\n"
			    "hash = " SHA512 "\n"
			    "origin_user = alice_o\n"
			    "origin_password = \"a;b \"\"c\"\"\"\n"
			    "target = client ; a comment\n"
			    "[user app_*]\n"
			    "hash = " YESCRYPT "\n"
			    "origin_password = from_app\n"
			    "[user app_orders_*]\n"
			    "hash = " BCRYPT "\n"
			    "[group orders]\n"
			    "members = app_orders_1, bob carol\n"
			    "members = app_orders_*\n"
			    "target_user = orders\n"
			    "target_password = p\n"
			    "hash = " YESCRYPT "\n"
			    "[group early]\n"
			    "members = app_orders_1\n"
			    "origin_user = first\n"
			    "origin_password = p\n"
			    "target_user = second\n"
			    "target_password = p\n"
			    "hash = " SHA512 "\n"
			    "[user eve]\n"
			    "action = deny\n"
			    "[user old]\n"
			    "action = zdm\n"
			    "[user checked]\n"
			    "action = zdm\n"
			    "hash = " SHA512;

START_TEST(most_specific_first)
{
	struct map *map = good_map(users);
	struct mapping m;

	find(map, "alice", &m);
	ck_assert_int_eq(m.action, MAP_MAP);
	ck_assert_str_eq(m.hash, SHA512);
	ck_assert_str_eq(m.login[0].user, "alice_o");
	ck_assert_str_eq(m.login[0].password, "a;b \"c\"");
	ck_assert_int_eq(m.login[1].source, MAP_CLIENT);

	find(map, "app_x", &m); /* its own name on origin, nothing of target */
	ck_assert_str_eq(m.section->heading, "user app_*");
	ck_assert_ptr_null(m.login[0].user);
	ck_assert_str_eq(m.login[0].password, "from_app");
	ck_assert_int_eq(m.login[1].source, MAP_UNSET);

	find(map, "app_orders_1", &m); /* the pattern with more letters, then the groups in the order of the file */
	ck_assert_str_eq(m.section->heading, "user app_orders_*");
	ck_assert_str_eq(m.hash, BCRYPT);
	ck_assert_str_eq(m.login[0].user, "first");
	ck_assert_str_eq(m.login[1].user, "orders");

	find(map, "app_orders_2", &m);
	ck_assert_int_eq(m.login[0].source, MAP_UNSET);
	ck_assert_str_eq(m.login[1].user, "orders");

	find(map, "carol", &m); /* a group alone */
	ck_assert_str_eq(m.section->heading, "group orders");
	ck_assert_str_eq(m.hash, YESCRYPT);

	find(map, "eve", &m);
	ck_assert_int_eq(m.action, MAP_DENY);
	find(map, "old", &m);
	ck_assert_int_eq(m.action, MAP_ZDM);
	find(map, "checked", &m);
	ck_assert_int_eq(m.action, MAP_ZDM);
	ck_assert_ptr_nonnull(m.hash);

	find(map, "nobody", &m);
	ck_assert_int_eq(m.action, MAP_DENY);
	ck_assert_ptr_null(m.section);
	find(map, "", &m);
	ck_assert_int_eq(m.action, MAP_DENY);
	map_free(map);
}
END_TEST

START_TEST(certificates)
{
	struct map *map = good_map("[certificate CN=*,O=Example]\nuser = *\n"
				   "[certificate CN=special, O=Example]\nuser = other\n"
				   "[certificate CN=app-*,O=Example]\nuser = app\n"
				   "[user *]\norigin = client\n");
	char name[16];

	ck_assert(map_find_certificate(map, "CN=special,O=Example", 20, name, sizeof(name)));
	ck_assert_str_eq(name, "other");
	ck_assert(map_find_certificate(map, "CN=app-1,O=Example", 18, name, sizeof(name)));
	ck_assert_str_eq(name, "app");
	ck_assert(map_find_certificate(map, "CN=carol,O=Example", 18, name, sizeof(name)));
	ck_assert_str_eq(name, "carol");
	ck_assert(!map_find_certificate(map, "CN=carol,O=Other", 16, name, sizeof(name)));
	ck_assert(!map_find_certificate(map, "CN=a\\,b,O=Example", 17, name, sizeof(name)));
	ck_assert(!map_find_certificate(map, "CN=a-name-that-is-too-long,O=Example", 36, name, sizeof(name)));
	ck_assert(!map_find_certificate(map, "CN=,O=Example", 13, name, sizeof(name)));
	ck_assert(!map_find_certificate(map, "", 0, name, sizeof(name)));
	map_free(map);
}
END_TEST

/* What is refused: the message begins so. */
static const struct {
	const char *text, *error;
} wrong[] = {
	{ "origin = client\n", "map.ini:1: origin: a key before the first section; allowed: [user NAME]" },
	{ "\n[user\n", "map.ini:2: a section heading without ]" },
	{ "[user a] x\n", "map.ini:1: something follows the section heading" },
	{ "[usr a]\n", "map.ini:1: [usr a]: unknown section; allowed: [user NAME], [group NAME]" },
	{ "[user]\n", "map.ini:1: [user]: unknown section" },
	{ "[user a\\]\n", "map.ini:1: [user a\\]: a backslash with nothing behind it" },
	{ "[user a]\norigin = client\n[user a]\norigin = client\n",
	  "map.ini:3: [user a]: the section began already in line 1" },
	{ "[user a]\norigin = client\n[user  a]\norigin = client\n",
	  "map.ini:3: [user  a]: the section began already in line 1" },
	{ "[default]\naction = deny\n[default]\naction = deny\n",
	  "map.ini:3: [default]: the section began already in line 1" },
	{ "[user a]\n", "map.ini:1: [user a] says nothing; allowed: a user and password" },
	{ "[group a]\norigin = client\n", "map.ini:1: [group a] members is missing" },
	{ "[group a]\nmembers = ,\n", "map.ini:2: [group a] members: it is empty" },
	{ "[group a]\nmembers = b\\\n", "map.ini:2: [group a]: a backslash with nothing behind it" },
	{ "[default]\n", "map.ini:1: [default] action is missing; allowed: deny, zdm" },
	{ "[default]\naction = allow\n", "map.ini:2: [default] action: allowed: deny, zdm" },
	{ "[default]\norigin = client\n", "map.ini:2: [default] origin: unknown key; allowed: action" },
	{ "[user a]\nmembers = b\n", "map.ini:2: [user a] members: unknown key; allowed: hash, origin, origin_user" },
	{ "[user a]\n origin = client\n", "map.ini:2: [user a] an indented line" },
	{ "[user a]\norigin client\n", "map.ini:2: [user a] this line is no \"key = value\"" },
	{ "[user a]\norigin = no\n", "map.ini:2: [user a] origin: allowed: client, or the key left out" },
	{ "[user a]\norigin_user = \n", "map.ini:2: [user a] origin_user: it is empty" },
	{ "[user a]\norigin_password = \n", "map.ini:2: [user a] origin_password: it is empty" },
	{ "[user a]\norigin_user = b\n", "map.ini:1: [user a] origin_password is missing, and there is origin_user" },
	{ "[user a]\norigin = client\norigin_user = b\n",
	  "map.ini:3: [user a] origin_user: this cluster gets what the client gives" },
	{ "[user a]\norigin_password = b\norigin = client\n",
	  "map.ini:3: [user a] origin: this cluster has a user or password" },
	{ "[user a]\ntarget = client\ntarget = client\n",
	  "map.ini:3: [user a] target: given already in line 2; allowed: once" },
	{ "[user a]\norigin_password = hunter2 ; 3\n", "map.ini:2: [user a] origin_password: a ; after a blank" },
	{ "[user a]\norigin_password = hunter2 # 3\n", "map.ini:2: [user a] a # after a blank" },
	{ "[user a]\norigin_password = \"hunter2\n", "map.ini:2: [user a] a double quote that is not closed" },
	{ "[user a]\norigin_password = \"hunter2\" x\n", "map.ini:2: [user a] something follows the closing quote" },
	{ "[user a]\norigin_password = env:TEST_AUTH_MAP_NOT_SET\n",
	  "map.ini:2: [user a] origin_password: env:TEST_AUTH_MAP_NOT_SET: this variable is not set" },
	{ "[user a]\norigin_password = file:absent\n",
	  "map.ini:2: [user a] origin_password: file:/tmp/test_auth_map." },
	{ "[user a]\nhash = hunter2\n",
	  "map.ini:2: [user a] hash: no hash of a method that is taken; allowed: yescrypt" },
	{ "[user a]\nhash = $1$k2XAnEHB$rbDfQq368qWY4bas.D3Ac0\n", "map.ini:2: [user a] hash: no hash of a method" },
	{ "[user a]\nhash = $6$abcdefgh$ltjgWl6579\n", "map.ini:2: [user a] hash: a hash that is cut short" },
	{ "[user a]\nhash = $6$rounds=9999999$abcdefgh$nhYjN017qxiYztzyUpZtPnUQcnLy62KsunSLHNeLahp2EHPlAKmFFlrjEwSXGo2kgY5hR2.peKEg2VGUqIJJu1\n",
	  "map.ini:2: [user a] hash: a hash of more than 5000000 rounds" },
	{ "[user a]\nhash = $6$rounds=999$abcdefgh$nhYjN017qxiYztzyUpZtPnUQcnLy62KsunSLHNeLahp2EHPlAKmFFlrjEwSXGo2kgY5hR2.peKEg2VGUqIJJu1\n",
	  "map.ini:2: [user a] hash: a hash whose number of rounds is none; allowed: 1000 to 5000000" },
	{ "[user a]\nhash = $6$rounds=01000$abcdefgh$nhYjN017qxiYztzyUpZtPnUQcnLy62KsunSLHNeLahp2EHPlAKmFFlrjEwSXGo2kgY5hR2.peKEg2VGUqIJJu1\n",
	  "map.ini:2: [user a] hash: a hash whose number of rounds is none" },
	{ "[user a]\nhash = $6$abcdefghabcdefghi$nhYjN017qxiYztzyUpZtPnUQcnLy62KsunSLHNeLahp2EHPlAKmFFlrjEwSXGo2kgY5hR2.peKEg2VGUqIJJu1\n",
	  "map.ini:2: [user a] hash: a hash with a salt longer than 16 characters" },
	{ "[user a]\naction = deny\norigin = client\n",
	  "map.ini:1: [user a] action = deny leaves nothing for other keys" },
	{ "[user a]\naction = zdm\norigin = client\n", "map.ini:1: [user a] action = zdm leaves no room" },
	{ "[certificate app]\nuser = a\n",
	  "map.ini:1: [certificate app]: no certificate's subject; allowed: as in CN=app" },
	{ "[certificate CN=a]\n", "map.ini:1: [certificate CN=a] user is missing" },
	{ "[certificate CN=a]\nuser = *\n", "map.ini:2: [certificate CN=a] user: the heading has no *" },
	{ "[certificate CN=*]\nuser = a*\n", "map.ini:2: [certificate CN=*] user: allowed: the name of a user" },
	{ "[certificate CN=a]\nuser = b\n", "map.ini:1: [certificate CN=a] user: there is no section for b" },
	/* What would let anybody in. */
	{ "[user a]\norigin_password = p\n", "map.ini:1: [user a] every client that names the user would get" },
	{ "[user a*]\norigin_password = p\ntarget_password = p\n",
	  "map.ini:1: [user a*] every client that names the user" },
	{ "[group g]\nmembers = x y\ntarget_password = p\n", "map.ini:1: [group g] every client that names the user" },
	{ "[user x]\norigin = client\n[group g]\nmembers = x y\ntarget_password = p\n",
	  "map.ini:3: [group g] every client" },
};

START_TEST(wrong_files)
{
	char error[MAP_TEXT_MAX];
	struct map *map = read_map(wrong[_i].text, strlen(wrong[_i].text), &optional, error);

	ck_assert_msg(map == NULL, "taken: %s", wrong[_i].text);
	ck_assert_msg(strncmp(error, wrong[_i].error, strlen(wrong[_i].error)) == 0, "%s\n  instead of %s", error,
		      wrong[_i].error);
	ck_assert_ptr_null(strstr(error, "hunter2"));
}
END_TEST

START_TEST(wrong_bytes)
{
	char error[MAP_TEXT_MAX];

	ck_assert_ptr_null(read_map("[user a]\norigin\0 = x\n", 21, &optional, error));
	ck_assert_str_eq(error, "map.ini:2: [user a] a NUL byte");
	ck_assert_ptr_null(map_file_read("/dev/null", error, on_warn, NULL));
	ck_assert_str_eq(error, "/dev/null: this is no file");
	ck_assert_ptr_null(map_file_read("/nowhere", error, on_warn, NULL));
	ck_assert_str_eq(error, "/nowhere: No such file or directory");
}
END_TEST

/* Any prefix of a good file, and any single byte of it changed, is read or refused. */
START_TEST(damaged_files)
{
	char error[MAP_TEXT_MAX], text[sizeof(users)];

	for (size_t n = 0; n < sizeof(users) - 1; n += 3)
		map_free(read_map(users, n, &optional, error));
	for (size_t i = 0; i < sizeof(users) - 1; i += 3) {
		memcpy(text, users, sizeof(users));
		text[i] = "[]=*\\\n\0"[i % 7];
		map_free(read_map(text, sizeof(users) - 1, &optional, error));
	}
}
END_TEST

/* It can be meant, but mostly it was emptied. */
START_TEST(nobody_in_it)
{
	static const struct {
		const char *text;
		bool warns;
	} cases[] = { { "", true },
		      { "; nothing\n[default]\naction = deny\n", true },
		      { "[default]\naction = zdm\n", false },
		      { "[user a]\naction = zdm\n", false },
		      { "[group g]\nmembers = a*\nhash = " SHA512 "\n", false } };

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		map_free(good_map(cases[i].text));
		ck_assert_msg((strstr(warnings, "has no user and no group, so nobody gets in") != NULL) ==
				      cases[i].warns,
			      "%s: %s", cases[i].text, warnings);
	}
}
END_TEST

START_TEST(secrets_and_modes)
{
	struct map *map;
	struct mapping m;

	setenv("TEST_AUTH_MAP", "from the environment", 1);
	write_file("secret", "from a file\r\n", 13, 0644);
	map = good_map("[user a]\norigin_password = env:TEST_AUTH_MAP\ntarget_password = file:secret\nhash = " SHA512
		       "\n");
	find(map, "a", &m);
	ck_assert_str_eq(m.login[0].password, "from the environment");
	ck_assert_str_eq(m.login[1].password, "from a file");
	ck_assert_ptr_nonnull(strstr(warnings, "others may read "));
	ck_assert_ptr_nonnull(strstr(warnings, "/secret (its mode is 0644): it should be 0600"));
	ck_assert_ptr_null(strstr(warnings, "map.ini"));
	map_free(map);
}
END_TEST

START_TEST(demands)
{
	static const char hashless[] = "[user a]\norigin_password = p\ntarget = client\n";
	static const char hashed[] = "[user a]\norigin_password = p\nhash = " SHA512 "\n";
	struct map_demand off = { .verify = MAP_VERIFY_OFF }, required = { .verify = MAP_VERIFY_REQUIRED };
	struct map_demand any = { .verify = MAP_VERIFY_OPTIONAL, .accepts_any_password = true };
	char error[MAP_TEXT_MAX];
	struct map *map;

	ck_assert_ptr_null(read_map(hashless, strlen(hashless), &required, error));
	ck_assert_ptr_nonnull(strstr(error, "map.ini:1: [user a] hash is missing, and verify = required"));
	ck_assert_ptr_null(read_map(hashed, strlen(hashed), &off, error));
	ck_assert_ptr_nonnull(strstr(error, "verify = off; allowed: verify = optional"));
	ck_assert_ptr_null(read_map("[default]\naction = zdm\n", 23, &required, error));
	ck_assert_ptr_nonnull(strstr(error, "map.ini:1: [default] action = zdm lets users in"));
	map = read_map(hashed, strlen(hashed), &required, error);
	ck_assert_ptr_nonnull(map);
	map_free(map);
	map = read_map("[user a]\norigin_password = p\n", 29, &any, error);
	ck_assert_ptr_nonnull(map);
	map_free(map);
}
END_TEST

/* At a log-in it counts what the clusters demand. */
START_TEST(who_compares)
{
	struct map *map = good_map("[user a]\norigin_password = p\ntarget = client\n");
	const bool both[] = { true, true }, origin[] = { true, false }, target[] = { false, true };
	const bool none[] = { false, false };
	struct mapping m;

	find(map, "a", &m);
	ck_assert(map_is_checked(&m, &optional, both));
	ck_assert(!map_is_checked(&m, &optional, origin));
	ck_assert(map_is_checked(&m, &optional, target));
	ck_assert(map_is_checked(&m, &optional, none));
	map_free(map);
}
END_TEST

START_TEST(digests_of_mappings)
{
	struct map *a = good_map(users), *b = good_map(users);
	uint8_t of_a[DIGEST_LEN], of_b[DIGEST_LEN];
	struct mapping m;

	find(a, "alice", &m);
	map_digest(&m, of_a);
	find(b, "alice", &m);
	map_digest(&m, of_b);
	ck_assert(digest_is_equal(of_a, of_b));
	find(b, "app_x", &m);
	map_digest(&m, of_b);
	ck_assert(!digest_is_equal(of_a, of_b));
	ck_assert_ptr_nonnull(map_decoy(a, "nobody", 6));
	ck_assert_ptr_eq(map_decoy(a, "nobody", 6), map_decoy(a, "nobody", 6));
	map_free(a);
	map_free(b);
}
END_TEST

/* ---- hashes, memory, lock-out ---- */

START_TEST(hashes)
{
	static const char *const all[] = {
		SHA512, YESCRYPT, BCRYPT, "$5$k2XAnEHBqQ1Ct2aM$rnCuOqWo.paDhUxsmHP0RfEIDdETSMulnLCs8sxkDq/",
		"$gy$j9T$k2XAnEHBqQ1Ct2aMXFKNa/$1Ge.w/tr2e3TdN67lBUZ4pe4klR/hfBEbnc.jwyJpW/"
	};
	struct hash_room *room = hash_room_new();
	char longer[600];

	for (unsigned i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		ck_assert_ptr_null(hash_complaint(all[i]));
		ck_assert_msg(hash_matches(room, all[i], "secret", 6), "%s", all[i]);
		ck_assert(!hash_matches(room, all[i], "secreu", 6));
	}
	memset(longer, 'a', sizeof(longer));
	ck_assert(!hash_matches(room, SHA512, longer, sizeof(longer)));
	ck_assert(!hash_matches(room, SHA512, "", 0));
	ck_assert(!hash_has_failed(room));
	ck_assert_ptr_null(hash_complaint("$y$jZZZ$salt$aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"));
	ck_assert(!hash_matches(room, "$y$jZZZ$salt$aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "x", 1));
	ck_assert(hash_has_failed(room));
	ck_assert(!hash_matches(room, SHA512, "secret\0x", 8));
	hash_room_free(room);
}
END_TEST

START_TEST(memory_of_successes)
{
	struct remembered *r = remembered_new();
	uint8_t key[DIGEST_LEN], other[DIGEST_LEN];

	remembered_key(key, "a", 1, "bc", 2, SHA512);
	remembered_key(other, "ab", 2, "c", 1, SHA512);
	ck_assert(!digest_is_equal(key, other));
	ck_assert(!remembered_has(r, key, SECOND, SECOND));
	remembered_add(r, key, SECOND);
	ck_assert(remembered_has(r, key, SECOND, SECOND));
	ck_assert(!remembered_has(r, other, SECOND, SECOND));
	ck_assert(!remembered_has(r, key, SECOND, 0));
	ck_assert(remembered_has(r, key, 2 * SECOND - 1, SECOND));
	ck_assert(!remembered_has(r, key, 2 * SECOND, SECOND));
	for (unsigned i = 0; i < 100000; i++) { /* it is bounded: of a full set the oldest goes */
		memcpy(other, &i, sizeof(i));
		remembered_add(r, other, 3 * SECOND + i);
	}
	ck_assert(!remembered_has(r, key, 3 * SECOND, 10 * SECOND));
	ck_assert(remembered_has(r, other, 3 * SECOND + 100000, 10 * SECOND));
	remembered_free(r);
}
END_TEST

START_TEST(lock_out)
{
	static const struct lockout_limits limits = { .failures = 3, .window_ns = 10 * SECOND, .time_ns = 60 * SECOND };
	static const struct lockout_limits never = { .window_ns = SECOND, .time_ns = SECOND };
	struct lockout *l = lockout_new();
	uint8_t a[LOCKOUT_KEY_LEN], b[LOCKOUT_KEY_LEN];

	ck_assert(lockout_key(a, "10.0.0.1", 8));
	ck_assert(lockout_key(b, "10.0.0.2", 8));
	for (unsigned i = 0; i < 100; i++)
		ck_assert(!lockout_failed(l, a, SECOND, &never));
	ck_assert(!lockout_failed(l, a, SECOND, &limits));
	ck_assert(!lockout_failed(l, a, 2 * SECOND, &limits));
	ck_assert(!lockout_failed(l, a, 11 * SECOND, &limits)); /* another window */
	ck_assert(!lockout_failed(l, a, 12 * SECOND, &limits));
	ck_assert_uint_eq(lockout_left(l, a, 12 * SECOND), 0);
	ck_assert(lockout_failed(l, a, 13 * SECOND, &limits));
	ck_assert(!lockout_failed(l, a, 14 * SECOND, &limits)); /* said once */
	ck_assert_uint_eq(lockout_left(l, a, 14 * SECOND), 59 * SECOND);
	ck_assert_uint_eq(lockout_left(l, b, 14 * SECOND), 0);
	ck_assert_uint_eq(lockout_count(l, 14 * SECOND), 1);
	ck_assert_uint_eq(lockout_left(l, a, 73 * SECOND), 0);
	ck_assert_uint_eq(lockout_count(l, 73 * SECOND), 0);
	ck_assert(!lockout_failed(l, a, 73 * SECOND, &limits)); /* from the beginning */
	lockout_free(l);
}
END_TEST

START_TEST(addresses)
{
	uint8_t a[LOCKOUT_KEY_LEN], b[LOCKOUT_KEY_LEN];

	ck_assert(lockout_key(a, "::ffff:10.0.0.1", 15) && lockout_key(b, "10.0.0.1", 8));
	ck_assert_mem_eq(a, b, LOCKOUT_KEY_LEN);
	ck_assert(lockout_key(a, "2001:db8::1", 11) && lockout_key(b, "2001:db8::ffff:2", 16));
	ck_assert_mem_eq(a, b, LOCKOUT_KEY_LEN);
	ck_assert(lockout_key(b, "2001:db8:0:1::1", 15));
	ck_assert_mem_ne(a, b, LOCKOUT_KEY_LEN);
	ck_assert(lockout_key(a, "fe80::1%eth0", 12));
	ck_assert(!lockout_key(a, "", 0) && !lockout_key(a, "host", 4));
}
END_TEST

/* ---- helper threads ---- */

/* They wait until the test lets one through. */
struct gate {
	pthread_mutex_t lock;
	pthread_cond_t change;
	unsigned arrived, open, done;
	uint64_t ticket;
};

static enum verifier_result gate_check(void *arg, const struct verifier_question *q, struct hash_room *room)
{
	struct gate *g = arg;

	(void)room;
	pthread_mutex_lock(&g->lock);
	g->arrived++;
	pthread_cond_broadcast(&g->change);
	while (g->open == 0)
		pthread_cond_wait(&g->change, &g->lock);
	g->open--;
	pthread_mutex_unlock(&g->lock);
	return memcmp(q->password, "right", 5) == 0 && strcmp(q->hash, "h") == 0 ? VERIFIER_GOOD : VERIFIER_WRONG;
}

static void gate_done(void *arg, uint64_t ticket)
{
	struct gate *g = arg;

	pthread_mutex_lock(&g->lock);
	g->done++;
	g->ticket = ticket;
	pthread_cond_broadcast(&g->change);
	pthread_mutex_unlock(&g->lock);
}

static void gate_wait(struct gate *g, const unsigned *what, unsigned count)
{
	pthread_mutex_lock(&g->lock);
	while (*what < count)
		pthread_cond_wait(&g->change, &g->lock);
	pthread_mutex_unlock(&g->lock);
}

static void gate_open(struct gate *g, unsigned count)
{
	pthread_mutex_lock(&g->lock);
	g->open += count;
	pthread_cond_broadcast(&g->change);
	pthread_mutex_unlock(&g->lock);
}

START_TEST(helper_threads)
{
	static const struct verifier_ops ops = { gate_check, gate_done };
	struct gate g = { .lock = PTHREAD_MUTEX_INITIALIZER, .change = PTHREAD_COND_INITIALIZER };
	struct verifier *v = verifier_new(1, 2, 5, &ops, &g);
	struct verifier_question q = { .password = "right", .password_length = 5, .hash = "h" };
	struct verifier_job *jobs[4];

	ck_assert_ptr_nonnull(v);
	for (unsigned i = 0; i < 3; i++) {
		q.ticket = i + 1;
		q.password = i == 1 ? "wrong" : "right";
		jobs[i] = verifier_ask(v, &q);
		ck_assert_ptr_nonnull(jobs[i]);
		if (i == 0)
			gate_wait(&g, &g.arrived, 1); /* it is out of the queue */
	}
	ck_assert_ptr_null(verifier_ask(v, &q)); /* the queue is full, and nobody waits for that */
	ck_assert_uint_eq(verifier_waiting(v), 2);
	ck_assert_int_eq(verifier_result(v, jobs[0]), VERIFIER_PENDING);
	gate_open(&g, 1);
	gate_wait(&g, &g.done, 1);
	ck_assert_uint_eq(g.ticket, 1);
	ck_assert_int_eq(verifier_result(v, jobs[0]), VERIFIER_GOOD);
	verifier_drop(v, jobs[0]);
	gate_wait(&g, &g.arrived, 2);
	verifier_drop(v, jobs[2]); /* in the queue: its password is gone at once, no thread looks at it */
	ck_assert_int_eq(jobs[2]->password[0], 0);
	gate_open(&g, 1);
	gate_wait(&g, &g.done, 2);
	ck_assert_int_eq(verifier_result(v, jobs[1]), VERIFIER_WRONG);
	verifier_drop(v, jobs[1]);
	ck_assert_int_eq(jobs[1]->password[0], 0);

	q.give_up_ns = 10 * SECOND;
	jobs[0] = verifier_ask(v, &q);
	gate_wait(&g, &g.arrived, 3);
	jobs[1] = verifier_ask(v, &q);
	jobs[2] = verifier_ask(v, &q);
	verifier_drop(v, jobs[2]);
	verifier_expire(v, 10 * SECOND - 1);
	ck_assert_int_eq(verifier_result(v, jobs[1]), VERIFIER_PENDING);
	verifier_expire(v, 10 * SECOND); /* those in the queue; a thread that has one decides about it */
	ck_assert_uint_eq(g.done, 3);
	ck_assert_int_eq(verifier_result(v, jobs[1]), VERIFIER_LATE);
	ck_assert_int_eq(verifier_result(v, jobs[0]), VERIFIER_PENDING);
	ck_assert_uint_eq(verifier_waiting(v), 0);
	verifier_drop(v, jobs[1]);
	gate_open(&g, 1);
	gate_wait(&g, &g.done, 4);
	verifier_drop(v, jobs[0]);

	jobs[3] = verifier_ask(v, &q);
	gate_wait(&g, &g.arrived, 4);
	verifier_drop(v, jobs[3]); /* while a thread has it: the thread gives it back, and calls nobody */
	gate_open(&g, 1);
	verifier_free(v);
	ck_assert_uint_eq(g.arrived, 4);
	ck_assert_uint_eq(g.done, 4);
}
END_TEST

/* Pages of a vault are not dumped, and what it gives is zero and its own. */
START_TEST(vaults)
{
	struct vault *v = vault_new();
	char *small = vault_copy(v, "secret", 6), *large = vault_alloc(v, 100000);
	char line[256];
	unsigned long from, to;
	bool found = false, is_inside = false;
	FILE *f = fopen("/proc/self/smaps", "r");

	ck_assert_str_eq(small, "secret");
	for (unsigned i = 0; i < 100000; i++)
		ck_assert_int_eq(large[i], 0);
	ck_assert_ptr_nonnull(f);
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%lx-%lx ", &from, &to) == 2)
			is_inside = (unsigned long)small >= from && (unsigned long)small < to;
		else if (is_inside && strncmp(line, "VmFlags:", 8) == 0)
			found = strstr(line, " dd") != NULL;
	}
	fclose(f);
	ck_assert(found);
	vault_free(v);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("auth_map");
	TCase *tc = tcase_create("auth_map");
	SRunner *runner;
	int failed;

	if (!mkdtemp(folder) || !digest_start())
		return EXIT_FAILURE;
	snprintf(path, sizeof(path), "%s/map.ini", folder);
	tcase_set_timeout(tc, 30);
	tcase_add_test(tc, patterns_of_users);
	tcase_add_test(tc, pattern_that_goes_back);
	tcase_add_test(tc, patterns_of_subjects);
	tcase_add_test(tc, patterns_that_are_refused);
	tcase_add_test(tc, most_specific_first);
	tcase_add_test(tc, certificates);
	tcase_add_loop_test(tc, wrong_files, 0, sizeof(wrong) / sizeof(wrong[0]));
	tcase_add_test(tc, wrong_bytes);
	tcase_add_test(tc, damaged_files);
	tcase_add_test(tc, nobody_in_it);
	tcase_add_test(tc, secrets_and_modes);
	tcase_add_test(tc, demands);
	tcase_add_test(tc, who_compares);
	tcase_add_test(tc, digests_of_mappings);
	tcase_add_test(tc, hashes);
	tcase_add_test(tc, memory_of_successes);
	tcase_add_test(tc, lock_out);
	tcase_add_test(tc, addresses);
	tcase_add_test(tc, helper_threads);
	tcase_add_test(tc, vaults);
	suite_add_tcase(s, tc);
	runner = srunner_create(s);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	snprintf(path, sizeof(path), "rm -r %s", folder);
	if (system(path) != 0)
		failed++;
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
