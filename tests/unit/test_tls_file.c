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
	{ true, NULL, "node.crt", "node.key", true, { "cannot be asked for without a CA" } },
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

/* What pki.h wrote, as a caller has it who took it from somewhere else. */
static struct strview content(const char *name)
{
	static char buffers[3][8192];
	static unsigned turn;
	char *buffer = buffers[turn++ % ARRAY_LEN(buffers)];
	FILE *f = fopen(pki_path(name), "rb");
	size_t len;

	ck_assert(f != NULL);
	len = fread(buffer, 1, sizeof(buffers[0]), f);
	fclose(f);
	ck_assert(len > 0 && len < sizeof(buffers[0]));
	return (struct strview){ buffer, len };
}

START_TEST(from_memory)
{
	struct tls_options o = {
		.ca = "zip: ca",
		.cert = "zip: cert",
		.key = "zip: key",
		.ca_pem = content("ca.crt"),
		.cert_pem = content("client.crt"),
		.key_pem = content("client.key"),
		.verify_name = true,
	};
	struct tls_context *ctx = tls_context_new_client(&o, error, sizeof(error));
	struct pair p;

	ck_assert_msg(ctx != NULL, "%s", error);
	p = connect_pair(ctx, server_context("node", "ca.crt"), "node.example");
	expect_open(&p);
	end_pair(&p);
}
END_TEST

/* NULL: the good one. */
static const struct {
	const char *ca, *cert, *key;
	const char *refusal;
} bad_memory[] = {
	{ "text.crt", NULL, NULL, "zip: ca: no certificate in PEM form" },
	{ NULL, "text.crt", NULL, "zip: cert: no certificate in PEM form" },
	{ NULL, NULL, "text.crt", "zip: key: no private key in PEM form" },
	{ NULL, NULL, "node.key", "zip: key: the key does not belong to the certificate in zip: cert" },
	{ NULL, NULL, "node-encrypted.key", "zip: key: the key is encrypted" },
};

START_TEST(bad_content)
{
	struct tls_options o = {
		.ca = "zip: ca",
		.cert = "zip: cert",
		.key = "zip: key",
		.ca_pem = content(bad_memory[_i].ca ? bad_memory[_i].ca : "ca.crt"),
		.cert_pem = content(bad_memory[_i].cert ? bad_memory[_i].cert : "client.crt"),
		.key_pem = content(bad_memory[_i].key ? bad_memory[_i].key : "client.key"),
	};

	ck_assert_ptr_null(tls_context_new_client(&o, error, sizeof(error)));
	expect_text(error, bad_memory[_i].refusal);
	o.ca_pem = (struct strview){ "", 0 };
	ck_assert_ptr_null(tls_context_new_client(&o, error, sizeof(error)));
	expect_text(error, "zip: ca: no certificate in PEM form");
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
	tcase_add_test(tc, from_memory);
	tcase_add_loop_test(tc, bad_content, 0, (int)ARRAY_LEN(bad_memory));
	return run_with_pki(tc, certs, ARRAY_LEN(certs), make_bad_files);
}
