/* options.c - see options.h */
#include "options.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "arguments.h"
#include "template.h"

#define MAX_CONNECTIONS 30000
#define MAX_DEPTH 32768
#define MAX_REQUESTS 10000000000ull
#define MAX_SECONDS 86400
#define OPEN_LOOP_DEPTH 64

enum kind {
	KIND_TEXT,   /* const char * */
	KIND_NUMBER, /* unsigned */
	KIND_COUNT,  /* uint64_t */
	KIND_REAL,   /* double */
	KIND_CHOICE, /* unsigned, which of the names */
	KIND_SET,    /* unsigned, a bit for each of the names */
	KIND_DELAY,  /* struct delay */
	KIND_FLAG,   /* bool */
	KIND_SECRET, /* const char *, is not shown again */
};

struct spec {
	const char *name;
	enum kind kind;
	size_t at; /* in struct options */
	uint64_t min, max;
	const char *argument;
	const char *help;
	const char *const *names; /* KIND_CHOICE, KIND_SET */
};

static const char *const form_names[] = { "prepared", "simple", "batch", NULL };
static const char *const compression_names[] = { "none", "lz4", "snappy", NULL };
static const char *const tls_names[] = { "clients", "origin", "target", NULL };
static const char *const reads_to_names[] = { "origin", "both", NULL };

#define AT(member) offsetof(struct options, member)

static const struct spec specs[] = {
	{ "proxy", KIND_TEXT, AT(proxy), 0, 0, "ADDRESS:PORT[,...]",
	  "where the proxy listens or will listen (127.0.0.1:14002); several: clients are spread over them", NULL },
	{ "origin", KIND_TEXT, AT(origin), 0, 0, "ADDRESS:PORT",
	  "where to be the origin cluster; without: it is not ours", NULL },
	{ "target", KIND_TEXT, AT(target), 0, 0, "ADDRESS:PORT", "the same for the target cluster", NULL },
	{ "connections", KIND_NUMBER, AT(connections), 1, MAX_CONNECTIONS, "N", "clients (1)", NULL },
	{ "depth", KIND_NUMBER, AT(depth), 1, MAX_DEPTH, "N",
	  "requests in flight on each (1), with --rate: at most (64)", NULL },
	{ "write-percent", KIND_NUMBER, AT(write_percent), 0, 100, "N", "of the requests (0)", NULL },
	{ "batch-percent", KIND_NUMBER, AT(batch_percent), 0, 100, "N", "of the writes: BATCH of 10 (0)", NULL },
	{ "value-size", KIND_NUMBER, AT(value_len), VALUE_MIN, VALUE_MAX, "BYTES", "(64)", NULL },
	{ "protocol", KIND_NUMBER, AT(version), 3, 5, "3|4|5", "(4)", NULL },
	{ "form", KIND_CHOICE, AT(form), 0, 0, "prepared|simple|batch", "batch: as --batch-percent 100", form_names },
	{ "reads", KIND_CHOICE, AT(reads_to), 0, 0, "origin|both", "which clusters may get reads (origin)",
	  reads_to_names },
	{ "compression", KIND_CHOICE, AT(compression), 0, 0, "none|lz4|snappy", "what the clients ask for (none)",
	  compression_names },
	{ "tls", KIND_SET, AT(tls), 0, 0, "clients,origin,target", "any of them: who speaks TLS", tls_names },
	{ "cert", KIND_TEXT, AT(cert), 0, 0, "FILE", "PEM, the certificate of our clusters", NULL },
	{ "key", KIND_TEXT, AT(key), 0, 0, "FILE", "PEM, its key", NULL },
	{ "ca", KIND_TEXT, AT(ca), 0, 0, "FILE",
	  "PEM, who has signed the proxy's certificate, whose name may be any; without: unchecked", NULL },
	{ "origin-delay", KIND_DELAY, AT(origin_delay), 0, 0, "D", "our origin answers late: 2ms, 500us-3ms, 1s",
	  NULL },
	{ "target-delay", KIND_DELAY, AT(target_delay), 0, 0, "D", "the same for our target", NULL },
	{ "origin-errors", KIND_REAL, AT(origin_errors), 0, 100, "PERCENT",
	  "our origin's answers that are time-outs (0)", NULL },
	{ "target-errors", KIND_REAL, AT(target_errors), 0, 100, "PERCENT", "the same for our target", NULL },
	{ "user", KIND_TEXT, AT(user), 0, 0, "NAME", "what the clients log in with, and our clusters demand", NULL },
	{ "password", KIND_SECRET, AT(password), 0, 0, "TEXT", "the same", NULL },
	{ "keyspace", KIND_TEXT, AT(keyspace), 0, 0, "NAME",
	  "of the table t (k text PRIMARY KEY, v text) in clusters that are not ours (ks)", NULL },
	{ "create", KIND_FLAG, AT(create), 0, 0, "", "make keyspace and table there, unless they exist", NULL },
	{ "keys", KIND_COUNT, AT(keys), 1, MAX_REQUESTS, "N", "of that table, which are written first (1000)", NULL },
	{ "seconds", KIND_REAL, AT(seconds), 0, MAX_SECONDS, "S", "measure for so long", NULL },
	{ "requests", KIND_COUNT, AT(requests), 1, MAX_REQUESTS, "N", "or measure so many (10000)", NULL },
	{ "warmup-seconds", KIND_REAL, AT(warmup_seconds), 0, MAX_SECONDS, "S",
	  "before that; with --seconds: a fifth of it", NULL },
	{ "warmup", KIND_COUNT, AT(warmup), 1, MAX_REQUESTS, "N", "or so many (1000)", NULL },
	{ "rate", KIND_REAL, AT(rate), 0, 100000000, "N",
	  "requests per second, whether answers come or not; latency counts from when one was due", NULL },
	{ "burst", KIND_NUMBER, AT(burst), 1, MAX_DEPTH, "N",
	  "with --rate: so many are due at a time, on one connection (1)", NULL },
	{ "idle", KIND_REAL, AT(idle_s), 0, MAX_SECONDS, "S", "send nothing, hold the connections for so long", NULL },
	{ "churn", KIND_REAL, AT(churn), 0, 100000, "N", "close and open so many connections per second", NULL },
	{ "pid-file", KIND_TEXT, AT(pid_file), 0, 0, "FILE", "the proxy's process, to be read when measuring begins",
	  NULL },
	{ "json", KIND_TEXT, AT(json), 0, 0, "FILE|-", "results as one object instead of NAME=VALUE lines", NULL },
	{ "lockstep", KIND_FLAG, AT(lockstep), 0, 0, "", "in rounds, so that a run can be repeated exactly", NULL },
	{ "selftest", KIND_FLAG, AT(selftest), 0, 0, "", "only show that counters, histogram and checks can be trusted",
	  NULL },
	{ "patience", KIND_NUMBER, AT(patience_s), 1, 3600, "S", "without an answer, or until the proxy is up (60)",
	  NULL },
};

