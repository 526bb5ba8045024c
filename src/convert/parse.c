/*-------------------------------------------------------------------------
 *
 * parse.c
 *	  jsonb -> contract, checked.
 *
 * People write contracts: each mistake is told with its place, such as
 * fields[3].type.  What can be known without a table is checked here: keys,
 * kinds of values, words, paths, names given twice.  Whether types and
 * columns exist is checked by the caller.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/numeric.h"

#include "convert/convert.h"
#include "convert/keymap.h"
#include "convert/names.h"
#include "convert/walk.h"

#define FORMAT "1"
#define EXTRA_COLUMN "_extra"

/* An object of the document, and where it stands ("" for the top). */
typedef struct Place
{
	JsonbContainer *object;
	const char *name;
} Place;

/* ---------------------------------------------------------------------
 * Failures
 * ---------------------------------------------------------------------
 */

static char *
place_of(const Place *place, const char *key)
{
	return psprintf("%s%s%s", place->name, place->name[0] ? "." : "", key);
}

static void
fail(const char *place, const char *expected)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("invalid mapping: \"%s\" must be %s", place, expected)));
}

static void
fail_twice(const char *place, const char *what, const char *name)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("invalid mapping: \"%s\" gives %s \"%s\" again", place,
					what, name)));
}

static void
refuse(const char *place, const char *what)
{
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("%s in a mapping are not supported by this version", what),
			 errdetail("There is one at \"%s\".", place)));
}

/* A key that nobody reads would change the meaning unseen. */
static void
check_keys(const Place *place, const char *const *known, int n)
{
	JsonbIterator *it = JsonbIteratorInit(place->object);
	JsonbIteratorToken token;
	JsonbValue	v;

	while ((token = JsonbIteratorNext(&it, &v, true)) != WJB_DONE)
	{
		char	   *key;
		int			i = 0;

		if (token != WJB_KEY)
			continue;
		key = pnstrdup(v.val.string.val, v.val.string.len);
		while (i < n && strcmp(known[i], key) != 0)
			i++;
		if (i == n)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("invalid mapping: unknown key \"%s\"",
							place_of(place, key))));
	}
}

/* ---------------------------------------------------------------------
 * Values
 * ---------------------------------------------------------------------
 */

/* The value of a key; NULL when it is not there or null. */
static JsonbValue *
find(const Place *place, const char *key)
{
	JsonbValue *value = getKeyJsonValueFromContainer(place->object, key,
													 strlen(key), NULL);

	return value != NULL && value->type == jbvNull ? NULL : value;
}

static char *
find_text(const Place *place, const char *key)
{
	JsonbValue *value = find(place, key);

	if (value == NULL)
		return NULL;
	if (value->type != jbvString)
		fail(place_of(place, key), "a string");
	return pnstrdup(value->val.string.val, value->val.string.len);
}

static char *
need_text(const Place *place, const char *key)
{
	char	   *text = find_text(place, key);

	if (text == NULL)
		fail(place_of(place, key), "a string");
	return text;
}

static bool
find_boolean(const Place *place, const char *key)
{
	JsonbValue *value = find(place, key);

	if (value == NULL)
		return false;
	if (value->type != jbvBool)
		fail(place_of(place, key), "true or false");
	return value->val.boolean;
}

/* A scalar of any kind as text. */
static char *
find_scalar(const Place *place, const char *key)
{
	JsonbValue *value = find(place, key);

	if (value == NULL)
		return NULL;
	switch (value->type)
	{
		case jbvString:
			return pnstrdup(value->val.string.val, value->val.string.len);
		case jbvNumeric:
			return DatumGetCString(DirectFunctionCall1(numeric_out,
													   NumericGetDatum(value->val.numeric)));
		case jbvBool:
			return pstrdup(value->val.boolean ? "true" : "false");
		default:
			fail(place_of(place, key), "a string, a number or a boolean");
			return NULL;
	}
}

static bool
find_object(const Place *place, const char *key, Place *result)
{
	JsonbValue *value = find(place, key);

	if (value == NULL)
		return false;
	if (value->type != jbvBinary ||
		!JsonContainerIsObject(value->val.binary.data))
		fail(place_of(place, key), "an object");
	*result = (Place) {value->val.binary.data, place_of(place, key)};
	return true;
}

