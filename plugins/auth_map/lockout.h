/*
 * lockout.h - addresses from which too many log-ins have failed. Such a one is
 * refused for a while without a look at its passwords. An IPv6 address counts
 * with its network of 64 bits, which one host may have whole. A log-in that is
 * good resets nothing: who has one account could else try others for ever. Any
 * thread.
 */
#ifndef AUTH_MAP_LOCKOUT_H
#define AUTH_MAP_LOCKOUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LOCKOUT_KEY_LEN 17

struct lockout;

struct lockout_limits {
	uint32_t failures; /* 0: nobody is locked out */
	uint64_t window_ns;
	uint64_t time_ns;
};

struct lockout *lockout_new(void);
void lockout_free(struct lockout *l);

/* False for what is no address, which is never locked out. */
bool lockout_key(uint8_t key[LOCKOUT_KEY_LEN], const char *address, size_t length);

/* For so many nanoseconds still; 0: it is not. */
uint64_t lockout_left(struct lockout *l, const uint8_t key[LOCKOUT_KEY_LEN], uint64_t now_ns);
/* A log-in has failed. True: with that the address is locked out, which it was not before. */
bool lockout_failed(struct lockout *l, const uint8_t key[LOCKOUT_KEY_LEN], uint64_t now_ns,
		    const struct lockout_limits *limits);
/* Addresses that are locked out now. */
uint32_t lockout_count(struct lockout *l, uint64_t now_ns);

#endif
