/*-------------------------------------------------------------------------
 *
 * mongo_concern.c
 *	  The read concern of what reads a collection.
 *
 * The one in the connection string is what the user wants.  Without one the
 * server decides, which is well except for "available": with it mongos and
 * the shards do not check who owns a document, so that a read finds some
 * twice that were moved, or as they were before, and others not at all.  In
 * MongoDB 4.4 it is what secondaries take, and later what an administrator
 * may have set for the cluster (setDefaultRWConcern).  So mongos is told
 * "local", unless it answers that the cluster has a better default.  Role
 * "read" may not ask: then from 5.0 on, where "local" is the default, the
 * server is left to what was set.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "source/mongo.h"

/* find, or aggregate on a collection; no change stream on a database. */
static bool
reads_collection(const bson_t *command)
{
	bson_iter_t iter;

	return bson_iter_init(&iter, command) && bson_iter_next(&iter) &&
		BSON_ITER_HOLDS_UTF8(&iter) &&
		(strcmp(bson_iter_key(&iter), "find") == 0 ||
		 strcmp(bson_iter_key(&iter), "aggregate") == 0);
}

/* MongoDB 5.0 */
#define WIRE_VERSION_LOCAL	13

/*
 * A load balancer stands before mongos, of 5.0 or later.  Sets the wire
 * version, or 0.
 */
static bool
is_mongos(MmMongoSource *source, uint32 server_id, int *wire_version)
{
	mongoc_server_description_t *server =
		mongoc_client_get_server_description(source->client, server_id);
	const char *type = server ? mongoc_server_description_type(server) : "";
	bool		balanced = strcmp(type, "LoadBalancer") == 0;
	bool		result = balanced || strcmp(type, "Mongos") == 0;
	bson_iter_t iter;

	*wire_version = balanced ? WIRE_VERSION_LOCAL : 0;
	if (result && !balanced &&
		bson_iter_init_find(&iter,
							mongoc_server_description_hello_response(server),
							"maxWireVersion"))
		*wire_version = (int) bson_iter_as_int64(&iter);
	mongoc_server_description_destroy(server);
	return result;
}

/* Asks for the cluster's default, once. */
static bool
learn_default(MmMongoSource *source, uint32 server_id, int wire_version,
			  const char *ns, MmSourceError *error)
{
	bson_t	   *command = mm_mongo_bson();
	bson_iter_t iter;
	bson_iter_t level;

	if (source->defaults_known)
		return true;
	BSON_APPEND_INT32(command, "getDefaultRWConcern", 1);
	if (!mm_mongo_run(source, "admin", command, server_id, ns, error))
	{
		if (source->broken || error->transient)
			return false;
		source->has_default_concern = wire_version >= WIRE_VERSION_LOCAL;
	}
	else if (bson_iter_init(&iter, source->reply) &&
			 bson_iter_find_descendant(&iter, "defaultReadConcern.level",
									   &level) &&
			 BSON_ITER_HOLDS_UTF8(&level))
		source->has_default_concern =
			strcmp(bson_iter_utf8(&level, NULL), "available") != 0;
	source->defaults_known = true;
	return true;
}

bool
mm_mongo_concern_add(MmMongoSource *source, uint32 server_id,
					 const bson_t **command, const char *ns,
					 MmSourceError *error)
{
	const mongoc_read_concern_t *wanted =
		mongoc_client_get_read_concern(source->client);
	const char *level = mongoc_read_concern_get_level(wanted);
	int			wire_version;
	bson_t	   *longer;
	bson_t		concern;

	if (!reads_collection(*command))
		return true;
	if (level == NULL && is_mongos(source, server_id, &wire_version))
	{
		if (!learn_default(source, server_id, wire_version, ns, error))
			return false;
		if (!source->has_default_concern)
			level = MONGOC_READ_CONCERN_LEVEL_LOCAL;
	}
	if (level == NULL)
		return true;
	longer = mm_mongo_bson();
	bson_concat(longer, *command);
	BSON_APPEND_DOCUMENT_BEGIN(longer, "readConcern", &concern);
	BSON_APPEND_UTF8(&concern, "level", level);
	bson_append_document_end(longer, &concern);
	*command = longer;
	return true;
}
