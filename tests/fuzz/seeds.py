#!/usr/bin/python3
"""seeds.py DIR: the first corpus of each fuzz target, in DIR/TARGET, such as
build-fuzz/corpus. What grows from it `make fuzz-corpus` minimises into
corpus/TARGET.tar.xz."""
import base64
import hashlib
import hmac
import pathlib
import struct
import sys

SECRET = b"5ec2e7" * 10 + b"5ec2"
PUBLIC = "00112233445566778899aabbccddeeff0123456789abcdef0123456789abcdef"
ADMIN = "admin-token-of-the-fuzzer-0123456789"
REGISTRATION = "registration-of-the-fuzzer-0123456789"
GENUINE = [(b'{"alg":"HS256"}', b'{"exp":1700000100}'),
           (b'{"alg":"HS256","typ":"JWT"}',
            b'{"sub":"ann","exp":1700000100.5,"iat":1}')]


def b64(b):
    return base64.urlsafe_b64encode(b).rstrip(b"=")


def token(header, payload):
    text = b64(header) + b"." + b64(payload)
    return text + b"." + b64(hmac.digest(SECRET, text, hashlib.sha256))


def tokens():
    for header, payload in GENUINE:
        yield b"\0Bearer " + token(header, payload)
    yield b"\0bearer   " + token(*GENUINE[0])
    yield b"\0Bearer e30.e30." + b64(bytes(32))
    yield b"\0Basic e30.e30.e30"
    for mode in (1, 9, 17, 3, 5, 7):
        alg = [[b"HS256", b"HS384", b"HS512"][(mode >> 3) % 3], b"RS256",
               b"ES256", b"EdDSA"][(mode >> 1) % 4]
        for header, payload in GENUINE:
            yield bytes([mode]) + header.replace(
                b"HS256", alg) + b"\0" + payload
    for header in (b'{"alg":"none"}', b'{"alg":"hs256"}',
                   b'{"alg":"HS256","crit":[]}', b'{"alg":"HS256","typ":"x"}',
                   b'{"typ":1,"alg":"HS256"}', b"[]", b'{"alg":1}'):
        yield b"\1" + header + b"\0" + GENUINE[0][1]
    for payload in (b"{}", b"[]", b'{"exp":"1"}', b'{"exp":1e999}',
                    b'{"exp":1.7e9,"nbf":1,"iat":2}', b'{"exp":2e9,"sub":""}',
                    b'{"exp":2e9,"sub":1}', b'{"exp":2e9,"nbf":3e9}',
                    b'{"exp":2e9,"iat":3e9}', b'{"exp":1,"exp":2e9}',
                    b'{"exp":2e9,"sub":"\xc3\xbc"}', b'{"exp":1}'):
        yield b"\1" + GENUINE[0][0] + b"\0" + payload


def jwk():
    x = b"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU"
    y = b"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"
    p = b"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"
    n = b64(bytes([0xc1]) * 255 + b"\1")
    ec = b'{"kty":"EC","crv":"P-256","x":"%s","y":"%s"' % (x, y)
    okp = b'{"kty":"OKP","crv":"Ed25519","x":"%s"' % p
    rsa = b'{"kty":"RSA","e":"AQAB","n":"%s"' % n
    for key in (ec, okp, rsa):
        for more in (b"", b',"use":"sig"', b',"key_ops":["verify"]',
                     b',"d":"AA"', b',"alg":"RS256"', b',"alg":"EdDSA"'):
            yield key + more + b"}"
    yield ec.replace(b"P-256", b"P-384") + b"}"
    yield okp.replace(p, b64(b"\1" + bytes(31))) + b"}"
    pairs = (b"3059301306072a8648ce3d020106082a8648ce3d03010703420004",
             base64.urlsafe_b64decode(x + b"=")
             + base64.urlsafe_b64decode(y + b"=")), (
        b"302a300506032b6570032100", base64.urlsafe_b64decode(p + b"=")), (
        b"30820122300d06092a864886f70d01010105000382010f003082010a0282010100",
        bytes([0xc1]) * 255 + b"\1" + b"\2\3\1\0\1")
    for head, numbers in pairs:
        text = base64.encodebytes(bytes.fromhex(head.decode()) + numbers)
        for label in (b"PUBLIC KEY", b"PRIVATE KEY", b"CERTIFICATE"):
            yield (b"-----BEGIN %s-----\n" % label + text
                   + b"-----END %s-----\n" % label)


