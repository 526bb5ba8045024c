/*-------------------------------------------------------------------------
 *
 * job_rows.c
 *	  The tables job, job_table, table_phase, event and secret.
 *
 * Who writes what, and under which lock, is said at MmJobState in job.h.
 * Only this file and chunk_rows.c know the columns.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "access/xlog.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "storage/lock.h"
#include "utils/builtins.h"
#include "utils/inval.h"

#include "job/catalog.h"
#include "job/worker.h"

static const char *const state_names[] = {
	[MM_JOB_QUEUED] = "queued",
	[MM_JOB_RUNNING] = "running",
	[MM_JOB_PAUSING] = "pausing",
	[MM_JOB_PAUSED] = "paused",
	[MM_JOB_CANCELING] = "canceling",
	[MM_JOB_CANCELED] = "canceled",
	[MM_JOB_COMPLETED] = "completed",
	[MM_JOB_FAILED] = "failed",
};

static const char *const phase_names[] = {
	[MM_PHASE_PLANNING] = "planning",
	[MM_PHASE_COPYING] = "copying",
	[MM_PHASE_INDEXING] = "indexing",
	[MM_PHASE_ANALYZING] = "analyzing",
	[MM_PHASE_VERIFYING] = "verifying",
};

const char *
mm_state_name(MmJobState state)
{
	return state_names[state];
}

MmJobState
mm_state_parse(const char *name)
{
	for (int i = 0; i < lengthof(state_names); i++)
		if (strcmp(state_names[i], name) == 0)
			return (MmJobState) i;
	elog(ERROR, "unrecognized job state \"%s\"", name);
}

bool
mm_state_is_final(MmJobState state)
{
	return state == MM_JOB_COMPLETED || state == MM_JOB_CANCELED ||
		state == MM_JOB_FAILED;
}

const char *
mm_phase_name(MmPhase phase)
{
	return phase_names[phase];
}

static MmPhase
parse_phase(const char *name)
{
	for (int i = 0; i < lengthof(phase_names); i++)
		if (strcmp(phase_names[i], name) == 0)
			return (MmPhase) i;
	elog(ERROR, "unrecognized phase \"%s\"", name);
}

static void
load_options(MmCatalogScope *scope, int column, MmJobOptions *options)
{
	char	   *split;

	options->checkpoint_bytes = mm_row_int8(0, column++);
	options->chunk_bytes = mm_row_int8(0, column++);
	options->checkpoint_interval_ms = mm_row_int4(0, column++);
	options->connect_timeout_ms = mm_row_int4(0, column++);
	options->socket_timeout_ms = mm_row_int4(0, column++);
	options->max_retry_time_ms = mm_row_int4(0, column++);
	options->progress_interval_ms = mm_row_int4(0, column++);
	options->maintenance_work_mem = mm_row_int4(0, column++);
	options->log_min_messages = mm_row_int4(0, column++);
	options->reject_limit = mm_row_int8(0, column++);
	options->max_docs_per_second = mm_row_int4(0, column++);
	options->max_attempts = mm_row_int4(0, column++);
	options->priority = mm_row_int4(0, column++);
	options->analyze = mm_row_bool(0, column++);
	options->verify = mm_row_bool(0, column++);
	options->tablespace = mm_row_text(scope, 0, column++);
	split = mm_row_text(scope, 0, column++);
	if (split == NULL || !mm_split_method_parse(split, &options->split))
		elog(ERROR, "job %lld has no split method", (long long) mm_row_int8(0, 1));
}

/* The role, whatever cluster the row comes from. */
#define JOB_OWNER "mongo_migrate.job_owner(cluster, owner, owner_name)"

#define JOB_COLUMNS \
	"job_id, label, " JOB_OWNER "," \
	" source, state, workers, drop_target," \
	" generation, shared_handle, sqlstate, message, detail, hint, context," \
	" (options->>'checkpoint_bytes')::bigint," \
	" (options->>'chunk_bytes')::bigint," \
	" (options->>'checkpoint_interval_ms')::integer," \
	" (options->>'connect_timeout_ms')::integer," \
	" (options->>'socket_timeout_ms')::integer," \
	" (options->>'max_retry_time_ms')::integer," \
	" (options->>'progress_interval_ms')::integer," \
	" (options->>'maintenance_work_mem')::integer," \
	" (options->>'log_min_messages')::integer," \
	" (options->>'reject_limit')::bigint," \
	" (options->>'max_docs_per_second')::integer," \
	" (options->>'max_attempts')::integer," \
	" (options->>'priority')::integer," \
	" (options->>'analyze')::boolean," \
	" (options->>'verify')::boolean," \
	" options->>'tablespace'," \
	" options->>'split'"

