/*
 * no_memory.c - preloaded into the proxy by test_memory.py: of the blocks that
 * have between NO_MEMORY_FROM and NO_MEMORY_TO bytes the one with the number
 * NO_MEMORY_AT, counted from 1, is not to be had.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdatomic.h>
#include <stdlib.h>

static size_t from = 1, to;
static int at;
static _Atomic int count;

__attribute__((constructor)) static void set_up(void)
{
	const char *texts[] = { getenv("NO_MEMORY_FROM"), getenv("NO_MEMORY_TO"), getenv("NO_MEMORY_AT") };

	if (!texts[0] || !texts[1] || !texts[2])
		return;
	from = strtoul(texts[0], NULL, 10);
	to = strtoul(texts[1], NULL, 10);
	at = atoi(texts[2]);
}

void *malloc(size_t size)
{
	static void *(*real)(size_t);

	if (!real)
		*(void **)&real = dlsym(RTLD_NEXT, "malloc");
	if (size >= from && size <= to && atomic_fetch_add(&count, 1) + 1 == at)
		return NULL;
	return real(size);
}
