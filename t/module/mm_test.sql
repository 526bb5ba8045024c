-- The functions of the module at :'module'; for psql.

-- The document as jsonb, by the extension's writer, and by the server's.
-- Form: simple, relaxed, canonical.
CREATE FUNCTION mmtest_jsonb(bson bytea, form text) RETURNS jsonb
	AS :'module' LANGUAGE C STRICT;
CREATE FUNCTION mmtest_jsonb_oracle(bson bytea, form text) RETURNS jsonb
	AS :'module' LANGUAGE C STRICT;

-- The same, and what the writer says about it.
CREATE FUNCTION mmtest_jsonb_report(bson bytea, form text, invalid_text text,
	OUT result jsonb, OUT duplicates bigint, OUT altered bigint,
	OUT fault text, OUT bson_type text, OUT path text)
	AS :'module' LANGUAGE C STRICT;

-- The document as text, NUL as \u0000.
CREATE FUNCTION mmtest_json(bson bytea, form text) RETURNS text
	AS :'module' LANGUAGE C STRICT;

-- What is wrong with the document; NULL when it is valid.
CREATE FUNCTION mmtest_valid(bson bytea) RETURNS text
	AS :'module' LANGUAGE C STRICT;

-- Its dead letter, the same in either layout, under invalid_text = reject:
-- stage|sqlstate|message|detail|path; NULL when it is stored.
CREATE FUNCTION mmtest_reject(bson bytea) RETURNS text
	AS :'module' LANGUAGE C STRICT;

-- The same of a document behind another one, which is stored.
CREATE FUNCTION mmtest_reject_after(before bytea, bson bytea) RETURNS text
	AS :'module' LANGUAGE C STRICT;

-- Checks and copies texts of up to so many bytes, with any byte at any place;
-- an error names the first that is misjudged.
CREATE FUNCTION mmtest_texts(longest integer) RETURNS bigint
	AS :'module' LANGUAGE C STRICT;

-- Writes random documents by both; an error names the first that differs.
CREATE FUNCTION mmtest_jsonb_equal(seed bigint, documents integer) RETURNS bigint
	AS :'module' LANGUAGE C STRICT;

-- Bytes of the largest jsonb that a valid document can have.
CREATE FUNCTION mmtest_jsonb_largest() RETURNS bigint
	AS :'module' LANGUAGE C STRICT;

-- Nanoseconds for the document, in simple form.
CREATE FUNCTION mmtest_bench(bson bytea, loops integer)
	RETURNS TABLE (direct_ns float8, oracle_ns float8)
	AS :'module' LANGUAGE C STRICT;

-- Runs everything that reads BSON on damaged documents.
CREATE FUNCTION mmtest_fuzz(seed bigint, documents integer, seconds integer)
	RETURNS TABLE (documents bigint, valid bigint, stored bigint)
	AS :'module' LANGUAGE C STRICT;

-- Forms tuples of 80 random rows for each of many random tables by both; an
-- error names the first that differs.  own: formed without heap_form_tuple().
CREATE FUNCTION mmtest_tuples_equal(seed bigint, tables integer)
	RETURNS TABLE (rows bigint, own bigint)
	AS :'module' LANGUAGE C STRICT;
