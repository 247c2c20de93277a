/* setting.c - the rows of the table, and how to find one. */
#include "control/setting.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/log.h"

#define PROXY(member) offsetof(struct settings, member), sizeof(((struct settings *)0)->member)
#define CLUSTER(member) offsetof(struct cluster_settings, member), sizeof(((struct cluster_settings *)0)->member)
#define PLUGIN(member) offsetof(struct plugin_settings, member), sizeof(((struct plugin_settings *)0)->member)
#define LISTENER(member) offsetof(struct listener_settings, member), sizeof(((struct listener_settings *)0)->member)
#define NOWHERE 0, 0

#define KIB(n) ((int64_t)(n) << 10)
#define MIB(n) ((int64_t)(n) << 20)
#define GIB(n) ((int64_t)(n) << 30)
#define DAY_MS 86400000
#define MAX_STREAMS 32768
#define INT_MAX_ZDM 2147483647

#define DEFAULT_BUCKETS "1, 4, 7, 10, 25, 40, 60, 80, 100, 150, 250, 500, 1000, 2500, 5000, 10000, 15000"

static const struct setting_word profile_words[] = {
	{ "native", PROFILE_NATIVE, false },
	{ "zdm", PROFILE_ZDM, false },
	{ NULL, 0, false },
};

static const struct setting_word cluster_words[] = {
	{ "origin", CLUSTER_ORIGIN, false },
	{ "target", CLUSTER_TARGET, false },
	{ NULL, 0, false },
};

static const struct setting_word credentials_words[] = {
	{ "auto", CREDENTIALS_AUTO, false },
	{ "client", CREDENTIALS_CLIENT, false },
	{ "configured", CREDENTIALS_CONFIGURED, false },
	{ NULL, 0, false },
};

static const struct setting_word tls_words[] = {
	{ "none", TLS_NONE, false },
	{ "ca", TLS_CA, false },
	{ "full", TLS_FULL, false },
	{ NULL, 0, false },
};

static const struct setting_word proxy_protocol_words[] = {
	{ "off", PROXY_PROTOCOL_OFF, false },
	{ "v1", PROXY_PROTOCOL_V1, false },
	{ "v2", PROXY_PROTOCOL_V2, false },
	{ NULL, 0, false },
};

static const struct setting_word compression_words[] = {
	{ "auto", LEG_COMPRESSION_AUTO, false },
	{ "none", LEG_COMPRESSION_NONE, false },
	{ "lz4", LEG_COMPRESSION_LZ4, false },
	{ "snappy", LEG_COMPRESSION_SNAPPY, false },
	{ NULL, 0, false },
};

static const struct setting_word read_mode_words[] = {
	{ "primary_only", READ_PRIMARY_ONLY, false },
	{ "dual_async_on_secondary", READ_DUAL_ASYNC_ON_SECONDARY, false },
	{ NULL, 0, false },
};

static const struct setting_word node_ports_words[] = {
	{ "discovered", NODE_PORTS_DISCOVERED, false },
	{ "configured", NODE_PORTS_CONFIGURED, false },
	{ NULL, 0, false },
};

static const struct setting_word ready_when_words[] = {
	{ "both", READY_WHEN_BOTH, false },
	{ "primary", READY_WHEN_PRIMARY, false },
	{ NULL, 0, false },
};

static const struct setting_word backend_words[] = {
	{ "pooled", BACKEND_POOLED, false },
	{ "dedicated", BACKEND_DEDICATED, false },
	{ NULL, 0, false },
};

static const struct setting_word balance_words[] = {
	{ "token_aware", BALANCE_TOKEN_AWARE, false },
	{ "round_robin", BALANCE_ROUND_ROBIN, false },
	{ "contact_point", BALANCE_CONTACT_POINT, false },
	{ NULL, 0, false },
};

static const struct setting_word timestamps_words[] = {
	{ "client", TIMESTAMPS_CLIENT, false },
	{ "add", TIMESTAMPS_ADD, false },
	{ NULL, 0, false },
};

static const struct setting_word level_words[] = {
	{ "error", LOG_ERROR, false }, { "warn", LOG_WARN, false },   { "info", LOG_INFO, false },
	{ "debug", LOG_DEBUG, false }, { "trace", LOG_TRACE, false }, { "warning", LOG_WARN, true },
	{ "fatal", LOG_ERROR, true },  { "panic", LOG_ERROR, true },  { NULL, 0, false },
};

static const struct setting_word on_error_words[] = {
	{ "deny", false, false },
	{ "pass", true, false },
	{ NULL, 0, false },
};
static const struct setting_word log_format_words[] = {
	{ "text", LOG_FORMAT_TEXT, false },
	{ "json", LOG_FORMAT_JSON, false },
	{ NULL, 0, false },
};

/* Accepted because ZDM Proxy has them; they size its queues and goroutine pools, which have no counterpart here. */
#define ZDM_SIZE(key, name, default_text)                                                                              \
	{                                                                                                              \
		SECTION_ZDM_ONLY, key, name, SETTING_COUNT, NOWHERE, default_text,                                     \
			.max = INT_MAX_ZDM, .flags = SETTING_RELOAD,                                                   \
			.help = "sizes a queue or buffer of ZDM Proxy; without effect"                                 \
	}
