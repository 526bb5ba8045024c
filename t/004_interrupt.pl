# Ctrl-C and terminate act within a second while the far side stalls: a server
# that accepts and says nothing, and a mongod that is frozen in mid-load.
use strict;
use warnings;

use IO::Socket::INET;
use IPC::Run ();
use MongoTest qw(wait_for);
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

my $mongo = MongoTest->new;
my $node = MongoTest::node('interrupt', 'log_min_messages' => 'warning');
my $uri = $mongo->uri('shop');
$mongo->generate('narrow', 300000, 'shop.narrow');

# Connections stay in its backlog: accepted by the kernel, never answered.
my $stub = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 64) or die $!;
my $stalled = sprintf 'mongodb://127.0.0.1:%d/shop?directConnection=true', $stub->sockport;

# Starts a query, sends SIGINT to its psql (as Ctrl-C does) once the backend is
# at work, and returns the seconds until psql is gone, and its errors.
sub interrupt
{
	my ($sql, $delay) = @_;
	my ($in, $out, $err) = ('', '', '');
	my $psql = IPC::Run::start(['psql', '-X', '-d', $node->connstr('postgres'), MongoTest::role_for($sql), '-c',
			"SET application_name = 'victim'", '-c', "SET mongo_migrate.connect_timeout = '60s'", '-c', $sql],
		'<', \$in, '>', \$out, '2>', \$err);
	wait_for(sub { $node->safe_psql('postgres', "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'victim'
		AND state = 'active' AND query LIKE '%migrate_%'") eq '1' }, 30) or die "not at work: $err";
	sleep $delay // 0.5;
	my $began = time();
	$psql->signal('INT');
	$psql->finish;
	return (time() - $began, $err);
}

# At once: within a second, but for what else the machine is doing.
sub interrupt_soon
{
	my ($sql) = @_;
	my ($seconds, $err);
	foreach my $try (1 .. 5)
	{
		($seconds, $err) = interrupt($sql);
		last if $seconds < 1;
	}
	return ($seconds, $err);
}

foreach my $sql ("SELECT * FROM migrate_ping('$stalled')", "SELECT * FROM migrate_infer_schema('$stalled', 'orders')",
	"SELECT migrate_start('$stalled', 'orders')", "SELECT * FROM migrate_list_collections('$stalled')")
{
	my ($seconds, $err) = interrupt_soon($sql);
	my ($function) = $sql =~ /(migrate_\w+)/;
	cmp_ok($seconds, '<', 1, sprintf '%s: Ctrl-C acts in %.2f s', $function, $seconds);
	like($err, qr/canceling statement due to user request/, "$function: and says so");
}

# Message 8, when nobody interrupts; the reason is told to superusers only.
my ($out, $err);
MongoTest::plain(0);
$node->psql('postgres', "SET mongo_migrate.connect_timeout = '1s'; SELECT migrate_start('$stalled', 'orders')", stderr => \$err);
MongoTest::plain(1);
like($err, qr/could not connect to MongoDB server "127.0.0.1:\d+"\nDETAIL:  No answer from 127.0.0.1:\d+ within 1 s.\nHINT:  If the server requires TLS/,
	'message 8');
is($node->safe_psql('postgres', "SELECT count(*) FROM migrate_jobs"), 0, 'no job is left');

# Ten seconds' work, on any machine; returns when it is under way.
sub start_and_copy
{
	my $job = $node->safe_psql('postgres', "SET mongo_migrate.checkpoint_bytes = '64kB';
		SELECT migrate_start('$uri', 'narrow', if_exists => 'replace', workers => 2, options => '{\"max_docs_per_second\": 30000}')");
	wait_for(sub { $node->safe_psql('postgres', "SELECT rows > 0 FROM migrate_jobs WHERE job_id = $job") eq 't' }, 20);
	return $job;
}

# A mongod that stops in the middle of a load.
sub start_and_freeze
{
	my $job = start_and_copy();
	kill 'STOP', $mongo->{pid};
	sleep 0.5;
	return $job;
}

sub workers
{
	my ($type) = @_;
	return $node->safe_psql('postgres', "SELECT string_agg(pid::text, ' ') FROM pg_stat_activity WHERE backend_type = 'mongo_migrate $type'");
}

my $job = start_and_freeze();
my $before = workers('loader');
cmp_ok(scalar(split ' ', $before), '>', 0, "loaders wait for the frozen server ($before)");
my $began = time();
$node->safe_psql('postgres', "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'mongo_migrate loader'");
ok(wait_for(sub { my $now = workers('loader'); !grep { " $now " =~ / $_ / } split ' ', $before }, 20), 'terminated loaders go');
cmp_ok(time() - $began, '<', 1.5, sprintf 'in %.2f s', time() - $began);

$began = time();
$node->safe_psql('postgres', "SELECT migrate_pause($job)");
is($node->safe_psql('postgres', "SELECT migrate_wait($job, timeout => '30 s')"), 'paused', 'a pause acts while the server is frozen');
cmp_ok(time() - $began, '<', 3, sprintf 'in %.2f s', time() - $began);
kill 'CONT', $mongo->{pid};
$node->safe_psql('postgres', "SELECT migrate_resume($job); SELECT migrate_wait($job)");
is($mongo->compare($node, 'shop.narrow', 'narrow'), '', 'resumed: table equals collection');

$job = start_and_freeze();
my ($seconds, $wait_err) = interrupt_soon("SELECT migrate_wait($job)");
cmp_ok($seconds, '<', 1, sprintf 'migrate_wait: Ctrl-C acts in %.2f s', $seconds);
is($node->safe_psql('postgres', "SELECT state FROM migrate_jobs WHERE job_id = $job"), 'running', 'and the job runs on');
$began = time();
$node->stop('fast');
cmp_ok(time() - $began, '<', 5, sprintf 'a fast shutdown takes %.2f s', time() - $began);
kill 'CONT', $mongo->{pid};
$node->start;
$node->safe_psql('postgres', "SELECT migrate_resume($job); SELECT migrate_wait($job)");
is($mongo->compare($node, 'shop.narrow', 'narrow'), '', 'after the restart: table equals collection');

# The server goes away and comes back: transient, the job waits and goes on.
$job = start_and_copy();
$mongo->stop;
ok(wait_for(sub { $node->safe_psql('postgres', "SELECT count(*) > 0 FROM migrate_events WHERE job_id = $job AND severity = 'warning'") eq 't' }, 20),
	'a lost server is an event');
$mongo->start;
is($node->safe_psql('postgres', "SELECT migrate_wait($job, timeout => '120 s')"), 'completed', 'the job goes on when it is back');
is($mongo->compare($node, 'shop.narrow', 'narrow'), '', 'and nothing is lost');

# A replica set with a member that is down.  The driver learns of it from the
# other one, and must not wait for itself then.
$mongo->python(<<'PY');
config = client.admin.command('replSetGetConfig')['config']
config['members'].append({'_id': 1, 'host': '127.0.0.1:1', 'priority': 0, 'votes': 0})
config['version'] += 1
client.admin.command('replSetReconfig', config)
PY
my $set = "mongodb://127.0.0.1:$mongo->{port}/shop?replicaSet=rs0";
my $timed_out;
$node->psql('postgres', "SELECT status FROM migrate_ping('$set') WHERE item = 'topology'", stdout => \$out, timeout => 30, timed_out => \$timed_out);
ok(!$timed_out, 'a member that is down is no reason to hang');
is($out, 'ok', 'nor for an error');

done_testing();
