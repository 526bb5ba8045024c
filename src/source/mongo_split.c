/*-------------------------------------------------------------------------
 *
 * mongo_split.c
 *	  Cuts a collection into chunks by ranges of _id.
 *
 * Bounds are _ids of the collection itself, in the order of its _id index:
 * a sample, sorted by the server (which knows all types and the collation),
 * of which every k-th is taken.  A bound is stored as the document that min
 * and max of find take: {"_id": value}.
 *
 * $sample is cheap only below 5 % of the documents; above, it reads and sorts
 * the whole collection.  There the _id index itself is read instead, which
 * also gives exact bounds.
 *
 * Equal neighbours are dropped.  They are compared by their bytes: two
 * different _ids cannot be equal for the server, as its index is unique.
 * MinKey and MaxKey are dropped, too: the server refuses MaxKey as a bound,
 * and nothing is below MinKey.
 *
 * A filter that the server answers from an index makes one chunk: splitting
 * would read the whole _id index instead.  The winning plan of explain tells.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "source/mongo.h"

#define MAX_CHUNKS			2000

/* Enough for chunks that differ by a quarter or so in size. */
#define SAMPLES_PER_CHUNK	16

/* Above this share (1/n) of the documents, $sample reads all of them. */
#define SAMPLE_SHARE		20

/* Plans are trees of stages; deeper is no plan. */
#define MAX_PLAN_DEPTH		64

/* find on all _ids, in the order of the index; limit 0: no limit. */
static bson_t *
make_id_query(const MmCollection *collection, int direction, int limit)
{
	bson_t	   *command = mm_mongo_bson();

	mm_mongo_add_target(command, "find", collection);
	mm_mongo_add_id_key(command, "projection", 1);
	mm_mongo_add_id_key(command, "sort", direction);
	mm_mongo_add_id_key(command, "hint", 1);
	mm_mongo_add_collation(command, collection);
	if (limit > 0)
	{
		BSON_APPEND_INT32(command, "limit", limit);
		BSON_APPEND_BOOL(command, "singleBatch", true);
	}
	else
		BSON_APPEND_INT32(command, "batchSize",
						  mm_mongo_cursor_batch_size(32));
	return command;
}

/* Type of the _id at one end; 0: no document. */
static bool
read_end(MmMongoSource *source, const MmCollection *collection,
		 int direction, uint8 *type, MmSourceError *error)
{
	MmMongoCursor *cursor;
	const uint8 *doc;
	uint32		len;
	MmNext		next;
	bson_t		bson;
	bson_iter_t iter;

	*type = 0;
	cursor = mm_mongo_cursor_open(source, mm_mongo_utf8(collection->database),
								  make_id_query(collection, direction, 1), 0,
								  mm_mongo_ns(collection), error);
	if (cursor == NULL)
		return false;
	next = mm_mongo_cursor_next(cursor, &doc, &len, error);
	if (next == MM_NEXT_DOCUMENT && bson_init_static(&bson, doc, len) &&
		bson_iter_init_find(&iter, &bson, "_id"))
		*type = bson_iter_type(&iter);
	mm_mongo_cursor_close(cursor);
	return next != MM_NEXT_ERROR;
}

bool
mm_mongo_split_id_ends(MmSource *base, const MmCollection *collection,
					   MmIdEnds *result, MmSourceError *error)
{
	MmMongoSource *source = (MmMongoSource *) base;

	memset(result, 0, sizeof(*result));
	if (!collection->has_id_index)
		return true;
	return read_end(source, collection, 1, &result->first, error) &&
		read_end(source, collection, -1, &result->last, error);
}

/*
 * Bounds
 */

/* aggregate [{$sample}, {$project: {_id: 1}}, {$sort: {_id: 1}}] */
static bson_t *
make_sample_query(const MmCollection *collection, int64 n)
{
	bson_t	   *command = mm_mongo_bson();
	bson_t		pipeline;
	bson_t		stage;
	bson_t		child;

	mm_mongo_add_target(command, "aggregate", collection);
	BSON_APPEND_ARRAY_BEGIN(command, "pipeline", &pipeline);
	BSON_APPEND_DOCUMENT_BEGIN(&pipeline, "0", &stage);
	BSON_APPEND_DOCUMENT_BEGIN(&stage, "$sample", &child);
	BSON_APPEND_INT64(&child, "size", n);
	bson_append_document_end(&stage, &child);
	bson_append_document_end(&pipeline, &stage);
	BSON_APPEND_DOCUMENT_BEGIN(&pipeline, "1", &stage);
	mm_mongo_add_id_key(&stage, "$project", 1);
	bson_append_document_end(&pipeline, &stage);
	BSON_APPEND_DOCUMENT_BEGIN(&pipeline, "2", &stage);
	mm_mongo_add_id_key(&stage, "$sort", 1);
	bson_append_document_end(&pipeline, &stage);
	bson_append_array_end(command, &pipeline);
	BSON_APPEND_DOCUMENT_BEGIN(command, "cursor", &child);
	BSON_APPEND_INT32(&child, "batchSize", mm_mongo_cursor_batch_size(32));
	bson_append_document_end(command, &child);
	BSON_APPEND_BOOL(command, "allowDiskUse", true);
	mm_mongo_add_collation(command, collection);
	return command;
}

