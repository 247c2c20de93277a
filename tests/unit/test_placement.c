/* test_placement.c - the replicas of a request: keys of both clusters, rings that are replaced, batches. */
#include "proxy/placement.h"

#include <stdlib.h>

#include "cql/murmur3.h"
#include "cql/routing_key.h"
#include "cql/writer.h"
#include "proxy/worker.h"
#include "vectors.h"

static struct prepared_table table;
static struct worker *worker;
static struct client *client;
static struct request *rq;
static struct topology *t;

static void setup(void)
{
	prepared_table_init(&table, 100, 1 << 20);
	worker = xcalloc_apart(1, sizeof(*worker));
	prepared_front_init(&worker->prepared, &table);
	client = calloc(1, sizeof(*client));
	client->worker = worker;
	client->version = 4;
	rq = calloc(1, sizeof(*rq));
	rq->client = client;
}

static void forget_request(void)
{
	if (rq->prepared)
		prepared_release(rq->prepared);
	free(rq->data);
	memset(rq, 0, sizeof(*rq));
	rq->client = client;
}

static void teardown(void)
{
	forget_request();
	free(rq);
	free(client);
	prepared_front_fini(&worker->prepared);
	free(worker);
	prepared_table_fini(&table);
	topology_unref(t);
	t = NULL;
}

static void add_keyspace(const char *name, const char *factor)
{
	struct keyspace_replication *k = &t->keyspaces[t->keyspace_count++];

	k->keyspace = xstrdup(name);
	k->class = xstrdup("SimpleStrategy");
	k->options = xcalloc(1, sizeof(*k->options));
	k->option_count = 1;
	k->options[0] = (struct replication_option){ xstrdup("replication_factor"), xstrdup(factor) };
}

/* Two hosts: the first has the negative tokens, the second the others; keyspace "ks" has `factor` replicas; with 2 it shares the first table. */
static const struct ring *ring_of(const char *factor)
{
	static const char *const tokens[] = { "-1", "9223372036854775807" };
	struct writer w;

	topology_unref(t);
	t = topology_new();
	t->version = 4;
	t->partitioner = xstrdup("Murmur3Partitioner");
	t->hosts = xcalloc(2, sizeof(*t->hosts));
	t->all_count = t->host_count = t->local_count = 2;
	for (unsigned i = 0; i < 2; i++) {
		struct host *h = &t->hosts[i];

		h->datacenter = xstrdup("dc1");
		h->rack = xstrdup("a");
		writer_init(&w);
		write_int(&w, 1);
		write_bytes(&w, tokens[i], (uint32_t)strlen(tokens[i]));
		h->values = xcalloc(1, sizeof(*h->values));
		h->value_count = 1;
		h->values[0] = (struct node_value){ xstrdup("tokens"), xmalloc(w.len), w.len };
		memcpy(h->values[0].value, w.data, w.len);
		writer_free(&w);
	}
	t->keyspaces = xcalloc(2, sizeof(*t->keyspaces));
	add_keyspace("first", "2");
	add_keyspace("ks", factor);
	t->ring = ring_build(t, CLUSTER_ORIGIN);
	ck_assert_ptr_nonnull(t->ring);
	return t->ring;
}

/* A key of one variable, at this position of two. */
static struct routing_key *key_at(uint16_t position)
{
	struct routing_key *key;
	struct prepared_message m;
	struct writer w;
	const char *why;

	writer_init(&w);
	write_int(&w, RESULT_PREPARED);
	write_short_bytes(&w, "id", 2);
	write_int(&w, ROWS_GLOBAL_TABLES_SPEC);
	write_int(&w, 2);
	write_int(&w, 1);
	write_short(&w, position);
	write_cstring(&w, "ks");
	write_cstring(&w, "t");
	for (unsigned i = 0; i < 2; i++) {
		write_cstring(&w, i ? "b" : "a");
		write_short(&w, TYPE_VARCHAR);
	}
	write_int(&w, ROWS_NO_METADATA);
	write_int(&w, 0);
	ck_assert(message_parse_prepared(w.data, w.len, 0, 4, &m, &why));
	key = routing_key_new(w.data, w.len, &m);
	ck_assert_ptr_nonnull(key);
	writer_free(&w);
	return key;
}

