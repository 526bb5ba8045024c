/*-------------------------------------------------------------------------
 *
 * catalog.c
 *	  Queries on the tables of schema mongo_migrate.
 *
 * Plain roles have no rights on our tables.  A caller checks who may do
 * what, then opens a scope: user id and search_path are switched, SPI is
 * connected, and the queries of job_rows.c and chunk_rows.c run.  No code of
 * users can run inside a scope: the tables have no triggers but ours, and
 * operators and functions resolve in pg_catalog alone.  An error inside a
 * scope needs no clean-up here, since the abort of the (sub)transaction
 * restores user id and settings and closes SPI.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <signal.h>

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/indexing.h"
#include "catalog/namespace.h"
#include "catalog/pg_extension.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/lmgr.h"
#include "storage/lock.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "compat.h"
#include "job/catalog.h"

static void
add_arg(MmArgs *args, Oid type, Datum value, bool isnull)
{
	if (args->n >= MM_MAX_ARGS)
		elog(ERROR, "too many query parameters");
	args->types[args->n] = type;
	args->values[args->n] = value;
	args->nulls[args->n] = isnull ? 'n' : ' ';
	args->n++;
}

void
mm_arg_int8(MmArgs *args, int64 value)
{
	add_arg(args, INT8OID, Int64GetDatum(value), false);
}

void
mm_arg_int4(MmArgs *args, int32 value)
{
	add_arg(args, INT4OID, Int32GetDatum(value), false);
}

void
mm_arg_oid(MmArgs *args, Oid value)
{
	add_arg(args, OIDOID, ObjectIdGetDatum(value), false);
}

void
mm_arg_bool(MmArgs *args, bool value)
{
	add_arg(args, BOOLOID, BoolGetDatum(value), false);
}

void
mm_arg_text(MmArgs *args, const char *value)
{
	add_arg(args, TEXTOID, value ? CStringGetTextDatum(value) : (Datum) 0,
			value == NULL);
}

void
mm_arg_bytea(MmArgs *args, const bytea *value)
{
	add_arg(args, BYTEAOID, PointerGetDatum(value), value == NULL);
}

void
mm_arg_jsonb(MmArgs *args, Jsonb *value)
{
	add_arg(args, JSONBOID, JsonbPGetDatum(value), value == NULL);
}

void
mm_arg_int8_array(MmArgs *args, const int64 *values, int n)
{
	Datum	   *elements = palloc(sizeof(Datum) * n);

	for (int i = 0; i < n; i++)
		elements[i] = Int64GetDatum(values[i]);
	mm_arg_array(args, construct_array(elements, n, INT8OID, sizeof(int64),
									   FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
}

void
mm_arg_array(MmArgs *args, ArrayType *value)
{
	add_arg(args, INT8ARRAYOID, PointerGetDatum(value), value == NULL);
}

/* The extension that a worker was started for; InvalidOid: any. */
static Oid	expected_extension = InvalidOid;

void
mm_catalog_expect(Oid extension)
{
	expected_extension = extension;
}

