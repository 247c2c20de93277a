/*
 * control.c - see control.h
 *
 * A round visits every endpoint once (endpoint.h); when all have failed the
 * next round waits, longer each time. One attempt at an endpoint:
 *
 *   connect [TLS] -> OPTIONS -> STARTUP [AUTH_RESPONSE] -> REGISTER -> system.local -> system.peers -> UP
 *
 * A node that refuses the protocol version gets a new connection with a lower
 * one. Events of the node (and schema versions that differ) repeat the last
 * two steps on the connection that is up.
 *
 * Everything that ends an attempt passes through drop(), which leaves no leg
 * out, and the next one starts from the timer, never inside a callback of the
 * connection that has just ended.
 */
#include "proxy/control.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/resolve.h"
#include "proxy/endpoint.h"
#include "proxy/login.h"
#include "proxy/topology.h"

/* How long a node may take for one answer. */
#define ANSWER_MS 10000
/* After an event other nodes, and the node's own tables, need a moment to follow. */
#define SETTLE_MS 1000
/* While schema versions differ the tables are read again after so long, then twice as long ... */
#define DISAGREE_MIN_MS 2000
#define DISAGREE_MAX_MS 60000
/* Until the cluster was reached once: ZDM's start loop, which is more eager than its reconnection. */
#define START_MIN_MS 100
#define START_MAX_MS 10000
/* A connection that lived shorter counts as one more failure in a row, so that a node that accepts and hangs up is not
 * called on without a pause. */
#define STABLE_NS (UINT64_C(10) * 1000000000)
#define CONTROL_STREAMS 128
#define WHY_MAX 512

enum control_state {
	CONTROL_IDLE,       /* before control_start() */
	CONTROL_WAITING,    /* timer: the next attempt, see `wake` */
	CONTROL_CONNECTING, /* timer: time limit of name, connection and TLS */
	CONTROL_LOGIN,      /* timer: time limit of an answer */
	CONTROL_LEARNING,   /* same */
	CONTROL_UP,         /* timer: time limit of a refresh, while one runs */
};

enum control_wake {
	WAKE_ROUND,    /* start a round */
	WAKE_NEXT,     /* the next endpoint of the round */
	WAKE_ENDPOINT, /* the current endpoint again, with another version or with an address now */
};

enum control_step {
	STEP_OPTIONS,
	STEP_STARTUP,
	STEP_REGISTER,
	STEP_LOCAL,
	STEP_PEERS,
};

static const char *const step_names[] = {
	[STEP_OPTIONS] = "OPTIONS",
	[STEP_STARTUP] = "STARTUP",
	[STEP_REGISTER] = "REGISTER",
	[STEP_LOCAL] = "the query of system.local",
	[STEP_PEERS] = "the query of system.peers",
};

/* What SUPPORTED says. */
struct supported {
	bool lz4;
	bool snappy;
	char *cql_version;
};

struct control {
	struct control_options o;
	const struct cluster_settings *settings; /* of the cluster */
	const char *cluster_name;                /* "origin" or "target" */
	uint8_t state;                           /* enum control_state */
	uint8_t wake;                            /* enum control_wake */
	uint8_t step;                            /* enum control_step: the exchange under way or the last one */
	uint8_t version;
	bool was_up;
	bool query_runs;    /* UP: a refresh */
	bool refresh_again; /* an event came while it ran */
	bool requires_auth;
	uint32_t failed_rounds; /* in a row, for the back-off */
	uint32_t disagree_ms;
	uint64_t up_since_ns;
	struct event timer;
	struct event heartbeat; /* UP: when the next is due, or its time limit */
	struct event refresh;   /* UP: settling */
	struct endpoint_list endpoints;
	struct resolve *resolve;
	struct server *server;
	struct login login;
	struct leg query;
	struct leg heartbeat_leg;
	struct credentials credentials;
	struct supported supported;
	/* The answer about system.local, while system.peers is asked for. */
	uint8_t *local_body;
	uint32_t local_len;
	uint32_t local_offset;
	char *datacenter; /* of the first snapshot, see topology.h */
	char address[NET_TEXT_MAX];
	char text[ENDPOINT_TEXT_MAX]; /* the current endpoint, for messages */
};

