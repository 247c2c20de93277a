/* client.c - see client.h */
#include "client.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "body.h"
#include "load.h"

/* Errors that are told in full; the others are only counted. */
#define TOLD_ERRORS 10

/* ---- requests ---- */

/* Exactly `percent` of 100 numbers in a row, well mixed: 37 has no divisor in common with 100. */
static bool is_chosen(uint64_t number, unsigned percent)
{
	return number * 37 % 100 < percent;
}

static enum request_kind next_kind(const struct load *l)
{
	if (l->phase == PHASE_STORES)
		return REQUEST_WRITE;
	if (!is_chosen(l->started, l->options->write_percent))
		return REQUEST_READ;
	return is_chosen(l->writes, l->options->batch_percent) ? REQUEST_BATCH : REQUEST_WRITE;
}

void client_send(struct client *c, uint64_t started_ns)
{
	struct load *l = c->load;
	const uint16_t stream = c->free[--c->free_count];
	struct slot *slot = &c->slots[stream];
	const uint64_t keys = l->options->keys;
	const struct template *t;

	*slot = (struct slot){ .number = keys ? l->started % keys : l->started,
			       .started_ns = started_ns,
			       .kind = next_kind(l),
			       .is_out = true };
	l->started++;
	l->writes += slot->kind != REQUEST_READ;
	t = &l->templates[slot->kind];
	template_send(t, slot->number, &c->peer, (int16_t)stream);
}

/* ---- answers ---- */

static void on_error(struct client *c, const struct slot *slot, const struct frame *f)
{
	struct reader r = reader_over(f->body, f->length);
	const uint32_t code = read_int(&r);
	const struct strview text = read_string(&r);

	if (c->load->errors++ < TOLD_ERRORS)
		fprintf(stderr, "cqlbench: request %llu: %s: %.*s\n", (unsigned long long)slot->number,
			cql_error_name(code), SV_ARG(text));
}

/*
 * RESULT/ROWS, native protocol v5, section 4.2.5.2: kind, flags, number of columns, then metadata, which clusters of others
 * send with the answers to QUERY; in the end the number of rows and the value with its length.
 */
static bool is_one_row(const struct frame *f, uint32_t value_len)
{
	const uint8_t *end = f->body + f->length - value_len;

	if (f->length < 20 + value_len || get_u32(f->body) != RESULT_ROWS)
		return false;
	if ((get_u32(f->body + 4) & ROWS_NO_METADATA) && f->length != 20 + value_len)
		return false;
	return get_u32(f->body + 8) == 1 && get_u32(end - 8) == 1 && get_u32(end - 4) == value_len;
}

static void check_answer(const struct client *c, const struct slot *slot, const struct frame *f)
{
	const uint32_t value_len = c->load->options->value_len;
	uint8_t key[KEY_LEN];

	if (f->opcode != OP_RESULT || f->length < 4)
		die("request %llu was answered by %s", (unsigned long long)slot->number, cql_opcode_name(f->opcode));
	if (slot->kind != REQUEST_READ) {
		if (f->length != 4 || get_u32(f->body) != RESULT_VOID)
			die("the write %llu got another request's answer", (unsigned long long)slot->number);
		return;
	}
	key_write(key, slot->number);
	if (!is_one_row(f, value_len) || !value_is(f->body + f->length - value_len, value_len, key, c->load->read_mark))
		die("the read %llu got another request's answer, or the wrong cluster's",
		    (unsigned long long)slot->number);
}

static void on_answer(struct client *c, const struct frame *f)
{
	const bool is_error = f->opcode == OP_ERROR;
	struct slot *slot;

	if (f->stream < 0 || (unsigned)f->stream >= c->load->options->depth || !c->slots[f->stream].is_out)
		die("an answer on stream %d, which no request waits for", f->stream);
	slot = &c->slots[f->stream];
	if (is_error)
		on_error(c, slot, f);
	else
		check_answer(c, slot, f);
	slot->is_out = false;
	c->free[c->free_count++] = (uint16_t)f->stream;
	load_on_answer(c->load, c, slot->started_ns, is_error);
}

/* ---- coming up ---- */

static unsigned proxy_of(const struct client *c)
{
	return (unsigned)(c - c->load->clients) % c->load->proxy_count;
}

