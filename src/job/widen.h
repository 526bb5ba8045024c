/*-------------------------------------------------------------------------
 *
 * widen.h
 *	  Columns for fields that the contract does not know (extra: add_column).
 *
 *-------------------------------------------------------------------------
 */
#ifndef MM_WIDEN_H
#define MM_WIDEN_H

#include "job/job.h"

/*
 * The list with deep copies of the fields behind it whose paths are not in it
 * yet, in the current context.
 */
extern List *mm_widen_add_fields(List *list, const List *fields);
/*
 * Adds columns for these fields to the table and its contract, unless another
 * loader has done so; in a transaction of its own.
 */
extern void mm_widen_table(const MmJob *job, const MmJobTable *table,
						   const List *fields);

#endif							/* MM_WIDEN_H */
