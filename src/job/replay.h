/*-------------------------------------------------------------------------
 *
 * replay.h
 *	  Dead letters tried again.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MM_REPLAY_H
#define MM_REPLAY_H

#include "postgres.h"

#include "job/job.h"
#include "utils/array.h"

/* How letters are tried, other than their job tried them. */
typedef struct MmReplayHow
{
	MmContract *contract;		/* NULL: the job's */
	int			invalid_text;	/* MmInvalidText, or MM_INHERIT */
} MmReplayHow;

typedef struct MmReplayResult
{
	int64		replayed;
	int64		failed;
} MmReplayResult;

/*
 * Tries the pending letters among error_ids (NULL: all) as the current user,
 * within the current transaction.  The caller holds the lock of the job,
 * which must not be running.
 */
extern MmReplayResult mm_replay(const MmJob *job, ArrayType *error_ids,
								const MmReplayHow *how);

#endif							/* MM_REPLAY_H */
