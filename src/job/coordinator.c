/*-------------------------------------------------------------------------
 *
 * coordinator.c
 *	  The coordinator: takes one job through its phases.
 *
 *	  wait for the transaction of migrate_start -> take the job's lock ->
 *	  for each table: planning -> copying -> indexing -> analyzing ->
 *	  verifying -> completed
 *
 * The phase of a table and the state of a job are durable (job_table.phase,
 * job.state); each phase may be begun again, so that a coordinator which
 * comes back after a crash goes on where the tables say.  Loaders, shared
 * counters and rates belong to this process and are made anew.
 *
 * Sessions ask for a stop by writing pausing or canceling into the job's row,
 * which is read four times a second; the coordinator stops its loaders
 * (crew.c), and writes paused or canceled.  A query cancel makes it look at
 * the row at once: that is how migrate_cancel() gets through to an index
 * build.
 *
 * The chunks of a table may become void while it is copied (job_table.
 * split_lost, written by a loader): then all loaders leave, and the table goes
 * back to planning, which empties it.  The same is done when the key cannot
 * be built because documents came twice; see begin_with_key().
 *
 * Exit codes: 0 when there is nothing more to do, also after a failure that
 * was recorded; 1, by an error that could not be recorded or a termination,
 * lets the postmaster start a new coordinator.  However this process ends,
 * it takes its loaders with it.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/lmgr.h"
#include "storage/pmsignal.h"
#include "utils/acl.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

#include "compat.h"
#include "job/catalog.h"
#include "job/crew.h"
#include "job/debug.h"
#include "job/queue.h"
#include "job/retry.h"
#include "job/shared.h"
#include "job/steps.h"
#include "job/watch.h"
#include "job/worker.h"
#include "settings.h"
#include "source/source.h"

#define POLL_MS 250
#define RIGHTS_MS 2000
/* Behind a crash that is counted; F01 wants the job at work within 10 s. */
#define CRASH_PAUSE_MS 3000
/* Documents read before their share of rejects means anything. */
#define REJECTS_WORTH_TELLING 1000

typedef struct Coordinator
{
	MmWorkerArgs args;
	MemoryContext context;		/* lives as long as the process */
	MemoryContext poll_context; /* of one look at the job */
	MmJob	   *job;
	List	   *tables;
	MmCrew	   *crew;			/* NULL: the job has not run yet */
	MmRate		rate;
	MmRetry		retry;			/* of what this process does itself */
	MmPhase		phase;			/* entered last */
	MmFailure  *passing;		/* to be waited out before the next pass */
	MmJobState	passing_state;	/* of the job meanwhile */
	bool		tried_enough;	/* the error at hand has outlasted its retries */
	TimestampTz starved_since;	/* when there was a loader last */
	TimestampTz rights_checked;
	bool		crashed;		/* what is found running was so at a crash: as
								 * long as this process has not run the job */
	bool		expired;		/* jobs whose time is over */
	bool		told_shortage;
	bool		told_unborn;
	bool		told_rejects;
} Coordinator;

/* What is known of the job at one poll. */
typedef struct Poll
{
	MmJobState	state;
	MmJob	   *job;			/* as it is now; NULL: gone */
	char	   *split_lost;		/* or NULL */
	MmCounters	books;
	int			open;			/* chunks pending or running */
	int			failed;
	int			loaders;		/* in the cluster */
	int			allowed;		/* further loaders by max_workers */
	int			free_slots;		/* of max_worker_processes */
} Poll;

/* One per process; static for callbacks without an argument. */
static Coordinator coordinator;

/* ---------------------------------------------------------------------
 * Copying
 * ---------------------------------------------------------------------
 */

/* NULL when job or extension are gone: then there is nothing left to do. */
static MmJob *
load_job(const Coordinator *c, bool lock)
{
	MmJob	   *job = mm_catalog_exists() ?
		mm_job_load(c->args.job_id, lock) : NULL;

	/* A crash that loses a job may lose its number, and another gets it. */
	return job != NULL && job->owner == c->args.owner ? job : NULL;
}

static MmJobState
read_state(Coordinator *c)
{
	MmJob	   *job;
	MmJobState	state;

	mm_worker_tx_begin();
	job = load_job(c, false);
	state = job == NULL ? MM_JOB_CANCELED : job->state;
	mm_worker_tx_commit();
	return state;
}

