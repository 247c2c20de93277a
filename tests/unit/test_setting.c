/* test_setting.c - the table of settings, and the sample files that show it. */
#include <ctype.h>

#include "config_helper.h"
#include "control/setting_value.h"
#include "cql/tables.h"

/* ---- the table ---- */

START_TEST(rows_are_sound)
{
	const struct setting *s = &setting_table[_i];
	union setting_scratch value = { .buckets = { .count = 0 } };
	char what[256], allowed[256];

	ck_assert(s->key || s->zdm);
	ck_assert_msg(s->key == NULL || setting_find(s->section, s->key, NULL) == s, "%s twice", s->key);
	ck_assert(s->key == NULL || s->width > 0 || s->section == SECTION_ZDM_ONLY);
	ck_assert(s->help && !strchr(s->help, '|') && !strchr(s->help, '\n'));
	setting_allowed(s, DIALECT_INI, allowed, sizeof(allowed));
	ck_assert(strlen(allowed) > 0);
	for (int profile = PROFILE_NATIVE; profile <= PROFILE_ZDM; profile++) {
		struct setting_input in = { .text = setting_default(s, profile) };

		if (!in.text)
			continue;
		ck_assert_msg(setting_parse(s, &in, &value, what, sizeof(what)), "%s: %s", s->key ? s->key : s->zdm,
			      what);
		setting_clear(s, &value);
	}
}
END_TEST

static bool is_number(const struct setting *s)
{
	return s->type == SETTING_COUNT || s->type == SETTING_DURATION || s->type == SETTING_SIZE;
}

/* Bounds of every number, as an INI file writes it: the last value inside, the first one outside. */
START_TEST(ranges_hold)
{
	const struct setting *s = &setting_table[_i];
	const int64_t values[] = { s->min - 1, s->min, s->max, s->max + 1 };
	const char *unit = s->type == SETTING_DURATION ? "ms" : s->type == SETTING_SIZE ? "B" : "";

	if (!is_number(s) || !s->key)
		return;
	for (unsigned i = 0; i < ARRAY_LEN(values); i++) {
		union setting_scratch value = { .number = 0 };
		struct setting_input in = { .text = NULL };
		char text[64], what[256];
		bool inside = i == 1 || i == 2;

		snprintf(text, sizeof(text), "%lld%s", (long long)values[i], unit);
		in.text = text;
		ck_assert_msg(setting_parse(s, &in, &value, what, sizeof(what)) == inside, "%s = %s", s->key, text);
		if (!inside)
			ck_assert_msg(strstr(what, "is out of range") != NULL, "%s = %s: %s", s->key, text, what);
		else if (values[i])
			ck_assert_int_eq(value.number, values[i]);
	}
}
END_TEST

START_TEST(the_reference_names_every_setting)
{
	char *text;
	size_t size;
	FILE *f = open_memstream(&text, &size);

	config_print_reference(f);
	fclose(f);
	for (const struct setting *s = setting_table; s < setting_table + setting_count; s++) {
		char *cell = s->key ? xasprintf("\n| `%s` | ", s->key) : setting_env_name(s, 0);

		ck_assert_msg(strstr(text, cell) != NULL, "%s", cell);
		free(cell);
	}
	free(text);
}
END_TEST

/* ---- the sample files ---- */

/* A file of the source tree, malloc'd. */
static char *sample(const char *name)
{
	const char *source = getenv("srcdir");
	char *path = source && *source == '/' ? xasprintf("%s/etc/%s", source, name)
					      : xasprintf("%s/%s/etc/%s", home_folder, source ? source : ".", name);
	char *text = xcalloc(1, 65536);
	FILE *f = fopen(path, "r");

	ck_assert_msg(f != NULL, "%s cannot be opened", path);
	ck_assert_uint_gt(fread(text, 1, 65535, f), 0);
	fclose(f);
	free(path);
	return text;
}

/* The lines without "; from FILE:12" and the like, and without the mark of what is not set; those of [zdm], which are
 * printed when they are given although nothing comes of them, are left out. */
static char *printed_values(void)
{
	char *copy = xcalloc(1, strlen(printed) + 1), *to = copy;

	for (char *line = printed; line && *line;) {
		char *newline = strchr(line, '\n');
		char *source = strstr(line, " ; ");
		char *end = source && source < newline ? source : newline;

		if (strncmp(line, "; ZDM_", 6) == 0) {
			line = newline + 1;
			continue;
		}
		while (end > line && end[-1] == ' ')
			end--;
		line += *line == ';';
		to = mempcpy(to, line, (size_t)(end - line));
		*to++ = '\n';
		line = newline + 1;
	}
	return copy;
}

/* Every ";key = value" of cqlferry.ini is the default: with all of them in force nothing changes. Sections that are
 * commented out whole are only there with a NAME, and have no defaults that could be compared. */
START_TEST(the_sample_file_shows_the_defaults)
{
	char *text = sample("cqlferry.ini"), *before, *after;
	unsigned options = 0;

	ck_assert_msg(load_text("t.ini", text), "%s", error);
	ck_assert_str_eq(warnings, "");
	before = printed_values();
	for (char *p = text; (p = strstr(p, "\n;")); p++) {
		if (p[2] == '[') {
			p = strstr(p, "\n[");
		} else if (isalpha((unsigned char)p[2])) {
			memmove(p + 1, p + 2, strlen(p + 2) + 1);
			options++;
		}
	}
	ck_assert_uint_gt(options, 50);
	ck_assert_msg(load_text("t.ini", text), "%s", error);
	ck_assert_ptr_nonnull(strstr(printed, "\nmax_frame_size = 16MiB  ; from t.ini:"));
	after = printed_values();
	ck_assert_str_eq(before, after);
	free(text);
	free(before);
	free(after);
}
END_TEST

