/*
 * ring.c - see ring.h
 *
 * The placements are those of Cassandra's SimpleStrategy and
 * NetworkTopologyStrategy (org.apache.cassandra.locator, 4.0): each walks over
 * the ring from the first token that is not below the key's.
 *
 *   Simple            the first rf nodes
 *   NetworkTopology   for each datacenter apart: a node of a rack that has none
 *                     yet; of a rack that has one only as often as there are
 *                     more replicas than racks
 *
 * Of '3/1' the last one is transient: it may hold nothing, so it is left out.
 */
#include "proxy/ring.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "proxy/topology.h"

/* Hosts that own tokens are numbered by 16 bits. */
#define MAX_HOSTS (UINT16_MAX - 1u)
#define MAX_FACTOR UINT16_MAX

struct replication_factor {
	uint16_t all;
	uint16_t full; /* without the transient ones */
};

/* How the replicas of a table are placed. */
struct placement_rule {
	bool is_simple;
	/* Simple: one. NetworkTopology: of each datacenter of the snapshot that has some, in the order of tiers. */
	struct replication_factor *factors;
	unsigned factor_count;
};

struct ring_table {
	struct placement_rule rule;
	uint32_t width; /* of a row: the number of hosts, then these */
	uint16_t *rows; /* one per token */
};

struct ring_keyspace {
	char *name;
	uint16_t table;
};

struct ring {
	_Atomic uint32_t refs;
	uint32_t generation;
	uint32_t token_count;
	int64_t *tokens; /* rising */
	/* By the upper bits of a token: the first of the ring that has these or higher ones; one more at the end. */
	uint32_t *sections;
	unsigned section_shift;
	struct ring_keyspace *keyspaces; /* by name */
	unsigned keyspace_count;
	struct ring_table *tables;
	unsigned table_count;
	uint64_t memory; /* of all rows */
};

/* ---- questions ---- */

uint32_t ring_generation(const struct ring *ring)
{
	return ring->generation;
}

/* Tokens as unsigned numbers in the same order. */
static uint64_t unsigned_of(int64_t token)
{
	return (uint64_t)token ^ (UINT64_C(1) << 63);
}

/*
 * The first token that is not below this one; behind the last one comes the
 * first. The upper bits say between which two to look, a few where tokens are
 * spread as they should be. Tokens of keys are random, so the steps have no
 * branches that would have to be predicted.
 */
static uint32_t find_token(const struct ring *ring, int64_t token)
{
	const uint32_t *section = &ring->sections[unsigned_of(token) >> ring->section_shift];
	uint32_t low = section[0];

	for (uint32_t n = section[1] - low; n > 0; n /= 2)
		low += ring->tokens[low + n / 2] < token ? n - n / 2 : 0;
	return low < ring->token_count ? low : 0;
}

unsigned ring_replicas(const struct ring *ring, uint16_t table, int64_t token, const uint16_t **hosts)
{
	const struct ring_table *t;
	const uint16_t *row;

	if (table >= ring->table_count)
		return 0;
	t = &ring->tables[table];
	row = t->rows + (size_t)find_token(ring, token) * t->width;
	*hosts = row + 1;
	return row[0];
}

uint16_t ring_table(const struct ring *ring, struct strview keyspace)
{
	unsigned low = 0;
	unsigned n = ring->keyspace_count;

	while (n > 0) {
		const unsigned half = n / 2;
		const char *name = ring->keyspaces[low + half].name;
		int order = strncmp(name, keyspace.p, keyspace.len);

		if (order == 0 && name[keyspace.len] == '\0')
			return ring->keyspaces[low + half].table;
		if (order < 0) {
			low += half + 1;
			n -= half + 1;
		} else {
			n = half;
		}
	}
	return RING_NO_TABLE;
}

/* ---- building: the tokens ---- */

struct owned_token {
	int64_t token;
	uint16_t host;
};

