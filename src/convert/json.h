/*-------------------------------------------------------------------------
 *
 * json.h
 *	  BSON values as text: Extended JSON, and the plain text of scalars.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MM_JSON_H
#define MM_JSON_H

#include "postgres.h"

#include "lib/stringinfo.h"

#include "convert/extended.h"

extern bool mm_json_append(StringInfo out, const MmValue *value,
						   MmJsonForm form, MmInvalidText invalid_text,
						   bool spell_nul, MmOutcome *outcome);
extern bool mm_json_append_text(StringInfo out, const MmValue *value,
								MmUuidForm uuid, MmInvalidText invalid_text,
								MmOutcome *outcome);
extern char *mm_json_excerpt(const MmValue *value);

#endif							/* MM_JSON_H */
