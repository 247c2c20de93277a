/*
 * test_merge.c - which of two answers a client gets, over the whole table:
 * outcomes, error codes, kinds of requests, both profiles, both primaries.
 * What is expected stands here in words of its own.
 */
#include "proxy/merge.h"

#include "cql/tables.h"
#include "vectors.h"

static const uint32_t codes[] = {
#define X(name, value) value,
	CQL_ERRORS(X)
#undef X
		0xdead,
};

static bool one_of(uint32_t code, const uint32_t *list, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (list[i] == code)
			return true;
	}
	return false;
}

/* What drivers send again to the next node without asking whether a write is idempotent (some of them). */
static bool sent_again_by_drivers(uint32_t code)
{
	static const uint32_t list[] = { 0x0000, 0x1000, 0x1001, 0x1002 };

	return one_of(code, list, ARRAY_LEN(list));
}

/* A write that a node has at least begun. */
static bool was_begun(uint32_t code)
{
	static const uint32_t list[] = { 0x1100, 0x1500, 0x1600, 0x1700 };

	return one_of(code, list, ARRAY_LEN(list));
}

#define UNPREPARED 0x2500

/* NONE stands for a result without error. */
#define NONE UINT32_MAX

static enum merge_choice expected(uint32_t origin, uint32_t target, enum cluster_id answer_from,
				  enum request_class class, bool is_prepare, bool zdm)
{
	enum cluster_id loser;
	uint32_t bad, other;

	if (origin == NONE && target == NONE)
		return is_prepare ? MERGE_ORIGIN : answer_from == CLUSTER_ORIGIN ? MERGE_ORIGIN : MERGE_TARGET;
	if (origin != NONE && target != NONE)
		loser = answer_from;
	else
		loser = origin != NONE ? CLUSTER_ORIGIN : CLUSTER_TARGET;
	bad = loser == CLUSTER_ORIGIN ? origin : target;
	other = loser == CLUSTER_ORIGIN ? target : origin;
	if (class == CLASS_WRITE && (other == NONE || was_begun(other)) &&
	    (bad == UNPREPARED || (!zdm && sent_again_by_drivers(bad))))
		return MERGE_WRITE_TIMEOUT;
	return loser == CLUSTER_ORIGIN ? MERGE_ORIGIN : MERGE_TARGET;
}

static enum merge_choice choose(uint32_t origin, uint32_t target, enum cluster_id answer_from, enum request_class class,
				bool is_prepare, bool zdm)
{
	const struct verdict v = { .to = TO_BOTH, .answer_from = (uint8_t)answer_from, .class = (uint8_t) class };
	const enum leg_outcome outcome[CLUSTER_COUNT] = { origin == NONE ? OUTCOME_OK : OUTCOME_ERROR,
							  target == NONE ? OUTCOME_OK : OUTCOME_ERROR };
	const uint32_t code[CLUSTER_COUNT] = { origin == NONE ? 0 : origin, target == NONE ? 0 : target };

	return merge_choose(&v, is_prepare, zdm, outcome, code);
}

START_TEST(the_whole_table)
{
	static const enum request_class classes[] = { CLASS_READ, CLASS_WRITE, CLASS_CONTROL };
	const size_t answers = ARRAY_LEN(codes) + 1;
	unsigned checked = 0;

	for (size_t k = 0; k < answers * answers; k++) {
		const uint32_t origin = k / answers ? codes[k / answers - 1] : NONE;
		const uint32_t target = k % answers ? codes[k % answers - 1] : NONE;

		for (unsigned bits = 0; bits < 3 * 8; bits++) {
			const enum request_class class = classes[bits / 8];
			const enum cluster_id from = bits & 1 ? CLUSTER_TARGET : CLUSTER_ORIGIN;
			const bool prepare = bits & 2 && class == CLASS_CONTROL;
			const bool zdm = bits & 4;

			ck_assert_msg(choose(origin, target, from, class, prepare, zdm) ==
					      expected(origin, target, from, class, prepare, zdm),
				      "origin %x, target %x, answer from %d, class %d, prepare %d, zdm %d: %d", origin,
				      target, from, class, prepare, zdm,
				      choose(origin, target, from, class, prepare, zdm));
			checked++;
		}
	}
	ck_assert_uint_eq(checked, answers * answers * 24);
}
END_TEST

/* The lines of the table in merge.h, spelt out. */
START_TEST(examples)
{
	for (int zdm = 0; zdm < 2; zdm++) {
		ck_assert_int_eq(choose(NONE, NONE, CLUSTER_TARGET, CLASS_WRITE, false, zdm), MERGE_TARGET);
		ck_assert_int_eq(choose(NONE, NONE, CLUSTER_TARGET, CLASS_CONTROL, true, zdm), MERGE_ORIGIN);
		ck_assert_int_eq(choose(CQL_ERR_INVALID, NONE, CLUSTER_TARGET, CLASS_WRITE, false, zdm), MERGE_ORIGIN);
		ck_assert_int_eq(choose(NONE, CQL_ERR_INVALID, CLUSTER_ORIGIN, CLASS_WRITE, false, zdm), MERGE_TARGET);
		ck_assert_int_eq(choose(CQL_ERR_INVALID, CQL_ERR_SYNTAX_ERROR, CLUSTER_TARGET, CLASS_WRITE, false, zdm),
				 MERGE_TARGET);
		ck_assert_int_eq(choose(NONE, CQL_ERR_UNPREPARED, CLUSTER_ORIGIN, CLASS_WRITE, false, zdm),
				 MERGE_WRITE_TIMEOUT);
	}
	ck_assert_int_eq(choose(NONE, CQL_ERR_OVERLOADED, CLUSTER_ORIGIN, CLASS_WRITE, false, false),
			 MERGE_WRITE_TIMEOUT);
	ck_assert_int_eq(choose(NONE, CQL_ERR_OVERLOADED, CLUSTER_ORIGIN, CLASS_WRITE, false, true), MERGE_TARGET);
	ck_assert_int_eq(choose(CQL_ERR_WRITE_TIMEOUT, CQL_ERR_UNAVAILABLE, CLUSTER_TARGET, CLASS_WRITE, false, false),
			 MERGE_WRITE_TIMEOUT);
	ck_assert_int_eq(choose(CQL_ERR_WRITE_TIMEOUT, CQL_ERR_UNAVAILABLE, CLUSTER_ORIGIN, CLASS_WRITE, false, false),
			 MERGE_ORIGIN);
	/* a time-out is no leave to send a write again */
	ck_assert_int_eq(choose(NONE, CQL_ERR_WRITE_TIMEOUT, CLUSTER_ORIGIN, CLASS_WRITE, false, false), MERGE_TARGET);
}
END_TEST

int main(void)
{
	TCase *tcase = tcase_create("merge");

	tcase_add_test(tcase, the_whole_table);
	tcase_add_test(tcase, examples);
	return run_tcase("merge", tcase);
}
