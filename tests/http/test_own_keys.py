"""Apps' own keys: RS256, ES256 and Ed25519, with no secret here."""
import base64
import hashlib
import hmac
import json
import secrets
import subprocess
import threading
import time

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import utils

from lib.ownkey import KINDS, OwnApp, Pair, number, pair, register
from lib.process import wait_until
from lib.stack import Stack, secret_text_absent
from lib.tokens import ADMIN, REGISTRATION, App, b64

AUTH = {"Authorization": "Bearer " + ADMIN}
COUNTER = iter(range(10 ** 6))


@pytest.fixture(scope="module")
def s(pg):
    with Stack(pg, env={"POSTERN_LOG_LEVEL": "debug"}) as stack:
        yield stack


def fresh(s, kind):
    """An app with a pair of its own."""
    return register(s, Pair(kind) if kind != "RS256"
                    else pair(kind, next(COUNTER) + 100))


@pytest.fixture(scope="module")
def apps(s):
    """One of each kind, for what leaves it as it is."""
    return {kind: register(s, pair(kind)) for kind in KINDS}


def whoami(s, app, token):
    return s.get("/v1/whoami", {"X-Public-Key": app.public,
                                "Authorization": "Bearer " + token})


def key_of(key):
    if key is None:
        return {"kind": "secret", "alg": "HS256", "kid": None}
    return {"kind": "own", "alg": key.kind, "kid": key.kid()}


# -- what they are and what they sign

@pytest.mark.parametrize("kind", KINDS)
def test_register(s, apps, kind):
    app = apps[kind]
    assert "secret_key" not in app.answer or app.secret is None
    assert app.answer["key"] == key_of(app.key)
    assert app.answer["previous_key"] is None
    for r in (s.get("/v1/app", app.auth()),
              s.get("/v1/apps/" + app.public, AUTH)):
        assert r.status == 200, r
        assert r.json()["key"] == key_of(app.key)
        assert list(r.json())[:4] == ["id", "name", "public_key", "key"]
    r = s.get("/v1/whoami", app.auth(sub="ada"))
    assert r.status == 200 and r.json()["claims"]["sub"] == "ada"
    sealed, key_id = s.sql("SELECT encrypted_secret_key, master_key_id"
                           " FROM apps WHERE id = %s", app.id)[0]
    assert sealed.startswith(f"own.{kind}") and app.key.kid() in sealed
    assert app.key.encoded("der").hex() not in sealed
    tool = json.loads(s.tool("app", "get", app.public, "--json").stdout)
    assert tool["key"] == key_of(app.key)


def openssl(key, text, tmp_path):
    """The command line's signature."""
    (tmp_path / "key").write_bytes(key.pem())
    (tmp_path / "text").write_bytes(text)
    if key.kind == "EdDSA":
        how = ["pkeyutl", "-sign", "-rawin", "-inkey", tmp_path / "key", "-in",
               tmp_path / "text"]
    else:
        how = ["dgst", "-sha256", "-sign", tmp_path / "key", tmp_path / "text"]
    sig = subprocess.run(["openssl", *how], capture_output=True,
                         check=True).stdout
    if key.kind == "ES256":
        r, n = utils.decode_dss_signature(sig)
        sig = r.to_bytes(32, "big") + n.to_bytes(32, "big")
    return sig


@pytest.mark.parametrize("kind", KINDS)
def test_other_implementations(s, apps, kind, tmp_path):
    app = apps[kind]
    claims = {"exp": int(time.time()) + 300, "aud": app.public}
    for token in (
            jwt.encode(claims, app.key.private, algorithm=kind),
            app.key.raw_token({"alg": kind}, claims,
                              lambda t: openssl(app.key, t, tmp_path))):
        assert whoami(s, app, token).status == 200


