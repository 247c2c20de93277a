/*
 * auth_map.c - users of clients become users of the clusters, by a file. The
 * plugin's entry: start and end, reload, metrics.
 */
#include "auth_map.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "login.h"

#define GAUGES_MS 1000
/* How exactly `wait` is kept while all threads are at work. */
#define EXPIRE_MS 50

uint64_t auth_map_now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* ---- metrics ---- */

static const char *const outcomes[AUTH_MAP_OUTCOMES] = {
	[AUTH_MAP_VERIFIED] = "verified",       [AUTH_MAP_REMEMBERED] = "remembered",
	[AUTH_MAP_CERTIFICATE] = "certificate", [AUTH_MAP_MAPPED] = "mapped",
	[AUTH_MAP_PASSED] = "passed",           [AUTH_MAP_WRONG] = "wrong_password",
	[AUTH_MAP_UNKNOWN] = "unknown_user",    [AUTH_MAP_FORBIDDEN] = "forbidden",
	[AUTH_MAP_UNCHECKED] = "unchecked",     [AUTH_MAP_REFUSED] = "refused_by_cluster",
	[AUTH_MAP_LOCKED_OUT] = "locked_out",   [AUTH_MAP_OVERLOADED] = "overloaded",
};

static void make_metrics(struct auth_map *am)
{
	static const double bounds[] = { 0.0001, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 5 };
	const struct cqlferry_host *h = am->host;
	char labels[256];

	for (unsigned i = 0; i < AUTH_MAP_OUTCOMES; i++) {
		snprintf(labels, sizeof(labels), "plugin=\"%s\",result=\"%s\"", h->instance, outcomes[i]);
		am->logins[i] =
			h->counter_new(h, "auth_map_logins_total", "Log-ins that auth_map has decided.", labels);
	}
	snprintf(labels, sizeof(labels), "plugin=\"%s\"", h->instance);
	am->lockouts = h->counter_new(h, "auth_map_lockouts_total", "Addresses that were locked out.", labels);
	am->locked_addresses = h->gauge_new(h, "auth_map_locked_addresses", "Addresses that are locked out.", labels);
	am->waiting =
		h->gauge_new(h, "auth_map_waiting", "Log-ins that wait for their password to be compared.", labels);
	am->seconds = h->histogram_new(h, "auth_map_compare_seconds",
				       "Time that comparing a password with its hash takes.", labels, bounds,
				       sizeof(bounds) / sizeof(bounds[0]));
}

void auth_map_count(const struct auth_map *am, enum auth_map_outcome outcome)
{
	am->host->counter_add(am->host, am->logins[outcome], 1);
}

static void show_gauges(void *arg)
{
	const struct auth_map *am = arg;

	am->host->gauge_set(am->host, am->locked_addresses, lockout_count(am->lockout, auth_map_now_ns()));
	am->host->gauge_set(am->host, am->waiting, verifier_waiting(am->verifier));
}

static void give_up_late(void *arg)
{
	const struct auth_map *am = arg;

	verifier_expire(am->verifier, auth_map_now_ns());
}

void auth_map_failed(const struct auth_map *am, const uint8_t address[LOCKOUT_KEY_LEN],
		     const struct lockout_limits *limits)
{
	char text[INET6_ADDRSTRLEN] = "?";

	if (!lockout_failed(am->lockout, address, auth_map_now_ns(), limits))
		return;
	am->host->counter_add(am->host, am->lockouts, 1);
	inet_ntop(address[0] == 4 ? AF_INET : AF_INET6, address + 1, text, sizeof(text));
	am->host->log(am->host, CQLFERRY_LOG_WARN, "%s%s is locked out for %llu s: %u log-ins have failed", text,
		      address[0] == 4 ? "" : "/64", (unsigned long long)(limits->time_ns / 1000000000u),
		      limits->failures);
}

/* ---- life ---- */

static void watch(const struct auth_map *am, const struct settings *s)
{
	am->host->watch(am->host, s->denies_outdated ? CQLFERRY_ALL_KINDS : 0, 0);
}

static void on_done(void *map, uint64_t ticket)
{
	const struct auth_map *am = map;

	am->host->resume(am->host, ticket);
}

static const struct verifier_ops verifier_ops = { .check = login_check, .done = on_done };

static void on_close(void *self)
{
	struct auth_map *am = self;

	verifier_free(am->verifier);
	remembered_free(am->remembered);
	lockout_free(am->lockout);
	settings_free(am->settings);
	settings_free(am->next);
	free(am);
}

static int32_t on_open(const struct cqlferry_host *host, const struct cqlferry_value *values, void **self)
{
	struct settings *s;
	struct auth_map *am;

	if (!digest_start()) {
		host->error(host, "OpenSSL has no HMAC-SHA256 or no random numbers, which passwords are remembered by");
		return CQLFERRY_ERROR;
	}
	s = settings_new(host, values);
	if (!s)
		return CQLFERRY_ERROR;
	am = memory_new(1, sizeof(*am));
	am->host = host;
	am->settings = s;
	am->remembered = remembered_new();
	am->lockout = lockout_new();
	make_metrics(am);
	am->verifier = verifier_new(s->threads, s->queue, s->nice, &verifier_ops, am);
	if (!am->verifier) {
		host->error(host, "no thread to compare passwords: %s", strerror(errno));
		on_close(am);
		return CQLFERRY_ERROR;
	}
	watch(am, s);
	host->timer_new(host, GAUGES_MS, show_gauges, am);
	host->timer_new(host, EXPIRE_MS, give_up_late, am);
	if (vault_lock_failed())
		host->log(host, CQLFERRY_LOG_INFO,
			  "passwords in memory cannot be kept from swapping: more memory is in use "
			  "for them than the process may lock (LimitMEMLOCK= of its unit)");
	*self = am;
	return 0;
}

static int32_t on_worker_open(void *self, uint32_t worker, void **worker_self)
{
	struct auth_map *am = self;
	struct auth_map_worker *w = memory_new(1, sizeof(*w));

	(void)worker;
	w->map = am;
	w->settings = am->settings;
	*worker_self = w;
	return 0;
}

static void on_worker_close(void *worker_self)
{
	free(worker_self);
}

/* ---- reload ---- */

static int32_t on_reload(void *self, const struct cqlferry_value *values)
{
	struct auth_map *am = self;

	am->next = settings_new(am->host, values);
	if (!am->next)
		return CQLFERRY_ERROR;
	watch(am, am->next);
	return 0;
}

static void on_worker_reload(void *worker_self)
{
	struct auth_map_worker *w = worker_self;

	w->settings = w->map->next;
	w->generation++;
}

static void on_reload_end(void *self, uint32_t taken)
{
	struct auth_map *am = self;

	settings_free(taken ? am->settings : am->next);
	if (taken)
		am->settings = am->next;
	am->next = NULL;
}

const struct cqlferry_plugin cqlferry_plugin = {
	.abi_major = CQLFERRY_ABI_MAJOR,
	.abi_minor = CQLFERRY_ABI_MINOR,
	.struct_size = sizeof(struct cqlferry_plugin),
	.option_size = sizeof(struct cqlferry_option),
	.options = settings_options,
	.option_count = SETTINGS_OPTIONS,
	.name = "auth_map",
	.version = "1.0",
	.open = on_open,
	.close = on_close,
	.worker_open = on_worker_open,
	.worker_close = on_worker_close,
	.reload = on_reload,
	.worker_reload = on_worker_reload,
	.reload_end = on_reload_end,
	.on_credentials = login_on_credentials,
	.on_login = login_on_login,
	.on_request = login_on_request,
	.on_disconnect = login_on_disconnect,
};
