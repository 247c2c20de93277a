/*
 * tls_pair.h - two ends of a TLS connection in one process, over a socket
 * pair, for the tests of tls.c. All of it asserts, so it is for tests only.
 */
#ifndef TESTS_UNIT_TLS_PAIR_H
#define TESTS_UNIT_TLS_PAIR_H

#include <check.h>

#include "base/tls.h"
#include "pki.h"

struct pair {
	struct tls *client, *server;
	enum tls_status client_status, server_status; /* of the handshake */
	int client_fd, server_fd;
};

/* Contexts from files that pki.h has made. A client's `cert` may be NULL; a server's `ca` makes client certificates a must. */
struct tls_context *client_context(const char *ca, const char *cert, bool verify_name);
struct tls_context *server_context(const char *cert, const char *ca);

void make_sockets(int fds[2]);
bool goes_on(enum tls_status status); /* not decided yet */
/* Makes both ends, frees the contexts (sessions must outlive them) and shakes hands as far as it goes. */
struct pair connect_pair(struct tls_context *client, struct tls_context *server, const char *name);
void end_pair(struct pair *p);

void expect_text(const char *text, const char *part);
void send_text(struct tls *from, const char *text);
void expect_data(struct tls *to, const char *text);
void expect_open(struct pair *p); /* and carries data both ways */

/* pki_begin(), the certificates, the tests, pki_end(); the exit status for main(). */
int run_with_pki(TCase *tc, const struct pki_cert *certs, unsigned count, void (*more)(void));

#endif
