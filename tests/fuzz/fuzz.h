/* fuzz.h - what the fuzz programs share. */
#ifndef TESTS_FUZZ_FUZZ_H
#define TESTS_FUZZ_FUZZ_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "cql/frame.h"

/* What must hold for every input. A failure kills the program, as a memory error does. */
#define CHECK(expr)                                                                                                    \
	do {                                                                                                           \
		if (!(expr)) {                                                                                         \
			fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #expr);                      \
			abort();                                                                                       \
		}                                                                                                      \
	} while (0)

/* What a body is read as, one after the other. */
#define FUZZ_VERSIONS                                                                                                  \
	{                                                                                                              \
		2, 3, 4, 5, VERSION_DSE1, VERSION_DSE2                                                                 \
	}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Reads every byte, so that the sanitizers see those that are not there or were never written. */
static inline void touch(const void *p, size_t len)
{
	const volatile uint8_t *bytes = p;

	for (size_t i = 0; i < len; i++)
		(void)bytes[i];
}

/* A view that a parser gave lies in the body it was parsed from. */
static inline void check_inside(const void *p, size_t len, const uint8_t *body, size_t body_len)
{
	const uint8_t *start = p;

	if (len > 0)
		CHECK(start >= body && start + len <= body + body_len);
}

static inline void check_text(struct strview v, const uint8_t *body, size_t body_len)
{
	check_inside(v.p, v.len, body, body_len);
}

static inline void check_bytes(struct bytesview v, const uint8_t *body, size_t body_len)
{
	CHECK(!v.is_null || v.len == 0);
	CHECK(!v.is_unset || v.len == 0);
	check_inside(v.p, v.len, body, body_len);
}

#endif
