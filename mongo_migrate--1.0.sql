/* mongo_migrate--1.0.sql */

-- complain if script is sourced in psql, rather than via CREATE EXTENSION
\echo Use "CREATE EXTENSION mongo_migrate" to load this file. \quit

-- An operator or function of somebody else, in the schema of the extension,
-- that fits better than that of pg_catalog would become a part of the views.
SET LOCAL search_path TO pg_catalog, pg_temp;

--
-- Tables live in schema mongo_migrate, which nobody but the extension's owner
-- may use.  Functions and views live in the schema of CREATE EXTENSION; the
-- views run with the rights of their owner and show each role its own jobs.
--

CREATE SCHEMA mongo_migrate;
COMMENT ON SCHEMA mongo_migrate IS 'state of mongo_migrate; use the migrate_* functions and views';

-- ---------------------------------------------------------------------------
-- Types
-- ---------------------------------------------------------------------------

CREATE TYPE @extschema@.migrate_state AS ENUM
  ('queued', 'running', 'pausing', 'paused', 'canceling', 'canceled', 'completed', 'failed');
COMMENT ON TYPE @extschema@.migrate_state IS 'state of a migration job';

-- ---------------------------------------------------------------------------
-- Tables
-- ---------------------------------------------------------------------------

CREATE TABLE mongo_migrate.job (
  job_id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  label         text,
  cluster       bigint NOT NULL,      -- its system identifier
  owner         oid NOT NULL,         -- role whose rights the job uses, in that cluster
  owner_name    name NOT NULL,        -- its name, which tells elsewhere (job_owner)
  source        text NOT NULL,        -- server name, or connection string without its password
  state         text NOT NULL DEFAULT 'queued'
                CHECK (state IN ('queued', 'running', 'pausing', 'paused', 'canceling', 'canceled', 'completed', 'failed')),
  workers       integer NOT NULL CHECK (workers > 0),
  drop_target   boolean NOT NULL DEFAULT false,
  options       jsonb NOT NULL,       -- what the workers obey, fixed at the start but for migrate_alter
  generation    integer NOT NULL DEFAULT 0,
  at_work       boolean NOT NULL DEFAULT false,  -- a coordinator is, or did not end in order
  crashes       integer NOT NULL DEFAULT 0,      -- of it in this phase; of copying the chunks know
  shared_handle bigint,               -- shared memory of the running coordinator, for display
  requested_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
  started_at    timestamptz,
  finished_at   timestamptz,
  sqlstate      text,
  message       text,
  detail        text,
  hint          text,
  context       text
);
COMMENT ON TABLE mongo_migrate.job IS 'one row for each call of migrate_start';
CREATE INDEX job_active_idx ON mongo_migrate.job (state)
  WHERE state NOT IN ('completed', 'failed', 'canceled');

CREATE TABLE mongo_migrate.job_table (
  job_id        bigint NOT NULL REFERENCES mongo_migrate.job ON DELETE CASCADE,
  table_no      integer NOT NULL,
  database      text NOT NULL,
  collection    text NOT NULL,
  filter        json,
  relid         oid NOT NULL,         -- no regclass: a dump would name another table by it
  origin        text NOT NULL,        -- cluster, database and extension with which relid means something
  file          oid NOT NULL,         -- of the table: with another one its rows are counted, as after a TRUNCATE
  target_schema name NOT NULL,
  target_table  name NOT NULL,
  if_exists     text NOT NULL CHECK (if_exists IN ('error', 'append', 'truncate', 'replace')),
  created       boolean NOT NULL,     -- by this job
  fresh         boolean NOT NULL,     -- held no rows when the job began
  mapping       jsonb NOT NULL,
  phase         text NOT NULL DEFAULT 'planning'
                CHECK (phase IN ('planning', 'copying', 'indexing', 'analyzing', 'following', 'cutover', 'verifying')),
  split         text,
  split_reason  text,
  split_pin     bytea,                -- BSON, opaque to all but the source: collection and server that the chunks hold for
  split_lost    text,                 -- why the chunks are void: the copy begins again from empty
  restarts      integer NOT NULL DEFAULT 0,  -- how often it did
  sink          text NOT NULL,
  sink_reason   text NOT NULL,
  docs_total    bigint NOT NULL,      -- estimate
  bytes_total   bigint NOT NULL,      -- estimate
  rejects_told  boolean NOT NULL DEFAULT false,  -- that many are rejected, which is said once
  verify_count  bigint,               -- documents in the source when verified
  verify_rows   bigint,               -- rows in the target then
  PRIMARY KEY (job_id, table_no)
);
COMMENT ON TABLE mongo_migrate.job_table IS 'one collection going into one table';
CREATE INDEX job_table_relid_idx ON mongo_migrate.job_table (relid);

CREATE TABLE mongo_migrate.table_phase (
  job_id        bigint NOT NULL,
  table_no      integer NOT NULL,
  phase         text NOT NULL,
  started_at    timestamptz,          -- of the part that goes on; null: not going on
  spent         interval NOT NULL DEFAULT '0',
  PRIMARY KEY (job_id, table_no, phase),
  FOREIGN KEY (job_id, table_no) REFERENCES mongo_migrate.job_table ON DELETE CASCADE
);
COMMENT ON TABLE mongo_migrate.table_phase IS 'time spent in each phase of a table while a coordinator was at work';

CREATE TABLE mongo_migrate.chunk (
  job_id           bigint NOT NULL,
  table_no         integer NOT NULL,
  chunk_no         integer NOT NULL,
  lower_bound      bytea,             -- BSON, opaque to all but the source; null: open
  upper_bound      bytea,
  "position"       bytea,             -- BSON: what is committed; null: nothing, or all
  state            text NOT NULL DEFAULT 'pending'
                   CHECK (state IN ('pending', 'running', 'done', 'failed')),
  attempts         integer NOT NULL DEFAULT 0,  -- also the fence: only the latest attempt may commit
  attempts_excused integer NOT NULL DEFAULT 0,  -- of these, the ones that do not count against max_attempts
  docs_read        bigint NOT NULL DEFAULT 0,
  rows_inserted    bigint NOT NULL DEFAULT 0,
  rows_updated     bigint NOT NULL DEFAULT 0,
  docs_rejected    bigint NOT NULL DEFAULT 0,
  docs_filtered    bigint NOT NULL DEFAULT 0,
  values_diverted  bigint NOT NULL DEFAULT 0,
  bytes_read       bigint NOT NULL DEFAULT 0,
  field_values     bigint[],          -- for all paths without a field, then each field of the mapping: values by
                                      -- what became of them (seven figures, see field_stat); null: none counted
  sqlstate         text,              -- of the last attempt, when it failed
  message          text,
  detail           text,
  hint             text,
  context          text,
  PRIMARY KEY (job_id, table_no, chunk_no),
  FOREIGN KEY (job_id, table_no) REFERENCES mongo_migrate.job_table ON DELETE CASCADE,
  CONSTRAINT chunk_books_close CHECK (docs_read = rows_inserted + rows_updated + docs_rejected + docs_filtered)
) WITH (fillfactor = 50);
COMMENT ON TABLE mongo_migrate.chunk IS 'a range of a collection: what a loader claims';

