/*-------------------------------------------------------------------------
 *
 * value.c
 *	  One BSON value -> one Datum.
 *
 * A value is converted exactly or it does not fit: nothing is rounded, cut or
 * wrapped, and what does not fit is told by the result, never raised.  For
 * each type of column there is one function, which knows the BSON types that
 * can be exact in it.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>

#include "catalog/pg_type_d.h"
#include "utils/jsonb.h"
#include "utils/numeric.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "convert/convert.h"
#include "convert/form.h"
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

/* MM_KIND_NONE for types that cannot be filled; canonical: see MmField. */
MmKind
mm_value_kind(Oid typid, bool canonical)
{
	switch (typid)
	{
		case TEXTOID:
			return canonical ? MM_KIND_CANONICAL_TEXT : MM_KIND_TEXT;
		case JSONBOID:
			return canonical ? MM_KIND_CANONICAL_JSONB : MM_KIND_JSONB;
		case INT8OID:
			return MM_KIND_BIGINT;
		case INT4OID:
			return MM_KIND_INTEGER;
		case INT2OID:
			return MM_KIND_SMALLINT;
		case FLOAT8OID:
			return MM_KIND_DOUBLE;
		case NUMERICOID:
			return MM_KIND_NUMERIC;
		case BOOLOID:
			return MM_KIND_BOOLEAN;
		case TIMESTAMPTZOID:
			return MM_KIND_TIMESTAMPTZ;
		case UUIDOID:
			return MM_KIND_UUID;
		case BYTEAOID:
			return MM_KIND_BYTEA;
		default:
			return MM_KIND_NONE;
	}
}

bool
mm_type_is_fillable(Oid typid)
{
	return mm_value_kind(typid, false) != MM_KIND_NONE;
}

/*
 * Narrow integers may do, as the width of an integer is no property of a
 * field; a double may do for integers.  Each value is checked on its way.
 */
bool
mm_type_can_hold(Oid have, Oid inferred)
{
	if (have == inferred || have == JSONBOID)
		return true;
	switch (have)
	{
		case TEXTOID:
			return inferred != JSONBOID;
		case NUMERICOID:
			return inferred == INT8OID || inferred == FLOAT8OID;
		case INT4OID:
		case INT2OID:
		case FLOAT8OID:
			return inferred == INT8OID;
		case BYTEAOID:
			return inferred == UUIDOID;
		default:
			return false;
	}
}

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

/*
 * Text that is not simply the bytes of the document.  The bounds have no text
 * form: they are no values, but stand for the ends of an order.
 */
static MmFit
to_text_slowly(const MmValue *value, MmInvalidText invalid_text,
			   Datum *result, MmTextFailure *failure)
{
	StringInfoData out;

	if (value->type == MM_BSON_OBJECT || value->type == MM_BSON_ARRAY ||
		value->type == MM_BSON_MIN_KEY || value->type == MM_BSON_MAX_KEY)
		return MM_FIT_TYPE;
	initStringInfo(&out);
	if (!mm_json_append_text(&out, value, invalid_text, failure))
		return MM_FIT_TEXT;
	make_varlena(out.data, out.len, result);
	return MM_FIT_GOOD;
}

static inline MmFit
to_text(const MmValue *value, MmInvalidText invalid_text, Datum *result,
		MmTextFailure *failure)
{
	if (value->type == MM_BSON_STRING &&
		mm_text_check((const char *) value->data, value->len) == MM_TEXT_GOOD)
		make_varlena(value->data, value->len, result);
	else if (value->type == MM_BSON_OBJECT_ID)
		mm_form_object_id_digits(value->data,
								 alloc_varlena(2 * MM_OBJECT_ID_LEN, result));
	else
		return to_text_slowly(value, invalid_text, result, failure);
	return MM_FIT_GOOD;
}

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

static inline MmFit
to_integer(const MmValue *value, int64 min, int64 max, int64 *result)
{
	if (value->type == MM_BSON_INT32 || value->type == MM_BSON_INT64)
		*result = mm_walk_integer(value);
	else if (value->type == MM_BSON_DOUBLE)
	{
		MmFit		fit = double_to_integer(mm_walk_double(value->data),
											result);

		if (fit != MM_FIT_GOOD)
			return fit;
	}
	else
		return MM_FIT_TYPE;
	return *result < min || *result > max ? MM_FIT_RANGE : MM_FIT_GOOD;
}

static inline MmFit
to_double(const MmValue *value, Datum *result)
{
	int64		integer;
	double		v;

	if (value->type == MM_BSON_DOUBLE)
		v = mm_walk_double(value->data);
	else if (value->type == MM_BSON_INT32 || value->type == MM_BSON_INT64)
	{
		integer = mm_walk_integer(value);
		v = (double) integer;
		if (v >= TWO_TO_63 || (int64) v != integer)
			return MM_FIT_INEXACT;
	}
	else
		return MM_FIT_TYPE;
	*result = Float8GetDatum(v);
	return MM_FIT_GOOD;
}

