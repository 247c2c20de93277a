/*
 * startup.h - the options of a client's STARTUP: checked when they come, kept
 * until the client is ready, since dedicated connections carry them on.
 */
#ifndef PROXY_STARTUP_H
#define PROXY_STARTUP_H

#include "cql/compress.h"
#include "cql/frame.h"
#include "cql/writer.h"

struct client;

struct startup {
	struct writer options; /* a whole [string map] body, COMPRESSION included where the client wants one */
	uint16_t option_count; /* without COMPRESSION */
	uint8_t compression;   /* enum cql_compression */
	bool is_peculiar;      /* it changes what statements mean on the connection: not for one that is shared */
};

/* Reads and checks them, and notes the client's driver; false after the client was refused, nothing has to be freed then. */
bool startup_read(struct startup *s, struct client *c, const struct frame *f);
void startup_free(struct startup *s);
/* Moves all of it; `from` is empty then. */
void startup_move(struct startup *to, struct startup *from);

/* The body of a STARTUP with the client's options, but with this compression. */
void startup_write(const struct startup *s, enum cql_compression compression, struct writer *w);

#endif
