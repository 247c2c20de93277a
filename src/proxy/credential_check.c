/* credential_check.c - see credential_check.h */
#include "proxy/credential_check.h"

#include <stdlib.h>

struct credential_check {
	struct credential *credential; /* a reference */
	struct pool *pool;             /* joined */
	struct pool_check check;
	struct list waiting; /* since before it began, or content with it */
	struct list later;   /* for the next one */
};

static void on_done(struct pool_check *check, enum pool_outcome outcome, uint32_t error_code, const char *text);

static void begin(struct credential *c, struct pool *pool)
{
	struct credential_check *cc = xcalloc(1, sizeof(*cc));

	list_init(&cc->waiting);
	list_init(&cc->later);
	credential_ref(c);
	cc->credential = c;
	cc->pool = pool_join(pool->worker, pool->cluster, pool->version, (enum cql_compression)pool->compression, c);
	cc->check.on_done = on_done;
	c->check = cc;
	metric_add(&c->worker->metrics.logins_asked[c->cluster], 1);
	pool_check_start(cc->pool, &cc->check, true);
}

/* Drops the log-in, but nobody who waits. */
static void end(struct credential_check *cc)
{
	struct credential *c = cc->credential;

	c->check = NULL;
	pool_check_stop(&cc->check);
	pool_leave(cc->pool);
	free(cc);
	credential_unref(c);
}

void credential_ask(struct credential *c, struct pool *pool, struct credential_waiter *w)
{
	bool is_later = false;

	if (!c->check)
		begin(c, pool);
	else
		is_later = c->worker->settings->credentials_validity_ms == 0;
	w->credential = c;
	w->pool = pool;
	list_init(&w->node);
	list_append(is_later ? &c->check->later : &c->check->waiting, &w->node);
}

void credential_ask_stop(struct credential_waiter *w)
{
	struct credential *c = w->credential;

	if (!c)
		return;
	w->credential = NULL;
	list_remove(&w->node);
	if (c->check && list_is_empty(&c->check->waiting) && list_is_empty(&c->check->later))
		end(c->check);
}

static void note(struct credential *c, enum pool_outcome outcome)
{
	if (outcome == POOL_READY) {
		credential_accepted(c);
	} else if (outcome == POOL_REFUSED) {
		credential_refused(c);
		metric_add(&c->worker->metrics.logins_refused[c->cluster], 1);
	}
}

static void on_done(struct pool_check *check, enum pool_outcome outcome, uint32_t error_code, const char *text)
{
	struct credential_check *cc = container_of(check, struct credential_check, check);
	struct credential *c = cc->credential;
	struct list waiting, later, *node;

	note(c, outcome);
	list_init(&waiting);
	list_init(&later);
	list_splice(&waiting, &cc->waiting);
	list_splice(&later, &cc->later);
	credential_ref(c); /* those that are told may let go of it */
	end(cc);
	if (!list_is_empty(&later)) {
		begin(c, list_entry(later.next, struct credential_waiter, node)->pool);
		list_splice(&c->check->waiting, &later);
	}
	while ((node = list_pop(&waiting))) {
		struct credential_waiter *w = list_entry(node, struct credential_waiter, node);

		w->credential = NULL;
		w->on_done(w, outcome, error_code, text);
	}
	credential_unref(c);
}
