/*-------------------------------------------------------------------------
 *
 * generate_hostile.c
 *	  The shapes hostile and hazards: what collections look like after years;
 *	  and calm, the same without.
 *
 * An ordinary document has an _id of one of five types, fields that may be
 * missing, embedded documents and arrays.  One document in 1000 (in 100, in
 * shape hazards; none, in calm) carries a hazard; they come in turn, hazards[]
 * is their list, so that 110,000 (11,000) documents have each of them at least
 * once.  A hazard stands in for a field of its name, or is added when no field
 * has that name.
 *
 * Rows too big for a page need a thousand columns: these are in shape broad.
 *
 *-------------------------------------------------------------------------
 */
#include "generate.h"

#include <stdlib.h>
#include <string.h>

typedef void (*Writer) (bson_t *doc, const char *key, Random *r, int64_t i);

typedef struct
{
	const char *name;
	Writer		write;
} Field;

#define WRITER(name) \
	static void name(bson_t *doc, const char *key, Random *r, int64_t i)
#define UNUSED() ((void) doc, (void) key, (void) r, (void) i)

/* A writer of one constant: a statement with doc and key. */
#define CONSTANT(name, statement) WRITER(name) { UNUSED(); statement; }

/* ---------------------------------------------------------------------
 * Ordinary fields
 * ---------------------------------------------------------------------
 */

static void
append_document_id(bson_t *doc, const char *key, int64_t i, bool swapped)
{
	bson_t		id;
	char		text[24];

	snprintf(text, sizeof(text), "%" PRId64, i);
	BSON_APPEND_DOCUMENT_BEGIN(doc, key, &id);
	if (!swapped)
		BSON_APPEND_INT64(&id, "shop", i);
	BSON_APPEND_UTF8(&id, "number", text);
	if (swapped)
		BSON_APPEND_INT64(&id, "shop", i);
	bson_append_document_end(doc, &id);
}

/* Five types; the integers are of both widths. */
WRITER(write_id)
{
	char		text[32];

	switch (i % 5)
	{
		case 0:
			append_object_id(doc, key, i);
			break;
		case 1:
			if (i % 2 == 0)
				BSON_APPEND_INT32(doc, key, (int32_t) i);
			else
				BSON_APPEND_INT64(doc, key, INT64_C(1) << 40 | i);
			break;
		case 2:
			snprintf(text, sizeof(text), "key %" PRId64, i);
			BSON_APPEND_UTF8(doc, key, text);
			break;
		case 3:
			append_uuid(doc, key, r);
			break;
		default:
			append_document_id(doc, key, i, false);
			break;
	}
}

WRITER(write_name)
{
	UNUSED();
	append_word(doc, key, r, "Name");
}

WRITER(write_count)
{
	UNUSED();
	BSON_APPEND_INT32(doc, key, (int32_t) below(r, 1000));
}

WRITER(write_account)
{
	UNUSED();
	BSON_APPEND_INT64(doc, key, INT64_C(100000000000) + below(r, 1000000));
}

WRITER(write_amount)
{
	UNUSED();
	BSON_APPEND_DOUBLE(doc, key, fraction(r) * 1000);
}

WRITER(write_price)
{
	char		text[32];

	UNUSED();
	snprintf(text, sizeof(text), "%d.%02d", (int) below(r, 10000),
			 (int) below(r, 100));
	append_decimal_text(doc, key, text);
}

WRITER(write_active)
{
	UNUSED();
	BSON_APPEND_BOOL(doc, key, below(r, 2) == 0);
}

WRITER(write_created)
{
	UNUSED();
	BSON_APPEND_DATE_TIME(doc, key, some_time(r));
}

WRITER(write_token)
{
	UNUSED();
	append_uuid(doc, key, r);
}

/* One in three is null, one in three missing. */
WRITER(write_cancelled)
{
	UNUSED();
	if (i % 3 == 0)
		BSON_APPEND_NULL(doc, key);
	else if (i % 3 == 1)
		BSON_APPEND_DATE_TIME(doc, key, some_time(r));
}

WRITER(write_note)
{
	UNUSED();
	if (below(r, 4) == 0)
		append_word(doc, key, r, "größe");
}

