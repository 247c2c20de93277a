/*
 * lua_hooks.c - what a hook of a script costs, by what it calls: nanoseconds
 * of one question that policy.c asks the engine for each request (ops->decide).
 *
 *   bench/lua_hooks [CALLS [TEXT]]     calls of each row, 2000000 by default; only rows with this text
 *
 * The first row is a hook that does nothing; the others say in the last column
 * what they cost above it. The best of fifty rounds counts, so that other
 * programs of the machine do not.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/loop.h"
#include "policy/lua_engine.h"
#include "proxy/counters.h"

#define ROUNDS 50

static const struct {
	const char *name;
	const char *options;
	const char *body;
} rows[] = {
	{ "nothing", "", "" },
	{ "not asked: users", "users = 'bob'", "" },
	{ "return \"target\"", "", "return 'target'" },
	{ "return a route of proxy.route{}", "", "return route" },
	{ "req:kind()", "", "local v = req:kind()" },
	{ "req:verb()", "", "local v = req:verb()" },
	{ "req:keyspace()", "", "local v = req:keyspace()" },
	{ "req:table()", "", "local v = req:table()" },
	{ "routes[req:keyspace()]", "", "return routes[req:keyspace()]" },
	{ "set[req:keyspace() .. \".\" .. req:table()]", "",
	  "if set[req:keyspace() .. '.' .. req:table()] then return 'target' end" },
	{ "for name in req:tables()", "", "for name in req:tables() do local v = set[name] end" },
	{ "req:opcode()", "", "local v = req:opcode()" },
	{ "req:consistency()", "", "local v = req:consistency()" },
	{ "req:is_prepared()", "", "local v = req:is_prepared()" },
	{ "req:size()", "", "local v = req:size()" },
	{ "req:user()", "", "local v = req:user()" },
	{ "req:client_addr()", "", "local v = req:client_addr()" },
	{ "req:client_bucket(1000)", "", "local v = req:client_bucket(1000)" },
	{ "req:key_bucket(1000)", "", "local v = req:key_bucket(1000)" },
	{ "req:key_bucket(1000) < 50 and route", "", "if req:key_bucket(1000) < 50 then return route end" },
	{ "proxy.time()", "", "local v = proxy.time()" },
	{ "proxy.rate(\"key\", 1e9)", "", "local v = proxy.rate('key', 1e9)" },
	{ "counter:inc()", "", "counter:inc()" },
	{ "string.match(user, \"^a\")", "", "local v = req:user():match('^a')" },
	{ "req:deny(code, \"text\")", "", "return req:deny('unauthorized', 'no')" },
	{ "req:deny(code, \"%s is frozen\", table)", "",
	  "return req:deny('unauthorized', '%s is frozen', req:table())" },
	{ "error(\"oh\")", "", "error('oh')" },
};

/* A prepared statement's partition key is hashed before, for the choice of a node: here it costs nothing. */
static bool token_of(void *arg, int64_t *token)
{
	int64_t *next = arg;

	*token = (*next += 0x1234567);
	return true;
}

static struct policy_engine *load(struct proxy *proxy, struct settings *settings, unsigned row)
{
	char path[] = "/tmp/lua_hooks-XXXXXX", error[1024];
	char *scripts[] = { path };
	struct policy_engine *engine = NULL;
	const int fd = mkstemp(path);
	FILE *f = fd < 0 ? NULL : fdopen(fd, "w");

	if (!f)
		return NULL;
	fprintf(f,
		"local route = proxy.route{ to = 'target', tag = 'canary' }\n"
		"local routes = { ks = 'target', other = 'origin' }\n"
		"local set = proxy.set{ 'ks.orders', 'ks.items', 'shop.carts' }\n"
		"local counter = proxy.counter('c')\n"
		"proxy.on_request('hook', { %s }, function(req) %s end)\n",
		rows[row].options, rows[row].body);
	fclose(f);
	settings->lua.scripts = (struct string_list){ .items = scripts, .count = 1 };
	if (!lua_engine_new(proxy, settings, 0, &engine, error, sizeof(error)))
		fprintf(stderr, "%s: %s\n", rows[row].name, error);
	unlink(path);
	return engine;
}

/* Nanoseconds of a call. */
static double measure(struct policy_engine *engine, const struct policy_question *q, struct loop *loop, unsigned calls)
{
	const uint64_t begin = loop_clock_ns();
	struct policy_opinion opinion;

	for (unsigned i = 0; i < calls; i++) {
		/* A worker looks at the clock once in a turn of its loop, which has some requests. */
		if (i % 16 == 0)
			loop->now_ns = 0;
		engine->ops->decide(engine, q, 1, &opinion);
	}
	return (double)(loop_clock_ns() - begin) / calls;
}

static void set_name(struct statement_name *n, const char *text)
{
	n->len = (uint8_t)strlen(text);
	memcpy(n->text, text, n->len);
}

int main(int argc, char **argv)
{
	const unsigned calls = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 2000000;
	static struct proxy proxy;
	static struct settings settings;
	static struct statement_tables tables;
	struct policy_client client = { SV("ann"), SV("10.0.0.1"), SV("a driver"), SV("4.2") };
	struct policy_question q = { .kind = POLICY_READ, .verb = STATEMENT_SELECT, .tables = &tables };
	int64_t token = 0;
	struct policy_engine *engines[ARRAY_LEN(rows)] = { NULL };
	double best[ARRAY_LEN(rows)];
	struct loop loop;

	if (calls < ROUNDS || !loop_init(&loop, 1000)) {
		fprintf(stderr, "usage: lua_hooks [CALLS [TEXT]]\n");
		return 2;
	}
	log_set_level(LOG_ERROR);
	proxy.counters = counters_new(1);
	settings.lua.time_limit_us = 2000;
	settings.lua.memory_limit = 32u << 20;
	tables.count = 1;
	set_name(&tables.items[0].keyspace, "ks");
	set_name(&tables.items[0].table, "orders");
	q.opcode = OP_EXECUTE;
	q.is_prepared = true;
	q.consistency = CL_LOCAL_QUORUM;
	q.size = 100;
	q.client = &client;
	q.token = token_of;
	q.arg = &token;
	for (unsigned row = 0; row < ARRAY_LEN(rows); row++) {
		if (row > 0 && argc > 2 && !strstr(rows[row].name, argv[2]))
			continue;
		engines[row] = load(&proxy, &settings, row);
		if (!engines[row])
			return 1;
		engines[row]->ops->start(engines[row], &loop);
	}
	/* All rows in each round, so that a busy moment of the machine does not fall on one of them. */
	for (unsigned round = 0; round < ROUNDS; round++) {
		for (unsigned row = 0; row < ARRAY_LEN(rows); row++) {
			const double ns = engines[row] ? measure(engines[row], &q, &loop, calls / ROUNDS) : 0;

			best[row] = round == 0 ? ns : MIN(best[row], ns);
		}
	}
	printf("%-44s %8s %8s\n", "a hook with", "ns", "above");
	for (unsigned row = 0; row < ARRAY_LEN(rows); row++) {
		if (!engines[row])
			continue;
		printf("%-44s %8.1f %8.1f\n", rows[row].name, best[row], best[row] - best[0]);
		engines[row]->ops->stop(engines[row]);
		engines[row]->ops->free(engines[row]);
	}
	counters_free(proxy.counters);
	loop_fini(&loop);
	return 0;
}
