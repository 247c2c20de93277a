/* test_config_zdm.c - ZDM_* variables and ZDM Proxy's YAML file: the same settings, defaults and strictness. */
#include "base/log.h"
#include "config_helper.h"
#include "cql/version.h"

#define REQUIRED "ZDM_ORIGIN_USERNAME=", "ZDM_ORIGIN_PASSWORD=", "ZDM_TARGET_USERNAME=", "ZDM_TARGET_PASSWORD="
#define POINTS "ZDM_ORIGIN_CONTACT_POINTS=a", "ZDM_TARGET_CONTACT_POINTS=b"
#define YAML_POINTS "origin_contact_points: a\ntarget_contact_points: b\n"

/* What is mandatory plus up to four variables; NULL ends. */
static bool load_env(const char *a, const char *b, const char *c, const char *d)
{
	const char *environment[] = { a, b, c, d, NULL, NULL, NULL, NULL, NULL, NULL, NULL };
	static const char *const fixed[] = { REQUIRED, POINTS };
	unsigned n = 0;

	while (n < 4 && environment[n])
		n++;
	/* The first of two equal names counts, as with getenv(). */
	memcpy(environment + n, fixed, sizeof(fixed));
	return load(NULL, environment, NULL);
}

static bool load_yaml(const char *text)
{
	return load_text("t.yaml", text);
}

/* ---- variables ---- */

START_TEST(zdm_defaults)
{
	struct config_request request = { .path = NULL };

	ck_assert_msg(load_env(NULL, NULL, NULL, NULL), "%s", error);
	ck_assert(config_request_is_zdm(&request));
	ck_assert_int_eq(settings->profile, PROFILE_ZDM);
	ck_assert_uint_eq(settings->listener_count, 1);
	ck_assert_str_eq(settings->listeners[0].address, "localhost");
	ck_assert_uint_eq(settings->listeners[0].port, 14002);
	ck_assert_str_eq(settings->http_address, "localhost");
	ck_assert_uint_eq(settings->http_port, 14001);
	ck_assert_uint_eq(settings->request_timeout_ms, 10000);
	ck_assert_uint_eq(settings->max_client_connections, 1000);
	ck_assert_uint_eq(settings->max_stream_ids, 2048);
	ck_assert_uint_eq(settings->max_frame_size, 256 << 20);
	ck_assert_uint_eq(settings->client_output_limit, 1 << 20);
	ck_assert_uint_eq(settings->max_protocol_version, VERSION_DSE2);
	ck_assert_uint_eq(settings->heartbeat_interval_ms, 30000);
	ck_assert_uint_eq(settings->heartbeat_failure_threshold, 1);
	ck_assert_uint_eq(settings->buckets[CLUSTER_TARGET].count, 17);
	ck_assert(settings->buckets[CLUSTER_TARGET].ms[16] == 15000);
	ck_assert_str_eq(settings->metrics_prefix, "zdm");
	ck_assert(settings->http_enabled && settings->metrics_enabled);
	for (int i = 0; i < CLUSTER_COUNT; i++) {
		ck_assert_uint_eq(settings->cluster[i].port, 9042);
		ck_assert_uint_eq(settings->cluster[i].connection_timeout_ms, 30000);
		ck_assert_int_eq(settings->cluster[i].tls, TLS_NONE);
		ck_assert(settings->cluster[i].enable_host_assignment);
	}
	ck_assert_str_eq(warnings, "");
}
END_TEST

