"""Who is let in: credentials, token rules (RFC 8725, 7515, 7519, 6750)."""
import base64
import hashlib
import hmac
import json
import pathlib
import re
import socket
import subprocess
import time
import zlib

import jwt
import pytest

from lib.stack import secret_text_absent
from lib.tokens import ADMIN, REGISTRATION, App, b64, raw_token

pytestmark = pytest.mark.strange

HERE = pathlib.Path(__file__).resolve().parent


def whoami(site, app, token, key=True, extra=()):
    headers = {"Authorization": "Bearer " + token}
    if key:
        headers["X-Public-Key"] = app.public
    return site.get("/v1/whoami", {**headers, **dict(extra)})


def refused(r, code, error="invalid_token"):
    assert r.status == 401, r
    assert r.code == code, r
    challenge = r["WWW-Authenticate"]
    assert challenge.startswith('Bearer realm="postern"')
    if error is None:
        assert "error=" not in challenge
    else:
        assert f'error="{error}"' in challenge


def test_pyjwt(site, app):
    r = site.get("/v1/whoami", app.auth(scope=["a", "b"], n=1.5))
    assert r.status == 200
    assert r.json()["claims"]["scope"] == ["a", "b"]
    assert "no-cache" in r["Cache-Control"] and "private" in r["Cache-Control"]
    # And ours by PyJWT.
    token = site.tool("token", "--user", "ada", app.public).stdout.strip()
    claims = jwt.decode(token, app.secret, algorithms=["HS256"])
    assert claims["sub"] == "ada"
    assert claims["exp"] - claims["iat"] == 300
    token = site.tool("token", "--app", stdin=app.secret + "\n").stdout.strip()
    assert whoami(site, app, token).status == 200


def test_jose(site, app):
    """Tokens made, and ours verified, by another implementation."""
    r = subprocess.run(
        ["node", HERE / "jose.mjs", "sign", app.secret, '{"sub":"ada"}'],
        capture_output=True, text=True, check=True)
    answer = whoami(site, app, r.stdout.strip())
    assert answer.status == 200, answer
    assert answer.json()["claims"]["sub"] == "ada"
    ours = site.tool("token", "--user", "ada", app.public).stdout.strip()
    r = subprocess.run(
        ["node", HERE / "jose.mjs", "verify", app.secret, ours],
        capture_output=True, text=True, check=True)
    assert json.loads(r.stdout)["sub"] == "ada"


@pytest.mark.covers("RFC6750-3")
def test_nothing_sent(site, app):
    refused(site.get("/v1/whoami"), "credentials_missing", None)
    refused(site.get("/v1/whoami", {"X-Public-Key": app.public}),
            "token_missing", None)
    refused(whoami(site, app, app.token(), key=False), "public_key_missing",
            "invalid_request")


@pytest.mark.covers("RFC6750-2", "RFC6750-3")
@pytest.mark.parametrize("authorization", [
    "Bearer", "Bearer ", "Basic YTpi", "Token x.y.z", "Bearer a b",
    "Bearer x", "Bearerx.y.z", "Bearer =", "Bearer \"x\"",
])
def test_not_a_bearer_token(site, app, authorization):
    refused(site.get("/v1/whoami", {"X-Public-Key": app.public,
                                    "Authorization": authorization}),
            "invalid_credentials")


@pytest.mark.covers("RFC6750-2")
def test_scheme_in_any_case(site, app):
    for scheme in ("bearer", "BEARER", "Bearer  "):
        r = site.get("/v1/whoami", {"X-Public-Key": app.public,
                                    "Authorization": f"{scheme} {app.token()}"})
        assert r.status == 200


@pytest.mark.parametrize("key", [
    "0" * 64, "x" * 64, "", "0" * 30, "0" * 130, "0" * 63, "A" * 64,
    "' OR 1=1 --",
])
def test_unknown_keys_look_alike(site, app, key):
    r = site.get("/v1/whoami", {"X-Public-Key": key,
                                "Authorization": "Bearer " + app.token()})
    assert r.status == 401
    assert r.code in ("invalid_credentials", "public_key_missing")


