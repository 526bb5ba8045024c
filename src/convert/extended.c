/*-------------------------------------------------------------------------
 *
 * extended.c
 *	  BSON values in the forms of Extended JSON, for any writer.
 *
 * The relaxed and the canonical form are those of the MongoDB Extended JSON
 * (v2) specification.  The simple form has no type wrappers where a plain
 * JSON value says the same to a person: see INTERFACE.md sections 7 and 13.
 * In every form minus zero keeps its sign in a wrapper, since jsonb numbers
 * have none.  What is written as text or as jsonb is decided here, how it
 * is written by the writers in json.c and jsonb.c.
 *
 * Values must have been validated (walk.c).  For the writer of jsonb those
 * inside of the value need not be: they go to its document() unread.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>

#include "miscadmin.h"
#include "utils/builtins.h"

#include "convert/extended.h"
#include "convert/form.h"
#include "convert/names.h"

/* {"name": -- our own names and digits are valid text, and cannot fail. */
static void
begin_tagged(MmWriter *writer, const char *name)
{
	writer->ops->begin(writer, false);
	(void) writer->ops->key(writer, name, strlen(name));
}

static void
end_tagged(MmWriter *writer)
{
	writer->ops->end(writer, false);
}

static bool
write_cstring(MmWriter *writer, const char *s)
{
	return writer->ops->string(writer, s, strlen(s));
}

/* {"name": "digits"} */
static bool
write_tagged(MmWriter *writer, const char *name, const char *digits)
{
	begin_tagged(writer, name);
	(void) write_cstring(writer, digits);
	end_tagged(writer);
	return true;
}

static bool
write_double(MmWriter *writer, double v)
{
	char		buffer[MM_FORM_DOUBLE];

	if (mm_extended_is_number(v, writer->form))
	{
		writer->ops->real(writer, v);
		return true;
	}
	mm_form_double_with_point(v, buffer);
	if (writer->form == MM_JSON_SIMPLE && !isfinite(v))
		return write_cstring(writer, buffer);
	return write_tagged(writer, "$numberDouble", buffer);
}

static bool
write_decimal(MmWriter *writer, const uint8 *decimal)
{
	char		buffer[MM_FORM_DECIMAL];

	mm_form_decimal(decimal, buffer);
	if (writer->form != MM_JSON_SIMPLE ||
		mm_form_decimal_is_minus_zero(buffer))
		return write_tagged(writer, "$numberDecimal", buffer);
	if (!mm_form_decimal_is_finite(buffer))
		return write_cstring(writer, buffer);
	writer->ops->decimal(writer, buffer);
	return true;
}

static bool
write_integer(MmWriter *writer, const MmValue *value)
{
	int64		v = mm_walk_integer(value);
	char		digits[32];

	if (writer->form != MM_JSON_CANONICAL)
	{
		writer->ops->integer(writer, v);
		return true;
	}
	pg_lltoa(v, digits);
	return write_tagged(writer, value->type == MM_BSON_INT32 ?
						"$numberInt" : "$numberLong", digits);
}

/*
 * The relaxed form has ISO dates from 1970 on; the simple form, wherever a
 * year has four digits.
 */
static bool
write_date(MmWriter *writer, int64 ms)
{
	char		buffer[32];

	if (writer->form == MM_JSON_SIMPLE && ms >= MM_DATE_YEAR_1 &&
		ms <= MM_DATE_YEAR_9999)
		return write_cstring(writer,
							 mm_form_date(ms, MM_MILLIS_ALWAYS, buffer));
	begin_tagged(writer, "$date");
	if (writer->form == MM_JSON_RELAXED && ms >= 0 && ms <= MM_DATE_YEAR_9999)
		(void) write_cstring(writer,
							 mm_form_date(ms, MM_MILLIS_UNLESS_ZERO, buffer));
	else
	{
		pg_lltoa(ms, buffer);
		(void) write_tagged(writer, "$numberLong", buffer);
	}
	end_tagged(writer);
	return true;
}

