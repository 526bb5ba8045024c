/*-------------------------------------------------------------------------
 *
 * options.c
 *	  The options argument: its keys, their types, their defaults.
 *
 * A key that does not exist is an error with the closest one as hint; a key
 * of the interface that this version does not know to obey is an error too,
 * never ignored.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/numeric.h"

#include "api/api.h"
#include "settings.h"
#include "source/closest.h"

#define SMALLEST_CHUNK_KB 64

static void invalid_value(const char *key, const char *value,
						  const char *hint) pg_attribute_noreturn();

static void
invalid_value(const char *key, const char *value, const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("invalid value for option \"%s\": \"%s\"", key, value),
			 errhint("%s", hint)));
}

static int64
parse_integer(const char *key, const char *value, int64 min, int64 max)
{
	char	   *end;
	int64		number;

	errno = 0;
	number = strtoll(value, &end, 10);
	if (errno != 0 || end == value || *end != '\0' || number < min ||
		number > max)
		invalid_value(key, value,
					  psprintf("It must be an integer from %lld to %lld.",
							   (long long) min, (long long) max));
	return number;
}

static bool
parse_boolean(const char *key, const char *value)
{
	bool		result;

	if (!parse_bool(value, &result))
		invalid_value(key, value, "It must be true or false.");
	return result;
}

static int64
parse_chunk_size(const char *value)
{
	const char *hint = NULL;
	int			kilobytes;

	if (!parse_int(value, &kilobytes, GUC_UNIT_KB, &hint) ||
		kilobytes < SMALLEST_CHUNK_KB)
		invalid_value("chunk_size", value, hint ? hint :
					  "It must be a size of at least 64kB, such as \"64MB\".");
	return (int64) kilobytes * 1024;
}

static void
parse_split(MmOptions *options, const char *value)
{
	if (!mm_split_method_parse(value, &options->split))
		invalid_value("split", value,
					  "Available values: auto, record, id, none.");
}

static void
parse_naming(MmOptions *options, const char *value)
{
	if (!mm_naming_parse(value, &options->naming))
		invalid_value("naming", value,
					  "Available values: snake_case, lower, preserve.");
}

static int
parse_invalid_text(const char *value)
{
	MmInvalidText result;

	if (!mm_invalid_text_parse(value, &result))
		invalid_value("invalid_text", value,
					  "Available values: reject, strip, replace.");
	return result;
}

static int
parse_json_format(const char *value)
{
	MmJsonForm	result;

	if (!mm_json_form_parse(value, &result))
		invalid_value("json_format", value,
					  "Available values: simple, relaxed, canonical.");
	return result;
}

static int
parse_uuid_representation(const char *value)
{
	MmUuidForm	result;

	if (!mm_uuid_form_parse(value, &result))
		invalid_value("uuid_representation", value,
					  "Available values: standard, java_legacy, csharp_legacy, python_legacy, none.");
	return result;
}

static int
parse_extra(const char *value)
{
	MmExtraPolicy result;

	if (!mm_extra_parse(value, &result))
		invalid_value("extra", value,
					  "Available values: column, ignore, reject, add_column.");
	return result;
}

/* One of two words; true for the second. */
static bool
parse_choice(const char *key, const char *value, const char *first,
			 const char *second)
{
	if (strcmp(value, first) != 0 && strcmp(value, second) != 0)
		invalid_value(key, value,
					  psprintf("Available values: %s, %s.", first, second));
	return strcmp(value, second) == 0;
}

static bool
parse_arrays(const char *value)
{
	if (strcmp(value, "child") == 0)
		mm_refuse("arrays \"child\"");
	return !parse_choice("arrays", value, "auto", "jsonb");
}

static void
parse_sink(const char *value)
{
	if (strcmp(value, "auto") == 0 || strcmp(value, "heap") == 0)
		return;
	if (strcmp(value, "sql") == 0)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("the sql sink is not supported by this version")));
	invalid_value("sink", value, "Available values: auto, heap.");
}

static void
parse_verify(MmOptions *options, const char *value)
{
	options->verify = strcmp(value, "none") != 0;
	if (!options->verify || strcmp(value, "count") == 0)
		return;
	if (strcmp(value, "sample") == 0 || strcmp(value, "full") == 0)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("verification by \"%s\" is not supported by this version",
						value)));
	invalid_value("verify", value, "Available values: none, count.");
}

/* Keys of the interface that come with later versions. */
static const char *const later_keys[] = {
	"create_table", "indexes", "with", "before", "after", "notify"
};

static const char *const known_keys[] = {
	"label", "database", "layout", "sample_size", "naming", "flatten_depth",
	"arrays", "extra", "json_format", "id_type", "uuid_representation",
	"reject_limit", "max_docs_per_second",
	"invalid_text", "chunk_size", "split", "sink", "max_attempts", "priority",
	"analyze", "tablespace", "verify"
};

/* Message 26. */
static void
unknown_key(const char *key)
{
	MmClosest	closest;
	const char *meant;

	if (mm_is_one_of(key, later_keys, lengthof(later_keys)))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("option \"%s\" is not supported by this version",
						key)));
	mm_closest_init(&closest, key);
	for (int i = 0; i < lengthof(known_keys); i++)
		mm_closest_try(&closest, known_keys[i]);
	meant = mm_closest_get(&closest);
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("unrecognized option \"%s\"", key),
			 meant ? errhint("Perhaps you meant \"%s\".", meant) : 0));
}

