/*
 * test_sbuf.c - a socket with its buffers: tails, buffers of exact size, one
 * flush per turn, back-pressure in both directions, ends of all kinds. Over 700
 * lines: all of it needs the one peer that is played here.
 */
#include "base/sbuf.h"

#include "loop_helper.h"

/* An sbuf and what was called on it. */
struct end {
	struct sbuf sb;
	int peer;
	uint8_t got[1 << 21]; /* what on_data() has used, in order */
	size_t got_len;
	size_t message;     /* on_data() takes so many bytes at a time; 0: all there is */
	size_t pause_after; /* pauses when so many bytes were taken; 0: never */
	unsigned calls;     /* of on_data() */
	unsigned opened, closed, flushed, progressed;
	struct chunk *last_chunk; /* a reference to the one that came with the last data */
	const uint8_t *last_data;
	size_t last_len;
	char why[128];
	enum {
		NOWHERE,
		IN_OPEN,
		IN_DATA,
		IN_PROGRESS
	} close_in;
	bool finishes; /* close_in: by sbuf_finish() */
};

static struct end *end_of(struct sbuf *sb)
{
	return container_of(sb, struct end, sb);
}

static bool ends_here(struct end *e, unsigned where)
{
	if (e->close_in != where)
		return false;
	if (e->finishes)
		sbuf_finish(&e->sb);
	else
		sbuf_close(&e->sb);
	return true;
}

static void on_open(struct sbuf *sb)
{
	struct end *e = end_of(sb);

	ck_assert_uint_eq(e->closed, 0);
	e->opened++;
	ends_here(e, IN_OPEN);
}

static size_t on_data(struct sbuf *sb, uint8_t *data, size_t len, struct chunk *chunk)
{
	struct end *e = end_of(sb);
	size_t used = 0;

	ck_assert_uint_eq(e->closed, 0);
	ck_assert_uint_gt(len, 0);
	e->calls++;
	e->last_data = data;
	e->last_len = len;
	if (e->last_chunk)
		chunk_unref(e->last_chunk);
	e->last_chunk = chunk ? chunk_ref(chunk) : NULL;
	if (ends_here(e, IN_DATA))
		return len;
	while (len - used >= MAX(e->message, 1)) {
		size_t n = e->message ? e->message : len - used;

		memcpy(e->got + e->got_len, data + used, n);
		e->got_len += n;
		used += n;
		if (e->pause_after && e->got_len >= e->pause_after) {
			e->pause_after = 0;
			sbuf_pause(sb);
			return used;
		}
	}
	sb->want = used < len ? (uint32_t)e->message : 0;
	return used;
}

static void before_flush(struct sbuf *sb)
{
	end_of(sb)->flushed++;
}

static void on_progress(struct sbuf *sb)
{
	struct end *e = end_of(sb);

	ck_assert_uint_eq(e->closed, 0);
	e->progressed++;
	ends_here(e, IN_PROGRESS);
}

static void on_closed(struct sbuf *sb, const char *why)
{
	struct end *e = end_of(sb);

	ck_assert_int_eq(sb->state, SBUF_IDLE);
	ck_assert_int_eq(sb->fd, -1);
	e->closed++;
	snprintf(e->why, sizeof(e->why), "%s", why);
	sbuf_close(sb); /* harmless */
}

static const struct sbuf_handler handler = {
	.on_open = on_open,
	.on_data = on_data,
	.before_flush = before_flush,
	.on_progress = on_progress,
	.on_closed = on_closed,
};

static struct end *end_new(void)
{
	struct end *e = calloc(1, sizeof(*e));

	e->peer = -1;
	sbuf_init(&e->sb, &loop, &handler);
	return e;
}

static struct end *end_open(void)
{
	struct end *e = end_new();
	int fd[2];

	tcp_pair(fd);
	e->peer = fd[1];
	ck_assert(sbuf_adopt(&e->sb, fd[0], NULL));
	return e;
}

static void end_free(struct end *e)
{
	sbuf_close(&e->sb);
	ck_assert_ptr_null(e->sb.in);
	ck_assert_ptr_null(e->sb.out_head);
	ck_assert_uint_eq(e->sb.out_bytes, 0);
	if (e->last_chunk)
		chunk_unref(e->last_chunk);
	if (e->peer >= 0)
		close(e->peer);
	free(e);
}

