/* lua_hook.c - see lua_hook.h */
#include "policy/lua_hook.h"

#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>

#include "policy/lua_host.h"

#define ALL_KINDS ((1u << POLICY_KIND_COUNT) - 1)

static const char *const scope_words[] = { "table", "statement", "request", NULL };
static const char *const error_words[] = { "pass", "deny", NULL };

static const struct {
	const char *word;
	uint8_t opcode;
} opcode_words[] = { { "QUERY", OP_QUERY }, { "EXECUTE", OP_EXECUTE }, { "BATCH", OP_BATCH } };

/* ---- registration ---- */

void lua_hook_fini(struct lua_hook *hook)
{
	free(hook->name);
	free(hook->place);
	free(hook->what);
	free(hook->failed_text);
	lua_names_fini(&hook->keyspaces);
	lua_names_fini(&hook->tables);
	lua_names_fini(&hook->users);
	memset(hook, 0, sizeof(*hook));
}

static uint8_t kinds_read(lua_State *L, int index)
{
	const unsigned count = lua_list_push(L, index, "proxy.on_request: kinds");
	unsigned kinds = 0;

	for (unsigned i = 1; i <= count; i++) {
		const struct strview word = lua_list_word(L, i);
		unsigned kind = 0;

		while (kind < POLICY_KIND_COUNT && !sv_equal(word, sv_from(policy_kind_name(kind))))
			kind++;
		if (kind == POLICY_KIND_COUNT)
			luaL_error(L, "proxy.on_request: kinds: '%s' is none of read, write, schema, use, unknown",
				   word.p);
		kinds |= 1u << kind;
	}
	lua_pop(L, 1);
	return (uint8_t)kinds;
}

static uint16_t opcodes_read(lua_State *L, int index)
{
	const unsigned count = lua_list_push(L, index, "proxy.on_request: opcodes");
	unsigned opcodes = 0;

	for (unsigned i = 1; i <= count; i++) {
		const struct strview word = lua_list_word(L, i);
		unsigned o = 0;

		while (o < ARRAY_LEN(opcode_words) && !sv_equal_nocase(word, sv_from(opcode_words[o].word)))
			o++;
		if (o == ARRAY_LEN(opcode_words))
			luaL_error(L, "proxy.on_request: opcodes: '%s' is none of QUERY, EXECUTE, BATCH", word.p);
		opcodes |= 1u << opcode_words[o].opcode;
	}
	lua_pop(L, 1);
	return (uint16_t)opcodes;
}

static uint8_t word_read(lua_State *L, int index, const char *field, const char *const *words)
{
	const char *text = lua_type(L, index) == LUA_TSTRING ? lua_tostring(L, index) : NULL;
	unsigned i = 0;

	while (text && words[i] && strcmp(words[i], text) != 0)
		i++;
	if (!text || !words[i]) {
		const char *is = text ? lua_pushfstring(L, "'%s'", text) : luaL_typename(L, index);

		lua_pushstring(L, words[0]);
		for (i = 1; words[i]; i++)
			lua_pushfstring(L, "%s, %s", lua_tostring(L, -1), words[i]);
		luaL_error(L, "proxy.on_request: %s: %s is none of %s", field, is, lua_tostring(L, -1));
	}
	return (uint8_t)i;
}

/* Longer ones are cut in questions, and would never be found. */
static void names_check(lua_State *L, const struct lua_names *names, const char *field)
{
	for (unsigned i = 0; i < names->count; i++) {
		const struct strview name = names->items[i];
		const char *dot = memchr(name.p, '.', name.len);
		const size_t first = dot ? (size_t)(dot - name.p) : name.len;

		if (first > STATEMENT_NAME_MAX || name.len - first > STATEMENT_NAME_MAX + 1)
			luaL_error(L, "proxy.on_request: %s: '%s' has a name of more than %d bytes", field, name.p,
				   STATEMENT_NAME_MAX);
	}
}

