/* options.h - the rows of the plugin's options, and what they were set to. README.md says what each means. */
#ifndef AUDIT_OPTIONS_H
#define AUDIT_OPTIONS_H

#include <stdatomic.h>

#include "filter.h"
#include "format.h"
#include "queue.h"
#include "writer.h"

enum options_sink {
	OPTIONS_FILE,
	OPTIONS_SYSLOG,
	OPTIONS_JOURNAL,
};

/* Bits of `events`, by enum record_event; denials are requests that are written whatever the filters say. */
#define OPTIONS_DENIALS (1u << 31)

/* One state of the configuration: made as a whole, never changed. */
struct options {
	/* What only a start can change. */
	enum options_sink sink;
	char *path;   /* of the file; NULL: not set */
	char *socket; /* the same */
	enum format_kind format;
	unsigned facility;
	uint32_t queue_size;
	/* The rest. */
	struct writer_settings writer;
	enum record_statement statement;
	uint32_t max_length;
	uint32_t max_value; /* bytes of a bound value; 0: values are off */
	enum queue_full on_full;
	uint32_t block_ms;
	uint32_t kinds;   /* bits of CQLFERRY_READ ... */
	uint32_t results; /* bits of CQLFERRY_ANSWERED ... */
	uint32_t events;
	uint64_t sample; /* one of so many requests */
	struct filter keyspaces, tables, users;
};

#define OPTIONS_ROWS 24
extern const struct cqlferry_option options_rows[OPTIONS_ROWS];

/* NULL after host->error(). */
struct options *options_new(const struct cqlferry_host *host, const struct cqlferry_value *values);
void options_free(struct options *o);

/* A request with this number is in the sample: the same ones in each process and instance with this option. */
static inline bool options_samples(const struct options *o, uint64_t number)
{
	if (o->sample <= 1)
		return true;
	/* splitmix64: numbers of requests are not spread evenly over clients */
	number = (number ^ (number >> 30)) * 0xBF58476D1CE4E5B9u;
	number = (number ^ (number >> 27)) * 0x94D049BB133111EBu;
	return (number ^ (number >> 31)) % o->sample == 0;
}

#endif
