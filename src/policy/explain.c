/* explain.c - see explain.h */
#include "policy/explain.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "base/net.h"
#include "cql/tables.h"
#include "policy/lua_engine.h"
#include "proxy/rules.h"

/* What is known while the steps are written. */
struct explanation {
	const struct settings *settings;
	const struct explain_request *request;
	FILE *out;
	struct statement_facts facts;
	struct statement_tables tables;
	struct policy_question question;
	struct verdict verdict;
	struct policy_opinion opinion;
	uint64_t ask; /* hooks that are asked for each request; of the others the plan says what came of it */
	bool is_decided;
	const char *names[POLICY_HOOKS_MAX];
	unsigned count;
	const char *hook; /* whose opinion it is */
};

/* ---- the request ---- */

static bool read_keyspace(const char *text, struct statement_name *out)
{
	struct scanner scanner;
	struct token token;

	scanner_init(&scanner, sv_from(text));
	token = scanner_next(&scanner);
	if (!token_name(&token, out) || out->len == 0 || out->is_cut)
		return false;
	token = scanner_next(&scanner);
	return token.kind == TOKEN_END;
}

static bool read_consistency(const char *text, uint16_t *out)
{
	for (uint16_t level = 0; level < SETTINGS_LEVELS; level++) {
		if (strcasecmp(cql_consistency_name(level), text) == 0) {
			*out = level;
			return true;
		}
	}
	return false;
}

static struct strview view_of(const char *text)
{
	return sv_from(text ? text : "");
}

bool explain_request_read(const struct explain_words *words, struct explain_request *out, char *error,
			  size_t error_size)
{
	const char *address = words->address ? words->address : "127.0.0.1";
	const char *level = words->consistency ? words->consistency : "LOCAL_ONE";
	struct net_address ignored;

	*out = (struct explain_request){
		.statement = view_of(words->statement),
		.client = { .user = view_of(words->user),
			    .address = view_of(address),
			    .driver = view_of(words->driver),
			    .driver_version = view_of(words->driver_version) },
		.is_prepared = words->is_prepared,
	};
	if (words->keyspace && !read_keyspace(words->keyspace, &out->keyspace))
		snprintf(error, error_size, "--keyspace %s: no name of a keyspace", words->keyspace);
	else if (!net_parse_ip(address, 0, &ignored))
		snprintf(error, error_size, "--address %s: no IP address", address);
	else if (!read_consistency(level, &out->consistency))
		snprintf(error, error_size,
			 "--consistency %s: no consistency level of a request; allowed: ANY, ONE, TWO, "
			 "THREE, QUORUM, ALL, LOCAL_QUORUM, EACH_QUORUM, SERIAL, LOCAL_SERIAL, LOCAL_ONE",
			 level);
	else
		return true;
	return false;
}

/* ---- the steps ---- */

static void write_table(const struct statement_table *t, FILE *out)
{
	if (t->keyspace.len > 0)
		fprintf(out, "%.*s", SV_ARG(statement_name_view(&t->keyspace)));
	if (t->keyspace.len > 0 && t->table.len > 0)
		fputc('.', out);
	if (t->table.len > 0)
		fprintf(out, "%.*s", SV_ARG(statement_name_view(&t->table)));
}

/* A table without a keyspace fits no rule and no hook that names one: often --keyspace was forgotten. */
static bool lacks_keyspace(const struct statement_tables *tables)
{
	for (unsigned i = 0; i < tables->count; i++) {
		if (tables->items[i].keyspace.len == 0)
			return true;
	}
	return false;
}

static void write_statement(const struct explanation *e)
{
	fprintf(e->out, "statement: %s, kind %s", statement_kind_name(e->facts.kind),
		policy_kind_name((enum policy_kind)e->question.kind));
	for (unsigned i = 0; i < e->tables.count; i++) {
		fputs(i ? ", " : ", about ", e->out);
		write_table(&e->tables.items[i], e->out);
	}
	if (e->tables.is_incomplete)
		fputs(e->tables.count > 0 ? ", and others that were not understood" : ", its text was not understood",
		      e->out);
	fputs(lacks_keyspace(&e->tables) ? ", in no keyspace (see --keyspace)\n" : "\n", e->out);
}

