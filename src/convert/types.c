/*-------------------------------------------------------------------------
 *
 * types.c
 *	  Types of columns: from SQL text, which can be filled and how, and which
 *	  can stand in for another.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/namespace.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"
#include "utils/varlena.h"

#include "compat.h"
#include "convert/input.h"
#include "convert/value.h"

/* ---------------------------------------------------------------------
 * SQL text
 * ---------------------------------------------------------------------
 */

/* Where " COLLATE " begins; NULL: nowhere. */
static char *
find_collate(char *text)
{
	static const char word[] = " collate ";

	for (char *p = text; *p != '\0'; p++)
		if (pg_strncasecmp(p, word, strlen(word)) == 0)
			return p;
	return NULL;
}

/* The name of a collation as SQL, with its schema unless it is core's. */
static char *
collation_text(Oid collation)
{
	HeapTuple	tuple = SearchSysCache1(COLLOID, ObjectIdGetDatum(collation));
	Form_pg_collation form;
	char	   *result;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for collation %u", collation);
	form = (Form_pg_collation) GETSTRUCT(tuple);
	if (form->collnamespace == PG_CATALOG_NAMESPACE)
		result = pstrdup(quote_identifier(NameStr(form->collname)));
	else
		result = quote_qualified_identifier(get_namespace_name(form->collnamespace),
											NameStr(form->collname));
	ReleaseSysCache(tuple);
	return result;
}

static Oid
type_namespace(Oid typid)
{
	HeapTuple	tuple = SearchSysCache1(TYPEOID, ObjectIdGetDatum(typid));
	Oid			result;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for type %u", typid);
	result = ((Form_pg_type) GETSTRUCT(tuple))->typnamespace;
	ReleaseSysCache(tuple);
	return result;
}

/* As no search_path can change it. */
char *
mm_type_text(Oid typid, int32 typmod)
{
	bool		core = type_namespace(typid) == PG_CATALOG_NAMESPACE;

	return format_type_extended(typid, typmod, FORMAT_TYPE_TYPEMOD_GIVEN |
								(core ? 0 : FORMAT_TYPE_FORCE_QUALIFY));
}

MmSqlType
mm_type_parse(const char *text)
{
	char	   *name = pstrdup(text);
	char	   *collate = find_collate(name);
	MmSqlType	type = {0};

	if (collate != NULL)
	{
		char	   *collation = collate + strlen(" collate ");

		*collate = '\0';
		type.collation =
			get_collation_oid(textToQualifiedNameList(cstring_to_text(collation)),
							  false);
	}
	parseTypeString_compat(name, &type.typid, &type.typmod);
	if (type_namespace(type.typid) == PG_CATALOG_NAMESPACE &&
		strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_ (),[]") ==
		strlen(name))
		type.text = name;		/* core's: no search_path changes it */
	else
		type.text = mm_type_text(type.typid, type.typmod);
	if (collate != NULL)
		type.text = psprintf("%s COLLATE %s", type.text,
							 collation_text(type.collation));
	return type;
}

/* ---------------------------------------------------------------------
 * How a type is filled
 * ---------------------------------------------------------------------
 */

#define EXACT_IN_TEXT \
	(MM_TYPE_BIT(MM_BSON_STRING) | MM_TYPE_BIT(MM_BSON_OBJECT_ID) | \
	 MM_TYPE_BIT(MM_BSON_SYMBOL) | MM_TYPE_BIT(MM_BSON_CODE) | \
	 MM_TYPE_BIT(MM_BSON_REGEX))