CREATE TABLE mongo_migrate.dead_letter (
  error_id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  job_id        bigint NOT NULL,
  table_no      integer NOT NULL,
  chunk_no      integer NOT NULL,
  stage         text NOT NULL CHECK (stage IN ('parse', 'convert', 'insert')),
  source_id     text NOT NULL,
  path          text,
  bson_type     text,
  column_name   text,
  column_type   text,
  sqlstate      text NOT NULL,
  message       text NOT NULL,
  detail        text,
  raw           bytea NOT NULL,       -- the document, byte by byte
  occurred_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
  status        text NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'replayed', 'discarded')),
  attempts      integer NOT NULL DEFAULT 1,
  reason        text,                 -- why it was discarded
  FOREIGN KEY (job_id, table_no) REFERENCES mongo_migrate.job_table ON DELETE CASCADE
);
COMMENT ON TABLE mongo_migrate.dead_letter IS 'documents that could not be stored';
CREATE INDEX dead_letter_job_idx ON mongo_migrate.dead_letter (job_id, table_no);

CREATE TABLE mongo_migrate.conflict (
  job_id        bigint NOT NULL,
  table_no      integer NOT NULL,
  chunk_no      integer NOT NULL,     -- each loader writes the lines of its own chunk: no contention
  path          text NOT NULL,
  column_name   text,
  column_type   text,
  bson_type     text NOT NULL,
  action        text NOT NULL
                CHECK (action IN ('diverted', 'rejected', 'set_null', 'set_default', 'altered', 'duplicate')),
  documents     bigint NOT NULL CHECK (documents > 0),
  first_id      text NOT NULL,        -- canonical Extended JSON
  FOREIGN KEY (job_id, table_no, chunk_no) REFERENCES mongo_migrate.chunk ON DELETE CASCADE
);
COMMENT ON TABLE mongo_migrate.conflict IS 'values that needed a decision: documents of each chunk by path, types and what was done';
-- With a publication FOR ALL TABLES nothing could be updated or deleted without.
ALTER TABLE mongo_migrate.conflict REPLICA IDENTITY FULL;
-- Not unique: paths have no upper limit, and only the holder of the chunk's lock writes its lines.
CREATE INDEX conflict_chunk_idx ON mongo_migrate.conflict (job_id, table_no, chunk_no);

CREATE TABLE mongo_migrate.event (
  event_id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  job_id        bigint NOT NULL REFERENCES mongo_migrate.job ON DELETE CASCADE,
  at            timestamptz NOT NULL DEFAULT clock_timestamp(),
  severity      text NOT NULL CHECK (severity IN ('info', 'warning', 'error')),
  phase         text,
  message       text NOT NULL,
  detail        text
);
COMMENT ON TABLE mongo_migrate.event IS 'what happened to a job, in order';
CREATE INDEX event_job_idx ON mongo_migrate.event (job_id);

CREATE TABLE mongo_migrate.secret (
  job_id        bigint PRIMARY KEY REFERENCES mongo_migrate.job ON DELETE CASCADE,
  uri           text NOT NULL
);
COMMENT ON TABLE mongo_migrate.secret IS 'connection strings with a password, until their job is completed, canceled or forgotten; never dumped';
-- pg_read_all_data may not read it: there is no policy; nor find it in statistics, or apart from the table.
ALTER TABLE mongo_migrate.secret ENABLE ROW LEVEL SECURITY;
ALTER TABLE mongo_migrate.secret ALTER uri SET STATISTICS 0, ALTER uri SET STORAGE PLAIN;

-- pg_write_all_data may not write to any of them, in no session_replication_role; nor may a subscription of its members.
CREATE FUNCTION mongo_migrate.guard_table() RETURNS trigger
  LANGUAGE c PARALLEL SAFE AS 'MODULE_PATHNAME', 'mongo_migrate_guard_table';
COMMENT ON FUNCTION mongo_migrate.guard_table() IS 'keeps all but the owner of a table from writing to it';

DO $$
DECLARE
  t text;
BEGIN
  FOREACH t IN ARRAY '{job,job_table,table_phase,chunk,dead_letter,conflict,event,secret}'::text[] LOOP
    EXECUTE format('CREATE TRIGGER guard BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON mongo_migrate.%I'
                   ' EXECUTE FUNCTION mongo_migrate.guard_table()', t);
    EXECUTE format('ALTER TABLE mongo_migrate.%I ENABLE ALWAYS TRIGGER guard', t);
  END LOOP;
  -- These say as whom workers run, and a subscription knows rows only.
  FOREACH t IN ARRAY '{job,job_table}'::text[] LOOP
    EXECUTE format('CREATE TRIGGER guard_row BEFORE INSERT OR UPDATE OR DELETE ON mongo_migrate.%I FOR EACH ROW'
                   ' EXECUTE FUNCTION mongo_migrate.guard_table()', t);
    EXECUTE format('ALTER TABLE mongo_migrate.%I ENABLE ALWAYS TRIGGER guard_row', t);
  END LOOP;
END $$;

-- ---------------------------------------------------------------------------
-- Foreign-data wrapper: connections and secrets
-- ---------------------------------------------------------------------------

CREATE FUNCTION mongo_migrate.fdw_validator(options text[], catalog oid) RETURNS void
  LANGUAGE c STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'mongo_migrate_fdw_validator';
COMMENT ON FUNCTION mongo_migrate.fdw_validator(text[], oid) IS 'checks the options of servers and user mappings';

CREATE FOREIGN DATA WRAPPER mongo_migrate VALIDATOR mongo_migrate.fdw_validator;
COMMENT ON FOREIGN DATA WRAPPER mongo_migrate IS 'connections to MongoDB for mongo_migrate';

-- ---------------------------------------------------------------------------
-- Functions of the views; their schema keeps others from calling them
-- ---------------------------------------------------------------------------

CREATE FUNCTION mongo_migrate.shared_job(job_id bigint, handle bigint,
    OUT docs_read bigint, OUT rows_inserted bigint, OUT rows_updated bigint, OUT docs_rejected bigint,
    OUT docs_filtered bigint, OUT values_diverted bigint, OUT bytes_read bigint,
    OUT rate double precision, OUT workers integer, OUT coordinator_pid integer, OUT updated_at timestamptz)
  RETURNS record
  LANGUAGE c VOLATILE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'mongo_migrate_shared_job';
COMMENT ON FUNCTION mongo_migrate.shared_job(bigint, bigint) IS 'counters of a running job; nulls when it does not run';

CREATE FUNCTION mongo_migrate.shared_workers(job_id bigint, handle bigint,
    OUT worker integer, OUT pid integer, OUT chunk_no integer, OUT attempts integer,
    OUT docs_read bigint, OUT rows_inserted bigint, OUT rows_updated bigint, OUT docs_rejected bigint,
    OUT docs_filtered bigint, OUT values_diverted bigint, OUT bytes_read bigint,
    OUT rate double precision, OUT last_id text, OUT started_at timestamptz, OUT updated_at timestamptz)
  RETURNS SETOF record ROWS 8
  LANGUAGE c VOLATILE STRICT PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'mongo_migrate_shared_workers';
COMMENT ON FUNCTION mongo_migrate.shared_workers(bigint, bigint) IS 'counters of the loaders of a running job';

CREATE FUNCTION mongo_migrate.format_count(count bigint) RETURNS text
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'mongo_migrate_format_count';
COMMENT ON FUNCTION mongo_migrate.format_count(bigint) IS 'a count in at most six characters: 9999, 25.8M';

