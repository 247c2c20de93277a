/* test_config.c - the INI file, --set, secrets, --print-config. */
#include "base/log.h"
#include "config_helper.h"
#include "cql/version.h"

/* Five lines, so that what a test adds begins at line 6. */
#define BASE                                                                                                           \
	"[origin]\n"                                                                                                   \
	"contact_points = a\n"                                                                                         \
	"[target]\n"                                                                                                   \
	"contact_points = b\n"                                                                                         \
	"\n"

/* The same for keys of [origin], which begin at line 5. */
#define BASE_ORIGIN "[target]\ncontact_points = b\n[origin]\ncontact_points = a\n"

/* ---- what is read ---- */

START_TEST(the_example_of_the_design)
{
	static const char text[] = "[listener]\n"
				   "address = 127.0.0.1              ; several may stand side by side\n"
				   "port = 14002\n"
				   "\n"
				   "[origin]\n"
				   "contact_points = 10.0.0.1, 10.0.0.2,   ; two\n"
				   "\t::1, [fe80::2]  ; go on\n"
				   "# between\n"
				   "\n"
				   " , node-3.example.com\n"
				   "port = 9043\n"
				   "username = app\n"
				   "password = env:ORIGIN_PASSWORD\n"
				   "[target]\n"
				   "contact_points = target.example.com\n"
				   "username = app\n"
				   "password = file:secret\n"
				   "tls = full                      ; none | ca | full\n"
				   "tls_ca = /etc/cqlferry/target-ca.pem\n"
				   "[routing]\n"
				   "primary = Target\n"
				   "[http]\n"
				   "port = 14009\n"
				   "origin_latency_buckets_ms = 0.5, 1,\n"
				   "  2.5e1\n";
	static const char *const environment[] = { "A=1", "ORIGIN_PASSWORD=p#w ;d", "ORIGIN_PASSWORD2=x", NULL };
	const struct cluster_settings *o, *t;

	file_write("t.ini", text, strlen(text));
	file_write("secret", "  from a file\r\n", 15);
	ck_assert_msg(load("t.ini", environment, NULL), "%s", error);
	o = &settings->cluster[CLUSTER_ORIGIN];
	t = &settings->cluster[CLUSTER_TARGET];
	ck_assert_int_eq(settings->profile, PROFILE_NATIVE);
	ck_assert_uint_eq(settings->listener_count, 1);
	ck_assert_str_eq(settings->listeners[0].name, "");
	ck_assert_str_eq(settings->listeners[0].address, "127.0.0.1");
	ck_assert_uint_eq(settings->listeners[0].port, 14002);
	ck_assert_uint_eq(o->contact_points.count, 5);
	ck_assert_str_eq(o->contact_points.items[1], "10.0.0.2");
	ck_assert_str_eq(o->contact_points.items[2], "::1");
	ck_assert_str_eq(o->contact_points.items[3], "fe80::2");
	ck_assert_str_eq(o->contact_points.items[4], "node-3.example.com");
	ck_assert_uint_eq(o->port, 9043);
	ck_assert_str_eq(o->username, "app");
	ck_assert_str_eq(o->password, "p#w ;d");
	ck_assert_int_eq(o->tls, TLS_NONE);
	ck_assert_ptr_null(o->tls_ca);
	ck_assert_uint_eq(t->port, 9042);
	ck_assert_str_eq(t->password, "  from a file");
	ck_assert_int_eq(t->tls, TLS_FULL);
	ck_assert_str_eq(t->tls_ca, "/etc/cqlferry/target-ca.pem");
	ck_assert_int_eq(settings->primary, CLUSTER_TARGET);
	ck_assert_uint_eq(settings->http_port, 14009);
	ck_assert_uint_eq(settings->buckets[CLUSTER_ORIGIN].count, 3);
	ck_assert(settings->buckets[CLUSTER_ORIGIN].ms[0] == 0.5);
	ck_assert(settings->buckets[CLUSTER_ORIGIN].ms[2] == 25);
	ck_assert_uint_eq(settings->buckets[CLUSTER_TARGET].count, 17);
	ck_assert_str_eq(warnings, "");
}
END_TEST

