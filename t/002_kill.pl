# Exactly once: kill -9 of a loader at random times, of the coordinator, and
# an immediate restart, in the middle of loads.
use strict;
use warnings;

use MongoTest qw(wait_for);
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

my $runs = $ENV{MM_KILL_RUNS} // 20;
my $seed = $ENV{MM_SEED} // time();
srand $seed;
note "seed $seed: repeat with MM_SEED=$seed";

my $mongo = MongoTest->new;
my $node = MongoTest::node('kill');
my $uri = $mongo->uri('shop');
$mongo->generate('mixed', 20000, 'shop.mixed');

# Slow enough to be hit: many small checkpoints, under a throttle by which the
# load takes some three seconds.
my $start = "SET client_min_messages = error; SET mongo_migrate.checkpoint_bytes = '64kB'; BEGIN;"
  . "SELECT migrate_start('$uri', 'mixed', if_exists => 'replace', workers => 3, options => '{\"chunk_size\": \"512kB\"}');"
  . 'SELECT migrate_alter(NULL, max_docs_per_second => 7000); COMMIT';

# Undefined while the server recovers from a crash.
sub try_sql { my ($sql) = @_; return MongoTest::ask($node, $sql); }

sub start_load
{
	my ($rate) = @_;
	my ($job) = $node->safe_psql('postgres', $rate ? $start =~ s/7000/$rate/r : $start) =~ /^(\d+)/;
	ok(wait_for(sub { $node->safe_psql('postgres', "SELECT docs_done > 0 FROM migrate_stat_job WHERE job_id = $job") eq 't' }, 20), 'documents arrive')
	  or die;
	return $job;
}

sub lift_throttle
{
	my ($job) = @_;
	return defined try_sql("SELECT migrate_alter($job, max_docs_per_second => 0) FROM migrate_jobs WHERE job_id = $job AND state <> 'completed'");
}

sub state_of { my ($job) = @_; return try_sql("SELECT state FROM migrate_jobs WHERE job_id = $job") // ''; }

sub pids
{
	my ($type) = @_;
	return split /\n/, try_sql("SELECT pid FROM pg_stat_activity WHERE backend_type = 'mongo_migrate $type'") // '';
}

sub check_job
{
	my ($job, $name) = @_;
	wait_for(sub { lift_throttle($job) }, 60);
	ok(wait_for(sub { state_of($job) eq 'completed' }, 120), "$name: the job goes on by itself and completes")
	  or diag($node->safe_psql('postgres', 'SELECT * FROM migrate_jobs; SELECT * FROM migrate_events'));
	is($mongo->compare($node, 'shop.mixed', 'mixed'), '', "$name: nothing lost, nothing twice");
	return;
}

# Kills one process of a running load, every other time at full speed; returns
# the job, or undef when the load was faster.
sub kill_one
{
	my ($type, $full_speed) = @_;
	my $job = start_load();
	sleep rand 1.2;
	if ($full_speed)
	{
		lift_throttle($job);
		sleep rand 0.5;
	}
	my @pids = pids($type);
	return $job if @pids && kill 'KILL', $pids[rand @pids];
	wait_for(sub { state_of($job) eq 'completed' }, 60);
	return;
}

my $begin = time();
my ($slowest, $missed) = (0, 0);
foreach my $run (1 .. $runs)
{
	my $type = $run % 5 == 0 ? 'coordinator' : 'loader';
	my $job;
	$missed++ until defined($job = kill_one($type, $run % 2 == 0)) || $missed > 5 * $runs;
	my $began = time();
	check_job($job, "run $run, $type");
	$slowest = time() - $began if time() - $began > $slowest;
}
cmp_ok($missed, '<=', 5 * $runs, "each of the $runs runs killed a process of a running load");
note sprintf 'figure: %d kills in %.0f s (%d tries came too late), 0 differences, longest %.1f s from kill to comparison',
  $runs, time() - $begin, $missed, $slowest;

# An immediate stop leaves the job to one migrate_resume().
my $job = start_load(2000);
$node->stop('immediate');
$node->start;
is(state_of($job), 'running', 'after an immediate restart the job is not lost');
my $rows = $node->safe_psql('postgres', "SELECT rows FROM migrate_jobs WHERE job_id = $job");
is($node->safe_psql('postgres', "SELECT migrate_resume($job)"), 'queued', 'one migrate_resume()');
check_job($job, "immediate restart after $rows rows");

# A termination is no failure, nor is a cancel of the worker's query.
foreach my $function ('pg_terminate_backend', 'pg_cancel_backend')
{
	foreach my $type ('loader', 'coordinator')
	{
		$job = start_load();
		$node->safe_psql('postgres', "SELECT count($function(pid)) FROM pg_stat_activity WHERE backend_type = 'mongo_migrate $type'");
		check_job($job, "$function of $type");
	}
}

is($node->safe_psql('postgres', q(SELECT count(*) FROM pg_locks WHERE locktype = 'advisory')), 0, 'no lock is left');
is($node->safe_psql('postgres', q(SELECT count(*) FROM mongo_migrate.chunk WHERE state = 'running')), 0, 'no chunk is left running');
done_testing();
