/*-------------------------------------------------------------------------
 *
 * mongo_lag.c
 *	  Chooses the server that is read: no member that lags behind its primary.
 *
 * What is read from a secondary is what it has applied.  One that lags has
 * not yet the newest documents, nor perhaps the collection; a migration that
 * begins right behind the last write would miss them, and nobody would be
 * told.  So before a secondary is read for the first time on a connection, the
 * primary is asked for the time of its last operation, and the secondary is
 * made to wait until it has that one: causal consistency, as in "Causal
 * Consistency and Read and Write Concerns" of MongoDB's manual.  What it has
 * applied it keeps, so that once is enough.  If it takes too long, another
 * member is chosen, if there is one.
 *
 * The wait is a listCollections, with a read concern of afterClusterTime,
 * that finds nothing: any user may run it, and a limit of its own does not
 * hold for the cursor of a find.
 *
 * Nothing is waited for when there is no primary to ask: none is elected, or
 * the connection string names one server only (directConnection).  Nor with
 * mongos, which cannot tell for all shards; nor with servers that do not know
 * of such times.  A primary that the secondary knows, and that cannot be
 * reached, is another matter: a load waits for it.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "source/mongo.h"
#include "source/mongo_wire.h"

#define UNREACHABLE_HINT \
	"Let it be reached, or name the member alone, with directConnection=true and without replicaSet, to read what it has."

/* Choices at random, to find another than certain members. */
#define SELECT_TIMES		16

typedef struct OperationTime
{
	uint32		seconds;		/* since 1970; 0: unknown */
	uint32		increment;
} OperationTime;

/* Sets *host to "host:port", if there is room for it. */
static bool
is_secondary(MmMongoSource *source, uint32 server_id, char *host, size_t size)
{
	mongoc_server_description_t *server =
		mongoc_client_get_server_description(source->client, server_id);
	bool		result = server &&
		strcmp(mongoc_server_description_type(server), "RSSecondary") == 0;

	if (result)
		strlcpy(host, mongoc_server_description_host(server)->host_and_port,
				size);
	mongoc_server_description_destroy(server);
	return result;
}

/* 0: there is none, or none that can be reached. */
static bool
find_primary(MmMongoSource *source, uint32 *server_id, MmSourceError *error)
{
	bson_error_t failure = {0};
	mongoc_server_description_t *server;

	*server_id = 0;
	mm_mongo_begin(source);
	server = mongoc_client_select_server(source->client, true, NULL, &failure);
	if (server)
		*server_id = mongoc_server_description_id(server);
	mongoc_server_description_destroy(server);
	return mm_mongo_finish(source,
						   server || source->wire.leave == MM_WIRE_STAY,
						   &failure, NULL, error);
}

/* The primary that a secondary follows, or NULL. */
static char *
name_primary(MmMongoSource *source, uint32 server_id)
{
	mongoc_server_description_t *server =
		mongoc_client_get_server_description(source->client, server_id);
	bson_iter_t iter;
	char	   *result = NULL;

	if (server && bson_iter_init_find(&iter,
									  mongoc_server_description_hello_response(server),
									  "primary") && BSON_ITER_HOLDS_UTF8(&iter))
		result = mm_mongo_text(bson_iter_utf8(&iter, NULL), -1);
	mongoc_server_description_destroy(server);
	return result;
}

/*
 * No primary answers.  That there is none is told by a secondary that names
 * none; if it names one, that one cannot be reached, be it for a moment: a
 * load waits until it can, a session that looks around is told.
 */
