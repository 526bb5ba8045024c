/*-------------------------------------------------------------------------
 *
 * jsonb.c
 *	  BSON values as jsonb.
 *
 * The bytes are written as they stand on disk (utils/jsonb.h), each of them
 * once and in its final place but for the last copy into a chunk of the right
 * size.  An object begins with all its keys, in the order of length, then of
 * bytes: so a container is written in three steps.
 *
 *	  collect  its elements are pushed on a stack; those of an embedded
 *			   document stay unread until its turn comes
 *	  sort     an object's keys, and of equal ones all but the last dropped
 *	  emit     header, room for the entries, keys, values; containers among
 *			   the values go through the same steps
 *
 * The types that make up nearly all of the data are written here.  The others
 * go through extended.c, which decides what they look like.  What it begins
 * and ends piece by piece cannot be written at once, as the order of its keys
 * is not the one of jsonb: the pieces become a small tree of nodes, written
 * when it is complete.  An object put together by mm_jsonb_begin_object() and
 * its kin is such a tree too.
 *
 * Text that may not be written is remembered only, and the rest written in
 * vain: in the end checker.c finds the place of the first in the document.
 *
 * Nothing here raises on behalf of data.  Lengths in jsonb have 28 bits, that
 * is 256 MB.  What the walk lets pass cannot reach that: per byte of BSON most
 * is written for regular expressions without a letter, which take 4 bytes and
 * have 73 bytes in relaxed form with a key of one letter, so that the 3000000
 * elements of MM_WALK_MAX_ELEMENTS make 232 MB; the 2 MB that a document of
 * MM_WALK_MAX_LEN has left can add 6 MB, when all of it is invalid text that
 * becomes U+FFFD.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>

#include "miscadmin.h"
#include "utils/memutils.h"

#include "convert/checker.h"
#include "convert/form.h"
#include "convert/jsonb.h"
#include "convert/number.h"

/* Bytes of a stack at first, and that are kept from jsonb to jsonb. */
#define STACK_MIN (8 * 1024)
#define STACK_KEPT (1024 * 1024)

/* Type of a value that is a node; its len is the index. */
#define NODE_VALUE 0x80

/* Type of the value of a node that is an object, with nodes for members. */
#define NODE_OBJECT 0x81

#define NO_NODE PG_UINT32_MAX

/* The root is behind the header and the entry of a raw scalar. */
#define SCALAR_HEADER (sizeof(uint32) + sizeof(JEntry))

typedef struct Stack
{
	char	   *items;
	uint32		used;			/* bytes */
	uint32		size;
} Stack;

/*
 * Key of a member, for sorting.  Keys of the same length compare as their
 * prefixes do; when those are equal and the keys longer than 8 bytes, the
 * bytes decide.
 */
typedef struct SortKey
{
	uint64		prefix;
	uint32		len;
	uint32		number;			/* of the child, counted from the first */
	const char *key;
} SortKey;

typedef struct TreeNode
{
	MmValue		value;
	MmJsonForm	form;			/* unless it is an object */
	uint32		next;			/* index behind its descendants; as long as
								 * it is open: the open node around it */
} TreeNode;

struct MmJsonbBuilder
{
	MmWriter	writer;			/* for extended.c */
	MemoryContext scratch;		/* what extended.c and the nodes need */
	Stack		out;
	Stack		children;		/* MmValue: of the containers at work */
	Stack		keys;			/* SortKey: of the objects at work */
	Stack		nodes;			/* TreeNode: a tree, each before its members */
	uint32		open;			/* the innermost open node, or NO_NODE */
	const char *key;			/* of the next node */
	uint32		key_len;
	JEntry		entry;			/* of what was written outside a node */
	int			pending;		/* trees with scratch that is still needed */
	bool		failed;
	MmJsonbChanges changes;
};

static JEntry emit_value(MmJsonbBuilder *b, const MmValue *value,
						 MmJsonForm form);

/* ---------------------------------------------------------------------
 * Stacks
 * ---------------------------------------------------------------------
 */

static void
init_stack(Stack *stack)
{
	stack->items = palloc(STACK_MIN);
	stack->size = STACK_MIN;
	stack->used = 0;
}

