/*-------------------------------------------------------------------------
 *
 * report.c
 *	  migrate_summary(), migrate_mapping(), and the functions that need
 *	  neither a job nor a connection.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/reloptions.h"
#include "catalog/pg_foreign_server.h"
#include "catalog/pg_user_mapping.h"
#include "fmgr.h"
#include "nodes/parsenodes.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "api/api.h"
#include "job/catalog.h"
#include "settings.h"

MM_FUNCTION(migrate_summary);
MM_FUNCTION(migrate_mapping);
MM_FUNCTION(migrate_version);
MM_FUNCTION(migrate_column_name);
MM_FUNCTION(migrate_objectid_time);
MM_FUNCTION(mongo_migrate_bson_document);
MM_FUNCTION(mongo_migrate_fdw_validator);

/* "12 exact, 3 in _extra": what there is of it.  alias: a row of counts. */
#define FATES(alias) \
	" CASE WHEN " alias ".exact > 0 THEN " alias ".exact || ' exact' END," \
	" CASE WHEN " alias ".widened > 0" \
	" THEN " alias ".widened || ' widened' END," \
	" CASE WHEN " alias ".diverted > 0" \
	" THEN " alias ".diverted || ' in _extra' END"
#define LOSSES(alias) \
	" CASE WHEN " alias ".set_null > 0" \
	" THEN " alias ".set_null || ' set to null' END," \
	" CASE WHEN " alias ".set_default > 0" \
	" THEN " alias ".set_default || ' set to default' END," \
	" CASE WHEN " alias ".ignored > 0" \
	" THEN " alias ".ignored || ' ignored' END," \
	" CASE WHEN " alias ".altered > 0" \
	" THEN " alias ".altered || ' altered' END"

static const char summary_sql[] =
	"WITH t AS (SELECT s.*, jt.database, jt.collection, jt.verify_count,"
	" jt.verify_rows, jt.split, j.workers, j.options,"
	" j.finished_at - j.started_at AS total"
	" FROM mongo_migrate.table_stat s"
	" JOIN mongo_migrate.job_table jt USING (job_id, table_no)"
	" JOIN mongo_migrate.job j USING (job_id) WHERE job_id = $1),"
	" p AS (SELECT table_no, phase, date_trunc('milliseconds', spent"
	" + COALESCE(clock_timestamp() - started_at, '0')) AS spent"
	" FROM mongo_migrate.table_phase WHERE job_id = $1),"
	" s AS ("
	" SELECT t.table_no, 1 AS n, 0 AS field_no, 'plan' AS step,"
	" t.database || '.' || t.collection AS object, NULL::bigint AS documents,"
	" NULL::bigint AS rows, NULL::bigint AS rejected, NULL::bigint AS bytes,"
	" p.spent FROM t JOIN p USING (table_no) WHERE p.phase = 'planning'"
	" UNION ALL SELECT t.table_no, 2, 0,"
	" format('copy (%s worker%s)', least(t.workers, t.chunks_total),"
	" CASE WHEN least(t.workers, t.chunks_total) = 1 THEN '' ELSE 's' END),"
	" format('%I.%I', t.target_schema, t.target_table), t.docs_done,"
	" t.rows_inserted + t.rows_updated, t.docs_rejected, t.bytes_done,"
	" p.spent FROM t JOIN p USING (table_no) WHERE p.phase = 'copying'"
	" UNION ALL SELECT t.table_no, 3, 0, 'create indexes',"
	" format('%s index%s', t.indexes_done,"
	" CASE WHEN t.indexes_done = 1 THEN '' ELSE 'es' END), NULL,"
	" t.rows_inserted, NULL, NULL, p.spent FROM t JOIN p USING (table_no)"
	" WHERE p.phase = 'indexing'"
	" UNION ALL SELECT t.table_no, 4, 0, 'analyze',"
	" format('%I.%I', t.target_schema, t.target_table), NULL, NULL, NULL,"
	" NULL, p.spent FROM t JOIN p USING (table_no)"
	" WHERE p.phase = 'analyzing' AND (t.options ->> 'analyze')::boolean"
	" UNION ALL SELECT t.table_no, 5, 0, 'verify count',"
	" format('%I.%I', t.target_schema, t.target_table), t.verify_count,"
	" t.verify_rows, NULL, NULL, p.spent"
	" FROM t JOIN p USING (table_no) WHERE p.phase = 'verifying'"
	" AND (t.options ->> 'verify')::boolean"
	" UNION ALL SELECT v.table_no, 6, 0, 'values',"
	" concat_ws(', ', CASE WHEN v.lossless THEN 'lossless: yes'"
	" ELSE 'lossless: no' END," LOSSES("v") ","
	" CASE WHEN v.duplicates > 0"
	" THEN v.duplicates || ' with duplicate keys' END,"
	" CASE WHEN v.discarded > 0 THEN v.discarded || ' discarded' END,"
	FATES("v") ","
	" CASE WHEN v.pending > 0 THEN v.pending || ' rejected' END),"
	" NULL, NULL, NULL, NULL, NULL FROM mongo_migrate.value_stat v"
	" WHERE v.job_id = $1"
	" UNION ALL SELECT f.table_no, 7, f.field_no, 'values of ' || f.path,"
	" concat_ws(', '," FATES("f") "," LOSSES("f") "),"
	" NULL, NULL, NULL, NULL, NULL FROM mongo_migrate.field_stat f"
	" WHERE f.job_id = $1 AND f.widened + f.diverted + f.set_null"
	" + f.set_default + f.ignored + f.altered > 0"
	" UNION ALL SELECT 2147483647, 8, 0, 'total (wall clock)',"
	" format('%s table%s', count(*), CASE WHEN count(*) = 1 THEN ''"
	" ELSE 's' END), sum(t.docs_done)::bigint,"
	" sum(t.rows_inserted + t.rows_updated)::bigint,"
	" sum(t.docs_rejected)::bigint, sum(t.bytes_done)::bigint,"
	" date_trunc('milliseconds', make_interval(secs =>"
	" max(t.elapsed_seconds))) FROM t)"
	" SELECT step, object, documents, rows, rejected, pg_size_pretty(bytes),"
	" spent, CASE WHEN documents IS NOT NULL AND bytes IS NOT NULL"
	" AND spent > '0' THEN mongo_migrate.format_count((documents /"
	" extract(epoch FROM spent))::bigint) || '/s' END"
	" FROM s ORDER BY table_no, n, field_no";

