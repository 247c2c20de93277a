/* driver.c - see driver.h */
#include "proxy/driver.h"

#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

struct driver {
	struct driver *next;
	uint64_t hash;
	uint32_t refs;
	uint8_t name_len;
	uint8_t version_len;
	char text[]; /* the name, a zero byte, the version, a zero byte */
};

static uint8_t clean(char *to, struct strview from)
{
	const size_t len = MIN(from.len, DRIVER_TEXT_MAX);

	for (size_t i = 0; i < len; i++)
		to[i] = from.p[i] < ' ' || from.p[i] > '~' ? '?' : from.p[i];
	to[len] = '\0';
	return (uint8_t)len;
}

struct driver *driver_get(struct drivers *drivers, struct strview name, struct strview version)
{
	char text[2 * (DRIVER_TEXT_MAX + 1)];
	const uint8_t name_len = clean(text, name);
	const uint8_t version_len = clean(text + name_len + 1, version);
	const size_t len = (size_t)name_len + version_len + 2;
	const uint64_t hash = XXH3_64bits(text, len);
	struct driver **slot = &drivers->slots[hash % DRIVER_SLOTS];
	struct driver *d = *slot;

	if (name_len == 0 && version_len == 0)
		return NULL;
	/* The zero byte between them makes equal texts equal pairs. */
	while (d &&
	       (d->hash != hash || (size_t)d->name_len + d->version_len + 2 != len || memcmp(d->text, text, len) != 0))
		d = d->next;
	if (!d) {
		d = xcalloc(1, sizeof(*d) + len);
		d->hash = hash;
		d->name_len = name_len;
		d->version_len = version_len;
		memcpy(d->text, text, len);
		d->next = *slot;
		*slot = d;
	}
	d->refs++;
	return d;
}

void driver_put(struct drivers *drivers, struct driver *d)
{
	struct driver **at;

	if (!d || --d->refs > 0)
		return;
	at = &drivers->slots[d->hash % DRIVER_SLOTS];
	while (*at != d)
		at = &(*at)->next;
	*at = d->next;
	free(d);
}

struct strview driver_name(const struct driver *d)
{
	return d ? (struct strview){ d->text, d->name_len } : SV("");
}

struct strview driver_version(const struct driver *d)
{
	return d ? (struct strview){ d->text + d->name_len + 1, d->version_len } : SV("");
}
