/*
 * test_wire_flow.c - how much of its input a wire hands up at a time: a budget
 * per turn of the loop, a pause in the middle of a segment, and large frames
 * that wait for memory or are skipped.
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

/* ---- large frames ---- */

/* What on_large() says, and what came. */
struct gate {
	struct wire w;
	int peer;
	enum wire_large says;
	unsigned asked;
	unsigned small, large;
	uint8_t last; /* first byte of the last frame */
};

static enum wire_large on_large(struct wire *w, const struct frame *f)
{
	struct gate *g = container_of(w, struct gate, w);

	ck_assert_uint_gt(f->length, WIRE_LARGE);
	ck_assert(!w->has_large);
	g->asked++;
	if (g->says == WIRE_WAIT)
		sbuf_pause(&w->sb);
	return g->says;
}

static void gate_on_frame(struct wire *w, struct frame *f)
{
	struct gate *g = container_of(w, struct gate, w);
	uint32_t wrong = 0;

	ck_assert(!w->has_large);
	if (f->length > WIRE_LARGE)
		g->large++;
	else
		g->small++;
	g->last = f->body[0];
	for (uint32_t i = 0; i < f->length; i++)
		wrong += f->body[i] != g->last;
	ck_assert_uint_eq(wrong, 0);
}

static const struct wire_handler gates = {
	.expects_requests = true,
	.on_open = on_open,
	.on_large = on_large,
	.on_frame = gate_on_frame,
	.on_bad = on_bad,
	.on_closed = on_closed,
};

static struct gate *gate_open(unsigned way, enum wire_large says)
{
	struct gate *g = calloc(1, sizeof(*g));
	int fd[2];

	tcp_pair(fd);
	g->peer = fd[1];
	g->says = says;
	wire_init(&g->w, &loop, &gates, 1 << 24);
	ck_assert(sbuf_adopt(&g->w.sb, fd[0], NULL));
	wire_set_in_framing(&g->w, ways[way].framing);
	return g;
}

static void gate_close(struct gate *g)
{
	wire_close(&g->w);
	close(g->peer);
	free(g);
}

/*
 * The bytes of small frames around large ones, their bodies filled with 1, 2, 3 and so on; in v5 cut into payloads of
 * `payload` bytes that begin and end anywhere.
 */
static uint8_t *make_stream(unsigned way, const uint32_t *lengths, unsigned count, uint32_t payload, size_t *size)
{
	uint8_t *frames = malloc(1 << 24), *out, *to;
	size_t n = 0;

	for (unsigned i = 0; i < count; i++) {
		frame_head_write(frames + n, false, ways[way].version, 0, (int16_t)i, OP_QUERY, lengths[i]);
		memset(frames + n + FRAME_HEAD_LEN, (int)i + 1, lengths[i]);
		n += FRAME_HEAD_LEN + lengths[i];
	}
	*size = n;
	if (ways[way].framing == WIRE_PLAIN)
		return frames;
	out = to = malloc(2 * n + 4096 * (n / payload + 1));
	for (size_t at = 0; at < n; at += payload) {
		const uint32_t part = (uint32_t)MIN(payload, n - at);

		if (ways[way].framing == WIRE_SEGMENTS_LZ4) {
			to += segment_build_lz4(to, frames + at, part, false);
			continue;
		}
		segment_head_write(to, part, false);
		memcpy(to + SEGMENT_HEAD_PLAIN, frames + at, part);
		to += SEGMENT_HEAD_PLAIN + part;
		segment_trailer_write(to, segment_crc32(segment_crc32_start(), frames + at, part));
		to += SEGMENT_TRAILER;
	}
	free(frames);
	*size = (size_t)(to - out);
	return out;
}

static const uint32_t lengths[] = { 10, 70000, 10, 400000, 3, 65537, 65536, 900000, 1 };

/* A turn; a wire that is paused is let go on, with another answer. */
static bool gate_turn(struct gate *g, enum wire_large then)
{
	loop_turn(&loop, false);
	if (!g->w.sb.is_paused)
		return true;
	g->says = then;
	sbuf_resume(&g->w.sb);
	loop_turn(&loop, false);
	g->says = WIRE_WAIT;
	return true;
}

/* Feeds the stream in pieces. */
static void feed_gate(struct gate *g, const uint8_t *p, size_t size, size_t piece, enum wire_large then)
{
	for (size_t at = 0; at < size;) {
		const size_t n = MIN(piece, size - at);

		peer_write(g->peer, p + at, n);
		at += n;
		for (unsigned i = 0; i < 4; i++)
			gate_turn(g, then);
	}
}

static const size_t pieces[] = { 1000003, 40000, 7001 };
static const uint32_t payloads[] = { SEGMENT_MAX_PAYLOAD, 65545, 10007, 1009 };

