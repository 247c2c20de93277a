/* schema_events.c - see schema_events.h */
#include "proxy/schema_events.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "cql/message.h"
#include "proxy/topology.h"

/* More than this is no event of Cassandra's: a function with hundreds of arguments. */
#define MAX_BODY (16 * 1024)
/* What was told is remembered so long, for the second of two equal reports of one cluster. */
#define REPEAT_MS 2000
/* And so long when one cluster has not reported it: migrations of a large schema can take that. */
#define LATE_MS 60000

/* A change that was reported. On se->entries in the order of the first report. */
struct entry {
	struct list node;
	struct schema_change change; /* into `body` */
	uint64_t first_ns;
	bool has_reported[CLUSTER_COUNT];
	bool was_told;
	uint8_t body[];
};

struct schema_events {
	struct schema_events_options o;
	struct event timer;
	struct list entries;
	unsigned count;
	struct topology *snapshot[CLUSTER_COUNT]; /* the last one */
	struct topology *before[CLUSTER_COUNT];   /* the one before that; NULL: none */
};

/* ---- entries ---- */

static void entry_free(struct schema_events *se, struct entry *e)
{
	list_remove(&e->node);
	se->count--;
	free(e);
}

static void entry_new(struct schema_events *se, enum cluster_id cluster, uint8_t version, const uint8_t *body,
		      uint32_t len)
{
	struct entry *e = xcalloc(1, sizeof(*e) + len);
	struct reader r = reader_over(e->body, len);

	memcpy(e->body, body, len);
	read_string(&r);
	if (!schema_change_read(&r, version, &e->change)) /* as it was a moment ago */
		Assert(false);
	e->first_ns = loop_now(se->o.loop);
	e->has_reported[cluster] = true;
	list_init(&e->node);
	list_append(&se->entries, &e->node);
	se->count++;
}

static bool both_have_reported(const struct entry *e)
{
	return e->has_reported[CLUSTER_ORIGIN] && e->has_reported[CLUSTER_TARGET];
}

/* When it is told (before), or forgotten (afterwards), at the latest. */
static uint64_t deadline_of(const struct schema_events *se, const struct entry *e)
{
	const uint64_t ms = !e->was_told ? se->o.wait_ms : both_have_reported(e) ? REPEAT_MS : LATE_MS;

	return e->first_ns + ms * 1000000u;
}

/* One in the same keyspace that was reported before and has not been told. */
static bool is_held_up(struct schema_events *se, const struct entry *e)
{
	list_for_each_safe(node, tmp, &se->entries) {
		const struct entry *other = list_entry(node, struct entry, node);

		if (other == e)
			return false;
		if (!other->was_told && sv_equal(other->change.keyspace, e->change.keyspace))
			return true;
	}
	return false;
}

/* ---- telling ---- */

static void tell_one(struct schema_events *se, const struct schema_change *change)
{
	struct notice *n = notice_new();

	notice_add_schema_change(n, change);
	se->o.deliver(n, se->o.arg);
}

static void arm(struct schema_events *se, uint64_t now)
{
	uint64_t next = UINT64_MAX;
	uint64_t us;

	list_for_each_safe(node, tmp, &se->entries) {
		const uint64_t deadline = deadline_of(se, list_entry(node, struct entry, node));

		next = MIN(next, MAX(deadline, now));
	}
	evtimer_del(&se->timer);
	if (next == UINT64_MAX)
		return;
	us = (next - now) / 1000u + 1;
	evtimer_add(&se->timer,
		    (&(struct timeval){ .tv_sec = (time_t)(us / 1000000u), .tv_usec = (suseconds_t)(us % 1000000u) }));
}

/* Tells what is due, forgets what is old. */
static void run(struct schema_events *se)
{
	const uint64_t now = loop_now(se->o.loop);
	struct notice *n = NULL;

	list_for_each_safe(node, tmp, &se->entries) {
		struct entry *e = list_entry(node, struct entry, node);
		const bool is_over = now >= deadline_of(se, e);

		if (e->was_told) {
			if (is_over)
				entry_free(se, e);
		} else if ((is_over || both_have_reported(e)) && !is_held_up(se, e)) {
			if (!n)
				n = notice_new();
			notice_add_schema_change(n, &e->change);
			e->was_told = true;
		}
	}
	if (n)
		se->o.deliver(n, se->o.arg);
	arm(se, now);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	run(arg);
}

/* ---- reports ---- */

/* The oldest of equal ones that this cluster has not reported yet. */
static struct entry *find_missing(struct schema_events *se, enum cluster_id cluster, const struct schema_change *change)
{
	list_for_each_safe(node, tmp, &se->entries) {
		struct entry *e = list_entry(node, struct entry, node);

		if (!e->has_reported[cluster] && schema_change_equal(&e->change, change))
			return e;
	}
	return NULL;
}

/*
 * The last thing that the cluster said about this object was the same. Of an
 * UPDATED that was told already one cannot know: two changes in a row look alike.
 */
static bool is_repeated(struct schema_events *se, enum cluster_id cluster, const struct schema_change *change)
{
	const struct entry *last = NULL;

	list_for_each_safe(node, tmp, &se->entries) {
		const struct entry *e = list_entry(node, struct entry, node);

		if (e->has_reported[cluster] && schema_change_same_object(&e->change, change))
			last = e;
	}
	return last && sv_equal(last->change.change, change->change) &&
	       !(last->was_told && sv_equal(change->change, SV("UPDATED")));
}

