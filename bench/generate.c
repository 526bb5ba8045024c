/*-------------------------------------------------------------------------
 *
 * generate.c
 *	  Fills a MongoDB collection with generated documents.
 *
 *	  generate [--seed N] [--documents N] [--shape SHAPE] URI DB.COLLECTION
 *	  generate [--seed N] [--documents N] [--shape SHAPE] --file FILE
 *	  generate --initiate URI
 *
 * Document i depends on the seed and on i alone, so that two runs give the
 * same collection.  Shapes: orders (a shop's), narrow (8 scalars), uuid
 * (narrow with random UUIDs as _id), wide (29 fields), tweet (nested, 1.6 KB),
 * large (64 KB), mixed (an _id of any type, fields of mixed types), poison (1
 * in 1000 with text that PostgreSQL cannot hold), broad (rows too big for a
 * page), calm, hostile and hazards (see generate_hostile.c).  The collection
 * is dropped first.  A file gets the documents one behind the other, as BSON.
 * --initiate makes a replica set of one and waits until it is
 * writable, so that nothing else is needed to set a server up.
 *
 *-------------------------------------------------------------------------
 */
#include <mongoc/mongoc.h>

#include <stdlib.h>
#include <string.h>

#include "generate.h"

#define BATCH 2000

/* ---------------------------------------------------------------------
 * Shapes
 * ---------------------------------------------------------------------
 */

static void
append_items(bson_t *doc, Random *r)
{
	int			n = 1 + (int) below(r, 3);
	bson_t		items;
	bson_t		item;

	BSON_APPEND_ARRAY_BEGIN(doc, "items", &items);
	for (int k = 0; k < n; k++)
	{
		char		key[12];

		snprintf(key, sizeof(key), "%d", k);
		BSON_APPEND_DOCUMENT_BEGIN(&items, key, &item);
		append_word(&item, "sku", r, "sku");
		BSON_APPEND_INT32(&item, "qty", 1 + (int32_t) below(r, 9));
		BSON_APPEND_DOUBLE(&item, "price", (double) below(r, 100000) / 100);
		bson_append_document_end(&items, &item);
	}
	bson_append_array_end(doc, &items);
}

static void
append_address(bson_t *doc, Random *r)
{
	static const char *const cities[] = {"Zürich", "Bern", "Genève", "Basel"};
	bson_t		address;

	BSON_APPEND_DOCUMENT_BEGIN(doc, "shipTo", &address);
	append_word(&address, "street", r, "Street");
	append_one_of(&address, "city", r, cities, 4);
	BSON_APPEND_INT32(&address, "zipCode", 1000 + (int32_t) below(r, 9000));
	bson_append_document_end(doc, &address);
}

static void
append_decimal(bson_t *doc, const char *key, Random *r)
{
	char		text[48];

	snprintf(text, sizeof(text), "%" PRId64 ".%02" PRId64, below(r, 100000),
			 below(r, 100));
	append_decimal_text(doc, key, text);
}

static void
orders(bson_t *doc, Random *r, int64_t i)
{
	static const char *const states[] = {"new", "paid", "sent", "returned"};
	bson_t		tags;

	append_object_id(doc, "_id", i);
	BSON_APPEND_INT64(doc, "orderNumber", INT64_C(5000000000) + i);
	BSON_APPEND_DATE_TIME(doc, "createdAt", some_time(r));
	append_one_of(doc, "status", r, states, 4);
	append_object_id(doc, "customerId", below(r, 50000));
	append_decimal(doc, "total", r);
	BSON_APPEND_DOUBLE(doc, "discount", fraction(r));
	BSON_APPEND_INT32(doc, "points", (int32_t) below(r, 5000));
	BSON_APPEND_BOOL(doc, "gift", below(r, 10) == 0);
	append_address(doc, r);
	append_items(doc, r);
	BSON_APPEND_ARRAY_BEGIN(doc, "tags", &tags);
	append_one_of(&tags, "0", r, states, 4);
	bson_append_array_end(doc, &tags);
	if (below(r, 4) == 0)
		append_word(doc, "couponCode", r, "C");
	if (below(r, 3) == 0)
		BSON_APPEND_NULL(doc, "cancelledAt");
	else if (below(r, 20) == 0)
		BSON_APPEND_DATE_TIME(doc, "cancelledAt", some_time(r));
}

