/* inquiry.c - see inquiry.h */
#include "proxy/inquiry.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "proxy/keyspaces.h"

/* How long a node may take for one answer. */
#define ANSWER_S 10
#define WHY_MAX 512
/* Rows of a page of keyspaces, and how many pages are read at most, whatever is in them. */
#define KEYSPACES_PAGE 1000
#define KEYSPACES_MAX_PAGES 200
/* A node's own words in our messages. */
#define QUOTE_MAX 300

static const char *const step_names[] = {
	[INQUIRY_OPTIONS] = "OPTIONS",
	[INQUIRY_STARTUP] = "STARTUP",
	[INQUIRY_REGISTER] = "REGISTER",
	[INQUIRY_LOCAL] = "the query of system.local",
	[INQUIRY_PEERS_V2] = "the query of system.peers_v2",
	[INQUIRY_PEERS] = "the query of system.peers",
	[INQUIRY_KEYSPACES] = "the query of system_schema.keyspaces",
};

/* What each step is answered by when all is well. */
static const uint8_t expected_opcodes[] = {
	[INQUIRY_OPTIONS] = OP_SUPPORTED, [INQUIRY_STARTUP] = OP_READY,   [INQUIRY_REGISTER] = OP_READY,
	[INQUIRY_LOCAL] = OP_RESULT,      [INQUIRY_PEERS_V2] = OP_RESULT, [INQUIRY_PEERS] = OP_RESULT,
	[INQUIRY_KEYSPACES] = OP_RESULT,
};

static const struct leg_ops query_ops;
static const struct login_handler inquiry_login_handler;

/* ---- the end ---- */

/* The question under way is over, one way or the other. */
static void end(struct inquiry *inq)
{
	evtimer_del(&inq->timer);
	login_abandon(&inq->login);
	leg_abandon(&inq->query);
	free(inq->local_body);
	inq->local_body = NULL;
	topology_unref(inq->topology);
	inq->topology = NULL;
	inq->is_running = false;
}

static void fail(struct inquiry *inq, bool is_hopeless, const char *fmt, ...) PRINTF_LIKE(3, 4);

static void fail(struct inquiry *inq, bool is_hopeless, const char *fmt, ...)
{
	char why[WHY_MAX];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, sizeof(why), fmt, ap);
	va_end(ap);
	end(inq);
	inq->handler->on_failed(inq, is_hopeless, why);
}

static void refuse_version(struct inquiry *inq, uint8_t offered, struct strview text)
{
	char why[WHY_MAX];

	snprintf(why, sizeof(why), "%.*s", (int)MIN(text.len, (size_t)QUOTE_MAX), text.p);
	end(inq);
	inq->handler->on_version_refused(inq, offered, why);
}

static void fail_by_error(struct inquiry *inq, bool is_hopeless, const struct error_message *error, const char *what)
{
	fail(inq, is_hopeless, "%s by %s 0x%04x: %.*s", what, cql_error_name(error->code), error->code,
	     (int)MIN(error->text.len, (size_t)QUOTE_MAX), error->text.p);
}

void inquiry_lost(struct inquiry *inq, const char *why)
{
	uint8_t foreign = inq->server->foreign_version;
	/* v1 of old nodes, and later ones than ours. Anything else is no CQL at all. */
	bool is_refusal = foreign > 0 && foreign < 16;

	bool is_plain = inq->source.settings->cluster[inq->source.id].tls == TLS_NONE;

	if (is_refusal && inq->step <= INQUIRY_STARTUP)
		refuse_version(inq, foreign, sv_from(why));
	else
		fail(inq, false, "%s while the answer to %s was due%s", why, step_names[inq->step],
		     is_plain && inq->step == INQUIRY_OPTIONS ? "; does it want TLS?" : "");
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct inquiry *inq = arg;

	(void)fd;
	(void)what;
	fail(inq, false, "it did not answer %s within %d s", step_names[inq->step], ANSWER_S);
}

/* ---- questions ---- */

static void begin_step(struct inquiry *inq, enum inquiry_step step)
{
	const struct timeval limit = { .tv_sec = ANSWER_S };

	inq->step = (uint8_t)step;
	evtimer_add(&inq->timer, &limit);
}

/* The answer comes to on_query_answer(). */
static void ask(struct inquiry *inq, enum inquiry_step step, uint8_t opcode, const struct writer *body)
{
	begin_step(inq, step);
	leg_init(&inq->query, &query_ops);
	if (!server_send_body(inq->server, &inq->query, opcode, 0, body->data, body->len))
		inquiry_lost(inq, "the connection has ended");
}

