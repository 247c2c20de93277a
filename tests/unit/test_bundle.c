/* test_bundle.c - secure connect bundles and metadata, good and bad. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zip.h>

#include "proxy/bundle.h"

#define CONFIG "{\"host\": \"meta.example\", \"port\": 29080}"

static char folder[] = "/tmp/cqlferry-bundle-XXXXXX";
static char path[64];
static char error[512];

struct member {
	const char *name, *content;
};

static void add_member(zip_t *zip, const char *name, const void *content, size_t len)
{
	zip_source_t *source = zip_source_buffer(zip, content, len, 0);

	ck_assert_ptr_nonnull(source);
	ck_assert_int_ge(zip_file_add(zip, name, source, ZIP_FL_ENC_UTF_8), 0);
}

static zip_t *new_zip(void)
{
	int code;
	zip_t *zip = zip_open(path, ZIP_CREATE | ZIP_TRUNCATE, &code);

	ck_assert_ptr_nonnull(zip);
	return zip;
}

static void write_zip(const struct member *members)
{
	zip_t *zip = new_zip();

	for (; members->name; members++)
		add_member(zip, members->name, members->content, strlen(members->content));
	ck_assert_int_eq(zip_close(zip), 0);
}

static void write_file(const void *content, size_t len)
{
	FILE *f = fopen(path, "wb");

	ck_assert_ptr_nonnull(f);
	ck_assert_uint_eq(fwrite(content, 1, len, f), len);
	ck_assert_int_eq(fclose(f), 0);
}

static size_t read_file(unsigned char *out, size_t size)
{
	FILE *f = fopen(path, "rb");
	size_t len;

	ck_assert_ptr_nonnull(f);
	len = fread(out, 1, size, f);
	fclose(f);
	return len;
}

static void expect_refusal(const char *part)
{
	struct bundle *b = bundle_load(path, error, sizeof(error));

	ck_assert_msg(!b, "accepted; expected: %s", part);
	ck_assert_msg(strstr(error, path) != NULL, "'%s' names the file", error);
	ck_assert_msg(strstr(error, part) != NULL, "'%s' should contain '%s'", error, part);
}

START_TEST(a_good_one)
{
	static const struct member members[] = { { "README", "x" },      { "config.json", CONFIG },
						 { "ca.crt", "CA" },     { "cert", "CERT" },
						 { "key", "KEY" },       { "sub/key", "no" },
						 { "identity.jks", "" }, { NULL, NULL } };
	struct tls_options o;
	struct bundle *b;
	char name[128];

	write_zip(members);
	b = bundle_load(path, error, sizeof(error));
	ck_assert_msg(b != NULL, "%s", error);
	ck_assert_str_eq(b->host, "meta.example");
	ck_assert_uint_eq(b->port, 29080);
	o = bundle_tls_options(b);
	ck_assert(sv_equal(o.ca_pem, SV("CA")));
	ck_assert(sv_equal(o.cert_pem, SV("CERT")));
	ck_assert(sv_equal(o.key_pem, SV("KEY")));
	ck_assert(o.verify_name);
	snprintf(name, sizeof(name), "%s: key", path);
	ck_assert_str_eq(o.key, name);
	bundle_free(b);
	bundle_free(NULL);
}
END_TEST

START_TEST(without_a_certificate)
{
	struct bundle *b;

	write_zip((const struct member[]){ { "config.json", CONFIG }, { "ca.crt", "CA" }, { NULL, NULL } });
	b = bundle_load(path, error, sizeof(error));
	ck_assert_msg(b != NULL, "%s", error);
	ck_assert_ptr_null(bundle_tls_options(b).cert);
	ck_assert_ptr_null(bundle_tls_options(b).key_pem.p);
	bundle_free(b);
}
END_TEST

static const struct {
	struct member members[5];
	const char *refusal;
} bad_members[] = {
	{ { { "x", "y" } }, "no member config.json" },
	{ { { "sub/config.json", CONFIG }, { "ca.crt", "CA" } }, "no member config.json" },
	{ { { "CONFIG.JSON", CONFIG }, { "ca.crt", "CA" } }, "no member config.json" },
	{ { { "config.json", CONFIG } }, "no member ca.crt" },
	{ { { "config.json", CONFIG }, { "ca.crt", "" } }, "ca.crt is empty" },
	{ { { "config.json", CONFIG }, { "ca.crt", "CA" }, { "cert", "C" } }, "a member cert and no key" },
	{ { { "config.json", CONFIG }, { "ca.crt", "CA" }, { "key", "K" } }, "a member key and no cert" },
	{ { { "config.json", "" }, { "ca.crt", "CA" } }, "config.json is empty" },
	{ { { "config.json", "{" } }, "config.json: malformed JSON in line 1" },
	{ { { "config.json", "\n\n{'host': 1}" } }, "config.json: malformed JSON in line 3" },
	{ { { "config.json", CONFIG "x" } }, "config.json: malformed JSON" },
	{ { { "config.json", "null" } }, "config.json: a JSON object is expected, not null" },
	{ { { "config.json", "[]" } }, "config.json: a JSON object is expected" },
	{ { { "config.json", "{\"port\": 1}" } }, "config.json: \"host\" is missing" },
	{ { { "config.json", "{\"host\": null, \"port\": 1}" } }, "config.json: \"host\" is missing" },
	{ { { "config.json", "{\"host\": \"\", \"port\": 1}" } }, "config.json: \"host\" is empty" },
	{ { { "config.json", "{\"host\": 5, \"port\": 1}" } }, "config.json: \"host\" is not a text" },
	{ { { "config.json", "{\"host\": \"a/b\", \"port\": 1}" } }, "config.json: \"host\" is no host name: a/b" },
	{ { { "config.json", "{\"host\": \"a@b\", \"port\": 1}" } }, "config.json: \"host\" is no host name: a@b" },
	{ { { "config.json", "{\"host\": \"a\\u0000b\", \"port\": 1}" } }, "config.json: malformed JSON" },
	{ { { "config.json", "{\"host\": \"a\"}" } }, "config.json: \"port\" is missing" },
	{ { { "config.json", "{\"host\": \"a\", \"port\": 0}" } }, "config.json: \"port\" is 0; allowed: 1 to 65535" },
	{ { { "config.json", "{\"host\": \"a\", \"port\": -1}" } }, "config.json: \"port\" is -1" },
	{ { { "config.json", "{\"host\": \"a\", \"port\": 65536}" } }, "config.json: \"port\" is 65536" },
	{ { { "config.json", "{\"host\": \"a\", \"port\": 1.5}" } }, "config.json: \"port\" is not a text" },
	{ { { "config.json", "{\"host\": \"a\", \"port\": \"1x\"}" } }, "config.json: \"port\" is 1x" },
	{ { { "config.json", "{\"host\": \"a\", \"port\": \"\"}" } }, "config.json: \"port\" is empty" },
	{ { { "config.json", "{\"host\": \"a\", \"port\": []}" } }, "config.json: \"port\" is not a text" },
};

START_TEST(bad_contents)
{
	write_zip(bad_members[_i].members);
	expect_refusal(bad_members[_i].refusal);
}
END_TEST

static const struct {
	const char *json, *host;
	unsigned port;
} good_configs[] = {
	{ "{\"host\": \"a.b\", \"port\": \"443\"}", "a.b", 443 },
	{ "{\"host\": \"10.0.0.1\", \"port\": 65535}", "10.0.0.1", 65535 },
	{ "{\"host\": \"[fd00::1]\", \"port\": 1, \"password\": null}", "fd00::1", 1 },
	{ "{\"host\": \"fd00::1\", \"port\": 1, \"host2\": {}}", "fd00::1", 1 },
};

START_TEST(other_configs)
{
	const struct member members[] = { { "config.json", good_configs[_i].json },
					  { "ca.crt", "CA" },
					  { NULL, NULL } };
	struct bundle *b;

	write_zip(members);
	b = bundle_load(path, error, sizeof(error));
	ck_assert_msg(b != NULL, "%s", error);
	ck_assert_str_eq(b->host, good_configs[_i].host);
	ck_assert_uint_eq(b->port, good_configs[_i].port);
	bundle_free(b);
}
END_TEST

/* Small on disk and large when it is unpacked. */
START_TEST(a_bomb)
{
	const size_t len = 64u << 20;
	char *zeros = calloc(1, len);
	zip_t *zip = new_zip();

	ck_assert_ptr_nonnull(zeros);
	add_member(zip, "config.json", CONFIG, strlen(CONFIG));
	add_member(zip, "ca.crt", zeros, len);
	ck_assert_int_eq(zip_close(zip), 0);
	free(zeros);
	expect_refusal("ca.crt is too large (over 1048576 bytes)");
}
END_TEST

