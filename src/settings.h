/*-------------------------------------------------------------------------
 *
 * settings.h
 *	  The settings of class mongo_migrate, defined in mongo_migrate.c.
 *
 * Sessions read them when a job starts; what workers obey is kept with the
 * job (see MmJobOptions), so that SET in a session does what people expect.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MM_SETTINGS_H
#define MM_SETTINGS_H

#include "postgres.h"

#include "compat.h"

typedef enum MmProgressStyle
{
	MM_PROGRESS_AUTO,
	MM_PROGRESS_UNICODE,
	MM_PROGRESS_ASCII
} MmProgressStyle;

/*
 * Lives in the library mongo_migrate.  That one stays in the postmaster when
 * it is preloaded, also when a newer version is installed meanwhile: so the
 * engine looks at the first two before it believes the others.
 */
typedef struct MmSettings
{
	const char *version;		/* MM_VERSION */
	Size		size;			/* of this struct */
	int			max_workers;	/* loaders in the cluster */
	int			max_workers_per_job;
	int			max_running_jobs;	/* in the cluster */
	int			job_retention;	/* s; -1: for ever */
	bool		autoresume;
	char	   *allowed_hosts;	/* never NULL */
	int			checkpoint_bytes;	/* kB */
	int			checkpoint_interval_ms;
	int			chunk_size;		/* kB */
	int			sample_size;	/* documents */
	int			sample_timeout_ms;
	int			connect_timeout_ms;
	int			socket_timeout_ms;
	int			max_retry_time_ms;
	int			reject_limit;	/* documents */
	int			maintenance_work_mem;	/* kB; -1: the server's */
	int			progress_interval_ms;
	int			on_error;		/* MmOnError */
	int			naming;			/* MmNaming */
	int			json_format;	/* MmJsonForm */
	int			log_min_messages;	/* elevel, of the workers */
	int			progress_style; /* MmProgressStyle */
} MmSettings;

/* Each of the two libraries has this pointer, to the same settings. */
extern MmSettings *mm_settings;

#define mm_max_workers			(mm_settings->max_workers)
#define mm_max_workers_per_job	(mm_settings->max_workers_per_job)
#define mm_max_running_jobs		(mm_settings->max_running_jobs)
#define mm_job_retention		(mm_settings->job_retention)
#define mm_autoresume			(mm_settings->autoresume)
#define mm_allowed_hosts		(mm_settings->allowed_hosts)
#define mm_checkpoint_bytes		(mm_settings->checkpoint_bytes)
#define mm_checkpoint_interval_ms (mm_settings->checkpoint_interval_ms)
#define mm_chunk_size			(mm_settings->chunk_size)
#define mm_sample_size			(mm_settings->sample_size)
#define mm_sample_timeout_ms	(mm_settings->sample_timeout_ms)
#define mm_connect_timeout_ms	(mm_settings->connect_timeout_ms)
#define mm_socket_timeout_ms	(mm_settings->socket_timeout_ms)
#define mm_max_retry_time_ms	(mm_settings->max_retry_time_ms)
#define mm_reject_limit			(mm_settings->reject_limit)
#define mm_maintenance_work_mem (mm_settings->maintenance_work_mem)
#define mm_progress_interval_ms (mm_settings->progress_interval_ms)
#define mm_on_error				(mm_settings->on_error)
#define mm_naming				(mm_settings->naming)
#define mm_json_format			(mm_settings->json_format)
#define mm_log_min_messages		(mm_settings->log_min_messages)
#define mm_progress_style		(mm_settings->progress_style)

/* The engine finds it by its name. */
extern PGDLLEXPORT MmSettings *mm_settings_get(void);

#endif							/* MM_SETTINGS_H */
