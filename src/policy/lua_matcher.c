/*
 * lua_matcher.c - see lua_matcher.h
 *
 * A pattern is matched by trying, from left to right and with a way back: what
 * may match more or fewer characters tries the rest of the pattern for each
 * number of them. The time can grow with a power of the subject's length, so
 * each try is a step, and steps are charged.
 */
#include "policy/lua_matcher.h"

#include <lauxlib.h>
#include <limits.h>
#include <string.h>

#include "base/common.h"
#include "policy/lua_vm.h"

/* Calls of match() within each other; a pattern that wants more is refused, as by LuaJIT. */
#define DEPTH_MAX 200
/* Steps that are charged together, and what one of them takes in nanoseconds. */
#define STEPS_AT_ONCE 2048
#define STEP_NS 3

/* In place of the length of a capture. */
#define CAPTURE_OPEN (-1)
#define CAPTURE_POSITION (-2)

struct matcher {
	lua_State *L;
	const char *subject;
	const char *subject_end;
	const char *pattern_end;
	uint32_t steps;
	int depth;
	int level; /* captures that have begun */
	struct {
		const char *start;
		ptrdiff_t len;
	} captures[LUA_MAXCAPTURES];
};

static const char *match(struct matcher *m, const char *s, const char *p);

static void charge_steps(struct matcher *m)
{
	uint32_t steps = m->steps;

	m->steps = 0;
	lua_vm_charge(m->L, steps > UINT32_MAX / STEP_NS ? UINT32_MAX : steps * STEP_NS);
}

static inline void step(struct matcher *m, size_t n)
{
	m->steps += (uint32_t)MIN(n, INT32_MAX);
	if (unlikely(m->steps >= STEPS_AT_ONCE))
		charge_steps(m);
}

/* ---- single characters ---- */

static bool is_in_range(unsigned char c, unsigned char low, unsigned char high)
{
	return c >= low && c <= high;
}

/* As the functions of ctype.h in the C locale; -1 when the letter is no class. */
static int is_of_lower_class(unsigned char c, unsigned char letter)
{
	bool is_letter = is_in_range(c | 0x20, 'a', 'z') && c < 128;
	bool is_digit = is_in_range(c, '0', '9');
	bool is_visible = is_in_range(c, 33, 126);

	switch (letter) {
	case 'a':
		return is_letter;
	case 'c':
		return c < 32 || c == 127;
	case 'd':
		return is_digit;
	case 'g':
		return is_visible;
	case 'l':
		return is_in_range(c, 'a', 'z');
	case 'p':
		return is_visible && !is_letter && !is_digit;
	case 's':
		return c == ' ' || is_in_range(c, '\t', '\r');
	case 'u':
		return is_in_range(c, 'A', 'Z');
	case 'w':
		return is_letter || is_digit;
	case 'x':
		return is_digit || is_in_range(c | 0x20, 'a', 'f');
	case 'z':
		return c == 0;
	default:
		return -1;
	}
}

/* What stands behind a '%': a class, its opposite in capitals, or the character itself. */
static bool is_of_class(unsigned char c, unsigned char letter)
{
	int is_in = is_in_range(letter | 0x20, 'a', 'z') ? is_of_lower_class(c, letter | 0x20) : -1;

	if (is_in < 0)
		return c == letter;
	return is_in_range(letter, 'A', 'Z') ? !is_in : is_in;
}

/* `p` is at the '[', `end` at the ']' of a set. */
static bool is_in_set(struct matcher *m, unsigned char c, const char *p, const char *end)
{
	bool if_found = p[1] != '^';

	step(m, (size_t)(end - p));
	for (p += if_found ? 1 : 2; p < end; p++) {
		if (*p == '%') {
			p++;
			if (is_of_class(c, (unsigned char)*p))
				return if_found;
		} else if (p[1] == '-' && p + 2 < end) {
			if (is_in_range(c, (unsigned char)p[0], (unsigned char)p[2]))
				return if_found;
			p += 2;
		} else if ((unsigned char)*p == c) {
			return if_found;
		}
	}
	return !if_found;
}

