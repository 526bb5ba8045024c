/*-------------------------------------------------------------------------
 *
 * watch.h
 *	  Whether the target still has what was stored in it.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MM_WATCH_H
#define MM_WATCH_H

#include "postgres.h"

#include "job/job.h"

/* The file of a table; InvalidOid when the table is gone. */
extern Oid	mm_watch_file(Oid relid);

/*
 * Has the table another file than when its rows were last seen, or is it gone?
 * No transaction may be open.
 */
extern bool mm_watch_is_new(const MmJobTable *table);

/*
 * Then: raises when it is gone, or rows are missing.  No transaction may be
 * open.  To count may take hours: false when that was given up, since the
 * coordinator has something else to do, or tick() said so, which is called each
 * second, within the transaction.
 */
extern bool mm_watch_count(const MmJob *job, MmJobTable *table, MmPhase phase,
						   bool (*tick) (void));

/*
 * Keeps all others from the table until the end of the transaction, and
 * raises when it has other rows than this job's.  No loader may be at work.
 */
extern void mm_watch_lock_alone(const MmJob *job, const MmJobTable *table);

/* The rows that it has; raises when it is gone.  Within a transaction. */
extern int64 mm_watch_rows(const MmJobTable *table);

/* Raises that the table does not hold the rows that were stored. */
extern void mm_watch_raise_missing(const MmJobTable *table, int64 rows,
								   int64 stored) pg_attribute_noreturn();

/* Does a table with so many rows hold all that were stored? */
static inline bool
mm_watch_is_complete(const MmJobTable *table, int64 rows, int64 stored)
{
	return table->fresh ? rows == stored : rows >= stored;
}

#endif							/* MM_WATCH_H */
