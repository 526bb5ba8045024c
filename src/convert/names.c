/*-------------------------------------------------------------------------
 *
 * names.c
 *	  Paths, and the column names made from them.
 *
 * A path is names joined by dots; a name with a dot, bracket or quote in it,
 * and the empty name, is written in double quotes, with a quote inside
 * doubled.  The rules for column names are those of INTERFACE.md section 8.
 * They look at one path alone, so that a name does not depend on what other
 * fields there are; collisions are settled in infer.c.
 *
 * Everything is UTF-8.  What is a capital, and its small letter, is decided
 * for ASCII only: PostgreSQL does not fold other letters of unquoted names
 * either, so that nobody has to quote them, and the result does not depend
 * on a locale.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/cryptohash.h"
#include "common/keywords.h"
#include "common/sha2.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"

#include "convert/convert.h"
#include "convert/form.h"
#include "convert/names.h"

#define HASH_BYTES 3			/* shown as six hex digits */
#define NAME_LEN (NAMEDATALEN - 1)

/* ---------------------------------------------------------------------
 * Paths
 * ---------------------------------------------------------------------
 */

/* A name as a part of a path. */
char *
mm_names_quote(const char *name)
{
	StringInfoData out;

	if (*name != '\0' && strpbrk(name, ".[]\"") == NULL)
		return pstrdup(name);
	initStringInfo(&out);
	appendStringInfoChar(&out, '"');
	for (; *name != '\0'; name++)
	{
		if (*name == '"')
			appendStringInfoChar(&out, '"');
		appendStringInfoChar(&out, *name);
	}
	appendStringInfoChar(&out, '"');
	return out.data;
}

static const char *
fail_path(const char *path)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("invalid path: %s", path),
			 errdetail("A path is names joined by dots."),
			 errhint("Write a name that has a dot, bracket or quote in it in double quotes.")));
	return NULL;
}

/* One part; returns where it ends. */
static const char *
read_part(const char *path, const char *p, StringInfo part)
{
	if (*p != '"')
	{
		size_t		n = strcspn(p, ".[]\"");

		if (n == 0)
			return fail_path(path);
		appendBinaryStringInfo(part, p, n);
		return p + n;
	}
	for (p++; *p != '"' || p[1] == '"'; p++)
	{
		if (*p == '\0')
			return fail_path(path);
		if (*p == '"')
			p++;
		appendStringInfoChar(part, *p);
	}
	return p + 1;
}

/*
 * The names (char *) of a path; raises 22023 when it is none.  "[]" behind a
 * name reaches the elements of an array, which have no names.
 */
List *
mm_names_split(const char *path)
{
	List	   *parts = NIL;
	const char *p = path;

	for (;;)
	{
		StringInfoData part;

		initStringInfo(&part);
		p = read_part(path, p, &part);
		parts = lappend(parts, part.data);
		while (strncmp(p, "[]", 2) == 0)
			p += 2;
		if (*p == '\0')
			return parts;
		if (*p != '.')
			(void) fail_path(path);
		p++;
	}
}

/* The path of these names. */
char *
mm_names_join(const List *parts)
{
	StringInfoData out;
	ListCell   *lc;

	initStringInfo(&out);
	foreach(lc, parts)
		appendStringInfo(&out, "%s%s", out.len > 0 ? "." : "",
						 mm_names_quote(lfirst(lc)));
	return out.data;
}

/* ---------------------------------------------------------------------
 * Characters
 * ---------------------------------------------------------------------
 */

/*
 * Beyond ASCII everything counts as a letter except these: controls, signs,
 * punctuation and symbols.  Neither every server nor every locale knows the
 * categories of Unicode.
 */
static const struct
{
	pg_wchar	first;
	pg_wchar	last;
}			no_letters[] = {
	{0x80, 0xa9}, {0xab, 0xb4}, {0xb6, 0xb9}, {0xbb, 0xbf}, {0xd7, 0xd7},
	{0xf7, 0xf7}, {0x2000, 0x206f}, {0x20a0, 0x20cf}, {0x2190, 0x2bff},
	{0x2e00, 0x2e7f}, {0x3000, 0x3004}, {0x3008, 0x3020}, {0xe000, 0xf8ff},
	{0xfe00, 0xfe6f}, {0xfeff, 0xff0f}, {0xfff0, 0xffff}, {0x1f000, 0x1faff},
};

static bool
is_letter_beyond_ascii(const char *s)
{
	pg_wchar	c = utf8_to_unicode((const unsigned char *) s);

	for (int i = 0; i < lengthof(no_letters); i++)
		if (c >= no_letters[i].first && c <= no_letters[i].last)
			return false;
	return true;
}

static bool
is_capital(char c)
{
	return c >= 'A' && c <= 'Z';
}

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* Letters beyond ASCII count as small ones. */
static bool
is_small(char c)
{
	return (c >= 'a' && c <= 'z') || IS_HIGHBIT_SET(c);
}

static char
to_small(char c)
{
	return is_capital(c) ? c - 'A' + 'a' : c;
}

