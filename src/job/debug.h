/*-------------------------------------------------------------------------
 *
 * debug.h
 *	  Named points at which tests stop, fail or kill a worker.
 *
 * They exist in builds with FAULTS=1 only; elsewhere they are nothing.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MM_DEBUG_H
#define MM_DEBUG_H

#include "postgres.h"

#ifdef MM_DEBUG_POINTS
extern void mm_debug_point(const char *name);
/* The same in the midst of the next commit, when its record is written. */
extern void mm_debug_point_in_commit(const char *name);
#else
#define mm_debug_point(name) ((void) 0)
#define mm_debug_point_in_commit(name) ((void) 0)
#endif

#endif							/* MM_DEBUG_H */
