/*-------------------------------------------------------------------------
 *
 * queue.c
 *	  Which job runs, and when: mongo_migrate.max_running_jobs.
 *
 * A job that waits needs no process, since worker slots are few: with eight
 * of them and ten jobs, those that wait would leave none to those that run.
 * So of all jobs that are queued in a database one has a coordinator, which
 * waits for its turn: the waiter.  It is the coordinator of the job that is
 * next, which is the one with the highest priority, then the oldest.
 *
 *	  a session makes a job queued	 registers a coordinator, once in a
 *									 transaction
 *	  a coordinator begins, and there is a waiter			 it ends
 *	  the waiter sees that another job is next				 it starts a
 *									 coordinator for that one, and ends
 *	  the waiter's turn has come, or its job is not queued	 it starts a
 *									 coordinator for the next job
 *	  any coordinator ends			 the same, if there is no waiter
 *
 * The waiter holds a lock.  It gives the lock up before it looks for the next
 * job, and a coordinator that finds the lock taken has committed its job
 * before: so one of the two sees the other.
 *
 * A session may find no worker slot free.  Then any coordinator of the
 * database will do, if it looks at the queue after the session has committed.
 * So each holds a lock as attendant, and the last one gives it up only behind
 * a gate: such sessions hold the gate, shared, when they look for an
 * attendant, and keep it until they have committed; the last attendant takes
 * it for itself, looks at the queue once more and gives its lock up.  When it
 * needs to start another coordinator and no slot is free, it stays until it
 * can.  A coordinator that builds a key, say, does not look at the queue: if
 * it can, it gives its lock up for as long.
 *
 * Jobs that run are counted in the whole cluster, by a lock that each of
 * their coordinators holds.  Counting and taking that lock is one step under
 * another, which is never waited for.  A job that runs needs a slot for its
 * coordinator and one for a loader, and the waiter has one: where the slots
 * are fewer, fewer jobs run at a time, or they would take them all and have
 * no loader.  A job that was running when its coordinator was lost does not
 * wait again: all of them come back at once, and were few enough before.
 * Between databases the order is who looks first.
 *
 * All of these locks end with their process.  Nothing here is durable but
 * the state of the jobs.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "storage/latch.h"
#include "storage/lock.h"
#include "storage/proc.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "job/catalog.h"
#include "job/queue.h"
#include "job/worker.h"
#include "settings.h"

#define POLL_MS 250
#define COME_BACK_MS 5000
#define LOOK_MS 5000
/* Between attempts to start a coordinator when no worker slot was free. */
#define SLOT_RETRY_MS 1000

/* Of this process. */
static bool is_waiter = false;
static bool is_running = false;
static bool is_attendant = false;
static TimestampTz next_look = 0;	/* at the queue, by mm_queue_poll() */

/* ---------------------------------------------------------------------
 * Locks
 * ---------------------------------------------------------------------
 */

static bool
take(Oid database, Oid class, uint32 object, int kind, bool session)
{
	LOCKTAG		tag;

	SET_LOCKTAG_ADVISORY(tag, database, class, object, kind);
	return LockAcquire(&tag, ExclusiveLock, session,
					   true) != LOCKACQUIRE_NOT_AVAIL;
}

static void
give_back(Oid database, Oid class, uint32 object, int kind)
{
	LOCKTAG		tag;

	SET_LOCKTAG_ADVISORY(tag, database, class, object, kind);
	(void) LockRelease(&tag, ExclusiveLock, true);
}

static bool
become_waiter(Oid extension)
{
	if (!is_waiter)
		is_waiter = take(MyDatabaseId, extension, 0, MM_LOCK_WAITER, true);
	return is_waiter;
}

/* The lock does not need the extension to be there any more. */
static void
end_waiting(Oid extension)
{
	if (is_waiter)
		give_back(MyDatabaseId, extension, 0, MM_LOCK_WAITER);
	is_waiter = false;
}

/* Locks of a kind, those of this process left out. */
static int
count_others(Oid database, Oid class, int kind)
{
	MmArgs		args = {0};
	MmCatalogScope scope;
	int			count;

	mm_arg_oid(&args, database);
	mm_arg_oid(&args, class);
	mm_arg_int4(&args, kind);
	mm_arg_int4(&args, MyProcPid);
	mm_catalog_begin(&scope);
	mm_catalog_query("SELECT count(*)::integer FROM pg_locks"
					 " WHERE locktype = 'advisory' AND database = $1"
					 " AND classid = $2 AND objsubid = $3 AND granted"
					 " AND pid <> $4", &args);
	count = mm_row_int4(0, 1);
	mm_catalog_end(&scope);
	return count;
}