/* ---------------------------------------------------------------------
 * Rules
 * ---------------------------------------------------------------------
 */

/*
 * A new word begins at p: a capital behind a small letter or digit, or the
 * last one of several when two small letters follow ("HTTPServer").
 */
static bool
begins_word(const char *name, const char *p)
{
	if (p == name || !is_capital(*p))
		return false;
	if (is_small(p[-1]) || is_digit(p[-1]))
		return true;
	return is_capital(p[-1]) && is_small(p[1]) && is_small(p[2]);
}

/*
 * Appends the words of a name, joined by "_", and to what is there.  A run
 * of anything else between words becomes one "_", at either end nothing.
 */
static void
append_words(StringInfo out, const char *name)
{
	bool		gap = out->len > 0;
	const char *end = name + strlen(name);

	for (const char *p = name; p < end;)
	{
		int			n = Min(pg_utf_mblen((const unsigned char *) p), end - p);
		bool		letter = IS_HIGHBIT_SET(*p) ? is_letter_beyond_ascii(p) :
			is_small(*p) || is_capital(*p) || is_digit(*p);

		if (!letter)
			gap = true;
		else
		{
			if ((gap || begins_word(name, p)) && out->len > 0)
				appendStringInfoChar(out, '_');
			gap = false;
			appendBinaryStringInfo(out, p, n);
			out->data[out->len - n] = to_small(*p);
		}
		p += n;
	}
}

static char *
hash_digits(const char *path)
{
	uint8		digest[PG_SHA256_DIGEST_LENGTH];
	pg_cryptohash_ctx *ctx = pg_cryptohash_create(PG_SHA256);
	char	   *digits = palloc0(2 * HASH_BYTES + 1);

	if (ctx == NULL || pg_cryptohash_init(ctx) < 0 ||
		pg_cryptohash_update(ctx, (const uint8 *) path, strlen(path)) < 0 ||
		pg_cryptohash_final(ctx, digest, sizeof(digest)) < 0)
		elog(ERROR, "could not compute a SHA-256 hash");
	pg_cryptohash_free(ctx);
	for (int i = 0; i < HASH_BYTES; i++)
		memcpy(digits + 2 * i, mm_form_hex[digest[i]], 2);
	return digits;
}

/* Category R of pg_get_keywords() */
static bool
is_reserved(const char *name)
{
	int			keyword = ScanKeywordLookup(name, &ScanKeywords);

	return keyword >= 0 && ScanKeywordCategories[keyword] == RESERVED_KEYWORD;
}

static bool
is_system_column(const char *name)
{
	static const char *const names[] = {
		"ctid", "xmin", "xmax", "cmin", "cmax", "tableoid"
	};

	for (int i = 0; i < lengthof(names); i++)
		if (strcmp(name, names[i]) == 0)
			return true;
	return false;
}

/* The name, cut on a character to n bytes. */
static char *
clip(const char *name, int n)
{
	return pnstrdup(name, pg_encoding_mbcliplen(PG_UTF8, name, strlen(name),
												n));
}

/*
 * The name for these parts.  Reserved words keep their names under preserve,
 * which means to quote; system columns cannot.
 */
static char *
make_name(const char *path, List *parts, MmNaming naming)
{
	StringInfoData out;
	ListCell   *lc;

	initStringInfo(&out);
	foreach(lc, parts)
	{
		char	   *part = lfirst(lc);

		if (naming == MM_NAMING_SNAKE_CASE)
			append_words(&out, part);
		else
			appendStringInfo(&out, "%s%s", out.len > 0 ? "_" : "", part);
	}
	for (int i = 0; naming == MM_NAMING_LOWER && i < out.len; i++)
		out.data[i] = to_small(out.data[i]);
	if (out.len == 0)
		return psprintf("_%s", hash_digits(path));
	if (naming == MM_NAMING_SNAKE_CASE &&
		(*(char *) linitial(parts) == '_' || is_digit(out.data[0])))
		return psprintf("_%s", out.data);
	if ((naming != MM_NAMING_PRESERVE && is_reserved(out.data)) ||
		is_system_column(out.data))
		appendStringInfoChar(&out, '_');
	return out.data;
}

static char *
shorten(const char *path, char *name)
{
	if (strlen(name) <= NAME_LEN)
		return name;
	return psprintf("%s_%s", clip(name, NAME_LEN - 1 - 2 * HASH_BYTES),
					hash_digits(path));
}

char *
mm_name_column(const char *path, MmNaming naming)
{
	return shorten(path, make_name(path, mm_names_split(path), naming));
}

/* A name with dots in it is one name here, and not a path. */
char *
mm_name_table(const char *collection, MmNaming naming)
{
	char	   *name = pstrdup(collection);

	return shorten(collection,
				   make_name(collection, list_make1(name), naming));
}

/* The name with "_2" and so on behind it. */
char *
mm_names_number(const char *name, int number)
{
	char	   *suffix = psprintf("_%d", number);

	return psprintf("%s%s", clip(name, NAME_LEN - strlen(suffix)), suffix);
}
