/* login.h - the hooks of log-ins, and of clients whose mapping is another one by now. In the client's worker. */
#ifndef AUTH_MAP_LOGIN_H
#define AUTH_MAP_LOGIN_H

#include "auth_map.h"

int32_t login_on_credentials(void *worker, struct cqlferry_client *client, struct cqlferry_login *login);
void login_on_login(void *worker, struct cqlferry_client *client, const struct cqlferry_login_result *result);
int32_t login_on_request(void *worker, struct cqlferry_request *request);
void login_on_disconnect(void *worker, struct cqlferry_client *client);

/* In a helper thread (verifier.h): compares. */
enum verifier_result login_check(void *map, const struct verifier_question *q, struct hash_room *room);

#endif
