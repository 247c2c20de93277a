/* lua_request.c - see lua_request.h */
#include "policy/lua_request.h"

#include <lauxlib.h>
#include <math.h>
#include <stdio.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/utf8.h"
#include "policy/lua_host.h"

#define BUCKETS_MAX 1000000000

static const struct {
	const char *word;
	enum cql_error_code code;
} codes[] = {
	{ "unauthorized", CQL_ERR_UNAUTHORIZED }, { "invalid", CQL_ERR_INVALID },
	{ "overloaded", CQL_ERR_OVERLOADED },     { "server_error", CQL_ERR_SERVER_ERROR },
	{ "config_error", CQL_ERR_CONFIG_ERROR }, { "syntax_error", CQL_ERR_SYNTAX_ERROR },
};

const char *lua_request_code_name(enum cql_error_code code)
{
	for (unsigned i = 0; i < ARRAY_LEN(codes); i++) {
		if (codes[i].code == code)
			return codes[i].word;
	}
	return NULL;
}

NORETURN static void refuse_use(lua_State *L, struct lua_host *host, const char *function)
{
	if (lua_touserdata(L, 1) != host->request_object)
		luaL_error(L, "%s() is called with a colon: %s()", function, function);
	luaL_error(L, "%s() was called when no hook runs: the request is gone when its hook has returned", function);
	__builtin_unreachable();
}

/* What each method begins with. */
static ALWAYS_INLINE struct lua_host *begin(lua_State *L, const char *function)
{
	struct lua_host *host = lua_host_of(L);

	if (unlikely(!host->question || lua_touserdata(L, 1) != host->request_object))
		refuse_use(L, host, function);
	return host;
}

/* The same for those that say what another request about the same statement may say differently. */
static ALWAYS_INLINE struct lua_host *begin_of_request(lua_State *L, const char *function)
{
	struct lua_host *host = begin(L, function);

	if (unlikely(host->hook->scope != SCOPE_REQUEST))
		lua_host_need_request_scope(L, host, function);
	return host;
}

static int push_word(lua_State *L, int ref)
{
	lua_rawgeti(L, LUA_REGISTRYINDEX, ref);
	return 1;
}

static int push_view(lua_State *L, struct strview text)
{
	if (text.len > 0)
		lua_pushlstring(L, text.p, text.len);
	else
		lua_pushnil(L);
	return 1;
}

/* ---- the statement ---- */

static int req_kind(lua_State *L)
{
	const struct lua_host *host = begin(L, "req:kind");

	return push_word(L, host->words.kinds[host->question->kind]);
}

static int req_verb(lua_State *L)
{
	const struct lua_host *host = begin(L, "req:verb");

	return push_word(L, host->words.verbs[host->question->verb]);
}

/* What is left of a name that does not fit may be that of another table: then none is known. */
static struct strview table_name(const struct statement_table *t)
{
	return t->table.is_cut ? (struct strview){ 0 } : statement_name_view(&t->table);
}

/* NULL where there are none, or several. */
static const struct statement_table *only_table(const struct lua_host *host)
{
	const struct statement_tables *t = host->question->tables;

	return t->count == 1 && !t->is_incomplete ? &t->items[0] : NULL;
}

/* The one that all of them are in; len 0 where they are in several, or are not known. */
static struct strview common_keyspace(const struct statement_tables *t)
{
	const struct strview first = t->count > 0 && !t->is_incomplete ? statement_name_view(&t->items[0].keyspace)
								       : (struct strview){ 0 };

	for (unsigned i = 1; first.len > 0 && i < t->count; i++) {
		if (!sv_equal(statement_name_view(&t->items[i].keyspace), first))
			return (struct strview){ 0 };
	}
	return first;
}

static int req_keyspace(lua_State *L)
{
	return push_view(L, common_keyspace(begin(L, "req:keyspace")->question->tables));
}

static int req_table(lua_State *L)
{
	const struct statement_table *t = only_table(begin(L, "req:table"));

	return push_view(L, t ? table_name(t) : (struct strview){ 0 });
}

/* "keyspace.table"; of a statement about a keyspace "keyspace.*", and where the keyspace is not known "table". */
static void push_both_names(lua_State *L, struct strview keyspace, struct strview table)
{
	char name[2 * STATEMENT_NAME_MAX + 2];
	size_t len = keyspace.len;

	memcpy(name, keyspace.p, len);
	if (keyspace.len > 0)
		name[len++] = '.';
	if (table.len == 0)
		table = SV("*");
	memcpy(name + len, table.p, table.len);
	lua_pushlstring(L, name, len + table.len);
}