/* {"_id": value} of a document, NULL if it cannot be a bound. */
static bytea *
make_bound(const uint8 *doc, uint32 len)
{
	bson_t		bson;
	bson_iter_t iter;
	bson_t	   *bound;
	bytea	   *result;

	if (!bson_init_static(&bson, doc, len) ||
		!bson_iter_init_find(&iter, &bson, "_id") ||
		bson_iter_type(&iter) == BSON_TYPE_MINKEY ||
		bson_iter_type(&iter) == BSON_TYPE_MAXKEY)
		return NULL;
	bound = mm_mongo_bson();
	bson_append_iter(bound, "_id", 3, &iter);
	result = palloc(VARHDRSZ + bound->len);
	SET_VARSIZE(result, VARHDRSZ + bound->len);
	memcpy(VARDATA(result), bson_get_data(bound), bound->len);
	return result;
}

static bool
same_bound(const bytea *a, const bytea *b)
{
	return VARSIZE(a) == VARSIZE(b) && memcmp(a, b, VARSIZE(a)) == 0;
}

/*
 * Reads sorted _ids and keeps every "step"-th as a List of bytea, without
 * equal neighbours, until there are "max" of them: the estimate behind "step"
 * may be far too low.
 */
static bool
read_bounds(MmMongoSource *source, const MmCollection *collection,
			const bson_t *query, int64 step, int max, List **bounds,
			MmSourceError *error)
{
	MmMongoCursor *cursor;
	const uint8 *doc;
	uint32		len;
	MmNext		next = MM_NEXT_END;
	int64		n = 0;

	*bounds = NIL;
	cursor = mm_mongo_cursor_open(source, mm_mongo_utf8(collection->database),
								  query, 0, mm_mongo_ns(collection), error);
	if (cursor == NULL)
		return false;
	while (list_length(*bounds) < max &&
		   (next = mm_mongo_cursor_next(cursor, &doc, &len,
										error)) == MM_NEXT_DOCUMENT)
	{
		bytea	   *bound;

		if (++n % step != 0)
			continue;
		bound = make_bound(doc, len);
		if (bound == NULL ||
			(*bounds != NIL && same_bound(llast(*bounds), bound)))
			continue;
		*bounds = lappend(*bounds, bound);
	}
	mm_mongo_cursor_close(cursor);
	return next != MM_NEXT_ERROR;
}

/* At most nchunks - 1 bounds, in order. */
static bool
find_bounds(MmMongoSource *source, const MmCollection *collection,
			int nchunks, List **bounds, MmSourceError *error)
{
	int64		sample = (int64) nchunks * SAMPLES_PER_CHUNK;
	bson_t	   *query;
	int64		step;

	if (nchunks <= 1)
	{
		*bounds = NIL;
		return true;
	}
	if (sample * SAMPLE_SHARE < collection->documents)
	{
		query = make_sample_query(collection, sample);
		step = SAMPLES_PER_CHUNK;
	}
	else
	{
		query = make_id_query(collection, 1, 0);
		step = Max(1, (collection->documents + nchunks - 1) / nchunks);
	}
	return read_bounds(source, collection, query, step, nchunks - 1, bounds,
					   error);
}

static MmSplit *
make_split(MmSplitMethod method, const char *reason, List *bounds)
{
	MmSplit    *split = palloc0(sizeof(MmSplit));
	ListCell   *lc;
	int			n = 0;

	split->method = method;
	split->reason = pstrdup(reason);
	split->nchunks = list_length(bounds) + 1;
	split->chunks = palloc0(split->nchunks * sizeof(MmBounds));
	foreach(lc, bounds)
	{
		split->chunks[n].upper = lfirst(lc);
		split->chunks[++n].lower = lfirst(lc);
	}
	return split;
}

/*
 * The plan of a filter
 */

/* Does a stage of a plan find documents by an index other than _id's? */
static bool
is_index_stage(const char *stage, const char *index)
{
	if (strcmp(stage, "IXSCAN") == 0)
		return index && strcmp(index, "_id_") != 0;
	return strcmp(stage, "IDHACK") == 0 ||
		strncmp(stage, "EXPRESS", 7) == 0 ||
		strncmp(stage, "TEXT", 4) == 0 ||
		strncmp(stage, "GEO_NEAR", 8) == 0;
}