static pg_noinline void
grow(Stack *stack, uint32 bytes)
{
	Size		size = stack->size;

	while (size - stack->used < bytes)
		size *= 2;
	stack->items = repalloc(stack->items, size);
	stack->size = size;
}

static inline void *
reserve(Stack *stack, uint32 bytes)
{
	if (unlikely(stack->size - stack->used < bytes))
		grow(stack, bytes);
	return stack->items + stack->used;
}

static inline void *
push(Stack *stack, uint32 bytes)
{
	void	   *item = reserve(stack, bytes);

	stack->used += bytes;
	return item;
}

/* One large document should not hold the memory for ever. */
static void
trim(Stack *stack)
{
	stack->used = 0;
	if (stack->size > STACK_KEPT)
	{
		stack->items = repalloc(stack->items, STACK_KEPT);
		stack->size = STACK_KEPT;
	}
}

/* Valid until the next push. */
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

static inline TreeNode *
node_at(MmJsonbBuilder *b, uint32 i)
{
	return (TreeNode *) b->nodes.items + i;
}

static inline uint32
count_nodes(const MmJsonbBuilder *b)
{
	return b->nodes.used / sizeof(TreeNode);
}

/* ---------------------------------------------------------------------
 * Text and numbers
 * ---------------------------------------------------------------------
 */

/* What is written in place of bytes that are no text. */
static pg_noinline const char *
repair(MmJsonbBuilder *b, const char *s, uint32 *len)
{
	StringInfoData repaired;

	if (b->writer.invalid_text == MM_INVALID_TEXT_REJECT)
	{
		b->failed = true;
		*len = 0;
		return s;
	}
	initStringInfo(&repaired);
	mm_text_append_repaired(&repaired, s, *len, b->writer.invalid_text);
	b->changes.altered++;
	*len = repaired.len;
	return repaired.data;
}

static inline JEntry
emit_string(MmJsonbBuilder *b, const char *s, uint32 len)
{
	if (unlikely(mm_text_check(s, len) != MM_TEXT_GOOD))
		s = repair(b, s, &len);
	memcpy(push(&b->out, len), s, len);
	return JENTRY_ISSTRING | len;
}

/* Zeros before what must be aligned; they belong to its entry. */
static inline void
pad(MmJsonbBuilder *b)
{
	uint32		n = INTALIGN(b->out.used) - b->out.used;

	memset(push(&b->out, n), 0, n);
}

static inline JEntry
emit_number(MmJsonbBuilder *b, const MmNumber *number)
{
	uint32		start = b->out.used;

	pad(b);
	b->out.used += mm_number_write(number, reserve(&b->out, MM_NUMBER_MAX));
	return JENTRY_ISNUMERIC | (b->out.used - start);
}

static inline JEntry
emit_integer(MmJsonbBuilder *b, int64 v)
{
	MmNumber	number;

	mm_number_from_integer(v, &number);
	return emit_number(b, &number);
}

/* Whole numbers keep their ".0". */
static inline JEntry
emit_double(MmJsonbBuilder *b, double v)
{
	MmNumber	number;

	mm_number_from_double(v, &number);
	if (number.shown == 0)
		number.shown = 1;
	return emit_number(b, &number);
}

static JEntry
emit_numeric(MmJsonbBuilder *b, Numeric numeric)
{
	uint32		start = b->out.used;
	uint32		len = VARSIZE(numeric);

	pad(b);
	memcpy(push(&b->out, len), numeric, len);
	return JENTRY_ISNUMERIC | (b->out.used - start);
}

static JEntry
emit_object_id(MmJsonbBuilder *b, const uint8 *oid)
{
	mm_form_object_id_digits(oid, push(&b->out, 2 * MM_OBJECT_ID_LEN));
	return JENTRY_ISSTRING | (2 * MM_OBJECT_ID_LEN);
}

/* ---------------------------------------------------------------------
 * Sorting
 * ---------------------------------------------------------------------
 */

static inline uint64
big_endian32(const char *s)
{
	uint32		v;

	memcpy(&v, s, sizeof(v));
	return pg_ntoh32(v);
}

