/*
 * memo.h - pieces of lines that were made before. Of equal bytes of a record
 * (the key) equal text is made, and most requests are equal in all but times
 * and numbers: what is remembered is copied.
 *
 * Bounded: at most MEMO_WAYS * MEMO_SETS pieces, of MEMO_PIECE_MAX bytes with
 * their keys. A piece is kept when its key comes the second time, so that texts which
 * come once only, with literals in them, push nothing out.
 */
#ifndef AUDIT_MEMO_H
#define AUDIT_MEMO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MEMO_SETS 256u
/* With two, three of 64 clients met in one set every other time, and took turns. */
#define MEMO_WAYS 4u
#define MEMO_PIECE_MAX 4096u

/* Bytes in two places; neither is modified. */
struct memo_key {
	const uint8_t *fixed, *texts;
	uint32_t fixed_size, texts_size;
	bool is_fixed_telling; /* keys that differ in `texts` only are rare: those are compared, and not hashed */
};

/* A piece, and what its maker has to know of it. */
struct memo_piece {
	const char *text;
	uint32_t size;
	uint32_t split; /* bytes of it that come before what is not remembered */
	uint32_t columns, split_columns;
};

struct memo_entry;

struct memo_set {
	uint64_t candidate;                 /* the hash of a key that has come once; 0: none */
	struct memo_entry *ways[MEMO_WAYS]; /* the one used last comes first; NULL: none */
};

/* Of one thread. Zeroed it is empty. */
struct memo {
	struct memo_set *sets;
	uint64_t hash; /* of the key that memo_find() has not found */
};

/* What is kept of this key, good until memo_keep(); NULL: nothing. */
const struct memo_piece *memo_find(struct memo *m, const struct memo_key *key);
/* After memo_find() has not found this key: `piece`, whose text is copied, is what it was to find. */
void memo_keep(struct memo *m, const struct memo_key *key, const struct memo_piece *piece);
void memo_fini(struct memo *m);

#endif
