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
	int			invalid_text;	/* these four: MM_INHERIT when not given */
	int			json_form;
	int			uuid;
	int			extra;
	bool		document;		/* layout */
	bool		object_id_bytea;	/* id_type */
	bool		native_arrays;
	int			flatten_depth;
	int64		reject_limit;	/* -1: none */
	int64		chunk_bytes;
	MmSplitMethod split;
	int			max_attempts;
	int			priority;
	int			max_docs_per_second;	/* 0: no limit */
	bool		analyze;
	bool		verify;
	const char *infers;			/* given, and of use without a mapping only */
} MmOptions;

static inline bool
mm_is_one_of(const char *word, const char *const *words, int n)
{
	for (int i = 0; i < n; i++)
		if (strcmp(word, words[i]) == 0)
			return true;
	return false;
}

extern MmOptions mm_options_parse(Jsonb *jsonb);
extern MmInferOptions mm_options_infer(const MmOptions *options);

/* input.c: a connection, a collection and what its documents hold. */
typedef struct MmInput
{
	MmSourceConfig *config;
	MmSource   *source;
	MmCollection *collection;
	char	   *namespace;		/* shop.orders */
} MmInput;

/* Raises when the database is not UTF8. */
extern void mm_input_check_encoding(void);

/*
 * Raises when the source cannot be reached, the collection is missing, or the
 * database is not UTF8.
 */
extern MmInput mm_input_open(const char *source, const char *collection,
							 const MmOptions *options);
extern void mm_input_close(MmInput *input);
/* List of MmInferField *; *documents is set to how many were read. */
extern List *mm_input_infer(MmInput *input, const char *filter,
							const MmOptions *options,
							const MmInferOptions *infer, int64 *documents);

/* call.c: what the functions with a contract share. */
typedef struct MmCall
{
	char	   *source;
	char	   *collection;
	char	   *target;			/* or NULL */
	Jsonb	   *mapping;		/* or NULL */
	char	   *filter;			/* or NULL; with that of the contract */
	char	   *if_exists;
	int			on_error;		/* MmOnError, or MM_INHERIT */
	int			workers;
	MmOptions	options;

	/* made by mm_call_prepare() */
	MmInput		input;
	MmContract *contract;
	List	   *inferred;		/* of MmInferField *; NIL: it was given */
	int64		sampled;		/* documents read; -1: none, it was given */
} MmCall;

/* Raises what is wrong with source, collection and mapping. */
extern void mm_call_prepare(MmCall *call);
/* The field's column must not be null: its policy cannot be set_null then. */
extern void mm_call_require(MmField *field);
extern bool mm_jsonb_has_key(Jsonb *jsonb, const char *key);

extern MmCall mm_arg_call(FunctionCallInfo fcinfo);
extern Jsonb *mm_arg_mapping(FunctionCallInfo fcinfo, int arg);
extern char *mm_arg_string(FunctionCallInfo fcinfo, int arg);
extern char *mm_arg_required(FunctionCallInfo fcinfo, int arg,
							 const char *name);
extern MmOptions mm_arg_options(FunctionCallInfo fcinfo, int arg);
extern char *mm_arg_filter(FunctionCallInfo fcinfo, int arg);
extern char *mm_arg_if_exists(FunctionCallInfo fcinfo, int arg);
extern int	mm_arg_workers(FunctionCallInfo fcinfo, int arg);
extern int	mm_arg_on_error(FunctionCallInfo fcinfo, int arg);
/* 0A000 */
extern void mm_refuse(const char *what) pg_attribute_noreturn();

/* target.c */
typedef struct MmTarget
{
	char	   *schema;
	Oid			schema_oid;
	char	   *table;
	char	   *name;			/* both, quoted where needed */
	Oid			existing;		/* InvalidOid: there is none */
	bool		created;		/* there is none, or it is replaced */
	bool		fresh;			/* the rows of the job will be the only ones */
	const char *sink;
	const char *sink_reason;
} MmTarget;

/*
 * Finds the place of the target and decides what if_exists makes of it;
 * adapts the contract to a table that stays.  lock: keeps other migrations
 * away until the end of the transaction.  Raises messages 14, 15, 17 and 23.
 */
extern MmTarget mm_target_find(const MmCall *call, bool lock);
/* The place alone, whatever is there. */
extern MmTarget mm_target_name(const MmCall *call);
/* How the collection would be cut for this target. */
extern MmSplitRequest mm_target_split_request(const MmTarget *target,
											  const MmCall *call);
/* Raises 0A000 when a table is none that rows can be put into. */
extern void mm_target_check(Relation rel);
/* Creates, truncates or replaces the table; returns its OID. */
extern Oid	mm_target_prepare(const MmTarget *target, const MmCall *call);

/* ddl.c: List of char *, the statements that make the table. */
extern List *mm_ddl_table(const MmTarget *target, const MmCall *call);

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
/* Raises message 30 on a standby. */
extern void mm_pick_check_primary(void);
/* Raises message 23 when an active job loads the table. */
extern void mm_pick_check_free(Oid relid, const char *schema,
							   const char *table);
/*
 * Same for the tables of a job that is to write to them again, when another
 * one has begun to load them meanwhile; locks keep others from doing so until
 * we have committed.  Raises, too, when a later job has loaded a table anew: what
 * this one has stored or left to store is not wanted in there any more.  "what"
 * is for that message.
 */
extern void mm_pick_claim_targets(const MmJob *job, const char *what);

/* format.c: counts in at most six characters, bars. */
extern char *mm_format_count(int64 count);

#endif							/* MM_API_H */
