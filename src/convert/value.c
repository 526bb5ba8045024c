/*-------------------------------------------------------------------------
 *
 * value.c
 *	  One BSON value -> one Datum.
 *
 * A value is converted exactly or it does not fit: nothing is rounded, cut or
 * wrapped, and what does not fit is told by the result, never raised (but see
 * input.c).  For each type of column there is one function, which knows the
 * BSON types that can be exact in it: those of numbers, times and UUIDs are
 * in scalar.c, strings go through input.c.  types.c says which type of column
 * has which function.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "utils/array.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "convert/convert.h"
#include "convert/form.h"
#include "convert/input.h"
#include "convert/json.h"
#include "convert/jsonb.h"
#include "convert/plain.h"
#include "convert/scalar.h"
#include "convert/value.h"

static inline void
make_varlena(const void *data, uint32 len, Datum *result)
{
	memcpy(mm_plain_alloc(NULL, len, result), data, len);
}

/* ---------------------------------------------------------------------
 * Text
 * ---------------------------------------------------------------------
 */

/* Objects, arrays and the bounds of an order have no plain text form. */
static inline bool
has_text_form(const MmValue *value)
{
	return value->type != MM_BSON_OBJECT && value->type != MM_BSON_ARRAY &&
		value->type != MM_BSON_MIN_KEY && value->type != MM_BSON_MAX_KEY;
}

/*
 * The text form of a scalar, ended by NUL, in the current context.  NULL with
 * *fit when there is none.
 */
static char *
text_form(const MmValue *value, const MmValueType *type, MmFit *fit,
		  int *len, MmOutcome *outcome)
{
	StringInfoData out;

	*fit = has_text_form(value) ? MM_FIT_TEXT : MM_FIT_TYPE;
	if (*fit == MM_FIT_TYPE)
		return NULL;
	initStringInfo(&out);
	if (!mm_json_append_text(&out, value, type->uuid, type->invalid_text,
							 outcome))
		return NULL;
	*fit = MM_FIT_GOOD;
	*len = out.len;
	return out.data;
}

static MmFit
to_text_slowly(const MmValue *value, const MmValueType *type, Datum *result,
			   MmOutcome *outcome)
{
	MmFit		fit;
	int			len;
	char	   *text = text_form(value, type, &fit, &len, outcome);

	if (text != NULL)
		make_varlena(text, len, result);
	return fit;
}

static MmFit
to_text(const MmValue *value, const MmValueType *type, Datum *result,
		MmOutcome *outcome)
{
	return mm_plain_convert(value, mm_plain_text_pair(value->type),
							type->arena, result) ? MM_FIT_GOOD :
		to_text_slowly(value, type, result, outcome);
}

static MmFit
to_varchar(const MmValue *value, const MmValueType *type, Datum *result,
		   MmOutcome *outcome)
{
	MmFit		fit = to_text(value, type, result, outcome);
	text	   *t;

	if (fit != MM_FIT_GOOD)
		return fit;
	t = (text *) DatumGetPointer(*result);
	return pg_mbstrlen_with_len(VARDATA(t), VARSIZE(t) - VARHDRSZ) >
		type->limit ? MM_FIT_RANGE : MM_FIT_GOOD;
}

/* Blanks at the end would be taken for padding, so they do not fit. */
static MmFit
to_char(const MmValue *value, const MmValueType *type, Datum *result,
		MmOutcome *outcome)
{
	MmFit		fit = to_varchar(value, type, result, outcome);
	text	   *t;
	int			len;
	int			blanks;
	char	   *padded;

	if (fit != MM_FIT_GOOD)
		return fit;
	t = (text *) DatumGetPointer(*result);
	len = VARSIZE(t) - VARHDRSZ;
	if (len > 0 && VARDATA(t)[len - 1] == ' ')
		return MM_FIT_INEXACT;
	blanks = type->limit - pg_mbstrlen_with_len(VARDATA(t), len);
	padded = mm_plain_alloc(NULL, len + blanks, result);
	memcpy(padded, VARDATA(t), len);
	memset(padded + len, ' ', blanks);
	return MM_FIT_GOOD;
}

