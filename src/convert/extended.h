/*-------------------------------------------------------------------------
 *
 * extended.h
 *	  BSON values in the forms of Extended JSON, for any writer.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MM_EXTENDED_H
#define MM_EXTENDED_H

#include "postgres.h"

#include <math.h>

#include "convert/convert.h"
#include "convert/text.h"
#include "convert/walk.h"

/*
 * What a writer does with each piece; it embeds the struct as its first
 * member.  key and string take bytes as BSON has them: false means that they
 * are no text and that the writer does not repair them; then fault is set.
 * document, if there is one, takes documents and arrays whole.
 */
typedef struct MmWriter MmWriter;

typedef struct MmWriterOps
{
	void		(*begin) (MmWriter *writer, bool array);
	void		(*end) (MmWriter *writer, bool array);
	bool		(*key) (MmWriter *writer, const char *s, uint32 len);
	bool		(*string) (MmWriter *writer, const char *s, uint32 len);
	void		(*integer) (MmWriter *writer, int64 v);
	void		(*real) (MmWriter *writer, double v);	/* finite, not -0 */
	void		(*decimal) (MmWriter *writer, const char *digits);	/* same */
	void		(*boolean) (MmWriter *writer, bool v);
	void		(*null) (MmWriter *writer);
	bool		(*document) (MmWriter *writer, const MmValue *value);
} MmWriterOps;

struct MmWriter
{
	const MmWriterOps *ops;
	MmJsonForm	form;
	MmInvalidText invalid_text;
	MmTextFailure failure;		/* once something returned false */
	bool		altered;		/* invalid_text changed a text */
};

/* Is a double a plain number in this form, without a wrapper? */
static inline bool
mm_extended_is_number(double v, MmJsonForm form)
{
	return form != MM_JSON_CANONICAL && isfinite(v) &&
		!(v == 0 && signbit(v));
}

extern bool mm_extended_write(MmWriter *writer, const MmValue *value);
extern bool mm_extended_fail_below(MmTextFailure *failure, const char *key,
								   uint32 len);

#endif							/* MM_EXTENDED_H */