@pytest.mark.covers("API2:2023", "ASVS-V6.2.1")
def test_one_answer(site, app):
    """Unknown key, bad signature, disabled and expired app: the same."""
    other = site.register()
    disabled, expired = site.register(), site.register()
    site.tool("app", "disable", disabled.public)
    site.sql("UPDATE apps SET expires_at = now() - interval '1 second'"
             " WHERE public_key = %s", expired.public)
    unknown = App({**app.answer, "public_key": "ab" * 32})
    answers = [
        whoami(site, unknown, app.token()),
        whoami(site, app, other.token()),
        whoami(site, disabled, disabled.token()),
        whoami(site, expired, expired.token()),
        whoami(site, disabled, disabled.token(exp=-300)),
        whoami(site, app, raw_token(app.secret, mac=b"\0" * 32)),
    ]
    seen = set()
    for r in answers:
        refused(r, "invalid_credentials")
        body = r.json()
        body.pop("instance")
        seen.add((json.dumps(body), r["WWW-Authenticate"],
                  tuple(sorted(k for k in r.headers if k != "Date"))))
    assert len(seen) == 1
    # The operator's log says which.
    log = site.log()
    for reason in ("key_unknown", "signature_bad", "app_disabled",
                   "app_expired"):
        assert f"reason={reason}" in log


def hs(header, payload=None, **kw):
    return lambda app: raw_token(app.secret, header, payload, **kw)


FUTURE = int(time.time()) + 3600


@pytest.mark.covers("RFC8725-3.1", "RFC8725-3.2", "RFC8725-3.4", "RFC8725-3.7",
                    "RFC8725-3.11", "RFC7515-2", "RFC7515-4", "RFC7515-4.1.11",
                    "RFC7519-2", "RFC7519-4.1", "API2:2023", "ASVS-V3.5.2",
                    "ASVS-V3.5.3")
