/* stuck.c - its hook does not come back, nor does its page, nor, with -DTIMER, its timer. */
#include <cqlferry/plugin.h>
#include <stdio.h>
#include <unistd.h>

static volatile bool is_stuck = true;

static void stick(void)
{
	fputs("stuck\n", stderr);
	while (is_stuck)
		pause();
}

static int32_t stuck_on_request(void *worker_self, struct cqlferry_request *request)
{
	(void)worker_self;
	(void)request;
	stick();
	return CQLFERRY_NEXT;
}

static void stuck_page(void *arg, struct cqlferry_http *http)
{
	(void)arg;
	(void)http;
	stick();
}

#ifdef TIMER
static void stuck_timer(void *arg)
{
	(void)arg;
	stick();
}
#endif

static int32_t stuck_open(const struct cqlferry_host *host, const struct cqlferry_value *values, void **self)
{
	(void)values;
	(void)self;
#ifdef TIMER
	host->timer_new(host, 100, stuck_timer, NULL);
#endif
	return host->http_route(host, "/stuck", stuck_page, NULL);
}

const struct cqlferry_plugin cqlferry_plugin = {
	.abi_major = CQLFERRY_ABI_MAJOR,
	.abi_minor = CQLFERRY_ABI_MINOR,
	.struct_size = sizeof(struct cqlferry_plugin),
	.name = "stuck",
	.version = "1",
	.open = stuck_open,
	.on_request = stuck_on_request,
};
