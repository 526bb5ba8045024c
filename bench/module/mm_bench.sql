-- The functions of the module at :'module'; for psql.

-- A chunk of a collection to rows, by the loader's bare loop, and perhaps into a table: their number.
CREATE FUNCTION mmbench_load(uri text, database text, collection text, mapping jsonb, target regclass,
	split text, pin bytea, lower_bound bytea, upper_bound bytea, store boolean) RETURNS bigint
	AS :'module' LANGUAGE C;

-- BSON documents, one behind the other, to rows: their number.
CREATE FUNCTION mmbench_convert(documents bytea, mapping jsonb, target regclass, store boolean) RETURNS bigint
	AS :'module' LANGUAGE C STRICT;
