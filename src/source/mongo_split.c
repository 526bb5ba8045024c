/*-------------------------------------------------------------------------
 *
 * mongo_split.c
 *	  Chooses how to cut a collection, and cuts it into ranges of _id.
 *
 * The ways, best first: ranges of record ids (mongo_split_record.c), which
 * are read in the order on disk but bind the reader to one server and need
 * the whole target to be this reader's; ranges of _id; one chunk.  A filter
 * makes record ids useless: the server would look for documents that match
 * it beyond the upper bound, which it does not know, up to the end of the
 * collection.  So does a clustered collection: it is stored by _id, so that
 * ranges of _id are in the order on disk, on any server.
 *
 * Bounds are _ids of the collection itself, in the order of its _id index:
 * a sample, sorted by the server (which knows all types and the collation),
 * of which every k-th is taken, towards the end more of them; see
 * mm_mongo_split_next_cut().  A bound is stored as the document that min and
 * max of find take: {"_id": value}.
 *
 * $sample is cheap only below 5 % of the documents; above, it reads and sorts
 * the whole collection.  There the _id index itself is read instead, which
 * also gives exact bounds; and where $sample fails, since it met too many
 * documents twice.
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

/* The last ones are cut further, to not more than 2000 chunks. */
#define MAX_PARTS			1950
#define MOST_SMALL_PARTS	16

/* Of documents in a sample for one part; and bytes in the whole sample. */
#define MOST_SAMPLES		16
#define SAMPLE_BYTES		(256 * 1024 * 1024)

/*
 * How long a majority may take to follow the member that is read, for a
 * session that asks and for a job.  Behind an election members may take ten
 * seconds to go back to one that did not answer.
 */
#define SESSION_PATIENCE_MS	5000
#define JOB_PATIENCE_MS		20000

/* Plans are trees of stages; deeper is no plan. */
#define MAX_PLAN_DEPTH		64