/* Prepared under `id`; the clusters' keys are at these positions, -1: not known. */
static void prepare(const char *id, int origin, int target, const char *keyspace)
{
	struct prepared *p = prepared_new(sv_from(id), SV(""));

	for (unsigned i = 0; i < CLUSTER_COUNT; i++) {
		memcpy(p->id[i].bytes, id, strlen(id));
		p->id[i].len = (uint8_t)strlen(id);
	}
	p->key[CLUSTER_ORIGIN] = origin < 0 ? NULL : key_at((uint16_t)origin);
	p->key[CLUSTER_TARGET] = target == origin ? p->key[CLUSTER_ORIGIN]
				 : target < 0     ? NULL
						  : key_at((uint16_t)target);
	p->table_keyspace = keyspace ? xstrdup(keyspace) : NULL;
	prepared_insert(&table, p);
}

static void take_body(struct writer *w)
{
	rq->data = exact_copy(w->data, w->len);
	rq->len = w->len;
	writer_free(w);
}

static void execute(const char *id, const char *a, const char *b)
{
	struct writer w;

	forget_request();
	rq->opcode = OP_EXECUTE;
	rq->prepared = prepared_find(&worker->prepared,
				     (struct bytesview){ (const uint8_t *)id, (uint32_t)strlen(id), false, false });
	ck_assert_ptr_nonnull(rq->prepared);
	writer_init(&w);
	write_raw(&w, "what stands before", 18);
	rq->values_offset = w.len;
	rq->value_count = 2;
	write_bytes(&w, a, a ? (uint32_t)strlen(a) : 0);
	write_bytes(&w, b, b ? (uint32_t)strlen(b) : 0);
	take_body(&w);
}

/* The replicas as digits. */
static const char *replicas(unsigned cluster, const struct ring *ring)
{
	static char text[8];
	const uint16_t *hosts = NULL;
	unsigned n = placement_replicas(rq, cluster, ring, &hosts);

	ck_assert_uint_lt(n, sizeof(text));
	for (unsigned i = 0; i < n; i++)
		text[i] = (char)('0' + hosts[i]);
	text[n] = '\0';
	return text;
}

/* Two texts whose tokens have the other sign. */
static const char *text_below(void)
{
	ck_assert_int_lt(murmur3_token((const uint8_t *)"a", 1), 0);
	return "a";
}

static const char *text_above(void)
{
	ck_assert_int_gt(murmur3_token((const uint8_t *)"rack1", 5), 0);
	return "rack1";
}

START_TEST(executes)
{
	const struct ring *ring = ring_of("1");

	prepare("one", 0, 0, "ks");
	execute("one", text_below(), text_above());
	ck_assert_str_eq(replicas(CLUSTER_ORIGIN, ring), "0");
	ck_assert_str_eq(replicas(CLUSTER_TARGET, ring), "0");
	execute("one", text_above(), text_below());
	ck_assert_str_eq(replicas(CLUSTER_TARGET, ring), "1");
	execute("one", NULL, text_below());
	ck_assert_str_eq(replicas(CLUSTER_ORIGIN, ring), "");
	ck_assert_str_eq(replicas(CLUSTER_TARGET, ring), "");
	ck_assert_str_eq(replicas(CLUSTER_TARGET, NULL), "");
}
END_TEST

/* Each cluster's own positions count; one that has told none has no replicas. */
START_TEST(clusters_that_differ)
{
	const struct ring *ring = ring_of("1");

	prepare("differs", 0, 1, "ks");
	execute("differs", text_below(), text_above());
	ck_assert_str_eq(replicas(CLUSTER_ORIGIN, ring), "0");
	ck_assert_str_eq(replicas(CLUSTER_TARGET, ring), "1");
	ck_assert_str_eq(replicas(CLUSTER_ORIGIN, ring), "0");
	prepare("half", -1, 1, "ks");
	execute("half", text_below(), text_above());
	ck_assert_str_eq(replicas(CLUSTER_ORIGIN, ring), "");
	ck_assert_str_eq(replicas(CLUSTER_TARGET, ring), "1");
}
END_TEST

static const char *const unknown_keyspaces[] = { NULL, "other", "k" };

START_TEST(keyspace_not_known)
{
	prepare("one", 0, 0, unknown_keyspaces[_i]);
	execute("one", "a", "b");
	ck_assert_str_eq(replicas(CLUSTER_ORIGIN, ring_of("1")), "");
}
END_TEST

