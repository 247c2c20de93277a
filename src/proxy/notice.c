/* notice.c - see notice.h */
#include "proxy/notice.h"

#include <stdlib.h>

#include "cql/message.h"
#include "proxy/client.h"
#include "proxy/virtual_values.h"

/* Events that may lie behind more answers than client_output_limit; the usual one has 50 bytes. */
#define MAX_LATE_BYTES (256 * 1024)

static const uint8_t form_versions[NOTICE_FORMS] = { [NOTICE_V2] = 2, [NOTICE_V3] = 3, [NOTICE_V4] = 4 };

static enum notice_form form_of(uint8_t version)
{
	return version == 2 ? NOTICE_V2 : version == 3 ? NOTICE_V3 : NOTICE_V4;
}

struct notice *notice_new(void)
{
	struct notice *n = xcalloc(1, sizeof(*n));

	atomic_init(&n->refs, 1);
	for (unsigned i = 0; i < NOTICE_FORMS; i++)
		writer_init(&n->bodies[i]);
	return n;
}

struct notice *notice_ref(struct notice *n)
{
	atomic_fetch_add_explicit(&n->refs, 1, memory_order_relaxed);
	return n;
}

void notice_unref(struct notice *n)
{
	if (atomic_fetch_sub_explicit(&n->refs, 1, memory_order_acq_rel) != 1)
		return;
	for (unsigned i = 0; i < NOTICE_FORMS; i++)
		writer_free(&n->bodies[i]);
	free(n);
}

void notice_add_schema_change(struct notice *n, const struct schema_change *change)
{
	for (unsigned i = 0; i < NOTICE_FORMS; i++) {
		struct writer *w = &n->bodies[i];
		const uint32_t at = w->len;

		write_int(w, 0);
		schema_change_write_event(change, form_versions[i], w);
		put_u32(w->data + at, w->len - at - 4);
	}
	n->count++;
}

/* True when it does not read at all, and has been sent more than enough. */
static bool is_too_late(struct client *c, uint32_t len)
{
	if (likely(wire_pending(&c->wire) <= c->worker->settings->client_output_limit)) {
		c->late_event_bytes = 0;
		return false;
	}
	c->late_event_bytes += len;
	return c->late_event_bytes > MAX_LATE_BYTES;
}

void notice_send(const struct notice *n, struct client *c)
{
	const struct writer *bodies = &n->bodies[form_of(c->version)];
	struct reader r = reader_over(bodies->data, bodies->len);

	if (c->state != CLIENT_READY || !(c->events & EVENT_SCHEMA_CHANGE))
		return;
	if (is_too_late(c, bodies->len)) {
		client_close(c, CLOSE_MEMORY, "it does not read: more than %d bytes of events wait", MAX_LATE_BYTES);
		return;
	}
	while (reader_left(&r) > 0) {
		const struct bytesview body = read_bytes(&r);

		client_send(c, -1, OP_EVENT, 0, body.p, body.len);
	}
	client_check_output(c);
}

void notice_send_down(struct client *c)
{
	struct virtual_node own;
	struct writer w;

	if (c->state != CLIENT_READY || !(c->events & EVENT_STATUS_CHANGE))
		return;
	c->events &= (uint8_t)~EVENT_STATUS_CHANGE; /* nothing else will be said about nodes */
	virtual_node_place(c->worker->settings, &c->local_address, c->worker->settings->topology_index, &own);
	writer_init(&w);
	write_cstring(&w, "STATUS_CHANGE");
	write_cstring(&w, "DOWN");
	write_byte(&w, (uint8_t)own.address_len);
	write_raw(&w, own.address, own.address_len);
	write_int(&w, own.port);
	client_send(c, -1, OP_EVENT, 0, w.data, w.len);
	writer_free(&w);
}
