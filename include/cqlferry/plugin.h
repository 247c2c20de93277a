/*
 * cqlferry/plugin.h - the interface between cqlferry and its plugins. A plugin
 * is a shared object that exports one constant, `cqlferry_plugin` (see the end):
 *
 *	cc -shared -fPIC -o mine.so mine.c $(pkg-config --cflags cqlferry-plugin)
 *
 * docs/plugins.md is the manual, plugins/sample the tutorial.
 *
 * For ever in major 1: members are only added, at the end of structs that have a
 * size; the others never change; numbers keep their meaning. A plugin runs on
 * each host whose minor is not below its abi_minor, and may use without a check
 * what that minor has.
 *
 * Threads. "main" reads the configuration, a "worker" serves clients. Hooks run
 * in the worker of their client, one at a time, and never block: a worker that
 * waits stops all of its clients. What takes longer than some microseconds
 * belongs into a thread of the plugin's, with hold() and resume(). Functions of
 * the host are for the hooks and callbacks that their comments name, or say
 * "any thread".
 *
 * Lifetimes. What a function is given, and what it gets from the host, is good
 * until it returns, unless it says otherwise; the host copies what it is given.
 * Clients, log-ins and requests are never to be kept: the next hook has its own.
 */
#ifndef CQLFERRY_PLUGIN_H
#define CQLFERRY_PLUGIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define CQLFERRY_ABI_MAJOR 1
#define CQLFERRY_ABI_MINOR 0

#define CQLFERRY_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))

/* What hooks return. Anything else is taken for CQLFERRY_ERROR. */
#define CQLFERRY_NEXT 0     /* no opinion: the next plugin, then scripts, rules and the default */
#define CQLFERRY_DONE 1     /* decided, as it was set; no other plugin is asked */
#define CQLFERRY_DENY 2     /* refused, as deny() says */
#define CQLFERRY_HOLD 3     /* after hold(): the hook is called again when resume() was */
#define CQLFERRY_ERROR (-1) /* as error() says; `on_error` of the plugin's section decides: as DENY, or as NEXT */

/* Not terminated; data may be NULL when length is 0. */
struct cqlferry_text {
	const char *data;
	uint64_t length;
};

/* ---- options: keys of the section [plugin NAME] ---- */

#define CQLFERRY_OPTION_TEXT 0
#define CQLFERRY_OPTION_NUMBER 1   /* -> number, from min to max */
#define CQLFERRY_OPTION_BOOL 2     /* on, off, true, false, yes, no -> number 1 or 0 */
#define CQLFERRY_OPTION_DURATION 3 /* 10s, 250ms -> number, milliseconds, from min to max */
#define CQLFERRY_OPTION_SIZE 4     /* 64KiB -> number, bytes, from min to max */
#define CQLFERRY_OPTION_CHOICE 5   /* one of the words in `choices` -> text, and number: its place, from 0 */
#define CQLFERRY_OPTION_PATH 6     /* a file; a relative name counts from the folder of the INI file */
#define CQLFERRY_OPTION_SECRET 7   /* env:NAME, file:PATH or the secret itself; never printed */

#define CQLFERRY_OPTION_REQUIRED 1u /* flag: it has no default */
#define CQLFERRY_OPTION_RELOAD 2u   /* flag: it may change in a running process; of a plugin with reload() */
#define CQLFERRY_OPTION_REPEATED 4u /* flag: several lines; text then has one item per line, by '\n' */

struct cqlferry_option {
	const char *name;
	const char *initial; /* as it would be written; NULL: not set */
	const char *choices; /* CHOICE: "drop block refuse" */
	const char *help;
	int64_t min, max; /* of numbers; both 0: all that are not negative */
	uint32_t type, flags;
};

/* What an option is set to: an array, in the order of the rows. */
struct cqlferry_value {
	const char *text;  /* NULL: not set */
	const char *place; /* "FILE:12", for messages: of its line, of several the last, or of its section */
	int64_t number;
	uint32_t is_set, reserved; /* 1: by the configuration, 0: by the row's `initial` or not at all */
};

