/*
 * fuzz_rewrite.c - texts in which calls are replaced: what is found lies
 * inside the text, in order, and is a call; once all are replaced none is
 * found, and the client's markers are all still there.
 */
#include "cql/rewrite.h"
#include "fuzz.h"

static void check_call(struct strview text, const struct rewrite_call *call)
{
	const char *p = text.p + call->offset;

	CHECK(call->len >= 5 && call->offset <= text.len && call->len <= text.len - call->offset);
	CHECK(p[call->len - 1] == ')');
	CHECK(memchr(p, '(', call->len) != NULL);
	CHECK(memchr("nNuUcCsS\"", p[0], 9) != NULL);
	CHECK(rewrite_type_name(call->kind) != NULL);
}

/* The text with its calls replaced, malloc'd. */
static char *replaced(struct strview text, const struct rewrite_facts *facts, size_t *len)
{
	char *out = malloc(text.len + (size_t)facts->calls * REWRITE_MARKER_MAX + 1);
	struct rewrite rw;
	struct rewrite_call call;
	uint32_t at = 0;
	uint32_t markers = 0;
	unsigned index = 0;

	*len = 0;
	rewrite_start(&rw, text);
	while (rewrite_next(&rw, &call)) {
		check_call(text, &call);
		CHECK(call.offset >= at && call.markers_before >= markers && call.markers_before <= facts->markers);
		markers = call.markers_before;
		memcpy(out + *len, text.p + at, call.offset - at);
		*len += call.offset - at;
		*len += rewrite_marker(&call, facts->has_named_markers, index++, out + *len);
		at = call.offset + call.len;
	}
	CHECK(index == facts->calls);
	memcpy(out + *len, text.p + at, text.len - at);
	*len += text.len - at;
	return out;
}

static void try_text(struct strview text)
{
	struct rewrite_facts facts, after;
	struct rewrite rw;
	struct rewrite_call call;
	size_t len;
	char *out;

	if (rewrite_scan(text, &facts) != REWRITE_CALLS)
		return;
	CHECK(facts.calls > 0);
	out = replaced(text, &facts, &len);
	CHECK(rewrite_scan((struct strview){ out, len }, &after) == REWRITE_NONE);
	rewrite_start(&rw, (struct strview){ out, len });
	CHECK(!rewrite_next(&rw, &call));
	/* A type in front of the deepest call is one bracket more than the walk goes into. */
	CHECK(rw.is_broken || rw.markers == facts.markers + facts.calls);
	CHECK(!rw.is_broken || rw.depth == REWRITE_MAX_DEPTH);
	free(out);
}

/* Control bytes become words that matter, so that random input has calls in it. */
static const char *const words[32] = {
	[1] = "now()",     [2] = "uuid()",     [3] = "system.",     [4] = "VALUES (", [5] = "current_date ( )",
	[6] = ":a",        [7] = ":\"b\"",     [8] = "{",           [11] = "}",       [12] = "currentTimestamp()",
	[14] = "f(",       [15] = "[",         [16] = ":",          [17] = "/*",      [18] = "*/",
	[19] = "ks.now()", [20] = "\"now\"()", [21] = "-- now()\n", [22] = "?",       [23] = "'now()'",
};

static char *expand(const char *head, const uint8_t *data, size_t size, size_t *len)
{
	char *out = malloc(strlen(head) + size * 24 + 1);

	*len = (size_t)sprintf(out, "%s", head);
	for (size_t i = 0; i < size; i++) {
		if (data[i] < 32 && words[data[i]])
			*len += (size_t)sprintf(out + *len, "%s", words[data[i]]);
		else
			out[(*len)++] = (char)data[i];
	}
	return out;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const heads[] = { "", "INSERT INTO t (a) VALUES (", "UPDATE t SET a = " };

	for (size_t i = 0; i < sizeof(heads) / sizeof(heads[0]); i++) {
		size_t len;
		char *text = expand(heads[i], data, size, &len);
		char *exact = malloc(len ? len : 1); /* so that a byte too far is seen */

		memcpy(exact, text, len);
		try_text((struct strview){ exact, len });
		free(exact);
		free(text);
	}
	return 0;
}
