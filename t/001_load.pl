# Loads: every _id type in many chunks, shapes, collations, clustered
# collections, filters, and what if_exists does.
use strict;
use warnings;

use MongoTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $mongo = MongoTest->new;
my $node = MongoTest::node('load');
my $uri = $mongo->uri('shop');

sub start_sql
{
	my ($collection, $more) = @_;
	return "SELECT migrate_start('$uri', '$collection'" . ($more ? ", $more" : '') . ')';
}

sub load
{
	my ($collection, $more) = @_;
	return $node->safe_psql('postgres', start_sql($collection, $more) . ';SELECT migrate_wait(timeout => \'300 s\')');
}

# The books, the table and the source agree.
sub check_equal
{
	my ($collection, $table, $name) = @_;
	is($mongo->compare($node, "shop.$collection", $table), '', "$name: table equals collection");
	is($node->safe_psql('postgres', q(SELECT count(*) FROM mongo_migrate.chunk WHERE state <> 'done'
		OR docs_read <> rows_inserted + rows_updated + docs_rejected + docs_filtered)), 0, "$name: the books close");
	return;
}

$mongo->generate('mixed', 200000, 'shop.mixed');
# By ranges of _id; those of record ids are in 014_record.pl.
like(load('mixed', q(workers => 4, options => '{"chunk_size": "128kB", "split": "id"}')), qr/completed/, 'mixed ids load');
my $chunks = $node->safe_psql('postgres', 'SELECT chunks_done FROM migrate_stat_job ORDER BY job_id DESC LIMIT 1');
cmp_ok($chunks, '>', 100, "in many chunks ($chunks)");
check_equal('mixed', 'mixed', 'mixed ids');
is($node->safe_psql('postgres', q(SELECT format_type(atttypid, NULL) FROM pg_attribute
	WHERE attrelid = 'mixed'::regclass AND attname = '_id')), 'text', 'ids of several types are text');
is($node->safe_psql('postgres', q(SELECT count(*) FROM pg_constraint WHERE conrelid = 'mixed'::regclass AND contype = 'p')),
	1, 'the primary key is there');
cmp_ok($node->safe_psql('postgres', q(SELECT reltuples FROM pg_class WHERE oid = 'mixed'::regclass)), '>', 199000,
	'the table is analyzed');
is($node->safe_psql('postgres', q(SELECT count(*) FROM mixed WHERE _id::jsonb IN ('{"$minKey": 1}', '{"$maxKey": 1}', 'null'))), 3,
	'both ends and null are there');

foreach my $shape ('orders', 'narrow', 'wide', 'poison')
{
	$mongo->generate($shape, 20000, "shop.$shape");
	like(load($shape, q(workers => 2, options => '{"chunk_size": "256kB"}')), qr/completed/, "$shape loads");
	check_equal($shape, $shape, $shape);
}
is($node->safe_psql('postgres', q(SELECT count(*), min(sqlstate), max(sqlstate), min(path) FROM migrate_errors)),
	'40|22021|22P05|note', 'text that cannot be stored is a dead letter');
is($node->safe_psql('postgres', q(SELECT document ->> 'note' IS NULL FROM migrate_errors WHERE sqlstate = '22021' LIMIT 1)),
	'f', 'with its document');
is($node->safe_psql('postgres', q(SELECT DISTINCT raw IS NOT NULL AND length(raw) > 20 FROM mongo_migrate.dead_letter)), 't',
	'and its bytes');

# Types that change from document to document go to _extra, all of them.
is($node->safe_psql('postgres', q(SELECT bool_and(_extra->'mostlyInt' = '"seventeen"') FROM mixed WHERE _extra->>'mostlyInt' = 'seventeen')),
	't', 'a string in a bigint column is kept');
cmp_ok($node->safe_psql('postgres', q(SELECT diverted FROM migrate_jobs WHERE target = 'public.mixed')), '>', 0, 'and counted');

# Collections with a collation of their own, and clustered ones (since 5.3).
$mongo->python(<<'PY');
db = client.shop
db.create_collection('collated', collation={'locale': 'de', 'strength': 1})
db.collated.insert_many([{'_id': w + str(i), 'n': i} for i in range(3000) for w in ('ä', 'Z', 'b', 'Ö')])
if client.server_info()['versionArray'] >= [5, 3]:
    db.create_collection('clustered', clusteredIndex={'key': {'_id': 1}, 'unique': True})
db.clustered.insert_many([{'_id': i, 'n': str(i)} for i in range(8000)] + [{'_id': str(i), 'n': i} for i in range(8000)]
                         + [{'_id': bson.MinKey(), 'n': 1}, {'_id': bson.MaxKey(), 'n': 2}])