static bool
miss_primary(MmMongoSource *source, uint32 server_id, const char *host,
			 MmSourceError *error)
{
	char	   *primary = name_primary(source, server_id);
	char		again[BSON_HOST_NAME_MAX + 8];
	char	   *message;
	char	   *detail;

	/* What was known of it is gone when it did not answer this time. */
	if (!is_secondary(source, server_id, again, sizeof(again)))
	{
		mm_mongo_error_fill(error, ERRCODE_FDW_UNABLE_TO_ESTABLISH_CONNECTION,
							psprintf("member %s of MongoDB server \"%s\" is not available",
									 host, source->name),
							"It was a secondary, and does not answer now.",
							NULL);
		error->transient = true;
		return false;
	}
	if (primary == NULL)
		return true;
	message = psprintf("cannot tell whether member %s of MongoDB server \"%s\" lags behind the primary",
					   host, source->name);
	detail = psprintf("The primary, %s, cannot be reached from the machine PostgreSQL runs on.",
					  primary);
	if (!mm_mongo_is_worker)
	{
		ereport(WARNING,
				(errmsg("%s", message), errdetail_internal("%s", detail),
				 errhint("A load would wait for it. " UNREACHABLE_HINT)));
		return true;
	}
	mm_mongo_error_fill(error, ERRCODE_FDW_UNABLE_TO_ESTABLISH_CONNECTION,
						message, detail, UNREACHABLE_HINT);
	error->transient = true;
	return false;
}

/* False: what it answers is no answer. */
static bool
ask_primary(MmMongoSource *source, uint32 server_id, OperationTime *time,
			MmSourceError *error)
{
	bson_t	   *ping = mm_mongo_bson();
	bson_iter_t iter;

	BSON_APPEND_INT32(ping, "ping", 1);
	if (!mm_mongo_run(source, "admin", ping, server_id, NULL, error))
		return !source->broken && !error->transient;
	if (bson_iter_init_find(&iter, source->reply, "operationTime") &&
		BSON_ITER_HOLDS_TIMESTAMP(&iter))
		bson_iter_timestamp(&iter, &time->seconds, &time->increment);
	return true;
}

/*
 * What a secondary has to have.  A worker keeps it: what the primary writes
 * while a load runs is no part of it, and a member that is always ten seconds
 * late would never be there.
 */
static bool
find_time(MmMongoSource *source, uint32 server_id, const char *host,
		  OperationTime *time, MmSourceError *error)
{
	static OperationTime begun = {0};
	uint32		primary;

	*time = begun;
	if (time->seconds != 0)
		return true;
	if (!find_primary(source, &primary, error))
		return false;
	if (primary == 0)
		return miss_primary(source, server_id, host, error);
	if (primary != server_id && !ask_primary(source, primary, time, error))
		return false;
	if (mm_mongo_is_worker)
		begun = *time;
	return true;
}

static bson_t *
make_wait(const OperationTime *time, int timeout_ms)
{
	bson_t	   *command = mm_mongo_bson();
	bson_t		child;

	BSON_APPEND_INT32(command, "listCollections", 1);
	BSON_APPEND_BOOL(command, "nameOnly", true);
	BSON_APPEND_BOOL(command, "authorizedCollections", true);
	BSON_APPEND_DOCUMENT_BEGIN(command, "filter", &child);
	BSON_APPEND_UTF8(&child, "name", "");
	bson_append_document_end(command, &child);
	BSON_APPEND_DOCUMENT_BEGIN(command, "readConcern", &child);
	BSON_APPEND_TIMESTAMP(&child, "afterClusterTime", time->seconds,
						  time->increment);
	bson_append_document_end(command, &child);
	BSON_APPEND_INT32(command, "maxTimeMS", timeout_ms);
	return command;
}

/* As long as a server may take to connect, but it must get to answer. */
static int
patience(MmMongoSource *source)
{
	int			silence =
		mongoc_uri_get_option_as_int32(source->uri,
									   MONGOC_URI_SOCKETTIMEOUTMS, 0);
	int			result = source->wire.connect_timeout_ms;

	return silence > 0 ? Max(1, Min(result, silence / 2)) : result;
}

static void
set_lag_error(MmMongoSource *source, const char *host, int timeout_ms,
			  MmSourceError *error)
{
	char		duration[32];

	mm_mongo_error_fill(error, ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
						psprintf("member %s of MongoDB server \"%s\" lags behind the primary",
								 host, source->name),
						psprintf("Within %s it has not applied what the primary had written before.",
								 mm_mongo_wire_print_duration(timeout_ms,
															  duration,
															  sizeof(duration))),
						"Wait until it has caught up, raise mongo_migrate.connect_timeout (or connect_timeout of the server), or read from the primary, with readPreference=primary.");
	error->transient = true;
}

