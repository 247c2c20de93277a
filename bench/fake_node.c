/* fake_node.c - see fake_node.h */
#include "fake_node.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "cql/compress.h"
#include "cql/message.h"
#include "cql/rows.h"
#include "wheel.h"

/* A connection that the proxy made. */
struct session {
	struct peer peer;
	struct fake_node *node;
	struct list in_sessions;
	bool wants_login; /* nothing else is answered before */
	bool is_closed;
	unsigned delayed; /* answers that refer to it */
};

enum answer {
	ANSWER_VOID,
	ANSWER_ROW,
	ANSWER_READ_TIMEOUT,
	ANSWER_WRITE_TIMEOUT,
};

/* An answer whose time has not come. */
struct later {
	struct wheel_item item;
	struct session *session;
	enum answer answer;
	int16_t stream;
	uint8_t key[KEY_LEN];
};

/* ---- ids ---- */

enum statement {
	STATEMENT_READ,
	STATEMENT_WRITE,
	STATEMENT_UNKNOWN,
};

/* The second byte is 1 for what writes, so that also a proxy which reads no CQL can be measured. */
static void id_write(uint8_t id[ID_LEN], char mark, bool is_write)
{
	memset(id, 7, ID_LEN);
	id[0] = (uint8_t)mark;
	id[1] = is_write;
}

/* An id of the other cluster ends the program: the proxy has not translated it. */
static enum statement statement_of(const struct fake_node *node, struct bytesview id)
{
	uint8_t own[ID_LEN];

	if (likely(id.len == ID_LEN)) {
		if (memcmp(id.p, node->id_read, ID_LEN) == 0)
			return STATEMENT_READ;
		if (memcmp(id.p, node->id_write, ID_LEN) == 0)
			return STATEMENT_WRITE;
		id_write(own, (char)id.p[0], id.p[1] == 1);
		if (memcmp(id.p, own, ID_LEN) == 0)
			die("%s got a prepared id that is not its own", node->name);
	}
	return STATEMENT_UNKNOWN;
}

/* ---- answers of the control connection and of logging in ---- */

static void send_body(struct session *s, const struct frame *f, uint8_t opcode, struct writer *w)
{
	peer_send(&s->peer, f->stream, opcode, w->data, w->len);
	writer_free(w);
}

static void send_error(struct session *s, const struct frame *f, uint32_t code, const char *text)
{
	struct writer w;

	writer_init(&w);
	body_error(&w, code, text);
	send_body(s, f, OP_ERROR, &w);
}

static void send_unprepared(struct session *s, const struct frame *f, struct bytesview id)
{
	struct writer w;

	writer_init(&w);
	body_unprepared(&w, id);
	send_body(s, f, OP_ERROR, &w);
}

static void send_no_rows(struct session *s, const struct frame *f, struct strview keyspace, struct strview table)
{
	const bool is_peers = sv_equal(table, SV("peers"));
	struct writer w;

	writer_init(&w);
	body_no_rows(&w, keyspace, table, is_peers ? SV("peer") : SV("keyspace_name"),
		     is_peers ? rows_type_inet : rows_type_varchar);
	send_body(s, f, OP_RESULT, &w);
}

static void send_local(struct session *s, const struct frame *f)
{
	struct writer w;

	writer_init(&w);
	body_local(&w, &s->node->address, s->node->mark);
	send_body(s, f, OP_RESULT, &w);
}

static void send_supported(struct session *s, const struct frame *f)
{
	struct writer w;

	writer_init(&w);
	body_supported(&w);
	send_body(s, f, OP_SUPPORTED, &w);
}

/* ---- answers to requests for ks.t ---- */

static void send_row(struct session *s, int16_t stream, const uint8_t *key)
{
	const struct fake_node *node = s->node;
	uint8_t *body = peer_copy(&s->peer, node->row.data, node->row.len, stream);

	memcpy(body + BODY_ROW_HEAD, key, KEY_LEN);
	if (node->value_len >= PEER_SHARE_MIN)
		peer_share(&s->peer, value_pattern(), node->value_len - VALUE_HEAD);
}

static void send_timeout(struct session *s, int16_t stream, bool is_write)
{
	struct writer w;

	writer_init(&w);
	body_timeout(&w, is_write);
	peer_send(&s->peer, stream, OP_ERROR, w.data, w.len);
	writer_free(&w);
}

