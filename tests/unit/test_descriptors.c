/* test_descriptors.c - how many open files the settings may need, and what is said when that is too many. */
#include "control/descriptors.h"

#include <sys/resource.h>

#include "vectors.h"

/* What is of no concern here is 0. */
static struct settings plain(void)
{
	return (struct settings){
		.workers = 4,
		.max_client_connections = 10000,
		.backend_connections = BACKEND_DEDICATED,
		.connections_per_host = 2,
		.max_connections_per_host = 1024,
		.listener_count = 1,
		.read_mode = READ_PRIMARY_ONLY,
	};
}

START_TEST(dedicated)
{
	struct settings s = plain();
	struct descriptor_need need = descriptors_needed(&s, 50);

	ck_assert_uint_eq(need.each, 3);
	ck_assert_uint_eq(need.clients, 10000);
	ck_assert_uint_eq(need.nodes, 0);
	ck_assert_uint_eq(need.own, 64 + 16 + 1);
	ck_assert_uint_eq(need.total, 30081);
	s.read_mode = READ_DUAL_ASYNC_ON_SECONDARY;
	need = descriptors_needed(&s, 50);
	ck_assert_uint_eq(need.each, 4);
	ck_assert_uint_eq(need.total, 40081);
}
END_TEST

START_TEST(pooled)
{
	struct settings s = plain();
	struct descriptor_need need;

	s.backend_connections = BACKEND_POOLED;
	need = descriptors_needed(&s, 0);
	ck_assert_uint_eq(need.each, 1);
	ck_assert_uint_eq(need.total, 10081);
	need = descriptors_needed(&s, 50);
	ck_assert_uint_eq(need.nodes, 50 * 4 * 2);
	ck_assert_uint_eq(need.total, 10481);
	s.max_connections_per_host = 5;
	ck_assert_uint_eq(descriptors_needed(&s, 50).nodes, 50 * 5);
	s.max_connections_per_host = 0;
	ck_assert_uint_eq(descriptors_needed(&s, 50).nodes, 50 * 4 * 2);
	s.read_mode = READ_DUAL_ASYNC_ON_SECONDARY;
	ck_assert_uint_eq(descriptors_needed(&s, 50).each, 2);
}
END_TEST

START_TEST(the_largest_numbers)
{
	struct settings s = plain();

	s.max_client_connections = 1000000;
	s.workers = 1024;
	s.connections_per_host = 64;
	s.max_connections_per_host = 0;
	s.backend_connections = BACKEND_POOLED;
	ck_assert_uint_eq(descriptors_needed(&s, 1000).total, 1000000 + 65536000ull + 64 + 4096 + 1);
}
END_TEST

START_TEST(what_is_said)
{
	struct settings s = plain();
	struct descriptor_need need = descriptors_needed(&s, 0);
	char text[512];

	ck_assert(!descriptors_describe(&need, 30081, text, sizeof(text)));
	ck_assert(!descriptors_describe(&need, 0, text, sizeof(text))); /* not known */
	ck_assert(descriptors_describe(&need, 30080, text, sizeof(text)));
	ck_assert_str_eq(text,
			 "the limit of open files (30080) is below what may be needed, 30081: 3 for each of "
			 "max_client_connections (10000), 0 for connections to nodes, 81 of the process; raise it "
			 "(LimitNOFILE, ulimit -n), or lower max_client_connections to 9999");
	ck_assert(descriptors_describe(&need, 50, text, sizeof(text)));
	ck_assert_ptr_nonnull(strstr(text, "to 0"));
}
END_TEST

START_TEST(the_soft_limit_is_raised)
{
	struct rlimit limit = { .rlim_cur = 256, .rlim_max = 4096 };

	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
	ck_assert_uint_eq(descriptors_raise(), 4096);
	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
	ck_assert_uint_eq(limit.rlim_cur, 4096);
	ck_assert_uint_eq(limit.rlim_max, 4096);
	ck_assert_uint_eq(descriptors_raise(), 4096);
}
END_TEST

int main(void)
{
	TCase *tcase = tcase_create("descriptors");

	tcase_add_test(tcase, dedicated);
	tcase_add_test(tcase, pooled);
	tcase_add_test(tcase, the_largest_numbers);
	tcase_add_test(tcase, what_is_said);
	tcase_add_test(tcase, the_soft_limit_is_raised);
	return run_tcase("descriptors", tcase);
}
