/* config_check.c - what concerns more than one setting. */
#include "control/config_check.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "cql/version.h"

static bool has_value(const struct config *config, enum setting_section section, const char *key, unsigned instance)
{
	return config_value_find(config, setting_find(section, key, NULL), instance) != NULL;
}

/* The bundle says all of this. The port of a ZDM configuration counts for nothing, as with ZDM. */
static bool check_bundle(struct config *config, unsigned instance)
{
	const struct cluster_settings *cluster = &config->settings.cluster[instance];
	const bool has_map = has_value(config, SECTION_CLUSTER, "address_map", instance);
	const bool has_port = !config_is_zdm_source(config) && has_value(config, SECTION_CLUSTER, "port", instance);
	const char *extra = cluster->contact_points.count ? "contact_points"
			    : cluster->local_datacenter   ? "local_datacenter"
			    : has_map                     ? "address_map"
			    : has_port                    ? "port"
							  : NULL;

	if (!extra)
		return true;
	return config_fail_key(config, SECTION_CLUSTER, extra, instance,
			       "excludes secure_connect_bundle, which says it already; allowed: one of the two");
}

bool config_check_contact_points(struct config *config, unsigned instance)
{
	const struct cluster_settings *cluster = &config->settings.cluster[instance];

	if (cluster->secure_connect_bundle)
		return check_bundle(config, instance);
	if (cluster->contact_points.count == 0)
		return config_fail_key(config, SECTION_CLUSTER, "contact_points", instance,
				       "missing; allowed: host names or IP addresses, separated by commas, or none "
				       "with secure_connect_bundle");
	if (cluster->local_datacenter && !cluster->enable_host_assignment)
		return config_fail_key(config, SECTION_CLUSTER, "local_datacenter", instance,
				       "has no meaning without host assignment; allowed: only with "
				       "enable_host_assignment = true");
	if (cluster->fallback_datacenters.count > 0 && !cluster->enable_host_assignment)
		return config_fail_key(config, SECTION_CLUSTER, "fallback_datacenters", instance,
				       "has no meaning without host assignment; allowed: only with "
				       "enable_host_assignment = true");
	for (unsigned i = 0; cluster->local_datacenter && i < cluster->fallback_datacenters.count; i++) {
		if (strcmp(cluster->fallback_datacenters.items[i], cluster->local_datacenter) == 0)
			return config_fail_key(config, SECTION_CLUSTER, "fallback_datacenters", instance,
					       "%s is the local_datacenter; allowed: other ones",
					       cluster->local_datacenter);
	}
	return true;
}

bool config_check_topology(struct config *config, unsigned instance)
{
	const struct settings *settings = &config->settings;
	unsigned count = settings->topology_addresses.count;

	(void)instance;
	if (settings->topology_index >= MAX(count, 1))
		return config_fail_key(config, SECTION_PROXY, "topology_index", 0,
				       "%u is not below the number of topology_addresses; allowed: 0 to %u",
				       (unsigned)settings->topology_index, MAX(count, 1) - 1);
	return true;
}

/* The mode follows from another setting. It is recorded as that one's value, so that --print-config says why. */
static void derive_tls(struct config *config, unsigned instance, const char *from, enum tls_mode mode, const char *word)
{
	const struct setting *tls = setting_find(SECTION_CLUSTER, "tls", NULL);
	const struct config_value *v = config_value_find(config, setting_find(SECTION_CLUSTER, from, NULL), instance);
	char *place = xstrdup(v ? v->place : "");

	config_value_set(config, tls, instance, word, place, DIALECT_INI);
	config->settings.cluster[instance].tls = mode;
	free(place);
}

/* ZDM has no switch: the files decide. */
static bool derive_cluster_tls(struct config *config, unsigned instance)
{
	const struct cluster_settings *cluster = &config->settings.cluster[instance];
	const struct setting *tls_ca = setting_find(SECTION_CLUSTER, "tls_ca", NULL);

	if (!cluster->tls_ca) {
		if (!cluster->tls_cert && !cluster->tls_key)
			return true;
		return config_fail_setting(
			config, tls_ca, instance,
			"missing beside the client's certificate or key; allowed: none of the three, "
			"the CA alone, or all three");
	}
	derive_tls(config, instance, "tls_ca", TLS_CA, "ca");
	return true;
}

