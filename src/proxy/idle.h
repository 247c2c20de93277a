/*
 * idle.h - client_idle_timeout: clients that send nothing are closed. A frame
 * of a client is traffic, whatever it is: drivers send OPTIONS on connections
 * that they keep without using them.
 *
 * A worker looks at its clients four times in that time and compares how many
 * frames each has sent, so a request pays nothing for it, and a client is
 * closed after up to a quarter more than the time that is set.
 */
#ifndef PROXY_IDLE_H
#define PROXY_IDLE_H

struct settings;
struct worker;

/* Before the worker's loop runs. */
void idle_init(struct worker *w);
/* The settings of the worker are others now; they were `before`. On its thread. */
void idle_change(struct worker *w, const struct settings *before);
/* When its loop has ended. */
void idle_fini(struct worker *w);

#endif
