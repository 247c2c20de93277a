/* names.c - see names.h */
#include "base/names.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define SLOTS 4096

struct name {
	struct name *next;
	char text[];
};

static struct {
	pthread_mutex_t lock;
	unsigned count;
	struct name *slots[SLOTS];
} names = { .lock = PTHREAD_MUTEX_INITIALIZER };

/* FNV-1a, by its authors' reference constants. */
static uint32_t hash(const char *text)
{
	uint32_t h = 2166136261u;

	for (; *text; text++)
		h = (h ^ (uint8_t)*text) * 16777619u;
	return h;
}

static const char *find_or_add(const char *text)
{
	struct name **slot = &names.slots[hash(text) % SLOTS];
	const size_t size = strlen(text) + 1;
	struct name *n = *slot;

	while (n && strcmp(n->text, text) != 0)
		n = n->next;
	if (n)
		return n->text;
	if (names.count == NAMES_MAX)
		return "(too many names)";
	n = xmalloc(sizeof(*n) + size);
	memcpy(n->text, text, size);
	n->next = *slot;
	*slot = n;
	names.count++;
	return n->text;
}

const char *names_keep(const char *text)
{
	const char *kept;

	if (!text)
		return NULL;
	pthread_mutex_lock(&names.lock);
	kept = find_or_add(text);
	pthread_mutex_unlock(&names.lock);
	return kept;
}
