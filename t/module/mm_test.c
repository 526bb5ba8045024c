/*-------------------------------------------------------------------------
 *
 * mm_test.c
 *	  SQL functions that compare the writer of jsonb with the server's.
 *
 * See mm_test.sql for what they do.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <time.h>

#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "compat.h"
#include "convert/convert.h"
#include "convert/form.h"
#include "convert/jsonb.h"
#include "convert/names.h"
#include "mm_test.h"

PG_MODULE_MAGIC;

MM_FUNCTION(mmtest_jsonb);
MM_FUNCTION(mmtest_jsonb_oracle);
MM_FUNCTION(mmtest_jsonb_report);
MM_FUNCTION(mmtest_jsonb_equal);
MM_FUNCTION(mmtest_jsonb_largest);
MM_FUNCTION(mmtest_bench);

static const char *const form_names[] = {"simple", "relaxed", "canonical"};

/* ---------------------------------------------------------------------
 * One document
 * ---------------------------------------------------------------------
 */

MmJsonForm
parse_form(text *name)
{
	for (int i = 0; i < lengthof(form_names); i++)
		if (strcmp(text_to_cstring(name), form_names[i]) == 0)
			return i;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("form \"%s\" does not exist", text_to_cstring(name))));
}

static MmInvalidText
parse_invalid_text(text *name)
{
	MmInvalidText result;

	if (!mm_invalid_text_parse(text_to_cstring(name), &result))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid_text \"%s\" does not exist",
						text_to_cstring(name))));
	return result;
}

static MmValue
document_value(const uint8 *doc, uint32 len)
{
	MmWalk		walk;

	if (!mm_walk_validate(&walk, doc, len))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_BINARY_REPRESENTATION),
				 errmsg("invalid BSON document"),
				 errdetail("%s", walk.fault)));
	return (MmValue) {
		.type = MM_BSON_OBJECT, .key = "", .data = doc, .len = len
	};
}

MmValue
argument_value(bytea *bson)
{
	return document_value((uint8 *) VARDATA_ANY(bson),
						  VARSIZE_ANY_EXHDR(bson));
}

static Jsonb *
write_by_oracle(const MmValue *value, MmJsonForm form,
				MmInvalidText invalid_text, MmTextFailure *failure)
{
	Oracle	   *oracle = oracle_begin(invalid_text);

	if (oracle_value(oracle, value, form))
		return oracle_finish(oracle);
	*failure = *oracle_failure(oracle);
	return NULL;
}

Datum
mmtest_jsonb(PG_FUNCTION_ARGS)
{
	MmValue		value = argument_value(PG_GETARG_BYTEA_PP(0));
	MmTextFailure failure;

	PG_RETURN_JSONB_P(mm_jsonb_from_value(mm_jsonb_create(NULL), &value,
										  parse_form(PG_GETARG_TEXT_PP(1)),
										  MM_INVALID_TEXT_REPLACE, &failure));
}

Datum
mmtest_jsonb_oracle(PG_FUNCTION_ARGS)
{
	MmValue		value = argument_value(PG_GETARG_BYTEA_PP(0));
	MmTextFailure failure;

	PG_RETURN_JSONB_P(write_by_oracle(&value,
									  parse_form(PG_GETARG_TEXT_PP(1)),
									  MM_INVALID_TEXT_REPLACE, &failure));
}

static HeapTuple
form_result(FunctionCallInfo fcinfo, Datum *values, bool *isnull)
{
	TupleDesc	desc;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	return heap_form_tuple(BlessTupleDesc(desc), values, isnull);
}