db.create_collection('seen', viewOn='narrow', pipeline=[{'$match': {'active': True}}])
db.empty.insert_one({'_id': 1}); db.empty.delete_one({})
db.dates.insert_many([{'_id': datetime.datetime(2020, 1, 1) + datetime.timedelta(milliseconds=i), 'n': i} for i in range(3000)])
db.edge.insert_many([
    {'_id': 1, 'i64': bson.Int64(2**63 - 1), 'd': 5e-324, 'dec': bson.Decimal128('1.10'), 'when': datetime.datetime(1, 1, 1)},
    {'_id': 2, 'i64': bson.Int64(-2**63), 'd': float('nan'), 'dec': bson.Decimal128('1E+6144'), 'when': datetime.datetime(9999, 12, 31, 23, 59, 59, 999000)},
    {'_id': 3, 'i64': bson.Int64(2**53 + 1), 'd': float('-inf'), 'dec': bson.Decimal128('NaN'), 'when': None},
    {'_id': 4, 'i64': bson.Int64(0), 'd': 0.1, 'dec': bson.Decimal128('-Infinity'), 'a': {'b': {'c': [1, None, 'x']}}, 'u': bson.Binary(uuid.UUID(int=5).bytes, 4)}])
PY
foreach my $collection ('collated', 'clustered', 'dates', 'edge')
{
	foreach my $split ('id', 'auto')
	{
		like(load($collection, "if_exists => 'replace', workers => 3, options => '{\"chunk_size\": \"64kB\", \"split\": \"$split\"}'"),
			qr/completed/, "$collection loads, split $split");
		check_equal($collection, $collection, "$collection, split $split");
	}
}
is($node->safe_psql('postgres', 'SELECT dec, i64 FROM edge WHERE _id = 1'), '1.10|9223372036854775807', 'digits are kept');
is($node->safe_psql('postgres', q(SELECT encode(float8send(d), 'hex') FROM edge WHERE _id = 1)), '0000000000000001', 'and bits');
like(load('seen'), qr/completed/, 'a view loads');
is($node->safe_psql('postgres', 'SELECT (SELECT count(*) FROM seen) = (SELECT count(*) FROM narrow WHERE active)'), 't', 'whole');
like($node->safe_psql('postgres', q(SELECT split FROM migrate_jobs WHERE target = 'public.seen')), qr/^none: /, 'in one chunk, and says why');
my ($out, $err);
$node->psql('postgres', start_sql('empty') . ';SELECT migrate_wait()', stderr => \$err, stdout => \$out);
like($err, qr/WARNING:  collection "shop.empty" is empty/, 'an empty collection is worth a warning');
like($out, qr/completed/, 'and completes');

# Filters, of Extended JSON.
like(load('narrow', q(target => 'filtered', filter => '{"quantity": {"$lt": 100}, "createdAt": {"$gt": {"$date": "2020-01-01T00:00:00Z"}}}')),
	qr/completed/, 'a filter');
is($node->safe_psql('postgres', q(SELECT (SELECT count(*) FROM filtered) = (SELECT count(*) FROM narrow WHERE quantity < 100 AND created_at > '2020-01-01'))),
	't', 'selects the same as SQL does');
my ($expected, $matching) = split /\|/, $node->safe_psql('postgres', q(SELECT docs_total, docs_done FROM migrate_stat_table WHERE target = 'public.filtered'));
ok($expected > $matching / 2 && $expected < $matching * 2, "and is what progress counts on: about $expected, $matching in the end");
is($node->safe_psql('postgres', start_sql('narrow', q(target => 'nothing', filter => '{"quantity": -1}')) . q(;SELECT docs_total FROM migrate_stat_table WHERE target = 'public.nothing'; SELECT migrate_wait())) =~ s/^\d+\n//r,
	"0\ncompleted", 'a filter that matches nothing promises nothing');

# if_exists
my $rows = 'SELECT count(*) FROM narrow';
($out, $err) = ('', '');
$node->psql('postgres', start_sql('narrow'), stderr => \$err);
like($err, qr/ERROR:  relation "public.narrow" already exists\nHINT:  Use if_exists/, 'message 14');
like(load('narrow', q(if_exists => 'truncate')), qr/completed/, 'truncate');
is($node->safe_psql('postgres', $rows), 20000, 'truncate: the rows of this load');
like(load('narrow', q(if_exists => 'replace')), qr/completed/, 'replace');
check_equal('narrow', 'narrow', 'replace');
$node->safe_psql('postgres', 'DELETE FROM narrow WHERE quantity < 500');
my $left = $node->safe_psql('postgres', $rows);
$node->safe_psql('postgres', start_sql('narrow', q(if_exists => 'append', options => '{"reject_limit": null}')) . ';SELECT migrate_wait()');
is($node->safe_psql('postgres', $rows), 20000, 'append: what was missing is there');
is($node->safe_psql('postgres', q(SELECT count(*) FROM migrate_errors e WHERE e.stage = 'insert' AND e.sqlstate = '23505'
	AND message = 'duplicate key value violates unique constraint "narrow_pkey"')), $left, 'message 21: each row that was there is a dead letter');

