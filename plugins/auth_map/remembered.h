/*
 * remembered.h - log-ins that were good a while ago, so that an application
 * with many connections costs one hash. What is kept is a digest of user,
 * password and hash: another hash in the file, and it is forgotten. A wrong
 * password is never answered from memory. Any thread.
 */
#ifndef AUTH_MAP_REMEMBERED_H
#define AUTH_MAP_REMEMBERED_H

#include "digest.h"

struct remembered;

struct remembered *remembered_new(void);
void remembered_free(struct remembered *r);

void remembered_key(uint8_t key[DIGEST_LEN], const char *user, size_t user_length, const char *password,
		    size_t password_length, const char *hash);

/* It was good less than `validity_ns` before `now_ns`, and not pushed out by others since. */
bool remembered_has(struct remembered *r, const uint8_t key[DIGEST_LEN], uint64_t now_ns, uint64_t validity_ns);
void remembered_add(struct remembered *r, const uint8_t key[DIGEST_LEN], uint64_t now_ns);

#endif
