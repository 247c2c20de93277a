/* upload.c - see upload.h */
#include "proxy/upload.h"

#include "proxy/dispatch.h"
#include "proxy/memory.h"

/* Kept from a client's first large frame on: who sends one sends more. */
struct upload {
	struct client *client;
	/* The frame waits for memory: until when, and how large it is. */
	struct loop_poll poll;
	uint64_t deadline_ns; /* 0: none does */
	uint32_t waiting_length;
	uint32_t seen_len; /* of a frame that is coming in: bytes at the last look of `timeout` */
	struct timeout_item timeout;
};

static void stop_waiting(struct client *c)
{
	if (!c->waits_for_memory)
		return;
	c->waits_for_memory = false;
	loop_poll_stop(&c->upload->poll);
	memory_wait_end();
}

void upload_stop(struct client *c)
{
	if (!c->upload)
		return;
	timeout_stop(&c->upload->timeout);
	stop_waiting(c);
}

static bool poll_memory(struct loop_poll *poll)
{
	const struct upload *u = container_of(poll, struct upload, poll);
	struct client *c = u->client;
	const struct settings *settings = c->worker->settings;

	if (!memory_takes_request(settings->memory_limit, u->waiting_length) &&
	    loop_now(&c->worker->loop) < u->deadline_ns)
		return true;
	stop_waiting(c);
	client_adjust_reading(c); /* upload_admit() is asked again */
	return false;
}

static struct upload *upload_of(struct client *c)
{
	struct upload *u = c->upload;

	if (u)
		return u;
	u = xcalloc(1, sizeof(*u));
	u->client = c;
	loop_poll_init(&u->poll, poll_memory);
	timeout_item_init(&u->timeout);
	c->upload = u;
	return u;
}

void upload_on_timeout(struct timeout_item *item)
{
	struct upload *u = container_of(item, struct upload, timeout);
	struct client *c = u->client;
	const struct settings *settings = c->worker->settings;
	uint32_t len;

	if (!c->wire.has_large)
		return;
	len = wire_large_len(&c->wire);
	if (len == u->seen_len && !c->wire.sb.is_paused && memory_is_short()) {
		client_refuse(c, c->wire.large_stream, CLOSE_MEMORY, CQL_ERR_OVERLOADED,
			      "a request came to a halt after %u bytes while memory_limit (%llu bytes) is near", len,
			      (unsigned long long)settings->memory_limit);
		return;
	}
	u->seen_len = len;
	timeout_start(&c->worker->loop, &c->worker->upload_timeouts, item);
}

/* Has waited for request_timeout, and so has everything behind it. */
static enum wire_large refuse_large(struct client *c, const struct frame *f)
{
	const struct settings *settings = c->worker->settings;

	c->upload->deadline_ns = 0;
	metric_add(&c->worker->metrics.memory_refused, 1);
	if (dispatch_check_header(c, f))
		client_send_error(c, f->stream, CQL_ERR_OVERLOADED,
				  "no memory for a request of %u bytes within %u ms: memory_limit is %llu bytes; "
				  "nothing was sent",
				  f->length, settings->request_timeout_ms, (unsigned long long)settings->memory_limit);
	client_check_output(c);
	return WIRE_SKIP;
}

enum wire_large upload_admit(struct client *c, const struct frame *f)
{
	struct worker *worker = c->worker;
	const struct settings *settings = worker->settings;
	struct upload *u;

	if (c->state != CLIENT_READY)
		return WIRE_TAKE;
	u = upload_of(c);
	if (likely(memory_takes_request(settings->memory_limit, f->length))) {
		u->deadline_ns = 0;
		u->seen_len = 0;
		timeout_start(&worker->loop, &worker->upload_timeouts, &u->timeout);
		return WIRE_TAKE;
	}
	if (u->deadline_ns == 0)
		u->deadline_ns = loop_now(&worker->loop) + settings->request_timeout_ms * UINT64_C(1000000);
	else if (loop_now(&worker->loop) >= u->deadline_ns)
		return refuse_large(c, f);
	if (!c->waits_for_memory)
		memory_wait_begin();
	c->waits_for_memory = true;
	u->waiting_length = f->length;
	sbuf_pause(&c->wire.sb);
	loop_poll_start(&worker->loop, &u->poll);
	return WIRE_WAIT;
}
