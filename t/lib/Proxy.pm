# The proxy t/tools/proxy.py between PostgreSQL and a MongoTest.
#
#   my $proxy = Proxy->new($mongo);
#   $t->server('far', $proxy->uri('shop'));
#   $proxy->tell('cut rst 100000');
package Proxy;

use strict;
use warnings;

use IPC::Open2 qw(open2);

sub new
{
	my ($class, $mongo) = @_;
	my $self = bless {mongo => $mongo}, $class;
	$self->{pid} = open2($self->{out}, $self->{in}, '/usr/bin/python3', "$ENV{MM_ROOT}/t/tools/proxy.py", $mongo->{port});
	$self->{port} = readline($self->{out}) // die 'the proxy did not start';
	chomp $self->{port};
	return $self;
}

sub uri
{
	my ($self, $database) = @_;
	return sprintf 'mongodb://127.0.0.1:%d/%s?directConnection=true', $self->{port}, $database // '';
}

sub tell
{
	my ($self, $command) = @_;
	print {$self->{in}} "$command\n";
	$self->{in}->flush;
	my $answer = readline($self->{out}) // die "the proxy ended at \"$command\"";
	chomp $answer;
	return $answer;
}

sub DESTROY
{
	my ($self) = @_;
	local ($?, $!);
	kill 'KILL', $self->{pid};
	waitpid $self->{pid}, 0;
	return;
}

1;
