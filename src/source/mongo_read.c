/*-------------------------------------------------------------------------
 *
 * mongo_read.c
 *	  Streams of documents: chunks, samples, and positions in them.
 *
 * A chunk of method "id" is a find with min and max on the _id index, in the
 * order of that index.  These are bounds in the index, so they hold across
 * all BSON types; $gte and $lt match only the type of their operand.  Two
 * things about them:
 *
 * - min is inclusive.  A stream that starts at a position leaves out the
 *	 first document if its _id is the position's.  It need not be there any
 *	 more, so it is compared: by bytes, and by value when both are numbers
 *	 (the same _id may have come back as 1.0 instead of 1).  A Decimal128 is
 *	 only equal to its own bytes.
 * - min without max leaves out the document whose _id is MaxKey (the server
 *	 makes MaxKey an exclusive upper bound).  The last chunk, open upwards,
 *	 fetches it by a query of its own, the tail.  On clustered collections the
 *	 range has it already, and then it is the last document of the range.
 *	 Without min as well, the find is a plain one and has it, too.
 *
 * The sort, which the index gives for nothing, matters on mongos: it is what
 * keeps the shards' replies in one order, so that everything before a
 * position has been returned.
 *
 * A chunk of method "none" has no position: a natural scan, or whatever plan
 * the server chooses for a filter.  Method "record" is in mongo_record.c.
 *
 * mm_mongo_read_next() runs a million times a second: it takes a document
 * from the batch, remembers where it is, and leaves the rest to
 * next_slowly().  The position is only made when it is asked for; the cursor
 * keeps the document until then (see mongo_cursor.c).
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "source/mongo.h"

struct MmStream
{
	MemoryContext context;
	MmMongoSource *source;
	MmMongoCursor *cursor;		/* being read; NULL: nothing left */
	MmMongoCursor *finished;	/* before the tail; has the last document */
	MmMongoRecords *records;	/* method "record", has the cursor; or NULL */
	const uint8 *last;			/* document returned last, or NULL */
	uint32		last_len;
	bool		positioned;		/* method "id" */
	const bytea *start;			/* the position that it was opened at */
	bool		skip_start;		/* the first document may be that one */
	bson_t	   *tail;			/* query still to be run, or NULL */
	bool		is_chunk;		/* what it reads is looked at anew */
	const bytea *pin;			/* the collection that it must be, or NULL:
								 * any of that name */
	bool		ended;			/* next() has said so */
	MmCollection *collection;	/* database and name only */
	uint32		average_bytes;
};

/*
 * Commands
 */

static void
add_filter(bson_t *command, const char *filter)
{
	if (filter)
		BSON_APPEND_DOCUMENT(command, "filter", mm_mongo_filter(filter));
}

static uint32
batch_bytes(const MmCollection *collection)
{
	/* Unknown sizes: start small, the cursor learns. */
	return collection->average_bytes > 0 ? collection->average_bytes : 4096;
}

static void
add_batch_size(bson_t *command, const MmCollection *collection)
{
	BSON_APPEND_INT32(command, "batchSize",
					  mm_mongo_cursor_batch_size(batch_bytes(collection)));
}

/* find in a range of the _id index. */
static bson_t *
make_range_query(const MmCollection *collection, const char *filter,
				 const bytea *lower, const bytea *upper)
{
	bson_t	   *command = mm_mongo_bson();
	bson_t		view;

	mm_mongo_add_target(command, "find", collection);
	add_filter(command, filter);
	if (lower)
		BSON_APPEND_DOCUMENT(command, "min", mm_mongo_view(lower, &view));
	if (upper)
		BSON_APPEND_DOCUMENT(command, "max", mm_mongo_view(upper, &view));
	mm_mongo_add_id_key(command, "hint", 1);
	mm_mongo_add_id_key(command, "sort", 1);
	mm_mongo_add_collation(command, collection);
	add_batch_size(command, collection);
	mm_mongo_add_time_limit(command, 0);
	return command;
}

