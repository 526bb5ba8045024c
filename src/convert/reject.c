/*-------------------------------------------------------------------------
 *
 * reject.c
 *	  Why a document is rejected: SQLSTATE, message, place.
 *
 * Each function fills *reject and returns false, for the caller to return.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/builtins.h"

#include "convert/json.h"
#include "convert/names.h"
#include "convert/plan.h"

bool
mm_reject_corrupt(const MmPlan *plan, const char *fault, MmReject *reject)
{
	*reject = (MmReject) {
		.stage = "parse",
		.stop = plan->contract->on_error == MM_ON_ERROR_STOP,
		.sqlstate = ERRCODE_INVALID_BINARY_REPRESENTATION,
		.message = pstrdup("invalid BSON document"),
		.detail = pstrdup(fault),
	};
	return false;
}

/* The names on the way to a value in the document "where". */
List *
mm_reject_parts(const MmNode *where, const MmValue *value)
{
	List	   *parts = list_make1(mm_text_clean(value->key, value->key_len));

	for (; where->parent != NULL; where = where->parent)
		parts = lcons(unconstify(char *, where->entry->name.s), parts);
	return parts;
}

char *
mm_reject_path(const MmNode *where, const MmValue *value)
{
	return mm_names_join(mm_reject_parts(where, value));
}

/*
 * With the path of a text within the value behind it; that alone when the
 * value is the whole document, which has no name.
 */
static char *
text_path(const MmPlan *plan, const MmLeftover *left)
{
	char	   *path = mm_reject_path(left->where, &left->value);
	char	   *rest = left->failure.path;

	if (rest == NULL)
		return path;
	if (left->value.data == plan->doc)
		return rest;
	return psprintf("%s%s%s", path, rest[0] == '[' ? "" : ".", rest);
}

static const MmColumn *
column_of(const MmLeftover *left)
{
	return left->entry && left->entry->kind == MM_ENTRY_COLUMN ?
		left->entry->column : NULL;
}

/* What all rejects for the sake of a value share. */
static void
begin_reject(const MmPlan *plan, const MmColumn *column, MmReject *reject)
{
	MmOnError	on_error = column ? column->on_error :
		plan->contract->on_error;

	*reject = (MmReject) {
		.stage = "convert",
		.stop = on_error == MM_ON_ERROR_STOP,
		.field_stops = column && column->field->on_error == MM_ON_ERROR_STOP,
		.sqlstate = ERRCODE_DATA_EXCEPTION,
	};
	if (column != NULL)
	{
		if (column->field->path != NULL)
			reject->path = pstrdup(column->field->path);
		reject->column = pstrdup(column->field->column);
		reject->column_type = pstrdup(column->type_name);
	}
}

static void
explain_text(const MmTextFailure *failure, MmReject *reject)
{
	switch (failure->fault)
	{
		case MM_TEXT_NUL:
			reject->sqlstate = ERRCODE_UNTRANSLATABLE_CHARACTER;
			reject->message = pstrdup("invalid byte 0x00 in string");
			reject->detail = pstrdup("PostgreSQL text cannot hold NUL characters.");
			break;
		default:
			reject->sqlstate = ERRCODE_CHARACTER_NOT_IN_REPERTOIRE;
			reject->message = pstrdup("invalid byte sequence in UTF-8 string");
			reject->detail = pstrdup("PostgreSQL text must be valid UTF-8.");
			break;
	}
	/* the name of an element has no type, but it is text */
	reject->bson_type = pstrdup(failure->bson_type == 0 ? "string" :
								mm_walk_type_name(failure->bson_type));
}

/*
 * What the value does not fit: a column's type, or an embedded document.  The
 * document itself has no path.
 */
static void
explain_misfit(const MmPlan *plan, const MmLeftover *left,
			   const MmColumn *column, MmReject *reject)
{
	const char *type = column ? column->type_name : "object";
	const char *value = left->value.data == plan->doc ? "the document" :
		psprintf("\"%s\"", reject->path);

	switch (left->fit)
	{
		case MM_FIT_RANGE:
			reject->sqlstate = left->value.type == MM_BSON_DATE ?
				ERRCODE_DATETIME_VALUE_OUT_OF_RANGE :
				left->value.type == MM_BSON_STRING ?
				ERRCODE_STRING_DATA_RIGHT_TRUNCATION :
				ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE;
			reject->message = psprintf("%s is out of range for type %s", value,
									   type);
			break;
		case MM_FIT_INEXACT:
			reject->message = psprintf("%s would not be exact in type %s",
									   value, type);
			break;
		case MM_FIT_REFUSED:
			reject->sqlstate = ERRCODE_INVALID_TEXT_REPRESENTATION;
			reject->message = psprintf("%s is not accepted by type %s", value,
									   type);
			break;
		default:
			reject->sqlstate = ERRCODE_MOST_SPECIFIC_TYPE_MISMATCH;
			reject->message = psprintf("%s is %s where %s is expected", value,
									   reject->bson_type, type);
			break;
	}
	reject->detail = psprintf("The value is %s.",
							  mm_json_excerpt(&left->value));
}

bool
mm_reject_leftover(const MmPlan *plan, const MmLeftover *left,
				   MmReject *reject)
{
	const MmColumn *column = column_of(left);

	begin_reject(plan, column, reject);
	if (reject->path == NULL)
		reject->path = mm_reject_path(left->where, &left->value);
	reject->bson_type = pstrdup(mm_walk_type_name(left->value.type));
	if (left->kind == MM_LEFT_MISFIT && left->fit == MM_FIT_TEXT)
	{
		explain_text(&left->failure, reject);
		reject->path = text_path(plan, left);
	}
	else if (left->kind == MM_LEFT_MISFIT)
		explain_misfit(plan, left, column, reject);
	else
	{
		reject->message = psprintf("\"%s\" has no column", reject->path);
		reject->detail = pstrdup(plan->contract->extra == MM_EXTRA_REJECT ?
								 "The mapping says that such documents are to be rejected." :
								 "There is no column to keep it in, \"_extra\" or extra_column of the mapping.");
	}
	return false;
}

/* A text on its way into the extra column. */
bool
mm_reject_extra_text(const MmPlan *plan, const MmTextFailure *failure,
					 MmReject *reject)
{
	begin_reject(plan, NULL, reject);
	explain_text(failure, reject);
	reject->path = failure->path;
	reject->column = pstrdup(plan->contract->extra_column);
	reject->column_type = pstrdup("jsonb");
	return false;
}

bool
mm_reject_null(const MmPlan *plan, const MmColumn *column, MmReject *reject)
{
	const char *path = column->field->path ? column->field->path : "";

	begin_reject(plan, column, reject);
	reject->sqlstate = ERRCODE_NOT_NULL_VIOLATION;
	reject->message = psprintf(column->entry &&
							   column->entry->serial == plan->serial ?
							   "\"%s\" is null" : "\"%s\" is missing", path);
	reject->detail = psprintf("Column \"%s\" must not be null.",
							  column->field->column);
	return false;
}

/* It would fail the build of the primary key, when all rows are there. */
bool
mm_reject_key(const MmPlan *plan, MmReject *reject)
{
	begin_reject(plan, linitial(plan->large_keys), reject);
	reject->stage = "insert";
	reject->stop = false;
	reject->sqlstate = ERRCODE_PROGRAM_LIMIT_EXCEEDED;
	reject->message = psprintf("\"%s\" is too large for a primary key",
							   reject->path ? reject->path : "");
	reject->detail = pstrdup("An index entry can have about 2700 bytes.");
	return false;
}
