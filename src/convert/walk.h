/*-------------------------------------------------------------------------
 *
 * walk.h
 *	  Bounds-checked walk over the elements of a BSON document.
 *
 * The steps are inline, since they run once per element of every document.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MM_WALK_H
#define MM_WALK_H

#include "postgres.h"

#include "port/pg_bitutils.h"
#include "port/pg_bswap.h"

/* Element types, BSON specification 1.1. */
typedef enum MmBsonType
{
	MM_BSON_DOUBLE = 0x01,
	MM_BSON_STRING = 0x02,
	MM_BSON_OBJECT = 0x03,
	MM_BSON_ARRAY = 0x04,
	MM_BSON_BINARY = 0x05,
	MM_BSON_UNDEFINED = 0x06,
	MM_BSON_OBJECT_ID = 0x07,
	MM_BSON_BOOL = 0x08,
	MM_BSON_DATE = 0x09,
	MM_BSON_NULL = 0x0a,
	MM_BSON_REGEX = 0x0b,
	MM_BSON_DB_POINTER = 0x0c,
	MM_BSON_CODE = 0x0d,
	MM_BSON_SYMBOL = 0x0e,
	MM_BSON_CODE_WITH_SCOPE = 0x0f,
	MM_BSON_INT32 = 0x10,
	MM_BSON_TIMESTAMP = 0x11,
	MM_BSON_INT64 = 0x12,
	MM_BSON_DECIMAL = 0x13,
	MM_BSON_MAX_KEY = 0x7f,
	MM_BSON_MIN_KEY = 0xff
} MmBsonType;

#define MM_BINARY_OLD 0x02		/* holds a length word of its own */
#define MM_BINARY_OLD_UUID 0x03
#define MM_BINARY_UUID 0x04

#define MM_OBJECT_ID_LEN 12
#define MM_UUID_LEN 16

/*
 * A document of MongoDB has at most 16 MB, and 16 kB for internal use.  The
 * limit on elements lies above what distinct keys or array indexes allow in
 * that space with values of any use, and keeps the largest jsonb of a
 * document below the 256 MB of JENTRY_OFFLENMASK.
 */
#define MM_WALK_MAX_LEN ((16 * 1024 + 16) * 1024)
#define MM_WALK_MAX_ELEMENTS 3000000
#define MM_WALK_TOO_MANY "There are more than 3000000 elements."
#define MM_WALK_MAX_DEPTH 200	/* the document itself is level 1 */

/*
 * One element.  data and len are the payload by type: the bytes of a string,
 * code or symbol without NUL; a whole embedded document with its length word;
 * the bytes of a binary; the pattern of a regex, whose options follow behind
 * its NUL; the collection of a DBPointer and the code of a code with scope,
 * behind whose NUL ObjectId or scope follow; else the fixed-size value.
 */
typedef struct MmValue
{
	uint8		type;			/* MmBsonType */
	uint8		subtype;		/* of a binary */
	uint32		key_len;
	uint32		len;
	const char *key;			/* NUL behind it, which is not counted */
	const uint8 *data;
} MmValue;

typedef struct MmWalk
{
	const uint8 *pos;			/* the next element */
	const uint8 *end;			/* the NUL that ends the document */
	const char *fault;			/* a sentence, once a step returned false */
} MmWalk;

/*
 * The inside of a value that is validated by who converts it.  Says where the
 * value stands, and then what was found.
 */
typedef struct MmInside
{
	int			depth;			/* level of the document that it stands in */
	uint32		elements;		/* of the whole document so far */
	bool		faulty;			/* mm_walk_validate_value() says why */
} MmInside;

/* BSON is little-endian. */
static inline uint32
mm_walk_uint32(const uint8 *p)
{
	uint32		v;

	memcpy(&v, p, sizeof(v));
#ifdef WORDS_BIGENDIAN
	v = pg_bswap32(v);
#endif
	return v;
}

static inline uint64
mm_walk_uint64(const uint8 *p)
{
	uint64		v;

	memcpy(&v, p, sizeof(v));
#ifdef WORDS_BIGENDIAN
	v = pg_bswap64(v);
#endif
	return v;
}

static inline double
mm_walk_double(const uint8 *p)
{
	uint64		bits = mm_walk_uint64(p);
	double		v;

	memcpy(&v, &bits, sizeof(v));
	return v;
}

/* An int or a long. */
static inline int64
mm_walk_integer(const MmValue *value)
{
	return value->type == MM_BSON_INT32 ?
		(int32) mm_walk_uint32(value->data) :
		(int64) mm_walk_uint64(value->data);
}

