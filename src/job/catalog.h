/*-------------------------------------------------------------------------
 *
 * catalog.h
 *	  Access to the tables of schema mongo_migrate.
 *
 * Every function here needs a transaction with an active snapshot, runs its
 * queries as the extension's owner with a fixed search_path, and returns
 * results in the memory context that is current at the call.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MM_CATALOG_H
#define MM_CATALOG_H

#include "postgres.h"

#include "fmgr.h"
#include "job/job.h"
#include "utils/array.h"

/* Parameters of a query, $1 first. */
#define MM_MAX_ARGS 24

typedef struct MmArgs
{
	int			n;
	Oid			types[MM_MAX_ARGS];
	Datum		values[MM_MAX_ARGS];
	char		nulls[MM_MAX_ARGS];
} MmArgs;

extern void mm_arg_int8(MmArgs *args, int64 value);
extern void mm_arg_int4(MmArgs *args, int32 value);
extern void mm_arg_oid(MmArgs *args, Oid value);
extern void mm_arg_bool(MmArgs *args, bool value);
extern void mm_arg_text(MmArgs *args, const char *value);	/* NULL: null */
extern void mm_arg_bytea(MmArgs *args, const bytea *value); /* NULL: null */
extern void mm_arg_jsonb(MmArgs *args, Jsonb *value);
extern void mm_arg_int8_array(MmArgs *args, const int64 *values, int n);
extern void mm_arg_array(MmArgs *args, ArrayType *value);	/* bigint[]; NULL:
															 * null */

/*
 * A scope in which queries run as the extension's owner, inside SPI.  Never
 * run anything in it that users can define.
 */
typedef struct MmCatalogScope
{
	Oid			save_userid;
	int			save_sec_context;
	int			guc_level;
	MemoryContext caller;
} MmCatalogScope;

/*
 * For workers: everything here raises "does not exist" once the extension is
 * another one than this, also when it was created again meanwhile.
 */
extern void mm_catalog_expect(Oid extension);
/* Is it there?  Needs a transaction only. */
extern bool mm_catalog_exists(void);
/*
 * For processes that end: is our table there, and may be written to without
 * waiting for anybody's lock on it?  Locked, then.
 */
extern bool mm_catalog_try_lock(const char *table);
/*
 * Does somebody who may drop it wait for the lock on it that our transaction
 * holds?  Looks once a second at most.
 */
extern bool mm_catalog_is_wanted(void);
/* Its OID, which is the class of our advisory locks; raises 42704. */
extern Oid	mm_catalog_extension(void);
extern void mm_catalog_begin(MmCatalogScope *scope);
extern void mm_catalog_end(MmCatalogScope *scope);
extern uint64 mm_catalog_query(const char *sql, const MmArgs *args);
/* Same, read only, with the latest snapshot also under REPEATABLE READ. */
extern uint64 mm_catalog_query_latest(const char *sql, const MmArgs *args);
extern uint64 mm_catalog_execute(const char *sql, const MmArgs *args);

/* Columns of the result of the last query in the scope, counted from 1. */
extern int64 mm_row_int8(uint64 row, int column);	/* null: 0 */
extern int32 mm_row_int4(uint64 row, int column);
extern bool mm_row_bool(uint64 row, int column);
extern Oid	mm_row_oid(uint64 row, int column);
extern char *mm_row_text(MmCatalogScope *scope, uint64 row, int column);
extern bytea *mm_row_bytea(MmCatalogScope *scope, uint64 row, int column);
extern Jsonb *mm_row_jsonb(MmCatalogScope *scope, uint64 row, int column);

/* Runs a query in a scope and returns its rows from an SQL function. */
extern Datum mm_catalog_return(FunctionCallInfo fcinfo, const char *sql,
							   const MmArgs *args);

/* Runs one statement as the current user, outside of any scope. */
extern void mm_sql_run(const char *sql);

/* job_rows.c */
extern const char *mm_state_name(MmJobState state);
extern MmJobState mm_state_parse(const char *name);
extern bool mm_state_is_final(MmJobState state);
extern const char *mm_phase_name(MmPhase phase);

/*
 * The job, or NULL when there is none.  lock: FOR UPDATE, until the end of
 * the transaction.
 */
extern MmJob *mm_job_load(int64 job_id, bool lock);
extern List *mm_job_load_tables(int64 job_id);
/*
 * The contract of a table as it is now; its row is locked against others who
 * want to change it until the end of the transaction.
 */
extern MmContract *mm_job_lock_contract(int64 job_id, int table_no);
extern void mm_job_set_contract(int64 job_id, int table_no,
								const MmContract *contract);
extern int64 mm_job_insert(const MmJob *job, const char *secret_uri);
extern void mm_job_insert_table(int64 job_id, const MmJobTable *table);
/*
 * Writes the state; final states get finished_at and lose their secret
 * (except failed, which migrate_retry needs).
 */
extern void mm_job_set_state(int64 job_id, MmJobState state,
							 const MmFailure *failure);
/*
 * Returns the generation.  first: of this process, so that one before it that
 * did not end in order has crashed; *crashes then counts it, but for those
 * while copying.
 */
extern int	mm_job_begin_running(int64 job_id, int64 shared_handle, bool first,
								 int *crashes);
/* Did a coordinator of the job not end in order, while not copying? */
extern bool mm_job_has_crashed(int64 job_id);
/* The time of a phase is not known, as its coordinator is gone. */
extern void mm_job_forget_clock(int64 job_id);
/* The coordinator of this generation ends in order, whatever the state is. */
extern void mm_job_rest(int64 job_id, int generation);
extern void mm_job_set_drop_target(int64 job_id, bool drop_target);
extern void mm_job_forget(int64 job_id);
extern void mm_job_expire(int seconds);
extern void mm_job_alter(const MmJob *job);
extern void mm_job_set_index_memory(int64 job_id, int memory);
extern void mm_job_set_on_error(int64 job_id, MmOnError on_error);
/* Enters the phase, or stays in it; the clock of another one is stopped. */
extern void mm_job_set_phase(int64 job_id, int table_no, MmPhase phase);
/*
 * Stores the plan of a table.  attempts: the number behind which attempts at
 * its chunks are counted.
 */
