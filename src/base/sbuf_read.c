/* sbuf_read.c - see sbuf_read.h */
#include "base/sbuf_read.h"

#include <string.h>

#include "base/sbuf_io.h"

/* A frame that needs more than this gets a buffer of its exact size, into which the socket is read directly. */
#define EXACT_MIN 32768
/*
 * Up to this size the same call also reads what comes behind that frame, into the loop's buffer: both together are no
 * longer than it.
 */
#define EXACT_MAX (LOOP_READ_BUFFER * 3 / 4)

void sbuf_read_drop(struct sbuf *sb)
{
	if (sb->in)
		chunk_unref(sb->in);
	sb->in = NULL;
	sb->in_len = 0;
	sb->has_rest = false;
	loop_task_stop(&sb->rest_task);
}

/* Keeps what on_data() did not use. False when memory is exhausted. */
static bool keep_tail(struct sbuf *sb, const uint8_t *data, size_t len)
{
	struct chunk *old = sb->in;
	struct chunk *chunk = NULL;
	uint32_t size = (uint32_t)len;

	if (sb->want > EXACT_MIN)
		size = MAX(size, sb->want);
	if (len > 0) {
		chunk = chunk_try_new(&sb->loop->chunks, size);
		if (!chunk)
			return false;
		chunk->has_secret = sb->hears_secrets;
		memcpy(chunk->data, data, len);
	}
	sb->in = chunk;
	sb->in_len = (uint32_t)len;
	if (old)
		chunk_unref(old);
	return true;
}

/* Hands bytes to the owner; false when the sbuf is not open any more. */
static bool deliver(struct sbuf *sb, uint8_t *data, size_t len, struct chunk *chunk)
{
	size_t used;

	sb->want = 0;
	sb->again = false;
	used = sb->handler->on_data(sb, data, len, chunk);
	if (sb->state != SBUF_OPEN)
		return false;
	Assert(used <= len);
	if (len - used == 0) {
		sbuf_read_drop(sb);
	} else if (!keep_tail(sb, data + used, len - used)) {
		sbuf_fail(sb, "out of memory for a frame");
		return false;
	}
	/* With `want` set it is the beginning of a frame, and nothing to come back to. */
	sb->has_rest = sb->again || (len > used && sb->is_paused && sb->want == 0);
	if (unlikely(sb->has_rest) && !sb->is_paused)
		loop_task_start(sb->loop, &sb->rest_task);
	return true;
}

/* So many bytes of the loop's read buffer were in use for what may have had secrets. */
static inline void wipe(const struct sbuf *sb, bool had_secrets, size_t len)
{
	if (unlikely(had_secrets))
		explicit_bzero(sb->loop->read_buffer, len);
}

void sbuf_read_rest(struct loop_task *task)
{
	struct sbuf *sb = container_of(task, struct sbuf, rest_task);
	const uint32_t len = sb->in_len;
	const bool has_secrets = sb->hears_secrets;

	if (sb->state != SBUF_OPEN || sb->is_paused || !sb->has_rest)
		return;
	Assert(len <= LOOP_READ_BUFFER);
	sb->has_rest = false;
	if (len > 0)
		memcpy(sb->loop->read_buffer, sb->in->data, len);
	deliver(sb, sb->loop->read_buffer, len, NULL);
	wipe(sb, has_secrets, len);
	sbuf_read_pending(sb);
}

/* Hands up `len` bytes of the loop's read buffer that were read together with the frame in front of them. */
static void deliver_behind(struct sbuf *sb, size_t len)
{
	uint8_t *data = sb->loop->read_buffer;

	if (sb->in_len > 0) { /* on_data() has not used all of that frame */
		memmove(data + sb->in_len, data, len);
		memcpy(data, sb->in->data, sb->in_len);
		len += sb->in_len;
	}
	if (likely(!sb->has_rest && !sb->is_paused)) {
		deliver(sb, data, len, NULL);
		return;
	}
	sb->want = 0;
	sb->has_rest = true;
	if (!keep_tail(sb, data, len))
		sbuf_fail(sb, "out of memory for a frame");
}

