-- Mistakes in a contract are told with their place, before anything is
-- reached; what is right gets as far as the connection.
SET client_min_messages = warning;
CREATE ROLE regress_mm_owner LOGIN;
GRANT USAGE ON FOREIGN DATA WRAPPER mongo_migrate TO regress_mm_owner;
GRANT CREATE ON SCHEMA public TO regress_mm_owner;
SET SESSION AUTHORIZATION regress_mm_owner;
CREATE FUNCTION try(fields text, more text DEFAULT '"format": 1') RETURNS SETOF text LANGUAGE sql
  AS $$ SELECT migrate_ddl('mongodb://127.0.0.1:1/shop', 'orders', mapping => format('{%s, "fields": %s}', more, fields)::jsonb) $$;
\set good '[{"path": "_id", "column": "_id", "type": "text"}]'

-- the frame
SELECT migrate_ddl('mongodb://127.0.0.1:1/shop', 'orders', mapping => '[]');
SELECT migrate_ddl('mongodb://127.0.0.1:1/shop', 'orders', mapping => '{}');
SELECT migrate_ddl('mongodb://127.0.0.1:1/shop', 'orders', mapping => '{"format": 1}');
SELECT try(:'good', '"format": 2');
SELECT try(:'good', '"format": 1, "field": []');
SELECT try(:'good', '"format": 1, "source": {"name": "x"}');
SELECT try(:'good', '"format": 1, "source": {"filter": 1}');
SELECT try(:'good', '"format": 1, "target": "orders"');
SELECT try(:'good', '"format": 1, "target": {"primary_key": "_id"}');
SELECT try(:'good', '"format": 1, "target": {"primary_key": ["order_id"]}');
SELECT try(:'good', '"format": 1, "on_error": "skip"');
SELECT try(:'good', '"format": 1, "extra": "drop"');
SELECT try(:'good', '"format": 1, "invalid_text": 1');
SELECT try(:'good', '"format": 1, "json_format": "compact"');
SELECT try(:'good', '"format": 1, "uuid_representation": "java"');
SELECT try('{}');
SELECT try('[]');

-- fields
SELECT try('[1]');
SELECT try('[{"column": "a", "type": "text"}]');
SELECT try('[{"path": "a", "type": "text"}]');
SELECT try('[{"path": "a", "column": "a"}]');
SELECT try('[{"path": "a", "column": "", "type": "text"}]');
SELECT try('[{"path": "a", "column": "a", "typ": "text"}]');
SELECT try('[{"path": "a..b", "column": "a", "type": "text"}]');
SELECT try('[{"path": "a.\"b", "column": "a", "type": "text"}]');
SELECT try(format('[{"path": "%s", "column": "a", "type": "text"}]', rtrim(repeat('a.', 300000), '.')));
SELECT try('[{"path": "a", "column": "a", "type": "txt"}]');
SELECT try('[{"path": "a", "column": "a", "type": "text COLLATE \"klingon\""}]');
SELECT try('[{"path": "a", "column": "a", "type": "money"}]');
SELECT try('[{"path": "a", "column": "a", "type": "pg_class"}]');
SELECT try('[{"path": "a", "column": "a", "type": "text", "not_null": "yes"}]');
SELECT try('[{"path": "a", "column": "a", "type": "text", "on_error": "maybe"}]');
SELECT try('[{"path": "a", "column": "a", "type": "text", "on_error": "set_default"}]');
SELECT try('[{"path": "a", "column": "a", "type": "text", "on_error": "set_null", "not_null": true}]');
SELECT try('[{"path": "a", "column": "a", "type": "text", "default": []}]');
SELECT try('[{"path": "a", "kind": "column"}]');
SELECT try('[{"path": "a", "kind": "tree"}]');
SELECT try('[{"path": "a", "kind": "ignore", "column": "a"}]');
SELECT try('[{"path": "a", "kind": "document", "column": "a", "type": "jsonb"}]');
SELECT try('[{"path": "a", "column": "a", "type": "text"}, {"path": "a", "column": "b", "type": "text"}]');
SELECT try('[{"path": "a", "column": "a", "type": "text"}, {"path": "\"a\"", "kind": "ignore"}]');
SELECT try('[{"path": "a", "column": "a", "type": "text"}, {"path": "b", "column": "a", "type": "text"}]');
SELECT try('[{"path": "a", "column": "_extra", "type": "text"}]');
SELECT try('[{"path": "a", "column": "a", "type": "jsonb"}, {"path": "a.b.c", "column": "c", "type": "text"}]');
SELECT try('[{"kind": "document", "column": "a", "type": "jsonb"}, {"kind": "document", "column": "b", "type": "jsonb"}]');
SELECT try('[{"path": "_id", "column": "_id", "type": "text"}]', '"format": 1, "target": {"primary_key": ["_id", "_id"]}');

-- later
SELECT try('[{"path": "items", "kind": "child", "table": "t", "fields": []}]');
SELECT try('[{"path": "items[].sku", "column": "sku", "type": "text"}]');
SELECT try('[{"path": "a", "column": "a", "type": "text", "expression": "lower(value)"}]');

-- right
SELECT try('[{"path": "_id", "column": "_id", "type": "text COLLATE \"C\"", "not_null": true},
	{"path": "a.\"b.c\".d", "column": "d", "type": "numeric(12,2)", "on_error": "set_default", "default": 0},
	{"path": "a.e", "kind": "ignore"}, {"path": "f", "kind": "extra"}, {"path": "g", "column": "g", "type": "text[]"}]',
	'"format": 1, "source": {"namespace": "shop.orders", "filter": {"x": 1}}, "target": {"table": "a.b", "primary_key": ["_id"]},
	"on_error": "reject", "extra": "ignore", "invalid_text": "strip", "json_format": "relaxed", "uuid_representation": "standard"');
SELECT try('[{"path": "\"a[]\"", "column": "a", "type": "text"}]');

-- options
SELECT migrate_ddl('mongodb://127.0.0.1:1/shop', 'orders', options => '{"layout": "flat"}');
SELECT migrate_ddl('mongodb://127.0.0.1:1/shop', 'orders', options => '{"flatten_depth": 0}');
SELECT migrate_ddl('mongodb://127.0.0.1:1/shop', 'orders', options => '{"arrays": "child"}');
SELECT migrate_ddl('mongodb://127.0.0.1:1/shop', 'orders', options => '{"arrays": "native"}');
SELECT migrate_ddl('mongodb://127.0.0.1:1/shop', 'orders', options => '{"id_type": "uuid"}');
SELECT migrate_ddl('mongodb://127.0.0.1:1/shop', 'orders', options => '{"json_format": "pretty"}');
SELECT migrate_ddl('mongodb://127.0.0.1:1/shop', 'orders', options => '{"extra": "keep"}');
SELECT migrate_ddl('mongodb://127.0.0.1:1/shop', 'orders', options => '{"uuid_representation": "java"}');
SELECT migrate_plan('mongodb://127.0.0.1:1/shop', 'orders', if_exists => 'merge');
SELECT migrate_plan(NULL, 'orders');
SELECT migrate_infer_mapping('mongodb://127.0.0.1:1/shop', NULL);
DROP FUNCTION try;
RESET SESSION AUTHORIZATION;
DROP OWNED BY regress_mm_owner;
DROP ROLE regress_mm_owner;
