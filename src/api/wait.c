/*-------------------------------------------------------------------------
 *
 * wait.c
 *	  migrate_wait(): waits for a job, telling its progress.
 *
 * The job's row is read ten times a second with the latest snapshot, so that
 * it works under REPEATABLE READ too.  An interrupt ends the wait, not the
 * job.
 *
 * Each look is a subtransaction of its own, that is rolled back: a lock that
 * were kept, on the extension say, would hold up a DROP EXTENSION, and behind
 * that the workers that we wait for.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/latch.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "api/api.h"
#include "api/state_type.h"
#include "compat.h"
#include "job/catalog.h"
#include "job/queue.h"
#include "job/worker.h"
#include "savepoint.h"

MM_FUNCTION(migrate_wait);

#define POLL_MS 100

/* How often to see whether the job waits for us, in ms. */
#define CHECK_MS 1000

/* One look at the job. */
typedef struct Look
{
	MmJobState	state;
	TransactionId xmin;			/* that wrote the row */
	TransactionId xmax;			/* that locked it */
	char	   *phase;
	char	   *duration;
	char	   *database;
	char	   *collection;
	int64		docs_total;
	MmCounters	books;
	double		rate;
	MmFailure	failure;		/* of a failed job */
} Look;

/* What both queries begin with, and the look at it. */
#define STATE_COLUMNS "j.state, j.xmin::text::bigint, j.xmax::text::bigint"

static void
begin_look(MmCatalogScope *scope, Look *result)
{
	memset(result, 0, sizeof(*result));
	result->state = mm_state_parse(mm_row_text(scope, 0, 1));
	result->xmin = (TransactionId) mm_row_int8(0, 2);
	result->xmax = (TransactionId) mm_row_int8(0, 3);
}

/*
 * The state alone, which is all that is looked at ten times a second; false:
 * the job is gone.
 */
static bool
read_state(int64 job_id, Look *result)
{
	MmArgs		args = {0};
	MmCatalogScope scope;
	bool		found;

	mm_arg_int8(&args, job_id);
	mm_catalog_begin(&scope);
	found = mm_catalog_query_latest("SELECT " STATE_COLUMNS
									" FROM mongo_migrate.job j"
									" WHERE j.job_id = $1", &args) == 1;
	if (found)
		begin_look(&scope, result);
	mm_catalog_end(&scope);
	return found;
}

/* All of it; false: the job is gone. */
static bool
read_job(int64 job_id, Look *result)
{
	MmArgs		args = {0};
	MmCatalogScope scope;
	bool		found;

	mm_arg_int8(&args, job_id);
	mm_catalog_begin(&scope);
	found = mm_catalog_query_latest("SELECT " STATE_COLUMNS ", t.phase,"
									" date_trunc('milliseconds',"
									" COALESCE(j.finished_at,"
									" clock_timestamp()) - j.started_at)::text,"
									" t.docs_total, t.docs_done,"
									" t.rows_inserted + t.rows_updated,"
									" t.docs_rejected,"
									" COALESCE(t.rate, 0)::bigint,"
									" jt.database, jt.collection, j.sqlstate,"
									" j.message, j.detail, j.hint, j.context"
									" FROM mongo_migrate.job j"
									" JOIN mongo_migrate.table_stat t"
									" USING (job_id)"
									" JOIN mongo_migrate.job_table jt"
									" USING (job_id, table_no)"
									" WHERE j.job_id = $1"
									" ORDER BY table_no DESC LIMIT 1",
									&args) == 1;
	if (found)
	{
		begin_look(&scope, result);
		result->phase = mm_row_text(&scope, 0, 4);
		result->duration = mm_row_text(&scope, 0, 5);
		result->docs_total = mm_row_int8(0, 6);
		result->books.docs_read = mm_row_int8(0, 7);
		result->books.rows_inserted = mm_row_int8(0, 8);
		result->books.docs_rejected = mm_row_int8(0, 9);
		result->rate = (double) mm_row_int8(0, 10);
		result->database = mm_row_text(&scope, 0, 11);
		result->collection = mm_row_text(&scope, 0, 12);
		result->failure.sqlstate = mm_row_text(&scope, 0, 13);
		result->failure.message = mm_row_text(&scope, 0, 14);
		result->failure.detail = mm_row_text(&scope, 0, 15);
		result->failure.hint = mm_row_text(&scope, 0, 16);
		result->failure.context = mm_row_text(&scope, 0, 17);
	}
	mm_catalog_end(&scope);
	return found;
}

/* What is done in a subtransaction that is rolled back. */
typedef struct Aside
{
	FunctionCallInfo fcinfo;
	int64		job_id;
	MmJob	   *job;
	bool		(*read) (int64 job_id, Look *result);
	Look	   *look;
	bool		found;
} Aside;

