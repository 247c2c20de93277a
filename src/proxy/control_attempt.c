/* control_attempt.c - see control_attempt.h */
#include "proxy/control_attempt.h"

#include <stdlib.h>

#include "base/log.h"
#include "base/resolve.h"

/* Until the cluster was reached once: ZDM's start loop, which is more eager than its reconnection. */
#define START_MIN_MS 100
#define START_MAX_MS 10000
/* A connection that lived shorter counts as one more failure in a row, so that a node that accepts and hangs up is not
 * called on without a pause. */
#define STABLE_NS (UINT64_C(10) * 1000000000)

void control_attempt_wake(struct control *c, enum control_wake wake, uint64_t ms)
{
	c->wake = (uint8_t)wake;
	control_state_set(c, CONTROL_WAITING);
	control_state_arm(&c->timer, ms);
}

/* Uniform between min and min * factor^n, at most max. */
static uint64_t back_off_ms(const struct control *c, uint32_t n)
{
	const struct settings *s = c->o.settings;
	double min = s->heartbeat_retry_interval_min_ms;
	double max = s->heartbeat_retry_interval_max_ms;
	double top;

	if (!c->was_up) {
		min = MIN(min, START_MIN_MS);
		max = MIN(max, START_MAX_MS);
	}
	if (min >= max)
		return (uint64_t)max;
	top = min;
	for (uint32_t i = 0; i < n && top < max; i++)
		top *= MAX(s->heartbeat_retry_backoff_factor, 1.0);
	top = MIN(top, max);
	return (uint64_t)(min + (top - min) * (arc4random() / 4294967296.0));
}

void control_attempt_drop(struct control *c, const char *why)
{
	struct server *server = c->server;

	evtimer_del(&c->timer);
	evtimer_del(&c->heartbeat);
	evtimer_del(&c->refresh);
	evtimer_del(&c->periodic);
	if (c->resolve)
		resolve_cancel(c->resolve);
	c->resolve = NULL;
	if (c->o.cluster->sni)
		sni_refresh_cancel(c->o.cluster->sni);
	inquiry_stop(&c->inquiry);
	leg_abandon(&c->heartbeat_leg);
	c->server = NULL;
	if (server)
		server_close(server, why);
	c->refresh_again = false;
	c->is_urgent = false;
	c->is_periodic = false;
}

static void count_failure(struct control *c)
{
	atomic_fetch_add_explicit(&c->o.cluster->failures, 1, memory_order_relaxed);
}

void control_attempt_lost(struct control *c, const char *why)
{
	bool was_stable = loop_now(c->o.loop) - c->up_since_ns >= STABLE_NS;
	/* The first time may be chance. */
	uint64_t delay = was_stable || c->failed_rounds == 0 ? 0 : back_off_ms(c, c->failed_rounds);

	c->is_lost = true;
	c->lost = endpoint_list_current(&c->endpoints)->address;
	c->failed_rounds = was_stable ? 0 : c->failed_rounds + 1;
	count_failure(c);
	if (delay > 0)
		log_warn("%s %s: control connection lost: %s; next try in %.1f s", c->cluster_name, c->text, why,
			 (double)delay / 1000);
	else
		log_warn("%s %s: control connection lost: %s; connecting again", c->cluster_name, c->text, why);
	control_attempt_drop(c, why);
	control_attempt_wake(c, WAKE_ROUND, delay);
}

void control_attempt_end_round(struct control *c, const char *why, bool is_hopeless)
{
	/* Somebody has to change something first, and log-ins that fail are noticed at the other end. */
	uint64_t delay = is_hopeless ? c->o.settings->heartbeat_retry_interval_max_ms
				     : back_off_ms(c, c->failed_rounds);

	c->failed_rounds++;
	count_failure(c);
	/* What ends the process has been said by its owner. */
	if (!c->o.loop->stop)
		log_at(is_hopeless ? LOG_ERROR : LOG_WARN, "%s %s: %s; next try in %.1f s", c->cluster_name, c->text,
		       why, (double)delay / 1000);
	endpoint_list_clear(&c->endpoints);
	control_attempt_wake(c, WAKE_ROUND, delay);
}

void control_attempt_fail(struct control *c, bool is_hopeless, const char *why)
{
	const bool is_rejection = c->server && c->server->wire.sb.rejected_peer;
	const struct endpoint *next = endpoint_list_peek(&c->endpoints);
	char other[ENDPOINT_TEXT_MAX];
	char *message;

	c->only_rejections &= is_rejection;
	control_attempt_drop(c, why);
	if (next && !is_hopeless) {
		log_warn("%s %s: %s; trying %s", c->cluster_name, c->text, why,
			 endpoint_format(next, c->settings->port, other));
		control_attempt_wake(c, WAKE_NEXT, 0);
		return;
	}
	is_hopeless |= c->only_rejections;
	if (is_hopeless) {
		message = xasprintf("%s %s: %s", c->cluster_name, c->text, why);
		c->o.on_hopeless(c, message, c->o.arg);
		free(message);
	}
	control_attempt_end_round(c, why, is_hopeless);
}

void control_attempt_trouble(struct control *c, bool is_hopeless, const char *why)
{
	if (c->state == CONTROL_UP)
		control_attempt_lost(c, why);
	else
		control_attempt_fail(c, is_hopeless, why);
}
