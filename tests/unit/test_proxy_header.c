/* test_proxy_header.c - the PROXY protocol's header, whole and in pieces, with something else right behind it. */
#include "base/proxy_header.h"

#include "vectors.h"

#define SIG "\x0d\x0a\x0d\x0a\x00\x0d\x0a\x51\x55\x49\x54\x0a"
#define FOUR "\x0a\x01\x02\x03\xc0\x00\x02\x07\xc8\x22\x23\x52" /* 10.1.2.3:51234 to 192.0.2.7:9042 */
#define LO6 "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01"
#define DB6 "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x07"
#define SIX DB6 LO6 "\xff\xff\0\x01"
#define T10 "0123456789"
#define T100 T10 T10 T10 T10 T10 T10 T10 T10 T10 T10
#define UNIX_PATHS T100 T100 "0123456789012345"

struct sample {
	const char *bytes;
	size_t len;
	uint8_t version;
	const char *source, *destination; /* NULL: the header gives none */
	const char *why;                  /* not NULL: it is refused */
};

#define B(text) text, sizeof(text) - 1

static const struct sample good[] = {
	{ B("PROXY TCP4 10.1.2.3 192.0.2.7 51234 9042\r\n"), 1, "10.1.2.3:51234", "192.0.2.7:9042", NULL },
	{ B("PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n"), 1, "255.255.255.255:65535",
	  "255.255.255.255:65535", NULL },
	{ B("PROXY TCP4 0.0.0.0 0.0.0.0 0 0\r\n"), 1, "0.0.0.0:0", "0.0.0.0:0", NULL },
	{ B("PROXY TCP6 2001:db8::7 ::1 65535 1\r\n"), 1, "[2001:db8::7]:65535", "[::1]:1", NULL },
	{ B("PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n"),
	  1, "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535", "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535",
	  NULL },
	{ B("PROXY UNKNOWN\r\n"), 1, NULL, NULL, NULL },
	/* the longest line there may be */
	{ B("PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 "
	    "65535\r\n"),
	  1, NULL, NULL, NULL },
	{ B("PROXY UNKNOWN  what, ever\r\n"), 1, NULL, NULL, NULL },
	{ B(SIG "\x21\x11\x00\x0c" FOUR), 2, "10.1.2.3:51234", "192.0.2.7:9042", NULL },
	{ B(SIG "\x21\x21\x00\x24" SIX), 2, "[2001:db8::7]:65535", "[::1]:1", NULL },
	/* type-length-values behind the addresses: authority, a unique id */
	{ B(SIG "\x21\x11\x00\x16" FOUR "\x02\x00\x02hi\x05\x00\x02id"), 2, "10.1.2.3:51234", "192.0.2.7:9042", NULL },
	{ B(SIG "\x21\x21\x00\xec" SIX T100 T100), 2, "[2001:db8::7]:65535", "[::1]:1", NULL },
	{ B(SIG "\x20\x00\x00\x00"), 2, NULL, NULL, NULL },
	{ B(SIG "\x20\x11\x00\x0c" FOUR), 2, NULL, NULL, NULL },
	{ B(SIG "\x20\x12\x00\x0c" FOUR), 2, NULL, NULL, NULL },
	{ B(SIG "\x21\x00\x00\x05hello"), 2, NULL, NULL, NULL },
	{ B(SIG "\x21\x31\x00\xd8" UNIX_PATHS), 2, NULL, NULL, NULL },
};

