/* value.c - see value.h */
#include "value.h"

#include <string.h>

#include "cql/reader.h"

/* Not a multiple of the pattern's period, so that a part in the wrong place is seen. */
#define LOOK_EVERY 4093
/* Of so many bytes the second half is one letter. */
#define PERIOD 64

/* Eight digits of a number of 32 bits: a nibble in each byte, then those above 9 are moved on to the letters. */
static void digits_write(uint8_t *out, uint32_t number)
{
	const uint64_t ones = 0x0101010101010101u;
	uint64_t x = number;

	x = (x << 16 | x) & 0x0000ffff0000ffffu;
	x = (x << 8 | x) & 0x00ff00ff00ff00ffu;
	x = (x << 4 | x) & 0x0f0f0f0f0f0f0f0fu;
	x += '0' * ones + ((x + 6 * ones) >> 4 & ones) * ('a' - '9' - 1);
	put_u64(out, x);
}

void key_write(uint8_t key[KEY_LEN], uint64_t number)
{
	digits_write(key, (uint32_t)(number >> 32));
	digits_write(key + KEY_LEN / 2, (uint32_t)number);
}

const uint8_t *value_pattern(void)
{
	static uint8_t pattern[VALUE_MAX];
	static bool is_made;
	uint64_t x = 88172645463325252u;

	if (likely(is_made))
		return pattern;
	for (uint32_t i = 0; i < VALUE_MAX; i++) {
		/* Marsaglia's xorshift. */
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		pattern[i] = i % PERIOD < PERIOD / 2 ? (uint8_t)('a' + (x >> 32) % 26)
						     : (uint8_t)('a' + i / PERIOD % 26);
	}
	is_made = true;
	return pattern;
}

void value_write(uint8_t *out, uint32_t len, const uint8_t *key, char mark)
{
	memcpy(out, key, KEY_LEN);
	out[KEY_LEN] = (uint8_t)mark;
	memcpy(out + VALUE_HEAD, value_pattern(), len - VALUE_HEAD);
}

bool value_begins(const uint8_t *value, uint32_t len, const uint8_t *key, char mark)
{
	return len >= VALUE_MIN && memcmp(value, key, KEY_LEN) == 0 && value[KEY_LEN] == mark;
}

bool value_is(const uint8_t *value, uint32_t len, const uint8_t *key, char mark)
{
	const uint8_t *pattern = value_pattern();
	const uint8_t *rest = value + VALUE_HEAD;

	if (!value_begins(value, len, key, mark) || len > VALUE_HEAD + VALUE_MAX)
		return false;
	len -= VALUE_HEAD;
	for (uint32_t i = LOOK_EVERY; i < len; i += LOOK_EVERY) {
		if (rest[i] != pattern[i])
			return false;
	}
	return len == 0 || rest[len - 1] == pattern[len - 1];
}
