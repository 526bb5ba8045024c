/*-------------------------------------------------------------------------
 *
 * fuzz_convert.c
 *	  A damaged document into a row.
 *
 * The plans have a column of each kind, under names that random documents
 * have, and differ in what happens to what does not fit.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/tupdesc.h"
#include "catalog/pg_type_d.h"
#include "utils/memutils.h"

#include "convert/convert.h"
#include "mm_test.h"

static const struct
{
	const char *name;
	Oid			type;
	bool		canonical;
	bool		not_null;
} columns[] = {
	{"_id", TEXTOID, true, true},
	{"a", TEXTOID},
	{"b", INT8OID},
	{"c", INT4OID},
	{"aa", INT2OID},
	{"ab", FLOAT8OID},
	{"ba", NUMERICOID},
	{"flag", BOOLOID},
	{"when", TIMESTAMPTZOID},
	{"doc", JSONBOID},
	{"abcdefgh", JSONBOID, true},
	{"id", UUIDOID},
	{"n", BYTEAOID},
	{"_extra", JSONBOID}
};

#define NCOLUMNS lengthof(columns)
#define NPLANS 6

static TupleDesc
make_descriptor(void)
{
	TupleDesc	desc = CreateTemplateTupleDesc(NCOLUMNS);

	for (int i = 0; i < NCOLUMNS; i++)
		TupleDescInitEntry(desc, i + 1, columns[i].name, columns[i].type, -1,
						   0);
	return desc;
}

static MmPlan *
make_plan(MmOnError on_error, MmInvalidText invalid_text, bool extra)
{
	MmContract	contract = {
		.namespace = "shop.fuzz",
		.target = "public.fuzz",
		.on_error = on_error,
		.invalid_text = invalid_text,
		.extra_column = extra ? "_extra" : NULL
	};

	for (int i = 0; i < NCOLUMNS - 1; i++)
	{
		MmField    *field = palloc0(sizeof(MmField));

		field->path = field->key = field->column = pstrdup(columns[i].name);
		field->canonical = columns[i].canonical;
		field->not_null = columns[i].not_null;
		contract.fields = lappend(contract.fields, field);
	}
	return mm_plan_create(&contract, make_descriptor());
}

static MmPlan **
make_plans(void)
{
	MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);
	MmPlan	  **plans = palloc(sizeof(MmPlan *) * NPLANS);

	plans[0] = make_plan(MM_ON_ERROR_EXTRA, MM_INVALID_TEXT_REPLACE, true);
	plans[1] = make_plan(MM_ON_ERROR_EXTRA, MM_INVALID_TEXT_REJECT, true);
	plans[2] = make_plan(MM_ON_ERROR_SET_NULL, MM_INVALID_TEXT_STRIP, true);
	plans[3] = make_plan(MM_ON_ERROR_REJECT, MM_INVALID_TEXT_REPLACE, true);
	plans[4] = make_plan(MM_ON_ERROR_EXTRA, MM_INVALID_TEXT_STRIP, false);
	plans[5] = make_plan(MM_ON_ERROR_STOP, MM_INVALID_TEXT_REJECT, false);
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
	MmReject	reject;

	if (plans == NULL)
		plans = make_plans();
	for (int i = 0; i < NPLANS; i++)
		stored |= mm_plan_convert(plans[i], doc, len, values, isnull,
								  &diverted, &reject);
	return stored;
}