static const struct
{
	Oid			typid;
	MmKind		kind;
	uint32		exact;
}			builtin_kinds[] = {
#define BIT(type) MM_TYPE_BIT(type)
	{TEXTOID, MM_KIND_TEXT, EXACT_IN_TEXT},
	{VARCHAROID, MM_KIND_VARCHAR, EXACT_IN_TEXT},
	{BPCHAROID, MM_KIND_CHAR, BIT(MM_BSON_STRING)},
	{INT8OID, MM_KIND_BIGINT, BIT(MM_BSON_INT32) | BIT(MM_BSON_INT64)},
	{INT4OID, MM_KIND_INTEGER, BIT(MM_BSON_INT32) | BIT(MM_BSON_INT64)},
	{INT2OID, MM_KIND_SMALLINT, BIT(MM_BSON_INT32) | BIT(MM_BSON_INT64)},
	{FLOAT8OID, MM_KIND_DOUBLE, BIT(MM_BSON_DOUBLE)},
	{FLOAT4OID, MM_KIND_REAL, BIT(MM_BSON_DOUBLE)},
	{NUMERICOID, MM_KIND_NUMERIC, BIT(MM_BSON_DECIMAL)},
	{BOOLOID, MM_KIND_BOOLEAN, BIT(MM_BSON_BOOL)},
	{TIMESTAMPTZOID, MM_KIND_TIMESTAMPTZ,
		BIT(MM_BSON_DATE) | BIT(MM_BSON_TIMESTAMP) | BIT(MM_BSON_MAX_KEY)},
	{TIMESTAMPOID, MM_KIND_TIMESTAMP,
		BIT(MM_BSON_DATE) | BIT(MM_BSON_TIMESTAMP) | BIT(MM_BSON_MAX_KEY)},
	{DATEOID, MM_KIND_DATE, BIT(MM_BSON_DATE) | BIT(MM_BSON_MAX_KEY)},
	{JSONBOID, MM_KIND_JSONB, ~(uint32) 0},
	{JSONOID, MM_KIND_JSON, ~(uint32) 0},
	{UUIDOID, MM_KIND_UUID, BIT(MM_BSON_BINARY)},
	{BYTEAOID, MM_KIND_BYTEA, BIT(MM_BSON_BINARY) | BIT(MM_BSON_OBJECT_ID)},
#undef BIT
};

/*
 * Types whose values cannot be compared with the text that they were made
 * from, so that nothing goes into them.
 */
static bool
is_lossy_input(Oid typid)
{
	return typid == NAMEOID || typid == CHAROID || typid == MONEYOID ||
		type_is_rowtype(typid) || get_typtype(typid) == TYPTYPE_PSEUDO;
}

static MmValueType *
make_element(const MmValueType *type, Oid typid, int32 typmod,
			 const MmContract *contract, int format)
{
	MmValueType *element = palloc0(sizeof(MmValueType));

	if (!mm_value_type_init(element, typid, typmod, contract, format,
							type->careful) ||
		element->kind == MM_KIND_ARRAY)
		return NULL;
	return element;
}

static bool
init_array(MmValueType *type, Oid element, const MmContract *contract,
		   int format)
{
	type->kind = MM_KIND_ARRAY;
	type->exact = MM_TYPE_BIT(MM_BSON_ARRAY);
	type->element = make_element(type, element, type->typmod, contract,
								 format);
	return type->element != NULL;
}

/* The base type of a domain over a domain is that of the innermost. */
static bool
init_domain(MmValueType *type, const MmContract *contract, int format)
{
	int32		typmod = -1;
	Oid			base = getBaseTypeAndTypmod(type->typid, &typmod);
	MmValueType *element = palloc0(sizeof(MmValueType));

	type->kind = MM_KIND_DOMAIN;
	type->element = element;
	if (!mm_value_type_init(element, base, typmod, contract, format,
							type->careful))
		return false;
	type->exact = element->exact;
	return true;
}

/* An input function of text's own never raises: citext and the like. */
static bool
init_other(MmValueType *type)
{
	Oid			function;
	bool		varlena;

	if (get_typtype(type->typid) == TYPTYPE_ENUM)
	{
		type->kind = MM_KIND_ENUM;
		mm_input_read_labels(type);
		type->exact = MM_TYPE_BIT(MM_BSON_STRING);
		return true;
	}
	if (is_lossy_input(type->typid))
		return false;
	getTypeInputInfo(type->typid, &function, &type->ioparam);
	fmgr_info_cxt(function, &type->input, type->context);
	getTypeOutputInfo(type->typid, &function, &varlena);
	fmgr_info_cxt(function, &type->output, type->context);
	type->kind = type->input.fn_addr == textin ?
		MM_KIND_TEXT : MM_KIND_INPUT;
	type->exact = type->kind == MM_KIND_TEXT ?
		EXACT_IN_TEXT : MM_TYPE_BIT(MM_BSON_STRING);
	return true;
}

