/*
 * line_watch.c - shows which cache lines of a process are used by several of
 * its threads, of which one at least writes. For bench/scaling, which links it
 * to a proxy compiled with -fsanitize=thread in place of that sanitizer's own
 * library: the compiler has put a call in front of every access, and here it is
 * written down which thread has touched which line.
 *
 *   SIGRTMIN    begins to watch, and the next one ends it
 *   at the end  $LINE_WATCH_FILE is written, if it is set:
 *
 *     base ADDRESS                          of the program, for addr2line
 *     line ADDRESS
 *     use THREAD read|write COUNT ADDRESS   of the code
 *
 * Counted are accesses from the moment on when a line was seen to be shared, so
 * one that is shared for each request has some uses per request, and one that a
 * message between threads has passed through has a few. Threads are known by
 * their names; those beyond MAX_THREADS count as one.
 *
 * Seen is our own code, with memcpy(), memmove() and memset(); not libevent,
 * OpenSSL and the kernel.
 */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define LINE 64
#define MAX_THREADS 8
/* Powers of two. The first: lines that are touched while watched, 8 bytes each. */
#define LINE_SLOTS (1u << 24)
#define USE_SLOTS (1u << 16)

/* A line's number, above the threads that have read it, above those that have written it. */
#define LINE_SHIFT (2 * MAX_THREADS)
#define WRITERS ((1u << MAX_THREADS) - 1)

struct use {
	_Atomic uint64_t line; /* 0: the slot is free */
	uintptr_t pc;
	unsigned thread;
	bool is_write;
	_Atomic bool is_ready; /* the members above are there */
	_Atomic uint64_t count;
};

static _Atomic uint64_t *lines;
static struct use *uses;
static atomic_bool is_watching;
static atomic_uint thread_count;
static char names[MAX_THREADS][16];
static _Thread_local unsigned own_number; /* from 1 */
static _Thread_local bool is_inside;      /* what is done here is not watched */
static atomic_ullong lost;                /* tables are full */

/* ---- the tables ---- */

static unsigned thread_number(void)
{
	if (own_number == 0) {
		unsigned n = atomic_fetch_add(&thread_count, 1);

		if (n >= MAX_THREADS)
			n = MAX_THREADS - 1;
		pthread_getname_np(pthread_self(), names[n], sizeof(names[n]));
		own_number = n + 1;
	}
	return own_number - 1;
}

static uint32_t mix(uint64_t x)
{
	return (uint32_t)((x * UINT64_C(0x9e3779b97f4a7c15)) >> 32);
}

/* The line with this access noted; 0 when there is no room. */
static uint64_t note_line(uint64_t line, uint64_t bit)
{
	for (uint32_t i = mix(line), end = i + 64; i != end; i++) {
		_Atomic uint64_t *slot = &lines[i % LINE_SLOTS];
		uint64_t value = atomic_load_explicit(slot, memory_order_relaxed);

		while (value == 0 || value >> LINE_SHIFT == line) {
			const uint64_t next = line << LINE_SHIFT | (value & ((UINT64_C(1) << LINE_SHIFT) - 1)) | bit;

			if (next == value || atomic_compare_exchange_weak(slot, &value, next))
				return next;
		}
	}
	atomic_fetch_add(&lost, 1);
	return 0;
}

static bool is_shared(uint64_t line)
{
	const unsigned writers = line & WRITERS, all = writers | (line >> MAX_THREADS & WRITERS);

	return writers != 0 && (all & (all - 1)) != 0;
}

static void note_use(uint64_t line, unsigned thread, bool is_write, uintptr_t pc)
{
	for (uint32_t i = mix(line ^ pc * 2 ^ (uint64_t)thread << 60 ^ is_write), end = i + 64; i != end; i++) {
		struct use *u = &uses[i % USE_SLOTS];
		uint64_t is_free = 0;

		if (atomic_compare_exchange_strong(&u->line, &is_free, line)) {
			u->pc = pc;
			u->thread = thread;
			u->is_write = is_write;
			atomic_store(&u->is_ready, true);
		}
		while (!atomic_load(&u->is_ready))
			;
		if (atomic_load(&u->line) == line && u->pc == pc && u->thread == thread && u->is_write == is_write) {
			atomic_fetch_add(&u->count, 1);
			return;
		}
	}
	atomic_fetch_add(&lost, 1);
}