/* For waits inside the phases: is the job to stop?  Not in a transaction. */
static bool
stop_wanted(void)
{
	mm_queue_poll();
	return read_state(&coordinator) != MM_JOB_RUNNING;
}

static void
poll_job(Coordinator *c, Poll *poll)
{
	MmWorkerCount count;

	MemoryContextReset(c->poll_context);
	memset(poll, 0, sizeof(*poll));
	poll->state = MM_JOB_CANCELED;
	mm_worker_reload();
	mm_worker_tx_begin();
	MemoryContextSwitchTo(c->poll_context);
	poll->job = load_job(c, false);
	if (poll->job != NULL)
	{
		poll->state = poll->job->state;
		mm_chunk_totals(c->args.job_id, &poll->books, &poll->open,
						&poll->failed);
		poll->split_lost = mm_job_split_lost(c->args.job_id);
		count = mm_worker_count();
		poll->loaders = count.loaders;
		poll->allowed = mm_max_workers - count.loaders;
		poll->free_slots = max_worker_processes - count.used;
	}
	mm_worker_tx_commit();
	MemoryContextSwitchTo(c->context);
}

/* What migrate_alter() may have changed. */
static void
obey_changes(Coordinator *c, const MmJob *now)
{
	if (now == NULL)
		return;
	c->job->options.reject_limit = now->options.reject_limit;
	mm_shared_set_limits(c->crew->shared, &now->options);
	if (now->workers == c->job->workers)
		return;
	c->job->workers = now->workers;
	c->told_shortage = false;
	mm_crew_limit(c->crew, now->workers);
}

static void
publish_rate(Coordinator *c)
{
	MmShared   *shared = c->crew->shared;
	TimestampTz now = GetCurrentTimestamp();
	MmCounters	sum;
	double		rate;

	(void) mm_shared_totals(shared, &sum);
	rate = mm_rate_update(&c->rate, now, sum.docs_read);
	SpinLockAcquire(&shared->mutex);
	shared->rate = rate;
	shared->updated_at = now;
	SpinLockRelease(&shared->mutex);
}

/* While the rows of the target are counted.  True: there is more to do. */
static bool
tick(void)
{
	publish_rate(&coordinator);
	return mm_crew_has_ended(coordinator.crew);
}

/*
 * Is the target what it was?  Raises if not.  False: it is to be looked at
 * again.  Nobody looks at the queue while its rows are counted.
 */
static bool
watch_target(Coordinator *c, MmJobTable *table, MmPhase phase)
{
	bool		seen;

	if (!mm_watch_is_new(table))
		return true;
	mm_queue_look_away();
	seen = mm_watch_count(c->job, table, phase, tick);
	if (phase <= MM_PHASE_COPYING)
		mm_queue_attend();
	return seen;
}

static void
raise_chunk_failure(Coordinator *c)
{
	MmFailure	failure = {0};

	mm_worker_tx_begin();
	MemoryContextSwitchTo(c->context);
	(void) mm_chunk_failure(c->job->job_id, &failure);
	mm_worker_tx_commit();
	MemoryContextSwitchTo(c->context);
	c->tried_enough = true;
	mm_worker_raise(&failure);
}

/* In the events, once for each number of workers asked for. */
static void
tell_shortage(Coordinator *c, int have)
{
	if (c->told_shortage)
		return;
	c->told_shortage = true;
	mm_worker_tx_begin();
	mm_job_event(c->job->job_id, "warning", mm_phase_name(MM_PHASE_COPYING),
				 psprintf("only %d of %d workers could be started", have,
						  c->job->workers),
				 psprintf("max_worker_processes is %d, mongo_migrate.max_workers is %d.",
						  max_worker_processes, mm_max_workers));
	mm_worker_tx_commit();
}

/*
 * Waiting for a slot that never comes is a hang: without a single loader of
 * any job for max_retry_time, the slots belong to others for good.
 */
