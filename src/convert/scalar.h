/*-------------------------------------------------------------------------
 *
 * scalar.h
 *	  One BSON value -> a number, a time, a boolean or a UUID, exactly.
 *
 * *result is written when the result is MM_FIT_GOOD.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MM_SCALAR_H
#define MM_SCALAR_H

#include "postgres.h"

#include "utils/timestamp.h"

#include "convert/value.h"

extern MmFit mm_scalar_integer(const MmValue *value, int64 *result);
extern MmFit mm_scalar_double(const MmValue *value, double *result);
extern MmFit mm_scalar_real(const MmValue *value, float *result);
extern MmFit mm_scalar_numeric(const MmValue *value, const MmValueType *type,
							   Datum *result);
extern MmFit mm_scalar_boolean(const MmValue *value, bool *result);
extern MmFit mm_scalar_microseconds(const MmValue *value, TimestampTz *result,
									MmOutcome *outcome);
extern MmFit mm_scalar_limit_time(TimestampTz v, int digits);
extern MmFit mm_scalar_day(const MmValue *value, Datum *result,
						   MmOutcome *outcome);
extern MmFit mm_scalar_uuid(const MmValue *value, const MmValueType *type,
							Datum *result);

#endif							/* MM_SCALAR_H */