static void watch(const volatile void *at, size_t size, bool is_write, void *pc)
{
	const uint64_t first = (uintptr_t)at / LINE, last = ((uintptr_t)at + size - 1) / LINE;
	unsigned thread;

	if (!atomic_load_explicit(&is_watching, memory_order_relaxed) || is_inside || size == 0)
		return;
	is_inside = true;
	thread = thread_number();
	for (uint64_t line = first; line <= last; line++) {
		const uint64_t noted = note_line(line, UINT64_C(1) << (is_write ? thread : thread + MAX_THREADS));

		if (is_shared(noted))
			note_use(line, thread, is_write, (uintptr_t)pc);
	}
	is_inside = false;
}

/* ---- begin and end ---- */

static void on_signal(int number)
{
	(void)number;
	atomic_store(&is_watching, !atomic_load(&is_watching));
}

static void *zeroed(size_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED)
		abort();
	return p;
}

static __attribute__((constructor)) void begin(void)
{
	struct sigaction action = { .sa_handler = on_signal, .sa_flags = SA_RESTART };

	lines = zeroed(LINE_SLOTS * sizeof(*lines));
	uses = zeroed(USE_SLOTS * sizeof(*uses));
	sigaction(SIGRTMIN, &action, NULL);
}

static int by_line(const void *a, const void *b)
{
	const struct use *x = *(const struct use *const *)a, *y = *(const struct use *const *)b;

	return x->line < y->line ? -1 : x->line > y->line;
}

extern char __executable_start;

static __attribute__((destructor)) void end(void)
{
	const char *path = getenv("LINE_WATCH_FILE");
	struct use **sorted = malloc(USE_SLOTS * sizeof(*sorted));
	FILE *f = path ? fopen(path, "w") : NULL;
	size_t n = 0;

	atomic_store(&is_watching, false);
	if (!f || !sorted) {
		free(sorted);
		return;
	}
	for (size_t i = 0; i < USE_SLOTS; i++) {
		if (uses[i].line != 0)
			sorted[n++] = &uses[i];
	}
	qsort(sorted, n, sizeof(*sorted), by_line);
	fprintf(f, "base %#lx\nlost %llu\n", (unsigned long)&__executable_start, atomic_load(&lost));
	for (size_t i = 0; i < n; i++) {
		if (i == 0 || sorted[i]->line != sorted[i - 1]->line)
			fprintf(f, "line %#llx\n", (unsigned long long)sorted[i]->line * LINE);
		fprintf(f, "use %s %s %llu %#lx\n", names[sorted[i]->thread], sorted[i]->is_write ? "write" : "read",
			(unsigned long long)sorted[i]->count, (unsigned long)sorted[i]->pc);
	}
	fclose(f);
	free(sorted);
}

/* ---- what the compiler calls ---- */

void __tsan_init(void);
void __tsan_init(void)
{
}

void __tsan_func_entry(void *pc);
void __tsan_func_entry(void *pc)
{
	(void)pc;
}

void __tsan_func_exit(void);
void __tsan_func_exit(void)
{
}

#define WATCHED(name_, size_, is_write_)                                                                               \
	void name_(void *at);                                                                                          \
	void name_(void *at)                                                                                           \
	{                                                                                                              \
		watch(at, size_, is_write_, __builtin_return_address(0));                                              \
	}
