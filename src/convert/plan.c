/*-------------------------------------------------------------------------
 *
 * plan.c
 *	  Column plan: contract and tuple descriptor; document -> row.
 *
 * A document is walked once.  Documents of a collection mostly share the
 * order of their keys, so each column remembers which one came behind it the
 * last time: that key is compared first, and only when it is another one the
 * hash table is asked.
 *
 * On the walk each value becomes a Datum, or is put on the list of what is
 * left over: fields without a column, and values that do not fit.  What
 * happens to those is settled at the end, when it is known that the bytes are
 * a valid document and that no later duplicate of the key has taken the place
 * of the value.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/tupdesc.h"
#include "catalog/pg_type_d.h"
#include "nodes/pg_list.h"
#include "utils/builtins.h"

#include "convert/convert.h"
#include "convert/json.h"
#include "convert/jsonb.h"
#include "convert/keymap.h"
#include "convert/names.h"
#include "convert/value.h"
#include "convert/walk.h"

#define LEFT_MIN 16
#define LEFT_MAX 1024			/* that are kept from document to document */

typedef struct Column Column;

struct Column
{
	const char *key;
	uint32		key_len;
	MmKind		kind;
	int			index;			/* in values and isnull */
	bool		not_null;
	uint64		serial;			/* of the document that had it last */
	int			left;			/* index of its leftover there, or -1 */
	Column	   *next;			/* came behind it then; or NULL */
	const MmField *field;
	const char *type_name;
};

/* A value that is in no column. */
typedef struct Leftover
{
	MmValue		value;
	Column	   *column;			/* that it does not fit, or NULL */
	MmFit		fit;
	MmTextFailure failure;		/* with MM_FIT_TEXT */
	bool		overridden;		/* by a later duplicate of the key */
} Leftover;

struct MmPlan
{
	MmOnError	on_error;
	MmInvalidText invalid_text;
	int			extra;			/* index of the extra column, or -1 */
	int			ncolumns;
	Column	   *columns;
	mm_keymap_hash *by_key;
	List	   *attnums;
	MmJsonbBuilder *jsonb;

	/* of the document at work */
	uint64		serial;
	Column		start;			/* stands before the first column */
	int			nfilled;		/* columns that it has */
	int			nleft;
	int			left_size;
	Leftover   *left;
};

/* ---------------------------------------------------------------------
 * Plan
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

/* A type modifier would cut or round. */
static MmKind
attribute_kind(Form_pg_attribute att, bool canonical)
{
	MmKind		kind = mm_value_kind(att->atttypid, canonical);

	if (kind == MM_KIND_NONE || att->atttypmod != -1 ||
		att->attgenerated != '\0' ||
		(canonical && kind < MM_KIND_CANONICAL_TEXT))
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("column \"%s\" of the target cannot be filled",
						NameStr(att->attname)),
				 errdetail("It is %s%s.",
						   att->attgenerated != '\0' ? "generated, " : "",
						   format_type_with_typemod(att->atttypid,
													att->atttypmod))));
	return kind;
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

static void
add_column(MmPlan *plan, const MmField *field, TupleDesc desc)
{
	Form_pg_attribute att = find_attribute(desc, field->column);
	Column	   *column = &plan->columns[plan->ncolumns];
	MmKey		key = {field->key, strlen(field->key)};
	bool		found;

	mm_keymap_insert(plan->by_key, key, &found)->number = plan->ncolumns++;
	if (found)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("mapping names path \"%s\" more than once",
						field->path)));
	claim_attribute(plan, att);
	column->key = field->key;
	column->key_len = key.len;
	column->kind = attribute_kind(att, field->canonical);
	column->index = att->attnum - 1;
	column->not_null = field->not_null;
	column->field = field;
	column->type_name = format_type_be(att->atttypid);
}

/* Until documents teach better, the order is that of the contract. */
static void
link_columns(MmPlan *plan)
{
	Column	   *last = &plan->start;

	for (int i = 0; i < plan->ncolumns; i++)
		last = last->next = &plan->columns[i];
}

