/*
 * prepare.h - PREPARE: to both clusters whatever the statement is, since it may
 * be routed otherwise when it is executed. The client gets origin's answer;
 * both ids are entered into the table of prepared statements.
 */
#ifndef PROXY_PREPARE_H
#define PROXY_PREPARE_H

#include "proxy/arrival.h"
#include "proxy/request.h"

/* The PREPARE of a client. */
void prepare_dispatch(struct arrival *a);
/* Both clusters have prepared the statement: enters it into the table. */
void prepare_note_answers(struct request *rq, const struct frame answers[CLUSTER_COUNT]);

#endif