/*
 * The kept tail lies in a buffer of its frame's own: what the frame lacks is read into it. Large frames often come one
 * after the other, and then the next ones are there as well.
 */
static void read_exact(struct sbuf *sb)
{
	struct chunk *chunk = sb->in;
	const size_t lacks = sb->want - sb->in_len;
	const size_t room = !sb->tls && sb->want <= EXACT_MAX ? LOOP_READ_BUFFER - sb->want : 0;
	const bool has_secrets = sb->hears_secrets;
	const char *why = NULL;
	size_t got = 0;

	switch (sbuf_io_recv_to(sb, chunk->data + sb->in_len, lacks, room, &got, &why)) {
	case SBUF_IO_AGAIN:
		return;
	case SBUF_IO_CLOSED:
		sbuf_fail(sb, why);
		return;
	case SBUF_IO_OK:
		break;
	}
	sb->reads++;
	sb->in_len += (uint32_t)MIN(got, lacks);
	if (got < lacks)
		return;
	chunk_ref(chunk);
	if (deliver(sb, chunk->data, sb->in_len, chunk) && got > lacks)
		deliver_behind(sb, got - lacks);
	chunk_unref(chunk);
	/* What was left over of the frame may have come in front of what is behind it. */
	wipe(sb, has_secrets, got > lacks ? LOOP_READ_BUFFER : 0);
}

/* The kept tail is copied to the beginning of the loop's buffer, and what is read goes behind it. */
static void read_open(struct sbuf *sb)
{
	uint8_t *buf = sb->loop->read_buffer;
	const bool has_secrets = sb->hears_secrets;
	size_t have = sb->in_len;
	const char *why = NULL;
	size_t got = 0;

	if (sb->in && sb->want > EXACT_MIN && sb->in->cap >= sb->want) {
		read_exact(sb);
		return;
	}
	if (have)
		memcpy(buf, sb->in->data, have);
	switch (sbuf_io_recv(sb, buf + have, LOOP_READ_BUFFER - have, &got, &why)) {
	case SBUF_IO_AGAIN:
		wipe(sb, has_secrets, have);
		return;
	case SBUF_IO_CLOSED:
		wipe(sb, has_secrets, have);
		sbuf_fail(sb, why);
		return;
	case SBUF_IO_OK:
		break;
	}
	sb->reads++;
	have += got;
	deliver(sb, buf, have, NULL);
	wipe(sb, has_secrets, have);
}

static void read_lingering(struct sbuf *sb)
{
	const char *why = NULL;
	size_t got = 0;
	enum sbuf_io status = sbuf_io_recv(sb, sb->loop->read_buffer, LOOP_READ_BUFFER, &got, &why);

	wipe(sb, sb->hears_secrets, got);
	if (status == SBUF_IO_CLOSED)
		sbuf_fail(sb, "closed by us");
}

void sbuf_read_ready(evutil_socket_t fd, short what, void *arg)
{
	struct sbuf *sb = arg;

	(void)fd;
	(void)what;
	if (unlikely(sb->loop->on_turn))
		loop_now(sb->loop); /* what is measured begins before the read */
	if (sb->reads_for_write) {
		sb->reads_for_write = false;
		sbuf_flush(sb);
	}
	switch ((enum sbuf_state)sb->state) {
	case SBUF_PRELUDE:
	case SBUF_HANDSHAKE:
		sbuf_go_on_opening(sb);
		break;
	case SBUF_OPEN:
		if (unlikely(sb->has_rest)) /* its turn comes with rest_task */
			break;
		read_open(sb);
		sbuf_read_pending(sb);
		break;
	case SBUF_LINGERING:
		read_lingering(sb);
		break;
	case SBUF_IDLE:
	case SBUF_CONNECTING:
	case SBUF_FLUSHING:
		break;
	}
}