static JsonbContainer *
find_array(const Place *place, const char *key)
{
	JsonbValue *value = find(place, key);

	if (value == NULL)
		return NULL;
	if (value->type != jbvBinary ||
		!JsonContainerIsArray(value->val.binary.data))
		fail(place_of(place, key), "an array");
	return value->val.binary.data;
}

/* ---------------------------------------------------------------------
 * Fields
 * ---------------------------------------------------------------------
 */

static MmFieldKind
read_kind(const Place *place)
{
	char	   *kind = find_text(place, "kind");

	if (kind == NULL || strcmp(kind, "column") == 0)
		return MM_FIELD_COLUMN;
	if (strcmp(kind, "ignore") == 0)
		return MM_FIELD_IGNORE;
	if (strcmp(kind, "extra") == 0)
		return MM_FIELD_EXTRA;
	if (strcmp(kind, "document") == 0)
		return MM_FIELD_DOCUMENT;
	if (strcmp(kind, "child") == 0)
		refuse(place_of(place, "kind"), "child tables");
	fail(place_of(place, "kind"), "column, ignore, extra, document or child");
	return MM_FIELD_COLUMN;
}

/* Does the path have "[]" outside of quotes? */
static bool
reaches_elements(const char *path)
{
	bool		quoted = false;

	for (const char *p = path; *p != '\0'; p++)
	{
		if (*p == '"')
			quoted = !quoted;
		else if (!quoted && strncmp(p, "[]", 2) == 0)
			return true;
	}
	return false;
}

static void
add_place_context(void *arg)
{
	errcontext("mapping, %s", (char *) arg);
}

static List *
split_path(const char *path, char *place)
{
	ErrorContextCallback callback = {
		.previous = error_context_stack,
		.callback = add_place_context,
		.arg = place,
	};
	List	   *parts;

	error_context_stack = &callback;
	parts = mm_names_split(path);
	error_context_stack = callback.previous;
	return parts;
}

static void
read_path(MmField *field, const Place *place)
{
	if (field->kind == MM_FIELD_DOCUMENT)
	{
		if (find(place, "path") != NULL)
			fail(place_of(place, "path"), "left out: a document has none");
		return;
	}
	field->path = need_text(place, "path");
	if (reaches_elements(field->path))
		refuse(place_of(place, "path"), "paths into arrays");
	field->parts = split_path(field->path, place_of(place, "path"));
	if (list_length(field->parts) > MM_WALK_MAX_DEPTH)
		fail(place_of(place, "path"),
			 "a path of at most 200 names, as documents are nested");
	field->path = mm_names_join(field->parts);
}

static void
read_policies(MmField *field, const Place *place)
{
	char	   *word = find_text(place, "on_error");
	MmOnError	on_error;
	MmJsonForm	form;

	field->on_error = field->format = MM_INHERIT;
	if (word != NULL)
	{
		if (!mm_on_error_parse(word, &on_error))
			fail(place_of(place, "on_error"),
				 "extra, reject, set_null, set_default or stop");
		field->on_error = on_error;
	}
	word = find_text(place, "format");
	if (word != NULL)
	{
		if (!mm_json_form_parse(word, &form))
			fail(place_of(place, "format"), "simple, relaxed or canonical");
		field->format = form;
	}
}

static void
refuse_later(const Place *place)
{
	if (find(place, "expression") != NULL)
		refuse(place_of(place, "expression"), "expressions");
	if (find(place, "value_type") != NULL)
		refuse(place_of(place, "value_type"), "expressions");
}

static void
check_column_name(const char *name, const Place *place, const char *key)
{
	if (name[0] == '\0' || strlen(name) >= NAMEDATALEN)
		fail(place_of(place, key),
			 psprintf("a name of 1 to %d bytes", NAMEDATALEN - 1));
}

