# A private mongod beside a private PostgreSQL, for the TAP tests.
#
#   my $mongo = MongoTest->new(auth => 0);      a replica set of one
#   my $mongo = MongoTest->new(member => 1);    one that python() must initiate
#   my @members = MongoTest::replica_set(3);    primary first
#   my $node = MongoTest::node('name');         PostgreSQL with the extension
#   $mongo->generate('mixed', 1000, 'shop.mixed');
#   is($mongo->compare($node, 'shop.mixed', 'mixed'), '', 'equal');
#
# Everything lives in the directory of the test and ends with it.
package MongoTest;

use strict;
use warnings;

use Exporter 'import';
use IO::Socket::INET;
use IPC::Run ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Time::HiRes qw(sleep time);

our @EXPORT_OK = qw(ask wait_for);

my $root = $ENV{MM_ROOT} or die "MM_ROOT is not set: run make check";

# With MM_PLAIN, the tests are a role's with the grants of the reference and no
# more; but for what an administrator does in them, and for looks at our tables.
my $plain = $ENV{MM_PLAIN};
my $administration = qr/(?:FROM|JOIN|UPDATE|INTO|TABLE|ON)[ ]mongo_migrate\.|pg_stat_activity|pg_locks|pg_(?:terminate|cancel)_backend
	|USER[ ]MAPPING[ ]FOR[ ](?!CURRENT)|\b(?:ROLE|SYSTEM|DATABASE|TABLESPACE|EXTENSION)\b|LANGUAGE[ ][cC]|\betl\b|pg_reload_conf|pg_stat_file|pg_ls_|pg_settings/x;

sub free_port
{
	my $socket = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 1) or die $!;
	my $port = $socket->sockport;
	close $socket;
	return $port;
}

sub new
{
	my ($class, %options) = @_;
	my $self = bless {port => free_port(), dir => PostgreSQL::Test::Utils::tempdir(), options => \%options}, $class;
	mkdir "$self->{dir}/data";
	$self->start;
	$self->wait_until_up;
	return $self;
}

sub wait_until_up
{
	my ($self) = @_;
	return if $self->{options}{member};
	if ($self->{options}{standalone})
	{
		my $tls = grep { /^--tls/ } @{$self->{options}{arguments} // []};
		wait_for(sub { $tls ? $self->listens : defined $self->try_python(q(client.admin.command('ping'))) }) or die 'mongod did not start';
		return;
	}
	system("$root/scripts/bin/generate", '--initiate', $self->uri) == 0 or die 'mongod did not start';
	return;
}

# All that can be told without a certificate.
sub listens { my ($self) = @_; return defined IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $self->{port}); }

# Members that become primary by priority, the first one first.
sub replica_set
{
	my ($n) = @_;
	my @members = map { MongoTest->new(member => 1) } 1 .. $n;
	my $list = join ', ', map { "{'_id': $_, 'host': '127.0.0.1:$members[$_]{port}', 'priority': @{[$n - $_]}}" } 0 .. $n - 1;
	$members[0]->python(<<"PY");
import time
for left in reversed(range(100)):
    try:
        client.admin.command('replSetInitiate', {'_id': 'rs0', 'members': [$list], 'settings': {'electionTimeoutMillis': 5000, 'chainingAllowed': False}})
        break
    except pymongo.errors.PyMongoError:
        if left == 0:
            raise
        time.sleep(0.2)
while True:
    states = [m['stateStr'] for m in client.admin.command('replSetGetStatus')['members']]
    if states[0] == 'PRIMARY' and states.count('SECONDARY') == $n - 1:
        break
    time.sleep(0.1)
PY
	return @members;
}

# Of the set that starts with these members.
sub set_uri
{
	my ($database, @members) = @_;
	return 'mongodb://' . join(',', map { "127.0.0.1:$_->{port}" } @members) . "/$database?replicaSet=rs0";
}

