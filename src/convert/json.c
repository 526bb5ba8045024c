/*-------------------------------------------------------------------------
 *
 * json.c
 *	  BSON values as text: Extended JSON, and the plain text of scalars.
 *
 * JSON text can spell a NUL (\u0000), so that a key or a message needs no
 * other text to be refused than invalid UTF-8.  A json column does not hold
 * it, as no function of the server could take it out again.  What is written
 * for people and for the dead letters refuses nothing: such documents were
 * often rejected because of that very text.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>

#include "mb/pg_wchar.h"
#include "utils/builtins.h"

#include "convert/form.h"
#include "convert/json.h"
#include "convert/value.h"

#define LONG_ID 1024				/* of which an example shows the beginning */
#define EXCERPT_LEN 100			/* bytes of a value in a message */

/* Bytes of a value of which people are shown the size only. */
#define LARGE (64 * 1024)

typedef struct JsonWriter
{
	MmWriter	writer;
	StringInfo	out;
	bool		spell_nul;		/* NUL is written as \u0000 */
	bool		comma;			/* does one belong before the next value? */
} JsonWriter;

/* ---------------------------------------------------------------------
 * The writer
 * ---------------------------------------------------------------------
 */

static void
separate(JsonWriter *w)
{
	if (w->comma)
		appendStringInfoString(w->out, ", ");
	w->comma = true;
}

static void
begin(MmWriter *writer, bool array)
{
	JsonWriter *w = (JsonWriter *) writer;

	separate(w);
	appendStringInfoChar(w->out, array ? '[' : '{');
	w->comma = false;
}

static void
end(MmWriter *writer, bool array)
{
	JsonWriter *w = (JsonWriter *) writer;

	appendStringInfoChar(w->out, array ? ']' : '}');
	w->comma = true;
}

/* Valid text but for NUL, in quotes. */
static void
append_quoted(StringInfo out, const char *s, uint32 len)
{
	uint32		done = 0;

	appendStringInfoChar(out, '"');
	for (uint32 i = 0; i < len; i++)
	{
		unsigned char c = s[i];

		if (c >= ' ' && c != '"' && c != '\\')
			continue;
		appendBinaryStringInfo(out, s + done, i - done);
		done = i + 1;
		if (c == '"' || c == '\\')
			appendStringInfo(out, "\\%c", c);
		else if (c == '\n')
			appendStringInfoString(out, "\\n");
		else if (c == '\t')
			appendStringInfoString(out, "\\t");
		else
			appendStringInfo(out, "\\u%04x", c);
	}
	appendBinaryStringInfo(out, s + done, len - done);
	appendStringInfoChar(out, '"');
}

/*
 * Repairs the text; spell_nul: only between its NULs, which stay.
 */
static char *
repair(const char *s, uint32 len, MmInvalidText how, bool spell_nul,
	   uint32 *result_len)
{
	StringInfoData out;
	const char *stop = s + len;

	initStringInfo(&out);
	for (;;)
	{
		const char *nul = spell_nul ? memchr(s, '\0', stop - s) : NULL;

		mm_text_append_repaired(&out, s, (nul ? nul : stop) - s, how);
		if (nul == NULL)
			break;
		appendStringInfoChar(&out, '\0');
		s = nul + 1;
	}
	*result_len = out.len;
	return out.data;
}

/* Is the text between the NULs valid? */
static bool
is_valid_but_nul(const char *s, uint32 len)
{
	const char *stop = s + len;

	for (;;)
	{
		const char *nul = memchr(s, '\0', stop - s);

		if (mm_text_check(s, (nul ? nul : stop) - s) != MM_TEXT_GOOD)
			return false;
		if (nul == NULL)
			return true;
		s = nul + 1;
	}
}

static bool
string(MmWriter *writer, const char *s, uint32 len)
{
	JsonWriter *w = (JsonWriter *) writer;
	char	   *repaired = NULL;

	MmTextFault fault = mm_text_check(s, len);

	if (fault != MM_TEXT_GOOD && w->spell_nul)
		fault = is_valid_but_nul(s, len) ? MM_TEXT_GOOD : MM_TEXT_INVALID;
	if (fault != MM_TEXT_GOOD)
	{
		if (writer->invalid_text == MM_INVALID_TEXT_REJECT)
		{
			writer->failure.fault = fault;
			return false;
		}
		s = repaired = repair(s, len, writer->invalid_text, w->spell_nul,
							  &len);
		writer->altered = true;
	}
	separate(w);
	append_quoted(w->out, s, len);
	if (repaired != NULL)		/* a document can have very many of them */
		pfree(repaired);
	return true;
}