MmJob *
mm_job_load(int64 job_id, bool lock)
{
	MmJob	   *job = palloc0(sizeof(MmJob));
	MmArgs		args = {0};
	MmCatalogScope scope;
	uint64		rows;

	mm_arg_int8(&args, job_id);
	mm_catalog_begin(&scope);
	rows = mm_catalog_query(lock ?
							"SELECT " JOB_COLUMNS
							" FROM mongo_migrate.job WHERE job_id = $1"
							" FOR UPDATE" :
							"SELECT " JOB_COLUMNS
							" FROM mongo_migrate.job WHERE job_id = $1",
							&args);
	if (rows == 1)
	{
		job->job_id = mm_row_int8(0, 1);
		job->label = mm_row_text(&scope, 0, 2);
		job->owner = mm_row_oid(0, 3);
		job->source = mm_row_text(&scope, 0, 4);
		job->state = mm_state_parse(mm_row_text(&scope, 0, 5));
		job->workers = mm_row_int4(0, 6);
		job->drop_target = mm_row_bool(0, 7);
		job->generation = mm_row_int4(0, 8);
		job->shared_handle = mm_row_int8(0, 9);
		job->failure.sqlstate = mm_row_text(&scope, 0, 10);
		job->failure.message = mm_row_text(&scope, 0, 11);
		job->failure.detail = mm_row_text(&scope, 0, 12);
		job->failure.hint = mm_row_text(&scope, 0, 13);
		job->failure.context = mm_row_text(&scope, 0, 14);
		load_options(&scope, 15, &job->options);
	}
	mm_catalog_end(&scope);
	return rows == 1 ? job : NULL;
}

static MmJobTable *
row_to_table(MmCatalogScope *scope, uint64 row)
{
	MmJobTable *table = palloc0(sizeof(MmJobTable));
	char	   *split;
	Jsonb	   *mapping;

	table->table_no = mm_row_int4(row, 1);
	table->database = mm_row_text(scope, row, 2);
	table->collection = mm_row_text(scope, row, 3);
	table->filter = mm_row_text(scope, row, 4);
	table->relid = mm_row_oid(row, 5);
	table->target_schema = mm_row_text(scope, row, 6);
	table->target_table = mm_row_text(scope, row, 7);
	table->if_exists = mm_row_text(scope, row, 8);
	table->created = mm_row_bool(row, 9);
	table->fresh = mm_row_bool(row, 10);
	mapping = mm_row_jsonb(scope, row, 11);
	table->contract = mm_contract_from_jsonb(mapping);
	table->phase = parse_phase(mm_row_text(scope, row, 12));
	split = mm_row_text(scope, row, 13);
	if (split == NULL)
		table->split = MM_SPLIT_AUTO;
	else if (!mm_split_method_parse(split, &table->split))
		elog(ERROR, "unrecognized split method \"%s\"", split);
	table->sink = mm_row_text(scope, row, 14);
	table->sink_reason = mm_row_text(scope, row, 15);
	table->docs_total = mm_row_int8(row, 16);
	table->bytes_total = mm_row_int8(row, 17);
	table->pin = mm_row_bytea(scope, row, 18);
	table->split_lost = mm_row_text(scope, row, 19);
	table->restarts = mm_row_int4(row, 20);
	table->file = mm_row_oid(row, 21);
	table->foreign = mm_row_bool(row, 22);
	return table;
}

/* OID of the table in the place whose origin() is the parameter. */
#define RELID_IN(parameter) \
	"CASE WHEN origin = " parameter " THEN relid ELSE" \
	" COALESCE(to_regclass(format('%I.%I', target_schema," \
	" target_table))::oid, 0) END"

/*
 * Where an OID means what it says.  A dump that is restored, elsewhere or in
 * place, brings the rows of final jobs with it, and pg_upgrade those of all:
 * there the table is the one of that name.
 */
static char *
origin(void)
{
	return psprintf("%llu/%u/%u", (unsigned long long) GetSystemIdentifier(),
					MyDatabaseId, mm_catalog_extension());
}

/* List of MmJobTable *, by number. */
List *
mm_job_load_tables(int64 job_id)
{
	MmArgs		args = {0};
	MmCatalogScope scope;
	List	   *tables = NIL;
	uint64		rows;

	mm_arg_int8(&args, job_id);
	mm_arg_text(&args, origin());
	mm_catalog_begin(&scope);
	rows = mm_catalog_query("SELECT table_no, database, collection, filter,"
							" " RELID_IN("$2") ","
							" target_schema, target_table, if_exists,"
							" created, fresh, mapping, phase, split, sink,"
							" sink_reason, docs_total, bytes_total,"
							" split_pin, split_lost, restarts, file,"
							" origin <> $2"
							" FROM mongo_migrate.job_table WHERE job_id = $1"
							" ORDER BY table_no", &args);
	for (uint64 i = 0; i < rows; i++)
	{
		MemoryContext old = MemoryContextSwitchTo(scope.caller);

		tables = lappend(tables, row_to_table(&scope, i));
		MemoryContextSwitchTo(old);
	}
	mm_catalog_end(&scope);
	return tables;
}

