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

#include "job/job.h"

/*
 * Asks the source how to cut the collection and stores the chunks; does
 * nothing when that was done before.  Returns false when stop() says so.
 */
extern bool mm_step_plan(const MmJob *job, MmJobTable *table,
						 bool (*stop) (void));
extern void mm_step_index(const MmJob *job, const MmJobTable *table);
extern void mm_step_analyze(const MmJob *job, const MmJobTable *table);
extern void mm_step_verify(const MmJob *job, const MmJobTable *table,
						   const MmCounters *books);
/* Drops the table if this job created it; within a transaction. */
extern void mm_step_drop_target(const MmJob *job);

#endif							/* MM_STEPS_H */