static void
read_column(MmField *field, const Place *place)
{
	static const char *const none[] = {"path", "kind"};

	if (field->kind == MM_FIELD_IGNORE || field->kind == MM_FIELD_EXTRA)
	{
		check_keys(place, none, lengthof(none));
		return;
	}
	field->column = need_text(place, "column");
	check_column_name(field->column, place, "column");
	field->type = need_text(place, "type");
	field->not_null = find_boolean(place, "not_null");
	field->default_text = find_scalar(place, "default");
	field->bson_types = find_text(place, "bson_types");
	if (field->on_error == MM_ON_ERROR_SET_NULL && field->not_null)
		fail(place_of(place, "on_error"), "another one for a column that must not be null");
	if (field->on_error == MM_ON_ERROR_SET_DEFAULT &&
		field->default_text == NULL)
		fail(place_of(place, "default"), "given for on_error \"set_default\"");
}

/* Those of what does not exist yet are refused as such, before the others. */
static MmField *
read_field(const Place *place)
{
	static const char *const known[] = {
		"path", "kind", "column", "type", "not_null", "default", "on_error",
		"format", "bson_types"
	};
	MmField    *field = palloc0(sizeof(MmField));

	refuse_later(place);
	field->kind = read_kind(place);
	check_keys(place, known, lengthof(known));
	read_path(field, place);
	read_policies(field, place);
	read_column(field, place);
	return field;
}

/* Is one path the other, or does it lead to it? */
static bool
is_prefix(const List *a, const List *b)
{
	ListCell   *x;
	ListCell   *y;

	forboth(x, a, y, b)
	{
		if (strcmp(lfirst(x), lfirst(y)) != 0)
			return false;
	}
	return true;
}

/*
 * No name is given twice, and no path is given as a whole and in parts.  The
 * paths are sorted, so that those which share a beginning are neighbours.
 */
static int
compare_paths(const ListCell *a, const ListCell *b)
{
	const List *x = ((MmField *) lfirst(a))->parts;
	const List *y = ((MmField *) lfirst(b))->parts;
	ListCell   *i;
	ListCell   *j;

	forboth(i, x, j, y)
	{
		int			result = strcmp(lfirst(i), lfirst(j));

		if (result != 0)
			return result;
	}
	return list_length(x) - list_length(y);
}

static void
check_paths(const List *fields)
{
	List	   *sorted = list_copy(fields);
	const MmField *last = NULL;
	int			documents = 0;
	ListCell   *lc;

	list_sort(sorted, compare_paths);
	foreach(lc, sorted)
	{
		const MmField *field = lfirst(lc);

		if (field->kind == MM_FIELD_DOCUMENT && documents++ > 0)
			fail_twice("fields", "kind", "document");
		if (field->kind == MM_FIELD_DOCUMENT)
			continue;
		if (last != NULL && is_prefix(last->parts, field->parts))
		{
			if (list_length(last->parts) == list_length(field->parts))
				fail_twice("fields", "path", field->path);
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("invalid mapping: path \"%s\" is given as a whole and in parts",
							last->path),
					 errdetail("Another path is \"%s\".", field->path)));
		}
		last = field;
	}
}

static void
check_columns(const MmContract *contract)
{
	mm_keymap_hash *taken = mm_keymap_create(CurrentMemoryContext, 64, NULL);
	ListCell   *lc;

	foreach(lc, contract->fields)
	{
		const MmField *field = lfirst(lc);
		MmKey		key;
		bool		found;

		if (field->column == NULL)
			continue;
		key = (MmKey) {field->column, strlen(field->column)};
		(void) mm_keymap_insert(taken, key, &found);
		if (found || (contract->extra_column != NULL &&
					  strcmp(contract->extra_column, field->column) == 0))
			fail_twice("fields", "column", field->column);
	}
	foreach(lc, contract->key_columns)
	{
		MmKey		key = {lfirst(lc), strlen(lfirst(lc))};

		for (int i = 0; i < foreach_current_index(lc); i++)
			if (strcmp(list_nth(contract->key_columns, i), key.name) == 0)
				fail_twice("target.primary_key", "column", key.name);
		if (mm_keymap_lookup(taken, key) == NULL)
			fail("target.primary_key",
				 psprintf("columns of the mapping, and \"%s\" is none",
						  key.name));
	}
	mm_keymap_destroy(taken);
}