static const struct {
	const char *variable, *printed; /* a line of --print-config */
} accepted[] = {
	{ "ZDM_ORIGIN_PORT=0x10", "port = 16  ; from ZDM_ORIGIN_PORT" },
	{ "ZDM_ORIGIN_PORT=010", "port = 8  ; from ZDM_ORIGIN_PORT" },
	{ "ZDM_ORIGIN_PORT=0o17", "port = 15  ; from ZDM_ORIGIN_PORT" },
	{ "ZDM_ORIGIN_PORT=0b101", "port = 5  ; from ZDM_ORIGIN_PORT" },
	{ "ZDM_ORIGIN_PORT=+9_043", "port = 9043  ; from ZDM_ORIGIN_PORT" },
	{ "ZDM_ORIGIN_PORT=0x_ff", "port = 255  ; from ZDM_ORIGIN_PORT" },
	{ "ZDM_TARGET_CONTACT_POINTS= 10.0.0 .1 ,::1, c ", "contact_points = 10.0.0.1, ::1, c  ;" },
	{ "ZDM_TARGET_PASSWORD=env:HOME", "password = ***  ; from ZDM_TARGET_PASSWORD" },
	{ "ZDM_LOG_LEVEL= warn ", "level = warn  ; from ZDM_LOG_LEVEL" },
	{ "ZDM_LOG_LEVEL=WARNING", "level = warn  ;" },
	{ "ZDM_LOG_LEVEL=panic", "level = error  ;" },
	{ "ZDM_PRIMARY_CLUSTER=tArGeT", "primary = target  ;" },
	{ "ZDM_SYSTEM_QUERIES_MODE=target", "system_queries_mode = target  ;" },
	{ "ZDM_METRICS_ENABLED=F", "metrics_enabled = false  ;" },
	{ "ZDM_METRICS_ENABLED=False", "metrics_enabled = false  ;" },
	{ "ZDM_METRICS_PREFIX=", "metrics_prefix =  ; from ZDM_METRICS_PREFIX" },
	{ "ZDM_METRICS_ORIGIN_LATENCY_BUCKETS_MS=1,2.5 , 1e2", "origin_latency_buckets_ms = 1, 2.5, 100  ;" },
	{ "ZDM_PROXY_TOPOLOGY_ADDRESSES=", "topology_addresses =  ;" },
	{ "ZDM_PROXY_TOPOLOGY_ADDRESSES= 10.0.0.1 , ::1", "topology_addresses = 10.0.0.1, ::1  ;" },
	{ "ZDM_PROXY_TOPOLOGY_NUM_TOKENS=256", "topology_num_tokens = 256  ;" },
	{ "ZDM_PROXY_LISTEN_ADDRESS=", "address =  ; from ZDM_PROXY_LISTEN_ADDRESS" },
	{ "ZDM_PROXY_LISTEN_ADDRESS=[::1]", "address = ::1  ; from ZDM_PROXY_LISTEN_ADDRESS" },
	{ "ZDM_PROXY_REQUEST_TIMEOUT_MS=0", "request_timeout = 24h  ;" },
	{ "ZDM_PROXY_MAX_STREAM_IDS=32768", "max_stream_ids = 32768  ;" },
	{ "ZDM_CONTROL_CONN_MAX_PROTOCOL_VERSION=dsev2", "control_conn_max_protocol_version = DseV2  ;" },
	{ "ZDM_CONTROL_CONN_MAX_PROTOCOL_VERSION=4", "control_conn_max_protocol_version = 4  ;" },
	{ "ZDM_CONTROL_CONN_MAX_PROTOCOL_VERSION=2", "control_conn_max_protocol_version = 2  ;" },
	{ "ZDM_BLOCKED_PROTOCOL_VERSIONS=, ,  ,", "blocked_protocol_versions =  ;" },
	{ "ZDM_BLOCKED_PROTOCOL_VERSIONS=2,V3, 5 ,2", "blocked_protocol_versions = 2, 3, 5  ;" },
	{ "ZDM_BLOCKED_PROTOCOL_VERSIONS=Dse_V1,dsev2", "blocked_protocol_versions = DseV1, DseV2  ;" },
	{ "ZDM_HEARTBEAT_RETRY_INTERVAL_MIN_MS=-5", "heartbeat_retry_interval_min = 100ms  ;" },
	{ "ZDM_HEARTBEAT_RETRY_INTERVAL_MAX_MS=0", "heartbeat_retry_interval_max = 10s  ;" },
	{ "ZDM_HEARTBEAT_RETRY_INTERVAL_MIN_MS=40000", "heartbeat_retry_interval_min = 30s  ;" },
	{ "ZDM_HEARTBEAT_RETRY_BACKOFF_FACTOR=-.5e1", "heartbeat_retry_backoff_factor = 2  ;" },
	{ "ZDM_HEARTBEAT_RETRY_BACKOFF_FACTOR=1.5", "heartbeat_retry_backoff_factor = 1.5  ;" },
	{ "ZDM_HEARTBEAT_FAILURE_THRESHOLD=0", "heartbeat_failure_threshold = 0  ;" },
	{ "ZDM_READ_MODE=primary_only", "read_mode = primary_only  ;" },
	{ "ZDM_REPLACE_CQL_FUNCTIONS=0", "replace_cql_functions = false  ; from ZDM_REPLACE_CQL_FUNCTIONS" },
	{ "ZDM_REPLACE_CQL_FUNCTIONS=true", "replace_cql_functions = true  ; from ZDM_REPLACE_CQL_FUNCTIONS" },
	{ "ZDM_ORIGIN_SECURE_CONNECT_BUNDLE_PATH=", "contact_points = a  ;" },
	{ "ZDM_ORIGIN_TLS_SERVER_CA_PATH=ca", "tls = ca  ; from ZDM_ORIGIN_TLS_SERVER_CA_PATH" },
	{ "ZDM_REQUEST_WRITE_QUEUE_SIZE_FRAMES=0", "; ZDM_REQUEST_WRITE_QUEUE_SIZE_FRAMES = 0  ;" },
	{ "ZDM_METRICS_ENABLE=x", "metrics_enabled = true  ; default" },
};

START_TEST(accepted_variables)
{
	ck_assert_msg(load_env(accepted[_i].variable, NULL, NULL, NULL), "%s", error);
	ck_assert_msg(strstr(printed, accepted[_i].printed) != NULL, "%s not in\n%s", accepted[_i].printed, printed);
	ck_assert_str_eq(warnings, "");
}
END_TEST

