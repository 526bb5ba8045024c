/*-------------------------------------------------------------------------
 *
 * plan.c
 *	  migrate_plan(), migrate_ddl(), migrate_infer_mapping(): what a start
 *	  would do, and the contract that it would use.  Nothing is written.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/tuplestore.h"

#include "api/api.h"
#include "job/steps.h"

MM_FUNCTION(migrate_plan);
MM_FUNCTION(migrate_ddl);
MM_FUNCTION(migrate_infer_mapping);

/* ---------------------------------------------------------------------
 * Plan
 * ---------------------------------------------------------------------
 */

typedef struct PlanOutput
{
	ReturnSetInfo *rsinfo;
	int			step;
} PlanOutput;

static void
put_step(PlanOutput *out, const char *action, const char *object,
		 const char *detail)
{
	Datum		values[4] = {
		Int32GetDatum(++out->step),
		CStringGetTextDatum(action),
		CStringGetTextDatum(object),
		detail ? CStringGetTextDatum(detail) : (Datum) 0,
	};
	bool		nulls[4] = {false, false, false, detail == NULL};

	tuplestore_putvalues(out->rsinfo->setResult, out->rsinfo->setDesc, values,
						 nulls);
}

/* How the collection would be cut, as the coordinator will ask for it. */
static MmSplit *
ask_split(const MmCall *call, const MmTarget *target)
{
	MmSource   *source = call->input.source;
	MmSplitRequest request = mm_target_split_request(target, call);
	MmSourceError error = {0};
	MmSplit    *split;

	if (!source->ops->split(source, call->input.collection, call->filter,
							&request, &split, &error))
		mm_source_raise(&error);
	return split;
}

static void
put_read(PlanOutput *out, const MmCall *call, const MmSplit *split)
{
	const MmCollection *collection = call->input.collection;
	char	   *size;

	size = text_to_cstring(DatumGetTextPP(DirectFunctionCall1(pg_size_pretty,
															  Int64GetDatum(Max(collection->bytes, 0)))));
	put_step(out, "read", call->input.namespace,
			 psprintf("%lld documents, %s, %d chunk%s: %s (%s)%s",
					  (long long) Max(collection->documents, 0), size,
					  split->nchunks, split->nchunks == 1 ? "" : "s",
					  mm_split_method_name(split->method), split->reason,
					  call->filter ? ", filtered" : ""));
}

static int
count_columns(const MmContract *contract)
{
	int			n = contract->extra_column != NULL;
	ListCell   *lc;

	foreach(lc, contract->fields)
		n += ((MmField *) lfirst(lc))->column != NULL;
	return n;
}

/* "a, b" */
static char *
join_names(const List *names)
{
	StringInfoData out;
	ListCell   *lc;

	initStringInfo(&out);
	foreach(lc, names)
		appendStringInfo(&out, "%s%s", out.len > 0 ? ", " : "",
						 quote_identifier(lfirst(lc)));
	return out.data;
}

static void
put_table(PlanOutput *out, const MmCall *call, const MmTarget *target)
{
	const MmContract *contract = call->contract;
	char	   *columns = psprintf("%d columns", count_columns(contract));

	if (target->created && OidIsValid(target->existing))
		put_step(out, "drop table", target->name, "if_exists => 'replace'");
	if (target->created)
		put_step(out, "create table", target->name,
				 contract->key_columns == NIL ? columns :
				 psprintf("%s, primary key (%s)", columns,
						  join_names(contract->key_columns)));
	else if (target->fresh)
		put_step(out, "truncate", target->name, "if_exists => 'truncate'");
	else
		put_step(out, "append", target->name, "rows that are there stay");
}

