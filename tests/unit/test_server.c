/*
 * test_server.c - one connection to a node, which this test plays: stream ids,
 * answers that come late, twice or on the wrong stream, and the loss of it.
 */
#include "proxy/server.h"

#include "base/log.h"
#include "loop_helper.h"

/* A leg and what became of it. */
struct request_stub {
	struct leg leg;
	unsigned answered, lost;
	uint8_t opcode;
	uint32_t length;
	char why[160];
	enum {
		NOTHING,
		SEND_ANOTHER,
		CLOSE_SERVER,
		ABANDON_ANOTHER
	} then;
	struct request_stub *other;
};

static struct server *server;
static int node; /* the other end */
static unsigned opened, closed, events;
static char closed_why[160];
static bool ready_on_open;

static void drop_server(const char *why)
{
	struct server *s = server;

	server = NULL;
	if (s) {
		server_detach(s);
		server_close(s, why);
		server_close(s, "again"); /* harmless */
	}
}

static void act(struct request_stub *r)
{
	switch (r->then) {
	case NOTHING:
		return;
	case SEND_ANOTHER:
		ck_assert(server_send_body(server, &r->other->leg, OP_QUERY, 0, "x", 1));
		return;
	case CLOSE_SERVER:
		drop_server("closed by a leg");
		return;
	case ABANDON_ANOTHER:
		leg_abandon(&r->other->leg);
		leg_abandon(&r->other->leg); /* harmless */
		return;
	}
}

static void on_answer(struct leg *leg, struct frame *f)
{
	struct request_stub *r = container_of(leg, struct request_stub, leg);

	ck_assert(!leg_is_out(leg) || leg->takes_pages);
	r->answered++;
	r->opcode = f->opcode;
	r->length = f->length;
	act(r);
}

static void on_lost(struct leg *leg, const char *why)
{
	struct request_stub *r = container_of(leg, struct request_stub, leg);

	ck_assert(!leg_is_out(leg));
	ck_assert_uint_eq(closed, 0); /* every leg is told before the owner */
	r->lost++;
	snprintf(r->why, sizeof(r->why), "%s", why);
	act(r);
}

static const struct leg_ops ops = { .on_answer = on_answer, .on_lost = on_lost };

static void stubs_init(struct request_stub *r, unsigned count)
{
	memset(r, 0, count * sizeof(*r));
	for (unsigned i = 0; i < count; i++)
		leg_init(&r[i].leg, &ops);
}

static void server_on_open(struct server *s)
{
	opened++;
	if (ready_on_open)
		server_set_ready(s);
}

static void server_on_event(struct server *s, struct frame *f)
{
	(void)s;
	ck_assert_int_eq(f->opcode, OP_EVENT);
	events++;
}

static void server_on_closed(struct server *s, const char *why)
{
	ck_assert_ptr_eq(s, server);
	server = NULL;
	closed++;
	snprintf(closed_why, sizeof(closed_why), "%s", why);
}

static const struct server_handler handler = {
	.on_open = server_on_open,
	.on_event = server_on_event,
	.on_closed = server_on_closed,
};

static void start(uint8_t version, uint32_t max_streams, bool ready)
{
	char error[256];
	struct server_options o = { .loop = &loop,
				    .cluster = CLUSTER_TARGET,
				    .version = version,
				    .max_frame = 1 << 20,
				    .max_streams = max_streams,
				    .handler = &handler };
	int listener = net_listen("127.0.0.1", 0, &o.address, error, sizeof(error));
	const char *why;

	opened = closed = events = 0;
	ready_on_open = ready;
	server = server_open(&o, &why);
	ck_assert_ptr_nonnull(server);
	ck_assert_int_eq(server->state, SERVER_CONNECTING);
	ck_assert(!server_has_room(server));
	loop_until(opened);
	node = accept(listener, NULL, NULL);
	ck_assert_int_ge(node, 0);
	close(listener);
}

static void stop(void)
{
	if (server)
		drop_server("the test is over");
	close(node);
}

static void setup(void)
{
	log_set_level(LOG_ERROR);
	helper_loop_start();
}

