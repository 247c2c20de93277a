/* test_plugin_watch.c - a signal that comes while a plugin is waited for is there when it is back, whenever it came. */
#include "policy/plugin_watch.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include "vectors.h"

#define ROUNDS 3000

static atomic_uint round_number, sent;

/* One signal for each round, sooner or later. */
static void *send_signals(void *arg)
{
	(void)arg;
	for (unsigned i = 1; i <= ROUNDS; i++) {
		while (atomic_load(&round_number) < i)
			;
		for (volatile unsigned k = i * 7919 % 60000; k > 0; k--)
			;
		kill(getpid(), SIGTERM);
		atomic_store(&sent, i);
	}
	return NULL;
}

START_TEST(signals_are_not_lost)
{
	const struct timespec patience = { .tv_sec = 5 };
	struct plugin_instance plugin = { .name = (char *)(uintptr_t) "p" };
	struct plugin_watch *watch = plugin_watch_new(1, 60000);
	sigset_t all, old, term, pending;
	pthread_t thread;

	sigfillset(&all);
	sigemptyset(&term);
	sigaddset(&term, SIGTERM);
	pthread_sigmask(SIG_BLOCK, &all, &old);
	ck_assert_int_eq(pthread_create(&thread, NULL, send_signals, NULL), 0);
	for (unsigned i = 1; i <= ROUNDS; i++) {
		atomic_store(&round_number, i);
		plugin_watch_call(watch, &plugin, "reload()");
		plugin_watch_back(watch);
		while (atomic_load(&sent) < i)
			;
		ck_assert_msg(sigtimedwait(&term, NULL, &patience) == SIGTERM, "lost in round %u", i);
		sigpending(&pending);
		ck_assert_msg(!sigismember(&pending, SIGTERM), "one too many in round %u", i);
	}
	pthread_join(thread, NULL);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	plugin_watch_free(watch);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("plugin_watch");

	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, signals_are_not_lost);
	return run_tcase("plugin_watch", tc);
}