Datum
mmtest_jsonb_report(PG_FUNCTION_ARGS)
{
	static const char *const faults[] = {"good", "nul", "invalid"};
	MmJsonbBuilder *builder = mm_jsonb_create(NULL);
	MmValue		value = argument_value(PG_GETARG_BYTEA_PP(0));
	MmTextFailure failure = {0};
	Jsonb	   *jsonb;
	Datum		values[6];
	bool		isnull[6] = {0};

	jsonb = mm_jsonb_from_value(builder, &value,
								parse_form(PG_GETARG_TEXT_PP(1)),
								parse_invalid_text(PG_GETARG_TEXT_PP(2)),
								&failure);
	values[0] = JsonbPGetDatum(jsonb);
	values[1] = Int64GetDatum(mm_jsonb_changes(builder).duplicates);
	values[2] = Int64GetDatum(mm_jsonb_changes(builder).altered);
	isnull[0] = jsonb == NULL;
	isnull[3] = isnull[4] = isnull[5] = jsonb != NULL;
	if (jsonb == NULL)
	{
		values[3] = CStringGetTextDatum(faults[failure.fault]);
		values[4] = CStringGetTextDatum(mm_walk_type_name(failure.bson_type));
		values[5] = CStringGetTextDatum(failure.path);
	}
	PG_RETURN_DATUM(HeapTupleGetDatum(form_result(fcinfo, values, isnull)));
}

/* ---------------------------------------------------------------------
 * Many documents
 * ---------------------------------------------------------------------
 */