static const struct {
	const char *variable, *message;
} refused[] = {
	{ "ZDM_ORIGIN_PORT=", "ZDM_ORIGIN_PORT: \"\" is not an integer; allowed: 1 to 65535" },
	{ "ZDM_ORIGIN_PORT=x", "ZDM_ORIGIN_PORT: \"x\" is not an integer; ..." },
	{ "ZDM_ORIGIN_PORT= 1", "ZDM_ORIGIN_PORT: \" 1\" is not an integer; ..." },
	{ "ZDM_ORIGIN_PORT=08", "ZDM_ORIGIN_PORT: \"08\" is not an integer; ..." },
	{ "ZDM_ORIGIN_PORT=1__0", "ZDM_ORIGIN_PORT: \"1__0\" is not an integer; ..." },
	{ "ZDM_ORIGIN_PORT=_1", "ZDM_ORIGIN_PORT: \"_1\" is not an integer; ..." },
	{ "ZDM_ORIGIN_PORT=1_", "ZDM_ORIGIN_PORT: \"1_\" is not an integer; ..." },
	{ "ZDM_ORIGIN_PORT=0x", "ZDM_ORIGIN_PORT: \"0x\" is not an integer; ..." },
	{ "ZDM_ORIGIN_PORT=1.5", "ZDM_ORIGIN_PORT: \"1.5\" is not an integer; ..." },
	{ "ZDM_ORIGIN_PORT=99999999999999999999", "ZDM_ORIGIN_PORT: \"99999999999999999999\" is not an integer; ..." },
	{ "ZDM_ORIGIN_PORT=0", "ZDM_ORIGIN_PORT: 0 is out of range; allowed: 1 to 65535" },
	{ "ZDM_PROXY_LISTEN_PORT=70000", "ZDM_PROXY_LISTEN_PORT: 70000 is out of range; allowed: 1 to 65535" },
	{ "ZDM_METRICS_PORT=-1", "ZDM_METRICS_PORT: -1 is out of range; allowed: 1 to 65535" },
	{ "ZDM_PROXY_REQUEST_TIMEOUT_MS=-1",
	  "ZDM_PROXY_REQUEST_TIMEOUT_MS: -1 is out of range; allowed: 0 to 86400000" },
	{ "ZDM_TARGET_CONNECTION_TIMEOUT_MS=1s", "ZDM_TARGET_CONNECTION_TIMEOUT_MS: \"1s\" is not an integer; ..." },
	{ "ZDM_ASYNC_HANDSHAKE_TIMEOUT_MS=-1", "ZDM_ASYNC_HANDSHAKE_TIMEOUT_MS: -1 is out of range; ..." },
	{ "ZDM_REQUEST_WRITE_QUEUE_SIZE_FRAMES=-1", "ZDM_REQUEST_WRITE_QUEUE_SIZE_FRAMES: -1 is out of range; ..." },
	{ "ZDM_PROXY_MAX_STREAM_IDS=0", "ZDM_PROXY_MAX_STREAM_IDS: 0 is out of range; allowed: 1 to 32768" },
	{ "ZDM_METRICS_ENABLED=yes", "ZDM_METRICS_ENABLED: \"yes\" is not a boolean; allowed: true, false" },
	{ "ZDM_METRICS_ENABLED=tRUE", "ZDM_METRICS_ENABLED: \"tRUE\" is not a boolean; ..." },
	{ "ZDM_METRICS_ENABLED=", "ZDM_METRICS_ENABLED: \"\" is not a boolean; ..." },
	{ "ZDM_HEARTBEAT_RETRY_BACKOFF_FACTOR=x", "ZDM_HEARTBEAT_RETRY_BACKOFF_FACTOR: \"x\" is not a number; ..." },
	{ "ZDM_HEARTBEAT_RETRY_BACKOFF_FACTOR=inf",
	  "ZDM_HEARTBEAT_RETRY_BACKOFF_FACTOR: \"inf\" is not a number; ..." },
	{ "ZDM_HEARTBEAT_RETRY_BACKOFF_FACTOR=1e400",
	  "ZDM_HEARTBEAT_RETRY_BACKOFF_FACTOR: \"1e400\" is not a number; ..." },
	{ "ZDM_READ_MODE=", "ZDM_READ_MODE: unknown word \"\"; allowed: primary_only, dual_async_on_secondary" },
	{ "ZDM_READ_MODE=DUAL_SYNC", "ZDM_READ_MODE: unknown word \"DUAL_SYNC\"; ..." },
	{ "ZDM_READ_MODE= PRIMARY_ONLY", "ZDM_READ_MODE: unknown word \" PRIMARY_ONLY\"; ..." },
	{ "ZDM_PRIMARY_CLUSTER=BOTH", "ZDM_PRIMARY_CLUSTER: unknown word \"BOTH\"; allowed: origin, target" },
	{ "ZDM_LOG_LEVEL=verbose", "ZDM_LOG_LEVEL: unknown word \"verbose\"; ..." },
	{ "ZDM_LOG_LEVEL=", "ZDM_LOG_LEVEL: unknown word \"\"; ..." },
	{ "ZDM_TARGET_CONTACT_POINTS=", "ZDM_TARGET_CONTACT_POINTS: missing; ..." },
	{ "ZDM_TARGET_CONTACT_POINTS=a,", "ZDM_TARGET_CONTACT_POINTS: item 2 of the list is empty; ..." },
	{ "ZDM_TARGET_CONTACT_POINTS=a:9042", "ZDM_TARGET_CONTACT_POINTS: \"a:9042\" has a port, ..." },
	{ "ZDM_PROXY_TOPOLOGY_INDEX=1", "ZDM_PROXY_TOPOLOGY_INDEX: 1 is not below ..." },
	{ "ZDM_PROXY_TOPOLOGY_INDEX=-1", "ZDM_PROXY_TOPOLOGY_INDEX: -1 is out of range; ..." },
	{ "ZDM_PROXY_TOPOLOGY_ADDRESSES=localhost",
	  "ZDM_PROXY_TOPOLOGY_ADDRESSES: \"localhost\" is not an IP address; ..." },
	{ "ZDM_PROXY_TOPOLOGY_NUM_TOKENS=0", "ZDM_PROXY_TOPOLOGY_NUM_TOKENS: 0 is out of range; allowed: 1 to 256" },
	{ "ZDM_CONTROL_CONN_MAX_PROTOCOL_VERSION=v4",
	  "ZDM_CONTROL_CONN_MAX_PROTOCOL_VERSION: unknown protocol version \"v4\"; ..." },
	{ "ZDM_CONTROL_CONN_MAX_PROTOCOL_VERSION=Dsev123", "ZDM_CONTROL_CONN_MAX_PROTOCOL_VERSION: unknown ..." },
	{ "ZDM_CONTROL_CONN_MAX_PROTOCOL_VERSION=1", "ZDM_CONTROL_CONN_MAX_PROTOCOL_VERSION: unknown ..." },
	{ "ZDM_CONTROL_CONN_MAX_PROTOCOL_VERSION=6", "ZDM_CONTROL_CONN_MAX_PROTOCOL_VERSION: unknown ..." },
	{ "ZDM_BLOCKED_PROTOCOL_VERSIONS=2,v1", "ZDM_BLOCKED_PROTOCOL_VERSIONS: unknown protocol version \"v1\"; ..." },
	{ "ZDM_METRICS_ORIGIN_LATENCY_BUCKETS_MS=", "ZDM_METRICS_ORIGIN_LATENCY_BUCKETS_MS: no numbers; ..." },
	{ "ZDM_METRICS_TARGET_LATENCY_BUCKETS_MS=1, a", "ZDM_METRICS_TARGET_LATENCY_BUCKETS_MS: \"a\" is not ..." },
	{ "ZDM_METRICS_TARGET_LATENCY_BUCKETS_MS=2,1", "ZDM_METRICS_TARGET_LATENCY_BUCKETS_MS: 1 does not exceed ..." },
	{ "ZDM_METRICS_ASYNC_READ_LATENCY_BUCKETS_MS=2,1",
	  "ZDM_METRICS_ASYNC_READ_LATENCY_BUCKETS_MS: 1 does not exceed ..." },
	{ "ZDM_METRICS_PREFIX=a-b", "ZDM_METRICS_PREFIX: \"a-b\" is not a valid start of a metric name; ..." },
	{ "ZDM_ORIGIN_SECURE_CONNECT_BUNDLE_PATH=x",
	  "ZDM_ORIGIN_CONTACT_POINTS: excludes secure_connect_bundle, which says it already; allowed: one of the two" },
	{ "ZDM_REPLACE_CQL_FUNCTIONS=now", "ZDM_REPLACE_CQL_FUNCTIONS: ..." },
	{ "ZDM_ORIGIN_TLS_CLIENT_KEY_PATH=x", "ZDM_ORIGIN_TLS_SERVER_CA_PATH: missing ..." },
	{ "ZDM_PROXY_TLS_CERT_PATH=x", "ZDM_PROXY_TLS_CA_PATH: missing; ..." },
	{ "ZDM_PROXY_TLS_REQUIRE_CLIENT_AUTH=true", "ZDM_PROXY_TLS_REQUIRE_CLIENT_AUTH: needs a CA ..." },
};

