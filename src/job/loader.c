/*-------------------------------------------------------------------------
 *
 * loader.c
 *	  A loader: claims chunks and copies them, one checkpoint at a time.
 *
 * The main loop is claim -> open -> (read -> convert -> write)* ->
 * checkpoint -> ... -> next.  A checkpoint is one transaction: it locks the
 * chunk's row and checks that this attempt is still the latest, writes rows
 * and dead letters, adds to the books, moves the position, commits.  Whatever
 * dies in between leaves the chunk at its old position, and the next reader
 * starts there.
 *
 * What ends an attempt:
 *	  a transient error of the source    what was read is committed, then wait
 *										 and open again at the position
 *	  an error of one row				 again in careful mode (batch.c), in
 *										 small checkpoints, until that row is
 *										 behind us
 *	  a field without a column			 (extra: add_column) read on to the end
 *										 of the checkpoint for others, then
 *										 again, when the table has them
 *	  a transient error of the target    wait and again
 *	  any other error					 the chunk is given back with the
 *										 reason, or fails
 *	  pause, cancel, fewer loaders		 what was read is committed, then leave
 *	  query cancel, termination			 the process ends; the coordinator
 *										 gives the chunk to another
 *	  the split is lost					 noted in the table's row; the
 *										 coordinator begins it again
 *
 * A checkpoint ends where the stream has a position: behind each document, or
 * only where an answer of the server ends.  In that case the rest of the
 * answer, which is here already, is read without regard to the throttle, for
 * which it is booked all the same.  A stream without a position (split
 * "none") is committed as a whole or not at all.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/pmsignal.h"
#include "utils/guc.h"
#include "utils/memutils.h"

#include "compat.h"
#include "job/batch.h"
#include "job/catalog.h"
#include "job/debug.h"
#include "job/retry.h"
#include "job/shared.h"
#include "job/widen.h"
#include "job/worker.h"
#include "source/source.h"

/* In careful mode a batch is a savepoint; of 64 a process keeps track. */
#define CAREFUL_BATCHES	48

/* Beyond reject_limit, of a chunk in one transaction. */
#define REJECTS_AT_ONCE	10000

/* How soon a loader that waits for the throttle sees another rate. */
#define PACE_SLICE_MS 100

typedef struct Loader
{
	MmWorkerArgs args;
	MemoryContext context;		/* lives as long as the process */
	MemoryContext tables_context;	/* of tables, once they were loaded again */
	MmJob	   *job;
	List	   *tables;
	MmShared   *shared;
	MmLoaderState state;		/* published from time to time */
	MmRate		rate;
	MmRetry		retry;
	int			nchunks;
	MemoryContext source_context;	/* of the connection, reset to close it */
	MemoryContext stream_context;	/* in it, of the stream; or NULL */
	MemoryContext chunk_context;	/* of one chunk */
	MemoryContext checkpoint_context;	/* of one transaction */
	MmSource   *source;			/* NULL: not connected */
	MmCollection *collection;
	MmJobTable *table;			/* of the chunk at work */
	MmChunk    *chunk;
	MmStream   *stream;
	List	   *new_fields;		/* that the table needs columns for */
	bool		careful;
	int64		careful_left;	/* documents up to behind the refused row */
	bool		failed;			/* the chunk, and so the job; or the split is
								 * lost: no other chunk is begun */
	bool		stopped;		/* a chunk was left, which is given back at the end
								 * of the process, even if it may go on by now */
	bool		told_to_stop;	/* by on_error of a value */
	int64		put_off;		/* documents that wait for new columns */
	MmCounters	books;			/* of the open transaction */
	TimestampTz began;			/* of the open transaction */
	int64		unpaced;		/* documents not yet booked for the throttle */
	TimestampTz due;			/* of those that are */
} Loader;

typedef enum CopyEnd
{
	COPY_DONE,					/* the chunk is complete */
	COPY_STOPPED,				/* pause or cancel, or one loader too many */
	COPY_LOST,					/* the chunk is not ours any more */
	COPY_WIDEN,					/* the table needs more columns first */
	COPY_FAILED					/* by the source; the error says more */
} CopyEnd;