/* ---- what hooks are about ---- */

#define CQLFERRY_ORIGIN 0
#define CQLFERRY_TARGET 1
#define CQLFERRY_CLUSTERS 2
struct cqlferry_client;  /* a driver's connection */
struct cqlferry_login;   /* for one call of on_credentials */
struct cqlferry_request; /* for one call of on_request or on_response */

struct cqlferry_client_info {
	uint32_t size;
	uint16_t port;
	uint8_t version;       /* of its protocol; 0: it has not said one */
	uint8_t is_tls;        /* 1: its connection is encrypted */
	uint64_t number;       /* as in log lines; of one process no two are the same */
	uint64_t connected_at; /* nanoseconds since 1970 */
	struct cqlferry_text address;
	struct cqlferry_text user;                   /* who has logged in; empty before, and where nobody had to */
	struct cqlferry_text driver, driver_version; /* of its STARTUP */
	struct cqlferry_text tls_subject; /* of a certificate that was checked, as RFC 2253 writes it; or empty */
	struct cqlferry_text listener;    /* NAME of [listener NAME] */
	struct cqlferry_text keyspace;
};

/* Of CQLFERRY_KINDS, as bits: 1u << CQLFERRY_READ. */
#define CQLFERRY_READ 0   /* SELECT, LIST, DESCRIBE */
#define CQLFERRY_WRITE 1  /* INSERT, UPDATE, DELETE, BATCH, TRUNCATE */
#define CQLFERRY_SCHEMA 2 /* CREATE, ALTER, DROP ..., roles and permissions */
#define CQLFERRY_USE 3
#define CQLFERRY_UNKNOWN 4 /* what is not understood */
#define CQLFERRY_ALL_KINDS 0x1Fu
#define CQLFERRY_OPCODE_QUERY 0x07
#define CQLFERRY_OPCODE_PREPARE 0x09
#define CQLFERRY_OPCODE_EXECUTE 0x0A
#define CQLFERRY_OPCODE_BATCH 0x0D

struct cqlferry_request_info {
	uint32_t size;
	uint8_t opcode;
	uint8_t kind;         /* CQLFERRY_READ ... */
	uint8_t is_prepared;  /* 1: EXECUTE, and BATCH with a prepared child */
	uint8_t is_lwt;       /* 1: a conditional write, as far as its text shows that */
	uint32_t consistency; /* a code of the protocol (v5, section 3); 0xFFFF: it has none */
	uint32_t body_size;   /* bytes */
	uint64_t number;      /* of one process no two are the same; of a request in all of its hooks the same */
	const char *verb;     /* "SELECT", "INSERT", "BATCH" ..., "" for what is not understood; lasts */
};

struct cqlferry_table {
	struct cqlferry_text keyspace; /* that of the connection where the text has none; may be empty */
	struct cqlferry_text table;    /* both as Cassandra keeps them: in lower case, unless they are quoted */
};

struct cqlferry_statement {
	uint32_t size, table_count;
	/* QUERY, PREPARE, EXECUTE: its text; BATCH: those of its children, by "; ". Of what we have changed
	 * (timestamps, function calls) as the clusters get it in on_response. */
	struct cqlferry_text text;
	struct cqlferry_text keyspace;       /* what names without one mean; may be empty */
	const struct cqlferry_table *tables; /* those that it names, each once */
	uint32_t is_incomplete;              /* 1: there are more tables, or it was not understood */
	uint32_t is_prepared;                /* 1: this object is the same for each request of the statement */
};

/* Where a request goes; the plugin sets the size. */
#define CQLFERRY_TO_ORIGIN 1u
#define CQLFERRY_TO_TARGET 2u
#define CQLFERRY_TO_BOTH 3u
struct cqlferry_route {
	uint32_t size, to;    /* CQLFERRY_TO_ORIGIN ... */
	uint32_t answer_from; /* of TO_BOTH: CQLFERRY_ORIGIN or _TARGET */
	uint32_t mirror;      /* 1: a read to one cluster is copied to the other, whose answer is thrown away */
	uint32_t timeout_ms;  /* 0: request_timeout */
	uint32_t consistency; /* in place of the request's, unless that is a serial one; 0 (ANY): it stays */
	const char *tag;      /* counted by it; NULL: none */
};

