/*-------------------------------------------------------------------------
 *
 * random.c
 *	  Random BSON documents, valid ones.
 *
 * What is worth a test comes often: keys that collide, numbers and lengths at
 * the edges of their ranges, containers around JB_OFFSET_STRIDE entries, text
 * that is none (in dirty documents).  A document depends on the seed and on
 * its number alone.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>

#include "convert/form.h"
#include "convert/walk.h"
#include "mm_test.h"

#define DEPTH_MAX 4
#define DEEP MM_WALK_MAX_DEPTH	/* levels of the deep ones, at most */

static void put_members(Random *r, StringInfo out, int depth, uint32 n,
						bool array);

/* ---------------------------------------------------------------------
 * Numbers (splitmix64)
 * ---------------------------------------------------------------------
 */

uint64
random_bits(Random *r)
{
	uint64		z = (r->state += UINT64CONST(0x9e3779b97f4a7c15));

	z = (z ^ (z >> 30)) * UINT64CONST(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64CONST(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

uint32
random_below(Random *r, uint32 n)
{
	return random_bits(r) % n;
}

static bool
one_in(Random *r, uint32 n)
{
	return random_below(r, n) == 0;
}

/* Small ones are as frequent as large ones. */
static uint64
random_width(Random *r)
{
	return random_bits(r) >> random_below(r, 64);
}

void
random_begin(Random *r, int64 seed, int64 number)
{
	r->state = (uint64) seed * UINT64CONST(0x2545f4914f6cdd1d) +
		(uint64) number;
	r->state = random_bits(r);
	r->dirty = one_in(r, 4);
}

/* ---------------------------------------------------------------------
 * Bytes
 * ---------------------------------------------------------------------
 */

static void
put_byte(StringInfo out, uint8 v)
{
	appendBinaryStringInfo(out, (const char *) &v, 1);
}

/* BSON is little-endian. */
void
set_uint32(StringInfo out, int at, uint32 v)
{
#ifdef WORDS_BIGENDIAN
	v = pg_bswap32(v);
#endif
	memcpy(out->data + at, &v, sizeof(v));
}

void
put_uint32(StringInfo out, uint32 v)
{
	enlargeStringInfo(out, sizeof(v));
	set_uint32(out, out->len, v);
	out->len += sizeof(v);
}

static void
put_uint64(StringInfo out, uint64 v)
{
#ifdef WORDS_BIGENDIAN
	v = pg_bswap64(v);
#endif
	appendBinaryStringInfo(out, (const char *) &v, sizeof(v));
}

static void
put_random_bytes(Random *r, StringInfo out, uint32 n)
{
	while (n-- > 0)
		put_byte(out, random_bits(r));
}

/* ---------------------------------------------------------------------
 * Text
 * ---------------------------------------------------------------------
 */

static const char *const letters[] = {
	"a", "b", "Z", "0", " ", ".", "\"", "\\", "/", "\n", "\x01", "\x7f",
	"\xc3\xa9", "\xc2\x80", "\xe2\x82\xac", "\xef\xbf\xbd", "\xed\x9f\xbf",
	"\xf0\x9f\x98\x80", "\xf4\x8f\xbf\xbf"
};

/* Lone and cut bytes, overlong forms, surrogates, beyond U+10FFFF. */
static const char *const no_letters[] = {
	"\x80", "\xbf", "\xc3", "\xe2\x82", "\xf0\x9f\x98", "\xc0\x80",
	"\xe0\x80\x80", "\xf0\x80\x80\x80", "\xed\xa0\x80", "\xed\xbf\xbf",
	"\xf4\x90\x80\x80", "\xf8\x88\x80\x80\x80", "\xfe", "\xff"
};

static uint32
random_length(Random *r)
{
	if (one_in(r, 200))
		return random_below(r, 3000);
	return random_below(r, one_in(r, 4) ? 80 : 12);
}

static void
put_one_of(Random *r, StringInfo out, const char *const *list, uint32 n)
{
	appendStringInfoString(out, list[random_below(r, n)]);
}

/* NUL only where there is a length word. */
static void
put_text(Random *r, StringInfo out, uint32 letters_wanted, bool nul)
{
	bool		ascii = one_in(r, 2);

	for (uint32 i = 0; i < letters_wanted; i++)
	{
		if (r->dirty && one_in(r, 40))
			put_one_of(r, out, no_letters, lengthof(no_letters));
		else if (r->dirty && nul && one_in(r, 60))
			put_byte(out, 0);
		else
			put_one_of(r, out, letters, ascii ? 5 : lengthof(letters));
	}
}

static void
put_string(Random *r, StringInfo out)
{
	int			at = out->len;

	put_uint32(out, 0);
	put_text(r, out, random_length(r), true);
	put_byte(out, 0);
	set_uint32(out, at, out->len - at - 4);
}

static void
put_cstring(Random *r, StringInfo out)
{
	put_text(r, out, random_length(r), false);
	put_byte(out, 0);
}

static void
put_key(Random *r, StringInfo out, uint32 index, bool array)
{
	static const char *const names[] = {
		"", "a", "b", "c", "aa", "ab", "ba", "abc", "abd", "abcd", "abce",
		"abcdefg", "abcdefgh", "abcdefgi", "bbcdefgh", "abcdefghi",
		"abcdefghj", "customerId", "customerNo", "_id", "text", "long",
		"double", "flag", "when", "doc", "id", "n", "a.b", "\xc3\xa9"
	};

	if (array && !one_in(r, 10))
		appendStringInfo(out, "%u", index);
	else if (one_in(r, 4))
		appendStringInfo(out, "key%u", random_below(r, 200));
	else if (one_in(r, 12))
	{
		put_cstring(r, out);
		return;
	}
	else
		put_one_of(r, out, names, lengthof(names));
	put_byte(out, 0);
}

/* ---------------------------------------------------------------------
 * Values
 * ---------------------------------------------------------------------
 */

static int64
random_integer(Random *r)
{
	static const int64 edges[] = {
		0, 1, -1, 9999, 10000, 99999999, 100000000, PG_INT32_MAX,
		PG_INT32_MIN, PG_INT64_MAX, PG_INT64_MIN, INT64CONST(9007199254740993),
		INT64CONST(1000000000000000000)
	};
	int64		v;

	if (one_in(r, 3))
		return edges[random_below(r, lengthof(edges))];
	v = (int64) (random_width(r) >> 1);
	return one_in(r, 2) ? -v : v;
}

static double
random_double(Random *r)
{
	static const double edges[] = {
		0.0, -0.0, 1.0, 0.1, 1e15, 1e16, 1e17, 1e21, 1e22, 1e23, 1e-4, 1e-5,
		5e-324, 2.2250738585072014e-308, 1.7976931348623157e308,
		99999999999.9999, 100000000000.0001, 9007199254740993.0,
		0.30000000000000004, INFINITY, -INFINITY, NAN
	};
	uint64		bits = random_bits(r);
	double		v;

	switch (random_below(r, 7))
	{
		case 0:
			v = edges[random_below(r, lengthof(edges))];
			break;
		case 1:
			memcpy(&v, &bits, sizeof(v));
			break;
		case 2:
			v = (double) random_below(r, 10000000) / 100;
			break;
		case 3:
			v = (double) (random_width(r) >> 11) /
				pow(10, random_below(r, 23));
			break;
		case 4:
			v = (double) random_width(r);
			break;
		case 5:
			v = ldexp((double) (bits >> 11), -(int) random_below(r, 1074));
			break;
		default:
			v = (double) random_width(r) * pow(10, random_below(r, 290));
			break;
	}
	return one_in(r, 3) ? -v : v;
}

static void
put_decimal(Random *r, StringInfo out)
{
	uint64		high = 0;
	uint64		low = random_width(r);

	switch (random_below(r, 6))
	{
		case 0:					/* anything, special values among it */
			high = random_bits(r);
			break;
		case 1:					/* the largest coefficient */
			high = UINT64CONST(0x0001ed09bead87c0);
			low = UINT64CONST(0x378d8e63ffffffff) + random_below(r, 2);
			break;
		case 2:
			high = random_bits(r) >> (15 + random_below(r, 49));
			break;
		case 3:
			low = one_in(r, 2) ? 0 : UINT64CONST(9999999999999999999) +
				random_below(r, 2);
			break;
		default:
			break;
	}
	if (one_in(r, 3))			/* any exponent, else a usual one */
		high ^= (uint64) random_below(r, 3 << 12) << 49;
	else
		high ^= (uint64) (6176 - 20 + random_below(r, 30)) << 49;
	if (one_in(r, 3))
		high ^= UINT64CONST(1) << 63;
	put_uint64(out, low);
	put_uint64(out, high);
}

static int64
random_date(Random *r)
{
	static const int64 edges[] = {
		0, -1, 1, 999, 1000, MM_DATE_YEAR_1, MM_DATE_YEAR_9999,
		MM_DATE_YEAR_1 - 1, MM_DATE_YEAR_9999 + 1, PG_INT64_MIN, PG_INT64_MAX,
		INT64CONST(-210866803200000), INT64CONST(9224318015999999)
	};

	if (one_in(r, 3))
		return edges[random_below(r, lengthof(edges))];
	if (one_in(r, 3))
		return random_integer(r);
	return INT64CONST(1500000000000) + (int64) (random_bits(r) >> 25) -
		(one_in(r, 2) ? INT64CONST(1500000000000) : 0);
}

static void
put_binary(Random *r, StringInfo out)
{
	static const uint8 subtypes[] = {0, 1, 2, 3, 4, 5, 6, 8, 9, 0x80, 0xff};
	uint8		subtype = subtypes[random_below(r, lengthof(subtypes))];
	uint32		len = one_in(r, 2) ? MM_UUID_LEN : random_length(r);

	put_uint32(out, subtype == MM_BINARY_OLD ? len + 4 : len);
	put_byte(out, subtype);
	if (subtype == MM_BINARY_OLD)
		put_uint32(out, len);
	put_random_bytes(r, out, len);
}

/* Every 32nd entry of a container is another one: often around those. */
static uint32
random_count(Random *r)
{
	if (one_in(r, 30))
		return random_below(r, 150);
	if (one_in(r, 15))
		return 16 * (1 + random_below(r, 4)) - 1 + random_below(r, 3);
	return random_below(r, 6);
}

static void
put_document(Random *r, StringInfo out, int depth, bool array)
{
	uint32		n = random_count(r);

	put_members(r, out, depth + 1, depth < DEPTH_MAX ? n : Min(n, 2), array);
}

static void
put_code_with_scope(Random *r, StringInfo out, int depth)
{
	int			at = out->len;

	put_uint32(out, 0);
	put_string(r, out);
	put_document(r, out, depth, false);
	set_uint32(out, at, out->len - at);
}

static void
put_value(Random *r, StringInfo out, uint8 type, int depth)
{
	switch ((MmBsonType) type)
	{
		case MM_BSON_DOUBLE:
			{
				double		v = random_double(r);
				uint64		bits;

				memcpy(&bits, &v, sizeof(bits));
				put_uint64(out, bits);
				return;
			}
		case MM_BSON_STRING:
		case MM_BSON_CODE:
		case MM_BSON_SYMBOL:
			put_string(r, out);
			return;
		case MM_BSON_OBJECT:
		case MM_BSON_ARRAY:
			put_document(r, out, depth, type == MM_BSON_ARRAY);
			return;
		case MM_BSON_BINARY:
			put_binary(r, out);
			return;
		case MM_BSON_OBJECT_ID:
			put_random_bytes(r, out, MM_OBJECT_ID_LEN);
			return;
		case MM_BSON_BOOL:
			put_byte(out, random_below(r, 2));
			return;
		case MM_BSON_DATE:
			put_uint64(out, random_date(r));
			return;
		case MM_BSON_REGEX:
			put_cstring(r, out);
			put_cstring(r, out);
			return;
		case MM_BSON_DB_POINTER:
			put_string(r, out);
			put_random_bytes(r, out, MM_OBJECT_ID_LEN);
			return;
		case MM_BSON_CODE_WITH_SCOPE:
			put_code_with_scope(r, out, depth);
			return;
		case MM_BSON_INT32:
			put_uint32(out, (uint32) random_integer(r));
			return;
		case MM_BSON_INT64:
		case MM_BSON_TIMESTAMP:
			put_uint64(out, (uint64) random_integer(r));
			return;
		case MM_BSON_DECIMAL:
			put_decimal(r, out);
			return;
		case MM_BSON_NULL:
		case MM_BSON_UNDEFINED:
		case MM_BSON_MIN_KEY:
		case MM_BSON_MAX_KEY:
			return;
	}
}

static uint8
random_type(Random *r)
{
	static const uint8 types[] = {
		MM_BSON_DOUBLE, MM_BSON_STRING, MM_BSON_INT32, MM_BSON_INT64,
		MM_BSON_OBJECT, MM_BSON_ARRAY, MM_BSON_OBJECT_ID, MM_BSON_BOOL,
		MM_BSON_DATE, MM_BSON_DECIMAL, MM_BSON_NULL, MM_BSON_BINARY,
		MM_BSON_UNDEFINED, MM_BSON_REGEX, MM_BSON_DB_POINTER, MM_BSON_CODE,
		MM_BSON_SYMBOL, MM_BSON_CODE_WITH_SCOPE, MM_BSON_TIMESTAMP,
		MM_BSON_MAX_KEY, MM_BSON_MIN_KEY
	};

	/* the first ones are the frequent ones */
	return types[random_below(r, one_in(r, 2) ? 11 : lengthof(types))];
}

static void
put_members(Random *r, StringInfo out, int depth, uint32 n, bool array)
{
	int			at = out->len;

	put_uint32(out, 0);
	for (uint32 i = 0; i < n; i++)
	{
		uint8		type = random_type(r);

		put_byte(out, type);
		if (depth == 1 && i == 0 && !one_in(r, 4))
			appendBinaryStringInfo(out, "_id", sizeof("_id"));
		else
			put_key(r, out, i, array);
		put_value(r, out, type, depth);
	}
	put_byte(out, 0);
	set_uint32(out, at, out->len - at);
}

/* A document in a document, many times. */
static void
put_deep(Random *r, StringInfo out, int levels)
{
	int			at = out->len;

	put_uint32(out, 0);
	if (levels > 0)
	{
		bool		array = one_in(r, 2);

		put_byte(out, array ? MM_BSON_ARRAY : MM_BSON_OBJECT);
		put_key(r, out, 0, false);
		put_deep(r, out, levels - 1);
	}
	put_byte(out, MM_BSON_INT32);
	put_key(r, out, 1, false);
	put_uint32(out, levels);
	put_byte(out, 0);
	set_uint32(out, at, out->len - at);
}

void
random_document(Random *r, StringInfo out)
{
	resetStringInfo(out);
	if (one_in(r, 200))
		put_deep(r, out, random_below(r, DEEP));
	else if (one_in(r, 100))
		put_members(r, out, DEPTH_MAX, random_below(r, 1000), false);
	else
		put_members(r, out, 1, random_below(r, 16), false);
}
