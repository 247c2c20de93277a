/* digest.c - see digest.h */
#include "digest.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/rand.h>
#include <pthread.h>
#include <stdlib.h>

#include "vault.h"

/* Of the process: instances of the plugin share it, and it is never given up. */
static pthread_once_t once = PTHREAD_ONCE_INIT;
static EVP_MAC *hmac;
static uint8_t *key;

static void start(void)
{
	uint8_t *random = vault_alloc(vault_new(), DIGEST_LEN);

	if (RAND_priv_bytes(random, DIGEST_LEN) != 1)
		return;
	hmac = EVP_MAC_fetch(NULL, "HMAC", NULL);
	key = random;
}

bool digest_start(void)
{
	pthread_once(&once, start);
	return hmac != NULL;
}

static bool update(EVP_MAC_CTX *ctx, const struct digest_part *part)
{
	const uint64_t length = part->length;

	return EVP_MAC_update(ctx, (const unsigned char *)&length, sizeof(length)) == 1 &&
	       (length == 0 || EVP_MAC_update(ctx, part->data, part->length) == 1);
}

void digest_make(uint8_t digest[DIGEST_LEN], const struct digest_part *parts, unsigned count)
{
	char name[] = "SHA256";
	const OSSL_PARAM params[] = { OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, name, 0),
				      OSSL_PARAM_construct_end() };
	EVP_MAC_CTX *ctx = EVP_MAC_CTX_new(hmac);
	bool ok = ctx && EVP_MAC_init(ctx, key, DIGEST_LEN, params) == 1;
	size_t length = 0;

	for (unsigned i = 0; ok && i < count; i++)
		ok = update(ctx, &parts[i]);
	if (!ok || EVP_MAC_final(ctx, digest, &length, DIGEST_LEN) != 1 || length != DIGEST_LEN)
		abort(); /* memory is exhausted: anything else digest_start() has found */
	EVP_MAC_CTX_free(ctx);
}

bool digest_is_equal(const uint8_t a[DIGEST_LEN], const uint8_t b[DIGEST_LEN])
{
	return CRYPTO_memcmp(a, b, DIGEST_LEN) == 0;
}
