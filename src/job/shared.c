/*-------------------------------------------------------------------------
 *
 * shared.c
 *	  Counters of a running job in shared memory.
 *
 * The coordinator makes one DSM segment per job and writes its handle into
 * the job's row.  Loaders publish their counters in it; the views attach,
 * copy and detach.  Nothing here is needed for correctness: after a crash
 * the segment is gone, and the next coordinator starts a new one from the
 * books in mongo_migrate.chunk.  Each field's writers, readers and lock are
 * written in shared.h.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "job/shared.h"
#include "miscadmin.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
#include "utils/timestamp.h"

#define SHARED_MAGIC 0x6d6d6a31

static Size
shared_size(int nloaders)
{
	return add_size(offsetof(MmShared, loaders),
					mul_size(nloaders, sizeof(MmSharedLoader)));
}

/*
 * Makes the segment of a job; it lives as long as a process is attached.
 * The mapping is kept until this process ends.
 */
MmShared *
mm_shared_create(int64 job_id, int nloaders, const MmCounters *base,
				 int64 *handle)
{
	dsm_segment *segment = dsm_create(shared_size(nloaders), 0);
	MmShared   *shared = dsm_segment_address(segment);

	dsm_pin_mapping(segment);
	memset(shared, 0, shared_size(nloaders));
	shared->magic = SHARED_MAGIC;
	shared->job_id = job_id;
	shared->nloaders = nloaders;
	shared->base = *base;
	pg_atomic_init_u32(&shared->wanted_loaders, nloaders);
	pg_atomic_init_u32(&shared->max_docs_per_second, 0);
	pg_atomic_init_u64(&shared->reject_limit, (uint64) -1);
	SpinLockInit(&shared->mutex);
	shared->coordinator_pid = MyProcPid;
	shared->updated_at = GetCurrentTimestamp();
	for (int i = 0; i < nloaders; i++)
		SpinLockInit(&shared->loaders[i].mutex);
	*handle = (int64) dsm_segment_handle(segment);
	return shared;
}

MmShared *
mm_shared_attach(int64 job_id, int64 handle, dsm_segment **segment)
{
	MmShared   *shared;
	dsm_segment *own;

	if (handle <= 0 || handle > PG_UINT32_MAX)
		return NULL;
	/* A worker of the job has it, and may be asked in an event trigger. */
	*segment = NULL;
	own = dsm_find_mapping((dsm_handle) handle);
	if (own == NULL)
		*segment = own = dsm_attach((dsm_handle) handle);
	if (own == NULL)
		return NULL;
	shared = dsm_segment_address(own);
	if (dsm_segment_map_length(own) >= sizeof(MmShared) &&
		shared->magic == SHARED_MAGIC && shared->job_id == job_id)
		return shared;
	mm_shared_detach(*segment);
	return NULL;
}

void
mm_shared_detach(dsm_segment *segment)
{
	if (segment != NULL)
		dsm_detach(segment);
}

void
mm_shared_read_loader(MmShared *shared, int slot, MmLoaderState *state)
{
	MmSharedLoader *loader = &shared->loaders[slot];

	SpinLockAcquire(&loader->mutex);
	*state = loader->state;
	SpinLockRelease(&loader->mutex);
}

void
mm_shared_publish_loader(MmShared *shared, int slot,
						 const MmLoaderState *state)
{
	MmSharedLoader *loader = &shared->loaders[slot];

	SpinLockAcquire(&loader->mutex);
	loader->state = *state;
	SpinLockRelease(&loader->mutex);
}

/* The loader of a slot is gone, and with it what it had not committed. */
void
mm_shared_clear_loader(MmShared *shared, int slot)
{
	MmLoaderState state;
	MmCounters	committed;

	mm_shared_read_loader(shared, slot, &state);
	committed = state.committed;
	memset(&state, 0, sizeof(state));
	state.committed = committed;
	mm_shared_publish_loader(shared, slot, &state);
}

void
mm_shared_reset(MmShared *shared, const MmCounters *base)
{
	MmLoaderState nobody = {0};

	for (int i = 0; i < shared->nloaders; i++)
		mm_shared_publish_loader(shared, i, &nobody);
	SpinLockAcquire(&shared->mutex);
	shared->base = *base;
	SpinLockRelease(&shared->mutex);
}

/* Sums all counters of the job; returns the number of loaders at work. */
int
mm_shared_totals(MmShared *shared, MmCounters *sum)
{
	int			active = 0;

	SpinLockAcquire(&shared->mutex);
	*sum = shared->base;
	SpinLockRelease(&shared->mutex);
	for (int i = 0; i < shared->nloaders; i++)
	{
		MmLoaderState state;

		mm_shared_read_loader(shared, i, &state);
		mm_counters_add(sum, &state.committed);
		mm_counters_add(sum, &state.pending);
		active += state.pid != 0;
	}
	return active;
}

/*
 * Only the coordinator sets them: the rate from now on, 0 for as fast as can
 * be, and the limit of rejects.
 */
void
mm_shared_set_limits(MmShared *shared, const MmJobOptions *options)
{
	TimestampTz now = GetCurrentTimestamp();

	pg_atomic_write_u64(&shared->reject_limit, options->reject_limit);
	if (pg_atomic_read_u32(&shared->max_docs_per_second) ==
		options->max_docs_per_second)
		return;
	SpinLockAcquire(&shared->mutex);
	shared->paced_until = now;
	SpinLockRelease(&shared->mutex);
	pg_atomic_write_u32(&shared->max_docs_per_second,
						options->max_docs_per_second);
}

/*
 * Books documents that were read, and returns the time until which their
 * reader should wait.  All loaders book on one account, so that they share
 * the rate however many they are.  Time in which nothing was read is worth a
 * second at most; a clock that was set back is no reason to wait for it (only
 * that: a loader with the rest of a reply may owe minutes).
 */
TimestampTz
mm_shared_pace(MmShared *shared, uint32 rate, int64 docs)
{
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz due;

	SpinLockAcquire(&shared->mutex);
	due = Max(shared->paced_until, now - USECS_PER_SEC);
	if (now < shared->paced_at - USECS_PER_SEC)
		due = now;
	shared->paced_at = now;
	due += docs * USECS_PER_SEC / rate;
	shared->paced_until = due;
	SpinLockRelease(&shared->mutex);
	return due;
}

/*
 * Adds a sample, at most one a second, and returns documents a second over
 * the window; 0 until two samples are there.
 */
double
mm_rate_update(MmRate *rate, TimestampTz now, int64 docs)
{
	int			last = (rate->n + MM_RATE_SAMPLES - 1) % MM_RATE_SAMPLES;
	int			first;
	double		seconds;

	if (rate->n == 0 || now - rate->at[last] >= USECS_PER_SEC)
	{
		last = rate->n % MM_RATE_SAMPLES;
		rate->at[last] = now;
		rate->docs[last] = docs;
		rate->n++;
	}
	first = rate->n > MM_RATE_SAMPLES ? rate->n % MM_RATE_SAMPLES : 0;
	seconds = (double) (now - rate->at[first]) / USECS_PER_SEC;
	if (seconds < 0.5)
		return 0;
	return Max(0, docs - rate->docs[first]) / seconds;
}
