# F01, F02: kill -9 of a loader or the coordinator, at each named point and at
# random times.
use strict;
use warnings;

use FaultTest qw(long figure);
use MongoTest qw(wait_for);
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

my $seed = $ENV{MM_SEED} // int(time() * 1000) % 1000000;
srand $seed;
note "seed $seed: repeat with MM_SEED=$seed";

my $t = FaultTest->new('points', max_prepared_transactions => 1);
$t->fill('mixed', 10000);

# Seconds from the moment at which the server takes connections again to that
# at which the job's next coordinator is at work, or has done.
sub resume_time
{
	my ($job) = @_;
	my $accepts;
	wait_for(sub { $accepts //= time() if $t->ask('SELECT 1') eq '1'; $accepts }, 60) or return 999;
	$t->until("SELECT generation > 1 OR state = 'completed' FROM mongo_migrate.job WHERE job_id = $job", 30) or return 999;
	return time() - $accepts;
}

my @points = qw(plan before_claim after_claim first_batch mid_chunk before_position after_position in_commit after_commit
	index_build verify complete);
my $slowest = 0;
my $cursors = 0;
foreach my $point (@points)
{
	my $switch = $t->switch($point, 'kill');
	# By record ids, a checkpoint ends where a reply does: a chunk like these has but one.
	my $job = $t->start('mixed', chunk => '2MB', $point eq 'mid_chunk' ? (options => '"split": "id"') : ());
	ok($t->crashed, "$point: a worker is killed there");
	my $seconds = resume_time($job);
	cmp_ok($seconds, '<=', 10, "$point: it goes on by itself within 10 s");
	$slowest = $seconds if $seconds > $slowest;
	# Those of three killed loaders are mongod's until they time out.
	$cursors += 3;
	is($t->violations($job, crashes => 1, cursors => $cursors), '', "$point: nothing lost, nothing twice");
	$switch->end;
}
figure('F01', sprintf 'kill -9 at %d named points: %d crashes, 0 differences; at work %.1f s after the server accepts connections',
	scalar @points, scalar @points, $slowest);

# The coordinator, once it waits for the lock that the key needs.
sub waits_for_key
{
	my ($job) = @_;
	my $pid;
	wait_for(sub { $pid = $t->ask(qq(SELECT a.pid FROM pg_stat_activity a, mongo_migrate.job_table WHERE backend_type = 'mongo_migrate coordinator'
		AND wait_event_type = 'Lock' AND phase = 'indexing' AND job_id = $job LIMIT 1)); $pid }, 60);
	return $pid;
}

# A crash that comes again and again in a phase ends the job; a lock that survives it keeps the key from being built.
{
	my $job = $t->start('mixed', rate => 10);
	$t->until("SELECT count(*) > 0 FROM migrate_workers WHERE docs > 0");
	$t->sql(q(BEGIN; LOCK TABLE mixed IN ACCESS SHARE MODE; PREPARE TRANSACTION 'hold'));
	$t->sql("SELECT migrate_alter($job, max_docs_per_second => 0)");
	# Ends in order do not count, nor what lies between an end and the next start.
	foreach my $time (1 .. 3)
	{
		my $pid = waits_for_key($job);
		ok($pid, "end $time: the key waits for a lock");
		$t->sql("SELECT pg_terminate_backend($pid)");
		wait_for(sub { !kill 0, $pid }, 10);
	}
	ok(waits_for_key($job), 'and once more');
	is($t->ask("SELECT crashes, generation > 3 FROM mongo_migrate.job WHERE job_id = $job"), '0|t', 'three terminations count as no crash');
	is($t->ask("SELECT count(*) FROM mongo_migrate.table_phase WHERE job_id = $job AND started_at IS NOT NULL"), 1, 'and one clock goes on');
	foreach my $time (1 .. 3)
	{
		my $pid = waits_for_key($job);
		ok($pid, "crash $time: the key waits for a lock");
		kill 'KILL', $pid;
		ok($t->crashed, "crash $time: the coordinator is killed");
		wait_for(sub { $t->ask('SELECT 1') eq '1' }, 60);
		is(join("\n", $t->log_violations(1)), '', "crash $time: and nothing else");
	}
	like($t->error_of("SELECT migrate_wait($job)"), qr/the phase "indexing" of public.mixed was given up after 3 attempts\nDETAIL:  The server crashed/, 'three crashes in a phase fail the job');
	$t->sql(q(COMMIT PREPARED 'hold'));
	$t->sql("SELECT migrate_retry($job)");
	is($t->violations($job, cursors => $cursors), '', 'and a retry completes it');
}

# Loaders that fail before they have a chunk are not started again all the time.
my $failing = $t->switch('before_claim', 'error');
my $log_at = -s $t->{node}->logfile;
my $job = $t->start('mixed', workers => 2);
$t->until("SELECT count(*) = 1 FROM migrate_events WHERE job_id = $job AND message = 'a worker ended before it began'", 20);
sleep 6;
my $ended = () = slurp_file($t->{node}->logfile, $log_at) =~ /ERROR:  debug point "before_claim"/g;
ok($ended >= 4 && $ended <= 8, "two loaders that fail before their first chunk fail $ended times in 6 s");
$failing->end;
is($t->violations($job, cursors => $cursors), '', 'when they can, they do');
is($t->ask("SELECT count(*) FROM migrate_events WHERE job_id = $job AND severity = 'warning'"), 1, 'and one event tells');

# At random times.  Every fifth is of the coordinator.
my $runs = $ENV{MM_KILL_RUNS} // (long() ? 100 : 5);
my ($hits, $differences) = (0, 0);
$slowest = 0;
$t->fill('mixed', 40000);
foreach my $run (1 .. $runs)
{
	my $job = $t->start('mixed', workers => 1 + int rand 4, rate => 20000);
	my $type = $run % 5 == 0 ? 'coordinator' : 'loader';
	wait_for(sub { scalar $t->pids('loader') || $t->state_of($job) eq 'completed' }, 20);
	sleep rand 0.4;
	my @pids = $t->pids($type);
	my $killed = @pids ? kill('KILL', $pids[rand @pids]) : 0;
	$hits += $killed;
	my $seconds = $killed && $t->crashed ? resume_time($job) : 0;
	$slowest = $seconds if $seconds > $slowest;
	$cursors += 4 * $killed;
	my $found = $t->violations($job, crashes => $killed, cursors => $cursors);
	$differences++ if $found;
	is($found, '', "run $run, $type" . ($killed ? '' : ' (was done)'));
}
cmp_ok($hits, '>=', $runs / 2, "$hits of $runs kills hit");
cmp_ok($slowest, '<=', 10, 'and the jobs go on by themselves within 10 s');
figure('F01, F02', sprintf 'kill -9 at %d random times: %d hits, %d differences; at work %.1f s after the server accepts connections',
	$runs, $hits, $differences, $slowest);
done_testing();
