/*
 * paging.h - DSE's continuous paging and REVISE, for requests of drivers.
 *
 *   driver  QUERY a, continuous     -> one cluster's leg, sent as stream x
 *           <- page, page, ...          each one passed on as stream a
 *   driver  REVISE b about a        -> the same connection, about x
 *           <- [status]                 as stream b
 *           <- last page                a is free again, and x
 *
 * The time limit of the request runs anew from each page, and stands still
 * while the driver has not said that it is ready for more, unless the client is
 * being drained: that must end. A cancellation that the node has confirmed ends
 * the request without a further frame, as DSE does it. When REVISE names no such request the answer is DSE's own: false.
 *
 * REVISE goes out on the connection on which the pages come, a shared one, too.
 */
#ifndef PROXY_PAGING_H
#define PROXY_PAGING_H

#include "proxy/arrival.h"
#include "proxy/request.h"

/* A QUERY or EXECUTE that asks for continuous pages, before it is started. */
void paging_begin(struct request *rq, const struct query_params *params);
/* A page that is not the last: passes it on. May end the request. */
void paging_on_page(struct request_leg *leg, struct frame *f);
/* request_timeout is over; true when that is nobody's fault, and the request goes on. */
MUSTCHECK bool paging_may_wait(struct request *rq);
/* The client is being drained: its requests do not wait for ever until the driver is ready for more. */
void paging_drain(struct client *c);
/* The request ends. */
void paging_end(struct request *rq);

/* For a REVISE on its way: the connection that the pages come from; NULL when there is none any more. */
struct server *paging_server(const struct request *rq);

/* A REVISE frame. */
void paging_revise(struct arrival *a);
/* Its answer has come, and will be passed on: what it changes for the request it was about. */
void paging_revised(struct request *rq, enum cluster_id cluster, const struct frame *f);

#endif