static void try_endpoint(struct control *c);
static void fail(struct control *c, bool is_hopeless, const char *fmt, ...) PRINTF_LIKE(3, 4);
static const struct server_handler control_server_handler;
static const struct login_handler control_login_handler;
static const struct leg_ops query_ops, heartbeat_ops;

/* ---- timers ---- */

static void arm(struct event *timer, uint64_t ms)
{
	const struct timeval tv = { .tv_sec = (time_t)(ms / 1000), .tv_usec = (suseconds_t)(ms % 1000 * 1000) };

	evtimer_add(timer, &tv);
}

static void set_state(struct control *c, enum control_state state)
{
	c->state = (uint8_t)state;
}

static void wake_in(struct control *c, enum control_wake wake, uint64_t ms)
{
	c->wake = (uint8_t)wake;
	set_state(c, CONTROL_WAITING);
	arm(&c->timer, ms);
}

/* Uniform between min and min * factor^n, at most max. */
static uint64_t back_off_ms(const struct control *c, uint32_t n)
{
	const struct settings *s = c->o.settings;
	double min = s->heartbeat_retry_interval_min_ms;
	double max = s->heartbeat_retry_interval_max_ms;
	double top;

	if (!c->was_up) {
		min = MIN(min, START_MIN_MS);
		max = MIN(max, START_MAX_MS);
	}
	if (min >= max)
		return (uint64_t)max;
	top = min;
	for (uint32_t i = 0; i < n && top < max; i++)
		top *= MAX(s->heartbeat_retry_backoff_factor, 1.0);
	top = MIN(top, max);
	return (uint64_t)(min + (top - min) * (arc4random() / 4294967296.0));
}

/* ---- the end of an attempt ---- */

static void supported_clear(struct supported *s)
{
	free(s->cql_version);
	*s = (struct supported){ .cql_version = NULL };
}

/* Ends whatever is under way; afterwards no leg is out and no timer runs. */
static void drop(struct control *c, const char *why)
{
	struct server *server = c->server;

	evtimer_del(&c->timer);
	evtimer_del(&c->heartbeat);
	evtimer_del(&c->refresh);
	if (c->resolve)
		resolve_cancel(c->resolve);
	c->resolve = NULL;
	login_abandon(&c->login);
	leg_abandon(&c->query);
	leg_abandon(&c->heartbeat_leg);
	c->server = NULL;
	if (server)
		server_close(server, why);
	c->query_runs = false;
	c->refresh_again = false;
	free(c->local_body);
	c->local_body = NULL;
	supported_clear(&c->supported);
}

static void count_failure(struct control *c)
{
	atomic_fetch_add_explicit(&c->o.cluster->failures, 1, memory_order_relaxed);
}

/* The connection that was up is over. */
static void lose(struct control *c, const char *why)
{
	bool was_stable = loop_now(c->o.loop) - c->up_since_ns >= STABLE_NS;
	uint64_t delay = was_stable ? 0 : back_off_ms(c, c->failed_rounds);

	c->failed_rounds = was_stable ? 0 : c->failed_rounds + 1;
	count_failure(c);
	if (delay > 0)
		log_warn("%s %s: control connection lost: %s; next try in %.1f s", c->cluster_name, c->text, why,
			 (double)delay / 1000);
	else
		log_warn("%s %s: control connection lost: %s; connecting again", c->cluster_name, c->text, why);
	drop(c, why);
	wake_in(c, WAKE_ROUND, delay);
}

static void end_round(struct control *c, const char *why, bool is_hopeless)
{
	uint64_t delay = back_off_ms(c, c->failed_rounds);

	c->failed_rounds++;
	count_failure(c);
	log_at(is_hopeless ? LOG_ERROR : LOG_WARN, "%s %s: %s; next try in %.1f s", c->cluster_name, c->text, why,
	       (double)delay / 1000);
	endpoint_list_clear(&c->endpoints);
	wake_in(c, WAKE_ROUND, delay);
}

