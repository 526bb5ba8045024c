/*-------------------------------------------------------------------------
 *
 * mongo_cursor.c
 *	  The documents of a command that answers with a cursor.
 *
 * The driver's own cursor would do, but costs twice as much per document,
 * hides where a reply ends, and frees a reply before it asks for the next
 * one.  We need the last document of a reply for as long as the caller may
 * ask for its position.  So the commands are sent as commands: the one that
 * opens the cursor to a server that suits the read preference, getMore to the
 * same server and in the same session.
 *
 * A reply is {cursor: {id, ns, firstBatch | nextBatch: [doc, ...]}}.  The
 * array is walked by hand: type byte, key, document.  Each length is checked
 * against the array, which the driver has checked against the message.
 *
 * A batch replaces the one before only if it has documents.
 *
 * Replies are of about 1.5 MB, but no larger than what the caller used up in
 * a second: a loader that is throttled, or slow, should neither sit on one
 * reply for minutes nor let the server's cursor die of old age.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "source/mongo.h"

#include "utils/memutils.h"

/*
 * Bytes per reply.  The driver reads into a buffer of a power of two; this
 * leaves room below 2 MB for documents that are larger than the average.
 */
#define TARGET_REPLY_BYTES	(1536 * 1024)

#define MAX_BATCH_SIZE		100000

/* How long the documents of a reply should last, in us. */
#define TARGET_REPLY_TIME	1000000

int32
mm_mongo_cursor_batch_size(uint32 average_bytes)
{
	return Max(1, Min(TARGET_REPLY_BYTES / Max(average_bytes, 1),
					  MAX_BATCH_SIZE));
}

/* Nothing more is said to a server that sends such a thing. */
static bool
set_malformed_error(MmMongoCursor *cursor, MmSourceError *error)
{
	cursor->source->broken = true;
	mm_mongo_error_fill(error, ERRCODE_FDW_ERROR,
						psprintf("could not read \"%s\" from MongoDB server \"%s\"",
								 cursor->ns, cursor->source->name),
						"The server sent a malformed reply.", NULL);
	error->transient = true;
	return false;
}

/* The record id in {$recordId: id}; 0 when it is null, as in no reply yet. */
static int64
read_token(const bson_iter_t *token)
{
	bson_iter_t iter;

	if (bson_iter_recurse(token, &iter) &&
		bson_iter_find(&iter, "$recordId") && BSON_ITER_HOLDS_INT64(&iter))
		return bson_iter_int64(&iter);
	return 0;
}

/* The document in the element at "at", or NULL: there is none. */
static const uint8 *
element_document(const uint8 *at, const uint8 *end, uint32 *len)
{
	uint32		size;

	if (*at++ != BSON_TYPE_DOCUMENT)
		return NULL;
	while (at < end && *at != '\0')
		at++;
	at++;
	if (end - at < 5)
		return NULL;
	memcpy(&size, at, sizeof(size));
	*len = BSON_UINT32_FROM_LE(size);
	return *len >= 5 && *len <= end - at ? at : NULL;
}

/*
 * Finds id, name and batch in source->reply; takes it if it has documents.
 * The reply before stays when the first of them is none.
 */
static bool
take_reply(MmMongoCursor *cursor, MmSourceError *error)
{
	MmMongoSource *source = cursor->source;
	bson_iter_t iter;
	bson_iter_t field;
	const uint8 *batch = NULL;
	uint32		len = 0;
	uint32		first_len;
	size_t		offset;

	if (!bson_iter_init_find(&iter, source->reply, "cursor") ||
		!BSON_ITER_HOLDS_DOCUMENT(&iter) || !bson_iter_recurse(&iter, &field))
		return set_malformed_error(cursor, error);
	cursor->token = 0;
	while (bson_iter_next(&field))
	{
		const char *key = bson_iter_key(&field);

		if (strcmp(key, "id") == 0)
			cursor->id = bson_iter_as_int64(&field);
		else if (strcmp(key, "postBatchResumeToken") == 0)
			cursor->token = read_token(&field);
		else if (strcmp(key, "ns") == 0 && cursor->collection == NULL &&
				 BSON_ITER_HOLDS_UTF8(&field))
		{
			const char *dot = strchr(bson_iter_utf8(&field, NULL), '.');

			cursor->collection = MemoryContextStrdup(cursor->context,
													 dot ? dot + 1 : "");
		}
		else if ((strcmp(key, "firstBatch") == 0 ||
				  strcmp(key, "nextBatch") == 0) &&
				 BSON_ITER_HOLDS_ARRAY(&field))
			bson_iter_array(&field, &len, &batch);
	}
	if (batch == NULL || cursor->collection == NULL)
		return set_malformed_error(cursor, error);
	if (len <= 5)
		return true;			/* an empty array */
	if (element_document(batch + 4, batch + len - 1, &first_len) == NULL)
		return set_malformed_error(cursor, error);

	/* A small document is inside its struct, so it moves with it. */
	offset = batch - bson_get_data(source->reply);
	bson_destroy(cursor->reply);
	bson_steal(cursor->reply, source->reply);
	bson_init(source->reply);
	batch = bson_get_data(cursor->reply) + offset;
	cursor->at = batch + 4;
	cursor->end = batch + len - 1;
	cursor->batch_bytes = len;
	cursor->batch_documents = 0;
	cursor->batch_at = bson_get_monotonic_time();
	return true;
}

