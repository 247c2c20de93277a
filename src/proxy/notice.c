/* notice.c - see notice.h */
#include "proxy/notice.h"

#include <stdlib.h>
#include <string.h>

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

static void send_node_event(struct client *c, const char *kind, const char *change, const struct virtual_node *node)
{
	struct writer w;

	writer_init(&w);
	write_cstring(&w, kind);
	write_cstring(&w, change);
	write_byte(&w, (uint8_t)node->address_len);
	write_raw(&w, node->address, node->address_len);
	write_int(&w, node->port);
	client_send(c, -1, OP_EVENT, 0, w.data, w.len);
	writer_free(&w);
}

void notice_send_down(struct client *c)
{
	struct virtual_node own;
	struct net_address local;

	if (c->state != CLIENT_READY || !(c->events & EVENT_STATUS_CHANGE))
		return;
	c->events &= (uint8_t)~EVENT_STATUS_CHANGE; /* nothing else will be said about nodes */
	client_local_address(c, &local);
	virtual_node_place(c->worker->settings, &local, c->worker->settings->topology_index, &own);
	send_node_event(c, "STATUS_CHANGE", "DOWN", &own);
}

static bool has_instance(const struct settings *s, const struct net_address *local, const struct virtual_node *node)
{
	for (unsigned i = 0; i < virtual_node_count(s); i++) {
		struct virtual_node other;

		virtual_node_place(s, local, i, &other);
		if (other.address_len == node->address_len &&
		    memcmp(other.address, node->address, node->address_len) == 0)
			return true;
	}
	return false;
}

/* Tells of the instances that `of` has and `other` has not. */
static void send_difference(struct client *c, const struct settings *of, const struct settings *other,
			    const char *change)
{
	struct net_address local;

	client_local_address(c, &local);
	for (unsigned i = 0; i < virtual_node_count(of); i++) {
		struct virtual_node node;

		virtual_node_place(of, &local, i, &node);
		if (!has_instance(other, &local, &node))
			send_node_event(c, "TOPOLOGY_CHANGE", change, &node);
	}
}

void notice_send_instances(struct client *c, const struct settings *before, const struct settings *after)
{
	if (c->state != CLIENT_READY || !(c->events & EVENT_TOPOLOGY_CHANGE))
		return;
	send_difference(c, after, before, "NEW_NODE");
	send_difference(c, before, after, "REMOVED_NODE");
	client_check_output(c);
}