/* Searches a plan for such a stage. */
static bool
plan_uses_index(const bson_iter_t *plan, int depth)
{
	bson_iter_t iter;
	const char *stage = NULL;
	const char *index = NULL;

	if (depth > MAX_PLAN_DEPTH || !bson_iter_recurse(plan, &iter))
		return false;
	while (bson_iter_next(&iter))
	{
		if (BSON_ITER_HOLDS_DOCUMENT(&iter) || BSON_ITER_HOLDS_ARRAY(&iter))
		{
			if (plan_uses_index(&iter, depth + 1))
				return true;
		}
		else if (BSON_ITER_HOLDS_UTF8(&iter))
		{
			if (strcmp(bson_iter_key(&iter), "stage") == 0)
				stage = bson_iter_utf8(&iter, NULL);
			else if (strcmp(bson_iter_key(&iter), "indexName") == 0)
				index = bson_iter_utf8(&iter, NULL);
		}
	}
	return stage && is_index_stage(stage, index);
}

/* Asks the planner whether it would answer the filter from an index. */
static bool
explain_filter(MmMongoSource *source, const MmCollection *collection,
			   const char *filter, bool *indexed, MmSourceError *error)
{
	bson_t	   *command = mm_mongo_bson();
	bson_t		find;
	bson_iter_t iter;
	bson_iter_t plan;

	BSON_APPEND_DOCUMENT_BEGIN(command, "explain", &find);
	mm_mongo_add_target(&find, "find", collection);
	BSON_APPEND_DOCUMENT(&find, "filter", mm_mongo_filter(filter));
	mm_mongo_add_collation(&find, collection);
	bson_append_document_end(command, &find);
	BSON_APPEND_UTF8(command, "verbosity", "queryPlanner");
	if (!mm_mongo_run(source, mm_mongo_utf8(collection->database), command, 0,
					  mm_mongo_ns(collection), error))
		return false;
	*indexed = bson_iter_init(&iter, source->reply) &&
		bson_iter_find_descendant(&iter, "queryPlanner.winningPlan", &plan) &&
		plan_uses_index(&plan, 0);
	return true;
}

/*
 * Choosing
 */

/* Why _id ranges cannot be had; NULL: they can. */
static const char *
no_id_ranges_reason(const MmCollection *collection)
{
	if (collection->kind == MM_COLLECTION_VIEW)
		return "a view has no _id index";
	if (collection->kind == MM_COLLECTION_TIMESERIES)
		return "a time series collection has no _id index";
	if (!collection->has_id_index)
		return "the collection has no _id index";
	return NULL;
}

static void
refuse_method(const MmCollection *collection, MmSplitMethod method,
			  const char *reason)
{
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("cannot split \"%s\" by \"%s\"", mm_mongo_ns(collection),
					mm_split_method_name(method)),
			 errdetail("This is not possible because %s.", reason),
			 errhint("Set split to \"auto\" or \"%s\".",
					 mm_split_method_name(method == MM_SPLIT_RECORD ?
										  MM_SPLIT_ID : MM_SPLIT_NONE))));
}

/* Resolves MM_SPLIT_AUTO; *reason says why. */
static bool
choose_method(MmMongoSource *source, const MmCollection *collection,
			  const char *filter, int64 chunk_bytes, MmSplitMethod *method,
			  const char **reason, MmSourceError *error)
{
	bool		indexed;

	*method = MM_SPLIT_NONE;
	*reason = no_id_ranges_reason(collection);
	if (*reason)
		return true;
	if (filter)
	{
		if (!explain_filter(source, collection, filter, &indexed, error))
			return false;
		*reason = "an index answers the filter";
		if (indexed)
			return true;
	}
	*reason = "the collection is small";
	if (collection->bytes <= chunk_bytes)
		return true;
	*method = MM_SPLIT_ID;
	*reason = "ranges of the _id index";
	return true;
}

bool
mm_mongo_split(MmSource *base, const MmCollection *collection,
			   const char *filter, MmSplitMethod method, int64 chunk_bytes,
			   MmSplit **result, MmSourceError *error)
{
	MmMongoSource *source = (MmMongoSource *) base;
	const char *reason = "requested";
	List	   *bounds = NIL;
	int64		nchunks;

	if (method == MM_SPLIT_RECORD)
		refuse_method(collection, method,
					  "ranges of record ids are not supported yet");
	if (method == MM_SPLIT_ID && no_id_ranges_reason(collection))
		refuse_method(collection, method, no_id_ranges_reason(collection));
	if (method == MM_SPLIT_AUTO &&
		!choose_method(source, collection, filter, chunk_bytes, &method,
					   &reason, error))
		return false;
	if (method == MM_SPLIT_ID)
	{
		nchunks = (collection->bytes + chunk_bytes - 1) / chunk_bytes;
		nchunks = Max(1, Min(nchunks, MAX_CHUNKS));
		if (!find_bounds(source, collection, nchunks, &bounds, error))
			return false;
	}
	*result = make_split(method, reason, bounds);
	return true;
}
