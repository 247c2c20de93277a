/* refusal.c - see refusal.h */
#include "proxy/refusal.h"

#include <stdio.h>

#include "base/log.h"

uint8_t refusal_version(const struct client *c, uint8_t refused)
{
	struct cluster *clusters = c->worker->proxy->clusters;
	const uint8_t lower = clusters_lower_version(clusters);
	uint32_t served;
	uint8_t version;

	/* What was agreed on stays; within segments another version could not even be read. */
	if (c->state > CLIENT_NEW)
		return c->version;
	if (c->worker->settings->profile == PROFILE_ZDM && lower)
		return lower;
	served = clusters_served_versions(clusters, c->worker->settings);
	version = version_set_below(served, refused);
	if (!version)
		version = version_set_highest(served);
	if (!version)
		version = lower;
	return version ? version : 4;
}

/* The text is Cassandra's own, which some drivers read; ZDM Proxy has the first half of it. */
static void write_refusal(const struct client *c, uint8_t refused, char *text, size_t size)
{
	const uint32_t served = clusters_served_versions(c->worker->proxy->clusters, c->worker->settings);

	if (c->worker->settings->profile == PROFILE_ZDM || served == 0)
		snprintf(text, size, "Invalid or unsupported protocol version (%u)", refused);
	else
		snprintf(text, size,
			 "Invalid or unsupported protocol version (%u); the lowest supported version is %u and the "
			 "greatest is %u",
			 refused, version_set_lowest(served), MAX(c->version, version_set_lowest(served)));
}

void refusal_send(struct client *c, uint8_t version)
{
	char text[160];

	c->version = refusal_version(c, version);
	write_refusal(c, version, text, sizeof(text));
	client_refuse(c, 0, CLOSE_VERSION, CQL_ERR_PROTOCOL_ERROR, "%s", text);
}

void refusal_repeat(struct client *c, uint8_t version)
{
	char text[160];

	if (!c->refused_version) {
		c->version = refusal_version(c, version);
		c->refused_version = version;
		log_limited(LOG_DEBUG, "client %s #%llu: protocol %s is blocked", c->name,
			    (unsigned long long)c->number, version_name(version));
	}
	write_refusal(c, c->refused_version, text, sizeof(text));
	client_send_error(c, 0, CQL_ERR_PROTOCOL_ERROR, "%s", text);
}
