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
	      "      --version          print the version\n"
	      "  -h, --help             print this text\n"
	      "\n"
	      "Options may be written with one dash, too (-config FILE), as ZDM's are.\n",
	      out);
}

bool arguments_parse(int argc, char **argv, struct arguments *out)
{
	static const struct option options[] = {
		{ "config", required_argument, NULL, 'c' },  { "set", required_argument, NULL, 's' },
		{ "check-config", no_argument, NULL, 'k' },  { "print-config", no_argument, NULL, 'p' },
		{ "print-options", no_argument, NULL, 'o' }, { "version", no_argument, NULL, 'v' },
		{ "help", no_argument, NULL, 'h' },          { NULL, 0, NULL, 0 },
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
			out->mode = RUN_CHECK_CONFIG;
			break;
		case 'p':
			out->mode = RUN_PRINT_CONFIG;
			break;
		case 'o':
			out->mode = RUN_PRINT_OPTIONS;
			break;
		case 'v':
			out->mode = RUN_VERSION;
			break;
		case 'h':
			out->mode = RUN_HELP;
			break;
		default:
			return false;
		}
	}
	if (optind < argc) {
		fprintf(stderr, "cqlferry: unexpected argument '%s'\n", argv[optind]);
		return false;
	}
	return true;
}
