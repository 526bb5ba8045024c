/*-------------------------------------------------------------------------
 *
 * copy.h
 *	  Copying a few bytes.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MM_COPY_H
#define MM_COPY_H

#include "postgres.h"

/*
 * memcpy() for texts and names, most of which have up to 32 bytes: two blocks,
 * which may overlap, without a call.
 */
static inline void
mm_copy_short(char *to, const char *from, Size n)
{
	if (n > 32 || n < 4)
		memcpy(to, from, n);
	else if (n >= 16)
	{
		memcpy(to, from, 16);
		memcpy(to + n - 16, from + n - 16, 16);
	}
	else if (n >= 8)
	{
		memcpy(to, from, 8);
		memcpy(to + n - 8, from + n - 8, 8);
	}
	else
	{
		memcpy(to, from, 4);
		memcpy(to + n - 4, from + n - 4, 4);
	}
}

#endif							/* MM_COPY_H */
