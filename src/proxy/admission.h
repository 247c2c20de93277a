/*
 * admission.h - who may become a client: the lists of addresses of its
 * listener, the header of a load balancer, and the limits of connections.
 *
 *   main thread                            worker
 *   accept -> [allow, deny] -> [places] -> [gate] -> TLS -> STARTUP -> log-in -> [places of its user] -> READY
 *   with proxy_protocol the addresses are those of the header:
 *   accept -> [proxy_protocol_from] -> [places] -> [gate] -> header -> [allow, deny] -> [places] -> TLS ...
 *
 * Who is not allowed is closed at once. Who finds a limit reached is told so:
 * its first frame is awaited, since only that says in which version and on
 * which stream, for LAST_WORDS_MS at most, and by so many at a time as keep the
 * limit meaningful; the others are closed at once, and so are all in the zdm
 * profile, since ZDM Proxy does that.
 */
#ifndef PROXY_ADMISSION_H
#define PROXY_ADMISSION_H

#include "proxy/gate.h"

struct client;
struct frame;
struct listener_settings;
struct timeout_item;

/* How long the first frame of a refused client is awaited, and of how many at a time. */
#define ADMISSION_LAST_WORDS_MS 2000
#define ADMISSION_LAST_WORDS 128

/* From the main thread: `n` has a socket, its listener and its peer. The socket is handed on or closed. */
void admission_accept(struct proxy *proxy, struct newcomer *n);
/* Closes a newcomer that never reached a worker. */
void admission_drop(struct proxy *proxy, struct newcomer *n);

/* ---- on the client's worker ---- */

/* Takes over the socket; false when it has ended the client. */
MUSTCHECK bool admission_begin(struct client *c, const struct newcomer *n);
/* The first frame of a client that is refused: it is answered, and the client ends. */
void admission_refuse(struct client *c, const struct frame *f);
/* Plugins do not want the client: client->hooks says why, as the answer to its first frame. May end it at once. */
void admission_deny(struct client *c);
/* The log-in has succeeded: takes a place of this user; false when the client was refused on this stream. */
MUSTCHECK bool admission_take_user(struct client *c, int16_t stream, const char *user);
/* READY, or the end of the handshake otherwise: another client may begin. Harmless when repeated. */
void admission_handshake_over(struct client *c);
/* The client serves nobody any more, but its socket may be open still. */
void admission_leave(struct client *c);
/* Its socket is closed. */
void admission_end(struct client *c);

/* For worker->refusal_timeouts. */
void admission_on_timeout(struct timeout_item *item);

#endif