static List *
read_fields(const Place *root)
{
	JsonbContainer *array = find_array(root, "fields");
	List	   *fields = NIL;

	if (array == NULL || JsonContainerSize(array) == 0)
		fail("fields", "an array with at least one field");
	for (uint32 i = 0; i < JsonContainerSize(array); i++)
	{
		JsonbValue *value = getIthJsonbValueFromContainer(array, i);
		Place		place;

		place.name = psprintf("fields[%u]", i);
		if (value->type != jbvBinary ||
			!JsonContainerIsObject(value->val.binary.data))
			fail(place.name, "an object");
		place.object = value->val.binary.data;
		fields = lappend(fields, read_field(&place));
	}
	return fields;
}

/* ---------------------------------------------------------------------
 * The contract
 * ---------------------------------------------------------------------
 */

static void
read_format(const Place *root)
{
	JsonbValue *value = find(root, "format");

	if (value == NULL || value->type != jbvNumeric ||
		strcmp(numeric_normalize(value->val.numeric), FORMAT) != 0)
		fail("format", FORMAT);
}

/* What an object in a filter is, by where it stands. */
typedef enum FilterPart
{
	FILTER_QUERY,				/* conditions by field */
	FILTER_VALUE,				/* conditions, or what a field is to equal */
	FILTER_ARGUMENTS			/* of an operator, which have names */
} FilterPart;

static bool
is_one_of(const JsonbValue *key, const char *const *names, int n)
{
	for (int i = 0; i < n; i++)
		if (strlen(names[i]) == key->val.string.len &&
			memcmp(names[i], key->val.string.val, key->val.string.len) == 0)
			return true;
	return false;
}

/* Does an object hold a field under this name, or the first of a DBRef? */
static bool
is_field(const JsonbValue *key)
{
	static const char *const names[] = {"$ref"};

	return key->val.string.len == 0 || key->val.string.val[0] != '$' ||
		is_one_of(key, names, lengthof(names));
}

/* What stands under a key of such an object. */
static FilterPart
filter_part(FilterPart part, const JsonbValue *key)
{
	static const char *const comparisons[] = {
		"$eq", "$ne", "$gt", "$gte", "$lt", "$lte", "$in", "$nin", "$all",
		"$cmp", "$ifNull", "$indexOfArray", "$literal", "$setEquals",
		"$setIsSubset"
	};
	static const char *const queries[] = {
		"$and", "$or", "$nor", "$not", "$elemMatch"
	};

	if (is_field(key))
		return part == FILTER_ARGUMENTS ? part : FILTER_VALUE;
	if (is_one_of(key, comparisons, lengthof(comparisons)))
		return FILTER_VALUE;
	return part != FILTER_ARGUMENTS &&
		is_one_of(key, queries, lengthof(queries)) ?
		FILTER_QUERY : FILTER_ARGUMENTS;
}

/*
 * MongoDB tells {a: 1, b: 2} from {b: 2, a: 1} where an embedded document is
 * to be equal to one, and jsonb has not kept which of them was written.  So
 * those are refused; conditions and arguments may stand in any order.
 */
static bool
has_lost_order(JsonbContainer *container, FilterPart part)
{
	JsonbIterator *it = JsonbIteratorInit(container);
	FilterPart	below = part;	/* of an array's elements */
	int			keys = 0;
	bool		fields = false;
	JsonbIteratorToken token;
	JsonbValue	v;

	check_stack_depth();
	while ((token = JsonbIteratorNext(&it, &v, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
		{
			keys++;
			fields |= is_field(&v);
			below = filter_part(part, &v);
		}
		else if ((token == WJB_VALUE || token == WJB_ELEM) &&
				 v.type == jbvBinary &&
				 has_lost_order(v.val.binary.data, below))
			return true;
	}
	return part == FILTER_VALUE && fields && keys > 1;
}

/* An object is written by people, text is what contract.c keeps. */
static char *
read_filter(const Place *source)
{
	JsonbValue *value = find(source, "filter");

	if (value == NULL)
		return NULL;
	if (value->type == jbvString)
		return pnstrdup(value->val.string.val, value->val.string.len);
	if (value->type != jbvBinary ||
		!JsonContainerIsObject(value->val.binary.data))
		fail("source.filter", "an object");
	if (has_lost_order(value->val.binary.data, FILTER_QUERY))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid mapping: \"source.filter\" compares an embedded document of several fields"),
				 errdetail("MongoDB compares it in the order of its fields, which jsonb does not keep."),
				 errhint("Write the filter as a string that holds the JSON, or compare the fields one by one, as \"address.city\".")));
	return JsonbToCString(NULL, value->val.binary.data,
						  value->val.binary.len);
}

