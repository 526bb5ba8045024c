/*-------------------------------------------------------------------------
 *
 * mm_bench.c
 *	  The loader's loop without its promises, for the benchmark.
 *
 * Source, converter and sink are the extension's own object files; the loop
 * around them is bare: read, convert, store by 64 kB, commit at the end.  No
 * checkpoints, positions, books, progress, throttle, error context, second
 * tries, dead letters (a document that cannot be stored is counted, and lost).
 * What a job takes longer than this is the price of what it promises.
 *
 *	  mmbench_load		a chunk of a collection to rows, and perhaps into a
 *						table
 *	  mmbench_convert	documents from memory to rows, and perhaps into a
 *						table: what bench/guard counts instructions of
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/table.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"

#include "compat.h"
#include "convert/convert.h"
#include "settings.h"
#include "sink/sink.h"
#include "source/source.h"

MM_MODULE_MAGIC("mm_bench");
MM_FUNCTION(mmbench_load);
MM_FUNCTION(mmbench_convert);

/* What the source reads of the settings, which are another library's. */
static MmSettings settings = {
	.allowed_hosts = "",
	.connect_timeout_ms = 10000,
	.socket_timeout_ms = 60000
};
MmSettings *mm_settings = &settings;

typedef struct Bare
{
	MmSink	   *sink;
	MmPlan	   *plan;
	MemoryContext context;		/* of the rows, reset when they are stored */
	bool		stores;			/* else the rows are thrown away */
	int			rows;
	Size		bytes;
	int64		stored;
	int64		rejected;
	int64		diverted;
} Bare;

static Bare *
begin(Jsonb *mapping, Oid relid, bool stores)
{
	Bare	   *bare = palloc0(sizeof(Bare));

	bare->sink = mm_sink_heap.open(relid);
	if (bare->sink == NULL)
		elog(ERROR, "there is no such table");
	bare->plan = mm_plan_create(mm_contract_from_jsonb(mapping),
								RelationGetDescr(bare->sink->rel), false);
	bare->sink->ops->set_columns(bare->sink, mm_plan_attnums(bare->plan));
	bare->context = AllocSetContextCreate(CurrentMemoryContext,
										  "mm_bench batch",
										  ALLOCSET_DEFAULT_SIZES);
	bare->stores = stores;
	return bare;
}

static void
flush(Bare *bare)
{
	MemoryContext old = MemoryContextSwitchTo(bare->context);

	if (bare->rows > 0 && bare->stores)
		bare->sink->ops->store(bare->sink, bare->rows, false);
	bare->stored += bare->rows;
	MemoryContextSwitchTo(old);
	MemoryContextReset(bare->context);
	mm_plan_forget_rows(bare->plan);
	bare->rows = 0;
	bare->bytes = 0;
}

static inline void
add(Bare *bare, const uint8 *doc, uint32 len)
{
	TupleTableSlot *slot = bare->sink->ops->get_slot(bare->sink, bare->rows);
	MemoryContext old = MemoryContextSwitchTo(bare->context);
	MmReject	why = {0};

	if (mm_plan_convert(bare->plan, doc, len, slot->tts_values,
						slot->tts_isnull, &bare->diverted, &why))
		bare->rows++;
	else
		bare->rejected++;
	MemoryContextSwitchTo(old);
	bare->bytes += len;
	if (bare->rows >= MM_SINK_ROWS || bare->bytes >= MM_SINK_BYTES)
		flush(bare);
}

static int64
finish(Bare *bare)
{
	flush(bare);
	bare->sink->ops->close(bare->sink);
	return bare->stored;
}

/* ---------------------------------------------------------------------
 * From a collection
 * ---------------------------------------------------------------------
 */

/* Connected once for each session. */
static MmSource *
connect_source(const char *uri)
{
	static MmSource *source = NULL;
	MmSourceError error = {0};
	MemoryContext old;

	if (source != NULL)
		return source;
	mm_source_process_init();
	old = MemoryContextSwitchTo(TopMemoryContext);
	source = mm_source_mongo.open(mm_source_resolve(uri, GetUserId()),
								  &error);
	MemoryContextSwitchTo(old);
	if (source == NULL)
		mm_source_raise(&error);
	return source;
}

static MmStream *
open_stream(FunctionCallInfo fcinfo, MmSource *source)
{
	const char *database = text_to_cstring(PG_GETARG_TEXT_PP(1));
	const char *name = text_to_cstring(PG_GETARG_TEXT_PP(2));
	MmBounds	bounds = {0};
	bytea	   *pin = NULL;
	MmSplitMethod method;
	MmCollection *collection;
	MmSourceError error = {0};
	MmStream   *stream;

	if (!mm_split_method_parse(text_to_cstring(PG_GETARG_TEXT_PP(5)),
							   &method))
		elog(ERROR, "there is no such split method");
	if (!PG_ARGISNULL(6))
		pin = PG_GETARG_BYTEA_PP(6);
	if (!PG_ARGISNULL(7))
		bounds.lower = PG_GETARG_BYTEA_PP(7);
	if (!PG_ARGISNULL(8))
		bounds.upper = PG_GETARG_BYTEA_PP(8);
	if (!source->ops->describe(source, database, name, &collection, &error))
		mm_source_raise(&error);
	stream = source->ops->open_chunk(source, collection, NULL, method, pin,
									 &bounds, NULL, &error);
	if (stream == NULL)
		mm_source_raise(&error);
	return stream;
}

/* uri, database, collection, mapping, table, split, pin, lower, upper, store? */
Datum
mmbench_load(PG_FUNCTION_ARGS)
{
	MmSource   *source = connect_source(text_to_cstring(PG_GETARG_TEXT_PP(0)));
	MmStream   *stream = open_stream(fcinfo, source);
	Bare	   *bare = begin(PG_GETARG_JSONB_P(3), PG_GETARG_OID(4),
							 PG_GETARG_BOOL(9));
	MmSourceError error = {0};
	const uint8 *doc;
	uint32		len;
	MmNext		next;

	while ((next = source->ops->next(stream, &doc, &len,
									 &error)) == MM_NEXT_DOCUMENT)
	{
		add(bare, doc, len);
		if (bare->rows == 0)
			CHECK_FOR_INTERRUPTS();
	}
	if (next == MM_NEXT_ERROR)
		mm_source_raise(&error);
	source->ops->close_stream(stream);
	PG_RETURN_INT64(finish(bare));
}

/* ---------------------------------------------------------------------
 * From memory
 * ---------------------------------------------------------------------
 */

/* A function of its own, so that a profiler can be told to count only it. */
static pg_noinline void
mmbench_loop(Bare *bare, const uint8 *docs, const uint8 *end)
{
	while (docs < end)
	{
		uint32		len;

		memcpy(&len, docs, sizeof(len));
		add(bare, docs, len);
		docs += len;
	}
	flush(bare);
}

/* documents, mapping, table, store? */
Datum
mmbench_convert(PG_FUNCTION_ARGS)
{
	bytea	   *docs = PG_GETARG_BYTEA_PP(0);
	Bare	   *bare = begin(PG_GETARG_JSONB_P(1), PG_GETARG_OID(2),
							 PG_GETARG_BOOL(3));

	mmbench_loop(bare, (uint8 *) VARDATA_ANY(docs),
				 (uint8 *) VARDATA_ANY(docs) + VARSIZE_ANY_EXHDR(docs));
	PG_RETURN_INT64(finish(bare));
}
