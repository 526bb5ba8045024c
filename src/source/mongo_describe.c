/*-------------------------------------------------------------------------
 *
 * mongo_describe.c
 *	  What collections there are, and what is known of them.
 *
 * listCollections tells kind, collation and the _id index, collStats the
 * estimated numbers.  A collection that does not exist is no error for
 * MongoDB, only an empty result; so existence is decided here, by
 * listCollections.
 *
 * Views have no numbers (counting one means running it): 0.  collStats is
 * deprecated since 6.2, but its successor answers per shard and has no word
 * on whether a collection is sharded.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "source/closest.h"
#include "source/mongo.h"

/*
 * Of so many documents, the share that matches a filter; of fewer than
 * MATCHING_LEAST nothing follows.  $sample reads and sorts all documents when
 * they are less than MM_MONGO_SAMPLE_SHARE times as many: these are counted.
 */
#define MATCHING_SAMPLE 1000
#define MATCHING_LEAST 10

bool
mm_mongo_describe_is_system(const MmCollection *collection)
{
	return strncmp(collection->name, "system.", 7) == 0;
}

/* The entries of a database, of one name if given.  NULL with error set. */
static MmMongoCursor *
open_list(MmMongoSource *source, const char *database, const char *name,
		  MmSourceError *error)
{
	bson_t	   *command = mm_mongo_bson();
	bson_t		filter;

	BSON_APPEND_INT32(command, "listCollections", 1);
	if (name)
	{
		BSON_APPEND_DOCUMENT_BEGIN(command, "filter", &filter);
		BSON_APPEND_UTF8(&filter, "name", mm_mongo_utf8(name));
		bson_append_document_end(command, &filter);
	}
	return mm_mongo_cursor_open(source, mm_mongo_utf8(database), command, 0,
								psprintf("%s.%s", database,
										 name ? name : "*"), error);
}

static bytea *
copy_document(const bson_iter_t *iter)
{
	const uint8 *data;
	uint32		len;
	bytea	   *copy;

	bson_iter_document(iter, &len, &data);
	copy = palloc(VARHDRSZ + len);
	SET_VARSIZE(copy, VARHDRSZ + len);
	memcpy(VARDATA(copy), data, len);
	return copy;
}

/* The options with which a collection was created. */
static void
read_options(MmCollection *collection, const bson_iter_t *options)
{
	bson_iter_t iter;

	if (!BSON_ITER_HOLDS_DOCUMENT(options) ||
		!bson_iter_recurse(options, &iter))
		return;
	while (bson_iter_next(&iter))
	{
		const char *key = bson_iter_key(&iter);

		if (strcmp(key, "capped") == 0)
			collection->capped = bson_iter_as_bool(&iter);
		else if (strcmp(key, "clusteredIndex") == 0)
			collection->clustered = bson_iter_as_bool(&iter) ||
				BSON_ITER_HOLDS_DOCUMENT(&iter);
		else if (strcmp(key, "collation") == 0 &&
				 BSON_ITER_HOLDS_DOCUMENT(&iter))
			collection->collation = copy_document(&iter);
	}
}

/* The UUID in what listCollections tells beside the options, or NULL. */
static bytea *
read_uuid(const bson_iter_t *info)
{
	bson_iter_t iter;
	bson_subtype_t subtype;
	const uint8 *data;
	uint32		len;
	bytea	   *uuid;

	if (!BSON_ITER_HOLDS_DOCUMENT(info) || !bson_iter_recurse(info, &iter) ||
		!bson_iter_find(&iter, "uuid") || !BSON_ITER_HOLDS_BINARY(&iter))
		return NULL;
	bson_iter_binary(&iter, &subtype, &len, &data);
	uuid = palloc(VARHDRSZ + len);
	SET_VARSIZE(uuid, VARHDRSZ + len);
	memcpy(VARDATA(uuid), data, len);
	return uuid;
}

static MmCollectionKind
parse_kind(const char *type)
{
	if (strcmp(type, "view") == 0)
		return MM_COLLECTION_VIEW;
	if (strcmp(type, "timeseries") == 0)
		return MM_COLLECTION_TIMESERIES;
	return MM_COLLECTION;
}

/* An entry of listCollections, without numbers. */
static MmCollection *
read_entry(const char *database, const uint8 *doc, uint32 len)
{
	MmCollection *collection = palloc0(sizeof(MmCollection));
	bson_t		bson;
	bson_iter_t iter;

	collection->database = pstrdup(database);
	collection->name = "";
	if (!bson_init_static(&bson, doc, len) || !bson_iter_init(&iter, &bson))
		return collection;
	while (bson_iter_next(&iter))
	{
		const char *key = bson_iter_key(&iter);

		if (strcmp(key, "name") == 0 && BSON_ITER_HOLDS_UTF8(&iter))
			collection->name = mm_mongo_text(bson_iter_utf8(&iter, NULL), -1);
		else if (strcmp(key, "type") == 0 && BSON_ITER_HOLDS_UTF8(&iter))
			collection->kind = parse_kind(bson_iter_utf8(&iter, NULL));
		else if (strcmp(key, "options") == 0)
			read_options(collection, &iter);
		else if (strcmp(key, "info") == 0)
			collection->uuid = read_uuid(&iter);
		else if (strcmp(key, "idIndex") == 0)
			collection->has_id_index = true;
	}
	if (collection->clustered)
		collection->has_id_index = true;
	if (collection->kind != MM_COLLECTION)
		collection->has_id_index = false;
	return collection;
}

