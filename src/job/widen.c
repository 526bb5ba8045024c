/*-------------------------------------------------------------------------
 *
 * widen.c
 *	  Columns for fields that the contract does not know (extra: add_column).
 *
 * A loader that meets such a field reads on to the end of its checkpoint, to
 * collect others, and gives the checkpoint up, which releases its lock on the
 * table; then it comes here, and starts again at the committed position with
 * the new contract.  The row of the table in job_table is
 * locked meanwhile, so that of several loaders with the same field one adds
 * the column and the others find it there.  NO KEY UPDATE: dead letters of
 * loaders that are still at work refer to that row.
 *
 * ALTER TABLE waits for the checkpoints of the other loaders, and they for it
 * when they begin the next one.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/relation.h"
#include "catalog/pg_class.h"
#include "commands/comment.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "convert/names.h"
#include "job/catalog.h"
#include "job/steps.h"
#include "job/widen.h"
#include "job/worker.h"

/* Columns that stay free, for people. */
#define COLUMNS_LEFT 10

static char *
copy_text(const char *text)
{
	return text ? pstrdup(text) : NULL;
}

static bool
has_path(const List *fields, const char *path)
{
	ListCell   *lc;

	foreach(lc, fields)
	{
		const MmField *field = lfirst(lc);

		if (field->path != NULL && strcmp(field->path, path) == 0)
			return true;
	}
	return false;
}

List *
mm_widen_add_fields(List *list, const List *fields)
{
	ListCell   *lc;

	foreach(lc, fields)
	{
		const MmField *field = lfirst(lc);
		MmField    *copy;

		if (has_path(list, field->path))
			continue;
		copy = palloc(sizeof(MmField));
		*copy = *field;
		copy->path = copy_text(field->path);
		copy->parts = mm_names_split(copy->path);
		copy->column = copy_text(field->column);
		copy->type = copy_text(field->type);
		copy->bson_types = copy_text(field->bson_types);
		list = lappend(list, copy);
	}
	return list;
}

/* Attribute numbers in use, those of dropped columns included. */
static int
count_attributes(Oid relid)
{
	Relation	rel = relation_open(relid, AccessShareLock);
	int			n = RelationGetNumberOfAttributes(rel);

	relation_close(rel, NoLock);
	return n;
}

static bool
has_column(const MmContract *contract, const char *column)
{
	return mm_contract_has_column(contract, column) ||
		(contract->extra_column != NULL &&
		 strcmp(contract->extra_column, column) == 0);
}

/* Was it made for another path?  Types may differ, and so may the source. */
static bool
is_of_other_path(Oid relid, AttrNumber attnum, const MmField *field)
{
	char	   *comment = GetComment(relid, RelationRelationId, attnum);

	return comment != NULL && strncmp(comment, "MongoDB: ", 9) == 0 &&
		strstr(comment, psprintf(" %s (", field->path)) == NULL;
}

/*
 * Is this a column that nothing fills yet, as an earlier load has left it, and
 * that can hold the field?  Then the field gets its type.  A default fills it.
 */
static bool
take_column(Oid relid, const MmContract *contract, const char *name,
			MmField *field)
{
	AttrNumber	attnum = get_attnum(relid, name);
	MmSqlType	wanted = mm_type_parse(field->type);
	Form_pg_attribute att;
	Relation	rel;
	bool		fits;

	if (attnum <= 0 || has_column(contract, name))
		return false;
	rel = relation_open(relid, AccessShareLock);
	att = TupleDescAttr(RelationGetDescr(rel), attnum - 1);
	fits = !att->attnotnull && !att->atthasdef && att->attidentity == '\0' &&
		mm_type_column_takes(att, &wanted) &&
		!is_of_other_path(relid, attnum, field);
	if (fits)
		field->type = mm_type_text(att->atttypid, att->atttypmod);
	relation_close(rel, NoLock);
	return fits;
}

/*
 * Finds the column of the field, under its name or one with a number behind
 * it: one that is there and may be taken, or else (false) one that is to be
 * added.
 */
static bool
find_column(Oid relid, const MmContract *contract, MmField *field)
{
	char	   *name = field->column;
	bool		found = false;

	for (int i = 2; get_attnum(relid, name) != InvalidAttrNumber; i++)
	{
		found = take_column(relid, contract, name, field);
		if (found)
			break;
		name = mm_names_number(field->column, i);
	}
	field->column = name;
	return found;
}

static void
add_column(const MmJobTable *table, const MmContract *contract,
		   MmField *field)
{
	char	   *name = mm_step_lock_target(table, AccessExclusiveLock);
	char	   *comment = psprintf("MongoDB: %s %s (%s)", contract->namespace,
								   field->path, field->bson_types);

	mm_sql_run(psprintf("ALTER TABLE %s ADD COLUMN %s %s", name,
						quote_identifier(field->column), field->type));
	mm_sql_run(psprintf("COMMENT ON COLUMN %s.%s IS %s", name,
						quote_identifier(field->column),
						quote_literal_cstr(comment)));
}

/*
 * Adds what is missing; false when nothing was changed.  When the table is
 * full, further fields go to the extra column.
 */
static bool
widen(const MmJob *job, const MmJobTable *table, MmContract *contract,
	  const List *fields)
{
	bool		changed = false;
	ListCell   *lc;

	foreach(lc, fields)
	{
		MmField    *field = lfirst(lc);

		if (contract->extra != MM_EXTRA_ADD_COLUMN ||
			has_path(contract->fields, field->path))
			continue;
		changed = true;
		if (find_column(table->relid, contract, field))
		{
			contract->fields = lappend(contract->fields, field);
			continue;
		}
		if (count_attributes(table->relid) >=
			MaxHeapAttributeNumber - COLUMNS_LEFT)
		{
			contract->extra = MM_EXTRA_COLUMN;
			mm_job_event(job->job_id, "warning",
						 mm_phase_name(MM_PHASE_COPYING),
						 psprintf("table \"%s.%s\" has no room for more columns",
								  table->target_schema, table->target_table),
						 contract->extra_column ?
						 psprintf("Further fields are kept in \"%s\".",
								  contract->extra_column) :
						 "Documents with further fields are rejected.");
			continue;
		}
		add_column(table, contract, field);
		contract->fields = lappend(contract->fields, field);
	}
	return changed;
}

void
mm_widen_table(const MmJob *job, const MmJobTable *table, const List *fields)
{
	MmContract *contract;

	mm_worker_tx_begin();
	contract = mm_job_lock_contract(job->job_id, table->table_no);
	if (widen(job, table, contract, mm_widen_add_fields(NIL, fields)))
		mm_job_set_contract(job->job_id, table->table_no, contract);
	mm_worker_tx_commit();
}
