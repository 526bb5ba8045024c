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
 * What becomes of a document that cannot be stored.  item is what came with
 * it.  Called in a context that is reset soon, in careful mode perhaps inside
 * a savepoint that is rolled back, and then again with the same outcome.
 */
typedef void (*MmRejectHandler) (void *arg, void *item, const uint8 *doc,
								 uint32 len, const MmReject *why);

/*
 * Opens the table and prepares a batch for one transaction.  careful: rows
 * that the table refuses are rejected one by one.  Documents are counted in
 * *books, except bytes_read.  Lives in the current context.
 */
extern MmBatch *mm_batch_begin(const MmJob *job, const MmJobTable *table,
							   bool careful, MmCounters *books,
							   MmRejectHandler handler, void *arg);
/*
 * Adds a document; returns true when that made the batch full and it was
 * stored.  The bytes need not live longer than the call; item is for the
 * handler.
 */
extern bool mm_batch_add(MmBatch *batch, const uint8 *doc, uint32 len,
						 void *item);
/* Stores what is buffered and closes the table. */
extern void mm_batch_end(MmBatch *batch);
/* What became of the values; complete after mm_batch_end(). */
extern const MmTally *mm_batch_tally(const MmBatch *batch);

/*
 * May another attempt in careful mode get past this error?  To be asked once
 * for each that was caught.
 */
extern bool mm_batch_may_get_by(const MmContract *contract, int sqlstate);

#endif							/* MM_BATCH_H */