/* What the type modifier limits; core's own encodings of it. */
static void
init_limits(MmValueType *type)
{
	int32		typmod = type->typmod;

	switch (type->kind)
	{
		case MM_KIND_VARCHAR:
			if (typmod < (int32) VARHDRSZ)
				type->kind = MM_KIND_TEXT;
			type->limit = typmod - (int32) VARHDRSZ;
			break;
		case MM_KIND_CHAR:
			if (typmod < (int32) VARHDRSZ)
				type->kind = MM_KIND_TEXT;
			type->limit = typmod - (int32) VARHDRSZ;
			break;
		case MM_KIND_NUMERIC:
			type->precision = typmod < (int32) VARHDRSZ ? 0 :
				((typmod - VARHDRSZ) >> 16) & 0xffff;
			/* eleven bits, signed since 15 */
			type->scale = typmod < (int32) VARHDRSZ ? 0 :
				(((typmod - VARHDRSZ) & 0x7ff) ^ 1024) - 1024;
			break;
		case MM_KIND_TIMESTAMPTZ:
		case MM_KIND_TIMESTAMP:
			type->limit = typmod >= 0 && typmod <= MAX_TIMESTAMP_PRECISION ?
				typmod : -1;
			break;
		default:
			break;
	}
}

/* A field with a format has JSON in its column.  False: it has no room. */
static bool
init_format(MmValueType *type)
{
	switch (type->kind)
	{
		case MM_KIND_TEXT:
		case MM_KIND_VARCHAR:
			type->kind = MM_KIND_JSON_TEXT;
			return true;
		case MM_KIND_JSONB:
		case MM_KIND_JSON:
		case MM_KIND_DOMAIN:
		case MM_KIND_ARRAY:
			return true;
		default:
			return false;
	}
}

/*
 * Fills in *type, a zeroed struct that lives in the current context, for a
 * column under a contract.  format: the field's, or MM_INHERIT.  False: such
 * a column cannot be filled.
 */
bool
mm_value_type_init(MmValueType *type, Oid typid, int32 typmod,
				   const MmContract *contract, int format, bool careful)
{
	Oid			element = get_element_type(typid);
	bool		known = false;

	type->context = CurrentMemoryContext;
	type->typid = typid;
	type->typmod = typmod;
	type->careful = careful;
	type->invalid_text = contract->invalid_text;
	type->uuid = contract->uuid;
	type->form = format != MM_INHERIT ? (MmJsonForm) format :
		contract->json_form;
	get_typlenbyvalalign(typid, &type->typlen, &type->typbyval,
						 &type->typalign);
	for (int i = 0; i < lengthof(builtin_kinds); i++)
	{
		if (builtin_kinds[i].typid != typid)
			continue;
		type->kind = builtin_kinds[i].kind;
		type->exact = builtin_kinds[i].exact;
		known = true;
	}
	if (!known && OidIsValid(element))
		known = init_array(type, element, contract, format);
	else if (!known && get_typtype(typid) == TYPTYPE_DOMAIN)
		known = init_domain(type, contract, format);
	else if (!known)
		known = init_other(type);
	if (known)
		init_limits(type);
	return known && (format == MM_INHERIT || init_format(type));
}

/* For the type and what it is made of. */
void
mm_value_type_set_builder(MmValueType *type, MmJsonbBuilder *builder)
{
	for (; type != NULL; type = type->element)
		type->builder = builder;
}

bool
mm_type_is_fillable(Oid typid, int32 typmod)
{
	MmContract	contract = {0};
	MmValueType type = {0};

	return mm_value_type_init(&type, typid, typmod, &contract, MM_INHERIT,
							  false);
}

/* ---------------------------------------------------------------------
 * Standing in for another type
 * ---------------------------------------------------------------------
 */

