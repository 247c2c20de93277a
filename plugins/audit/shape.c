/* shape.c - see shape.h */
#include "shape.h"

#include <strings.h>

enum piece_kind {
	PIECE_END,
	PIECE_BLANK,   /* white space */
	PIECE_COMMENT, /* its end belongs to it, not the end of its line */
	PIECE_WORD,
	PIECE_QUOTED, /* "..." */
	PIECE_STRING, /* '...' or $$...$$ */
	PIECE_NUMBER, /* whatever begins with a digit; uuids and durations, too */
	PIECE_SYMBOL, /* one character */
	PIECE_OPEN,   /* a string, name or comment without an end: all the rest */
};

struct piece {
	enum piece_kind kind;
	const char *at;
	size_t len;
};

struct cursor {
	const char *at, *end;
};

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_hex(char c)
{
	return is_digit(c) || ((c | 0x20) >= 'a' && (c | 0x20) <= 'f');
}

static bool is_word(char c)
{
	return is_digit(c) || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') || c == '_' || (unsigned char)c >= 0x80;
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* 8-4-4-4-12 hexadecimal digits, and no word goes on behind them. */
static bool is_uuid(const char *at, const char *end)
{
	if (end - at < 36 || (end - at > 36 && is_word(at[36])))
		return false;
	for (int i = 0; i < 36; i++) {
		if (i == 8 || i == 13 || i == 18 || i == 23 ? at[i] != '-' : !is_hex(at[i]))
			return false;
	}
	return true;
}

/* One character of `units` in either case, behind digits; each at most once, in this order. */
static const char *skip_units(const char *at, const char *end, const char *units)
{
	while (at < end && is_digit(*at)) {
		const char *p = at;
		const char *unit;

		while (p < end && is_digit(*p))
			p++;
		if (p == end || *p == '\0' || !(unit = strchr(units, *p & ~0x20)))
			return at;
		units = unit + 1;
		at = p + 1;
	}
	return at;
}

/* A word that is a duration as ISO 8601 writes it, P1Y2M3DT4H5M6S or P3W; never P alone. */
static bool is_iso_duration(const char *at, size_t len)
{
	const char *end = at + len;
	const char *p = skip_units(at + 1, end, "YMWD");

	if ((*at | 0x20) != 'p')
		return false;
	if (p < end && (*p | 0x20) == 't')
		p = skip_units(p + 1, end, "HMS");
	return p == end && len > 2;
}

static size_t number_length(const char *at, const char *end)
{
	const char *p = at;
	const bool is_blob = end - at > 1 && at[0] == '0' && (at[1] | 0x20) == 'x';

	if (is_uuid(at, end))
		return 36;
	for (; p < end; p++) {
		if (is_word(*p) || (*p == '.' && end - p > 1 && is_digit(p[1])))
			continue;
		/* The sign of an exponent. */
		if ((*p == '-' || *p == '+') && !is_blob && (p[-1] | 0x20) == 'e' && end - p > 1 && is_digit(p[1]))
			continue;
		break;
	}
	return (size_t)(p - at);
}

/* Behind the closing `quote`, a doubled one is none; NULL: there is no end. */
static const char *skip_quoted(const char *at, const char *end, char quote)
{
	for (at++; at < end; at++) {
		if (*at != quote)
			continue;
		if (end - at > 1 && at[1] == quote)
			at++;
		else
			return at + 1;
	}
	return NULL;
}

/* Behind the two characters `mark`, from `at` on. */
static const char *skip_to(const char *at, const char *end, const char *mark)
{
	for (; end - at > 1; at++) {
		if (at[0] == mark[0] && at[1] == mark[1])
			return at + 2;
	}
	return NULL;
}

static struct piece piece_to(struct cursor *c, enum piece_kind kind, const char *end)
{
	struct piece piece = { kind, c->at, 0 };

	if (!end) {
		piece.kind = PIECE_OPEN;
		end = c->end;
	}
	piece.len = (size_t)(end - c->at);
	c->at = end;
	return piece;
}

static struct piece next_symbol(struct cursor *c)
{
	const char *at = c->at;
	const char second = c->end - at > 1 ? at[1] : '\0';

	if ((*at == '-' && second == '-') || (*at == '/' && second == '/')) {
		while (at < c->end && *at != '\n' && *at != '\r')
			at++;
		return piece_to(c, PIECE_COMMENT, at);
	}
	if (*at == '/' && second == '*')
		return piece_to(c, PIECE_COMMENT, skip_to(at + 2, c->end, "*/"));
	if (*at == '$' && second == '$')
		return piece_to(c, PIECE_STRING, skip_to(at + 2, c->end, "$$"));
	if (*at == '\'')
		return piece_to(c, PIECE_STRING, skip_quoted(at, c->end, '\''));
	if (*at == '"')
		return piece_to(c, PIECE_QUOTED, skip_quoted(at, c->end, '"'));
	return piece_to(c, PIECE_SYMBOL, at + 1);
}

static struct piece next_piece(struct cursor *c)
{
	const char *at = c->at;

	if (at == c->end)
		return (struct piece){ PIECE_END, at, 0 };
	if (is_blank(*at)) {
		while (at < c->end && is_blank(*at))
			at++;
		return piece_to(c, PIECE_BLANK, at);
	}
	if (is_digit(*at))
		return piece_to(c, PIECE_NUMBER, at + number_length(at, c->end));
	if (!is_word(*at))
		return next_symbol(c);
	if (is_hex(*at) && is_uuid(at, c->end))
		return piece_to(c, PIECE_NUMBER, at + 36);
	while (at < c->end && is_word(*at))
		at++;
	if (is_iso_duration(c->at, (size_t)(at - c->at)))
		return piece_to(c, PIECE_NUMBER, at);
	return piece_to(c, PIECE_WORD, at);
}

static bool piece_is(const struct piece *p, const char *word)
{
	return p->len == strlen(word) && strncasecmp(p->at, word, p->len) == 0;
}

static bool is_symbol(const struct piece *p, char c)
{
	return p->kind == PIECE_SYMBOL && *p->at == c;
}

/* ---- passwords ---- */

enum secret_state {
	SECRET_NONE,
	SECRET_WORD,  /* behind PASSWORD */
	SECRET_KEY,   /* behind 'password' or "password", which only = or : makes one that a secret follows */
	SECRET_VALUE, /* behind = or : */
	SECRET_OVER,  /* behind a masked one: another string would be its second half */
};

struct secrets {
	enum secret_state state;
	unsigned words;       /* of the statement so far, up to 2 */
	bool makes, is_roles; /* CREATE or ALTER; of a ROLE or USER */
};

enum secret_verdict {
	SECRET_SHOW,
	SECRET_MASK,
	SECRET_MASK_REST,
};

static bool is_secret_name(const struct piece *p)
{
	if (p->kind == PIECE_WORD)
		return piece_is(p, "password");
	if ((p->kind != PIECE_STRING && p->kind != PIECE_QUOTED) || p->len < 10)
		return false;
	if (*p->at == '$')
		return p->len == 12 && strncasecmp(p->at + 2, "password", 8) == 0;
	return p->len == 10 && strncasecmp(p->at + 1, "password", 8) == 0;
}

static void note_word(struct secrets *s, const struct piece *p)
{
	if (is_symbol(p, ';'))
		*s = (struct secrets){ SECRET_NONE, 0, false, false };
	else if (s->words == 0)
		s->makes = p->kind == PIECE_WORD && (piece_is(p, "create") || piece_is(p, "alter"));
	else if (s->words == 1)
		s->is_roles = s->makes && p->kind == PIECE_WORD && (piece_is(p, "role") || piece_is(p, "user"));
	if (s->words < 2 && !is_symbol(p, ';'))
		s->words++;
}

/* What begins right behind a string belongs to what somebody took for the string. */
static bool is_torn(const struct cursor *c)
{
	return c->at < c->end && (is_word(*c->at) || *c->at == '\'' || *c->at == '"' || *c->at == '$');
}

/* `p` is neither blank nor comment. */
static enum secret_verdict judge(struct secrets *s, const struct piece *p, const struct cursor *rest)
{
	const enum secret_state state = s->state;
	const bool is_value = state == SECRET_WORD || state == SECRET_VALUE;
	const bool is_text = p->kind == PIECE_STRING || p->kind == PIECE_QUOTED || p->kind == PIECE_OPEN;

	note_word(s, p);
	s->state = is_secret_name(p) ? p->kind == PIECE_WORD ? SECRET_WORD : SECRET_KEY : SECRET_NONE;
	if (state == SECRET_NONE)
		return SECRET_SHOW;
	if (state == SECRET_OVER)
		return is_text ? SECRET_MASK_REST : SECRET_SHOW;
	if (state != SECRET_VALUE && (is_symbol(p, '=') || is_symbol(p, ':'))) {
		s->state = SECRET_VALUE;
		return SECRET_SHOW;
	}
	if (is_value && is_text) {
		s->state = SECRET_OVER;
		return p->kind == PIECE_STRING && !is_torn(rest) ? SECRET_MASK : SECRET_MASK_REST;
	}
	if (!is_value || !s->is_roles || is_symbol(p, ';') || is_symbol(p, '?') || piece_is(p, "and"))
		return SECRET_SHOW;
	return SECRET_MASK_REST;
}

/* ---- the text ---- */

/* Behind what cannot end a term, a minus is the sign of a number. */
static bool is_before_sign(const struct piece *p)
{
	return p->kind == PIECE_END || (p->kind == PIECE_SYMBOL && !strchr(")]}?*", *p->at));
}

static bool is_literal(const struct piece *p)
{
	if (p->kind == PIECE_WORD)
		return piece_is(p, "true") || piece_is(p, "false") || piece_is(p, "nan") || piece_is(p, "infinity");
	return p->kind == PIECE_STRING || p->kind == PIECE_NUMBER || p->kind == PIECE_OPEN;
}

struct shaper {
	struct buffer *out;
	size_t start;       /* of this text in `out` */
	struct piece last;  /* that was neither blank nor comment */
	bool is_blank_next; /* before the next one there was white space or a comment */
};

static void shape_piece(struct shaper *s, const struct piece *p, const struct cursor *rest)
{
	if (s->is_blank_next && s->out->len > s->start)
		buffer_char(s->out, ' ');
	s->is_blank_next = false;
	if (is_symbol(p, '-') && rest->at < rest->end && is_digit(*rest->at) && is_before_sign(&s->last))
		return; /* the sign goes with its number */
	if (is_literal(p))
		buffer_char(s->out, '?');
	else
		buffer_add(s->out, p->at, p->len);
}

bool shape_write(struct buffer *out, const char *text, size_t len, bool is_shape)
{
	struct cursor c = { text, text + len };
	struct shaper shaper = { .out = out, .start = out->len };
	struct secrets secrets = { SECRET_NONE, 0, false, false };
	bool was_masked = false;
	struct piece p;

	while ((p = next_piece(&c)).kind != PIECE_END) {
		enum secret_verdict verdict;

		if (p.kind == PIECE_BLANK || p.kind == PIECE_COMMENT) {
			shaper.is_blank_next = true;
			if (!is_shape)
				buffer_add(out, p.at, p.len);
			continue;
		}
		verdict = judge(&secrets, &p, &c);
		was_masked |= verdict != SECRET_SHOW;
		if (verdict == SECRET_MASK_REST) {
			if (is_shape && shaper.is_blank_next)
				buffer_char(out, ' ');
			buffer_text(out, "***");
			break;
		}
		if (is_shape)
			shape_piece(&shaper, &p, &c);
		else if (verdict == SECRET_MASK)
			buffer_text(out, "'***'");
		else
			buffer_add(out, p.at, p.len);
		shaper.last = p;
	}
	return was_masked;
}
