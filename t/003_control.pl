# Pause, resume, cancel, wait, transactions, two jobs, plain roles.
use strict;
use warnings;

use FaultTest;
use MongoTest qw(wait_for);
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $mongo = MongoTest->new;
my $node = MongoTest::node('control');
my $uri = $mongo->uri('shop');
$mongo->generate('narrow', 400000, 'shop.narrow');
$mongo->generate('orders', 3000, 'shop.orders');

# Ten seconds' work, on any machine.
my $start = "SET mongo_migrate.checkpoint_bytes = '64kB';"
  . "SELECT migrate_start('$uri', 'narrow', if_exists => 'replace', workers => 2, options => '{\"chunk_size\": \"1MB\", \"max_docs_per_second\": 40000}')";

sub sql { my ($sql) = @_; return $node->safe_psql('postgres', $sql); }

sub error_of
{
	my ($sql, @more) = @_;
	my $err = '';
	$node->psql('postgres', $sql, stderr => \$err, @more);
	return $err;
}

sub start_and_copy
{
	my $job = sql($start);
	wait_for(sub { sql("SELECT rows > 0 FROM migrate_jobs WHERE job_id = $job") eq 't' }, 30) or die 'nothing is copied';
	return $job;
}

# Pause and resume, several times in one load.
my $job = start_and_copy();
foreach my $i (1 .. 3)
{
	my $began = time();
	like(sql("SELECT migrate_pause($job)"), qr/paus/, "pause $i");
	is(sql("SELECT migrate_wait($job)"), 'paused', 'is paused');
	cmp_ok(time() - $began, '<', 3, 'soon');
	my $rows = sql('SELECT count(*) FROM narrow');
	is(sql("SELECT rows FROM migrate_jobs WHERE job_id = $job"), $rows, 'the books agree with the table while paused');
	ok(wait_for(sub { sql("SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'mongo_migrate%'") eq '0' }, 20), 'no worker is left')
	  or diag(sql('SELECT * FROM pg_stat_activity'));
	is(sql("SELECT migrate_resume($job)"), 'queued', 'resume');
	wait_for(sub { sql("SELECT rows > $rows OR state = 'completed' FROM migrate_jobs WHERE job_id = $job") eq 't' }, 30);
}
is(sql("SELECT migrate_wait($job)"), 'completed', 'completes after pauses');
is($mongo->compare($node, 'shop.narrow', 'narrow'), '', 'nothing lost, nothing twice');
like(error_of("SELECT migrate_pause($job)"), qr/cannot pause migration job $job\nDETAIL:  It is completed/, 'a completed job is not paused');
like(error_of("SELECT migrate_resume($job)"), qr/cannot resume migration job $job/, 'nor resumed');
like(error_of("SELECT migrate_cancel($job)"), qr/cannot cancel migration job $job/, 'nor canceled');

# Progress while it runs, and its cost.
$job = start_and_copy();
is(sql('SELECT char_length(progress), progress LIKE \'%.__\' OR progress LIKE \'%._\%\' FROM migrate_progress'), '27|t', 'a bar of fixed width');
is(sql("SELECT string_agg(backend_type, ',' ORDER BY backend_type) FROM (SELECT DISTINCT backend_type FROM pg_stat_activity
	WHERE backend_type LIKE 'mongo%') t"), 'mongo_migrate coordinator,mongo_migrate loader', 'workers by type');
ok(wait_for(sub { sql("SELECT query FROM pg_stat_activity WHERE backend_type = 'mongo_migrate loader' LIMIT 1") =~ /^copying shop.narrow to public.narrow, chunk \d+ of \d+$/ }, 20),
	'and what they do');
cmp_ok(sql('SELECT count(*) FROM migrate_workers WHERE last_id IS NOT NULL'), '>', 0, 'last_id is shown to the owner');
my $cost = sql(q(
	CREATE TEMP TABLE cost (t timestamptz, after timestamptz);
	DO $$ DECLARE t timestamptz; BEGIN FOR i IN 1 .. 50 LOOP
		t := clock_timestamp(); PERFORM * FROM migrate_progress; INSERT INTO cost VALUES (t, clock_timestamp());
	END LOOP; END $$;
	SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM after - t) * 1000) FROM cost));
cmp_ok($cost, '<', 5, sprintf 'migrate_progress takes %.1f ms', $cost);

# Two active jobs: one must be named (message 27); one table has one (23).
like(error_of("SELECT migrate_start('$uri', 'narrow', if_exists => 'append')"),
	qr/table "public.narrow" is being loaded by migration job $job\nHINT:  Wait for it with SELECT migrate_wait\($job\)/, 'message 23');
