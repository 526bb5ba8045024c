/*-------------------------------------------------------------------------
 *
 * mongo.c
 *	  The MongoDB source: the client, and how commands are run on it.
 *
 * A source is one single-threaded client of the driver with our own stream
 * (mongo_connect.c, mongo_stream.c).  One explicit session is used for all
 * commands, since a cursor can only be continued in the session that opened it.
 *
 * Every call of the driver stands between mm_mongo_begin() and
 * mm_mongo_finish().  The latter serves interrupts, which may raise; so what
 * a call returns is stored in the source (source->reply) or in another holder
 * before.
 *
 * Closing.  The reset callback of the memory context closes what the caller
 * did not.  It sends killCursors and endSessions, so that the server need not
 * keep them for minutes, but only if the connection is in order, and for half
 * a second at most; at process exit and after a broken call nothing is sent.
 * But a call that was left because of a stop leaves a session that nobody
 * would end: killSessions does, on a connection of its own.
 * Streams may live in another context than their source: the source keeps a
 * list of open cursors and detaches them.
 *
 * mongoc_cleanup() is never called: other code of this process may use the
 * driver, too.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "source/mongo.h"

#include <malloc.h>
#include <stdalign.h>

#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "source/uri.h"
#include "storage/ipc.h"
#include "storage/pmsignal.h"

/* Limits of the driver and the server for the name of an application. */
#define MAX_APPLICATION_NAME	128

/* Largest block that glibc lets malloc() keep instead of mapping it. */
#define KEEP_BLOCKS		(32 * 1024 * 1024)
#define KEEP_FREE		(256 * 1024 * 1024)

bool		mm_mongo_is_worker = false;

/* The session of a connection that broke, if it has not been killed yet. */
static bool has_lost_session = false;
static uint8 lost_session[16];

/* Foreign objects that a memory context frees. */
typedef struct BsonHolder
{
	MemoryContextCallback callback;
	bson_t	   *bson;
} BsonHolder;

typedef struct UriHolder
{
	MemoryContextCallback callback;
	mongoc_uri_t *uri;
} UriHolder;

/* Once per process; the log handler first, or stderr gets the rest. */
static void
start_driver(void)
{
	static bool started = false;

	if (started)
		return;
	mm_mongo_log_init();
	mongoc_init();
	mm_mongo_wire_init();
	started = true;
}

void
mm_source_process_init(void)
{
	/*
	 * Replies are buffers of megabytes, freed again and again: mapped memory
	 * would be zeroed by the kernel each time.
	 */
	mm_mongo_is_worker = true;
	mallopt(M_MMAP_THRESHOLD, KEEP_BLOCKS);
	mallopt(M_TRIM_THRESHOLD, KEEP_FREE);
	start_driver();
}

/*
 * Strings and documents
 */

char *
mm_mongo_text(const char *text, int len)
{
	char	   *copy = len < 0 ? pstrdup(text) : pnstrdup(text, len);
	char	   *server;
	int			left = strlen(copy);

	for (char *c = copy; left > 0;)
	{
		int			valid = pg_encoding_verifymbstr(PG_UTF8, c, left);

		if (valid < left)
			c[valid++] = '?';
		c += valid;
		left -= valid;
	}
	server = pg_any_to_server(copy, strlen(copy), PG_UTF8);
	return server;
}

const char *
mm_mongo_utf8(const char *text)
{
	return pg_server_to_any(text, strlen(text), PG_UTF8);
}

bson_t *
mm_mongo_bson_alloc(void)
{
	/* palloc aligns to 8 bytes, which is not enough for a bson_t. */
	char	   *raw = palloc(sizeof(bson_t) + alignof(bson_t));
	bson_t	   *bson = (bson_t *) TYPEALIGN(alignof(bson_t), raw);

	bson_init(bson);
	return bson;
}

