/*-------------------------------------------------------------------------
 *
 * mongo_record.c
 *	  Streams of chunks by record ids: the order on disk.
 *
 * A chunk is what lies behind its lower bound, up to and with its upper one;
 * the first and the last are open.  Bounds and positions are {$recordId: n},
 * n being a number of 64 bits.  They hold for one server (mongo_member.c).
 *
 * The fast way.  find {hint: {$natural: 1}, $_requestResumeToken: true,
 * $_resumeAfter: {$recordId: n}} starts behind a record, which must exist, and
 * each reply ends with the record id of its last document.  A reply that ends
 * at or before the upper bound belongs to the chunk as a whole.  Documents do
 * not tell their record ids, so that there is a position behind the last of a
 * reply only.
 *
 * No reply is asked for that has more documents than record ids are left.
 * Where there are gaps, that may still be beyond the bound; so the documents
 * left are guessed from those seen, and a bit fewer are asked for.
 *
 * The exact way.  By a projection each document brings its record id, as with
 * showRecordId, whose name a document may have itself; this costs the server
 * more.  It is gone
 *
 * - when only a few documents seem to be left;
 * - when a reply goes beyond the upper bound, or does not tell where it ends,
 *	 as the last one of newer servers: that reply is thrown away, and the chunk
 *	 ends the exact way.  (The _id of the bound would tell where, too, unless
 *	 its document was deleted meanwhile, or even inserted again and stands in
 *	 this very reply a second time.)
 * - when the record to start behind is not there (code 211): one of the records
 *	 before it, or the beginning of the collection, is started at instead, and
 *	 what is not behind it is skipped.  After a reply that brought something,
 *	 the fast way is gone again.
 *
 * Why nothing is lost or comes twice, of the documents that exist all the
 * time.  Their record ids stay, updates included, and a reply has all of them
 * between the record ids at which the one before and itself end, since the
 * server goes through its records in order.  records->after is that end; it
 * grows by whole replies, or by documents on the exact way, and is what a
 * position holds.  Records inserted or deleted meanwhile only make gaps.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "source/mongo.h"

/* In bounds, positions and resume tokens. */
#define RECORD_ID_NAME		"$recordId"

/* What stands before the end of a document on the exact way, and its value. */
#define RECORD_ID_FIELD		"mongo_migrate record id"
#define RECORD_ID_BYTES		(1 + sizeof(RECORD_ID_FIELD) + sizeof(int64))

/* Records before a deleted one that are tried one by one, then in leaps. */
#define TRY_EACH	64
#define TRY_GROUP	4

/* Documents before the bound that are not worth a guess. */
#define FEW_DOCUMENTS	200

#define OPEN_BOUND	PG_INT64_MAX

struct MmMongoRecords
{
	MemoryContext context;		/* our own, ends with the stream: the source
								 * lives for thousands of chunks */
	MmMongoSource *source;
	MmCollection *collection;
	const bytea *pin;
	int64		lower;			/* the last record before the chunk; 0: none */
	int64		upper;			/* the last record of the chunk */
	int64		start;			/* "after" when the stream was opened */
	int64		after;			/* up to here everything was given out */
	int64		reply_end;		/* fast: the last record of the reply */
	int64		documents;		/* between start and after */
	MmMongoCursor *cursor;		/* NULL: to be opened behind "after" */
	uint32		average_bytes;
	bool		exact;			/* documents bring their record ids */
	bool		crossed;		/* stay exact up to the end of the chunk */
	bool		brought;		/* exact: this cursor has reached the chunk */
	bool		ended;
	StringInfoData document;	/* exact: without its record id */
};

/*
 * Record ids
 */

bytea *
mm_mongo_record_make(int64 record)
{
	bson_t	   *bson = mm_mongo_bson();

	BSON_APPEND_INT64(bson, RECORD_ID_NAME, record);
	return mm_mongo_bytea(bson);
}

/* From a bound or position; "otherwise" if there is none. */
static int64
read_record(const bytea *document, int64 otherwise)
{
	bson_t		view;
	bson_iter_t iter;

	if (document == NULL)
		return otherwise;
	if (!bson_iter_init_find(&iter, mm_mongo_view(document, &view),
							 RECORD_ID_NAME) ||
		!BSON_ITER_HOLDS_INT64(&iter))
		elog(ERROR, "invalid record id of a chunk");
	return bson_iter_int64(&iter);
}

