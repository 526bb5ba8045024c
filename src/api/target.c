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
#include "commands/dbcommands.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "rewrite/rewriteHandler.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/varlena.h"

#include "api/api.h"
#include "compat.h"
#include "job/catalog.h"
#include "job/steps.h"
#include "sink/sink.h"

/* ---------------------------------------------------------------------
 * Find
 * ---------------------------------------------------------------------
 */

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

/* Later steps name the table, but find it by its OID. */
static void
check_may_use(const MmTarget *target)
{
	AclResult	result = pg_namespace_aclcheck_compat(target->schema_oid,
													  GetUserId(), ACL_USAGE);

	if (result != ACLCHECK_OK)
		aclcheck_error(result, OBJECT_SCHEMA, target->schema);
}

static void
check_existing(const MmTarget *target, const char *if_exists)
{
	mm_pick_check_free(target->existing, target->schema, target->table);
	if (strcmp(if_exists, "error") == 0)
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_TABLE),
				 errmsg("relation \"%s.%s\" already exists", target->schema,
						target->table),
				 errhint("Use if_exists => 'append', 'truncate' or 'replace', or name another target.")));
}


/* ---------------------------------------------------------------------
 * Adapt to a table that exists
 * ---------------------------------------------------------------------
 */

/* Without domains; the element of an array. */
static Oid
plain_type(Oid type)
{
	Oid			element = get_base_element_type(type);

	return getBaseType(OidIsValid(element) ? element : type);
}

/*
 * A default was evaluated in the type of the mapping, and is read as text by
 * that of the column: numbers are numbers in both, but "f" is no text.
 */
static bool
is_of_one_kind(Oid wanted, Oid have)
{
	char		kind_wanted;
	char		kind_have;
	bool		preferred;

	wanted = plain_type(wanted);
	have = plain_type(have);
	if (wanted == have || (wanted == JSONBOID && have == JSONOID))
		return true;
	get_type_category_preferred(wanted, &kind_wanted, &preferred);
	get_type_category_preferred(have, &kind_have, &preferred);
	switch (kind_wanted)
	{
		case TYPCATEGORY_STRING:
			return kind_have == TYPCATEGORY_STRING ||
				kind_have == TYPCATEGORY_ENUM;
		case TYPCATEGORY_NUMERIC:
		case TYPCATEGORY_DATETIME:
			return kind_have == kind_wanted;
		default:
			return false;
	}
}

/* What becomes of a default that the mapping or the table has. */
static void
check_default(Relation rel, const MmField *field, Form_pg_attribute att,
			  const MmSqlType *wanted, MmOnError on_error, StringInfo misfit)
{
	if (field->on_error != MM_INHERIT)
		on_error = field->on_error;
	if (field->default_text != NULL &&
		!is_of_one_kind(wanted->typid, att->atttypid))
		appendStringInfo(misfit, "%sThe default of column \"%s\" in the mapping is of type %s.",
						 misfit->len ? " " : "", field->column,
						 format_type_be(wanted->typid));
	if (field->default_text == NULL && on_error == MM_ON_ERROR_SET_DEFAULT &&
		build_column_default(rel, att->attnum) != NULL)
		appendStringInfo(misfit, "%sThe default of column \"%s\" is not in the mapping, which on_error \"set_default\" takes it from.",
						 misfit->len ? " " : "", field->column);
}

/*
 * Gives a field the type of the table's column, or says what is wrong
 * (message 15).
 */
static void
adapt_field(Relation rel, MmField *field, MmOnError on_error,
			StringInfo misfit)
{
	AttrNumber	attnum = get_attnum(RelationGetRelid(rel), field->column);
	MmSqlType	wanted = mm_type_parse(field->type);
	Form_pg_attribute att;
	char	   *have;

	if (attnum <= 0)
	{
		appendStringInfo(misfit, "%sColumn \"%s\" is missing.",
						 misfit->len ? " " : "", field->column);
		return;
	}
	att = TupleDescAttr(RelationGetDescr(rel), attnum - 1);
	have = format_type_with_typemod(att->atttypid, att->atttypmod);
	if (!mm_type_column_takes(att, &wanted))
		appendStringInfo(misfit, "%sColumn \"%s\" is %s%s, the mapping says %s.",
						 misfit->len ? " " : "", field->column,
						 att->attgenerated ? "generated, " : "", have,
						 format_type_with_typemod(wanted.typid,
												  wanted.typmod));
	check_default(rel, field, att, &wanted, on_error, misfit);
	field->type = mm_type_text(att->atttypid, att->atttypmod);
	if (att->attnotnull)
		mm_call_require(field);
}

