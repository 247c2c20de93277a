/*
 * settings.h - the configuration as the proxy reads it: validated, immutable
 * once made, one object for the whole process. `control/config` fills it from
 * an INI file, from ZDM_* variables or from a ZDM YAML file; its table there
 * names, describes and range-checks every member.
 *
 * All strings are owned by the settings and NULL when not set or empty; only
 * addresses to listen on ("" or "*": all), metrics_prefix ("": none) and
 * tracing_request_id_key may be empty. IPv6 literals have no brackets. Durations are in milliseconds, sizes
 * in bytes; time-outs of requests, handshakes and connections are never 0.
 */
#ifndef PROXY_SETTINGS_H
#define PROXY_SETTINGS_H

#include "base/net_range.h"

enum cluster_id {
	CLUSTER_ORIGIN = 0,
	CLUSTER_TARGET = 1,
};
#define CLUSTER_COUNT 2

/* The two ways of settling a conflict between being ZDM's twin and being better; see docs/internals.md. */
enum profile {
	PROFILE_NATIVE,
	PROFILE_ZDM,
};

/* Whose credentials a cluster gets. */
enum credentials_mode {
	CREDENTIALS_AUTO,       /* ZDM's matrix: see proxy/handshake.c */
	CREDENTIALS_CLIENT,     /* the client's own */
	CREDENTIALS_CONFIGURED, /* username and password of the cluster's section */
};

enum tls_mode {
	TLS_NONE,
	TLS_CA,   /* encrypted; the certificate must chain to the given CA, names are not checked */
	TLS_FULL, /* as TLS_CA, and the certificate must name the host */
};

/* How a client's connection to a cluster is compressed. */
enum leg_compression {
	LEG_COMPRESSION_AUTO, /* as the client wants it, where the cluster offers that */
	LEG_COMPRESSION_NONE,
	LEG_COMPRESSION_LZ4,
	LEG_COMPRESSION_SNAPPY, /* none in v5 */
};

/* Which port a node is reached at. */
enum node_ports {
	NODE_PORTS_DISCOVERED, /* the one that the node's row in the system tables has, else the configured one */
	NODE_PORTS_CONFIGURED, /* the cluster's `port`, for all of them */
};

enum read_mode {
	READ_PRIMARY_ONLY,
	READ_DUAL_ASYNC_ON_SECONDARY,
};

/* Which clusters have to be reachable for the process to be ready. */
enum ready_when {
	READY_WHEN_BOTH,
	READY_WHEN_PRIMARY,
};

enum log_format {
	LOG_FORMAT_TEXT,
	LOG_FORMAT_JSON,
};

/* Whose connections to the nodes carry the clients' requests. */
enum backend_connections {
	BACKEND_DEDICATED, /* each client has one per cluster, as with ZDM Proxy */
	BACKEND_POOLED,    /* clients with the same credentials share them: pool.h */
};

/* How pooled connections choose the node of a request: pool.h. */
enum load_balancing {
	BALANCE_TOKEN_AWARE,   /* a replica, where the partition key is known; else as the next */
	BALANCE_ROUND_ROBIN,   /* one node after the other */
	BALANCE_CONTACT_POINT, /* the node of the control connection */
};

/* Who gives a write its timestamp. */
enum timestamps_mode {
	TIMESTAMPS_CLIENT, /* the driver, or else each cluster for itself */
	TIMESTAMPS_ADD,    /* the driver, or else the proxy: see proxy/timestamps.h */
};

/* Consistency levels of the protocol: 0 (ANY) to 10 (LOCAL_ONE). */
#define SETTINGS_LEVELS 11

/* What a request's consistency level becomes on its way to a cluster. SERIAL and LOCAL_SERIAL always stay. */
struct level_map {
	bool is_set;                 /* false: every level stays, `to` is not filled */
	uint8_t to[SETTINGS_LEVELS]; /* by the level of the request */
};

struct string_list {
	char **items;
	unsigned count;
};

/* A node says `from` (its port does not count), and is reached at `to`, whose port may be 0: the node's. */
struct address_mapping {
	struct net_address from;
	struct net_address to;
};

struct address_map {
	struct address_mapping *items;
	unsigned count;
};

#define SETTINGS_MAX_BUCKETS 64

struct bucket_list {
	double ms[SETTINGS_MAX_BUCKETS]; /* strictly increasing */
	unsigned count;
};

/* The statements that a rule is about. */
enum rule_words {
	RULE_READ,  /* SELECT */
	RULE_WRITE, /* INSERT, UPDATE, DELETE, BATCH, TRUNCATE */
	RULE_ALL,   /* both of them, DDL and USE */
};

