/*-------------------------------------------------------------------------
 *
 * merge.h
 *	  From what was seen of a field to one column type.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MM_MERGE_H
#define MM_MERGE_H

#include "postgres.h"

#include "convert/convert.h"
#include "convert/walk.h"

/*
 * Classes of values: the BSON types by their numbers, then those whose
 * numbers are far away, and UUIDs, which have a type in PostgreSQL.
 */
#define MM_CLASS_MIN_KEY 0x14
#define MM_CLASS_MAX_KEY 0x15
#define MM_CLASS_UUID 0x16
#define MM_CLASSES 0x17

/* So many different strings of a field are counted. */
#define MM_DISTINCT 20

typedef struct MmLevel MmLevel;

typedef struct MmSeen
{
	const struct MmSeen *parent;	/* the embedded document; or NULL */
	MmLevel    *level;			/* what is in its documents; or NULL */
	char	   *note;
	int			order;			/* among the columns */
	char	   *key;
	uint32		key_len;
	int			number;			/* in the order first seen */
	int64		documents;		/* that have the field */
	int64		last_document;	/* number of the last one of them */
	int			last_class;		/* of the value in it */
	int64		counts[MM_CLASSES];
	uint32		elements;		/* classes in its arrays, bit by class */
	uint32		min_elements;	/* of an array */
	uint32		max_elements;
	uint8		subtype;		/* of the first binary */
	bool		several_subtypes;
	bool		old_uuids;		/* subtype 3 among them */
	int			ndistinct;		/* strings; MM_DISTINCT + 1: more */
	uint32		distinct[MM_DISTINCT];	/* their hashes */
} MmSeen;

extern int	mm_merge_class(const MmValue *value, MmUuidForm uuid);
extern bool mm_merge_is_object(const MmSeen *seen);
extern void mm_merge_field(const MmSeen *seen, const MmInferOptions *options,
						   MmInferField *result);
extern void mm_merge_id(const MmSeen *seen, const MmInferOptions *options,
						uint8 first, uint8 last, MmInferField *result);

#endif							/* MM_MERGE_H */
