# F19, F20, F21, F33: what happens to the target while it is loaded, timeouts
# that are meant for people, and dead letters that cannot be written.
use strict;
use warnings;

use FaultTest qw(figure);
use MongoTest qw(wait_for);
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

my $t = FaultTest->new('target', deadlock_timeout => '200ms');
$t->fill('mixed', 20000);
$t->fill('poison', 10000);
$t->mongo->python(q(client.shop.plain.insert_many([{'_id': i, 'text': 'text' * 20, 'n': i} for i in range(20000)])));

sub session { my ($sql) = @_; return FaultTest::Session->new($t->node, $sql); }

# ---------------------------------------------------------------------
# F19
# ---------------------------------------------------------------------

my $database = 'ALTER DATABASE postgres SET';
$t->sql(<<"SQL");
CREATE ROLE hasty LOGIN;
GRANT CREATE ON SCHEMA public TO hasty;
DO \$\$BEGIN GRANT hasty TO plain; EXCEPTION WHEN undefined_object THEN END\$\$;
ALTER ROLE hasty SET statement_timeout = '10ms';
ALTER ROLE hasty SET lock_timeout = '10ms';
$database idle_in_transaction_session_timeout = '10ms';
$database default_transaction_read_only = on;
$database default_transaction_isolation = serializable;
$database idle_session_timeout = '100ms';
ALTER ROLE hasty SET DateStyle = 'German';
ALTER ROLE hasty SET TimeZone = 'Asia/Tokyo';
ALTER SYSTEM SET statement_timeout = '300ms';
SELECT pg_reload_conf();
SQL
# Of the sessions, not of the workers.
local $ENV{PGOPTIONS} = '-c statement_timeout=0 -c idle_session_timeout=0 -c idle_in_transaction_session_timeout=0';
my $out = '';
$t->node->psql('postgres', q(SET statement_timeout = 0; SET lock_timeout = 0; SET default_transaction_read_only = off;
	SET idle_in_transaction_session_timeout = 0; SELECT migrate_start('shop', 'mixed')), stdout => \$out, extra_params => ['-U', 'hasty']);
my ($job) = $out =~ /(\d+)/;
ok(wait_for(sub { $t->ask("SET statement_timeout = 0; SELECT state FROM migrate_jobs WHERE job_id = $job") eq 'completed' }, 60),
	'F19: timeouts and settings of role, database and system do not end a job');
$t->sql("SET default_transaction_read_only = off; ALTER SYSTEM RESET statement_timeout; ALTER DATABASE postgres RESET ALL; SELECT pg_reload_conf()");
delete local $ENV{PGOPTIONS};
is($t->violations($job), '', 'F19: nor change what is loaded');
$t->sql('ALTER ROLE hasty NOLOGIN; DROP OWNED BY hasty');
figure('F19', 'statement_timeout, lock_timeout, idle timeouts, read only, serializable for role, database and system: completed, 0 differences');

# ---------------------------------------------------------------------
# F20
# ---------------------------------------------------------------------

# Locks: the loaders wait, which shows, and go on.
my $began;
foreach my $lock ('LOCK TABLE mixed IN ACCESS EXCLUSIVE MODE', 'LOCK TABLE mixed IN SHARE MODE')
{
	$job = $t->start('mixed', rate => 2000);
	$t->copying($job);
	my $locker = session("BEGIN; $lock");
	ok($t->until("SELECT count(*) > 0 FROM migrate_workers WHERE job_id = $job AND waiting_for LIKE 'Lock / %'"), "F20: $lock: loaders wait, and show it");
	$locker->end;
	is($t->violations($job), '', "F20: $lock: nothing lost, nothing twice");
}

