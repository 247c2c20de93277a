/*
 * credential.h - what a client has logged in to a cluster with, for pooled
 * connections. Clients of one worker with the same user and password share one
 * object, and by it their connections (pool.h).
 *
 * The token is kept while a client is connected, to open further connections,
 * and wiped when the last one leaves. After that the hash stays as long as a
 * pool does: connections that are open already may serve the next client, once
 * the cluster has accepted its password again.
 *
 * Belongs to its worker's thread.
 */
#ifndef PROXY_CREDENTIAL_H
#define PROXY_CREDENTIAL_H

#include "proxy/login.h"

struct credential_check;
struct worker;

#define CREDENTIAL_HASH_LEN 32

struct credential {
	struct list node; /* on worker->credentials */
	struct worker *worker;
	uint32_t refs;    /* pools and clients that hold it */
	uint32_t clients; /* that keep the token: credential_join() to credential_leave() */
	enum cluster_id cluster;
	uint8_t hash[CREDENTIAL_HASH_LEN]; /* of user and password, with a key of this process */
	struct credentials token;          /* user NULL: wiped */
	uint64_t accepted_ns;           /* when the cluster has accepted it last; 0: never, or it was refused since */
	struct credential_check *check; /* the cluster is being asked (credential_check.h), or NULL */
};

/*
 * The worker's object for these credentials, made when there is none yet, with
 * the token in it. A reference and a client's hold on the token in one, both
 * given back by credential_put().
 */
struct credential *credential_get(struct worker *worker, enum cluster_id cluster, const struct credentials *from);
void credential_put(struct credential *c);

void credential_ref(struct credential *c);
void credential_unref(struct credential *c);

/* Keeps the token; the caller has a reference. With the last credential_leave() it is wiped. */
void credential_join(struct credential *c);
void credential_leave(struct credential *c);

/* The cluster has said so just now. */
void credential_accepted(struct credential *c);
void credential_refused(struct credential *c);
/* It has been accepted within credentials_validity. */
bool credential_is_remembered(const struct credential *c);

#endif