/* What is kept of a ring is not used for the next one, wherever that lies in memory. */
START_TEST(new_rings)
{
	prepare("one", 0, 0, "ks");
	execute("one", text_above(), "b");
	for (unsigned i = 0; i < 4; i++) {
		ck_assert_str_eq(replicas(CLUSTER_ORIGIN, ring_of("1")), "1");
		ck_assert_str_eq(replicas(CLUSTER_ORIGIN, ring_of("2")), "10");
		ck_assert_str_eq(replicas(CLUSTER_ORIGIN, ring_of("x")), "");
	}
}
END_TEST

static void write_child(struct writer *w, const char *id, const char *text, const char *a)
{
	write_byte(w, id ? 1 : 0);
	if (id)
		write_short_bytes(w, id, (uint16_t)strlen(id));
	else
		write_long_string(w, sv_from(text));
	write_short(w, id ? 2 : 0);
	if (id) {
		write_bytes(w, a, (uint32_t)strlen(a));
		write_bytes(w, "x", 1);
	}
}

/* The key of the first statement that is prepared. */
START_TEST(batches)
{
	const struct ring *ring = ring_of("1");
	struct writer w;

	prepare("one", 0, 0, "ks");
	writer_init(&w);
	write_byte(&w, BATCH_UNLOGGED);
	write_short(&w, 3);
	write_child(&w, NULL, "INSERT INTO ks.t (k) VALUES (1)", NULL);
	write_child(&w, _i == 0 ? "one" : "gone", NULL, text_above());
	write_child(&w, "one", NULL, text_below());
	write_short(&w, CL_ONE);
	write_byte(&w, 0);
	take_body(&w);
	rq->opcode = OP_BATCH;
	rq->has_prepared_children = true;
	ck_assert_str_eq(replicas(CLUSTER_ORIGIN, ring), _i == 0 ? "1" : "");
}
END_TEST

START_TEST(texts)
{
	rq->opcode = OP_QUERY;
	ck_assert_str_eq(replicas(CLUSTER_ORIGIN, ring_of("1")), "");
}
END_TEST

/* ---- for those who ask for no cluster ---- */

static const struct {
	int origin, target;
	const char *expected; /* of the two values; NULL: not known */
} common[] = {
	{ 0, 0, "first" },   { 1, 1, "second" }, { 0, -1, "first" },
	{ -1, 1, "second" }, { 0, 1, NULL },     { -1, -1, NULL },
};

START_TEST(common_tokens)
{
	const char *expected = common[_i].expected;
	int64_t token;

	prepare("one", common[_i].origin, common[_i].target, "ks");
	execute("one", "first", "second");
	for (unsigned i = 0; i < 2; i++) { /* the second time it may be remembered */
		ck_assert_int_eq(placement_common_token(rq, &token), expected != NULL);
		ck_assert(!expected || token == murmur3_token((const uint8_t *)expected, strlen(expected)));
	}
	execute("one", NULL, NULL);
	ck_assert(!placement_common_token(rq, &token));
}
END_TEST

/* Of a batch that of its first prepared statement, as its replicas. */
START_TEST(common_token_of_a_batch)
{
	struct writer w;
	int64_t token;

	prepare("one", 0, _i ? 1 : 0, "ks");
	writer_init(&w);
	write_byte(&w, BATCH_LOGGED);
	write_short(&w, 2);
	write_child(&w, NULL, "INSERT INTO ks.t (k) VALUES (1)", NULL);
	write_child(&w, "one", NULL, "first");
	write_short(&w, CL_ONE);
	write_byte(&w, 0);
	take_body(&w);
	rq->opcode = OP_BATCH;
	ck_assert(!placement_common_token(rq, &token));
	rq->has_prepared_children = true;
	ck_assert_int_eq(placement_common_token(rq, &token), _i == 0);
	ck_assert(_i == 1 || token == murmur3_token((const uint8_t *)"first", 5));
}
END_TEST

/* ---- of the nodes that are up ---- */

static struct backend nodes[2];
static struct backend *hosts_of[] = { &nodes[0], &nodes[1] };
static struct backend *candidates[2];

/* What is found among two nodes of which these are up, as digits. */
static const char *found(const char *up, const struct net_address *not_at)
{
	static char text[4];
	struct backends b = {
		.cluster = CLUSTER_TARGET, .topology = t, .hosts = hosts_of, .host_count = 2, .candidates = candidates
	};
	struct replicas r;

	for (unsigned i = 0; i < 2; i++) {
		nodes[i].address = t->hosts[i].address;
		nodes[i].tier = t->hosts[i].tier;
		nodes[i].state = strchr(up, (int)('0' + i)) ? BACKEND_UP : BACKEND_DOWN;
		if (nodes[i].state == BACKEND_UP)
			candidates[b.candidate_count++] = &nodes[i];
	}
	if (!placement_find(rq, &b, not_at, &r))
		return "unknown";
	for (unsigned i = 0; i < r.count; i++)
		text[i] = r.nodes[i] == &nodes[0] ? '0' : '1';
	text[r.count] = '\0';
	return text;
}

