# Rejected documents from conflict to replay, and jobs that are changed, tried
# again, forgotten: migrate_conflicts, _alter, _retry, _replay, _discard,
# _forget, _peek, _run.
use strict;
use warnings;

use MongoTest qw(wait_for);
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

my $mongo = MongoTest->new;
my $node = MongoTest::node('letters');
my $uri = $mongo->uri('shop');

# Every tenth total is beyond smallint, every fiftieth note is no text.
$mongo->python(<<'PY');
client.shop.sales.insert_many([{'_id': i, 'total': 70000 if i % 10 == 0 else i % 1000,
    'note': 'a\x00b' if i % 50 == 1 else 'note %d' % i} for i in range(1, 6001)])
client.shop.late.insert_many([{'_id': i, 'total': 70000 if i == 5990 else 1, 'note': 'n' * 200} for i in range(1, 6001)])
PY
$mongo->generate('poison', 2000, 'shop.poison');
$mongo->generate('narrow', 200000, 'shop.narrow');

my $columns = '(_id bigint PRIMARY KEY, total smallint, note text, _extra jsonb)';
my $small = q(options => '{"chunk_size": "64kB"}');

sub sql { my ($sql) = @_; return $node->safe_psql('postgres', $sql); }

sub error_of
{
	my ($sql, @more) = @_;
	my $err = '';
	$node->psql('postgres', $sql, stderr => \$err, @more);
	return $err;
}

sub out_of
{
	my ($sql, @more) = @_;
	my $out = '';
	$node->psql('postgres', $sql, stdout => \$out, stderr => \my $err, @more);
	return $out;
}

