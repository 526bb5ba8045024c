/*-------------------------------------------------------------------------
 *
 * rival.c
 *	  The honest rival: raw BSON to COPY BINARY over a socket.
 *
 *	  rival [--split natural|id|record] [--processes N] [--ranges N]
 *			[--columns FILE --conninfo TEXT --table NAME] URI DB.COLLECTION
 *
 * What a good C programmer would write who needs no checkpoints, no second
 * try and no dead letters: N processes claim ranges of the collection, each
 * with a connection to either side and one COPY.  Without a table it reads
 * and throws away: the drain, the bound that no reader of this server beats.
 * Prints documents and seconds.
 *
 * COPY runs as the extension's loaders do, with synchronous_commit off and
 * lz4.
 *
 *-------------------------------------------------------------------------
 */
#include <libpq-fe.h>

#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "reader.h"
#include "rival_row.h"

#define SEND_BYTES (64 * 1024)

/* Signature, flags (none), length of an extension (none). */
#define HEADER_BYTES (11 + 4 + 4)

typedef struct Options
{
	ReaderSplit split;
	int			processes;
	int			ranges;
	const char *columns;
	const char *conninfo;
	const char *table;
	const char *uri;
	const char *namespace;
} Options;

/* Shared by the processes. */
typedef struct Shared
{
	atomic_int	next;			/* range to be claimed */
	atomic_llong documents;
} Shared;

/* One process's way into the table. */
typedef struct Target
{
	PGconn	   *connection;
	Row		   *row;
	Buffer		buffer;
} Target;

static void
fail(const Target *target)
{
	fprintf(stderr, "rival: %s", PQerrorMessage(target->connection));
	exit(1);
}

static void
execute(Target *target, const char *sql, ExecStatusType wanted)
{
	PGresult   *result = PQexec(target->connection, sql);

	if (PQresultStatus(result) != wanted)
		fail(target);
	PQclear(result);
}

static void
open_target(Target *target, const Options *options)
{
	static const char header[HEADER_BYTES] = "PGCOPY\n\377\r\n";
	char		sql[256];

	target->row = row_read_columns(options->columns);
	target->connection = PQconnectdb(options->conninfo);
	if (PQstatus(target->connection) != CONNECTION_OK)
		fail(target);
	execute(target, "SET synchronous_commit = off", PGRES_COMMAND_OK);
	execute(target, "SET default_toast_compression = lz4", PGRES_COMMAND_OK);
	snprintf(sql, sizeof(sql), "COPY %s FROM STDIN (FORMAT binary)",
			 options->table);
	execute(target, sql, PGRES_COPY_IN);
	memcpy(buffer_room(&target->buffer, HEADER_BYTES), header, HEADER_BYTES);
	target->buffer.len = HEADER_BYTES;
}

static void
send_buffer(Target *target)
{
	if (PQputCopyData(target->connection, target->buffer.data,
					  (int) target->buffer.len) != 1)
		fail(target);
	target->buffer.len = 0;
}

static void
store(void *arg, const uint8_t *doc, uint32_t len)
{
	Target	   *target = arg;

	(void) len;
	row_append(target->row, doc, &target->buffer);
	if (target->buffer.len >= SEND_BYTES)
		send_buffer(target);
}

static void
close_target(Target *target)
{
	PGresult   *result;

	memset(buffer_room(&target->buffer, 2), 0xff, 2);
	target->buffer.len += 2;
	send_buffer(target);
	if (PQputCopyEnd(target->connection, NULL) != 1)
		fail(target);
	result = PQgetResult(target->connection);
	if (PQresultStatus(result) != PGRES_COMMAND_OK)
		fail(target);
	PQclear(result);
	PQfinish(target->connection);
}

static void
throw_away(void *arg, const uint8_t *doc, uint32_t len)
{
	(void) arg, (void) doc, (void) len;
}

static void
work(const Options *options, const ReaderRanges *ranges, Shared *shared)
{
	mongoc_client_t *client = reader_connect(options->uri);
	Target		target = {0};
	bool		stores = options->table != NULL;
	int64_t		n = 0;
	int			i;

	if (stores)
		open_target(&target, options);
	while ((i = atomic_fetch_add(&shared->next, 1)) <= ranges->n)
		n += reader_read(client, options->namespace, ranges, i,
						 stores ? store : throw_away, &target);
	if (stores)
		close_target(&target);
	mongoc_client_destroy(client);
	atomic_fetch_add(&shared->documents, n);
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
	fprintf(stderr, "usage: rival [--split natural|id|record] [--processes N] [--ranges N]\n"
			"             [--columns FILE --conninfo TEXT --table NAME] URI DB.COLLECTION\n");
	exit(2);
}

static ReaderSplit
parse_split(const char *name)
{
	if (strcmp(name, "natural") == 0)
		return READER_NATURAL;
	if (strcmp(name, "id") == 0)
		return READER_ID;
	if (strcmp(name, "record") != 0)
		usage();
	return READER_RECORD;
}

static Options
parse_options(int argc, char **argv)
{
	Options		options = {
		.split = READER_RECORD, .processes = 2, .ranges = 16
	};
	int			i;

	for (i = 1; i + 1 < argc && strncmp(argv[i], "--", 2) == 0; i += 2)
	{
		const char *value = argv[i + 1];

		if (strcmp(argv[i], "--split") == 0)
			options.split = parse_split(value);
		else if (strcmp(argv[i], "--processes") == 0)
			options.processes = atoi(value);
		else if (strcmp(argv[i], "--ranges") == 0)
			options.ranges = atoi(value);
		else if (strcmp(argv[i], "--columns") == 0)
			options.columns = value;
		else if (strcmp(argv[i], "--conninfo") == 0)
			options.conninfo = value;
		else if (strcmp(argv[i], "--table") == 0)
			options.table = value;
		else
			usage();
	}
	if (argc - i != 2 || options.processes < 1 || options.ranges < 1 ||
		options.ranges > READER_MAX_RANGES ||
		(options.table != NULL && options.columns == NULL))
		usage();
	options.uri = argv[i];
	options.namespace = argv[i + 1];
	return options;
}

/* The client is gone again before the processes are forked. */
static void
cut(const Options *options, ReaderRanges *ranges)
{
	mongoc_client_t *client = reader_connect(options->uri);

	reader_cut(client, options->namespace, options->split, options->ranges,
			   ranges);
	mongoc_client_destroy(client);
}

/* Waits for all processes; the worst exit status. */
static int
wait_for_all(void)
{
	int			worst = 0;
	int			status;

	while (wait(&status) > 0)
		if (status != 0)
			worst = 1;
	return worst;
}

int
main(int argc, char **argv)
{
	static ReaderRanges ranges;
	Options		options = parse_options(argc, argv);
	Shared	   *shared = mmap(NULL, sizeof(Shared), PROT_READ | PROT_WRITE,
							  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	double		began;
	double		seconds;
	int			status;

	reader_begin();
	began = now();
	cut(&options, &ranges);
	for (int p = 0; p < options.processes; p++)
		if (fork() == 0)
		{
			work(&options, &ranges, shared);
			_exit(0);
		}
	status = wait_for_all();
	seconds = now() - began;
	printf("%lld %.3f\n", (long long) shared->documents, seconds);
	return status;
}