/* Behind the ']' of the set whose '[' is in front of `p`. */
static const char *set_end(struct matcher *m, const char *p)
{
	const char *begin = p;

	if (p < m->pattern_end && *p == '^')
		p++;
	do { /* a ']' right at the beginning stands for itself */
		if (p >= m->pattern_end)
			luaL_error(m->L, "malformed pattern (missing ']')");
		if (*p++ == '%' && p < m->pattern_end)
			p++;
	} while (p >= m->pattern_end || *p != ']');
	step(m, (size_t)(p - begin));
	return p + 1;
}

/* Behind the item for one character that begins at `p`. */
static const char *single_end(struct matcher *m, const char *p)
{
	char c = *p++;

	if (c == '[')
		return set_end(m, p);
	if (c != '%')
		return p;
	if (p >= m->pattern_end)
		luaL_error(m->L, "malformed pattern (ends with '%%')");
	return p + 1;
}

static bool is_single_match(struct matcher *m, const char *s, const char *p, const char *p_end)
{
	unsigned char c;

	if (s >= m->subject_end)
		return false;
	c = (unsigned char)*s;
	switch (*p) {
	case '.':
		return true;
	case '%':
		return is_of_class(c, (unsigned char)p[1]);
	case '[':
		return is_in_set(m, c, p, p_end - 1);
	default:
		return (unsigned char)*p == c;
	}
}

/* ---- items ---- */

/* As many as there are, then fewer. */
static const char *match_most(struct matcher *m, const char *s, const char *p, const char *p_end)
{
	ptrdiff_t n = 0;

	while (is_single_match(m, s + n, p, p_end)) {
		step(m, 1);
		n++;
	}
	for (; n >= 0; n--) {
		const char *end = match(m, s + n, p_end + 1);

		if (end)
			return end;
	}
	return NULL;
}

/* As few as will do. */
static const char *match_least(struct matcher *m, const char *s, const char *p, const char *p_end)
{
	for (;;) {
		const char *end = match(m, s, p_end + 1);

		if (end)
			return end;
		if (!is_single_match(m, s, p, p_end))
			return NULL;
		s++;
	}
}

/* %bxy, `p` behind the b. */
static const char *match_balance(struct matcher *m, const char *s, const char *p)
{
	const char *begin = s;
	int open = 1;

	if (m->pattern_end - p < 2)
		luaL_error(m->L, "unbalanced pattern");
	if (s >= m->subject_end || *s != p[0])
		return NULL;
	while (open > 0 && ++s < m->subject_end) {
		if (*s == p[1])
			open--;
		else if (*s == p[0])
			open++;
	}
	step(m, (size_t)(s - begin));
	return open == 0 ? s + 1 : NULL;
}

/* Whether a %f whose set is [p, p_end) matches at s: the character before is not in it, the one behind is. */
static bool is_frontier(struct matcher *m, const char *s, const char *p, const char *p_end)
{
	unsigned char before = s == m->subject ? 0 : (unsigned char)s[-1];
	unsigned char behind = s >= m->subject_end ? 0 : (unsigned char)*s;

	return !is_in_set(m, before, p, p_end - 1) && is_in_set(m, behind, p, p_end - 1);
}

static const char *begin_capture(struct matcher *m, const char *s, const char *p, ptrdiff_t what)
{
	const char *end;

	if (m->level >= LUA_MAXCAPTURES)
		luaL_error(m->L, "too many captures");
	m->captures[m->level].start = s;
	m->captures[m->level].len = what;
	m->level++;
	end = match(m, s, p);
	if (!end)
		m->level--;
	return end;
}

static const char *end_capture(struct matcher *m, const char *s, const char *p)
{
	int i = m->level - 1;
	const char *end;

	while (i >= 0 && m->captures[i].len != CAPTURE_OPEN)
		i--;
	if (i < 0)
		luaL_error(m->L, "invalid pattern capture");
	m->captures[i].len = s - m->captures[i].start;
	end = match(m, s, p);
	if (!end)
		m->captures[i].len = CAPTURE_OPEN;
	return end;
}

/* %1 to %9: what that capture has found, once more. Behind it, or NULL. */
static const char *match_capture(struct matcher *m, const char *s, char digit)
{
	int i = digit - '1';
	size_t len;

	if (i < 0 || i >= m->level || m->captures[i].len == CAPTURE_OPEN)
		luaL_error(m->L, "invalid capture index");
	/* That of a position is one of no length that fits nowhere. */
	if (m->captures[i].len < 0)
		return NULL;
	len = (size_t)m->captures[i].len;
	step(m, len / 16);
	if ((size_t)(m->subject_end - s) < len || memcmp(m->captures[i].start, s, len) != 0)
		return NULL;
	return s + len;
}