static void
check_starved(Coordinator *c, const Poll *poll, int have)
{
	TimestampTz now = GetCurrentTimestamp();

	if (have > 0 || poll->loaders > 0 || c->starved_since == 0)
		c->starved_since = now;
	else if (TimestampDifferenceExceeds(c->starved_since, now,
										c->job->options.max_retry_time_ms))
	{
		c->tried_enough = true;
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_RESOURCES),
				 errmsg("could not start a background worker"),
				 errdetail("All %d slots of max_worker_processes are in use.",
						   max_worker_processes),
				 errhint("Raise max_worker_processes, then SELECT migrate_retry(%lld).",
						 (long long) c->job->job_id)));
	}
}

/*
 * A database that takes no connections any more, a library that cannot be
 * loaded: only the server's log has the cause.  Told once; attempts that go on
 * like that for max_retry_time end the job.
 */
static void
check_unborn(Coordinator *c)
{
	if (c->crew->unborn == 0)
		return;
	if (mm_crew_count_begun(c->crew) == 0 &&
		TimestampDifferenceExceeds(c->crew->unborn_since,
								   c->crew->unborn_last,
								   c->job->options.max_retry_time_ms))
	{
		c->tried_enough = true;
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("background workers end before they begin"),
				 errdetail("%d attempts to start them, one after the other, ended so.",
						   c->crew->unborn),
				 errhint("The server's log tells why.  Then SELECT migrate_retry(%lld).",
						 (long long) c->job->job_id)));
	}
	if (c->told_unborn)
		return;
	c->told_unborn = true;
	mm_worker_tx_begin();
	mm_job_event(c->job->job_id, "warning", mm_phase_name(MM_PHASE_COPYING),
				 "a worker ended before it began",
				 "The server's log tells why; others are started in its place.");
	mm_worker_tx_commit();
}

/*
 * All loaders but the first leave a worker slot free, so that another job
 * can be started, if only to wait in the queue.
 */
static void
start_loaders(Coordinator *c, const Poll *poll)
{
	int			want = Min(c->job->workers, poll->open);
	int			have = mm_crew_count(c->crew);

	if (have > 0)
		c->starved_since = GetCurrentTimestamp();
	if (have >= want)
		return;
	check_unborn(c);
	if (!mm_crew_start(c->crew, want,
					   Min(poll->allowed,
						   Max(poll->free_slots - 1, have == 0))))
		return;
	have = mm_crew_count(c->crew);
	check_starved(c, poll, have);
	if (have < want)
		tell_shortage(c, have);
}

/* After failures of our own: what failed works again. */
static void
note_progress(Coordinator *c)
{
	if (c->retry.since == 0)
		return;
	mm_worker_tx_begin();
	mm_retry_progress(&c->retry, c->job, c->phase);
	mm_worker_tx_commit();
	MemoryContextSwitchTo(c->context);
}

/*
 * Loaders look at rights once in a checkpoint, and connections are kept: a
 * role that is dropped or loses its rights is noticed here.
 */
static void
check_rights(Coordinator *c, const MmJobTable *table)
{
	TimestampTz now = GetCurrentTimestamp();
	Oid			owner = c->job->owner;
	char	   *trouble;

	if (!TimestampDifferenceExceeds(c->rights_checked, now, RIGHTS_MS))
		return;
	c->rights_checked = now;
	mm_worker_tx_begin();
	trouble = mm_worker_owner_trouble(owner);
	if (trouble != NULL)
		mm_queue_raise_unusable(c->job->job_id, trouble);
	mm_source_check_rights(c->job->source, owner);
	if (get_rel_name(table->relid) != NULL &&
		pg_class_aclcheck(table->relid, owner, ACL_INSERT) != ACLCHECK_OK)
		aclcheck_error(ACLCHECK_NO_PRIV, OBJECT_TABLE,
					   get_rel_name(table->relid));
	mm_worker_tx_commit();
	MemoryContextSwitchTo(c->context);
}

