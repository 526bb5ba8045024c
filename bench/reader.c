/*-------------------------------------------------------------------------
 *
 * reader.c
 *	  Reads a MongoDB collection as fast as we know how.
 *
 * find and getMore are sent as commands, and the documents are walked in the
 * reply: two to five times cheaper for the client than a cursor of the driver.
 * Replies are of about 2 MB.  Three ways to read, see reader.h; what is known
 * of them:
 *
 * - Ranges of _id are bounds in the index (min, max, hint), from $sample.
 *	 A document whose _id is MaxKey is missed, which no collection of the
 *	 benchmark has.
 * - Record ranges start behind a record ($_resumeAfter) in natural order.  A
 *	 reply tells the record id of its last document.  No reply is asked for
 *	 that has more documents than record ids are left; as there are no gaps
 *	 in a collection that was only filled, the last one ends at the bound.
 *	 If it does not, it is read once more with showRecordId.
 *
 *-------------------------------------------------------------------------
 */
#include "reader.h"

#include <malloc.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REPLY_BYTES (2 * 1024 * 1024)
#define SAMPLES_PER_RANGE 20

static void
fail(const char *what, const char *message)
{
	fprintf(stderr, "reader: %s: %s\n", what, message);
	exit(1);
}

void
reader_begin(void)
{
	mallopt(M_MMAP_THRESHOLD, 1 << 30);
	mallopt(M_TRIM_THRESHOLD, 1 << 30);
	mongoc_init();
}

mongoc_client_t *
reader_connect(const char *uri)
{
	mongoc_client_t *client = mongoc_client_new(uri);

	if (client == NULL)
		fail("connection string", uri);
	return client;
}

/* ---------------------------------------------------------------------
 * Commands
 * ---------------------------------------------------------------------
 */

/* The database part of a namespace, in a buffer that the next call reuses. */
static const char *
database_of(const char *namespace)
{
	static char database[256];
	const char *dot = strchr(namespace, '.');

	if (dot == NULL || dot - namespace >= (int) sizeof(database))
		fail("not DATABASE.COLLECTION", namespace);
	snprintf(database, sizeof(database), "%.*s", (int) (dot - namespace),
			 namespace);
	return database;
}

static const char *
collection_of(const char *namespace)
{
	return strchr(namespace, '.') + 1;
}

/* A reply with a cursor in it. */
typedef struct Batch
{
	bson_t		reply;
	const uint8_t *documents;	/* the array */
	uint32_t	len;
	int64_t		cursor;			/* 0: nothing left */
	int64_t		token;			/* record id of the last document, or 0 */
} Batch;

static void
take_cursor(Batch *batch)
{
	bson_iter_t iter;
	bson_iter_t child;
	bson_iter_t token;

	if (!bson_iter_init_find(&iter, &batch->reply, "cursor") ||
		!bson_iter_recurse(&iter, &child))
		fail("reply", "no cursor");
	while (bson_iter_next(&child))
	{
		const char *key = bson_iter_key(&child);

		if (strcmp(key, "firstBatch") == 0 || strcmp(key, "nextBatch") == 0)
			bson_iter_array(&child, &batch->len, &batch->documents);
		else if (strcmp(key, "id") == 0)
			batch->cursor = bson_iter_int64(&child);
		else if (strcmp(key, "postBatchResumeToken") == 0 &&
				 bson_iter_recurse(&child, &token) &&
				 bson_iter_find(&token, "$recordId"))
			batch->token = bson_iter_as_int64(&token);
	}
}

/* Runs a command and destroys it. */
static void
run(mongoc_client_t *client, const char *namespace, bson_t *command,
	Batch *batch)
{
	bson_error_t error;

	memset(batch, 0, sizeof(Batch));
	if (!mongoc_client_command_simple(client, database_of(namespace), command,
									  NULL, &batch->reply, &error))
		fail("command", error.message);
	bson_destroy(command);
	take_cursor(batch);
}

static bson_t *
get_more(const char *namespace, int64_t cursor, int32_t documents)
{
	return BCON_NEW("getMore", BCON_INT64(cursor),
					"collection", BCON_UTF8(collection_of(namespace)),
					"batchSize", BCON_INT32(documents));
}

static void
close_cursor(mongoc_client_t *client, const char *namespace, int64_t cursor)
{
	bson_t	   *command;

	if (cursor == 0)
		return;
	command = BCON_NEW("killCursors", BCON_UTF8(collection_of(namespace)),
					   "cursors", "[", BCON_INT64(cursor), "]");
	mongoc_client_command_simple(client, database_of(namespace), command,
								 NULL, NULL, NULL);
	bson_destroy(command);
}

/* ---------------------------------------------------------------------
 * Documents of a reply
 * ---------------------------------------------------------------------
 */

/* The record id that showRecordId puts at the end of a document. */
static int64_t
record_of(const uint8_t *doc, uint32_t len)
{
	const char	name[] = "$recordId";
	const uint8_t *element = doc + len - 1 - 8 - sizeof(name) - 1;
	int64_t		record;

	if (element[0] != BSON_TYPE_INT64 ||
		memcmp(element + 1, name, sizeof(name)) != 0)
		fail("reply", "no $recordId");
	memcpy(&record, element + 1 + sizeof(name), sizeof(record));
	return record;
}

