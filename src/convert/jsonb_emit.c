/*-------------------------------------------------------------------------
 *
 * jsonb_emit.c
 *	  The bytes of a jsonb.
 *
 * They are written as they stand on disk (utils/jsonb.h), each of them once
 * and in its place.  An object begins with all its keys, in the order of
 * length, then of bytes: so a container takes three steps.
 *
 *	  collect  its elements are pushed on a stack; those of an embedded
 *			   document stay unread until its turn comes
 *	  sort     an object's keys, and of equal ones all but the last dropped
 *	  emit     header, room for the entries, keys, values; containers among
 *			   the values go through the same steps
 *
 * The types that make up nearly all of the data are written here, the others
 * by way of extended.c: see jsonb.c.
 *
 * Nobody need have validated the documents (walk.c): that is done when they
 * are collected, and the few that are not written are validated where they are
 * dropped.  After a fault no document is looked into any more, and what was
 * written is thrown away.
 *
 * Nothing here raises on behalf of data.  Lengths in jsonb have 28 bits, and
 * what the walk lets pass makes no jsonb that long.  Most is written for
 * regular expressions without a letter: with a key of one letter they have 5
 * bytes, and 77 as relaxed jsonb, so that MM_WALK_MAX_ELEMENTS of them make
 * 231 million.  The 2 million that a document of MM_WALK_MAX_LEN has left may
 * be invalid text, of which each byte becomes the three of U+FFFD.  The tests
 * have that document: it makes 234.6 million bytes, of 268.4.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"

#include "convert/checker.h"
#include "convert/form.h"
#include "convert/jsonb_emit.h"
#include "convert/keysort.h"
#include "convert/number.h"
#include "copy.h"

static JEntry emit_document(MmJsonbBuilder *b, const MmValue *document,
							MmJsonForm form);
static JEntry emit_other(MmJsonbBuilder *b, const MmValue *value,
						 MmJsonForm form);

static inline MmValue *
child_at(MmJsonbBuilder *b, uint32 i)
{
	return (MmValue *) b->children.items + i;
}

static inline uint32
count_children(const MmJsonbBuilder *b)
{
	return b->children.used / sizeof(MmValue);
}

/* ---------------------------------------------------------------------
 * Scalars
 * ---------------------------------------------------------------------
 */

/*
 * What is written in place of bytes that are no text, to be freed: a document
 * can have very many of them.
 */
static char *
repair(MmJsonbBuilder *b, const char *s, uint32 *len)
{
	StringInfoData repaired;

	initStringInfo(&repaired);
	if (b->writer.invalid_text == MM_INVALID_TEXT_REJECT)
		b->failed = true;
	else
	{
		mm_text_append_repaired(&repaired, s, *len, b->writer.invalid_text);
		b->changes.altered++;
	}
	*len = repaired.len;
	return repaired.data;
}

static pg_noinline JEntry
emit_repaired(MmJsonbBuilder *b, const char *s, uint32 len)
{
	char	   *repaired = repair(b, s, &len);

	memcpy(mm_stack_push(&b->out, len), repaired, len);
	pfree(repaired);
	return JENTRY_ISSTRING | len;
}

static inline JEntry
emit_string(MmJsonbBuilder *b, const char *s, uint32 len)
{
	if (unlikely(mm_text_copy(mm_stack_reserve(&b->out, len), s,
							  len) != MM_TEXT_GOOD))
		return emit_repaired(b, s, len);
	b->out.used += len;
	return JENTRY_ISSTRING | len;
}

JEntry
mm_jsonb_emit_string(MmJsonbBuilder *b, const char *s, uint32 len)
{
	return emit_string(b, s, len);
}

/* Zeros before what must be aligned; they belong to its entry. */
static inline void
pad(MmJsonbBuilder *b)
{
	memset(mm_stack_reserve(&b->out, sizeof(int)), 0, sizeof(int));
	b->out.used = INTALIGN(b->out.used);
}

static inline JEntry
emit_integer(MmJsonbBuilder *b, int64 v)
{
	uint32		start = b->out.used;
	char	   *out;

	pad(b);
	out = mm_stack_reserve(&b->out, MM_NUMBER_MAX);
	b->out.used += mm_number_write_integer(v, out);
	return JENTRY_ISNUMERIC | (b->out.used - start);
}

