/*-------------------------------------------------------------------------
 *
 * convert.h
 *	  From BSON bytes to Datums, under a contract.
 *
 * This folder knows BSON and Datums: no network, no relation, no shared
 * memory.  Bytes come in; Datums, or a stated failure, go out.  A value that
 * does not fit is a result, never a raised error.  The order of work:
 *
 *	  infer.c    documents -> what was seen under each path
 *	  merge.c    what was seen -> column types
 *	  names.c    path -> column name
 *	  contract.c contract <-> jsonb
 *	  plan.c     contract + tuple descriptor -> column plan; document -> row
 *	  value.c    one BSON value -> one Datum
 *	  extended.c BSON value -> Extended JSON, over a writer
 *	  json.c     the writer of text, and the text form of scalars
 *	  jsonb.c    the writer of jsonb: interface, wrappers
 *	  jsonb_emit.c  the writer of jsonb: its bytes
 *	  keysort.c  members of an object in the order of jsonb
 *	  checker.c  the writer that only looks for text that is refused
 *	  number.c   numbers in the form of a stored numeric
 *	  form.c     scalars as text: hex, dates, doubles, base64
 *	  text.c     NUL and UTF-8 in strings
 *	  walk.c     bounds-checked walk over a BSON document
 *
 *-------------------------------------------------------------------------
 */
#ifndef MM_CONVERT_H
#define MM_CONVERT_H

#include "postgres.h"

#include "access/tupdesc.h"
#include "lib/stringinfo.h"
#include "nodes/pg_list.h"
#include "utils/jsonb.h"

/* What happens to a value that does not fit its column. */
typedef enum MmOnError
{
	MM_ON_ERROR_EXTRA,			/* kept in _extra, the column is NULL */
	MM_ON_ERROR_REJECT,			/* the document is rejected */
	MM_ON_ERROR_SET_NULL,		/* the value is dropped, and counted */
	MM_ON_ERROR_STOP			/* the job fails */
} MmOnError;

/* What happens to NUL and invalid UTF-8 in strings. */
typedef enum MmInvalidText
{
	MM_INVALID_TEXT_REJECT,
	MM_INVALID_TEXT_STRIP,
	MM_INVALID_TEXT_REPLACE		/* U+FFFD */
} MmInvalidText;

typedef enum MmNaming
{
	MM_NAMING_SNAKE_CASE,
	MM_NAMING_LOWER,
	MM_NAMING_PRESERVE
} MmNaming;

/* One field of the contract: a top-level name of the document -> a column. */
typedef struct MmField
{
	char	   *path;			/* as the contract writes it (quoted parts) */
	char	   *key;			/* the name itself, unquoted */
	char	   *column;
	char	   *type;			/* SQL type text, "text COLLATE \"C\"" */
	bool		canonical;		/* canonical Extended JSON of the value: _id
								 * of several types, or of documents */
	bool		not_null;
	char	   *bson_types;		/* "string 99.9%, int 0.1%", for the column
								 * comment; not part of the jsonb */
} MmField;

typedef struct MmContract
{
	char	   *namespace;		/* shop.orders */
	char	   *target;			/* public.orders, quoted where needed */
	char	   *key_column;		/* primary key, or NULL */
	MmOnError	on_error;
	MmInvalidText invalid_text;
	char	   *extra_column;	/* "_extra", or NULL: the target has none, and
								 * what would go there rejects the document */
	List	   *fields;			/* of MmField * */
} MmContract;

extern Jsonb *mm_contract_to_jsonb(const MmContract *contract);
extern MmContract *mm_contract_from_jsonb(Jsonb *jsonb);

extern bool mm_on_error_parse(const char *name, MmOnError *result);
extern const char *mm_on_error_name(MmOnError value);
extern bool mm_invalid_text_parse(const char *name, MmInvalidText *result);
extern const char *mm_invalid_text_name(MmInvalidText value);
extern bool mm_naming_parse(const char *name, MmNaming *result);

/* ---- inference ---- */

typedef struct MmInfer MmInfer;

/* One line of migrate_infer_schema(). */
typedef struct MmInferField
{
	MmField		field;
	double		present;		/* percent of the documents */
	bool		nullable;		/* some document lacked it or had null */
	char	   *note;			/* or NULL */
} MmInferField;

/* Everything lives in the context that is current at mm_infer_begin(). */
extern MmInfer *mm_infer_begin(MmNaming naming);
/* false: the bytes are no valid document (it was not counted). */
extern bool mm_infer_document(MmInfer *infer, const uint8 *doc, uint32 len);
extern int64 mm_infer_documents(const MmInfer *infer);
/*
 * The fields in the order first seen, _id first.  id_first, id_last: BSON
 * types at the ends of the _id index, 0 when unknown.  With an empty
 * collection there is one field, _id text COLLATE "C" canonical.
 */
extern List *mm_infer_finish(MmInfer *infer, uint8 id_first, uint8 id_last);

/* ---- documents to rows ---- */

typedef struct MmPlan MmPlan;

/* Why a document was rejected; strings in the context of the convert call. */
typedef struct MmReject
{
	const char *stage;			/* parse, convert */
	bool		stop;			/* on_error = stop: the job fails with this */
	int			sqlstate;
	char	   *message;
	char	   *detail;			/* or NULL */
	char	   *path;			/* or NULL */
	char	   *bson_type;		/* or NULL */
	char	   *column;			/* or NULL */
	char	   *column_type;	/* or NULL */
} MmReject;

/*
 * Column plan for a contract and a table: looks up the columns by name.
 * Raises 42703 / 42804 if a column is missing or of a type that convert
 * cannot fill.  Lives in the current context.  Needs a transaction.
 */
extern MmPlan *mm_plan_create(const MmContract *contract, TupleDesc desc);

/*
 * Converts one document.  values and isnull have an element per attribute of
 * the tuple descriptor; only those that the contract names are written.
 * *diverted += values kept in _extra because they did not fit, or dropped by
 * set_null (fields that have no column do not count).  Datums live in the
 * current context and do not point into doc.  Returns false and fills
 * *reject when the document cannot be stored.
 */
extern bool mm_plan_convert(MmPlan *plan, const uint8 *doc, uint32 len,
							Datum *values, bool *isnull, int64 *diverted,
							MmReject *reject);

/* attribute numbers that the contract fills (sorted, without duplicates) */
extern List *mm_plan_attnums(const MmPlan *plan);

/* true if a column of this type can take what "type" was inferred for */
extern bool mm_type_is_fillable(Oid typid);
extern bool mm_type_can_hold(Oid have, Oid inferred);

/* ---- text of values and documents ---- */

/* Canonical Extended JSON of the _id; "null" when there is none. */
extern char *mm_json_source_id(const uint8 *doc, uint32 len);
/* ObjectId("..."), other types in relaxed form, cut at 100 bytes. */
extern char *mm_json_id_for_message(const uint8 *doc, uint32 len);
/* Text form of the _id into a buffer of n bytes, cut on a character. */
extern void mm_json_id_for_display(const uint8 *doc, uint32 len,
								   char *buffer, size_t n);
/*
 * The whole document in relaxed Extended JSON; NUL as \u0000, invalid UTF-8
 * as U+FFFD; NULL if it is no valid document.
 */
extern char *mm_json_document(const uint8 *doc, uint32 len);

/* ---- names ---- */

/* Column name for a path, without regard to other columns. */
extern char *mm_name_column(const char *path, MmNaming naming);
/* Same rules for a collection (table) or database (schema) name. */
extern char *mm_name_table(const char *collection, MmNaming naming);

#endif							/* MM_CONVERT_H */
