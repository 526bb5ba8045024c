/*-------------------------------------------------------------------------
 *
 * names.h
 *	  Paths, and the column names made from them.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MM_NAMES_H
#define MM_NAMES_H

#include "postgres.h"

#include "nodes/pg_list.h"

extern char *mm_names_quote(const char *name);
extern char *mm_names_join(const List *parts);
extern List *mm_names_split(const char *path);
extern char *mm_names_number(const char *name, int number);

#endif							/* MM_NAMES_H */
