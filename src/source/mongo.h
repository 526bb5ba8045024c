/*-------------------------------------------------------------------------
 *
 * mongo.h
 *	  What the mongo_*.c files share.  Nobody else includes this.
 *
 * Two rules hold in all of them:
 *
 * Nothing of PostgreSQL may raise while a function of the driver is on the
 * stack, since a longjmp over its frames would leave its locks and lists
 * half done.  So the stream and the log handler only touch plain memory, and
 * interrupts are served after the driver has returned.
 *
 * Each object of the driver has an owner before it exists: a struct in a
 * memory context with a reset callback.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MM_MONGO_H
#define MM_MONGO_H

#include "postgres.h"

#include <mongoc/mongoc.h>

#include "compat.h"
#include "lib/ilist.h"
#include "source/source.h"

/* Why no connection came about; decides text and hint of the error. */
typedef enum MmWireFailure
{
	MM_WIRE_OK,
	MM_WIRE_UNRESOLVED,
	MM_WIRE_REFUSED,
	MM_WIRE_NO_ANSWER,
	MM_WIRE_CLOSED,				/* before the server said anything */
	MM_WIRE_NO_TLS,				/* we speak TLS, the server does not */
	MM_WIRE_TLS,
	MM_WIRE_TLS_REFUSED,		/* by the server, for a reason of its own */
	MM_WIRE_TLS_CERTIFICATE,	/* the server wants one of us */
	MM_WIRE_FORBIDDEN,			/* by a rule of ours for plain roles */
	MM_WIRE_OTHER
} MmWireFailure;

/* Why a wait was given up although the server might still answer. */
typedef enum MmWireLeave
{
	MM_WIRE_STAY,
	MM_WIRE_PENDING,			/* a cancel or a termination */
	MM_WIRE_STOPPED,			/* the stop check */
	MM_WIRE_ORPHANED			/* the postmaster is gone */
} MmWireLeave;

/*
 * What all streams of a source share.  Written by the streams inside the
 * driver, read when it has returned.
 */
typedef struct MmWire
{
	int			connect_timeout_ms;
	const char *allowed_hosts;	/* NULL: any host, for superusers */
	bool		use_tls;
	bool		compresses;		/* replies may be compressed */
	mongoc_ssl_opt_t tls;		/* points into the source's mongoc_uri_t */

	int64		close_deadline; /* in us; not 0: the source is closing */
	MmWireLeave leave;			/* sticks until the next call */

	MmWireFailure failure;		/* the last one, until a call succeeds */
	char		failure_text[512];	/* a sentence for each server */
	bool		failure_named;	/* it was of a member that no one but the
								 * replica set has named */
	bool		lost;			/* a connection that had worked broke */
	bool		lost_silent;	/* since nothing came in time */
	char		lost_text[384];
} MmWire;

typedef struct MmMongoSource
{
	MmSource	base;

	/* Copied from the configuration, for messages. */
	char	   *name;
	bool		is_server;
	char	   *database;
	char	   *username;
	const char *auth_source;
	char	   *auth_mechanism;
	bool		coarse_errors;

	MmWire		wire;
	mongoc_uri_t *uri;
	mongoc_client_t *client;
	mongoc_client_session_t *session;	/* of all commands; NULL: none */
	bson_t	   *reply;			/* of the last command; never NULL */
	bool		defaults_known; /* says of the next one whether it is set */
	bool		has_default_concern;	/* mongos has one that may be relied on */
	uint32		pinned;			/* server that is read from whatever its role
								 * is; 0: none (mongo_member.c) */
	uint32		chosen;			/* server for what is opened next, by the read
								 * preference; 0: choose one */
	mongoc_read_prefs_t *any_role;	/* to read from it */
	List	   *caught_up;		/* secondaries that have been waited for */
	List	   *lagging;		/* and those that it was in vain for */
	dlist_head	cursors;		/* open MmMongoCursor */
	bool		connected;		/* has worked once */
	bool		broken;			/* the last call failed on the way */
	MemoryContextCallback callback;
} MmMongoSource;

/* How long telling the server that we close something may take, in us. */
#define MM_MONGO_CLOSE_BUDGET	500000

/* mongo.c */

/* Is this process one of a job, and serves no other source? */
extern bool mm_mongo_is_worker;

/*
 * Text of the driver or the server, as a string in the server encoding; what
 * is not valid becomes "?".  len -1: up to the NUL.
 */
extern char *mm_mongo_text(const char *text, int len);

/* The other way. */
extern const char *mm_mongo_utf8(const char *text);

/* An empty document, freed with the current memory context. */
extern bson_t *mm_mongo_bson(void);

