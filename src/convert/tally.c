/*-------------------------------------------------------------------------
 *
 * tally.c
 *	  The books of values of one checkpoint.
 *
 * Counting a value is an addition, done where the value is converted.  A
 * conflict is looked up by its texts in a list that is short: what needs a
 * decision is a handful of paths, or so many that nobody reads the list.
 *
 * In careful mode a savepoint may be rolled back, and what was counted in it
 * must be taken back.  A copy holds the counters only; the texts of a line do
 * not change, and lines are only ever added behind the others.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "convert/tally.h"

MmTally *
mm_tally_create(int nfields)
{
	MmTally    *tally = palloc(sizeof(MmTally));

	tally->nfields = nfields;
	tally->fields = palloc0(sizeof(MmFieldTally) * nfields);
	tally->nconflicts = 0;
	tally->conflicts = palloc(sizeof(MmConflict) *
							  (MM_TALLY_CONFLICTS + MM_TALLY_ACTIONS));
	return tally;
}

MmTally *
mm_tally_save(const MmTally *tally)
{
	Size		fields = sizeof(MmFieldTally) * tally->nfields;
	Size		conflicts = sizeof(MmConflict) * tally->nconflicts;
	char	   *piece = palloc(MAXALIGN(sizeof(MmTally)) + fields + conflicts);
	MmTally    *saved = (MmTally *) piece;

	*saved = *tally;
	piece += MAXALIGN(sizeof(MmTally));
	saved->fields = memcpy(piece, tally->fields, fields);
	saved->conflicts = memcpy(piece + fields, tally->conflicts, conflicts);
	return saved;
}

static void
free_text(char *text)
{
	if (text != NULL)
		pfree(text);
}

static void
free_texts(MmConflict *line)
{
	free_text(line->path);
	free_text(line->column);
	free_text(line->column_type);
	free_text(line->bson_type);
	free_text(line->action);
	free_text(line->first_id);
}

void
mm_tally_restore(MmTally *tally, const MmTally *saved)
{
	for (int i = saved->nconflicts; i < tally->nconflicts; i++)
		free_texts(&tally->conflicts[i]);
	tally->nconflicts = saved->nconflicts;
	memcpy(tally->conflicts, saved->conflicts,
		   sizeof(MmConflict) * saved->nconflicts);
	memcpy(tally->fields, saved->fields,
		   sizeof(MmFieldTally) * saved->nfields);
}

static bool
same_text(const char *a, const char *b)
{
	if (a == NULL || b == NULL)
		return a == b;
	return strcmp(a, b) == 0;
}

static MmConflict *
find_line(MmTally *tally, const MmConflict *line)
{
	for (int i = 0; i < tally->nconflicts; i++)
	{
		MmConflict *have = &tally->conflicts[i];

		if (same_text(have->path, line->path) &&
			same_text(have->action, line->action) &&
			same_text(have->bson_type, line->bson_type) &&
			same_text(have->column, line->column) &&
			same_text(have->column_type, line->column_type))
			return have;
	}
	return NULL;
}

static char *
copy_text(MemoryContext context, const char *text)
{
	return text ? MemoryContextStrdup(context, text) : NULL;
}

static MmConflict *
add_line(MmTally *tally, MemoryContext context, const MmConflict *line)
{
	MmConflict *added = &tally->conflicts[tally->nconflicts];

	if (tally->nconflicts >= MM_TALLY_CONFLICTS + MM_TALLY_ACTIONS)
		elog(ERROR, "unrecognized action \"%s\" of a conflict", line->action);
	added->path = copy_text(context, line->path);
	added->column = copy_text(context, line->column);
	added->column_type = copy_text(context, line->column_type);
	added->bson_type = copy_text(context, line->bson_type);
	added->action = copy_text(context, line->action);
	added->first_id = copy_text(context, line->first_id);
	added->documents = 0;
	tally->nconflicts++;
	return added;
}

void
mm_tally_conflict(MmTally *tally, MemoryContext context,
				  const MmConflict *line)
{
	MmConflict *found = find_line(tally, line);
	MmConflict	others;

	if (found == NULL && tally->nconflicts >= MM_TALLY_CONFLICTS)
	{
		others = *line;
		others.path = others.bson_type = MM_TALLY_OTHERS;
		others.column = others.column_type = NULL;
		line = &others;
		found = find_line(tally, line);
	}
	if (found == NULL)
		found = add_line(tally, context, line);
	found->documents++;
}