/* What is needed while the tables are made. */
struct building {
	struct ring *ring;
	const struct topology *topology;
	enum cluster_id id;
	struct owned_token *owned; /* as ring->tokens */
	uint32_t cap;
	unsigned owner_count; /* hosts with tokens */
	/* Of each host of the topology: the numbers of its datacenter and its rack. */
	uint16_t *datacenter;
	uint16_t *rack; /* unlike those of all racks in other datacenters */
	/* Marks of a walk: the walk that has met the host, or a host of the rack. */
	uint32_t *host_met;
	uint32_t *rack_met;
	uint32_t walk;
	/* By host: the order in which a walk meets the hosts, a ring of neighbours that begins behind the last place. */
	uint16_t *after, *before;
};

static bool parse_token(struct strview text, int64_t *out)
{
	char digits[24];
	char *end;

	if (text.len == 0 || text.len >= sizeof(digits) || (text.p[0] != '-' && (text.p[0] < '0' || text.p[0] > '9')))
		return false;
	memcpy(digits, text.p, text.len);
	digits[text.len] = '\0';
	errno = 0;
	*out = strtoll(digits, &end, 10);
	return errno == 0 && end == digits + text.len;
}

static void add_token(struct building *b, uint16_t host, int64_t token)
{
	if (b->ring->token_count == b->cap) {
		b->cap = b->cap ? b->cap * 2 : 1024;
		b->owned = xrealloc(b->owned, b->cap * sizeof(*b->owned));
	}
	b->owned[b->ring->token_count++] = (struct owned_token){ .token = token, .host = host };
}

/* The tokens of a node: a set<text>. False when there are too many of all nodes together. */
static bool read_tokens(struct building *b, uint16_t host)
{
	const struct host *h = &b->topology->hosts[host];
	const bool is_short = version_has(b->topology->version, VERSION_SHORT_COLLECTIONS);
	const struct bytesview value = host_value(h, "tokens");
	struct reader r = reader_over(value.p, value.len);
	uint32_t n = is_short ? read_short(&r) : read_int(&r);
	int64_t token;

	if (value.is_null)
		return true;
	for (; n > 0 && reader_ok(&r); n--) {
		const struct bytesview text = is_short ? read_short_bytes(&r) : read_bytes(&r);

		if (b->ring->token_count == RING_MAX_TOKENS)
			return false;
		if (reader_ok(&r) && !text.is_null &&
		    parse_token((struct strview){ (const char *)text.p, text.len }, &token)) {
			add_token(b, host, token);
			continue;
		}
		log_limited(LOG_WARN, "%s: node %s has tokens that cannot be read; they are left out",
			    cluster_id_name(b->id), h->name);
		break;
	}
	return true;
}

static int compare_tokens(const void *a, const void *b)
{
	const struct owned_token *x = a;
	const struct owned_token *y = b;
	int order = (x->token > y->token) - (x->token < y->token);

	return order ? order : (int)x->host - y->host;
}

static void sort_tokens(struct building *b)
{
	struct ring *ring = b->ring;
	uint32_t kept = 0;

	qsort(b->owned, ring->token_count, sizeof(*b->owned), compare_tokens);
	/* Two nodes may claim one token for a while, when one replaces the other. */
	for (uint32_t i = 0; i < ring->token_count; i++) {
		if (kept == 0 || b->owned[kept - 1].token != b->owned[i].token)
			b->owned[kept++] = b->owned[i];
	}
	ring->token_count = kept;
	ring->tokens = xcalloc(kept, sizeof(*ring->tokens));
	b->walk++;
	for (uint32_t i = 0; i < kept; i++) {
		const uint16_t host = b->owned[i].host;

		ring->tokens[i] = b->owned[i].token;
		b->owner_count += b->host_met[host] != b->walk;
		b->host_met[host] = b->walk;
	}
}

