/*-------------------------------------------------------------------------
 *
 * retry.c
 *	  Waits between attempts.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "pgstat.h"
#include "storage/latch.h"

#include "compat.h"
#include "job/catalog.h"
#include "job/retry.h"
#include "job/worker.h"

#define FIRST_DELAY_MS 1000
#define LONGEST_DELAY_MS 16000

static void
note_failure(const MmRetry *retry, const MmJob *job, MmPhase phase,
			 const MmFailure *failure)
{
	char	   *message = psprintf("%s, next attempt in %d s",
								   failure->message, retry->delay_ms / 1000);

	mm_worker_tx_begin();
	mm_job_event(job->job_id, "warning", mm_phase_name(phase), message,
				 failure->detail);
	mm_worker_tx_commit();
}

bool
mm_retry_wait(MmRetry *retry, const MmJob *job, MmPhase phase,
			  const MmFailure *failure, bool (*stop) (void))
{
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz end;

	if (retry->since == 0)
		retry->since = now;
	else if (TimestampDifferenceExceeds(retry->since, now,
										job->options.max_retry_time_ms))
		return false;
	retry->delay_ms = retry->delay_ms == 0 ? FIRST_DELAY_MS :
		Min(retry->delay_ms * 2, LONGEST_DELAY_MS);
	note_failure(retry, job, phase, failure);

	end = TimestampTzPlusMilliseconds(now, retry->delay_ms);
	while (!stop())
	{
		long		left = TimestampDifferenceMilliseconds(GetCurrentTimestamp(),
														   end);

		if (left <= 0)
			break;
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT |
						 WL_EXIT_ON_PM_DEATH, left, MM_WAIT_EVENT_RETRY);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
	return true;
}
