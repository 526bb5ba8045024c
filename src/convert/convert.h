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
 *	  words.c    the words of contracts and options
 *	  contract.c contract -> jsonb
 *	  parse.c    jsonb -> contract, checked
 *	  types.c    SQL type text -> type, and what it can hold
 *	  plan.c     contract + tuple descriptor -> column plan
 *	  row.c      document -> row, under a plan
 *	  settle.c   what becomes of values that are in no column
 *	  key.c      whether the key of a row fits into an index
 *	  reject.c   why a document is rejected
 *	  tally.c    what became of the values of each field
 *	  value.c    one BSON value -> one Datum
 *	  scalar.c   the same for numbers, times, booleans and UUIDs
 *	  input.c    text -> Datum: what a string becomes in a typed column
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

#include "convert/tally.h"

/* What happens to a value that does not fit its column. */
typedef enum MmOnError
{
	MM_ON_ERROR_EXTRA,			/* kept in _extra, the column is NULL */
	MM_ON_ERROR_REJECT,			/* the document is rejected */
	MM_ON_ERROR_SET_NULL,		/* the value is dropped, and counted */
	MM_ON_ERROR_SET_DEFAULT,	/* same, the column gets its default */
	MM_ON_ERROR_STOP			/* the job fails */
} MmOnError;

/* What happens to fields without a column. */
typedef enum MmExtraPolicy
{
	MM_EXTRA_COLUMN,			/* kept in _extra */
	MM_EXTRA_IGNORE,			/* dropped, and counted */
	MM_EXTRA_REJECT,			/* the document is rejected */
	MM_EXTRA_ADD_COLUMN			/* the table gets a column */
} MmExtraPolicy;

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

/* Forms of JSON; INTERFACE.md section 7, "Inside jsonb". */
typedef enum MmJsonForm
{
	MM_JSON_SIMPLE,
	MM_JSON_RELAXED,
	MM_JSON_CANONICAL
} MmJsonForm;

/* Byte order of binary subtype 3, which depends on the driver that wrote it. */
typedef enum MmUuidForm
{
	MM_UUID_NONE,				/* no UUID, just bytes */
	MM_UUID_STANDARD,
	MM_UUID_JAVA,
	MM_UUID_CSHARP,
	MM_UUID_PYTHON
} MmUuidForm;

/* ---- the contract ---- */

typedef enum MmFieldKind
{
	MM_FIELD_COLUMN,			/* path -> column */
	MM_FIELD_IGNORE,			/* path -> nothing, on purpose */
	MM_FIELD_EXTRA,				/* path -> _extra, on purpose */
	MM_FIELD_DOCUMENT			/* the whole document -> column */
} MmFieldKind;

#define MM_INHERIT (-1)			/* the contract's own policy */

typedef struct MmField
{
	MmFieldKind kind;
	char	   *path;			/* as the contract writes it (quoted parts);
								 * NULL for a document */
	List	   *parts;			/* of char *: the names in it, unquoted */
	char	   *column;			/* column and document only, like the rest */
	char	   *type;			/* SQL type text, "text COLLATE \"C\"" */
	int			format;			/* MmJsonForm, or MM_INHERIT; a text column
								 * with one holds JSON text of any value */
	bool		not_null;
	int			on_error;		/* MmOnError, or MM_INHERIT */
	char	   *default_text;	/* in the type's text form, or NULL */
	char	   *bson_types;		/* "string 99.9%, int 0.1%", or NULL */
} MmField;

typedef struct MmContract
{
	char	   *namespace;		/* shop.orders */
	char	   *filter;			/* Extended JSON, or NULL */
	char	   *target;			/* public.orders, quoted where needed */
	bool		key_given;		/* by the jsonb that it was read from */
	List	   *key_columns;	/* of char *: primary key; NIL: none */
	MmOnError	on_error;
	MmExtraPolicy extra;
	char	   *extra_column;	/* "_extra", or NULL: the target has none, and
								 * what would go there rejects the document */
	MmInvalidText invalid_text;
	MmJsonForm	json_form;
	MmUuidForm	uuid;
	List	   *fields;			/* of MmField * */
} MmContract;

extern Jsonb *mm_contract_to_jsonb(const MmContract *contract);
/*
 * Raises 22023 (unknown key, wrong kind of value, path or column twice),
 * 0A000 (children, expressions); each names the place.
 */
extern MmContract *mm_contract_from_jsonb(Jsonb *jsonb);
/* Is it the column of a field? */
extern bool mm_contract_has_column(const MmContract *contract,
								   const char *column);
/* Does a value that does not fit ever go to _extra? */
extern bool mm_contract_needs_extra(const MmContract *contract);

