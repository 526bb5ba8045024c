/*-------------------------------------------------------------------------
 *
 * look.c
 *	  migrate_ping(), migrate_list_collections(), migrate_peek(),
 *	  migrate_infer_schema(): what can be seen of a source; nothing is
 *	  written.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <sys/statvfs.h>

#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/numeric.h"
#include "utils/tuplestore.h"

#include "api/api.h"
#include "convert/jsonb.h"
#include "job/worker.h"
#include "settings.h"

MM_FUNCTION(migrate_ping);
MM_FUNCTION(migrate_list_collections);
MM_FUNCTION(migrate_peek);
MM_FUNCTION(migrate_infer_schema);

static void
put_ping(ReturnSetInfo *rsinfo, const char *item, const char *status,
		 const char *detail)
{
	Datum		values[3] = {
		CStringGetTextDatum(item),
		CStringGetTextDatum(status),
		CStringGetTextDatum(detail),
	};
	bool		nulls[3] = {false};

	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
}

static void
ping_workers(ReturnSetInfo *rsinfo)
{
	int			free_slots = Max(max_worker_processes -
								 mm_worker_count().used, 0);

	put_ping(rsinfo, "workers",
			 free_slots > mm_max_workers_per_job ? "ok" : "warning",
			 psprintf("%d of %d worker slots free (max_worker_processes = %d)",
					  free_slots, max_worker_processes,
					  max_worker_processes));
}

static void
ping_disk(ReturnSetInfo *rsinfo)
{
	struct statvfs fs;
	double		gigabytes;

	if (statvfs(DataDir, &fs) != 0)
	{
		put_ping(rsinfo, "disk", "warning",
				 psprintf("could not read: %s", strerror(errno)));
		return;
	}
	gigabytes = (double) fs.f_bavail * fs.f_frsize / (1024.0 * 1024 * 1024);
	put_ping(rsinfo, "disk", gigabytes >= 1 ? "ok" : "warning",
			 psprintf("%.1f GB free in pg_default", gigabytes));
}

static void
ping_source(ReturnSetInfo *rsinfo, const char *name)
{
	MmSourceConfig *config = mm_source_resolve(name, GetUserId());
	MmSourceError error = {0};
	MmSource   *source = mm_source_mongo.open(config, &error);
	ListCell   *lc;

	if (source == NULL)
	{
		put_ping(rsinfo, "connect", "error", mm_source_tell(&error));
		return;
	}
	foreach(lc, source->ops->ping(source, config->database))
	{
		MmPingItem *item = lfirst(lc);

		put_ping(rsinfo, item->item, item->status, item->detail);
	}
	source->ops->close(source);
}

Datum
migrate_ping(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;

	InitMaterializedSRF(fcinfo, 0);
	ping_source(rsinfo, text_to_cstring(PG_GETARG_TEXT_PP(0)));
	ping_workers(rsinfo);
	ping_disk(rsinfo);
	return (Datum) 0;
}

static const char *
kind_name(MmCollectionKind kind)
{
	switch (kind)
	{
		case MM_COLLECTION_VIEW:
			return "view";
		case MM_COLLECTION_TIMESERIES:
			return "timeseries";
		case MM_COLLECTION:
			break;
	}
	return "collection";
}

/* A view has no size of its own: its numbers are unknown, not 0. */
static void
put_collection(ReturnSetInfo *rsinfo, const MmCollection *collection)
{
	bool		unknown = collection->kind != MM_COLLECTION;
	Datum		values[7] = {
		CStringGetTextDatum(psprintf("%s.%s", collection->database,
									 collection->name)),
		CStringGetTextDatum(kind_name(collection->kind)),
		Int64GetDatum(collection->documents),
		Int64GetDatum(collection->bytes),
		Int32GetDatum(collection->average_bytes),
		Int32GetDatum(collection->indexes),
		BoolGetDatum(collection->sharded),
	};
	bool		nulls[7] = {false, false, unknown, unknown, unknown, unknown,
	false};

	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
}

Datum
migrate_list_collections(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	MmSourceConfig *config;
	MmSourceError error = {0};
	MmSource   *source;
	List	   *collections;
	ListCell   *lc;

	mm_input_check_encoding();
	InitMaterializedSRF(fcinfo, 0);
	if (PG_ARGISNULL(0))
		return (Datum) 0;
	config = mm_source_resolve(text_to_cstring(PG_GETARG_TEXT_PP(0)),
							   GetUserId());
	source = mm_source_mongo.open(config, &error);
	if (source == NULL ||
		!source->ops->list(source,
						   PG_ARGISNULL(1) ? config->database :
						   text_to_cstring(PG_GETARG_TEXT_PP(1)),
						   PG_ARGISNULL(2) ? "*" :
						   text_to_cstring(PG_GETARG_TEXT_PP(2)),
						   &collections, &error))
		mm_source_raise(&error);
	foreach(lc, collections)
		put_collection(rsinfo, lfirst(lc));
	source->ops->close(source);
	return (Datum) 0;
}