bool config_check_cluster_tls(struct config *config, unsigned instance)
{
	struct cluster_settings *cluster = &config->settings.cluster[instance];
	bool decided = has_value(config, SECTION_CLUSTER, "tls", instance);
	bool has_bundle = cluster->secure_connect_bundle != NULL;
	const char *extra = cluster->tls_ca            ? "tls_ca"
			    : cluster->tls_cert        ? "tls_cert"
			    : cluster->tls_key         ? "tls_key"
			    : cluster->tls_server_name ? "tls_server_name"
						       : NULL;

	if (has_bundle && (extra || decided))
		return config_fail_key(config, SECTION_CLUSTER, extra ? extra : "tls", instance,
				       "excludes secure_connect_bundle, whose certificates are used; allowed: one of "
				       "the two");
	if (has_bundle) {
		derive_tls(config, instance, "secure_connect_bundle", TLS_FULL, "full");
		return true;
	}
	if (!decided && config_is_zdm_source(config)) {
		if (!derive_cluster_tls(config, instance))
			return false;
	} else if (!decided && extra) {
		return config_fail_key(config, SECTION_CLUSTER, extra, instance,
				       "has no meaning without tls; allowed: only beside tls = ca or tls = full (or an "
				       "explicit tls = none)");
	}
	if (!cluster->tls_cert != !cluster->tls_key)
		return config_fail_key(config, SECTION_CLUSTER, cluster->tls_cert ? "tls_key" : "tls_cert", instance,
				       "missing; allowed: certificate and key together, or neither");
	if (cluster->tls != TLS_NONE && !cluster->tls_ca)
		return config_fail_key(config, SECTION_CLUSTER, "tls_ca", instance,
				       "missing; allowed: a file name (tls = ca and tls = full trust these authorities "
				       "only)");
	return true;
}

static bool listener_tls(struct config *config, unsigned instance)
{
	const struct listener_settings *l = &config->settings.listeners[instance];
	unsigned paths = !!l->tls_ca + !!l->tls_cert + !!l->tls_key;

	if (config_is_zdm_source(config) && paths != 0 && paths != 3)
		return config_fail_key(config, SECTION_LISTENER,
				       !l->tls_ca     ? "tls_ca"
				       : !l->tls_cert ? "tls_cert"
						      : "tls_key",
				       instance, "missing; allowed: CA, certificate and key together, or none of them");
	if (!l->tls_cert != !l->tls_key)
		return config_fail_key(config, SECTION_LISTENER, l->tls_cert ? "tls_key" : "tls_cert", instance,
				       "missing; allowed: certificate and key together, or neither");
	if (l->tls_ca && !l->tls_cert)
		return config_fail_key(config, SECTION_LISTENER, "tls_ca", instance,
				       "has no meaning without TLS; allowed: only with tls_cert and tls_key");
	if ((l->tls_require_client_cert || l->tls_ask_client_cert) && !l->tls_ca)
		return config_fail_key(config, SECTION_LISTENER,
				       l->tls_require_client_cert ? "tls_require_client_cert" : "tls_ask_client_cert",
				       instance,
				       "needs a CA to check them by; allowed: only with tls_ca, tls_cert and tls_key");
	return true;
}

bool config_check_listener_tls(struct config *config, unsigned instance)
{
	(void)instance;
	for (unsigned i = 0; i < config->settings.listener_count; i++) {
		if (!listener_tls(config, i))
			return false;
	}
	return true;
}

static bool check_listeners(struct config *config)
{
	const struct settings *settings = &config->settings;

	for (unsigned i = 0; i < settings->listener_count; i++) {
		const struct listener_settings *a = &settings->listeners[i];

		for (unsigned j = 0; j < i; j++) {
			const struct listener_settings *b = &settings->listeners[j];

			if (a->port == b->port && strcasecmp(a->address, b->address) == 0)
				return config_fail_key(config, SECTION_LISTENER, "port", i,
						       "address and port are those of another listener; allowed: each "
						       "pair once");
		}
		if (settings->http_enabled && a->port == settings->http_port &&
		    strcasecmp(a->address, settings->http_address) == 0)
			return config_fail_key(config, SECTION_HTTP, "port", 0,
					       "address and port are those of a listener; allowed: each pair once");
	}
	return true;
}

