/* pki.c - certificates made on the fly, by OpenSSL's calls. */
#include "pki.h"

#include <dirent.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

static char directory[256];

static void must(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "pki: %s failed\n", what);
	ERR_print_errors_fp(stderr);
	exit(99);
}

void pki_begin(void)
{
	const char *tmp = getenv("TMPDIR");

	snprintf(directory, sizeof(directory), "%s/cqlferry-pki-XXXXXX", tmp ? tmp : "/tmp");
	must(mkdtemp(directory) != NULL, "mkdtemp");
}

void pki_end(void)
{
	DIR *dir = opendir(directory);
	struct dirent *entry;

	must(dir != NULL, "opendir");
	while ((entry = readdir(dir)))
		if (entry->d_name[0] != '.')
			unlink(pki_path(entry->d_name));
	closedir(dir);
	must(rmdir(directory) == 0, "rmdir");
}

const char *pki_path(const char *name)
{
	static char paths[8][600];
	static unsigned next;
	char *path = paths[next++ % 8];

	snprintf(path, sizeof(paths[0]), "%s/%s", directory, name);
	return path;
}

static FILE *open_file(const char *name, const char *suffix, const char *mode)
{
	char full[300];
	FILE *f;

	snprintf(full, sizeof(full), "%s%s", name, suffix);
	f = fopen(pki_path(full), mode);
	must(f != NULL, full);
	return f;
}

static void add_extension(X509 *cert, X509 *issuer, int nid, const char *value)
{
	X509V3_CTX ctx;
	X509_EXTENSION *extension;

	X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
	extension = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
	must(extension && X509_add_ext(cert, extension, -1) == 1, value);
	X509_EXTENSION_free(extension);
}

static X509 *read_cert(const char *file)
{
	FILE *f = open_file(file, ".crt", "r");
	X509 *cert = PEM_read_X509(f, NULL, NULL, NULL);

	fclose(f);
	must(cert != NULL, file);
	return cert;
}

static EVP_PKEY *read_key(const char *file)
{
	FILE *f = open_file(file, ".key", "r");
	EVP_PKEY *key = PEM_read_PrivateKey(f, NULL, NULL, NULL);

	fclose(f);
	must(key != NULL, file);
	return key;
}

static void save(const char *file, X509 *cert, EVP_PKEY *key)
{
	FILE *f = open_file(file, ".crt", "w");

	must(PEM_write_X509(f, cert) == 1, "PEM_write_X509");
	fclose(f);
	f = open_file(file, ".key", "w");
	must(PEM_write_PrivateKey(f, key, NULL, NULL, 0, NULL, NULL) == 1, "PEM_write_PrivateKey");
	fclose(f);
}

void pki_make(const struct pki_cert *c)
{
	static long serial = 1;
	const char *cn = c->cn ? c->cn : c->file;
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *cert = X509_new();
	X509 *issuer = c->issuer ? read_cert(c->issuer) : cert;
	EVP_PKEY *issuer_key = c->issuer ? read_key(c->issuer) : key;
	bool usual_time = c->from_days == 0 && c->to_days == 0;

	must(key && cert, "a key");
	X509_set_version(cert, X509_VERSION_3);
	ASN1_INTEGER_set(X509_get_serialNumber(cert), serial++);
	X509_time_adj_ex(X509_getm_notBefore(cert), usual_time ? -1 : c->from_days, 0, NULL);
	X509_time_adj_ex(X509_getm_notAfter(cert), usual_time ? 1 : c->to_days, 0, NULL);
	X509_NAME_add_entry_by_txt(X509_get_subject_name(cert), "CN", MBSTRING_UTF8, (const unsigned char *)cn, -1, -1,
				   0);
	X509_set_issuer_name(cert, X509_get_subject_name(issuer));
	X509_set_pubkey(cert, key);
	if (c->is_ca)
		add_extension(cert, issuer, NID_basic_constraints, "critical,CA:TRUE");
	if (c->san)
		add_extension(cert, issuer, NID_subject_alt_name, c->san);
	if (c->eku)
		add_extension(cert, issuer, NID_ext_key_usage, c->eku);
	must(X509_sign(cert, issuer_key, EVP_sha256()) > 0, "X509_sign");
	save(c->file, cert, key);
	if (c->issuer) {
		X509_free(issuer);
		EVP_PKEY_free(issuer_key);
	}
	X509_free(cert);
	EVP_PKEY_free(key);
}

void pki_join(const char *name, ...)
{
	FILE *out = open_file(name, "", "w");
	const char *part;
	va_list args;

	va_start(args, name);
	while ((part = va_arg(args, const char *))) {
		FILE *in = open_file(part, "", "r");
		int c;

		while ((c = getc(in)) != EOF)
			putc(c, out);
		fclose(in);
	}
	va_end(args);
	fclose(out);
}

void pki_write(const char *name, const char *content)
{
	FILE *f = open_file(name, "", "w");

	fputs(content, f);
	fclose(f);
}

void pki_encrypt_key(const char *file)
{
	EVP_PKEY *key = read_key(file);
	FILE *f = open_file(file, "-encrypted.key", "w");
	char passphrase[] = "secret";

	must(PEM_write_PKCS8PrivateKey(f, key, EVP_aes_256_cbc(), passphrase, 6, NULL, NULL) == 1, "encryption");
	fclose(f);
	EVP_PKEY_free(key);
}
