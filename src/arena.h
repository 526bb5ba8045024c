/*-------------------------------------------------------------------------
 *
 * arena.h
 *	  Memory for the values of the rows of one batch, or for their tuples.
 *
 * One stands behind the other.  palloc() would put a header before each and
 * round its size up to a power of two, and the rows of a batch would leave
 * the cache before they are stored.  What there is no room for is allocated in
 * the ordinary way.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MM_ARENA_H
#define MM_ARENA_H

#include "postgres.h"

#define MM_ARENA_BYTES (96 * 1024)

typedef struct MmArena
{
	Size		used;
	char		data[MM_ARENA_BYTES] pg_attribute_aligned(MAXIMUM_ALIGNOF);
} MmArena;

/*
 * In the arena until its owner empties it, or in the current context: valid
 * as long as both are.  No arena: NULL.
 */
static inline void *
mm_arena_alloc(MmArena *arena, Size size)
{
	char	   *memory;

	if (arena == NULL || size > MM_ARENA_BYTES - arena->used)
		return palloc(size);
	memory = arena->data + arena->used;
	arena->used += MAXALIGN(size);
	return memory;
}

#endif							/* MM_ARENA_H */
