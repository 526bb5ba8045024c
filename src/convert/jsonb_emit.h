/*-------------------------------------------------------------------------
 *
 * jsonb_emit.h
 *	  The inside of a builder of jsonb, for jsonb.c and jsonb_emit.c.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MM_JSONB_EMIT_H
#define MM_JSONB_EMIT_H

#include "postgres.h"

#include "convert/jsonb.h"
#include "convert/stack.h"

/* Type of a value that is a node; its len is the index. */
#define MM_NODE_VALUE 0x80

/* Type of the value of a node that is an object, with nodes for members. */
#define MM_NODE_OBJECT 0x81

/*
 * Nodes are a tree on a stack, each node before its descendants.  Those of a
 * wrapper lie above the object that it stands in.
 */
typedef struct MmNode
{
	MmValue		value;
	MmJsonForm	form;			/* unless it is an object */
	uint32		next;			/* index behind its descendants; as long as
								 * it is open: the open node around it */
} MmNode;

struct MmJsonbBuilder
{
	MmWriter	writer;			/* for extended.c */
	MmStack		out;
	MmStack		children;		/* MmValue: of the containers at work */
	MmStack		keys;			/* MmSortKey: of the objects at work */
	MmStack		nodes;			/* MmNode */
	MmArena    *arena;			/* of the results; or NULL */
	MemoryContext scratch;		/* what extended.c and its nodes need */
	int			pending;		/* wrappers that still need scratch */
	uint32		open;			/* the innermost open node, or none */
	const char *key;			/* of the next node */
	uint32		key_len;
	JEntry		entry;			/* of what was written outside of nodes */
	bool		failed;			/* a text was refused */
	MmInside	inside;			/* depth: of the document at work */
	MmJsonbChanges changes;
};

/* Valid until the next push, as are all pointers into stacks. */
static inline MmNode *
mm_node_at(MmJsonbBuilder *b, uint32 i)
{
	return (MmNode *) b->nodes.items + i;
}

/*
 * Each appends the data of a value, and returns its entry: mm_jsonb_emit()
 * any value; mm_jsonb_emit_extended() one whose look extended.c decides;
 * mm_jsonb_emit_node() the value or the object of a node.
 */
extern JEntry mm_jsonb_emit(MmJsonbBuilder *b, const MmValue *value,
							MmJsonForm form);
extern JEntry mm_jsonb_emit_string(MmJsonbBuilder *b, const char *s,
								   uint32 len);
extern JEntry mm_jsonb_emit_numeric(MmJsonbBuilder *b, Numeric numeric);
extern JEntry mm_jsonb_emit_node(MmJsonbBuilder *b, uint32 i);
extern JEntry mm_jsonb_emit_extended(MmJsonbBuilder *b, const MmValue *value,
									 MmJsonForm form);

/* False: a text in the value of the node, or in a key, is refused. */
extern bool mm_jsonb_check_node(MmJsonbBuilder *b, uint32 i,
								MmTextFailure *failure);

#endif							/* MM_JSONB_EMIT_H */
