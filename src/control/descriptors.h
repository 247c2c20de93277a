/*
 * descriptors.h - whether the limit of open files is enough for the limits in
 * the settings. A proxy that runs out of descriptors turns clients away without
 * a word and cannot reach nodes, so it is said beforehand.
 */
#ifndef CONTROL_DESCRIPTORS_H
#define CONTROL_DESCRIPTORS_H

#include "proxy/cluster.h"

struct descriptor_need {
	uint64_t clients; /* max_client_connections */
	unsigned each;    /* for one client: its socket and the connections that are its own */
	uint64_t nodes;   /* for connections that clients share */
	uint64_t own;     /* listeners, control connections, HTTP, files, event loops */
	uint64_t total;
};

/* Raises the soft limit, which most systems set for interactive programs, to the hard one. Returns what is in force. */
uint64_t descriptors_raise(void);

/* `nodes`: how many of both clusters are known, 0 before that. */
struct descriptor_need descriptors_needed(const struct settings *settings, unsigned nodes);

/* What is to be said about a limit that is too low; false when it is not. */
bool descriptors_describe(const struct descriptor_need *need, uint64_t limit, char *text, size_t size);
/* Says that in the log, by the nodes that are known now (by enum cluster_id). */
void descriptors_warn(const struct settings *settings, struct cluster *clusters);

#endif
