/*-------------------------------------------------------------------------
 *
 * steps.c
 *	  The steps of a table around its copy: plan, index, analyze, verify.
 *
 * SQL on the target runs as the job's owner, by the name that the table has
 * once it is locked by its OID: a statement that had to wait for its lock
 * would take whatever bears the name then.  (ANALYZE may: it asks for its
 * rights before it waits, and harms nobody.)  A schema can still be renamed
 * within the microseconds up to the statement.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/xact.h"
#include "catalog/pg_class.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/relcache.h"
#include "utils/snapmgr.h"

#include "compat.h"
#include "job/catalog.h"
#include "job/debug.h"
#include "job/retry.h"
#include "job/steps.h"
#include "job/watch.h"
#include "job/worker.h"
#include "source/source.h"

/* The source makes the last ones smaller, so that loaders end together. */
#define CHUNKS_PER_WORKER 8
#define SMALLEST_CHUNK (8 * 1024 * 1024)

/*
 * Of what a step makes, its connection with it, empty.  What one has left that
 * ended by an error goes here.
 */
static MemoryContext
step_context(void)
{
	static MemoryContext context = NULL;

	if (context == NULL)
		context = AllocSetContextCreate(TopMemoryContext,
										"mongo_migrate step",
										ALLOCSET_DEFAULT_SIZES);
	MemoryContextReset(context);
	return context;
}

/* Qualified and quoted; raises 42P01 when the table is gone. */
static char *
target_name(const MmJobTable *table)
{
	char	   *name = get_rel_name(table->relid);

	/* Up to PostgreSQL 15 a table can become a view. */
	if (name == NULL || get_rel_relkind(table->relid) != RELKIND_RELATION)
		mm_worker_raise_dropped(table);
	return quote_qualified_identifier(get_namespace_name(get_rel_namespace(table->relid)),
									  name);
}

char *
mm_step_lock_target(const MmJobTable *table, LOCKMODE lock)
{
	LockRelationOid(table->relid, lock);
	return target_name(table);
}

bool
mm_step_may_drop(Oid relid, Oid role)
{
	return object_ownercheck_compat(RelationRelationId, relid, role) ||
		object_ownercheck_compat(NamespaceRelationId,
								 get_rel_namespace(relid), role);
}

/* ---------------------------------------------------------------------
 * Key
 * ---------------------------------------------------------------------
 */

static bool
has_primary_key(const MmJobTable *table)
{
	Relation	rel = try_relation_open(table->relid, AccessShareLock);
	bool		found;

	if (rel == NULL)
		mm_worker_raise_dropped(table);
	(void) RelationGetIndexList(rel);
	found = OidIsValid(rel->rd_pkindex);
	relation_close(rel, AccessShareLock);
	return found;
}

/* Core takes no less, and the key is built when all is copied. */
#define LEAST_INDEX_MEMORY	1024	/* kB */

static void
set_index_memory(const MmJob *job)
{
	char		value[32];

	if (job->options.maintenance_work_mem < 0)
		return;
	snprintf(value, sizeof(value), "%d",
			 Max(job->options.maintenance_work_mem, LEAST_INDEX_MEMORY));
	(void) set_config_option("maintenance_work_mem", value, PGC_USERSET,
							 PGC_S_SESSION, GUC_ACTION_LOCAL, true, ERROR,
							 false);
}

char *
mm_step_key_sql(const char *table, const MmContract *contract,
				const char *tablespace)
{
	StringInfoData sql;
	ListCell   *lc;

	if (contract->key_columns == NIL)
		return NULL;
	initStringInfo(&sql);
	appendStringInfo(&sql, "ALTER TABLE %s ADD PRIMARY KEY (", table);
	foreach(lc, contract->key_columns)
		appendStringInfo(&sql, "%s%s",
						 lc == list_head(contract->key_columns) ? "" : ", ",
						 quote_identifier(lfirst(lc)));
	appendStringInfoChar(&sql, ')');
	if (tablespace != NULL)
		appendStringInfo(&sql, " USING INDEX TABLESPACE %s",
						 quote_identifier(tablespace));
	return sql.data;
}

/* Builds the primary key of a table that this job created. */
static void
add_key(const MmJob *job, const MmJobTable *table)
{
	char	   *name;

	if (!table->created || table->contract->key_columns == NIL ||
		has_primary_key(table))
		return;
	name = mm_step_lock_target(table, AccessExclusiveLock);
	if (has_primary_key(table))
		return;
	set_index_memory(job);
	mm_sql_run(mm_step_key_sql(name, table->contract,
							   job->options.tablespace));
	mm_debug_point("index_build");
}

/* ---------------------------------------------------------------------
 * Plan
 * ---------------------------------------------------------------------
 */

MmSplitRequest
mm_step_split_request(const MmCollection *collection, MmSplitMethod method,
					  int workers, int64 limit, bool fresh)
{
	int64		size = collection->bytes /
		((int64) CHUNKS_PER_WORKER * workers);

	/* When record ids are lost, the table must be emptied. */
	return (MmSplitRequest) {
		.method = method,
		.chunk_bytes = Min(Max(size, SMALLEST_CHUNK), limit),
		.not_record = fresh ? NULL :
		"rows that were there before stay in the table",
	};
}