static void filter_read(lua_State *L, struct lua_hook *hook)
{
	if (lua_list_field(L, 2, "kinds"))
		hook->kinds = kinds_read(L, -1);
	if (lua_list_field(L, 2, "opcodes"))
		hook->opcodes = opcodes_read(L, -1);
	if (lua_list_field(L, 2, "keyspaces"))
		lua_names_read(L, -1, "proxy.on_request: keyspaces", &hook->keyspaces);
	if (lua_list_field(L, 2, "tables"))
		lua_names_read(L, -1, "proxy.on_request: tables", &hook->tables);
	if (lua_list_field(L, 2, "users"))
		lua_names_read(L, -1, "proxy.on_request: users", &hook->users);
	names_check(L, &hook->keyspaces, "keyspaces");
	names_check(L, &hook->tables, "tables");
	for (unsigned i = 0; i < hook->tables.count; i++) {
		if (!memchr(hook->tables.items[i].p, '.', hook->tables.items[i].len))
			luaL_error(L, "proxy.on_request: tables: '%s' is not of the form keyspace.table",
				   hook->tables.items[i].p);
	}
}

static void options_read(lua_State *L, struct lua_hook *hook)
{
	static const char *const keys[] = { "kinds",   "keyspaces", "tables",   "users",
					    "opcodes", "scope",     "on_error", NULL };

	lua_host_check_keys(L, 2, "proxy.on_request", keys);
	filter_read(L, hook);
	if (lua_list_field(L, 2, "scope"))
		hook->scope = word_read(L, -1, "scope", scope_words);
	if (lua_list_field(L, 2, "on_error"))
		hook->denies = word_read(L, -1, "on_error", error_words) == 1;
	if (hook->scope != SCOPE_REQUEST && (hook->users.count > 0 || hook->opcodes != 0))
		luaL_error(L,
			   "proxy.on_request: %s: what a hook of scope \"%s\" says holds for all requests about the "
			   "%s, so it cannot depend on this; leave it out, or choose scope \"request\"",
			   hook->users.count > 0 ? "users" : "opcodes", scope_words[hook->scope],
			   scope_words[hook->scope]);
}

static void name_check(lua_State *L, const struct lua_host *host)
{
	size_t len;
	const char *name;

	if (lua_type(L, 1) != LUA_TSTRING)
		luaL_error(L, "proxy.on_request: the first argument is the hook's name, a string, not a %s",
			   luaL_typename(L, 1));
	name = lua_tolstring(L, 1, &len);
	if (len < 1 || len > LUA_HOOK_NAME_MAX)
		luaL_error(L, "proxy.on_request: a hook's name has 1 to %d characters, this one has %d",
			   LUA_HOOK_NAME_MAX, (int)len);
	for (size_t i = 0; i < len; i++) {
		if ((unsigned char)name[i] < 0x20 || (unsigned char)name[i] > 0x7e)
			luaL_error(L, "proxy.on_request: a hook's name has printable ASCII characters only");
	}
	if (strcmp(name, LUA_TICKS_LABEL) == 0)
		luaL_error(L, "proxy.on_request: '%s' is what ticks are counted as", name);
	for (unsigned i = 0; i < host->hook_count; i++) {
		if (strcmp(host->hooks[i].name, name) == 0)
			luaL_error(L, "proxy.on_request: there is a hook '%s' already, at %s", name,
				   host->hooks[i].place);
	}
}

/* What it counts and says, once all of it is known. */
static void prepare(struct lua_host *host, struct lua_hook *hook)
{
	char labels[LUA_HOOK_NAME_MAX * 2 + 16] = "";

	hook->what = xasprintf("hook '%s'", hook->name);
	hook->failed_text = xasprintf("denied: the hook '%s' failed", hook->name);
	hook->failed = (struct policy_denial){ .code = CQL_ERR_UNAUTHORIZED, .text = hook->failed_text };
	hook->fault.what = hook->what;
	hook->fault.place = hook->place;
	lua_fault_init(&hook->fault, host->counters, hook->name);
	if (!host->counters)
		return;
	counters_label(labels, sizeof(labels), "hook", hook->name);
	hook->calls = counters_register(host->counters, "policy_hook_calls_total", "Calls of a hook of a script",
					labels, COUNTER_PLAIN);
	hook->denials = counters_register(host->counters, "policy_denials_total",
					  "Requests that a hook of a script denied", labels, COUNTER_PLAIN);
	hook->time = counters_register(host->counters, "policy_hook_seconds_total",
				       "Time that a hook of a script took, by one call of 64", labels, COUNTER_SECONDS);
}

