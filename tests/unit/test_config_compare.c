/* test_config_compare.c - what differs between two configurations, for every type of setting. */
#include "control/config_compare.h"

#include "config_helper.h"
#include "control/setting.h"

#define BASE                                                                                                           \
	"[origin]\ncontact_points = 10.0.0.1, a.example\n"                                                             \
	"[target]\ncontact_points = 10.0.0.2\n"                                                                        \
	"[listener]\n[listener second]\nport = 9999\n"

#define WITH_USER "[origin]\ncontact_points = a\n[target]\ncontact_points = b\nusername = u\n"

static struct config *before, *after;
static struct config_changes changes;

static struct config *take(const char *text)
{
	struct config *taken;

	ck_assert_msg(load_text("t.ini", text), "%s", error);
	taken = config;
	config = NULL;
	return taken;
}

static void compare(const char *old, const char *new)
{
	before = take(old);
	after = take(new);
	config_compare(before, after, &changes);
}

static void teardown(void)
{
	config_changes_free(&changes);
	config_free(before);
	config_free(after);
	before = after = NULL;
	scratch_end();
}

START_TEST(the_same)
{
	compare(BASE, "; other places of the same\n\n" BASE);
	ck_assert_uint_eq(changes.count, 0);
	ck_assert(config_same_listeners(before, after));
}
END_TEST

static const struct {
	const char *section, *key, *old, *new; /* NULL: there is no such line */
	const char *shown_old, *shown_new;
	bool may_reload;
} cases[] = {
	{ "proxy", "workers", "2", "3", "2", "3", false },
	{ "proxy", "profile", "native", "zdm", NULL, NULL, false },
	{ "proxy", "request_timeout", NULL, "5s", "10s", "5s", true },
	{ "proxy", "client_output_limit", "2MiB", "64KiB", "2MiB", "64KiB", true },
	{ "proxy", "heartbeat_retry_backoff_factor", "1.5", "1.25", "1.5", "1.25", true },
	{ "proxy", "tracing_enabled", NULL, "true", "false", "true", true },
	{ "proxy", "tracing_request_id_key", "a", "", "a", "", true },
	{ "proxy", "topology_addresses", "10.0.0.1, 10.0.0.2", "10.0.0.1, 10.0.0.3", "10.0.0.1, 10.0.0.2",
	  "10.0.0.1, 10.0.0.3", true },
	{ "proxy", "blocked_protocol_versions", "v3", "v3, v4", "3", "3, 4", true },
	{ "proxy", "control_conn_max_protocol_version", "4", "5", "4", "5", false },
	{ "routing", "primary", NULL, "target", "origin", "target", true },
	{ "routing", "replace_cql_functions", "true", NULL, "true", "false", false },
	{ "target", "compression", NULL, "lz4", "auto", "lz4", true },
	{ "origin", "read_consistency", NULL, "ONE:LOCAL_ONE", "not set", NULL, true },
	{ "origin", "local_datacenter", "dc1", "dc2", "dc1", "dc2", true },
	{ "target", "port", "9042", "9142", "9042", "9142", true },
	{ "http", "metrics_prefix", "zdm", "", "zdm", "", false },
	{ "http", "origin_latency_buckets_ms", "1, 2", "1, 3", "1, 2", "1, 3", false },
	{ "log", "level", "INFO", "debug", "info", "debug", true },
	{ "log", "file", NULL, "/x/y", "not set", "/x/y", true },
};

/* BASE with one line more. */
static char *with(const char *section, const char *key, const char *value)
{
	const char *head = xasprintf("[%s]\n", section);
	const char *at = strstr(BASE, head);
	char *text;

	if (!value)
		text = xstrdup(BASE);
	else if (at)
		text = xasprintf("%.*s%s%s = %s\n%s", (int)(at - BASE), BASE, head, key, value, at + strlen(head));
	else
		text = xasprintf("%s%s%s = %s\n", BASE, head, key, value);
	free((void *)(uintptr_t)head);
	return text;
}

static const struct config_change *change_of(const char *name)
{
	for (unsigned i = 0; i < changes.count; i++) {
		if (strcmp(changes.items[i].name, name) == 0)
			return &changes.items[i];
	}
	ck_abort_msg("no change of %s", name);
}

