/*
 * test_virtual_eval.c - functions, JSON, groups and pages of the system tables
 * that we answer, and what comes with Cassandra 4.0.
 */
#include "virtual_helper.h"

/* ---- functions, JSON, pages ---- */

static void expect_value(const char *text, const char *name, const struct bytesview *type, const char *value)
{
	struct rows rows = ask(text);

	ck_assert_msg(rows.row_count == 1 && rows.column_count == 1, "%s", text);
	ck_assert_str_eq(names_of(&rows), name);
	ck_assert_mem_eq(rows.columns[0].type.p, type->p, type->len);
	if (value)
		expect_text(rows.values[0], value);
	rows_free(&rows);
}

static const struct {
	const char *text, *name, *value;
} text_table[] = {
	{ "SELECT toJson(key) FROM system.local", "system.tojson(key)", "\"local\"" },
	{ "SELECT to_json(key) FROM system.local", "system.tojson(key)", "\"local\"" },
	{ "SELECT system.toJson(gossip_generation) AS g FROM system.local", "g", "1700000000" },
	{ "SELECT toJson(truncated_at) FROM system.local", "system.tojson(truncated_at)", "null" },
	{ "SELECT toJson(max(key)) FROM system.local", "system.tojson(system.max(key))", "\"local\"" },
	{ "SELECT toJson((text)'it''s \"x\"') FROM system.local", "system.tojson((text)'it''s \"x\"')",
	  "\"it's \\\"x\\\"\"" },
	{ "SELECT CAST(gossip_generation AS text) FROM system.local", "cast(gossip_generation as text)", "1700000000" },
	{ "SELECT CAST(rpc_address AS text) FROM system.local", "cast(rpc_address as text)", "127.0.0.1" },
	{ "SELECT CAST(key AS text) FROM system.local", "key", "local" },
	{ "SELECT CAST(count(*) AS text) FROM system.local", "cast(count as text)", "1" },
	{ "SELECT CAST((timestamp)-9223372036854775808 AS text) FROM system.local",
	  "cast((timestamp)-9223372036854775808 as text)", "-292275055-05-16T16:47:04.192Z" },
	{ "SELECT CAST((timestamp)9223372036854775807 AS text) FROM system.local",
	  "cast((timestamp)9223372036854775807 as text)", "292278994-08-17T07:12:55.807Z" },
	{ "SELECT CAST((ascii)'' AS text) FROM system.local", "cast((ascii)'' as text)", "" },
	{ "SELECT CAST((boolean)true AS text) FROM system.local", "cast((boolean)true as text)", "true" },
	{ "SELECT blobAsText(textAsBlob(key)) FROM system.local", "system.blobastext(system.textasblob(key))",
	  "local" },
	{ "SELECT min(key) FROM system.local", "system.min(key)", "local" },
	{ "SELECT JSON key AS k, key AS \"K\", rack AS \"a b\", truncated_at FROM system.local", "[json]",
	  "{\"k\": \"local\", \"\\\"K\\\"\": \"local\", \"a b\": \"rack0\", \"truncated_at\": null}" },
	{ "SELECT JSON count(*) FROM system.peers", "[json]", "{\"count\": 0}" },
	{ "SELECT JSON DISTINCT key FROM system.local", "[json]", "{\"key\": \"local\"}" },
	{ "SELECT JSON host_id, rpc_address, gossip_generation FROM system.local", "[json]",
	  "{\"host_id\": \"c9308a60-f574-524c-a3f7-02b92ce2a574\", \"rpc_address\": \"127.0.0.1\", "
	  "\"gossip_generation\": 1700000000}" },
};

START_TEST(text_functions)
{
	expect_value(text_table[_i].text, text_table[_i].name, &rows_type_varchar, text_table[_i].value);
}
END_TEST

