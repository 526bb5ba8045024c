/*-------------------------------------------------------------------------
 *
 * crew.h
 *	  The loaders of one job, started, seen off and stopped by its coordinator.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MM_CREW_H
#define MM_CREW_H

#include "postgres.h"

#include "postmaster/bgworker.h"

#include "job/shared.h"
#include "job/worker.h"

/* In the memory of the coordinator, which has one at most. */
typedef struct MmCrew
{
	MmShared   *shared;
	MmWorkerArgs args;			/* of a loader, but for its slot */
	MemoryContext context;
	BackgroundWorkerHandle **loaders;	/* by slot; NULL: none */
	TimestampTz next_start;		/* after one that failed, or had no slot */
	int			unborn;			/* attempts in a row whose loaders ended before
								 * they began */
	TimestampTz unborn_since;	/* the first of them */
	TimestampTz unborn_last;
	TimestampTz unborn_until;	/* end of the pause behind it */
} MmCrew;

/*
 * Makes the shared memory for up to nloaders of the job, with its books so
 * far.  The crew lives in the current memory context; when this process
 * exits, so do its loaders.
 */
extern MmCrew *mm_crew_create(const MmWorkerArgs *args, int nloaders,
							  const MmCounters *books);

extern int	mm_crew_count(const MmCrew *crew);

/* Those that are at work, not just started. */
extern int	mm_crew_count_begun(const MmCrew *crew);

/*
 * Starts loaders, up to want in all, in the slots below it, but no more than
 * allowed new ones.  False: not tried, as an earlier failure is too near.
 */
extern bool mm_crew_start(MmCrew *crew, int want, int allowed);

/*
 * Takes the slots back whose loaders have ended, and their chunks.  Needs to
 * be outside a transaction, as the next.
 */
extern void mm_crew_reap(MmCrew *crew);

/* Has one ended that was not reaped yet?  Needs no transaction. */
extern bool mm_crew_has_ended(const MmCrew *crew);

/*
 * Has all loaders leave at their next batch, and waits for it.  Those that
 * are started later leave at once, until mm_crew_limit().
 */
extern void mm_crew_stop(MmCrew *crew);

/*
 * Loaders whose slot is not among the first n leave at their next batch; the
 * others may be started, also those that just could not.
 */
extern void mm_crew_limit(MmCrew *crew, int n);

#endif							/* MM_CREW_H */