/* One character and what may stand behind it. True with *end when the rest has been tried; else it is to go on. */
static bool match_single(struct matcher *m, const char **s, const char **p, const char **end)
{
	const char *p_end = single_end(m, *p);
	char how = p_end < m->pattern_end ? *p_end : '\0';

	switch (how) {
	case '*':
		*end = match_most(m, *s, *p, p_end);
		return true;
	case '+':
		*end = is_single_match(m, *s, *p, p_end) ? match_most(m, *s + 1, *p, p_end) : NULL;
		return true;
	case '-':
		*end = match_least(m, *s, *p, p_end);
		return true;
	case '?':
		*end = is_single_match(m, *s, *p, p_end) ? match(m, *s + 1, p_end + 1) : NULL;
		if (*end)
			return true;
		*p = p_end + 1;
		return false;
	default:
		*end = NULL;
		if (!is_single_match(m, *s, *p, p_end))
			return true;
		(*s)++;
		*p = p_end;
		return false;
	}
}

/* What begins with '%' and is no single character. As match_single(); *is_mine false: it is one. */
static bool match_special(struct matcher *m, const char **s, const char **p, bool *is_mine)
{
	char c = *p + 1 < m->pattern_end ? (*p)[1] : '\0';
	const char *set = *p + 2;

	*is_mine = true;
	if (c == 'b') {
		*s = match_balance(m, *s, *p + 2);
		*p += 4;
		return !*s;
	}
	if (c == 'f') {
		if (set >= m->pattern_end || *set != '[')
			luaL_error(m->L, "missing '[' after '%%f' in pattern");
		*p = single_end(m, set);
		return !is_frontier(m, *s, set, *p);
	}
	if (is_in_range((unsigned char)c, '0', '9')) {
		*s = match_capture(m, *s, c);
		*p += 2;
		return !*s;
	}
	*is_mine = false;
	return false;
}

/* Where the match of the pattern's rest `p` ends that begins at s; NULL when there is none. */
static const char *match(struct matcher *m, const char *s, const char *p)
{
	const char *end = NULL;
	bool is_special;

	if (++m->depth > DEPTH_MAX)
		luaL_error(m->L, "pattern too complex");
	for (;;) {
		step(m, 1);
		if (p == m->pattern_end) {
			end = s;
			break;
		}
		if (*p == '(') {
			bool is_position = p + 1 < m->pattern_end && p[1] == ')';

			end = begin_capture(m, s, p + 1 + is_position, is_position ? CAPTURE_POSITION : CAPTURE_OPEN);
			break;
		}
		if (*p == ')') {
			end = end_capture(m, s, p + 1);
			break;
		}
		if (*p == '$' && p + 1 == m->pattern_end) {
			end = s == m->subject_end ? s : NULL;
			break;
		}
		if (*p == '%') {
			if (match_special(m, &s, &p, &is_special))
				break;
			if (is_special)
				continue;
		}
		if (match_single(m, &s, &p, &end))
			break;
	}
	m->depth--;
	return end;
}

/* Starts anew at s. */
static const char *match_at(struct matcher *m, const char *s, const char *p)
{
	m->level = 0;
	m->depth = 0;
	return match(m, s, p);
}

static void matcher_init(struct matcher *m, lua_State *L, int subject, int pattern)
{
	size_t len;

	m->L = L;
	m->steps = 0;
	m->subject = luaL_checklstring(L, subject, &len);
	m->subject_end = m->subject + len;
	m->pattern_end = luaL_checklstring(L, pattern, &len);
	m->pattern_end += len;
}

/* ---- captures ---- */

/* The whole match, [s, end), stands for the first capture where the pattern has none. */
static void push_capture(struct matcher *m, int i, const char *s, const char *end)
{
	if (i >= m->level) {
		if (i > 0)
			luaL_error(m->L, "invalid capture index");
		lua_pushlstring(m->L, s, (size_t)(end - s));
	} else if (m->captures[i].len == CAPTURE_OPEN) {
		luaL_error(m->L, "unfinished capture");
	} else if (m->captures[i].len == CAPTURE_POSITION) {
		lua_pushinteger(m->L, m->captures[i].start - m->subject + 1);
	} else {
		step(m, (size_t)m->captures[i].len / 16);
		lua_pushlstring(m->L, m->captures[i].start, (size_t)m->captures[i].len);
	}
}