static bool is_idle(const struct end *e)
{
	return !e->sb.in && !e->sb.out_head && e->sb.out_bytes == 0;
}

/* A chunk full of the pattern. */
static struct chunk *chunk_of_pattern(uint32_t size)
{
	struct chunk *c = chunk_new(&loop.chunks, size);

	pattern_fill(c->data, size);
	return c;
}

static void peer_expect_pattern(int fd, size_t len)
{
	uint8_t *back = malloc(len);

	ck_assert_uint_eq(peer_read(fd, back, len), len);
	ck_assert(pattern_is(back, len));
	free(back);
}

/* ---- reading ---- */

START_TEST(the_rest_is_kept)
{
	struct end *e = end_open();
	uint8_t bytes[30];

	ck_assert_uint_eq(e->opened, 1);
	pattern_fill(bytes, sizeof(bytes));
	e->message = 10;
	peer_write(e->peer, bytes, 4);
	loop_take_all(e->sb.fd);
	ck_assert_uint_eq(e->got_len, 0);
	ck_assert_uint_eq(e->sb.in_len, 4);
	peer_write(e->peer, bytes + 4, 21);
	loop_take_all(e->sb.fd);
	ck_assert_uint_eq(e->got_len, 20);
	ck_assert_uint_eq(e->sb.in_len, 5);
	peer_write(e->peer, bytes + 25, 5);
	loop_take_all(e->sb.fd);
	ck_assert_uint_eq(e->got_len, 30);
	ck_assert(pattern_is(e->got, 30));
	ck_assert(is_idle(e));
	end_free(e);
}
END_TEST

START_TEST(one_byte_at_a_time)
{
	struct end *e = end_open();
	uint8_t bytes[50];

	pattern_fill(bytes, sizeof(bytes));
	e->message = 25;
	for (unsigned i = 0; i < sizeof(bytes); i++) {
		peer_write(e->peer, bytes + i, 1);
		loop_take_all(e->sb.fd);
		ck_assert_uint_eq(e->got_len, (i + 1) / 25 * 25);
		ck_assert_uint_eq(e->calls, i + 1);
	}
	ck_assert(pattern_is(e->got, 50));
	end_free(e);
}
END_TEST

static const uint32_t exact_sizes[] = { 32768, 32769, 65536, 65537, 262144, 262145, 700000 };

/* A large frame is read into a buffer of its own, which the handler may keep; what follows it is not in there. */
START_TEST(exact_buffers)
{
	const uint32_t size = exact_sizes[_i];
	const bool is_exact = size > 32768;
	struct end *e = end_open();
	uint8_t *bytes = malloc(size + 7);
	struct chunk *kept;

	pattern_fill(bytes, size + 7);
	e->message = size;
	peer_write(e->peer, bytes, 11);
	loop_take_all(e->sb.fd);
	ck_assert_uint_eq(e->sb.want, size);
	peer_write(e->peer, bytes + 11, 5000);
	loop_take_all(e->sb.fd);
	if (is_exact)
		ck_assert_uint_ge(e->sb.in->cap, size);
	for (size_t at = 5011; at < size + 7; at += MIN(size + 7 - at, 60000)) {
		peer_write(e->peer, bytes + at, MIN(size + 7 - at, 60000));
		loop_take_all(e->sb.fd);
	}
	ck_assert_uint_eq(e->got_len, size);
	ck_assert(pattern_is(e->got, size));
	ck_assert_uint_eq(e->sb.in_len, 7);
	if (is_exact) { /* the 7 bytes were handed up on their own, so last_chunk is gone: ask with the next one */
		ck_assert_ptr_null(e->last_chunk);
		peer_write(e->peer, bytes + 7, size - 7);
		loop_until(e->got_len == 2 * (size_t)size);
		ck_assert_ptr_nonnull(e->last_chunk);
		ck_assert_ptr_eq(e->last_chunk->data, e->last_data);
		ck_assert_uint_eq(e->last_len, size);
		kept = e->last_chunk;
		e->last_chunk = NULL;
		ck_assert(is_idle(e));
		ck_assert_uint_eq(kept->refs, 1);
		peer_write(e->peer, "other bytes", 11);
		loop_take_all(e->sb.fd);
		ck_assert_mem_eq(kept->data + 7, bytes + 7, size - 7);
		chunk_unref(kept);
	}
	free(bytes);
	end_free(e);
}
END_TEST

