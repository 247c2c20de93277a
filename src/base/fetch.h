/*
 * fetch.h - one HTTPS GET without stopping the loop, by libcurl on a thread of
 * its own, which posts the answer back.
 *
 * Only the authorities given are trusted, the host name is always checked, and
 * nothing of the environment counts: no proxies, no .netrc, no system-wide
 * certificates. Redirects are not followed.
 */
#ifndef BASE_FETCH_H
#define BASE_FETCH_H

#include "base/loop.h"
#include "base/strview.h"

struct fetch;

/* Everything is copied; the PEM texts into memory of base/secret.h. */
struct fetch_options {
	const char *url;          /* https://... */
	struct strview ca;        /* PEM: who may have signed the server's certificate */
	struct strview cert, key; /* PEM: our certificate and its unencrypted key; NULL in both: none */
	uint32_t timeout_ms;      /* of the whole, the look-up of the name included */
	size_t max_body;          /* a longer answer is a failure */
};

/*
 * Called once on the loop's thread. `body`, NUL-terminated, is what came with a
 * status of 200 to 299; NULL means failure and `why` says which. Both are gone
 * when the function returns, and so is the fetch.
 */
typedef void fetch_done_fn(void *arg, const char *body, size_t len, const char *why);

/* Never fails: what cannot be begun is told to `done` in a later turn. */
struct fetch *fetch_start(struct loop *loop, const struct fetch_options *options, fetch_done_fn *done, void *arg);
/* `done` will not be called any more. Ends the thread, which takes no longer than a turn of it. */
void fetch_cancel(struct fetch *f);

#endif