extern void mm_job_set_split(int64 job_id, int table_no, const MmSplit *split,
							 int attempts);
/* With so many restarts, no split is tried that can be lost. */
#define MM_MAX_RESTARTS 3
/*
 * Notes that the chunks of a table are void.  for_good: such a split is not
 * to be tried again.
 */
extern void mm_job_lose_split(int64 job_id, int table_no, const char *reason,
							  bool for_good);
/* Why the chunks of a table of the job are void, or NULL. */
extern char *mm_job_split_lost(int64 job_id);
/* The table that a job of another origin was found to have is its own now. */
extern void mm_job_claim_table(int64 job_id, const MmJobTable *table);
extern void mm_job_set_file(int64 job_id, int table_no, Oid file);
/*
 * Forgets all that was read for a table; its rows are the caller's business.
 * Returns the greatest number of an attempt: that of the next must be greater,
 * or it would not fence off loaders of old.
 */
extern int	mm_job_begin_again(int64 job_id, int table_no);
/* Message 34 when more than 10 % are rejected, else NULL. */
extern char *mm_job_rejects_message(const char *database,
									const char *collection,
									const MmCounters *books);
/* True the first time only. */
extern bool mm_job_tell_rejects(int64 job_id, int table_no);
/* What was counted when verified, in the source and in the target. */
extern void mm_job_set_verify_count(int64 job_id, int table_no,
									int64 count);
extern void mm_job_set_verify_rows(int64 job_id, int table_no, int64 rows);
extern char *mm_job_secret(int64 job_id);
extern void mm_job_event(int64 job_id, const char *severity,
						 const char *phase, const char *message,
						 const char *detail);
/* The active job that loads this table, or 0. */
extern int64 mm_job_of_relation(Oid relid);
/*
 * The first job after this one that loaded the same table, or 0.  anew: that
 * emptied it, or found it empty and loaded the same collection.
 */
extern int64 mm_job_after(Oid relid, int64 job_id, bool anew);
/*
 * Keeps other sessions from starting or retrying a job on a table of this
 * name until the end of the transaction; it need not exist.
 */
extern void mm_job_lock_target(Oid schema, const char *table);
/* List of the jobs that have begun and not ended, as int64 *. */
extern List *mm_job_list_begun(void);
/* The queued job whose turn is next; false: none is queued. */
extern bool mm_job_next_queued(int64 *job_id, Oid *owner);
/* Process id of the coordinator that holds the job's lock, or 0. */
extern int	mm_job_coordinator_pid(int64 job_id);

/* chunk_rows.c */
extern void mm_chunk_reset_orphans(int64 job_id, bool excuse);
extern void mm_chunk_give_back(int64 job_id, int chunk_no, int attempt);
extern void mm_chunk_totals(int64 job_id, MmCounters *sum, int *open,
							int *failed);
extern int	mm_chunk_count(int64 job_id);
extern MmChunk *mm_chunk_claim(int64 job_id, int max_attempts);
extern bool mm_chunk_lock(int64 job_id, MmChunk *chunk);
extern void mm_chunk_checkpoint(int64 job_id, const MmChunk *chunk,
								const MmCounters *delta,
								const MmTally *tally, bytea *position,
								bool done);
extern void mm_chunk_replay(int64 job_id, const MmChunk *chunk,
							const MmCounters *delta, const MmTally *tally);
extern void mm_chunk_check_books(int64 job_id);
extern void mm_chunk_retry(int64 job_id);
extern void mm_chunk_fail(int64 job_id, const MmChunk *chunk, bool permanent,
						  const MmFailure *failure);
extern bool mm_chunk_failure(int64 job_id, MmFailure *failure);

/* letter_rows.c */
extern void mm_letter_insert(int64 job_id, const MmChunk *chunk,
							 const uint8 *doc, uint32 len,
							 const MmReject *why);
extern int64 mm_letter_count_pending(int64 job_id);
/*
 * A sentence about the most frequent reason; NULL when there is no letter.
 * *view: where more is to be seen.
 */
extern char *mm_letter_worst(int64 job_id, const char **view);
/* Raises message 19; reason: of mm_letter_worst(); what: is to be done. */
extern void mm_letter_raise_limit(int64 job_id, int64 rejected, int64 limit,
								  const char *reason,
								  const char *what) pg_attribute_noreturn();
/* Raises 42704 for a number that is none of the job's (0: of any job's). */
extern void mm_letter_check(int64 job_id, ArrayType *error_ids);
/* List of the jobs of these letters, as int64 *. */
extern List *mm_letter_jobs(ArrayType *error_ids);
extern int64 mm_letter_discard(int64 job_id, ArrayType *error_ids,
							   const char *reason);

/* A letter that is being replayed. */
typedef struct MmLetter
{
	int64		error_id;
	int			table_no;
	int			chunk_no;
	bool		failed;			/* again, and this is why: */
	MmReject	why;
} MmLetter;

/*
 * List of the job's pending letters among these numbers (NULL: all of them)
 * by table and chunk, locked until the end of the transaction.
 */
extern List *mm_letter_lock_pending(int64 job_id, ArrayType *error_ids);
extern bytea *mm_letter_raw(int64 error_id);
/* Writes what became of letters of one chunk. */
extern void mm_letter_settle(List *letters);

#endif							/* MM_CATALOG_H */
