/* test_warm.c - who stays warm and who is cooled; TLS sessions that keep their buffers meanwhile and give them back. */
#include "base/warm.h"

#include <stddef.h>
#include <stdlib.h>

#include <openssl/crypto.h>

#include "loop_helper.h"
#include "tls_pair.h"

/* ---- the set ---- */

struct thing {
	struct warm_item item;
	unsigned cooled;
};

static struct warm_set *set;
static struct thing things[WARM_MAX + 3];

static void on_cool(struct warm_item *item)
{
	ck_assert(!item->is_warm);
	container_of(item, struct thing, item)->cooled++;
}

static void setup(void)
{
	helper_loop_start();
	set = warm_set_new(&loop);
	for (unsigned i = 0; i < ARRAY_LEN(things); i++) {
		warm_item_init(&things[i].item, set, on_cool);
		things[i].cooled = 0;
	}
}

static void teardown(void)
{
	warm_set_free(set);
	helper_loop_end();
}

/* So many uses that a cold one is warm with the last, if there is a place. */
static bool warm_up(struct warm_item *item)
{
	for (unsigned i = 1; i < WARM_AFTER; i++)
		ck_assert(!warm_use(item));
	return warm_use(item);
}

static void leave_all(void)
{
	for (unsigned i = 0; i < ARRAY_LEN(things); i++)
		warm_leave(&things[i].item);
	ck_assert_uint_eq(set->count, 0);
}

START_TEST(the_idle_are_cooled_and_the_busy_stay)
{
	for (unsigned i = 0; i < 7; i++) {
		ck_assert(warm_up(&things[i].item));
		ck_assert(!warm_use(&things[i].item)); /* it is already */
	}
	warm_look(set); /* all were used since the last one */
	ck_assert_uint_eq(set->count, 7);
	warm_use(&things[0].item);
	warm_use(&things[3].item);
	warm_use(&things[6].item);
	warm_look(set);
	for (unsigned i = 0; i < 7; i++)
		ck_assert_uint_eq(things[i].cooled, i % 3 ? 1 : 0);
	ck_assert_uint_eq(set->count, 3);
	ck_assert(warm_up(&things[1].item)); /* and warms up again */
	warm_leave(&things[0].item);
	warm_leave(&things[0].item);
	warm_look(set);
	ck_assert_uint_eq(set->count, 1);
	ck_assert(things[1].item.is_warm);
	ck_assert_uint_eq(things[0].cooled, 0); /* it has left by itself */
	leave_all();
}
END_TEST

START_TEST(a_full_set_takes_no_more)
{
	for (unsigned i = 0; i < ARRAY_LEN(things); i++)
		ck_assert(warm_up(&things[i].item) == (i < WARM_MAX));
	ck_assert_uint_eq(set->count, WARM_MAX);
	warm_look(set);
	for (unsigned i = 0; i < ARRAY_LEN(things); i++)
		ck_assert_uint_eq(things[i].cooled, 0);
	warm_leave(&things[5].item);
	ck_assert(warm_use(&things[WARM_MAX].item)); /* busy for long */
	ck_assert(!warm_use(&things[WARM_MAX + 1].item));
	leave_all();
}
END_TEST

START_TEST(without_a_set_all_is_cold)
{
	struct thing thing = { 0 };

	warm_item_init(&thing.item, NULL, on_cool);
	ck_assert(!warm_up(&thing.item));
	warm_leave(&thing.item);
	ck_assert(!thing.item.is_warm);
}
END_TEST

/* The loop is not woken for a set in which nothing is left. */
START_TEST(looks_end_with_the_last_one)
{
	ck_assert(list_is_empty(&set->look.node));
	timeout_queue_set_duration(&loop, &set->looks, 1);
	warm_up(&things[0].item);
	warm_up(&things[1].item);
	ck_assert(!list_is_empty(&set->look.node));
	warm_leave(&things[1].item);
	loop_until(things[0].cooled == 1);
	ck_assert_uint_eq(things[1].cooled, 0);
	ck_assert(list_is_empty(&set->look.node));
	warm_up(&things[1].item);
	ck_assert(!list_is_empty(&set->look.node));
	loop_until(things[1].cooled == 1);
	ck_assert(list_is_empty(&set->look.node));
}
END_TEST

/* ---- TLS sessions ---- */

#define RECORD_BUFFER 16384

/* What OpenSSL holds, counted in front of each block. */
static size_t held;

struct block {
	_Alignas(max_align_t) size_t size;
};

static void *count_malloc(size_t size, const char *file, int line)
{
	struct block *b = malloc(sizeof(*b) + size);

	(void)file;
	(void)line;
	if (!b)
		return NULL;
	b->size = size;
	held += size;
	return b + 1;
}

static void count_free(void *p, const char *file, int line)
{
	struct block *b = p;

	(void)file;
	(void)line;
	if (!b)
		return;
	held -= b[-1].size;
	free(b - 1);
}

static void *count_realloc(void *p, size_t size, const char *file, int line)
{
	struct block *b = p;
	void *grown;

	if (size == 0) {
		count_free(p, file, line);
		return NULL;
	}
	grown = count_malloc(size, file, line);
	if (grown && b) {
		memcpy(grown, p, MIN(size, b[-1].size));
		count_free(p, file, line);
	}
	return grown;
}