START_TEST(native_defaults)
{
	ck_assert_msg(load_text("t.ini", BASE), "%s", error);
	ck_assert_int_eq(settings->profile, PROFILE_NATIVE);
	ck_assert_uint_ge(settings->workers, 1);
	ck_assert_uint_eq(settings->max_client_connections, 10000);
	ck_assert_uint_eq(settings->request_timeout_ms, 10000);
	ck_assert_uint_eq(settings->handshake_timeout_ms, 10000);
	ck_assert_uint_eq(settings->drain_delay_ms, 0);
	ck_assert_uint_eq(settings->shutdown_timeout_ms, 8000);
	ck_assert_uint_eq(settings->client_write_timeout_ms, 30000);
	ck_assert_uint_eq(settings->client_output_limit, 1 << 20);
	ck_assert_uint_eq(settings->max_frame_size, 16 << 20);
	ck_assert_uint_eq(settings->max_stream_ids, 32768);
	ck_assert_uint_eq(settings->prepared_cache_entries, 10000);
	ck_assert_uint_eq(settings->prepared_cache_memory, 64 << 20);
	ck_assert_uint_eq(settings->blocked_versions, 0);
	ck_assert_uint_eq(settings->max_protocol_version, VERSION_DSE2);
	ck_assert_uint_eq(settings->topology_addresses.count, 0);
	ck_assert_uint_eq(settings->topology_num_tokens, 8);
	ck_assert_uint_eq(settings->listener_count, 1);
	ck_assert_str_eq(settings->listeners[0].address, "127.0.0.1");
	ck_assert_uint_eq(settings->listeners[0].port, 14002);
	for (int i = 0; i < CLUSTER_COUNT; i++) {
		ck_assert_uint_eq(settings->cluster[i].port, 9042);
		ck_assert_ptr_null(settings->cluster[i].username);
		ck_assert_ptr_null(settings->cluster[i].password);
		ck_assert_int_eq(settings->cluster[i].credentials, CREDENTIALS_AUTO);
		ck_assert(settings->cluster[i].enable_host_assignment);
		ck_assert_uint_eq(settings->cluster[i].connection_timeout_ms, 30000);
	}
	ck_assert_int_eq(settings->primary, CLUSTER_ORIGIN);
	ck_assert_int_eq(settings->system_queries, CLUSTER_ORIGIN);
	ck_assert_uint_eq(settings->heartbeat_interval_ms, 30000);
	ck_assert_uint_eq(settings->heartbeat_retry_interval_min_ms, 250);
	ck_assert_uint_eq(settings->heartbeat_retry_interval_max_ms, 30000);
	ck_assert(settings->heartbeat_retry_backoff_factor == 2);
	ck_assert_uint_eq(settings->heartbeat_failure_threshold, 1);
	ck_assert(settings->http_enabled && settings->metrics_enabled);
	ck_assert_str_eq(settings->http_address, "127.0.0.1");
	ck_assert_uint_eq(settings->http_port, 14001);
	ck_assert_str_eq(settings->metrics_prefix, "zdm");
	ck_assert_int_eq(settings->log_level, LOG_INFO);
	ck_assert_int_eq(settings->log_format, LOG_FORMAT_TEXT);
}
END_TEST

START_TEST(listeners_side_by_side)
{
	ck_assert_msg(load_text("t.ini", BASE "[listener plain]\naddress = *\n"
					      "[listener  with-tls]\nport = 9142\ntls_cert = c\ntls_key = k\n"
					      "tls_ca = a\ntls_require_client_cert = yes\n"
					      "[listener]\naddress =\nport = 9999\n"),
		      "%s", error);
	ck_assert_uint_eq(settings->listener_count, 3);
	ck_assert_str_eq(settings->listeners[0].name, "plain");
	ck_assert_str_eq(settings->listeners[0].address, "*");
	ck_assert_str_eq(settings->listeners[1].name, "with-tls");
	ck_assert_str_eq(settings->listeners[1].tls_key, "k");
	ck_assert(settings->listeners[1].tls_require_client_cert);
	ck_assert_str_eq(settings->listeners[1].address, "127.0.0.1");
	ck_assert_str_eq(settings->listeners[2].name, "");
	ck_assert_str_eq(settings->listeners[2].address, "");
	ck_assert_ptr_nonnull(strstr(printed, "\n[listener with-tls]\naddress = 127.0.0.1  ; default\n"));
}
END_TEST

START_TEST(too_many_listeners)
{
	char text[1024] = BASE;

	for (int i = 0; i <= SETTINGS_MAX_LISTENERS; i++)
		sprintf(text + strlen(text), "[listener l%d]\nport = %d\n", i, 1000 + i);
	ck_assert(!load_text("t.ini", text));
	ck_assert_str_eq(error, "t.ini:38: [listener l16]: one listener too many; allowed: 16");
	*strstr(text, "[listener l16]") = '\0';
	ck_assert_msg(load_text("t.ini", text), "%s", error);
	ck_assert_uint_eq(settings->listeners[15].port, 1015);
}
END_TEST

/* ---- values ---- */

static const struct {
	const char *line, *expected; /* in the words of --print-config */
} spellings[] = {
	{ "[proxy]\nrequest_timeout = 250ms", "request_timeout = 250ms  ;" },
	{ "[proxy]\nrequest_timeout = 1m", "request_timeout = 1m  ;" },
	{ "[proxy]\nrequest_timeout = 90s ; ok", "request_timeout = 90s  ;" },
	{ "[proxy]\nrequest_timeout = 120s", "request_timeout = 2m  ;" },
	{ "[proxy]\nrequest_timeout = 24h", "request_timeout = 24h  ;" },
	{ "[proxy]\nrequest_timeout_ms = 1500", "request_timeout = 1500ms  ;" },
	{ "[proxy]\nrequest_timeout = 0", "request_timeout = 24h  ;" },
	{ "[proxy]\ndrain_delay = 0", "drain_delay = 0  ;" },
	{ "[proxy]\nheartbeat_retry_interval_min = 0", "heartbeat_retry_interval_min = 100ms  ;" },
	{ "[proxy]\nheartbeat_retry_backoff_factor = 1.5", "heartbeat_retry_backoff_factor = 1.5  ;" },
	{ "[proxy]\nmax_frame_size=1048576B", "max_frame_size = 1MiB  ;" },
	{ "[proxy]\nmax_frame_size = 200KiB", "max_frame_size = 200KiB  ;" },
	{ "[proxy]\nclient_output_limit = 1GiB", "client_output_limit = 1GiB  ;" },
	{ "[proxy]\nblocked_protocol_versions = v3,\n  2", "blocked_protocol_versions = 2, 3  ;" },
	{ "[proxy]\nblocked_protocol_versions = DseV1", "blocked_protocol_versions = DseV1  ; from t.ini:7" },
	{ "[proxy]\ncontrol_conn_max_protocol_version = dsev1", "control_conn_max_protocol_version = DseV1  ;" },
	{ "[proxy]\ncontrol_conn_max_protocol_version = 3", "control_conn_max_protocol_version = 3  ;" },
	{ "[proxy]\ntopology_addresses = ::1, 10.0.0.1\ntopology_index = 1", "topology_addresses = ::1, 10.0.0.1  ;" },
	{ "[proxy]\nprofile = zdm", "max_client_connections = 1000  ; default" },
	{ "[proxy]\nmax_requests_per_client = 0", "max_requests_per_client = 32768  ;" },
	{ "[listener]\nallow = 10.0.0.0/8,\n  ::1,::ffff:192.0.2.0/120", "allow = 10.0.0.0/8, ::1, 192.0.2.0/24  ;" },
	{ "[listener]\ndeny = FD00::/8", "deny = fd00::/8  ;" },
	{ "[listener]\nproxy_protocol = V2\nproxy_protocol_from = 192.0.2.1/32", "proxy_protocol_from = 192.0.2.1  ;" },
	{ "[http]\nmetrics_prefix = \"\"", "metrics_prefix =  ; from t.ini:7" },
	{ "[http]\nenabled = OFF", "enabled = false  ;" },
	{ "[log]\nlevel = Warning\nformat = json", "level = warn  ;" },
};

