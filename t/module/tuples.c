/*-------------------------------------------------------------------------
 *
 * tuples.c
 *	  Tuples of the extension beside those of heap_form_tuple().
 *
 * Random columns with random values, of each length and alignment: with long
 * and short headers, compressed, out of line.  What their bytes mean does not
 * matter: neither looks into them.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/memutils.h"

#include "compat.h"
#include "mm_test.h"
#include "sink/tuple.h"

#define ROWS 40					/* of a table */
#define COLUMNS_MAX 70

MM_FUNCTION(mmtest_tuples_equal);

static const Oid types[] = {
	BOOLOID, CHAROID, INT2OID, INT4OID, INT8OID, OIDOID, FLOAT4OID, FLOAT8OID,
	TIMESTAMPTZOID, UUIDOID, NAMEOID, INTERVALOID, TIMETZOID, MACADDROID,
	POINTOID, TEXTOID, TEXTOID, TEXTOID, BYTEAOID, JSONBOID, NUMERICOID,
	TEXTARRAYOID, INT8ARRAYOID, INT2VECTOROID
};

static TupleDesc
random_columns(Random *r)
{
	int			n = 1 + random_below(r, COLUMNS_MAX);
	TupleDesc	desc = CreateTemplateTupleDesc(n);

	for (int i = 0; i < n; i++)
		TupleDescInitEntry(desc, i + 1, NULL,
						   types[random_below(r, lengthof(types))], -1, 0);
	/* A column whose values end in NUL, as no table has it. */
	if (random_below(r, 50) == 0)
		TupleDescInitEntry(desc, n, NULL, CSTRINGOID, -2, 0);
	return desc;
}

static char *
random_bytes(Random *r, Size len)
{
	char	   *bytes = palloc(len + 1);

	for (Size i = 0; i < len; i++)
		bytes[i] = 1 + random_below(r, 255);
	bytes[len] = '\0';
	return bytes;
}

/* Often around the longest that has a header of one byte. */
static Size
random_length(Random *r)
{
	switch (random_below(r, 16))
	{
		case 0:
			return random_below(r, 3000);
		case 1:
			return random_below(r, 200) == 0 ? 100000 : 0;
		case 2:
		case 3:
		case 4:
			return 118 + random_below(r, 16);
		default:
			return random_below(r, 24);
	}
}

static char *
random_varlena(Random *r)
{
	Size		len = random_length(r) + VARHDRSZ;
	char	   *value = random_bytes(r, len);

	switch (random_below(r, 12))
	{
		case 0:
			if (len <= VARATT_SHORT_MAX)
				SET_VARSIZE_SHORT(value, len);
			else
				SET_VARSIZE(value, len);
			break;
		case 1:
			SET_VARSIZE_COMPRESSED(value, len);
			break;
		case 2:
			if (random_below(r, 8) == 0)
			{
				value = random_bytes(r, VARHDRSZ_EXTERNAL +
									 sizeof(varatt_external));
				SET_VARTAG_EXTERNAL(value, VARTAG_ONDISK);
				break;
			}
			/* FALLTHROUGH */
		default:
			SET_VARSIZE(value, len);
	}
	return value;
}

static Datum
random_datum(Random *r, Form_pg_attribute att)
{
	if (att->attlen == -1)
		return PointerGetDatum(random_varlena(r));
	if (att->attlen == -2)
		return PointerGetDatum(random_bytes(r, random_below(r, 20)));
	if (!att->attbyval)
		return PointerGetDatum(random_bytes(r, att->attlen));
	return att->atttypid == BOOLOID ? BoolGetDatum(random_below(r, 2)) :
		(Datum) random_bits(r);
}

static void
fill_slot(Random *r, TupleTableSlot *slot)
{
	TupleDesc	desc = slot->tts_tupleDescriptor;
	int			nulls = random_below(r, 4);

	ExecClearTuple(slot);
	for (int i = 0; i < desc->natts; i++)
	{
		slot->tts_isnull[i] = nulls < 3 && random_below(r, 8) < nulls;
		slot->tts_values[i] = slot->tts_isnull[i] ? 0 :
			random_datum(r, TupleDescAttr(desc, i));
	}
	ExecStoreVirtualTuple(slot);
}

/* Is it one that heap_form_tuple() did not make? */
static bool
is_own(TupleTableSlot *slot)
{
	const char *tuple = (char *) ExecFetchSlotHeapTuple(slot, true, NULL);

	return tuple > (char *) slot &&
		tuple < (char *) slot + slot->tts_ops->base_slot_size;
}

/* All but what the heap sets, and what a composite value has there. */
static bool
equals_core(TupleTableSlot *slot)
{
	HeapTuple	ours = ExecFetchSlotHeapTuple(slot, true, NULL);
	HeapTuple	theirs = heap_form_tuple(slot->tts_tupleDescriptor,
										 slot->tts_values, slot->tts_isnull);
	Size		front = offsetof(HeapTupleHeaderData, t_ctid);

	ours->t_data->t_infomask &= ~HEAP_XACT_MASK;
	theirs->t_data->t_infomask &= ~HEAP_XACT_MASK;
	return ours->t_len == theirs->t_len &&
		ItemPointerEquals(&ours->t_self, &theirs->t_self) &&
		ours->t_tableOid == theirs->t_tableOid &&
		memcmp((char *) ours->t_data + front, (char *) theirs->t_data + front,
			   ours->t_len - front) == 0;
}

/* The tuples of all rows are formed before the first is compared. */
static void
compare_table(Random *r, int64 *rows, int64 *own)
{
	TupleDesc	desc = random_columns(r);
	MmFormer   *former = mm_tuple_create_former(desc);
	TupleTableSlot *slots[ROWS];

	for (int i = 0; i < ROWS; i++)
		slots[i] = mm_tuple_create_slot(former);
	for (int batch = 0; batch < 2; batch++)
	{
		mm_tuple_forget_all(former);
		for (int i = 0; i < ROWS; i++)
		{
			fill_slot(r, slots[i]);
			*own += is_own(slots[i]);
		}
		for (int i = 0; i < ROWS; i++)
			if (!equals_core(slots[i]))
				elog(ERROR, "row %d of a table with %d columns differs", i,
					 desc->natts);
		*rows += ROWS;
	}
	for (int i = 0; i < ROWS; i++)
		ExecDropSingleTupleTableSlot(slots[i]);
}

Datum
mmtest_tuples_equal(PG_FUNCTION_ARGS)
{
	int64		rows = 0,
				own = 0;
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext,
												  "tables",
												  ALLOCSET_DEFAULT_SIZES);
	TupleDesc	result;
	Datum		values[2];
	bool		isnull[2] = {false, false};

	if (get_call_result_type(fcinfo, NULL, &result) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	for (int i = 0; i < PG_GETARG_INT32(1); i++)
	{
		MemoryContext old = MemoryContextSwitchTo(context);
		Random		r;

		CHECK_FOR_INTERRUPTS();
		random_begin(&r, PG_GETARG_INT64(0), i);
		compare_table(&r, &rows, &own);
		MemoryContextSwitchTo(old);
		MemoryContextReset(context);
	}
	values[0] = Int64GetDatum(rows);
	values[1] = Int64GetDatum(own);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(result),
													  values, isnull)));
}