/* The attempt at the current endpoint has failed; hopeless: the other nodes of the cluster would answer the same. */
static void fail(struct control *c, bool is_hopeless, const char *fmt, ...)
{
	const struct endpoint *next = endpoint_list_peek(&c->endpoints);
	char why[WHY_MAX], other[ENDPOINT_TEXT_MAX], message[WHY_MAX + ENDPOINT_TEXT_MAX + 16];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, sizeof(why), fmt, ap);
	va_end(ap);
	drop(c, why);
	if (next && !is_hopeless) {
		log_warn("%s %s: %s; trying %s", c->cluster_name, c->text, why,
			 endpoint_format(next, c->settings->port, other));
		wake_in(c, WAKE_NEXT, 0);
		return;
	}
	snprintf(message, sizeof(message), "%s %s: %s", c->cluster_name, c->text, why);
	end_round(c, why, is_hopeless);
	if (is_hopeless)
		c->o.on_hopeless(c, message, c->o.arg);
}

/* `offered` is the version in the header of the refusal. */
static void refuse_version(struct control *c, uint8_t offered, struct strview text)
{
	uint8_t refused = c->version;

	if (refused <= FRAME_VERSION_MIN || offered < FRAME_VERSION_MIN) {
		fail(c, true, "it speaks none of the protocol versions %u to %u: it answered %s by \"%.*s\"",
		     FRAME_VERSION_MIN, c->o.settings->max_protocol_version, step_names[c->step], SV_ARG(text));
		return;
	}
	c->version = offered < refused ? offered : (uint8_t)(refused - 1);
	log_info("%s %s: protocol version %u is refused, trying %u", c->cluster_name, c->text, refused, c->version);
	drop(c, "protocol version refused");
	wake_in(c, WAKE_ENDPOINT, 0);
}

/* The connection ended while an attempt was under way. */
static void on_attempt_lost(struct control *c, const char *why)
{
	uint8_t foreign = c->server ? c->server->foreign_version : 0;

	if (c->state == CONTROL_UP) {
		lose(c, why);
	} else if (c->state == CONTROL_CONNECTING) {
		fail(c, false, "%s", why);
	} else if (foreign != 0 && c->step <= STEP_STARTUP) {
		refuse_version(c, foreign, sv_from(why));
	} else if (c->step == STEP_OPTIONS) {
		fail(c, false, "%s while the answer to OPTIONS was due%s", why, c->o.tls ? "" : "; does it want TLS?");
	} else {
		fail(c, false, "%s while the answer to %s was due", why, step_names[c->step]);
	}
}

/* ---- rounds ---- */

static void start_round(struct control *c)
{
	struct topology *known = cluster_topology(c->o.cluster);
	/* The same address under another name can be another matter for the certificate. */
	bool is_distinct = !c->o.tls || c->settings->tls != TLS_FULL || c->settings->tls_server_name;

	endpoint_list_fill(&c->endpoints, c->settings, known, is_distinct);
	topology_unref(known);
}

static void try_next(struct control *c)
{
	struct endpoint *e = endpoint_list_take(&c->endpoints);

	if (!e) {
		end_round(c, "no other address is left to try", false);
		return;
	}
	endpoint_format(e, c->settings->port, c->text);
	c->version = c->o.settings->max_protocol_version;
	try_endpoint(c);
}

static void on_resolved(void *arg, const struct net_address *addresses, unsigned count, const char *why)
{
	struct control *c = arg;

	c->resolve = NULL;
	evtimer_del(&c->timer);
	if (count == 0) {
		fail(c, false, "%s", why);
		return;
	}
	endpoint_list_insert(&c->endpoints, addresses, count);
	wake_in(c, WAKE_NEXT, 0);
}