#define ZDM_WORKERS(key, name)                                                                                         \
	{                                                                                                              \
		SECTION_ZDM_ONLY, key, name, SETTING_COUNT, NOWHERE, "-1",                                             \
			.min = -INT_MAX_ZDM, .max = INT_MAX_ZDM, .flags = SETTING_WORKERS | SETTING_RELOAD,            \
			.help = "counts goroutines of ZDM Proxy; without effect"                                       \
	}

const struct setting setting_table[] = {
	/* [proxy] */
	{ SECTION_PROXY, "profile", NULL, SETTING_WORD, PROXY(profile), "native", "zdm", .words = profile_words,
	  .help = "how to settle a conflict between being ZDM Proxy's twin (zdm) and being better (native)" },
	{ SECTION_PROXY, "workers", NULL, SETTING_COUNT, PROXY(workers), "0", .max = 1024,
	  .help = "worker threads; 0 takes the number of cores the process may use" },
	{ SECTION_PROXY, "max_client_connections", "PROXY_MAX_CLIENT_CONNECTIONS", SETTING_COUNT,
	  PROXY(max_client_connections), "10000", "1000", .min = 1, .max = 1000000, .flags = SETTING_RELOAD,
	  .help = "client connections of the whole process; further ones are refused" },
	{ SECTION_PROXY, "max_connections_per_address", NULL, SETTING_COUNT, PROXY(max_connections_per_address), "0",
	  .max = 1000000, .flags = SETTING_RELOAD, .help = "of these, from one address; 0: no limit" },
	{ SECTION_PROXY, "max_connections_per_user", NULL, SETTING_COUNT, PROXY(max_connections_per_user), "0",
	  .max = 1000000, .flags = SETTING_RELOAD, .help = "of these, logged in as one user; 0: no limit" },
	{ SECTION_PROXY, "max_handshakes", NULL, SETTING_COUNT, PROXY(max_handshakes), "0", .max = 1000000,
	  .flags = SETTING_RELOAD,
	  .help = "clients between their accepted connection and READY; further ones wait for their turn, for "
		  "handshake_timeout at most; 0: no limit" },
	{ SECTION_PROXY, "max_requests_per_client", NULL, SETTING_COUNT, PROXY(max_requests_per_client), "0",
	  .max = MAX_STREAMS, .zero_means = MAX_STREAMS, .flags = SETTING_RELOAD,
	  .help = "requests in flight of one connection; with so many nothing more is read from it until one is "
		  "answered; 0 takes the maximum" },
	{ SECTION_PROXY, "request_timeout", "PROXY_REQUEST_TIMEOUT_MS", SETTING_DURATION, PROXY(request_timeout_ms),
	  "10s", .max = DAY_MS, .zero_means = DAY_MS, .flags = SETTING_RELOAD,
	  .help = "a request without an answer after this time gets an error; 0 takes the maximum" },
	{ SECTION_PROXY, "handshake_timeout", NULL, SETTING_DURATION, PROXY(handshake_timeout_ms), "10s", .min = 1,
	  .max = DAY_MS, .flags = SETTING_RELOAD,
	  .help = "from the accepted connection to a client that is ready for requests, TLS and authentication included" },
	{ SECTION_PROXY, "drain_delay", NULL, SETTING_DURATION, PROXY(drain_delay_ms), "0", .max = DAY_MS,
	  .flags = SETTING_RELOAD, .help = "on SIGTERM: time between readiness turning 503 and the listeners closing" },
	{ SECTION_PROXY, "shutdown_timeout", NULL, SETTING_DURATION, PROXY(shutdown_timeout_ms), "8s", .max = DAY_MS,
	  .flags = SETTING_RELOAD, .help = "on SIGTERM: time for everything after drain_delay" },
	{ SECTION_PROXY, "client_write_timeout", NULL, SETTING_DURATION, PROXY(client_write_timeout_ms), "30s",
	  .min = 1, .max = DAY_MS, .flags = SETTING_RELOAD,
	  .help = "a client that takes nothing of its waiting answers for this long is closed" },
	{ SECTION_PROXY, "client_idle_timeout", NULL, SETTING_DURATION, PROXY(client_idle_timeout_ms), "0",
	  .max = DAY_MS, .flags = SETTING_RELOAD,
	  .help = "a client without requests in flight that sends nothing for this long, not even a heartbeat, is "
		  "closed; 0: never" },
	{ SECTION_PROXY, "client_output_limit", NULL, SETTING_SIZE, PROXY(client_output_limit), "1MiB", .min = KIB(64),
	  .max = GIB(1), .flags = SETTING_RELOAD,
	  .help = "with more unread answers than this, a client's connections to the clusters are not read" },
	{ SECTION_PROXY, "max_frame_size", NULL, SETTING_SIZE, PROXY(max_frame_size), "16MiB", "256MiB",
	  .min = KIB(128), .max = GIB(1), .flags = SETTING_RELOAD,
	  .help = "largest frame body a client may send, refused from the header; an answer may have 256MiB in any case" },
	{ SECTION_PROXY, "large_frame_size", NULL, SETTING_SIZE, PROXY(large_frame_size), "1MiB", .min = KIB(64),
	  .max = GIB(1), .flags = SETTING_RELOAD,
	  .help = "requests with larger bodies go over a second connection to each cluster, opened for them on demand" },
	{ SECTION_PROXY, "memory_limit", NULL, SETTING_SIZE, PROXY(memory_limit), "1GiB", .max = GIB(1024),
	  .flags = SETTING_RELOAD,
	  .help = "memory for large frames (over 64KiB) of the whole process; beyond three quarters of it new large "
		  "requests wait, then get OVERLOADED; 0: no limit" },
	{ SECTION_PROXY, "max_stream_ids", "PROXY_MAX_STREAM_IDS", SETTING_COUNT, PROXY(max_stream_ids), "32768",
	  "2048", .min = 1, .max = 32768, .flags = SETTING_RELOAD | SETTING_ZDM_CLAMP,
	  .help = "requests in flight on one backend connection" },
	{ SECTION_PROXY, "backend_connections", NULL, SETTING_WORD, PROXY(backend_connections), "pooled", "dedicated",
	  .words = backend_words,
	  .help = "pooled: clients with the same credentials share connections to the nodes; dedicated: each client has "
		  "one of its own to each cluster, as ZDM Proxy has it" },
	{ SECTION_PROXY, "load_balancing", NULL, SETTING_WORD, PROXY(load_balancing), "token_aware",
	  .words = balance_words, .flags = SETTING_RELOAD,
	  .help = "of pooled connections: a replica where the partition key is known, else the less loaded of two "
		  "nodes (token_aware), one node after the other (round_robin), or the control connection's "
		  "(contact_point)" },
	{ SECTION_PROXY, "connections_per_host", NULL, SETTING_COUNT, PROXY(connections_per_host), "1", .min = 1,
	  .max = 64, .flags = SETTING_RELOAD,
	  .help = "pooled connections of one user and worker to one node; one more is opened while a large answer or "
		  "too many requests block these" },
	{ SECTION_PROXY, "max_connections_per_host", NULL, SETTING_COUNT, PROXY(max_connections_per_host), "1024",
	  .max = 1000000, .flags = SETTING_RELOAD,
	  .help = "pooled connections of the whole process to one node; idle ones of other users are closed for new "
		  "ones, then requests wait; 0: no limit" },
	{ SECTION_PROXY, "pool_idle_timeout", NULL, SETTING_DURATION, PROXY(pool_idle_timeout_ms), "60s", .min = 10,
	  .max = DAY_MS, .flags = SETTING_RELOAD,
	  .help = "a pooled connection without requests is closed after this time, except the last one to a node while "
		  "clients may use it" },
	{ SECTION_PROXY, "credentials_validity", NULL, SETTING_DURATION, PROXY(credentials_validity_ms), "2s",
	  .max = DAY_MS, .flags = SETTING_RELOAD,
	  .help = "for so long a user and password that a cluster has accepted are good for further clients of pooled "
		  "connections; then the cluster is asked again; 0: it always is" },
	{ SECTION_PROXY, "heartbeat_timeout", NULL, SETTING_DURATION, PROXY(heartbeat_timeout_ms), "5s", .min = 10,
	  .max = DAY_MS, .flags = SETTING_RELOAD,
	  .help = "a pooled connection whose node is silent for this long while something is due is given up, and a "
		  "control connection whose heartbeat is not answered (zdm profile: after 10s)" },
	{ SECTION_PROXY, "prepared_cache_entries", NULL, SETTING_COUNT, PROXY(prepared_cache_entries), "10000",
	  .min = 100, .max = 10000000, .flags = SETTING_RELOAD, .help = "prepared statements the process remembers" },
	{ SECTION_PROXY, "prepared_cache_memory", NULL, SETTING_SIZE, PROXY(prepared_cache_memory), "64MiB",
	  .min = MIB(1), .max = GIB(64), .flags = SETTING_RELOAD, .help = "memory that they may take together" },
	{ SECTION_PROXY, "control_conn_max_protocol_version", "CONTROL_CONN_MAX_PROTOCOL_VERSION", SETTING_VERSION,
	  PROXY(max_protocol_version), "DseV2", .step = STEP_MAX_VERSION,
	  .help = "highest protocol version of control connections and of clients; DseV2 is the highest there is" },
	{ SECTION_PROXY, "blocked_protocol_versions", "BLOCKED_PROTOCOL_VERSIONS", SETTING_VERSIONS,
	  PROXY(blocked_versions), NULL, .step = STEP_BLOCKED_VERSIONS, .flags = SETTING_RELOAD,
	  .help = "versions that clients may not use" },
	{ SECTION_PROXY, "topology_index", "PROXY_TOPOLOGY_INDEX", SETTING_COUNT, PROXY(topology_index), "0",
	  .max = 65535, .step = STEP_TOPOLOGY, .flags = SETTING_RELOAD,
	  .help = "position of this instance in topology_addresses, from 0" },
	{ SECTION_PROXY, "topology_addresses", "PROXY_TOPOLOGY_ADDRESSES", SETTING_ADDRESSES, PROXY(topology_addresses),
	  NULL, .step = STEP_TOPOLOGY, .flags = SETTING_RELOAD,
	  .help = "all instances of the proxy, as drivers reach them, the same list in each; empty: this one alone" },
	{ SECTION_PROXY, "topology_num_tokens", "PROXY_TOPOLOGY_NUM_TOKENS", SETTING_COUNT, PROXY(topology_num_tokens),
	  "8", .min = 1, .max = 256, .step = STEP_TOPOLOGY, .flags = SETTING_RELOAD,
	  .help = "tokens per instance in the topology that drivers see" },
	{ SECTION_PROXY, "heartbeat_interval", "HEARTBEAT_INTERVAL_MS", SETTING_DURATION, PROXY(heartbeat_interval_ms),
	  "30s", .min = 10, .max = DAY_MS, .flags = SETTING_RELOAD,
	  .help = "between heartbeats on a control connection, and on a backend connection without requests" },
	{ SECTION_PROXY, "heartbeat_retry_interval_min", "HEARTBEAT_RETRY_INTERVAL_MIN_MS", SETTING_DURATION,
	  PROXY(heartbeat_retry_interval_min_ms), "250ms", .max = DAY_MS, .zero_means = 100,
	  .flags = SETTING_RELOAD | SETTING_ZDM_NEGATIVE,
	  .help = "first pause before a lost control connection is opened again; 0 takes 100ms" },
	{ SECTION_PROXY, "heartbeat_retry_interval_max", "HEARTBEAT_RETRY_INTERVAL_MAX_MS", SETTING_DURATION,
	  PROXY(heartbeat_retry_interval_max_ms), "30s", .max = DAY_MS, .zero_means = 10000,
	  .flags = SETTING_RELOAD | SETTING_ZDM_NEGATIVE, .help = "longest such pause; 0 takes 10s" },
	{ SECTION_PROXY, "heartbeat_retry_backoff_factor", "HEARTBEAT_RETRY_BACKOFF_FACTOR", SETTING_FLOAT,
	  PROXY(heartbeat_retry_backoff_factor), "2", .max = 1000000, .zero_means = 2000,
	  .flags = SETTING_RELOAD | SETTING_ZDM_NEGATIVE,
	  .help = "growth of that pause from one attempt to the next; 0 takes 2" },
	{ SECTION_PROXY, "heartbeat_failure_threshold", "HEARTBEAT_FAILURE_THRESHOLD", SETTING_COUNT,
	  PROXY(heartbeat_failure_threshold), "1", .max = 1000000, .flags = SETTING_RELOAD,
	  .help = "failures in a row of a control connection at which readiness calls its cluster down; 0: always" },
	{ SECTION_PROXY, "topology_refresh_interval", NULL, SETTING_DURATION, PROXY(topology_refresh_interval_ms),
	  "60s", "0", .max = DAY_MS, .flags = SETTING_RELOAD,
	  .help = "nodes and keyspaces of the clusters are asked for again after this time, beside what events say; 0: "
		  "never" },

	{ SECTION_PROXY, "tracing_enabled", "TRACING_ENABLED", SETTING_BOOL, PROXY(tracing_enabled), "false",
	  .flags = SETTING_RELOAD,
	  .help = "give QUERY, PREPARE, EXECUTE and BATCH a request id in their custom payload, and log it" },
	{ SECTION_PROXY, "tracing_rate_limit", "TRACING_RATE_LIMIT", SETTING_COUNT, PROXY(tracing_rate_limit), "0",
	  .max = INT_MAX_ZDM, .flags = SETTING_RELOAD | SETTING_ZDM_NEGATIVE | SETTING_ZDM_CLAMP,
	  .help = "requests per second that get one, of the whole process; 0: no limit" },
	{ SECTION_PROXY, "tracing_request_id_key", "TRACING_REQUEST_ID_KEY", SETTING_STRING,
	  PROXY(tracing_request_id_key), "request-id", .flags = SETTING_RELOAD | SETTING_EMPTY_OK,
	  .help = "the key under which a request id stands in the custom payload" },
	{ SECTION_PROXY, "plugin_dir", NULL, SETTING_PATH, PROXY(plugin_dir), NULL,
	  .help = "the folder of plugins whose file has no slash; not set: where they are installed" },

	/* [listener] */
	{ SECTION_LISTENER, "address", "PROXY_LISTEN_ADDRESS", SETTING_HOST, LISTENER(address), "127.0.0.1",
	  "localhost", .flags = SETTING_EMPTY_OK, .help = "address or name to listen on; empty or * means all" },
	{ SECTION_LISTENER, "port", "PROXY_LISTEN_PORT", SETTING_COUNT, LISTENER(port), "14002", .min = 1, .max = 65535,
	  .help = "TCP port for drivers" },
	{ SECTION_LISTENER, "tls_cert", "PROXY_TLS_CERT_PATH", SETTING_PATH, LISTENER(tls_cert), NULL,
	  .step = STEP_LISTENER_TLS, .flags = SETTING_RELOAD,
	  .help = "PEM file, server certificate and its chain; with tls_key: the listener speaks TLS only" },
	{ SECTION_LISTENER, "tls_key", "PROXY_TLS_KEY_PATH", SETTING_PATH, LISTENER(tls_key), NULL,
	  .step = STEP_LISTENER_TLS, .flags = SETTING_RELOAD,
	  .help = "PEM file, the certificate's key, not encrypted" },
	{ SECTION_LISTENER, "tls_ca", "PROXY_TLS_CA_PATH", SETTING_PATH, LISTENER(tls_ca), NULL,
	  .step = STEP_LISTENER_TLS, .flags = SETTING_RELOAD, .help = "PEM file, who may sign client certificates" },
	{ SECTION_LISTENER, "tls_require_client_cert", "PROXY_TLS_REQUIRE_CLIENT_AUTH", SETTING_BOOL,
	  LISTENER(tls_require_client_cert), "false", .step = STEP_LISTENER_TLS, .flags = SETTING_RELOAD,
	  .help = "refuse drivers without a certificate signed by tls_ca" },
	{ SECTION_LISTENER, "tls_ask_client_cert", NULL, SETTING_BOOL, LISTENER(tls_ask_client_cert), "false",
	  .step = STEP_LISTENER_TLS, .flags = SETTING_RELOAD,
	  .help = "ask drivers for a certificate signed by tls_ca, and let in those that have none" },
	{ SECTION_LISTENER, "allow", NULL, SETTING_RANGES, LISTENER(allow), NULL, .flags = SETTING_RELOAD,
	  .help = "who may connect; empty: everybody" },
	{ SECTION_LISTENER, "deny", NULL, SETTING_RANGES, LISTENER(deny), NULL, .flags = SETTING_RELOAD,
	  .help = "who may not, even if allow has them" },
	{ SECTION_LISTENER, "proxy_protocol", NULL, SETTING_WORD, LISTENER(proxy_protocol), "off",
	  .words = proxy_protocol_words,
	  .help = "each connection begins with a header of the PROXY protocol of this version, which says where the "
		  "client is" },
	{ SECTION_LISTENER, "proxy_protocol_from", NULL, SETTING_RANGES, LISTENER(proxy_protocol_from), NULL,
	  .flags = SETTING_RELOAD,
	  .help = "the load balancers that send it; others may not connect. Mandatory unless proxy_protocol = off" },

	/* [origin] and [target] */
	{ SECTION_CLUSTER, "contact_points", "CONTACT_POINTS", SETTING_HOSTS, CLUSTER(contact_points), NULL,
	  .step = STEP_CONTACT_POINTS, .flags = SETTING_RELOAD,
	  .help = "nodes to ask first; mandatory without secure_connect_bundle" },
	{ SECTION_CLUSTER, "port", "PORT", SETTING_COUNT, CLUSTER(port), "9042", .min = 1, .max = 65535,
	  .step = STEP_CONTACT_POINTS, .flags = SETTING_RELOAD,
	  .help = "CQL port of the contact points, and of nodes that say no other or are not believed (node_ports)" },
	{ SECTION_CLUSTER, "node_ports", NULL, SETTING_WORD, CLUSTER(node_ports), "discovered", "configured",
	  .words = node_ports_words, .flags = SETTING_RELOAD,
	  .help = "the CQL port of a node is what the system tables of the cluster say (discovered), or port for all" },
	{ SECTION_CLUSTER, "address_map", NULL, SETTING_ADDRESS_MAP, CLUSTER(address_map), NULL,
	  .flags = SETTING_RELOAD,
	  .help = "where nodes are reached that stand behind an address translation: what the system tables say, = , "
		  "and what to connect to" },
	{ SECTION_CLUSTER, "secure_connect_bundle", "SECURE_CONNECT_BUNDLE_PATH", SETTING_PATH,
	  CLUSTER(secure_connect_bundle), NULL, .step = STEP_CONTACT_POINTS,
	  .help = "zip file of an Astra database that says how to reach it, in place of contact_points, "
		  "local_datacenter and all tls settings" },
	{ SECTION_CLUSTER, "username", "USERNAME", SETTING_STRING, CLUSTER(username), NULL,
	  .flags = SETTING_RELOAD | SETTING_ENV_REQUIRED,
	  .help = "user of the control connection, and of clients' connections where credentials says so" },
	{ SECTION_CLUSTER, "password", "PASSWORD", SETTING_SECRET, CLUSTER(password), NULL,
	  .flags = SETTING_RELOAD | SETTING_ENV_REQUIRED, .help = "password of that user" },
	{ SECTION_CLUSTER, "credentials", NULL, SETTING_WORD, CLUSTER(credentials), "auto", .words = credentials_words,
	  .flags = SETTING_RELOAD,
	  .help = "what a client's connection to this cluster logs in with: as ZDM Proxy decides (auto), always the "
		  "client's own, or always username and password of this section" },
	{ SECTION_CLUSTER, "local_datacenter", "LOCAL_DATACENTER", SETTING_STRING, CLUSTER(local_datacenter), NULL,
	  .step = STEP_CONTACT_POINTS, .flags = SETTING_RELOAD,
	  .help = "only nodes of this datacenter get requests; unset: the contact point's" },
	{ SECTION_CLUSTER, "fallback_datacenters", NULL, SETTING_NAMES, CLUSTER(fallback_datacenters), NULL,
	  .step = STEP_CONTACT_POINTS, .flags = SETTING_RELOAD,
	  .help = "datacenters whose nodes get the requests, the first one first, while no node of the local one is up" },
	{ SECTION_CLUSTER, "enable_host_assignment", "ENABLE_HOST_ASSIGNMENT", SETTING_BOOL,
	  CLUSTER(enable_host_assignment), "true", .step = STEP_CONTACT_POINTS, .flags = SETTING_RELOAD,
	  .help = "spread connections over the nodes; false: all go to the contact point in use" },
	{ SECTION_CLUSTER, "connection_timeout", "CONNECTION_TIMEOUT_MS", SETTING_DURATION,
	  CLUSTER(connection_timeout_ms), "30s", .max = DAY_MS, .zero_means = DAY_MS, .flags = SETTING_RELOAD,
	  .help = "time to establish a TCP connection to a node; 0 takes the maximum" },
	{ SECTION_CLUSTER, "compression", NULL, SETTING_WORD, CLUSTER(compression), "auto", .words = compression_words,
	  .flags = SETTING_RELOAD,
	  .help = "of clients' connections to this cluster; auto: the client's own where the cluster offers it; what "
		  "the cluster does not offer, and snappy in protocol v5, is none" },
	{ SECTION_CLUSTER, "read_consistency", NULL, SETTING_LEVELS, CLUSTER(read_consistency), NULL,
	  .flags = SETTING_RELOAD,
	  .help = "consistency level of SELECTs on this cluster, instead of the driver's; SERIAL ones stay" },
	{ SECTION_CLUSTER, "write_consistency", NULL, SETTING_LEVELS, CLUSTER(write_consistency), NULL,
	  .flags = SETTING_RELOAD | SETTING_WRITES, .help = "the same for INSERT, UPDATE, DELETE and batches" },
	{ SECTION_CLUSTER, "tls", NULL, SETTING_WORD, CLUSTER(tls), "none", .words = tls_words,
	  .step = STEP_CLUSTER_TLS, .flags = SETTING_RELOAD,
	  .help = "encryption; ca: the node's certificate must be signed by tls_ca; full: and must name the node" },
	{ SECTION_CLUSTER, "tls_ca", "TLS_SERVER_CA_PATH", SETTING_PATH, CLUSTER(tls_ca), NULL,
	  .step = STEP_CLUSTER_TLS, .flags = SETTING_RELOAD,
	  .help = "PEM file, the only authorities trusted for this cluster" },
	{ SECTION_CLUSTER, "tls_cert", "TLS_CLIENT_CERT_PATH", SETTING_PATH, CLUSTER(tls_cert), NULL,
	  .step = STEP_CLUSTER_TLS, .flags = SETTING_RELOAD, .help = "PEM file, our certificate towards the cluster" },
	{ SECTION_CLUSTER, "tls_key", "TLS_CLIENT_KEY_PATH", SETTING_PATH, CLUSTER(tls_key), NULL,
	  .step = STEP_CLUSTER_TLS, .flags = SETTING_RELOAD, .help = "PEM file, its key, not encrypted" },
	{ SECTION_CLUSTER, "tls_server_name", NULL, SETTING_HOST, CLUSTER(tls_server_name), NULL,
	  .step = STEP_CLUSTER_TLS, .flags = SETTING_RELOAD,
	  .help = "name sent as SNI and looked for in the certificates instead of the node's" },

	/* [routing] */
	{ SECTION_ROUTING, "primary", "PRIMARY_CLUSTER", SETTING_WORD, PROXY(primary), "origin", .words = cluster_words,
	  .step = STEP_PRIMARY, .flags = SETTING_RELOAD,
	  .help = "the cluster that reads go to and whose answer a write gets" },
	{ SECTION_ROUTING, "system_queries_mode", "SYSTEM_QUERIES_MODE", SETTING_WORD, PROXY(system_queries), "origin",
	  .words = cluster_words, .step = STEP_SYSTEM_QUERIES, .flags = SETTING_RELOAD,
	  .help = "the cluster that answers reads of system keyspaces" },
	{ SECTION_ROUTING, "forward_client_credentials_to_origin", "FORWARD_CLIENT_CREDENTIALS_TO_ORIGIN", SETTING_BOOL,
	  PROXY(forward_client_credentials_to_origin), "false", .flags = SETTING_RELOAD,
	  .help = "where both clusters demand a login and credentials = auto: the client's are for origin, not target" },
	{ SECTION_ROUTING, "read_mode", "READ_MODE", SETTING_WORD, PROXY(read_mode), "primary_only",
	  .words = read_mode_words, .step = STEP_READ_MODE, .flags = SETTING_RELOAD,
	  .help = "dual_async_on_secondary: reads are also sent to the other cluster, on a connection of their own; "
		  "what it answers is counted and thrown away" },
	{ SECTION_ROUTING, "async_handshake_timeout", "ASYNC_HANDSHAKE_TIMEOUT_MS", SETTING_DURATION,
	  PROXY(async_handshake_timeout_ms), "4s", .max = DAY_MS, .zero_means = DAY_MS, .flags = SETTING_RELOAD,
	  .help = "time for that connection to become ready; a client whose connection is not goes on without it. 0 "
		  "takes the maximum" },
	{ SECTION_ROUTING, "timestamps", NULL, SETTING_WORD, PROXY(timestamps), "client", .words = timestamps_words,
	  .flags = SETTING_RELOAD,
	  .help = "whether writes that carry no timestamp get one (add), the same on both clusters" },
	{ SECTION_ROUTING, "replace_cql_functions", "REPLACE_CQL_FUNCTIONS", SETTING_BOOL, PROXY(replace_cql_functions),
	  "false",
	  .help = "in writes, put values of the proxy's in place of now(), uuid(), currentTimestamp() and the like, so "
		  "that both clusters store the same" },
	{ SECTION_ROUTING, "rule", NULL, SETTING_RULES, PROXY(rules), NULL, .flags = SETTING_RELOAD | SETTING_REPEATED,
	  .help = "where the statements about some tables go; the most specific rule counts" },

	/* [plugin NAME] */
	{ SECTION_PLUGIN, "file", NULL, SETTING_PATH, PLUGIN(file), NULL,
	  .help = "the shared object; mandatory. With a slash it counts from the folder of the file that it stands in, "
		  "without one it is in plugin_dir" },
	{ SECTION_PLUGIN, "on_error", NULL, SETTING_WORD, PLUGIN(passes), "deny", .words = on_error_words,
	  .help = "what happens to a client, log-in or request about which the plugin fails: it is refused (deny), or "
		  "goes on as if the plugin were not there (pass)" },
	{ SECTION_PLUGIN, "order", NULL, SETTING_COUNT, PLUGIN(order), "0", .min = -1000000, .max = 1000000,
	  .help = "plugins are asked from the lowest number to the highest; of equal ones as they stand in the file" },

	/* [lua] */
	{ SECTION_LUA, "script", NULL, SETTING_PATHS, PROXY(lua.scripts), NULL,
	  .flags = SETTING_RELOAD | SETTING_REPEATED,
	  .help = "a file with hooks that decide routes, or a folder: its files that end in .lua, by name; a relative name counts from the folder of the file that it stands in" },
	{ SECTION_LUA, "lua_path", NULL, SETTING_PATHS, PROXY(lua.path), NULL,
	  .flags = SETTING_RELOAD | SETTING_REPEATED, .help = "a folder in which require looks for NAME.lua" },
	{ SECTION_LUA, "time_limit", NULL, SETTING_SHORT_TIME, PROXY(lua.time_limit_us), "2ms", .min = 10,
	  .max = 1000000, .flags = SETTING_RELOAD,
	  .help = "of one call of a hook; one that takes longer is ended, and its on_error decides" },
	{ SECTION_LUA, "memory_limit", NULL, SETTING_SIZE, PROXY(lua.memory_limit), "32MiB", .min = MIB(1),
	  .max = GIB(1), .flags = SETTING_RELOAD, .help = "for all that the scripts of one worker hold" },
	{ SECTION_LUA, "fail_limit", NULL, SETTING_COUNT, PROXY(lua.fail_limit), "100", .max = 1000000000,
	  .flags = SETTING_RELOAD,
	  .help = "errors of a hook in a minute at which it is switched off until the next reload (with on_error = "
		  "deny: what it is for is denied), in each worker; 0: never" },
	{ SECTION_LUA, "jit", NULL, SETTING_BOOL, PROXY(lua.jit), "false", .flags = SETTING_RELOAD,
	  .help = "compile scripts to machine code: faster, but an endless loop in them is then not ended" },

	/* [http] */
	{ SECTION_HTTP, "enabled", NULL, SETTING_BOOL, PROXY(http_enabled), "true",
	  .help = "serve health and metrics over HTTP" },
	{ SECTION_HTTP, "address", "METRICS_ADDRESS", SETTING_HOST, PROXY(http_address), "127.0.0.1", "localhost",
	  .flags = SETTING_EMPTY_OK, .help = "address or name to listen on; empty or * means all" },
	{ SECTION_HTTP, "port", "METRICS_PORT", SETTING_COUNT, PROXY(http_port), "14001", .min = 1, .max = 65535,
	  .help = "TCP port for HTTP" },
	{ SECTION_HTTP, "ready_when", NULL, SETTING_WORD, PROXY(ready_when), "both", .words = ready_when_words,
	  .flags = SETTING_RELOAD,
	  .help = "which clusters must be reachable for readiness 200. primary: listeners open at the start when that one "
		  "is, too; in the zdm profile they always wait for both" },
	{ SECTION_HTTP, "metrics_enabled", "METRICS_ENABLED", SETTING_BOOL, PROXY(metrics_enabled), "true",
	  .flags = SETTING_RELOAD, .help = "serve /metrics; false: it answers 404, health stays" },
	{ SECTION_HTTP, "metrics_prefix", "METRICS_PREFIX", SETTING_PREFIX, PROXY(metrics_prefix), "zdm",
	  .flags = SETTING_EMPTY_OK, .help = "start of every metric's name, joined by _; empty: none" },
	{ SECTION_HTTP, "origin_latency_buckets_ms", "METRICS_ORIGIN_LATENCY_BUCKETS_MS", SETTING_BUCKETS,
	  PROXY(buckets[CLUSTER_ORIGIN]), DEFAULT_BUCKETS, .step = STEP_BUCKETS,
	  .help = "upper bounds of origin's latency histograms" },
	{ SECTION_HTTP, "target_latency_buckets_ms", "METRICS_TARGET_LATENCY_BUCKETS_MS", SETTING_BUCKETS,
	  PROXY(buckets[CLUSTER_TARGET]), DEFAULT_BUCKETS, .step = STEP_BUCKETS, .help = "the same for target" },
	{ SECTION_HTTP, "async_read_latency_buckets_ms", "METRICS_ASYNC_READ_LATENCY_BUCKETS_MS", SETTING_BUCKETS,
	  PROXY(async_buckets), DEFAULT_BUCKETS, .step = STEP_BUCKETS, .help = "the same for mirrored reads" },

	/* [log] */
	{ SECTION_LOG, "level", "LOG_LEVEL", SETTING_WORD, PROXY(log_level), "info", .words = level_words,
	  .step = STEP_LOG_LEVEL, .flags = SETTING_TRIM | SETTING_RELOAD,
	  .help = "least important lines that are still written" },
	{ SECTION_LOG, "format", NULL, SETTING_WORD, PROXY(log_format), "text", .words = log_format_words,
	  .flags = SETTING_RELOAD, .help = "lines for people (text) or for machines (json, one object a line)" },
	{ SECTION_LOG, "file", NULL, SETTING_PATH, PROXY(log_file), NULL, .flags = SETTING_RELOAD,
	  .help = "file to append to, opened anew on SIGUSR1; not set: standard error" },

	/* [zdm] */
	ZDM_SIZE("request_write_queue_size_frames", "REQUEST_WRITE_QUEUE_SIZE_FRAMES", "128"),
	ZDM_SIZE("request_write_buffer_size_bytes", "REQUEST_WRITE_BUFFER_SIZE_BYTES", "4096"),
	ZDM_SIZE("request_read_buffer_size_bytes", "REQUEST_READ_BUFFER_SIZE_BYTES", "32768"),
	ZDM_SIZE("response_write_queue_size_frames", "RESPONSE_WRITE_QUEUE_SIZE_FRAMES", "128"),
	ZDM_SIZE("response_write_buffer_size_bytes", "RESPONSE_WRITE_BUFFER_SIZE_BYTES", "8192"),
	ZDM_SIZE("response_read_buffer_size_bytes", "RESPONSE_READ_BUFFER_SIZE_BYTES", "32768"),
	ZDM_WORKERS("request_response_max_workers", "REQUEST_RESPONSE_MAX_WORKERS"),
	ZDM_WORKERS("write_max_workers", "WRITE_MAX_WORKERS"),
	ZDM_WORKERS("read_max_workers", "READ_MAX_WORKERS"),
	ZDM_WORKERS("listener_max_workers", "LISTENER_MAX_WORKERS"),
	ZDM_SIZE("event_queue_size_frames", "EVENT_QUEUE_SIZE_FRAMES", "12"),
	ZDM_SIZE("async_connector_write_queue_size_frames", "ASYNC_CONNECTOR_WRITE_QUEUE_SIZE_FRAMES", "2048"),
	ZDM_SIZE("async_connector_write_buffer_size_bytes", "ASYNC_CONNECTOR_WRITE_BUFFER_SIZE_BYTES", "4096"),
};

