/*
 * cqlferry/plugin.h - the interface between cqlferry and its plugins. A plugin
 * is a shared object that exports one constant:
 *
 *	const struct cqlferry_plugin cqlferry_plugin = {
 *		.abi_major = CQLFERRY_ABI_MAJOR,
 *		.abi_minor = CQLFERRY_ABI_MINOR,
 *		.struct_size = sizeof(struct cqlferry_plugin),
 *		.name = "mine", .version = "1.0",
 *		.open = my_open, .on_request = my_on_request,
 *	};
 *
 *	cc -shared -fPIC -o mine.so mine.c $(pkg-config --cflags cqlferry-plugin)
 *
 * docs/plugins.md is the manual, plugins/sample the tutorial.
 *
 * What holds for ever in major 1: members are only added, at the end of structs;
 * numbers are never given another meaning. Each side reads of a struct what
 * both know: its size says where that ends. A plugin built against an older
 * minor runs unchanged; one that was built against a newer minor is refused.
 * Before it calls a function of struct cqlferry_host that came after minor 0, a
 * plugin compares host->abi_minor with the minor named there.
 *
 * Threads. "main" is the thread that reads the configuration, "worker" one of
 * those that serve clients. What a worker's hooks are given lives until the hook
 * returns, unless it says otherwise. Hooks never block: a worker that waits
 * stops all of its clients. What takes longer than some microseconds belongs
 * into a thread of the plugin's, with hold() and resume().
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

#if defined(__GNUC__)
#define CQLFERRY_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#else
#define CQLFERRY_PRINTF(fmt, args)
#endif

/* What hooks return. Anything else is taken for CQLFERRY_ERROR. */
#define CQLFERRY_NEXT 0     /* no opinion: the next plugin, then scripts, rules and the default */
#define CQLFERRY_DONE 1     /* decided, as it was set; no other plugin is asked */
#define CQLFERRY_DENY 2     /* refused, as deny() says */
#define CQLFERRY_HOLD 3     /* after hold(): the hook is called again when resume() was */
#define CQLFERRY_ERROR (-1) /* as error() says; `on_error` of the plugin's section decides: deny, or as NEXT */

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
#define CQLFERRY_OPTION_RELOAD 2u   /* flag: it may change in a running process */
#define CQLFERRY_OPTION_REPEATED 4u /* flag: several lines; text then has one item per line, by '\n' */

struct cqlferry_option {
	const char *name;
	const char *initial; /* as it would be written; NULL: not set */
	const char *choices; /* CHOICE: "drop block refuse" */
	const char *help;
	int64_t min, max; /* of numbers; both 0: all that are not negative */
	uint32_t type;
	uint32_t flags;
};

/* What an option is set to, in the order of the rows; valid until the call that got it returns. */
struct cqlferry_value {
	const char *text;  /* NULL: not set */
	const char *place; /* "FILE:12", for messages */
	int64_t number;
	uint32_t is_set; /* 1: by the configuration, 0: by the row's `initial` or not at all */
	uint32_t reserved;
};

/* ---- what hooks are about ---- */

#define CQLFERRY_ORIGIN 0
#define CQLFERRY_TARGET 1
#define CQLFERRY_CLUSTERS 2

struct cqlferry_client;  /* a driver's connection, from on_connect to on_disconnect; a worker's own */
struct cqlferry_login;   /* a log-in, for one call of on_credentials */
struct cqlferry_request; /* for one call of on_request or on_response */

/* Structs that the host fills in begin with their size. */
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
	uint64_t number;      /* of one process no two are the same; the request's, in all of its hooks */
	const char *verb;     /* "SELECT", "INSERT", "BATCH" ..., "" for what is not understood; lasts */
};

struct cqlferry_table {
	struct cqlferry_text keyspace; /* with that of the connection where the text has none; may be empty */
	struct cqlferry_text table;
};

