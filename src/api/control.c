/*-------------------------------------------------------------------------
 *
 * control.c
 *	  migrate_pause(), _resume(), _cancel(): requests, written into the job's
 *	  row under its lock.
 *
 * With a coordinator alive, the request is its to carry out; without one
 * (paused, or lost by a restart), it is carried out here.  The coordinator
 * takes the job's advisory lock before it reads the row, and we lock the row
 * before we look at the advisory lock, so that one of the two always sees
 * the other.
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
#include "utils/lsyscache.h"

#include "api/api.h"
#include "api/state_type.h"
#include "compat.h"
#include "job/catalog.h"
#include "job/steps.h"
#include "job/worker.h"

MM_FUNCTION(migrate_pause);
MM_FUNCTION(migrate_resume);
MM_FUNCTION(migrate_cancel);

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
			state = mm_job_coordinator_pid(job->job_id) != 0 ?
				MM_JOB_PAUSING : MM_JOB_PAUSED;
			mm_job_set_state(job->job_id, state, NULL);
			break;
		case MM_JOB_PAUSING:
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

	if (mm_state_is_final(job->state))
		raise_wrong_state(job, "resume",
						  "Start again with SELECT migrate_start(...).");
	if (job->state == MM_JOB_CANCELING)
		raise_wrong_state(job, "resume", NULL);
	if (alive && job->state != MM_JOB_PAUSING)
		return mm_state_datum(fcinfo, job->state);
	if (alive)
		state = MM_JOB_RUNNING; /* the coordinator goes on instead */
	mm_job_set_state(job->job_id, state, NULL);
	if (!alive)
		mm_worker_register_coordinator(job->job_id, job->owner);
	return mm_state_datum(fcinfo, state);
}

/* ---------------------------------------------------------------------
 * Cancel
 * ---------------------------------------------------------------------
 */

/* Coordinators to wake when the transaction commits; 0: none. */
static int	wake_pid = 0;
static bool callback_registered = false;

static void
wake_at_commit(XactEvent event, void *arg)
{
	if (event == XACT_EVENT_COMMIT && wake_pid != 0)
		kill(wake_pid, SIGINT);
	if (event == XACT_EVENT_COMMIT || event == XACT_EVENT_ABORT)
		wake_pid = 0;
}

/*
 * The coordinator looks at the row four times a second while it copies; this
 * query cancel reaches it in an index build too.
 */
static void
wake_coordinator(int pid)
{
	if (!callback_registered)
		RegisterXactCallback(wake_at_commit, NULL);
	callback_registered = true;
	wake_pid = pid;
}

Datum
migrate_cancel(PG_FUNCTION_ARGS)
{
	MmJob	   *job = mm_pick_job_arg(fcinfo, 0, MM_RIGHT_CONTROL);
	bool		drop_target = !PG_ARGISNULL(1) && PG_GETARG_BOOL(1);
	int			pid = mm_job_coordinator_pid(job->job_id);
	MmJobState	state = pid != 0 ? MM_JOB_CANCELING : MM_JOB_CANCELED;

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
	if (drop_target)
		mm_job_set_drop_target(job->job_id);
	if (drop_target && pid == 0)
		mm_step_drop_target(job);
	mm_job_set_state(job->job_id, state, NULL);
	if (pid != 0)
		wake_coordinator(pid);
	return mm_state_datum(fcinfo, state);
}
