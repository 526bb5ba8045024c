/*-------------------------------------------------------------------------
 *
 * control.c
 *	  migrate_pause(), _resume(), _retry(), _cancel(), _forget(): requests,
 *	  written into the job's row under its lock.
 *
 * With a coordinator alive, the request is its to carry out; without one
 * (paused, queued behind others, or lost by a restart), it is carried out
 * here.  The coordinator takes the job's advisory lock before it reads the
 * row, and we lock the row before we look at the advisory lock, so that one
 * of the two always sees the other.  A coordinator that has done with a job
 * gives the lock back while it still has the row's.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <signal.h>

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"

#include "api/api.h"
#include "api/state_type.h"
#include "compat.h"
#include "job/catalog.h"
#include "job/queue.h"
#include "job/steps.h"
#include "job/worker.h"
#include "settings.h"

MM_FUNCTION(migrate_pause);
MM_FUNCTION(migrate_resume);
MM_FUNCTION(migrate_retry);
MM_FUNCTION(migrate_cancel);
MM_FUNCTION(migrate_forget);

static void raise_wrong_state(const MmJob *job, const char *action,
							  const char *hint) pg_attribute_noreturn();

static void
raise_wrong_state(const MmJob *job, const char *action, const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("cannot %s migration job %lld", action,
					(long long) job->job_id),
			 errdetail("It is %s.", mm_state_name(job->state)),
			 hint ? errhint("%s", hint) : 0));
}

Datum
migrate_pause(PG_FUNCTION_ARGS)
{
	MmJob	   *job = mm_pick_job_arg(fcinfo, 0, MM_RIGHT_CONTROL);
	MmJobState	state = job->state;

	switch (job->state)
	{
		case MM_JOB_QUEUED:
		case MM_JOB_RUNNING:
		case MM_JOB_PAUSING:
			state = mm_job_coordinator_pid(job->job_id) != 0 ?
				MM_JOB_PAUSING : MM_JOB_PAUSED;
			if (state == MM_JOB_PAUSED)
				mm_job_forget_clock(job->job_id);
			mm_job_set_state(job->job_id, state, NULL);
			break;
		case MM_JOB_PAUSED:
			break;
		default:
			raise_wrong_state(job, "pause", NULL);
	}
	return mm_state_datum(fcinfo, state);
}

Datum
migrate_resume(PG_FUNCTION_ARGS)
{
	MmJob	   *job = mm_pick_job_arg(fcinfo, 0, MM_RIGHT_CONTROL);
	bool		alive = mm_job_coordinator_pid(job->job_id) != 0;
	MmJobState	state = MM_JOB_QUEUED;

	if (job->state == MM_JOB_FAILED)
		raise_wrong_state(job, "resume",
						  psprintf("Try again with SELECT migrate_retry(%lld).",
								   (long long) job->job_id));
	if (mm_state_is_final(job->state))
		raise_wrong_state(job, "resume",
						  "Start again with SELECT migrate_start(...).");
	if (job->state == MM_JOB_CANCELING)
		raise_wrong_state(job, "resume", NULL);
	if (alive && (job->state == MM_JOB_QUEUED ||
				  job->state == MM_JOB_RUNNING))
		return mm_state_datum(fcinfo, job->state);
	/* The coordinator goes on instead, or waits again if it had not begun. */
	if (alive && job->state == MM_JOB_PAUSING && job->shared_handle != 0)
		state = MM_JOB_RUNNING;
	mm_job_set_state(job->job_id, state, NULL);
	if (!alive)
		mm_queue_enter(job->job_id, job->owner);
	return mm_state_datum(fcinfo, state);
}

/* ---------------------------------------------------------------------
 * Retry
 * ---------------------------------------------------------------------
 */

/* Other jobs that have ended may have left rows: the coordinator is to look. */
static void
distrust_targets(const MmJob *job)
{
	ListCell   *lc;

	foreach(lc, mm_job_load_tables(job->job_id))
	{
		MmJobTable *table = lfirst(lc);

		mm_job_set_file(job->job_id, table->table_no, InvalidOid);
	}
}

/*
 * The job goes on in the phase in which it failed; of its chunks only those
 * that failed are begun again.  The memory for its key may be set anew, which
 * may have been too much.
 */
Datum
migrate_retry(PG_FUNCTION_ARGS)
{
	MmJob	   *job = mm_pick_job_arg(fcinfo, 0, MM_RIGHT_CONTROL);
	char	   *hint = NULL;

	if (job->state == MM_JOB_PAUSED)
		hint = psprintf("Go on with SELECT migrate_resume(%lld).",
						(long long) job->job_id);
	if (job->state != MM_JOB_FAILED)
		raise_wrong_state(job, "retry", hint);
	mm_pick_claim_targets(job, "retry");
	distrust_targets(job);
	mm_chunk_retry(job->job_id);
	if (mm_maintenance_work_mem >= 0)
		mm_job_set_index_memory(job->job_id, mm_maintenance_work_mem);
	mm_job_set_state(job->job_id, MM_JOB_QUEUED, NULL);
	mm_queue_enter(job->job_id, job->owner);
	return mm_state_datum(fcinfo, MM_JOB_QUEUED);
}

