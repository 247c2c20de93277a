/* test_keyspaces.c - how keyspaces are laid out, out of the rows of system_schema.keyspaces. */
#include "proxy/keyspaces.h"

#include "vectors.h"

/* Raw [option] of a map<varchar, varchar>. */
static const uint8_t map_type[] = { 0, 0x21, 0, 0x0d, 0, 0x0d };

static struct topology *t;
static struct writer body;
static uint8_t version;

static void setup(void)
{
	t = topology_new();
	version = 4;
	writer_init(&body);
}

static void teardown(void)
{
	topology_unref(t);
	writer_free(&body);
}

static void begin(const char *first, const char *second, uint32_t rows)
{
	body.len = 0;
	rows_write_head(&body, 2, SV("system_schema"), SV("keyspaces"));
	rows_write_column(&body, sv_from(first), rows_type_varchar);
	rows_write_column(&body, sv_from(second), (struct bytesview){ .p = map_type, .len = sizeof(map_type) });
	rows_write_count(&body, rows);
}

static void put_size(struct writer *w, uint32_t n)
{
	if (version == 2)
		write_short(w, (uint16_t)n);
	else
		write_int(w, n);
}

/* "class=SimpleStrategy replication_factor=3" as a map. */
static void put_map(struct writer *w, const char *text)
{
	const uint32_t start = w->len;
	unsigned count = 0;

	put_size(w, 0);
	while (*text) {
		const size_t key = strcspn(text, "="), value = strcspn(text + key + 1, " ");

		put_size(w, (uint32_t)key);
		write_raw(w, text, (uint32_t)key);
		put_size(w, (uint32_t)value);
		write_raw(w, text + key + 1, (uint32_t)value);
		text += key + 1 + value;
		text += *text == ' ';
		count++;
	}
	if (version == 2)
		put_u16(w->data + start, (uint16_t)count);
	else
		put_u32(w->data + start, count);
}

static void row(const char *name, const char *replication)
{
	struct writer map;

	writer_init(&map);
	write_bytes(&body, name, name ? (uint32_t)strlen(name) : 0);
	if (replication)
		put_map(&map, replication);
	write_bytes(&body, replication ? map.data : NULL, map.len);
	writer_free(&map);
}

static bool add(void)
{
	uint8_t *copy = exact_copy(body.data, body.len);
	const char *why = "";
	struct rows rows;
	bool ok;

	ck_assert_msg(rows_parse(copy, body.len, 0, version, &rows, &why), "%s", why);
	ok = keyspaces_add(t, &rows, version);
	rows_free(&rows);
	free(copy);
	return ok;
}

static void expect(const char *name, const char *class, unsigned options)
{
	const struct keyspace_replication *k = keyspaces_find(t, sv_from(name));

	ck_assert_msg(k != NULL, "%s", name);
	ck_assert_str_eq(k->keyspace, name);
	if (class)
		ck_assert_str_eq(k->class, class);
	else
		ck_assert_ptr_null(k->class);
	ck_assert_uint_eq(k->option_count, options);
}

/* Two pages, in no order; v2 has 2-byte lengths within a map. */
START_TEST(found_by_name)
{
	version = _i == 0 ? 2 : _i == 1 ? 4 : 5;
	begin("keyspace_name", "replication", 3);
	row("shop", "class=org.apache.cassandra.locator.NetworkTopologyStrategy dc1=3 dc2=2");
	row("Shop", "dc1=1");
	row("b", "replication_factor=1 class=SimpleStrategy");
	ck_assert(add());
	begin("keyspace_name", "replication", 2);
	row("shops", "class=LocalStrategy");
	row("", "class=x");
	ck_assert(add());
	keyspaces_sort(t);
	ck_assert_uint_eq(t->keyspace_count, 5);
	expect("shop", "org.apache.cassandra.locator.NetworkTopologyStrategy", 2);
	ck_assert_str_eq(keyspaces_find(t, SV("shop"))->options[1].key, "dc2");
	ck_assert_str_eq(keyspaces_find(t, SV("shop"))->options[1].value, "2");
	expect("Shop", NULL, 1);
	expect("b", "SimpleStrategy", 1);
	ck_assert_str_eq(keyspaces_find(t, SV("b"))->options[0].value, "1");
	expect("shops", "LocalStrategy", 0);
	expect("", "x", 0);
	ck_assert_ptr_null(keyspaces_find(t, SV("sho")));
	ck_assert_ptr_null(keyspaces_find(t, SV("shopss")));
	ck_assert_ptr_null(keyspaces_find(t, SV("z")));
}
END_TEST

START_TEST(nulls)
{
	begin("keyspace_name", "replication", 3);
	row(NULL, "class=x");
	row("a", NULL);
	row("b", "");
	ck_assert(add());
	ck_assert_uint_eq(t->keyspace_count, 1);
	expect("b", NULL, 0);
}
END_TEST

START_TEST(twice_the_class)
{
	begin("keyspace_name", "replication", 1);
	row("a", "class=x class=y");
	ck_assert(add());
	expect("a", "y", 0);
}
END_TEST

START_TEST(other_columns)
{
	begin("keyspace_name", "durable_writes", 0);
	ck_assert(!add());
	begin("name", "replication", 0);
	ck_assert(!add());
	ck_assert_uint_eq(t->keyspace_count, 0);
}
END_TEST

/* A map that ends too early at any place, or counts more than it has, leaves its row out. */
START_TEST(damaged_maps)
{
	struct writer map;
	uint32_t whole;

	writer_init(&map);
	put_map(&map, "class=SimpleStrategy replication_factor=3");
	whole = map.len;
	for (uint32_t len = 0; len < whole; len++) {
		begin("keyspace_name", "replication", 2);
		write_bytes(&body, "a", 1);
		write_bytes(&body, map.data, len);
		row("b", "class=x");
		ck_assert(add());
		ck_assert_uint_eq(t->keyspace_count, 1);
		keyspaces_free(t);
	}
	put_u32(map.data, UINT32_MAX);
	begin("keyspace_name", "replication", 1);
	write_bytes(&body, "a", 1);
	write_bytes(&body, map.data, whole);
	ck_assert(add());
	ck_assert_uint_eq(t->keyspace_count, 0);
	writer_free(&map);
}
END_TEST

int main(void)
{
	TCase *tcase = tcase_create("keyspaces");

	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_loop_test(tcase, found_by_name, 0, 3);
	tcase_add_test(tcase, nulls);
	tcase_add_test(tcase, twice_the_class);
	tcase_add_test(tcase, other_columns);
	tcase_add_test(tcase, damaged_maps);
	return run_tcase("keyspaces", tcase);
}