/* About as many sections as there are tokens. */
static void make_sections(struct ring *ring)
{
	unsigned bits = 1;
	uint32_t at = 0;

	while (ring->token_count >> (bits + 1) > 0)
		bits++;
	ring->section_shift = 64 - bits;
	ring->sections = xcalloc(((size_t)1 << bits) + 1, sizeof(*ring->sections));
	for (uint32_t i = 0; i <= 1u << bits; i++) {
		while (at < ring->token_count && unsigned_of(ring->tokens[at]) >> ring->section_shift < i)
			at++;
		ring->sections[i] = at;
	}
}

/* Numbers datacenters and racks. */
static void number_places(struct building *b)
{
	const struct host *hosts = b->topology->hosts;
	const unsigned n = b->topology->all_count;

	for (unsigned i = 0; i < n; i++) {
		bool is_known = false;

		b->datacenter[i] = b->rack[i] = (uint16_t)i;
		for (unsigned j = 0; j < i && !is_known; j++) {
			if (strcmp(hosts[i].datacenter, hosts[j].datacenter) != 0)
				continue;
			b->datacenter[i] = b->datacenter[j];
			is_known = strcmp(hosts[i].rack, hosts[j].rack) == 0;
			if (is_known)
				b->rack[i] = b->rack[j];
		}
	}
}

/* ---- building: the rows ---- */

/* Hosts that no request goes to take part, but are not noted. */
static void note_replica(const struct building *b, uint16_t *row, uint16_t host)
{
	if (host < b->topology->host_count)
		row[1 + row[0]++] = host;
}

static void sort_by_tier(const struct building *b, uint16_t *row)
{
	const struct host *hosts = b->topology->hosts;

	for (unsigned i = 2; i <= row[0]; i++) {
		const uint16_t host = row[i];
		unsigned at = i;

		for (; at > 1 && hosts[row[at - 1]].tier > hosts[host].tier; at--)
			row[at] = row[at - 1];
		row[at] = host;
	}
}

/*
 * A walk over the ring meets the hosts in the order of their next tokens. That
 * of the token before is the same but for the host that owns it, which comes
 * first. So walks that begin at one token after the other, backwards, need not
 * go over tokens: otherwise a rack whose only node has few of them would make
 * every walk long.
 */
static uint16_t walk_end(const struct building *b)
{
	return (uint16_t)b->topology->all_count;
}

static void forget_order(struct building *b)
{
	for (unsigned i = 0; i <= walk_end(b); i++)
		b->after[i] = b->before[i] = (uint16_t)i;
}

static void meet_first(struct building *b, uint16_t host)
{
	const uint16_t end = walk_end(b);

	b->after[b->before[host]] = b->after[host];
	b->before[b->after[host]] = b->before[host];
	b->after[host] = b->after[end];
	b->before[host] = end;
	b->before[b->after[host]] = host;
	b->after[end] = host;
}

static void fill_simple(struct building *b, const struct ring_table *table)
{
	const uint32_t n = b->ring->token_count;
	const unsigned wanted = MIN(table->rule.factors[0].full, b->owner_count);

	forget_order(b);
	for (uint32_t i = n; i-- > 0;)
		meet_first(b, b->owned[i].host);
	for (uint32_t start = n; start-- > 0;) {
		uint16_t *row = table->rows + (size_t)start * table->width;
		uint16_t host;

		meet_first(b, b->owned[start].host);
		host = b->after[walk_end(b)];
		for (unsigned found = 0; found < wanted; found++, host = b->after[host])
			note_replica(b, row, host);
		sort_by_tier(b, row);
	}
}

/* One datacenter on the ring. */
struct district {
	uint32_t *at; /* where in the ring its tokens stand */
	uint32_t count;
	unsigned nodes, racks;
};

