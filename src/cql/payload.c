/* payload.c - see payload.h */
#include "cql/payload.h"

bool payload_find(const uint8_t *body, uint32_t len, struct strview key, struct payload_entry *out)
{
	struct reader r = reader_over(body, len);

	*out = (struct payload_entry){ .value = { .is_null = true } };
	out->count = read_short(&r);
	for (uint16_t n = out->count; n > 0 && reader_ok(&r); n--) {
		struct strview name = read_string(&r);
		struct bytesview value = read_bytes(&r);

		if (!reader_ok(&r) || !sv_equal(name, key))
			continue;
		out->found++;
		out->value = value;
		out->value_offset = reader_offset(&r) - value.len;
	}
	return reader_ok(&r);
}

void payload_write_without(const uint8_t *body, uint32_t len, struct strview key, struct writer *w)
{
	struct reader r = reader_over(body, len);
	const uint32_t start = w->len;
	uint16_t kept = 0;

	write_short(w, 0);
	for (uint16_t n = read_short(&r); n > 0 && reader_ok(&r); n--) {
		const uint8_t *entry = r.p;
		struct strview name = read_string(&r);

		read_bytes(&r);
		if (!reader_ok(&r) || sv_equal(name, key))
			continue;
		write_raw(w, entry, (uint32_t)(r.p - entry));
		kept++;
	}
	put_u16(w->data + start, kept);
}