enum {
	LARGE = 33000,
	LACKS = 1000,
	BEHIND = LARGE + 9
};

/* Most of a message that gets a buffer of its own; then, so that one read can take them, the rest of it and what is behind it. */
static struct end *end_with_large(void)
{
	struct end *e = end_open();
	uint8_t *bytes = malloc(LARGE + BEHIND);
	int there = 0;

	pattern_fill(bytes, LARGE + BEHIND);
	e->message = LARGE;
	peer_write(e->peer, bytes, LARGE - LACKS);
	loop_until(e->sb.in_len == LARGE - LACKS);
	ck_assert_uint_ge(e->sb.in->cap, LARGE);
	e->calls = 0;
	peer_write(e->peer, bytes + LARGE - LACKS, LACKS + BEHIND);
	for (unsigned i = 0; there < LACKS + BEHIND; i++) {
		ck_assert_uint_lt(i, HELPER_PATIENCE_MS);
		ck_assert_int_eq(ioctl(e->sb.fd, FIONREAD, &there), 0);
		usleep(1000);
	}
	free(bytes);
	return e;
}

/* One read; the first message is in its own buffer. */
START_TEST(large_messages_in_a_row)
{
	struct end *e = end_with_large();
	const unsigned reads = e->sb.reads;

	loop_turn(&loop, false);
	ck_assert_uint_eq(e->sb.reads, reads + 1);
	ck_assert_uint_eq(e->calls, 2);
	ck_assert_uint_eq(e->got_len, 2 * LARGE);
	ck_assert(pattern_is(e->got, 2 * LARGE));
	ck_assert_uint_eq(e->sb.in_len, 9);
	end_free(e);
}
END_TEST

/* Nothing is handed up before the end of the pause, and nothing is lost or comes twice. */
START_TEST(a_pause_among_large_messages)
{
	const size_t before = ((size_t)_i + 1) * LARGE;
	struct end *e = end_with_large();

	e->pause_after = before;
	for (unsigned i = 0; i < 5; i++)
		loop_turn(&loop, false);
	ck_assert(e->sb.is_paused);
	ck_assert_uint_eq(e->got_len, before);
	ck_assert_uint_eq(e->sb.in_len, LARGE + BEHIND - before);
	sbuf_resume(&e->sb);
	for (unsigned i = 0; i < 5; i++)
		loop_turn(&loop, false);
	ck_assert_uint_eq(e->got_len, 2 * LARGE);
	ck_assert(pattern_is(e->got, 2 * LARGE));
	ck_assert_uint_eq(e->sb.in_len, 9);
	end_free(e);
}
END_TEST

/* When on_data() closes, nothing of what came with the message is handed up. */
START_TEST(an_end_among_large_messages)
{
	struct end *e = end_with_large();

	e->close_in = IN_DATA;
	e->finishes = _i == 1;
	loop_turn(&loop, false);
	ck_assert_uint_eq(e->calls, 1);
	ck_assert_uint_eq(e->last_len, LARGE);
	ck_assert_uint_eq(e->got_len, 0);
	end_free(e);
}
END_TEST

/* What on_data() leaves of a large message comes again in front of what was read with it, and no secret stays behind. */
START_TEST(a_large_message_that_is_not_used_up)
{
	static const uint8_t zeros[LOOP_READ_BUFFER];
	struct end *e = end_with_large();

	memset(loop.read_buffer, 0, LOOP_READ_BUFFER);
	sbuf_hear_secrets(&e->sb, true);
	e->message = 30000;
	loop_turn(&loop, false);
	ck_assert_uint_eq(e->calls, 2);
	ck_assert_uint_eq(e->got_len, 60000);
	ck_assert(pattern_is(e->got, 60000));
	ck_assert_uint_eq(e->sb.in_len, LARGE + BEHIND - 60000);
	ck_assert_mem_eq(loop.read_buffer, zeros, LOOP_READ_BUFFER);
	end_free(e);
}
END_TEST

