/*-------------------------------------------------------------------------
 *
 * drain.c
 *	  Reads a MongoDB collection by _id ranges and throws it away: the bound
 *	  that the read side of a migration cannot beat.
 *
 *	  drain [--processes N] [--chunks N] URI DB.COLLECTION
 *
 * Bounds come from $sample, as in the extension; each process takes every
 * N-th range with find, min, max and hint.  Prints documents, seconds and
 * documents a second.
 *
 *-------------------------------------------------------------------------
 */
#include <mongoc/mongoc.h>

#include <inttypes.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MAX_CHUNKS 1000
#define REPLY_DOCUMENTS 10000

static bson_t bounds[MAX_CHUNKS];
static int	nbounds;

static void
fail(const char *what, const bson_error_t *error)
{
	fprintf(stderr, "drain: %s: %s\n", what, error->message);
	exit(1);
}

static mongoc_collection_t *
open_collection(mongoc_client_t *client, const char *namespace)
{
	const char *dot = strchr(namespace, '.');
	char		database[256];

	snprintf(database, sizeof(database), "%.*s", (int) (dot - namespace),
			 namespace);
	return mongoc_client_get_collection(client, database, dot + 1);
}

/* Every tenth of a sorted sample of ten ids a chunk. */
static void
find_bounds(mongoc_collection_t *collection, int chunks)
{
	bson_t	   *pipeline = BCON_NEW("pipeline", "[",
									"{", "$sample", "{", "size", BCON_INT32(chunks * 10), "}", "}",
									"{", "$project", "{", "_id", BCON_INT32(1), "}", "}",
									"{", "$sort", "{", "_id", BCON_INT32(1), "}", "}", "]");
	mongoc_cursor_t *cursor;
	const bson_t *doc;
	bson_error_t error;
	int			i = 0;

	cursor = mongoc_collection_aggregate(collection, MONGOC_QUERY_NONE,
										 pipeline, NULL, NULL);
	while (mongoc_cursor_next(cursor, &doc))
		if (++i % 10 == 0 && nbounds < chunks - 1)
			bson_copy_to(doc, &bounds[nbounds++]);
	if (mongoc_cursor_error(cursor, &error))
		fail("$sample", &error);
	mongoc_cursor_destroy(cursor);
	bson_destroy(pipeline);
}

static int64_t
drain_range(mongoc_collection_t *collection, const bson_t *lower,
			const bson_t *upper)
{
	bson_t		filter = BSON_INITIALIZER;
	bson_t	   *opts = BCON_NEW("hint", "{", "_id", BCON_INT32(1), "}",
								"batchSize", BCON_INT32(REPLY_DOCUMENTS));
	mongoc_cursor_t *cursor;
	const bson_t *doc;
	bson_error_t error;
	int64_t		n = 0;

	if (lower != NULL)
		BSON_APPEND_DOCUMENT(opts, "min", lower);
	if (upper != NULL)
		BSON_APPEND_DOCUMENT(opts, "max", upper);
	cursor = mongoc_collection_find_with_opts(collection, &filter, opts, NULL);
	while (mongoc_cursor_next(cursor, &doc))
		n++;
	if (mongoc_cursor_error(cursor, &error))
		fail("find", &error);
	mongoc_cursor_destroy(cursor);
	bson_destroy(opts);
	return n;
}

static int64_t
drain_share(const char *uri, const char *namespace, int share, int shares)
{
	mongoc_client_t *client = mongoc_client_new(uri);
	mongoc_collection_t *collection = open_collection(client, namespace);
	int64_t		n = 0;

	for (int i = share; i <= nbounds; i += shares)
		n += drain_range(collection, i > 0 ? &bounds[i - 1] : NULL,
						 i < nbounds ? &bounds[i] : NULL);
	mongoc_collection_destroy(collection);
	mongoc_client_destroy(client);
	return n;
}

static double
now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double) t.tv_sec + (double) t.tv_nsec / 1e9;
}

static void
usage(void)
{
	fprintf(stderr, "usage: drain [--processes N] [--chunks N] URI DB.COLLECTION\n");
	exit(2);
}

/* The client is gone again before the processes are forked. */
static void
prepare(const char *uri, const char *namespace, int chunks)
{
	mongoc_client_t *client = mongoc_client_new(uri);
	mongoc_collection_t *collection;

	if (client == NULL || strchr(namespace, '.') == NULL)
		usage();
	collection = open_collection(client, namespace);
	find_bounds(collection, chunks);
	mongoc_collection_destroy(collection);
	mongoc_client_destroy(client);
}

int
main(int argc, char **argv)
{
	int			processes = 2;
	int			chunks = 16;
	int			i;
	double		began;
	double		seconds;
	int64_t    *counts;
	int64_t		total = 0;

	for (i = 1; i + 1 < argc && strncmp(argv[i], "--", 2) == 0; i += 2)
	{
		if (strcmp(argv[i], "--processes") == 0)
			processes = atoi(argv[i + 1]);
		else if (strcmp(argv[i], "--chunks") == 0)
			chunks = atoi(argv[i + 1]);
		else
			usage();
	}
	if (argc - i != 2 || processes < 1 || chunks < 1 || chunks > MAX_CHUNKS)
		usage();
	mallopt(M_MMAP_THRESHOLD, 1 << 30);
	mongoc_init();
	prepare(argv[i], argv[i + 1], chunks);
	counts = mmap(NULL, sizeof(int64_t) * (size_t) processes,
				  PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	began = now();
	for (int p = 0; p < processes; p++)
		if (fork() == 0)
		{
			counts[p] = drain_share(argv[i], argv[i + 1], p, processes);
			_exit(0);
		}
	while (wait(NULL) > 0)
		;
	seconds = now() - began;
	for (int p = 0; p < processes; p++)
		total += counts[p];
	printf("%" PRId64 " %.3f %.0f\n", total, seconds, (double) total / seconds);
	return 0;
}
