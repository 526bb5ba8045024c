/*-------------------------------------------------------------------------
 *
 * ddl.c
 *	  The statements that make a target table.
 *
 * The table has built-in types only, and what the contract names.  Lineage
 * stays behind as column comments, also when the extension is gone.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/builtins.h"

#include "api/api.h"

static void
append_column(StringInfo sql, const MmField *field)
{
	appendStringInfo(sql, "%s %s", quote_identifier(field->column),
					 field->type);
	if (field->default_text != NULL)
		appendStringInfo(sql, " DEFAULT %s",
						 quote_literal_cstr(field->default_text));
	if (field->not_null)
		appendStringInfoString(sql, " NOT NULL");
}

static char *
create_table(const MmTarget *target, const MmCall *call)
{
	const MmContract *contract = call->contract;
	const char *separator = "";
	StringInfoData sql;
	ListCell   *lc;

	initStringInfo(&sql);
	appendStringInfo(&sql, "CREATE TABLE %s (", target->name);
	foreach(lc, contract->fields)
	{
		const MmField *field = lfirst(lc);

		if (field->column == NULL)
			continue;
		appendStringInfoString(&sql, separator);
		append_column(&sql, field);
		separator = ", ";
	}
	if (contract->extra_column != NULL)
		appendStringInfo(&sql, "%s%s jsonb", separator,
						 quote_identifier(contract->extra_column));
	appendStringInfoChar(&sql, ')');
	if (call->options.tablespace != NULL)
		appendStringInfo(&sql, " TABLESPACE %s",
						 quote_identifier(call->options.tablespace));
	return sql.data;
}

/* "MongoDB: shop.orders createdAt (date)" */
static char *
comment_column(const MmTarget *target, const MmContract *contract,
			   const MmField *field)
{
	char	   *text = psprintf("MongoDB: %s %s%s(%s)", contract->namespace,
								field->path ? field->path : "",
								field->path ? " " : "",
								field->bson_types ? field->bson_types :
								"any");

	return psprintf("COMMENT ON COLUMN %s.%s IS %s", target->name,
					quote_identifier(field->column),
					quote_literal_cstr(text));
}

List *
mm_ddl_table(const MmTarget *target, const MmCall *call)
{
	List	   *statements = list_make1(create_table(target, call));
	ListCell   *lc;

	foreach(lc, call->contract->fields)
	{
		const MmField *field = lfirst(lc);

		if (field->column != NULL)
			statements = lappend(statements,
								 comment_column(target, call->contract,
												field));
	}
	return statements;
}
