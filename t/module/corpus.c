/*-------------------------------------------------------------------------
 *
 * corpus.c
 *	  SQL functions over one document: whether it is valid, its Extended
 *	  JSON as text, and why it would become a dead letter; and over texts.
 *
 * See mm_test.sql for what they do.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/tupdesc.h"
#include "catalog/pg_type_d.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"

#include "compat.h"
#include "convert/convert.h"
#include "convert/json.h"
#include "mm_test.h"

MM_FUNCTION(mmtest_valid);
MM_FUNCTION(mmtest_json);
MM_FUNCTION(mmtest_reject);
MM_FUNCTION(mmtest_reject_after);
MM_FUNCTION(mmtest_texts);

Datum
mmtest_valid(PG_FUNCTION_ARGS)
{
	bytea	   *bson = PG_GETARG_BYTEA_PP(0);
	MmWalk		walk;

	if (mm_walk_validate(&walk, (uint8 *) VARDATA_ANY(bson),
						 VARSIZE_ANY_EXHDR(bson)))
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(walk.fault));
}

Datum
mmtest_json(PG_FUNCTION_ARGS)
{
	MmValue		value = argument_value(PG_GETARG_BYTEA_PP(0));
	MmOutcome	outcome = {0};
	StringInfoData out;

	initStringInfo(&out);
	if (!mm_json_append(&out, &value, parse_form(PG_GETARG_TEXT_PP(1)),
						MM_INVALID_TEXT_REJECT, true, &outcome))
		ereport(ERROR,
				(errcode(ERRCODE_CHARACTER_NOT_IN_REPERTOIRE),
				 errmsg("invalid text at %s", outcome.failure.path)));
	PG_RETURN_TEXT_P(cstring_to_text_with_len(out.data, out.len));
}

/* ---------------------------------------------------------------------
 * Rejects
 * ---------------------------------------------------------------------
 */

/*
 * The whole document in a column; and columns of any value, some of them from
 * embedded documents, and one of text.  Nothing is refused but text.
 */
static const char *const contracts[] = {
	"{\"format\": 1, \"json_format\": \"canonical\", \"fields\": ["
	"{\"path\": \"_id\", \"column\": \"id\", \"type\": \"jsonb\"},"
	"{\"kind\": \"document\", \"column\": \"doc\", \"type\": \"jsonb\"}]}",
	"{\"format\": 1, \"json_format\": \"canonical\", \"fields\": ["
	"{\"path\": \"_id\", \"column\": \"id\", \"type\": \"jsonb\"},"
	"{\"path\": \"v\", \"column\": \"v\", \"type\": \"jsonb\"},"
	"{\"path\": \"s\", \"column\": \"s\", \"type\": \"text\"},"
	"{\"path\": \"o.a\", \"column\": \"o_a\", \"type\": \"jsonb\"},"
	"{\"path\": \"o.b.c\", \"column\": \"o_b_c\", \"type\": \"jsonb\"}]}"
};

#define COLUMNS_MAX 6

static MmContract *
read_contract(const char *text)
{
	Datum		jsonb = DirectFunctionCall1(jsonb_in, CStringGetDatum(text));

	return mm_contract_from_jsonb(DatumGetJsonbP(jsonb));
}

/* The columns of a contract, jsonb or text, and _extra. */
static TupleDesc
make_descriptor(const MmContract *contract)
{
	int			ncolumns = list_length(contract->fields) + 1;
	TupleDesc	desc = CreateTemplateTupleDesc(ncolumns);
	AttrNumber	number = 1;
	ListCell   *lc;

	Assert(ncolumns <= COLUMNS_MAX);
	foreach(lc, contract->fields)
	{
		MmField    *field = lfirst(lc);

		TupleDescInitEntry(desc, number++, field->column,
						   strcmp(field->type, "text") == 0 ?
						   TEXTOID : JSONBOID, -1, 0);
	}
	TupleDescInitEntry(desc, number, contract->extra_column, JSONBOID, -1, 0);
	return desc;
}

static bool
convert(MmPlan *plan, bytea *bson, MmReject *reject)
{
	Datum		values[COLUMNS_MAX];
	bool		isnull[COLUMNS_MAX];
	int64		diverted = 0;

	return mm_plan_convert(plan, (uint8 *) VARDATA_ANY(bson),
						   VARSIZE_ANY_EXHDR(bson), values, isnull, &diverted,
						   reject);
}

/*
 * See mm_test.sql; NULL when the document is no dead letter.  before: converted
 * first by the same plan, or NULL.
 */
static char *
explain(const char *contract_text, bytea *before, bytea *bson)
{
	MmContract *contract = read_contract(contract_text);
	MmPlan	   *plan = mm_plan_create(contract, make_descriptor(contract),
									  false);
	MmReject	reject = {0};

	if (before != NULL && !convert(plan, before, &reject))
		elog(ERROR, "the document before is rejected: %s", reject.message);
	if (convert(plan, bson, &reject))
		return NULL;
	return psprintf("%s|%s|%s|%s|%s", reject.stage,
					unpack_sql_state(reject.sqlstate), reject.message,
					reject.detail ? reject.detail : "",
					reject.path ? reject.path : "");
}

/* The same in all layouts. */
static Datum
explain_all(FunctionCallInfo fcinfo, bytea *before, bytea *bson)
{
	char	   *result = explain(contracts[0], before, bson);

	for (int i = 1; i < lengthof(contracts); i++)
	{
		char	   *other = explain(contracts[i], before, bson);

		if ((result == NULL) != (other == NULL) ||
			(result != NULL && strcmp(result, other) != 0))
			elog(ERROR, "%s in one layout, %s in another",
				 result ? result : "stored", other ? other : "stored");
	}
	if (result == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(result));
}

Datum
mmtest_reject(PG_FUNCTION_ARGS)
{
	return explain_all(fcinfo, NULL, PG_GETARG_BYTEA_PP(0));
}

Datum
mmtest_reject_after(PG_FUNCTION_ARGS)
{
	return explain_all(fcinfo, PG_GETARG_BYTEA_PP(0), PG_GETARG_BYTEA_PP(1));
}

/* ---------------------------------------------------------------------
 * Texts
 * ---------------------------------------------------------------------
 */

/* Checking in words, with and without a copy, and byte by byte. */
static void
check_text(const char *text, uint32 len)
{
	MmTextFault expected = mm_text_check_slowly(text, len);
	char	   *copy = palloc(len + 1);

	copy[len] = 'E';
	if (mm_text_check(text, len) != expected ||
		mm_text_copy(copy, text, len) != expected)
		elog(ERROR, "text of %u bytes is judged in two ways", len);
	if ((expected == MM_TEXT_GOOD && memcmp(copy, text, len) != 0) ||
		copy[len] != 'E')
		elog(ERROR, "text of %u bytes is not copied", len);
	pfree(copy);
}

/* ASCII with any other byte in it, anywhere. */
Datum
mmtest_texts(PG_FUNCTION_ARGS)
{
	int32		longest = PG_GETARG_INT32(0);
	int64		texts = 0;

	for (int32 len = 0; len <= longest; len++)
		for (int32 at = 0; at < len; at++)
			for (int byte = 0; byte < 256; byte++, texts++)
			{
				char	   *text = palloc(len);

				memset(text, 1 + (at + byte) % 127, len);
				text[at] = byte;
				check_text(text, len);
				pfree(text);
			}
	PG_RETURN_INT64(texts);
}
