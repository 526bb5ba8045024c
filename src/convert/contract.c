/*-------------------------------------------------------------------------
 *
 * contract.c
 *	  The contract as jsonb, and its words.
 *
 * The layout is that of INTERFACE.md section 6.  What is read is mostly what
 * was written here; still each mistake is told with its place, since the
 * document lies in a table and is made to be looked at.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/jsonb.h"

#include "convert/convert.h"
#include "convert/names.h"

#define FORMAT 1
#define EXTRA_COLUMN "_extra"

/* ---------------------------------------------------------------------
 * Words
 * ---------------------------------------------------------------------
 */

static const char *const on_error_names[] = {
	[MM_ON_ERROR_EXTRA] = "extra",
	[MM_ON_ERROR_REJECT] = "reject",
	[MM_ON_ERROR_SET_NULL] = "set_null",
	[MM_ON_ERROR_STOP] = "stop"
};

static const char *const invalid_text_names[] = {
	[MM_INVALID_TEXT_REJECT] = "reject",
	[MM_INVALID_TEXT_STRIP] = "strip",
	[MM_INVALID_TEXT_REPLACE] = "replace"
};

static const char *const naming_names[] = {
	[MM_NAMING_SNAKE_CASE] = "snake_case",
	[MM_NAMING_LOWER] = "lower",
	[MM_NAMING_PRESERVE] = "preserve"
};

/* Index of the name, or -1. */
static int
find_name(const char *const *names, int n, const char *name)
{
	for (int i = 0; i < n; i++)
		if (strcmp(names[i], name) == 0)
			return i;
	return -1;
}

bool
mm_on_error_parse(const char *name, MmOnError *result)
{
	int			i = find_name(on_error_names, lengthof(on_error_names), name);

	if (i >= 0)
		*result = i;
	return i >= 0;
}

const char *
mm_on_error_name(MmOnError value)
{
	return on_error_names[value];
}

bool
mm_invalid_text_parse(const char *name, MmInvalidText *result)
{
	int			i = find_name(invalid_text_names,
							  lengthof(invalid_text_names), name);

	if (i >= 0)
		*result = i;
	return i >= 0;
}

const char *
mm_invalid_text_name(MmInvalidText value)
{
	return invalid_text_names[value];
}

bool
mm_naming_parse(const char *name, MmNaming *result)
{
	int			i = find_name(naming_names, lengthof(naming_names), name);

	if (i >= 0)
		*result = i;
	return i >= 0;
}

/* ---------------------------------------------------------------------
 * To jsonb
 * ---------------------------------------------------------------------
 */

static void
push_text(JsonbParseState **state, JsonbIteratorToken token, const char *text)
{
	JsonbValue	value = {.type = jbvString};

	value.val.string.val = unconstify(char *, text);
	value.val.string.len = strlen(text);
	(void) pushJsonbValue(state, token, &value);
}

static void
push_pair(JsonbParseState **state, const char *key, const char *text)
{
	push_text(state, WJB_KEY, key);
	push_text(state, WJB_VALUE, text);
}

static void
push_field(JsonbParseState **state, const MmField *field)
{
	(void) pushJsonbValue(state, WJB_BEGIN_OBJECT, NULL);
	push_pair(state, "path", field->path);
	push_pair(state, "column", field->column);
	push_pair(state, "type", field->type);
	if (field->not_null)
	{
		JsonbValue	value = {.type = jbvBool};

		value.val.boolean = true;
		push_text(state, WJB_KEY, "not_null");
		(void) pushJsonbValue(state, WJB_VALUE, &value);
	}
	if (field->canonical)
		push_pair(state, "format", "canonical");
	(void) pushJsonbValue(state, WJB_END_OBJECT, NULL);
}

