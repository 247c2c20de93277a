/*
 * fuzz_proxy_header.c - the header of a load balancer: the input is fed to the
 * parser of either version at once and byte by byte. Both must come to the same
 * end, at the same place, with the same addresses.
 */
#include "base/proxy_header.h"
#include "fuzz.h"

/* Where it ended is in *at. */
static enum proxy_header_status feed_all(struct proxy_header *h, const uint8_t *data, size_t size, size_t step,
					 size_t *at)
{
	enum proxy_header_status status = PROXY_HEADER_MORE;

	*at = 0;
	while (status == PROXY_HEADER_MORE && *at < size) {
		const size_t len = size - *at < step ? size - *at : step;
		size_t used = 0;

		status = proxy_header_feed(h, data + *at, len, &used);
		CHECK(used <= len);
		CHECK(status != PROXY_HEADER_MORE || used == len);
		CHECK((status == PROXY_HEADER_BAD) == (h->why != NULL));
		*at += used;
	}
	return status;
}

static void check_same(const struct net_address *a, const struct net_address *b)
{
	char first[NET_TEXT_MAX], second[NET_TEXT_MAX];

	CHECK(strcmp(net_format(a, first), net_format(b, second)) == 0);
}

static void try_version(const uint8_t *data, size_t size, uint8_t version)
{
	struct proxy_header whole, pieces;
	size_t whole_at, pieces_at;
	enum proxy_header_status status;

	proxy_header_init(&whole, version);
	proxy_header_init(&pieces, version);
	status = feed_all(&whole, data, size, size, &whole_at);
	CHECK(feed_all(&pieces, data, size, 1, &pieces_at) == status);
	if (status != PROXY_HEADER_DONE)
		return;
	CHECK(whole_at == pieces_at);
	CHECK(whole.has_addresses == pieces.has_addresses);
	if (!whole.has_addresses)
		return;
	check_same(&whole.source, &pieces.source);
	check_same(&whole.destination, &pieces.destination);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint8_t signature[] = { 0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a };
	uint8_t *behind = malloc(size + sizeof(signature));

	try_version(data, size, 1);
	try_version(data, size, 2);
	/* Inputs that nobody wrote for this would hardly ever get beyond the start. */
	memcpy(behind, signature, sizeof(signature));
	memcpy(behind + sizeof(signature), data, size);
	try_version(behind, size + sizeof(signature), 2);
	memcpy(behind, "PROXY TCP4 ", 11);
	memcpy(behind + 11, data, size);
	try_version(behind, size + 11, 1);
	free(behind);
	return 0;
}