/* The extension's OID and owner; false when there is none. */
static bool
read_extension(Oid *oid, Oid *owner)
{
	Relation	rel = table_open(ExtensionRelationId, AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;
	bool		found;

	ScanKeyInit(&key, Anum_pg_extension_extname, BTEqualStrategyNumber,
				F_NAMEEQ, CStringGetDatum("mongo_migrate"));
	scan = systable_beginscan(rel, ExtensionNameIndexId, true, NULL, 1, &key);
	tuple = systable_getnext(scan);
	found = HeapTupleIsValid(tuple);
	if (found)
	{
		*oid = ((Form_pg_extension) GETSTRUCT(tuple))->oid;
		*owner = ((Form_pg_extension) GETSTRUCT(tuple))->extowner;
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return found;
}

/*
 * DROP EXTENSION locks the extension before it locks our tables.  So with
 * this lock it waits for the end of our transaction, and we do not find a
 * table gone in the middle of it, or wait in a circle.
 */
static LockAcquireResult
lock_extension(Oid oid, bool wait)
{
	LOCKTAG		tag;
	LockAcquireResult result;

	SET_LOCKTAG_OBJECT(tag, MyDatabaseId, ExtensionRelationId, oid, 0);
	result = LockAcquire(&tag, AccessShareLock, false, !wait);
	if (result == LOCKACQUIRE_OK)
		AcceptInvalidationMessages();
	return result;
}

/*
 * The extension, locked; false when it is gone, or is not the one that this
 * worker was started for.
 */
static bool
find_extension(Oid *oid, Oid *owner)
{
	bool		found = read_extension(oid, owner);

	if (found && OidIsValid(expected_extension) && *oid != expected_extension)
		found = false;
	if (found && lock_extension(*oid, true) == LOCKACQUIRE_OK)
	{
		Oid			locked = *oid;

		/* Somebody may have dropped it while we waited. */
		found = read_extension(oid, owner) && *oid == locked;
	}
	return found;
}

/*
 * Anybody may wait: DROP EXTENSION asks for the lock before it checks rights.
 * Who has none would hold up all jobs, and get an error in the end: canceled.
 */
static bool
owner_waits(void)
{
	MmArgs		args = {0};
	MmCatalogScope scope;
	uint64		rows;
	bool		waits = false;

	mm_arg_oid(&args, expected_extension);
	mm_arg_oid(&args, MyDatabaseId);
	pgstat_clear_snapshot();	/* else it is one for the transaction */
	mm_catalog_begin(&scope);
	rows = mm_catalog_query("SELECT pg_has_role(a.usesysid, CURRENT_USER,"
							" 'MEMBER'), l.pid FROM pg_locks l"
							" JOIN pg_stat_activity a ON a.pid = l.pid"
							" WHERE l.locktype = 'object' AND NOT l.granted"
							" AND l.mode = 'AccessExclusiveLock'"
							" AND l.classid = 'pg_extension'::regclass"
							" AND l.objid = $1 AND l.database = $2", &args);
	for (uint64 i = 0; i < rows; i++)
	{
		if (mm_row_bool(i, 1))
			waits = true;
		else
			kill(mm_row_int4(i, 2), SIGINT);
	}
	mm_catalog_end(&scope);
	return waits;
}

bool
mm_catalog_is_wanted(void)
{
	static TimestampTz looked = 0;
	TimestampTz now = GetCurrentTimestamp();
	LOCKTAG		tag;

	SET_LOCKTAG_OBJECT(tag, MyDatabaseId, ExtensionRelationId,
					   expected_extension, 0);
	if (!LockHasWaiters(&tag, AccessShareLock, false) ||
		!TimestampDifferenceExceeds(looked, now, 1000))
		return false;
	looked = now;
	return owner_waits();
}

bool
mm_catalog_exists(void)
{
	Oid			oid,
				owner;

	return find_extension(&oid, &owner);
}

bool
mm_catalog_try_lock(const char *table)
{
	Oid			oid,
				owner,
				relid;

	if (!read_extension(&oid, &owner) ||
		lock_extension(oid, false) == LOCKACQUIRE_NOT_AVAIL ||
		!mm_catalog_exists())
		return false;
	relid = get_relname_relid(table, get_namespace_oid("mongo_migrate", true));
	return OidIsValid(relid) &&
		ConditionalLockRelationOid(relid, RowExclusiveLock);
}

/* Raises when the extension is gone. */
static void
get_extension(Oid *oid, Oid *owner)
{
	if (!find_extension(oid, owner))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("extension \"%s\" does not exist", "mongo_migrate")));
}

Oid
mm_catalog_extension(void)
{
	Oid			oid,
				owner;

	get_extension(&oid, &owner);
	return oid;
}

void
mm_catalog_begin(MmCatalogScope *scope)
{
	Oid			extension,
				owner;

	get_extension(&extension, &owner);
	scope->caller = CurrentMemoryContext;
	GetUserIdAndSecContext(&scope->save_userid, &scope->save_sec_context);
	SetUserIdAndSecContext(owner, scope->save_sec_context |
						   SECURITY_LOCAL_USERID_CHANGE);
	scope->guc_level = NewGUCNestLevel();
	RestrictSearchPath_compat();
	/* Or our own foreign keys would not cascade. */
	if (SessionReplicationRole != SESSION_REPLICATION_ROLE_ORIGIN)
		(void) set_config_option("session_replication_role", "origin",
								 PGC_SUSET, PGC_S_SESSION, GUC_ACTION_SAVE,
								 true, 0, false);
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
}

void
mm_catalog_end(MmCatalogScope *scope)
{
	SPI_finish();
	AtEOXact_GUC(true, scope->guc_level);
	SetUserIdAndSecContext(scope->save_userid, scope->save_sec_context);
	MemoryContextSwitchTo(scope->caller);
}

