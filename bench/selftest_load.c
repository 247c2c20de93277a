/* selftest_load.c - whole runs, through a relay that makes mistakes when it is told to. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "load.h"
#include "relay.h"
#include "selftest.h"

#define MAX_WORDS 32

static struct options options;
static struct load l;

/* As main() does; the relay takes the place of the proxy. */
static void load_through_relay(const struct selftest *self)
{
	static struct relay relay;
	static char command[] = "cqlbench --origin 127.0.0.1:0 --target 127.0.0.1:0";
	char *words[MAX_WORDS + 1];
	int count = 0;
	char *text = xasprintf("%s %s", command, self->options);

	for (char *word = strtok(text, " "); word && count < MAX_WORDS; word = strtok(NULL, " "))
		words[count++] = word;
	words[count] = NULL;
	options_take(&options, count, words);
	load_init(&l, &options);
	relay = (struct relay){ .set = &l.to_proxy,
				.clusters = { &l.origin.address, &l.target.address },
				.version = (uint8_t)options.version,
				.fault = (enum fault)self->fault };
	relay_listen(&relay);
	l.proxies[0] = relay.address;
	load_run(&l);
}

/* Ends with the status that main() gives. */
static void run(const struct selftest *self)
{
	load_through_relay(self);
	load_check_clusters(&l);
	_exit(l.errors > 0);
}

/* How many took at least so long. */
static uint64_t count_from(uint64_t ns)
{
	uint64_t count = 0;

	for (unsigned i = histogram_index(ns); i < HISTOGRAM_BUCKETS; i++)
		count += l.window.latency.buckets[i];
	return count;
}

/* ---- what is counted ---- */

static void check_counts(const struct selftest *self)
{
	load_through_relay(self);
	load_check_clusters(&l);
	REQUIRE(l.window.latency.count == 2000 && l.started == 2500 && l.answered == 2500 && l.errors == 0);
	REQUIRE(l.writes == 2500 * 37 / 100 && l.origin.writes == l.writes && l.target.writes == l.writes);
	REQUIRE(l.origin.reads == 2500 - l.writes && l.target.reads == 0);
	REQUIRE(l.window.dropped == 0 && l.window.reconnects == 0 && l.window.errors == 0);
	REQUIRE(l.window.end_ns > l.window.begin_ns && l.window.latency.min > 0);
	REQUIRE(l.window.latency.max <= l.window.end_ns - l.window.begin_ns);
}

static void check_time(const struct selftest *self)
{
	load_through_relay(self);
	load_check_clusters(&l);
	REQUIRE(l.window.end_ns - l.window.begin_ns >= 200000000ull);
	REQUIRE(l.window.latency.count < l.answered && l.errors == 0);
	REQUIRE(l.window.answers == l.window.latency.count);
}

static void check_churn(const struct selftest *self)
{
	load_through_relay(self);
	load_check_clusters(&l);
	REQUIRE(l.window.reconnects > 0 && l.errors == 0 && l.answered == l.started);
}

static void check_idle(const struct selftest *self)
{
	load_through_relay(self);
	load_check_clusters(&l);
	REQUIRE(l.started == 0 && l.ready == 40 && l.window.end_ns - l.window.begin_ns >= 100000000ull);
}

static void check_error_is_counted(const struct selftest *self)
{
	load_through_relay(self);
	load_check_clusters(&l);
	REQUIRE(l.errors == 1 && l.window.errors == 1 && l.window.latency.count == 1000);
}

/* A fifth of the answers of either cluster; the relay gives the origin's. */
static void check_wanted_errors(const struct selftest *self)
{
	load_through_relay(self);
	load_check_clusters(&l);
	REQUIRE(l.window.latency.count == 1000 && l.errors >= l.window.errors);
	REQUIRE(l.window.errors > 120 && l.window.errors < 280);
}

static void check_delay(const struct selftest *self)
{
	load_through_relay(self);
	load_check_clusters(&l);
	REQUIRE(l.window.latency.count == 200 && l.window.latency.min >= 20000000 && l.window.latency.max >= 25000000);
}

/* ---- the open loop ---- */

