/*
 * verifier.c - see verifier.h
 *
 * A job is in the queue, with a thread, or done; its fields belong to the lock,
 * but for the question while a thread works on it. One that is dropped while a
 * thread has it is given back by the thread.
 */
#include "verifier.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "vault.h"

struct verifier {
	const struct verifier_ops *ops;
	void *arg;
	int nice;
	pthread_t *threads;
	unsigned thread_count;

	pthread_mutex_t lock;
	pthread_cond_t wake;
	bool ends;
	struct verifier_job *first, **last; /* the queue */
	uint32_t waiting, limit;
	struct verifier_job *free;
	struct vault *vault; /* of all jobs */
};

/* ---- jobs; the lock is held ---- */

static struct verifier_job *job_new(struct verifier *v)
{
	struct verifier_job *job = v->free;

	if (!job)
		return vault_alloc(v->vault, sizeof(*job));
	v->free = job->next;
	job->next = NULL;
	return job;
}

static void job_free(struct verifier *v, struct verifier_job *job)
{
	explicit_bzero(job, sizeof(*job));
	job->next = v->free;
	v->free = job;
}

static void enqueue(struct verifier *v, struct verifier_job *job)
{
	job->at = v->last;
	*v->last = job;
	v->last = &job->next;
	v->waiting++;
}

static void dequeue(struct verifier *v, struct verifier_job *job)
{
	*job->at = job->next;
	if (job->next)
		job->next->at = job->at;
	else
		v->last = job->at;
	job->next = NULL;
	job->at = NULL;
	v->waiting--;
}

/* ---- threads ---- */

static void work(struct verifier *v, struct hash_room *room, struct verifier_job *job)
{
	enum verifier_result result;
	const uint64_t ticket = job->question.ticket;
	bool is_wanted;

	pthread_mutex_unlock(&v->lock);
	result = v->ops->check(v->arg, &job->question, room);
	pthread_mutex_lock(&v->lock);
	is_wanted = !job->is_dropped;
	if (is_wanted)
		job->result = result;
	else
		job_free(v, job);
	pthread_mutex_unlock(&v->lock);
	if (is_wanted)
		v->ops->done(v->arg, ticket);
	pthread_mutex_lock(&v->lock);
}

static void *thread_main(void *arg)
{
	struct verifier *v = arg;
	struct hash_room *room = hash_room_new();
	struct verifier_job *job;

	/* Of this thread alone, on Linux. Workers come first: theirs is a moment, ours are milliseconds. */
	setpriority(PRIO_PROCESS, (id_t)gettid(), v->nice);
	pthread_mutex_lock(&v->lock);
	while (!v->ends) {
		if (!v->first) {
			pthread_cond_wait(&v->wake, &v->lock);
			continue;
		}
		job = v->first;
		dequeue(v, job);
		work(v, room, job);
	}
	pthread_mutex_unlock(&v->lock);
	hash_room_free(room);
	return NULL;
}

/* Signals are the main thread's. */
static int start_thread(struct verifier *v)
{
	sigset_t all, before;
	int error;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	error = pthread_create(&v->threads[v->thread_count], NULL, thread_main, v);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (error == 0)
		pthread_setname_np(v->threads[v->thread_count++], "auth_map");
	return error;
}

struct verifier *verifier_new(unsigned threads, unsigned queue, int nice, const struct verifier_ops *ops, void *arg)
{
	struct verifier *v = memory_new(1, sizeof(*v));
	int error = 0;

	v->ops = ops;
	v->arg = arg;
	v->nice = nice;
	v->limit = queue;
	v->last = &v->first;
	v->vault = vault_new();
	v->threads = memory_new(threads, sizeof(pthread_t));
	pthread_mutex_init(&v->lock, NULL);
	pthread_cond_init(&v->wake, NULL);
	while (error == 0 && v->thread_count < threads)
		error = start_thread(v);
	if (error == 0)
		return v;
	verifier_free(v);
	errno = error;
	return NULL;
}

void verifier_free(struct verifier *v)
{
	if (!v)
		return;
	pthread_mutex_lock(&v->lock);
	v->ends = true;
	pthread_cond_broadcast(&v->wake);
	pthread_mutex_unlock(&v->lock);
	for (unsigned i = 0; i < v->thread_count; i++)
		pthread_join(v->threads[i], NULL);
	pthread_cond_destroy(&v->wake);
	pthread_mutex_destroy(&v->lock);
	vault_free(v->vault);
	free(v->threads);
	free(v);
}

/* ---- questions ---- */

/* The texts move into the job. A password that is too long is wrong in any case, but takes as long. */
static void job_fill(struct verifier_job *job, const struct verifier_question *q)
{
	const bool fits = q->password_length <= VERIFIER_PASSWORD_MAX;

	job->question = *q;
	if (fits && q->password_length > 0)
		memcpy(job->password, q->password, q->password_length);
	strncpy(job->hash, q->hash, VERIFIER_HASH_MAX);
	job->question.password = job->password;
	job->question.password_length = fits ? q->password_length : 0;
	job->question.hash = job->hash;
	job->question.is_decoy |= !fits;
}

struct verifier_job *verifier_ask(struct verifier *v, const struct verifier_question *q)
{
	struct verifier_job *job = NULL;

	pthread_mutex_lock(&v->lock);
	if (v->waiting < v->limit) {
		job = job_new(v);
		job_fill(job, q);
		enqueue(v, job);
		pthread_cond_signal(&v->wake);
	}
	pthread_mutex_unlock(&v->lock);
	return job;
}

enum verifier_result verifier_result(struct verifier *v, struct verifier_job *job)
{
	enum verifier_result result;

	pthread_mutex_lock(&v->lock);
	result = job->result;
	pthread_mutex_unlock(&v->lock);
	return result;
}

void verifier_drop(struct verifier *v, struct verifier_job *job)
{
	pthread_mutex_lock(&v->lock);
	if (!job->at && job->result == VERIFIER_PENDING) {
		job->is_dropped = true;
	} else {
		if (job->at)
			dequeue(v, job);
		job_free(v, job);
	}
	pthread_mutex_unlock(&v->lock);
}

/* Takes the first job out if it is late; its ticket, or 0. */
static uint64_t expire_one(struct verifier *v, uint64_t now_ns)
{
	struct verifier_job *job;
	uint64_t ticket = 0;

	pthread_mutex_lock(&v->lock);
	job = v->first;
	if (job && job->question.give_up_ns <= now_ns) {
		dequeue(v, job);
		job->result = VERIFIER_LATE;
		ticket = job->question.ticket;
	}
	pthread_mutex_unlock(&v->lock);
	return ticket;
}

void verifier_expire(struct verifier *v, uint64_t now_ns)
{
	uint64_t ticket;

	/* They have come in the order in which their time is over, but for those around a reload. */
	while ((ticket = expire_one(v, now_ns)) != 0)
		v->ops->done(v->arg, ticket);
}

uint32_t verifier_waiting(struct verifier *v)
{
	uint32_t n;

	pthread_mutex_lock(&v->lock);
	n = v->waiting;
	pthread_mutex_unlock(&v->lock);
	return n;
}
