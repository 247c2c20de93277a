/*
 * bundle.c - see bundle.h
 *
 * Whoever wrote the zip decides what it says about itself, so its own lengths
 * are believed nowhere: a member is read up to a limit of ours, however little
 * or much it promises to become.
 */
#include "proxy/bundle.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <zip.h>

#include "base/secret.h"

/* A certificate chain has some KiB. */
#define MEMBER_MAX (1024 * 1024)
/* A bundle has about 12 KiB; so large that there is room for members that we ignore. */
#define FILE_MAX (10 * MEMBER_MAX)

/* ---- members of the zip ---- */

static zip_t *open_zip(const char *path, char *error, size_t error_size)
{
	struct stat st;
	zip_t *zip;
	int code;

	if (stat(path, &st) != 0) {
		snprintf(error, error_size, "cannot open %s: %s", path, strerror(errno));
		return NULL;
	}
	if (!S_ISREG(st.st_mode)) {
		snprintf(error, error_size, "%s: not a file", path);
		return NULL;
	}
	if (st.st_size > FILE_MAX) {
		snprintf(error, error_size, "%s is too large for a secure connect bundle (over %d bytes)", path,
			 FILE_MAX);
		return NULL;
	}
	zip = zip_open(path, ZIP_RDONLY, &code);
	if (!zip) {
		zip_error_t reason;

		zip_error_init_with_code(&reason, code);
		snprintf(error, error_size, "%s: not a usable zip: %s", path, zip_error_strerror(&reason));
		zip_error_fini(&reason);
	}
	return zip;
}

/* Wiped, since it may be a key. */
static void drop_text(char *text, size_t len)
{
	if (text)
		explicit_bzero(text, len);
	free(text);
}

/* The whole of an open member, NUL-terminated; NULL with the reason in `error`. */
static char *read_all(zip_file_t *file, const char *path, const char *member, size_t *len, char *error,
		      size_t error_size)
{
	char *text = xmalloc(MEMBER_MAX + 1);
	zip_int64_t n = 0;

	*len = 0;
	do {
		*len += (size_t)n;
		n = zip_fread(file, text + *len, MEMBER_MAX + 1 - *len);
	} while (n > 0 && *len + (size_t)n <= MEMBER_MAX);
	if (n == 0 && *len > 0) {
		text[*len] = '\0';
		return text;
	}
	if (n < 0)
		snprintf(error, error_size, "%s: %s cannot be read: %s", path, member,
			 zip_error_strerror(zip_file_get_error(file)));
	else if (n > 0)
		snprintf(error, error_size, "%s: %s is too large (over %d bytes)", path, member, MEMBER_MAX);
	else
		snprintf(error, error_size, "%s: %s is empty", path, member);
	drop_text(text, MEMBER_MAX + 1);
	return NULL;
}

/* False with the reason in `error`. *text is NULL when there is no such member. */
static bool read_member(zip_t *zip, const char *path, const char *member, char **text, size_t *len, char *error,
			size_t error_size)
{
	/* An exact name, so only what stands at the root. */
	const zip_int64_t index = zip_name_locate(zip, member, 0);
	zip_file_t *file;

	*text = NULL;
	if (index < 0)
		return true;
	file = zip_fopen_index(zip, (zip_uint64_t)index, 0);
	if (!file) {
		snprintf(error, error_size, "%s: %s cannot be read: %s", path, member, zip_strerror(zip));
		return false;
	}
	*text = read_all(file, path, member, len, error, error_size);
	zip_fclose(file);
	return *text != NULL;
}

static bool read_pem(zip_t *zip, const char *path, const char *member, struct bundle_pem *out, char *error,
		     size_t error_size)
{
	char *large;

	if (!read_member(zip, path, member, &large, &out->len, error, error_size))
		return false;
	if (!large)
		return true;
	out->text = secret_strndup(large, out->len);
	drop_text(large, MEMBER_MAX + 1);
	out->name = xasprintf("%s: %s", path, member);
	return true;
}

static void pem_fini(struct bundle_pem *pem)
{
	secret_free(pem->text);
	free(pem->name);
}

/* ---- JSON ---- */

/* Letters, digits, dots, hyphens and, in addresses, colons: what may stand in a URL as it is. */
static bool is_host(const char *text, size_t len)
{
	static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.-_:";

	return len > 0 && len <= BUNDLE_HOST_MAX && strspn(text, allowed) >= len;
}