static bool
write_binary(MmWriter *writer, const MmValue *value)
{
	char		uuid[MM_FORM_UUID];
	char		subtype[3] = {0};
	char	   *base64;

	if (writer->form == MM_JSON_SIMPLE && mm_walk_is_uuid(value))
		return write_cstring(writer, mm_form_uuid(value->data, uuid));
	base64 = mm_form_base64(value->data, value->len);
	if (writer->form == MM_JSON_SIMPLE)
		return write_cstring(writer, base64);
	memcpy(subtype, mm_form_hex[value->subtype], 2);
	begin_tagged(writer, "$binary");
	begin_tagged(writer, "base64");
	(void) write_cstring(writer, base64);
	(void) writer->ops->key(writer, "subType", strlen("subType"));
	(void) write_cstring(writer, subtype);
	end_tagged(writer);
	end_tagged(writer);
	return true;
}

static bool
write_object_id(MmWriter *writer, const uint8 *oid)
{
	char		buffer[MM_FORM_OBJECT_ID];

	mm_form_object_id(oid, buffer);
	if (writer->form == MM_JSON_SIMPLE)
		return write_cstring(writer, buffer);
	return write_tagged(writer, "$oid", buffer);
}

static bool
write_regex(MmWriter *writer, const MmValue *value)
{
	const char *pattern = (const char *) value->data;
	const char *options = pattern + value->len + 1;

	if (writer->form == MM_JSON_SIMPLE)
		return write_cstring(writer, psprintf("/%s/%s", pattern, options));
	begin_tagged(writer, "$regularExpression");
	begin_tagged(writer, "pattern");
	if (!write_cstring(writer, pattern))
		return false;
	(void) writer->ops->key(writer, "options", strlen("options"));
	if (!write_cstring(writer, options))
		return false;
	end_tagged(writer);
	end_tagged(writer);
	return true;
}

static bool
write_db_pointer(MmWriter *writer, const MmValue *value)
{
	char		oid[MM_FORM_OBJECT_ID];

	begin_tagged(writer, "$dbPointer");
	begin_tagged(writer, "$ref");
	if (!writer->ops->string(writer, (const char *) value->data, value->len))
		return false;
	(void) writer->ops->key(writer, "$id", strlen("$id"));
	mm_form_object_id(value->data + value->len + 1, oid);
	(void) write_tagged(writer, "$oid", oid);
	end_tagged(writer);
	end_tagged(writer);
	return true;
}

/* Code and symbol: in simple form a string, else with a wrapper. */
static bool
write_named_string(MmWriter *writer, const MmValue *value, const char *name)
{
	if (writer->form == MM_JSON_SIMPLE)
		return writer->ops->string(writer, (const char *) value->data,
								   value->len);
	begin_tagged(writer, name);
	if (!writer->ops->string(writer, (const char *) value->data, value->len))
		return false;
	end_tagged(writer);
	return true;
}

/* Has no simple form, so that its scope has none either. */
static bool
write_code_with_scope(MmWriter *writer, const MmValue *value)
{
	MmJsonForm	form = writer->form;
	MmValue		scope;
	bool		done;

	begin_tagged(writer, "$code");
	if (!writer->ops->string(writer, (const char *) value->data, value->len))
		return false;
	(void) writer->ops->key(writer, "$scope", strlen("$scope"));
	mm_walk_scope(value, &scope);
	if (form == MM_JSON_SIMPLE)
		writer->form = MM_JSON_RELAXED;
	done = mm_extended_write(writer, &scope);
	writer->form = form;
	if (done)
		end_tagged(writer);
	return done;
}

/* The increment comes first (BSON specification, Timestamp). */
static bool
write_timestamp(MmWriter *writer, const MmValue *value)
{
	begin_tagged(writer, "$timestamp");
	begin_tagged(writer, "t");
	writer->ops->integer(writer, mm_walk_uint32(value->data + 4));
	(void) writer->ops->key(writer, "i", strlen("i"));
	writer->ops->integer(writer, mm_walk_uint32(value->data));
	end_tagged(writer);
	end_tagged(writer);
	return true;
}

/* minKey, maxKey */
static bool
write_bound(MmWriter *writer, const char *name)
{
	begin_tagged(writer, name);
	writer->ops->integer(writer, 1);
	end_tagged(writer);
	return true;
}

static bool
write_undefined(MmWriter *writer)
{
	if (writer->form == MM_JSON_SIMPLE)
		writer->ops->null(writer);
	else
	{
		begin_tagged(writer, "$undefined");
		writer->ops->boolean(writer, true);
		end_tagged(writer);
	}
	return true;
}

