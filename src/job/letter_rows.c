/*-------------------------------------------------------------------------
 *
 * letter_rows.c
 *	  The table dead_letter.
 *
 * pending -> replayed	  (migrate_replay: a row now)
 *            discarded   (migrate_discard: given up on purpose)
 *
 * A letter is written in the transaction of the checkpoint that read its
 * document.  The books of a chunk count pending and discarded letters as
 * rejected, replayed ones as inserted.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "convert/tally.h"
#include "job/catalog.h"
#include "utils/builtins.h"

static void
add_reject(MmArgs *args, const MmReject *reject)
{
	mm_arg_text(args, reject->stage);
	mm_arg_text(args, reject->path);
	mm_arg_text(args, reject->bson_type);
	mm_arg_text(args, reject->column);
	mm_arg_text(args, reject->column_type);
	mm_arg_text(args, unpack_sql_state(reject->sqlstate));
	mm_arg_text(args, reject->message);
	mm_arg_text(args, reject->detail);
}

void
mm_letter_insert(int64 job_id, const MmChunk *chunk, const uint8 *doc,
				 uint32 len, const MmReject *why)
{
	bytea	   *raw = palloc(VARHDRSZ + len);
	MmArgs		args = {0};

	SET_VARSIZE(raw, VARHDRSZ + len);
	memcpy(VARDATA(raw), doc, len);
	add_reject(&args, why);
	mm_arg_int8(&args, job_id);
	mm_arg_int4(&args, chunk->table_no);
	mm_arg_int4(&args, chunk->chunk_no);
	mm_arg_text(&args, mm_json_source_id(doc, len));
	mm_arg_bytea(&args, raw);
	mm_catalog_execute("INSERT INTO mongo_migrate.dead_letter"
					   " (stage, path, bson_type, column_name, column_type,"
					   " sqlstate, message, detail, job_id, table_no,"
					   " chunk_no, source_id, raw) VALUES ($1, $2, $3, $4,"
					   " $5, $6, $7, $8, $9, $10, $11, $12, $13)", &args);
}

int64
mm_letter_count_pending(int64 job_id)
{
	MmArgs		args = {0};
	MmCatalogScope scope;
	int64		count;

	mm_arg_int8(&args, job_id);
	mm_catalog_begin(&scope);
	mm_catalog_query("SELECT count(*) FROM mongo_migrate.dead_letter"
					 " WHERE job_id = $1 AND status = 'pending'", &args);
	count = mm_row_int8(0, 1);
	mm_catalog_end(&scope);
	return count;
}

/* 998 of them: "total" is string where numeric is expected, first in ... */
static char *
describe_reason(int64 count, const char *message, const char *path,
				const bytea *raw)
{
	bool		placed = path == NULL || strstr(message, path) != NULL;

	return psprintf("%lld of them: %s%s%s%s, first in _id %s.",
					(long long) count, message, placed ? "" : " in \"",
					placed ? "" : path, placed ? "" : "\"",
					mm_json_id_for_message((uint8 *) VARDATA(raw),
										   VARSIZE(raw) - VARHDRSZ));
}

char *
mm_letter_worst(int64 job_id, const char **view)
{
	MmArgs		args = {0};
	MmCatalogScope scope;
	char	   *message = NULL;
	char	   *path;
	int64		count;
	int64		first;

	mm_arg_int8(&args, job_id);
	*view = "migrate_errors";
	mm_catalog_begin(&scope);
	if (mm_catalog_query("SELECT message, path, count(*), min(error_id),"
						 " bool_and(stage = 'convert')"
						 " FROM mongo_migrate.dead_letter"
						 " WHERE job_id = $1 AND status <> 'replayed'"
						 " GROUP BY message, path"
						 " ORDER BY count(*) DESC, min(error_id) LIMIT 1",
						 &args) == 1)
	{
		message = mm_row_text(&scope, 0, 1);
		path = mm_row_text(&scope, 0, 2);
		count = mm_row_int8(0, 3);
		first = mm_row_int8(0, 4);
		if (mm_row_bool(0, 5))
			*view = "migrate_conflicts";
	}
	mm_catalog_end(&scope);
	if (message == NULL)
		return NULL;
	return describe_reason(count, message, path, mm_letter_raw(first));
}