const unsigned setting_count = ARRAY_LEN(setting_table);

const struct setting *setting_find(enum setting_section section, const char *key, bool *bare_ms)
{
	size_t len = strlen(key);
	bool has_ms = bare_ms && len > 3 && strcmp(key + len - 3, "_ms") == 0;

	if (bare_ms)
		*bare_ms = false;
	for (const struct setting *s = setting_table; s < setting_table + setting_count; s++) {
		if (s->section != section || !s->key)
			continue;
		if (strcmp(s->key, key) == 0)
			return s;
		if (has_ms && (s->type == SETTING_DURATION || s->type == SETTING_SHORT_TIME) &&
		    strlen(s->key) == len - 3 && memcmp(s->key, key, len - 3) == 0) {
			*bare_ms = true;
			return s;
		}
	}
	return NULL;
}

char *setting_env_name(const struct setting *s, unsigned instance)
{
	if (!s->zdm)
		return NULL;
	if (s->section == SECTION_CLUSTER)
		return xasprintf("ZDM_%s_%s", cluster_id_upper(instance), s->zdm);
	return xasprintf("ZDM_%s", s->zdm);
}

char *setting_yaml_key(const struct setting *s, unsigned instance)
{
	char *name = setting_env_name(s, instance);
	char *key = NULL;

	if (name) {
		key = xstrdup(name + strlen("ZDM_"));
		for (char *p = key; *p; p++) {
			if (*p >= 'A' && *p <= 'Z')
				*p = (char)(*p - 'A' + 'a');
		}
	}
	free(name);
	return key;
}