/* Outcomes of a request. */
#define CQLFERRY_ANSWERED 0  /* a cluster's answer, no error */
#define CQLFERRY_FAILED 1    /* a cluster's error */
#define CQLFERRY_REFUSED 2   /* an error of the proxy's: a time-out, a lost node, a limit, a body that cannot be read */
#define CQLFERRY_DENIED 3    /* by a plugin or a script */
#define CQLFERRY_LOCAL 4     /* the proxy has answered it itself (system tables) */
#define CQLFERRY_ABANDONED 5 /* the client had gone before there was an answer */

/* What became of a cluster's part. */
#define CQLFERRY_PART_UNSENT 0
#define CQLFERRY_PART_PENDING 1 /* it had not answered when the client got its answer */
#define CQLFERRY_PART_OK 2
#define CQLFERRY_PART_ERROR 3
struct cqlferry_part {
	uint32_t state;
	uint32_t error_code;  /* of CQLFERRY_PART_ERROR */
	uint64_t duration_ns; /* from the request's arrival to this cluster's answer; 0 while it is pending */
};

/* Who decided the route. */
#define CQLFERRY_BY_DEFAULT 0
#define CQLFERRY_BY_PROTOCOL 1 /* system tables, later pages, traces */
#define CQLFERRY_BY_RULE 2
#define CQLFERRY_BY_SCRIPT 3
#define CQLFERRY_BY_PLUGIN 4

struct cqlferry_response {
	uint32_t size;
	uint8_t outcome;
	uint8_t opcode;             /* of the answer; 0: there is none */
	uint8_t to;                 /* CQLFERRY_TO_ORIGIN ...: where it was sent; 0: nowhere */
	uint8_t answered_by;        /* CQLFERRY_ORIGIN, _TARGET; 2: the proxy */
	uint32_t error_code;        /* of an ERROR (v5, section 8) */
	uint32_t decided_by;        /* CQLFERRY_BY_DEFAULT ... */
	uint64_t duration_ns;       /* from its arrival to this answer */
	const char *decider;        /* "read billing.* target", the name of a hook or a plugin; NULL: nobody's */
	const char *tag;            /* of its route; NULL: none */
	struct cqlferry_text error; /* the text of an ERROR */
	struct cqlferry_part parts[CQLFERRY_CLUSTERS];
};

/* Outcomes of a log-in, for on_login. */
#define CQLFERRY_LOGIN_OK 0
#define CQLFERRY_LOGIN_REFUSED 1 /* by a cluster */
#define CQLFERRY_LOGIN_DENIED 2  /* by a plugin */
#define CQLFERRY_LOGIN_FAILED 3  /* a cluster could not be asked; limits; the end of the process */
struct cqlferry_login_result {
	uint32_t size, outcome;
	uint32_t cluster;          /* of REFUSED and FAILED; 2: none of them */
	uint32_t error_code;       /* what the driver was told */
	uint64_t duration_ns;      /* since STARTUP */
	struct cqlferry_text user; /* as the driver has said it; empty: it was not asked, or that cannot be read */
	struct cqlferry_text error;
};

/* ---- what plugins may call ---- */

#define CQLFERRY_LOG_ERROR 0
#define CQLFERRY_LOG_WARN 1
#define CQLFERRY_LOG_INFO 2
#define CQLFERRY_LOG_DEBUG 3
struct cqlferry_timer;
struct cqlferry_http; /* a request for a page, for one call of its handler */

/* A line of the metrics page: <family><suffix>{<labels>} <value>. Those of a family come one after the other. */
struct cqlferry_metric {
	uint32_t size, reserved;
	const char *family; /* as on the page, with its prefix */
	const char *type;   /* "counter", "gauge", "histogram" */
	const char *help;
	const char *suffix; /* "_bucket", "_sum", "_count"; "" */
	const char *labels; /* a="b",c="d", escaped; with le, where a bucket counts all up to its bound; or "" */
	double value;
};
typedef void (*cqlferry_metric_fn)(void *arg, const struct cqlferry_metric *metric);

