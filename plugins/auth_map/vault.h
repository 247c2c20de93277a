/*
 * vault.h - memory for secrets: pages of its own that are kept from swapping,
 * where the process may lock memory, and left out of core dumps. What a vault
 * has given out lives until the vault is freed, which overwrites it.
 *
 * A vault belongs to one thread at a time. Memory that cannot be had ends the
 * process, as everywhere in the proxy.
 */
#ifndef AUTH_MAP_VAULT_H
#define AUTH_MAP_VAULT_H

#include <stdbool.h>
#include <stddef.h>

struct vault;

struct vault *vault_new(void);
/* NULL is harmless. */
void vault_free(struct vault *v);

/* Zeroed, aligned for any type. */
void *vault_alloc(struct vault *v, size_t size);
/* With a NUL behind it. */
char *vault_copy(struct vault *v, const char *text, size_t length);

/* Some page could not be locked: there is more than RLIMIT_MEMLOCK allows. Of all vaults; any thread. */
bool vault_lock_failed(void);

/* calloc() and friends that end the process instead of failing. */
void *memory_new(size_t count, size_t size);
void *memory_grow(void *old, size_t count, size_t size);

#endif
