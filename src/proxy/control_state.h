/*
 * control_state.h - what a control connection knows of itself. For the files of
 * control connections alone; control.h is what others see.
 *
 *   control.c          life, settings, what comes of an inquiry
 *   control_round.c    rounds of endpoints, up to the connection that asks
 *   control_watch.c    while it is up: heartbeats, events, when the tables are read again
 *   control_attempt.c  the end of each, and what follows
 *
 * All is on the main thread's loop.
 */
#ifndef PROXY_CONTROL_STATE_H
#define PROXY_CONTROL_STATE_H

#include "proxy/control.h"
#include "proxy/endpoint.h"
#include "proxy/inquiry.h"
#include "proxy/sni.h"

enum control_state {
	CONTROL_IDLE,       /* before control_start() */
	CONTROL_WAITING,    /* timer: the next attempt, see `wake` */
	CONTROL_LOCATING,   /* timer: time limit of the bundle's metadata and the SNI proxy's name */
	CONTROL_CONNECTING, /* timer: time limit of name, connection and TLS */
	CONTROL_ASKING,     /* log-in and learning; the inquiry has its own time limits */
	CONTROL_UP,
};

enum control_wake {
	WAKE_ROUND,    /* start a round */
	WAKE_NEXT,     /* the next endpoint of the round */
	WAKE_ENDPOINT, /* the current endpoint again, with another version */
};

struct control {
	struct control_options o;
	const struct cluster_settings *settings; /* of the cluster */
	const char *cluster_name;                /* "origin" or "target" */
	uint8_t state;                           /* enum control_state */
	uint8_t wake;                            /* enum control_wake */
	uint8_t version;
	bool was_up;
	bool only_rejections;   /* every endpoint of this round showed a certificate that we do not accept */
	bool is_urgent;         /* it is not to settle first */
	bool refresh_again;     /* an event came while an inquiry ran */
	bool is_elsewhere;      /* the contact points are others: the nodes known are of no use to find the cluster */
	uint32_t failed_rounds; /* in a row, for the back-off */
	uint32_t disagree_ms;
	uint64_t up_since_ns;
	struct event timer;
	struct event heartbeat; /* UP: when the next is due, or its time limit */
	struct event refresh;   /* UP: settling */
	struct event periodic;  /* UP: topology_refresh_interval */
	bool is_periodic;       /* it is why the inquiry runs: when nothing has changed nobody need know */
	bool is_lost;           /* the connection to `lost` ended: that node is tried last in the next round */
	struct net_address lost;
	uint64_t digest; /* of the tables that the last snapshot was made of */
	struct endpoint_list endpoints;
	struct resolve *resolve;
	struct server *server;
	struct inquiry inquiry;
	struct leg heartbeat_leg;
	struct credentials credentials;
	char *datacenter; /* of the first snapshot, see topology.h */
	char address[NET_TEXT_MAX];
	char text[ENDPOINT_TEXT_MAX]; /* the current endpoint, for messages */
};

static inline void control_state_arm(struct event *timer, uint64_t ms)
{
	const struct timeval tv = { .tv_sec = (time_t)(ms / 1000), .tv_usec = (suseconds_t)(ms % 1000 * 1000) };

	evtimer_add(timer, &tv);
}

static inline void control_state_set(struct control *c, enum control_state state)
{
	c->state = (uint8_t)state;
}

/* What an inquiry on the connection has to know. */
static inline struct topology_source control_state_source(const struct control *c)
{
	return (struct topology_source){
		.id = c->o.cluster->id,
		.settings = c->o.settings,
		.contact = endpoint_list_current(&c->endpoints)->address,
		.datacenter = c->datacenter,
		.sni_datacenter = c->o.cluster->sni ? sni_datacenter(c->o.cluster->sni) : NULL,
	};
}

#endif