static void send_one(struct request_stub *r)
{
	ck_assert(server_has_room(server));
	ck_assert(server_send_body(server, &r->leg, OP_QUERY, 0, "body", 4));
	ck_assert(leg_is_out(&r->leg));
}

/* What the node has got: a whole frame. Returns its stream id. */
static int take_request(uint8_t version, uint8_t opcode, uint32_t length)
{
	uint8_t head[9], body[64];

	ck_assert_uint_eq(peer_read(node, head, 9), 9);
	ck_assert_uint_eq(head[0], version);
	ck_assert_uint_eq(head[4], opcode);
	ck_assert_uint_eq(head[8], length);
	ck_assert_uint_eq(peer_read(node, body, length), length);
	return head[2] << 8 | head[3];
}

static void answer(uint8_t version, int stream, uint8_t opcode)
{
	const uint8_t bytes[13] = {
		version | 0x80, 0, (uint8_t)(stream >> 8), (uint8_t)stream, opcode, 0, 0, 0, 4, 0, 0, 0, 1
	};

	peer_write(node, bytes, sizeof(bytes));
}

static void settle(void)
{
	for (unsigned i = 0; i < 3; i++) {
		loop_turn(&loop, false);
		usleep(5000);
	}
}

START_TEST(answers_go_where_they_belong)
{
	enum {
		COUNT = 100
	};
	static struct request_stub r[COUNT];

	start(4, 2048, true);
	stubs_init(r, COUNT);
	for (unsigned i = 0; i < COUNT; i++)
		send_one(&r[i]);
	ck_assert_uint_eq(server->in_flight, COUNT);
	for (unsigned i = 0; i < COUNT; i++)
		ck_assert_int_eq(take_request(4, OP_QUERY, 4), r[i].leg.stream);
	for (unsigned i = COUNT; i-- > 0;) { /* backwards; each with an opcode of its own kind */
		answer(4, r[i].leg.stream, i % 3 ? OP_RESULT : OP_ERROR);
		loop_until(r[i].answered);
		ck_assert_uint_eq(r[i].opcode, i % 3 ? OP_RESULT : OP_ERROR);
		ck_assert_uint_eq(server->in_flight, i);
	}
	for (unsigned i = 0; i < COUNT; i++)
		ck_assert_uint_eq(r[i].answered + r[i].lost, 1);
	stop();
	for (unsigned i = 0; i < COUNT; i++)
		ck_assert_uint_eq(r[i].lost, 0);
}
END_TEST

static const struct {
	uint8_t version;
	uint32_t length;
	bool with_id;
} copies[] = {
	{ 4, 18, true },    { 4, 100, true },    { 4, 100, false }, { 4, WIRE_REF_MIN - FRAME_HEAD_LEN, true },
	{ 4, 40000, true }, { 4, 40000, false }, { 2, 100, true },  { 2, 40000, true },
};

/* The id is another one for the node alone: whatever way the frame is put together, the body it was made of stays. */
START_TEST(an_id_is_put_into_a_copy)
{
	const struct server_id id = { .bytes = (const uint8_t *)(copies[_i].with_id ? "0123456789abcdef" : NULL),
				      .offset = 2 };
	const uint32_t length = copies[_i].length, head_len = frame_head_len(copies[_i].version);
	struct chunk *chunk = chunk_new(&loop.chunks, length);
	const struct wire_piece body = { .data = chunk->data, .len = length, .chunk = chunk };
	uint8_t *got = malloc(FRAME_HEAD_LEN + length);
	struct request_stub r[2];
	struct frame f;

	start(copies[_i].version, 100, true);
	stubs_init(r, 2);
	for (uint32_t i = 0; i < length; i++)
		chunk->data[i] = (uint8_t)(i % 251);
	for (unsigned n = 0; n < 2; n++) { /* the second one goes behind the first */
		ck_assert(server_send_copy(server, &r[n].leg, OP_EXECUTE, FRAME_TRACING, &body, &id));
		ck_assert(leg_is_out(&r[n].leg));
	}
	for (unsigned n = 0; n < 2; n++) {
		ck_assert_uint_eq(peer_read(node, got, head_len + length), head_len + length);
		ck_assert_uint_eq(frame_head_read(&f, got), head_len);
		ck_assert_uint_eq(f.version, copies[_i].version);
		ck_assert(!f.is_response);
		ck_assert_uint_eq(f.flags, FRAME_TRACING);
		ck_assert_uint_eq(f.opcode, OP_EXECUTE);
		ck_assert_int_eq(f.stream, r[n].leg.stream);
		ck_assert_uint_eq(f.length, length);
		for (uint32_t i = 0; i < length; i++) {
			const bool is_id = id.bytes && i >= 2 && i < 2 + SERVER_ID_LEN;

			ck_assert_uint_eq(got[head_len + i], is_id ? id.bytes[i - 2] : i % 251);
			ck_assert_uint_eq(chunk->data[i], i % 251);
		}
	}
	stop();
	chunk_unref(chunk);
	free(got);
}
END_TEST

