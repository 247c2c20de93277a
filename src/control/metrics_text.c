/* metrics_text.c - see metrics_text.h */
#include "control/metrics_text.h"

#include <event2/buffer.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- numbers ---- */

/* What most values are. Below a million Go writes whole numbers as such. */
static const char *small_number(unsigned n, char out[METRICS_NUMBER_MAX])
{
	char *p = out + METRICS_NUMBER_MAX - 1;

	*p = '\0';
	do
		*--p = (char)('0' + n % 10);
	while (n /= 10);
	return p;
}

/*
 * As many digits as it takes for the same number to be read from them; without
 * zeros at the end. What 15 digits are enough for has one such form only, so
 * there is no need to try fewer; but near the end of the range digits are few.
 */
static int shortest(double v, char text[METRICS_NUMBER_MAX])
{
	int digits = fabs(v) < 1e-290 ? 0 : 14;
	char *end;

	do
		snprintf(text, METRICS_NUMBER_MAX, "%.*e", digits, v);
	while (strtod(text, NULL) != v && ++digits < 17);
	end = strchr(text, 'e');
	for (; digits > 0 && end[-1] == '0'; digits--) {
		memmove(end - 1, end, strlen(end) + 1);
		end--;
	}
	if (digits == 0 && end[-1] == '.')
		memmove(end - 1, end, strlen(end) + 1);
	return digits;
}

const char *metrics_text_number(double v, char out[METRICS_NUMBER_MAX])
{
	char text[METRICS_NUMBER_MAX];
	int digits, exponent;

	if (!isfinite(v)) {
		snprintf(out, METRICS_NUMBER_MAX, "%s", isnan(v) ? "NaN" : v > 0 ? "+Inf" : "-Inf");
		return out;
	}
	if (v >= 0 && v < 1e6 && !signbit(v) && v == (double)(unsigned)v)
		return small_number((unsigned)v, out);
	digits = shortest(v, text);
	exponent = (int)strtol(strchr(text, 'e') + 1, NULL, 10);
	/* Go's rule for the shortest form: an exponent below -4, or of 6 and more, is written as one. */
	if (exponent < -4 || exponent >= 6)
		snprintf(out, METRICS_NUMBER_MAX, "%s", text);
	else
		snprintf(out, METRICS_NUMBER_MAX, "%.*f", MAX(digits - exponent, 0), v);
	return out;
}

/* ---- lines ---- */

static void flush(struct metrics_text *t)
{
	evbuffer_add(t->out, t->piece, t->len);
	t->len = 0;
}

static void put(struct metrics_text *t, const char *s)
{
	const size_t n = strlen(s);

	if (n > sizeof(t->piece) - t->len)
		flush(t);
	if (n > sizeof(t->piece)) {
		evbuffer_add(t->out, s, n);
		return;
	}
	memcpy(t->piece + t->len, s, n);
	t->len += n;
}

static void put_family(struct metrics_sink *sink, const char *name, const char *type, const char *help)
{
	struct metrics_text *t = container_of(sink, struct metrics_text, sink);
	const char *const words[] = { "# HELP ", name, " ", help, "\n# TYPE ", name, " ", type, "\n" };

	free(t->name);
	t->name = xstrdup(name);
	for (size_t i = 0; i < ARRAY_LEN(words); i++)
		put(t, words[i]);
}

static void put_sample(struct metrics_sink *sink, const char *suffix, const char *labels, double value)
{
	struct metrics_text *t = container_of(sink, struct metrics_text, sink);
	char number[METRICS_NUMBER_MAX];

	put(t, t->name);
	put(t, suffix);
	if (*labels) {
		put(t, "{");
		put(t, labels);
		put(t, "}");
	}
	put(t, " ");
	/* Go's library writes counts of a histogram as whole numbers, and all else as floats. */
	if (strcmp(suffix, "_bucket") == 0 || strcmp(suffix, "_count") == 0) {
		snprintf(number, sizeof(number), "%.0f", value);
		put(t, number);
	} else {
		put(t, metrics_text_number(value, number));
	}
	put(t, "\n");
}

void metrics_text_init(struct metrics_text *t, struct evbuffer *out)
{
	t->sink = (struct metrics_sink){ .family = put_family, .sample = put_sample };
	t->out = out;
	t->name = NULL;
	t->len = 0;
}

void metrics_text_end(struct metrics_text *t)
{
	flush(t);
	free(t->name);
	t->name = NULL;
}
