/*
 * proxy_header.h - the PROXY protocol's header (HAProxy, "The PROXY protocol",
 * versions 1 and 2): what a load balancer sends first on a connection to say
 * who is at its other end. A parser only; it is fed as bytes arrive and takes
 * not one byte more than the header has, since TLS may follow at once.
 *
 *   v1   "PROXY TCP4 192.0.2.1 198.51.100.7 51234 9042\r\n", at most 107 bytes
 *   v2   signature (12) | version, command | family, protocol | length (2) | addresses | TLVs
 */
#ifndef BASE_PROXY_HEADER_H
#define BASE_PROXY_HEADER_H

#include "base/net.h"

/* Version 1, section 2.1: the longest line, its end included. */
#define PROXY_HEADER_V1_MAX 107
/* Version 2, section 2.2: what stands before the addresses, and the longest of those that are of use here (two IPv6). */
#define PROXY_HEADER_V2_FIXED 16
#define PROXY_HEADER_V2_KEPT (PROXY_HEADER_V2_FIXED + 36)

enum proxy_header_status {
	PROXY_HEADER_MORE, /* all of it was taken, and more has to come */
	PROXY_HEADER_DONE,
	PROXY_HEADER_BAD, /* `why` says what is wrong */
};

struct proxy_header {
	uint8_t version; /* 1 or 2: the one that is expected */
	uint8_t len;     /* bytes kept in buf */
	uint32_t rest;   /* v2: bytes behind the fixed part that have not come yet */
	uint8_t buf[PROXY_HEADER_V1_MAX];
	const char *why;
	/*
	 * After PROXY_HEADER_DONE: the addresses, unless the header gives none (v1
	 * UNKNOWN; v2 LOCAL, UNSPEC, UNIX): then those of the socket are to be used.
	 */
	bool has_addresses;
	struct net_address source;
	struct net_address destination;
};

void proxy_header_init(struct proxy_header *h, uint8_t version);
/* `used` (at most len) bytes of `data` belong to the header; with PROXY_HEADER_MORE all of them do. */
enum proxy_header_status proxy_header_feed(struct proxy_header *h, const uint8_t *data, size_t len, size_t *used);

#endif
