/*
 * cqlbench.c - requests through the proxy, from clients to fake clusters of its own, and what they have cost. See load.h
 * for how a run goes, pace.h for when requests are sent, options.c for the command line.
 *
 * Every answer is checked, and in the end that each cluster got what it should: a fast wrong proxy ends the program with
 * exit status 1, and so does an ERROR that was not asked for.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "load.h"
#include "report.h"
#include "selftest.h"

static void say_listening(const struct load *l)
{
	char text[NET_TEXT_MAX];

	printf("listening");
	if (l->options->origin)
		printf(" origin=%s", net_format(&l->origin.address, text));
	if (l->options->target)
		printf(" target=%s", net_format(&l->target.address, text));
	printf("\n");
	fflush(stdout);
}

/* Clients and nodes have a socket for each connection: as many as we may. */
static void raise_descriptors(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
}

int main(int argc, char **argv)
{
	static struct load load;
	struct options options;

	options_take(&options, argc, argv);
	if (options.selftest)
		return selftest_run();
	report_check(&options);
	raise_descriptors();
	load_init(&load, &options);
	say_listening(&load);
	load_run(&load);
	report_write(&load);
	load_check_clusters(&load);
	/* Those that our clusters were asked for are no failure. */
	return load.errors > 0 && options.origin_errors == 0 && options.target_errors == 0;
}
