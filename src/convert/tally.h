/*-------------------------------------------------------------------------
 *
 * tally.h
 *	  The books of values: what became of the values of each field, and which
 *	  odd types stood where.
 *
 * A tally belongs to one checkpoint: it starts at zero with the column plan
 * and is added to the chunk's row when the transaction commits.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MM_TALLY_H
#define MM_TALLY_H

#include "postgres.h"

/* What became of a value.  The order is that of chunk.field_values. */
typedef enum MmFate
{
	MM_FATE_EXACT,				/* stored in its column, as the type it is */
	MM_FATE_WIDENED,			/* stored, all of it, as another type */
	MM_FATE_DIVERTED,			/* kept in _extra: it did not fit */
	MM_FATE_SET_NULL,			/* dropped by on_error set_null */
	MM_FATE_SET_DEFAULT,		/* dropped by on_error set_default */
	MM_FATE_IGNORED,			/* dropped: the contract ignores the path */
	MM_FATE_ALTERED,			/* text changed by invalid_text, or the like */
	MM_FATES
} MmFate;

typedef struct MmFieldTally
{
	int64		n[MM_FATES];
} MmFieldTally;

/* One line of migrate_conflicts: a path and a type that needs a decision. */
typedef struct MmConflict
{
	char	   *path;
	char	   *column;			/* or NULL */
	char	   *column_type;	/* or NULL */
	char	   *bson_type;
	char	   *action;			/* diverted, rejected, set_null, set_default,
								 * altered, duplicate */
	char	   *first_id;		/* canonical Extended JSON of an _id */
	int64		documents;
} MmConflict;

/*
 * Above this many lines of one checkpoint, further ones share a line
 * "(others)" for each action.
 */
#define MM_TALLY_CONFLICTS 200
#define MM_TALLY_ACTIONS 6
#define MM_TALLY_OTHERS "(others)"

/* Number of what stands under no field's path. */
#define MM_TALLY_UNKNOWN 0

typedef struct MmTally
{
	int			nfields;		/* first all paths without a field, then the
								 * fields of the contract in its order, to
								 * which some may be added later */
	MmFieldTally *fields;
	int			nconflicts;
	MmConflict *conflicts;		/* [MM_TALLY_CONFLICTS + MM_TALLY_ACTIONS] */
} MmTally;

/* In the current context. */
extern MmTally *mm_tally_create(int nfields);
/*
 * A copy to go back to; in the current context, and in one piece: pfree()
 * frees all of it.
 */
extern MmTally *mm_tally_save(const MmTally *tally);
/* Lines made since are freed. */
extern void mm_tally_restore(MmTally *tally, const MmTally *saved);
/*
 * Counts a document under a line, which is made when it is new: its texts are
 * copied into the context.
 */
extern void mm_tally_conflict(MmTally *tally, MemoryContext context,
							  const MmConflict *line);

#endif							/* MM_TALLY_H */
