/*
 * peer.h - one non-blocking connection of cqlbench or cqlorder that carries CQL frames,
 * plain or in v5 segments; clients and fake nodes both are a peer plus a
 * handler. Frames queued in one turn of the loop leave in one write.
 *
 * Only what a load generator needs: no TLS, no compression, and no frame that
 * is larger than a segment. An input that does not fit ends the program: then
 * the proxy has a defect, and there is nothing to measure.
 */
#ifndef BENCH_PEER_H
#define BENCH_PEER_H

#include "base/net.h"
#include "cql/frame.h"
#include "cql/writer.h"

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
};

struct peer {
	struct source source;
	struct peer_set *set;
	const struct peer_handler *handler;
	int fd; /* -1: closed */
	uint8_t version;
	bool is_node; /* of its frames: responses */
	bool is_connecting;
	bool in_segments;
	bool is_dirty;
	bool waits_for_room; /* EPOLLOUT is asked for */
	struct peer *next_dirty;
	struct writer in;     /* what has arrived of an incomplete frame or segment */
	struct writer frames; /* to be put into segments at the flush */
	struct writer out;    /* bytes for the socket */
	uint32_t sent;        /* of `out` */
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

/* From the next frame on, in both directions; what was queued before leaves as it is. */
void peer_use_segments(struct peer *p);

/* A frame of `length` bytes: queues the header, returns where the body has to be put at once. */
uint8_t *peer_frame(struct peer *p, int16_t stream, uint8_t opcode, uint32_t length);
void peer_send(struct peer *p, int16_t stream, uint8_t opcode, const void *body, uint32_t length);

/* Writes what the peers of the set have queued. */
void peer_set_flush(struct peer_set *set);

#endif
