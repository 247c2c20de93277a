/* status_event.c - see status_event.h */
#include "proxy/status_event.h"

#include "proxy/topology_rows.h"

/*
 * The node that an event speaks of, as we reach it. The event has the address
 * and port that the node says to everybody (CASSANDRA-7544: only from 4.0 on is
 * the port the node's own); the snapshot knows what we made of them.
 */
static bool find_node(struct cluster *cluster, struct net_address *host)
{
	struct topology *t = cluster_topology(cluster);
	const struct host *found;

	if (!t)
		return false;
	(void)topology_translate(&cluster->settings->address_map, host);
	found = topology_find(t, host);
	if (found)
		*host = found->address;
	topology_unref(t);
	return found != NULL;
}

bool status_event_read(struct cluster *cluster, const uint8_t *body, uint32_t len, struct net_address *node,
		       bool *is_up)
{
	struct reader r = reader_over(body, len);
	struct strview word;
	const uint8_t *address;
	uint32_t port;
	uint8_t size;

	read_string(&r);
	word = read_string(&r);
	size = read_byte(&r);
	address = reader_take(&r, size);
	port = read_int(&r);
	*is_up = sv_equal(word, SV("UP"));
	return reader_ok(&r) && (*is_up || sv_equal(word, SV("DOWN"))) && port <= UINT16_MAX &&
	       net_from_bytes(address, size, (uint16_t)port, node) && find_node(cluster, node);
}