/* Where it sends them. */
enum rule_route {
	RULE_ORIGIN,
	RULE_TARGET,
	RULE_BOTH,
	RULE_MIRROR, /* reads only: to the primary, and a copy to the other cluster */
};

/* No keyspace or table of Cassandra's has a longer name. */
#define RULE_NAME_MAX 48

/* [routing] rule, see proxy/rules.h. */
struct route_rule {
	uint8_t words;                    /* enum rule_words */
	uint8_t route;                    /* enum rule_route */
	char keyspace[RULE_NAME_MAX + 1]; /* as Cassandra keeps names, with * for any number of characters */
	char table[RULE_NAME_MAX + 1];
	char *text;  /* "read billing.* target", for people */
	char *place; /* "FILE:12", for messages */
	/* Of names without *; 0 with it. Most rules do not fit because of them. */
	uint8_t keyspace_len;
	uint8_t table_len;
	const char *decider; /* `text` for verdicts: it lasts (names.h) */
};

struct rule_list {
	struct route_rule *items; /* the most specific one first */
	unsigned count;
};

struct cluster_settings {
	struct string_list contact_points; /* names or addresses, no ports; none with a bundle */
	char *secure_connect_bundle;       /* a file; then tls is TLS_FULL, by what the bundle holds */
	uint16_t port;
	char *username;
	char *password;
	enum credentials_mode credentials;
	enum node_ports node_ports;
	struct address_map address_map;
	char *local_datacenter;
	struct string_list fallback_datacenters;
	bool enable_host_assignment;
	uint32_t connection_timeout_ms;
	enum leg_compression compression;
	struct level_map read_consistency;
	struct level_map write_consistency;
	enum tls_mode tls;
	char *tls_ca;
	char *tls_cert;
	char *tls_key;
	char *tls_server_name;
};

/* What a load balancer in front of a listener says first on each connection, see base/proxy_header.h. */
enum proxy_protocol {
	PROXY_PROTOCOL_OFF,
	PROXY_PROTOCOL_V1,
	PROXY_PROTOCOL_V2,
};

struct listener_settings {
	char *name; /* "" for the plain [listener] */
	char *address;
	uint16_t port;
	char *tls_cert; /* with tls_key: the listener speaks TLS only */
	char *tls_key;
	char *tls_ca;
	bool tls_require_client_cert;
	bool tls_ask_client_cert;    /* who has none is let in */
	struct net_range_list allow; /* empty: all that `deny` does not have */
	struct net_range_list deny;
	enum proxy_protocol proxy_protocol;
	struct net_range_list proxy_protocol_from; /* not empty unless it is off */
};

#define SETTINGS_MAX_LISTENERS 16

/* [lua]: the scripts that decide routes (policy.h), and what they may use. */
struct lua_option {
	char *name;
	char *value; /* as the file has it */
	char *place; /* "FILE:12", for messages */
};

struct lua_settings {
	struct string_list scripts; /* files; of a folder those that end in .lua, sorted. count 0: none */
	struct string_list path;    /* folders for `require` */
	struct lua_option *options; /* keys that are no settings: what proxy.option() finds */
	unsigned option_count;
	uint32_t time_limit_us; /* of one call */
	uint64_t memory_limit;  /* of one worker's state */
	uint32_t fail_limit;    /* errors of a hook in a minute, then it is switched off; 0: never */
	bool jit;
};

#define SETTINGS_MAX_PLUGINS 32

/* A line of [plugin NAME] whose key is no setting: an option of the plugin, whose file alone knows what it means. */
struct plugin_line {
	char *key;
	char *value;      /* as the file has it */
	char *place;      /* "FILE:12", for messages */
	bool has_comment; /* behind the value, where a secret would leave open which of the two it is */
	/* As the plugin's row for the key says, once it was compared with that (config_request.check_plugins): */
	bool is_known;
	bool is_secret;
	bool may_reload;
};

/* [plugin NAME]: one instance of a plugin (policy/plugin.h). */
struct plugin_settings {
	char *name;
	char *file;   /* absolute, or from the working directory */
	char *place;  /* of `file`, for messages: "FILE:12" */
	char *folder; /* that relative names count from: of the INI file; NULL: the working directory */
	bool passes;  /* on_error = pass: what it fails about goes on as if it were not there */
	int64_t order;
	struct plugin_line *lines; /* in the order of the file; a key may stand in several */
	unsigned line_count;
};