static const struct {
	const char *text, *name;
	uint16_t type;
	uint32_t len; /* UINT32_MAX: null */
	const char *bytes;
} typed[] = {
	{ "SELECT token(key) FROM system.local", "system.token(key)", TYPE_BIGINT, 8,
	  "\x97\x05\x87\x36\x72\xa6\x2b\xcb" },
	{ "SELECT token('a') FROM system.local", "system.token('a')", TYPE_BIGINT, 8,
	  "\x85\x55\x55\x65\xf6\x59\x78\x89" },
	{ "SELECT (int)-5 FROM system.local", "(int)-5", TYPE_INT, 4, "\xff\xff\xff\xfb" },
	{ "SELECT (blob)0xfe01 FROM system.local", "(blob)0xfe01", TYPE_BLOB, 2, "\xfe\x01" },
	{ "SELECT (text)null FROM system.local", "(text)NULL", TYPE_VARCHAR, UINT32_MAX, "" },
	{ "SELECT writetime(rack) FROM system.local", "writetime(rack)", TYPE_BIGINT, UINT32_MAX, "" },
	{ "SELECT ttl(rack) FROM system.local", "ttl(rack)", TYPE_INT, UINT32_MAX, "" },
	{ "SELECT count(key) FROM system.local", "system.count(key)", TYPE_BIGINT, 8, "\0\0\0\0\0\0\0\1" },
	{ "SELECT count(truncated_at) FROM system.local", "system.count(truncated_at)", TYPE_BIGINT, 8,
	  "\0\0\0\0\0\0\0\0" },
	{ "SELECT sum(gossip_generation) FROM system.local", "system.sum(gossip_generation)", TYPE_INT, 4,
	  "\x65\x53\xf1\x00" },
	{ "SELECT avg(gossip_generation) FROM system.local", "system.avg(gossip_generation)", TYPE_INT, 4,
	  "\x65\x53\xf1\x00" },
	{ "SELECT max(peer) FROM system.peers", "system.max(peer)", TYPE_INET, UINT32_MAX, "" },
	{ "SELECT CAST(gossip_generation AS bigint) FROM system.local", "cast(gossip_generation as bigint)",
	  TYPE_BIGINT, 8, "\0\0\0\0\x65\x53\xf1\x00" },
	{ "SELECT CAST(gossip_generation AS smallint) FROM system.local", "cast(gossip_generation as smallint)",
	  TYPE_SMALLINT, 2, "\xf1\x00" },
	{ "SELECT CAST(gossip_generation AS varint) FROM system.local", "cast(gossip_generation as varint)",
	  TYPE_VARINT, 4, "\x65\x53\xf1\x00" },
	{ "SELECT CAST((int)5 AS double) FROM system.local", "cast((int)5 as double)", TYPE_DOUBLE, 8,
	  "\x40\x14\0\0\0\0\0\0" },
	{ "SELECT toUnixTimestamp((timeuuid)a747c000-2c29-11ea-8080-808080808080) FROM system.local",
	  "system.tounixtimestamp((timeuuid)a747c000-2c29-11ea-8080-808080808080)", TYPE_BIGINT, 8,
	  "\0\0\x01\x6f\x5e\x66\xe8\x00" },
	{ "SELECT toDate((timeuuid)a747c000-2c29-11ea-8080-808080808080) FROM system.local",
	  "system.todate((timeuuid)a747c000-2c29-11ea-8080-808080808080)", TYPE_DATE, 4, "\x80\0\x47\x56" },
};

START_TEST(typed_functions)
{
	struct rows rows = ask(typed[_i].text);

	ck_assert_uint_eq(rows.row_count, 1);
	ck_assert_str_eq(names_of(&rows), typed[_i].name);
	ck_assert_uint_eq(get_u16(rows.columns[0].type.p), typed[_i].type);
	if (typed[_i].len == UINT32_MAX) {
		ck_assert(rows.values[0].is_null);
	} else {
		ck_assert_uint_eq(rows.values[0].len, typed[_i].len);
		ck_assert_mem_eq(rows.values[0].p, typed[_i].bytes, typed[_i].len);
	}
	rows_free(&rows);
}
END_TEST

static const struct {
	const char *text, *name;
	uint16_t type;
	uint32_t len;
} made[] = {
	{ "SELECT NOW() FROM system.local", "system.now()", TYPE_TIMEUUID, 16 },
	{ "SELECT uuid() FROM system.local", "system.uuid()", TYPE_UUID, 16 },
	{ "SELECT currentTimestamp() FROM system.local", "system.currenttimestamp()", TYPE_TIMESTAMP, 8 },
	{ "SELECT current_date() FROM system.local", "system.current_date()", TYPE_DATE, 4 },
	{ "SELECT currentTime() FROM system.local", "system.currenttime()", TYPE_TIME, 8 },
	{ "SELECT toTimestamp(now()) FROM system.local", "system.totimestamp(system.now())", TYPE_TIMESTAMP, 8 },
	{ "SELECT CAST(now() AS date) FROM system.local", "cast(system.now() as date)", TYPE_DATE, 4 },
	{ "SELECT toTimestamp(currentDate()) FROM system.local", "system.totimestamp(system.currentdate())",
	  TYPE_TIMESTAMP, 8 },
};

