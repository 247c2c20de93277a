/* shape.c - a plugin that does nothing, and whose constant is wrong where the compiler is told so. */
#include <cqlferry/plugin.h>

#ifndef MAJOR
#define MAJOR CQLFERRY_ABI_MAJOR
#endif
#ifndef MINOR
#define MINOR CQLFERRY_ABI_MINOR
#endif
#ifndef SIZE
#define SIZE sizeof(struct cqlferry_plugin)
#endif
#ifndef NAME
#define NAME "shape"
#endif
#ifndef VERSION
#define VERSION "1"
#endif
#ifndef FLAGS
#define FLAGS 0
#endif
#ifndef ROW
#define ROW .name = "word"
#endif
#ifndef ROW_COUNT
#define ROW_COUNT 2
#endif

/* As if the interface's struct had grown: what is behind it must not be read. */
struct row {
	struct cqlferry_option option;
#ifdef LONG_ROWS
	const char *more[3];
#endif
};

#ifndef ROW_SIZE
#define ROW_SIZE sizeof(struct row)
#endif

static const struct row rows[] = {
	{ .option = { ROW } },
	{ .option = { .name = "number", .initial = "7", .type = CQLFERRY_OPTION_NUMBER } },
};

#ifdef HIDDEN
extern const struct cqlferry_plugin another_program;
const struct cqlferry_plugin another_program = { .abi_major = MAJOR, .options = &rows[0].option };
#else
#ifdef UNDEFINED
void nowhere(void);
void (*const shape_nowhere)(void) = nowhere;
#endif

const struct cqlferry_plugin cqlferry_plugin = {
	.abi_major = MAJOR,
	.abi_minor = MINOR,
	.struct_size = SIZE,
	.option_size = ROW_SIZE,
	.options = &rows[0].option,
	.option_count = ROW_COUNT,
	.flags = FLAGS,
	.name = NAME,
	.version = VERSION,
};
#endif
