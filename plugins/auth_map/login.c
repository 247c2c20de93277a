/*
 * login.c - see login.h
 *
 *   STARTUP ---- certificate that names a user, no cluster gets the client's own -> apply
 *      '-------- ask -- user and password -- locked out? -- find the mapping
 *                                                            | no hash --------> apply, if a cluster compares
 *                                                            | remembered -----> apply
 *                                                            '- hold, verifier -> apply, or refuse
 *
 * An unknown user goes the same way as a wrong password: to the verifier, with
 * the hash of somebody else, and is refused in the same words. What is said
 * here to a client never tells one from the other; the log does.
 */
#include "login.h"

#include <stdlib.h>
#include <string.h>

#define BAD_CREDENTIALS 0x0100u
#define OVERLOADED 0x1001u
#define UNAUTHORIZED 0x2100u

#define NAME_MAX_LEN 1024
/* For a thread that is at work on it: hashes take seconds at most. */
#define HOLD_SLACK_MS 60000
#define LOG_NAME_MAX 64

/* Kept with a client, from its STARTUP on. */
struct login_state {
	bool was_asked;              /* this is the step with user and password */
	bool gets_own[MAP_CLUSTERS]; /* the cluster gets what the client has given */
	bool is_certificates;        /* it is its certificate that has logged in */
	bool has_address;
	bool is_outdated;
	uint8_t address[LOCKOUT_KEY_LEN];
	uint32_t generation;
	uint8_t digest[DIGEST_LEN]; /* of the mapping that it has got */
	char *user;                 /* who has got it; NULL: nobody */
	size_t user_length;
};

/* A call of on_credentials with a password. */
struct login_call {
	struct auth_map_worker *worker;
	const struct cqlferry_host *host;
	struct cqlferry_client *client;
	struct cqlferry_login *login;
	struct login_state *state;
	struct cqlferry_text user, password;
	struct mapping mapping;
	uint8_t key[DIGEST_LEN];
};

/* ---- a client's state, and what is said about it ---- */

static struct login_state *state_of(const struct auth_map_worker *w, struct cqlferry_client *client)
{
	const struct cqlferry_host *host = w->map->host;
	void **slot = host->conn_slot(host, client);
	const struct cqlferry_client_info *info;
	struct login_state *state = *slot;

	if (state)
		return state;
	state = memory_new(1, sizeof(*state));
	info = host->client_info(client);
	state->has_address = lockout_key(state->address, info->address.data, info->address.length);
	*slot = state;
	return state;
}

/* A name as a log line may have it. */
static const char *printable(char to[LOG_NAME_MAX + 4], struct cqlferry_text name)
{
	size_t n = name.length < LOG_NAME_MAX ? name.length : LOG_NAME_MAX;

	for (size_t i = 0; i < n; i++)
		to[i] = (unsigned char)name.data[i] < ' ' || name.data[i] == 0x7F ? '?' : name.data[i];
	strcpy(to + n, n < name.length ? "..." : "");
	return to;
}

static void log_refusal(const struct login_call *c, const char *why)
{
	const struct cqlferry_client_info *info = c->host->client_info(c->client);
	char name[LOG_NAME_MAX + 4];

	c->host->log(c->host, CQLFERRY_LOG_INFO, "log-in of user \"%s\" from %.*s:%u refused: %s",
		     printable(name, c->user), (int)info->address.length, info->address.data, info->port, why);
}

static int32_t refuse(const struct login_call *c, enum auth_map_outcome outcome, const char *why)
{
	auth_map_count(c->worker->map, outcome);
	log_refusal(c, why);
	if (outcome == AUTH_MAP_OVERLOADED)
		c->host->deny(c->host, OVERLOADED, "too many log-ins are being checked; try again");
	else if (outcome == AUTH_MAP_LOCKED_OUT)
		c->host->deny(c->host, BAD_CREDENTIALS, "too many failed log-ins from this address; try again later");
	else
		c->host->deny(c->host, BAD_CREDENTIALS, "user or password is wrong");
	return CQLFERRY_DENY;
}

