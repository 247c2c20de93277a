/* scanner.c - cuts CQL text into tokens. */
#include "cql/scanner.h"

enum {
	CH_BLANK = 1,
	CH_DIGIT = 2,
	CH_LETTER = 4, /* and underscore, and every byte above 127 */
	CH_WORD = CH_DIGIT | CH_LETTER,
};

static const uint8_t char_class[256] = {
	['\t'] = CH_BLANK, ['\n'] = CH_BLANK,         ['\r'] = CH_BLANK,
	[' '] = CH_BLANK,  ['0' ... '9'] = CH_DIGIT,  ['A' ... 'Z'] = CH_LETTER,
	['_'] = CH_LETTER, ['a' ... 'z'] = CH_LETTER, [128 ... 255] = CH_LETTER,
};

static inline bool char_is(char c, uint8_t classes)
{
	return (char_class[(uint8_t)c] & classes) != 0;
}

static inline char fold(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
}

bool scanner_is_word_char(uint8_t c)
{
	return (char_class[c] & CH_WORD) != 0;
}

void scanner_init(struct scanner *s, struct strview text)
{
	s->text = text.p ? text : SV("");
	s->pos = 0;
}

/* The scanner stands on the first character of "--" or "//": moves on to the end of the line. */
static void skip_line(struct scanner *s)
{
	const char *p = s->text.p;
	size_t pos = s->pos + 2;

	while (pos < s->text.len && p[pos] != '\n' && p[pos] != '\r')
		pos++;
	s->pos = pos;
}

/* The scanner stands on the slash of a block comment: moves behind it. */
static bool skip_block(struct scanner *s)
{
	const char *p = s->text.p;
	size_t pos = s->pos + 2;

	while (pos + 1 < s->text.len) {
		if (p[pos] == '*' && p[pos + 1] == '/') {
			s->pos = pos + 2;
			return true;
		}
		pos++;
	}
	s->pos = s->text.len;
	return false;
}

bool scanner_skip_blank(struct scanner *s)
{
	const char *p = s->text.p;
	size_t len = s->text.len;

	for (;;) {
		char c, next;

		while (s->pos < len && char_is(p[s->pos], CH_BLANK))
			s->pos++;
		if (len - s->pos < 2)
			return true;
		c = p[s->pos];
		next = p[s->pos + 1];
		if ((c == '-' && next == '-') || (c == '/' && next == '/'))
			skip_line(s);
		else if (c == '/' && next == '*') {
			if (!skip_block(s))
				return false;
		} else
			return true;
	}
}

/* Behind the "$$" that ends a string of that kind. */
static bool skip_dollars(struct scanner *s)
{
	const char *p = s->text.p;
	size_t pos = s->pos + 2;

	while (pos + 1 < s->text.len) {
		if (p[pos] == '$' && p[pos + 1] == '$') {
			s->pos = pos + 2;
			return true;
		}
		pos++;
	}
	s->pos = s->text.len;
	return false;
}

bool scanner_skip_quoted(struct scanner *s)
{
	const char *p = s->text.p;
	char quote = p[s->pos];
	size_t pos = s->pos + 1;

	if (quote == '$')
		return skip_dollars(s);
	while (pos < s->text.len) {
		const char *end = memchr(p + pos, quote, s->text.len - pos);

		if (!end)
			break;
		pos = (size_t)(end - p) + 1;
		if (pos == s->text.len || p[pos] != quote) {
			s->pos = pos;
			return true;
		}
		pos++; /* a doubled quote stands for itself */
	}
	s->pos = s->text.len;
	return false;
}

/* 8-4-4-4-12 hexadecimal digits, and nothing behind that would make it a longer word. */
static bool is_uuid(const char *p, size_t left)
{
	if (left < 36 || p[8] != '-' || (left > 36 && char_is(p[36], CH_WORD)))
		return false;
	for (unsigned i = 0; i < 36; i++) {
		char c = fold(p[i]);

		if (i == 8 || i == 13 || i == 18 || i == 23) {
			if (c != '-')
				return false;
		} else if (!char_is(c, CH_DIGIT) && (c < 'a' || c > 'f')) {
			return false;
		}
	}
	return true;
}

static size_t word_end(const struct scanner *s, size_t pos)
{
	while (pos < s->text.len && char_is(s->text.p[pos], CH_WORD))
		pos++;
	return pos;
}

/* Digits, letters (hex, durations), a point before a digit, a sign behind the e of a float. */
static size_t number_end(const struct scanner *s, size_t start)
{
	const char *p = s->text.p;
	bool is_hex = s->text.len - start > 1 && p[start] == '0' && fold(p[start + 1]) == 'x';
	size_t pos = word_end(s, start);

	while (!is_hex && s->text.len - pos > 1 && char_is(p[pos + 1], CH_DIGIT)) {
		bool is_point = p[pos] == '.';
		bool is_exponent_sign = (p[pos] == '-' || p[pos] == '+') && fold(p[pos - 1]) == 'e';

		if (!is_point && !is_exponent_sign)
			break;
		pos = word_end(s, pos + 1);
	}
	return pos;
}