/* Adds the numbers of collStats. */
static bool
add_stats(MmMongoSource *source, MmCollection *collection,
		  MmSourceError *error)
{
	bson_t	   *command = mm_mongo_bson();
	bson_iter_t iter;

	if (collection->kind == MM_COLLECTION_VIEW)
		return true;
	BSON_APPEND_UTF8(command, "collStats", mm_mongo_utf8(collection->name));
	if (!mm_mongo_run(source, mm_mongo_utf8(collection->database), command,
					  source->chosen, mm_mongo_ns(collection), error))
		return false;
	if (!bson_iter_init(&iter, source->reply))
		return true;
	while (bson_iter_next(&iter))
	{
		const char *key = bson_iter_key(&iter);

		if (strcmp(key, "count") == 0)
			collection->documents = bson_iter_as_int64(&iter);
		else if (strcmp(key, "size") == 0)
			collection->bytes = bson_iter_as_int64(&iter);
		else if (strcmp(key, "avgObjSize") == 0)
			collection->average_bytes = bson_iter_as_int64(&iter);
		else if (strcmp(key, "nindexes") == 0)
			collection->indexes = bson_iter_as_int64(&iter);
		else if (strcmp(key, "sharded") == 0)
			collection->sharded = bson_iter_as_bool(&iter);
	}
	return true;
}

bool
mm_mongo_describe_entries(MmMongoSource *source, const char *database,
						  const char *name, List **result,
						  MmSourceError *error)
{
	MmMongoCursor *cursor = open_list(source, database, name, error);
	const uint8 *doc;
	uint32		len;
	MmNext		next;

	*result = NIL;
	if (cursor == NULL)
		return false;
	while ((next = mm_mongo_cursor_next(cursor, &doc, &len,
										error)) == MM_NEXT_DOCUMENT)
		*result = lappend(*result, read_entry(database, doc, len));
	mm_mongo_cursor_close(cursor);
	return next == MM_NEXT_END;
}

/* The database whose name is nearest to a wrong one, or NULL. */
static const char *
closest_database(MmMongoSource *source, const char *database)
{
	bson_t	   *command = mm_mongo_bson();
	bson_iter_t iter;
	bson_iter_t entry;
	MmSourceError ignored;
	MmClosest	closest;

	mm_closest_init(&closest, database);
	BSON_APPEND_INT32(command, "listDatabases", 1);
	BSON_APPEND_BOOL(command, "nameOnly", true);
	if (!mm_mongo_run(source, "admin", command, 0, NULL, &ignored) ||
		!bson_iter_init_find(&iter, source->reply, "databases") ||
		!bson_iter_recurse(&iter, &iter))
		return NULL;
	while (bson_iter_next(&iter))
	{
		if (bson_iter_recurse(&iter, &entry) &&
			bson_iter_find(&entry, "name") && BSON_ITER_HOLDS_UTF8(&entry))
			mm_closest_try(&closest,
						   mm_mongo_text(bson_iter_utf8(&entry, NULL), -1));
	}
	return mm_closest_get(&closest);
}

/* Message 13. */
static void
set_missing_error(MmMongoSource *source, const char *database,
				  const char *name, MmSourceError *error)
{
	List	   *collections;
	ListCell   *lc;
	MmClosest	closest;
	const char *meant;
	char	   *hint = NULL;

	if (!mm_mongo_describe_entries(source, database, NULL, &collections,
								   error))
		return;
	mm_closest_init(&closest, name);
	foreach(lc, collections)
	{
		MmCollection *other = lfirst(lc);

		if (!mm_mongo_describe_is_system(other))
			mm_closest_try(&closest, other->name);
	}
	if ((meant = mm_closest_get(&closest)) != NULL)
		hint = psprintf("Perhaps you meant \"%s\".", meant);
	else if (collections == NIL &&
			 (meant = closest_database(source, database)) != NULL)
		hint = psprintf("Perhaps you meant database \"%s\".", meant);
	mm_mongo_error_fill(error, ERRCODE_FDW_TABLE_NOT_FOUND,
						psprintf("collection \"%s.%s\" does not exist",
								 database, name),
						NULL, hint);
}

/*
 * One server for all questions, until source->chosen is 0 again: another may
 * lag behind.
 */
static bool
choose_server(MmMongoSource *source, const char *database,
			  MmSourceError *error)
{
	source->pinned = 0;
	source->chosen = mm_mongo_select_server(source, mm_mongo_utf8(database),
											NULL, error);
	return source->chosen != 0;
}

