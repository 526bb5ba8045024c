/*-------------------------------------------------------------------------
 *
 * worker.h
 *	  What coordinators and loaders share: start, session, failures.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MM_WORKER_H
#define MM_WORKER_H

#include "postgres.h"

#include "access/transam.h"
#include "job/job.h"
#include "postmaster/bgworker.h"

/* Class id of our advisory locks; the object is the job. */
#define MM_LOCK_CLASS 0x6d6d6a62
#define MM_LOCK_KIND 3
/* Kind of those on the names of targets. */
#define MM_LOCK_TARGET_KIND 4

/* Names of our wait events, which show on 17 and later. */
#define MM_WAIT_EVENT_RETRY WaitEventExtensionNew_compat("MongoRetry")
#define MM_WAIT_EVENT_LOADERS WaitEventExtensionNew_compat("MongoLoaders")
#define MM_WAIT_EVENT_JOB WaitEventExtensionNew_compat("MongoJob")
#define MM_WAIT_EVENT_THROTTLE WaitEventExtensionNew_compat("MongoThrottle")

/* bgw_extra: ids only, everything else is in tables. */
typedef struct MmWorkerArgs
{
	Oid			database;
	Oid			owner;			/* the worker runs as the job's owner */
	int64		job_id;
	TransactionId start_xid;	/* coordinator: wait for this one */
	int			generation;		/* loader: of the job */
	int			slot;			/* loader: in the shared counters */
	int64		shared_handle;	/* loader */
} MmWorkerArgs;

/*
 * Registers a coordinator that begins when the current transaction commits.
 * Raises 53000 when no worker slot is free.  Needs a transaction.
 */
extern void mm_worker_register_coordinator(int64 job_id, Oid owner);
/* NULL when no worker slot is free. */
extern BackgroundWorkerHandle *mm_worker_start_loader(const MmWorkerArgs *args);

/* Worker slots and our loaders, by looking at running processes. */
extern void mm_worker_count(int *workers_used, int *loaders_used);

extern MmWorkerArgs mm_worker_begin(void);
/*
 * For a session that converts documents itself: the settings by which workers
 * do, until the caller's GUC nest level ends.
 */
extern void mm_worker_save_forms(void);
extern void mm_worker_apply_options(const MmJob *job);
extern void mm_worker_tx_begin(void);
extern void mm_worker_tx_commit(void);
extern void mm_worker_report(const char *format,...) pg_attribute_printf(1, 2);

/*
 * To be called in a PG_CATCH block: takes the error into a MmFailure in the
 * given context, writes it to the server log as WARNING, and aborts the
 * transaction.  Query cancel and shutdown are raised again.
 */
extern MmFailure *mm_worker_catch(MemoryContext context);
extern MmFailure *mm_worker_failure(const MmSourceError *error);

/* Raises the failure of a job or chunk as it was raised in the worker. */
extern void mm_worker_raise(const MmFailure *failure)
			pg_attribute_noreturn();

/* Raises 42P01: the target is not there any more. */
extern void mm_worker_raise_dropped(const MmJobTable *table)
			pg_attribute_noreturn();

/* Opens the source of a job as its owner; needs a transaction. */
extern MmSourceConfig *mm_worker_source_config(const MmJob *job);

/* The advisory lock of a job's only coordinator, kept to the process' end. */
extern bool mm_worker_lock_job(int64 job_id);

extern PGDLLEXPORT void mm_coordinator_main(Datum arg);
extern PGDLLEXPORT void mm_loader_main(Datum arg);

#endif							/* MM_WORKER_H */
