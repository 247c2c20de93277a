/* hash.c - see hash.h */
#include "hash.h"

#include <crypt.h>
#include <stdlib.h>
#include <string.h>

#include "vault.h"

#define SHA_ROUNDS_MIN 1000L
/* Larger numbers of rounds keep a thread for more than some seconds with one password. */
#define SHA_ROUNDS_MAX 5000000L
#define SHA_SALT_MAX 16
#define BCRYPT_COST_MAX 16

struct hash_room {
	struct vault *vault;
	struct crypt_data *data;
	bool has_failed; /* of the last one */
};

/* Those that are taken, and how long what stands behind the last '$' is. */
static const struct {
	const char *prefix;
	size_t length;
} methods[] = {
	{ "$y$", 43 }, { "$gy$", 43 }, { "$7$", 43 }, { "$2b$", 53 }, { "$6$", 86 }, { "$5$", 43 },
};
#define METHOD_COUNT (sizeof(methods) / sizeof(methods[0]))

/* What crypt(3) would fail about, or cut, only when it computes. */
static const char *sha_complaint(const char *hash)
{
	const char *salt = hash + 3;
	char *end;
	long rounds;

	if (strncmp(salt, "rounds=", 7) == 0) {
		rounds = strtol(salt + 7, &end, 10);
		if (rounds > SHA_ROUNDS_MAX)
			return "a hash of more than 5000000 rounds, which takes seconds";
		if (rounds < SHA_ROUNDS_MIN || salt[7] < '1' || salt[7] > '9' || *end != '$')
			return "a hash whose number of rounds is none; allowed: 1000 to 5000000";
		salt = end + 1;
	}
	return strcspn(salt, "$") > SHA_SALT_MAX ? "a hash with a salt longer than 16 characters" : NULL;
}

static const char *cost_complaint(const char *hash)
{
	if (strncmp(hash, "$2b$", 4) == 0 && strtol(hash + 4, NULL, 10) > BCRYPT_COST_MAX)
		return "a bcrypt hash of a cost above 16, which takes seconds";
	return hash[1] == '5' || hash[1] == '6' ? sha_complaint(hash) : NULL;
}

const char *hash_complaint(const char *hash)
{
	const char *last = strrchr(hash, '$');
	unsigned i = 0;

	while (i < METHOD_COUNT && strncmp(hash, methods[i].prefix, strlen(methods[i].prefix)) != 0)
		i++;
	if (i == METHOD_COUNT)
		return "no hash of a method that is taken; allowed: " HASH_METHODS
		       ", as mkpasswd and openssl passwd -6 write them";
	if (strlen(last + 1) != methods[i].length)
		return "a hash that is cut short or has something behind it";
	if (strlen(hash) >= CRYPT_OUTPUT_SIZE || crypt_checksalt(hash) == CRYPT_SALT_INVALID)
		return "a hash that crypt(3) of this system does not understand";
	return cost_complaint(hash);
}

struct hash_room *hash_room_new(void)
{
	struct hash_room *room = memory_new(1, sizeof(*room));

	room->vault = vault_new();
	room->data = vault_alloc(room->vault, sizeof(*room->data));
	return room;
}

void hash_room_free(struct hash_room *room)
{
	vault_free(room->vault);
	free(room);
}

/* Looks at all bytes, whatever they are. */
static bool are_equal(const char *a, const char *b, size_t length)
{
	unsigned char differs = 0;

	for (size_t i = 0; i < length; i++)
		differs |= (unsigned char)(a[i] ^ b[i]);
	return differs == 0;
}

bool hash_matches(struct hash_room *room, const char *hash, const char *password, size_t length)
{
	char *text = room->data->input;
	const bool is_usable = length < sizeof(room->data->input) && !memchr(password, '\0', length);
	const char *result;
	bool matches;

	if (is_usable)
		memcpy(text, password, length);
	text[is_usable ? length : 0] = '\0';
	/* Not crypt_r(), which sanitizers replace by what is not there when the plugin alone brings the library. */
	result = crypt_rn(text, hash, room->data, sizeof(*room->data));
	room->has_failed = !result || strlen(result) != strlen(hash);
	matches = result && strlen(result) == strlen(hash) && are_equal(result, hash, strlen(hash)) && is_usable;
	explicit_bzero(room->data, sizeof(*room->data));
	return matches;
}

bool hash_has_failed(const struct hash_room *room)
{
	return room->has_failed;
}
