/*-------------------------------------------------------------------------
 *
 * progress.c
 *	  What the views of running jobs call: counters from shared memory, and
 *	  the text forms of counts and bars.
 *
 * Attach, copy, detach: no lock is held, and a job that ends in between
 * does not run.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>

#include "access/htup_details.h"
#include "fmgr.h"
#include "funcapi.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/tuplestore.h"

#include "api/api.h"
#include "job/shared.h"
#include "settings.h"

MM_FUNCTION(mongo_migrate_shared_job);
MM_FUNCTION(mongo_migrate_shared_workers);
MM_FUNCTION(mongo_migrate_format_count);
MM_FUNCTION(migrate_progress_bar);

#define COUNTER_COLUMNS 7

/* The counters as columns docs_read ... bytes_read. */
static void
put_counters(Datum *values, const MmCounters *counters)
{
	values[0] = Int64GetDatum(counters->docs_read);
	values[1] = Int64GetDatum(counters->rows_inserted);
	values[2] = Int64GetDatum(counters->rows_updated);
	values[3] = Int64GetDatum(counters->docs_rejected);
	values[4] = Int64GetDatum(counters->docs_filtered);
	values[5] = Int64GetDatum(counters->values_diverted);
	values[6] = Int64GetDatum(counters->bytes_read);
}

/* False: it does not run. */
static bool
get_job(int64 job_id, int64 handle, Datum *values)
{
	dsm_segment *segment;
	MmShared   *shared = mm_shared_attach(job_id, handle, &segment);
	MmCounters	sum;
	int			n = COUNTER_COLUMNS;

	if (shared == NULL)
		return false;
	values[n + 1] = Int32GetDatum(mm_shared_totals(shared, &sum));
	put_counters(values, &sum);
	SpinLockAcquire(&shared->mutex);
	values[n] = Float8GetDatum(shared->rate);
	values[n + 2] = Int32GetDatum(shared->coordinator_pid);
	values[n + 3] = TimestampTzGetDatum(shared->updated_at);
	SpinLockRelease(&shared->mutex);
	mm_shared_detach(segment);
	return true;
}

Datum
mongo_migrate_shared_job(PG_FUNCTION_ARGS)
{
	Datum		values[COUNTER_COLUMNS + 4];
	bool		nulls[COUNTER_COLUMNS + 4];
	TupleDesc	desc;
	bool		runs;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	runs = !PG_ARGISNULL(0) && !PG_ARGISNULL(1) &&
		get_job(PG_GETARG_INT64(0), PG_GETARG_INT64(1), values);
	memset(nulls, !runs, sizeof(nulls));
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(desc, values, nulls)));
}

static void
put_worker(ReturnSetInfo *rsinfo, int slot, const MmLoaderState *state)
{
	MmCounters	sum = state->committed;
	Datum		values[COUNTER_COLUMNS + 8];
	bool		nulls[COUNTER_COLUMNS + 8] = {false};
	int			n = COUNTER_COLUMNS + 4;

	mm_counters_add(&sum, &state->pending);
	values[0] = Int32GetDatum(slot + 1);
	values[1] = Int32GetDatum(state->pid);
	values[2] = Int32GetDatum(state->chunk_no);
	nulls[2] = state->chunk_no == 0;
	values[3] = Int32GetDatum(state->attempt);
	put_counters(values + 4, &sum);
	values[n] = Float8GetDatum(state->rate);
	values[n + 1] = CStringGetTextDatum(state->last_id);
	nulls[n + 1] = state->last_id[0] == '\0';
	values[n + 2] = TimestampTzGetDatum(state->started_at);
	values[n + 3] = TimestampTzGetDatum(state->updated_at);
	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
}

Datum
mongo_migrate_shared_workers(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	dsm_segment *segment;
	MmShared   *shared;

	InitMaterializedSRF(fcinfo, 0);
	shared = mm_shared_attach(PG_GETARG_INT64(0), PG_GETARG_INT64(1),
							  &segment);
	if (shared == NULL)
		return (Datum) 0;
	for (int i = 0; i < shared->nloaders; i++)
	{
		MmLoaderState state;

		mm_shared_read_loader(shared, i, &state);
		if (state.pid != 0)
			put_worker(rsinfo, i, &state);
	}
	mm_shared_detach(segment);
	return (Datum) 0;
}

/*
 * At most six characters: plain up to 9999, then three digits and a letter
 * for 10^3, 10^6 and so on up to 10^18.
 */
char *
mm_format_count(int64 count)
{
	static const char letters[] = {'k', 'M', 'B', 'T', 'P', 'E'};
	double		value = (double) count;
	int			i;

	if (count < 10000)
		return psprintf("%lld", (long long) count);
	for (i = 0, value /= 1000; value >= 999.5 && i < 5; i++)
		value /= 1000;
	return psprintf(value < 99.95 ? "%.1f%c" : "%.0f%c", value, letters[i]);
}

Datum
mongo_migrate_format_count(PG_FUNCTION_ARGS)
{
	PG_RETURN_TEXT_P(cstring_to_text(mm_format_count(PG_GETARG_INT64(0))));
}

static bool
unicode_wanted(void)
{
	if (mm_progress_style == MM_PROGRESS_AUTO)
		return pg_get_client_encoding() == PG_UTF8 &&
			GetDatabaseEncoding() == PG_UTF8;
	return mm_progress_style == MM_PROGRESS_UNICODE;
}

static char *
unicode_bar(double fraction, int width)
{
	/* one to seven eighths of a block: U+258F down to U+2589 */
	static const char *const eighths[] = {"", "\xE2\x96\x8F", "\xE2\x96\x8E",
		"\xE2\x96\x8D", "\xE2\x96\x8C", "\xE2\x96\x8B", "\xE2\x96\x8A",
	"\xE2\x96\x89"};
	int			cells = (int) floor(fraction * width * 8);
	StringInfoData bar;
	int			i;

	initStringInfo(&bar);
	for (i = 0; i < cells / 8; i++)
		appendStringInfoString(&bar, "\xE2\x96\x88");	/* full block */
	if (cells % 8 != 0)
	{
		appendStringInfoString(&bar, eighths[cells % 8]);
		i++;
	}
	for (; i < width; i++)
		appendStringInfoString(&bar, "\xE2\x96\x91");	/* light shade */
	return bar.data;
}

static char *
ascii_bar(double fraction, int width)
{
	int			full = (int) floor(fraction * width);
	char	   *bar = palloc(width + 1);

	memset(bar, '#', full);
	memset(bar + full, '.', width - full);
	bar[width] = '\0';
	return bar;
}

Datum
migrate_progress_bar(PG_FUNCTION_ARGS)
{
	double		fraction = PG_GETARG_FLOAT8(0);
	int			width = PG_GETARG_INT32(1);

	if (width < 1 || width > 1000)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("width must be from 1 to 1000, not %d", width)));
	if (isnan(fraction))
		fraction = 0;
	fraction = Min(Max(fraction, 0), 1);
	PG_RETURN_TEXT_P(cstring_to_text(unicode_wanted() ?
									 unicode_bar(fraction, width) :
									 ascii_bar(fraction, width)));
}