/* A copy, as it is stored. */
extern bytea *mm_mongo_bytea(const bson_t *bson);

/* Bounds, positions and pins as BSON, without a copy; raises if it is none. */
extern const bson_t *mm_mongo_view(const bytea *document, bson_t *view);

/* Storage for one, initialized, to be freed by the caller's own means. */
extern bson_t *mm_mongo_bson_alloc(void);

/* The filter as BSON in the current context; raises 22023. */
extern bson_t *mm_mongo_filter(const char *filter);

/* A parsed string, freed with the current context; NULL with error set. */
extern mongoc_uri_t *mm_mongo_uri_new(const char *uri, bson_error_t *error);

/*
 * Brackets around calls of the driver: finish serves interrupts, so what the
 * driver returned must have an owner by then.  Returns ok; false with error
 * set.  "ns" is the collection it was about, or NULL.
 */
extern void mm_mongo_begin(MmMongoSource *source);
extern bool mm_mongo_finish(MmMongoSource *source, bool ok,
							const bson_error_t *failure, const char *ns,
							MmSourceError *error);

/*
 * Runs a command; the reply is in source->reply until the next one.
 * server_id 0: one that suits the read preference.
 */
extern bool mm_mongo_run(MmMongoSource *source, const char *database,
						 const bson_t *command, uint32 server_id,
						 const char *ns, MmSourceError *error);

/* "database.collection" */
extern char *mm_mongo_ns(const MmCollection *collection);

/* Parts of a find or aggregate command on a collection. */
extern void mm_mongo_add_target(bson_t *command, const char *verb,
								const MmCollection *collection);
extern void mm_mongo_add_collation(bson_t *command,
								   const MmCollection *collection);
extern bson_t *mm_mongo_begin_aggregate(const MmCollection *collection,
										bson_t *pipeline);
extern void mm_mongo_add_sample(bson_t *pipeline, const char *key, int64 n);
extern void mm_mongo_add_match(bson_t *pipeline, const char *key,
							   const char *filter);
extern void mm_mongo_add_id_key(bson_t *command, const char *name,
								int direction);

/* 0: none, not even the default that MongoDB 8.0 can be given. */
extern void mm_mongo_add_time_limit(bson_t *command, int timeout_ms);

/* mongo_wire.c */
extern void mm_mongo_wire_init(void);

/* mongo_connect.c: for mongoc_client_set_stream_initiator() */
extern mongoc_stream_t *mm_mongo_connect_open(const mongoc_uri_t *uri,
											  const mongoc_host_list_t *host,
											  void *wire, bson_error_t *error);

/* mongo_log.c */
extern void mm_mongo_log_init(void);
extern void mm_mongo_log_reset(void);

/* The last warning or error of the driver since the reset, or "". */
extern const char *mm_mongo_log_last(void);

/* mongo_error.c */
extern void mm_mongo_error_set(MmMongoSource *source,
							   const bson_error_t *failure, const char *ns,
							   MmSourceError *error);
/* The code in source->reply, 0: none. */
#define MM_MONGO_TIME_LIMIT		50	/* MaxTimeMSExpired */
#define MM_MONGO_KEY_NOT_FOUND	211	/* no record to resume behind */
#define MM_MONGO_SAMPLE_FAILED	28799	/* $sample met too many twice */
#define MM_MONGO_SAMPLE_FAILED_TIMESERIES	5422103
extern int	mm_mongo_error_code(const MmMongoSource *source);
extern void mm_mongo_error_uri(const bson_error_t *failure,
							   MmSourceError *error);
extern void mm_mongo_error_password(const MmMongoSource *source,
									MmSourceError *error);
extern void mm_mongo_error_fill(MmSourceError *error, int sqlstate,
								const char *message, const char *detail,
								const char *hint);

/*
 * mongo_cursor.c: the documents of a command that answers with a cursor.
 * We send getMore ourselves: half the cost of mongoc_cursor_next(), and a
 * document stays valid until one of the next reply has been returned, also
 * when that fails or is empty (positions rely on it).
 */
typedef struct MmMongoCursor
{
	MmMongoSource *source;		/* NULL: closed */
	dlist_node	node;			/* in source->cursors */
	MemoryContextCallback callback;
	MemoryContext context;		/* where this struct is */
	MemoryContext scratch;		/* reset after each getMore */
	uint32		server_id;		/* that has the cursor */
	int64		id;				/* 0: no more replies */
	char	   *database;		/* UTF-8 */
	char	   *collection;		/* UTF-8 */
	char	   *ns;				/* for messages */
	bson_t	   *reply;			/* what the pointers below point into */
	const uint8 *at;			/* next element of the batch */
	const uint8 *end;			/* behind the last one */
	uint32		average_bytes;	/* 0: leave the batch size to the server */
	uint32		batch_documents;	/* taken from this batch */
	uint32		batch_bytes;	/* size of this batch */
	int64		batch_at;		/* when it came, in us */
	int64		slow_limit;		/* documents in a second; 0: no limit */
	int64		limit;			/* documents in the next reply; 0: no limit */
	int64		token;			/* resume token of the last reply, a record
								 * id; 0: it had none */
} MmMongoCursor;

