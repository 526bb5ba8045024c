/*-------------------------------------------------------------------------
 *
 * keysort.h
 *	  Members of an object in the order of jsonb.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MM_KEYSORT_H
#define MM_KEYSORT_H

#include "postgres.h"

#include "port/pg_bswap.h"

#include "convert/walk.h"

/*
 * A member while it is sorted.  The rank orders most keys: it has the length
 * in its highest byte and the first seven bytes in the others.  Keys that are
 * too long for that all have the highest rank.
 */
typedef struct MmSortKey
{
	uint64		rank;
	uint32		number;			/* in the array of members */
} MmSortKey;

/* The longest keys that the rank has whole. */
#define MM_RANK_BYTES 7
#define MM_RANK_LEN_MAX 254

/* Of a key behind which bytes can be read until there are eight. */
static inline uint64
mm_keysort_rank_word(const char *key, uint32 len)
{
	uint64		word;

	memcpy(&word, key, sizeof(word));
	word = pg_ntoh64(word) >> 8;
	if (len < MM_RANK_BYTES)
		word &= ~(UINT64CONST(0x00ffffffffffffff) >> 8 * len);
	return (uint64) len << 56 | word;
}

static inline uint64
mm_keysort_rank(const char *key, uint32 len)
{
	uint64		rank = len;

	if (len > MM_RANK_LEN_MAX)
		return PG_UINT64_MAX;
	if (len > MM_RANK_BYTES)
		return mm_keysort_rank_word(key, len);
	for (uint32 i = 0; i < MM_RANK_BYTES; i++)
		rank = rank << 8 | (i < len ? (unsigned char) key[i] : 0);
	return rank;
}

/* Do their ranks, which are the same, say all about the keys? */
static inline bool
mm_keysort_is_whole(uint64 rank)
{
	return rank >> 56 <= MM_RANK_BYTES;
}

extern int mm_keysort_compare_keys(const MmValue *a, const MmValue *b);
extern void mm_keysort(MmSortKey *keys, uint32 n, const MmValue *members);

static inline bool
mm_keysort_is_equal(const MmSortKey *a, const MmSortKey *b,
					const MmValue *members)
{
	return a->rank == b->rank &&
		(mm_keysort_is_whole(a->rank) ||
		 mm_keysort_compare_keys(&members[a->number],
								 &members[b->number]) == 0);
}

#endif							/* MM_KEYSORT_H */