def test_ed25519_names(s):
    """EdDSA (RFC 8037) and Ed25519 (RFC 9864): both, unless alg pins one."""
    for more, good, told in (({}, {"EdDSA", "Ed25519"}, "EdDSA"),
                             ({"alg": "EdDSA"}, {"EdDSA"}, "EdDSA"),
                             ({"alg": "Ed25519"}, {"Ed25519"}, "Ed25519")):
        app = register(s, Pair("EdDSA"), **more)
        assert app.answer["key"]["alg"] == told
        for alg in ("EdDSA", "Ed25519", "eddsa", "ES256", "HS512"):
            r = whoami(s, app, app.key.token(app.public, {"alg": alg}))
            assert (r.status == 200) == (alg in good), (more, alg, r)
            assert r.status == 200 or r.code == "token_algorithm"


@pytest.mark.parametrize("typ,status", [
    ("JWT", 200), ("jwt", 200), ("application/jwt", 200),
    ("Application/JWT", 200), (None, 200), ("at+jwt", 401), ("JWE", 401),
    ("application/at+jwt", 401), ("postern-gate+jwt", 401), ("", 401),
    (1, 401), ("application/jwt ", 401)])
def test_typ(s, apps, app_of_secret, typ, status):
    header = {} if typ is None else {"typ": typ}
    for app in [*apps.values(), app_of_secret]:
        if app.secret is None:
            token = app.token(header=header)
        else:
            token = secret_token(app, header)
        assert whoami(s, app, token).status == status, (app.answer["key"], typ)


@pytest.fixture(scope="module")
def app_of_secret(s):
    return s.register()


def secret_token(app, header, **claims):
    text = "{}.{}".format(
        b64(json.dumps({"alg": "HS256", **header})),
        b64(json.dumps({"exp": int(time.time()) + 300, **claims})))
    mac = hmac.digest(app.secret.encode(), text.encode(), "sha256")
    return f"{text}.{b64(mac)}"


# -- what is no token of theirs

def hmac_tokens(app):
    """HS256 and its kin, keyed with the public key in all its spellings (RFC
    8725 section 2.1)."""
    key = app.key
    jwk = key.jwk()
    pem, der, raw = map(key.encoded, ("pem", "der", "raw"))
    spelt = [pem, pem.strip(), pem.replace(b"\n", b""), pem.replace(
        b"\n", b"\r\n"), der, raw, der.hex().encode(), raw.hex().encode(),
        base64.b64encode(der), b64(der).encode(), b64(raw).encode(),
        json.dumps(jwk).encode(), json.dumps(
            jwk, sort_keys=True, separators=(",", ":")).encode(),
        key.kid().encode(), app.public.encode(), bytes.fromhex(app.public), b""]
    spelt += [v.encode() for v in jwk.values()]
    for k in spelt:
        for alg, name in (("HS256", "sha256"), ("HS384", "sha384"),
                          ("HS512", "sha512")):
            for said in {alg, key.kind}:
                yield key.raw_token(
                    {"alg": said}, {"exp": int(time.time()) + 300,
                                    "aud": app.public},
                    lambda t, k=k, name=name: hmac.digest(k, t, name))


@pytest.mark.covers("RFC8725-3.1", "RFC8725-3.2")
@pytest.mark.parametrize("kind", KINDS)
def test_confusion(s, apps, kind):
    app = apps[kind]
    for token in hmac_tokens(app):
        r = whoami(s, app, token)
        assert (r.status, r.code) == (401, "invalid_credentials"), r


