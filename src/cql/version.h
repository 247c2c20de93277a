/*
 * version.h - the versions of the native protocol that we speak, and what sets
 * them apart: Cassandra's 2 to 5, and the two that DataStax Enterprise has of
 * its own, 0x41 ("DSE v1") and 0x42 ("DSE v2").
 *
 * DSE's versions are v4 with parts of v5: both have the flags of a query as an
 * [int] and pages that the node sends without being asked for each; DSE v2 has
 * the keyspace in a request and the id of the result columns, too. Neither has
 * segments. So "larger than" says nothing; version_has() does.
 */
#ifndef CQL_VERSION_H
#define CQL_VERSION_H

#include "base/common.h"

#define VERSION_DSE1 0x41
#define VERSION_DSE2 0x42

enum version_trait {
	VERSION_SERVED = 1 << 0,
	/* v2: a header of 8 bytes with a stream id of one; no [int] for lengths inside of collections. */
	VERSION_SHORT_HEAD = 1 << 1,
	VERSION_SHORT_COLLECTIONS = 1 << 2,
	/* v3 and up */
	VERSION_BATCH_FLAGS = 1 << 3,
	VERSION_TIMESTAMP = 1 << 4,
	VERSION_VALUE_NAMES = 1 << 5,
	/* v4 and up */
	VERSION_CUSTOM_PAYLOAD = 1 << 6,
	VERSION_UNSET = 1 << 7,      /* a [value] of length -2 */
	VERSION_PK_INDEXES = 1 << 8, /* in PREPARED */
	/* v5 and DSE's */
	VERSION_INT_FLAGS = 1 << 9, /* of QUERY, EXECUTE and BATCH */
	/* v5 and DSE v2 */
	VERSION_KEYSPACE = 1 << 10,    /* in QUERY, EXECUTE, BATCH; in PREPARE with flags in front */
	VERSION_METADATA_ID = 1 << 11, /* of result columns, in PREPARED and EXECUTE */
	/* v5 */
	VERSION_SEGMENTS = 1 << 12,
	VERSION_NOW_IN_SECONDS = 1 << 13,
	VERSION_CONTENTIONS = 1 << 14, /* in a WRITE_TIMEOUT of a conditional write */
	/* DSE's */
	VERSION_CONTINUOUS_PAGING = 1 << 15, /* and REVISE */
	VERSION_NEXT_PAGES = 1 << 16,        /* DSE v2: the driver says how many pages it is ready for */
};

/* By version, without the direction bit; 0 for what we do not speak. */
extern const uint32_t version_traits[128];

/* Whether the version (as in a header, the direction bit does not matter) has one of these traits. */
static inline bool version_has(uint8_t version, uint32_t traits)
{
	return (version_traits[version & 0x7f] & traits) != 0;
}

static inline bool version_is_served(uint8_t version)
{
	return version_has(version, VERSION_SERVED);
}

/*
 * The next lower version that we speak, in the order in which versions are
 * tried: DSE v2, DSE v1, 5, 4, 3, 2. 0 when there is none. Any number will do.
 */
uint8_t version_below(uint8_t version);

/* "v4", "DSE v2", "v7": for people. */
const char *version_name(uint8_t version);
/* "4/v4", "66/dse-v2": as nodes list it under PROTOCOL_VERSIONS in SUPPORTED. Only for versions that we speak. */
const char *version_offer(uint8_t version);

/*
 * What one entry of such a list says: its number, 0 for a version that we do
 * not speak and for a beta ("5/v5-beta" of Cassandra 3.11 is not the v5 that
 * 4.0 brought).
 */
uint8_t version_from_offer(const char *text, size_t len);

/* ---- sets of versions: one bit each ---- */

static inline uint32_t version_bit(uint8_t version)
{
	return version >= VERSION_DSE1 ? 1u << (version - VERSION_DSE1 + 8) : 1u << (version & 7);
}

#define VERSION_SET_ALL                                                                                                \
	(version_bit(2) | version_bit(3) | version_bit(4) | version_bit(5) | version_bit(VERSION_DSE1) |               \
	 version_bit(VERSION_DSE2))

static inline bool version_in(uint32_t set, uint8_t version)
{
	return version_is_served(version) && (set & version_bit(version));
}

/* The versions of the set that are not above this one. */
uint32_t version_set_up_to(uint32_t set, uint8_t version);
/* The highest version of the set that is below this one; 0 when there is none. */
uint8_t version_set_below(uint32_t set, uint8_t version);
/* The highest and the lowest version of a set, 0 when it is empty. */
uint8_t version_set_highest(uint32_t set);
uint8_t version_set_lowest(uint32_t set);

#endif
