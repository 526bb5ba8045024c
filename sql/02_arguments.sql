-- Arguments that are wrong, before any server is asked.
\pset format unaligned

CREATE ROLE regress_mm_owner LOGIN;
GRANT USAGE ON FOREIGN DATA WRAPPER mongo_migrate TO regress_mm_owner;
SET SESSION AUTHORIZATION regress_mm_owner;

CREATE FUNCTION pg_temp.try(sql text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  s text; m text; d text; h text;
BEGIN
  EXECUTE sql;
  RETURN 'no error';
EXCEPTION WHEN OTHERS THEN
  GET STACKED DIAGNOSTICS s = RETURNED_SQLSTATE, m = MESSAGE_TEXT, d = PG_EXCEPTION_DETAIL, h = PG_EXCEPTION_HINT;
  RETURN s || ' ' || m || E'\nDETAIL ' || d || E'\nHINT ' || h;
END $$;

CREATE SERVER archive FOREIGN DATA WRAPPER mongo_migrate OPTIONS (uri 'mongodb://127.0.0.1:1/archive');
CREATE SERVER shop FOREIGN DATA WRAPPER mongo_migrate OPTIONS (uri 'mongodb://127.0.0.1:1/shop');

-- 1-4: connection strings and server names
SELECT pg_temp.try($$SELECT migrate_start('http://x/shop', 'orders')$$);
SELECT pg_temp.try($$SELECT migrate_start('shpo', 'orders')$$);
SELECT pg_temp.try($$SELECT migrate_start('mongodb://u:p@ss@h/shop', 'orders')$$);
SELECT pg_temp.try($$SELECT migrate_start('mongodb://h/shop?readPreferences=primary', 'orders')$$);

-- 5: options of servers and user mappings
SELECT pg_temp.try($$CREATE SERVER bad FOREIGN DATA WRAPPER mongo_migrate OPTIONS (uri 'mongodb://u:secret@h/shop')$$);
SELECT pg_temp.try($$CREATE SERVER bad FOREIGN DATA WRAPPER mongo_migrate OPTIONS (urii 'mongodb://h/shop')$$);
SELECT pg_temp.try($$CREATE USER MAPPING FOR CURRENT_USER SERVER shop OPTIONS (user 'x')$$);

-- 7: refused
CREATE USER MAPPING FOR CURRENT_USER SERVER shop;
SELECT pg_temp.try($$SELECT migrate_start('shop', 'orders')$$);
SELECT pg_temp.try($$SELECT migrate_start('mongodb://127.0.0.1:1/shop', 'orders')$$);

-- 11, 16: rights
RESET SESSION AUTHORIZATION;
CREATE ROLE regress_mm_bob LOGIN;
SET ROLE regress_mm_bob;
SELECT pg_temp.try($$SELECT migrate_start('shop', 'orders')$$);
SELECT pg_temp.try($$SELECT migrate_start('mongodb://127.0.0.1:1/shop', 'orders')$$);
RESET ROLE;
GRANT USAGE ON FOREIGN SERVER shop TO regress_mm_bob;
SET ROLE regress_mm_bob;
SELECT pg_temp.try($$SELECT migrate_start('shop', 'orders')$$);
RESET ROLE;
SET SESSION AUTHORIZATION regress_mm_owner;

-- 26: options
SELECT pg_temp.try($$SELECT migrate_start('shop', 'orders', options => '{"chunksize": "1MB"}')$$);
SELECT pg_temp.try($$SELECT migrate_start('shop', 'orders', options => '{"chunk_size": "1kB"}')$$);
SELECT pg_temp.try($$SELECT migrate_start('shop', 'orders', options => '{"chunk_size": null}')$$);
SELECT pg_temp.try($$SELECT migrate_start('shop', 'orders', options => '{"label": [1]}')$$);
SELECT pg_temp.try($$SELECT migrate_start('shop', 'orders', options => '[]')$$);
SELECT pg_temp.try($$SELECT migrate_start('shop', 'orders', options => '{"split": "record"}', workers => 0)$$);
SELECT pg_temp.try($$SELECT migrate_start('shop', 'orders', options => '{"split": "halves"}')$$);
SELECT pg_temp.try($$SELECT migrate_start('shop', 'orders', options => '{"naming": "camel"}')$$);
SELECT pg_temp.try($$SELECT migrate_start('shop', 'orders', options => '{"sample_size": -1}')$$);
SELECT pg_temp.try($$SELECT migrate_start('shop', 'orders', options => '{"priority": "high"}')$$);
SELECT pg_temp.try($$SELECT migrate_start('shop', 'orders', options => '{"priority": 3000000000}')$$);
SELECT pg_temp.try($$SELECT migrate_start('shop', 'orders', options => '{"notify": true}')$$);
SELECT pg_temp.try($$SELECT migrate_start('shop', 'orders', options => '{"verify": "full"}')$$);

-- other arguments
SELECT pg_temp.try($$SELECT migrate_start('shop', NULL)$$);
SELECT pg_temp.try($$SELECT migrate_start('shop', 'orders', if_exists => 'overwrite')$$);
SELECT pg_temp.try($$SELECT migrate_start('shop', 'orders', on_error => 'ignore')$$);
SELECT pg_temp.try($$SELECT migrate_start('shop', 'orders', workers => 0)$$);
SELECT pg_temp.try($$SELECT migrate_start('shop', 'orders', mapping => '{}')$$);
SELECT pg_temp.try($$SELECT migrate_start('shop', 'orders', mapping => '{"format": 1, "fields": [{"path": "_id", "column": "_id", "type": "text"}]}', options => '{"label": "x", "layout": "document"}')$$);
SELECT pg_temp.try($$SELECT migrate_start('shop', 'orders', follow => true)$$);
SELECT pg_temp.try($$SELECT migrate_start('shop', 'orders', filter => '[1]')$$);
-- libbson 2 knows one more form
SELECT replace(pg_temp.try($$SELECT migrate_start('shop', 'orders', filter => '{"a": {"$date": "yesterday"}}')$$),
	' or like "+05:00"', '') AS try;

-- jobs that do not exist
SELECT pg_temp.try($$SELECT migrate_wait()$$);
SELECT pg_temp.try($$SELECT migrate_pause(4711)$$);
SELECT pg_temp.try($$SELECT migrate_resume(4711)$$);
SELECT pg_temp.try($$SELECT migrate_cancel(4711)$$);
SELECT pg_temp.try($$SELECT migrate_retry(4711)$$);
SELECT pg_temp.try($$SELECT migrate_alter(4711, workers => 2)$$);
SELECT pg_temp.try($$SELECT migrate_replay(4711)$$);
SELECT pg_temp.try($$SELECT migrate_discard(ARRAY[4711])$$);
SELECT migrate_forget(4711), migrate_forget(NULL);
SELECT pg_temp.try($$SELECT * FROM migrate_summary(4711)$$);
SELECT pg_temp.try($$SELECT migrate_mapping(4711)$$);

-- jobs in a state that does not allow it, and what else may be wrong
RESET SESSION AUTHORIZATION;
INSERT INTO mongo_migrate.job (job_id, cluster, owner, owner_name, source, workers, options, state) OVERRIDING SYSTEM VALUE
  SELECT 9000 + i, 0, 0, 'regress_mm_owner', 'shop', 1, '{"split": "auto"}', s
    FROM unnest(ARRAY['completed', 'failed', 'paused', 'canceling']) WITH ORDINALITY AS u (s, i);
SET SESSION AUTHORIZATION regress_mm_owner;
SELECT pg_temp.try($$SELECT migrate_resume(9002)$$);
SELECT pg_temp.try($$SELECT migrate_retry(9001)$$);
SELECT pg_temp.try($$SELECT migrate_retry(9003)$$);
SELECT pg_temp.try($$SELECT migrate_forget(9003)$$);
SELECT pg_temp.try($$SELECT migrate_alter(9001, workers => 2)$$);
SELECT pg_temp.try($$SELECT migrate_alter(9004, workers => 2)$$);
SELECT pg_temp.try($$SELECT migrate_replay(9004)$$);
SELECT pg_temp.try($$SELECT migrate_alter(9003, workers => 1001)$$);
SELECT pg_temp.try($$SELECT migrate_alter(9003, max_docs_per_second => -1)$$);
SELECT pg_temp.try($$SELECT migrate_alter(9003, reject_limit => -2)$$);
SELECT pg_temp.try($$SELECT migrate_alter(9003, on_error => 'skip')$$);
SELECT pg_temp.try($$SELECT migrate_replay(9001, error_ids => '{4711}')$$);
SELECT pg_temp.try($$SELECT migrate_replay(9001, options => '{"invalid_txt": "strip"}')$$);
SELECT pg_temp.try($$SELECT migrate_replay(9001, options => '{"workers": 3}')$$);
SELECT pg_temp.try($$SELECT migrate_replay(9001, options => '{"invalid_text": "drop"}')$$);
SELECT pg_temp.try($$SELECT migrate_replay(9001, mapping => '{"fields": 1}')$$);
SELECT pg_temp.try($$SELECT migrate_discard(NULL)$$);
SELECT pg_temp.try($$SELECT migrate_peek('shop', NULL)$$);
SELECT pg_temp.try($$SELECT migrate_peek('shop', 'orders', n => 0)$$);
SELECT pg_temp.try($$SELECT migrate_peek('shop', 'orders', filter => '[]')$$);

-- what is altered is kept, null leaves it as it is; events tell
SELECT migrate_alter(9003, workers => 3, max_docs_per_second => 1000);
SELECT migrate_alter(9003, reject_limit => -1);
SELECT migrate_alter(9003);
RESET SESSION AUTHORIZATION;
SELECT workers, options FROM mongo_migrate.job WHERE state = 'paused';
SET SESSION AUTHORIZATION regress_mm_owner;
SELECT message FROM migrate_events ORDER BY event_id;
SELECT * FROM migrate_replay(9001);
SELECT migrate_forget(9002);
RESET SESSION AUTHORIZATION;
DELETE FROM mongo_migrate.job;
SET SESSION AUTHORIZATION regress_mm_owner;

-- a failed connection is a row of ping, not an error
SELECT item, status, detail FROM migrate_ping('shop') WHERE item = 'connect';

-- a superuser is told why, which says what listens where
RESET SESSION AUTHORIZATION;
SELECT pg_temp.try($$SELECT migrate_start('mongodb://127.0.0.1:1/shop', 'orders')$$);
SET SESSION AUTHORIZATION regress_mm_owner;

SET client_min_messages = warning;
DROP SERVER archive, shop CASCADE;
RESET SESSION AUTHORIZATION;
DROP OWNED BY regress_mm_owner, regress_mm_bob;
DROP ROLE regress_mm_owner, regress_mm_bob;
SELECT count(*) AS jobs FROM migrate_jobs;