# A pause or cancel gets through to a loader that waits for somebody's lock.
foreach my $function ('migrate_pause', 'migrate_cancel')
{
	$job = $t->start('mixed', rate => 2000);
	$t->copying($job);
	my $locker = session('BEGIN; LOCK TABLE mixed IN ACCESS EXCLUSIVE MODE');
	$t->until("SELECT count(*) > 0 FROM migrate_workers WHERE job_id = $job AND waiting_for LIKE 'Lock / %'");
	$began = time();
	$t->sql("SELECT $function($job)");
	my $state = $t->sql("SELECT migrate_wait($job, timeout => '20 s')");
	my $seconds = time() - $began;
	like($state, qr/paused|canceled/, "F20: $function while the target is locked");
	cmp_ok($seconds, '<', 2, sprintf 'F20: %s acts in %.1f s', $function, $seconds);
	figure('F20', sprintf '%s while loaders wait for a lock: %.1f s', $function, $seconds);
	$locker->end;
	$t->sql("SELECT migrate_resume($job)") if $state eq 'paused';
	is($t->violations($job, state => $state eq 'paused' ? 'completed' : 'canceled'), '', "F20: $function: nothing lost, nothing twice");
}

# Maintenance and changes of the table.
foreach my $sql ('VACUUM FULL mixed', 'CREATE INDEX ON mixed (at)', 'CREATE INDEX CONCURRENTLY ON mixed (number)', 'ALTER TABLE mixed ADD COLUMN note text',
	q(ALTER TABLE mixed ADD COLUMN stamp timestamptz DEFAULT clock_timestamp()), 'ANALYZE mixed', 'ALTER TABLE mixed RENAME TO moved',
	'ALTER TABLE mixed SET SCHEMA aside')
{
	$t->sql('DROP SCHEMA IF EXISTS aside CASCADE; CREATE SCHEMA aside');
	$job = $t->start('mixed', rate => 1500);
	$t->copying($job);
	$t->sql($sql);
	$t->hurry($job);
	my ($table) = $sql =~ /RENAME/ ? 'moved' : $sql =~ /SCHEMA/ ? 'aside.mixed' : 'mixed';
	$t->until("SELECT state = 'completed' FROM migrate_jobs WHERE job_id = $job", 60);
	$t->sql('ALTER TABLE mixed DROP COLUMN ' . ($sql =~ /COLUMN (\w+)/)[0]) if $sql =~ /COLUMN/;
	is($t->violations($job, table => $table), '', "F20: $sql: nothing lost, nothing twice");
	$t->sql('DROP TABLE IF EXISTS moved');
}

# A deadlock with a session: the loader that is chosen begins its checkpoint
# again.  The session holds a key that the loader wants to insert, and wants
# the table that the loader writes to, before that one looks for a deadlock.
$t->sql(q(ALTER SYSTEM SET deadlock_timeout = '15s'; SELECT pg_reload_conf()));
$t->sql('DROP TABLE IF EXISTS plain; CREATE TABLE plain (_id bigint PRIMARY KEY, text text, n bigint, _extra jsonb)');
my $rival = session(q(BEGIN; SET deadlock_timeout = '60s'; INSERT INTO plain SELECT i FROM generate_series(0, 19999) i));
$job = $t->start('plain', if_exists => 'append', workers => 2);
$t->until(q(SELECT count(*) > 0 FROM pg_stat_activity WHERE backend_type = 'mongo_migrate loader' AND wait_event = 'transactionid'));
$rival->send('LOCK TABLE plain IN ACCESS EXCLUSIVE MODE; ROLLBACK');
is($t->violations($job, collection => 'plain'), '', 'F20: a deadlock: nothing lost, nothing twice');
cmp_ok($t->ask("SELECT count(*) FROM migrate_events WHERE job_id = $job AND message LIKE 'deadlock detected, next attempt in %'"), '>', 0, 'F20: and it is an event');
$rival->end;
$t->sql('ALTER SYSTEM RESET deadlock_timeout; SELECT pg_reload_conf()');
figure('F20', 'LOCK TABLE, VACUUM FULL, CREATE INDEX, ALTER TABLE, RENAME, SET SCHEMA, deadlock: waits or retries, completed, 0 differences');

# ---------------------------------------------------------------------
# F21
# ---------------------------------------------------------------------