static void send_text(struct client *c, uint8_t opcode, const char *text)
{
	struct writer w;

	writer_init(&w);
	write_long_string(&w, sv_from(text));
	if (opcode == OP_QUERY)
		write_short(&w, CL_ONE);
	/* Flags: QUERY has them in every version, PREPARE since v5. */
	if (c->load->options->version >= 5)
		write_int(&w, 0);
	else if (opcode == OP_QUERY)
		write_byte(&w, 0);
	peer_send(&c->peer, 0, opcode, w.data, w.len);
	writer_free(&w);
}

static void on_open(struct peer *p)
{
	struct client *c = container_of(p, struct client, peer);
	const enum cql_compression compression = (enum cql_compression)c->load->options->compression;
	struct writer w;

	writer_init(&w);
	write_short(&w, compression == COMPRESSION_NONE ? 1 : 2);
	write_cstring(&w, "CQL_VERSION");
	write_cstring(&w, "3.0.0");
	if (compression != COMPRESSION_NONE) {
		write_cstring(&w, "COMPRESSION");
		write_cstring(&w, cql_compression_name(compression));
	}
	peer_send(p, 0, OP_STARTUP, w.data, w.len);
	writer_free(&w);
	c->step = STEP_STARTUP;
}

static void log_in(struct client *c)
{
	const struct options *o = c->load->options;
	struct writer w;

	writer_init(&w);
	body_auth_response(&w, sv_from(o->user), sv_from(o->password));
	peer_send(&c->peer, 0, OP_AUTH_RESPONSE, w.data, w.len);
	writer_free(&w);
}

/* A statement with the name of the keyspace in it. */
static void send_for_keyspace(struct client *c, enum step step, uint8_t opcode, const char *before, const char *after)
{
	char *text = xasprintf("%s%s%s", before, c->load->options->keyspace, after);

	send_text(c, opcode, text);
	free(text);
	c->step = step;
}

static void make_template(struct client *c, enum request_kind kind, const struct prepared_ids *ids)
{
	const struct options *o = c->load->options;
	const enum form form = kind == REQUEST_BATCH    ? FORM_BATCH
			       : o->form == FORM_SIMPLE ? FORM_SIMPLE
							: FORM_PREPARED;

	template_make(&c->load->templates[kind], form, kind != REQUEST_READ, ids, o);
}

static void on_prepared(struct client *c, const struct frame *f)
{
	struct reader r = reader_over(f->body, f->length);
	struct prepared_ids ids = { .metadata_id = { .is_null = true } };

	if (read_int(&r) != RESULT_PREPARED)
		die("PREPARE was not answered by PREPARED");
	ids.id = read_short_bytes(&r);
	if (c->load->options->version >= 5)
		ids.metadata_id = read_short_bytes(&r);
	if (!reader_ok(&r))
		die("PREPARED cannot be read");
	if (c->load->templates[c->step == STEP_PREPARE_READ ? REQUEST_READ : REQUEST_WRITE].frame.len > 0)
		return; /* another proxy has said the same */
	if (c->step == STEP_PREPARE_READ) {
		make_template(c, REQUEST_READ, &ids);
	} else {
		make_template(c, REQUEST_WRITE, &ids);
		make_template(c, REQUEST_BATCH, &ids);
	}
}

static void expect(const struct client *c, const struct frame *f, uint8_t opcode)
{
	struct reader r = reader_over(f->body, f->length);
	struct strview text;

	if (f->opcode == opcode)
		return;
	if (f->opcode != OP_ERROR)
		die("step %d: %s instead of %s", (int)c->step, cql_opcode_name(f->opcode), cql_opcode_name(opcode));
	read_int(&r);
	text = read_string(&r);
	die("step %d: an error: %.*s", (int)c->step, SV_ARG(text));
}

static void become_ready(struct client *c)
{
	c->step = STEP_READY;
	load_on_ready(c->load, c);
}

static uint8_t expected_opcode(const struct client *c)
{
	if (c->step == STEP_STARTUP)
		return c->load->options->user ? OP_AUTHENTICATE : OP_READY;
	return c->step == STEP_LOG_IN ? OP_AUTH_SUCCESS : OP_RESULT;
}

