/* supported.c - see supported.h */
#include "proxy/supported.h"

/* PROTOCOL_VERSIONS as nodes write them: "3/v3", "4/v4", "66/dse-v2". */
static void write_versions(struct writer *w, uint32_t served)
{
	uint16_t count = 0;
	uint32_t left;

	for (left = served; left != 0; left &= ~version_bit(version_set_lowest(left)))
		count++;
	write_cstring(w, "PROTOCOL_VERSIONS");
	write_short(w, count);
	for (left = served; left != 0; left &= ~version_bit(version_set_lowest(left)))
		write_cstring(w, version_offer(version_set_lowest(left)));
}

/* As ZDM Proxy has it: target's options, but of the ways to compress only what both clusters know. */
static void write_body(struct writer *w, uint32_t served, const struct topology *origin, const struct topology *target)
{
	const bool snappy = origin->offers_snappy && target->offers_snappy;
	const bool lz4 = origin->offers_lz4 && target->offers_lz4;
	const bool compression = origin->offers_compression && target->offers_compression;

	write_short(w, (uint16_t)(target->option_count + 1 + compression));
	write_versions(w, served);
	if (compression) {
		write_cstring(w, "COMPRESSION");
		write_short(w, (uint16_t)(snappy + lz4));
		if (snappy)
			write_cstring(w, "snappy");
		if (lz4)
			write_cstring(w, "lz4");
	}
	write_raw(w, target->options, target->options_len);
}

void supported_send(struct client *c, int16_t stream, uint8_t version)
{
	struct cluster *clusters = c->worker->proxy->clusters;
	struct topology *origin = cluster_topology(&clusters[CLUSTER_ORIGIN]);
	struct topology *target = cluster_topology(&clusters[CLUSTER_TARGET]);
	uint8_t head[FRAME_HEAD_LEN];
	struct writer w;

	if (!origin && !target) { /* the listener opens when one is known */
		client_close(c, CLOSE_HANDSHAKE, "the clusters are not known yet");
	} else {
		writer_init(&w);
		write_body(&w, clusters_served_versions(clusters, c->worker->settings), origin ? origin : target,
			   target ? target : origin);
		frame_head_write(head, true, version, 0, stream, OP_SUPPORTED, w.len);
		wire_send_body(&c->wire, head, w.data, w.len);
		writer_free(&w);
	}
	if (origin)
		topology_unref(origin);
	if (target)
		topology_unref(target);
}
