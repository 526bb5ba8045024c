/*-------------------------------------------------------------------------
 *
 * launcher.c
 *	  Goes on with unfinished jobs after a start of the server.
 *
 * Coordinators come back by themselves after a crash of the cluster, but not
 * after a restart of the postmaster, nor when a standby becomes a primary.
 * With shared_preload_libraries = 'mongo_migrate' the launcher is started at
 * the end of recovery, once.  It lists the databases, and in each of them a
 * short-lived process looks for jobs, since a process can connect to one
 * database only:
 *
 *	  launcher	 lists the databases; for each: a resumer, which looks whether
 *				 there are unfinished jobs; for each that has some: a resumer
 *	  resumer	 registers coordinators for jobs that have none, as the jobs'
 *				 owners (mm_queue_resume_all() of the engine)
 *
 * Worker slots may be few, and both hold one.  So the launcher looks first,
 * and ends as soon as it has started the last resumer, which then finds a
 * slot.  Both give up after half a minute: the jobs are as they were, and
 * migrate_resume() goes on.  Jobs that are paused stay paused.
 *
 * Nothing here needs the driver.  The engine is loaded by a resumer whose
 * database has the extension, and by coordinators and loaders, which enter
 * through this library: when it is loaded first, it can tell the driver's
 * constructor not to make a file in /dev/shm, which stays there when the
 * process is killed.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_database.h"
#include "commands/dbcommands.h"
#include "commands/extension.h"
#include "fmgr.h"
#include "libpq/pqsignal.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/dsm.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "tcop/tcopprot.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "launcher.h"
#include "settings.h"

/* After an error; after a crash of the cluster it is at once. */
#define LAUNCHER_RESTART_SECONDS 60
#define SLOT_RETRY_MS 500
#define GIVE_UP_MS 30000

#define ENGINE "$libdir/mongo_migrate_engine"

static void
fill_worker(BackgroundWorker *worker, const char *name, const char *function)
{
	memset(worker, 0, sizeof(*worker));
	worker->bgw_flags = BGWORKER_SHMEM_ACCESS |
		BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker->bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker->bgw_restart_time = BGW_NEVER_RESTART;
	strlcpy(worker->bgw_type, name, BGW_MAXLEN);
	strlcpy(worker->bgw_name, name, BGW_MAXLEN);
	strlcpy(worker->bgw_library_name, "mongo_migrate",
			sizeof(worker->bgw_library_name));
	strlcpy(worker->bgw_function_name, function,
			sizeof(worker->bgw_function_name));
}

void
mm_launcher_register(void)
{
	BackgroundWorker worker;

	if (IsBinaryUpgrade)
		return;
	fill_worker(&worker, "mongo_migrate launcher", "mm_launcher_main");
	worker.bgw_restart_time = LAUNCHER_RESTART_SECONDS;
	RegisterBackgroundWorker(&worker);
}

static void
set_signals(void)
{
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();
}

static void
pause_for(long timeout_ms)
{
	(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT |
					 WL_EXIT_ON_PM_DEATH, timeout_ms, PG_WAIT_EXTENSION);
	ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
}

static bool
is_over(TimestampTz since, int timeout_ms)
{
	return TimestampDifferenceExceeds(since, GetCurrentTimestamp(),
									  timeout_ms);
}

/* Not a failure: somebody else needs the slots. */
static void
give_up(const char *what)
{
	ereport(LOG,
			(errcode(ERRCODE_INSUFFICIENT_RESOURCES),
			 errmsg("could not continue migration jobs of %s", what),
			 errdetail("All %d slots of max_worker_processes are in use.",
					   max_worker_processes),
			 errhint("SELECT migrate_resume(job_id) FROM migrate_jobs WHERE state IN ('queued', 'running');")));
	proc_exit(0);
}

/* ---------------------------------------------------------------------
 * Launcher
 * ---------------------------------------------------------------------
 */

/* OIDs of the databases that can be connected to, in "context". */
static List *
list_databases(MemoryContext context)
{
	List	   *databases = NIL;
	Relation	rel;
	TableScanDesc scan;
	HeapTuple	tuple;

	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	rel = table_open(DatabaseRelationId, AccessShareLock);
	scan = table_beginscan_catalog(rel, 0, NULL);
	while (HeapTupleIsValid(tuple = heap_getnext(scan, ForwardScanDirection)))
	{
		Form_pg_database database = (Form_pg_database) GETSTRUCT(tuple);
		MemoryContext old = MemoryContextSwitchTo(context);

		/* A connection limit below -1 marks what DROP DATABASE left. */
		if (database->datallowconn && database->datconnlimit >= -1)
			databases = lappend_oid(databases, database->oid);
		MemoryContextSwitchTo(old);
	}
	table_endscan(scan);
	table_close(rel, AccessShareLock);
	PopActiveSnapshot();
	CommitTransactionCommand();
	return databases;
}

/* What a resumer is told, in bgw_extra. */
typedef struct ResumerArgs
{
	Oid			database;
	dsm_handle	answer;			/* of a segment with a bool in it, to say
								 * whether there are jobs; 0: resume them */
} ResumerArgs;