sub start
{
	my ($self) = @_;
	my @arguments = ('--dbpath', "$self->{dir}/data", '--port', $self->{port}, '--bind_ip', '127.0.0.1',
		'--wiredTigerCacheSizeGB', '0.5', '--setParameter', 'enableTestCommands=1',
		'--logpath', "$self->{dir}/log", '--logappend', @{$self->{options}{arguments} // []});
	push @arguments, '--replSet', 'rs0' unless $self->{options}{standalone};
	my $pid = fork() // die $!;
	if ($pid == 0)
	{
		open STDOUT, '>', '/dev/null';
		exec $ENV{MONGOD}, @arguments or POSIX::_exit(127);
	}
	$self->{pid} = $pid;
	return;
}

sub stop
{
	my ($self, $signal) = @_;
	return unless $self->{pid};
	kill $signal // 'KILL', $self->{pid};
	waitpid $self->{pid}, 0;
	delete $self->{pid};
	return;
}

sub DESTROY { local $?; $_[0]->stop; return; }

# With a path, a database: mongodb://127.0.0.1:PORT/shop?directConnection=true
sub uri
{
	my ($self, $database, $credentials) = @_;
	return sprintf 'mongodb://%s127.0.0.1:%d/%s?directConnection=true',
	  defined $credentials ? "$credentials\@" : '', $self->{port}, $database // '';
}

sub generate
{
	my ($self, $shape, $documents, $namespace, $seed, $uri) = @_;
	system("$root/scripts/bin/generate", '--shape', $shape, '--documents', $documents,
		'--seed', $seed // 1, $uri // $self->uri, $namespace) == 0 or die "could not fill $namespace";
	return;
}

# Runs Python with "client" connected; the tests' hand on the server.
sub python
{
	my ($self, $code, $uri) = @_;
	my ($out, $err);
	IPC::Run::run(['/usr/bin/python3', '-c',
			"import bson, datetime, pymongo, uuid\nclient = pymongo.MongoClient('" . ($uri // $self->uri) . "')\n$code"],
		'>', \$out, '2>', \$err) or die "python: $err";
	chomp $out;
	return $out;
}

# Same; nothing when that fails, as when the server is not up yet.
sub try_python
{
	my ($self, @arguments) = @_;
	return eval { $self->python(@arguments) };
}

# Clustered collections came with 5.3.
sub has_clustered
{
	my ($self) = @_;
	return $self->python('print(client.server_info()["versionArray"] >= [5, 3])') eq 'True';
}

# Empty when collection and table are equal, else what differs.
sub compare
{
	my ($self, $node, $namespace, $table, $uri, @options) = @_;
	my ($out, $err);
	my $ok = IPC::Run::run(['/usr/bin/python3', "$root/t/tools/compare.py", @options, $uri // $self->uri, $namespace,
			$node->connstr('postgres') . " user=" . getpwuid($<), $table], '>', \$out, '2>', \$err);
	Test::More::note($out);
	return $ok ? '' : "$out$err";
}

# What compare.py expects, against what is stated by hand; '' when all agrees.
sub self_test
{
	my ($node) = @_;
	my $out;
	my $ok = IPC::Run::run(['/usr/bin/python3', "$root/t/tools/compare.py", '--self-test', $node->connstr('postgres') . " user=" . getpwuid($<)],
		'>', \$out, '2>&1');
	Test::More::note($out);
	return $ok ? '' : $out;
}

# PostgreSQL with the extension in database postgres.
sub node
{
	my ($name, %settings) = @_;
	my $node = MongoTest::Node->new($name);
	$node->init(extra => ['--encoding=UTF8', '--locale=C.UTF-8', '--no-sync']);
	$node->append_conf('postgresql.conf', "max_worker_processes = 16\nrestart_after_crash = on\n");
	$node->append_conf('postgresql.conf', "$_ = $settings{$_}") foreach sort keys %settings;
	$node->start;
	$node->safe_psql('postgres', 'CREATE EXTENSION mongo_migrate');
	$node->safe_psql('postgres', slurp_file("$root/t/plain.sql") . 'GRANT CREATE ON DATABASE postgres TO plain') if $plain;
	return $node;
}

# For tests about rights, or what only a superuser may do or know: off and on.
sub plain { my ($on) = @_; $plain = $on ? $ENV{MM_PLAIN} : ''; return; }

# Arguments of psql for the role that a statement is tried as.  In databases
# that a test makes for itself nothing is granted.
sub role_for
{
	my ($sql, $database) = @_;
	return $plain && $sql !~ $administration && ($database // 'postgres') eq 'postgres' ? ('-U', 'plain') : ();
}

# A program of t/tools at work beside the test: stop_tool() ends it and
# returns what it printed.
sub start_tool
{
	my ($name, @arguments) = @_;
	my $tool = {in => '', out => '', err => ''};
	$tool->{run} = IPC::Run::start(['/usr/bin/python3', "$root/t/tools/$name", @arguments],
		'<', \$tool->{in}, '>', \$tool->{out}, '2>', \$tool->{err});
	return $tool;
}

sub stop_tool
{
	my ($tool) = @_;
	$tool->{run}->signal('TERM');
	$tool->{run}->finish or die "tool: $tool->{err}";
	chomp $tool->{out};
	return $tool->{out};
}

# The result of a query, or undef while the server recovers from a crash.  The
# query is an argument: psql would not read it from a pipe, and the write fail.
sub ask
{
	my ($node, $sql, $database) = @_;
	my ($out, $err);
	my $ok = IPC::Run::run(['psql', '-XAtq', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr($database // 'postgres'), role_for($sql, $database), '-c', $sql],
		'<', '/dev/null', '>', \$out, '2>', \$err);
	return unless $ok;
	chomp $out;
	return $out;
}

# Polls a condition twenty times a second; false after the time in seconds.
sub wait_for
{
	my ($condition, $seconds) = @_;
	my $end = time() + ($seconds // 60);
	while (time() < $end)
	{
		return 1 if $condition->();
		sleep 0.05;
	}
	return $condition->() ? 1 : 0;
}

# A PostgreSQL whose statements are tried as role_for() says.
package MongoTest::Node;

use parent -norequire, 'PostgreSQL::Test::Cluster';

sub psql
{
	my ($self, $database, $sql, %parameters) = @_;
	my @more = @{$parameters{extra_params} // []};
	unshift @more, MongoTest::role_for($sql, $database);
	return $self->SUPER::psql($database, $sql, %parameters, extra_params => \@more);
}

1;