static const uint32_t limits[] = { 1, 2, 63, 64, 65, 100, 128, 1000 };

/* Every id below the limit is given once, then none; one that comes back is given again. */
START_TEST(ids_run_out)
{
	const uint32_t max = limits[_i];
	struct request_stub *r = calloc(max + 1, sizeof(*r));
	bool *seen = calloc(max, sizeof(*seen));

	start(4, max, true);
	stubs_init(r, max + 1);
	for (unsigned i = 0; i < max; i++) {
		send_one(&r[i]);
		ck_assert_uint_lt(r[i].leg.stream, max);
		ck_assert(!seen[r[i].leg.stream]);
		seen[r[i].leg.stream] = true;
	}
	ck_assert(!server_has_room(server));
	ck_assert(!server_send_body(server, &r[max].leg, OP_QUERY, 0, "body", 4));
	ck_assert(!leg_is_out(&r[max].leg));
	for (unsigned i = 0; i < max; i++)
		take_request(4, OP_QUERY, 4);
	ck_assert(peer_has_nothing(node)); /* what was refused was not sent */
	answer(4, r[max / 2].leg.stream, OP_RESULT);
	loop_until(r[max / 2].answered);
	send_one(&r[max]);
	ck_assert_uint_eq(r[max].leg.stream, r[max / 2].leg.stream);
	ck_assert(!server_has_room(server));
	stop();
	for (unsigned i = 0; i <= max; i++)
		ck_assert_uint_eq(r[i].answered + r[i].lost, 1);
	free(r);
	free(seen);
}
END_TEST

/* What a timer brings after LOOP_LOOK_MS. */
static bool look(void)
{
	struct loop_poll *poll;
	bool goes_on;

	ck_assert_ptr_nonnull(server->ids_look);
	poll = &server->ids_look->poll;
	loop_poll_stop(poll);
	goes_on = poll->run(poll);
	if (goes_on)
		loop_look_start(&loop, poll);
	return goes_on;
}

static void answer_all(struct request_stub *r, unsigned from, unsigned to)
{
	for (unsigned i = from; i < to; i++)
		answer(4, r[i].leg.stream, OP_RESULT);
	loop_until(r[to - 1].answered);
}

/* After a burst; ids that are taken keep their place, those of orphans too, and no id is given twice. */
START_TEST(ids_of_a_burst_are_given_back)
{
	enum {
		COUNT = 1000,
		AGAIN = 300,
		LATE = 500
	};
	static struct request_stub r[COUNT], again[AGAIN];
	bool seen[COUNT] = { false };

	start(4, 2048, true);
	stubs_init(r, COUNT);
	stubs_init(again, AGAIN);
	for (unsigned i = 0; i < COUNT; i++)
		send_one(&r[i]);
	ck_assert_uint_eq(server->legs_cap, 1024);
	ck_assert(look());
	ck_assert_uint_eq(server->legs_cap, 1024);
	leg_abandon(&r[LATE].leg); /* its id is 500 */
	answer_all(r, LATE + 1, COUNT);
	answer_all(r, 1, LATE);
	ck_assert_uint_eq(server->in_flight, 2);
	ck_assert(look());
	ck_assert_uint_eq(server->legs_cap, 512);
	ck_assert_uint_eq(server->next_id, LATE + 1);
	ck_assert_uint_eq(server->free_count, LATE - 1);
	seen[0] = seen[LATE] = true;
	for (unsigned i = 0; i < AGAIN; i++) {
		send_one(&again[i]);
		ck_assert_uint_lt(again[i].leg.stream, LATE);
		ck_assert(!seen[again[i].leg.stream]);
		seen[again[i].leg.stream] = true;
	}
	answer(4, LATE, OP_RESULT);
	loop_until(server->orphans == 0);
	answer_all(again, 0, AGAIN);
	ck_assert_uint_eq(r[LATE].answered + r[LATE].lost, 0);
	answer_all(r, 0, 1);
	ck_assert_uint_eq(server->in_flight, 0);
	ck_assert(!look()); /* that was the last one */
	ck_assert_ptr_null(server->ids_look);
	ck_assert_uint_le(server->legs_cap, 8);
	ck_assert(server_has_room(server));
	stubs_init(r, COUNT);
	for (unsigned i = 0; i < COUNT; i++) {
		send_one(&r[i]);
		ck_assert_uint_eq(r[i].leg.stream, i);
	}
	stop(); /* with a look still to come */
	for (unsigned i = 0; i < COUNT; i++)
		ck_assert_uint_eq(r[i].lost, 1);
}
END_TEST