struct cqlferry_statement {
	uint32_t size;
	uint32_t table_count;
	/* QUERY, PREPARE, EXECUTE: its text; BATCH: those of its children, by "; ". Of what we have changed (timestamps,
	 * function calls) as the clusters get it in on_response. */
	struct cqlferry_text text;
	struct cqlferry_text keyspace;       /* what names without one mean; may be empty */
	const struct cqlferry_table *tables; /* those that it names, each once */
	uint32_t is_incomplete;              /* 1: there are more tables, or it was not understood */
	uint32_t is_prepared;                /* 1: this object is the same for each request of the statement */
};

/* Where a request goes. */
#define CQLFERRY_TO_ORIGIN 1u
#define CQLFERRY_TO_TARGET 2u
#define CQLFERRY_TO_BOTH 3u

struct cqlferry_route {
	uint32_t size;
	uint32_t to;          /* CQLFERRY_TO_ORIGIN ... */
	uint32_t answer_from; /* CQLFERRY_ORIGIN or _TARGET, one of `to` */
	uint32_t mirror;      /* 1: a read to one cluster is copied to the other, whose answer is thrown away */
	uint32_t timeout_ms;  /* 0: request_timeout */
	uint32_t consistency; /* in place of the request's, unless that is a serial one; 0xFFFF: it stays */
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
	uint32_t size;
	uint32_t outcome;
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

/* `value` of a histogram's bucket counts all up to its bound; its label le is among `labels`. */
typedef void (*cqlferry_metric_fn)(void *arg, const char *family, const char *type, const char *help,
				   const char *suffix, const char *labels, double value);

/* One for each instance of a plugin (a section), from before open() until after close(). Strings are copied. */
struct cqlferry_host {
	uint32_t size;
	uint32_t abi_minor;
	const char *instance; /* NAME of [plugin NAME] */
	uint32_t workers;
	uint32_t reserved;

	/* Any thread. The line names the plugin; the same line many times a second is written once with a count. */
	void (*log)(const struct cqlferry_host *host, int32_t level, const char *fmt, ...) CQLFERRY_PRINTF(3, 4);
	/* In a function that returns CQLFERRY_ERROR, before that: why. */
	void (*error)(const struct cqlferry_host *host, const char *fmt, ...) CQLFERRY_PRINTF(2, 3);

	/*
	 * Metrics, as cqlferry_<family>{<labels>} on /metrics. Any thread; a family and labels that are there already
	 * give the same number. `labels` is a="b",c="d" or "", values escaped as in Prometheus' text format. 0: there
	 * is no room for more; the functions below take 0 for "none".
	 */
	uint32_t (*counter_new)(const struct cqlferry_host *host, const char *family, const char *help,
				const char *labels);
	uint32_t (*gauge_new)(const struct cqlferry_host *host, const char *family, const char *help,
			      const char *labels);
	/* Bounds in seconds, growing, 1 to 32 of them. */
	uint32_t (*histogram_new)(const struct cqlferry_host *host, const char *family, const char *help,
				  const char *labels, const double *bounds, uint32_t count);
	void (*counter_add)(const struct cqlferry_host *host, uint32_t counter, int64_t n);
	/* The calling thread's share: what is shown is the sum over all threads. */
	void (*gauge_set)(const struct cqlferry_host *host, uint32_t gauge, int64_t value);
	void (*histogram_observe)(const struct cqlferry_host *host, uint32_t histogram, uint64_t ns);
	/* All that the metrics page shows, the plugins' own included; in a page's handler. */
	void (*metrics_visit)(const struct cqlferry_host *host, cqlferry_metric_fn visit, void *arg);

	/*
	 * Calls `fn` each `interval_ms` (10 and up) in the worker's thread when made in worker_open() or a hook, in main
	 * when made in open(). It ends with worker_close() or close(), or by timer_free() in its thread.
	 */
	struct cqlferry_timer *(*timer_new)(const struct cqlferry_host *host, uint32_t interval_ms,
					    void (*fn)(void *arg), void *arg);
	void (*timer_free)(const struct cqlferry_host *host, struct cqlferry_timer *timer);

