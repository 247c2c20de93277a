/*
 * body.h - the bodies of what a fake node answers; the numbers of sections are those of the native protocol v5. Each
 * function appends to a writer.
 */
#ifndef BENCH_BODY_H
#define BENCH_BODY_H

#include "base/net.h"
#include "cql/tables.h"
#include "cql/writer.h"

#define ID_LEN 16

void body_supported(struct writer *w);
void body_set_keyspace(struct writer *w, struct strview keyspace);
/* PREPARED for the statement that reads or writes ks.t. */
void body_prepared(struct writer *w, uint8_t version, const uint8_t id[ID_LEN], bool is_write);
/* system.local of a node whose ids (host, schema) are made of one byte. */
void body_local(struct writer *w, const struct net_address *address, char mark);
/* No rows of one column of a system table. */
void body_no_rows(struct writer *w, struct strview keyspace, struct strview table, struct strview column,
		  struct bytesview type);
/* Everything of RESULT/ROWS that comes before the one value of `len` bytes of its one row. */
#define BODY_ROW_HEAD 20
void body_row_head(struct writer *w, uint32_t len);
/* The class that wants a user and a password, as PasswordAuthenticator does. */
void body_authenticate(struct writer *w);
/* AUTH_RESPONSE with them, SASL PLAIN (RFC 4616). */
void body_auth_response(struct writer *w, struct strview user, struct strview password);

void body_error(struct writer *w, uint32_t code, const char *text);
void body_unprepared(struct writer *w, struct bytesview id);
/* READ_TIMEOUT or WRITE_TIMEOUT: of two replicas that were waited for, one has answered. */
void body_timeout(struct writer *w, bool is_write);

#endif