int lua_hook_register(lua_State *L)
{
	struct lua_host *host = lua_host_of(L);
	struct lua_hook *hook = &host->hooks[host->hook_count];

	lua_vm_need_context(L, 1u << LUA_CONTEXT_LOAD, "proxy.on_request");
	if (lua_gettop(L) == 2 && lua_isfunction(L, 2)) {
		lua_newtable(L);
		lua_insert(L, 2);
	}
	name_check(L, host);
	if (host->hook_count == POLICY_HOOKS_MAX)
		luaL_error(L, "proxy.on_request: there are %d hooks already, and there cannot be more",
			   POLICY_HOOKS_MAX);
	if (!lua_istable(L, 2))
		luaL_error(L, "proxy.on_request: the second argument is a table of options, not a %s",
			   luaL_typename(L, 2));
	if (!lua_isfunction(L, 3))
		luaL_error(L, "proxy.on_request: the last argument is the hook's function, not a %s",
			   luaL_typename(L, 3));
	if (lua_gettop(L) > 3)
		luaL_error(L, "proxy.on_request takes three arguments: name, options, function");
	lua_hook_fini(hook); /* of an attempt that failed and whose error the script caught */
	hook->kinds = ALL_KINDS;
	hook->scope = SCOPE_REQUEST;
	options_read(L, hook);
	lua_pushvalue(L, 3);
	hook->function = luaL_ref(L, LUA_REGISTRYINDEX);
	hook->name = xstrdup(lua_tostring(L, 1));
	hook->place = lua_host_place(L);
	prepare(host, hook);
	host->hook_count++;
	return 0;
}

/* ---- filters ---- */

static bool has_table_of(const struct lua_names *tables, struct strview keyspace)
{
	for (unsigned i = 0; i < tables->count; i++) {
		const struct strview t = tables->items[i];

		if (t.len > keyspace.len && t.p[keyspace.len] == '.' && sv_starts_with(t, keyspace))
			return true;
	}
	return false;
}

static bool names_table(const struct lua_hook *hook, const struct policy_question *q, const struct statement_table *t)
{
	const struct strview keyspace = statement_name_view(&t->keyspace);
	char name[2 * STATEMENT_NAME_MAX + 1];
	size_t len = keyspace.len;

	if (hook->keyspaces.count > 0 && !lua_names_has(&hook->keyspaces, keyspace))
		return false;
	if (hook->tables.count == 0)
		return true;
	/* DROP KEYSPACE is about all its tables. */
	if (t->table.len == 0)
		return q->kind == POLICY_SCHEMA && has_table_of(&hook->tables, keyspace);
	memcpy(name, keyspace.p, len);
	name[len++] = '.';
	memcpy(name + len, t->table.text, t->table.len);
	return lua_names_has(&hook->tables, (struct strview){ name, len + t->table.len });
}

bool lua_hook_is_about(const struct lua_hook *hook, const struct policy_question *q)
{
	if (!(hook->kinds >> q->kind & 1))
		return false;
	if (hook->keyspaces.count == 0 && hook->tables.count == 0)
		return true;
	for (unsigned i = 0; i < q->tables->count; i++) {
		if (names_table(hook, q, &q->tables->items[i]))
			return true;
	}
	/* It may be about one of them. */
	return q->kind == POLICY_UNKNOWN && hook->denies;
}

bool lua_hook_is_for(const struct lua_hook *hook, const struct policy_question *q)
{
	if (hook->opcodes && !(q->opcode < 16 && hook->opcodes >> q->opcode & 1))
		return false;
	return hook->users.count == 0 || (q->client && lua_names_has(&hook->users, q->client->user));
}

static void kinds_text(const struct lua_hook *hook, char *out, size_t size)
{
	size_t n = 0;

	for (unsigned kind = 0; kind < POLICY_KIND_COUNT && n < size; kind++) {
		if (hook->kinds >> kind & 1)
			n += (size_t)snprintf(out + n, size - n, "%s%s", n > 0 ? ", " : "", policy_kind_name(kind));
	}
}

