/*
 * rewrite.h - finds the function calls in a write whose result differs from
 * cluster to cluster, so that something that does not differ can be put in
 * their place. Nothing is copied or allocated.
 *
 * Found are calls without arguments of
 *
 *   now, currentTimeUUID, current_timeuuid          timeuuid
 *   uuid                                            uuid
 *   currentTimestamp, current_timestamp             timestamp
 *   currentDate, current_date                       date
 *   currentTime, current_time                       time
 *
 * unqualified or qualified with system, in any letter case, or quoted in lower
 * case; in INSERT, UPDATE, DELETE and BEGIN ... BATCH. Not found, because
 * Cassandra would call something else or nothing: "NOW"(), ks.now(), now(1), a
 * column called now, whatever stands in strings, quoted names and comments
 * (and so everything in INSERT JSON). SELECT is never looked into. A function
 * around the call, toTimestamp(now()), needs no rule: the inner call is found.
 */
#ifndef CQL_REWRITE_H
#define CQL_REWRITE_H

#include "cql/scanner.h"

/* What the call gives. */
enum rewrite_kind {
	REWRITE_TIMEUUID,
	REWRITE_UUID,
	REWRITE_TIMESTAMP,
	REWRITE_DATE,
	REWRITE_TIME,
};
/* The name of its type in CQL. */
const char *rewrite_type_name(enum rewrite_kind kind);

struct rewrite_call {
	uint32_t offset; /* in bytes; a "system." in front is a part of the call */
	uint32_t len;
	uint32_t markers_before; /* bind markers to the left, wherever they stand: in collections, arguments, USING, IF */
	enum rewrite_kind kind;
	/* What replaces the call needs its type written in front, "(timestamp)": always, except for a timeuuid or uuid
	 * that is the whole right side, for its type is the column's. */
	bool needs_cast;
	/* A letter or digit follows at once, now()AND: the replacement needs a blank behind it. */
	bool needs_blank;
};

/* A text with more open brackets than this is not understood; Cassandra's own parser gives up later, on its stack. */
#define REWRITE_MAX_DEPTH 64
/* In one text; a PREPARE may have 65 535 markers at most, and so much can be copied without a thought for memory. */
#define REWRITE_MAX_CALLS 65535

/* The walk over a text. */
struct rewrite {
	struct scanner scanner;
	struct token before[3]; /* the last token, the one before ... */
	uint8_t open[REWRITE_MAX_DEPTH];
	unsigned depth;
	uint32_t markers; /* seen so far */
	bool has_named_markers;
	bool has_our_names; /* a marker of the client begins with REWRITE_MARKER_NAME */
	bool is_broken;     /* an unterminated string or comment, or too many brackets */
};

/* How a marker of ours is called in a statement whose markers have names: the first so, further ones with _2, _3 ... */
#define REWRITE_MARKER_NAME "zdm__now"

void rewrite_start(struct rewrite *rw, struct strview text);
/* The next call; false behind the last one, when everything about the text is known. */
MUSTCHECK bool rewrite_next(struct rewrite *rw, struct rewrite_call *out);

enum rewrite_finding {
	REWRITE_NONE,     /* no calls, or a text that every cluster will refuse */
	REWRITE_CALLS,    /* at least one */
	REWRITE_TOO_MUCH, /* calls, but too many of them, or too deep: they cannot be replaced */
};

struct rewrite_facts {
	uint32_t calls;
	uint32_t markers; /* the client's own */
	bool has_named_markers;
	bool has_our_names;
};

/* One walk over the whole text, for what has to be known before the first call is replaced. */
enum rewrite_finding rewrite_scan(struct strview text, struct rewrite_facts *out);

/* The longest is "(timestamp):zdm__now_65535 ". */
#define REWRITE_MARKER_MAX 48

/* The marker that replaces the index-th call (from 0) of a text, as a C string; returns its length. */
unsigned rewrite_marker(const struct rewrite_call *call, bool is_named, unsigned index, char out[REWRITE_MARKER_MAX]);
/* The name of that marker, in a statement whose markers have names; `size` at least REWRITE_MARKER_MAX - 13. */
unsigned rewrite_marker_name(unsigned index, char *out, size_t size);

#endif