/* One row on one page: what is stored apart has no row security. */
#define MAX_SECRET	8000

static void
insert_secret(int64 job_id, const char *uri)
{
	MmArgs		args = {0};

	if (strlen(uri) > MAX_SECRET)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("connection string is too long"),
				 errdetail("It has %zu bytes, one with a password can have %d.",
						   strlen(uri), MAX_SECRET),
				 errhint("Make a server and a user mapping of it.")));
	mm_arg_int8(&args, job_id);
	mm_arg_text(&args, uri);
	mm_catalog_query("INSERT INTO mongo_migrate.secret (job_id, uri)"
					 " VALUES ($1, $2)", &args);
}

/* secret_uri: the connection string if it holds a password, else NULL. */
int64
mm_job_insert(const MmJob *job, const char *secret_uri)
{
	const MmJobOptions *options = &job->options;
	MmArgs		args = {0};
	MmCatalogScope scope;
	int64		job_id;

	mm_arg_text(&args, job->label);
	mm_arg_oid(&args, job->owner);
	mm_arg_text(&args, job->source);
	mm_arg_int4(&args, job->workers);
	mm_arg_int8(&args, options->checkpoint_bytes);
	mm_arg_int8(&args, options->chunk_bytes);
	mm_arg_int4(&args, options->checkpoint_interval_ms);
	mm_arg_int4(&args, options->connect_timeout_ms);
	mm_arg_int4(&args, options->socket_timeout_ms);
	mm_arg_int4(&args, options->max_retry_time_ms);
	mm_arg_int4(&args, options->progress_interval_ms);
	mm_arg_int4(&args, options->maintenance_work_mem);
	mm_arg_int4(&args, options->log_min_messages);
	mm_arg_int8(&args, options->reject_limit);
	mm_arg_int4(&args, options->max_attempts);
	mm_arg_bool(&args, options->analyze);
	mm_arg_bool(&args, options->verify);
	mm_arg_text(&args, options->tablespace);
	mm_arg_text(&args, mm_split_method_name(options->split));
	mm_arg_int4(&args, options->max_docs_per_second);
	mm_arg_int4(&args, options->priority);
	mm_arg_int8(&args, (int64) GetSystemIdentifier());

	mm_catalog_begin(&scope);
	mm_catalog_query("INSERT INTO mongo_migrate.job"
					 " (label, cluster, owner, owner_name, source, workers,"
					 " options)"
					 " VALUES ($1, $22, $2, pg_get_userbyid($2), $3, $4,"
					 " jsonb_build_object("
					 "'checkpoint_bytes', $5, 'chunk_bytes', $6,"
					 "'checkpoint_interval_ms', $7, 'connect_timeout_ms', $8,"
					 "'socket_timeout_ms', $9, 'max_retry_time_ms', $10,"
					 "'progress_interval_ms', $11,"
					 "'maintenance_work_mem', $12, 'log_min_messages', $13,"
					 "'reject_limit', $14, 'max_attempts', $15,"
					 "'analyze', $16, 'verify', $17, 'tablespace', $18,"
					 "'split', $19, 'max_docs_per_second', $20,"
					 "'priority', $21))"
					 " RETURNING job_id", &args);
	job_id = mm_row_int8(0, 1);
	if (secret_uri != NULL)
		insert_secret(job_id, secret_uri);
	mm_catalog_end(&scope);
	return job_id;
}

void
mm_job_insert_table(int64 job_id, const MmJobTable *table)
{
	MmArgs		args = {0};

	mm_arg_int8(&args, job_id);
	mm_arg_int4(&args, table->table_no);
	mm_arg_text(&args, table->database);
	mm_arg_text(&args, table->collection);
	mm_arg_text(&args, table->filter);
	mm_arg_oid(&args, table->relid);
	mm_arg_text(&args, table->target_schema);
	mm_arg_text(&args, table->target_table);
	mm_arg_text(&args, table->if_exists);
	mm_arg_bool(&args, table->created);
	mm_arg_bool(&args, table->fresh);
	mm_arg_jsonb(&args, mm_contract_to_jsonb(table->contract));
	mm_arg_text(&args, table->sink);
	mm_arg_text(&args, table->sink_reason);
	mm_arg_int8(&args, table->docs_total);
	mm_arg_int8(&args, table->bytes_total);
	mm_arg_text(&args, origin());
	mm_arg_oid(&args, table->file);
	mm_catalog_execute("INSERT INTO mongo_migrate.job_table"
					   " (job_id, table_no, database, collection, filter,"
					   " relid, target_schema, target_table, if_exists,"
					   " created, fresh, mapping, sink, sink_reason,"
					   " docs_total, bytes_total, origin, file)"
					   " VALUES ($1, $2, $3, $4, $5::json, $6, $7::name,"
					   " $8::name, $9, $10, $11, $12, $13, $14, $15, $16,"
					   " $17, $18)",
					   &args);
}

