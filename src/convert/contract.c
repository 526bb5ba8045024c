/*-------------------------------------------------------------------------
 *
 * contract.c
 *	  The contract as jsonb.
 *
 * The layout is that of INTERFACE.md section 6, with two keys of a field in
 * addition: "format" (a form of JSON for this column; a text column with one
 * holds any value as JSON) and "bson_types" (what was seen there; for the
 * column's comment).  parse.c reads it.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/numeric.h"

#include "convert/convert.h"

#define FORMAT 1

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
push_optional(JsonbParseState **state, const char *key, const char *text)
{
	if (text != NULL)
		push_pair(state, key, text);
}

static void
push_true(JsonbParseState **state, const char *key)
{
	JsonbValue	value = {.type = jbvBool};

	value.val.boolean = true;
	push_text(state, WJB_KEY, key);
	(void) pushJsonbValue(state, WJB_VALUE, &value);
}

static const char *
kind_name(MmFieldKind kind)
{
	switch (kind)
	{
		case MM_FIELD_IGNORE:
			return "ignore";
		case MM_FIELD_EXTRA:
			return "extra";
		case MM_FIELD_DOCUMENT:
			return "document";
		case MM_FIELD_COLUMN:
			break;
	}
	return NULL;				/* the default is left out */
}

static void
push_field(JsonbParseState **state, const MmField *field)
{
	(void) pushJsonbValue(state, WJB_BEGIN_OBJECT, NULL);
	push_optional(state, "path", field->path);
	push_optional(state, "kind", kind_name(field->kind));
	push_optional(state, "column", field->column);
	push_optional(state, "type", field->type);
	if (field->not_null)
		push_true(state, "not_null");
	if (field->format != MM_INHERIT)
		push_pair(state, "format",
				  mm_json_form_name((MmJsonForm) field->format));
	if (field->on_error != MM_INHERIT)
		push_pair(state, "on_error",
				  mm_on_error_name((MmOnError) field->on_error));
	push_optional(state, "default", field->default_text);
	push_optional(state, "bson_types", field->bson_types);
	(void) pushJsonbValue(state, WJB_END_OBJECT, NULL);
}

static void
push_target(JsonbParseState **state, const MmContract *contract)
{
	ListCell   *lc;

	push_text(state, WJB_KEY, "target");
	(void) pushJsonbValue(state, WJB_BEGIN_OBJECT, NULL);
	push_optional(state, "table", contract->target);
	push_text(state, WJB_KEY, "primary_key");
	(void) pushJsonbValue(state, WJB_BEGIN_ARRAY, NULL);
	foreach(lc, contract->key_columns)
		push_text(state, WJB_ELEM, lfirst(lc));
	(void) pushJsonbValue(state, WJB_END_ARRAY, NULL);
	(void) pushJsonbValue(state, WJB_END_OBJECT, NULL);
}

/* The filter is kept as text: jsonb would change the order of its keys. */
static void
push_source(JsonbParseState **state, const MmContract *contract)
{
	push_text(state, WJB_KEY, "source");
	(void) pushJsonbValue(state, WJB_BEGIN_OBJECT, NULL);
	push_pair(state, "namespace", contract->namespace);
	push_optional(state, "filter", contract->filter);
	(void) pushJsonbValue(state, WJB_END_OBJECT, NULL);
}

/* null: the target has none; a key left out would stand for "_extra". */
static void
push_extra_column(JsonbParseState **state, const char *column)
{
	JsonbValue	null = {.type = jbvNull};

	if (column != NULL)
		push_pair(state, "extra_column", column);
	else
	{
		push_text(state, WJB_KEY, "extra_column");
		(void) pushJsonbValue(state, WJB_VALUE, &null);
	}
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
	push_source(&state, contract);
	push_target(&state, contract);
	push_pair(&state, "on_error", mm_on_error_name(contract->on_error));
	push_pair(&state, "extra", mm_extra_name(contract->extra));
	push_pair(&state, "invalid_text",
			  mm_invalid_text_name(contract->invalid_text));
	push_pair(&state, "json_format", mm_json_form_name(contract->json_form));
	if (contract->uuid != MM_UUID_NONE)
		push_pair(&state, "uuid_representation",
				  mm_uuid_form_name(contract->uuid));
	push_extra_column(&state, contract->extra_column);
	push_text(&state, WJB_KEY, "fields");
	(void) pushJsonbValue(&state, WJB_BEGIN_ARRAY, NULL);
	foreach(lc, contract->fields)
		push_field(&state, lfirst(lc));
	(void) pushJsonbValue(&state, WJB_END_ARRAY, NULL);
	return JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
}

bool
mm_contract_has_column(const MmContract *contract, const char *column)
{
	ListCell   *lc;

	foreach(lc, contract->fields)
	{
		const MmField *field = lfirst(lc);

		if (field->column != NULL && strcmp(field->column, column) == 0)
			return true;
	}
	return false;
}

bool
mm_contract_needs_extra(const MmContract *contract)
{
	bool		needed = contract->extra == MM_EXTRA_COLUMN ||
		contract->extra == MM_EXTRA_ADD_COLUMN ||
		contract->on_error == MM_ON_ERROR_EXTRA;
	ListCell   *lc;

	foreach(lc, contract->fields)
	{
		const MmField *field = lfirst(lc);

		/* the whole document is in its column: nothing is left over */
		if (field->kind == MM_FIELD_DOCUMENT)
			return false;
		needed = needed || field->kind == MM_FIELD_EXTRA ||
			field->on_error == MM_ON_ERROR_EXTRA;
	}
	return needed;
}
