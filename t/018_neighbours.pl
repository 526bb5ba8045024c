# What else lives in a database, and is not to disturb a job or be disturbed
# by it: publications, roles that may read and write everything, roles with a
# default role, children of a target, other jobs, a session that drops the
# extension, and the history of another cluster.
use strict;
use warnings;

use FaultTest;
use MongoTest qw(wait_for);
use PostgreSQL::Test::Utils;
use Proxy;
use Test::More;
use Time::HiRes qw(sleep time);

MongoTest::plain(0);
my $mongo = MongoTest->new;
my $node = MongoTest::node('neighbours', wal_level => 'logical', max_prepared_transactions => 1);
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
# A table whose rows are elsewhere
# ---------------------------------------------------------------------------

sql(q(CREATE DATABASE distributed));
sql(q(CREATE EXTENSION mongo_migrate; CREATE TABLE odd (_id bigint PRIMARY KEY, total bigint); CREATE TABLE local (LIKE odd);
	SET allow_system_table_mods = on; CREATE TABLE pg_catalog.pg_dist_partition (logicalrelid regclass, partmethod "char");
	INSERT INTO pg_dist_partition VALUES ('odd', 'h')), 'distributed');   # as Citus has it
like(try_sql(qq(SELECT migrate_start('$uri', 'odd', if_exists => 'append')), undef, 'distributed'), qr/cannot load into table "public.odd"\nDETAIL:  It is distributed by Citus/, 'a distributed table is refused');
is(try_sql("SELECT migrate_wait(@{[start('odd', q(target => 'local', if_exists => 'append'), 'distributed')]})", undef, 'distributed'), 'completed', 'the others are not');
sql('DROP DATABASE distributed WITH (FORCE)');

# ---------------------------------------------------------------------------
# A database that takes no connections any more
# ---------------------------------------------------------------------------

sql('CREATE DATABASE closing');
sql('CREATE EXTENSION mongo_migrate', 'closing');

sub close_database
{
	sql('ALTER DATABASE closing ALLOW_CONNECTIONS false');
	sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'closing' AND backend_type = 'mongo_migrate loader'");
	return;
}

my $closing = sql("SET client_min_messages = error; SELECT migrate_start('$uri', 'narrow', workers => 2, options => '{\"max_docs_per_second\": 1000}')", 'closing');
wait_rows($closing, 'closing');
my $offset = -s $node->logfile;
close_database();
sleep(6);
my $refused = () = slurp_file($node->logfile, $offset) =~ /FATAL:.*"closing" is not currently accepting connections/g;
ok($refused >= 2 && $refused <= 8, "loaders are not started again all the time: $refused in 6 s");
sql('ALTER DATABASE closing ALLOW_CONNECTIONS true');
sql("SELECT migrate_alter($closing, max_docs_per_second => 0)", 'closing');
is(try_sql("SELECT migrate_wait($closing)", undef, 'closing'), 'completed', 'the job goes on when they can be');
is(sql("SELECT message FROM migrate_events WHERE job_id = $closing AND severity = 'warning' AND message LIKE 'a worker%'", 'closing'), 'a worker ended before it began', 'and an event tells, once');
$closing = sql("SET client_min_messages = error; SET mongo_migrate.max_retry_time = '3s'; SELECT migrate_start('$uri', 'narrow', if_exists => 'replace', workers => 8, options => '{$slow}')", 'closing');
wait_rows($closing, 'closing');
close_database();
wait_for(sub { slurp_file($node->logfile, $offset) =~ /background workers end before they begin/ }, 30);
sql('ALTER DATABASE closing ALLOW_CONNECTIONS true');
wait_for(sub { sql("SELECT state FROM migrate_jobs WHERE job_id = $closing", 'closing') eq 'failed' }, 30);
is(sql("SELECT state, sqlstate, message FROM mongo_migrate.job WHERE job_id = $closing", 'closing'), 'failed|55000|background workers end before they begin', 'when it lasts for max_retry_time the job fails');
is(try_sql("SELECT migrate_retry($closing); SELECT migrate_alter($closing, max_docs_per_second => 0); SELECT migrate_wait($closing)", undef, 'closing') =~ s{.*\n}{}sr, "completed", 'and goes on by a retry');
is(sql('SELECT count(*) FROM narrow', 'closing'), 20000, 'with all rows');
sql('DROP DATABASE closing WITH (FORCE)');

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
	like(try_sql("INSERT INTO $table OVERRIDING SYSTEM VALUE SELECT * FROM $table", 'writer'), qr/ERROR:  permission denied for table/, 'nor insert');
	like(try_sql("TRUNCATE $table CASCADE", 'writer'), qr/ERROR:  permission denied for table/, 'nor empty it');
}

