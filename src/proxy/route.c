/* route.c - see route.h */
#include "proxy/route.h"

#include "proxy/virtual.h"

const char *write_type_name(enum write_type type)
{
	static const char *const names[] = {
		[WRITE_SIMPLE] = "SIMPLE",   [WRITE_BATCH] = "BATCH", [WRITE_UNLOGGED_BATCH] = "UNLOGGED_BATCH",
		[WRITE_COUNTER] = "COUNTER", [WRITE_CAS] = "CAS",
	};

	return names[type];
}

struct verdict route_both(const struct settings *settings, enum request_class class, enum write_type type)
{
	return (struct verdict){
		.to = TO_BOTH,
		.answer_from = (uint8_t)settings->primary,
		.class = (uint8_t) class,
		.write_type = (uint8_t)type,
	};
}

static struct verdict read_from(enum cluster_id cluster)
{
	return (struct verdict){ .to = (uint8_t)(1u << cluster), .answer_from = (uint8_t)cluster, .class = CLASS_READ };
}

static struct verdict system_read(const struct settings *settings)
{
	struct verdict v = read_from(settings->system_queries);

	v.decided_by = DECIDED_BY_PROTOCOL;
	return v;
}

static uint8_t mirror_of(const struct settings *settings, enum mirror_mode mode)
{
	return settings->read_mode == READ_DUAL_ASYNC_ON_SECONDARY ? (uint8_t)mode : MIRROR_NONE;
}

struct verdict route_options(const struct settings *settings)
{
	struct verdict v = route_both(settings, CLASS_CONTROL, WRITE_SIMPLE);

	v.mirror = mirror_of(settings, MIRROR_ANYWHERE);
	return v;
}

static struct verdict route_use(const struct settings *settings)
{
	struct verdict v = route_both(settings, CLASS_CONTROL, WRITE_SIMPLE);

	v.mirror = mirror_of(settings, MIRROR_USE);
	return v;
}

static enum write_type write_type_of(const struct statement_facts *facts)
{
	if (facts->is_conditional)
		return WRITE_CAS;
	if (facts->kind != STATEMENT_BATCH)
		return WRITE_SIMPLE;
	if (facts->is_counter_batch)
		return WRITE_COUNTER;
	return facts->is_unlogged_batch ? WRITE_UNLOGGED_BATCH : WRITE_BATCH;
}

static struct verdict route_select(const struct settings *settings, const struct statement_facts *facts,
				   struct strview keyspace)
{
	struct verdict verdict;

	if (facts->keyspace.len > 0)
		keyspace = statement_name_view(&facts->keyspace);
	if (!statement_keyspace_is_system(keyspace)) {
		struct verdict v = read_from(settings->primary);

		v.mirror = mirror_of(settings, facts->is_qualified ? MIRROR_ANYWHERE : MIRROR_IN_KEYSPACE);
		return v;
	}
	if (virtual_is_table(keyspace, statement_name_view(&facts->table)))
		return (struct verdict){ .to = 0, .class = CLASS_READ, .decided_by = DECIDED_BY_PROTOCOL };
	verdict = system_read(settings);
	verdict.is_of_traces = sv_equal(keyspace, SV("system_traces"));
	return verdict;
}

struct verdict route_statement(const struct settings *settings, const struct statement_facts *facts,
			       struct strview keyspace)
{
	switch (facts->kind) {
	case STATEMENT_SELECT:
		return route_select(settings, facts, keyspace);
	case STATEMENT_LIST:
	case STATEMENT_DESCRIBE:
		return system_read(settings);
	case STATEMENT_USE:
		return route_use(settings);
	case STATEMENT_CALL:
		if (facts->is_insights_call)
			return (struct verdict){ .to = 0, .class = CLASS_CONTROL };
		return route_both(settings, CLASS_WRITE, WRITE_SIMPLE);
	default:
		return route_both(settings, CLASS_WRITE, write_type_of(facts));
	}
}
