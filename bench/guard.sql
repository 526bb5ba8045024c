-- Tables and mappings of bench/guard, for postgres --single -j: a statement
-- ends with a semicolon before an empty line.  They are written out here, so
-- that inference may change without a change of what is measured.

CREATE FUNCTION mmbench_convert(documents bytea, mapping jsonb, target regclass, store boolean) RETURNS bigint
	AS 'MODULE' LANGUAGE C STRICT;

CREATE TABLE guard_field (shape text, field_no int GENERATED ALWAYS AS IDENTITY, path text, type text);

INSERT INTO guard_field (shape, path, type) VALUES
	('narrow', '_id', 'text COLLATE "C"'), ('narrow', 'quantity', 'bigint'), ('narrow', 'account', 'bigint'),
	('narrow', 'amount', 'double precision'), ('narrow', 'createdAt', 'timestamptz'), ('narrow', 'active', 'boolean'),
	('narrow', 'name', 'text'), ('narrow', 'status', 'text');

INSERT INTO guard_field (shape, path, type)
	SELECT 'wide', '_id', 'text COLLATE "C"'
	UNION ALL SELECT 'wide', format('text_field_%s', lpad(i::text, 2, '0')), 'text' FROM generate_series(0, 11) i
	UNION ALL SELECT 'wide', format('integer_field_%s', lpad(i::text, 2, '0')), 'bigint' FROM generate_series(0, 5) i
	UNION ALL SELECT 'wide', format('double_field_%s', lpad(i::text, 2, '0')), 'double precision' FROM generate_series(0, 4) i
	UNION ALL SELECT 'wide', format('date_field_%s', lpad(i::text, 2, '0')), 'timestamptz' FROM generate_series(0, 2) i
	UNION ALL VALUES ('wide', 'flag', 'boolean'), ('wide', 'nested.shipTo', 'jsonb'), ('wide', 'nested.items', 'jsonb');

DO $$ DECLARE name text; BEGIN
	FOREACH name IN ARRAY '{narrow,wide}'::text[] LOOP
		EXECUTE (SELECT format('CREATE TABLE %I (%s, _extra jsonb)', name,
				string_agg(format('%I %s %s', path, type, CASE path WHEN '_id' THEN 'NOT NULL' END), ', ' ORDER BY field_no))
			FROM guard_field f WHERE f.shape = name);
	END LOOP;
END $$;

CREATE FUNCTION guard_mapping(shape text) RETURNS jsonb LANGUAGE sql AS $$
	SELECT jsonb_build_object('format', 1, 'source', '{"namespace": "shop.guard"}'::jsonb,
		'target', jsonb_build_object('table', 'public.' || $1, 'primary_key', '["_id"]'::jsonb),
		'on_error', 'extra', 'extra', 'column', 'extra_column', '_extra', 'json_format', 'simple', 'invalid_text', 'reject',
		'fields', jsonb_agg(jsonb_build_object('path', path, 'column', path, 'type', type, 'not_null', path = '_id') ORDER BY field_no))
	FROM guard_field WHERE guard_field.shape = $1 $$;

