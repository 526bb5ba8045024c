/*-------------------------------------------------------------------------
 *
 * input.c
 *	  Text -> Datum: what a string becomes in a typed column.
 *
 * A string is taken by a typed column when the type's input function takes
 * it and the value is the one that the text denotes: "12.50" in a
 * numeric(12,2), but not "12.505".  Words that stand for the moment at which
 * they are read ("now", "today") are no values.  Times without a zone are
 * UTC, as the session's TimeZone says in workers.
 *
 * Input functions raise before PostgreSQL 16, and an error in each thousandth
 * document would keep a load in careful mode for good.  So numbers, times,
 * booleans, UUIDs and enums are looked at here first, with the server's own
 * decoders where they do not raise; what they refuse never reaches an input
 * function.  The other types go through theirs: softly where they can, in
 * a savepoint in careful mode, and outside of it the error is raised and
 * brings the loader into careful mode (job/loader.c).
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <ctype.h>
#include <math.h>

#include "access/htup_details.h"
#include "catalog/pg_enum.h"
#include "catalog/pg_type_d.h"
#include "common/shortest_dec.h"
#include "pgtime.h"
#include "utils/builtins.h"
#include "utils/catcache.h"
#include "utils/date.h"
#include "utils/datetime.h"
#include "utils/formatting.h"
#include "utils/syscache.h"
#include "utils/typcache.h"

#include "compat.h"
#include "convert/form.h"
#include "convert/input.h"
#include "savepoint.h"

/* Far inside what numeric_in() takes without an error. */
#define NUMERIC_DIGITS_MAX 16000

/* ---------------------------------------------------------------------
 * Numbers
 * ---------------------------------------------------------------------
 */

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static const char *
skip_space(const char *p)
{
	while (*p == ' ' || (*p >= '\t' && *p <= '\r'))
		p++;
	return p;
}

static const char *
skip_digits(const char *p, int *n)
{
	for (*n = 0; is_digit(*p); p++)
		(*n)++;
	return p;
}

/*
 * Of a number as text: a plus sign or zeros before its digits, which no number
 * keeps, and which are part of what the text says when it is a postal code; or
 * the sign of minus zero, unless the column keeps it.
 */
bool
mm_input_is_padded(const char *text, bool keeps_sign)
{
	const char *p = skip_space(text);

	if (*p == '-')
	{
		p++;
		if (!keeps_sign && *skip_space(p + strspn(p, "0.")) == '\0')
			return true;
	}
	return *p == '+' || (p[0] == '0' && is_digit(p[1]));
}

/* A decimal integer, as int8in() of every major takes it. */
MmFit
mm_input_integer(const char *text, int64 *result)
{
	const char *p = skip_space(text);
	const char *start = p;
	const char *stop;
	int			digits;

	if (*p == '-' || *p == '+')
		p++;
	stop = skip_digits(p, &digits);
	if (digits == 0 || *skip_space(stop) != '\0')
		return MM_FIT_TYPE;
	errno = 0;
	*result = strtoll(start, NULL, 10);
	return errno == ERANGE ? MM_FIT_RANGE : MM_FIT_GOOD;
}

static bool
is_special_number(const char *p)
{
	static const char *const names[] = {"nan", "infinity", "inf"};

	if (*p == '-' || *p == '+')
		p++;
	for (int i = 0; i < lengthof(names); i++)
	{
		size_t		len = strlen(names[i]);

		if (pg_strncasecmp(p, names[i], len) == 0 &&
			*skip_space(p + len) == '\0')
			return true;
	}
	return false;
}