/* The same for those that no thread has counted. */
static int32_t refuse_and_count(const struct login_call *c, enum auth_map_outcome outcome, const char *why)
{
	if (c->state->has_address)
		auth_map_failed(c->worker->map, c->state->address, &c->worker->settings->lockout);
	return refuse(c, outcome, why);
}

/* ---- what a mapping gives ---- */

/*
 * No user, or a token that is not for us to read: no section is meant. Names that are longer than the file's may be match
 * nothing either, however many patterns there are to compare 64 KiB with.
 */
static void find_mapping(const struct map *map, struct cqlferry_text user, struct mapping *m)
{
	if (user.length > 0 && user.length <= NAME_MAX_LEN)
		map_find(map, user.data, user.length, m);
	else
		*m = (struct mapping){ .action = user.length == 0 ? map->default_action : MAP_DENY };
}

static void keep_mapping(const struct login_call *c)
{
	struct login_state *state = c->state;

	free(state->user);
	state->user_length = c->user.length;
	state->user = memory_new(c->user.length + 1, 1);
	memcpy(state->user, c->user.data, c->user.length);
	map_digest(&c->mapping, state->digest);
	state->generation = c->worker->generation;
}

static void set_cluster(const struct login_call *c, uint32_t cluster)
{
	const struct map_login *m = &c->mapping.login[cluster];
	struct cqlferry_text user = c->user, password = c->password;

	c->state->gets_own[cluster] = m->source != MAP_OWN && c->state->was_asked;
	if (m->source == MAP_UNSET || (m->source == MAP_CLIENT && !c->state->was_asked))
		return;
	if (m->source == MAP_OWN) {
		if (m->user)
			user = (struct cqlferry_text){ m->user, strlen(m->user) };
		password = (struct cqlferry_text){ m->password, strlen(m->password) };
	}
	c->host->login_set(c->login, cluster, user, password);
}

static int32_t apply(const struct login_call *c, enum auth_map_outcome outcome)
{
	for (uint32_t i = 0; i < MAP_CLUSTERS; i++)
		set_cluster(c, i);
	c->host->login_name(c->login, c->user);
	keep_mapping(c);
	auth_map_count(c->worker->map, outcome);
	return CQLFERRY_DONE;
}

/* As without this plugin. */
static int32_t pass(const struct login_call *c)
{
	c->state->gets_own[0] = c->state->gets_own[1] = true;
	keep_mapping(c);
	auth_map_count(c->worker->map, AUTH_MAP_PASSED);
	return CQLFERRY_NEXT;
}

/* ---- comparing ---- */

/* What is held. */
struct held {
	struct verifier *verifier;
	struct verifier_job *job;
	uint8_t key[DIGEST_LEN];
	bool is_decoy;
};

static void held_release(void *data)
{
	struct held *held = data;

	verifier_drop(held->verifier, held->job);
	explicit_bzero(held, sizeof(*held));
	free(held);
}

enum verifier_result login_check(void *map, const struct verifier_question *q, struct hash_room *room)
{
	struct auth_map *am = map;
	const uint64_t start = auth_map_now_ns();
	bool matches;

	if (start >= q->give_up_ns)
		return VERIFIER_LATE;
	if (q->has_address && lockout_left(am->lockout, q->address, start) > 0)
		return VERIFIER_LOCKED;
	/* Of an application's many connections the first one has been here meanwhile. */
	if (!q->is_decoy && remembered_has(am->remembered, q->key, start, q->validity_ns))
		return VERIFIER_GOOD;
	matches = hash_matches(room, q->hash, q->password, q->password_length) && !q->is_decoy;
	if (hash_has_failed(room))
		am->host->log(am->host, CQLFERRY_LOG_WARN,
			      "crypt(3) cannot compute a hash of the mapping (%.*s...): who has it cannot log in",
			      (int)strcspn(q->hash + 1, "$") + 2, q->hash);
	am->host->histogram_observe(am->host, am->seconds, auth_map_now_ns() - start);
	if (matches)
		remembered_add(am->remembered, q->key, auth_map_now_ns());
	else if (q->has_address)
		auth_map_failed(am, q->address, &q->limits);
	return matches ? VERIFIER_GOOD : VERIFIER_WRONG;
}

