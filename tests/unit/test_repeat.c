/* test_repeat.c - which requests may be sent once more, from their bodies as they were sent. */
#include "proxy/repeat.h"

#include "cql/idempotence.h"
#include "cql/writer.h"
#include "proxy/request.h"
#include "proxy/worker.h"
#include "vectors.h"

static struct prepared_table table;
static struct worker *worker;
static struct client *client;

static void setup(void)
{
	prepared_table_init(&table, 100, 1000000);
	worker = xcalloc_apart(1, sizeof(*worker));
	client = calloc(1, sizeof(*client));
	prepared_front_init(&worker->prepared, &table);
	client->worker = worker;
	client->version = 4;
}

static void teardown(void)
{
	prepared_front_fini(&worker->prepared);
	prepared_table_fini(&table);
	free(client);
	free(worker);
}

static void prepare(const char *id, uint8_t idempotence)
{
	struct prepared *p = prepared_new(SV("text"), SV(""));

	for (unsigned i = 0; i < CLUSTER_COUNT; i++) {
		memcpy(p->id[i].bytes, id, strlen(id));
		p->id[i].len = (uint8_t)strlen(id);
	}
	p->idempotence = idempotence;
	prepared_insert(&table, p);
}

/* Asks with a block of exactly this body. */
static bool is_safe(uint8_t opcode, enum request_class class, const struct writer *w, struct prepared_ref *prepared)
{
	struct request rq = { .client = client, .opcode = opcode, .len = w->len, .prepared = prepared };
	bool safe;

	rq.data = exact_copy(w->data, w->len);
	rq.verdict.class = (uint8_t) class;
	safe = repeat_is_safe(&rq);
	for (uint32_t n = 0; n < w->len && class == CLASS_WRITE;
	     n++) { /* cut anywhere: within its bounds, and not proven */
		uint8_t *whole = rq.data;

		rq.data = exact_copy(whole, n);
		rq.len = n;
		ck_assert_msg(!repeat_is_safe(&rq), "%u of %u bytes", n, w->len);
		free(rq.data);
		rq.data = whole;
	}
	free(rq.data);
	return safe;
}

#define TIMED QUERY_TIMESTAMP
#define NAMED (QUERY_VALUES | QUERY_NAMES_FOR_VALUES)
#define UNSET ((void *)1)

struct bound {
	const void *p; /* NULL: null; UNSET */
	uint32_t len;
};

static const struct bound a_text = { "some text", 9 };
static const struct bound a_list = { "\0\0\0\1\0\0\0\1x", 9 };
static const struct bound a_null = { NULL, 0 };
static const struct bound an_unset = { UNSET, 0 };

static void write_value(struct writer *w, const struct bound *value)
{
	if (value->p == UNSET)
		write_int(w, (uint32_t)-2);
	else
		write_bytes(w, value->p, value->len);
}

/* Consistency, flags, a value if there is one, a timestamp. */
static void write_params(struct writer *w, uint8_t flags, const struct bound *value)
{
	write_short(w, 1);
	write_byte(w, flags | (value ? QUERY_VALUES : 0));
	if (value) {
		write_short(w, 1);
		if (flags & QUERY_NAMES_FOR_VALUES)
			write_cstring(w, "name");
		write_value(w, value);
	}
	if (flags & QUERY_TIMESTAMP)
		write_long(w, 123456);
}

static bool query(const char *text, uint8_t flags, const struct bound *value)
{
	struct writer w;
	bool safe;

	writer_init(&w);
	write_long_string(&w, sv_from(text));
	write_params(&w, flags, value);
	safe = is_safe(OP_QUERY, CLASS_WRITE, &w, NULL);
	writer_free(&w);
	return safe;
}

static bool execute(uint8_t bits, uint8_t flags, const struct bound *value)
{
	struct prepared_ref *ref;
	struct writer w;
	bool safe;

	prepare("one", bits);
	ref = prepared_find(&worker->prepared, (struct bytesview){ .p = (const uint8_t *)"one", .len = 3 });
	ck_assert_ptr_nonnull(ref);
	writer_init(&w);
	write_short_bytes(&w, "one", 3);
	write_params(&w, flags, value);
	safe = is_safe(OP_EXECUTE, CLASS_WRITE, &w, ref);
	writer_free(&w);
	prepared_release(ref);
	return safe;
}

