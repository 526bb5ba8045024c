/*-------------------------------------------------------------------------
 *
 * tally.c
 *	  The books of values.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "convert/tally.h"
#include "utils/memutils.h"

MmTally *
mm_tally_create(int nfields)
{
	MmTally    *tally = palloc0(sizeof(MmTally));

	tally->nfields = nfields;
	tally->fields = palloc0(sizeof(MmFieldTally) * nfields);
	tally->conflicts = palloc0(sizeof(MmConflict) * (MM_TALLY_CONFLICTS + 1));
	return tally;
}

MmTally *
mm_tally_save(const MmTally *tally)
{
	MmTally    *saved = mm_tally_create(tally->nfields);

	saved->nconflicts = tally->nconflicts;
	memcpy(saved->fields, tally->fields,
		   sizeof(MmFieldTally) * tally->nfields);
	memcpy(saved->conflicts, tally->conflicts,
		   sizeof(MmConflict) * tally->nconflicts);
	return saved;
}

void
mm_tally_restore(MmTally *tally, const MmTally *saved)
{
	tally->nconflicts = saved->nconflicts;
	memcpy(tally->fields, saved->fields,
		   sizeof(MmFieldTally) * tally->nfields);
	memcpy(tally->conflicts, saved->conflicts,
		   sizeof(MmConflict) * tally->nconflicts);
}

void
mm_tally_conflict(MmTally *tally, MemoryContext context,
				  const MmConflict *line)
{
	(void) tally;
	(void) context;
	(void) line;
}
