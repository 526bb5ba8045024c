# Splitting by record ids: what is chosen and why, gaps, deleted bounds and
# positions beside a writer, kills, pauses, and what becomes of the copy when
# the server that has the record ids steps down, dies or comes back.
#
# MM_RECORD_RUNS is the number of copies with a kill or a pause.
use strict;
use warnings;

use MongoTest qw(wait_for);
use PostgreSQL::Test::Utils;
use Proxy;
use Test::More;
use Time::HiRes qw(sleep time);

my $runs = $ENV{MM_RECORD_RUNS} // 8;
my $seed = $ENV{MM_SEED} // int(time());
srand $seed;
note "seed $seed: repeat with MM_SEED=$seed";

my $mongo = MongoTest->new;
my $node = MongoTest::node('record', 'mongo_migrate.checkpoint_bytes' => "'64kB'");
my $uri = $mongo->uri('shop');
my $dsn = $node->connstr('postgres') . ' user=' . getpwuid($<);

sub sql { my ($sql) = @_; return $node->safe_psql('postgres', $sql); }

# An answer, or nothing while the server is down.
sub ask { my ($sql) = @_; return MongoTest::ask($node, $sql) // ''; }

sub error_of
{
	my ($sql) = @_;
	my $err = '';
	$node->psql('postgres', $sql, stderr => \$err);
	return $err;
}

sub start
{
	my ($collection, $more, $rate, $source) = @_;
	$source //= $uri;
	$rate //= 0;
	my ($job) = sql("SET client_min_messages = error; BEGIN; SELECT migrate_start('$source', '$collection', $more);
		SELECT migrate_alter(NULL, max_docs_per_second => $rate); COMMIT") =~ /^(\d+)/;
	return $job;
}

sub split_of { my ($job) = @_; return sql("SELECT split FROM migrate_jobs WHERE job_id = $job"); }
sub state_of { my ($job) = @_; return ask("SELECT state FROM migrate_jobs WHERE job_id = $job"); }
sub rows_of { my ($job) = @_; return ask("SELECT rows FROM migrate_jobs WHERE job_id = $job") || 0; }
sub restarts_of { my ($job) = @_; return sql("SELECT restarts FROM mongo_migrate.job_table WHERE job_id = $job"); }

# Where all _ids or record ids are known, parts are equal; of 16 parts and more the last one makes eight chunks.
sub evenly_cut
{
	my ($job, $name) = @_;
	is(sql("SELECT min(docs_read) >= 0.95 * max(docs_read) FROM mongo_migrate.chunk WHERE job_id = $job AND chunk_no <= 10"),
		't', "$name: equal parts");
	is(sql("SELECT abs(8 * sum(docs_read) FILTER (WHERE chunk_no > n - 8) / sum(docs_read) FILTER (WHERE chunk_no <= 8) - 1) <= 0.1
		FROM mongo_migrate.chunk, (SELECT count(*) AS n FROM mongo_migrate.chunk WHERE job_id = $job) AS all_of_them WHERE job_id = $job"),
		't', "$name: the last ones have an eighth");
	return;
}

# Without a second beginning, which would hide what the first one did wrong.
sub completes
{
	my ($job, $name, $may_restart) = @_;
	ok(wait_for(sub { state_of($job) =~ /completed|failed/ }, 120) && state_of($job) eq 'completed', "$name: completes")
	  or diag(ask('SELECT * FROM migrate_jobs; SELECT at, severity, message, detail FROM migrate_events ORDER BY event_id'));
	is(sql("SELECT count(*) FROM mongo_migrate.chunk WHERE job_id = $job AND (state <> 'done'
		OR docs_read <> rows_inserted + rows_updated + docs_rejected + docs_filtered)"), 0, "$name: the books close");
	is(restarts_of($job), 0, "$name: by one split") unless $may_restart;
	return;
}

sub equal
{
	my ($collection, $table, $name, @options) = @_;
	is($mongo->compare($node, "shop.$collection", $table, undef, @options), '', "$name: nothing lost, nothing twice, all equal");
	return;
}

# ---------------------------------------------------------------------
# What is chosen
# ---------------------------------------------------------------------
my $small = q(options => '{"chunk_size": "256kB"}');
$mongo->generate('mixed', 60000, 'shop.mixed');
$mongo->generate('uuid', 60000, 'shop.uuids');
$mongo->generate('narrow', 50000, 'shop.narrow');

sub planned
{
	my ($collection, $more) = @_;
	$more = $more ? ", $more" : '';
	return sql("SELECT detail FROM migrate_plan('$uri', '$collection'$more) WHERE action = 'read'");
}

my ($host) = $uri =~ m{//([^/]+)};
like(planned('narrow', $small), qr/\d\d chunks: record \(ranges of record ids on \Q$host\E\)$/, 'record ids by default');
like(planned('narrow'), qr/1 chunk: none \(the collection is small\)/, 'not for a small collection');
like(planned('narrow', "filter => '{\"quantity\": {\"\$lt\": 5}}', $small"), qr/: id \(ranges of the _id index, because there is a filter\)/,
	'nor with a filter');
like(planned('narrow', q(options => '{"chunk_size": "256kB", "split": "id"}')), qr/: id \(requested\)/, 'split: id');
like(planned('narrow', q(options => '{"chunk_size": "256kB", "split": "none"}')), qr/1 chunk: none \(requested\)/, 'split: none');
my $forced = q(options => '{"chunk_size": "256kB", "split": "record"}');
like(error_of("SELECT migrate_start('$uri', 'narrow', filter => '{\"quantity\": 5}', $forced)"), qr/ERROR:  cannot split "shop.narrow" by "record"
DETAIL:  This is not possible because there is a filter.
HINT:  Set split to "auto" or "id"./, 'split: record is refused when it cannot be had');

foreach my $collection ('mixed', 'uuids', 'narrow')
{
	my $job = start($collection, "workers => 3, $small");
	completes($job, $collection);
	like(split_of($job), qr/^record: ranges of record ids on \Q$host\E$/, "$collection: by record ids");
	equal($collection, $collection, $collection);
	evenly_cut($job, $collection);
}

# With many gaps, and by _id: what is not sampled, because there are too few documents.
$mongo->generate('wide', 6000, 'shop.sparse');
$mongo->python(q(client.shop.sparse.delete_many({'_id': {'$in': [d['_id'] for d in client.shop.sparse.find({}, {'_id': 1})][::2]}})));
foreach my $split ('record', 'id')
{
	my $job = start('sparse', "target => 'sparse_$split', workers => 2, options => '{\"chunk_size\": \"128kB\", \"split\": \"$split\"}'");
	completes($job, "sparse, $split");
	like(split_of($job), qr/^$split: requested|^$split: ranges/, "sparse, $split: as was asked for");
	equal('sparse', "sparse_$split", "sparse, $split");
	evenly_cut($job, "sparse, $split");
}
if ($mongo->has_clustered)
{
	$mongo->python(q(client.shop.create_collection('clustered', clusteredIndex={'key': {'_id': 1}, 'unique': True})
client.shop.clustered.insert_many([{'_id': i, 'n': 'n' * 100} for i in range(20000)])));
	my $clustered = start('clustered', $small);
	completes($clustered, 'clustered');
	like(split_of($clustered), qr/^id: ranges of the _id index, because a clustered collection is stored by _id$/, 'clustered: by _id');
	equal('clustered', 'clustered', 'clustered');
	like(error_of("SELECT migrate_start('$uri', 'clustered', if_exists => 'replace', $forced)"),
		qr/DETAIL:  This is not possible because a clustered collection is stored by _id./, 'clustered: record is refused');
}

# Documents may have a field of the name that showRecordId gives.
SKIP:
{
	skip 'this server takes no names with "$"', 3 if $mongo->python(q(print(client.server_info()['versionArray'][0]))) < 5;
	$mongo->python(<<'PY');
for start in range(0, 20000, 1000):
    client.shop.command('insert', 'named', documents=[dict([('_id', i), ('p', 'p' * 50), ('$recordId', bson.Int64(7))] + ([('q', 1)] if i % 5 == 4 else []))
        for i in range(start, start + 1000)])
client.shop.named.delete_many({'_id': {'$mod': [3, 0]}})
PY
	my $named = start('named', "workers => 2, $small");
	completes($named, 'named');
	is(sql(q(SELECT count(*) FROM named WHERE record_id = 7)), $mongo->python('print(client.shop.named.count_documents({}))'), 'named: each has its value');
}

# Newer servers do not tell where the last reply ends.
my $eof = Proxy->new($mongo);
$eof->tell('eof');
my $newer = start('narrow', "target => 'newer', workers => 3, $small", 0, $eof->uri('shop'));
completes($newer, 'no token at the end');
like(split_of($newer), qr/^record: /, 'no token at the end: by record ids');
equal('narrow', 'newer', 'no token at the end');
undef $eof;

# A table with rows of its own, and one that is emptied first.
my $job = start('narrow', "if_exists => 'truncate', $small");
completes($job, 'truncate');
like(split_of($job), qr/^record: /, 'truncate: by record ids');
equal('narrow', 'narrow', 'truncate');
sql('DELETE FROM narrow WHERE ctid < \'(100,0)\'');
like(error_of("SELECT migrate_start('$uri', 'narrow', if_exists => 'append', $forced)"),
	qr/DETAIL:  This is not possible because rows that were there before stay in the table./, 'append: record is refused');
like(planned('narrow', "if_exists => 'append', $small"), qr/: id \(.*, because rows that were there before stay in the table\)/, 'append: id');
$job = start('narrow', "if_exists => 'append', on_error => 'reject', options => '{\"chunk_size\": \"256kB\", \"reject_limit\": null}'");
completes($job, 'append');
like(split_of($job), qr/^id: /, 'append: by _id');
is(sql('SELECT count(*) FROM narrow'), 50000, 'append: what was missing is there');

# ---------------------------------------------------------------------
# Gaps: one by one, in a row, at both ends, everything; large documents
# ---------------------------------------------------------------------
$mongo->python(<<'PY');
db = client.shop
db.gaps.insert_many([{'_id': i, 'p': 'p' * 100} for i in range(50000)])
db.gaps.delete_many({'_id': {'$mod': [7, 3]}})
db.gaps.delete_many({'_id': {'$gte': 10000, '$lt': 25000}})
db.gaps.delete_many({'_id': {'$lt': 500}})
db.gaps.delete_many({'_id': {'$gte': 49000}})
db.hole.insert_many([{'_id': i, 'p': 'p' * 100} for i in range(50000)])
db.hole.delete_many({'_id': {'$gte': 46500, '$lt': 48400}})
db.large.insert_many([{'_id': i, 'p': bytes([i]) * (3 << 20)} for i in range(14)])
db.large.insert_one({'_id': 'max', 'p': 'x' * ((16 << 20) - 40)})
db.large.insert_many([{'_id': 100 + i, 'p': 'small'} for i in range(1000)])
PY
foreach my $collection ('gaps', 'hole', 'large')
{
	$job = start($collection, $collection ne 'large' ? "workers => 2, $small" : q(workers => 2, options => '{"chunk_size": "8MB"}'));
	completes($job, $collection);
	like(split_of($job), qr/^record: /, "$collection: by record ids");
	equal($collection, $collection, $collection);
}

# Bounds that were deleted before they were chosen; between two of them there is nothing.
cmp_ok(sql("SELECT count(*) FROM mongo_migrate.chunk JOIN migrate_jobs USING (job_id) WHERE target = 'public.hole' AND docs_read = 0"),
	'>', 0, 'hole: there are chunks in it');

# Every bound is gone before its chunk is read; a whole stretch, too.
$job = start('gaps', "target => 'hollow', workers => 1, $small", 500);
ok(wait_for(sub { rows_of($job) > 100 }, 20), 'hollow: under way');
$mongo->python(q(client.shop.gaps.delete_many({'_id': {'$gte': 27000, '$lt': 43000}})));
sql("SELECT migrate_alter($job, max_docs_per_second => 0)");
completes($job, 'hollow');
is(sql('SELECT count(*) FILTER (WHERE _id < 27000 OR _id >= 43000) - count(DISTINCT _id) FILTER (WHERE _id < 27000 OR _id >= 43000) FROM hollow'),
	0, 'hollow: nothing twice');
is(sql('SELECT count(*) FROM hollow WHERE _id < 27000 OR _id >= 43000'), $mongo->python('print(client.shop.gaps.count_documents({}))'),
	'hollow: what was there all the time');

# ---------------------------------------------------------------------
# A stop inside a reply, under a throttle
# ---------------------------------------------------------------------
$job = start('uuids', "if_exists => 'replace', workers => 1, options => '{\"chunk_size\": \"2MB\"}'", 3000);
ok(wait_for(sub { rows_of($job) > 500 }, 20), 'throttled: under way');
sql("SELECT migrate_pause($job)");
ok(wait_for(sub { state_of($job) eq 'paused' }, 5), 'throttled: pauses at once');
cmp_ok(sql("SELECT sum(docs_read) FROM mongo_migrate.chunk WHERE job_id = $job"), '>', 500, 'throttled: what was read is committed');
is(sql("SELECT count(*) = (SELECT sum(rows_inserted) FROM mongo_migrate.chunk WHERE job_id = $job) FROM uuids"), 't', 'throttled: as are its rows');
sql("SELECT migrate_alter($job, max_docs_per_second => 0); SELECT migrate_resume($job)");
completes($job, 'throttled');
equal('uuids', 'uuids', 'throttled');

# ---------------------------------------------------------------------
# Kills and pauses beside a writer
# ---------------------------------------------------------------------
sub pids { return split /\n/, ask(q(SELECT pid FROM pg_stat_activity WHERE backend_type = 'mongo_migrate loader')); }

# Documents with "kept" are those that the writer leaves alone.
sub fill
{
	my ($shape, $documents) = @_;
	$mongo->python('client.shop.live.drop()');
	$mongo->generate($shape, $documents, 'shop.live');
	$mongo->python(q(client.shop.live.update_many({'$sampleRate': 0.6}, {'$set': {'kept': 1}})));
	return;
}

sub start_writer
{
	my (@options) = @_;
	my $writer = MongoTest::start_tool('writer.py', '--seed', int(rand(1 << 30)), @options, $uri, 'shop.live', $dsn);
	wait_for(sub { $writer->{run}->pump_nb; $writer->{out} =~ /ready/ }, 30) or die "writer: $writer->{err}";
	return $writer;
}

# Stops the copy somewhere: by a kill, or by a pause.
sub disturb
{
	my ($job, $kill) = @_;
	sleep rand 1.5;
	if ($kill)
	{
		my @pids = pids();
		return @pids ? kill('KILL', $pids[rand @pids]) : 0;
	}
	my $answer = ask("SELECT migrate_pause($job)");
	return 0 unless $answer =~ /^paus/;
	wait_for(sub { state_of($job) =~ /paused|completed/ }, 20);
	ask("SELECT migrate_resume($job)") if state_of($job) eq 'paused';
	return $answer eq 'pausing';
}

my ($kills, $pauses) = (0, 0);
foreach my $run (1 .. $runs)
{
	my $shape = ('mixed', 'uuid')[$run % 2];
	fill($shape, $run == 1 ? 200000 : 60000);
	my $writer = start_writer($run % 3 == 0 ? '--again' : ());
	my $size = (512, 4096, 16384)[int rand 3];
	# By force, so that a document read as two does not begin the table again.
	my $job = start('live', "if_exists => 'replace', workers => 2, options => '{\"chunk_size\": \"${size}kB\", \"split\": \"record\"}'",
		$run == 1 ? 60000 : 20000);
	foreach (1 .. 3)
	{
		last if state_of($job) =~ /completed|failed/;
		my $kill = rand() < 0.5;
		my $hit = disturb($job, $kill);
		$kills += $hit if $kill;
		$pauses += $hit unless $kill;
		wait_for(sub { state_of($job) ne '' }, 30);
	}
	ok(wait_for(sub { state_of($job) =~ /completed|failed/ }, 120), "run $run: ends");
	my $wrote = MongoTest::stop_tool($writer);
	note "run $run: $shape, chunks of $size kB; writer: " . ($wrote =~ s/^ready\n//r);
	my $message = sql("SELECT COALESCE(message, '') FROM migrate_jobs WHERE job_id = $job");
	if ($run % 3 == 0)
	{
		like($message, qr/^$|could not create unique index/, "run $run: nothing but documents read as two stops it");
	}
	else
	{
		is(state_of($job), 'completed', "run $run: completes") or diag($message);
	}
	is(restarts_of($job), 0, "run $run: by one split");
	equal('live', 'live', "run $run", '--only', 'kept');
}
cmp_ok($kills + $pauses, '>=', $runs, "$kills kills and $pauses pauses hit");
note sprintf 'figure: record ids, %d copies beside a writer, %d kills, %d pauses, 0 differences', $runs, $kills, $pauses;

# Documents inserted again: the copy begins again, by ranges of _id.
fill('narrow', 60000);
my $writer = start_writer('--again');
$job = start('live', "if_exists => 'replace', workers => 2, $small", 20000);
completes($job, 'inserted again', 1);
like(MongoTest::stop_tool($writer), qr/inserted again/, 'inserted again: the writer did');
my $again = restarts_of($job);
note 'inserted again: ' . split_of($job);
like(split_of($job), $again ? qr/^id: .*with record ids the copy had to begin again/ : qr/^record: /, "inserted again: $again restarts");
equal('live', 'live', 'inserted again', '--only', 'kept');

done_testing();
