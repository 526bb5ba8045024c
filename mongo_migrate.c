/*-------------------------------------------------------------------------
 *
 * mongo_migrate.c
 *	  The library that may be preloaded: settings, and the launcher.
 *
 * There are two libraries.  This one, mongo_migrate, has the settings and
 * launcher.c, and nothing else.  The other, mongo_migrate_engine, is all of
 * src/ and the MongoDB driver; the SQL functions and the workers are in it.
 * shared_preload_libraries names this one, so that the postmaster and each
 * process that it forks stay free of the driver, which does things when it
 * is loaded (doc/DESIGN.md).  The engine loads this library when nobody has
 * done so before (src/engine.c), so that preloading is a choice.
 *
 * Reading order.  The folders of src/ are the path of the data:
 *
 *	  api/      the SQL functions, thin: start, control, look, progress
 *	  job/      catalog (all access to our tables), coordinator, loader,
 *	            worker.c (what both share), shared counters
 *	  source/   source.h, the interface; the MongoDB implementation
 *	  convert/  BSON to Datums under a contract
 *	  sink/     sink.h, the interface; the heap implementation
 *
 * api calls job, job calls source, convert and sink; source and sink do not
 * know each other, and convert knows neither.  Start with job/coordinator.c
 * and job/loader.c; doc/DESIGN.md tells the states and why a crash loses
 * nothing.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <limits.h>

#include "fmgr.h"
#include "miscadmin.h"
#include "utils/guc.h"

#include "compat.h"
#include "convert/convert.h"
#include "launcher.h"
#include "settings.h"
#include "source/hosts.h"

MM_MODULE_MAGIC("mongo_migrate");

static MmSettings settings = {
	.version = MM_VERSION,
	.size = sizeof(MmSettings),
	.max_workers = 8,
	.max_workers_per_job = 4,
	.max_running_jobs = 4,
	.job_retention = 90 * 24 * 60 * 60,
	.autoresume = true,
	.checkpoint_bytes = 65536,
	.checkpoint_interval_ms = 10000,
	.chunk_size = 262144,
	.sample_size = 10000,
	.sample_timeout_ms = 30000,
	.connect_timeout_ms = 10000,
	.socket_timeout_ms = 60000,
	.max_retry_time_ms = 600000,
	.reject_limit = 1000,
	.maintenance_work_mem = -1,
	.progress_interval_ms = 1000,
	.on_error = MM_ON_ERROR_EXTRA,
	.naming = MM_NAMING_SNAKE_CASE,
	.json_format = MM_JSON_SIMPLE,
	.log_min_messages = WARNING,
	.progress_style = MM_PROGRESS_AUTO,
};

MmSettings *mm_settings = &settings;

/* The engine finds this function by its name. */
MmSettings *
mm_settings_get(void)
{
	return &settings;
}

static const struct config_enum_entry on_error_options[] = {
	{"extra", MM_ON_ERROR_EXTRA, false},
	{"reject", MM_ON_ERROR_REJECT, false},
	{"set_null", MM_ON_ERROR_SET_NULL, false},
	{"set_default", MM_ON_ERROR_SET_DEFAULT, false},
	{"stop", MM_ON_ERROR_STOP, false},
	{NULL, 0, false}
};

static const struct config_enum_entry naming_options[] = {
	{"snake_case", MM_NAMING_SNAKE_CASE, false},
	{"lower", MM_NAMING_LOWER, false},
	{"preserve", MM_NAMING_PRESERVE, false},
	{NULL, 0, false}
};

static const struct config_enum_entry json_format_options[] = {
	{"simple", MM_JSON_SIMPLE, false},
	{"relaxed", MM_JSON_RELAXED, false},
	{"canonical", MM_JSON_CANONICAL, false},
	{NULL, 0, false}
};

static const struct config_enum_entry progress_style_options[] = {
	{"auto", MM_PROGRESS_AUTO, false},
	{"unicode", MM_PROGRESS_UNICODE, false},
	{"ascii", MM_PROGRESS_ASCII, false},
	{NULL, 0, false}
};

static const struct config_enum_entry log_level_options[] = {
	{"debug1", DEBUG1, false},
	{"info", INFO, true},
	{"notice", NOTICE, false},
	{"warning", WARNING, false},
	{"error", ERROR, false},
	{"log", LOG, false},
	{"fatal", FATAL, false},
	{NULL, 0, false}
};

static void
define_int(const char *name, const char *description, int *variable,
		   int min, int max, GucContext context, int flags)
{
	DefineCustomIntVariable(name, description, NULL, variable, *variable,
							min, max, context, flags, NULL, NULL, NULL);
}

static void
define_enum(const char *name, const char *description, int *variable,
			const struct config_enum_entry *options, GucContext context)
{
	DefineCustomEnumVariable(name, description, NULL, variable, *variable,
							 options, context, 0, NULL, NULL, NULL);
}

/* A name that never resolves (RFC 2606). */
#define NO_HOST "none.invalid"

static bool
check_allowed_hosts(char **value, void **extra, GucSource source)
{
	const char *trouble = mm_hosts_check(*value);

	if (trouble)
		GUC_check_errdetail("%s", trouble);
	return trouble == NULL;
}

/*
 * Before this library is loaded the setting is a name that nobody knows, and
 * anybody may set, which takes the value of the files away.  Neither that nor
 * a list that is none is taken now, and the server goes back to its default,
 * by which every host is allowed.  So where there was a value, none is, unless
 * it came from the files, which rank higher.
 */