void
mm_letter_raise_limit(int64 job_id, int64 rejected, int64 limit,
					  const char *reason, const char *what)
{
	ereport(ERROR,
			(errcode(ERRCODE_DATA_EXCEPTION),
			 errmsg("migration job %lld failed: %lld documents rejected, the limit is %lld",
					(long long) job_id, (long long) rejected,
					(long long) limit),
			 reason ? errdetail_internal("%s", reason) : 0,
			 errhint("%s, or raise the limit with migrate_alter(%lld, reject_limit => ...), then SELECT migrate_retry(%lld).",
					 what, (long long) job_id, (long long) job_id)));
}

void
mm_letter_check(int64 job_id, ArrayType *error_ids)
{
	MmArgs		args = {0};
	MmCatalogScope scope;

	mm_arg_int8(&args, job_id);
	mm_arg_array(&args, error_ids);
	mm_catalog_begin(&scope);
	if (mm_catalog_query("SELECT i FROM unnest($2) AS u (i)"
						 " WHERE i IS NOT NULL AND NOT EXISTS ("
						 "SELECT FROM mongo_migrate.dead_letter d"
						 " WHERE d.error_id = u.i AND $1 IN (0, d.job_id))"
						 " LIMIT 1", &args) == 1)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 job_id == 0 ?
				 errmsg("dead letter %lld does not exist",
						(long long) mm_row_int8(0, 1)) :
				 errmsg("migration job %lld has no dead letter %lld",
						(long long) job_id, (long long) mm_row_int8(0, 1)),
				 errhint("See SELECT * FROM migrate_errors.")));
	mm_catalog_end(&scope);
}

List *
mm_letter_jobs(ArrayType *error_ids)
{
	MmArgs		args = {0};
	MmCatalogScope scope;
	List	   *jobs = NIL;
	uint64		rows;

	mm_arg_array(&args, error_ids);
	mm_catalog_begin(&scope);
	rows = mm_catalog_query("SELECT DISTINCT job_id"
							" FROM mongo_migrate.dead_letter"
							" WHERE error_id = ANY ($1) ORDER BY job_id",
							&args);
	for (uint64 i = 0; i < rows; i++)
	{
		int64	   *job_id = MemoryContextAlloc(scope.caller, sizeof(int64));
		MemoryContext old = MemoryContextSwitchTo(scope.caller);

		*job_id = mm_row_int8(i, 1);
		jobs = lappend(jobs, job_id);
		MemoryContextSwitchTo(old);
	}
	mm_catalog_end(&scope);
	return jobs;
}

/* Gives up letters that are pending; returns how many. */
int64
mm_letter_discard(int64 job_id, ArrayType *error_ids, const char *reason)
{
	MmArgs		args = {0};

	mm_arg_int8(&args, job_id);
	mm_arg_array(&args, error_ids);
	mm_arg_text(&args, reason);
	return mm_catalog_execute("UPDATE mongo_migrate.dead_letter"
							  " SET status = 'discarded', reason = $3"
							  " WHERE job_id = $1 AND error_id = ANY ($2)"
							  " AND status = 'pending'", &args);
}

/* ---------------------------------------------------------------------
 * Replay
 * ---------------------------------------------------------------------
 */

List *
mm_letter_lock_pending(int64 job_id, ArrayType *error_ids)
{
	MmArgs		args = {0};
	MmCatalogScope scope;
	List	   *letters = NIL;
	uint64		rows;

	mm_arg_int8(&args, job_id);
	mm_arg_array(&args, error_ids);
	mm_catalog_begin(&scope);
	rows = mm_catalog_query("SELECT error_id, table_no, chunk_no"
							" FROM mongo_migrate.dead_letter"
							" WHERE job_id = $1 AND status = 'pending'"
							" AND ($2 IS NULL OR error_id = ANY ($2))"
							" ORDER BY table_no, chunk_no, error_id"
							" FOR UPDATE", &args);
	MemoryContextSwitchTo(scope.caller);
	for (uint64 i = 0; i < rows; i++)
	{
		MmLetter   *letter = palloc0(sizeof(MmLetter));

		letter->error_id = mm_row_int8(i, 1);
		letter->table_no = mm_row_int4(i, 2);
		letter->chunk_no = mm_row_int4(i, 3);
		letters = lappend(letters, letter);
	}
	mm_catalog_end(&scope);
	return letters;
}

bytea *
mm_letter_raw(int64 error_id)
{
	MmArgs		args = {0};
	MmCatalogScope scope;
	bytea	   *raw;

	mm_arg_int8(&args, error_id);
	mm_catalog_begin(&scope);
	if (mm_catalog_query("SELECT raw FROM mongo_migrate.dead_letter"
						 " WHERE error_id = $1", &args) != 1)
		elog(ERROR, "dead letter %lld is gone", (long long) error_id);
	raw = mm_row_bytea(&scope, 0, 1);
	mm_catalog_end(&scope);
	return raw;
}

