/*-------------------------------------------------------------------------
 *
 * input.c
 *	  The source side of a call: connect, find the collection, read documents
 *	  to infer columns.  Errors are raised, in the caller's face.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "api/api.h"
#include "settings.h"

/* Collections up to this size are read whole to infer columns. */
#define READ_WHOLE 100000

/* A choice at random that fails is made again. */
#define SAMPLE_ATTEMPTS 5

/*
 * Database and collection: with a database given by option or source,
 * nothing is split, since the names of collections may hold dots.
 */
static void
split_namespace(const char *collection, const char *database,
				char **database_out, char **collection_out)
{
	const char *dot = strchr(collection, '.');

	if (database != NULL)
	{
		*database_out = pstrdup(database);
		*collection_out = pstrdup(collection);
		return;
	}
	if (dot == NULL || dot == collection || dot[1] == '\0')
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("no database given for collection \"%s\"", collection),
				 errhint("Write it as \"database.%s\", or name the database "
						 "in the connection string or uri.", collection)));
	*database_out = pnstrdup(collection, dot - collection);
	*collection_out = pstrdup(dot + 1);
}

/* What is made of documents is UTF-8, a sample and a name as well. */
void
mm_input_check_encoding(void)
{
	if (GetDatabaseEncoding() != PG_UTF8)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("the encoding of this database is %s, a migration needs UTF8",
						GetDatabaseEncodingName()),
				 errhint("CREATE DATABASE ... ENCODING 'UTF8' TEMPLATE template0;")));
}

MmInput
mm_input_open(const char *source, const char *collection,
			  const MmOptions *options)
{
	MmInput		input = {0};
	MmSourceError error = {0};
	char	   *database;
	char	   *name;

	mm_input_check_encoding();
	input.config = mm_source_resolve(source, GetUserId());
	split_namespace(collection, options->database ? options->database :
					input.config->database, &database, &name);
	input.namespace = psprintf("%s.%s", database, name);
	input.source = mm_source_mongo.open(input.config, &error);
	if (input.source == NULL ||
		!input.source->ops->describe(input.source, database, name,
									 &input.collection, &error))
		mm_source_raise(&error);
	return input;
}

void
mm_input_close(MmInput *input)
{
	input->source->ops->close(input->source);
}

/* Documents between two looks at the clock. */
#define LOOK_EACH 64

/* At random, they tell most when there is no time for more. */
#define FEW_AT_RANDOM 512

/* What is read to infer columns. */
typedef struct Sample
{
	int64		random;			/* documents at random; 0: in order */
	int64		most;			/* no more than these in order; 0: all */
	int64		enough;			/* when there is no time for all; 0: never */
} Sample;

/* mongod counts its own time only, not that of the network, and ours. */
static bool
is_over(const Sample *sample, const MmInfer *infer, TimestampTz began)
{
	int64		documents = mm_infer_documents(infer);
	int64		enough = sample->random > 0 ?
		Min(sample->random, FEW_AT_RANDOM) : sample->enough;

	if (sample->most > 0 && documents >= sample->most)
		return true;
	return documents % LOOK_EACH == 0 && enough > 0 && documents >= enough &&
		TimestampDifferenceExceeds(began, GetCurrentTimestamp(),
								   mm_sample_timeout_ms);
}

/* NULL with error set. */
static MmInfer *
try_infer(MmInput *input, const char *filter,
		  const MmInferOptions *infer_options, const Sample *sample,
		  MmSourceError *error)
{
	TimestampTz began = GetCurrentTimestamp();
	const MmSourceOps *ops = input->source->ops;
	MmInfer    *infer = mm_infer_begin(infer_options);
	MmStream   *stream = ops->open_sample(input->source, input->collection,
										  filter, sample->random,
										  mm_sample_timeout_ms, error);
	const uint8 *doc;
	uint32		len;
	MmNext		next = MM_NEXT_DOCUMENT;

	if (stream == NULL)
		return NULL;
	while (!is_over(sample, infer, began) &&
		   (next = ops->next(stream, &doc, &len, error)) == MM_NEXT_DOCUMENT)
		(void) mm_infer_document(infer, doc, len);
	ops->close_stream(stream);
	if (next == MM_NEXT_ERROR &&
		!(error->timed_out && sample->random == 0 && sample->enough > 0 &&
		  mm_infer_documents(infer) >= sample->enough))
		return NULL;
	return infer;
}

static void
raise_sample_error(MmSourceError *error, bool has_filter)
{
	if (error->timed_out)
		strlcpy(error->hint, has_filter ?
				"Raise mongo_migrate.sample_timeout, set a smaller sample_size, or give a mapping: migrate_infer_mapping() makes one without the filter." :
				"Raise mongo_migrate.sample_timeout, set a smaller sample_size, or give a mapping.",
				sizeof(error->hint));
	mm_source_raise(error);
}

List *
mm_input_infer(MmInput *input, const char *filter, const MmOptions *options,
			   const MmInferOptions *infer_options, int64 *documents)
{
	const MmCollection *collection = input->collection;
	bool		whole = options->sample_size == 0 ||
		(collection->kind == MM_COLLECTION &&
		 collection->documents <= READ_WHOLE);
	Sample		sample = {
		.random = whole ? 0 : options->sample_size,
		.enough = options->sample_size,
	};
	MmInfer    *infer;
	MmSourceError error = {0};
	MmIdEnds	ends = {0};
	int			attempts = 0;

	if (collection->has_id_index &&
		!input->source->ops->id_ends(input->source, collection, &ends,
									 &error))
		mm_source_raise(&error);
	while ((infer = try_infer(input, filter, infer_options, &sample,
							  &error)) == NULL)
	{
		/* All that match are to be found before any is chosen: the first. */
		if (error.timed_out && sample.random > 0)
		{
			sample.most = sample.random;
			sample.random = 0;
		}
		else if (!error.unlucky || ++attempts == SAMPLE_ATTEMPTS)
			raise_sample_error(&error, filter != NULL);
	}
	*documents = mm_infer_documents(infer);
	if (sample.most > 0)
		ereport(NOTICE,
				(errmsg("columns are inferred from the first %lld documents of \"%s\"",
						(long long) *documents, input->namespace),
				 errdetail("There was no time to choose among all.")));
	return mm_infer_finish(infer, ends.first, ends.last);
}
