/*-------------------------------------------------------------------------
 *
 * plan.c
 *	  Column plan: contract + tuple descriptor -> a tree of names.
 *
 * Built once per checkpoint.  What is wrong with contract and table is raised
 * here; from then on nothing is, on behalf of a document (save by input
 * functions, see input.c).
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/tupdesc.h"
#include "catalog/pg_type_d.h"
#include "nodes/pg_list.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

#include "convert/input.h"
#include "convert/plan.h"

#define LEFT_MIN 16
#define LEFT_MAX 1024			/* that are kept from document to document */

/* ---------------------------------------------------------------------
 * Columns
 * ---------------------------------------------------------------------
 */

static Form_pg_attribute
find_attribute(TupleDesc desc, const char *name)
{
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);

		if (!att->attisdropped && strcmp(NameStr(att->attname), name) == 0)
			return att;
	}
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_COLUMN),
			 errmsg("column \"%s\" of the target does not exist", name)));
	return NULL;
}

static void
raise_unfillable(Form_pg_attribute att, const MmField *field)
{
	ereport(ERROR,
			(errcode(ERRCODE_DATATYPE_MISMATCH),
			 errmsg("column \"%s\" of the target cannot be filled",
					NameStr(att->attname)),
			 errdetail("It is %s%s.",
					   att->attgenerated != '\0' ? "generated, " : "",
					   format_type_with_typemod(att->atttypid,
												att->atttypmod)),
			 field->format != MM_INHERIT ?
			 errhint("A field with a \"format\" needs text, varchar, jsonb or json.") :
			 0));
}

static void
claim_attribute(MmPlan *plan, Form_pg_attribute att)
{
	if (list_member_int(plan->attnums, att->attnum))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("mapping names column \"%s\" more than once",
						NameStr(att->attname))));
	plan->attnums = lappend_int(plan->attnums, att->attnum);
}

/* The default in its text form, as the type's input function reads it. */
static void
read_default(MmColumn *column)
{
	const MmValueType *type = &column->type;
	Oid			function;
	Oid			ioparam;

	if (column->field->default_text == NULL)
		return;
	getTypeInputInfo(type->typid, &function, &ioparam);
	column->default_value = OidInputFunctionCall(function,
												 column->field->default_text,
												 ioparam, type->typmod);
	column->has_default = true;
}

/* A document is an object, which few types take. */
static void
check_document(const MmColumn *column)
{
	const MmValueType *type = mm_value_base_type(&column->type);

	if (type->kind != MM_KIND_JSONB && type->kind != MM_KIND_JSON &&
		type->kind != MM_KIND_JSON_TEXT)
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("column \"%s\" of type %s cannot hold whole documents",
						column->field->column, column->type_name),
				 errhint("Make it jsonb or json, or text with a \"format\" in the mapping.")));
}

static MmColumn *
add_column(MmPlan *plan, const MmField *field, int number, TupleDesc desc,
		   bool careful)
{
	Form_pg_attribute att = find_attribute(desc, field->column);
	MmColumn   *column = &plan->columns[plan->ncolumns++];

	claim_attribute(plan, att);
	if (att->attgenerated != '\0' ||
		!mm_value_type_init(&column->type, att->atttypid, att->atttypmod,
							plan->contract, field->format, careful))
		raise_unfillable(att, field);
	mm_value_type_set_builder(&column->type, plan->builder);
	column->type.arena = plan->arena;
	for (MmValueType *type = &column->type; type != NULL;
		 type = type->kind == MM_KIND_DOMAIN ? type->element : NULL)
		type->keep_null = field->format == MM_JSON_CANONICAL &&
			field->not_null;
	column->index = att->attnum - 1;
	column->number = number;
	column->not_null = field->not_null;
	column->checks_null = column->type.kind == MM_KIND_DOMAIN;
	if (column->not_null || column->checks_null)
		plan->checked[plan->nchecked++] = column;
	column->on_error = field->on_error != MM_INHERIT ?
		(MmOnError) field->on_error : plan->contract->on_error;
	column->field = field;
	column->type_name = format_type_with_typemod(att->atttypid,
												 att->atttypmod);
	read_default(column);
	return column;
}

