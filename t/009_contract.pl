# The contract: inferred, shown, changed, given back; what each policy does;
# tables made by hand; every option that shapes a table.
use strict;
use warnings;

use MongoTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $mongo = MongoTest->new;
my $node = MongoTest::node('contract');
my $uri = $mongo->uri('shop');

sub sql { my ($sql) = @_; return $node->safe_psql('postgres', $sql); }

sub error_of
{
	my ($sql) = @_;
	my $err = '';
	$node->psql('postgres', $sql, stderr => \$err);
	return $err;
}

sub start_sql
{
	my ($collection, $more) = @_;
	return "SELECT migrate_start('$uri', '$collection'" . ($more ? ", $more" : '') . ')';
}

sub load
{
	my ($collection, $more) = @_;
	return sql(start_sql($collection, $more) . q(;SELECT migrate_wait(timeout => '300 s')));
}

sub load_ok
{
	my ($collection, $more, $name) = @_;
	like(load($collection, $more), qr/completed/, "$name: loads");
	return;
}

# Names, types, defaults, NOT NULL, comments and key of a table, as text.
sub shape_of
{
	my ($table) = @_;
	return sql(qq(SELECT string_agg(concat_ws(' ', attname, format_type(atttypid, atttypmod), collname, attnotnull,
			pg_get_expr(adbin, adrelid), col_description(attrelid, attnum)), E'\\n' ORDER BY attnum)
		|| (SELECT string_agg(pg_get_constraintdef(oid), ',') FROM pg_constraint WHERE conrelid = '$table'::regclass)
		FROM pg_attribute LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum LEFT JOIN pg_collation c ON c.oid = attcollation
		WHERE attrelid = '$table'::regclass AND attnum > 0 AND NOT attisdropped));
}

