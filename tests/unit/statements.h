/* statements.h - reads tests/unit/vectors/statements.txt, whose head explains its columns. */
#ifndef TESTS_UNIT_STATEMENTS_H
#define TESTS_UNIT_STATEMENTS_H

#include "vectors.h"

struct statement_case {
	unsigned line;
	const char *kind;
	const char *keyspace;
	const char *table;
	const char *flags;
	const char *answered;
	const char *text; /* in a block of exactly its length: no NUL behind it that could stop a careless scanner */
	size_t text_len;
};

/* Calls back for each line; returns how many there were. */
static inline unsigned statements_each(void (*each)(const struct statement_case *c))
{
	FILE *f = vectors_open("statements.txt");
	char line[1024];
	unsigned count = 0;

	for (unsigned n = 1; fgets(line, sizeof(line), f); n++) {
		const char *fields[6];
		struct statement_case c;
		char *rest = line;

		rest[strcspn(rest, "\n")] = '\0';
		if (line[0] == '#' || line[0] == '\0')
			continue;
		for (unsigned i = 0; i < 5; i++) {
			fields[i] = strsep(&rest, "|");
			ck_assert_msg(rest != NULL, "statements.txt:%u: not six columns", n);
		}
		ck_assert_msg(strcmp(fields[4], "yes") == 0 || strcmp(fields[4], "no") == 0 ||
				      strcmp(fields[4], "-") == 0,
			      "statements.txt:%u: answered is yes, no or -", n);
		c = (struct statement_case){ .line = n,
					     .kind = fields[0],
					     .keyspace = fields[1],
					     .table = fields[2],
					     .flags = fields[3],
					     .answered = fields[4],
					     .text_len = strlen(rest) };
		c.text = (char *)exact_copy(rest, c.text_len);
		each(&c);
		free((void *)(uintptr_t)c.text);
		count++;
	}
	fclose(f);
	return count;
}

#endif
