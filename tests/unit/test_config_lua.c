/* test_config_lua.c - [lua]: scripts and folders of them, options, limits. */
#include "control/config_lua.h"

#include <sys/stat.h>

#include "config_helper.h"
#include "control/config_compare.h"

/* Four lines, so that [lua] is line 5. */
#define BASE "[origin]\ncontact_points = a\n[target]\ncontact_points = b\n"

static struct config_changes changes;

static void touch(const char *name)
{
	file_write(name, "", 0);
}

static void setup(void)
{
	scratch_begin();
	ck_assert_int_eq(mkdir("etc", 0755), 0);
	ck_assert_int_eq(mkdir("etc/lua", 0755), 0);
	ck_assert_int_eq(mkdir("etc/lib", 0755), 0);
	ck_assert_int_eq(mkdir("etc/links", 0755), 0);
	touch("etc/links/a.lua");
	ck_assert_int_eq(symlink("nowhere.lua", "etc/links/b.lua"), 0);
	touch("etc/a.lua");
	touch("etc/with, comma");
}

static void teardown(void)
{
	char command[128];

	config_changes_free(&changes);
	snprintf(command, sizeof(command), "rm -rf %s/etc", scratch_folder);
	ck_assert_int_eq(system(command), 0);
	scratch_end();
}

/* A file in a folder of its own, and --set of no more than two. */
static bool load_lua(const char *lua, const char *set, const char *set2)
{
	const char *const sets[] = { set, set2, NULL };
	char text[2048];

	snprintf(text, sizeof(text), BASE "%s", lua);
	file_write("etc/t.ini", text, strlen(text));
	return load("etc/t.ini", NULL, set ? sets : NULL);
}

static void check_list(const struct string_list *list, const char *const *expected)
{
	for (unsigned i = 0; i < list->count; i++) {
		ck_assert_msg(expected[i] != NULL, "one too many: %s", list->items[i]);
		ck_assert_str_eq(list->items[i], expected[i]);
	}
	ck_assert_ptr_null(expected[list->count]);
}

/* ---- what is read ---- */

START_TEST(defaults)
{
	ck_assert_msg(load_lua("[lua]\n", NULL, NULL), "%s", error);
	ck_assert_uint_eq(settings->lua.scripts.count, 0);
	ck_assert_uint_eq(settings->lua.path.count, 0);
	ck_assert_uint_eq(settings->lua.option_count, 0);
	ck_assert_uint_eq(settings->lua.time_limit_us, 2000);
	ck_assert_uint_eq(settings->lua.memory_limit, 32 << 20);
	ck_assert_uint_eq(settings->lua.fail_limit, 100);
	ck_assert(!settings->lua.jit);
	ck_assert_ptr_nonnull(strstr(printed, "[lua]\n;script =  ; not set\n;lua_path =  ; not set\n"
					      "time_limit = 2ms  ; default\nmemory_limit = 32MiB  ; default\n"));
}
END_TEST

/* In the order of the lines; of a folder by bytes, only files, not hidden ones, by links too. */
START_TEST(scripts_in_order)
{
	static const char *const expected[] = { "etc/with, comma",
						"etc/lua/10.lua",
						"etc/lua/2.lua",
						"etc/lua/B.lua",
						"etc/lua/a.lua",
						"etc/a.lua",
						NULL };
	static const char *const path[] = { "etc/lib", "etc/lua/", NULL };

	touch("etc/lua/2.lua");
	touch("etc/lua/a.lua");
	touch("etc/lua/10.lua");
	ck_assert_int_eq(symlink("../a.lua", "etc/lua/B.lua"), 0);
	touch("etc/lua/.a.lua");
	touch("etc/lua/.lua");
	touch("etc/lua/a.lua~");
	touch("etc/lua/a.LUA");
	touch("etc/lua/lua");
	ck_assert_int_eq(mkdir("etc/lua/folder.lua", 0755), 0);
	ck_assert_msg(load_lua("[lua]\nscript = with, comma\nscript = lua\nlua_path = lib\nscript = a.lua ; last\n"
			       "lua_path = lua/\n",
			       NULL, NULL),
		      "%s", error);
	check_list(&settings->lua.scripts, expected);
	check_list(&settings->lua.path, path);
	ck_assert_ptr_nonnull(strstr(printed, "\nscript = with, comma  ; from etc/t.ini:6\nscript = lua  ; from "
					      "etc/t.ini:7\nscript = a.lua  ; from etc/t.ini:9\n"));
	ck_assert_ptr_nonnull(strstr(printed, "\n; script 1: etc/with, comma\n; script 2: etc/lua/10.lua\n"));
	ck_assert_ptr_nonnull(strstr(printed, "\n; script 6: etc/a.lua\n"));
}
END_TEST

