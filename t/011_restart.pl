# Restarts, promotion, and what takes a job its ground: with and without
# shared_preload_libraries.
use strict;
use warnings;

use IPC::Run ();
use MongoTest qw(wait_for);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

my $mongo = MongoTest->new;
my $uri = $mongo->uri('shop');
$mongo->generate('mixed', 20000, 'shop.mixed');
$mongo->generate('orders', 2000, 'shop.orders');
my $figures = '';

# Of the node that is named last; a test is about one at a time.
my $node;

sub sql { my ($sql, $database) = @_; return $node->safe_psql($database // 'postgres', $sql); }

# undef while the server cannot be asked.
sub try_sql
{
	my ($sql, $database) = @_;
	return MongoTest::ask($node, $sql, $database);
}

sub error_of
{
	my ($sql, $database) = @_;
	my $err = '';
	$node->psql($database // 'postgres', $sql, stderr => \$err);
	return $err;
}

sub state { my ($job, $database) = @_; return try_sql("SELECT state FROM migrate_jobs WHERE job_id = $job", $database) // ''; }

sub wait_state
{
	my ($job, $state, $seconds, $database) = @_;
	return wait_for(sub { state($job, $database) =~ /^($state)$/ }, $seconds // 30)
	  || diag(try_sql('SELECT * FROM migrate_jobs; SELECT * FROM migrate_events; SELECT pid, backend_type, query FROM pg_stat_activity', $database)) && 0;
}

# Small chunks, a throttle: about twenty seconds to be interrupted in.
sub start_load
{
	my ($table, $database) = @_;
	my $job = sql(qq(SET client_min_messages = error; SET mongo_migrate.checkpoint_bytes = '64kB';
		SELECT migrate_start('$uri', 'mixed', target => '$table', workers => 2,
		options => '{"chunk_size": "64kB", "max_docs_per_second": 1000}')), $database);
	wait_for(sub { sql("SELECT rows > 1000 FROM migrate_jobs WHERE job_id = $job", $database) eq 't' }, 30) or die 'nothing is copied';
	return $job;
}

sub start_small
{
	my ($table, $database) = @_;
	return sql(qq(SET client_min_messages = error; SELECT migrate_start('$uri', 'orders', target => '$table', workers => 1)), $database);
}

sub check_load
{
	my ($job, $table, $name) = @_;
	sql("SELECT migrate_alter($job, max_docs_per_second => 0)");
	ok(wait_state($job, 'completed', 60), "$name: completes");
	is($mongo->compare($node, 'shop.mixed', $table), '', "$name: nothing lost, nothing twice");
	return;
}

sub workers
{
	return try_sql(q(SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'mongo_migrate%')) // -1;
}

# Lines of the log since a place in it that match.
sub log_lines
{
	my ($offset, $pattern) = @_;
	my @lines = grep { /$pattern/ } split /\n/, slurp_file($node->logfile, $offset);
	return @lines;
}

sub log_end { return -s $node->logfile; }

sub restart
{
	my ($mode) = @_;
	$node->stop($mode);
	my $offset = log_end();
	$node->start;
	return $offset;
}

sub set { my ($setting) = @_; $node->append_conf('postgresql.conf', $setting); return; }

# ---------------------------------------------------------------------------
# Preloaded
# ---------------------------------------------------------------------------

$node = MongoTest::node('preloaded', shared_preload_libraries => "'mongo_migrate'", 'mongo_migrate.max_running_jobs' => 2,
	wal_level => 'replica', max_wal_senders => 5);

# What preloading costs: nothing of the driver, no thread, no file, no process.
sub maps { my ($pid) = @_; return slurp_file("/proc/$pid/maps"); }
my ($postmaster) = slurp_file($node->data_dir . '/postmaster.pid') =~ /^(\d+)/;
like(maps($postmaster), qr/mongo_migrate\.so/, 'the library is preloaded');
unlike(maps($postmaster), qr/mongo_migrate_engine|libmongoc|libbson|libicu.*mongo/, 'without engine and driver');
is(scalar(() = glob "/proc/$postmaster/task/*"), 1, 'the postmaster has one thread');
ok(!-e "/dev/shm/mongoc-$postmaster", 'and no file of the driver');
my $session = IPC::Run::start(['psql', '-X', '-q', '-At', '-d', $node->connstr('postgres')], '<', \my $in, '>', \my $out, '2>', \my $err);
$in = "SELECT pg_backend_pid();\n";
$session->pump until $out =~ /(\d+)\n/;
my ($backend) = $out =~ /(\d+)\n/;
unlike(maps($backend), qr/mongo_migrate_engine|libmongoc/, 'nor has a session');
unlink "/dev/shm/mongoc-$backend";			# of a killed process that had this number
$in = "SELECT 'version ' || migrate_version();\n";
$session->pump until $out =~ /version .*libmongoc.*\n/;
like(maps($backend), qr/mongo_migrate_engine/, 'until it calls a function') && like(maps($backend), qr/libmongoc/, 'which brings the driver');
ok(!-e "/dev/shm/mongoc-$backend", 'still without a file of the driver');
is(scalar(() = glob "/proc/$backend/task/*"), 1, 'and without a thread');
$session->finish;
ok(wait_for(sub { workers() == 0 }, 30), 'the launcher ends when there is nothing to do');
is(scalar(grep { !/statement:|pg_|worker_processes/ } log_lines(0, qr/mongo_migrate|background worker|resum/)), 0, 'and says nothing in the log');

sql('CREATE DATABASE other');
sql('CREATE EXTENSION mongo_migrate', 'other');
sql('CREATE DATABASE without_extension');
sql('CREATE DATABASE closed ALLOW_CONNECTIONS false');

foreach my $mode ('fast', 'immediate')
{
	my $paused = start_load("paused_$mode");
	sql("SELECT migrate_pause($paused); SELECT migrate_wait($paused)");
	my $job = start_load("run_$mode");
	my $elsewhere = start_load("run_$mode", 'other');
	my $queued = start_small("queued_$mode");
	is(state($queued), 'queued', "$mode: a job waits");
	my $began = time();
	$node->stop($mode);
	cmp_ok(time() - $began, '<', 5, sprintf '%s: the server stops in %.1f s', $mode, time() - $began);
	my $offset = log_end();
	$node->start;
	$began = time();
	my $again = "SELECT count(*) > 0 FROM migrate_events WHERE job_id = %d AND message LIKE 'continued, 2.%%'";
	ok(wait_for(sub { (try_sql(sprintf $again, $job) // '') eq 't' }, 10), "$mode: a job goes on by itself");
	$figures .= sprintf ' %s %.1f s', $mode, time() - $began;
	ok(wait_for(sub { (try_sql(sprintf($again, $elsewhere), 'other') // '') eq 't' }, 10), "$mode: that of another database, too");
	is(state($paused), 'paused', "$mode: one that is paused does not");
	is(scalar(log_lines($offset, qr/FATAL|ERROR|WARNING|exited with/)), 0, "$mode: without noise in the log")
	  or diag(join "\n", log_lines($offset, qr/FATAL|ERROR|WARNING|exited with/));
	sql("SELECT migrate_alter($elsewhere, max_docs_per_second => 0)", 'other');
	ok(wait_state($elsewhere, 'completed', 60, 'other'), "$mode: completes there");
	check_load($job, "run_$mode", $mode);
	ok(wait_state($queued, 'completed'), "$mode: the one that waited has its turn");
	sql("SELECT migrate_resume($paused)");
	check_load($paused, "paused_$mode", "$mode, paused");
}

# Switched off; and jobs in every state that is not final.
set('mongo_migrate.autoresume = off');
my %job = map { $_ => start_load($_) } 'pausing', 'canceling';
my $third = start_small('third');
my $fourth = start_small('fourth');
MongoTest::plain(0);
sql(qq(CREATE ROLE etl LOGIN; CREATE SCHEMA etl AUTHORIZATION etl; GRANT USAGE ON FOREIGN DATA WRAPPER mongo_migrate TO etl));
my $homeless;
$node->psql('postgres', "SELECT migrate_start('$uri', 'orders', target => 'etl.orders')", stdout => \$homeless, extra_params => ['-U', 'etl']);
restart('fast');
ok(wait_for(sub { workers() == 0 }, 20), 'the launcher ends');
sleep 2;
is(workers(), 0, 'autoresume = off: nothing goes on by itself');
is(join(',', map { state($_) } $job{pausing}, $third), 'running,queued', 'the jobs are as they were');
sql("UPDATE mongo_migrate.job SET requested_at = now() - interval '1 min'");
is(sql("SELECT message FROM migrate_jobs WHERE job_id = $job{pausing}"), "no coordinator is running: SELECT migrate_resume($job{pausing})", 'a view says so');
is(sql("SELECT message FROM migrate_jobs WHERE job_id = $third"), "no coordinator is running: SELECT migrate_resume($third)", 'also of one that waits');
sql("UPDATE mongo_migrate.job SET state = 'pausing' WHERE job_id = $job{pausing};
	UPDATE mongo_migrate.job SET state = 'canceling' WHERE job_id = $job{canceling}; ALTER ROLE etl NOLOGIN");
set('mongo_migrate.autoresume = on');
my $offset = restart('fast');
ok(wait_state($job{pausing}, 'paused', 10), 'a pause is carried out after the restart');
ok(wait_state($job{canceling}, 'canceled', 10), 'a cancel, too');
ok(wait_state($third, 'completed', 20) && wait_state($fourth, 'completed', 20), 'those that wait have their turn');
ok(wait_state($homeless, 'failed', 10), 'one whose owner may not log in any more fails');
like(error_of("SELECT migrate_wait($homeless)"), qr/ERROR:  migration job $homeless cannot run as its owner\nDETAIL:  Its owner, role "etl", may not log in/, 'and says why');
is(scalar(log_lines($offset, qr/FATAL|exited with/)), 0, 'nobody tried to');
sql("SELECT migrate_cancel($job{pausing})");

# A crash while the owner loses its login: the coordinator cannot come back, and does not try for ever.
sql('ALTER ROLE etl LOGIN');
$node->psql('postgres', qq(SET client_min_messages = error; SELECT migrate_start('$uri', 'mixed', target => 'etl.mixed', workers => 1,
	options => '{"max_docs_per_second": 100}')), stdout => \$homeless, extra_params => ['-U', 'etl']);
wait_state($homeless, 'running');
wait_for(sub { sql(q(SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'mongo_migrate loader')) eq '1' }, 10);
$offset = log_end();
my $loader = sql(q(SELECT pid FROM pg_stat_activity WHERE backend_type = 'mongo_migrate loader'));
sql('ALTER ROLE etl NOLOGIN');
kill 'KILL', $loader;
ok(wait_for(sub { log_lines($offset, qr/role "etl" is not permitted to log in/) }, 20), 'the coordinator comes back and may not log in');
sleep 7;
is(scalar(log_lines($offset, qr/role "etl" is not permitted to log in/)), 1, 'once');
is(state($homeless), 'running', 'the job is not lost');
like(error_of("SELECT migrate_resume($homeless)"), qr/ERROR:  migration job $homeless cannot run as its owner\nDETAIL:  Its owner, role "etl", may not log in/,
	'migrate_resume says why it cannot go on');
sql("SELECT migrate_cancel($homeless)");
MongoTest::plain(1);

# Missing tables, a dropped extension: a launcher that finds nothing.
sql('DROP EXTENSION mongo_migrate CASCADE', 'other');
$offset = restart('fast');
ok(wait_for(sub { workers() == 0 }, 30), 'the launcher ends');
is(scalar(log_lines($offset, qr/FATAL|ERROR|WARNING|exited with/)), 0, 'quietly without the extension');

# ---------------------------------------------------------------------------
# Standby: F27, F26
# ---------------------------------------------------------------------------

$node->backup('base');
my $primary = $node;
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'base', has_streaming => 1);
$standby->start;
my $job = start_load('promoted');
$primary->wait_for_catchup($standby, 'replay', $primary->lsn('write'));
$node = $standby;
like(error_of("SELECT migrate_start('$uri', 'orders')"), qr/ERROR:  cannot run a migration during recovery\nHINT:  Connect to the primary server/, 'message 30');
foreach my $call ("migrate_pause($job)", "migrate_resume($job)", "migrate_cancel($job)", "migrate_alter($job, workers => 1)", "migrate_forget($job)", "migrate_retry($job)")
{
	like(error_of("SELECT $call"), qr/ERROR:  cannot run a migration during recovery\nHINT:  Connect to the primary server/, "$call on a standby");
}
is(sql("SELECT state, message FROM migrate_jobs WHERE job_id = $job"), 'running|goes on at the primary server', 'the views work on a standby');
is(sql("SELECT count(*) FROM migrate_progress WHERE job_id = $job"), 1, 'migrate_progress, too');
is(sql("SELECT migrate_wait($job, timeout => '0.3 s') IS NULL"), 't', 'and migrate_wait');
is(workers(), 0, 'no worker runs on a standby');
$primary->stop('immediate');
my $began = time();
$offset = log_end();
$standby->promote;
ok(wait_for(sub { (try_sql("SELECT count(*) > 0 FROM migrate_events WHERE job_id = $job AND message LIKE 'continued, 2.%'") // '') eq 't' }, 20),
	'after promotion the job goes on by itself');
$figures .= sprintf ' promotion %.1f s', time() - $began;
check_load($job, 'promoted', 'promoted');
$standby->stop;

# ---------------------------------------------------------------------------
# Not preloaded
# ---------------------------------------------------------------------------

$node = MongoTest::node('plain', wal_level => 'replica', max_wal_senders => 5);
$job = start_load('run');
restart('fast');
sleep 2;
is(workers(), 0, 'without preload nothing goes on by itself');
sql("UPDATE mongo_migrate.job SET requested_at = now() - interval '1 min'");
is(sql("SELECT state, message FROM migrate_jobs WHERE job_id = $job"), "running|no coordinator is running: SELECT migrate_resume($job)", 'the view says so');
is(sql("SELECT migrate_resume($job)"), 'queued', 'one call');
check_load($job, 'run', 'not preloaded');

# A dump taken while a job runs: history comes along, jobs that run do not.
$job = start_load('dumped');
my $dump = PostgreSQL::Test::Utils::tempdir() . '/dump.sql';
$node->command_ok(['pg_dump', '-f', $dump, 'postgres'], 'a dump while a job runs');
sql('CREATE DATABASE restored');
$node->command_ok(['psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-f', $dump, '-d', $node->connstr('restored')], 'is restored');
is(sql(q(SELECT string_agg(state::text, ',') FROM migrate_jobs), 'restored'), 'completed', 'no job of it runs');
cmp_ok(sql(q(SELECT count(*) FROM dumped), 'restored'), '>', 0, 'though its rows are there');
my $next = start_small('next', 'restored');
cmp_ok($next, '>', sql(q(SELECT min(job_id) FROM migrate_jobs), 'restored'), 'numbers go on');
ok(wait_state($next, 'completed', 20, 'restored'), 'and jobs can be started there');
check_load($job, 'dumped', 'dumped');

# F26 without preload.
$node->backup('base');
$primary = $node;
$standby = PostgreSQL::Test::Cluster->new('standby2');
$standby->init_from_backup($primary, 'base', has_streaming => 1);
$standby->start;
$job = start_load('promoted');
$primary->wait_for_catchup($standby, 'replay', $primary->lsn('write'));
$primary->stop('immediate');
$standby->promote;
$node = $standby;
is(state($job), 'running', 'promoted without preload: the job is there');
is(sql("SELECT migrate_resume($job)"), 'queued', 'one call');
check_load($job, 'promoted', 'promoted without preload');
$node->stop;
$node = $primary;
$node->start;
sql("SELECT migrate_resume($job)");
check_load($job, 'promoted', 'the old primary goes on for itself');

# F22: DROP DATABASE during a job.
sql('CREATE DATABASE doomed');
sql('CREATE EXTENSION mongo_migrate', 'doomed');
start_load('mixed', 'doomed');
my $behind = sql("SELECT count(migrate_start('$uri', 'orders', target => 'behind' || i)) FROM generate_series(1, 6) i", 'doomed');
$offset = log_end();
$began = time();
sql('DROP DATABASE doomed WITH (FORCE)');
my $seconds = time() - $began;
cmp_ok($seconds, '<', 5, sprintf 'DROP DATABASE takes %.1f s', $seconds);
ok(wait_for(sub { workers() == 0 }, 5), 'its workers are gone');
sleep 12;
is(workers(), 0, 'and stay away');
my @lines = log_lines($offset, qr/FATAL:  database/);
cmp_ok(scalar @lines, '<=', 5, scalar(@lines) . ' coordinators came back, once each') or diag(join "\n", @lines);
$offset = log_end();
sleep 6;
is(scalar(log_lines($offset, qr/FATAL|background worker/)), 0, 'no restart loop');
$job = start_small('after_doomed');
ok(wait_state($job, 'completed'), 'others are not affected');
note sprintf 'figure: F22 DROP DATABASE WITH (FORCE) during a job, 6 queued: %.1f s, no restart loop', $seconds;

# F23: DROP EXTENSION during a job, and a new one at once.
foreach my $again (0, 1)
{
	sql('CREATE DATABASE doomed');
	sql('CREATE EXTENSION mongo_migrate', 'doomed');
	start_load('mixed', 'doomed');
	sql(qq(SET client_min_messages = error; SELECT migrate_start('$uri', 'orders', target => 'behind' || i) FROM generate_series(1, 6) i), 'doomed');
	$offset = log_end();
	$began = time();
	sql('SET client_min_messages = error; DROP EXTENSION mongo_migrate CASCADE' . ($again ? '; CREATE EXTENSION mongo_migrate' : ''), 'doomed');
	$seconds = time() - $began;
	cmp_ok($seconds, '<', 15, sprintf 'DROP EXTENSION takes %.1f s', $seconds);
	if ($again)
	{
		$job = start_small('at_once', 'doomed');
		is($job, 1, 'the first job of the next extension');
		ok(wait_state($job, 'completed', 20, 'doomed'), 'is not held up by what is left of the last');
	}
	ok(wait_for(sub { workers() == 0 }, 5), 'workers are gone');
	sleep 7;
	is(workers(), 0, 'and stay away');
	@lines = log_lines($offset, qr/FATAL|ERROR|WARNING|background worker/);
	cmp_ok(scalar @lines, '<=', 5, 'with few words in the log: ' . @lines) or diag(join "\n", @lines);
	cmp_ok(sql('SELECT count(*) FROM mixed', 'doomed'), '>', 0, 'the table stays');
	sql('DROP DATABASE doomed');
	note sprintf 'figure: F23 DROP EXTENSION%s during a job, 6 queued: %.1f s, no restart loop', $again ? ' and a new one' : '', $seconds;
}

# ---------------------------------------------------------------------------
# F25: few worker slots.  The server's own launcher takes one of them.
# ---------------------------------------------------------------------------

foreach my $preload ('', 'mongo_migrate')
{
	set("shared_preload_libraries = '$preload'");
	set('max_worker_processes = 1');
	$offset = restart('fast');
	like(error_of("SELECT migrate_start('$uri', 'orders', target => 'one')"),
		qr/ERROR:  could not start a background worker\nDETAIL:  All 1 slots of max_worker_processes are in use/, "one slot, preload '$preload': refused");

	set('max_worker_processes = 2');
	restart('fast');
	$began = time();
	ok(wait_for(sub { defined try_sql(qq(SET mongo_migrate.max_retry_time = '2s'; SELECT migrate_start('$uri', 'orders', target => 'two$preload'))) }, 70),
		sprintf "two slots, preload '$preload': started") or next;
	$job = sql('SELECT max(job_id) FROM migrate_jobs');
	ok(wait_state($job, 'failed', 15), 'a job without any loader does not hang');
	like(error_of("SELECT migrate_wait($job)"), qr/ERROR:  could not start a background worker\n.*DETAIL:  All 2 slots.*HINT:  Raise max_worker_processes/s, 'and says why');
	set('max_worker_processes = 3');
	restart('fast');
	ok(wait_for(sub { defined try_sql("SELECT migrate_retry($job)") }, 20), 'three slots: tried again');
	ok(wait_state($job, 'completed', 20), 'one loader is enough');
	set('max_worker_processes = 8');
	restart('fast');
	$job = start_small("eight$preload");
	ok(wait_state($job, 'completed', 20), 'eight slots');
}

# Three slots and a preload: launcher and resumer make room for what they start.
set('max_worker_processes = 3');
restart('fast');
wait_for(sub { workers() == 0 }, 40);
$job = start_load('three');
restart('fast');
ok(wait_for(sub { (try_sql("SELECT count(*) > 0 FROM migrate_events WHERE job_id = $job AND message LIKE 'continued, 2.%'") // '') eq 't' }, 30),
	'three slots: a job goes on by itself');
check_load($job, 'three', 'three slots');
note 'figure: F25 1, 2, 3 and 8 worker slots, with the preload and without: refused, failed with the reason, completed, completed';

foreach my $each ($primary, $standby)
{
	unlike(slurp_file($each->logfile), qr/PANIC|TRAP|signal (?!9)\d+:/, 'no crash of our own: ' . $each->name);
}
note "figure: F04, F26 time to go on by itself:$figures";
done_testing();