CREATE FUNCTION mongo_migrate.bson_document(bson bytea) RETURNS json
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'mongo_migrate_bson_document';
COMMENT ON FUNCTION mongo_migrate.bson_document(bytea) IS 'relaxed Extended JSON of a document; null if it is none';

CREATE FUNCTION mongo_migrate.job_owner(cluster bigint, owner oid, owner_name name) RETURNS oid
  LANGUAGE c STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'mongo_migrate_job_owner';
COMMENT ON FUNCTION mongo_migrate.job_owner(bigint, oid, name) IS 'role that a job belongs to; 0: none of this cluster';

CREATE FUNCTION mongo_migrate.suggestion(path text, column_type text, bson_type text, action text, in_key boolean)
  RETURNS text
  LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'mongo_migrate_suggestion';
COMMENT ON FUNCTION mongo_migrate.suggestion(text, text, text, text, boolean) IS 'a change that would keep the values of a conflict';

-- ---------------------------------------------------------------------------
-- Functions: look
-- ---------------------------------------------------------------------------

CREATE FUNCTION @extschema@.migrate_ping(source text)
  RETURNS TABLE (item text, status text, detail text)
  LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION @extschema@.migrate_ping(text) IS 'checks connection, server, privileges and workers; a failed item is a row';

CREATE FUNCTION @extschema@.migrate_list_collections(source text, database text DEFAULT NULL, pattern text DEFAULT '*')
  RETURNS TABLE (namespace text, kind text, documents bigint, data_bytes bigint, average_bytes integer,
                 indexes integer, sharded boolean)
  LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION @extschema@.migrate_list_collections(text, text, text) IS 'collections of a database, with estimates of their size';

CREATE FUNCTION @extschema@.migrate_peek(source text, collection text, n integer DEFAULT 5, filter json DEFAULT NULL)
  RETURNS SETOF jsonb
  LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION @extschema@.migrate_peek(text, text, integer, json) IS 'n random documents in relaxed Extended JSON';

CREATE FUNCTION @extschema@.migrate_infer_schema(source text, collection text, sample_size integer DEFAULT NULL,
    options jsonb DEFAULT '{}')
  RETURNS TABLE (path text, present numeric, bson_types text, column_name name, column_type text, nullable boolean,
                 note text)
  LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION @extschema@.migrate_infer_schema(text, text, integer, jsonb) IS 'what the documents hold, and the columns that follow from it';

CREATE FUNCTION @extschema@.migrate_infer_mapping(source text, collection text, target text DEFAULT NULL,
    options jsonb DEFAULT '{}')
  RETURNS jsonb
  LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION @extschema@.migrate_infer_mapping(text, text, text, jsonb) IS 'the contract that follows from the documents, to be reviewed and changed';

CREATE FUNCTION @extschema@.migrate_plan(source text, collection text, target text DEFAULT NULL,
    mapping jsonb DEFAULT NULL, filter json DEFAULT NULL, if_exists text DEFAULT 'error', workers integer DEFAULT NULL,
    options jsonb DEFAULT '{}')
  RETURNS TABLE (step integer, action text, object text, detail text)
  LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION @extschema@.migrate_plan(text, text, text, jsonb, json, text, integer, jsonb)
  IS 'what migrate_start would do, step by step; nothing is written';

CREATE FUNCTION @extschema@.migrate_ddl(source text, collection text, target text DEFAULT NULL,
    mapping jsonb DEFAULT NULL, options jsonb DEFAULT '{}')
  RETURNS SETOF text
  LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION @extschema@.migrate_ddl(text, text, text, jsonb, jsonb)
  IS 'the statements that make the target, one per row, for a review or \gexec; nothing is written';

-- ---------------------------------------------------------------------------
-- Functions: run
-- ---------------------------------------------------------------------------

CREATE FUNCTION @extschema@.migrate_start(source text, collection text, target text DEFAULT NULL,
    mapping jsonb DEFAULT NULL, filter json DEFAULT NULL, if_exists text DEFAULT 'error', on_error text DEFAULT NULL,
    workers integer DEFAULT NULL, follow boolean DEFAULT false, options jsonb DEFAULT '{}')
  RETURNS bigint
  LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION @extschema@.migrate_start(text, text, text, jsonb, json, text, text, integer, boolean, jsonb)
  IS 'starts a migration job and returns its id; it begins when the transaction commits';

CREATE FUNCTION @extschema@.migrate_wait(job_id bigint DEFAULT NULL, timeout interval DEFAULT NULL,
    report_every interval DEFAULT '10 s')
  RETURNS @extschema@.migrate_state
  LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION @extschema@.migrate_wait(bigint, interval, interval) IS 'waits for a job; raises its error if it failed; null when the time is up';

-- The first COMMIT fails in a transaction block, before anything is done.
CREATE PROCEDURE @extschema@.migrate_run(source text, collection text, target text DEFAULT NULL,
    mapping jsonb DEFAULT NULL, filter json DEFAULT NULL, if_exists text DEFAULT 'error', on_error text DEFAULT NULL,
    workers integer DEFAULT NULL, options jsonb DEFAULT '{}', INOUT job_id bigint DEFAULT NULL)
  LANGUAGE plpgsql AS $$
DECLARE
  state text;
BEGIN
  COMMIT;
  job_id := @extschema@.migrate_start(source, collection, target, mapping, filter, if_exists, on_error, workers,
                                      false, options);
  COMMIT;
  LOOP
    -- All arguments, of these very types: no other function can be meant.
    state := @extschema@.migrate_wait(job_id, '1 min'::pg_catalog.interval, '10 s'::pg_catalog.interval);
    EXIT WHEN state IS NOT NULL;
    COMMIT;   -- lets go of the snapshot, which would keep VACUUM from all that is dead since
  END LOOP;
  IF state OPERATOR(pg_catalog.<>) 'completed' THEN
    RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state',
      MESSAGE = pg_catalog.format('migration job %s is %s', job_id, state);
  END IF;
END
$$;
COMMENT ON PROCEDURE @extschema@.migrate_run(text, text, text, jsonb, json, text, text, integer, jsonb, bigint)
  IS 'starts a migration job, commits and waits; raises unless it was completed';

CREATE FUNCTION @extschema@.migrate_pause(job_id bigint DEFAULT NULL) RETURNS @extschema@.migrate_state
  LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION @extschema@.migrate_pause(bigint) IS 'stops a job at its last checkpoints, to be resumed';

CREATE FUNCTION @extschema@.migrate_resume(job_id bigint DEFAULT NULL) RETURNS @extschema@.migrate_state
  LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION @extschema@.migrate_resume(bigint) IS 'goes on with a paused job, or one whose coordinator a restart took away';

CREATE FUNCTION @extschema@.migrate_retry(job_id bigint DEFAULT NULL) RETURNS @extschema@.migrate_state
  LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION @extschema@.migrate_retry(bigint) IS 'goes on with a failed job where it failed: failed chunks again, done ones not';

CREATE FUNCTION @extschema@.migrate_cancel(job_id bigint DEFAULT NULL, drop_target boolean DEFAULT false)
  RETURNS @extschema@.migrate_state
  LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION @extschema@.migrate_cancel(bigint, boolean) IS 'ends a job; drop_target removes the table if this job created it';

CREATE FUNCTION @extschema@.migrate_forget(job_id bigint) RETURNS boolean
  LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION @extschema@.migrate_forget(bigint) IS 'removes a job that has ended from the history, with its dead letters; never a table';