int64
mm_mongo_record_of(const uint8 *doc, uint32 len)
{
	const uint8 *element;
	int64		record;

	if (len < 5 + RECORD_ID_BYTES)
		return 0;
	element = doc + len - 1 - RECORD_ID_BYTES;
	if (element[0] != BSON_TYPE_INT64 ||
		memcmp(element + 1, RECORD_ID_FIELD, sizeof(RECORD_ID_FIELD)) != 0)
		return 0;
	memcpy(&record, element + 1 + sizeof(RECORD_ID_FIELD), sizeof(record));
	return BSON_UINT64_FROM_LE(record);
}

void
mm_mongo_record_project(bson_t *command, bool id_only)
{
	bson_t		projection;
	bson_t		meta;

	BSON_APPEND_DOCUMENT_BEGIN(command, "projection", &projection);
	if (id_only)
		BSON_APPEND_INT32(&projection, "_id", 1);
	BSON_APPEND_DOCUMENT_BEGIN(&projection, RECORD_ID_FIELD, &meta);
	BSON_APPEND_UTF8(&meta, "$meta", "recordId");
	bson_append_document_end(&projection, &meta);
	bson_append_document_end(command, &projection);
}

/*
 * Opening
 */

bson_t *
mm_mongo_record_query(const MmCollection *collection, int64 after,
					  bool with_ids, int32 batch_size)
{
	bson_t	   *command = mm_mongo_bson();
	bson_t		child;

	mm_mongo_add_target(command, "find", collection);
	BSON_APPEND_DOCUMENT_BEGIN(command, "hint", &child);
	BSON_APPEND_INT32(&child, "$natural", 1);
	bson_append_document_end(command, &child);
	BSON_APPEND_BOOL(command, "$_requestResumeToken", true);
	if (after > 0)
	{
		BSON_APPEND_DOCUMENT_BEGIN(command, "$_resumeAfter", &child);
		BSON_APPEND_INT64(&child, RECORD_ID_NAME, after);
		bson_append_document_end(command, &child);
	}
	if (with_ids)
		mm_mongo_record_project(command, false);
	BSON_APPEND_INT32(command, "batchSize", batch_size);
	mm_mongo_add_time_limit(command, 0);
	return command;
}

/* Documents that seem to be left; as many as record ids if without gaps. */
static int64
guess_left(const MmMongoRecords *records)
{
	int64		left = records->upper - records->after;
	int64		seen = records->after - records->start;

	if (records->upper == OPEN_BOUND || seen <= 0 ||
		records->documents >= seen)
		return left;
	return (int64) ((double) left * records->documents / seen);
}

/* With so few, documents bring their record ids, to end with the right one. */
static bool
is_near_end(const MmMongoRecords *records)
{
	return guess_left(records) < Min(FEW_DOCUMENTS,
									 records->upper - records->after);
}

/* How many to ask for in a reply from "after" on. */
static int64
count_wanted(const MmMongoRecords *records)
{
	int64		left = records->upper - records->after;
	int64		guess = guess_left(records);

	if (guess == left)
		return left;
	return records->exact ? Min(left, guess + FEW_DOCUMENTS) :
		Max(guess - guess / 8, 1);
}

/* Starts behind a record; *deleted if it is not there. */
static bool
open_behind(MmMongoRecords *records, int64 after, bool *deleted,
			MmSourceError *error)
{
	MmMongoSource *source = records->source;
	MmCollection *collection = records->collection;
	int64		size = mm_mongo_cursor_batch_size(records->average_bytes);
	bson_t	   *query;

	*deleted = false;
	size = Min(size, count_wanted(records) + records->after - after);
	query = mm_mongo_record_query(collection, after, records->exact,
								  (int32) size);
	records->cursor = mm_mongo_cursor_open(source,
										   mm_mongo_utf8(collection->database),
										   query, records->average_bytes,
										   mm_mongo_ns(collection), error);
	if (records->cursor)
		return true;
	*deleted = !source->broken &&
		mm_mongo_error_code(source) == MM_MONGO_KEY_NOT_FOUND;
	return false;
}

/* Each of the nearest, then groups that are twice as far each time. */
static int64
next_back(int64 back)
{
	if (back < TRY_EACH || (back + 1) % TRY_GROUP != 0)
		return back + 1;
	return (back + 1) * 2 - TRY_GROUP;
}

/*
 * Starts somewhere before "after": the nearer the less is skipped.  The bound
 * below the chunk is a good place, if it is still there.
 */
