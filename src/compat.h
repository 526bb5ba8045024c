/*-------------------------------------------------------------------------
 *
 * compat.h
 *	  Every test of PG_VERSION_NUM and MONGOC_CHECK_VERSION of the project.
 *
 * PostgreSQL 15 is the base; later majors are brought to its signatures by
 * static inline functions named <core function>_compat().  No copies of
 * private core structs.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MM_COMPAT_H
#define MM_COMPAT_H

#include "postgres.h"

#include "access/genam.h"
#include "catalog/pg_class.h"
#include "catalog/pg_database.h"
#include "catalog/pg_foreign_data_wrapper.h"
#include "catalog/pg_foreign_server.h"
#include "catalog/pg_namespace.h"
#include "common/base64.h"
#include "executor/executor.h"
#include "fmgr.h"
#include "miscadmin.h"
#if PG_VERSION_NUM >= 160000
#include "nodes/miscnodes.h"
#endif
#include "parser/parse_type.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/guc.h"
#include "utils/rel.h"
#if PG_VERSION_NUM >= 170000
#include "utils/guc_tables.h"
#endif
#include "utils/wait_event.h"
#if PG_VERSION_NUM >= 160000
#include "varatt.h"				/* before, part of postgres.h */
#endif

#if PG_VERSION_NUM < 150000 || PG_VERSION_NUM >= 190000
#error "mongo_migrate supports PostgreSQL 15 to 18"
#endif

/* A BulkInsertState adds pages to a table in bulk. */
#if PG_VERSION_NUM >= 160000
#define MM_SERVER_ADDS_PAGES
#endif

/* We compile with -fvisibility=hidden; 15 leaves this macro empty. */
#if PG_VERSION_NUM < 160000
#undef PGDLLEXPORT
#define PGDLLEXPORT __attribute__((visibility("default")))
#endif

/* Behind a declaration; 18 has a word of its own in front instead. */
#if PG_VERSION_NUM >= 180000
#define pg_attribute_noreturn() __attribute__((noreturn))
#endif

/* Declares an SQL function; before 16 core's macro does not export it. */
#define MM_FUNCTION(name) \
	extern PGDLLEXPORT Datum name(PG_FUNCTION_ARGS); \
	PG_FUNCTION_INFO_V1(name)

#define MM_VERSION "1.0"

/* Since 18, a macro of its own names module and version. */
#if PG_VERSION_NUM >= 180000
#define MM_MODULE_MAGIC(module) \
	PG_MODULE_MAGIC_EXT(.name = module, .version = MM_VERSION)
#else
#define MM_MODULE_MAGIC(module) PG_MODULE_MAGIC
#endif

/*
 * Restricts search_path to pg_catalog and pg_temp until the GUC nest level
 * ends, as RestrictSearchPath() of 17 does.
 */
static inline void
RestrictSearchPath_compat(void)
{
	(void) set_config_option("search_path", "pg_catalog, pg_temp",
							 PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE,
							 true, 0, false);
}

/* Rights on a schema; one function for all objects since 16. */
static inline AclResult
pg_namespace_aclcheck_compat(Oid schema, Oid role, AclMode mode)
{
#if PG_VERSION_NUM >= 160000
	return object_aclcheck(NamespaceRelationId, schema, role, mode);
#else
	return pg_namespace_aclcheck(schema, role, mode);
#endif
}

/* CONNECT and others on a database; one function for all since 16. */
static inline AclResult
database_aclcheck_compat(Oid database, Oid role, AclMode mode)
{
#if PG_VERSION_NUM >= 160000
	return object_aclcheck(DatabaseRelationId, database, role, mode);
#else
	return pg_database_aclcheck(database, role, mode);
#endif
}

/* Takes bytes as uint8 since 18. */
static inline int
pg_b64_encode_compat(const uint8 *src, int len, char *dst, int dstlen)
{
#if PG_VERSION_NUM >= 180000
	return pg_b64_encode(src, len, dst, dstlen);
#else
	return pg_b64_encode((const char *) src, len, dst, dstlen);
#endif
}

/* Inserts the index entries of a new row, raising unique violations. */
static inline List *
ExecInsertIndexTuples_compat(ResultRelInfo *target, TupleTableSlot *slot,
							 EState *estate)
{
	return ExecInsertIndexTuples(target, slot, estate, false, false, NULL,
								 NIL
#if PG_VERSION_NUM >= 160000
								 ,false
#endif
		);
}

/* The timeout exists since 17. */
static inline void
set_transaction_timeout_compat(void (*set) (const char *name,
											const char *value))
{
#if PG_VERSION_NUM >= 170000
	set("transaction_timeout", "0");
#else
	(void) set;
#endif
}

