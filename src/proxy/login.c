/* login.c - see login.h */
#include "proxy/login.h"

#include <openssl/crypto.h>
#include <string.h>

#include "base/secret.h"
#include "proxy/plain.h"

#define DSE_AUTHENTICATOR "com.datastax.bdp.cassandra.auth.DseAuthenticator"
/* STARTUP, the mechanism, the credentials, and some to spare: a node that asks on and on is not a Cassandra. */
#define MAX_ROUNDS 6

static const struct leg_ops login_leg_ops;

/* ---- credentials ---- */

static void wipe_string(char **s)
{
	secret_free(*s);
	*s = NULL;
}

void credentials_wipe(struct credentials *c)
{
	wipe_string(&c->authzid);
	wipe_string(&c->user);
	wipe_string(&c->password);
}

void credentials_set(struct credentials *c, const struct sasl_plain *from)
{
	credentials_wipe(c);
	if (from->authzid.len > 0)
		c->authzid = secret_strndup(from->authzid.p, from->authzid.len);
	c->user = secret_strndup(from->user.p, from->user.len);
	c->password = secret_strndup(from->password.p, from->password.len);
}

void credentials_set_text(struct credentials *c, const char *user, const char *password)
{
	credentials_wipe(c);
	c->user = secret_strdup(user ? user : "");
	c->password = secret_strdup(password ? password : "");
}

void credentials_copy(struct credentials *to, const struct credentials *from)
{
	credentials_wipe(to);
	if (!from->user)
		return;
	to->authzid = from->authzid ? secret_strdup(from->authzid) : NULL;
	to->user = secret_strdup(from->user);
	to->password = secret_strdup(from->password);
}

static bool text_equal(const char *a, const char *b)
{
	const size_t n = a ? strlen(a) : 0;

	return n == (b ? strlen(b) : 0) && (n == 0 || CRYPTO_memcmp(a, b, n) == 0);
}

bool credentials_equal(const struct credentials *a, const struct credentials *b)
{
	return a->user && b->user && text_equal(a->user, b->user) && text_equal(a->password, b->password);
}

void credentials_write_plain(const struct credentials *c, struct writer *w)
{
	const size_t z = c->authzid ? strlen(c->authzid) : 0;
	const size_t u = strlen(c->user);
	const size_t p = strlen(c->password);
	/* Reserved as a whole: growing would leave a copy behind that nobody wipes. */
	uint8_t *to = writer_reserve(w, (uint32_t)(z + u + p + 2));

	if (z)
		memcpy(to, c->authzid, z);
	to[z] = 0;
	memcpy(to + z + 1, c->user, u);
	to[z + 1 + u] = 0;
	memcpy(to + z + 1 + u + 1, c->password, p);
}

void writer_wipe_free(struct writer *w)
{
	if (w->data)
		explicit_bzero(w->data, w->len);
	writer_free(w);
}

/* ---- the dialogue ---- */

void login_init(struct login *login, struct server *server, const struct login_handler *handler)
{
	*login = (struct login){ .handler = handler, .server = server };
	leg_init(&login->leg, &login_leg_ops);
}

void login_abandon(struct login *login)
{
	leg_abandon(&login->leg);
}

static void send_or_fail(struct login *login, uint8_t opcode, const void *body, uint32_t length)
{
	if (!server_send_body(login->server, &login->leg, opcode, 0, body, length))
		login->handler->on_lost(login, "the connection ended during log-in");
	else if (opcode == OP_AUTH_RESPONSE)
		wire_mark_secret(&login->server->wire);
}

void login_startup(struct login *login, const void *options, uint32_t length, enum cql_compression compression)
{
	login->server->compression = (uint8_t)compression;
	send_or_fail(login, OP_STARTUP, options, length);
}

void login_token(struct login *login, struct bytesview token)
{
	struct writer w;

	writer_init(&w);
	write_bytes(&w, token.is_null ? NULL : token.p, token.len);
	send_or_fail(login, OP_AUTH_RESPONSE, w.data, w.len);
	writer_wipe_free(&w);
}

static void send_plain(struct login *login)
{
	struct writer w;

	writer_init(&w);
	credentials_write_plain(login->credentials, &w);
	login_token(login, (struct bytesview){ .p = w.data, .len = w.len });
	writer_wipe_free(&w);
}

void login_with(struct login *login, const struct credentials *credentials)
{
	login->credentials = credentials;
	if (login->is_dse && !login->is_challenged)
		login_token(login, (struct bytesview){ .p = (const uint8_t *)"PLAIN", .len = 5 });
	else
		send_plain(login);
}

