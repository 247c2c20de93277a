/*
 * vectors.h - reads the files of tests/unit/vectors for the unit tests.
 *
 * A .hex file: lines "name: bytes in hexadecimal", going on in lines that begin
 * with a tab; '#' begins a comment, blank lines mean nothing. Every vector is
 * handed out in a heap block of exactly its size, so that the address sanitizer
 * sees any read beyond it.
 */
#ifndef TESTS_UNIT_VECTORS_H
#define TESTS_UNIT_VECTORS_H

#include <check.h>
#include <ctype.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct vector {
	char name[64];
	uint8_t *data; /* malloc'ed; vector_free() */
	size_t len;
};

static inline void vector_free(struct vector *v)
{
	free(v->data);
	v->data = NULL;
}

/* A heap block of exactly n bytes with the same content. */
static inline uint8_t *exact_copy(const void *p, size_t n)
{
	uint8_t *copy = malloc(n);

	ck_assert(n == 0 || copy != NULL);
	if (n > 0)
		memcpy(copy, p, n);
	return copy;
}

/* A file of the vectors folder: automake tells the tests where the sources are; by hand they run from the top. */
static inline FILE *vectors_open(const char *file)
{
	const char *srcdir = getenv("srcdir");
	char path[1024];
	FILE *f;

	snprintf(path, sizeof(path), "%s/tests/unit/vectors/%s", srcdir ? srcdir : ".", file);
	f = fopen(path, "r");
	ck_assert_msg(f != NULL, "cannot open %s: run this from the top of the source tree or set srcdir", path);
	return f;
}

static inline int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return -1;
}

/* Appends the bytes that a line names. */
static inline void vector_append(struct vector *v, const char *p, unsigned line)
{
	for (; *p && *p != '#'; p++) {
		if (isspace((unsigned char)*p))
			continue;
		ck_assert_msg(hex_digit(p[0]) >= 0 && hex_digit(p[1]) >= 0, "line %u: bad hexadecimal", line);
		v->data = realloc(v->data, v->len + 1);
		ck_assert_ptr_nonnull(v->data);
		v->data[v->len++] = (uint8_t)(hex_digit(p[0]) << 4 | hex_digit(p[1]));
		p++;
	}
}

/* Calls back for each vector of the file, in order; returns how many there were. */
static inline unsigned vectors_each(const char *file, void (*each)(const struct vector *v, void *arg), void *arg)
{
	FILE *f = vectors_open(file);
	struct vector v = { .data = NULL };
	char text[4096];
	unsigned count = 0;

	for (unsigned line = 1; fgets(text, sizeof(text), f); line++) {
		char *colon = strchr(text, ':');

		ck_assert_msg(strchr(text, '\n') != NULL, "line %u of %s is too long", line, file);
		if (text[0] == '\t') {
			vector_append(&v, text, line);
			continue;
		}
		if (text[0] == '#' || text[0] == '\n')
			continue;
		ck_assert_msg(colon != NULL && colon - text < (long)sizeof(v.name), "line %u of %s: no name", line,
			      file);
		if (count++ > 0)
			each(&v, arg);
		vector_free(&v);
		v.len = 0;
		memcpy(v.name, text, (size_t)(colon - text));
		v.name[colon - text] = '\0';
		vector_append(&v, colon + 1, line);
	}
	fclose(f);
	if (count > 0)
		each(&v, arg);
	vector_free(&v);
	return count;
}

static inline void vector_keep(const struct vector *v, void *arg)
{
	struct vector *wanted = arg;

	if (strcmp(v->name, wanted->name) == 0) {
		ck_assert_msg(!wanted->data, "vector %s stands there twice", v->name);
		wanted->data = exact_copy(v->data, v->len);
		wanted->len = v->len;
	}
}

/* The vector of that name, which must exist. */
static inline struct vector vector_get(const char *file, const char *name)
{
	struct vector v = { .data = NULL };

	snprintf(v.name, sizeof(v.name), "%s", name);
	vectors_each(file, vector_keep, &v);
	ck_assert_msg(v.data != NULL, "no vector %s in %s", name, file);
	return v;
}

/* Runs the cases and gives the exit status for main(). */
static inline int run_tcase(const char *name, TCase *tcase)
{
	Suite *suite = suite_create(name);
	SRunner *runner;
	int failed;

	suite_add_tcase(suite, tcase);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

#endif