/* ---------------------------------------------------------------------
 * Peek
 * ---------------------------------------------------------------------
 */

/* Relaxed Extended JSON, so that types are seen; null if it is corrupt. */
static void
put_document(ReturnSetInfo *rsinfo, MmJsonbBuilder *builder, const uint8 *doc,
			 uint32 len)
{
	MmValue		value = {.type = MM_BSON_OBJECT, .len = len, .data = doc};
	MmTextFailure failure;
	MmWalk		walk;
	Datum		values[1] = {(Datum) 0};
	bool		nulls[1] = {true};

	if (mm_walk_validate(&walk, doc, len))
	{
		Jsonb	   *jsonb = mm_jsonb_from_value(builder, &value,
												MM_JSON_RELAXED,
												MM_INVALID_TEXT_REPLACE,
												&failure);

		values[0] = JsonbPGetDatum(jsonb);
		nulls[0] = jsonb == NULL;
	}
	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
}

static void
put_sample(ReturnSetInfo *rsinfo, MmInput *input, const char *filter, int n)
{
	const MmSourceOps *ops = input->source->ops;
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext,
												  "mongo_migrate document",
												  ALLOCSET_DEFAULT_SIZES);
	MmJsonbBuilder *builder = mm_jsonb_create(NULL);
	MmSourceError error = {0};
	MmStream   *stream;
	const uint8 *doc;
	uint32		len;
	MmNext		next;

	stream = ops->open_sample(input->source, input->collection, filter, n,
							  mm_sample_timeout_ms, &error);
	if (stream == NULL)
		mm_source_raise(&error);
	while ((next = ops->next(stream, &doc, &len,
							 &error)) == MM_NEXT_DOCUMENT)
	{
		MemoryContext old = MemoryContextSwitchTo(context);

		put_document(rsinfo, builder, doc, len);
		MemoryContextSwitchTo(old);
		MemoryContextReset(context);
	}
	if (next == MM_NEXT_ERROR)
		mm_source_raise(&error);
	ops->close_stream(stream);
}

Datum
migrate_peek(PG_FUNCTION_ARGS)
{
	char	   *source = mm_arg_required(fcinfo, 0, "source");
	char	   *collection = mm_arg_required(fcinfo, 1, "collection");
	int			n = PG_ARGISNULL(2) ? 0 : PG_GETARG_INT32(2);
	char	   *filter = mm_arg_filter(fcinfo, 3);
	MmOptions	options = mm_options_parse(DatumGetJsonbP(DirectFunctionCall1(jsonb_in,
																			  CStringGetDatum("{}"))));
	MmInput		input;

	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	if (n < 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("n must be at least 1")));
	input = mm_input_open(source, collection, &options);
	put_sample((ReturnSetInfo *) fcinfo->resultinfo, &input, filter, n);
	mm_input_close(&input);
	return (Datum) 0;
}

/* ---------------------------------------------------------------------
 * Infer
 * ---------------------------------------------------------------------
 */

static Datum
percent_datum(double percent)
{
	char	   *text = psprintf("%.1f", percent);

	return DirectFunctionCall3(numeric_in, CStringGetDatum(text),
							   ObjectIdGetDatum(InvalidOid),
							   Int32GetDatum(-1));
}

static void
put_field(ReturnSetInfo *rsinfo, const MmInferField *line)
{
	NameData	column;
	Datum		values[7];
	bool		nulls[7] = {false};

	namestrcpy(&column, line->field.column);
	nulls[0] = line->field.path == NULL;	/* the document */
	values[0] = nulls[0] ? (Datum) 0 : CStringGetTextDatum(line->field.path);
	values[1] = percent_datum(line->present);
	values[2] = CStringGetTextDatum(line->field.bson_types);
	values[3] = NameGetDatum(&column);
	values[4] = CStringGetTextDatum(line->field.type);
	values[5] = BoolGetDatum(line->nullable);
	values[6] = line->note ? CStringGetTextDatum(line->note) : (Datum) 0;
	nulls[6] = line->note == NULL;
	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
}

Datum
migrate_infer_schema(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	MmOptions	options;
	MmInferOptions infer;
	MmInput		input;
	int64		documents;
	ListCell   *lc;

	InitMaterializedSRF(fcinfo, 0);
	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		return (Datum) 0;
	options = mm_arg_options(fcinfo, 3);
	if (!PG_ARGISNULL(2))
		options.sample_size = PG_GETARG_INT32(2);
	if (options.sample_size < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("sample_size must not be negative")));
	input = mm_input_open(text_to_cstring(PG_GETARG_TEXT_PP(0)),
						  text_to_cstring(PG_GETARG_TEXT_PP(1)), &options);
	infer = mm_options_infer(&options);
	foreach(lc, mm_input_infer(&input, NULL, &options, &infer, &documents))
		put_field(rsinfo, lfirst(lc));
	mm_input_close(&input);
	return (Datum) 0;
}