bytea *
mm_mongo_bytea(const bson_t *bson)
{
	bytea	   *copy = palloc(VARHDRSZ + bson->len);

	SET_VARSIZE(copy, VARHDRSZ + bson->len);
	memcpy(VARDATA(copy), bson_get_data(bson), bson->len);
	return copy;
}

const bson_t *
mm_mongo_view(const bytea *document, bson_t *view)
{
	if (!bson_init_static(view, (const uint8 *) VARDATA_ANY(document),
						  VARSIZE_ANY_EXHDR(document)))
		elog(ERROR, "invalid bound, position or pin of a split");
	return view;
}

static void
free_bson(void *arg)
{
	bson_destroy(((BsonHolder *) arg)->bson);
}

bson_t *
mm_mongo_bson(void)
{
	BsonHolder *holder = palloc0(sizeof(BsonHolder));

	holder->bson = mm_mongo_bson_alloc();
	holder->callback.func = free_bson;
	holder->callback.arg = holder;
	MemoryContextRegisterResetCallback(CurrentMemoryContext,
									   &holder->callback);
	return holder->bson;
}

bson_t *
mm_mongo_filter(const char *filter)
{
	bson_t	   *bson = mm_mongo_bson();
	bson_error_t failure;
	const char *text = mm_mongo_utf8(filter);

	/* The parser takes an array for a document with keys 0, 1, 2. */
	if (text[strspn(text, " \t\r\n")] != '{')
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid filter"),
				 errdetail("A filter must be a JSON object.")));
	if (!bson_init_from_json(bson, text, -1, &failure))
	{
		/* What a failed call leaves is not to be destroyed. */
		bson_init(bson);
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid filter"),
				 errdetail("%s", mm_mongo_text(failure.message, -1))));
	}
	return bson;
}

void
mm_source_check_filter(const char *filter)
{
	start_driver();
	(void) mm_mongo_filter(filter);
}

static void
free_uri(void *arg)
{
	mongoc_uri_destroy(((UriHolder *) arg)->uri);
}

mongoc_uri_t *
mm_mongo_uri_new(const char *uri, bson_error_t *error)
{
	UriHolder  *holder = palloc0(sizeof(UriHolder));

	start_driver();
	memset(error, 0, sizeof(*error));
	/* One that was stored before mm_uri_check() refused it. */
	if (strchr(uri, '\\'))
	{
		strlcpy(error->message, MM_URI_BACKSLASH, sizeof(error->message));
		return NULL;
	}
	holder->callback.func = free_uri;
	holder->callback.arg = holder;
	MemoryContextRegisterResetCallback(CurrentMemoryContext,
									   &holder->callback);
	holder->uri = mongoc_uri_new_with_error(mm_mongo_utf8(uri), error);
	return holder->uri;
}

/*
 * Parts of commands
 */

char *
mm_mongo_ns(const MmCollection *collection)
{
	return psprintf("%s.%s", collection->database, collection->name);
}

void
mm_mongo_add_target(bson_t *command, const char *verb,
					const MmCollection *collection)
{
	BSON_APPEND_UTF8(command, verb, mm_mongo_utf8(collection->name));
}

/* Explicit even where it is the default: min and max depend on it. */
void
mm_mongo_add_collation(bson_t *command, const MmCollection *collection)
{
	bson_t		collation;

	if (collection->collation &&
		bson_init_static(&collation,
						 (uint8 *) VARDATA_ANY(collection->collation),
						 VARSIZE_ANY_EXHDR(collection->collation)))
		BSON_APPEND_DOCUMENT(command, "collation", &collation);
}

void
mm_mongo_add_time_limit(bson_t *command, int timeout_ms)
{
	BSON_APPEND_INT32(command, "maxTimeMS", timeout_ms);
}

/* An aggregate whose array of stages is open. */
bson_t *
mm_mongo_begin_aggregate(const MmCollection *collection, bson_t *pipeline)
{
	bson_t	   *command = mm_mongo_bson();

	mm_mongo_add_target(command, "aggregate", collection);
	BSON_APPEND_ARRAY_BEGIN(command, "pipeline", pipeline);
	return command;
}