/* find on all _ids, in the order of the index; limit 0: no limit. */
bson_t *
mm_mongo_split_id_query(const MmCollection *collection, int direction,
						int limit, bool with_records)
{
	bson_t	   *command = mm_mongo_bson();

	mm_mongo_add_target(command, "find", collection);
	if (with_records)
		mm_mongo_record_project(command, true);
	else
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
	mm_mongo_add_time_limit(command, 0);
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
								  mm_mongo_split_id_query(collection,
														  direction, 1,
														  false), 0,
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
bson_t *
mm_mongo_split_sample_query(const MmCollection *collection, int64 n)
{
	bson_t		pipeline;
	bson_t	   *command = mm_mongo_begin_aggregate(collection, &pipeline);
	bson_t		stage;
	bson_t		child;

	mm_mongo_add_sample(&pipeline, "0", n);
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
	mm_mongo_add_time_limit(command, 0);
	return command;
}

/* {"_id": value} of a document, NULL if it cannot be a bound. */
static bytea *
make_bound(const uint8 *doc, uint32 len)
{
	bson_t		bson;
	bson_iter_t iter;
	bson_t	   *bound;

	if (!bson_init_static(&bson, doc, len) ||
		!bson_iter_init_find(&iter, &bson, "_id") ||
		bson_iter_type(&iter) == BSON_TYPE_MINKEY ||
		bson_iter_type(&iter) == BSON_TYPE_MAXKEY)
		return NULL;
	bound = mm_mongo_bson();
	bson_append_iter(bound, "_id", 3, &iter);
	return mm_mongo_bytea(bound);
}

static bool
same_bound(const bytea *a, const bytea *b)
{
	return VARSIZE(a) == VARSIZE(b) && memcmp(a, b, VARSIZE(a)) == 0;
}

/*
 * A loader that takes its last chunk when the others have just taken theirs
 * works on alone; so of the last quarter of the parts, at most 16, the first
 * half is cut in two, the next quarter in four, what is left in eight.
 */
int
mm_mongo_split_next_cut(int cut, int nparts)
{
	int			left = nparts - cut / MM_MONGO_CUTS;
	int			small = Min(nparts / 4, MOST_SMALL_PARTS);
	int			size = MM_MONGO_CUTS;

	for (; size > 1 && left <= small; small /= 2)
		size /= 2;
	return cut + size;
}

int64
mm_mongo_split_rank(int64 n, int cut, int nparts)
{
	return (int64) ((double) n * cut / ((double) nparts * MM_MONGO_CUTS));
}

/*
 * Reads sorted _ids and keeps those at the cuts as a List of bytea, without
 * equal neighbours.  There may be far more of them than expected.
 */
static bool
read_bounds(MmMongoSource *source, const MmCollection *collection,
			const bson_t *query, int64 expected, int nparts, List **bounds,
			MmSourceError *error)
{
	const int	end = nparts * MM_MONGO_CUTS;
	int			cut = mm_mongo_split_next_cut(0, nparts);
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
	while (cut < end &&
		   (next = mm_mongo_cursor_next(cursor, &doc, &len,
										error)) == MM_NEXT_DOCUMENT)
	{
		bytea	   *bound;

		if (++n < mm_mongo_split_rank(expected, cut, nparts))
			continue;
		do
			cut = mm_mongo_split_next_cut(cut, nparts);
		while (cut < end && mm_mongo_split_rank(expected, cut, nparts) <= n);
		bound = make_bound(doc, len);
		if (bound == NULL ||
			(*bounds != NIL && same_bound(llast(*bounds), bound)))
			continue;
		*bounds = lappend(*bounds, bound);
	}
	mm_mongo_cursor_close(cursor);
	return next != MM_NEXT_ERROR;
}

int
mm_mongo_split_samples(const MmCollection *collection, int nparts)
{
	int			samples = MOST_SAMPLES;

	while (samples > 1 && (int64) nparts * samples *
		   Max(collection->average_bytes, 1) > SAMPLE_BYTES)
		samples /= 2;
	return samples * nparts;
}

/* Bounds in order. */
static bool
find_bounds(MmMongoSource *source, const MmCollection *collection,
			int nparts, List **bounds, MmSourceError *error)
{
	int			sample = mm_mongo_split_samples(collection, nparts);

	*bounds = NIL;
	if (nparts <= 1)
		return true;
	for (int i = 0; i < MM_MONGO_SAMPLE_ATTEMPTS &&
		 (int64) sample * MM_MONGO_SAMPLE_SHARE < collection->documents; i++)
	{
		if (read_bounds(source, collection,
						mm_mongo_split_sample_query(collection, sample),
						sample, nparts, bounds, error))
			return true;
		if (!error->unlucky)
			return false;
	}
	return read_bounds(source, collection,
					   mm_mongo_split_id_query(collection, 1, 0, false),
					   collection->documents, nparts, bounds, error);
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
		/* mongos has them inside of the plan that won. */
		if (strcmp(bson_iter_key(&iter), "rejectedPlans") == 0)
			continue;
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
	uint32		server_id =
		mm_mongo_select_server(source, mm_mongo_utf8(collection->database),
							   mm_mongo_ns(collection), error);

	if (server_id == 0)
		return false;
	BSON_APPEND_DOCUMENT_BEGIN(command, "explain", &find);
	mm_mongo_add_target(&find, "find", collection);
	BSON_APPEND_DOCUMENT(&find, "filter", mm_mongo_filter(filter));
	mm_mongo_add_collation(&find, collection);
	bson_append_document_end(command, &find);
	BSON_APPEND_UTF8(command, "verbosity", "queryPlanner");
	if (!mm_mongo_run(source, mm_mongo_utf8(collection->database), command,
					  server_id, mm_mongo_ns(collection), error))
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
					 mm_split_method_name(method == MM_SPLIT_RECORD &&
										  !no_id_ranges_reason(collection) ?
										  MM_SPLIT_ID : MM_SPLIT_NONE))));
}

/*
 * Why record ranges cannot be had, or NULL and a member to read from.  Asks
 * the server only when nothing else is in the way.
 */
static bool
find_member(MmMongoSource *source, const MmCollection *collection,
			const char *filter, const MmSplitRequest *request,
			int patience_ms, MmMongoMember *member, MmSourceError *error)
{
	memset(member, 0, sizeof(*member));
	if ((member->refusal = no_id_ranges_reason(collection)) != NULL ||
		(member->refusal = request->not_record) != NULL)
		return true;
	if (filter)
		member->refusal = "there is a filter";
	else if (collection->clustered)
		member->refusal = "a clustered collection is stored by _id";
	if (member->refusal)
		return true;
	if (!mm_mongo_member_choose(source, collection, patience_ms, member, error))
		return false;
	if (member->refusal == NULL &&
		!mm_mongo_split_record_try(source, collection, &member->refusal,
								   error))
		return false;
	if (member->refusal)
		source->pinned = 0;
	return true;
}

