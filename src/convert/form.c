/*-------------------------------------------------------------------------
 *
 * form.c
 *	  The digits and letters of BSON scalars, shared by all text forms.
 *
 * Functions that take a buffer return it, ended by NUL.  Doubles are written
 * with the fewest digits that read back as the same double, and become
 * numerics by these digits: the server's own cast keeps 15 only.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>
#include <bson/bson.h>

#include "common/base64.h"
#include "common/shortest_dec.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/timestamp.h"

#include "convert/form.h"
#include "convert/number.h"

#define MS_PER_DAY (INT64CONST(86400000))

const char	mm_form_hex[256][3] = {
	"00", "01", "02", "03", "04", "05", "06", "07",
	"08", "09", "0a", "0b", "0c", "0d", "0e", "0f",
	"10", "11", "12", "13", "14", "15", "16", "17",
	"18", "19", "1a", "1b", "1c", "1d", "1e", "1f",
	"20", "21", "22", "23", "24", "25", "26", "27",
	"28", "29", "2a", "2b", "2c", "2d", "2e", "2f",
	"30", "31", "32", "33", "34", "35", "36", "37",
	"38", "39", "3a", "3b", "3c", "3d", "3e", "3f",
	"40", "41", "42", "43", "44", "45", "46", "47",
	"48", "49", "4a", "4b", "4c", "4d", "4e", "4f",
	"50", "51", "52", "53", "54", "55", "56", "57",
	"58", "59", "5a", "5b", "5c", "5d", "5e", "5f",
	"60", "61", "62", "63", "64", "65", "66", "67",
	"68", "69", "6a", "6b", "6c", "6d", "6e", "6f",
	"70", "71", "72", "73", "74", "75", "76", "77",
	"78", "79", "7a", "7b", "7c", "7d", "7e", "7f",
	"80", "81", "82", "83", "84", "85", "86", "87",
	"88", "89", "8a", "8b", "8c", "8d", "8e", "8f",
	"90", "91", "92", "93", "94", "95", "96", "97",
	"98", "99", "9a", "9b", "9c", "9d", "9e", "9f",
	"a0", "a1", "a2", "a3", "a4", "a5", "a6", "a7",
	"a8", "a9", "aa", "ab", "ac", "ad", "ae", "af",
	"b0", "b1", "b2", "b3", "b4", "b5", "b6", "b7",
	"b8", "b9", "ba", "bb", "bc", "bd", "be", "bf",
	"c0", "c1", "c2", "c3", "c4", "c5", "c6", "c7",
	"c8", "c9", "ca", "cb", "cc", "cd", "ce", "cf",
	"d0", "d1", "d2", "d3", "d4", "d5", "d6", "d7",
	"d8", "d9", "da", "db", "dc", "dd", "de", "df",
	"e0", "e1", "e2", "e3", "e4", "e5", "e6", "e7",
	"e8", "e9", "ea", "eb", "ec", "ed", "ee", "ef",
	"f0", "f1", "f2", "f3", "f4", "f5", "f6", "f7",
	"f8", "f9", "fa", "fb", "fc", "fd", "fe", "ff"
};

static char *
append_hex(char *out, const uint8 *bytes, int n)
{
	for (int i = 0; i < n; i++, out += 2)
		memcpy(out, mm_form_hex[bytes[i]], 2);
	return out;
}

char *
mm_form_object_id(const uint8 *oid, char *buffer)
{
	mm_form_object_id_digits(oid, buffer);
	buffer[2 * MM_OBJECT_ID_LEN] = '\0';
	return buffer;
}

/* 8-4-4-4-12 digits */
char *
mm_form_uuid(const uint8 *uuid, char *buffer)
{
	char	   *out = append_hex(buffer, uuid, 4);

	for (int i = 4; i < 10; i += 2)
	{
		*out++ = '-';
		out = append_hex(out, uuid + i, 2);
	}
	*out++ = '-';
	out = append_hex(out, uuid + 10, 6);
	*out = '\0';
	return buffer;
}

static char *
append_digits(char *out, int v, int n)
{
	for (int i = n - 1; i >= 0; i--, v /= 10)
		out[i] = '0' + v % 10;
	return out + n;
}