	/* A page of the HTTP server: "/path". In open(). CQLFERRY_ERROR: there is one. The handler runs in main. */
	int32_t (*http_route)(const struct cqlferry_host *host, const char *path,
			      void (*handler)(void *arg, struct cqlferry_http *http), void *arg);
	/* In a handler. The header of the request, or NULL. */
	const char *(*http_header)(struct cqlferry_http *http, const char *name);
	/* In a handler, once: the answer. */
	void (*http_reply)(struct cqlferry_http *http, uint32_t status, const char *content_type, const void *body,
			   uint64_t length);

	/*
	 * For which kinds on_request and on_response are called: bits 1u << CQLFERRY_READ ..., all at first. In open(), and
	 * in reload() with effect when that takes place. What is not wanted costs nothing.
	 */
	void (*watch)(const struct cqlferry_host *host, uint32_t request_kinds, uint32_t response_kinds);
	/* A route for route_set(), in open(). 0 and error(): it makes no sense. The first four are always there: */
	uint32_t (*route_new)(const struct cqlferry_host *host, const struct cqlferry_route *route);
#define CQLFERRY_ROUTE_ORIGIN 1u
#define CQLFERRY_ROUTE_TARGET 2u
#define CQLFERRY_ROUTE_BOTH 3u
#define CQLFERRY_ROUTE_MIRROR 4u

	/* ---- in a worker's hooks ---- */

	const struct cqlferry_client_info *(*client_info)(const struct cqlferry_client *client);
	/* The client that a request or a log-in is of. */
	struct cqlferry_client *(*request_client)(const struct cqlferry_request *request);
	/* A place for this instance's own pointer, NULL at first, as long as the client. */
	void **(*conn_slot)(const struct cqlferry_host *host, struct cqlferry_client *client);

	const struct cqlferry_request_info *(*request_info)(struct cqlferry_request *request);
	const struct cqlferry_statement *(*statement)(struct cqlferry_request *request);
	/*
	 * A number of this instance's that stays with the prepared statement in this worker, 0 at first and whenever the
	 * statement was forgotten meanwhile. NULL: the request is no EXECUTE.
	 */
	uint64_t *(*statement_slot)(const struct cqlferry_host *host, struct cqlferry_request *request);
	/* The value bound to a marker, in the protocol's form; data NULL: null or unset. False: there are not so many. */
	bool (*bound_value)(struct cqlferry_request *request, uint32_t index, struct cqlferry_text *value);
	/* In on_response: the rows of an answer that has them; -1: it has none, or they cannot be read. */
	int64_t (*row_count)(struct cqlferry_request *request);

	/* In on_request, before DONE; ignored for PREPARE. By a number of route_new(), or CQLFERRY_ROUTE_ORIGIN ... */
	void (*route_set)(struct cqlferry_request *request, uint32_t route);
	/*
	 * In on_connect, on_credentials and on_request, before DENY: what the driver is told. `code` is one of the
	 * protocol's without further fields: 0x0000 SERVER_ERROR, 0x0100 BAD_CREDENTIALS, 0x1001 OVERLOADED, 0x2000
	 * SYNTAX_ERROR, 0x2100 UNAUTHORIZED, 0x2200 INVALID, 0x2300 CONFIG_ERROR.
	 */
	void (*deny)(const struct cqlferry_host *host, uint32_t code, const char *fmt, ...) CQLFERRY_PRINTF(3, 4);

	/*
	 * In on_connect, on_credentials and on_request, before HOLD: what the hook is about waits, and nothing else does.
	 * Returns the ticket for resume(), or 0: too many are held; the hook then decides at once. When `timeout_ms` are
	 * over first, that is an error of the plugin's (on_error).
	 */
	uint64_t (*hold)(const struct cqlferry_host *host, uint32_t timeout_ms);
	/* Any thread: the hook is called again, in its worker. Does nothing when that was done, or it has ended: counted. */
	void (*resume)(const struct cqlferry_host *host, uint64_t ticket);
	/* In a hook: the ticket whose resume() has made this call; 0: it is the first one. */
	uint64_t (*resumed)(const struct cqlferry_host *host);

