/* test_schema_state.c - when both clusters have taken a change, and the version that drivers see */
#include "proxy/schema_state.h"

#include "vectors.h"

#define MS UINT64_C(1000000)
#define SECOND (1000 * MS)

static struct schema_state state;
static struct topology *t[CLUSTER_COUNT];
static unsigned noticed;

static void on_noticed(void *arg)
{
	ck_assert_ptr_eq(arg, &noticed);
	noticed++;
}

/* The next snapshot of a cluster: asked and published at `ns`; version 0: its nodes say none. */
static void learn(enum cluster_id id, uint8_t version, uint64_t ns)
{
	struct topology *next = topology_new();

	next->local.values = xcalloc(1, sizeof(*next->local.values));
	next->local.value_count = 1;
	next->local.values[0].column = xstrdup("schema_version");
	if (version > 0) {
		next->local.values[0].value = xcalloc(1, 16);
		next->local.values[0].len = 16;
		next->local.values[0].value[15] = version;
	}
	next->schema_asked_ns = ns;
	next->schema_agrees = true;
	schema_state_follow(next, t[id], ns);
	topology_unref(t[id]);
	t[id] = next;
}

static void setup(void)
{
	state = (struct schema_state){ .on_noticed = on_noticed, .arg = &noticed };
	noticed = 0;
	learn(CLUSTER_ORIGIN, 1, SECOND);
	learn(CLUSTER_TARGET, 2, SECOND);
}

static void teardown(void)
{
	for (unsigned i = 0; i < CLUSTER_COUNT; i++) {
		topology_unref(t[i]);
		t[i] = NULL;
	}
}

static void version(unsigned index, uint64_t now, uint8_t out[16])
{
	ck_assert(schema_state_version(&state, (const struct topology *const *)t, index, now, out));
	ck_assert_uint_eq(out[6] >> 4, 5);
	ck_assert_uint_eq(out[8] >> 6, 2);
}

static bool rows_agree(uint64_t now)
{
	uint8_t a[16], b[16];

	version(0, now, a);
	version(1, now, b);
	return memcmp(a, b, 16) == 0;
}

static bool is_settled(enum cluster_id id, uint64_t now)
{
	return schema_state_is_settled(&state, id, t[id], now);
}

#define BOTH (1u << CLUSTER_ORIGIN | 1u << CLUSTER_TARGET)

START_TEST(nothing_noticed)
{
	ck_assert(rows_agree(2 * SECOND));
	ck_assert(is_settled(CLUSTER_ORIGIN, 2 * SECOND) && is_settled(CLUSTER_TARGET, 2 * SECOND));
	ck_assert(schema_state_is_settled(&state, CLUSTER_ORIGIN, NULL, 2 * SECOND));
}
END_TEST

START_TEST(both_have_to_take_it)
{
	uint8_t before[16], after[16];

	version(0, 10 * SECOND, before);
	schema_state_note(&state, BOTH, 10 * SECOND, 10 * SECOND + 50 * MS);
	ck_assert_uint_eq(noticed, 1);
	ck_assert(!rows_agree(10 * SECOND + 60 * MS));
	learn(CLUSTER_ORIGIN, 3, 10 * SECOND + 100 * MS);
	ck_assert(is_settled(CLUSTER_ORIGIN, 10 * SECOND + 100 * MS));
	ck_assert(!rows_agree(10 * SECOND + 100 * MS));
	learn(CLUSTER_TARGET, 2, 10 * SECOND + 200 * MS); /* asked again, and still the old one */
	ck_assert(!rows_agree(10 * SECOND + 200 * MS));
	learn(CLUSTER_TARGET, 4, 10 * SECOND + 300 * MS);
	ck_assert(rows_agree(10 * SECOND + 300 * MS));
	version(0, 10 * SECOND + 300 * MS, after);
	ck_assert(memcmp(before, after, 16) != 0);
}
END_TEST

