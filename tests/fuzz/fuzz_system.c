/*
 * fuzz_system.c - SELECTs on the system tables that the proxy answers: parsed,
 * prepared and executed in front of two clusters with one node each, whatever
 * the text. What its markers are bound to are the last bytes of the input.
 */
#include "cql/message.h"
#include "cql/rows.h"
#include "cql/version.h"
#include "fuzz.h"
#include "proxy/functions.h"
#include "proxy/topology.h"
#include "proxy/virtual.h"

#define MAX_VALUES 8

static struct settings settings;
static struct net_address local_address;
static struct function_source functions;

static char *addresses[] = { (char *)(uintptr_t) "127.0.0.1", (char *)(uintptr_t) "::2",
			     (char *)(uintptr_t) "127.0.0.3" };

static void set_value(struct host *host, const char *column, const void *value, uint32_t len)
{
	struct node_value *v = &host->values[host->value_count++];

	v->column = xstrdup(column);
	v->value = xmalloc(MAX(len, 1u));
	memcpy(v->value, value, len);
	v->len = len;
}

static struct topology *make_topology(void)
{
	static const uint8_t port[4] = { 0, 0, 0x23, 0x52 };
	struct topology *t = topology_new();

	t->local.values = xcalloc(4, sizeof(*t->local.values));
	set_value(&t->local, "key", "local", 5);
	set_value(&t->local, "cluster_name", "a \"b\"\n", 6);
	set_value(&t->local, "rpc_port", port, sizeof(port));
	set_value(&t->local, "gossip_generation", port, sizeof(port));
	return t;
}

/* An answer, whole: rows that can be read, or an error. */
static void check_answer(bool ok, const struct writer *w, uint8_t version)
{
	struct error_message error;
	struct rows rows;
	const char *why;

	if (!ok) {
		CHECK(message_parse_error(w->data, w->len, 0, &error) && error.rest_offset == w->len);
		return;
	}
	CHECK(rows_parse(w->data, w->len, 0, version, &rows, &why));
	for (uint32_t i = 0; i < rows.row_count * rows.column_count; i++)
		touch(rows.values[i].p, rows.values[i].is_null ? 0 : rows.values[i].len);
	rows_free(&rows);
}

static void execute(const struct virtual_query *q, const struct virtual_source *source, struct strview text,
		    uint8_t version)
{
	struct bytesview values[MAX_VALUES];
	struct virtual_request rq = {
		.version = version,
		.values = values,
		.value_count = text.len % (MAX_VALUES + 1),
		.page_size = text.len % 3,
		.paging_state = { .is_null = true },
	};
	struct writer w;

	for (unsigned i = 0; i < MAX_VALUES; i++) {
		uint32_t n = (uint32_t)MIN(text.len, (size_t)(i * 4 % 20));

		values[i] = (struct bytesview){ .p = (const uint8_t *)text.p + text.len - n, .len = n };
		values[i].is_null = text.len % 7 == i;
		values[i].is_unset = text.len % 11 == i;
	}
	writer_init(&w);
	check_answer(virtual_write_rows(q, source, &rq, &w), &w, version);
	writer_free(&w);
}

static void prepare(const struct virtual_query *q, const struct virtual_source *source, uint8_t version)
{
	const struct bytesview id = { .p = (const uint8_t *)"0123456789abcdef", .len = 16 };
	struct prepared_message m;
	struct error_message error;
	struct writer w;
	const char *why;

	writer_init(&w);
	if (virtual_write_prepared(q, source, version, id, &w))
		CHECK(message_parse_prepared(w.data, w.len, 0, version, &m, &why));
	else
		CHECK(message_parse_error(w.data, w.len, 0, &error));
	writer_free(&w);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint8_t versions[] = { 3, 4, 5 };
	static struct topology *topology;
	struct strview text = { (const char *)data, size };
	struct virtual_source source = { .settings = &settings,
					 .local_address = &local_address,
					 .functions = &functions };
	struct virtual_query *q;
	struct writer error;

	if (!topology) {
		topology = make_topology();
		functions_init(&functions, 0);
		settings.topology_num_tokens = 3;
		settings.topology_addresses.items = addresses;
		settings.topology_addresses.count = ARRAY_LEN(addresses);
		CHECK(net_parse_ip("127.0.0.1", 9042, &local_address));
	}
	source.topology = source.other = topology;
	writer_init(&error);
	q = virtual_query_new(text, &source, &error);
	if (q) {
		for (unsigned i = 0; i < ARRAY_LEN(versions); i++) {
			prepare(q, &source, versions[i]);
			execute(q, &source, text, versions[i]);
		}
	} else {
		check_answer(false, &error, 4);
	}
	virtual_query_free(q);
	writer_free(&error);
	return 0;
}
