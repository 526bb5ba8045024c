/*-------------------------------------------------------------------------
 *
 * fuzz.c
 *	  Damaged documents, and everything that reads BSON run on them.
 *
 * A document is made at random (random.c) and then damaged, mostly in a few
 * places.  Its bytes lie in a block of exactly their size, so that
 * AddressSanitizer reports each byte that is read beyond them.  None of the
 * functions may crash or raise, and what mm_walk_validate() accepts must be
 * converted.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <time.h>

#include "funcapi.h"
#include "miscadmin.h"
#include "utils/memutils.h"

#include "compat.h"
#include "convert/convert.h"
#include "convert/jsonb.h"
#include "mm_test.h"

#define DOCUMENTS_PER_INFER 500
#define LEN_MAX (256 * 1024)

MM_FUNCTION(mmtest_fuzz);

typedef struct Fuzz
{
	int64		seed;
	int64		documents;
	int64		valid;
	int64		stored;
	Random		random;
	StringInfoData bson;
	StringInfoData last;		/* the document before, for splices */
	MmJsonbBuilder *builder;
	MemoryContext doc_context;
	MemoryContext infer_context;
	MmInfer    *infer;
} Fuzz;

/* ---------------------------------------------------------------------
 * Damage
 * ---------------------------------------------------------------------
 */

static void
flip_bit(Random *r, StringInfo bson)
{
	bson->data[random_below(r, bson->len)] ^= 1 << random_below(r, 8);
}

static void
set_byte(Random *r, StringInfo bson)
{
	static const uint8 bytes[] = {
		0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19,
		20, 0x7f, 0x80, 0xff
	};

	bson->data[random_below(r, bson->len)] =
		bytes[random_below(r, lengthof(bytes))];
}

/* Anywhere: many of the places are length words. */
static void
change_length(Random *r, StringInfo bson)
{
	static const uint32 words[] = {
		0, 1, 4, 5, 0x7fffffff, 0x80000000, 0xfffffffb, 0xffffffff
	};
	uint32		at;
	uint32		v;

	if (bson->len < 4)
		return;
	at = random_below(r, 4) == 0 ? 0 : random_below(r, bson->len - 3);
	v = mm_walk_uint32((uint8 *) bson->data + at);
	if (random_below(r, 2) == 0)
		v = words[random_below(r, lengthof(words))];
	else
		v += random_below(r, 17) - 8;
	set_uint32(bson, at, v);
}

static void
cut(Random *r, StringInfo bson)
{
	bson->len = random_below(r, bson->len);
}

/* A range of this document or of the one before, over others or in between. */
static void
splice_in(Random *r, StringInfo bson, const StringInfo last)
{
	const StringInfo source = last->len > 0 && random_below(r, 2) == 0 ?
		last : bson;
	uint32		from = random_below(r, source->len);
	uint32		n = 1 + random_below(r, Min(source->len - from, 64));
	uint32		at = random_below(r, bson->len);
	char		piece[64];

	memcpy(piece, source->data + from, n);
	enlargeStringInfo(bson, n);
	if (random_below(r, 2) == 0)
	{
		memmove(bson->data + at + n, bson->data + at, bson->len - at);
		bson->len += n;
	}
	else
		bson->len = Max(bson->len, at + n);
	memcpy(bson->data + at, piece, n);
}

static void
damage_once(Fuzz *fuzz)
{
	Random	   *r = &fuzz->random;

	if (fuzz->bson.len == 0)
		return;
	switch (random_below(r, 8))
	{
		case 0:
		case 1:
			flip_bit(r, &fuzz->bson);
			break;
		case 2:
		case 3:
			set_byte(r, &fuzz->bson);
			break;
		case 4:
		case 5:
			change_length(r, &fuzz->bson);
			break;
		case 6:
			splice_in(r, &fuzz->bson, &fuzz->last);
			break;
		default:
			if (random_below(r, 4) == 0)
				cut(r, &fuzz->bson);
			break;
	}
}

/* Half of the documents have a right length and end, so as to be read on. */
static void
damage(Fuzz *fuzz)
{
	StringInfo	bson = &fuzz->bson;
	uint32		times = random_below(&fuzz->random, 6);

	for (uint32 i = 0; i < times; i++)
		damage_once(fuzz);
	if (times > 0 && bson->len >= 5 && random_below(&fuzz->random, 2) == 0)
	{
		set_uint32(bson, 0, bson->len);
		bson->data[bson->len - 1] = '\0';
	}
}

/* ---------------------------------------------------------------------
 * Checks
 * ---------------------------------------------------------------------
 */

/* All forms; only text may be refused, and only when that is wanted. */
static void
run_jsonb(Fuzz *fuzz, const uint8 *doc, uint32 len)
{
	MmValue		value = {
		.type = MM_BSON_OBJECT, .key = "", .data = doc, .len = len
	};

	for (MmJsonForm form = 0; form <= MM_JSON_CANONICAL; form++)
	{
		MmInvalidText invalid_text = (fuzz->documents + form) % 3;
		MmTextFailure failure;

		if (mm_jsonb_from_value(fuzz->builder, &value, form, invalid_text,
								&failure) == NULL &&
			(invalid_text != MM_INVALID_TEXT_REJECT ||
			 failure.fault == MM_TEXT_GOOD || failure.path == NULL))
			elog(ERROR, "a valid document has no jsonb");
	}
}

