/*-------------------------------------------------------------------------
 *
 * mongo_member.c
 *	  The one server that record ids are read from, and whether it still has
 *	  them.
 *
 * Each member of a replica set gives out record ids of its own.  A split by
 * record ids is therefore pinned to one server, picked by the read preference
 * when the collection is split; from then on it is read from whatever its
 * role becomes.
 *
 * When record ids stay.  While a mongod runs, a document keeps its record id
 * until it is deleted.  But a member of a
 * replica set that was killed comes up from its last checkpoint, of up to a
 * minute ago or more, and applies its oplog again, with many threads: all
 * documents that had come since then get other record ids (measured on 4.4
 * to 6.0: nearly all of 35000).  Neither the id of the initial sync nor that
 * of the last rollback tells.  So the process itself is pinned: hello names
 * it, and needs no privilege.  A mongod that is no member of a replica set
 * recovers pages, not operations, so there a new process has the same ids.
 *
 * A rollback is the same thing within a process, but it goes back only to the
 * stable timestamp, which is the majority's.  So a member is only pinned when
 * what it has written by then is known to a majority: those documents keep
 * their record ids.  (Those of documents that were rolled back are given out
 * again, to documents that came later than the split.)
 *
 * When to look.  mm_mongo_member_check() comes after the find.  If the server
 * is then the process that it was when the collection was split, it was so
 * in between, too; and the cursor lives in that process.  The same goes for
 * the UUID of the collection: a cursor does not outlive its collection.
 *
 * A pin is {host: string, process: string, uuid: binary}; process is "" for
 * a server that is no member of a replica set.  Splits of other kinds hold for
 * any server, but not for another collection of the same name: their pin is
 * {uuid: binary}, and mm_mongo_member_check_collection() comes after the find,
 * to the server that answered it: another may not have applied a drop yet.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "source/mongo.h"
#include "storage/latch.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

/* How often to ask whether a majority follows. */
#define SETTLE_STEP_MS	50

/* What hello tells of a server. */
typedef struct Hello
{
	char		process[25];	/* of a member of a replica set, else "" */
	bool		has_process;
	bool		is_member;
	uint64		written;		/* timestamps of operations; 0: unknown */
	uint64		majority;
} Hello;

static uint64
read_timestamp(const bson_iter_t *hello, const char *path)
{
	bson_iter_t iter = *hello;
	bson_iter_t found;
	uint32		seconds;
	uint32		increment;

	if (!bson_iter_find_descendant(&iter, path, &found) ||
		!BSON_ITER_HOLDS_TIMESTAMP(&found))
		return 0;
	bson_iter_timestamp(&found, &seconds, &increment);
	return (uint64) seconds << 32 | increment;
}

static bool
ask_hello(MmMongoSource *source, Hello *hello, MmSourceError *error)
{
	bson_t	   *command = mm_mongo_bson();
	bson_iter_t start;
	bson_iter_t iter;
	bson_iter_t found;

	memset(hello, 0, sizeof(*hello));
	BSON_APPEND_INT32(command, "hello", 1);
	if (!mm_mongo_run(source, "admin", command, source->pinned, NULL, error))
		return false;
	if (!bson_iter_init(&start, source->reply))
		return true;
	iter = start;
	hello->is_member = bson_iter_find(&iter, "setName");
	iter = start;
	hello->has_process =
		bson_iter_find_descendant(&iter, "topologyVersion.processId",
								  &found) && BSON_ITER_HOLDS_OID(&found);
	if (hello->has_process && hello->is_member)
		bson_oid_to_string(bson_iter_oid(&found), hello->process);
	hello->written = read_timestamp(&start, "lastWrite.opTime.ts");
	hello->majority = read_timestamp(&start, "lastWrite.majorityOpTime.ts");
	return true;
}

