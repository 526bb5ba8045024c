/*-------------------------------------------------------------------------
 *
 * watch.c
 *	  Whether the target still has what was stored in it.
 *
 * A TRUNCATE fits between two checkpoints of the loaders, which then go on
 * as if nothing had happened; verification would see it hours later, or never
 * if it is switched off.  It gives the table a new file, as do VACUUM FULL,
 * CLUSTER and some ALTER TABLE, which keep the rows.  So the coordinator looks
 * at the file's number (job_table.file), four times a second and when it
 * begins; only when that is another one, the rows are counted and compared
 * with the books.  (Of a failed job that is tried again it is 0: others may
 * have come meanwhile.)
 *
 * Rows and books come from one snapshot, since a checkpoint commits both: no
 * loader needs to stand still.  The snapshot is taken after the table is
 * locked, as not all who write a table anew leave its rows to older ones.
 * The count is a scan of the heap and no query: the job's owner need not have
 * the right to read the table.  Of a large table it takes hours; it is given up
 * when the coordinator has something to do, or somebody waits for its locks,
 * and begun anew behind that.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/relation.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_class.h"
#include "executor/tuptable.h"
#include "miscadmin.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include "job/catalog.h"
#include "job/watch.h"
#include "job/worker.h"

/* While rows are counted; the tests have small tables. */
#ifdef MM_DEBUG_POINTS
#define LOOK_MS				0
#define ROWS_BETWEEN_LOOKS	100
#else
#define LOOK_MS				1000
#define ROWS_BETWEEN_LOOKS	4096
#endif

Oid
mm_watch_file(Oid relid)
{
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relid));
	Oid			file;

	if (!HeapTupleIsValid(tuple))
		return InvalidOid;
	file = ((Form_pg_class) GETSTRUCT(tuple))->relfilenode;
	ReleaseSysCache(tuple);
	return file;
}

void
mm_watch_raise_missing(const MmJobTable *table, int64 rows, int64 stored)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("table \"%s.%s\" holds %lld rows, the migration stored %lld",
					table->target_schema, table->target_table,
					(long long) rows, (long long) stored),
			 errdetail("Rows were added or removed by others while the job was running."),
			 errhint("Load again with if_exists => 'truncate'.")));
}

/* A count that is in nobody's way, or ends. */
typedef struct Count
{
	const MmJob *job;
	Oid			relid;
	bool		(*tick) (void);	/* NULL: it is not to be given up */
	char	   *version;		/* of the job's row when it began */
	int64		reject_limit;	/* -1: none, also behind the copy */
	TimestampTz looked;
} Count;

/* Of the job's row, which pause, alter and others change. */
static char *
read_version(const MmJob *job)
{
	MmCatalogScope scope;
	MmArgs		args = {0};
	char	   *version = NULL;

	mm_arg_int8(&args, job->job_id);
	mm_catalog_begin(&scope);
	if (mm_catalog_query_latest("SELECT xmin::text FROM mongo_migrate.job"
								" WHERE job_id = $1", &args) == 1)
		version = mm_row_text(&scope, 0, 1);
	mm_catalog_end(&scope);
	return version;
}

/*
 * Does the coordinator have anything to look at that it reads elsewhere, or
 * does somebody wait for our lock on the table?  (LockHasWaiters() is for
 * strong locks alone: of one taken by the fast path it knows nothing.)
 */
static bool
has_news(const Count *count)
{
	MmCatalogScope scope;
	MmArgs		args = {0};
	bool		news;

	mm_arg_int8(&args, count->job->job_id);
	mm_arg_text(&args, count->version);
	mm_arg_int8(&args, count->reject_limit);
	mm_arg_oid(&args, count->relid);
	mm_catalog_begin(&scope);
	news = mm_catalog_query_latest("SELECT FROM mongo_migrate.job j"
								   " WHERE j.job_id = $1"
								   " AND j.state = 'running'"
								   " AND j.xmin::text = $2 AND NOT EXISTS"
								   " (SELECT FROM pg_locks l"
								   " WHERE l.locktype = 'relation'"
								   " AND l.relation = $4 AND NOT l.granted"
								   " AND l.database = (SELECT d.oid"
								   " FROM pg_database d"
								   " WHERE d.datname = current_database())"
								   " AND l.mode = 'AccessExclusiveLock')"
								   " AND NOT EXISTS"
								   " (SELECT FROM mongo_migrate.job_table t"
								   " WHERE t.job_id = $1"
								   " AND t.split_lost IS NOT NULL)"
								   " AND NOT EXISTS (SELECT"
								   " FROM mongo_migrate.chunk c"
								   " WHERE c.job_id = $1 HAVING"
								   " bool_or(c.state = 'failed') OR ($3 >= 0"
								   " AND sum(c.docs_rejected) > $3))",
								   &args) != 1;
	mm_catalog_end(&scope);
	return news;
}

