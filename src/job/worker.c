/*-------------------------------------------------------------------------
 *
 * worker.c
 *	  What coordinators and loaders share: how they are registered, what
 *	  their session looks like, and how they fail.
 *
 * A worker connects as the owner of its job and gets only ids through
 * bgw_extra.  Coordinators come back by themselves after a crash; loaders
 * never do, since their coordinator replaces them.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/pg_authid.h"
#include "libpq/pqsignal.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/lock.h"
#include "tcop/tcopprot.h"
#include "utils/acl.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "job/catalog.h"
#include "job/worker.h"
#include "settings.h"
#include "source/source.h"
#include "source/uri.h"

/* After an error exit, not after a crash of the cluster: that is at once. */
#define COORDINATOR_RESTART_SECONDS 5

StaticAssertDecl(sizeof(MmWorkerArgs) <= BGW_EXTRALEN,
				 "worker arguments do not fit into bgw_extra");

/* ---------------------------------------------------------------------
 * Registration
 * ---------------------------------------------------------------------
 */

static bool
register_worker(const char *type, const char *name, const char *function,
				int restart_seconds, pid_t notify,
				const MmWorkerArgs *args, BackgroundWorkerHandle **handle)
{
	BackgroundWorker worker;

	memset(&worker, 0, sizeof(worker));
	worker.bgw_flags = BGWORKER_SHMEM_ACCESS |
		BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = restart_seconds;
	worker.bgw_notify_pid = notify;
	strlcpy(worker.bgw_type, type, BGW_MAXLEN);
	strlcpy(worker.bgw_name, name, BGW_MAXLEN);
	strlcpy(worker.bgw_library_name, "mongo_migrate",
			sizeof(worker.bgw_library_name));
	strlcpy(worker.bgw_function_name, function,
			sizeof(worker.bgw_function_name));
	memcpy(worker.bgw_extra, args, sizeof(*args));
	return RegisterDynamicBackgroundWorker(&worker, handle);
}

bool
mm_worker_start_coordinator(int64 job_id, Oid owner)
{
	MmWorkerArgs args = {
		.database = MyDatabaseId,
		.extension = mm_catalog_extension(),
		.owner = owner,
		.job_id = job_id,
		.start_xid = GetTopTransactionId(),
	};
	BackgroundWorkerHandle *handle;
	char		name[BGW_MAXLEN];

	snprintf(name, sizeof(name), "mongo_migrate job %lld coordinator",
			 (long long) job_id);
	return register_worker("mongo_migrate coordinator", name,
						   "mm_run_coordinator",
						   COORDINATOR_RESTART_SECONDS, 0, &args, &handle);
}

BackgroundWorkerHandle *
mm_worker_start_loader(const MmWorkerArgs *args)
{
	BackgroundWorkerHandle *handle;
	char		name[BGW_MAXLEN];

	snprintf(name, sizeof(name), "mongo_migrate job %lld loader %d",
			 (long long) args->job_id, args->slot + 1);
	if (!register_worker("mongo_migrate loader", name, "mm_run_loader",
						 BGW_NEVER_RESTART, MyProcPid, args, &handle))
		return NULL;
	return handle;
}

/*
 * Processes in worker slots are those whose type is none of the server's
 * own; workers that wait to be started again are not seen.
 */
MmWorkerCount
mm_worker_count(void)
{
	MmCatalogScope scope;
	MmWorkerCount count;

	mm_catalog_begin(&scope);
	mm_catalog_query("SELECT count(*) FILTER (WHERE backend_type NOT IN"
					 " ('client backend', 'autovacuum launcher',"
					 " 'autovacuum worker', 'background writer',"
					 " 'checkpointer', 'startup', 'walreceiver',"
					 " 'walsender', 'walwriter', 'archiver', 'logger',"
					 " 'standalone backend', 'slotsync worker',"
					 " 'walsummarizer', 'io worker'))::integer,"
					 " count(*) FILTER (WHERE backend_type"
					 " = 'mongo_migrate coordinator')::integer,"
					 " count(*) FILTER (WHERE backend_type"
					 " = 'mongo_migrate loader')::integer"
					 " FROM pg_stat_get_activity(NULL)", NULL);
	count.used = mm_row_int4(0, 1);
	count.coordinators = mm_row_int4(0, 2);
	count.loaders = mm_row_int4(0, 3);
	mm_catalog_end(&scope);
	return count;
}

