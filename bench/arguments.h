/*
 * arguments.h - what the command lines of the load generators have in common.
 * Every function ends the program with a message when a value is of no use.
 */
#ifndef BENCH_ARGUMENTS_H
#define BENCH_ARGUMENTS_H

#include "fake_node.h"

/* The number of --NAME TEXT, from min to max. */
uint64_t arguments_number(const char *name, const char *text, uint64_t min, uint64_t max);
/* Proxies that clients are spread over. */
#define ARGUMENTS_PROXIES 8

/* The proxy's ADDRESS:PORT. */
struct net_address arguments_proxy(const char *text);
/* The same of several, with commas between; how many. */
unsigned arguments_proxies(const char *text, struct net_address out[ARGUMENTS_PROXIES]);
/* Lets a node, filled in but for its socket, listen on ADDRESS:PORT. */
void arguments_listen(struct fake_node *node, const char *text);

#endif