/* Of the file from its folder, of --set from the working directory; an absolute one is taken as it is. */
START_TEST(relative_names)
{
	static const char *const of_set[] = { "etc/a.lua", "etc/lua/x.lua", NULL };
	char absolute[256];

	touch("etc/lua/x.lua");
	ck_assert_msg(load_lua("[lua]\nscript = lua/x.lua\n", "lua.script=etc/a.lua", "lua.script=etc/lua"), "%s",
		      error);
	check_list(&settings->lua.scripts, of_set);
	ck_assert_ptr_nonnull(strstr(printed, "\nscript = etc/lua  ; from --set\n"));
	ck_assert_ptr_null(strstr(printed, "t.ini:6"));

	snprintf(absolute, sizeof(absolute), "[lua]\nscript = %s/etc/lua/x.lua\n", scratch_folder);
	ck_assert_msg(load_lua(absolute, NULL, NULL), "%s", error);
	ck_assert_uint_eq(settings->lua.scripts.count, 1);
	absolute[strlen(absolute) - 1] = '\0';
	ck_assert_str_eq(settings->lua.scripts.items[0], strchr(absolute, '/'));
}
END_TEST

/* ZDM's variables have no scripts; --set gives them all the same. */
START_TEST(without_a_file)
{
	static const char *const environment[] = {
		"ZDM_ORIGIN_CONTACT_POINTS=a", "ZDM_TARGET_CONTACT_POINTS=b", "ZDM_ORIGIN_USERNAME=",
		"ZDM_ORIGIN_PASSWORD=",        "ZDM_TARGET_USERNAME=",        "ZDM_TARGET_PASSWORD=",
		"ZDM_ORIGIN_PORT=9042",        "ZDM_TARGET_PORT=9042",        NULL
	};
	static const char *const sets[] = { "lua.script=etc/a.lua", "lua.share=5", "lua.time_limit=300us", NULL };
	static const char *const expected[] = { "etc/a.lua", NULL };

	ck_assert_msg(load(NULL, environment, sets), "%s", error);
	ck_assert_int_eq(settings->profile, PROFILE_ZDM);
	check_list(&settings->lua.scripts, expected);
	ck_assert_uint_eq(settings->lua.time_limit_us, 300);
	ck_assert_str_eq(settings->lua.options[0].place, "--set");
}
END_TEST

START_TEST(options_with_their_places)
{
	const struct lua_option *o;

	ck_assert_msg(load_lua("[lua]\nscript = a.lua\npermille = 50 ; of reads\n"
			       "allow-list = \"a ; b\"\"\"\nempty =\nDay = Mon, Tue\n",
			       "lua.permille=70", "lua.more=x=y"),
		      "%s", error);
	ck_assert_uint_eq(settings->lua.option_count, 5);
	o = settings->lua.options;
	ck_assert_str_eq(o[0].name, "permille");
	ck_assert_str_eq(o[0].value, "70");
	ck_assert_str_eq(o[0].place, "--set");
	ck_assert_str_eq(o[1].name, "allow-list");
	ck_assert_str_eq(o[1].value, "a ; b\"");
	ck_assert_str_eq(o[1].place, "etc/t.ini:8");
	ck_assert_str_eq(o[2].value, "");
	ck_assert_str_eq(o[3].name, "Day");
	ck_assert_str_eq(o[3].value, "Mon, Tue");
	ck_assert_str_eq(o[4].value, "x=y");
	ck_assert_ptr_nonnull(strstr(printed, "\npermille = 70  ; from --set\nallow-list = \"a ; b\"\"\"  ; from "
					      "etc/t.ini:8\nempty =   ; from etc/t.ini:9\n"));
}
END_TEST

