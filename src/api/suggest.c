/*-------------------------------------------------------------------------
 *
 * suggest.c
 *	  What to do about a conflict: the last column of migrate_conflicts.
 *
 * One concrete sentence by what was done, the type of the value and the type
 * of its column.  It names a change that keeps all such values; whether it is
 * wanted is for the reader to decide.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/builtins.h"

#include "api/api.h"
#include "convert/tally.h"

MM_FUNCTION(mongo_migrate_suggestion);

#define REPAIR_TEXT "set invalid_text to \"strip\" or \"replace\""

/* BSON types that hold text, which may be none that PostgreSQL can hold. */
static bool
is_text(const char *bson_type)
{
	static const char *const names[] = {
		"string", "symbol", "javascript", "javascriptWithScope", "regex",
		"dbPointer"
	};

	return mm_is_one_of(bson_type, names, lengthof(names));
}

static bool
is_number(const char *bson_type)
{
	static const char *const names[] = {"int", "long", "double", "decimal"};

	return mm_is_one_of(bson_type, names, lengthof(names));
}

static bool
is_fractional(const char *bson_type)
{
	return strcmp(bson_type, "double") == 0 ||
		strcmp(bson_type, "decimal") == 0;
}

/* The column types that take text as it is. */
static bool
takes_text(const char *column_type)
{
	static const char *const names[] = {"text", "json", "jsonb"};

	return mm_is_one_of(column_type, names, lengthof(names));
}

static bool
starts_with(const char *text, const char *start)
{
	return strncmp(text, start, strlen(start)) == 0;
}

/* A type that takes the number; NULL: no numeric one does. */
static const char *
wider_number(const char *column_type, const char *bson_type)
{
	static const char *const integers[] = {"smallint", "integer"};
	static const char *const others[] = {"bigint", "double precision"};

	if (mm_is_one_of(column_type, integers, lengthof(integers)))
		return is_fractional(bson_type) ? "numeric" : "bigint";
	if (strcmp(column_type, "real") == 0)
		return "double precision or numeric";
	if (mm_is_one_of(column_type, others, lengthof(others)) ||
		starts_with(column_type, "numeric("))
		return "numeric";
	return NULL;
}

/* A type that takes values of the BSON type and what is there already. */
static const char *
wider_type(const char *column_type, const char *bson_type)
{
	const char *number = NULL;

	if (strcmp(bson_type, "object") == 0 || strcmp(bson_type, "array") == 0 ||
		strcmp(bson_type, "minKey") == 0 || strcmp(bson_type, "maxKey") == 0 ||
		strchr(column_type, '[') != NULL)
		return "jsonb";
	if (is_text(bson_type) && starts_with(column_type, "character"))
		return "text";
	if (strcmp(bson_type, "binData") == 0)
		return strcmp(column_type, "uuid") == 0 ?
			"bytea or jsonb" : "text or jsonb";
	if (is_number(bson_type))
		number = wider_number(column_type, bson_type);
	return number ? number : "text or jsonb";
}

/*
 * Only texts that PostgreSQL cannot hold have a path within an array; and no
 * type helps against them.
 */
static bool
is_within_array(const char *path)
{
	const char *end = path + strlen(path);

	return (end - path > 2 && strcmp(end - 2, "[]") == 0) ||
		strstr(path, "[].") != NULL;
}

/* Of a domain it is not known here what it stands for. */
static char *
suggest_for_altered(const char *path, const char *column_type,
					const char *bson_type)
{
	if (column_type == NULL || strcmp(bson_type, "string") != 0 ||
		takes_text(column_type) || strcmp(column_type, "citext") == 0 ||
		starts_with(column_type, "character"))
		return pstrdup("set invalid_text to \"reject\" to keep such documents as they are");
	if (wider_number(column_type, "int") != NULL ||
		strcmp(column_type, "numeric") == 0)
		return psprintf("use type text for \"%s\" to keep zeros and plus signs before its digits",
						path);
	return psprintf("use type text for \"%s\", and set invalid_text to \"reject\", to keep such values as they are",
					path);
}

static char *
suggest(const char *path, const char *column_type, const char *bson_type,
		const char *action, bool in_key)
{
	if (strcmp(path, MM_TALLY_OTHERS) == 0)
		return pstrdup("map the parent of these paths to one jsonb column");
	if (strcmp(action, "duplicate") == 0)
		return psprintf("correct the documents: \"%s\", or a key within it, occurs more than once in them",
						path);
	if (strcmp(action, "altered") == 0 && strcmp(bson_type, "timestamp") == 0)
		return psprintf("use type jsonb for \"%s\" to keep the order within a second",
						path);
	if (strcmp(action, "altered") == 0)
		return suggest_for_altered(path, column_type, bson_type);
	if (column_type == NULL && strcmp(action, "rejected") != 0)
		return psprintf("map \"%s\" to one jsonb column", path);
	if (column_type == NULL)
		return psprintf("give \"%s\" a column, or map its parent to one of type jsonb, or have a column \"_extra\" of type jsonb and set extra to \"column\"",
						path);
	if (is_text(bson_type) &&
		(takes_text(column_type) || is_within_array(path)))
		return pstrdup(REPAIR_TEXT);
	if (strcmp(bson_type, "null") == 0)
		return psprintf(in_key ? "leave \"%s\" out of target.primary_key, or correct the documents" :
						"allow null for \"%s\"", path);
	return psprintf("use type %s for \"%s\"%s",
					wider_type(column_type, bson_type), path,
					is_text(bson_type) && strcmp(action, "rejected") == 0 ?
					"; where it is no text, set invalid_text to \"strip\" or \"replace\"" :
					"");
}

static char *
text_arg(FunctionCallInfo fcinfo, int arg)
{
	return PG_ARGISNULL(arg) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(arg));
}

Datum
mongo_migrate_suggestion(PG_FUNCTION_ARGS)
{
	char	   *path = text_arg(fcinfo, 0);
	char	   *bson_type = text_arg(fcinfo, 2);
	char	   *action = text_arg(fcinfo, 3);

	if (path == NULL || bson_type == NULL || action == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(suggest(path, text_arg(fcinfo, 1),
											 bson_type, action,
											 !PG_ARGISNULL(4) &&
											 PG_GETARG_BOOL(4))));
}