def json():
    yield from (b"{}", b'{"a":1}', b'{"a":{"b":[1,-2.5e+3,true,false,null]}}',
                b'{"a":"\\u00e9\\ud83d\\ude00\\n\\"\\\\\\/\\b\\f\\r\\t"}',
                b'{"a":1,"a":2}', b'{"a":1,"\\u0061":2}', b'[]', b'{"a":NaN}',
                b"{'a':1}", b'{"a":01}', b'{"a":1.}', b'{"a":"\\ud800"}',
                b'{"a":"\\u0000"}', b'{"a":18446744073709551616}',
                b'{"exp":9223372036854775807,"sub":["b","c"]}',
                b'{"a":-9223372036854775809}', b'{"a":1e131072}',
                b'{"a":1e-16384}', b'{"a":"\xc0\xaf"}', b'{"a":"\xed\xa0\x80"}',
                b'{"a":"\xf0\x9f\x98\x80\xe2\x82\xac\xc3\xbc"}', b' {"a" : 1 } ',
                b'{"a":' * 32 + b"1" + b"}" * 32, b'{"a":[' * 20 + b"]}" * 20,
                b'{"a":tru}', b'{"a":"\\x"}', b'{"a" 1}', b'{"a":[1 2]}',
                b'{"a":1}x', b'{"\\u00e9\\u20ac\\ud83d\\ude00\\u0041":1,"\\u00E9":2}',
                b'{"a":"\\ud800\\u0041"}', b'{"a":"\\udc00"}', b'{"a":"\\u00g0"}',
                b'{"a":"' + b"x" * 99 + b'"}', b'{"a":1e}')


def parse():
    rows = [
        [b"Bearer a.b-c_d~e+f/g==", b"bearer  x", b"Bearer", b"Bearer a b"],
        [b"", b"QQ", b"QUI", b"QUJD", b"QUJDRA", b"-_-_", b"QR", b"Q"],
        [b"", b"00", b"0a" * 16, b"fF", b"abcdef0123456789" * 4, b"0"],
        [b"a%20b%C3%BC%2f", b"%", b"%g0", b"%0", b"~-._", b"a b"],
        [b"after=1&limit=2", b"after=%41+b&x", b"after=1&after=2", b"after",
         b"%61fter=1", b"after=%4", b"&&=&after=%zz"],
        [b"5", b"4", b"18446744073709551614", b"18446744073709551616", b"07",
         b"-1", b" 5"],
        ["Jos\u00e9 \u20ac \U0001f600".encode(), b"\x7f", b"   ", b"a" * 256,
         "\u2003\u3000\u1680\u205f\u00a0\u0085".encode(), b"\xf4\x90\x80\x80",
         b"\xed\xa0\x80", b"2030-01-31T00:00:00Z", b"abc:._-9",
         b"2030-01-31T00:00:00.5+01:00", b"2030-01-31T00:00:00-01:00"],
        [b'"7"', b'W/"7"', b"*", b'"1", W/"2" ,"7"', b'"7', b"x", b" * "]]
    for i, row in enumerate(rows):
        for text in row:
            yield bytes([i]) + text


def params(method, path, *more, **kw):
    """NAME=value strings of a request."""
    base = {"REQUEST_METHOD": method, "REQUEST_URI": path,
            "QUERY_STRING": path.partition("?")[2], "REMOTE_ADDR": "::1"}
    base.update(kw)
    return [f"{k}={v}" for k, v in base.items()] + list(more)


APP = ["HTTP_X_PUBLIC_KEY=" + PUBLIC,
       "HTTP_AUTHORIZATION=Bearer " + token(*GENUINE[0]).decode()]
AS_ADMIN = ["HTTP_AUTHORIZATION=Bearer " + ADMIN]
AS_REGISTRAR = ["HTTP_AUTHORIZATION=Bearer " + REGISTRATION]
TYPE = ["CONTENT_TYPE=application/json"]
PATCH = ["CONTENT_TYPE=application/merge-patch+json; charset=utf-8"]


