/*
 * hash.h - passwords as crypt(3) keeps them (crypt(5) lists the methods). One
 * comparison costs milliseconds on purpose.
 */
#ifndef AUTH_MAP_HASH_H
#define AUTH_MAP_HASH_H

#include <stdbool.h>
#include <stddef.h>

#define HASH_METHODS "yescrypt ($y$), gost-yescrypt ($gy$), scrypt ($7$), bcrypt ($2b$), SHA-512 ($6$), SHA-256 ($5$)"

/* What is wrong with this text as a hash, or NULL. Never has a part of it. */
const char *hash_complaint(const char *hash);

/* Room for one comparison, of one thread: locked and not dumped, since it holds the password meanwhile. */
struct hash_room;
struct hash_room *hash_room_new(void);
void hash_room_free(struct hash_room *room);

/*
 * Takes the same time whether they match or not. A password that is longer than crypt(3) takes (511 bytes) or has a NUL
 * byte matches nothing.
 */
bool hash_matches(struct hash_room *room, const char *hash, const char *password, size_t length);
/* The last one matched nothing, because crypt(3) of this system cannot compute the hash: hash_complaint() sees not all. */
bool hash_has_failed(const struct hash_room *room);

#endif
