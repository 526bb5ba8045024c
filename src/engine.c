/*-------------------------------------------------------------------------
 *
 * engine.c
 *	  Module magic of the library mongo_migrate_engine.
 *
 * All of src/ is this library; why it is one of its own is told in
 * mongo_migrate.c.  It works on the settings of the other one, which is
 * loaded here unless it was preloaded.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"

#include "compat.h"
#include "settings.h"

MM_MODULE_MAGIC("mongo_migrate_engine");

MmSettings *mm_settings;

PGDLLEXPORT void _PG_init(void);

void
_PG_init(void)
{
	MmSettings *(*get) (void) = (MmSettings *(*) (void))
		load_external_function("$libdir/mongo_migrate", "mm_settings_get",
							   true, NULL);

	mm_settings = get();
	if (strcmp(mm_settings->version, MM_VERSION) != 0 ||
		mm_settings->size != sizeof(MmSettings))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the preloaded library mongo_migrate is of another version than the extension"),
				 errhint("Restart the server: mongo_migrate was upgraded since it was started.")));
}