/* With s NULL only those of the pattern. */
static int push_captures(struct matcher *m, const char *s, const char *end)
{
	int count = m->level == 0 && s ? 1 : m->level;

	luaL_checkstack(m->L, count, "too many captures");
	for (int i = 0; i < count; i++)
		push_capture(m, i, s, end);
	return count;
}

/* ---- find, match ---- */

/* The place that the argument `init` means, from 0 to len. */
static size_t start_of(lua_State *L, int index, size_t len)
{
	lua_Integer init = luaL_optinteger(L, index, 1);

	if (init < 0)
		init += (lua_Integer)len + 1;
	if (init < 1)
		init = 1;
	return MIN((size_t)init - 1, len);
}

static int push_place(lua_State *L, const char *subject, const char *s, const char *end)
{
	lua_pushinteger(L, s - subject + 1);
	lua_pushinteger(L, end - subject);
	return 2;
}

static int find_plain(struct matcher *m, const char *s, const char *pattern)
{
	size_t len = (size_t)(m->pattern_end - pattern);
	const char *found;

	/* memmem() goes through the subject once, whatever the needle. */
	lua_vm_charge(m->L, (uint32_t)MIN((size_t)(m->subject_end - s) + len, UINT32_MAX));
	found = len == 0 ? s : memmem(s, (size_t)(m->subject_end - s), pattern, len);
	if (found)
		return push_place(m->L, m->subject, found, found + len);
	lua_pushnil(m->L);
	return 1;
}

static bool has_special(const char *p, const char *end)
{
	while (p < end) {
		p += strcspn(p, "^$*+?.([%-");
		if (p < end && *p)
			return true;
		p++; /* behind a 0 */
	}
	return false;
}

static int find_or_match(lua_State *L, bool is_find)
{
	struct matcher m;
	const char *s, *p, *end;
	bool is_anchored;

	matcher_init(&m, L, 1, 2);
	s = m.subject + start_of(L, 3, (size_t)(m.subject_end - m.subject));
	p = lua_tostring(L, 2);
	if (is_find && (lua_toboolean(L, 4) || !has_special(p, m.pattern_end)))
		return find_plain(&m, s, p);
	is_anchored = p < m.pattern_end && *p == '^';
	p += is_anchored;
	do {
		end = match_at(&m, s, p);
		if (end && is_find) {
			(void)push_place(L, m.subject, s, end);
			return 2 + push_captures(&m, NULL, NULL);
		}
		if (end)
			return push_captures(&m, s, end);
	} while (s++ < m.subject_end && !is_anchored);
	lua_pushnil(L);
	return 1;
}

static int string_find(lua_State *L)
{
	return find_or_match(L, true);
}

static int string_match(lua_State *L)
{
	return find_or_match(L, false);
}

/* ---- gmatch ---- */

/* Upvalues: the subject, the pattern, where to go on. */
static int gmatch_next(lua_State *L)
{
	struct matcher m;
	const char *s, *p, *end;

	matcher_init(&m, L, lua_upvalueindex(1), lua_upvalueindex(2));
	p = lua_tostring(L, lua_upvalueindex(2));
	for (s = m.subject + lua_tointeger(L, lua_upvalueindex(3)); s <= m.subject_end; s++) {
		end = match_at(&m, s, p);
		if (!end)
			continue;
		lua_pushinteger(L, end - m.subject + (end == s));
		lua_replace(L, lua_upvalueindex(3));
		return push_captures(&m, s, end);
	}
	return 0;
}

static int string_gmatch(lua_State *L)
{
	(void)luaL_checkstring(L, 1);
	(void)luaL_checkstring(L, 2);
	lua_settop(L, 2);
	lua_pushinteger(L, 0);
	lua_pushcclosure(L, gmatch_next, 3);
	return 1;
}

/* ---- gsub ---- */

/* The result as it grows: on the C stack, then in userdata, which an error leaves to the collector. */
struct output {
	struct matcher *m;
	int slot; /* on Lua's stack, of the userdata */
	char *data;
	size_t len;
	size_t size;
	char begin[256];
};