@pytest.mark.parametrize("name,token,code", [
    ("none, empty signature",
     lambda a: f'{b64(json.dumps(dict(alg="none")))}.{b64("{}")}.', None),
    ("none, signed", hs('{"alg":"none"}'), "token_algorithm"),
    ("None, signed", hs('{"alg":"NONE"}'), "token_algorithm"),
    ("lowercase", hs('{"alg":"hs256"}'), "token_algorithm"),
    ("named HS384", hs('{"alg":"HS384"}'), "token_algorithm"),
    ("HS384", lambda a: a.token(algorithm="HS384"), "invalid_credentials"),
    ("HS512", lambda a: a.token(algorithm="HS512"), "invalid_credentials"),
    ("RS256", hs('{"alg":"RS256"}'), "token_algorithm"),
    ("no alg", hs('{"typ":"JWT"}'), "token_algorithm"),
    ("alg a number", hs('{"alg":256}'), "token_algorithm"),
    ("alg twice", hs('{"alg":"none","alg":"HS256"}'), "token_malformed"),
    ("alg escaped twice", hs('{"alg":"HS256","\\u0061lg":"none"}'),
     "token_malformed"),
    ("crit", hs('{"alg":"HS256","crit":["exp"]}'), "token_malformed"),
    ("crit empty", hs('{"alg":"HS256","crit":[]}'), "token_malformed"),
    ("b64 false", hs('{"alg":"HS256","crit":["b64"],"b64":false}'),
     "token_malformed"),
    ("typ at+jwt", hs('{"alg":"HS256","typ":"at+jwt"}'), "token_malformed"),
    ("typ a number", hs('{"alg":"HS256","typ":1}'), "token_malformed"),
    ("header an array", hs('["HS256"]'), "token_malformed"),
    ("header with NUL", hs('{"alg":"HS256"}\0{}'), "token_malformed"),
    ("single quotes", hs("{'alg':'HS256'}"), "token_malformed"),
    ("payload an array", hs('{"alg":"HS256"}', "[]"), "token_malformed"),
    ("payload a string", hs('{"alg":"HS256"}', '"x"'), "token_malformed"),
    ("payload null", hs('{"alg":"HS256"}', "null"), "token_malformed"),
    ("trailing text", hs('{"alg":"HS256"}', '{"exp":%d} x' % FUTURE),
     "token_malformed"),
    ("BOM", hs('{"alg":"HS256"}', '\ufeff{"exp":%d}' % FUTURE),
     "token_malformed"),
    ("exp twice", hs('{"alg":"HS256"}', '{"exp":1,"exp":%d}' % FUTURE),
     "token_malformed"),
    ("deep duplicate", hs('{"alg":"HS256"}',
                          '{"exp":%d,"a":[{"b":1,"b":2}]}' % FUTURE),
     "token_malformed"),
    ("bad UTF-8", hs('{"alg":"HS256"}',
                     b'{"exp":%d,"a":"\xc0\xaf"}' % FUTURE),
     "token_malformed"),
    ("surrogate", hs('{"alg":"HS256"}', '{"exp":%d,"a":"\\ud800"}' % FUTURE),
     "token_malformed"),
    ("nested 33", hs('{"alg":"HS256"}', '{"exp":%d,"a":%s}' % (
        FUTURE, "[" * 32 + "]" * 32)), "token_malformed"),
    ("no exp", lambda a: a.token(exp=None), "token_without_exp"),
    ("expired", lambda a: a.token(exp=-31), "token_expired"),
    ("exp a string", hs('{"alg":"HS256"}', '{"exp":"%d"}' % FUTURE),
     "token_malformed"),
    ("exp null", hs('{"alg":"HS256"}', '{"exp":null}'), "token_malformed"),
    ("exp true", hs('{"alg":"HS256"}', '{"exp":true}'), "token_malformed"),
    ("exp NaN", hs('{"alg":"HS256"}', '{"exp":NaN}'), "token_malformed"),
    ("exp -1e999", hs('{"alg":"HS256"}', '{"exp":-1e999}'), "token_expired"),
    ("exp -1", hs('{"alg":"HS256"}', '{"exp":-1}'), "token_expired"),
    ("nbf in the future", lambda a: a.token(nbf=int(time.time()) + 60),
     "token_not_yet_valid"),
    ("iat in the future", lambda a: a.token(iat=int(time.time()) + 60),
     "token_not_yet_valid"),
    ("nbf a string", lambda a: raw_token(
        a.secret, payload='{"exp":%d,"nbf":"1"}' % FUTURE),
     "token_malformed"),
    ("four parts", lambda a: a.token() + ".x", None),
    ("five parts", lambda a: a.token() + ".e30.e30", None),
    ("two parts", lambda a: a.token().rsplit(".", 1)[0], None),
    ("padding", lambda a: a.token() + "=", None),
    ("space inside", lambda a: a.token().replace(".", ". ", 1), None),
    ("plus", lambda a: "+" + a.token(), None),
    ("signature cut", lambda a: a.token()[:-1], None),
    ("signature empty", lambda a: a.token().rsplit(".", 1)[0] + ".", None),
    ("last character not canonical", lambda a: canonical_twin(a.token()),
     None),
    ("too long", lambda a: a.token(x="y" * 6200), None),
    ("key decoded from hex", lambda a: a.token(secret=bytes.fromhex(a.secret)),
     None),
])
def test_rules(site, app, name, token, code):
    text = token(app)
    r = whoami(site, app, text)
    if len(text) > 8192:
        assert r.status in (401, 431)
        return
    refused(r, code or "invalid_credentials")