/* How scripts are taken away in a hurry: their options may stay. */
START_TEST(no_script_on_purpose)
{
	ck_assert_msg(load_lua("[lua]\nscript =\nshare = 5\n", NULL, NULL), "%s", error);
	ck_assert_uint_eq(settings->lua.scripts.count, 0);
	ck_assert_uint_eq(settings->lua.option_count, 1);
	ck_assert_msg(load_lua("[lua]\nscript = a.lua\nscript = lua\nshare = 5\n", "lua.script=", NULL), "%s", error);
	ck_assert_uint_eq(settings->lua.scripts.count, 0);
	ck_assert_msg(load_lua("[lua]\nscript =\nscript = a.lua\nlua_path =\n", NULL, NULL), "%s", error);
	ck_assert_uint_eq(settings->lua.scripts.count, 1);
	ck_assert_uint_eq(settings->lua.path.count, 0);
}
END_TEST

static const struct {
	const char *text;
	unsigned us;
	const char *shown;
} times[] = {
	{ "time_limit = 500us", 500, "time_limit = 500us  ;" },
	{ "time_limit = 1500us", 1500, "time_limit = 1500us  ;" },
	{ "time_limit = 3000us", 3000, "time_limit = 3ms  ;" },
	{ "time_limit = 1s", 1000000, "time_limit = 1s  ;" },
	{ "time_limit_ms = 20", 20000, "time_limit = 20ms  ;" },
};

START_TEST(times_below_a_millisecond)
{
	char text[128];

	snprintf(text, sizeof(text), "[lua]\n%s\n", times[_i].text);
	ck_assert_msg(load_lua(text, NULL, NULL), "%s", error);
	ck_assert_uint_eq(settings->lua.time_limit_us, times[_i].us);
	ck_assert_ptr_nonnull(strstr(printed, times[_i].shown));
}
END_TEST

/* ---- what is refused ---- */

