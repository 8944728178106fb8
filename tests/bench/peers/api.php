<?php
// A PHP service on PDO with persistent connections. With APCU=1 opened keys
// are kept in shared memory. GET /v1/whoami, and GET and PUT /v1/users/{user}.
declare(strict_types=1);

function db(): PDO
{
    static $db = null;
    return $db ??= new PDO(getenv('DATABASE_DSN'), getenv('DATABASE_USER'),
        null, [PDO::ATTR_PERSISTENT => true,
            PDO::ATTR_ERRMODE => PDO::ERRMODE_EXCEPTION]);
}

function answer(int $status, $body): never
{
    http_response_code($status);
    header('Content-Type: application/json');
    echo is_string($body) ? $body
        : json_encode($body, JSON_UNESCAPED_SLASHES);
    exit;
}

function refuse(): never
{
    header('WWW-Authenticate: Bearer realm="php"');
    answer(401, ['error' => 'unauthorized']);
}

function open_key(string $sealed): string
{
    $raw = hex2bin($sealed);
    $master = hex2bin(getenv('MASTER_KEY'));
    $key = openssl_decrypt(substr($raw, 12, -16),
        'aes-' . 8 * strlen($master) . '-gcm', $master, OPENSSL_RAW_DATA,
        substr($raw, 0, 12), substr($raw, -16));
    return $key === false ? refuse() : bin2hex($key);
}

function find_app(string $public_key): array
{
    $keep = getenv('APCU') === '1';
    if ($keep && is_array($app = apcu_fetch("app:$public_key"))) {
        return $app;
    }
    $s = db()->prepare('SELECT id, name, public_key, encrypted_secret_key,'
        . ' created_at, updated_at FROM apps WHERE public_key = ?');
    $s->execute([$public_key]);
    $app = $s->fetch(PDO::FETCH_ASSOC) ?: refuse();
    $app['secret'] = open_key($app['encrypted_secret_key']);
    unset($app['encrypted_secret_key']);
    if ($keep) {
        apcu_store("app:$public_key", $app, 30);
    }
    return $app;
}

function unbase64url(string $s): string
{
    return (string) base64_decode(strtr($s, '-_', '+/'), true);
}

function verify(string $token, string $secret): array
{
    $parts = explode('.', $token);
    if (count($parts) !== 3) {
        refuse();
    }
    [$header, $payload, $mac] = $parts;
    $alg = json_decode(unbase64url($header), true)['alg'] ?? null;
    $good = hash_hmac('sha256', "$header.$payload", $secret, true);
    if ($alg !== 'HS256' || !hash_equals($good, unbase64url($mac))) {
        refuse();
    }
    $claims = json_decode(unbase64url($payload), true);
    if (!is_array($claims) || ($claims['exp'] ?? 0) < time()) {
        refuse();
    }
    return $claims;
}

$bearer = $_SERVER['HTTP_AUTHORIZATION'] ?? '';
if (!str_starts_with($bearer, 'Bearer ')) {
    refuse();
}
$app = find_app($_SERVER['HTTP_X_PUBLIC_KEY'] ?? '');
$claims = verify(substr($bearer, 7), $app['secret']);
$path = parse_url($_SERVER['REQUEST_URI'], PHP_URL_PATH);

if ($path === '/v1/whoami') {
    unset($app['secret']);
    answer(200, ['app' => $app, 'claims' => $claims]);
}
if (!preg_match('~^/v1/users/([^/]+)$~', $path, $m)) {
    answer(404, ['error' => 'not found']);
}
$user = rawurldecode($m[1]);
if (isset($claims['sub']) && $claims['sub'] !== $user) {
    answer(403, ['error' => 'forbidden']);
}
if ($_SERVER['REQUEST_METHOD'] === 'PUT') {
    $body = file_get_contents('php://input');
    if (!is_object(json_decode($body))) {
        answer(400, ['error' => 'not a JSON object']);
    }
    $s = db()->prepare('INSERT INTO users (app_id, user_id, information)'
        . ' VALUES (?, ?, ?) ON CONFLICT (app_id, user_id) DO UPDATE'
        . ' SET information = excluded.information, updated_at = now()'
        . ' RETURNING information::text');
    $s->execute([$app['id'], $user, $body]);
} else {
    $s = db()->prepare('SELECT information::text FROM users'
        . ' WHERE app_id = ? AND user_id = ?');
    $s->execute([$app['id'], $user]);
}
$information = $s->fetchColumn();
if ($information === false) {
    answer(404, ['error' => 'not found']);
}
answer(200, $information);