/* A stage of a pipeline: n documents at random. */
void
mm_mongo_add_sample(bson_t *pipeline, const char *key, int64 n)
{
	bson_t		stage;
	bson_t		child;

	BSON_APPEND_DOCUMENT_BEGIN(pipeline, key, &stage);
	BSON_APPEND_DOCUMENT_BEGIN(&stage, "$sample", &child);
	BSON_APPEND_INT64(&child, "size", n);
	bson_append_document_end(&stage, &child);
	bson_append_document_end(pipeline, &stage);
}

/* A stage of a pipeline: those that match. */
void
mm_mongo_add_match(bson_t *pipeline, const char *key, const char *filter)
{
	bson_t		stage;

	BSON_APPEND_DOCUMENT_BEGIN(pipeline, key, &stage);
	BSON_APPEND_DOCUMENT(&stage, "$match", mm_mongo_filter(filter));
	bson_append_document_end(pipeline, &stage);
}

/* name: {_id: direction} */
void
mm_mongo_add_id_key(bson_t *command, const char *name, int direction)
{
	bson_t		key;

	BSON_APPEND_DOCUMENT_BEGIN(command, name, &key);
	BSON_APPEND_INT32(&key, "_id", direction);
	bson_append_document_end(command, &key);
}

/*
 * Calls
 */

void
mm_mongo_begin(MmMongoSource *source)
{
	source->wire.leave = MM_WIRE_STAY;
	source->wire.lost = false;
	mm_mongo_log_reset();
}

bool
mm_mongo_finish(MmMongoSource *source, bool ok, const bson_error_t *failure,
				const char *ns, MmSourceError *error)
{
	/* An answer with an error leaves the connection in order. */
	source->broken = !ok && failure->domain != MONGOC_ERROR_SERVER;
	if (source->wire.leave == MM_WIRE_ORPHANED)
		proc_exit(1);
	CHECK_FOR_INTERRUPTS();
	if (!ok)
	{
		mm_mongo_error_set(source, failure, ns, error);
		return false;
	}
	source->connected = true;
	source->wire.failure = MM_WIRE_OK;
	source->wire.failure_text[0] = '\0';
	return true;
}

bool
mm_mongo_run(MmMongoSource *source, const char *database,
			 const bson_t *command, uint32 server_id, const char *ns,
			 MmSourceError *error)
{
	bson_t	   *options = mm_mongo_bson();
	bson_error_t failure = {0};
	const mongoc_read_prefs_t *preference =
		server_id != 0 && server_id == source->pinned ? source->any_role :
		mongoc_client_get_read_prefs(source->client);
	bool		ok = true;

	mm_mongo_begin(source);
	if (source->session)
		ok = mongoc_client_session_append(source->session, options, &failure);
	if (server_id != 0)
		BSON_APPEND_INT32(options, "serverId", server_id);
	if (ok)
	{
		bson_destroy(source->reply);

		/*
		 * This function and no other: it never sends a command twice.  A
		 * getMore that is repeated after a network error skips a reply.
		 */
		ok = mongoc_client_command_with_opts(source->client, database,
											 command, preference, options,
											 source->reply, &failure);
	}
	return mm_mongo_finish(source, ok, &failure, ns, error);
}

/*
 * Opening and closing
 */

/* Runs in reset callbacks: must not raise. */
static void
remember_session(const mongoc_client_session_t *session)
{
	bson_iter_t iter;
	bson_subtype_t subtype;
	uint32		len = 0;
	const uint8 *data;

	if (!bson_iter_init_find(&iter, mongoc_client_session_get_lsid(session),
							 "id") || !BSON_ITER_HOLDS_BINARY(&iter))
		return;
	bson_iter_binary(&iter, &subtype, &len, &data);
	has_lost_session = len == sizeof(lost_session);
	if (has_lost_session)
		memcpy(lost_session, data, len);
}

