/*-------------------------------------------------------------------------
 *
 * generate.h
 *	  What the shapes of generate.c and generate_hostile.c share: random
 *	  numbers and small values made of them.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GENERATE_H
#define GENERATE_H

#include <bson/bson.h>

#include <inttypes.h>
#include <stdio.h>

typedef struct
{
	uint64_t	state;
} Random;

/* Makes document i of a collection. */
typedef void (*Shape) (bson_t *doc, Random *r, int64_t i);

extern void calm(bson_t *doc, Random *r, int64_t i);
extern void hostile(bson_t *doc, Random *r, int64_t i);
extern void hazardous(bson_t *doc, Random *r, int64_t i);

/* splitmix64 */
static inline uint64_t
next_random(Random *r)
{
	uint64_t	z = (r->state += UINT64_C(0x9e3779b97f4a7c15));

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

static inline int64_t
below(Random *r, int64_t n)
{
	return (int64_t) (next_random(r) % (uint64_t) n);
}

static inline double
fraction(Random *r)
{
	return (double) (next_random(r) >> 11) / 9007199254740992.0;
}

/* Between 2020 and 2026, in milliseconds. */
static inline int64_t
some_time(Random *r)
{
	return INT64_C(1577836800000) + below(r, INT64_C(189302400000));
}

/* Four bytes of time, then eight of the document's number. */
static inline void
append_object_id(bson_t *doc, const char *key, int64_t i)
{
	bson_oid_t	oid;
	uint32_t	seconds = UINT32_C(1600000000) + (uint32_t) (i / 100);

	for (int k = 0; k < 4; k++)
		oid.bytes[k] = (uint8_t) (seconds >> (24 - 8 * k));
	for (int k = 0; k < 8; k++)
		oid.bytes[4 + k] = (uint8_t) ((uint64_t) i >> (56 - 8 * k));
	BSON_APPEND_OID(doc, key, &oid);
}

/* A random UUID, version 4. */
static inline void
append_uuid(bson_t *doc, const char *key, Random *r)
{
	uint8_t		bytes[16];

	for (int k = 0; k < 16; k++)
		bytes[k] = (uint8_t) next_random(r);
	bytes[6] = (bytes[6] & 0x0f) | 0x40;
	bytes[8] = (bytes[8] & 0x3f) | 0x80;
	BSON_APPEND_BINARY(doc, key, BSON_SUBTYPE_UUID, bytes, 16);
}

/* The driver's macro would evaluate its argument twice. */
static inline void
append_one_of(bson_t *doc, const char *key, Random *r,
			  const char *const *list, int n)
{
	const char *text = list[below(r, n)];

	BSON_APPEND_UTF8(doc, key, text);
}

static inline void
append_word(bson_t *doc, const char *key, Random *r, const char *prefix)
{
	char		text[64];

	snprintf(text, sizeof(text), "%s-%06" PRId64, prefix, below(r, 1000000));
	BSON_APPEND_UTF8(doc, key, text);
}

static inline void
append_decimal_text(bson_t *doc, const char *key, const char *text)
{
	bson_decimal128_t decimal;

	bson_decimal128_from_string(text, &decimal);
	BSON_APPEND_DECIMAL128(doc, key, &decimal);
}

#endif							/* GENERATE_H */
