/*-------------------------------------------------------------------------
 *
 * merge.c
 *	  From what was seen of a field to one column type.
 *
 * The rules are "Mixed types" and "_id" of INTERFACE.md section 7.  A type
 * must hold exactly what was seen; what it holds less is diverted, value by
 * value, when documents are converted.  A class of values below 0.1 % does
 * not widen a column, save for _id, where each value must find a place.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "port/pg_bitutils.h"

#include "convert/merge.h"
#include "convert/value.h"

#define TEXT_C "text COLLATE \"C\""

#define BIT(class) ((uint32) 1 << (class))

#define NULLS (BIT(MM_BSON_NULL) | BIT(MM_BSON_UNDEFINED))
#define WHOLE (BIT(MM_BSON_INT32) | BIT(MM_BSON_INT64))
#define NUMBERS (WHOLE | BIT(MM_BSON_DOUBLE) | BIT(MM_BSON_DECIMAL))
#define BINARIES (BIT(MM_BSON_BINARY) | BIT(MM_CLASS_UUID))
#define BOUNDS (BIT(MM_CLASS_MIN_KEY) | BIT(MM_CLASS_MAX_KEY))
#define DATES (BIT(MM_BSON_DATE) | BOUNDS)
#define STRINGS (BIT(MM_BSON_STRING) | BIT(MM_BSON_SYMBOL))
/* no text form that a text column would take */
#define NO_TEXTS (BIT(MM_BSON_OBJECT) | BIT(MM_BSON_ARRAY) | BOUNDS | \
				  BIT(MM_BSON_CODE_WITH_SCOPE) | BIT(MM_BSON_DB_POINTER))

int
mm_merge_class(const MmValue *value, MmUuidForm uuid)
{
	if (value->type == MM_BSON_MIN_KEY)
		return MM_CLASS_MIN_KEY;
	if (value->type == MM_BSON_MAX_KEY)
		return MM_CLASS_MAX_KEY;
	return mm_value_is_uuid(value, uuid, NULL) ?
		MM_CLASS_UUID : value->type;
}

static const char *
class_name(int class)
{
	switch (class)
	{
		case MM_CLASS_MIN_KEY:
			return mm_walk_type_name(MM_BSON_MIN_KEY);
		case MM_CLASS_MAX_KEY:
			return mm_walk_type_name(MM_BSON_MAX_KEY);
		case MM_CLASS_UUID:
			return "binData(uuid)";
		default:
			return mm_walk_type_name(class);
	}
}

/* ---------------------------------------------------------------------
 * For people
 * ---------------------------------------------------------------------
 */

/* Adds a remark to the note. */
static void
add_note(MmInferField *result, char *note)
{
	if (result->note == NULL)
		result->note = note;
	else
		result->note = psprintf("%s; %s", result->note, note);
}

/* "int, bool" */
static char *
list_classes(uint32 classes)
{
	StringInfoData out;

	initStringInfo(&out);
	for (int i = 0; i < MM_CLASSES; i++)
		if (classes & BIT(i))
			appendStringInfo(&out, "%s%s", out.len > 0 ? ", " : "",
							 class_name(i));
	return out.data;
}

static void
append_class(StringInfo out, const MmSeen *seen, int class)
{
	uint32		elements = seen->elements & ~NULLS;

	appendStringInfoString(out, class_name(class));
	if (class == MM_BSON_ARRAY && pg_popcount32(elements) == 1)
		appendStringInfo(out, "<%s>",
						 class_name(pg_rightmost_one_pos32(elements)));
}

/* Neither 0.0 nor 100.0 for what is neither nothing nor all. */
static void
append_share(StringInfo out, int64 count, int64 total)
{
	double		percent = 100.0 * count / total;

	if (percent < 0.1)
		appendStringInfoString(out, " <0.1%");
	else
		appendStringInfo(out, " %.1f%%", Min(percent, 99.9));
}

/* The class with the highest count among these, the first of equals. */
static int
most_frequent(const MmSeen *seen, uint32 classes)
{
	int			best = -1;

	for (int i = 0; i < MM_CLASSES; i++)
		if ((classes & BIT(i)) &&
			(best < 0 || seen->counts[i] > seen->counts[best]))
			best = i;
	return best;
}

/* "decimal 97.2%, double 2.8%"; nulls only when there is nothing else. */
static char *
describe_types(const MmSeen *seen, uint32 classes, int64 total)
{
	bool		several = pg_popcount32(classes) > 1;
	StringInfoData out;

	if (classes == 0)
		return seen->documents > 0 ? "null" : "none seen";
	initStringInfo(&out);
	while (classes != 0)
	{
		int			class = most_frequent(seen, classes);

		if (out.len > 0)
			appendStringInfoString(&out, ", ");
		append_class(&out, seen, class);
		if (several)
			append_share(&out, seen->counts[class], total);
		classes &= ~BIT(class);
	}
	return out.data;
}

/* ---------------------------------------------------------------------
 * Types
 * ---------------------------------------------------------------------
 */