static bool
key(MmWriter *writer, const char *s, uint32 len)
{
	JsonWriter *w = (JsonWriter *) writer;

	if (!string(writer, s, len))
		return false;
	appendStringInfoString(w->out, ": ");
	w->comma = false;
	return true;
}

static void
append_number(MmWriter *writer, const char *digits)
{
	JsonWriter *w = (JsonWriter *) writer;

	separate(w);
	appendStringInfoString(w->out, digits);
}

static void
integer(MmWriter *writer, int64 v)
{
	char		digits[32];

	pg_lltoa(v, digits);
	append_number(writer, digits);
}

static void
real(MmWriter *writer, double v)
{
	char		buffer[MM_FORM_DOUBLE];

	append_number(writer, mm_form_double_with_point(v, buffer));
}

static void
boolean(MmWriter *writer, bool v)
{
	append_number(writer, v ? "true" : "false");
}

static void
null(MmWriter *writer)
{
	append_number(writer, "null");
}

static const MmWriterOps json_ops = {
	.begin = begin,
	.end = end,
	.key = key,
	.string = string,
	.integer = integer,
	.real = real,
	.decimal = append_number,
	.boolean = boolean,
	.null = null
};

/* False with *outcome when a text in it was refused. */
bool
mm_json_append(StringInfo out, const MmValue *value, MmJsonForm form,
			   MmInvalidText invalid_text, bool spell_nul,
			   MmOutcome *outcome)
{
	JsonWriter	w = {{&json_ops, form, invalid_text}, out, spell_nul};
	bool		done = mm_extended_write(&w.writer, value);

	outcome->altered |= w.writer.altered;
	if (!done)
		outcome->failure = w.writer.failure;
	return done;
}

/* ---------------------------------------------------------------------
 * Text form of a scalar
 * ---------------------------------------------------------------------
 */

/* A piece that must become text as it is, without \u0000 for NUL. */
static bool
append_raw(StringInfo out, const MmValue *value, const char *s, uint32 len,
		   MmInvalidText invalid_text, MmOutcome *outcome)
{
	MmTextFault fault = mm_text_check(s, len);

	if (fault == MM_TEXT_GOOD)
		appendBinaryStringInfo(out, s, len);
	else if (invalid_text != MM_INVALID_TEXT_REJECT)
	{
		mm_text_append_repaired(out, s, len, invalid_text);
		outcome->altered = true;
	}
	else
	{
		outcome->failure = (MmTextFailure) {fault, value->type};
		return false;
	}
	return true;
}

static bool
append_regex(StringInfo out, const MmValue *value, MmInvalidText invalid_text,
			 MmOutcome *outcome)
{
	const char *pattern = (const char *) value->data;
	char	   *text = psprintf("/%s/%s", pattern, pattern + value->len + 1);

	return append_raw(out, value, text, strlen(text), invalid_text, outcome);
}

static void
append_binary(StringInfo out, const MmValue *value, MmUuidForm form)
{
	uint8		uuid[MM_UUID_LEN];
	char		buffer[MM_FORM_UUID];

	appendStringInfoString(out, mm_value_is_uuid(value, form, uuid) ?
						   mm_form_uuid(uuid, buffer) :
						   mm_form_base64(value->data, value->len));
}

/* Years of four digits; others have no ISO form that all understand. */
static bool
is_plain_date(const MmValue *value)
{
	int64		ms = (int64) mm_walk_uint64(value->data);

	return ms >= MM_DATE_YEAR_1 && ms <= MM_DATE_YEAR_9999;
}

/*
 * The form of a text column (INTERFACE.md section 13): plain text where there
 * is one, else relaxed Extended JSON.  False with *outcome when a text in it
 * was refused.
 */
