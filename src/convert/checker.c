/*-------------------------------------------------------------------------
 *
 * checker.c
 *	  Looks for text that is refused.
 *
 * A writer for extended.c that writes nothing.  It is for writers that do not
 * take the pieces in the order of the document: once they have met text that
 * they may not write, they have the checker say which text of the document is
 * the first of that sort, and where it stands.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "convert/checker.h"

static void
skip_bracket(MmWriter *writer, bool array)
{
}

static void
skip_integer(MmWriter *writer, int64 v)
{
}

static void
skip_real(MmWriter *writer, double v)
{
}

static void
skip_decimal(MmWriter *writer, const char *digits)
{
}

static void
skip_boolean(MmWriter *writer, bool v)
{
}

static void
skip_null(MmWriter *writer)
{
}

static bool
check(MmWriter *writer, const char *s, uint32 len)
{
	writer->failure.fault = mm_text_check(s, len);
	return writer->failure.fault == MM_TEXT_GOOD;
}

static const MmWriterOps checker_ops = {
	.begin = skip_bracket,
	.end = skip_bracket,
	.key = check,
	.string = check,
	.integer = skip_integer,
	.real = skip_real,
	.decimal = skip_decimal,
	.boolean = skip_boolean,
	.null = skip_null
};

/* True when the value can be written; else *failure says why not. */
bool
mm_checker_value(const MmValue *value, MmJsonForm form,
				 MmTextFailure *failure)
{
	MmWriter	w = {&checker_ops, form, MM_INVALID_TEXT_REJECT};
	bool		good = mm_extended_write(&w, value);

	*failure = w.failure;
	return good;
}