/* Strings, and integers in one of twenty: a text column. */
WRITER(write_code)
{
	UNUSED();
	if (below(r, 20) == 0)
		BSON_APPEND_INT32(doc, key, (int32_t) below(r, 1000));
	else
		append_word(doc, key, r, "code");
}

/* Missing in one of twenty, empty or null now and then. */
WRITER(write_owner)
{
	bson_t		owner;
	bson_t		geo;

	UNUSED();
	if (i % 20 == 7)
		return;
	if (i % 400 == 11)
	{
		BSON_APPEND_NULL(doc, key);
		return;
	}
	BSON_APPEND_DOCUMENT_BEGIN(doc, key, &owner);
	if (i % 400 != 13)
	{
		append_word(&owner, "name", r, "Owner");
		BSON_APPEND_INT32(&owner, "level", (int32_t) below(r, 10));
		if (i % 4 != 0)
			BSON_APPEND_DATE_TIME(&owner, "since", some_time(r));
		BSON_APPEND_DOCUMENT_BEGIN(&owner, "geo", &geo);
		BSON_APPEND_DOUBLE(&geo, "lat", fraction(r) * 180 - 90);
		BSON_APPEND_DOUBLE(&geo, "lon", fraction(r) * 360 - 180);
		bson_append_document_end(&owner, &geo);
	}
	bson_append_document_end(doc, &owner);
}

WRITER(write_tags)
{
	static const char *const tags[] = {"new", "old", "red, \"blue\"", "NULL", ""};
	bson_t		list;

	UNUSED();
	BSON_APPEND_ARRAY_BEGIN(doc, key, &list);
	for (int n = (int) below(r, 4), k = 0; k < n; k++)
		append_one_of(&list, k == 0 ? "0" : k == 1 ? "1" : "2", r, tags, 5);
	bson_append_array_end(doc, &list);
}

WRITER(write_scores)
{
	bson_t		list;

	UNUSED();
	BSON_APPEND_ARRAY_BEGIN(doc, key, &list);
	BSON_APPEND_INT32(&list, "0", (int32_t) below(r, 100));
	BSON_APPEND_INT64(&list, "1", INT64_C(5000000000) + below(r, 100));
	bson_append_array_end(doc, &list);
}

WRITER(write_times)
{
	bson_t		list;

	UNUSED();
	if (i % 2 == 0)
		return;
	BSON_APPEND_ARRAY_BEGIN(doc, key, &list);
	BSON_APPEND_DATE_TIME(&list, "0", some_time(r));
	BSON_APPEND_DATE_TIME(&list, "1", some_time(r));
	bson_append_array_end(doc, &list);
}

WRITER(write_items)
{
	bson_t		list;
	bson_t		item;

	UNUSED();
	BSON_APPEND_ARRAY_BEGIN(doc, key, &list);
	BSON_APPEND_DOCUMENT_BEGIN(&list, "0", &item);
	append_word(&item, "sku", r, "sku");
	BSON_APPEND_INT32(&item, "qty", 1 + (int32_t) below(r, 9));
	bson_append_document_end(&list, &item);
	bson_append_array_end(doc, &list);
}

/* Five names, each in one document of fifty. */
WRITER(write_seldom)
{
	char		name[16];

	UNUSED();
	if (i % 10 != 3)
		return;
	snprintf(name, sizeof(name), "seldom%d", (int) (i / 10 % 5));
	append_word(doc, name, r, "seldom");
}

static const Field fields[] = {
	{"_id", write_id}, {"name", write_name}, {"count", write_count},
	{"account", write_account}, {"amount", write_amount},
	{"price", write_price}, {"active", write_active},
	{"createdAt", write_created}, {"token", write_token},
	{"cancelledAt", write_cancelled}, {"note", write_note},
	{"code", write_code}, {"owner", write_owner}, {"tags", write_tags},
	{"scores", write_scores}, {"times", write_times}, {"items", write_items},
	{"", write_seldom},
};

#define FIELDS ((int) (sizeof(fields) / sizeof(fields[0])))

/* ---------------------------------------------------------------------
 * Hazards
 * ---------------------------------------------------------------------
 */

