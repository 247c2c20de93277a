/* stuck.c - its hook does not come back. */
#include <cqlferry/plugin.h>
#include <stdio.h>
#include <unistd.h>

static volatile bool is_stuck = true;

static int32_t stuck_on_request(void *worker_self, struct cqlferry_request *request)
{
	(void)worker_self;
	(void)request;
	fputs("stuck\n", stderr);
	while (is_stuck)
		pause();
	return CQLFERRY_NEXT;
}

const struct cqlferry_plugin cqlferry_plugin = {
	.abi_major = CQLFERRY_ABI_MAJOR,
	.abi_minor = CQLFERRY_ABI_MINOR,
	.struct_size = sizeof(struct cqlferry_plugin),
	.name = "stuck",
	.version = "1",
	.on_request = stuck_on_request,
};