/* Documents per reply for replies of about 1.5 MB. */
extern int32 mm_mongo_cursor_batch_size(uint32 average_bytes);

/*
 * mongo_lag.c: a server for the client's read preference, which has applied
 * what the primary had; 0 with error set if none, transient when it lags.
 * "database" is one that the user may read.
 */
extern uint32 mm_mongo_select_server(MmMongoSource *source,
									 const char *database, const char *ns,
									 MmSourceError *error);

/*
 * Runs a command in "database" and opens its cursor, on a server that suits
 * the read preference, or on the pinned one when there is one.  For find and
 * aggregate on a collection, a read concern may be added (mongo_concern.c).
 */
extern MmMongoCursor *mm_mongo_cursor_open(MmMongoSource *source,
										   const char *database,
										   const bson_t *command,
										   uint32 average_bytes,
										   const char *ns,
										   MmSourceError *error);
/* Are documents of the last reply left? */
static inline bool
mm_mongo_cursor_has_documents(const MmMongoCursor *cursor)
{
	return cursor->at < cursor->end;
}

/*
 * Gets replies until one has documents (MM_NEXT_DOCUMENT: they can be taken),
 * when all of the one before are taken.
 */
extern MmNext mm_mongo_cursor_fetch(MmMongoCursor *cursor,
									MmSourceError *error);
extern MmNext mm_mongo_cursor_next(MmMongoCursor *cursor, const uint8 **doc,
								   uint32 *len, MmSourceError *error);
extern void mm_mongo_cursor_close(MmMongoCursor *cursor);

/* mongo_concern.c: replaces *command by one with a read concern, if need be. */
extern bool mm_mongo_concern_add(MmMongoSource *source, uint32 server_id,
								 const bson_t **command, const char *ns,
								 MmSourceError *error);

/* mongo_describe.c */
extern bool mm_mongo_describe(MmSource *source, const char *database,
							  const char *collection, MmCollection **result,
							  MmSourceError *error);
extern bool mm_mongo_describe_list(MmSource *source, const char *database,
								   const char *pattern, List **result,
								   MmSourceError *error);
extern bool mm_mongo_describe_matching(MmSource *source,
									   const MmCollection *collection,
									   const char *filter, int timeout_ms,
									   int64 *documents, MmSourceError *error);

/* The entries of a database, or of one name, without numbers. */
extern bool mm_mongo_describe_entries(MmMongoSource *source,
									  const char *database, const char *name,
									  List **result, MmSourceError *error);
extern bool mm_mongo_describe_is_system(const MmCollection *collection);

/* mongo_member.c: the server and the collection that a split is pinned to. */
typedef struct MmMongoMember
{
	const char *refusal;		/* a clause: why not; NULL: it has record ids */
	char		host[BSON_HOST_NAME_MAX + 8];
	bytea	   *pin;
} MmMongoMember;

/*
 * Picks one by the read preference, and makes it source->pinned.  patience_ms:
 * how long a majority may take to follow it.
 */
extern bool mm_mongo_member_choose(MmMongoSource *source,
								   const MmCollection *collection,
								   int patience_ms, MmMongoMember *member,
								   MmSourceError *error);
/* Makes the server of a pin source->pinned, without asking it anything. */
extern bool mm_mongo_member_find(MmMongoSource *source, const bytea *pin,
								 MmSourceError *error);
/*
 * Asks source->pinned whether it is still what it was, to be called behind
 * the find whose documents are to be trusted.  False with split_lost if not.
 */
extern bool mm_mongo_member_check(MmMongoSource *source,
								  const MmCollection *collection,
								  const bytea *pin, MmSourceError *error);
/* A pin that holds for any server; NULL for what has no UUID, as views. */
extern bytea *mm_mongo_member_pin_collection(const MmCollection *collection);
/*
 * As mm_mongo_member_check(), for such a pin and any server; NULL: is it there?
 */
extern bool mm_mongo_member_check_collection(MmMongoSource *source,
											 uint32 server_id,
											 const MmCollection *collection,
											 const bytea *pin,
											 MmSourceError *error);

/* mongo_ping.c */
extern List *mm_mongo_ping(MmSource *source, const char *database);