START_TEST(few_ids_are_not_looked_at)
{
	static struct request_stub r[64];

	start(4, 2048, true);
	stubs_init(r, ARRAY_LEN(r));
	for (unsigned i = 0; i < ARRAY_LEN(r); i++)
		send_one(&r[i]);
	ck_assert_ptr_null(server->ids_look);
	stop();
}
END_TEST

START_TEST(more_ids_than_the_protocol_has)
{
	start(4, UINT32_MAX, true);
	ck_assert_uint_eq(server->max_streams, 32768);
	stop();
}
END_TEST

/* The id of a leg that was given up is nobody's until the node has answered on it. */
START_TEST(orphans)
{
	struct request_stub r[3];

	start(4, 2, true);
	stubs_init(r, 3);
	send_one(&r[0]);
	send_one(&r[1]);
	leg_abandon(&r[0].leg);
	leg_abandon(&r[0].leg);
	ck_assert(!leg_is_out(&r[0].leg));
	ck_assert_uint_eq(server->orphans, 1);
	ck_assert_uint_eq(server->in_flight, 2);
	ck_assert(!server_has_room(server));
	answer(4, 0, OP_RESULT);
	loop_until(server->orphans == 0);
	ck_assert_uint_eq(r[0].answered, 0);
	ck_assert_uint_eq(server->in_flight, 1);
	send_one(&r[2]);
	ck_assert_uint_eq(r[2].leg.stream, 0);
	answer(4, 0, OP_RESULT);
	loop_until(r[2].answered);
	leg_abandon(&r[1].leg);
	stop(); /* an orphan is told nothing */
	ck_assert_uint_eq(r[0].lost + r[1].lost + r[2].lost, 0);
}
END_TEST

/* One of DSE's pages, with no columns and no rows. */
static void send_page(int stream, bool last)
{
	const uint8_t bytes[] = { 0xc2,
				  0,
				  0,
				  (uint8_t)stream,
				  OP_RESULT,
				  0,
				  0,
				  0,
				  20,
				  0,
				  0,
				  0,
				  RESULT_ROWS,
				  (uint8_t)(last ? 0xc0 : 0x40),
				  0,
				  0,
				  0,
				  0,
				  0,
				  0,
				  0,
				  0,
				  0,
				  0,
				  1,
				  0,
				  0,
				  0,
				  0 };

	peer_write(node, bytes, sizeof(bytes));
}

START_TEST(pages_keep_their_stream_id)
{
	struct request_stub r[2];

	start(VERSION_DSE2, 8, true);
	stubs_init(r, 2);
	r[0].leg.takes_pages = true;
	send_one(&r[0]);
	take_request(VERSION_DSE2, OP_QUERY, 4);
	for (unsigned n = 1; n <= 3; n++) {
		send_page(0, false);
		loop_until(r[0].answered == n);
		ck_assert(leg_is_out(&r[0].leg));
		ck_assert_uint_eq(server->in_flight, 1);
	}
	send_page(0, true);
	loop_until(r[0].answered == 4);
	ck_assert(!leg_is_out(&r[0].leg));
	ck_assert_uint_eq(server->in_flight, 0);
	/* one that takes no pages has its one answer, whatever that is */
	send_one(&r[1]);
	send_page(0, false);
	loop_until(r[1].answered);
	ck_assert_uint_eq(server->in_flight, 0);
	stop();
}
END_TEST

