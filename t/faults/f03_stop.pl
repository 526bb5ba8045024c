# F03, F04, F05: the server goes away or is stopped, and workers are canceled
# or terminated, wherever they wait.
use strict;
use warnings;

use FaultTest qw(figure);
use MongoTest qw(wait_for);
use PostgreSQL::Test::Utils;
use Proxy;
use Test::More;
use Time::HiRes qw(time);

# Commits wait for standbys only where there may be one.
my $t = FaultTest->new('stop', wal_level => 'replica', max_wal_senders => 2);
my $proxy = Proxy->new($t->mongo);
$t->server('far', $proxy->uri('shop'));
$t->fill('mixed', 20000);

my $job;
my $session;
my $slowest = 0;
# Those of loaders that cannot tell mongod are its own until they time out.
my $cursors = 0;
sub leaves_cursors { my ($place, $is_killed) = @_; return $cursors += 3 * ($is_killed || $place =~ /read|retry/); }

# Places in which loaders wait: how to bring them there, and out again.  Each
# begins a job, and leaves it when all its loaders are there.
my %places = (
	'read' => [sub {
			$job = $t->start('mixed', rate => 2000);
			$t->copying($job);
			kill 'STOP', $t->mongo->{pid};
			$t->until(q(SELECT count(*) > 1 AND bool_and(wait_event_type = 'Extension') FROM pg_stat_activity WHERE backend_type = 'mongo_migrate loader'));
		}, sub { kill 'CONT', $t->mongo->{pid}; return; }],
	'lock' => [sub {
			$job = $t->start('mixed', rate => 2000);
			$t->copying($job);
			$session = FaultTest::Session->new($t->node, 'BEGIN; LOCK TABLE mixed IN ACCESS EXCLUSIVE MODE');
			$t->until(q(SELECT count(*) > 1 AND bool_and(wait_event_type = 'Lock') FROM pg_stat_activity WHERE backend_type = 'mongo_migrate loader'));
		}, sub { $session->end; return; }],
	'throttle' => [sub {
			$job = $t->start('mixed', rate => 1);
			$t->until("SELECT count(*) > 1 FROM migrate_workers WHERE job_id = $job AND docs > 0");
		}, sub { $t->ask("SELECT migrate_alter($job, max_docs_per_second => 8000)"); return; }],
	'retry' => [sub {
			$job = $t->start('mixed', rate => 2000, server => 'far');
			$t->copying($job);
			$proxy->tell('refuse');
			$t->until("SELECT count(*) > 5 FROM migrate_events WHERE job_id = $job AND severity = 'warning'");
		}, sub { $proxy->tell('pass'); return; }],
);

# Are these processes gone?  Returns the seconds that it took.
sub gone
{
	my ($began, @pids) = @_;
	wait_for(sub { !grep { kill 0, $_ } @pids }, 20);
	return time() - $began;
}

# Until it takes a second at most: others may be at work on the machine.
sub three_times
{
	my ($once) = @_;
	my $seconds;
	foreach my $time (1 .. 3)
	{
		$seconds = $once->();
		last if $seconds <= 1;
	}
	$slowest = $seconds if $seconds > $slowest;
	return $seconds;
}

# The server that was killed may have children that have yet to notice.
sub start_again
{
	wait_for(sub {
			return 1 if $t->node->start(fail_ok => 1);
			$t->node->stop('fast', fail_ok => 1);
			return 0;
		}, 60) or die 'the server does not start';
	return;
}

# ---------------------------------------------------------------------
# F05
# ---------------------------------------------------------------------

foreach my $place (sort keys %places)
{
	my ($bring, $release) = @{$places{$place}};
	foreach my $function ('pg_terminate_backend', 'pg_cancel_backend')
	{
		my $seconds = three_times(sub {
				$bring->();
				my @pids = $t->pids('loader');
				my $began = time();
				$t->sql("SELECT $function(pid) FROM pg_stat_activity WHERE backend_type = 'mongo_migrate loader'");
				my $took = gone($began, @pids);
				cmp_ok(scalar @pids, '>', 1, "F05: $place: loaders wait there");
				$release->();
				is($t->violations($job, cursors => leaves_cursors($place)), '', "F05: $place: $function: nothing lost, nothing twice");
				return $took;
			});
		cmp_ok($seconds, '<=', 1, sprintf 'F05: %s: loaders are gone %.2f s after %s', $place, $seconds, $function);
	}
	my $seconds = three_times(sub {
			$bring->();
			my ($coordinator) = $t->pids('coordinator');
			my @pids = ($coordinator, $t->pids('loader'));
			my $began = time();
			$t->sql("SELECT pg_terminate_backend($coordinator)");
			my $took = gone($began, @pids);
			$release->();
			is($t->violations($job, cursors => leaves_cursors($place)), '', "F05: $place: nothing lost, nothing twice");
			return $took;
		});
	cmp_ok($seconds, '<=', 1, sprintf 'F05: %s: the coordinator takes them with it in %.2f s', $place, $seconds);
	is($t->sql("SELECT count(*) FROM mongo_migrate.chunk WHERE job_id = $job AND attempts - attempts_excused > 1"), 0, 'F05: and no attempt counts as a crash');
}
figure('F05', sprintf 'terminate and cancel of loaders and coordinator that wait for mongod, a lock, the throttle, the next attempt: gone in %.2f s, 0 failed jobs', $slowest);

