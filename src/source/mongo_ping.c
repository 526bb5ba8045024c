/*-------------------------------------------------------------------------
 *
 * mongo_ping.c
 *	  migrate_ping(): what works on a connection, item by item.
 *
 * The source is open already, so a client has connected and authenticated.
 * Each item runs a command of its own; when it fails, the item tells so, with
 * the text that an ERROR would have.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "portability/instr_time.h"
#include "source/mongo.h"

/* The oldest server that is supported. */
#define MIN_SERVER_MAJOR	4
#define MIN_SERVER_MINOR	4

typedef struct PingState
{
	MmMongoSource *source;
	const char *database;		/* NULL: none is named */
	List	   *items;
	bool		has_oplog;		/* replica set or mongos */
} PingState;

static void
add_item(PingState *state, const char *item, const char *status,
		 const char *detail)
{
	MmPingItem *row = palloc(sizeof(MmPingItem));

	row->item = pstrdup(item);
	row->status = pstrdup(status);
	row->detail = pstrdup(detail);
	state->items = lappend(state->items, row);
}

static void
add_failure(PingState *state, const char *item, const char *status,
			const MmSourceError *error)
{
	add_item(state, item, status, mm_source_tell(error));
}

/* Runs {name: 1} on admin; false adds a failed item. */
static bool
run_simple(PingState *state, const char *item, const char *name)
{
	bson_t	   *command = mm_mongo_bson();
	MmSourceError error = {0};

	BSON_APPEND_INT32(command, name, 1);
	if (mm_mongo_run(state->source, "admin", command, 0, NULL, &error))
		return true;
	add_failure(state, item, "error", &error);
	return false;
}

/* A string of the last reply, NULL if it has none; path with dots. */
static char *
reply_string(PingState *state, const char *path)
{
	bson_iter_t iter;
	bson_iter_t found;

	if (!bson_iter_init(&iter, state->source->reply) ||
		!bson_iter_find_descendant(&iter, path, &found) ||
		!BSON_ITER_HOLDS_UTF8(&found))
		return NULL;
	return mm_mongo_text(bson_iter_utf8(&found, NULL), -1);
}

static bool
reply_bool(PingState *state, const char *name)
{
	bson_iter_t iter;

	return bson_iter_init_find(&iter, state->source->reply, name) &&
		bson_iter_as_bool(&iter);
}

static int
reply_array_length(PingState *state, const char *name)
{
	bson_iter_t iter;
	int			n = 0;

	if (bson_iter_init_find(&iter, state->source->reply, name) &&
		BSON_ITER_HOLDS_ARRAY(&iter) && bson_iter_recurse(&iter, &iter))
	{
		while (bson_iter_next(&iter))
			n++;
	}
	return n;
}

static void
check_connection(PingState *state)
{
	instr_time	start;
	instr_time	duration;

	INSTR_TIME_SET_CURRENT(start);
	if (!run_simple(state, "connect", "ping"))
		return;
	INSTR_TIME_SET_CURRENT(duration);
	INSTR_TIME_SUBTRACT(duration, start);
	add_item(state, "connect", "ok",
			 psprintf("answer from \"%s\" in %.1f ms", state->source->name,
					  INSTR_TIME_GET_MILLISEC(duration)));
}

static void
check_topology(PingState *state)
{
	char	   *set_name;
	const char *role = "other";

	if (!run_simple(state, "topology", "hello"))
		return;
	set_name = reply_string(state, "setName");
	if (set_name)
	{
		int			members = reply_array_length(state, "hosts") +
			reply_array_length(state, "passives");

		if (reply_bool(state, "isWritablePrimary"))
			role = "primary";
		else if (reply_bool(state, "secondary"))
			role = "secondary";
		state->has_oplog = true;
		add_item(state, "topology", "ok",
				 psprintf("replica set \"%s\", %d member%s, reading from a %s",
						  set_name, members, members == 1 ? "" : "s", role));
	}
	else if (reply_string(state, "msg"))
	{
		state->has_oplog = true;
		add_item(state, "topology", "ok", "sharded cluster");
	}
	else
		add_item(state, "topology", "ok", "standalone server");
}

static void
check_server(PingState *state)
{
	char	   *version;
	int			major = 0;
	int			minor = 0;

	if (!run_simple(state, "server", "buildInfo"))
		return;
	version = reply_string(state, "version");
	if (version == NULL || sscanf(version, "%d.%d", &major, &minor) != 2)
		add_item(state, "server", "warning", "version unknown");
	else if (major < MIN_SERVER_MAJOR ||
			 (major == MIN_SERVER_MAJOR && minor < MIN_SERVER_MINOR))
		add_item(state, "server", "warning",
				 psprintf("MongoDB %s, supported are %d.%d and later",
						  version, MIN_SERVER_MAJOR, MIN_SERVER_MINOR));
	else
		add_item(state, "server", "ok", psprintf("MongoDB %s", version));
}