/* Validating on the way is of the same opinion, and reads all elements. */
static void
run_unread(Fuzz *fuzz, const uint8 *doc, uint32 len, bool valid)
{
	MmValue		value = {
		.type = MM_BSON_OBJECT, .key = "", .data = doc, .len = len
	};
	MmInside	inside = {0};
	MmTextFailure failure;
	MmWalk		walk;
	uint32		elements = 0;

	(void) mm_jsonb_from_unread(fuzz->builder, &value,
								fuzz->documents % (MM_JSON_CANONICAL + 1),
								fuzz->documents / 3 % 3, &inside, &failure);
	if (inside.faulty == valid)
		elog(ERROR, "jsonb is of another opinion than the walk");
	if (valid && (!mm_walk_validate_value(&walk, &value, 1, &elements) ||
				  elements != inside.elements || inside.depth != 0))
		elog(ERROR, "jsonb has read %u elements of %u", inside.elements,
			 elements);
}

static void
run_infer(Fuzz *fuzz, const uint8 *doc, uint32 len, bool valid)
{
	int			round = fuzz->documents / DOCUMENTS_PER_INFER;
	MmInferOptions options = {
		.naming = round % 3,
		.flatten_depth = 1 + round % 4,
		.native_arrays = round % 2 == 0,
		.object_id_bytea = round % 5 == 0,
		.uuid = round % 5,
		.document = round % 7 == 0,
	};

	if (fuzz->documents % DOCUMENTS_PER_INFER == 0)
	{
		MemoryContext old = MemoryContextSwitchTo(fuzz->infer_context);

		if (fuzz->infer != NULL)
			(void) mm_infer_finish(fuzz->infer, 0, 0);
		MemoryContextReset(fuzz->infer_context);
		fuzz->infer = mm_infer_begin(&options);
		MemoryContextSwitchTo(old);
	}
	if (mm_infer_document(fuzz->infer, doc, len) != valid)
		elog(ERROR, "inference is of another opinion than the walk");
}

static void
run(Fuzz *fuzz, const uint8 *doc, uint32 len)
{
	char		display[64];
	MmWalk		walk;
	bool		valid = mm_walk_validate(&walk, doc, len);

	if (!valid && (walk.fault == NULL || walk.fault[0] == '\0'))
		elog(ERROR, "the walk does not say what is wrong");
	if ((mm_json_document(doc, len) != NULL) != valid)
		elog(ERROR, "text is of another opinion than the walk");
	(void) mm_json_source_id(doc, len);
	(void) mm_json_id_for_message(doc, len);
	mm_json_id_for_display(doc, len, display, sizeof(display));
	if (valid)
		run_jsonb(fuzz, doc, len);
	run_unread(fuzz, doc, len, valid);
	run_infer(fuzz, doc, len, valid);
	fuzz->valid += valid;
	if (fuzz_convert(doc, len))
	{
		if (!valid)
			elog(ERROR, "a document was stored that is not valid");
		fuzz->stored++;
	}
}

/* ---------------------------------------------------------------------
 * Loop
 * ---------------------------------------------------------------------
 */

static void
run_one(Fuzz *fuzz)
{
	MemoryContext old;
	uint8	   *block;

	random_begin(&fuzz->random, fuzz->seed, fuzz->documents);
	do
		random_document(&fuzz->random, &fuzz->bson);
	while (fuzz->bson.len > LEN_MAX);
	damage(fuzz);
	block = malloc(fuzz->bson.len);
	if (block == NULL && fuzz->bson.len > 0)
		ereport(ERROR,
				(errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory")));
	memcpy(block, fuzz->bson.data, fuzz->bson.len);
	old = MemoryContextSwitchTo(fuzz->doc_context);
	run(fuzz, block, fuzz->bson.len);
	MemoryContextSwitchTo(old);
	MemoryContextReset(fuzz->doc_context);
	free(block);
	resetStringInfo(&fuzz->last);
	appendBinaryStringInfo(&fuzz->last, fuzz->bson.data, fuzz->bson.len);
}

static void
add_place(void *arg)
{
	Fuzz	   *fuzz = arg;

	errcontext("seed " INT64_FORMAT ", document " INT64_FORMAT, fuzz->seed,
			   fuzz->documents);
}

static Fuzz *
begin_fuzz(int64 seed)
{
	Fuzz	   *fuzz = palloc0(sizeof(Fuzz));

	fuzz->seed = seed;
	initStringInfo(&fuzz->bson);
	initStringInfo(&fuzz->last);
	fuzz->builder = mm_jsonb_create(NULL);
	fuzz->doc_context = AllocSetContextCreate(CurrentMemoryContext,
											  "fuzz document",
											  ALLOCSET_DEFAULT_SIZES);
	fuzz->infer_context = AllocSetContextCreate(CurrentMemoryContext,
												"fuzz inference",
												ALLOCSET_DEFAULT_SIZES);
	return fuzz;
}

/* Stops at the number of documents or after the time, whichever is first. */
Datum
mmtest_fuzz(PG_FUNCTION_ARGS)
{
	Fuzz	   *fuzz = begin_fuzz(PG_GETARG_INT64(0));
	int32		documents = PG_GETARG_INT32(1);
	time_t		stop = time(NULL) + PG_GETARG_INT32(2);
	ErrorContextCallback context = {error_context_stack, add_place, fuzz};
	Datum		values[3];
	bool		isnull[3] = {0};
	TupleDesc	desc;

	error_context_stack = &context;
	for (; fuzz->documents < documents && time(NULL) < stop; fuzz->documents++)
	{
		CHECK_FOR_INTERRUPTS();
		run_one(fuzz);
	}
	error_context_stack = context.previous;
	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	values[0] = Int64GetDatum(fuzz->documents);
	values[1] = Int64GetDatum(fuzz->valid);
	values[2] = Int64GetDatum(fuzz->stored);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc),
													  values, isnull)));
}