CREATE FUNCTION @extschema@.migrate_alter(job_id bigint, workers integer DEFAULT NULL,
    max_docs_per_second integer DEFAULT NULL, on_error text DEFAULT NULL, reject_limit bigint DEFAULT NULL)
  RETURNS void
  LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION @extschema@.migrate_alter(bigint, integer, integer, text, bigint)
  IS 'changes a job, also while it runs; max_docs_per_second 0 and reject_limit -1 lift the limit';

-- ---------------------------------------------------------------------------
-- Functions: dead letters
-- ---------------------------------------------------------------------------

CREATE FUNCTION @extschema@.migrate_replay(job_id bigint DEFAULT NULL, error_ids bigint[] DEFAULT NULL,
    mapping jsonb DEFAULT NULL, options jsonb DEFAULT '{}', OUT replayed bigint, OUT still_failing bigint)
  LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION @extschema@.migrate_replay(bigint, bigint[], jsonb, jsonb)
  IS 'tries pending dead letters again, under the mapping of the job or another one; option: invalid_text';

CREATE FUNCTION @extschema@.migrate_discard(error_ids bigint[], reason text DEFAULT NULL) RETURNS bigint
  LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION @extschema@.migrate_discard(bigint[], text) IS 'gives pending dead letters up; returns how many';

-- ---------------------------------------------------------------------------
-- Functions: report and helpers
-- ---------------------------------------------------------------------------

CREATE FUNCTION @extschema@.migrate_summary(job_id bigint DEFAULT NULL)
  RETURNS TABLE (step text, object text, documents bigint, rows bigint, rejected bigint, read text, duration interval,
                 rate text)
  LANGUAGE c STABLE PARALLEL RESTRICTED AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION @extschema@.migrate_summary(bigint) IS 'what a job did, step by step';

CREATE FUNCTION @extschema@.migrate_mapping(job_id bigint DEFAULT NULL, target text DEFAULT NULL) RETURNS jsonb
  LANGUAGE c STABLE PARALLEL RESTRICTED AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION @extschema@.migrate_mapping(bigint, text) IS 'the contract that a job used';

CREATE FUNCTION @extschema@.migrate_column_name(path text, style text DEFAULT 'snake_case') RETURNS name
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION @extschema@.migrate_column_name(text, text) IS 'the column name for a path';

CREATE FUNCTION @extschema@.migrate_objectid_time(object_id text) RETURNS timestamptz
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION @extschema@.migrate_objectid_time(text) IS 'the time, to the second, in an ObjectId of 24 hex digits';

CREATE FUNCTION @extschema@.migrate_progress_bar(fraction double precision, width integer DEFAULT 20) RETURNS text
  LANGUAGE c STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION @extschema@.migrate_progress_bar(double precision, integer) IS 'a bar of width cells; its style follows mongo_migrate.progress_style';

CREATE FUNCTION @extschema@.migrate_version() RETURNS text
  LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION @extschema@.migrate_version() IS 'versions of mongo_migrate and of the MongoDB driver';

-- ---------------------------------------------------------------------------
-- Views.  Barriers: conditions of users must not see rows before the filter by role has.
-- ---------------------------------------------------------------------------

-- Jobs that the current user may see: own ones, or all with pg_read_all_stats.
CREATE VIEW mongo_migrate.visible_job AS
  SELECT j.*, pg_has_role(mongo_migrate.job_owner(j.cluster, j.owner, j.owner_name), 'USAGE') AS own
    FROM mongo_migrate.job j
   WHERE pg_has_role(mongo_migrate.job_owner(j.cluster, j.owner, j.owner_name), 'USAGE')
      OR pg_has_role('pg_read_all_stats', 'USAGE');
COMMENT ON VIEW mongo_migrate.visible_job IS 'jobs that the current user may see';

-- The processes that see to a job, and those whose job runs, by the locks that they hold (worker.h).
CREATE VIEW mongo_migrate.coordinator AS
  SELECT l.objid::bigint AS job_id, l.pid
    FROM pg_locks l
   WHERE l.locktype = 'advisory' AND l.objsubid = 3 AND l.granted
     AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())
     AND l.classid = (SELECT e.oid FROM pg_extension e WHERE e.extname = 'mongo_migrate');
COMMENT ON VIEW mongo_migrate.coordinator IS 'coordinators of this database; job_id: its lower 32 bits';

CREATE VIEW mongo_migrate.running_coordinator AS
  SELECT l.pid
    FROM pg_locks l
   WHERE l.locktype = 'advisory' AND l.objsubid = 6 AND l.granted AND l.database = 0 AND l.classid = 1835887202;
COMMENT ON VIEW mongo_migrate.running_coordinator IS 'coordinators of the cluster whose job runs';