/* Classes that were seen, without nulls, and how many values they have. */
static uint32
seen_classes(const MmSeen *seen, int64 *total)
{
	uint32		classes = 0;

	*total = 0;
	for (int i = 0; i < MM_CLASSES; i++)
	{
		if (seen->counts[i] == 0 || (NULLS & BIT(i)))
			continue;
		classes |= BIT(i);
		*total += seen->counts[i];
	}
	return classes;
}

/* Those under 0.1 %, which never are all. */
static uint32
rare_classes(const MmSeen *seen, uint32 classes, int64 total)
{
	uint32		rare = 0;

	for (int i = 0; i < MM_CLASSES; i++)
		if ((classes & BIT(i)) && seen->counts[i] * 1000 < total)
			rare |= BIT(i);
	return rare;
}

/* A long and a double only meet without loss in a numeric. */
static char *
number_type(uint32 classes)
{
	if ((classes & ~WHOLE) == 0)
		return "bigint";
	if ((classes & BIT(MM_BSON_DECIMAL)) ||
		((classes & BIT(MM_BSON_INT64)) && (classes & BIT(MM_BSON_DOUBLE))))
		return "numeric";
	return "double precision";
}

/* The type of a field whose values are of one class. */
static char *
single_type(int class, const MmInferOptions *options)
{
	switch (class)
	{
		case MM_BSON_OBJECT_ID:
			return options->object_id_bytea ? "bytea" : TEXT_C;
		case MM_BSON_STRING:
		case MM_BSON_SYMBOL:
		case MM_BSON_CODE:
		case MM_BSON_REGEX:
			return "text";
		case MM_BSON_BOOL:
			return "boolean";
		case MM_BSON_TIMESTAMP:
			return "timestamptz";
		default:
			return "jsonb";
	}
}

/*
 * The type of arrays whose elements, nulls aside, are of one scalar type;
 * NULL when they are not.  The width of an integer is no type.
 */
static char *
array_type(uint32 elements, const MmInferOptions *options)
{
	elements &= ~NULLS;
	if (!options->native_arrays || elements == 0)
		return NULL;
	if ((elements & ~WHOLE) == 0)
		return "bigint[]";
	if (pg_popcount32(elements) != 1)
		return NULL;
	switch (pg_rightmost_one_pos32(elements))
	{
		case MM_BSON_STRING:
			return "text[]";
		case MM_BSON_OBJECT_ID:
			return options->object_id_bytea ? "bytea[]" :
				"text[] COLLATE \"C\"";
		case MM_BSON_DOUBLE:
			return "double precision[]";
		case MM_BSON_DECIMAL:
			return "numeric[]";
		case MM_BSON_BOOL:
			return "boolean[]";
		case MM_BSON_DATE:
			return "timestamptz[]";
		case MM_CLASS_UUID:
			return "uuid[]";
		case MM_BSON_BINARY:
			return "bytea[]";
		default:
			return NULL;
	}
}

/* Strings among other scalars stay text if they are 90 % at least. */
static bool
is_mostly_text(const MmSeen *seen, uint32 classes, int64 total)
{
	return (classes & NO_TEXTS) == 0 &&
		seen->counts[MM_BSON_STRING] * 10 >= total * 9;
}

static char *
merge_types(const MmSeen *seen, uint32 classes, int64 total,
			const MmInferOptions *options, MmInferField *result)
{
	char	   *array;

	if (classes == 0)
	{
		add_note(result, "only null seen");
		return "text";
	}
	if ((classes & ~NUMBERS) == 0)
	{
		if ((classes & ~WHOLE) != 0 && pg_popcount32(classes) > 1)
			add_note(result, "mixed numeric types, widened");
		return number_type(classes);
	}
	if ((classes & ~DATES) == 0 && (classes & BIT(MM_BSON_DATE)))
		return "timestamptz";
	if (classes == BIT(MM_CLASS_UUID))
		return "uuid";
	if ((classes & ~BINARIES) == 0)
		return "bytea";
	if (classes == BIT(MM_BSON_ARRAY) &&
		(array = array_type(seen->elements, options)) != NULL)
		return array;
	if (pg_popcount32(classes) == 1)
		return single_type(pg_rightmost_one_pos32(classes), options);
	if (is_mostly_text(seen, classes, total))
	{
		add_note(result, psprintf("%s values become text",
								  list_classes(classes &
											   ~BIT(MM_BSON_STRING))));
		return "text";
	}
	add_note(result, "mixed types, kept as jsonb");
	return "jsonb";
}

static void
note_elements(const MmSeen *seen, MmInferField *result)
{
	char	   *numbers;

	if (seen->counts[MM_BSON_ARRAY] == 0)
		return;
	if (seen->min_elements == seen->max_elements)
		numbers = psprintf("%u elements", seen->max_elements);
	else
		numbers = psprintf("%u-%u elements", seen->min_elements,
						   seen->max_elements);
	add_note(result, numbers);
}

