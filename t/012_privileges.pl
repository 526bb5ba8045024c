# A plain role with the grants of the reference and nothing else: what each of
# them allows, what their loss does to a job that runs, and what hosts, files
# and mechanisms are out of its reach.
use strict;
use warnings;

use MongoTest qw(wait_for);
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

MongoTest::plain(0);
my $mongo = MongoTest->new;
my $node = MongoTest::node('privileges');
my $uri = $mongo->uri('shop');
my $port = $mongo->{port};
$mongo->generate('orders', 2000, 'shop.orders');
$mongo->generate('narrow', 100000, 'shop.narrow');
$mongo->python(q(client.shop.odd.insert_many([{'_id': 'secret-%d' % i, 'note': 'a\0b' if i % 10 == 7 else 'ab', 'n': i if i % 10 else 'x'} for i in range(1000)])));

sub sql { my ($sql) = @_; return $node->safe_psql('postgres', $sql); }

# As a role; errors are in the text.
sub as
{
	my ($role, $sql) = @_;
	my ($out, $err) = ('', '');
	$node->psql('postgres', $sql, stdout => \$out, stderr => \$err, extra_params => ['-U', $role]);
	return $err =~ /ERROR/ ? $err : $out;
}

sub state { my ($job) = @_; return sql("SELECT state FROM migrate_jobs WHERE job_id = $job"); }

