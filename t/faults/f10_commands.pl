# F10, F11, F12: mongod answers with errors, hangs up, or does not answer;
# cursors and sessions are killed.  And how long a job is patient.
use strict;
use warnings;

use FaultTest qw(long figure);
use MongoTest qw(wait_for);
use PostgreSQL::Test::Utils;
use Proxy;
use Test::More;
use Time::HiRes qw(time);

# RELIABILITY in the brief, section 3; CursorKilled; and what newer servers say when they have too much to do.
my @transient = qw(6 7 24 43 50 63 64 70 89 90 91 112 117 133 134 136 175 187 189 202 211 237 239 246 251 262 282 290 314 317 358 365 384 402
	406 407 412 433 449 450 453 462 9001 10107 11600 11601 11602 12586 12587 13388 13435 13436 28799 50915 91331);

my $t = FaultTest->new('commands');
$t->fill('mixed', 20000);

# The next commands of these names fail so; "times" is a number or alwaysOn.
sub fail_commands
{
	my ($times, $how, @commands) = @_;
	my $mode = $times =~ /^\d+$/ ? "{'times': $times}" : "'$times'";
	my $names = join ',', map { "'$_'" } @commands;
	$t->mongo->python("client.admin.command('configureFailPoint', 'failCommand', mode=$mode, data={'failCommands': [$names], $how})");
	return;
}

sub events { my ($job, $where) = @_; return $t->ask("SELECT count(*) FROM migrate_events WHERE job_id = $job AND $where"); }

# Each code once, while a job of many finds or getMores runs.  StaleConfig
# does not come without particulars.
sub run_codes
{
	my ($command, $collection, $job) = @_;
	$t->copying($job);
	$t->mongo->python(sprintf <<'PY', join(',', @transient), $command);
for code in [%s]:
    data = {'failCommands': ['%s'], 'errorCode': code}
    if code == 13388:
        data['errorExtraInfo'] = {'ns': 'shop.mixed', 'vReceived': bson.Timestamp(1, 0), 'vReceivedEpoch': bson.ObjectId(),
                                  'vReceivedTimestamp': bson.Timestamp(1, 1), 'shardId': 's'}
    count = client.admin.command('configureFailPoint', 'failCommand', mode={'times': 1}, data=data)['count']
    client.admin.command('waitForFailPoint', 'failCommand', timesEntered=count + 1, maxTimeMS=30000)
PY
	my $codes = join ',', @transient;
	my $seen = qq(SELECT string_agg(DISTINCT c, ',' ORDER BY c) FROM (SELECT substring(detail FROM 'code (\\d+)') FROM migrate_events
		WHERE job_id = $job AND severity = 'warning') s (c));
	$t->until($seen, 20, join ',', sort @transient);
	is($t->ask($seen), join(',', sort @transient), "F10: $command: each transient code is an event");
	is($t->violations($job, collection => $collection), '', "F10: $command: and the job goes on: nothing lost, nothing twice");
	figure('F10', sprintf '%s fails with each of %d transient codes: %d retries, 0 failed jobs, 0 differences', $command, scalar @transient,
		events($job, "severity = 'warning'"));
	return;
}

# By "id", as a find that reads by record ids takes code 211 for a position that was deleted.
run_codes('find', 'mixed', $t->start('mixed', workers => 8, chunk => '64kB', rate => 600, options => '"split": "id"'));
# Three documents to a reply.
$t->mongo->python(q(client.shop.big.insert_many([{'_id': i, 'text': str(i % 10) * 500000} for i in range(240)])));
run_codes('getMore', 'big', $t->start('big', workers => 8, chunk => '8MB', rate => 8));

# The other commands of a load: planning (which takes a sample where many record ids are missing), connecting.
$t->mongo->python(<<'PY');
client.shop.mixed.aggregate([{'$out': 'gaps'}])
client.shop.gaps.delete_many({'_id': {'$in': [d['_id'] for d in client.shop.gaps.find({}, {'_id': 1})][::8]}})
PY
foreach my $case (['aggregate', 262], ['listCollections', 91], ['collStats', 11600], ['hello isMaster ismaster', 91], ['ping', 189])
{
	my ($command, $code) = @$case;
	my $collection = $command eq 'aggregate' ? 'gaps' : 'mixed';
	my $job;
	if ($command eq 'aggregate')	# only the coordinator's, for the split
	{
		fail_commands(1, "'errorCode': $code", $command);
		$job = $t->start($collection);
	}
	else							# when a loader connects again
	{
		my $wait = $t->switch('plan', 'wait');
		$job = $t->start($collection);
		$t->waiting_at_point;
		fail_commands($command =~ /hello/ ? 3 : 1, "'errorCode': $code", split / /, $command);
	}
	ok(wait_for(sub { events($job, "severity = 'warning'") > 0 }, 20), "F10: $command: a failure is an event");
	is($t->violations($job, collection => $collection), '', "F10: $command: nothing lost, nothing twice");
}

