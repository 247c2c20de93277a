/*
 * config_helper.h - what the tests of the configuration share: a scratch
 * folder to write files into, and one call that loads and keeps the error, the
 * warnings and what --print-config would say.
 */
#ifndef TESTS_CONFIG_HELPER_H
#define TESTS_CONFIG_HELPER_H

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "control/config.h"

static char scratch_folder[] = "/tmp/cqlferry-config-XXXXXX";
static char home_folder[4096];

static struct config *config;
static const struct settings *settings;
static char error[4096];
static char *warnings;
static char *printed;

static inline void file_write(const char *name, const void *content, size_t size)
{
	FILE *f = fopen(name, "w");

	ck_assert_ptr_nonnull(f);
	ck_assert_uint_eq(fwrite(content, 1, size, f), size);
	ck_assert_int_eq(fclose(f), 0);
}

static inline void config_drop(void)
{
	config_free(config);
	free(warnings);
	free(printed);
	config = NULL;
	settings = NULL;
	warnings = printed = NULL;
}

/* `environment` and `sets` end with NULL and may be NULL. True when it loads. */
static inline bool load(const char *path, const char *const *environment, const char *const *sets)
{
	static const char *const nothing[] = { NULL };
	struct config_request request = { .path = path };
	size_t size;
	FILE *f;

	config_drop();
	/* config_request takes what main() has, which is not const; nothing writes to it. */
	memcpy(&request.environment, environment ? (const void *)&environment : &(const char *const *){ nothing },
	       sizeof(request.environment));
	memcpy(&request.overrides, &sets, sizeof(request.overrides));
	while (sets && sets[request.override_count])
		request.override_count++;

	f = open_memstream(&warnings, &size);
	config = config_load(&request, f, error, sizeof(error));
	fclose(f);
	if (!config) {
		ck_assert_msg(error[0], "an error without a message");
		return false;
	}
	ck_assert_str_eq(error, "");
	settings = config_settings(config);
	f = open_memstream(&printed, &size);
	config_print(config, f);
	fclose(f);
	return true;
}

static inline bool load_text(const char *name, const char *text)
{
	file_write(name, text, strlen(text));
	return load(name, NULL, NULL);
}

/* Each test runs in a folder of its own, so that messages begin with a plain file name. */
static inline void scratch_begin(void)
{
	ck_assert_ptr_nonnull(getcwd(home_folder, sizeof(home_folder)));
	strcpy(strrchr(scratch_folder, '-'), "-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(scratch_folder));
	ck_assert_int_eq(chdir(scratch_folder), 0);
}

static inline void scratch_end(void)
{
	static const char *const names[] = { "t.ini", "t.yaml", "t.yml", "secret", "t.conf" };

	config_drop();
	for (unsigned i = 0; i < ARRAY_LEN(names); i++)
		unlink(names[i]);
	ck_assert_int_eq(chdir(home_folder), 0);
	ck_assert_int_eq(rmdir(scratch_folder), 0);
}

#endif