static void give(struct session *s, int16_t stream, enum answer answer, const uint8_t *key)
{
	switch (answer) {
	case ANSWER_VOID:
		put_u32(peer_frame(&s->peer, stream, OP_RESULT, 4), RESULT_VOID);
		break;
	case ANSWER_ROW:
		send_row(s, stream, key);
		break;
	case ANSWER_READ_TIMEOUT:
	case ANSWER_WRITE_TIMEOUT:
		send_timeout(s, stream, answer == ANSWER_WRITE_TIMEOUT);
		break;
	}
}

static void forget(struct session *s)
{
	list_remove(&s->in_sessions);
	free(s);
}

static void on_due(struct wheel_item *item)
{
	struct later *later = container_of(item, struct later, item);
	struct session *s = later->session;

	s->delayed--;
	if (!s->is_closed)
		give(s, later->stream, later->answer, later->key);
	else if (s->delayed == 0)
		forget(s);
	free(later);
}

/* Marsaglia's xorshift: the same numbers in every run. */
static uint64_t next_random(struct fake_node *node)
{
	node->random ^= node->random << 13;
	node->random ^= node->random >> 7;
	node->random ^= node->random << 17;
	return node->random;
}

static void postpone(struct session *s, int16_t stream, enum answer answer, const uint8_t *key)
{
	struct fake_node *node = s->node;
	struct later *later = xmalloc(sizeof(*later));
	const uint64_t spread = node->delay_max_ns - node->delay_min_ns;

	*later = (struct later){ .session = s, .stream = stream, .answer = answer };
	if (key)
		memcpy(later->key, key, KEY_LEN);
	s->delayed++;
	wheel_add(node->wheel, &later->item,
		  node->set->read_ns + node->delay_min_ns + (spread ? next_random(node) % (spread + 1) : 0));
}

/* `key` only for reads. */
static void answer_request(struct session *s, int16_t stream, bool is_write, const uint8_t *key)
{
	struct fake_node *node = s->node;
	enum answer answer = is_write ? ANSWER_VOID : ANSWER_ROW;

	if (unlikely(node->error_share > 0) && (next_random(node) >> 32) < node->error_share)
		answer = is_write ? ANSWER_WRITE_TIMEOUT : ANSWER_READ_TIMEOUT;
	if (unlikely(node->wheel != NULL))
		postpone(s, stream, answer, key);
	else
		give(s, stream, answer, key);
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
	const bool is_write = sv_equal(text, SV(TEXT_WRITE));
	struct writer w;

	if (!is_write && !sv_equal(text, SV(TEXT_READ)))
		die("%s got a PREPARE of something else: %.*s", s->node->name, SV_ARG(text));
	writer_init(&w);
	body_prepared(&w, f->version, is_write ? s->node->id_write : s->node->id_read, is_write);
	send_body(s, f, OP_RESULT, &w);
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
	answer_request(s, f->stream, true, NULL);
}

static void on_execute(struct session *s, const struct frame *f)
{
	struct reader r = reader_over(f->body, f->length);
	struct bytesview id = read_short_bytes(&r);
	const enum statement statement = statement_of(s->node, id);
	struct bytesview key;

	if (unlikely(statement == STATEMENT_UNKNOWN)) {
		send_unprepared(s, f, id);
		return;
	}
	if (f->version >= 5)
		read_short_bytes(&r); /* id of the result metadata */
	read_short(&r);               /* consistency */
	if (f->version >= 5)
		read_int(&r); /* flags */
	else
		read_byte(&r);
	read_short(&r); /* number of values */
	key = read_value(&r);
	if (statement == STATEMENT_WRITE)
		check_written(s, key, read_value(&r));
	if (!reader_ok(&r) || key.len != KEY_LEN)
		die("%s got an EXECUTE that cannot be read", s->node->name);
	if (statement == STATEMENT_WRITE) {
		take_write(s, f);
	} else {
		s->node->reads++;
		answer_request(s, f->stream, false, key.p);
	}
}

