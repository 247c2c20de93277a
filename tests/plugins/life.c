/*
 * life.c - says on standard error what is called, and with what; fails where it
 * is told to. -DPLUGIN_NAME and -DPLUGIN_DEPENDS make another plugin of it.
 */
#include "say.h"

#include <cqlferry/plugin.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifndef PLUGIN_NAME
#define PLUGIN_NAME "life"
#endif
#ifndef PLUGIN_DEPENDS
#define PLUGIN_DEPENDS NULL
#endif

enum {
	FAIL_IN,
	FAIL_WORKER,
	WORD,
	OPTION_COUNT,
};

static const struct cqlferry_option options[OPTION_COUNT] = {
	[FAIL_IN] = { .name = "fail_in",
		      .type = CQLFERRY_OPTION_CHOICE,
		      .choices = "nothing open worker_open reload close slow_reload stuck_open stuck_reload",
		      .initial = "nothing",
		      .flags = CQLFERRY_OPTION_RELOAD },
	[FAIL_WORKER] = { .name = "fail_worker", .type = CQLFERRY_OPTION_NUMBER, .max = 100 },
	[WORD] = { .name = "word", .type = CQLFERRY_OPTION_TEXT, .initial = "none", .flags = CQLFERRY_OPTION_RELOAD },
};

struct life {
	const struct cqlferry_host *host;
	char fail_in[32];
	long fail_worker;
	char word[64], next_word[64];
};

struct part {
	struct life *life;
	uint32_t worker;
};

#define SAY(life_, ...) say("life", (life_)->host->instance, __VA_ARGS__)

static int32_t fail(const struct life *l, const char *in)
{
	if (strcmp(l->fail_in, in) != 0)
		return 0;
	l->host->error(l->host, "told to fail in %s", in);
	return CQLFERRY_ERROR;
}

/* Does not come back from there; "slow": for a while. */
static void wait_in(const struct life *l, const char *in)
{
	char stuck[64], slow[64];

	snprintf(stuck, sizeof(stuck), "stuck_%s", in);
	snprintf(slow, sizeof(slow), "slow_%s", in);
	while (strcmp(l->fail_in, stuck) == 0)
		pause();
	if (strcmp(l->fail_in, slow) == 0)
		usleep(300000);
}

static int32_t life_open(const struct cqlferry_host *host, const struct cqlferry_value *values, void **self)
{
	struct life *l = calloc(1, sizeof(*l));

	l->host = host;
	l->fail_worker = (long)values[FAIL_WORKER].number;
	snprintf(l->fail_in, sizeof(l->fail_in), "%s", values[FAIL_IN].text);
	snprintf(l->word, sizeof(l->word), "%s", values[WORD].text);
	SAY(l, "open, word %s, %u workers", l->word, host->workers);
	wait_in(l, "open");
	if (fail(l, "open") < 0) {
		free(l);
		return CQLFERRY_ERROR;
	}
	*self = l;
	return 0;
}

static void life_close(void *self)
{
	struct life *l = self;

	SAY(l, "close");
	while (strcmp(l->fail_in, "close") == 0)
		pause();
	free(l);
}

static int32_t life_worker_open(void *self, uint32_t worker, void **worker_self)
{
	struct life *l = self;
	struct part *part = calloc(1, sizeof(*part));

	part->life = l;
	part->worker = worker;
	SAY(l, "worker_open %u", worker);
	if (worker == l->fail_worker && fail(l, "worker_open") < 0) {
		free(part);
		return CQLFERRY_ERROR;
	}
	*worker_self = part;
	return 0;
}

static void life_worker_close(void *worker_self)
{
	struct part *part = worker_self;

	SAY(part->life, "worker_close %u", part->worker);
	free(part);
}

static int32_t life_reload(void *self, const struct cqlferry_value *values)
{
	struct life *l = self;

	snprintf(l->fail_in, sizeof(l->fail_in), "%s", values[FAIL_IN].text);
	SAY(l, "reload, word %s", values[WORD].text);
	wait_in(l, "reload");
	if (fail(l, "reload") < 0)
		return CQLFERRY_ERROR;
	snprintf(l->next_word, sizeof(l->next_word), "%s", values[WORD].text);
	return 0;
}

static void life_worker_reload(void *worker_self)
{
	struct part *part = worker_self;

	SAY(part->life, "worker_reload %u, word %s", part->worker, part->life->next_word);
}

static void life_reload_end(void *self, uint32_t taken)
{
	struct life *l = self;

	if (taken)
		memcpy(l->word, l->next_word, sizeof(l->word));
	SAY(l, "reload_end %u, word %s", taken, l->word);
}

static void life_reopen(void *self)
{
	SAY((struct life *)self, "reopen");
}

const struct cqlferry_plugin cqlferry_plugin = {
	.abi_major = CQLFERRY_ABI_MAJOR,
	.abi_minor = CQLFERRY_ABI_MINOR,
	.struct_size = sizeof(struct cqlferry_plugin),
	.option_size = sizeof(struct cqlferry_option),
	.options = options,
	.option_count = OPTION_COUNT,
	.name = PLUGIN_NAME,
	.version = "1.2",
	.depends = PLUGIN_DEPENDS,
	.open = life_open,
	.close = life_close,
	.worker_open = life_worker_open,
	.worker_close = life_worker_close,
	.reload = life_reload,
	.worker_reload = life_worker_reload,
	.reload_end = life_reload_end,
	.reopen = life_reopen,
};
