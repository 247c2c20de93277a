/* test_lua_vm.c - what scripts may try against a state, each with how it ends, how long it took, and that the next call works. */
#include "lua_helper.h"

/* On a busy machine, under the address sanitizer. */
#define GENEROUS_MS (BUDGET_MS + 100)

static const struct attack {
	const char *name;
	const char *body; /* of a function that is called as a hook would be */
	enum lua_vm_end end;
	const char *says; /* in the message */
} attacks[] = {
	{ "endless loop", "while true do end", LUA_VM_TIME, "the time limit of 20 ms is used up" },
	{ "pcall around it", "while true do pcall(function() while true do end end) end", LUA_VM_TIME, "time limit" },
	{ "pcall in pcall", "pcall(pcall, pcall, function() while true do end end) while true do end", LUA_VM_TIME,
	  "time limit" },
	{ "result of a pcall", "return pcall(function() while true do end end)", LUA_VM_TIME, "time limit" },
	{ "xpcall with a looping handler", "local function f() while true do end end xpcall(f, f)", LUA_VM_ERROR,
	  "global 'xpcall'" },
	{ "looping __gc by newproxy",
	  "local p = newproxy(true) getmetatable(p).__gc = function() while true do end end", LUA_VM_ERROR,
	  "global 'newproxy'" },
	{ "looping __gc of a table",
	  "for i = 1, 1e5 do setmetatable({}, { __gc = function() while true do end end }) end while true do end",
	  LUA_VM_TIME, "time limit" },
	{ "throws", "error('boom')", LUA_VM_ERROR, ": boom\n" },
	{ "recursion", "local function f() return 1 + f() end f()", LUA_VM_ERROR, "stack overflow" },
	{ "memory hog", "local s = 'x' while true do s = s .. s end", LUA_VM_MEMORY,
	  "the memory limit of 32768 KiB is reached" },
};

static void hook_script(char *out, size_t size, const char *body)
{
	snprintf(
		out, size,
		"local calls = 0\nkeep(function()\n\tcalls = calls + 1\n\tif calls > 1 then return calls end\n%s\nend)",
		body);
}

START_TEST(attack)
{
	const struct attack *a = &attacks[_i];
	char text[2048];

	vm_begin();
	hook_script(text, sizeof(text), a->body);
	load_kept(text);
	ck_assert_msg(run_kept() == a->end, "%s: %s", a->name, message);
	ck_assert_msg(strstr(message, a->says) != NULL, "%s: %s", a->name, message);
	ck_assert_msg(took_ms <= GENEROUS_MS, "%s took %u ms", a->name, (unsigned)took_ms);
	ck_assert_msg(run_kept() == LUA_VM_OK, "%s: %s", a->name, message);
	ck_assert_int_eq(lua_tointeger(vm.L, -1), 2);
	vm_end();
}
END_TEST

int main(void)
{
	TCase *tcase = tcase_create("lua_vm");

	tcase_add_loop_test(tcase, attack, 0, ARRAY_LEN(attacks));
	return run_tcase("lua_vm", tcase);
}