/*
 * Puts the step in front of the path that a failure has so far: the path is
 * made on the way out, so that nobody pays for it as long as all is well.
 */
static bool
fail_below_step(MmTextFailure *failure, const char *step)
{
	char	   *rest = failure->path;

	if (rest == NULL)
		failure->path = pstrdup(step);
	else
		failure->path = psprintf("%s%s%s", step, rest[0] == '[' ? "" : ".",
								 rest);
	return false;
}

/* The step of a member; for the convenience of callers, returns false. */
bool
mm_extended_fail_below(MmTextFailure *failure, const char *key, uint32 len)
{
	return fail_below_step(failure, mm_names_quote(mm_text_clean(key, len)));
}

static bool
write_member(MmWriter *writer, const MmValue *value)
{
	if (!writer->ops->key(writer, value->key, value->key_len))
		writer->failure.bson_type = MM_BSON_STRING;	/* which a name is */
	else if (mm_extended_write(writer, value))
		return true;
	return mm_extended_fail_below(&writer->failure, value->key,
								  value->key_len);
}

/* An embedded document, or an array, where the names are but indexes. */
static bool
write_document(MmWriter *writer, const MmValue *value)
{
	bool		array = value->type == MM_BSON_ARRAY;
	MmWalk		walk;
	MmValue		element;

	if (writer->ops->document != NULL)
		return writer->ops->document(writer, value);
	check_stack_depth();
	writer->ops->begin(writer, array);
	(void) mm_walk_begin(&walk, value->data, value->len);
	while (!mm_walk_at_end(&walk))
	{
		if (!mm_walk_next(&walk, &element))
			elog(ERROR, "BSON document was not validated: %s", walk.fault);
		if (!array && !write_member(writer, &element))
			return false;
		if (array && !mm_extended_write(writer, &element))
			return fail_below_step(&writer->failure, "[]");
	}
	writer->ops->end(writer, array);
	return true;
}

static bool
write_value(MmWriter *writer, const MmValue *value)
{
	switch ((MmBsonType) value->type)
	{
		case MM_BSON_DOUBLE:
			return write_double(writer, mm_walk_double(value->data));
		case MM_BSON_STRING:
			return writer->ops->string(writer, (const char *) value->data,
									   value->len);
		case MM_BSON_OBJECT:
		case MM_BSON_ARRAY:
			return write_document(writer, value);
		case MM_BSON_BINARY:
			return write_binary(writer, value);
		case MM_BSON_UNDEFINED:
			return write_undefined(writer);
		case MM_BSON_OBJECT_ID:
			return write_object_id(writer, value->data);
		case MM_BSON_BOOL:
			writer->ops->boolean(writer, value->data[0] != 0);
			return true;
		case MM_BSON_DATE:
			return write_date(writer, (int64) mm_walk_uint64(value->data));
		case MM_BSON_NULL:
			writer->ops->null(writer);
			return true;
		case MM_BSON_REGEX:
			return write_regex(writer, value);
		case MM_BSON_DB_POINTER:
			return write_db_pointer(writer, value);
		case MM_BSON_CODE:
			return write_named_string(writer, value, "$code");
		case MM_BSON_SYMBOL:
			return write_named_string(writer, value, "$symbol");
		case MM_BSON_CODE_WITH_SCOPE:
			return write_code_with_scope(writer, value);
		case MM_BSON_INT32:
		case MM_BSON_INT64:
			return write_integer(writer, value);
		case MM_BSON_TIMESTAMP:
			return write_timestamp(writer, value);
		case MM_BSON_DECIMAL:
			return write_decimal(writer, value->data);
		case MM_BSON_MIN_KEY:
			return write_bound(writer, "$minKey");
		case MM_BSON_MAX_KEY:
			return write_bound(writer, "$maxKey");
	}
	elog(ERROR, "unknown BSON type %d", value->type);
	return false;
}

/*
 * Writes a value.  False when a text in it was refused: writer->failure says
 * which, and what was written so far is of no use.
 */
bool
mm_extended_write(MmWriter *writer, const MmValue *value)
{
	if (write_value(writer, value))
		return true;
	if (writer->failure.bson_type == 0)
		writer->failure.bson_type = value->type;
	return false;
}