/* With brackets around an IPv6 address or without. */
static bool take_host(const char *text, size_t len, char out[BUNDLE_HOST_MAX + 1])
{
	if (len > 2 && text[0] == '[' && text[len - 1] == ']') {
		text++;
		len -= 2;
	}
	if (!is_host(text, len))
		return false;
	memcpy(out, text, len);
	out[len] = '\0';
	return true;
}

static bool take_port(const char *text, uint16_t *out)
{
	char *end;
	unsigned long port;

	if (*text < '0' || *text > '9')
		return false;
	port = strtoul(text, &end, 10);
	if (*end || port < 1 || port > 65535)
		return false;
	*out = (uint16_t)port;
	return true;
}

/* "host:port"; the port stands behind the last colon. */
static bool take_host_port(const char *text, char host[BUNDLE_HOST_MAX + 1], uint16_t *port)
{
	const char *colon = strrchr(text, ':');

	return colon && take_host(text, (size_t)(colon - text), host) && take_port(colon + 1, port);
}

/* An object, with a reference; NULL with the reason in `error`. */
static json_t *parse_object(const char *text, size_t len, char *error, size_t error_size)
{
	json_error_t reason;
	json_t *root = json_loadb(text, len, JSON_DECODE_ANY, &reason);

	if (!root) {
		snprintf(error, error_size, "malformed JSON in line %d: %s", reason.line, reason.text);
	} else if (!json_is_object(root)) {
		snprintf(error, error_size, "a JSON object is expected, not %s",
			 json_is_null(root) ? "null" : "another kind of value");
		json_decref(root);
		root = NULL;
	}
	return root;
}

/* A text that must be there; NULL with the reason in `error`. */
static const char *need_text(const json_t *object, const char *key, char *error, size_t error_size)
{
	const json_t *value = json_object_get(object, key);
	const char *text = json_string_value(value);

	if (!value || json_is_null(value))
		snprintf(error, error_size, "\"%s\" is missing", key);
	else if (!text)
		snprintf(error, error_size, "\"%s\" is not a text", key);
	else if (!*text)
		snprintf(error, error_size, "\"%s\" is empty", key);
	else
		return text;
	return NULL;
}

/* ---- config.json ---- */

static bool read_port(const json_t *root, uint16_t *out, char *error, size_t error_size)
{
	const json_t *value = json_object_get(root, "port");
	char number[32];
	const char *text;

	if (json_is_integer(value)) {
		snprintf(number, sizeof(number), "%lld", (long long)json_integer_value(value));
		text = number;
	} else {
		text = need_text(root, "port", error, error_size);
	}
	if (!text)
		return false;
	if (take_port(text, out))
		return true;
	snprintf(error, error_size, "\"port\" is %.40s; allowed: 1 to 65535", text);
	return false;
}

static bool parse_config(struct bundle *b, const char *text, size_t len, char *error, size_t error_size)
{
	json_t *root = parse_object(text, len, error, error_size);
	const char *host;
	bool ok = false;

	if (!root)
		return false;
	host = need_text(root, "host", error, error_size);
	if (host && !take_host(host, strlen(host), b->host))
		snprintf(error, error_size, "\"host\" is no host name: %.80s", host);
	else if (host)
		ok = read_port(root, &b->port, error, error_size);
	json_decref(root);
	return ok;
}

static bool read_config(struct bundle *b, zip_t *zip, char *error, size_t error_size)
{
	char why[256];
	size_t len;
	char *text;
	bool ok;

	if (!read_member(zip, b->path, "config.json", &text, &len, error, error_size))
		return false;
	if (!text) {
		snprintf(error, error_size, "%s: it has no member config.json", b->path);
		return false;
	}
	ok = parse_config(b, text, len, why, sizeof(why));
	if (!ok)
		snprintf(error, error_size, "%s: config.json: %s", b->path, why);
	drop_text(text, MEMBER_MAX + 1); /* newer bundles have passwords of their key stores in it */
	return ok;
}

/* ---- the bundle ---- */

static bool read_bundle(struct bundle *b, zip_t *zip, char *error, size_t error_size)
{
	if (!read_config(b, zip, error, error_size) || !read_pem(zip, b->path, "ca.crt", &b->ca, error, error_size) ||
	    !read_pem(zip, b->path, "cert", &b->cert, error, error_size) ||
	    !read_pem(zip, b->path, "key", &b->key, error, error_size))
		return false;
	if (!b->ca.text) {
		/* Trusting whatever authorities the system trusts instead is not what a bundle is for. */
		snprintf(error, error_size, "%s: it has no member ca.crt", b->path);
		return false;
	}
	if (!b->cert.text != !b->key.text) {
		snprintf(error, error_size, "%s: it has a member %s and no %s", b->path, b->cert.text ? "cert" : "key",
			 b->cert.text ? "key" : "cert");
		return false;
	}
	return true;
}

