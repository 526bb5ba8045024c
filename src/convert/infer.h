/*-------------------------------------------------------------------------
 *
 * infer.h
 *	  A field for a value that comes after the inference.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MM_INFER_H
#define MM_INFER_H

#include "postgres.h"

#include "convert/convert.h"
#include "convert/walk.h"

extern MmField *mm_infer_new_field(const MmContract *contract, List *parts,
								   const MmValue *value);

#endif							/* MM_INFER_H */