/* None is sent before it is due, and with as many streams as requests none is dropped. */
static void check_rate(const struct selftest *self)
{
	load_through_relay(self);
	load_check_clusters(&l);
	REQUIRE(l.window.latency.count == 400 && l.window.dropped == 0);
	/* 400 at 2000 per second: the last one is due 399 intervals after the first. */
	REQUIRE(l.window.end_ns - l.window.begin_ns >= 199500000ull);
}

/* The last 20 are due 190 ms after the first; a client in turn gets all of a burst, and each the same number of bursts. */
static void check_bursts(const struct selftest *self)
{
	load_through_relay(self);
	load_check_clusters(&l);
	REQUIRE(l.window.latency.count == 400 && l.window.dropped == 0 && l.schedule.count == 400);
	REQUIRE(l.window.end_ns - l.window.begin_ns >= 189500000ull);
	REQUIRE(l.schedule.cursor == (100 / 20 + 400 / 20) % 10);
}

/*
 * A proxy that stalls once. In a closed loop one request takes long, the others are not even sent; at a rate all that
 * were due meanwhile have waited, which is what clients would see.
 */
static void check_stall_in_closed_loop(const struct selftest *self)
{
	load_through_relay(self);
	REQUIRE(l.window.latency.max >= RELAY_STALL_MS * 1000000ull);
	REQUIRE(l.window.latency.count == 500);
	REQUIRE(histogram_quantile(&l.window.latency, 0.5) < RELAY_STALL_MS * 1000000ull / 2);
}

static void check_stall_in_open_loop(const struct selftest *self)
{
	load_through_relay(self);
	REQUIRE(l.window.latency.count == 500 && l.window.dropped == 0);
	REQUIRE(l.window.latency.max >= RELAY_STALL_MS * 999000ull);
	/* At 1000 per second, 80 are due in the first 80 ms of 100: each has waited 20 ms or more. */
	REQUIRE(count_from(20000000) >= 79 && count_from(50000000) >= 49);
}

/* At 1000 per second for 120 ms, of which the last 70 find this very program asleep: nothing that was due is forgotten. */
static void check_stall_at_the_end(const struct selftest *self)
{
	uint64_t due;

	load_through_relay(self);
	due = (l.window.end_ns - l.window.begin_ns) / 1000000;
	REQUIRE(due >= 120 && l.started == l.answered);
	REQUIRE(l.window.latency.count + l.window.dropped >= due);
}

/* Answers that come 300 ms later are none of a window of 100 ms, even though what they answer was due in it. */
static void check_late_answers(const struct selftest *self)
{
	load_through_relay(self);
	REQUIRE(l.window.latency.count >= 10 && l.window.latency.min >= 299000000ull);
	REQUIRE(l.window.end_ns - l.window.begin_ns >= 299000000ull || l.window.answers == 0);
}

/* With four streams only as many can wait: what finds none is dropped, and counted. */
static void check_drops(const struct selftest *self)
{
	load_through_relay(self);
	REQUIRE(l.window.latency.count + l.window.dropped == 500);
	REQUIRE(l.window.dropped >= 90);
	REQUIRE(l.started == l.answered && l.offered == 500 + options.warmup);
}

#define MIXED "--connections 4 --depth 8 --write-percent 50 --warmup 10 --requests 1000"
#define STALLED "--connections 1 --warmup 1 --requests 500"

