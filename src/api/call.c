/*-------------------------------------------------------------------------
 *
 * call.c
 *	  What migrate_start(), _plan(), _ddl() and _infer_mapping() share: their
 *	  arguments, and the contract that follows from these and the source.
 *
 * The contract is given or inferred.  Here everything of it is checked that
 * needs no table: that its types exist, can be filled from BSON, and are not
 * too many.  Nothing is written.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"

#include "api/api.h"
#include "job/worker.h"
#include "settings.h"

/* ---------------------------------------------------------------------
 * Arguments
 * ---------------------------------------------------------------------
 */

char *
mm_arg_string(FunctionCallInfo fcinfo, int arg)
{
	return PG_ARGISNULL(arg) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(arg));
}

char *
mm_arg_required(FunctionCallInfo fcinfo, int arg, const char *name)
{
	if (PG_ARGISNULL(arg))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("argument \"%s\" must not be null", name)));
	return mm_arg_string(fcinfo, arg);
}

/* The arguments that all of them begin with; the rest at rest. */
MmCall
mm_arg_call(FunctionCallInfo fcinfo)
{
	return (MmCall) {
		.source = mm_arg_required(fcinfo, 0, "source"),
		.collection = mm_arg_required(fcinfo, 1, "collection"),
		.target = mm_arg_string(fcinfo, 2),
		.if_exists = "error",
		.on_error = MM_INHERIT,
	};
}

Jsonb *
mm_arg_mapping(FunctionCallInfo fcinfo, int arg)
{
	return PG_ARGISNULL(arg) ? NULL : PG_GETARG_JSONB_P(arg);
}

MmOptions
mm_arg_options(FunctionCallInfo fcinfo, int arg)
{
	if (PG_ARGISNULL(arg))
		return mm_options_parse(DatumGetJsonbP(DirectFunctionCall1(jsonb_in,
																   CStringGetDatum("{}"))));
	return mm_options_parse(PG_GETARG_JSONB_P(arg));
}

char *
mm_arg_filter(FunctionCallInfo fcinfo, int arg)
{
	char	   *filter = mm_arg_string(fcinfo, arg);

	if (filter != NULL)
		mm_source_check_filter(filter);
	return filter;
}

char *
mm_arg_if_exists(FunctionCallInfo fcinfo, int arg)
{
	char	   *value = mm_arg_required(fcinfo, arg, "if_exists");

	if (strcmp(value, "upsert") == 0)
		mm_refuse("if_exists => 'upsert'");
	if (strcmp(value, "error") != 0 && strcmp(value, "append") != 0 &&
		strcmp(value, "truncate") != 0 && strcmp(value, "replace") != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid value for if_exists: \"%s\"", value),
				 errhint("Available values: error, append, truncate, replace.")));
	return value;
}

int
mm_arg_workers(FunctionCallInfo fcinfo, int arg)
{
	int			workers = PG_ARGISNULL(arg) ? mm_max_workers_per_job :
		PG_GETARG_INT32(arg);

	if (workers < 1 || workers > 1000)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("workers must be from 1 to 1000, not %d", workers)));
	return workers;
}

/* MM_INHERIT: not given. */
int
mm_arg_on_error(FunctionCallInfo fcinfo, int arg)
{
	char	   *value = mm_arg_string(fcinfo, arg);
	MmOnError	result;

	if (value == NULL)
		return MM_INHERIT;
	if (!mm_on_error_parse(value, &result))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid value for on_error: \"%s\"", value),
				 errhint("Available values: extra, reject, set_null, set_default, stop.")));
	return result;
}

void
mm_refuse(const char *what)
{
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("%s is not supported by this version", what)));
}

/* ---------------------------------------------------------------------
 * Types of a contract
 * ---------------------------------------------------------------------
 */

typedef struct FieldPlace
{
	ErrorContextCallback callback;
	const MmField *field;
	int			number;
} FieldPlace;

static void
add_field_context(void *arg)
{
	FieldPlace *place = arg;

	errcontext("mapping, fields[%d], path \"%s\", column %s", place->number,
			   place->field->path ? place->field->path : "",
			   place->field->column);
}

/*
 * The default as its type writes it: evaluated here, once, so that the table
 * and the rows that are loaded have the same one.
 */
