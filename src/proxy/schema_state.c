/* schema_state.c - see schema_state.h */
#include "proxy/schema_state.h"

#include <openssl/evp.h>
#include <string.h>

#include "proxy/topology.h"

#define MS UINT64_C(1000000)

/* Later times win. */
static void raise_to(_Atomic uint64_t *time, uint64_t ns)
{
	uint64_t old = atomic_load_explicit(time, memory_order_relaxed);

	while (old < ns && !atomic_compare_exchange_weak(time, &old, ns))
		;
}

void schema_state_note(struct schema_state *s, unsigned clusters, uint64_t began_ns, uint64_t now_ns)
{
	for (unsigned i = 0; i < CLUSTER_COUNT; i++) {
		if (!(clusters & 1u << i))
			continue;
		raise_to(&s->cluster[i].began_ns, began_ns);
		raise_to(&s->cluster[i].noticed_ns, now_ns);
	}
	if (s->on_noticed)
		s->on_noticed(s->arg);
}

bool schema_state_is_settled(struct schema_state *s, enum cluster_id cluster, const struct topology *t, uint64_t now_ns)
{
	const uint64_t noticed = atomic_load(&s->cluster[cluster].noticed_ns);

	if (!t || noticed == 0 || now_ns >= noticed + SCHEMA_STATE_PATIENCE_MS * MS)
		return true;
	return t->schema_agrees && t->schema_asked_ns >= noticed &&
	       t->schema_changed_ns >= atomic_load(&s->cluster[cluster].began_ns);
}

/* ---- the version ---- */

/* Changed a moment ago, while the other cluster has not: what it was before is shown still. */
static bool has_changed_alone(const struct topology *t, const struct topology *other, uint64_t now_ns)
{
	const uint64_t alone = SCHEMA_STATE_ALONE_MS * MS;

	return other && t->schema_changed_ns > 0 && now_ns < t->schema_changed_ns + alone &&
	       other->schema_changed_ns + alone < t->schema_changed_ns;
}

/* A UUID in its 16 bytes, or nothing. */
static bool is_version(struct bytesview v)
{
	return !v.is_null && v.len == 16;
}

bool schema_state_version(struct schema_state *s, const struct topology *const t[CLUSTER_COUNT], unsigned index,
			  uint64_t now_ns, uint8_t out[16])
{
	uint8_t text[16 + CLUSTER_COUNT * 16 + 1] = { 0 }; /* the nil name space, the versions, what sets rows apart */
	uint8_t digest[EVP_MAX_MD_SIZE];
	bool has_any = false;
	bool is_one = true;

	for (unsigned i = 0; i < CLUSTER_COUNT; i++) {
		struct bytesview v;

		if (!t[i])
			continue;
		is_one &= t[i]->schema_agrees && schema_state_is_settled(s, (enum cluster_id)i, t[i], now_ns);
		v = host_value(&t[i]->local, "schema_version");
		if (!is_version(v))
			continue;
		has_any = true;
		memcpy(text + 16 + i * 16, has_changed_alone(t[i], t[1 - i], now_ns) ? t[i]->schema_before : v.p, 16);
	}
	if (!is_one)
		text[sizeof(text) - 1] = (uint8_t)index;
	if (!has_any || !EVP_Digest(text, sizeof(text), digest, NULL, EVP_sha1(), NULL))
		return false;
	memcpy(out, digest, 16);
	out[6] = (uint8_t)((out[6] & 0x0f) | 0x50);
	out[8] = (uint8_t)((out[8] & 0x3f) | 0x80);
	return true;
}

void schema_state_follow(struct topology *t, const struct topology *old, uint64_t now_ns)
{
	const struct bytesview now = host_value(&t->local, "schema_version");
	struct bytesview before;

	if (!old)
		return;
	before = host_value(&old->local, "schema_version");
	if (is_version(now) && is_version(before) && memcmp(now.p, before.p, 16) != 0) {
		t->schema_changed_ns = now_ns;
		memcpy(t->schema_before, before.p, 16);
	} else {
		t->schema_changed_ns = old->schema_changed_ns;
		memcpy(t->schema_before, old->schema_before, 16);
	}
}