/* find {$and: [{_id: MaxKey}, filter]} */
static bson_t *
make_tail_query(const MmCollection *collection, const char *filter)
{
	bson_t	   *command = mm_mongo_bson();
	bson_t		condition;
	bson_t		both;
	bson_t		id;

	mm_mongo_add_target(command, "find", collection);
	BSON_APPEND_DOCUMENT_BEGIN(command, "filter", &condition);
	BSON_APPEND_ARRAY_BEGIN(&condition, "$and", &both);
	BSON_APPEND_DOCUMENT_BEGIN(&both, "0", &id);
	BSON_APPEND_MAXKEY(&id, "_id");
	bson_append_document_end(&both, &id);
	if (filter)
		BSON_APPEND_DOCUMENT(&both, "1", mm_mongo_filter(filter));
	bson_append_array_end(&condition, &both);
	bson_append_document_end(command, &condition);
	mm_mongo_add_id_key(command, "hint", 1);
	mm_mongo_add_collation(command, collection);
	mm_mongo_add_time_limit(command, 0);
	return command;
}

/* find on everything; natural order, unless a filter wants its own plan. */
static bson_t *
make_scan_query(const MmCollection *collection, const char *filter,
				int timeout_ms)
{
	bson_t	   *command = mm_mongo_bson();
	bson_t		hint;

	mm_mongo_add_target(command, "find", collection);
	add_filter(command, filter);
	if (filter == NULL && collection->kind == MM_COLLECTION)
	{
		BSON_APPEND_DOCUMENT_BEGIN(command, "hint", &hint);
		BSON_APPEND_INT32(&hint, "$natural", 1);
		bson_append_document_end(command, &hint);
	}
	mm_mongo_add_collation(command, collection);
	add_batch_size(command, collection);
	/* Before MongoDB 6.0 pipelines do not use the disk unless told to. */
	if (collection->kind == MM_COLLECTION_VIEW)
		BSON_APPEND_BOOL(command, "allowDiskUse", true);
	mm_mongo_add_time_limit(command, timeout_ms);
	return command;
}

/* aggregate [{$match}, {$sample}] */
static bson_t *
make_random_query(const MmCollection *collection, const char *filter,
				  int64 n, int timeout_ms)
{
	bson_t		pipeline;
	bson_t	   *command = mm_mongo_begin_aggregate(collection, &pipeline);
	bson_t		child;

	if (filter)
		mm_mongo_add_match(&pipeline, "0", filter);
	mm_mongo_add_sample(&pipeline, filter ? "1" : "0", n);
	bson_append_array_end(command, &pipeline);
	BSON_APPEND_DOCUMENT_BEGIN(command, "cursor", &child);
	add_batch_size(&child, collection);
	bson_append_document_end(command, &child);
	BSON_APPEND_BOOL(command, "allowDiskUse", true);
	mm_mongo_add_collation(command, collection);
	mm_mongo_add_time_limit(command, timeout_ms);
	return command;
}

/*
 * Opening
 */

static MmStream *
make_stream(MmMongoSource *source, const MmCollection *collection)
{
	MmStream   *stream = palloc0(sizeof(MmStream));

	stream->context = CurrentMemoryContext;
	stream->source = source;
	stream->average_bytes = batch_bytes(collection);
	stream->collection = palloc0(sizeof(MmCollection));
	stream->collection->database = pstrdup(collection->database);
	stream->collection->name = pstrdup(collection->name);
	return stream;
}

static MmStream *
make_chunk_stream(MmMongoSource *source, const MmCollection *collection,
				  const bytea *pin)
{
	MmStream   *stream = make_stream(source, collection);

	stream->is_chunk = true;
	stream->pin = pin;
	return stream;
}

/*
 * A chunk's cursor had an error that is no passing one: a view in place of the
 * collection refuses what a collection knows.
 */