START_TEST(one_line)
{
	char *name = xasprintf("[%s] %s", cases[_i].section, cases[_i].key);
	char *old = with(cases[_i].section, cases[_i].key, cases[_i].old);
	char *new = with(cases[_i].section, cases[_i].key, cases[_i].new);
	const struct config_change *c;

	compare(old, new);
	c = change_of(name);
	if (strcmp(cases[_i].key, "profile") != 0) /* which changes the defaults of others */
		ck_assert_uint_eq(changes.count, 1);
	if (cases[_i].shown_old)
		ck_assert_str_eq(c->before, cases[_i].shown_old);
	if (cases[_i].shown_new)
		ck_assert_str_eq(c->after, cases[_i].shown_new);
	ck_assert_int_eq(!!(c->setting->flags & SETTING_RELOAD), cases[_i].may_reload);
	ck_assert_ptr_nonnull(strstr(c->place, "t.ini"));
	ck_assert_ptr_nonnull(strstr(c->place, name));
	free(name);
	free(old);
	free(new);
}
END_TEST

/* What it was is not shown, but that it is another one. */
START_TEST(secrets)
{
	compare(WITH_USER "password = one\n", WITH_USER "password = two\n");
	ck_assert_uint_eq(changes.count, 1);
	ck_assert_str_eq(changes.items[0].name, "[target] password");
	ck_assert_str_eq(changes.items[0].before, "***");
	ck_assert_str_eq(changes.items[0].after, "***");
	ck_assert(changes.items[0].setting->flags & SETTING_RELOAD);
}
END_TEST

START_TEST(of_one_listener)
{
	compare(BASE, BASE "address = 10.1.1.1\n");
	ck_assert_uint_eq(changes.count, 1);
	ck_assert_str_eq(changes.items[0].name, "[listener second] address");
	ck_assert_str_eq(changes.items[0].place, "t.ini:8: [listener second] address");
}
END_TEST

/* Nobody has said what the lines are: none is shown, and none may be reloaded. */
START_TEST(lines_of_plugins)
{
	compare(BASE "[plugin a]\nfile = x\none = 1\ntwo = p\ntwo = q\nthree = 3\n",
		BASE "[plugin a]\nfile = x\ntwo = p\ntwo = r\none = 1\nfour = 4\n");
	ck_assert(config_same_plugins(before, after));
	ck_assert_uint_eq(changes.count, 3);
	for (unsigned i = 0; i < 3; i++) {
		static const char *const names[] = { "[plugin a] three", "[plugin a] two", "[plugin a] four" };
		static const char *const places[] = { "t.ini:13: [plugin a] three", "t.ini:11: [plugin a] two",
						      "t.ini:13: [plugin a] four" };
		static const char *const old[] = { "***", "***, ***", "not set" };
		static const char *const new[] = { "not set", "***, ***", "***" };

		ck_assert_str_eq(changes.items[i].name, names[i]);
		ck_assert_str_eq(changes.items[i].place, places[i]);
		ck_assert_str_eq(changes.items[i].before, old[i]);
		ck_assert_str_eq(changes.items[i].after, new[i]);
		ck_assert(!(changes.items[i].setting->flags & SETTING_RELOAD));
	}
}
END_TEST

/* As they stand in the file: that is an order in which they are asked. */
START_TEST(other_plugins)
{
	compare(BASE "[plugin a]\nfile = x\n[plugin b]\nfile = x\n",
		BASE "[plugin a]\nfile = x\n[plugin b]\nfile = x\n");
	ck_assert(config_same_plugins(before, after));
	config_free(after);
	after = take(BASE "[plugin b]\nfile = x\n[plugin a]\nfile = x\n");
	ck_assert(!config_same_plugins(before, after));
	config_free(after);
	after = take(BASE "[plugin a]\nfile = x\n");
	ck_assert(!config_same_plugins(before, after));
}
END_TEST

START_TEST(other_listeners)
{
	before = take(BASE);
	after = take(BASE "[listener third]\nport = 8888\n");
	ck_assert(!config_same_listeners(before, after));
	config_free(after);
	after = take("[origin]\ncontact_points = a\n[target]\ncontact_points = b\n"
		     "[listener second]\nport = 9999\n[listener]\n");
	ck_assert(!config_same_listeners(before, after));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("config_compare");
	TCase *tc = tcase_create("config_compare");
	SRunner *runner;
	int failed;

	tcase_add_checked_fixture(tc, scratch_begin, teardown);
	tcase_add_test(tc, the_same);
	tcase_add_loop_test(tc, one_line, 0, (int)ARRAY_LEN(cases));
	tcase_add_test(tc, secrets);
	tcase_add_test(tc, of_one_listener);
	tcase_add_test(tc, lines_of_plugins);
	tcase_add_test(tc, other_plugins);
	tcase_add_test(tc, other_listeners);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