/* JSON of any value as text, also of null: it may be a key. */
static MmFit
to_json_text(const MmValue *value, const MmValueType *type, Datum *result,
			 MmOutcome *outcome)
{
	StringInfoData out;

	initStringInfo(&out);
	if (!mm_json_append(&out, value, type->form, type->invalid_text,
						type->kind == MM_KIND_JSON_TEXT, outcome))
		return MM_FIT_TEXT;
	if (type->limit > 0 && pg_mbstrlen_with_len(out.data, out.len) > type->limit)
		return MM_FIT_RANGE;
	make_varlena(out.data, out.len, result);
	return MM_FIT_GOOD;
}

/* ---------------------------------------------------------------------
 * Scalars: the common case here, the others in scalar.c
 * ---------------------------------------------------------------------
 */

static inline MmFit
to_integer(const MmValue *value, int64 min, int64 max, int64 *result)
{
	if (value->type == MM_BSON_INT32 || value->type == MM_BSON_INT64)
		*result = mm_walk_integer(value);
	else
	{
		MmFit		fit = mm_scalar_integer(value, result);

		if (fit != MM_FIT_GOOD)
			return fit;
	}
	return *result < min || *result > max ? MM_FIT_RANGE : MM_FIT_GOOD;
}

/* Dates are milliseconds since 1970 here, for which nothing less has room. */
static inline MmFit
to_bigint(const MmValue *value, int64 *result)
{
	if (value->type != MM_BSON_DATE)
		return to_integer(value, PG_INT64_MIN, PG_INT64_MAX, result);
	*result = (int64) mm_walk_uint64(value->data);
	return MM_FIT_GOOD;
}

/* Microseconds since 2000, UTC; limit: digits of a second, or -1. */
static inline MmFit
to_microseconds(const MmValue *value, int limit, TimestampTz *result,
				MmOutcome *outcome)
{
	MmFit		fit = mm_scalar_microseconds(value, result, outcome);

	return fit == MM_FIT_GOOD && limit >= 0 ?
		mm_scalar_limit_time(*result, limit) : fit;
}

static MmFit
to_bytea(const MmValue *value, Datum *result)
{
	if (value->type != MM_BSON_BINARY && value->type != MM_BSON_OBJECT_ID)
		return MM_FIT_TYPE;
	make_varlena(value->data, value->len, result);
	return MM_FIT_GOOD;
}

/* ---------------------------------------------------------------------
 * JSON, arrays, and what has an input function
 * ---------------------------------------------------------------------
 */

static MmFit
to_binary_json(const MmValue *value, const MmValueType *type, Datum *result,
		 MmOutcome *outcome)
{
	Jsonb	   *jsonb = mm_jsonb_from_unread(type->builder, value, type->form,
											 type->invalid_text,
											 &outcome->inside,
											 &outcome->failure);
	MmJsonbChanges changes;

	if (jsonb == NULL)
		return MM_FIT_TEXT;
	changes = mm_jsonb_changes(type->builder);
	outcome->duplicates += changes.duplicates;
	outcome->altered |= changes.altered > 0;
	*result = JsonbPGetDatum(jsonb);
	return MM_FIT_GOOD;
}

#define SCRATCH_ELEMENTS	64

/* For what is made on the way to an element of this array. */
static MemoryContext
scratch_of(MmValueType *type)
{
	if (type->scratch == NULL)
		type->scratch = AllocSetContextCreate(type->context,
											  "mongo_migrate array",
											  ALLOCSET_DEFAULT_SIZES);
	return type->scratch;
}

/*
 * In an array, an element is odd unless its type is one that the column holds
 * as it is; but numbers may be among numbers.
 */
