/*
 * test_wire_flow.c - how much of its input a wire hands up at a time: a budget
 * per turn of the loop, and a pause in the middle of a segment.
 */
#include "proxy/wire.h"

#include "loop_helper.h"

static const struct {
	enum wire_framing framing;
	uint8_t version;
} ways[] = { { WIRE_PLAIN, 4 }, { WIRE_SEGMENTS, 5 }, { WIRE_SEGMENTS_LZ4, 5 } };

/* A wire that counts; the streams of its frames go up by one. */
struct counter {
	struct wire w;
	int peer;
	unsigned count;
	unsigned most;     /* frames of one turn */
	unsigned turn;     /* frames of this turn */
	unsigned pause_at; /* pauses behind so many frames; 0: never */
};

static void on_open(struct wire *w)
{
	(void)w;
}

static void on_frame(struct wire *w, struct frame *f)
{
	struct counter *c = container_of(w, struct counter, w);

	ck_assert_int_eq(f->stream, (int16_t)(c->count & 0x7fff));
	c->count++;
	c->turn++;
	c->most = MAX(c->most, c->turn);
	if (c->count == c->pause_at)
		sbuf_pause(&w->sb);
}

static void on_bad(struct wire *w, enum wire_bad bad, const struct frame *f)
{
	(void)f;
	ck_abort_msg("on_bad %d", bad);
	wire_finish(w);
}

static void on_closed(struct wire *w, const char *why)
{
	(void)w;
	ck_abort_msg("closed: %s", why);
}

static const struct wire_handler counts = {
	.expects_requests = true,
	.on_open = on_open,
	.on_frame = on_frame,
	.on_bad = on_bad,
	.on_closed = on_closed,
};

static struct counter *counter_open(enum wire_framing framing)
{
	struct counter *c = calloc(1, sizeof(*c));
	int fd[2];

	tcp_pair(fd);
	c->peer = fd[1];
	wire_init(&c->w, &loop, &counts, 1 << 20);
	ck_assert(sbuf_adopt(&c->w.sb, fd[0], NULL));
	wire_set_in_framing(&c->w, framing);
	return c;
}

static void counter_close(struct counter *c)
{
	wire_close(&c->w);
	close(c->peer);
	free(c);
}

static void turn(struct counter *c)
{
	c->turn = 0;
	loop_turn(&loop, false);
}

/* Sends frames first .. first + count - 1 with bodies of `body` bytes, in as few segments as there may be. */
static void send_frames(struct counter *c, unsigned way, unsigned first, unsigned count, uint32_t body)
{
	const uint32_t frame = FRAME_HEAD_LEN + body;
	const uint32_t per_segment = SEGMENT_MAX_PAYLOAD / frame;
	uint8_t *payload = calloc(1, SEGMENT_MAX_PAYLOAD);
	uint8_t *out = malloc(SEGMENT_MAX_LEN);

	while (count > 0) {
		const unsigned n = MIN(count, per_segment);

		for (unsigned i = 0; i < n; i++)
			frame_head_write(payload + i * frame, false, ways[way].version, 0,
					 (int16_t)((first + i) & 0x7fff), OP_QUERY, body);
		if (ways[way].framing == WIRE_PLAIN) {
			peer_write(c->peer, payload, n * frame);
		} else if (ways[way].framing == WIRE_SEGMENTS) {
			segment_head_write(out, n * frame, true);
			memcpy(out + SEGMENT_HEAD_PLAIN, payload, n * frame);
			segment_trailer_write(out + SEGMENT_HEAD_PLAIN + n * frame,
					      segment_crc32(segment_crc32_start(), payload, n * frame));
			peer_write(c->peer, out, SEGMENT_HEAD_PLAIN + n * frame + SEGMENT_TRAILER);
		} else {
			peer_write(c->peer, out, segment_build_lz4(out, payload, n * frame, true));
		}
		first += n;
		count -= n;
	}
	free(payload);
	free(out);
}

/* A turn hands up so many frames and no more, whatever one read has brought; nothing is lost and the order is kept. */
START_TEST(a_budget_per_turn)
{
	struct counter *c = counter_open(ways[_i].framing);
	const unsigned total = 30000;

	send_frames(c, (unsigned)_i, 0, total, 0);
	for (unsigned turns = 0; c->count < total; turns++) {
		ck_assert_uint_lt(turns, 1000);
		turn(c);
	}
	ck_assert_uint_eq(c->most, WIRE_TURN_FRAMES);
	turn(c);
	turn(c);
	ck_assert_uint_eq(c->count, total);
	send_frames(c, (unsigned)_i, total, 5, 100);
	loop_until(c->count == total + 5);
	counter_close(c);
}
END_TEST

/* What another connection sends is served between two portions. */
START_TEST(others_have_their_turn)
{
	struct counter *c = counter_open(ways[_i].framing);
	struct counter *other = counter_open(ways[_i].framing);

	send_frames(c, (unsigned)_i, 0, 20000, 0);
	turn(c);
	turn(c);
	send_frames(other, (unsigned)_i, 0, 1, 10);
	for (unsigned i = 0; i < 3; i++)
		turn(c);
	ck_assert_uint_eq(other->count, 1);
	ck_assert_uint_le(c->count, 5 * WIRE_TURN_FRAMES);
	counter_close(other);
	loop_until(c->count == 20000);
	counter_close(c);
}
END_TEST

START_TEST(a_pause_in_the_middle)
{
	struct counter *c = counter_open(ways[_i].framing);

	c->pause_at = 700;
	send_frames(c, (unsigned)_i, 0, 1200, 20);
	loop_until(c->count == 700);
	for (unsigned i = 0; i < 5; i++)
		turn(c);
	ck_assert_uint_eq(c->count, 700);
	c->pause_at = 1200; /* the very last one */
	sbuf_resume(&c->w.sb);
	loop_until(c->count == 1200);
	turn(c);
	sbuf_resume(&c->w.sb);
	send_frames(c, (unsigned)_i, 1200, 1, 20);
	loop_until(c->count == 1201);
	counter_close(c);
}
END_TEST

/* The connection ends while frames still wait. */
START_TEST(an_end_between_two_portions)
{
	struct counter *c = counter_open(ways[_i].framing);

	send_frames(c, (unsigned)_i, 0, 5000, 0);
	loop_until(c->count > 0);
	ck_assert_uint_lt(c->count, 5000);
	counter_close(c);
	loop_turn(&loop, false);
	ck_assert(list_is_empty(&loop.tasks));
}
END_TEST

int main(void)
{
	TCase *tcase = tcase_create("wire_flow");

	tcase_set_timeout(tcase, 60);
	tcase_add_checked_fixture(tcase, helper_loop_start, helper_loop_end);
	tcase_add_loop_test(tcase, a_budget_per_turn, 0, 3);
	tcase_add_loop_test(tcase, others_have_their_turn, 0, 3);
	tcase_add_loop_test(tcase, a_pause_in_the_middle, 0, 3);
	tcase_add_loop_test(tcase, an_end_between_two_portions, 0, 3);
	return run_tcase("wire_flow", tcase);
}
