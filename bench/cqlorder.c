/*
 * cqlorder.c - dependent writes through a proxy with timestamps = add: each
 * waits for the answer to the one before, and goes out on another connection,
 * so on another worker. No write may lose against an earlier one.
 *
 * The writes form chains, which run side by side; write number s of chain k
 * goes out on connection (k + s) modulo their number. The two fake clusters of
 * this process keep for each key the write with the largest timestamp, as
 * Cassandra does, and look at each write that comes:
 *
 *   it is the chain's next one                                   none is lost on the way
 *   its timestamp is larger than that of the one before          or it would be lost in the cluster
 *   ... and than those of all writes that were answered before it was sent, of any chain
 *   both clusters have the same timestamp for it                 seen when it is answered
 *
 * Every second write of a chain is a QUERY, the others are EXECUTEs.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "arguments.h"
#include "cql/message.h"
#include "fake_node.h"

#define MAX_EVENTS 256
#define MAX_CHAINS 4096
#define MAX_CONNECTIONS 64
/* While the proxy is not there yet. */
#define RETRY_NS 50000000ull
/* A value: the key, the mark, the number of the write, the mark. */
#define NUMBER_LEN 16
#define VALUE_LEN (KEY_LEN + 1 + NUMBER_LEN + 1)

/* What a cluster has for the key of a chain. */
struct cell {
	uint64_t number; /* of the write that has won */
	int64_t timestamp;
	uint64_t received; /* writes that have come */
};

struct chain {
	uint64_t sent;    /* writes */
	int64_t answered; /* the largest timestamp that was answered when the last of them was sent */
	struct cell cell[2];
};

enum step {
	STEP_CONNECT,
	STEP_STARTUP,
	STEP_PREPARE, /* the first connection only */
	STEP_READY,
};

struct client {
	struct peer peer;
	enum step step;
};

static struct options {
	const char *proxy, *origin, *target;
	unsigned chains, connections, patience_s, seconds;
	uint64_t writes;
} options = {
	.proxy = "127.0.0.1:14002",
	.origin = "127.0.0.2:9042",
	.target = "127.0.0.3:9042",
	.chains = 64,
	.connections = 8,
	.patience_s = 20,
	.seconds = 60,
	.writes = 1000000,
};

static struct run {
	struct peer_set set;
	struct fake_node node[2];
	struct net_address proxy;
	struct client clients[MAX_CONNECTIONS];
	struct chain chains[MAX_CHAINS];
	unsigned connected, ready;
	uint64_t retry_ns, progress_ns, began_ns;
	uint8_t id[64]; /* of the statement, as the proxy names it */
	uint16_t id_len;
	int64_t answered; /* the largest timestamp of an answered write */
	uint64_t sent, done, lost;
	bool is_over; /* no time is left for more */
} run;

/* ---- the clusters ---- */

static uint64_t number_read(const uint8_t *digits)
{
	char text[NUMBER_LEN + 1];

	memcpy(text, digits, NUMBER_LEN);
	text[NUMBER_LEN] = '\0';
	return strtoull(text, NULL, 16);
}

/* The value of a write as it has come, and its parameters; the key is its start. */
static const uint8_t *write_parse(const struct frame *f, struct query_params *params)
{
	struct execute_message execute;
	struct query_message query;
	struct bytesview value;
	struct strview name;
	const char *why = "value";

	if (f->opcode == OP_EXECUTE) {
		if (!message_parse_execute(f->body, f->length, 0, f->version, &execute, &why) ||
		    !message_value(f->body, f->length, &execute.params, 1, &name, &value) || value.len != VALUE_LEN)
			die("an EXECUTE cannot be read: %s", why);
		*params = execute.params;
		return value.p;
	}
	if (!message_parse_query(f->body, f->length, 0, f->version, &query, &why) || query.text.len < VALUE_LEN + 2)
		die("a QUERY cannot be read: %s", why);
	*params = query.params;
	return (const uint8_t *)query.text.p + query.text.len - 2 - VALUE_LEN;
}