static void check_message(const char *expected)
{
	size_t len = strlen(expected);

	if (len > 3 && strcmp(expected + len - 3, "...") == 0)
		ck_assert_msg(strncmp(error, expected, len - 3) == 0, "%s\nexpected: %s", error, expected);
	else
		ck_assert_str_eq(error, expected);
}

START_TEST(refused_variables)
{
	ck_assert_msg(!load_env(refused[_i].variable, NULL, NULL, NULL), "accepted: %s", refused[_i].variable);
	check_message(refused[_i].message);
}
END_TEST

START_TEST(four_variables_are_required)
{
	static const char *const all[] = { POINTS, REQUIRED };
	const char *environment[ARRAY_LEN(all)] = { NULL };
	unsigned n = 0;
	char expected[128];

	/* All but number _i, which is one of the last four. */
	for (unsigned i = 0; i < ARRAY_LEN(all); i++) {
		if ((int)i != _i)
			environment[n++] = all[i];
	}
	ck_assert(!load(NULL, environment, NULL));
	snprintf(expected, sizeof(expected), "%.*s: missing; ...", (int)strcspn(all[_i], "="), all[_i]);
	check_message(expected);
}
END_TEST

START_TEST(tls_of_a_cluster)
{
	ck_assert_msg(load_env("ZDM_TARGET_TLS_SERVER_CA_PATH=ca", "ZDM_TARGET_TLS_CLIENT_CERT_PATH=cert",
			       "ZDM_TARGET_TLS_CLIENT_KEY_PATH=key", NULL),
		      "%s", error);
	ck_assert_int_eq(settings->cluster[CLUSTER_ORIGIN].tls, TLS_NONE);
	ck_assert_int_eq(settings->cluster[CLUSTER_TARGET].tls, TLS_CA);
	ck_assert_str_eq(settings->cluster[CLUSTER_TARGET].tls_cert, "cert");
	ck_assert(!load_env("ZDM_TARGET_TLS_SERVER_CA_PATH=ca", "ZDM_TARGET_TLS_CLIENT_CERT_PATH=cert", NULL, NULL));
	check_message("ZDM_TARGET_TLS_CLIENT_KEY_PATH: missing; ...");
	ck_assert(!load_env("ZDM_TARGET_TLS_SERVER_CA_PATH=ca", "ZDM_TARGET_TLS_CLIENT_KEY_PATH=key", NULL, NULL));
	check_message("ZDM_TARGET_TLS_CLIENT_CERT_PATH: missing; ...");
	ck_assert(!load_env("ZDM_PROXY_TLS_CERT_PATH=c", "ZDM_PROXY_TLS_KEY_PATH=k", NULL, NULL));
	check_message("ZDM_PROXY_TLS_CA_PATH: missing; ...");
	ck_assert(load_env("ZDM_PROXY_TLS_CERT_PATH=c", "ZDM_PROXY_TLS_KEY_PATH=k", "ZDM_PROXY_TLS_CA_PATH=a",
			   "ZDM_PROXY_TLS_REQUIRE_CLIENT_AUTH=t"));
	ck_assert(settings->listeners[0].tls_require_client_cert);
}
END_TEST