# $sample that meets too many documents twice: of a split the index is read instead, a sample is taken again.
$t->mongo->python(q(client.shop.command('create', 'seen', viewOn='mixed', pipeline=[])));
foreach my $options ('', '{"split": "id"}')
{
	fail_commands('alwaysOn', q('errorCode': 28799), 'aggregate');
	my $job = $t->start('gaps', $options ? (options => '"split": "id"') : ());
	is($t->violations($job, collection => 'gaps'), '', "F10: \$sample fails: nothing lost, nothing twice $options");
	is(events($job, "severity = 'warning'"), 0, "F10: \$sample fails: no retry $options");
	fail_commands('off', q('errorCode': 1), 'aggregate');
}
fail_commands(3, q('errorCode': 28799), 'aggregate');
is($t->ask("SELECT count(*) > 1 FROM migrate_infer_schema('@{[$t->mongo->uri('shop')]}', 'seen')"), 't', 'F10: a sample is taken again');

# No time to read all documents: as many as asked for will do.
foreach my $case ([2, qr/^t$/], [200, qr/code 50\).*HINT:  Raise mongo_migrate\.sample_timeout, set a smaller sample_size/s])
{
	my ($n, $expected) = @$case;
	fail_commands(1, q('errorCode': 50), 'getMore');
	my (undef, $out, $err) = $t->node->psql('postgres', "SELECT count(*) > 1 FROM migrate_infer_schema('@{[$t->mongo->uri('shop')]}', 'big', options => '{\"sample_size\": $n}')");
	like($out . $err, $expected, "F10: no time for more than a sample of $n");
	fail_commands('off', q('errorCode': 1), 'getMore');
}

# A connection closed, and one that does not answer in time.
foreach my $case (["'closeConnection': True", 'lost connection'],
	["'blockConnection': True, 'blockTimeMS': 4000", 'No data from .* for 1 s'])
{
	my ($how, $text) = @$case;
	my $job = $t->start('mixed', rate => 1500, settings => ["mongo_migrate.socket_timeout = '1s'"]);
	$t->copying($job);
	fail_commands(1, $how, 'find', 'getMore');
	ok(wait_for(sub { events($job, "message || ' ' || detail ~ '$text'") > 0 }, 20), "F10: $how: is an event");
	fail_commands('off', "'errorCode': 1", 'find');
	is($t->violations($job), '', "F10: $how: nothing lost, nothing twice");
}

# Permanent ones end the job.
foreach my $code (13, 18, 26, 166)
{
	my $job = $t->start('mixed', rate => 1500);
	$t->copying($job);
	fail_commands(1, "'errorCode': $code", 'find', 'getMore');
	my $began = time();
	ok(wait_for(sub { $t->state_of($job) eq 'failed' }, 20), "F10: code $code ends the job");
	my $seconds = time() - $began;
	cmp_ok($seconds, '<=', 5, sprintf 'F10: after %.1f s', $seconds);
	is($t->violations($job, state => 'failed'), '', "F10: code $code: and leaves nothing behind");
	next unless $code == 13;
	like($t->error_of("SELECT migrate_wait($job)"), qr/ERROR:  MongoDB user "migrator" may not read "shop.mixed"\nDETAIL:.*\nHINT:  In mongosh: db.getSiblingDB\("admin"\).grantRolesToUser/,
		'F10: with the next step as its hint');
	figure('F10', sprintf 'code 13: failed after %.1f s, with a hint', $seconds);
}

# ---------------------------------------------------------------------
# F11, F12
# ---------------------------------------------------------------------

foreach my $case (['killCursors', q(client[c['ns'].split('.', 1)[0]].command('killCursors', c['ns'].split('.', 1)[1], cursors=[c['cursor']['cursorId']]))],
	['killSessions', q(client.admin.command('killSessions', [{'id': bson.Binary(c['lsid']['id'].bytes, 4)}]))])
{
	my ($what, $code) = @$case;
	my $job = $t->start('big', workers => 4, chunk => '32MB', rate => 20);
	$t->copying($job);
	my $killed = 0;
	wait_for(sub {
			$killed += $t->mongo->python(<<"PY");
n = 0
for c in client.admin.aggregate([{'\$currentOp': {'idleCursors': True, 'allUsers': True}}]):
    if c['type'] == 'idleCursor' and c['ns'] == 'shop.big':
        $code
        n += 1
print(n)
PY
			$killed >= 5 || $t->state_of($job) ne 'running' }, 30);
	cmp_ok($killed, '>', 0, "F11: $what: $killed times");
	is($t->violations($job, collection => 'big'), '', "F11: $what: nothing lost, nothing twice");
	cmp_ok(events($job, "severity = 'warning'"), '>', 0, "F11: $what: events");
	figure($what eq 'killCursors' ? 'F11' : 'F12', "$what: $killed times, opened again at the position, 0 differences");
}

