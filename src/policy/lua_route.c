/* lua_route.c - see lua_route.h */
#include "policy/lua_route.h"

#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/names.h"
#include "policy/lua_host.h"
#include "policy/lua_list.h"

#define FUNCTION "proxy.route"
/* Those that proxy.route() has returned, by number, in the registry. */
#define OBJECTS "cqlferry.routes"
/* A day: longer ones are a mistake of units. */
#define TIMEOUT_MS_MAX 86400000
#define TAG_MAX 64

/* What a route is made of, for its name. */
struct recipe {
	struct policy_route route;
	enum cluster_id primary;
	const char *tag; /* NULL: none */
};

static const char *cluster_word(enum cluster_id cluster)
{
	return cluster == CLUSTER_ORIGIN ? "origin" : "target";
}

static void append_text(char *out, size_t size, const char *fmt, const char *value)
{
	const size_t n = strlen(out);

	snprintf(out + n, size - n, "%s", n > 0 ? ", " : "");
	snprintf(out + strlen(out), size - strlen(out), fmt, value);
}

/* "both (answer_from target, tag canary)": says all that differs from the plain route, so equal names are equal routes. */
static char *name_of(const struct recipe *r)
{
	const struct policy_route *route = &r->route;
	char more[256] = "", number[16];
	const char *to = route->to == TO_BOTH ? "both" : cluster_word(route->answer_from);

	if (route->to == TO_BOTH && route->answer_from != r->primary)
		append_text(more, sizeof(more), "answer_from %s", cluster_word(route->answer_from));
	if (route->mirror && route->answer_from == r->primary)
		to = "mirror";
	else if (route->mirror)
		append_text(more, sizeof(more), "%s", "mirror");
	if (route->consistency != POLICY_KEEP_LEVEL)
		append_text(more, sizeof(more), "consistency %s", cql_consistency_name(route->consistency));
	if (route->timeout_ms) {
		snprintf(number, sizeof(number), "%u", (unsigned)route->timeout_ms);
		append_text(more, sizeof(more), "timeout %s ms", number);
	}
	if (r->tag)
		append_text(more, sizeof(more), "tag %s", r->tag);
	return more[0] ? xasprintf("%s (%s)", to, more) : xstrdup(to);
}

/* The route that is so already, else a new one; NULL when there are too many. */
static const struct policy_route *intern(struct lua_routes *routes, const struct recipe *r)
{
	char *name = name_of(r);
	struct policy_route *route;

	for (unsigned i = 0; i < routes->count; i++) {
		if (strcmp(routes->items[i].name, name) == 0) {
			free(name);
			return &routes->items[i];
		}
	}
	if (routes->count == LUA_ROUTES_MAX) {
		free(name);
		return NULL;
	}
	route = &routes->items[routes->count++];
	*route = r->route;
	route->name = name;
	return route;
}

void lua_routes_init(lua_State *L, struct lua_host *host)
{
	static const char *const words[] = {
#define X(WORD, word) word,
		LUA_ROUTE_WORDS(X)
#undef X
	};
	const enum cluster_id primary = host->settings->primary;
	const struct policy_route plain[] = {
		{ .to = TO_ORIGIN, .answer_from = CLUSTER_ORIGIN },
		{ .to = TO_TARGET, .answer_from = CLUSTER_TARGET },
		{ .to = TO_BOTH, .answer_from = primary },
		{ .to = 1u << primary, .answer_from = primary, .mirror = true },
	};

	lua_newtable(L);
	lua_setfield(L, LUA_REGISTRYINDEX, OBJECTS);
	for (unsigned i = 0; i < LUA_ROUTE_WORD_COUNT; i++) {
		struct recipe r = { .route = plain[i], .primary = primary };

		r.route.consistency = POLICY_KEEP_LEVEL;
		(void)intern(&host->routes, &r);
		lua_pushstring(L, words[i]);
		host->routes.words[i] = lua_tostring(L, -1);
		(void)luaL_ref(L, LUA_REGISTRYINDEX);
	}
}

void lua_routes_fini(struct lua_routes *routes)
{
	for (unsigned i = 0; i < routes->count; i++)
		free((char *)(uintptr_t)routes->items[i].name);
	routes->count = 0;
}

