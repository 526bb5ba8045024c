/*-------------------------------------------------------------------------
 *
 * shared.h
 *	  Counters of a running job in shared memory, and how many loaders it may
 *	  have.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MM_SHARED_H
#define MM_SHARED_H

#include "postgres.h"

#include "job/job.h"
#include "port/atomics.h"
#include "storage/dsm.h"
#include "storage/spin.h"

#define MM_LAST_ID_LEN 104

/* What a loader publishes. */
typedef struct MmLoaderState
{
	int			pid;			/* 0: no loader in this slot */
	int			chunk_no;
	int			attempt;
	MmCounters	committed;		/* by all loaders of this slot */
	MmCounters	pending;		/* in the transaction that is open */
	double		rate;			/* documents a second, over 30 s */
	TimestampTz started_at;
	TimestampTz updated_at;
	char		last_id[MM_LAST_ID_LEN];	/* of the last batch */
} MmLoaderState;

typedef struct MmSharedLoader
{
	slock_t		mutex;
	/*
	 * Written by the loader of the slot; by the coordinator while the slot
	 * has none.  Read by anybody.  Under mutex.
	 */
	MmLoaderState state;
} MmSharedLoader;

typedef struct MmShared
{
	uint32		magic;			/* these three: written before the handle is */
	int			nloaders;		/* published, then constant; read freely */
	int64		job_id;
	/* Loaders wanted: one whose slot is not below this leaves; 0: all do.
	 * Written by the coordinator, read by loaders; atomic. */
	pg_atomic_uint32 wanted_loaders;
	/* Documents a second of all loaders together, 0: no limit.  Written by the
	 * coordinator, read by loaders; atomic. */
	pg_atomic_uint32 max_docs_per_second;
	/* Rejects behind which a loader commits, so that the coordinator sees them;
	 * (uint64) -1: it need not.  Written by the coordinator, read by loaders;
	 * atomic. */
	pg_atomic_uint64 reject_limit;
	slock_t		mutex;			/* for the fields that follow */
	MmCounters	base;			/* books when the segment was made or reset;
								 * written by the coordinator, read by all */
	TimestampTz paced_until;	/* when the documents read so far were due at
								 * that rate; written and read by loaders, set
								 * back by the coordinator with the rate */
	TimestampTz paced_at;		/* when they were last booked; by loaders */
	double		rate;			/* written by the coordinator, read by all */
	int			coordinator_pid;	/* same */
	TimestampTz updated_at;		/* same */
	MmSharedLoader loaders[FLEXIBLE_ARRAY_MEMBER];
} MmShared;

/* Documents a second over the last 30 s; in the memory of its process. */
#define MM_RATE_SAMPLES 31

typedef struct MmRate
{
	int			n;				/* samples taken so far */
	TimestampTz at[MM_RATE_SAMPLES];
	int64		docs[MM_RATE_SAMPLES];
} MmRate;

extern double mm_rate_update(MmRate *rate, TimestampTz now, int64 docs);

extern MmShared *mm_shared_create(int64 job_id, int nloaders,
								  const MmCounters *base, int64 *handle);
/*
 * NULL when there is no such segment, or it is not of this job.  *segment is to
 * be detached by the next function; NULL when this process had it already.
 */
extern MmShared *mm_shared_attach(int64 job_id, int64 handle,
								  dsm_segment **segment);
extern void mm_shared_detach(dsm_segment *segment);
extern void mm_shared_read_loader(MmShared *shared, int slot,
								  MmLoaderState *state);
extern void mm_shared_publish_loader(MmShared *shared, int slot,
									 const MmLoaderState *state);
extern void mm_shared_clear_loader(MmShared *shared, int slot);
/* All counters back to these, while no loader is there. */
extern void mm_shared_reset(MmShared *shared, const MmCounters *base);
extern int	mm_shared_totals(MmShared *shared, MmCounters *sum);
extern void mm_shared_set_limits(MmShared *shared,
								 const MmJobOptions *options);
extern TimestampTz mm_shared_pace(MmShared *shared, uint32 rate, int64 docs);

#endif							/* MM_SHARED_H */
