/*-------------------------------------------------------------------------
 *
 * text.c
 *	  Whether bytes are text that PostgreSQL can hold, and making them so.
 *
 * BSON strings should be UTF-8, but no driver and no server makes sure, and
 * they may hold NUL, which PostgreSQL text may not.  The database's encoding
 * is UTF8: jobs refuse any other.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "mb/pg_wchar.h"

#include "convert/text.h"

#define REPLACEMENT "\xef\xbf\xbd"	/* U+FFFD */

/* The server's verifier stops at NUL as at any invalid byte. */
MmTextFault
mm_text_check_slowly(const char *s, uint32 len)
{
	int			good = pg_encoding_verifymbstr(PG_UTF8, s, len);

	if (good == len)
		return MM_TEXT_GOOD;
	return s[good] == '\0' ? MM_TEXT_NUL : MM_TEXT_INVALID;
}

/* Bytes of the character at s; 0 when there is none. */
static inline uint32
character_len(const char *s, uint32 len)
{
	if (!IS_HIGHBIT_SET(*s))
		return *s != '\0';
	return Max(pg_encoding_verifymbchar(PG_UTF8, s, len), 0);
}

/*
 * Appends the text, less each byte that is NUL or no part of a valid
 * character; U+FFFD in its place when "how" is replace.  By characters, as
 * the verifier of strings reads to the end before it says what is wrong.
 */
void
mm_text_append_repaired(StringInfo out, const char *s, uint32 len,
						MmInvalidText how)
{
	while (len > 0)
	{
		uint32		good = 0;
		uint32		n;

		while (good < len && (n = character_len(s + good, len - good)) > 0)
			good += n;
		appendBinaryStringInfo(out, s, good);
		if (good == len)
			return;
		if (how != MM_INVALID_TEXT_STRIP)
			appendBinaryStringInfo(out, REPLACEMENT, strlen(REPLACEMENT));
		s += good + 1;
		len -= good + 1;
	}
}

/* A copy that is valid text whatever the bytes were. */
char *
mm_text_clean(const char *s, uint32 len)
{
	StringInfoData out;

	initStringInfo(&out);
	mm_text_append_repaired(&out, s, len, MM_INVALID_TEXT_REPLACE);
	return out.data;
}
