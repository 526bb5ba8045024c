/*-------------------------------------------------------------------------
 *
 * walk.c
 *	  Bounds-checked walk over the elements of a BSON document.
 *
 * Bytes come from a network and from files: nothing in them is trusted.  A
 * step of the walk (walk.h) checks that the element lies within its document
 * and leaves embedded documents unread.  mm_walk_validate() reads those too;
 * whoever wants to look into an embedded document has it validated first, and
 * may then take the steps for granted, or does as much on the way, as
 * jsonb_emit.c does.
 *
 * libbson's iterator is not used: it does not tell the end from corruption,
 * nor does it check what we need to know (RELIABILITY.md section 2).
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"

#include "convert/walk.h"

static bool validate_document(MmWalk *outer, const uint8 *doc, uint32 len,
							  int depth, uint32 *elements);

/* int32 length, subtype, bytes; subtype 2 repeats the length inside. */
static bool
walk_binary(MmWalk *walk, MmValue *value)
{
	ptrdiff_t	room = walk->end - walk->pos - 5;
	uint32		len;

	if (room < 0)
		return mm_walk_fail(walk, "A value reaches beyond its document.");
	len = mm_walk_uint32(walk->pos);
	if (len > room)
		return mm_walk_fail(walk, "The length of a binary is wrong.");
	value->subtype = walk->pos[4];
	value->data = walk->pos + 5;
	value->len = len;
	walk->pos += 5 + len;
	if (value->subtype == MM_BINARY_OLD)
	{
		if (len < 4 || mm_walk_uint32(value->data) != len - 4)
			return mm_walk_fail(walk, "The length of a binary is wrong.");
		value->data += 4;
		value->len -= 4;
	}
	return true;
}

/* Two strings that end in NUL: pattern, options. */
static bool
walk_regex(MmWalk *walk, MmValue *value)
{
	const uint8 *nul = memchr(walk->pos, '\0', walk->end - walk->pos);

	value->data = walk->pos;
	if (nul != NULL)
	{
		value->len = nul - walk->pos;
		walk->pos = nul + 1;
		nul = memchr(walk->pos, '\0', walk->end - walk->pos);
	}
	if (nul == NULL)
		return mm_walk_fail(walk, "A regular expression does not end.");
	walk->pos = nul + 1;
	return true;
}

static bool
walk_db_pointer(MmWalk *walk, MmValue *value)
{
	if (!mm_walk_string(walk, value))
		return false;
	if (walk->end - walk->pos < MM_OBJECT_ID_LEN)
		return mm_walk_fail(walk, "A value reaches beyond its document.");
	walk->pos += MM_OBJECT_ID_LEN;
	return true;
}

/* int32 length of the whole, string, document */
static bool
walk_code_with_scope(MmWalk *walk, MmValue *value)
{
	const uint8 *start = walk->pos;
	MmValue		scope;
	uint32		len;

	if (walk->end - walk->pos < 4)
		return mm_walk_fail(walk, "A value reaches beyond its document.");
	len = mm_walk_uint32(walk->pos);
	walk->pos += 4;
	if (!mm_walk_string(walk, value) || !mm_walk_document(walk, &scope))
		return false;
	if (walk->pos - start != len)
		return mm_walk_fail(walk, "The length of a code with scope is wrong.");
	return true;
}

/* mm_walk_value() for the types that are rarer or take longer. */
bool
mm_walk_long_value(MmWalk *walk, MmValue *value)
{
	switch (value->type)
	{
		case MM_BSON_DECIMAL:
			return mm_walk_fixed(walk, value, 16);
		case MM_BSON_BINARY:
			return walk_binary(walk, value);
		case MM_BSON_REGEX:
			return walk_regex(walk, value);
		case MM_BSON_DB_POINTER:
			return walk_db_pointer(walk, value);
		case MM_BSON_CODE_WITH_SCOPE:
			return walk_code_with_scope(walk, value);
		case '\0':
			return mm_walk_fail(walk, "A document ends before its length.");
		default:
			return mm_walk_fail(walk, "The type of an element is unknown.");
	}
}

