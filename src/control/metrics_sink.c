/* metrics_sink.c - see metrics_sink.h */
#include "control/metrics_sink.h"

static void visit_family(struct metrics_sink *sink, const char *name, const char *type, const char *help)
{
	struct metrics_visitor *v = container_of(sink, struct metrics_visitor, sink);

	v->name = name;
	v->type = type;
	v->help = help;
}

static void visit_sample(struct metrics_sink *sink, const char *suffix, const char *labels, double value)
{
	struct metrics_visitor *v = container_of(sink, struct metrics_visitor, sink);

	v->visit(v->arg, v->name, v->type, v->help, suffix, labels, value);
}

void metrics_visitor_init(struct metrics_visitor *v,
			  void (*visit)(void *arg, const char *family, const char *type, const char *help,
					const char *suffix, const char *labels, double value),
			  void *arg)
{
	*v = (struct metrics_visitor){
		.sink = { .family = visit_family, .sample = visit_sample },
		.visit = visit,
		.arg = arg,
	};
}
