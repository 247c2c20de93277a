/*
 * test_prepared.c - the table of prepared statements: both ids, replacement,
 * ids that two entries share, eviction, bounds, the workers' caches in front.
 */
#include "proxy/prepared.h"

#include <pthread.h>

#include "proxy/amend.h"
#include "proxy/generated.h"
#include "vectors.h"

static struct prepared_table table;
static struct prepared_front *front;

static void start(uint32_t max_count, uint64_t max_memory)
{
	prepared_table_init(&table, max_count, max_memory);
	front = malloc(sizeof(*front));
	prepared_front_init(front, &table);
}

static void end(void)
{
	prepared_front_fini(front);
	free(front);
	prepared_table_fini(&table);
}

static struct bytesview id_of(const char *text)
{
	return (struct bytesview){ .p = (const uint8_t *)text, .len = (uint32_t)strlen(text) };
}

static void set_id(struct prepared *p, enum cluster_id cluster, const char *id)
{
	memcpy(p->id[cluster].bytes, id, strlen(id));
	p->id[cluster].len = (uint8_t)strlen(id);
}

static struct prepared *entry(const char *origin, const char *target, const char *text)
{
	struct prepared *p = prepared_new(sv_from(text), SV("ks"));

	set_id(p, CLUSTER_ORIGIN, origin);
	set_id(p, CLUSTER_TARGET, target);
	return p;
}

static void put(const char *origin, const char *target, const char *text)
{
	prepared_insert(&table, entry(origin, target, text));
}

/* The text under a client's id, "" for an unknown one. */
static const char *found(const char *id)
{
	struct prepared_ref *ref = prepared_find(front, id_of(id));
	static char text[64];

	snprintf(text, sizeof(text), "%s", ref ? ref->entry->text : "");
	if (ref)
		prepared_release(ref);
	return text;
}

static const char *found_on(enum cluster_id cluster, const char *id)
{
	struct prepared *p = prepared_find_on(&table, cluster, id_of(id));
	static char text[64];

	snprintf(text, sizeof(text), "%s", p ? p->text : "");
	if (p)
		prepared_unref(p);
	return text;
}

START_TEST(either_id_is_good)
{
	start(100, 1 << 20);
	put("origin-1", "target-1", "one");
	put("origin-2", "", "two");
	put("", "target-3", "three");
	for (unsigned i = 0; i < 2; i++) { /* from the table, then from the front */
		ck_assert_str_eq(found("origin-1"), "one");
		ck_assert_str_eq(found("target-1"), "one");
		ck_assert_str_eq(found("origin-2"), "two");
		ck_assert_str_eq(found("target-3"), "three");
		ck_assert_str_eq(found("origin-3"), "");
		ck_assert_str_eq(found(""), "");
	}
	ck_assert_str_eq(found_on(CLUSTER_ORIGIN, "origin-1"), "one");
	ck_assert_str_eq(found_on(CLUSTER_TARGET, "origin-1"), "");
	ck_assert_str_eq(found_on(CLUSTER_TARGET, "target-1"), "one");
	ck_assert_str_eq(found_on(CLUSTER_ORIGIN, ""), "");
	ck_assert_uint_eq(table.count, 3);
	end();
}
END_TEST

START_TEST(ids_that_are_no_ids)
{
	uint8_t longest[PREPARED_ID_MAX + 1];

	memset(longest, 'x', sizeof(longest));
	start(100, 1 << 20);
	put("origin-1", "target-1", "one");
	ck_assert_ptr_null(prepared_find(front, (struct bytesview){ .p = longest, .len = sizeof(longest) }));
	ck_assert_ptr_null(
		prepared_find_on(&table, CLUSTER_ORIGIN, (struct bytesview){ .p = longest, .len = sizeof(longest) }));
	ck_assert_ptr_null(prepared_find(front, (struct bytesview){ .p = NULL, .len = 0, .is_null = true }));
	/* one is the beginning of the other */
	ck_assert_str_eq(found("origin-"), "");
	ck_assert_str_eq(found("origin-11"), "");
	end();
}
END_TEST

/* An entry that the clusters of `origin` and `target` have described (NULL: was not asked), the driver by `reporter`. */
static struct prepared *described(const char *origin, const char *target, const char *columns, enum cluster_id reporter)
{
	struct prepared *p = prepared_new(SV("text"), SV("ks"));