static JEntry
emit_number(MmJsonbBuilder *b, const MmNumber *number)
{
	uint32		start = b->out.used;
	char	   *out;

	pad(b);
	out = mm_stack_reserve(&b->out, MM_NUMBER_MAX);
	b->out.used += mm_number_write(number, out);
	return JENTRY_ISNUMERIC | (b->out.used - start);
}

/* Whole numbers keep their ".0". */
static pg_noinline JEntry
emit_double(MmJsonbBuilder *b, const MmValue *value, MmJsonForm form)
{
	double		v = mm_walk_double(value->data);
	MmNumber	number;

	if (!mm_extended_is_number(v, form))
		return mm_jsonb_emit_extended(b, value, form);
	mm_number_from_double(v, &number);
	if (number.shown == 0)
		number.shown = 1;
	return emit_number(b, &number);
}

JEntry
mm_jsonb_emit_numeric(MmJsonbBuilder *b, Numeric numeric)
{
	uint32		start = b->out.used;
	uint32		len = VARSIZE(numeric);

	pad(b);
	memcpy(mm_stack_push(&b->out, len), numeric, len);
	return JENTRY_ISNUMERIC | (b->out.used - start);
}

static JEntry
emit_object_id(MmJsonbBuilder *b, const uint8 *oid)
{
	char	   *out = mm_stack_push(&b->out, 2 * MM_OBJECT_ID_LEN);

	mm_form_object_id_digits(oid, out);
	return JENTRY_ISSTRING | (2 * MM_OBJECT_ID_LEN);
}

/*
 * Appends the data of a value, and returns its entry.  The value may lie on
 * the stack of children: after a push it must not be read any more.  This part
 * runs once per element of each document.
 */
static pg_attribute_always_inline JEntry
emit_value(MmJsonbBuilder *b, const MmValue *value, MmJsonForm form)
{
	switch (value->type)
	{
		case MM_BSON_STRING:
			return emit_string(b, (const char *) value->data, value->len);
		case MM_BSON_INT32:
		case MM_BSON_INT64:
			if (form == MM_JSON_CANONICAL)
				break;
			return emit_integer(b, mm_walk_integer(value));
		case MM_BSON_BOOL:
			return value->data[0] != 0 ?
				JENTRY_ISBOOL_TRUE : JENTRY_ISBOOL_FALSE;
		case MM_BSON_NULL:
			return JENTRY_ISNULL;
		case MM_BSON_OBJECT:
		case MM_BSON_ARRAY:
			return emit_document(b, value, form);
		case MM_BSON_DOUBLE:
			return emit_double(b, value, form);
		default:
			break;
	}
	return emit_other(b, value, form);
}

/* ---------------------------------------------------------------------
 * Members
 * ---------------------------------------------------------------------
 */

/* A value that is dropped is validated, and refused, all the same. */
static pg_noinline void
drop(MmJsonbBuilder *b, const MmValue *value, MmJsonForm form)
{
	MmTextFailure failure;
	MmWalk		walk = {0};

	b->changes.duplicates++;
	if (mm_walk_is_nested(value) &&
		!mm_walk_validate_value(&walk, value, b->inside.depth + 1,
								&b->inside.elements))
		b->inside.faulty = true;
	else if (b->writer.invalid_text == MM_INVALID_TEXT_REJECT && !b->failed)
		b->failed = value->type == MM_NODE_VALUE ?
			!mm_jsonb_check_node(b, value->len, &failure) :
			!mm_checker_value(value, form, &failure);
}

/* Of the keys from base on, which are sorted; key is the first of two. */
static pg_noinline void
drop_duplicates(MmJsonbBuilder *b, uint32 first, MmSortKey *key,
				MmJsonForm form)
{
	MmSortKey  *end = (MmSortKey *) (b->keys.items + b->keys.used);
	MmSortKey  *last = key;

	while (++key < end)
	{
		if (mm_keysort_is_equal(last, key, child_at(b, first)))
			drop(b, child_at(b, first + last->number), form);
		else
			last++;
		*last = *key;
	}
	b->keys.used = (char *) (last + 1) - b->keys.items;
}

