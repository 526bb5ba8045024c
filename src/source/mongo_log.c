/*-------------------------------------------------------------------------
 *
 * mongo_log.c
 *	  Where the driver's log goes.
 *
 * By default the driver prints to stderr.  Our handler keeps the last warning
 * or error in a fixed buffer, since it runs under a lock of the driver and
 * must not raise or allocate.  Some failures, such as a CA file that cannot
 * be read, are told nowhere else: mongo_connect.c takes them from here.  What
 * was kept when a call has failed goes to the server log with DEBUG1.
 *
 * It may hold parts of a connection string: it leaves the process only
 * through the credential filter of mongo_error.c.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "source/mongo.h"

static char last_line[384];

static void
keep_line(mongoc_log_level_t level, const char *domain, const char *message,
		  void *data)
{
	if (level <= MONGOC_LOG_LEVEL_WARNING)
		strlcpy(last_line, message, sizeof(last_line));
}

void
mm_mongo_log_init(void)
{
	mongoc_log_set_handler(keep_line, NULL);
}

void
mm_mongo_log_reset(void)
{
	last_line[0] = '\0';
}

const char *
mm_mongo_log_last(void)
{
	return last_line;
}
