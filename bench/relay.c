/* relay.c - see relay.h */
#include "relay.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "body.h"

/* The fault befalls this request of its kind. */
#define FAULTY_REQUEST 50
#define MAX_STREAMS 64

enum {
	ORIGIN,
	TARGET,
	CLUSTERS
};

/* A request on its way. */
struct errand {
	unsigned awaited; /* answers that have not come */
	enum fault fault; /* what befalls it */
	uint8_t opcode;   /* of the answer that counts, origin's where both give one */
	struct writer body;
};

struct line;

struct leg {
	struct peer peer;
	struct line *line;
	bool counts; /* its answer goes to the client */
};

/* A client's connection and those that it has of its own to the clusters. */
struct line {
	struct peer client;
	struct relay *relay;
	struct leg legs[CLUSTERS];
	unsigned open_legs;
	int fd; /* the client's, until both legs are open */
	struct errand errands[MAX_STREAMS];
	int16_t swapped; /* whose answer waits to be exchanged; -1: nobody's */
};

/* ---- faults ---- */

static bool is_write(const struct frame *f)
{
	/* The second byte of an id is 1 for what writes, see fake_node.c. */
	return f->opcode == OP_BATCH || (f->opcode == OP_EXECUTE && f->body[3] == 1);
}

static bool is_read(const struct frame *f)
{
	return f->opcode == OP_EXECUTE && f->body[3] == 0;
}

/* The fault that befalls a request: to one of them the one of the relay, to all others none. */
static enum fault fault_of(struct relay *r, const struct frame *f)
{
	const bool concerns = r->fault >= FAULT_LOSE_ANSWER ? is_write(f) : is_read(f);

	if (r->fault == FAULT_NONE || !concerns || r->countdown == 0)
		return FAULT_NONE;
	return --r->countdown == 0 ? r->fault : FAULT_NONE;
}

static void stall(void)
{
	const struct timespec time = { .tv_nsec = RELAY_STALL_MS * 1000000l };

	nanosleep(&time, NULL);
}

/* ---- towards the clusters ---- */

/* Origin's ids become the target's. */
static void translate(uint8_t *body, uint32_t length)
{
	uint8_t id[ID_LEN];
	uint8_t *at;

	memset(id, 7, sizeof(id));
	id[0] = 'o';
	for (uint8_t writes = 0; writes < 2; writes++) {
		id[1] = writes;
		while ((at = memmem(body, length, id, sizeof(id))) != NULL)
			*at = 't';
	}
}

static void forward(struct line *line, unsigned cluster, const struct frame *f, enum fault fault)
{
	uint8_t *body = peer_frame(&line->legs[cluster].peer, f->stream, f->opcode, f->length);

	memcpy(body, f->body, f->length);
	if (cluster == TARGET && fault != FAULT_FOREIGN_ID)
		translate(body, f->length);
	/* The value is the end of a write. */
	if (cluster == TARGET && fault == FAULT_ALTER_WRITE)
		body[f->length - 1] ^= 1;
	line->errands[f->stream].awaited++;
}

static void on_request(struct peer *p, const struct frame *f)
{
	struct line *line = container_of(p, struct line, client);
	struct errand *errand = &line->errands[f->stream];
	const enum fault fault = fault_of(line->relay, f);

	if (f->stream < 0 || f->stream >= MAX_STREAMS)
		die("the relay has no stream %d", f->stream);
	errand->fault = fault;
	if (fault == FAULT_STALL)
		stall();
	if (is_read(f)) {
		forward(line, fault == FAULT_WRONG_CLUSTER ? TARGET : ORIGIN, f, fault);
		if (fault == FAULT_REPEAT_READ)
			forward(line, ORIGIN, f, fault);
		return;
	}
	forward(line, ORIGIN, f, fault);
	if (fault != FAULT_LOSE_WRITE)
		forward(line, TARGET, f, fault);
	if (fault == FAULT_REPEAT_WRITE)
		forward(line, TARGET, f, fault);
}

/* ---- towards the client ---- */

/* Segments begin behind READY or AUTHENTICATE, native protocol v5, section 2.3.1. */
static void begin_segments(struct peer *p, uint8_t opcode)
{
	if (p->version >= 5 && (opcode == OP_READY || opcode == OP_AUTHENTICATE) && !p->in_segments)
		peer_use_segments(p);
}

