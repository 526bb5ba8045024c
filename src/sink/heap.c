/*-------------------------------------------------------------------------
 *
 * heap.c
 *	  Stores rows in a plain heap table with table_multi_insert().
 *
 * The steps of one row are those of COPY FROM (copyfrom.c): defaults of the
 * columns that the contract does not fill, stored generated columns, NOT
 * NULL and CHECK, heap, indexes.  Tables that need more (triggers, row
 * security, rules, partitions, other access methods, Citus) are refused by
 * mm_sink_heap_refusal() before a job starts, and again at each open, since
 * the table may have changed since.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/pg_am.h"
#include "catalog/pg_class.h"
#include "catalog/pg_namespace_d.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "executor/executor.h"
#include "executor/nodeModifyTable.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "parser/parse_coerce.h"
#include "rewrite/rewriteHandler.h"
#include "utils/acl.h"
#include "utils/expandeddatum.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rls.h"

#include "compat.h"
#include "sink/pages.h"
#include "sink/sink.h"
#include "sink/tuple.h"

/* Bytes of WAL, of all processes. */
#define WAL_STRETCH (1024 * 1024)

typedef struct HeapSink
{
	MmSink		base;
	MemoryContext context;		/* of open: lives as long as the sink */
	MemoryContext execution;	/* of what the executor has made */
	EState	   *estate;
	ResultRelInfo *target;
	List	   *attnums;		/* that the caller fills */
	BulkInsertState bulk;
	MmPages		pages;
	MmFormer   *former;			/* of the slots */
	XLogRecPtr	announced;		/* to the WAL writer */
	int			ndefaults;		/* columns with a default to compute */
	AttrNumber *default_attnums;
	ExprState **default_exprs;
	AttrNumber *null_attnums;	/* columns without one */
	int			nnulls;
	AttrNumber *not_null_attnums;
	int			nnot_null;
	bool		has_checks;		/* CHECK constraints */
	TupleTableSlot *slots[MM_SINK_ROWS];	/* made when first needed */
} HeapSink;

static bool
has_insert_trigger(const TriggerDesc *triggers)
{
	return triggers != NULL &&
		(triggers->trig_insert_before_row || triggers->trig_insert_after_row ||
		 triggers->trig_insert_instead_row ||
		 triggers->trig_insert_before_statement ||
		 triggers->trig_insert_after_statement);
}

/*
 * Of a table that Citus distributes the rows are elsewhere: what were stored
 * in the table itself, no query would find.  Its catalog lists the tables in
 * the first column, in pg_catalog, where nobody else makes tables.
 */
static bool
is_distributed(Oid relid)
{
	Oid			catalog = get_relname_relid("pg_dist_partition",
											PG_CATALOG_NAMESPACE);
	ScanKeyData key;
	Relation	rel;
	SysScanDesc scan;
	bool		found;

	if (!OidIsValid(catalog))
		return false;
	ScanKeyInit(&key, 1, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(relid));
	rel = try_table_open(catalog, AccessShareLock);
	if (rel == NULL)
		return false;
	scan = systable_beginscan(rel, InvalidOid, false, NULL, 1, &key);
	found = HeapTupleIsValid(systable_getnext(scan));
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return found;
}

const char *
mm_sink_heap_refusal(Relation rel)
{
	if (rel->rd_rel->relkind == RELKIND_PARTITIONED_TABLE)
		return "It is partitioned.";
	if (rel->rd_rel->relkind != RELKIND_RELATION)
		return "It is no table.";
	if (rel->rd_rel->relispartition)
		return "It is a partition.";
	if (rel->rd_rel->relpersistence == RELPERSISTENCE_TEMP)
		return "It is temporary, and background workers cannot see it.";
	if (rel->rd_rel->relpersistence == RELPERSISTENCE_UNLOGGED)
		return "It is unlogged: after a crash its rows would be missing.";
	if (rel->rd_rel->relam != HEAP_TABLE_AM_OID)
		return "Its access method is not heap.";
	if (rel->rd_rules != NULL)
		return "It has rules.";
	if (has_insert_trigger(rel->trigdesc))
		return "It has triggers or foreign keys that fire on INSERT.";
	if (is_distributed(RelationGetRelid(rel)))
		return "It is distributed by Citus.";
	if (check_enable_rls(RelationGetRelid(rel), InvalidOid,
						 true) == RLS_ENABLED)
		return "Row-level security applies to you.";
	return NULL;
}

