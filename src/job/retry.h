/*-------------------------------------------------------------------------
 *
 * retry.h
 *	  Patience with transient errors: 1, 2, 4, 8, 8 … seconds, until
 *	  max_retry_time has passed without progress.  (An attempt that worked for
 *	  longer than that begins anew: retry.c.)
 *
 *-------------------------------------------------------------------------
 */
#ifndef MM_RETRY_H
#define MM_RETRY_H

#include "postgres.h"

#include "job/job.h"
#include "utils/timestamp.h"

typedef struct MmRetry
{
	TimestampTz since;			/* first failure after progress; 0: none */
	int			failures;		/* since then */
	int			delay_ms;		/* of the last wait; 0: none yet */
	TimestampTz waited;			/* until when it lasts */
	bool		worked;			/* the attempt behind it has read */
	int			outages;		/* before this one, since then */
} MmRetry;

/* Errors of the target, or of our own tables, that pass by themselves. */
extern bool mm_retry_is_transient(int sqlstate);

/*
 * Notes the failure as an event and waits.  Returns false, without waiting,
 * when the time is up; true at once when stop() says so.  No transaction may
 * be open.
 */
extern bool mm_retry_wait(MmRetry *retry, const MmJob *job, MmPhase phase,
						  const MmFailure *failure, bool (*stop) (void));

/*
 * Something was done: patience begins anew.  After failures that is an event,
 * for which a transaction must be open.
 */
extern void mm_retry_progress(MmRetry *retry, const MmJob *job,
							  MmPhase phase);

#endif							/* MM_RETRY_H */
