/*
 * explain.h - --explain: where a request would go and who says so, step by step
 * in the order of policy.h. Asks the scripts and rules themselves; needs no
 * cluster, so what only a cluster knows is left open: whether the table is
 * there, and which partition a key belongs to.
 */
#ifndef POLICY_EXPLAIN_H
#define POLICY_EXPLAIN_H

#include <stdio.h>

#include "proxy/policy.h"
#include "proxy/proxy.h"

struct explain_request {
	struct strview statement;
	struct statement_name keyspace; /* the connection's, as Cassandra keeps it; len 0: none */
	struct policy_client client;
	uint16_t consistency;
	bool is_prepared; /* an EXECUTE, not a QUERY */
};

/* The same as the command line has it; NULL: not said. */
struct explain_words {
	const char *statement;
	const char *keyspace; /* as in USE: in lower case unless it is quoted */
	const char *user;
	const char *address;
	const char *driver;
	const char *driver_version;
	const char *consistency;
	bool is_prepared;
};
/* What is not said gets a default. False with the reason in `error`. The words must live as long as the request. */
MUSTCHECK bool explain_request_read(const struct explain_words *words, struct explain_request *out, char *error,
				    size_t error_size);

/* `cache` has the scripts of a worker, NULL: there are none. The last line begins with "route: ". */
void explain_write(const struct settings *settings, struct policy_cache *cache, const struct explain_request *request,
		   FILE *out);

#endif