MmPlan *
mm_plan_create(const MmContract *contract, TupleDesc desc)
{
	MmPlan	   *plan = palloc0(sizeof(MmPlan));
	ListCell   *lc;

	plan->on_error = contract->on_error;
	plan->invalid_text = contract->invalid_text;
	plan->columns = palloc0(sizeof(Column) * list_length(contract->fields));
	plan->by_key = mm_keymap_create(CurrentMemoryContext,
									list_length(contract->fields), NULL);
	foreach(lc, contract->fields)
		add_column(plan, lfirst(lc), desc);
	link_columns(plan);
	plan->jsonb = mm_jsonb_create();
	plan->left_size = LEFT_MIN;
	plan->left = palloc(sizeof(Leftover) * LEFT_MIN);
	plan->extra = -1;
	if (contract->extra_column != NULL)
	{
		Form_pg_attribute att = find_attribute(desc, contract->extra_column);

		claim_attribute(plan, att);
		if (attribute_kind(att, false) != MM_KIND_JSONB)
			ereport(ERROR,
					(errcode(ERRCODE_DATATYPE_MISMATCH),
					 errmsg("column \"%s\" of the target must be jsonb",
							contract->extra_column)));
		plan->extra = att->attnum - 1;
	}
	list_sort(plan->attnums, list_int_cmp);
	return plan;
}

List *
mm_plan_attnums(const MmPlan *plan)
{
	return plan->attnums;
}

/* ---------------------------------------------------------------------
 * Rejects
 * ---------------------------------------------------------------------
 */

static bool
reject_corrupt(const MmPlan *plan, const char *fault, MmReject *reject)
{
	*reject = (MmReject) {
		.stage = "parse",
		.stop = plan->on_error == MM_ON_ERROR_STOP,
		.sqlstate = ERRCODE_INVALID_BINARY_REPRESENTATION,
		.message = pstrdup("invalid BSON document"),
		.detail = pstrdup(fault),
	};
	return false;
}

/* Path of a value, or of the text in it that failed; value may be NULL. */
static char *
value_path(const MmValue *value, const MmTextFailure *failure)
{
	char	   *rest = failure ? failure->path : NULL;
	char	   *key;

	if (value == NULL)
		return rest;
	key = mm_names_quote(mm_text_clean(value->key, value->key_len));
	if (rest == NULL)
		return key;
	return psprintf("%s%s%s", key, rest[0] == '[' ? "" : ".", rest);
}

/* What all rejects for the sake of a value share. */
static void
begin_reject(const MmPlan *plan, const MmValue *value, const Column *column,
			 MmReject *reject)
{
	*reject = (MmReject) {
		.stage = "convert",
		.stop = plan->on_error == MM_ON_ERROR_STOP,
		.sqlstate = ERRCODE_DATA_EXCEPTION,
	};
	if (value != NULL)
		reject->bson_type = pstrdup(mm_walk_type_name(value->type));
	if (column != NULL)
	{
		reject->path = pstrdup(column->field->path);
		reject->column = pstrdup(column->field->column);
		reject->column_type = pstrdup(column->type_name);
	}
	else
		reject->path = value_path(value, NULL);
}

/* For a value that is in a column, or for the extra column (NULL). */
static bool
reject_text(const MmPlan *plan, const MmValue *value, const Column *column,
			const MmTextFailure *failure, MmReject *reject)
{
	bool		nul = failure->fault == MM_TEXT_NUL;

	begin_reject(plan, value, column, reject);
	reject->sqlstate = nul ? ERRCODE_UNTRANSLATABLE_CHARACTER :
		ERRCODE_CHARACTER_NOT_IN_REPERTOIRE;
	reject->message = pstrdup(nul ? "invalid byte 0x00 in string" :
							  "invalid byte sequence in UTF-8 string");
	reject->detail = pstrdup(nul ?
							 "PostgreSQL text cannot hold NUL characters." :
							 "PostgreSQL text must be valid UTF-8.");
	reject->path = value_path(value, failure);
	reject->bson_type = pstrdup(mm_walk_type_name(failure->bson_type));
	return false;
}

static bool
reject_misfit(const MmPlan *plan, const Leftover *left, MmReject *reject)
{
	const Column *column = left->column;
	const char *path = column->field->path;

	begin_reject(plan, &left->value, column, reject);
	switch (left->fit)
	{
		case MM_FIT_RANGE:
			reject->sqlstate = left->value.type == MM_BSON_DATE ?
				ERRCODE_DATETIME_VALUE_OUT_OF_RANGE :
				ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE;
			reject->message = psprintf("\"%s\" is out of range for type %s",
									   path, column->type_name);
			break;
		case MM_FIT_INEXACT:
			reject->message = psprintf("\"%s\" would not be exact in type %s",
									   path, column->type_name);
			break;
		default:
			reject->sqlstate = ERRCODE_MOST_SPECIFIC_TYPE_MISMATCH;
			reject->message = psprintf("\"%s\" is %s where %s is expected",
									   path, reject->bson_type,
									   column->type_name);
			break;
	}
	reject->detail = psprintf("The value is %s.",
							  mm_json_excerpt(&left->value));
	return false;
}

