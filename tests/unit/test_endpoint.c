/* test_endpoint.c - where a control connection is tried, and in which order; names that turn into addresses. */
#include "proxy/endpoint.h"

#include <unistd.h>

#include "base/resolve.h"
#include "vectors.h"

static char *points[] = { (char *)(uintptr_t) "10.0.0.1", (char *)(uintptr_t) "node2.example",
			  (char *)(uintptr_t) "fd00::3" };
static struct cluster_settings settings;
static struct endpoint_list list;
static struct topology *known;

static void setup(void)
{
	settings = (struct cluster_settings){ .contact_points = { points, ARRAY_LEN(points) },
					      .port = 9142,
					      .enable_host_assignment = true };
	list = (struct endpoint_list){ .items = NULL };
	known = topology_new();
	known->hosts = xcalloc(2, sizeof(*known->hosts));
	known->all_count = known->host_count = known->local_count = 2;
	ck_assert(net_parse_ip("10.0.0.9", 9142, &known->hosts[0].address));
	ck_assert(net_parse_ip("10.0.0.1", 9142, &known->hosts[1].address));
}

static void teardown(void)
{
	endpoint_list_clear(&list);
	topology_unref(known);
}

static const char *text_of(const struct endpoint *e)
{
	static char text[ENDPOINT_TEXT_MAX];

	return e ? endpoint_format(e, settings.port, text) : "";
}

/* The whole round in one text; names stay unresolved. */
static const char *round_text(void)
{
	static char text[1024];
	struct endpoint *e;
	size_t n = 0;

	text[0] = '\0';
	while ((e = endpoint_list_take(&list)))
		n += (size_t)snprintf(text + n, sizeof(text) - n, "%s|", text_of(e));
	return text;
}

/* Once round from anywhere: each start comes up sooner or later, and nothing else does. */
START_TEST(contact_points_go_round)
{
	static const char *const rounds[] = {
		"10.0.0.1:9142|node2.example:9142|[fd00::3]:9142|",
		"node2.example:9142|[fd00::3]:9142|10.0.0.1:9142|",
		"[fd00::3]:9142|10.0.0.1:9142|node2.example:9142|",
	};
	bool seen[3] = { false };

	for (unsigned i = 0; i < 200; i++) {
		unsigned match = 0;
		const char *text;

		endpoint_list_fill(&list, &settings, NULL, true);
		ck_assert_ptr_null(endpoint_list_current(&list));
		text = round_text();
		while (match < 3 && strcmp(text, rounds[match]) != 0)
			match++;
		ck_assert_msg(match < 3, "%s", text);
		seen[match] = true;
	}
	ck_assert(seen[0] && seen[1] && seen[2]);
}
END_TEST

/* Known nodes come first, and a contact point that is one of them is not tried twice ... */
START_TEST(known_nodes_first)
{
	settings.contact_points.count = 1;
	for (unsigned i = 0; i < 20; i++) {
		endpoint_list_fill(&list, &settings, known, true);
		ck_assert_uint_eq(list.count, 2);
	}
	/* ... unless its certificate may be another one under that name. */
	endpoint_list_fill(&list, &settings, known, false);
	ck_assert_uint_eq(list.count, 3);
	ck_assert_str_eq(text_of(&list.items[2]), "10.0.0.1:9142");
}
END_TEST

/* The node that was lost is tried again when all others have been, be it known or a contact point. */
START_TEST(the_lost_one_last)
{
	struct net_address lost;

	settings.contact_points.count = 1;
	ck_assert(net_parse_ip(_i == 0 ? "10.0.0.1" : "10.0.0.9", 9142, &lost));
	for (unsigned i = 0; i < 20; i++) {
		endpoint_list_fill(&list, &settings, known, true);
		endpoint_list_put_off(&list, &lost);
		ck_assert_str_eq(round_text(),
				 _i == 0 ? "10.0.0.9:9142|10.0.0.1:9142|" : "10.0.0.1:9142|10.0.0.9:9142|");
	}
	ck_assert(net_parse_ip("10.0.0.77", 9142, &lost));
	endpoint_list_fill(&list, &settings, known, true);
	endpoint_list_put_off(&list, &lost);
	ck_assert_uint_eq(list.count, 2);
	endpoint_list_clear(&list);
	endpoint_list_put_off(&list, &lost);
	ck_assert_uint_eq(list.count, 0);
}
END_TEST

