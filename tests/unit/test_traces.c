/* test_traces.c - which reads of system_traces follow an id. */
#include "proxy/traces.h"

#include "vectors.h"

static const uint8_t ID[TRACE_ID_LEN] = { 0xc7, 0x40, 0x1b, 0x10, 0x4e, 0x6f, 0x11, 0xee,
					  0x8c, 0x99, 0x02, 0x42, 0xac, 0x12, 0x00, 0x02 };

static struct traces traces;
static enum cluster_id maker; /* of the id that was found last */

static bool has(const uint8_t id[TRACE_ID_LEN])
{
	return traces_find(&traces, id, &maker);
}

static bool text_asks(const char *text)
{
	static const struct query_params none;
	struct strview view = { (char *)exact_copy(text, strlen(text)), strlen(text) };
	bool asks = traces_asked_for(&traces, view, NULL, 0, &none, &maker);

	free((void *)(uintptr_t)view.p);
	return asks;
}

/* The values of a QUERY as they stand behind its flags. */
static bool values_ask(const uint8_t *values, uint32_t len, uint16_t count)
{
	const struct query_params params = { .version = 4, .value_count = count };
	uint8_t *body = exact_copy(values, len);
	bool asks = traces_asked_for(&traces, SV(""), body, len, &params, &maker);

	free(body);
	return asks;
}

START_TEST(texts)
{
	traces_init(&traces);
	ck_assert(!text_asks("SELECT * FROM system_traces.sessions WHERE session_id = "
			     "c7401b10-4e6f-11ee-8c99-0242ac120002"));
	traces_note(&traces, ID, CLUSTER_TARGET);
	ck_assert(text_asks("SELECT * FROM system_traces.sessions WHERE session_id = "
			    "c7401b10-4e6f-11ee-8c99-0242ac120002"));
	ck_assert_int_eq(maker, CLUSTER_TARGET);
	ck_assert(
		text_asks("SELECT * FROM system_traces.events WHERE session_id=C7401B10-4E6F-11EE-8C99-0242AC120002;"));
	ck_assert(text_asks("SELECT * FROM t WHERE session_id IN (00000000-0000-0000-0000-000000000000, "
			    "c7401b10-4e6f-11ee-8c99-0242ac120002)"));
	ck_assert(!text_asks("SELECT * FROM t WHERE session_id = c7401b10-4e6f-11ee-8c99-0242ac120003"));
	ck_assert(!text_asks("SELECT * FROM t WHERE session_id = 'c7401b10-4e6f-11ee-8c99-0242ac120002'"));
	ck_assert(!text_asks("SELECT * FROM t -- c7401b10-4e6f-11ee-8c99-0242ac120002"));
	ck_assert(!text_asks("SELECT * FROM t WHERE session_id = c7401b10-4e6f-11ee-8c99-0242ac12000"));
	ck_assert(!text_asks("SELECT * FROM t WHERE a = 123456789012345678901234567890123456"));
	ck_assert(!text_asks("SELECT * FROM t WHERE a = 1234567e-123456789012345678901234567"));
	ck_assert(!text_asks("SELECT * FROM t /* "));
	ck_assert(!text_asks(""));
	traces_fini(&traces);
}
END_TEST

START_TEST(values)
{
	uint8_t bound[2 * (4 + TRACE_ID_LEN)] = { 0, 0, 0, TRACE_ID_LEN };
	static const uint8_t null[] = { 0xff, 0xff, 0xff, 0xff };

	traces_init(&traces);
	traces_note(&traces, ID, CLUSTER_TARGET);
	ck_assert(!values_ask(bound, 4 + TRACE_ID_LEN, 1));
	memcpy(bound + 4, ID, TRACE_ID_LEN);
	ck_assert(values_ask(bound, 4 + TRACE_ID_LEN, 1));
	memmove(bound + 4 + TRACE_ID_LEN, bound, 4 + TRACE_ID_LEN);
	bound[4] = 0;
	ck_assert(values_ask(bound, sizeof(bound), 2));
	bound[4 + TRACE_ID_LEN + 4] = 0;
	ck_assert(!values_ask(bound, sizeof(bound), 2));
	ck_assert(!values_ask(null, sizeof(null), 1));
	traces_fini(&traces);
}
END_TEST

/* As many values as a request may have take no longer than a few. */
START_TEST(many_values)
{
	const uint32_t len = UINT16_MAX * 4 + TRACE_ID_LEN;
	uint8_t *bound = malloc(len);

	traces_init(&traces);
	traces_note(&traces, ID, CLUSTER_TARGET);
	memset(bound, 0xff, len);
	ck_assert(!values_ask(bound, UINT16_MAX * 4, UINT16_MAX));
	put_u32(bound + len - TRACE_ID_LEN - 4, TRACE_ID_LEN);
	memcpy(bound + len - TRACE_ID_LEN, ID, TRACE_ID_LEN);
	ck_assert(values_ask(bound, len, UINT16_MAX));
	traces_fini(&traces);
	free(bound);
}
END_TEST

START_TEST(values_with_names)
{
	uint8_t bound[] = { 0, 1, 'a', 0xff, 0xff, 0xff, 0xff, 0, 2, 'i', 'd', 0, 0, 0, TRACE_ID_LEN, 0, 0,
			    0, 0, 0,   0,    0,    0,    0,    0, 0, 0,   0,   0, 0, 0 };
	const struct query_params params = { .version = 4, .flags = QUERY_NAMES_FOR_VALUES, .value_count = 2 };

	traces_init(&traces);
	traces_note(&traces, ID, CLUSTER_TARGET);
	ck_assert(!traces_asked_for(&traces, SV(""), bound, sizeof(bound), &params, &maker));
	memcpy(bound + sizeof(bound) - TRACE_ID_LEN, ID, TRACE_ID_LEN);
	ck_assert(traces_asked_for(&traces, SV(""), bound, sizeof(bound), &params, &maker));
	traces_fini(&traces);
}
END_TEST

START_TEST(the_oldest_are_forgotten)
{
	uint8_t id[TRACE_ID_LEN] = { 0 };

	traces_init(&traces);
	traces_note(&traces, ID, CLUSTER_TARGET);
	for (unsigned i = 1; i < TRACES_MAX; i++) {
		put_u32(id, i);
		traces_note(&traces, id, CLUSTER_ORIGIN);
	}
	ck_assert(has(ID));
	ck_assert_int_eq(maker, CLUSTER_TARGET);
	ck_assert(has(id));
	ck_assert_int_eq(maker, CLUSTER_ORIGIN);
	put_u32(id, TRACES_MAX);
	traces_note(&traces, id, CLUSTER_ORIGIN);
	ck_assert(!has(ID));
	ck_assert(has(id));
	traces_fini(&traces);
}
END_TEST

int main(void)
{
	TCase *tcase = tcase_create("traces");

	tcase_add_test(tcase, texts);
	tcase_add_test(tcase, values);
	tcase_add_test(tcase, many_values);
	tcase_add_test(tcase, values_with_names);
	tcase_add_test(tcase, the_oldest_are_forgotten);
	return run_tcase("traces", tcase);
}