static void on_batch(struct session *s, const struct frame *f)
{
	struct reader r = reader_over(f->body, f->length);
	unsigned count;

	read_byte(&r); /* kind of batch */
	count = read_short(&r);
	for (unsigned i = 0; i < count && reader_ok(&r); i++) {
		const bool is_prepared = read_byte(&r) == 1;
		struct bytesview id = read_short_bytes(&r);
		struct bytesview key;

		if (is_prepared && reader_ok(&r) && statement_of(s->node, id) == STATEMENT_UNKNOWN) {
			send_unprepared(s, f, id);
			return;
		}
		if (!is_prepared || statement_of(s->node, id) != STATEMENT_WRITE || read_short(&r) != 2)
			die("%s got a BATCH of something else", s->node->name);
		key = read_value(&r);
		check_written(s, key, read_value(&r));
	}
	if (!reader_ok(&r) || count == 0)
		die("%s got a BATCH that cannot be read", s->node->name);
	s->node->writes++;
	answer_request(s, f->stream, true, NULL);
}

/* INSERT ... ('key', 'value'), `rest` begins with the key. */
static void on_insert(struct session *s, const struct frame *f, struct strview rest)
{
	static const char between[] = "', '";
	const uint32_t before = KEY_LEN + sizeof(between) - 1;
	const uint8_t *key = (const uint8_t *)rest.p;

	if (rest.len < before + 2 || memcmp(rest.p + KEY_LEN, between, sizeof(between) - 1) != 0)
		die("%s got an INSERT that cannot be read", s->node->name);
	check_written(s, (struct bytesview){ .p = key, .len = KEY_LEN },
		      (struct bytesview){ .p = key + before, .len = (uint32_t)rest.len - before - 2 });
	take_write(s, f);
}

static struct strview behind(struct strview text, struct strview start)
{
	return (struct strview){ text.p + start.len, text.len - start.len };
}

static void on_use(struct session *s, const struct frame *f, struct strview keyspace)
{
	struct writer w;

	writer_init(&w);
	body_set_keyspace(&w, keyspace);
	send_body(s, f, OP_RESULT, &w);
}

static void on_query(struct session *s, const struct frame *f)
{
	struct reader r = reader_over(f->body, f->length);
	struct strview text = read_long_string(&r);

	if (sv_starts_with(text, SV(LITERAL_READ)) && text.len >= sizeof(LITERAL_READ) - 1 + KEY_LEN) {
		s->node->reads++;
		answer_request(s, f->stream, false, (const uint8_t *)text.p + sizeof(LITERAL_READ) - 1);
	} else if (sv_starts_with(text, SV(LITERAL_WRITE))) {
		on_insert(s, f, behind(text, SV(LITERAL_WRITE)));
	} else if (sv_starts_with(text, SV("USE "))) {
		on_use(s, f, behind(text, SV("USE ")));
	} else if (has(text, "system.local")) {
		send_local(s, f);
	} else if (has(text, "system.peers")) {
		send_no_rows(s, f, SV("system"), SV("peers"));
	} else if (has(text, "system_schema.keyspaces")) { /* it has none of which somebody must know the replicas */
		send_no_rows(s, f, SV("system_schema"), SV("keyspaces"));
	} else {
		die("%s got a statement that it does not know: %.*s", s->node->name, SV_ARG(text));
	}
}

/* ---- logging in ---- */

static bool take_option(void *arg, struct strview key, struct strview value)
{
	return !sv_equal(key, SV("COMPRESSION")) || compression_from_name(value, arg);
}

/* The answer is the last frame without compression and segments (native protocol v5, section 2.3.1). */
static void on_startup(struct session *s, const struct frame *f)
{
	enum cql_compression compression = COMPRESSION_NONE;
	struct writer w;

	if (!message_each_option(f->body, f->length, take_option, &compression))
		die("%s got a STARTUP that cannot be read", s->node->name);
	if (f->version >= 5 && compression == COMPRESSION_SNAPPY)
		die("%s was asked for snappy, which v5 does not have", s->node->name);
	writer_init(&w);
	if (s->wants_login)
		body_authenticate(&w);
	send_body(s, f, s->wants_login ? OP_AUTHENTICATE : OP_READY, &w);
	peer_use_compression(&s->peer, compression);
	if (f->version >= 5)
		peer_use_segments(&s->peer);
}