/* Runs a query in the current scope; returns the number of rows. */
uint64
mm_catalog_query(const char *sql, const MmArgs *args)
{
	int			rc;

	if (args == NULL || args->n == 0)
		rc = SPI_execute(sql, false, 0);
	else
		rc = SPI_execute_with_args(sql, args->n, (Oid *) args->types,
								   (Datum *) args->values, args->nulls,
								   false, 0);
	if (rc < 0)
		elog(ERROR, "SPI_execute failed: %s", SPI_result_code_string(rc));
	return SPI_processed;
}

uint64
mm_catalog_query_latest(const char *sql, const MmArgs *args)
{
	SPIPlanPtr	plan = SPI_prepare(sql, args->n, (Oid *) args->types);
	Snapshot	snapshot;
	int			rc;

	if (plan == NULL)
		elog(ERROR, "SPI_prepare failed: %s",
			 SPI_result_code_string(SPI_result));
	CommandCounterIncrement();	/* our own rows, too */
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	rc = SPI_execute_snapshot(plan, (Datum *) args->values, args->nulls,
							  snapshot, InvalidSnapshot, true, false, 0);
	UnregisterSnapshot(snapshot);
	if (rc < 0)
		elog(ERROR, "SPI_execute_snapshot failed: %s",
			 SPI_result_code_string(rc));
	return SPI_processed;
}

/* Runs one statement in a scope of its own; returns the number of rows. */
uint64
mm_catalog_execute(const char *sql, const MmArgs *args)
{
	MmCatalogScope scope;
	uint64		rows;

	mm_catalog_begin(&scope);
	rows = mm_catalog_query(sql, args);
	mm_catalog_end(&scope);
	return rows;
}

static Datum
row_datum(uint64 row, int column, bool *isnull)
{
	if (SPI_tuptable == NULL || row >= SPI_tuptable->numvals)
		elog(ERROR, "row %llu is out of range", (unsigned long long) row);
	return SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc,
						 column, isnull);
}

int64
mm_row_int8(uint64 row, int column)
{
	bool		isnull;
	Datum		value = row_datum(row, column, &isnull);

	return isnull ? 0 : DatumGetInt64(value);
}

int32
mm_row_int4(uint64 row, int column)
{
	bool		isnull;
	Datum		value = row_datum(row, column, &isnull);

	return isnull ? 0 : DatumGetInt32(value);
}

bool
mm_row_bool(uint64 row, int column)
{
	bool		isnull;
	Datum		value = row_datum(row, column, &isnull);

	return isnull ? false : DatumGetBool(value);
}

Oid
mm_row_oid(uint64 row, int column)
{
	bool		isnull;
	Datum		value = row_datum(row, column, &isnull);

	return isnull ? InvalidOid : DatumGetObjectId(value);
}

/* Any type in its text form; NULL for null. */
char *
mm_row_text(MmCatalogScope *scope, uint64 row, int column)
{
	char	   *value = SPI_getvalue(SPI_tuptable->vals[row],
									 SPI_tuptable->tupdesc, column);

	return value ? MemoryContextStrdup(scope->caller, value) : NULL;
}

static void *
row_varlena(MmCatalogScope *scope, uint64 row, int column)
{
	bool		isnull;
	Datum		value = row_datum(row, column, &isnull);
	MemoryContext old;
	void	   *copy;

	if (isnull)
		return NULL;
	old = MemoryContextSwitchTo(scope->caller);
	copy = PG_DETOAST_DATUM_COPY(value);
	MemoryContextSwitchTo(old);
	return copy;
}

bytea *
mm_row_bytea(MmCatalogScope *scope, uint64 row, int column)
{
	return row_varlena(scope, row, column);
}

Jsonb *
mm_row_jsonb(MmCatalogScope *scope, uint64 row, int column)
{
	return row_varlena(scope, row, column);
}

Datum
mm_catalog_return(FunctionCallInfo fcinfo, const char *sql,
				  const MmArgs *args)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	MmCatalogScope scope;
	uint64		rows;

	InitMaterializedSRF(fcinfo, 0);
	mm_catalog_begin(&scope);
	rows = mm_catalog_query(sql, args);
	for (uint64 i = 0; i < rows; i++)
		tuplestore_puttuple(rsinfo->setResult, SPI_tuptable->vals[i]);
	mm_catalog_end(&scope);
	return (Datum) 0;
}

void
mm_sql_run(const char *sql)
{
	int			rc;

	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	rc = SPI_execute(sql, false, 0);
	if (rc < 0)
		elog(ERROR, "SPI_execute failed: %s", SPI_result_code_string(rc));
	SPI_finish();
}