# Constraints and defaults of a table that is appended to.
$node->safe_psql('postgres', q(CREATE TABLE mine (_id text PRIMARY KEY, name text, note text CHECK (note <> 'note-000007'),
	_extra jsonb, loaded timestamptz DEFAULT now(), twice text GENERATED ALWAYS AS (name || name) STORED)));
$node->safe_psql('postgres', start_sql('poison', q(target => 'mine', if_exists => 'append')) . ';SELECT migrate_wait()');
is($node->safe_psql('postgres', 'SELECT count(*), count(loaded), bool_and(twice = name || name) FROM mine'), '19960|19960|t',
	'defaults and generated columns are filled');
# A default that is an array which array_append() would change in place.
$node->safe_psql('postgres', q(CREATE FUNCTION grown() RETURNS int[] LANGUAGE plpgsql AS $$ DECLARE a int[] := '{1}'; BEGIN a := a || 2; RETURN a; END $$;
	CREATE TABLE listed (_id text, name text, note text, _extra jsonb, list int[] DEFAULT grown() CHECK (array_length(array_append(list, 3), 1) = 3));
	CREATE INDEX listed_longer ON listed (array_append(list, 4));
	CREATE INDEX listed_length ON listed ((array_length(list, 1))) WHERE note = 'note-000001'));
$node->safe_psql('postgres', start_sql('poison', q(target => 'listed', if_exists => 'append')) . ';SELECT migrate_wait()');
is($node->safe_psql('postgres', q(SELECT count(*) > 19900, min(list), max(list) FROM listed)), 't|{1,2}|{1,2}',
	'no function changes a default after it is made');
is($node->safe_psql('postgres', q(SET enable_seqscan = off; SELECT count(*) FROM listed WHERE array_length(list, 1) = 2 AND note = 'note-000001')),
	$node->safe_psql('postgres', q(SELECT count(*) FROM listed WHERE note = 'note-000001')), 'nor for one of the indexes');

$node->safe_psql('postgres', 'CREATE TABLE misfit (_id integer, name integer)');
$node->psql('postgres', start_sql('poison', q(target => 'misfit', if_exists => 'append')), stderr => \$err);
like($err, qr/table "public.misfit" does not fit the mapping\nDETAIL:.*Column "name" is integer, the mapping says text.*Column "note" is missing/,
	'message 15');
$node->safe_psql('postgres', 'CREATE UNLOGGED TABLE unlogged (_id text, name text, note text)');
$node->psql('postgres', start_sql('poison', q(target => 'unlogged', if_exists => 'append')), stderr => \$err);
like($err, qr/cannot load into table "public.unlogged"\nDETAIL:  It is unlogged/, 'unlogged tables are refused');

# Columns that must not be null and that no field fills.
$mongo->python(q(client.shop.gaps.insert_many([{'_id': i, 'name': 'x' if i % 2 else None} for i in range(10)])));
$node->safe_psql('postgres', q(CREATE TABLE doubled (_id int PRIMARY KEY, name text, _extra jsonb, twice text NOT NULL GENERATED ALWAYS AS (name || name) STORED);
	CREATE TABLE required (_id int PRIMARY KEY, name text, _extra jsonb, must int NOT NULL)));
my (undef, undef, $required) = $node->psql('postgres', start_sql('gaps', "target => 'required', if_exists => 'append'"));
like($required, qr/ERROR:  table "public.required" does not fit the mapping\nDETAIL:  Column "must" must not be null, but nothing fills it\./, 'required: nothing would fill it');
# Its default is dropped when the job is there already.
$node->safe_psql('postgres', q(ALTER TABLE required ALTER must SET DEFAULT 1; CREATE TABLE other (LIKE required INCLUDING ALL)));
foreach my $case (['doubled', '5|5|23502'], ['required', '0|10|23502', 'ALTER TABLE required ALTER must DROP DEFAULT'], ['other', '10|0|'])
{
	my ($table, $expected, $meanwhile) = @$case;
	$node->safe_psql('postgres', 'BEGIN;' . start_sql('gaps', "target => '$table', if_exists => 'append'") . "; @{[$meanwhile // '']}; COMMIT; SELECT migrate_wait()");
	is($node->safe_psql('postgres', "SELECT (SELECT count(*) FROM $table), count(*), min(sqlstate) FROM migrate_errors WHERE target = '$table'"), $expected,
		"$table: NOT NULL holds");
}

