/*-------------------------------------------------------------------------
 *
 * infer.c
 *	  What was seen in documents, field by field -> fields of a contract.
 *
 * Each name at the top level gets a record of how often which type stood
 * there.  At the end a type is chosen for each (merge.c), and a column name:
 * names.c makes one from the name alone, here those that collide are told
 * apart.
 *
 * The source decides how many different names there are: limits keep the
 * memory bounded, and what lies beyond them has no column, so that it is
 * kept in _extra.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "convert/convert.h"
#include "convert/keymap.h"
#include "convert/merge.h"
#include "convert/names.h"
#include "convert/text.h"
#include "convert/walk.h"

/* A table can have 1600 columns; leave some for _extra and for people. */
#define COLUMNS_MAX 1590
#define TABLE_MAX 1600

#define KEYS_MAX 100000
#define KEY_LEN_MAX 1024

struct MmInfer
{
	MemoryContext context;
	MmNaming	naming;
	int64		documents;
	mm_keymap_hash *by_key;		/* to index in seen */
	int			nseen;
	int			size;
	MmSeen	  **seen;			/* in the order first seen, _id first */
};

/* A column name in the making. */
typedef struct Naming
{
	int			index;			/* in the list of fields */
	char	   *path;
	char	   *base;			/* without regard to others */
} Naming;

/* ---------------------------------------------------------------------
 * Documents
 * ---------------------------------------------------------------------
 */

/* In the context of infer. */
static MmSeen *
add_seen(MmInfer *infer, const char *key, uint32 len)
{
	MmSeen	   *seen = palloc0(sizeof(MmSeen));
	MmKey		entry;
	bool		found;

	if (infer->nseen == infer->size)
	{
		infer->size *= 2;
		infer->seen = repalloc(infer->seen, sizeof(MmSeen *) * infer->size);
	}
	seen->key = pnstrdup(key, len);
	seen->key_len = len;
	seen->number = infer->nseen;
	entry = (MmKey) {seen->key, len};
	mm_keymap_insert(infer->by_key, entry, &found)->number = infer->nseen;
	infer->seen[infer->nseen++] = seen;
	return seen;
}

MmInfer *
mm_infer_begin(MmNaming naming)
{
	MmInfer    *infer = palloc0(sizeof(MmInfer));

	infer->context = CurrentMemoryContext;
	infer->naming = naming;
	infer->by_key = mm_keymap_create(CurrentMemoryContext, 64, NULL);
	infer->size = 64;
	infer->seen = palloc(sizeof(MmSeen *) * infer->size);
	(void) add_seen(infer, "_id", strlen("_id"));
	return infer;
}

/* NULL: a name that gets no column. */
static MmSeen *
find_seen(MmInfer *infer, const MmValue *value)
{
	MmKey		key = {value->key, value->key_len};
	MmKeyEntry *entry = mm_keymap_lookup(infer->by_key, key);
	MemoryContext old;
	MmSeen	   *seen;

	if (entry != NULL)
		return infer->seen[entry->number];
	if (infer->nseen >= KEYS_MAX || value->key_len > KEY_LEN_MAX ||
		mm_text_check(value->key, value->key_len) != MM_TEXT_GOOD)
		return NULL;
	old = MemoryContextSwitchTo(infer->context);
	seen = add_seen(infer, value->key, value->key_len);
	MemoryContextSwitchTo(old);
	return seen;
}

static void
count_elements(MmSeen *seen, const MmValue *array)
{
	uint32		n = 0;
	MmWalk		walk;
	MmValue		element;

	(void) mm_walk_begin(&walk, array->data, array->len);
	for (; !mm_walk_at_end(&walk) && mm_walk_next(&walk, &element); n++)
		seen->elements |= (uint32) 1 << mm_merge_class(&element);
	if (seen->counts[MM_BSON_ARRAY] == 1)
		seen->min_elements = n;
	seen->min_elements = Min(seen->min_elements, n);
	seen->max_elements = Max(seen->max_elements, n);
}

/* Of a name that a document has twice, the last value counts. */
static void
count_value(MmInfer *infer, MmSeen *seen, const MmValue *value)
{
	int			class = mm_merge_class(value);

	if (seen->last_document == infer->documents)
		seen->counts[seen->last_class]--;
	else
		seen->documents++;
	seen->last_document = infer->documents;
	seen->last_class = class;
	seen->counts[class]++;
	if (value->type == MM_BSON_ARRAY)
		count_elements(seen, value);
	if (value->type == MM_BSON_BINARY)
	{
		if (seen->counts[MM_BSON_BINARY] + seen->counts[MM_CLASS_UUID] == 1)
			seen->subtype = value->subtype;
		seen->several_subtypes |= seen->subtype != value->subtype;
	}
}

bool
mm_infer_document(MmInfer *infer, const uint8 *doc, uint32 len)
{
	MmWalk		walk;
	MmValue		value;

	if (!mm_walk_validate(&walk, doc, len))
		return false;
	infer->documents++;
	(void) mm_walk_begin(&walk, doc, len);
	while (!mm_walk_at_end(&walk) && mm_walk_next(&walk, &value))
	{
		MmSeen	   *seen = find_seen(infer, &value);

		if (seen != NULL)
			count_value(infer, seen, &value);
	}
	return true;
}