# A pause within a getMore: cursors are not left to mongod's timeout.
my $held = $t->start('big', workers => 4, chunk => '32MB', rate => 20);
$t->copying($held);
fail_commands('alwaysOn', "'blockConnection': True, 'blockTimeMS': 60000", 'getMore');
my $waiting = q(print(sum('getMore' in c.get('command', {}) for c in client.admin.aggregate([{'$currentOp': {'allUsers': True}}]))));
ok(wait_for(sub { $t->mongo->python($waiting) == 4 }, 20), 'F11: loaders wait for a getMore');
my $held_at = time();
is($t->sql("SELECT migrate_pause($held)"), 'pausing', 'F11: a pause');
ok(wait_for(sub { $t->state_of($held) eq 'paused' }, 20), 'F11: acts');
cmp_ok(time() - $held_at, '<', 3, sprintf 'F11: within %.1f s', time() - $held_at);
is($t->violations($held, state => 'paused'), '', 'F11: and leaves no cursor');
fail_commands('off', "'errorCode': 1", 'getMore');
is($t->sql("SELECT migrate_alter($held, max_docs_per_second => 0); SELECT migrate_resume($held)") =~ s/.*\n//sr, 'queued', 'F11: resumed');
is($t->violations($held, collection => 'big'), '', 'F11: nothing lost, nothing twice');

# ---------------------------------------------------------------------
# Patience
# ---------------------------------------------------------------------

my $proxy = Proxy->new($t->mongo);
$t->server('far', $proxy->uri('shop'));
my $job = $t->start('mixed', server => 'far', rate => 1500, settings => ["mongo_migrate.max_retry_time = '30s'"]);
$t->copying($job);
$proxy->tell('refuse');
wait_for(sub { events($job, "severity = 'warning'") >= 4 }, 20);
$proxy->tell('pass');
is($t->violations($job), '', 'an outage shorter than max_retry_time does not end a job');
like($t->ask("SELECT string_agg(message, ';' ORDER BY event_id) FROM migrate_events WHERE job_id = $job"),
	qr/next attempt in 1 s.*next attempt in 2 s.*copying again after \d+ failed attempts?/, 'each attempt is an event, and so is the success');

$job = $t->start('mixed', server => 'far', rate => 1500, settings => ["mongo_migrate.max_retry_time = '4s'"]);
$t->copying($job);
my $began = time();
$proxy->tell('refuse');
$t->hurry($job);
ok(wait_for(sub { $t->state_of($job) eq 'failed' }, 20), 'a longer one does');
my $seconds = time() - $began;
ok($seconds >= 4 && $seconds < 7, sprintf 'after %.1f s', $seconds);
like($t->error_of("SELECT migrate_wait($job)"), qr/ERROR:  could not connect to MongoDB server "far"/, 'with the last error');
# Cursors of loaders that could not connect again are mongod's until they time out.
is($t->violations($job, state => 'failed', cursors => 3), '', 'and leaves nothing behind');
$proxy->tell('pass');
is($t->sql("SELECT migrate_retry($job)"), 'queued', 'migrate_retry() goes on where it stopped');
is($t->violations($job, cursors => 3), '', 'nothing lost, nothing twice');

# No document read is no progress: replies of one document, of which only the
# one at the position ever comes (by "id").
$t->mongo->python(q(client.shop.huge.insert_many([{'_id': i, 'text': 'x' * 2000000} for i in range(30)])));
$job = $t->start('huge', workers => 1, rate => 2, options => '"split": "id"', settings => ["mongo_migrate.max_retry_time = '4s'"]);
$t->copying($job);
$began = time();
fail_commands('alwaysOn', "'errorCode': 91", 'getMore');
ok(wait_for(sub { $t->state_of($job) eq 'failed' }, 20), 'attempts without progress come to an end');
fail_commands('off', "'errorCode': 1", 'find');
is($t->violations($job, state => 'failed', cursors => 4), '', 'and leave nothing behind');

done_testing();
