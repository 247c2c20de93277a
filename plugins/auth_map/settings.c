/* settings.c - see settings.h */
#include "settings.h"

#include <stdlib.h>

#define SECOND_MS 1000
#define HOUR_MS (3600 * SECOND_MS)
#define MS_NS 1000000u

enum {
	OPTION_MAP,
	OPTION_VERIFY,
	OPTION_ACCEPT_ANY_PASSWORD,
	OPTION_CERTIFICATE,
	OPTION_THREADS,
	OPTION_QUEUE,
	OPTION_NICE,
	OPTION_WAIT,
	OPTION_REMEMBER,
	OPTION_LOCKOUT_FAILURES,
	OPTION_LOCKOUT_WINDOW,
	OPTION_LOCKOUT_TIME,
	OPTION_OUTDATED,
	OPTION_COUNT,
};
_Static_assert(OPTION_COUNT == SETTINGS_OPTIONS, "settings.h says how many there are");

#define RELOAD CQLFERRY_OPTION_RELOAD

const struct cqlferry_option settings_options[SETTINGS_OPTIONS] = {
	[OPTION_MAP] = { .name = "map",
			 .type = CQLFERRY_OPTION_PATH,
			 .flags = RELOAD | CQLFERRY_OPTION_REQUIRED,
			 .help = "the mapping file; read again on each reload" },
	[OPTION_VERIFY] = { .name = "verify",
			    .type = CQLFERRY_OPTION_CHOICE,
			    .flags = RELOAD,
			    .initial = "optional",
			    .choices = "off optional required",
			    .help = "compare the clients' passwords with the hashes of the file: never, for users that have "
				    "one, or each user has to have one" },
	[OPTION_ACCEPT_ANY_PASSWORD] = { .name = "accept_any_password",
					 .type = CQLFERRY_OPTION_BOOL,
					 .flags = RELOAD,
					 .initial = "off",
					 .help = "take mappings that let in everybody who knows the name of a user" },
	[OPTION_CERTIFICATE] = { .name = "certificate",
				 .type = CQLFERRY_OPTION_CHOICE,
				 .flags = RELOAD,
				 .initial = "sufficient",
				 .choices = "off sufficient required both",
				 .help = "what a TLS certificate of a [certificate] section is good for: nothing, a log-in "
					 "without a password, the only way in, or needed beside the password" },
	[OPTION_THREADS] = { .name = "threads",
			     .type = CQLFERRY_OPTION_NUMBER,
			     .initial = "2",
			     .min = 1,
			     .max = 64,
			     .help = "threads that compare passwords" },
	[OPTION_QUEUE] = { .name = "queue",
			   .type = CQLFERRY_OPTION_NUMBER,
			   .initial = "1024",
			   .min = 1,
			   .max = 16384,
			   .help = "log-ins that may wait for these threads; further ones are told OVERLOADED" },
	[OPTION_NICE] = { .name = "nice",
			  .type = CQLFERRY_OPTION_NUMBER,
			  .initial = "10",
			  .min = 0,
			  .max = 19,
			  .help = "how far these threads stand back behind the workers, see nice(1)" },
	[OPTION_WAIT] = { .name = "wait",
			  .type = CQLFERRY_OPTION_DURATION,
			  .flags = RELOAD,
			  .initial = "5s",
			  .min = 10,
			  .max = 60 * SECOND_MS,
			  .help = "a log-in that has waited so long for a thread is told OVERLOADED" },
	[OPTION_REMEMBER] = { .name = "remember",
			      .type = CQLFERRY_OPTION_DURATION,
			      .flags = RELOAD,
			      .initial = "10m",
			      .min = 0,
			      .max = 24LL * HOUR_MS,
			      .help = "for so long a password that was right is known without its hash; 0: never" },
	[OPTION_LOCKOUT_FAILURES] = { .name = "lockout_failures",
				      .type = CQLFERRY_OPTION_NUMBER,
				      .flags = RELOAD,
				      .initial = "10",
				      .min = 0,
				      .max = 1000000,
				      .help = "after so many failed log-ins an address is refused for a while; 0: never" },
	[OPTION_LOCKOUT_WINDOW] = { .name = "lockout_window",
				    .type = CQLFERRY_OPTION_DURATION,
				    .flags = RELOAD,
				    .initial = "1m",
				    .min = SECOND_MS,
				    .max = 24LL * HOUR_MS,
				    .help = "the time in which these failures are counted" },
	[OPTION_LOCKOUT_TIME] = { .name = "lockout_time",
				  .type = CQLFERRY_OPTION_DURATION,
				  .flags = RELOAD,
				  .initial = "1m",
				  .min = SECOND_MS,
				  .max = 24LL * HOUR_MS,
				  .help = "for so long the address is refused" },
	[OPTION_OUTDATED] = { .name = "outdated",
			      .type = CQLFERRY_OPTION_CHOICE,
			      .flags = RELOAD,
			      .initial = "keep",
			      .choices = "keep deny",
			      .help = "clients whose mapping has changed or gone since they logged in: they go on, or their "
				      "requests are denied" },
};

