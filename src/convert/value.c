/*-------------------------------------------------------------------------
 *
 * value.c
 *	  One BSON value -> one Datum.
 *
 * A value is converted exactly or it does not fit: nothing is rounded, cut or
 * wrapped, and what does not fit is told by the result, never raised (but see
 * input.c).  For each type of column there is one function, which knows the
 * BSON types that can be exact in it; strings go through input.c.  types.c
 * says which type of column has which function.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>

#include "mb/pg_wchar.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/jsonb.h"
#include "utils/numeric.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "convert/convert.h"
#include "convert/form.h"
#include "convert/input.h"
#include "convert/json.h"
#include "convert/jsonb.h"
#include "convert/value.h"

/* Milliseconds since 1970 of what a timestamptz can hold. */
#define MIN_DATE INT64CONST(-210866803200000)
#define MAX_DATE INT64CONST(9224318015999999)
#define EPOCH_MS \
	((POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * INT64CONST(86400000))

/* 2^63, which a double holds exactly. */
#define TWO_TO_63 9223372036854775808.0

/* Room for a varlena of len bytes. */
static inline char *
alloc_varlena(uint32 len, Datum *result)
{
	char	   *varlena = palloc(VARHDRSZ + len);

	SET_VARSIZE(varlena, VARHDRSZ + len);
	*result = PointerGetDatum(varlena);
	return VARDATA(varlena);
}

static inline void
make_varlena(const void *data, uint32 len, Datum *result)
{
	memcpy(alloc_varlena(len, result), data, len);
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

static inline bool
is_good_string(const MmValue *value)
{
	return value->type == MM_BSON_STRING &&
		mm_text_check((const char *) value->data, value->len) == MM_TEXT_GOOD;
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

static inline MmFit
to_text(const MmValue *value, const MmValueType *type, Datum *result,
		MmOutcome *outcome)
{
	if (is_good_string(value))
		make_varlena(value->data, value->len, result);
	else if (value->type == MM_BSON_OBJECT_ID)
		mm_form_object_id_digits(value->data,
								 alloc_varlena(2 * MM_OBJECT_ID_LEN, result));
	else
		return to_text_slowly(value, type, result, outcome);
	return MM_FIT_GOOD;
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
	padded = alloc_varlena(len + blanks, result);
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
	make_varlena(out.data, out.len, result);
	return MM_FIT_GOOD;
}

/*
 * For typed columns: a string, as input.c reads it.  NULL with *fit: it is no
 * string, or has a NUL, so that it denotes nothing.
 */
static const char *
string_of(const MmValue *value, MmFit *fit)
{
	*fit = MM_FIT_TYPE;
	if (value->type != MM_BSON_STRING ||
		strlen((const char *) value->data) != value->len)
		return NULL;
	return (const char *) value->data;
}

/* ---------------------------------------------------------------------
 * Numbers
 * ---------------------------------------------------------------------
 */

/* Minus zero does not fit: an integer would lose its sign. */
static MmFit
double_to_integer(double v, int64 *result)
{
	if (isnan(v))
		return MM_FIT_INEXACT;
	if (v < -TWO_TO_63 || v >= TWO_TO_63)
		return MM_FIT_RANGE;
	if (v != trunc(v) || mm_form_is_minus_zero(v))
		return MM_FIT_INEXACT;
	*result = (int64) v;
	return MM_FIT_GOOD;
}

/* A whole one, whatever its scale: 12, 12.00, 1E+3; not minus zero. */
static MmFit
decimal_to_integer(const uint8 *decimal, int64 *result)
{
	char		digits[MM_FORM_DECIMAL];
	char	   *plain;

	mm_form_decimal(decimal, digits);
	if (!mm_form_decimal_is_finite(digits) ||
		mm_form_decimal_is_minus_zero(digits))
		return MM_FIT_INEXACT;
	plain = numeric_normalize(mm_form_text_numeric(digits));
	return strchr(plain, '.') ? MM_FIT_INEXACT :
		mm_input_integer(plain, result);
}

static MmFit
to_integer_slowly(const MmValue *value, int64 *result)
{
	MmFit		fit;
	const char *text;

	switch (value->type)
	{
		case MM_BSON_DOUBLE:
			return double_to_integer(mm_walk_double(value->data), result);
		case MM_BSON_DECIMAL:
			return decimal_to_integer(value->data, result);
		case MM_BSON_BOOL:
			*result = value->data[0];
			return MM_FIT_GOOD;
		default:
			text = string_of(value, &fit);
			return text ? mm_input_integer(text, result) : fit;
	}
}

static inline MmFit
to_integer(const MmValue *value, int64 min, int64 max, int64 *result)
{
	if (value->type == MM_BSON_INT32 || value->type == MM_BSON_INT64)
		*result = mm_walk_integer(value);
	else
	{
		MmFit		fit = to_integer_slowly(value, result);

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

/*
 * A decimal that is exactly a double: the digits of the double, all of which
 * printf() knows, denote the same number.
 */
static MmFit
decimal_to_double(const uint8 *decimal, double *result)
{
	char		digits[MM_FORM_DECIMAL];
	char	   *exact;

	mm_form_decimal(decimal, digits);
	*result = strtod(digits, NULL);
	if (!mm_form_decimal_is_finite(digits) ||
		mm_form_decimal_is_minus_zero(digits))
		return MM_FIT_GOOD;
	if (!isfinite(*result))
		return MM_FIT_RANGE;
	exact = psprintf("%.1074f", *result);
	return mm_input_same_number(digits, exact) ?
		MM_FIT_GOOD : MM_FIT_INEXACT;
}

static inline MmFit
to_double(const MmValue *value, double *result)
{
	const char *text;
	int64		integer;
	MmFit		fit;

	if (value->type == MM_BSON_DOUBLE)
	{
		*result = mm_walk_double(value->data);
		return MM_FIT_GOOD;
	}
	if (value->type == MM_BSON_INT32 || value->type == MM_BSON_INT64)
	{
		integer = mm_walk_integer(value);
		*result = (double) integer;
		return *result >= TWO_TO_63 || (int64) *result != integer ?
			MM_FIT_INEXACT : MM_FIT_GOOD;
	}
	if (value->type == MM_BSON_DECIMAL)
		return decimal_to_double(value->data, result);
	text = string_of(value, &fit);
	return text ? mm_input_double(text, result) : fit;
}

static MmFit
to_real(const MmValue *value, float *result)
{
	const char *text;
	double		v = 0;
	MmFit		fit;

	if (value->type == MM_BSON_STRING)
	{
		text = string_of(value, &fit);
		return text ? mm_input_real(text, result) : fit;
	}
	fit = to_double(value, &v);
	*result = (float) v;
	if (fit == MM_FIT_GOOD && isfinite(v) && isinf(*result))
		return MM_FIT_RANGE;
	if (fit == MM_FIT_GOOD && !isnan(v) && (double) *result != v)
		return MM_FIT_INEXACT;
	return fit;
}

/*
 * A value into numeric(precision, scale).  Digits that it has no room for are
 * a misfit; zeros behind the point come and go, as they do not change it.
 */
static MmFit
limit_numeric(Numeric *number, const MmValueType *type)
{
	char	   *digits = numeric_normalize(*number);
	char	   *p = digits + (*digits == '-');
	char	   *point = strchr(p, '.');
	int			whole = point ? point - p : strlen(p);
	int			fraction = point ? strlen(point + 1) : 0;
	Datum		limited;

	if (*p == 'I')
		return MM_FIT_RANGE;
	if (*p != 'N')
	{
		if (whole == 1 && *p == '0')
			whole = 0;
		if (fraction > type->scale)
			return MM_FIT_INEXACT;
		if (whole > type->precision - type->scale)
			return MM_FIT_RANGE;
	}
	limited = DirectFunctionCall2(numeric, NumericGetDatum(*number),
								  Int32GetDatum(type->typmod));
	*number = DatumGetNumeric(limited);
	return MM_FIT_GOOD;
}

/* A numeric has no minus zero. */
static MmFit
to_any_numeric(const MmValue *value, Numeric *result)
{
	char		digits[MM_FORM_DECIMAL];
	const char *text;
	double		v;
	MmFit		fit;

	switch (value->type)
	{
		case MM_BSON_INT32:
		case MM_BSON_INT64:
			*result = int64_to_numeric(mm_walk_integer(value));
			return MM_FIT_GOOD;
		case MM_BSON_DOUBLE:
			v = mm_walk_double(value->data);
			if (mm_form_is_minus_zero(v))
				return MM_FIT_INEXACT;
			*result = mm_form_double_numeric(v);
			return MM_FIT_GOOD;
		case MM_BSON_DECIMAL:
			mm_form_decimal(value->data, digits);
			if (mm_form_decimal_is_minus_zero(digits))
				return MM_FIT_INEXACT;
			*result = mm_form_text_numeric(digits);
			return MM_FIT_GOOD;
		default:
			text = string_of(value, &fit);
			return text ? mm_input_numeric(text, result) : fit;
	}
}

static MmFit
to_numeric(const MmValue *value, const MmValueType *type, Datum *result)
{
	Numeric		v;
	MmFit		fit = to_any_numeric(value, &v);

	if (fit == MM_FIT_GOOD && type->precision > 0)
		fit = limit_numeric(&v, type);
	if (fit == MM_FIT_GOOD)
		*result = NumericGetDatum(v);
	return fit;
}

static MmFit
to_boolean(const MmValue *value, bool *result)
{
	const char *text;
	MmFit		fit;

	if (value->type == MM_BSON_BOOL)
	{
		*result = value->data[0] != 0;
		return MM_FIT_GOOD;
	}
	text = string_of(value, &fit);
	return text ? mm_input_boolean(text, result) : fit;
}

/* ---------------------------------------------------------------------
 * Times
 * ---------------------------------------------------------------------
 */

/*
 * A timestamp (internal) is the seconds since 1970 behind an increment; the
 * column keeps the seconds, and an increment other than 0 is counted as
 * altered.
 */
static MmFit
to_microseconds_slowly(const MmValue *value, TimestampTz *result,
					   MmOutcome *outcome)
{
	const char *text;
	MmFit		fit;

	switch (value->type)
	{
		case MM_BSON_MIN_KEY:
			*result = DT_NOBEGIN;
			return MM_FIT_GOOD;
		case MM_BSON_MAX_KEY:
			*result = DT_NOEND;
			return MM_FIT_GOOD;
		case MM_BSON_TIMESTAMP:
			*result = ((int64) mm_walk_uint32(value->data + 4) * 1000 -
					   EPOCH_MS) * 1000;
			outcome->altered |= mm_walk_uint32(value->data) != 0;
			return MM_FIT_GOOD;
		default:
			text = string_of(value, &fit);
			return text ? mm_input_timestamptz(text, result) : fit;
	}
}

/* Microseconds since 2000, UTC; limit: digits of a second, or -1. */
static inline MmFit
to_microseconds(const MmValue *value, int limit, TimestampTz *result,
				MmOutcome *outcome)
{
	static const int64 units[] = {1000000, 100000, 10000, 1000, 100, 10, 1};
	MmFit		fit = MM_FIT_GOOD;

	if (value->type == MM_BSON_DATE)
	{
		int64		ms = (int64) mm_walk_uint64(value->data);

		if (ms < MIN_DATE || ms > MAX_DATE)
			return MM_FIT_RANGE;
		*result = (ms - EPOCH_MS) * 1000;
	}
	else
		fit = to_microseconds_slowly(value, result, outcome);
	if (fit == MM_FIT_GOOD && limit >= 0 && !TIMESTAMP_NOT_FINITE(*result) &&
		*result % units[limit] != 0)
		return MM_FIT_INEXACT;
	return fit;
}

/* A time of day does not fit. */
static MmFit
to_day(const MmValue *value, Datum *result, MmOutcome *outcome)
{
	TimestampTz v = 0;
	MmFit		fit = to_microseconds(value, -1, &v, outcome);

	if (fit != MM_FIT_GOOD)
		return fit;
	if (TIMESTAMP_NOT_FINITE(v))
		*result = DateADTGetDatum(TIMESTAMP_IS_NOBEGIN(v) ?
								  DATEVAL_NOBEGIN : DATEVAL_NOEND);
	else if (v % USECS_PER_DAY != 0)
		return MM_FIT_INEXACT;
	else
		*result = DateADTGetDatum((DateADT) (v / USECS_PER_DAY));
	return MM_FIT_GOOD;
}

/* ---------------------------------------------------------------------
 * Bytes
 * ---------------------------------------------------------------------
 */

/*
 * Is it a UUID: subtype 4, or subtype 3 in the form that was named?  uuid:
 * its bytes in network order; may be NULL.
 */
bool
mm_value_is_uuid(const MmValue *value, MmUuidForm form, uint8 *uuid)
{
	static const uint8 orders[][MM_UUID_LEN] = {
		[MM_UUID_STANDARD] = {0, 1, 2, 3, 4, 5, 6, 7,
		8, 9, 10, 11, 12, 13, 14, 15},
		[MM_UUID_JAVA] = {7, 6, 5, 4, 3, 2, 1, 0,
		15, 14, 13, 12, 11, 10, 9, 8},
		[MM_UUID_CSHARP] = {3, 2, 1, 0, 5, 4, 7, 6,
		8, 9, 10, 11, 12, 13, 14, 15},
		[MM_UUID_PYTHON] = {0, 1, 2, 3, 4, 5, 6, 7,
		8, 9, 10, 11, 12, 13, 14, 15},
	};

	if (value->type != MM_BSON_BINARY || value->len != MM_UUID_LEN)
		return false;
	if (value->subtype == MM_BINARY_UUID)
		form = MM_UUID_STANDARD;
	else if (value->subtype != MM_BINARY_OLD_UUID || form == MM_UUID_NONE)
		return false;
	for (int i = 0; uuid != NULL && i < MM_UUID_LEN; i++)
		uuid[i] = value->data[orders[form][i]];
	return true;
}

static MmFit
to_uuid(const MmValue *value, const MmValueType *type, Datum *result)
{
	pg_uuid_t  *uuid = palloc(sizeof(pg_uuid_t));
	const char *text;
	MmFit		fit = MM_FIT_GOOD;

	if (!mm_value_is_uuid(value, type->uuid, uuid->data))
	{
		text = string_of(value, &fit);
		if (text != NULL)
			fit = mm_input_uuid(text, uuid->data);
	}
	*result = UUIDPGetDatum(uuid);
	return fit;
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
	Jsonb	   *jsonb = mm_jsonb_from_value(type->builder, value, type->form,
											type->invalid_text,
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
			return element->kind < MM_KIND_BIGINT ||
				element->kind > MM_KIND_NUMERIC;
		default:
			return true;
	}
}

/* An odd element makes the whole array a misfit; nulls are kept. */
static MmFit
to_array(const MmValue *value, MmValueType *type, Datum *result,
		 MmOutcome *outcome)
{
	MmValueType *element = type->element;
	ArrayBuildState *state;
	MmWalk		walk;
	MmValue		item;

	if (value->type != MM_BSON_ARRAY)
		return MM_FIT_TYPE;
	state = initArrayResult(element->typid, CurrentMemoryContext, false);
	(void) mm_walk_begin(&walk, value->data, value->len);
	while (!mm_walk_at_end(&walk))
	{
		Datum		datum = (Datum) 0;
		MmFit		fit;

		if (!mm_walk_next(&walk, &item))
			elog(ERROR, "BSON array was not validated: %s", walk.fault);
		if (is_odd(&item, element))
			return MM_FIT_TYPE;
		fit = mm_value_convert(&item, element, &datum, outcome);
		if (fit == MM_FIT_TEXT)
			outcome->failure.path = psprintf("[]%s%s",
											 outcome->failure.path ? "." : "",
											 outcome->failure.path ?
											 outcome->failure.path : "");
		if (fit > MM_FIT_NULL)
			return fit;
		(void) accumArrayResult(state, datum, fit == MM_FIT_NULL,
								element->typid, CurrentMemoryContext);
	}
	*result = makeArrayResult(state, CurrentMemoryContext);
	return MM_FIT_GOOD;
}

static MmFit
to_enum(const MmValue *value, const MmValueType *type, Datum *result,
		MmOutcome *outcome)
{
	MmFit		fit;
	int			len;
	char	   *text = text_form(value, type, &fit, &len, outcome);

	return text ? mm_input_enum(type->typid, text, result) : fit;
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
				MmFit		fit = to_real(value, &real);

				*result = Float4GetDatum(real);
				return fit;
			}
		case MM_KIND_DATE:
			return to_day(value, result, outcome);
		case MM_KIND_UUID:
			return to_uuid(value, type, result);
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
 * values have been validated.  The Datum lives in the current context.
 */
MmFit
mm_value_convert(const MmValue *value, MmValueType *type, Datum *result,
				 MmOutcome *outcome)
{
	int64		integer = 0;
	double		real = 0;
	bool		boolean = false;
	MmFit		fit;

	if (mm_walk_is_null(value) && !type->keep_null)
		return mm_value_null(type);
	switch (type->kind)
	{
		case MM_KIND_TEXT:
			return to_text(value, type, result, outcome);
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
			fit = to_double(value, &real);
			*result = Float8GetDatum(real);
			return fit;
		case MM_KIND_NUMERIC:
			return to_numeric(value, type, result);
		case MM_KIND_BOOLEAN:
			fit = to_boolean(value, &boolean);
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