static bool
must_end(Count *count)
{
	TimestampTz now = GetCurrentTimestamp();

	if (count->tick == NULL ||
		!TimestampDifferenceExceeds(count->looked, now, LOOK_MS))
		return false;
	count->looked = now;
	return count->tick() || mm_catalog_is_wanted() || has_news(count);
}

/* -1: given up. */
static int64
count_rows(Relation rel, Count *count)
{
	TableScanDesc scan = table_beginscan(rel, GetActiveSnapshot(), 0, NULL);
	TupleTableSlot *slot = table_slot_create(rel, NULL);
	int64		rows = 0;

	while (rows >= 0 &&
		   table_scan_getnextslot(scan, ForwardScanDirection, slot))
	{
		CHECK_FOR_INTERRUPTS();
		rows++;
		if (rows % ROWS_BETWEEN_LOOKS == 0 && must_end(count))
			rows = -1;
	}
	ExecDropSingleTupleTableSlot(slot);
	table_endscan(scan);
	return rows;
}

/*
 * Locks the table, counts its rows and compares them with the books; returns
 * the file they are in, InvalidOid if it was given up.  A table can become a
 * view, up to PostgreSQL 15.
 */
static Oid
compare_rows(const MmJob *job, const MmJobTable *table, LOCKMODE lock,
			 bool (*tick) (void))
{
	Relation	rel = try_relation_open(table->relid, lock);
	MmCounters	books;
	Count		count = {
		.job = job,
		.relid = table->relid,
		.tick = tick,
		.reject_limit = table->phase > MM_PHASE_COPYING ? -1 :
		job->options.reject_limit,
	};
	Oid			file;
	int64		rows;
	int			open,
				failed;

	if (rel == NULL || rel->rd_rel->relkind != RELKIND_RELATION)
		mm_worker_raise_dropped(table);
	PushActiveSnapshot(GetTransactionSnapshot());
	mm_chunk_totals(job->job_id, &books, &open, &failed);
	count.version = read_version(job);
	count.looked = GetCurrentTimestamp();
	rows = count_rows(rel, &count);
	PopActiveSnapshot();
	file = rel->rd_rel->relfilenode;
	relation_close(rel, NoLock);
	if (rows < 0)
		return InvalidOid;
	if (!mm_watch_is_complete(table, rows, books.rows_inserted))
		mm_watch_raise_missing(table, rows, books.rows_inserted);
	return file;
}

void
mm_watch_lock_alone(const MmJob *job, const MmJobTable *table)
{
	(void) compare_rows(job, table, AccessExclusiveLock, NULL);
}

int64
mm_watch_rows(const MmJobTable *table)
{
	Relation	rel = try_relation_open(table->relid, AccessShareLock);
	Count		count = {0};
	int64		rows;

	if (rel == NULL || rel->rd_rel->relkind != RELKIND_RELATION)
		mm_worker_raise_dropped(table);
	PushActiveSnapshot(GetTransactionSnapshot());
	rows = count_rows(rel, &count);
	PopActiveSnapshot();
	relation_close(rel, NoLock);
	return rows;
}

/* Counts rows and books in one snapshot. */
static Oid
count_anew(const MmJob *job, const MmJobTable *table, bool (*tick) (void))
{
	Oid			file;

	StartTransactionCommand();
	XactIsoLevel = XACT_REPEATABLE_READ;
	file = compare_rows(job, table, AccessShareLock, tick);
	CommitTransactionCommand();
	return file;
}

bool
mm_watch_is_new(const MmJobTable *table)
{
	MemoryContext context = CurrentMemoryContext;
	Oid			file;

	StartTransactionCommand();
	file = mm_watch_file(table->relid);
	CommitTransactionCommand();
	MemoryContextSwitchTo(context);
	return file != table->file;
}

bool
mm_watch_count(const MmJob *job, MmJobTable *table, MmPhase phase,
			   bool (*tick) (void))
{
	MemoryContext context = CurrentMemoryContext;
	Oid			file;

	file = count_anew(job, table, tick);
	MemoryContextSwitchTo(context);
	if (!OidIsValid(file))
		return false;
	mm_worker_tx_begin();
	mm_job_set_file(job->job_id, table->table_no, file);
	if (OidIsValid(table->file))
		mm_job_event(job->job_id, "info", mm_phase_name(phase),
					 psprintf("table \"%s.%s\" was written anew by others, all rows are there",
							  table->target_schema, table->target_table),
					 NULL);
	mm_worker_tx_commit();
	MemoryContextSwitchTo(context);
	table->file = file;
	return true;
}