sub wait_state { my ($job, $state, $seconds) = @_; return wait_for(sub { state($job) =~ /^($state)$/ }, $seconds // 30); }

my $tables = 0;

# A load of the plain role that takes its time, into a table of its schema.
sub start_load
{
	my ($source, $checkpoint) = @_;
	my $table = 'etl.run' . ++$tables;
	my $job = as('etl', sprintf q(SET client_min_messages = error; SET mongo_migrate.checkpoint_interval = '%s';
		SELECT migrate_start('%s', 'narrow', target => '%s', workers => 1, options => '{"max_docs_per_second": 1000}')), $checkpoint // '10min', $source, $table);
	wait_for(sub { sql("SELECT sum(docs_done) > 0 FROM migrate_stat_worker WHERE job_id = $job") eq 't' }, 20) or die "not at work: $job";
	return ($job, $table);
}

# ---------------------------------------------------------------------------
# What each grant is for
# ---------------------------------------------------------------------------

sql(q(CREATE ROLE etl LOGIN; CREATE ROLE colleague LOGIN IN ROLE etl; CREATE ROLE stranger LOGIN; CREATE ROLE watcher LOGIN IN ROLE pg_read_all_stats;
	CREATE ROLE operator LOGIN IN ROLE pg_signal_backend; CREATE SCHEMA closed));
sql(qq(CREATE SERVER shop FOREIGN DATA WRAPPER mongo_migrate OPTIONS (uri '$uri')));

sql('CREATE DATABASE mine OWNER etl');
my $err = '';
$node->psql('mine', 'CREATE EXTENSION mongo_migrate', stderr => \$err, extra_params => ['-U', 'etl']);
like($err, qr/ERROR:  permission denied to create extension "mongo_migrate"/, 'create the extension: superuser');

# Nothing of the schema of the extension gets into it.
foreach my $operator ('= (LEFTARG = oid, RIGHTARG = regclass, FUNCTION = public.trap)', '% (LEFTARG = bigint, RIGHTARG = integer, FUNCTION = public.trap2)',
	'#> (LEFTARG = jsonb, RIGHTARG = text, FUNCTION = public.trap3)')
{
	my ($name) = $operator =~ /FUNCTION = (public.\w+)/;
	my ($left, $right) = $operator =~ /= (\w+), RIGHTARG = (\w+)/;
	my $returns = {trap => 'boolean', trap2 => 'integer', trap3 => 'jsonb'}->{substr $name, 7};
	$node->safe_psql('mine', "CREATE FUNCTION $name($left, $right) RETURNS $returns LANGUAGE plpgsql AS 'BEGIN RAISE ''trapped''; END'; CREATE OPERATOR public.$operator");
}
$node->safe_psql('mine', 'CREATE EXTENSION mongo_migrate');
is($node->safe_psql('mine', q(SELECT count(*) FROM pg_depend WHERE refobjid IN (SELECT oid FROM pg_operator WHERE oprname IN ('=', '%', '#>') AND oprnamespace = 'public'::regnamespace
	UNION ALL SELECT oid FROM pg_proc WHERE proname LIKE 'trap%') AND classid IN ('pg_rewrite'::regclass, 'pg_proc'::regclass))), 0, 'operators of others do not get into the views');
is($node->safe_psql('mine', 'SELECT count(*) FROM migrate_jobs, migrate_stat_table'), 0, 'which work');

like(as('etl', "SELECT migrate_start('shop', 'orders')"), qr/ERROR:  permission denied for foreign server shop\nHINT:  GRANT USAGE ON FOREIGN SERVER shop TO etl;/, 'a server: USAGE');
sql('GRANT USAGE ON FOREIGN SERVER shop TO etl');
like(as('etl', "SELECT migrate_start('shop', 'orders')"), qr/ERROR:  user mapping not found for "etl", server "shop"/, 'and a user mapping');
is(as('etl', 'CREATE USER MAPPING FOR etl SERVER shop'), '', 'its own');
like(as('etl', "SELECT migrate_start('shop', 'orders')"), qr/ERROR:  permission denied for schema public\nHINT:  Name a target in a schema you may create in, such as target => 'etl.orders'/, 'then only the schema is missing');
is(as('etl', 'DROP USER MAPPING FOR etl SERVER shop'), '', 'or');
sql('CREATE USER MAPPING FOR PUBLIC SERVER shop');
is(as('etl', q(SELECT count(*) FROM migrate_list_collections('shop'))), '3', 'that of PUBLIC');

like(as('etl', "SELECT migrate_start('$uri', 'orders')"), qr/ERROR:  permission denied for foreign-data wrapper mongo_migrate\nHINT:  GRANT USAGE ON FOREIGN DATA WRAPPER mongo_migrate TO etl;/,
	'a bare string: USAGE on the wrapper');
foreach my $call ("SELECT * FROM migrate_ping('$uri')", "SELECT * FROM migrate_list_collections('$uri')", "SELECT * FROM migrate_peek('$uri', 'orders')",
	"SELECT * FROM migrate_infer_schema('$uri', 'orders')", "SELECT migrate_infer_mapping('$uri', 'orders')", "SELECT * FROM migrate_plan('$uri', 'orders')",
	"SELECT migrate_ddl('$uri', 'orders')")
{
	my ($name) = $call =~ /(migrate_\w+)/;
	like(as('etl', $call), qr/permission denied for foreign-data wrapper mongo_migrate/, "also for $name");
}

like(as('etl', q(SELECT migrate_start('shop', 'orders', target => 'closed.orders'))), qr/ERROR:  permission denied for schema closed/, 'a new table: CREATE on the schema');
sql('CREATE SCHEMA etl; GRANT CREATE, USAGE ON SCHEMA etl TO etl');
my $job = as('etl', q(SELECT migrate_start('shop', 'orders', target => 'etl.orders')));
is(as('etl', "SELECT migrate_wait($job)"), 'completed', 'with it, a load completes');
is(sql(q(SELECT tableowner, (SELECT count(*) FROM etl.orders) FROM pg_tables WHERE tablename = 'orders')), 'etl|2000', 'and the table is of the role');
is(sql("SELECT sql_as FROM (SELECT usename AS sql_as FROM pg_user WHERE usesysid = (SELECT owner FROM mongo_migrate.job WHERE job_id = $job)) t"), 'etl', 'as is the job');

# Existing tables of somebody else.
sql('CREATE TABLE etl.theirs (LIKE etl.orders); GRANT USAGE ON SCHEMA closed TO etl; CREATE TABLE closed.theirs (LIKE etl.orders)');
my $append = q(SELECT migrate_start('shop', 'orders', target => 'closed.theirs', if_exists => '%s'));
like(as('etl', sprintf $append, 'append'), qr/ERROR:  permission denied for table theirs/, 'append: INSERT');
sql('GRANT INSERT ON closed.theirs TO etl');
is(as('etl', sprintf($append, 'append') . '; SELECT migrate_wait()') =~ s/.*\n//sr, 'completed', 'with it, rows are appended');
is(sql('SELECT count(*) FROM closed.theirs'), 2000, 'all of them, without the right to read');
like(as('etl', sprintf $append, 'truncate'), qr/ERROR:  permission denied for table theirs/, 'truncate: TRUNCATE');
sql('GRANT CREATE ON SCHEMA closed TO etl');
like(as('etl', sprintf $append, 'replace'), qr/ERROR:  must be owner of table theirs/, 'replace: the owner');
sql('REVOKE CREATE ON SCHEMA closed FROM etl');
is(sql('SELECT count(*) FROM closed.theirs'), 2000, 'and nothing has happened to it');
sql('GRANT TRUNCATE ON closed.theirs TO etl');
is(as('etl', sprintf($append, 'truncate') . '; SELECT migrate_wait()') =~ s/.*\n//sr, 'completed', 'with it, the table is emptied first');
is(sql('SELECT count(*) FROM closed.theirs'), 2000, 'and filled');

# Row security that applies to the role is refused, as COPY does; that of a table of its own does not apply.
sql('ALTER TABLE closed.theirs ENABLE ROW LEVEL SECURITY');
like(as('etl', sprintf $append, 'append'), qr/ERROR:  cannot load into table "closed.theirs"\nDETAIL:  Row-level security applies to you/, 'row security of another is respected');
as('etl', 'ALTER TABLE etl.orders ENABLE ROW LEVEL SECURITY');
my $own = q(SELECT migrate_start('shop', 'orders', target => 'etl.orders', if_exists => 'append', options => '{"reject_limit": null}'); SELECT migrate_wait());
like(as('etl', $own), qr/completed/, 'that of an own table does not apply');
as('etl', 'ALTER TABLE etl.orders FORCE ROW LEVEL SECURITY');
like(as('etl', $own), qr/DETAIL:  Row-level security applies to you/, 'unless it is forced');

# Code of the role runs as the role, in the workers too; its search_path is not ours.
as('etl', q(CREATE TABLE etl.trap (_id text, note text, n jsonb, _extra jsonb, who text DEFAULT current_user, session text DEFAULT session_user);
	CREATE FUNCTION etl.spring() RETURNS boolean LANGUAGE plpgsql AS $$BEGIN RESET SESSION AUTHORIZATION; RESET ROLE; RETURN true; END$$;
	ALTER TABLE etl.trap ADD sprung boolean DEFAULT etl.spring();
	ALTER TABLE etl.trap ADD super text DEFAULT current_setting('is_superuser');
	CREATE FUNCTION etl.clock_timestamp() RETURNS timestamptz LANGUAGE plpgsql AS $$BEGIN RAISE 'trapped'; END$$;
	CREATE FUNCTION etl.jsonb_build_object(VARIADIC "any") RETURNS jsonb LANGUAGE internal IMMUTABLE AS 'jsonb_build_object';
	CREATE FUNCTION etl.eq(bigint, bigint) RETURNS boolean LANGUAGE plpgsql AS $$BEGIN RAISE 'trapped'; END$$;
	CREATE OPERATOR etl.= (LEFTARG = bigint, RIGHTARG = bigint, FUNCTION = etl.eq)));
sql('ALTER ROLE etl SET search_path = etl, pg_catalog');
like(as('etl', q(SELECT migrate_start('shop', 'odd', target => 'etl.trap', if_exists => 'append'); SELECT public.migrate_wait())) , qr/does not exist/, 'public is not in this search_path');
my $odd = as('etl', q(SELECT public.migrate_start('shop', 'odd', target => 'etl.trap', if_exists => 'append', on_error => 'extra')));
is(as('etl', "SELECT public.migrate_wait($odd)"), 'completed', 'nobody is trapped');
is(sql('SELECT count(*), min(who), max(who), min(session), max(session), max(super), bool_and(sprung) FROM etl.trap'), '900|etl|etl|etl|etl|off|t',
	'defaults see the role, and cannot become another');
sql('ALTER ROLE etl RESET search_path');

# ---------------------------------------------------------------------------
# Who sees what
# ---------------------------------------------------------------------------

sql('SET client_min_messages = error; SELECT ' . "migrate_start('shop', 'odd', target => 'closed.odd')") =~ /(\d+)/ and my $superusers = $1;
sql("SELECT migrate_wait($superusers)");
my $mine = sql(q(SELECT count(*) FROM migrate_jobs WHERE owner = 'etl'));
is(as('etl', 'SELECT count(*), min(owner), max(owner) FROM migrate_jobs'), "$mine|etl|etl", 'own jobs only');
is(as('colleague', 'SELECT count(*), min(owner), max(owner) FROM migrate_jobs'), "$mine|etl|etl", 'or those of a role one is a member of');
is(as('colleague', 'SELECT count(*) > 0, count(source_id) > 0, count(document) > 0 FROM migrate_errors'), 't|t|t', 'with documents');
my $letter = sql("SELECT min(error_id) FROM migrate_errors WHERE job_id = $odd");
my @views = qw(progress workers jobs errors conflicts events stat_job stat_table stat_worker);
is(as('stranger', "SELECT count(*) FROM migrate_$_"), 0, "a stranger sees nothing in migrate_$_") foreach @views;
foreach my $call ("migrate_wait($odd)", "migrate_mapping($odd)", "migrate_summary($odd)", "migrate_pause($odd)", "migrate_resume($odd)", "migrate_retry($odd)",
	"migrate_cancel($odd)", "migrate_forget($odd)", "migrate_alter($odd, workers => 1)", "migrate_replay($odd)",
	"migrate_discard(ARRAY[$letter])")
{
	like(as('stranger', "SELECT $call"), qr/ERROR:  permission denied for migration job $odd\nDETAIL:  It belongs to role "etl"/, "nor has he a say: $call");
}
# A cheap function in a condition would see rows before the filter does, if the views let it.
sql('GRANT CREATE ON SCHEMA public TO stranger');
my $super = getpwuid $<;
as('stranger', q(CREATE FUNCTION public.migrate_wait(bigint, text) RETURNS text LANGUAGE plpgsql AS $$BEGIN RAISE 'taken in'; END$$;
	CREATE FUNCTION public.migrate_wait(bigint, interval) RETURNS text LANGUAGE plpgsql AS $$BEGIN RAISE 'taken in'; END$$));
unlike(as($super, "CALL migrate_run('$uri', 'orders', target => 'ran')"), qr/ERROR/, 'migrate_run calls our functions alone');
sql('DROP FUNCTION public.migrate_wait(bigint, text); DROP FUNCTION public.migrate_wait(bigint, interval)');
as('stranger', q(CREATE FUNCTION public.peep(t text) RETURNS boolean LANGUAGE plpgsql COST 0.0000001 AS $$BEGIN RAISE NOTICE 'saw %', t; RETURN true; END$$));
foreach my $column (map { "migrate_$_" } 'errors:message', 'errors:path', 'jobs:source', 'events:message', 'conflicts:path', 'stat_table:target', 'progress:target')
{
	my ($view, $name) = split /:/, $column;
	my $seen = '';
	$node->psql('postgres', "SELECT * FROM $view WHERE public.peep($name)", stderr => \$seen, extra_params => ['-U', 'stranger']);
	is($seen, '', "nor by a function of his in a condition on $view");
}

is(as('watcher', "SELECT count(*) FROM migrate_jobs WHERE owner IN ('etl', 'postgres')") > 1, 1, 'pg_read_all_stats: all jobs');
is(as('watcher', "SELECT count(*) > 0, count(source_id), count(document), count(message) > 0 FROM migrate_errors WHERE job_id = $odd"), 't|0|0|t', 'but no documents');
is(as('watcher', "SELECT count(*) > 0, count(first_id) FROM migrate_conflicts WHERE job_id = $odd"), 't|0', 'nor their keys');
my ($run) = start_load('shop');
is(as('watcher', "SELECT count(*) > 0, count(last_id) FROM migrate_workers WHERE job_id = $run"), 't|0', 'nor where a loader is');
is(as('etl', "SELECT count(*) > 0 AND count(last_id) > 0 FROM migrate_workers WHERE job_id = $run"), 't', 'as its owner does');
is(as('watcher', "SELECT count(*) FROM migrate_progress"), 1, 'and the progress');
unlike(join("\n", map { as('watcher', "SELECT * FROM migrate_$_") } @views), qr/secret-\d/, 'no document shows in any view');
foreach my $call ("migrate_pause($run)", "migrate_cancel($run)", "migrate_alter($run, workers => 1)")
{
	like(as('watcher', "SELECT $call"), qr/permission denied for migration job $run/, "and he may not $call");
}

# ---------------------------------------------------------------------------
# Who steers what
# ---------------------------------------------------------------------------

is(as('operator', "SELECT migrate_alter($run, max_docs_per_second => 2000)"), '', 'pg_signal_backend: alter');
like(as('operator', "SELECT migrate_pause($run)"), qr/^paus/, 'pause');
wait_state($run, 'paused');
is(as('operator', "SELECT migrate_resume($run)"), 'queued', 'resume');
wait_state($run, 'running');
like(as('operator', "SELECT migrate_cancel($run, drop_target => true)"), qr/permission denied to drop the target of migration job $run\nDETAIL:  It belongs to role "etl"/, 'not: drop the target');
like(as('operator', "SELECT migrate_cancel($run)"), qr/^cancel/, 'cancel');
wait_state($run, 'canceled');
is(sql(qq(SELECT count(*) FROM pg_class WHERE oid = 'etl.run1'::regclass)), 1, 'which keeps the table');
like(as('operator', "SELECT migrate_forget($odd)"), qr/permission denied for migration job $odd/, 'not: forget, since the rejected documents would go with it');
like(as('operator', "SELECT migrate_discard(ARRAY(SELECT error_id FROM mongo_migrate.dead_letter))"), qr/permission denied/, 'not: discard');
like(as('operator', "SELECT migrate_discard(ARRAY[$letter])"), qr/permission denied for migration job $odd/, 'by number, either');
my $root = sql(qq(SET client_min_messages = error; SELECT migrate_start('shop', 'narrow', target => 'closed.narrow', workers => 1, options => '{"max_docs_per_second": 1000}')));
wait_state($root, 'running');
foreach my $call ("migrate_pause($root)", "migrate_cancel($root)", "migrate_alter($root, workers => 1)")
{
	like(as('operator', "SELECT $call"), qr/permission denied for migration job $root/, "not those of superusers: $call");
}
sql("SELECT migrate_cancel($root)");
($run) = start_load('shop');
like(as('colleague', "SELECT migrate_pause($run)"), qr/^paus/, 'a member of the owner: pause');
wait_state($run, 'paused');
is(as('colleague', "SELECT migrate_cancel($run, drop_target => true)"), 'canceled', 'and cancel, with the table');
is(sql(q(SELECT to_regclass('etl.run2') IS NULL)), 't', 'which is gone');

# ---------------------------------------------------------------------------
# F24: what is lost while a job runs
# ---------------------------------------------------------------------------

my ($losses, $slowest) = (0, 0);

sub lose
{
	my ($name, $loss, $reason, $gain, $source, $checkpoint) = @_;
	my ($lost, $table) = start_load($source // 'shop', $checkpoint);
	$loss =~ s/TABLE\?/$table/g;
	sql($loss);
	my $began = time();
	ok(wait_state($lost, 'failed', 15), "$name: the job fails") or diag(sql('SELECT * FROM migrate_jobs; SELECT * FROM migrate_events'));
	my $seconds = time() - $began;
	cmp_ok($seconds, '<', 10, sprintf '%s: within %.1f s', $name, $seconds);
	$losses++;
	$slowest = $seconds if $seconds > $slowest;
	my $out = '';
	$node->psql('postgres', "SELECT migrate_wait($lost)", stderr => \$out);
	like($out, $reason, "$name: and says why");
	is(sql("SELECT count(*) FROM mongo_migrate.chunk WHERE job_id = $lost AND state = 'running'"), 0, "$name: no chunk is left running");
	sql($gain) if $gain;
	return $lost;
}

# Nobody waits for the end of a checkpoint, which is ten minutes away; but DROP OWNED does, since it locks the table.
lose('REVOKE INSERT', 'REVOKE INSERT ON TABLE? FROM etl', qr/ERROR:  permission denied for table run\d/);
lose('REVOKE USAGE', 'REVOKE USAGE ON FOREIGN SERVER shop FROM etl', qr/ERROR:  permission denied for foreign server shop/,
	'GRANT USAGE ON FOREIGN SERVER shop TO etl');
lose('DROP USER MAPPING', 'DROP USER MAPPING FOR PUBLIC SERVER shop', qr/ERROR:  user mapping not found for "etl", server "shop"/,
	'CREATE USER MAPPING FOR PUBLIC SERVER shop');
sql('GRANT USAGE ON FOREIGN DATA WRAPPER mongo_migrate TO etl');
lose('REVOKE on the wrapper', 'REVOKE USAGE ON FOREIGN DATA WRAPPER mongo_migrate FROM etl', qr/ERROR:  permission denied for foreign-data wrapper mongo_migrate/,
	'GRANT USAGE ON FOREIGN DATA WRAPPER mongo_migrate TO etl', $uri);
# Since 17 workers run as a role that may not log in, too.
lose('NOLOGIN', 'ALTER ROLE etl NOLOGIN', qr/ERROR:  migration job \d+ cannot run as its owner\nDETAIL:  Its owner, role "etl", may not log in/, 'ALTER ROLE etl LOGIN')
	if sql('SHOW server_version_num') < 170000;
lose('REVOKE CONNECT', 'REVOKE CONNECT ON DATABASE postgres FROM PUBLIC', qr/ERROR:  migration job \d+ cannot run as its owner\nDETAIL:  Its owner, role "etl", may not connect to this database/,
	'GRANT CONNECT ON DATABASE postgres TO PUBLIC');
my $orphan = lose('DROP ROLE', 'REASSIGN OWNED BY etl TO CURRENT_USER; DROP OWNED BY etl; DROP ROLE etl',
	qr/ERROR:  (migration job \d+ cannot run as its owner\nDETAIL:  Its owner, the role with OID \d+, does not exist any more|permission denied)/, undef, undef, '1s');
is(sql("SELECT owner LIKE 'unknown%' FROM migrate_jobs WHERE job_id = $orphan"), 't', 'the job is still in the history');
like(as('operator', "SELECT migrate_retry($orphan)"), qr/ERROR:  migration job $orphan cannot run as its owner\nDETAIL:  Its owner, the role with OID \d+, does not exist any more/,
	'a retry says why not');
is(sql("SELECT migrate_forget($orphan)"), 't', 'and a superuser may forget it');
ok(wait_for(sub { sql(q(SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'mongo_migrate%')) eq '0' }, 20), 'no worker is left');
note sprintf 'figure: F24 role dropped, rights revoked (%d ways): failed with the reason within %.1f s', $losses, $slowest;

# ---------------------------------------------------------------------------
# Hosts
# ---------------------------------------------------------------------------

sql(q(CREATE ROLE etl LOGIN; GRANT CREATE, USAGE ON SCHEMA etl TO etl; GRANT USAGE ON FOREIGN SERVER shop TO etl; GRANT USAGE ON FOREIGN DATA WRAPPER mongo_migrate TO etl));

sub reach
{
	my ($role, $source) = @_;
	my $patience = $source =~ /\b$port\b|^shop$/ ? '10s' : '500ms';
	return as($role, "SET mongo_migrate.connect_timeout = '$patience'; SELECT count(*) FROM migrate_list_collections('$source')");
}

sub allow
{
	my ($hosts) = @_;
	sql("LOAD 'mongo_migrate'; ALTER SYSTEM SET mongo_migrate.allowed_hosts = '$hosts'");
	$node->reload;
	wait_for(sub { sql("LOAD 'mongo_migrate'; SHOW mongo_migrate.allowed_hosts") eq $hosts }, 10) or die 'not reloaded';
	return;
}

foreach my $host ('169.254.169.254', '[fe80::1]', '[::ffff:169.254.169.254]', '169.254.0.1')
{
	like(reach('etl', "mongodb://$host/shop"), qr/ERROR:  permission denied to connect to MongoDB server .*\nDETAIL:  .* is a link-local address\.\nHINT:  Connections to link-local addresses are for superusers only/,
		"$host is refused");
	like(reach($super, "mongodb://$host/shop"), qr/ERROR:  could not connect to MongoDB server/, 'but tried for a superuser');
}
my $socket = '%2Ftmp%2Fmongodb-no-such.sock';
like(reach('etl', "mongodb://$socket/shop"), qr{ERROR:  permission denied to connect to MongoDB at "/tmp/mongodb-no-such.sock"}, 'a socket in the file system is refused');
like(reach($super, "mongodb://$socket/shop"), qr/ERROR:  could not connect to MongoDB server/, 'but tried for a superuser');
is(reach('etl', $uri), 3, 'other hosts are not');

allow('*.example.net');
like(reach('etl', $uri), qr/ERROR:  permission denied to connect to MongoDB at "127.0.0.1:$port"\nDETAIL:  It is not in mongo_migrate.allowed_hosts.\nHINT:  An administrator can add it: ALTER SYSTEM/,
	'a host that is not listed');
like(reach('etl', 'shop'), qr/permission denied to connect to MongoDB at "127.0.0.1:$port"/, 'also by a server');
like(as('etl', q(SELECT item, status FROM migrate_ping('shop'))), qr/permission denied to connect/, 'also for migrate_ping');
is(reach($super, $uri), 3, 'superusers are not meant');
like(reach('etl', "mongodb://db1.example.net,127.0.0.1:$port/shop"), qr/permission denied to connect to MongoDB at "127.0.0.1:$port"/, 'each host of the string counts');
like(reach('etl', 'mongodb://db1.example.net.evil.org/shop'), qr/permission denied to connect to MongoDB at "db1.example.net.evil.org:27017"/, 'the whole name does');
like(reach('etl', 'mongodb://DB1.Example.Net/shop'), qr/ERROR:  could not connect to MongoDB server/, 'case does not');
foreach my $hosts ("127.0.0.1:$port", '127.0.0.1', '127.0.0.0/8', '*', "db1.example.net, 127.0.0.0/8:$port", '[::1], 127.0.0.1/32')
{
	allow($hosts);
	is(reach('etl', $uri), 3, "$hosts allows it");
}
foreach my $hosts ('127.0.0.1:1', '127.0.0.2', '10.0.0.0/8', '127.0.0.2/31', '::/0', '/tmp/x.sock', 'localhost')
{
	allow($hosts);
	like(reach('etl', $uri), qr/ERROR:  permission denied to connect to MongoDB/, "$hosts does not");
}
# Names by the addresses they have, and servers that a server names.
allow('127.0.0.0/8');
is(reach('etl', "mongodb://localhost:$port/shop?directConnection=true"), 3, 'a name is allowed by its address');
allow('10.0.0.0/8');
like(reach('etl', "mongodb://localhost:$port/shop?directConnection=true"),
	qr/ERROR:  permission denied to connect to MongoDB server .*\nDETAIL:  The address of localhost:$port is not in mongo_migrate.allowed_hosts.\nHINT:  An administrator/, 'and refused by it');
allow('localhost');
is(reach('etl', "mongodb://localhost:$port/shop?directConnection=true"), 3, 'a name');
like(reach('etl', "mongodb://localhost:$port/shop?replicaSet=rs0"),
	qr/ERROR:  permission denied to connect to MongoDB server .*\nDETAIL:  127.0.0.1:$port is not in mongo_migrate.allowed_hosts/, 'does not allow the servers that it names');
allow("localhost, 127.0.0.1:$port");
is(reach('etl', "mongodb://localhost:$port/shop?replicaSet=rs0"), 3, 'unless they are listed, too');
allow('169.254.0.0/16');
like(reach('etl', 'mongodb://169.254.169.254/shop'), qr/is a link-local address/, 'link-local addresses cannot be listed');
foreach my $hosts ('127.0.0.0/8', '*', '/tmp/mongodb-no-such.sock')
{
	allow($hosts);
	like(reach('etl', 'mongodb://..%2F..%2F..%2Ftmp%2Fmongodb-no-such.sock/shop'), qr/ERROR:  permission denied to connect to MongoDB at "\.\./, "$hosts: a path that is relative does not pass");
}
allow('/tmp/mongodb-no-such.sock');
like(reach('etl', "mongodb://$socket/shop"), qr/ERROR:  could not connect to MongoDB server/, 'a socket can');

# A job meets the rule when it connects.
allow('127.0.0.1');
$job = as('etl', q(SET client_min_messages = error; SELECT migrate_start('shop', 'narrow', target => 'etl.ruled', workers => 1, options => '{"max_docs_per_second": 1000}')));
wait_state($job, 'running');
as('etl', "SELECT migrate_pause($job)");
wait_state($job, 'paused');
allow('10.0.0.0/8');
as('etl', "SELECT migrate_resume($job)");
ok(wait_state($job, 'failed', 15), 'a job whose host is not allowed any more fails');
like(as('etl', "SELECT migrate_wait($job)"), qr/ERROR:  permission denied to connect to MongoDB/, 'and says why');
# Before the library is loaded, a connection may ask for any value.
{
	local $ENV{PGOPTIONS} = '-c mongo_migrate.allowed_hosts=*';
	like(reach('etl', $uri), qr/ERROR:  permission denied to connect to MongoDB/, 'the rule is not to be set by a connection');
	$ENV{PGOPTIONS} = q(-c mongo_migrate.allowed_hosts=127.0.0.1\ );
	like(reach('etl', $uri), qr/ERROR:  permission denied to connect to MongoDB/, 'whatever it asks for');
	$ENV{PGOPTIONS} = q(-c mongo_migrate.allowed_hosts=);
	like(reach('etl', $uri), qr/ERROR:  permission denied to connect to MongoDB/, 'nothing, too');
}
sql("LOAD 'mongo_migrate'; ALTER SYSTEM RESET mongo_migrate.allowed_hosts");
$node->append_conf('postgresql.conf', "mongo_migrate.allowed_hosts = '127.0.*'");
$node->reload;
ok(wait_for(sub { reach('etl', $uri) =~ /permission denied to connect/ }, 10), 'a rule that is none allows no host');
$node->append_conf('postgresql.conf', "mongo_migrate.allowed_hosts = '127.0.0.0/8'");
$node->reload;
ok(wait_for(sub { reach('etl', $uri) eq '3' }, 10), 'until it is corrected');
allow('');

# No scanning of ports: a coarse reason for the role, the details to the log.
my $coarse = reach('etl', 'mongodb://127.0.0.1:1/shop');
like($coarse, qr/ERROR:  could not connect to MongoDB server "127.0.0.1:1"\nDETAIL:  The server could not be reached/, 'a refused connection');
is(reach('etl', 'mongodb://no-such-host.invalid:1/shop') =~ s/no-such-host.invalid/127.0.0.1/r, $coarse, 'looks like a name that is unknown');
like(slurp_file($node->logfile), qr/Connection refused by 127.0.0.1:1/, 'the log knows better');

# ---------------------------------------------------------------------------
# Files and the identity of the machine
# ---------------------------------------------------------------------------

my @options = ('tlsCAFile=/etc/passwd', 'tlsCertificateKeyFile=/etc/passwd', 'tlsCertificateKeyFilePassword=x', 'tlsInsecure=true', 'tlsAllowInvalidCertificates=true',
	'tlsAllowInvalidHostnames=true', 'sslCertificateAuthorityFile=/etc/passwd', 'sslClientCertificateKeyFile=/etc/passwd', 'sslClientCertificateKeyPassword=x',
	'sslAllowInvalidCertificates=true', 'sslAllowInvalidHostnames=true', 'TLSCAFILE=/etc/passwd', 'compressors=zlib', 'authMechanism=GSSAPI&authSource=$external',
	'authMechanism=MONGODB-AWS&authSource=$external', 'authmechanism=MONGODB%2DAWS');
foreach my $option (@options)
{
	my $string = "mongodb://user\@127.0.0.1:$port/shop?$option";
	like(reach('etl', $string), qr/ERROR:  permission denied to use (option|authentication mechanism)/, "$option in a string is for superusers");
	like(as('etl', "CREATE SERVER bad FOREIGN DATA WRAPPER mongo_migrate OPTIONS (uri '$string')"), qr/ERROR:  (permission denied to use|password is not allowed)/, 'also in that of a server');
}
like(reach('etl', "mongodb://127.0.0.1:$port/shop?authMechanism=MONGODB-OIDC"), qr/ERROR:  (permission denied to use authentication mechanism|invalid MongoDB connection string)/, 'MONGODB-OIDC');
like(reach('etl', "mongodb://127.0.0.1:$port/shop?tls%43AFile=/etc/passwd"), qr/ERROR:  invalid MongoDB connection string/, 'an encoded name of an option does not pass');
# The driver would find other parts in it than we do.
like(reach('etl', $_), qr/ERROR:  invalid MongoDB connection string\nDETAIL:  There is a backslash\.\nHINT:  Write "\\" as %5C/, "a backslash: $_")
  foreach "mongodb://127.0.0.1:$port,x\\?appName=a/?compressors=zlib", "mongodb://127.0.0.1:$port/shop?appName=a\\&tlsCAFile=/etc/passwd", 'mongodb://bob\\:secret@127.0.0.1/';
like(reach($super, 'mongodb://127.0.0.1/?tlsCertificateKeyFilePassword=first1&sslClientCertificateKeyPassword=second2'),
	qr/\A(?!.*(?:first1|second2)).*DETAIL:  An option is given under two names/s, 'secrets under two names are not shown');
like(reach('etl', "mongodb://127.0.0.1:$port/shop?tls=false;tlsCAFile=/etc/passwd"), qr/ERROR:  invalid MongoDB connection string/, 'nor does another separator');
like(as('etl', "CREATE SERVER bad FOREIGN DATA WRAPPER mongo_migrate OPTIONS (uri '$uri', tls_ca_file '/etc/passwd')"), qr/ERROR:  permission denied to set option "tls_ca_file"/, 'tls_ca_file of a server');
like(as('etl', "CREATE SERVER bad FOREIGN DATA WRAPPER mongo_migrate OPTIONS (uri '$uri', compressors 'zlib')"), qr/ERROR:  permission denied to set option "compressors"/, 'compressors of a server');
foreach my $option ("tls_certificate_key_file '/etc/passwd'", "tls_certificate_key_file_password 'x'", "password_file '/etc/passwd'")
{
	my ($name) = $option =~ /(\w+)/;
	like(as('etl', "CREATE USER MAPPING FOR etl SERVER shop OPTIONS ($option)"), qr/ERROR:  permission denied to set option "$name"/, "$name of a user mapping");
}
foreach my $mechanism ('GSSAPI', 'MONGODB-AWS')
{
	like(as('etl', "CREATE USER MAPPING FOR etl SERVER shop OPTIONS (auth_mechanism '$mechanism')"), qr/ERROR:  permission denied to use authentication mechanism "$mechanism"/, "$mechanism of a user mapping");
}
is(as('etl', "CREATE SERVER own FOREIGN DATA WRAPPER mongo_migrate OPTIONS (uri '$uri')"), '', 'a server without such options');
like(as('etl', q(ALTER SERVER own OPTIONS (ADD tls_ca_file '/etc/passwd'))), qr/ERROR:  permission denied to set option "tls_ca_file"/, 'which cannot get one later');
# A superuser may offer one to all.
my $file = PostgreSQL::Test::Utils::tempdir() . '/password';
append_to_file($file, "sentinel\n");
is(as($super, "CREATE USER MAPPING FOR etl SERVER shop OPTIONS (username 'u', password_file '$file')"), '', 'a superuser may name a file for a role');
unlike(as('etl', q(SELECT umoptions FROM pg_user_mappings WHERE usename = 'etl')), qr/sentinel/, 'whose contents do not show');

done_testing();
