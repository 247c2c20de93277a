/* report.c - see report.h */
#include "report.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* Who uses so much of a core sets the pace. */
#define BUSY_SHARE 0.95

static double window_s(const struct window *w)
{
	return (double)(w->end_ns - w->begin_ns) / 1e9;
}

/* Not of what was due in the window: of a proxy that falls behind, some of those answers come later. */
static double rate(const struct window *w)
{
	return (double)w->answers / window_s(w);
}

static struct proc_spent own_spent(const struct window *w)
{
	return (struct proc_spent){ .user_s = w->own_end.user_s - w->own_begin.user_s,
				    .system_s = w->own_end.system_s - w->own_begin.system_s };
}

static double sum_s(struct proc_spent spent)
{
	return spent.user_s + spent.system_s;
}

static double requests_per_cpu_second(const struct window *w)
{
	const double cpu_s = sum_s(proc_spent_between(&w->cpu_begin, &w->cpu_end));

	return cpu_s > 0 ? (double)w->answers / cpu_s : 0;
}

/* The generator first: where it is busy, nothing can be said about the proxy's peak. */
static const char *bottleneck(const struct window *w)
{
	const double busy_s = BUSY_SHARE * window_s(w);

	if (sum_s(own_spent(w)) > busy_s)
		return "generator";
	if (w->pid > 0 && sum_s(proc_spent_between(&w->cpu_begin, &w->cpu_end)) > busy_s)
		return "proxy";
	return "neither";
}

static double quantile_us(const struct window *w, double q)
{
	return (double)histogram_quantile(&w->latency, q) / 1e3;
}

/* ---- lines ---- */

static void print_proxy_lines(FILE *out, const struct window *w)
{
	const struct proc_spent spent = proc_spent_between(&w->cpu_begin, &w->cpu_end);

	fprintf(out, "proxy_cpu_user_s=%.3f\n", spent.user_s);
	fprintf(out, "proxy_cpu_system_s=%.3f\n", spent.system_s);
	fprintf(out, "proxy_rss_kib=%" PRIu64 "\n", w->facts_end.rss_kib);
	fprintf(out, "requests_per_cpu_second=%.0f\n", requests_per_cpu_second(w));
}

static void print_lines(FILE *out, const struct window *w)
{
	const struct proc_spent own = own_spent(w);

	fprintf(out, "requests=%" PRIu64 "\n", w->latency.count);
	fprintf(out, "errors=%" PRIu64 "\n", w->errors);
	fprintf(out, "dropped=%" PRIu64 "\n", w->dropped);
	fprintf(out, "reconnects=%" PRIu64 "\n", w->reconnects);
	fprintf(out, "seconds=%.3f\n", window_s(w));
	fprintf(out, "rate=%.0f\n", rate(w));
	fprintf(out, "p50_us=%.1f\n", quantile_us(w, 0.5));
	fprintf(out, "p90_us=%.1f\n", quantile_us(w, 0.9));
	fprintf(out, "p99_us=%.1f\n", quantile_us(w, 0.99));
	fprintf(out, "p99.9_us=%.1f\n", quantile_us(w, 0.999));
	fprintf(out, "max_us=%.1f\n", (double)w->latency.max / 1e3);
	fprintf(out, "generator_cpu_user_s=%.3f\n", own.user_s);
	fprintf(out, "generator_cpu_system_s=%.3f\n", own.system_s);
	if (w->pid > 0)
		print_proxy_lines(out, w);
	fprintf(out, "steal_percent=%.2f\n", proc_stolen_percent(&w->machine_begin, &w->machine_end));
	fprintf(out, "bottleneck=%s\n", bottleneck(w));
}

/* ---- JSON ---- */