/* One per process; static for the stop check, which has no argument. */
static Loader loader;

static bool
stop_wanted(void)
{
	const Loader *l = &loader;

	return l->args.slot >= pg_atomic_read_u32(&l->shared->wanted_loaders);
}

static void
publish(Loader *l, TimestampTz now)
{
	l->state.pending = l->books;
	l->state.rate = mm_rate_update(&l->rate, now,
								   l->state.committed.docs_read +
								   l->books.docs_read);
	l->state.updated_at = now;
	mm_shared_publish_loader(l->shared, l->args.slot, &l->state);
}

/* ---------------------------------------------------------------------
 * Connection and stream
 * ---------------------------------------------------------------------
 */

static void
disconnect(Loader *l)
{
	l->source = NULL;
	l->stream = NULL;
	l->stream_context = NULL;
	MemoryContextReset(l->source_context);
}

static bool
connect_source(Loader *l, MmSourceError *error)
{
	MemoryContext old = MemoryContextSwitchTo(l->source_context);
	MmSourceConfig *config;

	mm_worker_reload();
	mm_worker_tx_begin();
	MemoryContextSwitchTo(l->source_context);
	config = mm_worker_source_config(l->job);
	mm_worker_tx_commit();
	MemoryContextSwitchTo(l->source_context);

	l->source = mm_source_mongo.open(config, error);
	if (l->source != NULL &&
		!l->source->ops->describe(l->source, l->table->database,
								  l->table->collection, &l->collection,
								  error))
		l->source = NULL;
	MemoryContextSwitchTo(old);
	return l->source != NULL;
}

/* False when the chunk is not ours any more. */
static bool
lock_chunk(Loader *l)
{
	if (!mm_chunk_lock(l->job->job_id, l->chunk))
		return false;
	l->table->contract->on_error = l->chunk->on_error;
	return true;
}

/* Reads the committed position; false when the chunk is not ours any more. */
static bool
read_position(Loader *l)
{
	bool		ours;

	mm_worker_tx_begin();
	MemoryContextSwitchTo(l->chunk_context);
	ours = lock_chunk(l);
	mm_worker_tx_commit();
	MemoryContextSwitchTo(l->chunk_context);
	return ours;
}