bool login_is_dse(struct strview class_name)
{
	return sv_equal(class_name, SV(DSE_AUTHENTICATOR));
}

static void on_authenticate(struct login *login, struct frame *f)
{
	struct reader r = reader_over(f->body, f->length);
	struct strview class_name = read_string(&r);

	if (!reader_ok(&r)) {
		login->handler->on_lost(login, "its AUTHENTICATE cannot be read");
		return;
	}
	login->is_dse = login_is_dse(class_name);
	login->handler->on_authenticate(login, class_name);
}

static void on_challenge(struct login *login, struct frame *f)
{
	struct reader r = reader_over(f->body, f->length);
	struct bytesview token = read_bytes(&r);

	if (login->credentials && reader_ok(&r) &&
	    sv_equal((struct strview){ (const char *)token.p, token.len }, SV("PLAIN-START"))) {
		login->is_challenged = true;
		send_plain(login);
		return;
	}
	login->handler->on_challenge(login, f);
}

static void on_error(struct login *login, struct frame *f)
{
	struct error_message error;
	uint32_t offset = 0;
	const char *why;

	if (message_skip_preamble(f->body, f->length, f->flags, true, &offset, &why) &&
	    message_parse_error(f->body, f->length, offset, &error))
		login->handler->on_refused(login, f, &error);
	else
		login->handler->on_refused(login, f, NULL);
}

static void on_plain_answer(struct login *login, struct frame *f)
{
	switch (f->opcode) {
	case OP_READY:
	case OP_AUTH_SUCCESS:
		server_set_ready(login->server);
		login->handler->on_ready(login, f);
		return;
	case OP_AUTHENTICATE:
		on_authenticate(login, f);
		return;
	case OP_AUTH_CHALLENGE:
		on_challenge(login, f);
		return;
	case OP_ERROR:
		on_error(login, f);
		return;
	default:
		login->handler->on_refused(login, f, NULL);
		return;
	}
}

static void on_answer(struct leg *leg, struct frame *f)
{
	struct login *login = container_of(leg, struct login, leg);
	struct server *s = login->server;
	struct frame opened;
	struct plain plain;
	const char *why;

	if (++login->rounds > MAX_ROUNDS) {
		login->handler->on_lost(login, "its log-in dialogue does not end");
		return;
	}
	/* What follows STARTUP may be compressed already. */
	if (!plain_open(&plain, s->wire.sb.loop, (enum cql_compression)s->compression, f, s->wire.max_frame, &why)) {
		login->handler->on_lost(login, why);
		return;
	}
	opened = plain_frame(&plain, f);
	on_plain_answer(login, &opened);
	plain_close(&plain);
}

static void on_lost(struct leg *leg, const char *why)
{
	struct login *login = container_of(leg, struct login, leg);

	login->handler->on_lost(login, why);
}

static const struct leg_ops login_leg_ops = {
	.on_answer = on_answer,
	.on_lost = on_lost,
};

void login_write_startup(struct writer *w, enum cql_compression compression, bool is_shared)
{
	static const char *const shared[][2] = {
		{ "DRIVER_NAME", "cqlferry" },
		{ "DRIVER_VERSION", PACKAGE_VERSION },
		{ "THROW_ON_OVERLOAD", "1" },
	};

	write_short(w, (uint16_t)(1 + (compression != COMPRESSION_NONE) + (is_shared ? ARRAY_LEN(shared) : 0)));
	write_cstring(w, "CQL_VERSION");
	write_cstring(w, "3.0.0");
	if (compression != COMPRESSION_NONE) {
		write_cstring(w, "COMPRESSION");
		write_cstring(w, cql_compression_name(compression));
	}
	for (size_t i = 0; is_shared && i < ARRAY_LEN(shared); i++) {
		write_cstring(w, shared[i][0]);
		write_cstring(w, shared[i][1]);
	}
}

void login_write_use(struct writer *w, const char *keyspace, uint8_t version)
{
	struct writer text;

	writer_init(&text);
	write_raw(&text, "USE \"", 5);
	for (const char *p = keyspace; *p; p++) {
		write_raw(&text, p, 1);
		if (*p == '"')
			write_raw(&text, p, 1);
	}
	write_byte(&text, '"');
	write_long_string(w, (struct strview){ (const char *)text.data, text.len });
	writer_free(&text);
	write_short(w, CL_ONE);
	if (version_has(version, VERSION_INT_FLAGS))
		write_int(w, 0);
	else
		write_byte(w, 0);
}
