/* memo.c - see memo.h */
#include "memo.h"

#include <stdlib.h>
#include <string.h>

/* In one block with the bytes of its key and the text. */
struct memo_entry {
	uint64_t hash;
	uint32_t fixed_size, texts_size;
	struct memo_piece piece;
	uint8_t bytes[];
};

/* The product of two halves, folded (as wyhash does). A key that spoils it costs its own lines the memory, no more. */
static inline uint64_t mix(uint64_t a, uint64_t b)
{
	const unsigned __int128 product = (unsigned __int128)a * b;

	return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static inline uint64_t word_at(const uint8_t *at)
{
	uint64_t word;

	memcpy(&word, at, sizeof(word));
	return word;
}

static inline uint64_t hash_bytes(uint64_t h, const uint8_t *at, uint32_t size)
{
	uint64_t a = 0, b = 0;

	h ^= size;
	for (; size >= 16; size -= 16, at += 16)
		h = mix(h ^ word_at(at), UINT64_C(0x9E3779B97F4A7C15) ^ word_at(at + 8));
	if (size > 8) {
		a = word_at(at);
		b = word_at(at + size - 8);
	} else {
		memcpy(&a, at, size);
	}
	return mix(h ^ a, UINT64_C(0xD1B54A32D192ED03) ^ b);
}

static inline bool is_key(const struct memo_entry *e, uint64_t hash, const struct memo_key *key)
{
	return e && e->hash == hash && e->fixed_size == key->fixed_size && e->texts_size == key->texts_size &&
	       memcmp(e->bytes, key->fixed, key->fixed_size) == 0 &&
	       (key->texts_size == 0 || memcmp(e->bytes + key->fixed_size, key->texts, key->texts_size) == 0);
}

/* In place of the one at `place`; those before it move up by one. */
static void put_first(struct memo_set *set, struct memo_entry *e, unsigned place)
{
	for (unsigned i = place; i > 0; i--)
		set->ways[i] = set->ways[i - 1];
	set->ways[0] = e;
}

const struct memo_piece *memo_find(struct memo *m, const struct memo_key *key)
{
	uint64_t hash = hash_bytes(0, key->fixed, key->fixed_size);
	struct memo_set *set;

	if (!key->is_fixed_telling)
		hash = hash_bytes(hash, key->texts, key->texts_size);
	m->hash = hash;
	if (__builtin_expect(!m->sets, 0))
		return NULL;
	set = &m->sets[hash % MEMO_SETS];
	if (__builtin_expect(is_key(set->ways[0], hash, key), 1))
		return &set->ways[0]->piece;
	for (unsigned i = 1; i < MEMO_WAYS; i++)
		if (is_key(set->ways[i], hash, key)) {
			put_first(set, set->ways[i], i);
			return &set->ways[0]->piece;
		}
	return NULL;
}

static struct memo_entry *make(uint64_t hash, const struct memo_key *key, const struct memo_piece *piece)
{
	const size_t key_size = (size_t)key->fixed_size + key->texts_size;
	struct memo_entry *e;

	if (key_size + piece->size > MEMO_PIECE_MAX)
		return NULL;
	e = malloc(sizeof(*e) + key_size + piece->size);
	if (!e)
		return NULL;
	e->hash = hash;
	e->fixed_size = key->fixed_size;
	e->texts_size = key->texts_size;
	memcpy(e->bytes, key->fixed, key->fixed_size);
	if (key->texts_size > 0)
		memcpy(e->bytes + key->fixed_size, key->texts, key->texts_size);
	memcpy(e->bytes + key_size, piece->text, piece->size);
	e->piece = *piece;
	e->piece.text = (const char *)e->bytes + key_size;
	return e;
}

void memo_keep(struct memo *m, const struct memo_key *key, const struct memo_piece *piece)
{
	const uint64_t hash = m->hash;
	struct memo_entry *e;
	struct memo_set *set;

	if (!m->sets)
		m->sets = calloc(MEMO_SETS, sizeof(*m->sets));
	if (!m->sets)
		return;
	set = &m->sets[hash % MEMO_SETS];
	if (set->candidate != hash) {
		set->candidate = hash;
		return;
	}
	e = make(hash, key, piece);
	if (!e)
		return;
	free(set->ways[MEMO_WAYS - 1]);
	put_first(set, e, MEMO_WAYS - 1);
}

void memo_fini(struct memo *m)
{
	for (unsigned i = 0; m->sets && i < MEMO_SETS * MEMO_WAYS; i++)
		free(m->sets[i / MEMO_WAYS].ways[i % MEMO_WAYS]);
	free(m->sets);
	m->sets = NULL;
}
