# Messages that need a real server, a user that must authenticate, and a
# password that never shows.
use strict;
use warnings;

use FaultTest;
use MongoTest qw(wait_for);
use PostgreSQL::Test::Utils;
use Test::More;

my $secret = 'Sentinel5ecret';
my $keyfile = PostgreSQL::Test::Utils::tempdir() . '/key';
append_to_file($keyfile, 'c2VudGluZWwga2V5IG9mIHRoZSB0ZXN0IHN1aXRl');
chmod 0600, $keyfile;
my $mongo = MongoTest->new(arguments => ['--auth', '--keyFile', $keyfile]);
$mongo->python(qq(client.admin.command('createUser', 'migrator', pwd='$secret', roles=['root'])));
my $admin = $mongo->uri('', "migrator:$secret") . '&authSource=admin';
$mongo->python(<<'PY', $admin);
client.shop.orders.insert_many([{'_id': i, 'name': 'n%d' % i} for i in range(30000)])
client.admin.command('createUser', 'nobody', pwd='nothing', roles=[])
PY

my $node = MongoTest::node('messages', log_statement => 'none', log_min_messages => 'debug1', log_min_error_statement => 'panic');
my $with_password = $mongo->uri('shop', "migrator:$secret") . '&authSource=admin';
my $plain = $mongo->uri('shop');

sub error_of
{
	my ($sql) = @_;
	my $err = '';
	$node->psql('postgres', $sql, stderr => \$err);
	return $err;
}

sub sql { my ($sql) = @_; return $node->safe_psql('postgres', $sql); }