static void write_protocol(const struct explanation *e)
{
	const struct verdict *v = &e->verdict;

	if (v->to == 0)
		fprintf(e->out, "protocol: %s\n",
			v->class == CLASS_READ ? "the proxy itself answers reads of this system table"
					       : "the proxy itself answers drivers' reports (InsightsRpc)");
	else if (v->is_of_traces)
		fprintf(e->out,
			"protocol: a trace is read from the cluster that made it, anything else of system_traces from "
			"%s (system_queries_mode)\n",
			cluster_id_name(e->settings->system_queries));
	else if (v->decided_by == DECIDED_BY_PROTOCOL)
		fprintf(e->out, "protocol: reads of the clusters' own tables go to %s (system_queries_mode)\n",
			cluster_id_name(e->settings->system_queries));
	else
		fputs("protocol: no rule\n", e->out);
}

/* A message with a traceback has several. */
static void write_line(const char *text, FILE *out)
{
	for (; *text; text++) {
		if (*text == '\n')
			fputc(';', out);
		fputc(iscntrl((unsigned char)*text) ? ' ' : *text, out);
		if (*text == '\n' && text[1] == '\t')
			text++;
	}
	fputc('\n', out);
}

static void write_word(const struct lua_engine_word *word, void *arg)
{
	struct explanation *e = arg;
	const bool has_opinion = word->opinion.route || word->opinion.denial;
	const unsigned number = e->count++;

	e->names[number] = word->hook;
	fprintf(e->out, "hook %s (%s): ", word->hook, word->place);
	write_line(word->text, e->out);
	if (!has_opinion || e->is_decided || !(e->ask >> number & 1))
		return;
	e->opinion = word->opinion;
	e->hook = word->hook;
	e->is_decided = true;
}

static void write_hooks(struct explanation *e, struct policy_cache *cache)
{
	struct policy_question about = e->question;
	struct policy_plan plan;

	if (!cache)
		return;
	/* As a request is handled: what its tables and its text decide comes first, without the rest. */
	plan = policy_plan_make(cache, &about, e->request->is_prepared);
	e->ask = plan.ask;
	e->question.client = &e->request->client;
	e->question.consistency = e->request->consistency;
	e->question.size = (uint32_t)e->request->statement.len;
	lua_engine_explain(policy_cache_engine(cache), &e->question, write_word, e);
	if (e->is_decided && plan.late)
		policy_check_late(cache, &plan, about.tables, &e->opinion);
	if (e->opinion.hook == POLICY_HOOKS_MAX)
		e->hook = NULL;
	if (e->is_decided || (!plan.opinion.route && !plan.opinion.denial))
		return;
	e->opinion = plan.opinion;
	if (plan.opinion.hook < e->count)
		e->hook = e->names[plan.opinion.hook];
}

/* Which rules may be about a statement; false: none. */
static bool rule_words_of(enum policy_kind kind, enum rule_words *words)
{
	switch (kind) {
	case POLICY_READ:
		*words = RULE_READ;
		return true;
	case POLICY_WRITE:
		*words = RULE_WRITE;
		return true;
	case POLICY_SCHEMA:
	case POLICY_USE:
		*words = RULE_ALL;
		return true;
	case POLICY_UNKNOWN:
		break;
	}
	return false;
}

/* Of a statement about several tables it says which of them. */
static void write_fitting(const struct explanation *e, enum rule_words words, const struct statement_table *t)
{
	const struct rule_list *rules = &e->settings->rules;

	for (unsigned i = 0; i < rules->count; i++) {
		const struct route_rule *r = &rules->items[i];

		if (!rule_fits(r, words, statement_name_view(&t->keyspace), statement_name_view(&t->table)))
			continue;
		fprintf(e->out, "rule %s: %s", r->place, r->text);
		if (e->tables.count > 1) {
			fputs(", for ", e->out);
			write_table(t, e->out);
		}
		fputc('\n', e->out);
	}
}

static bool fits_a_table(const struct explanation *e, enum rule_words words, const struct route_rule *r)
{
	for (unsigned i = 0; i < e->tables.count; i++) {
		const struct statement_table *t = &e->tables.items[i];

		if (rule_fits(r, words, statement_name_view(&t->keyspace), statement_name_view(&t->table)))
			return true;
	}
	return false;
}

/* Those that fit, the one that counts first; then the others, since somebody may have meant one of them. */
static void write_rules(const struct explanation *e)
{
	const struct rule_list *rules = &e->settings->rules;
	enum rule_words words = RULE_ALL;
	const bool has_words = rule_words_of((enum policy_kind)e->question.kind, &words);

	for (unsigned i = 0; has_words && i < e->tables.count; i++)
		write_fitting(e, words, &e->tables.items[i]);
	for (unsigned i = 0; i < rules->count; i++) {
		const struct route_rule *r = &rules->items[i];

		if (!has_words || !fits_a_table(e, words, r))
			fprintf(e->out, "rule %s: %s: does not fit\n", r->place, r->text);
	}
}

