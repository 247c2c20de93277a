/* net.h - addresses and sockets, without any event loop. */
#ifndef BASE_NET_H
#define BASE_NET_H

#include <netinet/in.h>
#include <sys/socket.h>

#include "base/common.h"

/* Of a node id, a UUID. */
#define NET_NODE_ID 16

/*
 * The union has what we use and no more: sockaddr_storage is five times as
 * large, and each connection to a node keeps an address.
 *
 * `node_id`, when it is not all zeros, says which of the nodes behind one
 * socket address is meant: a proxy that tells them apart by the TLS server name
 * (SNI) stands there. It is then the identity: the socket address may change
 * and the node stays the same.
 */
struct net_address {
	union {
		struct sockaddr_in6 v6; /* the largest comes first, so that all of it is what an initializer leaves out */
		struct sockaddr_in v4;
		struct sockaddr any;
	} at;
	socklen_t len;
	uint8_t node_id[NET_NODE_ID];
};

/* "127.0.0.1:9042", "[::1]:9042" */
#define NET_TEXT_MAX 64

/* An IPv4 or IPv6 literal (brackets around the latter allowed); false for a name. */
MUSTCHECK bool net_parse_ip(const char *text, uint16_t port, struct net_address *out);
/* 4 or 16 raw bytes (an [inet] without port). */
MUSTCHECK bool net_from_bytes(const uint8_t *bytes, unsigned len, uint16_t port, struct net_address *out);
/* The raw bytes of the address, 4 or 16; returns how many. An IPv4-mapped IPv6 address gives 4. */
unsigned net_to_bytes(const struct net_address *a, uint8_t out[16]);
bool net_is_any(const struct net_address *a); /* 0.0.0.0 or :: */
/* The same node: by node id where one of them has one, else by address and port. */
bool net_equal(const struct net_address *a, const struct net_address *b);
/* True when the node id counts. */
bool net_has_node_id(const struct net_address *a);
uint16_t net_port(const struct net_address *a);
void net_set_port(struct net_address *a, uint16_t port);
/* Writes address and port, or the node id where there is one; returns out. */
const char *net_format(const struct net_address *a, char out[NET_TEXT_MAX]);
/* Writes the address alone, without brackets and port. */
const char *net_format_ip(const struct net_address *a, char out[NET_TEXT_MAX]);
/* A UUID, "01234567-89ab-cdef-0123-456789abcdef" in small letters; returns out. */
const char *net_format_node_id(const uint8_t id[NET_NODE_ID], char out[NET_TEXT_MAX]);
/* The same back, in letters of any case; false for anything else, and for the one of zeros, which no node has. */
MUSTCHECK bool net_parse_node_id(const char *text, uint8_t out[NET_NODE_ID]);

/*
 * A listening, non-blocking, close-on-exec socket. `address` is a literal or a
 * name (IPv4 preferred); empty or "*" binds all. -1 on failure with the reason
 * in `error`. SO_REUSEADDR is set, SO_REUSEPORT is not. *bound is what it is
 * bound to (port 0 becomes the chosen one); may be NULL.
 */
int net_listen(const char *address, uint16_t port, struct net_address *bound, char *error, size_t error_size);

/* Starts a non-blocking connect. The socket, or -1 with errno set; *in_progress when the result comes later. */
int net_connect_start(const struct net_address *to, bool *in_progress);

/* Non-blocking, close-on-exec, TCP_NODELAY, keepalive (15 s idle, 15 s apart, 4 times) and TCP_USER_TIMEOUT
 * (75 s, the sum of these) on an accepted or connecting socket. Errors are not fatal and ignored. */
void net_prepare_socket(int fd);

#endif
