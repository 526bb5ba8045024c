/*-------------------------------------------------------------------------
 *
 * source.c
 *	  What does not depend on the kind of source.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "source/source.h"

static const char *const split_method_names[] = {
	[MM_SPLIT_AUTO] = "auto",
	[MM_SPLIT_RECORD] = "record",
	[MM_SPLIT_ID] = "id",
	[MM_SPLIT_NONE] = "none",
};

const char *
mm_split_method_name(MmSplitMethod method)
{
	if ((unsigned) method >= lengthof(split_method_names))
		return NULL;
	return split_method_names[method];
}

bool
mm_split_method_parse(const char *name, MmSplitMethod *method)
{
	for (int i = 0; i < lengthof(split_method_names); i++)
	{
		if (strcmp(split_method_names[i], name) == 0)
		{
			*method = i;
			return true;
		}
	}
	return false;
}

bool
mm_source_is_uri(const char *source)
{
	return strpbrk(source, ":/") != NULL;
}

char *
mm_source_tell(const MmSourceError *error)
{
	StringInfoData text;

	if (error->log_detail[0])
		ereport(LOG,
				(errmsg_internal("%s", error->message),
				 errdetail_log("%s", error->log_detail)));
	initStringInfo(&text);
	appendStringInfoString(&text, error->message);
	if (error->detail[0])
		appendStringInfo(&text, ": %s", error->detail);
	if (error->hint[0])
		appendStringInfo(&text, "%s %s",
						 text.data[text.len - 1] == '.' ? "" : ".",
						 error->hint);
	return text.data;
}

void
mm_source_raise(const MmSourceError *error)
{
	ereport(ERROR,
			(errcode(error->sqlstate),
			 errmsg_internal("%s", error->message),
			 error->detail[0] ? errdetail_internal("%s", error->detail) : 0,
			 error->log_detail[0] ? errdetail_log("%s",
												  error->log_detail) : 0,
			 error->hint[0] ? errhint("%s", error->hint) : 0));
}