/* Raises unless the current user may insert into a table fit for us. */
static void
check_target(Relation rel)
{
	const char *refusal = mm_sink_heap_refusal(rel);
	AclResult	acl;

	if (refusal != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot load into table \"%s\"",
						RelationGetRelationName(rel)),
				 errdetail_internal("%s", refusal)));
	acl = pg_class_aclcheck(RelationGetRelid(rel), GetUserId(), ACL_INSERT);
	if (acl != ACLCHECK_OK)
		aclcheck_error(acl, OBJECT_TABLE, RelationGetRelationName(rel));
}

static void
find_constraints(HeapSink *sink, Relation rel)
{
	TupleDesc	desc = RelationGetDescr(rel);

	sink->has_checks = rel->rd_rel->relchecks > 0;
	sink->not_null_attnums = palloc(desc->natts * sizeof(AttrNumber));
	for (int i = 0; i < desc->natts; i++)
		if (TupleDescAttr(desc, i)->attnotnull)
			sink->not_null_attnums[sink->nnot_null++] = i + 1;
}

static void
begin_execution(HeapSink *sink)
{
	MemoryContext old = MemoryContextSwitchTo(sink->execution);

	sink->estate = CreateExecutorState();
	sink->target = makeNode(ResultRelInfo);
	/* Index 0: not in a range table.  check_target() saw to permissions. */
	InitResultRelInfo(sink->target, sink->base.rel, 0, NULL, 0);
	ExecOpenIndices(sink->target, false);
	MemoryContextSwitchTo(old);
}

static void
end_execution(HeapSink *sink)
{
	ExecCloseIndices(sink->target);
	FreeExecutorState(sink->estate);
	MemoryContextReset(sink->execution);
}

static MmSink *
heap_sink_open(Oid relid)
{
	Relation	rel = try_table_open(relid, RowExclusiveLock);
	HeapSink   *sink;

	if (rel == NULL)
		return NULL;
	check_target(rel);

	sink = palloc0(sizeof(HeapSink));
	sink->base.ops = &mm_sink_heap;
	sink->base.rel = rel;
	sink->context = CurrentMemoryContext;
	sink->execution = AllocSetContextCreate(CurrentMemoryContext,
											"mongo_migrate execution",
											ALLOCSET_SMALL_SIZES);
	begin_execution(sink);
	find_constraints(sink, rel);
	sink->bulk = GetBulkInsertState();
	sink->former = mm_tuple_create_former(RelationGetDescr(rel));
	return &sink->base;
}

/*
 * The default of a column; NULL: null, and nothing to compute.  A null of
 * a domain is made by it, as the planner does, since it may not allow one.
 */
static Node *
default_of(Relation rel, Form_pg_attribute att)
{
	Node	   *expr;
	Oid			base;
	int32		typmod = att->atttypmod;

	if (att->attisdropped || att->attgenerated)
		return NULL;
	expr = build_column_default(rel, att->attnum);
	if (expr != NULL || get_typtype(att->atttypid) != TYPTYPE_DOMAIN)
		return expr;
	base = getBaseTypeAndTypmod(att->atttypid, &typmod);
	return coerce_to_domain((Node *) makeNullConst(base, typmod,
												   att->attcollation),
							base, typmod, att->atttypid, COERCION_IMPLICIT,
							COERCE_IMPLICIT_CAST, -1, false);
}