static void
read_source(MmContract *contract, const Place *root)
{
	static const char *const known[] = {"namespace", "filter"};
	Place		source;

	if (!find_object(root, "source", &source))
		return;
	check_keys(&source, known, lengthof(known));
	contract->namespace = find_text(&source, "namespace");
	contract->filter = read_filter(&source);
}

static void
read_target(MmContract *contract, const Place *root)
{
	static const char *const known[] = {"table", "primary_key"};
	JsonbContainer *key;
	Place		target;

	if (!find_object(root, "target", &target))
		return;
	check_keys(&target, known, lengthof(known));
	contract->target = find_text(&target, "table");
	key = find_array(&target, "primary_key");
	contract->key_given = key != NULL;
	for (uint32 i = 0; key != NULL && i < JsonContainerSize(key); i++)
	{
		JsonbValue *column = getIthJsonbValueFromContainer(key, i);

		if (column->type != jbvString)
			fail("target.primary_key", "an array of column names");
		contract->key_columns = lappend(contract->key_columns,
										pnstrdup(column->val.string.val,
												 column->val.string.len));
	}
}

/* A word that may be left out: parse() sets *result. */
#define READ_WORD(root, key, parse, result, expected) \
	do { \
		char	   *word_ = find_text(root, key); \
		if (word_ != NULL && !parse(word_, result)) \
			fail(key, expected); \
	} while (0)

static void
read_words(MmContract *contract, const Place *root)
{
	READ_WORD(root, "on_error", mm_on_error_parse, &contract->on_error,
			  "extra, reject, set_null, set_default or stop");
	READ_WORD(root, "extra", mm_extra_parse, &contract->extra,
			  "column, ignore, reject or add_column");
	READ_WORD(root, "invalid_text", mm_invalid_text_parse,
			  &contract->invalid_text, "reject, strip or replace");
	READ_WORD(root, "json_format", mm_json_form_parse, &contract->json_form,
			  "simple, relaxed or canonical");
	READ_WORD(root, "uuid_representation", mm_uuid_form_parse,
			  &contract->uuid,
			  "none, standard, java_legacy, csharp_legacy or python_legacy");
}

static void
read_extra_column(MmContract *contract, const Place *root)
{
	static const char key[] = "extra_column";
	JsonbValue *value = getKeyJsonValueFromContainer(root->object, key,
													 strlen(key), NULL);

	contract->extra_column = value == NULL ? EXTRA_COLUMN :
		find_text(root, key);
	if (contract->extra_column != NULL)
		check_column_name(contract->extra_column, root, key);
}

/* Where the contract says nothing, the column of _id is the key. */
static void
default_key(MmContract *contract)
{
	ListCell   *lc;

	if (contract->key_given)
		return;
	foreach(lc, contract->fields)
	{
		const MmField *field = lfirst(lc);

		if (field->kind == MM_FIELD_COLUMN && strcmp(field->path, "_id") == 0)
			contract->key_columns = list_make1(field->column);
	}
}

/*
 * In the current context, also after the jsonb is gone.  namespace and target
 * are NULL when they are not given.
 */
MmContract *
mm_contract_from_jsonb(Jsonb *jsonb)
{
	static const char *const known[] = {
		"format", "source", "target", "on_error", "extra", "invalid_text",
		"json_format", "uuid_representation", "extra_column", "fields"
	};
	MmContract *contract = palloc0(sizeof(MmContract));
	Place		root = {&jsonb->root, ""};

	if (!JsonContainerIsObject(root.object))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid mapping: not an object")));
	check_keys(&root, known, lengthof(known));
	read_format(&root);
	read_source(contract, &root);
	read_target(contract, &root);
	read_words(contract, &root);
	read_extra_column(contract, &root);
	contract->fields = read_fields(&root);
	default_key(contract);
	check_paths(contract->fields);
	check_columns(contract);
	return contract;
}