static bool
reject_no_column(const MmPlan *plan, const Leftover *left, MmReject *reject)
{
	begin_reject(plan, &left->value, NULL, reject);
	reject->message = psprintf("\"%s\" has no column", reject->path);
	reject->detail = pstrdup("There is no column \"_extra\" to keep it in.");
	return false;
}

static bool
reject_null(const MmPlan *plan, const Column *column, MmReject *reject)
{
	begin_reject(plan, NULL, column, reject);
	reject->sqlstate = ERRCODE_NOT_NULL_VIOLATION;
	reject->message = psprintf(column->serial == plan->serial ?
							   "\"%s\" is null" : "\"%s\" is missing",
							   column->field->path);
	reject->detail = psprintf("Column \"%s\" must not be null.",
							  column->field->column);
	return false;
}

/* ---------------------------------------------------------------------
 * The walk
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
		plan->left = repalloc(plan->left, sizeof(Leftover) * LEFT_MAX);
	}
}

static void
leave(MmPlan *plan, const MmValue *value, Column *column, MmFit fit,
	  const MmTextFailure *failure)
{
	Leftover   *left;

	if (plan->nleft == plan->left_size)
	{
		plan->left_size *= 2;
		plan->left = repalloc(plan->left, sizeof(Leftover) * plan->left_size);
	}
	if (column != NULL)
		column->left = plan->nleft;
	left = &plan->left[plan->nleft++];
	left->value = *value;
	left->column = column;
	left->fit = fit;
	left->overridden = false;
	if (fit == MM_FIT_TEXT)
		left->failure = *failure;
}

/* The key was there before: what was left over of it is so no more. */
static void
override(MmPlan *plan, const Column *column)
{
	if (column->left >= 0)
		plan->left[column->left].overridden = true;
}

/*
 * A value into its column.  The column of a value that does not fit is NULL,
 * whatever becomes of the value.
 */
static inline void
fill(MmPlan *plan, Column *column, const MmValue *value, Datum *values,
	 bool *isnull)
{
	MmTextFailure failure;
	MmFit		fit;

	if (column->serial == plan->serial)
		override(plan, column);
	else
	{
		column->serial = plan->serial;
		plan->nfilled++;
	}
	column->left = -1;
	fit = mm_value_convert(plan->jsonb, value, column->kind,
						   plan->invalid_text, &values[column->index],
						   &failure);
	isnull[column->index] = fit != MM_FIT_GOOD;
	if (fit > MM_FIT_NULL)
		leave(plan, value, column, fit, &failure);
}

static Column *
find_column(MmPlan *plan, const MmValue *value)
{
	MmKey		key = {value->key, value->key_len};
	MmKeyEntry *entry = mm_keymap_lookup(plan->by_key, key);

	return entry ? &plan->columns[entry->number] : NULL;
}

/* False at a fault of the document, which the walk has. */
static bool
read_document(MmPlan *plan, MmWalk *walk, Datum *values, bool *isnull)
{
	Column	   *last = &plan->start;
	uint32		elements = 0;

	while (!mm_walk_at_end(walk))
	{
		Column	   *column = last->next;
		MmValue		value;

		mm_walk_type(walk, &value);
		if (column == NULL ||
			!mm_walk_expected_key(walk, &value, column->key, column->key_len))
		{
			if (!mm_walk_key(walk, &value))
				return false;
			column = find_column(plan, &value);
			if (column != NULL)
				last->next = column;
		}
		if (!mm_walk_value(walk, &value))
			return false;
		if (mm_walk_is_nested(&value) &&
			!mm_walk_validate_value(walk, &value, &elements))
			return false;
		if (++elements > MM_WALK_MAX_ELEMENTS)
			return mm_walk_fail(walk, "There are more than 3000000 elements.");
		if (column == NULL)
			leave(plan, &value, NULL, MM_FIT_GOOD, NULL);
		else
		{
			fill(plan, column, &value, values, isnull);
			last = column;
		}
	}
	return true;
}

/* ---------------------------------------------------------------------
 * What the document lacks, and what is left over
 * ---------------------------------------------------------------------
 */