static void
append_narrow_fields(bson_t *doc, Random *r)
{
	BSON_APPEND_INT32(doc, "quantity", (int32_t) below(r, 1000));
	BSON_APPEND_INT64(doc, "account", INT64_C(100000000000) + below(r, 1000000));
	BSON_APPEND_DOUBLE(doc, "amount", fraction(r) * 1000);
	BSON_APPEND_DATE_TIME(doc, "createdAt", some_time(r));
	BSON_APPEND_BOOL(doc, "active", below(r, 2) == 0);
	append_word(doc, "name", r, "customer");
	append_word(doc, "status", r, "status");
}

static void
narrow(bson_t *doc, Random *r, int64_t i)
{
	append_object_id(doc, "_id", i);
	append_narrow_fields(doc, r);
}

static void
uuid(bson_t *doc, Random *r, int64_t i)
{
	(void) i;
	append_uuid(doc, "_id", r);
	append_narrow_fields(doc, r);
}

static void
wide(bson_t *doc, Random *r, int64_t i)
{
	char		key[32];
	bson_t		nested;

	append_object_id(doc, "_id", i);
	for (int k = 0; k < 12; k++)
	{
		snprintf(key, sizeof(key), "text_field_%02d", k);
		append_word(doc, key, r, "a text of some thirty bytes");
	}
	for (int k = 0; k < 6; k++)
	{
		snprintf(key, sizeof(key), "integer_field_%02d", k);
		BSON_APPEND_INT64(doc, key, below(r, INT64_C(1) << 40));
	}
	for (int k = 0; k < 5; k++)
	{
		snprintf(key, sizeof(key), "double_field_%02d", k);
		BSON_APPEND_DOUBLE(doc, key, fraction(r) * 1000);
	}
	for (int k = 0; k < 3; k++)
	{
		snprintf(key, sizeof(key), "date_field_%02d", k);
		BSON_APPEND_DATE_TIME(doc, key, some_time(r));
	}
	BSON_APPEND_BOOL(doc, "flag", below(r, 2) == 0);
	BSON_APPEND_DOCUMENT_BEGIN(doc, "nested", &nested);
	append_address(&nested, r);
	append_items(&nested, r);
	bson_append_document_end(doc, &nested);
}

/* A text of that many bytes, or a few less: words and blanks. */
static void
append_prose(bson_t *doc, const char *key, Random *r, int length)
{
	static const char *const words[] = {
		"the", "row", "größe", "of", "a", "document", "is", "never", "more",
		"than", "sixteen", "megabytes", "and", "café", "when", "nobody", "looks"
	};
	char		text[2048];
	int			n = 0;

	for (;;)
	{
		const char *word = words[below(r, 17)];

		if (n + (int) strlen(word) + 1 > length)
			break;
		n += snprintf(text + n, sizeof(text) - n, "%s ", word);
	}
	bson_append_utf8(doc, key, -1, text, n > 0 ? n - 1 : 0);
}

static void
append_user(bson_t *doc, const char *key, Random *r)
{
	static const char *const zones[] = {"Bern", "Quito", "Hawaii", "London"};
	bson_t		user;
	int64_t		id = below(r, INT64_C(1) << 33);
	char		text[24];

	snprintf(text, sizeof(text), "%" PRId64, id);
	BSON_APPEND_DOCUMENT_BEGIN(doc, key, &user);
	BSON_APPEND_INT64(&user, "id", id);
	BSON_APPEND_UTF8(&user, "id_str", text);
	append_word(&user, "name", r, "Name");
	append_word(&user, "screen_name", r, "screen");
	append_prose(&user, "location", r, 20);
	append_prose(&user, "description", r, 100);
	BSON_APPEND_NULL(&user, "url");
	BSON_APPEND_BOOL(&user, "protected", false);
	BSON_APPEND_BOOL(&user, "verified", below(r, 50) == 0);
	BSON_APPEND_INT32(&user, "followers_count", (int32_t) below(r, 100000));
	BSON_APPEND_INT32(&user, "friends_count", (int32_t) below(r, 5000));
	BSON_APPEND_INT32(&user, "listed_count", (int32_t) below(r, 100));
	BSON_APPEND_INT32(&user, "favourites_count", (int32_t) below(r, 9000));
	BSON_APPEND_INT32(&user, "statuses_count", (int32_t) below(r, 50000));
	BSON_APPEND_DATE_TIME(&user, "created_at", some_time(r));
	append_one_of(&user, "time_zone", r, zones, 4);
	BSON_APPEND_UTF8(&user, "profile_image_url",
					 "https://images.example.net/profile/normal.png");
	BSON_APPEND_BOOL(&user, "default_profile", below(r, 2) == 0);
	bson_append_document_end(doc, &user);
}

