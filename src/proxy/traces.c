/* traces.c - see traces.h */
#include "proxy/traces.h"

#include <string.h>

#include "cql/scanner.h"

void traces_init(struct traces *t)
{
	pthread_mutex_init(&t->lock, NULL);
	atomic_init(&t->count, 0);
}

void traces_fini(struct traces *t)
{
	pthread_mutex_destroy(&t->lock);
}

void traces_note(struct traces *t, const uint8_t id[TRACE_ID_LEN], enum cluster_id maker)
{
	pthread_mutex_lock(&t->lock);
	memcpy(t->ids[t->count % TRACES_MAX], id, TRACE_ID_LEN);
	t->makers[t->count % TRACES_MAX] = (uint8_t)maker;
	t->count++;
	pthread_mutex_unlock(&t->lock);
}

bool traces_find(struct traces *t, const uint8_t id[TRACE_ID_LEN], enum cluster_id *maker)
{
	bool found = false;

	pthread_mutex_lock(&t->lock);
	for (unsigned i = 0; i < MIN(t->count, (uint32_t)TRACES_MAX) && !found; i++) {
		found = memcmp(t->ids[i], id, TRACE_ID_LEN) == 0;
		if (found)
			*maker = (enum cluster_id)t->makers[i];
	}
	pthread_mutex_unlock(&t->lock);
	return found;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = (char)(c | 0x20);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* A token that is a uuid, 8-4-4-4-12 hexadecimal digits. */
static bool read_uuid(const struct token *token, uint8_t id[TRACE_ID_LEN])
{
	unsigned n = 0;

	if (token->kind != TOKEN_NUMBER || token->text.len != 36 || token->text.p[8] != '-')
		return false;
	for (unsigned i = 0; i < 36; i++) {
		int digit = hex_digit(token->text.p[i]);

		if (digit < 0)
			continue;
		if (n == 2 * TRACE_ID_LEN) /* a float with an exponent: "1234567e-1..." */
			return false;
		id[n / 2] = (uint8_t)(n % 2 == 0 ? digit << 4 : id[n / 2] | digit);
		n++;
	}
	return n == 2 * TRACE_ID_LEN;
}

/* One walk over all values, of which a request may have 65535. */
static bool value_asks(struct traces *t, const uint8_t *body, uint32_t len, const struct query_params *params,
		       unsigned *left, enum cluster_id *maker)
{
	struct reader r = reader_from(body, len, params->values_offset);

	for (unsigned i = 0; i<params->value_count && * left> 0; i++) {
		struct bytesview value;

		if (params->flags & QUERY_NAMES_FOR_VALUES)
			read_string(&r);
		value = read_bytes(&r); /* an unset one has no bytes either */
		if (!reader_ok(&r))
			return false;
		if (value.is_null || value.len != TRACE_ID_LEN)
			continue;
		if (traces_find(t, value.p, maker))
			return true;
		(*left)--;
	}
	return false;
}

bool traces_asked_for(struct traces *t, struct strview text, const uint8_t *body, uint32_t len,
		      const struct query_params *params, enum cluster_id *maker)
{
	unsigned left = TRACES_LOOKUPS;
	uint8_t id[TRACE_ID_LEN];
	struct scanner s;
	struct token token;

	if (t->count == 0)
		return false;
	if (value_asks(t, body, len, params, &left, maker))
		return true;
	scanner_init(&s, text);
	do {
		token = scanner_next(&s);
		if (!read_uuid(&token, id))
			continue;
		if (traces_find(t, id, maker))
			return true;
		left--;
	} while (token.kind != TOKEN_END && left > 0);
	return false;
}