/* Nobody waits any more: the node is told, and until it agrees the id is kept from others. */
START_TEST(stray_pages)
{
	static const uint8_t status[] = { 0, 0, 0, 2,   0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0,
					  0, 0, 1, 's', 0, 4, 0, 0, 0, 1, 0, 0, 0, 1 };
	struct request_stub r;
	uint8_t head[9] = { 0xc2, 0, 0, 1, OP_RESULT, 0, 0, 0, sizeof(status) + 1 };
	uint8_t revise[17];
	const uint8_t done = (uint8_t)_i; /* what the node says: it has, or has not, stopped */

	start(VERSION_DSE2, 8, true);
	stubs_init(&r, 1);
	r.leg.takes_pages = true;
	send_one(&r);
	take_request(VERSION_DSE2, OP_QUERY, 4);
	send_page(0, false);
	loop_until(r.answered);
	leg_abandon(&r.leg);
	ck_assert(!leg_is_out(&r.leg));
	ck_assert_uint_eq(server->in_flight, 2);
	ck_assert_uint_eq(peer_read(node, revise, sizeof(revise)), sizeof(revise));
	ck_assert_mem_eq(revise, "\x42\0\0\1\xff\0\0\0\x08\0\0\0\1\0\0\0\0", sizeof(revise));
	send_page(0, false);
	peer_write(node, head, sizeof(head));
	peer_write(node, status, sizeof(status));
	peer_write(node, &done, 1);
	loop_until(server->in_flight == (done ? 0 : 1));
	if (!done) {
		send_page(0, false);
		settle();
		ck_assert_uint_eq(server->in_flight, 1);
		send_page(0, true);
		loop_until(server->in_flight == 0);
	}
	ck_assert_uint_eq(r.answered, 1);
	stop();
	ck_assert_uint_eq(r.lost, 0);
}
END_TEST

/* Both the pages and the cancellation are still to come when the connection ends. */
START_TEST(stray_pages_of_a_lost_connection)
{
	struct request_stub r[3];

	start(VERSION_DSE1, 4, true);
	stubs_init(r, 3);
	for (unsigned i = 0; i < 3; i++) {
		r[i].leg.takes_pages = true;
		send_one(&r[i]);
	}
	for (unsigned i = 0; i < 3; i++)
		leg_abandon(&r[i].leg); /* the last two find no id left for theirs */
	ck_assert_uint_eq(server->in_flight, 4);
	stop();
	for (unsigned i = 0; i < 3; i++)
		ck_assert_uint_eq(r[i].answered + r[i].lost, 0);
}
END_TEST

START_TEST(ids_of_v2)
{
	start(2, 2048, true);
	ck_assert_uint_eq(server->max_streams, 127);
	stop();
}
END_TEST

/* Streams that nobody waits on: never used ones, freed ones, those beyond the limit, a second answer. */
static unsigned large;

static void on_large(struct leg *leg)
{
	ck_assert(!leg_is_out(leg));
	large++;
}

static void large_answer(int stream, uint8_t opcode)
{
	static const uint8_t body[100000];
	const uint8_t head[9] = { 0x84, 0, 0, (uint8_t)stream, opcode, 0, 1, 0x86, 0xa0 };

	peer_write(node, head, sizeof(head));
	loop_until(large || opcode == OP_ERROR);
	peer_write(node, body, sizeof(body));
}

