/* pages.c - see pages.h */
#include "proxy/pages.h"

#include <stdlib.h>

#include "base/log.h"
#include "cql/rows.h"
#include "proxy/plain.h"

bool page_goes_on(const struct server *s, const struct frame *f)
{
	struct plain p;
	struct rows_head rows;
	uint32_t offset = 0;
	const char *why;
	bool goes_on;

	if (f->opcode != OP_RESULT ||
	    !plain_open(&p, s->wire.sb.loop, (enum cql_compression)s->compression, f, s->max_frame, &why))
		return false;
	goes_on = message_skip_preamble(p.data, p.len, p.flags, true, &offset, &why) &&
		  message_parse_rows_head(p.data, p.len, offset, &rows) && (rows.flags & ROWS_CONTINUOUS_PAGE) &&
		  !(rows.flags & ROWS_LAST_CONTINUOUS_PAGE);
	plain_close(&p);
	return goes_on;
}

/* DSE answers REVISE by one row with one boolean. */
bool pages_were_revised(struct loop *loop, enum cql_compression compression, const struct frame *f)
{
	struct plain p;
	struct rows rows;
	uint32_t offset = 0;
	const char *why;
	bool done = false;

	if (f->opcode != OP_RESULT || !plain_open(&p, loop, compression, f, UINT32_MAX, &why))
		return false;
	if (message_skip_preamble(p.data, p.len, p.flags, true, &offset, &why) &&
	    rows_parse(p.data, p.len, offset, f->version, &rows, &why)) {
		done = rows.row_count == 1 && rows.column_count == 1 && rows.values[0].len == 1 &&
		       rows.values[0].p[0] != 0;
		rows_free(&rows);
	}
	plain_close(&p);
	return done;
}

/* ---- pages that nobody waits for ---- */

struct stray {
	struct leg pages;  /* in the place of the leg that was left */
	struct leg cancel; /* the REVISE that stops them */
	struct server *server;
};

static void settle(struct stray *st)
{
	if (!leg_is_out(&st->pages) && !leg_is_out(&st->cancel))
		free(st);
}

static void on_page(struct leg *leg, struct frame *f)
{
	struct stray *st = container_of(leg, struct stray, pages);
	struct server *s = st->server;

	(void)f;
	if (leg_is_out(leg))
		return;
	settle(st);
	server_orphan_came(s);
}

static void on_pages_lost(struct leg *leg, const char *why)
{
	(void)why;
	settle(container_of(leg, struct stray, pages));
}

/*
 * When the node found nothing to stop, then the last page is on its way; or the
 * request has not even begun there, and pages will come. So the id stays taken.
 */
static void on_cancelled(struct leg *leg, struct frame *f)
{
	struct stray *st = container_of(leg, struct stray, cancel);
	struct server *s = st->server;
	const bool are_over = leg_is_out(&st->pages) &&
			      pages_were_revised(s->wire.sb.loop, (enum cql_compression)s->compression, f);

	if (are_over)
		leg_release(&st->pages);
	settle(st);
	if (are_over)
		server_orphan_came(s);
	server_orphan_came(s);
}

static void on_cancel_lost(struct leg *leg, const char *why)
{
	(void)why;
	settle(container_of(leg, struct stray, cancel));
}

static const struct leg_ops pages_ops = { .on_answer = on_page, .on_lost = on_pages_lost };
static const struct leg_ops cancel_ops = { .on_answer = on_cancelled, .on_lost = on_cancel_lost };

void pages_stray(struct server *s, struct leg *leg)
{
	struct stray *st = xcalloc(1, sizeof(*st));
	uint8_t body[8];

	leg_init(&st->pages, &pages_ops);
	leg_init(&st->cancel, &cancel_ops);
	st->server = s;
	server_replace_leg(s, leg, &st->pages);
	server_orphan_left(s);
	put_u32(body, REVISE_CANCEL_PAGING);
	put_u32(body + 4, st->pages.stream);
	if (server_has_room(s) && server_send_body(s, &st->cancel, OP_REVISE, 0, body, sizeof(body)))
		server_orphan_left(s);
	else
		log_debug("%s %s: the pages on stream %u could not be cancelled", cluster_id_name(s->cluster), s->name,
			  st->pages.stream);
}
