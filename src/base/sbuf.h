/*
 * sbuf.h - a non-blocking stream socket with its buffers: what was read and
 * not yet used, what waits to be written, TLS in between when asked for.
 *
 *                 recv                        on_data()
 *   socket --> [read buffer of the loop] --> handler uses whole frames in place
 *                      |  rest
 *                      v
 *                 sb->in (a chunk: the tail of a frame that has not arrived)
 *
 *   sbuf_reserve(), sbuf_write()  copy into the last outgoing buffer
 *   sbuf_write_ref()              queue a slice of a shared chunk
 *        |
 *        v
 *   sb->out_head .. out_tail --> one writev at the end of the turn (sbuf_flush)
 *
 * Invariants: an idle socket owns no buffer (in == NULL, out_head == NULL);
 * EV_WRITE is only pending while the kernel connects or refuses bytes, and
 * only then there is an event for it; after on_closed() nothing is called any
 * more.
 *
 * Belongs to its loop's thread. Memory: the owner embeds it and keeps it until
 * on_closed() or sbuf_close(), and then until the end of the turn.
 */
#ifndef BASE_SBUF_H
#define BASE_SBUF_H

#include <event2/event_struct.h>

#include "base/loop.h"
#include "base/net.h"
#include "base/tls.h"

enum sbuf_state {
	SBUF_IDLE,       /* no socket: before sbuf_connect()/sbuf_adopt() and after the end */
	SBUF_CONNECTING, /* the kernel connects */
	SBUF_PRELUDE,    /* what comes before TLS and the stream is awaited */
	SBUF_HANDSHAKE,  /* TLS handshake under way */
	SBUF_OPEN,
	SBUF_FLUSHING,  /* sbuf_finish(): nothing is read any more, what is queued goes out */
	SBUF_LINGERING, /* all is out; the peer reads it, what it still sends is dropped */
};

/* A slice of the outgoing stream. */
struct sbuf_part {
	struct sbuf_part *next;
	struct chunk *chunk; /* one reference */
	uint32_t off;
	uint32_t len;
	bool is_buffer; /* our own buffer: more bytes may be appended while it is the last part */
};

struct sbuf;

struct sbuf_handler {
	/* The socket is connected (and its TLS handshake done). Bytes may be queued before; they leave then. */
	void (*on_open)(struct sbuf *sb);
	/*
	 * `len` bytes at `data` have arrived, what an earlier call left over in
	 * front. Returns how many were used; the rest comes again with more behind
	 * it. When a whole frame needs a known number of bytes, sb->want says how
	 * many (counted from the first unused byte), else 0. `chunk`, when not
	 * NULL, holds the data and may be referenced. May close the sbuf. After
	 * sbuf_pause() it should leave whole frames unused: they come again after
	 * sbuf_resume(). With sb->again set it is called again in the next turn (or
	 * after sbuf_resume()) without anything new, `len` then may be 0: for a
	 * handler that wants others to have a turn, or keeps bytes of its own.
	 */
	size_t (*on_data)(struct sbuf *sb, uint8_t *data, size_t len, struct chunk *chunk);
	/* Called before queued output is written: the last moment to queue more. May be NULL. */
	void (*before_flush)(struct sbuf *sb);
	/* Some of the output has left. May be NULL. */
	void (*on_progress)(struct sbuf *sb);
	/* The connection is over, by the peer or by an error that `why` describes. The socket is closed already. */
	void (*on_closed)(struct sbuf *sb, const char *why);
};

enum sbuf_prelude_status {
	SBUF_PRELUDE_MORE, /* all that there was belongs to it, and more is to come */
	SBUF_PRELUDE_DONE, /* the TLS handshake or the stream begins behind what was taken */
	SBUF_PRELUDE_BAD,  /* take() has closed the sbuf */
};

/* At most so many bytes are looked at in one go. */
#define SBUF_PRELUDE_LOOK 512

/*
 * What an accepted connection begins with before TLS and the stream: the header
 * of a load balancer (proxy_header.h). Its owner keeps it until on_open() or
 * the end.
 */
struct sbuf_prelude {
	/* `used` bytes of `data` belong to it. They are looked at only: nothing behind them is taken off the socket. */
	enum sbuf_prelude_status (*take)(struct sbuf_prelude *prelude, const uint8_t *data, size_t len, size_t *used);
};

struct sbuf {
	struct loop *loop;
	const struct sbuf_handler *handler;
	struct sbuf *next_dirty;
	struct chunk *in;
	uint32_t in_len;
	uint32_t want;
	struct sbuf_part *out_head;
	struct sbuf_part *out_tail;
	size_t out_bytes;
	uint32_t writes;     /* how often bytes have been given to the kernel; wraps round */
	uint32_t last_flush; /* bytes: how large the first buffer of the next one should be */
	struct tls *tls;
	struct sbuf_prelude *prelude; /* in state SBUF_PRELUDE, else NULL */
	int fd;
	uint8_t state; /* enum sbuf_state */
	bool is_dirty : 1;
	bool is_paused : 1;       /* by sbuf_pause() */
	bool has_rest : 1;        /* on_data() has left something to come back to */
	bool again : 1;           /* set by on_data(), see there */
	bool write_waits : 1;     /* EV_WRITE is pending */
	bool rejected_peer : 1;   /* the TLS handshake failed by the peer's certificate */
	bool reads_for_write : 1; /* TLS wants to read before it can write */
	bool hears_secrets : 1;   /* by sbuf_hear_secrets() */
	uint16_t reads;           /* how often bytes have come; wraps round */
	struct timeout_item write_timeout;
	struct loop_task rest_task; /* reads the rest in the next turn */
	struct event *ev_write;     /* NULL: it is not pending */
	struct event ev_read;
};