/* The name that the node's certificate must have. */
static const char *server_name(const struct control *c, const struct endpoint *e, char ip[NET_TEXT_MAX])
{
	if (c->settings->tls_server_name && *c->settings->tls_server_name)
		return c->settings->tls_server_name;
	return e->host ? e->host : net_format_ip(&e->address, ip);
}

static void try_endpoint(struct control *c)
{
	struct endpoint *e = endpoint_list_current(&c->endpoints);
	struct server_options options;
	char ip[NET_TEXT_MAX];
	const char *why;

	set_state(c, CONTROL_CONNECTING);
	arm(&c->timer, c->settings->connection_timeout_ms);
	if (!e->is_resolved) {
		c->resolve = resolve_start(c->o.loop, e->host, c->settings->port, on_resolved, c);
		return;
	}
	options = (struct server_options){
		.loop = c->o.loop,
		.cluster = c->o.cluster->id,
		.address = e->address,
		.tls = c->o.tls,
		.server_name = server_name(c, e, ip),
		.version = c->version,
		.max_frame = c->o.settings->max_frame_size,
		.max_streams = CONTROL_STREAMS,
		.handler = &control_server_handler,
		.owner = c,
	};
	c->server = server_open(&options, &why);
	if (!c->server)
		fail(c, false, "%s", why);
}

/* ---- exchanges ---- */

/* Sends a request whose answer comes to on_query_answer(). */
static void ask(struct control *c, enum control_step step, uint8_t opcode, const struct writer *body)
{
	c->step = (uint8_t)step;
	arm(&c->timer, ANSWER_MS);
	leg_init(&c->query, &query_ops);
	if (!server_send_body(c->server, &c->query, opcode, 0, body->data, body->len))
		on_attempt_lost(c, "the connection has ended");
}

static void ask_options(struct control *c)
{
	const struct writer nothing = { .data = NULL };

	ask(c, STEP_OPTIONS, OP_OPTIONS, &nothing);
}

static void ask_query(struct control *c, enum control_step step, const char *text)
{
	struct writer w;

	writer_init(&w);
	write_long_string(&w, sv_from(text));
	write_short(&w, CL_ONE);
	if (c->version >= 5)
		write_int(&w, 0);
	else
		write_byte(&w, 0);
	ask(c, step, OP_QUERY, &w);
	writer_free(&w);
}

/*
 * ZDM's twin listens to TOPOLOGY_CHANGE alone. A node that went down or came
 * up, and a new schema version, are reasons to look again otherwise.
 */
static void ask_register(struct control *c)
{
	struct writer w;

	writer_init(&w);
	if (c->o.settings->profile == PROFILE_ZDM) {
		write_short(&w, 1);
		write_cstring(&w, "TOPOLOGY_CHANGE");
	} else {
		write_short(&w, 3);
		write_cstring(&w, "TOPOLOGY_CHANGE");
		write_cstring(&w, "STATUS_CHANGE");
		write_cstring(&w, "SCHEMA_CHANGE");
	}
	ask(c, STEP_REGISTER, OP_REGISTER, &w);
	writer_free(&w);
}

static void start_login(struct control *c)
{
	struct writer w;

	c->step = STEP_STARTUP;
	arm(&c->timer, ANSWER_MS);
	c->requires_auth = false;
	writer_init(&w);
	login_write_startup(&w, COMPRESSION_NONE);
	login_init(&c->login, c->server, &control_login_handler);
	login_startup(&c->login, w.data, w.len, COMPRESSION_NONE);
	writer_free(&w);
}

/* ---- what the node says about itself ---- */

static bool on_supported_value(void *arg, struct strview key, struct strview value)
{
	struct supported *s = arg;

	if (sv_equal(key, SV("COMPRESSION"))) {
		s->lz4 |= sv_equal(value, SV("lz4"));
		s->snappy |= sv_equal(value, SV("snappy"));
	} else if (sv_equal(key, SV("CQL_VERSION")) && !s->cql_version) {
		s->cql_version = xstrndup(value.p, value.len);
	}
	return true;
}