static void write_default(const struct explanation *e)
{
	const char *primary = cluster_id_name(e->settings->primary);

	if (e->question.kind == POLICY_READ)
		fprintf(e->out, "default: reads go to the primary, %s%s\n", primary,
			e->settings->read_mode == READ_DUAL_ASYNC_ON_SECONDARY
				? ", with a copy to the other cluster (read_mode)"
				: "");
	else
		fprintf(e->out, "default: all but reads goes to both, the answer is that of the primary, %s\n",
			primary);
}

/* ---- what comes of them ---- */

static void write_decider(const struct explanation *e)
{
	static const char *const names[] = {
		[DECIDED_BY_DEFAULT] = "the default", [DECIDED_BY_PROTOCOL] = "a protocol rule",
		[DECIDED_BY_RULE] = "a rule",         [DECIDED_BY_HOOK] = "a hook",
		[DECIDED_BY_PLUGIN] = "a plugin",
	};

	if (e->hook)
		fprintf(e->out, "decided by: hook %s\n", e->hook);
	else if (e->opinion.denial)
		fputs("decided by: the hooks, which disagree about the tables\n", e->out);
	else if (e->verdict.is_split)
		fputs("decided by: the rules, which disagree\n", e->out);
	else
		fprintf(e->out, "decided by: %s\n", names[e->verdict.decided_by]);
}

/* What a route changes beside the clusters, which the last line says. */
static void write_extras(const struct explanation *e)
{
	const struct policy_route *r = e->opinion.denial ? NULL : e->verdict.route;

	if (r && strchr(r->name, '('))
		fprintf(e->out, "with: %s\n", r->name);
}

static void write_denial(const struct policy_denial *denial, FILE *out)
{
	fputs("route: denied (", out);
	for (const char *p = cql_error_name(denial->code); *p; p++)
		fputc(tolower((unsigned char)*p), out);
	fputs("): ", out);
	write_line(denial->text, out); /* this is the last line, whatever the script says */
}

/* A batch whose tables have different routes. */
static void write_split(const struct explanation *e)
{
	char text[512];

	write_denial(&(struct policy_denial){ .code = CQL_ERR_INVALID,
					      .text = rules_describe_split(&e->settings->rules, &e->tables, text,
									   sizeof(text)) },
		     e->out);
}

static void write_route(const struct explanation *e)
{
	const struct verdict *v = &e->verdict;
	const enum cluster_id answer = (enum cluster_id)v->answer_from;

	if (e->opinion.denial)
		write_denial(e->opinion.denial, e->out);
	else if (v->is_split)
		write_split(e);
	else if (v->to == 0)
		fputs("route: answered by the proxy\n", e->out);
	else if (v->to == TO_BOTH)
		fprintf(e->out, "route: both (answer from %s)\n", cluster_id_name(answer));
	else if (v->mirror != MIRROR_NONE)
		fprintf(e->out, "route: %s (mirror to %s)\n", cluster_id_name(answer),
			cluster_id_name(cluster_id_other(answer)));
	else
		fprintf(e->out, "route: %s\n", cluster_id_name(answer));
}

/* ---- public ---- */

static void begin(struct explanation *e, const struct settings *settings, const struct explain_request *request,
		  FILE *out)
{
	const struct strview keyspace = statement_name_view(&request->keyspace);

	*e = (struct explanation){ .settings = settings, .request = request, .out = out };
	statement_scan(request->statement, &e->facts);
	statement_tables_scan(request->statement, &e->facts, keyspace, &e->tables);
	policy_question_init(&e->question, &e->facts, &e->tables);
	e->question.is_prepared = request->is_prepared;
	e->question.opcode = request->is_prepared ? OP_EXECUTE : OP_QUERY;
	e->verdict = route_statement(settings, request->statement, &e->facts, keyspace);
}

void explain_write(const struct settings *settings, struct policy_cache *cache, const struct explain_request *request,
		   FILE *out)
{
	struct explanation e;

	begin(&e, settings, request, out);
	write_statement(&e);
	write_protocol(&e);
	if (e.verdict.decided_by != DECIDED_BY_PROTOCOL && e.verdict.to != 0) {
		write_hooks(&e, cache);
		write_rules(&e);
		write_default(&e);
		policy_route_apply(e.opinion.route, &e.verdict);
	}
	write_decider(&e);
	write_extras(&e);
	write_route(&e);
}
