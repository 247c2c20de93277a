/* plugin_login.h - what plugins may ask and set about a log-in: functions of struct cqlferry_host, in on_credentials. */
#ifndef POLICY_PLUGIN_LOGIN_H
#define POLICY_PLUGIN_LOGIN_H

#include "policy/plugin.h"

struct cqlferry_text plugin_login_user(const struct cqlferry_login *login);
struct cqlferry_text plugin_login_password(const struct cqlferry_login *login);
bool plugin_login_wanted(const struct cqlferry_login *login, uint32_t cluster);
void plugin_login_set(struct cqlferry_login *login, uint32_t cluster, struct cqlferry_text user,
		      struct cqlferry_text password);
void plugin_login_name(struct cqlferry_login *login, struct cqlferry_text user);
void plugin_login_ask(struct cqlferry_login *login);

/* Around one plugin's on_credentials, for plugin_chain.c: what it sets counts only with DONE. The verdict to go by. */
int32_t plugin_login_ended(struct hooks_login *login, bool asked_before, int32_t verdict);

#endif