/* Message 19. */
static void
check_reject_limit(Coordinator *c, Poll *poll)
{
	int64		limit = c->job->options.reject_limit;
	int64		job_id = c->job->job_id;
	const char *view;
	char	   *reason;

	if (limit < 0 || poll->books.docs_rejected <= limit)
		return;
	mm_crew_stop(c->crew);
	poll_job(c, poll);			/* they have committed more meanwhile */
	mm_worker_tx_begin();
	MemoryContextSwitchTo(c->context);
	reason = mm_letter_worst(job_id, &view);
	mm_worker_tx_commit();
	MemoryContextSwitchTo(c->context);
	mm_letter_raise_limit(job_id, poll->books.docs_rejected, limit, reason,
						  psprintf("%s (SELECT * FROM %s WHERE job_id = %lld)",
								   strcmp(view, "migrate_errors") == 0 ?
								   "Correct the documents or the table" :
								   "Change the mapping", view,
								   (long long) job_id));
}

/* Message 34, once: a few of the first documents are not worth it. */
static void
warn_of_rejects(Coordinator *c, const MmJobTable *table, const Poll *poll)
{
	char	   *message;
	char	   *hint;
	const char *view;

	if (c->told_rejects ||
		(poll->open > 0 && poll->books.docs_read < REJECTS_WORTH_TELLING))
		return;
	message = mm_job_rejects_message(table->database, table->collection,
									 &poll->books);
	if (message == NULL)
		return;
	c->told_rejects = true;
	mm_worker_tx_begin();
	(void) mm_letter_worst(c->job->job_id, &view);
	hint = psprintf("SELECT * FROM %s WHERE job_id = %lld;", view,
					(long long) c->job->job_id);
	if (mm_job_tell_rejects(c->job->job_id, table->table_no))
	{
		ereport(WARNING,
				(errmsg_internal("%s", message), errhint("%s", hint)));
		mm_job_event(c->job->job_id, "warning",
					 mm_phase_name(MM_PHASE_COPYING), message, hint);
	}
	mm_worker_tx_commit();
	MemoryContextSwitchTo(c->context);
}

/*
 * Runs loaders until no chunk is left, or the split is lost (which table then
 * tells).  False: the job is to stop.
 */
static bool
copy_chunks(Coordinator *c, MmJobTable *table)
{
	c->starved_since = 0;
	for (;;)
	{
		Poll		poll;

		CHECK_FOR_INTERRUPTS();
		mm_crew_reap(c->crew);
		poll_job(c, &poll);
		mm_queue_poll();
		obey_changes(c, poll.job);
		publish_rate(c);
		if (poll.state != MM_JOB_RUNNING)
			return false;
		if (poll.split_lost != NULL)
			table->split_lost = MemoryContextStrdup(c->context,
													poll.split_lost);
		if (table->split_lost != NULL)
			break;
		if (poll.failed > 0)
		{
			mm_crew_stop(c->crew);
			raise_chunk_failure(c);
		}
		warn_of_rejects(c, table, &poll);
		check_reject_limit(c, &poll);
		check_rights(c, table);
		if (poll.open == 0)
			break;
		start_loaders(c, &poll);
		note_progress(c);
		/* behind the start, as it may count the rows of a large table */
		(void) watch_target(c, table, MM_PHASE_COPYING);
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT |
						 WL_EXIT_ON_PM_DEATH, POLL_MS, MM_WAIT_EVENT_LOADERS);
		ResetLatch(MyLatch);
	}
	mm_crew_stop(c->crew);		/* they are on their way out */
	mm_crew_limit(c->crew, c->job->workers);
	return true;
}

/* ---------------------------------------------------------------------
 * Phases
 * ---------------------------------------------------------------------
 */

static void
enter_phase(Coordinator *c, MmJobTable *table, MmPhase phase)
{
	mm_worker_report("%s %s.%s", mm_phase_name(phase), table->target_schema,
					 table->target_table);
	mm_worker_tx_begin();
	mm_job_set_phase(c->job->job_id, table->table_no, phase);
	mm_worker_tx_commit();
	MemoryContextSwitchTo(c->context);
	table->phase = phase;
	c->phase = phase;
}

static void
verify_table(Coordinator *c, MmJobTable *table)
{
	Poll		poll;

	poll_job(c, &poll);
	mm_step_verify(c->job, table, &poll.books);
}

static bool
plan_table(Coordinator *c, MmJobTable *table)
{
	bool		again = table->split_lost != NULL;
	Poll		poll;

	if (!mm_step_plan(c->job, table, stop_wanted))
		return false;
	if (again)
	{
		poll_job(c, &poll);
		mm_shared_reset(c->crew->shared, &poll.books);
		memset(&c->rate, 0, sizeof(c->rate));
		c->told_rejects = false;
	}
	return true;
}