/*
 * Gives the documents of a reply out.  An array's elements are a type, the
 * digits of the index, NUL, and here a document.  With "after" and "upper"
 * only those whose record ids are between them, else all (-1).
 */
static int64_t
walk(const Batch *batch, int64_t after, int64_t upper,
	 ReaderConsumer consumer, void *arg)
{
	const uint8_t *p = batch->documents + 4;
	int64_t		n = 0;

	while (*p != 0)
	{
		uint32_t	len;

		p += 1 + strlen((const char *) p + 1) + 1;
		memcpy(&len, p, sizeof(len));
		if (upper < 0 ||
			(record_of(p, len) > after && record_of(p, len) <= upper))
		{
			consumer(arg, p, len);
			n++;
		}
		p += len;
	}
	return n;
}

/* ---------------------------------------------------------------------
 * Bounds
 * ---------------------------------------------------------------------
 */

static int32_t
reply_documents(mongoc_client_t *client, const char *namespace)
{
	bson_t	   *command = BCON_NEW("collStats",
								   BCON_UTF8(collection_of(namespace)));
	bson_t		reply;
	bson_iter_t iter;
	bson_error_t error;
	int64_t		average = 0;

	if (!mongoc_client_command_simple(client, database_of(namespace), command,
									  NULL, &reply, &error))
		fail("collStats", error.message);
	if (bson_iter_init_find(&iter, &reply, "avgObjSize"))
		average = bson_iter_as_int64(&iter);
	bson_destroy(&reply);
	bson_destroy(command);
	return average > 0 ? (int32_t) (REPLY_BYTES / average) + 1 : 1000;
}

/* Every so many of a sorted sample is a bound. */
typedef struct Sample
{
	int			n;				/* documents seen */
	int			wanted;			/* bounds */
	ReaderRanges *ranges;
	bson_t		ids;			/* all of them, an array for $in */
	int64_t    *records;		/* theirs */
} Sample;

static void
take_id(void *arg, const uint8_t *doc, uint32_t len)
{
	Sample	   *sample = arg;
	ReaderRanges *ranges = sample->ranges;
	bson_t		view;
	bson_iter_t iter;
	char		buffer[16];
	const char *key;

	bson_init_static(&view, doc, len);
	bson_iter_init_find(&iter, &view, "_id");
	bson_uint32_to_string((uint32_t) sample->n, &key, buffer, sizeof(buffer));
	bson_append_iter(&sample->ids, key, -1, &iter);
	if (++sample->n % SAMPLES_PER_RANGE == 0 && ranges->n < sample->wanted)
		bson_copy_to(&view, &ranges->ids[ranges->n++]);
}

static void
find_ids(mongoc_client_t *client, const char *namespace, Sample *sample)
{
	int32_t		size = (sample->wanted + 1) * SAMPLES_PER_RANGE;
	Batch		batch;

	run(client, namespace,
		BCON_NEW("aggregate", BCON_UTF8(collection_of(namespace)),
				 "pipeline", "[",
				 "{", "$sample", "{", "size", BCON_INT32(size), "}", "}",
				 "{", "$project", "{", "_id", BCON_INT32(1), "}", "}",
				 "{", "$sort", "{", "_id", BCON_INT32(1), "}", "}", "]",
				 "cursor", "{", "batchSize", BCON_INT32(size + 1), "}"),
		&batch);
	walk(&batch, 0, -1, take_id, sample);
	bson_destroy(&batch.reply);
}

static void
take_record(void *arg, const uint8_t *doc, uint32_t len)
{
	Sample	   *sample = arg;

	sample->records[sample->n++] = record_of(doc, len);
}

static int
compare_records(const void *a, const void *b)
{
	int64_t		x = *(const int64_t *) a;
	int64_t		y = *(const int64_t *) b;

	return (x > y) - (x < y);
}

/* The _ids of the sample as record ids, whose order is another. */
static void
find_records(mongoc_client_t *client, const char *namespace, Sample *sample)
{
	ReaderRanges *ranges = sample->ranges;
	Batch		batch;

	run(client, namespace,
		BCON_NEW("find", BCON_UTF8(collection_of(namespace)),
				 "filter", "{", "_id", "{", "$in", BCON_ARRAY(&sample->ids),
				 "}", "}",
				 "projection", "{", "_id", BCON_INT32(1), "}",
				 "showRecordId", BCON_BOOL(true),
				 "batchSize", BCON_INT32(sample->n + 1)), &batch);
	sample->records = calloc((size_t) sample->n + 1, sizeof(int64_t));
	sample->n = 0;
	walk(&batch, 0, -1, take_record, sample);
	bson_destroy(&batch.reply);
	qsort(sample->records, (size_t) sample->n, sizeof(int64_t),
		  compare_records);
	for (ranges->n = 0; ranges->n < sample->wanted &&
		 (ranges->n + 1) * SAMPLES_PER_RANGE <= sample->n; ranges->n++)
		ranges->records[ranges->n] =
			sample->records[(ranges->n + 1) * SAMPLES_PER_RANGE - 1];
	free(sample->records);
}

