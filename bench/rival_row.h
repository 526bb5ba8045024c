/*-------------------------------------------------------------------------
 *
 * rival_row.h
 *	  BSON to rows of COPY BINARY, for rival.c.
 *
 *-------------------------------------------------------------------------
 */
#ifndef RIVAL_ROW_H
#define RIVAL_ROW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes that grow. */
typedef struct Buffer
{
	char	   *data;
	size_t		len;
	size_t		size;
} Buffer;

extern void buffer_grow(Buffer *buffer, size_t more);

static inline char *
buffer_room(Buffer *buffer, size_t more)
{
	if (buffer->size - buffer->len < more)
		buffer_grow(buffer, more);
	return buffer->data + buffer->len;
}

typedef struct Row Row;

/*
 * Columns from a file with a line for each: path of the field (empty: always
 * NULL), TAB, type as pg_type names it.  Ends the program if it cannot.
 */
extern Row *row_read_columns(const char *path);
/* Appends a row to the buffer. */
extern void row_append(Row *row, const uint8_t *doc, Buffer *out);

/* rival_json.c: a value as JSON text, as the extension's "simple" form. */
extern void json_append(Buffer *out, uint8_t type, const uint8_t *value);

/* Bytes of a value; ends the program with a type that is not known. */
extern uint32_t value_size(uint8_t type, const uint8_t *value);
extern void append_hex(Buffer *out, const uint8_t *bytes, int n);
extern void append_uuid_text(Buffer *out, const uint8_t *bytes);

#endif							/* RIVAL_ROW_H */
