/*-------------------------------------------------------------------------
 *
 * keymap.h
 *	  Hash table from the names of elements to numbers.
 *
 * The names are not copied: they must live as long as the table.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MM_KEYMAP_H
#define MM_KEYMAP_H

#include "postgres.h"

#include "common/hashfn.h"

typedef struct MmKey
{
	const char *name;
	uint32		len;
} MmKey;

typedef struct MmKeyEntry
{
	MmKey		key;
	uint32		hash;
	int			number;
	char		status;
} MmKeyEntry;

static inline uint32
mm_key_hash(MmKey key)
{
	return hash_bytes((const unsigned char *) key.name, key.len);
}

static inline bool
mm_key_equal(MmKey a, MmKey b)
{
	return a.len == b.len && memcmp(a.name, b.name, a.len) == 0;
}

#define SH_PREFIX mm_keymap
#define SH_ELEMENT_TYPE MmKeyEntry
#define SH_KEY_TYPE MmKey
#define SH_KEY key
#define SH_HASH_KEY(tb, key) mm_key_hash(key)
#define SH_EQUAL(tb, a, b) mm_key_equal(a, b)
#define SH_STORE_HASH
#define SH_GET_HASH(tb, entry) (entry)->hash
#define SH_SCOPE static inline
#define SH_DECLARE
#define SH_DEFINE
#include "lib/simplehash.h"

#endif							/* MM_KEYMAP_H */
