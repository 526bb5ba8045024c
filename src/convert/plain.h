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

/* Longer texts are checked first, and then copied as blocks. */
#define MM_PLAIN_SHORT 256

/*
 * False: it takes longer.  A text that is checked while it is copied needs its
 * place in the arena before.
 */
static pg_attribute_always_inline bool
mm_plain_string(const char *s, uint32 len, MmArena *arena, Datum *result)
{
	Size		used;

	if (arena != NULL && len <= MM_PLAIN_SHORT)
	{
		used = arena->used;
		if (likely(mm_text_copy(mm_plain_alloc(arena, len, result), s,
								len) == MM_TEXT_GOOD))
			return true;
		arena->used = used;
		return false;
	}
	if (mm_text_check(s, len) != MM_TEXT_GOOD)
		return false;
	memcpy(mm_plain_alloc(arena, len, result), s, len);
	return true;
}

/*
 * What a plain value is, by its type and the kind of its column; an entry of
 * a plan keeps it from one document to the next.
 */
typedef enum MmPlainPair
{
	MM_PLAIN_NONE,
	MM_PLAIN_STRING,			/* text */
	MM_PLAIN_OBJECT_ID,			/* same */
	MM_PLAIN_INT32,				/* bigint */
	MM_PLAIN_INT64,				/* same */
	MM_PLAIN_DOUBLE,			/* double precision */
	MM_PLAIN_BOOL,				/* boolean */
	MM_PLAIN_DATE				/* timestamptz */
} MmPlainPair;

static inline MmPlainPair
mm_plain_text_pair(uint8 bson_type)
{
	return bson_type == MM_BSON_STRING ? MM_PLAIN_STRING :
		bson_type == MM_BSON_OBJECT_ID ? MM_PLAIN_OBJECT_ID : MM_PLAIN_NONE;
}

static inline MmPlainPair
mm_plain_pair(uint8 bson_type, const MmValueType *type)
{
	switch (type->kind)
	{
		case MM_KIND_TEXT:
			return mm_plain_text_pair(bson_type);
		case MM_KIND_BIGINT:
			return bson_type == MM_BSON_INT32 ? MM_PLAIN_INT32 :
				bson_type == MM_BSON_INT64 ? MM_PLAIN_INT64 : MM_PLAIN_NONE;
		case MM_KIND_DOUBLE:
			return bson_type == MM_BSON_DOUBLE ? MM_PLAIN_DOUBLE :
				MM_PLAIN_NONE;
		case MM_KIND_BOOLEAN:
			return bson_type == MM_BSON_BOOL ? MM_PLAIN_BOOL : MM_PLAIN_NONE;
		case MM_KIND_TIMESTAMPTZ:
			return bson_type == MM_BSON_DATE && type->limit < 0 ?
				MM_PLAIN_DATE : MM_PLAIN_NONE;
		default:
			return MM_PLAIN_NONE;
	}
}

/* The Datum lives in the arena.  False: it takes longer. */
static pg_attribute_always_inline bool
mm_plain_convert(const MmValue *value, MmPlainPair pair, MmArena *arena,
				 Datum *result)
{
	int64		integer;

	switch (pair)
	{
		case MM_PLAIN_STRING:
			return mm_plain_string((const char *) value->data, value->len,
								   arena, result);
		case MM_PLAIN_OBJECT_ID:
			mm_form_object_id_digits(value->data,
									 mm_plain_alloc(arena,
													2 * MM_OBJECT_ID_LEN,
													result));
			return true;
		case MM_PLAIN_INT32:
			*result = Int64GetDatum((int32) mm_walk_uint32(value->data));
			return true;
		case MM_PLAIN_INT64:
			*result = Int64GetDatum((int64) mm_walk_uint64(value->data));
			return true;
		case MM_PLAIN_DOUBLE:
			*result = Float8GetDatum(mm_walk_double(value->data));
			return true;
		case MM_PLAIN_BOOL:
			*result = BoolGetDatum(value->data[0] != 0);
			return true;
		case MM_PLAIN_DATE:
			if (mm_scalar_date(value, &integer) != MM_FIT_GOOD)
				return false;
			*result = TimestampTzGetDatum(integer);
			return true;
		case MM_PLAIN_NONE:
			break;
	}
	return false;
}

#endif							/* MM_PLAIN_H */