/*
 * The owner's name as it is now, for a dump; a job of another cluster, which
 * has ended there, belongs to the role of this one by its OID from now on.
 */
static void
adopt(int64 job_id)
{
	MmArgs		args = {0};

	mm_arg_int8(&args, job_id);
	mm_arg_int8(&args, (int64) GetSystemIdentifier());
	mm_catalog_query("UPDATE mongo_migrate.job SET cluster = $2,"
					 " owner = r.oid, owner_name = r.rolname"
					 " FROM pg_roles r WHERE job_id = $1"
					 " AND r.oid = " JOB_OWNER
					 " AND (cluster, owner_name) IS DISTINCT FROM"
					 " ($2, r.rolname)", &args);
}

/* The coordinator before did not end in order, and was not copying. */
#define CRASHED \
	"(j.at_work AND NOT EXISTS (SELECT FROM mongo_migrate.job_table t" \
	" WHERE t.job_id = $1 AND t.phase = 'copying'))"

/* For the phase that a job is in. */
#define STOP_CLOCK \
	"UPDATE mongo_migrate.table_phase" \
	" SET spent = spent + (clock_timestamp() - started_at)," \
	" started_at = NULL" \
	" WHERE job_id = $1 AND started_at IS NOT NULL"

/* A crash has left it: nobody knows when, nor whether the server was down. */
#define FORGET_CLOCK \
	"UPDATE mongo_migrate.table_phase SET started_at = NULL" \
	" WHERE job_id = $1 AND started_at IS NOT NULL"

void
mm_job_forget_clock(int64 job_id)
{
	MmArgs		args = {0};

	mm_arg_int8(&args, job_id);
	mm_catalog_execute(FORGET_CLOCK, &args);
}

bool
mm_job_has_crashed(int64 job_id)
{
	MmArgs		args = {0};

	mm_arg_int8(&args, job_id);
	return mm_catalog_execute("SELECT FROM mongo_migrate.job j"
							  " WHERE j.job_id = $1 AND " CRASHED, &args) == 1;
}

void
mm_job_set_state(int64 job_id, MmJobState state, const MmFailure *failure)
{
	static const MmFailure none = {0};
	const MmFailure *f = failure ? failure : &none;
	MmArgs		args = {0};
	MmCatalogScope scope;

	mm_arg_int8(&args, job_id);
	mm_arg_text(&args, mm_state_name(state));
	mm_arg_bool(&args, mm_state_is_final(state));
	mm_arg_text(&args, f->sqlstate);
	mm_arg_text(&args, f->message);
	mm_arg_text(&args, f->detail);
	mm_arg_text(&args, f->hint);
	mm_arg_text(&args, f->context);

	mm_catalog_begin(&scope);
	adopt(job_id);
	mm_catalog_query("UPDATE mongo_migrate.job SET state = $2,"
					 " finished_at = CASE WHEN $3 THEN"
					 " COALESCE(finished_at, clock_timestamp()) END,"
					 " at_work = at_work AND $2 IN ('running', 'pausing',"
					 " 'canceling'), crashes = CASE WHEN $2 = 'queued' THEN 0"
					 " ELSE crashes END,"
					 " shared_handle = CASE WHEN $2 IN ('running', 'pausing',"
					 " 'canceling') THEN shared_handle END,"
					 " sqlstate = $4, message = $5, detail = $6, hint = $7,"
					 " context = $8 WHERE job_id = $1", &args);
	args.n = 1;
	if (state == MM_JOB_COMPLETED || state == MM_JOB_CANCELED)
		mm_catalog_query("DELETE FROM mongo_migrate.secret"
						 " WHERE job_id = $1", &args);
	if (state != MM_JOB_RUNNING && state != MM_JOB_PAUSING &&
		state != MM_JOB_CANCELING && state != MM_JOB_QUEUED)
		mm_catalog_query(STOP_CLOCK, &args);
	mm_catalog_end(&scope);
}