	if (origin)
		prepared_learn(p, CLUSTER_ORIGIN, id_of(origin), id_of("columns"));
	if (target)
		prepared_learn(p, CLUSTER_TARGET, id_of(target), id_of(columns));
	prepared_report(p, reporter, NULL);
	return p;
}

static void check_once(struct prepared *p, bool is_one_sided, uint8_t may_skip)
{
	ck_assert(p->is_one_sided == is_one_sided);
	ck_assert_uint_eq(p->may_skip, may_skip);
	prepared_unref(p);
}

START_TEST(who_may_leave_out_columns)
{
	check_once(described("o", "t", "columns", CLUSTER_ORIGIN), false, TO_BOTH);
	check_once(described("o", "t", "others", CLUSTER_ORIGIN), false, TO_ORIGIN);
	check_once(described("o", NULL, "", CLUSTER_ORIGIN), true, TO_ORIGIN);
	check_once(described(NULL, "t", "columns", CLUSTER_TARGET), true, 0);
	/* without a description nothing is known to be equal */
	check_once(described("o", "t", "", CLUSTER_ORIGIN), false, TO_ORIGIN);
}
END_TEST

/* Prepared on target alone; origin is asked later. */
START_TEST(the_second_id)
{
	static const char *const columns[] = { "columns", "others" };

	for (unsigned i = 0; i < ARRAY_LEN(columns); i++) {
		struct prepared *p;

		start(100, 1 << 20);
		prepared_insert(&table, described(NULL, "target-1", "columns", CLUSTER_TARGET));
		p = prepared_find_on(&table, PREPARED_CLIENT, id_of("target-1"));
		prepared_change_id(&table, p, CLUSTER_ORIGIN, id_of("origin-1"), id_of(columns[i]));
		ck_assert(p->is_stale);
		prepared_unref(p);
		ck_assert_str_eq(found_on(CLUSTER_ORIGIN, "origin-1"), "text");
		p = prepared_find_on(&table, PREPARED_CLIENT, id_of("target-1"));
		ck_assert_ptr_nonnull(p);
		check_once(p, false, i == 0 ? TO_BOTH : 0);
		ck_assert_uint_eq(table.count, 1);
		end();
	}
}
END_TEST

/* It is prepared anew while one cluster is asked; what was known of the other one stays known, as long as it is one text. */
START_TEST(what_was_known_before)
{
	struct prepared *known = described("id", "id", "others", CLUSTER_ORIGIN);
	struct prepared *p = described(NULL, "id", "others", CLUSTER_TARGET);
	struct prepared *other = prepared_new(SV("another text"), SV("ks"));

	prepared_note_on(known, CLUSTER_ORIGIN, 3);
	prepared_report(p, CLUSTER_TARGET, known);
	ck_assert(prepared_id_equal(&p->id[CLUSTER_ORIGIN], id_of("id")));
	ck_assert(prepared_is_on(p, CLUSTER_ORIGIN, 3));
	ck_assert(prepared_client_id(p).len == 2);
	check_once(p, false, 0); /* drivers may hold columns of either */
	prepared_learn(other, CLUSTER_TARGET, id_of("id"), id_of("others"));
	prepared_report(other, CLUSTER_TARGET, known);
	check_once(other, true, 0);
	prepared_unref(known);
	/* origin's id, which comes from what was known, does not become the driver's */
	known = described("origin-1", "target-1", "columns", CLUSTER_ORIGIN);
	p = described(NULL, "target-1", "columns", CLUSTER_TARGET);
	prepared_report(p, CLUSTER_TARGET, known);
	ck_assert_int_eq(memcmp(prepared_client_id(p).p, "target-1", 8), 0);
	check_once(p, false, TO_BOTH);
	prepared_unref(known);
}
END_TEST

/* While target was asked for its id, a driver has prepared the statement there, and holds target's columns. */
START_TEST(prepared_anew_meanwhile)
{
	struct prepared *before, *p;

	start(100, 1 << 20);
	prepared_insert(&table, described("id", NULL, "", CLUSTER_ORIGIN));
	before = prepared_find_on(&table, PREPARED_CLIENT, id_of("id"));
	p = described(NULL, "id", "others", CLUSTER_TARGET);
	prepared_report(p, CLUSTER_TARGET, before);
	prepared_insert(&table, p);
	ck_assert(before->is_stale);
	prepared_change_id(&table, before, CLUSTER_TARGET, id_of("id"), id_of("others"));
	prepared_unref(before);
	p = prepared_find_on(&table, PREPARED_CLIENT, id_of("id"));
	check_once(p, false, 0);
	ck_assert_uint_eq(table.count, 1);
	end();
}
END_TEST