static int32_t ask_verifier(const struct login_call *c, const char *hash, bool is_decoy)
{
	const struct settings *s = c->worker->settings;
	struct verifier *verifier = c->worker->map->verifier;
	/* No end that is meant to come: the verifier's own is before, and handshake_timeout. */
	const uint32_t timeout_ms = (uint32_t)(s->wait_ns / 1000000u) + HOLD_SLACK_MS;
	struct verifier_question q = {
		.give_up_ns = auth_map_now_ns() + s->wait_ns,
		.password = c->password.data,
		.password_length = c->password.length,
		.hash = hash,
		.is_decoy = is_decoy,
		.validity_ns = s->remember_ns,
		.has_address = c->state->has_address,
		.limits = s->lockout,
	};
	struct verifier_job *job;
	struct held *held;

	q.ticket = c->host->hold(c->host, timeout_ms);
	if (q.ticket == 0)
		return refuse(c, AUTH_MAP_OVERLOADED, "too many log-ins are held");
	memcpy(q.key, c->key, DIGEST_LEN);
	memcpy(q.address, c->state->address, LOCKOUT_KEY_LEN);
	job = verifier_ask(verifier, &q);
	if (!job)
		return refuse(c, AUTH_MAP_OVERLOADED, "the queue of log-ins is full");
	held = memory_new(1, sizeof(*held));
	*held = (struct held){ .verifier = verifier, .job = job, .is_decoy = is_decoy };
	memcpy(held->key, c->key, DIGEST_LEN);
	c->host->hold_data(c->host, held, held_release);
	return CQLFERRY_HOLD;
}

/* The thread has answered. -1: not this question. */
static int32_t take_answer(const struct login_call *c, const struct held *held, const char *why)
{
	switch (verifier_result(held->verifier, held->job)) {
	case VERIFIER_GOOD:
		return apply(c, AUTH_MAP_VERIFIED);
	case VERIFIER_WRONG:
		return refuse(c, why ? AUTH_MAP_UNKNOWN : AUTH_MAP_WRONG, why ? why : "the password is wrong");
	case VERIFIER_LOCKED:
		return refuse(c, AUTH_MAP_LOCKED_OUT, "its address is locked out");
	default:
		return refuse(c, AUTH_MAP_OVERLOADED, "it has waited too long to be compared");
	}
}

/* `why`: it is refused whatever its password is, but as late as a wrong one. NULL: its hash decides. */
static int32_t compare(struct login_call *c, const char *why)
{
	const struct settings *s = c->worker->settings;
	const char *hash = why ? map_decoy(s->map, c->user.data, c->user.length) : c->mapping.hash;
	const struct held *held = c->host->resumed(c->host) ? c->host->resumed_data(c->host) : NULL;

	if (!hash)
		return refuse_and_count(c, AUTH_MAP_UNKNOWN, why);
	remembered_key(c->key, c->user.data, c->user.length, c->password.data, c->password.length, hash);
	/* After a reload it may be another question. */
	if (held && held->is_decoy == (why != NULL) && digest_is_equal(held->key, c->key))
		return take_answer(c, held, why);
	if (!why && remembered_has(c->worker->map->remembered, c->key, auth_map_now_ns(), s->remember_ns))
		return apply(c, AUTH_MAP_REMEMBERED);
	return ask_verifier(c, hash, why != NULL);
}

/* ---- the second step: user and password ---- */

