/*-------------------------------------------------------------------------
 *
 * replay.c
 *	  Dead letters tried again: from the bytes that were kept, into the table.
 *
 * The work of a loader, with two differences.  It runs in the transaction of
 * the session that asked for it, as the job's owner, always in careful mode
 * (batch.c); and a document that is rejected again gets its letter updated.
 * One that is stored moves in the books of its chunk from rejected to
 * inserted, so that the sums close as before.  Rows, letters and books are
 * one transaction, the caller's.
 *
 * The job does not run, and its row is locked: nobody else writes the books,
 * or replays the same letters.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_class.h"
#include "miscadmin.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/syscache.h"

#include "job/batch.h"
#include "job/catalog.h"
#include "job/replay.h"
#include "job/worker.h"

typedef struct Replay
{
	const MmJob *job;
	const MmReplayHow *how;
	const MmContract *contract; /* of the job, for the table at work */
	MmJobTable	table;			/* at work; its contract is the one to use */
	MmChunk		chunk;			/* at work */
	MmCounters	books;			/* of this chunk */
	MemoryContext chunk_context;
	MemoryContext reject_context;	/* of the reasons in this batch */
	List	   *batch;			/* of MmLetter *, in chunk_context */
	MmReplayResult result;
} Replay;

static char *
copy_text(const char *text)
{
	return text ? pstrdup(text) : NULL;
}

/* In careful mode a document may be rejected twice, for the same reason. */
static void
reject_again(void *arg, void *item, const uint8 *doc, uint32 len,
			 const MmReject *why)
{
	Replay	   *r = arg;
	MmLetter   *letter = item;
	MemoryContext old = MemoryContextSwitchTo(r->reject_context);

	letter->failed = true;
	letter->why = *why;
	letter->why.message = copy_text(why->message);
	letter->why.detail = copy_text(why->detail);
	letter->why.path = copy_text(why->path);
	letter->why.bson_type = copy_text(why->bson_type);
	letter->why.column = copy_text(why->column);
	letter->why.column_type = copy_text(why->column_type);
	MemoryContextSwitchTo(old);
}

/* After a batch was stored. */
static void
settle(Replay *r)
{
	ListCell   *lc;

	if (r->batch == NIL)
		return;
	mm_letter_settle(r->batch);
	foreach(lc, r->batch)
	{
		if (((MmLetter *) lfirst(lc))->failed)
			r->result.failed++;
		else
			r->result.replayed++;
	}
	list_free(r->batch);
	r->batch = NIL;
	MemoryContextReset(r->reject_context);
}

/* ---------------------------------------------------------------------
 * Figures of another contract
 * ---------------------------------------------------------------------
 */

/* Number of the field with this path, in the order of tallies. */
static int
find_field(const MmContract *contract, const char *path)
{
	ListCell   *lc;

	foreach(lc, contract->fields)
	{
		MmField    *field = lfirst(lc);

		/* the document as a whole has none */
		if (path == NULL ? field->path == NULL :
			field->path != NULL && strcmp(field->path, path) == 0)
			return MM_TALLY_UNKNOWN + 1 + foreach_current_index(lc);
	}
	return MM_TALLY_UNKNOWN;
}

/* The books of the chunk go by the fields of the job's contract. */
static const MmTally *
translate_tally(const Replay *r, const MmTally *tally)
{
	MmTally    *result;
	int			i = MM_TALLY_UNKNOWN + 1;
	ListCell   *lc;

	if (r->how->contract == NULL)
		return tally;
	result = mm_tally_create(list_length(r->contract->fields) + 1);
	result->fields[MM_TALLY_UNKNOWN] = tally->fields[MM_TALLY_UNKNOWN];
	foreach(lc, r->table.contract->fields)
	{
		MmField    *field = lfirst(lc);
		int			to = find_field(r->contract, field->path);

		for (int fate = 0; fate < MM_FATES; fate++)
			result->fields[to].n[fate] += tally->fields[i].n[fate];
		i++;
	}
	result->nconflicts = tally->nconflicts;
	result->conflicts = tally->conflicts;
	return result;
}

/* ---------------------------------------------------------------------
 * Letters
 * ---------------------------------------------------------------------
 */

