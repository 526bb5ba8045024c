/*-------------------------------------------------------------------------
 *
 * batch.c
 *	  Documents on their way into the sink: convert, buffer, store by 32 kB
 *	  of BSON, and tell the caller of each one that cannot be stored.
 *
 * Loaders fill it from a stream, migrate_replay() from the dead letters.
 *
 * A value that does not fit is a result of the converter: its document is
 * rejected at once.  A row that the table refuses is an error of the server.
 * In the fast mode that error ends the transaction; the loader then comes
 * back to the committed position in careful mode, where each group of rows is
 * stored in a subtransaction and halved until the refused row stands alone.
 * Careful mode keeps a copy of the bytes of each document in the batch, and
 * converts them again for each try, since a rolled back try leaves nothing to
 * be trusted in the slots; what it counted is taken back.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/memutils.h"

#include "convert/input.h"
#include "job/batch.h"
#include "job/worker.h"
#include "savepoint.h"

struct MmBatch
{
	const MmJob *job;
	const MmJobTable *table;
	MmCounters *books;
	MmRejectHandler handler;
	void	   *handler_arg;
	MmSink	   *sink;
	MmPlan	   *plan;
	MemoryContext context;		/* of the rows, reset when they are stored */
	bool		careful;
	int			rows;
	Size		bytes;
	bytea	   *docs[MM_SINK_ROWS]; /* careful mode only, as the next */
	void	   *items[MM_SINK_ROWS];
	const uint8 *doc;			/* at work, for the error context; or NULL */
	uint32		doc_len;
	const MmReject *why;		/* it is being rejected; or NULL */
	bool		stopping;		/* the handler is to end all for it */
};

/* Rows are on their way into the table, or an error was raised there. */
static bool storing = false;

MmBatch *
mm_batch_begin(const MmJob *job, const MmJobTable *table, bool careful,
			   MmCounters *books, MmRejectHandler handler, void *arg)
{
	MmBatch    *batch = palloc0(sizeof(MmBatch));

	storing = false;			/* a cancel may have left it */
	batch->job = job;
	batch->table = table;
	batch->careful = careful;
	batch->books = books;
	batch->handler = handler;
	batch->handler_arg = arg;
	batch->sink = mm_sink_heap.open(table->relid);
	if (batch->sink == NULL)
		mm_worker_raise_dropped(table);
	batch->plan = mm_plan_create(table->contract,
								 RelationGetDescr(batch->sink->rel), careful);
	batch->sink->ops->set_columns(batch->sink,
								  mm_plan_attnums(batch->plan));
	batch->context = AllocSetContextCreate(CurrentMemoryContext,
										   "mongo_migrate batch",
										   ALLOCSET_DEFAULT_SIZES);
	return batch;
}

/*
 * Error context: job, collection, while one is at work the document, and
 * while it is being rejected the place in it.
 */
static void
add_error_context(void *arg)
{
	MmBatch    *batch = arg;
	const MmReject *why = batch->why;
	StringInfoData where;

	initStringInfo(&where);
	appendStringInfo(&where, "migration job %lld, %s.%s",
					 (long long) batch->job->job_id, batch->table->database,
					 batch->table->collection);
	if (batch->doc != NULL)
		appendStringInfo(&where, " _id %s",
						 mm_json_id_for_message(batch->doc, batch->doc_len));
	if (why != NULL && why->path != NULL)
		appendStringInfo(&where, ", path \"%s\"", why->path);
	if (why != NULL && why->column != NULL)
		appendStringInfo(&where, ", column %s", why->column);
	errcontext("%s", where.data);
}

static void
push_error_context(MmBatch *batch, ErrorContextCallback *callback)
{
	callback->callback = add_error_context;
	callback->arg = batch;
	callback->previous = error_context_stack;
	error_context_stack = callback;
}

static void
reject(MmBatch *batch, const uint8 *doc, uint32 len, void *item,
	   const MmReject *why)
{
	batch->doc = doc;
	batch->doc_len = len;
	batch->why = why;
	batch->stopping = why->stop;
	batch->handler(batch->handler_arg, item, doc, len, why);
	batch->stopping = false;	/* of a replay: the handler has not raised */
	if (why->new_fields == NIL)
		batch->books->docs_rejected++;	/* the others come again */
	batch->doc = NULL;
	batch->why = NULL;
}

/*
 * Converts a document into row i; false when it was rejected.  Values live
 * in the batch's context.
 */
static bool
convert(MmBatch *batch, const uint8 *doc, uint32 len, void *item, int i)
{
	TupleTableSlot *slot = batch->sink->ops->get_slot(batch->sink, i);
	MemoryContext old = MemoryContextSwitchTo(batch->context);
	MmReject	why = {0};
	bool		stored;

	batch->doc = doc;
	batch->doc_len = len;
	stored = mm_plan_convert(batch->plan, doc, len, slot->tts_values,
							 slot->tts_isnull,
							 &batch->books->values_diverted, &why);
	if (!stored)
		reject(batch, doc, len, item, &why);
	batch->doc = NULL;
	MemoryContextSwitchTo(old);
	return stored;
}

/* ---------------------------------------------------------------------
 * Careful mode
 * ---------------------------------------------------------------------
 */

