/*-------------------------------------------------------------------------
 *
 * source.h
 *	  What documents come from: the interface of every source.
 *
 * A source is opened from a configuration, describes a collection, cuts it
 * into chunks and streams the documents of a chunk as raw BSON.  Bounds and
 * positions are BSON values that only the source understands; the rest of
 * the project stores and returns them as they are.
 *
 * Errors of the far side are returned, not raised: every function with an
 * MmSourceError argument fills it and returns false, NULL or MM_NEXT_ERROR.
 * The caller decides whether to try again (error->transient) or to raise it
 * with mm_source_raise().  The functions do raise for what is not the far
 * side's: out of memory, and a pending cancel or shutdown
 * (CHECK_FOR_INTERRUPTS after each driver call).  Every object that a
 * function makes belongs to the memory context that is current at the call
 * (by a reset callback), and its close function may be called early and
 * twice.
 *
 * No function here needs a transaction, except mm_source_resolve().
 *
 *-------------------------------------------------------------------------
 */
#ifndef MM_SOURCE_H
#define MM_SOURCE_H

#include "postgres.h"

#include "compat.h"
#include "nodes/pg_list.h"

typedef struct MmSource MmSource;
typedef struct MmStream MmStream;

/* A failure of the far side.  Texts are free of credentials. */
typedef struct MmSourceError
{
	int			sqlstate;		/* as from MAKE_SQLSTATE */
	bool		transient;		/* worth another try after a pause */
	bool		stopped;		/* the stop check asked for it: no failure */
	bool		split_lost;		/* bounds and positions of the split are void;
								 * with transient: if it stays like this */
	bool		timed_out;		/* it was the limit of time for the request */
	bool		unlucky;		/* the choice at random failed: the next may
								 * be better */
	char		message[256];
	char		detail[1024];	/* may be empty */
	char		log_detail[1024];	/* for the server log only, may be empty */
	char		hint[512];		/* may be empty */
} MmSourceError;

/* How to reach a source; made by mm_source_resolve(). */
typedef struct MmSourceConfig
{
	char	   *name;			/* in messages: server name, or host list */
	bool		is_server;		/* named server, else a connection string */
	char	   *shown;			/* server name, or the string without password:
								 * what views may show */
	char	   *uri;			/* as given, with options of the server added:
								 * may hold a password, never shown */
	bool		has_password;	/* a connection string that holds a secret */
	char	   *password;		/* of the user mapping, or NULL: never shown */
	char	   *database;		/* database named by the string, or NULL */
	char	   *username;		/* for messages, or NULL */
	char	   *auth_mechanism; /* for messages, or NULL */
	bool		coarse_errors;	/* reachability details only to the log */
	char	   *allowed_hosts;	/* NULL: any host, for superusers; else the
								 * setting, where empty means any but
								 * link-local addresses and sockets in the
								 * file system */
	int			connect_timeout_ms;
	int			socket_timeout_ms;
	char	   *application_name;
} MmSourceConfig;

typedef enum MmCollectionKind
{
	MM_COLLECTION,
	MM_COLLECTION_VIEW,
	MM_COLLECTION_TIMESERIES
} MmCollectionKind;

/* What is known of a collection before it is read. */
typedef struct MmCollection
{
	char	   *database;
	char	   *name;
	MmCollectionKind kind;
	int64		documents;		/* estimate */
	int64		bytes;			/* estimate, uncompressed */
	int32		average_bytes;
	int32		indexes;
	bool		sharded;
	bool		clustered;
	bool		capped;
	bool		has_id_index;	/* _id ranges are possible */
	bytea	   *collation;		/* BSON document, or NULL: simple */
	bytea	   *uuid;			/* of this and no later collection, or NULL */
} MmCollection;

/* A range of a collection: opaque BSON documents, NULL = open. */
typedef struct MmBounds
{
	bytea	   *lower;
	bytea	   *upper;
} MmBounds;

typedef enum MmSplitMethod
{
	MM_SPLIT_AUTO,
	MM_SPLIT_RECORD,
	MM_SPLIT_ID,
	MM_SPLIT_NONE
} MmSplitMethod;

/* How the caller would like a collection to be cut. */
typedef struct MmSplitRequest
{
	MmSplitMethod method;		/* MM_SPLIT_AUTO: the best that can be had */
	int64		chunk_bytes;	/* about this much in a chunk, or less */
	const char *not_record;		/* why record ranges are of no use to the
								 * caller: a clause, or NULL */
} MmSplitRequest;

/*
 * The way in which a collection was cut, and why.  Bounds and positions of a
 * split that is pinned hold for one collection only, perhaps for one server
 * only, and not for ever: a stream fails with split_lost when they are void.
 * Everything that was read must then be thrown away, and the collection be
 * split again.
 */
typedef struct MmSplit
{
	MmSplitMethod method;		/* never MM_SPLIT_AUTO */
	char	   *reason;			/* one clause for people */
	bool		moving;			/* read in an order in which documents move
								 * when they change: some may be missed */
	bytea	   *pin;			/* BSON, opaque: what it holds for; or NULL */
	int			nchunks;		/* at least 1 */
	MmBounds   *chunks;			/* in order */
} MmSplit;

typedef enum MmNext
{
	MM_NEXT_DOCUMENT,
	MM_NEXT_END,
	MM_NEXT_ERROR
} MmNext;

/* The BSON types of the smallest and the greatest _id (0: no document). */
typedef struct MmIdEnds
{
	uint8		first;
	uint8		last;
} MmIdEnds;

/* One line of migrate_ping(). */
typedef struct MmPingItem
{
	char	   *item;
	char	   *status;			/* ok, warning, error */
	char	   *detail;
} MmPingItem;

