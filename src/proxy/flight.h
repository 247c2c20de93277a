/*
 * flight.h - which PREPAREs of repairs are in flight, process-wide: one per
 * host and statement, whatever worker began it. After a node has restarted,
 * every client of every worker meets UNPREPARED at once; the node is asked
 * once per statement.
 *
 * Any thread may call; one mutex, taken only when a statement was lost.
 */
#ifndef PROXY_FLIGHT_H
#define PROXY_FLIGHT_H

#include <pthread.h>

#include "base/list.h"
#include "base/net.h"
#include "proxy/prepared.h"

struct loop;

struct flight_key {
	enum cluster_id cluster;
	struct net_address host;
	struct prepared_id id; /* on that cluster */
};

struct flights {
	pthread_mutex_t lock;
	struct list list;
};

/* Who is told when a flight of somebody else has landed; called on its loop's thread. */
struct flight_watcher {
	struct loop *loop;
	void (*on_landed)(void *arg, const struct flight_key *key, bool is_prepared);
	void *arg;
};

void flights_init(struct flights *f);
/* No flight may be left. */
void flights_fini(struct flights *f);

bool flight_key_equal(const struct flight_key *a, const struct flight_key *b);

/*
 * True: the caller sends the PREPARE and calls flight_land() when it is over.
 * False: somebody else does; the watcher, if it is not NULL, is told once.
 */
MUSTCHECK bool flight_take_off(struct flights *f, const struct flight_key *key, const struct flight_watcher *watcher);
/* `is_prepared`: the node has the statement now; else the others have to try themselves. */
void flight_land(struct flights *f, const struct flight_key *key, bool is_prepared);

#endif
