/* startup.c - see startup.h */
#include "proxy/startup.h"

#include "cql/message.h"
#include "proxy/client.h"
#include "proxy/driver.h"

struct reading {
	struct startup *startup;
	struct strview compression;
	struct strview driver_name;
	struct strview driver_version;
};

static bool note_option(void *arg, struct strview key, struct strview value)
{
	struct reading *r = arg;

	if (sv_equal(key, SV("COMPRESSION"))) {
		r->compression = value;
		return true;
	}
	r->startup->option_count++;
	/* Native protocol v5, section 4.1.1: tables of COMPACT STORAGE are then seen with all their columns. */
	if (sv_equal(key, SV("NO_COMPACT")) && sv_equal_nocase(value, SV("true")))
		r->startup->is_peculiar = true;
	if (sv_equal(key, SV("DRIVER_NAME")))
		r->driver_name = value;
	else if (sv_equal(key, SV("DRIVER_VERSION")))
		r->driver_version = value;
	return true;
}

/* What the client asks for, checked; false after a refusal. */
static bool accept_compression(struct client *c, const struct frame *f, struct strview name,
			       enum cql_compression *compression)
{
	*compression = COMPRESSION_NONE;
	if (name.len > 0 && !compression_from_name(name, compression)) {
		client_refuse(c, f->stream, CLOSE_PROTOCOL, CQL_ERR_PROTOCOL_ERROR,
			      "unknown compression algorithm '%.*s'; known are lz4 and snappy", (int)MIN(name.len, 64),
			      name.p);
		return false;
	}
	if (version_has(f->version, VERSION_SEGMENTS) && *compression == COMPRESSION_SNAPPY) {
		client_refuse(c, f->stream, CLOSE_PROTOCOL, CQL_ERR_PROTOCOL_ERROR,
			      "protocol v5 has no snappy compression, use lz4");
		return false;
	}
	return true;
}

bool startup_read(struct startup *s, struct client *c, const struct frame *f)
{
	struct reading r = { .startup = s, .compression = SV(""), .driver_name = SV(""), .driver_version = SV("") };
	enum cql_compression compression;

	*s = (struct startup){ .compression = COMPRESSION_NONE };
	if ((f->flags & FRAME_COMPRESSED) || !message_each_option(f->body, f->length, note_option, &r)) {
		client_refuse(c, f->stream, CLOSE_PROTOCOL, CQL_ERR_PROTOCOL_ERROR,
			      f->flags & FRAME_COMPRESSED ? "STARTUP must not be compressed"
							  : "the body of STARTUP cannot be read");
		return false;
	}
	if (!accept_compression(c, f, r.compression, &compression))
		return false;
	s->compression = (uint8_t)compression;
	driver_put(&c->worker->drivers, c->driver);
	c->driver = driver_get(&c->worker->drivers, r.driver_name, r.driver_version);
	writer_init(&s->options);
	write_raw(&s->options, f->body, f->length);
	return true;
}

void startup_free(struct startup *s)
{
	writer_free(&s->options);
	*s = (struct startup){ 0 };
}

void startup_move(struct startup *to, struct startup *from)
{
	*to = *from;
	*from = (struct startup){ 0 };
}

static bool copy_option(void *arg, struct strview key, struct strview value)
{
	struct writer *w = arg;

	if (!sv_equal(key, SV("COMPRESSION"))) {
		write_string(w, key);
		write_string(w, value);
	}
	return true;
}

void startup_write(const struct startup *s, enum cql_compression compression, struct writer *w)
{
	const bool compress = compression != COMPRESSION_NONE;
	bool could_read;

	write_short(w, (uint16_t)(s->option_count + compress));
	could_read = message_each_option(s->options.data, s->options.len, copy_option, w);
	Assert(could_read); /* as it could before */
	if (compress) {
		write_cstring(w, "COMPRESSION");
		write_cstring(w, cql_compression_name(compression));
	}
}
