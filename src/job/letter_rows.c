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
