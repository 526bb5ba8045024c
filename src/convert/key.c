/*-------------------------------------------------------------------------
 *
 * key.c
 *	  Whether the key of a row fits into an index.
 *
 * The primary key of a new table is built when all rows are there.  A single
 * key that is too large would fail the job then, when it is too late to
 * reject its document; so each large one is looked at on its way.  The limit
 * is that of a btree: a third of a page (nbtree.h, BTMaxItemSize), for the
 * values as an index holds them, which are compressed when that makes them
 * smaller (indextuple.c).
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/itup.h"
#include "access/nbtree.h"
#include "access/toast_compression.h"
#include "access/toast_internals.h"
#include "storage/bufpage.h"

#include "convert/plan.h"

/* Keys below it fit, whatever else is in the index tuple. */
#define SMALL_KEY 2000

/* As BTMaxItemSize, without a page. */
#define LARGEST_TUPLE \
	(MAXALIGN_DOWN((BLCKSZ - \
					MAXALIGN(SizeOfPageHeaderData + 3 * sizeof(ItemIdData)) - \
					MAXALIGN(sizeof(BTPageOpaqueData))) / 3) - \
	 MAXALIGN(sizeof(ItemPointerData)))

static Size
compressed_size(Datum value, char method)
{
	Datum		compressed = toast_compress_datum(value, method);

	return VARSIZE_ANY(DatumGetPointer(compressed) ?
					   DatumGetPointer(compressed) : DatumGetPointer(value));
}

/*
 * Bytes that a value takes in an index tuple, at most: as the index compresses
 * it, or as it came out of the heap, compressed by the loader's method.
 */
static Size
size_in_index(Datum value)
{
	Size		size = VARSIZE_ANY(DatumGetPointer(value));

	if (size <= SMALL_KEY)
		return size;
	return Max(compressed_size(value, TOAST_PGLZ_COMPRESSION),
			   compressed_size(value, InvalidCompressionMethod));
}

bool
mm_key_fits(const MmPlan *plan)
{
	Size		size = MAXALIGN(sizeof(IndexTupleData));
	bool		small = true;
	ListCell   *lc;

	foreach(lc, plan->large_keys)
	{
		const MmColumn *column = lfirst(lc);
		Datum		value = plan->values[column->index];

		if (plan->isnull[column->index])
			continue;
		small = small && VARSIZE_ANY(DatumGetPointer(value)) <= SMALL_KEY;
	}
	if (small && list_length(plan->large_keys) == 1)
		return true;
	foreach(lc, plan->large_keys)
	{
		const MmColumn *column = lfirst(lc);

		if (!plan->isnull[column->index])
			size += MAXALIGN(size_in_index(plan->values[column->index]));
	}
	return size + plan->small_key_bytes <= LARGEST_TUPLE;
}
