/*-------------------------------------------------------------------------
 *
 * plan.h
 *	  The column plan: how a document is read under a contract.
 *
 * The contract's paths make a tree.  A node stands for the document or for an
 * embedded one whose fields are columns; its entries are the names that the
 * contract knows there.  plan.c builds it, row.c walks a document along it,
 * settle.c decides about what is left over.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MM_PLAN_H
#define MM_PLAN_H

#include "postgres.h"

#include "arena.h"
#include "convert/convert.h"
#include "convert/jsonb.h"
#include "convert/keymap.h"
#include "convert/plain.h"
#include "convert/tally.h"
#include "convert/value.h"

typedef struct MmNode MmNode;
typedef struct MmEntry MmEntry;

typedef struct MmColumn
{
	MmValueType type;
	int			index;			/* in values and isnull */
	int			number;			/* in the tally */
	bool		not_null;
	bool		checks_null;	/* the type may refuse null */
	bool		has_default;
	MmOnError	on_error;
	Datum		default_value;
	uint64		counted;		/* document whose value is in the tally */
	MmFate		fate;			/* as which it is there */
	MmEntry    *entry;
	const MmField *field;
	const char *type_name;
} MmColumn;

typedef enum MmEntryKind
{
	MM_ENTRY_COLUMN,
	MM_ENTRY_NODE,
	MM_ENTRY_IGNORE,
	MM_ENTRY_EXTRA
} MmEntryKind;

/* A plain value that came under a name; most others will be like it. */
typedef struct MmLastValue
{
	uint8		type;			/* 0: none */
	MmPlainPair pair;
	MmFate		fate;
	int64	   *counter;		/* of that fate */
} MmLastValue;

/* A name that the contract knows. */
struct MmEntry
{
	MmName		name;
	MmEntryKind kind;
	MmLastValue last;
	MmColumn   *column;			/* MM_ENTRY_COLUMN */
	MmNode	   *node;			/* MM_ENTRY_NODE */
	int			number;			/* in the tally */
	uint64		serial;			/* of the document that had it last */
	uint64		doubled;		/* of the one that had it twice */
	int			left;			/* index of its leftover there, or -1 */
	MmEntry    *next;			/* came behind it then; or NULL */
};

struct MmNode
{
	MmNode	   *parent;			/* NULL: the document itself */
	MmEntry    *entry;			/* in the parent */
	int			depth;			/* 0: the document itself */
	int			first_left;		/* of the leftovers below its last value */
	int			nentries;
	int			size;
	MmEntry   **entries;
	mm_keymap_hash *by_key;
	MmEntry		start;			/* stands before the first entry */
};

typedef enum MmLeftoverKind
{
	MM_LEFT_UNKNOWN,			/* the contract does not know the name */
	MM_LEFT_MISFIT,				/* it does not fit its column or node */
	MM_LEFT_EMPTY,				/* an embedded document without fields */
	MM_LEFT_EXTRA,				/* the contract wants it in _extra */
	MM_LEFT_IGNORE				/* the contract does not want it */
} MmLeftoverKind;

/* A value that is in no column. */
typedef struct MmLeftover
{
	MmLeftoverKind kind;
	MmFit		fit;
	bool		overridden;		/* by a later duplicate of the key */
	MmValue		value;
	const MmNode *where;		/* the document that it stands in */
	const MmEntry *entry;		/* NULL: unknown */
	MmTextFailure failure;		/* with MM_FIT_TEXT */
} MmLeftover;

struct MmPlan
{
	const MmContract *contract;
	MemoryContext context;
	int			extra;			/* index of the extra column, or -1 */
	int			ncolumns;
	MmColumn   *columns;
	MmColumn   *document;		/* takes the whole document; or NULL */
	MmEntry		document_entry; /* of it; no name has it */
	MmNode	   *root;
	List	   *attnums;
	MmTally    *tally;
	MmArena    *arena;
	MmJsonbBuilder *builder;
	MemoryContext repeated;		/* for values of a repeated key; or NULL */
	int			nchecked;		/* columns that may refuse null */
	MmColumn  **checked;
	List	   *large_keys;		/* of MmColumn *: of the key, with values of
								 * any length */
	Size		small_key_bytes;	/* of the rest of the key */

	/* of the document at work */
	const uint8 *doc;
	uint32		len;
	uint64		serial;
	Datum	   *values;
	bool	   *isnull;
	uint32		elements;
	int			nfilled;		/* columns that it has */
	int			nleft;
	int			left_size;
	MmLeftover *left;
	char	   *first_id;		/* of the document at work, once it is asked for */
	List	   *notes;			/* of MmConflict *, for a document that will be
								 * stored; in the context of the call */
	bool		extra_altered;	/* texts on their way into the extra column */
};

/* plan.c */
/* As of MmConflict; in the context of the row. */
extern char *mm_plan_first_id(MmPlan *plan);
extern void mm_plan_note(MmPlan *plan, const char *path,
						 const MmColumn *column, const char *bson_type,
						 const char *action);

/* A value of the column is in the row; taken back if it does not stay. */
static inline void
mm_plan_count(MmPlan *plan, MmColumn *column, MmFate fate)
{
	column->counted = plan->serial;
	column->fate = fate;
	plan->tally->fields[column->number].n[fate]++;
}

/* The same for a value like the last one. */
static inline void
mm_plan_count_again(MmPlan *plan, MmColumn *column, const MmLastValue *last)
{
	column->counted = plan->serial;
	column->fate = last->fate;
	++*last->counter;
}

static inline void
mm_plan_uncount(MmPlan *plan, MmColumn *column)
{
	if (column->counted == plan->serial)
		plan->tally->fields[column->number].n[column->fate]--;
	column->counted = 0;
}

/* row.c */
extern bool mm_row_read(MmPlan *plan, const uint8 *doc, uint32 len,
						const char **fault);

/* key.c */
extern bool mm_key_fits(const MmPlan *plan);

/* settle.c */
extern bool mm_settle(MmPlan *plan, int64 *diverted, MmReject *reject);
extern bool mm_settle_reject(MmPlan *plan, const MmReject *reject);

/* reject.c */
extern bool mm_reject_corrupt(const MmPlan *plan, const char *fault,
							  MmReject *reject);
extern bool mm_reject_leftover(const MmPlan *plan, const MmLeftover *left,
							   MmReject *reject);
extern bool mm_reject_key(const MmPlan *plan, MmReject *reject);
extern bool mm_reject_null(const MmPlan *plan, const MmColumn *column,
						   MmReject *reject);
extern bool mm_reject_extra_text(const MmPlan *plan,
								 const MmTextFailure *failure,
								 MmReject *reject);
extern List *mm_reject_parts(const MmNode *where, const MmValue *value);
extern char *mm_reject_path(const MmNode *where, const MmValue *value);

#endif							/* MM_PLAN_H */