# Rows that a subscription writes: no statement, and in the role "replica".
is(sql(q(SELECT count(*) FROM pg_trigger WHERE NOT tgisinternal AND tgrelid::regclass::text LIKE 'mongo_migrate.%' AND tgenabled <> 'A')), 0, 'the triggers are always enabled');
is(sql(q(SELECT string_agg(tgrelid::regclass::text, ' ' ORDER BY 1) FROM pg_trigger WHERE tgname = 'guard_row' AND tgtype & 1 = 1 AND tgtype & 28 = 28)),
	'mongo_migrate.job mongo_migrate.job_table', 'and see each row of what says as whom workers run');
sql('GRANT SET ON PARAMETER session_replication_role TO writer');
like(try_sql("SET session_replication_role = replica; UPDATE mongo_migrate.job SET owner = 10", 'writer'), qr/ERROR:  permission denied for table job/, 'session_replication_role is no way around them');
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
$next = start('odd', qq(if_exists => 'truncate', on_error => 'extra', workers => 1, options => '{"max_docs_per_second": 100}'));
like(try_sql("SELECT migrate_replay($first)"), qr/ERROR:  table "public.odd" is being loaded by migration job $next\nHINT:  Wait for it/, 'no replay into a table that another job fills');
sql("SELECT migrate_alter($next, max_docs_per_second => 0)");
is(try_sql("SELECT migrate_wait($next)"), 'completed', 'which is not harmed');
sql("SELECT migrate_forget($next)");

# One statement cancels several jobs that are in an index build.
my @jobs = map { start('odd', qq(target => 'held$_', options => '{"max_docs_per_second": 100}')) } 1, 2;
my $holder = FaultTest::Session->new($node, 'BEGIN; SELECT FROM held1, held2 LIMIT 0');
sql("SELECT migrate_alter($_, max_docs_per_second => 0)") foreach @jobs;
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

# A cancel that is undone: nobody is disturbed.
$job = start('narrow', qq(target => 'undone', workers => 1, options => '{$slow}'));
wait_rows($job);
sql("BEGIN; SAVEPOINT s; SELECT migrate_cancel($job); ROLLBACK TO s; SAVEPOINT t; SELECT 1; RELEASE t; COMMIT");
sql("DO \$\$ BEGIN PERFORM migrate_cancel($job); RAISE 'undone'; EXCEPTION WHEN OTHERS THEN NULL; END\$\$");
sleep 1;
is(sql("SELECT state, generation FROM mongo_migrate.job WHERE job_id = $job"), 'running|1', 'a cancel that is undone disturbs nobody');
sql("BEGIN; SAVEPOINT s; SELECT migrate_cancel($job); RELEASE s; COMMIT");
is(try_sql("SELECT migrate_wait($job)"), 'canceled', 'one that is not, does');

# The name of the target goes to another table while the job waits for its lock.
sub at_lock { my ($mode) = @_; return wait_for(sub { sql("SELECT count(*) FROM pg_locks WHERE NOT granted AND mode = '$mode'") eq '1' }, 30); }
sql('CREATE TABLE stranger (LIKE odd)');
$job = start('odd', q(target => 'swapped', workers => 1, options => '{"max_docs_per_second": 100}'));
my $swapper = FaultTest::Session->new($node, 'BEGIN; SELECT FROM swapped LIMIT 0');
sql("SELECT migrate_alter($job, max_docs_per_second => 0)");
ok(at_lock('AccessExclusiveLock'), 'a key waits for a lock');
$swapper->send('ALTER TABLE swapped RENAME TO swapped_away; ALTER TABLE stranger RENAME TO swapped; COMMIT');
is(try_sql("SELECT migrate_wait($job)"), 'completed', 'the table gets another name meanwhile');
is(sql(q(SELECT conrelid::regclass FROM pg_constraint WHERE contype = 'p' AND conrelid IN ('swapped'::regclass, 'swapped_away'::regclass))), 'swapped_away', 'and its key, and no other one of its name');
$swapper->end;
$swapper = FaultTest::Session->new($node, 'BEGIN; SELECT FROM swapped_away LIMIT 0');
my $dropping = FaultTest::Session->new($node, 'SELECT 1');
sql("UPDATE mongo_migrate.job SET state = 'paused', finished_at = NULL WHERE job_id = $job");
$dropping->send("SELECT migrate_cancel($job, drop_target => true)");
ok(at_lock('AccessExclusiveLock'), 'a drop waits for a lock');
$swapper->send('ALTER TABLE swapped_away RENAME TO swapped_again; ALTER TABLE swapped RENAME TO swapped_away; COMMIT');
ok(wait_for(sub { $dropping->{run}->pump_nb; $dropping->{out} =~ /canceled/ }, 20), 'and is done');
is(sql(q(SELECT to_regclass('swapped_again') IS NULL, to_regclass('swapped_away') IS NULL)), 't|f', 'the right one is dropped');
$_->end foreach $swapper, $dropping;