/*
 * The implementation of one kind of source.  "filter" is Extended JSON text
 * or NULL, already checked with check_filter.
 */
typedef struct MmSourceOps
{
	const char *kind;			/* "mongodb" */

	/* Connects and authenticates; NULL with error set when that fails. */
	MmSource   *(*open) (const MmSourceConfig *config, MmSourceError *error);
	void		(*close) (MmSource *source);

	/*
	 * Describes a collection.  Returns false with sqlstate HV00R when there
	 * is none (message 13, with the closest name as hint).
	 */
	bool		(*describe) (MmSource *source, const char *database,
							 const char *collection, MmCollection **result,
							 MmSourceError *error);
	/* List of MmCollection *, names matching a glob pattern, by name. */
	bool		(*list) (MmSource *source, const char *database,
						 const char *pattern, List **result,
						 MmSourceError *error);
	/*
	 * About how many of the documents match, from a sample of them; 0 when
	 * too few of that do to tell.
	 */
	bool		(*estimate) (MmSource *source, const MmCollection *collection,
							 const char *filter, int timeout_ms,
							 int64 *documents, MmSourceError *error);
	/* List of MmPingItem *; a failure is an item with status "error". */
	List	   *(*ping) (MmSource *source, const char *database);

	/* Types at the two ends of the _id index. */
	bool		(*id_ends) (MmSource *source, const MmCollection *collection,
							MmIdEnds *result, MmSourceError *error);

	/*
	 * Cuts a collection into at most 2000 chunks.  Raises
	 * ERRCODE_FEATURE_NOT_SUPPORTED for a method it cannot do; check_split
	 * only does that.
	 */
	bool		(*split) (MmSource *source, const MmCollection *collection,
						  const char *filter, const MmSplitRequest *request,
						  MmSplit **result, MmSourceError *error);
	bool		(*check_split) (MmSource *source,
								const MmCollection *collection,
								const char *filter,
								const MmSplitRequest *request,
								MmSourceError *error);

	/*
	 * Opens a stream on a chunk, from a position (as get_position returned
	 * it; NULL: from its lower bound).  "pin" is that of the split.
	 */
	MmStream   *(*open_chunk) (MmSource *source,
							   const MmCollection *collection,
							   const char *filter, MmSplitMethod method,
							   const bytea *pin, const MmBounds *bounds,
							   const bytea *position, MmSourceError *error);
	/* Opens a stream on n random documents; n = 0: on all of them. */
	MmStream   *(*open_sample) (MmSource *source,
								const MmCollection *collection,
								const char *filter, int64 n, int timeout_ms,
								MmSourceError *error);

	/*
	 * The next document: *doc is valid until the next call on the stream.
	 * The length word has been checked against *len, nothing else.
	 */
	MmNext		(*next) (MmStream *stream, const uint8 **doc, uint32 *len,
						 MmSourceError *error);
	/*
	 * Is there a position behind the last document that next() returned?
	 * Never before the end in streams of method "none", whose chunks must be
	 * committed as a whole.  Others have one at the latest when next() has
	 * given out what came with the last answer of the server, so without
	 * waiting for another.
	 */
	bool		(*has_position) (MmStream *stream);
	/* That position; NULL: the one that the stream was opened at. */
	bytea	   *(*get_position) (MmStream *stream);
	void		(*close_stream) (MmStream *stream);
} MmSourceOps;

/* Every implementation's source starts with this. */
struct MmSource
{
	const MmSourceOps *ops;
};

/* mongo.c: the only implementation so far. */
extern const MmSourceOps mm_source_mongo;

/*
 * resolve.c: turns the source argument of the SQL functions into a
 * configuration, as user "userid": existence of server and user mapping,
 * USAGE on them, form of the string.  Raises messages 1-4, 11, 16 of the
 * interface.  Result in the current context.  Needs a transaction.
 */
extern MmSourceConfig *mm_source_resolve(const char *source, Oid userid);
/*
 * Raises messages 2, 11 and 16, or 42501 for a bare string, unless the user
 * may use the source; nothing else is looked at.
 */
extern void mm_source_check_rights(const char *source, Oid userid);
extern void mm_source_check_server_options(List *options);
extern void mm_source_check_mapping_options(List *options);

/* Is this text a connection string (has a ':' or '/'), not a server name? */
extern bool mm_source_is_uri(const char *source);

/* Raises 22023 unless "filter" is one Extended JSON document. */
extern void mm_source_check_filter(const char *filter);

/*
 * All texts of the error as one, for a row of a result.  What is for the log
 * only is logged.
 */
extern char *mm_source_tell(const MmSourceError *error);

/* Raises the error with its SQLSTATE, texts and hint; never returns. */
extern void mm_source_raise(const MmSourceError *error)
			pg_attribute_noreturn();

/*
 * For workers, first thing: memory settings without which large replies cost
 * three to eight times as much.  Not for sessions, whose memory is shared
 * with others.
 */
extern void mm_source_process_init(void);

/*
 * A function that tells whether this process should leave a wait on the far
 * side although no query cancel or termination is pending (a loader whose
 * job is paused).  The call then fails with error->stopped.  It is called
 * inside the driver: it must not raise and should only look at memory.
 */
typedef bool (*MmStopCheck) (void);
extern void mm_source_set_stop_check(MmStopCheck check);

/* "libmongoc 1.23.1" */
extern const char *mm_source_driver_version(void);

/* "id" and so on, for views and options; -1 or NULL when unknown. */
extern const char *mm_split_method_name(MmSplitMethod method);
extern bool mm_split_method_parse(const char *name, MmSplitMethod *method);

#endif							/* MM_SOURCE_H */
