/* worker.c - see worker.h */
#include "worker.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Shape and hash are made of more of the text than a line may have. */
#define READ_MAX 65536u

/* What is known of a client, with the bytes of its texts in the same block. */
struct known_client {
	uint64_t number;
	uint32_t generation; /* of the options that is_wanted is about; 0: it is to be found out anew */
	bool is_wanted;      /* by the filter of users */
	uint8_t version;
	bool is_tls;
	uint16_t port;
	struct record_client texts;
};

bool worker_init(struct worker *w, const struct cqlferry_host *host, const struct options *options,
		 struct queue_bell *bell)
{
	w->host = host;
	if (!queue_init(&w->queue, options->queue_size, bell))
		return false;
	worker_use(w, options);
	return true;
}

void worker_fini(struct worker *w)
{
	queue_fini(&w->queue);
}

void worker_use(struct worker *w, const struct options *options)
{
	w->options = options;
	w->generation++;
	w->queue.on_full = options->on_full;
	w->queue.block_ms = options->block_ms;
}

uint32_t worker_response_kinds(const struct options *options)
{
	if (options->events & OPTIONS_DENIALS)
		return CQLFERRY_ALL_KINDS;
	return options->events & 1u << RECORD_REQUEST ? options->kinds : 0;
}

uint32_t worker_request_kinds(const struct options *options)
{
	return options->on_full == QUEUE_REFUSE && options->events & 1u << RECORD_REQUEST ? options->kinds : 0;
}

/* ---- clients ---- */

/* `user` stands in for the name that there is not. */
static struct known_client *know(struct worker *w, struct cqlferry_client *client, struct cqlferry_text user)
{
	const struct cqlferry_client_info *info = w->host->client_info(client);
	const struct cqlferry_text texts[RECORD_CLIENT_TEXTS] = {
		[TEXT_ADDRESS] = record_cut(info->address, RECORD_NAME_MAX),
		[TEXT_LISTENER] = record_cut(info->listener, RECORD_NAME_MAX),
		[TEXT_USER] = record_cut(info->user.length ? info->user : user, RECORD_NAME_MAX),
		[TEXT_DRIVER] = record_cut(info->driver, RECORD_NAME_MAX),
		[TEXT_DRIVER_VERSION] = record_cut(info->driver_version, RECORD_NAME_MAX),
		[TEXT_SUBJECT] = record_cut(info->tls_subject, 2 * RECORD_NAME_MAX),
	};
	struct known_client *known;
	size_t size = 0;
	char *at;

	for (unsigned i = 0; i < RECORD_CLIENT_TEXTS; i++)
		size += texts[i].length;
	known = malloc(sizeof(*known) + size);
	if (!known)
		return NULL;
	known->number = info->number;
	known->version = info->version;
	known->is_tls = info->is_tls;
	known->port = info->port;
	known->generation = w->generation;
	known->is_wanted = filter_has(&w->options->users, texts[TEXT_USER].data ? texts[TEXT_USER].data : "",
				      texts[TEXT_USER].length);
	known->texts.size = (uint32_t)size;
	known->texts.bytes = at = (char *)(known + 1);
	for (unsigned i = 0; i < RECORD_CLIENT_TEXTS; i++) {
		known->texts.lengths[i] = (uint32_t)texts[i].length;
		if (texts[i].length > 0)
			memcpy(at, texts[i].data, texts[i].length);
		at += texts[i].length;
	}
	return known;
}

/* Anew, since something of it has changed. NULL without memory. */
static struct known_client *learn(struct worker *w, struct cqlferry_client *client, struct cqlferry_text user)
{
	void **slot = w->host->conn_slot(w->host, client);

	free(*slot);
	*slot = know(w, client, user);
	return *slot;
}

/* Asked for each request; NULL without memory. */
static const struct known_client *client_of(struct worker *w, struct cqlferry_client *client)
{
	const struct known_client *known = *w->host->conn_slot(w->host, client);

	if (__builtin_expect(known && known->generation == w->generation, 1))
		return known;
	return learn(w, client, (struct cqlferry_text){ 0 });
}