/* Adapts the batch size to the documents that were seen. */
static void
learn_size(MmMongoCursor *cursor)
{
	int64		time = bson_get_monotonic_time() - cursor->batch_at;

	if (cursor->average_bytes == 0 || cursor->batch_documents == 0)
		return;
	cursor->average_bytes = Max(1, cursor->batch_bytes /
								cursor->batch_documents);
	if (time > TARGET_REPLY_TIME)
		cursor->slow_limit = Max(1, (int64) cursor->batch_documents *
								 TARGET_REPLY_TIME / time);
	else if (cursor->slow_limit < MAX_BATCH_SIZE)
		cursor->slow_limit *= 2;	/* 0 stays */
	else
		cursor->slow_limit = 0;
}

/* Documents that the next reply should have at most. */
static int32
next_batch_size(const MmMongoCursor *cursor)
{
	int64		size = mm_mongo_cursor_batch_size(cursor->average_bytes);

	if (cursor->slow_limit > 0)
		size = Min(size, cursor->slow_limit);
	if (cursor->limit > 0)
		size = Min(size, cursor->limit);
	return (int32) size;
}

static bool
send_get_more(MmMongoCursor *cursor, MmSourceError *error)
{
	bson_t	   *command = mm_mongo_bson();

	BSON_APPEND_INT64(command, "getMore", cursor->id);
	BSON_APPEND_UTF8(command, "collection", cursor->collection);
	if (cursor->average_bytes != 0)
		BSON_APPEND_INT32(command, "batchSize", next_batch_size(cursor));
	if (!mm_mongo_run(cursor->source, cursor->database, command,
					  cursor->server_id, cursor->ns, error))
		return false;
	return take_reply(cursor, error);
}

/* The caller's context may live for millions of replies: use our own. */
static bool
get_more(MmMongoCursor *cursor, MmSourceError *error)
{
	MemoryContext old = MemoryContextSwitchTo(cursor->scratch);
	bool		ok;

	learn_size(cursor);
	ok = send_get_more(cursor, error);
	MemoryContextSwitchTo(old);
	MemoryContextReset(cursor->scratch);
	return ok;
}

/* Tells the server that the cursor is not needed any more. */
static bool
kill_cursor(MmMongoCursor *cursor)
{
	MmMongoSource *source = cursor->source;
	bson_t		command = BSON_INITIALIZER;
	bson_t		options = BSON_INITIALIZER;
	bson_t		ids;
	bson_error_t failure;
	bool		ok;

	BSON_APPEND_UTF8(&command, "killCursors", cursor->collection);
	BSON_APPEND_ARRAY_BEGIN(&command, "cursors", &ids);
	BSON_APPEND_INT64(&ids, "0", cursor->id);
	bson_append_array_end(&command, &ids);
	BSON_APPEND_INT32(&options, "serverId", cursor->server_id);
	if (source->session)
		(void) mongoc_client_session_append(source->session, &options,
											&failure);
	ok = mongoc_client_command_with_opts(source->client, cursor->database,
										 &command, NULL, &options, NULL,
										 &failure);
	bson_destroy(&command);
	bson_destroy(&options);
	return ok;
}

