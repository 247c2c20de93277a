/*
 * rewritten.c - what becomes of CQL texts whose function calls are replaced, to be shown to Cassandra's own parser.
 *
 * Standard input as for classify.c. Standard output: for each text one line of five columns,
 *
 *     calls markers positions prepared literal
 *
 * the numbers of calls found and of bind markers of the client, the positions of our markers among all of them, separated
 * by commas, the text as PREPARE is sent, and as QUERY is sent, in hexadecimal; "-" where there are no calls.
 */
#include <stdio.h>
#include <stdlib.h>

#include "proxy/functions.h"

static struct function_source source;

static void print_hex(const char *p, size_t len)
{
	for (size_t i = 0; i < len; i++)
		printf("%02x", (uint8_t)p[i]);
}

static void print_positions(struct strview text)
{
	struct rewrite rw;
	struct rewrite_call call;
	uint32_t index = 0;

	rewrite_start(&rw, text);
	for (; rewrite_next(&rw, &call); index++)
		printf("%s%u", index ? "," : " ", call.markers_before + index);
}

static void print_text(struct strview text, const struct rewrite_facts *facts, bool is_prepared)
{
	struct rewrite rw;
	struct rewrite_call call;
	unsigned index = 0;
	size_t at = 0;

	putchar(' ');
	rewrite_start(&rw, text);
	while (rewrite_next(&rw, &call)) {
		char with[FUNCTION_LITERAL_MAX];
		unsigned len = is_prepared ? rewrite_marker(&call, facts->has_named_markers, index++, with)
					   : functions_literal(&source, &call, with);

		print_hex(text.p + at, call.offset - at);
		print_hex(with, len);
		at = call.offset + call.len;
	}
	print_hex(text.p + at, text.len - at);
}

static void show(struct strview text)
{
	struct rewrite_facts facts;

	if (rewrite_scan(text, &facts) != REWRITE_CALLS) {
		puts("0 0 - - -");
		return;
	}
	printf("%u %u", facts.calls, facts.markers);
	print_positions(text);
	print_text(text, &facts, true);
	print_text(text, &facts, false);
	putchar('\n');
}

int main(void)
{
	size_t len;

	functions_init(&source, 0);
	while (scanf("%zu", &len) == 1) {
		/* Of exactly that size, so that the address sanitizer sees a read behind the text. */
		char *text = malloc(len);

		if ((!text && len > 0) || getchar() != '\n' || fread(text, 1, len, stdin) != len) {
			fprintf(stderr, "rewritten: the input ends within a text of %zu bytes\n", len);
			free(text);
			return 1;
		}
		show((struct strview){ text, len });
		free(text);
	}
	return 0;
}
