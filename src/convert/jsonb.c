/*-------------------------------------------------------------------------
 *
 * jsonb.c
 *	  BSON values as jsonb.
 *
 * A builder writes the bytes of a jsonb directly (jsonb_emit.c), into a block
 * that it uses again; the result is copied to a chunk of its size.
 *
 * What extended.c begins and ends piece by piece cannot be written at once,
 * as the order of its keys is not the one of jsonb: the pieces become a small
 * tree of nodes, written when it is complete.  An object that is put together
 * by mm_jsonb_begin_object() and its kin is such a tree too.  Documents are
 * no trees: nodes point to them.
 *
 * Text that may not be written is remembered only, and the rest written in
 * vain: in the end checker.c finds the place of the first in the document.  A
 * document that is not valid is remembered, too.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "convert/checker.h"
#include "convert/form.h"
#include "convert/jsonb.h"
#include "convert/jsonb_emit.h"

#define NO_NODE PG_UINT32_MAX

/* The root is behind the header and the entry of a raw scalar. */
#define SCALAR_HEADER (sizeof(uint32) + sizeof(JEntry))

/* ---------------------------------------------------------------------
 * Nodes
 * ---------------------------------------------------------------------
 */

static inline uint32
count_nodes(const MmJsonbBuilder *b)
{
	return b->nodes.used / sizeof(MmNode);
}

/* With the key that was set before. */
static MmNode *
add_node(MmJsonbBuilder *b, uint8 type, const void *data, uint32 len)
{
	MmNode	   *node = mm_stack_push(&b->nodes, sizeof(MmNode));

	node->value = (MmValue) {
		.type = type, .key = b->key, .key_len = b->key_len,
		.data = data, .len = len
	};
	node->form = MM_JSON_RELAXED;
	node->next = count_nodes(b);
	return node;
}

static void
set_key(MmJsonbBuilder *b, const char *s, uint32 len)
{
	b->key = s;
	b->key_len = len;
}

static void
begin_node(MmJsonbBuilder *b)
{
	MmNode	   *node = add_node(b, MM_NODE_OBJECT, NULL, 0);

	node->next = b->open;
	b->open = count_nodes(b) - 1;
}

static void
end_node(MmJsonbBuilder *b)
{
	MmNode	   *node = mm_node_at(b, b->open);

	b->open = node->next;
	node->next = count_nodes(b);
}

/* A name is a string, whatever it names. */
static MmTextFault
check_key(const MmValue *value, MmTextFailure *failure)
{
	*failure = (MmTextFailure) {
		.fault = mm_text_check(value->key, value->key_len),
		.bson_type = MM_BSON_STRING
	};
	return failure->fault;
}

/* In the order in which they came, so that the first one is found. */
bool
mm_jsonb_check_node(MmJsonbBuilder *b, uint32 i, MmTextFailure *failure)
{
	const MmNode *node = mm_node_at(b, i);
	uint32		end = node->next;

	if (node->value.type != MM_NODE_OBJECT)
		return mm_checker_value(&node->value, node->form, failure);
	for (i++; i < end; i = node->next)
	{
		node = mm_node_at(b, i);
		if (check_key(&node->value, failure) != MM_TEXT_GOOD ||
			!mm_jsonb_check_node(b, i, failure))
			return mm_extended_fail_below(failure, node->value.key,
										  node->value.key_len);
	}
	return true;
}

/* ---------------------------------------------------------------------
 * The writer for extended.c
 * ---------------------------------------------------------------------
 */

/* document() is there, so that all that begins is an object. */
static void
begin(MmWriter *writer, bool array)
{
	Assert(!array);
	begin_node((MmJsonbBuilder *) writer);
}

static void
end(MmWriter *writer, bool array)
{
	end_node((MmJsonbBuilder *) writer);
}

/* The names of wrappers are constants. */
static bool
key(MmWriter *writer, const char *s, uint32 len)
{
	set_key((MmJsonbBuilder *) writer, s, len);
	return true;
}

/* What extended.c writes lies in buffers that do not last. */
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
		b->entry = mm_jsonb_emit_string(b, s, len);
	else
		(void) add_node(b, MM_BSON_STRING, keep(b, s, len), len);
	return true;
}

static void
integer(MmWriter *writer, int64 v)
{
	MmJsonbBuilder *b = (MmJsonbBuilder *) writer;

	Assert(b->open != NO_NODE);	/* others are written by jsonb_emit.c */
#ifdef WORDS_BIGENDIAN
	v = pg_bswap64(v);
#endif
	(void) add_node(b, MM_BSON_INT64, keep(b, &v, sizeof(v)), sizeof(v));
}