/* words.c: the words of contracts and options. */
extern bool mm_on_error_parse(const char *name, MmOnError *result);
extern const char *mm_on_error_name(MmOnError value);
extern bool mm_extra_parse(const char *name, MmExtraPolicy *result);
extern const char *mm_extra_name(MmExtraPolicy value);
extern bool mm_invalid_text_parse(const char *name, MmInvalidText *result);
extern const char *mm_invalid_text_name(MmInvalidText value);
extern bool mm_naming_parse(const char *name, MmNaming *result);
extern const char *mm_naming_name(MmNaming value);
extern bool mm_json_form_parse(const char *name, MmJsonForm *result);
extern const char *mm_json_form_name(MmJsonForm value);
extern bool mm_uuid_form_parse(const char *name, MmUuidForm *result);
extern const char *mm_uuid_form_name(MmUuidForm value);

/* ---- inference ---- */

typedef struct MmInfer MmInfer;

typedef struct MmInferOptions
{
	MmNaming	naming;
	int			flatten_depth;	/* 1: no embedded document becomes columns */
	bool		native_arrays;
	bool		object_id_bytea;
	MmUuidForm	uuid;
	bool		document;		/* _id and doc only */
} MmInferOptions;

/* One line of migrate_infer_schema(). */
typedef struct MmInferField
{
	MmField		field;
	double		present;		/* percent of the documents */
	bool		nullable;		/* some document lacked it or had null */
	char	   *note;			/* or NULL */
} MmInferField;

/* Everything lives in the context that is current at mm_infer_begin(). */
extern MmInfer *mm_infer_begin(const MmInferOptions *options);
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
	bool		field_stops;	/* on_error is the field's own */
	int			sqlstate;
	char	   *message;
	char	   *detail;			/* or NULL */
	char	   *path;			/* or NULL */
	char	   *bson_type;		/* or NULL */
	char	   *column;			/* or NULL */
	char	   *column_type;	/* or NULL */
	List	   *new_fields;		/* of MmField *: extra = add_column, and the
								 * table has no column for these yet; then
								 * nothing else is set */
} MmReject;

/*
 * Column plan for a contract and a table: looks up the columns by name.
 * Raises 42703 / 42804 if a column is missing or of a type that convert
 * cannot fill.  careful: the caller's transaction may be used for savepoints,
 * in which input functions run that can only raise (PostgreSQL 15).  Lives in
 * the current context.  Needs a transaction.
 */
extern MmPlan *mm_plan_create(const MmContract *contract, TupleDesc desc,
							  bool careful);

/*
 * Converts one document.  values and isnull have an element per attribute of
 * the tuple descriptor; only those that the contract names are written.
 * *diverted += values kept in _extra because they did not fit, or dropped by
 * set_null or set_default (fields that have no column do not count).  Datums
 * live in the current context or until mm_plan_forget_rows(), whichever ends
 * first, and do not point into doc.  Returns false and fills *reject when the
 * document cannot be stored.
 */
extern bool mm_plan_convert(MmPlan *plan, const uint8 *doc, uint32 len,
							Datum *values, bool *isnull, int64 *diverted,
							MmReject *reject);

/* The rows so far are stored, or not wanted any more. */
extern void mm_plan_forget_rows(MmPlan *plan);

/*
 * What became of the values so far; fields in the order of the contract.
 * Only documents count that could be stored, for conflicts the others, too.
 */
extern MmTally *mm_plan_tally(MmPlan *plan);

/* attribute numbers that the contract fills (sorted, without duplicates) */
extern List *mm_plan_attnums(const MmPlan *plan);

/* ---- types of columns ---- */

/*
 * types.c: a type as SQL writes it, with its collation.  Raises 42704 when
 * there is none.  Needs a transaction.
 */
typedef struct MmSqlType
{
	Oid			typid;
	int32		typmod;
	Oid			collation;		/* named by COLLATE, else InvalidOid */
	char	   *text;			/* with schemas that search_path cannot change */
} MmSqlType;

extern MmSqlType mm_type_parse(const char *text);
extern char *mm_type_text(Oid typid, int32 typmod);
/* true if convert can fill such a column */
extern bool mm_type_is_fillable(Oid typid, int32 typmod);
/* true if convert can fill the column with what "wanted" was meant for */
extern bool mm_type_column_takes(const FormData_pg_attribute *att,
								 const MmSqlType *wanted);

/* ---- text of values and documents ---- */

/* Canonical Extended JSON of the _id; "null" when there is none. */
extern char *mm_json_source_id(const uint8 *doc, uint32 len);
/* ObjectId("..."), other types in relaxed form, cut at 100 bytes. */
extern char *mm_json_id_for_message(const uint8 *doc, uint32 len);
/* For an example of a conflict: a long one is cut. */
extern char *mm_json_first_id(const uint8 *doc, uint32 len);
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
