/*
 * cqlbench.c - requests through the proxy, from clients to fake clusters of its own, and what they have cost. See load.h
 * for how a run goes, pace.h for when requests are sent, options.c for the command line.
 *
 * Every answer is checked, and in the end that each cluster got what it should: a fast wrong proxy ends the program with
 * exit status 1, and so does an ERROR.
 */
#include <stdio.h>
#include <stdlib.h>

#include "load.h"
#include "report.h"

static void say_listening(const struct options *o)
{
	printf("listening");
	if (o->origin)
		printf(" origin=%s", o->origin);
	if (o->target)
		printf(" target=%s", o->target);
	printf("\n");
	fflush(stdout);
}

int main(int argc, char **argv)
{
	static struct load load;
	struct options options;

	options_take(&options, argc, argv);
	load_init(&load, &options);
	say_listening(&options);
	load_run(&load);
	report_write(&load);
	load_check_clusters(&load);
	return load.errors > 0;
}
