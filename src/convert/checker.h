/*-------------------------------------------------------------------------
 *
 * checker.h
 *	  Looks for text that is refused.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MM_CHECKER_H
#define MM_CHECKER_H

#include "postgres.h"

#include "convert/extended.h"

extern bool mm_checker_value(const MmValue *value, MmJsonForm form,
							 MmTextFailure *failure);

#endif							/* MM_CHECKER_H */