/* Numbers in the order of the keys, among keys of the same length. */
static inline uint64
make_prefix(const char *key, uint32 len)
{
	const unsigned char *s = (const unsigned char *) key;

	if (len >= 8)
		return big_endian32(key) << 32 | big_endian32(key + 4);
	if (len >= 4)
		return big_endian32(key) << 32 | big_endian32(key + len - 4);
	if (len == 0)
		return 0;
	return s[0] << 16 | s[len / 2] << 8 | s[len - 1];
}

static inline int
compare_keys(const SortKey *a, const SortKey *b)
{
	if (a->len != b->len)
		return a->len < b->len ? -1 : 1;
	if (a->prefix != b->prefix)
		return a->prefix < b->prefix ? -1 : 1;
	return a->len <= 8 ? 0 : memcmp(a->key + 8, b->key + 8, a->len - 8);
}

/* Never 0: of equal keys the last one comes last. */
static inline int
compare_members(const SortKey *a, const SortKey *b)
{
	int			result = compare_keys(a, b);

	return result != 0 ? result : a->number < b->number ? -1 : 1;
}

#define ST_SORT sort_keys
#define ST_ELEMENT_TYPE SortKey
#define ST_COMPARE(a, b) compare_members(a, b)
#define ST_SCOPE static
#define ST_DEFINE
#include "lib/sort_template.h"

static bool
check_node(MmJsonbBuilder *b, uint32 i, MmTextFailure *failure)
{
	uint32		end = node_at(b, i)->next;

	if (node_at(b, i)->value.type != NODE_OBJECT)
		return mm_checker_value(&node_at(b, i)->value, node_at(b, i)->form,
								failure);
	for (i++; i < end; i = node_at(b, i)->next)
	{
		const MmValue *value = &node_at(b, i)->value;

		failure->path = NULL;
		failure->fault = mm_text_check(value->key, value->key_len);
		failure->bson_type = value->type == NODE_OBJECT ?
			MM_BSON_OBJECT : value->type;
		if (failure->fault != MM_TEXT_GOOD || !check_node(b, i, failure))
			return mm_extended_fail_below(failure, value->key,
										  value->key_len);
	}
	return true;
}

/* A value that is dropped is refused all the same. */
static pg_noinline void
drop(MmJsonbBuilder *b, const MmValue *value, MmJsonForm form)
{
	MmTextFailure failure;

	b->changes.duplicates++;
	if (b->writer.invalid_text == MM_INVALID_TEXT_REJECT && !b->failed)
		b->failed = value->type == NODE_VALUE ?
			!check_node(b, value->len, &failure) :
			!mm_checker_value(value, form, &failure);
}

/* Returns the number of those that stay. */
static uint32
drop_duplicates(MmJsonbBuilder *b, uint32 first, SortKey *keys, uint32 n,
				MmJsonForm form)
{
	uint32		kept = 0;

	for (uint32 i = 1; i < n; i++)
	{
		if (unlikely(compare_keys(&keys[kept], &keys[i]) == 0))
			drop(b, child_at(b, first + keys[kept].number), form);
		else
			kept++;
		keys[kept] = keys[i];
	}
	return n == 0 ? 0 : kept + 1;
}