foreach my $case (['DROP TABLE mixed', 'replace', qr/the target table "public.mixed" was dropped/],
	['TRUNCATE mixed', 'replace', qr/holds \d+ rows, the migration stored \d+/],
	['BEGIN; TRUNCATE mixed; COMMIT', 'append', qr/holds \d+ rows, the migration stored \d+/],
	['DELETE FROM mixed', 'replace', qr/holds \d+ rows, the migration stored \d+/])
{
	my ($sql, $if_exists, $error) = @$case;
	if ($if_exists eq 'append')
	{
		$job = $t->start('mixed');
		$t->violations($job);
		$t->sql('TRUNCATE mixed');
	}
	$job = $t->start('mixed', rate => 1500, if_exists => $if_exists);
	$t->copying($job);
	$t->sql($sql);
	$t->hurry($job) if $sql =~ /DELETE/;
	$began = time();
	ok(wait_for(sub { $t->state_of($job) =~ /failed|completed/ }, 60), "F21: $sql ($if_exists)");
	my $seconds = time() - $began;
	like($t->error_of("SELECT migrate_wait($job)"), qr/ERROR:.*$error/s, "F21: $sql ($if_exists): the job says what happened");
	unless ($sql =~ /DELETE/)		# noticed when the rows are counted
	{
		cmp_ok($seconds, '<=', 5, sprintf 'F21: %s (%s): after %.1f s', $sql, $if_exists, $seconds);
		figure('F21', sprintf '%s (%s): failed after %.1f s', $sql, $if_exists, $seconds);
	}
	is($t->violations($job, state => 'failed'), '', "F21: $sql ($if_exists): nothing is left behind");
}

# While no coordinator is there to see it.
$job = $t->start('mixed', rate => 1000);
$t->copying($job);
$t->sql("SELECT migrate_pause($job); SELECT migrate_wait($job)");
$t->sql('TRUNCATE mixed');
$t->sql("SELECT migrate_resume($job)");
like($t->error_of("SELECT migrate_wait($job)"), qr/ERROR:.*holds 0 rows, the migration stored \d+/, 'F21: TRUNCATE of a paused job is noticed when it is resumed');
is($t->violations($job, state => 'failed'), '', 'F21: nothing is left behind');

# Up to PostgreSQL 15 an empty table can become a view.
if ($t->node->pg_version < 16)
{
	$job = $t->start('mixed', rate => 1000);
	$t->copying($job);
	$t->sql("SELECT migrate_pause($job); SELECT migrate_wait($job)");
	$t->sql('CREATE TABLE model (LIKE mixed)');
	$t->sql('BEGIN; TRUNCATE mixed; CREATE RULE "_RETURN" AS ON SELECT TO mixed DO INSTEAD SELECT * FROM model; COMMIT');
	$t->sql("SELECT migrate_resume($job)");
	like($t->error_of("SELECT migrate_wait($job, timeout => '20 s')"), qr/ERROR:.*the target table "public.mixed" was dropped/, 'F21: a table that became a view is noticed');
	is($t->violations($job, state => 'failed'), '', 'F21: and crashes nobody');
	$t->sql('DROP VIEW mixed; DROP TABLE model');
}

# ---------------------------------------------------------------------
# F33
# ---------------------------------------------------------------------

foreach my $case (['ALTER TABLE mongo_migrate.dead_letter ADD CONSTRAINT broken CHECK (false) NOT VALID',
		'ALTER TABLE mongo_migrate.dead_letter DROP CONSTRAINT broken'],
	['ALTER TABLE mongo_migrate.dead_letter RENAME TO away', 'ALTER TABLE mongo_migrate.away RENAME TO dead_letter'])
{
	my ($break, $mend) = @$case;
	$t->sql($break);
	$job = $t->start('poison');
	ok(wait_for(sub { $t->state_of($job) eq 'failed' }, 30), "F33: $break: the job stops");
	like($t->ask("SELECT message FROM migrate_jobs WHERE job_id = $job"), qr/dead_letter/, 'F33: with the reason');
	$t->sql($mend);
	is($t->ask("SELECT docs_done - rows_inserted - docs_rejected, docs_rejected - (SELECT count(*) FROM migrate_errors WHERE job_id = $job),
		rows_inserted - (SELECT count(*) FROM poison) FROM migrate_stat_job WHERE job_id = $job"), '0|0|0', 'F33: no document is dropped');
	is($t->sql("SELECT migrate_retry($job)"), 'queued', 'F33: mended, one migrate_retry()');
	is($t->violations($job, collection => 'poison'), '', 'F33: nothing lost, nothing twice');
}
figure('F33', 'dead letters cannot be written (2 ways): job failed, 0 documents dropped, complete after migrate_retry()');

done_testing();
