/*
 * gzip.h - pages for who accepts them compressed: whether a request does (RFC
 * 9110, section 12.5.3), and the compression (RFC 1952) by ISA-L.
 */
#ifndef CONTROL_GZIP_H
#define CONTROL_GZIP_H

#include "base/common.h"

struct evbuffer;

/* The value of Accept-Encoding names gzip and does not give it the weight 0. NULL: there is none. */
bool gzip_is_accepted(const char *accept_encoding);

/* A compressed copy of what is in `plain`, to be freed; NULL without memory for it. */
struct evbuffer *gzip_compress(struct evbuffer *plain);

#endif