static bool
wait_for(MmMongoSource *source, uint32 server_id, const char *host,
		 const char *database, const OperationTime *time,
		 MmSourceError *error)
{
	int			timeout_ms = patience(source);

	if (mm_mongo_run(source, database, make_wait(time, timeout_ms), server_id,
					 NULL, error))
		return true;
	if (!source->broken && mm_mongo_error_code(source) == MM_MONGO_TIME_LIMIT)
	{
		MemoryContext old =
			MemoryContextSwitchTo(GetMemoryChunkContext(source));

		source->lagging = lappend_int(source->lagging, server_id);
		MemoryContextSwitchTo(old);
		set_lag_error(source, host, timeout_ms, error);
		return false;
	}
	if (source->broken || error->transient)
		return false;
	ereport(WARNING,
			(errmsg("member %s of MongoDB server \"%s\" does not tell whether it lags behind the primary",
					host, source->name),
			 errdetail_internal("%s", error->detail)));
	return true;
}

/* False with error set; when it lags, it is in source->lagging then. */
static bool
wait_if_secondary(MmMongoSource *source, uint32 server_id,
				  const char *database, MmSourceError *error)
{
	char		host[BSON_HOST_NAME_MAX + 8];
	OperationTime time;
	MemoryContext old;

	if (list_member_int(source->caught_up, server_id) ||
		!is_secondary(source, server_id, host, sizeof(host)))
		return true;
	if (!find_time(source, server_id, host, &time, error) ||
		(time.seconds != 0 &&
		 !wait_for(source, server_id, host, database, &time, error)))
		return false;
	old = MemoryContextSwitchTo(GetMemoryChunkContext(source));
	source->caught_up = lappend_int(source->caught_up, server_id);
	MemoryContextSwitchTo(old);
	return true;
}

/*
 * The primary instead of a member that lags, for a session whose read
 * preference allows it when there is no other; else 0 with error set.
 */
static uint32
find_way_out(MmMongoSource *source, uint32 lagging, MmSourceError *error)
{
	mongoc_read_mode_t mode =
		mongoc_read_prefs_get_mode(mongoc_client_get_read_prefs(source->client));
	uint32		primary = 0;
	char		host[BSON_HOST_NAME_MAX + 8] = "";

	/* A load would keep it busy for hours: it waits, and says so. */
	if (mode != MONGOC_READ_SECONDARY && !mm_mongo_is_worker &&
		!find_primary(source, &primary, error))
		return 0;
	if (primary != 0)
		return primary;
	(void) is_secondary(source, lagging, host, sizeof(host));
	set_lag_error(source, host, patience(source), error);
	return 0;
}

/* By the read preference, and at random where that allows several. */
static uint32
select_any(MmMongoSource *source, const char *ns, MmSourceError *error)
{
	const mongoc_read_prefs_t *preference =
		mongoc_client_get_read_prefs(source->client);
	bson_error_t failure = {0};
	mongoc_server_description_t *server;
	uint32		id = 0;

	mm_mongo_begin(source);
	server = mongoc_client_select_server(source->client, false, preference,
										 &failure);
	if (server)
		id = mongoc_server_description_id(server);
	mongoc_server_description_destroy(server);
	if (!mm_mongo_finish(source, id != 0, &failure, ns, error))
		return 0;
	return id;
}

/* Another one than the members that were found to lag, if there is one. */
static uint32
select_other(MmMongoSource *source, const char *ns, MmSourceError *error)
{
	uint32		id = select_any(source, ns, error);

	for (int i = 1; i < SELECT_TIMES && id != 0 &&
		 list_member_int(source->lagging, id); i++)
		id = select_any(source, ns, error);
	return id;
}

uint32
mm_mongo_select_server(MmMongoSource *source, const char *database,
					   const char *ns, MmSourceError *error)
{
	/* A session asks many questions: it finds out once. */
	if (mm_mongo_is_worker)
		source->lagging = NIL;
	for (;;)
	{
		uint32		id = select_other(source, ns, error);

		if (id == 0)
			return 0;
		if (list_member_int(source->lagging, id))
			return find_way_out(source, id, error);
		if (wait_if_secondary(source, id, database, error))
			return id;
		if (!list_member_int(source->lagging, id))
			return 0;
	}
}
