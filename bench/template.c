/* template.c - see template.h */
#include "template.h"

#include <string.h>

#include "options.h"
#include "value.h"

/* Without patterns: ids, keys, the texts. */
#define LARGE_MAX 4096

/* A key, or the place where a value begins with it. */
static void put_key(struct template *t)
{
	t->gaps[t->gap_count++] = t->frame.len;
	writer_reserve(&t->frame, KEY_LEN);
}

static void put_value(struct template *t, uint32_t value_len)
{
	const uint32_t pattern_len = value_len - VALUE_HEAD;

	put_key(t);
	write_byte(&t->frame, MARK_WRITTEN);
	if (value_len < PEER_SHARE_MIN) {
		write_raw(&t->frame, value_pattern(), pattern_len);
	} else {
		t->patterns[t->pattern_count++] = t->frame.len;
		t->pattern_len = pattern_len;
	}
}

/* The values of EXECUTE and of a child of BATCH: a key and, for a write, its value. */
static void put_values(struct template *t, bool is_write, uint32_t value_len)
{
	write_short(&t->frame, is_write ? 2 : 1);
	write_int(&t->frame, KEY_LEN);
	put_key(t);
	if (!is_write)
		return;
	write_int(&t->frame, value_len);
	put_value(t, value_len);
}

/* Consistency and flags begin <query_parameters>, native protocol v5, section 4.1.4. */
static void put_parameters(struct template *t, uint8_t version, uint32_t flags)
{
	write_short(&t->frame, CL_LOCAL_QUORUM);
	if (version >= 5)
		write_int(&t->frame, flags);
	else
		write_byte(&t->frame, (uint8_t)flags);
}

static void make_execute(struct template *t, bool is_write, const struct prepared_ids *ids, uint8_t version,
			 uint32_t value_len)
{
	write_short_bytes(&t->frame, ids->id.p, (uint16_t)ids->id.len);
	if (version >= 5)
		write_short_bytes(&t->frame, ids->metadata_id.p, (uint16_t)ids->metadata_id.len);
	put_parameters(t, version, QUERY_VALUES | QUERY_SKIP_METADATA);
	put_values(t, is_write, value_len);
}

static void make_batch(struct template *t, const struct prepared_ids *ids, uint8_t version, uint32_t value_len)
{
	write_byte(&t->frame, BATCH_UNLOGGED);
	write_short(&t->frame, BATCH_CHILDREN);
	for (unsigned i = 0; i < BATCH_CHILDREN; i++) {
		write_byte(&t->frame, 1);
		write_short_bytes(&t->frame, ids->id.p, (uint16_t)ids->id.len);
		put_values(t, true, value_len);
	}
	put_parameters(t, version, 0);
}

/* Of the body as far as it is made. */
static uint32_t announced_length(const struct template *t)
{
	return t->frame.len - FRAME_HEAD_LEN + t->pattern_count * t->pattern_len;
}

static void put_text(struct template *t, const char *text)
{
	write_raw(&t->frame, text, (uint32_t)strlen(text));
}

static void make_query(struct template *t, bool is_write, const struct options *o)
{
	write_int(&t->frame, 0);
	put_text(t, is_write ? "INSERT INTO " : "SELECT v FROM ");
	put_text(t, o->keyspace);
	put_text(t, is_write ? ".t (k, v) VALUES ('" : ".t WHERE k = '");
	put_key(t);
	if (is_write) {
		put_text(t, "', '");
		put_value(t, o->value_len);
	}
	put_text(t, is_write ? "')" : "'");
	put_u32(t->frame.data + FRAME_HEAD_LEN, announced_length(t) - 4);
	put_parameters(t, (uint8_t)o->version, 0);
}

void template_make(struct template *t, enum form form, bool is_write, const struct prepared_ids *ids,
		   const struct options *o)
{
	const uint8_t version = (uint8_t)o->version;
	uint8_t opcode = OP_EXECUTE;

	*t = (struct template){ .gap_count = 0 };
	writer_reserve(&t->frame, FRAME_HEAD_LEN);
	if (form == FORM_SIMPLE) {
		opcode = OP_QUERY;
		make_query(t, is_write, o);
	} else if (form == FORM_BATCH && is_write) {
		opcode = OP_BATCH;
		make_batch(t, ids, version, o->value_len);
	} else {
		make_execute(t, is_write, ids, version, o->value_len);
	}
	frame_head_write(t->frame.data, false, version, 0, 0, opcode, announced_length(t));
}

static void fill(const struct template *t, uint64_t number, uint8_t *frame)
{
	uint8_t key[KEY_LEN];

	key_write(key, number);
	for (unsigned i = 0; i < t->gap_count; i++)
		memcpy(frame + t->gaps[i], key, KEY_LEN);
}

static void send_large(const struct template *t, uint64_t number, struct peer *p, int16_t stream)
{
	uint8_t frame[LARGE_MAX];
	uint32_t at = t->patterns[0];

	memcpy(frame, t->frame.data, t->frame.len);
	fill(t, number, frame);
	peer_copy(p, frame, at, stream);
	for (unsigned i = 0; i < t->pattern_count; i++) {
		const uint32_t end = i + 1 < t->pattern_count ? t->patterns[i + 1] : t->frame.len;

		peer_share(p, value_pattern(), t->pattern_len);
		memcpy(peer_room(p, end - at), frame + at, end - at);
		at = end;
	}
}

void template_send(const struct template *t, uint64_t number, struct peer *p, int16_t stream)
{
	if (unlikely(t->pattern_count > 0))
		send_large(t, number, p, stream);
	else
		fill(t, number, peer_copy(p, t->frame.data, t->frame.len, stream) - FRAME_HEAD_LEN);
}
