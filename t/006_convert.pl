# The converter without a server of MongoDB: jsonb and tuples byte for byte as
# PostgreSQL itself builds them, and damaged documents.  Needs the module of
# t/module, named without its suffix in MM_TEST_MODULE.
use strict;
use warnings;

use MongoTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $module = $ENV{MM_TEST_MODULE} or die 'MM_TEST_MODULE is not set: run make check';
my $seed = $ENV{SEED} // time;
my $node = MongoTest::node('convert');

(my $sql = slurp_file("$ENV{MM_ROOT}/t/module/mm_test.sql")) =~ s/:'module'/'$module'/g;
$node->safe_psql('postgres', $sql);
diag("seed $seed");

# BSON from pairs of a name and a value with its type.
sub document
{
	my $elements = '';
	while (my ($name, $value) = splice @_, 0, 2)
	{
		$elements .= substr($value, 0, 1) . "$name\0" . substr($value, 1);
	}
	return pack('V', length($elements) + 5) . "$elements\0";
}

sub string { return "\x02" . pack('V', length($_[0]) + 1) . "$_[0]\0"; }
sub int32 { return "\x10" . pack 'V', $_[0]; }
sub object { return "\x03" . document(@_); }
sub array { my $i = 0; return "\x04" . document(map { ($i++, $_) } @_); }

# result, duplicates, altered, fault, bson_type, path
sub report
{
	my ($bson, $invalid_text) = @_;
	return $node->safe_psql('postgres', sprintf q(SELECT * FROM mmtest_jsonb_report('\x%s', 'simple', '%s')),
		unpack('H*', $bson), $invalid_text);
}

is(report(document(b => int32(1), a => int32(2), b => int32(3)), 'reject'), '{"a": 2, "b": 3}|1|0|||',
	'of a key that is there twice the last value stays, and that is counted');
is(report(document(o => object(a => int32(1), '' => int32(2), a => int32(3), a => array())), 'reject'),
	'{"o": {"": 2, "a": []}}|2|0|||', 'in embedded documents too');
is(report(document("x\xff" => string("y\0z"), x => int32(1)), 'strip'), '{"x": 1}|1|1|||', 'a key that becomes another by strip');
is(report(document("x\xff" => string("y\0z"), x => int32(1)), 'replace'), "{\"x\": 1, \"x\xef\xbf\xbd\": \"y\xef\xbf\xbdz\"}|0|2|||",
	'and not by replace');
is(report(document(a => int32(1), b => object('c.d' => array(string('x'), string("\xff"))), e => string("\0")), 'reject'),
	'|0|0|invalid|string|b."c.d"[]', 'the first text that is refused, with its path');
is(report(document(b => string("\0"), aa => int32(1), b => string('')), 'reject'), '|1|0|nul|string|b',
	'also in a value that a later one replaces');
is(report(document(a => object("\xff" => object())), 'reject'), "|0|0|invalid|string|a.\xef\xbf\xbd", 'a key that is refused');

is($node->safe_psql('postgres', 'SELECT mmtest_texts(70)'), 70 * 71 / 2 * 256, 'texts with any byte anywhere are judged alike');
is($node->safe_psql('postgres', "SELECT mmtest_jsonb_equal($seed, 100000)"), 100000,
	'random documents: the same bytes as the server makes');
cmp_ok($node->safe_psql('postgres', 'SELECT mmtest_jsonb_largest()'), '<', 0x0fffffff, 'the largest document has a jsonb');

my ($rows, $own) = split /\|/, $node->safe_psql('postgres', "SELECT * FROM mmtest_tuples_equal($seed, 1000)");
is($rows, 80000, 'random rows: the same tuples as the server forms');
cmp_ok($own, '>', 20000, "most of them ($own) without heap_form_tuple()");
cmp_ok($own, '<', 80000, 'but for what is out of line or too large');

like($node->safe_psql('postgres', "SELECT * FROM mmtest_fuzz($seed, 20000, 600)"), qr/^20000\|[1-9]\d{3,}\|[1-9]\d{3,}$/,
	'damaged documents are stored or rejected');

is(MongoTest::self_test($node), '', 'the comparison of the other tests expects what is right');

done_testing();