/* ---------------------------------------------------------------------
 * Session
 * ---------------------------------------------------------------------
 */

static void
set_option(const char *name, const char *value)
{
	SetConfigOption(name, value, PGC_SUSET, PGC_S_OVERRIDE);
}

static void
save_option(const char *name, const char *value)
{
	(void) set_config_option(name, value, PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
}

/* What the forms of values and the meaning of names depend on. */
static void
fix_forms(void (*set) (const char *name, const char *value))
{
	set("search_path", "pg_catalog, pg_temp");
	set("TimeZone", "UTC");		/* for strings that name no zone */
	set("DateStyle", "ISO, YMD");
	set("IntervalStyle", "postgres");
	set("extra_float_digits", "1");
	set("bytea_output", "hex");
}

void
mm_worker_save_forms(void)
{
	fix_forms(save_option);
}

/*
 * Settings of role and database apply to workers, except these: text forms
 * must not depend on them, and a load must not be ended by a timeout meant
 * for people.  lock_timeout stays 0, as a load waits for a lock like COPY.
 */
void
mm_worker_fix_session(void)
{
	set_option("role", "none");	/* the owner has rights, not its default role */
	fix_forms(set_option);
	set_option("client_min_messages", "error");
	set_option("default_tablespace", "");	/* the job names one */
	set_option("statement_timeout", "0");
	set_option("lock_timeout", "0");
	set_option("idle_in_transaction_session_timeout", "0");
	set_transaction_timeout_compat(set_option);
	set_option("default_transaction_read_only", "off");
	set_option("default_transaction_isolation", "read committed");
	set_option("row_security", "on");
}

/*
 * The postmaster starts a coordinator again that could not connect, which is
 * of no use when the database or the role is gone: such an end is to look
 * like a regular one, whose exit code is 0.  Connecting fails with FATAL, so
 * that a hook and an exit callback are the only way to know why.
 */
static bool connecting = false;
static int	connect_sqlstate = 0;
static emit_log_hook_type next_log_hook = NULL;

static void
note_fatal(ErrorData *edata)
{
	if (connecting && edata->elevel == FATAL)
		connect_sqlstate = edata->sqlerrcode;
	if (next_log_hook)
		next_log_hook(edata);
}

static void
end_for_good(int code, Datum arg)
{
	bool		hopeless = connect_sqlstate == ERRCODE_UNDEFINED_DATABASE ||
		connect_sqlstate == ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION ||
		connect_sqlstate == ERRCODE_INSUFFICIENT_PRIVILEGE ||
		connect_sqlstate == ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE;

	/* The callbacks that are left run in there. */
	if (connecting && code != 0 && hopeless)
		proc_exit(0);
}

static void
connect_as(Oid database, Oid role)
{
	next_log_hook = emit_log_hook;
	emit_log_hook = note_fatal;
	on_proc_exit(end_for_good, (Datum) 0);
	connecting = true;
	BackgroundWorkerInitializeConnectionByOid(database, role,
											  BGWORKER_FLAGS_COMPAT);
	connecting = false;
	emit_log_hook = next_log_hook;
}

MmWorkerArgs
mm_worker_begin(void)
{
	MmWorkerArgs args;

	memcpy(&args, MyBgworkerEntry->bgw_extra, sizeof(args));
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();
	if (IsBinaryUpgrade)
		proc_exit(0);
	connect_as(args.database, args.owner);
	mm_catalog_expect(args.extension);
	mm_worker_fix_session();
	set_option("application_name", MyBgworkerEntry->bgw_name);
	pgstat_report_appname(MyBgworkerEntry->bgw_name);
	return args;
}

/* What the session of migrate_start had set, once it is known. */
static struct
{
	bool		known;
	int			connect_timeout_ms;
	int			socket_timeout_ms;
	int			log_min_messages;
}			kept;

static void
apply_kept(void)
{
	if (!kept.known)
		return;
	mm_connect_timeout_ms = kept.connect_timeout_ms;
	mm_socket_timeout_ms = kept.socket_timeout_ms;
	log_min_messages = kept.log_min_messages;
}

void
mm_worker_apply_options(const MmJob *job)
{
	kept.known = true;
	kept.connect_timeout_ms = job->options.connect_timeout_ms;
	kept.socket_timeout_ms = job->options.socket_timeout_ms;
	kept.log_min_messages = job->options.log_min_messages;
	apply_kept();
}

/*
 * Reads the configuration again if somebody asked for it.  That sets what the
 * files name, changed or not, so that what the job keeps is set again.
 */
void
mm_worker_reload(void)
{
	if (!ConfigReloadPending)
		return;
	ConfigReloadPending = false;
	ProcessConfigFile(PGC_SIGHUP);
	apply_kept();
}

/* A transaction with an active snapshot, which queries and detoasting need. */
void
mm_worker_tx_begin(void)
{
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
}

void
mm_worker_tx_commit(void)
{
	PopActiveSnapshot();
	CommitTransactionCommand();
}

/* What the worker does, for pg_stat_activity. */
void
mm_worker_report(const char *format,...)
{
	char		activity[512];
	va_list		args;

	va_start(args, format);
	vsnprintf(activity, sizeof(activity), format, args);
	va_end(args);
	/* Whoever reads it believes that no character is cut. */
	activity[pg_mbcliplen(activity, strlen(activity),
						  strlen(activity))] = '\0';
	pgstat_report_activity(STATE_RUNNING, activity);
}

MmSourceConfig *
mm_worker_source_config(const MmJob *job)
{
	char	   *secret = mm_job_secret(job->job_id);

	/* It is masked in job->source. */
	if (secret == NULL && mm_source_is_uri(job->source) &&
		mm_uri_has_secret(job->source))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the password of migration job %lld is not there any more",
						(long long) job->job_id),
				 errdetail("It is in no dump, so that a restored job cannot go on."),
				 errhint("Start again with SELECT migrate_start(...).")));
	return mm_source_resolve(secret ? secret : job->source, job->owner);
}

