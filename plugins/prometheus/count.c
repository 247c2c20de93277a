/* count.c - see count.h */
#include "count.h"

#include <stdlib.h>
#include <string.h>

#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)
/* What is rare stays out of count_response(), which needs few registers then. */
#define rare __attribute__((noinline, cold))

/* In a connection's slot: the reference of its user, and above it that of its driver. */
_Static_assert(sizeof(void *) == 8, "a pointer has room for two references");

/* In a statement's slot: the reference of its tables, and above it its kind. */
#define KIND_SHIFT 32

/* ---- errors ---- */

static const struct {
	uint32_t code;
	const char *name;
} errors[COUNT_ERRORS] = {
	{ 0x0000, "SERVER_ERROR" },      { 0x000A, "PROTOCOL_ERROR" },    { 0x0100, "BAD_CREDENTIALS" },
	{ 0x1000, "UNAVAILABLE" },       { 0x1001, "OVERLOADED" },        { 0x1002, "IS_BOOTSTRAPPING" },
	{ 0x1003, "TRUNCATE_ERROR" },    { 0x1100, "WRITE_TIMEOUT" },     { 0x1200, "READ_TIMEOUT" },
	{ 0x1300, "READ_FAILURE" },      { 0x1400, "FUNCTION_FAILURE" },  { 0x1500, "WRITE_FAILURE" },
	{ 0x1600, "CDC_WRITE_FAILURE" }, { 0x1700, "CAS_WRITE_UNKNOWN" }, { 0x2000, "SYNTAX_ERROR" },
	{ 0x2100, "UNAUTHORIZED" },      { 0x2200, "INVALID" },           { 0x2300, "CONFIG_ERROR" },
	{ 0x2400, "ALREADY_EXISTS" },    { 0x2500, "UNPREPARED" },        { 0x8000, "CLIENT_WRITE_FAILURE" }, /* DSE */
	{ UINT32_MAX, "unknown" },
};

const char *count_error_name(unsigned error)
{
	return errors[error].name;
}

static unsigned error_index(uint32_t code)
{
	unsigned i = 0;

	while (errors[i].code != code && errors[i].code != UINT32_MAX)
		i++;
	return i;
}

static rare void count_errors(struct count_worker *w, const struct cqlferry_response *r)
{
	const unsigned from = r->answered_by < COUNT_ANSWERERS ? r->answered_by : COUNT_ANSWERERS - 1;

	if (r->outcome == CQLFERRY_FAILED || r->outcome == CQLFERRY_REFUSED || r->outcome == CQLFERRY_DENIED)
		cell_add(&w->errors[from][error_index(r->error_code)], 1);
	for (unsigned i = 0; i < CQLFERRY_CLUSTERS; i++) {
		if (r->parts[i].state == CQLFERRY_PART_ERROR)
			cell_add(&w->cluster_errors[i][error_index(r->parts[i].error_code)], 1);
	}
}

/* ---- names ---- */

static struct count_known *known_of(struct count_worker *w, const char *key, size_t len)
{
	uint32_t h = 2166136261u;

	for (size_t i = 0; i < len; i++)
		h = (h ^ (uint8_t)key[i]) * 16777619u;
	return &w->known[(h ^ h >> 16) % COUNT_KNOWN];
}

static uint32_t table_ref(struct count_worker *w, const char *key, size_t len)
{
	struct count_known *k = known_of(w, key, len);

	if (k->len == len && memcmp(k->key, key, len) == 0 && names_is_current(&w->tables, k->ref))
		return k->ref;
	k->ref = names_ref(&w->tables, key, len);
	k->len = (uint16_t)len;
	memcpy(k->key, key, len);
	return k->ref;
}

static bool is_same(struct cqlferry_text a, struct cqlferry_text b)
{
	return a.length == b.length && (a.length == 0 || memcmp(a.data, b.data, a.length) == 0);
}

/* What a statement is counted under: its table, "*" where there are several. */
static uint32_t tables_of(struct count_worker *w, struct cqlferry_request *request)
{
	static const struct cqlferry_text several = { "*", 1 };
	const struct cqlferry_statement *s = w->host->statement(request);
	struct cqlferry_text keyspace = { NULL, 0 }, table = { NULL, 0 };
	const char *parts[NAMES_PARTS];
	uint64_t lengths[NAMES_PARTS];
	char key[NAMES_KEY_MAX];
	unsigned count = 0;

	if (s->table_count > 0) {
		keyspace = s->tables[0].keyspace;
		table = s->table_count > 1 ? several : s->tables[0].table;
		for (uint32_t i = 1; i < s->table_count; i++) {
			if (!is_same(s->tables[i].keyspace, s->tables[0].keyspace))
				keyspace = several;
		}
	}
	if (w->count->by_keyspace) {
		parts[count] = keyspace.data;
		lengths[count++] = keyspace.length;
	}
	if (w->count->by_table) {
		parts[count] = table.data;
		lengths[count++] = table.length;
	}
	return table_ref(w, key, names_key(key, parts, lengths, count));
}

/* The reference of a statement's tables and its kind; kept in the statement's slot where it has one. */
static rare uint64_t statement_of(struct count_worker *w, struct cqlferry_request *request, uint64_t *slot)
{
	const struct cqlferry_request_info *info = w->host->request_info(request);
	const uint64_t kind = info->opcode == CQLFERRY_OPCODE_PREPARE ? COUNT_PREPARE
			      : info->kind < COUNT_PREPARE            ? info->kind
								      : CQLFERRY_UNKNOWN;
	uint32_t ref;

	if (w->count->by_keyspace || w->count->by_table)
		ref = tables_of(w, request);
	else
		ref = names_ref(&w->tables, "", 0);
	if (slot)
		*slot = kind << KIND_SHIFT | ref;
	return kind << KIND_SHIFT | ref;
}