def signatures_behind(token):
    yield from (token + more for more in (
        "=", "==", "A", "AA", "AAAA", "!", "!!", " x", "%20", ".", ".x"))
    last = token[-1]
    alphabet = ("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                "0123456789-_")
    # Bits that base64 drops.
    yield token[:-1] + alphabet[alphabet.index(last) ^ 1]
    yield token[:-1]
    yield token[:-4]


@pytest.mark.covers("RFC8725-3.3", "RFC8725-3.4")
@pytest.mark.parametrize("kind", KINDS)
def test_bad_tokens(s, apps, kind):
    app = apps[kind]
    key, other = app.key, Pair("EdDSA") if kind == "EdDSA" else pair(kind, 1)
    claims = {"exp": int(time.time()) + 300, "aud": app.public}
    good = key.token(app.public)
    head, body, sig = good.split(".")
    bad = [*signatures_behind(good),
           other.token(app.public),
           f"{head}.{body}.", f"{head}.{body}",
           key.raw_token({"alg": kind}, claims, lambda t: bytes(64)),
           key.raw_token({"alg": kind}, claims, lambda t: bytes(256)),
           key.raw_token({"alg": kind}, claims, lambda t: b"\xff" * 512),
           key.raw_token({"alg": kind}, claims, lambda t: key.sign(t + b"x")),
           key.raw_token({"alg": kind}, claims, lambda t: key.sign(t) * 2),
           key.raw_token({"alg": kind}, claims, lambda t: b"\0" + key.sign(t)),
           key.raw_token({"alg": kind}, claims, lambda t: b""),
           key.raw_token({"alg": "none"}, claims, lambda t: b""),
           key.raw_token({"alg": "none"}, claims),
           key.raw_token({"alg": kind.lower()}, claims),
           key.raw_token({"alg": [kind]}, claims),
           key.raw_token({}, claims),
           key.raw_token({"alg": kind, "crit": ["exp"]}, claims),
           key.raw_token({"alg": kind, "b64": False, "crit": ["b64"]}, claims),
           key.raw_token(f'{{"alg":"{kind}","alg":"{kind}"}}'.encode(), claims),
           key.raw_token({"alg": kind}, {"aud": app.public}),
           key.raw_token({"alg": kind}, [claims])]
    bad += [key.raw_token({"alg": alg}, claims) for alg in
            ("RS256", "RS384", "RS512", "PS256", "ES256", "ES384", "ES256K",
             "HS256", "HS512", "EdDSA", "Ed25519", "Ed448")
            if alg != kind and not (kind == "EdDSA" and alg == "Ed25519")]
    for token in bad:
        r = whoami(s, app, token)
        assert r.status == 401, (token, r)
        assert r.code in ("invalid_credentials", "token_algorithm",
                          "token_malformed", "token_without_exp"), (token, r)
    assert whoami(s, app, good).status == 200


def test_other_hashes(s, apps):
    """RS512 and PS256 by the very key, under their own names and under RS256."""
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import padding
    app = apps["RS256"]
    claims = {"exp": int(time.time()) + 300, "aud": app.public}
    for alg, pad, md in (
            ("RS384", padding.PKCS1v15(), hashes.SHA384()),
            ("RS512", padding.PKCS1v15(), hashes.SHA512()),
            ("PS256", padding.PSS(padding.MGF1(hashes.SHA256()), 32),
             hashes.SHA256())):
        for said in (alg, "RS256"):
            r = whoami(s, app, app.key.raw_token(
                {"alg": said}, claims,
                lambda t: app.key.private.sign(t, pad, md)))
            assert (r.status, r.code) == (401, "invalid_credentials"), r


def test_der_signature(s, apps):
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    app = apps["ES256"]
    claims = {"exp": int(time.time()) + 300, "aud": app.public}
    order = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551

    def der(text):
        return app.key.private.sign(text, ec.ECDSA(hashes.SHA256()))

    def with_numbers(change):
        def sign(text):
            raw = app.key.sign(text)
            r, n = change(int.from_bytes(raw[:32], "big"),
                          int.from_bytes(raw[32:], "big"))
            return r.to_bytes(32, "big") + n.to_bytes(32, "big")
        return sign
    for sign in (der, *map(with_numbers, (
            lambda r, n: (0, n), lambda r, n: (r, 0), lambda r, n: (0, 0),
            lambda r, n: (order, n), lambda r, n: (r, order),
            lambda r, n: (2 ** 256 - 1, n), lambda r, n: (n, r)))):
        r = whoami(s, app, app.key.raw_token({"alg": "ES256"}, claims, sign))
        assert (r.status, r.code) == (401, "invalid_credentials"), r


@pytest.mark.covers("RFC8725-3.10")
def test_keys_in_the_header(s, apps):
    """Of no avail, and of no harm."""
    for kind, app in apps.items():
        other = Pair("ES256")
        for more in ({"jwk": other.jwk()}, {"kid": other.kid()},
                     {"kid": "../../etc/passwd"}, {"jku": "http://127.0.0.1:1/"},
                     {"x5u": "http://127.0.0.1:1/"}, {"x5c": ["AAAA"]}):
            assert whoami(s, app, app.token(header=more)).status == 200
            forged = other.raw_token(
                {"alg": "ES256", **more},
                {"exp": int(time.time()) + 300, "aud": app.public})
            assert whoami(s, app, forged).status == 401


# -- for whom a token is

@pytest.mark.covers("RFC8725-3.9")
def test_audience(s, apps):
    other = apps["ES256"].public
    for kind, app in apps.items():
        me, foreign = app.public, other if kind != "ES256" else "b" * 64
        for aud, good in ((me, True), ([me], True), (["x", me, "y"], True),
                          (None, False), ("x", False), (foreign, False),
                          ([], False), ([foreign], False), ([me, 1], False),
                          ({"a": me}, False), (1, False), ("", False),
                          (me.upper() if me.upper() != me else "", False),
                          (me + " ", False), (me[:-1], False)):
            r = whoami(s, app, app.token(aud=aud))
            assert r.status == (200 if good else 401), (aud, r)
            assert good or r.code == "token_audience"
        null = app.key.raw_token(
            {"alg": kind}, {"exp": int(time.time()) + 300, "aud": None})
        assert whoami(s, app, null).code == "token_audience"


def test_audience_of_the_server(make):
    """It has to be there as well; optional lets an absent one pass alone."""
    want = "https://api.example"
    for how in ("required", "optional"):
        s = make(env={"POSTERN_JWT_AUDIENCE": want,
                      "POSTERN_OWN_KEY_AUDIENCE": how})
        app = register(s, pair("EdDSA"))
        for aud, good in ((None, False), (want, False), (app.public, False),
                          ([want, app.public], True)):
            assert (whoami(s, app, app.token(aud=aud)).status == 200) == good
    s = make(env={"POSTERN_OWN_KEY_AUDIENCE": "optional"})
    app, secret = register(s, pair("EdDSA")), s.register()
    for aud, good in ((None, True), ("x", False), ([], False),
                      (app.public, True), (["x", app.public], True)):
        for _ in range(2):  # the second time by the verdict
            assert (whoami(s, app, app.token(aud=aud)).status == 200) == good
    # Secrets are as they were.
    assert s.get("/v1/whoami", secret.auth()).status == 200
    assert s.get("/v1/whoami", secret.auth(aud="x")).status == 200


# -- which keys are taken

def bad_jwks():
    rs, es, ed = (pair(kind).jwk() for kind in KINDS)

    def rsa(bits, **more):
        n = secrets.randbits(bits) | 1 << bits - 1 | 1
        return {**rs, "n": number(n), **more}
    even = base64.urlsafe_b64decode(rs["n"] + "==")
    return {
        "RSA 1024": rsa(1024), "RSA 512": rsa(512), "RSA 8192": rsa(8192),
        "RSA 2047": rsa(2047), "RSA 4097": rsa(4097),
        "e even": {**rs, "e": number(65536)}, "e 1": {**rs, "e": "AQ"},
        "e 3": {**rs, "e": "Aw"}, "n even": {**rs, "n": b64(
            even[:-1] + bytes([even[-1] & 0xfe]))},
        "n with a zero": {**rs, "n": b64(b"\0" + even)},
        "P-384": {**es, "crv": "P-384"},
        "secp256k1": {**es, "crv": "secp256k1"},
        "off the curve": {**es, "y": es["x"]},
        "infinity": {**es, "x": b64(bytes(32)), "y": b64(bytes(32))},
        "Ed448": {**ed, "crv": "Ed448"}, "X25519": {**ed, "crv": "X25519"},
        "off Ed25519's curve": {**ed, "x": b64(b"\2" + bytes(31))},
        "identity": {**ed, "x": b64(b"\1" + bytes(31))},
        "order 2": {**ed, "x": b64(b"\xec" + b"\xff" * 30 + b"\x7f")},
        "not canonical": {**ed, "x": b64(b"\xee" + b"\xff" * 30 + b"\x7f")},
        "private RSA": {**rs, "d": "AQAB"}, "private EC": {**es, "d": es["x"]},
        "private OKP": {**ed, "d": ed["x"]}, "p": {**rs, "p": "AQAB"},
        "symmetric": {"kty": "oct", "k": b64(bytes(32))},
        "use": {**es, "use": "enc"}, "key_ops": {**es, "key_ops": ["sign"]},
        "alg": {**es, "alg": "ES384"}, "PS256": {**rs, "alg": "PS256"},
        "RS512": {**rs, "alg": "RS512"}, "no kty": {"x": es["x"]},
        "a set": {"keys": [es]}, "empty": {}, "a string": "x", "null": None,
        "an array": [es], "PEM": pair("ES256").encoded("pem").decode(),
    }


@pytest.mark.covers("RFC8725-3.5")
def test_bad_keys(s, apps, app_of_secret):
    before = s.sql("SELECT count(*) FROM apps")
    for name, jwk in bad_jwks().items():
        r = register(s, jwk, 400)
        assert r.code == "key_invalid", (name, r)
        assert "jwk" in r.json()["detail"]
        for path, auth in (("/v1/app/rotate", app_of_secret.auth()),
                           (f"/v1/apps/{app_of_secret.public}/rotate", AUTH)):
            r = s.request("POST", path, auth, {"jwk": jwk})
            assert (r.status, r.code) == (400, "key_invalid"), (name, r)
    assert s.sql("SELECT count(*) FROM apps") == before
    assert s.get("/v1/whoami", app_of_secret.auth()).status == 200


def test_member_twice(s):
    """Of the key it is the key's fault, elsewhere the body's."""
    es = json.dumps(Pair("ES256").jwk())
    head = {"Authorization": "Bearer " + REGISTRATION,
            "Content-Type": "application/json"}
    for body, code in (
            (f'{{"name":"x","jwk":{es[:-1]},"kty":"EC"}}}}', "key_invalid"),
            (f'{{"jwk":{es[:-1]},"x5c":{{"a":1,"a":2}}}},"name":"x"}}',
             "key_invalid"),
            (f'{{"name":"x","name":"x","jwk":{es}}}', "json_invalid"),
            (f'{{"name":"x","jwk":{es},"jwk":{es}}}', "json_invalid"),
            (f'{{"jwk":{es},"name":{{"a":1,"a":2}}}}', "json_invalid")):
        r = s.request("POST", "/v1/apps", head, body)
        assert (r.status, r.code) == (400, code), (body, r)


def test_key_in_use(s):
    """A key belongs to one app, the one before the rotation included."""
    one, two = fresh(s, "ES256"), fresh(s, "EdDSA")
    secret = s.register()

    def rotate(app, key, **more):
        return s.request("POST", "/v1/app/rotate", app.auth(),
                         {"jwk": key.jwk(), **more})

    def admin(app, key):
        return s.request("POST", f"/v1/apps/{app.public}/rotate", AUTH,
                         {"jwk": key.jwk()})
    for r in (register(s, one.key, 409),
              register(s, one.key, 409, alg="ES256"),
              rotate(two, one.key), rotate(secret, one.key),
              admin(two, one.key), admin(secret, two.key)):
        assert (r.status, r.code) == (409, "key_in_use"), r
        assert one.public not in r.body.decode()
    assert s.get("/v1/whoami", two.auth()).status == 200
    was, one.key = one.key, Pair("EdDSA")
    r = s.request("POST", "/v1/app/rotate", {
        "X-Public-Key": one.public,
        "Authorization": "Bearer " + was.token(one.public)},
        {"jwk": one.key.jwk()})
    assert r.status == 200, r
    register(s, was, 409)
    # Its own key of before it may have again.
    r = rotate(one, was, end_previous=True)
    assert r.status == 200 and r.json()["key"]["kid"] == was.kid()
    last, one.key = one.key, was
    register(s, last, 409)
    assert s.request("DELETE", "/v1/app/previous-secret",
                     one.auth()).status == 204
    register(s, last)
    assert s.request("DELETE", "/v1/app", one.auth()).status == 204
    register(s, was)


def test_disabled_whoever_holds_the_key(s):
    """After a restore in part, say."""
    app, other = fresh(s, "ES256"), s.register()
    s.sql(f"UPDATE own_keys SET app_id = {other.id} WHERE app_id = {app.id}")
    r = s.request("POST", f"/v1/apps/{app.public}/disable", AUTH)
    assert r.status == 200, r
    s.becomes(app, 401)


def test_two_at_once(s):
    """Of many who bring the same key, one gets in."""
    key, seen = Pair("ES256"), []

    def bring():
        seen.append(s.request(
            "POST", "/v1/apps", {"Authorization": "Bearer " + REGISTRATION},
            {"name": "x", "jwk": key.jwk()}).status)
    threads = [threading.Thread(target=bring) for _ in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert sorted(seen) == [201] + [409] * 7


# -- rotation

@pytest.mark.parametrize("first", [None, *KINDS])
def test_rotate_each_into_each(s, first):
    """With the overlap, and the same identity; the old one manages nothing."""
    app = fresh(s, first) if first else s.register()
    for kind in (None, *KINDS, None):
        key = None if kind is None else (
            Pair(kind) if kind != "RS256" else pair(kind, next(COUNTER) + 100))
        old = app
        r = s.request("POST", "/v1/app/rotate", app.auth(), {
            "end_previous": True, **({"jwk": key.jwk()} if key else {})})
        assert r.status == 200, r
        assert r["Cache-Control"] == "no-store"
        a = r.json()
        assert ("secret_key" in a) == (key is None)
        assert (a["id"], a["public_key"]) == (app.id, app.public)
        assert a["key"] == key_of(key)
        assert a["previous_key"] == old.answer["key"]
        app = OwnApp(a, key) if key else App(a)
        if key is None:
            s.registered.append(app.secret)
        assert s.get("/v1/whoami", app.auth()).status == 200
        assert s.get("/v1/whoami", old.auth()).status == 200
        r = s.request("PATCH", "/v1/app", old.auth(), {"name": "Mine"})
        assert (r.status, r.code) == (403, "previous_secret")
        assert s.request("PATCH", "/v1/app", app.auth(),
                         {"name": "Mine"}).status == 200
    s.request("DELETE", "/v1/app/previous-secret", app.auth())
    s.becomes(old, 401)


def test_move_under_load(make):
    """From a secret to an own key: no request is refused."""
    s = make(workers=2)
    app, key = s.register(), Pair("ES256")
    state = {"auth": app.auth, "stop": False, "seen": []}

    def load():
        while not state["stop"]:
            state["seen"].append(s.get("/v1/whoami", state["auth"]()).status)
    threads = [threading.Thread(target=load) for _ in range(3)]
    for t in threads:
        t.start()
    try:
        wait_until("it runs", lambda: len(state["seen"]) > 50)
        r = s.request("POST", "/v1/app/rotate", app.auth(),
                      {"jwk": key.jwk()})
        assert r.status == 200, r
        moved = OwnApp(r.json(), key)
        n = len(state["seen"])
        wait_until("the old one goes on", lambda: len(state["seen"]) > n + 50)
        s.becomes(moved, 200)  # which is news to the other worker
        state["auth"] = moved.auth
        n = len(state["seen"])
        wait_until("the new one is in", lambda: len(state["seen"]) > n + 50)
    finally:
        state["stop"] = True
        for t in threads:
            t.join()
    assert set(state["seen"]) == {200}


def test_seen_before(s, apps):
    """A token is verified once, and its verdict dies with the key."""
    def counted():
        text = s.get("/metrics", AUTH).body.decode()
        return sum(float(line.split()[1]) for line in text.splitlines()
                   if line.startswith("postern_verdict_hits_total"))
    for kind in KINDS:
        app = fresh(s, kind)
        auth = app.auth(sub="ada")
        before = counted()
        for _ in range(12):
            r = s.get("/v1/whoami", auth)
            assert r.status == 200 and r.json()["claims"]["sub"] == "ada"
        wait_until("verdicts serve", lambda: s.get(
            "/v1/whoami", auth).status == 200 and counted() > before)
        # Of a known token's signature every byte counts.
        token = auth["Authorization"]
        for i in range(len(token) - 90, len(token) - 4, 7):
            bad = token[:i] + ("A" if token[i] != "A" else "B") + token[i + 1:]
            assert s.get("/v1/whoami", {**auth, "Authorization": bad}
                         ).status == 401
        s.tool("app", "disable", app.public)
        s.becomes(app, 401)
        assert s.get("/v1/whoami", auth).status == 401


# -- at rest

@pytest.mark.covers("ASVS-V6.2.7")
def test_planted(s, pg):
    """What the server's own role, or the owner, writes into a row opens
    nothing: another app's sealed key, a plain one, and other words on it."""
    victim, thief = fresh(s, "ES256"), fresh(s, "ES256")
    secret = s.register()
    mine = s.sql("SELECT encrypted_secret_key, master_key_id FROM apps"
                 " WHERE id = %s", thief.id)[0]
    own, secret_text = (s.sql(
        "SELECT encrypted_secret_key FROM apps WHERE id = %s", a.id)[0][0]
        for a in (victim, secret))
    # The thief's key is to be free for the victim's row.
    s.tool("app", "delete", thief.public)
    head, alg, kid, text = own.split(".")
    pem = thief.key.encoded("pem").decode()
    der = thief.key.encoded("der").hex()
    other = Pair("ES256").kid()
    plants = [mine[0], pem, der, f"own.ES256.{thief.key.kid()}.{der}",
              f"own.ES256.{thief.key.kid()}.{pem}",
              f"own.ES256.{thief.key.kid()}.",
              f"own.ES256.{thief.key.kid()}.{text}",
              f"own.ES256.{other}.{text}", f"own.RS256.{kid}.{text}",
              f"own.EdDSA.{kid}.{text}", f"own.HS256.{kid}.{text}",
              f"own.ES256.{kid}", f"own.ES256.{kid}.{text}00",
              f"own.ES256.{kid}.{text[:-2]}", f"own.ES256..{text}",
              f"own..{kid}.{text}", "own.", "own", text, secret_text,
              f"own.ES256.{kid}.{secret_text}", json.dumps(thief.key.jwk())]
    tokens = [victim.auth(), {"X-Public-Key": victim.public, "Authorization":
                              "Bearer " + thief.key.token(victim.public)},
              {"X-Public-Key": victim.public,
               "Authorization": "Bearer " + jwt.encode(
                   {"exp": int(time.time()) + 300, "aud": victim.public},
                   secret.secret, algorithm="HS256")}]
    c = pg.connect(s.database, "server")
    try:
        for plant in plants:
            for key_id in (mine[1], None):
                c.cursor().execute(
                    "UPDATE apps SET encrypted_secret_key = %s,"
                    " master_key_id = %s WHERE id = %s",
                    (plant, key_id, victim.id))
                for headers in tokens:
                    r = s.get("/v1/whoami", headers)
                    assert (r.status, r.code) == (
                        401, "invalid_credentials"), (plant, key_id, r)
        c.cursor().execute(
            "UPDATE apps SET encrypted_secret_key = %s, master_key_id = %s"
            " WHERE id = %s", (own, mine[1], victim.id))
    finally:
        c.close()
    s.becomes(victim, 200)
    assert s.get("/v1/whoami", secret.auth()).status == 200
    r = s.get("/v1/apps/" + victim.public, AUTH)
    assert r.json()["key"] == key_of(victim.key)


def test_reseal(make, make_of, pg):
    """Both kinds, in both places, come under the next master key."""
    s = make()
    old, new = s.master_key, secrets.token_hex(32)
    apps = [fresh(s, kind) for kind in KINDS] + [s.register()]
    for app in apps[:3]:  # a secret before an own key, and the reverse
        r = s.request("POST", "/v1/app/rotate", app.auth(), {})
        assert r.status == 200
        s.registered.append(r.json()["secret_key"])
        apps.append(App(r.json()))
    key = Pair("ES256")
    r = s.request("POST", "/v1/app/rotate", apps[3].auth(),
                  {"jwk": key.jwk()})
    assert r.status == 200
    apps.append(OwnApp(r.json(), key))
    s.env.update(POSTERN_MASTER_KEY=new, POSTERN_MASTER_KEYS_OLD=old)
    r = s.tool("reseal", env={"POSTERN_MASTER_KEY": new,
                              "POSTERN_MASTER_KEYS_OLD": old})
    assert "cannot" not in r.stdout.lower()
    other = make_of(pg, database=s.database, env={"POSTERN_MASTER_KEY": new})
    for app in apps:
        assert other.get("/v1/whoami", app.auth()).status == 200
    assert {x for x, in s.sql("SELECT event FROM app_events"
                              " WHERE event = 'resealed'")} == {"resealed"}


# -- the trail, and the database's own rules

def test_trail(s):
    app = fresh(s, "EdDSA")
    kid = app.key.kid()
    first = {"kind": "own", "alg": "EdDSA/Ed25519", "kid": kid}
    key = Pair("ES256")
    second = {"kind": "own", "alg": "ES256", "kid": key.kid()}
    r = s.request("POST", "/v1/app/rotate", app.auth(), {"jwk": key.jwk()})
    assert r.status == 200
    app = OwnApp(r.json(), key)
    r = s.request("POST", "/v1/app/rotate", app.auth(),
                  {"end_previous": True})
    s.registered.append(r.json()["secret_key"])
    s.tool("app", "delete", app.public)
    events = s.sql("SELECT event, old_values, new_values FROM app_events"
                   " WHERE app_id = %s ORDER BY id", app.id)
    told = [(e, *[{k: v for k, v in (x or {}).items() if "key" in k
                   and "master" not in k} for x in (old, new)])
            for e, old, new in events]
    hidden = {"encrypted_secret_key": "hidden"}
    assert told[0] == ("created", {}, {"key": first})
    assert told[1] == ("rotated", {
        **hidden, "key": first, "previous_encrypted_secret_key": None}, {
        **hidden, "key": second, "previous_encrypted_secret_key": "hidden",
        "previous_key": first}) or told[1][2]["previous_key"] == first
    assert told[2][1]["key"] == second
    assert told[2][2]["key"] == {"kind": "secret"}
    assert told[2][2]["previous_key"] == second
    assert told[3][0] == "deleted"
    assert told[3][1]["previous_key"] == second
    assert s.sql("SELECT count(*) FROM own_keys WHERE app_id = %s",
                 app.id) == [(0,)]


def test_goliauth_inserts(s, pg):
    """As it always did, by the server's role too."""
    c = pg.connect(s.database, "server")
    try:
        for _ in range(2):
            c.cursor().execute(
                "INSERT INTO apps (name, public_key, encrypted_secret_key)"
                " VALUES ('g', %s, %s)",
                (secrets.token_hex(32), secrets.token_hex(60)))
    finally:
        c.close()


def test_nothing_secret(s, apps):
    """No private half is ever here; nor is one taken."""
    for app in apps.values():
        secret_text_absent(s, app.key.pem().decode().splitlines()[2])


def test_the_tool_has_no_key(s, apps):
    for app in apps.values():
        r = s.tool("token", "--app", app.public, check=False)
        assert r.returncode == 1 and "its own key" in r.stderr
