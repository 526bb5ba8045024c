/*-------------------------------------------------------------------------
 *
 * alter.c
 *	  migrate_alter(): other workers, throttle, on_error and reject_limit for
 *	  a job that may be running.
 *
 * The rows of the job are all that is written.  A coordinator reads workers,
 * throttle and limit four times a second and tells its loaders through the
 * shared memory; loaders read on_error at the beginning of each checkpoint.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/builtins.h"

#include "api/api.h"
#include "job/catalog.h"

MM_FUNCTION(migrate_alter);

static void
note(StringInfo changes, const char *change)
{
	appendStringInfo(changes, "%s%s", changes->len > 0 ? ", " : "", change);
}

static void
alter_workers(MmJob *job, int workers, StringInfo changes)
{
	if (workers < 1 || workers > 1000)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("workers must be from 1 to 1000, not %d", workers)));
	job->workers = workers;
	note(changes, psprintf("workers %d", workers));
}

static void
alter_rate(MmJob *job, int rate, StringInfo changes)
{
	if (rate < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("max_docs_per_second must not be negative"),
				 errhint("0 lifts the limit.")));
	job->options.max_docs_per_second = rate;
	note(changes, psprintf("max_docs_per_second %d", rate));
}

static void
alter_reject_limit(MmJob *job, int64 limit, StringInfo changes)
{
	if (limit < -1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("reject_limit must not be negative"),
				 errhint("-1 sets no limit.")));
	job->options.reject_limit = limit;
	note(changes, psprintf("reject_limit %lld", (long long) limit));
}

static void
alter_on_error(const MmJob *job, const char *value, StringInfo changes)
{
	StringInfoData names;
	MmOnError	on_error;

	if (mm_on_error_parse(value, &on_error))
	{
		mm_job_set_on_error(job->job_id, on_error);
		note(changes, psprintf("on_error %s", value));
		return;
	}
	initStringInfo(&names);
	for (int i = 0; i <= MM_ON_ERROR_STOP; i++)
		note(&names, mm_on_error_name((MmOnError) i));
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("invalid value for on_error: \"%s\"", value),
			 errhint("Available values: %s.", names.data)));
}

static void
check_state(const MmJob *job)
{
	if (job->state != MM_JOB_COMPLETED && job->state != MM_JOB_CANCELED &&
		job->state != MM_JOB_CANCELING)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("cannot alter migration job %lld",
					(long long) job->job_id),
			 errdetail("It is %s.", mm_state_name(job->state))));
}

/* An argument that is null leaves things as they are. */
Datum
migrate_alter(PG_FUNCTION_ARGS)
{
	MmJob	   *job = mm_pick_job_arg(fcinfo, 0, MM_RIGHT_CONTROL);
	StringInfoData changes;

	initStringInfo(&changes);
	check_state(job);
	if (!PG_ARGISNULL(1))
		alter_workers(job, PG_GETARG_INT32(1), &changes);
	if (!PG_ARGISNULL(2))
		alter_rate(job, PG_GETARG_INT32(2), &changes);
	if (!PG_ARGISNULL(3))
		alter_on_error(job, text_to_cstring(PG_GETARG_TEXT_PP(3)), &changes);
	if (!PG_ARGISNULL(4))
		alter_reject_limit(job, PG_GETARG_INT64(4), &changes);
	if (changes.len == 0)
		PG_RETURN_VOID();
	mm_job_alter(job);
	mm_job_event(job->job_id, "info", NULL,
				 psprintf("altered: %s", changes.data), NULL);
	PG_RETURN_VOID();
}
