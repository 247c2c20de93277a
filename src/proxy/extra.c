/* extra.c - see extra.h */
#include "proxy/extra.h"

#include <stdio.h>
#include <stdlib.h>

#include "proxy/connect.h"
#include "proxy/plain.h"

static const struct leg_ops use_leg_ops;
static const struct login_handler extra_login_handler;
static const struct server_handler extra_server_handler;

void extra_init(struct extra *x, const struct extra_handler *handler)
{
	*x = (struct extra){ .handler = handler };
	leg_init(&x->use, &use_leg_ops);
	timeout_item_init(&x->timeout);
}

static void empty(struct extra *x)
{
	timeout_stop(&x->timeout);
	login_abandon(&x->login);
	leg_abandon(&x->use);
	credentials_wipe(&x->credentials);
	free(x->keyspace);
	x->keyspace = NULL;
	x->server = NULL;
}

void extra_close(struct extra *x, const char *why)
{
	struct server *s = x->server;

	if (!s)
		return;
	empty(x);
	server_detach(s);
	server_close(s, why);
}

struct server *extra_take(struct extra *x)
{
	struct server *s = x->server;

	empty(x);
	return s;
}

static void fail_by(struct extra *x, const char *why, const struct extra_failure *failure)
{
	char text[256];

	snprintf(text, sizeof(text), "%s", why); /* `why` may die with the connection */
	extra_close(x, text);
	x->handler->on_failed(x, text, failure);
}

static void fail(struct extra *x, const char *why)
{
	static const struct extra_failure unreachable = { .kind = EXTRA_UNREACHABLE };

	fail_by(x, why, &unreachable);
}

bool extra_open(struct extra *x, const struct extra_options *o, const char **why)
{
	Assert(!x->server);
	x->server = connect_open_at(o->worker, o->cluster, o->address, o->version, &extra_server_handler, x, why);
	if (!x->server)
		return false;
	login_init(&x->login, x->server, &extra_login_handler);
	credentials_copy(&x->credentials, o->credentials);
	x->keyspace = o->keyspace ? xstrdup(o->keyspace) : NULL;
	x->compression = (uint8_t)o->compression;
	x->is_shared = o->is_shared;
	x->was_asked = false;
	timeout_start(&o->worker->loop, &o->worker->extra_timeouts, &x->timeout);
	return true;
}

void extra_on_timeout(struct timeout_item *item)
{
	static const struct extra_failure silent = { .kind = EXTRA_USE_SILENT };
	struct extra *x = container_of(item, struct extra, timeout);

	if (leg_is_out(&x->use))
		fail_by(x, "USE was not answered within request_timeout", &silent);
	else
		fail(x, "it was not ready within request_timeout");
}

static void become_ready(struct extra *x)
{
	timeout_stop(&x->timeout);
	x->handler->on_ready(x);
}

/* ---- the connection ---- */

static void on_open(struct server *server)
{
	struct extra *x = server->owner;
	struct writer w;

	writer_init(&w);
	login_write_startup(&w, (enum cql_compression)x->compression, x->is_shared);
	login_startup(&x->login, w.data, w.len, (enum cql_compression)x->compression);
	writer_free(&w);
}

static void on_closed(struct server *server, const char *why)
{
	fail(server->owner, why);
}

static const struct server_handler extra_server_handler = {
	.on_open = on_open,
	.on_closed = on_closed,
};

/* ---- the log-in ---- */

static void on_authenticate(struct login *login, struct strview class_name)
{
	struct extra *x = container_of(login, struct extra, login);
	static const struct extra_failure refused = {
		.kind = EXTRA_REFUSED,
		.error_code = CQL_ERR_BAD_CREDENTIALS,
		.message = { "the node wants a log-in", 23 },
	};

	(void)class_name;
	x->was_asked = true;
	if (x->credentials.user)
		login_with(login, &x->credentials);
	else
		fail_by(x, "it wants a log-in, and the client's cannot be repeated", &refused);
}

static void on_challenge(struct login *login, struct frame *f)
{
	static const struct extra_failure refused = {
		.kind = EXTRA_REFUSED,
		.error_code = CQL_ERR_BAD_CREDENTIALS,
		.message = { "the node asks for more than a user and a password", 49 },
	};

	(void)f;
	/* Not a fault of the node, which goes on to serve others. */
	fail_by(container_of(login, struct extra, login), "its authenticator asks for something else than PLAIN",
		&refused);
}

static void on_login_ready(struct login *login, struct frame *f)
{
	struct extra *x = container_of(login, struct extra, login);
	struct writer w;
	bool sent;

	(void)f;
	if (!x->keyspace) {
		become_ready(x);
		return;
	}
	writer_init(&w);
	login_write_use(&w, x->keyspace, x->server->version);
	sent = server_send_body(x->server, &x->use, OP_QUERY, 0, w.data, w.len);
	writer_free(&w);
	if (!sent)
		fail(x, "USE could not be sent");
}

/* `error` NULL: a frame that makes no sense here. */
static void fail_with_error(struct extra *x, enum extra_failure_kind kind, const char *what,
			    const struct error_message *error)
{
	char text[200];
	char message[400];
	struct extra_failure failure = { .kind = error ? kind : EXTRA_UNREACHABLE };

	if (error) {
		failure.error_code = error->code;
		snprintf(message, sizeof(message), "%.*s", (int)MIN(error->text.len, sizeof(message) - 1),
			 error->text.p);
		failure.message = sv_from(message);
	}
	snprintf(text, sizeof(text), "%s refused: %.*s", what, error ? (int)MIN(error->text.len, 150) : 0,
		 error ? error->text.p : "");
	fail_by(x, text, &failure);
}

static void on_refused(struct login *login, struct frame *f, const struct error_message *error)
{
	(void)f;
	fail_with_error(container_of(login, struct extra, login), EXTRA_REFUSED, "log-in", error);
}

static void on_login_lost(struct login *login, const char *why)
{
	fail(container_of(login, struct extra, login), why);
}

static const struct login_handler extra_login_handler = {
	.on_authenticate = on_authenticate,
	.on_challenge = on_challenge,
	.on_ready = on_login_ready,
	.on_refused = on_refused,
	.on_lost = on_login_lost,
};

/* ---- USE ---- */

static void use_refused(struct extra *x, struct frame *f)
{
	struct loop *loop = x->server->wire.sb.loop;
	struct error_message error;
	uint32_t offset = 0;
	const char *why;
	struct plain p;

	if (!plain_open(&p, loop, (enum cql_compression)x->compression, f, x->server->wire.max_frame, &why)) {
		fail(x, why);
		return;
	}
	if (message_skip_preamble(p.data, p.len, p.flags, true, &offset, &why) &&
	    message_parse_error(p.data, p.len, offset, &error))
		fail_with_error(x, EXTRA_USE_REFUSED, "USE", &error);
	else
		fail_with_error(x, EXTRA_USE_REFUSED, "USE", NULL);
	plain_close(&p);
}

static void use_on_answer(struct leg *leg, struct frame *f)
{
	struct extra *x = container_of(leg, struct extra, use);

	if (f->opcode == OP_ERROR) {
		use_refused(x, f);
		return;
	}
	x->server->keyspace = xstrdup(x->keyspace);
	become_ready(x);
}

static void use_on_lost(struct leg *leg, const char *why)
{
	fail(container_of(leg, struct extra, use), why);
}

static const struct leg_ops use_leg_ops = {
	.on_answer = use_on_answer,
	.on_lost = use_on_lost,
};
