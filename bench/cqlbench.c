/*
 * cqlbench.c - a fixed number of requests through the proxy, from clients to
 * fake clusters that all live in this one thread and one epoll set: nothing
 * competes with the proxy but this program, and a run can be repeated exactly.
 *
 *   clients --> proxy --> origin, target
 *      \______ this process ______/
 *
 * Every answer is checked: a read has the value of its own key, from origin;
 * both clusters got every write with its right value. A wrong one ends the
 * program with exit status 1, and so does an ERROR in the end.
 *
 * Two ways of pacing:
 *
 *   closed loop   each client has `depth` requests in flight, an answer is
 *                 followed by the next request at once
 *   --lockstep    rounds: each client sends `depth` requests in one write;
 *                 the nodes answer when all that the round must bring has
 *                 arrived at them; the next round begins when all is answered.
 *                 How much the proxy reads at once does then not depend on
 *                 time, so that what it does can be counted (guards.py)
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "arguments.h"
#include "fake_node.h"
#include "template.h"

#define MAX_EVENTS 512
#define MAX_DEPTH 32768
/* The largest value: with it a BATCH still fits into a segment. */
#define VALUE_MAX 12000
/* While the proxy is not there yet. */
#define RETRY_NS 50000000ull

enum step {
	STEP_CONNECT,
	STEP_STARTUP,
	STEP_USE,
	STEP_PREPARE_READ, /* the first client only */
	STEP_PREPARE_WRITE,
	STEP_READY,
};

struct slot {
	uint64_t number;
	uint64_t started_ns;
	bool is_out;
	bool is_write;
};

struct client {
	struct peer peer;
	enum step step;
	struct slot *slots; /* by stream id */
	uint16_t *free;     /* a stack of stream ids */
	unsigned free_count;
};

static struct options {
	const char *proxy, *origin, *target;
	unsigned connections, depth, write_percent, value_len, version, patience_s;
	uint64_t warmup, requests;
	enum form form;
	bool lockstep;
} options = {
	.proxy = "127.0.0.1:14002",
	.origin = "127.0.0.2:9042",
	.target = "127.0.0.3:9042",
	.connections = 1,
	.depth = 1,
	.value_len = 64,
	.version = 4,
	.patience_s = 60,
	.warmup = 1000,
	.requests = 10000,
};

static struct run {
	struct peer_set to_proxy; /* clients */
	struct peer_set to_nodes; /* the nodes' connections */
	struct fake_node origin, target;
	struct net_address proxy;
	struct client *clients;
	unsigned connected; /* clients whose connecting has begun */
	unsigned ready;
	bool is_loading;   /* all are ready */
	uint64_t retry_ns; /* 0: nothing has to be tried again */
	uint64_t progress_ns;
	struct template template[2]; /* read, write */
	uint64_t limit;              /* requests of this phase and those before it */
	uint64_t started, answered, writes, errors;
	uint64_t measure_from_ns;
	uint32_t *latency_ns; /* of the measured requests */
	uint64_t latency_count;
} run;

/* ---- requests ---- */

/* Exactly write_percent of 100 requests in a row, well mixed: 37 has no divisor in common with 100. */
static bool number_is_write(uint64_t number)
{
	return number * 37 % 100 < options.write_percent;
}

static void send_request(struct client *c, uint64_t now)
{
	const uint16_t stream = c->free[--c->free_count];
	struct slot *slot = &c->slots[stream];
	const struct template *t;

	*slot = (struct slot){ .number = run.started++, .started_ns = now, .is_out = true };
	slot->is_write = number_is_write(slot->number);
	run.writes += slot->is_write;
	t = &run.template[slot->is_write];
	template_fill(t, slot->number, peer_frame(&c->peer, (int16_t)stream, t->opcode, t->body.len));
}

/* Every client gets `depth` requests, as far as this phase has so many. */
static void fill(void)
{
	const uint64_t now = clock_ns();

	for (unsigned d = 0; d < options.depth; d++) {
		for (unsigned i = 0; i < options.connections && run.started < run.limit; i++) {
			if (run.clients[i].free_count > 0)
				send_request(&run.clients[i], now);
		}
	}
}

/* ---- answers ---- */