static void print_usage(FILE *out)
{
	fputs("usage: cqlbench [OPTIONS]\n"
	      "Starts fake clusters, waits for a proxy in front of them, sends it requests and checks each answer.\n",
	      out);
	for (unsigned i = 0; i < ARRAY_LEN(specs); i++) {
		char head[64];

		snprintf(head, sizeof(head), "--%s %s", specs[i].name, specs[i].argument);
		fprintf(out, "  %-30s %s\n", head, specs[i].help);
	}
	fputs("Prints a line when its clusters listen. Exit status 1 when any answer was wrong.\n", out);
}

static double take_real(const struct spec *spec, const char *text)
{
	char *end;
	const double value = strtod(text, &end);

	if (end == text || *end || !(value >= (double)spec->min && value <= (double)spec->max))
		die("--%s %s: a number from %" PRIu64 " to %" PRIu64 " is needed", spec->name, text, spec->min,
		    spec->max);
	return value;
}

static unsigned take_choice(const struct spec *spec, const char *text)
{
	for (unsigned i = 0; spec->names[i]; i++) {
		if (strcmp(text, spec->names[i]) == 0)
			return i;
	}
	die("--%s %s: one of %s is needed", spec->name, text, spec->argument);
}

/* Bits, for names that commas separate. */
static unsigned take_set(const struct spec *spec, const char *text)
{
	unsigned set = 0;

	while (*text) {
		const size_t len = strcspn(text, ",");
		unsigned i = 0;

		while (spec->names[i] && (strlen(spec->names[i]) != len || memcmp(spec->names[i], text, len) != 0))
			i++;
		if (!spec->names[i])
			die("--%s %s: some of %s are needed", spec->name, text, spec->argument);
		set |= 1u << i;
		text += len + (text[len] == ',');
	}
	return set;
}