def asked():
    """(params, body) of requests of all kinds."""
    key = "/v1/apps/" + PUBLIC
    name = b'{"name":"x"}'
    yield params("GET", "/healthz"), b""
    yield params("HEAD", "/readyz"), b""
    yield params("OPTIONS", "/v1/app", "HTTP_ORIGIN=https://a.example"), b""
    yield params("GET", "/metrics", *AS_ADMIN), b""
    yield params("GET", "/v1/whoami", *APP), b""
    yield params("GET", "/v1/auth", *APP, *APP), b""
    yield params("GET", "/", *APP, POSTERN_GATE="nginx"), b""
    yield params("BREW", "/x", *APP, POSTERN_GATE="plain"), b""
    yield params("GET", "/v1/apps?limit=2&after=1", *AS_ADMIN), b""
    yield params("GET", key, *AS_ADMIN), b""
    yield params("DELETE", key, *AS_ADMIN), b""
    yield params("PATCH", key, *AS_ADMIN, *PATCH, CONTENT_LENGTH="12"), name
    yield params("POST", key + "/rotate", *AS_ADMIN, *TYPE,
                 CONTENT_LENGTH="19"), b'{"grace_seconds":1}'
    yield params("POST", "/v1/apps", *AS_REGISTRAR, *TYPE,
                 CONTENT_LENGTH="12"), name
    yield params("POST", "/v1/apps", *AS_REGISTRAR, *TYPE,
                 CONTENT_LENGTH="99"), name
    yield params("POST", "/v1/apps", *AS_REGISTRAR, "CONTENT_TYPE=text/x",
                 "HTTP_CONTENT_ENCODING=gzip", CONTENT_LENGTH="-1"), name
    yield params("POST", "/v1/apps", *AS_REGISTRAR, *TYPE,
                 CONTENT_LENGTH="1x"), b""
    yield params("PUT", "/v1/users/J%c3%bc", *APP, *TYPE,
                 "HTTP_IF_MATCH=*", CONTENT_LENGTH="2"), b"{}"
    yield params("GET", "/v1/users/%2e%2e", "HTTP_IF_NONE_MATCH=W/\"1\""), b""
    yield params("GET", "/v1//me/", "HTTP_X_REQUEST_ID=abc-1"), b""
    yield params("GET", "http://h/v1/me#x", "HTTP_X_REQUEST_ID=a b"), b""
    yield params("GET", "/api/v1/me"), b""
    yield params("GET", "/a/b/v1/me", "REDIRECT_HTTP_AUTHORIZATION=x"), b""
    yield params("GET", "/c/p.fcgi/v1/me", SCRIPT_NAME="/c/p.fcgi",
                 PATH_INFO="/v1/me"), b""
    yield params("GET", "/c/v1/me", SCRIPT_NAME="/c/p.fcgi",
                 PATH_INFO="/v1/me"), b""
    yield params("GET", "", SCRIPT_NAME="/v1", PATH_INFO="/users/%a?b"), b""
    yield params("GET", "/" + "a/" * 9 + "b"), b""


def requests():
    for i, (strings, _) in enumerate(asked()):
        for mode in {0, i % 4, 4}:
            yield bytes([mode]) + "\0".join(strings).encode() + b"\0"