/* MM_FIT_GOOD when numeric_in() will take it. */
static MmFit
check_number(const char *text)
{
	const char *p = skip_space(text);
	int			whole;
	int			fraction = 0;
	int			digits;
	long		exponent = 0;

	if (is_special_number(p))
		return pg_strncasecmp(p + (*p == '-' || *p == '+'), "nan", 3) == 0 &&
			!(*p == 'n' || *p == 'N') ? MM_FIT_TYPE : MM_FIT_GOOD;
	if (*p == '-' || *p == '+')
		p++;
	p = skip_digits(p, &whole);
	if (*p == '.')
		p = skip_digits(p + 1, &fraction);
	if (whole + fraction == 0)
		return MM_FIT_TYPE;
	if (*p == 'e' || *p == 'E')
	{
		const char *start = ++p;

		if (*p == '-' || *p == '+')
			p++;
		p = skip_digits(p, &digits);
		if (digits == 0)
			return MM_FIT_TYPE;
		exponent = digits > 6 ? NUMERIC_DIGITS_MAX : labs(atol(start));
	}
	if (*skip_space(p) != '\0')
		return MM_FIT_TYPE;
	return whole + fraction + exponent >= NUMERIC_DIGITS_MAX ?
		MM_FIT_RANGE : MM_FIT_GOOD;
}

MmFit
mm_input_numeric(const char *text, Numeric *result)
{
	MmFit		fit = check_number(text);

	if (fit == MM_FIT_GOOD)
		*result = mm_form_text_numeric(text);
	return fit;
}

/* Do both denote the same number? */
bool
mm_input_same_number(const char *a, const char *b)
{
	Datum		equal = DirectFunctionCall2(numeric_eq,
											NumericGetDatum(mm_form_text_numeric(a)),
											NumericGetDatum(mm_form_text_numeric(b)));

	return DatumGetBool(equal);
}

/*
 * The double that reads back as these digits.  Digits that no double has are
 * a misfit.
 */
MmFit
mm_input_double(const char *text, double *result)
{
	char		digits[MM_FORM_DOUBLE];
	MmFit		fit = check_number(text);

	if (fit != MM_FIT_GOOD)
		return fit;
	errno = 0;
	*result = strtod(text, NULL);
	if (!isfinite(*result))
		return is_special_number(skip_space(text)) ?
			MM_FIT_GOOD : MM_FIT_RANGE;
	mm_form_double(*result, digits);
	return mm_input_same_number(text, digits) ? MM_FIT_GOOD : MM_FIT_INEXACT;
}

MmFit
mm_input_real(const char *text, float *result)
{
	char		digits[FLOAT_SHORTEST_DECIMAL_LEN];
	MmFit		fit = check_number(text);

	if (fit != MM_FIT_GOOD)
		return fit;
	*result = strtof(text, NULL);
	if (!isfinite(*result))
		return is_special_number(skip_space(text)) ?
			MM_FIT_GOOD : MM_FIT_RANGE;
	float_to_shortest_decimal_buf(*result, digits);
	return mm_input_same_number(text, digits) ? MM_FIT_GOOD : MM_FIT_INEXACT;
}

/* ---------------------------------------------------------------------
 * Booleans, UUIDs, enums
 * ---------------------------------------------------------------------
 */

/* As boolin(): blanks around it do not count. */
MmFit
mm_input_boolean(const char *text, bool *result)
{
	const char *start = skip_space(text);
	size_t		len = strlen(start);

	while (len > 0 && skip_space(start + len - 1) != start + len - 1)
		len--;
	return parse_bool_with_len(start, len, result) ?
		MM_FIT_GOOD : MM_FIT_TYPE;
}

