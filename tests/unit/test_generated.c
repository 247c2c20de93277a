/* test_generated.c - our variables in the answers to PREPARE: found, and hidden from the client. */
#include "proxy/generated.h"

#include "base/chunk.h"
#include "cql/writer.h"
#include "vectors.h"

static struct chunk_pool pool;

/* What a node says: names (and types) of variables, one letter each; upper case: uuid, lower case: text. */
struct shape {
	uint8_t version;
	bool is_global;
	const char *names[8]; /* up to NULL */
	uint16_t pk[4];
	unsigned pk_count;
};

static void write_answer(struct writer *w, const struct shape *s, const char *id)
{
	uint32_t count = 0;

	while (s->names[count])
		count++;
	write_int(w, RESULT_PREPARED);
	write_short_bytes(w, id, (uint16_t)strlen(id));
	if (s->version >= 5)
		write_short_bytes(w, "result id", 9);
	write_int(w, s->is_global ? ROWS_GLOBAL_TABLES_SPEC : 0);
	write_int(w, count);
	if (s->version >= 4) {
		write_int(w, s->pk_count);
		for (unsigned i = 0; i < s->pk_count; i++)
			write_short(w, s->pk[i]);
	}
	for (uint32_t i = 0; i < count; i++) {
		if (i == 0 || !s->is_global) {
			write_cstring(w, "ks");
			write_cstring(w, "t");
		}
		write_cstring(w, s->names[i]);
		if (s->names[i][0] == '[') { /* list<text> */
			write_short(w, TYPE_LIST);
			write_short(w, TYPE_VARCHAR);
		} else {
			write_short(w, s->names[i][0] < 'a' ? TYPE_UUID : TYPE_VARCHAR);
		}
	}
	write_int(w, ROWS_NO_METADATA);
	write_int(w, 0);
}

/* An answer in a block of exactly its size; free its body. */
static struct prepared_answer answer(const struct shape *s, const char *id)
{
	struct prepared_answer a;
	struct writer w;
	const char *why;

	writer_init(&w);
	write_answer(&w, s, id);
	a.body = exact_copy(w.data, w.len);
	a.len = w.len;
	writer_free(&w);
	ck_assert_msg(message_parse_prepared(a.body, a.len, 0, s->version, &a.message, &why), "%s", why);
	return a;
}

static struct rewriting *rewriting(bool is_named, uint32_t markers, const char *before)
{
	struct rewriting *r = calloc(1, sizeof(*r) + strlen(before) * sizeof(r->calls[0]));

	r->is_named = is_named;
	r->markers = markers;
	for (; before[r->count]; r->count++) {
		r->calls[r->count].markers_before = (uint32_t)(before[r->count] - '0');
		r->calls[r->count].kind = (uint8_t)(r->count % 5);
	}
	return r;
}

static struct generated *made(const struct rewriting *r, const struct shape *origin, const struct shape *target)
{
	struct prepared_answer a[CLUSTER_COUNT] = { answer(origin, "origin"), answer(target, "target") };
	struct generated *g = generated_new(r, a);

	free((void *)(uintptr_t)a[0].body);
	free((void *)(uintptr_t)a[1].body);
	return g;
}

static const struct prepared_id own = { .bytes = "sixteen bytes...", .len = 16 };

/* The bytes that the client gets are those that a node would have sent for the statement without our variables. */
static void expect_hidden(const struct rewriting *r, const struct shape *reported, const struct shape *seen)
{
	struct prepared_answer from = answer(reported, "an id of another length than sixteen");
	struct generated *g = made(r, reported, reported);
	struct chunk *out;
	struct writer w;
	uint32_t len;

	ck_assert_ptr_nonnull(g);
	out = generated_hide(g, &own, &from, &pool, &len);
	ck_assert_ptr_nonnull(out);
	writer_init(&w);
	write_answer(&w, seen, "sixteen bytes...");
	ck_assert_uint_eq(len, w.len);
	ck_assert_mem_eq(out->data, w.data, len);
	writer_free(&w);
	chunk_unref(out);
	free(g);
	free((void *)(uintptr_t)from.body);
}