START_TEST(the_clients_id)
{
	struct prepared *p = entry("origin-1", "target-1", "one");
	struct bytesview id = prepared_client_id(p);

	ck_assert(prepared_id_equal(&p->id[CLUSTER_ORIGIN], id));
	p->id[CLUSTER_ORIGIN].len = 0;
	id = prepared_client_id(p);
	ck_assert(prepared_id_equal(&p->id[CLUSTER_TARGET], id));
	ck_assert_str_eq(p->keyspace, "ks");
	prepared_unref(p);
	p = prepared_new(SV("text"), SV(""));
	ck_assert_ptr_null(p->keyspace);
	ck_assert_uint_eq(p->text_len, 4);
	prepared_unref(p);
}
END_TEST

static void put_own(const char *own, const char *origin, const char *target, const char *text)
{
	struct prepared *p = entry(origin, target, text);

	memcpy(p->own_id.bytes, own, strlen(own));
	p->own_id.len = (uint8_t)strlen(own);
	p->generated = xcalloc(1, sizeof(*p->generated));
	p->generated->size = sizeof(*p->generated);
	prepared_insert(&table, p);
}

/* A rewritten statement and a client's own one have the same ids on the clusters. */
START_TEST(an_id_of_our_own)
{
	struct prepared *p;

	for (unsigned order = 0; order < 2; order++) {
		start(100, 1 << 20);
		if (order == 0)
			put_own("ours", "origin", "target", "rewritten");
		/* what the clusters call it is nobody's id */
		ck_assert_str_eq(found("origin"), "");
		ck_assert_str_eq(found("target"), "");
		put("origin", "target", "written");
		if (order == 1)
			put_own("ours", "origin", "target", "rewritten");
		for (unsigned i = 0; i < 2; i++) {
			ck_assert_str_eq(found("ours"), "rewritten");
			ck_assert_str_eq(found("origin"), "written");
			ck_assert_str_eq(found("target"), "written");
		}
		ck_assert_uint_eq(table.count, 2);
		put_own("ours", "origin", "target", "rewritten again");
		ck_assert_str_eq(found("ours"), "rewritten again");
		ck_assert_uint_eq(table.count, 2);
		/* a node gives the rewritten one another id */
		p = prepared_find_on(&table, PREPARED_CLIENT, id_of("ours"));
		prepared_change_id(&table, p, CLUSTER_TARGET, id_of("target-2"), (struct bytesview){ 0 });
		prepared_unref(p);
		ck_assert_str_eq(found("ours"), "rewritten again");
		ck_assert_str_eq(found("target-2"), "");
		ck_assert_str_eq(found("target"), "written");
		ck_assert_str_eq(found_on(CLUSTER_TARGET, "target-2"), "rewritten again");
		/* the clusters could not prepare the rewritten text any more: the client's own has the id that ours had */
		put("ours", "target-3", "unchanged");
		ck_assert_str_eq(found("ours"), "unchanged");
		ck_assert_str_eq(found_on(CLUSTER_TARGET, "target-2"), "");
		ck_assert_uint_eq(table.count, 2);
		end();
	}
}
END_TEST

START_TEST(digests)
{
	struct prepared_id a, b;

	ck_assert(prepared_id_digest(SV("ks"), SV("text"), &a));
	ck_assert(prepared_id_digest(SV(""), SV("kstext"), &b));
	ck_assert_uint_eq(a.len, 16);
	ck_assert_mem_eq(a.bytes, b.bytes, 16);
	ck_assert(prepared_id_digest(SV("text"), SV("ks"), &b));
	ck_assert_mem_ne(a.bytes, b.bytes, 16);
	/* RFC 1321, A.5 */
	ck_assert(prepared_id_digest(SV("a"), SV("bc"), &a));
	ck_assert_mem_eq(a.bytes, "\x90\x01\x50\x98\x3c\xd2\x4f\xb0\xd6\x96\x3f\x7d\x28\xe1\x7f\x72", 16);
}
END_TEST

