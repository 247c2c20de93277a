/*
 * resolve.c - see resolve.h
 *
 * getaddrinfo() cannot be interrupted, so a cancelled resolve lives on until
 * it returns. Who comes last frees: the thread when it finds `loop` NULL, else
 * the message on the loop. The lock orders the two.
 */
#include "base/resolve.h"

#include <errno.h>
#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct resolve {
	struct loop_message message;
	pthread_mutex_t lock;
	struct loop *loop; /* NULL: cancelled; guarded by lock */
	resolve_done_fn *done;
	void *arg;
	char *name;
	uint16_t port;
	unsigned count;
	struct net_address addresses[RESOLVE_MAX_ADDRESSES];
	char why[128];
};

static void resolve_free(struct resolve *r)
{
	pthread_mutex_destroy(&r->lock);
	free(r->name);
	free(r);
}

static void run(struct loop_message *m)
{
	struct resolve *r = container_of(m, struct resolve, message);
	bool is_cancelled;

	/* Also waits until the thread has let go of the lock. */
	pthread_mutex_lock(&r->lock);
	is_cancelled = !r->loop;
	pthread_mutex_unlock(&r->lock);
	if (!is_cancelled)
		r->done(r->arg, r->addresses, r->count, r->why);
	resolve_free(r);
}

static void hand_over(struct resolve *r)
{
	bool is_cancelled;

	pthread_mutex_lock(&r->lock);
	is_cancelled = !r->loop;
	if (!is_cancelled)
		loop_post(r->loop, &r->message);
	pthread_mutex_unlock(&r->lock);
	if (is_cancelled)
		resolve_free(r);
}

static void take_addresses(struct resolve *r, const struct addrinfo *list)
{
	for (const struct addrinfo *ai = list; ai && r->count < RESOLVE_MAX_ADDRESSES; ai = ai->ai_next) {
		struct net_address *a = &r->addresses[r->count];

		if ((ai->ai_family != AF_INET && ai->ai_family != AF_INET6) || ai->ai_addrlen > sizeof(a->at))
			continue;
		memset(a, 0, sizeof(*a));
		memcpy(&a->at, ai->ai_addr, ai->ai_addrlen);
		a->len = ai->ai_addrlen;
		net_set_port(a, r->port);
		r->count++;
	}
}

static void *resolve_thread(void *arg)
{
	struct resolve *r = arg;
	struct addrinfo hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM };
	struct addrinfo *list = NULL;
	int rc = getaddrinfo(r->name, NULL, &hints, &list);

	if (rc == 0) {
		take_addresses(r, list);
		freeaddrinfo(list);
		if (r->count == 0)
			snprintf(r->why, sizeof(r->why), "the name has no IPv4 or IPv6 address");
	} else {
		snprintf(r->why, sizeof(r->why), "the name cannot be resolved: %s",
			 rc == EAI_SYSTEM ? strerror(errno) : gai_strerror(rc));
	}
	hand_over(r);
	return NULL;
}

/* Signals are for the main thread. */
static int start_thread(struct resolve *r)
{
	pthread_attr_t attr;
	pthread_t thread;
	sigset_t all, old;
	int rc;

	sigfillset(&all);
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	rc = pthread_create(&thread, &attr, resolve_thread, r);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	pthread_attr_destroy(&attr);
	return rc;
}

struct resolve *resolve_start(struct loop *loop, const char *name, uint16_t port, resolve_done_fn *done, void *arg)
{
	struct resolve *r = xcalloc(1, sizeof(*r));
	int rc;

	pthread_mutex_init(&r->lock, NULL);
	r->message.run = run;
	r->loop = loop;
	r->done = done;
	r->arg = arg;
	r->name = xstrdup(name);
	r->port = port;
	rc = start_thread(r);
	if (rc != 0) {
		snprintf(r->why, sizeof(r->why), "no thread to resolve the name: %s", strerror(rc));
		hand_over(r);
	}
	return r;
}

void resolve_cancel(struct resolve *r)
{
	pthread_mutex_lock(&r->lock);
	r->loop = NULL;
	/* A message that is posted already cannot be taken back; run() frees it, if the loop turns once more. */
	pthread_mutex_unlock(&r->lock);
}
