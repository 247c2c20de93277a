/* credential.c - see credential.h */
#include "proxy/credential.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/secret.h"
#include "proxy/worker.h"

/* ---- the hash ---- */

static pthread_once_t key_once = PTHREAD_ONCE_INIT;
static uint8_t *key;

static void make_key(void)
{
	key = secret_alloc(CREDENTIAL_HASH_LEN);
	if (RAND_priv_bytes(key, CREDENTIAL_HASH_LEN) != 1) {
		log_error("no random numbers can be had for the key of the credentials' hashes");
		abort();
	}
}

static uint8_t *append(uint8_t *to, const char *s, size_t n)
{
	const uint32_t length = (uint32_t)n;

	memcpy(to, &length, sizeof(length)); /* so that "a", "bc" and "ab", "c" differ */
	if (n > 0)
		memcpy(to + sizeof(length), s, n);
	return to + sizeof(length) + n;
}

/* HMAC-SHA256 with a random key: what is in memory says nothing about passwords to who has not the key as well. */
static void hash_of(const struct credentials *from, uint8_t hash[CREDENTIAL_HASH_LEN])
{
	const size_t z = from->authzid ? strlen(from->authzid) : 0;
	const size_t u = strlen(from->user);
	const size_t p = strlen(from->password);
	uint8_t *text = secret_alloc(3 * sizeof(uint32_t) + z + u + p);
	uint8_t *end = append(append(append(text, from->authzid, z), from->user, u), from->password, p);
	unsigned length = 0;

	pthread_once(&key_once, make_key);
	if (!HMAC(EVP_sha256(), key, CREDENTIAL_HASH_LEN, text, (size_t)(end - text), hash, &length) ||
	    length != CREDENTIAL_HASH_LEN) {
		log_error("OpenSSL has no HMAC-SHA256, which the credentials' hashes need");
		abort();
	}
	secret_free(text);
}

/* ---- life ---- */

static struct credential *find(struct worker *w, enum cluster_id cluster, const uint8_t hash[CREDENTIAL_HASH_LEN])
{
	list_for_each_safe(node, tmp, &w->credentials) {
		struct credential *c = list_entry(node, struct credential, node);

		if (c->cluster == cluster && CRYPTO_memcmp(c->hash, hash, CREDENTIAL_HASH_LEN) == 0)
			return c;
	}
	return NULL;
}

struct credential *credential_get(struct worker *w, enum cluster_id cluster, const struct credentials *from)
{
	uint8_t hash[CREDENTIAL_HASH_LEN];
	struct credential *c;

	hash_of(from, hash);
	c = find(w, cluster, hash);
	if (!c) {
		c = xcalloc(1, sizeof(*c));
		c->worker = w;
		c->cluster = cluster;
		memcpy(c->hash, hash, sizeof(hash));
		list_init(&c->node);
		list_append(&w->credentials, &c->node);
	}
	if (!c->token.user)
		credentials_copy(&c->token, from);
	credential_ref(c);
	credential_join(c);
	return c;
}

void credential_put(struct credential *c)
{
	credential_leave(c);
	credential_unref(c);
}

void credential_ref(struct credential *c)
{
	c->refs++;
}

void credential_unref(struct credential *c)
{
	Assert(c->refs > 0);
	if (--c->refs > 0)
		return;
	Assert(c->clients == 0 && !c->check);
	list_remove(&c->node);
	credentials_wipe(&c->token);
	explicit_bzero(c->hash, sizeof(c->hash));
	free(c);
}

void credential_join(struct credential *c)
{
	Assert(c->token.user);
	c->clients++;
}

void credential_leave(struct credential *c)
{
	Assert(c->clients > 0);
	if (--c->clients == 0)
		credentials_wipe(&c->token);
}

/* ---- what the cluster has said ---- */

void credential_accepted(struct credential *c)
{
	c->accepted_ns = loop_now(&c->worker->loop);
}

void credential_refused(struct credential *c)
{
	c->accepted_ns = 0;
}

bool credential_is_remembered(const struct credential *c)
{
	const uint64_t validity_ns = (uint64_t)c->worker->settings->credentials_validity_ms * 1000000;

	return c->accepted_ns != 0 && loop_now(&c->worker->loop) - c->accepted_ns < validity_ns;
}
