/* test_auth_map_login.c - plugins/auth_map as a whole, called by a host of the test's: holds, reloads in between, denials. */
#include <check.h>
#include <cqlferry/plugin.h>
#include <crypt.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define ALL_OWN "origin_user = o\norigin_password = o-secret\ntarget_user = t\ntarget_password = t-secret\n"

/* What the plugin has said; of one client. */
static struct {
	pthread_mutex_t lock;
	pthread_cond_t change;
	uint64_t resumed; /* by a thread of the plugin's */
	char log[8192];
	uint32_t watched;

	uint64_t ticket, asked_again; /* of the hold; what resumed() gives */
	bool refuses_holds;
	void *data;
	void (*release)(void *data);
	void *slot;
	const char *user, *password;
	bool wants[2], is_set[2], has_asked;
	char set[2][2][64], name[64];
	uint32_t code;
	char text[512], error[512];
} fake = { .lock = PTHREAD_MUTEX_INITIALIZER, .change = PTHREAD_COND_INITIALIZER };

static struct cqlferry_text text_of(const char *s)
{
	return (struct cqlferry_text){ s, s ? strlen(s) : 0 };
}

static void fake_log(const struct cqlferry_host *h, int32_t level, const char *fmt, ...)
{
	va_list args;
	size_t n;

	(void)h;
	(void)level;
	pthread_mutex_lock(&fake.lock);
	n = strlen(fake.log);
	va_start(args, fmt);
	vsnprintf(fake.log + n, sizeof(fake.log) - n, fmt, args);
	va_end(args);
	pthread_mutex_unlock(&fake.lock);
}

static void fake_error(const struct cqlferry_host *h, const char *fmt, ...)
{
	va_list args;

	(void)h;
	va_start(args, fmt);
	vsnprintf(fake.error, sizeof(fake.error), fmt, args);
	va_end(args);
}

static void fake_deny(const struct cqlferry_host *h, uint32_t code, const char *fmt, ...)
{
	va_list args;

	(void)h;
	fake.code = code;
	va_start(args, fmt);
	vsnprintf(fake.text, sizeof(fake.text), fmt, args);
	va_end(args);
}

static uint32_t fake_metric(const struct cqlferry_host *h, const char *family, const char *help, const char *labels)
{
	(void)h, (void)family, (void)help, (void)labels;
	return 1;
}

static uint32_t fake_histogram(const struct cqlferry_host *h, const char *family, const char *help, const char *labels,
			       const double *bounds, uint32_t count)
{
	(void)bounds;
	ck_assert_uint_le(count, 32);
	return fake_metric(h, family, help, labels);
}

static void fake_add(const struct cqlferry_host *h, uint32_t metric, int64_t n)
{
	(void)h, (void)metric, (void)n;
}

static void fake_observe(const struct cqlferry_host *h, uint32_t metric, uint64_t ns)
{
	(void)h, (void)metric, (void)ns;
}

static struct cqlferry_timer *fake_timer(const struct cqlferry_host *h, uint32_t interval_ms, void (*fn)(void *arg),
					 void *arg)
{
	(void)h, (void)interval_ms, (void)fn, (void)arg;
	return NULL;
}

static void fake_watch(const struct cqlferry_host *h, uint32_t requests, uint32_t responses)
{
	(void)h;
	ck_assert_uint_eq(responses, 0);
	fake.watched = requests;
}

static const struct cqlferry_client_info *fake_info(const struct cqlferry_client *client)
{
	static struct cqlferry_client_info info = { .size = sizeof(info), .port = 4711, .number = 1 };

	(void)client;
	info.address = text_of("10.0.0.1");
	return &info;
}

static struct cqlferry_client *fake_client(const struct cqlferry_request *request)
{
	(void)request;
	return NULL;
}

static void **fake_slot(const struct cqlferry_host *h, struct cqlferry_client *client)
{
	(void)h, (void)client;
	return &fake.slot;
}

static uint64_t fake_hold(const struct cqlferry_host *h, uint32_t timeout_ms)
{
	(void)h;
	ck_assert_uint_gt(timeout_ms, 0);
	return fake.refuses_holds ? 0 : ++fake.ticket;
}

static void fake_resume(const struct cqlferry_host *h, uint64_t ticket)
{
	(void)h;
	pthread_mutex_lock(&fake.lock);
	fake.resumed = ticket;
	pthread_cond_broadcast(&fake.change);
	pthread_mutex_unlock(&fake.lock);
}

static uint64_t fake_resumed(const struct cqlferry_host *h)
{
	(void)h;
	return fake.asked_again;
}

static void fake_hold_data(const struct cqlferry_host *h, void *data, void (*release)(void *data))
{
	(void)h;
	fake.data = data;
	fake.release = release;
}

