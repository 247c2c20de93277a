/*
 * classify.c - what statement_scan() and statement_tables_scan() make of CQL texts, to be compared with what Cassandra's own parser makes of them.
 *
 * Standard input: for each text its length in bytes as a decimal number, a line feed, then the text. Standard output:
 * for each text one line of six columns,
 *
 *     kind keyspace table flags from tables
 *
 * names in hexadecimal ("-" for none, with "+" behind one that was cut), flags as in tests/unit/vectors/statements.txt
 * ("-" for none), the offset behind FROM of a SELECT, and all tables that it names, keyspace:table, separated by
 * commas ("-" for none), with a last one "..." when there may be others.
 */
#include "cql/statement_tables.h"

#include <stdio.h>
#include <stdlib.h>

static void print_name(char before, const struct statement_name *name)
{
	putchar(before);
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

static void print_tables(struct strview text, const struct statement_facts *facts)
{
	struct statement_tables tables = { .count = 0 };

	statement_tables_scan(text, facts, SV(""), &tables);
	for (unsigned i = 0; i < tables.count; i++) {
		print_name(i ? ',' : ' ', &tables.items[i].keyspace);
		print_name(':', &tables.items[i].table);
	}
	if (tables.is_incomplete)
		fputs(tables.count ? ",..." : " ...", stdout);
	else if (tables.count == 0)
		fputs(" -", stdout);
}

static void classify(struct strview text)
{
	struct statement_facts facts;

	statement_scan(text, &facts);
	fputs(statement_kind_name(facts.kind), stdout);
	print_name(' ', &facts.keyspace);
	print_name(' ', &facts.table);
	print_flags(&facts);
	printf(" %u", facts.from_offset);
	print_tables(text, &facts);
	putchar('\n');
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
