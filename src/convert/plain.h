/*-------------------------------------------------------------------------
 *
 * plain.h
 *	  The pairs of BSON and column type that most values are, in line.
 *
 * mm_value_convert() tries these first; row.c does so before it calls that.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MM_PLAIN_H
#define MM_PLAIN_H

#include "postgres.h"

#include "arena.h"
#include "convert/form.h"
#include "convert/scalar.h"
#include "convert/value.h"

/* Room for a varlena of len bytes. */
static inline char *
mm_plain_alloc(MmArena *arena, uint32 len, Datum *result)
{
	char	   *varlena = mm_arena_alloc(arena, VARHDRSZ + len);

	SET_VARSIZE(varlena, VARHDRSZ + len);
	*result = PointerGetDatum(varlena);
	return VARDATA(varlena);
}

/* False: it takes longer. */
static inline bool
mm_plain_text(const MmValue *value, MmArena *arena, Datum *result)
{
	if (value->type == MM_BSON_OBJECT_ID)
	{
		mm_form_object_id_digits(value->data,
								 mm_plain_alloc(arena, 2 * MM_OBJECT_ID_LEN,
												result));
		return true;
	}
	if (value->type != MM_BSON_STRING ||
		mm_text_check((const char *) value->data, value->len) != MM_TEXT_GOOD)
		return false;
	memcpy(mm_plain_alloc(arena, value->len, result), value->data,
		   value->len);
	return true;
}

/* The Datum lives in the type's arena.  False: it takes longer. */
static inline bool
mm_plain_convert(const MmValue *value, const MmValueType *type, Datum *result)
{
	int64		integer;

	switch (type->kind)
	{
		case MM_KIND_TEXT:
			return mm_plain_text(value, type->arena, result);
		case MM_KIND_BIGINT:
			if (value->type != MM_BSON_INT32 && value->type != MM_BSON_INT64)
				return false;
			*result = Int64GetDatum(mm_walk_integer(value));
			return true;
		case MM_KIND_DOUBLE:
			if (value->type != MM_BSON_DOUBLE)
				return false;
			*result = Float8GetDatum(mm_walk_double(value->data));
			return true;
		case MM_KIND_BOOLEAN:
			if (value->type != MM_BSON_BOOL)
				return false;
			*result = BoolGetDatum(value->data[0] != 0);
			return true;
		case MM_KIND_TIMESTAMPTZ:
			if (value->type != MM_BSON_DATE || type->limit >= 0 ||
				mm_scalar_date(value, &integer) != MM_FIT_GOOD)
				return false;
			*result = TimestampTzGetDatum(integer);
			return true;
		default:
			return false;
	}
}

#endif							/* MM_PLAIN_H */