static inline bool
mm_walk_fail(MmWalk *walk, const char *fault)
{
	walk->fault = fault;
	return false;
}

static inline bool
mm_walk_begin(MmWalk *walk, const uint8 *doc, uint32 len)
{
	walk->pos = walk->end = doc;
	if (len < 5 || mm_walk_uint32(doc) != len)
		return mm_walk_fail(walk, "The length of a document is wrong.");
	if (doc[len - 1] != '\0')
		return mm_walk_fail(walk, "A document does not end in NUL.");
	walk->pos = doc + 4;
	walk->end = doc + len - 1;
	return true;
}

static inline bool
mm_walk_at_end(const MmWalk *walk)
{
	return walk->pos == walk->end;
}

/* The steps of an element: type, key, value.  Not at the end. */
static inline void
mm_walk_type(MmWalk *walk, MmValue *value)
{
	value->type = *walk->pos++;
}

/*
 * A key that is looked for.  Most are short: with their NUL they are compared
 * as one word, or as two that may overlap.
 */
typedef struct MmName
{
	const char *s;				/* NUL behind it */
	uint32		len;
	uint64		head;			/* the first bytes, as they stand in memory */
	uint64		mask;			/* of those that count */
	uint64		tail;			/* the last ones, the NUL included */
} MmName;

static inline void
mm_walk_set_name(MmName *name, const char *s, uint32 len)
{
	Size		n = Min(len + 1, sizeof(name->head));

	name->s = s;
	name->len = len;
	name->head = name->mask = 0;
	memcpy(&name->head, s, n);
	memset(&name->mask, 0xff, n);
	if (len >= sizeof(name->tail))
		memcpy(&name->tail, s + len + 1 - sizeof(name->tail),
			   sizeof(name->tail));
}

/* Are these bytes, which are followed by the document's NUL, the name? */
static inline bool
mm_walk_is_name(const uint8 *s, const uint8 *end, const MmName *name)
{
	uint64		word;

	if (unlikely(end - s < (ptrdiff_t) sizeof(word)))
		return end - s > (ptrdiff_t) name->len &&
			memcmp(s, name->s, name->len + 1) == 0;
	memcpy(&word, s, sizeof(word));
	if (((word ^ name->head) & name->mask) != 0)
		return false;
	if (name->len < sizeof(word))
		return true;
	if (end - s <= (ptrdiff_t) name->len)
		return false;
	for (uint32 i = sizeof(word); i + sizeof(word) <= name->len;
		 i += sizeof(word))
	{
		uint64		expected;

		memcpy(&word, s + i, sizeof(word));
		memcpy(&expected, name->s + i, sizeof(word));
		if (word != expected)
			return false;
	}
	memcpy(&word, s + name->len + 1 - sizeof(word), sizeof(word));
	return word == name->tail;
}

/* Takes the key that is expected, if it is the one. */
static inline bool
mm_walk_expected_key(MmWalk *walk, MmValue *value, const MmName *name)
{
	if (!mm_walk_is_name(walk->pos, walk->end, name))
		return false;
	value->key = (const char *) walk->pos;
	value->key_len = name->len;
	walk->pos += name->len + 1;
	return true;
}

/*
 * Bytes before the first NUL at s, which is before end; end - s when there is
 * none.  Names are short: a word tells most of their lengths at once.
 */
static inline uint32
mm_walk_key_len(const uint8 *s, const uint8 *end)
{
	const uint8 *nul;

#ifndef WORDS_BIGENDIAN
	if (end - s >= 8)
	{
		uint64		word;

		memcpy(&word, s, sizeof(word));
		/* the lowest of these bits is set in the first byte that is NUL */
		word = (word - UINT64CONST(0x0101010101010101)) & ~word &
			UINT64CONST(0x8080808080808080);
		if (word != 0)
			return pg_rightmost_one_pos64(word) / 8;
	}
#endif
	nul = memchr(s, '\0', end - s);
	return (nul ? nul : end) - s;
}

static inline bool
mm_walk_key(MmWalk *walk, MmValue *value)
{
	uint32		len = mm_walk_key_len(walk->pos, walk->end);

	if (len == walk->end - walk->pos)
		return mm_walk_fail(walk, value->type == '\0' ?
							"A document ends before its length." :
							"The name of an element does not end.");
	value->key = (const char *) walk->pos;
	value->key_len = len;
	walk->pos += len + 1;
	return true;
}

extern bool mm_walk_long_value(MmWalk *walk, MmValue *value);