sql("CREATE SERVER shop FOREIGN DATA WRAPPER mongo_migrate OPTIONS (uri '$plain');
	CREATE USER MAPPING FOR CURRENT_USER SERVER shop OPTIONS (username 'migrator', password '$secret', auth_source 'admin')");

like(error_of("SELECT migrate_start('shop', 'oders')"), qr/ERROR:  collection "shop.oders" does not exist\nHINT:  Perhaps you meant "orders"/, 'message 13');
my $wrong = $mongo->uri('shop', 'migrator:wrong') . '&authSource=admin';
like(error_of("SELECT migrate_start('$wrong', 'orders')"),
	qr/ERROR:  authentication failed for MongoDB user "migrator" on server "127.0.0.1:\d+"\nDETAIL:  The server rejected the credentials \(database "admin", SCRAM-SHA-256\)/,
	'message 10');
like(error_of("SELECT migrate_start('" . ($mongo->uri('shop', 'nobody:nothing') . '&authSource=admin') . "', 'orders')"),
	qr/may not read|not authorized/, 'message 12, a user without rights');
# The driver would read it from NULL.
sql("CREATE SERVER forgotten FOREIGN DATA WRAPPER mongo_migrate OPTIONS (uri '$plain');
	CREATE USER MAPPING FOR CURRENT_USER SERVER forgotten OPTIONS (username 'migrator', auth_source 'admin')");
like(error_of("SELECT * FROM migrate_peek('forgotten', 'orders')"),
	qr/ERROR:  no password is given for MongoDB user "migrator" on server "forgotten"\nHINT:  ALTER USER MAPPING ... OPTIONS \(ADD password '...'\)/, 'a user without a password');
like(sql(sprintf q(SELECT detail FROM migrate_ping('%s&authSource=admin') WHERE item = 'connect'), $mongo->uri('shop', 'migrator')),
	qr/no password is given for MongoDB user "migrator" on server "127.0.0.1:\d+"\. Put it into the connection string/, 'in a string, too; ping tells what to do');
like(error_of("SELECT migrate_start('mongodb:///tmp/mongodb-27017.sock/shop', 'orders')"),
	qr/ERROR:  invalid MongoDB connection string\nDETAIL:  Invalid host string in URI.\nHINT:  Write hosts as host:port, .* sockets as %2Ftmp/, 'hosts in another form');
MongoTest::plain(0);
like(error_of("SELECT migrate_start('mongodb://127.0.0.1:1/shop', 'orders')"),
	qr/could not connect to MongoDB server "127.0.0.1:1"\nDETAIL:  Connection refused by 127.0.0.1:1.\nHINT:  Check that mongod listens/, 'message 7');
like(error_of("SELECT migrate_start('mongodb://no-such-host.invalid/shop', 'orders')"),
	qr/could not connect to MongoDB server "no-such-host.invalid(:27017)?"\nDETAIL:  Host name "no-such-host.invalid" could not be resolved/, 'message 6');
MongoTest::plain(1);
like(error_of("SELECT migrate_start('mongodb://migrator:$secret\@\@127.0.0.1/shop', 'orders')"),
	qr/invalid MongoDB connection string\nDETAIL:  There is more than one "@"/, 'message 3, with a password in it');

# A load by the named server, and one by a string with a password.
is(sql("SELECT migrate_start('shop', 'orders')"), 1, 'through a server');
is(sql('SELECT migrate_wait(1)'), 'completed', 'with the password of its user mapping');
my $notice = error_of("SELECT migrate_start('$with_password', 'orders', target => 'again')");
like($notice, qr/NOTICE:  the password in the connection string is kept with job 2/, 'a password in a string is accepted with a notice');
is(sql('SELECT migrate_wait(2)'), 'completed', 'and works');
is(sql('SELECT count(*) FROM mongo_migrate.secret'), 0, 'it is gone when the job is complete');
like(sql('SELECT source FROM migrate_jobs WHERE job_id = 2'), qr{^mongodb://migrator:\*\*\*\@127}, 'and masked in the views');

# While a job runs: views, activity, process titles, a dump; then the log.
$node->psql('postgres', "SET mongo_migrate.checkpoint_bytes = '64kB'; SELECT migrate_start('$with_password', 'orders', target => 'third', workers => 1)");
wait_for(sub { sql("SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'mongo_migrate%'") > 0 }, 10);
my $seen = join "\n", map { sql("SELECT * FROM $_") } qw(migrate_progress migrate_workers migrate_jobs migrate_errors migrate_events
	migrate_stat_job migrate_stat_table migrate_stat_worker pg_stat_activity pg_foreign_server);
$seen .= sql('SELECT jsonb_agg(migrate_mapping(job_id)) FROM migrate_jobs');
$seen .= `ps axww -o args`;
my $dump = PostgreSQL::Test::Utils::tempdir() . '/dump.sql';
$node->command_ok(['pg_dump', '-f', $dump, '--exclude-table=nothing', '-N', 'pg_catalog', 'postgres'], 'a dump');
my $dumped = slurp_file($dump);
unlike($dumped =~ s/^CREATE USER MAPPING.*?;$//msgr, qr/$secret/, 'no password in a dump but in the user mapping');
unlike($dumped, qr/COPY mongo_migrate.secret/, 'secrets are not dumped');
sql('SELECT migrate_wait(3)');
unlike($seen, qr/$secret/, 'no password in views, activity, process titles');
unlike(slurp_file($node->logfile), qr/$secret/, 'nor in the server log at debug1');
unlike(error_of("SELECT migrate_start('mongodb://migrator:$secret\@127.0.0.1:1/shop?authSource=admin', 'orders', target => 'x')"), qr/$secret/, 'nor in messages');

# Row security, triggers: what the heap sink refuses.
sql('CREATE TABLE guarded (_id bigint, name text); CREATE FUNCTION noop() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RETURN NEW; END$$;
	CREATE TRIGGER t BEFORE INSERT ON guarded FOR EACH ROW EXECUTE FUNCTION noop()');
like(error_of("SELECT migrate_start('shop', 'orders', target => 'guarded', if_exists => 'append')"),
	qr/cannot load into table "public.guarded"\nDETAIL:  It has triggers/, 'a table with triggers is refused');

# on_error and reject_limit.
$mongo->python(<<'PY', $admin);
client.shop.odd.insert_many([{'_id': i, 'n': i if i % 100 else 'x' * 3} for i in range(1, 3000)])
client.shop.tight.insert_many([{'_id': i, 'n': i} for i in range(3000)])
PY
sql('CREATE TABLE strict (_id bigint, n bigint)');
like(error_of("SELECT migrate_start('shop', 'tight', target => 'strict', if_exists => 'append'); SELECT migrate_wait(4)"), qr/completed|^NOTICE/, 'integers fit');
sql('CREATE TABLE flags (_id bigint, n smallint)');
error_of("SELECT migrate_start('shop', 'tight', target => 'flags', if_exists => 'append')");
is(sql('SELECT migrate_wait(5)'), 'completed', 'smallint where it fits');
$mongo->python(q(client.shop.tight.update_many({'_id': {'$gte': 1500}}, {'$set': {'n': 70000}})), $admin);
sql('CREATE TABLE small (_id bigint, n smallint)');
like(error_of("SELECT migrate_start('shop', 'tight', target => 'small', if_exists => 'append', options => '{\"reject_limit\": 10}'); SELECT migrate_wait(6)"),
	qr/ERROR:  migration job 6 failed: \d+ documents rejected, the limit is 10/, 'the reject limit fails the job');
is(sql('SELECT state FROM migrate_jobs WHERE job_id = 6'), 'failed', 'which is failed');
sql('CREATE TABLE stopped (_id bigint, n smallint)');
like(error_of("SELECT migrate_start('shop', 'tight', target => 'stopped', if_exists => 'append', on_error => 'stop'); SELECT migrate_wait(7)"),
	qr/ERROR:  .*\n.*HINT:  on_error is "stop"/s, 'on_error stop fails at the first');
sql('CREATE TABLE nulls (_id bigint, n smallint)');
error_of("SELECT migrate_start('shop', 'tight', target => 'nulls', if_exists => 'append', on_error => 'set_null')");
is(sql('SELECT migrate_wait(8)'), 'completed', 'on_error set_null');
is(sql('SELECT count(*), count(n) FROM nulls'), '3000|1500', 'keeps the row');
is(sql('SELECT diverted FROM migrate_jobs WHERE job_id = 8'), 1500, 'and counts the value');

# A TRUNCATE when all is copied never ends as complete; a lock keeps the key from being built meanwhile.
$mongo->python(q(client.shop.many.insert_many([{'_id': i, 'name': 'name %d' % i} for i in range(200000)])), $admin);
error_of("SELECT migrate_start('shop', 'many', target => 'cut', workers => 1, options => '{\"max_docs_per_second\": 1000}')");
my $locker = FaultTest::Session->new($node, 'BEGIN; LOCK TABLE cut IN ROW EXCLUSIVE MODE');
sql('SELECT migrate_alter(9, max_docs_per_second => 0)');
ok(wait_for(sub { sql("SELECT phase FROM mongo_migrate.job_table WHERE job_id = 9") eq 'indexing' }, 20), 'all is copied');
sql('SELECT migrate_pause(9)');
$locker->end;
is(sql('SELECT migrate_wait(9)'), 'paused', 'and paused');
sql('TRUNCATE cut; SELECT migrate_resume(9)');
like(error_of('SELECT migrate_wait(9)'), qr/ERROR:  table "public.cut" holds \d+ rows, the migration stored 200000/, 'a truncated target fails the job');
is(sql('SELECT state FROM migrate_jobs WHERE job_id = 9'), 'failed', 'which is failed');

done_testing();
