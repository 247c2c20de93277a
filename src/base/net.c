/* net.c - addresses and sockets, without any event loop. */
#include "base/net.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define KEEPALIVE_S 15
#define KEEPALIVE_COUNT 4
/* The first probe, then as many as may fail: a peer that is gone is noticed as late with output waiting as without. */
#define USER_TIMEOUT_MS (1000 * (KEEPALIVE_S + KEEPALIVE_S * KEEPALIVE_COUNT))

bool net_from_bytes(const uint8_t *bytes, unsigned len, uint16_t port, struct net_address *out)
{
	memset(out, 0, sizeof(*out));
	if (len == 4) {
		out->at.any.sa_family = AF_INET;
		out->len = sizeof(struct sockaddr_in);
		memcpy(&out->at.v4.sin_addr, bytes, 4);
	} else if (len == 16) {
		out->at.any.sa_family = AF_INET6;
		out->len = sizeof(struct sockaddr_in6);
		memcpy(&out->at.v6.sin6_addr, bytes, 16);
	} else {
		return false;
	}
	net_set_port(out, port);
	return true;
}

bool net_parse_ip(const char *text, uint16_t port, struct net_address *out)
{
	char bare[INET6_ADDRSTRLEN];
	size_t len = strlen(text);
	uint8_t bytes[16];
	bool in_brackets = len >= 2 && text[0] == '[' && text[len - 1] == ']';

	if (in_brackets) {
		text++;
		len -= 2;
	}
	if (len >= sizeof(bare))
		return false;
	memcpy(bare, text, len);
	bare[len] = '\0';
	/* inet_pton() takes four decimal numbers only, none of the short and octal forms of inet_aton(). */
	if (!in_brackets && inet_pton(AF_INET, bare, bytes) == 1)
		return net_from_bytes(bytes, 4, port, out);
	if (inet_pton(AF_INET6, bare, bytes) == 1)
		return net_from_bytes(bytes, 16, port, out);
	return false;
}

unsigned net_to_bytes(const struct net_address *a, uint8_t out[16])
{
	const struct in6_addr *v6;

	if (a->at.any.sa_family == AF_INET) {
		memcpy(out, &a->at.v4.sin_addr, 4);
		return 4;
	}
	v6 = &a->at.v6.sin6_addr;
	if (IN6_IS_ADDR_V4MAPPED(v6)) {
		memcpy(out, v6->s6_addr + 12, 4);
		return 4;
	}
	memcpy(out, v6->s6_addr, 16);
	return 16;
}

bool net_is_any(const struct net_address *a)
{
	static const uint8_t zero[16];
	uint8_t bytes[16];
	unsigned len = net_to_bytes(a, bytes);

	return memcmp(bytes, zero, len) == 0;
}

bool net_has_node_id(const struct net_address *a)
{
	static const uint8_t none[NET_NODE_ID];

	return memcmp(a->node_id, none, sizeof(none)) != 0;
}

bool net_equal(const struct net_address *a, const struct net_address *b)
{
	uint8_t left[16], right[16];
	unsigned len;

	if (net_has_node_id(a) || net_has_node_id(b))
		return memcmp(a->node_id, b->node_id, sizeof(a->node_id)) == 0;
	len = net_to_bytes(a, left);
	return net_port(a) == net_port(b) && net_to_bytes(b, right) == len && memcmp(left, right, len) == 0;
}

uint16_t net_port(const struct net_address *a)
{
	return ntohs(a->at.any.sa_family == AF_INET ? a->at.v4.sin_port : a->at.v6.sin6_port);
}

void net_set_port(struct net_address *a, uint16_t port)
{
	if (a->at.any.sa_family == AF_INET)
		a->at.v4.sin_port = htons(port);
	else
		a->at.v6.sin6_port = htons(port);
}

const char *net_format_ip(const struct net_address *a, char out[NET_TEXT_MAX])
{
	uint8_t bytes[16];

	/* INET6_ADDRSTRLEN is 46, so that inet_ntop() has no reason to fail. */
	inet_ntop(net_to_bytes(a, bytes) == 4 ? AF_INET : AF_INET6, bytes, out, NET_TEXT_MAX);
	return out;
}

const char *net_format(const struct net_address *a, char out[NET_TEXT_MAX])
{
	char ip[NET_TEXT_MAX];
	bool is_v6;

	if (net_has_node_id(a))
		return net_format_node_id(a->node_id, out);
	net_format_ip(a, ip);
	is_v6 = strchr(ip, ':') != NULL;
	snprintf(out, NET_TEXT_MAX, "%s%.45s%s:%u", is_v6 ? "[" : "", ip, is_v6 ? "]" : "", net_port(a));
	return out;
}

/* A hyphen stands before the bytes with these numbers (RFC 4122, section 3). */
static bool has_hyphen(unsigned byte)
{
	return byte == 4 || byte == 6 || byte == 8 || byte == 10;
}

const char *net_format_node_id(const uint8_t id[NET_NODE_ID], char out[NET_TEXT_MAX])
{
	static const char digits[] = "0123456789abcdef";
	char *p = out;

	for (unsigned i = 0; i < NET_NODE_ID; i++) {
		if (has_hyphen(i))
			*p++ = '-';
		*p++ = digits[id[i] >> 4];
		*p++ = digits[id[i] & 15];
	}
	*p = '\0';
	return out;
}

