# What else lives in a database, and is not to disturb a job or be disturbed
# by it: publications, roles that may read and write everything, roles with a
# default role, children of a target, other jobs, a session that drops the
# extension, and the history of another cluster.
use strict;
use warnings;

use FaultTest;
use MongoTest qw(wait_for);
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

MongoTest::plain(0);
my $mongo = MongoTest->new;
my $node = MongoTest::node('neighbours', wal_level => 'logical');
my $uri = $mongo->uri('shop');
$mongo->generate('narrow', 20000, 'shop.narrow');
$mongo->python(q(client.shop.odd.insert_many([{'_id': i, 'total': 70000 if i % 50 == 0 else i % 1000} for i in range(3000)])));

sub sql { my ($sql, $database) = @_; return $node->safe_psql($database // 'postgres', $sql); }

# As a role, by default a superuser; errors are in the text.
sub try_sql
{
	my ($sql, $role, $database) = @_;
	my ($out, $err) = ('', '');
	$node->psql($database // 'postgres', $sql, stdout => \$out, stderr => \$err, extra_params => $role ? ['-U', $role] : []);
	return $err =~ /ERROR/ ? $err : $out;
}

sub start
{
	my ($collection, $more, $database) = @_;
	return sql("SET client_min_messages = error; SELECT migrate_start('$uri', '$collection', $more)", $database);
}

sub state_of { my ($job) = @_; return sql("SELECT state FROM migrate_jobs WHERE job_id = $job"); }

sub wait_rows
{
	my ($job, $database) = @_;
	return wait_for(sub { sql("SELECT sum(docs_done) > 0 FROM migrate_stat_worker WHERE job_id = $job", $database) eq 't' }, 30) || die "job $job is not at work";
}

my $slow = q("max_docs_per_second": 1000);

# ---------------------------------------------------------------------------
# A publication of all tables
# ---------------------------------------------------------------------------

sql('CREATE PUBLICATION everything FOR ALL TABLES');
sql('CREATE TABLE odd (_id bigint PRIMARY KEY, total smallint, _extra jsonb)');
my $job = start('odd', q(if_exists => 'append', on_error => 'reject'));
is(try_sql("SELECT migrate_wait($job)"), 'completed', 'with a publication of all tables a load completes');
is(sql("SELECT sum(docs_read), sum(rows_inserted), sum(docs_rejected) FROM mongo_migrate.chunk WHERE job_id = $job"), '3000|2940|60', 'with rejected documents');
is(try_sql("SELECT * FROM migrate_replay($job, mapping => jsonb_set(migrate_mapping($job), '{on_error}', '\"extra\"'))"), '60|0', 'which are replayed');
is(try_sql("SELECT migrate_forget($job)"), 't', 'and forgotten');
$job = start('odd', q(if_exists => 'truncate', on_error => 'extra'));
is(try_sql("SELECT migrate_wait($job)"), 'completed', 'values are diverted');
sql("UPDATE mongo_migrate.job SET finished_at = now() - interval '2 h' WHERE job_id = $job");
sql(q(LOAD 'mongo_migrate'; ALTER SYSTEM SET mongo_migrate.job_retention = '1h'));
$node->reload;
my $next = start('odd', q(if_exists => 'truncate'));
is(try_sql("SELECT migrate_wait($next)"), 'completed', 'old jobs leave the history');
is(sql("SELECT count(*) FROM migrate_jobs WHERE job_id = $job"), 0, 'and take their conflicts along');
is($mongo->compare($node, 'shop.odd', 'odd'), '', 'nothing lost, nothing twice');
sql('DROP PUBLICATION everything');

# ---------------------------------------------------------------------------
# Roles
# ---------------------------------------------------------------------------

sql('CREATE ROLE writer LOGIN IN ROLE pg_write_all_data, pg_read_all_data');
my @tables = split /\n/, sql(q(SELECT oid::regclass FROM pg_class WHERE relnamespace = 'mongo_migrate'::regnamespace AND relkind = 'r'));
cmp_ok(scalar @tables, '>=', 8, 'our tables: ' . @tables);
foreach my $table (@tables)
{
	my ($column) = split /\n/, sql("SELECT attname FROM pg_attribute WHERE attrelid = '$table'::regclass AND attnum > 0 AND attidentity = '' ORDER BY attnum LIMIT 1");
	like(try_sql("DELETE FROM $table", 'writer'), qr/ERROR:  permission denied for table \w+\nDETAIL:  Only functions of the extension write to it\.\nHINT:  Use migrate_/, "pg_write_all_data does not delete from $table");
	like(try_sql("UPDATE $table SET $column = $column", 'writer'), qr/ERROR:  permission denied for table/, 'nor update it');
	like(try_sql("INSERT INTO $table SELECT * FROM $table", 'writer'), qr/ERROR:  (?:permission denied for table|cannot insert a non-DEFAULT value)/, 'nor insert');
}
sql("INSERT INTO mongo_migrate.secret SELECT $next, 'mongodb://u:secret\@h'");
is(try_sql('SELECT count(*) FROM mongo_migrate.secret', 'writer'), 0, 'pg_read_all_data does not see connection strings');
is(sql('SELECT count(*) FROM mongo_migrate.secret'), 1, 'which are there');
sql('DELETE FROM mongo_migrate.secret');

sql(qq(CREATE ROLE team; CREATE ROLE ann LOGIN IN ROLE team; ALTER ROLE ann SET role = 'team';
	CREATE SCHEMA hers AUTHORIZATION ann; CREATE SERVER shop FOREIGN DATA WRAPPER mongo_migrate OPTIONS (uri '$uri');
	GRANT USAGE ON FOREIGN SERVER shop TO ann; CREATE USER MAPPING FOR PUBLIC SERVER shop));
is(try_sql(q(SET ROLE NONE; SELECT count(migrate_start('shop', 'odd', target => 'hers.odd')); SELECT migrate_wait()), 'ann'), "1\ncompleted", 'a role whose sessions begin as another');
is(sql(q(SELECT tableowner, (SELECT count(*) FROM hers.odd) FROM pg_tables WHERE schemaname = 'hers')), 'ann|3000', 'its jobs run as itself');

sql('CREATE SCHEMA closed; CREATE TABLE closed.theirs (LIKE hers.odd); GRANT INSERT ON closed.theirs TO ann');
like(try_sql(q(SET ROLE NONE; SELECT migrate_start('shop', 'odd', target => 'closed.theirs', if_exists => 'append')), 'ann'), qr/ERROR:  permission denied for schema closed/, 'append: USAGE on the schema');

# ---------------------------------------------------------------------------
# Children of a target that is filled again
# ---------------------------------------------------------------------------

$job = start('narrow', qq(workers => 1, options => '{$slow}'));
wait_rows($job);
sql("SELECT migrate_pause($job); SELECT migrate_wait($job)");
sql(qq(CREATE TABLE archive () INHERITS (narrow); INSERT INTO archive (_id) VALUES ('theirs');
	UPDATE mongo_migrate.job_table SET split_lost = 'the test says so' WHERE job_id = $job));
sql("SELECT migrate_alter($job, max_docs_per_second => 0); SELECT migrate_resume($job)");
is(try_sql("SELECT migrate_wait($job)"), 'completed', 'a copy that begins again');
is(sql("SELECT count(*) FROM migrate_events WHERE job_id = $job AND message LIKE '%begins again from empty'"), 1, 'which it did');
is(sql('SELECT count(*) FROM archive'), 1, 'leaves children of its table alone');
sql('DROP TABLE archive');
is($mongo->compare($node, 'shop.narrow', 'narrow'), '', 'nothing lost, nothing twice');

# ---------------------------------------------------------------------------
# Other jobs
# ---------------------------------------------------------------------------

# A replay is refused while another job fills the table.
sql('TRUNCATE odd');
my $first = start('odd', q(if_exists => 'append', on_error => 'reject'));
sql("SELECT migrate_wait($first)");
$next = start('odd', qq(if_exists => 'truncate', on_error => 'extra', workers => 1, options => '{$slow}'));
like(try_sql("SELECT migrate_replay($first)"), qr/ERROR:  table "public.odd" is being loaded by migration job $next\nHINT:  Wait for it/, 'no replay into a table that another job fills');
sql("SELECT migrate_alter($next, max_docs_per_second => 0)");
is(try_sql("SELECT migrate_wait($next)"), 'completed', 'which is not harmed');
sql("SELECT migrate_forget($next)");

# One statement cancels several jobs that are in an index build.
my @jobs = map { start('odd', "target => 'held$_'") } 1, 2;
my $holder = FaultTest::Session->new($node, 'BEGIN; SELECT FROM held1, held2 LIMIT 0');
ok(wait_for(sub { sql(q(SELECT count(*) FROM pg_locks WHERE NOT granted AND mode = 'AccessExclusiveLock')) == 2 }, 30), 'two jobs wait to build their keys') or diag(sql('SELECT * FROM migrate_jobs'));
is(sql("SELECT migrate_cancel(job_id) FROM migrate_jobs WHERE finished_at IS NULL"), "canceling\ncanceling", 'both are canceled at once');
ok(wait_for(sub { !grep { state_of($_) ne 'canceled' } @jobs }, 10), 'and end');
$holder->end;

# What drop_target said last counts.
$job = start('narrow', qq(target => 'kept', workers => 1, options => '{$slow}'));
wait_rows($job);
is(sql("BEGIN; SELECT migrate_cancel($job, drop_target => true); SELECT migrate_cancel($job); COMMIT"), "canceling\ncanceling", 'with the table, and then without');
is(try_sql("SELECT migrate_wait($job)"), 'canceled', 'it ends');
is(sql(q(SELECT to_regclass('kept') IS NOT NULL)), 't', 'and the table stays');

# Requests whose coordinator died before it saw them.
$job = start('narrow', qq(target => 'orphan', workers => 1, options => '{$slow}'));
wait_rows($job);
sql("SELECT migrate_pause($job); SELECT migrate_wait($job)");
sql("UPDATE mongo_migrate.job SET state = 'pausing', requested_at = now() - interval '1 min' WHERE job_id = $job");
is(sql("SELECT migrate_pause($job)"), 'paused', 'pausing, and nobody is there: paused');
sql("UPDATE mongo_migrate.job SET state = 'canceling' WHERE job_id = $job");
is(sql("SELECT message FROM migrate_jobs WHERE job_id = $job"), "no coordinator is running: SELECT migrate_cancel($job)", 'canceling, and nobody is there: what helps');
is(sql("SELECT migrate_cancel($job)"), 'canceled', 'and it does');

# ---------------------------------------------------------------------------
# DROP EXTENSION beside a chunk that is one long transaction
# ---------------------------------------------------------------------------

sql('CREATE DATABASE doomed');
sql('CREATE EXTENSION mongo_migrate', 'doomed');
$job = start('narrow', q(workers => 1, options => '{"split": "none", "max_docs_per_second": 100}'), 'doomed');
wait_rows($job, 'doomed');
my $began = time();
sql('SET client_min_messages = error; DROP EXTENSION mongo_migrate CASCADE', 'doomed');
cmp_ok(time() - $began, '<', 5, sprintf 'DROP EXTENSION takes %.1f s', time() - $began);
ok(wait_for(sub { sql(q(SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'mongo_migrate%')) == 0 }, 10), 'no worker is left');

# ---------------------------------------------------------------------------
# A database that is not UTF8
# ---------------------------------------------------------------------------

sql(q(CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0));
sql('CREATE EXTENSION mongo_migrate', 'latin');
foreach my $call ("migrate_peek('$uri', 'odd')", "migrate_infer_schema('$uri', 'odd')", "migrate_infer_mapping('$uri', 'odd')", "migrate_plan('$uri', 'odd')",
	"migrate_ddl('$uri', 'odd')", "migrate_start('$uri', 'odd')")
{
	like(try_sql("SELECT $call", undef, 'latin'), qr/ERROR:  the encoding of this database is LATIN1, a migration needs UTF8\nHINT:  CREATE DATABASE/, $call =~ s/\(.*//r . ' needs UTF8');
}

# ---------------------------------------------------------------------------
# The history of another cluster
# ---------------------------------------------------------------------------

my $dump = PostgreSQL::Test::Utils::tempdir() . '/dump.sql';
sql('CREATE ROLE bob LOGIN; GRANT CREATE ON SCHEMA public TO bob; GRANT USAGE ON FOREIGN SERVER shop TO bob');
is(try_sql(q(SELECT count(migrate_start('shop', 'odd', target => 'bobs', on_error => 'reject', mapping => jsonb_set(migrate_infer_mapping('shop', 'odd'), '{fields,1,type}', '"smallint"')));
	SELECT migrate_wait()), 'bob'), "1\ncompleted", 'a job of a role') or diag(sql('SELECT * FROM migrate_jobs'));
my $jobs = sql('SELECT count(*) FROM migrate_jobs');
$node->command_ok(['pg_dump', '-f', $dump, '--no-owner', '--no-privileges', 'postgres'], 'a dump');
my $from = $node;
my $other = MongoTest::node('elsewhere');
$node = $other;
sql('CREATE DATABASE restored TEMPLATE template0; CREATE ROLE bob LOGIN; CREATE ROLE mallory LOGIN');
$node->command_ok(['psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-f', $dump, '-d', $node->connstr('restored')], 'is restored where most of its roles are missing');
is(sql('SELECT count(*) FROM migrate_jobs', 'restored'), $jobs, 'with all jobs');
is(try_sql('SELECT count(*), min(owner) FROM migrate_jobs', 'bob', 'restored'), '1|bob', 'a role of the same name finds its own');
is(try_sql('SELECT count(*) > 0, bool_and(document IS NOT NULL) FROM migrate_errors', 'bob', 'restored'), 't|t', 'and its rejected documents');
sql(q(UPDATE mongo_migrate.job SET owner = 'mallory'::regrole), 'restored');
is(try_sql('SELECT count(*) FROM migrate_jobs', 'mallory', 'restored'), 0, 'a role that only has the OID does not');
my $failed = sql(q(SELECT max(job_id) FROM migrate_jobs WHERE owner = 'ann'), 'restored');
sql("UPDATE mongo_migrate.job SET state = 'failed' WHERE job_id = $failed", 'restored');
like(try_sql("SELECT migrate_retry($failed)", undef, 'restored'), qr/ERROR:  migration job $failed cannot run as its owner\nDETAIL:  Its owner does not exist in this cluster/, 'a retry for a role that is missing says so');
$node = $from;

done_testing();
