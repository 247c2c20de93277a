/* fake_node.c - see fake_node.h */
#include "fake_node.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cql/compress.h"
#include "cql/message.h"
#include "cql/rows.h"

#define ID_LEN 16
/* What comes before the value in RESULT/ROWS. */
#define ROW_HEAD 20

/* A connection that the proxy made. */
struct session {
	struct peer peer;
	struct fake_node *node;
};

/* ---- ids ---- */

/* The second byte is 1 for what writes, so that also a proxy which reads no CQL can be measured. */
static void id_write(uint8_t id[ID_LEN], const struct fake_node *node, bool is_write)
{
	memset(id, 7, ID_LEN);
	id[0] = (uint8_t)node->mark;
	id[1] = is_write;
}

/* Whether the statement of an id writes; it must be one of this cluster's. */
static bool id_is_write(const struct fake_node *node, struct bytesview id)
{
	uint8_t expected[ID_LEN];

	for (unsigned is_write = 0; is_write < 2; is_write++) {
		id_write(expected, node, is_write);
		if (id.len == ID_LEN && memcmp(id.p, expected, ID_LEN) == 0)
			return is_write;
	}
	die("%s got a prepared id that is not its own", node->name);
}

/* ---- answers ---- */

static void send_void(struct session *s, const struct frame *f)
{
	put_u32(peer_frame(&s->peer, f->stream, OP_RESULT, 4), RESULT_VOID);
}

/* One row of one column; drivers have its metadata from PREPARED and ask that it be left out. */
static void send_value(struct session *s, const struct frame *f, const uint8_t *key)
{
	const uint32_t len = s->node->value_len;
	const bool is_large = len >= PEER_SHARE_MIN;
	uint8_t *at;

	if (is_large) {
		peer_frame_begin(&s->peer, f->stream, OP_RESULT, ROW_HEAD + len);
		at = peer_room(&s->peer, ROW_HEAD + VALUE_HEAD);
	} else {
		at = peer_frame(&s->peer, f->stream, OP_RESULT, ROW_HEAD + len);
	}
	put_u32(at, RESULT_ROWS);
	put_u32(at + 4, ROWS_NO_METADATA);
	put_u32(at + 8, 1);
	put_u32(at + 12, 1);
	put_u32(at + 16, len);
	value_write(at + ROW_HEAD, is_large ? VALUE_HEAD : len, key, s->node->mark);
	if (is_large)
		peer_share(&s->peer, value_pattern(), len - VALUE_HEAD);
}

static void send_body(struct session *s, const struct frame *f, uint8_t opcode, struct writer *w)
{
	peer_send(&s->peer, f->stream, opcode, w->data, w->len);
	writer_free(w);
}

static void send_supported(struct session *s, const struct frame *f)
{
	struct writer w;

	writer_init(&w);
	write_short(&w, 2);
	write_cstring(&w, "CQL_VERSION");
	write_short(&w, 1);
	write_cstring(&w, "3.4.6");
	write_cstring(&w, "COMPRESSION");
	write_short(&w, 2);
	write_cstring(&w, "snappy");
	write_cstring(&w, "lz4");
	send_body(s, f, OP_SUPPORTED, &w);
}

static void send_set_keyspace(struct session *s, const struct frame *f)
{
	struct writer w;

	writer_init(&w);
	write_int(&w, RESULT_SET_KEYSPACE);
	write_cstring(&w, "ks");
	send_body(s, f, OP_RESULT, &w);
}

/* The wording that Cassandra has for it; drivers and the proxy read the version from the header. */
static void refuse_version(struct session *s, const struct frame *f)
{
	struct writer w;

	s->peer.version = s->node->max_version;
	writer_init(&w);
	write_int(&w, CQL_ERR_PROTOCOL_ERROR);
	write_cstring(&w, "Invalid or unsupported protocol version");
	send_body(s, f, OP_ERROR, &w);
}

static void write_columns(struct writer *w, uint32_t count)
{
	static const char *const names[] = { "k", "v" };

	for (uint32_t i = 0; i < count; i++) {
		write_cstring(w, names[i]);
		write_short(w, TYPE_BLOB);
	}
}

static void write_table(struct writer *w)
{
	write_cstring(w, "ks");
	write_cstring(w, "t");
}

