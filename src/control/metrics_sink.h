/*
 * metrics_sink.h - where metrics go, series by series: into the text of a page
 * (metrics_text.h), or to a function that wants to have them one by one.
 */
#ifndef CONTROL_METRICS_SINK_H
#define CONTROL_METRICS_SINK_H

#include "base/common.h"

struct metrics_sink {
	/* A family begins; the samples that follow are its. The texts are good until the next one begins. `help` is escaped
	 * as the text format wants it. */
	void (*family)(struct metrics_sink *sink, const char *name, const char *type, const char *help);
	/* `suffix` is "", or "_bucket", "_sum", "_count" of a histogram; `labels` is without braces, escaped, "" for none. A
	 * bucket counts all up to its bound. */
	void (*sample)(struct metrics_sink *sink, const char *suffix, const char *labels, double value);
};

/* Calls a function for each sample. */
struct metrics_visitor {
	struct metrics_sink sink;
	void (*visit)(void *arg, const char *family, const char *type, const char *help, const char *suffix,
		      const char *labels, double value);
	void *arg;
	const char *name, *type, *help; /* of the family */
};

void metrics_visitor_init(struct metrics_visitor *v,
			  void (*visit)(void *arg, const char *family, const char *type, const char *help,
					const char *suffix, const char *labels, double value),
			  void *arg);

#endif
