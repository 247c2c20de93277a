/*
 * select_parser.h - what the two halves of the parser (select.c, select_expr.c)
 * share; nobody else includes it.
 *
 * Names are folded and strings unquoted in the parser's own copy of the text,
 * always behind the scanner: it never looks back.
 */
#ifndef CQL_SELECT_PARSER_H
#define CQL_SELECT_PARSER_H

#include "cql/select.h"

struct select_parser {
	struct scanner scanner;
	struct token t; /* the current one, not yet taken */
	struct select_query *out;
	unsigned expr_cap;
	unsigned depth;
	enum cql_error_code *code;
	char *why;
	size_t why_size;
};

/* Both explain, with the place in the text, and are always false: the text is no CQL as far as we know; or beyond us. */
bool parser_refuse(struct select_parser *p, const char *what);
bool parser_unsupported(struct select_parser *p, const char *what);

void parser_advance(struct select_parser *p);
/* The token behind the current one. */
struct token parser_peek(const struct select_parser *p);
/* Take the current token if it is that one; the last refuses any other. */
bool parser_accept(struct select_parser *p, const char *keyword);
bool parser_accept_symbol(struct select_parser *p, char c);
MUSTCHECK bool parser_expect_symbol(struct select_parser *p, char c);

/* The reserved words of the grammar; as names they have to be quoted. */
bool parser_is_reserved(const struct token *t);
/* A word or quoted name as Cassandra stores it; `expected` is the message without one. */
MUSTCHECK bool parser_name(struct select_parser *p, struct strview *name, const char *expected);
bool parser_is_all(struct strview v, const char *chars);

/* Expressions: the number of the new one goes to *out. A term is no column and has none inside. */
MUSTCHECK bool parser_number(struct select_parser *p, uint16_t *out);
MUSTCHECK bool parser_marker(struct select_parser *p, uint16_t *out);
MUSTCHECK bool parser_expr(struct select_parser *p, bool is_selector, uint16_t *out);

#endif
