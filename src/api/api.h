/*-------------------------------------------------------------------------
 *
 * api.h
 *	  What the SQL functions share.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MM_API_H
#define MM_API_H

#include "postgres.h"

#include "compat.h"
#include "convert/convert.h"
#include "job/job.h"
#include "source/source.h"
#include "utils/jsonb.h"

/* options.c: keys of the options argument, with settings as defaults. */
typedef struct MmOptions
{
	char	   *label;			/* or NULL */
	char	   *database;		/* or NULL */
	char	   *tablespace;		/* or NULL */
	int			sample_size;
	MmNaming	naming;
	MmInvalidText invalid_text;
	int64		reject_limit;	/* -1: none */
	int64		chunk_bytes;
	MmSplitMethod split;
	int			max_attempts;
	bool		analyze;
	bool		verify;
} MmOptions;

extern MmOptions mm_options_parse(Jsonb *jsonb);

/* infer.c: a connection, a collection and what its documents hold. */
typedef struct MmInput
{
	MmSourceConfig *config;
	MmSource   *source;
	MmCollection *collection;
	char	   *namespace;		/* shop.orders */
} MmInput;

/* Raises when the source cannot be reached or the collection is missing. */
extern MmInput mm_input_open(const char *source, const char *collection,
							 const MmOptions *options);
extern void mm_input_close(MmInput *input);
/* List of MmInferField *; *documents is set to how many were read. */
extern List *mm_input_infer(MmInput *input, const char *filter,
							const MmOptions *options, int64 *documents);

/* target.c */
typedef struct MmTarget
{
	char	   *schema;
	Oid			schema_oid;
	char	   *table;
	Oid			existing;		/* InvalidOid: there is none */
} MmTarget;

/*
 * Finds the place of the target, and locks it against other migrations until
 * the end of the transaction.  Raises messages 14, 17 and 23.
 */
extern MmTarget mm_target_find(const char *target, const char *collection,
							   const char *if_exists, MmNaming naming);
/*
 * Creates, truncates, replaces or adapts to the table, as if_exists says, and
 * fills in the table's part of the contract and of the job's row.
 */
extern void mm_target_prepare(const MmTarget *target, const char *if_exists,
							  const char *tablespace, List *fields,
							  MmJobTable *table);

/* pick.c */
typedef enum MmRight
{
	MM_RIGHT_SEE,				/* own jobs, pg_read_all_stats */
	MM_RIGHT_CONTROL,			/* own jobs, pg_signal_backend */
	MM_RIGHT_OWN				/* own jobs */
} MmRight;

/*
 * The job named, else the caller's only active job, else the latest; locked
 * unless it is only seen.  Raises 42704, 42501 and message 27.
 */
extern MmJob *mm_pick_job(bool named, int64 job_id, MmRight right);
extern MmJob *mm_pick_job_arg(FunctionCallInfo fcinfo, int arg,
							  MmRight right);
/* Raises message 23 when an active job loads the table. */
extern void mm_pick_check_free(Oid relid, const char *schema,
							   const char *table);

/* format.c: counts in at most six characters, bars. */
extern char *mm_format_count(int64 count);

#endif							/* MM_API_H */
