/*-------------------------------------------------------------------------
 *
 * rival_row.c
 *	  BSON to rows of COPY BINARY, for rival.c.
 *
 * A document is walked once: a tree of the names that have columns finds the
 * values, trying first the name that came next last time; then the columns
 * are written in their order.  Bounds are not checked and text is not looked
 * at: MongoDB has checked the one, PostgreSQL will check the other.  A value
 * whose type does not suit its column becomes NULL: what the extension keeps
 * in _extra is lost here, and the benchmark shows it.
 *
 *-------------------------------------------------------------------------
 */
#include <bson/bson.h>

#include <arpa/inet.h>
#include <endian.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rival_row.h"

/* Between 1970 and 2000, in microseconds. */
#define EPOCH_DIFFERENCE INT64_C(946684800000000)

/* Object ids of array elements, as COPY BINARY names them. */
#define BOOL_OID 16
#define INT8_OID 20
#define TEXT_OID 25
#define FLOAT8_OID 701
#define TIMESTAMPTZ_OID 1184

typedef enum ColumnType
{
	COLUMN_TEXT,
	COLUMN_INT8,
	COLUMN_FLOAT8,
	COLUMN_BOOL,
	COLUMN_TIMESTAMPTZ,
	COLUMN_UUID,
	COLUMN_JSONB,
	COLUMN_ARRAY,
	COLUMN_NONE					/* no type that we know: always NULL */
} ColumnType;

static const struct
{
	const char *name;
	ColumnType	type;
	uint32_t	oid;
} types[] = {
	{"text", COLUMN_TEXT, TEXT_OID}, {"int8", COLUMN_INT8, INT8_OID},
	{"float8", COLUMN_FLOAT8, FLOAT8_OID}, {"bool", COLUMN_BOOL, BOOL_OID},
	{"timestamptz", COLUMN_TIMESTAMPTZ, TIMESTAMPTZ_OID},
	{"uuid", COLUMN_UUID, 0}, {"jsonb", COLUMN_JSONB, 0},
};

typedef struct Column
{
	ColumnType	type;
	ColumnType	element;		/* of an array */
	uint32_t	element_oid;
	uint8_t		found;			/* BSON type in this document; 0: absent */
	const uint8_t *value;
} Column;

typedef struct Node Node;

typedef struct Entry
{
	char	   *key;
	size_t		key_size;		/* with its NUL */
	Column	   *column;			/* or */
	Node	   *node;
} Entry;

struct Node
{
	int			n;
	Entry	   *entries;
	int			next;			/* the entry to try first */
};

struct Row
{
	int			n;
	Column	   *columns;
	Node		root;
};

void
buffer_grow(Buffer *buffer, size_t more)
{
	while (buffer->size - buffer->len < more)
		buffer->size = buffer->size > 0 ? buffer->size * 2 : 64 * 1024;
	buffer->data = realloc(buffer->data, buffer->size);
	if (buffer->data == NULL)
		abort();
}

/* ---------------------------------------------------------------------
 * Columns
 * ---------------------------------------------------------------------
 */

static ColumnType
find_type(const char *name, uint32_t *oid)
{
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		if (strcmp(types[i].name, name) == 0)
		{
			*oid = types[i].oid;
			return types[i].type;
		}
	return COLUMN_NONE;
}

static Entry *
find_entry(Node *node, const char *key, size_t len)
{
	for (int i = 0; i < node->n; i++)
		if (node->entries[i].key_size == len + 1 &&
			memcmp(node->entries[i].key, key, len) == 0)
			return &node->entries[i];
	node->entries = realloc(node->entries,
							sizeof(Entry) * ((size_t) node->n + 1));
	node->entries[node->n] = (Entry) {
		.key = strndup(key, len), .key_size = len + 1
	};
	return &node->entries[node->n++];
}

/* Names without dots only: no collection of the benchmark has others. */
static void
add_path(Node *node, const char *path, Column *column)
{
	for (;;)
	{
		size_t		len = strcspn(path, ".");
		Entry	   *entry = find_entry(node, path, len);

		if (path[len] == '\0')
		{
			entry->column = column;
			return;
		}
		if (entry->node == NULL)
			entry->node = calloc(1, sizeof(Node));
		node = entry->node;
		path += len + 1;
	}
}