/*
 * Consistency ONE, no values. `page_size` 0: the whole table in one answer. The
 * paging state, null for the first page, is that of the page before.
 */
static void ask_page(struct inquiry *inq, enum inquiry_step step, const char *text, uint32_t page_size,
		     struct bytesview state)
{
	const uint8_t flags =
		(uint8_t)((page_size > 0 ? QUERY_PAGE_SIZE : 0) | (state.is_null ? 0 : QUERY_PAGING_STATE));
	struct writer w;

	writer_init(&w);
	write_long_string(&w, sv_from(text));
	write_short(&w, CL_ONE);
	if (version_has(inq->server->version, VERSION_INT_FLAGS))
		write_int(&w, flags);
	else
		write_byte(&w, flags);
	if (page_size > 0)
		write_int(&w, page_size);
	if (!state.is_null)
		write_bytes(&w, state.p, state.len);
	ask(inq, step, OP_QUERY, &w);
	writer_free(&w);
}

static void ask_table(struct inquiry *inq, enum inquiry_step step, const char *text)
{
	ask_page(inq, step, text, 0, (struct bytesview){ .is_null = true });
}

static void ask_local(struct inquiry *inq)
{
	murmur3_start(&inq->digest);
	inq->asked_ns = loop_clock_ns();
	ask_table(inq, INQUIRY_LOCAL, "SELECT * FROM system.local");
}

static void ask_peers(struct inquiry *inq)
{
	const struct cluster_settings *settings = &inq->source.settings->cluster[inq->source.id];

	if (settings->node_ports == NODE_PORTS_DISCOVERED && !inq->lacks_peers_v2)
		ask_table(inq, INQUIRY_PEERS_V2, "SELECT * FROM system.peers_v2");
	else
		ask_table(inq, INQUIRY_PEERS, "SELECT * FROM system.peers");
}

static void ask_keyspaces(struct inquiry *inq, struct bytesview state)
{
	ask_page(inq, INQUIRY_KEYSPACES, "SELECT keyspace_name, replication FROM system_schema.keyspaces",
		 KEYSPACES_PAGE, state);
}

/*
 * ZDM's twin listens to TOPOLOGY_CHANGE alone. Otherwise a node that went down
 * or came up, and a new schema version, are reasons to look again as well.
 */
static void ask_register(struct inquiry *inq)
{
	struct writer w;

	writer_init(&w);
	if (settings_forward_events(inq->source.settings)) {
		write_short(&w, 1);
		write_cstring(&w, "TOPOLOGY_CHANGE");
	} else {
		write_short(&w, 3);
		write_cstring(&w, "TOPOLOGY_CHANGE");
		write_cstring(&w, "STATUS_CHANGE");
		write_cstring(&w, "SCHEMA_CHANGE");
	}
	ask(inq, INQUIRY_REGISTER, OP_REGISTER, &w);
	writer_free(&w);
}

static void start_login(struct inquiry *inq)
{
	struct writer w;

	begin_step(inq, INQUIRY_STARTUP);
	writer_init(&w);
	login_write_startup(&w, COMPRESSION_NONE, false);
	login_init(&inq->login, inq->server, &inquiry_login_handler);
	login_startup(&inq->login, w.data, w.len, COMPRESSION_NONE);
	writer_free(&w);
}

/* ---- log-in ---- */

static void on_authenticate(struct login *login, struct strview class_name)
{
	struct inquiry *inq = container_of(login, struct inquiry, login);

	inq->requires_auth = true;
	free(inq->authenticator);
	inq->authenticator = class_name.len > 0 ? xstrndup(class_name.p, class_name.len) : NULL;
	if (!inq->credentials->user || !*inq->credentials->user) {
		fail(inq, true, "it requires authentication (%.*s), but no username is configured for %s",
		     (int)MIN(class_name.len, (size_t)QUOTE_MAX), class_name.p, cluster_id_name(inq->source.id));
		return;
	}
	begin_step(inq, INQUIRY_STARTUP);
	login_with(login, inq->credentials);
}

/* Only called when the dialogue is passed through, which ours never is. */
static void on_challenge(struct login *login, struct frame *f)
{
	(void)f;
	fail(container_of(login, struct inquiry, login), false, "its authenticator asks for something else than PLAIN");
}

static void on_login_ready(struct login *login, struct frame *f)
{
	(void)f;
	ask_register(container_of(login, struct inquiry, login));
}