/* Is the type on the list, which InvalidOid ends? */
static bool
is_one_of(Oid typid, const Oid *list)
{
	for (; OidIsValid(*list); list++)
		if (*list == typid)
			return true;
	return false;
}

/* Types other than itself, text and JSON that can take what it takes. */
static const Oid *
substitutes(Oid wanted)
{
	static const Oid none[] = {InvalidOid};
	static const Oid for_integer[] = {
		INT8OID, INT4OID, INT2OID, FLOAT8OID, NUMERICOID, InvalidOid
	};
	static const Oid for_float[] = {FLOAT8OID, NUMERICOID, InvalidOid};
	static const Oid for_boolean[] = {INT8OID, INT4OID, INT2OID, InvalidOid};
	static const Oid for_time[] = {TIMESTAMPTZOID, TIMESTAMPOID, InvalidOid};
	static const Oid for_date[] = {
		DATEOID, TIMESTAMPTZOID, TIMESTAMPOID, InvalidOid
	};
	static const Oid for_uuid[] = {BYTEAOID, InvalidOid};
	static const Oid for_text[] = {VARCHAROID, BPCHAROID, InvalidOid};

	switch (wanted)
	{
		case INT8OID:
		case INT4OID:
		case INT2OID:
			return for_integer;
		case FLOAT8OID:
		case FLOAT4OID:
			return for_float;
		case BOOLOID:
			return for_boolean;
		case TIMESTAMPTZOID:
		case TIMESTAMPOID:
			return for_time;
		case DATEOID:
			return for_date;
		case UUIDOID:
			return for_uuid;
		case TEXTOID:
		case VARCHAROID:
		case BPCHAROID:
			return for_text;
		default:
			return none;
	}
}

/* citext and the like */
static bool
type_is_text_like(Oid typid)
{
	Oid			function;
	Oid			ioparam;
	FmgrInfo	input;

	getTypeInputInfo(typid, &function, &ioparam);
	fmgr_info(function, &input);
	return input.fn_addr == textin;
}

/*
 * In an array there are fewer ways (value.c): numbers of another kind, times,
 * and text.
 */
static bool
can_hold_element(Oid have, Oid wanted)
{
	static const Oid not_from_strings[] = {
		INT8OID, INT4OID, INT2OID, FLOAT8OID, FLOAT4OID, NUMERICOID, BOOLOID,
		TIMESTAMPTZOID, TIMESTAMPOID, DATEOID, UUIDOID, BYTEAOID, JSONBOID,
		JSONOID, InvalidOid
	};

	have = getBaseType(have);
	if (have == wanted || have == JSONBOID || have == JSONOID)
		return true;
	if (wanted == BOOLOID)
		return false;
	if (have == TEXTOID)
		return !is_one_of(wanted, not_from_strings);
	return is_one_of(have, substitutes(wanted)) ||
		(wanted == TEXTOID && (get_typtype(have) == TYPTYPE_ENUM ||
							   type_is_text_like(have)));
}

/*
 * Each value is checked on its way, so that narrow integers may do for wide
 * ones, an enum for text, and a limit is no obstacle.
 */
static bool
can_hold(Oid have, Oid wanted)
{
	Oid			element = get_element_type(have);
	Oid			base = getBaseType(have);

	if (have == wanted || have == JSONBOID || have == JSONOID)
		return true;
	if (OidIsValid(element) && OidIsValid(get_element_type(wanted)))
		return can_hold_element(element, get_element_type(wanted));
	if (base != have)
		return can_hold(base, wanted);
	if (is_one_of(have, substitutes(wanted)))
		return true;
	if (wanted == TEXTOID && (get_typtype(have) == TYPTYPE_ENUM ||
							  type_is_text_like(have)))
		return true;
	return have == TEXTOID && wanted != JSONBOID && wanted != JSONOID &&
		!OidIsValid(get_element_type(wanted));
}

bool
mm_type_column_takes(const FormData_pg_attribute *att, const MmSqlType *wanted)
{
	return att->attgenerated == '\0' &&
		mm_type_is_fillable(att->atttypid, att->atttypmod) &&
		can_hold(att->atttypid, wanted->typid);
}