static int
count_unfinished(void)
{
	MmCatalogScope scope;
	int			count;

	mm_catalog_begin(&scope);
	mm_catalog_query("SELECT count(*)::integer FROM mongo_migrate.job"
					 " WHERE state IN ('running', 'pausing', 'canceling')"
					 " AND shared_handle IS NOT NULL", NULL);
	count = mm_row_int4(0, 1);
	mm_catalog_end(&scope);
	return count;
}

/* Jobs that run, but for that of this process. */
static int
count_running(void)
{
	return count_others(InvalidOid, MM_LOCK_CLASS, MM_LOCK_RUNNING);
}

/* How many jobs can run with the worker slots that others leave to us. */
static int
slot_limit(void)
{
	MmWorkerCount count = mm_worker_count();
	int			slots = max_worker_processes -
		(count.used - count.coordinators - count.loaders);

	return Max((slots - 1) / 2, 1);
}

/* Jobs that may run at a time. */
static int
limit(void)
{
	return Min(mm_max_running_jobs, slot_limit());
}

/*
 * After a crash the waiter may be back before those whose job was running:
 * in its first seconds, it takes the state of their jobs for their lock.
 */
static bool
has_room(void)
{
	int			running = count_running();

	if (!TimestampDifferenceExceeds(MyStartTimestamp, GetCurrentTimestamp(),
									COME_BACK_MS))
		running = Max(running, count_unfinished());
	return running < limit();
}

bool
mm_queue_is_full(void)
{
	return count_running() >= limit();
}

/*
 * Counts this process' job among those that run; at_once: whatever the limit.
 * The lock on the turn ends with the transaction.
 */
static bool
begin_to_run(bool at_once)
{
	if (is_running)
		return true;
	if (!at_once &&
		(!take(InvalidOid, MM_LOCK_CLASS, 0, MM_LOCK_TURN, false) ||
		 !has_room()))
		return false;
	is_running = take(InvalidOid, MM_LOCK_CLASS, MyProcPid, MM_LOCK_RUNNING,
					  true);
	return is_running;
}

static void
end_running(void)
{
	if (is_running)
		give_back(InvalidOid, MM_LOCK_CLASS, MyProcPid, MM_LOCK_RUNNING);
	is_running = false;
}

/* ---------------------------------------------------------------------
 * The next job
 * ---------------------------------------------------------------------
 */

#define UNUSABLE "migration job %lld cannot run as its owner"

void
mm_queue_raise_unusable(int64 job_id, const char *trouble)
{
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg(UNUSABLE, (long long) job_id),
			 errdetail_internal("%s", trouble)));
}

/* Jobs that cannot have a coordinator fail here, with the reason. */
static bool
fail_unless_usable(int64 job_id, Oid owner)
{
	char	   *trouble = mm_worker_owner_trouble(owner);
	MmJob	   *job;

	if (trouble == NULL)
		return true;
	job = mm_job_load(job_id, true);
	if (job != NULL && job->state == MM_JOB_CANCELING)
		mm_job_set_state(job_id, MM_JOB_CANCELED, NULL);
	else if (job != NULL && !mm_state_is_final(job->state))
	{
		MmFailure	failure = {
			.sqlstate = unpack_sql_state(ERRCODE_INSUFFICIENT_PRIVILEGE),
			.message = psprintf(UNUSABLE, (long long) job_id),
			.detail = trouble,
		};

		mm_job_event(job_id, "error", NULL, failure.message, failure.detail);
		mm_job_set_state(job_id, MM_JOB_FAILED, &failure);
	}
	return false;
}

/* False: the queue of this database is empty. */
static bool
find_next(int64 *job_id, Oid *owner)
{
	for (;;)
	{
		if (!mm_job_next_queued(job_id, owner))
			return false;
		if (fail_unless_usable(*job_id, *owner))
			return true;
		CommandCounterIncrement();
	}
}

/*
 * Starts a coordinator for the next job unless there is a waiter.  False: no
 * worker slot was free.
 */
