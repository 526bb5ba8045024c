/*-------------------------------------------------------------------------
 *
 * chunk_rows.c
 *	  The tables chunk and conflict: the books of a job.
 *
 * pending -> running -> done
 *            running -> pending   (the attempt failed, others are left)
 *            running -> failed    (none left, or it makes no sense)
 *            failed  -> pending   (migrate_retry)
 *
 * All durable.  A loader commits "running" with the next attempt number
 * before it touches a chunk, so that a crash is countable.  Every checkpoint
 * first locks the row and checks that the attempt is still its own: the
 * number is the fence that keeps a loader which was given up for dead from
 * committing behind its successor's back.  An attempt that made a checkpoint
 * no longer counts against max_attempts, nor does one that was stopped from
 * outside (attempts_excused).
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "job/catalog.h"
#include "utils/builtins.h"

/*
 * Gives all chunks of a job back that are running although no loader is
 * there.  excuse: their loaders were stopped and did not crash.
 */
void
mm_chunk_reset_orphans(int64 job_id, bool excuse)
{
	MmArgs		args = {0};

	mm_arg_int8(&args, job_id);
	mm_arg_int4(&args, excuse ? 1 : 0);
	mm_catalog_execute("UPDATE mongo_migrate.chunk SET state = 'pending',"
					   " attempts_excused = attempts_excused + $2"
					   " WHERE job_id = $1 AND state = 'running'", &args);
}

/*
 * Gives back a chunk whose loader leaves, or has left, without a crash.  Does
 * nothing when somebody else did, and never waits for a lock on the row:
 * processes that end come here.
 */
void
mm_chunk_give_back(int64 job_id, int chunk_no, int attempt)
{
	MmArgs		args = {0};

	mm_arg_int8(&args, job_id);
	mm_arg_int4(&args, chunk_no);
	mm_arg_int4(&args, attempt);
	mm_catalog_execute("WITH mine AS MATERIALIZED ("
					   "SELECT table_no, chunk_no FROM mongo_migrate.chunk"
					   " WHERE job_id = $1 AND chunk_no = $2"
					   " AND attempts = $3 AND state = 'running'"
					   " FOR UPDATE SKIP LOCKED)"
					   " UPDATE mongo_migrate.chunk c SET state = 'pending',"
					   " attempts_excused = attempts_excused + 1"
					   " FROM mine WHERE c.job_id = $1"
					   " AND c.table_no = mine.table_no"
					   " AND c.chunk_no = mine.chunk_no", &args);
}

/* Sums of the books; open: chunks pending or running. */
void
mm_chunk_totals(int64 job_id, MmCounters *sum, int *open, int *failed)
{
	MmArgs		args = {0};
	MmCatalogScope scope;

	mm_arg_int8(&args, job_id);
	mm_catalog_begin(&scope);
	mm_catalog_query("SELECT sum(docs_read)::bigint,"
					 " sum(rows_inserted)::bigint, sum(rows_updated)::bigint,"
					 " sum(docs_rejected)::bigint, sum(docs_filtered)::bigint,"
					 " sum(values_diverted)::bigint, sum(bytes_read)::bigint,"
					 " count(*) FILTER (WHERE state IN"
					 " ('pending', 'running'))::integer,"
					 " count(*) FILTER (WHERE state = 'failed')::integer"
					 " FROM mongo_migrate.chunk WHERE job_id = $1", &args);
	sum->docs_read = mm_row_int8(0, 1);
	sum->rows_inserted = mm_row_int8(0, 2);
	sum->rows_updated = mm_row_int8(0, 3);
	sum->docs_rejected = mm_row_int8(0, 4);
	sum->docs_filtered = mm_row_int8(0, 5);
	sum->values_diverted = mm_row_int8(0, 6);
	sum->bytes_read = mm_row_int8(0, 7);
	*open = mm_row_int4(0, 8);
	*failed = mm_row_int4(0, 9);
	mm_catalog_end(&scope);
}

int
mm_chunk_count(int64 job_id)
{
	MmArgs		args = {0};
	MmCatalogScope scope;
	int			count;

	mm_arg_int8(&args, job_id);
	mm_catalog_begin(&scope);
	mm_catalog_query("SELECT count(*)::integer FROM mongo_migrate.chunk"
					 " WHERE job_id = $1", &args);
	count = mm_row_int4(0, 1);
	mm_catalog_end(&scope);
	return count;
}