static void on_options_answer(struct control *c, struct frame *f, uint32_t offset)
{
	supported_clear(&c->supported);
	if (message_each_supported(f->body + offset, f->length - offset, on_supported_value, &c->supported))
		start_login(c);
	else
		fail(c, false, "its SUPPORTED cannot be read");
}

static void keep_local(struct control *c, struct frame *f, uint32_t offset)
{
	free(c->local_body);
	c->local_body = malloc(MAX(f->length, 1u));
	if (!c->local_body) {
		on_attempt_lost(c, "out of memory for the answer to the query of system.local");
		return;
	}
	memcpy(c->local_body, f->body, f->length);
	c->local_len = f->length;
	c->local_offset = offset;
	ask_query(c, STEP_PEERS, "SELECT * FROM system.peers");
}

static bool parse_tables(struct control *c, struct frame *f, uint32_t offset, struct rows *local, struct rows *peers,
			 char *error, size_t error_size)
{
	const char *why;

	if (!rows_parse(c->local_body, c->local_len, c->local_offset, c->version, local, &why)) {
		snprintf(error, error_size, "its answer about system.local cannot be read (%s)", why);
		return false;
	}
	if (!rows_parse(f->body, f->length, offset, c->version, peers, &why)) {
		snprintf(error, error_size, "its answer about system.peers cannot be read (%s)", why);
		rows_free(local);
		return false;
	}
	return true;
}

static struct topology *make_topology(struct control *c)
{
	struct topology *t = topology_new();
	const struct endpoint *e = endpoint_list_current(&c->endpoints);

	t->version = c->version;
	t->requires_auth = c->requires_auth;
	t->offers_lz4 = c->supported.lz4;
	t->offers_snappy = c->supported.snappy;
	if (c->supported.cql_version)
		t->cql_version = xstrdup(c->supported.cql_version);
	if (e && e->host)
		t->contact_host = xstrdup(e->host);
	return t;
}

/* ---- up ---- */

static void go_up(struct control *c, const struct topology *t)
{
	const struct endpoint *e = endpoint_list_current(&c->endpoints);

	set_state(c, CONTROL_UP);
	c->up_since_ns = loop_now(c->o.loop);
	atomic_store_explicit(&c->o.cluster->failures, 0, memory_order_relaxed);
	/* As ZDM names it: the contact point as configured. */
	if (e->host)
		snprintf(c->address, sizeof(c->address), "%.*s:%u", (int)sizeof(c->address) - 7, e->host,
			 c->settings->port);
	else
		net_format(&e->address, c->address);
	log_info("%s %s: control connection is up: cluster %s, protocol version %u, datacenter %s with %u node%s, of "
		 "which this instance uses %u",
		 c->cluster_name, c->text, t->cluster_name ? t->cluster_name : "without a name", c->version,
		 topology_datacenter(t), t->host_count, t->host_count == 1 ? "" : "s", t->assigned_count);
	if (!c->requires_auth && c->credentials.user && *c->credentials.user)
		log_at(c->was_up ? LOG_DEBUG : LOG_WARN,
		       "%s %s: the cluster requires no authentication; the configured credentials are not used",
		       c->cluster_name, c->text);
	c->was_up = true;
	c->disagree_ms = DISAGREE_MIN_MS;
	arm(&c->heartbeat, c->o.settings->heartbeat_interval_ms);
}

/* What is to be done after the tables were read. */
static void plan_refresh(struct control *c, bool schema_agrees)
{
	if (c->refresh_again) {
		arm(&c->refresh, SETTLE_MS);
	} else if (!schema_agrees && !evtimer_pending(&c->refresh, NULL)) {
		/* Drivers compare these versions after a schema change, so an old difference must not stay. */
		arm(&c->refresh, c->disagree_ms);
		c->disagree_ms = MIN(c->disagree_ms * 2, DISAGREE_MAX_MS);
	}
	if (schema_agrees)
		c->disagree_ms = DISAGREE_MIN_MS;
	c->refresh_again = false;
}

