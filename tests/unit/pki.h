/*
 * pki.h - certificates made on the fly for tests, as PEM files in a temporary
 * directory: a few lines per case instead of files that expire in the tree.
 */
#ifndef TESTS_UNIT_PKI_H
#define TESTS_UNIT_PKI_H

#include <stdbool.h>

struct pki_cert {
	const char *file;   /* NAME: makes NAME.crt and NAME.key */
	const char *cn;     /* NULL: the file name */
	const char *issuer; /* file name of an earlier one; NULL: signs itself */
	const char *san;    /* "DNS:a,IP:127.0.0.1", or NULL */
	const char *eku;    /* "serverAuth", "clientAuth", or NULL for any use */
	bool is_ca;
	int from_days, to_days; /* of today; both 0: yesterday to tomorrow */
};

/* Makes the directory; pki_end() removes it with all that is in it. Both end the test program when they fail. */
void pki_begin(void);
void pki_end(void);

/* DIRECTORY/NAME, in one of eight buffers used in turn. */
const char *pki_path(const char *name);
void pki_make(const struct pki_cert *cert);
/* Files put together from others: pki_join("chain.crt", "leaf.crt", "ca.crt", NULL). */
void pki_join(const char *name, ...) __attribute__((sentinel));
void pki_write(const char *name, const char *content);
/* The key of NAME once more, with a passphrase, as NAME-encrypted.key. */
void pki_encrypt_key(const char *file);

#endif
