/*
 * shape.h - the text of a statement as it may be written down: passwords of
 * role statements always masked, and, if wanted, only its shape: literals
 * replaced by '?', comments left out, white space made one blank. One pass,
 * without memory; lexical rules: Cassandra's Lexer.g.
 */
#ifndef AUDIT_SHAPE_H
#define AUDIT_SHAPE_H

#include "buffer.h"

/*
 * Appends the text to `out`. True: something was masked, so that error texts about the statement, which may quote it,
 * are not to be written either.
 *
 * What follows the word PASSWORD (and = or :) as a string becomes '***'. Where that is not well-formed (a quote in it
 * that was not doubled, no end), or in CREATE and ALTER of ROLE and USER anything but a string follows, nothing of the
 * rest is written but ***: nobody can say where such a password ends.
 */
bool shape_write(struct buffer *out, const char *text, size_t len, bool is_shape);

#endif
