/* net_range.c - see net_range.h */
#include "base/net_range.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The first 96 bits of an IPv4-mapped IPv6 address. */
#define MAPPED_BITS 96

static bool bits_parse(const char *text, unsigned max, unsigned *out)
{
	unsigned value = 0;

	if (*text == '\0')
		return false;
	for (; *text; text++) {
		if (*text < '0' || *text > '9')
			return false;
		value = value * 10 + (unsigned)(*text - '0');
		if (value > max)
			return false;
	}
	*out = value;
	return true;
}

/* The mask of the byte that `bits` end in; 0xff for whole ones. */
static uint8_t mask_of(unsigned byte, unsigned bits)
{
	if (bits >= (byte + 1) * 8)
		return 0xff;
	return bits <= byte * 8 ? 0 : (uint8_t)(0xff << (8 - bits % 8));
}

static bool is_masked(const struct net_range *range)
{
	for (unsigned i = 0; i < range->len; i++) {
		if (range->bytes[i] & (uint8_t)~mask_of(i, range->bits))
			return false;
	}
	return true;
}

static bool fail(char *what, size_t what_size, const char *text, const char *why)
{
	snprintf(what, what_size, "\"%.64s\" %s", text, why);
	return false;
}

bool net_range_parse(const char *text, struct net_range *out, char *what, size_t what_size)
{
	const char *slash = strchr(text, '/');
	char host[NET_TEXT_MAX];
	struct net_address address;
	const size_t len = slash ? (size_t)(slash - text) : strlen(text);
	unsigned width, bits;

	if (len >= sizeof(host))
		return fail(what, what_size, text, "is not an IP address");
	memcpy(host, text, len);
	host[len] = '\0';
	if (!net_parse_ip(host, 0, &address))
		return fail(what, what_size, text, "is not an IP address or network");
	memset(out, 0, sizeof(*out));
	out->len = (uint8_t)net_to_bytes(&address, out->bytes);
	width = strchr(host, ':') ? 128 : 32;
	bits = width;
	if (slash && !bits_parse(slash + 1, width, &bits))
		return fail(what, what_size, text,
			    width == 32 ? "has no length of 0 to 32 behind its /"
					: "has no length of 0 to 128 behind its /");
	if (out->len == 4 && width == 128) {
		if (bits < MAPPED_BITS)
			return fail(what, what_size, text, "is neither an IPv4 nor an IPv6 network");
		bits -= MAPPED_BITS;
	}
	out->bits = (uint8_t)bits;
	if (!is_masked(out))
		return fail(what, what_size, text, "has bits set behind its length");
	return true;
}

const char *net_range_format(const struct net_range *range, char out[NET_RANGE_TEXT_MAX])
{
	struct net_address address;
	char ip[NET_TEXT_MAX];

	if (!net_from_bytes(range->bytes, range->len, 0, &address)) {
		*out = '\0';
		return out;
	}
	net_format_ip(&address, ip);
	if (range->bits == range->len * 8)
		snprintf(out, NET_RANGE_TEXT_MAX, "%s", ip);
	else
		snprintf(out, NET_RANGE_TEXT_MAX, "%s/%u", ip, range->bits);
	return out;
}

static bool has_bytes(const struct net_range *range, const uint8_t *bytes, unsigned len)
{
	const unsigned whole = range->bits / 8;

	if (len != range->len || memcmp(bytes, range->bytes, whole) != 0)
		return false;
	return whole == len || ((bytes[whole] ^ range->bytes[whole]) & mask_of(whole, range->bits)) == 0;
}

bool net_range_has(const struct net_range *range, const struct net_address *address)
{
	uint8_t bytes[16];

	return has_bytes(range, bytes, net_to_bytes(address, bytes));
}

bool net_range_list_has(const struct net_range_list *list, const struct net_address *address)
{
	uint8_t bytes[16];
	const unsigned len = net_to_bytes(address, bytes);

	for (unsigned i = 0; i < list->count; i++) {
		if (has_bytes(&list->items[i], bytes, len))
			return true;
	}
	return false;
}

void net_range_list_add(struct net_range_list *list, const struct net_range *range)
{
	list->items = xrealloc(list->items, (list->count + 1) * sizeof(*list->items));
	list->items[list->count++] = *range;
}

void net_range_list_free(struct net_range_list *list)
{
	free(list->items);
	*list = (struct net_range_list){ NULL, 0 };
}
