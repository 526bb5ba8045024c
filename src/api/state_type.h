/*-------------------------------------------------------------------------
 *
 * state_type.h
 *	  Values of the SQL type migrate_state.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MM_STATE_TYPE_H
#define MM_STATE_TYPE_H

#include "postgres.h"

#include "fmgr.h"
#include "job/catalog.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

/* For functions that return it: the type's schema is the user's choice. */
static inline Datum
mm_state_datum(FunctionCallInfo fcinfo, MmJobState state)
{
	return DirectFunctionCall2(enum_in,
							   CStringGetDatum(mm_state_name(state)),
							   ObjectIdGetDatum(get_func_rettype(fcinfo->flinfo->fn_oid)));
}

#endif							/* MM_STATE_TYPE_H */