#define RAW_STRING(name, bytes) \
	CONSTANT(name, bson_append_utf8(doc, key, -1, bytes, sizeof(bytes) - 1))
#define NUMERAL(name, text) CONSTANT(name, append_decimal_text(doc, key, text))
#define REAL(name, value) CONSTANT(name, BSON_APPEND_DOUBLE(doc, key, value))
#define LONG(name, value) CONSTANT(name, BSON_APPEND_INT64(doc, key, value))
#define TIME(name, value) CONSTANT(name, BSON_APPEND_DATE_TIME(doc, key, value))
#define BYTES(name, subtype, bytes) \
	CONSTANT(name, BSON_APPEND_BINARY(doc, key, (bson_subtype_t) (subtype), \
									  (const uint8_t *) bytes, sizeof(bytes) - 1))

/* Text */
RAW_STRING(nul, "a\0b")
RAW_STRING(bad_byte, "a\xff" "b")
RAW_STRING(cut_short, "caf\xc3")
RAW_STRING(overlong, "a\xc0\x80" "b")
RAW_STRING(surrogate, "a\xed\xa0\x80" "b")
RAW_STRING(control, "\x01\t\r\n\\\"\x7f\xe2\x80\xa8")
CONSTANT(no_text, BSON_APPEND_UTF8(doc, key, ""))

WRITER(megabyte)
{
	size_t		length = (size_t) 1 << 20;
	char	   *text = malloc(length);

	UNUSED();
	for (size_t k = 0; k < length; k++)
		text[k] = (char) ('!' + below(r, 90));
	bson_append_utf8(doc, key, -1, text, (int) length);
	free(text);
}

/* Names */
CONSTANT(bad_name, BSON_APPEND_INT32(doc, "caf\xe9", 1))
CONSTANT(dotted_name, BSON_APPEND_INT32(doc, "owner.name", 1))
CONSTANT(dollar_name, BSON_APPEND_INT32(doc, "$price", 1))
CONSTANT(empty_name, BSON_APPEND_INT32(doc, "", 1))
CONSTANT(own_name, BSON_APPEND_INT32(doc, "_extra", 1))
CONSTANT(system_name, BSON_APPEND_INT32(doc, "ctid", 1))
CONSTANT(quoted_name, BSON_APPEND_INT32(doc, "a\"b[0].c", 1))
CONSTANT(long_name, BSON_APPEND_INT32(doc,
	"aNameOfMoreThanSixtyThreeBytesWhichPostgreSQLWouldCutOffSilentlyAtItsEnd", 1))

WRITER(case_twins)
{
	UNUSED();
	BSON_APPEND_INT32(doc, "userId", 1);
	BSON_APPEND_INT32(doc, "user_id", 2);
	BSON_APPEND_INT32(doc, "userID", 3);
}

WRITER(name_twice)
{
	UNUSED();
	BSON_APPEND_INT32(doc, key, 1);
	BSON_APPEND_INT32(doc, key, 2);
}

WRITER(type_twice)
{
	UNUSED();
	BSON_APPEND_INT32(doc, key, 1);
	BSON_APPEND_UTF8(doc, key, "the last one wins");
}

WRITER(nested_name_twice)
{
	bson_t		owner;

	UNUSED();
	BSON_APPEND_DOCUMENT_BEGIN(doc, key, &owner);
	BSON_APPEND_UTF8(&owner, "name", "first");
	BSON_APPEND_INT32(&owner, "level", 1);
	BSON_APPEND_UTF8(&owner, "name", "last");
	BSON_APPEND_INT32(&owner, "unmapped", 1);
	BSON_APPEND_INT32(&owner, "unmapped", 2);
	bson_append_document_end(doc, &owner);
}

WRITER(unknown_name)
{
	char		name[40];

	UNUSED();
	snprintf(name, sizeof(name), "unknown %" PRId64, i);
	BSON_APPEND_DATE_TIME(doc, name, some_time(r));
}