/* A leg that does not need the body of a large answer has it skipped; that of an ERROR it gets. */
START_TEST(large_answers_that_are_not_needed)
{
	static const struct leg_ops skips = { .on_answer = on_answer, .on_large = on_large, .on_lost = on_lost };
	static struct request_stub r[3];

	large = 0;
	start(4, 100, true);
	stubs_init(r, 3);
	r[0].leg.ops = r[1].leg.ops = &skips;
	for (unsigned i = 0; i < 3; i++) {
		send_one(&r[i]);
		ck_assert_int_eq(take_request(4, OP_QUERY, 4), (int)i);
	}
	large_answer(0, OP_RESULT);
	ck_assert_uint_eq(large, 1);
	ck_assert_uint_eq(server->in_flight, 2);
	/* what follows it is found */
	large_answer(1, OP_ERROR);
	loop_until(r[1].answered);
	ck_assert_uint_eq(r[1].length, 100000);
	answer(4, 2, OP_RESULT);
	loop_until(r[2].answered);
	ck_assert_uint_eq(r[0].answered + r[0].lost, 0);
	ck_assert_uint_eq(large, 1);
	ck_assert_uint_eq(server->in_flight, 0);
	/* a small one is no matter of size */
	send_one(&r[0]);
	answer(4, take_request(4, OP_QUERY, 4), OP_RESULT);
	loop_until(r[0].answered);
	ck_assert_uint_eq(large, 1);
	stop();
}
END_TEST

START_TEST(wrong_streams)
{
	static const int wrong[] = { 1, 63, 64, 100, 2047, 2048, 32767, -2, -32768 };
	struct request_stub r[2];

	start(4, 2048, true);
	stubs_init(r, 2);
	send_one(&r[0]);
	for (size_t i = 0; i < ARRAY_LEN(wrong); i++)
		answer(4, wrong[i], OP_RESULT);
	answer(4, r[0].leg.stream, OP_RESULT);
	answer(4, r[0].leg.stream, OP_RESULT);
	loop_until(r[0].answered);
	settle();
	ck_assert_uint_eq(r[0].answered, 1);
	ck_assert_ptr_nonnull(server);
	ck_assert_uint_eq(server->in_flight, 0);
	send_one(&r[1]);
	answer(4, r[1].leg.stream, OP_RESULT);
	loop_until(r[1].answered);
	stop();
}
END_TEST

START_TEST(lost)
{
	enum {
		COUNT = 70
	};
	static struct request_stub r[COUNT];

	start(4, 2048, true);
	stubs_init(r, COUNT);
	for (unsigned i = 0; i < COUNT; i++)
		send_one(&r[i]);
	leg_abandon(&r[3].leg);
	answer(4, r[5].leg.stream, OP_RESULT);
	loop_until(r[5].answered);
	shutdown(node, SHUT_WR);
	loop_until(closed);
	ck_assert_str_eq(closed_why, "closed by the peer");
	for (unsigned i = 0; i < COUNT; i++) {
		ck_assert_uint_eq(r[i].lost, i != 3 && i != 5);
		if (r[i].lost)
			ck_assert_str_eq(r[i].why, "closed by the peer");
	}
	ck_assert_uint_eq(closed, 1);
	stop();
}
END_TEST

/* While the legs are told, one of them gives up another, tries to send again, or closes what is closed already. */
START_TEST(lost_legs_that_act)
{
	struct request_stub r[4];

	start(4, 2048, true);
	stubs_init(r, 4);
	for (unsigned i = 0; i < 3; i++)
		send_one(&r[i]);
	r[0].then = ABANDON_ANOTHER;
	r[0].other = &r[1];
	r[2].then = CLOSE_SERVER;
	if (_i)
		shutdown(node, SHUT_WR);
	else
		server_close(server, "closed by the test");
	loop_until(r[2].lost);
	ck_assert_uint_eq(r[0].lost, 1);
	ck_assert_uint_eq(r[1].lost, 0);
	ck_assert_uint_eq(r[2].lost, 1);
	ck_assert_str_eq(r[0].why, _i ? "closed by the peer" : "closed by the test");
	settle();
	close(node);
}
END_TEST

START_TEST(an_answer_that_leads_to_more)
{
	struct request_stub r[3];

	start(4, 1, true);
	stubs_init(r, 3);
	r[0].then = SEND_ANOTHER;
	r[0].other = &r[1];
	r[1].then = CLOSE_SERVER;
	send_one(&r[0]);
	answer(4, 0, OP_RESULT);
	loop_until(r[0].answered);
	ck_assert(leg_is_out(&r[1].leg)); /* on the id that has just come back */
	answer(4, 0, OP_RESULT);
	answer(4, 0, OP_RESULT);
	loop_until(r[1].answered);
	settle();
	ck_assert_uint_eq(r[1].answered, 1);
	ck_assert_uint_eq(closed, 0); /* who closes needs not be told */
	close(node);
}
END_TEST