static void *fake_resumed_data(const struct cqlferry_host *h)
{
	(void)h;
	return fake.asked_again ? fake.data : NULL;
}

static struct cqlferry_text fake_user(const struct cqlferry_login *login)
{
	(void)login;
	return text_of(fake.user);
}

static struct cqlferry_text fake_password(const struct cqlferry_login *login)
{
	(void)login;
	return text_of(fake.password);
}

static bool fake_wanted(const struct cqlferry_login *login, uint32_t cluster)
{
	(void)login;
	return fake.wants[cluster];
}

static void fake_set(struct cqlferry_login *login, uint32_t cluster, struct cqlferry_text user,
		     struct cqlferry_text password)
{
	(void)login;
	fake.is_set[cluster] = true;
	snprintf(fake.set[cluster][0], 64, "%.*s", (int)user.length, user.data);
	snprintf(fake.set[cluster][1], 64, "%.*s", (int)password.length, password.data);
}

static void fake_name(struct cqlferry_login *login, struct cqlferry_text user)
{
	(void)login;
	snprintf(fake.name, sizeof(fake.name), "%.*s", (int)user.length, user.data);
}

static void fake_ask(struct cqlferry_login *login)
{
	(void)login;
	fake.has_asked = true;
}

static const struct cqlferry_host host = {
	.size = sizeof(host),
	.instance = "auth_map",
	.workers = 1,
	.log = fake_log,
	.error = fake_error,
	.counter_new = fake_metric,
	.gauge_new = fake_metric,
	.histogram_new = fake_histogram,
	.counter_add = fake_add,
	.gauge_set = fake_add,
	.histogram_observe = fake_observe,
	.timer_new = fake_timer,
	.watch = fake_watch,
	.client_info = fake_info,
	.request_client = fake_client,
	.conn_slot = fake_slot,
	.deny = fake_deny,
	.hold = fake_hold,
	.resume = fake_resume,
	.resumed = fake_resumed,
	.hold_data = fake_hold_data,
	.resumed_data = fake_resumed_data,
	.login_user = fake_user,
	.login_password = fake_password,
	.login_wanted = fake_wanted,
	.login_set = fake_set,
	.login_name = fake_name,
	.login_ask = fake_ask,
};

/* ---- the plugin, as the host would call it ---- */

static const struct cqlferry_plugin *const plugin = &cqlferry_plugin;
static char path[] = "/tmp/test_auth_map_login.XXXXXX";
static struct cqlferry_value values[32];
static void *self, *worker;

static void set_value(const char *name, const char *text, int64_t number)
{
	for (uint32_t i = 0; i < plugin->option_count; i++) {
		if (strcmp(plugin->options[i].name, name) == 0)
			values[i] = (struct cqlferry_value){ .text = text, .number = number, .is_set = 1 };
	}
}

static void write_map(const char *fmt, ...)
{
	FILE *f = fopen(path, "w");
	va_list args;

	ck_assert_ptr_nonnull(f);
	va_start(args, fmt);
	vfprintf(f, fmt, args);
	va_end(args);
	fclose(f);
}

static void default_values(void)
{
	set_value("map", path, 0);
	set_value("verify", "optional", 1);
	set_value("certificate", "sufficient", 1);
	set_value("threads", "1", 1);
	set_value("queue", "4", 4);
	set_value("wait", "60s", 60000);
	set_value("remember", "10m", 600000);
	set_value("lockout_failures", "0", 0);
	set_value("lockout_window", "1m", 60000);
	set_value("lockout_time", "1m", 60000);
}

static const char *hash_of(const char *password)
{
	static struct crypt_data data;

	return crypt_rn(password, "$6$rounds=1000$abcdefgh", &data, sizeof(data));
}

static void open_plugin(void)
{
	ck_assert_msg(plugin->open(&host, values, &self) == 0, "%s", fake.error);
	ck_assert_int_eq(plugin->worker_open(self, 0, &worker), 0);
}

static void close_plugin(void)
{
	plugin->on_disconnect(worker, NULL);
	ck_assert_ptr_null(fake.slot);
	plugin->worker_close(worker);
	plugin->close(self);
}

static void reload(void)
{
	ck_assert_msg(plugin->reload(self, values) == 0, "%s", fake.error);
	plugin->worker_reload(worker);
	plugin->reload_end(self, 1);
}

static int32_t ask(const char *user, const char *password)
{
	fake.user = user;
	fake.password = password;
	memset(fake.is_set, 0, sizeof(fake.is_set));
	fake.name[0] = '\0';
	return plugin->on_credentials(worker, NULL, NULL);
}

static void startup(void)
{
	ck_assert_int_eq(ask(NULL, NULL), CQLFERRY_NEXT);
	ck_assert(fake.has_asked);
}

