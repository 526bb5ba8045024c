/*-------------------------------------------------------------------------
 *
 * infer.c
 *	  What was seen in documents, field by field -> fields of a contract.
 *
 * Each name gets a record of how often which type stood there; the names in
 * embedded documents, down to flatten_depth, make a tree.  At the end a type
 * is chosen for each (merge.c), embedded documents become columns of their
 * fields unless their keys look like data, and each path gets a column name:
 * names.c makes one from the path alone, here those that collide are told
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
#include "convert/infer.h"
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

/* Keys of an embedded document look like data from these numbers on. */
#define DATA_KEYS_MIN 8			/* that have the form of data */
#define SPARSE_KEYS_MIN 64		/* that few of the documents have */
#define SPARSE_SHARE 20			/* 1/n of the embedded documents */

/* The names at one level of the tree. */
struct MmLevel
{
	const MmSeen *owner;		/* NULL: the documents themselves */
	int			depth;			/* 1: the documents themselves */
	mm_keymap_hash *by_key;		/* to index in seen */
	int			nseen;
	int			size;
	MmSeen	  **seen;			/* in the order first seen */
};

struct MmInfer
{
	MemoryContext context;
	MmInferOptions options;
	int64		documents;
	int			keys;			/* at all levels */
	MmLevel    *root;			/* _id first */
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

static MmLevel *
make_level(const MmSeen *owner, int depth)
{
	MmLevel    *level = palloc0(sizeof(MmLevel));

	level->owner = owner;
	level->depth = depth;
	level->by_key = mm_keymap_create(CurrentMemoryContext, 8, NULL);
	level->size = 8;
	level->seen = palloc(sizeof(MmSeen *) * level->size);
	return level;
}

/* In the context of infer. */
static MmSeen *
add_seen(MmInfer *infer, MmLevel *level, const char *key, uint32 len)
{
	MmSeen	   *seen = palloc0(sizeof(MmSeen));
	MmKey		entry;
	bool		found;

	if (level->nseen == level->size)
	{
		level->size *= 2;
		level->seen = repalloc(level->seen, sizeof(MmSeen *) * level->size);
	}
	seen->parent = level->owner;
	seen->key = pnstrdup(key, len);
	seen->key_len = len;
	seen->number = infer->keys++;
	entry = (MmKey) {seen->key, len};
	mm_keymap_insert(level->by_key, entry, &found)->number = level->nseen;
	level->seen[level->nseen++] = seen;
	return seen;
}

MmInfer *
mm_infer_begin(const MmInferOptions *options)
{
	MmInfer    *infer = palloc0(sizeof(MmInfer));

	infer->context = CurrentMemoryContext;
	infer->options = *options;
	infer->root = make_level(NULL, 1);
	(void) add_seen(infer, infer->root, "_id", strlen("_id"));
	return infer;
}

/* NULL: a name that gets no column. */
static MmSeen *
find_seen(MmInfer *infer, MmLevel *level, const MmValue *value)
{
	MmKey		key = {value->key, value->key_len};
	MmKeyEntry *entry = mm_keymap_lookup(level->by_key, key);
	MemoryContext old;
	MmSeen	   *seen;

	if (entry != NULL)
		return level->seen[entry->number];
	if (infer->keys >= KEYS_MAX || value->key_len > KEY_LEN_MAX ||
		mm_text_check(value->key, value->key_len) != MM_TEXT_GOOD)
		return NULL;
	old = MemoryContextSwitchTo(infer->context);
	seen = add_seen(infer, level, value->key, value->key_len);
	MemoryContextSwitchTo(old);
	return seen;
}

static void
count_elements(MmSeen *seen, const MmValue *array, MmUuidForm uuid)
{
	uint32		n = 0;
	MmWalk		walk;
	MmValue		element;

	(void) mm_walk_begin(&walk, array->data, array->len);
	for (; !mm_walk_at_end(&walk) && mm_walk_next(&walk, &element); n++)
		seen->elements |= (uint32) 1 << mm_merge_class(&element, uuid);
	if (seen->counts[MM_BSON_ARRAY] == 1)
		seen->min_elements = n;
	seen->min_elements = Min(seen->min_elements, n);
	seen->max_elements = Max(seen->max_elements, n);
}

static void
count_binary(MmSeen *seen, const MmValue *value)
{
	if (seen->counts[MM_BSON_BINARY] + seen->counts[MM_CLASS_UUID] == 1)
		seen->subtype = value->subtype;
	seen->several_subtypes |= seen->subtype != value->subtype;
	seen->old_uuids |= value->subtype == MM_BINARY_OLD_UUID;
}

/* Up to MM_DISTINCT of them; a collision of hashes only makes them fewer. */
static void
count_distinct(MmSeen *seen, const MmValue *value)
{
	uint32		hash = hash_bytes(value->data, value->len);

	for (int i = 0; i < seen->ndistinct; i++)
		if (seen->distinct[i] == hash)
			return;
	if (seen->ndistinct < MM_DISTINCT)
		seen->distinct[seen->ndistinct] = hash;
	seen->ndistinct = Min(seen->ndistinct + 1, MM_DISTINCT + 1);
}

/* Of a name that a document has twice, the last value counts. */
static void
count_value(MmInfer *infer, MmSeen *seen, const MmValue *value)
{
	int			class = mm_merge_class(value, infer->options.uuid);

	if (seen->last_document == infer->documents)
		seen->counts[seen->last_class]--;
	else
		seen->documents++;
	seen->last_document = infer->documents;
	seen->last_class = class;
	seen->counts[class]++;
	if (value->type == MM_BSON_ARRAY)
		count_elements(seen, value, infer->options.uuid);
	else if (value->type == MM_BSON_BINARY)
		count_binary(seen, value);
	else if (value->type == MM_BSON_STRING && seen->ndistinct <= MM_DISTINCT)
		count_distinct(seen, value);
}

static void
count_members(MmInfer *infer, MmLevel *level, const uint8 *doc, uint32 len)
{
	MmWalk		walk;
	MmValue		value;

	(void) mm_walk_begin(&walk, doc, len);
	while (!mm_walk_at_end(&walk) && mm_walk_next(&walk, &value))
	{
		MmSeen	   *seen = find_seen(infer, level, &value);

		if (seen == NULL)
			continue;
		count_value(infer, seen, &value);
		if (value.type != MM_BSON_OBJECT ||
			level->depth >= infer->options.flatten_depth)
			continue;
		if (seen->level == NULL)
		{
			MemoryContext old = MemoryContextSwitchTo(infer->context);

			seen->level = make_level(seen, level->depth + 1);
			MemoryContextSwitchTo(old);
		}
		count_members(infer, seen->level, value.data, value.len);
	}
}

bool
mm_infer_document(MmInfer *infer, const uint8 *doc, uint32 len)
{
	MmWalk		walk;

	if (!mm_walk_validate(&walk, doc, len))
		return false;
	infer->documents++;
	count_members(infer, infer->root, doc, len);
	return true;
}

int64
mm_infer_documents(const MmInfer *infer)
{
	return infer->documents;
}

/* ---------------------------------------------------------------------
 * Embedded documents
 * ---------------------------------------------------------------------
 */

/* A number, an ObjectId, a UUID, a date: no word that a program has. */
static bool
has_form_of_data(const char *key)
{
	size_t		len = strlen(key);
	bool		hex = strspn(key, "0123456789abcdefABCDEF") == len;

	if (len == 0)
		return false;
	return strspn(key, "0123456789-:.TZ") == len || (hex && len == 24) ||
		(len == 36 && strspn(key, "0123456789abcdefABCDEF-") == len);
}

/*
 * Do the keys look like data: many of which each document has few, or with
 * the form of ids and dates?  Then columns would be rows.
 */
static bool
is_keyed_by_data(const MmSeen *seen)
{
	const MmLevel *level = seen->level;
	int64		values = 0;
	int			of_data = 0;

	for (int i = 0; i < level->nseen; i++)
	{
		values += level->seen[i]->documents;
		of_data += has_form_of_data(level->seen[i]->key);
	}
	if (of_data >= DATA_KEYS_MIN && of_data * 2 > level->nseen)
		return true;
	return level->nseen >= SPARSE_KEYS_MIN &&
		values * SPARSE_SHARE < seen->counts[MM_BSON_OBJECT] * level->nseen;
}

static bool
is_flattened(const MmSeen *seen, char **note)
{
	if (seen->level == NULL || seen->level->nseen == 0 ||
		!mm_merge_is_object(seen))
		return false;
	if (!is_keyed_by_data(seen))
		return true;
	*note = psprintf("%d distinct keys: kept as jsonb", seen->level->nseen);
	return false;
}

/* Those that become columns, with embedded documents in their place. */
static List *
collect(const MmLevel *level, List *result)
{
	for (int i = 0; i < level->nseen; i++)
	{
		MmSeen	   *seen = level->seen[i];
		bool		is_id = level->owner == NULL && i == 0;

		if (!is_id && is_flattened(seen, &seen->note))
			result = collect(seen->level, result);
		else
			result = lappend(result, seen);
	}
	return result;
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
compare_frequency(const ListCell *a, const ListCell *b)
{
	const MmSeen *x = lfirst(a);
	const MmSeen *y = lfirst(b);

	if (x->number == 0 || y->number == 0)
		return (y->number == 0) - (x->number == 0);
	if (x->documents != y->documents)
		return x->documents > y->documents ? -1 : 1;
	return x->number - y->number;
}

/* The order of the walk, in which collect() brought them. */
static int
compare_order(const ListCell *a, const ListCell *b)
{
	return ((const MmSeen *) lfirst(a))->order -
		((const MmSeen *) lfirst(b))->order;
}

/* Those that become columns; *dropped: how many do not. */
static List *
pick_columns(const MmInfer *infer, int *dropped)
{
	List	   *all = collect(infer->root, NIL);
	ListCell   *lc;
	int			order = 0;

	*dropped = 0;
	if (list_length(all) < TABLE_MAX)
		return all;
	foreach(lc, all)
		((MmSeen *) lfirst(lc))->order = order++;
	list_sort(all, compare_frequency);
	*dropped = list_length(all) - COLUMNS_MAX;
	all = list_truncate(all, COLUMNS_MAX);
	list_sort(all, compare_order);
	return all;
}

static List *
parts_of(const MmSeen *seen)
{
	List	   *parts = NIL;

	for (; seen != NULL; seen = seen->parent)
		parts = lcons(seen->key, parts);
	return parts;
}

static MmInferField *
make_field(const MmInfer *infer, const MmSeen *seen)
{
	MmInferField *result = palloc0(sizeof(MmInferField));
	int64		nulls = seen->counts[MM_BSON_NULL] +
		seen->counts[MM_BSON_UNDEFINED];

	result->field.format = result->field.on_error = MM_INHERIT;
	result->field.parts = parts_of(seen);
	result->field.path = mm_names_join(result->field.parts);
	result->note = seen->note;
	result->nullable = nulls > 0 || seen->documents < infer->documents;
	if (infer->documents > 0)
		result->present = 100.0 * seen->documents / infer->documents;
	if (seen->number == 0)
	{
		result->nullable = false;
		result->field.not_null = true;
	}
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

/* The column of layout "document". */
static MmInferField *
make_document_field(void)
{
	MmInferField *result = palloc0(sizeof(MmInferField));

	result->field.kind = MM_FIELD_DOCUMENT;
	result->field.format = result->field.on_error = MM_INHERIT;
	result->field.column = "doc";
	result->field.type = "jsonb";
	result->field.bson_types = "object";
	result->present = 100;
	return result;
}

/* The documents are over: nothing can be added after this. */
List *
mm_infer_finish(MmInfer *infer, uint8 id_first, uint8 id_last)
{
	MemoryContext old = MemoryContextSwitchTo(infer->context);
	const MmInferOptions *options = &infer->options;
	int			dropped = 0;
	List	   *seen = options->document ?
		list_make1(infer->root->seen[0]) : pick_columns(infer, &dropped);
	int			n = list_length(seen);
	MmInferField **fields = palloc(sizeof(MmInferField *) * n);
	List	   *result = NIL;

	for (int i = 0; i < n; i++)
	{
		const MmSeen *one = list_nth(seen, i);

		fields[i] = make_field(infer, one);
		if (i == 0)
			mm_merge_id(one, options, id_first, id_last, fields[0]);
		else
			mm_merge_field(one, options, fields[i]);
		result = lappend(result, fields[i]);
	}
	note_dropped(fields[0], dropped);
	set_columns(fields, n, options->naming);
	if (options->document)
		result = lappend(result, make_document_field());
	MemoryContextSwitchTo(old);
	return result;
}

/*
 * A field for a value that no sample has shown, in the current context: its
 * column is named without regard to others.
 */
MmField *
mm_infer_new_field(const MmContract *contract, List *parts,
				   const MmValue *value)
{
	MmInferOptions options = {
		.naming = MM_NAMING_SNAKE_CASE,
		.native_arrays = true,
		.uuid = contract->uuid,
	};
	MmInfer    *infer = mm_infer_begin(&options);
	MmSeen	   *seen = add_seen(infer, infer->root, value->key,
								value->key_len);
	MmInferField *result;

	infer->documents = 1;
	count_value(infer, seen, value);
	result = make_field(infer, seen);
	mm_merge_field(seen, &options, result);
	result->field.parts = parts;
	result->field.path = mm_names_join(parts);
	result->field.column = mm_name_column(result->field.path, options.naming);
	return &result->field;
}