/*
 * Connects and asks for the split.  Everything lives in the current context;
 * the connection ends with it.
 */
static MmSplit *
ask_source(const MmJob *job, const MmJobTable *table, MmSourceError *error)
{
	MemoryContext context = CurrentMemoryContext;
	MmSourceConfig *config;
	MmSource   *source;
	MmCollection *collection;
	MmSplitRequest request;
	MmSplit    *split;

	mm_worker_reload();
	mm_worker_tx_begin();
	MemoryContextSwitchTo(context);
	config = mm_worker_source_config(job);
	mm_worker_tx_commit();
	MemoryContextSwitchTo(context);

	source = mm_source_mongo.open(config, error);
	if (source == NULL ||
		!source->ops->describe(source, table->database, table->collection,
							   &collection, error))
		return NULL;
	request = mm_step_split_request(collection, job->options.split,
									job->workers, job->options.chunk_bytes,
									table->fresh);
	if (request.method == MM_SPLIT_AUTO && table->restarts +
		(table->split_lost != NULL) >= MM_MAX_RESTARTS)
		request.not_record = "with record ids the copy had to begin again";
	if (!source->ops->split(source, collection, table->filter, &request,
							&split, error))
		return NULL;
	return split;
}

/*
 * Throws away what was read, with the rows; within a transaction.  Returns
 * the number of attempts that were made at the chunks.  Rows of others may
 * have come between two attempts of the job: then it fails.
 *
 * The last time the key is made at once.  Documents that the source tells
 * apart and the type of the key does not then become dead letters; behind the
 * copy they would be an end without a way out.
 */
static int
begin_again(const MmJob *job, MmJobTable *table)
{
	mm_watch_lock_alone(job, table);
	mm_sql_run(psprintf("TRUNCATE ONLY %s",
						mm_step_lock_target(table, AccessExclusiveLock)));
	if (table->restarts + 1 >= MM_MAX_RESTARTS)
		add_key(job, table);
	CommandCounterIncrement();
	table->file = mm_watch_file(table->relid);
	mm_job_set_file(job->job_id, table->table_no, table->file);
	mm_job_event(job->job_id, "warning", mm_phase_name(MM_PHASE_PLANNING),
				 psprintf("the copy of %s.%s begins again from empty",
						  table->database, table->collection),
				 table->split_lost);
	return mm_job_begin_again(job->job_id, table->table_no);
}

/* An index is far less work for mongod, so that it is not for us to refuse. */
static void
tell_moving(const MmJob *job, const MmJobTable *table)
{
	mm_job_event(job->job_id, "warning", mm_phase_name(MM_PHASE_PLANNING),
				 psprintf("documents of %s.%s that change while they are read may be missed or read twice",
						  table->database, table->collection),
				 "An index answers the filter, and a change of its fields moves a document in the order of reading. Split \"id\" reads the collection in the order of _id instead.");
}

static void
store_split(const MmJob *job, MmJobTable *table, const MmSplit *split,
			MmRetry *retry)
{
	int			attempts = 0;

	mm_worker_tx_begin();
	if (table->split_lost != NULL)
	{
		attempts = begin_again(job, table);
		table->restarts++;
	}
	mm_job_set_split(job->job_id, table->table_no, split, attempts);
	if (split->moving)
		tell_moving(job, table);
	mm_retry_progress(retry, job, MM_PHASE_PLANNING);
	mm_debug_point("plan");
	mm_worker_tx_commit();
	table->split = split->method;
	table->split_lost = NULL;
}

bool
mm_step_plan(const MmJob *job, MmJobTable *table, bool (*stop) (void))
{
	MemoryContext old = CurrentMemoryContext;
	MemoryContext context = step_context();
	MmRetry		retry = {0};
	MmSplit    *split = NULL;

	if (table->split != MM_SPLIT_AUTO && table->split_lost == NULL)
		return true;
	while (split == NULL)
	{
		MmSourceError error = {0};

		if (stop())
			return false;
		MemoryContextReset(context);
		MemoryContextSwitchTo(context);
		split = ask_source(job, table, &error);
		if (split == NULL && error.stopped)
			return false;
		if (split == NULL &&
			(!error.transient ||
			 !mm_retry_wait(&retry, job, MM_PHASE_PLANNING,
							mm_worker_failure(&error), stop)))
			mm_source_raise(&error);
	}
	store_split(job, table, split, &retry);
	MemoryContextSwitchTo(old);
	MemoryContextReset(context);
	return true;
}

/* ---------------------------------------------------------------------
 * Index, analyze
 * ---------------------------------------------------------------------
 */

void
mm_step_index(const MmJob *job, const MmJobTable *table)
{
	mm_worker_tx_begin();
	add_key(job, table);
	mm_worker_tx_commit();
}

void
mm_step_analyze(const MmJob *job, const MmJobTable *table)
{
	if (!job->options.analyze)
		return;
	mm_worker_tx_begin();
	mm_sql_run(psprintf("ANALYZE %s", target_name(table)));
	mm_worker_tx_commit();
}