/* So few that it might be an enum. */
static void
note_distinct(const MmSeen *seen, MmInferField *result)
{
	int64		strings = seen->counts[MM_BSON_STRING];

	if (seen->ndistinct > 0 && seen->ndistinct <= MM_DISTINCT &&
		strings >= 10 * seen->ndistinct)
		add_note(result, psprintf(seen->ndistinct == 1 ?
								  "%d distinct value" : "%d distinct values",
								  seen->ndistinct));
}

/* What a person should know before these become a column. */
static void
note_hazards(const MmSeen *seen, const MmInferOptions *options,
			 MmInferField *result)
{
	if (seen->counts[MM_BSON_TIMESTAMP] > 0 &&
		strcmp(result->field.type, "timestamptz") == 0)
		add_note(result, "the order of timestamps within a second is lost");
	if (seen->old_uuids && options->uuid == MM_UUID_NONE)
		add_note(result, "old UUIDs: name their uuid_representation");
	if (seen->counts[MM_BSON_BINARY] > 0 && seen->subtype == 6)
		add_note(result, "encrypted");
	if (seen->counts[MM_BSON_BINARY] > 0 && seen->subtype == 9)
		add_note(result, "vectors");
}

/* Nothing but embedded documents, nulls and rare others aside? */
bool
mm_merge_is_object(const MmSeen *seen)
{
	int64		total;
	uint32		classes = seen_classes(seen, &total);

	return (classes & ~rare_classes(seen, classes, total)) ==
		BIT(MM_BSON_OBJECT);
}

/* Type, types seen and note of a field other than _id. */
void
mm_merge_field(const MmSeen *seen, const MmInferOptions *options,
			   MmInferField *result)
{
	int64		total;
	uint32		classes = seen_classes(seen, &total);
	uint32		rare = rare_classes(seen, classes, total);

	result->field.bson_types = describe_types(seen, classes, total);
	result->field.type = merge_types(seen, classes & ~rare, total, options,
									 result);
	note_elements(seen, result);
	note_distinct(seen, result);
	note_hazards(seen, options, result);
	if (rare != 0)
		add_note(result, psprintf("does not widen for %s, under 0.1%%",
								  list_classes(rare)));
}

/* ---------------------------------------------------------------------
 * _id
 * ---------------------------------------------------------------------
 */

/* MongoDB compares values of these classes with one another. */
static uint32
bracket_of(int class)
{
	static const uint32 brackets[] = {NULLS, NUMBERS, STRINGS, BINARIES};

	for (int i = 0; i < lengthof(brackets); i++)
		if (brackets[i] & BIT(class))
			return brackets[i];
	return BIT(class);
}

/*
 * The type at an end of the index counts as seen.  Of a binary the type does
 * not say which class it is; the documents do.
 */
static uint32
add_end(uint32 classes, uint8 type)
{
	MmValue		value = {.type = type};
	uint32		class;

	if (type == 0)
		return classes;
	class = BIT(mm_merge_class(&value, MM_UUID_NONE));
	return class == BIT(MM_BSON_BINARY) && (classes & BINARIES) ?
		classes : classes | class;
}

/*
 * The type of a column whose keys are unique as they are in MongoDB, or NULL
 * if there is none.
 */
static char *
id_type(const MmSeen *seen, uint32 classes, const MmInferOptions *options)
{
	int			class;

	if (classes == 0)
		return NULL;
	class = pg_rightmost_one_pos32(classes);
	if ((classes & ~bracket_of(class)) != 0)
		return NULL;
	/* 0.1 and NumberDecimal("0.1") are two values there, and one here. */
	if ((classes & BIT(MM_BSON_DOUBLE)) && (classes & BIT(MM_BSON_DECIMAL)))
		return NULL;
	if (classes & NUMBERS)
		return (classes & ~WHOLE) ? "numeric" : "bigint";
	if (classes & STRINGS)
		return "text";
	switch (class)
	{
		case MM_BSON_OBJECT_ID:
		case MM_BSON_BOOL:
		case MM_BSON_OBJECT:
			return single_type(class, options);
		case MM_BSON_DATE:
			return "timestamptz";
		case MM_CLASS_UUID:
			return "uuid";
		case MM_BSON_BINARY:
			return (classes & BIT(MM_CLASS_UUID)) ||
				seen->several_subtypes ? NULL : "bytea";
		default:
			return NULL;
	}
}

/* The same for _id; first and last: BSON types, 0 when unknown. */
void
mm_merge_id(const MmSeen *seen, const MmInferOptions *options, uint8 first,
			uint8 last, MmInferField *result)
{
	int64		total;
	uint32		classes = seen_classes(seen, &total);
	char	   *type;

	result->field.bson_types = describe_types(seen, classes, total);
	if (seen->counts[MM_BSON_NULL] > 0)
		classes |= BIT(MM_BSON_NULL);
	classes = add_end(add_end(classes, first), last);
	type = id_type(seen, classes, options);
	if (type == NULL)
	{
		result->field.type = TEXT_C;
		result->field.format = MM_JSON_CANONICAL;
		if (classes != 0)
			add_note(result, "kept as canonical Extended JSON");
		return;
	}
	result->field.type = type;
	if (classes == BIT(MM_BSON_OBJECT))
		result->field.format = MM_JSON_CANONICAL;
}
