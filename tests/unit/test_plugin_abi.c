/*
 * test_plugin_abi.c - the plugin interface has the sizes, offsets and numbers of
 * each released minor: what was moved does not compile. scripts/check-abi.py
 * compares types, and makes the tables.
 */
#include <check.h>
#include <cqlferry/plugin.h>
#include <stdlib.h>

#define MEMBER_TEXT(name, member)                                                                                      \
	"struct " #name ": " #member " has moved: plugins that were released would read elsewhere"

#if UINTPTR_MAX == UINT64_MAX
#define FIXED(name, size) _Static_assert(sizeof(struct name) == (size), "struct " #name " may not grow");
#define GROWS(name, size) _Static_assert(sizeof(struct name) >= (size), "struct " #name " has shrunk");
#define MEMBER(name, member, offset, size)                                                                             \
	_Static_assert(offsetof(struct name, member) == (offset) && sizeof(((struct name *)0)->member) == (size),      \
		       MEMBER_TEXT(name, member));
#else
#define FIXED(name, size)
#define GROWS(name, size)
#define MEMBER(name, member, offset, size)
#endif
#define CONSTANT(name, number) _Static_assert((long long)(name) == (number), #name " has another number");

#include "../plugins/released/1.0/layout.h"

#undef FIXED
#undef GROWS
#undef MEMBER
#undef CONSTANT

/* The same table once more: how many rows the compiler has seen above. */
#define FIXED(name, size) +1
#define GROWS(name, size) +1
#define MEMBER(name, member, offset, size) +1
#define CONSTANT(name, number) +1

START_TEST(the_tables_are_not_empty)
{
	const int rows =
#include "../plugins/released/1.0/layout.h"
		;

	ck_assert_int_gt(rows, 200);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("plugin_abi");
	TCase *tc = tcase_create("layout");
	SRunner *runner;
	int failed;

	tcase_add_test(tc, the_tables_are_not_empty);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