static const struct {
	const char *text, *set;
	const char *expected;
} errors[] = {
	{ "script = b.lua", NULL, "etc/t.ini:6: [lua] script: etc/b.lua: No such file or directory" },
	{ "script = a.lua\nscript = b.lua", NULL, "etc/t.ini:7: [lua] script: etc/b.lua: No such file or directory" },
	{ "script = lib", NULL, "etc/t.ini:6: [lua] script: etc/lib: a folder without a file whose name ends in .lua" },
	{ "script = links", NULL, "etc/t.ini:6: [lua] script: etc/links/b.lua: No such file or directory" },
	{ "script = a.lua\nscript = ./a.lua\nscript = a.lua", NULL,
	  "etc/t.ini:6: [lua] script: etc/a.lua is there twice; allowed: each file once" },
	{ "script = /dev/null", NULL, "etc/t.ini:6: [lua] script: /dev/null: neither a file nor a folder" },
	{ "script = a.lua\nlua_path = a.lua", NULL, "etc/t.ini:7: [lua] lua_path: etc/a.lua: no folder" },
	{ "script = a.lua\nlua_path = x", NULL, "etc/t.ini:7: [lua] lua_path: etc/x: No such file or directory" },
	{ "", "lua.script=a.lua", "--set lua.script: a.lua: No such file or directory" },
	{ "scritp = a.lua", NULL,
	  "etc/t.ini:6: [lua] scritp: no setting (those are script, lua_path, time_limit, memory_limit, fail_limit, "
	  "jit), and no script is there that could ask for an option; allowed: options below a line \"script =\", if there "
	  "shall be none" },
	{ "script = a.lua\na = 1\nb = 2\na = 3", NULL,
	  "etc/t.ini:9: [lua] a: given already at etc/t.ini:7; allowed: once" },
	{ "script = a.lua\na = 1\n  2", NULL,
	  "etc/t.ini:8: [lua] option: an indented line continues the value above it; allowed: only in lists, keys stand "
	  "in the first column" },
	{ "a = \"x", NULL,
	  "etc/t.ini:6: [lua] a: a double quote that is not closed; allowed: \"text\", with \"\" for a quote" },
	{ "a = b # c", NULL,
	  "etc/t.ini:6: [lua] a: a # after a blank: comment or value? allowed: the value in double quotes, comments that "
	  "begin with ;" },
	{ "time_limit = 2", NULL,
	  "etc/t.ini:6: [lua] time_limit: \"2\" has no unit (us, ms or s); allowed: 10us to 1s" },
	{ "time_limit = 1m", NULL,
	  "etc/t.ini:6: [lua] time_limit: \"1m\" has an unknown unit (us, ms or s); allowed: 10us to 1s" },
	{ "time_limit = 9us", NULL, "etc/t.ini:6: [lua] time_limit: 9us is out of range; allowed: 10us to 1s" },
	{ "time_limit = 0", NULL, "etc/t.ini:6: [lua] time_limit: 0 is out of range; allowed: 10us to 1s" },
	{ "time_limit_ms = 1001", NULL, "etc/t.ini:6: [lua] time_limit: 1001 is out of range; allowed: 0 to 1000" },
	{ "memory_limit = 1023KiB", NULL,
	  "etc/t.ini:6: [lua] memory_limit: 1023KiB is out of range; allowed: 1MiB to 1GiB" },
	{ "fail_limit = -1", NULL, "etc/t.ini:6: [lua] fail_limit: -1 is out of range; allowed: 0 to 1000000000" },
	{ "jit = maybe", NULL, "etc/t.ini:6: [lua] jit: \"maybe\" is not a boolean; allowed: true, false" },
	{ "jit = on\njit = off", NULL, "etc/t.ini:7: [lua] jit: given already at etc/t.ini:6; allowed: once" },
	{ "", "lua.scritp=a.lua",
	  "--set lua.scritp: no setting (those are script, lua_path, time_limit, memory_limit, fail_limit, jit), and no "
	  "script is there that could ask for an option; allowed: options below a line \"script =\", if there shall be none" },
	{ "script = a.lua", "lua.a b=1",
	  "--set lua.a b: unknown key; allowed: script, lua_path, time_limit, memory_limit, fail_limit, jit" },
};

START_TEST(wrong_values)
{
	char text[256];

	snprintf(text, sizeof(text), "[lua]\n%s\n", errors[_i].text);
	ck_assert(!load_lua(text, errors[_i].set, NULL));
	ck_assert_str_eq(error, errors[_i].expected);
}
END_TEST

/* ---- what a reload sees ---- */

static void compare(const char *old, const char *new)
{
	struct config *before, *after;

	ck_assert_msg(load_lua(old, NULL, NULL), "%s", error);
	before = config;
	config = NULL;
	ck_assert_msg(load_lua(new, NULL, NULL), "%s", error);
	after = config;
	config = NULL;
	config_changes_free(&changes);
	config_compare(before, after, &changes);
	config_free(before);
	config_free(after);
}

static void check_change(unsigned i, const char *name, const char *before, const char *after)
{
	ck_assert_uint_lt(i, changes.count);
	ck_assert_str_eq(changes.items[i].name, name);
	ck_assert_str_eq(changes.items[i].before, before);
	ck_assert_str_eq(changes.items[i].after, after);
	ck_assert(changes.items[i].setting->flags & SETTING_RELOAD);
}