START_TEST(prepared_again)
{
	struct prepared_ref *held;

	start(100, 1 << 20);
	put("origin-1", "target-1", "old");
	held = prepared_find(front, id_of("origin-1"));
	ck_assert_ptr_nonnull(held);
	put("origin-1", "target-2", "new");
	ck_assert(held->entry->is_stale);
	ck_assert_str_eq(held->entry->text, "old"); /* a request in flight keeps what it has */
	ck_assert_uint_eq(table.count, 1);
	ck_assert_str_eq(found("origin-1"), "new");
	ck_assert_str_eq(found("target-2"), "new");
	ck_assert_str_eq(found("target-1"), "");
	prepared_release(held);
	end();
}
END_TEST

START_TEST(an_id_of_target_that_two_share)
{
	start(100, 1 << 20);
	put("origin-1", "shared", "one");
	put("origin-2", "shared", "two");
	ck_assert_uint_eq(table.count, 2);
	ck_assert_str_eq(found("origin-1"), "one");
	ck_assert_str_eq(found("origin-2"), "two");
	ck_assert_str_ne(found_on(CLUSTER_TARGET, "shared"), "");
	/* when one goes, the other one stays under both of its ids */
	put("origin-2", "other", "two again");
	ck_assert_str_eq(found("shared"), "one");
	ck_assert_str_eq(found("origin-1"), "one");
	put("origin-1", "other", "one again");
	ck_assert_str_eq(found("shared"), "");
	end();
}
END_TEST

START_TEST(a_repair_changes_an_id)
{
	struct prepared *p;

	start(100, 1 << 20);
	p = entry("origin-1", "target-1", "one");
	p->verdict = (struct verdict){ .to = TO_TARGET, .answer_from = CLUSTER_TARGET, .class = CLASS_READ };
	p->is_qualified = true;
	p->allows = ALLOWS_WRITE_LEVEL | ALLOWS_TIMESTAMP;
	p->idempotence = 5;
	prepared_insert(&table, p);
	p = prepared_find_on(&table, CLUSTER_ORIGIN, id_of("origin-1"));
	prepared_change_id(&table, p, CLUSTER_TARGET, id_of("target-2"), (struct bytesview){ 0 });
	ck_assert(p->is_stale);
	prepared_unref(p);
	ck_assert_str_eq(found("origin-1"), "one");
	ck_assert_str_eq(found("target-2"), "one");
	ck_assert_str_eq(found("target-1"), "");
	ck_assert_uint_eq(table.count, 1);
	p = prepared_find_on(&table, CLUSTER_TARGET, id_of("target-2"));
	ck_assert_uint_eq(p->verdict.to, TO_TARGET);
	ck_assert(p->is_qualified);
	ck_assert_uint_eq(p->allows, ALLOWS_WRITE_LEVEL | ALLOWS_TIMESTAMP);
	ck_assert_uint_eq(p->idempotence, 5);
	ck_assert_str_eq(p->keyspace, "ks");
	prepared_unref(p);
	end();
}
END_TEST

/* The client's id is for ever, whichever cluster has another one now, and back again. */
START_TEST(a_repair_changes_an_id_of_origin)
{
	struct prepared *p;

	start(100, 1 << 20);
	put("origin-1", "target-1", "one");
	ck_assert_str_eq(found("origin-1"), "one"); /* into the worker's cache */
	for (unsigned i = 0; i < 4; i++) {
		const char *now = i % 2 ? "origin-1" : "origin-2";

		p = prepared_find_on(&table, PREPARED_CLIENT, id_of("origin-1"));
		prepared_change_id(&table, p, CLUSTER_ORIGIN, id_of(now), (struct bytesview){ 0 });
		ck_assert(p->is_stale);
		prepared_unref(p);
		ck_assert_str_eq(found("origin-1"), "one");
		ck_assert_str_eq(found("target-1"), "one");
		ck_assert_str_eq(found_on(CLUSTER_ORIGIN, now), "one");
		ck_assert_uint_eq(table.count, 1);
		p = prepared_find_on(&table, PREPARED_CLIENT, id_of("origin-1"));
		ck_assert(prepared_id_equal(&p->id[CLUSTER_ORIGIN], id_of(now)));
		prepared_unref(p);
	}
	/* Who prepares it anew gets the new id; both serve. */
	p = prepared_find_on(&table, PREPARED_CLIENT, id_of("origin-1"));
	prepared_change_id(&table, p, CLUSTER_ORIGIN, id_of("origin-2"), (struct bytesview){ 0 });
	prepared_unref(p);
	put("origin-2", "target-1", "one");
	ck_assert_str_eq(found("origin-1"), "one");
	ck_assert_str_eq(found("origin-2"), "one");
	ck_assert_uint_eq(table.count, 2);
	end();
}
END_TEST