/* So Cassandra's text begins when it could not read its own tables of roles: that passes. */
static bool may_pass(const struct error_message *error)
{
	return sv_starts_with(error->text, SV("Unable to perform authentication"));
}

static void on_refused(struct login *login, struct frame *f, const struct error_message *error)
{
	struct inquiry *inq = container_of(login, struct inquiry, login);

	if (!error)
		fail(inq, false, "it answered the log-in by %s", cql_opcode_name(f->opcode));
	else if (error->code == CQL_ERR_PROTOCOL_ERROR && !inq->requires_auth)
		refuse_version(inq, f->version, error->text);
	else if (error->code == CQL_ERR_BAD_CREDENTIALS && !may_pass(error))
		fail(inq, true, "it refuses the configured credentials of user %s: %.*s", inq->credentials->user,
		     (int)MIN(error->text.len, (size_t)QUOTE_MAX), error->text.p);
	else
		fail_by_error(inq, false, error, "it answered the log-in");
}

static void on_login_lost(struct login *login, const char *why)
{
	inquiry_lost(container_of(login, struct inquiry, login), why);
}

static const struct login_handler inquiry_login_handler = {
	.on_authenticate = on_authenticate,
	.on_challenge = on_challenge,
	.on_ready = on_login_ready,
	.on_refused = on_refused,
	.on_lost = on_login_lost,
};

/* ---- answers ---- */

static void forget(struct inquiry *inq)
{
	inq->has_peers_v2 = false;
	inq->lacks_peers_v2 = false;
	inq->lacks_keyspaces = false;
	inq->requires_auth = false;
	free(inq->authenticator);
	inq->authenticator = NULL;
	inq->offers_lz4 = false;
	inq->offers_snappy = false;
	inq->offers_compression = false;
	inq->listed_versions = 0;
	inq->lists_versions = false;
	writer_free(&inq->options);
	inq->option_count = 0;
}

/* Whether the last pair of the options has this key. */
static bool is_last_option(const struct inquiry *inq, struct strview key)
{
	return inq->option_count > 0 && inq->last_key_len == key.len &&
	       memcmp(inq->options.data + inq->last_count_at - key.len, key.p, key.len) == 0;
}

/* Another value of an option; those of one key come one after the other. */
static void note_option(struct inquiry *inq, struct strview key, struct strview value)
{
	struct writer *w = &inq->options;

	if (!is_last_option(inq, key)) {
		write_string(w, key);
		inq->last_key_len = (uint16_t)key.len;
		inq->last_count_at = w->len;
		write_short(w, 0);
		inq->option_count++;
	}
	put_u16(w->data + inq->last_count_at, (uint16_t)(get_u16(w->data + inq->last_count_at) + 1));
	write_string(w, value);
}

static bool on_supported_value(void *arg, struct strview key, struct strview value)
{
	struct inquiry *inq = arg;

	/* Scylla's drivers would open connections to its port for shards, past the proxy. */
	if (sv_starts_with(key, SV("SCYLLA_")))
		return true;
	if (sv_equal(key, SV("COMPRESSION"))) {
		inq->offers_compression = true;
		inq->offers_lz4 |= sv_equal(value, SV("lz4"));
		inq->offers_snappy |= sv_equal(value, SV("snappy"));
	} else if (sv_equal(key, SV("PROTOCOL_VERSIONS"))) {
		const uint8_t version = version_from_offer(value.p, value.len);

		inq->lists_versions = true;
		if (version > 0)
			inq->listed_versions |= version_bit(version);
	} else {
		note_option(inq, key, value);
	}
	return true;
}

static void on_supported(struct inquiry *inq, struct frame *f, uint32_t offset)
{
	if (message_each_supported(f->body + offset, f->length - offset, on_supported_value, inq))
		start_login(inq);
	else
		fail(inq, false, "its SUPPORTED cannot be read");
}

static void keep_local(struct inquiry *inq, struct frame *f, uint32_t offset)
{
	inq->local_body = malloc(MAX(f->length, 1u));
	if (!inq->local_body) {
		fail(inq, false, "out of memory for its answer about system.local");
		return;
	}
	memcpy(inq->local_body, f->body, f->length);
	inq->local_len = f->length;
	inq->local_offset = offset;
	ask_peers(inq);
}