static const struct sample bad[] = {
	{ B("\x04\x00\x00\x01\x05\x00\x00\x00\x00"), 1, NULL, NULL, "did not begin with a PROXY header of version 1" },
	{ B("\x16\x03\x01"), 1, NULL, NULL, "did not begin with a PROXY header of version 1" },
	{ B(SIG "\x21\x11\x00\x0c" FOUR), 1, NULL, NULL, "did not begin with a PROXY header of version 1" },
	{ B("PROXX"), 1, NULL, NULL, "did not begin with a PROXY header of version 1" },
	{ B("proxy TCP4 10.1.2.3 192.0.2.7 51234 9042\r\n"), 1, NULL, NULL, "did not begin with a PROXY header" },
	{ B("PROXY\r\n"), 1, NULL, NULL, "did not begin with" },
	{ B("\n"), 1, NULL, NULL, "did not begin with" },
	{ B("PROXY \n"), 1, NULL, NULL, "is no line that ends with CR and LF" },
	{ B("PROXY \r\n"), 1, NULL, NULL, "names no protocol" },
	{ B("PROXY  TCP4 10.1.2.3 192.0.2.7 51234 9042\r\n"), 1, NULL, NULL, "names no protocol" },
	{ B("PROXY UDP4 10.1.2.3 192.0.2.7 51234 9042\r\n"), 1, NULL, NULL, "of another protocol" },
	{ B("PROXY TCP5 10.1.2.3 192.0.2.7 51234 9042\r\n"), 1, NULL, NULL, "of another protocol" },
	{ B("PROXY TCP4\r\n"), 1, NULL, NULL, "cannot be read" },
	{ B("PROXY TCP4 10.1.2.3 192.0.2.7 51234\r\n"), 1, NULL, NULL, "cannot be read" },
	{ B("PROXY TCP4 10.1.2.3 192.0.2.7 51234 9042 1\r\n"), 1, NULL, NULL, "cannot be read" },
	{ B("PROXY TCP4 10.1.2.3  192.0.2.7 51234 9042\r\n"), 1, NULL, NULL, "cannot be read" },
	{ B("PROXY TCP4 10.1.2.3 192.0.2.7 51234 9042 \r\n"), 1, NULL, NULL, "cannot be read" },
	{ B("PROXY TCP4 10.1.2.3 192.0.2.7 65536 9042\r\n"), 1, NULL, NULL, "cannot be read" },
	{ B("PROXY TCP4 10.1.2.3 192.0.2.7 4294967296 9042\r\n"), 1, NULL, NULL, "cannot be read" },
	{ B("PROXY TCP4 10.1.2.3 192.0.2.7 -1 9042\r\n"), 1, NULL, NULL, "cannot be read" },
	{ B("PROXY TCP4 10.1.2.3 192.0.2.7 01 9042\r\n"), 1, NULL, NULL, "cannot be read" },
	{ B("PROXY TCP4 10.1.2 192.0.2.7 51234 9042\r\n"), 1, NULL, NULL, "cannot be read" },
	{ B("PROXY TCP4 localhost 192.0.2.7 51234 9042\r\n"), 1, NULL, NULL, "cannot be read" },
	{ B("PROXY TCP4 ::1 ::1 51234 9042\r\n"), 1, NULL, NULL, "cannot be read" },
	{ B("PROXY TCP6 10.1.2.3 192.0.2.7 51234 9042\r\n"), 1, NULL, NULL, "cannot be read" },
	{ B("PROXY TCP6 [::1] [::1] 51234 9042\r\n"), 1, NULL, NULL, "cannot be read" },
	{ B("PROXY TCP4 10.1.2.3 192.0.2.7 51234 9042\n"), 1, NULL, NULL, "ends with CR and LF" },
	{ B("PROXY TCP4 10.1.2.3 192.0.2.7 51234 90\00042\r\n"), 1, NULL, NULL, "ends with CR and LF" },
	{ B("PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 "
	    "65535 \r\n"),
	  1, NULL, NULL, "longer than 107 bytes" },
	{ B("PROXY UNKNOWN " T100), 1, NULL, NULL, "longer than 107 bytes" },
	{ B("PROXY TCP4 10.1.2.3 192.0.2.7 51234 9042\r\n"), 2, NULL, NULL,
	  "did not begin with a PROXY header of version 2" },
	{ B("\x0d\x0a\x0d\x0a\x00\x0d\x0a\x51\x55\x49\x54\x0b"), 2, NULL, NULL, "did not begin with a PROXY header" },
	{ B(SIG "\x11\x11\x00\x0c" FOUR), 2, NULL, NULL, "unknown version or command" },
	{ B(SIG "\x31\x11\x00\x0c" FOUR), 2, NULL, NULL, "unknown version or command" },
	{ B(SIG "\x22\x11\x00\x0c" FOUR), 2, NULL, NULL, "unknown version or command" },
	{ B(SIG "\x21\x12\x00\x0c" FOUR), 2, NULL, NULL, "of another protocol than TCP" },
	{ B(SIG "\x21\x22\x00\x24" SIX), 2, NULL, NULL, "of another protocol than TCP" },
	{ B(SIG "\x21\x41\x00\x0c" FOUR), 2, NULL, NULL, "of another protocol than TCP" },
	{ B(SIG "\x21\x32\x00\xd8" UNIX_PATHS), 2, NULL, NULL, "of another protocol than TCP" },
	{ B(SIG "\x21\x11\x00\x0b" FOUR), 2, NULL, NULL, "too short for two addresses" },
	{ B(SIG "\x21\x11\x00\x00"), 2, NULL, NULL, "too short for two addresses" },
	{ B(SIG "\x21\x21\x00\x0c" FOUR), 2, NULL, NULL, "too short for two addresses" },
};

