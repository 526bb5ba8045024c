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
/* The labels of an enum, in the current context; then the value of one. */
extern void mm_input_read_labels(MmValueType *type);
extern MmFit mm_input_enum(const MmValueType *type, const char *text,
						   Datum *result);
extern MmFit mm_input_call(MmValueType *type, char *text, Datum *result);
extern MmFit mm_input_domain(MmValueType *type, Datum value, bool isnull);

/*
 * Of an error that was caught: did one of these two raise it, since the type
 * refuses a value?  In careful mode it would be a misfit.  To be asked once
 * for each error.
 */
extern bool mm_input_raised(int sqlstate);

/*
 * May it be a value or a row that is refused?  Input functions, domains,
 * checks, generated columns and indexes run what may raise anything; but some
 * errors are the fault of no value, or of all.
 */
extern bool mm_input_may_be_refusal(int sqlstate);

#endif							/* MM_INPUT_H */
