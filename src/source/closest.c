/*-------------------------------------------------------------------------
 *
 * closest.c
 *	  "Perhaps you meant": the known name that is nearest to a wrong one.
 *
 * PostgreSQL 16 has this as ClosestMatchState; 15 has only the distance
 * function.  The rule for what is near enough is core's: at most four edits,
 * and at most half of the wanted name.
 *
 * Candidates must be valid in the server encoding; they are remembered, not
 * copied.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/varlena.h"

#include "source/closest.h"

#define MAX_DISTANCE	4

/* Longer names are not typed by hand; and the cost is quadratic. */
#define MAX_NAME_BYTES	128

void
mm_closest_init(MmClosest *state, const char *wanted)
{
	state->wanted = wanted;
	state->best = NULL;
	state->distance = Min(MAX_DISTANCE, (int) strlen(wanted) / 2) + 1;
}

void
mm_closest_try(MmClosest *state, const char *candidate)
{
	size_t		wanted_len = strlen(state->wanted);
	size_t		candidate_len = strlen(candidate);
	int			distance;

	if (wanted_len == 0 || wanted_len > MAX_NAME_BYTES ||
		candidate_len == 0 || candidate_len > MAX_NAME_BYTES)
		return;

	distance = varstr_levenshtein_less_equal(state->wanted, wanted_len,
											 candidate, candidate_len,
											 1, 1, 1,
											 state->distance - 1, true);
	if (distance < state->distance)
	{
		state->best = candidate;
		state->distance = distance;
	}
}

const char *
mm_closest_get(const MmClosest *state)
{
	return state->best;
}