static char *
evaluate_default(const MmSqlType *type, char *text)
{
	int			guc_level = NewGUCNestLevel();
	Oid			input;
	Oid			ioparam;
	Oid			output;
	bool		varlena;
	char	   *result;

	mm_worker_save_forms();
	getTypeInputInfo(type->typid, &input, &ioparam);
	getTypeOutputInfo(type->typid, &output, &varlena);
	result = OidOutputFunctionCall(output,
								   OidInputFunctionCall(input, text, ioparam,
														type->typmod));
	AtEOXact_GUC(true, guc_level);
	return result;
}

/* Looks up the type as the caller's search_path has it, and keeps that. */
static void
resolve_type(MmField *field)
{
	MmSqlType	type = mm_type_parse(field->type);

	if (!mm_type_is_fillable(type.typid, type.typmod))
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("type %s cannot be filled from MongoDB", type.text),
				 errhint("Use another type, and convert the column afterwards.")));
	field->type = type.text;
	if (field->default_text != NULL)
		field->default_text = evaluate_default(&type, field->default_text);
}

static void
resolve_types(MmContract *contract)
{
	FieldPlace	place = {.number = 0};
	ListCell   *lc;

	place.callback.callback = add_field_context;
	place.callback.arg = &place;
	place.callback.previous = error_context_stack;
	error_context_stack = &place.callback;
	foreach(lc, contract->fields)
	{
		place.field = lfirst(lc);
		if (place.field->column != NULL)
			resolve_type(lfirst(lc));
		place.number++;
	}
	error_context_stack = place.callback.previous;
}

/* The top-level name with the most columns, for message 22. */
static const char *
widest_name(const MmContract *contract, int *most)
{
	const char *widest = NULL;
	ListCell   *lc;
	ListCell   *other;

	*most = 0;
	foreach(lc, contract->fields)
	{
		const MmField *field = lfirst(lc);
		int			n = 0;

		if (list_length(field->parts) < 2)
			continue;
		if (widest && strcmp(widest, linitial(field->parts)) == 0)
			continue;
		foreach(other, contract->fields)
		{
			const MmField *same = lfirst(other);

			n += same->column != NULL && list_length(same->parts) > 1 &&
				strcmp(linitial(same->parts), linitial(field->parts)) == 0;
		}
		if (n <= *most)
			continue;
		*most = n;
		widest = linitial(field->parts);
	}
	return widest;
}

/* Message 22. */
static void
check_width(const MmContract *contract)
{
	int			columns = contract->extra_column != NULL;
	int			most;
	const char *widest;
	ListCell   *lc;

	foreach(lc, contract->fields)
		columns += ((MmField *) lfirst(lc))->column != NULL;
	if (columns <= MaxHeapAttributeNumber)
		return;
	widest = widest_name(contract, &most);
	ereport(ERROR,
			(errcode(ERRCODE_TOO_MANY_COLUMNS),
			 errmsg("mapping for \"%s\" has %d columns, a table can have %d",
					contract->namespace, columns, MaxHeapAttributeNumber),
			 widest ? errdetail("%d of them come from \"%s\".", most,
								widest) : 0,
			 widest ? errhint("Map \"%s\" to one jsonb column.", widest) :
			 errhint("Give fewer fields: the others are kept in _extra.")));
}

/* ---------------------------------------------------------------------
 * The contract
 * ---------------------------------------------------------------------
 */

void
mm_call_require(MmField *field)
{
	field->not_null = true;
	if (field->on_error == MM_ON_ERROR_SET_NULL)
		field->on_error = MM_ON_ERROR_REJECT;
}

/* A key must not be null, also where the table does not say so yet. */
static void
protect_key(MmContract *contract)
{
	ListCell   *lc;
	ListCell   *key;

	foreach(lc, contract->fields)
	{
		MmField    *field = lfirst(lc);

		foreach(key, contract->key_columns)
			if (field->column != NULL &&
				strcmp(field->column, lfirst(key)) == 0)
				mm_call_require(field);
	}
}

bool
mm_jsonb_has_key(Jsonb *jsonb, const char *key)
{
	return getKeyJsonValueFromContainer(&jsonb->root, key, strlen(key),
										NULL) != NULL;
}

