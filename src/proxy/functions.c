/* functions.c - see functions.h */
#include "proxy/functions.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "base/log.h"
#include "cql/reader.h"

/* From 15 October 1582, where the time of UUIDs begins, to 1 January 1970, in 100 ns. */
#define UUID_EPOCH 0x01b21dd213814000ull
#define NS_PER_SECOND 1000000000ull
#define SECONDS_PER_DAY 86400

static void fill_random(void *out, size_t len)
{
	/* It can fail only on a kernel before 3.17, which has no such call. */
	if (getrandom(out, len, 0) != (ssize_t)len) {
		log_error("the system gives no random numbers");
		abort();
	}
}

void functions_init(struct function_source *f, unsigned worker)
{
	static uint8_t process_node[6];
	static bool has_node;
	uint16_t low;

	if (!has_node) { /* workers are made one after another, by the main thread */
		fill_random(process_node, sizeof(process_node));
		has_node = true;
	}
	memset(f, 0, sizeof(*f));
	memcpy(f->node, process_node, sizeof(f->node));
	f->node[0] |= 0x01;
	low = get_u16(f->node + 4) ^ (uint16_t)worker;
	put_u16(f->node + 4, low);
	fill_random(&f->clock_sequence, sizeof(f->clock_sequence));
}

static struct timespec wall_clock(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return now;
}

static void make_timeuuid(struct function_source *f, uint8_t out[16])
{
	const struct timespec now = wall_clock();
	uint64_t time = (uint64_t)now.tv_sec * (NS_PER_SECOND / 100) + (uint64_t)now.tv_nsec / 100 + UUID_EPOCH;

	/* Also when the clock is put back: nothing is given twice, and what was asked for later sorts later. */
	if (time <= f->last_time)
		time = f->last_time + 1;
	f->last_time = time;
	f->clock_sequence++;
	put_u32(out, (uint32_t)time);
	put_u16(out + 4, (uint16_t)(time >> 32));
	put_u16(out + 6, (uint16_t)(0x1000 | (time >> 48 & 0x0fff)));
	put_u16(out + 8, (uint16_t)(0x8000 | (f->clock_sequence & 0x3fff)));
	memcpy(out + 10, f->node, 6);
}

static void make_uuid(struct function_source *f, uint8_t out[16])
{
	if (f->random_left == 0) {
		fill_random(f->random, sizeof(f->random));
		f->random_left = sizeof(f->random);
	}
	f->random_left -= 16;
	memcpy(out, f->random + f->random_left, 16);
	out[6] = (uint8_t)(0x40 | (out[6] & 0x0f));
	out[8] = (uint8_t)(0x80 | (out[8] & 0x3f));
}

unsigned functions_value(struct function_source *f, enum rewrite_kind kind, uint8_t out[FUNCTION_VALUE_MAX])
{
	struct timespec now;

	switch (kind) {
	case REWRITE_TIMEUUID:
		make_timeuuid(f, out);
		return 16;
	case REWRITE_UUID:
		make_uuid(f, out);
		return 16;
	case REWRITE_TIMESTAMP:
		now = wall_clock();
		put_u64(out, (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000);
		return 8;
	case REWRITE_DATE:
		put_u32(out, (uint32_t)(wall_clock().tv_sec / SECONDS_PER_DAY) + 0x80000000u);
		return 4;
	case REWRITE_TIME:
		now = wall_clock();
		put_u64(out, (uint64_t)(now.tv_sec % SECONDS_PER_DAY) * NS_PER_SECOND + (uint64_t)now.tv_nsec);
		return 8;
	}
	return 0;
}

/* ---- as text ---- */

static unsigned format_uuid(const uint8_t v[16], char *out)
{
	static const char digits[] = "0123456789abcdef";
	unsigned n = 0;

	for (unsigned i = 0; i < 16; i++) {
		if (i == 4 || i == 6 || i == 8 || i == 10)
			out[n++] = '-';
		out[n++] = digits[v[i] >> 4];
		out[n++] = digits[v[i] & 15];
	}
	return n;
}

static unsigned format_date(const uint8_t v[4], char *out, size_t size)
{
	const time_t seconds = (time_t)(get_u32(v) - 0x80000000u) * SECONDS_PER_DAY;
	struct tm tm;

	gmtime_r(&seconds, &tm);
	return (unsigned)strftime(out, size, "'%Y-%m-%d'", &tm);
}

static unsigned format_time(const uint8_t v[8], char *out, size_t size)
{
	const uint64_t ns = get_u64(v);
	const unsigned seconds = (unsigned)(ns / NS_PER_SECOND);

	return (unsigned)snprintf(out, size, "'%02u:%02u:%02u.%09u'", seconds / 3600, seconds / 60 % 60, seconds % 60,
				  (unsigned)(ns % NS_PER_SECOND));
}

unsigned functions_literal(struct function_source *f, const struct rewrite_call *call, char out[FUNCTION_LITERAL_MAX])
{
	uint8_t value[FUNCTION_VALUE_MAX];
	unsigned n = 0;

	functions_value(f, call->kind, value);
	if (call->needs_cast)
		n = (unsigned)snprintf(out, FUNCTION_LITERAL_MAX, "(%s)", rewrite_type_name(call->kind));
	switch (call->kind) {
	case REWRITE_TIMEUUID:
	case REWRITE_UUID:
		n += format_uuid(value, out + n);
		break;
	case REWRITE_TIMESTAMP:
		n += (unsigned)snprintf(out + n, FUNCTION_LITERAL_MAX - n, "%llu", (unsigned long long)get_u64(value));
		break;
	case REWRITE_DATE:
		n += format_date(value, out + n, FUNCTION_LITERAL_MAX - n);
		break;
	case REWRITE_TIME:
		n += format_time(value, out + n, FUNCTION_LITERAL_MAX - n);
		break;
	}
	if (call->needs_blank)
		out[n++] = ' ';
	out[n] = '\0';
	return n;
}
