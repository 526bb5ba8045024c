# What the fault suite has in common: a mongod with a user whose password is a
# sentinel, a PostgreSQL built with fault points, and the invariants of every
# run.
#
#   my $t = FaultTest->new('points');
#   $t->fill('mixed', 20000);
#   my $job = $t->start('mixed');
#   ... the fault ...
#   is($t->violations($job, crashes => 1), '', 'nothing lost');
#
# The invariants (RELIABILITY in the brief calls them I1 to I11): no document
# lost, none twice, none that is not there, contents equal (compare.py); the
# books close; positions and states only go forward (triggers on our tables
# note what does not); no chunk running, no lock, no worker left; no cursor
# left on mongod; no PANIC and no crash but the fault's own in the log; the
# password nowhere.
package FaultTest;

use strict;
use warnings;

use Exporter 'import';
use MongoTest qw(wait_for);
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

our @EXPORT_OK = qw(long figure);

my $secret = 'Sentinel5ecret';

# make check-faults, and not the short form that is part of make check.
sub long { return $ENV{MM_LONG} ? 1 : 0; }

# What doc/reliability.md quotes.
sub figure
{
	my ($fault, $text) = @_;
	note "figure: $fault $text";
	return;
}

sub new
{
	my ($class, $name, %settings) = @_;
	my $mongo = MongoTest->new;
	$mongo->python("client.admin.command('createUser', 'migrator', pwd='$secret', roles=['root'])");
	my $node = MongoTest::node($name, fsync => 'off', log_statement => 'none', log_min_error_statement => 'panic', %settings);
	my $self = bless {mongo => $mongo, node => $node, log_at => 0, filled => {}}, $class;
	$self->server('shop', $mongo->uri('shop'));
	$self->sql(<<'SQL');
CREATE TABLE audit (what text);
GRANT SELECT ON audit TO PUBLIC;
-- of a position {$recordId: int64}, else NULL
CREATE FUNCTION record_id(bytea) RETURNS bigint LANGUAGE sql STRICT RETURN
	CASE WHEN substr($1, 5, 11) = '\x12' || convert_to('$recordId', 'UTF8') || '\x00' THEN
		(SELECT sum(get_byte($1, 15 + i)::bigint << 8 * i)::bigint FROM generate_series(0, 7) i) END;
CREATE FUNCTION audit_chunk() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	IF OLD.state = 'done' AND NEW.state <> 'done' OR OLD.state = 'pending' AND NEW.state NOT IN ('pending', 'running')
		OR NEW.attempts < OLD.attempts OR NEW.docs_read < OLD.docs_read OR NEW.bytes_read < OLD.bytes_read
		OR OLD.position IS NOT NULL AND NEW.position IS NULL
		OR public.record_id(NEW.position) < public.record_id(OLD.position)
		OR NEW.position IS NOT DISTINCT FROM OLD.position AND NEW.docs_read > OLD.docs_read AND NEW.state <> 'done' THEN
		INSERT INTO public.audit VALUES (format('chunk %s: %s, attempt %s, %s read became %s, attempt %s, %s read',
			NEW.chunk_no, OLD.state, OLD.attempts, OLD.docs_read, NEW.state, NEW.attempts, NEW.docs_read));
	END IF;
	RETURN NEW;
END $$;
CREATE FUNCTION audit_job() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	IF NOT OLD.state || ' ' || NEW.state = ANY ('{queued running,queued paused,queued pausing,queued canceling,queued canceled,queued failed,
		running completed,running failed,running pausing,running paused,running canceling,running canceled,running queued,
		pausing paused,pausing running,pausing canceling,pausing canceled,pausing failed,pausing completed,pausing queued,
		paused queued,paused canceled,canceling canceled,failed queued,failed canceled}')
		AND NEW.state <> OLD.state OR NEW.generation < OLD.generation THEN
		INSERT INTO public.audit VALUES (format('job %s: %s became %s', NEW.job_id, OLD.state, NEW.state));
	END IF;
	RETURN NEW;
END $$;
CREATE TRIGGER audit AFTER UPDATE ON mongo_migrate.chunk FOR EACH ROW EXECUTE FUNCTION audit_chunk();
CREATE TRIGGER audit AFTER UPDATE ON mongo_migrate.job FOR EACH ROW EXECUTE FUNCTION audit_job();
CREATE FUNCTION mm_debug_switch(point text, action text, is_on boolean) RETURNS void STRICT LANGUAGE c
	AS 'mongo_migrate_engine', 'mm_debug_switch';
SQL
	return $self;
}

sub mongo { return $_[0]{mongo}; }
sub node { return $_[0]{node}; }

# Raises when it fails.
sub sql { my ($self, $sql) = @_; return $self->{node}->safe_psql('postgres', $sql); }