/* Numbers and dates */
NUMERAL(largest_decimal, "9.999999999999999999999999999999999E+6144")
NUMERAL(smallest_decimal, "1E-6176")
NUMERAL(decimal_nan, "NaN")
NUMERAL(decimal_infinity, "-Infinity")
NUMERAL(decimal_minus_zero, "-0")
NUMERAL(decimal_zero, "0E+6111")
REAL(nan_value, 0.0 / 0.0)
REAL(infinity, 1.0 / 0.0)
REAL(minus_infinity, -1.0 / 0.0)
REAL(minus_zero, -0.0)
REAL(smallest_double, 5e-324)
REAL(largest_double, 1.7976931348623157e308)
REAL(whole_double, 9007199254740992.0)
REAL(half, 0.5)
LONG(largest_long, INT64_MAX)
LONG(smallest_long, INT64_MIN)
LONG(odd_long, (INT64_C(1) << 53) + 1)
TIME(last_time, INT64_MAX)
TIME(first_time, INT64_MIN)
TIME(too_late, INT64_C(9224318016000000))
TIME(too_early, INT64_C(-210866803200001))
TIME(just_in_time, INT64_C(9224318015999999))
TIME(before_christ, INT64_C(-210866803200000))

/* Other types than elsewhere in the field */
CONSTANT(number_string, BSON_APPEND_UTF8(doc, key, " 12 "))
CONSTANT(word_string, BSON_APPEND_UTF8(doc, key, "twelve"))
CONSTANT(date_string, BSON_APPEND_UTF8(doc, key, "2026-01-01T10:00:00Z"))
CONSTANT(truth, BSON_APPEND_BOOL(doc, key, true))
CONSTANT(regex, BSON_APPEND_REGEX(doc, key, "^a/\"b", "im"))
CONSTANT(code, BSON_APPEND_CODE(doc, key, "function() {}"))
CONSTANT(symbol, BSON_APPEND_SYMBOL(doc, key, "symbol"))
CONSTANT(timestamp, BSON_APPEND_TIMESTAMP(doc, key, 1700000000, 7))
CONSTANT(min_key, BSON_APPEND_MINKEY(doc, key))
CONSTANT(max_key, BSON_APPEND_MAXKEY(doc, key))
CONSTANT(undefined, BSON_APPEND_UNDEFINED(doc, key))

WRITER(scoped_code)
{
	bson_t		scope = BSON_INITIALIZER;

	UNUSED();
	BSON_APPEND_INT32(&scope, "x", 1);
	BSON_APPEND_CODE_WITH_SCOPE(doc, key, "return x", &scope);
	bson_destroy(&scope);
}

WRITER(db_pointer)
{
	bson_oid_t	oid;

	UNUSED();
	bson_oid_init_from_string(&oid, "65a1f0c2e4b0a1d2c3e4f501");
	BSON_APPEND_DBPOINTER(doc, key, "shop.orders", &oid);
}

WRITER(embedded)
{
	bson_t		inner;

	UNUSED();
	BSON_APPEND_DOCUMENT_BEGIN(doc, key, &inner);
	BSON_APPEND_DATE_TIME(&inner, "when", some_time(r));
	bson_append_document_end(doc, &inner);
}

/* Deeper than most parsers' limit of 100, below MongoDB's of 180. */
static void
append_nested(bson_t *doc, const char *key, int levels)
{
	bson_t		inner;

	BSON_APPEND_DOCUMENT_BEGIN(doc, key, &inner);
	if (levels > 1)
		append_nested(&inner, "a", levels - 1);
	else
		BSON_APPEND_INT32(&inner, "bottom", 1);
	bson_append_document_end(doc, &inner);
}

WRITER(deep)
{
	UNUSED();
	append_nested(doc, key, 150);
}

/* Arrays */
typedef enum
{
	NOTHING, NUMBER, WORD, FRACTION, ARRAY, DOCUMENT
} Odd;

static void
append_odd(bson_t *list, const char *key, Odd odd)
{
	bson_t		inner;

	switch (odd)
	{
		case NOTHING: BSON_APPEND_NULL(list, key); break;
		case NUMBER: BSON_APPEND_INT32(list, key, 5); break;
		case WORD: BSON_APPEND_UTF8(list, key, "five"); break;
		case FRACTION: BSON_APPEND_DOUBLE(list, key, 5.5); break;
		case ARRAY:
			BSON_APPEND_ARRAY_BEGIN(list, key, &inner);
			BSON_APPEND_INT32(&inner, "0", 5);
			bson_append_array_end(list, &inner);
			break;
		case DOCUMENT:
			BSON_APPEND_DOCUMENT_BEGIN(list, key, &inner);
			BSON_APPEND_INT32(&inner, "five", 5);
			bson_append_document_end(list, &inner);
			break;
	}
}

