/* offline.c - see offline.h */
#include "offline.h"

#include <stdio.h>

#include "base/log.h"
#include "policy/plugin_file.h"
#include "policy/plugin_set.h"
#include "policy/rehearsal.h"

static bool check_plugins(const struct settings *settings)
{
	char error[1024];
	struct plugin_set *set;

	if (settings->plugin_count == 0)
		return true;
	set = plugin_set_open(settings, NULL, NULL, error, sizeof(error));
	if (!set)
		log_error("%s", error);
	plugin_set_close(set);
	return set != NULL;
}

bool offline_check_config(const struct config *config)
{
	const struct settings *s = config_settings(config);
	char error[REHEARSAL_ERROR_MAX];

	if (!rehearsal_check(s, stdout, error, sizeof(error)) ||
	    (s->log_file && !log_can_open(s->log_file, error, sizeof(error)))) {
		log_error("%s", error);
		return false;
	}
	if (!check_plugins(s))
		return false;
	config_print_good(config, stdout);
	return true;
}

int offline_plugin_info(const char *path)
{
	char error[1024];
	const struct plugin_file *file = plugin_file_load(path, error, sizeof(error));

	if (!file) {
		fprintf(stderr, "cqlferry: %s\n", error);
		return EXIT_CONFIG;
	}
	plugin_file_describe(file, stdout);
	return 0;
}

int offline_explain(const struct settings *settings, const struct arguments_explain *args, int failed)
{
	struct explain_request request;
	char error[REHEARSAL_ERROR_MAX];

	if (!explain_request_read(&(struct explain_words){ args->statement, args->keyspace, args->user, args->address,
							   args->driver, args->driver_version, args->consistency,
							   args->is_prepared },
				  &request, error, sizeof(error))) {
		fprintf(stderr, "cqlferry: %s\n", error);
		return EXIT_USAGE;
	}
	if (rehearsal_explain(settings, &request, stdout, error, sizeof(error))) {
		if (settings->plugin_count > 0)
			puts("plugins are not asked here; what they decide comes before all this");
		return 0;
	}
	log_error("%s", error);
	return failed;
}