/* The letters of one chunk: letters[first] up to before letters[end]. */
static void
replay_chunk(Replay *r, List *letters, int first, int end)
{
	MemoryContext old = MemoryContextSwitchTo(r->chunk_context);
	MmBatch    *batch;

	memset(&r->books, 0, sizeof(r->books));
	batch = mm_batch_begin(r->job, &r->table, true, &r->books, reject_again,
						   r);
	for (int i = first; i < end; i++)
	{
		MmLetter   *letter = list_nth(letters, i);
		bytea	   *raw = mm_letter_raw(letter->error_id);

		CHECK_FOR_INTERRUPTS();
		r->batch = lappend(r->batch, letter);
		if (mm_batch_add(batch, (uint8 *) VARDATA(raw),
						 VARSIZE(raw) - VARHDRSZ, letter))
			settle(r);
		pfree(raw);
	}
	mm_batch_end(batch);
	settle(r);
	mm_chunk_replay(r->job->job_id, &r->chunk, &r->books,
					translate_tally(r, mm_batch_tally(batch)));
	MemoryContextSwitchTo(old);
	MemoryContextReset(r->chunk_context);
}

static void
check_namespace(const MmContract *contract, const MmJobTable *table)
{
	char	   *namespace = psprintf("%s.%s", table->database,
									 table->collection);

	if (contract->namespace != NULL &&
		strcmp(contract->namespace, namespace) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the mapping is one for \"%s\", the dead letters are of \"%s\"",
						contract->namespace, namespace)));
}

/* Contract and table for the letters that follow. */
static void
begin_table(Replay *r, const MmJobTable *table)
{
	MmContract *contract = palloc(sizeof(MmContract));

	if (r->how->contract != NULL)
		check_namespace(r->how->contract, table);
	*contract = r->how->contract ? *r->how->contract : *table->contract;
	if (r->how->invalid_text != MM_INHERIT)
		contract->invalid_text = (MmInvalidText) r->how->invalid_text;
	if (contract->extra == MM_EXTRA_ADD_COLUMN)
		contract->extra = MM_EXTRA_COLUMN;	/* a replay adds none */
	r->contract = table->contract;
	r->table = *table;
	r->table.contract = contract;
}

/* By chunk, as mm_letter_lock_pending() has ordered them. */
static void
replay_letters(Replay *r, List *letters, List *tables)
{
	int			n = list_length(letters);
	int			end;

	for (int first = 0; first < n; first = end)
	{
		MmLetter   *letter = list_nth(letters, first);

		for (end = first + 1; end < n; end++)
		{
			MmLetter   *next = list_nth(letters, end);

			if (next->table_no != letter->table_no ||
				next->chunk_no != letter->chunk_no)
				break;
		}
		if (r->table.table_no != letter->table_no)
			begin_table(r, list_nth(tables, letter->table_no - 1));
		r->chunk.table_no = letter->table_no;
		r->chunk.chunk_no = letter->chunk_no;
		replay_chunk(r, letters, first, end);
	}
}

/*
 * The owner; when there is none any more, that of the table, since a superuser
 * (who asks for it) should not run what others have defined on the table.
 */
static Oid
who_replays(const MmJob *job, const List *tables)
{
	Oid			relid;
	HeapTuple	tuple;
	Oid			owner = job->owner;

	if (tables == NIL ||
		SearchSysCacheExists1(AUTHOID, ObjectIdGetDatum(owner)))
		return owner;
	relid = ((MmJobTable *) linitial(tables))->relid;
	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relid));
	if (!HeapTupleIsValid(tuple))
		return GetUserId();		/* there is nothing to run */
	owner = ((Form_pg_class) GETSTRUCT(tuple))->relowner;
	ReleaseSysCache(tuple);
	return owner;
}

MmReplayResult
mm_replay(const MmJob *job, ArrayType *error_ids, const MmReplayHow *how)
{
	Replay		r = {.job = job, .how = how};
	List	   *tables = mm_job_load_tables(job->job_id);
	int			guc_level = NewGUCNestLevel();
	Oid			save_userid;
	int			save_sec_context;

	/* what users have defined on the table runs as in the load */
	GetUserIdAndSecContext(&save_userid, &save_sec_context);
	SetUserIdAndSecContext(who_replays(job, tables), save_sec_context |
						   SECURITY_RESTRICTED_OPERATION);
	mm_worker_save_forms();
	r.chunk_context = AllocSetContextCreate(CurrentMemoryContext,
											"mongo_migrate replay",
											ALLOCSET_DEFAULT_SIZES);
	r.reject_context = AllocSetContextCreate(CurrentMemoryContext,
											 "mongo_migrate rejects",
											 ALLOCSET_DEFAULT_SIZES);
	replay_letters(&r, mm_letter_lock_pending(job->job_id, error_ids),
				   tables);
	AtEOXact_GUC(true, guc_level);
	SetUserIdAndSecContext(save_userid, save_sec_context);
	return r.result;
}