/* Enters the state running as a new generation. */
int
mm_job_begin_running(int64 job_id, int64 shared_handle, bool first,
					 int *crashes)
{
	MmArgs		args = {0};
	MmCatalogScope scope;
	int			generation;

	mm_arg_int8(&args, job_id);
	mm_arg_int8(&args, shared_handle);
	mm_arg_bool(&args, first);
	mm_catalog_begin(&scope);
	mm_catalog_query("UPDATE mongo_migrate.job j SET state = 'running',"
					 " generation = generation + 1, shared_handle = $2,"
					 " at_work = true,"
					 " crashes = crashes + ($3 AND " CRASHED ")::integer,"
					 " started_at = COALESCE(started_at, clock_timestamp())"
					 " WHERE job_id = $1 RETURNING generation, crashes", &args);
	generation = mm_row_int4(0, 1);
	*crashes = mm_row_int4(0, 2);
	args.n = 1;
	if (first)
		mm_catalog_query(FORGET_CLOCK, &args);
	mm_catalog_end(&scope);
	return generation;
}

void
mm_job_rest(int64 job_id, int generation)
{
	MmArgs		args = {0};
	MmCatalogScope scope;

	mm_arg_int8(&args, job_id);
	mm_arg_int4(&args, generation);
	mm_catalog_begin(&scope);
	/* A process that ends waits for nobody. */
	if (mm_catalog_query("WITH mine AS MATERIALIZED ("
						 "SELECT job_id FROM mongo_migrate.job"
						 " WHERE job_id = $1 AND generation = $2 AND at_work"
						 " FOR UPDATE SKIP LOCKED)"
						 " UPDATE mongo_migrate.job j SET at_work = false"
						 " FROM mine WHERE j.job_id = mine.job_id",
						 &args) == 1)
	{
		args.n = 1;
		mm_catalog_query(STOP_CLOCK, &args);
	}
	mm_catalog_end(&scope);
}

void
mm_job_set_drop_target(int64 job_id, bool drop_target)
{
	MmArgs		args = {0};

	mm_arg_int8(&args, job_id);
	mm_arg_bool(&args, drop_target);
	mm_catalog_execute("UPDATE mongo_migrate.job SET drop_target = $2"
					   " WHERE job_id = $1", &args);
}

/* Everything of the job but its tables; the caller holds the row's lock. */
void
mm_job_forget(int64 job_id)
{
	MmArgs		args = {0};

	mm_arg_int8(&args, job_id);
	mm_catalog_execute("DELETE FROM mongo_migrate.job WHERE job_id = $1",
					   &args);
}

/*
 * Final jobs that ended longer ago than this leave the history, except those
 * with dead letters that wait for a decision: these are documents that are
 * nowhere else.
 */
void
mm_job_expire(int seconds)
{
	MmArgs		args = {0};

	if (seconds < 0)
		return;
	mm_arg_int4(&args, seconds);
	mm_catalog_execute("DELETE FROM mongo_migrate.job WHERE job_id IN ("
					   "SELECT j.job_id FROM mongo_migrate.job j"
					   " WHERE j.state IN ('completed', 'failed', 'canceled')"
					   " AND j.finished_at < clock_timestamp()"
					   " - make_interval(secs => $1)"
					   " AND NOT EXISTS (SELECT"
					   " FROM mongo_migrate.dead_letter d"
					   " WHERE d.job_id = j.job_id AND d.status = 'pending')"
					   " FOR UPDATE OF j SKIP LOCKED)", &args);
}

/* kB, -1: the server's */
void
mm_job_set_index_memory(int64 job_id, int memory)
{
	MmArgs		args = {0};

	mm_arg_int8(&args, job_id);
	mm_arg_int4(&args, memory);
	mm_catalog_execute("UPDATE mongo_migrate.job SET options = options"
					   " || jsonb_build_object('maintenance_work_mem', $2)"
					   " WHERE job_id = $1", &args);
}

/* Writes what migrate_alter() may change; the caller holds the row's lock. */
void
mm_job_alter(const MmJob *job)
{
	MmArgs		args = {0};

	mm_arg_int8(&args, job->job_id);
	mm_arg_int4(&args, job->workers);
	mm_arg_int4(&args, job->options.max_docs_per_second);
	mm_arg_int8(&args, job->options.reject_limit);
	mm_catalog_execute("UPDATE mongo_migrate.job SET workers = $2,"
					   " options = options || jsonb_build_object("
					   "'max_docs_per_second', $3, 'reject_limit', $4)"
					   " WHERE job_id = $1", &args);
}

/* In the contracts of all tables of the job. */
void
mm_job_set_on_error(int64 job_id, MmOnError on_error)
{
	MmArgs		args = {0};

	mm_arg_int8(&args, job_id);
	mm_arg_text(&args, mm_on_error_name(on_error));
	mm_catalog_execute("UPDATE mongo_migrate.job_table SET mapping ="
					   " jsonb_set(mapping, '{on_error}', to_jsonb($2))"
					   " WHERE job_id = $1", &args);
}

