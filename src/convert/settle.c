/*-------------------------------------------------------------------------
 *
 * settle.c
 *	  What becomes of values that are in no column, and of the document.
 *
 * Each leftover of the walk is kept in _extra, dropped and counted, or makes
 * the document a reject, as the contract says.  The counts of the tally grow
 * for documents that will be stored only, so that its sums close with the
 * rows: a reject takes back what the walk has counted.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"

#include "convert/infer.h"
#include "convert/jsonb.h"
#include "convert/plan.h"

/* What was decided about a leftover. */
typedef enum Verdict
{
	VERDICT_KEEP,				/* in _extra, no more to say */
	VERDICT_DIVERT,				/* in _extra: it did not fit */
	VERDICT_NULL,
	VERDICT_DEFAULT,
	VERDICT_IGNORE,
	VERDICT_ADD,				/* the table shall get a column */
	VERDICT_REJECT
} Verdict;

/* ---------------------------------------------------------------------
 * Verdicts
 * ---------------------------------------------------------------------
 */

static MmColumn *
column_of(const MmLeftover *left)
{
	return left->entry && left->entry->kind == MM_ENTRY_COLUMN ?
		left->entry->column : NULL;
}

/* A name that a column can have, and a value that tells a type. */
static bool
may_have_column(const MmLeftover *left)
{
	return !mm_walk_is_null(&left->value) && left->value.key_len > 0 &&
		mm_text_check(left->value.key, left->value.key_len) == MM_TEXT_GOOD;
}

/*
 * Is there a place for what did not get into this column, or has none: _extra,
 * or that of the document?
 */
static bool
keeps_rest(const MmPlan *plan, const MmColumn *column)
{
	return plan->extra >= 0 ||
		(plan->document != NULL && plan->document != column);
}

/* null is as good as absent: nothing is lost with it. */
static Verdict
judge_rest(const MmPlan *plan, const MmLeftover *left)
{
	return keeps_rest(plan, NULL) || mm_walk_is_null(&left->value) ?
		VERDICT_KEEP : VERDICT_REJECT;
}

static Verdict
judge_unknown(const MmPlan *plan, const MmLeftover *left)
{
	switch (plan->contract->extra)
	{
		case MM_EXTRA_IGNORE:
			return VERDICT_IGNORE;
		case MM_EXTRA_REJECT:
			return VERDICT_REJECT;
		case MM_EXTRA_ADD_COLUMN:
			if (left->kind == MM_LEFT_UNKNOWN && may_have_column(left))
				return VERDICT_ADD;
			break;
		case MM_EXTRA_COLUMN:
			break;
	}
	return judge_rest(plan, left);
}

/* Itself, or its domain, which is asked when it has to be. */
static bool
refuses_null(MmColumn *column)
{
	return column != NULL &&
		(column->not_null ||
		 (column->checks_null &&
		  mm_value_null(&column->type) != MM_FIT_NULL));
}

/* A column that must not be null leaves less choice. */
static Verdict
judge_misfit(const MmPlan *plan, const MmLeftover *left)
{
	MmColumn   *column = column_of(left);

	if (left->fit == MM_FIT_TEXT)
		return VERDICT_REJECT;
	switch (column ? column->on_error : plan->contract->on_error)
	{
		case MM_ON_ERROR_EXTRA:
			return refuses_null(column) || !keeps_rest(plan, column) ?
				VERDICT_REJECT : VERDICT_DIVERT;
		case MM_ON_ERROR_SET_NULL:
			return refuses_null(column) ? VERDICT_REJECT : VERDICT_NULL;
		case MM_ON_ERROR_SET_DEFAULT:
			return column != NULL && !column->has_default &&
				refuses_null(column) ?
				VERDICT_REJECT : VERDICT_DEFAULT;
		case MM_ON_ERROR_REJECT:
		case MM_ON_ERROR_STOP:
			break;
	}
	return VERDICT_REJECT;
}

static Verdict
judge(const MmPlan *plan, const MmLeftover *left)
{
	switch (left->kind)
	{
		case MM_LEFT_MISFIT:
			return judge_misfit(plan, left);
		case MM_LEFT_IGNORE:
			return VERDICT_IGNORE;
		case MM_LEFT_EXTRA:
			return judge_rest(plan, left);
		case MM_LEFT_UNKNOWN:
		case MM_LEFT_EMPTY:
			break;
	}
	return judge_unknown(plan, left);
}

/* ---------------------------------------------------------------------
 * Books
 * ---------------------------------------------------------------------
 */

static const char *
action_name(Verdict verdict)
{
	return verdict == VERDICT_NULL ? "set_null" :
		verdict == VERDICT_DEFAULT ? "set_default" : "diverted";
}