static void
find_keys(MmPlan *plan)
{
	for (int i = 0; i < plan->ncolumns; i++)
	{
		MmColumn   *column = &plan->columns[i];
		bool		is_key = false;
		ListCell   *lc;

		foreach(lc, plan->contract->key_columns)
			is_key = is_key ||
				strcmp(lfirst(lc), column->field->column) == 0;
		if (is_key && column->type.typlen == -1)
			plan->large_keys = lappend(plan->large_keys, column);
		else if (is_key)
			plan->small_key_bytes += MAXALIGN(column->type.typlen);
	}
}

static void
add_extra_column(MmPlan *plan, TupleDesc desc)
{
	const char *name = plan->contract->extra_column;
	Form_pg_attribute att;

	plan->extra = -1;
	if (name == NULL || !mm_contract_needs_extra(plan->contract))
		return;
	att = find_attribute(desc, name);
	claim_attribute(plan, att);
	if (att->atttypid != JSONBOID || att->attgenerated != '\0')
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("column \"%s\" of the target must be jsonb", name)));
	plan->extra = att->attnum - 1;
}

/* ---------------------------------------------------------------------
 * The tree
 * ---------------------------------------------------------------------
 */

static MmNode *
make_node(MmNode *parent, MmEntry *entry)
{
	MmNode	   *node = palloc0(sizeof(MmNode));

	node->parent = parent;
	node->entry = entry;
	node->depth = parent ? parent->depth + 1 : 0;
	node->size = 8;
	node->entries = palloc(sizeof(MmEntry *) * node->size);
	node->by_key = mm_keymap_create(CurrentMemoryContext, 8, NULL);
	return node;
}

/* The entry of a name, made when there is none yet. */
static MmEntry *
get_entry(MmNode *node, const char *name, bool *found)
{
	MmKey		key = {name, strlen(name)};
	MmKeyEntry *slot = mm_keymap_insert(node->by_key, key, found);
	MmEntry    *entry;

	if (*found)
		return node->entries[slot->number];
	if (node->nentries == node->size)
	{
		node->size *= 2;
		node->entries = repalloc(node->entries,
								 sizeof(MmEntry *) * node->size);
	}
	entry = palloc0(sizeof(MmEntry));
	mm_walk_set_name(&entry->name, name, key.len);
	entry->left = -1;
	slot->number = node->nentries;
	node->entries[node->nentries++] = entry;
	return entry;
}

static void
raise_path_twice(const MmField *field)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("mapping names path \"%s\" more than once",
					field->path)));
}

/* Makes the nodes of a path; the entry of its last name. */
static MmEntry *
add_path(MmPlan *plan, const MmField *field)
{
	MmNode	   *node = plan->root;
	ListCell   *lc;

	foreach(lc, field->parts)
	{
		bool		last = lnext(field->parts, lc) == NULL;
		bool		found;
		MmEntry    *entry = get_entry(node, lfirst(lc), &found);

		if (found && (last || entry->kind != MM_ENTRY_NODE))
			raise_path_twice(field);
		if (last)
			return entry;
		if (!found)
		{
			entry->kind = MM_ENTRY_NODE;
			entry->number = MM_TALLY_UNKNOWN;
			entry->node = make_node(node, entry);
		}
		node = entry->node;
	}
	elog(ERROR, "a path has no names");
	return NULL;
}

static void
add_field(MmPlan *plan, const MmField *field, int number, TupleDesc desc,
		  bool careful)
{
	MmEntry    *entry;

	if (field->kind == MM_FIELD_DOCUMENT)
	{
		plan->document = add_column(plan, field, number, desc, careful);
		check_document(plan->document);
		plan->document_entry = (MmEntry) {
			.kind = MM_ENTRY_COLUMN,
			.column = plan->document,
			.number = number,
		};
		return;
	}
	entry = add_path(plan, field);
	entry->number = number;
	entry->kind = field->kind == MM_FIELD_IGNORE ? MM_ENTRY_IGNORE :
		field->kind == MM_FIELD_EXTRA ? MM_ENTRY_EXTRA : MM_ENTRY_COLUMN;
	if (entry->kind == MM_ENTRY_COLUMN)
	{
		entry->column = add_column(plan, field, number, desc, careful);
		entry->column->entry = entry;
	}
}