static void
append_odd_array(bson_t *doc, const char *key, Odd usual, Odd odd)
{
	bson_t		list;

	BSON_APPEND_ARRAY_BEGIN(doc, key, &list);
	append_odd(&list, "0", usual);
	append_odd(&list, "1", odd);
	append_odd(&list, "2", usual);
	bson_append_array_end(doc, &list);
}

CONSTANT(words_and_null, append_odd_array(doc, key, WORD, NOTHING))
CONSTANT(words_and_number, append_odd_array(doc, key, WORD, NUMBER))
CONSTANT(words_and_document, append_odd_array(doc, key, WORD, DOCUMENT))
CONSTANT(numbers_and_null, append_odd_array(doc, key, NUMBER, NOTHING))
CONSTANT(numbers_and_word, append_odd_array(doc, key, NUMBER, WORD))
CONSTANT(numbers_and_fraction, append_odd_array(doc, key, NUMBER, FRACTION))
CONSTANT(numbers_and_array, append_odd_array(doc, key, NUMBER, ARRAY))

/* Bytes */
BYTES(plain_bytes, 0, "\0\1\2")
BYTES(old_binary, 2, "\0\1\2")
BYTES(old_uuid, 3, "0123456789abcdef")
BYTES(short_uuid, 4, "0123")
BYTES(md5, 5, "0123456789abcdef")
BYTES(encrypted, 6, "\1" "0123456789abcdef" "\2" "cipher")
BYTES(vector, 9, "\x27\0\0\0\x80\x3f\0\0\0\x40")
BYTES(user_bytes, 128, "\xff\xfe")

/* _id */
CONSTANT(double_id, BSON_APPEND_DOUBLE(doc, key, (double) i + 0.5))
TIME(date_id, i)
CONSTANT(timestamp_id, BSON_APPEND_TIMESTAMP(doc, key, (uint32_t) i, 1))
CONSTANT(binary_id, BSON_APPEND_BINARY(doc, key, BSON_SUBTYPE_BINARY,
									   (const uint8_t *) &i, sizeof(i)))

WRITER(decimal_id)
{
	char		text[32];

	UNUSED();
	snprintf(text, sizeof(text), "%" PRId64 ".250", i);
	append_decimal_text(doc, key, text);
}

/* 4000 characters that no compression makes short: too long for an index. */
WRITER(long_id)
{
	char		text[4001];

	UNUSED();
	for (int k = 0; k < 4000; k++)
		text[k] = (char) ('!' + below(r, 90));
	text[4000] = '\0';
	BSON_APPEND_UTF8(doc, key, text);
}

/* Equal to the one of a document nearby, but for the order of its fields. */
CONSTANT(swapped_id, append_document_id(doc, key, i - i % 5 - 1, true))

/* Keys that a collection can have once: those after the first are ordinary. */
#define ONCE(name, statement) \
	WRITER(name) \
	{ \
		if (is_first_round(i)) \
			statement; \
		else \
			write_id(doc, key, r, i); \
	}

static bool is_first_round(int64_t i);

ONCE(null_id, BSON_APPEND_NULL(doc, key))
ONCE(min_id, BSON_APPEND_MINKEY(doc, key))
ONCE(max_id, BSON_APPEND_MAXKEY(doc, key))
ONCE(true_id, BSON_APPEND_BOOL(doc, key, true))
ONCE(empty_id, BSON_APPEND_UTF8(doc, key, ""))

