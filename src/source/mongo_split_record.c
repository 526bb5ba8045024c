/*-------------------------------------------------------------------------
 *
 * mongo_split_record.c
 *	  Bounds by record id.
 *
 * Record ids are given one after the other.  Where few are missing, the first
 * and the last tell how to cut the collection into equal parts, which a sample
 * does badly: it has far too few of the documents that were just inserted.
 * Bounds may then be missing, too, and each costs its reader the more the
 * larger the gap is that it lies in (open_before() in mongo_record.c): so no
 * more may be missing than one part.
 *
 * Otherwise $sample tells _ids; find {_id: {$in: [...]}} with a projection
 * turns them into record ids, from the _id index alone; of these in order some
 * are bounds, as with ranges of _id.  When the sample would be large, the
 * record ids of all documents are read from that index instead.
 *
 * A bound need not be the record id of a document any more when its chunk is
 * read, see mongo_record.c.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "source/mongo.h"

/* _ids in one $in: by number, and by size, which has no limit otherwise. */
#define MAX_IDS			10000
#define MAX_ID_BYTES	(1024 * 1024)

/* Of so many record ids one may be missing. */
#define FEW_MISSING		10

/* More than that are not kept, but every second, fourth and so on. */
#define MAX_RECORDS		4000000

/* Record ids: of those that were found each 2^thinned-th. */
typedef struct Records
{
	int64	   *ids;
	int			n;
	int			size;
	int64		found;
	int			thinned;
} Records;

static void
thin_out(Records *records)
{
	for (int i = 0; i < records->n / 2; i++)
		records->ids[i] = records->ids[2 * i];
	records->n /= 2;
	records->thinned++;
}

static void
add_record(Records *records, int64 id)
{
	if (records->n == MAX_RECORDS)
		thin_out(records);
	if (records->found++ & (((int64) 1 << records->thinned) - 1))
		return;
	if (records->n == records->size)
	{
		records->size = Max(records->size * 2, 1024);
		records->ids = records->ids ?
			repalloc(records->ids, records->size * sizeof(int64)) :
			palloc(records->size * sizeof(int64));
	}
	records->ids[records->n++] = id;
}

static MmMongoCursor *
open_query(MmMongoSource *source, const MmCollection *collection,
		   const bson_t *query, MmSourceError *error)
{
	return mm_mongo_cursor_open(source, mm_mongo_utf8(collection->database),
								query, 0, mm_mongo_ns(collection), error);
}

/* Collects the record ids of a find that projects them. */
static bool
read_records(MmMongoSource *source, const MmCollection *collection,
			 const bson_t *query, Records *records, MmSourceError *error)
{
	MmMongoCursor *cursor = open_query(source, collection, query, error);
	const uint8 *doc;
	uint32		len;
	MmNext		next;

	if (cursor == NULL)
		return false;
	while ((next = mm_mongo_cursor_next(cursor, &doc, &len,
										error)) == MM_NEXT_DOCUMENT)
	{
		int64		id = mm_mongo_record_of(doc, len);

		if (id > 0)
			add_record(records, id);
	}
	mm_mongo_cursor_close(cursor);
	return next != MM_NEXT_ERROR;
}

static bool
read_all(MmMongoSource *source, const MmCollection *collection,
		 Records *records, MmSourceError *error)
{
	return read_records(source, collection,
						mm_mongo_split_id_query(collection, 1, 0, true),
						records, error);
}

/* find {_id: {$in: ids}}, answered by the _id index alone. */
static bool
look_up(MmMongoSource *source, const MmCollection *collection,
		const bson_t *ids, Records *records, MmSourceError *error)
{
	bson_t	   *command = mm_mongo_bson();
	bson_t		filter;
	bson_t		condition;

	mm_mongo_add_target(command, "find", collection);
	BSON_APPEND_DOCUMENT_BEGIN(command, "filter", &filter);
	BSON_APPEND_DOCUMENT_BEGIN(&filter, "_id", &condition);
	BSON_APPEND_ARRAY(&condition, "$in", ids);
	bson_append_document_end(&filter, &condition);
	bson_append_document_end(command, &filter);
	mm_mongo_record_project(command, true);
	mm_mongo_add_id_key(command, "hint", 1);
	mm_mongo_add_collation(command, collection);
	BSON_APPEND_INT32(command, "batchSize", MAX_IDS + 1);
	mm_mongo_add_time_limit(command, 0);
	return read_records(source, collection, command, records, error);
}

