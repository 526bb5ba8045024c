/*-------------------------------------------------------------------------
 *
 * closest.h
 *	  "Perhaps you meant": the known name that is nearest to a wrong one.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MM_CLOSEST_H
#define MM_CLOSEST_H

#include "postgres.h"

typedef struct MmClosest
{
	const char *wanted;
	const char *best;			/* as given to mm_closest_try() */
	int			distance;
} MmClosest;

extern void mm_closest_init(MmClosest *state, const char *wanted);
extern void mm_closest_try(MmClosest *state, const char *candidate);

/* The best candidate so far, NULL if none is near enough. */
extern const char *mm_closest_get(const MmClosest *state);

#endif							/* MM_CLOSEST_H */