static void
decimal(MmWriter *writer, const char *digits)
{
	MmJsonbBuilder *b = (MmJsonbBuilder *) writer;

	Assert(b->open == NO_NODE);
	b->entry = mm_jsonb_emit_numeric(b, mm_form_text_numeric(digits));
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

/* No real: jsonb_emit.c writes the doubles that are numbers. */
static const MmWriterOps jsonb_ops = {
	.begin = begin,
	.end = end,
	.key = key,
	.string = string,
	.integer = integer,
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
JEntry
mm_jsonb_emit_extended(MmJsonbBuilder *b, const MmValue *value,
					   MmJsonForm form)
{
	uint32		base = count_nodes(b);
	MemoryContext old = MemoryContextSwitchTo(b->scratch);

	b->pending++;
	b->writer.form = form;
	(void) mm_extended_write(&b->writer, value);
	MemoryContextSwitchTo(old);
	if (count_nodes(b) > base)
	{
		b->entry = mm_jsonb_emit_node(b, base);
		b->nodes.used = base * sizeof(MmNode);
	}
	if (--b->pending == 0)
		MemoryContextReset(b->scratch);
	return b->entry;
}

/* ---------------------------------------------------------------------
 * Interface
 * ---------------------------------------------------------------------
 */

MmJsonbBuilder *
mm_jsonb_create(MmArena *arena)
{
	MmJsonbBuilder *b = palloc0(sizeof(MmJsonbBuilder));

	b->writer.ops = &jsonb_ops;
	b->arena = arena;
	b->scratch = AllocSetContextCreate(CurrentMemoryContext, "jsonb builder",
									   ALLOCSET_SMALL_SIZES);
	mm_stack_init(&b->out);
	mm_stack_init(&b->children);
	mm_stack_init(&b->keys);
	mm_stack_init(&b->nodes);
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
	b->inside = (MmInside) {0};
	b->changes = (MmJsonbChanges) {0};
}

/* A scalar is the only element of an array that is flagged. */
static Jsonb *
copy_result(MmJsonbBuilder *b, JEntry root)
{
	uint32		header = JB_FARRAY | JB_FSCALAR | 1;
	uint32		from = JBE_ISCONTAINER(root) ? SCALAR_HEADER : 0;
	Size		len = b->out.used - from;
	Jsonb	   *result = mm_arena_alloc(b->arena, VARHDRSZ + len);

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
	mm_stack_trim(&b->out);
	mm_stack_trim(&b->children);
	mm_stack_trim(&b->keys);
	mm_stack_trim(&b->nodes);
}

static void
check_inside(const MmJsonbBuilder *b)
{
	if (b->inside.faulty)
		elog(ERROR, "BSON document was not validated");
}

Jsonb *
mm_jsonb_from_unread(MmJsonbBuilder *b, const MmValue *value, MmJsonForm form,
					 MmInvalidText invalid_text, MmInside *inside,
					 MmTextFailure *failure)
{
	Jsonb	   *result = NULL;
	JEntry		root;

	start(b, invalid_text);
	b->inside = *inside;
	root = mm_jsonb_emit(b, value, form);
	*inside = b->inside;
	if (likely(!inside->faulty && !b->failed))
		result = copy_result(b, root);
	else if (!inside->faulty && mm_checker_value(value, form, failure))
		elog(ERROR, "text that was refused is not found again");
	finish(b);
	return result;
}

Jsonb *
mm_jsonb_from_value(MmJsonbBuilder *b, const MmValue *value, MmJsonForm form,
					MmInvalidText invalid_text, MmTextFailure *failure)
{
	MmInside	inside = {0};
	Jsonb	   *result = mm_jsonb_from_unread(b, value, form, invalid_text,
											  &inside, failure);

	check_inside(b);
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
	begin_node(b);
}

void
mm_jsonb_key(MmJsonbBuilder *b, const char *key, uint32 len)
{
	set_key(b, key, len);
}

void
mm_jsonb_value(MmJsonbBuilder *b, const MmValue *value, MmJsonForm form)
{
	MmNode	   *node = add_node(b, value->type, value->data, value->len);

	node->value.subtype = value->subtype;
	node->form = form;
}

void
mm_jsonb_end_object(MmJsonbBuilder *b)
{
	end_node(b);
}

Jsonb *
mm_jsonb_finish(MmJsonbBuilder *b, MmTextFailure *failure)
{
	Jsonb	   *result = NULL;
	JEntry		root;

	Assert(b->open == NO_NODE && count_nodes(b) > 0);
	root = mm_jsonb_emit_node(b, 0);
	check_inside(b);
	if (!b->failed)
		result = copy_result(b, root);
	else if (mm_jsonb_check_node(b, 0, failure))
		elog(ERROR, "text that was refused is not found again");
	finish(b);
	return result;
}

MmJsonbChanges
mm_jsonb_changes(const MmJsonbBuilder *b)
{
	return b->changes;
}