/* ISO 8601 in UTC; from MM_DATE_YEAR_1 to MM_DATE_YEAR_9999. */
char *
mm_form_date(int64 ms, MmFormMillis millis, char *buffer)
{
	int64		day = ms / MS_PER_DAY;
	int			rest = ms % MS_PER_DAY;
	char	   *out = buffer;
	int			y,
				m,
				d;

	Assert(ms >= MM_DATE_YEAR_1 && ms <= MM_DATE_YEAR_9999);
	if (rest < 0)
	{
		rest += MS_PER_DAY;
		day--;
	}
	j2date(day + UNIX_EPOCH_JDATE, &y, &m, &d);
	out = append_digits(out, y, 4);
	*out++ = '-';
	out = append_digits(out, m, 2);
	*out++ = '-';
	out = append_digits(out, d, 2);
	*out++ = 'T';
	out = append_digits(out, rest / 3600000, 2);
	*out++ = ':';
	out = append_digits(out, rest / 60000 % 60, 2);
	*out++ = ':';
	out = append_digits(out, rest / 1000 % 60, 2);
	if (millis == MM_MILLIS_ALWAYS || rest % 1000 != 0)
	{
		*out++ = '.';
		out = append_digits(out, rest % 1000, 3);
	}
	*out++ = 'Z';
	*out = '\0';
	return buffer;
}

bool
mm_form_is_minus_zero(double v)
{
	return v == 0 && signbit(v);
}

/* "1", "0.1", "1e+16", "-0", "NaN", "Infinity" */
char *
mm_form_double(double v, char *buffer)
{
	StaticAssertStmt(DOUBLE_SHORTEST_DECIMAL_LEN + 2 <= MM_FORM_DOUBLE,
					 "no room for the digits of a double");
	double_to_shortest_decimal_buf(v, buffer);
	return buffer;
}

/* The same, and a whole number shows that it is a double: "1.0". */
char *
mm_form_double_with_point(double v, char *buffer)
{
	mm_form_double(v, buffer);
	if (isfinite(v) && strpbrk(buffer, ".e") == NULL)
		strcat(buffer, ".0");
	return buffer;
}

/*
 * A coefficient of more than 34 digits stands for zero (IEEE 754-2008, 3.5.2),
 * and is that for MongoDB.  libbson knows it of those that have two bits in
 * front of the exponent, and of the others writes the digits.
 */
static void
clear_large_coefficient(bson_decimal128_t *dec)
{
	const uint64 form = UINT64CONST(0x6000000000000000);
	const uint64 mask = UINT64CONST(0x0001ffffffffffff);
	const uint64 max_high = UINT64CONST(0x0001ed09bead87c0);	/* 10^34 - 1 */
	const uint64 max_low = UINT64CONST(0x378d8e63ffffffff);
	uint64		high = dec->high & mask;

	if ((dec->high & form) != form &&
		(high > max_high || (high == max_high && dec->low > max_low)))
	{
		dec->high &= ~mask;
		dec->low = 0;
	}
}

/* As MongoDB prints it: "0.10", "1E+3", "-0", "NaN", "Infinity". */
char *
mm_form_decimal(const uint8 *decimal, char *buffer)
{
	bson_decimal128_t dec;

	StaticAssertStmt(BSON_DECIMAL128_STRING <= MM_FORM_DECIMAL,
					 "no room for the digits of a decimal");
	dec.low = mm_walk_uint64(decimal);
	dec.high = mm_walk_uint64(decimal + 8);
	clear_large_coefficient(&dec);
	bson_decimal128_to_string(&dec, buffer);
	return buffer;
}

bool
mm_form_decimal_is_finite(const char *digits)
{
	if (*digits == '-')
		digits++;
	return *digits >= '0' && *digits <= '9';
}

/* Zero has a sign in a decimal128, and none in a numeric. */
bool
mm_form_decimal_is_minus_zero(const char *digits)
{
	size_t		mantissa = strcspn(digits, "E");

	return *digits == '-' && strspn(digits + 1, "0.") == mantissa - 1;
}

/* void *, as the type of the bytes differs between majors. */
char *
mm_form_base64(const uint8 *data, uint32 len)
{
	int			size = pg_b64_enc_len(len);
	char	   *result = palloc(size + 1);
	int			n = pg_b64_encode((const void *) data, len, result, size);

	Assert(n >= 0);
	result[n] = '\0';
	return result;
}

/*
 * Digits that numeric_in() takes without fail: a number of at most 34
 * digits and an exponent within those of decimal128, or a special value.
 */
Numeric
mm_form_text_numeric(const char *digits)
{
	return DatumGetNumeric(DirectFunctionCall3(numeric_in,
											   CStringGetDatum(digits),
											   ObjectIdGetDatum(InvalidOid),
											   Int32GetDatum(-1)));
}

/* A double by its shortest digits. */
Numeric
mm_form_double_numeric(double v)
{
	char		buffer[MM_FORM_DOUBLE];
	MmNumber	number;
	char	   *numeric;

	if (!isfinite(v))
		return mm_form_text_numeric(mm_form_double(v, buffer));
	mm_number_from_double(v, &number);
	numeric = palloc(MM_NUMBER_MAX);
	(void) mm_number_write(&number, numeric);
	return (Numeric) numeric;
}
