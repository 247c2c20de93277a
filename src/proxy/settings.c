/* settings.c - the names of the two clusters. */
#include "proxy/settings.h"

static const char *const lower_names[CLUSTER_COUNT] = { "origin", "target" };
static const char *const upper_names[CLUSTER_COUNT] = { "ORIGIN", "TARGET" };

const char *cluster_id_name(enum cluster_id id)
{
	Assert((unsigned)id < CLUSTER_COUNT);
	return lower_names[id];
}

const char *cluster_id_upper(enum cluster_id id)
{
	Assert((unsigned)id < CLUSTER_COUNT);
	return upper_names[id];
}