static bool
open_before(MmMongoRecords *records, MmSourceError *error)
{
	int64		back = 0;
	bool		deleted;

	while (records->after - back > 0)
	{
		if (open_behind(records, records->after - back, &deleted, error))
			return true;
		if (!deleted)
			return false;
		back = next_back(back);
	}
	if (records->lower > 0 && records->lower < records->after &&
		(open_behind(records, records->lower, &deleted, error) || !deleted))
		return records->cursor != NULL;
	return open_behind(records, 0, &deleted, error);
}

/* Opens the cursor, and then makes sure of the server that it is on. */
static bool
open_cursor(MmMongoRecords *records, MmSourceError *error)
{
	bool		deleted = false;
	bool		ok = false;
	MmSourceError lost;

	records->brought = false;
	if (!records->exact)
	{
		ok = open_behind(records, records->after, &deleted, error);
		records->exact = deleted;
	}
	if (records->exact)
		ok = open_before(records, error);
	if (ok || !error->transient)
	{
		if (mm_mongo_member_check(records->source, records->collection,
								  records->pin, &lost))
			return ok;
		*error = lost;
	}
	return false;
}

static void
close_cursor(MmMongoRecords *records)
{
	if (records->cursor)
		mm_mongo_cursor_close(records->cursor);
	records->cursor = NULL;
}

static bool
set_malformed_error(MmMongoRecords *records, MmSourceError *error)
{
	mm_mongo_error_fill(error, ERRCODE_FDW_ERROR,
						psprintf("could not read \"%s\" from MongoDB server \"%s\"",
								 mm_mongo_ns(records->collection),
								 records->source->name),
						"The server sent documents without their record ids.",
						NULL);
	return false;
}

/*
 * Fast: looks at a reply before anything of it is given out.  If it goes
 * beyond the chunk, or may do so, it is thrown away.
 */
static bool
accept_reply(MmMongoRecords *records, MmSourceError *error)
{
	int64		token = records->cursor->token;

	if (records->exact || !mm_mongo_cursor_has_documents(records->cursor))
		return true;
	/* Newer servers have no token once the collection is at its end. */
	if (token <= records->after && (token != 0 || records->cursor->id != 0))
		return set_malformed_error(records, error);
	if (token != 0 && token <= records->upper)
	{
		records->reply_end = token;
		return true;
	}
	close_cursor(records);
	records->exact = true;
	records->crossed = true;
	return true;
}

/* The state before anything is asked for, in a context of its own. */
static MmMongoRecords *
make_records(MmMongoSource *source, const MmCollection *collection,
			 const bytea *pin, const MmBounds *bounds, const bytea *position)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext,
												  "mongo_migrate records",
												  ALLOCSET_SMALL_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	MmMongoRecords *records = palloc0(sizeof(MmMongoRecords));

	records->context = context;
	records->source = source;
	records->collection = palloc(sizeof(MmCollection));
	*records->collection = *collection;
	records->pin = pin;
	records->lower = read_record(bounds->lower, 0);
	records->upper = read_record(bounds->upper, OPEN_BOUND);
	records->start = read_record(position ? position : bounds->lower, 0);
	records->after = records->start;
	records->average_bytes = collection->average_bytes > 0 ?
		collection->average_bytes : 4096;
	records->ended = records->after >= records->upper;
	initStringInfo(&records->document);
	MemoryContextSwitchTo(old);
	return records;
}

MmMongoRecords *
mm_mongo_record_open(MmMongoSource *source, const MmCollection *collection,
					 const bytea *pin, const MmBounds *bounds,
					 const bytea *position, MmSourceError *error)
{
	MmMongoRecords *records;
	MemoryContext old;
	bool		ok = true;

	if (!mm_mongo_member_find(source, pin, error))
		return NULL;
	records = make_records(source, collection, pin, bounds, position);
	old = MemoryContextSwitchTo(records->context);
	if (!records->ended)
		ok = open_cursor(records, error) && accept_reply(records, error);
	MemoryContextSwitchTo(old);
	if (ok)
		return records;
	mm_mongo_record_close(records);
	return NULL;
}

/*
 * Reading
 */

/* Exact: gives out a document that belongs to the chunk. */
static bool
take_exactly(MmMongoRecords *records, const uint8 **doc, uint32 *len,
			 int64 record)
{
	StringInfo	copy = &records->document;
	uint32		size;

	if (record > records->upper)
		records->ended = true;
	if (record <= records->after || records->ended)
		return false;
	records->after = record;
	records->documents++;
	records->brought = true;
	resetStringInfo(copy);
	appendBinaryStringInfo(copy, (const char *) *doc,
						   *len - 1 - RECORD_ID_BYTES);
	appendStringInfoChar(copy, '\0');
	size = BSON_UINT32_TO_LE((uint32) copy->len);
	memcpy(copy->data, &size, sizeof(size));
	*doc = (const uint8 *) copy->data;
	*len = copy->len;
	return true;
}

