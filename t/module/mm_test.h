/*-------------------------------------------------------------------------
 *
 * mm_test.h
 *	  What the files of the test module share.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MM_TEST_H
#define MM_TEST_H

#include "postgres.h"

#include "lib/stringinfo.h"
#include "utils/jsonb.h"

#include "convert/extended.h"

/* ---- mm_test.c ---- */

/* Arguments; both raise when they are none. */
extern MmJsonForm parse_form(text *name);
extern MmValue argument_value(bytea *bson);

/* ---- oracle.c ---- */

typedef struct Oracle Oracle;

/* Pieces of an object; false, or NULL: a text in it was refused. */
extern Oracle *oracle_begin(MmInvalidText invalid_text);
extern void oracle_begin_object(Oracle *oracle);
extern bool oracle_key(Oracle *oracle, const char *s, uint32 len);
extern bool oracle_value(Oracle *oracle, const MmValue *value,
						 MmJsonForm form);
extern void oracle_end_object(Oracle *oracle);
extern Jsonb *oracle_finish(Oracle *oracle);
extern const MmTextFailure *oracle_failure(const Oracle *oracle);

/* ---- random.c ---- */

typedef struct Random
{
	uint64		state;
	bool		dirty;			/* may text be none? */
} Random;

extern void random_begin(Random *r, int64 seed, int64 number);
extern uint64 random_bits(Random *r);
extern uint32 random_below(Random *r, uint32 n);
extern void random_document(Random *r, StringInfo out);
extern void put_uint32(StringInfo out, uint32 v);
extern void set_uint32(StringInfo out, int at, uint32 v);

/* ---- fuzz_convert.c ---- */

/* Returns whether the document was stored in a row. */
extern bool fuzz_convert(const uint8 *doc, uint32 len);

#endif							/* MM_TEST_H */
