/*-------------------------------------------------------------------------
 *
 * oracle.c
 *	  BSON values as jsonb, by the server's own functions.
 *
 * What the writer of the extension is compared with.  A tree is built with
 * pushJsonbValue(), and numbers become numerics by int64_to_numeric() and its
 * kin, so that no byte is written here.  Only the choice of what to write is
 * that of extended.c.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/builtins.h"

#include "convert/form.h"
#include "mm_test.h"

struct Oracle
{
	MmWriter	writer;
	JsonbParseState *state;		/* the container at work, or NULL */
	JsonbValue	scalar;			/* the root, unless it is a container */
	JsonbValue *root;
};

static void
begin(MmWriter *writer, bool array)
{
	Oracle	   *o = (Oracle *) writer;

	(void) pushJsonbValue(&o->state,
						  array ? WJB_BEGIN_ARRAY : WJB_BEGIN_OBJECT, NULL);
}

/* The outermost end returns the root. */
static void
end(MmWriter *writer, bool array)
{
	Oracle	   *o = (Oracle *) writer;

	o->root = pushJsonbValue(&o->state, array ? WJB_END_ARRAY : WJB_END_OBJECT,
							 NULL);
}

static void
push_scalar(Oracle *o, JsonbValue *value)
{
	if (o->state == NULL)
	{
		o->scalar = *value;
		o->root = &o->scalar;
	}
	else
		(void) pushJsonbValue(&o->state,
							  o->state->contVal.type == jbvArray ?
							  WJB_ELEM : WJB_VALUE, value);
}

/* False when it is no text and invalid_text says reject. */
static bool
make_string(Oracle *o, const char *s, uint32 len, JsonbValue *value)
{
	MmTextFault fault = mm_text_check(s, len);
	StringInfoData repaired;

	if (fault != MM_TEXT_GOOD &&
		o->writer.invalid_text == MM_INVALID_TEXT_REJECT)
	{
		o->writer.failure.fault = fault;
		return false;
	}
	value->type = jbvString;
	value->val.string.len = len;
	if (fault == MM_TEXT_GOOD)
		value->val.string.val = pnstrdup(s, len);
	else
	{
		initStringInfo(&repaired);
		mm_text_append_repaired(&repaired, s, len, o->writer.invalid_text);
		value->val.string.val = repaired.data;
		value->val.string.len = repaired.len;
	}
	return true;
}

static bool
key(MmWriter *writer, const char *s, uint32 len)
{
	Oracle	   *o = (Oracle *) writer;
	JsonbValue	value;

	if (!make_string(o, s, len, &value))
		return false;
	(void) pushJsonbValue(&o->state, WJB_KEY, &value);
	return true;
}

static bool
string(MmWriter *writer, const char *s, uint32 len)
{
	Oracle	   *o = (Oracle *) writer;
	JsonbValue	value;

	if (!make_string(o, s, len, &value))
		return false;
	push_scalar(o, &value);
	return true;
}

static void
push_numeric(MmWriter *writer, Numeric numeric)
{
	JsonbValue	value = {.type = jbvNumeric};

	value.val.numeric = numeric;
	push_scalar((Oracle *) writer, &value);
}

static void
integer(MmWriter *writer, int64 v)
{
	push_numeric(writer, int64_to_numeric(v));
}

/* mantissa * 10^zeros in plain digits; zeros > 0. */
static Numeric
big_numeric(int64 mantissa, int zeros)
{
	char		digits[MAXINT8LEN + 1 + 310 + 3];
	int			n = pg_lltoa(mantissa, digits);

	memset(digits + n, '0', zeros);
	strcpy(digits + n + zeros, ".0");
	return mm_form_text_numeric(digits);
}

/* By its shortest digits; a whole number has one digit behind the point. */
static Numeric
double_numeric(double v)
{
	char		buffer[MM_FORM_DOUBLE];
	char	   *p = mm_form_double(v, buffer);
	int64		mantissa = 0;
	int			scale = 0;
	bool		point = false;

	for (p += *p == '-'; *p != '\0' && *p != 'e'; p++)
	{
		if (*p == '.')
		{
			point = true;
			continue;
		}
		mantissa = mantissa * 10 + (*p - '0');
		scale += point;
	}
	if (*p == 'e')
		scale -= atoi(p + 1);
	if (v < 0)
		mantissa = -mantissa;
	if (scale < 0)
		return big_numeric(mantissa, -scale);
	if (scale == 0)
		return int64_div_fast_to_numeric(mantissa * 10, 1);
	return int64_div_fast_to_numeric(mantissa, scale);
}

static void
real(MmWriter *writer, double v)
{
	push_numeric(writer, double_numeric(v));
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
	push_scalar((Oracle *) writer, &value);
}

static void
null(MmWriter *writer)
{
	JsonbValue	value = {.type = jbvNull};

	push_scalar((Oracle *) writer, &value);
}

static const MmWriterOps oracle_ops = {
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

Oracle *
oracle_begin(MmInvalidText invalid_text)
{
	Oracle	   *o = palloc0(sizeof(Oracle));

	o->writer.ops = &oracle_ops;
	o->writer.invalid_text = invalid_text;
	return o;
}

void
oracle_begin_object(Oracle *o)
{
	begin(&o->writer, false);
}

bool
oracle_key(Oracle *o, const char *s, uint32 len)
{
	return key(&o->writer, s, len);
}

bool
oracle_value(Oracle *o, const MmValue *value, MmJsonForm form)
{
	o->writer.form = form;
	return mm_extended_write(&o->writer, value);
}

void
oracle_end_object(Oracle *o)
{
	end(&o->writer, false);
}

Jsonb *
oracle_finish(Oracle *o)
{
	return JsonbValueToJsonb(o->root);
}

const MmTextFailure *
oracle_failure(const Oracle *o)
{
	return &o->writer.failure;
}
