/*-------------------------------------------------------------------------
 *
 * words.c
 *	  The words of contracts and options, and the values they stand for.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "convert/convert.h"

static const char *const on_error_names[] = {
	[MM_ON_ERROR_EXTRA] = "extra",
	[MM_ON_ERROR_REJECT] = "reject",
	[MM_ON_ERROR_SET_NULL] = "set_null",
	[MM_ON_ERROR_SET_DEFAULT] = "set_default",
	[MM_ON_ERROR_STOP] = "stop"
};

static const char *const extra_names[] = {
	[MM_EXTRA_COLUMN] = "column",
	[MM_EXTRA_IGNORE] = "ignore",
	[MM_EXTRA_REJECT] = "reject",
	[MM_EXTRA_ADD_COLUMN] = "add_column"
};

static const char *const invalid_text_names[] = {
	[MM_INVALID_TEXT_REJECT] = "reject",
	[MM_INVALID_TEXT_STRIP] = "strip",
	[MM_INVALID_TEXT_REPLACE] = "replace"
};

static const char *const naming_names[] = {
	[MM_NAMING_SNAKE_CASE] = "snake_case",
	[MM_NAMING_LOWER] = "lower",
	[MM_NAMING_PRESERVE] = "preserve"
};

static const char *const json_form_names[] = {
	[MM_JSON_SIMPLE] = "simple",
	[MM_JSON_RELAXED] = "relaxed",
	[MM_JSON_CANONICAL] = "canonical"
};

static const char *const uuid_form_names[] = {
	[MM_UUID_NONE] = "none",
	[MM_UUID_STANDARD] = "standard",
	[MM_UUID_JAVA] = "java_legacy",
	[MM_UUID_CSHARP] = "csharp_legacy",
	[MM_UUID_PYTHON] = "python_legacy"
};

/* False when the name is none of these. */
#define DEFINE_WORDS(function, type, names) \
	bool \
	function##_parse(const char *name, type *result) \
	{ \
		for (int i = 0; i < lengthof(names); i++) \
		{ \
			if (strcmp(names[i], name) != 0) \
				continue; \
			*result = (type) i; \
			return true; \
		} \
		return false; \
	} \
	const char * \
	function##_name(type value) \
	{ \
		return names[value]; \
	}

DEFINE_WORDS(mm_on_error, MmOnError, on_error_names)
DEFINE_WORDS(mm_extra, MmExtraPolicy, extra_names)
DEFINE_WORDS(mm_invalid_text, MmInvalidText, invalid_text_names)
DEFINE_WORDS(mm_naming, MmNaming, naming_names)
DEFINE_WORDS(mm_json_form, MmJsonForm, json_form_names)
DEFINE_WORDS(mm_uuid_form, MmUuidForm, uuid_form_names)