-- Counters of each table: shared memory while the job runs, else the books.  FROM is a list here and in migrate_progress: each
-- JOIN would add all columns on both sides to what the planner copies at each step, and these are planned more than they run.
CREATE VIEW mongo_migrate.table_stat AS
  SELECT j.job_id, t.table_no, j.state, j.owner, j.own, t.target_schema, t.target_table, t.phase, t.docs_total,
         COALESCE(s.docs_read, c.docs_read) AS docs_done,
         COALESCE(s.rows_inserted, c.rows_inserted) AS rows_inserted,
         COALESCE(s.rows_updated, c.rows_updated) AS rows_updated,
         0::bigint AS rows_deleted,
         COALESCE(s.docs_rejected, c.docs_rejected) AS docs_rejected,
         COALESCE(s.docs_filtered, c.docs_filtered) AS docs_filtered,
         COALESCE(s.values_diverted, c.values_diverted) AS values_diverted,
         t.bytes_total,
         COALESCE(s.bytes_read, c.bytes_read) AS bytes_done,
         c.chunks_total, c.chunks_done,
         (t.created AND COALESCE(t.mapping #> '{target,primary_key}', '[]') <> '[]')::integer::bigint AS indexes_total,
         (t.created AND COALESCE(t.mapping #> '{target,primary_key}', '[]') <> '[]'
           AND (t.phase IN ('analyzing', 'verifying') OR j.state = 'completed'))::integer::bigint AS indexes_done,
         extract(epoch FROM COALESCE(j.finished_at, clock_timestamp()) - j.started_at)::double precision AS elapsed_seconds,
         COALESCE(s.workers, 0) AS workers_active, s.rate, s.coordinator_pid,
         j.started_at, COALESCE(s.updated_at, j.finished_at) AS updated_at, j.finished_at
    FROM mongo_migrate.visible_job j, mongo_migrate.job_table t, mongo_migrate.shared_job(j.job_id, j.shared_handle) s,
    LATERAL (
      SELECT count(*) AS chunks_total, count(*) FILTER (WHERE c.state = 'done') AS chunks_done,
             COALESCE(sum(c.docs_read), 0)::bigint AS docs_read,
             COALESCE(sum(c.rows_inserted), 0)::bigint AS rows_inserted,
             COALESCE(sum(c.rows_updated), 0)::bigint AS rows_updated,
             COALESCE(sum(c.docs_rejected), 0)::bigint AS docs_rejected,
             COALESCE(sum(c.docs_filtered), 0)::bigint AS docs_filtered,
             COALESCE(sum(c.values_diverted), 0)::bigint AS values_diverted,
             COALESCE(sum(c.bytes_read), 0)::bigint AS bytes_read
        FROM mongo_migrate.chunk c
       WHERE c.job_id = t.job_id AND c.table_no = t.table_no) c
   WHERE t.job_id = j.job_id;
COMMENT ON VIEW mongo_migrate.table_stat IS 'counters of each table';

-- What became of the values of each field.  The seven figures of a field are in the order of MmFate.
CREATE VIEW mongo_migrate.field_stat AS
  SELECT f.job_id, f.table_no, f.field_no,
         CASE WHEN f.field_no = 0 THEN '(others)'
              ELSE COALESCE(t.mapping #>> ARRAY['fields', (f.field_no - 1)::text, 'path'],
                            t.mapping #>> ARRAY['fields', (f.field_no - 1)::text, 'column']) END AS path,
         f.exact, f.widened, f.diverted, f.set_null, f.set_default, f.ignored, f.altered
    FROM (SELECT c.job_id, c.table_no, ((v.i - 1) / 7)::integer AS field_no,
                 COALESCE(sum(v.n) FILTER (WHERE v.i % 7 = 1), 0)::bigint AS exact,
                 COALESCE(sum(v.n) FILTER (WHERE v.i % 7 = 2), 0)::bigint AS widened,
                 COALESCE(sum(v.n) FILTER (WHERE v.i % 7 = 3), 0)::bigint AS diverted,
                 COALESCE(sum(v.n) FILTER (WHERE v.i % 7 = 4), 0)::bigint AS set_null,
                 COALESCE(sum(v.n) FILTER (WHERE v.i % 7 = 5), 0)::bigint AS set_default,
                 COALESCE(sum(v.n) FILTER (WHERE v.i % 7 = 6), 0)::bigint AS ignored,
                 COALESCE(sum(v.n) FILTER (WHERE v.i % 7 = 0), 0)::bigint AS altered
            FROM mongo_migrate.chunk c
            CROSS JOIN LATERAL unnest(c.field_values) WITH ORDINALITY AS v (n, i)
           GROUP BY c.job_id, c.table_no, (v.i - 1) / 7) f
    JOIN mongo_migrate.job_table t ON t.job_id = f.job_id AND t.table_no = f.table_no;
COMMENT ON VIEW mongo_migrate.field_stat IS 'values of each field, by what became of them';

-- Was anything lost?  Pending letters are kept, so that they take nothing away.
CREATE VIEW mongo_migrate.value_stat AS
  SELECT t.job_id, t.table_no, v.exact, v.widened, v.diverted, v.set_null, v.set_default, v.ignored, v.altered,
         d.duplicates, l.pending, l.discarded,
         v.set_null + v.set_default + v.ignored + v.altered + d.duplicates + l.discarded = 0 AS lossless
    FROM mongo_migrate.job_table t
    CROSS JOIN LATERAL (
      SELECT sum(f.exact)::bigint AS exact, sum(f.widened)::bigint AS widened, sum(f.diverted)::bigint AS diverted,
             sum(f.set_null)::bigint AS set_null, sum(f.set_default)::bigint AS set_default,
             sum(f.ignored)::bigint AS ignored, sum(f.altered)::bigint AS altered
        FROM mongo_migrate.field_stat f
       WHERE f.job_id = t.job_id AND f.table_no = t.table_no) v
    CROSS JOIN LATERAL (
      SELECT COALESCE(sum(c.documents), 0)::bigint AS duplicates
        FROM mongo_migrate.conflict c
       WHERE c.job_id = t.job_id AND c.table_no = t.table_no AND c.action = 'duplicate') d
    CROSS JOIN LATERAL (
      SELECT count(*) FILTER (WHERE e.status = 'pending') AS pending,
             count(*) FILTER (WHERE e.status = 'discarded') AS discarded
        FROM mongo_migrate.dead_letter e
       WHERE e.job_id = t.job_id AND e.table_no = t.table_no) l
   WHERE v.exact IS NOT NULL OR l.pending + l.discarded > 0;
COMMENT ON VIEW mongo_migrate.value_stat IS 'values of each table, by what became of them';

-- Looked at often, so small: without table_stat, and with chunks read only while there is no shared memory.  The progress of
-- the key is read where pg_stat_progress_create_index has it from: tuples total and done, blocks total and done.
CREATE VIEW @extschema@.migrate_progress WITH (security_barrier) AS
  SELECT j.job_id, t.target_table::text AS target, CASE WHEN j.state = 'queued' THEN 'queued' ELSE t.phase END AS phase,
         @extschema@.migrate_progress_bar(f.fraction, 20) || ' '
           || lpad(to_char(trunc((f.fraction * 1000)::numeric) / 10, 'FM990.0') || '%', 6) AS progress,
         lpad(mongo_migrate.format_count(d.docs_done), 6) || ' / '
           || rpad(mongo_migrate.format_count(greatest(t.docs_total, d.docs_done)), 6) AS docs,
         CASE WHEN t.phase = 'copying' THEN lpad(mongo_migrate.format_count(s.rate::bigint), 6) || '/s' END AS rate,
         CASE WHEN t.phase = 'copying' AND s.rate >= 1 AND t.docs_total > 0
              THEN make_interval(secs => trunc(greatest(t.docs_total - d.docs_done, 0) / s.rate)) END AS eta,
         COALESCE(s.workers, 0) AS workers, d.docs_rejected AS rejected
    FROM mongo_migrate.visible_job j, mongo_migrate.job_table t,
    LATERAL (
      SELECT s.docs_read, s.docs_rejected, s.rate, s.workers,
             i.param12 AS tuples_total, i.param13 AS tuples_done, i.param16 AS blocks_total, i.param17 AS blocks_done
        FROM mongo_migrate.shared_job(j.job_id, j.shared_handle) s
        LEFT JOIN pg_stat_get_progress_info('CREATE INDEX') i ON i.pid = s.coordinator_pid) s,
    LATERAL (
      SELECT COALESCE(s.docs_read, sum(c.docs_read)::bigint, 0) AS docs_done,
             COALESCE(s.docs_rejected, sum(c.docs_rejected)::bigint, 0) AS docs_rejected
        FROM mongo_migrate.chunk c
       WHERE c.job_id = t.job_id AND c.table_no = t.table_no AND s.docs_read IS NULL) d,
    LATERAL (
      SELECT CASE WHEN t.phase = 'planning' THEN 0
                  WHEN t.phase = 'copying' AND t.docs_total > 0
                  THEN least(0.999, d.docs_done / t.docs_total::double precision)
                  WHEN t.phase = 'indexing' AND s.tuples_total > 0
                  THEN least(0.999, 0.5 + 0.5 * s.tuples_done / s.tuples_total)
                  WHEN t.phase = 'indexing' AND s.blocks_total > 0
                  THEN least(0.999, 0.5 * s.blocks_done / s.blocks_total)
                  WHEN t.phase = 'indexing' THEN 0
                  WHEN t.phase = 'copying'
                  THEN (SELECT least(0.999, count(*) FILTER (WHERE c.state = 'done') / greatest(count(*), 1)::double precision)
                          FROM mongo_migrate.chunk c WHERE c.job_id = t.job_id AND c.table_no = t.table_no)
                  ELSE 0.999 END::double precision AS fraction) f
   WHERE t.job_id = j.job_id AND j.state IN ('queued', 'running', 'pausing', 'canceling')
   ORDER BY t.job_id, t.table_no;
COMMENT ON VIEW @extschema@.migrate_progress IS 'jobs that run now or are queued, for people and \watch';
COMMENT ON COLUMN @extschema@.migrate_progress.job_id IS 'job';
COMMENT ON COLUMN @extschema@.migrate_progress.target IS 'table that is filled';
COMMENT ON COLUMN @extschema@.migrate_progress.phase IS 'queued, planning, copying, indexing, analyzing or verifying';
COMMENT ON COLUMN @extschema@.migrate_progress.progress IS 'bar and percent of the phase; never above 99.9 before the end, as totals are estimates';
COMMENT ON COLUMN @extschema@.migrate_progress.docs IS 'documents read / estimate of all';
COMMENT ON COLUMN @extschema@.migrate_progress.rate IS 'documents a second over the last 30 s';
COMMENT ON COLUMN @extschema@.migrate_progress.eta IS 'time until the copy ends at this rate';
COMMENT ON COLUMN @extschema@.migrate_progress.workers IS 'loaders at work';
COMMENT ON COLUMN @extschema@.migrate_progress.rejected IS 'documents in the dead letters';

CREATE VIEW @extschema@.migrate_workers WITH (security_barrier) AS
  SELECT j.job_id, w.worker, w.pid,
         CASE WHEN a.wait_event IS NOT NULL THEN a.wait_event_type || ' / ' || a.wait_event END AS waiting_for,
         w.chunk_no AS chunk, w.docs_read AS docs, w.docs_rejected AS rejected,
         mongo_migrate.format_count(w.rate::bigint) || '/s' AS rate, pg_size_pretty(w.bytes_read) AS read,
         CASE WHEN j.own THEN w.last_id END AS last_id, w.attempts
    FROM mongo_migrate.visible_job j
    CROSS JOIN LATERAL mongo_migrate.shared_workers(j.job_id, j.shared_handle) w
    LEFT JOIN pg_stat_activity a ON a.pid = w.pid
   WHERE j.state IN ('running', 'pausing', 'canceling')
   ORDER BY j.job_id, w.worker;
COMMENT ON VIEW @extschema@.migrate_workers IS 'loaders at work: who does what';
COMMENT ON COLUMN @extschema@.migrate_workers.job_id IS 'job';
COMMENT ON COLUMN @extschema@.migrate_workers.worker IS 'number of the loader within its job, from 1';
COMMENT ON COLUMN @extschema@.migrate_workers.pid IS 'process, as in pg_stat_activity';
COMMENT ON COLUMN @extschema@.migrate_workers.waiting_for IS 'wait event type and wait event, as in pg_stat_activity';
COMMENT ON COLUMN @extschema@.migrate_workers.chunk IS 'chunk that it copies';
COMMENT ON COLUMN @extschema@.migrate_workers.docs IS 'documents that this worker number read since the job was started or resumed';
COMMENT ON COLUMN @extschema@.migrate_workers.rejected IS 'of these, documents in the dead letters';
COMMENT ON COLUMN @extschema@.migrate_workers.rate IS 'documents a second over the last 30 s';
COMMENT ON COLUMN @extschema@.migrate_workers.read IS 'BSON read';
COMMENT ON COLUMN @extschema@.migrate_workers.last_id IS '_id of the last batch; only for the owner of the job';
COMMENT ON COLUMN @extschema@.migrate_workers.attempts IS 'how often this chunk was begun';

CREATE VIEW @extschema@.migrate_jobs WITH (security_barrier) AS
  SELECT j.job_id, j.label, j.state::@extschema@.migrate_state AS state, t.phase, j.source, t.target, t.tables,
         t.rows, t.rejected, t.diverted, j.requested_at, j.started_at, j.finished_at,
         COALESCE(j.finished_at, clock_timestamp()) - j.started_at AS duration,
         CASE mongo_migrate.job_owner(j.cluster, j.owner, j.owner_name) WHEN 0 THEN j.owner_name
              ELSE pg_get_userbyid(mongo_migrate.job_owner(j.cluster, j.owner, j.owner_name)) END AS owner,
         COALESCE(j.message,
           CASE WHEN j.state NOT IN ('queued', 'running', 'pausing', 'canceling') THEN NULL
                WHEN pg_is_in_recovery() THEN 'goes on at the primary server'
                WHEN j.state = 'queued' AND EXISTS (SELECT FROM mongo_migrate.coordinator)
                THEN 'waits for its turn: ' || (SELECT count(*) FROM mongo_migrate.running_coordinator) || ' running, '
                     || (SELECT count(*) FROM mongo_migrate.job q
                          WHERE q.state = 'queued'
                            AND (-(q.options ->> 'priority')::bigint, q.job_id) < (-(j.options ->> 'priority')::bigint, j.job_id))
                     || ' queued before it'
                WHEN j.requested_at < clock_timestamp() - interval '10 s'
                     AND NOT EXISTS (SELECT FROM mongo_migrate.coordinator c WHERE c.job_id = j.job_id & 4294967295)
                THEN 'no coordinator is running: SELECT '
                     || CASE j.state WHEN 'canceling' THEN 'migrate_cancel(' ELSE 'migrate_resume(' END
                     || j.job_id || CASE WHEN j.state = 'canceling' AND j.drop_target THEN ', drop_target => true)' ELSE ')' END
                WHEN j.state = 'pausing' AND t.phase IN ('indexing', 'analyzing', 'verifying')
                THEN (SELECT 'pauses when the phase "' || t.phase || '" is over; to end it now: SELECT pg_cancel_backend(' || c.pid || ')'
                        FROM mongo_migrate.coordinator c WHERE c.job_id = j.job_id & 4294967295)
           END) AS message,
         t.split, t.sink
    FROM mongo_migrate.visible_job j
    CROSS JOIN LATERAL (
      SELECT min(s.phase) AS phase, count(*)::integer AS tables,
             string_agg(format('%I.%I', s.target_schema, s.target_table), ', ' ORDER BY s.table_no) AS target,
             sum(s.rows_inserted + s.rows_updated)::bigint AS rows, sum(s.docs_rejected)::bigint AS rejected,
             sum(s.values_diverted)::bigint AS diverted,
             string_agg(t.split || ': ' || t.split_reason, ', ' ORDER BY s.table_no) AS split,
             string_agg(t.sink || ': ' || t.sink_reason, ', ' ORDER BY s.table_no) AS sink
        FROM mongo_migrate.table_stat s
        JOIN mongo_migrate.job_table t USING (job_id, table_no)
       WHERE s.job_id = j.job_id) t
   ORDER BY j.job_id;
COMMENT ON VIEW @extschema@.migrate_jobs IS 'all jobs, the finished ones too';
COMMENT ON COLUMN @extschema@.migrate_jobs.job_id IS 'job';
COMMENT ON COLUMN @extschema@.migrate_jobs.label IS 'from options';
COMMENT ON COLUMN @extschema@.migrate_jobs.state IS 'state of the job';
COMMENT ON COLUMN @extschema@.migrate_jobs.phase IS 'phase it is in, or ended in';
COMMENT ON COLUMN @extschema@.migrate_jobs.source IS 'server, or connection string without its password';
COMMENT ON COLUMN @extschema@.migrate_jobs.target IS 'tables that are filled';
COMMENT ON COLUMN @extschema@.migrate_jobs.tables IS 'number of tables';
COMMENT ON COLUMN @extschema@.migrate_jobs.rows IS 'rows stored';
COMMENT ON COLUMN @extschema@.migrate_jobs.rejected IS 'documents in the dead letters';
COMMENT ON COLUMN @extschema@.migrate_jobs.diverted IS 'values that did not fit their column: in _extra, or dropped as on_error says';
COMMENT ON COLUMN @extschema@.migrate_jobs.requested_at IS 'time of migrate_start';
COMMENT ON COLUMN @extschema@.migrate_jobs.started_at IS 'time its coordinator first began';
COMMENT ON COLUMN @extschema@.migrate_jobs.finished_at IS 'time it became final';
COMMENT ON COLUMN @extschema@.migrate_jobs.duration IS 'from start to end, or to now';
COMMENT ON COLUMN @extschema@.migrate_jobs.owner IS 'role that started it and whose rights it uses';
COMMENT ON COLUMN @extschema@.migrate_jobs.message IS 'why it failed, what it needs or what it waits for';
COMMENT ON COLUMN @extschema@.migrate_jobs.split IS 'how the collection is cut into chunks, and why';
COMMENT ON COLUMN @extschema@.migrate_jobs.sink IS 'how rows are written, and why';

CREATE VIEW @extschema@.migrate_errors WITH (security_barrier) AS
  SELECT d.error_id, d.job_id, t.target_table::text AS target, d.stage,
         CASE WHEN j.own THEN d.source_id END AS source_id, d.path, d.bson_type, d.column_name, d.column_type,
         d.sqlstate, CASE WHEN j.own OR d.stage <> 'insert' THEN d.message END AS message,
         CASE WHEN j.own THEN mongo_migrate.bson_document(d.raw) END AS document,
         d.occurred_at, d.status, d.attempts
    FROM mongo_migrate.dead_letter d
    JOIN mongo_migrate.visible_job j ON j.job_id = d.job_id
    JOIN mongo_migrate.job_table t ON t.job_id = d.job_id AND t.table_no = d.table_no
   ORDER BY d.error_id;
COMMENT ON VIEW @extschema@.migrate_errors IS 'documents that could not be stored';
COMMENT ON COLUMN @extschema@.migrate_errors.error_id IS 'number of the dead letter';
COMMENT ON COLUMN @extschema@.migrate_errors.job_id IS 'job';
COMMENT ON COLUMN @extschema@.migrate_errors.target IS 'table it was meant for';
COMMENT ON COLUMN @extschema@.migrate_errors.stage IS 'parse: no valid document; convert: a value against the contract; insert: refused by the table';
COMMENT ON COLUMN @extschema@.migrate_errors.source_id IS '_id in canonical Extended JSON; only for the owner of the job';
COMMENT ON COLUMN @extschema@.migrate_errors.path IS 'where in the document';
COMMENT ON COLUMN @extschema@.migrate_errors.bson_type IS 'type of the value there';
COMMENT ON COLUMN @extschema@.migrate_errors.column_name IS 'column it was meant for';
COMMENT ON COLUMN @extschema@.migrate_errors.column_type IS 'type of that column';
COMMENT ON COLUMN @extschema@.migrate_errors.sqlstate IS 'error code';
COMMENT ON COLUMN @extschema@.migrate_errors.message IS 'error; of stage insert only for the owner of the job, as the table may quote values in it';
COMMENT ON COLUMN @extschema@.migrate_errors.document IS 'the document in relaxed Extended JSON; only for the owner of the job';
COMMENT ON COLUMN @extschema@.migrate_errors.occurred_at IS 'when it was rejected';
COMMENT ON COLUMN @extschema@.migrate_errors.status IS 'pending, replayed or discarded';
COMMENT ON COLUMN @extschema@.migrate_errors.attempts IS 'how often it was tried';

CREATE VIEW @extschema@.migrate_conflicts WITH (security_barrier) AS
  SELECT c.job_id, t.target_table::text AS target, c.path, c.column_name, c.column_type, c.bson_type, c.documents,
         CASE WHEN j.own THEN c.first_id END AS first_id, c.action,
         mongo_migrate.suggestion(c.path, c.column_type, c.bson_type, c.action,
           t.mapping #> '{target,primary_key}' ? c.column_name) AS suggestion
    FROM (SELECT l.job_id, l.table_no, l.path, l.column_name, l.column_type, l.bson_type, l.action,
                 sum(l.documents)::bigint AS documents,
                 (array_agg(l.first_id ORDER BY l.chunk_no))[1] AS first_id
            FROM mongo_migrate.conflict l
           GROUP BY l.job_id, l.table_no, l.path, l.column_name, l.column_type, l.bson_type, l.action) c
    JOIN mongo_migrate.visible_job j ON j.job_id = c.job_id
    JOIN mongo_migrate.job_table t ON t.job_id = c.job_id AND t.table_no = c.table_no
   ORDER BY c.job_id, c.table_no, c.documents DESC, c.path COLLATE "C", c.bson_type COLLATE "C", c.action COLLATE "C";
COMMENT ON VIEW @extschema@.migrate_conflicts IS 'values that did not fit, by path and type: what to change in the mapping';
COMMENT ON COLUMN @extschema@.migrate_conflicts.job_id IS 'job';
COMMENT ON COLUMN @extschema@.migrate_conflicts.target IS 'table that is filled';
COMMENT ON COLUMN @extschema@.migrate_conflicts.path IS 'where in the documents';
COMMENT ON COLUMN @extschema@.migrate_conflicts.column_name IS 'column of the path; null: it has none';
COMMENT ON COLUMN @extschema@.migrate_conflicts.column_type IS 'type of that column';
COMMENT ON COLUMN @extschema@.migrate_conflicts.bson_type IS 'type of the values that did not fit';
COMMENT ON COLUMN @extschema@.migrate_conflicts.documents IS 'documents that have such a value';
COMMENT ON COLUMN @extschema@.migrate_conflicts.first_id IS '_id of the first of them in canonical Extended JSON; only for the owner of the job';
COMMENT ON COLUMN @extschema@.migrate_conflicts.action IS 'what was done: diverted (into _extra), rejected (the document), set_null, set_default, altered (the text), duplicate (the last of several was kept)';
COMMENT ON COLUMN @extschema@.migrate_conflicts.suggestion IS 'a change that would keep such values';

CREATE VIEW @extschema@.migrate_events WITH (security_barrier) AS
  SELECT e.event_id, e.job_id, e.at, e.severity, e.phase, e.message, CASE WHEN j.own THEN e.detail END AS detail
    FROM mongo_migrate.event e
    JOIN mongo_migrate.visible_job j ON j.job_id = e.job_id
   ORDER BY e.event_id;
COMMENT ON VIEW @extschema@.migrate_events IS 'what happened to each job, in order';
COMMENT ON COLUMN @extschema@.migrate_events.event_id IS 'number of the event';
COMMENT ON COLUMN @extschema@.migrate_events.job_id IS 'job';
COMMENT ON COLUMN @extschema@.migrate_events.at IS 'when';
COMMENT ON COLUMN @extschema@.migrate_events.severity IS 'info, warning or error';
COMMENT ON COLUMN @extschema@.migrate_events.phase IS 'phase of the job';
COMMENT ON COLUMN @extschema@.migrate_events.message IS 'what happened';
COMMENT ON COLUMN @extschema@.migrate_events.detail IS 'more of it; only for the owner of the job, since it may quote a document';

CREATE VIEW @extschema@.migrate_stat_table WITH (security_barrier) AS
  SELECT t.job_id, format('%I.%I', t.target_schema, t.target_table) AS target, t.docs_total, t.docs_done,
         t.rows_inserted, t.rows_updated, t.rows_deleted, t.docs_rejected, t.docs_filtered, t.values_diverted,
         t.bytes_total, t.bytes_done, t.chunks_total, t.chunks_done, t.indexes_total, t.indexes_done,
         t.elapsed_seconds, t.workers_active, t.started_at, t.updated_at, t.finished_at
    FROM mongo_migrate.table_stat t
   ORDER BY t.job_id, t.table_no;
COMMENT ON VIEW @extschema@.migrate_stat_table IS 'counters of each table, for machines';

CREATE VIEW @extschema@.migrate_stat_job WITH (security_barrier) AS
  SELECT t.job_id, sum(t.docs_total)::bigint AS docs_total, sum(t.docs_done)::bigint AS docs_done,
         sum(t.rows_inserted)::bigint AS rows_inserted, sum(t.rows_updated)::bigint AS rows_updated,
         sum(t.rows_deleted)::bigint AS rows_deleted, sum(t.docs_rejected)::bigint AS docs_rejected,
         sum(t.docs_filtered)::bigint AS docs_filtered, sum(t.values_diverted)::bigint AS values_diverted,
         sum(t.bytes_total)::bigint AS bytes_total, sum(t.bytes_done)::bigint AS bytes_done,
         sum(t.chunks_total)::bigint AS chunks_total, sum(t.chunks_done)::bigint AS chunks_done,
         sum(t.indexes_total)::bigint AS indexes_total, sum(t.indexes_done)::bigint AS indexes_done,
         max(t.elapsed_seconds) AS elapsed_seconds, max(t.workers_active) AS workers_active,
         min(t.started_at) AS started_at, max(t.updated_at) AS updated_at, max(t.finished_at) AS finished_at
    FROM mongo_migrate.table_stat t
   GROUP BY t.job_id
   ORDER BY t.job_id;
COMMENT ON VIEW @extschema@.migrate_stat_job IS 'counters of each job, for machines';

CREATE VIEW @extschema@.migrate_stat_worker WITH (security_barrier) AS
  SELECT j.job_id, w.worker, w.pid, NULL::bigint AS docs_total, w.docs_read AS docs_done, w.rows_inserted,
         w.rows_updated, 0::bigint AS rows_deleted, w.docs_rejected, w.docs_filtered, w.values_diverted,
         NULL::bigint AS bytes_total, w.bytes_read AS bytes_done, NULL::bigint AS chunks_total,
         NULL::bigint AS chunks_done, NULL::bigint AS indexes_total, NULL::bigint AS indexes_done,
         extract(epoch FROM clock_timestamp() - w.started_at)::double precision AS elapsed_seconds,
         1 AS workers_active, w.started_at, w.updated_at, NULL::timestamptz AS finished_at
    FROM mongo_migrate.visible_job j
    CROSS JOIN LATERAL mongo_migrate.shared_workers(j.job_id, j.shared_handle) w
   WHERE j.state IN ('running', 'pausing', 'canceling')
   ORDER BY j.job_id, w.worker;
COMMENT ON VIEW @extschema@.migrate_stat_worker IS 'counters of each loader at work, for machines';

-- The three statistics views share their columns, and so their comments.
DO $$
DECLARE
  v text;
  c text[];
BEGIN
  FOREACH v IN ARRAY ARRAY['migrate_stat_job', 'migrate_stat_table', 'migrate_stat_worker'] LOOP
    FOREACH c SLICE 1 IN ARRAY ARRAY[
      ['job_id', 'job'], ['target', 'table that is filled'], ['worker', 'number of the loader within its job'],
      ['pid', 'process'],
      ['docs_total', 'documents to read, an estimate; 0: not known'], ['docs_done', 'documents read'],
      ['rows_inserted', 'rows inserted'], ['rows_updated', 'rows updated'], ['rows_deleted', 'rows deleted'],
      ['docs_rejected', 'documents in the dead letters'],
      ['docs_filtered', 'documents read and left out on purpose'],
      ['values_diverted', 'values that did not fit their column: in _extra, or dropped as on_error says'],
      ['bytes_total', 'bytes of BSON in the source, an estimate'], ['bytes_done', 'bytes of BSON read'],
      ['chunks_total', 'chunks'], ['chunks_done', 'chunks that are complete'],
      ['indexes_total', 'indexes to build'], ['indexes_done', 'indexes built'],
      ['elapsed_seconds', 'seconds from the start to the end or to now'],
      ['workers_active', 'loaders at work'], ['started_at', 'when it began'],
      ['updated_at', 'time of these counters'], ['finished_at', 'when it ended']]
    LOOP
      IF EXISTS (SELECT FROM pg_catalog.pg_attribute a
                  WHERE a.attrelid = ('@extschema@.' || v)::pg_catalog.regclass AND a.attname = c[1]) THEN
        EXECUTE pg_catalog.format('COMMENT ON COLUMN @extschema@.%I.%I IS %L', v, c[1], c[2]);
      END IF;
    END LOOP;
  END LOOP;
END
$$;

-- ---------------------------------------------------------------------------
-- Privileges and dumps
-- ---------------------------------------------------------------------------

GRANT SELECT ON @extschema@.migrate_progress, @extschema@.migrate_workers, @extschema@.migrate_jobs,
  @extschema@.migrate_errors, @extschema@.migrate_conflicts, @extschema@.migrate_events,
  @extschema@.migrate_stat_job, @extschema@.migrate_stat_table, @extschema@.migrate_stat_worker TO PUBLIC;

-- A dump keeps the history: jobs that are final.  Secrets stay out.
SELECT pg_catalog.pg_extension_config_dump('mongo_migrate.job',
  $$WHERE state IN ('completed', 'failed', 'canceled')$$);
SELECT pg_catalog.pg_extension_config_dump('mongo_migrate.job_table',
  $$WHERE job_id IN (SELECT j.job_id FROM mongo_migrate.job j WHERE j.state IN ('completed', 'failed', 'canceled'))$$);
SELECT pg_catalog.pg_extension_config_dump('mongo_migrate.table_phase',
  $$WHERE job_id IN (SELECT j.job_id FROM mongo_migrate.job j WHERE j.state IN ('completed', 'failed', 'canceled'))$$);
SELECT pg_catalog.pg_extension_config_dump('mongo_migrate.chunk',
  $$WHERE job_id IN (SELECT j.job_id FROM mongo_migrate.job j WHERE j.state IN ('completed', 'failed', 'canceled'))$$);
SELECT pg_catalog.pg_extension_config_dump('mongo_migrate.dead_letter',
  $$WHERE job_id IN (SELECT j.job_id FROM mongo_migrate.job j WHERE j.state IN ('completed', 'failed', 'canceled'))$$);
SELECT pg_catalog.pg_extension_config_dump('mongo_migrate.conflict',
  $$WHERE job_id IN (SELECT j.job_id FROM mongo_migrate.job j WHERE j.state IN ('completed', 'failed', 'canceled'))$$);
SELECT pg_catalog.pg_extension_config_dump('mongo_migrate.event',
  $$WHERE job_id IN (SELECT j.job_id FROM mongo_migrate.job j WHERE j.state IN ('completed', 'failed', 'canceled'))$$);
SELECT pg_catalog.pg_extension_config_dump('mongo_migrate.job_job_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('mongo_migrate.dead_letter_error_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('mongo_migrate.event_event_id_seq', '');
