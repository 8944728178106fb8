#!/usr/bin/env php
<?php
// client.php [USER]: calls Postern as an app and as one of its users, with
// PHP's own hash_hmac. POSTERN_URL, POSTERN_PUBLIC_KEY and POSTERN_SECRET_KEY
// come from the environment.
declare(strict_types=1);

function base64url(string $bytes): string
{
    return rtrim(strtr(base64_encode($bytes), '+/', '-_'), '=');
}

/**
 * A token that is good for a minute.
 *
 * The HMAC key is the secret key's characters as they stand, not the bytes that
 * its hex stands for: no hex2bin() here.
 */
function mint(array $claims): string
{
    $claims['exp'] = time() + 60;
    $data = base64url('{"alg":"HS256","typ":"JWT"}') . '.'
        . base64url(json_encode($claims, JSON_THROW_ON_ERROR));
    $mac = hash_hmac('sha256', $data, getenv('POSTERN_SECRET_KEY'), true);
    return $data . '.' . base64url($mac);
}

/** Without sub: it speaks for the app itself, and may do all. */
function appToken(): string
{
    return mint([]);
}

function userToken(string $user): string
{
    if ($user === '') {
        throw new InvalidArgumentException(
            'a user token needs a user: the name is empty');
    }
    return mint(['sub' => $user]);
}

function call(string $method, string $path, string $token, ?array $body = null): array
{
    $answer = @file_get_contents(getenv('POSTERN_URL') . $path, false,
        stream_context_create(['http' => [
            'method' => $method,
            'header' => [
                'X-Public-Key: ' . getenv('POSTERN_PUBLIC_KEY'),
                'Authorization: Bearer ' . $token,
                'Content-Type: application/json',
            ],
            'content' => $body === null ? '' : json_encode($body),
            'ignore_errors' => true, // read a refusal's body too
            'follow_location' => 0,
            'timeout' => 10,
        ]]));
    if ($answer === false) {
        throw new RuntimeException(error_get_last()['message']);
    }
    $status = (int) explode(' ', $http_response_header[0])[1];
    $json = json_decode($answer, true);
    if ($status >= 300) {
        throw new RuntimeException(isset($json['code'])
            ? "$status {$json['code']}: {$json['detail']}"
            : "$status from the web server");
    }
    return $json;
}

try {
    $user = $argv[1] ?? 'ada';
    $asUser = userToken($user);
    $asApp = appToken();

    $who = call('GET', '/v1/whoami', $asApp);
    echo "whoami, app token: {$who['app']['name']}\n";
    $who = call('GET', '/v1/whoami', $asUser);
    echo "whoami, user token: {$who['app']['name']}, {$who['claims']['sub']}\n";
    call('PUT', '/v1/users/' . rawurlencode($user), $asApp, ['city' => 'London']);
    echo 'stored and read: ' . call('GET', '/v1/me', $asUser)['city'] . "\n";
} catch (Exception $e) {
    fwrite(STDERR, $e->getMessage() . "\n");
    exit(1);
}