static bool
is_odd(const MmValue *item, const MmValueType *element)
{
	if (element->exact & MM_TYPE_BIT(item->type) || mm_walk_is_null(item))
		return false;
	switch (item->type)
	{
		case MM_BSON_INT32:
		case MM_BSON_INT64:
		case MM_BSON_DOUBLE:
		case MM_BSON_DECIMAL:
			element = mm_value_base_type(element);
			return element->kind < MM_KIND_BIGINT ||
				element->kind > MM_KIND_NUMERIC;
		default:
			return true;
	}
}

static MmFit
add_element(const MmValue *item, MmValueType *element, ArrayBuildState *state,
			MmOutcome *outcome)
{
	Datum		datum = (Datum) 0;
	MmFit		fit;

	if (is_odd(item, element))
		return MM_FIT_TYPE;
	fit = mm_value_convert(item, element, &datum, outcome);
	if (fit > MM_FIT_NULL)
		return fit;
	outcome->widened |= fit == MM_FIT_GOOD &&
		(element->exact & MM_TYPE_BIT(item->type)) == 0;
	(void) accumArrayResult(state, datum, fit == MM_FIT_NULL, element->typid,
							state->mcontext);
	return MM_FIT_GOOD;
}

/*
 * An odd element makes the whole array a misfit; nulls are kept.  What the
 * conversion of an element leaves behind goes with a context of its own: of a
 * long array it would be gigabytes.
 */
static MmFit
to_array(const MmValue *value, MmValueType *type, Datum *result,
		 MmOutcome *outcome)
{
	MemoryContext old = CurrentMemoryContext;
	ArrayBuildState *state;
	MmFit		fit = MM_FIT_GOOD;
	MmWalk		walk;
	MmValue		item;

	if (value->type != MM_BSON_ARRAY)
		return MM_FIT_TYPE;
	state = initArrayResult(type->element->typid, old, false);
	MemoryContextSwitchTo(scratch_of(type));
	(void) mm_walk_begin(&walk, value->data, value->len);
	for (int i = 0; fit == MM_FIT_GOOD && !mm_walk_at_end(&walk); i++)
	{
		if (!mm_walk_next(&walk, &item))
			elog(ERROR, "BSON array was not validated: %s", walk.fault);
		if (i % SCRATCH_ELEMENTS == SCRATCH_ELEMENTS - 1)
			MemoryContextReset(type->scratch);
		fit = add_element(&item, type->element, state, outcome);
	}
	MemoryContextSwitchTo(old);
	if (fit == MM_FIT_TEXT)
		outcome->failure.path = psprintf("[]%s%s",
										 outcome->failure.path ? "." : "",
										 outcome->failure.path ?
										 outcome->failure.path : "");
	MemoryContextReset(type->scratch);
	if (fit == MM_FIT_GOOD)
		*result = makeArrayResult(state, old);
	return fit;
}

static MmFit
to_enum(const MmValue *value, const MmValueType *type, Datum *result,
		MmOutcome *outcome)
{
	MmFit		fit;
	int			len;
	char	   *text = text_form(value, type, &fit, &len, outcome);

	return text ? mm_input_enum(type, text, result) : fit;
}

static MmFit
to_input(const MmValue *value, MmValueType *type, Datum *result,
		 MmOutcome *outcome)
{
	MmFit		fit;
	int			len;
	char	   *text = text_form(value, type, &fit, &len, outcome);

	return text ? mm_input_call(type, text, result) : fit;
}

static MmFit
to_domain(const MmValue *value, MmValueType *type, Datum *result,
		  MmOutcome *outcome)
{
	MmFit		fit = mm_value_convert(value, type->element, result, outcome);

	return fit == MM_FIT_GOOD ? mm_input_domain(type, *result, false) : fit;
}

/* What a missing value is: MM_FIT_NULL, unless the type refuses null. */
MmFit
mm_value_null(MmValueType *type)
{
	if (type->kind != MM_KIND_DOMAIN)
		return MM_FIT_NULL;
	return mm_input_domain(type, (Datum) 0, true) == MM_FIT_GOOD ?
		MM_FIT_NULL : MM_FIT_REFUSED;
}

