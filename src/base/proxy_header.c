/* proxy_header.c - see proxy_header.h */
#include "base/proxy_header.h"

#include <string.h>

static const uint8_t signature[12] = { 0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a };

/* The thirteenth byte of version 2: version in the high half, command in the low one. */
enum {
	V2_LOCAL = 0x20,
	V2_PROXY = 0x21,
};

/* The fourteenth: address family in the high half, transport protocol in the low one. */
enum {
	V2_UNSPEC = 0x00,
	V2_TCP4 = 0x11,
	V2_TCP6 = 0x21,
	V2_UNIX_STREAM = 0x31,
};

void proxy_header_init(struct proxy_header *h, uint8_t version)
{
	memset(h, 0, sizeof(*h));
	h->version = version;
}

static enum proxy_header_status bad(struct proxy_header *h, const char *why)
{
	h->why = why;
	return PROXY_HEADER_BAD;
}

/* ---- version 1 ---- */

/* Cuts the next word off a line whose words are separated by one blank each; NULL when there is none. */
static char *next_word(char **line)
{
	char *word = *line;
	char *end;

	if (!word || *word == '\0' || *word == ' ')
		return NULL;
	end = strchr(word, ' ');
	if (end)
		*end++ = '\0';
	*line = end;
	return word;
}

/* 0 to 65535 without signs or leading zeros. */
static bool port_parse(const char *word, uint16_t *port)
{
	uint32_t value = 0;

	if (!word || (word[0] == '0' && word[1] != '\0'))
		return false;
	for (; *word; word++) {
		if (*word < '0' || *word > '9')
			return false;
		value = value * 10 + (uint32_t)(*word - '0');
		if (value > UINT16_MAX)
			return false;
	}
	*port = (uint16_t)value;
	return true;
}

/* An address of the announced family; brackets, which net_parse_ip() would take, have no place here. */
static bool address_parse(const char *word, bool is_v6, struct net_address *out)
{
	return word && *word != '[' && (strchr(word, ':') != NULL) == is_v6 && net_parse_ip(word, 0, out);
}

static enum proxy_header_status v1_parse(struct proxy_header *h, char *line)
{
	const char *protocol, *source, *destination, *source_port, *destination_port;
	uint16_t from, to;
	bool is_v6;

	line += strlen("PROXY ");
	protocol = next_word(&line);
	if (!protocol)
		return bad(h, "its PROXY header names no protocol");
	/* Whatever follows has to be ignored (section 2.1). */
	if (strcmp(protocol, "UNKNOWN") == 0)
		return PROXY_HEADER_DONE;
	is_v6 = strcmp(protocol, "TCP6") == 0;
	if (!is_v6 && strcmp(protocol, "TCP4") != 0)
		return bad(h, "its PROXY header is of another protocol than TCP4, TCP6 and UNKNOWN");
	source = next_word(&line);
	destination = next_word(&line);
	source_port = next_word(&line);
	destination_port = next_word(&line);
	if (line || !address_parse(source, is_v6, &h->source) || !address_parse(destination, is_v6, &h->destination) ||
	    !port_parse(source_port, &from) || !port_parse(destination_port, &to))
		return bad(h, "the addresses in its PROXY header cannot be read");
	net_set_port(&h->source, from);
	net_set_port(&h->destination, to);
	h->has_addresses = true;
	return PROXY_HEADER_DONE;
}

/* Judges the start at once: a peer that sends something else must not be waited for. */
static bool has_v1_start(const struct proxy_header *h)
{
	static const char start[] = "PROXY ";

	return memcmp(h->buf, start, MIN(h->len, sizeof(start) - 1)) == 0;
}

static enum proxy_header_status v1_feed(struct proxy_header *h, const uint8_t *data, size_t len, size_t *used)
{
	const uint8_t *end = memchr(data, '\n', len);
	const size_t want = end ? (size_t)(end - data) + 1 : len;
	const size_t n = MIN(want, sizeof(h->buf) - h->len);