unsigned setting_instances(enum setting_section section, const struct settings *settings)
{
	if (section == SECTION_CLUSTER)
		return CLUSTER_COUNT;
	if (section == SECTION_LISTENER)
		return settings->listener_count;
	if (section == SECTION_PLUGIN)
		return settings->plugin_count;
	return 1;
}

void *setting_member(const struct setting *s, struct settings *settings, unsigned instance)
{
	char *base = (char *)settings;

	if (!s->width)
		return NULL;
	if (s->section == SECTION_CLUSTER)
		base = (char *)&settings->cluster[instance];
	else if (s->section == SECTION_LISTENER)
		base = (char *)&settings->listeners[instance];
	else if (s->section == SECTION_PLUGIN)
		base = (char *)&settings->plugins[instance];
	return base + s->offset;
}

const char *setting_section_name(enum setting_section section, const struct settings *settings, unsigned instance)
{
	static const char *const names[SECTION_COUNT] = {
		[SECTION_PROXY] = "proxy",     [SECTION_LISTENER] = "listener", [SECTION_CLUSTER] = "cluster",
		[SECTION_ROUTING] = "routing", [SECTION_LUA] = "lua",           [SECTION_HTTP] = "http",
		[SECTION_LOG] = "log",         [SECTION_ZDM_ONLY] = "zdm",
	};
	static _Thread_local char name[64];

	if (section == SECTION_CLUSTER)
		return cluster_id_name(instance);
	if (section == SECTION_LISTENER && settings->listeners[instance].name[0]) {
		snprintf(name, sizeof(name), "listener %s", settings->listeners[instance].name);
		return name;
	}
	if (section == SECTION_PLUGIN) {
		snprintf(name, sizeof(name), "plugin %s", settings->plugins[instance].name);
		return name;
	}
	return names[section];
}

const char *setting_default(const struct setting *s, enum profile profile)
{
	return profile == PROFILE_ZDM && s->zdm_default ? s->zdm_default : s->native_default;
}