START_TEST(the_minimal_file_loads)
{
	char *text = sample("cqlferry-minimal.ini");
	unsigned lines = 0;

	for (const char *p = text; *p; p++)
		lines += *p == '\n';
	ck_assert_uint_lt(lines, 15);
	ck_assert_msg(load_text("t.ini", text), "%s", error);
	ck_assert_str_eq(warnings, "");
	free(text);
}
END_TEST

static const struct {
	const char *text, *shown; /* NULL: not set */
	uint8_t of_one, of_any, of_serial;
} levels[] = {
	{ "LOCAL_QUORUM", "LOCAL_QUORUM", CL_LOCAL_QUORUM, CL_LOCAL_QUORUM, CL_SERIAL },
	{ " each_quorum ", "EACH_QUORUM", CL_EACH_QUORUM, CL_EACH_QUORUM, CL_SERIAL },
	{ "ONE:QUORUM", "ONE:QUORUM", CL_QUORUM, CL_ANY, CL_SERIAL },
	{ "Any : Local_One,one:two", "ANY:LOCAL_ONE, ONE:TWO", CL_TWO, CL_LOCAL_ONE, CL_SERIAL },
	{ "TWO:THREE", "TWO:THREE", CL_ONE, CL_ANY, CL_SERIAL },
};

START_TEST(consistency_levels)
{
	char text[256];
	const struct level_map *map;

	snprintf(text, sizeof(text),
		 "[origin]\ncontact_points = a\nwrite_consistency = %s\n[target]\ncontact_points = b\n",
		 levels[_i].text);
	ck_assert_msg(load_text("t.ini", text), "%s", error);
	map = &settings->cluster[CLUSTER_ORIGIN].write_consistency;
	ck_assert(map->is_set);
	ck_assert_uint_eq(map->to[CL_ONE], levels[_i].of_one);
	ck_assert_uint_eq(map->to[CL_ANY], levels[_i].of_any);
	ck_assert_uint_eq(map->to[CL_SERIAL], levels[_i].of_serial);
	ck_assert_uint_eq(map->to[CL_LOCAL_SERIAL], CL_LOCAL_SERIAL);
	snprintf(text, sizeof(text), "\nwrite_consistency = %s  ; from t.ini:3", levels[_i].shown);
	ck_assert_msg(strstr(printed, text) != NULL, "%s", printed);
	ck_assert(!settings->cluster[CLUSTER_ORIGIN].read_consistency.is_set);
	ck_assert(!settings->cluster[CLUSTER_TARGET].write_consistency.is_set);
}
END_TEST

START_TEST(nodes_elsewhere)
{
	const struct cluster_settings *o;
	char name[NET_TEXT_MAX];

	ck_assert_msg(load_text("t.ini",
				"[origin]\ncontact_points = a\n"
				"address_map = 10.0.0.1 = 192.0.2.1,10.0.0.2=192.0.2.2:9043 ,\n"
				"  fd00::3=[2001:db8::3]:9044, fd00::4 = 2001:db8::4, [fd00::5]=[2001:db8::5]\n"
				"fallback_datacenters = dc 2, DC3,\n  4\n"
				"[target]\ncontact_points = b\n"),
		      "%s", error);
	o = &settings->cluster[CLUSTER_ORIGIN];
	ck_assert_uint_eq(o->address_map.count, 5);
	ck_assert_str_eq(net_format(&o->address_map.items[1].to, name), "192.0.2.2:9043");
	ck_assert_str_eq(net_format(&o->address_map.items[2].from, name), "[fd00::3]:0");
	ck_assert_uint_eq(net_port(&o->address_map.items[3].to), 0);
	ck_assert_uint_eq(o->fallback_datacenters.count, 3);
	ck_assert_str_eq(o->fallback_datacenters.items[0], "dc 2");
	ck_assert_int_eq(o->node_ports, NODE_PORTS_DISCOVERED);
	ck_assert_uint_eq(settings->topology_refresh_interval_ms, 60000);
	ck_assert_msg(strstr(printed, "\naddress_map = 10.0.0.1=192.0.2.1, 10.0.0.2=192.0.2.2:9043, "
				      "fd00::3=[2001:db8::3]:9044, fd00::4=2001:db8::4, fd00::5=2001:db8::5  ;"),
		      "%s", printed);
	ck_assert_ptr_nonnull(strstr(printed, "\nfallback_datacenters = dc 2, DC3, 4  ;"));
	ck_assert_uint_eq(settings->cluster[CLUSTER_TARGET].address_map.count, 0);
}
END_TEST

START_TEST(no_consistency_levels)
{
	ck_assert_msg(load_text("t.ini", "[origin]\ncontact_points = a\nwrite_consistency =\nread_consistency = \n"
					 "[target]\ncontact_points = b\n"),
		      "%s", error);
	ck_assert(!settings->cluster[CLUSTER_ORIGIN].write_consistency.is_set);
	ck_assert(!settings->cluster[CLUSTER_ORIGIN].read_consistency.is_set);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("setting");
	TCase *tc = tcase_create("setting");
	SRunner *runner;
	int failed;

	tcase_add_checked_fixture(tc, scratch_begin, scratch_end);
	tcase_add_loop_test(tc, rows_are_sound, 0, (int)setting_count);
	tcase_add_loop_test(tc, ranges_hold, 0, (int)setting_count);
	tcase_add_test(tc, the_reference_names_every_setting);
	tcase_add_test(tc, the_sample_file_shows_the_defaults);
	tcase_add_test(tc, the_minimal_file_loads);
	tcase_add_loop_test(tc, consistency_levels, 0, ARRAY_LEN(levels));
	tcase_add_test(tc, no_consistency_levels);
	tcase_add_test(tc, nodes_elsewhere);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
