/*-------------------------------------------------------------------------
 *
 * text.h
 *	  Whether bytes are text that PostgreSQL can hold, and making them so.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MM_TEXT_H
#define MM_TEXT_H

#include "postgres.h"

#include "lib/stringinfo.h"

#include "convert/convert.h"
#include "convert/walk.h"

typedef enum MmTextFault
{
	MM_TEXT_GOOD,
	MM_TEXT_NUL,
	MM_TEXT_INVALID				/* UTF-8 */
} MmTextFault;

/* A text that was refused under invalid_text = reject. */
typedef struct MmTextFailure
{
	MmTextFault fault;
	uint8		bson_type;
	char	   *path;			/* within the value: "a.b[]"; or NULL */
} MmTextFailure;

/* What a conversion says besides its result; the caller clears it. */
typedef struct MmOutcome
{
	MmTextFailure failure;		/* when a text was refused */
	bool		altered;		/* invalid_text changed a text */
	bool		widened;		/* an element of an array was converted */
	uint32		duplicates;		/* keys of which jsonb kept the last only */
	MmInside	inside;			/* of what becomes a jsonb */
} MmOutcome;

extern MmTextFault mm_text_check_slowly(const char *s, uint32 len);
extern void mm_text_append_repaired(StringInfo out, const char *s, uint32 len,
									MmInvalidText how);
extern char *mm_text_clean(const char *s, uint32 len);

/*
 * No highest bit is set in the result when none of the eight bytes is NUL or
 * beyond ASCII, and only then.
 */
#define MM_TEXT_HIGHEST_BITS UINT64CONST(0x8080808080808080)

static inline uint64
mm_text_odd_bits(uint64 word)
{
	return word | (word - UINT64CONST(0x0101010101010101));
}

static inline bool
mm_text_is_plain_word(const char *s)
{
	uint64		word;

	memcpy(&word, s, sizeof(word));
	return (mm_text_odd_bits(word) & MM_TEXT_HIGHEST_BITS) == 0;
}

/* Most strings are short and ASCII: decide those here. */
static inline MmTextFault
mm_text_check(const char *s, uint32 len)
{
	uint32		i = 0;

	if (len >= 8)
	{
		for (; i + 8 < len; i += 8)
			if (!mm_text_is_plain_word(s + i))
				return mm_text_check_slowly(s, len);
		return mm_text_is_plain_word(s + len - 8) ?
			MM_TEXT_GOOD : mm_text_check_slowly(s, len);
	}
	for (; i < len; i++)
		if ((signed char) s[i] <= 0)
			return mm_text_check_slowly(s, len);
	return MM_TEXT_GOOD;
}

/* Copies eight bytes, and returns their odd bits. */
static inline uint64
mm_text_copy_word(char *to, const char *s)
{
	uint64		word;

	memcpy(&word, s, sizeof(word));
	memcpy(to, &word, sizeof(word));
	return mm_text_odd_bits(word);
}

/*
 * mm_text_check() for a text that is copied on the way, in words that may
 * overlap.  When it is not good, what was copied is of no use.
 */
static inline MmTextFault
mm_text_copy(char *to, const char *s, uint32 len)
{
	uint64		odd = 0;

	if (len >= 16)
	{
		for (uint32 i = 16; i < len - 16; i += 8)
			odd |= mm_text_copy_word(to + i, s + i);
		odd |= mm_text_copy_word(to, s);
		odd |= mm_text_copy_word(to + 8, s + 8);
		odd |= mm_text_copy_word(to + len - 16, s + len - 16);
		odd |= mm_text_copy_word(to + len - 8, s + len - 8);
	}
	else if (len >= 8)
	{
		odd |= mm_text_copy_word(to, s);
		odd |= mm_text_copy_word(to + len - 8, s + len - 8);
	}
	else
	{
		for (uint32 i = 0; i < len; i++)
		{
			to[i] = s[i];
			odd |= s[i] | (s[i] - 1);
		}
	}
	return likely((odd & MM_TEXT_HIGHEST_BITS) == 0) ? MM_TEXT_GOOD :
		mm_text_check_slowly(s, len);
}

#endif							/* MM_TEXT_H */