static bool
is_same_path(const char *a, const char *b)
{
	return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

/* What both writers made of the same. */
static void
compare(Jsonb *direct, const MmTextFailure *direct_failure,
		Jsonb *oracle, const MmTextFailure *oracle_failure, const char *what)
{
	if ((direct == NULL) != (oracle == NULL))
		elog(ERROR, "%s: only one of both refused", what);
	if (direct != NULL)
	{
		if (VARSIZE(direct) != VARSIZE(oracle) ||
			memcmp(direct, oracle, VARSIZE(oracle)) != 0)
			elog(ERROR, "%s: %.200s is not %.200s", what,
				 JsonbToCString(NULL, &direct->root, VARSIZE(direct)),
				 JsonbToCString(NULL, &oracle->root, VARSIZE(oracle)));
	}
	else if (direct_failure->fault != oracle_failure->fault ||
			 direct_failure->bson_type != oracle_failure->bson_type ||
			 !is_same_path(direct_failure->path, oracle_failure->path))
		elog(ERROR, "%s: the first refusal is not at %s", what,
			 oracle_failure->path ? oracle_failure->path : "the root");
}

static void
compare_value(MmJsonbBuilder *builder, const MmValue *value, MmJsonForm form,
			  MmInvalidText invalid_text)
{
	MmTextFailure direct_failure = {0};
	MmTextFailure oracle_failure = {0};
	Jsonb	   *direct = mm_jsonb_from_value(builder, value, form,
											 invalid_text, &direct_failure);
	Jsonb	   *oracle = write_by_oracle(value, form, invalid_text,
										 &oracle_failure);

	compare(direct, &direct_failure, oracle, &oracle_failure,
			psprintf("%s, %s form, %s", mm_walk_type_name(value->type),
					 form_names[form], mm_invalid_text_name(invalid_text)));
}

static void
compare_numeric(double v)
{
	char		buffer[MM_FORM_DOUBLE];
	Numeric		direct = mm_form_double_numeric(v);
	Numeric		read = mm_form_text_numeric(mm_form_double(v, buffer));

	if (VARSIZE(direct) != VARSIZE(read) ||
		memcmp(direct, read, VARSIZE(read)) != 0)
		elog(ERROR, "%s has another numeric", buffer);
}

/* Each element as a jsonb of its own: raw scalars. */
static void
compare_elements(MmJsonbBuilder *builder, const MmValue *document,
				 Random *random)
{
	MmWalk		walk;
	MmValue		value;

	(void) mm_walk_begin(&walk, document->data, document->len);
	while (!mm_walk_at_end(&walk) && mm_walk_next(&walk, &value))
	{
		compare_value(builder, &value, random_below(random, 3),
					  random_below(random, 3));
		if (value.type == MM_BSON_DOUBLE)
			compare_numeric(mm_walk_double(value.data));
	}
}

/*
 * An object that is put together by both writers.  The oracle stops at the
 * first refusal, and has only the path from there.
 */
#define PARTS_DEPTH 10

typedef struct Parts
{
	MmJsonbBuilder *builder;
	Oracle	   *oracle;
	int			depth;			/* open objects */
	char	   *names[PARTS_DEPTH];	/* the keys in them, quoted */
	char	   *refused;		/* path of what the oracle refused, or NULL */
} Parts;

static void
begin_object(Parts *parts)
{
	mm_jsonb_begin_object(parts->builder);
	if (parts->refused == NULL)
		oracle_begin_object(parts->oracle);
	parts->depth++;
}

static void
end_object(Parts *parts)
{
	mm_jsonb_end_object(parts->builder);
	if (parts->refused == NULL)
		oracle_end_object(parts->oracle);
	parts->depth--;
}

static void
refuse(Parts *parts, const char *rest)
{
	StringInfoData path;

	initStringInfo(&path);
	for (int i = 0; i < parts->depth; i++)
		appendStringInfo(&path, "%s%s", i == 0 ? "" : ".", parts->names[i]);
	if (rest != NULL)
		appendStringInfo(&path, "%s%s", rest[0] == '[' ? "" : ".", rest);
	parts->refused = path.data;
}

static void
add_key(Parts *parts, const MmValue *value)
{
	mm_jsonb_key(parts->builder, value->key, value->key_len);
	parts->names[parts->depth - 1] =
		mm_names_quote(mm_text_clean(value->key, value->key_len));
	if (parts->refused == NULL &&
		!oracle_key(parts->oracle, value->key, value->key_len))
		refuse(parts, NULL);
}

static void
add_value(Parts *parts, const MmValue *value, MmJsonForm form)
{
	mm_jsonb_value(parts->builder, value, form);
	if (parts->refused == NULL &&
		!oracle_value(parts->oracle, value, form))
		refuse(parts, oracle_failure(parts->oracle)->path);
}

static void
finish_parts(Parts *parts)
{
	MmTextFailure failure;
	Jsonb	   *direct;

	while (parts->depth > 0)
		end_object(parts);
	direct = mm_jsonb_finish(parts->builder, &failure);
	if (parts->refused == NULL)
		compare(direct, NULL, oracle_finish(parts->oracle), NULL, "parts");
	else if (direct != NULL ||
			 failure.fault != oracle_failure(parts->oracle)->fault ||
			 strcmp(failure.path, parts->refused) != 0)
		elog(ERROR, "parts: the first refusal is not at %s", parts->refused);
}

/* The elements of the document, some of them in new objects. */
static void
compare_parts(MmJsonbBuilder *builder, const MmValue *document,
			  Random *random)
{
	MmInvalidText invalid_text = random_below(random, 3);
	Parts		parts = {builder, oracle_begin(invalid_text)};
	MmWalk		walk;
	MmValue		value;

	mm_jsonb_begin(builder, invalid_text);
	begin_object(&parts);
	(void) mm_walk_begin(&walk, document->data, document->len);
	while (!mm_walk_at_end(&walk) && mm_walk_next(&walk, &value))
	{
		while (parts.depth > 1 && random_below(random, 3) == 0)
			end_object(&parts);
		add_key(&parts, &value);
		while (parts.depth < PARTS_DEPTH && random_below(random, 3) == 0)
		{
			begin_object(&parts);
			add_key(&parts, &value);
		}
		add_value(&parts, &value, random_below(random, 3));
	}
	finish_parts(&parts);
}

static void
compare_document(MmJsonbBuilder *builder, const StringInfo bson,
				 Random *random)
{
	MmValue		value = document_value((uint8 *) bson->data, bson->len);

	for (MmJsonForm form = 0; form <= MM_JSON_CANONICAL; form++)
		for (MmInvalidText how = 0; how <= MM_INVALID_TEXT_REPLACE; how++)
			compare_value(builder, &value, form,
						  random->dirty ? how : MM_INVALID_TEXT_REJECT);
	compare_elements(builder, &value, random);
	compare_parts(builder, &value, random);
}

typedef struct Place
{
	int64		seed;
	int64		number;
} Place;

static void
add_place(void *arg)
{
	Place	   *place = arg;

	errcontext("seed " INT64_FORMAT ", document " INT64_FORMAT, place->seed,
			   place->number);
}

Datum
mmtest_jsonb_equal(PG_FUNCTION_ARGS)
{
	Place		place = {PG_GETARG_INT64(0)};
	int32		documents = PG_GETARG_INT32(1);
	ErrorContextCallback context = {error_context_stack, add_place, &place};
	MmJsonbBuilder *builder = mm_jsonb_create(NULL);
	MemoryContext doc_context = AllocSetContextCreate(CurrentMemoryContext,
													  "test document",
													  ALLOCSET_DEFAULT_SIZES);
	StringInfoData bson;

	error_context_stack = &context;
	initStringInfo(&bson);
	for (; place.number < documents; place.number++)
	{
		Random		random;
		MemoryContext old;

		CHECK_FOR_INTERRUPTS();
		random_begin(&random, place.seed, place.number);
		random_document(&random, &bson);
		old = MemoryContextSwitchTo(doc_context);
		compare_document(builder, &bson, &random);
		MemoryContextSwitchTo(old);
		MemoryContextReset(doc_context);
	}
	error_context_stack = context.previous;
	PG_RETURN_INT64(place.number);
}

/* ---------------------------------------------------------------------
 * Size
 * ---------------------------------------------------------------------
 */

/* As many regular expressions without a letter as fit, keys of a letter. */
static void
put_largest(StringInfo bson)
{
	uint32		elements = 0;

	put_uint32(bson, 0);
	while (elements + 128 <= MM_WALK_MAX_ELEMENTS)
	{
		appendBinaryStringInfo(bson, "\x04" "\0", 2);
		put_uint32(bson, 5 + 127 * 5);
		bson->data[bson->len - 6] = MM_BSON_OBJECT;
		for (int key = 1; key < 128; key++)
		{
			char		element[5] = {MM_BSON_REGEX, key};

			appendBinaryStringInfo(bson, element, sizeof(element));
		}
		appendBinaryStringInfo(bson, "", 1);
		elements += 128;
	}
}

/* The rest of the space for a string that grows to three times its size. */
static void
put_rest(StringInfo bson)
{
	uint32		len = MM_WALK_MAX_LEN - bson->len - (1 + 1 + 4 + 1 + 1);

	appendBinaryStringInfo(bson, "\x02" "\0", 2);
	put_uint32(bson, len + 1);
	enlargeStringInfo(bson, len + 2);
	memset(bson->data + bson->len, 0xff, len);
	memset(bson->data + bson->len + len, 0, 2);
	bson->len = MM_WALK_MAX_LEN;
	set_uint32(bson, 0, bson->len);
}

Datum
mmtest_jsonb_largest(PG_FUNCTION_ARGS)
{
	StringInfoData bson;
	MmTextFailure failure;
	MmValue		value;
	Jsonb	   *jsonb;

	initStringInfo(&bson);
	put_largest(&bson);
	put_rest(&bson);
	value = document_value((uint8 *) bson.data, bson.len);
	value.type = MM_BSON_ARRAY;
	jsonb = mm_jsonb_from_value(mm_jsonb_create(NULL), &value, MM_JSON_RELAXED,
								MM_INVALID_TEXT_REPLACE, &failure);
	PG_RETURN_INT64(VARSIZE(jsonb));
}

/* ---------------------------------------------------------------------
 * Time
 * ---------------------------------------------------------------------
 */

static double
nanoseconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1e9 + now.tv_nsec;
}

