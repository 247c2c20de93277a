/*
 * driver.h - what drivers call themselves: DRIVER_NAME and DRIVER_VERSION of
 * their STARTUP. All clients of a worker with the same pair share one object,
 * so that a thousand idle ones of one application keep it once.
 *
 * Belongs to its worker's thread.
 */
#ifndef PROXY_DRIVER_H
#define PROXY_DRIVER_H

#include "base/common.h"
#include "base/strview.h"

/* What is longer is cut there. */
#define DRIVER_TEXT_MAX 64
#define DRIVER_SLOTS 64

struct driver;

struct drivers {
	struct driver *slots[DRIVER_SLOTS];
};

/* One more hold on the pair; a driver says what it likes, so what is not printable becomes '?'. NULL for two empty texts. */
struct driver *driver_get(struct drivers *drivers, struct strview name, struct strview version);
/* Harmless for NULL. */
void driver_put(struct drivers *drivers, struct driver *d);

/* Empty for NULL. They end with a zero byte, and live as long as the hold. */
struct strview driver_name(const struct driver *d);
struct strview driver_version(const struct driver *d);

#endif
