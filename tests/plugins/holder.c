/*
 * holder.c - holds, resumes and decides as its options say, rightly and wrongly,
 * with a thread of its own that calls resume().
 */
#include <cqlferry/plugin.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define QUEUE 64

enum {
	IN,
	DO,
	TIMEOUT,
	OPTION_COUNT,
};

/* In the order of the option's words. */
enum action {
	NOTHING,
	RESUME,  /* by the thread */
	TWICE,   /* the same ticket, again and again */
	AGAIN,   /* three holds, one after the other */
	FOREVER, /* nobody resumes it */
	LATE,    /* the thread resumes it when it is over */
	DROP,    /* hold(), and then NEXT */
	BARE,    /* HOLD without hold() */
	RANGE,   /* no verdict */
	FAIL,    /* ERROR with a text */
	SILENT,  /* ERROR without one */
	DENY,
	STRAY, /* resume() of what never was a ticket */
};

static const struct cqlferry_option options[OPTION_COUNT] = {
	[IN] = { .name = "in",
		 .type = CQLFERRY_OPTION_CHOICE,
		 .choices = "connect credentials request",
		 .flags = CQLFERRY_OPTION_REQUIRED },
	[DO] = { .name = "do",
		 .type = CQLFERRY_OPTION_CHOICE,
		 .choices = "nothing resume twice again forever late drop bare range fail silent deny stray",
		 .flags = CQLFERRY_OPTION_REQUIRED },
	[TIMEOUT] = { .name = "timeout", .type = CQLFERRY_OPTION_DURATION, .initial = "1m", .max = 3600000 },
};

struct holder {
	const struct cqlferry_host *host;
	int64_t in;
	enum action action;
	uint32_t timeout_ms;
	uint32_t calls, releases; /* counters */
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t change;
	uint64_t tickets[QUEUE];
	unsigned count;
	int ends;
};

/* Kept with a hold. */
struct kept {
	struct holder *holder;
	uint64_t ticket;
	int left; /* holds that follow */
};

static void *resume(void *arg)
{
	struct holder *h = arg;

	pthread_mutex_lock(&h->lock);
	while (!h->ends || h->count > 0) {
		if (h->count == 0) {
			pthread_cond_wait(&h->change, &h->lock);
			continue;
		}
		const uint64_t ticket = h->tickets[--h->count];

		pthread_mutex_unlock(&h->lock);
		for (int i = h->action == TWICE ? 4 : 1; i > 0; i--)
			h->host->resume(h->host, ticket);
		pthread_mutex_lock(&h->lock);
	}
	pthread_mutex_unlock(&h->lock);
	return NULL;
}

static void tell(struct holder *h, uint64_t ticket)
{
	pthread_mutex_lock(&h->lock);
	if (h->count < QUEUE)
		h->tickets[h->count++] = ticket;
	pthread_cond_signal(&h->change);
	pthread_mutex_unlock(&h->lock);
}

static void release(void *data)
{
	struct kept *k = data;
	struct holder *h = k->holder;

	h->host->counter_add(h->host, h->releases, 1);
	if (h->action == LATE)
		tell(h, k->ticket);
	free(k);
}

static int32_t hold(struct holder *h, int left)
{
	struct kept *k = calloc(1, sizeof(*k));
	const uint64_t ticket = h->host->hold(h->host, h->timeout_ms);

	*k = (struct kept){ h, ticket, left };
	h->host->hold_data(h->host, k, release);
	if (h->action == DROP)
		return CQLFERRY_NEXT;
	if (h->action != FOREVER && h->action != LATE)
		tell(h, ticket);
	return CQLFERRY_HOLD;
}

static int32_t act(struct holder *h)
{
	const struct cqlferry_host *host = h->host;

	host->counter_add(host, h->calls, 1);
	if (host->resumed(host) != 0) {
		const struct kept *k = host->resumed_data(host);

		if (!k || k->ticket != host->resumed(host)) {
			host->error(host, "another hold's data");
			return CQLFERRY_ERROR;
		}
		return k->left > 0 ? hold(h, k->left - 1) : CQLFERRY_NEXT;
	}
	switch (h->action) {
	case BARE:
		return CQLFERRY_HOLD;
	case RANGE:
		return 4711;
	case FAIL:
		host->deny(host, 0x2200, "not this text");
		host->error(host, "told to fail");
		return CQLFERRY_ERROR;
	case SILENT:
		return CQLFERRY_ERROR;
	case DENY:
		host->deny(host, 0x1001, "denied by %s", host->instance);
		return CQLFERRY_DENY;
	case STRAY:
		host->resume(host, 0);
		host->resume(host, 1);
		host->resume(host, UINT64_MAX);
		return CQLFERRY_NEXT;
	case NOTHING:
		return CQLFERRY_NEXT;
	default:
		return hold(h, h->action == AGAIN ? 2 : 0);
	}
}

static int32_t on_connect(void *self, struct cqlferry_client *client)
{
	struct holder *h = self;

	(void)client;
	return h->in == 0 ? act(h) : CQLFERRY_NEXT;
}

static int32_t on_credentials(void *self, struct cqlferry_client *client, struct cqlferry_login *login)
{
	struct holder *h = self;

	(void)client;
	(void)login;
	return h->in == 1 ? act(h) : CQLFERRY_NEXT;
}

static int32_t on_request(void *self, struct cqlferry_request *request)
{
	struct holder *h = self;

	(void)request;
	return h->in == 2 ? act(h) : CQLFERRY_NEXT;
}

static int32_t holder_open(const struct cqlferry_host *host, const struct cqlferry_value *values, void **self)
{
	struct holder *h = calloc(1, sizeof(*h));

	h->host = host;
	h->in = values[IN].number;
	h->action = (enum action)values[DO].number;
	h->timeout_ms = (uint32_t)values[TIMEOUT].number;
	h->calls = host->counter_new(host, "holder_calls_total", "Calls of the hook", "");
	h->releases = host->counter_new(host, "holder_releases_total", "Holds that are over", "");
	pthread_mutex_init(&h->lock, NULL);
	pthread_cond_init(&h->change, NULL);
	/* There is no hook to hold here. */
	if (host->hold(host, 1000) != 0 || pthread_create(&h->thread, NULL, resume, h) != 0) {
		host->error(host, "a hold in open(), or no thread");
		free(h);
		return CQLFERRY_ERROR;
	}
	*self = h;
	return 0;
}

static void holder_close(void *self)
{
	struct holder *h = self;

	pthread_mutex_lock(&h->lock);
	h->ends = 1;
	pthread_cond_signal(&h->change);
	pthread_mutex_unlock(&h->lock);
	pthread_join(h->thread, NULL);
	pthread_cond_destroy(&h->change);
	pthread_mutex_destroy(&h->lock);
	free(h);
}

const struct cqlferry_plugin cqlferry_plugin = {
	.abi_major = CQLFERRY_ABI_MAJOR,
	.abi_minor = CQLFERRY_ABI_MINOR,
	.struct_size = sizeof(struct cqlferry_plugin),
	.option_size = sizeof(struct cqlferry_option),
	.options = options,
	.option_count = OPTION_COUNT,
	.name = "holder",
	.version = "1.0",
	.open = holder_open,
	.close = holder_close,
	.on_connect = on_connect,
	.on_credentials = on_credentials,
	.on_request = on_request,
};