START_TEST(pause_and_resume)
{
	struct end *e = end_open();

	sbuf_pause(&e->sb);
	sbuf_pause(&e->sb);
	peer_write(e->peer, "hello", 5);
	for (unsigned i = 0; i < 5; i++) {
		loop_turn(&loop, false);
		usleep(2000);
	}
	ck_assert_uint_eq(e->calls, 0);
	sbuf_resume(&e->sb);
	sbuf_resume(&e->sb);
	loop_until(e->got_len == 5);
	end_free(e);
}
END_TEST

/* Whole messages that on_data() left when it paused come again without a byte from the peer. */
START_TEST(what_a_pause_left_over)
{
	struct end *e = end_open();
	uint8_t bytes[57];

	pattern_fill(bytes, sizeof(bytes));
	e->message = 10;
	e->pause_after = 20;
	peer_write(e->peer, bytes, sizeof(bytes));
	loop_take_all(e->sb.fd);
	ck_assert_uint_eq(e->got_len, 20);
	ck_assert_uint_eq(e->sb.in_len, 37);
	for (unsigned i = 0; i < 5; i++)
		loop_turn(&loop, false);
	ck_assert_uint_eq(e->calls, 1);
	e->pause_after = 40;
	sbuf_resume(&e->sb);
	for (unsigned i = 0; i < 5; i++)
		loop_turn(&loop, false);
	ck_assert_uint_eq(e->got_len, 40);
	sbuf_resume(&e->sb);
	loop_until(e->got_len == 50);
	ck_assert_uint_eq(e->sb.in_len, 7);
	peer_write(e->peer, "abc", 3);
	loop_until(e->got_len == 60);
	ck_assert(pattern_is(e->got, 57));
	ck_assert_mem_eq(e->got + 57, "abc", 3);
	end_free(e);
}
END_TEST

START_TEST(a_pause_with_half_a_large_message)
{
	enum {
		SIZE = 500000
	};
	struct end *e = end_open();
	uint8_t *bytes = malloc(SIZE);

	pattern_fill(bytes, SIZE);
	e->message = SIZE;
	for (size_t at = 0; at < SIZE; at += 50000) {
		peer_write(e->peer, bytes + at, 50000);
		loop_take_all(e->sb.fd);
		sbuf_pause(&e->sb);
		loop_turn(&loop, false);
		sbuf_resume(&e->sb);
		loop_turn(&loop, false);
	}
	ck_assert_uint_eq(e->got_len, SIZE);
	ck_assert(pattern_is(e->got, SIZE));
	free(bytes);
	end_free(e);
}
END_TEST

/* ---- writing ---- */

START_TEST(one_flush_per_turn)
{
	struct end *e = end_open();
	uint8_t back[16];

	sbuf_write(&e->sb, "one ", 4);
	memcpy(sbuf_reserve(&e->sb, 4), "two ", 4);
	sbuf_write(&e->sb, "three", 5);
	ck_assert_ptr_eq(loop.dirty, &e->sb);
	ck_assert_uint_eq(e->sb.out_bytes, 13);
	ck_assert_ptr_eq(e->sb.out_head, e->sb.out_tail); /* one buffer, so one send */
	ck_assert_uint_eq(e->flushed, 0);
	loop_turn(&loop, false);
	ck_assert_uint_eq(e->flushed, 1);
	ck_assert_uint_eq(e->progressed, 1);
	ck_assert_ptr_null(loop.dirty);
	ck_assert(is_idle(e));
	ck_assert_int_eq(recv(e->peer, back, sizeof(back), 0), 13);
	ck_assert_mem_eq(back, "one two three", 13);
	loop_turn(&loop, false);
	ck_assert_uint_eq(e->flushed, 1);
	end_free(e);
}
END_TEST

START_TEST(want_flush_without_output)
{
	struct end *e = end_open();

	sbuf_want_flush(&e->sb);
	sbuf_want_flush(&e->sb);
	loop_turn(&loop, false);
	ck_assert_uint_eq(e->flushed, 1);
	ck_assert_uint_eq(e->progressed, 0);
	end_free(e);
}
END_TEST

