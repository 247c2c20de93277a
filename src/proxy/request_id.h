/*
 * request_id.h - request ids (tracing_enabled): an entry in the custom payload
 * of QUERY, PREPARE, EXECUTE and BATCH, by which a request can be found in the
 * logs of the application, of the proxy and of the clusters.
 *
 *   on       the client's id is kept byte for byte, or a random UUID (version
 *            4, 16 bytes) is added; both clusters get the same. One line in the
 *            log when the request goes out and one per answer
 *   beyond   tracing_rate_limit requests in a second: the client's entry is
 *            removed, none is added
 *   off      profile zdm: the client's entry is removed, as ZDM Proxy does it;
 *            profile native: payloads pass untouched
 *
 * Clients below protocol v4 have no payloads and get no ids. Requests that we
 * answer ourselves get none either.
 */
#ifndef PROXY_REQUEST_ID_H
#define PROXY_REQUEST_ID_H

#include <stdatomic.h>

#include "cql/writer.h"

struct arrival;
struct request;

/* The rate limit of the process: a full bucket holds the ids of one second. */
struct request_ids {
	_Atomic uint64_t interval_ns; /* between two ids at the allowed rate; 0: no limit */
	_Atomic uint64_t due_ns;      /* when the bucket will be full again */
};

void request_ids_init(struct request_ids *ids, uint32_t per_second);
/* Another rate from now on. Any thread. */
void request_ids_set_rate(struct request_ids *ids, uint32_t per_second);
/* Takes one from the bucket; false when it is empty. `now_ns` is monotonic. Any thread. */
MUSTCHECK bool request_ids_take(struct request_ids *ids, uint64_t now_ns);

/* Where the id lies in the body. */
struct request_id_place {
	uint32_t offset;
	uint32_t len; /* 0: there is none */
};

/*
 * What has to stand at the start of the body instead of its first *drop bytes
 * is written to `front`; nothing when the payload stays as it is. `place` is
 * that of the id in the changed body.
 */
void request_id_plan(const struct arrival *a, struct writer *front, uint32_t *drop, struct request_id_place *place);

/* Logs where the request goes, and from now on each answer. Its fields are filled in, it has not been started. */
void request_id_follow(struct request *rq, struct request_id_place place);

#endif
