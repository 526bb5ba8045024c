/*-------------------------------------------------------------------------
 *
 * number.h
 *	  Numbers in the form in which the server stores a numeric.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MM_NUMBER_H
#define MM_NUMBER_H

#include "postgres.h"

/* digits / 10^scale, shown with so many digits behind the point. */
typedef struct MmNumber
{
	uint64		digits;
	int			scale;			/* less than 0: zeros follow the digits */
	int			shown;			/* not less than 0 */
	bool		negative;
} MmNumber;

/* Bytes of the longest: length word, long header, 20 digits in 6 groups. */
#define MM_NUMBER_MAX 20

extern void mm_number_from_double(double v, MmNumber *number);
extern bool mm_number_from_decimal(const uint8 *decimal, MmNumber *number);

/*
 * These write a number, and return its bytes, MM_NUMBER_MAX at most.  out is
 * int-aligned.
 */
extern uint32 mm_number_write(const MmNumber *number, char *out);
extern uint32 mm_number_write_integer(int64 v, char *out);

#endif							/* MM_NUMBER_H */