/*
 * Does MM_SPLIT_AUTO mean one chunk?  *reason says why.  Not because of its
 * size when there is a filter: when it is read, it may be by an index after
 * all.
 */
static bool
wants_one_chunk(MmMongoSource *source, const MmCollection *collection,
				const char *filter, int64 chunk_bytes, const char **reason,
				bool *moving, MmSourceError *error)
{
	*reason = no_id_ranges_reason(collection);
	if (*reason)
		return true;
	if (filter && !explain_filter(source, collection, filter, moving, error))
		return false;
	if (*moving)
		*reason = "an index answers the filter";
	else if (filter == NULL && collection->bytes <= chunk_bytes)
		*reason = "the collection is small";
	return true;
}

/*
 * Decides on method, reason and pin.  Raises when the method that is asked
 * for cannot be had.
 */
static bool
choose_method(MmMongoSource *source, const MmCollection *collection,
			  const char *filter, const MmSplitRequest *request,
			  int patience_ms, MmSplit *split, MmSourceError *error)
{
	MmSplitMethod wanted = request->method;
	const char *reason = NULL;
	MmMongoMember member;

	source->pinned = 0;
	split->method = MM_SPLIT_NONE;
	split->reason = "requested";
	if (wanted == MM_SPLIT_ID && no_id_ranges_reason(collection))
		refuse_method(collection, wanted, no_id_ranges_reason(collection));
	if (wanted == MM_SPLIT_AUTO &&
		!wants_one_chunk(source, collection, filter, request->chunk_bytes,
						 &reason, &split->moving, error))
		return false;
	if (reason)
		split->reason = pstrdup(reason);
	if (reason || wanted == MM_SPLIT_NONE)
		return true;

	split->method = MM_SPLIT_ID;
	if (wanted == MM_SPLIT_ID)
		return true;
	if (!find_member(source, collection, filter, request, patience_ms, &member,
					 error))
		return false;
	if (member.refusal && wanted == MM_SPLIT_RECORD)
		refuse_method(collection, wanted, member.refusal);
	if (member.refusal)
	{
		split->reason = psprintf("ranges of the _id index, because %s",
								 member.refusal);
		return true;
	}
	split->method = MM_SPLIT_RECORD;
	split->reason = psprintf("ranges of record ids on %s", member.host);
	split->pin = member.pin;
	return true;
}

/* Chunks between bounds in order. */
static void
set_chunks(MmSplit *split, const List *bounds)
{
	ListCell   *lc;
	int			n = 0;

	split->nchunks = list_length(bounds) + 1;
	split->chunks = palloc0(split->nchunks * sizeof(MmBounds));
	foreach(lc, bounds)
	{
		split->chunks[n].upper = lfirst(lc);
		split->chunks[++n].lower = lfirst(lc);
	}
}

static int
count_parts(const MmCollection *collection, int64 chunk_bytes)
{
	int64		nparts = (collection->bytes + chunk_bytes - 1) / chunk_bytes;

	return (int) Max(1, Min(nparts, MAX_PARTS));
}

bool
mm_mongo_split(MmSource *base, const MmCollection *collection,
			   const char *filter, const MmSplitRequest *request,
			   MmSplit **result, MmSourceError *error)
{
	MmMongoSource *source = (MmMongoSource *) base;
	MmSplit    *split = palloc0(sizeof(MmSplit));
	int			nparts = count_parts(collection, request->chunk_bytes);
	List	   *bounds = NIL;
	bool		ok;

	if (!choose_method(source, collection, filter, request, JOB_PATIENCE_MS,
					   split, error))
		return false;
	if (split->method != MM_SPLIT_RECORD)
		split->pin = mm_mongo_member_pin_collection(collection);
	if (split->method == MM_SPLIT_RECORD)
		ok = mm_mongo_split_record_bounds(source, collection, nparts,
										  &bounds, error);
	else
		ok = split->method == MM_SPLIT_NONE ||
			find_bounds(source, collection, nparts, &bounds, error);
	set_chunks(split, bounds);
	*result = split;
	return ok;
}

bool
mm_mongo_split_check(MmSource *base, const MmCollection *collection,
					 const char *filter, const MmSplitRequest *request,
					 MmSourceError *error)
{
	MmSplit		split = {0};

	return choose_method((MmMongoSource *) base, collection, filter, request,
						 SESSION_PATIENCE_MS, &split, error);
}
