/*
 * ring_dump.c - answers questions about rings and routing keys, so that they
 * can be compared with a driver's (tests/wire/test_ring.py). Not installed.
 *
 * Commands on standard input, one a line, words apart by one space:
 *
 *   host TIER DATACENTER RACK TOKEN,TOKEN...   in the order of tiers; 255: no request goes there; "-": no tokens
 *   keyspace NAME CLASS [KEY=VALUE ...]
 *   build                                      prints "ring N", the number of hosts that are answers, or "no ring"
 *   replicas KEYSPACE TOKEN                    prints the replicas by their number, or "unknown" for the keyspace
 *   prepared VERSION HEX                       the body of a RESULT: prints "key POSITION ..." or "no key"
 *   execute VERSION HEX                        the body of an EXECUTE of it: prints the token or "no token"
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "cql/routing_key.h"
#include "cql/writer.h"
#include "proxy/ring.h"

#define MAX_LINE (1 << 20)

static struct topology *topology;
static struct ring *ring;
static struct routing_key *key;

static void die(const char *what)
{
	fprintf(stderr, "ring_dump: %s\n", what);
	exit(2);
}

static char *word(void)
{
	char *w = strtok(NULL, " \n");

	if (!w)
		die("a word is missing");
	return w;
}

static void write_tokens(struct writer *w, char *list)
{
	uint32_t count = 0;

	write_int(w, 0);
	for (char *save = NULL, *t = strtok_r(list, ",", &save); t; t = strtok_r(NULL, ",", &save), count++)
		write_bytes(w, t, (uint32_t)strlen(t));
	put_u32(w->data, count);
}

static void add_host(void)
{
	struct host *h;
	struct writer w;
	char *tokens;

	topology->hosts = xrealloc(topology->hosts, (topology->all_count + 1) * sizeof(*h));
	h = &topology->hosts[topology->all_count++];
	*h = (struct host){ .tier = (uint8_t)atoi(word()) };
	topology->local_count += h->tier == 0;
	topology->host_count += h->tier != HOST_TIER_REMOTE;
	h->datacenter = xstrdup(word());
	h->rack = xstrdup(word());
	snprintf(h->name, sizeof(h->name), "host %u", topology->all_count - 1);
	tokens = word();
	if (strcmp(tokens, "-") == 0)
		return;
	writer_init(&w);
	write_tokens(&w, tokens);
	h->values = xcalloc(1, sizeof(*h->values));
	h->value_count = 1;
	h->values[0] = (struct node_value){ .column = xstrdup("tokens"), .value = xmalloc(w.len), .len = w.len };
	memcpy(h->values[0].value, w.data, w.len);
	writer_free(&w);
}

static void add_keyspace(void)
{
	struct keyspace_replication *k;
	char *option;

	topology->keyspaces =
		xrealloc(topology->keyspaces, (topology->keyspace_count + 1) * sizeof(*topology->keyspaces));
	k = &topology->keyspaces[topology->keyspace_count++];
	*k = (struct keyspace_replication){ .keyspace = xstrdup(word()), .class = xstrdup(word()) };
	while ((option = strtok(NULL, " \n"))) {
		char *equals = strchr(option, '=');

		if (!equals)
			die("an option without '='");
		*equals = '\0';
		k->options = xrealloc(k->options, (k->option_count + 1) * sizeof(*k->options));
		k->options[k->option_count++] =
			(struct replication_option){ .key = xstrdup(option), .value = xstrdup(equals + 1) };
	}
}

static void build(void)
{
	topology->version = 4;
	topology->partitioner = xstrdup("org.apache.cassandra.dht.Murmur3Partitioner");
	ring = ring_build(topology, CLUSTER_ORIGIN);
	if (ring)
		printf("ring %u\n", topology->host_count);
	else
		printf("no ring\n");
}

static void print_replicas(void)
{
	const char *keyspace = word();
	const int64_t token = strtoll(word(), NULL, 10);
	const uint16_t *hosts;
	uint16_t table;
	unsigned n;

	if (!ring)
		die("no ring");
	table = ring_table(ring, sv_from(keyspace));
	n = ring_replicas(ring, table, token, &hosts);
	printf("%s", table == RING_NO_TABLE ? "unknown" : "");
	for (unsigned i = 0; i < n; i++)
		printf("%s%u", i ? " " : "", hosts[i]);
	printf("\n");
}

/* A block of exactly the size, so that the address sanitizer sees reads beyond it. */
static uint8_t *read_hex(uint32_t *len)
{
	const char *p = word();
	uint8_t *bytes = xmalloc(strlen(p) / 2 + 1);

	*len = (uint32_t)(strlen(p) / 2);
	for (uint32_t i = 0; i < *len; i++) {
		unsigned byte;

		if (sscanf(p + 2 * i, "%2x", &byte) != 1)
			die("bad hexadecimal");
		bytes[i] = (uint8_t)byte;
	}
	return xrealloc(bytes, *len > 0 ? *len : 1);
}

static void take_prepared(void)
{
	const uint8_t version = (uint8_t)atoi(word());
	struct prepared_message m;
	const char *why;
	uint32_t len;
	uint8_t *body = read_hex(&len);

	if (!message_parse_prepared(body, len, 0, version, &m, &why))
		die(why);
	free(key);
	key = routing_key_new(body, len, &m);
	printf(key ? "key" : "no key");
	for (unsigned i = 0; key && i < key->count; i++)
		printf(" %u", key->columns[i].position);
	printf("\n");
	free(body);
}

static void print_token(void)
{
	const uint8_t version = (uint8_t)atoi(word());
	struct execute_message m;
	const char *why;
	int64_t token;
	uint32_t len;
	uint8_t *body = read_hex(&len);

	if (!message_parse_execute(body, len, 0, version, &m, &why))
		die(why);
	if (key && routing_key_token(key,
				     &(struct bound_values){
					     .body = body,
					     .len = len,
					     .offset = m.params.values_offset,
					     .count = m.params.value_count,
					     .is_by_name = (m.params.flags & QUERY_NAMES_FOR_VALUES) != 0,
				     },
				     &token))
		printf("%" PRId64 "\n", token);
	else
		printf("no token\n");
	free(body);
}

int main(void)
{
	static const struct {
		const char *name;
		void (*run)(void);
	} commands[] = {
		{ "host", add_host },           { "keyspace", add_keyspace },  { "build", build },
		{ "replicas", print_replicas }, { "prepared", take_prepared }, { "execute", print_token },
	};
	char *line = xmalloc(MAX_LINE);

	topology = topology_new();
	while (fgets(line, MAX_LINE, stdin)) {
		const char *name = strtok(line, " \n");
		unsigned i = 0;

		while (name && i < ARRAY_LEN(commands) && strcmp(commands[i].name, name) != 0)
			i++;
		if (!name || i == ARRAY_LEN(commands))
			die("unknown command");
		commands[i].run();
	}
	ring_unref(ring);
	topology_unref(topology);
	free(key);
	free(line);
	return 0;
}
