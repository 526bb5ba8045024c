/*-------------------------------------------------------------------------
 *
 * reader.h
 *	  Reads a MongoDB collection as fast as we know how, for the programs of
 *	  the benchmark; nothing of the extension is in it.
 *
 *-------------------------------------------------------------------------
 */
#ifndef READER_H
#define READER_H

#include <mongoc/mongoc.h>

#include <stdint.h>

typedef enum ReaderSplit
{
	READER_NATURAL,				/* one scan in natural order */
	READER_ID,					/* ranges of the _id index */
	READER_RECORD				/* ranges of record ids */
} ReaderSplit;

#define READER_MAX_RANGES 1000

/* Where ranges end; the last one is open. */
typedef struct ReaderRanges
{
	ReaderSplit split;
	int			n;
	bson_t		ids[READER_MAX_RANGES]; /* {_id: ...} */
	int64_t		records[READER_MAX_RANGES];
	int32_t		reply_documents;	/* for replies of about 2 MB */
} ReaderRanges;

typedef void (*ReaderConsumer) (void *arg, const uint8_t *doc, uint32_t len);

/* Memory settings without which large replies cost several times as much. */
extern void reader_begin(void);

/* Every failure of these ends the program with a message. */
extern mongoc_client_t *reader_connect(const char *uri);
extern void reader_cut(mongoc_client_t *client, const char *namespace,
					   ReaderSplit split, int n, ReaderRanges *ranges);
/* Gives every document of range i to the consumer; returns their number. */
extern int64_t reader_read(mongoc_client_t *client, const char *namespace,
						   const ReaderRanges *ranges, int i,
						   ReaderConsumer consumer, void *arg);

#endif							/* READER_H */