/* Things that stand somewhere in the text: hashtags, mentions, links. */
static void
append_entities(bson_t *doc, Random *r)
{
	static const char *const kinds[] = {"hashtags", "user_mentions", "urls"};
	bson_t		entities;
	bson_t		list;
	bson_t		one;
	bson_t		indices;

	BSON_APPEND_DOCUMENT_BEGIN(doc, "entities", &entities);
	for (int k = 0; k < 3; k++)
	{
		int			n = (int) below(r, 3);

		BSON_APPEND_ARRAY_BEGIN(&entities, kinds[k], &list);
		for (int e = 0; e < n; e++)
		{
			BSON_APPEND_DOCUMENT_BEGIN(&list, e == 0 ? "0" : "1", &one);
			append_word(&one, "text", r, kinds[k]);
			BSON_APPEND_ARRAY_BEGIN(&one, "indices", &indices);
			BSON_APPEND_INT32(&indices, "0", 10 * e);
			BSON_APPEND_INT32(&indices, "1", 10 * e + (int32_t) below(r, 10));
			bson_append_array_end(&one, &indices);
			bson_append_document_end(&list, &one);
		}
		bson_append_array_end(&entities, &list);
	}
	bson_append_document_end(doc, &entities);
}

static void
append_place(bson_t *doc, Random *r)
{
	bson_t		place;
	bson_t		point;

	BSON_APPEND_DOCUMENT_BEGIN(doc, "place", &place);
	append_word(&place, "full_name", r, "Place");
	BSON_APPEND_UTF8(&place, "country_code", "CH");
	BSON_APPEND_ARRAY_BEGIN(&place, "coordinates", &point);
	BSON_APPEND_DOUBLE(&point, "0", fraction(r) * 360 - 180);
	BSON_APPEND_DOUBLE(&point, "1", fraction(r) * 180 - 90);
	bson_append_array_end(&place, &point);
	bson_append_document_end(doc, &place);
}

static void
append_status(bson_t *doc, Random *r, int64_t id)
{
	static const char *const languages[] = {"en", "de", "fr", "ja"};
	char		text[24];

	snprintf(text, sizeof(text), "%" PRId64, id);
	BSON_APPEND_INT64(doc, "id", id);
	BSON_APPEND_UTF8(doc, "id_str", text);
	BSON_APPEND_DATE_TIME(doc, "created_at", some_time(r));
	append_prose(doc, "text", r, 140);
	BSON_APPEND_UTF8(doc, "source", "<a href=\"https://example.net\">web</a>");
	BSON_APPEND_BOOL(doc, "truncated", false);
	append_user(doc, "user", r);
	append_entities(doc, r);
	BSON_APPEND_INT32(doc, "retweet_count", (int32_t) below(r, 1000));
	BSON_APPEND_INT32(doc, "favorite_count", (int32_t) below(r, 1000));
	append_one_of(doc, "lang", r, languages, 4);
}

static void
tweet(bson_t *doc, Random *r, int64_t i)
{
	bson_t		retweeted;

	append_object_id(doc, "_id", i);
	append_status(doc, r, INT64_C(1000000000000000000) + i);
	BSON_APPEND_NULL(doc, "in_reply_to_status_id");
	if (below(r, 5) == 0)
		append_place(doc, r);
	else
		BSON_APPEND_NULL(doc, "place");
	if (below(r, 5) < 2)
	{
		BSON_APPEND_DOCUMENT_BEGIN(doc, "retweeted_status", &retweeted);
		append_status(&retweeted, r, INT64_C(900000000000000000) + i);
		bson_append_document_end(doc, &retweeted);
	}
}

