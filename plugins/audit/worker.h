/*
 * worker.h - a worker's side: decides what is written, and copies it into its
 * queue. No line is made here, no lock taken.
 */
#ifndef AUDIT_WORKER_H
#define AUDIT_WORKER_H

#include "options.h"

struct worker {
	const struct cqlferry_host *host;
	const struct options *options;      /* changed by worker_use() only */
	const struct options *options_next; /* of a reload under way */
	uint32_t generation; /* of the options: what was remembered under another one is found out anew */
	struct queue queue;
	uint8_t tables[1024], values[RECORD_VALUES_SIZE];
};

bool worker_init(struct worker *w, const struct cqlferry_host *host, const struct options *options,
		 struct queue_bell *bell);
void worker_fini(struct worker *w);

/* In its thread, or before that has begun. The old options are not used any more. */
void worker_use(struct worker *w, const struct options *options);
/* For which kinds on_response has to be called, and on_request. */
uint32_t worker_response_kinds(const struct options *options);
uint32_t worker_request_kinds(const struct options *options);

/* The hooks of the same names, with struct worker as worker_self. */
int32_t worker_on_connect(void *self, struct cqlferry_client *client);
void worker_on_login(void *self, struct cqlferry_client *client, const struct cqlferry_login_result *result);
int32_t worker_on_request(void *self, struct cqlferry_request *request);
void worker_on_response(void *self, struct cqlferry_request *request, const struct cqlferry_response *response);
void worker_on_disconnect(void *self, struct cqlferry_client *client);

#endif