START_TEST(no_zip_at_all)
{
	static const char text[] = "this is not a zip, however long one looks at it";

	unlink(path);
	expect_refusal("cannot open ");
	write_file("", 0);
	expect_refusal("not a usable zip");
	write_file(text, sizeof(text));
	expect_refusal("not a usable zip");
	write_file(text, 1);
	ck_assert_int_eq(truncate(path, 11 << 20), 0);
	expect_refusal("is too large for a secure connect bundle");
	strcpy(path, folder);
	expect_refusal("not a file");
}
END_TEST

/* Cut off anywhere, or with a byte changed anywhere: refused or read, never more than that. */
START_TEST(damaged)
{
	static const struct member members[] = { { "config.json", CONFIG },
						 { "ca.crt", "CACACACACACACACACACACACACACA" },
						 { NULL, NULL } };
	unsigned char good[2048], bad[2048];
	size_t len;

	write_zip(members);
	len = read_file(good, sizeof(good));
	ck_assert_uint_lt(len, sizeof(good));
	for (size_t cut = 0; cut < len; cut++) {
		write_file(good, cut);
		expect_refusal("");
	}
	for (size_t i = 0; i < len; i++) {
		memcpy(bad, good, len);
		bad[i] ^= 0x41;
		write_file(bad, len);
		bundle_free(bundle_load(path, error, sizeof(error)));
	}
}
END_TEST