static const Field hazards[] = {
	/* Text that PostgreSQL cannot hold, and text that it can. */
	{"note", nul}, {"note", bad_byte}, {"note", cut_short},
	{"note", overlong}, {"note", surrogate}, {"note", control},
	{"note", no_text}, {"note", megabyte}, {"unmapped", nul},
	{"unmapped", bad_byte},

	/* Names. */
	{"badName", bad_name}, {"dotted", dotted_name}, {"dollar", dollar_name},
	{"empty", empty_name}, {"own", own_name}, {"system", system_name},
	{"quoted", quoted_name}, {"long", long_name}, {"twins", case_twins},
	{"count", name_twice}, {"count", type_twice},
	{"owner", nested_name_twice}, {"unknown", unknown_name},

	/* Numbers and dates at their ends. */
	{"price", largest_decimal}, {"price", smallest_decimal},
	{"price", decimal_nan}, {"price", decimal_infinity},
	{"price", decimal_minus_zero}, {"price", decimal_zero},
	{"amount", nan_value}, {"amount", infinity}, {"amount", minus_infinity},
	{"amount", minus_zero}, {"amount", smallest_double},
	{"amount", largest_double}, {"amount", odd_long},
	{"count", largest_long}, {"count", smallest_long},
	{"count", whole_double}, {"count", half}, {"count", minus_zero},
	{"count", decimal_nan}, {"createdAt", last_time},
	{"createdAt", first_time}, {"createdAt", too_late},
	{"createdAt", too_early}, {"createdAt", just_in_time},
	{"createdAt", before_christ},

	/* Types that are others elsewhere. */
	{"count", number_string}, {"count", word_string}, {"count", truth},
	{"createdAt", date_string}, {"createdAt", word_string},
	{"active", word_string}, {"token", word_string}, {"name", embedded},
	{"owner", word_string}, {"owner", words_and_null}, {"count", embedded},
	{"items", word_string}, {"name", regex}, {"name", code},
	{"name", symbol}, {"name", scoped_code}, {"name", db_pointer},
	{"name", timestamp}, {"name", min_key}, {"name", undefined},
	{"count", regex}, {"count", max_key}, {"createdAt", timestamp},
	{"createdAt", min_key}, {"createdAt", max_key}, {"owner", undefined},
	{"deep", deep}, {"items", deep},

	/* Arrays. */
	{"tags", words_and_null}, {"tags", words_and_number},
	{"tags", words_and_document}, {"scores", numbers_and_null},
	{"scores", numbers_and_word}, {"scores", numbers_and_fraction},
	{"scores", numbers_and_array}, {"tags", word_string},
	{"times", numbers_and_null},

	/* Bytes. */
	{"token", plain_bytes}, {"token", old_binary}, {"token", old_uuid},
	{"token", short_uuid}, {"token", md5}, {"token", encrypted},
	{"token", vector}, {"token", user_bytes},

	/* _id. */
	{"_id", double_id}, {"_id", decimal_id}, {"_id", date_id},
	{"_id", timestamp_id}, {"_id", binary_id}, {"_id", long_id},
	{"_id", swapped_id}, {"_id", null_id}, {"_id", min_id}, {"_id", max_id},
	{"_id", true_id}, {"_id", empty_id},
};

#define HAZARDS ((int64_t) (sizeof(hazards) / sizeof(hazards[0])))

/* One document in that many has a hazard. */
static int64_t interval;

static bool
is_first_round(int64_t i)
{
	return i / interval < HAZARDS;
}

/* The hazard of a document, NULL for most. */
static const Field *
hazard_of(int64_t i)
{
	return i % interval == interval / 2 ?
		&hazards[i / interval % HAZARDS] : NULL;
}

static void
append_fields(bson_t *doc, Random *r, int64_t i)
{
	const Field *hazard = hazard_of(i);

	for (int k = 0; k < FIELDS; k++)
	{
		if (hazard != NULL && strcmp(hazard->name, fields[k].name) == 0)
		{
			hazard->write(doc, hazard->name, r, i);
			hazard = NULL;
		}
		else
			fields[k].write(doc, fields[k].name, r, i);
	}
	if (hazard != NULL)
		hazard->write(doc, hazard->name, r, i);
}

void
calm(bson_t *doc, Random *r, int64_t i)
{
	interval = INT64_MAX;
	append_fields(doc, r, i);
}

void
hostile(bson_t *doc, Random *r, int64_t i)
{
	interval = 1000;
	append_fields(doc, r, i);
}

void
hazardous(bson_t *doc, Random *r, int64_t i)
{
	interval = 100;
	append_fields(doc, r, i);
}
