/* test_driver.c - what drivers call themselves: shared by pair, cut, made printable, gone with the last hold. */
#include "proxy/driver.h"

#include <stdio.h>

#include "vectors.h"

static struct drivers drivers;

static void expect(const struct driver *d, const char *name, const char *version)
{
	ck_assert_str_eq(driver_name(d).p, name);
	ck_assert_uint_eq(driver_name(d).len, strlen(name));
	ck_assert_str_eq(driver_version(d).p, version);
	ck_assert_uint_eq(driver_version(d).len, strlen(version));
}

static void expect_none_left(void)
{
	for (unsigned i = 0; i < DRIVER_SLOTS; i++)
		ck_assert_ptr_null(drivers.slots[i]);
}

START_TEST(equal_pairs_share_one)
{
	struct driver *a = driver_get(&drivers, SV("driver"), SV("1.2"));
	struct driver *b = driver_get(&drivers, SV("driver"), SV("1.2"));
	struct driver *shifted = driver_get(&drivers, SV("driver1"), SV(".2"));

	ck_assert_ptr_eq(a, b);
	ck_assert_ptr_ne(a, shifted);
	driver_put(&drivers, a);
	expect(b, "driver", "1.2");
	expect(shifted, "driver1", ".2");
	driver_put(&drivers, b);
	driver_put(&drivers, shifted);
	expect_none_left();
}
END_TEST

START_TEST(either_may_be_missing)
{
	struct driver *name = driver_get(&drivers, SV("driver"), SV(""));
	struct driver *version = driver_get(&drivers, SV(""), SV("driver"));

	expect(name, "driver", "");
	expect(version, "", "driver");
	ck_assert_ptr_null(driver_get(&drivers, SV(""), SV("")));
	expect(NULL, "", "");
	driver_put(&drivers, NULL);
	driver_put(&drivers, name);
	driver_put(&drivers, version);
	expect_none_left();
}
END_TEST

START_TEST(strange_texts)
{
	char longest[DRIVER_TEXT_MAX + 1], longer[DRIVER_TEXT_MAX + 2];
	struct driver *d;

	memset(longer, 'x', sizeof(longer));
	longer[sizeof(longer) - 1] = '\0';
	memcpy(longest, longer, sizeof(longest));
	longest[sizeof(longest) - 1] = '\0';
	d = driver_get(&drivers, sv_from(longer), sv_from(longer));
	expect(d, longest, longest);
	driver_put(&drivers, d);
	d = driver_get(&drivers, (struct strview){ "a\0b", 3 }, SV("\n\x7f\xc3\xbc~ "));
	expect(d, "a?b", "????~ ");
	driver_put(&drivers, d);
	expect_none_left();
}
END_TEST

START_TEST(many)
{
	static struct driver *all[2000];
	char name[16];

	for (unsigned i = 0; i < ARRAY_LEN(all); i++) {
		snprintf(name, sizeof(name), "driver %u", i);
		all[i] = driver_get(&drivers, sv_from(name), SV("1"));
	}
	for (unsigned i = 0; i < ARRAY_LEN(all); i++) {
		struct driver *again;

		snprintf(name, sizeof(name), "driver %u", i);
		again = driver_get(&drivers, sv_from(name), SV("1"));
		ck_assert_ptr_eq(again, all[i]);
		driver_put(&drivers, again);
		driver_put(&drivers, all[i]);
	}
	expect_none_left();
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("driver");

	tcase_add_test(tc, equal_pairs_share_one);
	tcase_add_test(tc, either_may_be_missing);
	tcase_add_test(tc, strange_texts);
	tcase_add_test(tc, many);
	return run_tcase("driver", tc);
}