static void begin(struct record *head, enum record_event event, const struct known_client *known)
{
	memset(head, 0, sizeof(*head));
	head->event = (uint8_t)event;
	head->rows = -1;
	head->client = known->number;
	head->port = known->port;
	head->version = known->version;
	head->is_tls = known->is_tls;
}

/* The same without clearing what the functions below set: all but these. */
static inline void begin_request(struct record *head, const struct known_client *known)
{
	head->event = RECORD_REQUEST;
	head->rows = -1;
	head->count = 0;
	head->client = known->number;
	head->port = known->port;
	head->version = known->version;
	head->is_tls = known->is_tls;
	head->flags = 0;
	memset(head->unused, 0, sizeof(head->unused));
}

static uint64_t wall_clock(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static void send_record(struct worker *w, struct record *head, const struct known_client *known,
			const struct cqlferry_text *texts)
{
	const uint32_t size = record_size(&known->texts, texts);
	uint8_t *room = queue_begin(&w->queue, size);

	if (!room)
		return;
	head->time = wall_clock();
	record_write(room, head, &known->texts, texts);
	queue_commit(&w->queue, size);
}

/* ---- events of clients ---- */

static void send_event(struct worker *w, struct cqlferry_client *client, enum record_event event)
{
	const struct known_client *known = client_of(w, client);
	const struct cqlferry_text texts[RECORD_OWN_TEXTS] = { { 0 } };
	struct record head;

	if (!known)
		return;
	begin(&head, event, known);
	send_record(w, &head, known, texts);
}

int32_t worker_on_connect(void *self, struct cqlferry_client *client)
{
	struct worker *w = self;

	if (w->options->events & 1u << RECORD_CONNECT)
		send_event(w, client, RECORD_CONNECT);
	return CQLFERRY_NEXT;
}

void worker_on_login(void *self, struct cqlferry_client *client, const struct cqlferry_login_result *result)
{
	struct worker *w = self;
	struct cqlferry_text texts[RECORD_OWN_TEXTS] = { { 0 } };
	/* Now the user is known, and of the driver what it says in STARTUP. */
	struct known_client *known = learn(w, client, result->user);
	struct record head;

	if (!known)
		return;
	if (w->options->events & 1u << RECORD_LOGIN) {
		begin(&head, RECORD_LOGIN, known);
		head.outcome = (uint8_t)result->outcome;
		head.duration_ns = result->duration_ns;
		head.error_code = result->error_code;
		head.answered_by = (uint8_t)(result->cluster < CQLFERRY_CLUSTERS ? result->cluster : CQLFERRY_CLUSTERS);
		texts[RECORD_OWN(TEXT_ERROR)] = record_cut(result->error, RECORD_ERROR_MAX);
		send_record(w, &head, known, texts);
	}
	if (result->outcome != CQLFERRY_LOGIN_OK)
		known->generation = 0; /* who has tried is nobody's name */
}

void worker_on_disconnect(void *self, struct cqlferry_client *client)
{
	struct worker *w = self;
	void **slot = w->host->conn_slot(w->host, client);

	if (w->options->events & 1u << RECORD_DISCONNECT)
		send_event(w, client, RECORD_DISCONNECT);
	free(*slot);
	*slot = NULL;
}

/* ---- requests ---- */

static bool has_wanted_table(const struct options *o, const struct cqlferry_statement *s)
{
	char name[512];

	for (uint32_t i = 0; i < s->table_count; i++) {
		const struct cqlferry_table *t = &s->tables[i];
		const uint64_t length = t->keyspace.length + 1 + t->table.length;

		if (length > sizeof(name))
			continue;
		if (t->keyspace.length > 0)
			memcpy(name, t->keyspace.data, t->keyspace.length);
		name[t->keyspace.length] = '.';
		if (t->table.length > 0)
			memcpy(name + t->keyspace.length + 1, t->table.data, t->table.length);
		if (filter_has(&o->tables, name, length))
			return true;
	}
	return false;
}

/* A statement is of the keyspaces of its tables; without tables, of the one that it stands in. */
static bool has_wanted_keyspace(const struct options *o, const struct cqlferry_statement *s)
{
	for (uint32_t i = 0; i < s->table_count; i++) {
		const struct cqlferry_text *k = &s->tables[i].keyspace;

		if (filter_has(&o->keyspaces, k->length ? k->data : "", k->length))
			return true;
	}
	return s->table_count == 0 &&
	       filter_has(&o->keyspaces, s->keyspace.length ? s->keyspace.data : "", s->keyspace.length);
}

/* Of a prepared statement this is remembered, with the generation of the options: twice that, and one if it is wanted. */
static bool is_wanted_statement(struct worker *w, struct cqlferry_request *request)
{
	const struct options *o = w->options;
	const struct cqlferry_statement *s;
	uint64_t *slot;
	bool is_wanted;

	if (filter_is_empty(&o->keyspaces) && filter_is_empty(&o->tables))
		return true;
	slot = w->host->statement_slot(w->host, request);
	if (slot && *slot >> 1 == w->generation)
		return *slot & 1;
	s = w->host->statement(request);
	/* What is not understood may be about any of them. */
	is_wanted = (s->table_count == 0 && s->is_incomplete) ||
		    ((filter_is_empty(&o->tables) || has_wanted_table(o, s)) &&
		     (filter_is_empty(&o->keyspaces) || has_wanted_keyspace(o, s)));
	if (slot && s->is_prepared)
		*slot = (uint64_t)w->generation << 1 | is_wanted;
	return is_wanted;
}

/* Before it is sent, and so whatever its result will be. */
static bool may_be_written(struct worker *w, struct cqlferry_request *request, const struct cqlferry_request_info *info,
			   const struct known_client *known)
{
	return options_samples(w->options, info->number) && known->is_wanted && is_wanted_statement(w, request);
}

int32_t worker_on_request(void *self, struct cqlferry_request *request)
{
	struct worker *w = self;
	const struct known_client *known;

	if (w->options->on_full != QUEUE_REFUSE || !queue_is_full(&w->queue))
		return CQLFERRY_NEXT;
	known = client_of(w, w->host->request_client(request));
	if (known && !may_be_written(w, request, w->host->request_info(request), known))
		return CQLFERRY_NEXT;
	queue_refused(&w->queue);
	w->host->deny(w->host, 0x1001, "the audit log cannot be written: its queue is full");
	return CQLFERRY_DENY;
}

static bool is_wanted_request(struct worker *w, struct cqlferry_request *request,
			      const struct cqlferry_request_info *info, const struct cqlferry_response *response,
			      const struct known_client *known)
{
	const struct options *o = w->options;

	if (response->outcome == CQLFERRY_DENIED) {
		/* Our own denials are told as a number: lines about them would find no room. */
		if (response->decider && strcmp(response->decider, w->host->instance) == 0)
			return false;
		if (o->events & OPTIONS_DENIALS)
			return true;
	}
	return o->events & 1u << RECORD_REQUEST && o->kinds >> info->kind & 1 && o->results >> response->outcome & 1 &&
	       may_be_written(w, request, info, known);
}

static void put_statement(struct worker *w, struct record *head, struct cqlferry_text *texts,
			  struct cqlferry_request *request)
{
	const struct options *o = w->options;
	const struct cqlferry_statement *s = w->host->statement(request);
	const uint32_t room = ring_record_max(&w->queue.ring) / 2;
	const uint32_t max = o->statement == RECORD_FULL ? o->max_length : READ_MAX;
	bool has_more_tables = s->is_incomplete;

	head->statement = (uint8_t)o->statement;
	head->statement_max = o->max_length;
	head->statement_length = (uint32_t)s->text.length;
	/* Also what is not written is read: whether it has a password. */
	texts[RECORD_OWN(TEXT_STATEMENT)] = record_cut(s->text, max < room ? max : room);
	if (texts[RECORD_OWN(TEXT_STATEMENT)].length < s->text.length)
		head->flags |= RECORD_CUT;
	texts[RECORD_OWN(TEXT_KEYSPACE)] = record_cut(s->keyspace, RECORD_NAME_MAX);
	texts[RECORD_OWN(TEXT_TABLES)].data = (const char *)w->tables;
	texts[RECORD_OWN(TEXT_TABLES)].length =
		record_tables(s->tables, s->table_count, w->tables, sizeof(w->tables), &has_more_tables);
	if (has_more_tables)
		head->flags |= RECORD_MORE_TABLES;
}

static void put_values(struct worker *w, struct record *head, struct cqlferry_text *texts,
		       struct cqlferry_request *request)
{
	struct cqlferry_text value;
	uint32_t at = 0;

	head->flags |= RECORD_VALUES;
	for (uint32_t i = 0; w->host->bound_value(request, i, &value); i++) {
		const uint32_t end = i == RECORD_VALUES_MAX ? 0
							    : record_value(w->values, at, sizeof(w->values), &value,
									   w->options->max_value);

		if (end == 0) {
			head->flags |= RECORD_MORE_VALUES;
			break;
		}
		at = end;
	}
	texts[RECORD_OWN(TEXT_VALUES)] = (struct cqlferry_text){ (const char *)w->values, at };
}

static struct cqlferry_text text_of(const char *s)
{
	return record_cut((struct cqlferry_text){ s, s ? strlen(s) : 0 }, RECORD_NAME_MAX);
}

static void put_answer(struct record *head, struct cqlferry_text *texts, const struct cqlferry_response *response)
{
	head->outcome = response->outcome;
	head->to = response->to;
	head->answered_by = response->answered_by;
	head->decided_by = (uint8_t)response->decided_by;
	head->error_code = response->error_code;
	head->duration_ns = response->duration_ns;
	for (unsigned i = 0; i < CQLFERRY_CLUSTERS; i++) {
		head->parts[i].state = (uint8_t)response->parts[i].state;
		head->parts[i].error_code = response->parts[i].error_code;
		head->parts[i].duration_ns = response->parts[i].duration_ns;
	}
	texts[RECORD_OWN(TEXT_DECIDER)] = text_of(response->decider);
	texts[RECORD_OWN(TEXT_TAG)] = text_of(response->tag);
	texts[RECORD_OWN(TEXT_ERROR)] = record_cut(response->error, RECORD_ERROR_MAX);
}

void worker_on_response(void *self, struct cqlferry_request *request, const struct cqlferry_response *response)
{
	struct worker *w = self;
	const struct cqlferry_request_info *info = w->host->request_info(request);
	const struct known_client *known = client_of(w, w->host->request_client(request));
	struct cqlferry_text texts[RECORD_OWN_TEXTS];
	struct record head;

	if (!known || !is_wanted_request(w, request, info, response, known))
		return;
	begin_request(&head, known);
	texts[RECORD_OWN(TEXT_VALUES)].length = 0;
	head.number = info->number;
	head.opcode = info->opcode;
	head.kind = info->kind;
	head.verb = info->verb;
	head.consistency = (uint16_t)info->consistency;
	head.flags |= (info->is_prepared ? RECORD_PREPARED : 0) | (info->is_lwt ? RECORD_LWT : 0);
	put_statement(w, &head, texts, request);
	if (w->options->max_value > 0 && info->opcode != CQLFERRY_OPCODE_BATCH)
		put_values(w, &head, texts, request);
	put_answer(&head, texts, response);
	if (response->outcome == CQLFERRY_ANSWERED)
		head.rows = w->host->row_count(request);
	send_record(w, &head, known, texts);
}