void
mm_job_set_phase(int64 job_id, int table_no, MmPhase phase)
{
	MmArgs		args = {0};
	MmCatalogScope scope;
	bool		changes;

	mm_arg_int8(&args, job_id);
	mm_arg_int4(&args, table_no);
	mm_arg_text(&args, mm_phase_name(phase));

	mm_catalog_begin(&scope);
	mm_catalog_query(STOP_CLOCK " AND table_no = $2 AND phase <> $3", &args);
	changes = mm_catalog_query("UPDATE mongo_migrate.job_table SET phase = $3"
							   " WHERE job_id = $1 AND table_no = $2"
							   " AND phase <> $3", &args) == 1;
	mm_catalog_query("INSERT INTO mongo_migrate.table_phase AS p"
					 " (job_id, table_no, phase, started_at)"
					 " VALUES ($1, $2, $3, clock_timestamp())"
					 " ON CONFLICT (job_id, table_no, phase) DO UPDATE"
					 " SET started_at = COALESCE(p.started_at,"
					 " clock_timestamp())", &args);
	args.n = 1;
	if (changes)
		mm_catalog_query("UPDATE mongo_migrate.job SET crashes = 0"
						 " WHERE job_id = $1 AND crashes > 0", &args);
	mm_catalog_end(&scope);
}

void
mm_job_set_split(int64 job_id, int table_no, const MmSplit *split,
				 int attempts)
{
	MmCatalogScope scope;
	MmArgs		args = {0};

	mm_arg_int8(&args, job_id);
	mm_arg_int4(&args, table_no);
	mm_arg_text(&args, mm_split_method_name(split->method));
	mm_arg_text(&args, split->reason);
	mm_arg_bytea(&args, split->pin);
	mm_catalog_begin(&scope);
	mm_catalog_query("UPDATE mongo_migrate.job_table SET split = $3,"
					 " split_reason = $4, split_pin = $5, split_lost = NULL"
					 " WHERE job_id = $1 AND table_no = $2", &args);
	for (int i = 0; i < split->nchunks; i++)
	{
		args.n = 2;
		mm_arg_int4(&args, i + 1);
		mm_arg_bytea(&args, split->chunks[i].lower);
		mm_arg_bytea(&args, split->chunks[i].upper);
		mm_arg_int4(&args, attempts);
		mm_catalog_query("INSERT INTO mongo_migrate.chunk"
						 " (job_id, table_no, chunk_no, lower_bound,"
						 " upper_bound, attempts, attempts_excused)"
						 " VALUES ($1, $2, $3, $4, $5, $6, $6)", &args);
	}
	mm_catalog_end(&scope);
}

void
mm_job_set_file(int64 job_id, int table_no, Oid file)
{
	MmArgs		args = {0};

	mm_arg_int8(&args, job_id);
	mm_arg_int4(&args, table_no);
	mm_arg_oid(&args, file);
	mm_catalog_execute("UPDATE mongo_migrate.job_table SET file = $3"
					   " WHERE job_id = $1 AND table_no = $2", &args);
}

void
mm_job_claim_table(int64 job_id, const MmJobTable *table)
{
	MmArgs		args = {0};

	mm_arg_int8(&args, job_id);
	mm_arg_int4(&args, table->table_no);
	mm_arg_oid(&args, table->relid);
	mm_arg_text(&args, origin());
	mm_catalog_execute("UPDATE mongo_migrate.job_table SET relid = $3,"
					   " origin = $4 WHERE job_id = $1 AND table_no = $2",
					   &args);
}

void
mm_job_lose_split(int64 job_id, int table_no, const char *reason,
				  bool for_good)
{
	MmArgs		args = {0};

	mm_arg_int8(&args, job_id);
	mm_arg_int4(&args, table_no);
	mm_arg_text(&args, reason);
	mm_arg_int4(&args, for_good ? MM_MAX_RESTARTS - 1 : 0);
	mm_catalog_execute("UPDATE mongo_migrate.job_table SET split_lost = $3,"
					   " restarts = greatest(restarts, $4)"
					   " WHERE job_id = $1 AND table_no = $2"
					   " AND split_lost IS NULL", &args);
}

char *
mm_job_split_lost(int64 job_id)
{
	MmArgs		args = {0};
	MmCatalogScope scope;
	char	   *reason = NULL;

	mm_arg_int8(&args, job_id);
	mm_catalog_begin(&scope);
	if (mm_catalog_query("SELECT split_lost FROM mongo_migrate.job_table"
						 " WHERE job_id = $1 AND split_lost IS NOT NULL"
						 " LIMIT 1", &args) == 1)
		reason = mm_row_text(&scope, 0, 1);
	mm_catalog_end(&scope);
	return reason;
}

