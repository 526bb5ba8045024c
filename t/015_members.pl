# Record ids belong to one process of one server: a step-down leaves them as
# they are; a loss, a restart, or another collection of the same name has the
# copy begin again from empty.
use strict;
use warnings;

use MongoTest qw(wait_for);
use POSIX ();
use PostgreSQL::Test::Utils;
use Test::More;

my $node = MongoTest::node('members', 'mongo_migrate.checkpoint_bytes' => "'64kB'", 'mongo_migrate.max_retry_time' => "'30s'",
	'mongo_migrate.connect_timeout' => "'2s'");
my ($mongo, $uri);

sub sql { my ($sql) = @_; return $node->safe_psql('postgres', $sql); }
sub split_of { my ($job) = @_; return sql("SELECT split FROM migrate_jobs WHERE job_id = $job"); }
sub state_of { my ($job) = @_; return sql("SELECT state FROM migrate_jobs WHERE job_id = $job"); }
sub rows_of { my ($job) = @_; return sql("SELECT rows FROM migrate_jobs WHERE job_id = $job"); }
sub restarts_of { my ($job) = @_; return sql("SELECT restarts FROM mongo_migrate.job_table WHERE job_id = $job"); }

# Starts a load of 40000 documents that takes some seconds, and waits until it
# is in the middle of chunks.
sub start
{
	my ($more, $patience) = @_;
	my ($job) = sql("SET client_min_messages = error; SET mongo_migrate.max_retry_time = '@{[$patience // '30s']}'; BEGIN;
		SELECT migrate_start('$uri', 'narrow', if_exists => 'replace', workers => 2, options => '{\"chunk_size\": \"1MB\"@{[$more // '']}}');
		SELECT migrate_alter(NULL, max_docs_per_second => 4000); COMMIT") =~ /^(\d+)/;
	ok(wait_for(sub { rows_of($job) > 3000 }, 30), 'under way');
	return $job;
}

sub completes
{
	my ($job, $restarts, $split, $name, $table) = @_;
	sql("SELECT migrate_alter($job, max_docs_per_second => 0)") if state_of($job) !~ /completed|failed/;
	ok(wait_for(sub { state_of($job) =~ /completed|failed/ }, 90) && state_of($job) eq 'completed', "$name: completes")
	  or diag(sql('SELECT * FROM migrate_jobs ORDER BY job_id DESC LIMIT 1; SELECT at, severity, message, detail FROM migrate_events ORDER BY event_id'));
	is(restarts_of($job), $restarts, "$name: begun again $restarts times");
	like(split_of($job), $split, "$name: split");
	is($mongo->compare($node, 'shop.narrow', $table // 'narrow', $uri), '', "$name: nothing lost, nothing twice, all equal");
	return;
}

sub told { my ($job) = @_; return sql("SELECT string_agg(detail, ' ') FROM migrate_events WHERE job_id = $job AND message ~ 'begins again from empty'"); }

# ---------------------------------------------------------------------
# A replica set of three
# ---------------------------------------------------------------------
my @members = MongoTest::replica_set(3);
$mongo = $members[0];
$uri = MongoTest::set_uri('shop', @members);
$mongo->generate('narrow', 40000, 'shop.narrow', undef, $uri);
my @hosts = map { "127.0.0.1:$_->{port}" } @members;
my $others = join '|', map { quotemeta } @hosts[1, 2];

my $job = start();
like(split_of($job), qr/^record: ranges of record ids on $hosts[0]$/, 'the primary is read');
$members[0]->python(q(client.admin.command('replSetStepDown', 15, force=True)));
ok(wait_for(sub { $members[0]->python(q(print(client.admin.command('hello')['isWritablePrimary']))) eq 'False' }, 20), 'stepped down');
completes($job, 0, qr/^record: .* on $hosts[0]$/, 'step-down');
wait_for(sub { $members[0]->python(q(print(client.admin.command('hello')['isWritablePrimary']))) eq 'True' }, 60);

my $set = $uri;
$uri .= '&readPreference=secondary';
$job = start();
like(split_of($job), qr/^record: ranges of record ids on (?:$others)$/, 'a secondary is read');
completes($job, 0, qr/^record: .* on (?:$others)$/, 'secondary');

# Secondaries that lag: what the primary has is waited for.
sub lag { my ($mode, @who) = @_; $_->python(qq(client.admin.command('configureFailPoint', 'rsSyncApplyStop', mode='$mode'))) foreach @who; return; }
lag('alwaysOn', @members[1, 2]);
sub insert_late { my ($ids) = @_; $mongo->python(qq(client.shop.get_collection('late', write_concern=pymongo.WriteConcern(1)).insert_many([{'_id': i} for i in range($ids)]))); return; }
insert_late('1000');
my ($code, undef, $stderr) = $node->psql('postgres', "SELECT migrate_start('$uri', 'late')");
like($stderr, qr/member (?:$others) of MongoDB server ".*" lags behind the primary\nDETAIL:  Within 2 s it has not applied.*\nHINT:  Wait until it has caught up/, 'lag: an error');
is(sql("SELECT documents FROM migrate_list_collections('@{[$uri =~ s/=secondary$/=secondaryPreferred/r]}', pattern => 'late')"), 1000, 'lag: the primary, where it may be read');
my $soon = fork() // die $!;
if ($soon == 0) { sleep 1; lag('off', @members[1, 2]); POSIX::_exit(0); }
my $late = sql("SET mongo_migrate.connect_timeout = '20s'; SELECT migrate_start('$uri', 'late')");
waitpid $soon, 0;
ok(wait_for(sub { state_of($late) =~ /completed|failed/ }, 30), 'lag: ends');
is(sql(q(SELECT count(*) FROM late)) . state_of($late), '1000completed', 'lag: nothing is missing');
# A primary that is there, and cannot be reached from here: only a superuser may.
my ($narrow) = map { $_->uri('shop') =~ m{//([^/]+)} } $members[1];
MongoTest::plain(0);
sql("LOAD 'mongo_migrate'; ALTER SYSTEM SET mongo_migrate.allowed_hosts = '$narrow'; SELECT pg_reload_conf();
	CREATE ROLE narrow LOGIN; GRANT USAGE ON FOREIGN DATA WRAPPER mongo_migrate TO narrow; GRANT CREATE ON SCHEMA public TO narrow");
wait_for(sub { sql("LOAD 'mongo_migrate'; SHOW mongo_migrate.allowed_hosts") eq $narrow }, 10);
($code, my $blind, $stderr) = $node->psql('postgres', "SELECT migrate_start('mongodb://$narrow/shop?replicaSet=rs0&readPreference=secondary', 'late', target => 'blind')",
	extra_params => ['-U', 'narrow']);
like($stderr, qr/WARNING:  cannot tell whether member $narrow of MongoDB server ".*" lags behind the primary\nDETAIL:  The primary, $hosts[0], cannot be reached/, 'no way to the primary: a session is told');
ok(wait_for(sub { sql("SELECT count(*) FROM migrate_events WHERE job_id = $blind AND message LIKE 'cannot tell whether member%'") > 0 }, 20), 'no way to the primary: a load waits');
is(state_of($blind), 'running', 'no way to the primary: and is not over');
sql("LOAD 'mongo_migrate'; ALTER SYSTEM RESET mongo_migrate.allowed_hosts; SELECT pg_reload_conf()");
ok(wait_for(sub { state_of($blind) eq 'completed' }, 20), 'no way to the primary: goes on when there is one');
MongoTest::plain(1);
# By one member alone nobody is asked.
lag('alwaysOn', $members[1]);
insert_late('1000, 1001');
is(sql(sprintf q(SELECT documents FROM migrate_list_collections('%s&readPreference=secondary', pattern => 'late')), $members[1]->uri('shop')), 1000, 'one member: what it has');
lag('off', $members[1]);

# One of two secondaries has not applied a drop yet: the other one is read.
$mongo->python(<<'PY', MongoTest::set_uri('', @members));
from pymongo import WriteConcern
client.shop.get_collection('small', write_concern=WriteConcern(w=3)).insert_many([{'_id': i, 'v': 'old'} for i in range(10)])
PY
$members[2]->python(q(client.admin.command('configureFailPoint', 'rsSyncApplyStop', mode='alwaysOn')));
$mongo->python(q(client.shop.newer.insert_many([{'_id': i, 'v': 'new'} for i in range(10)]); client.shop.newer.rename('small', dropTarget=True)));
sub uuid_at { my ($member) = @_; return $member->python(q(print(next(client.shop.list_collections(filter={'name': 'small'}))['info']['uuid'].hex))); }
my $old = uuid_at($members[2]);
ok(wait_for(sub { uuid_at($members[1]) ne $old }, 20), 'one secondary has the new collection, the other has the old one');
my (%seen, %states);
foreach my $run (1 .. 8)
{
	my $small = sql("SET client_min_messages = error; SELECT migrate_start('$uri', 'small', if_exists => 'replace', workers => 1)");
	ok(wait_for(sub { state_of($small) =~ /completed|failed/ }, 60), "run $run ends") or last;
	$states{state_of($small)}++;
	next if state_of($small) ne 'completed';
	$seen{sql(q(SELECT string_agg(DISTINCT v, ',') FROM small))}++;
}
is(join(' ', keys %seen), 'new', 'no rows of the old collection') or diag(explain(\%seen), explain(\%states));
$members[2]->python(q(client.admin.command('configureFailPoint', 'rsSyncApplyStop', mode='off')));
$uri = $set;

# An election does not end the job of a role that may not connect to all members.
MongoTest::plain(0);
sql("LOAD 'mongo_migrate'; ALTER SYSTEM SET mongo_migrate.allowed_hosts = '$hosts[0], $narrow'; SELECT pg_reload_conf()");
wait_for(sub { sql("LOAD 'mongo_migrate'; SHOW mongo_migrate.allowed_hosts") =~ /, / }, 20);
(undef, my $held) = $node->psql('postgres', "SET client_min_messages = error; SELECT migrate_start('mongodb://$hosts[0],$narrow/shop?replicaSet=rs0', 'narrow', target => 'held',
	workers => 1, options => '{\"split\": \"id\", \"chunk_size\": \"1MB\", \"max_docs_per_second\": 500}')", extra_params => ['-U', 'narrow']);
ok(wait_for(sub { sql("SELECT docs_done > 0 FROM migrate_stat_job WHERE job_id = $held") eq 't' }, 20), 'an election: a job runs');
$_->python(q(client.admin.command('replSetFreeze', 60))) foreach @members[1, 2];
$members[0]->try_python(q(client.admin.command('replSetStepDown', 8, force=True)));
MongoTest::ask($node, "SELECT migrate_alter($held, max_docs_per_second => 0)");
ok(wait_for(sub { sql("SELECT count(*) > 0 FROM migrate_events WHERE job_id = $held AND severity = 'warning'") eq 't' }, 20), 'an election: is noticed');
completes($held, 0, qr/^id: /, 'an election', 'held');
sql("LOAD 'mongo_migrate'; ALTER SYSTEM RESET mongo_migrate.allowed_hosts; SELECT pg_reload_conf()");
$_->python(q(client.admin.command('replSetFreeze', 0))) foreach @members[1, 2];
MongoTest::plain(1);
ok(wait_for(sub { $members[0]->python(q(print(client.admin.command('hello')['isWritablePrimary']))) eq 'True' }, 60), 'an election: as it was');

# Gone for longer than max_retry_time.
$job = start('', '6s');
$members[0]->stop;
completes($job, 1, qr/^record: .* on (?:$others)$/, 'lost member');
like(told($job), qr/member $hosts[0] of MongoDB server ".*" is not available/, 'lost member: says so');
is(sql("SELECT count(*) FROM mongo_migrate.chunk WHERE job_id = $job AND attempts_excused = 0"), 0, 'lost member: attempts are counted on');

# The others cannot be written to; that one more goes leaves no majority.
$members[0]->start;
ok(wait_for(sub { ($members[0]->try_python(q(print(client.admin.command('hello')['isWritablePrimary']))) // '') eq 'True' }, 60), 'back as primary');

# Killed and back in no time: the same data, other record ids.
$job = start();
$members[0]->stop;
$members[0]->start;
completes($job, 1, qr/^record: /, 'restarted member');
like(told($job), qr/lost the record ids .*: mongod at $hosts[0] was started again\./, 'restarted member: says so');

# No member at all: the job fails, and goes on when it is tried again.
$job = start('', '6s');
$_->stop foreach @members;
ok(wait_for(sub { state_of($job) eq 'failed' }, 60), 'no member: fails');
like(sql("SELECT message FROM migrate_jobs WHERE job_id = $job"), qr/could not connect|lost connection/, 'no member: says so');
cmp_ok(sql('SELECT count(*) FROM narrow'), '>', 0, 'no member: rows are kept');
$_->start foreach @members;
ok(wait_for(sub { ($members[0]->try_python(q(print(client.admin.command('hello')['isWritablePrimary']))) // '') eq 'True' }, 60), 'all are back');
sql("SELECT migrate_retry($job)");
completes($job, 1, qr/^record: /, 'tried again');
$_->stop foreach @members;

# ---------------------------------------------------------------------
# One member, and a server without replica set
# ---------------------------------------------------------------------
$mongo = MongoTest->new;
$uri = $mongo->uri('shop');
$mongo->generate('narrow', 40000, 'shop.narrow');
$job = start();
foreach my $time (1 .. 3)
{
	$mongo->stop($time == 1 ? 'TERM' : 'KILL');
	$mongo->start;
	ok(wait_for(sub { restarts_of($job) == $time && rows_of($job) > 500 && state_of($job) eq 'running' }, 60), "restart $time: begins again");
}
completes($job, 3, qr/^id: .*because with record ids the copy had to begin again$/, 'three restarts');

# The collection is another one.  (At one stroke: the copy that begins again
# need not see what is inserted behind it.)
$mongo->generate('narrow', 40000, 'shop.other', 7);
$job = start();
$mongo->python(q(client.shop.other.rename('narrow', dropTarget=True)));
completes($job, 1, qr/^record: /, 'replaced collection');
like(told($job), qr/The collection was dropped or replaced\./, 'replaced collection: says so');
$job = start();
$mongo->python(q(client.shop.narrow.rename('elsewhere')));
ok(wait_for(sub { state_of($job) eq 'failed' }, 60), 'dropped collection: fails');
like(sql("SELECT message FROM migrate_jobs WHERE job_id = $job"), qr/collection "shop.narrow" does not exist/, 'dropped collection: says so');
$mongo->stop;

$mongo = MongoTest->new(standalone => 1);
$uri = $mongo->uri('shop');
$mongo->generate('narrow', 40000, 'shop.narrow');
$job = start();
like(split_of($job), qr/^record: /, 'standalone: by record ids');
$mongo->stop;
$mongo->start;
completes($job, 0, qr/^record: /, 'standalone: killed and started');

# A user who may only read.  (Filled anew: what collStats tells of the size
# does not survive a kill.)
$mongo->python(q(client.shop.narrow.drop()));
$mongo->generate('narrow', 40000, 'shop.narrow');
$mongo->python(q(client.admin.command('createUser', 'reader', pwd='secret', roles=[{'role': 'read', 'db': 'shop'}])));
$mongo->stop('TERM');
push @{$mongo->{options}{arguments}}, '--auth';
$mongo->start;
$uri = $mongo->uri('shop', 'reader:secret') . '&authSource=admin';
ok(wait_for(sub { defined $mongo->try_python('client.shop.narrow.find_one()', $uri) }, 30), 'role read: mongod is up');
$job = start();
completes($job, 0, qr/^record: /, 'role read');

done_testing();
