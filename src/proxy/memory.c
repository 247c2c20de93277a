/* memory.c - see memory.h */
#include "proxy/memory.h"

#include <stdatomic.h>

static _Atomic uint32_t waiting;

void memory_wait_begin(void)
{
	atomic_fetch_add_explicit(&waiting, 1, memory_order_relaxed);
}

void memory_wait_end(void)
{
	atomic_fetch_sub_explicit(&waiting, 1, memory_order_relaxed);
}

bool memory_is_short(void)
{
	return atomic_load_explicit(&waiting, memory_order_relaxed) > 0;
}
