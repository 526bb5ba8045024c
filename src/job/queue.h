/*-------------------------------------------------------------------------
 *
 * queue.h
 *	  Which job runs, and when.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MM_QUEUE_H
#define MM_QUEUE_H

#include "postgres.h"

#include "compat.h"

/* A coordinator begins: from now on it is responsible for the queue. */
extern void mm_queue_attend(void);
/* It will not look at the queue for a while; others should not rely on it. */
extern void mm_queue_look_away(void);

/* Would a job that is started now wait for others?  Needs a transaction. */
extern bool mm_queue_is_full(void);

/*
 * For sessions that have just made a job queued: sees to a coordinator for
 * it.  Raises message 18 when no worker slot is free.  Needs a transaction.
 */
extern void mm_queue_enter(int64 job_id, Oid owner);

/*
 * For the coordinator that has the job's lock: waits until the job may run,
 * or is not queued any more.  False: others wait already, and one of them
 * will see to this job; its lock was given back.
 */
extern bool mm_queue_wait(int64 job_id);

/*
 * Behind that, with the job's row locked, which is queued or has run before
 * (which goes on whatever the limit): is it counted among those that run?
 */
extern bool mm_queue_may_run(bool has_run);

/* The job that was waited for is running, or is not queued any more. */
extern void mm_queue_came(void);

/*
 * To be called now and then: sees to a coordinator for the next job in the
 * queue.
 */
extern void mm_queue_poll(void);

/* This coordinator ends; waits until the queue is in the hands of another. */
extern void mm_queue_leave(void);

/* Raises 42501 with the reason why no worker can run as the job's owner. */
extern void mm_queue_raise_unusable(int64 job_id, const char *trouble)
			pg_attribute_noreturn();

/* For the launcher: jobs that a restart left without a coordinator. */
extern PGDLLEXPORT bool mm_queue_has_jobs(void);
extern PGDLLEXPORT bool mm_queue_resume_all(void);

#endif							/* MM_QUEUE_H */