static void
define_allowed_hosts(void)
{
	const char *name = "mongo_migrate.allowed_hosts";
	bool		is_set = parameter_is_set_compat(name);

	DefineCustomStringVariable(name,
							   "Hosts that roles which are no superusers may connect to.",
							   "A list of names with \"*\", networks and sockets; empty: any but link-local addresses.",
							   &mm_allowed_hosts, "", PGC_SIGHUP,
							   GUC_LIST_INPUT, check_allowed_hosts, NULL,
							   NULL);
	if (!is_set)
		return;
	/* This action is one that a parallel query allows, too. */
	(void) set_config_option(name, NO_HOST, PGC_SIGHUP, PGC_S_DYNAMIC_DEFAULT,
							 GUC_ACTION_SAVE, true, WARNING, false);
	if (strcmp(mm_allowed_hosts, NO_HOST) == 0)
		ereport(WARNING,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("parameter \"%s\" has a value that cannot be taken: no host is allowed",
						name)));
}

PGDLLEXPORT void _PG_init(void);

void
_PG_init(void)
{
	define_int("mongo_migrate.max_workers",
			   "Loaders of all migration jobs of the cluster together.",
			   &mm_max_workers, 1, 1000, PGC_SIGHUP, 0);
	define_int("mongo_migrate.max_running_jobs",
			   "Migration jobs of the cluster that run at a time; further "
			   "ones wait.",
			   &mm_max_running_jobs, 1, 1000, PGC_SIGHUP, 0);
	define_int("mongo_migrate.job_retention",
			   "Age at which jobs that have ended leave the history; -1 "
			   "keeps them.",
			   &mm_job_retention, -1, INT_MAX, PGC_SIGHUP, GUC_UNIT_S);
	define_int("mongo_migrate.max_workers_per_job",
			   "Loaders of a migration job that names no number.",
			   &mm_max_workers_per_job, 1, 1000, PGC_USERSET, 0);
	define_int("mongo_migrate.checkpoint_bytes",
			   "Source data after which a loader commits.",
			   &mm_checkpoint_bytes, 64, INT_MAX, PGC_USERSET, GUC_UNIT_KB);
	define_int("mongo_migrate.checkpoint_interval",
			   "Time after which a loader commits.",
			   &mm_checkpoint_interval_ms, 100, INT_MAX, PGC_USERSET,
			   GUC_UNIT_MS);
	define_int("mongo_migrate.chunk_size",
			   "Upper limit of a chunk, in bytes of source data, up to 2000 chunks.",
			   &mm_chunk_size, 64, INT_MAX, PGC_USERSET, GUC_UNIT_KB);
	define_int("mongo_migrate.sample_size",
			   "Documents read to infer columns; 0 reads all.",
			   &mm_sample_size, 0, INT_MAX, PGC_USERSET, 0);
	define_int("mongo_migrate.sample_timeout",
			   "Time that reading a sample may take.",
			   &mm_sample_timeout_ms, 100, INT_MAX, PGC_USERSET,
			   GUC_UNIT_MS);
	define_int("mongo_migrate.connect_timeout",
			   "Time to find and reach a MongoDB server.",
			   &mm_connect_timeout_ms, 100, INT_MAX, PGC_USERSET,
			   GUC_UNIT_MS);
	define_int("mongo_migrate.socket_timeout",
			   "Silence of a MongoDB server that counts as an error.",
			   &mm_socket_timeout_ms, 100, INT_MAX, PGC_USERSET,
			   GUC_UNIT_MS);
	define_int("mongo_migrate.max_retry_time",
			   "Time without progress after which a job fails on transient "
			   "errors.",
			   &mm_max_retry_time_ms, 0, INT_MAX, PGC_USERSET, GUC_UNIT_MS);
	define_int("mongo_migrate.reject_limit",
			   "Rejected documents that a migration job tolerates; -1 sets "
			   "no limit.",
			   &mm_reject_limit, -1, INT_MAX, PGC_USERSET, 0);
	define_int("mongo_migrate.maintenance_work_mem",
			   "Memory for the index phase; -1 uses maintenance_work_mem.",
			   &mm_maintenance_work_mem, -1, INT_MAX, PGC_USERSET,
			   GUC_UNIT_KB);
	define_int("mongo_migrate.progress_interval",
			   "How often workers publish rates.",
			   &mm_progress_interval_ms, 100, 60000, PGC_USERSET,
			   GUC_UNIT_MS);
	define_enum("mongo_migrate.on_error",
				"What happens to a value that does not fit its column.",
				&mm_on_error, on_error_options, PGC_USERSET);
	define_enum("mongo_migrate.naming",
				"How column names are made from field names.",
				&mm_naming, naming_options, PGC_USERSET);
	define_enum("mongo_migrate.json_format",
				"Form of values inside jsonb columns.",
				&mm_json_format, json_format_options, PGC_USERSET);
	define_enum("mongo_migrate.progress_style",
				"Characters of the progress bar.",
				&mm_progress_style, progress_style_options, PGC_USERSET);
	define_enum("mongo_migrate.log_min_messages",
				"Level of messages that migration workers write to the log.",
				&mm_log_min_messages, log_level_options, PGC_SUSET);
	DefineCustomBoolVariable("mongo_migrate.autoresume",
							 "Goes on with unfinished jobs after a start of the server.",
							 "Needs shared_preload_libraries = 'mongo_migrate'.",
							 &mm_autoresume, mm_autoresume, PGC_SIGHUP, 0,
							 NULL, NULL, NULL);
	define_allowed_hosts();
	MarkGUCPrefixReserved("mongo_migrate");

	/* See launcher.c; of no effect when the driver has been loaded before. */
	setenv("MONGOC_DISABLE_SHM", "1", 0);
	if (process_shared_preload_libraries_in_progress)
		mm_launcher_register();
}
