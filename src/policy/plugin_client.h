/* plugin_client.h - what plugins may ask about a client: functions of struct cqlferry_host, in a worker's hooks. */
#ifndef POLICY_PLUGIN_CLIENT_H
#define POLICY_PLUGIN_CLIENT_H

#include "policy/plugin.h"

/* Filled in anew by each call in this thread. */
const struct cqlferry_client_info *plugin_client_info(const struct cqlferry_client *client);
void **plugin_client_slot(const struct cqlferry_host *host, struct cqlferry_client *client);

#endif