/* Pushes the keys of these children, sorted; returns how many. */
static uint32
sort_members(MmJsonbBuilder *b, uint32 first, uint32 n, MmJsonForm form)
{
	SortKey    *keys = push(&b->keys, n * sizeof(SortKey));

	for (uint32 i = 0; i < n; i++)
	{
		const MmValue *value = child_at(b, first + i);
		SortKey    *key = &keys[i];

		key->key = value->key;
		key->len = value->key_len;
		if (unlikely(mm_text_check(key->key, key->len) != MM_TEXT_GOOD))
			key->key = repair(b, key->key, &key->len);
		key->prefix = make_prefix(key->key, key->len);
		key->number = i;
	}
	sort_keys(keys, n);
	return drop_duplicates(b, first, keys, n, form);
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

/* Header and room for the entries; see padding above. */
static inline Entries
begin_container(MmJsonbBuilder *b, uint32 header, uint32 n)
{
	Entries		entries = {0};
	char	   *p;

	pad(b);
	p = push(&b->out, sizeof(header) + n * sizeof(JEntry));
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

/* Of the n children from the first one on. */
static JEntry
emit_object(MmJsonbBuilder *b, uint32 first, uint32 n, MmJsonForm form)
{
	uint32		start = b->out.used;
	uint32		base = b->keys.used;
	Entries		entries;

	n = sort_members(b, first, n, form);
	entries = begin_container(b, JB_FOBJECT | n, 2 * n);
	for (uint32 i = 0; i < n; i++)
	{
		const SortKey *key = (SortKey *) (b->keys.items + base) + i;

		memcpy(push(&b->out, key->len), key->key, key->len);
		set_entry(b, &entries, JENTRY_ISSTRING | key->len);
	}
	for (uint32 i = 0; i < n; i++)
	{
		const SortKey *key = (SortKey *) (b->keys.items + base) + i;
		MmValue		value = *child_at(b, first + key->number);

		set_entry(b, &entries, emit_value(b, &value, form));
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
	{
		MmValue		value = *child_at(b, i);

		set_entry(b, &entries, emit_value(b, &value, form));
	}
	return JENTRY_ISCONTAINER | (b->out.used - start);
}

/* An embedded document, or an array, where the names are but indexes. */
static JEntry
emit_document(MmJsonbBuilder *b, const MmValue *document, MmJsonForm form)
{
	uint32		first = count_children(b);
	uint32		base = b->children.used;
	uint32		n;
	MmWalk		walk;
	JEntry		entry;

	check_stack_depth();
	(void) mm_walk_begin(&walk, document->data, document->len);
	while (!mm_walk_at_end(&walk))
		if (!mm_walk_next(&walk, push(&b->children, sizeof(MmValue))))
			elog(ERROR, "BSON document was not validated: %s", walk.fault);
	n = count_children(b) - first;
	entry = document->type == MM_BSON_ARRAY ?
		emit_array(b, first, n, form) : emit_object(b, first, n, form);
	b->children.used = base;
	return entry;
}

static JEntry
emit_node(MmJsonbBuilder *b, uint32 i)
{
	TreeNode		node = *node_at(b, i);
	uint32		first = count_children(b);
	uint32		base = b->children.used;
	JEntry		entry;

	if (node.value.type != NODE_OBJECT)
		return emit_value(b, &node.value, node.form);
	for (i++; i < node.next; i = node_at(b, i)->next)
	{
		MmValue    *child = push(&b->children, sizeof(MmValue));

		*child = node_at(b, i)->value;
		child->type = NODE_VALUE;
		child->len = i;
	}
	entry = emit_object(b, first, count_children(b) - first, MM_JSON_RELAXED);
	b->children.used = base;
	return entry;
}

/* ---------------------------------------------------------------------
 * Nodes, and the writer for extended.c
 * ---------------------------------------------------------------------
 */

static TreeNode *
add_node(MmJsonbBuilder *b, uint8 type, const void *data, uint32 len)
{
	TreeNode	   *node = push(&b->nodes, sizeof(TreeNode));

	node->value = (MmValue) {
		.type = type, .key = b->key, .key_len = b->key_len,
		.data = data, .len = len
	};
	node->form = MM_JSON_RELAXED;
	node->next = count_nodes(b);
	return node;
}

static void
begin(MmWriter *writer, bool array)
{
	MmJsonbBuilder *b = (MmJsonbBuilder *) writer;
	TreeNode	   *node = add_node(b, NODE_OBJECT, NULL, 0);

	Assert(!array);
	node->next = b->open;
	b->open = count_nodes(b) - 1;
}

static void
end(MmWriter *writer, bool array)
{
	MmJsonbBuilder *b = (MmJsonbBuilder *) writer;
	TreeNode	   *node = node_at(b, b->open);

	b->open = node->next;
	node->next = count_nodes(b);
}

/* Names of wrappers are constants; other keys come by mm_jsonb_key(). */
static bool
key(MmWriter *writer, const char *s, uint32 len)
{
	MmJsonbBuilder *b = (MmJsonbBuilder *) writer;

	b->key = s;
	b->key_len = len;
	return true;
}

/* Pieces are written from buffers that do not last. */
static void *
keep(MmJsonbBuilder *b, const void *data, uint32 len)
{
	return memcpy(MemoryContextAlloc(b->scratch, len), data, len);
}

static bool
string(MmWriter *writer, const char *s, uint32 len)
{
	MmJsonbBuilder *b = (MmJsonbBuilder *) writer;

	if (b->open == NO_NODE)
		b->entry = emit_string(b, s, len);
	else
		(void) add_node(b, MM_BSON_STRING, keep(b, s, len), len);
	return true;
}

static void
integer(MmWriter *writer, int64 v)
{
	MmJsonbBuilder *b = (MmJsonbBuilder *) writer;

	if (b->open == NO_NODE)
	{
		b->entry = emit_integer(b, v);
		return;
	}
#ifdef WORDS_BIGENDIAN
	v = pg_bswap64(v);
#endif
	(void) add_node(b, MM_BSON_INT64, keep(b, &v, sizeof(v)), sizeof(v));
}

static void
real(MmWriter *writer, double v)
{
	MmJsonbBuilder *b = (MmJsonbBuilder *) writer;

	Assert(b->open == NO_NODE);
	b->entry = emit_double(b, v);
}

static void
decimal(MmWriter *writer, const char *digits)
{
	MmJsonbBuilder *b = (MmJsonbBuilder *) writer;

	Assert(b->open == NO_NODE);
	b->entry = emit_numeric(b, mm_form_text_numeric(digits));
}

static void
boolean(MmWriter *writer, bool v)
{
	MmJsonbBuilder *b = (MmJsonbBuilder *) writer;
	uint8		byte = v;

	(void) add_node(b, MM_BSON_BOOL, keep(b, &byte, 1), 1);
}

static void
null(MmWriter *writer)
{
	((MmJsonbBuilder *) writer)->entry = JENTRY_ISNULL;
}

static bool
document(MmWriter *writer, const MmValue *value)
{
	MmJsonbBuilder *b = (MmJsonbBuilder *) writer;

	add_node(b, value->type, value->data, value->len)->form = writer->form;
	return true;
}

static const MmWriterOps jsonb_ops = {
	.begin = begin,
	.end = end,
	.key = key,
	.string = string,
	.integer = integer,
	.real = real,
	.decimal = decimal,
	.boolean = boolean,
	.null = null,
	.document = document
};

/*
 * What extended.c makes of a value: a scalar, which is written at once, or an
 * object.  In the latter may be a document ($scope), so that there can be
 * several at a time.
 */
static JEntry
emit_extended(MmJsonbBuilder *b, const MmValue *value, MmJsonForm form)
{
	uint32		base = count_nodes(b);
	MemoryContext old = MemoryContextSwitchTo(b->scratch);

	b->pending++;
	b->writer.form = form;
	(void) mm_extended_write(&b->writer, value);
	MemoryContextSwitchTo(old);
	if (count_nodes(b) > base)
	{
		b->entry = emit_node(b, base);
		b->nodes.used = base * sizeof(TreeNode);
	}
	if (--b->pending == 0)
		MemoryContextReset(b->scratch);
	return b->entry;
}

/* ---------------------------------------------------------------------
 * Values
 * ---------------------------------------------------------------------
 */

/* Appends the data of a value, and returns its entry. */
static JEntry
emit_value(MmJsonbBuilder *b, const MmValue *value, MmJsonForm form)
{
	MmNumber	number;

	switch (value->type)
	{
		case MM_BSON_STRING:
			return emit_string(b, (const char *) value->data, value->len);
		case MM_BSON_OBJECT:
		case MM_BSON_ARRAY:
			return emit_document(b, value, form);
		case MM_BSON_BOOL:
			return value->data[0] != 0 ?
				JENTRY_ISBOOL_TRUE : JENTRY_ISBOOL_FALSE;
		case MM_BSON_NULL:
			return JENTRY_ISNULL;
		case MM_BSON_INT32:
		case MM_BSON_INT64:
			if (form == MM_JSON_CANONICAL)
				break;
			return emit_integer(b, mm_walk_integer(value));
		case MM_BSON_OBJECT_ID:
			if (form != MM_JSON_SIMPLE)
				break;
			return emit_object_id(b, value->data);
		case MM_BSON_DECIMAL:
			if (form != MM_JSON_SIMPLE ||
				!mm_number_from_decimal(value->data, &number))
				break;
			return emit_number(b, &number);
		case NODE_VALUE:
			return emit_node(b, value->len);
		default:
			break;
	}
	return emit_extended(b, value, form);
}

/* ---------------------------------------------------------------------
 * Interface
 * ---------------------------------------------------------------------
 */

MmJsonbBuilder *
mm_jsonb_create(void)
{
	MmJsonbBuilder *b = palloc0(sizeof(MmJsonbBuilder));

	b->writer.ops = &jsonb_ops;
	b->scratch = AllocSetContextCreate(CurrentMemoryContext, "jsonb builder",
									   ALLOCSET_SMALL_SIZES);
	init_stack(&b->out);
	init_stack(&b->children);
	init_stack(&b->keys);
	init_stack(&b->nodes);
	return b;
}

/* Whatever an error may have left behind is forgotten. */
static void
start(MmJsonbBuilder *b, MmInvalidText invalid_text)
{
	b->writer.invalid_text = invalid_text;
	b->out.used = SCALAR_HEADER;
	b->children.used = 0;
	b->keys.used = 0;
	b->nodes.used = 0;
	b->open = NO_NODE;
	b->key = "";
	b->key_len = 0;
	b->pending = 0;
	b->failed = false;
	b->changes = (MmJsonbChanges) {0};
}

/* A scalar is the only element of an array that is flagged. */
static Jsonb *
copy_result(MmJsonbBuilder *b, JEntry root)
{
	uint32		header = JB_FARRAY | JB_FSCALAR | 1;
	uint32		from = JBE_ISCONTAINER(root) ? SCALAR_HEADER : 0;
	Size		len = b->out.used - from;
	Jsonb	   *result = palloc(VARHDRSZ + len);

	root |= JENTRY_HAS_OFF;
	memcpy(b->out.items, &header, sizeof(header));
	memcpy(b->out.items + sizeof(header), &root, sizeof(root));
	SET_VARSIZE(result, VARHDRSZ + len);
	memcpy(VARDATA(result), b->out.items + from, len);
	return result;
}

static void
finish(MmJsonbBuilder *b)
{
	trim(&b->out);
	trim(&b->children);
	trim(&b->keys);
	trim(&b->nodes);
}

Jsonb *
mm_jsonb_from_value(MmJsonbBuilder *b, const MmValue *value, MmJsonForm form,
					MmInvalidText invalid_text, MmTextFailure *failure)
{
	Jsonb	   *result = NULL;
	JEntry		root;

	start(b, invalid_text);
	root = emit_value(b, value, form);
	if (!b->failed)
		result = copy_result(b, root);
	else if (mm_checker_value(value, form, failure))
		elog(ERROR, "text that was refused is not found again");
	finish(b);
	return result;
}

void
mm_jsonb_begin(MmJsonbBuilder *b, MmInvalidText invalid_text)
{
	start(b, invalid_text);
}

void
mm_jsonb_begin_object(MmJsonbBuilder *b)
{
	begin(&b->writer, false);
}

void
mm_jsonb_key(MmJsonbBuilder *b, const char *name, uint32 len)
{
	(void) key(&b->writer, name, len);
}

void
mm_jsonb_value(MmJsonbBuilder *b, const MmValue *value, MmJsonForm form)
{
	TreeNode	   *node = add_node(b, value->type, value->data, value->len);

	node->value.subtype = value->subtype;
	node->form = form;
}

void
mm_jsonb_end_object(MmJsonbBuilder *b)
{
	end(&b->writer, false);
}

Jsonb *
mm_jsonb_finish(MmJsonbBuilder *b, MmTextFailure *failure)
{
	Jsonb	   *result = NULL;
	JEntry		root;

	Assert(b->open == NO_NODE);
	root = emit_node(b, 0);
	if (!b->failed)
		result = copy_result(b, root);
	else if (check_node(b, 0, failure))
		elog(ERROR, "text that was refused is not found again");
	finish(b);
	return result;
}

MmJsonbChanges
mm_jsonb_changes(const MmJsonbBuilder *b)
{
	return b->changes;
}