/* Sorts the keys from base on, which are unique then. */
static inline void
sort_members(MmJsonbBuilder *b, uint32 first, uint32 base, MmJsonForm form)
{
	MmSortKey  *keys = (MmSortKey *) (b->keys.items + base);
	uint32		n = (b->keys.used - base) / sizeof(MmSortKey);
	const MmValue *members = child_at(b, first);

	mm_keysort(keys, n, members);
	for (uint32 i = 1; i < n; i++)
		if (unlikely(mm_keysort_is_equal(&keys[i - 1], &keys[i], members)))
		{
			drop_duplicates(b, first, &keys[i - 1], form);
			break;
		}
}

/* It lasts as long as the current context. */
static pg_noinline void
repair_key(MmJsonbBuilder *b, MmValue *member)
{
	char	   *repaired = repair(b, member->key, &member->key_len);

	member->key = pnstrdup(repaired, member->key_len);
	pfree(repaired);
}

/*
 * Pushes the key of this child.  In a document whose end is far enough the
 * first seven bytes of a key are read at once.
 */
static inline void
push_key(MmJsonbBuilder *b, MmValue *member, uint32 number, bool far_from_end)
{
	MmSortKey  *key = mm_stack_push(&b->keys, sizeof(MmSortKey));

	key->number = number;
	if (far_from_end && member->key_len <= MM_RANK_BYTES)
	{
		key->rank = mm_keysort_rank_word(member->key, member->key_len);
		if (likely((key->rank & UINT64CONST(0x0080808080808080)) == 0))
			return;
	}
	if (unlikely(mm_text_check(member->key, member->key_len) != MM_TEXT_GOOD))
		repair_key(b, member);
	key->rank = mm_keysort_rank(member->key, member->key_len);
}

/* ---------------------------------------------------------------------
 * Containers
 * ---------------------------------------------------------------------
 */

/* The entries of a container while it is written. */
typedef struct Entries
{
	uint32		at;				/* of the next, in out */
	uint32		number;
	uint32		total;			/* bytes of those that are set */
} Entries;

/* The header, and room for the entries. */
static inline Entries
begin_container(MmJsonbBuilder *b, uint32 header, uint32 n)
{
	Entries		entries = {0};
	char	   *p;

	pad(b);
	p = mm_stack_push(&b->out, sizeof(header) + n * sizeof(JEntry));
	memcpy(p, &header, sizeof(header));
	entries.at = p + sizeof(header) - b->out.items;
	return entries;
}

/* One in JB_OFFSET_STRIDE has the offset of its end, the others lengths. */
static inline void
set_entry(MmJsonbBuilder *b, Entries *entries, JEntry entry)
{
	entries->total += JBE_OFFLENFLD(entry);
	if (entries->number++ % JB_OFFSET_STRIDE == 0)
		entry = (entry & JENTRY_TYPEMASK) | entries->total | JENTRY_HAS_OFF;
	memcpy(b->out.items + entries->at, &entry, sizeof(entry));
	entries->at += sizeof(entry);
}

static inline void
emit_key(MmJsonbBuilder *b, const MmSortKey *key, const MmValue *member)
{
	char	   *out = mm_stack_reserve(&b->out,
									   member->key_len + sizeof(uint64));
	uint64		word;

	b->out.used += member->key_len;
	if (!mm_keysort_is_whole(key->rank))
		mm_copy_short(out, member->key, member->key_len);
	else
	{
		word = pg_hton64(key->rank << 8);
		memcpy(out, &word, sizeof(word));
	}
}

/* Of the children from the first one on, whose keys lie from base on. */
static JEntry
emit_object(MmJsonbBuilder *b, uint32 first, uint32 base, MmJsonForm form)
{
	uint32		start = b->out.used;
	Entries		entries;
	uint32		n;

	sort_members(b, first, base, form);
	n = (b->keys.used - base) / sizeof(MmSortKey);
	entries = begin_container(b, JB_FOBJECT | n, 2 * n);
	for (uint32 i = 0; i < n; i++)
	{
		const MmSortKey *key = (MmSortKey *) (b->keys.items + base) + i;
		const MmValue *member = child_at(b, first + key->number);

		emit_key(b, key, member);
		set_entry(b, &entries, JENTRY_ISSTRING | member->key_len);
	}
	for (uint32 i = 0; i < n; i++)
	{
		const MmSortKey *key = (MmSortKey *) (b->keys.items + base) + i;

		set_entry(b, &entries,
				  emit_value(b, child_at(b, first + key->number), form));
	}
	b->keys.used = base;
	return JENTRY_ISCONTAINER | (b->out.used - start);
}