static void check_answer(const struct slot *slot, const struct frame *f)
{
	uint8_t key[KEY_LEN];

	if (f->opcode == OP_ERROR) {
		struct reader r = reader_over(f->body, f->length);
		uint32_t code = read_int(&r);
		struct strview text = read_string(&r);

		if (run.errors++ < 10)
			fprintf(stderr, "cqlbench: request %llu: %s: %.*s\n", (unsigned long long)slot->number,
				cql_error_name(code), SV_ARG(text));
		return;
	}
	key_write(key, slot->number);
	if (f->opcode != OP_RESULT || f->length < 4)
		die("request %llu was answered by %s", (unsigned long long)slot->number, cql_opcode_name(f->opcode));
	if (slot->is_write) {
		if (f->length != 4 || get_u32(f->body) != RESULT_VOID)
			die("the write %llu got another request's answer", (unsigned long long)slot->number);
	} else if (f->length != 20 + options.value_len || get_u32(f->body) != RESULT_ROWS ||
		   !value_is(f->body + 20, f->length - 20, key, run.origin.mark)) {
		die("the read %llu got another request's answer, or the wrong cluster's",
		    (unsigned long long)slot->number);
	}
}

static void on_answer(struct client *c, const struct frame *f)
{
	struct slot *slot;
	uint64_t now;

	if (f->stream < 0 || (unsigned)f->stream >= options.depth || !c->slots[f->stream].is_out)
		die("an answer on stream %d, which no request waits for", f->stream);
	slot = &c->slots[f->stream];
	check_answer(slot, f);
	now = clock_ns();
	if (run.measure_from_ns)
		run.latency_ns[run.latency_count++] = (uint32_t)MIN(now - slot->started_ns, UINT32_MAX);
	slot->is_out = false;
	c->free[c->free_count++] = (uint16_t)f->stream;
	run.answered++;
	run.progress_ns = now;
	if (!options.lockstep && run.started < run.limit)
		send_request(c, now);
}

/* ---- coming up ---- */

static void send_text(struct client *c, uint8_t opcode, const char *text)
{
	struct writer w;

	writer_init(&w);
	write_long_string(&w, sv_from(text));
	if (opcode == OP_QUERY)
		write_short(&w, CL_ONE);
	/* Flags: QUERY has them in every version, PREPARE since v5. */
	if (options.version >= 5)
		write_int(&w, 0);
	else if (opcode == OP_QUERY)
		write_byte(&w, 0);
	peer_send(&c->peer, 0, opcode, w.data, w.len);
	writer_free(&w);
}

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

static void on_prepared(bool is_write, const struct frame *f)
{
	struct reader r = reader_over(f->body, f->length);
	struct prepared_ids ids = { .metadata_id = { .is_null = true } };

	if (read_int(&r) != RESULT_PREPARED)
		die("PREPARE was not answered by PREPARED");
	ids.id = read_short_bytes(&r);
	if (options.version >= 5)
		ids.metadata_id = read_short_bytes(&r);
	if (!reader_ok(&r))
		die("PREPARED cannot be read");
	template_make(&run.template[is_write], options.form, is_write, &ids, (uint8_t)options.version,
		      options.value_len);
}

static void client_is_ready(struct client *c)
{
	c->step = STEP_READY;
	run.ready++;
	if (run.ready == options.connections)
		fprintf(stderr, "cqlbench: %u clients are ready\n", run.ready);
}

static void expect(const struct client *c, const struct frame *f, uint8_t opcode)
{
	struct reader r = reader_over(f->body, f->length);
	struct strview text;

	if (f->opcode == opcode)
		return;
	if (f->opcode != OP_ERROR)
		die("step %d: %s instead of %s", (int)c->step, cql_opcode_name(f->opcode), cql_opcode_name(opcode));
	read_int(&r);
	text = read_string(&r);
	die("step %d: an error: %.*s", (int)c->step, SV_ARG(text));
}

/* The next step of a connection that is not ready. */
static void on_step(struct client *c, const struct frame *f)
{
	expect(c, f, c->step == STEP_STARTUP ? OP_READY : OP_RESULT);
	switch (c->step) {
	case STEP_STARTUP:
		if (options.version >= 5)
			peer_use_segments(&c->peer);
		send_text(c, OP_QUERY, "USE ks");
		c->step = STEP_USE;
		break;
	case STEP_USE:
		if (f->length < 4 || get_u32(f->body) != RESULT_SET_KEYSPACE)
			die("USE was not answered by SET_KEYSPACE");
		if (c != run.clients) {
			client_is_ready(c);
			break;
		}
		send_text(c, OP_PREPARE, TEXT_READ);
		c->step = STEP_PREPARE_READ;
		break;
	case STEP_PREPARE_READ:
		on_prepared(false, f);
		send_text(c, OP_PREPARE, TEXT_WRITE);
		c->step = STEP_PREPARE_WRITE;
		break;
	case STEP_PREPARE_WRITE:
		on_prepared(true, f);
		client_is_ready(c);
		break;
	case STEP_CONNECT:
	case STEP_READY:
		break;
	}
}