START_TEST(made_values)
{
	struct rows rows = ask(made[_i].text);
	uint8_t first[16];

	ck_assert_str_eq(names_of(&rows), made[_i].name);
	ck_assert_uint_eq(get_u16(rows.columns[0].type.p), made[_i].type);
	ck_assert_uint_eq(rows.values[0].len, made[_i].len);
	memcpy(first, rows.values[0].p, made[_i].len);
	if (made[_i].type == TYPE_TIMEUUID)
		ck_assert_uint_eq(first[6] >> 4, 1);
	rows_free(&rows);
	rows = ask(made[_i].text);
	if (made[_i].len == 16)
		ck_assert_mem_ne(rows.values[0].p, first, 16);
	rows_free(&rows);
}
END_TEST

/* From v4 on; before, a class stands for the type. */
START_TEST(types_of_old_versions)
{
	struct virtual_query *q = query("SELECT currentDate() FROM system.local");
	struct virtual_request rq = request_of(NULL, NULL, 0);
	struct rows rows;
	struct reader r;
	const char *why = "";

	rq.version = 3;
	out.len = 0;
	ck_assert(virtual_write_rows(q, &source, &rq, &out));
	ck_assert_msg(rows_parse(out.data, out.len, 0, 3, &rows, &why), "%s", why);
	r = reader_over(rows.columns[0].type.p, rows.columns[0].type.len);
	ck_assert_uint_eq(read_short(&r), TYPE_CUSTOM);
	ck_assert(sv_equal(read_string(&r), SV("org.apache.cassandra.db.marshal.SimpleDateType")));
	rows_free(&rows);
	virtual_query_free(q);
}
END_TEST

START_TEST(groups)
{
	struct rows rows;

	three_proxies(0);
	rows = ask("SELECT peer, count(*) FROM system.peers GROUP BY peer");
	ck_assert_uint_eq(rows.row_count, 2);
	ck_assert_uint_eq(get_u64(rows.values[3].p), 1);
	rows_free(&rows);
	rows = ask("SELECT max(peer), min(peer), count(*) FROM system.peers");
	expect_inet(rows.values[0], "127.0.0.3");
	expect_inet(rows.values[1], "127.0.0.2");
	rows_free(&rows);
	settings.topology_addresses.count = 0;
	rows = ask("SELECT count(*) FROM system.peers GROUP BY peer");
	ck_assert_uint_eq(rows.row_count, 0);
	rows_free(&rows);
}
END_TEST

/* One page of so many rows; the state for the next one goes to `state`. */
static unsigned ask_page(const char *text, uint32_t size, struct bytesview *state, uint8_t buffer[16])
{
	struct virtual_query *q = query(text);
	struct virtual_request rq = request_of(NULL, NULL, 0);
	struct rows rows;
	const char *why = "";
	unsigned n;

	rq.page_size = size;
	rq.paging_state = *state;
	out.len = 0;
	ck_assert(virtual_write_rows(q, &source, &rq, &out));
	ck_assert_msg(rows_parse(out.data, out.len, 0, 4, &rows, &why), "%s", why);
	n = rows.row_count;
	*state = rows.paging_state;
	if (!state->is_null) {
		ck_assert_uint_le(state->len, 16);
		memcpy(buffer, state->p, state->len);
		state->p = buffer;
	}
	rows_free(&rows);
	virtual_query_free(q);
	return n;
}

START_TEST(pages)
{
	struct bytesview state = { .is_null = true };
	uint8_t buffer[16];

	three_proxies(0);
	ck_assert_uint_eq(ask_page("SELECT * FROM system.peers", 1, &state, buffer), 1);
	ck_assert(!state.is_null);
	ck_assert_uint_eq(ask_page("SELECT * FROM system.peers", 1, &state, buffer), 1);
	ck_assert(state.is_null);
	ck_assert_uint_eq(ask_page("SELECT * FROM system.peers", 2, &state, buffer), 2);
	ck_assert(state.is_null);
	ck_assert_uint_eq(ask_page("SELECT * FROM system.peers LIMIT 1", 1, &state, buffer), 1);
	ck_assert(state.is_null);
	ck_assert_uint_eq(ask_page("SELECT * FROM system.peers", (uint32_t)-1, &state, buffer), 2);
	ck_assert_uint_eq(ask_page("SELECT count(*) FROM system.peers", 1, &state, buffer), 1);
	ck_assert(state.is_null);
}
END_TEST

static const struct {
	const char *bytes;
	uint32_t len;
} bad_states[] = { { "", 0 },
		   { "x", 1 },
		   { "\xcf\x4c\0\0\0", 5 },
		   { "\xcf\x4c\0\0\0\7", 6 },
		   { "\xcf\x4c\xff\xff\xff\xff", 6 },
		   { "\0\0\0\0\0\0", 6 },
		   { "\xcf\x4c\0\0\0\0\0", 7 } };