static void lose(const struct fake_node *node, uint64_t chain, uint64_t number, const char *what)
{
	if (run.lost++ < 10)
		fprintf(stderr, "cqlorder: %s: write %llu of chain %llu %s\n", node->name, (unsigned long long)number,
			(unsigned long long)chain, what);
}

static void on_write(struct fake_node *node, const struct frame *f)
{
	struct query_params params;
	const uint8_t *value = write_parse(f, &params);
	const uint64_t k = number_read(value);
	const uint64_t number = number_read(value + KEY_LEN + 1);
	const int64_t timestamp = (int64_t)params.timestamp;
	struct cell *cell;

	if (k >= options.chains)
		die("%s: chain %llu", node->name, (unsigned long long)k);
	cell = &run.chains[k].cell[node - run.node];
	if (!params.has_timestamp)
		die("%s: a write came without a timestamp", node->name);
	if (number != ++cell->received)
		die("%s: write %llu of chain %llu came as number %llu", node->name, (unsigned long long)number,
		    (unsigned long long)k, (unsigned long long)cell->received);
	if (timestamp <= run.chains[k].answered)
		lose(node, k, number, "is not newer than all that was answered before it");
	if (timestamp > cell->timestamp)
		*cell = (struct cell){ .number = number, .timestamp = timestamp, .received = cell->received };
	else
		lose(node, k, number, "loses against an earlier one");
}

/* ---- writing ---- */

static void write_value(struct writer *w, uint64_t k, uint64_t number)
{
	uint8_t value[VALUE_LEN];

	key_write(value, k);
	value[KEY_LEN] = MARK_WRITTEN;
	key_write(value + KEY_LEN + 1, number);
	value[VALUE_LEN - 1] = MARK_WRITTEN;
	write_raw(w, value, VALUE_LEN);
}

static void send_query(struct client *c, uint64_t k, uint64_t number)
{
	uint8_t key[KEY_LEN];
	struct writer w;

	key_write(key, k);
	writer_init(&w);
	write_int(&w, 0);
	write_raw(&w, "INSERT INTO ks.t (k, v) VALUES ('", 33);
	write_raw(&w, key, KEY_LEN);
	write_raw(&w, "', '", 4);
	write_value(&w, k, number);
	write_raw(&w, "')", 2);
	put_u32(w.data, w.len - 4);
	write_short(&w, CL_ONE);
	write_byte(&w, 0); /* flags */
	peer_send(&c->peer, (int16_t)k, OP_QUERY, w.data, w.len);
	writer_free(&w);
}

static void send_execute(struct client *c, uint64_t k, uint64_t number)
{
	uint8_t key[KEY_LEN];
	struct writer w;

	key_write(key, k);
	writer_init(&w);
	write_short_bytes(&w, run.id, run.id_len);
	write_short(&w, CL_ONE);
	write_byte(&w, QUERY_VALUES);
	write_short(&w, 2);
	write_bytes(&w, key, KEY_LEN);
	write_int(&w, VALUE_LEN);
	write_value(&w, k, number);
	peer_send(&c->peer, (int16_t)k, OP_EXECUTE, w.data, w.len);
	writer_free(&w);
}

static void send_next(uint64_t k)
{
	struct chain *chain = &run.chains[k];
	const uint64_t number = ++chain->sent;
	struct client *c = &run.clients[(k + number) % options.connections];

	chain->answered = run.answered;
	run.sent++;
	if (number % 2)
		send_query(c, k, number);
	else
		send_execute(c, k, number);
}

static void on_answer(const struct frame *f)
{
	const struct chain *chain = &run.chains[f->stream];
	const struct cell *origin = &chain->cell[0];
	const struct cell *target = &chain->cell[1];

	if (f->opcode != OP_RESULT || f->length != 4 || get_u32(f->body) != RESULT_VOID)
		die("a write was answered by %s", cql_opcode_name(f->opcode));
	if (origin->received != chain->sent || target->received != chain->sent)
		die("write %llu was answered before both clusters had it", (unsigned long long)chain->sent);
	if (origin->timestamp != target->timestamp)
		die("the clusters have different timestamps: %lld and %lld", (long long)origin->timestamp,
		    (long long)target->timestamp);
	run.answered = MAX(run.answered, origin->timestamp);
	run.done++;
	run.progress_ns = clock_ns();
	run.is_over |= run.progress_ns - run.began_ns > options.seconds * 1000000000ull;
	if (run.sent < options.writes && !run.is_over)
		send_next((uint64_t)f->stream);
}

