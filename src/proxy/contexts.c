/* contexts.c - see contexts.h */
#include "proxy/contexts.h"

#include "proxy/bundle.h"

static bool new_by_bundle(const char *path, struct tls_context **out, char *error, size_t error_size)
{
	struct bundle *bundle = bundle_load(path, error, error_size);
	struct tls_options options;

	if (!bundle)
		return false;
	options = bundle_tls_options(bundle);
	*out = tls_context_new_client(&options, error, error_size);
	bundle_free(bundle);
	return *out != NULL;
}

bool contexts_new_cluster(const struct cluster_settings *cs, struct tls_context **out, char *error, size_t error_size)
{
	const struct tls_options options = {
		.ca = cs->tls_ca,
		.cert = cs->tls_cert,
		.key = cs->tls_key,
		.verify_name = cs->tls == TLS_FULL,
	};

	*out = NULL;
	if (cs->secure_connect_bundle)
		return new_by_bundle(cs->secure_connect_bundle, out, error, error_size);
	if (cs->tls == TLS_NONE)
		return true;
	*out = tls_context_new_client(&options, error, error_size);
	return *out != NULL;
}

bool contexts_new_listener(const struct listener_settings *ls, struct tls_context **out, char *error, size_t error_size)
{
	const struct tls_options options = {
		.ca = ls->tls_ca,
		.cert = ls->tls_cert,
		.key = ls->tls_key,
		.require_client_cert = ls->tls_require_client_cert,
		.ask_client_cert = ls->tls_ask_client_cert,
	};

	*out = NULL;
	if (!ls->tls_cert)
		return true;
	*out = tls_context_new_server(&options, error, error_size);
	return *out != NULL;
}
