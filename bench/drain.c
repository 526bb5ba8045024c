/*-------------------------------------------------------------------------
 *
 * drain.c
 *	  Reads a MongoDB collection and throws it away: the bound that the read
 *	  side of a migration cannot beat.
 *
 *	  drain [--by record|id|natural] [--processes N] [--chunks N]
 *			[--reply-bytes N] URI DB.COLLECTION
 *
 * Bounds come from $sample, as in the extension; each process takes every
 * N-th range: of record ids in natural order, of _id by min, max and hint, or
 * (natural) there is one range.  find and getMore are sent as commands.  By
 * record ids a range ends with the reply that reaches its bound: what lies
 * behind is counted twice, so that the collection should have no gaps.
 *
 * Prints documents, seconds, documents a second, and for a mongod on this
 * machine the CPU time of mongod and of this program, in ns per document.
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
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MAX_CHUNKS 1000
#define SAMPLES_PER_CHUNK 16

typedef enum Way
{
	BY_RECORD,
	BY_ID,
	NATURAL
} Way;

/* A bound: {_id: value}, or a record id. */
typedef struct Bound
{
	bson_t		id;
	int64_t		record;
} Bound;

static Way	way = BY_RECORD;
static int64_t reply_bytes = 1536 * 1024;
static int64_t average_bytes = 1;
static char database[256];
static const char *collection;

static Bound bounds[MAX_CHUNKS];
static int	nbounds;

static void
fail(const char *what, const bson_error_t *error)
{
	fprintf(stderr, "drain: %s: %s\n", what, error->message);
	exit(1);
}

static void
run(mongoc_client_t *client, const char *db, bson_t *command, bson_t *reply)
{
	bson_error_t error;

	if (!mongoc_client_command_simple(client, db, command, NULL, reply,
									  &error))
		fail("command", &error);
	bson_destroy(command);
}

static int64_t
number_of(const bson_t *reply, const char *path)
{
	bson_iter_t iter;
	bson_iter_t found;

	if (!bson_iter_init(&iter, reply) ||
		!bson_iter_find_descendant(&iter, path, &found))
		return 0;
	return bson_iter_as_int64(&found);
}

/* The documents of a reply. */
static bool
open_batch(const bson_t *reply, bson_iter_t *batch)
{
	bson_iter_t iter;
	bson_iter_t found;

	return ((bson_iter_init(&iter, reply) &&
			 bson_iter_find_descendant(&iter, "cursor.firstBatch", &found)) ||
			(bson_iter_init(&iter, reply) &&
			 bson_iter_find_descendant(&iter, "cursor.nextBatch", &found))) &&
		bson_iter_recurse(&found, batch);
}

/*
 * Bounds
 */

/* Appends the _ids of a sorted sample to an array. */
static void
read_sample(mongoc_client_t *client, int n, bson_t *ids)
{
	bson_t		reply;
	bson_iter_t batch;
	bson_iter_t doc;
	char		buffer[16];
	const char *key;
	uint32_t	i = 0;

	run(client, database,
		BCON_NEW("aggregate", BCON_UTF8(collection), "pipeline", "[",
				 "{", "$sample", "{", "size", BCON_INT32(n), "}", "}",
				 "{", "$project", "{", "_id", BCON_INT32(1), "}", "}",
				 "{", "$sort", "{", "_id", BCON_INT32(1), "}", "}", "]",
				 "cursor", "{", "batchSize", BCON_INT32(n + 1), "}"), &reply);
	if (open_batch(&reply, &batch))
		while (bson_iter_next(&batch))
		{
			bson_uint32_to_string(i++, &key, buffer, sizeof(buffer));
			if (bson_iter_recurse(&batch, &doc) &&
				bson_iter_find(&doc, "_id"))
				bson_append_iter(ids, key, -1, &doc);
		}
	bson_destroy(&reply);
}

static int
compare_records(const void *a, const void *b)
{
	int64_t		x = *(const int64_t *) a;
	int64_t		y = *(const int64_t *) b;

	return (x > y) - (x < y);
}

