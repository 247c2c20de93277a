/* plugin_http.h - pages of plugins on the HTTP server of the process (struct cqlferry_host, http_route). */
#ifndef POLICY_PLUGIN_HTTP_H
#define POLICY_PLUGIN_HTTP_H

#include "base/http_page.h"
#include "policy/plugin.h"

/* For struct cqlferry_host. */
int32_t plugin_http_route(const struct cqlferry_host *host, const char *path,
			  void (*handler)(void *arg, struct cqlferry_http *http), void *arg);
const char *plugin_http_header(struct cqlferry_http *http, const char *name);
void plugin_http_reply(struct cqlferry_http *http, uint32_t status, const char *content_type, const void *body,
		       uint64_t length);

/* The page with this path, which begins with a slash; NULL when no plugin has it. On the main thread. */
struct http_handler *plugin_http_find(const struct plugin_set *set, const char *path);
/* After close(). */
void plugin_http_free(struct plugin_instance *p);

#endif
