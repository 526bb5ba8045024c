/*-------------------------------------------------------------------------
 *
 * mongo_sound.c
 *	  Is a reply one that the driver can bear?
 *
 * It takes a reply for a valid document, and some of the values in it for
 * what a server of MongoDB sends: others make it read from NULL, abort the
 * process or compute for an hour.  What was found of that by reading it
 * (libmongoc 1.23 to 2.2) is refused here, whichever command the reply is to:
 *
 *	- a document, itself or an embedded one, that libbson's iterators do not
 *	  get through,
 *	- an error code of 0, also of a write concern,
 *	- a write concern error that is no document,
 *	- members of a replica set that are no strings, or no host and port, or
 *	  more than a set can have: it takes time and memory by their square,
 *	- names of compressors that are no strings,
 *	- an answer to speculative authentication that is no document,
 *	- a SCRAM iteration count of more than six digits, which is seconds of
 *	  work.  Servers have 10000 or 15000 when nobody has set it; the driver
 *	  knows a lower limit only.
 *
 * Documents in the batch of a cursor are left out: the driver does not look
 * into them, and who reads them checks for himself.
 *
 * All runs inside the driver: nothing raises or allocates.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "source/mongo.h"
#include "source/mongo_wire.h"

/* Levels of documents; what servers say about themselves has three or so. */
#define MAX_DEPTH	100

#define MAX_ITERATION_DIGITS	6

/* Of a replica set, 50, and of what else is an array of strings. */
#define MAX_STRINGS	200

static bool
is_batch(const bson_iter_t *iter, int depth)
{
	return depth == 2 && BSON_ITER_HOLDS_ARRAY(iter) &&
		(strcmp(bson_iter_key(iter), "firstBatch") == 0 ||
		 strcmp(bson_iter_key(iter), "nextBatch") == 0);
}

/* 1 to 65535 in decimal digits, and nothing else. */
static bool
is_port(const char *s)
{
	size_t		len = strspn(s, "0123456789");
	long		port = len >= 1 && len <= 5 ? strtol(s, NULL, 10) : 0;

	return s[len] == '\0' && port >= 1 && port <= PG_UINT16_MAX;
}

/* "name", "name:port", "[address]" or "[address]:port" */
static bool
is_host(const char *s)
{
	const char *end;

	if (*s == '[')
	{
		end = strchr(s, ']');
		if (end == NULL || end == s + 1 || strchr(end + 1, ']') != NULL)
			return false;
		end++;
	}
	else
	{
		end = s + strcspn(s, ":");
		if (end == s || strchr(s, ']') != NULL)
			return false;
	}
	if (end - s > BSON_HOST_NAME_MAX)
		return false;
	return *end == '\0' || (*end == ':' && is_port(end + 1));
}

/* The elements of an array; the driver lets nothing else through. */
static bool
are_strings(const bson_iter_t *array, bool hosts)
{
	bson_iter_t item;
	int			n = 0;

	if (!BSON_ITER_HOLDS_ARRAY(array) || !bson_iter_recurse(array, &item))
		return true;
	while (bson_iter_next(&item))
		if (++n > MAX_STRINGS || !BSON_ITER_HOLDS_UTF8(&item) ||
			(hosts && !is_host(bson_iter_utf8(&item, NULL))))
			return false;
	return true;
}

/* What the driver takes for the code has 32 bits. */
static bool
is_code(const bson_iter_t *iter)
{
	return !BSON_ITER_HOLDS_NUMBER(iter) ||
		(uint32) bson_iter_as_int64(iter) != 0;
}

/*
 * The server's first message has attributes in any order, for the driver:
 * "r=nonce,s=salt,i=count" (RFC 5802).  Payloads of other mechanisms begin
 * with something else.  Behind a letter the driver looks for "=" also where
 * the payload has ended.
 */
static bool
is_payload(const bson_iter_t *iter)
{
	const uint8 *data = NULL;
	const uint8 *end;
	const uint8 *comma;
	uint32		len = 0;

	if (!BSON_ITER_HOLDS_BINARY(iter))
		return true;
	bson_iter_binary(iter, NULL, &len, &data);
	if (len == 0 || (len > 1 && data[1] != '='))
		return true;
	for (end = data + len; data < end; data = comma + 1)
	{
		comma = memchr(data, ',', end - data);
		if (comma == NULL)
			comma = end;
		if (comma - data < 2 || data[1] != '=')
			return false;
		if (*data == 'i' &&
			comma - data > (ptrdiff_t) strlen("i=") + MAX_ITERATION_DIGITS)
			return false;
	}
	return true;
}

/* A value that the driver knows by its name, in the reply itself. */
static bool
is_value_of_reply(const bson_iter_t *iter)
{
	const char *key = bson_iter_key(iter);

	if (strcmp(key, "hosts") == 0 || strcmp(key, "passives") == 0 ||
		strcmp(key, "arbiters") == 0)
		return are_strings(iter, true);
	if (strcmp(key, "compression") == 0)
		return are_strings(iter, false);
	if (strcmp(key, "speculativeAuthenticate") == 0 ||
		strcmp(key, "writeConcernError") == 0)
		return BSON_ITER_HOLDS_DOCUMENT(iter);
	return true;
}

/* A value in the reply, or in a document in it. */
static bool
is_value(const bson_iter_t *iter, int depth)
{
	const char *key = bson_iter_key(iter);

	if (depth == 1 && !is_value_of_reply(iter))
		return false;
	if (strcmp(key, "code") == 0)
		return is_code(iter);
	return strcmp(key, "payload") != 0 || is_payload(iter);
}

/* The document in an element: itself, an array, or the scope of code. */
static const uint8 *
inner_document(const bson_iter_t *iter, uint32 *len)
{
	const uint8 *data = NULL;
	uint32		ignored;

	if (BSON_ITER_HOLDS_DOCUMENT(iter))
		bson_iter_document(iter, len, &data);
	else if (BSON_ITER_HOLDS_ARRAY(iter))
		bson_iter_array(iter, len, &data);
	else if (BSON_ITER_HOLDS_CODEWSCOPE(iter))
		(void) bson_iter_codewscope(iter, &ignored, len, &data);
	return data;
}

/* depth: 1 is the reply itself. */
static bool
is_sound(const uint8 *document, uint32 len, int depth)
{
	bson_t		view;
	bson_iter_t iter;

	if (depth > MAX_DEPTH || !bson_init_static(&view, document, len) ||
		!bson_iter_init(&iter, &view))
		return false;
	while (bson_iter_next(&iter))
	{
		uint32		inner_len = 0;
		const uint8 *inner = inner_document(&iter, &inner_len);

		if (inner != NULL && !is_batch(&iter, depth) &&
			!is_sound(inner, inner_len, depth + 1))
			return false;
		if (depth <= 2 && !is_value(&iter, depth))
			return false;
	}
	return iter.err_off == 0;
}

bool
mm_mongo_reply_is_sound(const uint8 *document, uint32 len)
{
	return is_sound(document, len, 1);
}