static JEntry
emit_array(MmJsonbBuilder *b, uint32 first, uint32 n, MmJsonForm form)
{
	uint32		start = b->out.used;
	Entries		entries = begin_container(b, JB_FARRAY | n, n);

	for (uint32 i = first; i < first + n; i++)
		set_entry(b, &entries, emit_value(b, child_at(b, i), form));
	return JENTRY_ISCONTAINER | (b->out.used - start);
}

/* False: there was a fault before, or is one here. */
static inline bool
begin_document(MmJsonbBuilder *b, MmWalk *walk, const MmValue *document)
{
	check_stack_depth();
	b->inside.faulty = b->inside.faulty ||
		b->inside.depth >= MM_WALK_MAX_DEPTH ||
		!mm_walk_begin(walk, document->data, document->len);
	return !b->inside.faulty;
}

/*
 * Pushes the elements, and the keys unless it is an array.  How many; after a
 * fault, those before it.
 */
static inline uint32
collect(MmJsonbBuilder *b, MmWalk *walk, bool array)
{
	uint32		most = MM_WALK_MAX_ELEMENTS -
		Min(b->inside.elements, MM_WALK_MAX_ELEMENTS);
	uint32		n;

	for (n = 0; !mm_walk_at_end(walk); n++)
	{
		MmValue    *child = mm_stack_reserve(&b->children, sizeof(MmValue));

		if (unlikely(n >= most || !mm_walk_next(walk, child)))
		{
			b->inside.faulty = true;
			break;
		}
		b->children.used += sizeof(MmValue);
		if (!array)
			push_key(b, child, n,
					 (const char *) walk->end - child->key >= 8);
	}
	b->inside.elements += n;
	return n;
}

/* An embedded document, or an array, where the names are but indexes. */
static pg_noinline JEntry
emit_document(MmJsonbBuilder *b, const MmValue *document, MmJsonForm form)
{
	uint32		first = count_children(b);
	uint32		base = b->children.used;
	uint32		keys = b->keys.used;
	bool		array = document->type == MM_BSON_ARRAY;
	MmWalk		walk;
	uint32		n;
	JEntry		entry;

	if (unlikely(!begin_document(b, &walk, document)))
		return JENTRY_ISNULL;
	n = collect(b, &walk, array);
	b->inside.depth++;
	if (unlikely(b->inside.faulty))
		entry = JENTRY_ISNULL;
	else
		entry = array ? emit_array(b, first, n, form) :
			emit_object(b, first, keys, form);
	b->inside.depth--;
	b->keys.used = keys;
	b->children.used = base;
	return entry;
}

JEntry
mm_jsonb_emit_node(MmJsonbBuilder *b, uint32 i)
{
	MmNode		node = *mm_node_at(b, i);
	uint32		first = count_children(b);
	uint32		base = b->children.used;
	uint32		keys = b->keys.used;
	JEntry		entry;

	if (node.value.type != MM_NODE_OBJECT)
		return emit_value(b, &node.value, node.form);
	for (i++; i < node.next; i = mm_node_at(b, i)->next)
	{
		MmValue    *child = mm_stack_push(&b->children, sizeof(MmValue));

		*child = mm_node_at(b, i)->value;
		child->type = MM_NODE_VALUE;
		child->len = i;
		push_key(b, child, count_children(b) - first - 1, false);
	}
	entry = emit_object(b, first, keys, MM_JSON_RELAXED);
	b->children.used = base;
	return entry;
}

/* The part of emit_value() for the types that are rarer. */
static pg_noinline JEntry
emit_other(MmJsonbBuilder *b, const MmValue *value, MmJsonForm form)
{
	MmNumber	number;

	switch (value->type)
	{
		case MM_BSON_OBJECT_ID:
			if (form != MM_JSON_SIMPLE)
				break;
			return emit_object_id(b, value->data);
		case MM_BSON_DECIMAL:
			if (form != MM_JSON_SIMPLE ||
				!mm_number_from_decimal(value->data, &number))
				break;
			return emit_number(b, &number);
		case MM_NODE_VALUE:
			return mm_jsonb_emit_node(b, value->len);
		default:
			break;
	}
	return mm_jsonb_emit_extended(b, value, form);
}

JEntry
mm_jsonb_emit(MmJsonbBuilder *b, const MmValue *value, MmJsonForm form)
{
	return emit_value(b, value, form);
}