static bool
start_successor(Oid extension)
{
	bool		done = true;
	int64		job_id;
	Oid			owner;

	/* Held for this moment, so that of several only one goes on. */
	if (!become_waiter(extension))
		return true;
	if (find_next(&job_id, &owner))
		done = mm_worker_start_coordinator(job_id, owner);
	end_waiting(extension);
	return done;
}

void
mm_queue_poll(void)
{
	TimestampTz now = GetCurrentTimestamp();
	bool		done = true;

	/* The next one is this process's own, as long as it is the waiter. */
	if (is_waiter || now < next_look)
		return;
	mm_worker_tx_begin();
	if (mm_catalog_exists())
		done = start_successor(mm_catalog_extension());
	mm_worker_tx_commit();
	next_look = TimestampTzPlusMilliseconds(now, done ? LOOK_MS :
											   SLOT_RETRY_MS);
}

void
mm_queue_came(void)
{
	if (!is_waiter)
		return;
	mm_worker_tx_begin();
	end_waiting(mm_catalog_extension());
	mm_worker_tx_commit();
	next_look = 0;
	mm_queue_poll();
}

static void
pause_for(long timeout_ms)
{
	(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT |
					 WL_EXIT_ON_PM_DEATH, timeout_ms, MM_WAIT_EVENT_QUEUE);
	ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
}

void
mm_queue_attend(void)
{
	if (is_attendant)
		return;
	mm_worker_tx_begin();
	if (mm_catalog_exists())
		is_attendant = take(MyDatabaseId, mm_catalog_extension(), MyProcPid,
							MM_LOCK_ATTENDANT, true);
	mm_worker_tx_commit();
}

/* Coordinators of this database that see to the queue, but for this one. */
static int
count_attendants(Oid extension)
{
	return count_others(MyDatabaseId, extension, MM_LOCK_ATTENDANT);
}

/*
 * Gives the attendant's lock up.  False: this is the last attendant, and
 * somebody counts on it.  One at a time, or the last two could both go.
 * Others keep no slot for it, as they may all need one; nor does one that
 * only looks away, and sees to the queue when it leaves.
 */
static bool
stop_attending(Oid extension, bool leaving)
{
	LOCKTAG		tag;
	bool		last;

	SET_LOCKTAG_ADVISORY(tag, MyDatabaseId, extension, 1, MM_LOCK_GATE);
	(void) LockAcquire(&tag, ExclusiveLock, false, false);
	last = count_attendants(extension) == 0;
	if (last && !take(MyDatabaseId, extension, 0, MM_LOCK_GATE, false))
		return false;
	if (!start_successor(extension) && last && leaving)
		return false;
	if (is_attendant)
		give_back(MyDatabaseId, extension, MyProcPid, MM_LOCK_ATTENDANT);
	is_attendant = false;
	return true;
}

void
mm_queue_look_away(void)
{
	mm_worker_tx_begin();
	if (is_attendant && mm_catalog_exists())
		(void) stop_attending(mm_catalog_extension(), false);
	mm_worker_tx_commit();
}

void
mm_queue_leave(void)
{
	bool		done = true;

	end_running();
	mm_worker_report("ending");
	do
	{
		if (!done)
			pause_for(SLOT_RETRY_MS);
		mm_worker_tx_begin();
		done = !mm_catalog_exists() ||
			stop_attending(mm_catalog_extension(), true);
		mm_worker_tx_commit();
	} while (!done);
}

/* ---------------------------------------------------------------------
 * Waiting
 * ---------------------------------------------------------------------
 */

typedef enum Turn
{
	TURN_COME,					/* the job may run, or is not queued */
	TURN_WAIT,
	TURN_OTHERS					/* others wait, this process is not needed */
} Turn;

/*
 * Gives the job's lock back, under the lock of its row: a session that asks
 * for something looks at the job's lock when it has the row's, and must not
 * leave it to a process that is about to end.
 */
static bool
give_job_back(int64 job_id)
{
	MmJob	   *job = mm_job_load(job_id, true);

	if (job != NULL && job->state != MM_JOB_QUEUED)
		return false;
	mm_worker_unlock_job(job_id);
	return true;
}

bool
mm_queue_may_run(bool has_run)
{
	return has_run ? begin_to_run(true) : is_running;
}

