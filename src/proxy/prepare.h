/*
 * prepare.h - PREPARE: to both clusters whatever the statement is, since it may
 * be routed otherwise when it is executed. The client gets origin's answer;
 * both ids are entered into the table of prepared statements.
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
 * Both clusters have answered. When both have prepared the statement it is
 * entered into the table. True when the request is taken care of: answered, or
 * sent once more; else the caller passes an answer on.
 */
MUSTCHECK bool prepare_take_answers(struct request *rq, const struct frame answers[CLUSTER_COUNT],
				    const enum leg_outcome outcome[CLUSTER_COUNT], const uint32_t code[CLUSTER_COUNT]);
/* One cluster has prepared the statement, the other one is down and not needed for it: enters what is known. */
void prepare_take_one(struct request *rq, enum cluster_id cluster, const struct frame *f);
/* The request ends: frees what it knew of its text. */
void prepare_forget(struct request *rq);

#endif
