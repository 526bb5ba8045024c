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
 * the right to read the table.
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

#include "job/catalog.h"
#include "job/watch.h"
#include "job/worker.h"

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

static int64
count_rows(Relation rel)
{
	TableScanDesc scan = table_beginscan(rel, GetActiveSnapshot(), 0, NULL);
	TupleTableSlot *slot = table_slot_create(rel, NULL);
	int64		rows = 0;

	while (table_scan_getnextslot(scan, ForwardScanDirection, slot))
	{
		CHECK_FOR_INTERRUPTS();
		rows++;
	}
	ExecDropSingleTupleTableSlot(slot);
	table_endscan(scan);
	return rows;
}

/*
 * Locks the table, counts its rows and compares them with the books; returns
 * the file they are in.  A table can become a view, up to PostgreSQL 15.
 */
static Oid
compare_rows(const MmJob *job, const MmJobTable *table, LOCKMODE lock)
{
	Relation	rel = try_relation_open(table->relid, lock);
	MmCounters	books;
	Oid			file;
	int64		rows;
	int			open,
				failed;

	if (rel == NULL || rel->rd_rel->relkind != RELKIND_RELATION)
		mm_worker_raise_dropped(table);
	PushActiveSnapshot(GetTransactionSnapshot());
	mm_chunk_totals(job->job_id, &books, &open, &failed);
	rows = count_rows(rel);
	PopActiveSnapshot();
	file = rel->rd_rel->relfilenode;
	relation_close(rel, NoLock);
	if (!mm_watch_is_complete(table, rows, books.rows_inserted))
		mm_watch_raise_missing(table, rows, books.rows_inserted);
	return file;
}

void
mm_watch_lock_alone(const MmJob *job, const MmJobTable *table)
{
	(void) compare_rows(job, table, AccessExclusiveLock);
}

/* Counts rows and books in one snapshot. */
static Oid
count_anew(const MmJob *job, const MmJobTable *table)
{
	Oid			file;

	StartTransactionCommand();
	XactIsoLevel = XACT_REPEATABLE_READ;
	file = compare_rows(job, table, AccessShareLock);
	CommitTransactionCommand();
	return file;
}

void
mm_watch_target(const MmJob *job, MmJobTable *table, MmPhase phase)
{
	MemoryContext context = CurrentMemoryContext;
	Oid			file;

	StartTransactionCommand();
	file = mm_watch_file(table->relid);
	CommitTransactionCommand();
	MemoryContextSwitchTo(context);
	if (file == table->file)
		return;
	file = count_anew(job, table);
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
}
