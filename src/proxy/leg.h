/*
 * leg.h - one exchange with a node: a frame that was sent on a server and the
 * answer that is due on the same stream id. A server knows nothing but legs,
 * so requests of drivers, log-ins, PREPAREs that repair a lost statement and
 * the queries of control connections all look the same to it.
 *
 * A leg is embedded in what it belongs to. It is on a server (server != NULL)
 * from server_send() until just before on_answer() or on_lost() is called, or
 * until leg_abandon().
 */
#ifndef PROXY_LEG_H
#define PROXY_LEG_H

#include "cql/frame.h"

struct server;
struct leg;

struct leg_ops {
	/*
	 * The answer, of any opcode but EVENT. The stream id is free again; but while
	 * the leg is still out, which only happens to one that takes pages, this was
	 * a page behind which more will come.
	 */
	void (*on_answer)(struct leg *leg, struct frame *f);
	/*
	 * The header of a large answer (WIRE_LARGE) that is no ERROR has come, and
	 * the leg does not need the body: it is dropped as it comes. As
	 * on_answer(), in its place. NULL: the body is wanted.
	 */
	void (*on_large)(struct leg *leg);
	/* The connection ended before an answer came; `was_unsent` is set then. */
	void (*on_lost)(struct leg *leg, const char *why);
};

struct leg {
	const struct leg_ops *ops;
	struct server *server;
	uint16_t stream;
	uint32_t writes;  /* what server->wire.sb.writes was when it was sent */
	bool was_unsent;  /* in on_lost(): no byte of it has been given to the kernel */
	bool takes_pages; /* DSE's continuous paging: many answers, see pages.h */
};

static inline void leg_init(struct leg *leg, const struct leg_ops *ops)
{
	*leg = (struct leg){ .ops = ops };
}

static inline bool leg_is_out(const struct leg *leg)
{
	return leg->server != NULL;
}

/*
 * An answer to it will be handled soon: what it belongs to begins at most two
 * cache lines before it and lies in the cache then. A hint, harmless for any leg.
 */
static ALWAYS_INLINE void leg_fetch(const struct leg *leg)
{
	const uintptr_t from = (uintptr_t)leg - 2 * CACHE_LINE; /* numbers: what stands for an orphan points nowhere */

	for (uintptr_t at = from; at < from + 7 * CACHE_LINE; at += CACHE_LINE)
		__builtin_prefetch((const void *)at);
}

/*
 * Nobody waits for the answer any more. The stream id stays taken until the
 * node has answered (the answer is swallowed), so that a late answer can never
 * be taken for another request's. Harmless when the leg is not out.
 */
void leg_abandon(struct leg *leg);
/* The node has said that nothing more will come for a leg that is out: its stream id is free at once. */
void leg_release(struct leg *leg);

#endif
