/*
 * login.h - STARTUP and authentication on a server that has just connected.
 * The dialogue is either played by us with a user name and password (control
 * connections, the cluster that the driver's dialogue is not with) or passed
 * through from a driver token by token.
 *
 * How we answer by ourselves: PLAIN (RFC 4616) at once, whatever the
 * authenticator class; DSE's DseAuthenticator first gets the mechanism's name
 * and, on its challenge PLAIN-START, the credentials.
 */
#ifndef PROXY_LOGIN_H
#define PROXY_LOGIN_H

#include "cql/message.h"
#include "cql/writer.h"
#include "proxy/server.h"

/* A name and a password, in memory for secrets (base/secret.h): wiped when freed. */
struct credentials {
	char *authzid; /* may be NULL */
	char *user;
	char *password;
};

void credentials_set(struct credentials *c, const struct sasl_plain *from);
void credentials_set_text(struct credentials *c, const char *user, const char *password);
void credentials_wipe(struct credentials *c);
/* A deep copy; `from` without a user gives empty credentials. */
void credentials_copy(struct credentials *to, const struct credentials *from);
/*
 * Both name a user, the same one with the same password: who has proved one has proved the other. authzid is no part of that
 * (RFC 4616; Cassandra makes nothing of it). In constant time where lengths agree.
 */
bool credentials_equal(const struct credentials *a, const struct credentials *b);
/* The PLAIN token for these credentials; the caller wipes and frees the writer by writer_wipe_free(). */
void credentials_write_plain(const struct credentials *c, struct writer *w);
/* Overwrites the written bytes, then frees. */
void writer_wipe_free(struct writer *w);

/* The authenticator of DSE, by the class that AUTHENTICATE names: it wants the mechanism's name before the token. */
bool login_is_dse(struct strview class_name);

struct login;

struct login_handler {
	/*
	 * The node wants a log-in; `class_name` is its authenticator. The handler
	 * calls login_with() or login_token(), now or later.
	 */
	void (*on_authenticate)(struct login *login, struct strview class_name);
	/*
	 * A challenge. When the dialogue is passed through, it is answered by login_token(); when we play it
	 * (login->credentials is set), the node asks for more than a user and a password.
	 */
	void (*on_challenge)(struct login *login, struct frame *f);
	/* READY or AUTH_SUCCESS: the server is ready. */
	void (*on_ready)(struct login *login, struct frame *f);
	/* An ERROR frame, parsed into `error`, or any other unexpected one (error NULL). */
	void (*on_refused)(struct login *login, struct frame *f, const struct error_message *error);
	/* The connection ended, or the dialogue made no sense. */
	void (*on_lost)(struct login *login, const char *why);
};

struct login {
	struct leg leg;
	const struct login_handler *handler;
	struct server *server;
	const struct credentials *credentials; /* set: we play the dialogue; borrowed until it is over */
	uint8_t rounds;
	bool is_dse;
	bool is_challenged; /* DSE: it knows the mechanism, also in a second attempt */
};

void login_init(struct login *login, struct server *server, const struct login_handler *handler);

/* STARTUP: `options` is a whole [string map] body; `compression` what it asks for. */
void login_startup(struct login *login, const void *options, uint32_t length, enum cql_compression compression);
/* Answers AUTHENTICATE by ourselves with these credentials. */
void login_with(struct login *login, const struct credentials *credentials);
/* Passes a token on; p NULL is the null token. */
void login_token(struct login *login, struct bytesview token);
/* Nobody waits any more. */
void login_abandon(struct login *login);

/* Writes the QUERY body `USE "keyspace"`, for connections of our own and for putting a keyspace back. */
void login_write_use(struct writer *w, const char *keyspace, uint8_t version);

/*
 * Writes a STARTUP body of our own: CQL_VERSION, and COMPRESSION unless it is
 * none. For a connection that is shared also DRIVER_NAME and DRIVER_VERSION,
 * which are ours, and THROW_ON_OVERLOAD (native protocol v5, section 4.1.1): a
 * node that is overloaded then says so instead of leaving the requests of all
 * clients unread.
 */
void login_write_startup(struct writer *w, enum cql_compression compression, bool is_shared);

#endif