START_TEST(after_the_end)
{
	struct request_stub r;
	struct server *s;

	start(4, 10, true);
	stubs_init(&r, 1);
	s = server;
	drop_server("over");
	ck_assert_int_eq(s->state, SERVER_CLOSED);
	ck_assert(!server_has_room(s));
	ck_assert(!server_send_body(s, &r.leg, OP_QUERY, 0, "x", 1));
	ck_assert(!leg_is_out(&r.leg));
	server_close(s, "again");
	loop_turn(&loop, false); /* it is freed now */
	close(node);
}
END_TEST

static const struct {
	const char *why;
	uint8_t bytes[9];
} misdeeds[] = {
	{ "another version", { 0x83, 0, 0, 0, OP_RESULT, 0, 0, 0, 0 } },
	{ "unknown version", { 0x86, 0, 0, 0, OP_RESULT, 0, 0, 0, 0 } },
	{ "a request", { 0x04, 0, 0, 0, OP_QUERY, 0, 0, 0, 0 } },
	{ "no opcode", { 0x84, 0, 0, 0, 0x7f, 0, 0, 0, 0 } },
	{ "too long", { 0x84, 0, 0, 0, OP_RESULT, 0x00, 0x10, 0x00, 0x01 } },
	{ "negative length", { 0x84, 0, 0, 0, OP_RESULT, 0xff, 0xff, 0xff, 0xff } },
	{ "an event on a stream", { 0x84, 0, 0, 0, OP_EVENT, 0, 0, 0, 0 } },
};

/* A node that breaks the protocol loses this connection, and the legs on it are told. */
START_TEST(misbehaviour)
{
	struct request_stub r;

	start(4, 10, true);
	stubs_init(&r, 1);
	send_one(&r);
	peer_write(node, misdeeds[_i].bytes, 9);
	loop_until(closed);
	ck_assert_uint_eq(r.lost, 1);
	ck_assert_uint_eq(r.answered, 0);
	ck_assert_str_eq(r.why, closed_why);
	ck_assert_ptr_nonnull(strstr(closed_why, " "));
	stop();
}
END_TEST

START_TEST(events_belong_to_the_owner)
{
	struct request_stub r;

	start(4, 10, true);
	stubs_init(&r, 1);
	send_one(&r);
	answer(4, -1, OP_EVENT);
	loop_until(events == 1);
	ck_assert_uint_eq(r.answered, 0);
	ck_assert_uint_eq(server->in_flight, 1);
	stop();
}
END_TEST

/* v5: behind READY (or AUTHENTICATE) everything is in segments, in both directions. */
START_TEST(segments_after_ready)
{
	struct request_stub r[2];
	uint8_t bytes[64];

	start(5, 10, false);
	stubs_init(r, 2);
	ck_assert(!server_has_room(server));
	ck_assert(server_send_body(server, &r[0].leg, OP_STARTUP, 0, "body", 4));
	ck_assert_int_eq(take_request(5, OP_STARTUP, 4), 0);
	answer(5, 0, _i ? OP_READY : OP_AUTHENTICATE);
	loop_until(r[0].answered);
	ck_assert_int_eq(server->wire.in_framing, WIRE_SEGMENTS);
	server_set_ready(server);
	send_one(&r[1]);
	ck_assert_uint_eq(peer_read(node, bytes, 6 + 13 + 4), 23);
	ck_assert_uint_eq(bytes[0], 13);
	ck_assert_uint_eq(bytes[1], 0);
	ck_assert_uint_eq(bytes[2], 2); /* self-contained */
	ck_assert_uint_eq(bytes[6], 5);
	ck_assert_uint_eq(bytes[6 + 4], OP_QUERY);
	stop();
}
END_TEST