static void
explain_error(const MmStream *stream, uint32 server_id, MmSourceError *error)
{
	MmSourceError lost;

	if (stream->is_chunk && !error->transient && !stream->source->broken &&
		!mm_mongo_member_check_collection(stream->source, server_id,
										  stream->collection, stream->pin,
										  &lost))
		*error = lost;
}

/* On source->chosen. */
static bool
open_and_check(MmStream *stream, const bson_t *query, MmSourceError *error)
{
	MmMongoSource *source = stream->source;
	uint32		server_id = source->chosen;

	stream->cursor = mm_mongo_cursor_open(source,
										  mm_mongo_utf8(stream->collection->database),
										  query, stream->average_bytes,
										  mm_mongo_ns(stream->collection),
										  error);
	if (stream->cursor == NULL)
	{
		explain_error(stream, server_id, error);
		return false;
	}
	if (!stream->is_chunk ||
		mm_mongo_member_check_collection(source, server_id,
										 stream->collection, stream->pin,
										 error))
		return true;
	mm_mongo_cursor_close(stream->cursor);
	return false;
}

/* Opens the cursor, and then makes sure that it is on the right collection. */
static bool
run_query(MmStream *stream, const bson_t *query, MmSourceError *error)
{
	MmMongoSource *source = stream->source;
	uint32		chosen = source->chosen;
	bool		ok;

	if (source->pinned == 0 && chosen == 0)
		source->chosen = mm_mongo_select_server(source,
												mm_mongo_utf8(stream->collection->database),
												mm_mongo_ns(stream->collection),
												error);
	ok = (source->pinned != 0 || source->chosen != 0) &&
		open_and_check(stream, query, error);
	source->chosen = chosen;
	return ok;
}

static bytea *
copy_bytea(const bytea *original)
{
	bytea	   *copy = palloc(VARSIZE_ANY(original));

	memcpy(copy, original, VARSIZE_ANY(original));
	return copy;
}

static bool
is_max_key(const bson_t *document)
{
	bson_iter_t iter;

	return bson_iter_init_find(&iter, document, "_id") &&
		bson_iter_type(&iter) == BSON_TYPE_MAXKEY;
}

static MmStream *
open_range(MmMongoSource *source, const MmCollection *collection,
		   const char *filter, const bytea *pin, const MmBounds *bounds,
		   const bytea *position, MmSourceError *error)
{
	MmStream   *stream = make_chunk_stream(source, collection, pin);
	const bytea *lower = position ? position : bounds->lower;
	bson_t		view;

	stream->positioned = true;
	if (position)
	{
		stream->start = copy_bytea(position);
		stream->skip_start = true;
		/* Behind the greatest of all there is nothing. */
		if (is_max_key(mm_mongo_view(position, &view)))
			return stream;
	}
	if (lower && bounds->upper == NULL)
		stream->tail = make_tail_query(collection, filter);
	if (!run_query(stream, make_range_query(collection, filter, lower,
											bounds->upper), error))
		return NULL;
	return stream;
}

static MmStream *
open_records(MmMongoSource *source, const MmCollection *collection,
			 const bytea *pin, const MmBounds *bounds, const bytea *position,
			 MmSourceError *error)
{
	MmStream   *stream = make_stream(source, collection);

	stream->records = mm_mongo_record_open(source, collection, pin, bounds,
										   position, error);
	return stream->records ? stream : NULL;
}

MmStream *
mm_mongo_read_open_chunk(MmSource *base, const MmCollection *collection,
						 const char *filter, MmSplitMethod method,
						 const bytea *pin, const MmBounds *bounds,
						 const bytea *position, MmSourceError *error)
{
	MmMongoSource *source = (MmMongoSource *) base;
	MmStream   *stream;

	source->pinned = source->chosen = 0;
	if (method == MM_SPLIT_RECORD && filter == NULL && pin != NULL)
		return open_records(source, collection, pin, bounds, position, error);
	if (method == MM_SPLIT_ID)
		return open_range(source, collection, filter, pin, bounds, position,
						  error);
	if (method != MM_SPLIT_NONE || position != NULL)
		elog(ERROR, "unexpected split method or position of a chunk");
	stream = make_chunk_stream(source, collection, pin);
	if (!run_query(stream, make_scan_query(collection, filter, 0), error))
		return NULL;
	return stream;
}

