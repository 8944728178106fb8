#!/usr/bin/env perl
# client.pl [USER]: calls Postern as an app and as one of its users, with
# Crypt::JWT (cpan Crypt::JWT, or Debian's libcrypt-jwt-perl). POSTERN_URL,
# POSTERN_PUBLIC_KEY and POSTERN_SECRET_KEY come from the environment.
use strict;
use warnings;

use Crypt::JWT qw(encode_jwt);
use Encode qw(decode_utf8 encode_utf8);
use HTTP::Tiny;
use JSON::PP qw(decode_json encode_json);

binmode STDOUT, ':encoding(UTF-8)';

# A token that is good for a minute. The HMAC key is the secret key's characters
# as they stand, not the bytes that its hex stands for: no pack 'H*' here.
sub mint {
	my (%claims) = @_;
	return encode_jwt(
		alg     => 'HS256',
		key     => $ENV{POSTERN_SECRET_KEY},
		payload => { %claims, exp => time + 60 },
	);
}

# Without sub: it speaks for the app itself, and may do all.
sub app_token {
	return mint();
}

sub user_token {
	my ($user) = @_;
	die "a user token needs a user: the name is empty\n"
		unless defined $user && length $user;
	return mint(sub => "$user");
}

my $http = HTTP::Tiny->new(timeout => 10, max_redirect => 0);

sub call {
	my ($method, $path, $token, $body) = @_;
	my $answer = $http->request($method, $ENV{POSTERN_URL} . $path, {
		headers => {
			'X-Public-Key'  => $ENV{POSTERN_PUBLIC_KEY},
			'Authorization' => "Bearer $token",
			'Content-Type'  => 'application/json',
		},
		content => defined $body ? encode_json($body) : '',
	});
	die $answer->{content} if $answer->{status} == 599;    # not even sent
	my $json = eval { decode_json($answer->{content}) };
	return $json if $answer->{success};
	die "$answer->{status} from the web server\n" unless $json;
	die "$answer->{status} $json->{code}: $json->{detail}\n";
}

my $user    = decode_utf8($ARGV[0] // 'ada');
my $as_user = user_token($user);
my $as_app  = app_token();
my $segment = encode_utf8($user)
	=~ s/([^A-Za-z0-9._~-])/sprintf '%%%02X', ord $1/ger;

my $who = call('GET', '/v1/whoami', $as_app);
print "whoami, app token: $who->{app}{name}\n";
$who = call('GET', '/v1/whoami', $as_user);
print "whoami, user token: $who->{app}{name}, $who->{claims}{sub}\n";
call('PUT', "/v1/users/$segment", $as_app, { city => 'London' });
print 'stored and read: ', call('GET', '/v1/me', $as_user)->{city}, "\n";