/* Copies and references in turn, in pieces of all sizes, in the right order. */
START_TEST(pieces_in_order)
{
	enum {
		SIZE = 300000
	};
	struct end *e = end_open();
	struct chunk *c = chunk_of_pattern(SIZE);
	size_t at = 0;

	for (unsigned i = 0; at < SIZE; i++) {
		uint32_t n = (uint32_t)MIN(1 + i * i * 13 % 40000, SIZE - at);

		if (i % 3 == 0)
			sbuf_write_ref(&e->sb, c, c->data + at, n);
		else
			sbuf_write(&e->sb, c->data + at, n);
		at += n;
	}
	ck_assert_uint_eq(e->sb.out_bytes, SIZE);
	ck_assert_uint_gt(c->refs, 1);
	peer_expect_pattern(e->peer, SIZE);
	ck_assert(is_idle(e));
	ck_assert_uint_eq(c->refs, 1);
	chunk_unref(c);
	end_free(e);
}
END_TEST

START_TEST(room_in_one_piece)
{
	struct end *e = end_open();
	uint8_t *p, *q;

	memset(sbuf_reserve(&e->sb, CHUNK_BUFFER - 100), 'x', CHUNK_BUFFER - 100);
	p = sbuf_reserve_together(&e->sb, 6, 101); /* there are only 100 left */
	ck_assert_ptr_ne(e->sb.out_head, e->sb.out_tail);
	memset(p, 'h', 6);
	q = sbuf_reserve_together(&e->sb, 95, 95);
	ck_assert_ptr_eq(q, p + 6);
	memset(q, 'q', 95);
	ck_assert_uint_eq(e->sb.out_bytes, CHUNK_BUFFER + 1);
	loop_turn(&loop, false);
	ck_assert(is_idle(e));
	end_free(e);
}
END_TEST

static void small_buffers(struct end *e)
{
	int size = 65536; /* below the size of a packet the kernel waits for timers of its own */

	ck_assert_int_eq(setsockopt(e->sb.fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)), 0);
	ck_assert_int_eq(setsockopt(e->peer, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size)), 0);
}

/* The peer takes little: what it does not take waits, EV_WRITE goes on with it, and more may be queued meanwhile. */
START_TEST(a_slow_reader)
{
	enum {
		SIZE = 1 << 20
	};
	struct end *e = end_open();
	struct chunk *c = chunk_of_pattern(2 * SIZE);

	small_buffers(e);
	sbuf_write_ref(&e->sb, c, c->data, SIZE);
	loop_turn(&loop, false);
	ck_assert(e->sb.write_waits);
	ck_assert_uint_gt(e->sb.out_bytes, 0);
	ck_assert_uint_lt(e->sb.out_bytes, SIZE);
	sbuf_write(&e->sb, c->data + SIZE, SIZE / 2);
	ck_assert_ptr_null(loop.dirty); /* a flush would be in vain */
	sbuf_write_ref(&e->sb, c, c->data + SIZE + SIZE / 2, SIZE / 2);
	peer_expect_pattern(e->peer, 2 * SIZE);
	loop_until(is_idle(e));
	ck_assert(!e->sb.write_waits);
	ck_assert_uint_gt(e->progressed, 2);
	ck_assert(list_is_empty(&e->sb.write_timeout.node));
	ck_assert_uint_eq(e->closed, 0);
	ck_assert_uint_eq(c->refs, 1);
	chunk_unref(c);
	end_free(e);
}
END_TEST

START_TEST(a_peer_that_takes_nothing)
{
	enum {
		SIZE = 1 << 20
	};
	struct end *e = end_open();
	struct chunk *c = chunk_of_pattern(SIZE);
	const uint64_t start = loop_clock_ns();

	small_buffers(e);
	sbuf_write_ref(&e->sb, c, c->data, SIZE);
	loop_until(e->closed);
	ck_assert_uint_ge(loop_clock_ns() - start, HELPER_WRITE_TIMEOUT_MS * 1000000ull);
	ck_assert_ptr_nonnull(strstr(e->why, "does not take"));
	ck_assert_uint_eq(e->closed, 1);
	ck_assert_uint_eq(c->refs, 1);
	chunk_unref(c);
	end_free(e);
}
END_TEST