#define BUNDLE "ZDM_ORIGIN_CONTACT_POINTS=", "ZDM_ORIGIN_SECURE_CONNECT_BUNDLE_PATH=z"

START_TEST(a_bundle_in_place_of_contact_points)
{
	ck_assert_msg(load_env(BUNDLE, NULL, NULL), "%s", error);
	ck_assert_str_eq(settings->cluster[CLUSTER_ORIGIN].secure_connect_bundle, "z");
	ck_assert_int_eq(settings->cluster[CLUSTER_ORIGIN].tls, TLS_FULL);
	ck_assert_int_eq(settings->cluster[CLUSTER_TARGET].tls, TLS_NONE);
	/* What a template sets in any case does not matter. */
	ck_assert_msg(load_env(BUNDLE, "ZDM_ORIGIN_PORT=9999", "ZDM_ORIGIN_ENABLE_HOST_ASSIGNMENT=false"), "%s", error);
	ck_assert(!load_env(BUNDLE, "ZDM_ORIGIN_LOCAL_DATACENTER=d", NULL));
	check_message("ZDM_ORIGIN_LOCAL_DATACENTER: excludes secure_connect_bundle, ...");
	ck_assert(!load_env(BUNDLE, "ZDM_ORIGIN_TLS_SERVER_CA_PATH=x", NULL));
	check_message("ZDM_ORIGIN_TLS_SERVER_CA_PATH: excludes secure_connect_bundle, ...");
	ck_assert(!load_env(BUNDLE, "ZDM_ORIGIN_TLS_CLIENT_CERT_PATH=x", NULL));
	check_message("ZDM_ORIGIN_TLS_CLIENT_CERT_PATH: excludes secure_connect_bundle, ...");
	ck_assert(!load_env(BUNDLE, "ZDM_ORIGIN_TLS_CLIENT_KEY_PATH=x", NULL));
	check_message("ZDM_ORIGIN_TLS_CLIENT_KEY_PATH: excludes secure_connect_bundle, ...");
}
END_TEST

START_TEST(local_datacenter_needs_host_assignment)
{
	ck_assert(load_env("ZDM_ORIGIN_LOCAL_DATACENTER=dc", NULL, NULL, NULL));
	ck_assert_str_eq(settings->cluster[CLUSTER_ORIGIN].local_datacenter, "dc");
	ck_assert(!load_env("ZDM_ORIGIN_LOCAL_DATACENTER=dc", "ZDM_ORIGIN_ENABLE_HOST_ASSIGNMENT=false", NULL, NULL));
	check_message("ZDM_ORIGIN_LOCAL_DATACENTER: has no meaning ...");
}
END_TEST

START_TEST(topology_index_below_count)
{
	ck_assert(load_env("ZDM_PROXY_TOPOLOGY_INDEX=1", "ZDM_PROXY_TOPOLOGY_ADDRESSES=10.0.0.1,10.0.0.2", NULL, NULL));
	ck_assert_uint_eq(settings->topology_index, 1);
	ck_assert(
		!load_env("ZDM_PROXY_TOPOLOGY_INDEX=2", "ZDM_PROXY_TOPOLOGY_ADDRESSES=10.0.0.1,10.0.0.2", NULL, NULL));
	check_message("ZDM_PROXY_TOPOLOGY_INDEX: 2 is not below the number of topology_addresses; allowed: 0 to 1");
}
END_TEST

/*
 * Two mistakes at a time, neighbours in the order of validation: the earlier
 * one is reported. Types come first, ranges that ZDM does not check last.
 */
static const char *const ordered_mistakes[] = {
	"ZDM_METRICS_ENABLED=maybe",
	"ZDM_LOG_LEVEL=x",
	"ZDM_TARGET_CONTACT_POINTS=",
	"ZDM_ORIGIN_CONTACT_POINTS=",
	"ZDM_METRICS_ORIGIN_LATENCY_BUCKETS_MS=x",
	"ZDM_METRICS_TARGET_LATENCY_BUCKETS_MS=x",
	"ZDM_PROXY_TOPOLOGY_INDEX=7",
	"ZDM_ORIGIN_TLS_CLIENT_CERT_PATH=x",
	"ZDM_TARGET_TLS_CLIENT_CERT_PATH=x",
	"ZDM_PROXY_TLS_KEY_PATH=x",
	"ZDM_PRIMARY_CLUSTER=x",
	"ZDM_SYSTEM_QUERIES_MODE=x",
	"ZDM_READ_MODE=x",
	"ZDM_CONTROL_CONN_MAX_PROTOCOL_VERSION=x",
	"ZDM_BLOCKED_PROTOCOL_VERSIONS=x",
	"ZDM_PROXY_LISTEN_PORT=0",
};

