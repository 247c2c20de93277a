/*
 * fetch.c - see fetch.h
 *
 * The thread drives libcurl's multi interface, since only that can be woken:
 * fetch_cancel() waits for the thread, so that none is inside OpenSSL when the
 * process ends and OpenSSL tidies up.
 */
#include "base/fetch.h"

#include <curl/curl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/secret.h"

/* How long the thread sleeps at most when nothing happens; waking it needs no such time. */
#define POLL_MS 1000

struct fetch {
	struct loop_message message;
	struct loop *loop;
	fetch_done_fn *done; /* NULL: cancelled; changed on the loop's thread only */
	void *arg;
	pthread_t thread;
	bool has_thread;
	bool is_posted; /* the message is on its way; read by others after the thread has been joined */
	_Atomic bool is_cancelled;
	CURLM *multi;
	CURL *easy;
	struct strview pem[3]; /* CA, certificate, key: copies */
	size_t max_body;
	char *body;
	size_t len;
	bool is_too_long;
	bool has_body; /* the whole of it */
	char curl_error[CURL_ERROR_SIZE];
	char why[CURL_ERROR_SIZE + 64];
};

static void fetch_free(struct fetch *f)
{
	if (f->easy)
		curl_easy_cleanup(f->easy);
	if (f->multi)
		curl_multi_cleanup(f->multi);
	for (unsigned i = 0; i < ARRAY_LEN(f->pem); i++)
		secret_free((void *)(uintptr_t)f->pem[i].p);
	free(f->body);
	free(f);
}

/* ---- on the thread ---- */

static size_t take_body(char *data, size_t size, size_t count, void *arg)
{
	struct fetch *f = arg;
	const size_t n = size * count;

	if (n > f->max_body - f->len) {
		f->is_too_long = true;
		return 0;
	}
	f->body = xrealloc(f->body, f->len + n + 1);
	memcpy(f->body + f->len, data, n);
	f->len += n;
	f->body[f->len] = '\0';
	return n;
}

/* True when it is over, one way or the other. */
static bool look_for_result(struct fetch *f)
{
	CURLMsg *msg;
	long status = 0;
	int left;

	msg = curl_multi_info_read(f->multi, &left);
	if (!msg || msg->msg != CURLMSG_DONE)
		return false;
	curl_easy_getinfo(f->easy, CURLINFO_RESPONSE_CODE, &status);
	if (f->is_too_long)
		snprintf(f->why, sizeof(f->why), "the answer is longer than %zu bytes", f->max_body);
	else if (msg->data.result != CURLE_OK)
		snprintf(f->why, sizeof(f->why), "%s",
			 *f->curl_error ? f->curl_error : curl_easy_strerror(msg->data.result));
	else if (status < 200 || status > 299)
		snprintf(f->why, sizeof(f->why), "it answered with HTTP status %ld%s", status,
			 status / 100 == 3 ? ", and redirects are not followed" : "");
	else
		f->has_body = true;
	return true;
}

static void *fetch_thread(void *arg)
{
	struct fetch *f = arg;
	int running = 1;

	curl_multi_add_handle(f->multi, f->easy);
	while (!atomic_load(&f->is_cancelled)) {
		if (curl_multi_perform(f->multi, &running) != CURLM_OK || look_for_result(f) || running == 0 ||
		    curl_multi_poll(f->multi, NULL, 0, POLL_MS, NULL) != CURLM_OK)
			break;
	}
	curl_multi_remove_handle(f->multi, f->easy);
	if (!f->has_body && !*f->why)
		snprintf(f->why, sizeof(f->why), "the transfer failed");
	if (!atomic_load(&f->is_cancelled)) {
		f->is_posted = true;
		loop_post(f->loop, &f->message);
	}
	return NULL;
}

/* ---- on the loop's thread ---- */

static void run(struct loop_message *m)
{
	static const char nothing[] = "";
	struct fetch *f = container_of(m, struct fetch, message);

	if (f->has_thread)
		pthread_join(f->thread, NULL);
	f->has_thread = false;
	if (f->done)
		f->done(f->arg, f->has_body ? (f->body ? f->body : nothing) : NULL, f->len, f->why);
	fetch_free(f);
}

static bool set_text(CURL *easy, CURLoption option, const char *text)
{
	return curl_easy_setopt(easy, option, text) == CURLE_OK;
}

static bool set_number(CURL *easy, CURLoption option, long number)
{
	return curl_easy_setopt(easy, option, number) == CURLE_OK;
}