static void
set_job_tag(LOCKTAG *tag, int64 job_id)
{
	SET_LOCKTAG_ADVISORY(*tag, MyDatabaseId, mm_catalog_extension(),
						 (uint32) job_id, MM_LOCK_JOB);
}

static bool job_is_locked = false;

bool
mm_worker_lock_job(int64 job_id)
{
	LOCKTAG		tag;

	set_job_tag(&tag, job_id);
	job_is_locked = LockAcquire(&tag, ExclusiveLock, true, true) !=
		LOCKACQUIRE_NOT_AVAIL;
	return job_is_locked;
}

void
mm_worker_unlock_job(int64 job_id)
{
	LOCKTAG		tag;

	if (!job_is_locked)
		return;
	set_job_tag(&tag, job_id);
	(void) LockRelease(&tag, ExclusiveLock, true);
	job_is_locked = false;
}

char *
mm_worker_owner_trouble(Oid owner)
{
	HeapTuple	tuple = SearchSysCache1(AUTHOID, ObjectIdGetDatum(owner));
	bool		can_login;

	if (!OidIsValid(owner))
		return pstrdup("Its owner does not exist in this cluster.");
	if (!HeapTupleIsValid(tuple))
		return psprintf("Its owner, the role with OID %u, does not exist any more.",
						owner);
	can_login = ((Form_pg_authid) GETSTRUCT(tuple))->rolcanlogin;
	ReleaseSysCache(tuple);
	if (MM_WORKER_NEEDS_LOGIN && !can_login)
		return psprintf("Its owner, role \"%s\", may not log in, and background workers could not run as it.",
						GetUserNameFromId(owner, false));
	if (database_aclcheck_compat(MyDatabaseId, owner,
								 ACL_CONNECT) != ACLCHECK_OK)
		return psprintf("Its owner, role \"%s\", may not connect to this database.",
						GetUserNameFromId(owner, false));
	return NULL;
}