sql("SELECT migrate_pause($job)");
sql("SELECT migrate_wait($job)");
my $second = sql("BEGIN; SELECT migrate_start('$uri', 'orders'); COMMIT");
sql("SELECT migrate_wait($second)");
{
	sql("UPDATE mongo_migrate.job SET state = 'paused', finished_at = NULL WHERE job_id = $second");
	like(error_of('SELECT migrate_wait()'), qr/more than one migration job is active\nHINT:  Name one of: $job \(narrow\), $second \(orders\)/, 'message 27');
	sql("UPDATE mongo_migrate.job SET state = 'completed', finished_at = now() WHERE job_id = $second");
}

# Cancel keeps the rows, with drop_target it removes the table.
is(sql("SELECT migrate_cancel($job)"), 'canceled', 'a paused job is canceled at once');
cmp_ok(sql('SELECT count(*) FROM narrow'), '>', 0, 'what was loaded is kept');
$job = start_and_copy();
like(error_of('SELECT migrate_cancel(NULL, drop_target => true)'), qr/ERROR:  drop_target needs a job_id\nHINT:  Write migrate_cancel\($job, drop_target => true\)/, 'no table is dropped for a null');
is(sql("SELECT migrate_cancel($job, drop_target => true)"), 'canceling', 'cancel a running job');
is(sql("SELECT migrate_wait($job)"), 'canceled', 'it ends');
is(sql("SELECT to_regclass('narrow') IS NULL"), 't', 'and the table is gone');
sql('CREATE TABLE kept (LIKE orders)');
$job = sql("SELECT migrate_start('$uri', 'orders', target => 'kept', if_exists => 'append')");
sql("SELECT migrate_wait($job)");
is(sql('SELECT count(*) FROM kept'), 3000, 'a table of the user is filled');

# A start belongs to its transaction.
my $before = sql('SELECT count(*) FROM migrate_jobs');
sql("BEGIN; SELECT migrate_start('$uri', 'orders', target => 'undone'); ROLLBACK");
is(sql("SELECT count(*) - $before, to_regclass('undone') IS NULL FROM migrate_jobs"), '0|t', 'ROLLBACK leaves no job and no table');
ok(wait_for(sub { sql("SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'mongo_migrate%'") eq '0' }, 30), 'and no worker');
like(error_of("BEGIN; SELECT migrate_start('$uri', 'orders', target => 'later'); COMMIT"),
	qr/NOTICE:  migration job \d+ will start when this transaction commits/, 'message 31');
sql('SELECT migrate_wait()');
like(error_of("BEGIN; SELECT migrate_start('$uri', 'orders', target => 'never'); SELECT migrate_wait(); COMMIT"),
	qr/cannot wait for a migration job started in the same transaction/, 'message 33');
is(sql("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) > 0 FROM migrate_jobs; SELECT migrate_wait(); COMMIT"), "t\ncompleted",
	'migrate_wait() works under REPEATABLE READ');
$job = start_and_copy();
sql("SELECT migrate_pause($job); SELECT migrate_wait($job)");
is(sql("SELECT migrate_resume($job); SELECT migrate_wait($job, timeout => '0.05 s') IS NULL"), "queued\nt", 'NULL when the time is up');
is(sql("SELECT migrate_wait($job)"), 'completed', 'and the job is not harmed');

# What a transaction asks for, the job does when that has committed.
foreach my $call ('migrate_pause', 'migrate_alter', 'migrate_cancel')
{
	$job = start_and_copy();
	like(error_of("BEGIN; SELECT $call($job); SELECT migrate_wait($job); COMMIT"), qr/cannot wait for a migration job changed in the same transaction/,
		"no wait behind $call()");
	is(sql("SELECT migrate_cancel($job); SELECT migrate_wait($job)"), "canceling\ncanceled", 'and nothing hangs');
}

$job = start_and_copy();
like(error_of("DO \$\$ BEGIN BEGIN PERFORM migrate_alter($job, workers => 0); EXCEPTION WHEN OTHERS THEN NULL; END; PERFORM migrate_wait($job, '0.3 s'); END \$\$"),
	qr/^$/, 'a request that failed is none');
sql("SELECT migrate_cancel($job); SELECT migrate_wait($job)");

# Nor does a wait hold up what the job itself waits for.
$job = start_and_copy();
my $waiting = FaultTest::Session->new($node, 'BEGIN');
$waiting->send("SELECT migrate_wait($job)");
my $waiter = q{SELECT pid FROM pg_stat_activity WHERE query LIKE 'SELECT migrate_wait(%' AND wait_event_type = 'Extension'};
ok(wait_for(sub { sql($waiter) ne '' }, 30), 'a session waits');
ok(wait_for(sub { sql("SELECT count(*) FROM pg_locks WHERE locktype <> 'virtualxid' AND pid IN ($waiter)") eq '0' }, 20), 'and holds no lock');
sql("SELECT migrate_cancel($job)");
ok(wait_for(sub { $waiting->{run}->pump_nb; $waiting->{out} =~ /canceled/ }, 30), 'until the job ends');
$waiting->end;

