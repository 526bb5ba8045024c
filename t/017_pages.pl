# Pages of the table: those that a load adds at once, and is not alone with.
use strict;
use warnings;

use IPC::Run;
use MongoTest;
use Test::More;

my $mongo = MongoTest->new;
my $node = MongoTest::node('pages', autovacuum => 'off');
my $uri = $mongo->uri('shop');
MongoTest::plain(0);
$node->safe_psql('postgres', 'CREATE EXTENSION pg_freespacemap');

sub load
{
	my ($collection, $more, $before) = @_;
	return $node->safe_psql('postgres', ($before // '') .
		"SELECT migrate_start('$uri', '$collection', $more); SELECT migrate_wait(timeout => '300 s')");
}

# Pages of a table, those with rows, those that the map of free space has as empty.
sub pages
{
	my ($table) = @_;
	return split /\|/, $node->safe_psql('postgres', qq(SELECT pg_relation_size('$table') / 8192,
		(SELECT count(DISTINCT (ctid::text::point)[0]) FROM $table),
		(SELECT count(*) FROM pg_freespace('$table') WHERE avail > 8000)));
}

# Transactions that are longer than what the server finds pages for by itself.
# A few end with the last page that they have added.
my ($all, $used, $empty);
foreach my $documents (60000, 60100, 60200)
{
	$mongo->generate('narrow', $documents, 'shop.narrow');
	like(load('narrow', q(workers => 1, if_exists => 'replace')), qr/completed/, 'one loader');
	is($mongo->compare($node, 'shop.narrow', 'narrow'), '', 'one loader: table equals collection');
	($all, $used, $empty) = pages('narrow');
	last if $all > $used;
}
cmp_ok($used, '>', 500, "pages with rows: $used");
cmp_ok($all - $used, '>', 0, "some were added ahead: $all");
cmp_ok($all - $used, '<', 64, 'and not many');
cmp_ok($empty, '>=', $all - $used, 'others find them');

# A small table does not get many empty pages: the first that are added are few, where we add them.
$mongo->generate('narrow', 4500, 'shop.small');
like(load('small', 'workers => 1'), qr/completed/, 'a small table');
($all, $used) = pages('small');
cmp_ok($all - $used, '<', $node->pg_version < 16 ? 16 : 64, "a small table: $all pages, $used with rows");

# What one transaction left over is taken by the next.
like(load('narrow', q(workers => 2, if_exists => 'replace'), q(SET mongo_migrate.checkpoint_bytes = '1MB';)), qr/completed/,
	'many transactions');
is($mongo->compare($node, 'shop.narrow', 'narrow'), '', 'many transactions: table equals collection');
($all, $used, $empty) = pages('narrow');
cmp_ok($all - $used, '<', 2 * 64, "many transactions: $all pages, $used with rows");
cmp_ok($empty, '>=', $all - $used, 'many transactions: others find them');

# Pages that are not filled up, and rows that are toasted, which nobody can foresee the size of.
$mongo->python(q(
import random
random.seed(17)
def text(n):
    return random.randbytes(n // 2).hex()
client.shop.long.insert_many([{'_id': i, 'a': text(random.choice([10, 900, 1700])), 'b': 'x' * random.choice([10, 5000]),
                               'c': text(random.choice([20, 20, 20, 3000]))} for i in range(8000)])
));
$node->safe_psql('postgres', 'CREATE TABLE long (_id bigint PRIMARY KEY, a text, b text, c text) WITH (fillfactor = 70)');
like(load('long', q(workers => 1, if_exists => 'append')), qr/completed/, 'toasted rows');
is($mongo->compare($node, 'shop.long', 'long'), '', 'toasted rows: table equals collection');
$node->safe_psql('postgres', 'CREATE TABLE again (LIKE long) WITH (fillfactor = 70); INSERT INTO again SELECT * FROM long');
($all, $used) = pages('long');
my ($copied) = pages('again');
cmp_ok($all, '<=', $copied * 1.2, "toasted rows: $all pages, $copied by INSERT");

# Others insert, too: they try the last page of the file, which is ours.
$mongo->generate('narrow', 300000, 'shop.busy');
like(load('busy', 'workers => 1'), qr/completed/, 'the table for it');
$node->safe_psql('postgres', 'TRUNCATE busy');
my @others = map {
	my $n = $_;
	IPC::Run::start(['psql', '-XAtq', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('postgres'), '-c',
			qq(DO \$\$ BEGIN FOR i IN 1 .. 20000 LOOP INSERT INTO busy (_id) VALUES (format('other $n %s', i)); COMMIT; END LOOP; END \$\$)],
		'<', '/dev/null', '>', \my $out, '2>', \my $err)
} 1 .. 2;
like(load('busy', q(workers => 2, if_exists => 'append', options => '{"verify": "none"}')), qr/completed/, 'with others');
ok($_->finish, 'another has inserted its rows') foreach @others;
is($node->safe_psql('postgres', q(SELECT count(*), count(DISTINCT _id) FROM busy WHERE _id LIKE 'other %')), '40000|40000',
	'all of the rows of others are there');
$node->safe_psql('postgres', q(DELETE FROM busy WHERE _id LIKE 'other %'));
is($mongo->compare($node, 'shop.busy', 'busy'), '', 'with others: table equals collection');

$node->stop;
done_testing();