static void
note_misfit(MmPlan *plan, const MmLeftover *left, Verdict verdict)
{
	const MmColumn *column = column_of(left);

	mm_plan_note(plan, mm_reject_path(left->where, &left->value), column,
				 mm_walk_type_name(left->value.type), action_name(verdict));
}

/*
 * A rejected document stands under one line, which its dead letter names too:
 * by that the letter is found when it is replayed.
 */
static void
note_reject(MmPlan *plan, const MmReject *reject)
{
	MmConflict	line = {
		.path = reject->path ? reject->path : "",
		.column = reject->column,
		.column_type = reject->column_type,
		.bson_type = reject->bson_type ? reject->bson_type : "null",
		.action = "rejected",
	};

	if (reject->new_fields != NIL || strcmp(reject->stage, "convert") != 0)
		return;
	line.first_id = mm_plan_first_id(plan);
	mm_tally_conflict(plan->tally, plan->context, &line);
}

/* The fate of a leftover of a document that is stored. */
static void
count(MmPlan *plan, const MmLeftover *left, Verdict verdict)
{
	static const int fates[] = {
		[VERDICT_KEEP] = -1,
		[VERDICT_DIVERT] = MM_FATE_DIVERTED,
		[VERDICT_NULL] = MM_FATE_SET_NULL,
		[VERDICT_DEFAULT] = -1, /* see set_default() */
		[VERDICT_IGNORE] = MM_FATE_IGNORED,
		[VERDICT_ADD] = -1,
		[VERDICT_REJECT] = -1,
	};
	int			number = left->entry ? left->entry->number :
		MM_TALLY_UNKNOWN;

	if (fates[verdict] >= 0)
		plan->tally->fields[number].n[fates[verdict]]++;
	else if (verdict == VERDICT_DEFAULT && column_of(left) == NULL)
		plan->tally->fields[number].n[MM_FATE_SET_DEFAULT]++;
}

/* ---------------------------------------------------------------------
 * The extra column
 * ---------------------------------------------------------------------
 */

/* Opens the object of a node, and those around it that are not open yet. */
static void
open_node(MmJsonbBuilder *builder, const MmNode *node, const MmNode *open)
{
	if (node == open)
		return;
	open_node(builder, node->parent, open);
	mm_jsonb_key(builder, node->entry->name.s, node->entry->name.len);
	mm_jsonb_begin_object(builder);
}

/* The innermost node that holds both. */
static const MmNode *
common_node(const MmNode *a, const MmNode *b)
{
	while (a != b)
	{
		if (a->depth >= b->depth)
			a = a->parent;
		else
			b = b->parent;
	}
	return a;
}

/* Goes from one open object to another. */
static const MmNode *
move_to(MmJsonbBuilder *builder, const MmNode *from, const MmNode *to)
{
	const MmNode *common = common_node(from, to);

	for (; from != common; from = from->parent)
		mm_jsonb_end_object(builder);
	open_node(builder, to, common);
	return to;
}

/*
 * The leftovers that are kept, nested as in the document.  They are in the
 * order of the walk, so that those of an embedded document are together.
 */
static bool
fill_extra(MmPlan *plan, const Verdict *verdicts, MmReject *reject)
{
	MmJsonbBuilder *builder = plan->builder;
	const MmNode *open = plan->root;
	MmTextFailure failure = {0};
	MmJsonbChanges changes;
	Jsonb	   *extra;

	if (plan->extra < 0)
		return true;			/* it stands in the document's column */
	mm_jsonb_begin(builder, plan->contract->invalid_text);
	mm_jsonb_begin_object(builder);
	for (int i = 0; i < plan->nleft; i++)
	{
		const MmLeftover *left = &plan->left[i];

		if (left->overridden ||
			(verdicts[i] != VERDICT_KEEP && verdicts[i] != VERDICT_DIVERT))
			continue;
		open = move_to(builder, open, left->where);
		mm_jsonb_key(builder, left->value.key, left->value.key_len);
		mm_jsonb_value(builder, &left->value, MM_JSON_RELAXED);
	}
	(void) move_to(builder, open, plan->root);
	mm_jsonb_end_object(builder);
	extra = mm_jsonb_finish(builder, &failure);
	if (extra == NULL)
		return mm_reject_extra_text(plan, &failure, reject);
	changes = mm_jsonb_changes(builder);
	if (changes.duplicates > 0)
		mm_plan_note(plan, plan->contract->extra_column, NULL, "object",
					 "duplicate");
	if (changes.altered > 0)
		mm_plan_note(plan, plan->contract->extra_column, NULL, "string",
					 "altered");
	plan->extra_altered = changes.altered > 0;
	plan->values[plan->extra] = JsonbPGetDatum(extra);
	plan->isnull[plan->extra] = false;
	return true;
}