START_TEST(nodes_that_are_up)
{
	struct net_address other;

	ring_of("2");
	for (unsigned i = 0; i < 2; i++)
		ck_assert(net_parse_ip(i ? "10.0.0.2" : "10.0.0.1", 9042, &t->hosts[i].address));
	ck_assert(net_parse_ip("10.0.0.9", 9042, &other));
	prepare("one", 0, 0, "ks");
	execute("one", text_above(), "b");
	ck_assert_str_eq(found("01", NULL), "10");
	ck_assert_str_eq(found("0", NULL), "0");
	ck_assert_str_eq(found("1", NULL), "1");
	ck_assert_str_eq(found("01", &t->hosts[1].address), "0");
	ck_assert_str_eq(found("1", &t->hosts[1].address), "");
	ck_assert_str_eq(found("01", &other), "10");
	ring_of("1");
	ck_assert_str_eq(found("0", NULL), "");
	ring_of("x");
	ck_assert_str_eq(found("01", NULL), "unknown");
	execute("one", NULL, "b");
	ring_of("1");
	ck_assert_str_eq(found("01", NULL), "unknown");
}
END_TEST

/* A replica in a datacenter that requests do not go to now is no better than another node. */
START_TEST(replicas_of_another_tier)
{
	ring_of("1");
	t->hosts[1].tier = 1;
	prepare("one", 0, 0, "ks");
	execute("one", text_above(), "b");
	ck_assert_str_eq(found("01", NULL), "");
	ck_assert_str_eq(found("1", NULL), "1");
	execute("one", text_below(), "b");
	ck_assert_str_eq(found("01", NULL), "0");
	ck_assert_str_eq(found("1", NULL), "");
}
END_TEST

START_TEST(order)
{
	rq->consistency = CL_QUORUM;
	ck_assert(!placement_keeps_order(rq));
	rq->consistency = CL_LOCAL_SERIAL;
	ck_assert(placement_keeps_order(rq));
	rq->consistency = CL_QUORUM;
	rq->verdict.write_type = WRITE_CAS;
	ck_assert(placement_keeps_order(rq));
}
END_TEST

/* Another id for a cluster (a repair gave it) does not cost the key. */
START_TEST(changed_id)
{
	const struct ring *ring = ring_of("1");
	const struct bytesview id = { .p = (const uint8_t *)"other", .len = 5 };
	struct prepared *p;

	for (int target = 0; target < 2; target++) {
		prepare("one", 0, target, "ks");
		p = prepared_find_on(&table, PREPARED_CLIENT,
				     (struct bytesview){ .p = (const uint8_t *)"one", .len = 3 });
		prepared_change_id(&table, p, CLUSTER_TARGET, id, (struct bytesview){ 0 });
		prepared_unref(p);
		execute("one", text_above(), text_below());
		ck_assert(prepared_id_equal(&rq->prepared->entry->id[CLUSTER_TARGET], id));
		ck_assert_str_eq(replicas(CLUSTER_ORIGIN, ring), "1");
		ck_assert_str_eq(replicas(CLUSTER_TARGET, ring), target == 0 ? "1" : "0");
	}
}
END_TEST

int main(void)
{
	TCase *tcase = tcase_create("placement");

	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, executes);
	tcase_add_test(tcase, clusters_that_differ);
	tcase_add_loop_test(tcase, keyspace_not_known, 0, ARRAY_LEN(unknown_keyspaces));
	tcase_add_test(tcase, new_rings);
	tcase_add_loop_test(tcase, batches, 0, 2);
	tcase_add_test(tcase, texts);
	tcase_add_loop_test(tcase, common_tokens, 0, ARRAY_LEN(common));
	tcase_add_loop_test(tcase, common_token_of_a_batch, 0, 2);
	tcase_add_test(tcase, nodes_that_are_up);
	tcase_add_test(tcase, replicas_of_another_tier);
	tcase_add_test(tcase, order);
	tcase_add_test(tcase, changed_id);
	return run_tcase("placement", tcase);
}