	/* In on_credentials: what was given. Empty in the first step. */
	struct cqlferry_text (*login_user)(const struct cqlferry_login *login);
	struct cqlferry_text (*login_password)(const struct cqlferry_login *login);
	/* The cluster asks for a log-in, as far as is known. */
	bool (*login_wanted)(const struct cqlferry_login *login, uint32_t cluster);
	/* Before DONE: what this cluster gets in place of what `credentials` and ZDM's rule say. Copied, wiped after use. */
	void (*login_set)(struct cqlferry_login *login, uint32_t cluster, struct cqlferry_text user,
			  struct cqlferry_text password);
	/* Before DONE: who the client is from now on: in logs, limits, scripts and metrics. */
	void (*login_name)(struct cqlferry_login *login, struct cqlferry_text user);
	/* In the first step, before NEXT: the driver is asked for user and password even where no cluster wants them. */
	void (*login_ask)(struct cqlferry_login *login);
};

/* ---- what plugins are ---- */

/* Any function may be NULL. Those that can fail return 0, or CQLFERRY_ERROR after host->error(). */
struct cqlferry_plugin {
	uint32_t abi_major, abi_minor;
	uint32_t struct_size;
	uint32_t option_size; /* sizeof(struct cqlferry_option) */
	const struct cqlferry_option *options;
	uint32_t option_count;
	uint32_t flags;
#define CQLFERRY_ROUTES 1u /* on_request may set routes: statements are then prepared on both clusters */
	const char *name;  /* of what it is; an instance is called as its section */
	const char *version;
	const char *depends; /* names of plugins that have to be opened before it, by blanks */

	/* Main, before the workers start: *self is given to all that follows, and to the hooks if worker_open is NULL. */
	int32_t (*open)(const struct cqlferry_host *host, const struct cqlferry_value *values, void **self);
	/* Main, after the workers have stopped, in reverse order. Joins the plugin's threads. */
	void (*close)(void *self);
	/* Main, before that worker's thread starts: *worker_self is given to its hooks, in its thread. */
	int32_t (*worker_open)(void *self, uint32_t worker, void **worker_self);
	/* Main, when its thread has ended. */
	void (*worker_close)(void *worker_self);

	/*
	 * A reload of the configuration, which takes effect whole or not at all: reload() makes a new state and keeps it
	 * aside; if every plugin could do that, worker_reload() is called in each worker, which then uses it; at last
	 * reload_end(taken = 1), when no worker uses the old one. Else reload_end(0), which throws the new state away.
	 */
	int32_t (*reload)(void *self, const struct cqlferry_value *values);
	void (*worker_reload)(void *worker_self);
	void (*reload_end)(void *self, uint32_t taken);
	/* Main, on SIGUSR1: files that something else has moved away are opened anew. */
	void (*reopen)(void *self);

	/* A client is there: its address, and of TLS its certificate, are known. DENY: it is told so, and closed. */
	int32_t (*on_connect)(void *worker_self, struct cqlferry_client *client);
	/*
	 * A log-in, in one or two steps. First at STARTUP, with nothing given: DONE after login_set() and login_name() ends
	 * it without a dialogue. Then with user and password, each time that the driver sends them. DENY with
	 * BAD_CREDENTIALS lets the driver try again; the text is sent to it.
	 */
	int32_t (*on_credentials)(void *worker_self, struct cqlferry_client *client, struct cqlferry_login *login);
	/* The log-in was successful, or was refused; also without on_credentials, and where nobody had to log in. */
	void (*on_login)(void *worker_self, struct cqlferry_client *client, const struct cqlferry_login_result *result);
	/* QUERY, EXECUTE, BATCH, PREPARE; not those whose way the protocol rules decide. */
	int32_t (*on_request)(void *worker_self, struct cqlferry_request *request);
	/* One of them has its answer, or never gets one; once for each. */
	void (*on_response)(void *worker_self, struct cqlferry_request *request,
			    const struct cqlferry_response *response);
	/* Once for each client that on_connect was called for. */
	void (*on_disconnect)(void *worker_self, struct cqlferry_client *client);
};

#ifdef __cplusplus
}
#endif

#endif
