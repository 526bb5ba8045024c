/*-------------------------------------------------------------------------
 *
 * batch.h
 *	  Documents on their way from the stream into the sink.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MM_BATCH_H
#define MM_BATCH_H

#include "postgres.h"

#include "job/job.h"
#include "sink/sink.h"

typedef struct MmBatch MmBatch;

/*
 * Opens the table and prepares a batch for one checkpoint transaction.
 * careful: refused rows become dead letters one by one.  Documents are
 * counted in *books, except bytes_read.  Lives in the current context.
 */
extern MmBatch *mm_batch_begin(const MmJob *job, const MmJobTable *table,
							   const MmChunk *chunk, bool careful,
							   MmCounters *books);
/*
 * Adds a document; returns true when that made the batch full and it was
 * stored.  The bytes need not live longer than the call.
 */
extern bool mm_batch_add(MmBatch *batch, const uint8 *doc, uint32 len);
/* Stores what is buffered and closes the table. */
extern void mm_batch_end(MmBatch *batch);

/* May another attempt in careful mode get past this error? */
extern bool mm_batch_is_row_error(int sqlstate);

#endif							/* MM_BATCH_H */