# The coordinator waits for a standby that is not there.
foreach my $function ('pg_cancel_backend', 'pg_terminate_backend')
{
	my $seconds = three_times(sub {
			$job = $t->start('mixed', rate => 8000);
			$t->sql(q(ALTER SYSTEM SET synchronous_standby_names = 'nobody'; SELECT pg_reload_conf()));
			my $waits = q(SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'mongo_migrate coordinator' AND wait_event = 'SyncRep' AND pid %s);
			ok($t->until(sprintf($waits, '> 0'), 20, '1'), 'F05: commit: the coordinator waits for a standby');
			my ($pid) = $t->pids('coordinator');
			my $began = time();
			my $log_at = -s $t->node->logfile;
			$t->sql("SELECT $function($pid)");
			# A cancel ends the wait of this commit; that of the next one begins.
			ok($function =~ /cancel/ ? wait_for(sub { slurp_file($t->node->logfile, $log_at) =~ /canceling wait for synchronous replication/ }, 20)
				: gone($began, $pid) < 20, "F05: commit: $function");
			my $took = time() - $began;
			$t->sql(q(ALTER SYSTEM RESET synchronous_standby_names; SELECT pg_reload_conf()));
			is($t->violations($job, cursors => $cursors), '', "F05: commit: $function: nothing lost, nothing twice");
			return $took;
		});
	cmp_ok($seconds, '<=', 1, sprintf 'F05: commit: acts in %.2f s', $seconds);
}

# ---------------------------------------------------------------------
# F03, F04
# ---------------------------------------------------------------------

# What a stop leaves, and that one call is enough.
sub check_resume
{
	my ($name, $cursors, $orderly) = @_;
	my $state = $t->state_of($job);
	return is($state, 'completed', "$name: was done") if $state eq 'completed';
	is($state, 'running', "$name: the job is not lost");
	is($t->sql("SELECT count(*) FROM mongo_migrate.chunk WHERE state = 'running'"), 0, "$name: no chunk is left running") if $orderly;
	is($t->sql("SELECT migrate_resume($job)"), 'queued', "$name: one migrate_resume()");
	return is($t->violations($job, cursors => $cursors), '', "$name: nothing lost, nothing twice");
}

my $killed = 0;
foreach my $place (sort keys %places)
{
	my ($bring, $release) = @{$places{$place}};
	foreach my $how ('fast', 'smart', 'immediate', 'kill -9')
	{
		next if $how eq 'smart' && $place eq 'lock';	# waits for the session
		$bring->();
		my @pids = ($t->pids('coordinator'), $t->pids('loader'));
		my $began = time();
		$how eq 'kill -9' ? $t->node->kill9 : $t->node->stop($how);
		my $seconds = gone($began, @pids);
		my $fault = $how eq 'kill -9' ? 'F03' : 'F04';
		cmp_ok($seconds, '<=', 5, sprintf '%s: %s, %s: all workers are gone in %.2f s', $fault, $how, $place, $seconds);
		$killed = $seconds if $how eq 'kill -9' && $seconds > $killed;
		figure('F04', sprintf 'stop -m fast while loaders wait (%s): %.2f s', $place, $seconds) if $how eq 'fast';
		$session->end if $place eq 'lock';
		start_again();
		$release->();
		check_resume("$fault: $how, $place", leaves_cursors($place, $how =~ /immediate|kill/), $how =~ /fast|smart/);
	}
}
figure('F03', sprintf 'kill -9 postmaster (loaders waiting in 4 places): orphans gone in %.2f s, 0 differences after one migrate_resume()', $killed);

done_testing();
