/* test_credential.c - what clients have logged in with: who shares an object, how long the token and the memory last. */
#include "proxy/credential.h"

#include "base/secret.h"
#include "loop_helper.h"
#include "proxy/worker.h"

static struct worker worker;
static struct settings settings;

static void setup(void)
{
	memset(&worker, 0, sizeof(worker));
	memset(&settings, 0, sizeof(settings));
	ck_assert(loop_init(&worker.loop, HELPER_WRITE_TIMEOUT_MS));
	list_init(&worker.credentials);
	settings.credentials_validity_ms = 1000;
	worker.settings = &settings;
}

static void teardown(void)
{
	ck_assert(list_is_empty(&worker.credentials));
	loop_fini(&worker.loop);
}

static struct credential *get(enum cluster_id cluster, const char *authzid, const char *user, const char *password)
{
	struct credentials c = { .authzid = NULL };
	const struct sasl_plain plain = { sv_from(authzid), sv_from(user), sv_from(password) };
	struct credential *found;

	credentials_set(&c, &plain);
	found = credential_get(&worker, cluster, &c);
	credentials_wipe(&c);
	return found;
}

START_TEST(equal_ones_share_an_object)
{
	struct credential *a = get(CLUSTER_TARGET, "", "ann", "secret");
	struct credential *b = get(CLUSTER_TARGET, "", "ann", "secret");

	ck_assert_ptr_eq(a, b);
	ck_assert_uint_eq(a->refs, 2);
	ck_assert_uint_eq(a->clients, 2);
	ck_assert_str_eq(a->token.user, "ann");
	ck_assert_str_eq(a->token.password, "secret");
	ck_assert_ptr_null(a->token.authzid);
	credential_put(a);
	ck_assert_str_eq(b->token.password, "secret");
	credential_put(b);
}
END_TEST

static const struct {
	enum cluster_id cluster;
	const char *authzid, *user, *password;
} others[] = {
	{ CLUSTER_ORIGIN, "", "ann", "secret" }, { CLUSTER_TARGET, "x", "ann", "secret" },
	{ CLUSTER_TARGET, "", "bob", "secret" }, { CLUSTER_TARGET, "", "ann", "Secret" },
	{ CLUSTER_TARGET, "", "ann", "" },       { CLUSTER_TARGET, "", "", "annsecret" },
	{ CLUSTER_TARGET, "", "anns", "ecret" }, { CLUSTER_TARGET, "ann", "", "secret" },
};

START_TEST(others_do_not)
{
	struct credential *a = get(CLUSTER_TARGET, "", "ann", "secret");
	struct credential *b = get(others[_i].cluster, others[_i].authzid, others[_i].user, others[_i].password);

	ck_assert_ptr_ne(a, b);
	credential_put(b);
	ck_assert_str_eq(a->token.user, "ann");
	credential_put(a);
}
END_TEST

/* A pool holds on to the object, but not to the token. */
START_TEST(the_token_goes_with_the_last_client)
{
	const size_t before = secret_used();
	struct credential *a = get(CLUSTER_TARGET, "boss", "ann", "secret");

	ck_assert_str_eq(a->token.authzid, "boss");
	credential_ref(a);
	credential_join(a);
	credential_put(a);
	ck_assert_str_eq(a->token.user, "ann");
	credential_leave(a);
	ck_assert_ptr_null(a->token.authzid);
	ck_assert_ptr_null(a->token.user);
	ck_assert_ptr_null(a->token.password);
	/* the next one with the same password finds it, and brings the token */
	ck_assert_ptr_eq(get(CLUSTER_TARGET, "boss", "ann", "secret"), a);
	ck_assert_str_eq(a->token.password, "secret");
	credential_put(a);
	ck_assert_ptr_null(a->token.user);
	credential_unref(a);
	ck_assert_uint_le(secret_used(), before + 64); /* the process' key stays */
}
END_TEST

static void pass_ms(unsigned ms)
{
	worker.loop.now_ns = loop_now(&worker.loop) + (uint64_t)ms * 1000000;
}

START_TEST(what_was_accepted_is_remembered_for_a_while)
{
	struct credential *a = get(CLUSTER_ORIGIN, "", "ann", "secret");

	ck_assert(!credential_is_remembered(a));
	credential_accepted(a);
	ck_assert(credential_is_remembered(a));
	pass_ms(999);
	ck_assert(credential_is_remembered(a));
	pass_ms(1);
	ck_assert(!credential_is_remembered(a));
	credential_accepted(a);
	ck_assert(credential_is_remembered(a));
	credential_refused(a);
	ck_assert(!credential_is_remembered(a));
	credential_put(a);
}
END_TEST

START_TEST(nothing_is_remembered)
{
	struct credential *a = get(CLUSTER_ORIGIN, "", "ann", "secret");

	settings.credentials_validity_ms = 0;
	credential_accepted(a);
	ck_assert(!credential_is_remembered(a));
	credential_put(a);
}
END_TEST

/* Somebody else's object has another hash, whatever is remembered. */
START_TEST(a_wrong_password_is_not_remembered)
{
	struct credential *a = get(CLUSTER_ORIGIN, "", "ann", "secret");
	struct credential *b;

	credential_accepted(a);
	b = get(CLUSTER_ORIGIN, "", "ann", "wrong");
	ck_assert(!credential_is_remembered(b));
	ck_assert_int_ne(memcmp(a->hash, b->hash, CREDENTIAL_HASH_LEN), 0);
	credential_put(b);
	credential_put(a);
}
END_TEST

START_TEST(many_users)
{
	struct credential *all[500];
	char user[32];

	for (unsigned i = 0; i < ARRAY_LEN(all); i++) {
		snprintf(user, sizeof(user), "user%u", i);
		all[i] = get(CLUSTER_TARGET, "", user, "password of all");
	}
	for (unsigned i = 0; i < ARRAY_LEN(all); i++) {
		snprintf(user, sizeof(user), "user%u", i);
		ck_assert_ptr_eq(get(CLUSTER_TARGET, "", user, "password of all"), all[i]);
		credential_put(all[i]);
		credential_put(all[i]);
	}
}
END_TEST

int main(void)
{
	TCase *tcase = tcase_create("credential");

	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, equal_ones_share_an_object);
	tcase_add_loop_test(tcase, others_do_not, 0, ARRAY_LEN(others));
	tcase_add_test(tcase, the_token_goes_with_the_last_client);
	tcase_add_test(tcase, what_was_accepted_is_remembered_for_a_while);
	tcase_add_test(tcase, nothing_is_remembered);
	tcase_add_test(tcase, a_wrong_password_is_not_remembered);
	tcase_add_test(tcase, many_users);
	return run_tcase("credential", tcase);
}
