/* body.c - see body.h */
#include "body.h"

#include <string.h>

#include "cql/rows.h"

void body_supported(struct writer *w)
{
	write_short(w, 2);
	write_cstring(w, "CQL_VERSION");
	write_short(w, 1);
	write_cstring(w, "3.4.6");
	write_cstring(w, "COMPRESSION");
	write_short(w, 2);
	write_cstring(w, "snappy");
	write_cstring(w, "lz4");
}

void body_set_keyspace(struct writer *w, struct strview keyspace)
{
	write_int(w, RESULT_SET_KEYSPACE);
	write_string(w, keyspace);
}

static void write_table(struct writer *w)
{
	write_cstring(w, "ks");
	write_cstring(w, "t");
}

static void write_blob_column(struct writer *w, const char *name)
{
	write_cstring(w, name);
	write_short(w, TYPE_BLOB);
}

/* Section 4.2.5.4. */
void body_prepared(struct writer *w, uint8_t version, const uint8_t id[ID_LEN], bool is_write)
{
	write_int(w, RESULT_PREPARED);
	write_short_bytes(w, id, ID_LEN);
	if (version >= 5)
		write_short_bytes(w, "rrrrrrrrrrrrrrrr", 16); /* id of the result metadata: equal columns, equal ids */
	write_int(w, ROWS_GLOBAL_TABLES_SPEC);
	write_int(w, is_write ? 2 : 1);
	if (version >= 4) {
		write_int(w, 1); /* partition key: the first variable */
		write_short(w, 0);
	}
	write_table(w);
	write_blob_column(w, "k");
	if (is_write) {
		write_blob_column(w, "v");
		write_int(w, ROWS_NO_METADATA);
		write_int(w, 0);
	} else {
		write_int(w, ROWS_GLOBAL_TABLES_SPEC);
		write_int(w, 1);
		write_table(w);
		write_blob_column(w, "v");
	}
}

static void write_text(struct writer *w, const char *text)
{
	write_bytes(w, text, (uint32_t)strlen(text));
}

void body_local(struct writer *w, const struct net_address *address, char mark)
{
	static const struct {
		const char *name;
		const struct bytesview *type;
		const char *text; /* NULL: not a text */
	} columns[] = {
		{ "key", &rows_type_varchar, "local" },
		{ "bootstrapped", &rows_type_varchar, "COMPLETED" },
		{ "cluster_name", &rows_type_varchar, "fake" },
		{ "cql_version", &rows_type_varchar, "3.4.6" },
		{ "data_center", &rows_type_varchar, "dc1" },
		{ "partitioner", &rows_type_varchar, "org.apache.cassandra.dht.Murmur3Partitioner" },
		{ "rack", &rows_type_varchar, "rack1" },
		{ "release_version", &rows_type_varchar, "4.1.4" },
		{ "rpc_address", &rows_type_inet, NULL },
		{ "host_id", &rows_type_uuid, NULL },
		{ "schema_version", &rows_type_uuid, NULL },
		{ "tokens", &rows_type_set_varchar, NULL },
	};
	/* A set of one text, "0". */
	static const uint8_t tokens[] = { 0, 0, 0, 1, 0, 0, 0, 1, '0' };
	uint8_t raw[16];
	uint8_t uuid[16];

	memset(uuid, mark, sizeof(uuid));
	uuid[6] = 0x41; /* a UUID of version 4 */
	uuid[8] = 0x81;
	rows_write_head(w, ARRAY_LEN(columns), SV("system"), SV("local"));
	for (unsigned i = 0; i < ARRAY_LEN(columns); i++)
		rows_write_column(w, sv_from(columns[i].name), *columns[i].type);
	rows_write_count(w, 1);
	for (unsigned i = 0; i < ARRAY_LEN(columns); i++) {
		if (columns[i].text)
			write_text(w, columns[i].text);
	}
	write_bytes(w, raw, net_to_bytes(address, raw));
	write_bytes(w, uuid, sizeof(uuid));
	write_bytes(w, uuid, sizeof(uuid));
	write_bytes(w, tokens, sizeof(tokens));
}

void body_no_rows(struct writer *w, struct strview keyspace, struct strview table, struct strview column,
		  struct bytesview type)
{
	rows_write_head(w, 1, keyspace, table);
	rows_write_column(w, column, type);
	rows_write_count(w, 0);
}

/* Drivers have the metadata from PREPARED and ask that it be left out (section 4.2.5.2). */
void body_row_head(struct writer *w, uint32_t len)
{
	write_int(w, RESULT_ROWS);
	write_int(w, ROWS_NO_METADATA);
	write_int(w, 1); /* columns */
	write_int(w, 1); /* rows */
	write_int(w, len);
}

void body_authenticate(struct writer *w)
{
	write_cstring(w, "org.apache.cassandra.auth.PasswordAuthenticator");
}

void body_auth_response(struct writer *w, struct strview user, struct strview password)
{
	write_int(w, (uint32_t)(2 + user.len + password.len));
	write_byte(w, 0);
	write_raw(w, user.p, (uint32_t)user.len);
	write_byte(w, 0);
	write_raw(w, password.p, (uint32_t)password.len);
}

void body_error(struct writer *w, uint32_t code, const char *text)
{
	write_int(w, code);
	write_cstring(w, text);
}

void body_unprepared(struct writer *w, struct bytesview id)
{
	body_error(w, CQL_ERR_UNPREPARED, "Prepared query with this ID not found");
	write_short_bytes(w, id.p, (uint16_t)id.len);
}

/* Section 8. */
void body_timeout(struct writer *w, bool is_write)
{
	body_error(w, is_write ? CQL_ERR_WRITE_TIMEOUT : CQL_ERR_READ_TIMEOUT, "Operation timed out");
	write_short(w, CL_LOCAL_QUORUM);
	write_int(w, 1);
	write_int(w, 2);
	if (is_write)
		write_cstring(w, "SIMPLE");
	else
		write_byte(w, 0);
}
