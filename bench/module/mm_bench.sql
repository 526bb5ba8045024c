-- The functions of the module at :'module'; for psql.

-- A chunk of a collection into a table, by the loader's bare loop: its rows.
CREATE FUNCTION mmbench_load(uri text, database text, collection text, mapping jsonb, target regclass,
	split text, pin bytea, lower_bound bytea, upper_bound bytea) RETURNS bigint
	AS :'module' LANGUAGE C;

-- BSON documents, one behind the other, to rows: their number.
CREATE FUNCTION mmbench_convert(documents bytea, mapping jsonb, target regclass, store boolean) RETURNS bigint
	AS :'module' LANGUAGE C STRICT;
