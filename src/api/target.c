/*-------------------------------------------------------------------------
 *
 * target.c
 *	  The target side of a call: find, create, truncate or replace the table.
 *
 * All of it runs with the rights of the caller, in the caller's transaction.
 * Two calls for one table are kept apart by an advisory lock on its name,
 * held to the end of the transaction: the table may not exist yet.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/table.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_type.h"
#include "commands/dbcommands.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "storage/lock.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/varlena.h"

#include "api/api.h"
#include "compat.h"
#include "job/catalog.h"
#include "job/worker.h"
#include "sink/sink.h"

/* Our advisory locks on names of targets, beside MM_LOCK_KIND. */
#define TARGET_LOCK_KIND 4

/* ---------------------------------------------------------------------
 * Find
 * ---------------------------------------------------------------------
 */

static void
lock_target(const MmTarget *target)
{
	LOCKTAG		tag;
	uint32		hash = hash_bytes((const unsigned char *) target->table,
								  strlen(target->table));

	SET_LOCKTAG_ADVISORY(tag, MyDatabaseId, target->schema_oid, hash,
						 TARGET_LOCK_KIND);
	(void) LockAcquire(&tag, ExclusiveLock, false, false);
	AcceptInvalidationMessages();
}

/* Message 17. */
static void
check_may_create(const MmTarget *target)
{
	if (pg_namespace_aclcheck_compat(target->schema_oid,
									 GetUserId(), ACL_CREATE) == ACLCHECK_OK)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("permission denied for schema %s", target->schema),
			 errhint("Name a target in a schema you may create in, such as target => '%s.%s'.",
					 quote_identifier(GetUserNameFromId(GetUserId(), false)),
					 quote_identifier(target->table))));
}

static void
check_existing(const MmTarget *target, const char *if_exists)
{
	int64		job_id = mm_job_of_relation(target->existing);

	if (job_id != 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_IN_USE),
				 errmsg("table \"%s.%s\" is being loaded by migration job %lld",
						target->schema, target->table, (long long) job_id),
				 errhint("Wait for it with SELECT migrate_wait(%lld), or cancel it with SELECT migrate_cancel(%lld).",
						 (long long) job_id, (long long) job_id)));
	if (strcmp(if_exists, "error") == 0)
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_TABLE),
				 errmsg("relation \"%s.%s\" already exists", target->schema,
						target->table),
				 errhint("Use if_exists => 'append', 'truncate' or 'replace', or name another target.")));
}

MmTarget
mm_target_find(const char *target, const char *collection,
			   const char *if_exists, MmNaming naming)
{
	MmTarget	result = {0};
	RangeVar   *rv;

	if (target != NULL)
		rv = makeRangeVarFromNameList(textToQualifiedNameList(cstring_to_text(target)));
	else
		rv = makeRangeVar(NULL, mm_name_table(collection, naming), -1);
	if (rv->catalogname != NULL &&
		strcmp(rv->catalogname, get_database_name(MyDatabaseId)) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("the target must be in this database: \"%s\"",
						target)));
	result.schema_oid = RangeVarGetCreationNamespace(rv);
	result.schema = get_namespace_name(result.schema_oid);
	result.table = pstrdup(rv->relname);
	lock_target(&result);
	result.existing = get_relname_relid(result.table, result.schema_oid);
	if (OidIsValid(result.existing))
		check_existing(&result, if_exists);
	if (!OidIsValid(result.existing) || strcmp(if_exists, "replace") == 0)
		check_may_create(&result);
	return result;
}

/* ---------------------------------------------------------------------
 * Create
 * ---------------------------------------------------------------------
 */

/* Lineage stays behind as comments, also when the extension is gone. */
static void
comment_columns(const char *name, const MmContract *contract)
{
	ListCell   *lc;

	foreach(lc, contract->fields)
	{
		MmField    *field = lfirst(lc);
		char	   *text = psprintf("MongoDB: %s %s (%s)",
									contract->namespace, field->path,
									field->bson_types);

		mm_sql_run(psprintf("COMMENT ON COLUMN %s.%s IS %s", name,
						 quote_identifier(field->column),
						 quote_literal_cstr(text)));
	}
}

static char *
create_table_sql(const char *name, const MmContract *contract,
				 const char *tablespace)
{
	StringInfoData sql;
	ListCell   *lc;

	initStringInfo(&sql);
	appendStringInfo(&sql, "CREATE TABLE %s (", name);
	foreach(lc, contract->fields)
	{
		MmField    *field = lfirst(lc);

		appendStringInfo(&sql, "%s %s%s, ", quote_identifier(field->column),
						 field->type, field->not_null ? " NOT NULL" : "");
	}
	appendStringInfo(&sql, "%s jsonb)",
					 quote_identifier(contract->extra_column));
	if (tablespace != NULL)
		appendStringInfo(&sql, " TABLESPACE %s",
						 quote_identifier(tablespace));
	return sql.data;
}