/* One for each instance of a plugin (a section), from before open() until after close(). */
struct cqlferry_host {
	uint32_t size, abi_minor;
	const char *instance;       /* NAME of [plugin NAME] */
	uint32_t workers, reserved; /* how many there are, by their numbers from 0 */

	/* Any thread. The line names the plugin; the same line many times a second is written once with a count. */
	void (*log)(const struct cqlferry_host *h, int32_t level, const char *fmt, ...) CQLFERRY_PRINTF(3, 4);
	/* In a function that may return CQLFERRY_ERROR, before that: why. Cut after 511 bytes. */
	void (*error)(const struct cqlferry_host *h, const char *fmt, ...) CQLFERRY_PRINTF(2, 3);

	/* Any thread: a metric, <prefix>_cqlferry_<family>{<labels>} on /metrics, for ever. Equal family and labels,
	 * equal number. `labels` is a="b",c="d" or "", values escaped as in Prometheus' text format. 0: no room for
	 * more, or another type has this name; what follows ignores 0. */
	uint32_t (*counter_new)(const struct cqlferry_host *h, const char *family, const char *help,
				const char *labels);
	uint32_t (*gauge_new)(const struct cqlferry_host *h, const char *family, const char *help, const char *labels);
	/* Bounds in seconds, growing, 1 to 32 of them. */
	uint32_t (*histogram_new)(const struct cqlferry_host *h, const char *family, const char *help,
				  const char *labels, const double *bounds, uint32_t count);
	void (*counter_add)(const struct cqlferry_host *h, uint32_t counter, int64_t n);
	/* A share of it: main and each worker have one, all other threads together one. What is shown is the sum. */
	void (*gauge_set)(const struct cqlferry_host *h, uint32_t gauge, int64_t value);
	void (*histogram_observe)(const struct cqlferry_host *h, uint32_t histogram, uint64_t ns);
	/* In a page's handler: all that the metrics page shows, the plugins' own included. */
	void (*metrics_visit)(const struct cqlferry_host *h, cqlferry_metric_fn visit, void *arg);

	/* Calls `fn` each `interval_ms` (10 and up): in the worker when made in worker_open() or a hook, in main when
	 * made in open(). Until worker_close() or close(), or timer_free() in its thread. NULL: made elsewhere. */
	struct cqlferry_timer *(*timer_new)(const struct cqlferry_host *h, uint32_t interval_ms, void (*fn)(void *arg),
					    void *arg);
	void (*timer_free)(const struct cqlferry_host *h, struct cqlferry_timer *timer);

	/* In open(): a page of the HTTP server, "/path". CQLFERRY_ERROR: there is one. Its handler runs in main. */
	int32_t (*http_route)(const struct cqlferry_host *h, const char *path,
			      void (*handler)(void *arg, struct cqlferry_http *http), void *arg);
	/* In a handler: a header of the request, or NULL; once, the answer, without which the page is a 500. */
	const char *(*http_header)(struct cqlferry_http *http, const char *name);
	void (*http_reply)(struct cqlferry_http *http, uint32_t status, const char *content_type, const void *body,
			   uint64_t length);

	/* In open() and reload(): of which kinds hooks are called; at first all. What is not wanted costs nothing. */
	void (*watch)(const struct cqlferry_host *h, uint32_t request_kinds, uint32_t response_kinds);
	/* In open(): a route for route_set(). 0 after error(): it makes no sense. The first four are always there. */
	uint32_t (*route_new)(const struct cqlferry_host *h, const struct cqlferry_route *route);
#define CQLFERRY_ROUTE_ORIGIN 1u
#define CQLFERRY_ROUTE_TARGET 2u
#define CQLFERRY_ROUTE_BOTH 3u
#define CQLFERRY_ROUTE_MIRROR 4u /* to the primary, with a copy to the other; reads only */