# A lock that this transaction holds on the table would hold up the key.
$job = start_and_copy();
like(error_of("BEGIN; SELECT count(*) >= 0 FROM narrow; SELECT migrate_wait($job); COMMIT"),
	qr/ERROR:  cannot wait for a migration job that waits for this transaction\nDETAIL:  Process \d+ waits for a lock that this transaction holds, or for others that do\.\nHINT:  COMMIT first\./, 'no wait behind a read of the table');
is(sql("SELECT migrate_wait($job)"), 'completed', 'without it, the job completes');

# A cancel that is committed when the job has come to its end meanwhile.
sql("SET mongo_migrate.checkpoint_bytes = '64kB'; SELECT migrate_start('$uri', 'orders', target => 'goes', workers => 1, options => '{\"max_docs_per_second\": 600}')");
$job = sql('SELECT max(job_id) FROM migrate_jobs');
my $canceling = FaultTest::Session->new($node, "BEGIN; SELECT migrate_cancel($job, drop_target => true)");
ok(wait_for(sub { sql(q(SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'mongo_migrate coordinator' AND wait_event_type = 'Lock')) == 1 }, 60), 'the job ends, and waits');
$canceling->send('COMMIT');
is(sql("SELECT migrate_wait($job)"), 'canceled', 'it is canceled');
is(sql("SELECT to_regclass('goes') IS NULL"), 't', 'and its table is dropped');
$canceling->end;

# An old snapshot does not hide a job.
my $old = FaultTest::Session->new($node, 'BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM pg_class');
$job = start_and_copy();
$old->send("SELECT migrate_start('$uri', 'narrow', target => 'public.narrow', if_exists => 'truncate')");
ok(wait_for(sub { eval { $old->{run}->pump_nb }; $old->{err} =~ /being loaded by migration job $job/ }, 30), 'REPEATABLE READ: message 23') or diag($old->{err});
$old->end;
sql("SELECT migrate_cancel($job); SELECT migrate_wait($job)");
like(error_of("BEGIN READ ONLY; SELECT migrate_start('$uri', 'orders', target => 'ro')"),
	qr/cannot execute migrate_start\(\) in a read-only transaction/, 'a read-only transaction is refused');

# Fewer workers than asked for; the server's own launcher takes one slot, too: the job runs with those (message 18).
$node->append_conf('postgresql.conf', 'max_worker_processes = 3');
$node->restart;
like(error_of("SELECT migrate_start('$uri', 'narrow', if_exists => 'replace', workers => 4); SELECT migrate_wait()"),
	qr/WARNING:  only 1 of 4 workers could be started\nHINT:  Raise max_worker_processes \(now 3/, 'message 18');
is(sql('SELECT count(*) FROM narrow'), 400000, 'and yet all is loaded');
$node->append_conf('postgresql.conf', 'max_worker_processes = 0');
$node->restart;
like(error_of("SELECT migrate_start('$uri', 'orders', target => 'none')"),
	qr/could not start a background worker\nDETAIL:  All 0 slots of max_worker_processes are in use/, 'no worker at all');
$node->append_conf('postgresql.conf', 'max_worker_processes = 16');
$node->restart;

# A plain role with the grants of the reference, and nothing else.
sql(qq(CREATE ROLE etl LOGIN; CREATE SCHEMA etl AUTHORIZATION etl;
	CREATE SERVER shop FOREIGN DATA WRAPPER mongo_migrate OPTIONS (uri '$uri');
	GRANT USAGE ON FOREIGN SERVER shop TO etl));
my @etl = (extra_params => ['-U', 'etl']);
like(error_of("SELECT migrate_start('shop', 'orders', target => 'etl.orders')", @etl), qr/user mapping not found for "etl", server "shop"\nHINT:  CREATE USER MAPPING/, 'message 11');
sql('CREATE USER MAPPING FOR etl SERVER shop');
like(error_of("SELECT migrate_start('shop', 'orders', target => 'public.mine')", @etl), qr/permission denied for schema public\nHINT:  Name a target in a schema you may create in/, 'message 17');
my $out = '';
$node->psql('postgres', "SELECT migrate_start('shop', 'orders', target => 'etl.orders')", stdout => \$job, @etl);
$node->psql('postgres', "SELECT migrate_wait($job)", stdout => \$out, @etl);
is($out, 'completed', 'a plain role migrates through a server');
is(sql(q(SELECT tableowner FROM pg_tables WHERE schemaname = 'etl')), 'etl', 'and owns its table');
$node->psql('postgres', "SELECT count(*), min(owner) FROM migrate_jobs", stdout => \$out, @etl);
is($out, '1|etl', 'it sees its own job only');
like(error_of('SELECT migrate_cancel(1)', @etl), qr/permission denied for migration job 1/, 'and controls no other');
like(error_of(qq(SELECT migrate_start('$uri', 'orders', target => 'etl.two')), @etl), qr/permission denied for foreign-data wrapper mongo_migrate/, 'a bare string needs USAGE on the wrapper');
like(error_of('SELECT * FROM mongo_migrate.job', @etl), qr/permission denied for schema mongo_migrate/, 'the tables are closed');

done_testing();