/* Record ids of a sample; returns how many. */
static int
read_records(mongoc_client_t *client, const bson_t *ids, int64_t *records,
			 int max)
{
	bson_t		reply;
	bson_iter_t batch;
	bson_iter_t doc;
	int			n = 0;

	run(client, database,
		BCON_NEW("find", BCON_UTF8(collection), "filter", "{", "_id", "{",
				 "$in", BCON_ARRAY(ids), "}", "}",
				 "projection", "{", "_id", BCON_INT32(1), "}",
				 "hint", "{", "_id", BCON_INT32(1), "}",
				 "showRecordId", BCON_BOOL(true),
				 "batchSize", BCON_INT32(max + 1)), &reply);
	if (open_batch(&reply, &batch))
		while (bson_iter_next(&batch) && n < max)
			if (bson_iter_recurse(&batch, &doc) &&
				bson_iter_find(&doc, "$recordId"))
				records[n++] = bson_iter_as_int64(&doc);
	bson_destroy(&reply);
	qsort(records, (size_t) n, sizeof(records[0]), compare_records);
	return n;
}

static void
find_bounds(mongoc_client_t *client, int chunks)
{
	static int64_t records[MAX_CHUNKS * SAMPLES_PER_CHUNK];
	bson_t		ids = BSON_INITIALIZER;
	bson_iter_t iter;
	int			n = chunks * SAMPLES_PER_CHUNK;
	int			i = 0;

	read_sample(client, n, &ids);
	if (way == BY_RECORD)
	{
		n = read_records(client, &ids, records, n);
		for (i = SAMPLES_PER_CHUNK; i < n; i += SAMPLES_PER_CHUNK)
			bounds[nbounds++].record = records[i];
	}
	else if (bson_iter_init(&iter, &ids))
		while (bson_iter_next(&iter))
			if (++i % SAMPLES_PER_CHUNK == 0 && nbounds < chunks - 1)
			{
				bson_init(&bounds[nbounds].id);
				bson_append_iter(&bounds[nbounds++].id, "_id", 3, &iter);
			}
	bson_destroy(&ids);
}

/*
 * Reading
 */

static bson_t *
make_query(const Bound *lower, const Bound *upper, int64_t batch_size)
{
	bson_t	   *command = BCON_NEW("find", BCON_UTF8(collection),
								   "batchSize", BCON_INT32((int) batch_size),
								   "hint", "{",
								   way == BY_ID ? "_id" : "$natural",
								   BCON_INT32(1), "}");

	if (way == BY_RECORD)
		BSON_APPEND_BOOL(command, "$_requestResumeToken", true);
	if (way == BY_RECORD && lower != NULL)
		BCON_APPEND(command, "$_resumeAfter", "{",
					"$recordId", BCON_INT64(lower->record), "}");
	if (way == BY_ID && lower != NULL)
		BSON_APPEND_DOCUMENT(command, "min", &lower->id);
	if (way == BY_ID && upper != NULL)
		BSON_APPEND_DOCUMENT(command, "max", &upper->id);
	return command;
}

/* Documents wanted in the reply behind a record id. */
static int64_t
batch_size(const Bound *upper, int64_t at)
{
	int64_t		size = reply_bytes / average_bytes;

	if (way == BY_RECORD && upper != NULL && upper->record - at < size)
		size = upper->record - at;
	return size > 0 ? size : 1;
}

static int64_t
count_batch(const bson_t *reply)
{
	bson_iter_t batch;
	int64_t		n = 0;

	if (open_batch(reply, &batch))
		while (bson_iter_next(&batch))
			n++;
	return n;
}

static int64_t
drain_range(mongoc_client_t *client, const Bound *lower, const Bound *upper)
{
	int64_t		at = lower ? lower->record : 0;
	int64_t		n = 0;
	int64_t		cursor;
	bson_t		reply;

	run(client, database, make_query(lower, upper, batch_size(upper, at)),
		&reply);
	for (;;)
	{
		n += count_batch(&reply);
		cursor = number_of(&reply, "cursor.id");
		at = number_of(&reply, "cursor.postBatchResumeToken.$recordId");
		bson_destroy(&reply);
		if (cursor == 0 ||
			(way == BY_RECORD && upper != NULL && at >= upper->record))
			break;
		run(client, database,
			BCON_NEW("getMore", BCON_INT64(cursor),
					 "collection", BCON_UTF8(collection), "batchSize",
					 BCON_INT32((int) batch_size(upper, at))), &reply);
	}
	if (cursor != 0)
	{
		run(client, database,
			BCON_NEW("killCursors", BCON_UTF8(collection),
					 "cursors", "[", BCON_INT64(cursor), "]"), &reply);
		bson_destroy(&reply);
	}
	return n;
}

static int64_t
drain_share(const char *uri, int share, int shares)
{
	mongoc_client_t *client = mongoc_client_new(uri);
	int64_t		n = 0;

	for (int i = share; i <= nbounds; i += shares)
		n += drain_range(client, i > 0 ? &bounds[i - 1] : NULL,
						 i < nbounds ? &bounds[i] : NULL);
	mongoc_client_destroy(client);
	return n;
}

