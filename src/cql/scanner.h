/*
 * scanner.h - cuts CQL text into tokens without copying or allocating.
 *
 * Lexical rules: Cassandra's Lexer.g. Comments: "--" and "//" to the end of
 * the line (CR or LF) or of the text, block comments, not nested. Strings:
 * '..' with '' inside, $$..$$. Names: "..." with "" inside keep their case;
 * unquoted names fold to lower case. White space is blank, tab, CR, LF.
 * Bytes above 127 count as letters: what they mean is the cluster's to say.
 */
#ifndef CQL_SCANNER_H
#define CQL_SCANNER_H

#include "base/strview.h"

enum token_kind {
	TOKEN_END,
	TOKEN_WORD,   /* unquoted name, keyword, true, false, null */
	TOKEN_QUOTED, /* "..." ; the view includes the quotes */
	TOKEN_STRING, /* '...' or $$...$$ ; the view includes the quotes */
	TOKEN_NUMBER, /* hex, floats: whatever starts with a digit; uuids, whatever they start with */
	TOKEN_MARKER, /* ? or :name ; for the latter the view includes the colon */
	TOKEN_SYMBOL, /* one character of punctuation, or one of <= >= != */
	TOKEN_BAD,    /* unterminated string, name or comment: the view reaches to the end of the text */
};

struct token {
	enum token_kind kind;
	struct strview text;
	uint32_t offset; /* in the text */
};

struct scanner {
	struct strview text;
	size_t pos;
};

/* The text of a name as Cassandra stores it fits in here, or is_cut is set. */
#define STATEMENT_NAME_MAX 64

/* An identifier as Cassandra stores it: unquoted, folded where it was not quoted. A longer name than fits sets is_cut. */
struct statement_name {
	char text[STATEMENT_NAME_MAX];
	uint8_t len;
	bool is_cut;
};

static inline struct strview statement_name_view(const struct statement_name *n)
{
	return (struct strview){ n->text, n->len };
}

static inline bool statement_name_equal(const struct statement_name *a, const struct statement_name *b)
{
	return sv_equal(statement_name_view(a), statement_name_view(b));
}

void scanner_init(struct scanner *s, struct strview text);
/* The next token; at the end TOKEN_END, again and again. */
struct token scanner_next(struct scanner *s);
/* Moves on over white space and comments. False (and the scanner at the end) when a block comment has no end. */
bool scanner_skip_blank(struct scanner *s);
/*
 * The scanner stands on a quote, ' or " or the first $ of $$: moves behind the
 * closing one. False (and the scanner at the end) when there is none.
 */
bool scanner_skip_quoted(struct scanner *s);

/* True for a byte that may continue a word: letter, digit, underscore, and all above 127. */
bool scanner_is_word_char(uint8_t c);

/* True for an unquoted word that equals `keyword` (given in upper case) in any letter case. */
bool token_is_keyword(const struct token *t, const char *keyword);
/* True for a symbol of exactly this one character. */
bool token_is_symbol(const struct token *t, char c);
/* Takes a WORD or QUOTED token as an identifier; false for any other token. */
MUSTCHECK bool token_name(const struct token *t, struct statement_name *out);
/* The name of a :name or :"name" MARKER; len 0 for '?'. False for any other token. */
MUSTCHECK bool token_marker_name(const struct token *t, struct statement_name *out);
/*
 * Copies a STRING token without its quotes, "''" made one, to out as a C
 * string; what does not fit in `size` is cut. False for any other token.
 */
MUSTCHECK bool token_string(const struct token *t, char *out, size_t size);

#endif