/* ---------------------------------------------------------------------
 * Verify
 * ---------------------------------------------------------------------
 */

/*
 * Rows in the table against the books: no fewer than were stored, and no
 * others when none were there before.
 */
static void
verify_target(const MmJob *job, const MmJobTable *table,
			  const MmCounters *books)
{
	int64		rows;

	if (pg_class_aclcheck(table->relid, GetUserId(),
						  ACL_SELECT) != ACLCHECK_OK)
	{
		mm_job_event(job->job_id, "warning",
					 mm_phase_name(MM_PHASE_VERIFYING),
					 "the rows of the target were not counted",
					 "The owner of the job has no SELECT privilege on it.");
		return;
	}
	rows = mm_watch_rows(table);
	mm_job_set_verify_rows(job->job_id, table->table_no, rows);
	if (!mm_watch_is_complete(table, rows, books->rows_inserted))
		mm_watch_raise_missing(table, rows, books->rows_inserted);
}

/*
 * Documents in the source against those read.  A difference is no error:
 * without follow, documents may come and go while they are read.
 */
static void
verify_source(const MmJob *job, const MmJobTable *table,
			  const MmCounters *books)
{
	MmSourceError error = {0};
	MmSource   *source;
	MmCollection *collection = NULL;

	source = mm_source_mongo.open(mm_worker_source_config(job), &error);
	if (source == NULL ||
		!source->ops->describe(source, table->database, table->collection,
							   &collection, &error))
	{
		mm_job_event(job->job_id, "warning", mm_phase_name(MM_PHASE_VERIFYING),
					 "could not count the documents of the source",
					 error.message);
		return;
	}
	if (table->filter != NULL || collection->kind != MM_COLLECTION)
		return;
	mm_job_set_verify_count(job->job_id, table->table_no,
							collection->documents);
	if (collection->documents != books->docs_read)
		mm_job_event(job->job_id, "warning", mm_phase_name(MM_PHASE_VERIFYING),
					 psprintf("%lld documents were read, the source now counts %lld",
							  (long long) books->docs_read,
							  (long long) collection->documents),
					 "Documents came or went while the collection was read.");
}

void
mm_step_verify(const MmJob *job, const MmJobTable *table,
			   const MmCounters *books)
{
	MemoryContext old = CurrentMemoryContext;
	MemoryContext context;

	if (!job->options.verify)
		return;
	context = step_context();
	mm_worker_tx_begin();
	MemoryContextSwitchTo(context);
	verify_target(job, table, books);
	verify_source(job, table, books);
	mm_debug_point("verify");
	mm_worker_tx_commit();
	MemoryContextSwitchTo(old);
	MemoryContextReset(context);
}

/* ---------------------------------------------------------------------
 * Cancel
 * ---------------------------------------------------------------------
 */

/* The rows of a later job are not this one's to drop, nor is a namesake. */
static void
check_alone(const MmJob *job, const MmJobTable *table)
{
	int64		later = mm_job_after(table->relid, job->job_id, false);

	if (table->foreign)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("cannot drop table \"%s.%s\" for migration job %lld",
						table->target_schema, table->target_table,
						(long long) job->job_id),
				 errdetail("The job comes from another cluster or database, or from a dump, and the table may be another one of that name."),
				 errhint("Cancel without drop_target, and DROP TABLE it if nobody needs the rows.")));
	if (later != 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_IN_USE),
				 errmsg("cannot drop table \"%s.%s\" for migration job %lld",
						table->target_schema, table->target_table,
						(long long) job->job_id),
				 errdetail("Migration job %lld loaded it, too.",
						   (long long) later),
				 errhint("Cancel without drop_target, and DROP TABLE it if nobody needs the rows.")));
}

/*
 * Runs as the job's owner, also when another role with the right to cancel
 * called: event triggers aside, DROP TABLE runs no code of users.
 */
void
mm_step_drop_target(const MmJob *job)
{
	Oid			save_userid;
	int			save_sec_context;
	ListCell   *lc;

	GetUserIdAndSecContext(&save_userid, &save_sec_context);
	foreach(lc, mm_job_load_tables(job->job_id))
	{
		MmJobTable *table = lfirst(lc);

		if (!table->created || get_rel_name(table->relid) == NULL)
			continue;
		check_alone(job, table);
		if (!mm_step_may_drop(table->relid, job->owner))
			aclcheck_error(ACLCHECK_NOT_OWNER, OBJECT_TABLE,
						   get_rel_name(table->relid));
		LockRelationOid(table->relid, AccessExclusiveLock);
		if (get_rel_name(table->relid) == NULL)
			continue;
		/* A job that was about to start had a lock. */
		check_alone(job, table);
		SetUserIdAndSecContext(job->owner, save_sec_context |
							   SECURITY_RESTRICTED_OPERATION);
		mm_sql_run(psprintf("DROP TABLE %s", target_name(table)));
		SetUserIdAndSecContext(save_userid, save_sec_context);
	}
}
