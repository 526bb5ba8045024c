/*-------------------------------------------------------------------------
 *
 * row.c
 *	  Document -> row: the walk along the tree of a plan.
 *
 * A document is walked once.  Documents of a collection mostly share the
 * order of their keys, so each entry remembers which one came behind it the
 * last time: that key is compared first, and only when it is another one the
 * hash table is asked.  Nor do their types change often: what is under the key
 * is first taken for a value like the one before.
 *
 * On the walk each value becomes a Datum, or is put on the list of what is
 * left over: fields without a column, and values that do not fit.  What
 * happens to those is settled at the end (settle.c), when it is known that
 * the bytes are a valid document and that no later duplicate of the key has
 * taken the place of the value.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/datum.h"
#include "utils/memutils.h"

#include "convert/plain.h"
#include "convert/plan.h"

/*
 * Interrupts are served each time that so many elements were read, less 1;
 * unless that one is taken by take_again(), which happens once for an entry.
 */
#define INTERRUPTS_MASK	0xFFFF

static void
leave(MmPlan *plan, MmLeftoverKind kind, const MmNode *where,
	  const MmEntry *entry, const MmValue *value)
{
	MmLeftover *left;

	if (plan->nleft == plan->left_size)
	{
		plan->left_size *= 2;
		plan->left = repalloc(plan->left,
							  sizeof(MmLeftover) * plan->left_size);
	}
	left = &plan->left[plan->nleft++];
	left->kind = kind;
	left->fit = MM_FIT_TYPE;
	left->overridden = false;
	left->value = *value;
	left->where = where;
	left->entry = entry;
}

static void
leave_entry(MmPlan *plan, MmLeftoverKind kind, const MmNode *where,
			MmEntry *entry, const MmValue *value)
{
	entry->left = plan->nleft;
	leave(plan, kind, where, entry, value);
}

/* ---------------------------------------------------------------------
 * Duplicate keys: the last one wins
 * ---------------------------------------------------------------------
 */

static void
forget_column(MmPlan *plan, MmColumn *column)
{
	mm_plan_uncount(plan, column);
	plan->values[column->index] = column->default_value;
	plan->isnull[column->index] = !column->has_default;
}

/*
 * Fields that the contract does not know, anywhere below a node.  Not all
 * leftovers: a document may repeat a key a million times.
 */
static void
forget_unknown(MmPlan *plan, const MmNode *node)
{
	for (int i = node->first_left; i < plan->nleft; i++)
	{
		const MmNode *where = plan->left[i].where;

		while (where != NULL && where != node)
			where = where->parent;
		if (where == node)
			plan->left[i].overridden = true;
	}
}

/* Undoes what this document gave for the entry, but for unknown fields. */
static void
forget_values(MmPlan *plan, MmEntry *entry)
{
	if (entry->serial != plan->serial)
		return;
	if (entry->left >= 0)
		plan->left[entry->left].overridden = true;
	entry->left = -1;
	if (entry->kind == MM_ENTRY_COLUMN)
		forget_column(plan, entry->column);
	else if (entry->kind == MM_ENTRY_NODE)
	{
		for (int i = 0; i < entry->node->nentries; i++)
			forget_values(plan, entry->node->entries[i]);
	}
}

/* Once for each document, however often it does. */
static void
note_duplicate(MmPlan *plan, const MmNode *where, MmEntry *entry,
			   const MmValue *value)
{
	if (entry->doubled == plan->serial)
		return;
	entry->doubled = plan->serial;
	mm_plan_note(plan, mm_reject_path(where, value), entry->column,
				 mm_walk_type_name(value->type), "duplicate");
}

/* The entry's first value in this document, or another one. */
static inline void
begin_entry(MmPlan *plan, const MmNode *where, MmEntry *entry,
			const MmValue *value)
{
	if (unlikely(entry->serial == plan->serial))
	{
		note_duplicate(plan, where, entry, value);
		forget_values(plan, entry);
		if (entry->kind == MM_ENTRY_NODE)
			forget_unknown(plan, entry->node);
	}
	else
	{
		entry->serial = plan->serial;
		plan->nfilled += entry->kind == MM_ENTRY_COLUMN;
	}
	entry->left = -1;
}

/* ---------------------------------------------------------------------
 * Values
 * ---------------------------------------------------------------------
 */