/* The job is queued, and this is its coordinator. */
static Turn
look_at_queue(int64 job_id)
{
	Oid			extension = mm_catalog_extension();
	int64		next;
	Oid			owner;

	if (!become_waiter(extension))
		return give_job_back(job_id) ? TURN_OTHERS : TURN_COME;
	if (!find_next(&next, &owner))
		return TURN_COME;
	if (next == job_id)
		return begin_to_run(false) ? TURN_COME : TURN_WAIT;
	if (!mm_worker_start_coordinator(next, owner))
		return TURN_WAIT;
	if (!give_job_back(job_id))
		return TURN_COME;
	end_waiting(extension);
	return TURN_OTHERS;
}

static Turn
look(int64 job_id)
{
	Turn		turn = TURN_COME;

	mm_worker_tx_begin();
	if (mm_catalog_exists())
	{
		MmJob	   *job = mm_job_load(job_id, false);

		if (job != NULL && job->state == MM_JOB_RUNNING)
			(void) begin_to_run(true);
		if (job != NULL && job->state == MM_JOB_QUEUED)
			turn = look_at_queue(job_id);
	}
	mm_worker_tx_commit();
	return turn;
}

bool
mm_queue_wait(int64 job_id)
{
	for (;;)
	{
		Turn		turn;

		mm_worker_reload();
		turn = look(job_id);
		if (turn != TURN_WAIT)
			return turn == TURN_COME;
		mm_worker_report("waiting for the turn of migration job %lld",
						 (long long) job_id);
		pause_for(POLL_MS);
	}
}

/* ---------------------------------------------------------------------
 * After a restart
 * ---------------------------------------------------------------------
 */

/* Are there jobs for mm_queue_resume_all()?  Runs as a superuser. */
bool
mm_queue_has_jobs(void)
{
	bool		found = false;
	int64		job_id;
	Oid			owner;

	mm_worker_fix_session();
	mm_worker_tx_begin();
	if (mm_catalog_exists())
		found = mm_job_list_begun() != NIL ||
			mm_job_next_queued(&job_id, &owner);
	mm_worker_tx_commit();
	return found;
}

/*
 * Runs as a superuser.  False: some jobs found no worker slot.  To be called
 * again, it does no harm to those that have a coordinator.
 */
bool
mm_queue_resume_all(void)
{
	bool		done = true;
	ListCell   *lc;

	mm_worker_fix_session();
	mm_worker_tx_begin();
	if (mm_catalog_exists())
	{
		mm_job_expire(mm_job_retention);
		foreach(lc, mm_job_list_begun())
		{
			MmJob	   *job = mm_job_load(*(int64 *) lfirst(lc), false);

			if (done && job != NULL &&
				mm_job_coordinator_pid(job->job_id) == 0 &&
				fail_unless_usable(job->job_id, job->owner))
				done = mm_worker_start_coordinator(job->job_id, job->owner);
		}
		done = done && start_successor(mm_catalog_extension());
	}
	mm_worker_tx_commit();
	return done;
}

/* ---------------------------------------------------------------------
 * Sessions
 * ---------------------------------------------------------------------
 */

/*
 * Is there a coordinator of this database that will look at the queue after
 * this transaction?  Keeps the gate until its end.
 */
static bool
is_attended(void)
{
	Oid			extension = mm_catalog_extension();
	LOCKTAG		tag;

	SET_LOCKTAG_ADVISORY(tag, MyDatabaseId, extension, 0, MM_LOCK_GATE);
	(void) LockAcquire(&tag, ShareLock, false, false);
	return count_attendants(extension) > 0;
}

void
mm_queue_enter(int64 job_id, Oid owner)
{
	static TransactionId registered_in = InvalidTransactionId;
	TransactionId xid = GetTopTransactionId();
	char	   *trouble = mm_worker_owner_trouble(owner);

	if (trouble != NULL)
		mm_queue_raise_unusable(job_id, trouble);
	/* The coordinator of the first job looks at the queue after all commit. */
	if (TransactionIdEquals(registered_in, xid))
		return;
	if (mm_worker_start_coordinator(job_id, owner))
		registered_in = xid;
	else if (!is_attended())
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_RESOURCES),
				 errmsg("could not start a background worker"),
				 errdetail("All %d slots of max_worker_processes are in use.",
						   max_worker_processes),
				 errhint("Raise max_worker_processes, or wait for another "
						 "job: SELECT * FROM migrate_jobs.")));
}