static void warn(void *arg, const char *text)
{
	const struct cqlferry_host *host = arg;

	host->log(host, CQLFERRY_LOG_WARN, "%s", text);
}

static uint64_t ns_of(const struct cqlferry_value *value)
{
	return (uint64_t)value->number * MS_NS;
}

static void fill(struct settings *s, const struct cqlferry_value *values)
{
	s->demand.verify = (enum map_verify)values[OPTION_VERIFY].number;
	s->demand.accepts_any_password = values[OPTION_ACCEPT_ANY_PASSWORD].number != 0;
	s->certificate = (enum settings_certificate)values[OPTION_CERTIFICATE].number;
	s->demand.has_certificates = s->certificate != SETTINGS_CERTIFICATE_OFF;
	s->threads = (unsigned)values[OPTION_THREADS].number;
	s->queue = (unsigned)values[OPTION_QUEUE].number;
	s->nice = (int)values[OPTION_NICE].number;
	s->wait_ns = ns_of(&values[OPTION_WAIT]);
	s->remember_ns = ns_of(&values[OPTION_REMEMBER]);
	s->lockout.failures = (uint32_t)values[OPTION_LOCKOUT_FAILURES].number;
	s->lockout.window_ns = ns_of(&values[OPTION_LOCKOUT_WINDOW]);
	s->lockout.time_ns = ns_of(&values[OPTION_LOCKOUT_TIME]);
	s->denies_outdated = values[OPTION_OUTDATED].number != 0;
}

static bool read_map(struct settings *s, const struct cqlferry_host *host, const char *path, char *error)
{
	s->map = map_file_read(path, error, warn, (void *)(uintptr_t)host);
	return s->map && map_check(s->map, &s->demand, error, warn, (void *)(uintptr_t)host);
}

struct settings *settings_new(const struct cqlferry_host *host, const struct cqlferry_value *values)
{
	struct settings *s = memory_new(1, sizeof(*s));
	char error[MAP_TEXT_MAX];

	fill(s, values);
	if (!read_map(s, host, values[OPTION_MAP].text, error)) {
		host->error(host, "%s", error);
		settings_free(s);
		return NULL;
	}
	if (s->certificate == SETTINGS_CERTIFICATE_REQUIRED && s->map->certificates.count == 0)
		warn((void *)(uintptr_t)host,
		     "certificate = required, and the mapping has no [certificate] section: nobody gets in");
	if (s->demand.accepts_any_password)
		warn((void *)(uintptr_t)host,
		     "accept_any_password = on: where there is no hash, whoever knows the name of a user gets in");
	return s;
}

void settings_free(struct settings *s)
{
	if (!s)
		return;
	map_free(s->map);
	free(s);
}
