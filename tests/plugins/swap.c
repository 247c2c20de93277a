/*
 * swap.c - denies statements with the word of its option, from a state that a
 * reload replaces: what is freed too early, or used by a worker too late, is
 * noticed.
 */
#include <cqlferry/plugin.h>
#include <stdlib.h>
#include <string.h>

#define ALIVE 0x5AFE5AFEu

static const struct cqlferry_option options[] = {
	{ .name = "word", .initial = "first", .flags = CQLFERRY_OPTION_RELOAD },
	{ .name = "kinds",
	  .type = CQLFERRY_OPTION_CHOICE,
	  .choices = "none reads writes both",
	  .initial = "both",
	  .flags = CQLFERRY_OPTION_RELOAD },
};

struct state {
	uint32_t alive;
	char word[64];
};

struct swap {
	const struct cqlferry_host *host;
	struct state *state, *next;
};

struct part {
	struct swap *swap;
	struct state *state;
};

static struct state *state_new(const struct cqlferry_host *host, const struct cqlferry_value *values)
{
	static const uint32_t kinds[] = { 0, 1u << CQLFERRY_READ, 1u << CQLFERRY_WRITE,
					  1u << CQLFERRY_READ | 1u << CQLFERRY_WRITE };
	struct state *s = calloc(1, sizeof(*s));

	s->alive = ALIVE;
	strncpy(s->word, values[0].text, sizeof(s->word) - 1);
	host->watch(host, kinds[values[1].number], 0);
	return s;
}

static void state_free(struct state *s)
{
	if (s)
		memset(s, 0xDD, sizeof(*s));
	free(s);
}

static int32_t swap_open(const struct cqlferry_host *host, const struct cqlferry_value *values, void **self)
{
	struct swap *s = calloc(1, sizeof(*s));

	s->host = host;
	s->state = state_new(host, values);
	*self = s;
	return 0;
}

static void swap_close(void *self)
{
	struct swap *s = self;

	state_free(s->state);
	state_free(s->next);
	free(s);
}

static int32_t swap_worker_open(void *self, uint32_t worker, void **worker_self)
{
	struct part *p = calloc(1, sizeof(*p));

	(void)worker;
	p->swap = self;
	p->state = p->swap->state;
	*worker_self = p;
	return 0;
}

static void swap_worker_close(void *worker_self)
{
	free(worker_self);
}

static int32_t swap_reload(void *self, const struct cqlferry_value *values)
{
	struct swap *s = self;

	if (s->next)
		abort(); /* the last reload has no end */
	s->next = state_new(s->host, values);
	return 0;
}

static void swap_worker_reload(void *worker_self)
{
	struct part *p = worker_self;

	p->state = p->swap->next;
}

static void swap_reload_end(void *self, uint32_t taken)
{
	struct swap *s = self;

	state_free(taken ? s->state : s->next);
	if (taken)
		s->state = s->next;
	s->next = NULL;
}

static int32_t swap_on_request(void *worker_self, struct cqlferry_request *request)
{
	const struct part *p = worker_self;

	(void)request;
	if (p->state->alive != ALIVE)
		abort();
	p->swap->host->deny(p->swap->host, 0x2200, "%s", p->state->word);
	return CQLFERRY_DENY;
}

const struct cqlferry_plugin cqlferry_plugin = {
	.abi_major = CQLFERRY_ABI_MAJOR,
	.abi_minor = CQLFERRY_ABI_MINOR,
	.struct_size = sizeof(struct cqlferry_plugin),
	.option_size = sizeof(struct cqlferry_option),
	.options = options,
	.option_count = sizeof(options) / sizeof(options[0]),
	.name = "swap",
	.version = "1",
	.open = swap_open,
	.close = swap_close,
	.worker_open = swap_worker_open,
	.worker_close = swap_worker_close,
	.reload = swap_reload,
	.worker_reload = swap_worker_reload,
	.reload_end = swap_reload_end,
	.on_request = swap_on_request,
};