	/* In a worker's hooks. What returns a pointer never returns NULL, unless it says so. */
	const struct cqlferry_client_info *(*client_info)(const struct cqlferry_client *client);
	struct cqlferry_client *(*request_client)(const struct cqlferry_request *request);
	/* A place for this instance's own pointer, NULL at first, as long as the client; on_disconnect frees it. */
	void **(*conn_slot)(const struct cqlferry_host *h, struct cqlferry_client *client);
	const struct cqlferry_request_info *(*request_info)(struct cqlferry_request *request);
	const struct cqlferry_statement *(*statement)(struct cqlferry_request *request);
	/* A number of this instance's that stays with the prepared statement in this worker, 0 at first and whenever
	 * the statement was forgotten meanwhile. NULL: the request is no EXECUTE of a statement that is known. */
	uint64_t *(*statement_slot)(const struct cqlferry_host *h, struct cqlferry_request *request);
	/* QUERY and EXECUTE: the value that is bound to a marker, by its place from 0, in the protocol's form; data
	 * NULL: null or unset. False: there are not so many. */
	bool (*bound_value)(struct cqlferry_request *request, uint32_t index, struct cqlferry_text *value);
	/* In on_response: the rows of an answer that has them; -1: it has none, or they cannot be read. */
	int64_t (*row_count)(struct cqlferry_request *request);

	/* In on_request, before DONE; ignored for PREPARE. A number of route_new(), or CQLFERRY_ROUTE_ORIGIN ...; DONE
	 * is an error with a number that there is not, and with a mirror for what is no read. */
	void (*route_set)(struct cqlferry_request *request, uint32_t route);
	/* In on_connect, on_credentials and on_request, before DENY: what the driver is told. `code` is one of the
	 * protocol's without further fields: 0x0000 SERVER_ERROR, 0x0100 BAD_CREDENTIALS, 0x1001 OVERLOADED, 0x2000
	 * SYNTAX_ERROR, 0x2100 UNAUTHORIZED, 0x2200 INVALID, 0x2300 CONFIG_ERROR. The text is cut after 511 bytes. */
	void (*deny)(const struct cqlferry_host *h, uint32_t code, const char *fmt, ...) CQLFERRY_PRINTF(3, 4);

	/* In on_connect, on_credentials and on_request, once, before HOLD: what the hook is about waits, and nothing
	 * else does. Returns the ticket for resume(), or 0: too many are held; the hook then decides at once. When
	 * `timeout_ms` are over first, that is the plugin's error (on_error), and the hook is not called again. */
	uint64_t (*hold)(const struct cqlferry_host *h, uint32_t timeout_ms);
	/* Any thread, from hold() until close() returns: the hook is called again, in its worker, after it has returned
	 * HOLD. Does nothing when that was done, or what was held has ended: counted. */
	void (*resume)(const struct cqlferry_host *h, uint64_t ticket);
	/* In a hook: the ticket whose resume() has made this call; 0: it is the first one. */
	uint64_t (*resumed)(const struct cqlferry_host *h);

	/* After hold(), in the same hook: what resumed_data() gives in the call that resume() makes. `release` is
	 * called with it, once, in the worker, when the hold is over, however it ends: after that call, at the
	 * deadline, when the client has gone. Of the host it may call what any thread may. */
	void (*hold_data)(const struct cqlferry_host *h, void *data, void (*release)(void *data));
	/* NULL: this is the first call, or there was no hold_data(). */
	void *(*resumed_data)(const struct cqlferry_host *h);

