/* buckets.c - see buckets.h */
#include "buckets.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "names.h"

/* A week: far below what nanoseconds in 64 bits can say. */
#define LARGEST_S 604800.0

/* As OpenMetrics writes bounds (section "Considerations: Canonical Numbers"): "1e-05", "0.25", "1.0". */
static void write_text(char out[24], double seconds)
{
	snprintf(out, 24, "%.15g", seconds);
	if (!strpbrk(out, ".e"))
		strcat(out, ".0");
}

const char *buckets_read(struct buckets *b, const char *text)
{
	memset(b, 0, sizeof(*b));
	for (;;) {
		char *end;
		double seconds;

		text += strspn(text, " \t,");
		if (*text == '\0')
			break;
		seconds = strtod(text, &end);
		if (end == text || !strchr(" \t,", *end))
			return "not a list of seconds, as 0.001 0.01 1";
		if (!(seconds >= 1e-9 && seconds <= LARGEST_S))
			return "a bound is from 0.000000001 to 604800 (seconds)";
		if (b->count == BUCKETS_MAX)
			return "more than 32 bounds";
		b->bounds[b->count] = (uint64_t)(seconds * 1e9 + 0.5);
		if (b->count > 0 && b->bounds[b->count] <= b->bounds[b->count - 1])
			return "each bound has to be larger than the one before it";
		write_text(b->texts[b->count++], seconds);
		text = end;
	}
	if (b->count == 0)
		return "there has to be a bound";
	b->bounds[b->count] = UINT64_MAX;
	snprintf(b->texts[b->count], sizeof(b->texts[0]), "+Inf");
	for (unsigned bit = 0; bit < 64; bit++) {
		while (b->bounds[b->first[bit]] < UINT64_C(1) << bit)
			b->first[bit]++;
		if (bit < 63)
			b->first[bit + 1] = b->first[bit];
	}
	return NULL;
}

void histogram_add(struct histogram *to, const struct histogram *from, unsigned count)
{
	for (unsigned i = 0; i <= count; i++)
		to->counts[i] += cell_read(&from->counts[i]);
	to->sum_ns += cell_read(&from->sum_ns);
}
