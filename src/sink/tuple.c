/*-------------------------------------------------------------------------
 *
 * tuple.c
 *	  Rows -> heap tuples.
 *
 * heap_form_tuple() looks at a row twice, once for its size, and at all that
 * a value may be, and allocates each tuple.  For the values that a load has
 * one look is enough, and the tuples of a batch stand one behind the other in
 * memory that is there already.  Their bytes are the same (t/module compares
 * them); the layout is that of heap_fill_tuple() in heaptuple.c, "Table Row
 * Layout" of the manual: header, bitmap of nulls, values at their alignment,
 * the padding zeros, and a varlena of up to 126 bytes with a header of one
 * byte, unaligned, if its column may be packed.  What identifies the type of
 * a composite value in the header is left zero: the heap has xmin and others
 * there.
 *
 * A row with a value that is out of line or expanded, and one that there is no
 * room for, goes to heap_form_tuple().
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/tupmacs.h"
#include "port/pg_bswap.h"

#include "arena.h"
#include "compat.h"
#include "copy.h"
#include "sink/tuple.h"

/* Eight of isnull. */
#define ALL_NULL UINT64CONST(0x0101010101010101)

typedef struct Column
{
	int16		len;			/* attlen: -1 varlena */
	uint8		align;			/* bytes */
	bool		by_value;
	bool		is_word;		/* a whole Datum by value */
	bool		packable;
} Column;

struct MmFormer
{
	TupleDesc	desc;
	Size		fixed_room;		/* that values without varlenas need at most,
								 * with all padding */
	bool		possible;		/* else all rows go to heap_form_tuple() */
	MmArena		arena;
	Column		columns[FLEXIBLE_ARRAY_MEMBER];
};

typedef struct TupleSlot
{
	VirtualTupleTableSlot base;
	MmFormer   *former;
	HeapTuple	formed;			/* or NULL */
	HeapTupleData own;			/* where it points to, if formed here */
} TupleSlot;

static uint8
alignment(char attalign)
{
	switch (attalign)
	{
		case TYPALIGN_CHAR:
			return 1;
		case TYPALIGN_SHORT:
			return ALIGNOF_SHORT;
		case TYPALIGN_INT:
			return ALIGNOF_INT;
		default:
			return ALIGNOF_DOUBLE;
	}
}

MmFormer *
mm_tuple_create_former(TupleDesc desc)
{
	MmFormer   *former = palloc(offsetof(MmFormer, columns) +
								desc->natts * sizeof(Column));

	former->desc = desc;
	former->fixed_room = 0;
	former->possible = true;
	former->arena.used = 0;
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);
		Column	   *column = &former->columns[i];

		column->len = att->attlen;
		column->align = alignment(att->attalign);
		column->by_value = att->attbyval;
		column->is_word = att->attbyval && att->attlen == sizeof(Datum) &&
			column->align == sizeof(Datum);
		column->packable = att->attstorage != TYPSTORAGE_PLAIN;
		former->fixed_room += MAXIMUM_ALIGNOF + Max(att->attlen, 0);
		if (att->attlen < -1)
			former->possible = false;
	}
	return former;
}

/* Zeros up to the next multiple, and perhaps behind it. */
static inline char *
pad(char *p, uint8 align)
{
	memset(p, 0, MAXIMUM_ALIGNOF);
	return (char *) TYPEALIGN(align, p);
}

static inline char *
put_fixed(char *p, const Column *column, Datum value)
{
	p = pad(p, column->align);
	if (column->by_value)
		store_att_byval(p, value, column->len);
	else
		memcpy(p, DatumGetPointer(value), column->len);
	return p + column->len;
}

/* NULL when it is for heap_form_tuple(). */
static inline char *
put_varlena(char *p, const char *limit, const Column *column,
			const char *value)
{
	Size		len;

	if (column->packable && VARATT_CAN_MAKE_SHORT(value))
	{
		len = VARATT_CONVERTED_SHORT_SIZE(value);
		if (p + len > limit)
			return NULL;
		SET_VARSIZE_SHORT(p, len);
		mm_copy_short(p + VARHDRSZ_SHORT, VARDATA(value),
					  len - VARHDRSZ_SHORT);
		return p + len;
	}
	if (VARATT_IS_EXTERNAL(value))
		return NULL;
	if (!VARATT_IS_SHORT(value))
		p = pad(p, column->align);
	len = VARSIZE_ANY(value);
	if (p > limit || len > (Size) (limit - p))
		return NULL;
	memcpy(p, value, len);
	return p + len;
}

/*
 * The bitmap of nulls, in which a set bit is a value.  Eight of them become a
 * byte by a multiplication, which adds up each bit where it belongs.
 */
