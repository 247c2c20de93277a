/*
 * value.h - keys and values of the one table that cqlbench and cqlorder know:
 * every value can be computed from its key, so every answer can be checked.
 *
 *   key     16 hexadecimal digits
 *   value   the key | a mark of one letter | a pattern, the same for all values
 *
 * The pattern is small letters, of which lz4 and snappy remove about one half,
 * as they do with what people store.
 */
#ifndef BENCH_VALUE_H
#define BENCH_VALUE_H

#include "base/common.h"

#define KEY_LEN 16
/* What comes before the pattern. */
#define VALUE_HEAD (KEY_LEN + 1)
#define VALUE_MIN VALUE_HEAD
#define VALUE_MAX (1024 * 1024)

/* Writes go to both clusters alike, so the mark in what is written is that of neither. */
#define MARK_WRITTEN 'w'

void key_write(uint8_t key[KEY_LEN], uint64_t number);

/* Writes the value of a key, `len` bytes. */
void value_write(uint8_t *out, uint32_t len, const uint8_t *key, char mark);
/* What follows the head in all values; lives as long as the program. */
const uint8_t *value_pattern(void);

/* True when the bytes begin as that value does. */
bool value_begins(const uint8_t *value, uint32_t len, const uint8_t *key, char mark);
/* True when they are that value; of a large one a byte in every few KiB is looked at, and the last one. */
bool value_is(const uint8_t *value, uint32_t len, const uint8_t *key, char mark);

#endif