struct settings {
	/* [proxy] */
	enum profile profile;
	uint32_t workers; /* 0 was replaced by the number of cores */
	uint32_t max_client_connections;
	uint32_t max_connections_per_address; /* 0: no limit */
	uint32_t max_connections_per_user;    /* 0: no limit */
	uint32_t max_handshakes;              /* 0: no limit */
	uint32_t max_requests_per_client;     /* in flight; at least 1 */
	uint32_t request_timeout_ms;
	uint32_t handshake_timeout_ms;
	uint32_t drain_delay_ms;
	uint32_t shutdown_timeout_ms;
	uint32_t client_write_timeout_ms;
	uint32_t client_idle_timeout_ms; /* 0: never */
	uint64_t client_output_limit;
	uint32_t max_frame_size;
	uint64_t memory_limit;     /* of large buffers, 0: none; see memory.h */
	uint32_t large_frame_size; /* a request with a larger body goes over a connection of its own */
	uint32_t max_stream_ids;   /* per backend connection, 1 to 32768 */
	enum backend_connections backend_connections;
	enum load_balancing load_balancing;
	uint32_t connections_per_host;     /* of one pool and worker, for ordinary requests */
	uint32_t max_connections_per_host; /* pooled ones of the whole process; 0: no limit */
	uint32_t pool_idle_timeout_ms;
	uint32_t credentials_validity_ms; /* 0: every log-in is asked of the clusters */
	uint32_t heartbeat_timeout_ms;
	uint32_t prepared_cache_entries;
	uint64_t prepared_cache_memory;
	unsigned blocked_versions;    /* a set of protocol versions (cql/version.h) that clients may not use */
	uint8_t max_protocol_version; /* of control connections and clients */

	bool tracing_enabled;
	uint32_t tracing_rate_limit;  /* request ids per second; 0: no limit */
	char *tracing_request_id_key; /* may be "" */

	/* topology that drivers see */
	struct string_list topology_addresses; /* IP literals; count 0: one node, at the listener's address */
	uint32_t topology_index;
	uint32_t topology_num_tokens;

	struct listener_settings listeners[SETTINGS_MAX_LISTENERS];
	unsigned listener_count;

	struct cluster_settings cluster[CLUSTER_COUNT];

	/* [routing] */
	enum cluster_id primary;
	enum cluster_id system_queries; /* which cluster answers reads of system keyspaces */
	bool forward_client_credentials_to_origin;
	enum read_mode read_mode;
	enum timestamps_mode timestamps;
	bool replace_cql_functions;
	uint32_t async_handshake_timeout_ms;
	struct rule_list rules;

	struct lua_settings lua;

	struct plugin_settings plugins[SETTINGS_MAX_PLUGINS]; /* as they stand in the file */
	unsigned plugin_count;
	char *plugin_dir; /* where a file without a slash is; NULL: where they are installed */

	/* control connections */
	uint32_t topology_refresh_interval_ms; /* 0: only after events */
	uint32_t heartbeat_interval_ms;
	uint32_t heartbeat_retry_interval_min_ms;
	uint32_t heartbeat_retry_interval_max_ms;
	double heartbeat_retry_backoff_factor;
	uint32_t heartbeat_failure_threshold;

	/* [http] */
	bool http_enabled;
	char *http_address;
	uint16_t http_port;
	enum ready_when ready_when;
	bool metrics_enabled;
	char *metrics_prefix;
	struct bucket_list buckets[CLUSTER_COUNT];
	struct bucket_list async_buckets; /* of mirrored reads */

	/* [log] */
	int log_level; /* enum log_level of base/log.h */
	enum log_format log_format;
	char *log_file; /* NULL: standard error */
};

static inline enum cluster_id cluster_id_other(enum cluster_id id)
{
	return id == CLUSTER_ORIGIN ? CLUSTER_TARGET : CLUSTER_ORIGIN;
}

/*
 * Whether a client's REGISTER goes to the nodes and their events to it, as ZDM Proxy has it. That needs connections of
 * its own; otherwise we answer it, and what the control connections report is told.
 */
static inline bool settings_forward_events(const struct settings *s)
{
	return s->profile == PROFILE_ZDM && s->backend_connections == BACKEND_DEDICATED;
}

/* Whether a cluster is found in another way: by other contact points, another port or way of encryption. */
bool settings_lead_elsewhere(const struct cluster_settings *a, const struct cluster_settings *b);
/* Whether connections to a cluster are to be encrypted in another way, or by other files, than those open now. */
bool settings_change_encryption(const struct cluster_settings *a, const struct cluster_settings *b);
/* Whether the same rows of a cluster can give other nodes, or other ones that are this instance's. */
bool settings_change_nodes(const struct settings *a, const struct settings *b, enum cluster_id id);

/* "origin" or "target", for messages. */
const char *cluster_id_name(enum cluster_id id);
/* "ORIGIN" or "TARGET", as ZDM writes them. */
const char *cluster_id_upper(enum cluster_id id);

#endif