/*
 * Where its certificate names a user, or has to, that is the one who may log in. stands_alone: there was no password, so
 * that it has to name one.
 */
static bool is_certificates_user(const struct settings *s, struct cqlferry_text subject, struct cqlferry_text user,
				 bool stands_alone)
{
	char name[NAME_MAX_LEN];

	if (s->certificate == SETTINGS_CERTIFICATE_OFF)
		return !stands_alone;
	if (!map_find_certificate(s->map, subject.data, subject.length, name, sizeof(name)))
		return s->certificate == SETTINGS_CERTIFICATE_SUFFICIENT && !stands_alone;
	return strlen(name) == user.length && memcmp(name, user.data, user.length) == 0;
}

static bool is_locked_out(const struct login_call *c)
{
	return c->worker->settings->lockout.failures > 0 && c->state->has_address &&
	       lockout_left(c->worker->map->lockout, c->state->address, auth_map_now_ns()) > 0;
}

static int32_t on_password(struct login_call *c)
{
	const struct settings *s = c->worker->settings;
	const struct mapping *m = &c->mapping;
	bool wants[MAP_CLUSTERS];

	if (!c->host->resumed(c->host) && is_locked_out(c))
		return refuse(c, AUTH_MAP_LOCKED_OUT, "its address is locked out");
	find_mapping(s->map, c->user, &c->mapping);
	if (!is_certificates_user(s, c->host->client_info(c->client)->tls_subject, c->user, false))
		return compare(c, "its certificate is none of this user's");
	if (m->action == MAP_DENY)
		return compare(c, m->section ? "action = deny" : "there is no such user in the mapping");
	if (m->hash && s->demand.verify != MAP_VERIFY_OFF)
		return compare(c, NULL);
	if (m->action == MAP_ZDM)
		return pass(c);
	if (s->demand.verify == MAP_VERIFY_REQUIRED)
		return compare(c, "it has no hash, and verify = required");
	for (uint32_t i = 0; i < MAP_CLUSTERS; i++)
		wants[i] = c->host->login_wanted(c->login, i);
	if (!map_is_checked(m, &s->demand, wants))
		return refuse_and_count(c, AUTH_MAP_UNCHECKED,
					"nobody would compare its password: it has no hash, and the cluster that gets "
					"the password demands no log-in");
	return apply(c, AUTH_MAP_MAPPED);
}

/* ---- the first step: nothing was given ---- */

static int32_t ask(const struct login_call *c)
{
	const struct settings *s = c->worker->settings;

	/* Where everybody gets what is had without us, and nobody has a hash, there is nothing to ask for. */
	if (s->map->default_action == MAP_DENY || (s->map->hash_count > 0 && s->demand.verify != MAP_VERIFY_OFF) ||
	    s->certificate == SETTINGS_CERTIFICATE_BOTH)
		c->host->login_ask(c->login);
	return CQLFERRY_NEXT;
}

/* A cluster is to get the client's own password, which a certificate does not tell. */
static bool leaves_one_to_the_client(const struct login_call *c)
{
	for (uint32_t i = 0; i < MAP_CLUSTERS; i++) {
		if (c->mapping.login[i].source == MAP_CLIENT && c->host->login_wanted(c->login, i))
			return true;
	}
	return false;
}

static int32_t on_certificate(struct login_call *c, const char *name)
{
	const struct settings *s = c->worker->settings;

	c->user = (struct cqlferry_text){ name, strlen(name) };
	find_mapping(s->map, c->user, &c->mapping);
	if (c->mapping.action == MAP_DENY)
		return refuse(c, AUTH_MAP_FORBIDDEN,
			      c->mapping.section ? "action = deny" : "there is no such user in the mapping");
	if (s->certificate == SETTINGS_CERTIFICATE_BOTH)
		return ask(c);
	/* Left open it would be what is configured, where the proxy gives that to this cluster. */
	if (leaves_one_to_the_client(c)) {
		c->host->login_ask(c->login);
		return CQLFERRY_NEXT;
	}
	c->state->is_certificates = true;
	return apply(c, AUTH_MAP_CERTIFICATE);
}

