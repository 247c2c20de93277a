/* schema_change.c - see schema_change.h */
#include "cql/schema_change.h"

#include "cql/version.h"

#define KEYSPACE SV("KEYSPACE")

static struct bytesview rest_of(const struct reader *r)
{
	return (struct bytesview){ .p = r->p, .len = (uint32_t)reader_left(r) };
}

/* v2 names no target: an empty name stands for the keyspace. */
static void read_short_form(struct reader *r, struct schema_change *out)
{
	struct bytesview rest;

	out->keyspace = read_string(r);
	rest = rest_of(r);
	if (read_string(r).len == 0) {
		out->target = KEYSPACE;
	} else {
		out->target = SV("TABLE");
		out->rest = rest;
	}
}

static bool has_arguments(struct strview target)
{
	return sv_equal(target, SV("FUNCTION")) || sv_equal(target, SV("AGGREGATE"));
}

/* All of it is looked at, since drivers will have to read it. What another target has behind its name is dropped. */
static void read_long_form(struct reader *r, struct schema_change *out)
{
	out->target = read_string(r);
	out->keyspace = read_string(r);
	if (sv_equal(out->target, KEYSPACE))
		return;
	out->rest = rest_of(r);
	read_string(r);
	if (has_arguments(out->target)) {
		for (unsigned n = read_short(r); n > 0 && reader_ok(r); n--)
			read_string(r);
	}
	out->rest.len -= (uint32_t)reader_left(r);
}

bool schema_change_read(struct reader *r, uint8_t version, struct schema_change *out)
{
	*out = (struct schema_change){ .change = read_string(r) };
	if (version_has(version, VERSION_SHORT_HEAD))
		read_short_form(r, out);
	else
		read_long_form(r, out);
	return reader_ok(r) && out->change.len > 0 && out->target.len > 0;
}

bool schema_change_same_object(const struct schema_change *a, const struct schema_change *b)
{
	return sv_equal(a->keyspace, b->keyspace) && sv_equal(a->target, b->target) && a->rest.len == b->rest.len &&
	       (a->rest.len == 0 || memcmp(a->rest.p, b->rest.p, a->rest.len) == 0);
}

bool schema_change_equal(const struct schema_change *a, const struct schema_change *b)
{
	return sv_equal(a->change, b->change) && schema_change_same_object(a, b);
}

/* CASSANDRA-6307: v3 has types, CASSANDRA-7708: v4 has functions. */
static bool has_words_for(uint8_t version, struct strview target)
{
	if (sv_equal(target, KEYSPACE) || sv_equal(target, SV("TABLE")))
		return true;
	if (sv_equal(target, SV("TYPE")))
		return !version_has(version, VERSION_SHORT_HEAD);
	return version_has(version, VERSION_CUSTOM_PAYLOAD); /* v4 and up */
}

void schema_change_write_event(const struct schema_change *change, uint8_t version, struct writer *w)
{
	struct schema_change c = *change;

	if (!has_words_for(version, c.target)) {
		c.change = SV("UPDATED");
		c.target = KEYSPACE;
		c.rest.len = 0;
	}
	write_cstring(w, "SCHEMA_CHANGE");
	write_string(w, c.change);
	if (!version_has(version, VERSION_SHORT_HEAD))
		write_string(w, c.target);
	write_string(w, c.keyspace);
	if (c.rest.len > 0)
		write_raw(w, c.rest.p, c.rest.len);
	else if (version_has(version, VERSION_SHORT_HEAD))
		write_cstring(w, "");
}