static bool
has_extra_column(Relation rel, const char *name)
{
	AttrNumber	attnum = get_attnum(RelationGetRelid(rel), name);

	return attnum > 0 &&
		TupleDescAttr(RelationGetDescr(rel), attnum - 1)->atttypid == JSONBOID;
}

/* Columns that no document could leave as they must be. */
static void
find_unfilled(Relation rel, const MmContract *contract, StringInfo misfit)
{
	for (int i = 0; i < RelationGetNumberOfAttributes(rel); i++)
	{
		Form_pg_attribute att = TupleDescAttr(RelationGetDescr(rel), i);
		const char *name = NameStr(att->attname);
		bool		is_extra = mm_contract_needs_extra(contract) &&
			contract->extra_column != NULL &&
			strcmp(contract->extra_column, name) == 0;

		if (att->attisdropped || !att->attnotnull ||
			mm_contract_has_column(contract, name) ||
			(!is_extra && build_column_default(rel, att->attnum) != NULL) ||
			att->attgenerated != '\0')
			continue;
		appendStringInfo(misfit, "%sColumn \"%s\" must not be null, but %s.",
						 misfit->len ? " " : "", name, is_extra ?
						 "is where nothing is left over" :
						 "nothing fills it");
	}
}

/* Message 15. */
static void
raise_misfit(const MmTarget *target, const MmCall *call, const char *misfit)
{
	ereport(ERROR,
			(errcode(ERRCODE_DATATYPE_MISMATCH),
			 errmsg("table \"%s.%s\" does not fit the mapping",
					target->schema, target->table),
			 errdetail_internal("%s", misfit),
			 errhint("See SELECT * FROM migrate_ddl(%s, %s) for what is expected.",
					 mm_source_is_uri(call->source) ? "..." :
					 quote_literal_cstr(call->source),
					 quote_literal_cstr(call->collection))));
}

static void
raise_refusal(const char *schema, const char *table, const char *refusal)
{
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("cannot load into table \"%s.%s\"", schema, table),
			 errdetail_internal("%s", refusal),
			 errhint("Name another target, and move the rows with INSERT ... SELECT.")));
}

void
mm_target_check(Relation rel)
{
	const char *refusal = mm_sink_heap_refusal(rel);

	if (refusal != NULL)
		raise_refusal(get_namespace_name(RelationGetNamespace(rel)),
					  RelationGetRelationName(rel), refusal);
}

/* More would go than a table of that name, without a word. */
static void
check_replaceable(const MmTarget *target)
{
	if (get_rel_relkind(target->existing) == RELKIND_PARTITIONED_TABLE)
		raise_refusal(target->schema, target->table, "It is partitioned.");
	if (get_rel_relispartition(target->existing))
		raise_refusal(target->schema, target->table, "It is a partition.");
}

static void
adapt_to_table(const MmTarget *target, const MmCall *call)
{
	MmContract *contract = call->contract;
	Relation	rel = table_open(target->existing, AccessShareLock);
	StringInfoData misfit;
	ListCell   *lc;

	mm_target_check(rel);
	initStringInfo(&misfit);
	foreach(lc, contract->fields)
	{
		MmField    *field = lfirst(lc);

		if (field->column != NULL)
			adapt_field(rel, field, contract->on_error, &misfit);
	}
	if (contract->extra_column != NULL &&
		!has_extra_column(rel, contract->extra_column))
		contract->extra_column = NULL;
	find_unfilled(rel, contract, &misfit);
	if (misfit.len > 0)
		raise_misfit(target, call, misfit.data);
	if (contract->extra == MM_EXTRA_ADD_COLUMN &&
		!object_ownercheck_compat(RelationRelationId, target->existing,
								  GetUserId()))
		aclcheck_error(ACLCHECK_NOT_OWNER, OBJECT_TABLE, target->table);
	table_close(rel, NoLock);
}

/* ---------------------------------------------------------------------
 * What becomes of it
 * ---------------------------------------------------------------------
 */

static void
check_may_load(const MmTarget *target, AclMode mode)
{
	AclResult	acl = pg_class_aclcheck(target->existing, GetUserId(), mode);

	if (acl != ACLCHECK_OK)
		aclcheck_error(acl, OBJECT_TABLE, target->table);
}