/* It takes a little now and then, each time before the time is over. */
START_TEST(a_peer_that_takes_little)
{
	enum {
		SIZE = 16 << 20,
		PIECE = 200000
	};
	struct end *e = end_open();
	struct chunk *c = chunk_of_pattern(SIZE);
	uint8_t *back = malloc(PIECE);
	const uint64_t end = loop_clock_ns() + 2 * HELPER_WRITE_TIMEOUT_MS * 1000000ull;

	small_buffers(e);
	sbuf_write_ref(&e->sb, c, c->data, SIZE);
	while (loop_clock_ns() < end) {
		peer_read(e->peer, back, PIECE);
		for (unsigned i = 0; i < 20; i++) {
			loop_turn(&loop, false);
			usleep(5000);
		}
	}
	ck_assert_uint_eq(e->closed, 0);
	ck_assert(e->sb.write_waits);
	free(back);
	chunk_unref(c);
	end_free(e);
}
END_TEST

/* ---- the end ---- */

START_TEST(finish_sends_what_is_queued)
{
	enum {
		SIZE = 1 << 20
	};
	struct end *e = end_open();
	struct chunk *c = chunk_of_pattern(SIZE);
	char byte;

	small_buffers(e);
	sbuf_write_ref(&e->sb, c, c->data, SIZE);
	chunk_unref(c);
	sbuf_finish(&e->sb);
	sbuf_finish(&e->sb);
	ck_assert(!sbuf_is_writable(&e->sb));
	peer_write(e->peer, "not read any more", 17);
	peer_expect_pattern(e->peer, SIZE);
	ck_assert_uint_eq(peer_read(e->peer, &byte, 1), 0); /* the end, and no reset */
	ck_assert_uint_eq(e->closed, 0);
	ck_assert_int_eq(e->sb.state, SBUF_LINGERING);
	peer_write(e->peer, "nor this", 8);
	close(e->peer);
	e->peer = -1;
	loop_until(e->closed);
	ck_assert_str_eq(e->why, "closed by us");
	ck_assert_uint_eq(e->closed, 1);
	ck_assert_uint_eq(e->calls, 0);
	end_free(e);
}
END_TEST

START_TEST(finish_does_not_wait_for_ever)
{
	struct end *e = end_open();

	sbuf_finish(&e->sb); /* nothing is queued */
	loop_until(e->closed);
	ck_assert_str_eq(e->why, "closed by us");
	end_free(e);
}
END_TEST

START_TEST(finish_towards_a_peer_that_takes_nothing)
{
	enum {
		SIZE = 1 << 20
	};
	struct end *e = end_open();
	struct chunk *c = chunk_of_pattern(SIZE);

	small_buffers(e);
	sbuf_write_ref(&e->sb, c, c->data, SIZE);
	chunk_unref(c);
	sbuf_finish(&e->sb);
	loop_until(e->closed);
	ck_assert_ptr_nonnull(strstr(e->why, "does not take"));
	end_free(e);
}
END_TEST

START_TEST(closed_by_the_peer)
{
	struct end *e = end_open();

	e->message = 10;
	peer_write(e->peer, "half", 4);
	shutdown(e->peer, SHUT_WR);
	loop_until(e->closed);
	ck_assert_str_eq(e->why, "closed by the peer");
	ck_assert_uint_eq(e->closed, 1);
	ck_assert(is_idle(e));
	end_free(e);
}
END_TEST

START_TEST(reset_by_the_peer)
{
	const struct linger now = { .l_onoff = 1 };
	struct end *e = end_open();

	ck_assert_int_eq(setsockopt(e->peer, SOL_SOCKET, SO_LINGER, &now, sizeof(now)), 0);
	close(e->peer);
	e->peer = -1;
	loop_until(e->closed);
	ck_assert_str_eq(e->why, "Connection reset by peer");
	end_free(e);
}
END_TEST

START_TEST(close_drops_what_is_queued)
{
	struct end *e = end_open();
	struct chunk *c = chunk_of_pattern(50000);
	char byte;

	sbuf_write(&e->sb, "never", 5);
	sbuf_write_ref(&e->sb, c, c->data, 50000);
	ck_assert_uint_eq(c->refs, 2);
	sbuf_close(&e->sb);
	sbuf_close(&e->sb);
	ck_assert_uint_eq(c->refs, 1);
	chunk_unref(c);
	ck_assert_ptr_null(loop.dirty);
	loop_turn(&loop, false);
	ck_assert_int_eq(recv(e->peer, &byte, 1, 0), 0);
	ck_assert_uint_eq(e->closed, 0); /* who closes needs not be told */
	ck_assert(!sbuf_is_writable(&e->sb));
	end_free(e);
}
END_TEST