static void
store(MmBatch *batch, int rows, bool in_savepoint)
{
	storing = true;
	batch->sink->ops->store(batch->sink, rows, in_savepoint);
	storing = false;
}

/* Does the table refuse a row? */
static bool
is_row_error(int sqlstate)
{
	bool		stored = storing;

	storing = false;
	return stored && mm_input_may_be_refusal(sqlstate);
}

/* A value that its type refuses is judged by the policy of its field. */
bool
mm_batch_may_get_by(const MmContract *contract, int sqlstate)
{
	bool		is_row = is_row_error(sqlstate);

	return mm_input_raised(sqlstate) ||
		(is_row && contract->on_error != MM_ON_ERROR_STOP);
}

/* What stands in a savepoint: documents first .. first + n - 1. */
typedef struct Part
{
	MmBatch    *batch;
	int			first;
	int			n;
} Part;

static void
store_part(void *arg)
{
	const Part *part = arg;
	MmBatch    *batch = part->batch;
	int			rows = 0;

	for (int i = part->first; i < part->first + part->n; i++)
	{
		bytea	   *doc = batch->docs[i];

		if (convert(batch, (uint8 *) VARDATA(doc), VARSIZE(doc) - VARHDRSZ,
					batch->items[i], rows))
			rows++;
	}
	if (rows > 0)
		store(batch, rows, true);
	batch->books->rows_inserted += rows;
}

/*
 * Stores documents first .. first + n - 1 in a subtransaction.  Returns false
 * with the reason when the table refuses them.  What is not the fault of a row
 * is raised again, as is what the handler raised on purpose.
 */
static bool
store_in_savepoint(MmBatch *batch, int first, int n, MmReject *why)
{
	Part		part = {.batch = batch, .first = first, .n = n};
	MmCounters	books = *batch->books;
	MmTally    *tally = mm_plan_tally(batch->plan);
	MmTally    *saved = mm_tally_save(tally);
	ErrorData  *error = mm_savepoint_run(store_part, &part, true);

	if (error != NULL)
	{
		batch->why = NULL;		/* it was in a frame that is gone */
		if (batch->stopping || !is_row_error(error->sqlerrcode))
			ReThrowError(error);
		batch->sink->ops->renew(batch->sink);
		*batch->books = books;
		mm_tally_restore(tally, saved);
		batch->doc = NULL;
		*why = (MmReject) {
			.stage = "insert",
			.stop = batch->table->contract->on_error == MM_ON_ERROR_STOP,
			.sqlstate = error->sqlerrcode,
			.message = error->message,
			.detail = error->detail,
			.column = error->column_name,
		};
	}
	pfree(saved);
	return error == NULL;
}

static void
store_carefully(MmBatch *batch, int first, int n)
{
	MmReject	why;
	bytea	   *doc;

	if (n == 0 || store_in_savepoint(batch, first, n, &why))
		return;
	if (n > 1)
	{
		store_carefully(batch, first, n / 2);
		store_carefully(batch, first + n / 2, n - n / 2);
		return;
	}
	doc = batch->docs[first];
	reject(batch, (uint8 *) VARDATA(doc), VARSIZE(doc) - VARHDRSZ,
		   batch->items[first], &why);
}

/*
 * Slots are made here, not in a savepoint, whose end would release what they
 * hold.
 */
static void
keep_document(MmBatch *batch, const uint8 *doc, uint32 len, void *item)
{
	bytea	   *copy = MemoryContextAlloc(batch->context, VARHDRSZ + len);

	(void) batch->sink->ops->get_slot(batch->sink, batch->rows);
	SET_VARSIZE(copy, VARHDRSZ + len);
	memcpy(VARDATA(copy), doc, len);
	batch->items[batch->rows] = item;
	batch->docs[batch->rows++] = copy;
}

/* --------------------------------------------------------------------- */

static void
flush(MmBatch *batch)
{
	MemoryContext old = MemoryContextSwitchTo(batch->context);

	if (batch->careful)
		store_carefully(batch, 0, batch->rows);
	else if (batch->rows > 0)
	{
		store(batch, batch->rows, false);
		batch->books->rows_inserted += batch->rows;
	}
	MemoryContextSwitchTo(old);
	MemoryContextReset(batch->context);
	mm_plan_forget_rows(batch->plan);
	batch->rows = 0;
	batch->bytes = 0;
}

bool
mm_batch_add(MmBatch *batch, const uint8 *doc, uint32 len, void *item)
{
	ErrorContextCallback callback;
	bool		full;

	push_error_context(batch, &callback);
	batch->books->docs_read++;
	if (batch->careful)
		keep_document(batch, doc, len, item);
	else if (convert(batch, doc, len, item, batch->rows))
		batch->rows++;
	batch->bytes += len;
	full = batch->rows >= MM_SINK_ROWS || batch->bytes >= MM_SINK_BYTES;
	if (full)
		flush(batch);
	error_context_stack = callback.previous;
	return full;
}

void
mm_batch_end(MmBatch *batch)
{
	ErrorContextCallback callback;

	push_error_context(batch, &callback);
	flush(batch);
	error_context_stack = callback.previous;
	batch->sink->ops->close(batch->sink);
}

const MmTally *
mm_batch_tally(const MmBatch *batch)
{
	return mm_plan_tally(batch->plan);
}
