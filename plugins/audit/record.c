/* record.c - see record.h */
#include "record.h"

#include <string.h>

bool record_read(struct record_view *view, const uint8_t *bytes, uint32_t size)
{
	uint64_t at = sizeof(view->head);

	if (size < sizeof(view->head))
		return false;
	memcpy(&view->head, bytes, sizeof(view->head));
	/* Looked at once, at the end: until then these are numbers, and nobody follows them. */
	for (unsigned i = 0; i < RECORD_TEXTS; i++) {
		const uint32_t length = view->head.lengths[i];

		view->texts[i] = (struct cqlferry_text){ (const char *)((uintptr_t)bytes + at), length };
		at += length;
	}
	return at <= size;
}

struct cqlferry_text record_shorter(struct cqlferry_text text, uint32_t max)
{
	text.length = max;
	/* A byte 10xxxxxx behind the cut belongs to a character that begins before it. */
	for (unsigned i = 0; i < 3 && text.length > 0 && ((uint8_t)text.data[text.length] & 0xC0) == 0x80; i++)
		text.length--;
	return text;
}

void record_write(uint8_t *out, struct record *head, const struct record_client *client,
		  const struct cqlferry_text *texts)
{
	uint8_t *at = out + sizeof(*head);

	memcpy(head->lengths, client->lengths, sizeof(client->lengths));
	if (client->size > 0)
		memcpy(at, client->bytes, client->size);
	at += client->size;
	for (unsigned i = 0; i < RECORD_OWN_TEXTS; i++) {
		const uint32_t length = (uint32_t)texts[i].length;

		head->lengths[RECORD_CLIENT_TEXTS + i] = length;
		if (length == 0)
			continue;
		memcpy(at, texts[i].data, length);
		at += length;
	}
	memcpy(out, head, sizeof(*head));
}

static uint32_t put(uint8_t *out, uint32_t at, struct cqlferry_text text)
{
	if (text.length > 0)
		memcpy(out + at, text.data, text.length);
	return at + (uint32_t)text.length;
}

uint32_t record_tables(const struct cqlferry_table *tables, uint32_t count, uint8_t *out, uint32_t size, bool *more)
{
	uint32_t at = 0;

	for (uint32_t i = 0; i < count; i++) {
		const struct cqlferry_text keyspace = record_cut(tables[i].keyspace, 255);
		const struct cqlferry_text table = record_cut(tables[i].table, 255);

		if (i == RECORD_TABLES_MAX || size - at < 2 + keyspace.length + table.length) {
			*more = true;
			break;
		}
		out[at++] = (uint8_t)keyspace.length;
		out[at++] = (uint8_t)table.length;
		at = put(out, at, keyspace);
		at = put(out, at, table);
	}
	return at;
}

uint32_t record_value(uint8_t *out, uint32_t at, uint32_t size, const struct cqlferry_text *value, uint32_t max)
{
	uint32_t length = value->length > max ? max : (uint32_t)value->length;
	uint32_t word = value->length > max ? length | VALUE_CUT : length;

	if (!value->data) { /* null, unset; an empty value has data */
		length = 0;
		word = VALUE_NULL;
	}
	if (size - at < sizeof(word) + length)
		return 0;
	memcpy(out + at, &word, sizeof(word));
	if (length > 0)
		memcpy(out + at + sizeof(word), value->data, length);
	return at + (uint32_t)sizeof(word) + length;
}
