/*-------------------------------------------------------------------------
 *
 * steps.h
 *	  The steps of a table around its copy, run by the coordinator.
 *
 * Each runs as the job's owner in transactions of its own, and may be run
 * again after a crash.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MM_STEPS_H
#define MM_STEPS_H

#include "storage/lockdefs.h"

#include "job/job.h"

/*
 * Locks the target until the end of the transaction; returns the name that it
 * has then, qualified and quoted.  Raises 42P01 when it is gone.
 */
extern char *mm_step_lock_target(const MmJobTable *table, LOCKMODE lock);
/* May the role drop the table?  As DROP TABLE asks, before it locks. */
extern bool mm_step_may_drop(Oid relid, Oid role);
/*
 * How to cut a collection; limit: the option chunk_size, fresh: no rows but
 * ours are in the target.
 */
extern MmSplitRequest mm_step_split_request(const MmCollection *collection,
											MmSplitMethod method, int workers,
											int64 limit, bool fresh);
/*
 * Asks the source how to cut the collection and stores the chunks; does
 * nothing when that was done before.  If the split was lost, the table is
 * emptied, and what was read is forgotten, in the same transaction.  Returns
 * false when stop() says so.
 */
extern bool mm_step_plan(const MmJob *job, MmJobTable *table,
						 bool (*stop) (void));
/* The statement that makes the primary key of a table, or NULL. */
extern char *mm_step_key_sql(const char *table, const MmContract *contract,
							 const char *tablespace);
extern void mm_step_index(const MmJob *job, const MmJobTable *table);
extern void mm_step_analyze(const MmJob *job, const MmJobTable *table);
extern void mm_step_verify(const MmJob *job, const MmJobTable *table,
						   const MmCounters *books);
/* Drops the table if this job created it; within a transaction. */
extern void mm_step_drop_target(const MmJob *job);

#endif							/* MM_STEPS_H */
