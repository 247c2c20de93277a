/*
 * metrics_text.h - metrics in Prometheus' text format 0.0.4. Numbers are
 * written as ZDM Proxy's page has them.
 */
#ifndef CONTROL_METRICS_TEXT_H
#define CONTROL_METRICS_TEXT_H

#include "control/metrics_sink.h"

struct evbuffer;

#define METRICS_TEXT_TYPE "text/plain; version=0.0.4; charset=utf-8"

struct metrics_text {
	struct metrics_sink sink;
	struct evbuffer *out;
	char *name;       /* of the family */
	char piece[8192]; /* collected, since adding to a buffer costs as much as making a line */
	size_t len;
};

void metrics_text_init(struct metrics_text *t, struct evbuffer *out);
/* The rest goes to `out`. */
void metrics_text_end(struct metrics_text *t);

/* The shortest decimal number that is `v`, written as Go's strconv writes floats: 0.25, 15, 1e+06, 1.5e-07. */
#define METRICS_NUMBER_MAX 32
const char *metrics_text_number(double v, char out[METRICS_NUMBER_MAX]);

#endif
