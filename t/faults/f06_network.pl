# F06, F08, F09: mongod dies, connections break, stall and crawl; and servers
# that send garbage.
use strict;
use warnings;

use FaultTest qw(long figure);
use MongoTest qw(wait_for);
use PostgreSQL::Test::Utils;
use Proxy;
use Test::More;
use Time::HiRes qw(time);

my $seed = $ENV{MM_SEED} // int(time() * 1000) % 1000000;
srand $seed;
note "seed $seed: repeat with MM_SEED=$seed";

my $t = FaultTest->new('network');
my $proxy = Proxy->new($t->mongo);
$t->server('far', $proxy->uri('shop'));
$t->fill('mixed', 40000);

# A job that takes ten seconds, in steps small enough to break it anywhere.
my @impatient = ("mongo_migrate.socket_timeout = '2s'", "mongo_migrate.connect_timeout = '2s'");

sub start
{
	my (%o) = @_;
	my $job = $t->start('mixed', server => 'far', settings => \@impatient, rate => 4000, %o);
	$t->copying($job);
	return $job;
}

sub warnings_of { my ($job) = @_; return $t->ask("SELECT count(*) FROM migrate_events WHERE job_id = $job AND severity = 'warning'"); }

# ---------------------------------------------------------------------
# F06
# ---------------------------------------------------------------------

# Record ids hold for a process of mongod, so that a copy by them begins again.
my $outage = long() ? 30 : 5;
my $job;
my $seconds;
foreach my $split ('record', 'id')
{
	$job = $t->start('mixed', rate => 4000, options => qq("split": "$split"));
	$t->copying($job);
	$t->mongo->stop;
	ok(wait_for(sub { warnings_of($job) > 0 }, 20), "F06: $split: a dead mongod is an event");
	my $back = time() + $outage;
	wait_for(sub { time() >= $back }, $outage + 1);
	is($t->state_of($job), 'running', "F06: $split: the job waits for $outage s");
	$t->mongo->start;
	$back = time();
	my $read = "SELECT sum(docs_read) + (SELECT 1000000 * restarts FROM mongo_migrate.job_table WHERE job_id = $job) FROM mongo_migrate.chunk WHERE job_id = $job";
	my $before = $t->ask($read);
	ok($t->until("SELECT ($read) > $before AND sum(docs_read) > 0 FROM mongo_migrate.chunk WHERE job_id = $job", 30), "F06: $split: it goes on");
	$seconds = time() - $back;
	cmp_ok($seconds, '<=', 15, sprintf 'F06: %s: %.1f s after mongod is back', $split, $seconds);
	is($t->violations($job), '', "F06: $split: nothing lost, nothing twice");
	my $restarts = $t->sql("SELECT restarts FROM mongo_migrate.job_table WHERE job_id = $job");
	is($restarts, $split eq 'record' ? 1 : 0, "F06: $split: begun again $restarts times");
	figure('F06', sprintf 'kill -9 mongod, back after %d s, split "%s": at work %.1f s later, begun again %d times, 0 failed jobs, 0 differences', $outage, $split, $seconds, $restarts);
}

# ---------------------------------------------------------------------
# F08
# ---------------------------------------------------------------------

foreach my $how ('cut rst', 'cut fin')
{
	foreach my $run (1 .. long() ? 20 : 2)
	{
		my $bytes = 1 + int rand 600000;
		$job = start();
		$proxy->tell("$how $bytes");
		is($t->violations($job), '', "F08: $how after $bytes bytes: nothing lost, nothing twice");
		cmp_ok(warnings_of($job), '>', 0, 'F08: and it is an event');
	}
}
figure('F08', sprintf 'RST and FIN at random bytes of replies: %d jobs, 0 differences', long() ? 40 : 4);

foreach my $how ('stall', 'half')
{
	$job = start();
	my $began = time();
	$proxy->tell($how);
	ok(wait_for(sub { warnings_of($job) > 0 }, 20), "F08: $how: it is noticed");
	$seconds = time() - $began;
	cmp_ok($seconds, '<', 3.5, sprintf 'F08: %s: %.1f s after the last byte, with a socket_timeout of 2 s', $how, $seconds);
	$proxy->tell('pass');
	is($t->violations($job), '', "F08: $how: nothing lost, nothing twice");
	figure('F08', sprintf '%s: noticed after %.1f s (socket_timeout 2 s), 0 differences', $how eq 'stall' ? 'black hole' : 'half-open', $seconds);
}

