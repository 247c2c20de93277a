/*
 * verifier.h - threads that compare passwords, since one comparison takes
 * milliseconds and a worker must not wait.
 *
 *   worker: verifier_ask() -> queue -> thread: check() -> done(ticket)
 *   worker: verifier_result() -> verifier_drop(), at any time
 *
 * The queue is bounded: whoever finds it full says so at once.
 */
#ifndef AUTH_MAP_VERIFIER_H
#define AUTH_MAP_VERIFIER_H

#include "digest.h"
#include "hash.h"
#include "lockout.h"

/* crypt(3) takes no longer ones; hashes are checked for theirs when the file is read. */
#define VERIFIER_PASSWORD_MAX 511
#define VERIFIER_HASH_MAX 383

enum verifier_result {
	VERIFIER_PENDING,
	VERIFIER_GOOD,
	VERIFIER_WRONG,
	VERIFIER_LATE,   /* it has waited for too long */
	VERIFIER_LOCKED, /* its address was locked out meanwhile */
};

/* What is asked. Copied into locked memory, and wiped after use. */
struct verifier_question {
	uint64_t ticket;
	uint64_t give_up_ns; /* when nobody waits for the answer any more; CLOCK_MONOTONIC */
	const char *password;
	size_t password_length;
	const char *hash;
	bool is_decoy;           /* the user does not exist: WRONG, but in the same time */
	uint8_t key[DIGEST_LEN]; /* by which it is remembered */
	uint64_t validity_ns;    /* for so long */
	bool has_address;
	uint8_t address[LOCKOUT_KEY_LEN];
	struct lockout_limits limits;
};

struct verifier_job {
	struct verifier_job *next; /* in the queue, or free */
	struct verifier_job **at;  /* in the queue: what points to it; else NULL */
	enum verifier_result result;
	bool is_dropped;                   /* while a thread has it */
	struct verifier_question question; /* its texts are these: */
	char password[VERIFIER_PASSWORD_MAX + 1];
	char hash[VERIFIER_HASH_MAX + 1];
};

struct verifier;

struct verifier_ops {
	/* In a helper thread; never PENDING. */
	enum verifier_result (*check)(void *arg, const struct verifier_question *q, struct hash_room *room);
	/* In a helper thread, when the result is there. */
	void (*done)(void *arg, uint64_t ticket);
};

/* Threads that are as `nice` to others as this number says (0 to 19). NULL: errno says why there is none. */
struct verifier *verifier_new(unsigned threads, unsigned queue, int nice, const struct verifier_ops *ops, void *arg);
/* Ends and joins the threads; jobs that are out are gone with it. NULL is harmless. */
void verifier_free(struct verifier *v);

/* From any thread. NULL: the queue is full. */
struct verifier_job *verifier_ask(struct verifier *v, const struct verifier_question *q);
enum verifier_result verifier_result(struct verifier *v, struct verifier_job *job);
/* Nobody wants to know any more: the job is gone. */
void verifier_drop(struct verifier *v, struct verifier_job *job);
/* Those that have waited until their time to give up are LATE, though no thread came to them. Any thread, now and then. */
void verifier_expire(struct verifier *v, uint64_t now_ns);
/* Jobs that wait for a thread. */
uint32_t verifier_waiting(struct verifier *v);

#endif
