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

#define MM_VERSION "1.0"

extern int	mm_max_workers;				/* loaders in the cluster */
extern int	mm_max_workers_per_job;
extern int	mm_checkpoint_bytes;		/* kB */
extern int	mm_checkpoint_interval_ms;
extern int	mm_chunk_size;				/* kB */
extern int	mm_sample_size;				/* documents */
extern int	mm_sample_timeout_ms;
extern int	mm_connect_timeout_ms;
extern int	mm_socket_timeout_ms;
extern int	mm_max_retry_time_ms;
extern int	mm_reject_limit;			/* documents */
extern int	mm_maintenance_work_mem;	/* kB; -1: the server's */
extern int	mm_progress_interval_ms;
extern int	mm_on_error;				/* MmOnError */
extern int	mm_naming;					/* MmNaming */
extern int	mm_json_format;				/* MmJsonForm */
extern int	mm_log_min_messages;		/* elevel, of the workers */

typedef enum MmProgressStyle
{
	MM_PROGRESS_AUTO,
	MM_PROGRESS_UNICODE,
	MM_PROGRESS_ASCII
} MmProgressStyle;

extern int	mm_progress_style;			/* MmProgressStyle */

#endif							/* MM_SETTINGS_H */
