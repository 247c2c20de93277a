/* arguments.c - see arguments.h */
#include "control/arguments.h"

#include <getopt.h>

void arguments_print_usage(FILE *out)
{
	fputs("usage: cqlferry [-c FILE] [--set section.key=value]...\n"
	      "\n"
	      "A proxy between CQL drivers and two Cassandra clusters, origin and target.\n"
	      "Without -c the ZDM_* environment variables are the configuration.\n"
	      "\n"
	      "  -c, --config FILE      read the configuration from FILE (.ini, or .yaml/.yml as ZDM writes it)\n"
	      "      --set SECTION.KEY=VALUE   override one setting\n"
	      "      --check-config     check the configuration and end: 0 when it is good\n"
	      "      --print-config     print every setting in force and where it comes from, secrets hidden\n"
	      "      --print-options    print the reference of all settings (docs/config.md)\n"
	      "      --plugin-info FILE   load a plugin, and print what it is and which options it has\n"
	      "      --explain STATEMENT   say where a request with this statement goes and why, without a cluster\n"
	      "      --version          print the version\n"
	      "  -h, --help             print this text\n"
	      "\n"
	      "What --explain may take for granted:\n"
	      "      --keyspace NAME    the connection's keyspace; else none\n"
	      "      --user NAME        who has logged in; else nobody\n"
	      "      --address IP       where the client is; else 127.0.0.1\n"
	      "      --driver NAME, --driver-version VERSION   what its STARTUP says; else nothing\n"
	      "      --consistency LEVEL   else LOCAL_ONE\n"
	      "      --prepared         it is an EXECUTE, not a QUERY\n"
	      "\n"
	      "Options may be written with one dash, too (-config FILE), as ZDM's are.\n",
	      out);
}

enum {
	OPTION_EXPLAIN = 256,
	OPTION_KEYSPACE,
	OPTION_USER,
	OPTION_ADDRESS,
	OPTION_DRIVER,
	OPTION_DRIVER_VERSION,
	OPTION_CONSISTENCY,
	OPTION_PREPARED,
	OPTION_PLUGIN_INFO,
};

/* What the process is to do instead of serving; of two things one would be left undone in silence. */
static bool set_mode(struct arguments *out, enum run_mode mode)
{
	if (out->mode == RUN_PROXY || (out->mode == mode && mode != RUN_EXPLAIN && mode != RUN_PLUGIN_INFO)) {
		out->mode = mode;
		return true;
	}
	fputs("cqlferry: one of --explain, --plugin-info, --check-config, --print-config and --print-options at a time, "
	      "and one statement or plugin\n",
	      stderr);
	return false;
}

/* The options that describe a request; false for another one. */
static bool explain_option(struct arguments *out, int option)
{
	struct arguments_explain *e = &out->explain;

	switch (option) {
	case OPTION_EXPLAIN:
		e->statement = optarg;
		return set_mode(out, RUN_EXPLAIN);
	case OPTION_KEYSPACE:
		e->keyspace = optarg;
		return true;
	case OPTION_USER:
		e->user = optarg;
		return true;
	case OPTION_ADDRESS:
		e->address = optarg;
		return true;
	case OPTION_DRIVER:
		e->driver = optarg;
		return true;
	case OPTION_DRIVER_VERSION:
		e->driver_version = optarg;
		return true;
	case OPTION_CONSISTENCY:
		e->consistency = optarg;
		return true;
	case OPTION_PREPARED:
		e->is_prepared = true;
		return true;
	default:
		return false;
	}
}

/* Without it they would be forgotten in silence. */
static bool check_explain(const struct arguments *args)
{
	const struct arguments_explain *e = &args->explain;

	if (args->mode == RUN_EXPLAIN || !(e->keyspace || e->user || e->address || e->driver || e->driver_version ||
					   e->consistency || e->is_prepared))
		return true;
	fputs("cqlferry: --keyspace, --user, --address, --driver, --driver-version, --consistency and --prepared "
	      "belong to --explain\n",
	      stderr);
	return false;
}

bool arguments_parse(int argc, char **argv, struct arguments *out)
{
	static const struct option options[] = {
		{ "config", required_argument, NULL, 'c' },
		{ "set", required_argument, NULL, 's' },
		{ "check-config", no_argument, NULL, 'k' },
		{ "print-config", no_argument, NULL, 'p' },
		{ "print-options", no_argument, NULL, 'o' },
		{ "version", no_argument, NULL, 'v' },
		{ "help", no_argument, NULL, 'h' },
		{ "explain", required_argument, NULL, OPTION_EXPLAIN },
		{ "keyspace", required_argument, NULL, OPTION_KEYSPACE },
		{ "user", required_argument, NULL, OPTION_USER },
		{ "address", required_argument, NULL, OPTION_ADDRESS },
		{ "driver", required_argument, NULL, OPTION_DRIVER },
		{ "driver-version", required_argument, NULL, OPTION_DRIVER_VERSION },
		{ "consistency", required_argument, NULL, OPTION_CONSISTENCY },
		{ "prepared", no_argument, NULL, OPTION_PREPARED },
		{ "plugin-info", required_argument, NULL, OPTION_PLUGIN_INFO },
		{ NULL, 0, NULL, 0 },
	};
	int option;

	*out = (struct arguments){ .mode = RUN_PROXY };
	while ((option = getopt_long_only(argc, argv, "c:h", options, NULL)) != -1) {
		switch (option) {
		case 'c':
			out->path = optarg;
			break;
		case 's':
			if (out->override_count == ARGUMENTS_MAX_OVERRIDES) {
				fprintf(stderr, "cqlferry: more than %d times --set\n", ARGUMENTS_MAX_OVERRIDES);
				return false;
			}
			out->overrides[out->override_count++] = optarg;
			break;
		case 'k':
			if (!set_mode(out, RUN_CHECK_CONFIG))
				return false;
			break;
		case 'p':
			if (!set_mode(out, RUN_PRINT_CONFIG))
				return false;
			break;
		case 'o':
			if (!set_mode(out, RUN_PRINT_OPTIONS))
				return false;
			break;
		case OPTION_PLUGIN_INFO:
			out->plugin = optarg;
			if (!set_mode(out, RUN_PLUGIN_INFO))
				return false;
			break;
		case 'v': /* with whatever else, as is --help */
			out->mode = RUN_VERSION;
			break;
		case 'h':
			out->mode = RUN_HELP;
			break;
		default:
			if (!explain_option(out, option))
				return false;
		}
	}
	if (optind < argc) {
		fprintf(stderr, "cqlferry: unexpected argument '%s'\n", argv[optind]);
		return false;
	}
	return check_explain(out);
}