# ---------------------------------------------------------------------
# F09
# ---------------------------------------------------------------------

# Slower than the socket timeout as a whole, never silent for as long.
$t->fill('mixed', long() ? 20000 : 4000, 'slow');
$proxy->tell('delay 200');
$proxy->tell('rate 50000');
my @patient = ("mongo_migrate.socket_timeout = '5s'", "mongo_migrate.connect_timeout = '5s'");
$job = $t->start('slow', server => 'far', settings => \@patient, workers => 2);
is($t->violations($job, collection => 'slow', seconds => 300), '', 'F09: 200 ms away at 0.4 Mbit/s: nothing lost, nothing twice');
is(warnings_of($job), 0, 'F09: and no attempt is repeated');
$proxy->tell('pass');
$proxy->tell('delay 200');
$proxy->tell("loss $seed 1");
$job = $t->start('slow', server => 'far', settings => \@patient, workers => 2);
is($t->violations($job, collection => 'slow', seconds => 300), '', 'F09: 200 ms away, 1 % of the segments lost: nothing lost, nothing twice');
is(warnings_of($job), 0, 'F09: and no attempt is repeated');
cmp_ok((split / /, $proxy->tell('count'))[3], '>', 0, 'F09: and some were');
$proxy->tell('pass');
figure('F09', '+200 ms with 0.4 Mbit/s, and with 1 % of the segments lost: no retry, 0 differences');

# ---------------------------------------------------------------------
# Garbage
# ---------------------------------------------------------------------

my @kinds = qw(opcode short negative huge long truncated header flags section document document_short type
	inner inner_short inner_type nameless empty other checksum compressed tiny bare generous);

# To loaders.
foreach my $split ('record', 'id')
{
	$job = start(rate => 4000, options => qq("split": "$split"));
	foreach my $kind (@kinds)
	{
		my (undef, undef, $before) = split / /, $proxy->tell('count');
		$proxy->tell("damage $kind 20000");
		ok(wait_for(sub { (split / /, $proxy->tell('count'))[2] > $before }, 20), "garbage ($kind) in a batch, $split");
		$proxy->tell('pass');
	}
	is($t->violations($job), '', "garbage, $split: nothing lost, nothing twice");
}

# To a session: as the answer to its first words, and as a sample of documents.
# It ends here, so that nobody tells mongod of the cursors.
foreach my $minimum (0, 100000)
{
	foreach my $kind (@kinds)
	{
		my $began = time();
		$proxy->tell("damage $kind $minimum");
		my $error = $t->error_of(join ';', (map { "SET $_" } @impatient), q(SELECT * FROM migrate_infer_schema('far', 'mixed')));
		$seconds = time() - $began;
		my ($open, $total, $damaged) = split / /, $proxy->tell('count');
		cmp_ok($damaged, '>', 0, "garbage ($kind, reply of $minimum bytes or more)");
		like($error, qr/^psql:\S+ ERROR:  (?:could not|lost connection|command failed)/, 'is an error') if $minimum > 0;
		cmp_ok($seconds, '<', 5, sprintf 'after %.1f s', $seconds);
		$proxy->tell('pass');
	}
}

figure('garbage', sprintf '%d kinds of broken replies: clean errors within 5 s, loads go on, 0 differences', scalar @kinds);

# Bytes changed at random.  What comes of it may be a valid reply with other
# values in it: only errors, or results, and no crash are asked for here.
my $calls = long() ? 300 : 20;
my ($failed, $longest) = (0, 0);
foreach my $call (1 .. $calls)
{
	my $began = time();
	$proxy->tell(sprintf 'flip %d %d', $seed + $call, 5 + int rand 60);
	my $error = $t->error_of(join ';', (map { "SET $_" } @impatient), "SELECT * FROM migrate_infer_schema('far', 'slow')");
	$failed++ if $error =~ /ERROR/;
	$longest = time() - $began if time() - $began > $longest;
	$proxy->tell('pass');
}
cmp_ok($longest, '<', 10, sprintf 'changed bytes: %d calls, %d failed, none hung (%.1f s)', $calls, $failed, $longest);
is(join("\n", $t->log_violations(0)), '', 'changed bytes: no crash');
figure('garbage', sprintf '%d calls with random bytes changed: %d failed, 0 crashes, longest %.1f s', $calls, $failed, $longest);

done_testing();
