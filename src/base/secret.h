/*
 * secret.h - memory for passwords: pages of its own that are locked against
 * swapping where the process may lock memory, and left out of core dumps. What
 * is freed is overwritten first. Any thread may call these functions.
 */
#ifndef BASE_SECRET_H
#define BASE_SECRET_H

#include "base/common.h"

/* Undefined content; ends the process when memory is exhausted, as xmalloc(). */
void *secret_alloc(size_t size);
/* A copy of n bytes with a NUL behind them. */
char *secret_strndup(const char *s, size_t n);
char *secret_strdup(const char *s);
/* Overwrites, then frees. NULL is harmless. */
void secret_free(void *p);

/* Bytes that are out, for tests. */
size_t secret_used(void);

#endif