/* The phase that the table is in.  False: the job is to stop. */
static bool
run_phase(Coordinator *c, MmJobTable *table)
{
	switch (table->phase)
	{
		case MM_PHASE_PLANNING:
			return plan_table(c, table);
		case MM_PHASE_COPYING:
			return copy_chunks(c, table);
		case MM_PHASE_INDEXING:
			mm_step_index(c->job, table);
			break;
		case MM_PHASE_ANALYZING:
			mm_step_analyze(c->job, table);
			break;
		case MM_PHASE_VERIFYING:
			verify_table(c, table);
			break;
	}
	return true;
}

/* From the phase it is in to its end.  False: the job is to stop. */
static bool
run_table(Coordinator *c, MmJobTable *table)
{
	MmPhase		phase = table->phase;

	for (;;)
	{
		if (table->split_lost != NULL)
			phase = MM_PHASE_PLANNING;
		if (stop_wanted())
			return false;
		if (phase > MM_PHASE_COPYING)
			mm_queue_look_away();
		else
			mm_queue_attend();
		enter_phase(c, table, phase);
		if (phase > MM_PHASE_COPYING && !watch_target(c, table, phase))
			continue;
		if (!run_phase(c, table))
			return false;
		note_progress(c);
		if (table->split_lost == NULL && phase++ == MM_PHASE_VERIFYING)
			return true;
	}
}

/* ---------------------------------------------------------------------
 * States
 * ---------------------------------------------------------------------
 */

static void
create_crew(Coordinator *c)
{
	MmCounters	books;
	int			open,
				failed;

	if (c->crew != NULL)
		return;
	mm_chunk_totals(c->args.job_id, &books, &open, &failed);
	MemoryContextSwitchTo(c->context);
	/* with room for as many as migrate_alter() and a reload may add */
	c->crew = mm_crew_create(&c->args,
							 Max(c->job->workers, max_worker_processes),
							 &books);
}

/* For a crash while copying there are the attempts of the chunks. */
static void
give_up_crashing(const Coordinator *c, int crashes)
{
	const MmJobTable *table = c->tables == NIL ? NULL : linitial(c->tables);

	if (table == NULL || crashes < c->job->options.max_attempts)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_SYSTEM_ERROR),
			 errmsg("the phase \"%s\" of %s.%s was given up after %d attempts",
					mm_phase_name(table->phase), table->target_schema,
					table->target_table, crashes),
			 errdetail("The server crashed, or was stopped at once, during each of them."),
			 errhint("See the server log for the cause. If it was memory for the index, SET mongo_migrate.maintenance_work_mem to less, then SELECT migrate_retry(%lld).",
					 (long long) c->job->job_id)));
}

/* Is a job in this state to be taken up? */
static bool
is_to_run(MmJobState state)
{
	return state == MM_JOB_QUEUED || state == MM_JOB_RUNNING;
}

/*
 * A crash may be the doing of another job, which may crash again at once: it
 * is not to count for this one each time.
 */
static void
wait_behind_crash(Coordinator *c)
{
	TimestampTz end = TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
												  CRASH_PAUSE_MS);
	bool		crashed;

	mm_worker_tx_begin();
	crashed = load_job(c, false) != NULL && mm_job_has_crashed(c->args.job_id);
	mm_worker_tx_commit();
	while (crashed && GetCurrentTimestamp() < end && is_to_run(read_state(c)))
	{
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT |
						 WL_EXIT_ON_PM_DEATH, POLL_MS, MM_WAIT_EVENT_RETRY);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
}