struct bundle *bundle_load(const char *path, char *error, size_t error_size)
{
	zip_t *zip = open_zip(path, error, error_size);
	struct bundle *b;

	if (!zip)
		return NULL;
	b = xcalloc(1, sizeof(*b));
	b->path = xstrdup(path);
	if (!read_bundle(b, zip, error, error_size)) {
		bundle_free(b);
		b = NULL;
	}
	zip_discard(zip);
	return b;
}

void bundle_free(struct bundle *b)
{
	if (!b)
		return;
	pem_fini(&b->ca);
	pem_fini(&b->cert);
	pem_fini(&b->key);
	free(b->path);
	free(b);
}

struct tls_options bundle_tls_options(const struct bundle *b)
{
	return (struct tls_options){
		.ca = b->ca.name,
		.cert = b->cert.name,
		.key = b->key.name,
		.ca_pem = { b->ca.text, b->ca.len },
		.cert_pem = { b->cert.text, b->cert.len },
		.key_pem = { b->key.text, b->key.len },
		.verify_name = true,
	};
}

/* ---- the answer of the metadata service ---- */

static bool read_nodes(const json_t *info, struct bundle_metadata *out, char *error, size_t error_size)
{
	const json_t *list = json_object_get(info, "contact_points");
	const size_t count = json_array_size(list);

	if (!json_is_array(list) || count == 0) {
		snprintf(error, error_size, "\"contact_info.contact_points\" is %s",
			 json_is_array(list)           ? "an empty list"
			 : !list || json_is_null(list) ? "missing"
						       : "not a list");
		return false;
	}
	if (count > BUNDLE_MAX_NODES) {
		snprintf(error, error_size, "\"contact_info.contact_points\" has %zu items; allowed: %d", count,
			 BUNDLE_MAX_NODES);
		return false;
	}
	out->nodes = xcalloc(count, sizeof(*out->nodes));
	for (size_t i = 0; i < count; i++) {
		const char *text = json_string_value(json_array_get(list, i));

		if (text && net_parse_node_id(text, out->nodes[i]))
			continue;
		snprintf(error, error_size, "item %zu of \"contact_info.contact_points\" is no host id (a UUID): %.80s",
			 i + 1, text ? text : "not a text");
		return false;
	}
	out->node_count = (unsigned)count;
	return true;
}

/* Optional: without it the datacenter of the node that answers counts, as without local_datacenter elsewhere. */
static bool read_datacenter(const json_t *info, struct bundle_metadata *out, char *error, size_t error_size)
{
	const json_t *value = json_object_get(info, "local_dc");
	const char *text = json_string_value(value);

	if (text && *text)
		out->datacenter = xstrdup(text);
	if (!value || json_is_null(value) || text)
		return true;
	snprintf(error, error_size, "\"contact_info.local_dc\" is not a text");
	return false;
}

static bool read_contact_info(const json_t *info, struct bundle_metadata *out, char *error, size_t error_size)
{
	const char *proxy;
	char why[128];

	if (!json_is_object(info)) {
		snprintf(error, error_size, "\"contact_info\" is %s",
			 !info || json_is_null(info) ? "missing" : "not an object");
		return false;
	}
	proxy = need_text(info, "sni_proxy_address", why, sizeof(why));
	if (!proxy) {
		snprintf(error, error_size, "in \"contact_info\": %s", why);
		return false;
	}
	if (!take_host_port(proxy, out->proxy_host, &out->proxy_port)) {
		snprintf(error, error_size, "\"contact_info.sni_proxy_address\" is not host:port: %.80s", proxy);
		return false;
	}
	return read_datacenter(info, out, error, error_size) && read_nodes(info, out, error, error_size);
}

bool bundle_metadata_parse(const char *json, size_t len, struct bundle_metadata *out, char *error, size_t error_size)
{
	json_t *root = parse_object(json, len, error, error_size);
	bool ok;

	*out = (struct bundle_metadata){ .nodes = NULL };
	if (!root)
		return false;
	ok = read_contact_info(json_object_get(root, "contact_info"), out, error, error_size);
	json_decref(root);
	if (!ok)
		bundle_metadata_fini(out);
	return ok;
}

void bundle_metadata_fini(struct bundle_metadata *m)
{
	free(m->datacenter);
	free(m->nodes);
	*m = (struct bundle_metadata){ .nodes = NULL };
}