def config():
    full = "\n".join([
        "# a comment", "", "POSTERN_DATABASE_URL=dbname=postern",
        " POSTERN_MASTER_KEY = 9f1c4be2a07d5836c2e81f94d3b76051",
        'POSTERN_ADMIN_TOKEN="' + ADMIN + '"',
        "POSTERN_REGISTRATION_TOKEN=" + REGISTRATION,
        "POSTERN_CACHE_TTL=2.5s", "POSTERN_JWT_ALGORITHMS=HS256 HS512",
        "POSTERN_LISTEN=unix:/run/x", "POSTERN_SOCKET_MODE=0660",
        "POSTERN_LOG_LEVEL=debug", "POSTERN_LOG_FORMAT=json",
        "POSTERN_REGISTRATION=closed", "POSTERN_BASE_PATH=/api",
        "POSTERN_CORS_ORIGINS=https://a.example", "POSTERN_MAX_BODY=65536",
        "POSTERN_JWT_REQUIRE_EXP=no", "POSTERN_KEY_BYTES=16",
        "POSTERN_MASTER_KEYS_OLD=2b8f0d6c41e97a35f0c4d82e6b1793aa",
        "POSTERN_METRICS_TOKEN=metrics-token-of-the-fuzzer-01234567",
        "POSTERN_WORKERS=2\r", "POSTERN_REALM=x", "POSTERN_LISTEN_FILE=/x"])
    yield full.encode()
    for line in full.split("\n"):
        yield line.encode() + b"\n"
    yield from (b"POSTERN_NONE=1", b"PATH=/x", b"no line", b"=x", b"a=b",
                b'POSTERN_REALM="x', b"POSTERN_REALM=1\nPOSTERN_REALM=2",
                b"POSTERN_ADMIN_TOKEN=short1234567890123",
                b"POSTERN_ADMIN_TOKEN_FILE=/dev/null", b"\0",
                b"POSTERN_ADMIN_TOKEN=" + b"x" * 9000, b"POSTERN_URL=x",
                b"POSTERN_MASTER_KEY=000102030405060708090a0b0c0d0e0f",
                b"POSTERN_CACHE_TTL=5000000s", b"POSTERN_GOLIAUTH_ROWS=accept")


def sealed(key_id="0000000000000000"):
    """Also one that opens, of goliauth's format."""
    from Cryptodome.Cipher import AES
    key = bytes.fromhex("9f1c4be2a07d5836c2e81f94d3b76051")
    nonce, raw = b"twelve bytes", b"thirty-two bytes of a secret key"
    label = b"postern master key id\0"[:-1]
    key_id = hmac.digest(key, label, hashlib.sha256)[:8].hex()

    def seal(aad):
        c = AES.new(key, AES.MODE_GCM, nonce=nonce)
        c.update(aad)
        return b"".join([nonce, *c.encrypt_and_digest(raw)]).hex()
    bound = seal(f"postern-v1|{key_id}|{PUBLIC}".encode())
    for k, p, s in (("", PUBLIC, seal(b"")), (key_id, PUBLIC, bound),
                    ("", PUBLIC, bound), (key_id, PUBLIC, seal(b"")),
                    (key_id, PUBLIC[2:] + "00", bound), (key_id, PUBLIC, "00"),
                    ("2b8f0d6c41e97a35f0c4d82e6b1793aa", "x", bound[:-2]),
                    ("AB" * 32, "x", bound.upper()), ("0" * 48, "", "")):
        yield f"{k}\n{p}\n{s}".encode()


def body():
    texts = [b'{"name":"x"}', b'{"name":" "}', b'{"name":1}', b"", b"{}",
             b'{"grace_seconds":0}', b'{"grace_seconds":2592001}',
             b'{"grace_seconds":"x"}', b'{"expires_at":null,"name":"x"}',
             b'{"expires_at":"2030-01-31T00:00:00Z"}', b'{"expires_at":"x"}',
             b'{"a":1e131000}', b'{"a":{"b":null}}', b"[1]", b'{"a":1,"a":1}']
    for i in range(7):
        for t in texts:
            yield bytes([i]) + t
    for i in (7, 8):
        for t in (b"limit=2&after=5", b"limit=0", b"after=%4", b"limit=1&limit=2",
                  b"after=%00", b"", b"limit=200&after=ann+b"):
            yield bytes([i]) + t


def record(kind, content, rid=1):
    return struct.pack(">BBHHBB", 1, kind, rid, len(content), 0, 0) + content


def pair(name, value):
    def length(n):
        return bytes([n]) if n < 128 else struct.pack(">I", n | 1 << 31)
    return length(len(name)) + length(len(value)) + name + value


def raw_request(strings, content, role=1, keep=0):
    pairs = b"".join(pair(*s.encode().split(b"=", 1)) for s in strings)
    return (record(1, struct.pack(">HB5x", role, keep)) + record(4, pairs) +
            record(4, b"") + (record(5, content) if content else b"") +
            record(5, b""))


def op(kind, content=b""):
    return bytes([kind, len(content)]) + content