/* Large frames are asked for once, wait without being read, and go on or are skipped; small ones are never lost. */
START_TEST(large_frames_are_asked_for)
{
	static const struct {
		enum wire_large first, then;
		unsigned large; /* that are handed up */
	} plans[] = {
		{ WIRE_TAKE, WIRE_TAKE, 4 },
		{ WIRE_WAIT, WIRE_TAKE, 4 },
		{ WIRE_SKIP, WIRE_SKIP, 0 },
		{ WIRE_WAIT, WIRE_SKIP, 0 },
	};

	for (unsigned p = 0; p < ARRAY_LEN(plans); p++) {
		for (unsigned k = 0; k < ARRAY_LEN(payloads); k++) {
			size_t size;
			uint8_t *stream = make_stream((unsigned)_i, lengths, ARRAY_LEN(lengths), payloads[k], &size);

			if (k > 0 && ways[_i].framing == WIRE_PLAIN) { /* it has no segments */
				free(stream);
				continue;
			}
			for (unsigned n = 0; n < ARRAY_LEN(pieces); n++) {
				struct gate *g = gate_open((unsigned)_i, plans[p].first);

				feed_gate(g, stream, size, pieces[n], plans[p].then);
				loop_until(gate_turn(g, plans[p].then) && g->small == 5);
				ck_assert_uint_eq(g->large, plans[p].large);
				ck_assert_uint_eq(g->last, ARRAY_LEN(lengths));
				/* Once each, and once more for each that had to wait; feed_gate() lets some pass. */
				ck_assert_uint_ge(g->asked, plans[p].first == WIRE_WAIT ? 5 : 4);
				ck_assert_uint_le(g->asked, plans[p].first == WIRE_WAIT ? 8 : 4);
				loop_until(g->w.skip == 0);
				gate_close(g);
			}
			free(stream);
		}
	}
}
END_TEST

/* A wire that waits reads nothing more. */
START_TEST(a_frame_that_waits_takes_no_memory)
{
	static const uint32_t one[] = { 8000000 };
	size_t size;
	uint8_t *stream = make_stream((unsigned)_i, one, 1, SEGMENT_MAX_PAYLOAD, &size);
	struct gate *g = gate_open((unsigned)_i, WIRE_WAIT);
	const size_t some = MIN(size, 300000);

	peer_write(g->peer, stream, some);
	for (unsigned i = 0; i < 20; i++)
		loop_turn(&loop, false);
	ck_assert_uint_eq(g->asked, 1);
	ck_assert(g->w.sb.is_paused);
	ck_assert_uint_le(chunk_large_bytes(), 2 * LOOP_READ_BUFFER);
	g->says = WIRE_TAKE;
	sbuf_resume(&g->w.sb);
	for (size_t at = some; at < size; at += 50000) {
		peer_write(g->peer, stream + at, MIN(50000, size - at));
		loop_turn(&loop, false);
	}
	loop_until(g->large == 1);
	ck_assert_uint_eq(g->asked, 2);
	gate_close(g);
	ck_assert_uint_eq(chunk_large_bytes(), 0);
	free(stream);
}
END_TEST

/* Half a large frame is given up: its memory is free at once, the rest is skipped, the next frame is read. */
START_TEST(half_a_frame_is_given_up)
{
	static const uint32_t two[] = { 5000000, 77 };
	size_t size;
	uint8_t *stream = make_stream((unsigned)_i, two, 2, 30011, &size);
	struct gate *g = gate_open((unsigned)_i, WIRE_TAKE);
	const size_t half = size / 2;

	for (size_t at = 0; at < half; at += 20000) {
		peer_write(g->peer, stream + at, MIN(20000, half - at));
		loop_turn(&loop, false);
	}
	for (unsigned i = 0; i < 5; i++)
		loop_turn(&loop, false);
	ck_assert(g->w.has_large);
	ck_assert_int_eq(g->w.large_stream, 0);
	ck_assert_uint_gt(wire_large_len(&g->w), 0);
	ck_assert_uint_ge(chunk_large_bytes(), 5000000);
	wire_skip_large(&g->w);
	ck_assert_uint_lt(chunk_large_bytes(), 200000);
	for (size_t at = half; at < size; at += 20000) {
		peer_write(g->peer, stream + at, MIN(20000, size - at));
		loop_turn(&loop, false);
	}
	loop_until(g->small == 1);
	ck_assert_uint_eq(g->large, 0);
	ck_assert_uint_eq(g->last, 2);
	gate_close(g);
	free(stream);
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
	tcase_add_loop_test(tcase, large_frames_are_asked_for, 0, 3);
	tcase_add_loop_test(tcase, a_frame_that_waits_takes_no_memory, 0, 3);
	tcase_add_loop_test(tcase, half_a_frame_is_given_up, 0, 3);
	return run_tcase("wire_flow", tcase);
}