static void on_frame(struct peer *p, const struct frame *f)
{
	struct client *c = container_of(p, struct client, peer);

	if (f->version != options.version)
		die("a frame of version %u", f->version);
	if (c->step == STEP_READY)
		on_answer(c, f);
	else
		on_step(c, f);
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
	if (!peer_connect(&c->peer, &run.to_proxy, &client_handler, &run.proxy, (uint8_t)options.version))
		run.retry_ns = clock_ns() + RETRY_NS;
}

/* One after the other; the proxy may not listen yet. */
static void connect_next(void)
{
	struct client *c = &run.clients[run.connected];

	c->slots = xcalloc(options.depth, sizeof(*c->slots));
	c->free = xcalloc(options.depth, sizeof(*c->free));
	for (unsigned i = options.depth; i > 0; i--)
		c->free[c->free_count++] = (uint16_t)(i - 1);
	run.connected++;
	connect_client(c);
}

static void come_up(void)
{
	if (run.retry_ns && clock_ns() >= run.retry_ns) {
		run.retry_ns = 0;
		connect_client(&run.clients[run.connected - 1]);
	}
	if (run.ready == run.connected && run.connected < options.connections) {
		connect_next();
		run.progress_ns = clock_ns();
	}
	run.is_loading = run.ready == options.connections;
}

/* ---- the run ---- */

/* Nothing is in flight: begins the next phase or round. False when all is done. */
static bool go_on(void)
{
	if (run.started == run.limit && run.measure_from_ns)
		return false;
	if (run.started == run.limit) {
		run.limit += run.limit == 0 ? options.warmup : options.requests;
		if (run.limit > options.warmup)
			run.measure_from_ns = clock_ns();
	}
	fill();
	return true;
}

/* Lock step: something that this round has sent has not arrived at the clusters. */
static bool nodes_wait(void)
{
	const uint64_t due = run.started + run.writes; /* a read goes to one cluster, a write to both */

	return options.lockstep && run.origin.reads + run.origin.writes + run.target.reads + run.target.writes < due;
}

static void turn(void)
{
	struct epoll_event events[MAX_EVENTS];
	int n = epoll_wait(run.to_proxy.epoll_fd, events, MAX_EVENTS, run.is_loading ? 1000 : 20);

	for (int i = 0; i < n; i++) {
		struct source *source = events[i].data.ptr;

		source->on_events(source, events[i].events);
	}
	if (clock_ns() > run.progress_ns + options.patience_s * 1000000000ull)
		die("%s for %u s", run.is_loading ? "no answer" : "the proxy does not come up", options.patience_s);
}

static void flush(void)
{
	peer_set_flush(&run.to_proxy);
	if (!nodes_wait())
		peer_set_flush(&run.to_nodes);
}

/* Returns when the last measured request has been answered. */
static void load(void)
{
	run.progress_ns = clock_ns();
	for (;;) {
		if (!run.is_loading)
			come_up();
		if (run.is_loading && run.answered == run.started && !go_on())
			return;
		flush();
		turn();
	}
}

static void check_clusters(void)
{
	const uint64_t reads = run.started - run.writes;

	if (run.origin.reads != reads || run.target.reads != 0)
		die("%llu reads were sent; origin got %llu, target %llu", (unsigned long long)reads,
		    (unsigned long long)run.origin.reads, (unsigned long long)run.target.reads);
	if (run.origin.writes != run.writes || run.target.writes != run.writes)
		die("%llu writes were sent; origin got %llu, target %llu", (unsigned long long)run.writes,
		    (unsigned long long)run.origin.writes, (unsigned long long)run.target.writes);
}

