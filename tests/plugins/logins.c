/*
 * logins.c - says on standard error which clients come, log in and go, and does
 * what its rules say. A rule is a line
 *
 *	WHERE VERDICT [KEY=VALUE ...]
 *
 * where WHERE is connect, startup, token (any), token:USER, login, gone; the
 * first that fits is taken, and without one the verdict is next. A word in `text`
 * has _ for blanks.
 *
 *	origin=USER/PASSWORD, target=...   login_set()
 *	name=USER        login_name()
 *	ask=yes          login_ask()
 *	code=NUMBER, text=TEXT             deny()
 *	ms=NUMBER, resume=FILE             hold(): resumed by a thread when there is that file; the `next rule' decides then
 */
#define _GNU_SOURCE
#include "say.h"

#include <cqlferry/plugin.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define RULES_MAX 16
#define HELD_MAX 64

static const struct cqlferry_option options[] = {
	{ .name = "rule", .type = CQLFERRY_OPTION_TEXT, .flags = CQLFERRY_OPTION_REPEATED },
};

struct waiter {
	uint64_t ticket;
	const char *file;
};

struct logins {
	const struct cqlferry_host *host;
	char *text;
	char *rules[RULES_MAX];
	unsigned count;
	pthread_t thread;
	atomic_bool ends;
	pthread_mutex_t lock;
	struct waiter held[HELD_MAX];
	unsigned held_count;
};

#define SAY(l, ...) say("logins", (l)->host->instance, __VA_ARGS__)

#define TEXT(t) (int)(t).length, (t).data ? (t).data : ""

static void *resume_thread(void *arg)
{
	struct logins *l = arg;

	while (!atomic_load(&l->ends)) {
		pthread_mutex_lock(&l->lock);
		for (unsigned i = l->held_count; i-- > 0;) {
			if (access(l->held[i].file, F_OK) == 0) {
				const uint64_t ticket = l->held[i].ticket;

				l->held[i] = l->held[--l->held_count];
				l->host->resume(l->host, ticket);
			}
		}
		pthread_mutex_unlock(&l->lock);
		usleep(2000);
	}
	return NULL;
}

static int32_t logins_open(const struct cqlferry_host *host, const struct cqlferry_value *values, void **self)
{
	struct logins *l = calloc(1, sizeof(*l));

	l->host = host;
	l->text = strdup(values[0].text ? values[0].text : "");
	for (char *save = NULL, *p = strtok_r(l->text, "\n", &save); p && l->count < RULES_MAX;
	     p = strtok_r(NULL, "\n", &save))
		l->rules[l->count++] = p;
	pthread_mutex_init(&l->lock, NULL);
	pthread_create(&l->thread, NULL, resume_thread, l);
	*self = l;
	return 0;
}

static void logins_close(void *self)
{
	struct logins *l = self;

	atomic_store(&l->ends, true);
	pthread_join(l->thread, NULL);
	pthread_mutex_destroy(&l->lock);
	free(l->text);
	free(l);
}

/* The value of a key in a rule, or NULL; good until the next call. */
static const char *value_of(const char *rule, const char *key)
{
	static _Thread_local char value[4][256];
	static _Thread_local unsigned turn;
	char *out = value[turn++ % 4];
	char wanted[40];
	const char *p;

	snprintf(wanted, sizeof(wanted), " %s=", key);
	p = strstr(rule, wanted);
	if (!p)
		return NULL;
	p += strlen(wanted);
	snprintf(out, 256, "%.*s", (int)strcspn(p, " "), p);
	return out;
}

static const char *words_of(const char *rule, const char *key)
{
	char *text = (char *)(uintptr_t)value_of(rule, key);

	for (char *p = text; p && *p; p++) {
		if (*p == '_')
			*p = ' ';
	}
	return text;
}

static bool is_at(const char *rule, const char *where, struct cqlferry_text user)
{
	const size_t n = strcspn(rule, " :");

	if (n != strlen(where) || strncmp(rule, where, n) != 0)
		return false;
	if (rule[n] == ' ')
		return true;
	return strcspn(rule + n + 1, " ") == user.length && memcmp(rule + n + 1, user.data, user.length) == 0;
}

/* `skip` of those that fit are passed over. */
static const char *rule_for(const struct logins *l, const char *where, struct cqlferry_text user, unsigned skip)
{
	for (unsigned i = 0; i < l->count; i++) {
		if (is_at(l->rules[i], where, user) && skip-- == 0)
			return l->rules[i];
	}
	return "none next";
}

static struct cqlferry_text text_of(const char *s)
{
	return (struct cqlferry_text){ s, strlen(s) };
}

static void set(const struct logins *l, struct cqlferry_login *login, const char *rule, const char *cluster,
		uint32_t id)
{
	const char *value = value_of(rule, cluster);
	size_t n;

	if (!value)
		return;
	n = strcspn(value, "/");
	if (strcmp(value + n + 1, "zero") == 0) /* a byte that no password may have */
		l->host->login_set(login, id, (struct cqlferry_text){ value, n }, (struct cqlferry_text){ "a\0b", 3 });
	else
		l->host->login_set(login, id, (struct cqlferry_text){ value, n }, text_of(value + n + 1));
}

