/*
 * virtual_helper.h - a proxy in front of a cluster of three nodes, and
 * questions about its system tables.
 */
#ifndef TESTS_UNIT_VIRTUAL_HELPER_H
#define TESTS_UNIT_VIRTUAL_HELPER_H

#include "proxy/virtual.h"

#include "proxy/functions.h"
#include "proxy/virtual_values.h"
#include "system_tables.h"

static struct settings settings;
static struct net_address local_address;
static struct virtual_source source;
static struct function_source functions;
static struct table local, peers;
static struct writer out;

static char *addresses[] = { (char *)(uintptr_t) "127.0.0.1", (char *)(uintptr_t) "127.0.0.2",
			     (char *)(uintptr_t) "127.0.0.3" };

/* Makes the snapshot of the cluster out of the tables. */
static inline void learn(void)
{
	struct topology_source from = { .id = CLUSTER_ORIGIN, .settings = &settings };
	char error[256] = "";

	ck_assert(net_parse_ip("10.0.0.1", 9042, &from.contact));
	topology_unref(source.topology);
	source.topology = topology_new();
	ck_assert_msg(tables_fill(source.topology, &from, &local, &peers, error, sizeof(error)) == TOPOLOGY_OK, "%s",
		      error);
}

/* Three real nodes: 1 (rack a), 2 (rack a), 3 (rack b, another release). One proxy, reached at 127.0.0.1:14002. */
static inline void setup(void)
{
	settings = (struct settings){ .topology_num_tokens = 8, .profile = PROFILE_ZDM };
	settings.cluster[CLUSTER_ORIGIN].port = 9042;
	ck_assert(net_parse_ip("127.0.0.1", 14002, &local_address));
	functions_init(&functions, 0);
	source = (struct virtual_source){
		.settings = &settings,
		.local_address = &local_address,
		.functions = &functions,
	};
	local = local_table();
	peers = peer_table();
	peer_table_add(&peers, "10.0.0.3", "dc1", "3", "b")[PEER_RELEASE] = "5.0.3";
	peer_table_add(&peers, "10.0.0.2", "dc1", "2", "a");
	learn();
	writer_init(&out);
}

static inline void three_proxies(unsigned own)
{
	settings.topology_addresses.items = addresses;
	settings.topology_addresses.count = ARRAY_LEN(addresses);
	settings.topology_index = own;
}

static inline void teardown(void)
{
	topology_unref(source.topology);
	writer_free(&out);
}

/* ---- asking ---- */

static inline struct virtual_query *query(const char *text)
{
	struct writer error;
	struct virtual_query *q;

	writer_init(&error);
	q = virtual_query_new(sv_from(text), &source, &error);
	ck_assert_msg(q != NULL, "%s: %.*s", text, error.len > 6 ? (int)error.len - 6 : 0, error.data + 6);
	writer_free(&error);
	return q;
}

static inline struct virtual_request request_of(const struct bytesview *values, const struct strview *names, unsigned n)
{
	return (struct virtual_request){
		.version = 4,
		.values = values,
		.names = names,
		.value_count = n,
		.paging_state = { .is_null = true },
	};
}

/* The rows point into `out`, which stays until the next question. */
static inline struct rows ask_bound(const char *text, const struct bytesview *values, const struct strview *names,
				    unsigned n)
{
	struct virtual_query *q = query(text);
	struct virtual_request rq = request_of(values, names, n);
	struct rows rows;
	const char *why = "";

	out.len = 0;
	ck_assert_msg(virtual_write_rows(q, &source, &rq, &out), "%s: %.*s", text, (int)out.len - 6, out.data + 6);
	virtual_query_free(q);
	ck_assert_msg(rows_parse(out.data, out.len, 0, 4, &rows, &why), "%s: %s", text, why);
	return rows;
}

static inline struct rows ask(const char *text)
{
	return ask_bound(text, NULL, NULL, 0);
}

static inline void expect_error(const struct writer *w, const char *text, const char *expected)
{
	struct error_message error;

	ck_assert(message_parse_error(w->data, w->len, 0, &error));
	ck_assert_msg(error.code == CQL_ERR_INVALID || error.code == CQL_ERR_SYNTAX_ERROR, "%s: %#x", text, error.code);
	ck_assert_uint_eq(error.rest_offset, w->len);
	ck_assert_msg(memmem(error.text.p, error.text.len, expected, strlen(expected)) != NULL,
		      "%s: expected \"%s\", got \"%.*s\"", text, expected, SV_ARG(error.text));
}

/* Refused, when it is parsed or when it is executed. */
static inline void refused_bound(const char *text, const struct bytesview *values, const struct strview *names,
				 unsigned n, const char *expected)
{
	struct virtual_query *q;
	struct virtual_request rq = request_of(values, names, n);

	out.len = 0;
	q = virtual_query_new(sv_from(text), &source, &out);
	if (q)
		ck_assert_msg(!virtual_write_rows(q, &source, &rq, &out), "%s", text);
	expect_error(&out, text, expected);
	virtual_query_free(q);
}

static inline void refused(const char *text, const char *expected)
{
	refused_bound(text, NULL, NULL, 0, expected);
}

/* ---- comparing ---- */

static inline void expect_text(struct bytesview v, const char *expected)
{
	ck_assert(!v.is_null);
	ck_assert_msg(v.len == strlen(expected) && memcmp(v.p, expected, v.len) == 0, "expected %s, got %.*s", expected,
		      (int)v.len, v.p);
}

static inline void expect_inet(struct bytesview v, const char *expected)
{
	struct net_address a;
	uint8_t bytes[16];

	ck_assert(net_parse_ip(expected, 0, &a));
	ck_assert_uint_eq(v.len, net_to_bytes(&a, bytes));
	ck_assert_mem_eq(v.p, bytes, v.len);
}

static inline void expect_uuid(struct bytesview v, const char *expected)
{
	char text[UUID_TEXT_MAX];

	ck_assert_uint_eq(v.len, 16);
	ck_assert_str_eq(topology_format_uuid(v.p, text), expected);
}

/* The column names in one text. */
static inline const char *names_of(const struct rows *rows)
{
	static char text[1024];
	size_t n = 0;

	text[0] = '\0';
	for (uint32_t i = 0; i < rows->column_count; i++)
		n += (size_t)snprintf(text + n, sizeof(text) - n, "%s%.*s", i ? " " : "",
				      SV_ARG(rows->columns[i].name));
	return text;
}

static inline struct bytesview int_value(uint32_t n)
{
	static uint8_t bytes[4];

	put_u32(bytes, n);
	return (struct bytesview){ .p = bytes, .len = 4 };
}

static inline struct bytesview text_value(const char *text)
{
	return (struct bytesview){ .p = (const uint8_t *)text, .len = (uint32_t)strlen(text) };
}

static inline unsigned count_rows(const char *text)
{
	struct rows rows = ask(text);
	unsigned n = rows.row_count;

	rows_free(&rows);
	return n;
}

#endif