/* The lines of conflicts go with their chunks. */
int
mm_job_begin_again(int64 job_id, int table_no)
{
	MmArgs		args = {0};
	MmCatalogScope scope;
	int			attempts;

	mm_arg_int8(&args, job_id);
	mm_arg_int4(&args, table_no);
	mm_catalog_begin(&scope);
	mm_catalog_query("SELECT COALESCE(max(attempts), 0)"
					 " FROM mongo_migrate.chunk"
					 " WHERE job_id = $1 AND table_no = $2", &args);
	attempts = mm_row_int4(0, 1);
	mm_catalog_query("DELETE FROM mongo_migrate.chunk"
					 " WHERE job_id = $1 AND table_no = $2", &args);
	mm_catalog_query("DELETE FROM mongo_migrate.dead_letter"
					 " WHERE job_id = $1 AND table_no = $2", &args);
	mm_catalog_query("UPDATE mongo_migrate.job_table"
					 " SET restarts = restarts + 1, rejects_told = false"
					 " WHERE job_id = $1 AND table_no = $2", &args);
	mm_catalog_end(&scope);
	return attempts;
}

MmContract *
mm_job_lock_contract(int64 job_id, int table_no)
{
	MmArgs		args = {0};
	MmCatalogScope scope;
	Jsonb	   *mapping;

	mm_arg_int8(&args, job_id);
	mm_arg_int4(&args, table_no);
	mm_catalog_begin(&scope);
	if (mm_catalog_query("SELECT mapping FROM mongo_migrate.job_table"
						 " WHERE job_id = $1 AND table_no = $2"
						 " FOR NO KEY UPDATE", &args) != 1)
		elog(ERROR, "table %d of job %lld is gone", table_no,
			 (long long) job_id);
	mapping = mm_row_jsonb(&scope, 0, 1);
	mm_catalog_end(&scope);
	return mm_contract_from_jsonb(mapping);
}

void
mm_job_set_contract(int64 job_id, int table_no, const MmContract *contract)
{
	MmArgs		args = {0};

	mm_arg_int8(&args, job_id);
	mm_arg_int4(&args, table_no);
	mm_arg_jsonb(&args, mm_contract_to_jsonb(contract));
	mm_catalog_execute("UPDATE mongo_migrate.job_table SET mapping = $3"
					   " WHERE job_id = $1 AND table_no = $2", &args);
}

char *
mm_job_rejects_message(const char *database, const char *collection,
					   const MmCounters *books)
{
	if (books->docs_rejected <= books->docs_read / 10)
		return NULL;
	return psprintf("%.1f %% of the documents of \"%s.%s\" are rejected",
					100.0 * books->docs_rejected / books->docs_read,
					database, collection);
}

bool
mm_job_tell_rejects(int64 job_id, int table_no)
{
	MmArgs		args = {0};

	mm_arg_int8(&args, job_id);
	mm_arg_int4(&args, table_no);
	return mm_catalog_execute("UPDATE mongo_migrate.job_table"
							  " SET rejects_told = true WHERE job_id = $1"
							  " AND table_no = $2 AND NOT rejects_told",
							  &args) == 1;
}

static void
set_count(const char *update, int64 job_id, int table_no, int64 count)
{
	MmArgs		args = {0};

	mm_arg_int8(&args, job_id);
	mm_arg_int4(&args, table_no);
	mm_arg_int8(&args, count);
	mm_catalog_execute(update, &args);
}

void
mm_job_set_verify_count(int64 job_id, int table_no, int64 count)
{
	set_count("UPDATE mongo_migrate.job_table SET verify_count = $3"
			  " WHERE job_id = $1 AND table_no = $2", job_id, table_no, count);
}

void
mm_job_set_verify_rows(int64 job_id, int table_no, int64 rows)
{
	set_count("UPDATE mongo_migrate.job_table SET verify_rows = $3"
			  " WHERE job_id = $1 AND table_no = $2", job_id, table_no, rows);
}

/* The connection string with its password, or NULL. */
char *
mm_job_secret(int64 job_id)
{
	MmArgs		args = {0};
	MmCatalogScope scope;
	char	   *uri = NULL;

	mm_arg_int8(&args, job_id);
	mm_catalog_begin(&scope);
	if (mm_catalog_query("SELECT uri FROM mongo_migrate.secret"
						 " WHERE job_id = $1", &args) == 1)
		uri = mm_row_text(&scope, 0, 1);
	mm_catalog_end(&scope);
	return uri;
}