/* What the call gives in addition wins over the contract. */
static MmContract *
given_contract(const MmCall *call)
{
	MmContract *contract = mm_contract_from_jsonb(call->mapping);

	if (call->options.infers != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("option \"%s\" has no effect with a mapping",
						call->options.infers),
				 errdetail("It says how a mapping is inferred."),
				 errhint("Leave it out, or give it to migrate_infer_mapping() that makes the mapping.")));
	if (!mm_jsonb_has_key(call->mapping, "on_error"))
		contract->on_error = (MmOnError) mm_on_error;
	if (!mm_jsonb_has_key(call->mapping, "json_format"))
		contract->json_form = (MmJsonForm) mm_json_format;
	if (contract->filter != NULL)
		mm_source_check_filter(contract->filter);
	resolve_types(contract);
	return contract;
}

/* Fields of the contract from the lines of inference. */
static MmContract *
inferred_contract(MmCall *call)
{
	MmContract *contract = palloc0(sizeof(MmContract));
	MmInferOptions infer = mm_options_infer(&call->options);
	int			guc_level;
	ListCell   *lc;

	call->inferred = mm_input_infer(&call->input, call->filter,
									&call->options, &infer, &call->sampled);
	foreach(lc, call->inferred)
	{
		MmInferField *line = lfirst(lc);

		/* documents of a view may have none */
		if (lc == list_head(call->inferred) && call->sampled > 0 &&
			line->present == 0)
			continue;
		if (lc == list_head(call->inferred))
			contract->key_columns = list_make1(line->field.column);
		contract->fields = lappend(contract->fields, &line->field);
	}
	if (contract->fields == NIL)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("the documents of \"%s\" have no fields",
						call->input.namespace)));
	contract->on_error = (MmOnError) mm_on_error;
	contract->json_form = (MmJsonForm) mm_json_format;
	contract->extra_column = "_extra";

	/* what we chose are core's types, whatever the caller's search_path */
	guc_level = NewGUCNestLevel();
	RestrictSearchPath_compat();
	resolve_types(contract);
	AtEOXact_GUC(true, guc_level);
	return contract;
}

static void
apply_options(MmContract *contract, const MmCall *call)
{
	const MmOptions *options = &call->options;

	if (call->on_error != MM_INHERIT)
		contract->on_error = (MmOnError) call->on_error;
	if (options->invalid_text != MM_INHERIT)
		contract->invalid_text = (MmInvalidText) options->invalid_text;
	if (options->json_form != MM_INHERIT)
		contract->json_form = (MmJsonForm) options->json_form;
	if (options->uuid != MM_INHERIT)
		contract->uuid = (MmUuidForm) options->uuid;
	if (options->extra != MM_INHERIT)
		contract->extra = (MmExtraPolicy) options->extra;
}

/*
 * Of the filter of the call and of the contract, both must hold; the contract
 * says so when it is used again.
 */
static void
combine_filters(MmCall *call)
{
	char	   *own = call->contract->filter;

	if (call->filter == NULL)
		call->filter = own;
	else if (own != NULL && strcmp(own, call->filter) != 0)
	{
		ereport(NOTICE,
				(errmsg("both filters hold, that of the mapping and that of the call"),
				 errdetail("The mapping has %s.", own)));
		call->filter = psprintf("{\"$and\": [%s, %s]}", own, call->filter);
	}
	call->contract->filter = call->filter;
}

/* Where it says which table, a contract of another collection is a slip. */
static void
check_namespace(const MmCall *call)
{
	const char *namespace = call->contract->namespace;

	if (namespace == NULL || call->target != NULL ||
		call->contract->target == NULL ||
		strcmp(namespace, call->input.namespace) == 0)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("the mapping is one for \"%s\", and its target \"%s\" is too",
					namespace, call->contract->target),
			 errhint("Name the target for \"%s\": target => '...'.",
					 call->input.namespace)));
}

/*
 * Opens the source and makes the contract.  The caller closes call->input
 * when it has done with the source.
 */
void
mm_call_prepare(MmCall *call)
{
	MmContract *contract;

	if (call->mapping != NULL)
		call->contract = given_contract(call);
	call->input = mm_input_open(call->source, call->collection,
								&call->options);
	if (call->mapping == NULL)
		call->contract = inferred_contract(call);
	else
		call->sampled = -1;
	contract = call->contract;
	check_namespace(call);
	contract->namespace = call->input.namespace;
	if (call->target == NULL)
		call->target = contract->target;
	apply_options(contract, call);
	combine_filters(call);
	if (!mm_contract_needs_extra(contract))
		contract->extra_column = NULL;
	protect_key(contract);
	check_width(contract);
}
