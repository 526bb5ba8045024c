# F16, F18, F36: a full disk, documents of 15 MB, and sessions that start,
# pause, resume and cancel jobs in any order.
use strict;
use warnings;

use FaultTest qw(long figure);
use IPC::Run ();
use MongoTest qw(wait_for);
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

my $seed = $ENV{MM_SEED} // int(time() * 1000) % 1000000;
srand $seed;
note "seed $seed: repeat with MM_SEED=$seed";

my $t = FaultTest->new('bounds');
$t->fill('mixed', 20000);

# ---------------------------------------------------------------------
# F16
# ---------------------------------------------------------------------

# t/tools/full.c makes the disk under the tablespace full.
my $dir = PostgreSQL::Test::Utils::tempdir();
mkdir "$dir/small";
system('cc', '-O1', '-fPIC', '-shared', '-o', "$dir/full.so", "$ENV{MM_ROOT}/t/tools/full.c", '-ldl') == 0 or die 'cc failed';
$t->node->stop;
{
	local $ENV{LD_PRELOAD} = "$dir/full.so";
	local $ENV{MM_FULL} = "$dir/full";
	$t->node->start;
}
$t->sql("CREATE TABLESPACE small LOCATION '$dir/small'");
$t->sql('GRANT CREATE ON TABLESPACE small TO PUBLIC');

sub fill_disk
{
	open my $file, '>', "$dir/full.new" or die $!;
	print $file "$dir/small";
	close $file;
	rename "$dir/full.new", "$dir/full" or die $!;
	return;
}

my $job = $t->start('mixed', rate => 2000, options => '"tablespace": "small"');
$t->copying($job);
fill_disk();
ok($t->until(qq(SELECT count(*) >= 2 FROM migrate_events WHERE job_id = $job AND severity = 'warning'
	AND message ~ 'No space left on device, next attempt'), 30), 'F16: a full disk is an event, more than once');
is($t->state_of($job), 'running', 'F16: and the job waits');
my $rows = $t->ask("SELECT rows FROM migrate_jobs WHERE job_id = $job");
unlink "$dir/full";
my $began = time();
ok($t->copying($job, $rows), 'F16: it goes on when there is space again');
my $seconds = time() - $began;
cmp_ok($seconds, '<=', 15, sprintf 'F16: after %.1f s', $seconds);
is($t->violations($job), '', 'F16: nothing lost, nothing twice');
figure('F16', sprintf 'full disk under the table: the job waits, and goes on %.1f s after there is space, 0 differences', $seconds);
$t->sql('DROP TABLE mixed');

# ---------------------------------------------------------------------
# F18
# ---------------------------------------------------------------------

