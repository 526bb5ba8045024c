/*-------------------------------------------------------------------------
 *
 * letters.c
 *	  migrate_replay(), migrate_discard(): what becomes of dead letters.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"

#include "api/api.h"
#include "job/catalog.h"
#include "job/replay.h"
#include "source/closest.h"

MM_FUNCTION(migrate_replay);
MM_FUNCTION(migrate_discard);

/* ---------------------------------------------------------------------
 * Replay
 * ---------------------------------------------------------------------
 */

static void
check_not_running(const MmJob *job)
{
	if (mm_state_is_final(job->state) || job->state == MM_JOB_PAUSED)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("cannot replay dead letters of migration job %lld",
					(long long) job->job_id),
			 errdetail("It is %s.", mm_state_name(job->state)),
			 errhint("Wait for it with SELECT migrate_wait(%lld), or pause it with SELECT migrate_pause(%lld).",
					 (long long) job->job_id, (long long) job->job_id)));
}

static void
set_option(MmReplayHow *how, const char *key, const JsonbValue *value)
{
	MmInvalidText invalid_text;
	MmClosest	closest;

	if (strcmp(key, "invalid_text") == 0)
	{
		if (value->type != jbvString ||
			!mm_invalid_text_parse(pnstrdup(value->val.string.val,
											value->val.string.len),
								   &invalid_text))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("invalid value for option \"%s\"", key),
					 errhint("Available values: reject, strip, replace.")));
		how->invalid_text = invalid_text;
		return;
	}
	mm_closest_init(&closest, key);
	mm_closest_try(&closest, "invalid_text");
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("unrecognized option \"%s\"", key),
			 mm_closest_get(&closest) ?
			 errhint("Perhaps you meant \"invalid_text\".") :
			 errhint("A replay knows the option \"invalid_text\"; all else is in the mapping.")));
}

static void
parse_options(MmReplayHow *how, Jsonb *options)
{
	JsonbIterator *it;
	JsonbIteratorToken token;
	JsonbValue	value;
	char	   *key = NULL;

	if (!JB_ROOT_IS_OBJECT(options))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("options must be a JSON object"),
				 errhint("Write options => '{\"invalid_text\": \"strip\"}'.")));
	it = JsonbIteratorInit(&options->root);
	while ((token = JsonbIteratorNext(&it, &value, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
			key = pnstrdup(value.val.string.val, value.val.string.len);
		else if (token == WJB_VALUE)
			set_option(how, key, &value);
	}
}

/* What a mapping leaves open is as the load had it. */
static MmContract *
given_contract(const MmJob *job, Jsonb *mapping)
{
	MmContract *contract = mm_contract_from_jsonb(mapping);
	List	   *tables = mm_job_load_tables(job->job_id);
	const MmContract *own;

	if (tables == NIL)
		elog(ERROR, "migration job %lld has no table",
			 (long long) job->job_id);
	own = ((const MmJobTable *) linitial(tables))->contract;

	if (!mm_jsonb_has_key(mapping, "on_error"))
		contract->on_error = own->on_error;
	if (!mm_jsonb_has_key(mapping, "json_format"))
		contract->json_form = own->json_form;
	if (!mm_jsonb_has_key(mapping, "invalid_text"))
		contract->invalid_text = own->invalid_text;
	if (!mm_jsonb_has_key(mapping, "uuid_representation"))
		contract->uuid = own->uuid;
	if (!mm_jsonb_has_key(mapping, "extra"))
		contract->extra = own->extra;
	if (!mm_jsonb_has_key(mapping, "extra_column"))
		contract->extra_column = own->extra_column;
	return contract;
}

static Datum
result_datum(FunctionCallInfo fcinfo, const MmReplayResult *result)
{
	TupleDesc	desc;
	Datum		values[2] = {
		Int64GetDatum(result->replayed),
		Int64GetDatum(result->failed),
	};
	bool		nulls[2] = {false, false};

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values,
											 nulls));
}

Datum
migrate_replay(PG_FUNCTION_ARGS)
{
	MmJob	   *job = mm_pick_job_arg(fcinfo, 0, MM_RIGHT_OWN);
	ArrayType  *error_ids = PG_ARGISNULL(1) ? NULL : PG_GETARG_ARRAYTYPE_P(1);
	MmReplayHow how = {.invalid_text = MM_INHERIT};
	MmReplayResult result;

	PreventCommandIfReadOnly("migrate_replay()");
	mm_input_check_encoding();
	check_not_running(job);
	mm_pick_claim_targets(job, "replay the rejected documents of");
	if (!PG_ARGISNULL(2))
		how.contract = given_contract(job, PG_GETARG_JSONB_P(2));
	if (!PG_ARGISNULL(3))
		parse_options(&how, PG_GETARG_JSONB_P(3));
	if (error_ids != NULL)
		mm_letter_check(job->job_id, error_ids);
	result = mm_replay(job, error_ids, &how);
	if (result.replayed + result.failed > 0)
		mm_job_event(job->job_id, result.failed > 0 ? "warning" : "info",
					 NULL,
					 psprintf("rejected documents were tried again: %lld stored, %lld still fail",
							  (long long) result.replayed,
							  (long long) result.failed), NULL);
	return result_datum(fcinfo, &result);
}

/* ---------------------------------------------------------------------
 * Discard
 * ---------------------------------------------------------------------
 */

static int64
discard_of_job(int64 job_id, ArrayType *error_ids, const char *reason)
{
	int64		n;

	(void) mm_pick_job(true, job_id, MM_RIGHT_OWN);
	n = mm_letter_discard(job_id, error_ids, reason);
	if (n > 0)
		mm_job_event(job_id, "warning", NULL,
					 psprintf("rejected documents were discarded: %lld",
							  (long long) n), reason);
	return n;
}

Datum
migrate_discard(PG_FUNCTION_ARGS)
{
	ArrayType  *error_ids;
	char	   *reason = PG_ARGISNULL(1) ? NULL :
		text_to_cstring(PG_GETARG_TEXT_PP(1));
	int64		discarded = 0;
	ListCell   *lc;

	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("argument \"%s\" must not be null", "error_ids")));
	error_ids = PG_GETARG_ARRAYTYPE_P(0);
	mm_letter_check(0, error_ids);
	foreach(lc, mm_letter_jobs(error_ids))
		discarded += discard_of_job(*(int64 *) lfirst(lc), error_ids, reason);
	PG_RETURN_INT64(discarded);
}
