/*
 * log.h - lines on standard error or in a file, as text or as JSON. Any thread
 * may log; a line is written by one write(2). The level is checked before
 * anything is formatted, so a line below the level costs one compare.
 *
 * Secrets are never passed to these functions.
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include "base/common.h"

/* X(name, word) in falling order of importance */
#define LOG_LEVELS(X)                                                                                                  \
	X(ERROR, "error")                                                                                              \
	X(WARN, "warn")                                                                                                \
	X(INFO, "info")                                                                                                \
	X(DEBUG, "debug")                                                                                              \
	X(TRACE, "trace")

enum log_level {
#define X(name, word) LOG_##name,
	LOG_LEVELS(X)
#undef X
};

/* The level in force; read by the macros, changed by log_set_level(). */
extern int log_level_now;

void log_set_level(enum log_level level);
void log_set_json(bool json);

/*
 * Opens a file to append to, made with mode 0640 when there is none; NULL is
 * standard error. The descriptor is for log_use(). -1 with the reason, which
 * names the file, in `error`.
 */
int log_open(const char *path, char *error, size_t error_size);
/* Whether log_open() will do, as far as can be said without making a file. */
MUSTCHECK bool log_can_open(const char *path, char *error, size_t error_size);
/* The lines of all threads go there from now on. Takes over the descriptor. One thread only. */
void log_use(int fd);
/* Both, when the process starts; says so in both places, or why not. */
MUSTCHECK bool log_go_on_in(const char *path);

/* "error" ... "trace"; the reverse returns -1 for an unknown word (any letter case is accepted). */
const char *log_level_name(enum log_level level);
int log_level_from_name(const char *word);

void log_write(enum log_level level, const char *fmt, ...) PRINTF_LIKE(2, 3);

/*
 * For lines that input could repeat without end: at most `LOG_BURST` lines in
 * LOG_WINDOW_S seconds per place in the code, then one line that says how many
 * were left out.
 */
struct log_limit {
	uint64_t window_start_s;
	uint32_t lines;
	uint32_t dropped;
};
#define LOG_BURST 10
#define LOG_WINDOW_S 10
/* True when the line may be written. Thread-safe. */
bool log_limit_pass(struct log_limit *limit, enum log_level level, const char *what);

#define log_enabled(level) (unlikely((int)(level) <= __atomic_load_n(&log_level_now, __ATOMIC_RELAXED)))
#define log_at(level, ...) (log_enabled(level) ? log_write(level, __VA_ARGS__) : (void)0)
#define log_error(...) log_at(LOG_ERROR, __VA_ARGS__)
#define log_warn(...) log_at(LOG_WARN, __VA_ARGS__)
#define log_info(...) log_at(LOG_INFO, __VA_ARGS__)
#define log_debug(...) log_at(LOG_DEBUG, __VA_ARGS__)
#define log_trace(...) log_at(LOG_TRACE, __VA_ARGS__)
/* The rate-limited form. */
#define log_limited(level, ...)                                                                                        \
	do {                                                                                                           \
		static struct log_limit limit_;                                                                        \
		if (log_enabled(level) && log_limit_pass(&limit_, level, __func__))                                    \
			log_write(level, __VA_ARGS__);                                                                 \
	} while (0)

#endif