/* What the contract drops on purpose, and what inference has noted. */
static void
put_notes(PlanOutput *out, const MmCall *call)
{
	ListCell   *lc;

	foreach(lc, call->contract->fields)
	{
		const MmField *field = lfirst(lc);

		if (field->kind == MM_FIELD_IGNORE)
			put_step(out, "skip", field->path, "the mapping ignores it");
	}
	foreach(lc, call->inferred)
	{
		const MmInferField *line = lfirst(lc);

		if (line->note != NULL)
			put_step(out, "note", line->field.path, line->note);
	}
	if (call->input.collection->indexes > 1)
		put_step(out, "skip",
				 psprintf("%d secondary index%s",
						  call->input.collection->indexes - 1,
						  call->input.collection->indexes == 2 ? "" : "es"),
				 "indexes of the collection are not translated");
}

static void
put_steps(PlanOutput *out, const MmCall *call, const MmTarget *target,
		  const MmSplit *split)
{
	int			workers = Min(call->workers, split->nchunks);

	put_read(out, call, split);
	put_table(out, call, target);
	put_step(out, "copy", target->name,
			 psprintf("%d worker%s, %s sink: %s", workers,
					  workers == 1 ? "" : "s", target->sink,
					  target->sink_reason));
	if (target->created && call->contract->key_columns != NIL)
		put_step(out, "create index",
				 psprintf("%s", target->name),
				 psprintf("primary key (%s)",
						  join_names(call->contract->key_columns)));
	if (call->options.analyze)
		put_step(out, "analyze", target->name, NULL);
	if (call->options.verify)
		put_step(out, "verify", target->name, "count");
	put_notes(out, call);
}

Datum
migrate_plan(PG_FUNCTION_ARGS)
{
	PlanOutput	out = {(ReturnSetInfo *) fcinfo->resultinfo};
	MmCall		call = mm_arg_call(fcinfo);
	MmTarget	target;

	InitMaterializedSRF(fcinfo, 0);
	call.mapping = mm_arg_mapping(fcinfo, 3);
	call.filter = mm_arg_filter(fcinfo, 4);
	call.if_exists = mm_arg_if_exists(fcinfo, 5);
	call.workers = mm_arg_workers(fcinfo, 6);
	call.options = mm_arg_options(fcinfo, 7);
	mm_call_prepare(&call);
	target = mm_target_find(&call, false);
	put_steps(&out, &call, &target, ask_split(&call, &target));
	mm_input_close(&call.input);
	return (Datum) 0;
}

/* ---------------------------------------------------------------------
 * DDL and contract
 * ---------------------------------------------------------------------
 */

static void
put_statement(ReturnSetInfo *rsinfo, const char *sql)
{
	Datum		value = CStringGetTextDatum(sql);
	bool		isnull = false;

	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, &value, &isnull);
}

/* The place of a table that is not looked at. */
static MmTarget
name_target(const MmCall *call)
{
	MmTarget	target = mm_target_name(call);

	call->contract->target = target.name;
	return target;
}

Datum
migrate_ddl(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	MmCall		call = mm_arg_call(fcinfo);
	MmTarget	target;
	ListCell   *lc;
	char	   *key;

	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	call.mapping = mm_arg_mapping(fcinfo, 3);
	call.options = mm_arg_options(fcinfo, 4);
	mm_call_prepare(&call);
	target = name_target(&call);
	mm_input_close(&call.input);
	foreach(lc, mm_ddl_table(&target, &call))
		put_statement(rsinfo, lfirst(lc));
	key = mm_step_key_sql(target.name, call.contract,
						  call.options.tablespace);
	if (key != NULL)
		put_statement(rsinfo, key);
	return (Datum) 0;
}

Datum
migrate_infer_mapping(PG_FUNCTION_ARGS)
{
	MmCall		call = mm_arg_call(fcinfo);

	call.options = mm_arg_options(fcinfo, 3);
	mm_call_prepare(&call);
	(void) name_target(&call);
	mm_input_close(&call.input);
	PG_RETURN_JSONB_P(mm_contract_to_jsonb(call.contract));
}