static enum topology_result fill(struct inquiry *inq, struct topology *t, struct frame *f, uint32_t offset, char *error,
				 size_t error_size)
{
	enum topology_result result = TOPOLOGY_BAD;
	struct rows local, peers;
	const char *why;

	if (!rows_parse(inq->local_body, inq->local_len, inq->local_offset, inq->server->version, &local, &why)) {
		snprintf(error, error_size, "its answer about system.local cannot be read (%s)", why);
		return result;
	}
	if (rows_parse(f->body, f->length, offset, inq->server->version, &peers, &why)) {
		result = topology_fill(t, &inq->source, &local, &peers, error, error_size);
		rows_free(&peers);
	} else {
		snprintf(error, error_size, "its answer to %s cannot be read (%s)", step_names[inq->step], why);
	}
	rows_free(&local);
	return result;
}

/*
 * Nodes before Cassandra 3.10 (CASSANDRA-12838) list no versions. They speak
 * all up to the one that was agreed on; v2 was dropped in 3.0.
 */
static uint32_t versions_of(const struct inquiry *inq, const struct topology *t)
{
	const struct bytesview release = host_value(&t->local, "release_version");
	const bool is_old = release.is_null || (release.len > 1 && release.p[0] < '3' && release.p[1] == '.');
	uint32_t all = version_set_up_to(VERSION_SET_ALL, inq->server->version);

	if (inq->lists_versions)
		return inq->listed_versions | version_bit(inq->server->version);
	if (!is_old && inq->server->version > 2)
		all &= ~version_bit(2);
	/* DSE's versions were made for nodes whose v5 was a draft. */
	if (inq->server->version >= VERSION_DSE1)
		all &= ~version_bit(5);
	return all;
}

/* All was answered. */
static void finish(struct inquiry *inq)
{
	struct topology *t = inq->topology;

	inq->topology = NULL;
	keyspaces_sort(t);
	t->digest = (uint64_t)murmur3_end(&inq->digest);
	end(inq);
	inq->handler->on_topology(inq, t);
}

static void on_peers(struct inquiry *inq, struct frame *f, uint32_t offset)
{
	struct topology *t = topology_new();
	enum topology_result result;
	char error[WHY_MAX];

	t->schema_asked_ns = inq->asked_ns;
	t->version = inq->server->version;
	t->requires_auth = inq->requires_auth;
	t->authenticator = inq->authenticator ? xstrdup(inq->authenticator) : NULL;
	t->offers_lz4 = inq->offers_lz4;
	t->offers_snappy = inq->offers_snappy;
	t->offers_compression = inq->offers_compression;
	t->option_count = inq->option_count;
	t->options_len = inq->options.len;
	if (inq->options.len > 0)
		t->options = memcpy(xmalloc(inq->options.len), inq->options.data, inq->options.len);
	result = fill(inq, t, f, offset, error, sizeof(error));
	inq->topology = t;
	if (result != TOPOLOGY_OK) {
		fail(inq, result == TOPOLOGY_HOPELESS, "%s", error);
		return;
	}
	t->versions = versions_of(inq, t);
	inq->has_peers_v2 |= inq->step == INQUIRY_PEERS_V2;
	inq->page_count = 0;
	if (inq->source.settings->profile == PROFILE_ZDM || inq->lacks_keyspaces)
		finish(inq);
	else
		ask_keyspaces(inq, (struct bytesview){ .is_null = true });
}

static void on_keyspaces(struct inquiry *inq, struct frame *f, uint32_t offset)
{
	const uint8_t version = inq->server->version;
	struct rows rows;
	const char *why;

	if (!rows_parse(f->body, f->length, offset, version, &rows, &why)) {
		fail(inq, false, "its answer to %s cannot be read (%s)", step_names[INQUIRY_KEYSPACES], why);
		return;
	}
	if (!keyspaces_add(inq->topology, &rows, version)) {
		log_limited(LOG_WARN, "%s: system_schema.keyspaces has other columns than Cassandra's",
			    cluster_id_name(inq->source.id));
		inq->lacks_keyspaces = true;
		finish(inq);
	} else if (rows.paging_state.is_null || rows.paging_state.len == 0) {
		finish(inq);
	} else if (inq->topology->keyspace_count < KEYSPACES_MAX && ++inq->page_count < KEYSPACES_MAX_PAGES) {
		ask_keyspaces(inq, rows.paging_state);
	} else {
		log_limited(LOG_WARN, "%s: it has too many keyspaces; only the first %u are known",
			    cluster_id_name(inq->source.id), inq->topology->keyspace_count);
		finish(inq);
	}
	rows_free(&rows);
}