/* RESULT/PREPARED, native protocol v5, section 4.2.5.4. */
static void send_prepared(struct session *s, const struct frame *f, bool is_write)
{
	uint8_t id[ID_LEN];
	struct writer w;

	id_write(id, s->node, is_write);
	writer_init(&w);
	write_int(&w, RESULT_PREPARED);
	write_short_bytes(&w, id, ID_LEN);
	if (f->version >= 5)
		write_short_bytes(&w, "rrrrrrrrrrrrrrrr", 16); /* id of the result metadata: equal columns, equal ids */
	write_int(&w, ROWS_GLOBAL_TABLES_SPEC);
	write_int(&w, is_write ? 2 : 1);
	if (f->version >= 4) {
		write_int(&w, 1); /* partition key: the first variable */
		write_short(&w, 0);
	}
	write_table(&w);
	write_columns(&w, is_write ? 2 : 1);
	if (is_write) {
		write_int(&w, ROWS_NO_METADATA);
		write_int(&w, 0);
	} else {
		write_int(&w, ROWS_GLOBAL_TABLES_SPEC);
		write_int(&w, 1);
		write_table(&w);
		write_cstring(&w, "v");
		write_short(&w, TYPE_BLOB);
	}
	send_body(s, f, OP_RESULT, &w);
}

static void write_text(struct writer *w, const char *text)
{
	write_bytes(w, text, (uint32_t)strlen(text));
}

static void send_local(struct session *s, const struct frame *f)
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
	uint8_t address[16];
	uint8_t uuid[16];
	struct writer w;

	memset(uuid, s->node->mark, sizeof(uuid));
	uuid[6] = 0x41; /* a UUID of version 4 */
	uuid[8] = 0x81;
	writer_init(&w);
	rows_write_head(&w, ARRAY_LEN(columns), SV("system"), SV("local"));
	for (unsigned i = 0; i < ARRAY_LEN(columns); i++)
		rows_write_column(&w, sv_from(columns[i].name), *columns[i].type);
	rows_write_count(&w, 1);
	for (unsigned i = 0; i < ARRAY_LEN(columns); i++) {
		if (columns[i].text)
			write_text(&w, columns[i].text);
	}
	write_bytes(&w, address, net_to_bytes(&s->node->address, address));
	write_bytes(&w, uuid, sizeof(uuid));
	write_bytes(&w, uuid, sizeof(uuid));
	write_bytes(&w, tokens, sizeof(tokens));
	send_body(s, f, OP_RESULT, &w);
}

static void send_no_rows(struct session *s, const struct frame *f, struct strview keyspace, struct strview table)
{
	struct writer w;

	writer_init(&w);
	rows_write_head(&w, 1, keyspace, table);
	if (sv_equal(table, SV("peers")))
		rows_write_column(&w, SV("peer"), rows_type_inet);
	else
		rows_write_column(&w, SV("keyspace_name"), rows_type_varchar);
	rows_write_count(&w, 0);
	send_body(s, f, OP_RESULT, &w);
}

/* ---- requests ---- */

static bool has(struct strview text, const char *part)
{
	return memmem(text.p, text.len, part, strlen(part)) != NULL;
}

static void on_prepare(struct session *s, const struct frame *f)
{
	struct reader r = reader_over(f->body, f->length);
	struct strview text = read_long_string(&r);

	if (sv_equal(text, SV(TEXT_READ)))
		send_prepared(s, f, false);
	else if (sv_equal(text, SV(TEXT_WRITE)))
		send_prepared(s, f, true);
	else
		die("%s got a PREPARE of something else: %.*s", s->node->name, SV_ARG(text));
}

/* Who looks at the writes himself may have other values, which only begin alike. */
static void check_written(const struct session *s, struct bytesview key, struct bytesview value)
{
	bool (*check)(const uint8_t *, uint32_t, const uint8_t *, char) = s->node->on_write ? value_begins : value_is;

	if (key.len != KEY_LEN || !check(value.p, value.len, key.p, MARK_WRITTEN))
		die("%s got a write whose value is not its key's", s->node->name);
}

static void take_write(struct session *s, const struct frame *f)
{
	s->node->writes++;
	if (s->node->on_write)
		s->node->on_write(s->node, f);
	send_void(s, f);
}

static void on_execute(struct session *s, const struct frame *f)
{
	struct reader r = reader_over(f->body, f->length);
	const bool is_write = id_is_write(s->node, read_short_bytes(&r));
	struct bytesview key;

	if (f->version >= 5)
		read_short_bytes(&r); /* id of the result metadata */
	read_short(&r);               /* consistency */
	if (f->version >= 5)
		read_int(&r); /* flags */
	else
		read_byte(&r);
	read_short(&r); /* number of values */
	key = read_value(&r);
	if (is_write)
		check_written(s, key, read_value(&r));
	if (!reader_ok(&r) || key.len != KEY_LEN)
		die("%s got an EXECUTE that cannot be read", s->node->name);
	if (is_write) {
		take_write(s, f);
	} else {
		s->node->reads++;
		send_value(s, f, key.p);
	}
}

