/* endpoint.c - see endpoint.h */
#include "proxy/endpoint.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool has_address(const struct endpoint_list *l, const struct net_address *a)
{
	for (unsigned i = 0; i < l->count; i++) {
		if (l->items[i].is_resolved && net_equal(&l->items[i].address, a))
			return true;
	}
	return false;
}

/* Room for one more at `position`. */
static struct endpoint *insert_at(struct endpoint_list *l, unsigned position)
{
	l->items = xrealloc(l->items, (l->count + 1) * sizeof(*l->items));
	memmove(&l->items[position + 1], &l->items[position], (l->count - position) * sizeof(*l->items));
	l->count++;
	l->items[position] = (struct endpoint){ .host = NULL };
	return &l->items[position];
}

void endpoint_list_add(struct endpoint_list *l, const struct net_address *a)
{
	struct endpoint *e;

	if (l->is_distinct && has_address(l, a))
		return;
	e = insert_at(l, l->count);
	e->address = *a;
	e->is_resolved = true;
}

static void add_contact_point(struct endpoint_list *l, const char *text)
{
	struct net_address a;

	if (net_parse_ip(text, l->port, &a))
		endpoint_list_add(l, &a);
	else
		insert_at(l, l->count)->host = xstrdup(text);
}

/* Once round the hosts [from .. to). */
static void add_hosts(struct endpoint_list *l, const struct topology *known, unsigned from, unsigned to)
{
	const unsigned n = to - from;
	const unsigned start = n ? arc4random_uniform(n) : 0;

	for (unsigned i = 0; i < n; i++)
		endpoint_list_add(l, &known->hosts[from + (start + i) % n].address);
}

void endpoint_list_fill(struct endpoint_list *l, const struct cluster_settings *settings, const struct topology *known,
			bool is_distinct)
{
	unsigned n, start;

	endpoint_list_clear(l);
	l->port = settings->port;
	l->is_distinct = is_distinct;
	if (known && settings->enable_host_assignment) {
		add_hosts(l, known, 0, known->host_count);
		add_hosts(l, known, known->host_count, known->all_count);
	}
	n = settings->contact_points.count;
	start = n ? arc4random_uniform(n) : 0;
	for (unsigned i = 0; i < n; i++)
		add_contact_point(l, settings->contact_points.items[(start + i) % n]);
}

void endpoint_list_put_off(struct endpoint_list *l, const struct net_address *address)
{
	for (unsigned i = l->next; i < l->count; i++) {
		const struct endpoint e = l->items[i];

		if (!e.is_resolved || !net_equal(&e.address, address))
			continue;
		memmove(&l->items[i], &l->items[i + 1], (l->count - i - 1) * sizeof(*l->items));
		l->items[l->count - 1] = e;
		return;
	}
}

void endpoint_list_clear(struct endpoint_list *l)
{
	for (unsigned i = 0; i < l->count; i++)
		free(l->items[i].host);
	free(l->items);
	*l = (struct endpoint_list){ .items = NULL };
}

struct endpoint *endpoint_list_take(struct endpoint_list *l)
{
	return l->next < l->count ? &l->items[l->next++] : NULL;
}

void endpoint_list_insert(struct endpoint_list *l, const struct net_address *addresses, unsigned count)
{
	unsigned position = l->next;

	for (unsigned i = 0; i < count; i++) {
		struct endpoint *e;

		if (l->is_distinct && has_address(l, &addresses[i]))
			continue;
		e = insert_at(l, position++);
		e->host = xstrdup(l->items[l->next - 1].host);
		e->address = addresses[i];
		e->is_resolved = true;
	}
}

struct endpoint *endpoint_list_current(const struct endpoint_list *l)
{
	return l->next > 0 ? &l->items[l->next - 1] : NULL;
}

const struct endpoint *endpoint_list_peek(const struct endpoint_list *l)
{
	return l->next < l->count ? &l->items[l->next] : NULL;
}

const char *endpoint_format(const struct endpoint *e, uint16_t port, char out[ENDPOINT_TEXT_MAX])
{
	char address[NET_TEXT_MAX];

	if (!e->is_resolved)
		snprintf(out, ENDPOINT_TEXT_MAX, "%.253s:%u", e->host, port);
	else if (e->host)
		snprintf(out, ENDPOINT_TEXT_MAX, "%.253s (%s)", e->host, net_format(&e->address, address));
	else
		net_format(&e->address, out);
	return out;
}
