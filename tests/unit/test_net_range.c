/* test_net_range.c - networks as text, and who is in them. */
#include "base/net_range.h"

#include "vectors.h"

static char what[256];
static char text[NET_RANGE_TEXT_MAX];

static struct net_address ip(const char *literal)
{
	struct net_address a;

	ck_assert_msg(net_parse_ip(literal, 9042, &a), "'%s' is an address", literal);
	return a;
}

static struct net_range range(const char *of)
{
	struct net_range r;

	ck_assert_msg(net_range_parse(of, &r, what, sizeof(what)), "%s", what);
	return r;
}

static const struct {
	const char *written, *shown, *in, *out;
} networks[] = {
	{ "10.1.2.3", "10.1.2.3", "10.1.2.3", "10.1.2.2" },
	{ "10.1.2.3/32", "10.1.2.3", "10.1.2.3", "10.1.2.4" },
	{ "10.0.0.0/8", "10.0.0.0/8", "10.255.255.255", "11.0.0.0" },
	{ "192.168.4.0/23", "192.168.4.0/23", "192.168.5.255", "192.168.6.0" },
	{ "192.168.4.0/23", "192.168.4.0/23", "::ffff:192.168.4.7", "192.168.3.255" },
	{ "128.0.0.0/1", "128.0.0.0/1", "255.0.0.1", "127.255.255.255" },
	{ "0.0.0.0/0", "0.0.0.0/0", "1.2.3.4", "::1" },
	{ "0.0.0.0/0", "0.0.0.0/0", "::ffff:1.2.3.4", "102:304::" },
	{ "::/0", "::/0", "2001:db8::1", "1.2.3.4" },
	{ "::1", "::1", "::1", "::2" },
	{ "[::1]", "::1", "::1", "0.0.0.1" },
	{ "fd00::/8", "fd00::/8", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "fe00::" },
	{ "2001:DB8::/33", "2001:db8::/33", "2001:db8:7fff::", "2001:db8:8000::" },
	{ "2001:db8::/127", "2001:db8::/127", "2001:db8::1", "2001:db8::2" },
	{ "2001:db8::1/128", "2001:db8::1", "2001:db8::1", "2001:db8::" },
	{ "::ffff:10.0.0.0/104", "10.0.0.0/8", "10.9.9.9", "9.255.255.255" },
	{ "::ffff:0.0.0.0/96", "0.0.0.0/0", "9.9.9.9", "::" },
};

START_TEST(who_is_in)
{
	const struct net_range r = range(networks[_i].written);
	struct net_range again;
	struct net_address in = ip(networks[_i].in), out = ip(networks[_i].out);

	ck_assert(net_range_has(&r, &in));
	ck_assert(!net_range_has(&r, &out));
	ck_assert_str_eq(net_range_format(&r, text), networks[_i].shown);
	again = range(text);
	ck_assert(net_range_has(&again, &in) && !net_range_has(&again, &out));
}
END_TEST

static const struct {
	const char *written, *why;
} mistakes[] = {
	{ "", "\"\" is not an IP address or network" },
	{ "/8", "\"/8\" is not an IP address or network" },
	{ "localhost", "\"localhost\" is not an IP address or network" },
	{ "10.0.0", "\"10.0.0\" is not an IP address or network" },
	{ "10.0.0.0 /8", "\"10.0.0.0 /8\" is not an IP address or network" },
	{ "10.0.0.0/", "\"10.0.0.0/\" has no length of 0 to 32 behind its /" },
	{ "10.0.0.0/33", "\"10.0.0.0/33\" has no length of 0 to 32 behind its /" },
	{ "10.0.0.0/4294967304", "\"10.0.0.0/4294967304\" has no length of 0 to 32 behind its /" },
	{ "10.0.0.0/+8", "\"10.0.0.0/+8\" has no length of 0 to 32 behind its /" },
	{ "10.0.0.0/8 ", "\"10.0.0.0/8 \" has no length of 0 to 32 behind its /" },
	{ "10.0.0.0/255.0.0.0", "\"10.0.0.0/255.0.0.0\" has no length of 0 to 32 behind its /" },
	{ "::/129", "\"::/129\" has no length of 0 to 128 behind its /" },
	{ "::ffff:10.0.0.0/64", "\"::ffff:10.0.0.0/64\" is neither an IPv4 nor an IPv6 network" },
	{ "10.0.0.1/31", "\"10.0.0.1/31\" has bits set behind its length" },
	{ "10.1.0.0/8", "\"10.1.0.0/8\" has bits set behind its length" },
	{ "1.0.0.0/0", "\"1.0.0.0/0\" has bits set behind its length" },
	{ "2001:db8::1/64", "\"2001:db8::1/64\" has bits set behind its length" },
	{ "1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa:bbbb:cccc:dddd:eeee:ffff:0000/8",
	  "\"1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa:bbbb:cccc:dddd\" is not an IP address" },
};

START_TEST(what_is_none)
{
	struct net_range r;

	ck_assert_msg(!net_range_parse(mistakes[_i].written, &r, what, sizeof(what)), "%s", mistakes[_i].written);
	ck_assert_msg(strncmp(what, mistakes[_i].why, strlen(mistakes[_i].why) - 1) == 0, "%s", what);
}
END_TEST

START_TEST(lists)
{
	struct net_range_list list = { NULL, 0 };
	struct net_address a = ip("10.1.2.3"), b = ip("::1"), c = ip("10.2.0.0");
	struct net_range r;

	ck_assert(!net_range_list_has(&list, &a));
	r = range("::1");
	net_range_list_add(&list, &r);
	r = range("10.1.0.0/16");
	net_range_list_add(&list, &r);
	ck_assert_uint_eq(list.count, 2);
	ck_assert(net_range_list_has(&list, &a));
	ck_assert(net_range_list_has(&list, &b));
	ck_assert(!net_range_list_has(&list, &c));
	net_range_list_free(&list);
	ck_assert_uint_eq(list.count, 0);
	ck_assert(!net_range_list_has(&list, &b));
}
END_TEST

int main(void)
{
	TCase *tcase = tcase_create("net_range");

	tcase_add_loop_test(tcase, who_is_in, 0, (int)ARRAY_LEN(networks));
	tcase_add_loop_test(tcase, what_is_none, 0, (int)ARRAY_LEN(mistakes));
	tcase_add_test(tcase, lists);
	return run_tcase("net_range", tcase);
}