static bool
open_stream(Loader *l, MmSourceError *error)
{
	MemoryContext old;

	if (l->source == NULL && !connect_source(l, error))
		return false;
	/* A connection lives for thousands of chunks. */
	l->stream_context = AllocSetContextCreate(l->source_context,
											  "mongo_migrate stream",
											  ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(l->stream_context);
	l->stream = l->source->ops->open_chunk(l->source, l->collection,
										   l->table->filter,
										   l->table->split, l->table->pin,
										   &l->chunk->bounds,
										   l->chunk->position, error);
	MemoryContextSwitchTo(old);
	return l->stream != NULL;
}

static void
close_stream(Loader *l)
{
	if (l->stream != NULL)
		l->source->ops->close_stream(l->stream);
	l->stream = NULL;
	if (l->stream_context != NULL)
		MemoryContextDelete(l->stream_context);
	l->stream_context = NULL;
}

/* ---------------------------------------------------------------------
 * Checkpoints
 * ---------------------------------------------------------------------
 */

/* Also message 20; the batch adds document, path and column as context. */
static void
raise_reject(const MmJob *job, const MmReject *why)
{
	bool		is_text = why->sqlstate == ERRCODE_UNTRANSLATABLE_CHARACTER ||
		why->sqlstate == ERRCODE_CHARACTER_NOT_IN_REPERTOIRE;

	ereport(ERROR,
			(errcode(why->sqlstate),
			 errmsg_internal("%s", why->message),
			 why->detail ? errdetail_internal("%s", why->detail) : 0,
			 is_text ?
			 errhint("Set invalid_text to \"strip\" or \"replace\".") :
			 why->field_stops ?
			 errhint("on_error of the field is \"stop\": correct the document, then SELECT migrate_retry(%lld), or start again with another mapping.",
					 (long long) job->job_id) :
			 errhint("on_error is \"stop\": correct the document, or choose another with migrate_alter(%lld, on_error => ...), then SELECT migrate_retry(%lld).",
					 (long long) job->job_id, (long long) job->job_id)));
}

/* A document that cannot be stored: a dead letter, or the end of the job. */
static void
reject_document(void *arg, void *item, const uint8 *doc, uint32 len,
				const MmReject *why)
{
	Loader	   *l = arg;

	if (why->new_fields != NIL)
	{
		MemoryContext old = MemoryContextSwitchTo(l->chunk_context);

		l->put_off++;
		/* no more than a table takes */
		if (list_length(l->new_fields) < MaxHeapAttributeNumber)
			l->new_fields = mm_widen_add_fields(l->new_fields,
												why->new_fields);
		MemoryContextSwitchTo(old);
		return;
	}
	if (why->stop)
	{
		l->told_to_stop = true;
		raise_reject(l->job, why);
	}
	mm_letter_insert(l->job->job_id, l->chunk, doc, len, why);
}

/* Begins the transaction; NULL when the chunk is not ours any more. */
static MmBatch *
begin_checkpoint(Loader *l)
{
	MmBatch    *batch = NULL;

	MemoryContextReset(l->checkpoint_context);
	memset(&l->books, 0, sizeof(l->books));
	l->put_off = 0;
	l->began = GetCurrentTimestamp();
	mm_worker_tx_begin();
	MemoryContextSwitchTo(l->checkpoint_context);
	if (lock_chunk(l))
		batch = mm_batch_begin(l->job, l->table, l->careful, &l->books,
							   reject_document, l);
	return batch;
}

/* False: nothing was committed, as the table needs more columns. */
static bool
commit_checkpoint(Loader *l, MmBatch *batch, bool done)
{
	bytea	   *position;

	mm_batch_end(batch);
	if (l->new_fields != NIL)
		return false;
	position = l->source->ops->get_position(l->stream);
	mm_debug_point("before_position");
	mm_chunk_checkpoint(l->job->job_id, l->chunk, &l->books,
						mm_batch_tally(batch), position, done);
	if (done || l->books.docs_read > 0)
		mm_retry_progress(&l->retry, l->job, MM_PHASE_COPYING);
	mm_debug_point("after_position");
	mm_debug_point_in_commit("in_commit");
	mm_worker_tx_commit();
	MemoryContextSwitchTo(l->chunk_context);
	mm_debug_point("after_commit");
	pgstat_report_stat(false);

	l->careful_left -= l->books.docs_read;
	mm_counters_add(&l->state.committed, &l->books);
	memset(&l->books, 0, sizeof(l->books));
	publish(l, GetCurrentTimestamp());
	if (l->careful_left <= 0)
		l->careful = false;
	return true;
}

static void
abort_checkpoint(Loader *l)
{
	AbortOutOfAnyTransaction();
	MemoryContextSwitchTo(l->chunk_context);
	memset(&l->books, 0, sizeof(l->books));
	publish(l, GetCurrentTimestamp());
}

/* Is it time to commit?  Also publishes the counters when that is due. */
static bool
checkpoint_due(Loader *l)
{
	const MmJobOptions *options = &l->job->options;
	int64		reject_limit = pg_atomic_read_u64(&l->shared->reject_limit);
	TimestampTz now = GetCurrentTimestamp();

	if (TimestampDifferenceExceeds(l->state.updated_at, now,
								   options->progress_interval_ms))
		publish(l, now);
	/* the coordinator sees committed rejects only */
	if (reject_limit >= 0 &&
		l->books.docs_rejected + l->put_off > reject_limit)
		return true;
	/* few savepoints, or other sessions pay for what a transaction has */
	if (l->careful && l->books.bytes_read >= CAREFUL_BATCHES * MM_SINK_BYTES)
		return true;
	return l->books.bytes_read >= options->checkpoint_bytes ||
		TimestampDifferenceExceeds(l->began, now,
								   options->checkpoint_interval_ms);
}

/* ---------------------------------------------------------------------
 * Throttle
 * ---------------------------------------------------------------------
 */

/* Every twentieth part of a second's documents. */
static inline bool
pace_due(Loader *l, uint32 rate)
{
	return rate != 0 && l->unpaced >= Max(rate / 20, 1);
}

/*
 * Waits until the documents read so far are due, a stop or another rate.  That
 * may be minutes, since others' documents are on the same account: of
 * a transaction it is no longer than until its end is due.
 */
static void
pace(Loader *l, uint32 rate)
{
	bool		can_commit = IsTransactionState() &&
		l->table->split != MM_SPLIT_NONE;

	l->due = mm_shared_pace(l->shared, rate, l->unpaced);
	l->unpaced = 0;
	while (!stop_wanted() &&
		   pg_atomic_read_u32(&l->shared->max_docs_per_second) == rate)
	{
		long		left = TimestampDifferenceMilliseconds(GetCurrentTimestamp(),
														   l->due);

		if (left <= 0 || (can_commit && checkpoint_due(l)))
			break;
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT |
						 WL_EXIT_ON_PM_DEATH, Min(left, PACE_SLICE_MS),
						 MM_WAIT_EVENT_THROTTLE);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
}

/*
 * A chunk in one transaction may last for hours, and DROP EXTENSION would
 * wait as long, with all calls of our functions behind it.
 */
static void
give_way(Loader *l)
{
	memset(&l->retry, 0, sizeof(l->retry));
	ereport(ERROR,
			(errcode(ERRCODE_LOCK_NOT_AVAILABLE),
			 errmsg("the copy gives way to a session that waits for a lock on extension \"mongo_migrate\"")));
}

/*
 * Message 19 for a chunk in one transaction, whose rejects nobody else sees
 * before it ends, and would not see if it ended here: that is better only when
 * there are many of them.
 */
static void
check_reject_limit(Loader *l)
{
	int64		limit = pg_atomic_read_u64(&l->shared->reject_limit);
	int64		job_id = l->job->job_id;
	const char *view;

	if (limit >= 0 && l->books.docs_rejected - REJECTS_AT_ONCE > limit)
		mm_letter_raise_limit(job_id, l->books.docs_rejected, limit,
							  mm_letter_worst(job_id, &view),
							  "Change the mapping");
}

/*
 * What is not done for each document.  True: the transaction should end, as
 * the job is to stop or a checkpoint is due.
 */
static bool
look_around(Loader *l, uint32 rate)
{
	CHECK_FOR_INTERRUPTS();
	l->retry.worked = true;
	if (l->table->split == MM_SPLIT_NONE)
	{
		if (mm_catalog_is_wanted())
			give_way(l);
		check_reject_limit(l);
	}
	if (pace_due(l, rate))
		pace(l, rate);
	return stop_wanted() ||
		(checkpoint_due(l) && l->table->split != MM_SPLIT_NONE);
}

/* May it end here? */
static inline bool
can_end(Loader *l)
{
	return l->table->split == MM_SPLIT_NONE ||
		l->source->ops->has_position(l->stream);
}

/*
 * Reads documents into the batch until a checkpoint is due (result
 * MM_NEXT_DOCUMENT), the stream ends or fails, or the job is to stop.
 */
static MmNext
fill_checkpoint(Loader *l, MmBatch *batch, MmSourceError *error)
{
	bool		ending = false;
	const uint8 *doc;
	uint32		len;
	MmNext		next;

	while ((next = l->source->ops->next(l->stream, &doc, &len,
										error)) == MM_NEXT_DOCUMENT)
	{
		uint32		rate = pg_atomic_read_u32(&l->shared->max_docs_per_second);
		bool		stored;

		Assert(CurrentMemoryContext == l->checkpoint_context);
		l->books.bytes_read += len;
		stored = mm_batch_add(batch, doc, len, NULL);
		l->unpaced++;
		if (stored)
			mm_debug_point(l->chunk->position ? "mid_chunk" : "first_batch");
		if (stored)
			mm_json_id_for_display(doc, len, l->state.last_id,
								   sizeof(l->state.last_id));
		if (!ending && (stored || (l->books.docs_read & 127) == 0 ||
						pace_due(l, rate)))
			ending = look_around(l, rate);
		if (!ending || !can_end(l))
			continue;
		/* Nothing else ends a chunk that has no positions. */
		if (l->table->split != MM_SPLIT_NONE && !stop_wanted())
			break;
		error->stopped = true;
		return MM_NEXT_ERROR;
	}
	return next;
}

/*
 * Waits between two transactions: for what pace() left, and for the rest of a
 * reply, which was read up to its position.
 */
static void
pace_rest(Loader *l)
{
	uint32		rate = pg_atomic_read_u32(&l->shared->max_docs_per_second);

	if (pace_due(l, rate) || (rate != 0 && l->due > GetCurrentTimestamp()))
		pace(l, rate);
}

static CopyEnd
copy_stream(Loader *l, MmSourceError *error)
{
	for (;;)
	{
		MmBatch    *batch;
		MmNext		next;

		pace_rest(l);
		batch = begin_checkpoint(l);
		if (batch == NULL)
		{
			abort_checkpoint(l);
			return COPY_LOST;
		}
		next = fill_checkpoint(l, batch, error);
		if (next == MM_NEXT_ERROR &&
			!l->source->ops->has_position(l->stream))
		{
			abort_checkpoint(l);
			l->new_fields = NIL;
		}
		else if (l->new_fields != NIL ||
				 !commit_checkpoint(l, batch, next == MM_NEXT_END))
		{
			abort_checkpoint(l);
			return COPY_WIDEN;
		}

		if (next == MM_NEXT_END)
			return COPY_DONE;
		if (next == MM_NEXT_ERROR)
			return error->stopped ? COPY_STOPPED : COPY_FAILED;
	}
}

/* ---------------------------------------------------------------------
 * Attempts
 * ---------------------------------------------------------------------
 */

/* The tables of the job, with the contracts as they are now. */
static void
load_tables(Loader *l)
{
	MemoryContext old = l->tables_context;
	MemoryContext context = AllocSetContextCreate(l->context,
												  "mongo_migrate tables",
												  ALLOCSET_DEFAULT_SIZES);

	mm_worker_tx_begin();
	MemoryContextSwitchTo(context);
	l->tables = mm_job_load_tables(l->args.job_id);
	mm_worker_tx_commit();
	l->tables_context = context;
	MemoryContextSwitchTo(l->chunk_context);
	if (l->chunk != NULL)
		l->table = list_nth(l->tables, l->chunk->table_no - 1);
	if (old != NULL)
		MemoryContextDelete(old);
}

static void
widen_table(Loader *l)
{
	mm_widen_table(l->job, l->table, l->new_fields);
	l->new_fields = NIL;
	load_tables(l);
}

/* May everything be thrown away that was read?  Not for ever, either. */
static bool
can_begin_again(const MmJobTable *table)
{
	return table->fresh && (table->split == MM_SPLIT_RECORD ||
							table->restarts < MM_MAX_RESTARTS);
}

/*
 * Has the coordinator begin the table again.  The chunk stays as it is: its
 * end is that of this process.
 */
static void
lose_split(Loader *l, const MmSourceError *error)
{
	mm_worker_tx_begin();
	MemoryContextSwitchTo(l->chunk_context);
	if (lock_chunk(l))
		mm_job_lose_split(l->job->job_id, l->table->table_no,
						  psprintf("%s: %s", error->message, error->detail),
						  false);
	mm_worker_tx_commit();
	MemoryContextSwitchTo(l->chunk_context);
	l->failed = true;
}

/*
 * Copies the claimed chunk from its committed position to its end.  Returns
 * when it is done, lost or stopped; transient errors of the source are
 * waited out, others raised.
 */
static void
copy_chunk(Loader *l)
{
	for (;;)
	{
		MmSourceError error = {0};
		CopyEnd		end = COPY_FAILED;

		if (!read_position(l))
			return;
		if (open_stream(l, &error))
			end = copy_stream(l, &error);
		close_stream(l);
		if (end == COPY_WIDEN)
		{
			widen_table(l);
			continue;
		}
		l->stopped = end == COPY_STOPPED || error.stopped;
		if (end != COPY_FAILED || error.stopped)
			return;
		disconnect(l);
		if (!error.transient ||
			!mm_retry_wait(&l->retry, l->job, MM_PHASE_COPYING,
						   mm_worker_failure(&error), stop_wanted))
		{
			if (!error.split_lost || !can_begin_again(l->table))
				mm_source_raise(&error);
			lose_split(l, &error);
			return;
		}
		if (stop_wanted())
		{
			l->stopped = true;
			return;
		}
	}
}

/* Would another attempt, perhaps of another process, end differently? */
static bool
is_worth_an_attempt(int sqlstate)
{
	switch (ERRCODE_TO_CATEGORY(sqlstate))
	{
		case MAKE_SQLSTATE('5', '7', '0', '0', '0'):	/* intervention */
		case MAKE_SQLSTATE('5', '8', '0', '0', '0'):	/* system error */
		case MAKE_SQLSTATE('X', 'X', '0', '0', '0'):	/* internal error */
			return true;
		default:
			return false;
	}
}

/*
 * Decides after a raised error whether this attempt goes on; else gives the
 * chunk back with the reason.  A chunk that failed for good fails the job, so
 * that no other is begun.
 */
static bool
survive(Loader *l, const MmFailure *failure)
{
	int			sqlstate = mm_worker_sqlstate(failure);
	bool		permanent = !is_worth_an_attempt(sqlstate);
	bool		may_get_by = mm_batch_may_get_by(l->table->contract, sqlstate);

	if (may_get_by && !l->careful && !l->told_to_stop)
	{
		l->careful = true;
		return true;
	}
	if (mm_retry_is_transient(sqlstate) &&
		mm_retry_wait(&l->retry, l->job, MM_PHASE_COPYING, failure,
					  stop_wanted))
		return true;
	mm_worker_tx_begin();
	mm_chunk_fail(l->job->job_id, l->chunk, permanent, failure);
	mm_worker_tx_commit();
	l->failed = permanent || l->chunk->last_attempt;
	return false;
}

static void
fail_exhausted_chunk(Loader *l)
{
	MmFailure	failure = {
		.sqlstate = unpack_sql_state(ERRCODE_SYSTEM_ERROR),
		.message = psprintf("chunk %d of %s.%s was given up after %d attempts",
							l->chunk->chunk_no, l->table->database,
							l->table->collection,
							l->job->options.max_attempts),
		.detail = "The server crashed during each of them.",
		.hint = "See the server log for the cause.",
	};

	mm_worker_tx_begin();
	mm_chunk_fail(l->job->job_id, l->chunk, true, &failure);
	mm_worker_tx_commit();
	l->failed = true;
}

static void
work_on_chunk(Loader *l)
{
	volatile bool again = !l->chunk->exhausted;

	if (l->chunk->exhausted)
		fail_exhausted_chunk(l);
	l->careful = false;
	while (again)
	{
		MmFailure  *volatile failure = NULL;

		PG_TRY();
		{
			MemoryContextSwitchTo(l->chunk_context);
			copy_chunk(l);
		}
		PG_CATCH();
		{
			failure = mm_worker_catch(l->chunk_context);
		}
		PG_END_TRY();
		again = false;
		if (failure != NULL)
		{
			disconnect(l);
			l->new_fields = NIL;
			l->careful_left = l->books.docs_read;
			memset(&l->books, 0, sizeof(l->books));
			publish(l, GetCurrentTimestamp());
			again = survive(l, failure);
			if (stop_wanted())
			{
				l->stopped = true;
				again = false;
			}
		}
	}
}

/* Claims the next chunk and commits the claim; false when none is left. */
static bool
claim_chunk(Loader *l)
{
	l->chunk = NULL;
	MemoryContextReset(l->chunk_context);
	mm_worker_tx_begin();
	mm_debug_point("before_claim");
	MemoryContextSwitchTo(l->chunk_context);
	l->chunk = mm_catalog_exists() ?
		mm_chunk_claim(l->job->job_id, l->job->options.max_attempts) : NULL;
	if (l->chunk != NULL)
		ForceSyncCommit();		/* or a crash would forget that it happened */
	mm_worker_tx_commit();
	mm_debug_point("after_claim");
	MemoryContextSwitchTo(l->chunk_context);

	l->state.chunk_no = l->chunk ? l->chunk->chunk_no : 0;
	l->state.attempt = l->chunk ? l->chunk->attempt : 0;
	publish(l, GetCurrentTimestamp());
	if (l->chunk == NULL)
		return false;
	l->table = list_nth(l->tables, l->chunk->table_no - 1);
	mm_worker_report("copying %s.%s to %s.%s, chunk %d of %d",
					 l->table->database, l->table->collection,
					 l->table->target_schema, l->table->target_table,
					 l->chunk->chunk_no, l->nchunks);
	return true;
}

/* ---------------------------------------------------------------------
 * Process
 * ---------------------------------------------------------------------
 */

/* Loads the job; false when it is not the one that started this loader. */
static bool
begin_work(Loader *l)
{
	MemoryContext context = AllocSetContextCreate(TopMemoryContext,
												  "mongo_migrate loader",
												  ALLOCSET_DEFAULT_SIZES);
	dsm_segment *segment;

	l->context = context;
	mm_worker_tx_begin();
	MemoryContextSwitchTo(context);
	l->job = mm_catalog_exists() ? mm_job_load(l->args.job_id, false) : NULL;
	if (l->job == NULL || l->job->generation != l->args.generation)
		return false;
	l->tables = mm_job_load_tables(l->args.job_id);
	l->nchunks = mm_chunk_count(l->args.job_id);
	l->shared = mm_shared_attach(l->args.job_id, l->args.shared_handle,
								 &segment);
	if (l->shared == NULL)
		return false;
	dsm_pin_mapping(segment);
	mm_worker_tx_commit();
	MemoryContextSwitchTo(context);

	l->source_context = AllocSetContextCreate(context,
											  "mongo_migrate source",
											  ALLOCSET_DEFAULT_SIZES);
	l->chunk_context = AllocSetContextCreate(context, "mongo_migrate chunk",
											 ALLOCSET_DEFAULT_SIZES);
	l->checkpoint_context = AllocSetContextCreate(context,
												  "mongo_migrate checkpoint",
												  ALLOCSET_DEFAULT_SIZES);
	mm_shared_read_loader(l->shared, l->args.slot, &l->state);
	l->state.pid = MyProcPid;
	l->state.started_at = GetCurrentTimestamp();
	mm_worker_apply_options(l->job);
	return true;
}

/*
 * Rows and position are lost together or not at all, so that a commit need
 * not wait for the disk; the coordinator's last commit waits for all of them.
 */
static void
set_loader_options(void)
{
	SetConfigOption("synchronous_commit", "off", PGC_SUSET, PGC_S_OVERRIDE);
#ifdef USE_LZ4
	SetConfigOption("default_toast_compression", "lz4", PGC_SUSET,
					PGC_S_OVERRIDE);
#endif
}

/*
 * However this process ends, short of a crash: the chunk at work is given
 * back, so that what is found running after a crash was running then; and the
 * server is told what it need not keep.  Neither waits for long.
 */
static void
leave(int code, Datum arg)
{
	Loader	   *l = &loader;

	if (!PostmasterIsAlive())
		return;
	AbortOutOfAnyTransaction();
	if (l->chunk != NULL)
	{
		mm_worker_tx_begin();
		if (mm_catalog_try_lock("chunk"))
			mm_chunk_give_back(l->job->job_id, l->chunk->chunk_no,
							   l->chunk->attempt);
		mm_worker_tx_commit();
	}
	disconnect(l);
}

void
mm_loader_main(Datum arg)
{
	Loader	   *l = &loader;

	l->args = mm_worker_begin();
	mm_source_process_init();
	set_loader_options();
	if (!begin_work(l))
		proc_exit(0);
	before_shmem_exit(leave, (Datum) 0);
	mm_source_set_stop_check(stop_wanted);
	while (!l->failed && !l->stopped && !stop_wanted() && claim_chunk(l))
		work_on_chunk(l);
	if (l->chunk == NULL)
		publish(l, GetCurrentTimestamp());	/* it began, and ends in order */
	disconnect(l);				/* at exit the server would not be told */
	proc_exit(0);
}
