/* lua_fault.c - see lua_fault.h */
#include "policy/lua_fault.h"

#include <stdio.h>
#include <string.h>

#include "base/log.h"

#define NS_PER_S UINT64_C(1000000000)

static const char *const reasons[] = {
	[LUA_VM_ERROR] = "error",
	[LUA_VM_TIME] = "time",
	[LUA_VM_MEMORY] = "memory",
};

void lua_fault_init(struct lua_fault *f, struct counters *counters, const char *label)
{
	char labels[256];

	if (!counters)
		return;
	for (unsigned end = LUA_VM_ERROR; end <= LUA_VM_MEMORY; end++) {
		labels[0] = 0;
		counters_label(labels, sizeof(labels), "hook", label);
		counters_label(labels, sizeof(labels), "reason", reasons[end]);
		f->errors[end] = counters_register(counters, "policy_hook_errors_total",
						   "Calls of a hook of a script that failed", labels, COUNTER_PLAIN);
	}
	labels[0] = 0;
	counters_label(labels, sizeof(labels), "hook", label);
	f->off = counters_register(counters, "policy_hook_off",
				   "Workers that have switched off a hook of a script since it failed too often",
				   labels, COUNTER_GAUGE);
}

/* Counts an error of this second; the sum of the last minute. */
static uint64_t count_error(struct lua_fault *f, uint64_t second)
{
	uint64_t sum = 0;

	if (second - f->second >= LUA_FAULT_SECONDS)
		memset(f->counts, 0, sizeof(f->counts));
	else
		for (uint64_t s = f->second + 1; s <= second; s++)
			f->counts[s % LUA_FAULT_SECONDS] = 0;
	f->second = second;
	f->counts[second % LUA_FAULT_SECONDS]++;
	for (unsigned i = 0; i < LUA_FAULT_SECONDS; i++)
		sum += f->counts[i];
	return sum;
}

void lua_fault_note(struct lua_fault *f, struct counters *counters, unsigned worker, enum lua_vm_end end,
		    const char *message, uint32_t limit, const char *consequence, uint64_t now_ns)
{
	const uint64_t sum = count_error(f, now_ns / NS_PER_S);

	if (counters)
		counters_add(counters, worker, f->errors[end], 1);
	if (lua_fault_may_log(f, now_ns)) {
		if (f->left_out > 0)
			log_warn("lua: %s (%s) failed (%s), and %llu times since the last such line: %s", f->what,
				 f->place, reasons[end], (unsigned long long)f->left_out, message);
		else
			log_warn("lua: %s (%s) failed (%s): %s", f->what, f->place, reasons[end], message);
		f->left_out = 0;
		f->next_log_ns = now_ns + NS_PER_S;
	} else {
		f->left_out++;
	}
	if (limit == 0 || sum < limit || f->is_off)
		return;
	f->is_off = true;
	if (counters)
		counters_set(counters, worker, f->off, 1);
	log_error("lua: %s (%s) failed %llu times within a minute, so worker %u %s until the scripts are loaded again",
		  f->what, f->place, (unsigned long long)sum, worker, consequence);
}