/* A colon: a named marker when a name follows at once, else punctuation. */
static enum token_kind scan_colon(struct scanner *s)
{
	char c = s->pos + 1 < s->text.len ? s->text.p[s->pos + 1] : '\0';

	s->pos++;
	if (char_is(c, CH_LETTER)) {
		s->pos = word_end(s, s->pos);
		return TOKEN_MARKER;
	}
	if (c == '"')
		return scanner_skip_quoted(s) ? TOKEN_MARKER : TOKEN_BAD;
	return TOKEN_SYMBOL;
}

static enum token_kind scan_symbol(struct scanner *s)
{
	const char *p = s->text.p + s->pos;
	bool has_next = s->pos + 1 < s->text.len;

	if (*p == '\'' || *p == '"' || (*p == '$' && has_next && p[1] == '$')) {
		if (!scanner_skip_quoted(s))
			return TOKEN_BAD;
		return *p == '"' ? TOKEN_QUOTED : TOKEN_STRING;
	}
	if (*p == ':')
		return scan_colon(s);
	s->pos++;
	if (*p == '?')
		return TOKEN_MARKER;
	if (has_next && p[1] == '=' && (*p == '<' || *p == '>' || *p == '!'))
		s->pos++;
	return TOKEN_SYMBOL;
}

struct token scanner_next(struct scanner *s)
{
	size_t start = s->pos;
	const char *p;
	struct token t;

	if (!scanner_skip_blank(s)) {
		t.kind = TOKEN_BAD;
	} else if ((start = s->pos) == s->text.len) {
		t.kind = TOKEN_END;
	} else {
		p = s->text.p + start;
		if (char_is(*p, CH_WORD) && is_uuid(p, s->text.len - start)) {
			t.kind = TOKEN_NUMBER;
			s->pos += 36;
		} else if (char_is(*p, CH_LETTER)) {
			t.kind = TOKEN_WORD;
			s->pos = word_end(s, start);
		} else if (char_is(*p, CH_DIGIT)) {
			t.kind = TOKEN_NUMBER;
			s->pos = number_end(s, start);
		} else {
			t.kind = scan_symbol(s);
		}
	}
	t.offset = (uint32_t)start;
	t.text.p = s->text.p + start;
	t.text.len = s->pos - start;
	return t;
}

bool token_is_keyword(const struct token *t, const char *keyword)
{
	size_t i;

	if (t->kind != TOKEN_WORD)
		return false;
	for (i = 0; i < t->text.len; i++) {
		if (keyword[i] == '\0' || (t->text.p[i] & ~0x20) != keyword[i])
			return false;
	}
	return keyword[i] == '\0';
}

bool token_is_symbol(const struct token *t, char c)
{
	return t->kind == TOKEN_SYMBOL && t->text.len == 1 && t->text.p[0] == c;
}

/*
 * Copies what stands inside quotes with doubled quotes made one; returns the
 * number of bytes the whole text has, of which at most `room` are written.
 */
static size_t unquote(struct strview inside, char quote, char *out, size_t room)
{
	size_t n = 0;

	for (size_t i = 0; i < inside.len; i++) {
		if (n < room)
			out[n] = inside.p[i];
		n++;
		if (inside.p[i] == quote && quote != '$')
			i++;
	}
	return n;
}

static void name_from_word(struct strview word, struct statement_name *out)
{
	size_t n = MIN(word.len, (size_t)STATEMENT_NAME_MAX);

	for (size_t i = 0; i < n; i++)
		out->text[i] = fold(word.p[i]);
	out->len = (uint8_t)n;
	out->is_cut = word.len > n;
}

static void name_from_quoted(struct strview quoted, struct statement_name *out)
{
	struct strview inside = { quoted.p + 1, quoted.len - 2 };
	size_t n = unquote(inside, '"', out->text, STATEMENT_NAME_MAX);

	out->len = (uint8_t)MIN(n, (size_t)STATEMENT_NAME_MAX);
	out->is_cut = n > STATEMENT_NAME_MAX;
}

bool token_name(const struct token *t, struct statement_name *out)
{
	if (t->kind == TOKEN_WORD)
		name_from_word(t->text, out);
	else if (t->kind == TOKEN_QUOTED)
		name_from_quoted(t->text, out);
	else
		return false;
	return true;
}

bool token_marker_name(const struct token *t, struct statement_name *out)
{
	struct strview name = { t->text.p + 1, t->text.len - 1 };

	if (t->kind != TOKEN_MARKER)
		return false;
	if (name.len > 0 && name.p[0] == '"')
		name_from_quoted(name, out);
	else
		name_from_word(name, out);
	return true;
}

bool token_string(const struct token *t, char *out, size_t size)
{
	size_t quote_len = t->kind == TOKEN_STRING && t->text.p[0] == '$' ? 2 : 1;
	struct strview inside;
	size_t n;

	if (t->kind != TOKEN_STRING)
		return false;
	inside = (struct strview){ t->text.p + quote_len, t->text.len - 2 * quote_len };
	n = unquote(inside, t->text.p[0], out, size - 1);
	out[MIN(n, size - 1)] = '\0';
	return true;
}