/* Upvalues: the next one's index, and the call that the loop is in. */
static int next_table(lua_State *L)
{
	struct lua_host *host = lua_host_of(L);
	const unsigned i = (unsigned)lua_tointeger(L, lua_upvalueindex(1));
	const struct statement_table *t;

	if (!host->question || (double)host->asked != lua_tonumber(L, lua_upvalueindex(2)))
		return luaL_error(L, "an iterator of req:tables() was called when its hook had returned");
	if (i >= host->question->tables->count)
		return 0;
	t = &host->question->tables->items[i];
	lua_pushinteger(L, (lua_Integer)i + 1);
	lua_replace(L, lua_upvalueindex(1));
	push_both_names(L, statement_name_view(&t->keyspace), table_name(t));
	push_view(L, statement_name_view(&t->keyspace));
	push_view(L, table_name(t));
	return 3;
}

static int req_tables(lua_State *L)
{
	const struct lua_host *host = begin(L, "req:tables");

	lua_pushinteger(L, 0);
	lua_pushnumber(L, (double)host->asked);
	lua_pushcclosure(L, next_table, 2);
	return 1;
}

static int req_is_system(lua_State *L)
{
	lua_pushboolean(L, begin(L, "req:is_system")->question->is_system);
	return 1;
}

/* ---- the request ---- */

static int req_is_prepared(lua_State *L)
{
	lua_pushboolean(L, begin_of_request(L, "req:is_prepared")->question->is_prepared);
	return 1;
}

static int req_opcode(lua_State *L)
{
	const struct lua_host *host = begin_of_request(L, "req:opcode");
	const uint8_t opcode = host->question->opcode;

	return push_word(L, opcode == OP_EXECUTE ? host->words.execute
			    : opcode == OP_BATCH ? host->words.batch
						 : host->words.query);
}

static int req_consistency(lua_State *L)
{
	const struct lua_host *host = begin_of_request(L, "req:consistency");
	const uint16_t level = host->question->consistency;

	if (level < ARRAY_LEN(host->words.levels))
		return push_word(L, host->words.levels[level]);
	lua_pushnil(L); /* the clusters will refuse it */
	return 1;
}

static int req_size(lua_State *L)
{
	lua_pushinteger(L, (lua_Integer)begin_of_request(L, "req:size")->question->size);
	return 1;
}

/* Where its client is not known, a client of which nothing is known. */
static const struct policy_client *client_of(const struct lua_host *host)
{
	static const struct policy_client nobody;

	return host->question->client ? host->question->client : &nobody;
}

static int req_user(lua_State *L)
{
	return push_view(L, client_of(begin_of_request(L, "req:user"))->user);
}

static int req_client_addr(lua_State *L)
{
	return push_view(L, client_of(begin_of_request(L, "req:client_addr"))->address);
}

static int req_client_driver(lua_State *L)
{
	return push_view(L, client_of(begin_of_request(L, "req:client_driver"))->driver);
}

static int req_client_driver_version(lua_State *L)
{
	return push_view(L, client_of(begin_of_request(L, "req:client_driver_version"))->driver_version);
}

/* ---- buckets ---- */

static uint64_t bucket_count(lua_State *L, const char *function)
{
	const double n = lua_type(L, 2) == LUA_TNUMBER ? lua_tonumber(L, 2) : 0;

	if (!(n >= 1 && n <= BUCKETS_MAX) || n != floor(n))
		luaL_error(L, "%s(n): n is a whole number from 1 to %d", function, BUCKETS_MAX);
	return (uint64_t)n;
}

/* A token is even over the ring, but a node's share of it is not, nor are tokens % n of made-up keys: all bits of it
 * go into each bit of the result (the last step of MurmurHash3). Must never change: buckets are to stay. */
static uint64_t mix(uint64_t h)
{
	h ^= h >> 33;
	h *= UINT64_C(0xff51afd7ed558ccd);
	h ^= h >> 33;
	h *= UINT64_C(0xc4ceb9fe1a85ec53);
	return h ^ h >> 33;
}

static int req_key_bucket(lua_State *L)
{
	const struct policy_question *q = begin_of_request(L, "req:key_bucket")->question;
	const uint64_t n = bucket_count(L, "req:key_bucket");
	int64_t token;

	if (q->token && q->token(q->arg, &token))
		lua_pushinteger(L, (lua_Integer)(mix((uint64_t)token) % n));
	else
		lua_pushnil(L);
	return 1;
}