static void
create_table(const MmTarget *target, const char *tablespace,
			 MmJobTable *table)
{
	char	   *name = quote_qualified_identifier(target->schema,
												  target->table);
	MmField    *key = linitial(table->contract->fields);

	table->contract->extra_column = "_extra";
	table->contract->key_column = key->column;
	mm_sql_run(create_table_sql(name, table->contract, tablespace));
	comment_columns(name, table->contract);
	table->relid = get_relname_relid(target->table, target->schema_oid);
	table->created = true;
	table->fresh = true;
}

/* ---------------------------------------------------------------------
 * Adapt to a table that exists
 * ---------------------------------------------------------------------
 */

/* Type of a contract's column, whose text may end in a COLLATE clause. */
static Oid
field_type(const MmField *field)
{
	char	   *type = pstrdup(field->type);
	char	   *collate = strstr(type, " COLLATE ");

	if (collate != NULL)
		*collate = '\0';
	return DatumGetObjectId(DirectFunctionCall1(to_regtype,
												CStringGetTextDatum(type)));
}

/*
 * Gives a field the type of the table's column, or says what is wrong
 * (message 15).
 */
static void
adapt_field(Relation rel, MmField *field, StringInfo misfit)
{
	AttrNumber	attnum = get_attnum(RelationGetRelid(rel), field->column);
	Form_pg_attribute att;
	Oid			type = field_type(field);

	if (attnum <= 0)
	{
		appendStringInfo(misfit, "%sColumn \"%s\" is missing.",
						 misfit->len ? " " : "", field->column);
		return;
	}
	att = TupleDescAttr(RelationGetDescr(rel), attnum - 1);
	if (att->attgenerated != '\0' || att->atttypmod != -1 ||
		!mm_type_is_fillable(att->atttypid) ||
		!mm_type_can_hold(att->atttypid, type))
		appendStringInfo(misfit, "%sColumn \"%s\" is %s%s, the mapping says %s.",
						 misfit->len ? " " : "", field->column,
						 att->attgenerated ? "generated, " : "",
						 format_type_with_typemod(att->atttypid,
												  att->atttypmod),
						 format_type_be(type));
	field->type = format_type_be(att->atttypid);
	field->not_null = field->not_null || att->attnotnull;
}

static bool
has_extra_column(Relation rel)
{
	AttrNumber	attnum = get_attnum(RelationGetRelid(rel), "_extra");

	return attnum > 0 &&
		TupleDescAttr(RelationGetDescr(rel), attnum - 1)->atttypid == JSONBOID;
}

static void
adapt_to_table(const MmTarget *target, MmJobTable *table)
{
	Relation	rel = table_open(target->existing, AccessShareLock);
	const char *refusal = mm_sink_heap_refusal(rel);
	StringInfoData misfit;
	ListCell   *lc;

	if (refusal != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot load into table \"%s.%s\"", target->schema,
						target->table),
				 errdetail_internal("%s", refusal),
				 errhint("Name another target, and move the rows with INSERT ... SELECT.")));
	initStringInfo(&misfit);
	foreach(lc, table->contract->fields)
		adapt_field(rel, lfirst(lc), &misfit);
	if (misfit.len > 0)
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("table \"%s.%s\" does not fit the mapping",
						target->schema, target->table),
				 errdetail_internal("%s", misfit.data),
				 errhint("See SELECT * FROM migrate_infer_schema(...) for what is expected.")));
	table->contract->extra_column = has_extra_column(rel) ? "_extra" : NULL;
	table_close(rel, NoLock);
}

static void
check_may_load(const MmTarget *target, AclMode mode)
{
	AclResult	acl = pg_class_aclcheck(target->existing, GetUserId(), mode);

	if (acl != ACLCHECK_OK)
		aclcheck_error(acl, OBJECT_TABLE, target->table);
}

void
mm_target_prepare(const MmTarget *target, const char *if_exists,
				  const char *tablespace, List *fields, MmJobTable *table)
{
	char	   *name = quote_qualified_identifier(target->schema,
												  target->table);
	bool		exists = OidIsValid(target->existing);
	int			guc_level = NewGUCNestLevel();

	RestrictSearchPath_compat();
	table->target_schema = target->schema;
	table->target_table = target->table;
	table->contract->target = name;
	table->contract->fields = fields;
	if (exists && strcmp(if_exists, "replace") == 0)
		mm_sql_run(psprintf("DROP TABLE %s", name));
	if (!exists || strcmp(if_exists, "replace") == 0)
		create_table(target, tablespace, table);
	else
	{
		check_may_load(target, ACL_INSERT);
		adapt_to_table(target, table);
		table->relid = target->existing;
		if (strcmp(if_exists, "truncate") == 0)
		{
			mm_sql_run(psprintf("TRUNCATE %s", name));
			table->fresh = true;
		}
	}
	AtEOXact_GUC(true, guc_level);
}