/* Until documents teach better, the order is that of the contract. */
static void
link_entries(MmNode *node)
{
	MmEntry    *last = &node->start;

	for (int i = 0; i < node->nentries; i++)
	{
		last = last->next = node->entries[i];
		if (last->kind == MM_ENTRY_NODE)
			link_entries(last->node);
	}
}

MmPlan *
mm_plan_create(const MmContract *contract, TupleDesc desc, bool careful)
{
	MmPlan	   *plan = palloc0(sizeof(MmPlan));
	int			nfields = list_length(contract->fields);
	int			number = MM_TALLY_UNKNOWN + 1;
	ListCell   *lc;

	plan->contract = contract;
	plan->context = CurrentMemoryContext;
	plan->tally = mm_tally_create(nfields + 1);
	plan->arena = palloc(sizeof(MmArena));
	plan->arena->used = 0;
	plan->builder = mm_jsonb_create(plan->arena);
	plan->columns = palloc0(sizeof(MmColumn) * nfields);
	plan->checked = palloc0(sizeof(MmColumn *) * nfields);
	plan->root = make_node(NULL, NULL);
	foreach(lc, contract->fields)
		add_field(plan, lfirst(lc), number++, desc, careful);
	link_entries(plan->root);
	find_keys(plan);
	add_extra_column(plan, desc);
	plan->left_size = LEFT_MIN;
	plan->left = palloc(sizeof(MmLeftover) * LEFT_MIN);
	list_sort(plan->attnums, list_int_cmp);
	return plan;
}

List *
mm_plan_attnums(const MmPlan *plan)
{
	return plan->attnums;
}

MmTally *
mm_plan_tally(MmPlan *plan)
{
	return plan->tally;
}

char *
mm_plan_first_id(MmPlan *plan)
{
	if (plan->first_id == NULL)
		plan->first_id = mm_json_first_id(plan->doc, plan->len);
	return plan->first_id;
}

/* Notes a conflict of the document at work; it counts if that is stored. */
void
mm_plan_note(MmPlan *plan, const char *path, const MmColumn *column,
			 const char *bson_type, const char *action)
{
	MmConflict *line = palloc(sizeof(MmConflict));

	*line = (MmConflict) {
		.path = unconstify(char *, path),
		.column = column ? column->field->column : NULL,
		.column_type = column ? unconstify(char *, column->type_name) : NULL,
		.bson_type = unconstify(char *, bson_type),
		.action = unconstify(char *, action),
		.first_id = mm_plan_first_id(plan),
		.documents = 1,
	};
	plan->notes = lappend(plan->notes, line);
}

/* ---------------------------------------------------------------------
 * Documents
 * ---------------------------------------------------------------------
 */

/* One document with very many should not hold the memory for ever. */
static void
forget_leftovers(MmPlan *plan)
{
	plan->nleft = 0;
	if (plan->left_size > LEFT_MAX)
	{
		plan->left_size = LEFT_MAX;
		plan->left = repalloc(plan->left, sizeof(MmLeftover) * LEFT_MAX);
	}
}

void
mm_plan_forget_rows(MmPlan *plan)
{
	plan->arena->used = 0;
}

bool
mm_plan_convert(MmPlan *plan, const uint8 *doc, uint32 len, Datum *values,
				bool *isnull, int64 *diverted, MmReject *reject)
{
	const char *fault;

	plan->doc = doc;
	plan->len = len;
	plan->values = values;
	plan->isnull = isnull;
	plan->serial++;
	plan->elements = 0;
	plan->nfilled = 0;
	plan->first_id = NULL;
	plan->notes = NIL;
	plan->extra_altered = false;
	forget_leftovers(plan);
	if (!mm_row_read(plan, doc, len, &fault))
	{
		mm_reject_corrupt(plan, fault, reject);
		return mm_settle_reject(plan, reject);
	}
	return mm_settle(plan, diverted, reject);
}