void
mm_job_event(int64 job_id, const char *severity, const char *phase,
			 const char *message, const char *detail)
{
	MmArgs		args = {0};

	mm_arg_int8(&args, job_id);
	mm_arg_text(&args, severity);
	mm_arg_text(&args, phase);
	mm_arg_text(&args, message);
	mm_arg_text(&args, detail);
	mm_catalog_execute("INSERT INTO mongo_migrate.event"
					   " (job_id, severity, phase, message, detail)"
					   " VALUES ($1, $2, $3, $4, $5)", &args);
}

int64
mm_job_of_relation(Oid relid)
{
	MmArgs		args = {0};
	MmCatalogScope scope;
	int64		job_id = 0;

	mm_arg_oid(&args, relid);
	mm_catalog_begin(&scope);
	if (mm_catalog_query_latest("SELECT t.job_id"
								" FROM mongo_migrate.job_table t"
								" JOIN mongo_migrate.job j USING (job_id)"
								" WHERE t.relid = $1 AND j.state NOT IN"
								" ('completed', 'failed', 'canceled')"
								" LIMIT 1", &args) == 1)
		job_id = mm_row_int8(0, 1);
	mm_catalog_end(&scope);
	return job_id;
}

int64
mm_job_after(Oid relid, int64 job_id, bool anew)
{
	MmArgs		args = {0};
	MmCatalogScope scope;
	int64		later = 0;

	mm_arg_oid(&args, relid);
	mm_arg_int8(&args, job_id);
	mm_arg_text(&args, origin());
	mm_arg_bool(&args, anew);
	mm_catalog_begin(&scope);
	if (mm_catalog_query_latest("SELECT job_id FROM mongo_migrate.job_table"
								" WHERE job_id > $2"
								" AND (NOT $4 OR fresh AND"
								" (if_exists = 'truncate'"
								" OR (database, collection) IN"
								" (SELECT o.database, o.collection"
								" FROM mongo_migrate.job_table o"
								" WHERE o.job_id = $2)))"
								" AND " RELID_IN("$3") " = $1"
								" ORDER BY job_id LIMIT 1", &args) == 1)
		later = mm_row_int8(0, 1);
	mm_catalog_end(&scope);
	return later;
}

void
mm_job_lock_target(Oid schema, const char *table)
{
	LOCKTAG		tag;
	uint32		hash = hash_bytes((const unsigned char *) table,
								  strlen(table));

	SET_LOCKTAG_ADVISORY(tag, MyDatabaseId, schema, hash,
						 MM_LOCK_TARGET);
	(void) LockAcquire(&tag, ExclusiveLock, false, false);
	AcceptInvalidationMessages();
}

List *
mm_job_list_begun(void)
{
	MmCatalogScope scope;
	List	   *jobs = NIL;
	uint64		rows;

	mm_catalog_begin(&scope);
	rows = mm_catalog_query("SELECT job_id FROM mongo_migrate.job"
							" WHERE state IN"
							" ('running', 'pausing', 'canceling')"
							" ORDER BY job_id", NULL);
	for (uint64 i = 0; i < rows; i++)
	{
		MemoryContext old = MemoryContextSwitchTo(scope.caller);
		int64	   *job_id = palloc(sizeof(int64));

		*job_id = mm_row_int8(i, 1);
		jobs = lappend(jobs, job_id);
		MemoryContextSwitchTo(old);
	}
	mm_catalog_end(&scope);
	return jobs;
}

bool
mm_job_next_queued(int64 *job_id, Oid *owner)
{
	MmCatalogScope scope;
	bool		found;

	mm_catalog_begin(&scope);
	found = mm_catalog_query("SELECT job_id, owner"
							 " FROM mongo_migrate.job WHERE state = 'queued'"
							 " ORDER BY (options->>'priority')::integer DESC"
							 " NULLS LAST, job_id LIMIT 1", NULL) == 1;
	if (found)
	{
		*job_id = mm_row_int8(0, 1);
		*owner = mm_row_oid(0, 2);
	}
	mm_catalog_end(&scope);
	return found;
}

int
mm_job_coordinator_pid(int64 job_id)
{
	MmArgs		args = {0};
	MmCatalogScope scope;
	int			pid = 0;

	mm_arg_oid(&args, MyDatabaseId);
	mm_arg_oid(&args, mm_catalog_extension());
	mm_arg_oid(&args, (Oid) job_id);
	mm_catalog_begin(&scope);
	if (mm_catalog_query("SELECT pid FROM pg_locks WHERE locktype = 'advisory'"
						 " AND database = $1 AND classid = $2 AND objid = $3"
						 " AND objsubid = 3 AND granted", &args) == 1)
		pid = mm_row_int4(0, 1);
	mm_catalog_end(&scope);
	return pid;
}
