/*-------------------------------------------------------------------------
 *
 * start.c
 *	  migrate_start(): everything that can fail at once fails here.
 *
 * One transaction, the caller's: check the arguments, connect, infer, create
 * the table, write the rows of the job, register the coordinator.  The
 * coordinator waits for the end of this transaction and finds no job if it
 * was rolled back.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/pg_authid.h"
#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/syscache.h"

#include "api/api.h"
#include "compat.h"
#include "job/catalog.h"
#include "job/worker.h"
#include "settings.h"

/* Collections below this need only one worker. */
#define SMALLEST_CHUNK (8 * 1024 * 1024)

MM_FUNCTION(migrate_start);

/* The arguments of migrate_start(), checked. */
typedef struct StartArgs
{
	char	   *source;
	char	   *collection;
	char	   *target;			/* or NULL */
	char	   *filter;			/* or NULL */
	char	   *if_exists;
	MmOnError	on_error;
	int			workers;
	MmOptions	options;
} StartArgs;

static char *
text_arg(FunctionCallInfo fcinfo, int arg)
{
	return PG_ARGISNULL(arg) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(arg));
}

static char *
required_arg(FunctionCallInfo fcinfo, int arg, const char *name)
{
	if (PG_ARGISNULL(arg))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("argument \"%s\" must not be null", name)));
	return text_arg(fcinfo, arg);
}

static void
refuse(const char *what)
{
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("%s is not supported by this version", what)));
}

static char *
parse_if_exists(char *value)
{
	if (strcmp(value, "upsert") == 0)
		refuse("if_exists => 'upsert'");
	if (strcmp(value, "error") != 0 && strcmp(value, "append") != 0 &&
		strcmp(value, "truncate") != 0 && strcmp(value, "replace") != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid value for if_exists: \"%s\"", value),
				 errhint("Available values: error, append, truncate, replace.")));
	return value;
}

static MmOnError
parse_on_error(const char *value)
{
	MmOnError	result = (MmOnError) mm_on_error;

	if (value == NULL)
		return result;
	if (strcmp(value, "set_default") == 0)
		refuse("on_error => 'set_default'");
	if (!mm_on_error_parse(value, &result))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid value for on_error: \"%s\"", value),
				 errhint("Available values: extra, reject, set_null, stop.")));
	return result;
}

static int
parse_workers(FunctionCallInfo fcinfo, int arg)
{
	int			workers = PG_ARGISNULL(arg) ? mm_max_workers_per_job :
		PG_GETARG_INT32(arg);

	if (workers < 1 || workers > 1000)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("workers must be from 1 to 1000, not %d", workers)));
	return workers;
}

static StartArgs
parse_args(FunctionCallInfo fcinfo)
{
	StartArgs	args;

	args.source = required_arg(fcinfo, 0, "source");
	args.collection = required_arg(fcinfo, 1, "collection");
	args.target = text_arg(fcinfo, 2);
	if (!PG_ARGISNULL(3))
		refuse("mapping");
	args.filter = text_arg(fcinfo, 4);
	if (args.filter != NULL)
		mm_source_check_filter(args.filter);
	args.if_exists = parse_if_exists(required_arg(fcinfo, 5, "if_exists"));
	args.on_error = parse_on_error(text_arg(fcinfo, 6));
	args.workers = parse_workers(fcinfo, 7);
	if (!PG_ARGISNULL(8) && PG_GETARG_BOOL(8))
		refuse("follow");
	args.options = mm_options_parse(PG_ARGISNULL(9) ?
									DatumGetJsonbP(DirectFunctionCall1(jsonb_in,
																	   CStringGetDatum("{}"))) :
									PG_GETARG_JSONB_P(9));
	return args;
}

/* What holds for the server and the role, whatever the arguments. */
static void
check_environment(void)
{
	HeapTuple	tuple;
	bool		can_login;

	if (RecoveryInProgress())
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("cannot run a migration during recovery"),
				 errhint("Connect to the primary server.")));
	PreventCommandIfReadOnly("migrate_start()");
	if (GetDatabaseEncoding() != PG_UTF8)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("the encoding of this database is %s, a migration needs UTF8",
						GetDatabaseEncodingName()),
				 errhint("CREATE DATABASE ... ENCODING 'UTF8' TEMPLATE template0;")));

	tuple = SearchSysCache1(AUTHOID, ObjectIdGetDatum(GetUserId()));
	can_login = HeapTupleIsValid(tuple) &&
		((Form_pg_authid) GETSTRUCT(tuple))->rolcanlogin;
	if (HeapTupleIsValid(tuple))
		ReleaseSysCache(tuple);
	if (MM_WORKER_NEEDS_LOGIN && !can_login)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("role \"%s\" may not log in, and background workers could not run as it",
						GetUserNameFromId(GetUserId(), false)),
				 errhint("ALTER ROLE ... LOGIN, or start the migration as another role.")));
}

