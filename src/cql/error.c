/* error.c - ERROR bodies of our own. */
#include "cql/error.h"

#include "cql/version.h"

void error_write(struct writer *w, enum cql_error_code code, struct strview text)
{
	write_int(w, code);
	write_string(w, text);
}

void error_write_unavailable(struct writer *w, struct strview text, uint16_t consistency, uint32_t required,
			     uint32_t alive)
{
	error_write(w, CQL_ERR_UNAVAILABLE, text);
	write_short(w, consistency);
	write_int(w, required);
	write_int(w, alive);
}

void error_write_read_timeout(struct writer *w, struct strview text, uint16_t consistency, uint32_t received,
			      uint32_t block_for, bool data_present)
{
	error_write(w, CQL_ERR_READ_TIMEOUT, text);
	write_short(w, consistency);
	write_int(w, received);
	write_int(w, block_for);
	write_byte(w, data_present);
}

void error_write_write_timeout(struct writer *w, struct strview text, uint16_t consistency, uint32_t received,
			       uint32_t block_for, const char *write_type, uint8_t version)
{
	error_write(w, CQL_ERR_WRITE_TIMEOUT, text);
	write_short(w, consistency);
	write_int(w, received);
	write_int(w, block_for);
	write_cstring(w, write_type);
	/* The number of contentions, which nobody but the coordinator knows. */
	if (version_has(version, VERSION_CONTENTIONS) && strcmp(write_type, "CAS") == 0)
		write_short(w, 0);
}

void error_write_unprepared(struct writer *w, struct bytesview id)
{
	static const char digits[] = "0123456789abcdef";
	static const char before[] = "Prepared query with ID ";
	static const char after[] =
		" not found (it was never prepared here, or has been dropped since: prepare it again)";
	/* Ids are 16 bytes; of a made-up longer one the text shows no more than the beginning. */
	uint32_t shown = MIN(id.len, 64u);
	uint8_t *hex;

	write_int(w, CQL_ERR_UNPREPARED);
	write_short(w, (uint16_t)(sizeof(before) - 1 + 2 * shown + sizeof(after) - 1));
	write_raw(w, before, sizeof(before) - 1);
	hex = writer_reserve(w, 2 * shown);
	for (uint32_t i = 0; i < shown; i++) {
		*hex++ = (uint8_t)digits[id.p[i] >> 4];
		*hex++ = (uint8_t)digits[id.p[i] & 15];
	}
	write_raw(w, after, sizeof(after) - 1);
	write_short_bytes(w, id.p, (uint16_t)id.len);
}