Row *
row_read_columns(const char *path)
{
	FILE	   *file = fopen(path, "r");
	Row		   *row = calloc(1, sizeof(Row));
	char		line[1024];
	uint32_t	oid;

	if (file == NULL)
	{
		perror(path);
		exit(1);
	}
	row->columns = calloc(1600, sizeof(Column));
	while (fgets(line, sizeof(line), file) != NULL && row->n < 1600)
	{
		Column	   *column = &row->columns[row->n++];
		char	   *type = strchr(line, '\t');

		line[strcspn(line, "\n")] = '\0';
		*type++ = '\0';
		column->type = find_type(type, &oid);
		if (*type == '_')
		{
			column->type = COLUMN_ARRAY;
			column->element = find_type(type + 1, &column->element_oid);
		}
		if (line[0] != '\0')
			add_path(&row->root, line, column);
	}
	fclose(file);
	return row;
}

/* ---------------------------------------------------------------------
 * Walk
 * ---------------------------------------------------------------------
 */

uint32_t
value_size(uint8_t type, const uint8_t *value)
{
	uint32_t	len;
	size_t		first;

	switch (type)
	{
		case BSON_TYPE_DOUBLE:
		case BSON_TYPE_DATE_TIME:
		case BSON_TYPE_TIMESTAMP:
		case BSON_TYPE_INT64:
			return 8;
		case BSON_TYPE_INT32:
			return 4;
		case BSON_TYPE_BOOL:
			return 1;
		case BSON_TYPE_OID:
			return 12;
		case BSON_TYPE_DECIMAL128:
			return 16;
		case BSON_TYPE_NULL:
		case BSON_TYPE_UNDEFINED:
		case BSON_TYPE_MINKEY:
		case BSON_TYPE_MAXKEY:
			return 0;
		case BSON_TYPE_REGEX:
			first = strlen((const char *) value) + 1;
			return (uint32_t) (first +
							   strlen((const char *) value + first) + 1);
		case BSON_TYPE_UTF8:
		case BSON_TYPE_CODE:
		case BSON_TYPE_SYMBOL:
			memcpy(&len, value, 4);
			return len + 4;
		case BSON_TYPE_BINARY:
			memcpy(&len, value, 4);
			return len + 5;
		case BSON_TYPE_DBPOINTER:
			memcpy(&len, value, 4);
			return len + 16;
		case BSON_TYPE_DOCUMENT:
		case BSON_TYPE_ARRAY:
		case BSON_TYPE_CODEWSCOPE:
			memcpy(&len, value, 4);
			return len;
		default:
			fprintf(stderr, "rival: BSON type %d\n", type);
			exit(1);
	}
}

static void
read_document(Node *node, const uint8_t *doc)
{
	const uint8_t *p = doc + 4;

	while (*p != 0)
	{
		uint8_t		type = *p++;
		const char *key = (const char *) p;
		size_t		key_size = strlen(key) + 1;
		int			i = node->next;
		int			tried;

		p += key_size;
		for (tried = 0; tried < node->n; tried++)
		{
			Entry	   *entry;

			if (i >= node->n)
				i = 0;
			entry = &node->entries[i++];
			if (entry->key_size == key_size &&
				memcmp(entry->key, key, key_size) == 0)
				break;
		}
		if (tried < node->n)
		{
			Entry	   *entry = &node->entries[i - 1];

			node->next = i;
			if (entry->node != NULL && type == BSON_TYPE_DOCUMENT)
				read_document(entry->node, p);
			else if (entry->column != NULL)
			{
				entry->column->found = type;
				entry->column->value = p;
			}
		}
		p += value_size(type, p);
	}
}

/* ---------------------------------------------------------------------
 * Fields of COPY BINARY: length, -1 for NULL, and bytes
 * ---------------------------------------------------------------------
 */

static void
put_16(Buffer *out, uint16_t v)
{
	v = htons(v);
	memcpy(buffer_room(out, 2), &v, 2);
	out->len += 2;
}

static void
put_32(Buffer *out, uint32_t v)
{
	v = htonl(v);
	memcpy(buffer_room(out, 4), &v, 4);
	out->len += 4;
}

static void
put_64(Buffer *out, uint64_t v)
{
	put_32(out, 8);
	v = htobe64(v);
	memcpy(buffer_room(out, 8), &v, 8);
	out->len += 8;
}

static void
put_bytes(Buffer *out, const void *bytes, uint32_t len)
{
	put_32(out, len);
	memcpy(buffer_room(out, len), bytes, len);
	out->len += len;
}

/* The length in front of what was appended since. */
static void
set_length(Buffer *out, size_t start)
{
	uint32_t	len = htonl((uint32_t) (out->len - start - 4));

	memcpy(out->data + start, &len, 4);
}