/* In $in, a document that begins with "$" would be an operator. */
static bool
is_operator(const bson_iter_t *id)
{
	bson_iter_t inner;

	return BSON_ITER_HOLDS_DOCUMENT(id) && bson_iter_recurse(id, &inner) &&
		bson_iter_next(&inner) && bson_iter_key(&inner)[0] == '$';
}

/* Adds the _id of a document to an array, as element n. */
static void
add_id(bson_t *ids, int n, const uint8 *doc, uint32 len)
{
	bson_t		bson;
	bson_iter_t iter;
	char		buffer[16];
	const char *key;

	if (!bson_init_static(&bson, doc, len) ||
		!bson_iter_init_find(&iter, &bson, "_id") || is_operator(&iter))
		return;
	bson_uint32_to_string(n, &key, buffer, sizeof(buffer));
	bson_append_iter(ids, key, -1, &iter);
}

/* Reads _ids and looks their record ids up, some at a time. */
static bool
read_sample(MmMongoSource *source, const MmCollection *collection, int64 n,
			Records *records, MmSourceError *error)
{
	MmMongoCursor *cursor;
	bson_t	   *ids = mm_mongo_bson();
	const uint8 *doc;
	uint32		len;
	MmNext		next;
	int			nids = 0;

	cursor = open_query(source, collection,
						mm_mongo_split_sample_query(collection, n), error);
	if (cursor == NULL)
		return false;
	while ((next = mm_mongo_cursor_next(cursor, &doc, &len,
										error)) == MM_NEXT_DOCUMENT)
	{
		add_id(ids, nids, doc, len);
		if (++nids < MAX_IDS && ids->len < MAX_ID_BYTES)
			continue;
		if (!look_up(source, collection, ids, records, error))
			return false;
		bson_reinit(ids);
		nids = 0;
	}
	mm_mongo_cursor_close(cursor);
	return next != MM_NEXT_ERROR &&
		(nids == 0 || look_up(source, collection, ids, records, error));
}

static int
compare_ids(const void *a, const void *b)
{
	int64		x = *(const int64 *) a;
	int64		y = *(const int64 *) b;

	return (x > y) - (x < y);
}

/* The record id of the first document (1), or the last (-1); 0: there is none. */
static bool
read_record_end(MmMongoSource *source, const MmCollection *collection,
				int direction, int64 *record, MmSourceError *error)
{
	bson_t	   *command = mm_mongo_bson();
	Records		records = {0};
	bson_t		hint;

	mm_mongo_add_target(command, "find", collection);
	BSON_APPEND_DOCUMENT_BEGIN(command, "hint", &hint);
	BSON_APPEND_INT32(&hint, "$natural", direction);
	bson_append_document_end(command, &hint);
	mm_mongo_record_project(command, true);
	BSON_APPEND_INT32(command, "limit", 1);
	BSON_APPEND_BOOL(command, "singleBatch", true);
	mm_mongo_add_time_limit(command, 0);
	if (!read_records(source, collection, command, &records, error))
		return false;
	*record = records.n > 0 ? records.ids[0] : 0;
	return true;
}

/* Are few record ids missing between the first and the last? */
static bool
has_few_gaps(const MmCollection *collection, int64 first, int64 last,
			 int nparts)
{
	int64		missing = last - first + 1 - collection->documents;

	return first > 0 && missing >= 0 &&
		missing <= (last - first + 1) / Max(nparts, FEW_MISSING);
}

/*
 * The last of n record ids before each cut, each one once.  They are in "ids",
 * in order; NULL: they are first, first + 1 and so on.
 */