static void district_init(struct district *d, struct building *b, uint16_t datacenter)
{
	*d = (struct district){ .at = xcalloc(b->ring->token_count, sizeof(*d->at)) };
	b->walk++;
	for (uint32_t i = 0; i < b->ring->token_count; i++) {
		const uint16_t host = b->owned[i].host;

		if (b->datacenter[host] != datacenter)
			continue;
		d->at[d->count++] = i;
		d->nodes += b->host_met[host] != b->walk;
		d->racks += b->rack_met[b->rack[host]] != b->walk;
		b->host_met[host] = b->rack_met[b->rack[host]] = b->walk;
	}
}

/* Adds the replicas that a walk in the order of the moment finds. */
static void walk_district(struct building *b, const struct district *d, const struct replication_factor *rf,
			  uint16_t *row)
{
	/* Too few nodes: transient replicas are done without first. */
	unsigned left = MIN(rf->full, d->nodes);
	int repeats = (int)rf->all - (int)d->racks;

	b->walk++;
	for (uint16_t host = b->after[walk_end(b)]; host != walk_end(b) && left > 0; host = b->after[host]) {
		const uint16_t rack = b->rack[host];

		if (b->rack_met[rack] == b->walk && repeats-- <= 0)
			continue;
		b->rack_met[rack] = b->walk;
		left--;
		note_replica(b, row, host);
	}
}

static void fill_district(struct building *b, const struct ring_table *table, uint16_t datacenter,
			  const struct replication_factor *rf)
{
	struct district d;
	uint32_t next;

	district_init(&d, b, datacenter);
	forget_order(b);
	for (uint32_t i = d.count; i-- > 0;)
		meet_first(b, b->owned[d.at[i]].host);
	next = d.count;
	for (uint32_t i = b->ring->token_count; i-- > 0 && d.count > 0;) {
		if (next > 0 && d.at[next - 1] == i)
			meet_first(b, b->owned[d.at[--next]].host);
		walk_district(b, &d, rf, table->rows + (size_t)i * table->width);
	}
	free(d.at);
}

/* ---- building: the tables ---- */

/* Calls with the datacenters that requests may go to, one host of each, in the order of tiers. */
static bool is_first_of_datacenter(const struct building *b, unsigned host)
{
	return host == 0 || b->topology->hosts[host].tier != b->topology->hosts[host - 1].tier;
}

static void fill_network(struct building *b, const struct ring_table *table)
{
	unsigned next = 0;

	for (unsigned i = 0; i < b->topology->host_count; i++) {
		if (is_first_of_datacenter(b, i))
			fill_district(b, table, b->datacenter[i], &table->rule.factors[next++]);
	}
}

/* At most so many replicas has a row. */
static uint32_t row_width(const struct building *b, const struct placement_rule *rule)
{
	uint32_t sum = 0;

	for (unsigned i = 0; i < rule->factor_count; i++)
		sum += rule->factors[i].full;
	return 1 + MIN(sum, b->owner_count);
}

static uint16_t add_table(struct building *b, struct placement_rule *rule, const char *keyspace)
{
	struct ring *ring = b->ring;
	const uint32_t width = row_width(b, rule);
	const uint64_t size = (uint64_t)ring->token_count * width * sizeof(uint16_t);
	struct ring_table *table;
	uint16_t *rows = NULL;

	if (ring->memory + size <= RING_MAX_MEMORY && ring->table_count < RING_NO_TABLE)
		rows = calloc((size_t)ring->token_count * width, sizeof(*rows));
	if (!rows) {
		log_limited(LOG_WARN,
			    "%s: no memory for the replicas of keyspace %s: those of all keyspaces may take %u MiB; "
			    "its requests are not token-aware",
			    cluster_id_name(b->id), keyspace, RING_MAX_MEMORY >> 20);
		return RING_NO_TABLE;
	}
	ring->memory += size;
	ring->tables = xrealloc(ring->tables, (ring->table_count + 1) * sizeof(*ring->tables));
	table = &ring->tables[ring->table_count];
	*table = (struct ring_table){ .rule = *rule, .width = width, .rows = rows };
	rule->factors = NULL;
	if (table->rule.is_simple)
		fill_simple(b, table);
	else
		fill_network(b, table);
	return (uint16_t)ring->table_count++;
}

