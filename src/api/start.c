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

#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_am_d.h"
#include "catalog/pg_authid.h"
#include "commands/defrem.h"
#include "commands/tablespace.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "api/api.h"
#include "compat.h"
#include "job/catalog.h"
#include "job/queue.h"
#include "job/watch.h"
#include "job/worker.h"
#include "settings.h"

/* Collections below this need only one worker. */
#define SMALLEST_CHUNK (8 * 1024 * 1024)

MM_FUNCTION(migrate_start);

static MmCall
parse_args(FunctionCallInfo fcinfo)
{
	MmCall		call = mm_arg_call(fcinfo);

	call.mapping = mm_arg_mapping(fcinfo, 3);
	call.filter = mm_arg_filter(fcinfo, 4);
	call.if_exists = mm_arg_if_exists(fcinfo, 5);
	call.on_error = mm_arg_on_error(fcinfo, 6);
	call.workers = mm_arg_workers(fcinfo, 7);
	if (!PG_ARGISNULL(8) && PG_GETARG_BOOL(8))
		mm_refuse("follow");
	call.options = mm_arg_options(fcinfo, 9);
	return call;
}

/* What holds for the server and the role, whatever the arguments. */
static void
check_environment(void)
{
	HeapTuple	tuple;
	bool		can_login;

	mm_pick_check_primary();
	PreventCommandIfReadOnly("migrate_start()");
	mm_input_check_encoding();

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

/*
 * Where CREATE TABLE of this session puts the table; the key is built by a
 * worker with settings of its own.
 */
static char *
default_tablespace_name(void)
{
	return get_tablespace_name(GetDefaultTablespace(RELPERSISTENCE_PERMANENT,
													false));
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
		.priority = options->priority,
		.max_docs_per_second = options->max_docs_per_second,
		.split = options->split,
		.analyze = options->analyze,
		.verify = options->verify,
		.tablespace = options->tablespace ? options->tablespace :
			default_tablespace_name(),
	};
}

/* What is wrong with the contract and the table shows here, not in a worker. */
static void
check_plan(Oid relid, const MmContract *contract)
{
	Relation	rel = table_open(relid, AccessShareLock);
	ListCell   *lc;

	mm_target_check(rel);		/* one that was made may be like no other */
	(void) mm_plan_create(contract, RelationGetDescr(rel), false);
	if (list_length(contract->key_columns) > INDEX_MAX_KEYS)
		ereport(ERROR,
				(errcode(ERRCODE_TOO_MANY_COLUMNS),
				 errmsg("a primary key cannot have more than %d columns",
						INDEX_MAX_KEYS)));
	foreach(lc, contract->key_columns)
	{
		Oid			type = get_atttype(relid, get_attnum(relid, lfirst(lc)));
		Oid			element = get_base_element_type(type);

		if (!OidIsValid(GetDefaultOpClass(OidIsValid(element) ? element : type,
										  BTREE_AM_OID)))
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_OBJECT),
					 errmsg("column \"%s\" cannot be part of a primary key",
							(char *) lfirst(lc)),
					 errdetail("Type %s has no order.",
							   format_type_be(type))));
	}
	table_close(rel, NoLock);
}

/* A way of splitting that cannot be had is refused here, not in a worker. */
static void
check_split(const MmCall *call, const MmTarget *target)
{
	MmSource   *source = call->input.source;
	MmSplitRequest request = mm_target_split_request(target, call);
	MmSourceError error = {0};

	if (request.method != MM_SPLIT_AUTO &&
		!source->ops->check_split(source, call->input.collection,
								  call->filter, &request, &error))
		mm_source_raise(&error);
}

#define ESTIMATE_MS 5000

/* For the eyes of people only: what cannot be estimated is 0, not known. */
static int64
estimate_documents(const MmCall *call)
{
	const MmCollection *collection = call->input.collection;
	MmSource   *source = call->input.source;
	MmSourceError error = {0};
	int64		documents = Max(collection->documents, 0);

	if (call->filter == NULL || documents == 0)
		return documents;
	return source->ops->estimate(source, collection, call->filter,
								 ESTIMATE_MS, &documents,
								 &error) ? documents : 0;
}

/* Prepares the table, with the row of it. */
static MmJobTable *
make_table(MmCall *call)
{
	MmJobTable *table = palloc0(sizeof(MmJobTable));
	MmTarget	target = mm_target_find(call, true);
	const MmCollection *collection = call->input.collection;

	check_split(call, &target);
	table->table_no = 1;
	table->database = collection->database;
	table->collection = collection->name;
	table->filter = call->filter;
	table->if_exists = call->if_exists;
	table->contract = call->contract;
	table->target_schema = target.schema;
	table->target_table = target.table;
	table->created = target.created;
	table->fresh = target.fresh;
	table->sink = pstrdup(target.sink);
	table->sink_reason = pstrdup(target.sink_reason);
	table->docs_total = estimate_documents(call);
	table->bytes_total = Max(collection->bytes, 0);
	table->relid = mm_target_prepare(&target, call);
	CommandCounterIncrement();
	table->file = mm_watch_file(table->relid);
	check_plan(table->relid, table->contract);
	if (call->sampled == 0)
		ereport(WARNING,
				(call->filter ?
				 errmsg("no document of \"%s\" matches the filter",
						call->input.namespace) :
				 errmsg("collection \"%s\" is empty",
						call->input.namespace)));
	return table;
}

/* Message 18; the workers are those before the job has one. */
static void
warn_of_shortage(MmWorkerCount count, int wanted, int64 bytes)
{
	int			have;

	wanted = Min(wanted, 1 + bytes / SMALLEST_CHUNK);
	/* One slot is for the coordinator, and one is left to the next job. */
	have = max_worker_processes - count.used - 1;
	have = Max(have - 1, Min(have, 1));
	have = Max(Min(have, mm_max_workers - count.loaders), 0);
	if (have >= wanted || mm_queue_is_full())
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
store_job(const MmCall *call, const MmJobTable *table)
{
	const MmSourceConfig *config = call->input.config;
	MmJob		job = {
		.label = call->options.label,
		.owner = GetUserId(),
		.source = config->shown,
		.workers = call->workers,
		.options = job_options(&call->options),
	};
	int64		job_id;

	job_id = mm_job_insert(&job, config->has_password ? config->uri : NULL);
	mm_job_insert_table(job_id, table);
	mm_queue_enter(job_id, job.owner);
	return job_id;
}

static void
tell_caller(int64 job_id, const MmCall *call)
{
	if (call->input.config->has_password)
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
	MmCall		call;
	MmJobTable *table;
	MmWorkerCount count;
	int64		job_id;

	check_environment();
	call = parse_args(fcinfo);
	mm_call_prepare(&call);
	table = make_table(&call);
	mm_input_close(&call.input);
	count = mm_worker_count();
	job_id = store_job(&call, table);
	warn_of_shortage(count, call.workers, table->bytes_total);
	tell_caller(job_id, &call);
	PG_RETURN_INT64(job_id);
}