static int compare_u32(const void *a, const void *b)
{
	const uint32_t x = *(const uint32_t *)a;
	const uint32_t y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static double quantile_us(double q)
{
	return run.latency_ns[(uint64_t)(q * (double)(run.latency_count - 1))] / 1e3;
}

static void print_results(void)
{
	const double seconds = (double)(clock_ns() - run.measure_from_ns) / 1e9;

	qsort(run.latency_ns, run.latency_count, sizeof(*run.latency_ns), compare_u32);
	printf("requests=%llu\n", (unsigned long long)options.requests);
	printf("errors=%llu\n", (unsigned long long)run.errors);
	printf("seconds=%.3f\n", seconds);
	printf("rate=%.0f\n", (double)options.requests / seconds);
	printf("p50_us=%.0f\n", quantile_us(0.5));
	printf("p99_us=%.0f\n", quantile_us(0.99));
}

/* ---- options ---- */

static const char usage[] =
	"usage: cqlbench [OPTIONS]\n"
	"Starts two fake clusters, waits for a proxy in front of them and sends it requests.\n"
	"  --proxy ADDRESS:PORT       where the proxy listens or will listen (127.0.0.1:14002)\n"
	"  --origin ADDRESS:PORT      where to be origin (127.0.0.2:9042)\n"
	"  --target ADDRESS:PORT      where to be target (127.0.0.3:9042)\n"
	"  --requests N               measured (10000)\n"
	"  --warmup N                 before that (1000)\n"
	"  --connections N            (1)\n"
	"  --depth N                  requests in flight on each (1)\n"
	"  --write-percent N          (0)\n"
	"  --value-size N             bytes (64)\n"
	"  --protocol 3|4|5           (4)\n"
	"  --form prepared|simple|batch   batch: a write is a BATCH of 10 (prepared)\n"
	"  --lockstep                 in rounds, so that the run can be repeated exactly\n"
	"  --patience SECONDS         without an answer, or until the proxy is up (60)\n"
	"Prints a line when the clusters listen, then NAME=VALUE lines. Exit status 1 when any answer was wrong.\n";

static enum form form_option(const char *text)
{
	static const char *const names[] = { "prepared", "simple", "batch" };

	for (unsigned i = 0; i < ARRAY_LEN(names); i++) {
		if (strcmp(text, names[i]) == 0)
			return (enum form)i;
	}
	die("--form %s: prepared, simple or batch is needed", text);
}

static const struct option long_options[] = {
	{ "proxy", required_argument, NULL, 'p' },
	{ "origin", required_argument, NULL, 'o' },
	{ "target", required_argument, NULL, 't' },
	{ "requests", required_argument, NULL, 'n' },
	{ "warmup", required_argument, NULL, 'w' },
	{ "connections", required_argument, NULL, 'c' },
	{ "depth", required_argument, NULL, 'd' },
	{ "write-percent", required_argument, NULL, 'W' },
	{ "value-size", required_argument, NULL, 'v' },
	{ "protocol", required_argument, NULL, 'V' },
	{ "form", required_argument, NULL, 'f' },
	{ "lockstep", no_argument, NULL, 'l' },
	{ "patience", required_argument, NULL, 'P' },
	{ "help", no_argument, NULL, 'h' },
	{ NULL, 0, NULL, 0 },
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
	case 'n':
		options.requests = arguments_number(name, optarg, 1, 100000000);
		break;
	case 'w':
		options.warmup = arguments_number(name, optarg, 1, 100000000);
		break;
	case 'c':
		options.connections = (unsigned)arguments_number(name, optarg, 1, 5000);
		break;
	case 'd':
		options.depth = (unsigned)arguments_number(name, optarg, 1, MAX_DEPTH);
		break;
	case 'W':
		options.write_percent = (unsigned)arguments_number(name, optarg, 0, 100);
		break;
	case 'v':
		options.value_len = (unsigned)arguments_number(name, optarg, VALUE_MIN, VALUE_MAX);
		break;
	case 'V':
		options.version = (unsigned)arguments_number(name, optarg, 3, 5);
		break;
	case 'f':
		options.form = form_option(optarg);
		break;
	case 'l':
		options.lockstep = true;
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

static void listen_as(struct fake_node *node, char mark, const char *name, const char *where)
{
	*node = (struct fake_node){
		.mark = mark,
		.name = name,
		.set = &run.to_nodes,
		.max_version = (uint8_t)options.version,
		.value_len = options.value_len,
	};
	arguments_listen(node, where);
}

int main(int argc, char **argv)
{
	int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	int index = 0;
	int key;

	while ((key = getopt_long(argc, argv, "", long_options, &index)) != -1)
		take_option(key, long_options[index].name);
	if (optind < argc)
		die("%s: no argument is expected", argv[optind]);
	peer_set_init(&run.to_proxy, epoll_fd);
	peer_set_init(&run.to_nodes, epoll_fd);
	run.proxy = arguments_proxy(options.proxy);
	run.clients = xcalloc(options.connections, sizeof(*run.clients));
	run.latency_ns = xcalloc(options.requests, sizeof(*run.latency_ns));
	listen_as(&run.origin, 'o', "origin", options.origin);
	listen_as(&run.target, 't', "target", options.target);
	printf("listening origin=%s target=%s\n", options.origin, options.target);
	fflush(stdout);
	load();
	print_results();
	check_clusters();
	return run.errors > 0;
}
