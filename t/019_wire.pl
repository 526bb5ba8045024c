# Replies that are well-formed and yet nothing that the driver can bear, what
# mongos is told about consistency, and limits of time.
use strict;
use warnings;

use FaultTest ();
use MongoTest qw(wait_for);
use PostgreSQL::Test::Utils;
use Proxy;
use Test::More;
use Time::HiRes qw(time);

MongoTest::plain(0);
my $mongo = MongoTest->new;
my $node = MongoTest::node('wire');
my $proxy = Proxy->new($mongo);
my $uri = $proxy->uri('shop');
$mongo->python(q(client.shop.orders.insert_many([{'_id': i, 'addr': {'street': 'a', 'no': i}} for i in range(100)])));

sub sql { my ($sql) = @_; return $node->safe_psql('postgres', $sql); }

sub try_sql
{
	my ($sql) = @_;
	my ($out, $err) = ('', '');
	$node->psql('postgres', $sql, stdout => \$out, stderr => \$err);
	return $err =~ /ERROR/ ? $err : $out;
}

# ---------------------------------------------------------------------------
# Values
# ---------------------------------------------------------------------------

# In the first reply to a client, and in one to a command.
my @commands = ("SELECT count(*) FROM migrate_list_collections('$uri')", "SELECT count(*) FROM migrate_peek('$uri', 'orders', 3)");
foreach my $kind (qw(code code_wide code_inside members_port members_colons members_empty members_bracket members_long members_number
	members_many concern_error compressors speculative iterations iterations_first iterations_8 iterations_7))
{
	foreach my $minimum (0, 1000)
	{
		$proxy->tell("damage $kind $minimum");
		my $answer = try_sql($minimum ? $commands[1] : $commands[0]);
		like($answer, qr/ERROR:  (?:could not connect to|lost connection to) MongoDB server .*\nDETAIL:  127\.0\.0\.1:\d+ sent a malformed message/, "$kind, in a reply of $minimum bytes or more");
		$proxy->tell('pass');
	}
}
# The connection ends with the statement, not with the session.
foreach my $kind (qw(members login))
{
	$proxy->tell("damage $kind");
	my $session = FaultTest::Session->new($node, $commands[0]);
	like($session->{out}, qr/^1$/m, "$kind that are sound pass");
	ok(wait_for(sub { (split / /, $proxy->tell('count'))[0] == 0 }, 20), 'and the connection is closed');
	$session->end;
	$proxy->tell('pass');
}
unlike(slurp_file($node->logfile), qr/terminated by signal/, 'no process has crashed');

# ---------------------------------------------------------------------------
# Limits of time
# ---------------------------------------------------------------------------

my $direct = $mongo->uri('shop');
my $longest = 2147483647;
is(try_sql("SET mongo_migrate.connect_timeout = $longest; SELECT count(*) FROM migrate_list_collections('$direct')"), 1, 'the longest connect_timeout');
is(try_sql("SELECT count(*) FROM migrate_list_collections('$direct&connectTimeoutMS=$longest&socketTimeoutMS=$longest')"), 1, 'also in a connection string');
like(try_sql("SET mongo_migrate.connect_timeout = $longest; SELECT count(*) FROM migrate_list_collections('mongodb://127.0.0.1:1/shop')"), qr/ERROR:  could not connect to MongoDB server/, 'a port where nobody listens');
unlike(slurp_file($node->logfile), qr/terminated by signal/, 'no process has crashed');

# ---------------------------------------------------------------------------
# The read concern
# ---------------------------------------------------------------------------

# What the reads of a statement ask for, as the server's profile has it.
sub concerns
{
	my ($source) = @_;
	$mongo->python(q(client.shop.command('profile', 0); client.shop.system.profile.drop(); client.shop.command('profile', 2)));
	is(try_sql("SELECT count(*) FROM migrate_peek('$source', 'orders', 100)"), 100, 'documents are read') or return;
	return $mongo->python(<<'PY');
client.shop.command('profile', 0)
found = {(e['command'].get('readConcern') or {}).get('level', 'none')
    for e in client.shop.system.profile.find({'ns': 'shop.orders'}) if 'find' in e['command'] or 'aggregate' in e['command']}
print(','.join(sorted(found)))
PY
}