/* A number and its unit; returns what follows, NULL when it is none. */
static const char *take_time(const char *text, uint64_t *ns)
{
	static const struct {
		const char *name;
		double ns;
	} units[] = { { "us", 1e3 }, { "ms", 1e6 }, { "s", 1e9 } };
	char *end;
	const double value = strtod(text, &end);

	if (end == text || !(value >= 0 && value <= MAX_SECONDS))
		return NULL;
	for (unsigned i = 0; i < ARRAY_LEN(units); i++) {
		const size_t len = strlen(units[i].name);

		if (strncmp(end, units[i].name, len) == 0) {
			*ns = (uint64_t)(value * units[i].ns);
			return end + len;
		}
	}
	return NULL;
}

static struct delay take_delay(const struct spec *spec, const char *text)
{
	struct delay delay;
	const char *rest = take_time(text, &delay.min_ns);

	delay.max_ns = delay.min_ns;
	if (rest && *rest == '-')
		rest = take_time(rest + 1, &delay.max_ns);
	if (!rest || *rest || delay.max_ns < delay.min_ns)
		die("--%s %s: a time as 2ms or 500us-3ms is needed", spec->name, text);
	return delay;
}

static void take(struct options *o, const struct spec *spec, const char *text)
{
	void *at = (char *)o + spec->at;

	switch (spec->kind) {
	case KIND_TEXT:
	case KIND_SECRET:
		*(const char **)at = text;
		break;
	case KIND_NUMBER:
		*(unsigned *)at = (unsigned)arguments_number(spec->name, text, spec->min, spec->max);
		break;
	case KIND_COUNT:
		*(uint64_t *)at = arguments_number(spec->name, text, spec->min, spec->max);
		break;
	case KIND_REAL:
		*(double *)at = take_real(spec, text);
		break;
	case KIND_CHOICE:
		*(unsigned *)at = take_choice(spec, text);
		break;
	case KIND_SET:
		*(unsigned *)at = take_set(spec, text);
		break;
	case KIND_DELAY:
		*(struct delay *)at = take_delay(spec, text);
		break;
	case KIND_FLAG:
		*(bool *)at = true;
		break;
	}
}

/* Clusters of others have what was written, and no more. */
static void complete_table(struct options *o)
{
	const bool is_ours = o->origin || o->target;

	if (is_ours && (o->keyspace || o->create || o->keys > 0))
		die("--keyspace, --create, --keys: only where no cluster is ours");
	if (!is_ours && o->keys == 0)
		o->keys = 1000;
	if (!o->keyspace)
		o->keyspace = "ks";
	if (!o->user != !o->password)
		die("--user and --password: both or none");
}

static bool is_set(const struct delay *delay)
{
	return delay->max_ns > 0;
}

/* What would have no effect is a mistake: who gives it believes that it has one. */
static void complete_clusters(const struct options *o)
{
	const bool has_tls = o->tls & (TLS_ORIGIN | TLS_TARGET);

	if (((o->tls & TLS_ORIGIN) && !o->origin) || ((o->tls & TLS_TARGET) && !o->target))
		die("--tls origin, --tls target: only of clusters that are ours");
	if (has_tls && (!o->cert || !o->key))
		die("--tls: our clusters need --cert and --key");
	if (!has_tls && (o->cert || o->key))
		die("--cert, --key: only with --tls origin or --tls target");
	if (o->ca && !(o->tls & TLS_CLIENTS))
		die("--ca: only with --tls clients");
	if (!o->origin && (is_set(&o->origin_delay) || o->origin_errors > 0))
		die("--origin-delay, --origin-errors: only with --origin");
	if (!o->target && (is_set(&o->target_delay) || o->target_errors > 0))
		die("--target-delay, --target-errors: only with --target");
}