static inline bool
mm_walk_fixed(MmWalk *walk, MmValue *value, uint32 len)
{
	if (walk->end - walk->pos < (ptrdiff_t) len)
		return mm_walk_fail(walk, "A value reaches beyond its document.");
	value->data = walk->pos;
	value->len = len;
	walk->pos += len;
	return true;
}

/* A length word, the bytes, a NUL that is counted. */
static inline bool
mm_walk_string(MmWalk *walk, MmValue *value)
{
	ptrdiff_t	room = walk->end - walk->pos - 4;
	uint32		len;

	if (room < 1)
		return mm_walk_fail(walk, "A value reaches beyond its document.");
	len = mm_walk_uint32(walk->pos);
	if (len < 1 || len > room)
		return mm_walk_fail(walk, "The length of a string is wrong.");
	if (walk->pos[4 + len - 1] != '\0')
		return mm_walk_fail(walk, "A string does not end in NUL.");
	value->data = walk->pos + 4;
	value->len = len - 1;
	walk->pos += 4 + len;
	return true;
}

static inline bool
mm_walk_boolean(MmWalk *walk, MmValue *value)
{
	if (!mm_walk_fixed(walk, value, 1))
		return false;
	if (value->data[0] > 1)
		return mm_walk_fail(walk, "A boolean is neither false nor true.");
	return true;
}

static inline bool
mm_walk_document(MmWalk *walk, MmValue *value)
{
	ptrdiff_t	room = walk->end - walk->pos;
	uint32		len;

	if (room < 5)
		return mm_walk_fail(walk, "A value reaches beyond its document.");
	len = mm_walk_uint32(walk->pos);
	if (len < 5 || len > room)
		return mm_walk_fail(walk, "The length of a document is wrong.");
	value->data = walk->pos;
	value->len = len;
	walk->pos += len;
	return true;
}

/*
 * Embedded documents are bounded here, but not looked into: see
 * mm_walk_validate().  With a type that the compiler knows, the case is all
 * that is left.
 */
static pg_attribute_always_inline bool
mm_walk_value(MmWalk *walk, MmValue *value)
{
	switch (value->type)
	{
		case MM_BSON_STRING:
		case MM_BSON_CODE:
		case MM_BSON_SYMBOL:
			return mm_walk_string(walk, value);
		case MM_BSON_DOUBLE:
		case MM_BSON_DATE:
		case MM_BSON_TIMESTAMP:
		case MM_BSON_INT64:
			return mm_walk_fixed(walk, value, 8);
		case MM_BSON_INT32:
			return mm_walk_fixed(walk, value, 4);
		case MM_BSON_BOOL:
			return mm_walk_boolean(walk, value);
		case MM_BSON_OBJECT:
		case MM_BSON_ARRAY:
			return mm_walk_document(walk, value);
		case MM_BSON_OBJECT_ID:
			return mm_walk_fixed(walk, value, MM_OBJECT_ID_LEN);
		case MM_BSON_NULL:
		case MM_BSON_UNDEFINED:
		case MM_BSON_MIN_KEY:
		case MM_BSON_MAX_KEY:
			return mm_walk_fixed(walk, value, 0);
		default:
			return mm_walk_long_value(walk, value);
	}
}

/* A whole element.  False at a fault; not at the end. */
static inline bool
mm_walk_next(MmWalk *walk, MmValue *value)
{
	mm_walk_type(walk, value);
	return mm_walk_key(walk, value) && mm_walk_value(walk, value);
}

/* Does it hold documents, which mm_walk_validate_value() must look into? */
static inline bool
mm_walk_is_nested(const MmValue *value)
{
	return value->type == MM_BSON_OBJECT || value->type == MM_BSON_ARRAY ||
		value->type == MM_BSON_CODE_WITH_SCOPE;
}

/* null and undefined */
static inline bool
mm_walk_is_null(const MmValue *value)
{
	return value->type == MM_BSON_NULL || value->type == MM_BSON_UNDEFINED;
}

static inline bool
mm_walk_is_uuid(const MmValue *value)
{
	return value->type == MM_BSON_BINARY &&
		value->subtype == MM_BINARY_UUID && value->len == MM_UUID_LEN;
}

extern bool mm_walk_check_len(MmWalk *walk, uint32 len);
extern bool mm_walk_validate(MmWalk *walk, const uint8 *doc, uint32 len);
extern bool mm_walk_validate_value(MmWalk *walk, const MmValue *value,
								   int depth, uint32 *elements);
extern bool mm_walk_find(const uint8 *doc, uint32 len, const char *key,
						 MmValue *value);
extern void mm_walk_scope(const MmValue *code, MmValue *scope);
extern const char *mm_walk_type_name(uint8 type);

#endif							/* MM_WALK_H */