static void
pick_aside(void *arg)
{
	Aside	   *aside = arg;

	aside->job = mm_pick_job_arg(aside->fcinfo, 0, MM_RIGHT_SEE);
}

static void
read_aside(void *arg)
{
	Aside	   *aside = arg;

	aside->found = aside->read(aside->job_id, aside->look);
}

/*
 * Processes of the job that wait for this one, directly or by others.  A job in
 * the queue waits for one of those that run to end, and so for this process
 * when all of them do.
 */
static const char waits_sql[] =
	"WITH RECURSIVE q AS (SELECT j.state = 'queued' AND $2 AS queued"
	" FROM mongo_migrate.job j WHERE j.job_id = $1),"
	" waits (pid, first) AS ("
	" SELECT coordinator_pid, coordinator_pid FROM mongo_migrate.table_stat"
	" WHERE job_id = $1"
	" UNION SELECT w.pid, w.pid FROM mongo_migrate.visible_job j,"
	" mongo_migrate.shared_workers(j.job_id, j.shared_handle) w"
	" WHERE j.job_id = $1"
	" UNION SELECT r.pid, r.pid FROM mongo_migrate.running_coordinator r, q"
	" WHERE q.queued"
	" UNION SELECT w.pid, s.coordinator_pid FROM q,"
	" mongo_migrate.visible_job j,"
	" mongo_migrate.shared_job(j.job_id, j.shared_handle) s,"
	" mongo_migrate.shared_workers(j.job_id, j.shared_handle) w"
	" WHERE q.queued AND j.state IN ('running', 'pausing', 'canceling')"
	" UNION SELECT unnest(pg_blocking_pids(pid)), first FROM waits)"
	" SELECT w.first FROM waits w, q WHERE w.pid = pg_backend_pid()"
	" AND (NOT q.queued OR NOT EXISTS (SELECT"
	" FROM mongo_migrate.running_coordinator r WHERE r.pid NOT IN"
	" (SELECT v.first FROM waits v WHERE v.pid = pg_backend_pid())))";

/*
 * Both would wait for ever, and the server sees no deadlock: we wait for no
 * lock.
 */
static void
check_aside(void *arg)
{
	Aside	   *aside = arg;
	MmArgs		args = {0};
	MmCatalogScope scope;

	mm_arg_int8(&args, aside->job_id);
	mm_arg_bool(&args, mm_queue_is_full());
	mm_catalog_begin(&scope);
	if (mm_catalog_query_latest(waits_sql, &args) > 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("cannot wait for a migration job that waits for this transaction"),
				 errdetail("Process %d waits for a lock that this transaction holds, or for others that do.",
						   mm_row_int4(0, 1)),
				 errhint("COMMIT first.")));
	mm_catalog_end(&scope);
}

static void
run_aside(void (*function) (void *aside), Aside *aside)
{
	ErrorData  *error = mm_savepoint_run(function, aside, false);

	if (error != NULL)
		ReThrowError(error);
}

static void
look(int64 job_id, bool (*read) (int64 job_id, Look *result),
	 MemoryContext context, Look *result)
{
	MemoryContext old = MemoryContextSwitchTo(context);
	Aside		aside = {.job_id = job_id, .read = read, .look = result};

	MemoryContextReset(context);
	run_aside(read_aside, &aside);
	MemoryContextSwitchTo(old);
	if (!aside.found)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("migration job %lld does not exist any more",
						(long long) job_id)));
}

/* Of views nobody knows how many documents there are, nor of rare matches. */
static void
report_uncounted(int64 job_id, const Look *now)
{
	ereport(NOTICE,
			(errmsg("job %lld: copying, %s documents, %s/s",
					(long long) job_id,
					mm_format_count(now->books.docs_read),
					mm_format_count((int64) now->rate))));
}

static void
report_copying(int64 job_id, const Look *now)
{
	int64		total = Max(now->docs_total, now->books.docs_read);
	double		percent = total > 0 ?
		Min(99.9, 100.0 * now->books.docs_read / total) : 0;
	char	   *left = "";

	if (now->rate >= 1)
		left = psprintf(", %s/s, %.0f s left",
						mm_format_count((int64) now->rate),
						(total - now->books.docs_read) / now->rate);
	ereport(NOTICE,
			(errmsg("job %lld: copying %.1f%%, %s of %s documents%s",
					(long long) job_id, percent,
					mm_format_count(now->books.docs_read),
					mm_format_count(total), left)));
}