/* ---------------------------------------------------------------------
 * Failures
 * ---------------------------------------------------------------------
 */

static char *
copy_text(const char *text)
{
	return text && text[0] ? pstrdup(text) : NULL;
}

static bool
must_not_be_absorbed(int sqlstate)
{
	return sqlstate == ERRCODE_QUERY_CANCELED ||
		sqlstate == ERRCODE_ADMIN_SHUTDOWN ||
		sqlstate == ERRCODE_CRASH_SHUTDOWN;
}

/* When the extension is dropped under a worker, that is no failure. */
static void
leave_without_extension(void)
{
	MemoryContext old = CurrentMemoryContext;
	bool		exists;

	mm_worker_tx_begin();
	exists = mm_catalog_exists();
	mm_worker_tx_commit();
	MemoryContextSwitchTo(old);
	if (!exists)
		proc_exit(0);
}

MmFailure *
mm_worker_catch(MemoryContext context)
{
	ErrorData  *edata;
	MmFailure  *failure;

	MemoryContextSwitchTo(context);
	edata = CopyErrorData();
	if (must_not_be_absorbed(edata->sqlerrcode))
		ReThrowError(edata);

	HOLD_INTERRUPTS();
	if (edata->elevel == ERROR)
		edata->elevel = WARNING;
	FlushErrorState();
	AbortOutOfAnyTransaction();
	MemoryContextSwitchTo(context);
	RESUME_INTERRUPTS();

	if (edata->sqlerrcode == ERRCODE_UNDEFINED_OBJECT)
		leave_without_extension();
	ThrowErrorData(edata);		/* a WARNING now: to the log */
	failure = palloc0(sizeof(MmFailure));
	failure->sqlstate = pstrdup(unpack_sql_state(edata->sqlerrcode));
	failure->message = copy_text(edata->message);
	failure->detail = copy_text(edata->detail);
	failure->hint = copy_text(edata->hint);
	failure->context = copy_text(edata->context);
	return failure;
}

int
mm_worker_sqlstate(const MmFailure *failure)
{
	const char *s = failure->sqlstate;

	return MAKE_SQLSTATE(s[0], s[1], s[2], s[3], s[4]);
}

MmFailure *
mm_worker_failure(const MmSourceError *error)
{
	MmFailure  *failure = palloc0(sizeof(MmFailure));

	failure->sqlstate = pstrdup(unpack_sql_state(error->sqlstate));
	failure->message = copy_text(error->message);
	failure->detail = copy_text(error->detail);
	failure->hint = copy_text(error->hint);
	return failure;
}

void
mm_worker_raise(const MmFailure *failure)
{
	const char *s = failure->sqlstate;

	ereport(ERROR,
			(errcode(MAKE_SQLSTATE(s[0], s[1], s[2], s[3], s[4])),
			 errmsg_internal("%s", failure->message),
			 failure->detail ? errdetail_internal("%s", failure->detail) : 0,
			 failure->hint ? errhint("%s", failure->hint) : 0,
			 failure->context ? errcontext("%s", failure->context) : 0));
}

void
mm_worker_raise_dropped(const MmJobTable *table)
{
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_TABLE),
			 errmsg("the target table \"%s.%s\" was dropped",
					table->target_schema, table->target_table),
			 errhint("Start again with SELECT migrate_start(...).")));
}
