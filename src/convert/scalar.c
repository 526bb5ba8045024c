/*-------------------------------------------------------------------------
 *
 * scalar.c
 *	  One BSON value -> a number, a time, a boolean or a UUID, exactly.
 *
 * Each function knows the BSON types that can be exact in its type; a string
 * is what input.c reads in it.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>

#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/uuid.h"

#include "convert/form.h"
#include "convert/input.h"
#include "convert/scalar.h"

/* 2^63, which a double holds exactly. */
#define TWO_TO_63 9223372036854775808.0

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

MmFit
mm_scalar_integer(const MmValue *value, int64 *result)
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

/* All but doubles. */
MmFit
mm_scalar_double(const MmValue *value, double *result)
{
	const char *text;
	int64		integer;
	MmFit		fit;

	switch (value->type)
	{
		case MM_BSON_INT32:
		case MM_BSON_INT64:
			integer = mm_walk_integer(value);
			*result = (double) integer;
			return *result >= TWO_TO_63 || (int64) *result != integer ?
				MM_FIT_INEXACT : MM_FIT_GOOD;
		case MM_BSON_DECIMAL:
			return decimal_to_double(value->data, result);
		default:
			text = string_of(value, &fit);
			return text ? mm_input_double(text, result) : fit;
	}
}

MmFit
mm_scalar_real(const MmValue *value, float *result)
{
	const char *text;
	double		v = 0;
	MmFit		fit;

	if (value->type == MM_BSON_STRING)
	{
		text = string_of(value, &fit);
		return text ? mm_input_real(text, result) : fit;
	}
	fit = value->type == MM_BSON_DOUBLE ? MM_FIT_GOOD :
		mm_scalar_double(value, &v);
	if (value->type == MM_BSON_DOUBLE)
		v = mm_walk_double(value->data);
	*result = (float) v;
	if (fit == MM_FIT_GOOD && isfinite(v) && isinf(*result))
		return MM_FIT_RANGE;
	if (fit == MM_FIT_GOOD && !isnan(v) && (double) *result != v)
		return MM_FIT_INEXACT;
	return fit;
}

/*
 * The powers of ten of the first and of the last digit that is not 0, in what
 * is no zero itself and has no zeros at the end of a fraction.
 */
static void
find_digits(const char *s, int *first, int *last)
{
	int			whole = strcspn(s, ".");
	const char *fraction = s[whole] ? s + whole + 1 : NULL;

	*first = *s != '0' ? whole - 1 : -1;
	if (fraction && *s == '0')
		*first -= strspn(fraction, "0");
	*last = 0;
	if (fraction)
		*last -= strlen(fraction);
	else
		while (s[whole - 1 - *last] == '0')
			(*last)++;
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
	Datum		limited;

	if (*p == 'I')
		return MM_FIT_RANGE;
	if (*p != 'N' && strcmp(p, "0") != 0)
	{
		int			first;
		int			last;

		find_digits(p, &first, &last);
		if (last < -type->scale)
			return MM_FIT_INEXACT;
		if (first >= type->precision - type->scale)
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

MmFit
mm_scalar_numeric(const MmValue *value, const MmValueType *type, Datum *result)
{
	Numeric		v;
	MmFit		fit = to_any_numeric(value, &v);

	if (fit == MM_FIT_GOOD && type->precision > 0)
		fit = limit_numeric(&v, type);
	if (fit == MM_FIT_GOOD)
		*result = NumericGetDatum(v);
	return fit;
}

MmFit
mm_scalar_boolean(const MmValue *value, bool *result)
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
 * Microseconds since 2000, UTC.  A timestamp (internal) is the seconds since 1970 behind an increment; the
 * column keeps the seconds, and an increment other than 0 is counted as
 * altered.
 */
MmFit
mm_scalar_microseconds(const MmValue *value, TimestampTz *result,
					   MmOutcome *outcome)
{
	const char *text;
	MmFit		fit;

	switch (value->type)
	{
		case MM_BSON_DATE:
			return mm_scalar_date(value, result);
		case MM_BSON_MIN_KEY:
			*result = DT_NOBEGIN;
			return MM_FIT_GOOD;
		case MM_BSON_MAX_KEY:
			*result = DT_NOEND;
			return MM_FIT_GOOD;
		case MM_BSON_TIMESTAMP:
			*result = ((int64) mm_walk_uint32(value->data + 4) * 1000 -
					   MM_SCALAR_EPOCH_MS) * 1000;
			outcome->altered |= mm_walk_uint32(value->data) != 0;
			return MM_FIT_GOOD;
		default:
			text = string_of(value, &fit);
			return text ? mm_input_timestamptz(text, result) : fit;
	}
}

/* Has the time no more digits of a second than these? */
MmFit
mm_scalar_limit_time(TimestampTz v, int digits)
{
	static const int64 units[] = {1000000, 100000, 10000, 1000, 100, 10, 1};

	return TIMESTAMP_NOT_FINITE(v) || v % units[digits] == 0 ?
		MM_FIT_GOOD : MM_FIT_INEXACT;
}

/* A time of day does not fit. */
MmFit
mm_scalar_day(const MmValue *value, Datum *result, MmOutcome *outcome)
{
	TimestampTz v = 0;
	MmFit		fit = mm_scalar_microseconds(value, &v, outcome);

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
 * UUIDs
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

MmFit
mm_scalar_uuid(const MmValue *value, const MmValueType *type, Datum *result)
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