static void
large(bson_t *doc, Random *r, int64_t i)
{
	bson_t		sections;
	bson_t		section;
	char		key[12];

	append_object_id(doc, "_id", i);
	append_prose(doc, "title", r, 60);
	BSON_APPEND_DATE_TIME(doc, "createdAt", some_time(r));
	BSON_APPEND_INT32(doc, "revision", (int32_t) below(r, 100));
	BSON_APPEND_ARRAY_BEGIN(doc, "sections", &sections);
	for (int k = 0; k < 32; k++)
	{
		snprintf(key, sizeof(key), "%d", k);
		BSON_APPEND_DOCUMENT_BEGIN(&sections, key, &section);
		append_word(&section, "heading", r, "Section");
		append_prose(&section, "body", r, 1970);
		bson_append_document_end(&sections, &section);
	}
	bson_append_array_end(doc, &sections);
}

/* Every tenth document has more doubles than fit a page as a row. */
static void
broad(bson_t *doc, Random *r, int64_t i)
{
	char		key[16];

	BSON_APPEND_INT64(doc, "_id", i);
	for (int k = 0; k < (i % 10 == 7 ? 1100 : 4); k++)
	{
		snprintf(key, sizeof(key), "value%04d", k);
		BSON_APPEND_DOUBLE(doc, key, fraction(r));
	}
}

/*
 * Unique under MongoDB's equality of numbers: integers are the document's
 * number, doubles have a fraction of one half, decimals one of a quarter.
 */
static void
append_mixed_id(bson_t *doc, int64_t i)
{
	char		text[48];
	uint8_t		bytes[16] = {0};
	bson_t		nested;

	snprintf(text, sizeof(text), "%" PRId64, i);
	memcpy(bytes, &i, sizeof(i));
	switch (i < 6 ? i : 6 + i % 11)
	{
		case 0: BSON_APPEND_MINKEY(doc, "_id"); break;
		case 1: BSON_APPEND_MAXKEY(doc, "_id"); break;
		case 2: BSON_APPEND_NULL(doc, "_id"); break;
		case 3: BSON_APPEND_BOOL(doc, "_id", true); break;
		case 4: BSON_APPEND_BOOL(doc, "_id", false); break;
		case 5: BSON_APPEND_DOUBLE(doc, "_id", 1.0e300); break;
		case 6: append_object_id(doc, "_id", i); break;
		case 7: BSON_APPEND_INT32(doc, "_id", (int32_t) i); break;
		case 8: BSON_APPEND_INT64(doc, "_id", INT64_C(1) << 40 | i); break;
		case 9: BSON_APPEND_DOUBLE(doc, "_id", (double) i + 0.5); break;
		case 10: BSON_APPEND_UTF8(doc, "_id", text); break;
		case 11: BSON_APPEND_BINARY(doc, "_id", BSON_SUBTYPE_UUID, bytes, 16); break;
		case 12: BSON_APPEND_BINARY(doc, "_id", BSON_SUBTYPE_BINARY, bytes, 9); break;
		case 13:
			BSON_APPEND_DOCUMENT_BEGIN(doc, "_id", &nested);
			BSON_APPEND_INT64(&nested, "a", i);
			BSON_APPEND_UTF8(&nested, "b", text);
			bson_append_document_end(doc, &nested);
			break;
		case 14: BSON_APPEND_DATE_TIME(doc, "_id", INT64_C(1000) * i); break;
		case 15: BSON_APPEND_TIMESTAMP(doc, "_id", (uint32_t) i, 1); break;
		default:
			strcat(text, ".25");
			append_decimal_text(doc, "_id", text);
			break;
	}
}

