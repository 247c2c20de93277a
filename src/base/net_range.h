/* net_range.h - sets of addresses, written as addresses and networks (10.0.0.0/8, ::1, fd00::/8). */
#ifndef BASE_NET_RANGE_H
#define BASE_NET_RANGE_H

#include "base/net.h"

struct net_range {
	uint8_t bytes[16]; /* those behind `bits` are 0 */
	uint8_t len;       /* 4 or 16; an IPv4-mapped IPv6 network is an IPv4 one */
	uint8_t bits;
};

struct net_range_list {
	struct net_range *items;
	unsigned count;
};

/* "255.255.255.255/32" and the longest IPv6 form. */
#define NET_RANGE_TEXT_MAX (NET_TEXT_MAX + 4)

/*
 * An address or ADDRESS/BITS. False with the reason in `what`. An address with
 * bits behind its prefix is refused: it could be meant as one host or as its
 * whole network, and the difference decides who is let in.
 */
MUSTCHECK bool net_range_parse(const char *text, struct net_range *out, char *what, size_t what_size);
/* As net_range_parse() takes it; returns out. */
const char *net_range_format(const struct net_range *range, char out[NET_RANGE_TEXT_MAX]);

bool net_range_has(const struct net_range *range, const struct net_address *address);
/* In any of them; an empty list has nobody. The port does not matter. */
bool net_range_list_has(const struct net_range_list *list, const struct net_address *address);
void net_range_list_add(struct net_range_list *list, const struct net_range *range);
void net_range_list_free(struct net_range_list *list);

#endif