static int
hex_digit(char c)
{
	if (is_digit(c))
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* As uuid_in(): braces, and a dash behind each group of four digits. */
MmFit
mm_input_uuid(const char *text, uint8 *result)
{
	bool		braces = *text == '{';

	if (braces)
		text++;
	for (int i = 0; i < MM_UUID_LEN; i++)
	{
		int			high = hex_digit(text[0]);
		int			low = high < 0 ? -1 : hex_digit(text[1]);

		if (low < 0)
			return MM_FIT_TYPE;
		result[i] = high << 4 | low;
		text += 2;
		if (*text == '-' && i % 2 == 1 && i < MM_UUID_LEN - 1)
			text++;
	}
	if (braces && *text++ != '}')
		return MM_FIT_TYPE;
	return *text == '\0' ? MM_FIT_GOOD : MM_FIT_TYPE;
}

static int
compare_labels(const void *a, const void *b)
{
	return strcmp(NameStr(((const MmEnumLabel *) a)->name),
				  NameStr(((const MmEnumLabel *) b)->name));
}

/* Once for a plan: the cache of the catalog keeps each text that is none. */
void
mm_input_read_labels(MmValueType *type)
{
	CatCList   *list = SearchSysCacheList1(ENUMTYPOIDNAME,
										   ObjectIdGetDatum(type->typid));

	type->nlabels = list->n_members;
	type->labels = palloc(Max(list->n_members, 1) * sizeof(MmEnumLabel));
	for (int i = 0; i < list->n_members; i++)
	{
		HeapTuple	tuple = &list->members[i]->tuple;
		Form_pg_enum label = (Form_pg_enum) GETSTRUCT(tuple);

		type->labels[i].name = label->enumlabel;
		type->labels[i].value = label->oid;
		type->labels[i].committed = HeapTupleHeaderXminCommitted(tuple->t_data);
	}
	ReleaseCatCacheList(list);
	qsort(type->labels, type->nlabels, sizeof(MmEnumLabel), compare_labels);
}

/* A label of this very transaction may be one that enum_in() raises for. */
MmFit
mm_input_enum(const MmValueType *type, const char *text, Datum *result)
{
	MmEnumLabel key;
	MmEnumLabel *label;

	if (strlen(text) >= NAMEDATALEN)
		return MM_FIT_REFUSED;
	strlcpy(NameStr(key.name), text, NAMEDATALEN);
	label = bsearch(&key, type->labels, type->nlabels, sizeof(MmEnumLabel),
					compare_labels);
	if (label == NULL)
		return MM_FIT_REFUSED;
	*result = label->committed ? ObjectIdGetDatum(label->value) :
		DirectFunctionCall2(enum_in, CStringGetDatum(text),
							ObjectIdGetDatum(type->typid));
	return MM_FIT_GOOD;
}

/* ---------------------------------------------------------------------
 * Times
 * ---------------------------------------------------------------------
 */

/* Does it have a word for the moment of reading in it? */
static bool
is_relative(char **fields, int n)
{
	static const char *const words[] = {
		"now", "today", "tomorrow", "yesterday"
	};

	for (int i = 0; i < n; i++)
		for (int j = 0; j < lengthof(words); j++)
			if (strcmp(fields[i], words[j]) == 0)
				return true;
	return false;
}

/*
 * Digits and points are a day of the year to the server's decoder ("1.005" is
 * a day in 2001), digits alone a date with as long a year as there are digits;
 * but a number to those who wrote them, unless they are eight.
 */
static bool
is_number_alone(const char *text)
{
	const char *start = skip_space(text);
	int			digits;
	const char *end = skip_space(skip_digits(start, &digits));

	if (*end == '\0')
		return digits != 8;
	return strspn(start, "0123456789. ") == strlen(start) &&
		strchr(start, '.') != NULL;
}

/* The decoder passes over other characters. */
static bool
says_more_than_time(const char *text)
{
	for (const char *p = text; *p != '\0'; p++)
		if (!isalnum((unsigned char) *p) && !isspace((unsigned char) *p) &&
			strchr(":.,+/_-", *p) == NULL)
			return true;
	return false;
}

/*
 * No clock shows it: the 60th second, which the decoder takes for the next
 * minute, or the 47th hour of "2024-01-15 4711", which it takes for a time.
 */
static bool
is_no_time_of_day(const struct pg_tm *tm, fsec_t fsec)
{
	return tm->tm_min > 59 || tm->tm_sec > 59 || tm->tm_hour > 24 ||
		(tm->tm_hour == 24 && (tm->tm_min > 0 || tm->tm_sec > 0 || fsec > 0));
}

/*
 * A name behind a date is that of a time zone for the decoder, which raises
 * when there is none (before 16).  With digits it is one by POSIX rules, where
 * the sign means the opposite, and 0100 are a hundred hours: "GMT+0100" is not
 * what those who write it mean, nor "rev3".
 */
static bool
has_unknown_zone(char **fields, const int *types, int n)
{
	for (int i = 1; i < n; i++)
		if (types[i] == DTK_DATE && isalpha((unsigned char) fields[i][0]) &&
			(strpbrk(fields[i], "0123456789") != NULL ||
			 pg_tzset(fields[i]) == NULL))
			return true;
	return false;
}

typedef struct Decoded
{
	int			type;			/* DTK_DATE and others */
	struct pg_tm tm;
	fsec_t		fsec;
	int			zone;
} Decoded;

static bool
decode_time(const char *text, Decoded *result)
{
	char		work[MAXDATELEN + MAXDATEFIELDS];
	char	   *fields[MAXDATEFIELDS];
	int			types[MAXDATEFIELDS];
	int			n;

	return ParseDateTime(text, work, sizeof(work), fields, types,
						 MAXDATEFIELDS, &n) == 0 && !is_relative(fields, n) &&
		!has_unknown_zone(fields, types, n) &&
		DecodeDateTime_compat(fields, types, n, &result->type, &result->tm,
							  &result->fsec, &result->zone) == 0;
}

/* Groups of four digits that are no zone or fraction: years, or hours. */
static int
count_fours(const char *text)
{
	int			n = 0;

	for (const char *p = text; *p != '\0'; p++)
	{
		int			digits;
		const char *stop = skip_digits(p, &digits);

		if (digits == 0)
			continue;
		n += digits == 4 && (p == text || strchr("+-.:", p[-1]) == NULL);
		p = stop - 1;
	}
	return n;
}

/*
 * A year of two digits is one of two or three numbers that the decoder may take
 * for it: of "12/11/23" the 12, and of "15-JAN-24" the 15.  In the other order
 * it takes another one.
 */
static bool
has_whole_year(const char *text, const struct pg_tm *tm)
{
	int			order = DateOrder;
	char		year[16];
	Decoded		other;
	int			digits;
	const char *end = skip_digits(skip_space(text), &digits);
	volatile bool same = false;

	/* six begin with a year of two, four may be hours and minutes */
	if (digits >= 8 || (digits == 4 && strchr("-/.", *end) != NULL))
		return true;
	if (count_fours(text) > 1)
		return false;
	snprintf(year, sizeof(year), "%04d",
			 tm->tm_year > 0 ? tm->tm_year : 1 - tm->tm_year);
	if (strstr(text, year) == NULL)
		return false;
	PG_TRY();
	{
		DateOrder = DATEORDER_MDY;
		same = decode_time(text, &other) &&
			other.tm.tm_year == tm->tm_year &&
			other.tm.tm_mon == tm->tm_mon &&
			other.tm.tm_mday == tm->tm_mday;
	}
	PG_FINALLY();
	{
		DateOrder = order;
	}
	PG_END_TRY();
	return same;
}

/* More digits of a second than a timestamp keeps? */
static bool
is_too_fine(const char *text)
{
	const char *p = text;

	while ((p = strchr(p, '.')) != NULL)
	{
		int			digits;
		const char *stop = skip_digits(++p, &digits);

		for (int i = 6; i < digits; i++)
			if (p[i] != '0')
				return true;
		p = stop;
	}
	return false;
}

/* Microseconds since 2000, as timestamptz_in() would have it. */
MmFit
mm_input_timestamptz(const char *text, TimestampTz *result)
{
	Decoded		is;

	if (is_number_alone(text) || says_more_than_time(text) ||
		!decode_time(text, &is))
		return MM_FIT_TYPE;
	if (is_too_fine(text))
		return MM_FIT_INEXACT;
	switch (is.type)
	{
		case DTK_DATE:
			if (is_no_time_of_day(&is.tm, is.fsec) ||
				!has_whole_year(text, &is.tm))
				return MM_FIT_TYPE;
			return tm2timestamp(&is.tm, is.fsec, &is.zone, result) == 0 ?
				MM_FIT_GOOD : MM_FIT_RANGE;
		case DTK_EPOCH:
			*result = SetEpochTimestamp();
			return MM_FIT_GOOD;
		case DTK_LATE:
			*result = DT_NOEND;
			return MM_FIT_GOOD;
		case DTK_EARLY:
			*result = DT_NOBEGIN;
			return MM_FIT_GOOD;
		default:
			return MM_FIT_TYPE;
	}
}

/* ---------------------------------------------------------------------
 * Through the type
 * ---------------------------------------------------------------------
 */

/* The arguments of a function that may raise, and its result. */
typedef struct Call
{
	MmValueType *type;
	char	   *text;			/* of an input function */
	Datum		value;			/* in for a domain, out of an input function */
	bool		isnull;
	bool		good;			/* the result, when nothing is raised */
} Call;

typedef void (*Function) (void *call);

/* At work outside of careful mode, or raised an error there; or NULL. */
static Function running = NULL;

static void
call_input(void *arg)
{
	Call	   *call = arg;

	call->good = InputFunctionCallSafe_compat(&call->type->input, call->text,
											  call->type->ioparam,
											  call->type->typmod,
											  &call->value);
}

static void
call_domain_check(void *arg)
{
	Call	   *call = arg;

	call->good = domain_check_safe_compat(call->value, call->isnull,
										  call->type->typid,
										  &call->type->domain,
										  call->type->context);
}

bool
mm_input_may_be_refusal(int sqlstate)
{
	switch (sqlstate)
	{
		case ERRCODE_DATA_CORRUPTED:
		case ERRCODE_INDEX_CORRUPTED:
		case ERRCODE_INSUFFICIENT_PRIVILEGE:
		case ERRCODE_UNDEFINED_FUNCTION:
		case ERRCODE_UNDEFINED_COLUMN:
			return false;
	}
	switch (ERRCODE_TO_CATEGORY(sqlstate))
	{
		case ERRCODE_CONNECTION_EXCEPTION:
		case ERRCODE_INVALID_TRANSACTION_STATE:
		case ERRCODE_INVALID_SCHEMA_NAME:
		case ERRCODE_TRANSACTION_ROLLBACK:
		case ERRCODE_INSUFFICIENT_RESOURCES:
		case ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE:
		case ERRCODE_OPERATOR_INTERVENTION:
		case ERRCODE_SYSTEM_ERROR:
			return false;
		default:
			return true;
	}
}

/* Input functions also complain of names that do not exist (regprocedure). */
static bool
is_refusal(Function function, int sqlstate)
{
	return mm_input_may_be_refusal(sqlstate) ||
		(function == call_input && (sqlstate == ERRCODE_UNDEFINED_FUNCTION ||
									sqlstate == ERRCODE_UNDEFINED_COLUMN ||
									sqlstate == ERRCODE_UNDEFINED_SCHEMA));
}

bool
mm_input_raised(int sqlstate)
{
	Function	function = running;

	running = NULL;
	return function != NULL && is_refusal(function, sqlstate);
}

/* False: it raised.  Other errors than refusals are raised again. */
static bool
run_in_savepoint(Function function, Call *call)
{
	ErrorData  *error = mm_savepoint_run(function, call, true);

	if (error == NULL)
		return true;
	if (!is_refusal(function, error->sqlerrcode))
		ReThrowError(error);
	FreeErrorData(error);
	return false;
}

/* False: the value is refused. */
static bool
run(Function function, Call *call)
{
	if (call->type->careful)
		return run_in_savepoint(function, call) && call->good;
	running = function;
	function(call);
	running = NULL;
	return call->good;
}

static bool
read_input(MmValueType *type, char *text, Datum *result)
{
	Call		call = {.type = type, .text = text};

	if (!run(call_input, &call))
		return false;
	*result = call.value;
	return true;
}

/* The text without blanks around it, in small letters of ASCII. */
static char *
plain_text(const char *text)
{
	const char *start = skip_space(text);
	size_t		len = strlen(start);

	while (len > 0 && isspace((unsigned char) start[len - 1]))
		len--;
	return asc_tolower(start, len);
}

/* How many digits of a fraction of this unit of an interval are kept. */
static int
unit_precision(const char *text, const char *unit)
{
	static const struct
	{
		const char *prefix;
		int			digits;
	}			units[] = {
		{"mon", 0}, {"y", 0}, {"dec", 0}, {"c", 0}, {"q", 0},
		{"millis", 3}, {"ms", 3}, {"mil", 0}, {"mic", 0}, {"us", 0}
	};

	for (int i = 0; i < lengthof(units); i++)
		if (pg_strncasecmp(unit, units[i].prefix,
						   strlen(units[i].prefix)) == 0)
			return units[i].digits;
	/* ISO 8601: months, unless behind the T */
	if (*unit == 'M' && *skip_space(text) == 'P' &&
		memchr(text, 'T', unit - text) == NULL)
		return 0;
	return MAX_TIME_PRECISION;
}

/*
 * Times of day and intervals: does the type keep all digits?  Fractions of
 * months and more would be rounded to months.
 */
static bool
keeps_digits(const MmValueType *type, const char *text)
{
	int			most = type->typmod < 0 ? MAX_TIME_PRECISION :
		Min(type->typmod & 0xffff, MAX_TIME_PRECISION);

	for (const char *p = strchr(text, '.'); p != NULL; p = strchr(p, '.'))
	{
		int			digits;
		const char *stop = skip_digits(++p, &digits);

		for (int i = Min(most, unit_precision(text, skip_space(stop)));
			 i < digits; i++)
			if (p[i] != '0')
				return false;
		p = stop;
	}
	return true;
}

/* hh:mm[:ss[.s...]] [am|pm], in which no second is the 60th; its end. */
static const char *
skip_time(const char *text)
{
	int			hours,
				minutes,
				seconds;
	const char *p = skip_digits(text, &hours);

	if (hours < 1 || hours > 2 || *p != ':')
		return NULL;
	p = skip_digits(p + 1, &minutes);
	if (minutes != 2)
		return NULL;
	if (*p == ':')
	{
		p = skip_digits(p + 1, &seconds);
		if (seconds != 2 || strncmp(p - 2, "60", 2) == 0)
			return NULL;
		if (*p == '.')
			p = skip_digits(p + 1, &seconds);
	}
	text = skip_space(p);
	if (pg_strncasecmp(text, "am", 2) == 0 || pg_strncasecmp(text, "pm", 2) == 0)
		return text + 2;
	return p;
}

/* Z, +hh, +hhmm or +hh:mm; its end. */
static const char *
skip_zone(const char *text)
{
	int			digits;

	text = skip_space(text);
	if (*text == 'Z' || *text == 'z')
		return text + 1;
	if (*text != '+' && *text != '-')
		return text;
	text = skip_digits(text + 1, &digits);
	if (*text == ':')
		text = skip_digits(text + 1, &digits);
	return text;
}

/*
 * The input functions of time and timetz take a date, a zone by name and
 * "now", too, and drop or compute what the type does not hold.
 */
static bool
is_time_of_day(const MmValueType *type, const char *text)
{
	const char *end = skip_time(skip_space(text));

	if (end != NULL && type->typid == TIMETZOID)
		end = skip_zone(end);
	return end != NULL && *skip_space(end) == '\0' &&
		keeps_digits(type, text);
}

/* Behind the hours of an interval: ":minutes[:seconds[.fraction]]"; its end. */
static const char *
skip_clock(const char *text)
{
	int			digits;

	for (int parts = 0; *text == ':' && parts < 2; parts++)
	{
		text = skip_digits(text + 1, &digits);
		if (digits == 0)
			return NULL;
	}
	return *text == '.' ? skip_digits(text + 1, &digits) : text;
}

/* "[sign]digits:", the beginning of a time? */
static bool
is_clock(const char *text)
{
	int			digits;

	text = skip_digits(text + (*text == '+' || *text == '-'), &digits);
	return digits > 0 && *text == ':';
}

/*
 * A part of an interval: a time, years and months ("1-2"), or a number and its
 * unit, which are days before a time ("3 4:05:06"); its end.
 */
static const char *
skip_span(const char *text)
{
	int			digits;
	int			more = 0;
	const char *unit;

	text = skip_digits(text + (*text == '+' || *text == '-'), &digits);
	if (*text == ':')
		return digits > 0 ? skip_clock(text) : NULL;
	if (*text == '-')
	{
		text = skip_digits(text + 1, &more);
		return digits > 0 && more > 0 ? text : NULL;
	}
	if (*text == '.')
		text = skip_digits(text + 1, &more);
	unit = skip_space(text);
	if (digits + more == 0 || (unit > text && is_clock(unit)))
		return digits > 0 && more == 0 ? unit : NULL;
	if (!isalpha((unsigned char) *unit))
		return NULL;
	while (isalpha((unsigned char) *unit))
		unit++;
	return unit;
}

/*
 * The server passes over other characters than these, takes a number without
 * a unit for seconds, and "3-5 days" for years and months.
 */
static bool
is_span_of_time(const char *text)
{
	text = skip_space(text);
	if (is_special_number(text))
		return true;			/* infinity, since 17 */
	if (*text == 'P')
		return text[strspn(text, "PYMWDTHS0123456789.:+-")] == '\0';
	text = skip_space(text + (*text == '@'));
	do
	{
		text = skip_span(text);
		if (text == NULL)
			return false;
		text = skip_space(text);
		text = skip_space(text + (*text == ','));
		if (pg_strncasecmp(text, "ago", 3) == 0)
			text = skip_space(text + 3);
	} while (*text != '\0');
	return true;
}

/* A type like "interval year to month" cuts what is below its fields. */
static bool
is_whole_interval(MmValueType *type, char *text, Datum value)
{
	MmValueType wide = *type;
	const Interval *is = DatumGetIntervalP(value);
	const Interval *whole;
	Datum		all;

	if (!keeps_digits(type, text))
		return false;
	if (type->typmod < 0)
		return true;
	wide.typmod = -1;
	if (!read_input(&wide, text, &all))
		return false;
	whole = DatumGetIntervalP(all);
	return is->month == whole->month && is->day == whole->day &&
		is->time == whole->time;
}

/*
 * Many input functions cut, round or rewrite without a word.  What the type
 * makes of the text must be the text again; only times may be written in
 * other ways, but with no more digits than they keep.
 */
MmFit
mm_input_call(MmValueType *type, char *text, Datum *result)
{
	char	   *again;

	if (type->typid == INTERVALOID && !is_span_of_time(text))
		return MM_FIT_TYPE;
	if (!read_input(type, text, result))
		return MM_FIT_REFUSED;
	if (type->typid == TIMEOID || type->typid == TIMETZOID)
		return is_time_of_day(type, text) ? MM_FIT_GOOD : MM_FIT_INEXACT;
	if (type->typid == INTERVALOID)
		return is_whole_interval(type, text, *result) ?
			MM_FIT_GOOD : MM_FIT_INEXACT;
	again = OutputFunctionCall(&type->output, *result);
	return strcmp(plain_text(text), plain_text(again)) == 0 ?
		MM_FIT_GOOD : MM_FIT_INEXACT;
}

/* Do the constraints of the domain hold? */
MmFit
mm_input_domain(MmValueType *type, Datum value, bool isnull)
{
	Call		call = {.type = type, .value = value, .isnull = isnull};

	return run(call_domain_check, &call) ? MM_FIT_GOOD : MM_FIT_REFUSED;
}