static void
push_target(JsonbParseState **state, const MmContract *contract)
{
	push_text(state, WJB_KEY, "target");
	(void) pushJsonbValue(state, WJB_BEGIN_OBJECT, NULL);
	push_pair(state, "table", contract->target);
	if (contract->key_column != NULL)
	{
		push_text(state, WJB_KEY, "primary_key");
		(void) pushJsonbValue(state, WJB_BEGIN_ARRAY, NULL);
		push_text(state, WJB_ELEM, contract->key_column);
		(void) pushJsonbValue(state, WJB_END_ARRAY, NULL);
	}
	(void) pushJsonbValue(state, WJB_END_OBJECT, NULL);
}

Jsonb *
mm_contract_to_jsonb(const MmContract *contract)
{
	JsonbParseState *state = NULL;
	JsonbValue	format = {.type = jbvNumeric};
	ListCell   *lc;

	format.val.numeric = int64_to_numeric(FORMAT);
	(void) pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	push_text(&state, WJB_KEY, "format");
	(void) pushJsonbValue(&state, WJB_VALUE, &format);
	push_text(&state, WJB_KEY, "source");
	(void) pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	push_pair(&state, "namespace", contract->namespace);
	(void) pushJsonbValue(&state, WJB_END_OBJECT, NULL);
	push_target(&state, contract);
	push_pair(&state, "on_error", mm_on_error_name(contract->on_error));
	push_pair(&state, "extra", contract->extra_column ? "column" : "reject");
	push_pair(&state, "invalid_text",
			  mm_invalid_text_name(contract->invalid_text));
	push_text(&state, WJB_KEY, "fields");
	(void) pushJsonbValue(&state, WJB_BEGIN_ARRAY, NULL);
	foreach(lc, contract->fields)
		push_field(&state, lfirst(lc));
	(void) pushJsonbValue(&state, WJB_END_ARRAY, NULL);
	return JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
}

/* ---------------------------------------------------------------------
 * From jsonb
 * ---------------------------------------------------------------------
 */

/* place: "fields[3].type" */
static void
fail(const char *place, const char *expected)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("invalid mapping: \"%s\" must be %s", place, expected)));
}

/* The value of a key, or NULL; place is that of the object, "" at the top. */
static JsonbValue *
find(JsonbContainer *object, const char *key)
{
	return getKeyJsonValueFromContainer(object, key, strlen(key), NULL);
}

static char *
place_of(const char *place, const char *key)
{
	return psprintf("%s%s%s", place, *place ? "." : "", key);
}

static char *
find_text(JsonbContainer *object, const char *place, const char *key)
{
	JsonbValue *value = find(object, key);

	if (value == NULL || value->type != jbvString)
		fail(place_of(place, key), "a string");
	return pnstrdup(value->val.string.val, value->val.string.len);
}

static JsonbContainer *
find_container(JsonbContainer *object, const char *place, const char *key,
			   bool array)
{
	JsonbValue *value = find(object, key);

	if (value == NULL || value->type != jbvBinary ||
		array != JsonContainerIsArray(value->val.binary.data))
		fail(place_of(place, key), array ? "an array" : "an object");
	return value->val.binary.data;
}

/* A key that this version does not know would change the meaning unseen. */
static void
check_keys(JsonbContainer *object, const char *place,
		   const char *const *known, int n)
{
	JsonbIterator *it = JsonbIteratorInit(object);
	JsonbIteratorToken token;
	JsonbValue	v;

	while ((token = JsonbIteratorNext(&it, &v, true)) != WJB_DONE)
	{
		char	   *key;

		if (token != WJB_KEY)
			continue;
		key = pnstrdup(v.val.string.val, v.val.string.len);
		if (find_name(known, n, key) < 0)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("invalid mapping: unknown key \"%s\"",
							place_of(place, key))));
	}
}

static void
read_format(JsonbContainer *root)
{
	JsonbValue *value = find(root, "format");

	if (value == NULL || value->type != jbvNumeric ||
		strcmp(numeric_normalize(value->val.numeric),
			   CppAsString2(FORMAT)) != 0)
		fail("format", CppAsString2(FORMAT));
}

