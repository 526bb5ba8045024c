/*-------------------------------------------------------------------------
 *
 * number.c
 *	  Numbers in the form in which the server stores a numeric.
 *
 * A stored numeric is a varlena of four parts: the length word; a header of
 * 16 bits; in the long form, 16 bits of weight; the digits.  The digits are
 * groups of four decimal ones, each group an int16 from 0 to 9999, the most
 * significant first; groups that are zero are left out at both ends.  The
 * weight says where the first group stands: 0 is the group before the point,
 * 1 the one in front of it, -1 the first one behind the point.  The number of
 * digits to show behind the point is stored apart, so that 1.50 keeps its
 * last digit although it has the groups of 1.5.
 *
 *	  short header	1 0 S D D D D D D W W W W W W W
 *	  long header	0 S D D D D D D D D D D D D D D
 *
 * S is the sign (1 is negative), D the digits to show, W the weight in two's
 * complement.  The short form is a must where shown and weight have room in
 * it; a weight that is too small for it comes with too many digits to show.
 * Zero has no groups, weight 0 and no sign.  All this is what numeric.c of the
 * server reads and writes, in the byte order of the machine; the tests compare
 * the bytes with those that the server makes.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>

#include "utils/array.h"		/* for SET_VARSIZE(), in any major */

#include "convert/form.h"
#include "convert/number.h"

#define GROUPS_MAX 6

#define SHORT_FORM 0x8000
#define SHORT_NEGATIVE 0x2000
#define SHORT_SHOWN_SHIFT 7
#define SHORT_SHOWN_MAX 63
#define SHORT_WEIGHT_MASK 0x7f
#define SHORT_WEIGHT_MAX 63
#define LONG_NEGATIVE 0x4000

#define DECIMAL_BIAS 6176		/* of the exponent of a decimal128 */

/*
 * Doubles that are a decimal number with four digits behind the point and at
 * most 15 in all, like prices.  No two numbers of at most 15 digits are the
 * same double, so that what gives v here is its shortest form too, but for
 * zeros at the end, which are not shown.  v is not negative.
 */
static inline bool
find_few_digits(double v, MmNumber *number)
{
	double		scaled = v * 10000;
	uint64		rest;

	if (scaled >= 1e15)
		return false;
	rest = number->digits = (uint64) (scaled + 0.5);
	if ((double) number->digits / 10000 != v)
		return false;
	number->scale = number->shown = 4;
	for (; number->shown > 0 && rest % 10 == 0; rest /= 10)
		number->shown--;
	return true;
}

/* Reads "1", "0.1", "1e+16"; at most 17 digits. */
static void
parse_digits(const char *p, MmNumber *number)
{
	bool		point = false;

	number->digits = 0;
	number->scale = 0;
	for (; *p != '\0' && *p != 'e'; p++)
	{
		if (*p == '.')
		{
			point = true;
			continue;
		}
		number->digits = number->digits * 10 + (*p - '0');
		number->scale += point;
	}
	if (*p == 'e')
		number->scale -= atoi(p + 1);
	number->shown = Max(number->scale, 0);
}

/* A finite double by its shortest digits; minus zero becomes zero. */
void
mm_number_from_double(double v, MmNumber *number)
{
	char		buffer[MM_FORM_DOUBLE];

	number->negative = v < 0;
	v = fabs(v);
	if (!find_few_digits(v, number))
		parse_digits(mm_form_double(v, buffer), number);
}

/*
 * A decimal128 (IEEE 754-2008, binary coefficient), if it is finite and no
 * zero, and its coefficient has room in 64 bits, as most have.  Else false.
 */
bool
mm_number_from_decimal(const uint8 *decimal, MmNumber *number)
{
	uint64		low = mm_walk_uint64(decimal);
	uint64		high = mm_walk_uint64(decimal + 8);

	/* 1 bit of sign, 14 of exponent unless it begins with 11, coefficient */
	if ((high & UINT64CONST(0x6000000000000000)) ==
		UINT64CONST(0x6000000000000000) ||
		(high & UINT64CONST(0x0001ffffffffffff)) != 0 ||
		low == 0)
		return false;
	number->negative = (high >> 63) != 0;
	number->digits = low;
	number->scale = DECIMAL_BIAS - (int) ((high >> 49) & 0x3fff);
	number->shown = Max(number->scale, 0);
	return true;
}

/*
 * Splits into groups, the least significant first, without those at the end
 * that are zero.  Returns how many; *weight is that of the last one.
 */
static inline int
make_groups(const MmNumber *number, uint16 *groups, int *weight)
{
	static const uint16 power[] = {1, 10, 100, 1000, 10000};
	uint64		digits = number->digits;
	int			scale = number->scale;
	int			partial = scale & 3;	/* digits in the lowest group, or 0 */
	int			behind = scale > 0 ? (scale + 3) / 4 : -(-scale / 4);
	int			n = 0;

	if (partial != 0)
	{
		groups[0] = digits % power[partial] * power[4 - partial];
		digits /= power[partial];
		if (groups[0] != 0)
			n++;
		else
			behind--;
	}
	for (; digits != 0; digits /= 10000)
	{
		groups[n] = digits % 10000;
		if (n > 0 || groups[n] != 0)
			n++;
		else
			behind--;
	}
	Assert(n <= GROUPS_MAX);
	*weight = n - 1 - behind;
	return n;
}

/* The header of a short form with nothing behind the point. */
static inline uint16
integer_header(bool negative, int weight)
{
	return SHORT_FORM | (negative ? SHORT_NEGATIVE : 0) | weight;
}

static inline uint32
end_number(char *out, const uint16 *end)
{
	uint32		len = (const char *) end - out;

	SET_VARSIZE(out, len);
	return len;
}

uint32
mm_number_write(const MmNumber *number, char *out)
{
	uint16		groups[GROUPS_MAX];
	int			weight;
	int			n = make_groups(number, groups, &weight);
	uint16	   *p = (uint16 *) (out + VARHDRSZ);
	bool		negative = n > 0 && number->negative;

	if (n == 0)
		weight = 0;
	if (number->shown <= SHORT_SHOWN_MAX && weight <= SHORT_WEIGHT_MAX)
		*p++ = integer_header(negative, weight & SHORT_WEIGHT_MASK) |
			number->shown << SHORT_SHOWN_SHIFT;
	else
	{
		*p++ = (negative ? LONG_NEGATIVE : 0) | number->shown;
		*p++ = (uint16) weight;
	}
	while (n > 0)
		*p++ = groups[--n];
	return end_number(out, p);
}

/* Most have one group or two. */
uint32
mm_number_write_integer(int64 v, char *out)
{
	uint64		digits = v < 0 ? -(uint64) v : (uint64) v;
	uint16	   *p = (uint16 *) (out + VARHDRSZ);

	if (digits >= 100000000)
	{
		MmNumber	number = {digits, .negative = v < 0};

		return mm_number_write(&number, out);
	}
	*p++ = integer_header(v < 0, digits >= 10000);
	if (digits >= 10000)
		*p++ = digits / 10000;
	if (digits % 10000 != 0)
		*p++ = digits % 10000;
	return end_number(out, p);
}