START_TEST(every_spelling)
{
	char text[512];

	snprintf(text, sizeof(text), "%s%s\n", BASE, spellings[_i].line);
	ck_assert_msg(load_text("t.ini", text), "%s", error);
	ck_assert_msg(strstr(printed, spellings[_i].expected) != NULL, "%s not in\n%s", spellings[_i].expected,
		      printed);
}
END_TEST

static const struct {
	const char *line, *password; /* NULL: refused */
} passwords[] = {
	{ "password = s3cret", "s3cret" },
	{ "password=s3cret;x#y", "s3cret;x#y" },
	{ "password = s3=cret", "s3=cret" },
	{ "password =   s3 cret  ", "s3 cret" },
	{ "password = \"s3cret ; # x\"", "s3cret ; # x" },
	{ "password = \" s3cret \"", " s3cret " },
	{ "password = \"s3\"\"cret\"", "s3\"cret" },
	{ "password = \"s3cret\"   ; a comment", "s3cret" },
	{ "password = \"\"\"s3cret\"\"\"", "\"s3cret\"" },
	{ "password : s3cret", NULL },
	{ "password = s3cret ; comment or not?", NULL },
	{ "password = s3cret #x", NULL },
	{ "password = s3cret\t;x", NULL },
	{ "password = ;s3cret", NULL },
	{ "password = #s3cret", NULL },
	{ "password = ; s3cret", NULL },
	{ "password = \"s3cret", NULL },
	{ "password = \"s3cret\"x", NULL },
	{ "password = \"s3cret\";x", NULL },
	{ "password = \"s3cret\" x", NULL },
	{ "password = a\n  s3cret", NULL },
	{ "password s3cret", NULL },
	{ "pass word = s3cret", NULL },
	{ "password = s3cret\npassword = s3cret", NULL },
	{ "passwort = s3cret", NULL },
	{ "password = env:UNSET_s3", NULL },
	{ "password = env:EMPTY", NULL },
	{ "password = file:no-such-file", NULL },
	{ "password = file:secret", NULL }, /* two lines in it */
};

START_TEST(passwords_are_whole_or_refused_and_never_shown)
{
	static const char *const environment[] = { "EMPTY=", NULL };
	char text[512];
	bool ok;

	file_write("secret", "s3cret\ns3cret\n", 14);
	snprintf(text, sizeof(text), "[target]\ncontact_points = b\n[origin]\ncontact_points = a\nusername = u\n%s\n",
		 passwords[_i].line);
	file_write("t.ini", text, strlen(text));
	ok = load("t.ini", environment, NULL);
	if (passwords[_i].password) {
		ck_assert_msg(ok, "%s", error);
		ck_assert_str_eq(settings->cluster[CLUSTER_ORIGIN].password, passwords[_i].password);
		ck_assert_ptr_nonnull(strstr(printed, "password = ***  ; from t.ini:6\n"));
		ck_assert_ptr_null(strstr(printed, "s3cr"));
	} else {
		ck_assert_msg(!ok, "accepted: %s", passwords[_i].line);
		ck_assert_msg(strncmp(error, "t.ini:", 6) == 0, "%s", error);
		ck_assert_msg(strstr(error, "s3cr") == NULL, "%s", error);
	}
	ck_assert_ptr_null(strstr(warnings, "s3cr"));
}
END_TEST

/* ---- mistakes ---- */

#define LONG_NAME "a123456789012345678901234567890123456789012345678"
#define TEN "1234567890"
#define FORTY TEN TEN TEN TEN