static void
read_path(MmField *field, const char *place)
{
	size_t		len = strlen(field->path);
	List	   *parts = mm_names_split(field->path);

	if (list_length(parts) != 1 || field->path[len - 1] == ']')
		fail(place_of(place, "path"), "a name of the top level");
	field->key = linitial(parts);
}

static MmField *
read_field(JsonbContainer *object, const char *place)
{
	static const char *const known[] = {
		"path", "column", "type", "not_null", "format"
	};
	MmField    *field = palloc0(sizeof(MmField));
	JsonbValue *value;

	check_keys(object, place, known, lengthof(known));
	field->path = find_text(object, place, "path");
	field->column = find_text(object, place, "column");
	field->type = find_text(object, place, "type");
	read_path(field, place);
	value = find(object, "not_null");
	if (value != NULL)
	{
		if (value->type != jbvBool)
			fail(place_of(place, "not_null"), "true or false");
		field->not_null = value->val.boolean;
	}
	if (find(object, "format") != NULL)
	{
		if (strcmp(find_text(object, place, "format"), "canonical") != 0)
			fail(place_of(place, "format"), "\"canonical\"");
		field->canonical = true;
	}
	return field;
}

static List *
read_fields(JsonbContainer *root)
{
	JsonbContainer *array = find_container(root, "", "fields", true);
	List	   *fields = NIL;

	for (uint32 i = 0; i < JsonContainerSize(array); i++)
	{
		JsonbValue *value = getIthJsonbValueFromContainer(array, i);
		char	   *place = psprintf("fields[%u]", i);

		if (value->type != jbvBinary ||
			!JsonContainerIsObject(value->val.binary.data))
			fail(place, "an object");
		fields = lappend(fields, read_field(value->val.binary.data, place));
	}
	return fields;
}

static void
read_target(MmContract *contract, JsonbContainer *root)
{
	static const char *const known[] = {"table", "primary_key"};
	JsonbContainer *target = find_container(root, "", "target", false);
	JsonbContainer *key;
	JsonbValue *column;

	check_keys(target, "target", known, lengthof(known));
	contract->target = find_text(target, "target", "table");
	if (find(target, "primary_key") == NULL)
		return;
	key = find_container(target, "target", "primary_key", true);
	column = getIthJsonbValueFromContainer(key, 0);
	if (column == NULL || JsonContainerSize(key) != 1 ||
		column->type != jbvString)
		fail("target.primary_key", "an array of one column name");
	contract->key_column = pnstrdup(column->val.string.val,
									column->val.string.len);
}

static void
read_policies(MmContract *contract, JsonbContainer *root)
{
	char	   *extra = find_text(root, "", "extra");

	if (!mm_on_error_parse(find_text(root, "", "on_error"),
						   &contract->on_error))
		fail("on_error", "extra, reject, set_null or stop");
	if (!mm_invalid_text_parse(find_text(root, "", "invalid_text"),
							   &contract->invalid_text))
		fail("invalid_text", "reject, strip or replace");
	if (strcmp(extra, "column") == 0)
		contract->extra_column = EXTRA_COLUMN;
	else if (strcmp(extra, "reject") != 0)
		fail("extra", "column or reject");
}

/* In the current context, also after the jsonb is gone. */
MmContract *
mm_contract_from_jsonb(Jsonb *jsonb)
{
	static const char *const known[] = {
		"format", "source", "target", "on_error", "extra", "invalid_text",
		"fields"
	};
	static const char *const known_source[] = {"namespace"};
	MmContract *contract = palloc0(sizeof(MmContract));
	JsonbContainer *root = &jsonb->root;
	JsonbContainer *source;

	if (!JsonContainerIsObject(root))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid mapping: not an object")));
	check_keys(root, "", known, lengthof(known));
	read_format(root);
	source = find_container(root, "", "source", false);
	check_keys(source, "source", known_source, lengthof(known_source));
	contract->namespace = find_text(source, "source", "namespace");
	read_target(contract, root);
	read_policies(contract, root);
	contract->fields = read_fields(root);
	return contract;
}