static void on_batch(struct session *s, const struct frame *f)
{
	struct reader r = reader_over(f->body, f->length);
	unsigned count;

	read_byte(&r); /* kind of batch */
	count = read_short(&r);
	for (unsigned i = 0; i < count && reader_ok(&r); i++) {
		struct bytesview key;

		if (read_byte(&r) != 1 || !id_is_write(s->node, read_short_bytes(&r)) || read_short(&r) != 2)
			die("%s got a BATCH of something else", s->node->name);
		key = read_value(&r);
		check_written(s, key, read_value(&r));
	}
	if (!reader_ok(&r) || count == 0)
		die("%s got a BATCH that cannot be read", s->node->name);
	s->node->writes++;
	send_void(s, f);
}

/* SELECT ... 'key' or INSERT ... ('key', 'value'). */
static void on_statement(struct session *s, const struct frame *f, struct strview text)
{
	const uint8_t *key = memchr(text.p, '\'', text.len);

	if (!key || (const char *)key + 1 + KEY_LEN >= text.p + text.len)
		die("%s got a statement without a key: %.*s", s->node->name, SV_ARG(text));
	key++;
	if (sv_starts_with(text, SV("SELECT"))) {
		s->node->reads++;
		send_value(s, f, key);
	} else {
		take_write(s, f);
	}
}

static bool take_option(void *arg, struct strview key, struct strview value)
{
	return !sv_equal(key, SV("COMPRESSION")) || compression_from_name(value, arg);
}

/* The answer is the last frame without compression and segments (native protocol v5, section 2.3.1). */
static void on_startup(struct session *s, const struct frame *f)
{
	enum cql_compression compression = COMPRESSION_NONE;

	if (!message_each_option(f->body, f->length, take_option, &compression))
		die("%s got a STARTUP that cannot be read", s->node->name);
	if (f->version >= 5 && compression == COMPRESSION_SNAPPY)
		die("%s was asked for snappy, which v5 does not have", s->node->name);
	peer_send(&s->peer, f->stream, OP_READY, NULL, 0);
	peer_use_compression(&s->peer, compression);
	if (f->version >= 5)
		peer_use_segments(&s->peer);
}

static void on_query(struct session *s, const struct frame *f)
{
	struct reader r = reader_over(f->body, f->length);
	struct strview text = read_long_string(&r);

	if (has(text, "system.local"))
		send_local(s, f);
	else if (has(text, "system.peers"))
		send_no_rows(s, f, SV("system"), SV("peers"));
	else if (has(text, "system_schema.keyspaces")) /* it has none of which somebody must know the replicas */
		send_no_rows(s, f, SV("system_schema"), SV("keyspaces"));
	else if (sv_starts_with(text, SV("USE ")))
		send_set_keyspace(s, f);
	else
		on_statement(s, f, text);
}

static void on_frame(struct peer *p, const struct frame *f)
{
	struct session *s = container_of(p, struct session, peer);

	if (f->version > s->node->max_version) {
		refuse_version(s, f);
		return;
	}
	p->version = f->version;
	switch (f->opcode) {
	case OP_OPTIONS:
		send_supported(s, f);
		return;
	case OP_STARTUP:
		on_startup(s, f);
		return;
	case OP_REGISTER:
		peer_send(p, f->stream, OP_READY, NULL, 0);
		return;
	case OP_PREPARE:
		on_prepare(s, f);
		return;
	case OP_EXECUTE:
		on_execute(s, f);
		return;
	case OP_QUERY:
		on_query(s, f);
		return;
	case OP_BATCH:
		on_batch(s, f);
		return;
	default:
		die("%s got %s", s->node->name, cql_opcode_name(f->opcode));
	}
}

/* The proxy opens and closes connections as it likes; requests that are lost with one are missed by their clients. */
static void on_closed(struct peer *p, const char *why)
{
	(void)why;
	free(container_of(p, struct session, peer));
}

static const struct peer_handler handler = { .on_frame = on_frame, .on_closed = on_closed };

static void on_connection(struct source *source, uint32_t events)
{
	struct fake_node *node = container_of(source, struct fake_node, source);
	struct session *s;
	int fd;

	(void)events;
	fd = accept4(node->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (fd < 0)
		return;
	s = xcalloc(1, sizeof(*s));
	peer_adopt(&s->peer, node->set, &handler, fd, node->max_version);
	s->node = node;
	if (node->tls)
		peer_secure(&s->peer, node->tls);
}

void fake_node_listen(struct fake_node *node, const char *address, uint16_t port)
{
	char error[256];

	node->fd = net_listen(address, port, &node->address, error, sizeof(error));
	if (node->fd < 0)
		die("%s: %s", node->name, error);
	node->source.on_events = on_connection;
	source_add(node->set->epoll_fd, node->fd, &node->source);
}