static uint32_t ref_of(struct names_view *view, const struct cqlferry_text *texts, unsigned count)
{
	const char *parts[NAMES_PARTS] = { NULL };
	uint64_t lengths[NAMES_PARTS] = { 0 };
	char key[NAMES_KEY_MAX];

	for (unsigned i = 0; i < count; i++) {
		parts[i] = texts[i].data;
		lengths[i] = texts[i].length;
	}
	return names_ref(view, key, names_key(key, parts, lengths, count));
}

/* Who the client is, and what its driver: into its slot. */
static rare uint64_t connection_of(struct count_worker *w, struct cqlferry_client *client, void **slot)
{
	const struct cqlferry_client_info *info = w->host->client_info(client);
	const struct cqlferry_text driver[] = { info->driver, info->driver_version };
	const uint64_t refs = (uint64_t)ref_of(&w->drivers, driver, 2) << 32 | ref_of(&w->users, &info->user, 1);

	*slot = (void *)(uintptr_t)refs;
	return refs;
}

/* ---- requests ---- */

static inline void observe_in(struct histogram *h, unsigned bucket, uint64_t ns)
{
	cell_add(&h->counts[bucket], 1);
	cell_add(&h->sum_ns, ns);
}

/* Not in `alone`: how long it took, how long its clusters, and what it took beyond the slowest of them. */
static __attribute__((noinline)) void observe_parts(struct count_worker *w, const struct cqlferry_response *r,
						    unsigned kind, unsigned bucket)
{
	uint64_t slowest = 0;

	observe_in(&w->durations[kind][r->to % COUNT_ROUTES], bucket, r->duration_ns);
	for (unsigned i = 0; i < CQLFERRY_CLUSTERS; i++) {
		const uint64_t ns = r->parts[i].duration_ns;

		if (r->parts[i].state < CQLFERRY_PART_OK)
			continue;
		observe_in(&w->clusters[i][kind],
			   ns == r->duration_ns ? bucket : buckets_find(&w->count->durations, ns), ns);
		slowest = ns > slowest ? ns : slowest;
	}
	if (r->outcome > CQLFERRY_FAILED)
		return;
	if (likely(r->duration_ns <= slowest))
		cell_add(&w->not_added, 1);
	else
		observe_in(&w->added, buckets_find(&w->count->added, r->duration_ns - slowest),
			   r->duration_ns - slowest);
}

static inline void observe(struct count_worker *w, const struct cqlferry_response *r, unsigned kind)
{
	const unsigned bucket = buckets_find(&w->count->durations, r->duration_ns);
	const unsigned cluster = r->to - 1u;

	if (likely(cluster < CQLFERRY_CLUSTERS && r->outcome <= CQLFERRY_FAILED &&
		   r->parts[cluster].state >= CQLFERRY_PART_OK && r->parts[cluster].duration_ns == r->duration_ns))
		observe_in(&w->alone[cluster][kind], bucket, r->duration_ns);
	else
		observe_parts(w, r, kind, bucket);
}

void count_response(void *worker_self, struct cqlferry_request *request, const struct cqlferry_response *r)
{
	struct count_worker *w = worker_self;
	const struct cqlferry_host *host = w->host;
	struct cqlferry_client *client = host->request_client(request);
	void **client_slot = host->conn_slot(host, client);
	uint64_t *statement_slot = host->statement_slot(host, request);
	uint64_t statement = statement_slot ? *statement_slot : 0;
	uint64_t connection = (uintptr_t)*client_slot;
	const unsigned outcome = r->outcome % COUNT_OUTCOMES;
	unsigned kind;

	if (unlikely(!names_is_current(&w->tables, (uint32_t)statement)))
		statement = statement_of(w, request, statement_slot);
	if (unlikely(!names_is_current(&w->users, (uint32_t)connection) ||
		     !names_is_current(&w->drivers, (uint32_t)(connection >> 32))))
		connection = connection_of(w, client, client_slot);
	kind = (unsigned)(statement >> KIND_SHIFT);
	cell_add(names_cells(&w->tables, (uint32_t)statement) +
			 (kind * COUNT_ROUTES + r->to % COUNT_ROUTES) * COUNT_OUTCOMES + outcome,
		 1);
	cell_add(names_cells(&w->users, (uint32_t)connection) + outcome, 1);
	cell_add(names_cells(&w->drivers, (uint32_t)(connection >> 32)) + outcome, 1);
	cell_add(&w->deciders[r->decided_by % COUNT_DECIDERS], 1);
	if (likely(outcome <= CQLFERRY_REFUSED && r->to != 0))
		observe(w, r, kind);
	if (unlikely(outcome != CQLFERRY_ANSWERED))
		count_errors(w, r);
}

/* ---- life ---- */

struct count_worker *count_worker_new(struct count *count, unsigned worker)
{
	struct count_worker *w = aligned_alloc(64, (sizeof(*w) + 63) / 64 * 64);

	if (!w)
		return NULL;
	memset(w, 0, sizeof(*w));
	w->host = count->host;
	w->count = count;
	names_view_init(&w->tables, count->tables, worker);
	names_view_init(&w->users, count->users, worker);
	names_view_init(&w->drivers, count->drivers, worker);
	atomic_store_explicit(&count->workers[worker], w, memory_order_release);
	return w;
}