static double
measure(MmJsonbBuilder *builder, const MmValue *value, int loops)
{
	MemoryContext doc_context = AllocSetContextCreate(CurrentMemoryContext,
													  "bench document",
													  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(doc_context);
	double		start = nanoseconds();
	MmTextFailure failure;

	for (int i = 0; i < loops; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (builder != NULL)
			(void) mm_jsonb_from_value(builder, value, MM_JSON_SIMPLE,
									   MM_INVALID_TEXT_REJECT, &failure);
		else
			(void) write_by_oracle(value, MM_JSON_SIMPLE,
								   MM_INVALID_TEXT_REJECT, &failure);
		MemoryContextReset(doc_context);
	}
	MemoryContextSwitchTo(old);
	return (nanoseconds() - start) / loops;
}

Datum
mmtest_bench(PG_FUNCTION_ARGS)
{
	MmValue		value = argument_value(PG_GETARG_BYTEA_PP(0));
	int32		loops = PG_GETARG_INT32(1);
	Datum		values[2];
	bool		isnull[2] = {0};

	values[0] = Float8GetDatum(measure(mm_jsonb_create(NULL), &value, loops));
	values[1] = Float8GetDatum(measure(NULL, &value, loops));
	PG_RETURN_DATUM(HeapTupleGetDatum(form_result(fcinfo, values, isnull)));
}
