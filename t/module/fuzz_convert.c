/*-------------------------------------------------------------------------
 *
 * fuzz_convert.c
 *	  A damaged document into a row.
 *
 * The plans have a column of each kind, under names that random documents
 * have, some of them in embedded documents, and differ in what happens to
 * what does not fit.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/tupdesc.h"
#include "catalog/pg_type_d.h"
#include "utils/memutils.h"

#include "convert/convert.h"
#include "convert/names.h"
#include "mm_test.h"

/* typmods as core encodes them: n + VARHDRSZ; precision and scale */
#define CHARS(n) ((n) + VARHDRSZ)
#define DIGITS(p, s) ((((p) << 16) | (s)) + VARHDRSZ)

static const struct
{
	const char *path;
	Oid			type;
	int32		typmod;
	int			format;
	bool		not_null;
	const char *default_text;
} columns[] = {
	{"_id", TEXTOID, -1, MM_JSON_CANONICAL, true},
	{"a", TEXTOID, -1, MM_INHERIT},
	{"b", INT8OID, -1, MM_INHERIT},
	{"c", INT4OID, -1, MM_INHERIT, false, "7"},
	{"aa", INT2OID, -1, MM_INHERIT},
	{"ab", FLOAT8OID, -1, MM_INHERIT},
	{"ac", FLOAT4OID, -1, MM_INHERIT},
	{"ba", NUMERICOID, -1, MM_INHERIT},
	{"bb", NUMERICOID, DIGITS(12, 2), MM_INHERIT},
	{"bc", VARCHAROID, CHARS(5), MM_INHERIT},
	{"ca", BPCHAROID, CHARS(5), MM_INHERIT},
	{"cb", DATEOID, -1, MM_INHERIT},
	{"cc", TIMESTAMPOID, 0, MM_INHERIT},
	{"flag", BOOLOID, -1, MM_INHERIT},
	{"when", TIMESTAMPTZOID, -1, MM_INHERIT},
	{"doc.a", JSONBOID, -1, MM_INHERIT},
	{"doc.b.c", TEXTOID, -1, MM_INHERIT},
	{"doc.b.a", INT8OID, -1, MM_INHERIT},
	{"doc.c", JSONOID, -1, MM_JSON_RELAXED},
	{"abcdefgh", JSONBOID, -1, MM_JSON_CANONICAL},
	{"id", UUIDOID, -1, MM_INHERIT},
	{"n", BYTEAOID, -1, MM_INHERIT},
	{"list", TEXTARRAYOID, -1, MM_INHERIT},
	{"items", INT8ARRAYOID, -1, MM_INHERIT},
	{"x", FLOAT8ARRAYOID, -1, MM_INHERIT},
	{"y", JSONBARRAYOID, -1, MM_INHERIT}
};

#define NCOLUMNS ((int) lengthof(columns) + 1)
#define NPLANS 7

/* Columns c0, c1, ... and _extra. */
static TupleDesc
make_descriptor(void)
{
	TupleDesc	desc = CreateTemplateTupleDesc(NCOLUMNS);

	for (int i = 0; i < lengthof(columns); i++)
		TupleDescInitEntry(desc, i + 1, psprintf("c%d", i), columns[i].type,
						   columns[i].typmod, 0);
	TupleDescInitEntry(desc, NCOLUMNS, "_extra", JSONBOID, -1, 0);
	return desc;
}

static MmField *
make_field(MmFieldKind kind, const char *path)
{
	MmField    *field = palloc0(sizeof(MmField));

	field->kind = kind;
	field->format = field->on_error = MM_INHERIT;
	if (path != NULL)
	{
		field->path = pstrdup(path);
		field->parts = mm_names_split(path);
	}
	return field;
}

static MmPlan *
make_plan(const MmContract *policies, bool document)
{
	MmContract *contract = palloc(sizeof(MmContract));

	*contract = *policies;
	contract->namespace = "shop.fuzz";
	contract->target = "public.fuzz";
	contract->key_columns = list_make1("c0");
	for (int i = 0; i < (document ? 1 : lengthof(columns)); i++)
	{
		MmField    *field = make_field(MM_FIELD_COLUMN, columns[i].path);

		field->column = psprintf("c%d", i);
		field->format = columns[i].format;
		field->not_null = columns[i].not_null;
		field->default_text = unconstify(char *, columns[i].default_text);
		contract->fields = lappend(contract->fields, field);
	}
	if (document)
	{
		MmField    *field = make_field(MM_FIELD_DOCUMENT, NULL);

		field->column = psprintf("c%d", 19);
		contract->fields = lappend(contract->fields, field);
	}
	else
	{
		contract->fields = lappend(contract->fields,
								   make_field(MM_FIELD_IGNORE, "abc"));
		contract->fields = lappend(contract->fields,
								   make_field(MM_FIELD_EXTRA, "abcd"));
	}
	return mm_plan_create(contract, make_descriptor(), false);
}

static MmPlan **
make_plans(void)
{
	static const MmContract policies[NPLANS] = {
		{.on_error = MM_ON_ERROR_EXTRA, .invalid_text = MM_INVALID_TEXT_REPLACE, .extra_column = "_extra"},
		{.on_error = MM_ON_ERROR_EXTRA, .invalid_text = MM_INVALID_TEXT_REJECT, .extra_column = "_extra",
		.uuid = MM_UUID_JAVA},
		{.on_error = MM_ON_ERROR_SET_NULL, .invalid_text = MM_INVALID_TEXT_STRIP, .extra_column = "_extra",
		.extra = MM_EXTRA_IGNORE, .json_form = MM_JSON_CANONICAL},
		{.on_error = MM_ON_ERROR_REJECT, .invalid_text = MM_INVALID_TEXT_REPLACE, .extra_column = "_extra",
		.extra = MM_EXTRA_ADD_COLUMN},
		{.on_error = MM_ON_ERROR_SET_DEFAULT, .invalid_text = MM_INVALID_TEXT_STRIP, .extra_column = "_extra",
		.json_form = MM_JSON_RELAXED},
		{.on_error = MM_ON_ERROR_STOP, .invalid_text = MM_INVALID_TEXT_REJECT},
		{.on_error = MM_ON_ERROR_EXTRA, .invalid_text = MM_INVALID_TEXT_REPLACE},
	};
	MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);
	MmPlan	  **plans = palloc(sizeof(MmPlan *) * NPLANS);

	for (int i = 0; i < NPLANS; i++)
		plans[i] = make_plan(&policies[i], i == NPLANS - 1);
	MemoryContextSwitchTo(old);
	return plans;
}

/* Stored by any of the plans. */
bool
fuzz_convert(const uint8 *doc, uint32 len)
{
	static MmPlan **plans = NULL;
	Datum		values[NCOLUMNS];
	bool		isnull[NCOLUMNS];
	int64		diverted = 0;
	bool		stored = false;

	if (plans == NULL)
		plans = make_plans();
	for (int i = 0; i < NPLANS; i++)
	{
		MmReject	reject = {0};

		stored |= mm_plan_convert(plans[i], doc, len, values, isnull,
								  &diverted, &reject);
		mm_plan_forget_rows(plans[i]);
	}
	return stored;
}
