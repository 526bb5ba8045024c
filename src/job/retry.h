/*-------------------------------------------------------------------------
 *
 * retry.h
 *	  Patience with transient errors: 1, 2, 4, 8, 16, 16 … seconds, until
 *	  max_retry_time has passed without progress.
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
	int			delay_ms;		/* of the last wait; 0: none yet */
} MmRetry;

static inline void
mm_retry_progress(MmRetry *retry)
{
	retry->since = 0;
	retry->delay_ms = 0;
}

/*
 * Notes the failure as an event and waits.  Returns false, without waiting,
 * when the time is up; true at once when stop() says so.  No transaction may
 * be open.
 */
extern bool mm_retry_wait(MmRetry *retry, const MmJob *job, MmPhase phase,
						  const MmFailure *failure, bool (*stop) (void));

#endif							/* MM_RETRY_H */