static bool rules_equal(const struct placement_rule *a, const struct placement_rule *b)
{
	return a->is_simple == b->is_simple && a->factor_count == b->factor_count &&
	       memcmp(a->factors, b->factors, a->factor_count * sizeof(*a->factors)) == 0;
}

static uint16_t find_table(const struct ring *ring, const struct placement_rule *rule)
{
	for (unsigned i = 0; i < ring->table_count; i++) {
		if (rules_equal(&ring->tables[i].rule, rule))
			return (uint16_t)i;
	}
	return RING_NO_TABLE;
}

/* ---- building: what the keyspaces say ---- */

/* "3", or "3/1": of three one is transient. */
static bool parse_factor(const char *text, struct replication_factor *out)
{
	unsigned long all, transient = 0;
	char *end;

	if (*text < '0' || *text > '9')
		return false;
	all = strtoul(text, &end, 10);
	if (*end == '/' && end[1] >= '0' && end[1] <= '9')
		transient = strtoul(end + 1, &end, 10);
	if (*end != '\0' || all > MAX_FACTOR || transient > all)
		return false;
	*out = (struct replication_factor){ .all = (uint16_t)all, .full = (uint16_t)(all - transient) };
	return true;
}

static const char *find_option(const struct keyspace_replication *k, const char *key)
{
	for (unsigned i = 0; i < k->option_count; i++) {
		if (strcmp(k->options[i].key, key) == 0)
			return k->options[i].value;
	}
	return NULL;
}

static bool read_factor(const struct building *b, const struct keyspace_replication *k, const char *key,
			struct placement_rule *rule)
{
	const char *text = find_option(k, key);
	struct replication_factor rf = { .all = 0 };

	if (text && !parse_factor(text, &rf)) {
		log_limited(LOG_WARN, "%s: keyspace %s has '%s' replicas for %s; its requests are not token-aware",
			    cluster_id_name(b->id), k->keyspace, text, key);
		return false;
	}
	rule->factors[rule->factor_count++] = rf;
	return true;
}

static bool read_network_rule(const struct building *b, const struct keyspace_replication *k,
			      struct placement_rule *rule)
{
	for (unsigned i = 0; i < b->topology->host_count; i++) {
		if (is_first_of_datacenter(b, i) && !read_factor(b, k, b->topology->hosts[i].datacenter, rule))
			return false;
	}
	return true;
}

static bool class_is(const char *class, const char *name)
{
	const char *dot = strrchr(class, '.');

	return strcmp(dot ? dot + 1 : class, name) == 0;
}

/*
 * False for strategies that place nothing by tokens: LocalStrategy (each node
 * has its own rows), EverywhereStrategy (any node will do), and what we do not
 * know.
 */
static bool read_rule(const struct building *b, const struct keyspace_replication *k, struct placement_rule *rule)
{
	if (!k->class)
		return false;
	if (class_is(k->class, "NetworkTopologyStrategy"))
		return read_network_rule(b, k, rule);
	rule->is_simple = class_is(k->class, "SimpleStrategy");
	return rule->is_simple && read_factor(b, k, "replication_factor", rule);
}

static uint16_t table_for(struct building *b, const struct keyspace_replication *k)
{
	/* One per datacenter: as many as there are hosts at most. */
	struct placement_rule rule = {
		.factors = xcalloc(MAX(b->topology->host_count, 1u), sizeof(*rule.factors)),
	};
	uint16_t table = RING_NO_TABLE;

	if (read_rule(b, k, &rule)) {
		table = find_table(b->ring, &rule);
		if (table == RING_NO_TABLE)
			table = add_table(b, &rule, k->keyspace);
	}
	free(rule.factors);
	return table;
}

static int compare_names(const void *a, const void *b)
{
	return strcmp(((const struct ring_keyspace *)a)->name, ((const struct ring_keyspace *)b)->name);
}