bool
mm_json_append_text(StringInfo out, const MmValue *value,
					MmUuidForm uuid, MmInvalidText invalid_text,
					MmOutcome *outcome)
{
	char		buffer[MM_FORM_DECIMAL];
	int64		ms;

	switch (value->type)
	{
		case MM_BSON_STRING:
		case MM_BSON_CODE:
		case MM_BSON_SYMBOL:
			return append_raw(out, value, (const char *) value->data,
							  value->len, invalid_text, outcome);
		case MM_BSON_REGEX:
			return append_regex(out, value, invalid_text, outcome);
		case MM_BSON_OBJECT_ID:
			appendStringInfoString(out,
								   mm_form_object_id(value->data, buffer));
			return true;
		case MM_BSON_DOUBLE:
			appendStringInfoString(out,
								   mm_form_double(mm_walk_double(value->data),
												  buffer));
			return true;
		case MM_BSON_DECIMAL:
			appendStringInfoString(out, mm_form_decimal(value->data, buffer));
			return true;
		case MM_BSON_BINARY:
			append_binary(out, value, uuid);
			return true;
		case MM_BSON_DATE:
			if (!is_plain_date(value))
				break;
			ms = (int64) mm_walk_uint64(value->data);
			appendStringInfoString(out, mm_form_date(ms, MM_MILLIS_ALWAYS,
													 buffer));
			return true;
		default:
			break;
	}
	return mm_json_append(out, value, MM_JSON_RELAXED, invalid_text, true,
						  outcome);
}

/* ---------------------------------------------------------------------
 * For people and for dead letters
 * ---------------------------------------------------------------------
 */

/* These refuse no text. */
static char *
tolerant_json(const MmValue *value, MmJsonForm form)
{
	MmOutcome	outcome = {0};
	StringInfoData out;

	initStringInfo(&out);
	(void) mm_json_append(&out, value, form, MM_INVALID_TEXT_REPLACE, true,
						  &outcome);
	return out.data;
}

/* Relaxed Extended JSON, cut for a message. */
char *
mm_json_excerpt(const MmValue *value)
{
	char	   *json;
	int			len;

	if (value->len > LARGE)
		return psprintf("%s of %u bytes", mm_walk_type_name(value->type),
						value->len);
	json = tolerant_json(value, MM_JSON_RELAXED);
	len = strlen(json);
	if (len > EXCERPT_LEN)
		strcpy(json + pg_encoding_mbcliplen(PG_UTF8, json, len,
											EXCERPT_LEN - 3), "...");
	return json;
}

/* Of a corrupt document too, if the corruption is behind its _id. */
char *
mm_json_source_id(const uint8 *doc, uint32 len)
{
	MmValue		id;

	if (!mm_walk_find(doc, len, "_id", &id))
		return pstrdup("null");
	return tolerant_json(&id, MM_JSON_CANONICAL);
}

char *
mm_json_first_id(const uint8 *doc, uint32 len)
{
	MmValue		id;

	if (mm_walk_find(doc, len, "_id", &id) && id.len > LONG_ID)
		return mm_json_excerpt(&id);
	return mm_json_source_id(doc, len);
}

char *
mm_json_id_for_message(const uint8 *doc, uint32 len)
{
	char		buffer[MM_FORM_OBJECT_ID];
	MmValue		id;

	if (!mm_walk_find(doc, len, "_id", &id))
		return pstrdup("null");
	if (id.type == MM_BSON_OBJECT_ID)
		return psprintf("ObjectId(\"%s\")",
						mm_form_object_id(id.data, buffer));
	return mm_json_excerpt(&id);
}

void
mm_json_id_for_display(const uint8 *doc, uint32 len, char *buffer, size_t n)
{
	MmOutcome	outcome = {0};
	StringInfoData out;
	MmValue		id;

	buffer[0] = '\0';
	if (!mm_walk_find(doc, len, "_id", &id))
		return;
	if (id.len > LARGE)
	{
		strlcpy(buffer, mm_walk_type_name(id.type), n);
		return;
	}
	initStringInfo(&out);
	(void) mm_json_append_text(&out, &id, MM_UUID_NONE,
							   MM_INVALID_TEXT_REPLACE, &outcome);
	out.len = pg_encoding_mbcliplen(PG_UTF8, out.data, out.len, n - 1);
	memcpy(buffer, out.data, out.len);
	buffer[out.len] = '\0';
	pfree(out.data);
}

char *
mm_json_document(const uint8 *doc, uint32 len)
{
	MmValue		value = {.type = MM_BSON_OBJECT, .len = len, .data = doc};
	MmWalk		walk;

	if (!mm_walk_validate(&walk, doc, len))
		return NULL;
	return tolerant_json(&value, MM_JSON_RELAXED);
}