static const struct {
	const char *text, *message; /* the whole message, or its start when it ends in "..." */
} mistakes[] = {
	{ "",
	  "t.ini: [target] contact_points: missing; allowed: host names or IP addresses, separated by commas, or none "
	  "with secure_connect_bundle" },
	{ "[target]\ncontact_points = b\n", "t.ini: [origin] contact_points: missing; allowed: ..." },
	{ BASE "[target]\n", "t.ini:6: [target]: the section began already in line 3; allowed: each section once" },
	{ BASE "[luna]\n", "t.ini:6: [luna]: unknown section; allowed: [proxy], [listener], ..." },
	{ BASE "[plugin x]\nfile = a\n[plugin  x]\n",
	  "t.ini:8: [plugin  x]: the section began already in line 6; allowed: each section once" },
	{ BASE "[listener x]\nport = 1\n[listener  x]\n",
	  "t.ini:8: [listener  x]: the section began already in line 6; ..." },
	{ BASE "[plugin.x]\n", "t.ini:6: [plugin.x]: unknown section; ..." },
	{ BASE "[plugin]\n", "t.ini:6: [plugin]: unknown section; ..." },
	{ BASE "[plugin x.y]\n",
	  "t.ini:6: [plugin x.y]: no name of a plugin; allowed: letters, digits, _ and -, at most 32" },
	{ BASE "[plugin x]\n",
	  "t.ini: [plugin x] file: no file; allowed: the name of a shared object, which is the plugin" },
	{ BASE "[plugin x]\nfile =\n",
	  "t.ini:7: [plugin x] file: no file; allowed: the name of a shared object, which is the plugin" },
	{ BASE "[plugin x]\nfile = a\nfile = b\n",
	  "t.ini:8: [plugin x] file: given already at t.ini:7; allowed: once" },
	{ BASE "[plugin x]\non_error = no\n",
	  "t.ini:7: [plugin x] on_error: unknown word \"no\"; allowed: deny, pass" },
	{ BASE "[plugin x]\norder = 1.5\n",
	  "t.ini:7: [plugin x] order: \"1.5\" is not a bare number; allowed: -1000000 to 1000000" },
	{ BASE "[listener a b]\n", "t.ini:6: [listener a b]: unknown section; ..." },
	{ BASE "[listenerx]\n", "t.ini:6: [listenerx]: unknown section; ..." },
	{ BASE "[proxy\n", "t.ini:6: a section heading without ]" },
	{ BASE "[proxy] x\n", "t.ini:6: something follows the section heading" },
	{ BASE " [proxy]\n", "t.ini:6: an indented section heading; ..." },
	{ BASE "[" LONG_NAME "]\n", "t.ini:6: a section name longer than 48 bytes" },
	{ "port = 1\n", "t.ini:1: port: a key before the first section; ..." },
	{ BASE "[proxy]\nworker = 1\n", "t.ini:7: [proxy] worker: unknown key; allowed: profile, workers, ..." },
	{ BASE "[http]\n\n\nport = 1\nport = 1\n", "t.ini:10: [http] port: given already at t.ini:9; allowed: once" },
	{ BASE "[proxy]\nrequest_timeout = 1s\nrequest_timeout_ms = 1\n",
	  "t.ini:8: [proxy] request_timeout_ms: given already at t.ini:7; ..." },
	{ BASE "[proxy]\nworkers\n", "t.ini:7: [proxy] this line is no \"key = value\"" },
	{ BASE "[proxy]\nworkers ; = 3\n", "t.ini:7: [proxy] this line is no \"key = value\"" },
	{ BASE "[proxy]\n= 3\n", "t.ini:7: [proxy] this line is no \"key = value\"" },
	{ BASE "[proxy]\n" LONG_NAME " = 3\n", "t.ini:7: a key longer than 48 bytes" },
	{ BASE "[proxy]\n  workers = 3\n", "t.ini:7: an indented line with no key above it; ..." },
	{ BASE "[proxy]\nworkers = 3\n  workers = 3\n", "t.ini:8: [proxy] workers: an indented line continues ..." },
	{ BASE "[proxy]\nworkers = 3 # three\n", "t.ini:7: [proxy] workers: a # after a blank: ..." },
	{ BASE "[proxy]\nworkers =\n",
	  "t.ini:7: [proxy] workers: no value; allowed: 0 to 1024, or no such line (default 0)" },
	{ BASE "[proxy]\nworkers = ; 3\n", "t.ini:7: [proxy] workers: no value; ..." },
	{ BASE "[proxy]\nworkers = 3x\n", "t.ini:7: [proxy] workers: \"3x\" is not a bare number; allowed: 0 to 1024" },
	{ BASE "[proxy]\nworkers = -1\n", "t.ini:7: [proxy] workers: -1 is out of range; allowed: 0 to 1024" },
	{ BASE "[proxy]\nworkers = 0x1\n", "t.ini:7: [proxy] workers: \"0x1\" is not a bare number; ..." },
	{ BASE "[proxy]\nworkers = 18446744073709551617\n",
	  "t.ini:7: [proxy] workers: 18446744073709551617 is out of ..." },
	{ BASE "[proxy]\nrequest_timeout = 10\n",
	  "t.ini:7: [proxy] request_timeout: \"10\" has no unit (ms, s, m or h); allowed: 0 to 24h" },
	{ BASE "[proxy]\nrequest_timeout = 10 s\n",
	  "t.ini:7: [proxy] request_timeout: \"10 s\" has an unknown unit ..." },
	{ BASE "[proxy]\nrequest_timeout = 25h\n",
	  "t.ini:7: [proxy] request_timeout: 25h is out of range; allowed: 0 to 24h" },
	{ BASE "[proxy]\nrequest_timeout = 9223372036854775807h\n",
	  "t.ini:7: [proxy] request_timeout: 9223372036854775807h is ..." },
	{ BASE "[proxy]\nrequest_timeout_ms = 10s\n",
	  "t.ini:7: [proxy] request_timeout: \"10s\" is not a bare number; ..." },
	{ BASE "[proxy]\nhandshake_timeout = 0\n", "t.ini:7: [proxy] handshake_timeout: 0 is out of range; ..." },
	{ BASE "[proxy]\nmax_frame_size = 1M\n",
	  "t.ini:7: [proxy] max_frame_size: \"1M\" has an unknown unit (B, KiB, ..." },
	{ BASE "[proxy]\nprofile = zmd\n", "t.ini:7: [proxy] profile: unknown word \"zmd\"; allowed: native, zdm" },
	{ BASE "[proxy]\nheartbeat_retry_backoff_factor = 2x\n",
	  "t.ini:7: [proxy] heartbeat_retry_backoff_factor: \"2x\" is ..." },
	{ BASE "[proxy]\nheartbeat_retry_interval_min = 1m\n",
	  "t.ini:7: [proxy] heartbeat_retry_interval_min: is above ..." },
	{ BASE "[proxy]\ncontrol_conn_max_protocol_version = 1\n",
	  "t.ini:7: [proxy] control_conn_max_protocol_version: unknown protocol version \"1\"; allowed: 2, 3, ..." },
	{ BASE "[proxy]\nblocked_protocol_versions = 6\n", "t.ini:7: [proxy] blocked_protocol_versions: unknown ..." },
	{ BASE "[proxy]\ntopology_index = 1\n", "t.ini:7: [proxy] topology_index: 1 is not below the number of ..." },
	{ BASE "[proxy]\ntopology_addresses = 10.0.0.1,host\n",
	  "t.ini:7: [proxy] topology_addresses: \"host\" is not an IP ..." },
	{ BASE "[proxy]\ntopology_addresses = 10.0.0.1,\n",
	  "t.ini:7: [proxy] topology_addresses: item 2 of the list is empty; ..." },
	{ BASE "[listener]\nallow = 10.0.0.0/8, db.example.com\n",
	  "t.ini:7: [listener] allow: \"db.example.com\" is not an IP address or network; allowed: IP addresses and "
	  "networks (10.0.0.0/8), separated by commas" },
	{ BASE "[listener]\ndeny = 10.0.0.1/8\n",
	  "t.ini:7: [listener] deny: \"10.0.0.1/8\" has bits set behind its length; ..." },
	{ BASE "[listener]\ndeny = 10.0.0.1,,::1\n", "t.ini:7: [listener] deny: item 2 of the list is empty; ..." },
	{ BASE "[listener]\nproxy_protocol = v3\n",
	  "t.ini:7: [listener] proxy_protocol: unknown word \"v3\"; allowed: off, v1, v2" },
	{ BASE "[listener]\nproxy_protocol = v1\n",
	  "t.ini: [listener] proxy_protocol_from: missing beside proxy_protocol; allowed: the addresses and networks of "
	  "the load balancers" },
	{ BASE "[listener b]\nproxy_protocol_from = ::1\n",
	  "t.ini:7: [listener b] proxy_protocol_from: has no meaning without proxy_protocol; ..." },
	{ BASE "[proxy]\nmax_connections_per_user = -1\n",
	  "t.ini:7: [proxy] max_connections_per_user: -1 is out of range; allowed: 0 to 1000000" },
	{ BASE "[proxy]\nmax_requests_per_client = 32769\n",
	  "t.ini:7: [proxy] max_requests_per_client: 32769 is out of range; allowed: 0 to 32768" },
	{ BASE "[proxy]\ntopology_num_tokens = 257\n",
	  "t.ini:7: [proxy] topology_num_tokens: 257 is out of range; allowed: 1 to 256" },
	{ "[target]\ncontact_points = a:9042\n", "t.ini:2: [target] contact_points: \"a:9042\" has a port, which ..." },
	{ "[target]\ncontact_points = a,,b\n", "t.ini:2: [target] contact_points: item 2 of the list is empty; ..." },
	{ "[target]\ncontact_points = a\n  b\n",
	  "t.ini:2: [target] contact_points: \"a b\" is neither a host name ..." },
	{ "[target]\ncontact_points = 10.0.0.300\n",
	  "t.ini:2: [target] contact_points: \"10.0.0.300\" is neither ..." },
	{ "[target]\ncontact_points = a\n  port = 9042\n",
	  "t.ini:2: [target] contact_points: \"a port = 9042\" is neither ..." },
	{ BASE "[listener]\nport = 0\n", "t.ini:7: [listener] port: 0 is out of range; allowed: 1 to 65535" },
	{ BASE "[listener]\nport = 65536\n", "t.ini:7: [listener] port: 65536 is out of range; allowed: 1 to 65535" },
	{ BASE "[listener x]\ntls_cert = c\n",
	  "t.ini: [listener x] tls_key: missing; allowed: certificate and key ..." },
	{ BASE "[listener]\ntls_ca = c\n", "t.ini:7: [listener] tls_ca: has no meaning without TLS; ..." },
	{ BASE "[listener]\ntls_require_client_cert = true\n",
	  "t.ini:7: [listener] tls_require_client_cert: needs a CA ..." },
	{ BASE "[listener]\ntls_ask_client_cert = true\n", "t.ini:7: [listener] tls_ask_client_cert: needs a CA ..." },
	{ BASE "[listener]\ntls_require_client_cert = 1\n",
	  "t.ini:7: [listener] tls_require_client_cert: \"1\" is not a boolean; ..." },
	{ BASE "[listener a]\n[listener b]\n", "t.ini: [listener b] port: address and port are those of another ..." },
	{ BASE "[http]\nport = 14002\n", "t.ini:7: [http] port: address and port are those of a listener; ..." },
	{ BASE "[http]\norigin_latency_buckets_ms = 1, 1\n",
	  "t.ini:7: [http] origin_latency_buckets_ms: 1 does not exceed ..." },
	{ BASE "[http]\norigin_latency_buckets_ms = 1, x\n",
	  "t.ini:7: [http] origin_latency_buckets_ms: \"x\" is not a ..." },
	{ BASE "[http]\nmetrics_prefix = 1x\n", "t.ini:7: [http] metrics_prefix: \"1x\" is not a valid start of ..." },
	{ BASE "[log]\nlevel = verbose\n",
	  "t.ini:7: [log] level: unknown word \"verbose\"; allowed: error, warn, info, debug, trace" },
	{ "[target]\ncontact_points = b\n[origin]\ncontact_points = a\ntls_ca = x\n",
	  "t.ini:5: [origin] tls_ca: has no meaning without tls; ..." },
	{ "[target]\ncontact_points = b\n[origin]\ncontact_points = a\ntls = ca\n",
	  "t.ini: [origin] tls_ca: missing; ..." },
	{ "[target]\ncontact_points = b\n[origin]\ncontact_points = a\ntls = ca\ntls_ca = x\ntls_cert = y\n",
	  "t.ini: [origin] tls_key: missing; ..." },
	{ "[target]\ncontact_points = b\n[origin]\ncontact_points = a\nusername = u\n",
	  "t.ini: [origin] password: missing; ..." },
	{ "[target]\ncontact_points = b\n[origin]\ncontact_points = a\npassword = u\n",
	  "t.ini: [origin] username: missing; ..." },
	{ "[target]\ncontact_points = b\n[origin]\ncontact_points = a\ncredentials = configured\n",
	  "t.ini:5: [origin] credentials: there is no user to log in as; ..." },
	{ "[target]\ncontact_points = b\n[origin]\ncontact_points = a\nlocal_datacenter = d\nenable_host_assignment = no\n",
	  "t.ini:5: [origin] local_datacenter: has no meaning without host assignment; ..." },
	{ "[target]\ncontact_points = b\n[origin]\ncontact_points = a\nfallback_datacenters = d\nenable_host_assignment = "
	  "no\n",
	  "t.ini:5: [origin] fallback_datacenters: has no meaning without host assignment; ..." },
	{ BASE_ORIGIN "local_datacenter = d\nfallback_datacenters = e, d\n",
	  "t.ini:6: [origin] fallback_datacenters: d is the local_datacenter; allowed: other ones" },
	{ BASE_ORIGIN "fallback_datacenters = d,,e\n",
	  "t.ini:5: [origin] fallback_datacenters: item 2 of the list is empty; allowed: names, separated by commas" },
	{ BASE_ORIGIN "node_ports = guessed\n",
	  "t.ini:5: [origin] node_ports: unknown word \"guessed\"; allowed: discovered, configured" },
	{ BASE_ORIGIN "address_map = 10.0.0.1\n",
	  "t.ini:5: [origin] address_map: \"10.0.0.1\" is no ADDRESS=ADDRESS; allowed: pairs ADDRESS=ADDRESS or "
	  "ADDRESS=ADDRESS:PORT, separated by commas" },
	{ BASE_ORIGIN "address_map = 10.0.0.1=node\n",
	  "t.ini:5: [origin] address_map: \"10.0.0.1=node\" is not two IP addresses, the first one without a port; ..." },
	{ BASE_ORIGIN "address_map = 10.0.0.1:9042=10.0.0.2\n",
	  "t.ini:5: [origin] address_map: \"10.0.0.1:9042=10.0.0.2\" is not two IP addresses, the first one without a port; "
	  "..." },
	{ BASE_ORIGIN "address_map = 10.0.0.1=10.0.0.2:0\n",
	  "t.ini:5: [origin] address_map: \"10.0.0.1=10.0.0.2:0\" has no valid port; ..." },
	{ BASE_ORIGIN "address_map = 10.0.0.1=[::1]:70000\n",
	  "t.ini:5: [origin] address_map: \"10.0.0.1=[::1]:70000\" has no valid port; ..." },
	{ BASE_ORIGIN "address_map = 10.0.0.1=10.0.0.2:\n",
	  "t.ini:5: [origin] address_map: \"10.0.0.1=10.0.0.2:\" has no valid port; ..." },
	{ BASE_ORIGIN "address_map = 10.0.0.1=10.0.0.2, 10.0.0.3=10.0.0.4, 10.0.0.1 = 10.0.0.5\n",
	  "t.ini:5: [origin] address_map: 10.0.0.1 is given twice; ..." },
	{ "[target]\ncontact_points = b\n[origin]\nsecure_connect_bundle = z\ncontact_points = a\n",
	  "t.ini:5: [origin] contact_points: excludes secure_connect_bundle, which says it already; allowed: one ..." },
	{ "[target]\ncontact_points = b\n[origin]\nsecure_connect_bundle = z\nlocal_datacenter = d\n",
	  "t.ini:5: [origin] local_datacenter: excludes secure_connect_bundle, which says it already; allowed: one ..." },
	{ "[target]\ncontact_points = b\n[origin]\nsecure_connect_bundle = z\nport = 9042\n",
	  "t.ini:5: [origin] port: excludes secure_connect_bundle, which says it already; allowed: one ..." },
	{ "[target]\ncontact_points = b\n[origin]\nsecure_connect_bundle = z\naddress_map = 10.0.0.1=10.0.0.2\n",
	  "t.ini:5: [origin] address_map: excludes secure_connect_bundle, ..." },
	{ "[target]\ncontact_points = b\n[origin]\nsecure_connect_bundle = z\ntls = none\n",
	  "t.ini:5: [origin] tls: excludes secure_connect_bundle, whose certificates are used; allowed: ..." },
	{ "[target]\ncontact_points = b\n[origin]\nsecure_connect_bundle = z\ntls_ca = x\n",
	  "t.ini:5: [origin] tls_ca: excludes secure_connect_bundle, whose certificates are used; allowed: ..." },
	{ "[target]\ncontact_points = b\n[origin]\nsecure_connect_bundle = z\ntls_cert = x\n",
	  "t.ini:5: [origin] tls_cert: excludes secure_connect_bundle, whose certificates are used; allowed: ..." },
	{ "[target]\ncontact_points = b\n[origin]\nsecure_connect_bundle = z\ntls_key = x\n",
	  "t.ini:5: [origin] tls_key: excludes secure_connect_bundle, whose certificates are used; allowed: ..." },
	{ "[target]\ncontact_points = b\n[origin]\nsecure_connect_bundle = z\ntls_server_name = x\n",
	  "t.ini:5: [origin] tls_server_name: excludes secure_connect_bundle, whose certificates are used; allowed: ..." },
	{ "[target]\ncontact_points = b\n[origin]\nsecure_connect_bundle = z\nlocal_datacenter = d\nenable_host_assignment = no\n",
	  "t.ini:5: [origin] local_datacenter: excludes ..." },
	{ BASE "[routing]\nreplace_cql_functions = now\n",
	  "t.ini:7: [routing] replace_cql_functions: \"now\" is not a boolean; allowed: true, false" },
	{ BASE ";" FORTY FORTY FORTY FORTY TEN TEN TEN "1234567\n",
	  "t.ini:6: a line of 198 bytes; allowed: 197 (lists go on in indented lines)" },
};

