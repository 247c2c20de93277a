/* arguments.c - see arguments.h */
#include "arguments.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

uint64_t arguments_number(const char *name, const char *text, uint64_t min, uint64_t max)
{
	char *end;
	unsigned long long n;

	errno = 0;
	n = strtoull(text, &end, 10);
	if (errno || end == text || *end || n < min || n > max)
		die("--%s %s: a number from %llu to %llu is needed", name, text, (unsigned long long)min,
		    (unsigned long long)max);
	return n;
}

/* Cuts "ADDRESS:PORT"; the address is copied. Port 0, where to listen, is any that is free. */
static char *split_address(const char *text, uint16_t min_port, uint16_t *port)
{
	const char *colon = strrchr(text, ':');

	if (!colon)
		die("%s: ADDRESS:PORT is needed", text);
	*port = (uint16_t)arguments_number("port", colon + 1, min_port, 65535);
	return xstrndup(text, (size_t)(colon - text));
}

struct net_address arguments_proxy(const char *text)
{
	struct net_address proxy;
	uint16_t port;
	char *address = split_address(text, 1, &port);

	if (!net_parse_ip(address, port, &proxy))
		die("--proxy %s: an IP address is needed", address);
	free(address);
	return proxy;
}

unsigned arguments_proxies(const char *text, struct net_address out[ARGUMENTS_PROXIES])
{
	char *copy = xstrdup(text), *rest = NULL;
	unsigned n = 0;

	for (char *one = strtok_r(copy, ",", &rest); one; one = strtok_r(NULL, ",", &rest)) {
		if (n == ARGUMENTS_PROXIES)
			die("--proxy %s: more than %d", text, ARGUMENTS_PROXIES);
		out[n++] = arguments_proxy(one);
	}
	if (n == 0)
		die("--proxy %s: ADDRESS:PORT is needed", text);
	free(copy);
	return n;
}

void arguments_listen(struct fake_node *node, const char *text)
{
	uint16_t port;
	char *address = split_address(text, 0, &port);

	fake_node_listen(node, address, port);
	free(address);
}