static void use_keyspace(struct client *c)
{
	send_for_keyspace(c, STEP_USE, OP_QUERY, "USE ", "");
}

/* The connection can be used. */
static void on_logged_in(struct client *c)
{
	if (c->load->options->create && !c->load->is_prepared[proxy_of(c)])
		send_for_keyspace(c, STEP_CREATE_KEYSPACE, OP_QUERY, "CREATE KEYSPACE IF NOT EXISTS ",
				  " WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}");
	else
		use_keyspace(c);
}

static void on_started(struct client *c)
{
	peer_use_compression(&c->peer, (enum cql_compression)c->load->options->compression);
	/* Segments begin behind READY or AUTHENTICATE, native protocol v5, section 2.3.1. */
	if (c->load->options->version >= 5)
		peer_use_segments(&c->peer);
	if (!c->load->options->user) {
		on_logged_in(c);
		return;
	}
	log_in(c);
	c->step = STEP_LOG_IN;
}

/* The next step of a connection that is not ready. */
static void on_step(struct client *c, const struct frame *f)
{
	expect(c, f, expected_opcode(c));
	switch (c->step) {
	case STEP_STARTUP:
		on_started(c);
		break;
	case STEP_LOG_IN:
		on_logged_in(c);
		break;
	case STEP_CREATE_KEYSPACE:
		send_for_keyspace(c, STEP_CREATE_TABLE, OP_QUERY, "CREATE TABLE IF NOT EXISTS ",
				  ".t (k text PRIMARY KEY, v text)");
		break;
	case STEP_CREATE_TABLE:
		use_keyspace(c);
		break;
	case STEP_USE:
		if (f->length < 4 || get_u32(f->body) != RESULT_SET_KEYSPACE)
			die("USE was not answered by SET_KEYSPACE");
		if (c->load->is_prepared[proxy_of(c)])
			become_ready(c);
		else
			send_for_keyspace(c, STEP_PREPARE_READ, OP_PREPARE, "SELECT v FROM ", ".t WHERE k = ?");
		break;
	case STEP_PREPARE_READ:
		on_prepared(c, f);
		send_for_keyspace(c, STEP_PREPARE_WRITE, OP_PREPARE, "INSERT INTO ", ".t (k, v) VALUES (?, ?)");
		break;
	case STEP_PREPARE_WRITE:
		on_prepared(c, f);
		c->load->is_prepared[proxy_of(c)] = true;
		become_ready(c);
		break;
	case STEP_CONNECT:
	case STEP_READY:
		break;
	}
}

static void on_frame(struct peer *p, const struct frame *f)
{
	struct client *c = container_of(p, struct client, peer);

	if (f->version != c->load->options->version)
		die("a frame of version %u", f->version);
	if (c->step == STEP_READY)
		on_answer(c, f);
	else
		on_step(c, f);
}

static void on_closed(struct peer *p, const char *why)
{
	struct client *c = container_of(p, struct client, peer);

	if (c->step != STEP_CONNECT)
		die("the proxy closed a connection: %s", why);
	load_on_refused(c->load, c, why);
}

static const struct peer_handler handler = { on_open, on_frame, on_closed };

void client_init(struct client *c, struct load *load)
{
	const unsigned depth = load->options->depth;

	*c = (struct client){ .load = load };
	c->slots = xcalloc(depth, sizeof(*c->slots));
	c->free = xcalloc(depth, sizeof(*c->free));
	for (unsigned i = depth; i > 0; i--)
		c->free[c->free_count++] = (uint16_t)(i - 1);
}

void client_connect(struct client *c)
{
	c->step = STEP_CONNECT;
	c->leaves = false;
	if (!peer_connect(&c->peer, &c->load->to_proxy, &handler, &c->load->proxies[proxy_of(c)],
			  (uint8_t)c->load->options->version)) {
		if (errno == EMFILE || errno == ENFILE)
			die("client %u cannot connect: %s", (unsigned)(c - c->load->clients) + 1, strerror(errno));
		load_on_refused(c->load, c, strerror(errno));
	} else if (c->load->tls) {
		peer_secure(&c->peer, c->load->tls);
	}
}

void client_close(struct client *c)
{
	peer_close(&c->peer);
	c->step = STEP_CONNECT;
}