static inline void
put_bitmap(bits8 *bits, const bool *isnull, int natts)
{
	for (int i = 0; i < natts; i += BITS_PER_BYTE)
	{
		uint64		nulls = ALL_NULL;

		memcpy(&nulls, isnull + i, Min(natts - i, BITS_PER_BYTE));
#ifdef WORDS_BIGENDIAN
		nulls = pg_bswap64(nulls);
#endif
		*bits++ = ((nulls ^ ALL_NULL) * UINT64CONST(0x0102040810204080)) >> 56;
	}
}

/*
 * Behind the header, in whose infomask it notes a varlena.  The end, or NULL
 * when they are for heap_form_tuple().
 */
static inline char *
put_values(const MmFormer *former, HeapTupleHeader header, char *p,
		   const char *limit, const Datum *values, const bool *isnull)
{
	int			natts = former->desc->natts;

	for (int i = 0; i < natts; i++)
	{
		const Column *column = &former->columns[i];

		if (isnull[i])
			continue;
		if (column->is_word)
		{
			p = pad(p, sizeof(Datum));
			memcpy(p, &values[i], sizeof(Datum));
			p += sizeof(Datum);
		}
		else if (column->len >= 0)
			p = put_fixed(p, column, values[i]);
		else
		{
			header->t_infomask |= HEAP_HASVARWIDTH;
			p = put_varlena(p, limit, column, DatumGetPointer(values[i]));
			if (p == NULL)
				return NULL;
		}
	}
	return p;
}

/* False: it is for heap_form_tuple(). */
static bool
form(TupleSlot *slot)
{
	MmFormer   *former = slot->former;
	MmArena    *arena = &former->arena;
	const Datum *values = slot->base.base.tts_values;
	const bool *isnull = slot->base.base.tts_isnull;
	int			natts = former->desc->natts;
	bool		has_null = memchr(isnull, true, natts) != NULL;
	Size		hoff = MAXALIGN(SizeofHeapTupleHeader +
								(has_null ? BITMAPLEN(natts) : 0));
	HeapTupleHeader header = (HeapTupleHeader) (arena->data + arena->used);
	char	   *end;

	if (!former->possible ||
		hoff + former->fixed_room > MM_ARENA_BYTES - arena->used)
		return false;
	memset(header, 0, hoff);
	header->t_hoff = hoff;
	if (has_null)
	{
		header->t_infomask = HEAP_HASNULL;
		put_bitmap(header->t_bits, isnull, natts);
	}
	HeapTupleHeaderSetNatts(header, natts);
	ItemPointerSetInvalid(&header->t_ctid);
	end = put_values(former, header, (char *) header + hoff,
					 arena->data + MM_ARENA_BYTES - former->fixed_room,
					 values, isnull);
	if (end == NULL)
		return false;
	slot->own.t_len = end - (char *) header;
	slot->own.t_data = header;
	slot->own.t_tableOid = InvalidOid;
	ItemPointerSetInvalid(&slot->own.t_self);
	arena->used += MAXALIGN(slot->own.t_len);
	return true;
}

static void
tuple_slot_clear(TupleTableSlot *base)
{
	((TupleSlot *) base)->formed = NULL;
	TTSOpsVirtual.clear(base);
}

static void
tuple_slot_materialize(TupleTableSlot *base)
{
	TupleSlot  *slot = (TupleSlot *) base;

	if (slot->formed == NULL)
		slot->formed = form(slot) ? &slot->own :
			heap_form_tuple(slot->former->desc, base->tts_values,
							base->tts_isnull);
}

static HeapTuple
tuple_slot_get_heap_tuple(TupleTableSlot *base)
{
	tuple_slot_materialize(base);
	return ((TupleSlot *) base)->formed;
}

/* A virtual slot, but for the tuple. */
static const TupleTableSlotOps *
get_slot_ops(void)
{
	static TupleTableSlotOps ops;

	ops = TTSOpsVirtual;
	ops.base_slot_size = sizeof(TupleSlot);
	ops.clear = tuple_slot_clear;
	ops.materialize = tuple_slot_materialize;
	ops.get_heap_tuple = tuple_slot_get_heap_tuple;
	return &ops;
}

TupleTableSlot *
mm_tuple_create_slot(MmFormer *former)
{
	TupleTableSlot *slot = MakeSingleTupleTableSlot(former->desc,
													get_slot_ops());

	((TupleSlot *) slot)->former = former;
	return slot;
}

void
mm_tuple_forget_all(MmFormer *former)
{
	former->arena.used = 0;
}