static int req_client_bucket(lua_State *L)
{
	const struct policy_client *c = client_of(begin_of_request(L, "req:client_bucket"));
	const uint64_t n = bucket_count(L, "req:client_bucket");
	const uint64_t h = XXH64(c->address.p, c->address.len, XXH64(c->user.p, c->user.len, 0));

	lua_pushinteger(L, (lua_Integer)(h % n));
	return 1;
}

/* ---- denials ---- */

/* Drivers take texts of the protocol for UTF-8, and some give the connection up when one is not. */
static void keep_text(struct lua_host *host, const char *text)
{
	char *out = host->denial_text, *const end = out + sizeof(host->denial_text) - 1;

	while (*text) {
		const unsigned n = utf8_length(text);

		if (out + MAX(n, 1) > end)
			break;
		if (n == 0)
			*out++ = '?';
		memcpy(out, text, n);
		out += n;
		text += MAX(n, 1);
	}
	*out = 0;
}

static int req_deny(lua_State *L)
{
	struct lua_host *host = begin(L, "req:deny");
	const char *word = lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : NULL;
	unsigned i = 0;

	while (word && i < ARRAY_LEN(codes) && strcmp(codes[i].word, word) != 0)
		i++;
	if (!word || i == ARRAY_LEN(codes))
		luaL_error(L,
			   "req:deny(code, ...): the code is one of unauthorized, invalid, overloaded, server_error, "
			   "config_error, syntax_error, not %s",
			   word ? word : luaL_typename(L, 2));
	if (lua_type(L, 3) != LUA_TSTRING)
		luaL_error(L, "req:deny(code, format, ...): the format is a string, not a %s", luaL_typename(L, 3));
	lua_host_format(L, host, 3, "req:deny");
	keep_text(host, lua_tostring(L, -1));
	host->denial = (struct policy_denial){ .code = codes[i].code, .text = host->denial_text };
	host->has_denial = true;
	lua_rawgeti(L, LUA_REGISTRYINDEX, host->denied);
	return 1;
}

/* ---- the object ---- */

static int ref_text(lua_State *L, const char *text)
{
	lua_pushstring(L, text);
	return luaL_ref(L, LUA_REGISTRYINDEX);
}

static void init_words(lua_State *L, struct lua_request_words *w)
{
	for (unsigned i = 0; i < ARRAY_LEN(w->kinds); i++)
		w->kinds[i] = ref_text(L, policy_kind_name(i));
	for (unsigned i = 0; i < ARRAY_LEN(w->verbs); i++)
		w->verbs[i] = ref_text(L, statement_kind_name(i));
	for (unsigned i = 0; i < ARRAY_LEN(w->levels); i++)
		w->levels[i] = ref_text(L, cql_consistency_name((uint16_t)i));
	w->query = ref_text(L, "QUERY");
	w->execute = ref_text(L, "EXECUTE");
	w->batch = ref_text(L, "BATCH");
	lua_getglobal(L, "string");
	lua_getfield(L, -1, "format");
	w->format = luaL_ref(L, LUA_REGISTRYINDEX);
	lua_pop(L, 1);
}

void lua_request_init(lua_State *L, struct lua_host *host)
{
	static const struct luaL_Reg methods[] = {
		{ "kind", req_kind },
		{ "verb", req_verb },
		{ "keyspace", req_keyspace },
		{ "table", req_table },
		{ "tables", req_tables },
		{ "opcode", req_opcode },
		{ "consistency", req_consistency },
		{ "user", req_user },
		{ "client_addr", req_client_addr },
		{ "client_driver", req_client_driver },
		{ "client_driver_version", req_client_driver_version },
		{ "is_prepared", req_is_prepared },
		{ "is_system", req_is_system },
		{ "size", req_size },
		{ "key_bucket", req_key_bucket },
		{ "client_bucket", req_client_bucket },
		{ "deny", req_deny },
		{ NULL, NULL },
	};
	static const struct luaL_Reg none[] = { { NULL, NULL } };

	init_words(L, &host->words);
	lua_host_push_meta(L, methods, "req");
	host->request_object = lua_host_push_object(L, LUA_OBJECT_REQUEST, 0);
	host->request = luaL_ref(L, LUA_REGISTRYINDEX);
	lua_host_push_meta(L, none, "denial");
	lua_host_push_object(L, LUA_OBJECT_DENIAL, 0);
	host->denied = luaL_ref(L, LUA_REGISTRYINDEX);
}