static void opcodes_text(const struct lua_hook *hook, char *out, size_t size)
{
	size_t n = 0;

	for (unsigned o = 0; o < ARRAY_LEN(opcode_words) && n < size; o++) {
		if (hook->opcodes >> opcode_words[o].opcode & 1)
			n += (size_t)snprintf(out + n, size - n, "%s%s", n > 0 ? ", " : "", opcode_words[o].word);
	}
}

bool lua_hook_why_not(const struct lua_hook *hook, const struct policy_question *q, char *out, size_t size)
{
	struct lua_hook only = *hook;
	const char *field;
	char list[256] = "";

	only.tables.count = 0;
	if (!(hook->kinds >> q->kind & 1)) {
		field = "kinds";
		kinds_text(hook, list, sizeof(list));
	} else if (!lua_hook_is_about(&only, q)) {
		field = "keyspaces";
		lua_names_text(&hook->keyspaces, list, sizeof(list));
	} else if (!lua_hook_is_about(hook, q)) {
		field = "tables";
		lua_names_text(&hook->tables, list, sizeof(list));
	} else if (!lua_hook_is_for(hook, q)) {
		only = *hook;
		only.users.count = 0;
		field = lua_hook_is_for(&only, q) ? "users" : "opcodes";
		if (lua_hook_is_for(&only, q))
			lua_names_text(&hook->users, list, sizeof(list));
		else
			opcodes_text(hook, list, sizeof(list));
	} else {
		return false;
	}
	snprintf(out, size, "%s = %s", field, list);
	return true;
}

/* ---- asking ---- */

/* What the hook has returned, on top of the stack. False with the reason. */
static bool opinion_read(struct lua_host *host, struct lua_hook *hook, const struct policy_question *q,
			 struct policy_opinion *out, char *error, size_t error_size)
{
	lua_State *L = host->vm.L;

	*out = (struct policy_opinion){ .hook = (uint8_t)(hook - host->hooks) };
	if (lua_isnil(L, -1)) {
		if (likely(!host->has_denial))
			return true;
		/* It would let through what it was written to refuse. */
		snprintf(error, error_size, "it called req:deny() and returned nothing: 'return req:deny(...)'");
		return false;
	}
	out->route = lua_route_of(L, host, -1);
	if (likely(out->route != NULL)) {
		if (!out->route->mirror || q->kind == POLICY_READ)
			return true;
		snprintf(error, error_size, "it returned the route '%s', but only reads can be mirrored, not kind '%s'",
			 out->route->name, policy_kind_name(q->kind));
	} else if (lua_host_object(L, -1, LUA_OBJECT_DENIAL)) {
		if (host->has_denial) {
			out->denial = &host->denial;
			return true;
		}
		snprintf(error, error_size, "it returned what req:deny() had given for an earlier request");
	} else if (lua_type(L, -1) == LUA_TSTRING) {
		snprintf(error, error_size,
			 "it returned '%.64s', which is no route: \"origin\", \"target\", \"both\", \"mirror\"",
			 lua_tostring(L, -1));
	} else {
		snprintf(error, error_size,
			 "it returned a %s: nil, a route, or what req:deny() returns, is what a hook may return",
			 luaL_typename(L, -1));
	}
	out->route = NULL;
	return false;
}

static enum lua_hook_answer ask_once(struct lua_host *host, struct lua_hook *hook, const struct policy_question *q,
				     struct policy_opinion *out, char *error, size_t error_size)
{
	lua_State *L = host->vm.L;
	const uint64_t now_ns = lua_host_now(host);
	char message[LUA_VM_MESSAGE_SIZE];
	const bool is_read = error || lua_fault_may_log(&hook->fault, now_ns);
	enum lua_vm_end end;
	uint64_t began_ns;
	bool is_timed;

