/*-------------------------------------------------------------------------
 *
 * sink.h
 *	  Where rows go: the interface of every sink.
 *
 * A sink is opened in each checkpoint transaction and closed before its
 * commit.  The caller fills its slots and has them stored in groups.  What
 * the table refuses (a unique violation, a CHECK) is raised as the server
 * raises it; the caller decides what becomes of the rows.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MM_SINK_H
#define MM_SINK_H

#include "postgres.h"

#include "executor/tuptable.h"
#include "nodes/pg_list.h"
#include "utils/rel.h"

/* Rows that a caller may fill before it has them stored. */
#define MM_SINK_ROWS 1000

/* BSON after which it has them stored: a batch stays in the L2 cache. */
#define MM_SINK_BYTES (32 * 1024)

typedef struct MmSink MmSink;

typedef struct MmSinkOps
{
	const char *name;

	/*
	 * Opens a table, with RowExclusiveLock until the end of the transaction.
	 * NULL when the table is gone; raises 42501 without INSERT privilege,
	 * 0A000 when the table has become one that the sink cannot fill.
	 * Everything lives in the current context.
	 */
	MmSink	   *(*open) (Oid relid);
	/* Columns that the caller fills; the others get their defaults. */
	void		(*set_columns) (MmSink *sink, List *attnums);
	/* Row i of MM_SINK_ROWS: an empty slot, whose arrays the caller fills. */
	TupleTableSlot *(*get_slot) (MmSink *sink, int i);
	/*
	 * Stores rows 0 .. n - 1.  in_savepoint: the caller may roll this back to
	 * a savepoint and go on; to store rows again it gets and fills the slots
	 * anew, as their arrays and tuples do not outlive a call of store.
	 */
	void		(*store) (MmSink *sink, int n, bool in_savepoint);
	/* The caller has rolled a savepoint back. */
	void		(*renew) (MmSink *sink);
	void		(*close) (MmSink *sink);
} MmSinkOps;

/* Every implementation's sink starts with this. */
struct MmSink
{
	const MmSinkOps *ops;
	Relation	rel;
};

extern const MmSinkOps mm_sink_heap;

/*
 * Why the heap sink cannot fill this table: a sentence, or NULL if it can.
 * The caller holds a lock on it.
 */
extern const char *mm_sink_heap_refusal(Relation rel);

#endif							/* MM_SINK_H */
