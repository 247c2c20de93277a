/* template.c - see template.h */
#include "template.h"

#include <string.h>

#include "fake_node.h"

/* Without patterns: ids, keys, the texts. */
#define BODY_MAX 4096

/* A key, or the place where a value begins with it. */
static void put_key(struct template *t)
{
	t->gaps[t->gap_count++] = t->body.len;
	writer_reserve(&t->body, KEY_LEN);
}

static void put_value(struct template *t, uint32_t value_len)
{
	const uint32_t pattern_len = value_len - VALUE_HEAD;

	put_key(t);
	write_byte(&t->body, MARK_WRITTEN);
	if (value_len < PEER_SHARE_MIN) {
		write_raw(&t->body, value_pattern(), pattern_len);
	} else {
		t->patterns[t->pattern_count++] = t->body.len;
		t->pattern_len = pattern_len;
	}
}

/* The values of EXECUTE and of a child of BATCH: a key and, for a write, its value. */
static void put_values(struct template *t, bool is_write, uint32_t value_len)
{
	write_short(&t->body, is_write ? 2 : 1);
	write_int(&t->body, KEY_LEN);
	put_key(t);
	if (!is_write)
		return;
	write_int(&t->body, value_len);
	put_value(t, value_len);
}

/* Consistency and flags begin <query_parameters>, native protocol v5, section 4.1.4. */
static void put_parameters(struct template *t, uint8_t version, uint32_t flags)
{
	write_short(&t->body, CL_LOCAL_QUORUM);
	if (version >= 5)
		write_int(&t->body, flags);
	else
		write_byte(&t->body, (uint8_t)flags);
}

static void make_execute(struct template *t, bool is_write, const struct prepared_ids *ids, uint8_t version,
			 uint32_t value_len)
{
	t->opcode = OP_EXECUTE;
	write_short_bytes(&t->body, ids->id.p, (uint16_t)ids->id.len);
	if (version >= 5)
		write_short_bytes(&t->body, ids->metadata_id.p, (uint16_t)ids->metadata_id.len);
	put_parameters(t, version, QUERY_VALUES | QUERY_SKIP_METADATA);
	put_values(t, is_write, value_len);
}

static void make_batch(struct template *t, const struct prepared_ids *ids, uint8_t version, uint32_t value_len)
{
	t->opcode = OP_BATCH;
	write_byte(&t->body, BATCH_UNLOGGED);
	write_short(&t->body, BATCH_CHILDREN);
	for (unsigned i = 0; i < BATCH_CHILDREN; i++) {
		write_byte(&t->body, 1);
		write_short_bytes(&t->body, ids->id.p, (uint16_t)ids->id.len);
		put_values(t, true, value_len);
	}
	put_parameters(t, version, 0);
}

static void put_text(struct template *t, const char *text)
{
	write_raw(&t->body, text, (uint32_t)strlen(text));
}

static void make_query(struct template *t, bool is_write, uint8_t version, uint32_t value_len)
{
	t->opcode = OP_QUERY;
	write_int(&t->body, 0);
	put_text(t, is_write ? "INSERT INTO ks.t (k, v) VALUES ('" : "SELECT v FROM ks.t WHERE k = '");
	put_key(t);
	if (is_write) {
		put_text(t, "', '");
		put_value(t, value_len);
	}
	put_text(t, is_write ? "')" : "'");
	put_u32(t->body.data, t->body.len + t->pattern_count * t->pattern_len - 4);
	put_parameters(t, version, 0);
}

void template_make(struct template *t, enum form form, bool is_write, const struct prepared_ids *ids, uint8_t version,
		   uint32_t value_len)
{
	*t = (struct template){ .gap_count = 0 };
	if (form == FORM_SIMPLE)
		make_query(t, is_write, version, value_len);
	else if (form == FORM_BATCH && is_write)
		make_batch(t, ids, version, value_len);
	else
		make_execute(t, is_write, ids, version, value_len);
	t->length = t->body.len + t->pattern_count * t->pattern_len;
}

static void fill(const struct template *t, uint64_t number, uint8_t *out)
{
	uint8_t key[KEY_LEN];

	key_write(key, number);
	memcpy(out, t->body.data, t->body.len);
	for (unsigned i = 0; i < t->gap_count; i++)
		memcpy(out + t->gaps[i], key, KEY_LEN);
}

static void send_large(const struct template *t, uint64_t number, struct peer *p, int16_t stream)
{
	uint8_t body[BODY_MAX];
	uint32_t at = 0;

	fill(t, number, body);
	peer_frame_begin(p, stream, t->opcode, t->length);
	for (unsigned i = 0; i < t->pattern_count; i++) {
		memcpy(peer_room(p, t->patterns[i] - at), body + at, t->patterns[i] - at);
		peer_share(p, value_pattern(), t->pattern_len);
		at = t->patterns[i];
	}
	memcpy(peer_room(p, t->body.len - at), body + at, t->body.len - at);
}

void template_send(const struct template *t, uint64_t number, struct peer *p, int16_t stream)
{
	if (t->pattern_count > 0)
		send_large(t, number, p, stream);
	else
		fill(t, number, peer_frame(p, stream, t->opcode, t->length));
}
