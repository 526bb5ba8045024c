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

/* digits / 10^scale, of which "shown" digits stand behind the point. */
typedef struct MmNumber
{
	uint64		digits;
	int			scale;			/* less than 0: zeros follow the digits */
	int			shown;			/* not less than scale, nor than 0 */
	bool		negative;
} MmNumber;

/* Bytes of the longest: length word, long header, 20 digits in 6 groups. */
#define MM_NUMBER_MAX 20

extern void mm_number_from_integer(int64 v, MmNumber *number);
extern void mm_number_from_double(double v, MmNumber *number);
extern bool mm_number_from_decimal(const uint8 *decimal, MmNumber *number);
extern uint32 mm_number_write(const MmNumber *number, char *out);

#endif							/* MM_NUMBER_H */