START_TEST(every_mistake)
{
	const char *expected = mistakes[_i].message;
	size_t len = strlen(expected);

	ck_assert_msg(!load_text("t.ini", mistakes[_i].text), "accepted:\n%s", mistakes[_i].text);
	if (len > 3 && strcmp(expected + len - 3, "...") == 0)
		ck_assert_msg(strncmp(error, expected, len - 3) == 0, "%s\nexpected: %s", error, expected);
	else
		ck_assert_str_eq(error, expected);
}
END_TEST

START_TEST(the_longest_line_is_whole)
{
	/* 11 + 186 = 197 bytes, with and without a carriage return. */
	ck_assert_msg(load_text("t.ini",
				BASE "[proxy]\r\n;" FORTY FORTY FORTY FORTY TEN TEN TEN "123456\r\n"
				     "[http]\nmetrics_prefix = a" FORTY FORTY FORTY FORTY "1234567890123456789"),
		      "%s", error);
	ck_assert_uint_eq(strlen(settings->metrics_prefix), 180);
}
END_TEST

START_TEST(bytes_that_are_no_text)
{
	static const char nul[] = BASE "[proxy]\nworkers = 1\0;\n";
	static const char mark[] = "\xEF\xBB\xBF" BASE;

	file_write("t.ini", nul, sizeof(nul) - 1);
	ck_assert(!load("t.ini", NULL, NULL));
	ck_assert_str_eq(error, "t.ini:7: a NUL byte");
	ck_assert_msg(load_text("t.ini", mark), "%s", error);
	ck_assert_str_eq(settings->cluster[CLUSTER_ORIGIN].contact_points.items[0], "a");
}
END_TEST

