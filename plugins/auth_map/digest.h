/*
 * digest.h - HMAC-SHA256 with a random key of this process: what is remembered
 * of a password by it says nothing to who has not the key as well. Any thread.
 */
#ifndef AUTH_MAP_DIGEST_H
#define AUTH_MAP_DIGEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DIGEST_LEN 32

struct digest_part {
	const void *data;
	size_t length;
};

/* Makes the key, once. False: there are no random numbers, or no HMAC-SHA256. */
bool digest_start(void);

/* Lengths count: "a", "bc" and "ab", "c" differ. */
void digest_make(uint8_t digest[DIGEST_LEN], const struct digest_part *parts, unsigned count);
/* In a time that says nothing about where they differ. */
bool digest_is_equal(const uint8_t a[DIGEST_LEN], const uint8_t b[DIGEST_LEN]);

#endif
