/*-------------------------------------------------------------------------
 *
 * jsonb.h
 *	  BSON values as jsonb.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MM_JSONB_H
#define MM_JSONB_H

#include "postgres.h"

#include "utils/jsonb.h"

#include "arena.h"
#include "convert/extended.h"

/*
 * Memory that is used again from one jsonb to the next.  It makes one at a
 * time; after an error it can be used again.
 */
typedef struct MmJsonbBuilder MmJsonbBuilder;

/* What the last jsonb does not say as the documents did. */
typedef struct MmJsonbChanges
{
	uint32		duplicates;		/* members dropped: a later one has the key */
	uint32		altered;		/* strings and keys stripped or replaced */
} MmJsonbChanges;

/* Lives in the current context; its results in the arena, see arena.h. */
extern MmJsonbBuilder *mm_jsonb_create(MmArena *arena);

/*
 * The jsonb of a value that was validated.  NULL with *failure when a text in
 * it was refused.
 */
extern Jsonb *mm_jsonb_from_value(MmJsonbBuilder *builder,
								  const MmValue *value, MmJsonForm form,
								  MmInvalidText invalid_text,
								  MmTextFailure *failure);

/*
 * The same for a value that nobody has validated: that is done on the way.
 * NULL with inside->faulty when it is not valid.
 */
extern Jsonb *mm_jsonb_from_unread(MmJsonbBuilder *builder,
								   const MmValue *value, MmJsonForm form,
								   MmInvalidText invalid_text,
								   MmInside *inside, MmTextFailure *failure);

/*
 * The jsonb of an object that is put together from parts, which are valid:
 *
 *	  mm_jsonb_begin(builder, invalid_text);
 *	  mm_jsonb_begin_object(builder);
 *	  mm_jsonb_key(builder, "a", 1);
 *	  mm_jsonb_value(builder, &value, MM_JSON_RELAXED);
 *	  mm_jsonb_key(builder, "b", 1);
 *	  mm_jsonb_begin_object(builder);
 *	  mm_jsonb_end_object(builder);
 *	  mm_jsonb_end_object(builder);
 *	  jsonb = mm_jsonb_finish(builder, &failure);
 *
 * Keys and values are read at the end: what they point to must last.  Of
 * members with the same key the last one stays, also when they are objects:
 * they are not merged.  The path of a failure begins at the outermost object.
 */
extern void mm_jsonb_begin(MmJsonbBuilder *builder,
						   MmInvalidText invalid_text);
extern void mm_jsonb_begin_object(MmJsonbBuilder *builder);
extern void mm_jsonb_key(MmJsonbBuilder *builder, const char *key,
						 uint32 len);
extern void mm_jsonb_value(MmJsonbBuilder *builder, const MmValue *value,
						   MmJsonForm form);
extern void mm_jsonb_end_object(MmJsonbBuilder *builder);
extern Jsonb *mm_jsonb_finish(MmJsonbBuilder *builder,
							  MmTextFailure *failure);

/* Of the last jsonb that was made, by either way. */
extern MmJsonbChanges mm_jsonb_changes(const MmJsonbBuilder *builder);

#endif							/* MM_JSONB_H */