const struct selftest selftest_load[] = {
	{ "counters", check_counts, "--connections 4 --depth 8 --write-percent 37 --warmup 500 --requests 2000",
	  FAULT_NONE, NULL },
	{ "counters of batches", check_counts,
	  "--connections 3 --depth 5 --write-percent 37 --batch-percent 40 --warmup 500 --requests 2000", FAULT_NONE,
	  NULL },
	{ "counters in lock step", check_counts,
	  "--connections 5 --depth 10 --write-percent 37 --warmup 500 --requests 2000 --lockstep", FAULT_NONE, NULL },
	{ "a window of time", check_time, "--connections 4 --write-percent 50 --seconds 0.2", FAULT_NONE, NULL },
	{ "counters in v5", check_counts,
	  "--connections 4 --depth 8 --write-percent 37 --warmup 500 --requests 2000 --protocol 5 --user u --password p",
	  FAULT_NONE, NULL },
	{ "connections come and go", check_churn,
	  "--connections 8 --depth 4 --write-percent 50 --requests 20000 --churn 1000", FAULT_NONE, NULL },
	{ "idle", check_idle, "--connections 40 --idle 0.1", FAULT_NONE, NULL },
	{ "the open loop keeps its rate", check_rate,
	  "--connections 10 --depth 60 --rate 2000 --warmup 100 --requests 400", FAULT_NONE, NULL },
	{ "bursts", check_bursts, "--connections 10 --depth 60 --rate 2000 --burst 20 --warmup 100 --requests 400",
	  FAULT_NONE, NULL },
	{ "a stall in the closed loop", check_stall_in_closed_loop, STALLED, FAULT_STALL, NULL },
	{ "a stall in the open loop", check_stall_in_open_loop, STALLED " --rate 1000 --depth 60 --connections 20",
	  FAULT_STALL, NULL },
	{ "a stall at the end of the window", check_stall_at_the_end,
	  "--connections 20 --depth 60 --rate 1000 --warmup 1 --seconds 0.12", FAULT_STALL, NULL },
	{ "answers that come after the window", check_late_answers,
	  "--connections 20 --depth 60 --rate 1000 --warmup 1 --seconds 0.1 --origin-delay 300ms", FAULT_NONE, NULL },
	{ "drops", check_drops, STALLED " --rate 1000 --depth 4", FAULT_STALL, NULL },
	{ "errors that are asked for", check_wanted_errors, MIXED " --origin-errors 20 --target-errors 20", FAULT_NONE,
	  NULL },
	{ "delays", check_delay, "--connections 10 --depth 10 --warmup 1 --requests 200 --origin-delay 20ms-30ms",
	  FAULT_NONE, NULL },
	{ "a log-in", check_counts,
	  "--connections 4 --depth 8 --write-percent 37 --warmup 500 --requests 2000 --user u --password p", FAULT_NONE,
	  NULL },
	{ "an error is counted", check_error_is_counted, MIXED, FAULT_ANSWER_ERROR, NULL },
	{ "nothing wrong", run, MIXED, FAULT_NONE, NULL },
	{ "answers exchanged", run, MIXED, FAULT_SWAP_ANSWERS, "got another request's answer" },
	{ "an answer altered", run, MIXED, FAULT_ALTER_ANSWER, "got another request's answer" },
	{ "the wrong cluster", run, MIXED, FAULT_WRONG_CLUSTER, "the wrong cluster's" },
	{ "a read sent twice", run, MIXED, FAULT_REPEAT_READ, "reads were sent for it, origin got" },
	{ "an answer lost", run, MIXED " --patience 2", FAULT_LOSE_ANSWER, "no answer for 2 s" },
	{ "an answer twice", run, MIXED, FAULT_REPEAT_ANSWER, "answer" },
	{ "an error", run, MIXED, FAULT_ANSWER_ERROR, "OVERLOADED" },
	{ "a write lost", run, MIXED, FAULT_LOSE_WRITE, "writes were sent for it, target got" },
	{ "a write sent twice", run, MIXED, FAULT_REPEAT_WRITE, "writes were sent for it, target got" },
	{ "a write altered", run, MIXED, FAULT_ALTER_WRITE, "a write whose value is not its key's" },
	{ "the other cluster's id", run, MIXED, FAULT_FOREIGN_ID, "a prepared id that is not its own" },
	{ "a connection closed", run, MIXED, FAULT_CLOSE, "the proxy closed a connection" },
	{ "an answer altered in v5", run, MIXED " --protocol 5", FAULT_ALTER_ANSWER, "got another request's answer" },
	{ "a write altered in v5", run, MIXED " --protocol 5", FAULT_ALTER_WRITE,
	  "a write whose value is not its key's" },
	{ "the other cluster's id in v5", run, MIXED " --protocol 5", FAULT_FOREIGN_ID,
	  "a prepared id that is not its own" },
	{ "a write sent twice in v5", run, MIXED " --protocol 5", FAULT_REPEAT_WRITE,
	  "writes were sent for it, target got" },
	{ "the certificate of nothing", run, "--requests 1 --cert x --key x", FAULT_NONE, "--cert, --key: only" },
	{ "an authority without TLS", run, "--requests 1 --ca x", FAULT_NONE, "--ca: only with --tls clients" },
	{ .name = NULL },
};