static MmContract *
make_contract(const MmInput *input, const StartArgs *args)
{
	MmContract *contract = palloc0(sizeof(MmContract));

	contract->namespace = input->namespace;
	contract->on_error = args->on_error;
	contract->invalid_text = args->options.invalid_text;
	return contract;
}

/* List of MmField * from the lines of inference. */
static List *
fields_of(List *inferred)
{
	List	   *fields = NIL;
	ListCell   *lc;

	foreach(lc, inferred)
	{
		MmInferField *line = lfirst(lc);

		fields = lappend(fields, &line->field);
	}
	return fields;
}

static MmJobOptions
job_options(const MmOptions *options)
{
	return (MmJobOptions) {
		.checkpoint_bytes = (int64) mm_checkpoint_bytes * 1024,
		.chunk_bytes = options->chunk_bytes,
		.checkpoint_interval_ms = mm_checkpoint_interval_ms,
		.connect_timeout_ms = mm_connect_timeout_ms,
		.socket_timeout_ms = mm_socket_timeout_ms,
		.max_retry_time_ms = mm_max_retry_time_ms,
		.progress_interval_ms = mm_progress_interval_ms,
		.maintenance_work_mem = mm_maintenance_work_mem,
		.log_min_messages = mm_log_min_messages,
		.reject_limit = options->reject_limit,
		.max_attempts = options->max_attempts,
		.split = options->split,
		.analyze = options->analyze,
		.verify = options->verify,
		.tablespace = options->tablespace,
	};
}

/* Finds and prepares the table, with the contract that follows from it. */
static MmJobTable *
make_table(MmInput *input, const StartArgs *args)
{
	MmJobTable *table = palloc0(sizeof(MmJobTable));
	MmTarget	target;
	List	   *inferred;
	int64		sampled;

	target = mm_target_find(args->target, input->collection->name,
							args->if_exists, args->options.naming);
	inferred = mm_input_infer(input, args->filter, &args->options, &sampled);
	table->table_no = 1;
	table->database = input->collection->database;
	table->collection = input->collection->name;
	table->filter = args->filter;
	table->if_exists = args->if_exists;
	table->contract = make_contract(input, args);
	table->sink = "heap";
	table->sink_reason = "plain table without triggers, rules or row security";
	table->docs_total = Max(input->collection->documents, 0);
	table->bytes_total = Max(input->collection->bytes, 0);
	mm_target_prepare(&target, args->if_exists, args->options.tablespace,
					  fields_of(inferred), table);
	if (sampled == 0)
		ereport(WARNING,
				(errmsg("collection \"%s\" is empty", input->namespace)));
	return table;
}

/* Message 18. */
static void
warn_of_shortage(int wanted, int64 bytes)
{
	int			used,
				loaders,
				have;

	mm_worker_count(&used, &loaders);
	wanted = Min(wanted, 1 + bytes / SMALLEST_CHUNK);
	/* one slot is for the coordinator that was just registered */
	have = Min(max_worker_processes - used - 1, mm_max_workers - loaders);
	have = Max(have, 0);
	if (have >= wanted)
		return;
	ereport(WARNING,
			(errcode(ERRCODE_INSUFFICIENT_RESOURCES),
			 errmsg_plural("only %d of %d worker could be started",
						   "only %d of %d workers could be started",
						   wanted, have, wanted),
			 errhint("Raise max_worker_processes (now %d, needs a restart) or mongo_migrate.max_workers (now %d).",
					 max_worker_processes, mm_max_workers)));
}

static int64
store_job(const StartArgs *args, const MmInput *input,
		  const MmJobTable *table)
{
	MmJob		job = {
		.label = args->options.label,
		.owner = GetUserId(),
		.source = input->config->shown,
		.workers = args->workers,
		.options = job_options(&args->options),
	};
	int64		job_id;

	job_id = mm_job_insert(&job, input->config->has_password ?
						   input->config->uri : NULL);
	mm_job_insert_table(job_id, table);
	mm_worker_register_coordinator(job_id, job.owner);
	return job_id;
}

static void
tell_caller(int64 job_id, const MmInput *input)
{
	if (input->config->has_password)
		ereport(NOTICE,
				(errmsg("the password in the connection string is kept with job %lld until it is completed or canceled",
						(long long) job_id),
				 errhint("CREATE SERVER and CREATE USER MAPPING keep it out of SQL.")));
	if (IsTransactionBlock())
		ereport(NOTICE,
				(errmsg("migration job %lld will start when this transaction commits",
						(long long) job_id)));
}

Datum
migrate_start(PG_FUNCTION_ARGS)
{
	StartArgs	args;
	MmInput		input;
	MmJobTable *table;
	int64		job_id;

	check_environment();
	args = parse_args(fcinfo);
	input = mm_input_open(args.source, args.collection, &args.options);
	table = make_table(&input, &args);
	mm_input_close(&input);
	job_id = store_job(&args, &input, table);
	warn_of_shortage(args.workers, table->bytes_total);
	tell_caller(job_id, &input);
	PG_RETURN_INT64(job_id);
}