#define WATCHED_SIZE(size_)                                                                                            \
	WATCHED(__tsan_read##size_, size_, false)                                                                      \
	WATCHED(__tsan_write##size_, size_, true)                                                                      \
	WATCHED(__tsan_unaligned_read##size_, size_, false)                                                            \
	WATCHED(__tsan_unaligned_write##size_, size_, true)

WATCHED_SIZE(1)
WATCHED_SIZE(2)
WATCHED_SIZE(4)
WATCHED_SIZE(8)
WATCHED_SIZE(16)

void __tsan_read_range(void *at, size_t size);
void __tsan_read_range(void *at, size_t size)
{
	watch(at, size, false, __builtin_return_address(0));
}

void __tsan_write_range(void *at, size_t size);
void __tsan_write_range(void *at, size_t size)
{
	watch(at, size, true, __builtin_return_address(0));
}

/* Atomics: the strongest order is right for any that was asked for. */
#define ATOMIC_OP(bits_, name_, is_write_, expression_)                                                                \
	uint##bits_##_t __tsan_atomic##bits_##_##name_(volatile uint##bits_##_t *at, uint##bits_##_t v, int order);    \
	uint##bits_##_t __tsan_atomic##bits_##_##name_(volatile uint##bits_##_t *at, uint##bits_##_t v, int order)     \
	{                                                                                                              \
		(void)order;                                                                                           \
		watch(at, bits_ / 8, is_write_, __builtin_return_address(0));                                          \
		return expression_(at, v, __ATOMIC_SEQ_CST);                                                           \
	}
#define ATOMIC_EXCHANGE(bits_, name_)                                                                                  \
	int __tsan_atomic##bits_##_##name_(volatile uint##bits_##_t *at, uint##bits_##_t *old, uint##bits_##_t v,      \
					   int order, int failed);                                                     \
	int __tsan_atomic##bits_##_##name_(volatile uint##bits_##_t *at, uint##bits_##_t *old, uint##bits_##_t v,      \
					   int order, int failed)                                                      \
	{                                                                                                              \
		(void)order;                                                                                           \
		(void)failed;                                                                                          \
		watch(at, bits_ / 8, true, __builtin_return_address(0));                                               \
		return __atomic_compare_exchange_n(at, old, v, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);             \
	}
#define ATOMIC_SIZE(bits_)                                                                                             \
	uint##bits_##_t __tsan_atomic##bits_##_load(const volatile uint##bits_##_t *at, int order);                    \
	uint##bits_##_t __tsan_atomic##bits_##_load(const volatile uint##bits_##_t *at, int order)                     \
	{                                                                                                              \
		(void)order;                                                                                           \
		watch(at, bits_ / 8, false, __builtin_return_address(0));                                              \
		return __atomic_load_n(at, __ATOMIC_SEQ_CST);                                                          \
	}                                                                                                              \
	void __tsan_atomic##bits_##_store(volatile uint##bits_##_t *at, uint##bits_##_t v, int order);                 \
	void __tsan_atomic##bits_##_store(volatile uint##bits_##_t *at, uint##bits_##_t v, int order)                  \
	{                                                                                                              \
		(void)order;                                                                                           \
		watch(at, bits_ / 8, true, __builtin_return_address(0));                                               \
		__atomic_store_n(at, v, __ATOMIC_SEQ_CST);                                                             \
	}                                                                                                              \
	ATOMIC_OP(bits_, exchange, true, __atomic_exchange_n)                                                          \
	ATOMIC_OP(bits_, fetch_add, true, __atomic_fetch_add)                                                          \
	ATOMIC_OP(bits_, fetch_sub, true, __atomic_fetch_sub)                                                          \
	ATOMIC_OP(bits_, fetch_and, true, __atomic_fetch_and)                                                          \
	ATOMIC_OP(bits_, fetch_or, true, __atomic_fetch_or)                                                            \
	ATOMIC_OP(bits_, fetch_xor, true, __atomic_fetch_xor)                                                          \
	ATOMIC_EXCHANGE(bits_, compare_exchange_strong)                                                                \
	ATOMIC_EXCHANGE(bits_, compare_exchange_weak)

ATOMIC_SIZE(8)
ATOMIC_SIZE(16)
ATOMIC_SIZE(32)
ATOMIC_SIZE(64)

/* ---- what the linker calls in place of the functions of these names: -Wl,--wrap ---- */

void *__real_memcpy(void *to, const void *from, size_t n);
void *__wrap_memcpy(void *to, const void *from, size_t n);
void *__wrap_memcpy(void *to, const void *from, size_t n)
{
	watch(from, n, false, __builtin_return_address(0));
	watch(to, n, true, __builtin_return_address(0));
	return __real_memcpy(to, from, n);
}

void *__real_memmove(void *to, const void *from, size_t n);
void *__wrap_memmove(void *to, const void *from, size_t n);
void *__wrap_memmove(void *to, const void *from, size_t n)
{
	watch(from, n, false, __builtin_return_address(0));
	watch(to, n, true, __builtin_return_address(0));
	return __real_memmove(to, from, n);
}

void *__real_memset(void *to, int byte, size_t n);
void *__wrap_memset(void *to, int byte, size_t n);
void *__wrap_memset(void *to, int byte, size_t n)
{
	watch(to, n, true, __builtin_return_address(0));
	return __real_memset(to, byte, n);
}