static bool
put_text(Buffer *out, uint8_t type, const uint8_t *value)
{
	size_t		start = out->len;
	uint32_t	len;

	switch (type)
	{
		case BSON_TYPE_UTF8:
			memcpy(&len, value, 4);
			put_bytes(out, value + 4, len - 1);
			return true;
		case BSON_TYPE_OID:
			put_32(out, 24);
			append_hex(out, value, 12);
			return true;
		case BSON_TYPE_INT32:
		case BSON_TYPE_INT64:
		case BSON_TYPE_BOOL:
			put_32(out, 0);
			json_append(out, type, value);
			set_length(out, start);
			return true;
		default:
			return false;
	}
}

static bool
put_number(Buffer *out, ColumnType column, uint8_t type, const uint8_t *value)
{
	int32_t		int32;
	int64_t		int64;
	double		real;

	if (type == BSON_TYPE_INT32)
	{
		memcpy(&int32, value, 4);
		int64 = int32;
	}
	else if (type == BSON_TYPE_INT64)
		memcpy(&int64, value, 8);
	else if (type == BSON_TYPE_DOUBLE && column == COLUMN_FLOAT8)
	{
		memcpy(&int64, value, 8);
		put_64(out, (uint64_t) int64);
		return true;
	}
	else
		return false;
	if (column == COLUMN_FLOAT8)
	{
		real = (double) int64;
		memcpy(&int64, &real, 8);
	}
	put_64(out, (uint64_t) int64);
	return true;
}

static bool put_array(Buffer *out, const Column *column, const uint8_t *value);

static bool
put_value(Buffer *out, const Column *column, ColumnType as, uint8_t type,
		  const uint8_t *value)
{
	size_t		start = out->len;
	int64_t		ms;

	switch (as)
	{
		case COLUMN_TEXT:
			return put_text(out, type, value);
		case COLUMN_INT8:
		case COLUMN_FLOAT8:
			return put_number(out, as, type, value);
		case COLUMN_BOOL:
			if (type == BSON_TYPE_BOOL)
				put_bytes(out, value, 1);
			return type == BSON_TYPE_BOOL;
		case COLUMN_TIMESTAMPTZ:
			if (type != BSON_TYPE_DATE_TIME)
				return false;
			memcpy(&ms, value, 8);
			put_64(out, (uint64_t) (ms * 1000 - EPOCH_DIFFERENCE));
			return true;
		case COLUMN_UUID:
			if (type != BSON_TYPE_BINARY || value[4] != BSON_SUBTYPE_UUID)
				return false;
			put_bytes(out, value + 5, 16);
			return true;
		case COLUMN_JSONB:
			put_32(out, 0);
			*buffer_room(out, 1) = 1;	/* version of jsonb's binary form */
			out->len++;
			json_append(out, type, value);
			set_length(out, start);
			return true;
		case COLUMN_ARRAY:
			return type == BSON_TYPE_ARRAY && put_array(out, column, value);
		default:
			return false;
	}
}

static bool
put_array(Buffer *out, const Column *column, const uint8_t *value)
{
	size_t		start = out->len;
	size_t		count_at = start + 16;
	const uint8_t *p = value + 4;
	uint32_t	n = 0;
	uint32_t	has_null = 0;

	put_32(out, 0);
	put_32(out, *p == 0 ? 0 : 1);	/* dimensions */
	put_32(out, 0);				/* is there a null? */
	put_32(out, column->element_oid);
	if (*p != 0)
	{
		put_32(out, 0);			/* elements */
		put_32(out, 1);			/* lower bound */
	}
	while (*p != 0)
	{
		uint8_t		type = *p++;

		p += strlen((const char *) p) + 1;
		if (type == BSON_TYPE_NULL)
		{
			put_32(out, UINT32_MAX);
			has_null = htonl(1);
		}
		else if (!put_value(out, column, column->element, type, p))
		{
			out->len = start;
			return false;
		}
		p += value_size(type, p);
		n++;
	}
	set_length(out, start);
	memcpy(out->data + start + 8, &has_null, 4);
	n = htonl(n);
	if (n != 0)
		memcpy(out->data + count_at, &n, 4);
	return true;
}

void
row_append(Row *row, const uint8_t *doc, Buffer *out)
{
	for (int i = 0; i < row->n; i++)
		row->columns[i].found = 0;
	row->root.next = 0;
	read_document(&row->root, doc);
	put_16(out, (uint16_t) row->n);
	for (int i = 0; i < row->n; i++)
	{
		Column	   *column = &row->columns[i];

		if (column->found == 0 || column->found == BSON_TYPE_NULL ||
			!put_value(out, column, column->type, column->found,
					   column->value))
			put_32(out, UINT32_MAX);
	}
}
