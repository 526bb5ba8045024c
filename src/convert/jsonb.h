/*-------------------------------------------------------------------------
 *
 * jsonb.h
 *	  BSON values as jsonb.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MM_JSONB_H
#define MM_JSONB_H

#include "postgres.h"

#include "utils/jsonb.h"

#include "convert/extended.h"

extern Jsonb *mm_jsonb_from_value(const MmValue *value, MmJsonForm form,
								  MmInvalidText invalid_text,
								  MmTextFailure *failure);
extern Jsonb *mm_jsonb_from_members(const MmValue *values, int n,
									MmJsonForm form,
									MmInvalidText invalid_text,
									MmTextFailure *failure);

#endif							/* MM_JSONB_H */
