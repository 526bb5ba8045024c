/*-------------------------------------------------------------------------
 *
 * pick.c
 *	  Which job a call means, and whether the caller may.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xlog.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/lsyscache.h"

#include "api/api.h"
#include "job/catalog.h"

static Oid
predefined_role(const char *name)
{
	return get_role_oid(name, false);
}

static bool
may(const MmJob *job, MmRight right)
{
	Oid			user = GetUserId();

	if (has_privs_of_role(user, job->owner))
		return true;
	if (right == MM_RIGHT_SEE)
		return has_privs_of_role(user, predefined_role("pg_read_all_stats"));
	return right == MM_RIGHT_CONTROL && !superuser_arg(job->owner) &&
		has_privs_of_role(user, predefined_role("pg_signal_backend"));
}

/* Message 27. */
static void
raise_ambiguous(MmCatalogScope *scope, uint64 rows)
{
	StringInfoData names;

	initStringInfo(&names);
	for (uint64 i = 0; i < rows; i++)
		appendStringInfo(&names, "%s%lld (%s)", i ? ", " : "",
						 (long long) mm_row_int8(i, 1),
						 mm_row_text(scope, i, 2));
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("more than one migration job is active"),
			 errhint("Name one of: %s.", names.data)));
}

/* The only active job of the current user, else the latest. */
static int64
default_job(void)
{
	MmArgs		args = {0};
	MmCatalogScope scope;
	uint64		rows;
	int64		job_id;

	mm_arg_oid(&args, GetUserId());
	mm_catalog_begin(&scope);
	rows = mm_catalog_query("SELECT j.job_id, string_agg(t.collection, ', ')"
							" FROM mongo_migrate.job j"
							" JOIN mongo_migrate.job_table t USING (job_id)"
							" WHERE j.owner = $1 AND j.state NOT IN"
							" ('completed', 'failed', 'canceled')"
							" GROUP BY j.job_id ORDER BY j.job_id", &args);
	if (rows > 1)
		raise_ambiguous(&scope, rows);
	if (rows == 0)
		rows = mm_catalog_query("SELECT max(job_id)"
								" FROM mongo_migrate.job"
								" WHERE mongo_migrate.job_owner(cluster, owner,"
								" owner_name) = $1"
								" HAVING count(*) > 0", &args);
	if (rows == 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("there is no migration job"),
				 errhint("Start one with SELECT migrate_start(...).")));
	job_id = mm_row_int8(0, 1);
	mm_catalog_end(&scope);
	return job_id;
}

/* Message 30. */
void
mm_pick_check_primary(void)
{
	if (RecoveryInProgress())
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("cannot run a migration during recovery"),
				 errhint("Connect to the primary server.")));
}

MmJob *
mm_pick_job(bool named, int64 job_id, MmRight right)
{
	int64		wanted = named ? job_id : default_job();
	MmJob	   *job;

	if (right != MM_RIGHT_SEE)
		mm_pick_check_primary();
	job = mm_job_load(wanted, right != MM_RIGHT_SEE);
	if (job == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("migration job %lld does not exist",
						(long long) wanted),
				 errhint("See SELECT * FROM migrate_jobs.")));
	if (!may(job, right))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied for migration job %lld",
						(long long) wanted),
				 errdetail("It belongs to role \"%s\".",
						   GetUserNameFromId(job->owner, true))));
	return job;
}

MmJob *
mm_pick_job_arg(FunctionCallInfo fcinfo, int arg, MmRight right)
{
	bool		named = !PG_ARGISNULL(arg);

	return mm_pick_job(named, named ? PG_GETARG_INT64(arg) : 0, right);
}

/* Message 23, for any active job but this one. */
static void
check_free(Oid relid, const char *schema, const char *table, int64 except)
{
	int64		job_id = mm_job_of_relation(relid);

	if (job_id == 0 || job_id == except)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_IN_USE),
			 errmsg("table \"%s.%s\" is being loaded by migration job %lld",
					schema, table, (long long) job_id),
			 errhint("Wait for it with SELECT migrate_wait(%lld), or cancel it with SELECT migrate_cancel(%lld).",
					 (long long) job_id, (long long) job_id)));
}

void
mm_pick_check_free(Oid relid, const char *schema, const char *table)
{
	check_free(relid, schema, table, 0);
}

/* Of a job that loaded the table anew later: this one's rows are gone. */
static void
check_not_superseded(const MmJob *job, const MmJobTable *table,
					 const char *what)
{
	int64		later = mm_job_after(table->relid, job->job_id, true);

	if (later != 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("cannot %s migration job %lld", what,
						(long long) job->job_id),
				 errdetail("Migration job %lld began with table \"%s.%s\" empty: the rows of job %lld are not in it any more.",
						   (long long) later, table->target_schema,
						   table->target_table, (long long) job->job_id),
				 errhint("What job %lld has rejected can be replayed for that job.",
						 (long long) later)));
}

void
mm_pick_claim_targets(const MmJob *job, const char *what)
{
	ListCell   *lc;

	foreach(lc, mm_job_load_tables(job->job_id))
	{
		MmJobTable *table = lfirst(lc);
		char	   *name = get_rel_name(table->relid);

		if (name == NULL)
			continue;			/* who goes on will say that it was dropped */
		mm_job_lock_target(get_rel_namespace(table->relid), name);
		check_free(table->relid, table->target_schema, table->target_table,
				   job->job_id);
		check_not_superseded(job, table, what);
		if (table->foreign)
			mm_job_claim_table(job->job_id, table);
	}
}