/* Not for an answer of a lower version, nor for other answers. */
START_TEST(no_segments_after_a_refusal)
{
	struct request_stub r[2];

	start(5, 10, false);
	stubs_init(r, 2);
	ck_assert(server_send_body(server, &r[0].leg, OP_STARTUP, 0, "body", 4));
	ck_assert(server_send_body(server, &r[1].leg, OP_OPTIONS, 0, NULL, 0));
	take_request(5, OP_STARTUP, 4);
	take_request(5, OP_OPTIONS, 0);
	answer(5, r[1].leg.stream, OP_SUPPORTED);
	answer(4, r[0].leg.stream, OP_ERROR);
	loop_until(r[0].answered && r[1].answered);
	ck_assert_int_eq(server->wire.in_framing, WIRE_PLAIN);
	ck_assert_int_eq(server->wire.out_framing, WIRE_PLAIN);
	stop();
}
END_TEST

/* Before log-in is over a node is believed less: nothing it has to say then is long. */
START_TEST(answers_before_log_in_are_short)
{
	static const uint8_t head[9] = { 0x84, 0, 0, 0, OP_SUPPORTED, 0x00, 0x02, 0x00, 0x01 };
	struct request_stub r;

	start(4, 10, false);
	stubs_init(&r, 1);
	ck_assert(server_send_body(server, &r.leg, OP_OPTIONS, 0, NULL, 0));
	peer_write(node, head, sizeof(head));
	loop_until(closed);
	ck_assert_uint_eq(r.lost, 1);
	stop();
}
END_TEST

START_TEST(refused_connection)
{
	char error[256];
	struct server_options o = { .loop = &loop,
				    .cluster = CLUSTER_ORIGIN,
				    .version = 4,
				    .max_frame = 1 << 20,
				    .max_streams = 10,
				    .handler = &handler };
	int listener = net_listen("127.0.0.1", 0, &o.address, error, sizeof(error));
	const char *why;

	close(listener);
	opened = closed = 0;
	server = server_open(&o, &why);
	ck_assert_ptr_nonnull(server);
	loop_until(closed);
	ck_assert_uint_eq(opened, 0);
	ck_assert_str_eq(closed_why, "Connection refused");
}
END_TEST

/* The owner has gone: nothing is called on it, and legs are still told. */
START_TEST(detached)
{
	struct request_stub r;

	start(4, 10, true);
	stubs_init(&r, 1);
	send_one(&r);
	server_detach(server);
	server = NULL;
	answer(4, -1, OP_EVENT);
	shutdown(node, SHUT_WR);
	loop_until(r.lost);
	ck_assert_uint_eq(closed + events, 0);
	close(node);
}
END_TEST

int main(void)
{
	TCase *tcase = tcase_create("server");

	tcase_set_timeout(tcase, 60);
	tcase_add_checked_fixture(tcase, setup, helper_loop_end);
	tcase_add_test(tcase, answers_go_where_they_belong);
	tcase_add_loop_test(tcase, an_id_is_put_into_a_copy, 0, ARRAY_LEN(copies));
	tcase_add_loop_test(tcase, ids_run_out, 0, ARRAY_LEN(limits));
	tcase_add_test(tcase, ids_of_a_burst_are_given_back);
	tcase_add_test(tcase, few_ids_are_not_looked_at);
	tcase_add_test(tcase, more_ids_than_the_protocol_has);
	tcase_add_test(tcase, orphans);
	tcase_add_test(tcase, pages_keep_their_stream_id);
	tcase_add_loop_test(tcase, stray_pages, 0, 2);
	tcase_add_test(tcase, stray_pages_of_a_lost_connection);
	tcase_add_test(tcase, ids_of_v2);
	tcase_add_test(tcase, large_answers_that_are_not_needed);
	tcase_add_test(tcase, wrong_streams);
	tcase_add_test(tcase, lost);
	tcase_add_loop_test(tcase, lost_legs_that_act, 0, 2);
	tcase_add_test(tcase, an_answer_that_leads_to_more);
	tcase_add_test(tcase, after_the_end);
	tcase_add_loop_test(tcase, misbehaviour, 0, ARRAY_LEN(misdeeds));
	tcase_add_test(tcase, events_belong_to_the_owner);
	tcase_add_loop_test(tcase, segments_after_ready, 0, 2);
	tcase_add_test(tcase, no_segments_after_a_refusal);
	tcase_add_test(tcase, answers_before_log_in_are_short);
	tcase_add_test(tcase, refused_connection);
	tcase_add_test(tcase, detached);
	return run_tcase("server", tcase);
}
