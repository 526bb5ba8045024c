# F28: the collection is dropped, renamed or replaced by another of its name
# while it is read: noticed, and never two collections mixed.
use strict;
use warnings;

use FaultTest qw(figure);
use MongoTest qw(wait_for);
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $t = FaultTest->new('collection');

# Two collections of other documents with ids of one range.
sub fill
{
	$t->mongo->python(<<'PY');
for name, text in (('live', 'old'), ('other', 'new')):
    client.shop[name].drop()
    client.shop.gone.drop()
    client.shop[name].insert_many([{'_id': i, 'text': text * 20, 'n': i} for i in range(20000)])
PY
	return;
}

my %faults = (
	dropped => 'client.shop.live.drop()',
	renamed => "client.shop.live.rename('gone')",
	'replaced by a rename' => "client.shop.other.rename('live', dropTarget=True)",
	'replaced by $out' => "list(client.shop.other.aggregate([{'\$out': 'live'}]))",
	'replaced by a view of itself' => "client.shop.live.rename('gone'); client.shop.command('create', 'live', viewOn='gone')",
	'dropped and made again' => "client.shop.live.drop(); client.shop.live.insert_many([{'_id': i, 'text': 'made'} for i in range(30000)])",
);
my @ways = (
	['record', 'the table is new', '"split": "auto"', 'replace'],
	['id', 'the table is new', '"split": "id"', 'replace'],
	['none', 'the table is new', '"split": "none"', 'replace'],
	['id', 'rows of others are there', '"split": "auto"', 'append']);

foreach my $way (@ways)
{
	my ($split, $where, $options, $if_exists) = @$way;
	foreach my $fault (sort keys %faults)
	{
		fill();
		$t->sql(q(CREATE TABLE IF NOT EXISTS live (_id bigint PRIMARY KEY, text text, n bigint, _extra jsonb);
			TRUNCATE live; INSERT INTO live VALUES (-1, 'mine')));
		my $name = "$fault, split \"$split\", $where";
		my $job = $t->start('live', rate => 1000, chunk => '128kB', options => $options, if_exists => $if_exists);
		ok($split eq 'none' ? $t->until(q(SELECT count(*) > 0 FROM migrate_workers WHERE docs > 0)) : $t->copying($job), "$name: it is being read");
		like($t->ask("SELECT split FROM migrate_jobs WHERE job_id = $job"), qr/^$split: /, "$name: in this way");
		# Whoever looks between a drop and the last insert sees something else.
		my @stopped = $fault =~ /again/ ? ($t->pids('loader'), $t->pids('coordinator')) : ();
		kill 'STOP', @stopped;
		$t->mongo->python($faults{$fault});
		kill 'CONT', @stopped;
		my $began = time();
		$t->hurry($job);
		if ($fault =~ /view/ && $split eq 'id' && $if_exists eq 'replace')
		{
			like($t->error_of("SELECT migrate_wait($job)"), qr/ERROR:  cannot split "shop.live" by "id"\nDETAIL:  .*a view has no _id index/, "$name: as was asked for, which a view cannot be");
			is($t->violations($job, state => 'failed', table => 'live'), '', "$name: nothing is left behind");
			next;
		}
		if ($fault =~ /replaced|again/ && $if_exists eq 'replace')
		{
			ok($t->until("SELECT count(*) > 0 FROM migrate_events WHERE job_id = $job AND message LIKE '%begins again from empty'", 20), "$name: begins again");
			is($t->violations($job, collection => 'live'), '', "$name: all of the new collection, nothing of the old one");
			next;
		}
		ok(wait_for(sub { $t->state_of($job) eq 'failed' }, 20), "$name: the job ends");
		my $seconds = time() - $began;
		cmp_ok($seconds, '<=', 5, sprintf '%s: after %.1f s', $name, $seconds);
		like($t->error_of("SELECT migrate_wait($job)"), qr/ERROR:  (?:collection "shop.live" does not exist|"shop.live" .* is not the collection)/,
			"$name: and says so");
		is($t->ask("SELECT count(*) FROM live WHERE text NOT LIKE 'old%' AND _id >= 0"), 0, "$name: no row of another collection");
		is($t->violations($job, state => 'failed', table => 'live'), '', "$name: nothing is left behind");
	}
}
figure('F28', sprintf 'collection dropped, renamed, replaced (%d ways) under %d kinds of splits: failed within 5 s or begun again, 0 rows of two collections',
	scalar keys %faults, scalar @ways);
done_testing();