static void until_resumed(void)
{
	pthread_mutex_lock(&fake.lock);
	while (fake.resumed != fake.ticket)
		pthread_cond_wait(&fake.change, &fake.lock);
	pthread_mutex_unlock(&fake.lock);
}

/* The call that resume() makes; the hold is over with it. */
static int32_t go_on(void)
{
	void *data = fake.data;
	void (*release)(void *data) = fake.release;
	int32_t verdict;

	fake.asked_again = fake.ticket;
	verdict = ask(fake.user, fake.password);
	fake.asked_again = 0;
	release(data);
	return verdict;
}

static int32_t ask_whole(const char *user, const char *password)
{
	int32_t verdict = ask(user, password);

	while (verdict == CQLFERRY_HOLD) {
		until_resumed();
		verdict = go_on();
	}
	return verdict;
}

static void setup(void)
{
	default_values();
	fake.wants[0] = fake.wants[1] = true;
	write_map("[user app]\nhash = %s\n" ALL_OWN, hash_of("secret"));
}

/* ---- tests ---- */

START_TEST(a_log_in)
{
	open_plugin();
	startup();
	ck_assert_int_eq(ask("app", "secret"), CQLFERRY_HOLD);
	until_resumed();
	ck_assert_int_eq(go_on(), CQLFERRY_DONE);
	ck_assert(fake.is_set[0] && fake.is_set[1]);
	ck_assert_str_eq(fake.set[0][0], "o");
	ck_assert_str_eq(fake.set[0][1], "o-secret");
	ck_assert_str_eq(fake.set[1][0], "t");
	ck_assert_str_eq(fake.set[1][1], "t-secret");
	ck_assert_str_eq(fake.name, "app");
	ck_assert_int_eq(ask("app", "secret"), CQLFERRY_DONE); /* remembered: nothing is held */
	close_plugin();
	ck_assert_ptr_null(strstr(fake.log, "secret"));
}
END_TEST

START_TEST(refusals_look_alike)
{
	char longer[2000] = "";
	char text[512];

	open_plugin();
	startup();
	ck_assert_int_eq(ask_whole("app", "wrong"), CQLFERRY_DENY);
	ck_assert_uint_eq(fake.code, 0x0100);
	strcpy(text, fake.text);
	ck_assert_int_eq(ask("no\nbody", "wrong"), CQLFERRY_HOLD); /* as much work */
	until_resumed();
	ck_assert_int_eq(go_on(), CQLFERRY_DENY);
	ck_assert_uint_eq(fake.code, 0x0100);
	ck_assert_str_eq(fake.text, text);
	ck_assert_ptr_nonnull(strstr(fake.log, "user \"no?body\" from 10.0.0.1:4711 refused: there is no such user"));
	memset(longer, 'a', sizeof(longer) - 1);
	ck_assert_int_eq(ask_whole("app", longer), CQLFERRY_DENY);
	ck_assert_int_eq(ask_whole("app", ""), CQLFERRY_DENY);
	ck_assert_int_eq(ask_whole("", "secret"), CQLFERRY_DENY);
	ck_assert_str_eq(fake.text, text);
	ck_assert(!fake.is_set[0] && !fake.is_set[1]);
	close_plugin();
}
END_TEST

/* What was held is decided by the mapping that there is then. */
START_TEST(a_reload_in_between)
{
	open_plugin();
	startup();
	ck_assert_int_eq(ask("app", "secret"), CQLFERRY_HOLD);
	until_resumed();
	write_map("[user app]\nhash = %s\n" ALL_OWN, hash_of("new"));
	reload();
	ck_assert_int_eq(go_on(), CQLFERRY_HOLD); /* another question */
	until_resumed();
	ck_assert_int_eq(go_on(), CQLFERRY_DENY);
	ck_assert_int_eq(ask("app", "new"), CQLFERRY_HOLD);
	until_resumed();
	write_map("[user other]\nhash = %s\n" ALL_OWN, hash_of("new"));
	reload();
	ck_assert_int_eq(go_on(), CQLFERRY_HOLD); /* its password is right, but it is nobody any more */
	until_resumed();
	ck_assert_int_eq(go_on(), CQLFERRY_DENY);
	close_plugin();
}
END_TEST

START_TEST(a_reload_that_is_not_taken)
{
	open_plugin();
	startup();
	write_map("[user app]\nhsh = x\n");
	ck_assert_int_eq(plugin->reload(self, values), CQLFERRY_ERROR);
	ck_assert_ptr_nonnull(strstr(fake.error, ":2: [user app] hsh: unknown key"));
	write_map("[default]\naction = deny\n");
	ck_assert_int_eq(plugin->reload(self, values), 0);
	plugin->reload_end(self, 0); /* another plugin had failed */
	ck_assert_int_eq(ask_whole("app", "secret"), CQLFERRY_DONE);
	close_plugin();
}
END_TEST