const struct policy_route *lua_route_of(lua_State *L, const struct lua_host *host, int index)
{
	const struct lua_object *o;

	if (lua_type(L, index) == LUA_TSTRING) {
		const char *text = lua_tostring(L, index);

		for (unsigned i = 0; i < LUA_ROUTE_WORD_COUNT; i++) {
			if (text == host->routes.words[i])
				return &host->routes.items[i];
		}
		return NULL;
	}
	o = lua_host_object(L, index, LUA_OBJECT_ROUTE);
	return o ? &host->routes.items[o->number] : NULL;
}

/* ---- proxy.route{} ---- */

/* The text on top, which stays there; throws for other types, in which numbers are no texts. */
static const char *text_field(lua_State *L, const char *field)
{
	if (lua_type(L, -1) != LUA_TSTRING)
		luaL_error(L, FUNCTION ": %s has to be a string, not a %s", field, luaL_typename(L, -1));
	return lua_tostring(L, -1);
}

static void read_clusters(lua_State *L, struct recipe *r)
{
	const char *word;

	if (!lua_list_field(L, 1, "to"))
		luaL_error(L, FUNCTION ": to is missing: \"origin\", \"target\" or \"both\"");
	word = text_field(L, "to");
	r->route.answer_from = r->primary;
	if (strcmp(word, "both") == 0) {
		r->route.to = TO_BOTH;
	} else {
		if (strcmp(word, "origin") != 0 && strcmp(word, "target") != 0)
			luaL_error(L, FUNCTION ": to: '%s' is none of origin, target, both", word);
		r->route.answer_from = word[0] == 'o' ? CLUSTER_ORIGIN : CLUSTER_TARGET;
		r->route.to = (uint8_t)(1u << r->route.answer_from);
	}
	if (lua_list_field(L, 1, "answer_from")) {
		word = text_field(L, "answer_from");
		if (strcmp(word, "origin") != 0 && strcmp(word, "target") != 0)
			luaL_error(L, FUNCTION ": answer_from: '%s' is none of origin, target", word);
		r->route.answer_from = word[0] == 'o' ? CLUSTER_ORIGIN : CLUSTER_TARGET;
		if (!(r->route.to >> r->route.answer_from & 1))
			luaL_error(L, FUNCTION ": answer_from: %s does not get the request", word);
	}
	if (lua_list_field(L, 1, "mirror")) {
		if (!lua_isboolean(L, -1))
			luaL_error(L, FUNCTION ": mirror has to be true or false, not a %s", luaL_typename(L, -1));
		r->route.mirror = lua_toboolean(L, -1);
		if (r->route.mirror && r->route.to == TO_BOTH)
			luaL_error(L, FUNCTION ": mirror: with to = \"both\" no cluster is left for a copy");
	}
}

static void read_level(lua_State *L, struct recipe *r)
{
	static const char *const words[] = {
#define X(name, value) [value] = #name,
		CQL_CONSISTENCIES(X)
#undef X
	};
	const char *word;
	unsigned i = 0;

	r->route.consistency = POLICY_KEEP_LEVEL;
	if (!lua_list_field(L, 1, "consistency"))
		return;
	word = text_field(L, "consistency");
	while (i < ARRAY_LEN(words) && strcasecmp(words[i], word) != 0)
		i++;
	if (i == ARRAY_LEN(words))
		luaL_error(L,
			   FUNCTION ": consistency: '%s' is none of ANY, ONE, TWO, THREE, QUORUM, ALL, LOCAL_QUORUM, "
				    "EACH_QUORUM, LOCAL_ONE",
			   word);
	if (i == CL_SERIAL || i == CL_LOCAL_SERIAL)
		luaL_error(L, FUNCTION ": consistency: %s is for conditional statements, and those keep theirs", word);
	r->route.consistency = (uint16_t)i;
}

/* "500ms", "2s", "1m" */
static double text_ms(lua_State *L, const char *text)
{
	char *end;
	const double n = strtod(text, &end);

	while (*end == ' ')
		end++;
	if (end != text && (text[0] == '.' || (text[0] >= '0' && text[0] <= '9'))) {
		if (strcmp(end, "ms") == 0)
			return n;
		if (strcmp(end, "s") == 0)
			return n * 1000;
		if (strcmp(end, "m") == 0)
			return n * 60000;
	}
	luaL_error(L, FUNCTION ": timeout: '%s' is no duration like \"500ms\", \"2s\", \"1m\"", text);
	return 0;
}

