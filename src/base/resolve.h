/*
 * resolve.h - turns a host name into addresses without stopping the loop.
 *
 * A short-lived thread asks getaddrinfo(), so everything the system is set up
 * with counts (/etc/hosts, nsswitch.conf, search domains, mDNS ...), and posts
 * the answer back to the loop.
 */
#ifndef BASE_RESOLVE_H
#define BASE_RESOLVE_H

#include "base/loop.h"
#include "base/net.h"

#define RESOLVE_MAX_ADDRESSES 32

struct resolve;

/*
 * Called once on the loop's thread. `count` 0 means failure and `why` says
 * which. The addresses are gone when the function returns, and so is the
 * resolve.
 */
typedef void resolve_done_fn(void *arg, const struct net_address *addresses, unsigned count, const char *why);

/* Never fails: when no thread can be had, `done` says so in a later turn. The addresses get `port`. */
struct resolve *resolve_start(struct loop *loop, const char *name, uint16_t port, resolve_done_fn *done, void *arg);
/* `done` will not be called any more; the loop may be freed afterwards, even while the thread still waits for an answer. */
void resolve_cancel(struct resolve *r);

#endif
