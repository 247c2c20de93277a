/* gzip.c - see gzip.h */
#include "control/gzip.h"

#include <ctype.h>
#include <event2/buffer.h>
#include <isa-l/igzip_lib.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* What incompressible data may grow by: 5 bytes for each stored block of 65535, head and trailer. */
#define OVERHEAD(len) ((len) / 1000 + 256)

/* "; q=0" with any number of zeros behind the point. */
static bool is_weight_zero(const char *p, const char *end)
{
	while (p < end && (*p == ';' || isspace((unsigned char)*p)))
		p++;
	if (end - p < 3 || (*p != 'q' && *p != 'Q') || p[1] != '=')
		return false;
	return strtod(p + 2, NULL) <= 0;
}

bool gzip_is_accepted(const char *accept_encoding)
{
	const char *p = accept_encoding;

	while (p && *p) {
		const char *end = p + strcspn(p, ",");
		size_t len;

		p += strspn(p, " \t");
		len = strcspn(p, " \t;,");
		if (len == 4 && strncasecmp(p, "gzip", 4) == 0)
			return !is_weight_zero(p + len, end);
		p = *end ? end + 1 : end;
	}
	return false;
}

static bool deflate(const uint8_t *in, uint32_t len, uint8_t *out, uint32_t room, uint32_t *written)
{
	struct isal_zstream stream;
	uint8_t *work = malloc(ISAL_DEF_LVL1_DEFAULT);
	bool ok;

	if (!work)
		return false;
	isal_deflate_stateless_init(&stream);
	stream.level = 1;
	stream.level_buf = work;
	stream.level_buf_size = ISAL_DEF_LVL1_DEFAULT;
	stream.gzip_flag = IGZIP_GZIP;
	stream.end_of_stream = 1;
	stream.next_in = (uint8_t *)(uintptr_t)in;
	stream.avail_in = len;
	stream.next_out = out;
	stream.avail_out = room;
	ok = isal_deflate_stateless(&stream) == COMP_OK;
	*written = stream.total_out;
	free(work);
	return ok;
}

struct evbuffer *gzip_compress(struct evbuffer *plain)
{
	const size_t len = evbuffer_get_length(plain);
	const uint8_t *in = evbuffer_pullup(plain, -1);
	struct evbuffer *out = evbuffer_new();
	struct evbuffer_iovec space;
	uint32_t written = 0;

	if (!out || !in || len > INT_MAX / 2 ||
	    evbuffer_reserve_space(out, (ev_ssize_t)(len + OVERHEAD(len)), &space, 1) != 1 ||
	    !deflate(in, (uint32_t)len, space.iov_base, (uint32_t)MIN(space.iov_len, (size_t)UINT32_MAX), &written)) {
		if (out)
			evbuffer_free(out);
		return NULL;
	}
	space.iov_len = written;
	evbuffer_commit_space(out, &space, 1);
	return out;
}