/* Enters the state running; false when the job is not to run. */
static bool
begin_running(Coordinator *c)
{
	bool		run;
	int			generation = 0;
	int			crashes = 0;

	mm_worker_tx_begin();
	MemoryContextSwitchTo(c->context);
	c->job = load_job(c, true);
	/* Its state may have changed behind the wait for its turn. */
	run = c->job != NULL && is_to_run(c->job->state) &&
		mm_queue_may_run(c->job->state == MM_JOB_RUNNING);
	if (run)
	{
		create_crew(c);
		mm_crew_limit(c->crew, c->job->workers);
		mm_shared_set_limits(c->crew->shared, &c->job->options);
		mm_chunk_reset_orphans(c->args.job_id, !c->crashed);
		generation = mm_job_begin_running(c->args.job_id,
										  c->crew->args.shared_handle,
										  c->crashed, &crashes);
		MemoryContextSwitchTo(c->context);
		c->tables = mm_job_load_tables(c->args.job_id);
		mm_worker_apply_options(c->job);
		if (generation > 1)
			mm_job_event(c->args.job_id, "info", NULL,
						 psprintf("continued, %d. start of the coordinator",
								  generation), NULL);
		ForceSyncCommit();		/* or a crash would forget that it happened */
	}
	mm_worker_tx_commit();
	MemoryContextSwitchTo(c->context);
	if (run)
	{
		c->crashed = false;
		c->crew->args.generation = generation;
		give_up_crashing(c, crashes);
	}
	return run;
}

static bool
is_to_be_dropped(const MmJob *job)
{
	return job != NULL && job->state == MM_JOB_CANCELING && job->drop_target;
}

/*
 * Drops the target of a job that is being canceled, in a transaction of its
 * own: the job is canceled also when something depends on the table.
 */
static MmFailure *
drop_target(Coordinator *c)
{
	MmFailure  *volatile failure = NULL;

	PG_TRY();
	{
		MmJob	   *job;

		mm_worker_tx_begin();
		job = load_job(c, false);
		if (is_to_be_dropped(job))
			mm_step_drop_target(job);
		mm_worker_tx_commit();
	}
	PG_CATCH();
	{
		failure = mm_worker_catch(c->context);
	}
	PG_END_TRY();
	MemoryContextSwitchTo(c->context);
	return failure;
}

/*
 * Opens the transaction that ends the job, with its row locked.  A cancel may
 * be committed while we wait for the lock: then the target is dropped first.
 */
static MmJob *
begin_end(Coordinator *c, MmFailure **not_dropped)
{
	for (bool tried = false;; tried = true)
	{
		MmJob	   *job;

		*not_dropped = drop_target(c);
		mm_worker_tx_begin();
		job = load_job(c, true);
		if (c->crashed && job != NULL)
			mm_job_forget_clock(c->args.job_id);
		if (tried || !is_to_be_dropped(job))
			return job;
		mm_worker_tx_commit();
		MemoryContextSwitchTo(c->context);
	}
}

static void
set_canceled(const MmJob *job, const MmFailure *failure)
{
	if (failure != NULL)
		mm_job_event(job->job_id, "warning", NULL,
					 psprintf("the target was not dropped: %s",
							  failure->message), failure->detail);
	mm_job_set_state(job->job_id, MM_JOB_CANCELED, failure);
}

/*
 * Ends what a session asked for, or the job as a whole.  False: the job was
 * resumed meanwhile, and is to run.
 */
static bool
finish(Coordinator *c, bool completed)
{
	MmFailure  *not_dropped;
	MmJob	   *job = begin_end(c, &not_dropped);
	bool		finished = true;

	if (job == NULL || mm_state_is_final(job->state))
		;						/* forgotten, or ended by a session */
	else if (job->state == MM_JOB_CANCELING)
		set_canceled(job, not_dropped);
	else if (completed)
	{
		mm_chunk_check_books(job->job_id);
		mm_job_set_state(job->job_id, MM_JOB_COMPLETED, NULL);
		ForceSyncCommit();		/* whoever hears of it may drop the source */
		mm_debug_point("complete");
	}
	else if (job->state == MM_JOB_PAUSING)
		mm_job_set_state(job->job_id, MM_JOB_PAUSED, NULL);
	else
		finished = job->state == MM_JOB_PAUSED; /* before we had its lock */
	if (job != NULL && finished)
		mm_worker_unlock_job(job->job_id);
	mm_worker_tx_commit();
	MemoryContextSwitchTo(c->context);
	return finished;
}

static void
run_job(Coordinator *c)
{
	bool		completed;

	do
	{
		ListCell   *lc;

		mm_queue_attend();
		if (!mm_queue_wait(c->args.job_id))
			return;
		if (c->crashed)
			wait_behind_crash(c);
		MemoryContextSwitchTo(c->context);
		completed = begin_running(c);
		if (completed)
		{
			mm_queue_came();
			foreach(lc, c->tables)
				completed = completed && run_table(c, lfirst(lc));
			if (!completed)
				mm_crew_stop(c->crew);
		}
	} while (!finish(c, completed));
}