/* A numeric has no minus zero. */
static MmFit
to_numeric(const MmValue *value, Datum *result)
{
	char		digits[MM_FORM_DECIMAL];
	Numeric		numeric;
	double		v;

	switch (value->type)
	{
		case MM_BSON_INT32:
		case MM_BSON_INT64:
			numeric = int64_to_numeric(mm_walk_integer(value));
			break;
		case MM_BSON_DOUBLE:
			v = mm_walk_double(value->data);
			if (mm_form_is_minus_zero(v))
				return MM_FIT_INEXACT;
			numeric = mm_form_double_numeric(v);
			break;
		case MM_BSON_DECIMAL:
			mm_form_decimal(value->data, digits);
			if (mm_form_decimal_is_minus_zero(digits))
				return MM_FIT_INEXACT;
			numeric = mm_form_text_numeric(digits);
			break;
		default:
			return MM_FIT_TYPE;
	}
	*result = NumericGetDatum(numeric);
	return MM_FIT_GOOD;
}

static inline MmFit
to_timestamptz(const MmValue *value, Datum *result)
{
	int64		ms;

	if (value->type == MM_BSON_MIN_KEY || value->type == MM_BSON_MAX_KEY)
	{
		*result = TimestampTzGetDatum(value->type == MM_BSON_MIN_KEY ?
									  DT_NOBEGIN : DT_NOEND);
		return MM_FIT_GOOD;
	}
	if (value->type != MM_BSON_DATE)
		return MM_FIT_TYPE;
	ms = (int64) mm_walk_uint64(value->data);
	if (ms < MIN_DATE || ms > MAX_DATE)
		return MM_FIT_RANGE;
	*result = TimestampTzGetDatum((ms - EPOCH_MS) * 1000);
	return MM_FIT_GOOD;
}

/*
 * Anything fits.  In canonical form null is the jsonb null, not SQL NULL: it
 * may be the value of a key.
 */
static MmFit
to_jsonb(MmJsonbBuilder *builder, const MmValue *value, MmJsonForm form,
		 MmInvalidText invalid_text, Datum *result, MmTextFailure *failure)
{
	Jsonb	   *jsonb = mm_jsonb_from_value(builder, value, form,
											invalid_text, failure);

	if (jsonb == NULL)
		return MM_FIT_TEXT;
	*result = JsonbPGetDatum(jsonb);
	return MM_FIT_GOOD;
}

static MmFit
to_canonical_text(const MmValue *value, MmInvalidText invalid_text,
				  Datum *result, MmTextFailure *failure)
{
	StringInfoData out;

	initStringInfo(&out);
	if (!mm_json_append(&out, value, MM_JSON_CANONICAL, invalid_text,
						failure))
		return MM_FIT_TEXT;
	make_varlena(out.data, out.len, result);
	return MM_FIT_GOOD;
}

static MmFit
to_uuid(const MmValue *value, Datum *result)
{
	pg_uuid_t  *uuid;

	if (!mm_walk_is_uuid(value))
		return MM_FIT_TYPE;
	uuid = palloc(sizeof(pg_uuid_t));
	memcpy(uuid->data, value->data, UUID_LEN);
	*result = UUIDPGetDatum(uuid);
	return MM_FIT_GOOD;
}

static MmFit
to_bytea(const MmValue *value, Datum *result)
{
	if (value->type != MM_BSON_BINARY)
		return MM_FIT_TYPE;
	make_varlena(value->data, value->len, result);
	return MM_FIT_GOOD;
}

static MmFit
to_boolean(const MmValue *value, Datum *result)
{
	if (value->type != MM_BSON_BOOL)
		return MM_FIT_TYPE;
	*result = BoolGetDatum(value->data[0] != 0);
	return MM_FIT_GOOD;
}

/*
 * *result is written when the fit is good, *failure when it is MM_FIT_TEXT.
 * Nested values have been validated.  The Datum lives in the current context
 * or points into the document.
 */
MmFit
mm_value_convert(MmJsonbBuilder *builder, const MmValue *value, MmKind kind,
				 MmInvalidText invalid_text, Datum *result,
				 MmTextFailure *failure)
{
	int64		integer = 0;
	MmFit		fit;

	if (mm_walk_is_null(value) && kind < MM_KIND_CANONICAL_TEXT)
		return MM_FIT_NULL;
	switch (kind)
	{
		case MM_KIND_TEXT:
			return to_text(value, invalid_text, result, failure);
		case MM_KIND_BIGINT:
			fit = to_integer(value, PG_INT64_MIN, PG_INT64_MAX, &integer);
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
			return to_double(value, result);
		case MM_KIND_NUMERIC:
			return to_numeric(value, result);
		case MM_KIND_BOOLEAN:
			return to_boolean(value, result);
		case MM_KIND_TIMESTAMPTZ:
			return to_timestamptz(value, result);
		case MM_KIND_JSONB:
			return to_jsonb(builder, value, MM_JSON_SIMPLE, invalid_text,
							result, failure);
		case MM_KIND_UUID:
			return to_uuid(value, result);
		case MM_KIND_BYTEA:
			return to_bytea(value, result);
		case MM_KIND_CANONICAL_TEXT:
			return to_canonical_text(value, invalid_text, result, failure);
		case MM_KIND_CANONICAL_JSONB:
			return to_jsonb(builder, value, MM_JSON_CANONICAL, invalid_text,
							result, failure);
		case MM_KIND_NONE:
			break;
	}
	elog(ERROR, "column of kind %d cannot be filled", kind);
	return MM_FIT_TYPE;
}
