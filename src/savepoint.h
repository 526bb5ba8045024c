/*-------------------------------------------------------------------------
 *
 * savepoint.h
 *	  Runs a function in a subtransaction, as PL/pgSQL runs a block with
 *	  EXCEPTION.
 *
 * An error must not leave the subtransaction open when it is raised again:
 * whoever catches it further up would end ours in place of his own.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MM_SAVEPOINT_H
#define MM_SAVEPOINT_H

#include "postgres.h"

#include "access/xact.h"
#include "utils/memutils.h"
#include "utils/resowner.h"

/*
 * NULL: the function came to its end; what it did is kept, or rolled back,
 * too.  Else what it raised, when all is rolled back.  What the function
 * allocates, and the error, are in the current context.
 */
static inline ErrorData *
mm_savepoint_run(void (*function) (void *arg), void *arg, bool keep)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	ErrorData  *volatile error = NULL;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		function(arg);
		if (keep)
			ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
	}
	PG_END_TRY();
	if (error != NULL || !keep)
		RollbackAndReleaseCurrentSubTransaction();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
	return error;
}

#endif							/* MM_SAVEPOINT_H */