	message[0] = 0; /* the rest is not worth clearing for each request */
	lua_rawgeti(L, LUA_REGISTRYINDEX, hook->function);
	lua_rawgeti(L, LUA_REGISTRYINDEX, host->request);
	host->question = q;
	host->hook = hook;
	host->asked++;
	host->has_denial = false;
	is_timed = unlikely(hook->untimed++ % LUA_HOOK_TIMED == 0);
	began_ns = is_timed ? loop_clock_ns() : 0;
	end = lua_vm_call(&host->vm, LUA_CONTEXT_REQUEST, 1, 1, is_read ? message : NULL, sizeof(message));
	host->question = NULL;
	host->hook = NULL;
	if (host->counters)
		counters_add(host->counters, host->worker, hook->calls, 1);
	if (is_timed && host->counters)
		counters_add(host->counters, host->worker, hook->time,
			     (int64_t)(loop_clock_ns() - began_ns) * LUA_HOOK_TIMED);
	if (likely(end == LUA_VM_OK)) {
		const bool is_good = opinion_read(host, hook, q, out, message, sizeof(message));

		lua_pop(L, 1);
		if (likely(is_good))
			return out->route || out->denial ? LUA_HOOK_OPINION : LUA_HOOK_NOTHING;
		end = LUA_VM_ERROR;
	}
	*out = (struct policy_opinion){ 0 };
	if (error) {
		snprintf(error, error_size, "%s", message);
	} else {
		lua_fault_note(&hook->fault, host->counters, host->worker, end, message, host->fail_limit,
			       hook->denies ? "denies what it is asked about" : "asks it no more", now_ns);
		host->engine.is_outdated |= hook->fault.is_off;
	}
	return LUA_HOOK_ERROR;
}

/* As policy.c says it of batches whose plans are known by table. */
static void deny_conflict(struct lua_host *host, const struct statement_table *a, const struct policy_route *one,
			  const struct statement_table *b, const struct policy_route *other, struct policy_opinion *out)
{
	snprintf(host->denial_text, sizeof(host->denial_text),
		 "a batch cannot be routed whose tables are routed differently: %.*s.%.*s (%s), %.*s.%.*s (%s)",
		 SV_ARG(statement_name_view(&a->keyspace)), SV_ARG(statement_name_view(&a->table)), one->name,
		 SV_ARG(statement_name_view(&b->keyspace)), SV_ARG(statement_name_view(&b->table)), other->name);
	host->denial = (struct policy_denial){ .code = CQL_ERR_INVALID, .text = host->denial_text };
	*out = (struct policy_opinion){ .denial = &host->denial, .hook = POLICY_HOOKS_MAX };
}

/*
 * About each table for itself. A denial of one counts for all; otherwise those with a route have to agree, the request
 * goes one way. The others may go there by a rule: policy.c looks after that.
 */
static enum lua_hook_answer ask_of_tables(struct lua_host *host, struct lua_hook *hook, const struct policy_question *q,
					  struct policy_opinion *out, char *error, size_t error_size)
{
	const struct statement_table *first = NULL, *other = NULL;
	const struct policy_route *others_route = NULL;
	struct policy_opinion routed = { .hook = (uint8_t)(hook - host->hooks) };
	struct policy_question about = *q;
	struct policy_opinion opinion;
	struct statement_tables one;

	about.tables = &one;
	for (unsigned i = 0; i < q->tables->count; i++) {
		statement_tables_set(&one, &q->tables->items[i]);
		opinion = (struct policy_opinion){ 0 };
		if (lua_hook_is_about(hook, &about) &&
		    ask_once(host, hook, &about, &opinion, error, error_size) == LUA_HOOK_ERROR)
			return LUA_HOOK_ERROR;
		if (opinion.denial) {
			*out = opinion;
			return LUA_HOOK_OPINION;
		}
		if (!opinion.route)
			continue;
		if (!first) {
			first = &q->tables->items[i];
			routed.route = opinion.route;
		} else if (!other && opinion.route != routed.route) {
			other = &q->tables->items[i];
			others_route = opinion.route;
		}
		routed.tables |= UINT32_C(1) << i;
	}
	*out = routed;
	if (other)
		deny_conflict(host, first, routed.route, other, others_route, out);
	return out->route || out->denial ? LUA_HOOK_OPINION : LUA_HOOK_NOTHING;
}

enum lua_hook_answer lua_hook_ask(struct lua_host *host, struct lua_hook *hook, const struct policy_question *q,
				  struct policy_opinion *out, char *error, size_t error_size)
{
	*out = (struct policy_opinion){ 0 };
	if (unlikely(hook->scope == SCOPE_TABLE && q->tables->count > 1))
		return ask_of_tables(host, hook, q, out, error, error_size);
	return ask_once(host, hook, q, out, error, error_size);
}
