/* plugin_login.c - see plugin_login.h */
#include "policy/plugin_login.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/secret.h"

static const struct hooks_login *login_of(const struct cqlferry_login *login)
{
	return (const struct hooks_login *)login;
}

static struct cqlferry_text text_of(struct strview s)
{
	return (struct cqlferry_text){ s.p, s.len };
}

struct cqlferry_text plugin_login_user(const struct cqlferry_login *login)
{
	return text_of(login_of(login)->user);
}

struct cqlferry_text plugin_login_password(const struct cqlferry_login *login)
{
	return text_of(login_of(login)->password);
}

bool plugin_login_wanted(const struct cqlferry_login *login, uint32_t cluster)
{
	return cluster < CLUSTER_COUNT && login_of(login)->wants[cluster];
}

/* A log-in with half of what was meant would be another one: the call of the plugin counts as failed. */
static void misused(struct hooks_login *login, const char *why)
{
	login->is_misused = true;
	snprintf(plugin_call.error, sizeof(plugin_call.error), "%s", why);
}

/* SASL PLAIN (RFC 4616) has no way to send a zero byte, and names end with one. */
static bool is_text(struct cqlferry_text t)
{
	return t.length == 0 || !memchr(t.data, '\0', t.length);
}

void plugin_login_set(struct cqlferry_login *handle, uint32_t cluster, struct cqlferry_text user,
		      struct cqlferry_text password)
{
	struct hooks_login *login = (struct hooks_login *)handle;

	if (cluster >= CLUSTER_COUNT) {
		misused(login, "login_set(): there is no such cluster");
		return;
	}
	if (!is_text(user) || !is_text(password)) {
		misused(login, "login_set(): a zero byte in a user name or a password");
		return;
	}
	credentials_wipe(&login->set[cluster]);
	login->set[cluster].user = secret_strndup(user.length ? user.data : "", user.length);
	login->set[cluster].password = secret_strndup(password.length ? password.data : "", password.length);
	login->is_set[cluster] = true;
}

void plugin_login_name(struct cqlferry_login *handle, struct cqlferry_text user)
{
	struct hooks_login *login = (struct hooks_login *)handle;

	if (!is_text(user)) {
		misused(login, "login_name(): a zero byte in a user name");
		return;
	}
	free(login->name);
	login->name = user.length > 0 ? xstrndup(user.data, user.length) : NULL;
}

void plugin_login_ask(struct cqlferry_login *handle)
{
	struct hooks_login *login = (struct hooks_login *)handle;

	login->asks = login->is_startup;
}

int32_t plugin_login_ended(struct hooks_login *login, bool asked_before, int32_t verdict)
{
	if (login->is_misused) {
		login->is_misused = false;
		verdict = CQLFERRY_ERROR;
	}
	if (verdict == CQLFERRY_DONE) {
		login->is_decided = true;
		login->asks = asked_before; /* its own DONE says that there is no dialogue; others may want one */
		return verdict;
	}
	if (verdict != CQLFERRY_NEXT)
		login->asks = asked_before;
	hooks_login_wipe(login);
	return verdict;
}
