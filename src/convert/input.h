/*-------------------------------------------------------------------------
 *
 * input.h
 *	  Text -> Datum: what a string becomes in a typed column.
 *
 * Each returns MM_FIT_GOOD with *result, or the misfit; none raises, save
 * mm_input_call() and mm_input_domain() outside of careful mode.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MM_INPUT_H
#define MM_INPUT_H

#include "postgres.h"

#include "utils/numeric.h"
#include "utils/timestamp.h"

#include "convert/value.h"

extern bool mm_input_same_number(const char *a, const char *b);
extern bool mm_input_is_padded(const char *text, bool keeps_sign);
extern MmFit mm_input_integer(const char *text, int64 *result);
extern MmFit mm_input_numeric(const char *text, Numeric *result);
extern MmFit mm_input_double(const char *text, double *result);
extern MmFit mm_input_real(const char *text, float *result);
extern MmFit mm_input_boolean(const char *text, bool *result);
extern MmFit mm_input_timestamptz(const char *text, TimestampTz *result);
extern MmFit mm_input_uuid(const char *text, uint8 *result);
extern MmFit mm_input_enum(Oid typid, const char *text, Datum *result);
extern MmFit mm_input_call(MmValueType *type, char *text, Datum *result);
extern MmFit mm_input_domain(MmValueType *type, Datum value, bool isnull);

/*
 * Of an error that was caught: did one of these two raise it, since the type
 * refuses a value?  In careful mode it would be a misfit.  To be asked once
 * for each error.
 */
extern bool mm_input_raised(int sqlstate);

#endif							/* MM_INPUT_H */