/* Waits until a majority knows what was written by now, if it does soon. */
static bool
settle(MmMongoSource *source, Hello *hello, int patience_ms,
	   MmSourceError *error)
{
	uint64		written = hello->written;
	TimestampTz until = TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
													patience_ms);

	while (hello->majority < written && GetCurrentTimestamp() < until)
	{
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT |
						 WL_EXIT_ON_PM_DEATH, SETTLE_STEP_MS,
						 PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
		if (!ask_hello(source, hello, error))
			return false;
	}
	hello->written = written;
	return true;
}

static const char *
type_refusal(const char *type)
{
	if (strcmp(type, "Standalone") == 0 || strcmp(type, "RSPrimary") == 0 ||
		strcmp(type, "RSSecondary") == 0)
		return NULL;
	if (strcmp(type, "Mongos") == 0 || strcmp(type, "LoadBalancer") == 0)
		return "mongos does not tell the record ids of its shards";
	return "the server is not one that has record ids";
}

/* Sets host and refusal from what the driver knows of the server. */
static void
describe_member(MmMongoSource *source, uint32 server_id,
				MmMongoMember *member)
{
	mongoc_server_description_t *server =
		mongoc_client_get_server_description(source->client, server_id);

	member->refusal = type_refusal(server ?
								   mongoc_server_description_type(server) :
								   "Unknown");
	if (server)
		strlcpy(member->host,
				mongoc_server_description_host(server)->host_and_port,
				sizeof(member->host));
	mongoc_server_description_destroy(server);
}

static const char *
hello_refusal(const Hello *hello)
{
	if (hello->is_member && !hello->has_process)
		return "the server does not tell when it was started again";
	if (hello->is_member && (hello->written == 0 ||
							 hello->majority < hello->written))
		return "the majority of the replica set does not follow the server";
	return NULL;
}

static void
append_uuid(bson_t *pin, const MmCollection *collection)
{
	BSON_APPEND_BINARY(pin, "uuid", BSON_SUBTYPE_UUID,
					   (uint8 *) VARDATA(collection->uuid),
					   VARSIZE(collection->uuid) - VARHDRSZ);
}

static bytea *
make_pin(const MmCollection *collection, const char *host,
		 const char *process)
{
	bson_t	   *bson = mm_mongo_bson();

	BSON_APPEND_UTF8(bson, "host", host);
	BSON_APPEND_UTF8(bson, "process", process);
	append_uuid(bson, collection);
	return mm_mongo_bytea(bson);
}

bytea *
mm_mongo_member_pin_collection(const MmCollection *collection)
{
	bson_t	   *bson;

	if (collection->uuid == NULL)
		return NULL;			/* a view */
	bson = mm_mongo_bson();
	append_uuid(bson, collection);
	return mm_mongo_bytea(bson);
}

bool
mm_mongo_member_choose(MmMongoSource *source, const MmCollection *collection,
					   int patience_ms, MmMongoMember *member,
					   MmSourceError *error)
{
	uint32		server_id =
		mm_mongo_select_server(source, mm_mongo_utf8(collection->database),
							   mm_mongo_ns(collection), error);
	Hello		hello;

	memset(member, 0, sizeof(*member));
	if (server_id == 0)
		return false;
	describe_member(source, server_id, member);
	if (member->refusal == NULL && collection->uuid == NULL)
		member->refusal = "the collection has no UUID";
	if (member->refusal)
		return true;
	source->pinned = server_id;
	if (!ask_hello(source, &hello, error) ||
		(hello.is_member && !settle(source, &hello, patience_ms,
									  error)))
	{
		/* 4.4.0 and 4.4.1 do not know it. */
		member->refusal = "the server does not answer hello";
		return !error->transient && !source->broken;
	}
	member->refusal = hello_refusal(&hello);
	if (member->refusal == NULL)
		member->pin = make_pin(collection, member->host, hello.process);
	return true;
}

/*
 * Pins
 */

/* A string of a pin; raises when there is none. */
static const char *
pin_string(const bytea *pin, const char *name)
{
	bson_t		view;
	bson_iter_t iter;

	if (!bson_iter_init_find(&iter, mm_mongo_view(pin, &view), name) ||
		!BSON_ITER_HOLDS_UTF8(&iter))
		elog(ERROR, "invalid pin of a split");
	return bson_iter_utf8(&iter, NULL);
}