static void put_number(unsigned i)
{
	char origin[32], target[32], text[32];

	snprintf(origin, sizeof(origin), "origin-%u", i);
	snprintf(target, sizeof(target), "target-%u", i);
	snprintf(text, sizeof(text), "%u", i);
	put(origin, target, text);
}

static bool has_number(unsigned i)
{
	char origin[32], target[32];
	bool by_origin, by_target;

	snprintf(origin, sizeof(origin), "origin-%u", i);
	snprintf(target, sizeof(target), "target-%u", i);
	by_origin = *found_on(CLUSTER_ORIGIN, origin);
	by_target = *found_on(CLUSTER_TARGET, target);
	ck_assert_int_eq(by_origin, by_target);
	return by_origin;
}

/* A hold that a worker keeps tells what its current settings make of the statement, and so does a new one. */
START_TEST(other_settings)
{
	struct settings settings[2] = { { .primary = CLUSTER_ORIGIN }, { .primary = CLUSTER_TARGET } };
	struct prepared *p = entry("origin-1", "target-1", "SELECT * FROM t");
	struct prepared *ours = entry("origin-2", "target-2", "SELECT * FROM system.local");
	struct prepared_ref *ref;

	settings[1].timestamps = TIMESTAMPS_ADD;
	start(100, 1 << 20);
	p->generation = 1;
	p->verdict = (struct verdict){ .to = TO_ORIGIN, .answer_from = CLUSTER_ORIGIN, .class = CLASS_READ };
	prepared_insert(&table, p);
	ours->generation = 1;
	prepared_insert(&table, ours);
	p = entry("origin-3", "target-3", "INSERT INTO t (k) VALUES (?)");
	p->generation = 1;
	p->bound = BOUND_NONE;
	p->verdict = (struct verdict){ .to = TO_BOTH, .class = CLASS_WRITE };
	p->allows = ALLOWS_WRITE_LEVEL;
	prepared_insert(&table, p);
	for (unsigned turn = 0; turn < 4; turn++) {
		prepared_front_set(front, &settings[turn % 2], NULL, turn + 1);
		ref = prepared_find(front, id_of("origin-1"));
		ck_assert_uint_eq(ref->verdict.to, turn % 2 ? TO_TARGET : TO_ORIGIN);
		ck_assert_uint_eq(ref->verdict.answer_from, turn % 2);
		prepared_release(ref);
		ref = prepared_find(front, id_of("origin-2"));
		ck_assert_uint_eq(ref->verdict.to, 0);
		prepared_release(ref);
		ref = prepared_find(front, id_of("target-3"));
		ck_assert_uint_eq(ref->verdict.to, TO_BOTH);
		ck_assert_uint_eq(ref->verdict.answer_from, turn % 2);
		ck_assert_uint_eq(ref->allows, ALLOWS_WRITE_LEVEL | (turn % 2 ? ALLOWS_TIMESTAMP : 0));
		prepared_release(ref);
	}
	end();
}
END_TEST

START_TEST(other_bounds)
{
	start(1000, 1 << 20);
	for (unsigned i = 0; i < 200; i++) {
		char id[32];

		snprintf(id, sizeof(id), "id-%u", i);
		put(id, id, "one");
	}
	prepared_table_set_bounds(&table, 100, 1 << 20);
	ck_assert_uint_eq(table.count, 200);
	put("last", "last", "one");
	ck_assert_uint_eq(table.count, 100);
	ck_assert_str_eq(found("last"), "one");
	end();
}
END_TEST

START_TEST(the_oldest_go_first)
{
	start(10, 1 << 20);
	for (unsigned i = 0; i < 25; i++)
		put_number(i);
	ck_assert_uint_eq(table.count, 10);
	for (unsigned i = 0; i < 25; i++)
		ck_assert_int_eq(has_number(i), i >= 15);
	end();
}
END_TEST

