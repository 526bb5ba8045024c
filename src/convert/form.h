/*-------------------------------------------------------------------------
 *
 * form.h
 *	  The digits and letters of BSON scalars, shared by all text forms.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MM_FORM_H
#define MM_FORM_H

#include "postgres.h"

#include "lib/stringinfo.h"
#include "utils/numeric.h"

#include "convert/walk.h"

/* Sizes of buffers, the NUL included. */
#define MM_FORM_OBJECT_ID 25
#define MM_FORM_UUID 37
#define MM_FORM_DATE 25			/* 2026-11-22T09:00:02.123Z */
#define MM_FORM_DOUBLE 32
#define MM_FORM_DECIMAL 48

/* Milliseconds of the first and the last instant of these years. */
#define MM_DATE_YEAR_1 INT64CONST(-62135596800000)
#define MM_DATE_YEAR_9999 INT64CONST(253402300799999)

typedef enum MmFormMillis
{
	MM_MILLIS_ALWAYS,			/* the order of texts is that of time */
	MM_MILLIS_UNLESS_ZERO		/* as Extended JSON has it */
} MmFormMillis;

extern const char mm_form_hex[256][3];

/* 24 digits, no NUL; inline, because most documents begin with one. */
static inline void
mm_form_object_id_digits(const uint8 *oid, char *buffer)
{
	for (int i = 0; i < MM_OBJECT_ID_LEN; i++)
		memcpy(buffer + 2 * i, mm_form_hex[oid[i]], 2);
}

extern char *mm_form_object_id(const uint8 *oid, char *buffer);
extern char *mm_form_uuid(const uint8 *uuid, char *buffer);
extern char *mm_form_date(int64 ms, MmFormMillis millis, char *buffer);
extern char *mm_form_double(double v, char *buffer);
extern char *mm_form_double_with_point(double v, char *buffer);
extern char *mm_form_decimal(const uint8 *decimal, char *buffer);
extern bool mm_form_decimal_is_finite(const char *digits);
extern bool mm_form_decimal_is_minus_zero(const char *digits);
extern bool mm_form_is_minus_zero(double v);
extern char *mm_form_base64(const uint8 *data, uint32 len);

extern Numeric mm_form_double_numeric(double v);
extern Numeric mm_form_text_numeric(const char *digits);

#endif							/* MM_FORM_H */
