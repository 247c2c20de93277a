/* dice.h - random numbers of fixtures that decide by chance: the same ones for the same start, from any thread. */
#ifndef TESTS_PLUGINS_DICE_H
#define TESTS_PLUGINS_DICE_H

#include <stdatomic.h>

/* Below n. */
static inline unsigned dice_throw(atomic_uint *dice, unsigned n)
{
	unsigned x = atomic_fetch_add(dice, 0x9E3779B9u);

	x ^= x >> 16;
	x *= 0x7FEB352Du;
	x ^= x >> 15;
	x *= 0x846CA68Bu;
	return (x ^ x >> 16) % n;
}

#endif
