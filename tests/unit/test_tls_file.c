/* test_tls_file.c - every way in which the files of a TLS context can be wrong, and what is said about it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tls_pair.h"

static char error[512];

/* NULL: not given; names are below the directory of the certificates. */
static const struct {
	bool is_server;
	const char *ca, *cert, *key;
	bool require;
	const char *refusal[3];
} bad_options[] = {
	{ false, "missing.crt", NULL, NULL, false, { "cannot open ", "missing.crt: No such file or directory" } },
	{ false, "", NULL, NULL, false, { "cannot read ", "Is a directory" } },
	{ false, "empty.crt", NULL, NULL, false, { "empty.crt: no certificate in PEM form" } },
	{ false, "text.crt", NULL, NULL, false, { "text.crt: no certificate in PEM form" } },
	{ false, "ca.key", NULL, NULL, false, { "ca.key: no certificate in PEM form" } },
	{ false, "broken.crt", NULL, NULL, false, { "broken.crt: not a usable certificate: " } },
	{ false, "cut.crt", NULL, NULL, false, { "cut.crt: not a usable certificate: bad end line" } },
	{ false, NULL, NULL, NULL, false, { "a CA file is needed" } },
	{ false, "ca.crt", "client.crt", NULL, false, { "certificate and a key only work together" } },
	{ false, "ca.crt", NULL, "client.key", false, { "certificate and a key only work together" } },
	{ false,
	  "ca.crt",
	  "client.crt",
	  "node.key",
	  false,
	  { "node.key: the key does not belong to the certificate in ", "client.crt: ", "mismatch" } },
	{ true, NULL, "node.crt", "missing.key", false, { "cannot open ", "missing.key: No such file" } },
	{ true, NULL, "missing.crt", "node.key", false, { "cannot open ", "missing.crt: No such file" } },
	{ true, NULL, "node.crt", "node.crt", false, { "node.crt: no private key in PEM form" } },
	{ true, NULL, "node.key", "node.key", false, { "node.key: no certificate in PEM form" } },
	{ true, NULL, "node.crt", "node-encrypted.key", false, { "node-encrypted.key: the key is encrypted" } },
	{ true, NULL, "brokenchain.crt", "node.key", false, { "brokenchain.crt: a certificate of the chain is not" } },
	{ true, "empty.crt", "node.crt", "node.key", true, { "empty.crt: no certificate in PEM form" } },
	{ true, NULL, "node.crt", "node.key", true, { "cannot be required without a CA" } },
	{ true, "ca.crt", NULL, NULL, false, { "a server needs a certificate and a key" } },
	{ false, "/dev/zero", NULL, NULL, false, { "/dev/zero is too large for a PEM file" } },
};

static const char *given(const char *name)
{
	return !name || name[0] == '/' ? name : pki_path(name);
}

START_TEST(bad_files)
{
	struct tls_options o = {
		.ca = given(bad_options[_i].ca),
		.cert = given(bad_options[_i].cert),
		.key = given(bad_options[_i].key),
		.require_client_cert = bad_options[_i].require,
	};
	struct tls_context *ctx = bad_options[_i].is_server ? tls_context_new_server(&o, error, sizeof(error))
							    : tls_context_new_client(&o, error, sizeof(error));

	ck_assert_ptr_null(ctx);
	for (int i = 0; i < 3 && bad_options[_i].refusal[i]; i++)
		expect_text(error, bad_options[_i].refusal[i]);
}
END_TEST

static void make_bad_files(void)
{
	pki_encrypt_key("node");
	pki_write("empty.crt", "");
	pki_write("text.crt", "this is not a certificate\n");
	pki_write("broken.crt", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
	pki_write("cut.crt", "-----BEGIN CERTIFICATE-----\nAAAA\n");
	pki_join("brokenchain.crt", "node.crt", "broken.crt", NULL);
}

int main(void)
{
	const struct pki_cert certs[] = {
		{ .file = "ca", .is_ca = true },
		{ .file = "node", .issuer = "ca", .san = "DNS:node.example", .eku = "serverAuth" },
		{ .file = "client", .issuer = "ca", .eku = "clientAuth" },
	};
	TCase *tc = tcase_create("tls_file");

	tcase_add_loop_test(tc, bad_files, 0, (int)ARRAY_LEN(bad_options));
	return run_with_pki(tc, certs, ARRAY_LEN(certs), make_bad_files);
}