int64
mm_infer_documents(const MmInfer *infer)
{
	return infer->documents;
}

/* ---------------------------------------------------------------------
 * Columns
 * ---------------------------------------------------------------------
 */

/* By name; then the path that is the name first, the others by their bytes. */
static int
compare_namings(const void *a, const void *b)
{
	const Naming *x = a;
	const Naming *y = b;
	int			result = strcmp(x->base, y->base);

	if (result == 0)
		result = (strcmp(y->path, y->base) == 0) -
			(strcmp(x->path, x->base) == 0);
	return result != 0 ? result : strcmp(x->path, y->path);
}

/* False when the name is taken already. */
static bool
take_name(mm_keymap_hash *taken, const char *name)
{
	MmKey		key = {name, strlen(name)};
	bool		found;

	(void) mm_keymap_insert(taken, key, &found);
	return !found;
}

/*
 * Gives each field the name of its path.  Of those with the same name the
 * first in order gets it, the others "_2", "_3"; but only when all plain
 * names are given, as those come first.
 */
static void
set_columns(MmInferField **fields, int n, MmNaming style)
{
	Naming	   *namings = palloc(sizeof(Naming) * n);
	mm_keymap_hash *taken = mm_keymap_create(CurrentMemoryContext, n + 1,
											 NULL);
	int			number = 0;

	for (int i = 0; i < n; i++)
	{
		char	   *path = fields[i]->field.path;

		namings[i] = (Naming) {i, path, mm_name_column(path, style)};
	}
	qsort(namings, n, sizeof(Naming), compare_namings);
	(void) take_name(taken, "_extra");
	for (int i = 0; i < n; i++)
		if (take_name(taken, namings[i].base))
			fields[namings[i].index]->field.column = namings[i].base;
	for (int i = 0; i < n; i++)
	{
		MmField    *field = &fields[namings[i].index]->field;

		if (i == 0 || strcmp(namings[i].base, namings[i - 1].base) != 0)
			number = 2;
		while (field->column == NULL)
		{
			char	   *name = mm_names_number(namings[i].base, number++);

			if (take_name(taken, name))
				field->column = name;
		}
	}
	mm_keymap_destroy(taken);
}

/* _id, then the most frequent; equals in the order first seen. */
static int
compare_frequency(const void *a, const void *b)
{
	const MmSeen *x = *(MmSeen *const *) a;
	const MmSeen *y = *(MmSeen *const *) b;

	if (x->number == 0 || y->number == 0)
		return (y->number == 0) - (x->number == 0);
	if (x->documents != y->documents)
		return x->documents > y->documents ? -1 : 1;
	return x->number - y->number;
}

static int
compare_order(const void *a, const void *b)
{
	return (*(MmSeen *const *) a)->number - (*(MmSeen *const *) b)->number;
}

/* Those that become columns, in the order first seen. */
static int
pick_columns(MmInfer *infer)
{
	if (infer->nseen < TABLE_MAX)
		return infer->nseen;
	qsort(infer->seen, infer->nseen, sizeof(MmSeen *), compare_frequency);
	qsort(infer->seen, COLUMNS_MAX, sizeof(MmSeen *), compare_order);
	return COLUMNS_MAX;
}

static MmInferField *
make_field(const MmInfer *infer, const MmSeen *seen)
{
	MmInferField *result = palloc0(sizeof(MmInferField));
	int64		nulls = seen->counts[MM_BSON_NULL] +
		seen->counts[MM_BSON_UNDEFINED];

	result->field.key = seen->key;
	result->field.path = mm_names_quote(seen->key);
	result->nullable = nulls > 0 || seen->documents < infer->documents;
	if (infer->documents > 0)
		result->present = 100.0 * seen->documents / infer->documents;
	return result;
}

/* Says on the line of _id, which is the first, how many fields have none. */
static void
note_dropped(MmInferField *id, int dropped)
{
	char	   *note;

	if (dropped == 0)
		return;
	note = psprintf("%d less frequent fields have no column", dropped);
	id->note = id->note ? psprintf("%s; %s", id->note, note) : note;
}

/* The documents are over: nothing can be added after this. */
List *
mm_infer_finish(MmInfer *infer, uint8 id_first, uint8 id_last)
{
	MemoryContext old = MemoryContextSwitchTo(infer->context);
	int			n = pick_columns(infer);
	MmInferField **fields = palloc(sizeof(MmInferField *) * n);
	List	   *result = NIL;

	for (int i = 0; i < n; i++)
	{
		fields[i] = make_field(infer, infer->seen[i]);
		if (i == 0)
			mm_merge_id(infer->seen[0], id_first, id_last, fields[0]);
		else
			mm_merge_field(infer->seen[i], fields[i]);
		result = lappend(result, fields[i]);
	}
	fields[0]->nullable = false;
	fields[0]->field.not_null = true;
	note_dropped(fields[0], infer->nseen - n);
	set_columns(fields, n, infer->naming);
	MemoryContextSwitchTo(old);
	return result;
}