START_TEST(the_first_mistake_is_reported)
{
	char alone[4096];

	ck_assert(!load_env(ordered_mistakes[_i], NULL, NULL, NULL));
	strcpy(alone, error);
	ck_assert(!load_env(ordered_mistakes[_i + 1], ordered_mistakes[_i], NULL, NULL));
	ck_assert_str_eq(error, alone);
}
END_TEST

static const struct {
	const char *variable, *warning;
} warned[] = {
	{ "ZDM_WRITE_MAX_WORKERS=0",
	  "ZDM_WRITE_MAX_WORKERS: 0 is no number of workers, -1 is taken (without effect here)\n" },
	{ "ZDM_LISTENER_MAX_WORKERS=-2",
	  "ZDM_LISTENER_MAX_WORKERS: -2 is no number of workers, -1 is taken (without ..." },
	{ "ZDM_READ_MAX_WORKERS=-1", "" },
	{ "ZDM_READ_MODE=dual_async_on_secondary", "" },
	{ "ZDM_BLOCKED_PROTOCOL_VERSIONS=2,3,4,5,DseV1,DseV2",
	  "blocked_protocol_versions: every version is blocked, so no ..." },
	{ "ZDM_PROXY_MAX_STREAM_IDS=40000", "ZDM_PROXY_MAX_STREAM_IDS: 40000 is more than possible, 32768 is used\n" },
	{ "ZDM_PROXY_MAX_STREAM_IDS=0x800", "" },
	{ "ZDM_TRACING_ENABLED=true", "" },
	{ "ZDM_TRACING_RATE_LIMIT=-5", "" },
	{ "ZDM_TRACING_REQUEST_ID_KEY=", "" },
	{ "ZDM_SOMETHING_ELSE=1", "" },
};

START_TEST(accepted_with_a_warning)
{
	const char *expected = warned[_i].warning;
	size_t len = strlen(expected);

	ck_assert_msg(load_env(warned[_i].variable, NULL, NULL, NULL), "%s", error);
	if (len > 3 && strcmp(expected + len - 3, "...") == 0)
		ck_assert_msg(strncmp(warnings, expected, len - 3) == 0, "%s", warnings);
	else
		ck_assert_str_eq(warnings, expected);
	ck_assert(len == 0 || strchr(warnings, '\n') == warnings + strlen(warnings) - 1);
}
END_TEST

START_TEST(request_ids)
{
	ck_assert(load_env("ZDM_TRACING_ENABLED=1", NULL, NULL, NULL));
	ck_assert(settings->tracing_enabled);
	ck_assert_uint_eq(settings->tracing_rate_limit, 0);
	ck_assert_str_eq(settings->tracing_request_id_key, "request-id");
	ck_assert(load_env("ZDM_TRACING_RATE_LIMIT=0x10", "ZDM_TRACING_REQUEST_ID_KEY= my key", NULL, NULL));
	ck_assert(!settings->tracing_enabled);
	ck_assert_uint_eq(settings->tracing_rate_limit, 16);
	ck_assert_str_eq(settings->tracing_request_id_key, " my key");
	ck_assert(load_env("ZDM_TRACING_RATE_LIMIT=-5", "ZDM_TRACING_REQUEST_ID_KEY=", NULL, NULL));
	ck_assert_uint_eq(settings->tracing_rate_limit, 0);
	ck_assert_str_eq(settings->tracing_request_id_key, "");
	ck_assert(!load_env("ZDM_TRACING_ENABLED=maybe", NULL, NULL, NULL));
	ck_assert(!load_env("ZDM_TRACING_RATE_LIMIT=1.5", NULL, NULL, NULL));
}
END_TEST

START_TEST(a_request_id_key_fits_into_a_payload)
{
	static char variable[27 + 65536 + 1] = "ZDM_TRACING_REQUEST_ID_KEY=";

	memset(variable + 27, 'k', 65535);
	ck_assert(load_env(variable, NULL, NULL, NULL));
	variable[27 + 65535] = 'k';
	ck_assert(!load_env(variable, NULL, NULL, NULL));
	ck_assert_msg(strstr(error, "ZDM_TRACING_REQUEST_ID_KEY: is too long; allowed: text of at most 65535 bytes"),
		      "%s", error);
}
END_TEST

START_TEST(secrets_are_literal_and_stay_hidden)
{
	ck_assert(load_env("ZDM_ORIGIN_PASSWORD=file:/etc/s3cret", "ZDM_TARGET_PASSWORD=\"s3 ;#\"", NULL, NULL));
	ck_assert_str_eq(settings->cluster[CLUSTER_ORIGIN].password, "file:/etc/s3cret");
	ck_assert_str_eq(settings->cluster[CLUSTER_TARGET].password, "\"s3 ;#\"");
	ck_assert_ptr_null(strstr(printed, "s3"));
	ck_assert_ptr_null(settings->cluster[CLUSTER_TARGET].username);
}
END_TEST