# Nor is the count a query by name: the owner of the schema could put code of his own there.
$job = start('odd', q(target => 'counted', workers => 1, options => '{"max_docs_per_second": 100}'));
$swapper = FaultTest::Session->new($node, 'BEGIN; LOCK TABLE counted IN ROW EXCLUSIVE MODE');
sql("SELECT migrate_alter($job, max_docs_per_second => 0)");
ok(at_lock('AccessExclusiveLock'), 'a key waits for a lock');
my $analyzing = FaultTest::Session->new($node, 'BEGIN');
$analyzing->send('LOCK TABLE counted IN SHARE UPDATE EXCLUSIVE MODE');
ok(at_lock('ShareUpdateExclusiveLock'), 'somebody waits behind it');
$swapper->send('COMMIT');
ok(wait_for(sub { sql(q(SELECT count(*) FROM pg_locks WHERE granted AND mode = 'ShareUpdateExclusiveLock' AND relation = 'counted'::regclass)) eq '1' }, 30), 'and has its lock');
ok(at_lock('ShareUpdateExclusiveLock'), 'ANALYZE waits for one');
sql(q(CREATE TABLE called (); CREATE FUNCTION evil() RETURNS boolean LANGUAGE plpgsql AS $$BEGIN ALTER TABLE called ADD COLUMN was int; RETURN true; END$$));
my $schema_owner = FaultTest::Session->new($node, 'BEGIN');
$schema_owner->send('DROP TABLE counted');
ok(at_lock('AccessExclusiveLock'), 'a DROP waits for ANALYZE');
$analyzing->send('COMMIT');
ok(at_lock('AccessShareLock'), 'and the count for it');
$schema_owner->send('CREATE VIEW counted AS SELECT 1 AS _id WHERE evil(); COMMIT');
like(try_sql("SELECT migrate_wait($job)"), qr/ERROR:.*the target table "public.counted" was dropped/, 'a view in place of the table');
is(sql(q(SELECT count(*) FROM pg_attribute WHERE attrelid = 'called'::regclass AND attname = 'was')), 0, 'is not read');
$_->end foreach $swapper, $analyzing, $schema_owner;

# A transaction that is prepared.
$job = start('narrow', qq(target => 'prepared', workers => 1, options => '{$slow}'));
wait_rows($job);
is(sql("BEGIN; SELECT migrate_cancel($job); PREPARE TRANSACTION 'x'; BEGIN; SELECT count(*) FROM pg_class WHERE relname = 'prepared'; COMMIT; COMMIT PREPARED 'x'"), "canceling\n1", 'a cancel that is prepared');
is(try_sql("SELECT migrate_wait($job)"), 'canceled', 'counts when it is committed');