MmStream *
mm_mongo_read_open_sample(MmSource *base, const MmCollection *collection,
						  const char *filter, int64 n, int timeout_ms,
						  MmSourceError *error)
{
	MmStream   *stream = make_stream((MmMongoSource *) base, collection);
	bson_t	   *query;

	if (n == 0)
		query = make_scan_query(collection, filter, timeout_ms);
	else
		query = make_random_query(collection, filter, n, timeout_ms);
	if (!run_query(stream, query, error))
		return NULL;
	return stream;
}

/*
 * Reading
 */

static bool
is_number(const bson_iter_t *iter)
{
	return BSON_ITER_HOLDS_INT32(iter) || BSON_ITER_HOLDS_INT64(iter) ||
		BSON_ITER_HOLDS_DOUBLE(iter);
}

static bool
same_number(const bson_iter_t *a, const bson_iter_t *b)
{
	if (!is_number(a) || !is_number(b))
		return false;
	/* Long doubles have the digits of both. */
	return (BSON_ITER_HOLDS_DOUBLE(a) ? (long double) bson_iter_double(a) :
			(long double) bson_iter_as_int64(a)) ==
		(BSON_ITER_HOLDS_DOUBLE(b) ? (long double) bson_iter_double(b) :
		 (long double) bson_iter_as_int64(b));
}

/* The raw value of an iterator that is at "_id". */
static const uint8 *
id_value(const bson_iter_t *iter, uint32 *len)
{
	uint32		start = iter->key + sizeof("_id");

	*len = iter->next_off - start;
	return iter->raw + start;
}

static bool
is_start(const bytea *start, const uint8 *doc, uint32 len)
{
	bson_t		view;
	bson_t		bson;
	bson_iter_t a;
	bson_iter_t b;
	const uint8 *a_value;
	const uint8 *b_value;
	uint32		a_len;
	uint32		b_len;

	if (!bson_init_static(&bson, doc, len) ||
		!bson_iter_init_find(&a, mm_mongo_view(start, &view), "_id") ||
		!bson_iter_init_find(&b, &bson, "_id"))
		return false;
	if (same_number(&a, &b))
		return true;
	a_value = id_value(&a, &a_len);
	b_value = id_value(&b, &b_len);
	return bson_iter_type(&a) == bson_iter_type(&b) && a_len == b_len &&
		memcmp(a_value, b_value, a_len) == 0;
}

/* Was the last document of the range the one that the tail would fetch? */
static bool
has_tail_already(const MmStream *stream)
{
	bson_t		bson;

	return stream->last &&
		bson_init_static(&bson, stream->last, stream->last_len) &&
		is_max_key(&bson);
}

/* Puts the tail in place of a range that has ended. */
static bool
open_tail(MmStream *stream, MmSourceError *error)
{
	MemoryContext old = MemoryContextSwitchTo(stream->context);
	bool		ok;

	stream->finished = stream->cursor;
	ok = run_query(stream, stream->tail, error);
	MemoryContextSwitchTo(old);
	if (!ok)
		stream->cursor = stream->finished;
	else
		stream->tail = NULL;
	return ok;
}

/* Lends us its cursor, for as long as that has documents. */
static MmNext
next_record(MmStream *stream, const uint8 **doc, uint32 *len,
			MmSourceError *error)
{
	MmNext		next = mm_mongo_record_next(stream->records, doc, len, error);

	stream->cursor = mm_mongo_record_cursor(stream->records);
	return next;
}