START_TEST(files_that_are_none)
{
	ck_assert(!load("missing.ini", NULL, NULL));
	ck_assert_str_eq(error, "missing.ini: cannot be opened: No such file or directory");
	ck_assert(!load("t.conf", NULL, NULL));
	ck_assert_str_eq(error, "t.conf: unknown format; allowed: names that end in .ini, .yaml or .yml");
	ck_assert_int_eq(symlink(".", "t.ini"), 0);
	ck_assert(!load("t.ini", NULL, NULL));
	ck_assert_str_eq(error, "t.ini: cannot be read: Is a directory");
}
END_TEST

/* Any bytes at all: no crash, and either settings or a message that says where. */
START_TEST(random_damage)
{
	static const char seed[] = BASE
		"[proxy]\nrequest_timeout = 10s\ntopology_addresses = 10.0.0.1,\n 10.0.0.2 ; x\n"
		"[listener a]\nport = 1\n[http]\nmetrics_prefix = \"zdm\"\n[log]\nlevel = info\n";
	static const char alphabet[] = "[]=;#\"\n\r\t :,.azA09_-\\\0\x80";
	char text[sizeof(seed)];
	unsigned accepted = 0;

	srand(1);
	for (int round = 0; round < 3000; round++) {
		memcpy(text, seed, sizeof(seed));
		for (int i = rand() % 4; i >= 0; i--)
			text[(size_t)rand() % (sizeof(seed) - 1)] = alphabet[(size_t)rand() % (sizeof(alphabet) - 1)];
		file_write("t.ini", text, sizeof(seed) - 1);
		if (load("t.ini", NULL, NULL))
			accepted++;
		else
			ck_assert_msg(strncmp(error, "t.ini:", 6) == 0, "%s", error);
	}
	ck_assert_uint_gt(accepted, 30);
	ck_assert_uint_lt(accepted, 2900);
}
END_TEST