static bool
is_unique_violation(const MmFailure *failure)
{
	return strcmp(failure->sqlstate,
				  unpack_sql_state(ERRCODE_UNIQUE_VIOLATION)) == 0;
}

/* Records the failure, unless somebody canceled the job meanwhile. */
static void
record_failure(Coordinator *c, MmFailure *failure)
{
	MmFailure  *not_dropped;
	MmJob	   *job = begin_end(c, &not_dropped);

	if (c->phase == MM_PHASE_INDEXING && failure->hint == NULL &&
		is_unique_violation(failure))
		failure->hint = "Name other columns in target.primary_key of the mapping, or [] for none.";

	if (job != NULL && !mm_state_is_final(job->state))
	{
		mm_job_event(job->job_id, "error", NULL, failure->message,
					 failure->detail);
		if (job->state == MM_JOB_CANCELING)
			set_canceled(job, not_dropped);
		else
			mm_job_set_state(job->job_id, MM_JOB_FAILED, failure);
		mm_worker_unlock_job(job->job_id);
	}
	mm_worker_tx_commit();
}

/* ---------------------------------------------------------------------
 * Process
 * ---------------------------------------------------------------------
 */

/*
 * Waits for the transaction that registered us, whose rows cannot be seen
 * before.
 */
static void
wait_for_caller(const MmWorkerArgs *args)
{
	mm_worker_report("waiting for the transaction of migration job %lld",
					 (long long) args->job_id);
	mm_worker_tx_begin();
	/* After a crash there may be no trace of it, and others get its id. */
	if (TransactionIdPrecedes(args->start_xid, ReadNextTransactionId()))
		XactLockTableWait(args->start_xid, NULL, NULL, XLTW_None);
	mm_worker_tx_commit();
}

/* Housekeeping, which needs no process of its own; once. */
static void
expire_jobs(Coordinator *c)
{
	if (c->expired)
		return;
	c->expired = true;
	mm_worker_tx_begin();
	if (mm_catalog_exists())
		mm_job_expire(mm_job_retention);
	mm_worker_tx_commit();
}

/*
 * Takes the job's lock.  False: another coordinator has it, or the extension
 * is gone.
 */
static bool
take_lock(int64 job_id)
{
	bool		ours;

	mm_worker_tx_begin();
	ours = mm_catalog_exists() && mm_worker_lock_job(job_id);
	mm_worker_tx_commit();
	return ours;
}

/* Is the key of the table nothing but _id, which is unique in the source? */
static bool
has_id_key(const MmContract *contract)
{
	ListCell   *lc;

	if (list_length(contract->key_columns) != 1)
		return false;
	foreach(lc, contract->fields)
	{
		const MmField *field = lfirst(lc);

		if (field->path != NULL && field->column != NULL &&
			strcmp(field->path, "_id") == 0)
			return strcmp(field->column,
						  linitial(contract->key_columns)) == 0;
	}
	return false;
}

/*
 * The key on _id cannot be built, although _id is unique in the source.  A
 * document that is deleted and inserted again with the same _id has another
 * record id then, and may be read as both; ranges of _id meet it once.  Or two
 * values are one for the type of the column, as embedded documents with their
 * fields in another order are for jsonb.  So the copy begins again, by ranges
 * of _id, into a table that has its key: what it refuses is rejected.  Not so
 * a view, which may well have an _id twice.
 */
static bool
begin_with_key(Coordinator *c, const MmFailure *failure)
{
	ListCell   *lc;
	bool		found = false;

	if (!is_unique_violation(failure) ||
		c->job->options.split == MM_SPLIT_RECORD)
		return false;
	mm_worker_tx_begin();
	foreach(lc, mm_job_load_tables(c->job->job_id))
	{
		const MmJobTable *table = lfirst(lc);

		if (table->phase != MM_PHASE_INDEXING ||
			table->restarts >= MM_MAX_RESTARTS || !table->fresh ||
			!table->created || table->pin == NULL ||
			!has_id_key(table->contract))
			continue;
		mm_job_lose_split(c->job->job_id, table->table_no,
						  psprintf("Two documents have the same key, or one was read twice: %s",
								   failure->detail ? failure->detail :
								   failure->message), true);
		found = true;
		break;
	}
	mm_worker_tx_commit();
	MemoryContextSwitchTo(c->context);
	return found;
}