static int32_t on_startup(struct login_call *c)
{
	const struct settings *s = c->worker->settings;
	const struct cqlferry_client_info *info = c->host->client_info(c->client);
	char name[NAME_MAX_LEN];

	if (s->certificate == SETTINGS_CERTIFICATE_OFF)
		return ask(c);
	if (info->tls_subject.length > 0 &&
	    map_find_certificate(s->map, info->tls_subject.data, info->tls_subject.length, name, sizeof(name)))
		return on_certificate(c, name);
	if (s->certificate == SETTINGS_CERTIFICATE_SUFFICIENT)
		return ask(c);
	c->user = info->tls_subject;
	return refuse(c, AUTH_MAP_FORBIDDEN, "no [certificate] section has its certificate");
}

int32_t login_on_credentials(void *worker, struct cqlferry_client *client, struct cqlferry_login *login)
{
	struct auth_map_worker *w = worker;
	struct login_call c = {
		.worker = w,
		.host = w->map->host,
		.client = client,
		.login = login,
		.state = state_of(w, client),
	};

	c.user = c.host->login_user(login);
	if (!c.user.data)
		return on_startup(&c);
	c.state->is_certificates = false;
	/* Also where a plugin before this one has decided at STARTUP, so that nobody has asked here. */
	c.state->was_asked = true;
	c.password = c.host->login_password(login);
	return on_password(&c);
}

/* ---- afterwards ---- */

void login_on_login(void *worker, struct cqlferry_client *client, const struct cqlferry_login_result *result)
{
	const struct auth_map_worker *w = worker;
	const struct login_state *state = *w->map->host->conn_slot(w->map->host, client);

	if (!state || result->outcome != CQLFERRY_LOGIN_REFUSED || result->error_code != BAD_CREDENTIALS)
		return;
	/* What the mapping gives is not the client's fault. */
	if (result->cluster >= MAP_CLUSTERS || !state->gets_own[result->cluster])
		return;
	auth_map_count(w->map, AUTH_MAP_REFUSED);
	if (state->has_address)
		auth_map_failed(w->map, state->address, &w->settings->lockout);
}

/* As it would be by now. */
static bool has_changed(const struct settings *s, const struct login_state *state, struct cqlferry_text subject)
{
	const struct cqlferry_text user = { state->user, state->user_length };
	uint8_t digest[DIGEST_LEN];
	struct mapping m;

	find_mapping(s->map, user, &m);
	map_digest(&m, digest);
	return !digest_is_equal(digest, state->digest) ||
	       !is_certificates_user(s, subject, user, state->is_certificates);
}

int32_t login_on_request(void *worker, struct cqlferry_request *request)
{
	struct auth_map_worker *w = worker;
	const struct cqlferry_host *host = w->map->host;
	struct cqlferry_client *client = host->request_client(request);
	struct login_state *state = state_of(w, client);

	if (!w->settings->denies_outdated || !state->user)
		return CQLFERRY_NEXT;
	if (state->generation != w->generation) {
		state->is_outdated = has_changed(w->settings, state, host->client_info(client)->tls_subject);
		state->generation = w->generation;
	}
	if (!state->is_outdated)
		return CQLFERRY_NEXT;
	host->deny(host, UNAUTHORIZED, "the mapping of this user has changed since it logged in; connect again");
	return CQLFERRY_DENY;
}

void login_on_disconnect(void *worker, struct cqlferry_client *client)
{
	const struct auth_map_worker *w = worker;
	void **slot = w->map->host->conn_slot(w->map->host, client);
	struct login_state *state = *slot;

	if (!state)
		return;
	*slot = NULL;
	free(state->user);
	free(state);
}