static MmNext
next_exactly(MmMongoRecords *records, const uint8 **doc, uint32 *len,
			 MmSourceError *error)
{
	while (!records->ended &&
		   mm_mongo_cursor_has_documents(records->cursor))
	{
		int64		record;

		if (mm_mongo_cursor_next(records->cursor, doc, len,
								 error) != MM_NEXT_DOCUMENT)
			return MM_NEXT_ERROR;
		record = mm_mongo_record_of(*doc, *len);
		if (record == 0 && !set_malformed_error(records, error))
			return MM_NEXT_ERROR;
		if (take_exactly(records, doc, len, record))
			return MM_NEXT_DOCUMENT;
	}
	return MM_NEXT_END;			/* of this reply */
}

/*
 * A new reply, when the one before is used up.  MM_NEXT_DOCUMENT: there is
 * one.
 */
static MmNext
fetch(MmMongoRecords *records, MmSourceError *error)
{
	MmMongoCursor *cursor = records->cursor;
	MmSourceError lost;
	MmNext		next;

	/* Another way from here on?  Not while a cursor skips or has ended. */
	if (cursor && cursor->id != 0 && !records->crossed &&
		(!records->exact || records->brought) &&
		records->exact != is_near_end(records))
	{
		close_cursor(records);
		records->exact = !records->exact;
	}
	if (records->cursor == NULL && !open_cursor(records, error))
		return MM_NEXT_ERROR;
	/* While it skips, it is somewhere before "after". */
	records->cursor->limit = records->exact && !records->brought ? 0 :
		count_wanted(records);
	next = mm_mongo_cursor_fetch(records->cursor, error);
	/* A view in place of the collection refuses, and not just for now. */
	if (next == MM_NEXT_ERROR && !error->transient &&
		!records->source->broken &&
		!mm_mongo_member_check(records->source, records->collection,
							   records->pin, &lost))
		*error = lost;
	return next;
}

/* Fast: the reply is given out, if there was one. */
static void
finish_reply(MmMongoRecords *records)
{
	if (records->exact || records->reply_end <= records->after)
		return;
	records->after = records->reply_end;
	records->documents += records->cursor->batch_documents;
}

/* The state between two replies. */
static MmNext
next_reply(MmMongoRecords *records, MmSourceError *error)
{
	MemoryContext old = MemoryContextSwitchTo(records->context);
	MmNext		next = MM_NEXT_DOCUMENT;

	finish_reply(records);
	if (records->after >= records->upper)
		records->ended = true;
	if (!records->ended)
		next = fetch(records, error);
	if (next == MM_NEXT_END)
		records->ended = true;
	if (records->ended)
		close_cursor(records);
	else if (next == MM_NEXT_DOCUMENT && !accept_reply(records, error))
		next = MM_NEXT_ERROR;
	MemoryContextSwitchTo(old);
	return records->ended ? MM_NEXT_END : next;
}

MmNext
mm_mongo_record_next(MmMongoRecords *records, const uint8 **doc, uint32 *len,
					 MmSourceError *error)
{
	for (;;)
	{
		MmNext		next;

		if (records->cursor &&
			mm_mongo_cursor_has_documents(records->cursor))
		{
			next = records->exact ?
				next_exactly(records, doc, len, error) :
				mm_mongo_cursor_next(records->cursor, doc, len, error);
			if (next != MM_NEXT_END)
				return next;
		}
		next = next_reply(records, error);
		if (next != MM_NEXT_DOCUMENT)
			return next;
	}
}

MmMongoCursor *
mm_mongo_record_cursor(MmMongoRecords *records)
{
	return records->exact ? NULL : records->cursor;
}

/*
 * Positions
 */

bool
mm_mongo_record_has_position(MmMongoRecords *records)
{
	return records->exact || records->cursor == NULL ||
		!mm_mongo_cursor_has_documents(records->cursor);
}

bytea *
mm_mongo_record_position(MmMongoRecords *records)
{
	int64		record = records->after;

	if (!mm_mongo_record_has_position(records))
		elog(ERROR, "no position inside a reply");
	if (!records->exact)
		record = Max(record, records->reply_end);
	return record > 0 ? mm_mongo_record_make(record) : NULL;
}

/* What was given out last goes, too. */
void
mm_mongo_record_close(MmMongoRecords *records)
{
	close_cursor(records);
	MemoryContextDelete(records->context);
}
