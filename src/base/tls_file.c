/*
 * tls_file.c - PEM files into contexts.
 *
 * OpenSSL has calls that take a path, but their errors name neither the file
 * nor what was expected in it, and they ask the terminal for a passphrase.
 */
#include "base/tls_file.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/pem.h>

/* A file is read whole; the bundles of all public authorities have a quarter of this. */
#define PEM_FILE_MAX (1024 * 1024)

const char *tls_file_reason(void)
{
	const char *reason = ERR_reason_error_string(ERR_peek_last_error());

	return reason ? reason : "unknown reason";
}

/* A memory BIO over what the caller has; NULL with the reason in `error`. */
static BIO *pem_over(const char *name, struct strview pem, char *error, size_t error_size)
{
	BIO *bio = pem.len < PEM_FILE_MAX ? BIO_new_mem_buf(pem.p, (int)pem.len) : NULL;

	if (!bio)
		snprintf(error, error_size, "%s is too large for a PEM file (%d bytes or more)", name, PEM_FILE_MAX);
	return bio;
}

/* The file as a memory BIO over *data, which pem_close() wipes (it may be a key); NULL with the reason in `error`. */
static BIO *pem_read(const char *path, char **data, char *error, size_t error_size)
{
	FILE *f = fopen(path, "rbe");
	BIO *bio = NULL;
	size_t len;

	*data = OPENSSL_malloc(PEM_FILE_MAX);
	if (!f || !*data) {
		snprintf(error, error_size, "cannot open %s: %s", path, strerror(f ? ENOMEM : errno));
		goto out;
	}
	setvbuf(f, NULL, _IONBF, 0); /* no copy of a key stays in a buffer of stdio */
	len = fread(*data, 1, PEM_FILE_MAX, f);
	if (ferror(f))
		snprintf(error, error_size, "cannot read %s: %s", path, strerror(errno));
	else if (len == PEM_FILE_MAX)
		snprintf(error, error_size, "%s is too large for a PEM file (%d bytes or more)", path, PEM_FILE_MAX);
	else
		bio = BIO_new_mem_buf(*data, (int)len);
out:
	if (f)
		fclose(f);
	if (!bio) {
		OPENSSL_clear_free(*data, PEM_FILE_MAX);
		*data = NULL;
	}
	return bio;
}

static BIO *pem_open(const char *path, struct strview pem, char **data, char *error, size_t error_size)
{
	*data = NULL;
	return pem.p ? pem_over(path, pem, error, error_size) : pem_read(path, data, error, error_size);
}

static void pem_close(BIO *bio, char *data)
{
	BIO_free(bio);
	if (data)
		OPENSSL_clear_free(data, PEM_FILE_MAX);
	ERR_clear_error();
}

/* The last attempt to read an object has found nothing more, as opposed to something damaged. */
static bool at_end_of_pem(void)
{
	return ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
}

static bool digest_cert(EVP_MD_CTX *id, const X509 *cert)
{
	unsigned char digest[EVP_MAX_MD_SIZE];
	unsigned len;

	return X509_digest(cert, EVP_sha256(), digest, &len) == 1 && EVP_DigestUpdate(id, digest, len) == 1;
}

/* Why the first object of a file could not be had. */
static void pem_explain(const char *path, const char *what, char *error, size_t error_size)
{
	/* The decoder behind PEM_read_bio_PrivateKey() says "unsupported" when it has found nothing. */
	if (at_end_of_pem() || ERR_GET_REASON(ERR_peek_last_error()) == ERR_R_UNSUPPORTED)
		snprintf(error, error_size, "%s: no %s in PEM form in this file", path, what);
	else
		snprintf(error, error_size, "%s: not a usable %s: %s", path, what, tls_file_reason());
}

bool tls_file_load_ca(SSL_CTX *ctx, const char *path, struct strview pem, EVP_MD_CTX *id, char *error,
		      size_t error_size)
{
	X509_STORE *store = SSL_CTX_get_cert_store(ctx);
	const char *damage = NULL;
	unsigned count = 0;
	size_t left, before;
	char *data;
	BIO *bio = pem_open(path, pem, &data, error, error_size);

	if (!bio)
		return false;
	left = BIO_ctrl_pending(bio);
	do {
		X509 *cert;

		ERR_clear_error();
		cert = PEM_read_bio_X509(bio, NULL, NULL, NULL);
		if (cert && X509_STORE_add_cert(store, cert) == 1 && digest_cert(id, cert))
			count++;
		else if (!at_end_of_pem())
			damage = tls_file_reason();
		X509_free(cert);
		before = left;
		left = BIO_ctrl_pending(bio);
	} while (left > 0 && left < before); /* a damaged one is consumed by the attempt to read it */
	if (count == 0 && damage)
		snprintf(error, error_size, "%s: not a usable certificate: %s", path, damage);
	else if (count == 0)
		pem_explain(path, "certificate", error, error_size);
	pem_close(bio, data);
	/* An intermediate CA in the file is an anchor as good as a root. */
	X509_STORE_set_flags(store, X509_V_FLAG_PARTIAL_CHAIN);
	return count > 0;
}

bool tls_file_load_chain(SSL_CTX *ctx, const char *path, struct strview pem, EVP_MD_CTX *id, char *error,
			 size_t error_size)
{
	char *data;
	BIO *bio = pem_open(path, pem, &data, error, error_size);
	X509 *cert;
	bool ok;

	if (!bio)
		return false;
	cert = PEM_read_bio_X509_AUX(bio, NULL, NULL, NULL);
	ok = cert && digest_cert(id, cert) && SSL_CTX_use_certificate(ctx, cert) == 1;
	if (!ok)
		pem_explain(path, "certificate", error, error_size);
	X509_free(cert);
	while (ok && (cert = PEM_read_bio_X509(bio, NULL, NULL, NULL))) {
		ok = SSL_CTX_add0_chain_cert(ctx, cert) == 1;
		if (!ok)
			X509_free(cert);
	}
	if (ok && !at_end_of_pem()) {
		snprintf(error, error_size, "%s: a certificate of the chain is not usable: %s", path,
			 tls_file_reason());
		ok = false;
	}
	pem_close(bio, data);
	return ok;
}

/* Called for an encrypted key; a daemon asks nobody. */
static int refuse_passphrase(char *buf, int size, int rwflag, void *was_asked)
{
	(void)buf;
	(void)size;
	(void)rwflag;
	*(bool *)was_asked = true;
	return -1;
}

bool tls_file_load_key(SSL_CTX *ctx, const char *path, struct strview pem, const char *cert_path, char *error,
		       size_t error_size)
{
	bool was_asked = false;
	EVP_PKEY *key;
	char *data;
	BIO *bio = pem_open(path, pem, &data, error, error_size);
	bool ok = false;

	if (!bio)
		return false;
	key = PEM_read_bio_PrivateKey(bio, NULL, refuse_passphrase, &was_asked);
	if (was_asked)
		snprintf(error, error_size, "%s: the key is encrypted; only unencrypted keys can be used", path);
	else if (!key)
		pem_explain(path, "private key", error, error_size);
	else if (X509_check_private_key(SSL_CTX_get0_certificate(ctx), key) != 1)
		snprintf(error, error_size, "%s: the key does not belong to the certificate in %s: %s", path, cert_path,
			 tls_file_reason());
	else if (SSL_CTX_use_PrivateKey(ctx, key) != 1)
		snprintf(error, error_size, "%s: %s", path, tls_file_reason());
	else
		ok = true;
	EVP_PKEY_free(key);
	pem_close(bio, data);
	return ok;
}