StaticAssertDecl(sizeof(ResumerArgs) <= BGW_EXTRALEN,
				 "arguments do not fit into bgw_extra");

static BackgroundWorkerHandle *
start_resumer(Oid database, dsm_handle answer)
{
	BackgroundWorker worker;
	BackgroundWorkerHandle *handle;
	ResumerArgs args = {.database = database, .answer = answer};
	TimestampTz began = GetCurrentTimestamp();

	fill_worker(&worker, "mongo_migrate resumer", "mm_launcher_resume_main");
	worker.bgw_notify_pid = MyProcPid;
	memcpy(worker.bgw_extra, &args, sizeof(args));
	while (!RegisterDynamicBackgroundWorker(&worker, &handle))
	{
		if (is_over(began, GIVE_UP_MS))
			give_up("any database");
		pause_for(SLOT_RETRY_MS);
	}
	return handle;
}

static void
wait_for_resumer(BackgroundWorkerHandle *handle)
{
	pid_t		pid;

	while (GetBackgroundWorkerPid(handle, &pid) != BGWH_STOPPED)
		pause_for(SLOT_RETRY_MS);
}

static bool
has_jobs(Oid database)
{
	dsm_segment *segment = dsm_create(sizeof(bool), 0);
	bool	   *answer = dsm_segment_address(segment);
	bool		result;

	*answer = false;
	wait_for_resumer(start_resumer(database, dsm_segment_handle(segment)));
	result = *answer;
	dsm_detach(segment);
	return result;
}

void
mm_launcher_main(Datum arg)
{
	List	   *databases;
	List	   *busy = NIL;
	ListCell   *lc;

	set_signals();
	if (!mm_autoresume)
		proc_exit(0);
	BackgroundWorkerInitializeConnection(NULL, NULL, 0);
	databases = list_databases(TopMemoryContext);
	MemoryContextSwitchTo(TopMemoryContext);
	CurrentResourceOwner = ResourceOwnerCreate(NULL, "mongo_migrate launcher");
	foreach(lc, databases)
	{
		if (has_jobs(lfirst_oid(lc)))
			busy = lappend_oid(busy, lfirst_oid(lc));
	}
	foreach(lc, busy)
	{
		BackgroundWorkerHandle *handle = start_resumer(lfirst_oid(lc), 0);

		if (lnext(busy, lc) != NULL)
			wait_for_resumer(handle);
	}
	proc_exit(0);
}

/* ---------------------------------------------------------------------
 * Resumer
 * ---------------------------------------------------------------------
 */

static bool
has_extension(void)
{
	bool		found;

	StartTransactionCommand();
	found = OidIsValid(get_extension_oid("mongo_migrate", true));
	CommitTransactionCommand();
	return found;
}

typedef bool (*EngineFunction) (void);

static EngineFunction
engine_function(const char *name)
{
	return (EngineFunction) load_external_function(ENGINE, name, true, NULL);
}

/* The launcher is gone when the segment is: then nobody wants to know. */
static void
tell_launcher(dsm_handle answer)
{
	dsm_segment *segment;

	CurrentResourceOwner = ResourceOwnerCreate(NULL, "mongo_migrate resumer");
	segment = dsm_attach(answer);
	if (segment != NULL)
		*(bool *) dsm_segment_address(segment) =
			engine_function("mm_queue_has_jobs") ();
}

static char *
database_name(void)
{
	char	   *name;

	StartTransactionCommand();
	name = MemoryContextStrdup(TopMemoryContext,
							   get_database_name(MyDatabaseId));
	CommitTransactionCommand();
	return psprintf("database \"%s\"", name);
}

static void
resume(void)
{
	TimestampTz began = GetCurrentTimestamp();
	EngineFunction resume_all = engine_function("mm_queue_resume_all");

	while (!resume_all())
	{
		if (is_over(began, GIVE_UP_MS))
			give_up(database_name());
		pause_for(SLOT_RETRY_MS);
	}
}

void
mm_launcher_resume_main(Datum arg)
{
	ResumerArgs args;

	memcpy(&args, MyBgworkerEntry->bgw_extra, sizeof(args));
	set_signals();
	BackgroundWorkerInitializeConnectionByOid(args.database, InvalidOid, 0);
	if (!has_extension())
		proc_exit(0);
	if (args.answer != 0)
		tell_launcher(args.answer);
	else
		resume();
	proc_exit(0);
}

/* ---------------------------------------------------------------------
 * Workers of the engine
 * ---------------------------------------------------------------------
 */

static void
run_engine(const char *function, Datum arg)
{
	bgworker_main_type main = (bgworker_main_type)
		load_external_function(ENGINE, function, true, NULL);

	main(arg);
}

void
mm_run_coordinator(Datum arg)
{
	run_engine("mm_coordinator_main", arg);
}

void
mm_run_loader(Datum arg)
{
	run_engine("mm_loader_main", arg);
}
