/* lua_vm.c - see lua_vm.h */
#include "policy/lua_vm.h"

#include <stdlib.h>
#include <string.h>

/* Also what LuaJIT keeps: it gives every size back that it has asked for. */
static void *allocate(void *arg, void *p, size_t old_size, size_t size)
{
	struct lua_vm *vm = arg;
	void *out;

	if (!p)
		old_size = 0;
	if (size == 0) {
		vm->used -= old_size;
		free(p);
		return NULL;
	}
	if (size > old_size && vm->used + (size - old_size) > vm->limits.memory)
		return NULL;
	out = realloc(p, size);
	if (out)
		vm->used += size - old_size;
	return out;
}

bool lua_vm_init(struct lua_vm *vm, const struct lua_vm_limits *limits)
{
	memset(vm, 0, sizeof(*vm));
	vm->limits = *limits;
	vm->L = lua_newstate(allocate, vm);
	return vm->L != NULL;
}

void lua_vm_fini(struct lua_vm *vm)
{
	if (vm->L)
		lua_close(vm->L);
	vm->L = NULL;
}
