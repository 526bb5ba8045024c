/*-------------------------------------------------------------------------
 *
 * jsonb.c
 *	  BSON values as jsonb.
 *
 * A writer for extended.c that builds a tree with the server's
 * pushJsonbValue().  Of keys that occur more than once the last one stays, as
 * jsonb has it.  The limits of jsonb are out of reach for what the walk lets
 * pass (MM_WALK_MAX_ELEMENTS), so that nothing here raises on behalf of data.
 *
 * A number or a string alone is a raw scalar for jsonb: it is held in root
 * until the end, when there is no container to push it into.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "convert/form.h"
#include "convert/jsonb.h"

typedef struct JsonbWriter
{
	MmWriter	writer;
	JsonbParseState *state;		/* the container at work, or NULL */
	JsonbValue	scalar;			/* the root, unless it is a container */
	JsonbValue *root;
} JsonbWriter;

static void
begin(MmWriter *writer, bool array)
{
	JsonbWriter *w = (JsonbWriter *) writer;

	(void) pushJsonbValue(&w->state,
						  array ? WJB_BEGIN_ARRAY : WJB_BEGIN_OBJECT, NULL);
}

/* The outermost end returns the root. */
static void
end(MmWriter *writer, bool array)
{
	JsonbWriter *w = (JsonbWriter *) writer;

	w->root = pushJsonbValue(&w->state, array ? WJB_END_ARRAY : WJB_END_OBJECT,
							 NULL);
}

static void
push_scalar(JsonbWriter *w, JsonbValue *value)
{
	if (w->state == NULL)
	{
		w->scalar = *value;
		w->root = &w->scalar;
	}
	else
		(void) pushJsonbValue(&w->state,
							  w->state->contVal.type == jbvArray ?
							  WJB_ELEM : WJB_VALUE, value);
}

/*
 * A string of the value, copied: pieces are written from buffers that do not
 * last.  False when it is no text and invalid_text says reject.
 */
static bool
make_string(JsonbWriter *w, const char *s, uint32 len, JsonbValue *value)
{
	MmTextFault fault = mm_text_check(s, len);
	StringInfoData repaired;

	value->type = jbvString;
	if (fault == MM_TEXT_GOOD)
	{
		value->val.string.val = pnstrdup(s, len);
		value->val.string.len = len;
		return true;
	}
	if (w->writer.invalid_text == MM_INVALID_TEXT_REJECT)
	{
		w->writer.failure.fault = fault;
		return false;
	}
	initStringInfo(&repaired);
	mm_text_append_repaired(&repaired, s, len, w->writer.invalid_text);
	value->val.string.val = repaired.data;
	value->val.string.len = repaired.len;
	return true;
}

static bool
key(MmWriter *writer, const char *s, uint32 len)
{
	JsonbWriter *w = (JsonbWriter *) writer;
	JsonbValue	value;

	if (!make_string(w, s, len, &value))
		return false;
	(void) pushJsonbValue(&w->state, WJB_KEY, &value);
	return true;
}

static bool
string(MmWriter *writer, const char *s, uint32 len)
{
	JsonbWriter *w = (JsonbWriter *) writer;
	JsonbValue	value;

	if (!make_string(w, s, len, &value))
		return false;
	push_scalar(w, &value);
	return true;
}

static void
push_numeric(MmWriter *writer, Numeric numeric)
{
	JsonbValue	value = {.type = jbvNumeric};

	value.val.numeric = numeric;
	push_scalar((JsonbWriter *) writer, &value);
}

static void
integer(MmWriter *writer, int64 v)
{
	push_numeric(writer, int64_to_numeric(v));
}

static void
real(MmWriter *writer, double v)
{
	push_numeric(writer, mm_form_double_numeric(v, true));
}

static void
decimal(MmWriter *writer, const char *digits)
{
	push_numeric(writer, mm_form_text_numeric(digits));
}

static void
boolean(MmWriter *writer, bool v)
{
	JsonbValue	value = {.type = jbvBool};

	value.val.boolean = v;
	push_scalar((JsonbWriter *) writer, &value);
}

static void
null(MmWriter *writer)
{
	JsonbValue	value = {.type = jbvNull};

	push_scalar((JsonbWriter *) writer, &value);
}

static const MmWriterOps jsonb_ops = {
	.begin = begin,
	.end = end,
	.key = key,
	.string = string,
	.integer = integer,
	.real = real,
	.decimal = decimal,
	.boolean = boolean,
	.null = null
};

/* NULL with *failure when a text in it was refused. */
Jsonb *
mm_jsonb_from_value(const MmValue *value, MmJsonForm form,
					MmInvalidText invalid_text, MmTextFailure *failure)
{
	JsonbWriter w = {{&jsonb_ops, form, invalid_text}};

	if (mm_extended_write(&w.writer, value))
		return JsonbValueToJsonb(w.root);
	*failure = w.writer.failure;
	return NULL;
}

/* The same for an object of these elements. */
Jsonb *
mm_jsonb_from_members(const MmValue *values, int n, MmJsonForm form,
					  MmInvalidText invalid_text, MmTextFailure *failure)
{
	JsonbWriter w = {{&jsonb_ops, form, invalid_text}};

	if (mm_extended_write_members(&w.writer, values, n))
		return JsonbValueToJsonb(w.root);
	*failure = w.writer.failure;
	return NULL;
}