static void publish(struct control *c, struct topology *t)
{
	bool schema_agrees = topology_schema_agrees(t);

	evtimer_del(&c->timer);
	c->query_runs = false;
	if (!c->datacenter)
		c->datacenter = xstrdup(topology_datacenter(t));
	if (c->state != CONTROL_UP)
		go_up(c, t);
	else
		log_debug("%s %s: topology read again: %u nodes", c->cluster_name, c->text, t->host_count);
	plan_refresh(c, schema_agrees);
	cluster_publish(c->o.cluster, t);
	c->o.on_topology(c, c->o.arg);
}

static void on_peers_answer(struct control *c, struct frame *f, uint32_t offset)
{
	const struct endpoint *e = endpoint_list_current(&c->endpoints);
	struct topology_source source = {
		.id = c->o.cluster->id,
		.settings = c->o.settings,
		.contact = e->address,
		.datacenter = c->datacenter,
	};
	enum topology_result result = TOPOLOGY_BAD;
	struct topology *t = make_topology(c);
	struct rows local, peers;
	char error[WHY_MAX];

	if (parse_tables(c, f, offset, &local, &peers, error, sizeof(error))) {
		result = topology_fill(t, &source, &local, &peers, error, sizeof(error));
		rows_free(&local);
		rows_free(&peers);
	}
	free(c->local_body);
	c->local_body = NULL;
	if (result == TOPOLOGY_OK) {
		publish(c, t);
		return;
	}
	topology_unref(t);
	if (c->state == CONTROL_UP)
		lose(c, error);
	else
		fail(c, result == TOPOLOGY_HOPELESS, "%s", error);
}

/* ---- answers ---- */

static void on_error_answer(struct control *c, struct frame *f, uint32_t offset)
{
	struct error_message error;

	if (!message_parse_error(f->body, f->length, offset, &error)) {
		on_attempt_lost(c, "its ERROR cannot be read");
	} else if (c->step == STEP_OPTIONS && error.code == CQL_ERR_PROTOCOL_ERROR) {
		refuse_version(c, f->version, error.text);
	} else {
		char why[WHY_MAX];

		snprintf(why, sizeof(why), "it answered %s by %s 0x%04x: %.*s", step_names[c->step],
			 cql_error_name(error.code), error.code, (int)MIN(error.text.len, 300u), error.text.p);
		if (c->state == CONTROL_UP)
			lose(c, why);
		else
			fail(c, false, "%s", why);
	}
}

/* The opcode that each step is answered by. */
static const uint8_t expected_opcode[] = {
	[STEP_OPTIONS] = OP_SUPPORTED, [STEP_STARTUP] = OP_READY, [STEP_REGISTER] = OP_READY,
	[STEP_LOCAL] = OP_RESULT,      [STEP_PEERS] = OP_RESULT,
};

static void on_query_answer(struct leg *leg, struct frame *f)
{
	struct control *c = container_of(leg, struct control, query);
	uint32_t offset;
	const char *why;
	char text[WHY_MAX];

	if ((f->flags & FRAME_COMPRESSED) ||
	    !message_skip_preamble(f->body, f->length, f->flags, true, &offset, &why)) {
		on_attempt_lost(c, "it sent an answer that cannot be read");
		return;
	}
	if (f->opcode == OP_ERROR) {
		on_error_answer(c, f, offset);
		return;
	}
	if (f->opcode != expected_opcode[c->step]) {
		snprintf(text, sizeof(text), "it answered %s by %s", step_names[c->step], cql_opcode_name(f->opcode));
		on_attempt_lost(c, text);
		return;
	}
	if (c->step == STEP_OPTIONS)
		on_options_answer(c, f, offset);
	else if (c->step == STEP_REGISTER)
		ask_query(c, STEP_LOCAL, "SELECT * FROM system.local");
	else if (c->step == STEP_LOCAL)
		keep_local(c, f, offset);
	else
		on_peers_answer(c, f, offset);
}

static void on_query_lost(struct leg *leg, const char *why)
{
	on_attempt_lost(container_of(leg, struct control, query), why);
}