/* The scope behind the code, as a value of its own. */
void
mm_walk_scope(const MmValue *code, MmValue *scope)
{
	*scope = *code;
	scope->type = MM_BSON_OBJECT;
	scope->data = code->data + code->len + 1;
	scope->len = mm_walk_uint32(scope->data);
}

static bool
validate_value(MmWalk *outer, const MmValue *value, int depth,
			   uint32 *elements)
{
	MmValue		scope;

	if (value->type == MM_BSON_CODE_WITH_SCOPE)
	{
		mm_walk_scope(value, &scope);
		value = &scope;
	}
	return validate_document(outer, value->data, value->len, depth, elements);
}

/* Faults are left in outer. */
static bool
validate_document(MmWalk *outer, const uint8 *doc, uint32 len, int depth,
				  uint32 *elements)
{
	MmWalk		walk;
	MmValue		value;

	check_stack_depth();
	if (depth > MM_WALK_MAX_DEPTH)
		return mm_walk_fail(outer,
							"Documents are nested more than 200 levels deep.");
	if (!mm_walk_begin(&walk, doc, len))
		return mm_walk_fail(outer, walk.fault);
	while (!mm_walk_at_end(&walk))
	{
		if (!mm_walk_next(&walk, &value))
			return mm_walk_fail(outer, walk.fault);
		if (++*elements > MM_WALK_MAX_ELEMENTS)
			return mm_walk_fail(outer, MM_WALK_TOO_MANY);
		if (mm_walk_is_nested(&value) &&
			!validate_value(outer, &value, depth + 1, elements))
			return false;
	}
	return true;
}

bool
mm_walk_check_len(MmWalk *walk, uint32 len)
{
	if (len > MM_WALK_MAX_LEN)
		return mm_walk_fail(walk, "The document is larger than 16 MB.");
	return true;
}

/* The whole document.  False: walk->fault says why. */
bool
mm_walk_validate(MmWalk *walk, const uint8 *doc, uint32 len)
{
	uint32		elements = 0;

	return mm_walk_check_len(walk, len) &&
		validate_document(walk, doc, len, 1, &elements);
}

/*
 * What is inside a nested value (mm_walk_is_nested).  depth: its level, 2 when
 * it stands in the document itself.  *elements counts over all values of the
 * document.
 */
bool
mm_walk_validate_value(MmWalk *walk, const MmValue *value, int depth,
					   uint32 *elements)
{
	return validate_value(walk, value, depth, elements);
}

/*
 * The first element of this name at the top level; it is valid, what stands
 * behind it need not be.
 */
bool
mm_walk_find(const uint8 *doc, uint32 len, const char *key, MmValue *value)
{
	uint32		key_len = strlen(key);
	uint32		elements = 0;
	MmWalk		walk;

	if (!mm_walk_check_len(&walk, len) || !mm_walk_begin(&walk, doc, len))
		return false;
	while (!mm_walk_at_end(&walk))
	{
		if (!mm_walk_next(&walk, value))
			return false;
		if (value->key_len == key_len &&
			memcmp(value->key, key, key_len) == 0)
			return !mm_walk_is_nested(value) ||
				mm_walk_validate_value(&walk, value, 2, &elements);
	}
	return false;
}

/* The aliases of MongoDB's $type. */
const char *
mm_walk_type_name(uint8 type)
{
	static const char *const names[] = {
		NULL, "double", "string", "object", "array", "binData", "undefined",
		"objectId", "bool", "date", "null", "regex", "dbPointer",
		"javascript", "symbol", "javascriptWithScope", "int", "timestamp",
		"long", "decimal"
	};

	if (type == MM_BSON_MIN_KEY)
		return "minKey";
	if (type == MM_BSON_MAX_KEY)
		return "maxKey";
	Assert(type > 0 && type < lengthof(names));
	return names[type];
}
