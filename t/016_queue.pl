# The queue: max_running_jobs, priorities, what a job that waits can be told,
# and that the queue goes on whatever becomes of its processes.
use strict;
use warnings;

use FaultTest;
use IPC::Run ();
use MongoTest qw(wait_for);
use PostgreSQL::Test::Utils;
use Test::More;

my $mongo = MongoTest->new;
my $node = MongoTest::node('queue', 'mongo_migrate.max_running_jobs' => 2, max_worker_processes => 8);
my $uri = $mongo->uri('shop');
$mongo->generate('narrow', 200000, 'shop.narrow');
$mongo->generate('orders', 2000, 'shop.orders');

sub sql { my ($sql, $database) = @_; return $node->safe_psql($database // 'postgres', $sql); }

sub error_of
{
	my ($sql, @more) = @_;
	my $err = '';
	$node->psql('postgres', $sql, stderr => \$err, @more);
	return $err;
}

sub state { my ($job, $database) = @_; return sql("SELECT state FROM migrate_jobs WHERE job_id = $job", $database); }

sub wait_state
{
	my ($job, $state, $seconds, $database) = @_;
	return wait_for(sub { state($job, $database) =~ /^($state)$/ }, $seconds // 60)
	  || diag(sql('SELECT * FROM migrate_jobs; SELECT * FROM migrate_events; SELECT pid, backend_type, query FROM pg_stat_activity', $database)) && 0;
}

my $tables = 0;

# A job that does not end by itself: ten documents a second.
sub start_slow
{
	my ($options, $database) = @_;
	my $table = 'slow' . ++$tables;
	$options = join ',', '"max_docs_per_second": 10', $options || ();
	return sql(qq(SELECT migrate_start('$uri', 'narrow', target => '$table', workers => 1, options => '{$options}')), $database);
}

sub start_small
{
	my ($options, $database) = @_;
	my $table = 'small' . ++$tables;
	return sql(qq(SELECT migrate_start('$uri', 'orders', target => '$table', options => '{$options}')), $database);
}

sub cancel { my ($job, $database) = @_; sql("SELECT migrate_cancel($job)", $database); return; }

sub set_limit
{
	my ($limit) = @_;
	$node->append_conf('postgresql.conf', "mongo_migrate.max_running_jobs = $limit");
	$node->reload;
	return;
}

# More jobs in one statement than there are worker slots: none is refused,
# two run at a time, all complete without another word.
is(sql("SELECT count(migrate_start('$uri', 'orders', target => 'many' || i, workers => 1)) FROM generate_series(1, 15) i"), 15,
	'15 jobs are started at once, with 8 worker slots');
my ($most, $processes) = (0, 0);
ok(wait_for(sub {
			my ($running, $active, $workers) = split /\|/, sql(q(SELECT
				(SELECT count(*) FROM mongo_migrate.running_coordinator),
				(SELECT count(*) FROM migrate_jobs WHERE finished_at IS NULL),
				(SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'mongo_migrate%')));
			$most = $running if $running > $most;
			$processes = $workers if $workers > $processes;
			return $active == 0;
		}, 120), 'all end by themselves');
is($most, 2, 'never more than max_running_jobs at a time');
cmp_ok($processes, '<=', 7, "with few processes ($processes)");
is(sql(q(SELECT string_agg(DISTINCT state::text, ',') FROM migrate_jobs)), 'completed', 'all are complete');
is(sql(q(SELECT bool_and(started_at >= lag) FROM (SELECT started_at, lag(started_at) OVER (ORDER BY job_id) FROM migrate_jobs) t)), 't',
	'they began in the order of their start');

# What is seen of a job that waits.
set_limit(1);
my $first = start_slow('');
ok(wait_state($first, 'running'), 'a job runs');
my $second = start_slow('');
my $third = start_slow('');
is(state($second) . state($third), 'queuedqueued', 'the next ones wait');
is(sql("SELECT phase, progress LIKE '%0.0\\%', rate IS NULL, eta IS NULL, workers FROM migrate_progress WHERE job_id = $third"), 'queued|t|t|t|0',
	'migrate_progress shows them');
ok(wait_for(sub { sql("SELECT message FROM migrate_jobs WHERE job_id = $third") eq 'waits for its turn: 1 running, 1 queued before it' }, 10),
	'migrate_jobs says why') or diag(sql('SELECT * FROM migrate_jobs'));
ok(wait_for(sub { sql(q(SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'mongo_migrate coordinator')) eq '2' }, 20), 'of those that wait one has a process');
sub has_no_process { my ($job) = @_; return wait_for(sub { sql("SELECT count(*) FROM mongo_migrate.coordinator WHERE job_id = $job") eq '0' }, 20); }
has_no_process($third);

# Pause, resume and cancel, of the one with a process and of the one without.
like(sql("SELECT migrate_pause($third)"), qr/^paused$/, 'a job without a process is paused at once');
sql("SELECT migrate_pause($second)");
ok(wait_state($second, 'paused', 20), 'the waiter is paused');
is(sql("SELECT migrate_resume($third)"), 'queued', 'resume');
is(sql("SELECT migrate_resume($second)"), 'queued', 'resume');
# Asked for both at once, before the coordinator looks: it waits again.
is(sql("BEGIN; SELECT migrate_pause($second); SELECT migrate_resume($second); COMMIT") =~ s/.*\n//sr, 'queued', 'paused and resumed at once');
is(state($first) . state($second), 'runningqueued', 'a resumed job does not jump the queue');
has_no_process($third);
cancel($third);
is(state($third), 'canceled', 'a job without a process is canceled at once');
is(sql('SELECT count(*) FROM slow3'), 0, 'it has not begun');
cancel($first);
ok(wait_state($second, 'running', 10), 'when one ends, the next begins');
cancel($second);
ok(wait_state($second, 'canceled', 10), 'canceled');

# A job that waits for one that waits for this transaction.
sub check_wait_behind
{
	my ($name) = @_;
	my $ahead = start_slow('');
	ok(wait_state($ahead, 'running'), "$name: one job runs");
	my $reader = FaultTest::Session->new($node, "BEGIN; SELECT count(*) FROM slow$tables");
	my $behind = start_small('');
	is(state($behind), 'queued', "$name: the next one waits");
	sql("SELECT migrate_alter($ahead, max_docs_per_second => 0)");
	$reader->send("SELECT migrate_wait($behind)");
	ok(wait_for(sub { $reader->{run}->pump_nb; $reader->{err} ne '' }, 30), "$name: waiting for it behind a read of the table of the first ends");
	like($reader->{err}, qr/ERROR:  cannot wait for a migration job that waits for this transaction/, "$name: with an error");
	$reader->end;
	sql(q(SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE state LIKE 'idle in transaction%'));
	ok(wait_state($behind, 'completed', 30), "$name: without it, both complete");
	return;
}
check_wait_behind('max_running_jobs');

# Priorities: the highest first, then the oldest.
$first = start_slow('');
wait_state($first, 'running');
my @jobs = map { start_small($_) } '"priority": -5', '', '"priority": 7', '', '"priority": 7';
cancel($first);
wait_state($_, 'completed') foreach @jobs;
is(sql('SELECT string_agg(job_id::text, \',\' ORDER BY started_at) FROM migrate_jobs WHERE job_id >= ' . $jobs[0]),
	join(',', @jobs[2, 4, 1, 3, 0]), 'by priority, then by age');

# A higher limit is obeyed at once, and a lower one as jobs end.
$first = start_slow('');
$second = start_slow('');
$third = start_slow('');
wait_state($first, 'running');
is(state($second), 'queued', 'one runs');
set_limit(3);
ok(wait_state($second, 'running', 10) && wait_state($third, 'running', 10), 'three run');
set_limit(1);
my $fourth = start_small('');
cancel($second);
wait_state($second, 'canceled');
ok(!wait_for(sub { state($fourth) ne 'queued' }, 2), 'two run, which is more than the new limit: none begins');
cancel($_) foreach $first, $third;
ok(wait_state($fourth, 'completed', 20), 'then it does');

# A termination of the waiter, and a crash, do not end the queue.
$first = start_slow('');
wait_state($first, 'running');
$second = start_slow('');
$third = start_small('');
wait_for(sub { sql("SELECT count(*) FROM mongo_migrate.coordinator WHERE job_id = $second") eq '1' }, 20);
is(sql("SELECT pg_terminate_backend(pid) FROM mongo_migrate.coordinator WHERE job_id = $second"), 't', 'the waiter is terminated');
sql("SELECT migrate_cancel($second)");
cancel($first);
ok(wait_state($third, 'completed', 20), 'the queue goes on');
$first = start_slow('');
wait_state($first, 'running');
$second = start_small('');
my $log_end = -s $node->logfile;
kill 'KILL', sql("SELECT pid FROM mongo_migrate.coordinator WHERE job_id = $first");
wait_for(sub { slurp_file($node->logfile, $log_end) =~ /terminated by signal 9/ }, 30);
ok(wait_for(sub { defined MongoTest::ask($node, 'SELECT 1') }, 30), 'the server is back after a crash');
ok(wait_state($first, 'running', 20), 'the job that ran goes on');
is(state($second), 'queued', 'the other still waits');
cancel($first);
ok(wait_state($second, 'completed', 20), 'and has its turn');

# A start that is undone, and one whose table is gone, leave the queue alone.
$first = start_slow('');
wait_state($first, 'running');
sql("BEGIN; SELECT migrate_start('$uri', 'orders', target => 'undone'); SAVEPOINT s; SELECT migrate_start('$uri', 'orders', target => 'undone2');
	ROLLBACK TO s; ROLLBACK");
my $kept = sql("BEGIN; SAVEPOINT s; SELECT migrate_start('$uri', 'orders', target => 'undone'); ROLLBACK TO s;
	SELECT migrate_start('$uri', 'orders', target => 'kept'); COMMIT");
$kept =~ s/.*\n//s;
cancel($first);
ok(wait_state($kept, 'completed', 20), 'a job whose transaction undid another one runs');

# Two databases: the limit is of the cluster.
sql('CREATE DATABASE other');
sql('CREATE EXTENSION mongo_migrate', 'other');
$first = start_slow('');
wait_state($first, 'running');
$second = start_small('', 'other');
ok(!wait_for(sub { state($second, 'other') ne 'queued' }, 2), 'a job of another database waits');
cancel($first);
ok(wait_state($second, 'completed', 20, 'other'), 'until the first has ended');

# A queued job whose owner goes away fails, and those behind it go on.
MongoTest::plain(0);
sql(qq(CREATE ROLE etl LOGIN; CREATE SCHEMA etl AUTHORIZATION etl; CREATE SERVER shop FOREIGN DATA WRAPPER mongo_migrate OPTIONS (uri '$uri');
	GRANT USAGE ON FOREIGN SERVER shop TO etl; CREATE USER MAPPING FOR PUBLIC SERVER shop));
$first = start_slow('');
wait_state($first, 'running');
$second = start_slow('');
my @etl = (extra_params => ['-U', 'etl']);
$node->psql('postgres', "SELECT migrate_start('shop', 'orders', target => 'etl.a')", stdout => \$third, @etl);
$node->psql('postgres', "SELECT migrate_start('shop', 'orders', target => 'etl.b')", stdout => \$fourth, @etl);
my $fifth = start_small('');
sql('ALTER ROLE etl NOLOGIN');
cancel($_) foreach $second, $first;
ok(wait_state($fifth, 'completed', 20), 'the queue goes on');
is(sql("SELECT string_agg(state::text, ',') FROM migrate_jobs WHERE job_id IN ($third, $fourth)"), 'failed,failed', 'jobs that cannot run fail');
like(error_of("SELECT migrate_wait($third)"), qr/ERROR:  migration job $third cannot run as its owner\nDETAIL:  Its owner, role "etl", may not log in/, 'and say why');
MongoTest::plain(1);

# Four slots, one of them the server's own.  One job after the other: what
# becomes of several that compete for such few slots is not settled yet.
$node->append_conf('postgresql.conf', 'max_worker_processes = 4');
set_limit(4);
$node->restart;
my @few = map { start_small('') } 1 .. 3;
wait_state($_, 'completed', 60) foreach @few;
is(join(',', map { state($_) } @few), 'completed,completed,completed', 'with four worker slots the queue moves');
check_wait_behind('few slots');
# All slots in use, by a job, its loader and one that waits: more jobs can be started, and one whose transaction ends late is not forgotten.
$first = start_slow('');
wait_state($first, 'running');
$second = start_small('');
ok(wait_for(sub { sql(q(SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'mongo_migrate%')) eq '3' }, 10), 'no slot is free');
ok(!wait_for(sub { sql('SELECT count(*) FROM mongo_migrate.running_coordinator') ne '1' }, 1), 'one job runs, as a second one would find no loader');
$third = start_small('');
is(state($third), 'queued', 'a job can be started all the same');
my ($in, $late_out, $late_err) = ("BEGIN; SELECT migrate_start('$uri', 'orders', target => 'late');\n", '', '');
my $late = IPC::Run::start(['psql', '-X', '-q', '-At', '-d', $node->connstr('postgres'), MongoTest::role_for($in)], '<', \$in, '>', \$late_out, '2>', \$late_err);
$late->pump until $late_out =~ /\d\n/;
my ($late_job) = $late_out =~ /(\d+)/;
cancel($first);
ok(wait_state($second, 'completed', 20) && wait_state($third, 'completed', 20), 'the others go on meanwhile');
my $running = q(SELECT count(*) FROM mongo_migrate.running_coordinator);
wait_for(sub { sql($running) eq '0' }, 20);
ok(!wait_for(sub { sql($running) ne '0' }, 1), 'nothing runs');
$in = "COMMIT;\n";
$late->finish;
ok(wait_state($late_job, 'completed', 20), 'a transaction that ends late finds its job seen to');

# A coordinator that waits in a key build does not look at the queue: nobody is told that a job is seen to.
$first = start_slow('');
wait_state($first, 'running');
my $reader = FaultTest::Session->new($node, "BEGIN; SELECT count(*) FROM slow$tables");
sql("SELECT migrate_alter($first, max_docs_per_second => 0)");
ok(wait_for(sub { sql("SELECT phase FROM migrate_progress WHERE job_id = $first") eq 'indexing' }, 30), 'a job that builds its key');
sql('CREATE TABLE sleepy WITH (parallel_workers = 4) AS SELECT g FROM generate_series(1, 5000) g');
my $others = FaultTest::Session->new($node, "SET min_parallel_table_scan_size = 0; SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET max_parallel_workers_per_gather = 4");
$others->send('SELECT count(pg_sleep(60 + g)) FROM sleepy');
ok(wait_for(sub { sql(q(SELECT count(*) FROM pg_stat_activity WHERE backend_type IN ('parallel worker', 'mongo_migrate coordinator', 'logical replication launcher'))) eq '4' }, 20), 'all worker slots are in use')
  or diag(sql('SELECT pid, backend_type, query FROM pg_stat_activity'));
like(error_of("SELECT migrate_start('$uri', 'orders', target => 'unseen')"), qr/ERROR:  could not start a background worker\nDETAIL:  All 4 slots/, 'a job that nobody would see to is refused');
sql(q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'SELECT count(pg_sleep%'});
$_->end foreach $others, $reader;
sql(q(SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE state = 'idle in transaction'));
ok(wait_state($first, 'completed', 30), 'and the job goes on');

# Retention: old jobs leave the history, tables stay; letters that wait for a decision keep their job.
$mongo->python(q(client.shop.odd.insert_many([{'_id': i, 'note': 'a\0b' if i == 7 else 'ab'} for i in range(20)])));
my $odd = sql("SELECT migrate_start('$uri', 'odd')");
wait_state($odd, 'completed');
my $before = sql('SELECT count(*) FROM migrate_jobs');
cmp_ok($before, '>', 10, 'jobs are kept');
$node->append_conf('postgresql.conf', "mongo_migrate.job_retention = '1s'");
$node->reload;
ok(wait_for(sub { sql("SELECT max(finished_at) < now() - interval '1.5 s' FROM migrate_jobs") eq 't' }, 20), 'they grow old');
my $last = start_small('');
wait_state($last, 'completed');
is(sql("SELECT string_agg(job_id::text, ',' ORDER BY job_id) FROM migrate_jobs"), "$odd,$last", 'old jobs are gone, but for one with a dead letter');
is(sql('SELECT count(*) FROM odd'), 19, 'no table is gone');
is(sql("SELECT count(*) FROM mongo_migrate.job_table t WHERE NOT EXISTS (SELECT FROM migrate_jobs j WHERE j.job_id = t.job_id)"), 0, 'nothing is left of them');
sql('SELECT migrate_discard(ARRAY[(SELECT error_id FROM migrate_errors)])');
sql('SELECT pg_sleep(1.1)');
$last = start_small('');
wait_state($last, 'completed');
is(sql('SELECT count(*) FROM migrate_jobs'), 1, 'once it is decided, its job goes, too');

unlike(slurp_file($node->logfile), qr/PANIC|terminated by signal (?!9)|TRAP/, 'nothing crashed by itself');
done_testing();