/* A field whose type changes: mostly an integer, or a string, rarely others. */
static void
append_odd_values(bson_t *doc, Random *r, int64_t i)
{
	char		key[32];

	if (i % 5000 == 17)
		BSON_APPEND_UTF8(doc, "mostlyInt", "seventeen");
	else if (i % 5000 == 18)
		BSON_APPEND_DOUBLE(doc, "mostlyInt", -0.0);
	else
		BSON_APPEND_INT32(doc, "mostlyInt", (int32_t) below(r, 1000));
	if (i % 12 == 0)
		BSON_APPEND_INT64(doc, "mostlyText", below(r, INT64_C(1) << 60));
	else
		append_word(doc, "mostlyText", r, "größe");
	if (i % 3 == 0)
		BSON_APPEND_DOUBLE(doc, "number", fraction(r));
	else
		BSON_APPEND_INT64(doc, "number", (int64_t) next_random(r));
	if (i % 7777 == 0)
	{
		snprintf(key, sizeof(key), "rare.name %" PRId64, i);
		BSON_APPEND_INT32(doc, key, (int32_t) i);
	}
}

static void
mixed(bson_t *doc, Random *r, int64_t i)
{
	append_mixed_id(doc, i);
	append_odd_values(doc, r, i);
	if (i % 4 != 0)
		append_items(doc, r);
	if (i % 2 == 0)
		append_decimal(doc, "price", r);
	if (i % 9 == 0)
		BSON_APPEND_REGEX(doc, "pattern", "^a.*", "i");
	BSON_APPEND_DATE_TIME(doc, "at", some_time(r) - INT64_C(3000000000000));
}

static void
poison(bson_t *doc, Random *r, int64_t i)
{
	append_object_id(doc, "_id", i);
	append_word(doc, "name", r, "name");
	if (i % 1000 == 500)
		bson_append_utf8(doc, "note", -1, "a\0b", 3);
	else if (i % 1000 == 501)
		bson_append_utf8(doc, "note", -1, "a\xff" "b", 3);
	else
		append_word(doc, "note", r, "note");
}

static const struct
{
	const char *name;
	Shape		shape;
} shapes[] = {
	{"orders", orders}, {"narrow", narrow}, {"uuid", uuid}, {"wide", wide},
	{"tweet", tweet}, {"large", large}, {"mixed", mixed}, {"poison", poison},
	{"broad", broad}, {"calm", calm}, {"hostile", hostile},
	{"hazards", hazardous},
};

/* ---------------------------------------------------------------------
 * Writing
 * ---------------------------------------------------------------------
 */

static void
fail(const char *what, const bson_error_t *error)
{
	fprintf(stderr, "generate: %s: %s\n", what, error->message);
	exit(1);
}

static void
make_document(bson_t *doc, Shape shape, uint64_t seed, int64_t i)
{
	Random		r = {seed * UINT64_C(0x2545f4914f6cdd1d) + (uint64_t) i};

	bson_init(doc);
	shape(doc, &r, i);
}

static void
write_file(const char *path, Shape shape, uint64_t seed, int64_t documents)
{
	FILE	   *file = fopen(path, "wb");
	bson_t		doc;

	for (int64_t i = 0; file != NULL && i < documents; i++)
	{
		make_document(&doc, shape, seed, i);
		fwrite(bson_get_data(&doc), 1, doc.len, file);
		bson_destroy(&doc);
	}
	if (file == NULL || ferror(file) || fclose(file) != 0)
	{
		perror(path);
		exit(1);
	}
}

static void
insert_batch(mongoc_collection_t *collection, Shape shape, uint64_t seed,
			 int64_t first, int n)
{
	static bson_t docs[BATCH];
	const bson_t *list[BATCH];
	bson_t		opts = BSON_INITIALIZER;
	bson_error_t error;

	for (int k = 0; k < n; k++)
	{
		make_document(&docs[k], shape, seed, first + k);
		list[k] = &docs[k];
	}
	BSON_APPEND_BOOL(&opts, "ordered", false);
	BSON_APPEND_BOOL(&opts, "validate", false);
	if (!mongoc_collection_insert_many(collection, list, (size_t) n, &opts,
									   NULL, &error))
		fail("insert", &error);
	for (int k = 0; k < n; k++)
		bson_destroy(&docs[k]);
	bson_destroy(&opts);
}