START_TEST(queries)
{
	ck_assert(query("UPDATE t SET v = 1 WHERE k = 2", TIMED, NULL));
	ck_assert(!query("UPDATE t SET v = 1 WHERE k = 2", 0, NULL));
	ck_assert(query("UPDATE t USING TIMESTAMP 5 SET v = 1 WHERE k = 2", 0, NULL));
	ck_assert(query("UPDATE t USING TIMESTAMP ? SET v = 1 WHERE k = 2", 0, &a_text));
	ck_assert(!query("UPDATE t USING TIMESTAMP ? SET v = 1 WHERE k = 2", 0, &an_unset));
	ck_assert(query("UPDATE t USING TIMESTAMP ? SET v = 1 WHERE k = 2", TIMED, &an_unset));
	ck_assert(!query("UPDATE t SET c = c + 1 WHERE k = 2", TIMED, NULL));
	ck_assert(!query("UPDATE t SET v = 1 WHERE k = 2 IF EXISTS", TIMED, NULL));
	ck_assert(!query("INSERT INTO t (k) VALUES (now())", TIMED, NULL));
	ck_assert(!query("CREATE TABLE t (k int PRIMARY KEY)", TIMED, NULL));
	ck_assert(!query("TRUNCATE t", TIMED, NULL));
	ck_assert(!query("", TIMED, NULL));
}
END_TEST

START_TEST(values)
{
	ck_assert(query("INSERT INTO t (k) VALUES (?)", TIMED, &a_text));
	ck_assert(query("INSERT INTO t (k) VALUES (?)", TIMED, &a_null));
	ck_assert(query("INSERT INTO t (k) VALUES (?)", TIMED, &an_unset));
	ck_assert(!query("INSERT INTO t (k) VALUES (?)", TIMED, &a_list));
	ck_assert(query("INSERT INTO t (k) VALUES (:name)", TIMED | NAMED, &a_text));
	ck_assert(!query("INSERT INTO t (k) VALUES (:name)", TIMED | NAMED, &a_list));
	ck_assert(query("DELETE FROM t WHERE k = ?", TIMED, &a_list));
	ck_assert(query("INSERT INTO t JSON ?", TIMED, &(struct bound){ "{\"k\": 1}", 8 }));
	ck_assert(!query("INSERT INTO t JSON ?", TIMED, &(struct bound){ "{\"k\":[]}", 8 }));
	client->version = 2; /* short lengths in collections: not looked into */
	ck_assert(!query("INSERT INTO t (k) VALUES (?) USING TIMESTAMP 5", 0, &a_text));
	ck_assert(query("INSERT INTO t (k) VALUES (1) USING TIMESTAMP 5", 0, NULL));
}
END_TEST

START_TEST(executes)
{
	const uint8_t plain = IDEMPOTENT_PROVEN;

	ck_assert(execute(plain, TIMED, &a_list));
	ck_assert(!execute(plain, 0, &a_text));
	ck_assert(execute(plain | IDEMPOTENT_HAS_TIMESTAMP, 0, NULL));
	ck_assert(!execute(plain | IDEMPOTENT_HAS_TIMESTAMP | IDEMPOTENT_BINDS_TIMESTAMP, 0, &an_unset));
	ck_assert(execute(plain | IDEMPOTENT_BINDS_COLUMN, TIMED, &a_text));
	ck_assert(!execute(plain | IDEMPOTENT_BINDS_COLUMN, TIMED, &a_list));
	ck_assert(!execute(0, TIMED, &a_text));
	ck_assert(!execute(IDEMPOTENT_HAS_TIMESTAMP, TIMED, &a_text));
}
END_TEST