# The most loaders at a time, and the most kilobytes that one of them has.
sub watch_loaders
{
	my ($watched) = @_;
	my ($peak, $seen) = (0, 0);
	wait_for(sub {
			my @pids = $t->pids('loader');
			$seen = @pids if @pids > $seen;
			foreach my $pid (@pids)
			{
				my ($kb) = (eval { slurp_file("/proc/$pid/status") } // '') =~ /RssAnon:\s+(\d+)/;
				$peak = $kb if defined $kb && $kb > $peak;
			}
			($t->state_of($watched) // '') =~ /completed|failed/ }, 120);
	return ($seen, $peak);
}

my $workers = 4;
$t->mongo->python(q(
import random
random.seed(1)
for i in range(16):
    client.shop.giant.insert_one({'_id': i, 'text': random.randbytes(7800000).hex()})
));
$job = $t->start('giant', workers => $workers, chunk => '32MB');
my ($seen, $peak) = watch_loaders($job);
cmp_ok($seen, '>', 1, 'F18: several loaders are at work');
ok($peak > 0 && $peak <= 256 * 1024, sprintf 'F18: a loader takes %d MB at most', $peak / 1024);
is($t->violations($job, collection => 'giant'), '', 'F18: nothing lost, nothing twice');

# Millions of values of one key, each of which is converted, but for the first.
$t->mongo->python(<<'PY');
from bson.raw_bson import RawBSONDocument
import struct
client.shop.repeated.insert_many([{'_id': i, 't': 'x', 'l': [1, 2], 'n': 1.5} for i in range(100)])
for i, elements in enumerate([b'\x08t\0\1' * 2900000, b'\x02t\0\2\0\0\0\xff\0' * 1500000, b'\x04l\0\x05\0\0\0\0' * 1500000]):
    body = b'\x10_id\0' + struct.pack('<i', 100 + i) + elements + b'\x02t\0\2\0\0\0y\0'
    client.shop.repeated.insert_one(RawBSONDocument(struct.pack('<i', len(body) + 5) + body + b'\0'))
PY
$job = $t->start('repeated', workers => 1);
my (undef, $most) = watch_loaders($job);
ok($most > 0 && $most <= 256 * 1024, sprintf 'F18: with keys that are repeated it takes %d MB at most', $most / 1024);
is($t->ask('SELECT count(*) FILTER (WHERE t = $$y$$) FROM repeated WHERE _id >= 100'), 3, 'F18: the last value of each is kept');
figure('F18', sprintf 'documents of 15.6 MB, %d workers: %d MB of private memory in a loader at most, 0 differences', $workers, $peak / 1024);

# ---------------------------------------------------------------------
# F36
# ---------------------------------------------------------------------

my $some = '(SELECT job_id FROM migrate_jobs WHERE finished_at IS NULL ORDER BY random() LIMIT 1)';
my %statements = (
	pause => "SELECT migrate_pause($some)", resume => "SELECT migrate_resume($some)", cancel => "SELECT migrate_cancel($some)");
my @actions = ('start', 'start', 'pause', 'pause', 'resume', 'resume', 'cancel');
my ($rounds, $tables, $started, %counts, @unexpected) = (long() ? 100 : 25, 0, 0);
foreach my $round (1 .. $rounds)
{
	my @sessions;
	foreach (1 .. 4)
	{
		my $action = $actions[rand @actions];
		$counts{$action}++;
		my $sql = $statements{$action}
		  // sprintf q(SELECT migrate_start('shop', 'mixed', target => 'any%d', workers => 2, options => '{"max_docs_per_second": 20000}')), ++$tables;
		my $session = {action => $action, out => '', err => ''};
		$session->{run} = IPC::Run::start(['psql', '-XAtq', '-v', 'VERBOSITY=verbose', '-d', $t->node->connstr('postgres'),
				MongoTest::role_for($sql), '-c', $sql],
			'<', \undef, '>', \$session->{out}, '2>', \$session->{err});
		push @sessions, $session;
	}
	foreach my $session (@sessions)
	{
		$session->{run}->finish;
		$started++ if $session->{action} eq 'start' && $session->{out} =~ /^\d+$/m;
		# The state does not allow it, or there is no such job.
		push @unexpected, "$session->{action}: $1" if $session->{err} =~ /((?:ERROR|FATAL|PANIC):  (?!55000|42704|53000).*)/;
	}
	sleep rand 0.2;
}
is(join("\n", @unexpected), '', 'F36: no error but that the state does not allow it');
$t->until("SELECT count(migrate_cancel(job_id)) >= 0 FROM migrate_jobs WHERE finished_at IS NULL", 10);
ok($t->until('SELECT count(*) FROM migrate_jobs WHERE finished_at IS NULL', 60, '0'), 'F36: all jobs come to an end');
cmp_ok($started, '>', 0, 'F36: some were started');
# Chance may have canceled each of them.
$t->sql(q(SELECT migrate_start('shop', 'mixed', target => 'any_last', workers => 2)));
$started++;
ok($t->until(q(SELECT state FROM migrate_jobs WHERE target LIKE '%any_last'), 60, 'completed'), 'F36: another one completes');
is($t->ask(q(SELECT count(*) FROM migrate_jobs WHERE target LIKE '%any%')), $started, 'F36: and those are here');
is($t->ask(q(SELECT count(*) FROM migrate_jobs WHERE state NOT IN ('completed', 'canceled'))), 0, 'F36: none fails');
my @done = split /\n/, $t->ask(q(SELECT job_id || ' ' || target FROM migrate_jobs WHERE state = 'completed' AND target LIKE '%any%' ORDER BY job_id DESC LIMIT 5));
foreach (@done)
{
	my ($done, $table) = split / /;
	is($t->violations($done, table => $table), '', "F36: job $done: nothing lost, nothing twice");
}
is(join("\n", $t->left_violations(0), $t->log_violations(0)), '', 'F36: no process, lock or chunk is left');
figure('F36', sprintf '%d calls from 4 sessions at a time (%s): no illegal state, nothing left', 4 * $rounds,
	join ', ', map { "$counts{$_} $_" } sort keys %counts);

done_testing();