	memcpy(h->buf + h->len, data, n);
	h->len = (uint8_t)(h->len + n);
	*used = n;
	if (!has_v1_start(h))
		return bad(h, "it did not begin with a PROXY header of version 1");
	if (n < want || (!end && h->len == sizeof(h->buf)))
		return bad(h, "its PROXY header is longer than 107 bytes");
	if (!end)
		return PROXY_HEADER_MORE;
	if (h->len < 8 || h->buf[h->len - 2] != '\r' || memchr(h->buf, '\0', h->len))
		return bad(h, "its PROXY header is no line that ends with CR and LF");
	h->buf[h->len - 2] = '\0';
	return v1_parse(h, (char *)h->buf);
}

/* ---- version 2 ---- */

static enum proxy_header_status v2_parse(struct proxy_header *h)
{
	const uint8_t *p = h->buf + PROXY_HEADER_V2_FIXED;
	const unsigned kept = h->len - PROXY_HEADER_V2_FIXED;
	const uint8_t family = h->buf[13];
	const unsigned size = family == V2_TCP4 ? 4 : 16;

	/* A connection of the sender's own, a health check for example: the addresses do not count. */
	if (h->buf[12] == V2_LOCAL || family == V2_UNSPEC || family == V2_UNIX_STREAM)
		return PROXY_HEADER_DONE;
	if (kept < 2 * size + 4)
		return bad(h, "its PROXY header is too short for two addresses");
	h->has_addresses =
		net_from_bytes(p, size, (uint16_t)(p[2 * size] << 8 | p[2 * size + 1]), &h->source) &&
		net_from_bytes(p + size, size, (uint16_t)(p[2 * size + 2] << 8 | p[2 * size + 3]), &h->destination);
	Assert(h->has_addresses);
	return PROXY_HEADER_DONE;
}

/* The fixed part is complete; false when it is none that we take. */
static bool v2_check_fixed(struct proxy_header *h)
{
	const uint8_t family = h->buf[13];

	if (h->buf[12] != V2_LOCAL && h->buf[12] != V2_PROXY) {
		h->why = "its PROXY header has an unknown version or command";
		return false;
	}
	if (h->buf[12] == V2_PROXY && family != V2_UNSPEC && family != V2_TCP4 && family != V2_TCP6 &&
	    family != V2_UNIX_STREAM) {
		h->why = "its PROXY header is of another protocol than TCP";
		return false;
	}
	h->rest = (uint32_t)(h->buf[14] << 8 | h->buf[15]);
	return true;
}

/* Takes bytes until h->len is `until`; returns how many. */
static size_t keep(struct proxy_header *h, const uint8_t *data, size_t len, unsigned until)
{
	const size_t n = MIN(len, until - h->len);

	memcpy(h->buf + h->len, data, n);
	h->len = (uint8_t)(h->len + n);
	return n;
}

static enum proxy_header_status v2_feed(struct proxy_header *h, const uint8_t *data, size_t len, size_t *used)
{
	size_t n;

	*used = 0;
	if (h->len < PROXY_HEADER_V2_FIXED) {
		*used = keep(h, data, len, PROXY_HEADER_V2_FIXED);
		if (memcmp(h->buf, signature, MIN(h->len, sizeof(signature))) != 0)
			return bad(h, "it did not begin with a PROXY header of version 2");
		if (h->len < PROXY_HEADER_V2_FIXED)
			return PROXY_HEADER_MORE;
		if (!v2_check_fixed(h))
			return PROXY_HEADER_BAD;
	}
	n = MIN(len - *used, h->rest);
	/* What is behind the addresses (TLVs, the padding of others) is skipped. */
	keep(h, data + *used, n, PROXY_HEADER_V2_KEPT);
	*used += n;
	h->rest -= (uint32_t)n;
	return h->rest > 0 ? PROXY_HEADER_MORE : v2_parse(h);
}

enum proxy_header_status proxy_header_feed(struct proxy_header *h, const uint8_t *data, size_t len, size_t *used)
{
	return h->version == 1 ? v1_feed(h, data, len, used) : v2_feed(h, data, len, used);
}
