/*
 * http_page.h - a page of the HTTP server, for those who make pages and do not
 * know the server (plugins), and for the server, which does not know them.
 */
#ifndef BASE_HTTP_PAGE_H
#define BASE_HTTP_PAGE_H

#include "base/common.h"

/* One request for it. On the main thread, until serve() returns. */
struct http_page {
	/* Of the request; NULL: it has none of this name, in any letter case. */
	const char *(*header)(struct http_page *page, const char *name);
	/* The answer; only the first one counts. Copies all. `type` NULL: plain text. */
	void (*reply)(struct http_page *page, unsigned status, const char *type, const void *body, size_t len);
};

/* A page that there is. Without a reply when serve() returns the answer is 500. */
struct http_handler {
	void (*serve)(struct http_handler *handler, struct http_page *page);
};

#endif