static bool check_proxy_protocol(struct config *config)
{
	for (unsigned i = 0; i < config->settings.listener_count; i++) {
		const struct listener_settings *l = &config->settings.listeners[i];
		const bool is_off = l->proxy_protocol == PROXY_PROTOCOL_OFF;

		/* Whoever may send the header may say to be anybody. */
		if (!is_off && l->proxy_protocol_from.count == 0)
			return config_fail_key(config, SECTION_LISTENER, "proxy_protocol_from", i,
					       "missing beside proxy_protocol; allowed: the addresses and networks of "
					       "the load balancers");
		if (is_off && l->proxy_protocol_from.count > 0)
			return config_fail_key(config, SECTION_LISTENER, "proxy_protocol_from", i,
					       "has no meaning without proxy_protocol; allowed: only with "
					       "proxy_protocol = v1 or v2");
	}
	return true;
}

static bool check_credentials(struct config *config, unsigned instance)
{
	const struct cluster_settings *cluster = &config->settings.cluster[instance];

	/* ZDM Proxy takes the one without the other as an empty text. */
	if (!config_is_zdm_source(config) && !cluster->username != !cluster->password)
		return config_fail_key(config, SECTION_CLUSTER, cluster->username ? "password" : "username", instance,
				       "missing; allowed: user name and password together, or neither");
	if (cluster->credentials == CREDENTIALS_CONFIGURED && !cluster->username)
		return config_fail_key(
			config, SECTION_CLUSTER, "credentials", instance,
			"there is no user to log in as; allowed: configured only with username and password");
	return true;
}

static bool check_limits(struct config *config)
{
	struct settings *settings = &config->settings;

	if (settings->heartbeat_retry_interval_min_ms <= settings->heartbeat_retry_interval_max_ms)
		return true;
	if (settings->profile == PROFILE_NATIVE)
		return config_fail_key(config, SECTION_PROXY, "heartbeat_retry_interval_min", 0,
				       "is above heartbeat_retry_interval_max; allowed: at most that");
	/* ZDM Proxy: with min above max every pause is max. */
	settings->heartbeat_retry_interval_min_ms = settings->heartbeat_retry_interval_max_ms;
	return true;
}

/* It is sent as a [string], whose length has two bytes. */
static bool check_request_id_key(struct config *config)
{
	if (strlen(config->settings.tracing_request_id_key) <= UINT16_MAX)
		return true;
	return config_fail_key(config, SECTION_PROXY, "tracing_request_id_key", 0,
			       "is too long; allowed: text of at most 65535 bytes");
}

/* The cores that this process may run on, which in a container or under taskset are fewer than there are. */
static uint32_t core_count(void)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	return sched_getaffinity(0, sizeof(set), &set) == 0 ? (uint32_t)MAX(CPU_COUNT(&set), 1) : 1;
}

static bool check_memory(struct config *config)
{
	const struct settings *s = &config->settings;

	/* A frame that never fits would wait for its time-out every time. */
	if (s->memory_limit != 0 && s->memory_limit - s->memory_limit / 4 < s->max_frame_size)
		return config_fail_key(
			config, SECTION_PROXY, "memory_limit", 0,
			"three quarters of it are less than max_frame_size (%u bytes); allowed: 0 (none), "
			"or four thirds of max_frame_size and more",
			s->max_frame_size);
	return true;
}

bool config_check_rest(struct config *config, unsigned instance)
{
	struct settings *settings = &config->settings;

	(void)instance;
	if (!check_listeners(config) || !check_proxy_protocol(config) || !check_credentials(config, CLUSTER_ORIGIN) ||
	    !check_credentials(config, CLUSTER_TARGET) || !check_limits(config) || !check_request_id_key(config) ||
	    !check_memory(config))
		return false;
	if (settings->workers == 0)
		settings->workers = core_count();
	if (version_set_up_to(VERSION_SET_ALL & ~settings->blocked_versions, settings->max_protocol_version) == 0)
		config_warn(config, "blocked_protocol_versions: every version is blocked, so no client can connect");
	return true;
}