/* ---- --set, environment, printing ---- */

START_TEST(overrides)
{
	static const char *const sets[] = { "proxy.workers=3",
					    "listener a.b.port=77",
					    "origin.password=x ; # \"y",
					    "origin.username=u=v.w",
					    "proxy.workers=4",
					    "proxy.drain_delay_ms=7",
					    NULL };

	file_write("t.ini", BASE "[listener a.b]\nport = 1\n", strlen(BASE "[listener a.b]\nport = 1\n"));
	ck_assert_msg(load("t.ini", NULL, sets), "%s", error);
	ck_assert_uint_eq(settings->workers, 4);
	ck_assert_uint_eq(settings->listeners[0].port, 77);
	ck_assert_str_eq(settings->cluster[CLUSTER_ORIGIN].password, "x ; # \"y");
	ck_assert_str_eq(settings->cluster[CLUSTER_ORIGIN].username, "u=v.w");
	ck_assert_uint_eq(settings->drain_delay_ms, 7);
	ck_assert_ptr_nonnull(strstr(printed, "\nport = 77  ; from --set\n"));
}
END_TEST

static const struct {
	const char *set, *message;
} bad_sets[] = {
	{ "x", "--set: not understood; allowed: --set section.key=value" },
	{ "s3cret=1", "--set: not understood; allowed: --set section.key=value" },
	{ ".key=1", "--set: not understood; allowed: --set section.key=value" },
	{ "proxy.=1", "--set: not understood; allowed: --set section.key=value" },
	{ "luna.x=1", "--set luna.x: unknown section; allowed: [proxy], ..." },
	{ "listener b.port=1", "--set listener b.port: unknown section; ..." },
	{ "proxy.x=1", "--set proxy.x: unknown key; allowed: profile, ..." },
	{ "proxy.workers=x", "--set proxy.workers: \"x\" is not a number; allowed: 0 to 1024" },
	{ "origin.contact_points=", "--set origin.contact_points: missing; ..." },
};

