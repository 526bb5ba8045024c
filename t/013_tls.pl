# TLS and SCRAM against a real mongod: certificates that are good, expired, for
# another host or signed by nobody; never a silent downgrade.
use strict;
use warnings;

use IPC::Run ();
use MongoTest qw(wait_for);
use PostgreSQL::Test::Utils;
use Proxy;
use POSIX qw(strftime);
use Test::More;
use Time::HiRes qw(sleep time);

my $dir = PostgreSQL::Test::Utils::tempdir();
my $secret = 'Sentinel5ecret/@:';
(my $encoded = $secret) =~ s/([^A-Za-z0-9])/sprintf '%%%02X', ord $1/ge;

# ---------------------------------------------------------------------------
# Certificates
# ---------------------------------------------------------------------------

sub openssl
{
	my ($out, $err);
	IPC::Run::run(['openssl', @_], '>', \$out, '2>', \$err) or die "openssl @_: $err";
	return;
}

sub file
{
	my ($name, $text) = @_;
	unlink "$dir/$name";
	append_to_file("$dir/$name", $text);
	chmod 0600, "$dir/$name";
	return "$dir/$name";
}

sub join_files { my ($name, @parts) = @_; return file($name, join '', map { slurp_file("$dir/$_") } @parts); }

sub time_text { return strftime('%Y%m%d%H%M%SZ', gmtime $_[0]); }