static bool set_pem(CURL *easy, CURLoption option, struct strview pem)
{
	/* No copy: what we have is wiped, what libcurl had would not be. */
	struct curl_blob blob = { .data = (char *)(uintptr_t)pem.p, .len = pem.len, .flags = CURL_BLOB_NOCOPY };

	return !pem.p || curl_easy_setopt(easy, option, &blob) == CURLE_OK;
}

/* Every option counts: without one of them more would be trusted than was meant. */
static bool set_options(struct fetch *f, const struct fetch_options *o)
{
	CURL *e = f->easy;

	return set_text(e, CURLOPT_URL, o->url) && set_text(e, CURLOPT_PROTOCOLS_STR, "https") &&
	       set_text(e, CURLOPT_PROXY, "") && set_text(e, CURLOPT_NOPROXY, "*") &&
	       set_number(e, CURLOPT_NETRC, CURL_NETRC_IGNORED) && set_number(e, CURLOPT_FOLLOWLOCATION, 0) &&
	       set_number(e, CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1) &&
	       /* libcurl's default directory of certificates counts beside the blob unless it is taken away. */
	       set_text(e, CURLOPT_CAPATH, NULL) && set_text(e, CURLOPT_CAINFO, NULL) &&
	       set_pem(e, CURLOPT_CAINFO_BLOB, f->pem[0]) && set_number(e, CURLOPT_SSL_VERIFYPEER, 1) &&
	       set_number(e, CURLOPT_SSL_VERIFYHOST, 2) && set_number(e, CURLOPT_SSLVERSION, CURL_SSLVERSION_TLSv1_2) &&
	       set_pem(e, CURLOPT_SSLCERT_BLOB, f->pem[1]) && set_pem(e, CURLOPT_SSLKEY_BLOB, f->pem[2]) &&
	       set_number(e, CURLOPT_TIMEOUT_MS, (long)o->timeout_ms) &&
	       set_number(e, CURLOPT_CONNECTTIMEOUT_MS, (long)o->timeout_ms) && set_number(e, CURLOPT_NOSIGNAL, 1) &&
	       set_number(e, CURLOPT_QUICK_EXIT, 1) &&
	       curl_easy_setopt(e, CURLOPT_ERRORBUFFER, f->curl_error) == CURLE_OK &&
	       curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, take_body) == CURLE_OK &&
	       curl_easy_setopt(e, CURLOPT_WRITEDATA, f) == CURLE_OK;
}

static struct strview copy_pem(struct strview from)
{
	return from.p ? (struct strview){ secret_strndup(from.p, from.len), from.len } : from;
}

/* Signals are for the main thread. */
static int start_thread(struct fetch *f)
{
	sigset_t all, old;
	int rc;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	rc = pthread_create(&f->thread, NULL, fetch_thread, f);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return rc;
}

static void init_curl(void)
{
	/* Should it fail, so does curl_easy_init(). */
	(void)curl_global_init(CURL_GLOBAL_DEFAULT);
}

struct fetch *fetch_start(struct loop *loop, const struct fetch_options *options, fetch_done_fn *done, void *arg)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	struct fetch *f = xcalloc(1, sizeof(*f));
	int rc = 0;

	pthread_once(&once, init_curl);
	f->message.run = run;
	f->loop = loop;
	f->done = done;
	f->arg = arg;
	f->max_body = options->max_body;
	f->pem[0] = copy_pem(options->ca);
	f->pem[1] = copy_pem(options->cert);
	f->pem[2] = copy_pem(options->key);
	f->multi = curl_multi_init();
	f->easy = curl_easy_init();
	if (!f->multi || !f->easy || !set_options(f, options))
		snprintf(f->why, sizeof(f->why), "HTTPS cannot be set up");
	else if ((rc = start_thread(f)) != 0)
		snprintf(f->why, sizeof(f->why), "no thread to ask it: %s", strerror(rc));
	else
		f->has_thread = true;
	if (!f->has_thread) {
		f->is_posted = true;
		loop_post(loop, &f->message);
	}
	return f;
}

void fetch_cancel(struct fetch *f)
{
	f->done = NULL;
	if (f->has_thread) {
		atomic_store(&f->is_cancelled, true);
		curl_multi_wakeup(f->multi);
		pthread_join(f->thread, NULL);
		f->has_thread = false;
	}
	/* A message that is posted cannot be taken back; run() frees it. */
	if (!f->is_posted)
		fetch_free(f);
}