static void print_latency(FILE *out, const struct window *w)
{
	char *text = histogram_text(&w->latency);

	fprintf(out,
		", \"latency_us\": {\"mean\": %.2f, \"p50\": %.2f, \"p90\": %.2f, \"p99\": %.2f, \"p99.9\": %.2f, "
		"\"max\": %.2f}",
		histogram_mean(&w->latency) / 1e3, quantile_us(w, 0.5), quantile_us(w, 0.9), quantile_us(w, 0.99),
		quantile_us(w, 0.999), (double)w->latency.max / 1e3);
	fprintf(out, ", \"histogram\": \"%s\"", text);
	free(text);
}

static void print_proxy(FILE *out, const struct window *w)
{
	const struct proc_spent spent = proc_spent_between(&w->cpu_begin, &w->cpu_end);

	if (w->pid <= 0) {
		fputs(", \"proxy\": null, \"requests_per_cpu_second\": null", out);
		return;
	}
	fprintf(out, ", \"proxy\": {\"pid\": %d, \"cpu_user_s\": %.6f, \"cpu_system_s\": %.6f", (int)w->pid,
		spent.user_s, spent.system_s);
	fprintf(out, ", \"rss_begin_kib\": %" PRIu64 ", \"rss_end_kib\": %" PRIu64 ", \"rss_peak_kib\": %" PRIu64,
		w->facts_begin.rss_kib, w->facts_end.rss_kib, w->facts_end.peak_kib);
	fprintf(out, ", \"rss_peak_of\": \"%s\"", w->has_own_peak ? "window" : "process");
	fprintf(out, ", \"voluntary_switches\": %" PRId64 ", \"involuntary_switches\": %" PRId64,
		(int64_t)(w->facts_end.voluntary_switches - w->facts_begin.voluntary_switches),
		(int64_t)(w->facts_end.involuntary_switches - w->facts_begin.involuntary_switches));
	fprintf(out, ", \"threads\": %u, \"fds\": %u}", w->facts_end.threads, w->facts_end.fds);
	fprintf(out, ", \"requests_per_cpu_second\": %.1f", requests_per_cpu_second(w));
}

static void print_json(FILE *out, const struct load *l)
{
	const struct window *w = &l->window;
	const struct proc_spent own = own_spent(w);

	fputs("{\"version\": 1, \"options\": ", out);
	options_print_json(l->options, out);
	fprintf(out, ", \"window_s\": %.6f, \"requests\": %" PRIu64 ", \"rate\": %.1f", window_s(w), w->latency.count,
		rate(w));
	fprintf(out, ", \"errors\": %" PRIu64 ", \"dropped\": %" PRIu64 ", \"reconnects\": %" PRIu64, w->errors,
		w->dropped, w->reconnects);
	print_latency(out, w);
	fprintf(out, ", \"generator\": {\"cpu_user_s\": %.6f, \"cpu_system_s\": %.6f}", own.user_s, own.system_s);
	print_proxy(out, w);
	fprintf(out, ", \"steal_percent\": %.3f, \"bottleneck\": \"%s\"}\n",
		proc_stolen_percent(&w->machine_begin, &w->machine_end), bottleneck(w));
}

void report_write(const struct load *l)
{
	const char *path = l->options->json;
	FILE *out = stdout;

	if (path && strcmp(path, "-") != 0) {
		out = fopen(path, "we");
		if (!out)
			die("--json %s: %s", path, strerror(errno));
	}
	if (path)
		print_json(out, l);
	else
		print_lines(out, &l->window);
	/* Also what was printed before: nobody may take half of it for the result. */
	if (fflush(out) != 0 || ferror(out))
		die("%s: %s", out == stdout ? "standard output" : path, strerror(errno));
	if (out != stdout && fclose(out) != 0)
		die("--json %s: %s", path, strerror(errno));
}

void report_check(const struct options *options)
{
	const char *path = options->json;
	FILE *file;

	if (!path || strcmp(path, "-") == 0)
		return;
	file = fopen(path, "ae");
	if (!file)
		die("--json %s: %s", path, strerror(errno));
	fclose(file);
}