static void add_keyspaces(struct building *b)
{
	const struct topology *t = b->topology;
	struct ring *ring = b->ring;

	ring->keyspaces = xcalloc(MAX(t->keyspace_count, 1u), sizeof(*ring->keyspaces));
	for (unsigned i = 0; i < t->keyspace_count; i++) {
		const uint16_t table = table_for(b, &t->keyspaces[i]);

		if (table != RING_NO_TABLE)
			ring->keyspaces[ring->keyspace_count++] =
				(struct ring_keyspace){ xstrdup(t->keyspaces[i].keyspace), table };
	}
	qsort(ring->keyspaces, ring->keyspace_count, sizeof(*ring->keyspaces), compare_names);
}

/* ---- the whole ---- */

static uint32_t next_generation(void)
{
	static _Atomic uint32_t last;
	uint32_t next;

	do {
		next = atomic_fetch_add_explicit(&last, 1, memory_order_relaxed) + 1;
	} while (next == 0);
	return next;
}

static bool read_all_tokens(struct building *b)
{
	const struct topology *t = b->topology;

	if (t->all_count > MAX_HOSTS)
		return false;
	for (unsigned i = 0; i < t->all_count; i++) {
		if (!read_tokens(b, (uint16_t)i))
			return false;
	}
	return true;
}

static void building_init(struct building *b)
{
	const size_t n = MAX(b->topology->all_count, 1u);

	b->ring = xcalloc(1, sizeof(*b->ring));
	b->ring->refs = 1;
	b->datacenter = xcalloc(n, sizeof(*b->datacenter));
	b->rack = xcalloc(n, sizeof(*b->rack));
	b->host_met = xcalloc(n, sizeof(*b->host_met));
	b->rack_met = xcalloc(n, sizeof(*b->rack_met));
	b->after = xcalloc(n + 1, sizeof(*b->after));
	b->before = xcalloc(n + 1, sizeof(*b->before));
}

static void building_fini(struct building *b)
{
	free(b->owned);
	free(b->datacenter);
	free(b->rack);
	free(b->host_met);
	free(b->rack_met);
	free(b->after);
	free(b->before);
}

struct ring *ring_build(const struct topology *t, enum cluster_id id)
{
	struct building b = { .topology = t, .id = id };

	if (!t->partitioner || !strstr(t->partitioner, "Murmur3Partitioner"))
		return NULL;
	building_init(&b);
	if (!read_all_tokens(&b)) {
		log_limited(LOG_WARN,
			    "%s has more than %u tokens or %u nodes; its requests are not token-aware, each goes to "
			    "the less loaded of two nodes",
			    cluster_id_name(id), RING_MAX_TOKENS, MAX_HOSTS);
		b.ring->token_count = 0;
	}
	if (b.ring->token_count == 0) {
		ring_unref(b.ring);
		b.ring = NULL;
	} else {
		sort_tokens(&b);
		make_sections(b.ring);
		number_places(&b);
		add_keyspaces(&b);
		b.ring->generation = next_generation();
	}
	building_fini(&b);
	return b.ring;
}

struct ring *ring_share(struct ring *ring)
{
	if (ring)
		atomic_fetch_add_explicit(&ring->refs, 1, memory_order_relaxed);
	return ring;
}

void ring_unref(struct ring *ring)
{
	if (!ring || atomic_fetch_sub_explicit(&ring->refs, 1, memory_order_acq_rel) != 1)
		return;
	for (unsigned i = 0; i < ring->keyspace_count; i++)
		free(ring->keyspaces[i].name);
	for (unsigned i = 0; i < ring->table_count; i++) {
		free(ring->tables[i].rule.factors);
		free(ring->tables[i].rows);
	}
	free(ring->tables);
	free(ring->keyspaces);
	free(ring->tokens);
	free(ring->sections);
	free(ring);
}