START_TEST(changes_of_options)
{
	compare("[lua]\nscript = a.lua\nx = 1\ny = 2\n", "[lua]\ny = 2\nx = 1\nscript = a.lua\n");
	ck_assert_uint_eq(changes.count, 0);
	compare("[lua]\nscript = a.lua\nx = 1\ny = 2\nz = 3\n",
		"[lua]\nscript = a.lua\nw = 4\ny = 5\nz = 3\njit = on\ntime_limit = 1ms\n");
	ck_assert_uint_eq(changes.count, 5);
	check_change(0, "[lua] time_limit", "2ms", "1ms");
	check_change(1, "[lua] jit", "false", "true");
	check_change(2, "[lua] x", "1", "not set");
	check_change(3, "[lua] w", "not set", "4");
	check_change(4, "[lua] y", "2", "5");
	ck_assert_str_eq(changes.items[4].place, "etc/t.ini:8: [lua] y");
}
END_TEST

/* A file more in a folder is a change, although the line in the file is the same. */
START_TEST(changes_of_folders)
{
	struct config *before;

	touch("etc/lua/1.lua");
	ck_assert_msg(load_lua("[lua]\nscript = lua\n", NULL, NULL), "%s", error);
	before = config;
	config = NULL;
	touch("etc/lua/0.lua");
	ck_assert_msg(load_lua("[lua]\nscript = lua\n", NULL, NULL), "%s", error);
	config_compare(before, config, &changes);
	config_free(before);
	ck_assert_uint_eq(changes.count, 1);
	check_change(0, "[lua] script", "etc/lua/1.lua", "etc/lua/0.lua, etc/lua/1.lua");
}
END_TEST

/* What the files are, not what the settings say: a reload loads them in turn for every worker. */
START_TEST(stamps)
{
	static const char text[] = "[lua]\nscript = lua\nlua_path = lib\n";
	uint64_t stamp, same;

	touch("etc/lua/1.lua");
	ck_assert_int_eq(mkdir("etc/lib/deep", 0755), 0);
	touch("etc/lib/deep/help.lua");
	ck_assert_msg(load_lua(text, NULL, NULL), "%s", error);
	stamp = config_lua_stamp(&settings->lua);
	same = config_lua_stamp(&settings->lua);
	ck_assert_uint_eq(stamp, same);
	touch("etc/lib/deep/notes.txt");
	touch("etc/lib/.hidden.lua");
	ck_assert_uint_eq(config_lua_stamp(&settings->lua), stamp);
	file_write("etc/lua/1.lua", "--", 2);
	ck_assert_uint_ne(config_lua_stamp(&settings->lua), stamp);
	stamp = config_lua_stamp(&settings->lua);
	file_write("etc/lib/deep/help.lua", "--", 2);
	ck_assert_uint_ne(config_lua_stamp(&settings->lua), stamp);
	stamp = config_lua_stamp(&settings->lua);
	touch("etc/lib/more.lua");
	ck_assert_uint_ne(config_lua_stamp(&settings->lua), stamp);
	stamp = config_lua_stamp(&settings->lua);
	ck_assert_int_eq(unlink("etc/lua/1.lua"), 0);
	ck_assert_uint_ne(config_lua_stamp(&settings->lua), stamp);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("config_lua");
	TCase *tc = tcase_create("config_lua");
	SRunner *runner;
	int failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, defaults);
	tcase_add_test(tc, scripts_in_order);
	tcase_add_test(tc, relative_names);
	tcase_add_test(tc, without_a_file);
	tcase_add_test(tc, options_with_their_places);
	tcase_add_test(tc, no_script_on_purpose);
	tcase_add_loop_test(tc, times_below_a_millisecond, 0, (int)ARRAY_LEN(times));
	tcase_add_loop_test(tc, wrong_values, 0, (int)ARRAY_LEN(errors));
	tcase_add_test(tc, changes_of_options);
	tcase_add_test(tc, changes_of_folders);
	tcase_add_test(tc, stamps);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