static const struct leg_ops query_ops = { .on_answer = on_query_answer, .on_lost = on_query_lost };

/* ---- log-in ---- */

static void on_authenticate(struct login *login, struct strview class_name)
{
	struct control *c = container_of(login, struct control, login);

	c->requires_auth = true;
	if (!c->credentials.user || !*c->credentials.user) {
		fail(c, true, "it requires authentication (%.*s), but no username is configured for %s",
		     (int)MIN(class_name.len, 100u), class_name.p, c->cluster_name);
		return;
	}
	arm(&c->timer, ANSWER_MS);
	login_with(login, &c->credentials);
}

/* Not used: we play the dialogue ourselves. */
static void on_challenge(struct login *login, struct frame *f)
{
	(void)f;
	on_attempt_lost(container_of(login, struct control, login), "it sent a challenge that was not asked for");
}

static void on_login_ready(struct login *login, struct frame *f)
{
	struct control *c = container_of(login, struct control, login);

	(void)f;
	set_state(c, CONTROL_LEARNING);
	ask_register(c);
}

static void on_refused(struct login *login, struct frame *f, const struct error_message *error)
{
	struct control *c = container_of(login, struct control, login);

	if (!error)
		fail(c, false, "it answered the log-in by %s", cql_opcode_name(f->opcode));
	else if (error->code == CQL_ERR_PROTOCOL_ERROR && !c->requires_auth)
		refuse_version(c, f->version, error->text);
	else if (error->code == CQL_ERR_BAD_CREDENTIALS &&
		 /* So Cassandra begins when it could not read its own tables of roles: that passes. */
		 !sv_starts_with(error->text, SV("Unable to perform authentication")))
		fail(c, true, "it refuses the credentials of %s user %s: %.*s", c->cluster_name, c->credentials.user,
		     (int)MIN(error->text.len, 300u), error->text.p);
	else
		fail(c, false, "the log-in failed by %s 0x%04x: %.*s", cql_error_name(error->code), error->code,
		     (int)MIN(error->text.len, 300u), error->text.p);
}

static void on_login_lost(struct login *login, const char *why)
{
	on_attempt_lost(container_of(login, struct control, login), why);
}

static const struct login_handler control_login_handler = {
	.on_authenticate = on_authenticate,
	.on_challenge = on_challenge,
	.on_ready = on_login_ready,
	.on_refused = on_refused,
	.on_lost = on_login_lost,
};

/* ---- the server ---- */

static void on_open(struct server *server)
{
	struct control *c = server->owner;

	set_state(c, CONTROL_LOGIN);
	ask_options(c);
}

static void on_event(struct server *server, struct frame *f)
{
	struct control *c = server->owner;
	uint32_t offset;
	const char *why;

	if (server != c->server || (f->flags & FRAME_COMPRESSED) ||
	    !message_skip_preamble(f->body, f->length, f->flags, true, &offset, &why))
		return;
	if (message_event_kind(f->body + offset, f->length - offset) == 0)
		return;
	/* One timer collapses a burst; what comes while the tables are read is looked at afterwards. */
	if (c->state != CONTROL_UP || c->query_runs)
		c->refresh_again = true;
	else if (!evtimer_pending(&c->refresh, NULL))
		arm(&c->refresh, SETTLE_MS);
}

static void on_server_closed(struct server *server, const char *why)
{
	struct control *c = server->owner;

	/* NULL or another one: a leg that was out has told us already. */
	if (server == c->server)
		on_attempt_lost(c, why);
}

static const struct server_handler control_server_handler = {
	.on_open = on_open,
	.on_event = on_event,
	.on_closed = on_server_closed,
};

/* ---- heartbeats ---- */

static void on_heartbeat_answer(struct leg *leg, struct frame *f)
{
	struct control *c = container_of(leg, struct control, heartbeat_leg);

	if (f->opcode != OP_SUPPORTED)
		log_warn("%s %s: a heartbeat was answered by %s", c->cluster_name, c->text, cql_opcode_name(f->opcode));
	arm(&c->heartbeat, c->o.settings->heartbeat_interval_ms);
}

