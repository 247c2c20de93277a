/*
 * prepare.h - PREPARE: where the statement may be routed when it is executed.
 *
 *   a [routing] rule, or a hook that is not asked for each request, says so   there
 *   hooks are asked for each request                                          both; one of them may refuse it
 *   else                                                                      both, whatever the statement is
 *
 * Of two answers the client gets origin's; the ids are entered into the table
 * of prepared statements. A cluster that was not asked, or has refused, is asked
 * when a request goes there all the same (demand.h).
 *
 * On shared connections a cluster that is down is left out where the statement
 * does not go there.
 *
 * With replace_cql_functions the clusters may get another text than the
 * client's (generated.h). When one of them refuses that, both get the client's
 * own inside the same request.
 */
#ifndef PROXY_PREPARE_H
#define PROXY_PREPARE_H

#include "proxy/arrival.h"
#include "proxy/request.h"

/* The PREPARE of a client. */
void prepare_dispatch(struct arrival *a);
/*
 * Both clusters have answered. When both have prepared the statement, or one of
 * them and that is enough, it is entered into the table. True when the request
 * is taken care of: answered, or sent once more; else the caller passes an
 * answer on.
 */
MUSTCHECK bool prepare_take_answers(struct request *rq, const struct frame answers[CLUSTER_COUNT],
				    const enum leg_outcome outcome[CLUSTER_COUNT], const uint32_t code[CLUSTER_COUNT]);
/* The same when only one cluster was asked. */
MUSTCHECK bool prepare_take_one(struct request *rq, enum cluster_id cluster, const struct frame *f);
/*
 * This cluster would refuse the PREPARE, of a statement that may not be meant for it. True when it was left out: what
 * is left of the request is to be sent.
 */
MUSTCHECK bool prepare_leaves_out(struct request *rq, enum cluster_id cluster, uint32_t code);
/* The request ends: frees what it knew of its text. */
void prepare_forget(struct request *rq);

#endif