/* Prepares the defaults of the columns that the caller does not fill. */
static void
prepare_defaults(HeapSink *sink)
{
	TupleDesc	desc = RelationGetDescr(sink->base.rel);
	MemoryContext old = MemoryContextSwitchTo(sink->execution);

	sink->ndefaults = sink->nnulls = 0;
	sink->default_attnums = palloc0(desc->natts * sizeof(AttrNumber));
	sink->null_attnums = palloc0(desc->natts * sizeof(AttrNumber));
	sink->default_exprs = palloc0(desc->natts * sizeof(ExprState *));
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);
		Node	   *expr;

		if (list_member_int(sink->attnums, att->attnum))
			continue;
		expr = default_of(sink->base.rel, att);
		if (expr == NULL)
		{
			sink->null_attnums[sink->nnulls++] = att->attnum;
			continue;
		}
		sink->default_attnums[sink->ndefaults] = att->attnum;
		sink->default_exprs[sink->ndefaults++] =
			ExecPrepareExpr((Expr *) expr, sink->estate);
	}
	MemoryContextSwitchTo(old);
}

static void
heap_sink_set_columns(MmSink *base, List *attnums)
{
	HeapSink   *sink = (HeapSink *) base;

	sink->attnums = attnums;
	prepare_defaults(sink);
}

/*
 * The executor does not expect to go on behind an error: what it was making
 * (the expressions of CHECK constraints, say) it takes for made.
 */
static void
heap_sink_renew(MmSink *base)
{
	HeapSink   *sink = (HeapSink *) base;

	/* What indexes kept is gone with the savepoint. */
	for (int i = 0; i < sink->target->ri_NumIndices; i++)
		sink->target->ri_IndexRelationInfo[i]->ii_AmCache = NULL;
	end_execution(sink);
	begin_execution(sink);
	prepare_defaults(sink);
}

static TupleTableSlot *
heap_sink_get_slot(MmSink *base, int i)
{
	HeapSink   *sink = (HeapSink *) base;

	if (sink->slots[i] == NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(sink->context);

		sink->slots[i] = mm_tuple_create_slot(sink->former);
		MemoryContextSwitchTo(old);
	}
	ExecClearTuple(sink->slots[i]);
	return sink->slots[i];
}

/* ExecConstraints() would look at each attribute of each row. */
static inline bool
may_violate(const HeapSink *sink, const TupleTableSlot *slot)
{
	for (int i = 0; i < sink->nnot_null; i++)
		if (slot->tts_isnull[sink->not_null_attnums[i] - 1])
			return true;
	return sink->has_checks;
}

/*
 * A function may return an array that the next one changes in place, in
 * a CHECK constraint or an index expression: not in this row.
 */
static void
fill_defaults(HeapSink *sink, TupleTableSlot *slot)
{
	ExprContext *econtext = GetPerTupleExprContext(sink->estate);

	for (int i = 0; i < sink->ndefaults; i++)
	{
		int			att = sink->default_attnums[i] - 1;
		Datum		value;

		value = ExecEvalExprSwitchContext(sink->default_exprs[i], econtext,
										  &slot->tts_isnull[att]);
		slot->tts_values[att] =
			MakeExpandedObjectReadOnly(value, slot->tts_isnull[att],
									   TupleDescAttr(slot->tts_tupleDescriptor,
													 att)->attlen);
	}
}

/* Fills what the caller did not, checks constraints; ready for the heap. */
static void
complete_row(HeapSink *sink, TupleTableSlot *slot)
{
	TupleConstr *constr = RelationGetDescr(sink->base.rel)->constr;

	for (int i = 0; i < sink->nnulls; i++)
		slot->tts_isnull[sink->null_attnums[i] - 1] = true;
	fill_defaults(sink, slot);
	ExecStoreVirtualTuple(slot);
	slot->tts_tableOid = RelationGetRelid(sink->base.rel);

	if (constr != NULL && constr->has_generated_stored)
		ExecComputeStoredGenerated(sink->target, sink->estate, slot,
								   CMD_INSERT);
	if (unlikely(may_violate(sink, slot)))
		ExecConstraints(sink->target, slot, sink->estate);
}

