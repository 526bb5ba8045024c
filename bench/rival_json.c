/*-------------------------------------------------------------------------
 *
 * rival_json.c
 *	  BSON values as JSON text, for rival.c.
 *
 * What the benchmark's collections have: in the extension's "simple" form, so
 * that the rows are the same.
 *
 *-------------------------------------------------------------------------
 */
#include <bson/bson.h>

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "rival_row.h"

static void
append(Buffer *out, const char *text, size_t len)
{
	memcpy(buffer_room(out, len), text, len);
	out->len += len;
}

/* What stands in a JSON string as it is. */
static inline bool
is_plain(unsigned char c)
{
	return c >= 0x20 && c != '"' && c != '\\';
}

static void
append_string(Buffer *out, const char *text, size_t len)
{
	size_t		done = 0;

	append(out, "\"", 1);
	while (done < len)
	{
		size_t		n = 0;
		char		escape[8];

		while (done + n < len && is_plain((unsigned char) text[done + n]))
			n++;
		append(out, text + done, n);
		done += n;
		if (done == len)
			break;
		snprintf(escape, sizeof(escape), "\\u%04x",
				 (unsigned char) text[done++]);
		append(out, escape, 6);
	}
	append(out, "\"", 1);
}

void
append_hex(Buffer *out, const uint8_t *bytes, int n)
{
	static const char digits[] = "0123456789abcdef";
	char	   *p = buffer_room(out, (size_t) n * 2);

	for (int i = 0; i < n; i++)
	{
		*p++ = digits[bytes[i] >> 4];
		*p++ = digits[bytes[i] & 15];
	}
	out->len += (size_t) n * 2;
}

void
append_uuid_text(Buffer *out, const uint8_t *bytes)
{
	static const int parts[] = {4, 2, 2, 2, 6};

	for (int i = 0; i < 5; bytes += parts[i++])
	{
		if (i > 0)
			append(out, "-", 1);
		append_hex(out, bytes, parts[i]);
	}
}

static void
append_double(Buffer *out, double v)
{
	char		text[40];
	int			len = 0;

	for (int digits = 15; digits <= 17; digits++)
	{
		len = snprintf(text, sizeof(text), "%.*g", digits, v);
		if (strtod(text, NULL) == v)
			break;
	}
	if (!isfinite(v))
	{
		append_string(out, isnan(v) ? "NaN" : v > 0 ? "Infinity" : "-Infinity",
					  isnan(v) ? 3 : v > 0 ? 8 : 9);
		return;
	}
	append(out, text, (size_t) len);
	if (strpbrk(text, ".e") == NULL)
		append(out, ".0", 2);
}

static void
append_date(Buffer *out, int64_t ms)
{
	time_t		seconds = (time_t) (ms >= 0 ? ms / 1000 : (ms - 999) / 1000);
	struct tm	tm;
	char		text[80];
	int			len;

	gmtime_r(&seconds, &tm);
	len = snprintf(text, sizeof(text),
				   "\"%04d-%02d-%02dT%02d:%02d:%02d.%03dZ\"",
				   tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour,
				   tm.tm_min, tm.tm_sec,
				   (int) (ms - (int64_t) seconds * 1000));
	append(out, text, (size_t) len);
}

static void
append_container(Buffer *out, const uint8_t *doc, bool array)
{
	const uint8_t *p = doc + 4;

	append(out, array ? "[" : "{", 1);
	while (*p != 0)
	{
		uint8_t		type = *p++;
		size_t		key_len = strlen((const char *) p);

		if (p != doc + 5)
			append(out, ",", 1);
		if (!array)
		{
			append_string(out, (const char *) p, key_len);
			append(out, ":", 1);
		}
		p += key_len + 1;
		json_append(out, type, p);
		p += value_size(type, p);
	}
	append(out, array ? "]" : "}", 1);
}

static void
append_int(Buffer *out, int64_t v)
{
	char		text[24];

	append(out, text, (size_t) snprintf(text, sizeof(text), "%" PRId64, v));
}

void
json_append(Buffer *out, uint8_t type, const uint8_t *value)
{
	uint32_t	len;
	int32_t		int32;
	int64_t		int64;
	double		real;
	char		text[BSON_DECIMAL128_STRING];
	bson_decimal128_t decimal;

	memcpy(&len, value, type == BSON_TYPE_BOOL ? 1 : 4);
	switch (type)
	{
		case BSON_TYPE_DOUBLE:
			memcpy(&real, value, 8);
			append_double(out, real);
			break;
		case BSON_TYPE_UTF8:
		case BSON_TYPE_SYMBOL:
		case BSON_TYPE_CODE:
			append_string(out, (const char *) value + 4, len - 1);
			break;
		case BSON_TYPE_DOCUMENT:
		case BSON_TYPE_ARRAY:
			append_container(out, value, type == BSON_TYPE_ARRAY);
			break;
		case BSON_TYPE_OID:
			append(out, "\"", 1);
			append_hex(out, value, 12);
			append(out, "\"", 1);
			break;
		case BSON_TYPE_BINARY:
			append(out, "\"", 1);
			if (value[4] == BSON_SUBTYPE_UUID && len == 16)
				append_uuid_text(out, value + 5);
			else
				append_hex(out, value + 5, (int) len);
			append(out, "\"", 1);
			break;
		case BSON_TYPE_BOOL:
			append(out, *value ? "true" : "false", *value ? 4 : 5);
			break;
		case BSON_TYPE_DATE_TIME:
			memcpy(&int64, value, 8);
			append_date(out, int64);
			break;
		case BSON_TYPE_INT32:
			memcpy(&int32, value, 4);
			append_int(out, int32);
			break;
		case BSON_TYPE_INT64:
			memcpy(&int64, value, 8);
			append_int(out, int64);
			break;
		case BSON_TYPE_DECIMAL128:
			memcpy(&decimal, value, 16);
			bson_decimal128_to_string(&decimal, text);
			append(out, text, strlen(text));
			break;
		default:
			append(out, "null", 4);
			break;
	}
}