/* ---- metadata ---- */

#define ID1 "11111111-2222-3333-4444-555555555555"
#define ID2 "aaaaaaaa-2222-3333-4444-555555555555"
#define INFO(points, proxy, dc)                                                                                        \
	"{\"contact_info\": {\"contact_points\": " points ", " proxy dc "\"type\": \"sni_proxy\"}}"
#define PROXY "\"sni_proxy_address\": \"proxy.example:29042\", "

static bool parse(const char *json, struct bundle_metadata *m)
{
	return bundle_metadata_parse(json, strlen(json), m, error, sizeof(error));
}

START_TEST(good_metadata)
{
	struct bundle_metadata m;
	char text[NET_TEXT_MAX];

	ck_assert_msg(parse(INFO("[\"" ID1 "\", \"" ID2 "\"]", PROXY, "\"local_dc\": \"dc-1\", "), &m), "%s", error);
	ck_assert_str_eq(m.proxy_host, "proxy.example");
	ck_assert_uint_eq(m.proxy_port, 29042);
	ck_assert_str_eq(m.datacenter, "dc-1");
	ck_assert_uint_eq(m.node_count, 2);
	ck_assert_str_eq(net_format_node_id(m.nodes[1], text), ID2);
	bundle_metadata_fini(&m);
	ck_assert_msg(parse(INFO("[\"" ID1 "\"]", "\"sni_proxy_address\": \"[::1]:1\", ", ""), &m), "%s", error);
	ck_assert_str_eq(m.proxy_host, "::1");
	ck_assert_uint_eq(m.proxy_port, 1);
	ck_assert_ptr_null(m.datacenter);
	bundle_metadata_fini(&m);
}
END_TEST

