/*
 * remembered.c - see remembered.h
 *
 * A table of fixed size, in sets of four: of a full set the oldest one goes. The
 * digest chooses the set; without its key nobody can aim at one.
 */
#include "remembered.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "vault.h"

#define SETS 1024u
#define WAYS 4u

struct entry {
	uint8_t key[DIGEST_LEN];
	uint64_t at_ns; /* 0: free */
};

struct remembered {
	pthread_mutex_t lock;
	struct vault *vault;
	struct entry (*sets)[WAYS];
};

struct remembered *remembered_new(void)
{
	struct remembered *r = memory_new(1, sizeof(*r));

	pthread_mutex_init(&r->lock, NULL);
	r->vault = vault_new();
	r->sets = vault_alloc(r->vault, SETS * sizeof(*r->sets));
	return r;
}

void remembered_free(struct remembered *r)
{
	if (!r)
		return;
	vault_free(r->vault);
	pthread_mutex_destroy(&r->lock);
	free(r);
}

void remembered_key(uint8_t key[DIGEST_LEN], const char *user, size_t user_length, const char *password,
		    size_t password_length, const char *hash)
{
	const struct digest_part parts[] = { { user, user_length },
					     { password, password_length },
					     { hash, strlen(hash) } };

	digest_make(key, parts, 3);
}

static struct entry *set_of(struct remembered *r, const uint8_t key[DIGEST_LEN])
{
	uint32_t number;

	memcpy(&number, key, sizeof(number));
	return r->sets[number % SETS];
}

/* The lock is held. */
static struct entry *find(struct entry *set, const uint8_t key[DIGEST_LEN])
{
	for (unsigned i = 0; i < WAYS; i++) {
		if (set[i].at_ns != 0 && digest_is_equal(set[i].key, key))
			return &set[i];
	}
	return NULL;
}

bool remembered_has(struct remembered *r, const uint8_t key[DIGEST_LEN], uint64_t now_ns, uint64_t validity_ns)
{
	struct entry *e;
	bool has;

	if (validity_ns == 0)
		return false;
	pthread_mutex_lock(&r->lock);
	e = find(set_of(r, key), key);
	has = e && (now_ns < e->at_ns || now_ns - e->at_ns < validity_ns); /* `now` may be of a moment before */
	pthread_mutex_unlock(&r->lock);
	return has;
}

void remembered_add(struct remembered *r, const uint8_t key[DIGEST_LEN], uint64_t now_ns)
{
	struct entry *set = set_of(r, key), *e;

	pthread_mutex_lock(&r->lock);
	e = find(set, key);
	if (!e) {
		e = &set[0];
		for (unsigned i = 1; i < WAYS; i++) {
			if (set[i].at_ns < e->at_ns)
				e = &set[i];
		}
	}
	memcpy(e->key, key, DIGEST_LEN);
	e->at_ns = now_ns;
	pthread_mutex_unlock(&r->lock);
}