/* Their numbers; all of them, or only of those that did not fail again. */
static void
arg_letters(MmArgs *args, List *letters, bool only_good)
{
	int64	   *ids = palloc(sizeof(int64) * list_length(letters));
	int			n = 0;
	ListCell   *lc;

	foreach(lc, letters)
	{
		MmLetter   *letter = lfirst(lc);

		if (!only_good || !letter->failed)
			ids[n++] = letter->error_id;
	}
	mm_arg_int8_array(args, ids, n);
}

#define SAME_CONFLICT \
	" c.job_id = t.job_id AND c.table_no = t.table_no" \
	" AND c.chunk_no = t.chunk_no AND c.action = 'rejected'" \
	" AND c.path = t.path AND c.bson_type = t.bson_type" \
	" AND c.column_name IS NOT DISTINCT FROM t.column_name" \
	" AND c.column_type IS NOT DISTINCT FROM t.column_type"

#define SAME_OTHERS \
	" c.job_id = t.job_id AND c.table_no = t.table_no" \
	" AND c.chunk_no = t.chunk_no AND c.action = 'rejected'" \
	" AND c.path = '" MM_TALLY_OTHERS "'"

/*
 * Takes letters out of the conflicts under which they were counted as
 * rejected: what became of them now is counted anew.  Those for which the line
 * of their own in their chunk has no room were counted under MM_TALLY_OTHERS,
 * in a checkpoint with many lines.
 */
static void
take_back_conflicts(List *letters)
{
	MmArgs		args = {0};

	arg_letters(&args, letters, false);
	mm_catalog_execute("WITH t AS (SELECT job_id, table_no, chunk_no,"
					   " COALESCE(path, '') AS path,"
					   " column_name, column_type,"
					   " COALESCE(bson_type, 'null') AS bson_type,"
					   " count(*) AS n FROM mongo_migrate.dead_letter"
					   " WHERE error_id = ANY ($1) AND stage = 'convert'"
					   " GROUP BY 1, 2, 3, 4, 5, 6, 7),"
					   " o AS (SELECT t.job_id, t.table_no, t.chunk_no,"
					   " sum(t.n - COALESCE(c.documents, 0)) AS n"
					   " FROM t LEFT JOIN mongo_migrate.conflict c ON"
					   SAME_CONFLICT " WHERE t.n > COALESCE(c.documents, 0)"
					   " GROUP BY t.job_id, t.table_no, t.chunk_no),"
					   " u AS (UPDATE mongo_migrate.conflict c"
					   " SET documents = c.documents - t.n FROM t WHERE"
					   SAME_CONFLICT " AND c.documents > t.n),"
					   " v AS (UPDATE mongo_migrate.conflict c"
					   " SET documents = c.documents - t.n FROM o t WHERE"
					   SAME_OTHERS " AND c.documents > t.n),"
					   " w AS (DELETE FROM mongo_migrate.conflict c USING o t"
					   " WHERE" SAME_OTHERS " AND c.documents <= t.n)"
					   " DELETE FROM mongo_migrate.conflict c USING t WHERE"
					   SAME_CONFLICT " AND c.documents <= t.n", &args);
}

static void
mark_replayed(List *letters)
{
	MmArgs		args = {0};

	arg_letters(&args, letters, true);
	mm_catalog_execute("UPDATE mongo_migrate.dead_letter"
					   " SET status = 'replayed', attempts = attempts + 1"
					   " WHERE error_id = ANY ($1)", &args);
}

static void
mark_failed(const MmLetter *letter)
{
	MmArgs		args = {0};

	add_reject(&args, &letter->why);
	mm_arg_int8(&args, letter->error_id);
	mm_catalog_execute("UPDATE mongo_migrate.dead_letter SET stage = $1,"
					   " path = $2, bson_type = $3, column_name = $4,"
					   " column_type = $5, sqlstate = $6, message = $7,"
					   " detail = $8, attempts = attempts + 1"
					   " WHERE error_id = $9", &args);
}

void
mm_letter_settle(List *letters)
{
	ListCell   *lc;

	take_back_conflicts(letters);
	mark_replayed(letters);
	foreach(lc, letters)
	{
		MmLetter   *letter = lfirst(lc);

		if (letter->failed)
			mark_failed(letter);
	}
}