static void read_timeout(lua_State *L, struct recipe *r)
{
	const char *field = "timeout_ms";
	double ms = 0;

	if (lua_list_field(L, 1, "timeout_ms")) {
		if (lua_type(L, -1) != LUA_TNUMBER)
			luaL_error(L, FUNCTION ": timeout_ms has to be a number, not a %s", luaL_typename(L, -1));
		ms = lua_tonumber(L, -1);
		if (lua_list_field(L, 1, "timeout"))
			luaL_error(L, FUNCTION ": timeout and timeout_ms are the same; one of them is enough");
	} else if (lua_list_field(L, 1, "timeout")) {
		field = "timeout";
		ms = text_ms(L, text_field(L, "timeout"));
	} else {
		return;
	}
	if (!(ms >= 1 && ms <= TIMEOUT_MS_MAX))
		luaL_error(L, FUNCTION ": %s: 1 ms to one day, not %f ms", field, ms);
	if (ms != (double)(uint32_t)ms)
		luaL_error(L, FUNCTION ": %s: a whole number of milliseconds, not %f", field, ms);
	r->route.timeout_ms = (uint32_t)ms;
}

static void read_tag(lua_State *L, struct lua_host *host, struct recipe *r)
{
	char labels[TAG_MAX + 16] = "";
	size_t len;

	if (!lua_list_field(L, 1, "tag"))
		return;
	r->tag = text_field(L, "tag");
	len = lua_objlen(L, -1);
	if (len < 1 || len > TAG_MAX ||
	    strspn(r->tag, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
			   "0123456789_-.:/") != len)
		luaL_error(L, FUNCTION ": tag: 1 to %d letters, digits and _-.:/", TAG_MAX);
	r->route.tag_name = names_keep(r->tag);
	if (!host->counters)
		return;
	counters_label(labels, sizeof(labels), "tag", r->tag);
	r->route.tag = (uint16_t)counters_register(host->counters, "policy_tagged_requests_total",
						   "Requests that a route of a script has given this tag", labels,
						   COUNTER_PLAIN);
	if (r->route.tag == 0)
		luaL_error(L, FUNCTION ": tag: there are too many counters of scripts");
}

/* One object for each: scripts may compare them. */
static void push_object(lua_State *L, const char *name, unsigned number)
{
	static const struct luaL_Reg none[] = { { NULL, NULL } };

	lua_getfield(L, LUA_REGISTRYINDEX, OBJECTS);
	lua_rawgeti(L, -1, (int)number + 1);
	if (!lua_isnil(L, -1))
		return;
	lua_pop(L, 1);
	lua_host_push_meta(L, none, name);
	lua_host_push_object(L, LUA_OBJECT_ROUTE, number);
	lua_pushvalue(L, -1);
	lua_rawseti(L, -3, (int)number + 1);
}

int lua_route_make(lua_State *L)
{
	static const char *const keys[] = { "to",         "answer_from", "mirror", "consistency",
					    "timeout_ms", "timeout",     "tag",    NULL };
	struct lua_host *host = lua_host_of(L);
	const struct policy_route *route;
	struct recipe r = { 0 };

	lua_vm_need_context(L, 1u << LUA_CONTEXT_LOAD, FUNCTION);
	if (!lua_istable(L, 1) || lua_gettop(L) != 1)
		luaL_error(L, FUNCTION " takes one table: " FUNCTION "{ to = \"target\", ... }");
	lua_host_check_keys(L, 1, FUNCTION, keys);
	r.primary = host->settings->primary;
	read_clusters(L, &r);
	read_level(L, &r);
	read_timeout(L, &r);
	read_tag(L, host, &r);
	route = intern(&host->routes, &r);
	if (!route)
		luaL_error(L, FUNCTION ": there are %d different routes already, and there cannot be more",
			   LUA_ROUTES_MAX);
	push_object(L, route->name, (unsigned)(route - host->routes.items));
	return 1;
}