static void
fill(mongoc_client_t *client, const char *namespace, Shape shape,
	 uint64_t seed, int64_t documents)
{
	const char *dot = strchr(namespace, '.');
	char		database[256];
	mongoc_collection_t *collection;

	if (dot == NULL || dot - namespace >= (int) sizeof(database))
	{
		fprintf(stderr, "generate: \"%s\" is not DB.COLLECTION\n", namespace);
		exit(2);
	}
	snprintf(database, sizeof(database), "%.*s", (int) (dot - namespace),
			 namespace);
	collection = mongoc_client_get_collection(client, database, dot + 1);
	mongoc_collection_drop(collection, NULL);
	for (int64_t i = 0; i < documents; i += BATCH)
		insert_batch(collection, shape, seed, i,
					 (int) (documents - i < BATCH ? documents - i : BATCH));
	mongoc_collection_destroy(collection);
}

/* ---------------------------------------------------------------------
 * Replica set of one
 * ---------------------------------------------------------------------
 */

static bool
is_writable(mongoc_client_t *client)
{
	bson_t	   *hello = BCON_NEW("hello", BCON_INT32(1));
	bson_t		reply;
	bson_iter_t iter;
	bool		writable;

	writable = mongoc_client_command_simple(client, "admin", hello, NULL,
											&reply, NULL) &&
		bson_iter_init_find(&iter, &reply, "isWritablePrimary") &&
		bson_iter_bool(&iter);
	bson_destroy(&reply);
	bson_destroy(hello);
	return writable;
}

static bool
is_reachable(mongoc_client_t *client)
{
	bson_t	   *ping = BCON_NEW("ping", BCON_INT32(1));
	bool		reachable = mongoc_client_command_simple(client, "admin", ping,
														 NULL, NULL, NULL);

	bson_destroy(ping);
	return reachable;
}

static void
initiate(mongoc_client_t *client, const char *uri_text)
{
	mongoc_uri_t *uri = mongoc_uri_new(uri_text);
	const char *host = mongoc_uri_get_hosts(uri)->host_and_port;
	bson_t	   *command = BCON_NEW("replSetInitiate", "{", "_id", "rs0",
								   "members", "[", "{", "_id", BCON_INT32(0),
								   "host", BCON_UTF8(host), "}", "]", "}");
	bson_error_t error;

	/* The server may still be on its way up. */
	for (int i = 0; i < 600 && !is_reachable(client); i++)
		usleep(50000);
	if (!mongoc_client_command_simple(client, "admin", command, NULL, NULL,
									  &error))
		fail("replSetInitiate", &error);
	for (int i = 0; i < 600 && !is_writable(client); i++)
		usleep(50000);
	bson_destroy(command);
	mongoc_uri_destroy(uri);
}

/* --------------------------------------------------------------------- */

static void
usage(void)
{
	fprintf(stderr, "usage: generate [--seed N] [--documents N] [--shape SHAPE] (URI DB.COLLECTION | --file FILE)\n"
			"       generate --initiate URI\n");
	exit(2);
}

static Shape
find_shape(const char *name)
{
	for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++)
		if (strcmp(shapes[i].name, name) == 0)
			return shapes[i].shape;
	usage();
	return NULL;
}

int
main(int argc, char **argv)
{
	uint64_t	seed = 1;
	int64_t		documents = 1000;
	Shape		shape = orders;
	bool		initiating = false;
	const char *file = NULL;
	int			i;
	mongoc_client_t *client;

	for (i = 1; i < argc && strncmp(argv[i], "--", 2) == 0; i++)
	{
		if (strcmp(argv[i], "--initiate") == 0)
			initiating = true;
		else if (i + 1 >= argc)
			usage();
		else if (strcmp(argv[i], "--seed") == 0)
			seed = strtoull(argv[++i], NULL, 10);
		else if (strcmp(argv[i], "--documents") == 0)
			documents = strtoll(argv[++i], NULL, 10);
		else if (strcmp(argv[i], "--shape") == 0)
			shape = find_shape(argv[++i]);
		else if (strcmp(argv[i], "--file") == 0)
			file = argv[++i];
		else
			usage();
	}
	if (argc - i != (file != NULL ? 0 : initiating ? 1 : 2))
		usage();
	if (file != NULL)
	{
		write_file(file, shape, seed, documents);
		return 0;
	}
	mongoc_init();
	client = mongoc_client_new(argv[i]);
	if (client == NULL)
		usage();
	if (initiating)
		initiate(client, argv[i]);
	else
		fill(client, argv[i + 1], shape, seed, documents);
	mongoc_client_destroy(client);
	mongoc_cleanup();
	return 0;
}
