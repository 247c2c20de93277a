/*
 * peer.h - one non-blocking connection of cqlbench or cqlorder that carries CQL frames,
 * plain, compressed or in v5 segments, with or without TLS; clients and fake
 * nodes both are a peer plus a handler. Frames queued in one turn of the loop
 * leave in one write. An input that does not fit ends the program: then the
 * proxy has a defect, and there is nothing to measure.
 */
#ifndef BENCH_PEER_H
#define BENCH_PEER_H

#include "base/net.h"
#include "cql/frame.h"
#include "outbox.h"
#include "secure.h"

/* What an event of the epoll set belongs to. */
struct source {
	void (*on_events)(struct source *source, uint32_t events);
};

struct peer;

struct peer_handler {
	/* The socket is connected. NULL for accepted ones. */
	void (*on_open)(struct peer *p);
	void (*on_frame)(struct peer *p, const struct frame *f);
	/* The socket is closed, nothing will be called any more. The memory is the handler's. */
	void (*on_closed)(struct peer *p, const char *why);
};

/* Peers that are flushed together. */
struct peer_set {
	int epoll_fd;
	struct peer *dirty;
	struct peer **dirty_end;
	uint64_t read_ns; /* when the frames came that are being handed up */
};

struct peer {
	struct source source;
	struct peer_set *set;
	const struct peer_handler *handler;
	int fd; /* -1: closed */
	uint8_t version;
	enum cql_compression compression;
	bool is_node; /* of its frames: responses */
	bool is_connecting;
	bool is_handshaking; /* TLS */
	bool in_segments;
	bool is_dirty;
	bool waits_for_room; /* EPOLLOUT is asked for */
	struct peer *next_dirty;
	struct ssl_st *tls;   /* NULL: none */
	struct writer in;     /* what has arrived of an incomplete frame or segment */
	struct writer large;  /* what has arrived of a frame in several segments */
	struct writer frames; /* to be compressed or put into segments at the flush */
	struct outbox out;    /* bytes for the socket */
};

/* Prints a message and exits with 1. */
NORETURN void die(const char *fmt, ...) PRINTF_LIKE(1, 2);

uint64_t clock_ns(void);

void peer_set_init(struct peer_set *set, int epoll_fd);
void source_add(int epoll_fd, int fd, struct source *source);

/* A peer on a connected socket. */
void peer_adopt(struct peer *p, struct peer_set *set, const struct peer_handler *handler, int fd, uint8_t version);
/* Starts to connect; on_open() or on_closed() follows. False, with errno set, when it fails at once. */
MUSTCHECK bool peer_connect(struct peer *p, struct peer_set *set, const struct peer_handler *handler,
			    const struct net_address *to, uint8_t version);
void peer_close(struct peer *p);
/* Right after one of these two: TLS is spoken, as the context says as server or client. on_open() comes after the handshake. */
void peer_secure(struct peer *p, struct ssl_ctx_st *context);

/* From the next frame on, in both directions; what was queued before leaves as it is. */
void peer_use_segments(struct peer *p);
/* The same; up to v4 every body is compressed that is not empty, in v5 every segment that becomes smaller (lz4 only). */
void peer_use_compression(struct peer *p, enum cql_compression compression);

/* A frame of `length` bytes: queues the header, returns where the body has to be put at once. */
uint8_t *peer_frame(struct peer *p, int16_t stream, uint8_t opcode, uint32_t length);
/* A frame that was made before, header and body: copies it under this stream id; returns where the copied body is. */
uint8_t *peer_copy(struct peer *p, const uint8_t *frame, uint32_t length, int16_t stream);
void peer_send(struct peer *p, int16_t stream, uint8_t opcode, const void *body, uint32_t length);

/*
 * A large frame in pieces: peer_copy() of its header and first bytes, then these two until all that the header announces
 * is there. What is shared is not copied where that can be avoided; it must live as long as the program.
 */
uint8_t *peer_room(struct peer *p, uint32_t length);
void peer_share(struct peer *p, const uint8_t *data, uint32_t length);
/* Pieces of at least this size are worth it. */
#define PEER_SHARE_MIN (8 * 1024)

/* Writes what the peers of the set have queued. */
void peer_set_flush(struct peer_set *set);

#endif
