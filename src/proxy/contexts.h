/*
 * contexts.h - TLS contexts as the settings want them. Each reads the files
 * anew, so contexts made later have what stands in them then.
 */
#ifndef PROXY_CONTEXTS_H
#define PROXY_CONTEXTS_H

#include "base/tls.h"
#include "proxy/settings.h"

/*
 * *out is NULL for connections without TLS, else freed by tls_context_free().
 * False with the reason in `error`, which names the file.
 */
MUSTCHECK bool contexts_new_cluster(const struct cluster_settings *cs, struct tls_context **out, char *error,
				    size_t error_size);
MUSTCHECK bool contexts_new_listener(const struct listener_settings *ls, struct tls_context **out, char *error,
				     size_t error_size);

#endif