static void send_answer(struct line *line, int16_t stream, const struct errand *errand)
{
	peer_send(&line->client, stream, errand->opcode, errand->body.data, errand->body.len);
	begin_segments(&line->client, errand->opcode);
}

static void answer_error(struct line *line, int16_t stream)
{
	struct writer w;

	writer_init(&w);
	write_int(&w, CQL_ERR_OVERLOADED);
	write_cstring(&w, "the relay was told to");
	peer_send(&line->client, stream, OP_ERROR, w.data, w.len);
	writer_free(&w);
}

/* All answers have come. */
static void answer(struct line *line, int16_t stream, const struct errand *errand)
{
	switch (errand->fault) {
	case FAULT_LOSE_ANSWER:
		return;
	case FAULT_SWAP_ANSWERS:
		line->swapped = stream;
		return;
	case FAULT_ANSWER_ERROR:
		answer_error(line, stream);
		return;
	case FAULT_CLOSE:
		peer_close(&line->client);
		return;
	case FAULT_ALTER_ANSWER:
		errand->body.data[20] ^= 1; /* behind kind, flags, and the numbers of columns, rows and bytes */
		break;
	case FAULT_REPEAT_ANSWER:
		send_answer(line, stream, errand);
		break;
	default:
		break;
	}
	if (line->swapped >= 0) {
		send_answer(line, stream, &line->errands[line->swapped]);
		send_answer(line, line->swapped, errand);
		line->swapped = -1;
		return;
	}
	send_answer(line, stream, errand);
}

static void on_answer(struct peer *p, const struct frame *f)
{
	struct leg *leg = container_of(p, struct leg, peer);
	struct errand *errand = &leg->line->errands[f->stream];

	begin_segments(p, f->opcode);
	/* The target's counts where only it was asked. */
	if (leg->counts || errand->body.len == 0) {
		errand->opcode = f->opcode;
		errand->body.len = 0;
		write_raw(&errand->body, f->body, f->length);
	}
	if (--errand->awaited > 0 || leg->line->client.fd < 0)
		return;
	answer(leg->line, f->stream, errand);
	if (leg->line->swapped != f->stream)
		errand->body.len = 0;
}

/* ---- connections ---- */

static void on_client_closed(struct peer *p, const char *why)
{
	struct line *line = container_of(p, struct line, client);

	(void)why;
	for (unsigned i = 0; i < CLUSTERS; i++)
		peer_close(&line->legs[i].peer);
	for (unsigned i = 0; i < MAX_STREAMS; i++)
		writer_free(&line->errands[i].body);
	free(line);
}

static const struct peer_handler client_handler = { .on_frame = on_request, .on_closed = on_client_closed };

static void on_leg_open(struct peer *p)
{
	struct line *line = container_of(p, struct leg, peer)->line;

	if (++line->open_legs == CLUSTERS)
		peer_adopt(&line->client, line->relay->set, &client_handler, line->fd, line->relay->version);
}

static void on_leg_closed(struct peer *p, const char *why)
{
	(void)p;
	die("the relay has lost a cluster: %s", why);
}

static const struct peer_handler leg_handler = { on_leg_open, on_answer, on_leg_closed };

static void on_connection(struct source *source, uint32_t events)
{
	struct relay *r = container_of(source, struct relay, source);
	struct line *line = xcalloc(1, sizeof(*line));

	(void)events;
	line->relay = r;
	line->swapped = -1;
	line->fd = accept4(r->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	for (unsigned i = 0; i < CLUSTERS; i++) {
		line->legs[i].line = line;
		line->legs[i].counts = i == ORIGIN;
		if (!peer_connect(&line->legs[i].peer, r->set, &leg_handler, r->clusters[i], r->version))
			die("the relay cannot connect");
	}
}

void relay_listen(struct relay *r)
{
	char error[256];

	r->countdown = FAULTY_REQUEST;
	r->fd = net_listen("127.0.0.1", 0, &r->address, error, sizeof(error));
	if (r->fd < 0)
		die("the relay: %s", error);
	r->source.on_events = on_connection;
	source_add(r->set->epoll_fd, r->fd, &r->source);
}
