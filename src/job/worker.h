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

/*
 * Kinds of our advisory locks: their field 4.  SQL's functions use 1 and 2
 * only, so that no user can take one.  In a database the class is the OID of
 * the extension, so that workers which have not yet noticed that it was
 * dropped are not in the way of the next one.
 *
 *							database	class			object
 */
#define MM_LOCK_JOB 3		/* ours		extension		job: its coordinator */
#define MM_LOCK_TARGET 4	/* ours		schema			hash of the table's name */
#define MM_LOCK_WAITER 5	/* ours		extension		0: see queue.c */
#define MM_LOCK_RUNNING 6	/* 0		MM_LOCK_CLASS	process of a job that runs */
#define MM_LOCK_TURN 7		/* 0		MM_LOCK_CLASS	0: see queue.c */
#define MM_LOCK_ATTENDANT 8 /* ours		extension		process: see queue.c */
#define MM_LOCK_GATE 9		/* ours		extension		0 and 1: see queue.c */

/* Class of the locks that are of no database. */
#define MM_LOCK_CLASS 0x6d6d6a62

/* Names of our wait events, which show on 17 and later. */
#define MM_WAIT_EVENT_RETRY WaitEventExtensionNew_compat("MongoRetry")
#define MM_WAIT_EVENT_LOADERS WaitEventExtensionNew_compat("MongoLoaders")
#define MM_WAIT_EVENT_JOB WaitEventExtensionNew_compat("MongoJob")
#define MM_WAIT_EVENT_QUEUE WaitEventExtensionNew_compat("MongoQueue")
#define MM_WAIT_EVENT_THROTTLE WaitEventExtensionNew_compat("MongoThrottle")

/* bgw_extra: ids only, everything else is in tables. */
typedef struct MmWorkerArgs
{
	Oid			database;
	Oid			extension;		/* mongo_migrate as it was then */
	Oid			owner;			/* the worker runs as the job's owner */
	int64		job_id;
	TransactionId start_xid;	/* coordinator: wait for this one */
	int			generation;		/* loader: of the job */
	int			slot;			/* loader: in the shared counters */
	int64		shared_handle;	/* loader */
} MmWorkerArgs;

/*
 * Registers a coordinator that begins when the current transaction commits.
 * False when no worker slot is free.  Needs a transaction.
 */
extern bool mm_worker_start_coordinator(int64 job_id, Oid owner);
/* NULL when no worker slot is free. */
extern BackgroundWorkerHandle *mm_worker_start_loader(const MmWorkerArgs *args);

/* Worker slots in use in the cluster, by looking at running processes. */
typedef struct MmWorkerCount
{
	int			used;			/* by anybody */
	int			coordinators;
	int			loaders;
} MmWorkerCount;

extern MmWorkerCount mm_worker_count(void);

extern MmWorkerArgs mm_worker_begin(void);
/*
 * For a session that converts documents itself: the settings by which workers
 * do, until the caller's GUC nest level ends.
 */
extern void mm_worker_save_forms(void);
extern void mm_worker_fix_session(void);
extern void mm_worker_apply_options(const MmJob *job);
extern void mm_worker_reload(void);
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
/* As from MAKE_SQLSTATE. */
extern int	mm_worker_sqlstate(const MmFailure *failure);

/* Raises the failure of a job or chunk as it was raised in the worker. */
extern void mm_worker_raise(const MmFailure *failure)
			pg_attribute_noreturn();

/* Raises 42P01: the target is not there any more. */
extern void mm_worker_raise_dropped(const MmJobTable *table)
			pg_attribute_noreturn();

/* Opens the source of a job as its owner; needs a transaction. */
extern MmSourceConfig *mm_worker_source_config(const MmJob *job);

/*
 * The advisory lock of a job's only coordinator, kept to the process' end
 * unless it is given back.  False: another process has it.
 */
extern bool mm_worker_lock_job(int64 job_id);
extern void mm_worker_unlock_job(int64 job_id);

/* Why no worker can run as this role: a sentence; NULL when one can. */
extern char *mm_worker_owner_trouble(Oid owner);

extern PGDLLEXPORT void mm_coordinator_main(Datum arg);
extern PGDLLEXPORT void mm_loader_main(Datum arg);

#endif							/* MM_WORKER_H */