# Empty when it fails, as while the server recovers.
sub ask
{
	my ($self, $sql) = @_;
	return MongoTest::ask($self->{node}, $sql) // '';
}

sub error_of
{
	my ($self, $sql) = @_;
	my $err = '';
	$self->{node}->psql('postgres', $sql, stderr => \$err);
	return $err;
}

# Polls a query until its answer is 't' or the one given.
sub until
{
	my ($self, $sql, $seconds, $answer) = @_;
	return wait_for(sub { $self->ask($sql) eq ($answer // 't') }, $seconds // 30);
}

# A server and the mapping that holds the password.
sub server
{
	my ($self, $name, $uri) = @_;
	$self->sql("CREATE SERVER $name FOREIGN DATA WRAPPER mongo_migrate OPTIONS (uri '$uri');
		CREATE USER MAPPING FOR PUBLIC SERVER $name OPTIONS (username 'migrator', password '$secret', auth_source 'admin');
		GRANT USAGE ON FOREIGN SERVER $name TO PUBLIC");
	return;
}

sub fill
{
	my ($self, $shape, $documents, $collection) = @_;
	$self->{mongo}->generate($shape, $documents, 'shop.' . ($collection // $shape));
	return;
}

# Starts a job of many small checkpoints.  Options: server, target, workers,
# if_exists, chunk, rate (documents a second), settings (list of "name =
# value"), options (JSON members).
sub start
{
	my ($self, $collection, %o) = @_;
	my $settings = join '', map { "SET $_;" } "mongo_migrate.checkpoint_bytes = '64kB'", @{$o{settings} // []};
	my $options = join ', ', sprintf('"chunk_size": "%s"', $o{chunk} // '256kB'), $o{options} // ();
	my $start = sprintf "migrate_start('%s', '%s', target => '%s', if_exists => '%s', workers => %d, options => '{%s}')",
	  $o{server} // 'shop', $collection, $o{target} // $collection, $o{if_exists} // 'replace', $o{workers} // 3, $options;
	return $self->sql("$settings SELECT $start") unless $o{rate};
	my $job = $self->sql("$settings SELECT j, migrate_alter(j, max_docs_per_second => $o{rate}) FROM (SELECT $start AS j OFFSET 0) s");
	return $job =~ s/\|//r;
}

# Lifts the throttle of a job that has not ended.
sub hurry
{
	my ($self, $job) = @_;
	$self->ask("SELECT migrate_alter(job_id, max_docs_per_second => 0) FROM migrate_jobs WHERE job_id = $job AND state IN ('queued', 'running')");
	return;
}

sub state_of { my ($self, $job) = @_; return $self->ask("SELECT state FROM migrate_jobs WHERE job_id = $job"); }

# Waits until rows are committed, but not all.
sub copying
{
	my ($self, $job, $rows) = @_;
	my $more = $rows // 0;
	return $self->until("SELECT rows > $more FROM migrate_jobs WHERE job_id = $job", 30);
}

# Pids of "loader" or "coordinator".
sub pids
{
	my ($self, $type) = @_;
	return split /\n/, $self->ask("SELECT pid FROM pg_stat_activity WHERE backend_type = 'mongo_migrate $type' ORDER BY pid");
}

# Switches an action of a fault point on, for as long as the result lives; or
# until the server crashes.
sub switch
{
	my ($self, $point, $action) = @_;
	return FaultTest::Session->new($self->{node}, "SELECT mm_debug_switch('$point', '$action', true)");
}

# True once a process was killed since the last look at the invariants.
sub crashed
{
	my ($self, $seconds) = @_;
	return wait_for(sub { slurp_file($self->{node}->logfile, $self->{log_at}) =~ /terminated by signal 9/ }, $seconds // 30);
}

# The worker that waits at a point, once there is one.
sub waiting_at_point
{
	my ($self, $seconds) = @_;
	my $pid;
	wait_for(sub { ($pid) = split /\n/, $self->ask("SELECT pid FROM pg_locks WHERE objsubid = 5 AND NOT granted"); defined $pid },
		$seconds // 20);
	return $pid;
}

# ---------------------------------------------------------------------
# Invariants
# ---------------------------------------------------------------------

sub new_log
{
	my ($self) = @_;
	my $log = slurp_file($self->{node}->logfile, $self->{log_at});
	$self->{log_at} = -s $self->{node}->logfile;
	return $log;
}

sub log_violations
{
	my ($self, $crashes) = @_;
	my $log = $self->new_log;
	my @found = $log =~ /^.*(?:PANIC|TRAP|terminated by signal (?:4|6|7|8|11)|AddressSanitizer|runtime error:).*$/mg;
	my $killed = () = $log =~ /terminated by signal 9/g;
	push @found, "$killed processes were killed, not $crashes" if $killed != $crashes;
	push @found, 'the password is in the log' if $log =~ /$secret/;
	return @found;
}

sub secret_violations
{
	my ($self) = @_;
	return map { "the password is in $_" } grep { $self->ask("SELECT * FROM $_") =~ /$secret/ }
	  ('migrate_jobs', 'migrate_events', 'migrate_errors', 'migrate_workers', 'pg_stat_activity');
}

sub left_violations
{
	my ($self, $cursors) = @_;
	my @found;
	my %none = (
		'chunks running' => q(SELECT count(*) FROM mongo_migrate.chunk WHERE state = 'running'),
		'advisory locks' => q(SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objsubid IN (3, 4)),
		'workers' => q(SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'mongo_migrate%'),
		'illegal changes of state' => 'SELECT count(*) FROM audit');
	foreach my $what (sort keys %none)
	{
		$self->until($none{$what}, 10, '0') or push @found, "$what left: " . $self->ask($none{$what});
	}
	push @found, $self->ask('SELECT what FROM audit LIMIT 5') if grep { /illegal/ } @found;
	my $open = 0;
	wait_for(sub { $open = $self->open_cursors; $open <= $cursors }, 10) or push @found, "$open cursors left on mongod";
	return @found;
}

sub open_cursors
{
	my ($self) = @_;
	return $self->{mongo}->python("print(client.admin.command('serverStatus')['metrics']['cursor']['open']['total'])");
}

sub book_violations
{
	my ($self, $job, $table) = @_;
	my $sums = $self->ask(qq(SELECT docs_done - rows_inserted - rows_updated - docs_rejected - docs_filtered,
		docs_rejected - (SELECT count(*) FROM migrate_errors WHERE job_id = $job),
		chunks_done - chunks_total, rows_inserted - (SELECT count(*) FROM $table) FROM migrate_stat_job WHERE job_id = $job));
	return $sums eq '0|0|0|0' ? () : "the books of job $job do not close: $sums";
}

# What is wrong after a run, or nothing; the throttle is lifted.  Expected:
# state ("completed"; others leave out what holds for complete jobs only),
# crashes (0), cursors that a killed process may leave (0), seconds (120),
# collection and table ("mixed"), options of compare.py.
sub violations
{
	my ($self, $job, %e) = @_;
	my $state = $e{state} // 'completed';
	my $table = $e{table} // $e{collection} // 'mixed';
	my @found;
	$self->hurry($job);
	wait_for(sub { $self->state_of($job) eq $state }, $e{seconds} // 120)
	  or push @found, "job $job is " . $self->state_of($job) . ": " . $self->ask("SELECT message FROM migrate_jobs WHERE job_id = $job");
	if ($state eq 'completed' && !@found)
	{
		my $differences = $self->{mongo}->compare($self->{node}, 'shop.' . ($e{collection} // 'mixed'), $table, undef, @{$e{compare} // []});
		push @found, $differences if $differences;
		push @found, $self->book_violations($job, $table);
	}
	push @found, $self->left_violations($e{cursors} // 0), $self->log_violations($e{crashes} // 0), $self->secret_violations;
	diag($self->ask("SELECT * FROM migrate_events WHERE job_id = $job ORDER BY event_id")) if @found;
	return join "\n", @found;
}

# ---------------------------------------------------------------------

# A psql that stays: what it has taken or begun ends with the object.
package FaultTest::Session;

use strict;
use warnings;

use IPC::Run ();

sub new
{
	my ($class, $node, $sql) = @_;
	my $self = bless {in => "$sql;\n\\echo ready\n", out => '', err => ''}, $class;
	local $SIG{PIPE} = 'IGNORE';
	$self->{run} = IPC::Run::start(['psql', '-XAtq', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('postgres')],
		'<', \$self->{in}, '>', \$self->{out}, '2>', \$self->{err});
	MongoTest::wait_for(sub { $self->{run}->pump_nb; $self->{out} =~ /ready/ || !$self->{run}->pumpable }, 30);
	die "session: $self->{err}" unless $self->{out} =~ /ready/;
	return $self;
}

# Sends a statement without waiting for it.
sub send
{
	my ($self, $sql) = @_;
	$self->{in} .= "$sql;\n";
	MongoTest::wait_for(sub { $self->{run}->pump_nb; $self->{in} eq '' }, 10);
	return;
}

sub end
{
	my ($self) = @_;
	local ($?, $@, $SIG{PIPE}) = (0, '', 'IGNORE');
	eval { $self->{run}->kill_kill(grace => 0) } if $self->{run};
	delete $self->{run};
	return;
}

sub DESTROY { $_[0]->end; return; }

1;