bool
mm_mongo_describe(MmSource *base, const char *database,
				  const char *name, MmCollection **result,
				  MmSourceError *error)
{
	MmMongoSource *source = (MmMongoSource *) base;
	List	   *entries;
	bool		ok;

	if (!choose_server(source, database, error))
		return false;
	ok = mm_mongo_describe_entries(source, database, name, &entries, error);
	if (ok && entries == NIL)
	{
		set_missing_error(source, database, name, error);
		ok = false;
	}
	if (ok)
	{
		*result = linitial(entries);
		ok = add_stats(source, *result, error);
	}
	source->chosen = 0;
	return ok;
}

/* aggregate [{$sample}, {$match}, {$count}], the first only if sampled. */
static bson_t *
make_matching_query(const MmCollection *collection, const char *filter,
					bool sampled, int timeout_ms)
{
	bson_t		pipeline;
	bson_t	   *command = mm_mongo_begin_aggregate(collection, &pipeline);
	bson_t		stage;
	bson_t		child;

	if (sampled)
		mm_mongo_add_sample(&pipeline, "0", MATCHING_SAMPLE);
	mm_mongo_add_match(&pipeline, sampled ? "1" : "0", filter);
	BSON_APPEND_DOCUMENT_BEGIN(&pipeline, sampled ? "2" : "1", &stage);
	BSON_APPEND_UTF8(&stage, "$count", "n");
	bson_append_document_end(&pipeline, &stage);
	bson_append_array_end(command, &pipeline);
	BSON_APPEND_DOCUMENT_BEGIN(command, "cursor", &child);
	bson_append_document_end(command, &child);
	mm_mongo_add_collation(command, collection);
	BSON_APPEND_INT32(command, "maxTimeMS", timeout_ms);
	return command;
}

/* The one number of a reply; 0 when nothing was counted. */
static int64
read_count(const uint8 *doc, uint32 len)
{
	bson_t		view;
	bson_iter_t iter;

	return bson_init_static(&view, doc, len) &&
		bson_iter_init_find(&iter, &view, "n") ?
		bson_iter_as_int64(&iter) : 0;
}

bool
mm_mongo_describe_matching(MmSource *base, const MmCollection *collection,
						   const char *filter, int timeout_ms,
						   int64 *documents, MmSourceError *error)
{
	bool		sampled = collection->documents >=
		MATCHING_SAMPLE * MM_MONGO_SAMPLE_SHARE;
	MmMongoCursor *cursor;
	const uint8 *doc;
	uint32		len;
	MmNext		next;
	int64		n = 0;

	cursor = mm_mongo_cursor_open((MmMongoSource *) base,
								  mm_mongo_utf8(collection->database),
								  make_matching_query(collection, filter,
													  sampled, timeout_ms),
								  0, mm_mongo_ns(collection), error);
	if (cursor == NULL)
		return false;
	next = mm_mongo_cursor_next(cursor, &doc, &len, error);
	if (next == MM_NEXT_DOCUMENT)
		n = read_count(doc, len);
	mm_mongo_cursor_close(cursor);
	if (sampled)
		n = n < MATCHING_LEAST ? 0 :
			(double) n * collection->documents / MATCHING_SAMPLE;
	*documents = n;
	return next != MM_NEXT_ERROR;
}

/* Does a name match a pattern with * and ?, from begin to end? */
static bool
matches(const char *name, const char *pattern)
{
	const char *star = NULL;
	const char *retry = NULL;

	while (*name)
	{
		if (*pattern == '*')
		{
			star = pattern++;
			retry = name;
		}
		else if (*pattern == *name || *pattern == '?')
		{
			/* "?" is one character, not one byte. */
			name += *pattern == '?' ? pg_mblen(name) : 1;
			pattern++;
		}
		else if (star)
		{
			pattern = star + 1;
			name = ++retry;
		}
		else
			return false;
	}
	while (*pattern == '*')
		pattern++;
	return *pattern == '\0';
}

static int
compare_names(const ListCell *a, const ListCell *b)
{
	return strcmp(((MmCollection *) lfirst(a))->name,
				  ((MmCollection *) lfirst(b))->name);
}

bool
mm_mongo_describe_list(MmSource *base, const char *database,
					   const char *pattern, List **result,
					   MmSourceError *error)
{
	MmMongoSource *source = (MmMongoSource *) base;
	List	   *entries;
	ListCell   *lc;
	bool		ok;

	*result = NIL;
	if (database == NULL)
		database = source->database;
	if (database == NULL)
	{
		mm_mongo_error_fill(error, ERRCODE_INVALID_PARAMETER_VALUE,
							"no database is given", NULL,
							"Name one in the call, or in the connection string behind the hosts.");
		return false;
	}
	if (!choose_server(source, database, error))
		return false;
	ok = mm_mongo_describe_entries(source, database, NULL, &entries, error);
	if (!ok)
		entries = NIL;
	foreach(lc, entries)
	{
		MmCollection *collection = lfirst(lc);

		if (mm_mongo_describe_is_system(collection) ||
			!matches(collection->name, pattern))
			continue;
		/* No numbers for what we may not read, or was dropped just now. */
		if (!add_stats(source, collection, error) && source->broken)
		{
			ok = false;
			break;
		}
		*result = lappend(*result, collection);
	}
	source->chosen = 0;
	list_sort(*result, compare_names);
	return ok;
}