static void
insert_into_indexes(HeapSink *sink, TupleTableSlot **slots, int n)
{
	MemoryContext old;

	if (sink->target->ri_NumIndices == 0)
		return;
	old = MemoryContextSwitchTo(GetPerTupleMemoryContext(sink->estate));
	for (int i = 0; i < n; i++)
		list_free(ExecInsertIndexTuples_compat(sink->target, slots[i],
											   sink->estate));
	MemoryContextSwitchTo(old);
}

/* Since 17 an index may keep pins from one insertion to the next. */
static void
clean_up_indexes(HeapSink *sink)
{
	for (int i = 0; i < sink->target->ri_NumIndices; i++)
		index_insert_cleanup_compat(sink->target->ri_IndexRelationDescs[i],
									sink->target->ri_IndexRelationInfo[i]);
}

/*
 * A page that leaves the ring of BulkInsertState must have its WAL flushed
 * first.  A process that finds it not flushed waits for the disk; the WAL
 * writer, which would have seen to it, sleeps for 200 ms and is woken by
 * commits.  So it is told of each MB, in the way of LogCurrentRunningXacts()
 * (standby.c), and nobody waits.
 */
static void
announce_wal(HeapSink *sink)
{
	if (XactLastRecEnd < sink->announced + WAL_STRETCH)
		return;
	sink->announced = XactLastRecEnd;
	XLogSetAsyncXactLSN(XactLastRecEnd);
}

/*
 * No BulkInsertState within a savepoint: the pin on its buffer would not
 * survive the rollback.  Nor those of indexes.
 *
 * Not TABLE_INSERT_SKIP_FSM, though a new table has no free space: the map
 * hands out the pages that each transaction leaves over, and those that
 * PostgreSQL 15 adds in bulk when loaders wait for the lock of extension.
 */
static void
insert_into_heap(HeapSink *sink, TupleTableSlot **slots, int n,
				 bool in_savepoint)
{
	Relation	rel = sink->base.rel;
	BulkInsertState bulk = in_savepoint ? NULL : sink->bulk;
	CommandId	cid = GetCurrentCommandId(true);
	MemoryContext old;

	old = MemoryContextSwitchTo(GetPerTupleMemoryContext(sink->estate));
	for (int i = 0, rows; i < n; i += rows)
	{
		rows = bulk == NULL ? n :
			mm_pages_prepare(&sink->pages, rel, bulk, slots + i, n - i);
		table_multi_insert(rel, slots + i, rows, cid, 0, bulk);
	}
	MemoryContextSwitchTo(old);
}

static void
heap_sink_store(MmSink *base, int n, bool in_savepoint)
{
	HeapSink   *sink = (HeapSink *) base;

	mm_tuple_forget_all(sink->former);
	for (int i = 0; i < n; i++)
		complete_row(sink, sink->slots[i]);
	insert_into_heap(sink, sink->slots, n, in_savepoint);
	announce_wal(sink);
	insert_into_indexes(sink, sink->slots, n);
	if (in_savepoint)
		clean_up_indexes(sink);
	ResetPerTupleExprContext(sink->estate);
}

static void
heap_sink_close(MmSink *base)
{
	HeapSink   *sink = (HeapSink *) base;

	mm_pages_release(&sink->pages, base->rel);
	FreeBulkInsertState(sink->bulk);
	for (int i = 0; i < MM_SINK_ROWS && sink->slots[i] != NULL; i++)
		ExecDropSingleTupleTableSlot(sink->slots[i]);
	end_execution(sink);
	table_close(base->rel, NoLock);
}

const MmSinkOps mm_sink_heap = {
	.name = "heap",
	.open = heap_sink_open,
	.set_columns = heap_sink_set_columns,
	.get_slot = heap_sink_get_slot,
	.store = heap_sink_store,
	.renew = heap_sink_renew,
	.close = heap_sink_close,
};