START_TEST(overrides_win_over_variables)
{
	static const char *const environment[] = { REQUIRED, POINTS, "ZDM_ORIGIN_TLS_SERVER_CA_PATH=ca",
						   "ZDM_PRIMARY_CLUSTER=TARGET", NULL };
	static const char *const sets[] = { "routing.primary=origin", "origin.tls=full", "listener.port=1", NULL };

	ck_assert_msg(load(NULL, environment, sets), "%s", error);
	ck_assert_int_eq(settings->primary, CLUSTER_ORIGIN);
	ck_assert_int_eq(settings->cluster[CLUSTER_ORIGIN].tls, TLS_FULL);
	ck_assert_uint_eq(settings->listeners[0].port, 1);
}
END_TEST

/* ---- the YAML file ---- */

START_TEST(yaml_with_only_what_is_mandatory)
{
	struct config_request request = { .path = "t.YAML" };
	static const char *const environment[] = { "ZDM_ORIGIN_PORT=1", NULL };

	file_write("t.yml", YAML_POINTS, strlen(YAML_POINTS));
	ck_assert_msg(load("t.yml", environment, NULL), "%s", error);
	ck_assert(config_request_is_zdm(&request));
	ck_assert_int_eq(settings->profile, PROFILE_ZDM);
	ck_assert_uint_eq(settings->cluster[CLUSTER_ORIGIN].port, 9042);
	ck_assert_ptr_null(settings->cluster[CLUSTER_ORIGIN].username);
	ck_assert_str_eq(settings->listeners[0].address, "localhost");
	ck_assert_uint_eq(settings->max_client_connections, 1000);
	ck_assert_str_eq(warnings, "1 ZDM_ variable is ignored, because t.yml is the configuration: ZDM_ORIGIN_PORT\n");
}
END_TEST

static const struct {
	const char *line, *expected; /* a line of --print-config, or "!" and the start of the message */
} yaml_lines[] = {
	{ "origin_port: 0x10", "port = 16  ; from t.yaml:3" },
	{ "origin_port: 9_043", "port = 9043  ; from t.yaml:3" },
	{ "origin_port: null", "port = 9042  ; default" },
	{ "origin_port: ~", "port = 9042  ; default" },
	{ "origin_port:", "port = 9042  ; default" },
	{ "origin_port: '9042'",
	  "!t.yaml:3: origin_port: \"9042\" is quoted, so it is not a number; allowed: 1 to 65535" },
	{ "origin_port: x", "!t.yaml:3: origin_port: \"x\" is not an integer; " },
	{ "origin_port: 0", "!t.yaml:3: origin_port: 0 is out of range; allowed: 1 to 65535" },
	{ "origin_port: [1]", "!t.yaml:3: origin_port: a list; allowed: one value" },
	{ "origin_port: {a: 1}", "!t.yaml:3: origin_port: a mapping; allowed: one value" },
	{ "origin_port: 1\norigin_port: 1", "!t.yaml:4: origin_port: given already in line 3; allowed: once" },
	{ "unknown: 1\nunknown: 2", "!t.yaml:4: unknown: given already in line 3; " },
	{ "unknown: [1, 2]", "port = 9042  ; default" },
	{ "ORIGIN_PORT: 1", "port = 9042  ; default" },
	{ "metrics_enabled: no", "metrics_enabled = false  ;" },
	{ "metrics_enabled: Off", "metrics_enabled = false  ;" },
	{ "metrics_enabled: n", "metrics_enabled = false  ;" },
	{ "metrics_enabled: False", "metrics_enabled = false  ;" },
	{ "metrics_enabled: 0", "!t.yaml:3: metrics_enabled: \"0\" is not a boolean; " },
	{ "metrics_enabled: 'false'", "!t.yaml:3: metrics_enabled: \"false\" is quoted, so it is not a boolean; " },
	{ "proxy_topology_addresses: 10.0.0.1 ,10.0.0.2", "topology_addresses = 10.0.0.1, 10.0.0.2  ;" },
	{ "proxy_topology_addresses: [10.0.0.1]", "!t.yaml:3: proxy_topology_addresses: a list; " },
	{ "control_conn_max_protocol_version: 4", "control_conn_max_protocol_version = 4  ;" },
	{ "blocked_protocol_versions: \"3, 4\"", "blocked_protocol_versions = 3, 4  ;" },
	{ "heartbeat_retry_backoff_factor: 1.5", "heartbeat_retry_backoff_factor = 1.5  ;" },
	{ "heartbeat_retry_backoff_factor: '1.5'",
	  "!t.yaml:3: heartbeat_retry_backoff_factor: \"1.5\" is not a number; " },
	{ "metrics_prefix: ''", "metrics_prefix =  ; from t.yaml:3" },
	{ "read_mode: ''", "!t.yaml:3: read_mode: unknown word \"\"; " },
	{ "primary_cluster: &a target\nsystem_queries_mode: *a", "system_queries_mode = target  ; from t.yaml:4" },
	{ "<<: {origin_port: 1}", "!t.yaml:3: a merge key; " },
	{ "? [a]\n: 1", "port = 9042  ; default" },
	{ "---\norigin_port: x", "port = 9042  ; default" },
	{ "log_level: \"a\\0b\"", "!t.yaml:3: log_level: a NUL byte in the value" },
	{ "origin_tls_server_ca_path: ca", "tls = ca  ; from t.yaml:3" },
	{ "origin_password: s3cret ; # \"", "password = ***  ; from t.yaml:3" },
	{ "\tx: 1", "!t.yaml:3: not YAML: " },
	{ "x: \"open", "!t.yaml:4: not YAML: " },
};

