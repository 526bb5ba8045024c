/*-------------------------------------------------------------------------
 *
 * launcher.h
 *	  Between mongo_migrate.c and launcher.c.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MM_LAUNCHER_H
#define MM_LAUNCHER_H

#include "postgres.h"

#include "compat.h"

/* While the library is being preloaded: has the launcher started. */
extern void mm_launcher_register(void);

extern PGDLLEXPORT void mm_launcher_main(Datum arg);
extern PGDLLEXPORT void mm_launcher_resume_main(Datum arg);

/* Entry points of the engine's workers. */
extern PGDLLEXPORT void mm_run_coordinator(Datum arg);
extern PGDLLEXPORT void mm_run_loader(Datum arg);

#endif							/* MM_LAUNCHER_H */