void sbuf_init(struct sbuf *sb, struct loop *loop, const struct sbuf_handler *handler);

/*
 * Starts to connect. With `tls` the TLS handshake follows, with `server_name`
 * checked and sent as tls_new() says. False when it fails at once; *why is then
 * the reason. There is no time-out here: the owner closes.
 */
MUSTCHECK bool sbuf_connect(struct sbuf *sb, const struct net_address *to, struct tls_context *tls,
			    const char *server_name, const char **why);
/* Right after sbuf_connect() with `tls`: see tls_set_sni(). */
void sbuf_set_sni(struct sbuf *sb, const char *sni);
/* Takes over a connected socket (accepted); on failure the socket is closed. */
MUSTCHECK bool sbuf_adopt(struct sbuf *sb, int fd, struct tls_context *tls);
/* The same for a connection that begins with a prelude. */
MUSTCHECK bool sbuf_adopt_behind(struct sbuf *sb, int fd, struct tls_context *tls, struct sbuf_prelude *prelude);

/* As sbuf_reserve(), in a buffer that has room for `together` bytes (at most CHUNK_BUFFER) in a row. */
uint8_t *sbuf_reserve_together(struct sbuf *sb, uint32_t n, uint32_t together);
/* Room for n (at most CHUNK_BUFFER) bytes at the end of the output, to be filled before anything else is queued. */
static ALWAYS_INLINE uint8_t *sbuf_reserve(struct sbuf *sb, uint32_t n)
{
	struct sbuf_part *part = sb->out_tail;

	/* Behind what this turn has queued already: nothing is left to be done but to count. */
	if (likely(sb->is_dirty && part && part->is_buffer && part->chunk->cap - part->off - part->len >= n)) {
		uint8_t *p = part->chunk->data + part->off + part->len;

		part->len += n;
		sb->out_bytes += n;
		return p;
	}
	return sbuf_reserve_together(sb, n, n);
}
/*
 * n bytes more behind the ones that were reserved in `part` (then the last one)
 * earlier in this turn. False, and nothing done, when there is no room for them
 * or others have come behind.
 */
static ALWAYS_INLINE bool sbuf_extend(struct sbuf *sb, struct sbuf_part *part, uint32_t n)
{
	if (unlikely(part != sb->out_tail || part->chunk->cap - part->off - part->len < n))
		return false;
	part->len += n;
	sb->out_bytes += n;
	return true;
}
/* Copies. */
void sbuf_write(struct sbuf *sb, const void *data, size_t len);
/* Queues a slice of a chunk; takes a reference of its own. */
void sbuf_write_ref(struct sbuf *sb, struct chunk *chunk, const uint8_t *data, uint32_t len);

/* A password is in what is queued: these buffers are overwritten when it has left. */
void sbuf_mark_secret(struct sbuf *sb);
/* From on_open() on: passwords may be in what is read until this is taken back; where that was is overwritten after use. */
void sbuf_hear_secrets(struct sbuf *sb, bool hears);

/* The handler keeps output of its own until before_flush(): makes sure that it is called at the end of the turn. */
void sbuf_want_flush(struct sbuf *sb);

/* Writes what is queued as far as the kernel takes it; called by the loop for dirty sbufs. */
void sbuf_flush(struct sbuf *sb);

/* Forgets what on_data() has left, when a part of a frame is of no use any more; not to be called by on_data(). */
void sbuf_drop_input(struct sbuf *sb);

/* Stops reading until sbuf_resume(): the kernel's buffers fill and the peer has to wait. */
void sbuf_pause(struct sbuf *sb);
void sbuf_resume(struct sbuf *sb);
/* Of one that is open, also while it is paused: the peer sends nothing more, or the connection is broken. A system call. */
bool sbuf_has_peer_closed(const struct sbuf *sb);

/* Closes at once, drops what is queued; on_closed() is not called. Harmless when closed already. */
void sbuf_close(struct sbuf *sb);
/*
 * Reads no more, sends what is queued, waits a moment for the peer to read it
 * (closing at once could destroy it on its way) and then calls on_closed().
 */
void sbuf_finish(struct sbuf *sb);

/* True while bytes may be queued for the peer. */
static inline bool sbuf_is_writable(const struct sbuf *sb)
{
	return sb->state != SBUF_IDLE && sb->state < SBUF_FLUSHING;
}

/* For sbuf_read.c: the end that the owner did not ask for, with on_closed(). */
void sbuf_fail(struct sbuf *sb, const char *why);
/* For sbuf_read.c: something has come in state SBUF_PRELUDE or SBUF_HANDSHAKE. */
void sbuf_go_on_opening(struct sbuf *sb);

/* For the loop. */
void sbuf_on_write_timeout(struct timeout_item *item);
void sbuf_on_linger_timeout(struct timeout_item *item);

#endif