static void
check_authentication(PingState *state)
{
	char	   *user;
	char	   *database;

	if (!run_simple(state, "authentication", "connectionStatus"))
		return;
	user = reply_string(state, "authInfo.authenticatedUsers.0.user");
	database = reply_string(state, "authInfo.authenticatedUsers.0.db");
	if (user && database)
		add_item(state, "authentication", "ok",
				 psprintf("user \"%s\" of database \"%s\"", user, database));
	else
		add_item(state, "authentication", "ok",
				 "not authenticated, no user name is given");
}

/* Without a database: may we see any? */
static void
check_listing(PingState *state)
{
	bson_t	   *command = mm_mongo_bson();
	MmSourceError error = {0};

	BSON_APPEND_INT32(command, "listDatabases", 1);
	BSON_APPEND_BOOL(command, "nameOnly", true);
	if (mm_mongo_run(state->source, "admin", command, 0, NULL, &error))
		add_item(state, "read privileges", "ok",
				 psprintf("%d databases visible, none is named to look into",
						  reply_array_length(state, "databases")));
	else
		add_failure(state, "read privileges", "error", &error);
}

/* Reads a first document of a collection. */
static void
check_collection(PingState *state, MmCollection *collection, int ncollections)
{
	MmSource   *base = &state->source->base;
	MmSourceError error = {0};
	const uint8 *doc;
	uint32		len;
	MmStream   *stream = mm_mongo_read_open_sample(base, collection, NULL, 0,
												   0, &error);

	if (stream == NULL ||
		mm_mongo_read_next(stream, &doc, &len, &error) == MM_NEXT_ERROR)
		add_failure(state, "read privileges", "error", &error);
	else
		add_item(state, "read privileges", "ok",
				 psprintf("%d collection%s in database \"%s\", \"%s\" is readable",
						  ncollections, ncollections == 1 ? "" : "s",
						  state->database, collection->name));
	if (stream)
		mm_mongo_read_close(stream);
}

static void
check_reading(PingState *state)
{
	MmSourceError error = {0};
	MmCollection *collection = NULL;
	List	   *entries;
	ListCell   *lc;
	int			n = 0;

	if (state->database == NULL)
	{
		check_listing(state);
		return;
	}
	if (!mm_mongo_describe_entries(state->source, state->database, NULL,
								   &entries, &error))
	{
		add_failure(state, "read privileges", "error", &error);
		return;
	}
	foreach(lc, entries)
	{
		if (mm_mongo_describe_is_system(lfirst(lc)))
			continue;
		n++;
		/* A view may be slow. */
		if (collection == NULL || collection->kind == MM_COLLECTION_VIEW)
			collection = lfirst(lc);
	}
	if (collection)
		check_collection(state, collection, n);
	else
		add_item(state, "read privileges", "warning",
				 psprintf("database \"%s\" has no collections",
						  state->database));
}

/* Opens a change stream and leaves it, without waiting for an event. */
static void
check_change_streams(PingState *state)
{
	bson_t	   *command = mm_mongo_bson();
	bson_t		pipeline;
	bson_t		stage;
	bson_t		options;
	const char *database = state->database ? state->database : "admin";
	MmMongoCursor *cursor;
	MmSourceError error = {0};

	if (!state->has_oplog)
	{
		add_item(state, "change streams", "warning",
				 "need a replica set or a sharded cluster");
		return;
	}
	BSON_APPEND_INT32(command, "aggregate", 1);
	BSON_APPEND_ARRAY_BEGIN(command, "pipeline", &pipeline);
	BSON_APPEND_DOCUMENT_BEGIN(&pipeline, "0", &stage);
	BSON_APPEND_DOCUMENT_BEGIN(&stage, "$changeStream", &options);
	if (state->database == NULL)
		BSON_APPEND_BOOL(&options, "allChangesForCluster", true);
	bson_append_document_end(&stage, &options);
	bson_append_document_end(&pipeline, &stage);
	bson_append_array_end(command, &pipeline);
	BSON_APPEND_DOCUMENT_BEGIN(command, "cursor", &options);
	BSON_APPEND_INT32(&options, "batchSize", 0);
	bson_append_document_end(command, &options);
	cursor = mm_mongo_cursor_open(state->source, mm_mongo_utf8(database),
								  command, 0, psprintf("%s.*", database),
								  &error);
	if (cursor)
	{
		mm_mongo_cursor_close(cursor);
		add_item(state, "change streams", "ok", "can be opened");
	}
	else
		add_failure(state, "change streams", "warning", &error);
}

List *
mm_mongo_ping(MmSource *base, const char *database)
{
	MmMongoSource *source = (MmMongoSource *) base;
	PingState	state = {
		.source = source,
		.database = database ? database : source->database,
	};

	check_connection(&state);
	check_topology(&state);
	check_server(&state);
	check_authentication(&state);
	check_reading(&state);
	check_change_streams(&state);
	return state.items;
}