void
reader_cut(mongoc_client_t *client, const char *namespace, ReaderSplit split,
		   int n, ReaderRanges *ranges)
{
	Sample		sample = {.ranges = ranges, .wanted = n - 1};

	ranges->split = split;
	ranges->n = 0;
	ranges->reply_documents = reply_documents(client, namespace);
	if (split == READER_NATURAL || n < 2)
		return;
	bson_init(&sample.ids);
	find_ids(client, namespace, &sample);
	if (split == READER_RECORD)
		find_records(client, namespace, &sample);
	bson_destroy(&sample.ids);
}

/* ---------------------------------------------------------------------
 * Reading
 * ---------------------------------------------------------------------
 */

/* Natural order, behind a record; 0: from the beginning. */
static bson_t *
scan(const char *namespace, int64_t after, bool with_ids, int32_t documents)
{
	bson_t	   *command = BCON_NEW("find", BCON_UTF8(collection_of(namespace)),
								   "hint", "{", "$natural", BCON_INT32(1), "}",
								   "$_requestResumeToken", BCON_BOOL(true),
								   "showRecordId", BCON_BOOL(with_ids),
								   "batchSize", BCON_INT32(documents));

	if (after > 0)
		BCON_APPEND(command, "$_resumeAfter", "{", "$recordId",
					BCON_INT64(after), "}");
	return command;
}

static bson_t *
index_range(const char *namespace, const ReaderRanges *ranges, int i)
{
	bson_t	   *command = BCON_NEW("find", BCON_UTF8(collection_of(namespace)),
								   "hint", "{", "_id", BCON_INT32(1), "}",
								   "batchSize",
								   BCON_INT32(ranges->reply_documents));

	if (i > 0)
		BSON_APPEND_DOCUMENT(command, "min", &ranges->ids[i - 1]);
	if (i < ranges->n)
		BSON_APPEND_DOCUMENT(command, "max", &ranges->ids[i]);
	return command;
}

/* What is left of a range whose last reply went beyond the bound. */
static int64_t
read_rest(mongoc_client_t *client, const char *namespace, int64_t after,
		  int64_t upper, int32_t documents, ReaderConsumer consumer, void *arg)
{
	Batch		batch;
	int64_t		n = 0;

	run(client, namespace, scan(namespace, after, true, documents), &batch);
	for (;;)
	{
		int64_t		cursor = batch.cursor;
		bool		done = cursor == 0 || batch.token >= upper;

		n += walk(&batch, after, upper, consumer, arg);
		bson_destroy(&batch.reply);
		if (done)
		{
			close_cursor(client, namespace, cursor);
			return n;
		}
		run(client, namespace, get_more(namespace, cursor, documents), &batch);
	}
}

static int32_t
documents_left(const ReaderRanges *ranges, int64_t after, int64_t upper)
{
	int64_t		size = ranges->reply_documents;

	return (int32_t) (upper - after < size ? upper - after : size);
}

static int64_t
read_records(mongoc_client_t *client, const char *namespace,
			 const ReaderRanges *ranges, int i, ReaderConsumer consumer,
			 void *arg)
{
	int64_t		after = i > 0 ? ranges->records[i - 1] : 0;
	int64_t		upper = i < ranges->n ? ranges->records[i] : INT64_MAX;
	int64_t		n = 0;
	Batch		batch;

	run(client, namespace, scan(namespace, after, false,
								documents_left(ranges, after, upper)), &batch);
	for (;;)
	{
		int64_t		cursor = batch.cursor;

		if (batch.token > upper)
		{
			bson_destroy(&batch.reply);
			close_cursor(client, namespace, cursor);
			return n + read_rest(client, namespace, after, upper,
								 ranges->reply_documents, consumer, arg);
		}
		n += walk(&batch, 0, -1, consumer, arg);
		after = batch.token;
		bson_destroy(&batch.reply);
		if (cursor == 0 || after >= upper)
		{
			close_cursor(client, namespace, cursor);
			return n;
		}
		run(client, namespace,
			get_more(namespace, cursor,
					 documents_left(ranges, after, upper)), &batch);
	}
}

static int64_t
read_index(mongoc_client_t *client, const char *namespace,
		   const ReaderRanges *ranges, int i, ReaderConsumer consumer,
		   void *arg)
{
	int64_t		n = 0;
	Batch		batch;

	run(client, namespace, index_range(namespace, ranges, i), &batch);
	for (;;)
	{
		int64_t		cursor = batch.cursor;

		n += walk(&batch, 0, -1, consumer, arg);
		bson_destroy(&batch.reply);
		if (cursor == 0)
			return n;
		run(client, namespace,
			get_more(namespace, cursor, ranges->reply_documents), &batch);
	}
}

int64_t
reader_read(mongoc_client_t *client, const char *namespace,
			const ReaderRanges *ranges, int i, ReaderConsumer consumer,
			void *arg)
{
	if (ranges->split == READER_ID)
		return read_index(client, namespace, ranges, i, consumer, arg);
	return read_records(client, namespace, ranges, i, consumer, arg);
}