static int32_t hold(struct logins *l, const char *rule)
{
	const char *file = value_of(rule, "resume");
	const char *ms = value_of(rule, "ms");
	const uint64_t ticket = l->host->hold(l->host, ms ? (uint32_t)atoi(ms) : 60000);

	if (!ticket)
		return CQLFERRY_DENY;
	if (file) {
		pthread_mutex_lock(&l->lock);
		if (l->held_count < HELD_MAX)
			l->held[l->held_count++] = (struct waiter){ ticket, strstr(rule, " resume=") + 8 };
		pthread_mutex_unlock(&l->lock);
	}
	return CQLFERRY_HOLD;
}

static int32_t verdict_of(struct logins *l, struct cqlferry_login *login, const char *rule)
{
	char verdict[32];
	const char *code = value_of(rule, "code");

	snprintf(verdict, sizeof(verdict), "%.*s", (int)strcspn(rule + strcspn(rule, " ") + 1, " "),
		 rule + strcspn(rule, " ") + 1);
	if (login) {
		const char *name = value_of(rule, "name");

		set(l, login, rule, "origin", CQLFERRY_ORIGIN);
		set(l, login, rule, "target", CQLFERRY_TARGET);
		if (name)
			l->host->login_name(login, text_of(name));
		if (value_of(rule, "ask"))
			l->host->login_ask(login);
	}
	if (strcmp(verdict, "done") == 0)
		return CQLFERRY_DONE;
	if (strcmp(verdict, "hold") == 0)
		return hold(l, rule);
	if (strcmp(verdict, "error") == 0) {
		l->host->error(l->host, "told to fail");
		return CQLFERRY_ERROR;
	}
	if (strcmp(verdict, "deny") == 0) {
		if (code)
			l->host->deny(l->host, (uint32_t)strtoul(code, NULL, 0), "%s", words_of(rule, "text"));
		return CQLFERRY_DENY;
	}
	return CQLFERRY_NEXT;
}

/* A rule that holds is passed over when it was resumed. */
static const char *choose(const struct logins *l, const char *where, struct cqlferry_text user)
{
	return rule_for(l, where, user, l->host->resumed(l->host) != 0);
}

__attribute__((unused)) static int32_t logins_connect(void *self, struct cqlferry_client *client)
{
	struct logins *l = self;
	const struct cqlferry_client_info *i = l->host->client_info(client);
	void **slot = l->host->conn_slot(l->host, client);
	const bool again = l->host->resumed(l->host) != 0;

	if (!*slot)
		*slot = strdup("its slot");
	SAY(l, "connect%s %.*s:%u tls=%u subject=%.*s listener=%.*s user=%.*s version=%u", again ? " again" : "",
	    TEXT(i->address), i->port, i->is_tls, TEXT(i->tls_subject), TEXT(i->listener), TEXT(i->user), i->version);
	return verdict_of(l, NULL, choose(l, "connect", i->user));
}

__attribute__((unused)) static int32_t logins_credentials(void *self, struct cqlferry_client *client,
							  struct cqlferry_login *login)
{
	struct logins *l = self;
	const struct cqlferry_client_info *i = l->host->client_info(client);
	const struct cqlferry_text user = l->host->login_user(login);
	const struct cqlferry_text password = l->host->login_password(login);
	const char *where = user.data ? "token" : "startup";
	const bool again = l->host->resumed(l->host) != 0;

	SAY(l, "%s%s user=%.*s password=%u wants=%u%u driver=%.*s version=%u", where, again ? " again" : "", TEXT(user),
	    (unsigned)password.length, l->host->login_wanted(login, CQLFERRY_ORIGIN),
	    l->host->login_wanted(login, CQLFERRY_TARGET), TEXT(i->driver), i->version);
	return verdict_of(l, login, choose(l, where, user));
}

static void logins_login(void *self, struct cqlferry_client *client, const struct cqlferry_login_result *r)
{
	static const char *const outcomes[] = { "ok", "refused", "denied", "failed" };
	static const char *const clusters[] = { "origin", "target", "-" };
	struct logins *l = self;
	const struct cqlferry_client_info *i = l->host->client_info(client);

	SAY(l, "login %s by=%s code=0x%x said=%.*s is=%.*s time=%s error=%.*s", outcomes[r->outcome],
	    clusters[r->cluster], r->error_code, TEXT(r->user), TEXT(i->user),
	    r->duration_ns < UINT64_C(60000000000) ? "sane" : "wrong", TEXT(r->error));
}

static void logins_disconnect(void *self, struct cqlferry_client *client)
{
	struct logins *l = self;
	const struct cqlferry_client_info *i = l->host->client_info(client);
	char **slot = (char **)l->host->conn_slot(l->host, client);

	SAY(l, "gone user=%.*s tls=%u slot=%s", TEXT(i->user), i->is_tls, *slot ? "kept" : "empty");
	free(*slot);
	*slot = NULL;
}

const struct cqlferry_plugin cqlferry_plugin = {
	.abi_major = CQLFERRY_ABI_MAJOR,
	.abi_minor = CQLFERRY_ABI_MINOR,
	.struct_size = sizeof(struct cqlferry_plugin),
	.option_size = sizeof(struct cqlferry_option),
	.options = options,
	.option_count = sizeof(options) / sizeof(options[0]),
	.name = "logins",
	.version = "1",
	.open = logins_open,
	.close = logins_close,
#ifndef NO_CONNECT
	.on_connect = logins_connect,
#endif
#ifndef NO_CREDENTIALS
	.on_credentials = logins_credentials,
#endif
	.on_login = logins_login,
	.on_disconnect = logins_disconnect,
};