START_TEST(what_is_used_stays)
{
	start(10, 1 << 20);
	for (unsigned i = 0; i < 10; i++)
		put_number(i);
	for (unsigned i = 10; i < 100; i++) {
		ck_assert_str_eq(found("origin-3"), "3");
		ck_assert_str_eq(found("target-7"), "7");
		put_number(i);
	}
	ck_assert(has_number(3));
	ck_assert(has_number(7));
	ck_assert_uint_eq(table.count, 10);
	for (unsigned i = 92; i < 100; i++)
		ck_assert(has_number(i));
	/* and goes when it is used no more */
	for (unsigned i = 100; i < 130; i++)
		put_number(i);
	ck_assert(!has_number(3));
	ck_assert_str_eq(found("origin-3"), "");
	end();
}
END_TEST

START_TEST(memory_is_bounded)
{
	char *large = malloc(100001);
	uint64_t most = 0;

	memset(large, 'x', 100000);
	large[100000] = '\0';
	start(1000, 1 << 20);
	for (unsigned i = 0; i < 50; i++) {
		char origin[32];

		snprintf(origin, sizeof(origin), "origin-%u", i);
		put(origin, "", large);
		most = MAX(most, table.memory);
	}
	ck_assert_uint_le(most, 1 << 20);
	ck_assert_uint_eq(table.count, 10);
	for (unsigned i = 0; i < 200; i++)
		put_number(i);
	ck_assert_uint_le(table.memory, 1 << 20);
	prepared_front_fini(front);
	prepared_table_fini(&table);
	ck_assert_uint_eq(table.memory, 0); /* what was counted in is counted out */
	ck_assert_uint_eq(table.count, 0);
	free(front);
	free(large);
}
END_TEST

/* A text that is larger than all memory allowed has the table for itself. */
START_TEST(one_that_is_too_large)
{
	char *large = malloc(3001);

	memset(large, 'x', 3000);
	large[3000] = '\0';
	start(100, 2000);
	put_number(1);
	put("large", "", large);
	ck_assert_uint_eq(table.count, 1);
	ck_assert(!has_number(1));
	put_number(2);
	ck_assert_uint_eq(table.count, 1);
	ck_assert(has_number(2));
	free(large);
	end();
}
END_TEST

/* ---- the front ---- */

/*
 * What the table has dropped must not live on in a worker's cache: with long
 * texts, or much that is known about short ones, that would be the bound of
 * prepared_cache_memory times thousands.
 */
START_TEST(the_front_keeps_nothing_large)
{
	static const char *const ids[] = { "long", "known" };
	char *large = malloc(PREPARED_FRONT_MEMORY_MAX + 1);
	struct prepared *shorter, *longer, *known;
	struct prepared_ref *ref;

	memset(large, 'x', PREPARED_FRONT_MEMORY_MAX);
	large[PREPARED_FRONT_MEMORY_MAX] = '\0';
	start(100, 1 << 20);
	longer = entry("long", "", large);
	large[4096] = '\0';
	shorter = entry("short", "", large);
	known = entry("known", "", "text");
	known->generated = xcalloc(1, PREPARED_FRONT_MEMORY_MAX);
	known->generated->size = PREPARED_FRONT_MEMORY_MAX;
	prepared_insert(&table, longer);
	prepared_insert(&table, shorter);
	prepared_insert(&table, known);
	for (unsigned i = 0; i < 4; i++) {
		ref = prepared_find(front, id_of(ids[i % 2]));
		ck_assert_uint_eq(ref->refs, 1);
		ck_assert_uint_eq(ref->entry->refs, 2); /* the table's and ours */
		prepared_release(ref);
		ck_assert_uint_eq(longer->refs, 1);
		ck_assert_uint_eq(known->refs, 1);
		ref = prepared_find(front, id_of("short"));
		ck_assert_uint_eq(ref->refs, 2); /* the slot's and ours */
		prepared_release(ref);
		ck_assert_uint_eq(shorter->refs, 2);
	}
	free(large);
	end();
}
END_TEST

START_TEST(more_statements_than_slots)
{
	start(20000, 64 << 20);
	for (unsigned i = 0; i < 3 * PREPARED_FRONT_SLOTS; i++)
		put_number(i);
	for (unsigned round = 0; round < 2; round++) {
		for (unsigned i = 0; i < 3 * PREPARED_FRONT_SLOTS; i++) {
			char id[32], text[32];

			snprintf(id, sizeof(id), "%s-%u", round ? "target" : "origin", i);
			snprintf(text, sizeof(text), "%u", i);
			ck_assert_str_eq(found(id), text);
		}
	}
	end();
}
END_TEST

