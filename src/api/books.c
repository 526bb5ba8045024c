/*-------------------------------------------------------------------------
 *
 * books.c
 *	  Functions of the extension's tables: who may write to them, and whom a
 *	  job belongs to.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xlog.h"
#include "commands/trigger.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/rel.h"

#include "compat.h"

MM_FUNCTION(mongo_migrate_guard_table);
MM_FUNCTION(mongo_migrate_job_owner);

/*
 * Trigger before each statement that writes to one of our tables, and before
 * each row of those that say as whom workers run: pg_write_all_data, which may
 * write everywhere, would make its members superusers, by a subscription too,
 * which knows rows only.  Others than the table's owner get 42501.
 */
Datum
mongo_migrate_guard_table(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	Relation	rel;
	HeapTuple	row = NULL;

	if (!CALLED_AS_TRIGGER(fcinfo))
		elog(ERROR, "not called by a trigger");
	rel = trigger->tg_relation;
	if (!has_privs_of_role(GetUserId(), rel->rd_rel->relowner))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied for table %s",
						RelationGetRelationName(rel)),
				 errdetail("Only functions of the extension write to it."),
				 errhint("Use migrate_pause(), migrate_alter(), migrate_forget() and their like.")));
	if (TRIGGER_FIRED_FOR_ROW(trigger->tg_event))
		row = TRIGGER_FIRED_BY_UPDATE(trigger->tg_event) ?
			trigger->tg_newtuple : trigger->tg_trigtuple;
	PG_RETURN_POINTER(row);
}

/*
 * job_owner(cluster bigint, owner oid, owner_name name): OID of the role that
 * a job belongs to, 0 for none.  Jobs that have ended may come from a dump of
 * another cluster, where the OID meant somebody else: there the name tells.
 */
Datum
mongo_migrate_job_owner(PG_FUNCTION_ARGS)
{
	int64		cluster = PG_GETARG_INT64(0);
	Oid			owner = PG_GETARG_OID(1);
	Name		name = PG_GETARG_NAME(2);

	PG_RETURN_OID(cluster == (int64) GetSystemIdentifier() ? owner :
				  get_role_oid(NameStr(*name), true));
}