START_TEST(bad_overrides)
{
	const char *sets[] = { bad_sets[_i].set, NULL };
	size_t len = strlen(bad_sets[_i].message);

	file_write("t.ini", BASE, strlen(BASE));
	ck_assert(!load("t.ini", NULL, sets));
	if (strcmp(bad_sets[_i].message + len - 3, "...") == 0)
		len -= 3;
	ck_assert_msg(strncmp(error, bad_sets[_i].message, len) == 0, "%s", error);
}
END_TEST

START_TEST(zdm_variables_beside_a_file)
{
	static const char *const environment[] = { "ZDM_ORIGIN_PASSWORD=s3cret", "ZDM_TARGET_PORT=1", "PATH=/", NULL };
	static const char *const sets[] = { "origin.username=u", "origin.password=env:ZDM_ORIGIN_PASSWORD", NULL };

	file_write("t.ini", BASE, strlen(BASE));
	ck_assert(load("t.ini", environment, NULL));
	ck_assert_str_eq(warnings, "2 ZDM_ variables are ignored, because t.ini is the configuration: "
				   "ZDM_ORIGIN_PASSWORD, ZDM_TARGET_PORT\n");
	ck_assert_uint_eq(settings->cluster[CLUSTER_TARGET].port, 9042);
	ck_assert(load("t.ini", environment, sets));
	ck_assert_str_eq(warnings, "1 ZDM_ variable is ignored, because t.ini is the configuration: ZDM_TARGET_PORT\n");
	ck_assert_str_eq(settings->cluster[CLUSTER_ORIGIN].password, "s3cret");
}
END_TEST

START_TEST(printed_values_read_back)
{
	char *again;

	ck_assert_msg(load_text("t.ini", BASE "[listener odd]\ntls_key = \"a ; \"\"b # c\"\ntls_cert = \" d\"\n"
					      "[proxy]\nblocked_protocol_versions = 2\nrequest_timeout = 1500ms\n"),
		      "%s", error);
	ck_assert_ptr_nonnull(strstr(printed, "tls_key = \"a ; \"\"b # c\"  ; from t.ini:7\n"));
	again = xstrdup(printed);
	ck_assert_msg(load_text("t.ini", again), "%s", error);
	ck_assert_str_eq(settings->listeners[0].tls_key, "a ; \"b # c");
	ck_assert_str_eq(settings->listeners[0].tls_cert, " d");
	ck_assert_uint_eq(settings->request_timeout_ms, 1500);
	free(again);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("config");
	TCase *tc = tcase_create("config");
	SRunner *runner;
	int failed;

	tcase_add_checked_fixture(tc, scratch_begin, scratch_end);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, the_example_of_the_design);
	tcase_add_test(tc, native_defaults);
	tcase_add_test(tc, listeners_side_by_side);
	tcase_add_test(tc, too_many_listeners);
	tcase_add_loop_test(tc, every_spelling, 0, (int)ARRAY_LEN(spellings));
	tcase_add_loop_test(tc, passwords_are_whole_or_refused_and_never_shown, 0, (int)ARRAY_LEN(passwords));
	tcase_add_loop_test(tc, every_mistake, 0, (int)ARRAY_LEN(mistakes));
	tcase_add_test(tc, the_longest_line_is_whole);
	tcase_add_test(tc, bytes_that_are_no_text);
	tcase_add_test(tc, files_that_are_none);
	tcase_add_test(tc, random_damage);
	tcase_add_test(tc, overrides);
	tcase_add_loop_test(tc, bad_overrides, 0, (int)ARRAY_LEN(bad_sets));
	tcase_add_test(tc, zdm_variables_beside_a_file);
	tcase_add_test(tc, printed_values_read_back);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