/* Those that are dirty stand in a list: taking one out leaves the others in. */
START_TEST(close_one_of_many_dirty_ones)
{
	struct end *e[5];
	char byte;

	for (unsigned victim = 0; victim < 5; victim++) {
		for (unsigned i = 0; i < 5; i++) {
			e[i] = end_open();
			sbuf_write(&e[i]->sb, "x", 1);
		}
		sbuf_close(&e[victim]->sb);
		loop_turn(&loop, false);
		for (unsigned i = 0; i < 5; i++) {
			ck_assert_int_eq(recv(e[i]->peer, &byte, 1, 0), i == victim ? 0 : 1);
			end_free(e[i]);
		}
	}
}
END_TEST

START_TEST(closed_in_on_data)
{
	struct end *e = end_open();

	e->close_in = IN_DATA;
	e->finishes = _i;
	e->message = 3;
	peer_write(e->peer, "abcdefgh", 8);
	loop_until(e->calls == 1);
	loop_turn(&loop, false);
	ck_assert_uint_eq(e->calls, 1);
	ck_assert_uint_eq(e->got_len, 0);
	ck_assert_int_eq(e->sb.state, _i ? SBUF_LINGERING : SBUF_IDLE);
	end_free(e);
}
END_TEST

/* The same with a buffer of its own, which is freed under the handler otherwise. */
START_TEST(closed_in_on_data_of_a_large_message)
{
	enum {
		SIZE = 100000
	};
	struct end *e = end_open();
	uint8_t *bytes = malloc(SIZE);

	pattern_fill(bytes, SIZE);
	e->message = SIZE;
	e->finishes = _i;
	peer_write(e->peer, bytes, 100);
	loop_take_all(e->sb.fd);
	e->close_in = IN_DATA;
	peer_write(e->peer, bytes + 100, SIZE - 100);
	loop_until(e->calls == 2);
	ck_assert_ptr_nonnull(e->last_chunk);
	ck_assert(pattern_is(e->last_chunk->data, SIZE));
	free(bytes);
	end_free(e);
}
END_TEST

START_TEST(closed_in_on_progress)
{
	struct end *e = end_open();

	e->close_in = IN_PROGRESS;
	e->finishes = _i;
	sbuf_write(&e->sb, "bye", 3);
	loop_turn(&loop, false);
	ck_assert_uint_eq(e->progressed, 1);
	if (!_i)
		ck_assert_int_eq(e->sb.state, SBUF_IDLE);
	else
		loop_until(e->sb.state == SBUF_LINGERING);
	end_free(e);
}
END_TEST

/* ---- connecting ---- */

static int listen_here(struct net_address *at)
{
	char error[256];
	int fd = net_listen("127.0.0.1", 0, at, error, sizeof(error));

	ck_assert_msg(fd >= 0, "%s", error);
	return fd;
}

static int accept_here(int listener)
{
	struct pollfd p = { .fd = listener, .events = POLLIN };

	ck_assert_int_eq(poll(&p, 1, HELPER_PATIENCE_MS), 1);
	return accept(listener, NULL, NULL);
}

START_TEST(queued_before_it_is_open)
{
	struct net_address at;
	int listener = listen_here(&at);
	struct end *e = end_new();
	const char *why;
	char back[8];

	ck_assert(sbuf_connect(&e->sb, &at, NULL, NULL, &why));
	ck_assert_uint_eq(e->opened, 0); /* never in the call itself */
	ck_assert(sbuf_is_writable(&e->sb));
	sbuf_write(&e->sb, "early ", 6);
	loop_until(e->opened);
	e->peer = accept_here(listener);
	ck_assert_uint_eq(peer_read(e->peer, back, 6), 6);
	ck_assert_mem_eq(back, "early ", 6);
	close(listener);
	end_free(e);
}
END_TEST

START_TEST(closed_in_on_open)
{
	struct net_address at;
	int listener = listen_here(&at);
	struct end *e = end_new();
	const char *why;

	e->close_in = IN_OPEN;
	e->finishes = _i;
	ck_assert(sbuf_connect(&e->sb, &at, NULL, NULL, &why));
	sbuf_write(&e->sb, "x", 1);
	loop_until(e->opened);
	loop_until(e->sb.state == (_i ? SBUF_LINGERING : SBUF_IDLE));
	close(listener);
	end_free(e);
}
END_TEST