/* ---------------------------------------------------------------------
 * Cancel
 * ---------------------------------------------------------------------
 */

/* A coordinator to wake when the transaction commits. */
typedef struct Wake
{
	int			pid;
	SubTransactionId subid;		/* in which that was asked for */
} Wake;

static List *wakes = NIL;		/* of Wake *, in the transaction's memory */
static bool callback_registered = false;

static void
wake_at_commit(XactEvent event, void *arg)
{
	ListCell   *lc;

	if (event != XACT_EVENT_COMMIT && event != XACT_EVENT_ABORT &&
		event != XACT_EVENT_PREPARE)
		return;
	if (event == XACT_EVENT_COMMIT)
		foreach(lc, wakes)
			kill(((Wake *) lfirst(lc))->pid, SIGINT);
	wakes = NIL;
}

static void
forget_undone(SubXactEvent event, SubTransactionId subid,
			  SubTransactionId parent, void *arg)
{
	ListCell   *lc;

	foreach(lc, wakes)
	{
		Wake	   *wake = lfirst(lc);

		if (wake->subid != subid)
			continue;
		if (event == SUBXACT_EVENT_COMMIT_SUB)
			wake->subid = parent;
		else if (event == SUBXACT_EVENT_ABORT_SUB)
			wakes = foreach_delete_current(wakes, lc);
	}
}

/*
 * The coordinator looks at the row four times a second while it copies; this
 * query cancel reaches it in an index build too.
 */
static void
wake_coordinator(int pid)
{
	MemoryContext old = MemoryContextSwitchTo(TopTransactionContext);
	Wake	   *wake = palloc(sizeof(Wake));

	if (!callback_registered)
	{
		RegisterXactCallback(wake_at_commit, NULL);
		RegisterSubXactCallback(forget_undone, NULL);
	}
	callback_registered = true;
	wake->pid = pid;
	wake->subid = GetCurrentSubTransactionId();
	wakes = lappend(wakes, wake);
	MemoryContextSwitchTo(old);
}

Datum
migrate_cancel(PG_FUNCTION_ARGS)
{
	MmJob	   *job = mm_pick_job_arg(fcinfo, 0, MM_RIGHT_CONTROL);
	bool		drop_target = !PG_ARGISNULL(1) && PG_GETARG_BOOL(1);
	int			pid = mm_job_coordinator_pid(job->job_id);
	MmJobState	state = pid != 0 ? MM_JOB_CANCELING : MM_JOB_CANCELED;

	/* A job_id that is null by mistake costs no table. */
	if (drop_target && PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("drop_target needs a job_id"),
				 errhint("Write migrate_cancel(%lld, drop_target => true).",
						 (long long) job->job_id)));
	if (job->state == MM_JOB_COMPLETED)
		raise_wrong_state(job, "cancel", NULL);
	if (drop_target && !has_privs_of_role(GetUserId(), job->owner))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied to drop the target of migration job %lld",
						(long long) job->job_id),
				 errdetail("It belongs to role \"%s\".",
						   GetUserNameFromId(job->owner, true))));
	if (job->state == MM_JOB_CANCELED && !drop_target)
		return mm_state_datum(fcinfo, job->state);
	if (drop_target != job->drop_target)
		mm_job_set_drop_target(job->job_id, drop_target);
	if (drop_target && pid == 0)
		mm_step_drop_target(job);
	if (pid == 0)
		mm_job_forget_clock(job->job_id);
	mm_job_set_state(job->job_id, state, NULL);
	if (pid != 0)
		wake_coordinator(pid);
	return mm_state_datum(fcinfo, state);
}

/* ---------------------------------------------------------------------
 * Forget
 * ---------------------------------------------------------------------
 */

/* Dead letters go with their job, and that is not to happen silently. */
static void
warn_of_letters(const MmJob *job)
{
	int64		pending = mm_letter_count_pending(job->job_id);

	if (pending > 0)
		ereport(WARNING,
				(errmsg_plural("%lld rejected document of migration job %lld is gone with it",
							   "%lld rejected documents of migration job %lld are gone with it",
							   pending, (long long) pending,
							   (long long) job->job_id)));
}

/* False when there is no such job. */
Datum
migrate_forget(PG_FUNCTION_ARGS)
{
	int64		job_id = PG_GETARG_INT64(0);
	MmJob	   *job;

	if (mm_job_load(job_id, false) == NULL)
		PG_RETURN_BOOL(false);
	job = mm_pick_job(true, job_id, MM_RIGHT_OWN);
	if (!mm_state_is_final(job->state))
		raise_wrong_state(job, "forget",
						  psprintf("End it with SELECT migrate_cancel(%lld).",
								   (long long) job_id));
	warn_of_letters(job);
	mm_job_forget(job_id);
	PG_RETURN_BOOL(true);
}