/*
 * Takes the next pending chunk; NULL when there is none.  The caller commits
 * before it works on the chunk.
 */
MmChunk *
mm_chunk_claim(int64 job_id, int max_attempts)
{
	MmArgs		args = {0};
	MmCatalogScope scope;
	MmChunk    *chunk = palloc0(sizeof(MmChunk));
	uint64		rows;

	mm_arg_int8(&args, job_id);
	mm_arg_int4(&args, max_attempts);
	mm_catalog_begin(&scope);
	/* MATERIALIZED: a subquery that is scanned twice would claim twice */
	rows = mm_catalog_query("WITH next AS MATERIALIZED ("
							"SELECT table_no, chunk_no"
							" FROM mongo_migrate.chunk WHERE job_id = $1"
							" AND state = 'pending'"
							" ORDER BY table_no, chunk_no LIMIT 1"
							" FOR UPDATE SKIP LOCKED)"
							" UPDATE mongo_migrate.chunk c"
							" SET state = 'running', attempts = attempts + 1"
							" FROM next WHERE c.job_id = $1"
							" AND c.table_no = next.table_no"
							" AND c.chunk_no = next.chunk_no"
							" RETURNING c.table_no, c.chunk_no,"
							" c.lower_bound, c.upper_bound, c.attempts,"
							" c.attempts - c.attempts_excused - $2", &args);
	if (rows > 1)
		elog(ERROR, "claimed %llu chunks at once", (unsigned long long) rows);
	if (rows == 1)
	{
		chunk->table_no = mm_row_int4(0, 1);
		chunk->chunk_no = mm_row_int4(0, 2);
		chunk->bounds.lower = mm_row_bytea(&scope, 0, 3);
		chunk->bounds.upper = mm_row_bytea(&scope, 0, 4);
		chunk->attempt = mm_row_int4(0, 5);
		chunk->last_attempt = mm_row_int4(0, 6) >= 0;
		chunk->exhausted = mm_row_int4(0, 6) > 0;
	}
	mm_catalog_end(&scope);
	return rows == 1 ? chunk : NULL;
}

static void
add_chunk_key(MmArgs *args, int64 job_id, const MmChunk *chunk)
{
	mm_arg_int8(args, job_id);
	mm_arg_int4(args, chunk->table_no);
	mm_arg_int4(args, chunk->chunk_no);
	mm_arg_int4(args, chunk->attempt);
}

#define CHUNK_KEY \
	" WHERE job_id = $1 AND table_no = $2 AND chunk_no = $3" \
	" AND attempts = $4 AND state = 'running'"

/*
 * Locks the chunk until the end of the transaction; reads its committed
 * position, and on_error of its table, which migrate_alter() may have changed
 * since.  Returns false when the attempt is not the chunk's latest any more:
 * the caller must leave it alone.
 */
bool
mm_chunk_lock(int64 job_id, MmChunk *chunk)
{
	MmArgs		args = {0};
	MmCatalogScope scope;
	bool		ours;

	add_chunk_key(&args, job_id, chunk);
	mm_catalog_begin(&scope);
	ours = mm_catalog_query("SELECT c.\"position\", t.mapping->>'on_error'"
							" FROM mongo_migrate.chunk c"
							" JOIN mongo_migrate.job_table t"
							" USING (job_id, table_no)" CHUNK_KEY
							" FOR UPDATE OF c", &args) == 1;
	if (ours)
	{
		chunk->position = mm_row_bytea(&scope, 0, 1);
		if (!mm_on_error_parse(mm_row_text(&scope, 0, 2), &chunk->on_error))
			elog(ERROR, "unrecognized on_error");
	}
	mm_catalog_end(&scope);
	return ours;
}

/* Sums two arrays by element; either may be null, or shorter. */
#define ADD_FIELD_VALUES(parameter) \
	" field_values = (SELECT array_agg(COALESCE(v.have, 0)" \
	" + COALESCE(v.more, 0) ORDER BY v.i)" \
	" FROM unnest(field_values, " parameter ") WITH ORDINALITY" \
	" AS v (have, more, i))"