START_TEST(refused)
{
	struct net_address at;
	struct end *e = end_new();
	const char *why;

	close(listen_here(&at)); /* nobody listens there now */
	ck_assert(sbuf_connect(&e->sb, &at, NULL, NULL, &why));
	sbuf_write(&e->sb, "x", 1);
	loop_until(e->closed);
	ck_assert_str_eq(e->why, "Connection refused");
	ck_assert_uint_eq(e->opened, 0);
	ck_assert(is_idle(e));
	end_free(e);
}
END_TEST

START_TEST(finish_while_connecting)
{
	struct net_address at;
	int listener = listen_here(&at);
	struct end *e = end_new();
	const char *why;

	ck_assert(sbuf_connect(&e->sb, &at, NULL, NULL, &why));
	sbuf_finish(&e->sb);
	ck_assert_uint_eq(e->closed, 1);
	loop_turn(&loop, false);
	ck_assert_uint_eq(e->opened, 0);
	close(listener);
	end_free(e);
}
END_TEST

START_TEST(paused_before_it_is_open)
{
	struct net_address at;
	int listener = listen_here(&at);
	struct end *e = end_new();
	const char *why;

	ck_assert(sbuf_connect(&e->sb, &at, NULL, NULL, &why));
	sbuf_pause(&e->sb);
	loop_until(e->opened);
	e->peer = accept_here(listener);
	peer_write(e->peer, "abc", 3);
	for (unsigned i = 0; i < 5; i++) {
		loop_turn(&loop, false);
		usleep(2000);
	}
	ck_assert_uint_eq(e->calls, 0);
	sbuf_resume(&e->sb);
	loop_until(e->got_len == 3);
	close(listener);
	end_free(e);
}
END_TEST

int main(void)
{
	TCase *tcase = tcase_create("sbuf");

	tcase_set_timeout(tcase, 60);
	tcase_add_checked_fixture(tcase, helper_loop_start, helper_loop_end);
	tcase_add_test(tcase, the_rest_is_kept);
	tcase_add_test(tcase, one_byte_at_a_time);
	tcase_add_loop_test(tcase, exact_buffers, 0, ARRAY_LEN(exact_sizes));
	tcase_add_test(tcase, large_messages_in_a_row);
	tcase_add_loop_test(tcase, a_pause_among_large_messages, 0, 2);
	tcase_add_loop_test(tcase, an_end_among_large_messages, 0, 2);
	tcase_add_test(tcase, a_large_message_that_is_not_used_up);
	tcase_add_test(tcase, pause_and_resume);
	tcase_add_test(tcase, what_a_pause_left_over);
	tcase_add_test(tcase, a_pause_with_half_a_large_message);
	tcase_add_test(tcase, one_flush_per_turn);
	tcase_add_test(tcase, want_flush_without_output);
	tcase_add_test(tcase, pieces_in_order);
	tcase_add_test(tcase, room_in_one_piece);
	tcase_add_test(tcase, a_slow_reader);
	tcase_add_test(tcase, a_peer_that_takes_nothing);
	tcase_add_test(tcase, a_peer_that_takes_little);
	tcase_add_test(tcase, finish_sends_what_is_queued);
	tcase_add_test(tcase, finish_does_not_wait_for_ever);
	tcase_add_test(tcase, finish_towards_a_peer_that_takes_nothing);
	tcase_add_test(tcase, closed_by_the_peer);
	tcase_add_test(tcase, reset_by_the_peer);
	tcase_add_test(tcase, close_drops_what_is_queued);
	tcase_add_test(tcase, close_one_of_many_dirty_ones);
	tcase_add_loop_test(tcase, closed_in_on_data, 0, 2);
	tcase_add_loop_test(tcase, closed_in_on_data_of_a_large_message, 0, 2);
	tcase_add_loop_test(tcase, closed_in_on_progress, 0, 2);
	tcase_add_test(tcase, queued_before_it_is_open);
	tcase_add_loop_test(tcase, closed_in_on_open, 0, 2);
	tcase_add_test(tcase, refused);
	tcase_add_test(tcase, finish_while_connecting);
	tcase_add_test(tcase, paused_before_it_is_open);
	return run_tcase("sbuf", tcase);
}
