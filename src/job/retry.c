/*-------------------------------------------------------------------------
 *
 * retry.c
 *	  Waits between attempts.
 *
 * The clock runs from the first failure after the last progress.  The last
 * wait is cut so that the last attempt is made when the time is up, neither
 * before nor much later: an outage shorter than max_retry_time never ends a
 * job.  An attempt that read documents and took longer than that before it
 * failed has met another outage; of such, which may be hours of work each,
 * there are max_attempts.
 *
 * The longest delay is short enough that a job is at work again within 15 s
 * after a server has come back, whenever that is.
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
#define LONGEST_DELAY_MS 8000
/* How soon stop() is asked again. */
#define SLICE_MS 250

bool
mm_retry_is_transient(int sqlstate)
{
	switch (sqlstate)
	{
		case ERRCODE_LOCK_NOT_AVAILABLE:
		case ERRCODE_INSUFFICIENT_RESOURCES:
		case ERRCODE_DISK_FULL:
		case ERRCODE_OUT_OF_MEMORY:
		case ERRCODE_TOO_MANY_CONNECTIONS:
			return true;
		default:
			/* serialization failure, deadlock */
			return ERRCODE_TO_CATEGORY(sqlstate) ==
				ERRCODE_TO_CATEGORY(ERRCODE_T_R_SERIALIZATION_FAILURE);
	}
}

static void
note_failure(const MmRetry *retry, const MmJob *job, MmPhase phase,
			 const MmFailure *failure)
{
	char	   *message = psprintf("%s, next attempt in %d s",
								   failure->message,
								   (retry->delay_ms + 999) / 1000);

	mm_worker_tx_begin();
	mm_job_event(job->job_id, "warning", mm_phase_name(phase), message,
				 failure->detail);
	mm_worker_tx_commit();
}

/* The wait comes first: a disk that is full has no room for the event, too. */
static void
try_note_failure(const MmRetry *retry, const MmJob *job, MmPhase phase,
				 const MmFailure *failure)
{
	MemoryContext old = CurrentMemoryContext;
	MmFailure  *volatile own = NULL;

	PG_TRY();
	{
		note_failure(retry, job, phase, failure);
	}
	PG_CATCH();
	{
		own = mm_worker_catch(old);
	}
	PG_END_TRY();
	MemoryContextSwitchTo(old);
	if (own != NULL && !mm_retry_is_transient(mm_worker_sqlstate(own)))
		mm_worker_raise(own);
}

static void
wait_until(TimestampTz end, bool (*stop) (void))
{
	while (!stop())
	{
		long		left = TimestampDifferenceMilliseconds(GetCurrentTimestamp(),
														   end);

		if (left <= 0)
			break;
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT |
						 WL_EXIT_ON_PM_DEATH, Min(left, SLICE_MS),
						 MM_WAIT_EVENT_RETRY);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
}

/* Has the last attempt lasted so long that this is another outage? */
static bool
is_another(MmRetry *retry, const MmJob *job, TimestampTz now)
{
	return retry->worked &&
		TimestampDifferenceExceeds(retry->waited, now,
								   job->options.max_retry_time_ms) &&
		++retry->outages < job->options.max_attempts;
}

bool
mm_retry_wait(MmRetry *retry, const MmJob *job, MmPhase phase,
			  const MmFailure *failure, bool (*stop) (void))
{
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz last;
	long		left;

	if (retry->since == 0 || is_another(retry, job, now))
	{
		retry->since = now;
		retry->delay_ms = 0;
	}
	retry->failures++;
	last = TimestampTzPlusMilliseconds(retry->since,
									   job->options.max_retry_time_ms);
	left = TimestampDifferenceMilliseconds(now, last);
	if (left <= 0)
		return false;
	retry->delay_ms = retry->delay_ms == 0 ? FIRST_DELAY_MS :
		Min(retry->delay_ms * 2, LONGEST_DELAY_MS);
	retry->delay_ms = Min(retry->delay_ms, left);
	retry->waited = TimestampTzPlusMilliseconds(now, retry->delay_ms);
	retry->worked = false;
	try_note_failure(retry, job, phase, failure);
	wait_until(retry->waited, stop);
	return true;
}

void
mm_retry_progress(MmRetry *retry, const MmJob *job, MmPhase phase)
{
	double		seconds = (double) (GetCurrentTimestamp() - retry->since) /
		USECS_PER_SEC;

	if (retry->since == 0)
		return;
	mm_job_event(job->job_id, "info", mm_phase_name(phase),
				 psprintf("%s again after %d failed attempt%s, %.1f s",
						  mm_phase_name(phase), retry->failures,
						  retry->failures == 1 ? "" : "s", seconds), NULL);
	memset(retry, 0, sizeof(*retry));
}