/* The control connection was quicker than the answer: the version is new since the request began. */
START_TEST(seen_before_it_was_noticed)
{
	learn(CLUSTER_ORIGIN, 3, 10 * SECOND + 10 * MS);
	schema_state_note(&state, 1u << CLUSTER_ORIGIN, 10 * SECOND, 10 * SECOND + 20 * MS);
	ck_assert(!is_settled(CLUSTER_ORIGIN, 10 * SECOND + 20 * MS)); /* the snapshot was asked for before */
	learn(CLUSTER_ORIGIN, 3, 10 * SECOND + 30 * MS);
	ck_assert(is_settled(CLUSTER_ORIGIN, 10 * SECOND + 30 * MS));
	ck_assert(is_settled(CLUSTER_TARGET, 10 * SECOND + 30 * MS)); /* has nothing to take */
}
END_TEST

START_TEST(patience_ends)
{
	const uint64_t at = 10 * SECOND;

	schema_state_note(&state, BOTH, at, at);
	learn(CLUSTER_ORIGIN, 1, at + 100 * MS);
	learn(CLUSTER_TARGET, 2, at + 100 * MS);
	ck_assert(!rows_agree(at + SCHEMA_STATE_PATIENCE_MS * MS - 1));
	ck_assert(rows_agree(at + SCHEMA_STATE_PATIENCE_MS * MS));
}
END_TEST

START_TEST(disagreement_has_no_end)
{
	schema_state_note(&state, BOTH, 10 * SECOND, 10 * SECOND);
	learn(CLUSTER_ORIGIN, 3, 11 * SECOND);
	learn(CLUSTER_TARGET, 4, 11 * SECOND);
	t[CLUSTER_TARGET]->schema_agrees = false;
	ck_assert(!rows_agree(11 * SECOND));
	ck_assert(!rows_agree(1000 * SECOND));
	t[CLUSTER_TARGET]->schema_agrees = true;
	ck_assert(rows_agree(11 * SECOND));
}
END_TEST

/* What is not ours comes to the clusters one after the other, or to one alone. */
START_TEST(one_cluster_changes)
{
	uint8_t before[16], now[16], after[16];

	version(0, 10 * SECOND, before);
	learn(CLUSTER_ORIGIN, 3, 10 * SECOND);
	version(0, 11 * SECOND, now);
	ck_assert_mem_eq(before, now, 16);
	version(0, 10 * SECOND + SCHEMA_STATE_ALONE_MS * MS, after);
	ck_assert(memcmp(before, after, 16) != 0);
	learn(CLUSTER_TARGET, 4, 11 * SECOND);
	version(0, 11 * SECOND, now);
	ck_assert(memcmp(before, now, 16) != 0 && memcmp(after, now, 16) != 0);
}
END_TEST

START_TEST(without_versions)
{
	const struct topology *nobody[CLUSTER_COUNT] = { NULL, NULL };
	uint8_t both[16], one[16];

	version(0, 2 * SECOND, both);
	learn(CLUSTER_TARGET, 0, 2 * SECOND);
	version(0, 2 * SECOND, one);
	ck_assert(memcmp(both, one, 16) != 0);
	learn(CLUSTER_ORIGIN, 0, 2 * SECOND);
	ck_assert(!schema_state_version(&state, (const struct topology *const *)t, 0, 2 * SECOND, one));
	ck_assert(!schema_state_version(&state, nobody, 0, 2 * SECOND, one));
}
END_TEST

int main(void)
{
	TCase *tcase = tcase_create("schema_state");

	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, nothing_noticed);
	tcase_add_test(tcase, both_have_to_take_it);
	tcase_add_test(tcase, seen_before_it_was_noticed);
	tcase_add_test(tcase, patience_ends);
	tcase_add_test(tcase, disagreement_has_no_end);
	tcase_add_test(tcase, one_cluster_changes);
	tcase_add_test(tcase, without_versions);
	return run_tcase("schema_state", tcase);
}