/* Since 17 a worker can run as a role that may not log in. */
#if PG_VERSION_NUM >= 170000
#define BGWORKER_FLAGS_COMPAT BGWORKER_BYPASS_ROLELOGINCHECK
#define MM_WORKER_NEEDS_LOGIN false
#else
#define BGWORKER_FLAGS_COMPAT 0
#define MM_WORKER_NEEDS_LOGIN true
#endif

/* Frees what an index keeps between insertions, since 17. */
static inline void
index_insert_cleanup_compat(Relation index, IndexInfo *info)
{
#if PG_VERSION_NUM >= 170000
	index_insert_cleanup(index, info);
	/* BRIN leaves it, up to 17.4. */
	if (index->rd_indam->aminsertcleanup)
		info->ii_AmCache = NULL;
#else
	(void) index;
	(void) info;
#endif
}

/* Owner of a table or a schema; one function for all objects since 16. */
static inline bool
object_ownercheck_compat(Oid class, Oid object, Oid role)
{
#if PG_VERSION_NUM >= 160000
	return object_ownercheck(class, object, role);
#else
	return class == NamespaceRelationId ?
		pg_namespace_ownercheck(object, role) :
		pg_class_ownercheck(object, role);
#endif
}

/* USAGE on a foreign server or a wrapper; one function for both since 16. */
static inline AclResult
foreign_server_aclcheck_compat(Oid server, Oid role)
{
#if PG_VERSION_NUM >= 160000
	return object_aclcheck(ForeignServerRelationId, server, role, ACL_USAGE);
#else
	return pg_foreign_server_aclcheck(server, role, ACL_USAGE);
#endif
}

static inline AclResult
foreign_data_wrapper_aclcheck_compat(Oid wrapper, Oid role)
{
#if PG_VERSION_NUM >= 160000
	return object_aclcheck(ForeignDataWrapperRelationId, wrapper, role,
						   ACL_USAGE);
#else
	return pg_foreign_data_wrapper_aclcheck(wrapper, role, ACL_USAGE);
#endif
}

/* Wait events with names of our own exist since 17.  May raise. */
static inline uint32
WaitEventExtensionNew_compat(const char *name)
{
#if PG_VERSION_NUM >= 170000
	return WaitEventExtensionNew(name);
#else
	return PG_WAIT_EXTENSION;
#endif
}

/* Would CHECK_FOR_INTERRUPTS() end this command or this process? */
static inline bool
cancel_pending_compat(void)
{
	return InterruptPending &&
		(QueryCancelPending || ProcDiePending || ClientConnectionLost
#if PG_VERSION_NUM >= 170000
		 || TransactionTimeoutPending
#endif
		);
}

/*
 * Soft errors exist since 16, in functions that know them; all else is raised.
 * False: the value is refused.
 */
static inline bool
InputFunctionCallSafe_compat(FmgrInfo *function, char *text, Oid ioparam,
							 int32 typmod, Datum *result)
{
#if PG_VERSION_NUM >= 160000
	ErrorSaveContext context = {T_ErrorSaveContext};

	return InputFunctionCallSafe(function, text, ioparam, typmod,
								 (Node *) &context, result);
#else
	*result = InputFunctionCall(function, text, ioparam, typmod);
	return true;
#endif
}

static inline bool
domain_check_safe_compat(Datum value, bool isnull, Oid domain, void **extra,
						 MemoryContext context)
{
#if PG_VERSION_NUM >= 170000
	ErrorSaveContext error = {T_ErrorSaveContext};

	return domain_check_safe(value, isnull, domain, extra, context,
							 (Node *) &error);
#else
	domain_check(value, isnull, domain, extra, context);
	return true;
#endif
}

/* Returns an error code, never raises; has one more argument since 16. */
static inline int
DecodeDateTime_compat(char **fields, int *types, int n, int *type,
					  struct pg_tm *tm, fsec_t *fsec, int *zone)
{
#if PG_VERSION_NUM >= 160000
	DateTimeErrorExtra extra;

	return DecodeDateTime(fields, types, n, type, tm, fsec, zone, &extra);
#else
	return DecodeDateTime(fields, types, n, type, tm, fsec, zone);
#endif
}

/*
 * Has a parameter a value that somebody gave it, perhaps before anybody knew
 * it?  One without a value is an empty string since 17.
 */
static inline bool
parameter_is_set_compat(const char *name)
{
#if PG_VERSION_NUM >= 170000
	struct config_generic *parameter = find_option(name, false, true, 0);

	return parameter && parameter->source != PGC_S_DEFAULT;
#else
	return GetConfigOption(name, true, false) != NULL;
#endif
}

/* Takes an error context since 16. */
static inline void
parseTypeString_compat(const char *text, Oid *typid, int32 *typmod)
{
#if PG_VERSION_NUM >= 160000
	(void) parseTypeString(text, typid, typmod, NULL);
#else
	parseTypeString(text, typid, typmod, false);
#endif
}

#endif							/* MM_COMPAT_H */