/* Nodes of other datacenters can tell as much as our own, but those come first. */
START_TEST(other_datacenters_behind)
{
	settings.contact_points.count = 0;
	known->host_count = known->local_count = 1;
	for (unsigned i = 0; i < 20; i++) {
		endpoint_list_fill(&list, &settings, known, true);
		ck_assert_str_eq(round_text(), "10.0.0.9:9142|10.0.0.1:9142|");
	}
}
END_TEST

START_TEST(contact_points_only)
{
	settings.enable_host_assignment = false;
	settings.contact_points.count = 1;
	endpoint_list_fill(&list, &settings, known, true);
	ck_assert_str_eq(round_text(), "10.0.0.1:9142|");
}
END_TEST

/* All addresses of a name are tried, right behind it, with its name for TLS. */
START_TEST(addresses_of_a_name)
{
	struct net_address found[3];

	ck_assert(net_parse_ip("10.0.0.21", 9142, &found[0]));
	ck_assert(net_parse_ip("10.0.0.1", 9142, &found[1]));
	ck_assert(net_parse_ip("10.0.0.22", 9142, &found[2]));
	do
		endpoint_list_fill(&list, &settings, NULL, true);
	while (list.items[1].host == NULL);
	ck_assert_str_eq(text_of(endpoint_list_take(&list)), "10.0.0.1:9142");
	ck_assert_str_eq(text_of(endpoint_list_take(&list)), "node2.example:9142");
	ck_assert(!endpoint_list_current(&list)->is_resolved);
	endpoint_list_insert(&list, found, 3);
	ck_assert_str_eq(text_of(endpoint_list_current(&list)), "node2.example:9142");
	ck_assert_str_eq(text_of(endpoint_list_peek(&list)), "node2.example (10.0.0.21:9142)");
	ck_assert_str_eq(round_text(), "node2.example (10.0.0.21:9142)|node2.example (10.0.0.22:9142)|[fd00::3]:9142|");
	ck_assert_ptr_null(endpoint_list_peek(&list));
}
END_TEST

/* ---- names ---- */

struct found {
	unsigned calls;
	unsigned count;
	struct net_address first;
	char why[128];
};

static void on_found(void *arg, const struct net_address *addresses, unsigned count, const char *why)
{
	struct found *found = arg;

	found->calls++;
	found->count = count;
	if (count > 0)
		found->first = addresses[0];
	snprintf(found->why, sizeof(found->why), "%s", why);
}

START_TEST(resolving)
{
	struct found found = { .calls = 0 };
	struct loop loop;

	ck_assert(loop_init(&loop, 1000));
	resolve_start(&loop, _i == 0 ? "localhost" : "no such name", 9142, on_found, &found);
	while (found.calls == 0)
		loop_turn(&loop, true);
	if (_i == 0) {
		ck_assert_uint_ge(found.count, 1);
		ck_assert_uint_eq(net_port(&found.first), 9142);
	} else {
		ck_assert_uint_eq(found.count, 0);
		ck_assert_msg(strstr(found.why, "cannot be resolved") != NULL, "%s", found.why);
	}
	ck_assert_uint_eq(found.calls, 1);
	loop_fini(&loop);
}
END_TEST

START_TEST(resolving_cancelled)
{
	struct found found = { .calls = 0 }, other = { .calls = 0 };
	struct resolve *r;
	struct loop loop;

	ck_assert(loop_init(&loop, 1000));
	r = resolve_start(&loop, "localhost", 9142, on_found, &found);
	/* The second time the answer most likely waits in the loop's inbox already. */
	if (_i == 1)
		usleep(200000);
	resolve_cancel(r);
	resolve_start(&loop, "localhost", 9142, on_found, &other);
	while (other.calls == 0)
		loop_turn(&loop, true);
	ck_assert_uint_eq(found.calls, 0);
	loop_fini(&loop);
}
END_TEST

int main(void)
{
	TCase *tcase = tcase_create("endpoint");

	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, contact_points_go_round);
	tcase_add_test(tcase, known_nodes_first);
	tcase_add_loop_test(tcase, the_lost_one_last, 0, 2);
	tcase_add_test(tcase, other_datacenters_behind);
	tcase_add_test(tcase, contact_points_only);
	tcase_add_test(tcase, addresses_of_a_name);
	tcase_add_loop_test(tcase, resolving, 0, 2);
	tcase_add_loop_test(tcase, resolving_cancelled, 0, 2);
	return run_tcase("endpoint", tcase);
}