/* The collection of this name as it is now, NULL when there is none. */
static bool
find_again(MmMongoSource *source, const MmCollection *collection,
		   const MmCollection **now, MmSourceError *error)
{
	List	   *entries;

	if (!mm_mongo_describe_entries(source, collection->database,
								   collection->name, &entries, error))
		return false;
	*now = entries == NIL ? NULL : linitial(entries);
	return true;
}

static bool
is_pinned(const bytea *pin, const MmCollection *now)
{
	bson_t		view;
	bson_iter_t iter;
	bson_subtype_t subtype;
	const uint8 *data;
	uint32		len;

	if (now == NULL || now->uuid == NULL ||
		!bson_iter_init_find(&iter, mm_mongo_view(pin, &view), "uuid") ||
		!BSON_ITER_HOLDS_BINARY(&iter))
		return false;
	bson_iter_binary(&iter, &subtype, &len, &data);
	return len == VARSIZE_ANY_EXHDR(now->uuid) &&
		memcmp(data, VARDATA_ANY(now->uuid), len) == 0;
}

static bool
set_lost_error(MmMongoSource *source, const MmCollection *collection,
			   const char *detail, MmSourceError *error)
{
	mm_mongo_error_fill(error, ERRCODE_FDW_ERROR,
						psprintf("lost the record ids of \"%s\" on MongoDB server \"%s\"",
								 mm_mongo_ns(collection), source->name),
						detail, NULL);
	error->split_lost = true;
	return false;
}

bool
mm_mongo_member_find(MmMongoSource *source, const bytea *pin,
					 MmSourceError *error)
{
	const char *host = pin_string(pin, "host");
	mongoc_server_description_t **servers;
	size_t		n;

	source->pinned = 0;
	servers = mongoc_client_get_server_descriptions(source->client, &n);
	for (size_t i = 0; i < n; i++)
		if (strcmp(mongoc_server_description_host(servers[i])->host_and_port,
				   host) == 0 &&
			type_refusal(mongoc_server_description_type(servers[i])) == NULL)
			source->pinned = mongoc_server_description_id(servers[i]);
	mongoc_server_descriptions_destroy_all(servers, n);
	if (source->pinned != 0)
		return true;
	mm_mongo_error_fill(error, ERRCODE_FDW_UNABLE_TO_ESTABLISH_CONNECTION,
						psprintf("member %s of MongoDB server \"%s\" is not available",
								 host, source->name),
						"Its record ids are being read, which no other member has.",
						NULL);
	error->transient = true;
	error->split_lost = true;
	return false;
}

bool
mm_mongo_member_check(MmMongoSource *source, const MmCollection *collection,
					  const bytea *pin, MmSourceError *error)
{
	const MmCollection *now;
	Hello		hello;

	if (!ask_hello(source, &hello, error) ||
		!find_again(source, collection, &now, error))
		return false;
	if (strcmp(hello.process, pin_string(pin, "process")) != 0)
		return set_lost_error(source, collection,
							  psprintf("mongod at %s was started again.",
									   pin_string(pin, "host")), error);
	if (!is_pinned(pin, now))
		return set_lost_error(source, collection,
							  "The collection was dropped or replaced.",
							  error);
	return true;
}

bool
mm_mongo_member_check_collection(MmMongoSource *source, uint32 server_id,
								 const MmCollection *collection,
								 const bytea *pin, MmSourceError *error)
{
	const MmCollection *now;
	bool		ok;

	source->chosen = server_id;
	ok = find_again(source, collection, &now, error);
	source->chosen = 0;
	if (!ok)
		return false;
	if (now != NULL && (pin == NULL || is_pinned(pin, now)))
		return true;
	mm_mongo_error_fill(error, ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
						psprintf("\"%s\" on MongoDB server \"%s\" is not the collection that the migration began with",
								 mm_mongo_ns(collection), source->name),
						"It was dropped or replaced.",
						"Load again with if_exists => 'truncate'.");
	error->split_lost = true;
	return false;
}