static void
append_kill_sessions(bson_t *command)
{
	bson_t		sessions;
	bson_t		session;

	BSON_APPEND_ARRAY_BEGIN(command, "killSessions", &sessions);
	BSON_APPEND_DOCUMENT_BEGIN(&sessions, "0", &session);
	BSON_APPEND_BINARY(&session, "id", BSON_SUBTYPE_UUID, lost_session,
					   sizeof(lost_session));
	bson_append_document_end(&sessions, &session);
	bson_append_array_end(command, &sessions);
}

/* No error when the server refuses: it will end the session by itself. */
static bool
kill_lost_session(MmMongoSource *source, MmSourceError *error)
{
	bson_t	   *command = mm_mongo_bson();

	if (!has_lost_session)
		return true;
	append_kill_sessions(command);
	if (!mm_mongo_run(source, "admin", command, 0, NULL, error) &&
		source->broken)
		return false;
	has_lost_session = false;
	return true;
}

/*
 * A stop within a call breaks the connection, and so does a cancel; a worker
 * will hardly make another source: the client connects once more to say so.
 */
static void
kill_session_of_stopped(MmMongoSource *source)
{
	bson_t		command = BSON_INITIALIZER;
	bson_error_t failure;

	append_kill_sessions(&command);
	has_lost_session = !mongoc_client_command_simple(source->client, "admin",
													 &command, NULL, NULL,
													 &failure);
	bson_destroy(&command);
}

static void
release_source(MmMongoSource *source)
{
	bool		exiting = proc_exit_inprogress || ProcDiePending;
	bool		stopped = source->wire.leave == MM_WIRE_STOPPED ||
		(source->wire.leave == MM_WIRE_PENDING &&
		 MyBackendType == B_BG_WORKER);
	bool		silent = source->broken || !source->connected || exiting;

	source->wire.leave = MM_WIRE_STAY;
	source->wire.close_deadline = bson_get_monotonic_time() +
		MM_MONGO_CLOSE_BUDGET;

	if (silent && source->session)
		remember_session(source->session);
	/* First, as it makes the rest forget what it would tell the server. */
	if (silent && source->client)
		mongoc_client_reset(source->client);
	source->broken = silent;
	while (!dlist_is_empty(&source->cursors))
		mm_mongo_cursor_close(dlist_head_element(MmMongoCursor, node,
												 &source->cursors));
	mongoc_client_session_destroy(source->session);
	source->session = NULL;
	if (stopped && !exiting && has_lost_session && source->client)
		kill_session_of_stopped(source);
	mongoc_client_destroy(source->client);
	source->client = NULL;
	mongoc_uri_destroy(source->uri);
	source->uri = NULL;
	mongoc_read_prefs_destroy(source->any_role);
	source->any_role = NULL;
	bson_destroy(source->reply);
	bson_init(source->reply);
}

static void
release_callback(void *arg)
{
	release_source(arg);
}

static void
close_source(MmSource *source)
{
	release_source((MmMongoSource *) source);
}

static char *
copy_string(const char *string)
{
	return string ? pstrdup(string) : NULL;
}

/* The holder, with nothing of the driver in it. */
static MmMongoSource *
make_source(const MmSourceConfig *config)
{
	MmMongoSource *source = palloc0(sizeof(MmMongoSource));

	source->base.ops = &mm_source_mongo;
	source->name = pstrdup(config->name);
	source->is_server = config->is_server;
	source->database = copy_string(config->database);
	source->username = copy_string(config->username);
	source->auth_source = "admin";
	source->auth_mechanism = copy_string(config->auth_mechanism);
	source->coarse_errors = config->coarse_errors;
	source->wire.connect_timeout_ms = config->connect_timeout_ms;
	source->wire.allowed_hosts = copy_string(config->allowed_hosts);
	source->reply = mm_mongo_bson_alloc();
	dlist_init(&source->cursors);
	source->callback.func = release_callback;
	source->callback.arg = source;
	MemoryContextRegisterResetCallback(CurrentMemoryContext,
									   &source->callback);
	return source;
}