/*
 * Runs in reset callbacks, so it must not raise.  Half a second at most, as
 * in closing a source; a failure leaves the cursor to the server's timeout.
 */
static void
release_cursor(MmMongoCursor *cursor)
{
	MmMongoSource *source = cursor->source;
	MmWire	   *wire;
	int64		deadline;

	if (source == NULL)
		return;
	wire = &source->wire;
	deadline = wire->close_deadline;
	if (cursor->id != 0 && !source->broken && source->client)
	{
		wire->leave = MM_WIRE_STAY;
		if (deadline == 0)
			wire->close_deadline = bson_get_monotonic_time() +
				MM_MONGO_CLOSE_BUDGET;
		source->broken = !kill_cursor(cursor);
		wire->close_deadline = deadline;
	}
	dlist_delete(&cursor->node);
	bson_destroy(cursor->reply);
	bson_init(cursor->reply);
	cursor->id = 0;
	cursor->at = cursor->end = NULL;
	cursor->source = NULL;
}

static void
release_callback(void *arg)
{
	release_cursor(arg);
}

void
mm_mongo_cursor_close(MmMongoCursor *cursor)
{
	release_cursor(cursor);
}

/* The holder, in the current context. */
static MmMongoCursor *
make_cursor(MmMongoSource *source, const char *database,
			uint32 average_bytes, const char *ns)
{
	MmMongoCursor *cursor = palloc0(sizeof(MmMongoCursor));

	cursor->context = CurrentMemoryContext;
	cursor->scratch = AllocSetContextCreate(CurrentMemoryContext,
											"mongo_migrate getMore",
											ALLOCSET_SMALL_SIZES);
	cursor->database = pstrdup(database);
	cursor->ns = pstrdup(ns);
	cursor->average_bytes = average_bytes;
	cursor->reply = mm_mongo_bson_alloc();
	cursor->source = source;
	dlist_push_head(&source->cursors, &cursor->node);
	cursor->callback.func = release_callback;
	cursor->callback.arg = cursor;
	MemoryContextRegisterResetCallback(CurrentMemoryContext,
									   &cursor->callback);
	return cursor;
}

MmMongoCursor *
mm_mongo_cursor_open(MmMongoSource *source, const char *database,
					 const bson_t *command, uint32 average_bytes,
					 const char *ns, MmSourceError *error)
{
	MmMongoCursor *cursor = make_cursor(source, database, average_bytes, ns);

	cursor->server_id = source->pinned ? source->pinned : source->chosen;
	if (cursor->server_id == 0)
		cursor->server_id = mm_mongo_select_server(source, database, ns,
												   error);
	if (cursor->server_id != 0 &&
		mm_mongo_concern_add(source, cursor->server_id, &command, ns, error) &&
		mm_mongo_run(source, database, command, cursor->server_id, ns,
					 error) &&
		take_reply(cursor, error))
		return cursor;
	release_cursor(cursor);
	return NULL;
}

/* Takes the document at cursor->at. */
static MmNext
walk_batch(MmMongoCursor *cursor, const uint8 **doc, uint32 *len,
		   MmSourceError *error)
{
	*doc = element_document(cursor->at, cursor->end, len);
	if (*doc != NULL)
	{
		cursor->at = *doc + *len;
		cursor->batch_documents++;
		return MM_NEXT_DOCUMENT;
	}
	set_malformed_error(cursor, error);
	return MM_NEXT_ERROR;
}

MmNext
mm_mongo_cursor_fetch(MmMongoCursor *cursor, MmSourceError *error)
{
	while (!mm_mongo_cursor_has_documents(cursor))
	{
		/* Not an end: there is nothing left to read from. */
		if (cursor->source == NULL)
			elog(ERROR, "read from a closed MongoDB cursor");
		if (cursor->id == 0)
			return MM_NEXT_END;
		if (!get_more(cursor, error))
			return MM_NEXT_ERROR;
	}
	return MM_NEXT_DOCUMENT;
}

MmNext
mm_mongo_cursor_next(MmMongoCursor *cursor, const uint8 **doc, uint32 *len,
					 MmSourceError *error)
{
	if (!mm_mongo_cursor_has_documents(cursor))
	{
		MmNext		next = mm_mongo_cursor_fetch(cursor, error);

		if (next != MM_NEXT_DOCUMENT)
			return next;
	}
	return walk_batch(cursor, doc, len, error);
}