/* Columns that the document has are written already. */
static void
fill_absent(MmPlan *plan, Datum *values, bool *isnull)
{
	for (int i = 0; i < plan->ncolumns; i++)
	{
		const Column *column = &plan->columns[i];

		if (column->serial != plan->serial)
		{
			values[column->index] = (Datum) 0;
			isnull[column->index] = true;
		}
	}
}

/*
 * What happens to a value under the contract.  False: the document is
 * rejected.  *keep: the value goes to the extra column.  A column that must
 * not be null leaves no choice but to reject.
 */
static bool
settle_one(const MmPlan *plan, const Leftover *left, bool *keep,
		   MmReject *reject)
{
	const Column *column = left->column;

	*keep = true;
	if (left->fit == MM_FIT_TEXT)
		return reject_text(plan, &left->value, column, &left->failure,
						   reject);
	if (column == NULL)
		return plan->extra >= 0 || reject_no_column(plan, left, reject);
	if (plan->on_error == MM_ON_ERROR_SET_NULL && !column->not_null)
	{
		*keep = false;
		return true;
	}
	if (plan->on_error != MM_ON_ERROR_EXTRA || column->not_null ||
		plan->extra < 0)
		return reject_misfit(plan, left, reject);
	return true;
}

/* The extra column is NULL when there is nothing to keep. */
static bool
fill_extra(const MmPlan *plan, const MmValue *kept, int nkept, Datum *values,
		   bool *isnull, MmReject *reject)
{
	MmTextFailure failure;
	Jsonb	   *extra;

	if (plan->extra < 0)
		return true;
	values[plan->extra] = (Datum) 0;
	isnull[plan->extra] = true;
	if (nkept == 0)
		return true;
	mm_jsonb_begin(plan->jsonb, plan->invalid_text);
	mm_jsonb_begin_object(plan->jsonb);
	for (int i = 0; i < nkept; i++)
	{
		mm_jsonb_key(plan->jsonb, kept[i].key, kept[i].key_len);
		mm_jsonb_value(plan->jsonb, &kept[i], MM_JSON_RELAXED);
	}
	mm_jsonb_end_object(plan->jsonb);
	extra = mm_jsonb_finish(plan->jsonb, &failure);
	if (extra == NULL)
		return reject_text(plan, NULL, NULL, &failure, reject);
	values[plan->extra] = JsonbPGetDatum(extra);
	isnull[plan->extra] = false;
	return true;
}

static bool
check_not_null(const MmPlan *plan, const bool *isnull, MmReject *reject)
{
	for (int i = 0; i < plan->ncolumns; i++)
	{
		const Column *column = &plan->columns[i];

		if (column->not_null && isnull[column->index])
			return reject_null(plan, column, reject);
	}
	return true;
}

/*
 * Settles what is left over.  *diverted grows only when the document will be
 * stored, so that the sums of the counters close.
 */
static bool
settle(const MmPlan *plan, Datum *values, bool *isnull, int64 *diverted,
	   MmReject *reject)
{
	MmValue    *kept = NULL;
	int64		misfits = 0;
	int			nkept = 0;

	if (plan->nleft > 0)
		kept = palloc(sizeof(MmValue) * plan->nleft);
	for (int i = 0; i < plan->nleft; i++)
	{
		const Leftover *left = &plan->left[i];
		bool		keep;

		if (left->overridden)
			continue;
		if (!settle_one(plan, left, &keep, reject))
			return false;
		misfits += left->column != NULL;
		if (keep)
			kept[nkept++] = left->value;
	}
	if (!check_not_null(plan, isnull, reject) ||
		!fill_extra(plan, kept, nkept, values, isnull, reject))
		return false;
	*diverted += misfits;
	return true;
}

bool
mm_plan_convert(MmPlan *plan, const uint8 *doc, uint32 len, Datum *values,
				bool *isnull, int64 *diverted, MmReject *reject)
{
	MmWalk		walk;

	plan->serial++;
	plan->nfilled = 0;
	forget_leftovers(plan);
	if (!mm_walk_check_len(&walk, len) ||
		!mm_walk_begin(&walk, doc, len) ||
		!read_document(plan, &walk, values, isnull))
		return reject_corrupt(plan, walk.fault, reject);
	if (plan->nfilled < plan->ncolumns)
		fill_absent(plan, values, isnull);
	return settle(plan, values, isnull, diverted, reject);
}