/* The server would cut it, and mean another table perhaps. */
static void
check_length(const char *target)
{
	List	   *names;
	ListCell   *lc;

	if (!SplitGUCList(pstrdup(target), '.', &names))
		return;					/* the server's own parser says why */
	foreach(lc, names)
	{
		if (strlen(lfirst(lc)) >= NAMEDATALEN)
			ereport(ERROR,
					(errcode(ERRCODE_NAME_TOO_LONG),
					 errmsg("the name of the target is too long: \"%s\"",
							(char *) lfirst(lc)),
					 errdetail("PostgreSQL's names have %d bytes at most.",
							   NAMEDATALEN - 1)));
	}
}

/* The name given, else one made from the collection's. */
static RangeVar *
target_name(const MmCall *call)
{
	RangeVar   *rv;

	if (call->target != NULL)
	{
		check_length(call->target);
		rv = makeRangeVarFromNameList(textToQualifiedNameList(cstring_to_text(call->target)));
	}
	else
		rv = makeRangeVar(NULL, mm_name_table(call->input.collection->name,
											  call->options.naming), -1);
	if (rv->catalogname != NULL &&
		strcmp(rv->catalogname, get_database_name(MyDatabaseId)) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("the target must be in this database: \"%s\"",
						call->target)));
	return rv;
}

MmTarget
mm_target_name(const MmCall *call)
{
	RangeVar   *rv = target_name(call);
	MmTarget	result = {0};

	result.schema_oid = RangeVarGetCreationNamespace(rv);
	result.schema = get_namespace_name(result.schema_oid);
	result.table = pstrdup(rv->relname);
	result.name = quote_qualified_identifier(result.schema, result.table);
	result.sink = "heap";
	result.sink_reason = "plain table without triggers, rules or row security";
	return result;
}

MmTarget
mm_target_find(const MmCall *call, bool lock)
{
	MmTarget	result = mm_target_name(call);
	bool		replace = strcmp(call->if_exists, "replace") == 0;

	if (lock)
		mm_job_lock_target(result.schema_oid, result.table);
	result.existing = get_relname_relid(result.table, result.schema_oid);
	if (OidIsValid(result.existing))
		check_existing(&result, call->if_exists);
	if (OidIsValid(result.existing) && replace)
		check_replaceable(&result);
	result.created = !OidIsValid(result.existing) || replace;
	result.fresh = result.created ||
		strcmp(call->if_exists, "truncate") == 0;
	if (result.created)
		check_may_create(&result);
	check_may_use(&result);
	if (!result.created)
	{
		check_may_load(&result, ACL_INSERT);
		adapt_to_table(&result, call);
	}
	call->contract->target = result.name;
	return result;
}

MmSplitRequest
mm_target_split_request(const MmTarget *target, const MmCall *call)
{
	return mm_step_split_request(call->input.collection, call->options.split,
								 call->workers, call->options.chunk_bytes,
								 target->fresh);
}

/* The table that was looked at, not one that gets its name meanwhile. */
static void
replace(const MmTarget *target)
{
	if (!mm_step_may_drop(target->existing, GetUserId()))
		aclcheck_error(ACLCHECK_NOT_OWNER, OBJECT_TABLE, target->table);
	LockRelationOid(target->existing, AccessExclusiveLock);
	if (get_relname_relid(target->table,
						  target->schema_oid) != target->existing)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_IN_USE),
				 errmsg("table %s was dropped or renamed by another session",
						target->name),
				 errhint("Start again.")));
	mm_sql_run(psprintf("DROP TABLE %s", target->name));
}

Oid
mm_target_prepare(const MmTarget *target, const MmCall *call)
{
	Oid			relid = target->existing;
	int			guc_level = NewGUCNestLevel();
	ListCell   *lc;

	RestrictSearchPath_compat();
	if (OidIsValid(target->existing) && target->created)
		replace(target);
	else if (target->fresh && !target->created)
		mm_sql_run(psprintf("TRUNCATE ONLY %s", target->name));
	if (target->created)
	{
		foreach(lc, mm_ddl_table(target, call))
			mm_sql_run(lfirst(lc));
		relid = get_relname_relid(target->table, target->schema_oid);
	}
	AtEOXact_GUC(true, guc_level);
	return relid;
}
