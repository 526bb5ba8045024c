/*-------------------------------------------------------------------------
 *
 * tuple.h
 *	  Slots whose rows become heap tuples.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MM_TUPLE_H
#define MM_TUPLE_H

#include "postgres.h"

#include "access/tupdesc.h"
#include "executor/tuptable.h"

typedef struct MmFormer MmFormer;

/* Forms the tuples of a table; in the current context. */
extern MmFormer *mm_tuple_create_former(TupleDesc desc);

/*
 * An empty slot, in the current context, to be dropped like others.  It is
 * cleared and filled like a virtual one (ExecCopySlot() into it would not
 * forget its tuple), and ExecFetchSlotHeapTuple() gives its tuple, which is
 * formed once, and is valid until the slot is cleared, the former's tuples are
 * forgotten, or the context is gone that was the current one when it was
 * formed.
 */
extern TupleTableSlot *mm_tuple_create_slot(MmFormer *former);

/* Makes room: the tuples of all slots are no more. */
extern void mm_tuple_forget_all(MmFormer *former);

#endif							/* MM_TUPLE_H */
