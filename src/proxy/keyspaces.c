/* keyspaces.c - see keyspaces.h */
#include "proxy/keyspaces.h"

#include <stdlib.h>
#include <string.h>

#include "cql/version.h"

static void keyspace_fini(struct keyspace_replication *k)
{
	for (unsigned i = 0; i < k->option_count; i++) {
		free(k->options[i].key);
		free(k->options[i].value);
	}
	free(k->options);
	free(k->keyspace);
	free(k->class);
}

/* The number or length in front of a part of a map: 2 bytes in v2 (native protocol v2, section 6), 4 later. */
static uint32_t read_size(struct reader *r, uint8_t version)
{
	return version_has(version, VERSION_SHORT_COLLECTIONS) ? read_short(r) : read_int(r);
}

static char *read_text(struct reader *r, uint8_t version)
{
	const struct strview text = reader_view(r, read_size(r, version));

	return reader_ok(r) ? xstrndup(text.p, text.len) : NULL;
}

static void add_option(struct keyspace_replication *k, char *key, char *value)
{
	if (strcmp(key, "class") == 0) {
		free(k->class);
		free(key);
		k->class = value;
		return;
	}
	k->options = xrealloc(k->options, (k->option_count + 1) * sizeof(*k->options));
	k->options[k->option_count++] = (struct replication_option){ .key = key, .value = value };
}

/* A map<text, text>. */
static bool read_replication(struct keyspace_replication *k, struct bytesview map, uint8_t version)
{
	struct reader r = reader_over(map.p, map.len);
	uint32_t count = read_size(&r, version);

	for (; count > 0 && reader_ok(&r); count--) {
		char *key = read_text(&r, version);
		char *value = read_text(&r, version);

		if (reader_ok(&r)) {
			add_option(k, key, value);
			continue;
		}
		free(key);
		free(value);
	}
	return reader_ok(&r);
}

bool keyspaces_add(struct topology *t, const struct rows *rows, uint8_t version)
{
	if (rows_find(rows, "keyspace_name") < 0 || rows_find(rows, "replication") < 0)
		return false;
	t->keyspaces = xrealloc(t->keyspaces, (t->keyspace_count + rows->row_count + 1) * sizeof(*t->keyspaces));
	for (uint32_t row = 0; row < rows->row_count && t->keyspace_count < KEYSPACES_MAX; row++) {
		const struct bytesview name = rows_value(rows, row, "keyspace_name");
		const struct bytesview map = rows_value(rows, row, "replication");
		struct keyspace_replication k = { .keyspace = NULL };

		if (name.is_null || map.is_null)
			continue;
		k.keyspace = xstrndup((const char *)name.p, name.len);
		if (read_replication(&k, map, version))
			t->keyspaces[t->keyspace_count++] = k;
		else
			keyspace_fini(&k);
	}
	return true;
}

static int compare(const void *a, const void *b)
{
	const struct keyspace_replication *x = a, *y = b;

	return strcmp(x->keyspace, y->keyspace);
}

void keyspaces_sort(struct topology *t)
{
	if (t->keyspace_count > 0)
		qsort(t->keyspaces, t->keyspace_count, sizeof(*t->keyspaces), compare);
}

const struct keyspace_replication *keyspaces_find(const struct topology *t, struct strview keyspace)
{
	unsigned from = 0, to = t->keyspace_count;

	while (from < to) {
		const unsigned middle = from + (to - from) / 2;
		const struct keyspace_replication *k = &t->keyspaces[middle];
		int order = strncmp(keyspace.p, k->keyspace, keyspace.len);

		if (order == 0 && k->keyspace[keyspace.len] == '\0')
			return k;
		if (order > 0)
			from = middle + 1;
		else
			to = middle;
	}
	return NULL;
}

void keyspaces_free(struct topology *t)
{
	for (unsigned i = 0; i < t->keyspace_count; i++)
		keyspace_fini(&t->keyspaces[i]);
	free(t->keyspaces);
	t->keyspaces = NULL;
	t->keyspace_count = 0;
}