Datum
migrate_summary(PG_FUNCTION_ARGS)
{
	MmJob	   *job = mm_pick_job_arg(fcinfo, 0, MM_RIGHT_SEE);
	MmArgs		args = {0};

	mm_arg_int8(&args, job->job_id);
	return mm_catalog_return(fcinfo, summary_sql, &args);
}

Datum
migrate_mapping(PG_FUNCTION_ARGS)
{
	MmJob	   *job = mm_pick_job_arg(fcinfo, 0, MM_RIGHT_SEE);
	char	   *target = PG_ARGISNULL(1) ? NULL :
		text_to_cstring(PG_GETARG_TEXT_PP(1));
	MmArgs		args = {0};
	MmCatalogScope scope;
	Jsonb	   *mapping = NULL;

	mm_arg_int8(&args, job->job_id);
	mm_arg_text(&args, target);
	mm_catalog_begin(&scope);
	if (mm_catalog_query("SELECT mapping FROM mongo_migrate.job_table"
						 " WHERE job_id = $1 AND ($2 IS NULL OR $2 IN"
						 " (target_table::text, format('%I.%I', target_schema,"
						 " target_table))) ORDER BY table_no LIMIT 1",
						 &args) == 1)
		mapping = mm_row_jsonb(&scope, 0, 1);
	mm_catalog_end(&scope);
	if (mapping == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("migration job %lld has no target \"%s\"",
						(long long) job->job_id, target)));
	PG_RETURN_JSONB_P(mapping);
}

Datum
migrate_version(PG_FUNCTION_ARGS)
{
	PG_RETURN_TEXT_P(cstring_to_text(psprintf("mongo_migrate %s, %s",
											  MM_VERSION,
											  mm_source_driver_version())));
}

Datum
migrate_column_name(PG_FUNCTION_ARGS)
{
	char	   *path = text_to_cstring(PG_GETARG_TEXT_PP(0));
	char	   *style = text_to_cstring(PG_GETARG_TEXT_PP(1));
	Name		name = palloc0(NAMEDATALEN);
	MmNaming	naming;

	mm_input_check_encoding();
	if (!mm_naming_parse(style, &naming))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid value for style: \"%s\"", style),
				 errhint("Available values: snake_case, lower, preserve.")));
	namestrcpy(name, mm_name_column(path, naming));
	PG_RETURN_NAME(name);
}

/*
 * The first four bytes of an ObjectId are the seconds since 1970, big-endian
 * (BSON specification, ObjectId).
 */
Datum
migrate_objectid_time(PG_FUNCTION_ARGS)
{
	char	   *digits = text_to_cstring(PG_GETARG_TEXT_PP(0));
	uint32		seconds;

	if (strlen(digits) != 24 ||
		strspn(digits, "0123456789abcdefABCDEF") != 24)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
				 errmsg("invalid ObjectId: \"%s\"", digits),
				 errdetail("An ObjectId has 24 hexadecimal digits.")));
	digits[8] = '\0';
	seconds = (uint32) strtoul(digits, NULL, 16);
	PG_RETURN_TIMESTAMPTZ(((int64) seconds -
						   (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) *
						   (int64) SECS_PER_DAY) * USECS_PER_SEC);
}

Datum
mongo_migrate_bson_document(PG_FUNCTION_ARGS)
{
	bytea	   *bson = PG_GETARG_BYTEA_PP(0);
	char	   *json = mm_json_document((uint8 *) VARDATA_ANY(bson),
										VARSIZE_ANY_EXHDR(bson));

	if (json == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(json));
}

Datum
mongo_migrate_fdw_validator(PG_FUNCTION_ARGS)
{
	List	   *options = untransformRelOptions(PG_GETARG_DATUM(0));
	Oid			catalog = PG_GETARG_OID(1);

	if (catalog == ForeignServerRelationId)
		mm_source_check_server_options(options);
	else if (catalog == UserMappingRelationId)
		mm_source_check_mapping_options(options);
	else if (options != NIL)
		ereport(ERROR,
				(errcode(ERRCODE_FDW_INVALID_OPTION_NAME),
				 errmsg("invalid option \"%s\"",
						((DefElem *) linitial(options))->defname),
				 errhint("There are options for servers and user mappings only.")));
	PG_RETURN_VOID();
}