static List *
pick_bounds(const int64 *ids, int64 first, int64 n, int nparts)
{
	List	   *bounds = NIL;
	int64		last = 0;
	int			cut = 0;

	while ((cut = mm_mongo_split_next_cut(cut, nparts)) <
		   nparts * MM_MONGO_CUTS)
	{
		int64		rank = mm_mongo_split_rank(n, cut, nparts);
		int64		record;

		if (rank == 0)
			continue;
		record = ids ? ids[rank - 1] : first + rank - 1;
		if (record == last)
			continue;
		last = record;
		bounds = lappend(bounds, mm_mongo_record_make(record));
	}
	return bounds;
}

static bool
find_records(MmMongoSource *source, const MmCollection *collection,
			 int64 sample, Records *records, MmSourceError *error)
{
	bool		sampled = sample * MM_MONGO_SAMPLE_SHARE <
		collection->documents;

	for (int i = 0; sampled && i < MM_MONGO_SAMPLE_ATTEMPTS; i++)
	{
		records->n = 0;
		if (read_sample(source, collection, sample, records, error))
			return true;
		if (!error->unlucky)
			return false;
	}
	records->n = 0;
	return read_all(source, collection, records, error);
}

bool
mm_mongo_split_record_bounds(MmMongoSource *source,
							 const MmCollection *collection, int nparts,
							 List **bounds, MmSourceError *error)
{
	Records		records = {0};
	int64		first;
	int64		last;

	*bounds = NIL;
	if (nparts <= 1)
		return true;
	if (!read_record_end(source, collection, 1, &first, error) ||
		!read_record_end(source, collection, -1, &last, error))
		return false;
	if (has_few_gaps(collection, first, last, nparts))
	{
		*bounds = pick_bounds(NULL, first, last - first + 1, nparts);
		return true;
	}
	if (!find_records(source, collection,
					  mm_mongo_split_samples(collection, nparts), &records,
					  error))
		return false;
	if (records.n > 1)
		qsort(records.ids, records.n, sizeof(int64), compare_ids);
	*bounds = pick_bounds(records.ids, first, records.n, nparts);
	return true;
}

/*
 * Trying
 */

/*
 * Asks for the document behind a record id, and for its own; 0 when there is
 * none.  *refusal when the server does not like the question, or gives no
 * proper answer.
 */
static bool
try_query(MmMongoSource *source, const MmCollection *collection, int64 after,
		  int64 *record, const char **refusal, MmSourceError *error)
{
	MmMongoCursor *cursor;
	const uint8 *doc;
	uint32		len;

	*record = 0;
	cursor = open_query(source, collection,
						mm_mongo_record_query(collection, after, true, 1),
						error);
	if (cursor == NULL)
	{
		if (!error->transient && !source->broken)
			*refusal = psprintf("the server refuses them: %s", error->detail);
		return *refusal != NULL;
	}
	if (mm_mongo_cursor_has_documents(cursor) &&
		mm_mongo_cursor_next(cursor, &doc, &len, error) == MM_NEXT_DOCUMENT)
	{
		*record = mm_mongo_record_of(doc, len);
		if (*record <= after || *record != cursor->token)
			*refusal = "the server does not tell record ids";
	}
	mm_mongo_cursor_close(cursor);
	return true;
}

/*
 * Reads one document, then the one behind it.  Servers of other makers, and
 * later ones, may not know these fields, or mean something else by them.
 */
bool
mm_mongo_split_record_try(MmMongoSource *source,
						  const MmCollection *collection,
						  const char **refusal, MmSourceError *error)
{
	int64		first;
	int64		second;

	*refusal = NULL;
	if (!try_query(source, collection, 0, &first, refusal, error))
		return false;
	if (*refusal || first == 0)
		return true;
	/* The first one may be deleted in between. */
	return try_query(source, collection, first, &second, refusal, error) ||
		mm_mongo_error_code(source) == MM_MONGO_KEY_NOT_FOUND;
}
