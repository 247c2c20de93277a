/*
 * whims.c - decides about clients and log-ins by the throw of dice, and says at
 * the end what it has seen. The users "role" and "client" are let in by clusters
 * that know them.
 */
#define _GNU_SOURCE
#include <cqlferry/plugin.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dice.h"

#define QUEUE 4096

static const struct cqlferry_option options[] = {
	{ .name = "seed", .type = CQLFERRY_OPTION_NUMBER, .initial = "1" },
};

struct whims {
	const struct cqlferry_host *host;
	atomic_uint dice;
	pthread_t thread;
	pthread_mutex_t lock;
	atomic_bool ends;
	uint64_t tickets[QUEUE];
	unsigned count;
	atomic_int clients, kept;
	atomic_uint came, gone, held, again, logins[4];
};

static unsigned dice(struct whims *w, unsigned n)
{
	return dice_throw(&w->dice, n);
}

/* Resumes tickets in any order, some of them twice. */
static void *resume_thread(void *arg)
{
	struct whims *w = arg;

	while (!atomic_load(&w->ends)) {
		uint64_t ticket = 0;

		pthread_mutex_lock(&w->lock);
		if (w->count > 0) {
			const unsigned i = dice(w, w->count);

			ticket = w->tickets[i];
			w->tickets[i] = w->tickets[--w->count];
		}
		pthread_mutex_unlock(&w->lock);
		w->host->resume(w->host, ticket);
		if (dice(w, 4) == 0)
			w->host->resume(w->host, ticket);
		usleep(ticket ? 200 : 1000);
	}
	return NULL;
}

static int32_t whims_open(const struct cqlferry_host *host, const struct cqlferry_value *values, void **self)
{
	struct whims *w = calloc(1, sizeof(*w));

	w->host = host;
	atomic_store(&w->dice, (unsigned)values[0].number * 7919);
	pthread_mutex_init(&w->lock, NULL);
	pthread_create(&w->thread, NULL, resume_thread, w);
	*self = w;
	return 0;
}

static void whims_close(void *self)
{
	struct whims *w = self;

	atomic_store(&w->ends, true);
	pthread_join(w->thread, NULL);
	fprintf(stderr, "whims %s: came %u gone %u here %d held %u again %u kept %d logins %u %u %u %u\n",
		w->host->instance, atomic_load(&w->came), atomic_load(&w->gone), atomic_load(&w->clients),
		atomic_load(&w->held), atomic_load(&w->again), atomic_load(&w->kept), atomic_load(&w->logins[0]),
		atomic_load(&w->logins[1]), atomic_load(&w->logins[2]), atomic_load(&w->logins[3]));
	pthread_mutex_destroy(&w->lock);
	free(w);
}

static void release(void *data)
{
	struct whims **of = data;

	atomic_fetch_sub(&(*of)->kept, 1);
	free(of);
}

static int32_t hold(struct whims *w)
{
	const uint64_t ticket = w->host->hold(w->host, 1 + dice(w, 40));
	struct whims **data;

	if (!ticket)
		return CQLFERRY_NEXT;
	atomic_fetch_add(&w->held, 1);
	data = malloc(sizeof(*data));
	*data = w;
	atomic_fetch_add(&w->kept, 1);
	w->host->hold_data(w->host, data, release);
	pthread_mutex_lock(&w->lock);
	if (dice(w, 4) > 0 && w->count < QUEUE)
		w->tickets[w->count++] = ticket;
	pthread_mutex_unlock(&w->lock);
	return CQLFERRY_HOLD;
}

static int32_t decide(struct whims *w)
{
	if (w->host->resumed(w->host))
		atomic_fetch_add(&w->again, 1);
	switch (dice(w, 10)) {
	case 0:
		w->host->deny(w->host, dice(w, 2) ? 0x0100 : 0x2100, "bad luck");
		return CQLFERRY_DENY;
	case 1:
		return CQLFERRY_ERROR;
	case 2:
	case 3:
	case 4:
		return hold(w);
	case 5:
	case 6:
		return CQLFERRY_DONE;
	default:
		return CQLFERRY_NEXT;
	}
}

static int32_t whims_connect(void *self, struct cqlferry_client *client)
{
	struct whims *w = self;
	void **slot = w->host->conn_slot(w->host, client);

	if (!*slot) { /* else it was held */
		*slot = malloc(1);
		atomic_fetch_add(&w->came, 1);
		atomic_fetch_add(&w->clients, 1);
	}
	return decide(w);
}

static void set(struct whims *w, struct cqlferry_login *login, uint32_t cluster)
{
	static const char *const words[] = { "word", "word", "word", "wrong" };
	const char *word = words[dice(w, 4)];

	if (dice(w, 2))
		w->host->login_set(login, cluster, (struct cqlferry_text){ "role", 4 },
				   (struct cqlferry_text){ word, strlen(word) });
}

static int32_t whims_credentials(void *self, struct cqlferry_client *client, struct cqlferry_login *login)
{
	struct whims *w = self;

	(void)client;
	set(w, login, CQLFERRY_ORIGIN);
	set(w, login, CQLFERRY_TARGET);
	if (dice(w, 2))
		w->host->login_name(login, (struct cqlferry_text){ "somebody", 8 });
	if (dice(w, 2))
		w->host->login_ask(login);
	return decide(w);
}

static void whims_login(void *self, struct cqlferry_client *client, const struct cqlferry_login_result *r)
{
	struct whims *w = self;

	(void)client;
	atomic_fetch_add(&w->logins[r->outcome], 1);
}

static void whims_disconnect(void *self, struct cqlferry_client *client)
{
	struct whims *w = self;
	void **slot = w->host->conn_slot(w->host, client);

	free(*slot);
	*slot = NULL;
	atomic_fetch_add(&w->gone, 1);
	atomic_fetch_sub(&w->clients, 1);
}

const struct cqlferry_plugin cqlferry_plugin = {
	.abi_major = CQLFERRY_ABI_MAJOR,
	.abi_minor = CQLFERRY_ABI_MINOR,
	.struct_size = sizeof(struct cqlferry_plugin),
	.option_size = sizeof(struct cqlferry_option),
	.options = options,
	.option_count = sizeof(options) / sizeof(options[0]),
	.name = "whims",
	.version = "1",
	.open = whims_open,
	.close = whims_close,
	.on_connect = whims_connect,
	.on_credentials = whims_credentials,
	.on_login = whims_login,
	.on_disconnect = whims_disconnect,
};