/* ---------------------------------------------------------------------
 * Columns without a value
 * ---------------------------------------------------------------------
 */

/* Without a default of its own, a column has null for one, as in SQL. */
static void
set_default(MmPlan *plan, MmColumn *column)
{
	plan->values[column->index] = column->default_value;
	plan->isnull[column->index] = !column->has_default;
	mm_plan_count(plan, column, MM_FATE_SET_DEFAULT);
}

/* A null that is not allowed gets the default where on_error says so. */
static bool
check_null(MmPlan *plan, MmColumn *column, MmReject *reject)
{
	if (!column->not_null &&
		(!column->checks_null ||
		 mm_value_null(&column->type) == MM_FIT_NULL))
		return true;
	if (column->on_error != MM_ON_ERROR_SET_DEFAULT || !column->has_default)
		return mm_reject_null(plan, column, reject);
	set_default(plan, column);
	return true;
}

static bool
check_nulls(MmPlan *plan, MmReject *reject)
{
	for (int i = 0; i < plan->nchecked; i++)
	{
		MmColumn   *column = plan->checked[i];

		if (plan->isnull[column->index] &&
			!check_null(plan, column, reject))
			return false;
	}
	return true;
}

/* ---------------------------------------------------------------------
 * The document
 * ---------------------------------------------------------------------
 */

/* All verdicts; false: one of them rejects the document. */
static bool
judge_all(MmPlan *plan, Verdict *verdicts, bool *extra, MmReject *reject)
{
	for (int i = 0; i < plan->nleft; i++)
	{
		const MmLeftover *left = &plan->left[i];

		if (left->overridden)
			continue;
		verdicts[i] = judge(plan, left);
		if (verdicts[i] == VERDICT_REJECT)
			return mm_reject_leftover(plan, left, reject);
		if (verdicts[i] == VERDICT_ADD &&
			list_length(reject->new_fields) < MaxHeapAttributeNumber)
			reject->new_fields =
				lappend(reject->new_fields,
						mm_infer_new_field(plan->contract,
										   mm_reject_parts(left->where,
														   &left->value),
										   &left->value));
		if (verdicts[i] == VERDICT_DEFAULT && column_of(left) != NULL)
			set_default(plan, column_of(left));
		*extra = *extra || verdicts[i] == VERDICT_KEEP ||
			verdicts[i] == VERDICT_DIVERT;
	}
	return reject->new_fields == NIL;
}

/* Everything that may reject the document; nothing of it is booked yet. */
static bool
decide(MmPlan *plan, Verdict *verdicts, MmReject *reject)
{
	bool		extra = false;

	if (!judge_all(plan, verdicts, &extra, reject) ||
		!check_nulls(plan, reject) ||
		(extra && !fill_extra(plan, verdicts, reject)))
		return false;
	if (plan->large_keys == NIL || mm_key_fits(plan))
		return true;
	return mm_reject_key(plan, reject);
}

/* The document will be stored: what became of its leftovers. */
static void
book(MmPlan *plan, const Verdict *verdicts, int64 *diverted)
{
	ListCell   *lc;

	for (int i = 0; i < plan->nleft; i++)
	{
		const MmLeftover *left = &plan->left[i];

		if (left->overridden)
			continue;
		count(plan, left, verdicts[i]);
		if (left->kind != MM_LEFT_MISFIT)
			continue;
		note_misfit(plan, left, verdicts[i]);
		(*diverted)++;
	}
	if (plan->extra_altered)
		plan->tally->fields[MM_TALLY_UNKNOWN].n[MM_FATE_ALTERED]++;
	foreach(lc, plan->notes)
		mm_tally_conflict(plan->tally, plan->context, lfirst(lc));
}

/* Takes back what the walk has booked, and books the reject. */
bool
mm_settle_reject(MmPlan *plan, const MmReject *reject)
{
	for (int i = 0; i < plan->ncolumns; i++)
		mm_plan_uncount(plan, &plan->columns[i]);
	note_reject(plan, reject);
	return false;
}

/* False: the document is rejected, and *reject says why. */
bool
mm_settle(MmPlan *plan, int64 *diverted, MmReject *reject)
{
	Verdict    *verdicts = NULL;

	if (plan->extra >= 0)
	{
		plan->values[plan->extra] = (Datum) 0;
		plan->isnull[plan->extra] = true;
	}
	if (unlikely(plan->nleft > 0))
		verdicts = palloc(sizeof(Verdict) * plan->nleft);
	if (!decide(plan, verdicts, reject))
		return mm_settle_reject(plan, reject);
	if (unlikely(plan->nleft > 0 || plan->notes != NIL))
		book(plan, verdicts, diverted);
	return true;
}
