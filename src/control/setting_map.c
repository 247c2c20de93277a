/* setting_map.c - see setting_map.h */
#include "control/setting_map.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"

/* The port behind an address, which is cut off; 0 when there is none, -1 when it is no port. */
static int take_port(char *text)
{
	char *colon = strrchr(text, ':');
	const char *end;
	int64_t port;

	/* An IPv6 literal has colons of its own, a port only behind brackets. */
	if (!colon || (strchr(text, ':') != colon && (colon == text || colon[-1] != ']')))
		return 0;
	if (!text_decimal(colon + 1, &port, &end) || *end || port < 1 || port > UINT16_MAX)
		return -1;
	*colon = '\0';
	return (int)port;
}

/* One FROM=TO, which is changed. */
static bool mapping_parse(char *pair, struct address_mapping *m, char *what, size_t what_size)
{
	char *equals = strchr(pair, '=');
	char shown[TEXT_SHOWN_MAX];
	char *from, *to;
	int port;

	text_show(pair, shown);
	if (!equals) {
		snprintf(what, what_size, "\"%s\" is no ADDRESS=ADDRESS", shown);
		return false;
	}
	*equals = '\0';
	from = text_trim(pair);
	to = text_trim(equals + 1);
	port = take_port(to);
	if (net_parse_ip(from, 0, &m->from) && port >= 0 && net_parse_ip(to, (uint16_t)port, &m->to))
		return true;
	if (port < 0)
		snprintf(what, what_size, "\"%s\" has no valid port", shown);
	else
		snprintf(what, what_size, "\"%s\" is not two IP addresses, the first one without a port", shown);
	return false;
}

static bool has_from(const struct address_map *map, const struct net_address *from)
{
	for (unsigned i = 0; i < map->count; i++) {
		if (net_equal(&map->items[i].from, from))
			return true;
	}
	return false;
}

bool address_map_parse(const char *text, struct address_map *map, char *what, size_t what_size)
{
	struct text_items items;
	char ip[NET_TEXT_MAX];
	bool ok = true;

	text_split(&items, text, false);
	if (items.count > 0)
		map->items = xcalloc(items.count, sizeof(*map->items));
	for (unsigned i = 0; ok && i < items.count; i++) {
		struct address_mapping m;

		ok = mapping_parse(items.item[i], &m, what, what_size);
		if (ok && has_from(map, &m.from)) {
			snprintf(what, what_size, "%s is given twice", net_format_ip(&m.from, ip));
			ok = false;
		}
		if (ok)
			map->items[map->count++] = m;
	}
	text_items_free(&items);
	return ok;
}

char *address_map_format(const struct address_map *map)
{
	char from[NET_TEXT_MAX], to[NET_TEXT_MAX];
	char *out = NULL;

	for (unsigned i = 0; i < map->count; i++) {
		const struct address_mapping *m = &map->items[i];
		char *longer;

		net_format_ip(&m->from, from);
		if (net_port(&m->to) > 0)
			net_format(&m->to, to);
		else
			net_format_ip(&m->to, to);
		longer = xasprintf("%s%s%s=%s", out ? out : "", out ? ", " : "", from, to);
		free(out);
		out = longer;
	}
	return out;
}

void address_map_clear(struct address_map *map)
{
	free(map->items);
	*map = (struct address_map){ .items = NULL };
}
