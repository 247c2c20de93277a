/* plugin_http.c - see plugin_http.h */
#include "policy/plugin_http.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "policy/plugin_set.h"

#define PATH_MAX_LENGTH 255

/* In a chain of its instance. */
struct plugin_page {
	struct http_handler handler;
	struct plugin_instance *plugin;
	struct plugin_page *next;
	void (*serve)(void *arg, struct cqlferry_http *http);
	void *arg;
	char *path;
};

static void serve(struct http_handler *handler, struct http_page *page)
{
	struct plugin_page *p = container_of(handler, struct plugin_page, handler);
	struct plugin_tally *tally = &p->plugin->tallies[PLUGIN_PAGE];
	sigset_t signals;

	plugin_set_call_begin(p->plugin, "a page", tally, &signals);
	p->serve(p->arg, (struct cqlferry_http *)page);
	plugin_set_call_end(p->plugin, tally, &signals);
}

struct http_handler *plugin_http_find(const struct plugin_set *set, const char *path)
{
	for (unsigned i = 0; set && i < set->count; i++) {
		for (struct plugin_page *p = set->items[i]->pages; p; p = p->next) {
			if (strcmp(p->path, path) == 0)
				return &p->handler;
		}
	}
	return NULL;
}

/* Those of the proxy, and what it may have some day. */
static bool is_ours(const char *path)
{
	return strcmp(path, "/metrics") == 0 || strcmp(path, "/health") == 0 || strncmp(path, "/health/", 8) == 0;
}

/* What browsers and scrapers send as it stands. */
static bool is_path(const char *path)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~/";
	const size_t n = strlen(path);

	return n > 1 && n <= PATH_MAX_LENGTH && *path == '/' && strspn(path, allowed) == n;
}

int32_t plugin_http_route(const struct cqlferry_host *host, const char *path,
			  void (*handler)(void *arg, struct cqlferry_http *http), void *arg)
{
	struct plugin_instance *p = plugin_of(host);
	struct http_handler *taken;
	struct plugin_page *page;

	if (plugin_call.instance != p || p->is_open) {
		host->error(host, "http_route(): pages are for open()");
		return CQLFERRY_ERROR;
	}
	if (!path || !is_path(path)) {
		host->error(
			host,
			"http_route(): '%s' is no path: a slash, and then letters, digits, slashes and any of -._~, "
			"at most %d characters",
			path ? path : "", PATH_MAX_LENGTH);
		return CQLFERRY_ERROR;
	}
	if (is_ours(path)) {
		host->error(host, "http_route(): the page %s is the proxy's own", path);
		return CQLFERRY_ERROR;
	}
	taken = plugin_http_find(p->set, path);
	if (taken) {
		host->error(host, "http_route(): plugin %s has the page %s already",
			    container_of(taken, struct plugin_page, handler)->plugin->name, path);
		return CQLFERRY_ERROR;
	}
	if (p->proxy && !p->proxy->settings->http_enabled)
		log_warn("plugin %s: nobody sees its page %s: there is no HTTP server, by [http] enabled", p->name,
			 path);
	page = xcalloc(1, sizeof(*page));
	*page = (struct plugin_page){ { serve }, p, p->pages, handler, arg, xstrdup(path) };
	p->pages = page;
	return 0;
}

const char *plugin_http_header(struct cqlferry_http *http, const char *name)
{
	struct http_page *page = (struct http_page *)http;

	return page->header(page, name);
}

void plugin_http_reply(struct cqlferry_http *http, uint32_t status, const char *content_type, const void *body,
		       uint64_t length)
{
	struct http_page *page = (struct http_page *)http;

	page->reply(page, status, content_type, body, length);
}

void plugin_http_free(struct plugin_instance *p)
{
	while (p->pages) {
		struct plugin_page *page = p->pages;

		p->pages = page->next;
		free(page->path);
		free(page);
	}
}
