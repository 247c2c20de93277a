/* selftest.c - see selftest.h */
#include "selftest.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "peer.h"

#define MAX_TESTS 64
#define OUTPUT_LEN 4096

struct attempt {
	const struct selftest *test;
	pid_t pid;
	int output; /* what it writes to stderr */
};

static struct attempt start(const struct selftest *test)
{
	struct attempt a = { .test = test, .output = memfd_create("selftest", MFD_CLOEXEC) };

	fflush(NULL);
	a.pid = fork();
	if (a.output < 0 || a.pid < 0)
		die("%s: %s", test->name, strerror(errno));
	if (a.pid == 0) {
		dup2(a.output, STDERR_FILENO);
		test->run(test);
		/* Not exit(): connections that are still open are no leak. */
		_exit(0);
	}
	return a;
}

/* True when it ended as it should. */
static bool finish(const struct attempt *a)
{
	const int expected = a->test->message ? 1 : 0;
	char output[OUTPUT_LEN];
	ssize_t len;
	int status;
	bool ok;

	if (waitpid(a->pid, &status, 0) != a->pid)
		die("waitpid: %s", strerror(errno));
	len = pread(a->output, output, sizeof(output) - 1, 0);
	output[MAX(len, 0)] = 0;
	close(a->output);
	ok = WIFEXITED(status) && WEXITSTATUS(status) == expected &&
	     (!a->test->message || strstr(output, a->test->message));
	if (!ok)
		printf("selftest:0:F:%s: status %d instead of %d, output: %s\n", a->test->name, status, expected,
		       output);
	return ok;
}

int selftest_run(void)
{
	static const struct selftest *const parts[] = { selftest_histogram, selftest_peer, selftest_proc_stat,
							selftest_load };
	struct attempt attempts[MAX_TESTS];
	unsigned count = 0;
	unsigned failed = 0;

	/* All at once: they wait more than they work. */
	for (unsigned i = 0; i < ARRAY_LEN(parts); i++) {
		for (const struct selftest *test = parts[i]; test->name && count < MAX_TESTS; test++)
			attempts[count++] = start(test);
	}
	for (unsigned i = 0; i < count; i++)
		failed += !finish(&attempts[i]);
	/* As the library check says it, whose summaries are counted. */
	printf("%u%%: Checks: %u, Failures: %u, Errors: 0\n", 100 * (count - failed) / count, count, failed);
	return failed > 0;
}