/* -1 for what is no hexadecimal digit, the end of a text among it. */
static int digit_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

bool net_parse_node_id(const char *text, uint8_t out[NET_NODE_ID])
{
	uint8_t any = 0;

	for (unsigned i = 0; i < NET_NODE_ID; i++, text += 2) {
		int high, low;

		if (has_hyphen(i) && *text++ != '-')
			return false;
		high = digit_value(text[0]);
		low = high < 0 ? -1 : digit_value(text[1]);
		if (low < 0)
			return false;
		out[i] = (uint8_t)(high << 4 | low);
		any |= out[i];
	}
	return *text == '\0' && any != 0;
}

void net_prepare_socket(int fd)
{
	static const struct {
		int level, name, value;
	} options[] = {
		{ IPPROTO_TCP, TCP_NODELAY, 1 },
		{ SOL_SOCKET, SO_KEEPALIVE, 1 },
		{ IPPROTO_TCP, TCP_KEEPIDLE, KEEPALIVE_S },
		{ IPPROTO_TCP, TCP_KEEPINTVL, KEEPALIVE_S },
		{ IPPROTO_TCP, TCP_KEEPCNT, KEEPALIVE_COUNT },
		{ IPPROTO_TCP, TCP_USER_TIMEOUT, USER_TIMEOUT_MS },
	};
	int flags = fcntl(fd, F_GETFL);

	if (flags >= 0)
		(void)fcntl(fd, F_SETFL, flags | O_NONBLOCK);
	(void)fcntl(fd, F_SETFD, FD_CLOEXEC);
	for (size_t i = 0; i < ARRAY_LEN(options); i++)
		(void)setsockopt(fd, options[i].level, options[i].name, &options[i].value, sizeof(options[i].value));
}

int net_connect_start(const struct net_address *to, bool *in_progress)
{
	int fd = socket(to->at.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int saved;

	*in_progress = false;
	if (fd < 0)
		return -1;
	net_prepare_socket(fd);
	if (connect(fd, &to->at.any, to->len) == 0)
		return fd;
	if (errno == EINPROGRESS || errno == EINTR) { /* interrupted or not, the kernel goes on */
		*in_progress = true;
		return fd;
	}
	saved = errno;
	close(fd);
	errno = saved;
	return -1;
}

/* The first IPv4 address of a name, or its first one. Only one is used: a listener never moves to another by itself. */
static bool resolve(const char *name, uint16_t port, struct net_address *out, char *error, size_t error_size)
{
	struct addrinfo hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE };
	struct addrinfo *list, *chosen;
	int rc = getaddrinfo(name, NULL, &hints, &list);

	if (rc != 0) {
		snprintf(error, error_size, "cannot resolve '%s': %s", name,
			 rc == EAI_SYSTEM ? strerror(errno) : gai_strerror(rc));
		return false;
	}
	chosen = list;
	for (struct addrinfo *ai = list; ai; ai = ai->ai_next) {
		if (ai->ai_family == AF_INET) {
			chosen = ai;
			break;
		}
	}
	memset(out, 0, sizeof(*out));
	memcpy(&out->at, chosen->ai_addr, chosen->ai_addrlen);
	out->len = chosen->ai_addrlen;
	net_set_port(out, port);
	freeaddrinfo(list);
	return true;
}

/* -1 with errno set. */
static int listen_on(const struct net_address *a)
{
	int fd = socket(a->at.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int on = 1, off = 0, saved;

	if (fd < 0)
		return -1;
	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	/* [::] takes IPv4 clients too, whatever net.ipv6.bindv6only says. */
	if (a->at.any.sa_family == AF_INET6 && net_is_any(a))
		(void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
	if (bind(fd, &a->at.any, a->len) == 0 && listen(fd, SOMAXCONN) == 0)
		return fd;
	saved = errno;
	close(fd);
	errno = saved;
	return -1;
}

int net_listen(const char *address, uint16_t port, struct net_address *bound, char *error, size_t error_size)
{
	bool all = address[0] == '\0' || strcmp(address, "*") == 0;
	struct net_address a;
	char text[NET_TEXT_MAX];
	int fd;

	if (!net_parse_ip(all ? "::" : address, port, &a) && !resolve(address, port, &a, error, error_size))
		return -1;
	fd = listen_on(&a);
	/* A host without IPv6 has no [::], but all of its addresses may still be meant. */
	if (fd < 0 && all && (errno == EAFNOSUPPORT || errno == EADDRNOTAVAIL) && net_parse_ip("0.0.0.0", port, &a))
		fd = listen_on(&a);
	if (fd < 0) {
		snprintf(error, error_size, "cannot listen on %s: %s", net_format(&a, text), strerror(errno));
		return -1;
	}
	if (bound) {
		memset(bound, 0, sizeof(*bound));
		bound->len = sizeof(bound->at);
		if (getsockname(fd, &bound->at.any, &bound->len) != 0)
			*bound = a;
	}
	return fd;
}
