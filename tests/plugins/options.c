/* options.c - has an option of each type, and says on standard error what each is set to. */
#include <cqlferry/plugin.h>
#include <inttypes.h>
#include <stdio.h>

static const struct cqlferry_option options[] = {
	{ .name = "text", .initial = "a text", .help = "any text" },
	{ .name = "number", .type = CQLFERRY_OPTION_NUMBER, .initial = "-1", .min = -5, .max = 5 },
	{ .name = "flag", .type = CQLFERRY_OPTION_BOOL, .initial = "off", .flags = CQLFERRY_OPTION_RELOAD },
	{ .name = "time", .type = CQLFERRY_OPTION_DURATION, .initial = "1s", .min = 10, .max = 60000 },
	{ .name = "room", .type = CQLFERRY_OPTION_SIZE },
	{ .name = "full",
	  .type = CQLFERRY_OPTION_CHOICE,
	  .initial = "block",
	  .choices = "drop block refuse",
	  .flags = CQLFERRY_OPTION_RELOAD },
	{ .name = "path", .type = CQLFERRY_OPTION_PATH },
	{ .name = "key", .type = CQLFERRY_OPTION_SECRET, .flags = CQLFERRY_OPTION_REQUIRED | CQLFERRY_OPTION_RELOAD },
	{ .name = "item", .flags = CQLFERRY_OPTION_REPEATED },
};
#define OPTION_COUNT (sizeof(options) / sizeof(options[0]))

static void say(const struct cqlferry_value *values)
{
	for (unsigned i = 0; i < OPTION_COUNT; i++)
		fprintf(stderr, "option %s = [%s] %" PRId64 " %s\n", options[i].name,
			values[i].text ? values[i].text : "not set", values[i].number,
			values[i].is_set ? values[i].place : "-");
}

static int32_t options_open(const struct cqlferry_host *host, const struct cqlferry_value *values, void **self)
{
	(void)host;
	(void)self;
	say(values);
	return 0;
}

static int32_t options_reload(void *self, const struct cqlferry_value *values)
{
	(void)self;
	say(values);
	return 0;
}

const struct cqlferry_plugin cqlferry_plugin = {
	.abi_major = CQLFERRY_ABI_MAJOR,
	.abi_minor = CQLFERRY_ABI_MINOR,
	.struct_size = sizeof(struct cqlferry_plugin),
	.option_size = sizeof(struct cqlferry_option),
	.options = options,
	.option_count = OPTION_COUNT,
	.name = "options",
	.version = "1",
	.open = options_open,
	.reload = options_reload,
};