/*
 * Sets what does not stand in the string.  False: the driver refuses it.  It
 * would abort the process at a timeout of INT_MAX.
 */
static bool
set_uri_options(mongoc_uri_t *uri, const MmSourceConfig *config)
{
	char	   *name = pstrdup(mm_mongo_utf8(config->application_name));
	int			connect_timeout = Min(config->connect_timeout_ms, INT_MAX - 1);
	bool		ok;

	name[pg_encoding_mbcliplen(PG_UTF8, name, strlen(name),
							   MAX_APPLICATION_NAME)] = '\0';
	ok = mongoc_uri_set_appname(uri, name) &&
		mongoc_uri_set_option_as_int32(uri, MONGOC_URI_CONNECTTIMEOUTMS,
									   connect_timeout) &&
		mongoc_uri_set_option_as_int32(uri, MONGOC_URI_SERVERSELECTIONTIMEOUTMS,
									   connect_timeout) &&
		mongoc_uri_set_option_as_int32(uri, MONGOC_URI_SOCKETTIMEOUTMS,
									   config->socket_timeout_ms) &&
		/* Trying again is the caller's business, with waits of its own. */
		mongoc_uri_set_option_as_bool(uri, MONGOC_URI_SERVERSELECTIONTRYONCE,
									  true);
	if (config->username)
		ok = ok && mongoc_uri_set_username(uri,
										   mm_mongo_utf8(config->username));
	if (config->password)
		ok = ok && mongoc_uri_set_password(uri,
										   mm_mongo_utf8(config->password));
	if (config->auth_mechanism)
		ok = ok && mongoc_uri_set_auth_mechanism(uri, config->auth_mechanism);
	return ok;
}

/*
 * The driver reads a password from NULL where the mechanism needs one
 * (CDRIVER-5550, mended in 1.27).
 */
static bool
has_its_password(const mongoc_uri_t *uri)
{
	const char *mechanism = mongoc_uri_get_auth_mechanism(uri);
	const char *password = mongoc_uri_get_password(uri);

	return mongoc_uri_get_username(uri) == NULL ||
		(password && password[0] != '\0') ||
		(mechanism && pg_strncasecmp(mechanism, "SCRAM-", 6) != 0 &&
		 pg_strcasecmp(mechanism, "PLAIN") != 0);
}

/* TLS as the string asks for it; the stream gets it from here. */
static void
set_tls_options(MmMongoSource *source)
{
	const mongoc_uri_t *uri = source->uri;
	mongoc_ssl_opt_t *tls = &source->wire.tls;
	bool		insecure = mongoc_uri_get_option_as_bool(uri,
														 MONGOC_URI_TLSINSECURE,
														 false);
	const char *mechanism = mongoc_uri_get_auth_mechanism(uri);

	/* The driver's own initiator does the same for this mechanism. */
	source->wire.use_tls = mongoc_uri_get_tls(uri) ||
		(mechanism && strcmp(mechanism, "MONGODB-X509") == 0);
	tls->pem_file =
		mongoc_uri_get_option_as_utf8(uri, MONGOC_URI_TLSCERTIFICATEKEYFILE,
									  NULL);
	tls->pem_pwd =
		mongoc_uri_get_option_as_utf8(uri,
									  MONGOC_URI_TLSCERTIFICATEKEYFILEPASSWORD,
									  NULL);
	tls->ca_file =
		mongoc_uri_get_option_as_utf8(uri, MONGOC_URI_TLSCAFILE, NULL);
	tls->weak_cert_validation =
		mongoc_uri_get_option_as_bool(uri,
									  MONGOC_URI_TLSALLOWINVALIDCERTIFICATES,
									  insecure);
	tls->allow_invalid_hostname =
		mongoc_uri_get_option_as_bool(uri,
									  MONGOC_URI_TLSALLOWINVALIDHOSTNAMES,
									  insecure);
}