/* Codes of errors that say nothing about whether there is such a table. */
static bool is_passing(uint32_t code)
{
	return code == CQL_ERR_OVERLOADED || code == CQL_ERR_IS_BOOTSTRAPPING || code == CQL_ERR_UNAVAILABLE ||
	       code == CQL_ERR_READ_TIMEOUT || code == CQL_ERR_READ_FAILURE;
}

/* A table that not every node has was answered by an ERROR; false when that is no reason to go on without it. */
static bool goes_without(struct inquiry *inq, const struct error_message *error)
{
	if (inq->step == INQUIRY_PEERS_V2 && !inq->has_peers_v2) {
		inq->lacks_peers_v2 = !is_passing(error->code);
		ask_table(inq, INQUIRY_PEERS, "SELECT * FROM system.peers");
		return true;
	}
	if (inq->step == INQUIRY_KEYSPACES && !is_passing(error->code)) {
		inq->lacks_keyspaces = true;
		log_debug("%s: keyspaces are not known: %.*s", cluster_id_name(inq->source.id),
			  (int)MIN(error->text.len, (size_t)QUOTE_MAX), error->text.p);
		keyspaces_free(inq->topology);
		finish(inq);
		return true;
	}
	return false;
}

static void on_error(struct inquiry *inq, struct frame *f, uint32_t offset)
{
	struct error_message error;
	char what[64];

	if (!message_parse_error(f->body, f->length, offset, &error)) {
		fail(inq, false, "its ERROR cannot be read");
	} else if (inq->step == INQUIRY_OPTIONS && error.code == CQL_ERR_PROTOCOL_ERROR) {
		refuse_version(inq, f->version, error.text);
	} else if (!goes_without(inq, &error)) {
		snprintf(what, sizeof(what), "it answered %s", step_names[inq->step]);
		fail_by_error(inq, false, &error, what);
	}
}

static void on_query_answer(struct leg *leg, struct frame *f)
{
	struct inquiry *inq = container_of(leg, struct inquiry, query);
	uint32_t offset;
	const char *why;

	if (inq->step >= INQUIRY_LOCAL)
		murmur3_add(&inq->digest, f->body, f->length);
	if (f->flags & FRAME_COMPRESSED)
		fail(inq, false, "it sent a compressed answer, which was not agreed upon");
	else if (!message_skip_preamble(f->body, f->length, f->flags, true, &offset, &why))
		fail(inq, false, "it sent an answer that cannot be read (%s)", why);
	else if (f->opcode == OP_ERROR)
		on_error(inq, f, offset);
	else if (f->opcode != expected_opcodes[inq->step])
		fail(inq, false, "it answered %s by %s", step_names[inq->step], cql_opcode_name(f->opcode));
	else if (inq->step == INQUIRY_OPTIONS)
		on_supported(inq, f, offset);
	else if (inq->step == INQUIRY_REGISTER)
		ask_local(inq);
	else if (inq->step == INQUIRY_LOCAL)
		keep_local(inq, f, offset);
	else if (inq->step == INQUIRY_KEYSPACES)
		on_keyspaces(inq, f, offset);
	else
		on_peers(inq, f, offset);
}

static void on_query_lost(struct leg *leg, const char *why)
{
	inquiry_lost(container_of(leg, struct inquiry, query), why);
}

static const struct leg_ops query_ops = { .on_answer = on_query_answer, .on_lost = on_query_lost };

/* ---- life ---- */

void inquiry_init(struct inquiry *inq, struct event_base *base, const struct inquiry_handler *handler,
		  const struct credentials *credentials)
{
	*inq = (struct inquiry){ .handler = handler, .credentials = credentials };
	leg_init(&inq->query, &query_ops);
	login_init(&inq->login, NULL, &inquiry_login_handler);
	evtimer_assign(&inq->timer, base, on_timer, inq);
}

void inquiry_fini(struct inquiry *inq)
{
	inquiry_stop(inq);
}

void inquiry_start(struct inquiry *inq, struct server *server, const struct topology_source *source)
{
	const struct writer nothing = { .data = NULL };

	Assert(!inq->is_running);
	forget(inq);
	inq->server = server;
	inq->source = *source;
	inq->is_running = true;
	ask(inq, INQUIRY_OPTIONS, OP_OPTIONS, &nothing);
}

void inquiry_refresh(struct inquiry *inq, const struct topology_source *source)
{
	Assert(!inq->is_running);
	inq->source = *source;
	inq->is_running = true;
	ask_local(inq);
}

void inquiry_stop(struct inquiry *inq)
{
	end(inq);
	forget(inq);
}