static void on_heartbeat_lost(struct leg *leg, const char *why)
{
	on_attempt_lost(container_of(leg, struct control, heartbeat_leg), why);
}

static const struct leg_ops heartbeat_ops = { .on_answer = on_heartbeat_answer, .on_lost = on_heartbeat_lost };

static void on_heartbeat_timer(evutil_socket_t fd, short what, void *arg)
{
	struct control *c = arg;

	(void)fd;
	(void)what;
	if (leg_is_out(&c->heartbeat_leg)) {
		lose(c, "a heartbeat was not answered within 10 s");
		return;
	}
	leg_init(&c->heartbeat_leg, &heartbeat_ops);
	if (!server_send_body(c->server, &c->heartbeat_leg, OP_OPTIONS, 0, NULL, 0))
		lose(c, "the connection has ended");
	else
		arm(&c->heartbeat, ANSWER_MS);
}

/* ---- other timers ---- */

static void on_refresh_timer(evutil_socket_t fd, short what, void *arg)
{
	struct control *c = arg;

	(void)fd;
	(void)what;
	if (c->query_runs) {
		c->refresh_again = true;
		return;
	}
	c->query_runs = true;
	ask_query(c, STEP_LOCAL, "SELECT * FROM system.local");
}

static void on_wake(struct control *c)
{
	switch (c->wake) {
	case WAKE_ROUND:
		start_round(c);
		try_next(c);
		break;
	case WAKE_NEXT:
		try_next(c);
		break;
	default:
		try_endpoint(c);
		break;
	}
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct control *c = arg;
	char why[128];

	(void)fd;
	(void)what;
	switch (c->state) {
	case CONTROL_WAITING:
		on_wake(c);
		break;
	case CONTROL_CONNECTING:
		fail(c, false, "%s within %" PRIu32 " ms", c->resolve ? "the name was not resolved" : "no connection",
		     c->settings->connection_timeout_ms);
		break;
	case CONTROL_LOGIN:
	case CONTROL_LEARNING:
	case CONTROL_UP:
		snprintf(why, sizeof(why), "it did not answer %s within %d s", step_names[c->step], ANSWER_MS / 1000);
		if (c->state == CONTROL_UP)
			lose(c, why);
		else
			fail(c, false, "%s", why);
		break;
	default:
		break;
	}
}

/* ---- life ---- */

struct control *control_new(const struct control_options *options)
{
	struct control *c = xcalloc(1, sizeof(*c));
	struct event_base *base = options->loop->base;

	c->o = *options;
	c->settings = options->cluster->settings;
	c->cluster_name = cluster_id_name(options->cluster->id);
	if (c->settings->username)
		credentials_set_text(&c->credentials, c->settings->username, c->settings->password);
	snprintf(c->address, sizeof(c->address), "NOT_CONNECTED");
	leg_init(&c->query, &query_ops);
	leg_init(&c->heartbeat_leg, &heartbeat_ops);
	login_init(&c->login, NULL, &control_login_handler);
	evtimer_assign(&c->timer, base, on_timer, c);
	evtimer_assign(&c->heartbeat, base, on_heartbeat_timer, c);
	evtimer_assign(&c->refresh, base, on_refresh_timer, c);
	return c;
}

void control_start(struct control *c)
{
	if (c->state == CONTROL_IDLE)
		wake_in(c, WAKE_ROUND, 0);
}

void control_free(struct control *c)
{
	if (!c)
		return;
	drop(c, "the control connection is closed");
	endpoint_list_clear(&c->endpoints);
	credentials_wipe(&c->credentials);
	free(c->datacenter);
	free(c);
}

void control_get_status(const struct control *c, struct control_status *out)
{
	memcpy(out->address, c->address, sizeof(out->address));
	out->failures = atomic_load_explicit(&c->o.cluster->failures, memory_order_relaxed);
	out->was_up = c->was_up;
}