/* One line per path and types; only we write the lines of this chunk. */
static void
add_conflict(int64 job_id, const MmChunk *chunk, const MmConflict *line)
{
	MmArgs		args = {0};

	mm_arg_int8(&args, job_id);
	mm_arg_int4(&args, chunk->table_no);
	mm_arg_int4(&args, chunk->chunk_no);
	mm_arg_text(&args, line->path);
	mm_arg_text(&args, line->column);
	mm_arg_text(&args, line->column_type);
	mm_arg_text(&args, line->bson_type);
	mm_arg_text(&args, line->action);
	mm_arg_int8(&args, line->documents);
	mm_arg_text(&args, line->first_id);
	mm_catalog_execute("MERGE INTO mongo_migrate.conflict c"
					   " USING (SELECT $1 AS job_id) n"
					   " ON c.job_id = n.job_id AND c.table_no = $2"
					   " AND c.chunk_no = $3 AND c.path = $4"
					   " AND c.column_name IS NOT DISTINCT FROM $5"
					   " AND c.column_type IS NOT DISTINCT FROM $6"
					   " AND c.bson_type = $7 AND c.action = $8"
					   " WHEN MATCHED THEN UPDATE SET"
					   " documents = c.documents + $9"
					   " WHEN NOT MATCHED THEN INSERT (job_id, table_no,"
					   " chunk_no, path, column_name, column_type, bson_type,"
					   " action, documents, first_id) VALUES ($1, $2, $3, $4,"
					   " $5, $6, $7, $8, $9, $10)", &args);
}

static void
add_conflicts(int64 job_id, const MmChunk *chunk, const MmTally *tally)
{
	for (int i = 0; i < tally->nconflicts; i++)
		add_conflict(job_id, chunk, &tally->conflicts[i]);
}

static void
arg_field_values(MmArgs *args, const MmTally *tally)
{
	mm_arg_int8_array(args, tally->fields[0].n, tally->nfields * MM_FATES);
}

/*
 * Adds what this transaction did to the books of the chunk.  The caller
 * holds the chunk's lock and has written the rows and dead letters in the
 * same transaction.
 */
void
mm_chunk_checkpoint(int64 job_id, const MmChunk *chunk,
					const MmCounters *delta, const MmTally *tally,
					bytea *position, bool done)
{
	MmArgs		args = {0};

	add_chunk_key(&args, job_id, chunk);
	mm_arg_int8(&args, delta->docs_read);
	mm_arg_int8(&args, delta->rows_inserted);
	mm_arg_int8(&args, delta->rows_updated);
	mm_arg_int8(&args, delta->docs_rejected);
	mm_arg_int8(&args, delta->docs_filtered);
	mm_arg_int8(&args, delta->values_diverted);
	mm_arg_int8(&args, delta->bytes_read);
	mm_arg_bytea(&args, position);
	mm_arg_bool(&args, done);
	arg_field_values(&args, tally);
	if (mm_catalog_execute("UPDATE mongo_migrate.chunk SET"
						   " docs_read = docs_read + $5,"
						   " rows_inserted = rows_inserted + $6,"
						   " rows_updated = rows_updated + $7,"
						   " docs_rejected = docs_rejected + $8,"
						   " docs_filtered = docs_filtered + $9,"
						   " values_diverted = values_diverted + $10,"
						   " bytes_read = bytes_read + $11,"
						   ADD_FIELD_VALUES("$14") ","
						   " \"position\" = COALESCE($12, \"position\"),"
						   " attempts_excused = attempts,"
						   " state = CASE WHEN $13 THEN 'done'"
						   " ELSE 'running' END" CHUNK_KEY, &args) != 1)
		elog(ERROR, "chunk %d of job %lld is not locked", chunk->chunk_no,
			 (long long) job_id);
	add_conflicts(job_id, chunk, tally);
}

/*
 * Moves documents that were rejected to the rows, after a replay of dead
 * letters.  The caller holds the lock of the job, which does not run.
 */
void
mm_chunk_replay(int64 job_id, const MmChunk *chunk, const MmCounters *delta,
				const MmTally *tally)
{
	MmArgs		args = {0};

	mm_arg_int8(&args, job_id);
	mm_arg_int4(&args, chunk->table_no);
	mm_arg_int4(&args, chunk->chunk_no);
	mm_arg_int8(&args, delta->rows_inserted);
	mm_arg_int8(&args, delta->values_diverted);
	arg_field_values(&args, tally);
	mm_catalog_execute("UPDATE mongo_migrate.chunk SET"
					   " rows_inserted = rows_inserted + $4,"
					   " docs_rejected = docs_rejected - $4,"
					   " values_diverted = values_diverted + $5,"
					   ADD_FIELD_VALUES("$6")
					   " WHERE job_id = $1 AND table_no = $2"
					   " AND chunk_no = $3", &args);
	add_conflicts(job_id, chunk, tally);
}