sub make_authority
{
	my ($name) = @_;
	openssl('req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '30', '-subj', "/O=Test/CN=$name", '-keyout', "$dir/$name.key", '-out', "$dir/$name.crt");
	return;
}

# A certificate of the authority with its key in one file, as mongod wants it.
sub make_certificate
{
	my ($name, $names, %options) = @_;
	my $authority = $options{authority} // 'ca';
	my $subject = $options{subject} // "/O=Test/OU=server/CN=$name";
	file("$name.cnf", "[ca]\ndefault_ca = c\n[c]\ndatabase = $dir/$name.index\nserial = $dir/$name.serial\nnew_certs_dir = $dir\ndefault_md = sha256\n"
		. "policy = p\nunique_subject = no\nx509_extensions = e\n[p]\nO = optional\nOU = optional\nCN = supplied\n[e]\n"
		. ($names ? "subjectAltName = $names\n" : '') . "extendedKeyUsage = serverAuth,clientAuth\n");
	file("$name.index", '');
	file("$name.serial", sprintf "%02X\n", 16 + int rand 200);
	openssl('req', '-newkey', 'rsa:2048', '-nodes', '-subj', $subject, '-keyout', "$dir/$name.key", '-out', "$dir/$name.csr");
	openssl('ca', '-batch', '-notext', '-config', "$dir/$name.cnf", '-cert', "$dir/$authority.crt", '-keyfile', "$dir/$authority.key", '-in', "$dir/$name.csr",
		'-out', "$dir/$name.crt", '-startdate', time_text(time() - 3600), '-enddate', time_text($options{end} // time() + 86400));
	return join_files("$name.pem", "$name.crt", "$name.key");
}

make_authority('ca');
make_authority('stranger');
make_certificate('good', 'IP:127.0.0.1,DNS:localhost');
make_certificate('elsewhere', 'DNS:db1.example.net,IP:127.0.0.2');
make_certificate('unknown', 'IP:127.0.0.1,DNS:localhost', authority => 'stranger');
make_certificate('client', '', subject => '/O=Test/OU=clients/CN=migrator');
openssl('req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '30', '-subj', '/CN=localhost', '-addext', 'subjectAltName=IP:127.0.0.1,DNS:localhost',
	'-keyout', "$dir/self.key", '-out', "$dir/self.crt");
join_files('self.pem', 'self.crt', 'self.key');
openssl('rsa', '-aes256', '-passout', 'pass:keypass', '-in', "$dir/client.key", '-out', "$dir/locked.key");
join_files('locked.pem', 'client.crt', 'locked.key');

# ---------------------------------------------------------------------------
# Servers
# ---------------------------------------------------------------------------

sub tls_arguments
{
	my ($name) = @_;
	my $authority = $name eq 'self' ? 'self' : $name eq 'unknown' ? 'stranger' : 'ca';
	return ('--tlsMode', 'requireTLS', '--tlsCertificateKeyFile', "$dir/$name.pem", '--tlsCAFile', "$dir/$authority.crt", '--tlsAllowConnectionsWithoutCertificates');
}

sub tls_server { my ($name, @more) = @_; return MongoTest->new(standalone => 1, arguments => [tls_arguments($name), @more]); }

# How the test itself gets in.
sub admin { my ($mongo, $credentials) = @_; return $mongo->uri('', $credentials) . '&tls=true&tlsInsecure=true' . ($credentials ? '&authSource=admin' : ''); }

my $mongo = tls_server('good', '--auth');
$mongo->python(<<"PY", admin($mongo));
client.admin.command('createUser', 'migrator', pwd='$secret', roles=['root'], mechanisms=['SCRAM-SHA-1', 'SCRAM-SHA-256'])
PY
$mongo->python(<<'PY', admin($mongo, "migrator:$encoded"));
client['$external'].command('createUser', 'CN=migrator,OU=clients,O=Test', roles=[{'role': 'read', 'db': 'shop'}])
client.shop.orders.insert_many([{'_id': i, 'name': 'n%d' % i} for i in range(20000)])
PY
# Options that name files are a superuser's.
MongoTest::plain(0);
my $node = MongoTest::node('tls', log_statement => 'none', log_min_error_statement => 'panic', 'mongo_migrate.connect_timeout' => '5s',
	'mongo_migrate.max_retry_time' => '30s');
my $ca = "tls=true&tlsCAFile=$dir/ca.crt";

sub sql { my ($sql) = @_; return $node->safe_psql('postgres', $sql); }

sub error_of
{
	my ($sql, @more) = @_;
	my $err = '';
	$node->psql('postgres', $sql, stderr => \$err, @more);
	return $err;
}

# What connecting to a server says: "connected", or the error.
sub connect_to
{
	my ($server, $options, $credentials, @more) = @_;
	my $string = $server->uri('shop', $credentials) . ($options ? "&$options" : '') . ($credentials ? '&authSource=admin' : '');
	my ($out, $err) = ('', '');
	$node->psql('postgres', "SELECT count(*) FROM migrate_list_collections('$string')", stdout => \$out, stderr => \$err, @more);
	return $out =~ /^\d+$/ ? 'connected' : $err;
}

my $user = "migrator:$encoded";
my $failed = qr/ERROR:  could not connect to MongoDB server "127.0.0.1:\d+"\nDETAIL:  TLS handshake failed: /;
my $hint = qr/\nHINT:  Check the certificate of the server, and tlsCAFile in its uri or tls_ca_file of the server/;

# ---------------------------------------------------------------------------
# Good ones
# ---------------------------------------------------------------------------

is(connect_to($mongo, $ca, $user), 'connected', 'a good certificate, SCRAM');
is(connect_to($mongo, "$ca&authMechanism=$_", $user), 'connected', $_) foreach 'SCRAM-SHA-1', 'SCRAM-SHA-256';
like(connect_to($mongo, $ca, 'migrator:wrong'), qr/ERROR:  authentication failed for MongoDB user "migrator" on server .*\nDETAIL:  The server rejected the credentials/, 'a wrong password');
like(connect_to($mongo, "$ca&authMechanism=SCRAM-SHA-256", 'nobody:nothing'), qr/ERROR:  authentication failed for MongoDB user "nobody"/, 'an unknown user');

# A server and a mapping; a plain role whose superuser offers the file.
sql(sprintf q(CREATE SERVER shop FOREIGN DATA WRAPPER mongo_migrate OPTIONS (uri '%s&tls=true', tls_ca_file '%s/ca.crt');
	CREATE ROLE etl LOGIN; CREATE SCHEMA etl AUTHORIZATION etl; GRANT USAGE ON FOREIGN SERVER shop TO etl;
	CREATE USER MAPPING FOR etl SERVER shop OPTIONS (username 'migrator', password '%s', auth_source 'admin')), $mongo->uri('shop'), $dir, $secret);
my @etl = (extra_params => ['-U', 'etl']);
my $out = '';
$node->psql('postgres', "SELECT migrate_start('shop', 'orders', target => 'etl.orders'); SELECT migrate_wait()", stdout => \$out, @etl);
is($out, "1\ncompleted", 'a load through TLS by a plain role');
is($mongo->compare($node, 'shop.orders', 'etl.orders', admin($mongo, $user)), '', 'nothing lost, nothing twice');
is(sql(q(SELECT count(*) FROM etl.orders)), 20000, 'all of it');
$node->psql('postgres', q(SELECT status, detail FROM migrate_ping('shop') WHERE item = 'authentication'), stdout => \$out, @etl);
like($out, qr/^ok\|user "migrator" of database "admin"/, 'migrate_ping says who we are');

# A reply that takes longer than the socket timeout, and never pauses for as long.
$mongo->python(q(client.shop.large.insert_one({'_id': 0, 'name': 'x' * 300000})), admin($mongo, $user));
my $proxy = Proxy->new($mongo);
$proxy->tell($_) foreach 'raw', 'rate 30000';
my $began = time();
is(sql(sprintf q(SET mongo_migrate.socket_timeout = '6s'; SELECT length(d ->> 'name') FROM migrate_peek('mongodb://%s@127.0.0.1:%d/shop?directConnection=true&authSource=admin&%s', 'large', 1) AS d),
	$user, $proxy->{port}, $ca), 300000, 'a slow network');
cmp_ok(time() - $began, '>', 7, sprintf 'which took %.1f s', time() - $began);
undef $proxy;

# Client certificates.
my $strict = MongoTest->new(standalone => 1, arguments => [grep { !/WithoutCertificates/ } tls_arguments('good')]);
ok(wait_for(sub { connect_to($strict, "$ca&tlsCertificateKeyFile=$dir/client.pem") eq 'connected' }, 20), 'a certificate of ours');
unlike(connect_to($strict, $ca), qr/^connected/, 'which the server asks for');
is(connect_to($strict, "$ca&tlsCertificateKeyFile=$dir/locked.pem&tlsCertificateKeyFilePassword=keypass"), 'connected', 'with a password on its key');
like(connect_to($strict, "$ca&tlsCertificateKeyFile=$dir/locked.pem&tlsCertificateKeyFilePassword=wrong"), qr/ERROR:  could not connect to MongoDB server.*\nDETAIL:  TLS handshake failed: /, 'and not with another');
sql(sprintf q(CREATE USER MAPPING FOR CURRENT_USER SERVER shop OPTIONS (auth_mechanism 'MONGODB-X509', auth_source '$external', tls_certificate_key_file '%s/client.pem')), $dir);
like(sql(q(SELECT detail FROM migrate_ping('shop') WHERE item = 'authentication')), qr/^user "CN=migrator,OU=clients,O=Test" of database "\$external"/, 'MONGODB-X509');
undef $strict;

# ---------------------------------------------------------------------------
# Bad ones fail closed (F35)
# ---------------------------------------------------------------------------

my %server = map { $_ => tls_server($_) } 'elsewhere', 'unknown', 'self';
# mongod does not start with a certificate that has expired: it expires then.
my $end = time() + 15;
make_certificate('expired', 'IP:127.0.0.1,DNS:localhost', end => $end);
$server{expired} = tls_server('expired');
foreach my $name (sort keys %server)
{
	ok(wait_for(sub { connect_to($server{$name}, 'tls=true&tlsInsecure=true') eq 'connected' }, 30), "the server with the certificate \"$name\" is there") or die;
}
my $connected = connect_to($server{expired}, $ca);
is($connected, 'connected', 'not yet expired') if time() < $end - 1;
sleep $end - time() + 1.5 if time() < $end + 1;

my %reason = (expired => qr/certificate has expired|certificate verify failed/, elsewhere => qr/host|IP address|certificate verify failed/i,
	unknown => qr/certificate verify failed|unable to get/, self => qr/certificate verify failed|self.signed/);
foreach my $name (sort keys %server)
{
	my $message = connect_to($server{$name}, $ca);
	like($message, $failed, "$name: refused");
	like($message, $reason{$name}, "$name: with the reason: " . ($message =~ /failed: (.*)/)[0]);
	like($message, $hint, "$name: and what to do");
	like(connect_to($server{$name}, 'tls=true'), $failed, "$name: also by the authorities of the system");
	unlike(connect_to($server{$name}, ''), qr/^connected/, "$name: and not without TLS");
	my $began = time();
	connect_to($server{$name}, $ca);
	cmp_ok(time() - $began, '<', 3, "$name: at once");
}
like(connect_to($mongo, 'tls=true', $user), $failed, 'without a CA file a good one is refused, too');
like(connect_to($mongo, "tls=true&tlsCAFile=$dir/stranger.crt", $user), $failed, 'and with that of another');
like(connect_to($mongo, "tls=true&tlsCAFile=$dir/missing.crt", $user), qr/${failed}.*missing\.crt|$failed/, 'a CA file that is missing is no way around it');
is(connect_to($server{self}, "tls=true&tlsCAFile=$dir/self.crt"), 'connected', 'one that is its own authority, when we say so');
is(connect_to($server{elsewhere}, "$ca&tlsAllowInvalidHostnames=true"), 'connected', 'another host, when a superuser says so');
is(connect_to($server{expired}, "$ca&tlsAllowInvalidCertificates=true"), 'connected', 'an expired one, when a superuser says so');
sql('GRANT USAGE ON FOREIGN DATA WRAPPER mongo_migrate TO etl');
foreach my $option ('tlsAllowInvalidHostnames=true', 'tlsAllowInvalidCertificates=true', 'tlsInsecure=true', "tlsCAFile=$dir/ca.crt")
{
	like(connect_to($server{elsewhere}, "tls=true&$option", undef, @etl), qr/ERROR:  permission denied to use option/, "$option is not for others");
}
like(connect_to($server{elsewhere}, 'tls=true', undef, @etl), qr/ERROR:  could not connect to MongoDB server .*\nDETAIL:  The server could not be reached/, 'who learn no details');

# ---------------------------------------------------------------------------
# No TLS on one side
# ---------------------------------------------------------------------------

my $plain = MongoTest->new(standalone => 1);
ok(wait_for(sub { connect_to($plain) eq 'connected' }, 20), 'a server without TLS is there');
foreach my $options ('tls=true', $ca, 'tls=true&tlsInsecure=true', 'ssl=true')
{
	like(connect_to($plain, $options),
		qr/ERROR:  could not connect to MongoDB server .*\nDETAIL:  TLS handshake failed: 127\.0\.0\.1:\d+ closed the connection\.\nHINT:  If the server does not use TLS, remove tls=true from its uri\./,
		"message 9: $options to a server without TLS");
}
like(connect_to($mongo, '', $user), qr/ERROR:  could not connect to MongoDB server .*\nDETAIL:  .*\nHINT:  If the server requires TLS, add tls=true to its uri/,
	'message 8: the hint about TLS, when the server requires it');
my $mixed = MongoTest->new(standalone => 1, arguments => [map { $_ eq 'requireTLS' ? 'preferTLS' : $_ } tls_arguments('good')]);
ok(wait_for(sub { connect_to($mixed, $ca) eq 'connected' }, 20), 'a server that takes both');
is(connect_to($mixed), 'connected', 'as it is asked');
undef $mixed;

# ---------------------------------------------------------------------------
# While a job runs
# ---------------------------------------------------------------------------

# The server comes back with something else than we trust: the job fails and
# reads nothing more, also when a retry would find the same documents.
foreach my $case (['elsewhere', $failed], ['self', $failed], ['', qr/TLS handshake failed: .* closed the connection/])
{
	my ($name, $reason) = @$case;
	my $shown = $name || 'no TLS';
	my $target = tls_server('good');
	my $string = $target->uri('shop') . "&$ca";
	# More than one reply's worth: what has arrived is stored.
	$target->python(q(client.shop.many.insert_many([{'_id': i, 'name': 'n%d' % i * 200} for i in range(20000)])), admin($target));
	my $job = sql(qq(SET client_min_messages = error; SET mongo_migrate.checkpoint_bytes = '64kB';
		SELECT migrate_start('$string', 'many', target => 'many', if_exists => 'replace', workers => 1, options => '{"max_docs_per_second": 1000}')));
	ok(wait_for(sub { sql("SELECT rows > 0 FROM migrate_jobs WHERE job_id = $job") eq 't' }, 20), "$shown: a job runs");
	$target->stop;
	$target->{options}{arguments} = $name ? [tls_arguments($name)] : [];
	$target->start;
	ok(wait_for(sub { sql("SELECT state FROM migrate_jobs WHERE job_id = $job") eq 'failed' }, 60), "$shown: it fails")
	  or diag(sql('SELECT * FROM migrate_events'));
	like(error_of("SELECT migrate_wait($job)"), $reason, "$shown: with the reason");
	my $rows = sql('SELECT count(*) FROM many');
	cmp_ok($rows, '<', 20000, "$shown: nothing more was read");
	$target->stop;
	$target->{options}{arguments} = [tls_arguments('good')];
	$target->start;
	sql("SELECT migrate_alter($job, max_docs_per_second => 0)");
	is(sql("SELECT migrate_retry($job)"), 'queued', "$shown: tried again when it is as it was");
	is(sql("SELECT migrate_wait($job, timeout => '60 s')"), 'completed', "$shown: completes");
	is($target->compare($node, 'shop.many', 'many', admin($target)), '', "$shown: nothing lost, nothing twice");
}

unlike(slurp_file($node->logfile), qr/\Q$secret\E|\Q$encoded\E/, 'no password in the log');
unlike(slurp_file($node->logfile), qr/PANIC|terminated by signal/, 'no crash');
done_testing();