/* ---- coming up ---- */

static void on_open(struct peer *p)
{
	struct client *c = container_of(p, struct client, peer);
	struct writer w;

	writer_init(&w);
	write_short(&w, 1);
	write_cstring(&w, "CQL_VERSION");
	write_cstring(&w, "3.0.0");
	peer_send(p, 0, OP_STARTUP, w.data, w.len);
	writer_free(&w);
	c->step = STEP_STARTUP;
}

static void send_prepare(struct client *c)
{
	struct writer w;

	writer_init(&w);
	write_long_string(&w, SV(TEXT_WRITE));
	peer_send(&c->peer, 0, OP_PREPARE, w.data, w.len);
	writer_free(&w);
	c->step = STEP_PREPARE;
}

static void on_prepared(const struct frame *f)
{
	struct reader r = reader_over(f->body, f->length);
	const uint32_t kind = read_int(&r);
	struct bytesview id = read_short_bytes(&r);

	if (f->opcode != OP_RESULT || kind != RESULT_PREPARED || !reader_ok(&r) || id.len > sizeof(run.id))
		die("PREPARE was answered by %s", cql_opcode_name(f->opcode));
	memcpy(run.id, id.p, id.len);
	run.id_len = (uint16_t)id.len;
}

static void on_frame(struct peer *p, const struct frame *f)
{
	struct client *c = container_of(p, struct client, peer);

	if (c->step == STEP_READY) {
		on_answer(f);
		return;
	}
	if (c->step == STEP_STARTUP && f->opcode != OP_READY)
		die("STARTUP was answered by %s", cql_opcode_name(f->opcode));
	if (c->step == STEP_STARTUP && c == run.clients) {
		send_prepare(c);
		return;
	}
	if (c->step == STEP_PREPARE)
		on_prepared(f);
	c->step = STEP_READY;
	run.ready++;
}

static void on_closed(struct peer *p, const char *why)
{
	struct client *c = container_of(p, struct client, peer);

	if (c->step != STEP_CONNECT)
		die("the proxy closed a connection: %s", why);
	run.retry_ns = clock_ns() + RETRY_NS;
}

static const struct peer_handler client_handler = { on_open, on_frame, on_closed };

static void connect_client(struct client *c)
{
	if (!peer_connect(&c->peer, &run.set, &client_handler, &run.proxy, 4))
		run.retry_ns = clock_ns() + RETRY_NS;
}

/* One after the other; the proxy may not listen yet. True when all are ready. */
static bool come_up(void)
{
	if (run.retry_ns && clock_ns() >= run.retry_ns) {
		run.retry_ns = 0;
		connect_client(&run.clients[run.connected - 1]);
	}
	if (run.ready == run.connected && run.connected < options.connections) {
		run.progress_ns = clock_ns();
		connect_client(&run.clients[run.connected++]);
	}
	return run.ready == options.connections;
}

/* ---- the run ---- */

static void turn(void)
{
	struct epoll_event events[MAX_EVENTS];
	int n;

	peer_set_flush(&run.set);
	n = epoll_wait(run.set.epoll_fd, events, MAX_EVENTS, 20);
	for (int i = 0; i < n; i++) {
		struct source *source = events[i].data.ptr;

		source->on_events(source, events[i].events);
	}
	if (clock_ns() > run.progress_ns + options.patience_s * 1000000000ull)
		die("nothing has happened for %u s", options.patience_s);
}

static void check_end(void)
{
	for (uint64_t k = 0; k < options.chains; k++) {
		for (unsigned i = 0; i < 2; i++) {
			const struct cell *cell = &run.chains[k].cell[i];

			if (cell->number != run.chains[k].sent)
				lose(&run.node[i], k, run.chains[k].sent, "is not what the cluster has in the end");
		}
	}
}