/* Feeds bytes in a heap block of their size; how many of them were taken. */
static enum proxy_header_status feed(struct proxy_header *h, const void *bytes, size_t len, size_t *used)
{
	uint8_t *copy = malloc(len);
	enum proxy_header_status status;

	memcpy(copy, bytes, len);
	status = proxy_header_feed(h, copy, len, used);
	ck_assert_uint_le(*used, len);
	free(copy);
	return status;
}

static void expect(const struct proxy_header *h, const struct sample *s)
{
	char name[NET_TEXT_MAX];

	ck_assert_int_eq(h->has_addresses, s->source != NULL);
	if (s->source) {
		ck_assert_str_eq(net_format(&h->source, name), s->source);
		ck_assert_str_eq(net_format(&h->destination, name), s->destination);
	}
}

/* With a CQL or TLS byte behind it, that must not be taken: whole, and split at every place. */
START_TEST(good_headers)
{
	const struct sample *s = &good[_i];
	uint8_t bytes[512];

	memcpy(bytes, s->bytes, s->len);
	bytes[s->len] = '\n';
	for (size_t split = 0; split < s->len; split++) {
		struct proxy_header h;
		size_t used = 0;

		proxy_header_init(&h, s->version);
		if (split > 0) {
			ck_assert_int_eq(feed(&h, bytes, split, &used), PROXY_HEADER_MORE);
			ck_assert_uint_eq(used, split);
		}
		ck_assert_int_eq(feed(&h, bytes + split, s->len + 1 - split, &used), PROXY_HEADER_DONE);
		ck_assert_uint_eq(split + used, s->len);
		expect(&h, s);
	}
}
END_TEST

START_TEST(good_headers_byte_by_byte)
{
	const struct sample *s = &good[_i];
	struct proxy_header h;
	size_t used;

	proxy_header_init(&h, s->version);
	for (size_t i = 0; i + 1 < s->len; i++) {
		ck_assert_int_eq(feed(&h, s->bytes + i, 1, &used), PROXY_HEADER_MORE);
		ck_assert_uint_eq(used, 1);
	}
	ck_assert_int_eq(feed(&h, s->bytes + s->len - 1, 1, &used), PROXY_HEADER_DONE);
	expect(&h, s);
}
END_TEST

START_TEST(bad_headers)
{
	const struct sample *s = &bad[_i];

	for (size_t split = 0; split < s->len; split++) {
		enum proxy_header_status status = PROXY_HEADER_MORE;
		struct proxy_header h;
		size_t used = 0;

		proxy_header_init(&h, s->version);
		if (split > 0)
			status = feed(&h, s->bytes, split, &used);
		if (status == PROXY_HEADER_MORE)
			status = feed(&h, s->bytes + split, s->len - split, &used);
		ck_assert_int_eq(status, PROXY_HEADER_BAD);
		ck_assert_msg(strstr(h.why, s->why) != NULL, "%s", h.why);
	}
}
END_TEST

START_TEST(the_longest_header_of_version_2)
{
	static const char fixed[] = SIG "\x21\x11\xff\xff" FOUR;
	const size_t len = PROXY_HEADER_V2_FIXED + 0xffff;
	uint8_t *bytes = calloc(1, len + 1);
	struct proxy_header h;
	size_t done = 0, used;

	memcpy(bytes, fixed, sizeof(fixed) - 1);
	proxy_header_init(&h, 2);
	while (done + 1000 < len) {
		ck_assert_int_eq(feed(&h, bytes + done, 1000, &used), PROXY_HEADER_MORE);
		ck_assert_uint_eq(used, 1000);
		done += used;
	}
	ck_assert_int_eq(feed(&h, bytes + done, len + 1 - done, &used), PROXY_HEADER_DONE);
	ck_assert_uint_eq(done + used, len);
	ck_assert(h.has_addresses);
	free(bytes);
}
END_TEST

int main(void)
{
	TCase *tcase = tcase_create("proxy_header");

	tcase_add_loop_test(tcase, good_headers, 0, (int)ARRAY_LEN(good));
	tcase_add_loop_test(tcase, good_headers_byte_by_byte, 0, (int)ARRAY_LEN(good));
	tcase_add_loop_test(tcase, bad_headers, 0, (int)ARRAY_LEN(bad));
	tcase_add_test(tcase, the_longest_header_of_version_2);
	return run_tcase("proxy_header", tcase);
}