# Names that are compared by their ends only would be mistaken for each other.
$mongo->python(<<'PY');
names = ['seven_7', 'eight__8', 'a_name_of_15___', 'a_name_of_16____', 'shipping_aaaa_address', 'shipping_bbbb_address',
    'shipping_address_of_aaaa_the_customer', 'shipping_address_of_bbbb_the_customer']
client.shop.names.insert_many([dict([('_id', i)] + [(n, '%s %d' % (n, i)) for n in names[i % 8:] + names[:i % 8]]) for i in range(80)])
client.shop.names.insert_many([{'_id': 100 + i, n: n} for i, n in enumerate(names)])
PY
like(load('names'), qr/completed/, 'names of many lengths, in any order');
is($mongo->compare($node, 'shop.names', 'names'), '', 'each in its column');

# A value is first taken for one like the last under its name.
$mongo->python(<<'PY');
import datetime
values = {'n': [5, bson.Int64(2 ** 40), -5], 's': ['', 'x' * 300, 'é', 'x' * 17], 'o': [bson.ObjectId(), 'x'], 'd': [0.5, float('nan')],
    'b': [True, False, False], 't': [datetime.datetime(2000, 1, 1), datetime.datetime(1969, 12, 31, 23, 59, 59, 999000)]}
client.shop.changing.insert_many([dict([('_id', i)] + [(n, v[i % len(v)]) for n, v in values.items() if i % 7 != 3 or n == 'b']) for i in range(210)])
PY
like(load('changing'), qr/completed/, 'types that change from document to document');
is($mongo->compare($node, 'shop.changing', 'changing'), '', 'each value is kept');
is($node->safe_psql('postgres', q(SELECT string_agg(format_type(atttypid, atttypmod), ' ' ORDER BY attnum) FROM pg_attribute WHERE attrelid = 'changing'::regclass AND attnum > 1)),
	'bigint text jsonb double precision boolean timestamp with time zone jsonb', 'in columns of the plain types');
like(load('changing', q(target => 'object_ids', mapping => '{"format": 1, "fields": [{"path": "_id", "column": "_id", "type": "bigint"}, {"path": "o", "column": "o", "type": "text"}]}')),
	qr/completed/, 'ObjectIds among texts');
is($node->safe_psql('postgres', 'SELECT count(*) FILTER (WHERE length(o) = 24), count(*) FILTER (WHERE o = $$x$$) FROM object_ids'), '90|90', 'are their digits');

# A row too big for a page is one dead letter, not the end.
$mongo->python(q(client.shop.big.insert_many([dict({'_id': k}, **{'f%04d' % i: (i * k) / 7 for i in range(1500)}) for k in range(20)])));
like(load('big'), qr/completed/, 'rows too big');
is($node->safe_psql('postgres', q(SELECT count(*) FILTER (WHERE sqlstate = '54000') + (SELECT count(*) FROM big) FROM migrate_errors
	WHERE target = 'big')), 20, 'are dead letters, every document accounted for');

# What was seen beforehand.
like($node->safe_psql('postgres', "SELECT string_agg(item || ' ' || status, ',') FROM migrate_ping('$uri')"),
	qr/^connect ok,topology ok,server ok,authentication ok,read privileges ok,change streams ok,workers (ok|warning),disk (ok|warning)$/, 'ping');
is($node->safe_psql('postgres', "SELECT documents, kind FROM migrate_list_collections('$uri', pattern => 'mix*')"), '200000|collection', 'list');
is($node->safe_psql('postgres', "SELECT path, bson_types, column_name, column_type FROM migrate_infer_schema('$uri', 'narrow') OFFSET 7"),
	'status|string|status|text', 'infer');
is($node->safe_psql('postgres', q(SELECT col_description('narrow'::regclass, 5))), 'MongoDB: shop.narrow createdAt (date)', 'lineage');
is($node->safe_psql('postgres', q(SELECT m->'source'->>'namespace', m->'fields'->0->>'type' FROM migrate_mapping(1) AS m)),
	'shop.mixed|text COLLATE "C"', 'the contract is kept');
is($node->safe_psql('postgres', q(SELECT string_agg(step, ',') FROM migrate_summary(1) WHERE step NOT LIKE 'values of %')),
	'plan,copy (4 workers),create indexes,analyze,verify count,values,total (wall clock)', 'the summary');
like($node->safe_psql('postgres', q(SELECT object FROM migrate_summary(1) WHERE step = 'values')), qr/^lossless: yes, \d+ exact, /,
	'says that nothing is lost');

# Dropping the extension leaves the tables.
$node->safe_psql('postgres', 'DROP EXTENSION mongo_migrate CASCADE');
is($node->safe_psql('postgres', $rows), 20000, 'tables outlive the extension');

done_testing();