START_TEST(bad_paging_states)
{
	struct virtual_query *q = query("SELECT * FROM system.peers");
	struct virtual_request rq = request_of(NULL, NULL, 0);
	struct error_message error;

	three_proxies(0);
	rq.paging_state = (struct bytesview){ .p = (const uint8_t *)bad_states[_i].bytes, .len = bad_states[_i].len };
	out.len = 0;
	ck_assert(!virtual_write_rows(q, &source, &rq, &out));
	ck_assert(message_parse_error(out.data, out.len, 0, &error));
	ck_assert_uint_eq(error.code, CQL_ERR_PROTOCOL_ERROR);
	virtual_query_free(q);
}
END_TEST

/* ---- system.peers_v2 and the ports of Cassandra 4.0 ---- */

static const struct table_column local_4_columns[] = {
	{ "key", &rows_type_varchar },     { "data_center", &rows_type_varchar }, { "host_id", &rows_type_uuid },
	{ "rack", &rows_type_varchar },    { "rpc_port", &rows_type_int },        { "broadcast_port", &rows_type_int },
	{ "listen_port", &rows_type_int },
};

/* Both clusters are of 4.0 and more. */
static void both_have_ports(void)
{
	local = (struct table){
		.columns = local_4_columns,
		.column_count = ARRAY_LEN(local_4_columns),
		.rows = { { "local", "dc1", "1", "a", "9042", "7000", "7000" } },
		.row_count = 1,
	};
	learn();
	source.other = source.topology;
	settings.profile = PROFILE_NATIVE;
}

START_TEST(ports_of_4_0)
{
	struct rows rows;

	both_have_ports();
	rows = ask("SELECT rpc_port, broadcast_port, listen_port FROM system.local");
	for (unsigned i = 0; i < 3; i++)
		ck_assert_uint_eq(get_u32(rows.values[i].p), 14002);
	rows_free(&rows);
	rows = ask("SELECT * FROM system.peers_v2");
	ck_assert_str_eq(names_of(&rows), "peer peer_port data_center host_id native_address native_port preferred_ip "
					  "preferred_port rack release_version schema_version tokens");
	ck_assert_uint_eq(rows.row_count, 0);
	rows_free(&rows);
	three_proxies(0);
	rows = ask("SELECT native_address, native_port, peer_port, release_version FROM system.peers_v2 "
		   "WHERE peer = '127.0.0.3' AND peer_port = 14002");
	ck_assert_uint_eq(rows.row_count, 1);
	expect_inet(rows.values[0], "127.0.0.3");
	ck_assert_uint_eq(get_u32(rows.values[1].p), 14002);
	ck_assert_uint_eq(get_u32(rows.values[2].p), 14002);
	expect_text(rows.values[3], "5.0.3");
	rows_free(&rows);
	ck_assert_uint_eq(
		count_rows("SELECT peer FROM system.peers_v2 WHERE peer = '127.0.0.3' ORDER BY peer_port DESC"), 1);
	ck_assert_uint_eq(count_rows("SELECT DISTINCT peer FROM system.peers_v2"), 2);
	refused("SELECT DISTINCT peer_port FROM system.peers_v2", "not peer_port");
	refused("SELECT peer FROM system.peers_v2 WHERE peer_port = 1", "ALLOW FILTERING");
}
END_TEST

START_TEST(no_peers_v2)
{
	both_have_ports();
	settings.profile = PROFILE_ZDM;
	refused("SELECT * FROM system.peers_v2", "unconfigured table peers_v2");
	refused("SELECT rpc_port FROM system.local", "Undefined column name rpc_port");
	settings.profile = PROFILE_NATIVE;
	source.other = NULL;
	refused("SELECT * FROM system.peers_v2", "unconfigured table peers_v2");
	local = local_table();
	learn();
	source.other = source.topology;
	refused("SELECT tokens + 1 FROM system.peers_v2", "unconfigured table peers_v2");
}
END_TEST

int main(void)
{
	TCase *tcase = tcase_create("virtual_eval");

	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_loop_test(tcase, text_functions, 0, ARRAY_LEN(text_table));
	tcase_add_loop_test(tcase, typed_functions, 0, ARRAY_LEN(typed));
	tcase_add_loop_test(tcase, made_values, 0, ARRAY_LEN(made));
	tcase_add_test(tcase, types_of_old_versions);
	tcase_add_test(tcase, groups);
	tcase_add_test(tcase, pages);
	tcase_add_loop_test(tcase, bad_paging_states, 0, ARRAY_LEN(bad_states));
	tcase_add_test(tcase, ports_of_4_0);
	tcase_add_test(tcase, no_peers_v2);
	return run_tcase("virtual_eval", tcase);
}
