/* common.h - the few macros that every file of the tree may use. */
#ifndef BASE_COMMON_H
#define BASE_COMMON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MUSTCHECK __attribute__((warn_unused_result))
/* For the few functions that are called more than once on the way of every request. */
#define ALWAYS_INLINE inline __attribute__((always_inline))
#define PRINTF_LIKE(fmt, args) __attribute__((format(printf, fmt, args)))
#define NORETURN __attribute__((noreturn))

#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))

/*
 * What one thread writes while others use what lies beside it stands in a line
 * of its own: a line that two cores write, or that one writes and others read,
 * costs more than the rest of a small request. `OWN_LINE` in front of a member
 * begins a new line there; behind the last one of them the next needs it, too.
 */
#define CACHE_LINE 64
#define OWN_LINE _Alignas(CACHE_LINE)

/* The object that holds `member` at address `ptr`. */
#define container_of(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

/*
 * Assert() states an invariant of ours. It is compiled in by --enable-cassert
 * (always in CI) and vanishes otherwise, so it never guards against input.
 */
#ifdef CQLFERRY_CASSERT
NORETURN void assert_failed(const char *expr, const char *file, int line);
#define Assert(expr) ((expr) ? (void)0 : assert_failed(#expr, __FILE__, __LINE__))
#else
/* Compiled, so that what only serves assertions is not "unused", but never evaluated. */
#define Assert(expr) ((void)(0 && (expr)))
#endif

/*
 * Allocation that ends the process with a message when memory is exhausted:
 * for start-up and for small objects, whose loss nobody could handle. Sizes
 * that come from the network never pass through here; see chunk_try_new().
 */
void *xmalloc(size_t size);
void *xcalloc(size_t count, size_t size);
/* Zeroed like xcalloc()'s, and in cache lines that nothing else shares. It is all written to, so not for large tables. */
void *xcalloc_apart(size_t count, size_t size);
void *xrealloc(void *old, size_t size);
char *xstrdup(const char *s);
char *xstrndup(const char *s, size_t n);
char *xasprintf(const char *fmt, ...) PRINTF_LIKE(1, 2);
/* How the functions above end the process, for other allocators. */
NORETURN void out_of_memory(size_t size);

#endif
