-- What CREATE EXTENSION makes, and who may use it.
\set VERBOSITY terse

SELECT split_part(migrate_version(), ',', 1) AS version;

-- Functions with their arguments and properties.
SELECT p.oid::regprocedure AS function, p.provolatile AS volatile, p.proparallel AS parallel,
       p.proisstrict AS strict, p.prosecdef AS definer
  FROM pg_proc p
  JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
  JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'mongo_migrate'
 ORDER BY p.oid::regprocedure::text COLLATE "C";

-- Views and their columns; none without a comment.
SELECT c.relname AS view, string_agg(a.attname, ' ' ORDER BY a.attnum) AS columns
  FROM pg_class c
  JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e'
  JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'mongo_migrate'
  JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
 WHERE c.relkind = 'v' AND c.relname LIKE 'migrate_%'
 GROUP BY c.relname ORDER BY c.relname COLLATE "C";

SELECT c.relname, a.attname
  FROM pg_class c
  JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
 WHERE c.relkind = 'v' AND c.relname LIKE 'migrate_%' AND col_description(c.oid, a.attnum) IS NULL;

SELECT pg_describe_object(d.classid, d.objid, 0) AS without_comment
  FROM pg_depend d
  JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'mongo_migrate'
 WHERE d.deptype = 'e' AND obj_description(d.objid, d.classid::regclass::name) IS NULL
   AND d.classid IN ('pg_proc'::regclass, 'pg_class'::regclass, 'pg_foreign_data_wrapper'::regclass, 'pg_namespace'::regclass)
   AND NOT EXISTS (SELECT FROM pg_class c WHERE d.classid = 'pg_class'::regclass AND c.oid = d.objid AND c.relkind IN ('i', 'S'));

-- migrate_progress reads the progress of CREATE INDEX by the numbers that this view has.
SELECT count(*) FROM regexp_matches(pg_get_viewdef('pg_stat_progress_create_index'::regclass),
  'param(12 AS tuples_total|13 AS tuples_done|16 AS blocks_total|17 AS blocks_done)', 'g');

-- Nobody but the owner reaches the tables; everybody may look at the views.
CREATE ROLE regress_mm_plain LOGIN;
SET ROLE regress_mm_plain;
SELECT * FROM mongo_migrate.job;
SELECT * FROM mongo_migrate.secret;
SELECT mongo_migrate.shared_job(1, 1);
SELECT count(*) FROM migrate_progress;
SELECT count(*) FROM migrate_workers;
SELECT count(*) FROM migrate_jobs;
SELECT count(*) FROM migrate_errors;
SELECT count(*) FROM migrate_conflicts;
SELECT count(*) FROM migrate_events;
SELECT count(*) FROM migrate_stat_job;
SELECT count(*) FROM migrate_stat_table;
SELECT count(*) FROM migrate_stat_worker;
RESET ROLE;

-- What a dump keeps; no secrets.
SELECT c::regclass, w.condition
  FROM pg_extension, unnest(extconfig, extcondition) AS w(c, condition)
 WHERE extname = 'mongo_migrate' ORDER BY c::regclass::text;

-- The books are a constraint.
INSERT INTO mongo_migrate.job (cluster, owner, owner_name, source, workers, options) VALUES (0, 0, 'regress_mm_plain', 'x', 1, '{"split": "auto"}');
INSERT INTO mongo_migrate.job_table (job_id, table_no, database, collection, relid, target_schema, target_table,
    if_exists, created, fresh, mapping, sink, sink_reason, docs_total, bytes_total, origin, file)
  SELECT max(job_id), 1, 'd', 'c', 0, 's', 't', 'error', true, true, '{}', 'heap', '', 10, 100, '', 0 FROM mongo_migrate.job;
INSERT INTO mongo_migrate.chunk (job_id, table_no, chunk_no, docs_read, rows_inserted)
  SELECT max(job_id), 1, 1, 3, 2 FROM mongo_migrate.job;
INSERT INTO mongo_migrate.chunk (job_id, table_no, chunk_no, docs_read, rows_inserted, docs_rejected)
  SELECT max(job_id), 1, 1, 3, 2, 1 FROM mongo_migrate.job;

-- Each role sees its own jobs only.
SET ROLE regress_mm_plain;
SELECT target, phase, progress, docs, workers, rejected FROM migrate_progress;
RESET ROLE;
CREATE ROLE regress_mm_other;
SET ROLE regress_mm_other;
SELECT count(*) FROM migrate_jobs;
SELECT migrate_cancel(1);
RESET ROLE;
GRANT pg_read_all_stats TO regress_mm_other;
SET ROLE regress_mm_other;
SELECT state, target, owner FROM migrate_jobs;
RESET ROLE;
DELETE FROM mongo_migrate.job;
DROP ROLE regress_mm_plain, regress_mm_other;

-- Fault points are in builds for tests only: elsewhere there is no switch.
DO $$
BEGIN
  CREATE FUNCTION pg_temp.mm_debug_switch(point text, action text, is_on boolean) RETURNS void
    LANGUAGE c AS 'mongo_migrate_engine', 'mm_debug_switch';
EXCEPTION WHEN undefined_function THEN
  RAISE NOTICE 'no fault points';
END $$;