/* What else is to be noted of a value; for the rare cases. */
static MmFate
note_outcome(MmPlan *plan, MmColumn *column, const MmValue *value,
			 const MmOutcome *outcome)
{
	const char *path = column->field->path ? column->field->path : "";
	const char *type = mm_walk_type_name(value->type);

	if (outcome->duplicates > 0)
		mm_plan_note(plan, path, column, type, "duplicate");
	if (!outcome->altered)
		return MM_FATE_EXACT;
	mm_plan_note(plan, path, column, type, "altered");
	return MM_FATE_ALTERED;
}

static void
leave_misfit(MmPlan *plan, const MmNode *where, MmEntry *entry,
			 const MmValue *value, MmFit fit, const MmOutcome *outcome)
{
	leave_entry(plan, MM_LEFT_MISFIT, where, entry, value);
	plan->left[entry->left].fit = fit;
	plan->left[entry->left].failure = outcome->failure;
}

static inline MmFate
fate_of_good(const MmColumn *column, const MmValue *value)
{
	return column->type.exact & MM_TYPE_BIT(value->type) ?
		MM_FATE_EXACT : MM_FATE_WIDENED;
}

/*
 * What is made on the way to the value of a repeated key is freed at once: a
 * document may repeat a key millions of times.  What is left is the result.
 */