# Requests whose coordinator died before it saw them.
$job = start('narrow', qq(target => 'orphan', workers => 1, options => '{$slow}'));
wait_rows($job);
sql("SELECT migrate_pause($job); SELECT migrate_wait($job)");
sql("UPDATE mongo_migrate.job SET state = 'pausing', requested_at = now() - interval '1 min' WHERE job_id = $job");
is(sql("SELECT migrate_pause($job)"), 'paused', 'pausing, and nobody is there: paused');
sql("UPDATE mongo_migrate.job SET state = 'canceling' WHERE job_id = $job");
is(sql("SELECT message FROM migrate_jobs WHERE job_id = $job"), "no coordinator is running: SELECT migrate_cancel($job)", 'canceling, and nobody is there: what helps');
sql("UPDATE mongo_migrate.job SET drop_target = true WHERE job_id = $job");
is(sql("SELECT message FROM migrate_jobs WHERE job_id = $job"), "no coordinator is running: SELECT migrate_cancel($job, drop_target => true)", 'also when the table is to go');
is(sql("SELECT migrate_cancel($job, drop_target => true)"), 'canceled', 'and it does');
is(sql(q(SELECT to_regclass('orphan') IS NULL)), 't', 'with its table');
# Where foreign keys are switched off, ours are not.
is(sql("SET session_replication_role = replica; SELECT migrate_forget($job)"), 't', 'forgotten under session_replication_role');
is(sql("SELECT (SELECT count(*) FROM mongo_migrate.job_table WHERE job_id = $job) + (SELECT count(*) FROM mongo_migrate.chunk WHERE job_id = $job)
	+ (SELECT count(*) FROM mongo_migrate.event WHERE job_id = $job)"), 0, 'with all that belongs to it');

# A new table that is not what was asked for, and a key that is built in too little memory.
sql(q(CREATE FUNCTION secure() RETURNS event_trigger LANGUAGE plpgsql AS $$BEGIN ALTER TABLE public.secured ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY; END$$;
	CREATE EVENT TRIGGER secure ON ddl_command_end WHEN TAG IN ('CREATE TABLE') EXECUTE FUNCTION secure()));
sql('GRANT CREATE ON SCHEMA public TO writer; GRANT USAGE ON FOREIGN SERVER shop TO writer');
like(try_sql(q(SELECT migrate_start('shop', 'odd', target => 'public.secured')), 'writer'), qr/ERROR:  cannot load into table "public.secured"\nDETAIL:  Row-level security/, 'an event trigger that secures new tables');
sql('DROP EVENT TRIGGER secure');
is(try_sql(qq(SET client_min_messages = error; SET mongo_migrate.maintenance_work_mem = 0; SELECT count(migrate_start('$uri', 'odd', target => 'little')); SELECT migrate_wait())), "1\ncompleted", 'no memory for the key');

# ---------------------------------------------------------------------------
# A server that is silent
# ---------------------------------------------------------------------------

my $proxy = Proxy->new($mongo);
sql('CREATE DATABASE passing');
my $silent = FaultTest::Session->new($node, 'SELECT 1');
$proxy->tell('stall');
$silent->send(sprintf "SELECT count(*) FROM migrate_list_collections('%s')", $proxy->uri('shop'));
ok(wait_for(sub { sql(q(SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT count(*) FROM migrate_list_%' AND wait_event_type = 'Extension')) eq '1' }, 20), 'a session waits for a silent server');
is(try_sql(q(SET statement_timeout = '8s'; DROP DATABASE passing)), '', 'DROP DATABASE does not wait for it');
$proxy->tell('pass');
$silent->end;

# ---------------------------------------------------------------------------
# A full disk under our own tables
# ---------------------------------------------------------------------------

$job = sql(sprintf q(SET client_min_messages = error; SELECT migrate_start('%s', 'narrow', target => 'waits', workers => 1, options => '{"max_docs_per_second": 1000, "chunk_size": "64kB"}')), $proxy->uri('shop'));
wait_rows($job);
sql(q(CREATE FUNCTION fill() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RAISE 'no space left' USING ERRCODE = 'disk_full'; END$$;
	CREATE TRIGGER no_room BEFORE INSERT ON mongo_migrate.event FOR EACH ROW EXECUTE FUNCTION fill()));
$proxy->tell('refuse');
sleep 2;
my $loader = q(SELECT pid FROM pg_stat_activity WHERE backend_type = 'mongo_migrate loader');
my $pid = sql($loader);
sleep 4;
isnt($pid, '', 'a loader that cannot tell of a failure');
is(sql($loader), $pid, 'waits all the same');
sql('DROP TRIGGER no_room ON mongo_migrate.event');
$proxy->tell('pass');
sql("SELECT migrate_alter($job, max_docs_per_second => 0)");
is(try_sql("SELECT migrate_wait($job)"), 'completed', 'and completes when it can');
is($mongo->compare($node, 'shop.narrow', 'waits'), '', 'nothing lost, nothing twice');

# ---------------------------------------------------------------------------
# DROP EXTENSION beside a chunk that is one long transaction
# ---------------------------------------------------------------------------

sql('CREATE DATABASE doomed');
sql('CREATE EXTENSION mongo_migrate', 'doomed');
$job = start('narrow', q(workers => 1, options => '{"split": "none", "max_docs_per_second": 100}'), 'doomed');
wait_rows($job, 'doomed');
sql('CREATE ROLE nobody LOGIN');
like(try_sql(q(SET lock_timeout = '10s'; DROP EXTENSION mongo_migrate CASCADE), 'nobody', 'doomed'), qr/ERROR:  canceling statement due to user request/, 'one who may not drop it is sent away');
is(sql("SELECT count(*) FROM migrate_events WHERE job_id = $job AND severity = 'warning'", 'doomed'), 0, 'and the copy goes on');
my $began = time();
sql('SET client_min_messages = error; DROP EXTENSION mongo_migrate CASCADE', 'doomed');
cmp_ok(time() - $began, '<', 5, sprintf 'DROP EXTENSION takes %.1f s', time() - $began);
ok(wait_for(sub { sql(q(SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'mongo_migrate%')) == 0 }, 10), 'no worker is left');

# ---------------------------------------------------------------------------
# Tables that would go with the one that is replaced
# ---------------------------------------------------------------------------

sql('CREATE TABLE parted (_id bigint, total bigint, _extra jsonb) PARTITION BY RANGE (_id); CREATE TABLE part PARTITION OF parted DEFAULT; INSERT INTO parted VALUES (1)');
foreach my $case (['parted', 'It is partitioned'], ['part', 'It is a partition'])
{
	my ($table, $reason) = @$case;
	foreach my $call ('migrate_start', 'migrate_plan')
	{
		like(try_sql("SELECT $call('$uri', 'odd', target => '$table', if_exists => 'replace')"),
			qr/ERROR:  cannot load into table "public.$table"\nDETAIL:  $reason\./, "$call: $table is not replaced");
	}
}
is(sql('SELECT count(*) FROM parted'), 1, 'and still has its rows');
my $long = 'x' x 63;
sql("CREATE TABLE $long (_id bigint)");
like(try_sql("SELECT migrate_start('$uri', 'odd', target => '${long}_2024', if_exists => 'replace')"),
	qr/ERROR:  the name of the target is too long: "${long}_2024"\nDETAIL:  PostgreSQL's names have 63 bytes at most\./, 'nor is one whose name begins so');
sql("DROP TABLE $long, parted");
is(sql("SELECT attstattarget, attstorage FROM pg_attribute WHERE attrelid = 'mongo_migrate.secret'::regclass AND attname = 'uri'"), '0|p', 'connection strings are not in statistics');

# ---------------------------------------------------------------------------
# A database that is not UTF8
# ---------------------------------------------------------------------------

sql(q(CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0));
sql('CREATE EXTENSION mongo_migrate', 'latin');
foreach my $call ("migrate_peek('$uri', 'odd')", "migrate_infer_schema('$uri', 'odd')", "migrate_infer_mapping('$uri', 'odd')", "migrate_plan('$uri', 'odd')",
	"migrate_ddl('$uri', 'odd')", "migrate_start('$uri', 'odd')", "migrate_list_collections('$uri')", 'migrate_column_name(chr(226))')
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
$mongo->python(q(client.admin.command('createUser', 'keeper', pwd='kept', roles=['root'])));
my $kept = sql(sprintf q(SET client_min_messages = error; SELECT migrate_start('%s&authSource=admin', 'odd', target => 'by_keeper', on_error => 'reject',
	mapping => jsonb_set(migrate_infer_mapping('shop', 'odd'), '{fields,1,type}', '"smallint"'), options => '{"reject_limit": 0}')), $mongo->uri('shop', 'keeper:kept'));
like(try_sql("SELECT migrate_wait($kept)"), qr/documents? rejected, the limit is 0/, 'a job that fails, with a password in its string');
my $jobs = sql('SELECT count(*) FROM migrate_jobs');
is(sql("ALTER ROLE ann RENAME TO anna; SELECT count(*) FROM migrate_jobs WHERE owner = 'anna'"), 1, 'a role that is renamed keeps its jobs');
is(try_sql('SET ROLE NONE; SELECT count(*) FROM migrate_jobs', 'anna'), 1, 'and sees them');
is(sql("REASSIGN OWNED BY anna TO CURRENT_USER; DROP OWNED BY anna; DROP ROLE anna; CREATE ROLE ann LOGIN; SELECT count(*) FROM migrate_jobs WHERE owner LIKE 'unknown%'"), 1, 'one that is dropped leaves them');
is(try_sql('SELECT count(*) FROM migrate_jobs', 'ann'), 0, 'and not to the next of its name');
sql('DROP ROLE ann');
$node->command_ok(['pg_dump', '-f', $dump, '--no-owner', '--no-privileges', 'postgres'], 'a dump');
my $from = $node;
my $other = MongoTest::node('elsewhere');
$node = $other;
sql('CREATE DATABASE restored TEMPLATE template0; CREATE ROLE bob LOGIN; CREATE ROLE mallory LOGIN');
$node->command_ok(['psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-f', $dump, '-d', $node->connstr('restored')], 'is restored where most of its roles are missing');
is(sql('SELECT count(*) FROM migrate_jobs', 'restored'), $jobs, 'with all jobs');
is(try_sql('SELECT count(*), min(owner) FROM migrate_jobs', 'bob', 'restored'), '1|bob', 'a role of the same name finds its own');
is(try_sql('SELECT count(*) > 0, bool_and(document IS NOT NULL) FROM migrate_errors', 'bob', 'restored'), 't|t', 'and its rejected documents');
sql('ALTER TABLE bobs OWNER TO bob', 'restored');
is(try_sql(q(SELECT * FROM migrate_replay(mapping => jsonb_set(migrate_mapping(), '{on_error}', '"extra"'))), 'bob', 'restored'), '60|0', 'which he stores in the table of that name');
is(sql('SELECT count(*) FROM bobs', 'restored'), 3000, 'so that all is there');
like(try_sql("SELECT migrate_cancel(@{[sql(q(UPDATE mongo_migrate.job SET state = 'failed' WHERE job_id = (SELECT job_id FROM mongo_migrate.job_table WHERE target_table = 'held1') RETURNING job_id), 'restored')]}, drop_target => true)", undef, 'restored'),
	qr/ERROR:  cannot drop table "public.held1" for migration job \d+\nDETAIL:  The job comes from another cluster or database/, 'a table that has the name is not dropped');
is(sql(q(SELECT to_regclass('held1') IS NOT NULL), 'restored'), 't', 'and is there');
sql(q(UPDATE mongo_migrate.job SET owner = 'mallory'::regrole), 'restored');   # as it may happen
is(try_sql('SELECT count(*) FROM migrate_jobs', 'mallory', 'restored'), 0, 'a role that only has the OID does not');
like(try_sql("SELECT migrate_alter($kept, reject_limit => -1); SELECT migrate_retry($kept); SELECT migrate_wait($kept)", undef, 'restored'),
	qr/ERROR:  (?:migration job $kept failed: )?the password of migration job $kept is not there any more/, 'a password is in no dump, which the job says');
my $failed = sql(q(SELECT max(job_id) FROM migrate_jobs WHERE owner = 'ann'), 'restored');
sql("UPDATE mongo_migrate.job SET state = 'failed' WHERE job_id = $failed", 'restored');
like(try_sql("SELECT migrate_retry($failed)", undef, 'restored'), qr/ERROR:  migration job $failed cannot run as its owner\nDETAIL:  Its owner does not exist in this cluster/, 'a retry for a role that is missing says so');
# Nobody but a superuser could.
my $waits = sql(q(SELECT job_id FROM migrate_errors WHERE status = 'pending' ORDER BY job_id LIMIT 1), 'restored');
sql(qq(UPDATE mongo_migrate.job SET owner = 1, owner_name = 'nobody' WHERE job_id = $waits), 'restored');
like(try_sql("SELECT * FROM migrate_replay($waits)", undef, 'restored'), qr/^\d+\|\d+$/, 'a replay for one that is missing runs as the owner of the table');
$node = $from;

# Restored in place: the same database, other tables.
$node->command_ok(['pg_dump', '-Fc', '-f', "$dump.c", 'postgres'], 'a dump for the same database');
$node->command_ok(['pg_restore', '--clean', '--if-exists', '--exit-on-error', '-d', $node->connstr('postgres'), "$dump.c"], 'which is restored in place');
is(try_sql(q(SELECT * FROM migrate_replay(mapping => jsonb_set(migrate_mapping(), '{on_error}', '"extra"'))), 'bob'), '60|0', 'rejected documents find their table');

done_testing();