def fcgi():
    for i, (strings, content) in enumerate(asked()):
        role = 2 if i % 5 == 4 else 1
        yield b"\1" + raw_request(strings, content, role)
        yield (b"\0" + op(0, bytes([role, i % 2])) + b"".join(
            op(1, s.encode()[:255]) for s in strings) + op(2) +
            op(3, content) + op(4))
    health = params("GET", "/healthz")
    post = params("POST", "/v1/apps", *AS_REGISTRAR, *TYPE,
                  CONTENT_LENGTH="12")
    yield b"\1" + raw_request(health, b"", keep=1) * 3
    yield b"\1" + raw_request(health, b"", role=3)
    yield b"\1" + raw_request(health, b"", role=9)
    yield b"\1" + raw_request(post, b'{"name":"x"}')[:-20]
    yield b"\1" + raw_request(post, b'{"name":"x"}')[:-12]
    yield b"\1" + raw_request(post, b"x" * 2000)
    yield b"\1" + record(9, pair(b"FCGI_MAX_CONNS", b"")
                         + pair(b"FCGI_MPXS_CONNS", b""), 0)
    yield b"\1" + record(12, b"x", 0) + record(1, b"\0\1\0\0\0\0\0\0", 7)
    yield b"\1" + b"\2" + raw_request(health, b"")[1:]
    yield b"\1" + record(1, b"\0\1\0\0\0\0\0\0") + record(
        4, b"\x80\x10\x00\x00\x01AB")
    yield b"\0" + op(0, b"\1\1") + op(1, b"REQUEST_METHOD=GET") + op(5)
    yield b"\0" + op(7, b"FCGI_MAX_REQS=") + op(6, b"\1\2\0\1\0\0\0\0")


def records():
    """The streams of fcgi as they come, cut in pieces; and odd ones."""
    for i, (strings, content) in enumerate(asked()):
        if i % 4 == 0:
            yield bytes([7 * i % 256]) + raw_request(strings, content, 1 + i % 3)
    health = params("GET", "/healthz")
    whole = raw_request(health, b"ab", keep=1)
    questions = pair(b"FCGI_MAX_CONNS", b"") + pair(b"FCGI_MAX_REQS", b"") \
        + pair(b"FCGI_MPXS_CONNS", b"") + pair(b"WHAT", b"x" * 200)
    for piece in (0, 3, 255):
        head = bytes([piece])
        yield head + whole * 3
        yield head + record(9, questions, 0) + whole
        yield head + whole[:30] + record(9, questions, 0) + whole[30:]
        yield head + whole + record(5, b"late") + record(2, b"") + whole
        yield head + whole[:16] + record(1, b"\0\1\0\0\0\0\0\0", 2)
        yield head + record(9, pair(b"FCGI_MAX_REQS", b"") * 4, 0)
        yield head + record(77, b"what", 0) + record(9, b"\x0f\0FC", 0)
        yield head + raw_request(health, b"x" * 300)
        yield head + raw_request(health, b"", role=2)[:-8]
        yield head + raw_request(["A" * 200 + "=b"], b"", role=3)
    yield b"\0" + record(2, b"") + whole
    yield b"\0" + b"\2" + whole[1:]
    yield b"\0" + whole[:16] + record(2, b"")
    yield b"\0" + whole[:6] + b"\7" + whole[7:16] + bytes(7) + whole[16:]
    yield b"\0" + record(1, b"\0\1\0\0\0\0\0\0") + record(
        4, b"\xff\xff\xff\xff\xff\xff\xff\xffAB") + record(4, b"")


def logline():
    for mode in (b"\0", b"\1"):
        for a in (b"plain", b"a b=\"c\"\\", b"\n\r\t\x1b[0m", b"\xff\xfe\x80",
                  "\u00fc\u2028\u0085\U0001f600".encode(), b"x" * 5000, b""):
            yield mode + a + b"\0" + a


TARGETS = {"token": tokens, "jwk": jwk, "json": json, "parse": parse,
           "request": requests, "config": config, "sealed": sealed,
           "body": body, "fcgi": fcgi, "record": records,
           "logline": logline}


def main():
    for name, make in TARGETS.items():
        folder = pathlib.Path(sys.argv[1]) / name
        folder.mkdir(parents=True, exist_ok=True)
        for text in make():
            digest = hashlib.sha1(text).hexdigest()[:12]
            (folder / digest).write_bytes(text)


main()
