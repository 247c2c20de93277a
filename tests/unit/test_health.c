/* test_health.c - the readiness report, byte for byte as ZDM Proxy's pollers know it. */
#include "control/health.h"

#include <event2/buffer.h>

#include "vectors.h"

static struct health health;

static void setup(void)
{
	health = (struct health){
		.is_started = true,
		.failure_threshold = 1,
		.cluster = { { .address = "10.0.0.1:9042", .was_up = true },
			     { .address = "node1.example:9142", .was_up = true } },
	};
}

static void expect(int status, const char *body)
{
	struct evbuffer *out = evbuffer_new();
	int got = health_write_readiness(&health, out);

	evbuffer_add(out, "", 1);
	ck_assert_str_eq((const char *)evbuffer_pullup(out, -1), body);
	ck_assert_int_eq(got, status);
	evbuffer_free(out);
}

START_TEST(starting)
{
	health.is_started = false;
	expect(503, "{\"OriginStatus\":null,\"TargetStatus\":null,\"Status\":\"STARTUP\"}");
}
END_TEST

START_TEST(ready)
{
	expect(200,
	       "{\"OriginStatus\":{\"Addr\":\"10.0.0.1:9042\",\"CurrentFailureCount\":0,\"FailureCountThreshold\":1,"
	       "\"Status\":\"UP\"},\"TargetStatus\":{\"Addr\":\"node1.example:9142\",\"CurrentFailureCount\":0,"
	       "\"FailureCountThreshold\":1,\"Status\":\"UP\"},\"Status\":\"UP\"}");
}
END_TEST

START_TEST(the_primary)
{
	health.epoch = 3;
	health.primary = CLUSTER_TARGET;
	expect(200,
	       "{\"OriginStatus\":{\"Addr\":\"10.0.0.1:9042\",\"CurrentFailureCount\":0,\"FailureCountThreshold\":1,"
	       "\"Status\":\"UP\"},\"TargetStatus\":{\"Addr\":\"node1.example:9142\",\"CurrentFailureCount\":0,"
	       "\"FailureCountThreshold\":1,\"Status\":\"UP\"},\"Status\":\"UP\",\"Primary\":\"TARGET\","
	       "\"PrimaryEpoch\":3}");
	health.is_started = false;
	expect(503, "{\"OriginStatus\":null,\"TargetStatus\":null,\"Status\":\"STARTUP\"}");
}
END_TEST

START_TEST(one_cluster_down)
{
	health.failure_threshold = 3;
	health.cluster[CLUSTER_ORIGIN].failures = 2;
	health.cluster[CLUSTER_TARGET].failures = 3;
	expect(503,
	       "{\"OriginStatus\":{\"Addr\":\"10.0.0.1:9042\",\"CurrentFailureCount\":2,\"FailureCountThreshold\":3,"
	       "\"Status\":\"UP\"},\"TargetStatus\":{\"Addr\":\"node1.example:9142\",\"CurrentFailureCount\":3,"
	       "\"FailureCountThreshold\":3,\"Status\":\"DOWN\"},\"Status\":\"DOWN\"}");
}
END_TEST

START_TEST(draining)
{
	health.is_draining = true;
	expect(503,
	       "{\"OriginStatus\":{\"Addr\":\"10.0.0.1:9042\",\"CurrentFailureCount\":0,\"FailureCountThreshold\":1,"
	       "\"Status\":\"UP\"},\"TargetStatus\":{\"Addr\":\"node1.example:9142\",\"CurrentFailureCount\":0,"
	       "\"FailureCountThreshold\":1,\"Status\":\"UP\"},\"Status\":\"DOWN\"}");
}
END_TEST

/* A threshold of 0 makes every count too high. */
START_TEST(threshold_of_zero)
{
	struct evbuffer *out = evbuffer_new();

	health.failure_threshold = 0;
	ck_assert_int_eq(health_write_readiness(&health, out), 503);
	evbuffer_free(out);
}
END_TEST

START_TEST(never_reached)
{
	health.cluster[CLUSTER_TARGET] = (struct control_status){ .address = HEALTH_NOT_CONNECTED };
	expect(503,
	       "{\"OriginStatus\":{\"Addr\":\"10.0.0.1:9042\",\"CurrentFailureCount\":0,\"FailureCountThreshold\":1,"
	       "\"Status\":\"UP\"},\"TargetStatus\":{\"Addr\":\"NOT_CONNECTED\",\"CurrentFailureCount\":0,"
	       "\"FailureCountThreshold\":1,\"Status\":\"DOWN\"},\"Status\":\"DOWN\"}");
}
END_TEST

START_TEST(ready_when_primary)
{
	struct evbuffer *out = evbuffer_new();

	health.needs_primary_only = true;
	health.primary = CLUSTER_TARGET;
	health.cluster[CLUSTER_ORIGIN].failures = 2;
	expect(200,
	       "{\"OriginStatus\":{\"Addr\":\"10.0.0.1:9042\",\"CurrentFailureCount\":2,\"FailureCountThreshold\":1,"
	       "\"Status\":\"DOWN\"},\"TargetStatus\":{\"Addr\":\"node1.example:9142\",\"CurrentFailureCount\":0,"
	       "\"FailureCountThreshold\":1,\"Status\":\"UP\"},\"Status\":\"UP\"}");
	health.primary = CLUSTER_ORIGIN;
	ck_assert_int_eq(health_write_readiness(&health, out), 503);
	health.primary = CLUSTER_TARGET;
	health.is_draining = true;
	ck_assert_int_eq(health_write_readiness(&health, out), 503);
	evbuffer_free(out);
}
END_TEST

START_TEST(odd_addresses)
{
	snprintf(health.cluster[CLUSTER_ORIGIN].address, NET_TEXT_MAX, "a\"b\\c\n\x7f");
	health.cluster[CLUSTER_TARGET].address[0] = '\0';
	expect(200, "{\"OriginStatus\":{\"Addr\":\"a\\\"b\\\\c\\u000a\\u007f\",\"CurrentFailureCount\":0,"
		    "\"FailureCountThreshold\":1,\"Status\":\"UP\"},\"TargetStatus\":{\"Addr\":\"\","
		    "\"CurrentFailureCount\":0,\"FailureCountThreshold\":1,\"Status\":\"UP\"},\"Status\":\"UP\"}");
}
END_TEST

int main(void)
{
	TCase *tcase = tcase_create("health");

	tcase_add_checked_fixture(tcase, setup, NULL);
	tcase_add_test(tcase, starting);
	tcase_add_test(tcase, ready);
	tcase_add_test(tcase, the_primary);
	tcase_add_test(tcase, one_cluster_down);
	tcase_add_test(tcase, draining);
	tcase_add_test(tcase, threshold_of_zero);
	tcase_add_test(tcase, never_reached);
	tcase_add_test(tcase, ready_when_primary);
	tcase_add_test(tcase, odd_addresses);
	return run_tcase("health", tcase);
}
