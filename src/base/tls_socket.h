/* tls_socket.h - how OpenSSL reads from and writes to a socket of ours. For tls.c. */
#ifndef BASE_TLS_SOCKET_H
#define BASE_TLS_SOCKET_H

#include <openssl/bio.h>

/*
 * A BIO over a non-blocking socket, which stays its caller's. NULL when memory
 * is exhausted.
 *
 * OpenSSL's own calls read(2) and write(2), which take the way of files: with
 * recv(2) and send(2) a record costs less in the kernel. And its control
 * function is asked some ten times for each record.
 */
BIO *tls_socket_new(int fd);

#endif