/* mongo_split.c */
extern bool mm_mongo_split(MmSource *source, const MmCollection *collection,
						   const char *filter, const MmSplitRequest *request,
						   MmSplit **result, MmSourceError *error);
extern bool mm_mongo_split_check(MmSource *source,
								 const MmCollection *collection,
								 const char *filter,
								 const MmSplitRequest *request,
								 MmSourceError *error);
extern bool mm_mongo_split_id_ends(MmSource *source,
								   const MmCollection *collection,
								   MmIdEnds *result, MmSourceError *error);

/*
 * A collection is cut into parts of about the same number of documents; a part
 * is a chunk, the last ones are several.  Cuts are counted in eighths of
 * a part, from 0 to nparts * MM_MONGO_CUTS.
 */
#define MM_MONGO_CUTS	8

/* The next cut behind this one. */
extern int	mm_mongo_split_next_cut(int cut, int nparts);
/* Of n documents in order, how many are before a cut; 0 to n. */
extern int64 mm_mongo_split_rank(int64 n, int cut, int nparts);

/*
 * How many documents a sample has for so many parts: with 16 for each they
 * differ by a quarter or so, if not for what was just inserted; fewer where
 * that were too many bytes to read.
 */
extern int	mm_mongo_split_samples(const MmCollection *collection, int nparts);

/* A sample that fails by chance is taken again, before all are read. */
#define MM_MONGO_SAMPLE_ATTEMPTS	3

/* Above this share (1/n) of the documents, $sample reads all of them. */
#define MM_MONGO_SAMPLE_SHARE		20

/* mongo_split_record.c */

/* Why source->pinned cannot be read by record ids; NULL: it can. */
extern bool mm_mongo_split_record_try(MmMongoSource *source,
									  const MmCollection *collection,
									  const char **refusal,
									  MmSourceError *error);
/* List of bytea, in order. */
extern bool mm_mongo_split_record_bounds(MmMongoSource *source,
										 const MmCollection *collection,
										 int nparts, List **bounds,
										 MmSourceError *error);

/* Parts of mongo_split.c that it uses. */
extern bson_t *mm_mongo_split_sample_query(const MmCollection *collection,
										   int64 n);
extern bson_t *mm_mongo_split_id_query(const MmCollection *collection,
									   int direction, int limit,
									   bool with_records);

/* mongo_record.c: chunks of method "record" */
typedef struct MmMongoRecords MmMongoRecords;

/* {$recordId: record} */
extern bytea *mm_mongo_record_make(int64 record);
/* find in natural order behind a record id; 0: from the beginning. */
extern bson_t *mm_mongo_record_query(const MmCollection *collection,
									 int64 after, bool with_ids,
									 int32 batch_size);
/* Asks for record ids, of documents that are whole or an _id alone. */
extern void mm_mongo_record_project(bson_t *command, bool id_only);
/* The record id that this puts at the end of a document; 0: none. */
extern int64 mm_mongo_record_of(const uint8 *doc, uint32 len);

extern MmMongoRecords *mm_mongo_record_open(MmMongoSource *source,
											const MmCollection *collection,
											const bytea *pin,
											const MmBounds *bounds,
											const bytea *position,
											MmSourceError *error);
extern MmNext mm_mongo_record_next(MmMongoRecords *records, const uint8 **doc,
								   uint32 *len, MmSourceError *error);
/*
 * The cursor whose documents, as long as it has some, may be taken without
 * asking mm_mongo_record_next(); or NULL.
 */
extern MmMongoCursor *mm_mongo_record_cursor(MmMongoRecords *records);
extern bool mm_mongo_record_has_position(MmMongoRecords *records);
extern bytea *mm_mongo_record_position(MmMongoRecords *records);
extern void mm_mongo_record_close(MmMongoRecords *records);

/* mongo_read.c */
extern MmStream *mm_mongo_read_open_chunk(MmSource *source,
										  const MmCollection *collection,
										  const char *filter,
										  MmSplitMethod method,
										  const bytea *pin,
										  const MmBounds *bounds,
										  const bytea *position,
										  MmSourceError *error);
extern MmStream *mm_mongo_read_open_sample(MmSource *source,
										   const MmCollection *collection,
										   const char *filter, int64 n,
										   int timeout_ms, MmSourceError *error);
extern MmNext mm_mongo_read_next(MmStream *stream, const uint8 **doc,
								 uint32 *len, MmSourceError *error);
extern bool mm_mongo_read_has_position(MmStream *stream);
extern bytea *mm_mongo_read_position(MmStream *stream);
extern void mm_mongo_read_close(MmStream *stream);

#endif							/* MM_MONGO_H */