static const struct {
	const char *json, *refusal;
} bad_metadata[] = {
	{ "", "malformed JSON" },
	{ "null", "a JSON object is expected, not null" },
	{ "17", "a JSON object is expected, not another kind of value" },
	{ "{}", "\"contact_info\" is missing" },
	{ "{\"contact_info\": null}", "\"contact_info\" is missing" },
	{ "{\"contact_info\": []}", "\"contact_info\" is not an object" },
	{ "{\"contact_info\": {}}", "in \"contact_info\": \"sni_proxy_address\" is missing" },
	{ INFO("[\"" ID1 "\"]", "", ""), "\"sni_proxy_address\" is missing" },
	{ INFO("[\"" ID1 "\"]", "\"sni_proxy_address\": 1, ", ""), "\"sni_proxy_address\" is not a text" },
	{ INFO("[\"" ID1 "\"]", "\"sni_proxy_address\": \"a\", ", ""), "is not host:port: a" },
	{ INFO("[\"" ID1 "\"]", "\"sni_proxy_address\": \"a:\", ", ""), "is not host:port: a:" },
	{ INFO("[\"" ID1 "\"]", "\"sni_proxy_address\": \":1\", ", ""), "is not host:port: :1" },
	{ INFO("[\"" ID1 "\"]", "\"sni_proxy_address\": \"a:0\", ", ""), "is not host:port: a:0" },
	{ INFO("[\"" ID1 "\"]", "\"sni_proxy_address\": \"a b:1\", ", ""), "is not host:port: a b:1" },
	{ INFO("[]", PROXY, ""), "\"contact_info.contact_points\" is an empty list" },
	{ INFO("null", PROXY, ""), "\"contact_info.contact_points\" is missing" },
	{ INFO("{}", PROXY, ""), "\"contact_info.contact_points\" is not a list" },
	{ INFO("[null]", PROXY, ""), "item 1 of \"contact_info.contact_points\" is no host id" },
	{ INFO("[\"" ID1 "\", \"10.0.0.1\"]", PROXY, ""), "item 2 of \"contact_info.contact_points\" is no host id" },
	{ INFO("[\"" ID1 "\"]", PROXY, "\"local_dc\": 1, "), "\"contact_info.local_dc\" is not a text" },
};

START_TEST(metadata_refused)
{
	struct bundle_metadata m;

	ck_assert_msg(!parse(bad_metadata[_i].json, &m), "accepted: %s", bad_metadata[_i].json);
	ck_assert_msg(strstr(error, bad_metadata[_i].refusal) != NULL, "'%s' should contain '%s'", error,
		      bad_metadata[_i].refusal);
	ck_assert_ptr_null(m.nodes);
}
END_TEST

START_TEST(too_many_nodes)
{
	const size_t each = sizeof(ID1) + 2;
	char *json = malloc(BUNDLE_MAX_NODES * each + 1024);
	struct bundle_metadata m;
	size_t len;

	ck_assert_ptr_nonnull(json);
	len = (size_t)sprintf(json, "{\"contact_info\": {" PROXY "\"contact_points\": [");
	for (unsigned i = 0; i <= BUNDLE_MAX_NODES; i++)
		len += (size_t)sprintf(json + len, "%s\"" ID1 "\"", i ? "," : "");
	strcpy(json + len, "]}}");
	ck_assert(!parse(json, &m));
	ck_assert_msg(strstr(error, "has 4097 items; allowed: 4096") != NULL, "%s", error);
	free(json);
}
END_TEST

static void setup(void)
{
	ck_assert_ptr_nonnull(mkdtemp(folder));
	snprintf(path, sizeof(path), "%s/b.zip", folder);
}

static void teardown(void)
{
	char file[64];

	snprintf(file, sizeof(file), "%s/b.zip", folder);
	unlink(file);
	rmdir(folder);
}

int main(void)
{
	Suite *suite = suite_create("bundle");
	TCase *tc = tcase_create("bundle");
	SRunner *runner;
	int failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, a_good_one);
	tcase_add_test(tc, without_a_certificate);
	tcase_add_loop_test(tc, bad_contents, 0, (int)ARRAY_LEN(bad_members));
	tcase_add_loop_test(tc, other_configs, 0, (int)ARRAY_LEN(good_configs));
	tcase_add_test(tc, a_bomb);
	tcase_add_test(tc, no_zip_at_all);
	tcase_add_test(tc, damaged);
	tcase_add_test(tc, good_metadata);
	tcase_add_loop_test(tc, metadata_refused, 0, (int)ARRAY_LEN(bad_metadata));
	tcase_add_test(tc, too_many_nodes);
	tcase_set_timeout(tc, 60);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
