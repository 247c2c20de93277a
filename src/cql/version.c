/* version.c - see version.h */
#include "cql/version.h"

#include <string.h>

#define SINCE_V3 (VERSION_SERVED | VERSION_BATCH_FLAGS | VERSION_TIMESTAMP | VERSION_VALUE_NAMES)
#define SINCE_V4 (SINCE_V3 | VERSION_CUSTOM_PAYLOAD | VERSION_UNSET | VERSION_PK_INDEXES)

/*
 * Sources: native protocol v2 to v5, their sections "Changes from ..."; for the
 * numbers of DSE and what each of its versions has, DataStax's own drivers.
 */
const uint32_t version_traits[128] = {
	[2] = VERSION_SERVED | VERSION_SHORT_HEAD | VERSION_SHORT_COLLECTIONS,
	[3] = SINCE_V3,
	[4] = SINCE_V4,
	[5] = SINCE_V4 | VERSION_INT_FLAGS | VERSION_KEYSPACE | VERSION_METADATA_ID | VERSION_SEGMENTS |
	      VERSION_NOW_IN_SECONDS | VERSION_CONTENTIONS,
	[VERSION_DSE1] = SINCE_V4 | VERSION_INT_FLAGS | VERSION_CONTINUOUS_PAGING,
	[VERSION_DSE2] = SINCE_V4 | VERSION_INT_FLAGS | VERSION_KEYSPACE | VERSION_METADATA_ID |
			 VERSION_CONTINUOUS_PAGING | VERSION_NEXT_PAGES,
};

/* All that we speak, from the highest on. */
static const struct {
	uint8_t version;
	const char *name;
	const char *offer;
} versions[] = {
	{ VERSION_DSE2, "DSE v2", "66/dse-v2" },
	{ VERSION_DSE1, "DSE v1", "65/dse-v1" },
	{ 5, "v5", "5/v5" },
	{ 4, "v4", "4/v4" },
	{ 3, "v3", "3/v3" },
	{ 2, "v2", "2/v2" },
};

uint8_t version_below(uint8_t version)
{
	return version_set_below(VERSION_SET_ALL, version);
}

const char *version_name(uint8_t version)
{
	static const char *const others[] = { "v0", "v1", "v2", "v3", "v4", "v5", "v6", "v7" };

	for (unsigned i = 0; i < ARRAY_LEN(versions); i++) {
		if (versions[i].version == version)
			return versions[i].name;
	}
	return version < ARRAY_LEN(others) ? others[version] : "an unknown version";
}

const char *version_offer(uint8_t version)
{
	for (unsigned i = 0; i < ARRAY_LEN(versions); i++) {
		if (versions[i].version == version)
			return versions[i].offer;
	}
	return "";
}

uint8_t version_from_offer(const char *text, size_t len)
{
	static const char beta[] = "beta";
	const size_t beta_len = sizeof(beta) - 1;
	unsigned number = 0;
	size_t i = 0;

	if (len >= beta_len && memcmp(text + len - beta_len, beta, beta_len) == 0)
		return 0;
	for (; i < len && text[i] >= '0' && text[i] <= '9' && number < 128; i++)
		number = number * 10 + (unsigned)(text[i] - '0');
	if (i == 0 || (i < len && text[i] != '/') || number >= 128)
		return 0;
	return version_is_served((uint8_t)number) ? (uint8_t)number : 0;
}

/* ---- sets ---- */

uint32_t version_set_up_to(uint32_t set, uint8_t version)
{
	uint32_t out = 0;

	for (unsigned i = 0; i < ARRAY_LEN(versions); i++) {
		if (versions[i].version <= version)
			out |= set & version_bit(versions[i].version);
	}
	return out;
}

uint8_t version_set_below(uint32_t set, uint8_t version)
{
	for (unsigned i = 0; i < ARRAY_LEN(versions); i++) {
		if (versions[i].version < version && version_in(set, versions[i].version))
			return versions[i].version;
	}
	return 0;
}

uint8_t version_set_highest(uint32_t set)
{
	return version_set_below(set, UINT8_MAX);
}

uint8_t version_set_lowest(uint32_t set)
{
	for (unsigned i = ARRAY_LEN(versions); i > 0; i--) {
		if (version_in(set, versions[i - 1].version))
			return versions[i - 1].version;
	}
	return 0;
}