START_TEST(yaml_values)
{
	const char *expected = yaml_lines[_i].expected;
	char text[512];
	bool ok;

	snprintf(text, sizeof(text), "%s%s\n", YAML_POINTS, yaml_lines[_i].line);
	ok = load_yaml(text);
	if (*expected == '!') {
		ck_assert_msg(!ok, "accepted: %s", yaml_lines[_i].line);
		ck_assert_msg(strncmp(error, expected + 1, strlen(expected + 1)) == 0, "%s", error);
		return;
	}
	ck_assert_msg(ok, "%s", error);
	ck_assert_msg(strstr(printed, expected) != NULL, "%s not in\n%s", expected, printed);
	ck_assert_ptr_null(strstr(printed, "s3cret"));
}
END_TEST

static const struct {
	const char *text, *message;
} bad_files[] = {
	{ "", "t.yaml: no settings in the file" },
	{ "# nothing\n", "t.yaml: no settings in the file" },
	{ "null\n", "t.yaml: target_contact_points: missing; ..." },
	{ "origin_contact_points: a\n", "t.yaml: target_contact_points: missing; ..." },
	{ "- a\n", "t.yaml:1: not a mapping; ..." },
	{ "\nword\n", "t.yaml:2: not a mapping; ..." },
	{ "a: *b\n", "t.yaml:1: not YAML: ..." },
	{ "\xff\xfe\xff", "t.yaml:1: not YAML: ..." },
};

START_TEST(bad_yaml_files)
{
	ck_assert(!load_yaml(bad_files[_i].text));
	check_message(bad_files[_i].message);
}
END_TEST

START_TEST(yaml_beyond_measure)
{
	char *text = xmalloc(900001);

	memset(text, '[', 900000);
	text[900000] = '\0';
	ck_assert(!load_yaml(text));
	check_message("t.yaml:1: too deeply nested for a configuration; ...");
	for (int i = 0; i < 90000; i++) {
		char row[32];

		snprintf(row, sizeof(row), "k%05d: 1\n", i);
		memcpy(text + 10 * (size_t)i, row, 10);
	}
	ck_assert(!load_yaml(text));
	check_message("t.yaml:2047: too long for a configuration; ...");
	free(text);
}
END_TEST

START_TEST(random_yaml)
{
	static const char seed[] = YAML_POINTS "origin_port: 9042\nlog_level: &x \"INFO\"\nb: [1, {c: *x}]\n"
					       "metrics_enabled: yes # c\nproxy_topology_addresses: '::1'\n";
	static const char alphabet[] = "[]{}:-?!&*|>'\"\n\t #,azA09_~%@\\\x80";
	char text[sizeof(seed)];
	unsigned loaded = 0;

	srand(2);
	for (int round = 0; round < 3000; round++) {
		memcpy(text, seed, sizeof(seed));
		for (int i = rand() % 4; i >= 0; i--)
			text[(size_t)rand() % (sizeof(seed) - 1)] = alphabet[(size_t)rand() % (sizeof(alphabet) - 1)];
		file_write("t.yaml", text, sizeof(seed) - 1);
		if (load("t.yaml", NULL, NULL))
			loaded++;
		else
			ck_assert_msg(strncmp(error, "t.yaml:", 7) == 0, "%s", error);
	}
	ck_assert_uint_gt(loaded, 30);
	ck_assert_uint_lt(loaded, 2900);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("config_zdm");
	TCase *tc = tcase_create("config_zdm");
	SRunner *runner;
	int failed;

	tcase_add_checked_fixture(tc, scratch_begin, scratch_end);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, zdm_defaults);
	tcase_add_loop_test(tc, accepted_variables, 0, (int)ARRAY_LEN(accepted));
	tcase_add_loop_test(tc, refused_variables, 0, (int)ARRAY_LEN(refused));
	tcase_add_loop_test(tc, four_variables_are_required, 2, 6);
	tcase_add_test(tc, tls_of_a_cluster);
	tcase_add_test(tc, a_bundle_in_place_of_contact_points);
	tcase_add_test(tc, local_datacenter_needs_host_assignment);
	tcase_add_test(tc, topology_index_below_count);
	tcase_add_loop_test(tc, the_first_mistake_is_reported, 0, (int)ARRAY_LEN(ordered_mistakes) - 1);
	tcase_add_loop_test(tc, accepted_with_a_warning, 0, (int)ARRAY_LEN(warned));
	tcase_add_test(tc, request_ids);
	tcase_add_test(tc, a_request_id_key_fits_into_a_payload);
	tcase_add_test(tc, secrets_are_literal_and_stay_hidden);
	tcase_add_test(tc, overrides_win_over_variables);
	tcase_add_test(tc, yaml_with_only_what_is_mandatory);
	tcase_add_loop_test(tc, yaml_values, 0, (int)ARRAY_LEN(yaml_lines));
	tcase_add_loop_test(tc, bad_yaml_files, 0, (int)ARRAY_LEN(bad_files));
	tcase_add_test(tc, yaml_beyond_measure);
	tcase_add_test(tc, random_yaml);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