/* A prepared child (when `id` is not NULL) with this value, and a text. */
static bool batch(uint8_t type, const char *id, const struct bound *value, const char *text, uint8_t flags)
{
	struct writer w;
	bool safe;

	writer_init(&w);
	write_byte(&w, type);
	write_short(&w, id ? 2 : 1);
	if (id) {
		write_byte(&w, 1);
		write_short_bytes(&w, id, (uint16_t)strlen(id));
		write_short(&w, 1);
		write_value(&w, value);
	}
	write_byte(&w, 0);
	write_long_string(&w, sv_from(text));
	write_short(&w, 0);
	write_short(&w, 1);
	write_byte(&w, flags);
	if (flags & QUERY_TIMESTAMP)
		write_long(&w, 123456);
	safe = is_safe(OP_BATCH, CLASS_WRITE, &w, NULL);
	writer_free(&w);
	return safe;
}

START_TEST(batches)
{
	const char *plain = "DELETE FROM t WHERE k = 1";
	const char *timed = "DELETE FROM t USING TIMESTAMP 5 WHERE k = 1";

	prepare("good", IDEMPOTENT_PROVEN | IDEMPOTENT_BINDS_COLUMN);
	prepare("timed", IDEMPOTENT_PROVEN | IDEMPOTENT_HAS_TIMESTAMP);
	prepare("bad", 0);
	ck_assert(batch(BATCH_LOGGED, NULL, NULL, plain, TIMED));
	ck_assert(batch(BATCH_UNLOGGED, "good", &a_text, plain, TIMED));
	ck_assert(!batch(BATCH_COUNTER, "good", &a_text, plain, TIMED));
	ck_assert(!batch(BATCH_LOGGED, "good", &a_list, plain, TIMED));
	ck_assert(!batch(BATCH_LOGGED, "good", &a_text, plain, 0));
	ck_assert(!batch(BATCH_LOGGED, "bad", &a_text, plain, TIMED));
	ck_assert(!batch(BATCH_LOGGED, "gone", &a_text, plain, TIMED));
	ck_assert(!batch(BATCH_LOGGED, "good", &a_text, "UPDATE t SET c += 1 WHERE k = 1", TIMED));
	ck_assert(batch(BATCH_LOGGED, "timed", &a_text, timed, 0));
	ck_assert(!batch(BATCH_LOGGED, "timed", &a_text, plain, 0));
	ck_assert(!batch(BATCH_LOGGED, "good", &a_text, timed, 0));
}
END_TEST

START_TEST(other_requests)
{
	struct writer w;

	writer_init(&w);
	write_long_string(&w, SV("SELECT * FROM t"));
	write_params(&w, 0, NULL);
	ck_assert(is_safe(OP_QUERY, CLASS_READ, &w, NULL));
	ck_assert(is_safe(OP_EXECUTE, CLASS_READ, &w, NULL));
	ck_assert(is_safe(OP_PREPARE, CLASS_CONTROL, &w, NULL));
	ck_assert(is_safe(OP_OPTIONS, CLASS_CONTROL, &w, NULL));
	ck_assert(!is_safe(OP_QUERY, CLASS_CONTROL, &w, NULL)); /* USE */
	ck_assert(!is_safe(OP_REGISTER, CLASS_CONTROL, &w, NULL));
	ck_assert(!is_safe(OP_REVISE, CLASS_WRITE, &w, NULL));
	writer_free(&w);
}
END_TEST

/* Behind a custom payload. */
START_TEST(with_payload)
{
	struct request rq = { .client = client, .opcode = OP_QUERY, .flags = FRAME_CUSTOM_PAYLOAD };
	struct writer w;

	writer_init(&w);
	write_short(&w, 1);
	write_cstring(&w, "key");
	write_bytes(&w, "value", 5);
	write_long_string(&w, SV("DELETE FROM t WHERE k = 1"));
	write_params(&w, TIMED, NULL);
	rq.data = w.data;
	rq.len = w.len;
	rq.verdict.class = CLASS_WRITE;
	ck_assert(repeat_is_safe(&rq));
	rq.flags = 0;
	ck_assert(!repeat_is_safe(&rq));
	writer_free(&w);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("repeat");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, queries);
	tcase_add_test(tc, values);
	tcase_add_test(tc, executes);
	tcase_add_test(tc, batches);
	tcase_add_test(tc, other_requests);
	tcase_add_test(tc, with_payload);
	return run_tcase("repeat", tc);
}
