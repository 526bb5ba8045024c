/*-------------------------------------------------------------------------
 *
 * pages.h
 *	  Pages that a load adds to its table, some at a time.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MM_PAGES_H
#define MM_PAGES_H

#include "postgres.h"

#include "access/heapam.h"
#include "executor/tuptable.h"
#include "utils/rel.h"

/* Of one table in one transaction; zeroed by its owner. */
typedef struct MmPages
{
	BlockNumber next;			/* that nobody but us knows of ... */
	BlockNumber end;			/* ... up to here */
	BlockNumber added;			/* in all */
	Size		stored;			/* bytes of rows, until pages are added */
} MmPages;

/*
 * How many of the rows (n > 0) to give to table_multi_insert() at once, with
 * this bulk state: those for which there is room in its page, or in one that
 * is made ready for it.  The slots must keep the tuples that they form.
 */
extern int	mm_pages_prepare(MmPages *pages, Relation rel,
							 BulkInsertState bulk, TupleTableSlot **slots,
							 int n);

/* Leaves the pages that were not used to others; the last call. */
extern void mm_pages_release(MmPages *pages, Relation rel);

#endif							/* MM_PAGES_H */
