/*
 * names.h - texts that stay until the process ends, each once: names of what a
 * new configuration may take away (rules, hooks, tags) while somebody still says
 * who has decided about a request.
 */
#ifndef BASE_NAMES_H
#define BASE_NAMES_H

#include "base/common.h"

/* Beyond these all others are one and the same, "(too many names)": who reloads for ever must not fill the memory. */
#define NAMES_MAX 65536

/* A copy that lasts, the same one for equal texts; NULL for NULL. From any thread; takes a lock. */
const char *names_keep(const char *text);

#endif
