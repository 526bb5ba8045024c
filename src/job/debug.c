/*-------------------------------------------------------------------------
 *
 * debug.c
 *	  Named points at which tests stop, fail or kill a worker.
 *
 * A session switches an action of a point on by taking an advisory lock that
 * stands for both; a worker that comes to the point looks which of its locks
 * are taken.  So a switch works across processes and at once, needs nothing
 * in shared memory, and is off when its session ends: by a crash as well, so
 * that a worker is killed once and not again when it comes back.
 *
 *	  wait		the worker waits until the action is switched off
 *	  error		it raises an internal error
 *	  kill		it sends SIGKILL to itself
 *
 * In this order, when there are several.  A test makes the SQL function that
 * is the switch by itself (t/lib/FaultTest.pm):
 *
 *	  CREATE FUNCTION mm_debug_switch(point text, action text, is_on boolean)
 *	  RETURNS void STRICT LANGUAGE c AS 'mongo_migrate_engine', 'mm_debug_switch';
 *
 * Only builds with FAULTS=1 have this function, and SQL's own functions
 * cannot take these locks (field 4 is 1 or 2 there).
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "job/debug.h"

#ifdef MM_DEBUG_POINTS

#include <signal.h>

#include "access/xact.h"
#include "common/hashfn.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "storage/lock.h"
#include "utils/builtins.h"

#include "compat.h"

MM_FUNCTION(mm_debug_switch);

/* Field 4 of these locks, beside the kinds in worker.h. */
#define DEBUG_LOCK_KIND 5

typedef enum DebugAction
{
	DEBUG_WAIT,
	DEBUG_ERROR,
	DEBUG_KILL
} DebugAction;

static const char *commit_point = NULL;

static LOCKTAG
make_tag(const char *name, DebugAction action)
{
	LOCKTAG		tag;

	SET_LOCKTAG_ADVISORY(tag, MyDatabaseId,
						 hash_bytes((const unsigned char *) name,
									strlen(name)),
						 action, DEBUG_LOCK_KIND);
	return tag;
}

static DebugAction
parse_action(const char *name)
{
	if (strcmp(name, "wait") == 0)
		return DEBUG_WAIT;
	if (strcmp(name, "error") == 0)
		return DEBUG_ERROR;
	if (strcmp(name, "kill") == 0)
		return DEBUG_KILL;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("unrecognized debug action \"%s\"", name)));
}

/* Until the end of the session, or until it is switched off. */
Datum
mm_debug_switch(PG_FUNCTION_ARGS)
{
	char	   *name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	char	   *action = text_to_cstring(PG_GETARG_TEXT_PP(1));
	LOCKTAG		tag = make_tag(name, parse_action(action));

	if (PG_GETARG_BOOL(2))
		(void) LockAcquire(&tag, ExclusiveLock, true, false);
	else
		(void) LockRelease(&tag, ExclusiveLock, true);
	PG_RETURN_VOID();
}

static void
wait_while_on(const char *name)
{
	LOCKTAG		tag = make_tag(name, DEBUG_WAIT);

	(void) LockAcquire(&tag, ShareLock, true, false);
	(void) LockRelease(&tag, ShareLock, true);
}

static bool
is_on(const char *name, DebugAction action)
{
	LOCKTAG		tag = make_tag(name, action);

	if (LockAcquire(&tag, ShareLock, true, true) == LOCKACQUIRE_NOT_AVAIL)
		return true;
	(void) LockRelease(&tag, ShareLock, true);
	return false;
}

static void
kill_if_on(const char *name)
{
	if (is_on(name, DEBUG_KILL))
		(void) kill(MyProcPid, SIGKILL);
}

void
mm_debug_point(const char *name)
{
	/* A wait that is interrupted outside of a transaction leaves its queue. */
	bool		own_transaction = !IsTransactionState();
	MemoryContext context = CurrentMemoryContext;

	if (own_transaction)
		StartTransactionCommand();
	wait_while_on(name);
	kill_if_on(name);
	if (is_on(name, DEBUG_ERROR))
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("debug point \"%s\"", name)));
	if (own_transaction)
		CommitTransactionCommand();
	MemoryContextSwitchTo(context);
}

static void
look_in_commit(XactEvent event, void *arg)
{
	const char *name = commit_point;

	if (event != XACT_EVENT_COMMIT && event != XACT_EVENT_ABORT)
		return;
	commit_point = NULL;
	if (name != NULL && event == XACT_EVENT_COMMIT)
		kill_if_on(name);
}

void
mm_debug_point_in_commit(const char *name)
{
	static bool registered = false;

	if (!registered)
		RegisterXactCallback(look_in_commit, NULL);
	registered = true;
	commit_point = name;
}

#endif							/* MM_DEBUG_POINTS */