/*
 * A failure that may pass is waited out; then the phase is begun again.  Before
 * the job is known, this process ends with it, and is started again.
 */
static bool
may_pass(const Coordinator *c, const MmFailure *failure)
{
	if (c->tried_enough || !mm_retry_is_transient(mm_worker_sqlstate(failure)))
		return false;
	if (c->job == NULL)
		mm_worker_raise(failure);
	return true;
}

/* Has the job another state than at the failure that is waited out? */
static bool
state_changed(void)
{
	mm_queue_poll();
	return read_state(&coordinator) != coordinator.passing_state;
}

/* Raises the failure again when it was waited for long enough. */
static void
wait_out(Coordinator *c)
{
	MmFailure  *failure = c->passing;

	c->passing = NULL;
	if (failure == NULL)
		return;
	c->passing_state = read_state(c);
	if (mm_retry_wait(&c->retry, c->job, c->phase, failure, state_changed))
		return;
	c->tried_enough = true;
	mm_worker_raise(failure);
}

/* False: it is not the end of the job. */
static bool
end_failed(Coordinator *c, MmFailure *failure)
{
	if (begin_with_key(c, failure))
		return false;
	if (may_pass(c, failure))
	{
		c->passing = failure;
		return false;
	}
	record_failure(c, failure);
	return true;
}

/*
 * One pass over the job with its failures recorded.  False: a query cancel
 * came, something is to be tried again, or a table is to begin again; look at
 * the job again.
 */
static bool
run_guarded(Coordinator *c)
{
	MmFailure  *volatile failure = NULL;
	volatile bool canceled = false;
	bool		done;

	PG_TRY();
	{
		expire_jobs(c);
		wait_out(c);
		run_job(c);
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(c->context);
		canceled = geterrcode() == ERRCODE_QUERY_CANCELED;
		if (canceled)
		{
			FlushErrorState();
			AbortOutOfAnyTransaction();
		}
		else
			failure = mm_worker_catch(c->context);
	}
	PG_END_TRY();
	MemoryContextSwitchTo(c->context);

	/* Another cancel asks for what is done already. */
	HOLD_CANCEL_INTERRUPTS();
	if ((canceled || failure != NULL) && c->crew != NULL)
		mm_crew_stop(c->crew);
	done = failure == NULL ? !canceled : end_failed(c, failure);
	QueryCancelPending = false;
	QueryCancelHoldoffCount = 0;	/* as an error would leave it */
	return done;
}

/* However this process ends, short of a crash; it does not wait for locks. */
static void
leave(int code, Datum arg)
{
	Coordinator *c = &coordinator;

	if (!PostmasterIsAlive() || c->crew == NULL)
		return;
	AbortOutOfAnyTransaction();
	/* nor for a standby */
	SetConfigOption("synchronous_commit", "off", PGC_SUSET, PGC_S_OVERRIDE);
	mm_worker_tx_begin();
	if (mm_catalog_try_lock("job"))
		mm_job_rest(c->args.job_id, c->crew->args.generation);
	mm_worker_tx_commit();
}

void
mm_coordinator_main(Datum arg)
{
	Coordinator *c = &coordinator;

	c->args = mm_worker_begin();
	c->crashed = true;
	mm_source_process_init();
	c->context = AllocSetContextCreate(TopMemoryContext,
									   "mongo_migrate coordinator",
									   ALLOCSET_DEFAULT_SIZES);
	c->poll_context = AllocSetContextCreate(c->context,
											"mongo_migrate poll",
											ALLOCSET_DEFAULT_SIZES);
	before_shmem_exit(leave, (Datum) 0);
	wait_for_caller(&c->args);
	mm_queue_attend();
	if (take_lock(c->args.job_id))
	{
		while (!run_guarded(c))
			;
	}
	mm_queue_leave();
	proc_exit(0);
}