/* Makes the client; nothing is sent yet, except for SRV records. */
static bool
make_client(MmMongoSource *source, const MmSourceConfig *config,
			MmSourceError *error)
{
	bson_error_t failure = {0};
	const char *uri = mm_mongo_utf8(config->uri);

	mm_mongo_begin(source);
	source->uri = mongoc_uri_new_with_error(uri, &failure);
	if (source->uri == NULL || !set_uri_options(source->uri, config))
	{
		if (failure.message[0] == '\0')
			strlcpy(failure.message, "An option has an invalid value",
					sizeof(failure.message));
		mm_mongo_error_uri(&failure, error);
		return false;
	}
	if (!has_its_password(source->uri))
	{
		mm_mongo_error_password(source, error);
		return false;
	}
	set_tls_options(source);
	source->wire.compresses =
		!bson_empty0(mongoc_uri_get_compressors(source->uri));
	source->client = mongoc_client_new_from_uri_with_error(source->uri,
														   &failure);
	if (source->client == NULL)
	{
		const char *service = mongoc_uri_get_srv_hostname(source->uri);

		if (service && failure.domain == MONGOC_ERROR_STREAM)
		{
			source->wire.failure = MM_WIRE_UNRESOLVED;
			snprintf(source->wire.failure_text,
					 sizeof(source->wire.failure_text),
					 "Host name \"%s\" could not be resolved.", service);
		}
		return mm_mongo_finish(source, false, &failure, NULL, error);
	}
	/* SRV records may have told it. */
	source->auth_source = mm_mongo_text(mongoc_uri_get_auth_source(mongoc_client_get_uri(source->client)),
										-1);
	source->any_role = mongoc_read_prefs_new(MONGOC_READ_NEAREST);
	mongoc_client_set_error_api(source->client,
								MONGOC_ERROR_API_VERSION_2);
	mongoc_client_set_stream_initiator(source->client, mm_mongo_connect_open,
									   &source->wire);
	return true;
}

/* Connects and authenticates, as the first command does. */
static bool
try_client(MmMongoSource *source, MmSourceError *error)
{
	bson_t	   *ping = mm_mongo_bson();
	mongoc_session_opt_t *options;

	BSON_APPEND_INT32(ping, "ping", 1);
	if (!mm_mongo_run(source, "admin", ping, 0, NULL, error))
		return false;

	/* A server without sessions needs none: no error. */
	mm_mongo_begin(source);
	options = mongoc_session_opts_new();
	mongoc_session_opts_set_causal_consistency(options, false);
	source->session = mongoc_client_start_session(source->client, options,
												  NULL);
	mongoc_session_opts_destroy(options);
	return mm_mongo_finish(source, true, NULL, NULL, error) &&
		kill_lost_session(source, error);
}

static MmSource *
open_source(const MmSourceConfig *config, MmSourceError *error)
{
	MmMongoSource *source;

	start_driver();
	source = make_source(config);
	if (!make_client(source, config, error) || !try_client(source, error))
	{
		release_source(source);
		return NULL;
	}
	return &source->base;
}

const MmSourceOps mm_source_mongo = {
	.kind = "mongodb",
	.open = open_source,
	.close = close_source,
	.describe = mm_mongo_describe,
	.list = mm_mongo_describe_list,
	.estimate = mm_mongo_describe_matching,
	.ping = mm_mongo_ping,
	.id_ends = mm_mongo_split_id_ends,
	.split = mm_mongo_split,
	.check_split = mm_mongo_split_check,
	.open_chunk = mm_mongo_read_open_chunk,
	.open_sample = mm_mongo_read_open_sample,
	.next = mm_mongo_read_next,
	.has_position = mm_mongo_read_has_position,
	.get_position = mm_mongo_read_position,
	.close_stream = mm_mongo_read_close,
};

const char *
mm_source_driver_version(void)
{
	return psprintf("libmongoc %s", mongoc_get_version());
}