/* Those that were told are only kept for what may still come about them. */
static struct entry *least_needed(struct schema_events *se)
{
	list_for_each_safe(node, tmp, &se->entries) {
		struct entry *e = list_entry(node, struct entry, node);

		if (e->was_told)
			return e;
	}
	return list_entry(se->entries.next, struct entry, node);
}

static void make_room(struct schema_events *se)
{
	struct entry *e;

	if (se->count < SCHEMA_EVENTS_MAX)
		return;
	e = least_needed(se);
	if (!e->was_told) {
		log_limited(LOG_WARN,
			    "more than %d schema changes within a short time: some are told before both clusters have "
			    "reported them",
			    SCHEMA_EVENTS_MAX);
		tell_one(se, &e->change);
	}
	entry_free(se, e);
}

void schema_events_report(struct schema_events *se, enum cluster_id cluster, uint8_t version, const uint8_t *body,
			  uint32_t len)
{
	struct reader r = reader_over(body, len);
	struct schema_change change;
	struct entry *e;

	read_string(&r);
	if (len > MAX_BODY || !schema_change_read(&r, version, &change)) {
		log_limited(LOG_WARN, "%s reports a schema change that cannot be read", cluster_id_name(cluster));
		return;
	}
	log_debug("%s reports: %.*s %.*s in keyspace %.*s", cluster_id_name(cluster), SV_ARG(change.change),
		  SV_ARG(change.target), SV_ARG(change.keyspace));
	e = find_missing(se, cluster, &change);
	if (e) {
		e->has_reported[cluster] = true;
		if (e->was_told && cluster == se->o.read_from)
			tell_one(se, &e->change);
	} else if (!is_repeated(se, cluster, &change)) {
		make_room(se);
		entry_new(se, cluster, version, body, len);
	}
	run(se);
}

/* ---- gaps ---- */

void schema_events_snapshot(struct schema_events *se, enum cluster_id cluster, struct topology *t)
{
	if (se->before[cluster])
		topology_unref(se->before[cluster]);
	se->before[cluster] = se->snapshot[cluster];
	se->snapshot[cluster] = topology_ref(t);
}

static bool is_of_users(const char *keyspace)
{
	return strcmp(keyspace, "system") != 0 && strncmp(keyspace, "system_", 7) != 0;
}

static bool has_keyspace(const struct topology *t, const char *name)
{
	for (unsigned i = 0; i < t->keyspace_count; i++) {
		if (strcmp(t->keyspaces[i].keyspace, name) == 0)
			return true;
	}
	return false;
}

static bool version_differs(const struct topology *a, const struct topology *b)
{
	const struct bytesview x = host_value(&a->local, "schema_version");
	const struct bytesview y = host_value(&b->local, "schema_version");

	/* When a node says none, nobody knows what was missed. */
	return x.is_null || y.is_null || x.len != y.len || memcmp(x.p, y.p, x.len) != 0;
}

static void add_keyspace(struct notice *n, const char *change, const char *keyspace)
{
	notice_add_schema_change(n, &(struct schema_change){ .change = sv_from(change),
							     .target = SV("KEYSPACE"),
							     .keyspace = sv_from(keyspace) });
}

void schema_events_on_connected(struct schema_events *se, enum cluster_id cluster)
{
	const struct topology *before = se->before[cluster];
	const struct topology *t = se->snapshot[cluster];
	struct notice *n;

	if (!before || !version_differs(before, t))
		return;
	n = notice_new();
	/* What it has not reported it may have done meanwhile: nobody will ever say. */
	list_for_each_safe(node, tmp, &se->entries) {
		struct entry *e = list_entry(node, struct entry, node);

		if (e->has_reported[cluster])
			continue;
		if (!e->was_told)
			notice_add_schema_change(n, &e->change);
		entry_free(se, e);
	}
	for (unsigned i = 0; i < before->keyspace_count; i++) {
		if (is_of_users(before->keyspaces[i].keyspace) && !has_keyspace(t, before->keyspaces[i].keyspace))
			add_keyspace(n, "DROPPED", before->keyspaces[i].keyspace);
	}
	for (unsigned i = 0; i < t->keyspace_count; i++) {
		if (is_of_users(t->keyspaces[i].keyspace))
			add_keyspace(n, "UPDATED", t->keyspaces[i].keyspace);
	}
	log_info("%s: the schema changed while its control connection was lost; drivers are told of %u changes",
		 cluster_id_name(cluster), n->count);
	se->o.deliver(n, se->o.arg);
	run(se);
}

/* ---- life ---- */

struct schema_events *schema_events_new(const struct schema_events_options *options)
{
	struct schema_events *se = xcalloc(1, sizeof(*se));

	se->o = *options;
	list_init(&se->entries);
	evtimer_assign(&se->timer, options->loop->base, on_timer, se);
	return se;
}

void schema_events_read_from(struct schema_events *se, enum cluster_id cluster)
{
	se->o.read_from = cluster;
}

void schema_events_free(struct schema_events *se)
{
	if (!se)
		return;
	evtimer_del(&se->timer);
	list_for_each_safe(node, tmp, &se->entries)
		entry_free(se, list_entry(node, struct entry, node));
	for (unsigned i = 0; i < CLUSTER_COUNT; i++) {
		if (se->before[i])
			topology_unref(se->before[i]);
		if (se->snapshot[i])
			topology_unref(se->snapshot[i]);
	}
	free(se);
}