START_TEST(hidden)
{
	static const struct {
		bool is_named;
		uint32_t markers;
		const char *before;
		struct shape reported, seen;
	} cases[] = {
		{ false,
		  1,
		  "0",
		  { .names = { "ID", "k" }, .pk = { 1 }, .pk_count = 1 },
		  { .names = { "k" }, .pk = { 0 }, .pk_count = 1 } },
		{ false,
		  1,
		  "1",
		  { .names = { "k", "ID" }, .pk = { 0 }, .pk_count = 1 },
		  { .names = { "k" }, .pk = { 0 }, .pk_count = 1 } },
		{ false, 1, "1", { .names = { "k", "ID" }, .pk = { 1, 0 }, .pk_count = 2 }, { .names = { "k" } } },
		{ false, 0, "0", { .names = { "ID" }, .pk = { 0 }, .pk_count = 1 }, { .names = { NULL } } },
		{ false, 0, "000", { .names = { "ID", "IE", "IF" } }, { .names = { NULL } } },
		{ false,
		  3,
		  "0113",
		  { .names = { "ID", "[a", "IE", "IF", "b", "[c", "IG" }, .pk = { 5, 4, 1 }, .pk_count = 3 },
		  { .names = { "[a", "b", "[c" }, .pk = { 2, 1, 0 }, .pk_count = 3 } },
		{ true,
		  2,
		  "1",
		  { .names = { "apple", "zdm__now", "zebra" }, .pk = { 2 }, .pk_count = 1 },
		  { .names = { "apple", "zebra" }, .pk = { 1 }, .pk_count = 1 } },
		{ true,
		  2,
		  "02",
		  { .names = { "zdm__now", "a", "a", "zdm__now_2" }, .pk = { 1 }, .pk_count = 1 },
		  { .names = { "a", "a" }, .pk = { 0 }, .pk_count = 1 } },
		/* a server that reports each name once */
		{ true,
		  3,
		  "13",
		  { .names = { "a", "zdm__now", "zdm__now_2" }, .pk = { 0 }, .pk_count = 1 },
		  { .names = { "a" }, .pk = { 0 }, .pk_count = 1 } },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct rewriting *r = rewriting(cases[i].is_named, cases[i].markers, cases[i].before);

		for (uint8_t version = 3; version <= 5; version++) {
			for (unsigned global = 0; global < 2; global++) {
				struct shape reported = cases[i].reported;
				struct shape seen = cases[i].seen;

				reported.version = seen.version = version;
				reported.is_global = global == 1;
				/* as Cassandra: no variables, no table */
				seen.is_global = global == 1 && seen.names[0];
				expect_hidden(r, &reported, &seen);
			}
		}
		free(r);
	}
}
END_TEST

START_TEST(not_as_expected)
{
	static const struct {
		bool is_named;
		uint32_t markers;
		const char *before;
		struct shape origin, target;
	} cases[] = {
		{ false, 1, "1", { .names = { "k" } }, { .names = { "k", "ID" } } },
		{ false, 1, "1", { .names = { "k", "ID" } }, { .names = { "k" } } },
		{ false, 1, "1", { .names = { "k", "ID", "x" } }, { .names = { "k", "ID", "x" } } },
		{ false, 1, "1", { .names = { NULL } }, { .names = { NULL } } },
		{ true, 1, "1", { .names = { "k", "ID" } }, { .names = { "k", "ID" } } },
		{ true, 1, "1", { .names = { "k", "zdm__now" } }, { .names = { "zdm__now", "k" } } },
		{ true, 0, "00", { .names = { "zdm__now_2", "zdm__now" } }, { .names = { "zdm__now_2", "zdm__now" } } },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct rewriting *r = rewriting(cases[i].is_named, cases[i].markers, cases[i].before);
		struct shape origin = cases[i].origin;
		struct shape target = cases[i].target;

		origin.version = target.version = 4;
		ck_assert_ptr_null(made(r, &origin, &target));
		free(r);
	}
}
END_TEST

static void expect_names(const struct rewriting *r, const char *const *origin, const char *const *target,
			 bool is_ambiguous, const char *first)
{
	struct shape o = { .version = 4, .is_global = true };
	struct shape t = o;
	struct generated *g, *copy;
	struct bytesview name;

	for (unsigned i = 0; origin[i]; i++) {
		o.names[i] = origin[i];
		t.names[i] = target[i];
	}
	g = made(r, &o, &t);
	ck_assert_ptr_nonnull(g);
	copy = generated_copy(g);
	ck_assert_uint_eq(generated_size(copy), generated_size(g));
	free(g);
	ck_assert(copy->is_ambiguous == is_ambiguous);
	name = generated_name(copy, 0);
	ck_assert_uint_eq(name.len, 2 + strlen(first));
	ck_assert_uint_eq(get_u16(name.p), strlen(first));
	ck_assert_mem_eq(name.p + 2, first, strlen(first));
	ck_assert_uint_eq(copy->markers[1].position, 2);
	ck_assert_uint_eq(copy->markers[1].kind, REWRITE_UUID);
	free(copy);
}

START_TEST(names)
{
	static const char *const plain[] = { "ID", "k", "IE", NULL };
	static const char *const renamed[] = { "arg0", "k", "IE", NULL };
	static const char *const twice[] = { "ID", "ID", "IE", NULL };
	static const char *const ours_twice[] = { "ID", "k", "ID", NULL };
	static const char *const named[] = { "zdm__now", "k", "zdm__now_2", NULL };
	struct rewriting *r = rewriting(false, 1, "01");

	expect_names(r, plain, plain, false, "ID");
	expect_names(r, renamed, plain, true, "arg0");
	expect_names(r, twice, twice, true, "ID");
	expect_names(r, ours_twice, ours_twice, true, "ID");
	r->is_named = true;
	expect_names(r, named, named, false, "zdm__now");
	free(r);
	ck_assert_ptr_null(generated_copy(NULL));
	ck_assert_uint_eq(generated_size(NULL), 0);
}
END_TEST

int main(void)
{
	TCase *tcase = tcase_create("generated");
	int status;

	chunk_pool_init(&pool);
	tcase_set_timeout(tcase, 60);
	tcase_add_test(tcase, hidden);
	tcase_add_test(tcase, not_as_expected);
	tcase_add_test(tcase, names);
	status = run_tcase("generated", tcase);
	chunk_pool_fini(&pool);
	return status;
}