/* Whatever is not just the next document of a batch. */
static MmNext
next_slowly(MmStream *stream, const uint8 **doc, uint32 *len,
			MmSourceError *error)
{
	if (stream->records)
		return next_record(stream, doc, len, error);
	for (;;)
	{
		MmNext		next;

		if (stream->cursor == NULL)
			return MM_NEXT_END;
		next = mm_mongo_cursor_next(stream->cursor, doc, len, error);
		if (next == MM_NEXT_DOCUMENT)
		{
			bool		skip = stream->skip_start &&
				is_start(stream->start, *doc, *len);

			stream->skip_start = false;
			if (skip)
				continue;
			stream->last = *doc;
			stream->last_len = *len;
			return next;
		}
		if (next == MM_NEXT_ERROR)
			explain_error(stream, stream->cursor->server_id, error);
		if (next == MM_NEXT_ERROR || stream->tail == NULL ||
			has_tail_already(stream))
			return next;
		if (!open_tail(stream, error))
			return MM_NEXT_ERROR;
	}
}

MmNext
mm_mongo_read_next(MmStream *stream, const uint8 **doc, uint32 *len,
				   MmSourceError *error)
{
	MmMongoCursor *cursor = stream->cursor;

	if (unlikely(cursor == NULL || !mm_mongo_cursor_has_documents(cursor) ||
				 stream->skip_start))
	{
		MmNext		next = next_slowly(stream, doc, len, error);

		stream->ended = next == MM_NEXT_END;
		return next;
	}
	if (unlikely(mm_mongo_cursor_next(cursor, doc, len,
									  error) != MM_NEXT_DOCUMENT))
		return MM_NEXT_ERROR;
	stream->last = *doc;
	stream->last_len = *len;
	return MM_NEXT_DOCUMENT;
}

/* {"_id": value} of a document; NULL if it has no _id. */
static bytea *
make_position(const uint8 *doc, uint32 len)
{
	bson_t		bson;
	bson_iter_t iter;
	const uint8 *value;
	uint32		value_len;
	uint32		size;
	bytea	   *position;
	uint8	   *p;

	if (!bson_init_static(&bson, doc, len) ||
		!bson_iter_init_find(&iter, &bson, "_id"))
		return NULL;
	value = id_value(&iter, &value_len);
	size = 4 + 1 + sizeof("_id") + value_len + 1;
	position = palloc(VARHDRSZ + size);
	SET_VARSIZE(position, VARHDRSZ + size);
	p = (uint8 *) VARDATA(position);
	size = BSON_UINT32_TO_LE(size);
	memcpy(p, &size, 4);
	p[4] = bson_iter_type(&iter);
	memcpy(p + 5, "_id", sizeof("_id"));
	memcpy(p + 9, value, value_len);
	p[9 + value_len] = 0;
	return position;
}

bool
mm_mongo_read_has_position(MmStream *stream)
{
	if (stream->records)
		return mm_mongo_record_has_position(stream->records);
	return stream->positioned || stream->ended;
}

bytea *
mm_mongo_read_position(MmStream *stream)
{
	if (stream->records)
		return mm_mongo_record_position(stream->records);
	if (!stream->positioned)
		return NULL;
	if (stream->last)
	{
		/* The document went with the source. */
		if (stream->cursor->source == NULL)
			elog(ERROR, "position of a closed stream");
		return make_position(stream->last, stream->last_len);
	}
	return stream->start ? copy_bytea(stream->start) : NULL;
}

void
mm_mongo_read_close(MmStream *stream)
{
	if (stream->records)
	{
		mm_mongo_record_close(stream->records);
		stream->cursor = NULL;	/* was borrowed */
	}
	stream->records = NULL;
	if (stream->cursor)
		mm_mongo_cursor_close(stream->cursor);
	if (stream->finished)
		mm_mongo_cursor_close(stream->finished);
	stream->last = NULL;
}