def canonical_twin(token):
    """Another text of the same signature: unused bits set."""
    alphabet = ("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                "0123456789-_")
    return token[:-1] + alphabet[alphabet.index(token[-1]) + 1]


@pytest.mark.covers("RFC8725-3.10", "RFC7519-2", "RFC7519-4.1")
@pytest.mark.parametrize("token", [
    lambda a: a.token(exp=-20),                      # within the leeway
    lambda a: a.token(nbf=int(time.time()) + 20),
    lambda a: raw_token(a.secret, payload='{"exp":%d.5}' % FUTURE),
    lambda a: raw_token(a.secret, payload='{"exp":1e15}'),
    lambda a: raw_token(a.secret, ' {"alg" : "HS256"} '),
    lambda a: a.token(headers={"typ": "jwt"}),
    lambda a: a.token(headers={"kid": "../../etc/passwd", "jku": "http://x"}),
    lambda a: a.token(aud="anyone", iss="0" * 64),
    lambda a: a.token(x="y" * 5600),
])
def test_accepted(site, app, token):
    r = whoami(site, app, token(app))
    assert r.status == 200, r


def own_reading(site):
    text = site.get("/metrics", {"Authorization": f"Bearer {ADMIN}"}).body
    return int(re.search(rb"^postern_tokens_own_reading_total (\d+)$", text,
                         re.M)[1])


@pytest.mark.covers("RFC7519-2", "RFC7519-4.1", "RFC8725-3.3")
@pytest.mark.parametrize("number,exp,alone", [
    ("9223372036854775807", True, False),
    ("9223372036854775808", True, True),
    ("18446744073709551615", True, True),
    ("10014255632117358197", True, True),
    ("1" + "0" * 400, True, True),
    ("1" + "0" * 400 + ".5", True, True),
    ("1e300", True, False),
    ("1.7976931348623157e308", True, False),
    ("1e400", True, True),
    ("1E+999999", True, True),
    ("-9223372036854775809", False, True),
    ("-1e400", False, True),
    ("1e-400", False, False),
    ("0.1e-999999", False, False),
])
def test_numbers_of_any_size(site, app, number, exp, alone):
    """Ours to judge where libjwt's parser can't: no claim is refused for
    it, and nothing else is any laxer."""
    before = own_reading(site)
    asked = 0
    for header, payload in (
            (None, '{"exp":%d,"uid":%s}' % (FUTURE, number)),
            (None, '{"a":[{"b":%s}],"exp":%d}' % (number, FUTURE)),
            ('{"alg":"HS256","n":%s}' % number, '{"exp":%d}' % FUTURE)):
        token = raw_token(app.secret, *([header] if header else []),
                          payload=payload)
        for path in ("/v1/whoami", "/v1/auth", "/v1/app"):
            r = site.get(path, {"X-Public-Key": app.public,
                                "Authorization": "Bearer " + token})
            assert r.status in (200, 204), r
            asked += 1
            if path == "/v1/whoami":  # as signed, to the byte
                assert f'"claims":{payload}'.encode() in r.body
        wrong = raw_token("x" * 64, *([header] if header else []),
                          payload=payload)
        refused(whoami(site, app, wrong), "invalid_credentials")
    r = whoami(site, app, raw_token(app.secret,
                                    payload='{"exp":%s}' % number))
    if exp:
        assert r.status == 200, r
    else:
        refused(r, "token_expired")
    assert own_reading(site) - before == (asked + 1 if alone else 0)


@pytest.mark.covers("RFC8725-3.8", "RFC8725-3.12")
@pytest.mark.parametrize("sub", ['""', "null", "0", "1.5", "true", "false",
                                 "[]", '["u"]', "{}", '{"a":1}'])
@pytest.mark.parametrize("path", ["/v1/whoami", "/v1/app", "/v1/me",
                                  "/v1/auth"])
def test_sub_of_wrong_type(site, app, sub, path):
    token = raw_token(app.secret, payload='{"exp":%d,"sub":%s}'
                      % (FUTURE, sub))
    r = site.get(path, {"X-Public-Key": app.public,
                        "Authorization": "Bearer " + token})
    refused(r, "token_subject")


@pytest.mark.covers("RFC6750-2", "ASVS-V13.1.3")
def test_token_in_url_is_ignored(site, app):
    t = app.token()
    r = site.get(f"/v1/whoami?access_token={t}&jwt={t}&public_key={app.public}")
    refused(r, "credentials_missing", None)
    assert t not in site.log()


@pytest.mark.covers("RFC6750-2", "ASVS-V13.2.3")
def test_cookies_are_no_credentials(site, app):
    t = app.token()
    cookie = {"Cookie": f"token={t}; access_token={t}; Authorization={t}"}
    for more, code in (({}, "credentials_missing"),
                       ({"X-Public-Key": app.public}, "token_missing")):
        refused(site.get("/v1/whoami", {**cookie, **more}), code, None)
    refused(site.get("/v1/apps", {"Cookie": f"token={ADMIN}"}),
            "credentials_missing", None)
    for r in (site.get("/v1/whoami", app.auth()), site.get("/healthz"),
              site.request("PUT", "/v1/users/u", app.auth(), {})):
        assert r.status in (200, 201) and r.all("Set-Cookie") == []


@pytest.mark.covers("RFC8725-3.8")
def test_issuer_selects_nothing(site, app):
    other = site.register()
    named = dict(iss=other.public, headers={"kid": other.public})
    r = whoami(site, app, app.token(**named))
    assert r.status == 200
    assert r.json()["app"]["public_key"] == app.public
    # Nor does it make another's signature good.
    refused(whoami(site, other, app.token(**named)), "invalid_credentials")
    refused(whoami(site, app, other.token(**named)), "invalid_credentials")


@pytest.mark.covers("RFC8725-3.10", "API7:2023", "ASVS-V3.5.3")
def test_keys_in_the_header_are_ignored(site, app):
    """A key that a token brings verifies nothing, and none is fetched."""
    own = "5" * 64
    with socket.create_server(("127.0.0.1", 0)) as there:
        url = "http://127.0.0.1:%d/keys" % there.getsockname()[1]
        for header in ({"jku": url}, {"x5u": url, "kid": url},
                       {"jwk": {"kty": "oct", "k": b64(own)}},
                       {"x5c": [b64(own)], "kid": own}):
            refused(whoami(site, app, app.token(secret=own, headers=header)),
                    "invalid_credentials")
            r = whoami(site, app, app.token(headers=header, iss=url, jku=url))
            assert r.status == 200, r
        r = site.request("PUT", "/v1/users/u", {
            **app.auth(), "Origin": url, "Referer": url},
            {"picture": url, "$schema": url})
        assert r.status == 201
        there.setblocking(False)
        with pytest.raises(BlockingIOError):
            there.accept()


@pytest.mark.covers("RFC8725-3.6")
def test_nothing_is_inflated(site, app):
    header, text = '{"alg":"HS256","zip":"DEF"}', '{"exp":%d}' % FUTURE
    for bits in (-15, 15, 31):  # raw, zlib's, gzip's
        packed = zlib.compress(text.encode(), wbits=bits)
        refused(whoami(site, app, raw_token(app.secret, header, packed)),
                "token_malformed")
    # The member means nothing.
    r = whoami(site, app, raw_token(app.secret, header, text))
    assert r.status == 200


@pytest.mark.covers("RFC6750-2", "API2:2023")
def test_credentials_twice(site, app):
    t = app.token()

    def ask(*lines):
        return site.raw_http("\r\n".join(
            ["GET /v1/whoami HTTP/1.1", "Host: x", "Connection: close",
             *lines, "", ""]))

    key, auth = f"X-Public-Key: {app.public}", f"Authorization: Bearer {t}"
    assert ask(key, auth).startswith(b"HTTP/1.1 200")
    for lines in ([key, key, auth], [key, auth, auth],
                  [key, f"X_Public_Key: {app.public}", auth],
                  [f"X_Public_Key: {'0' * 64}", key, auth],
                  [key, auth, "Authorization: Bearer x"],
                  [f"X-Public-Key: {app.public},", auth]):
        assert ask(*lines).startswith(b"HTTP/1.1 401"), lines


@pytest.mark.covers("RFC6750-2", "API2:2023")
def test_credentials_twice_as_params(alone):
    """nginx sends two params for a header sent twice; libfcgi would take the
    first."""
    app = register_raw(alone)
    good = [("REQUEST_METHOD", "GET"), ("REQUEST_URI", "/v1/whoami"),
            ("HTTP_X_PUBLIC_KEY", app.public),
            ("HTTP_AUTHORIZATION", "Bearer " + app.token())]
    assert alone.fcgi(good).status == 200
    for extra in ([("HTTP_X_PUBLIC_KEY", "0" * 64)],
                  [("HTTP_AUTHORIZATION", "Bearer x")],
                  [("REDIRECT_HTTP_AUTHORIZATION", "Bearer x")],
                  [("REDIRECT_" * 2 + "HTTP_AUTHORIZATION", "Bearer x")],
                  [("REDIRECT_" * 70 + "HTTP_AUTHORIZATION", "Bearer x")]):
        assert alone.fcgi(good + extra).status == 401
        assert alone.fcgi(extra + good).status == 401
    # As Apache's internal redirects name it, each a REDIRECT_ more.
    for deep in (1, 2, 3, 10, 70):
        name = "REDIRECT_" * deep + "HTTP_AUTHORIZATION"
        moved = [(name, good[3][1])]
        assert alone.fcgi(good[:3] + moved).status == 200
        assert alone.fcgi(good + moved).status == 200
        assert alone.fcgi(good[:3] + moved + moved).status == 401
        assert alone.fcgi(good[:3] + moved + [
            ("REDIRECT_" + name, "Bearer x")]).status == 401
        assert alone.fcgi(good[:3] + [
            (name, ""), ("REDIRECT_" + name, good[3][1])]).status == 200


def register_raw(stack):
    body = b'{"name":"raw"}'
    r = stack.fcgi({
        "REQUEST_METHOD": "POST", "REQUEST_URI": "/v1/apps",
        "CONTENT_TYPE": "application/json", "CONTENT_LENGTH": len(body),
        "HTTP_AUTHORIZATION": "Bearer " + REGISTRATION}, body)
    assert r.status == 201, r
    return App(r.json())


def test_secret_encoding_suspected(site, app):
    for wrong in (bytes.fromhex(app.secret),
                  base64.b64decode(app.secret)):
        refused(whoami(site, app, app.token(secret=wrong)),
                "invalid_credentials")
    assert len(site.log_lines("secret_encoding_suspected")) >= 2
    secret_text_absent(site, app.secret)


@pytest.mark.covers("RFC8725-3.2", "RFC8725-3.9", "RFC7519-4.1", "ASVS-V3.5.2",
                    "ASVS-V6.2.4")
def test_settings(make):
    s = make(env={"POSTERN_JWT_AUDIENCE": "https://api.example",
                  "POSTERN_JWT_MAX_AGE": "60", "POSTERN_JWT_LEEWAY": "0",
                  "POSTERN_JWT_ALGORITHMS": "HS512",
                  "POSTERN_JWT_REQUIRE_EXP": "off"})
    app = s.register()
    now = int(time.time())
    ok = dict(aud="https://api.example", iat=now)

    def ask(algorithm="HS512", **claims):
        return whoami(s, app, app.token(algorithm=algorithm, **claims))

    assert ask(**ok).status == 200
    assert ask(**{**ok, "aud": ["x", "https://api.example"]}).status == 200
    assert ask(exp=None, **ok).status == 200
    for other in ("HS256", "HS384"):
        refused(ask(algorithm=other, **ok), "invalid_credentials")
    refused(ask(iat=now), "token_audience")
    refused(ask(**{**ok, "aud": "https://api.example/"}), "token_audience")
    refused(ask(**{**ok, "aud": ["https://api.example", 1]}),
            "token_audience")
    refused(ask(aud=ok["aud"]), "token_without_iat")
    refused(ask(**{**ok, "iat": now - 120}), "token_too_old")
    refused(ask(exp=-1, **ok), "token_expired")


def test_key_is_the_characters(site, app):
    """The HMAC key is the secret's 64 ASCII characters (RFC 7515 by hand)."""
    signed = b64('{"alg":"HS256"}') + "." + b64('{"exp":%d}' % FUTURE)
    mac = hmac.new(app.secret.encode("ascii"), signed.encode(),
                   hashlib.sha256).digest()
    assert whoami(site, app, f"{signed}.{b64(mac)}").status == 200


@pytest.mark.covers("RFC8725-3.5")
@pytest.mark.parametrize("size", [16, 64])
def test_key_bytes(make, size):
    s = make(env={"POSTERN_KEY_BYTES": str(size)})
    app = s.register()
    assert len(app.public) == len(app.secret) == 2 * size
    assert s.get("/v1/whoami", app.auth()).status == 200
    assert s.get("/v1/whoami", app.auth(secret="0" * 2 * size)).status == 401
