/*
 * classify.c - what statement_scan() makes of CQL texts, to be compared with what Cassandra's own parser makes of them.
 *
 * Standard input: for each text its length in bytes as a decimal number, a line feed, then the text. Standard output:
 * for each text one line of five columns,
 *
 *     kind keyspace table flags from
 *
 * names in hexadecimal ("-" for none, with "+" behind one that was cut), flags as in tests/unit/vectors/statements.txt
 * ("-" for none), and the offset behind FROM of a SELECT.
 */
#include "cql/statement.h"

#include <stdio.h>
#include <stdlib.h>

static void print_name(const struct statement_name *name)
{
	putchar(' ');
	if (name->len == 0)
		putchar('-');
	for (unsigned i = 0; i < name->len; i++)
		printf("%02x", (uint8_t)name->text[i]);
	if (name->is_cut)
		putchar('+');
}

static void print_flags(const struct statement_facts *f)
{
	char flags[5];
	size_t n = 0;

	if (f->is_qualified)
		flags[n++] = 'q';
	if (f->is_conditional)
		flags[n++] = 'c';
	if (f->is_counter_batch)
		flags[n++] = 'C';
	if (f->is_unlogged_batch)
		flags[n++] = 'U';
	flags[n] = '\0';
	printf(" %s", n > 0 ? flags : "-");
}

static void classify(struct strview text)
{
	struct statement_facts facts;

	statement_scan(text, &facts);
	fputs(statement_kind_name(facts.kind), stdout);
	print_name(&facts.keyspace);
	print_name(&facts.table);
	print_flags(&facts);
	printf(" %u\n", facts.from_offset);
}

int main(void)
{
	size_t len;

	while (scanf("%zu", &len) == 1) {
		/* Of exactly that size, so that the address sanitizer sees a read behind the text. */
		char *text = malloc(len);

		if ((!text && len > 0) || getchar() != '\n' || fread(text, 1, len, stdin) != len) {
			fprintf(stderr, "classify: the input ends within a text of %zu bytes\n", len);
			free(text);
			return 1;
		}
		classify((struct strview){ text, len });
		free(text);
	}
	return 0;
}