static struct pair warm_pair(void)
{
	struct pair p =
		connect_pair(client_context("ca.crt", NULL, true), server_context("node", NULL), "node.example");

	/* The second time nothing is left of the handshake, in whose buffers the client has read on. */
	expect_open(&p);
	expect_open(&p);
	tls_keep_warm(p.server, set);
	return p;
}

/* A read more than makes it warm: the one that did was a cold one, its buffer is gone. */
static void be_busy(struct pair *p)
{
	for (unsigned i = 0; i <= WARM_AFTER; i++)
		expect_open(p);
}

static void end_warm_pair(struct pair *p)
{
	end_pair(p);
	ck_assert_uint_eq(set->count, 0);
}

/* Less than a log-in reads leaves everything as it is. */
START_TEST(an_idle_session_keeps_nothing)
{
	struct pair p = warm_pair();
	const size_t cold = held;

	for (unsigned i = 1; i < WARM_AFTER; i++)
		expect_open(&p);
	ck_assert_uint_eq(set->count, 0);
	ck_assert_uint_le(held, cold);
	end_warm_pair(&p);
}
END_TEST

START_TEST(a_busy_session_keeps_its_buffers)
{
	struct pair p = warm_pair();
	const size_t cold = held;

	for (int round = 0; round < 3; round++) {
		be_busy(&p);
		ck_assert_uint_eq(set->count, 1);
		ck_assert_uint_ge(held, cold + 2 * RECORD_BUFFER);
		warm_look(set); /* it was used */
		ck_assert_uint_ge(held, cold + 2 * RECORD_BUFFER);
		warm_look(set);
		ck_assert_uint_eq(set->count, 0);
		ck_assert_uint_le(held, cold);
	}
	/* Without a place nothing is kept. */
	for (unsigned i = 0; i < WARM_MAX; i++)
		warm_up(&things[i].item);
	be_busy(&p);
	ck_assert_uint_le(held, cold);
	leave_all();
	end_warm_pair(&p);
}
END_TEST

static void look_twice(void)
{
	warm_look(set);
	warm_look(set);
	ck_assert_uint_eq(set->count, 0);
}

/*
 * It waits for the rest of a record when it is cooled, of which the header may have been looked at already: the part is
 * not given back. Later it all is.
 */
START_TEST(half_a_record_stays)
{
	const ssize_t cuts[] = { 1, 4, 5, 6, 17, 39 };
	struct pair p = warm_pair();
	const size_t cold = held;
	uint8_t wire[256];
	char buf[64];
	size_t got;

	for (unsigned i = 0; i < ARRAY_LEN(cuts); i++) {
		ssize_t len;

		be_busy(&p);
		send_text(p.client, "in two parts behind one");
		len = recv(p.server_fd, wire, sizeof(wire), 0);
		ck_assert_int_gt(len, cuts[i]);
		ck_assert_int_eq(send(p.client_fd, wire, (size_t)cuts[i], 0), cuts[i]);
		ck_assert_int_eq(tls_read(p.server, buf, sizeof(buf), &got), TLS_WANT_READ);
		look_twice();
		send_text(p.server, "meanwhile");
		expect_data(p.client, "meanwhile");
		ck_assert_int_eq(send(p.client_fd, wire + cuts[i], (size_t)(len - cuts[i]), 0), len - cuts[i]);
		expect_data(p.server, "in two parts behind one");
		look_twice();
		ck_assert_uint_le(held, cold);
	}
	end_warm_pair(&p);
}
END_TEST

/* The record has been decrypted, its owner has read some of it, and another one waits behind it. */
START_TEST(what_was_not_read_stays)
{
	struct pair p = warm_pair();
	const size_t cold = held;
	char buf[4];
	size_t got;

	be_busy(&p);
	send_text(p.client, "read in parts");
	send_text(p.client, "the next one");
	ck_assert_int_eq(tls_read(p.server, buf, sizeof(buf), &got), TLS_OK);
	ck_assert_uint_eq(got, sizeof(buf));
	look_twice();
	expect_data(p.server, " in partsthe next one");
	send_text(p.server, "the answer");
	expect_data(p.client, "the answer");
	look_twice();
	ck_assert_uint_le(held, cold);
	end_warm_pair(&p);
}
END_TEST

int main(void)
{
	const struct pki_cert certs[] = {
		{ .file = "ca", .is_ca = true },
		{ .file = "node", .issuer = "ca", .san = "DNS:node.example", .eku = "serverAuth" },
	};
	TCase *tc = tcase_create("warm");

	/* Before OpenSSL has allocated anything. */
	if (CRYPTO_set_mem_functions(count_malloc, count_realloc, count_free) != 1)
		return EXIT_FAILURE;
	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, the_idle_are_cooled_and_the_busy_stay);
	tcase_add_test(tc, a_full_set_takes_no_more);
	tcase_add_test(tc, without_a_set_all_is_cold);
	tcase_add_test(tc, looks_end_with_the_last_one);
	tcase_add_test(tc, an_idle_session_keeps_nothing);
	tcase_add_test(tc, a_busy_session_keeps_its_buffers);
	tcase_add_test(tc, half_a_record_stays);
	tcase_add_test(tc, what_was_not_read_stays);
	return run_with_pki(tc, certs, ARRAY_LEN(certs), NULL);
}