/*
 * Time
 */

static double
now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double) t.tv_sec + (double) t.tv_nsec / 1e9;
}

/* CPU seconds of a process of this machine; 0 if it is none. */
static double
cpu_of(int64_t pid)
{
	char		path[64];
	FILE	   *file;
	unsigned long user = 0;
	unsigned long system = 0;

	snprintf(path, sizeof(path), "/proc/%" PRId64 "/stat", pid);
	file = fopen(path, "r");
	if (file == NULL)
		return 0;
	if (fscanf(file, "%*d (%*[^)]) %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u"
			   " %*u %lu %lu", &user, &system) != 2)
		user = system = 0;
	fclose(file);
	return (double) (user + system) / (double) sysconf(_SC_CLK_TCK);
}

static double
cpu_of_children(void)
{
	struct rusage usage;

	getrusage(RUSAGE_CHILDREN, &usage);
	return (double) (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
		(double) (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

/*
 * Main
 */

static void
usage(void)
{
	fprintf(stderr, "usage: drain [--by record|id|natural] [--processes N] [--chunks N] [--reply-bytes N] URI DB.COLLECTION\n");
	exit(2);
}

static void
set_option(const char *name, const char *value, int *processes, int *chunks)
{
	if (strcmp(name, "--processes") == 0)
		*processes = atoi(value);
	else if (strcmp(name, "--chunks") == 0)
		*chunks = atoi(value);
	else if (strcmp(name, "--reply-bytes") == 0)
		reply_bytes = atoll(value);
	else if (strcmp(name, "--by") != 0)
		usage();
	else if (strcmp(value, "record") == 0)
		way = BY_RECORD;
	else if (strcmp(value, "id") == 0)
		way = BY_ID;
	else if (strcmp(value, "natural") == 0)
		way = NATURAL;
	else
		usage();
}

/*
 * The client is gone again before the processes are forked.  Returns the
 * process id of mongod.
 */
static int64_t
prepare(const char *uri, const char *namespace, int chunks)
{
	mongoc_client_t *client = mongoc_client_new(uri);
	const char *dot = strchr(namespace, '.');
	bson_t		reply;
	int64_t		pid;

	if (client == NULL || dot == NULL)
		usage();
	snprintf(database, sizeof(database), "%.*s", (int) (dot - namespace),
			 namespace);
	collection = dot + 1;
	run(client, database, BCON_NEW("collStats", BCON_UTF8(collection)),
		&reply);
	average_bytes = number_of(&reply, "avgObjSize");
	bson_destroy(&reply);
	if (average_bytes < 1)
		average_bytes = 1;
	if (way != NATURAL && chunks > 1)
		find_bounds(client, chunks);
	run(client, "admin", BCON_NEW("serverStatus", BCON_INT32(1)), &reply);
	pid = number_of(&reply, "pid");
	bson_destroy(&reply);
	mongoc_client_destroy(client);
	return pid;
}

static int64_t
drain(const char *uri, int processes)
{
	int64_t    *counts = mmap(NULL, sizeof(int64_t) * (size_t) processes,
							  PROT_READ | PROT_WRITE,
							  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int64_t		total = 0;

	for (int p = 0; p < processes; p++)
		if (fork() == 0)
		{
			counts[p] = drain_share(uri, p, processes);
			_exit(0);
		}
	while (wait(NULL) > 0)
		;
	for (int p = 0; p < processes; p++)
		total += counts[p];
	return total;
}

int
main(int argc, char **argv)
{
	int			processes = 2;
	int			chunks = 16;
	int			i;
	int64_t		mongod;
	int64_t		total;
	double		began;
	double		seconds;
	double		cpu;

	for (i = 1; i + 1 < argc && strncmp(argv[i], "--", 2) == 0; i += 2)
		set_option(argv[i], argv[i + 1], &processes, &chunks);
	if (argc - i != 2 || processes < 1 || chunks < 1 || chunks > MAX_CHUNKS)
		usage();
	mallopt(M_MMAP_THRESHOLD, 1 << 30);
	mongoc_init();
	mongod = prepare(argv[i], argv[i + 1], chunks);
	cpu = cpu_of(mongod);
	began = now();
	total = drain(argv[i], processes);
	seconds = now() - began;
	cpu = cpu_of(mongod) - cpu;
	printf("%" PRId64 " %.3f %.0f %.0f %.0f\n", total, seconds,
		   (double) total / seconds, cpu * 1e9 / (double) total,
		   cpu_of_children() * 1e9 / (double) total);
	return 0;
}