static void on_auth_response(struct session *s, const struct frame *f)
{
	struct reader r = reader_over(f->body, f->length);
	struct sasl_plain given;
	struct writer w;

	if (!s->wants_login || !message_parse_sasl_plain(read_bytes(&r), &given) ||
	    !sv_equal(given.user, sv_from(s->node->user)) || !sv_equal(given.password, sv_from(s->node->password))) {
		send_error(s, f, CQL_ERR_BAD_CREDENTIALS, "Provided username and/or password are incorrect");
		return;
	}
	s->wants_login = false;
	writer_init(&w);
	write_bytes(&w, NULL, 0);
	send_body(s, f, OP_AUTH_SUCCESS, &w);
}

/* ---- life ---- */

static void on_frame(struct peer *p, const struct frame *f)
{
	struct session *s = container_of(p, struct session, peer);

	if (unlikely(f->version > s->node->max_version)) {
		/* Cassandra's wording; drivers and the proxy read the version from the header. */
		p->version = s->node->max_version;
		send_error(s, f, CQL_ERR_PROTOCOL_ERROR, "Invalid or unsupported protocol version");
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
	case OP_AUTH_RESPONSE:
		on_auth_response(s, f);
		return;
	default:
		break;
	}
	if (unlikely(s->wants_login))
		die("%s got %s on a connection that has not logged in", s->node->name, cql_opcode_name(f->opcode));
	switch (f->opcode) {
	case OP_EXECUTE:
		on_execute(s, f);
		return;
	case OP_QUERY:
		on_query(s, f);
		return;
	case OP_BATCH:
		on_batch(s, f);
		return;
	case OP_PREPARE:
		on_prepare(s, f);
		return;
	case OP_REGISTER:
		peer_send(p, f->stream, OP_READY, NULL, 0);
		return;
	default:
		die("%s got %s", s->node->name, cql_opcode_name(f->opcode));
	}
}

/* The proxy opens and closes connections as it likes; requests that are lost with one are missed by their clients. */
static void on_closed(struct peer *p, const char *why)
{
	struct session *s = container_of(p, struct session, peer);

	(void)why;
	s->is_closed = true;
	if (s->delayed == 0)
		forget(s);
}

static const struct peer_handler handler = { .on_frame = on_frame, .on_closed = on_closed };

static void on_connection(struct source *source, uint32_t events)
{
	struct fake_node *node = container_of(source, struct fake_node, source);
	struct session *s;
	int fd;

	(void)events;
	fd = accept4(node->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (fd < 0) {
		/* It would stay readable, and be asked for ever. */
		if (errno == EMFILE || errno == ENFILE)
			die("%s cannot accept a connection: %s", node->name, strerror(errno));
		return;
	}
	s = xcalloc(1, sizeof(*s));
	peer_adopt(&s->peer, node->set, &handler, fd, node->max_version);
	s->node = node;
	list_init(&s->in_sessions);
	list_append(&node->sessions, &s->in_sessions);
	s->wants_login = node->user != NULL;
	if (node->tls)
		peer_secure(&s->peer, node->tls);
}

/* The frame that answers a read, but for version, stream and key; without the pattern of a large value. */
static void make_row(struct fake_node *node)
{
	const uint32_t len = node->value_len;
	const uint32_t copied = len >= PEER_SHARE_MIN ? VALUE_HEAD : len;
	static const uint8_t no_key[KEY_LEN];

	writer_init(&node->row);
	frame_head_write(writer_reserve(&node->row, FRAME_HEAD_LEN), true, node->max_version, 0, 0, OP_RESULT,
			 BODY_ROW_HEAD + len);
	body_row_head(&node->row, len);
	value_write(writer_reserve(&node->row, copied), copied, no_key, node->mark);
}

void fake_node_listen(struct fake_node *node, const char *address, uint16_t port)
{
	char error[256];

	id_write(node->id_read, node->mark, false);
	id_write(node->id_write, node->mark, true);
	make_row(node);
	list_init(&node->sessions);
	node->random = 88172645463325252u + (uint8_t)node->mark;
	if (node->delay_max_ns > 0)
		node->wheel = wheel_new(node->set->epoll_fd, on_due);
	node->fd = net_listen(address, port, &node->address, error, sizeof(error));
	if (node->fd < 0)
		die("%s: %s", node->name, error);
	node->source.on_events = on_connection;
	source_add(node->set->epoll_fd, node->fd, &node->source);
}