# Starts a load; with a throttle, its job is altered before it begins.
sub start
{
	my ($collection, $more, $rate) = @_;
	my ($job) = sql("SET client_min_messages = error; SET mongo_migrate.checkpoint_bytes = '64kB'; BEGIN;
		SELECT migrate_start('$uri', '$collection', $more);
		SELECT migrate_alter(NULL, max_docs_per_second => @{[$rate // 0]}); COMMIT") =~ /^(\d+)/;
	return $job;
}

sub books
{
	my ($job) = @_;
	return sql("SELECT sum(docs_read), sum(rows_inserted), sum(docs_rejected), sum(values_diverted) FROM mongo_migrate.chunk WHERE job_id = $job");
}

sub values_line
{
	my ($job) = @_;
	return sql("SELECT object FROM migrate_summary($job) WHERE step = 'values'");
}

sub loaders { return sql("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'mongo_migrate loader'"); }

# --- peek

is(sql("SELECT count(*), count(DISTINCT d->>'_id') FROM migrate_peek('$uri', 'sales') AS d"), '5|5', 'peek shows five documents');
is(sql(qq(SELECT d->'total' FROM migrate_peek('$uri', 'sales', 100, '{"_id": {"\$lt": 2}}') AS d)), '1', 'peek with a filter');
like(sql("SELECT DISTINCT jsonb_typeof(d->'_id'->'\$oid') FROM migrate_peek('$uri', 'poison', 2000) AS d"), qr/^string$/, 'types are seen, and text that is none does not hurt');
like(error_of("SELECT migrate_peek('$uri', 'sale')"), qr/collection "shop.sale" does not exist\nHINT:  Perhaps you meant "sales"/, 'peek says what is wrong');

# --- message 19: too many rejects

sql("CREATE TABLE sales $columns");
my $job = start('sales', q(if_exists => 'append', on_error => 'reject', workers => 1, options => '{"chunk_size": "64kB", "reject_limit": 100}'), 1000);
my $err = error_of("SELECT migrate_wait($job)");
like($err, qr/ERROR:  migration job $job failed: \d+ documents rejected, the limit is 100\n/, 'message 19');
like($err, qr/DETAIL:  \d+ of them: "total" is out of range for type smallint, first in _id 10\./, 'with the most frequent reason');
like($err, qr/HINT:  Change the mapping \(SELECT \* FROM migrate_conflicts WHERE job_id = $job\), or raise the limit with migrate_alter\($job, reject_limit => \.\.\.\), then SELECT migrate_retry\($job\)\./,
	'and the way on');
is(sql("SELECT path, column_name, column_type, bson_type, first_id, action, suggestion FROM migrate_conflicts WHERE job_id = $job"),
	q(total|total|smallint|int|{"$numberInt": "10"}|rejected|use type bigint for "total") . "\n"
	. q(note|note|text|string|{"$numberInt": "1"}|rejected|set invalid_text to "strip" or "replace"), 'the conflicts say what to correct');
is(sql("SELECT sum(documents) FROM migrate_conflicts WHERE job_id = $job"), sql("SELECT rejected FROM migrate_jobs WHERE job_id = $job"),
	'as many as are rejected');
my ($read) = books($job) =~ /^(\d+)/;
cmp_ok($read, '<', 6000, "it stopped before the end, after $read documents");

# --- retry

like(error_of("SELECT migrate_resume($job)"), qr/cannot resume migration job $job\nDETAIL:  It is failed\.\nHINT:  Try again with SELECT migrate_retry\($job\)/, 'resume points at retry');
is(sql("SELECT migrate_retry($job)"), 'queued', 'retry');
like(error_of("SELECT migrate_wait($job)"), qr/the limit is 100/, 'with the same limit it fails again');
sql("SELECT migrate_alter($job, reject_limit => 5000, max_docs_per_second => 0)");
my $done = sql("SELECT count(*) FROM mongo_migrate.chunk WHERE job_id = $job AND state = 'done'");
is(sql("SELECT migrate_retry($job)"), 'queued', 'with another limit');
$err = error_of("SELECT migrate_wait($job)");
like($err, qr/WARNING:  12\.0 % of the documents of "shop\.sales" are rejected\nHINT:  SELECT \* FROM migrate_conflicts WHERE job_id = $job;/, 'message 34 at the end');
like($err, qr/NOTICE:  job $job: completed in .*: 5280 rows, 720 documents rejected/, 'it completes');
cmp_ok(sql("SELECT sum(attempts) FROM mongo_migrate.chunk WHERE job_id = $job AND attempts > 1"), '<', 10, "and goes on behind the $done chunks that were done");
is(sql("SELECT count(*) FROM migrate_events WHERE job_id = $job AND message LIKE '% are rejected'"), 1, 'message 34 is an event, once');
like(slurp_file($node->logfile), qr/WARNING:  [\d.]+ % of the documents of "shop\.sales" are rejected/, 'and in the log');
is(books($job), '6000|5280|720|0', 'the books close');
is($mongo->compare($node, 'shop.sales', 'sales'), '', 'table and letters equal the collection');
is(values_line($job), 'lossless: yes, 15840 exact, 720 rejected', 'the summary says that nothing is lost');
like(error_of("SELECT migrate_retry($job)"), qr/cannot retry migration job $job\nDETAIL:  It is completed/, 'a completed job is not tried again');

# --- text in columns of numbers

$mongo->python(q(client.shop.padded.insert_many([{'_id': 1, 'zip': 1234, 'n': 1.5}, {'_id': 2, 'zip': '01234', 'n': '-007.50'}, {'_id': 3, 'zip': '+41', 'n': '0.5'},
	{'_id': 4, 'zip': '7', 'n': ' 0'}, {'_id': 5, 'zip': '0', 'n': '12'}])));
my $fields = q({"format": 1, "fields": [{"path": "_id", "column": "_id", "type": "bigint"}, {"path": "zip", "column": "zip", "type": "code"}, {"path": "n", "column": "n", "type": "numeric"}]});
my $padded = sql("SET client_min_messages = error; CREATE DOMAIN code AS bigint; SELECT migrate_start('$uri', 'padded', mapping => '$fields')");
is(sql("SELECT migrate_wait($padded)"), 'completed', 'digits with zeros and signs before them');
is(sql("SELECT string_agg(zip || ' ' || n, ', ' ORDER BY _id) FROM padded"), '1234 1.5, 1234 -7.50, 41 0.5, 7 0, 0 12', 'are numbers in columns of numbers');
is(sql("SELECT path, documents, action, suggestion FROM migrate_conflicts WHERE job_id = $padded ORDER BY path"),
	qq(n|1|altered|use type text for "n" to keep zeros and plus signs before its digits\nzip|2|altered|use type text for "zip", and set invalid_text to "reject", to keep such values as they are),
	'which is said of each path');
like(values_line($padded), qr/^lossless: no, 3 altered, /, 'and in the summary');

# --- replay

is(sql("SELECT * FROM migrate_replay($job)"), '0|720', 'without a change they fail again');
is(sql("SELECT DISTINCT attempts, status FROM migrate_errors WHERE job_id = $job"), '2|pending', 'which is counted');
is(books($job), '6000|5280|720|0', 'and nothing else is');
my $mapping = "jsonb_set(migrate_mapping($job), '{on_error}', '\"extra\"')";
is(sql("SELECT * FROM migrate_replay($job, mapping => $mapping, error_ids => (SELECT array_agg(error_id) FROM migrate_errors WHERE path = 'total' AND document->>'_id' = '10'))"),
	'1|0', 'one letter, under another mapping');
is(sql('SELECT total IS NULL, _extra FROM sales WHERE _id = 10'), 't|{"total": 70000}', 'its value is kept in _extra');
is(sql("BEGIN; SELECT * FROM migrate_replay($job, mapping => $mapping); ROLLBACK; SELECT count(*) FROM sales"), "599|120\n5281", 'a rollback undoes a replay');
is(sql("SELECT * FROM migrate_replay($job, mapping => $mapping)"), '599|120', 'all of them: what the mapping helps');
is(books($job), '6000|5880|120|600', 'the books move with the documents');
is($mongo->compare($node, 'shop.sales', 'sales'), '', 'table and letters still equal the collection');
is(sql("SELECT path, documents, action FROM migrate_conflicts WHERE job_id = $job ORDER BY path"), "note|120|rejected\ntotal|600|diverted", 'the conflicts follow');
is(sql("SELECT object FROM migrate_summary($job) WHERE step = 'values of total'"), '5280 exact, 600 in _extra', 'and the values of the path');
like(error_of("SELECT migrate_replay($job, mapping => jsonb_set($mapping, '{fields,1,column}', '\"amount\"'))"), qr/column "amount" of the target does not exist/, 'columns of the mapping must exist');
like(error_of("SELECT migrate_replay($job, mapping => jsonb_set($mapping, '{source,namespace}', '\"shop.other\"'))"), qr/the mapping is one for "shop\.other", the dead letters are of "shop\.sales"/, 'and it must be one for the collection');
is(sql(qq(SELECT * FROM migrate_replay($job, options => '{"invalid_text": "strip"}'))), '120|0', 'with another invalid_text');
is(sql("SELECT count(*), min(note) FROM sales WHERE _id % 50 = 1"), '120|ab', 'the notes are there, without the NUL');
is(books($job), '6000|6000|0|600', 'no document is rejected any more');
like(values_line($job), qr/^lossless: no, 120 altered, /, 'and the summary says what was altered');
is(sql("SELECT status, count(*) FROM migrate_errors WHERE job_id = $job GROUP BY status"), 'replayed|720', 'the letters are replayed');
is(sql("SELECT count(*) FROM migrate_events WHERE job_id = $job AND message LIKE 'rejected documents were tried again: %'"), 4, 'which are events');

# What the table refuses is a letter that says so.
sql("DELETE FROM sales WHERE _id = 10; UPDATE mongo_migrate.dead_letter SET status = 'pending' WHERE source_id IN ('{\"\$numberInt\": \"10\"}', '{\"\$numberInt\": \"20\"}');
	UPDATE mongo_migrate.chunk SET rows_inserted = rows_inserted - 2, docs_rejected = 2 WHERE job_id = $job AND chunk_no = 1");
is(sql("SELECT * FROM migrate_replay($job, mapping => $mapping)"), '1|1', 'of two rows the table takes one');
is(sql("SELECT stage, sqlstate FROM migrate_errors WHERE status = 'pending'"), 'insert|23505', 'and the letter of the other says why');

# --- discard

$job = start('poison', q(workers => 1));
is(sql("SELECT migrate_wait($job)"), 'completed', 'four documents without a valid text');
is(sql("SELECT migrate_discard(ARRAY(SELECT error_id FROM migrate_errors WHERE job_id = $job ORDER BY error_id LIMIT 1), 'test data')"), 1, 'discard one');
is(sql("SELECT migrate_discard(ARRAY(SELECT error_id FROM migrate_errors WHERE job_id = $job ORDER BY error_id LIMIT 1))"), 0, 'only once');
is(sql("SELECT reason FROM mongo_migrate.dead_letter WHERE status = 'discarded'"), 'test data', 'the reason is kept');
is(sql("SELECT message, detail FROM migrate_events WHERE job_id = $job AND severity = 'warning'"), 'rejected documents were discarded: 1|test data', 'and seen');
like(error_of('SELECT migrate_discard(ARRAY[4711471147])'), qr/dead letter 4711471147 does not exist/, 'one that is none');
like(values_line($job), qr/^lossless: no, 1 discarded, 5988 exact, 3 rejected$/, 'what is discarded is lost');
is(sql(qq(SELECT * FROM migrate_replay($job, options => '{"invalid_text": "replace"}'))), '3|0', 'a replay leaves it alone');

# --- forget

sql(qq(SELECT migrate_cancel(@{[start('narrow', q(target => 'forgotten'), 1000)]})));
my $canceled = sql('SELECT max(job_id) FROM migrate_jobs');
sql("SELECT migrate_wait($canceled)");
is(sql("SELECT migrate_forget($canceled), to_regclass('forgotten') IS NOT NULL"), 't|t', 'a job is forgotten, its table is not');
is(sql("SELECT count(*) FROM migrate_jobs WHERE job_id = $canceled"), 0, 'it left the history');
is(sql("SELECT migrate_forget($canceled)"), 'f', 'and cannot do so again');

# --- run

my $before = sql('SELECT count(*) FROM migrate_jobs');
like(sql("CALL migrate_run('$uri', 'poison', target => 'run')"), qr/^\d+$/, 'run returns the job');
is(sql("SELECT count(*) FROM run"), 1996, 'when it is complete');
$err = error_of("CALL migrate_run('$uri', 'poison', target => 'run', if_exists => 'replace', options => '{\"reject_limit\": 0}')");
like($err, qr/ERROR:  migration job \d+ failed: 4 documents rejected, the limit is 0\nDETAIL:  2 of them: invalid byte .* in "note", first in _id ObjectId\("[0-9a-f]{24}"\)/, 'run raises the error of the job');
like(error_of("BEGIN; CALL migrate_run('$uri', 'poison', target => 'none'); COMMIT"), qr/ERROR:  invalid transaction termination/, 'run is not for transaction blocks');
is(sql("SELECT count(*) - $before, to_regclass('none') IS NULL FROM migrate_jobs"), '2|t', 'and then does nothing');
like(error_of("SELECT migrate_forget(max(job_id)) FROM migrate_jobs"), qr/WARNING:  4 rejected documents of migration job \d+ are gone with it/, 'forget tells of letters');

# --- alter while it runs

# Documents a second, in six seconds.
sub measure_rate
{
	my $now = "SELECT docs_done, extract(epoch FROM clock_timestamp()) FROM migrate_stat_job WHERE job_id = $job";
	my ($from, $began) = split /\|/, sql($now);
	sleep 6;
	my ($to, $ended) = split /\|/, sql($now);
	return ($to - $from) / ($ended - $began);
}

$job = start('narrow', qq(workers => 1, $small), 5000);
ok(wait_for(sub { sql("SELECT docs_done > 0 FROM migrate_stat_job WHERE job_id = $job") eq 't' }, 20), 'a load under a throttle');
my $rate = measure_rate();
cmp_ok(abs($rate - 5000), '<', 2000, sprintf 'reads %.0f of 5000 documents a second', $rate);
is(loaders(), 1, 'by one loader');
sql("SELECT migrate_alter($job, workers => 4)");
ok(wait_for(sub { loaders() == 4 }, 30), 'then by four');
$rate = measure_rate();
cmp_ok(abs($rate - 5000), '<', 2000, sprintf 'which share the throttle: %.0f a second', $rate);
sql("SELECT migrate_alter($job, workers => 2)");
ok(wait_for(sub { loaders() == 2 }, 30), 'then by two');
like(error_of("SELECT migrate_replay($job)"), qr/cannot replay dead letters of migration job $job\nDETAIL:  It is running\./, 'no replay meanwhile');
like(error_of("SELECT migrate_forget($job)"), qr/cannot forget migration job $job\nDETAIL:  It is running\./, 'nor is it forgotten');
like(error_of("SELECT migrate_alter($job, workers => 0)"), qr/workers must be from 1 to 1000, not 0/, 'a number that makes no sense');
sql("SELECT migrate_alter($job, max_docs_per_second => 0)");
my $began = time();
is(sql("SELECT migrate_wait($job)"), 'completed', 'and without a throttle to the end');
cmp_ok(time() - $began, '<', 15, sprintf 'in %.1f s', time() - $began);
is($mongo->compare($node, 'shop.narrow', 'narrow'), '', 'nothing lost, nothing twice');
like(error_of("SELECT migrate_alter($job, workers => 1)"), qr/cannot alter migration job $job\nDETAIL:  It is completed/, 'a completed job is not altered');

sql("CREATE TABLE midway $columns");
$job = start('sales', qq(target => 'midway', if_exists => 'append', on_error => 'reject', workers => 2, $small), 500);
wait_for(sub { sql("SELECT rejected > 50 FROM migrate_jobs WHERE job_id = $job") eq 't' }, 20);
sql("SELECT migrate_alter($job, on_error => 'extra')");
wait_for(sub { sql("SELECT diverted > 50 FROM migrate_jobs WHERE job_id = $job") eq 't' }, 20);
sql("SELECT migrate_alter($job, max_docs_per_second => 0)");
is(sql("SELECT migrate_wait($job)"), 'completed', 'on_error is changed in mid-load');
my ($rejected, $diverted) = split /\|/, sql("SELECT count(*) FILTER (WHERE e.path = 'total'), min(j.diverted) FROM migrate_errors e JOIN migrate_jobs j USING (job_id) WHERE job_id = $job");
is($rejected + $diverted, 600, "$rejected are rejected, $diverted kept in _extra");
is(sql("SELECT migrate_mapping($job)->>'on_error'"), 'extra', 'and the contract says so');
is($mongo->compare($node, 'shop.sales', 'midway'), '', 'every document is accounted for');

sql("TRUNCATE midway");
$job = start('sales', qq(target => 'midway', if_exists => 'append', on_error => 'reject', workers => 2, $small), 500);
wait_for(sub { sql("SELECT rejected > 10 FROM migrate_jobs WHERE job_id = $job") eq 't' }, 20);
sql("SELECT migrate_alter($job, reject_limit => 5)");
like(error_of("SELECT migrate_wait($job)"), qr/documents rejected, the limit is 5\n/, 'a limit that is set lower is obeyed at once');

# --- a chunk in one transaction

$job = start('narrow', q(target => 'whole', mapping => '{"format": 1, "on_error": "reject", "fields": [{"path": "_id", "column": "_id", "type": "text"},
	{"path": "name", "column": "name", "type": "bigint"}]}', options => '{"split": "none", "reject_limit": 10}'));
$err = error_of("SELECT migrate_wait($job)");
like($err, qr/ERROR:  migration job $job failed: 1\d\d\d\d documents rejected, the limit is 10\nDETAIL:  1\d\d\d\d of them: .* first in _id .*\nHINT:  Change the mapping, or raise the limit with migrate_alter\($job, reject_limit/, 'is not read to its end, either');
is(sql("SELECT count(*) FROM migrate_errors WHERE job_id = $job"), 0, 'its rejects are gone with it');

# --- a throttle holds no transaction for long

$job = start('narrow', q(target => 'crawls', workers => 2, options => '{"split": "record"}'), 100);
my $paced = q(SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'mongo_migrate loader' AND wait_event_type = 'Extension' AND xact_start IS NULL);
ok(wait_for(sub { sql("SELECT docs_done > 0 FROM migrate_stat_job WHERE job_id = $job") eq 't' && sql($paced) eq '2' && do { sleep 1; 1 } && sql($paced) eq '2' }, 60), 'the rest of a reply is slept off between transactions')
  or diag(sql('SELECT * FROM pg_stat_activity'));
sql("SELECT migrate_cancel($job); SELECT migrate_wait($job)");

# --- a document stops the job (message 20): one chunk fails, one is tried again

sql("CREATE TABLE late $columns; CREATE TABLE stopped $columns");
$err = error_of("CALL migrate_run('$uri', 'sales', target => 'stopped', if_exists => 'append', on_error => 'stop', filter => '{\"total\": {\"\$lt\": 1000}}', workers => 1)");
like($err, qr/ERROR:  invalid byte 0x00 in string\nDETAIL:  PostgreSQL text cannot hold NUL characters\.\nHINT:  Set invalid_text to "strip" or "replace"\.\nCONTEXT:  migration job \d+, shop\.sales _id 1, path "note", column note/,
	'message 20 with its context');
$job = start('late', qq(if_exists => 'append', on_error => 'stop', workers => 1, $small));
$err = error_of("SELECT migrate_wait($job)");
like($err, qr/ERROR:  "total" is out of range for type smallint\n.*HINT:  on_error is "stop": .*migrate_alter\($job, on_error => \.\.\.\), then SELECT migrate_retry\($job\)\.\nCONTEXT:  migration job $job, shop\.late _id 5990, path "total", column total/s,
	'one that can be helped');
is(sql("SELECT count(*) FROM mongo_migrate.chunk WHERE job_id = $job AND state = 'failed'"), 1, 'one chunk failed');
my $rows = sql('SELECT count(*) FROM late');
sql("SELECT migrate_alter($job, on_error => 'extra'); SELECT migrate_retry($job)");
is(sql("SELECT migrate_wait($job)"), 'completed', 'altered and tried again');
cmp_ok($rows, '>', 4000, "behind the $rows rows that were there");
is($mongo->compare($node, 'shop.late', 'late'), '', 'the collection is complete');

# --- a job that fails behind the copy goes on there

$job = start('sales', q(target => 'tail', options => '{"invalid_text": "strip", "chunk_size": "64kB"}', workers => 1), 600);
wait_for(sub { sql("SELECT rows > 0 FROM migrate_jobs WHERE job_id = $job") eq 't' }, 20);
sql("SELECT migrate_pause($job)");
is(sql("SELECT migrate_wait($job)"), 'paused', 'a pause');
sql("CREATE TABLE aside AS SELECT * FROM tail LIMIT 7; DELETE FROM tail USING aside WHERE aside._id = tail._id");
sql("SELECT migrate_alter($job, max_docs_per_second => 0); SELECT migrate_resume($job)");
like(error_of("SELECT migrate_wait($job)"), qr/table "public\.tail" holds 5993 rows, the migration stored 6000/, 'rows are missing at the end');
sql('INSERT INTO tail SELECT * FROM aside');
sql("SELECT migrate_retry($job)");
is(sql("SELECT migrate_wait($job)"), 'completed', 'it is verified again, when they are back');
is(books($job), '6000|6000|0|0', 'and nothing is read again');

# --- the books are checked before a job is complete

$job = start('sales', qq(target => 'books', workers => 1, $small), 600);
wait_for(sub { sql("SELECT rejected > 5 FROM migrate_jobs WHERE job_id = $job") eq 't' }, 20);
sql("SELECT migrate_pause($job)");
sql("SELECT migrate_wait($job)");
sql("DELETE FROM mongo_migrate.dead_letter WHERE error_id = (SELECT max(error_id) FROM mongo_migrate.dead_letter WHERE job_id = $job)");
sql("SELECT migrate_alter($job, max_docs_per_second => 0); SELECT migrate_resume($job)");
like(error_of("SELECT migrate_wait($job)"), qr/ERROR:  the books of migration job $job do not close\nDETAIL:  Of 6000 documents read, 5880 were inserted, 0 updated, 120 rejected and 0 filtered; there are 119 dead letters/,
	'a job whose letter is missing is not complete');
is(sql("SELECT state FROM migrate_jobs WHERE job_id = $job"), 'failed', 'but failed');

# --- rights

sql(qq(CREATE ROLE etl LOGIN; CREATE ROLE watcher LOGIN IN ROLE pg_read_all_stats; CREATE ROLE operator LOGIN IN ROLE pg_signal_backend;
	CREATE ROLE stranger LOGIN; CREATE SCHEMA etl AUTHORIZATION etl; GRANT USAGE ON FOREIGN DATA WRAPPER mongo_migrate TO etl));
my @etl = (extra_params => ['-U', 'etl']);
$job = out_of("SELECT migrate_start('$uri', 'sales', target => 'etl.sales', options => '{\"reject_limit\": 0}')", @etl);
like(error_of("SELECT migrate_wait($job)", @etl), qr/DETAIL:  \d+ of them/, 'the owner sees the reason');
my @watcher = (extra_params => ['-U', 'watcher']);
unlike(error_of("SELECT migrate_wait($job)", @watcher), qr/DETAIL/, 'a role that may see the job does not see the document');
is(out_of("SELECT count(*), count(first_id) FROM migrate_conflicts WHERE job_id = $job", @watcher), '1|0', 'nor its _id');
is(out_of("SELECT count(*) > 0, count(detail) FROM migrate_events WHERE job_id = $job", @watcher), 't|0', 'nor details of events');
my @operator = (extra_params => ['-U', 'operator']);
is(error_of("SELECT migrate_alter($job, reject_limit => -1); SELECT migrate_retry($job)", @operator), '', 'an operator may alter and retry');
is(out_of("SELECT migrate_wait($job)", @etl), 'completed', 'and the job runs as its owner');
like(error_of("SELECT migrate_replay($job)", @operator), qr/permission denied for migration job $job/, 'but not replay');
foreach my $call ("migrate_alter($job, workers => 1)", "migrate_retry($job)", "migrate_replay($job)", "migrate_forget($job)",
	"migrate_discard(ARRAY(SELECT min(error_id) FROM generate_series(1, 1) AS error_id))")
{
	my ($name) = $call =~ /(\w+)/;
	like(error_of("SELECT $call", extra_params => ['-U', 'stranger']), qr/permission denied for migration job|does not exist/, "a stranger may not $name");
}
sql('REVOKE INSERT ON etl.sales FROM etl');
like(error_of(qq(SELECT migrate_replay($job, options => '{"invalid_text": "strip"}')), @etl), qr/permission denied for table sales/, 'a replay has the rights of its caller');
sql('GRANT INSERT ON etl.sales TO etl');
is(out_of(qq(SELECT * FROM migrate_replay($job, options => '{"invalid_text": "strip"}')), @etl), '120|0', 'and no others');

is(sql('SELECT count(*) FROM mongo_migrate.chunk WHERE docs_read <> rows_inserted + rows_updated + docs_rejected + docs_filtered'), 0, 'the books close, all of them');
is(sql("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"), 0, 'no lock is left');
# --- rows of others, in a table that a failed job had made

$job = start('sales', q(target => 'shared', on_error => 'reject', mapping => '{"format": 1, "fields": [{"path": "_id", "column": "_id", "type": "bigint"},
	{"path": "total", "column": "total", "type": "smallint"}], "target": {"primary_key": ["_id"]}, "extra": "ignore"}', options => '{"reject_limit": 100}'));
like(error_of("SELECT migrate_wait($job)"), qr/the limit is 100/, 'a job fails half way');
my $other = start('late', q(target => 'shared', if_exists => 'append', mapping => '{"format": 1, "fields": [{"path": "_id", "column": "_id", "type": "bigint"}], "extra": "ignore"}'));
is(sql("SELECT migrate_wait($other)"), 'completed', 'another one fills the same table');
sql("SELECT migrate_alter($job, reject_limit => -1); SELECT migrate_retry($job)");
like(error_of("SELECT migrate_wait($job)"), qr/table "public\.shared" holds \d+ rows, the migration stored \d+\nDETAIL:  Rows were added or removed by others/, 'the first one sees it');
is(sql('SELECT count(*) >= 6000 FROM shared'), 't', 'and takes nothing away');

# --- indexes that keep something between insertions (BRIN since 17)

sql('CREATE TABLE summarized (_id bigint PRIMARY KEY, total smallint, note text, _extra jsonb, CHECK (total <> 7)); CREATE INDEX ON summarized USING brin (_id, total)');
$job = start('sales', q(target => 'summarized', if_exists => 'append', options => '{"reject_limit": null}'));
is(sql("SELECT migrate_wait($job)"), 'completed', 'careful mode with a BRIN index');
is(sql("SELECT docs_rejected > 0 FROM migrate_stat_job WHERE job_id = $job"), 't', 'which rejects');
is($mongo->compare($node, 'shop.sales', 'summarized', undef, '--dead-letters-only-count'), '', 'nothing lost');
is(sql('SET enable_seqscan = off; SELECT count(*) FROM summarized WHERE total = 8') - sql('SET enable_bitmapscan = off; SELECT count(*) FROM summarized WHERE total = 8'), 0, 'and all is in the index');

# --- a constraint that cannot even be prepared

sql('CREATE TABLE broken (_id bigint, total bigint, note text, _extra jsonb, CHECK (total > 1 / 0))');
$job = start('late', q(target => 'broken', if_exists => 'append', options => '{"reject_limit": 50}'));
like(error_of("SELECT migrate_wait($job)"), qr/documents rejected, the limit is 50\nDETAIL:  \d+ of them: division by zero/, 'a constraint that always raises rejects, row by row');
is(sql('SELECT count(*) FROM broken'), 0, 'no row passes');
unlike(slurp_file($node->logfile), qr/terminated by signal/, 'and no process crashes');

done_testing();