/* ---- options ---- */

static const char usage[] = "usage: cqlorder [OPTIONS]\n"
			    "Starts two fake clusters, waits for a proxy with timestamps = add in front of them, and\n"
			    "sends writes that depend on each other over all its workers.\n"
			    "  --proxy ADDRESS:PORT       where the proxy listens or will listen (127.0.0.1:14002)\n"
			    "  --origin ADDRESS:PORT      where to be origin (127.0.0.2:9042)\n"
			    "  --target ADDRESS:PORT      where to be target (127.0.0.3:9042)\n"
			    "  --writes N                 in all chains together (1000000)\n"
			    "  --chains N                 (64)\n"
			    "  --connections N            (8)\n"
			    "  --seconds N                no new writes after this time (60)\n"
			    "  --patience SECONDS         without an answer, or until the proxy is up (20)\n"
			    "Prints NAME=VALUE lines. Exit status 1 when a write was lost or answered wrongly.\n";

static const struct option long_options[] = {
	{ "proxy", required_argument, NULL, 'p' },   { "origin", required_argument, NULL, 'o' },
	{ "target", required_argument, NULL, 't' },  { "writes", required_argument, NULL, 'w' },
	{ "chains", required_argument, NULL, 'k' },  { "connections", required_argument, NULL, 'c' },
	{ "seconds", required_argument, NULL, 's' }, { "patience", required_argument, NULL, 'P' },
	{ "help", no_argument, NULL, 'h' },          { NULL, 0, NULL, 0 },
};

static void take_option(int key, const char *name)
{
	switch (key) {
	case 'p':
		options.proxy = optarg;
		break;
	case 'o':
		options.origin = optarg;
		break;
	case 't':
		options.target = optarg;
		break;
	case 'w':
		options.writes = arguments_number(name, optarg, 1, 1000000000);
		break;
	case 'k':
		options.chains = (unsigned)arguments_number(name, optarg, 1, MAX_CHAINS);
		break;
	case 'c':
		options.connections = (unsigned)arguments_number(name, optarg, 1, MAX_CONNECTIONS);
		break;
	case 's':
		options.seconds = (unsigned)arguments_number(name, optarg, 1, 3600);
		break;
	case 'P':
		options.patience_s = (unsigned)arguments_number(name, optarg, 1, 3600);
		break;
	case 'h':
		fputs(usage, stdout);
		exit(0);
	default:
		fputs(usage, stderr);
		exit(2);
	}
}

static void node_init(struct fake_node *node, const char *name, const char *where)
{
	node->mark = name[0];
	node->name = name;
	node->set = &run.set;
	node->max_version = 4;
	node->value_len = VALUE_LEN;
	node->on_write = on_write;
	arguments_listen(node, where);
}

int main(int argc, char **argv)
{
	int index;

	for (int c; (c = getopt_long(argc, argv, "", long_options, &index)) != -1;)
		take_option(c, c == '?' ? "" : long_options[index].name);
	if (optind < argc)
		die("%s: no argument is expected", argv[optind]);
	peer_set_init(&run.set, epoll_create1(EPOLL_CLOEXEC));
	node_init(&run.node[0], "origin", options.origin);
	node_init(&run.node[1], "target", options.target);
	run.proxy = arguments_proxy(options.proxy);
	fprintf(stderr, "cqlorder: the clusters listen\n");

	run.progress_ns = clock_ns();
	while (!come_up())
		turn();
	run.began_ns = clock_ns();
	for (uint64_t k = 0; k < options.chains && run.sent < options.writes; k++)
		send_next(k);
	while (run.done < run.sent)
		turn();
	check_end();
	printf("writes=%llu\n", (unsigned long long)run.done);
	printf("seconds=%.1f\n", (double)(clock_ns() - run.began_ns) / 1e9);
	printf("lost=%llu\n", (unsigned long long)run.lost);
	return run.lost ? 1 : 0;
}
