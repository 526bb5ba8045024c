-- Functions without a connection.
CREATE ROLE regress_mm_owner LOGIN;
SET SESSION AUTHORIZATION regress_mm_owner;
SET mongo_migrate.progress_style = 'unicode';
SELECT f, migrate_progress_bar(f), char_length(migrate_progress_bar(f)) AS cells
  FROM unnest(ARRAY[-1, 0, 0.001, 0.5, 0.515, 0.999, 1, 2, 'NaN'::float8]) AS f;
SET mongo_migrate.progress_style = 'ascii';
SELECT migrate_progress_bar(0.5), migrate_progress_bar(1, 5), migrate_progress_bar(0.33, 10);
SELECT migrate_progress_bar(0.5, 0);
SELECT migrate_progress_bar(0.5, 1001);
SET mongo_migrate.progress_style = 'auto';
SET client_encoding = 'LATIN1';
SELECT migrate_progress_bar(0.5);
SET client_encoding = 'UTF8';

SELECT migrate_objectid_time('65a1f0c2e4b0a1d2c3e4f501') AT TIME ZONE 'UTC' AS t;
SELECT migrate_objectid_time('ffffffff0000000000000000') AT TIME ZONE 'UTC' AS t;
SELECT migrate_objectid_time('65a1');
SELECT migrate_objectid_time('65a1f0c2e4b0a1d2c3e4f50x');

-- the table of names in the reference
SELECT p AS path, migrate_column_name(p) AS snake_case, migrate_column_name(p, 'lower') AS lower,
       migrate_column_name(p, 'preserve') AS preserve
  FROM unnest(ARRAY['_id', 'createdAt', 'HTTPServerID', 'IPv4Address', 'shipTo.zipCode', 'user', '2fa', 'price (USD)',
                    'e-mail', 'größe', '$set', '__v', 'xmin', 'order', '"a.b"', '""', '---']) AS p;
SELECT length(migrate_column_name(repeat('x', 100)));
SELECT migrate_column_name('a', 'camel');

-- settings
SET mongo_migrate.nonsense = 1;
SET mongo_migrate.on_error = 'ignore';
\set VERBOSITY sqlstate
SET mongo_migrate.chunk_size = '1kB';
\set VERBOSITY default
SHOW mongo_migrate.chunk_size;
RESET SESSION AUTHORIZATION;
SET mongo_migrate.max_workers = 3;
SET mongo_migrate.max_running_jobs = 1;
SET mongo_migrate.allowed_hosts = '*';
ALTER SYSTEM SET mongo_migrate.max_running_jobs = 0;
ALTER SYSTEM SET mongo_migrate.allowed_hosts = 'db1.example.net,';
ALTER SYSTEM SET mongo_migrate.allowed_hosts = 'db1.example.net:0';
ALTER SYSTEM SET mongo_migrate.allowed_hosts = '10.0.0.0/33';
ALTER SYSTEM SET mongo_migrate.allowed_hosts = 'example.net/8';
ALTER SYSTEM SET mongo_migrate.allowed_hosts = '10.1.*';
ALTER SYSTEM SET mongo_migrate.allowed_hosts = 'db1, [fd00::]/x';
ALTER SYSTEM SET mongo_migrate.autoresume = 'perhaps';
SELECT name, setting, unit, context FROM pg_settings WHERE name LIKE 'mongo\_migrate.%' ORDER BY name COLLATE "C";

-- inside the views
SELECT n, mongo_migrate.format_count(n), length(mongo_migrate.format_count(n)) <= 6 AS fits
  FROM unnest(ARRAY[0, 9999, 10000, 99949, 99950, 123456, 999499, 999500, 25800000, 50000000, 999949999,
                    1000000000, 5000000000000, 9223372036854775807]) AS n;

-- what to do about a conflict
SELECT path, column_type, bson_type, action, mongo_migrate.suggestion(path, column_type, bson_type, action, path = 'order_no')
  FROM (VALUES
    ('total', 'numeric', 'string', 'rejected'), ('total', 'bigint', 'string', 'diverted'),
    ('note', 'text', 'string', 'rejected'), ('note', NULL, 'string', 'rejected'), ('note', 'character varying(10)', 'string', 'diverted'),
    ('n', 'smallint', 'int', 'set_null'), ('n', 'integer', 'double', 'diverted'), ('n', 'bigint', 'decimal', 'diverted'),
    ('n', 'double precision', 'long', 'diverted'), ('n', 'numeric(12,2)', 'double', 'rejected'), ('n', 'real', 'double', 'diverted'),
    ('n', 'numeric', 'double', 'diverted'), ('n', 'boolean', 'int', 'diverted'),
    ('at', 'timestamp with time zone', 'date', 'diverted'), ('id', 'uuid', 'binData', 'diverted'),
    ('tags', 'text[]', 'int', 'diverted'), ('a', 'bigint', 'object', 'diverted'), ('a', 'text', 'array', 'diverted'),
    ('key', 'bigint', 'null', 'rejected'), ('order_no', 'bigint', 'null', 'rejected'), ('x', NULL, 'int', 'rejected'), ('shipTo', NULL, 'string', 'diverted'), ('x', 'bigint', 'int', 'duplicate'),
    ('note', 'text', 'string', 'altered'), ('zip', 'bigint', 'string', 'altered'), ('zip', 'code', 'string', 'altered'), ('tags', 'text[]', 'array', 'altered'),
    ('(others)', NULL, '(others)', 'diverted')) AS v (path, column_type, bson_type, action);
DROP ROLE regress_mm_owner;
