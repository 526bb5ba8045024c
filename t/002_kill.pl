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
$mongo->generate('mixed', 100000, 'shop.mixed');

# Slow enough to be hit: many small checkpoints.
my $start = "SET mongo_migrate.checkpoint_bytes = '64kB';"
  . "SELECT migrate_start('$uri', 'mixed', if_exists => 'replace', workers => 3, options => '{\"chunk_size\": \"512kB\"}')";

sub state_of
{
	my ($job) = @_;
	my ($out, $err) = ('', '');
	$node->psql('postgres', "SELECT state FROM migrate_jobs WHERE job_id = $job", stdout => \$out, stderr => \$err);
	return $out;
}

sub pids
{
	my ($type) = @_;
	my ($out, $err) = ('', '');
	$node->psql('postgres', "SELECT pid FROM pg_stat_activity WHERE backend_type = 'mongo_migrate $type'", stdout => \$out, stderr => \$err);
	return split /\n/, $out;
}

sub check_job
{
	my ($job, $name) = @_;
	ok(wait_for(sub { state_of($job) eq 'completed' }, 120), "$name: the job goes on by itself and completes")
	  or diag($node->safe_psql('postgres', 'SELECT * FROM migrate_jobs; SELECT * FROM migrate_events'));
	is($mongo->compare($node, 'shop.mixed', 'mixed'), '', "$name: nothing lost, nothing twice");
	return;
}

my $hits = 0;
my $slowest = 0;
foreach my $run (1 .. $runs)
{
	my $job = $node->safe_psql('postgres', $start);
	my $type = $run % 5 == 0 ? 'coordinator' : 'loader';
	wait_for(sub { scalar pids('loader') }, 20);
	sleep rand 0.5;
	my @pids = pids($type);
	my $killed = @pids ? kill('KILL', $pids[rand @pids]) : 0;
	$hits += $killed;
	my $began = time();
	check_job($job, "run $run, $type" . ($killed ? '' : ' (was done)'));
	$slowest = time() - $began if time() - $began > $slowest;
}
cmp_ok($hits, '>=', $runs / 2, "$hits of $runs kills hit");
note sprintf 'figure: %d kills, 0 differences, longest %.1f s from kill to comparison', $hits, $slowest;

# An immediate stop leaves the job to one migrate_resume().
my $job = $node->safe_psql('postgres', $start);
wait_for(sub { $node->safe_psql('postgres', "SELECT rows > 0 FROM migrate_jobs WHERE job_id = $job") eq 't' }, 20);
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
		$job = $node->safe_psql('postgres', $start);
		wait_for(sub { $node->safe_psql('postgres', "SELECT rows > 0 FROM migrate_jobs WHERE job_id = $job") eq 't' }, 20);
		$node->safe_psql('postgres', "SELECT count($function(pid)) FROM pg_stat_activity WHERE backend_type = 'mongo_migrate $type'");
		check_job($job, "$function of $type");
	}
}

is($node->safe_psql('postgres', q(SELECT count(*) FROM pg_locks WHERE locktype = 'advisory')), 0, 'no lock is left');
is($node->safe_psql('postgres', q(SELECT count(*) FROM mongo_migrate.chunk WHERE state = 'running')), 0, 'no chunk is left running');
done_testing();
