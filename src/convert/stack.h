/*-------------------------------------------------------------------------
 *
 * stack.h
 *	  A stack of items in one block that grows, and is used again.
 *
 * Counts are in bytes, and those of 32 bits: what is pushed for a document of
 * 16 MB stays far below.  A push may move the items, so that pointers to them
 * last until the next one only.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MM_STACK_H
#define MM_STACK_H

#include "postgres.h"

typedef struct MmStack
{
	char	   *items;
	uint32		used;
	uint32		size;
} MmStack;

/* Bytes at first, and bytes that are kept from document to document. */
#define MM_STACK_MIN (8 * 1024)
#define MM_STACK_KEPT (1024 * 1024)

/* In the current context. */
static inline void
mm_stack_init(MmStack *stack)
{
	stack->items = palloc(MM_STACK_MIN);
	stack->size = MM_STACK_MIN;
	stack->used = 0;
}

static pg_noinline pg_attribute_unused() void
mm_stack_grow(MmStack *stack, uint32 bytes)
{
	Size		size = stack->size;

	while (size - stack->used < bytes)
		size *= 2;
	stack->items = repalloc(stack->items, size);
	stack->size = size;
}

/* Room for so many bytes behind the last one; they are not pushed yet. */
static inline void *
mm_stack_reserve(MmStack *stack, uint32 bytes)
{
	if (unlikely(stack->size - stack->used < bytes))
		mm_stack_grow(stack, bytes);
	return stack->items + stack->used;
}

static inline void *
mm_stack_push(MmStack *stack, uint32 bytes)
{
	void	   *item = mm_stack_reserve(stack, bytes);

	stack->used += bytes;
	return item;
}

/* Empties it.  One large document should not hold the memory for ever. */
static inline void
mm_stack_trim(MmStack *stack)
{
	stack->used = 0;
	if (unlikely(stack->size > MM_STACK_KEPT))
	{
		stack->items = repalloc(stack->items, MM_STACK_KEPT);
		stack->size = MM_STACK_KEPT;
	}
}

#endif							/* MM_STACK_H */