/* Of those that share a slot, malloc gives the second the place that the first has just left. */
START_TEST(the_same_as_before)
{
	struct prepared_last last = { 0 };
	char id[2][32], text[32];

	start(20000, 64 << 20);
	for (unsigned i = 0; i < 2 * PREPARED_FRONT_SLOTS; i++) {
		put_number(i);
		snprintf(id[i % 2], sizeof(id[0]), "origin-%u", i);
		snprintf(text, sizeof(text), "%u", i);
		for (unsigned again = 0; again < 3; again++) {
			ck_assert_ptr_nonnull(prepared_find_again(front, id_of(id[i % 2]), &last));
			ck_assert_str_eq(last.ref->entry->text, text);
			ck_assert(last.is_same == (again > 0));
		}
	}
	ck_assert_ptr_null(prepared_find_again(front, id_of("nothing"), &last));
	ck_assert(!last.is_same);
	ck_assert_ptr_null(prepared_find_again(front, id_of("nothing"), &last));
	ck_assert(!last.is_same);
	prepared_last_release(&last);
	end();
}
END_TEST

/* ---- two threads ---- */

enum {
	ROUNDS = 20000,
	IDS = 40
};

static void *prepare_and_find(void *arg)
{
	struct prepared_front *own = malloc(sizeof(*own));
	const unsigned seed = (unsigned)(uintptr_t)arg;
	uintptr_t wrong = 0;

	prepared_front_init(own, &table);
	for (unsigned i = 0; i < ROUNDS; i++) {
		const unsigned number = (i * 7 + seed) % IDS;
		char id[32], text[32];
		struct prepared_ref *ref;

		if (i % 16 == seed)
			put_number(number);
		snprintf(id, sizeof(id), "%s-%u", i % 2 ? "target" : "origin", number);
		snprintf(text, sizeof(text), "%u", number);
		ref = prepared_find(own, id_of(id));
		if (ref) {
			wrong += strcmp(ref->entry->text, text) != 0;
			prepared_release(ref);
		}
	}
	prepared_front_fini(own);
	free(own);
	return (void *)wrong;
}

START_TEST(two_threads)
{
	pthread_t threads[2];

	start(IDS / 2, 1 << 20); /* half of them have room: evictions all the time */
	for (unsigned i = 0; i < 2; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, prepare_and_find, (void *)(uintptr_t)i), 0);
	for (unsigned i = 0; i < 2; i++) {
		void *wrong;

		pthread_join(threads[i], &wrong);
		ck_assert_ptr_null(wrong);
	}
	ck_assert_uint_le(table.count, IDS / 2);
	end();
}
END_TEST

int main(void)
{
	TCase *tcase = tcase_create("prepared");

	tcase_set_timeout(tcase, 60);
	tcase_add_test(tcase, either_id_is_good);
	tcase_add_test(tcase, ids_that_are_no_ids);
	tcase_add_test(tcase, who_may_leave_out_columns);
	tcase_add_test(tcase, the_second_id);
	tcase_add_test(tcase, what_was_known_before);
	tcase_add_test(tcase, prepared_anew_meanwhile);
	tcase_add_test(tcase, the_clients_id);
	tcase_add_test(tcase, an_id_of_our_own);
	tcase_add_test(tcase, digests);
	tcase_add_test(tcase, prepared_again);
	tcase_add_test(tcase, an_id_of_target_that_two_share);
	tcase_add_test(tcase, a_repair_changes_an_id);
	tcase_add_test(tcase, a_repair_changes_an_id_of_origin);
	tcase_add_test(tcase, other_settings);
	tcase_add_test(tcase, other_bounds);
	tcase_add_test(tcase, the_oldest_go_first);
	tcase_add_test(tcase, what_is_used_stays);
	tcase_add_test(tcase, memory_is_bounded);
	tcase_add_test(tcase, one_that_is_too_large);
	tcase_add_test(tcase, the_front_keeps_nothing_large);
	tcase_add_test(tcase, more_statements_than_slots);
	tcase_add_test(tcase, the_same_as_before);
	tcase_add_test(tcase, two_threads);
	return run_tcase("prepared", tcase);
}
