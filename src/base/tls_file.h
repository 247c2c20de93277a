/*
 * tls_file.h - what tls.c reads from PEM files when it makes a context. Each
 * call returns false with one message in `error`: the file, what was expected
 * in it and OpenSSL's reason. `id` collects digests of the certificates. Where
 * `pem` has something it is the content, and nothing is read.
 */
#ifndef BASE_TLS_FILE_H
#define BASE_TLS_FILE_H

#include <openssl/evp.h>
#include <openssl/ssl.h>

#include "base/common.h"
#include "base/strview.h"

/* Makes the certificates of a file trust anchors. One that parses is enough, as with ZDM. */
MUSTCHECK bool tls_file_load_ca(SSL_CTX *ctx, const char *path, struct strview pem, EVP_MD_CTX *id, char *error,
				size_t error_size);
/* The first certificate is ours, those behind it lead to its root. */
MUSTCHECK bool tls_file_load_chain(SSL_CTX *ctx, const char *path, struct strview pem, EVP_MD_CTX *id, char *error,
				   size_t error_size);
/* The unencrypted key of the certificate that tls_file_load_chain() took from cert_path. */
MUSTCHECK bool tls_file_load_key(SSL_CTX *ctx, const char *path, struct strview pem, const char *cert_path, char *error,
				 size_t error_size);

/* OpenSSL's own words for the last error of this thread. */
const char *tls_file_reason(void);

#endif
