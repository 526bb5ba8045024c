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

#include "fmgr.h"

#include "arena.h"
#include "convert/convert.h"
#include "convert/jsonb.h"
#include "convert/text.h"
#include "convert/walk.h"

/* What a column takes. */
typedef enum MmKind
{
	MM_KIND_NONE,				/* a type that cannot be filled */
	MM_KIND_TEXT,
	MM_KIND_VARCHAR,			/* with a limit */
	MM_KIND_CHAR,
	MM_KIND_JSON_TEXT,			/* a text column that holds JSON of anything */
	MM_KIND_BIGINT,
	MM_KIND_INTEGER,
	MM_KIND_SMALLINT,
	MM_KIND_DOUBLE,
	MM_KIND_REAL,
	MM_KIND_NUMERIC,
	MM_KIND_BOOLEAN,
	MM_KIND_TIMESTAMPTZ,
	MM_KIND_TIMESTAMP,
	MM_KIND_DATE,
	MM_KIND_JSONB,
	MM_KIND_JSON,
	MM_KIND_UUID,
	MM_KIND_BYTEA,
	MM_KIND_ENUM,
	MM_KIND_ARRAY,				/* of element */
	MM_KIND_DOMAIN,				/* over element */
	MM_KIND_INPUT				/* by the type's input function */
} MmKind;

typedef enum MmFit
{
	MM_FIT_GOOD,				/* there is a Datum */
	MM_FIT_NULL,				/* SQL NULL */
	/* misfits */
	MM_FIT_TYPE,				/* another type is expected */
	MM_FIT_RANGE,				/* too small or too large */
	MM_FIT_INEXACT,				/* the column would hold another value */
	MM_FIT_REFUSED,				/* by the type: enum, domain, input function */
	MM_FIT_TEXT					/* no text, and invalid_text says reject */
} MmFit;

typedef struct MmEnumLabel
{
	NameData	name;
	Oid			value;
	bool		committed;		/* else it may not be stored */
} MmEnumLabel;

/* A column's type as the converter sees it; lives as long as the plan. */
typedef struct MmValueType
{
	MmKind		kind;
	Oid			typid;
	int32		typmod;
	uint32		exact;			/* BSON types that it holds as they are: bits
								 * by MM_TYPE_BIT */
	MmJsonForm	form;			/* of JSON in it */
	MmJsonbBuilder *builder;	/* of the plan, for jsonb */
	MmArena    *arena;			/* same, for texts; NULL for an element */
	bool		keep_null;		/* null is a value: the key may be null */
	bool		careful;		/* savepoints may be used: input.c */
	MmInvalidText invalid_text;
	MmUuidForm	uuid;
	int			limit;			/* characters; digits of a second */
	int			precision;		/* of numeric; 0: none */
	int			scale;
	struct MmValueType *element;	/* of an array or domain */
	int16		typlen;			/* of this type */
	bool		typbyval;
	char		typalign;
	MmEnumLabel *labels;		/* MM_KIND_ENUM, by name; */
	int			nlabels;		/* same */
	FmgrInfo	input;			/* MM_KIND_INPUT; */
	FmgrInfo	output;			/* same */
	Oid			ioparam;
	void	   *domain;			/* what domain_check() keeps */
	MemoryContext context;		/* of the plan */
	MemoryContext scratch;		/* of an array, for its elements; or NULL */
} MmValueType;

/* minKey and maxKey share a bit: what holds one holds the other. */
#define MM_TYPE_BIT(bson_type) \
	((uint32) 1 << ((bson_type) > MM_BSON_DECIMAL ? 31 : (bson_type)))

extern bool mm_value_type_init(MmValueType *type, Oid typid, int32 typmod,
							   const MmContract *contract, int format,
							   bool careful);
extern void mm_value_type_set_builder(MmValueType *type,
									  MmJsonbBuilder *builder);
extern MmFit mm_value_convert(const MmValue *value, MmValueType *type,
							  Datum *result, MmOutcome *outcome);
extern MmFit mm_value_null(MmValueType *type);

/* What a domain stands for. */
static inline const MmValueType *
mm_value_base_type(const MmValueType *type)
{
	while (type->kind == MM_KIND_DOMAIN)
		type = type->element;
	return type;
}

extern bool mm_value_loses_padding(const MmValue *value,
								   const MmValueType *type);
extern bool mm_value_is_uuid(const MmValue *value, MmUuidForm form,
							 uint8 *uuid);

#endif							/* MM_VALUE_H */