static void output_add(struct output *out, const char *p, size_t n)
{
	if (n > out->size - out->len) {
		size_t size = MAX(out->size * 2, out->len + n);
		char *data;

		data = lua_newuserdata(out->m->L, size);
		memcpy(data, out->data, out->len);
		lua_replace(out->m->L, out->slot);
		out->data = data;
		out->size = size;
		step(out->m, out->len / 16);
	}
	memcpy(out->data + out->len, p, n);
	out->len += n;
	step(out->m, n / 16 + 1);
}

/* A replacement that is a text: %0 to %9 are captures, %% and the like the character behind the '%'. */
static void add_text(struct output *out, int index, const char *s, const char *end)
{
	lua_State *L = out->m->L;
	size_t len;
	const char *text = lua_tolstring(L, index, &len);

	for (size_t i = 0; i < len; i++) {
		if (text[i] != '%') {
			output_add(out, text + i, 1);
			continue;
		}
		i++; /* behind the end of the text there is a 0 */
		if (!is_in_range((unsigned char)text[i], '0', '9')) {
			output_add(out, text + i, 1);
		} else if (text[i] == '0') {
			output_add(out, s, (size_t)(end - s));
		} else {
			size_t n;
			const char *capture;

			push_capture(out->m, text[i] - '1', s, end);
			capture = lua_tolstring(L, -1, &n); /* a number becomes a text */
			output_add(out, capture, n);
			lua_pop(L, 1);
		}
	}
}

/* A replacement that a table or a function gives; false and nil leave what was found. */
static void add_value(struct output *out, int index, const char *s, const char *end)
{
	lua_State *L = out->m->L;
	size_t n;
	const char *text;

	if (lua_type(L, index) == LUA_TTABLE) {
		push_capture(out->m, 0, s, end);
		lua_gettable(L, index);
	} else {
		lua_pushvalue(L, index);
		lua_call(L, push_captures(out->m, s, end), 1);
	}
	if (!lua_toboolean(L, -1)) {
		output_add(out, s, (size_t)(end - s));
	} else {
		text = lua_tolstring(L, -1, &n);
		if (!text)
			luaL_error(L, "invalid replacement value (a %s)", luaL_typename(L, -1));
		output_add(out, text, n);
	}
	lua_pop(L, 1);
}

/* string.gsub(s, pattern, replacement [, at_most]) */
static int string_gsub(lua_State *L)
{
	struct matcher m;
	struct output out = { .m = &m, .slot = 5, .data = out.begin, .size = sizeof(out.begin) };
	const char *s, *p, *end;
	int type = lua_type(L, 3);
	bool is_text = type == LUA_TSTRING || type == LUA_TNUMBER;
	lua_Integer at_most, n = 0;
	bool is_anchored;

	matcher_init(&m, L, 1, 2);
	luaL_argcheck(L, is_text || type == LUA_TTABLE || type == LUA_TFUNCTION, 3, "string/function/table expected");
	at_most = luaL_optinteger(L, 4, m.subject_end - m.subject + 1);
	lua_settop(L, 5);
	lua_vm_check_stack(L);
	s = m.subject;
	p = lua_tostring(L, 2);
	is_anchored = p < m.pattern_end && *p == '^';
	p += is_anchored;
	while (n < at_most) {
		end = match_at(&m, s, p);
		if (end) {
			n++;
			if (is_text)
				add_text(&out, 3, s, end);
			else
				add_value(&out, 3, s, end);
		}
		if (end && end > s)
			s = end;
		else if (s < m.subject_end)
			output_add(&out, s++, 1);
		else
			break;
		if (is_anchored)
			break;
	}
	output_add(&out, s, (size_t)(m.subject_end - s));
	lua_pushlstring(L, out.data, out.len);
	lua_pushinteger(L, n);
	return 2;
}

void lua_matcher_add(lua_State *L)
{
	static const luaL_Reg functions[] = {
		{ "find", string_find },
		{ "gmatch", string_gmatch },
		{ "gsub", string_gsub },
		{ "match", string_match },
	};

	for (size_t i = 0; i < ARRAY_LEN(functions); i++) {
		lua_pushcfunction(L, functions[i].func);
		lua_setfield(L, -2, functions[i].name);
	}
}
