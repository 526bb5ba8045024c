/*-------------------------------------------------------------------------
 *
 * value.h
 *	  One BSON value -> one Datum.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MM_VALUE_H
#define MM_VALUE_H

#include "postgres.h"

#include "convert/jsonb.h"
#include "convert/text.h"
#include "convert/walk.h"

/* What a column takes. */
typedef enum MmKind
{
	MM_KIND_NONE,				/* a type that cannot be filled */
	MM_KIND_TEXT,
	MM_KIND_BIGINT,
	MM_KIND_INTEGER,
	MM_KIND_SMALLINT,
	MM_KIND_DOUBLE,
	MM_KIND_NUMERIC,
	MM_KIND_BOOLEAN,
	MM_KIND_TIMESTAMPTZ,
	MM_KIND_JSONB,
	MM_KIND_UUID,
	MM_KIND_BYTEA,
	MM_KIND_CANONICAL_TEXT,		/* canonical Extended JSON, any type */
	MM_KIND_CANONICAL_JSONB
} MmKind;

typedef enum MmFit
{
	MM_FIT_GOOD,				/* there is a Datum */
	MM_FIT_NULL,				/* SQL NULL */
	/* misfits */
	MM_FIT_TYPE,				/* another type is expected */
	MM_FIT_RANGE,				/* too small or too large */
	MM_FIT_INEXACT,				/* the column would hold another value */
	MM_FIT_TEXT					/* no text, and invalid_text says reject */
} MmFit;

extern MmKind mm_value_kind(Oid typid, bool canonical);
extern MmFit mm_value_convert(MmJsonbBuilder *builder, const MmValue *value,
							  MmKind kind, MmInvalidText invalid_text,
							  Datum *result, MmTextFailure *failure);

#endif							/* MM_VALUE_H */
