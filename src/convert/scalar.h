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

/* Milliseconds since 1970: PostgreSQL's epoch, what a timestamptz can hold. */
#define MM_SCALAR_EPOCH_MS \
	((POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * INT64CONST(86400000))
#define MM_SCALAR_MIN_DATE INT64CONST(-210866803200000)
#define MM_SCALAR_MAX_DATE INT64CONST(9224318015999999)

/* A date -> microseconds since 2000, UTC. */
static inline MmFit
mm_scalar_date(const MmValue *value, TimestampTz *result)
{
	int64		ms = (int64) mm_walk_uint64(value->data);

	if (ms < MM_SCALAR_MIN_DATE || ms > MM_SCALAR_MAX_DATE)
		return MM_FIT_RANGE;
	*result = (ms - MM_SCALAR_EPOCH_MS) * 1000;
	return MM_FIT_GOOD;
}

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