/* The client has gone, or the deadline was first: what was kept is given back, whoever has it just then. */
START_TEST(a_hold_that_nobody_ends)
{
	open_plugin();
	startup();
	for (unsigned i = 0; i < 20; i++) {
		ck_assert_int_eq(ask("app", "wrong"), CQLFERRY_HOLD);
		fake.release(fake.data);
	}
	ck_assert_int_eq(ask_whole("app", "secret"), CQLFERRY_DONE);
	close_plugin();
}
END_TEST

START_TEST(too_many_are_held)
{
	open_plugin();
	startup();
	fake.refuses_holds = true;
	ck_assert_int_eq(ask("app", "secret"), CQLFERRY_DENY);
	ck_assert_uint_eq(fake.code, 0x1001);
	close_plugin();
}
END_TEST

/* Refusals of a cluster count for the address only where it got what the client gave. */
START_TEST(refused_by_a_cluster)
{
	struct cqlferry_login_result result = { .size = sizeof(result),
						.outcome = CQLFERRY_LOGIN_REFUSED,
						.error_code = 0x0100 };

	set_value("lockout_failures", "1", 1);
	write_map("[user app]\norigin_user = o\norigin_password = p\ntarget = client\n");
	open_plugin();
	startup();
	ck_assert_int_eq(ask("app", "any"), CQLFERRY_DONE);
	ck_assert_str_eq(fake.set[1][0], "app");
	ck_assert_str_eq(fake.set[1][1], "any");
	result.cluster = CQLFERRY_ORIGIN;
	plugin->on_login(worker, NULL, &result);
	ck_assert_int_eq(ask("app", "any"), CQLFERRY_DONE);
	result.cluster = CQLFERRY_TARGET;
	plugin->on_login(worker, NULL, &result);
	ck_assert_int_eq(ask("app", "any"), CQLFERRY_DENY);
	ck_assert_ptr_nonnull(strstr(fake.text, "too many failed log-ins"));
	ck_assert_ptr_nonnull(strstr(fake.log, "10.0.0.1 is locked out for 60 s: 1 log-ins have failed"));
	close_plugin();
}
END_TEST

START_TEST(outdated)
{
	open_plugin();
	ck_assert_uint_eq(fake.watched, 0); /* nothing is asked about requests */
	startup();
	ck_assert_int_eq(ask_whole("app", "secret"), CQLFERRY_DONE);
	set_value("outdated", "deny", 1);
	reload();
	ck_assert_uint_eq(fake.watched, CQLFERRY_ALL_KINDS);
	ck_assert_int_eq(plugin->on_request(worker, NULL), CQLFERRY_NEXT);
	write_map("[user app]\nhash = %s\norigin_user = other\n"
		  "origin_password = o-secret\ntarget = client\n",
		  hash_of("secret"));
	reload();
	ck_assert_int_eq(plugin->on_request(worker, NULL), CQLFERRY_DENY);
	ck_assert_uint_eq(fake.code, 0x2100);
	set_value("outdated", "keep", 0);
	reload();
	ck_assert_int_eq(plugin->on_request(worker, NULL), CQLFERRY_NEXT);
	close_plugin();
}
END_TEST

START_TEST(what_does_not_open)
{
	write_map("[user app]\n" ALL_OWN);
	ck_assert_int_eq(plugin->open(&host, values, &self), CQLFERRY_ERROR);
	ck_assert_ptr_nonnull(strstr(fake.error, ":1: [user app] every client that names the user would get"));
	ck_assert_ptr_null(strstr(fake.error, "secret"));
	set_value("map", "/nowhere/map.ini", 0);
	ck_assert_int_eq(plugin->open(&host, values, &self), CQLFERRY_ERROR);
	ck_assert_str_eq(fake.error, "/nowhere/map.ini: No such file or directory");
}
END_TEST

int main(void)
{
	Suite *s = suite_create("auth_map_login");
	TCase *tc = tcase_create("auth_map_login");
	const int fd = mkstemp(path);
	SRunner *runner;
	int failed;

	if (fd < 0)
		return EXIT_FAILURE;
	close(fd);
	tcase_add_checked_fixture(tc, setup, NULL);
	tcase_set_timeout(tc, 30);
	tcase_add_test(tc, a_log_in);
	tcase_add_test(tc, refusals_look_alike);
	tcase_add_test(tc, a_reload_in_between);
	tcase_add_test(tc, a_reload_that_is_not_taken);
	tcase_add_test(tc, a_hold_that_nobody_ends);
	tcase_add_test(tc, too_many_are_held);
	tcase_add_test(tc, refused_by_a_cluster);
	tcase_add_test(tc, outdated);
	tcase_add_test(tc, what_does_not_open);
	suite_add_tcase(s, tc);
	runner = srunner_create(s);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	unlink(path);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
