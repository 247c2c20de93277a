/*
 * demand.h - statements that a cluster was never asked to prepare, because they
 * were routed to the other one when the driver prepared them (prepare.h):
 *
 *   [routing] rule = all shop.* target     PREPARE goes to target alone: there is no id for origin
 *   the rule is taken away, SIGHUP         an EXECUTE goes to both: origin gets a PREPARE first
 *
 * The same for a child of a BATCH, and where a script sends single requests to
 * a cluster that has refused the PREPARE: its error comes with them.
 */
#ifndef PROXY_DEMAND_H
#define PROXY_DEMAND_H

#include "proxy/request.h"

enum demand {
	DEMAND_NONE,    /* the cluster has ids for all that the request names */
	DEMAND_BEGUN,   /* a PREPARE goes out (repair.h), and behind it the leg by request_leg_resend() */
	DEMAND_IS_VAIN, /* it was prepared again and again, and its id is not there */
};

/* For requests with lacks_ids. `s` is the connection that the leg would go over. Ends neither leg nor request. */
enum demand demand_begin(struct request_leg *leg, const struct server *s);

#endif
