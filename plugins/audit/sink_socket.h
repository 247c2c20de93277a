/*
 * sink_socket.h - lines as datagrams to a local daemon: syslog (RFC 3164, as
 * libc writes it to /dev/log) or the journal's native protocol
 * (systemd.io/JOURNAL_NATIVE_PROTOCOL). Neither needs a library. A daemon that
 * is slow or away makes lines wait.
 */
#ifndef AUDIT_SINK_SOCKET_H
#define AUDIT_SINK_SOCKET_H

#include "sink.h"

#define SINK_SYSLOG_PATH "/dev/log"
#define SINK_JOURNAL_PATH "/run/systemd/journal/socket"

/* `facility` as in syslog's words ("local0"); `instance` is told to the journal. NULL: `error` says why. */
struct sink *sink_syslog_open(const struct sink_listener *listener, const char *path, unsigned facility, char *error,
			      size_t size);
struct sink *sink_journal_open(const struct sink_listener *listener, const char *path, unsigned facility,
			       const char *instance, char *error, size_t size);

/* The words of facilities by blanks, for an option's choices; a word's place gives its number by the function. */
#define SINK_FACILITIES "auth authpriv daemon local0 local1 local2 local3 local4 local5 local6 local7 user"
unsigned sink_facility(unsigned place);

#endif