/*
 * Raises unless the books of a job that has copied everything close: each
 * document read is a row or a dead letter that is there.  The first is a
 * constraint of the table, too; this is the last look before "completed".
 */
void
mm_chunk_check_books(int64 job_id)
{
	MmArgs		args = {0};
	MmCatalogScope scope;
	MmCounters	sum;
	int64		letters;
	int			open,
				failed;

	mm_chunk_totals(job_id, &sum, &open, &failed);
	mm_arg_int8(&args, job_id);
	mm_catalog_begin(&scope);
	mm_catalog_query("SELECT count(*) FROM mongo_migrate.dead_letter"
					 " WHERE job_id = $1 AND status <> 'replayed'", &args);
	letters = mm_row_int8(0, 1);
	mm_catalog_end(&scope);
	if (open == 0 && failed == 0 && sum.docs_rejected == letters &&
		sum.docs_read == sum.rows_inserted + sum.rows_updated +
		sum.docs_rejected + sum.docs_filtered)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_DATA_CORRUPTED),
			 errmsg("the books of migration job %lld do not close",
					(long long) job_id),
			 errdetail("Of %lld documents read, %lld were inserted, %lld updated, %lld rejected and %lld filtered; there are %lld dead letters and %d chunks that are not done.",
					   (long long) sum.docs_read,
					   (long long) sum.rows_inserted,
					   (long long) sum.rows_updated,
					   (long long) sum.docs_rejected,
					   (long long) sum.docs_filtered, (long long) letters,
					   open + failed),
			 errhint("The tables of schema mongo_migrate were changed by others: load again with if_exists => 'truncate'.")));
}

/*
 * Ends an attempt that failed: back to pending, or failed for good when no
 * attempt is left or another would fail in the same way.  Does nothing when
 * the attempt is not the latest any more.
 */
void
mm_chunk_fail(int64 job_id, const MmChunk *chunk, bool permanent,
			  const MmFailure *failure)
{
	MmArgs		args = {0};

	add_chunk_key(&args, job_id, chunk);
	mm_arg_bool(&args, permanent || chunk->last_attempt);
	mm_arg_text(&args, failure->sqlstate);
	mm_arg_text(&args, failure->message);
	mm_arg_text(&args, failure->detail);
	mm_arg_text(&args, failure->hint);
	mm_arg_text(&args, failure->context);
	mm_catalog_execute("UPDATE mongo_migrate.chunk SET"
					   " state = CASE WHEN $5 THEN 'failed'"
					   " ELSE 'pending' END,"
					   " sqlstate = $6, message = $7, detail = $8,"
					   " hint = $9, context = $10" CHUNK_KEY, &args);
}

/* Chunks that failed may be tried again, as often as from the beginning. */
void
mm_chunk_retry(int64 job_id)
{
	MmArgs		args = {0};

	mm_arg_int8(&args, job_id);
	mm_catalog_execute("UPDATE mongo_migrate.chunk SET state = 'pending',"
					   " attempts_excused = attempts, sqlstate = NULL,"
					   " message = NULL, detail = NULL, hint = NULL,"
					   " context = NULL"
					   " WHERE job_id = $1 AND state = 'failed'", &args);
}

/* Why the first failed chunk failed; false when none did. */
bool
mm_chunk_failure(int64 job_id, MmFailure *failure)
{
	MmArgs		args = {0};
	MmCatalogScope scope;
	bool		found;

	mm_arg_int8(&args, job_id);
	mm_catalog_begin(&scope);
	found = mm_catalog_query("SELECT sqlstate, message, detail, hint, context"
							 " FROM mongo_migrate.chunk WHERE job_id = $1"
							 " AND state = 'failed'"
							 " ORDER BY table_no, chunk_no LIMIT 1",
							 &args) == 1;
	if (found)
	{
		failure->sqlstate = mm_row_text(&scope, 0, 1);
		failure->message = mm_row_text(&scope, 0, 2);
		failure->detail = mm_row_text(&scope, 0, 3);
		failure->hint = mm_row_text(&scope, 0, 4);
		failure->context = mm_row_text(&scope, 0, 5);
	}
	mm_catalog_end(&scope);
	return found;
}
