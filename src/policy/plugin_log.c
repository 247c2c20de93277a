/*
 * plugin_log.c - see plugin_log.h
 *
 * The lines of the last second, as many as there is room for; one more pushes
 * the oldest out. They are found by a hash of the whole line.
 */
#include "policy/plugin_log.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/log.h"

#define LINES 32
#define WINDOW_NS UINT64_C(1000000000)
/* Of a line, when it is said again with its count. */
#define KEPT 256

struct line {
	uint64_t hash; /* 0: free */
	uint64_t since_ns;
	unsigned more; /* times, without the first */
	enum log_level level;
	char text[KEPT];
};

static struct {
	pthread_mutex_t lock;
	struct line lines[LINES];
	struct event tick;
	bool has_tick;
} repeats = { .lock = PTHREAD_MUTEX_INITIALIZER };

/* Says how often it came, and forgets it. */
static void end_line(struct line *l)
{
	if (l->hash && l->more)
		log_write(l->level, "%s (%u times more)", l->text, l->more);
	l->hash = 0;
}

static void end_lines(uint64_t now, bool all)
{
	for (unsigned i = 0; i < LINES; i++) {
		struct line *l = &repeats.lines[i];

		if (l->hash && (all || now - l->since_ns >= WINDOW_NS))
			end_line(l);
	}
}

/* The line if it was written within the last second; else NULL, and a place for it in *place. */
static struct line *find(uint64_t hash, struct line **place)
{
	*place = &repeats.lines[0];
	for (unsigned i = 0; i < LINES; i++) {
		struct line *l = &repeats.lines[i];

		if (l->hash == hash)
			return l;
		if (!l->hash || ((*place)->hash && l->since_ns < (*place)->since_ns))
			*place = l;
	}
	return NULL;
}

/* False: it is counted. */
static bool pass(enum log_level level, const char *text)
{
	const uint64_t hash = XXH3_64bits(text, strlen(text)) | 1;
	const uint64_t now = loop_clock_ns();
	struct line *l, *place;

	pthread_mutex_lock(&repeats.lock);
	end_lines(now, false);
	l = find(hash, &place);
	if (l) {
		l->more++;
	} else {
		end_line(place);
		*place = (struct line){ .hash = hash, .since_ns = now, .level = level };
		snprintf(place->text, sizeof(place->text), "%.*s", KEPT - 1, text);
	}
	pthread_mutex_unlock(&repeats.lock);
	return l == NULL;
}

void plugin_log(const struct cqlferry_host *host, int32_t level, const char *fmt, ...)
{
	static const enum log_level levels[] = {
		[CQLFERRY_LOG_ERROR] = LOG_ERROR,
		[CQLFERRY_LOG_WARN] = LOG_WARN,
		[CQLFERRY_LOG_INFO] = LOG_INFO,
		[CQLFERRY_LOG_DEBUG] = LOG_DEBUG,
	};
	const enum log_level ours = level < 0 ? LOG_ERROR : levels[MIN((size_t)level, ARRAY_LEN(levels) - 1)];
	char text[PLUGIN_TEXT_MAX * 4];
	va_list args;
	int n;

	if (!log_enabled(ours))
		return;
	n = snprintf(text, sizeof(text), "plugin %s: ", host->instance);
	va_start(args, fmt);
	vsnprintf(text + n, sizeof(text) - (size_t)n, fmt, args);
	va_end(args);
	if (pass(ours, text))
		log_write(ours, "%s", text);
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	(void)arg;
	pthread_mutex_lock(&repeats.lock);
	end_lines(loop_clock_ns(), false);
	pthread_mutex_unlock(&repeats.lock);
}

void plugin_log_start(struct event_base *base)
{
	const struct timeval second = { .tv_sec = 1 };

	event_assign(&repeats.tick, base, -1, EV_PERSIST, on_tick, NULL);
	event_add(&repeats.tick, &second);
	repeats.has_tick = true;
}

void plugin_log_stop(void)
{
	pthread_mutex_lock(&repeats.lock);
	end_lines(0, true);
	pthread_mutex_unlock(&repeats.lock);
	if (repeats.has_tick)
		event_del(&repeats.tick);
	repeats.has_tick = false;
}