sub set_default { my ($level) = @_; return $mongo->python("client.admin.command('setDefaultRWConcern', 1, defaultReadConcern={'level': '$level'})"); }

my $version = $mongo->python(q(print(client.server_info()['versionArray'][0])));
is(concerns($uri), 'none', 'a member of a replica set is left to its default');
is(concerns("$uri&readConcernLevel=majority"), 'majority', 'the connection string is obeyed');
$proxy->tell('mongos');
is(concerns($uri), $version < 5 ? 'local' : 'none', "mongos, nothing set (MongoDB $version)");
set_default('available');
is(concerns($uri), 'local', 'mongos is told "local" where "available" is the default');
is(concerns("$uri&readConcernLevel=available"), 'available', 'unless the connection string says so');
set_default('majority');
is(concerns($uri), 'none', 'a better default is left alone');
set_default('local');
$proxy->tell('pass');

# Who is not told the default, as a user with role "read" is not: a standalone
# server does not know the command.
my $alone = MongoTest->new(standalone => 1);
$alone->python(q(client.shop.orders.insert_many([{'_id': i} for i in range(100)])));
my $before = Proxy->new($alone);
$before->tell('mongos');
($mongo, $alone) = ($alone, $mongo);
is(concerns($before->uri('shop')), $version < 5 ? 'local' : 'none', 'where the default is not told, it is that of the version');
($mongo, $alone) = ($alone, $mongo);

# ---------------------------------------------------------------------------
# A filter in a mapping
# ---------------------------------------------------------------------------

sub filtered
{
	my ($filter) = @_;
	my $mapping = qq({"format": 1, "source": {"filter": $filter}, "fields": [{"path": "_id", "column": "_id", "type": "bigint", "not_null": true}]});
	return try_sql("SET client_min_messages = error; SELECT count(migrate_start('$direct', 'orders', if_exists => 'replace', mapping => \$\$$mapping\$\$));
		SELECT migrate_wait(); SELECT count(*) FROM orders");
}

my $lost = qr/ERROR:  invalid mapping: "source\.filter" compares an embedded document of several fields\nDETAIL:  MongoDB compares it in the order .*\nHINT:  Write the filter as a string/;
like(filtered($_), $lost, "the order of fields is lost: $_")
  foreach '{"addr": {"street": "a", "no": 7}}', '{"addr": {"$in": [{"street": "a", "no": 7}]}}', '{"$or": [{"_id": 1}, {"addr": {"$eq": {"street": "a", "no": 7}}}]}',
  '{"link": {"$ref": "x", "$id": 1}}', '{"list": [{"street": "a", "no": 7}]}';
is(filtered('"{\"addr\": {\"street\": \"a\", \"no\": 7}}"'), "1\ncompleted\n1", 'a string keeps it');
is(filtered('{"addr": {"no": 7, "street": "a"}}'), filtered('{"addr": {"street": "a", "no": 7}}'), 'whatever was written');
is(filtered('{"_id": {"$gte": 10, "$lt": 20}, "addr.street": "a"}'), "1\ncompleted\n10", 'conditions have no order');
is(filtered('{"$or": [{"_id": 1, "addr.no": 1}, {"_id": {"$in": [2, 3]}, "addr.street": "a"}]}'), "1\ncompleted\n3", 'nor have those of an operator');
is(filtered('{"$expr": {"$and": [{"$gt": ["$_id", {"$switch": {"branches": [{"case": {"$gte": ["$addr.no", 0]}, "then": 95}], "default": 0}}]}]}}'), "1\ncompleted\n4", 'nor arguments of an expression');
like(filtered('{"$expr": {"$eq": [{"$cmp": ["$addr", {"street": "a", "no": 7}]}, 0]}}'), $lost, 'a document in an expression has');
like(filtered('{"$expr": {"$eq": ["$addr", {"street": "a", "no": 7}]}}'), $lost, 'but a document in one has');
is(filtered('{"addr": {"$elemMatch": {"street": "a", "no": 7}}}'), "1\ncompleted\n0", 'nor those for an element');

done_testing();
