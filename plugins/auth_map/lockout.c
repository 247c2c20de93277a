/*
 * lockout.c - see lockout.h
 *
 * A table of fixed size, in sets of eight, the set chosen by a keyed digest so
 * that nobody can aim at one. Of a full set that goes which is not locked out
 * and has failed longest ago; if all are, that whose time is over first.
 */
#include "lockout.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "digest.h"
#include "vault.h"

#define SETS 1024u
#define WAYS 8u

struct entry {
	uint8_t key[LOCKOUT_KEY_LEN];
	uint32_t failures;     /* since `since_ns` */
	uint64_t since_ns;     /* of the first of them; 0: free */
	uint64_t last_ns;      /* of the last one */
	uint64_t locked_until; /* 0: it is not */
};

struct lockout {
	pthread_mutex_t lock;
	atomic_bool is_used; /* something was ever put in */
	struct entry sets[SETS][WAYS];
};

struct lockout *lockout_new(void)
{
	struct lockout *l = memory_new(1, sizeof(*l));

	pthread_mutex_init(&l->lock, NULL);
	return l;
}

void lockout_free(struct lockout *l)
{
	if (!l)
		return;
	pthread_mutex_destroy(&l->lock);
	free(l);
}

bool lockout_key(uint8_t key[LOCKOUT_KEY_LEN], const char *address, size_t length)
{
	static const uint8_t mapped[12] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF };
	char text[INET6_ADDRSTRLEN];

	memset(key, 0, LOCKOUT_KEY_LEN);
	if (length >= sizeof(text))
		return false;
	memcpy(text, address, length);
	text[length] = '\0';
	text[strcspn(text, "%")] = '\0';
	if (inet_pton(AF_INET, text, key + 1) == 1) {
		key[0] = 4;
		return true;
	}
	if (inet_pton(AF_INET6, text, key + 1) != 1)
		return false;
	if (memcmp(key + 1, mapped, sizeof(mapped)) == 0) { /* RFC 4291, section 2.5.5.2 */
		memmove(key + 1, key + 1 + sizeof(mapped), 4);
		memset(key + 5, 0, LOCKOUT_KEY_LEN - 5);
		key[0] = 4;
		return true;
	}
	memset(key + 9, 0, 8);
	key[0] = 6;
	return true;
}

static struct entry *set_of(struct lockout *l, const uint8_t key[LOCKOUT_KEY_LEN])
{
	const struct digest_part part = { key, LOCKOUT_KEY_LEN };
	uint8_t digest[DIGEST_LEN];
	uint32_t number;

	digest_make(digest, &part, 1);
	memcpy(&number, digest, sizeof(number));
	return l->sets[number % SETS];
}

/* The lock is held. */
static struct entry *find(struct entry *set, const uint8_t key[LOCKOUT_KEY_LEN])
{
	for (unsigned i = 0; i < WAYS; i++) {
		if (set[i].since_ns != 0 && memcmp(set[i].key, key, LOCKOUT_KEY_LEN) == 0)
			return &set[i];
	}
	return NULL;
}

/* The one that is missed least: the smallest of these. */
static uint64_t worth(const struct entry *e, uint64_t now_ns)
{
	if (e->since_ns == 0)
		return 0;
	return e->locked_until > now_ns ? UINT64_MAX / 2 + e->locked_until : e->last_ns;
}

static struct entry *take(struct entry *set, const uint8_t key[LOCKOUT_KEY_LEN], uint64_t now_ns)
{
	struct entry *e = &set[0];

	for (unsigned i = 1; i < WAYS; i++) {
		if (worth(&set[i], now_ns) < worth(e, now_ns))
			e = &set[i];
	}
	*e = (struct entry){ .since_ns = now_ns };
	memcpy(e->key, key, LOCKOUT_KEY_LEN);
	return e;
}

uint64_t lockout_left(struct lockout *l, const uint8_t key[LOCKOUT_KEY_LEN], uint64_t now_ns)
{
	struct entry *set, *e;
	uint64_t left = 0;

	if (!l->is_used)
		return 0;
	set = set_of(l, key);
	pthread_mutex_lock(&l->lock);
	e = find(set, key);
	if (e && e->locked_until > now_ns)
		left = e->locked_until - now_ns;
	pthread_mutex_unlock(&l->lock);
	return left;
}

bool lockout_failed(struct lockout *l, const uint8_t key[LOCKOUT_KEY_LEN], uint64_t now_ns,
		    const struct lockout_limits *limits)
{
	struct entry *set, *e;
	bool is_new = false;

	if (limits->failures == 0)
		return false;
	set = set_of(l, key);
	pthread_mutex_lock(&l->lock);
	l->is_used = true;
	e = find(set, key);
	if (!e)
		e = take(set, key, now_ns);
	/* Another thread may have looked at the clock a moment later, and have come here first. */
	if (e->locked_until <= now_ns) {
		if (e->locked_until != 0 || (now_ns > e->since_ns && now_ns - e->since_ns >= limits->window_ns)) {
			e->failures = 0;
			e->since_ns = now_ns;
			e->locked_until = 0;
		}
		if (++e->failures >= limits->failures) {
			e->locked_until = now_ns + limits->time_ns;
			is_new = true;
		}
	}
	e->last_ns = now_ns;
	pthread_mutex_unlock(&l->lock);
	return is_new;
}

uint32_t lockout_count(struct lockout *l, uint64_t now_ns)
{
	uint32_t count = 0;

	if (!l->is_used)
		return 0;
	pthread_mutex_lock(&l->lock);
	for (unsigned i = 0; i < SETS * WAYS; i++) {
		const struct entry *e = &l->sets[i / WAYS][i % WAYS];

		count += e->since_ns != 0 && e->locked_until > now_ns;
	}
	pthread_mutex_unlock(&l->lock);
	return count;
}