	/* In on_credentials: what was given. data NULL: the first step; else empty: a token of another mechanism. */
	struct cqlferry_text (*login_user)(const struct cqlferry_login *login);
	struct cqlferry_text (*login_password)(const struct cqlferry_login *login);
	/* The cluster asks for a log-in, as far as is known. */
	bool (*login_wanted)(const struct cqlferry_login *login, uint32_t cluster);
	/* Before DONE: what this cluster gets in place of what `credentials` and ZDM's rule say. Wiped after use. */
	void (*login_set)(struct cqlferry_login *login, uint32_t cluster, struct cqlferry_text user,
			  struct cqlferry_text password);
	/* Before DONE: who the client is from now on: in logs, limits, scripts and metrics. */
	void (*login_name)(struct cqlferry_login *login, struct cqlferry_text user);
	/* In the first step, before NEXT: the driver is asked for user and password also where no cluster wants it. */
	void (*login_ask)(struct cqlferry_login *login);
};

/* Any function, and any text but `name` and `version`, may be NULL. What can fail returns 0, or CQLFERRY_ERROR. */
struct cqlferry_plugin {
	uint32_t abi_major, abi_minor; /* a minor that is lower than the header's: it runs on older hosts, too */
	uint32_t struct_size;
	uint32_t option_size; /* sizeof(struct cqlferry_option), if there are options */
	const struct cqlferry_option *options;
	uint32_t option_count, flags;
#define CQLFERRY_ROUTES 1u /* on_request may set routes: statements are then prepared on both clusters */
	const char *name;  /* of what it is; an instance is called as its section */
	const char *version;
	const char *depends; /* names of plugins that have to be opened before it, by blanks */

	/* Main, before the workers start: *self is given to what follows, and to the hooks if worker_open is NULL. */
	int32_t (*open)(const struct cqlferry_host *host, const struct cqlferry_value *values, void **self);
	/* Main, after the workers, in reverse order; also when a later plugin's open() failed, but not its own. */
	void (*close)(void *self);
	/* Main, before that worker's thread starts, and when it has ended: *worker_self is given to its hooks. */
	int32_t (*worker_open)(void *self, uint32_t worker, void **worker_self);
	void (*worker_close)(void *worker_self);

	/* A reload of the configuration, which takes effect whole or not at all: reload() makes a new state and keeps
	 * it aside; if every plugin could do that, worker_reload() is called in each worker, which then uses it; at
	 * last reload_end(taken = 1), when no worker uses the old one. Else reload_end(0), of those whose reload() was
	 * successful, throws the new state away. Main, but for worker_reload(). Also when no option has changed: files
	 * may have. */
	int32_t (*reload)(void *self, const struct cqlferry_value *values);
	void (*worker_reload)(void *worker_self);
	void (*reload_end)(void *self, uint32_t taken);
	/* Main, on SIGUSR1: files that something else has moved away are opened anew. */
	void (*reopen)(void *self);

	/* A client is there: its address, and of TLS its certificate, are known. DENY: it is told so, and closed. */
	int32_t (*on_connect)(void *worker_self, struct cqlferry_client *client);
	/* A log-in, in one or two steps. First at STARTUP, with nothing given: DONE after login_set() and login_name()
	 * ends it without a dialogue. Then with user and password, each time that the driver sends them; there DENY
	 * with BAD_CREDENTIALS lets it try again. What was set counts with DONE. */
	int32_t (*on_credentials)(void *worker_self, struct cqlferry_client *client, struct cqlferry_login *login);
	/* Each time that a log-in was successful or refused; also without on_credentials, and where nobody had to. */
	void (*on_login)(void *worker_self, struct cqlferry_client *client, const struct cqlferry_login_result *result);
	/* QUERY, EXECUTE, BATCH, PREPARE; not those whose way the protocol rules decide. */
	int32_t (*on_request)(void *worker_self, struct cqlferry_request *request);
	/* One of them, these included, has its answer, or never gets one; once for each. */
	void (*on_response)(void *worker_self, struct cqlferry_request *request,
			    const struct cqlferry_response *response);
	/* Once for each client that on_connect is for, the denied included: the last hook that is about it. */
	void (*on_disconnect)(void *worker_self, struct cqlferry_client *client);
};

/* Declared, so that it is exported also from C++ and with -fvisibility=hidden. */
extern const struct cqlferry_plugin cqlferry_plugin __attribute__((visibility("default")));

#ifdef __cplusplus
}
#endif

#endif