# What is inferred and shown.
$mongo->generate('orders', 5000, 'shop.orders');
is(sql("SELECT string_agg(path, ' ' ORDER BY o) FROM migrate_infer_schema('$uri', 'orders') WITH ORDINALITY AS t
	(path, present, bson_types, column_name, column_type, nullable, note, o) WHERE path LIKE 'shipTo%'"),
	'shipTo.street shipTo.city shipTo.zipCode', 'embedded documents become columns');
is(sql("SELECT column_type FROM migrate_infer_schema('$uri', 'orders') WHERE path = 'tags'"), 'text[]', 'arrays of one type are native');
is(sql("SELECT string_agg(action, ',' ORDER BY step) FROM migrate_plan('$uri', 'orders') WHERE action <> 'note'"),
	'read,create table,copy,create index,analyze,verify', 'the plan');
is(sql("SELECT to_regclass('orders') IS NULL, count(*) FROM migrate_jobs"), 't|0', 'a plan writes nothing');

# Three ways to one table.
load_ok('orders', undef, 'inferred');
my $shape = shape_of('orders');
is($mongo->compare($node, 'shop.orders', 'orders'), '', 'inferred: table equals collection');
sql("CREATE TEMP TABLE ddl AS SELECT * FROM migrate_ddl('$uri', 'orders', 'by_hand') AS statement;
	DO \$\$ DECLARE s text; BEGIN FOR s IN SELECT statement FROM ddl LOOP EXECUTE s; END LOOP; END \$\$");
is(shape_of('by_hand'), $shape, 'the DDL run by hand gives the same table');
load_ok('orders', q(target => 'by_hand', if_exists => 'append'), 'by hand');
is(shape_of('by_hand'), $shape, 'and it stays so');
is($mongo->compare($node, 'shop.orders', 'by_hand'), '', 'by hand: table equals collection');
load_ok('orders', "target => 'again', mapping => migrate_infer_mapping('$uri', 'orders')", 'round trip');
is(shape_of('again'), $shape, 'the contract given back gives the same table');
is($mongo->compare($node, 'shop.orders', 'again'), '', 'round trip: table equals collection');
is(sql(q(SELECT migrate_mapping(1) #- '{target,table}' = migrate_mapping(3) #- '{target,table}')), 't', 'and is the same contract');

# Policies, each on the value that does not fit.
$mongo->python(<<'PY');
db = client.shop
db.command('insert', 'policy', documents=[
    {'_id': 1, 'n': 1, 'status': 'new', 'price': bson.Decimal128('1.50'), 'name': 'ab', 'positive': 3, 'a': {'b.c': {'d': 7}}, 'secret': 'x', 'more': 1},
    {'_id': 2, 'n': 'one', 'status': 'odd', 'price': 1.005, 'name': 'abcdef', 'positive': -3, 'a': {'b.c': {'d': 'seven'}}, 'secret': 'y', 'more': 2},
    {'_id': 3, 'status': 'done', 'price': 2.5, 'name': 'AB', 'positive': 1, 'a': {}, 'more': None},
    {'_id': 4, 'n': None, 'status': None, 'price': '12.3', 'name': '', 'positive': None, 'a': 5},
    {'_id': 5, 'n': 5, 'hidden': True}])
PY
sql(q(CREATE TYPE state AS ENUM ('new', 'done', 'unknown'); CREATE DOMAIN positive AS integer CHECK (VALUE > 0); CREATE EXTENSION citext));

sub policy
{
	my ($n, %more) = @_;
	my $top = join ', ', '"format": 1', map { qq("$_": $more{$_}) } sort keys %more;
	return qq({$top, "target": {"primary_key": ["id"]}, "fields": [
		{"path": "_id", "column": "id", "type": "integer"},
		{"path": "n", "column": "n", "type": "bigint"$n},
		{"path": "status", "column": "status", "type": "state", "on_error": "set_default", "default": "unknown"},
		{"path": "price", "column": "price", "type": "numeric(12,2)"},
		{"path": "name", "column": "name", "type": "varchar(4)"},
		{"path": "positive", "column": "positive", "type": "positive"},
		{"path": "a.\\"b.c\\".d", "column": "d", "type": "smallint"},
		{"path": "secret", "kind": "ignore"}, {"path": "more", "kind": "extra"}]});
}
my $filter = '{"hidden": {"$ne": true}}';
load_ok('policy', "target => 'policy', mapping => '" . policy('', source => qq({"filter": $filter})) . "'", 'policies');
is(sql('SELECT string_agg(policy::text, E\'\n\' ORDER BY id) FROM policy') . "\n", <<'ROWS', 'each value where its policy puts it');
(1,1,new,1.50,ab,3,7,"{""more"": 1}")
(2,,unknown,,,,,"{""a"": {""b.c"": {""d"": ""seven""}}, ""n"": ""one"", ""more"": 2, ""name"": ""abcdef"", ""price"": 1.005, ""positive"": -3}")
(3,,done,2.50,AB,1,,"{""a"": {}, ""more"": null}")
(4,,,12.30,"",,,"{""a"": 5}")
ROWS
is(sql(q(SELECT object FROM migrate_summary() WHERE step = 'values')),
	'lossless: no, 1 set to default, 2 ignored, 14 exact, 2 widened, 6 in _extra', 'and the books of values say so')
  or diag(sql('SELECT * FROM mongo_migrate.field_stat; SELECT * FROM migrate_summary()'));
is(sql(q(SELECT string_agg(concat_ws(' ', path, bson_type, action), ', ' ORDER BY path) FROM migrate_conflicts)),
	'a int diverted, a."b.c".d string diverted, n string diverted, name string diverted, positive int diverted, price double diverted, status string set_default',
	'conflicts, one line each');
foreach my $case (['"reject"', 'the document is rejected', '1,3,4,5', 1], ['"set_null"', 'the value is dropped', '1,2,3,4,5', 0],
	['"extra", "not_null": true', 'not null: documents without it are rejected', '1,5', 3])
{
	my ($on_error, $name, $ids, $rejected) = @$case;
	load_ok('policy', "target => 'policy', if_exists => 'replace', mapping => '" . policy(qq(, "on_error": $on_error)) . "'", $name);
	is(sql('SELECT string_agg(id::text, \',\' ORDER BY id) FROM policy'), $ids, "$name: rows");
	is(sql('SELECT rejected FROM migrate_jobs ORDER BY job_id DESC LIMIT 1'), $rejected, "$name: dead letters");
}
like(error_of(start_sql('policy', "target => 'policy', if_exists => 'replace', mapping => '" . policy(', "on_error": "stop"') . "'") . ';SELECT migrate_wait()'),
	qr/ERROR:  "n" is string where bigint is expected\nDETAIL:  The value is "one"./, 'stop: the job fails with the value');
load_ok('policy', "target => 'policy', if_exists => 'replace', on_error => 'set_null', mapping => '" . policy('', extra => '"ignore"') . "'", 'extra ignore');
is(sql(q(SELECT _extra FROM policy WHERE id = 2)), '{"more": 2}', 'extra ignore: only what is wanted there is kept');
load_ok('policy', "target => 'policy', if_exists => 'replace', mapping => '" . policy('', extra => '"reject"') . "'", 'extra reject');
is(sql('SELECT string_agg(id::text, \',\' ORDER BY id) FROM policy'), '1,2,4', 'extra reject: a field without a place rejects the document')
  or diag(sql('SELECT * FROM migrate_errors'));

# Strings that a type takes, and text types with rules of their own.
sql('CREATE TABLE cased (_id integer PRIMARY KEY, name citext, price money)');
like(error_of(start_sql('policy', "target => 'cased', if_exists => 'append', mapping => '" .
	'{"format": 1, "fields": [{"path": "_id", "column": "_id", "type": "integer"}, {"path": "price", "column": "price", "type": "numeric"}]}' . "'")),
	qr/does not fit the mapping\nDETAIL:  Column "price" is money, the mapping says numeric/, 'a type that would round is refused');
load_ok('policy', "target => 'cased', if_exists => 'append', mapping => '" .
	'{"format": 1, "extra": "ignore", "fields": [{"path": "_id", "column": "_id", "type": "integer"}, {"path": "name", "column": "name", "type": "text"}]}' . "'", 'citext');
is(sql(q(SELECT count(*) FROM cased WHERE name = 'ab')), 2, 'citext compares as it does');

# Messages 15 and 22.
sql('CREATE TABLE narrow (_id text, total integer)');
like(error_of(start_sql('orders', "target => 'narrow', if_exists => 'append', mapping => '" .
	'{"format": 1, "fields": [{"path": "_id", "column": "_id", "type": "text"}, {"path": "total", "column": "total", "type": "numeric"}, {"path": "couponCode", "column": "coupon", "type": "text"}]}' . "'")),
	qr/ERROR:  table "public.narrow" does not fit the mapping\nDETAIL:  Column "total" is integer, the mapping says numeric. Column "coupon" is missing.\nHINT:  See SELECT \* FROM migrate_ddl\(/, 'message 15');
my $many = join ', ', map { qq({"path": "meta.k$_", "column": "k$_", "type": "text"}) } 1 .. 1700;
like(error_of(start_sql('orders', qq(target => 'huge', mapping => '{"format": 1, "fields": [{"path": "_id", "column": "_id", "type": "text"}, $many]}'))),
	qr/ERROR:  mapping for "shop.orders" has 1702 columns, a table can have 1600\nDETAIL:  1700 of them come from "meta".\nHINT:  Map "meta" to one jsonb column/, 'message 22');
like(error_of(start_sql('orders', q(target => 'bad', mapping => '{"format": 1, "fields": [{"path": "_id", "column": "_id", "type": "text"}, {"path": "n", "column": "n", "type": "bigint", "default": "x"}]}'))),
	qr/invalid input syntax for type bigint: "x"/, 'a default that is none');
is(sql("SELECT to_regclass('bad') IS NULL"), 't', 'leaves no table');

# More fields than a table has columns; keys that are data.
$mongo->python(<<'PY');
db = client.shop
db.broad.insert_many([{'_id': i, **{'f%d' % j: j for j in range(i % 3, 2000, 3 if i % 3 else 1)}} for i in range(30)])
db.keyed.insert_many([{'_id': i, 'counts': {'2026-%02d-%02d' % (1 + i % 12, 1 + j): j for j in range(i % 28)}, 'one': {'a': i}} for i in range(300)])
PY
like(sql("SELECT note FROM migrate_infer_schema('$uri', 'broad') LIMIT 1"), qr/^\d+ less frequent fields have no column$/, 'more than 1600 fields');
load_ok('broad', undef, 'more than 1600 fields');
is($mongo->compare($node, 'shop.broad', 'broad'), '', 'more than 1600 fields: none is lost');
is(sql("SELECT column_type, note FROM migrate_infer_schema('$uri', 'keyed') WHERE path = 'counts'"), 'jsonb|306 distinct keys: kept as jsonb', 'keys that look like data');
is(sql("SELECT column_type FROM migrate_infer_schema('$uri', 'keyed') WHERE path = 'one.a'"), 'bigint', 'and keys that do not');

# Columns for new fields, by several loaders at once.
$mongo->python(<<'PY');
client.shop.grow.insert_many([{'_id': i, 'a': i, **({'b%d' % (i // 3000): 'x%d' % i} if i % 10 == 0 else {}), **({'sub': {'k': [i, None]}} if i % 500 == 0 else {}),
                               **({'nothing': None} if i % 700 == 0 else {}), **({'A': 1} if i % 900 == 0 else {})} for i in range(30000)])
PY
load_ok('grow', q(workers => 4, options => '{"extra": "add_column", "chunk_size": "64kB"}', mapping => '{"format": 1, "fields":
	[{"path": "_id", "column": "_id", "type": "bigint"}, {"path": "a", "column": "a", "type": "bigint"}]}'), 'add_column');
is(sql(q(SELECT count(*) FROM pg_attribute WHERE attrelid = 'grow'::regclass AND attnum > 0)), 15, 'each new field has one column');
is(sql(q(SELECT count(*) FILTER (WHERE _extra IS NOT NULL AND _extra <> '{"nothing": null}') FROM grow)), 0, 'and none is left over');
is($mongo->compare($node, 'shop.grow', 'grow'), '', 'add_column: table equals collection');
is(sql(q(SELECT jsonb_array_length(migrate_mapping()->'fields'))), 14, 'the contract of the job knows them');
load_ok('grow', q(workers => 4, if_exists => 'truncate', options => '{"extra": "add_column", "chunk_size": "64kB"}', mapping => '{"format": 1, "fields":
	[{"path": "_id", "column": "_id", "type": "bigint"}, {"path": "a", "column": "a", "type": "bigint"}]}'), 'add_column again');
is(sql(q(SELECT count(*) FROM pg_attribute WHERE attrelid = 'grow'::regclass AND attnum > 0)), 15, 'the columns of the last load are used');
is($mongo->compare($node, 'shop.grow', 'grow'), '', 'add_column again: table equals collection');

# Options that shape the table.
$mongo->python(<<'PY');
db = client.shop
u = uuid.UUID('00112233-4455-6677-8899-aabbccddeeff')
db.shaped.insert_many([{'_id': bson.ObjectId('65a1f0c2e4b0a1d2c3e4f5%02x' % i), 'ref': bson.ObjectId('65a1f0c2e4b0a1d2c3e4f501'),
    'deep': {'a': {'b': {'c': i}}}, 'list': [1, 2, None], 'old': bson.Binary(u.bytes_le, 3), 'when': datetime.datetime(2026, 11, 22, 9, 0, 2, 123000),
    'big': {'long': bson.Int64(2**60), 'dec': bson.Decimal128('1.10'), 'x': [{'y': 1.0}]}} for i in range(50)])
PY
my @options = (
	['{}', 'deep.a:jsonb list:bigint[] old:bytea ref:text COLLATE "C"', 'defaults'],
	['{"flatten_depth": 1}', 'deep:jsonb list:bigint[] old:bytea ref:text COLLATE "C"', 'flatten_depth 1'],
	['{"flatten_depth": 4}', 'deep.a.b.c:bigint list:bigint[] old:bytea ref:text COLLATE "C"', 'flatten_depth 4'],
	['{"arrays": "jsonb"}', 'deep.a:jsonb list:jsonb old:bytea ref:text COLLATE "C"', 'arrays jsonb'],
	['{"id_type": "bytea"}', 'deep.a:jsonb list:bigint[] old:bytea ref:bytea', 'id_type bytea'],
	['{"uuid_representation": "csharp_legacy"}', 'deep.a:jsonb list:bigint[] old:uuid ref:text COLLATE "C"', 'uuid_representation'],
);
foreach my $case (@options)
{
	my ($options, $expected, $name) = @$case;
	is(sql(qq(SELECT string_agg(path || ':' || column_type, ' ' ORDER BY path) FROM migrate_infer_schema('$uri', 'shaped', options => '$options')
		WHERE path LIKE 'deep%' OR path IN ('list', 'old', 'ref'))), $expected, "$name: types");
	load_ok('shaped', "if_exists => 'replace', options => '$options'", $name);
	is($mongo->compare($node, 'shop.shaped', 'shaped'), '', "$name: table equals collection") unless $options =~ /uuid/;
}
is(sql('SELECT DISTINCT old FROM shaped'), '00112233-4455-6677-8899-aabbccddeeff', 'an old UUID in the byte order that was named');
foreach my $form ('relaxed', 'canonical')
{
	load_ok('shaped', qq(if_exists => 'replace', options => '{"json_format": "$form"}'), "json_format $form");
	is($mongo->compare($node, 'shop.shaped', 'shaped', undef, '--json-format', $form), '', "json_format $form: table equals collection");
}
load_ok('shaped', q(target => 'docs', options => '{"layout": "document", "json_format": "canonical"}'), 'layout document');
is(sql(q(SELECT string_agg(attname, ',' ORDER BY attnum) FROM pg_attribute WHERE attrelid = 'docs'::regclass AND attnum > 0)), '_id,doc', 'layout document: two columns');
is(sql(q(SELECT doc #>> '{big,long,$numberLong}', doc #>> '{_id,$oid}' = _id FROM docs LIMIT 1)), '1152921504606846976|t', 'layout document: the whole document, _id included');


# Times of day and intervals: what the type would drop is kept elsewhere.
$mongo->python(<<'PY');
texts = ['10:00', '10:00:01.5', '10:30 PM', '23:59:60', '2026-01-02 10:00:00', '10:00:00+05', 'now', '20260102 100000', '100000', '1 year 5 days', '1.5 years', '3 years', '1.5 s']
client.shop.clock.insert_many([{'_id': i, 'time': t, 'zoned': t, 'span': t, 'years': t} for i, t in enumerate(texts)])
PY
load_ok('clock', q(mapping => '{"format": 1, "fields": [{"path": "_id", "column": "_id", "type": "bigint"}, {"path": "time", "column": "time", "type": "time"},
	{"path": "zoned", "column": "zoned", "type": "timetz"}, {"path": "span", "column": "span", "type": "interval"}, {"path": "years", "column": "years", "type": "interval year"}]}'),
	'times of day');
is(sql('SELECT string_agg(time::text, $$ $$ ORDER BY _id) FROM clock'), '10:00:00 10:00:01.5 22:30:00', 'time: what is one, and nothing else');
is(sql('SELECT string_agg(_id::text, $$ $$ ORDER BY _id) FROM clock WHERE zoned IS NOT NULL'), '0 1 2 5', 'timetz: with its zone');
is(sql('SELECT string_agg(_id::text || $$: $$ || span, $$, $$ ORDER BY _id) FROM clock WHERE _id > 8'), '9: 1 year 5 days, 11: 3 years, 12: 00:00:01.5', 'interval: all of it');
is(sql('SELECT string_agg(_id::text || $$: $$ || years, $$, $$ ORDER BY _id) FROM clock'), '11: 3 years', 'interval year: years');
is(sql(q(SELECT string_agg(_extra->>'time', '|' ORDER BY _id) FROM clock)),
	'23:59:60|2026-01-02 10:00:00|10:00:00+05|now|20260102 100000|100000|1 year 5 days|1.5 years|3 years|1.5 s', 'the rest is in _extra');

# The server's decoder of times takes more for one than they are.
$mongo->python(<<'PY');
no_times = ['Mon Nov 20 2023 10:00:00 GMT+0100', 'Mon Nov 20 2023 10:00:00 GMT+0100 (Central European Standard Time)', '2024-01-01 10:00:00 UTC+01:00', '2024-01-15 rev3',
    '1700001015', '2024011210', '1230115', '<2024-01-15', '2024-01-15?', '2016-12-31T23:59:60Z', '240115', '15', '2024-01-15 4711', '15-JAN-24', '12/11/23', 'Jan 15, 24', '05.01.24 10:00', '12/11/23 10:00:00.201244', '15-JAN-24 2015', '11/11/11', '150124 10:15:00', '150124T101500', '1430 15 Jan 2024', '20240101T109999', '20161231T235960Z', '2024-01-15 24:00:01']
times = ['20240112', '2024-01-15 10:00:00 UTC', 'Mon Nov 20 2023 10:00:00 GMT', '2024-01-15T10:00:00+01:00', ' 2024/01/15 ', '2024-01-15 10:00 PM', 'Jan 15, 2024', '2024-01-15 10:00:00.60']
client.shop.spoken.insert_many([{'_id': i, 'at': t} for i, t in enumerate(times + no_times)] + [{'_id': 100 + i, 'span': n} for i, n in enumerate([90000, '90000', 1.5, '-3', '90 s', '01:30', '3-5 days', '1-2 hours', '1.02:03:04', '<5 days', '~5 days', '1 day 5', '1-2', '1 day, 2:03:04', 'P1DT2H', '3 4:05:06', '@ 1 day ago'])])
PY
load_ok('spoken', q(mapping => '{"format": 1, "fields": [{"path": "_id", "column": "_id", "type": "bigint"}, {"path": "at", "column": "at", "type": "timestamptz"}, {"path": "span", "column": "span", "type": "interval"}]}'), 'times in words');
is(sql(q(SET TimeZone = 'UTC'; SELECT string_agg(to_char(at, 'YYYY-MM-DD HH24:MI'), ',' ORDER BY _id) FROM spoken)),
	'2024-01-12 00:00,2024-01-15 10:00,2023-11-20 10:00,2024-01-15 09:00,2024-01-15 00:00,2024-01-15 22:00,2024-01-15 00:00,2024-01-15 10:00', 'a time is what says one time');
is(sql('SELECT count(*) FROM spoken WHERE _extra ? $$at$$ AND at IS NULL'), 26, 'and nothing else is');
is(sql('SELECT string_agg(_id::text || $$: $$ || span, $$, $$ ORDER BY _id) FROM spoken'), '104: 00:01:30, 105: 01:30:00, 112: 1 year 2 mons, 113: 1 day 02:03:04, 114: 1 day 02:00:00, 115: 3 days 04:05:06, 116: -1 days', 'an interval is what says one');

# A format is obeyed wherever the column has room for JSON, and refused elsewhere.
$mongo->python(q(client.shop.keys.insert_many([{'_id': 1}, {'_id': '1'}, {'_id': 2}]); client.shop.docs.insert_many([{'_id': 1, 'd': {'at': bson.ObjectId('0' * 24)}}, {'_id': 2, 'd': {'at': 1}}])));
sql('CREATE DOMAIN key AS varchar(100); CREATE DOMAIN doc AS jsonb');
foreach my $type ('text', 'varchar(100)', 'citext', 'key')
{
	sql("DROP TABLE IF EXISTS keyed; CREATE TABLE keyed (_id $type PRIMARY KEY, _extra jsonb)");
	load_ok('keys', q(target => 'keyed', if_exists => 'append'), "keys as $type");
	is(sql('SELECT string_agg(_id::text, $$ $$ ORDER BY _id::text COLLATE "C") FROM keyed'), '"1" {"$numberInt": "1"} {"$numberInt": "2"}', "$type: two keys stay two");
}
sql('CREATE TABLE short (_id varchar(5) PRIMARY KEY, _extra jsonb); CREATE TABLE padded (_id char(30) PRIMARY KEY, _extra jsonb)');
load_ok('keys', q(target => 'short', if_exists => 'append', on_error => 'reject', options => '{"reject_limit": 5}'), 'keys that are too long');
is(sql('SELECT string_agg(_id, $$ $$) FROM short'), '"1"', 'what does not fit is rejected');
like(error_of(start_sql('keys', q(target => 'padded', if_exists => 'append'))), qr/ERROR:  column "_id" of the target cannot be filled\nDETAIL:  It is character\(30\)/, 'char(n) has no room for JSON');
load_ok('docs', q(target => 'docs_in_domain', mapping => '{"format": 1, "fields": [{"path": "_id", "column": "_id", "type": "text", "format": "canonical"}, {"path": "d", "column": "d", "type": "doc", "format": "canonical"}]}'), 'a domain');
is(sql(q(SELECT string_agg(d::text, ' ' ORDER BY _id) FROM docs_in_domain)), '{"at": {"$oid": "000000000000000000000000"}} {"at": {"$numberInt": "1"}}', 'whose format is obeyed');

# Books: arrays whose elements are converted, the sign of minus zero, names that no table takes.
$mongo->python(q(client.shop.books.insert_many([{'_id': 1, 'a': [1, 2.0], 'z': '-0', 'f': '-0.0'}, {'_id': 2, 'a': [1, 2], 'z': '-1', 'f': '-1'}])));
load_ok('books', q(mapping => '{"format": 1, "fields": [{"path": "_id", "column": "_id", "type": "bigint"}, {"path": "a", "column": "a", "type": "bigint[]"}, {"path": "z", "column": "z", "type": "bigint"}, {"path": "f", "column": "f", "type": "double precision"}]}'), 'books');
is(sql("SELECT string_agg(path || ' ' || action || ' ' || documents, ', ' ORDER BY path) FROM migrate_conflicts WHERE job_id = @{[last_job()]}"), 'z altered 1', 'minus zero is altered where its sign is lost');
like(sql("SELECT object FROM migrate_summary(@{[last_job()]}) WHERE object LIKE 'lossless:%'"), qr/1 altered, 3 exact, 4 widened/, 'an array is widened like its elements');
load_ok('books', q(target => 'narrower', on_error => 'reject', options => '{"extra": "reject", "reject_limit": 5}', mapping => '{"format": 1, "extra": "reject", "fields": [{"path": "_id", "column": "_id", "type": "bigint"}]}'), 'fields that are not wanted');
is(sql("SELECT DISTINCT d.detail FROM mongo_migrate.dead_letter d WHERE job_id = @{[last_job()]}"), 'The mapping says that such documents are to be rejected.', 'and why');

# Columns that add_column finds: not those with a default, nor those of another path.
my $only_id = '{"format": 1, "fields": [{"path": "_id", "column": "_id", "type": "bigint"}]}';
$mongo->python(q(client.shop.found.insert_many([{'_id': 1}, {'_id': 2, 'source': 'web'}, {'_id': 3}]); client.shop.one.insert_many([{'_id': 1, 'userID': 'a'}, {'_id': 2, 'user_id': 'b'}]); client.shop.two.insert_many([{'_id': 11, 'user_id': 'b'}, {'_id': 12, 'userID': 'a'}])));
sql(q(CREATE TABLE found (_id bigint PRIMARY KEY, source text DEFAULT 'mongo', _extra jsonb)));
load_ok('found', qq(if_exists => 'append', options => '{"extra": "add_column"}', mapping => '$only_id'), 'a column with a default');
is(sql(q(SELECT string_agg(concat_ws(' ', _id, source, source_2), ',' ORDER BY _id) FROM found)), '1 mongo,2 mongo web,3 mongo', 'keeps it');
load_ok('one', qq(target => 'twain', options => '{"extra": "add_column"}', mapping => '$only_id'), 'two names that are one');
load_ok('two', qq(target => 'twain', if_exists => 'append', options => '{"extra": "add_column"}', mapping => '$only_id'), 'and in the other order');
is(sql(q(SELECT string_agg(concat_ws(' ', _id, 'userID ' || user_id, 'user_id ' || user_id_2), ',' ORDER BY _id) FROM twain)), '1 userID a,2 user_id b,11 user_id b,12 userID a', 'each path has its column');

# Null is as good as absent, also where nothing is left over.
$mongo->python(q(client.shop.nulls.insert_many([{'_id': 1, 'note': None}, {'_id': 2}])));
sql('CREATE TABLE nulls (_id bigint PRIMARY KEY)');
like(error_of("SELECT migrate_start('$uri', 'nulls', mapping => '{\"format\": 1, \"extra_column\": \"$_\", \"fields\": [{\"path\": \"_id\", \"column\": \"_id\", \"type\": \"bigint\"}]}')"),
	qr/ERROR:  invalid mapping: .*extra_column.* a name of 1 to 63 bytes/s, 'extra_column: a name that is none') foreach '', 'x' x 70;
load_ok('nulls', q(if_exists => 'append', mapping => '{"format": 1, "extra_column": null, "fields": [{"path": "_id", "column": "_id", "type": "bigint"}]}'), 'null without a column');
is(sql('SELECT count(*) FROM nulls'), 2, 'is no reason to reject a document');

# Columns that nothing fills, or not always.
sql(q(CREATE TABLE tenants (_id bigint PRIMARY KEY, tenant int NOT NULL, other int NOT NULL DEFAULT 1, _extra jsonb NOT NULL DEFAULT '{}')));
like(error_of(start_sql('nulls', q(target => 'tenants', if_exists => 'append'))),
	qr/ERROR:  table "public.tenants" does not fit the mapping\nDETAIL:  (?:Column "note" is missing\. )?Column "tenant" must not be null, but nothing fills it\. Column "_extra" must not be null, but is where nothing is left over\./, 'a column that must not be null is filled by somebody');

# What there was no room for in the list of conflicts is taken back, too.
$mongo->python(q(client.shop.many.insert_many([{'_id': i, 'k%d' % i: 1} for i in range(300)])));
load_ok('many', qq(on_error => 'reject', options => '{"reject_limit": null}', mapping => '{"format": 1, "extra": "reject", "fields": [{"path": "_id", "column": "_id", "type": "bigint"}]}'), 'many names');
is(sql("SELECT count(*), sum(documents) FROM migrate_conflicts WHERE job_id = @{[last_job()]}"), '201|300', 'more than the list has room for');
sql('ALTER TABLE many ADD _extra jsonb');
is(sql("SELECT * FROM migrate_replay(@{[last_job()]}, mapping => migrate_mapping(@{[last_job()]}) || '{\"extra\": \"column\", \"extra_column\": \"_extra\"}')"), '300|0', 'all are stored');
is(sql("SELECT count(*) FROM migrate_conflicts WHERE job_id = @{[last_job()]} AND action = 'rejected'"), 0, 'and none is rejected any more');

# Defaults: of the mapping, of the table, and of a document that has a field in the first of two embedded documents.
$mongo->python(<<'PY');
import struct
from bson.raw_bson import RawBSONDocument
def raw(*elements):
    body = b''.join(elements)
    return struct.pack('<i', len(body) + 5) + body + b'\0'
def of(name, x): return b'\3' + name + b'\0' + raw(*x)
text = lambda name, s: b'\2' + name + b'\0' + struct.pack('<i', len(s) + 1) + s + b'\0'
client.shop.get_collection('twice', codec_options=bson.CodecOptions(document_class=RawBSONDocument)).insert_one(RawBSONDocument(
    raw(b'\x10_id\0' + struct.pack('<i', 1), of(b'a', [text(b'x', b'1')]), of(b'a', [text(b'y', b'2')]))))
client.shop.flags.insert_many([{'_id': 1, 'flag': False}, {'_id': 2}])
client.shop.command('create', 'bare', viewOn='flags', pipeline=[{'$project': {'_id': 0, 'of': 1}}])
PY
load_ok('twice', q(mapping => '{"format": 1, "fields": [{"path": "_id", "column": "_id", "type": "bigint"}, {"path": "a.x", "column": "x", "type": "text", "default": "n/a", "not_null": true},
	{"path": "a.y", "column": "y", "type": "text"}]}'), 'an embedded document twice');
is(sql('SELECT x, y FROM twice'), 'n/a|2', 'what only the first has is missing');
sql('CREATE TABLE flags (_id bigint PRIMARY KEY, flag text, _extra jsonb); CREATE TABLE preset (_id bigint PRIMARY KEY, flag boolean DEFAULT true, _extra jsonb)');
like(error_of(start_sql('flags', q(if_exists => 'append', mapping => '{"format": 1, "fields": [{"path": "_id", "column": "_id", "type": "bigint"}, {"path": "flag", "column": "flag", "type": "boolean", "default": false}]}'))),
	qr/DETAIL:  The default of column "flag" in the mapping is of type boolean\./, 'a default that the column would read as another value is refused');
like(error_of(start_sql('flags', q(target => 'preset', if_exists => 'append', on_error => 'set_default'))),
	qr/DETAIL:  The default of column "flag" is not in the mapping, which on_error "set_default" takes it from\./, 'set_default does not overlook the default of the table');
like(error_of(start_sql('bare', '')), qr/ERROR:  the documents of "shop.bare" have no fields/, 'documents without fields');
like(error_of(start_sql('flags', q(target => 'forgotten', mapping => '{"format": 1, "fields": [{"path": "_id", "column": "_id", "type": "bigint", "fields": []}]}'))),
	qr/ERROR:  invalid mapping: unknown key "fields\[0\].fields"/, 'a key of what is no child table');

# Arrays of a domain, and of ObjectIds in columns for text.
$mongo->python(q(client.shop.lists.insert_many([{'_id': 1, 'amounts': [1.0, 2.5], 'ids': [bson.ObjectId('0' * 24)]}, {'_id': 2, 'amounts': [3.0], 'ids': []}])));
sql('CREATE DOMAIN amount AS numeric(12,2); CREATE TABLE lists (_id bigint PRIMARY KEY, amounts amount[], ids varchar(24)[], _extra jsonb)');
load_ok('lists', q(if_exists => 'append'), 'arrays of other types');
is(sql('SELECT amounts, ids, _extra FROM lists ORDER BY _id'), "{1.00,2.50}|{000000000000000000000000}|\n{3.00}|{}|", 'are kept');

# What a table refuses, with whatever error: dead letters; and a domain that takes no null says what it does not take.
$mongo->python(q(client.shop.refused.insert_many([{'_id': i, 'p': p} for i, p in enumerate(['a.b', 'a b', 'c', None])] + [{'_id': 4, 'p': 'd', 'q': 'five'}, {'_id': 5, 'p': 'd', 'q': 5}])));
sql('CREATE EXTENSION IF NOT EXISTS ltree');
sql(q(CREATE DOMAIN qty AS integer NOT NULL;
	CREATE FUNCTION refuse(text) RETURNS text IMMUTABLE LANGUAGE plpgsql AS $$BEGIN IF $1 = 'c' THEN RAISE 'not c' USING ERRCODE = 'AB001'; END IF; RETURN $1; END$$;
	CREATE TABLE refused (_id bigint PRIMARY KEY, p text, tree ltree GENERATED ALWAYS AS (text2ltree(p)) STORED, same text GENERATED ALWAYS AS (refuse(p)) STORED, q qty DEFAULT 1)));
load_ok('refused', q(if_exists => 'append', options => '{"extra": "ignore"}', mapping => '{"format": 1, "extra_column": null, "fields": [{"path": "_id", "column": "_id", "type": "bigint"},
	{"path": "p", "column": "p", "type": "text"}, {"path": "q", "column": "q", "type": "integer", "default": 1}]}'), 'rows that the table refuses with any error');
is(sql('SELECT string_agg(_id::text, $$,$$ ORDER BY _id) FROM refused'), '0,3,5', 'the others are rows');
is(sql("SELECT string_agg(concat_ws(' ', source_id, stage, sqlstate, message), ', ' ORDER BY error_id) FROM migrate_errors WHERE job_id = @{[last_job()]}"),
	'{"$numberInt": "1"} insert 42601 ltree syntax error at character 2, {"$numberInt": "2"} insert AB001 not c, {"$numberInt": "4"} convert 2200G "q" is string where public.qty is expected', 'and these letters');

# Under "stop" a replay goes on to its end, too.
sql('CREATE TABLE taken (_id bigint PRIMARY KEY, n bigint UNIQUE, _extra jsonb)');
$mongo->python(q(client.shop.taken.insert_many([{'_id': i, 'n': 1 if i < 4 else i} for i in range(1, 8)])));
load_ok('taken', q(if_exists => 'append', on_error => 'reject', options => '{"reject_limit": 5}'), 'rows that the table refuses');
is(sql("SELECT * FROM migrate_replay(@{[last_job()]}, mapping => jsonb_set(migrate_mapping(@{[last_job()]}), '{on_error}', '\"stop\"'))"), '0|2', 'under "stop" a replay ends as under others');

# What a job used is the whole contract.
my $whole = '{"format": 1, "source": {"filter": {"_id": {"$lt": 2}}}, "fields": [{"path": "_id", "column": "_id", "type": "bigint", "on_error": "set_null"}, {"path": "x", "column": "x", "type": "bigint"}]}';
$mongo->python(q(client.shop.part.insert_many([{'_id': i, 'x': i} for i in range(10)])));
load_ok('part', qq(mapping => '$whole', filter => '{"x": {"\$gt": 0}}'), 'a filter in the mapping, and one in the call');
is(sql('SELECT count(*) FROM part'), 1, 'both hold');
like(error_of(start_sql('part', q(mapping => migrate_mapping((SELECT max(job_id) FROM migrate_jobs)), if_exists => 'truncate', filter => '{"x": 9}')) . '; SELECT migrate_wait()'),
	qr/NOTICE:  both filters hold, that of the mapping and that of the call\nDETAIL:  The mapping has \{"\$and": /, 'a filter in the contract of that job, and one in the call');
load_ok('part', q(mapping => migrate_mapping((SELECT max(job_id) - 1 FROM migrate_jobs)), if_exists => 'truncate'), 'the contract of that job');
is(sql('SELECT count(*) FROM part'), 1, 'has them');
is(sql('SELECT migrate_mapping(max(job_id)) #>> $${fields,0,on_error}$$ FROM migrate_jobs'), 'reject', 'a key cannot be set to null');
load_ok('part', q(mapping => '{"format": 1, "fields": [{"path": "_id", "column": "_id", "type": "bigint"}, {"path": "x", "column": "x", "type": "bigint", "on_error": "set_null"}]}', target => 'strict', if_exists => 'replace'), 'a column that may be null');
sql('ALTER TABLE strict ALTER x SET NOT NULL');
load_ok('part', q(mapping => '{"format": 1, "fields": [{"path": "_id", "column": "_id", "type": "bigint"}, {"path": "x", "column": "x", "type": "bigint", "on_error": "set_null"}]}', target => 'strict', if_exists => 'truncate'), 'and then not any more');
$mongo->python(q(client.shop.other.insert_one({'_id': 1})));
like(error_of(start_sql('other', q(mapping => migrate_mapping((SELECT max(job_id) FROM migrate_jobs)), if_exists => 'truncate'))),
	qr/ERROR:  the mapping is one for "shop\.part", and its target "public\.strict" is too\nHINT:  Name the target for "shop\.other"/, 'the contract of another collection does not empty its table');

# A scale below zero, and one above the precision.
$mongo->python(<<'PY');
client.shop.scales.insert_many([{'_id': i, 'small': s, 'large': l} for i, (s, l) in enumerate([(0.0012, 1200), (0.012, 1250), (0.00001, 100000), (0, 0), (-0.0099, -99900)])])
PY
load_ok('scales', q(mapping => '{"format": 1, "fields": [{"path": "_id", "column": "_id", "type": "bigint"}, {"path": "small", "column": "small", "type": "numeric(2,4)"},
	{"path": "large", "column": "large", "type": "numeric(3,-2)"}]}'), 'scales');
is(sql(q(SELECT string_agg(concat_ws('|', _id, small, large), ' ' ORDER BY _id) FROM scales)), '0|0.0012|1200 1 2 3|0.0000|0 4|-0.0099|-99900', 'what they have digits for');
is(sql(q(SELECT string_agg(_extra::text, ' ' ORDER BY _id) FROM scales)), '{"large": 1250, "small": 0.012} {"large": 100000, "small": 0.00001}', 'the rest is in _extra');

# _ids that are two for MongoDB, and one for the type of the key.
$mongo->python(<<'PY');
client.shop.twins.insert_many([{'_id': {'a': i, 'b': 1}, 'n': i} for i in range(500)] + [{'_id': {'b': 1, 'a': 7}, 'n': -7}])
client.shop.tenths.insert_many([{'_id': 0.1}, {'_id': bson.Decimal128('0.1')}, {'_id': 2}])
PY
load_ok('twins', '', 'embedded _ids');
is(sql('SELECT count(*), count(DISTINCT _id) FROM twins'), '500|500', 'embedded _ids: a row for each key');
is(sql(q(SELECT sqlstate, status, count(*) FROM migrate_errors WHERE job_id = (SELECT max(job_id) FROM migrate_jobs) GROUP BY 1, 2)), '23505|pending|1', 'embedded _ids: the other one is a dead letter');
is(sql(q(SELECT count(*) FROM migrate_events WHERE job_id = (SELECT max(job_id) FROM migrate_jobs) AND detail LIKE 'Two documents have the same key, or one was read twice: Key (_id)=%')),
	1, 'embedded _ids: and it is told why the copy began again');
is($mongo->compare($node, 'shop.twins', 'twins'), '', 'embedded _ids: nothing lost');
load_ok('tenths', '', 'double and decimal _ids');
is(sql('SELECT count(*) FROM tenths'), 3, 'double and decimal _ids: three keys');
is($mongo->compare($node, 'shop.tenths', 'tenths'), '', 'double and decimal _ids: nothing lost');

# ---------------------------------------------------------------------------
# What a type refuses
# ---------------------------------------------------------------------------

sub last_job { return sql('SELECT max(job_id) FROM migrate_jobs'); }

# The document's own column cannot keep what it refuses.
$mongo->python(q(client.shop.whole.insert_many([{'_id': 1, 'name': 'a'}, {'_id': 2, 'x': 1}, {'_id': 3, 'name': 'c'}])));
sql(q(CREATE DOMAIN named AS jsonb CHECK (VALUE ? 'name'); CREATE TABLE whole (_id bigint PRIMARY KEY, doc named)));
load_ok('whole', q(if_exists => 'append', options => '{"layout": "document"}'), 'a document that its column refuses');
is(sql(q(SELECT string_agg(_id || ' ' || coalesce(doc->>'name', 'none'), ',' ORDER BY _id) FROM whole)), '1 a,3 c', 'is no row without it');
is(sql("SELECT message, document->'x' FROM migrate_errors WHERE job_id = @{[last_job()]}"), 'the document is not accepted by type public.named|1', 'but a dead letter');
like(sql("SELECT object FROM migrate_summary(@{[last_job()]}) WHERE object LIKE 'lossless:%'"), qr/^lossless: yes, .*1 rejected/, 'and the summary has it');
foreach my $type ('text', 'character varying(100)', 'bytea')
{
	like(error_of(start_sql('whole', qq(target => 'none', mapping => '{"format": 1, "fields": [{"path": "_id", "column": "_id", "type": "bigint"}, {"kind": "document", "column": "doc", "type": "$type"}]}'))),
		qr/ERROR:  column "doc" of type \Q$type\E cannot hold whole documents\nHINT:  Make it jsonb/, "a document has no place in $type");
}

# A domain that allows no null, of a column that nothing is mapped to.
sql("CREATE DOMAIN origin AS text CHECK (VALUE IS NOT NULL); CREATE TABLE origins (_id bigint PRIMARY KEY, name text, origin origin, _extra jsonb); CREATE TABLE given (_id bigint PRIMARY KEY, name text, origin origin DEFAULT 'mongo', _extra jsonb)");
foreach my $case (['origins', '0,3'], ['given', '3,0'])
{
	my ($table, $expected) = @$case;
	load_ok('whole', qq(target => '$table', if_exists => 'append', on_error => 'reject', mapping => '{"format": 1, "fields": [{"path": "_id", "column": "_id", "type": "bigint"}, {"path": "name", "column": "name", "type": "text"}]}', options => '{"reject_limit": 10}'), "$table: a domain");
	is(sql("SELECT count(origin) FROM $table") . ',' . sql("SELECT count(*) FROM migrate_errors WHERE job_id = @{[last_job()]} AND message ~ 'violates check constraint'"), $expected, "$table: what it does not allow is not stored");
}

# Input functions that complain of syntax, or of names.
$mongo->python(q(client.shop.raising.insert_many([{'_id': i, 'path': p, 'query': q, 'ip': a} for i, (p, q, a) in enumerate([('a.b', "'cat'", '10.0.0.1'), ('Foo..Bar', 'a b', 'n/a'), ('c', "'d'", '10.0.0.2')])])));
sql('CREATE EXTENSION IF NOT EXISTS ltree');
my $raising = '"fields": [{"path": "_id", "column": "_id", "type": "bigint"}, {"path": "path", "column": "path", "type": "ltree", "on_error": "extra"},
	{"path": "query", "column": "query", "type": "tsquery", "on_error": "extra"}, {"path": "ip", "column": "ip", "type": "inet", "on_error": "extra"}';
foreach my $on_error ('extra', 'stop')
{
	load_ok('raising', qq(target => 'raising_$on_error', mapping => '{"format": 1, "on_error": "$on_error", $raising]}'), "on_error $on_error, and input functions that raise");
	is(sql("SELECT string_agg(concat_ws(' ', path, query, ip, _extra), ',' ORDER BY _id) FROM raising_$on_error"),
		q(a.b 'cat' 10.0.0.1,{"ip": "n/a", "path": "Foo..Bar", "query": "a b"},c 'd' 10.0.0.2), 'the policy of the field counts');
}
$mongo->python(q(client.shop.raising.insert_one({'_id': 3, 'path': 'x y', 'n': 'five'})));
like(error_of(start_sql('raising', qq(target => 'stopped', mapping => '{"format": 1, "on_error": "stop", $raising, {"path": "n", "column": "n", "type": "bigint"}]}')) . '; SELECT migrate_wait()'),
	qr/"n" is string where bigint is expected/, 'stop is obeyed behind it');
sql('CREATE TABLE checked (_id bigint PRIMARY KEY, ip inet, _extra jsonb, CHECK (_id < 2))');
like(error_of(start_sql('raising', q(target => 'checked', if_exists => 'append', mapping => '{"format": 1, "on_error": "stop", "fields": [{"path": "_id", "column": "_id", "type": "bigint"}, {"path": "ip", "column": "ip", "type": "inet", "on_error": "extra"}]}')) . '; SELECT migrate_wait()'),
	qr/violates check constraint/, 'and by what the table refuses');

# Of a field alone, behind a value that brings the loader into careful mode.
like(error_of(start_sql('raising', q(target => 'one_stops', mapping => '{"format": 1, "fields": [{"path": "_id", "column": "_id", "type": "bigint"}, {"path": "path", "column": "path", "type": "ltree"},
	{"path": "n", "column": "n", "type": "bigint", "on_error": "stop"}]}')) . '; SELECT migrate_wait()'), qr/"n" is string where bigint is expected.*HINT:  on_error of the field is "stop": correct the document/s, 'stop of one field');
is(sql("SELECT state FROM migrate_jobs WHERE job_id = @{[last_job()]}"), 'failed', 'ends the job');

# Arrays, where a value of another type is the odd one.
sql('CREATE TABLE listed (_id bigint PRIMARY KEY, tags text[], flags bigint[])');
like(error_of(start_sql('whole', q(target => 'listed', if_exists => 'append', mapping => '{"format": 1, "fields": [{"path": "_id", "column": "_id", "type": "bigint"}, {"path": "tags", "column": "tags", "type": "bigint[]"}, {"path": "flags", "column": "flags", "type": "boolean[]"}]}'))),
	qr/does not fit the mapping\nDETAIL:  Column "tags" is text\[\], the mapping says bigint\[\]. Column "flags" is bigint\[\], the mapping says boolean\[\]/, 'arrays that hold nothing of what is meant for them');

# Children of a table are not the target.
sql('CREATE TABLE whole_archive () INHERITS (whole); INSERT INTO whole_archive VALUES (9, $${"name": "old"}$$)');
load_ok('whole', q(if_exists => 'truncate', options => '{"layout": "document"}'), 'truncate');
is(sql('SELECT string_agg(_id::text, $$,$$ ORDER BY _id) FROM whole'), '1,3,9', 'leaves them');

# ---------------------------------------------------------------------------
# Replay
# ---------------------------------------------------------------------------

# Two collections in one table, and the first had no document that fits.
$mongo->python(q(client.shop.left.insert_one({'_id': 1, 'n': 'one'}); client.shop.right.insert_one({'_id': 2, 'n': 2})));
sql('CREATE TABLE shared (_id bigint PRIMARY KEY, n bigint)');
my $number = '{"format": 1, "extra_column": null, "on_error": "%s", "fields": [{"path": "_id", "column": "_id", "type": "bigint"}, {"path": "n", "column": "n", "type": "bigint"}]}';
load_ok($_, sprintf("target => 'shared', if_exists => 'append', mapping => '$number'", 'reject'), "$_ of two collections") foreach ('left', 'right');
is(sql(sprintf "SELECT * FROM migrate_replay((SELECT min(job_id) FROM migrate_jobs WHERE target = 'public.shared'), mapping => '$number')", 'set_null'),
	'1|0', 'what was rejected of the first is replayed behind the second');

$mongo->python(q(client.shop.raising.update_one({'_id': 3}, {'$set': {'n': 5}})));
load_ok('raising', q(target => 'one_stops', if_exists => 'truncate', mapping => '{"format": 1, "fields": [{"path": "_id", "column": "_id", "type": "bigint"}, {"path": "n", "column": "n", "type": "bigint"}]}'), 'a later load');
my ($half) = split /\n/, sql(q(SELECT job_id FROM migrate_jobs WHERE target = 'public.one_stops' ORDER BY job_id));
like(error_of("SELECT migrate_retry($half)"), qr/ERROR:  cannot retry migration job $half\nDETAIL:  Migration job \d+ began with table "public\.one_stops" empty/, 'a job whose rows are gone is not tried again');
my ($second, $first) = split /\n/, sql(q(SELECT job_id FROM migrate_jobs WHERE target = 'public.whole' ORDER BY job_id DESC));
like(error_of("SELECT migrate_replay($first)"), qr/ERROR:  cannot replay the rejected documents of migration job $first\nDETAIL:  Migration job $second began with table "public\.whole" empty/, 'letters of rows that are gone');
is(sql("SELECT * FROM migrate_replay($second)"), '0|1', 'those of the later job may');

$mongo->python(q(client.shop.forms.insert_many([{'_id': 1, 'n': 5, 'd': {'at': datetime.datetime(2026, 1, 2)}}, {'_id': 2, 'n': 'five', 'd': {'at': datetime.datetime(2026, 1, 2)}}])));
my $forms = '{"format": 1, %s "fields": [{"path": "_id", "column": "_id", "type": "bigint"}, {"path": "n", "column": "n", "type": "bigint"%s}, {"path": "d", "column": "d", "type": "jsonb"}]}';
sql("SET mongo_migrate.json_format = relaxed; SET mongo_migrate.on_error = reject;" . start_sql('forms', sprintf "mapping => '$forms'", '', '') . '; SELECT migrate_wait()');
is(sql("SELECT * FROM migrate_replay(@{[last_job()]}, mapping => '@{[sprintf $forms, '', '']}')"), '0|1', 'a mapping that leaves on_error open: as the load had it');
is(sql("SELECT * FROM migrate_replay(@{[last_job()]}, mapping => '@{[sprintf $forms, '', ', \"on_error\": \"set_null\"']}')"), '1|0', 'one that helps');
is(sql('SELECT count(DISTINCT d), min(d::text) FROM forms'), '1|{"at": {"$date": "2026-01-02T00:00:00Z"}}', 'and json_format is that of the load');

done_testing();
