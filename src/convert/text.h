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
} MmOutcome;

extern MmTextFault mm_text_check_slowly(const char *s, uint32 len);
extern void mm_text_append_repaired(StringInfo out, const char *s, uint32 len,
									MmInvalidText how);
extern char *mm_text_clean(const char *s, uint32 len);

/* Eight bytes, none of them NUL or beyond ASCII? */
static inline bool
mm_text_is_plain_word(const char *s)
{
	uint64		word;

	memcpy(&word, s, sizeof(word));
	return (word & UINT64CONST(0x8080808080808080)) == 0 &&
		((word + UINT64CONST(0x7f7f7f7f7f7f7f7f)) &
		 UINT64CONST(0x8080808080808080)) == UINT64CONST(0x8080808080808080);
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

#endif							/* MM_TEXT_H */
