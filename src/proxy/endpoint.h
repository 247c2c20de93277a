/*
 * endpoint.h - where a control connection may be opened, in the order of one
 * round: the nodes known from the last snapshot that requests go to, those of
 * all other datacenters, then the contact points, each part once round from a
 * random start. A node that has just been lost comes last.
 *
 * A contact point that is a name stands in the list unresolved; when its turn
 * comes the addresses found for it are put behind it.
 */
#ifndef PROXY_ENDPOINT_H
#define PROXY_ENDPOINT_H

#include "proxy/cluster.h"

#define ENDPOINT_TEXT_MAX 352 /* a DNS name (253) and an address */

struct endpoint {
	char *host;       /* the contact point's name; NULL for a literal or a known node */
	bool is_resolved; /* false: `address` is not set yet */
	struct net_address address;
};

struct endpoint_list {
	struct endpoint *items;
	unsigned count;
	unsigned next;
	uint16_t port;
	bool is_distinct; /* an address that is on the list is not added again */
};

/*
 * Starts a round. `known` may be NULL. Without host assignment only the contact
 * points count: the nodes' own addresses may be out of reach then.
 * `is_distinct` is for connections whose certificate is not checked against
 * the name they were made by.
 */
void endpoint_list_fill(struct endpoint_list *l, const struct cluster_settings *settings, const struct topology *known,
			bool is_distinct);
/* The address, if it is on the list, is tried when all others have been. */
void endpoint_list_put_off(struct endpoint_list *l, const struct net_address *address);
void endpoint_list_clear(struct endpoint_list *l);
/* Puts an address at the end; for rounds that are filled otherwise. */
void endpoint_list_add(struct endpoint_list *l, const struct net_address *address);

/* The next one, which becomes the current; NULL at the end of the round. Valid until the list changes. */
struct endpoint *endpoint_list_take(struct endpoint_list *l);
/* Puts the addresses of the current one, a name, behind it. */
void endpoint_list_insert(struct endpoint_list *l, const struct net_address *addresses, unsigned count);
/* NULL before the first was taken. */
struct endpoint *endpoint_list_current(const struct endpoint_list *l);
/* The one that is next, NULL at the end. */
const struct endpoint *endpoint_list_peek(const struct endpoint_list *l);

/* "127.0.0.1:9042", "node1.example (127.0.0.1:9042)", and before it is resolved "node1.example:9042". */
const char *endpoint_format(const struct endpoint *e, uint16_t port, char out[ENDPOINT_TEXT_MAX]);

#endif