static void
report(int64 job_id, const Look *now)
{
	if (now->state == MM_JOB_RUNNING && strcmp(now->phase, "copying") == 0)
		(now->docs_total > 0 ? report_copying : report_uncounted) (job_id, now);
	else
		ereport(NOTICE,
				(errmsg("job %lld: %s", (long long) job_id,
						now->state == MM_JOB_RUNNING ? now->phase :
						mm_state_name(now->state))));
}

/* Message 34, for those who saw no event. */
static void
report_rejects(int64 job_id, const Look *now)
{
	char	   *message = mm_job_rejects_message(now->database,
												now->collection, &now->books);

	if (message != NULL)
		ereport(WARNING,
				(errmsg_internal("%s", message),
				 errhint("SELECT * FROM migrate_conflicts WHERE job_id = %lld;",
						 (long long) job_id)));
}

static void
report_completed(int64 job_id, const Look *now)
{
	report_rejects(job_id, now);
	ereport(NOTICE,
			(errmsg("job %lld: completed in %s: %lld rows, %lld documents rejected",
					(long long) job_id, now->duration,
					(long long) now->books.rows_inserted,
					(long long) now->books.docs_rejected),
			 now->books.docs_rejected > 0 ?
			 errhint("See SELECT * FROM migrate_errors WHERE job_id = %lld.",
					 (long long) job_id) : 0));
}

/*
 * Message 33: in this transaction the job cannot begin, or not go on.  (While
 * it has the lock of a request, FOR UPDATE, no other has one: xmax is no
 * multixact.)
 */
static void
check_not_ours(const Look *now)
{
	if (now->state == MM_JOB_QUEUED &&
		TransactionIdIsCurrentTransactionId(now->xmin))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("cannot wait for a migration job started in the same transaction"),
				 errdetail("The job begins when this transaction commits."),
				 errhint("COMMIT first, or use CALL migrate_run(...).")));
	if (TransactionIdIsCurrentTransactionId(now->xmin) ||
		TransactionIdIsCurrentTransactionId(now->xmax))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("cannot wait for a migration job changed in the same transaction"),
				 errdetail("This transaction has a lock on the job, which does not go on before it ends."),
				 errhint("COMMIT first.")));
}

/* now + interval; NULL argument: never. */
static TimestampTz
deadline(FunctionCallInfo fcinfo, int arg)
{
	if (PG_ARGISNULL(arg))
		return DT_NOEND;
	return DatumGetTimestampTz(DirectFunctionCall2(timestamptz_pl_interval,
												   TimestampTzGetDatum(GetCurrentTimestamp()),
												   PG_GETARG_DATUM(arg)));
}

static void
pause_for_poll(void)
{
	(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT |
					 WL_EXIT_ON_PM_DEATH, POLL_MS, MM_WAIT_EVENT_JOB);
	ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
}

/* Has the job come to a state that it does not leave by itself? */
static bool
is_settled(MmJobState state)
{
	return mm_state_is_final(state) || state == MM_JOB_PAUSED;
}

/* Detail and context may quote documents, which only the owner may see. */
static void
raise_failure(const MmJob *job, MmFailure *failure)
{
	if (!has_privs_of_role(GetUserId(), job->owner))
		failure->detail = failure->context = NULL;
	mm_worker_raise(failure);
}

Datum
migrate_wait(PG_FUNCTION_ARGS)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext,
												  "mongo_migrate wait",
												  ALLOCSET_SMALL_SIZES);
	Aside		aside = {.fcinfo = fcinfo};
	MmJob	   *job;
	int64		job_id;
	TimestampTz end = deadline(fcinfo, 1);
	TimestampTz next_report = deadline(fcinfo, 2);
	TimestampTz next_check = GetCurrentTimestamp();
	Look		now;

	run_aside(pick_aside, &aside);
	job = aside.job;
	job_id = job->job_id;
	for (;;)
	{
		look(job_id, read_state, context, &now);
		if (is_settled(now.state))
			look(job_id, read_job, context, &now);
		if (is_settled(now.state))
			break;
		check_not_ours(&now);
		if (GetCurrentTimestamp() >= next_check)
		{
			aside.job_id = job_id;
			run_aside(check_aside, &aside);
			next_check = TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
													 CHECK_MS);
		}
		if (GetCurrentTimestamp() >= end)
			PG_RETURN_NULL();
		if (GetCurrentTimestamp() >= next_report)
		{
			look(job_id, read_job, context, &now);
			report(job_id, &now);
			next_report = deadline(fcinfo, 2);
		}
		pause_for_poll();
	}
	if (now.state == MM_JOB_COMPLETED)
		report_completed(job_id, &now);
	if (now.state == MM_JOB_FAILED)
		raise_failure(job, &now.failure);
	return mm_state_datum(fcinfo, now.state);
}