/* Of a value that fits: "01234" is 1234 in a column of numbers. */
bool
mm_value_loses_padding(const MmValue *value, const MmValueType *type)
{
	if (value->type != MM_BSON_STRING)
		return false;
	type = mm_value_base_type(type);
	return type->kind >= MM_KIND_BIGINT && type->kind <= MM_KIND_NUMERIC &&
		mm_input_is_padded((const char *) value->data,
						   type->kind == MM_KIND_DOUBLE ||
						   type->kind == MM_KIND_REAL);
}

/* mm_value_convert() for the types that are rarer or take longer. */
static MmFit
convert_slowly(const MmValue *value, MmValueType *type, Datum *result,
			   MmOutcome *outcome)
{
	float		real = 0;

	switch (type->kind)
	{
		case MM_KIND_VARCHAR:
			return to_varchar(value, type, result, outcome);
		case MM_KIND_CHAR:
			return to_char(value, type, result, outcome);
		case MM_KIND_JSON_TEXT:
		case MM_KIND_JSON:
			return to_json_text(value, type, result, outcome);
		case MM_KIND_REAL:
			{
				MmFit		fit = mm_scalar_real(value, &real);

				*result = Float4GetDatum(real);
				return fit;
			}
		case MM_KIND_DATE:
			return mm_scalar_day(value, result, outcome);
		case MM_KIND_UUID:
			return mm_scalar_uuid(value, type, result);
		case MM_KIND_BYTEA:
			return to_bytea(value, result);
		case MM_KIND_ENUM:
			return to_enum(value, type, result, outcome);
		case MM_KIND_ARRAY:
			return to_array(value, type, result, outcome);
		case MM_KIND_DOMAIN:
			return to_domain(value, type, result, outcome);
		case MM_KIND_INPUT:
			return to_input(value, type, result, outcome);
		default:
			elog(ERROR, "column of kind %d cannot be filled", type->kind);
			return MM_FIT_TYPE;
	}
}

/*
 * *result is written when the fit is good, *outcome as it says.  Nested
 * values have been validated; what becomes a jsonb need not be, and is not
 * good when outcome->inside is faulty.  The Datum lives in the type's arena,
 * or in the current context.
 */
MmFit
mm_value_convert(const MmValue *value, MmValueType *type, Datum *result,
				 MmOutcome *outcome)
{
	int64		integer = 0;
	double		real = 0;
	bool		boolean = false;
	MmFit		fit;

	if (mm_plain_convert(value, mm_plain_pair(value->type, type), type->arena,
						 result))
		return MM_FIT_GOOD;
	if (mm_walk_is_null(value) && !type->keep_null)
		return mm_value_null(type);
	switch (type->kind)
	{
		case MM_KIND_TEXT:
			return to_text_slowly(value, type, result, outcome);
		case MM_KIND_BIGINT:
			fit = to_bigint(value, &integer);
			*result = Int64GetDatum(integer);
			return fit;
		case MM_KIND_INTEGER:
			fit = to_integer(value, PG_INT32_MIN, PG_INT32_MAX, &integer);
			*result = Int32GetDatum((int32) integer);
			return fit;
		case MM_KIND_SMALLINT:
			fit = to_integer(value, PG_INT16_MIN, PG_INT16_MAX, &integer);
			*result = Int16GetDatum((int16) integer);
			return fit;
		case MM_KIND_DOUBLE:
			fit = mm_scalar_double(value, &real);
			*result = Float8GetDatum(real);
			return fit;
		case MM_KIND_NUMERIC:
			return mm_scalar_numeric(value, type, result);
		case MM_KIND_BOOLEAN:
			fit = mm_scalar_boolean(value, &boolean);
			*result = BoolGetDatum(boolean);
			return fit;
		case MM_KIND_TIMESTAMPTZ:
		case MM_KIND_TIMESTAMP:
			fit = to_microseconds(value, type->limit, &integer, outcome);
			*result = TimestampTzGetDatum(integer);
			return fit;
		case MM_KIND_JSONB:
			return to_binary_json(value, type, result, outcome);
		default:
			return convert_slowly(value, type, result, outcome);
	}
}