/* What follows from others, and what does not go together. */
static void complete(struct options *o)
{
	complete_table(o);
	if (o->seconds > 0 && o->requests > 0)
		die("--seconds and --requests: one of them");
	if (o->warmup_seconds > 0 && o->warmup > 0)
		die("--warmup-seconds and --warmup: one of them");
	if (o->lockstep && (o->rate > 0 || o->churn > 0 || o->seconds > 0 || o->warmup_seconds > 0))
		die("--lockstep: not with a rate, a time or a churn, which depend on the clock");
	complete_clusters(o);
	if (o->burst > 1 && o->rate == 0)
		die("--burst: only with --rate");
	if (o->compression == COMPRESSION_SNAPPY && o->version >= 5)
		die("--compression snappy: v5 does not have it");
	if (o->idle_s > 0 && (o->rate > 0 || o->seconds > 0 || o->requests > 0 || o->warmup > 0))
		die("--idle: nothing is sent then");
	if (o->seconds == 0 && o->requests == 0 && o->idle_s == 0)
		o->requests = 10000;
	if (o->seconds > 0 && o->warmup_seconds == 0 && o->warmup == 0)
		o->warmup_seconds = o->seconds / 5;
	if (o->warmup_seconds == 0 && o->warmup == 0 && o->idle_s == 0)
		o->warmup = 1000;
	if (o->depth == 0)
		o->depth = o->rate > 0 ? OPEN_LOOP_DEPTH : 1;
	if (o->form == FORM_BATCH)
		o->batch_percent = 100;
}

void options_take(struct options *o, int argc, char **argv)
{
	struct option table[ARRAY_LEN(specs) + 2] = { 0 };
	int index;
	int key;

	*o = (struct options){
		.proxy = "127.0.0.1:14002", .connections = 1, .value_len = 64, .version = 4, .burst = 1, .patience_s = 60
	};
	for (unsigned i = 0; i < ARRAY_LEN(specs); i++) {
		const int has_arg = specs[i].kind == KIND_FLAG ? no_argument : required_argument;

		table[i] = (struct option){ specs[i].name, has_arg, NULL, 'o' };
	}
	table[ARRAY_LEN(specs)] = (struct option){ "help", no_argument, NULL, 'h' };
	optind = 0; /* the self-test reads more than one command line */
	while ((key = getopt_long(argc, argv, "", table, &index)) != -1) {
		if (key == 'h') {
			print_usage(stdout);
			exit(0);
		}
		if (key != 'o') {
			print_usage(stderr);
			exit(2);
		}
		take(o, &specs[index], optarg);
	}
	if (optind < argc)
		die("%s: no argument is expected", argv[optind]);
	complete(o);
}

/* As a JSON string; NULL is null. */
static void print_text(FILE *out, const char *text)
{
	if (!text) {
		fputs("null", out);
		return;
	}
	fputc('"', out);
	for (; *text; text++) {
		if (*text == '"' || *text == '\\')
			fputc('\\', out);
		if ((unsigned char)*text < ' ')
			fprintf(out, "\\u%04x", (unsigned)(unsigned char)*text);
		else
			fputc(*text, out);
	}
	fputc('"', out);
}

static void print_set(FILE *out, const char *const *names, unsigned set)
{
	const char *comma = "";

	fputc('[', out);
	for (unsigned i = 0; names[i]; i++) {
		if (!(set & 1u << i))
			continue;
		fputs(comma, out);
		print_text(out, names[i]);
		comma = ", ";
	}
	fputc(']', out);
}

/* In seconds, as a pair. */
static void print_delay(FILE *out, const struct delay *delay)
{
	fprintf(out, "[%g, %g]", (double)delay->min_ns / 1e9, (double)delay->max_ns / 1e9);
}

static void print_value(const struct options *o, const struct spec *spec, FILE *out)
{
	const void *at = (const char *)o + spec->at;

	switch (spec->kind) {
	case KIND_TEXT:
		print_text(out, *(const char *const *)at);
		break;
	case KIND_NUMBER:
		fprintf(out, "%u", *(const unsigned *)at);
		break;
	case KIND_COUNT:
		fprintf(out, "%" PRIu64, *(const uint64_t *)at);
		break;
	case KIND_REAL:
		fprintf(out, "%g", *(const double *)at);
		break;
	case KIND_CHOICE:
		print_text(out, spec->names[*(const unsigned *)at]);
		break;
	case KIND_SET:
		print_set(out, spec->names, *(const unsigned *)at);
		break;
	case KIND_DELAY:
		print_delay(out, at);
		break;
	case KIND_SECRET:
		fputs(*(const char *const *)at ? "true" : "null", out);
		break;
	case KIND_FLAG:
		fputs(*(const bool *)at ? "true" : "false", out);
		break;
	}
}

void options_print_json(const struct options *o, FILE *out)
{
	for (unsigned i = 0; i < ARRAY_LEN(specs); i++) {
		fputs(i ? ", " : "{", out);
		print_text(out, specs[i].name);
		fputs(": ", out);
		print_value(o, &specs[i], out);
	}
	fputc('}', out);
}