/* Keys that say how documents become rows; false: it is none of them. */
static bool
set_convert_option(MmOptions *options, const char *key, const char *value)
{
	if (strcmp(key, "invalid_text") == 0)
		options->invalid_text = parse_invalid_text(value);
	else if (strcmp(key, "json_format") == 0)
		options->json_form = parse_json_format(value);
	else if (strcmp(key, "uuid_representation") == 0)
		options->uuid = parse_uuid_representation(value);
	else if (strcmp(key, "extra") == 0)
		options->extra = parse_extra(value);
	else if (strcmp(key, "layout") == 0)
		options->document = parse_choice(key, value, "table", "document");
	else if (strcmp(key, "id_type") == 0)
		options->object_id_bytea = parse_choice(key, value, "text", "bytea");
	else if (strcmp(key, "arrays") == 0)
		options->native_arrays = parse_arrays(value);
	else if (strcmp(key, "flatten_depth") == 0)
		options->flatten_depth = parse_integer(key, value, 1, 100);
	else
		return false;
	return true;
}

/* Those that say how a mapping is inferred, and nothing else. */
static const char *const inference_keys[] = {
	"layout", "sample_size", "flatten_depth", "arrays", "id_type"
};

/* value: text of a scalar, NULL for null. */
static void
set_option(MmOptions *options, const char *key, char *value)
{
	if (value == NULL && strcmp(key, "reject_limit") == 0)
		options->reject_limit = -1;
	else if (value == NULL)
		invalid_value(key, "null", "Leave the key out for its default.");
	else if (strcmp(key, "label") == 0)
		options->label = value;
	else if (strcmp(key, "database") == 0)
		options->database = value;
	else if (strcmp(key, "tablespace") == 0)
		options->tablespace = value;
	else if (strcmp(key, "sample_size") == 0)
		options->sample_size = parse_integer(key, value, 0, PG_INT32_MAX);
	else if (strcmp(key, "reject_limit") == 0)
		options->reject_limit = parse_integer(key, value, 0, PG_INT64_MAX);
	else if (strcmp(key, "max_docs_per_second") == 0)
		options->max_docs_per_second = parse_integer(key, value, 1,
													 PG_INT32_MAX);
	else if (strcmp(key, "max_attempts") == 0)
		options->max_attempts = parse_integer(key, value, 1, 1000);
	else if (strcmp(key, "priority") == 0)
		options->priority = parse_integer(key, value, PG_INT32_MIN,
										  PG_INT32_MAX);
	else if (strcmp(key, "analyze") == 0)
		options->analyze = parse_boolean(key, value);
	else if (strcmp(key, "chunk_size") == 0)
		options->chunk_bytes = parse_chunk_size(value);
	else if (strcmp(key, "split") == 0)
		parse_split(options, value);
	else if (strcmp(key, "naming") == 0)
		parse_naming(options, value);
	else if (strcmp(key, "sink") == 0)
		parse_sink(value);
	else if (strcmp(key, "verify") == 0)
		parse_verify(options, value);
	else if (!set_convert_option(options, key, value))
		unknown_key(key);
}

static char *
scalar_text(const char *key, const JsonbValue *value)
{
	switch (value->type)
	{
		case jbvNull:
			return NULL;
		case jbvString:
			return pnstrdup(value->val.string.val, value->val.string.len);
		case jbvBool:
			return pstrdup(value->val.boolean ? "true" : "false");
		case jbvNumeric:
			return DatumGetCString(DirectFunctionCall1(numeric_out,
													   NumericGetDatum(value->val.numeric)));
		default:
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("invalid value for option \"%s\"", key),
					 errdetail("It is an array or an object.")));
	}
}

MmOptions
mm_options_parse(Jsonb *jsonb)
{
	MmOptions	options = {
		.sample_size = mm_sample_size,
		.naming = mm_naming,
		.invalid_text = MM_INHERIT,
		.json_form = MM_INHERIT,
		.uuid = MM_INHERIT,
		.extra = MM_INHERIT,
		.flatten_depth = 2,
		.native_arrays = true,
		.reject_limit = mm_reject_limit,
		.chunk_bytes = (int64) mm_chunk_size * 1024,
		.split = MM_SPLIT_AUTO,
		.max_attempts = 3,
		.analyze = true,
		.verify = true,
	};
	JsonbIterator *it;
	JsonbValue	value;
	JsonbIteratorToken token;
	char	   *key = NULL;

	if (!JB_ROOT_IS_OBJECT(jsonb))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("options must be a JSON object"),
				 errhint("Write options => '{\"label\": \"nightly\"}'.")));
	it = JsonbIteratorInit(&jsonb->root);
	while ((token = JsonbIteratorNext(&it, &value, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
			key = pnstrdup(value.val.string.val, value.val.string.len);
		else if (token == WJB_VALUE)
		{
			set_option(&options, key, scalar_text(key, &value));
			if (mm_is_one_of(key, inference_keys,
							 lengthof(inference_keys)))
				options.infers = key;
		}
	}
	return options;
}

MmInferOptions
mm_options_infer(const MmOptions *options)
{
	return (MmInferOptions) {
		.naming = options->naming,
		.flatten_depth = options->flatten_depth,
		.native_arrays = options->native_arrays,
		.object_id_bytea = options->object_id_bytea,
		.uuid = options->uuid == MM_INHERIT ? MM_UUID_NONE :
			(MmUuidForm) options->uuid,
		.document = options->document,
	};
}
