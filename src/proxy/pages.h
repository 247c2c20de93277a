/*
 * pages.h - DSE's continuous paging as a connection to a node sees it: a leg
 * that takes pages keeps its stream id until the last one has come.
 *
 *   QUERY (continuous)  ->  page 1, page 2, ... page n flagged last, or ERROR
 *
 * What requests of drivers make of it is in paging.h.
 */
#ifndef PROXY_PAGES_H
#define PROXY_PAGES_H

#include "proxy/server.h"

/* True for a page behind which more will come. */
bool page_goes_on(const struct server *s, const struct frame *f);

/*
 * Nobody waits for the pages of this leg any more, which is out on `s`. The
 * node is told to stop. The stream id stays taken until it has said that it
 * did, or has sent the last page; what comes until then is swallowed.
 */
void pages_stray(struct server *s, struct leg *leg);

/* What REVISE was answered by: true when the node did as it was told. */
bool pages_were_revised(struct loop *loop, enum cql_compression compression, const struct frame *f);

#endif
