/*-------------------------------------------------------------------------
 *
 * job.h
 *	  What a job is: the rows of our tables as structs.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MM_JOB_H
#define MM_JOB_H

#include "postgres.h"

#include "convert/convert.h"
#include "source/source.h"
#include "utils/timestamp.h"

/*
 * queued -> running -> completed
 *           running -> pausing -> paused -> queued (migrate_resume)
 *           queued -> paused; pausing -> running (resumed before it was)
 *           any of these -> canceling -> canceled
 *           running -> failed -> queued (migrate_retry)
 *
 * All of these are durable (mongo_migrate.job.state).  Sessions write queued,
 * pausing, canceling, running for a pause that is taken back, and paused and
 * the final states of a job that has no coordinator; the coordinator writes
 * the others, and fails jobs in the queue that cannot have one.  Whoever
 * changes the state holds the lock on the job's row.
 */
typedef enum MmJobState
{
	MM_JOB_QUEUED,
	MM_JOB_RUNNING,
	MM_JOB_PAUSING,
	MM_JOB_PAUSED,
	MM_JOB_CANCELING,
	MM_JOB_CANCELED,
	MM_JOB_COMPLETED,
	MM_JOB_FAILED
} MmJobState;

typedef enum MmPhase
{
	MM_PHASE_PLANNING,
	MM_PHASE_COPYING,
	MM_PHASE_INDEXING,
	MM_PHASE_ANALYZING,
	MM_PHASE_VERIFYING
} MmPhase;

/* The books: bigint columns of mongo_migrate.chunk, in this order. */
typedef struct MmCounters
{
	int64		docs_read;
	int64		rows_inserted;
	int64		rows_updated;
	int64		docs_rejected;
	int64		docs_filtered;
	int64		values_diverted;
	int64		bytes_read;
} MmCounters;

static inline void
mm_counters_add(MmCounters *sum, const MmCounters *other)
{
	sum->docs_read += other->docs_read;
	sum->rows_inserted += other->rows_inserted;
	sum->rows_updated += other->rows_updated;
	sum->docs_rejected += other->docs_rejected;
	sum->docs_filtered += other->docs_filtered;
	sum->values_diverted += other->values_diverted;
	sum->bytes_read += other->bytes_read;
}

/* Why a job, or an attempt at a chunk, failed.  NULL: not given. */
typedef struct MmFailure
{
	char	   *sqlstate;		/* five characters; NULL: no failure */
	char	   *message;
	char	   *detail;
	char	   *hint;
	char	   *context;
} MmFailure;

/*
 * job.options: settings and options as they were when the job started, or as
 * migrate_alter() has set them since.
 */
typedef struct MmJobOptions
{
	int64		checkpoint_bytes;
	int64		chunk_bytes;
	int			checkpoint_interval_ms;
	int			connect_timeout_ms;
	int			socket_timeout_ms;
	int			max_retry_time_ms;
	int			progress_interval_ms;
	int			maintenance_work_mem;	/* kB; -1: the server's */
	int			log_min_messages;		/* elevel */
	int64		reject_limit;	/* -1: none */
	int			max_docs_per_second;	/* all loaders together; 0: no limit */
	int			max_attempts;
	int			priority;		/* in the queue, the highest first */
	MmSplitMethod split;
	bool		analyze;
	bool		verify;
	char	   *tablespace;		/* of the primary key too; or NULL */
} MmJobOptions;

typedef struct MmJob
{
	int64		job_id;
	char	   *label;			/* or NULL */
	Oid			owner;
	char	   *source;			/* masked */
	MmJobState	state;
	int			workers;
	bool		drop_target;
	int			generation;
	int64		shared_handle;	/* 0: none */
	MmJobOptions options;
	MmFailure	failure;
} MmJob;

typedef struct MmJobTable
{
	int			table_no;
	char	   *database;
	char	   *collection;
	char	   *filter;			/* or NULL */
	Oid			relid;
	bool		foreign;		/* found by its name: the job comes from another
								 * cluster or database */
	Oid			file;			/* relfilenode in which the rows were last seen */
	char	   *target_schema;
	char	   *target_table;
	char	   *if_exists;
	bool		created;
	bool		fresh;
	MmContract *contract;
	MmPhase		phase;
	MmSplitMethod split;		/* MM_SPLIT_AUTO: not yet planned */
	bytea	   *pin;			/* of the split, or NULL */
	char	   *split_lost;		/* why it is void, or NULL */
	int			restarts;		/* copies thrown away for that */
	char	   *sink;
	char	   *sink_reason;
	int64		docs_total;
	int64		bytes_total;
} MmJobTable;

typedef struct MmChunk
{
	int			table_no;
	int			chunk_no;
	MmBounds	bounds;
	bytea	   *position;		/* or NULL */
	MmOnError	on_error;		/* of the mapping, as it is now */
	int			attempt;		/* number of this attempt, the fence */
	bool		last_attempt;	/* max_attempts leaves no other */
	bool		exhausted;		/* every attempt ended in a crash */
} MmChunk;

#endif							/* MM_JOB_H */
