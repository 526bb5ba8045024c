/*-------------------------------------------------------------------------
 *
 * keysort.c
 *	  Members of an object in the order of jsonb.
 *
 * That is the order of the lengths of their keys and, among keys of the same
 * length, of the bytes.  Of equal keys the one that came last in the document
 * comes last.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "convert/keysort.h"

/* Up to here an insertion sort is faster. */
#define FEW 16

int
mm_keysort_compare_keys(const MmValue *a, const MmValue *b)
{
	if (a->key_len != b->key_len)
		return a->key_len < b->key_len ? -1 : 1;
	return memcmp(a->key, b->key, a->key_len);
}

static inline bool
is_less(const MmSortKey *a, const MmSortKey *b, const MmValue *members)
{
	if (a->rank != b->rank)
		return a->rank < b->rank;
	return !mm_keysort_is_whole(a->rank) &&
		mm_keysort_compare_keys(&members[a->number], &members[b->number]) < 0;
}

/* Stable, by which the last of equal keys comes last. */
static inline void
sort_few(MmSortKey *keys, uint32 n, const MmValue *members)
{
	for (uint32 i = 1; i < n; i++)
	{
		MmSortKey	key = keys[i];
		uint32		at = i;

		for (; at > 0 && is_less(&key, &keys[at - 1], members); at--)
			keys[at] = keys[at - 1];
		keys[at] = key;
	}
}

static inline int
compare_members(const MmSortKey *a, const MmSortKey *b,
				const MmValue *members)
{
	if (is_less(a, b, members))
		return -1;
	if (is_less(b, a, members))
		return 1;
	return a->number < b->number ? -1 : 1;
}

#define ST_SORT sort_many
#define ST_ELEMENT_TYPE MmSortKey
#define ST_COMPARE_ARG_TYPE const MmValue
#define ST_COMPARE(a, b, members) compare_members(a, b, members)
#define ST_SCOPE static
#define ST_DEFINE
#include "lib/sort_template.h"

void
mm_keysort(MmSortKey *keys, uint32 n, const MmValue *members)
{
	if (n <= FEW)
		sort_few(keys, n, members);
	else
		sort_many(keys, n, members);
}