static pg_noinline MmFit
convert_repeated(MmPlan *plan, MmColumn *column, const MmValue *value,
				 MmOutcome *outcome)
{
	Datum	   *result = &plan->values[column->index];
	MemoryContext old;
	MmFit		fit;

	if (plan->repeated == NULL)
		plan->repeated = AllocSetContextCreate(plan->context,
											   "mongo_migrate repeated key",
											   ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(plan->repeated);
	fit = mm_value_convert(value, &column->type, result, outcome);
	MemoryContextSwitchTo(old);
	if (fit == MM_FIT_GOOD)
		*result = datumCopy(*result, column->type.typbyval,
							column->type.typlen);
	if (outcome->failure.path != NULL)
		outcome->failure.path = pstrdup(outcome->failure.path);
	MemoryContextReset(plan->repeated);
	return fit;
}

static inline MmFit
convert(MmPlan *plan, const MmEntry *entry, const MmValue *value,
		MmOutcome *outcome)
{
	MmColumn   *column = entry->column;

	if (unlikely(entry->doubled == plan->serial))
		return convert_repeated(plan, column, value, outcome);
	return mm_value_convert(value, &column->type,
							&plan->values[column->index], outcome);
}

/* The column of a value that does not fit is NULL, whatever becomes of it. */
static void
settle_value(MmPlan *plan, const MmNode *where, MmEntry *entry,
			 const MmValue *value, MmFit fit, MmOutcome *outcome)
{
	MmColumn   *column = entry->column;

	plan->isnull[column->index] = fit != MM_FIT_GOOD;
	if (likely(fit == MM_FIT_GOOD))
	{
		MmFate		fate = outcome->widened ? MM_FATE_WIDENED :
			fate_of_good(column, value);

		outcome->altered |= mm_value_loses_padding(value, &column->type);
		if (unlikely(outcome->altered || outcome->duplicates > 0))
			fate = note_outcome(plan, column, value, outcome);
		mm_plan_count(plan, column, fate);
	}
	else if (fit != MM_FIT_NULL)
		leave_misfit(plan, where, entry, value, fit, outcome);
}

static void
fill_slowly(MmPlan *plan, const MmNode *where, MmEntry *entry,
			const MmValue *value)
{
	MmOutcome	outcome = {0};
	MmFit		fit = convert(plan, entry, value, &outcome);

	Assert(!outcome.inside.faulty);
	settle_value(plan, where, entry, value, fit, &outcome);
}

/* A value into its column. */
static inline void
fill(MmPlan *plan, const MmNode *where, MmEntry *entry, const MmValue *value)
{
	MmColumn   *column = entry->column;
	MmPlainPair pair = mm_plain_pair(value->type, &column->type);

	if (mm_plain_convert(value, pair, column->type.arena,
						 &plan->values[column->index]))
	{
		MmFate		fate = fate_of_good(column, value);

		plan->isnull[column->index] = false;
		mm_plan_count(plan, column, fate);
		entry->last = (MmLastValue) {
			.type = value->type,
			.pair = pair,
			.fate = fate,
			.counter = &plan->tally->fields[column->number].n[fate]
		};
	}
	else
		fill_slowly(plan, where, entry, value);
}

/*
 * A case of take_again().  Type and pair are constants there, so that nothing
 * is left of the switches for them.
 */
static pg_attribute_always_inline bool
take_plain(MmPlan *plan, MmEntry *entry, MmWalk *walk, uint8 type,
		   MmPlainPair pair)
{
	MmColumn   *column = entry->column;
	MmWalk		inner = *walk;
	MmValue		value = {.type = type};

	inner.pos += 1 + entry->name.len + 1;
	if (!mm_walk_value(&inner, &value) ||
		!mm_plain_convert(&value, pair, plan->arena,
						  &plan->values[column->index]))
		return false;
	walk->pos = inner.pos;
	entry->serial = plan->serial;
	entry->left = -1;
	plan->nfilled++;
	plan->elements++;
	plan->isnull[column->index] = false;
	mm_plan_count_again(plan, column, &entry->last);
	return true;
}

/*
 * Most elements have the key that is expected and a plain value of the type
 * that it had the last time.  False: this one does not, or it has a fault, or
 * the document had the key before; then nothing was done.
 */
static inline bool
take_again(MmPlan *plan, MmEntry *entry, MmWalk *walk)
{
	if (entry == NULL || *walk->pos != entry->last.type ||
		!mm_walk_is_name(walk->pos + 1, walk->end, &entry->name) ||
		entry->serial == plan->serial)
		return false;
	switch (entry->last.pair)
	{
		case MM_PLAIN_STRING:
			return take_plain(plan, entry, walk, MM_BSON_STRING,
							  MM_PLAIN_STRING);
		case MM_PLAIN_OBJECT_ID:
			return take_plain(plan, entry, walk, MM_BSON_OBJECT_ID,
							  MM_PLAIN_OBJECT_ID);
		case MM_PLAIN_INT32:
			return take_plain(plan, entry, walk, MM_BSON_INT32,
							  MM_PLAIN_INT32);
		case MM_PLAIN_INT64:
			return take_plain(plan, entry, walk, MM_BSON_INT64,
							  MM_PLAIN_INT64);
		case MM_PLAIN_DOUBLE:
			return take_plain(plan, entry, walk, MM_BSON_DOUBLE,
							  MM_PLAIN_DOUBLE);
		case MM_PLAIN_BOOL:
			return take_plain(plan, entry, walk, MM_BSON_BOOL,
							  MM_PLAIN_BOOL);
		case MM_PLAIN_DATE:
			return take_plain(plan, entry, walk, MM_BSON_DATE,
							  MM_PLAIN_DATE);
		case MM_PLAIN_NONE:
			break;
	}
	return false;
}

static bool read_members(MmPlan *plan, MmNode *node, MmWalk *walk);

static bool
validate(MmPlan *plan, const MmNode *where, MmWalk *walk,
		 const MmValue *value)
{
	return !mm_walk_is_nested(value) ||
		mm_walk_validate_value(walk, value, where->depth + 2,
							   &plan->elements);
}

/*
 * A document or array as jsonb, by which it is validated.  Of several faults
 * the first is told, as of other values.
 */
static bool
fill_unread(MmPlan *plan, const MmNode *where, MmEntry *entry, MmWalk *walk,
			const MmValue *value)
{
	MmOutcome	outcome = {
		.inside.depth = where->depth + 1,
		.inside.elements = plan->elements
	};
	MmFit		fit = convert(plan, entry, value, &outcome);

	if (outcome.inside.faulty)
	{
		if (validate(plan, where, walk, value))
			elog(ERROR, "fault of a BSON document is not found again");
		return false;
	}
	plan->elements = outcome.inside.elements;
	settle_value(plan, where, entry, value, fit, &outcome);
	return true;
}

/*
 * An embedded document whose fields are columns.  What stands there instead
 * of one does not fit; null is as good as absent.
 */
static bool
read_node(MmPlan *plan, const MmNode *where, MmEntry *entry, MmWalk *walk,
		  const MmValue *value)
{
	MmWalk		inner;

	entry->node->first_left = plan->nleft;
	if (value->type != MM_BSON_OBJECT)
	{
		if (!mm_walk_is_null(value))
			leave_entry(plan, MM_LEFT_MISFIT, where, entry, value);
		return validate(plan, where, walk, value);
	}
	if (!mm_walk_begin(&inner, value->data, value->len))
		return mm_walk_fail(walk, inner.fault);
	if (mm_walk_at_end(&inner))
		leave_entry(plan, MM_LEFT_EMPTY, where, entry, value);
	if (!read_members(plan, entry->node, &inner))
		return mm_walk_fail(walk, inner.fault);
	return true;
}

/* A value under a name that the contract knows; false at a fault. */
static inline bool
read_entry(MmPlan *plan, const MmNode *where, MmEntry *entry, MmWalk *walk,
		   const MmValue *value)
{
	begin_entry(plan, where, entry, value);
	if (entry->kind == MM_ENTRY_NODE)
		return read_node(plan, where, entry, walk, value);
	if (entry->kind == MM_ENTRY_COLUMN &&
		entry->column->type.kind == MM_KIND_JSONB &&
		(value->type == MM_BSON_OBJECT || value->type == MM_BSON_ARRAY))
		return fill_unread(plan, where, entry, walk, value);
	if (!validate(plan, where, walk, value))
		return false;
	if (entry->kind == MM_ENTRY_COLUMN)
		fill(plan, where, entry, value);
	else
		leave_entry(plan, entry->kind == MM_ENTRY_IGNORE ?
					MM_LEFT_IGNORE : MM_LEFT_EXTRA, where, entry, value);
	return true;
}

/* When the whole document has a column, the rest is in there. */
static bool
read_unknown(MmPlan *plan, const MmNode *where, MmWalk *walk,
			 const MmValue *value)
{
	if (plan->document == NULL)
		leave(plan, MM_LEFT_UNKNOWN, where, NULL, value);
	return validate(plan, where, walk, value);
}

static MmEntry *
find_entry(const MmNode *node, const MmValue *value)
{
	MmKey		key = {value->key, value->key_len};
	MmKeyEntry *slot = mm_keymap_lookup(node->by_key, key);

	return slot ? node->entries[slot->number] : NULL;
}

/* False at a fault of the document, which the walk has. */
static bool
read_members(MmPlan *plan, MmNode *node, MmWalk *walk)
{
	MmEntry    *last = &node->start;

	while (!mm_walk_at_end(walk))
	{
		MmEntry    *entry = last->next;
		MmValue		value;

		if (likely(take_again(plan, entry, walk)))
		{
			last = entry;
			continue;
		}
		mm_walk_type(walk, &value);
		if (entry == NULL ||
			!mm_walk_expected_key(walk, &value, &entry->name))
		{
			if (!mm_walk_key(walk, &value))
				return false;
			entry = find_entry(node, &value);
			if (entry != NULL)
				last->next = entry;
		}
		if (!mm_walk_value(walk, &value))
			return false;
		if (unlikely((++plan->elements & INTERRUPTS_MASK) == 0))
			CHECK_FOR_INTERRUPTS();
		if (plan->elements > MM_WALK_MAX_ELEMENTS)
			return mm_walk_fail(walk, MM_WALK_TOO_MANY);
		if (entry == NULL)
		{
			if (!read_unknown(plan, node, walk, &value))
				return false;
			continue;
		}
		if (!read_entry(plan, node, entry, walk, &value))
			return false;
		last = entry;
	}
	return true;
}

/* ---------------------------------------------------------------------
 * The document
 * ---------------------------------------------------------------------
 */

/* Columns that the document has are written already. */
static void
fill_absent(MmPlan *plan)
{
	for (int i = 0; i < plan->ncolumns; i++)
	{
		const MmColumn *column = &plan->columns[i];

		if (column == plan->document ||
			(column->entry != NULL &&
			 column->entry->serial == plan->serial))
			continue;
		plan->values[column->index] = column->default_value;
		plan->isnull[column->index] = !column->has_default;
	}
}

/* The document in a column of its own, once it is known to be valid. */
static void
fill_document(MmPlan *plan)
{
	MmValue		value = {.type = MM_BSON_OBJECT, .key = "", .len = plan->len,
	.data = plan->doc};

	plan->document_entry.left = -1;
	fill(plan, plan->root, &plan->document_entry, &value);
}

/* False: *fault says, in a sentence, why the bytes are no document. */
bool
mm_row_read(MmPlan *plan, const uint8 *doc, uint32 len, const char **fault)
{
	MmWalk		walk;

	if (!mm_walk_check_len(&walk, len) ||
		!mm_walk_begin(&walk, doc, len) ||
		!read_members(plan, plan->root, &walk))
	{
		*fault = walk.fault;
		return false;
	}
	if (plan->elements > MM_WALK_MAX_ELEMENTS)
	{
		*fault = MM_WALK_TOO_MANY;
		return false;
	}
	if (plan->document != NULL)
		fill_document(plan);
	if (plan->nfilled < plan->ncolumns)
		fill_absent(plan);
	return true;
}
