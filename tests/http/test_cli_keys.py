"""Apps' own keys at the operator's tool: --key of app create, app rotate and
token."""
import base64
import json
import os
import subprocess
from datetime import datetime, timedelta, timezone

import jwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa, x25519

from lib.ownkey import KINDS, Pair, pair
from lib.process import BUILD
from lib.stack import Stack

TOOL = str(BUILD / "postern")
PEM = serialization.Encoding.PEM
PLAIN = serialization.NoEncryption()
OLDER = serialization.PrivateFormat.TraditionalOpenSSL
PKCS8 = serialization.PrivateFormat.PKCS8
SPKI = serialization.PublicFormat.SubjectPublicKeyInfo


@pytest.fixture(scope="module")
def s(pg):
    with Stack(pg, env={"POSTERN_JWT_ALGORITHMS": "HS384"}) as stack:
        yield stack


def run(env, *args, data=b""):
    """The tool, with bytes on standard input."""
    r = subprocess.run([TOOL, *map(str, args)], env=env, input=data,
                       capture_output=True, timeout=60)
    return r.returncode, r.stdout.decode(), r.stderr.decode()


@pytest.fixture(scope="module")
def settings(s):
    """What the tool of a host has in its environment."""
    return {**s.base_env(), **s.env, "POSTERN_CONFIG": ""}


@pytest.fixture(scope="module")
def nowhere():
    """Settings by which whatever is asked of a database fails, and says so."""
    return {"POSTERN_CONFIG": "",
            "POSTERN_DATABASE_URL": "host=/nowhere dbname=x user=x",
            "POSTERN_MASTER_KEY": os.urandom(32).hex()}


def text(key, form=PKCS8, phrase=PLAIN):
    return key.private_bytes(PEM, form, phrase)


def public(key):
    return key.public_key().public_bytes(PEM, SPKI)


def certificate(key):
    now = datetime.now(timezone.utc)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "x")])
    return x509.CertificateBuilder(name, name, key.public_key(), 1, now,
                                   now + timedelta(1)).sign(
        key, hashes.SHA256()).public_bytes(PEM)


def jwk_text(key, **more):
    return json.dumps(key.jwk(**more)).encode()


RSA, P256 = pair("RS256"), pair("ES256")
PHRASE = serialization.BestAvailableEncryption(b"phrase")
P384, SMALL = ec.generate_private_key(ec.SECP384R1()), \
    rsa.generate_private_key(65537, 1024)
OPENSSH = serialization.PrivateFormat.OpenSSH

# name: (what the file has, of what the refusal speaks)
NO_PUBLIC = {
    "pkcs8": (text(P256.private), "a private one"),
    "sec1": (text(P256.private, OLDER), "a private one"),
    "pkcs1 private": (text(RSA.private, OLDER), "a private one"),
    "encrypted": (text(P256.private, PKCS8, PHRASE), "a private one"),
    "encrypted, older": (text(P256.private, OLDER, PHRASE), "a private one"),
    "openssh": (text(P256.private, OPENSSH), "a private one"),
    "public, then private": (public(P256.private) + text(P256.private),
                             "a private one"),
    "private, then public": (text(P256.private) + public(P256.private),
                             "a private one"),
    "public twice": (public(P256.private) * 2, "neither"),
    "jwk with d": (jwk_text(P256, d="AAAA"), "a private one"),
    "jwk with d, spaced": (jwk_text(P256)[:-1] + b',"d" \n : "AAAA"}',
                           "a private one"),
    "jwk of a secret": (b'{"kty":"oct","k":"AAAA"}', "a private one"),
    "set of private": (b'{"keys":[%s]}' % jwk_text(P256, d="AAAA"),
                       "a private one"),
    "set": (b'{"keys":[%s]}' % jwk_text(P256), "a set of keys"),
    "list": (b"[%s]" % jwk_text(P256), "neither"),
    "pkcs1 public": (RSA.public.public_bytes(
        PEM, serialization.PublicFormat.PKCS1), "PKCS #1"),
    "openssh public": (P256.public.public_bytes(
        serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH),
        "OpenSSH"),
    "certificate": (certificate(P256.private), "a certificate"),
    "der": (P256.encoded("der"), "neither"),
    "rsa 1024": (public(SMALL), "2048 to 4096 bits"),
    "p-384": (public(P384), "P-256"),
    "x25519": (public(x25519.X25519PrivateKey.generate()), "Ed25519"),
    "jwk for encryption": (jwk_text(P256, use="enc"), "another use"),
    "jwk of another alg": (jwk_text(RSA, alg="PS256"), "alg"),
    "half": (public(RSA.private)[:200], "neither"),
    "text": (b"a key\n", "neither"),
    "empty": (b"", "nothing is there"),
    "a MiB": (public(P256.private) + b"\n" * (1 << 20), "16384 bytes"),
}

NO_PRIVATE = {
    "public": (public(P256.private), "a public one"),
    "certificate": (certificate(P256.private), "a certificate"),
    "encrypted": (text(P256.private, PKCS8, PHRASE), "encrypted"),
    "encrypted, older": (text(P256.private, OLDER, PHRASE), "encrypted"),
    "openssh": (text(P256.private, OPENSSH), "OpenSSH"),
    "jwk": (jwk_text(P256, d="AAAA"), "a JWK"),
    "rsa 1024": (text(SMALL), "2048 to 4096 bits"),
    "rsa, e = 3": (text(rsa.generate_private_key(3, 2048)), "e = 65537"),
    "p-384": (text(P384), "P-256"),
    "x25519": (text(x25519.X25519PrivateKey.generate()), "Ed25519"),
    "half": (text(P256.private)[:90], "damaged"),
    "text": (b"a key\n", "no private key"),
    "empty": (b"", "nothing is there"),
    "a MiB": (text(P256.private) + b"\n" * (1 << 20), "16384"),
}

KEY = "ab" * 32
CALLS = {"create": ("app", "create", "An app"), "rotate": ("app", "rotate", KEY)}


def quotes_none(data, err):
    """No line of a key stands in what was said."""
    lines = [x for x in data.decode(errors="replace").split() if len(x) > 40]
    return not any(x[:40] in err for x in lines)


@pytest.mark.parametrize("name", NO_PUBLIC)
def test_no_public_key(nowhere, tmp_path, name):
    data, words = NO_PUBLIC[name]
    path = tmp_path / "key"
    path.write_bytes(data)
    for call in CALLS.values():
        for file, given in ((path, b""), ("-", data)):
            rc, out, err = run(nowhere, *call, "--key", file, data=given)
            assert (rc, out) == (1, "") and words in err, err
            assert "wanted is a public key" in err and quotes_none(data, err)
            assert "database" not in err, err


@pytest.mark.parametrize("name", NO_PRIVATE)
def test_no_private_key(nowhere, tmp_path, name):
    data, words = NO_PRIVATE[name]
    path = tmp_path / "key"
    path.touch(0o600)
    path.write_bytes(data)
    for file, given in ((path, b""), ("-", data)):
        rc, out, err = run(nowhere, "token", KEY, "--app", "--key", file,
                           data=given)
        assert (rc, out) == (1, "") and words in err, err
        assert "wanted is a private key" in err and quotes_none(data, err)


def test_no_file(nowhere, tmp_path):
    os.mkfifo(tmp_path / "fifo", 0o600)
    private = tmp_path / "open"
    private.write_bytes(text(P256.private))
    private.chmod(0o604)
    for args, words in (
            ((*CALLS["create"], "--key", tmp_path), "directory"),
            ((*CALLS["create"], "--key", tmp_path / "nosuch"), "No such file"),
            (("token", KEY, "--app", "--key", tmp_path), "regular file"),
            (("token", KEY, "--app", "--key", tmp_path / "fifo"),
             "regular file"),
            (("token", KEY, "--app", "--key", tmp_path / "nosuch"),
             "No such file"),
            (("token", KEY, "--app", "--key", private), "open to others")):
        rc, out, err = run(nowhere, *args)
        assert (rc, out) == (1, "") and words in err and "database" not in err
    rc, out, err = run(nowhere, "token", "--app", "--key", private)
    assert (rc, out) == (2, "") and "PUBLIC_KEY" in err


@pytest.mark.parametrize("args", [
    ["app", "get", KEY, "--key", "x"], ["app", "list", "--key", "x"],
    ["app", "create", "a", "--key"], ["token", "--key", "x"],
    ["token", "--app", "--user", "u", "--key", "x"]])
def test_usage(nowhere, args):
    assert run(nowhere, *args)[0] == 2


# -- what is taken

def whoami(s, public_key, token):
    return s.get("/v1/whoami", {"X-Public-Key": public_key,
                                "Authorization": "Bearer " + token})


def told(key):
    return {"kind": "own", "alg": key.kind, "kid": key.kid()}


def forms(key, tmp_path):
    """A private key in the forms that people have: name, path."""
    kinds = {"PKCS #8": PKCS8}
    if key.kind != "EdDSA":
        kinds["older"] = OLDER
    for name, form in kinds.items():
        path = tmp_path / name
        path.touch(0o600)
        path.write_bytes(text(key.private, form))
        yield path


@pytest.mark.parametrize("kind", KINDS)
def test_own_key(s, settings, tmp_path, kind):
    """Registered, shown, its tokens minted and taken; then another key, and a
    secret, and back."""
    key, path = Pair(kind), tmp_path / "public"
    path.write_bytes(public(key.private))
    rc, out, err = run(settings, "app", "create", kind, "--key", path, "--json")
    app = json.loads(out)
    assert rc == 0 and app["key"] == told(key) and "secret_key" not in app
    assert "secret" not in err
    me = app["public_key"]
    rc, out, _ = run(settings, "app", "get", me)
    assert rc == 0 and f"own {kind} {key.kid()}\n" in out
    assert "secret" not in out
    row = next(x for x in run(settings, "app", "list")[1].splitlines()
               if me in x)
    assert row.split()[3:5] == [kind, me]

    for file in forms(key, tmp_path):
        for who, sub in ((["--app"], None), (["--user", "ada"], "ada")):
            rc, token, err = run(settings, "token", me, "--key", file, *who)
            assert rc == 0, err
            token = token.strip()
            assert jwt.get_unverified_header(token) == {
                "alg": kind, "typ": "JWT"}
            claims = jwt.decode(token, key.public, [kind], audience=me)
            assert claims.get("sub") == sub
            assert whoami(s, me, token).status == 200
    # The database was not asked, so the trail says nothing of it.
    rc, out, _ = run(settings, "app", "events", me)
    assert "secret_opened" not in out
    # Without the file there is nothing to sign with.
    rc, out, err = run(settings, "token", me, "--app")
    assert (rc, out) == (1, "") and "--key FILE" in err

    other = Pair(KINDS[(KINDS.index(kind) + 1) % 3])
    rc, out, _ = run(settings, "app", "rotate", me, "--key", "-", "--json",
                     data=jwk_text(other))
    app = json.loads(out)
    assert rc == 0 and app["key"] == told(other)
    assert app["previous_key"] == told(key) and "secret_key" not in app
    assert f"own {kind} {key.kid()}\n" in run(settings, "app", "get", me)[1]
    rc, out, _ = run(settings, "app", "rotate", me, "--grace", "0", "--json")
    app = json.loads(out)
    assert rc == 0 and app["key"]["kind"] == "secret"
    assert len(app["secret_key"]) == 64
    rc, out, _ = run(settings, "app", "rotate", me, "--grace", "0", "--key",
                     path)
    assert rc == 0 and f"own {kind} {key.kid()}\n" in out


def test_key_in_use(s, settings, tmp_path):
    (tmp_path / "key").write_bytes(public(P256.private))
    assert run(settings, "app", "create", "a", "--key", tmp_path / "key")[0] == 0
    rc, out, err = run(settings, "app", "create", "b", "--key",
                       tmp_path / "key")
    assert (rc, out) == (1, "") and "another app has this key" in err


def test_halves_of_two(nowhere, tmp_path):
    """A pair whose halves don't fit signs nothing."""
    der = P256.private.private_bytes(serialization.Encoding.DER, PKCS8, PLAIN)
    point, other = P256.encoded("raw"), pair("ES256", 1).encoded("raw")
    assert der.count(point) == 1
    mixed = base64.encodebytes(der.replace(point, other)).decode()
    path = tmp_path / "key"
    path.touch(0o600)
    path.write_text("-----BEGIN PRIVATE KEY-----\n" + mixed
                    + "-----END PRIVATE KEY-----\n")
    rc, out, err = run(nowhere, "token", KEY, "--app", "--key", path)
    assert (rc, out) == (1, "") and err != ""


def test_audience(nowhere, tmp_path):
    """aud by what the settings want of tokens, under either kind of key."""
    path = tmp_path / "key"
    path.touch(0o600)
    path.write_bytes(text(P256.private))
    own = ["--key", path]
    site = {"POSTERN_JWT_AUDIENCE": "api"}
    optional = {"POSTERN_OWN_KEY_AUDIENCE": "optional"}
    for env, args, aud in (
            ({}, [KEY, *own], [KEY]),
            (site, [KEY, *own], ["api", KEY]),
            (optional, [KEY, *own], [KEY]),
            (optional, own, None),
            ({**optional, **site}, own, ["api"]),
            ({}, [*own, "--claim", "aud=x"], "x"),
            (site, [KEY, *own, "--claim", "aud=x"], "x"),
            ({}, [], None),
            (site, [], ["api"]),
            (site, ["--claim", "aud=x"], "x")):
        rc, out, err = run({**nowhere, **env}, "token", "--app", *args,
                           data=b"cd" * 32)
        assert rc == 0, err
        claims = jwt.decode(out.strip(), options={"verify_signature": False})
        assert claims.get("aud") == aud, (env, args)


@pytest.mark.parametrize("alg", ["HS256", "HS384", "HS512"])
def test_hmac_by_the_settings(nowhere, alg):
    secret = b"cd" * 32
    rc, out, err = run({**nowhere, "POSTERN_JWT_ALGORITHMS": alg}, "token",
                       "--app", data=secret)
    assert rc == 0, err
    jwt.decode(out.strip(), secret, [alg])


def test_what_the_server_takes(s, settings):
    """Tokens by another HMAC than HS256: the tool's, and the doctor's."""
    rc, out, _ = run(settings, "app", "create", "a", "--json")
    app = json.loads(out)
    me, secret = app["public_key"], app["secret_key"].encode()
    assert rc == 0 and app["key"]["alg"] == "HS384"
    assert "secret HS384\n" in run(settings, "app", "get", me)[1]
    for args, data in (([me], b""), ([], secret)):
        rc, token, err = run(settings, "token", "--app", *args, data=data)
        assert rc == 0, err
        assert whoami(s, me, token.strip()).status == 200
    rc, out, err = run(settings, "doctor", f"http://127.0.0.1:{s.port}",
                       "--public-key", me, data=secret)
    assert rc == 0, out + err


def test_unreadable_settings(nowhere):
    rc, out, err = run({"POSTERN_CONFIG": "/nowhere/postern.conf"}, "token",
                       "--app", data=b"cd" * 32)
    assert rc == 0 and "/nowhere/postern.conf" in err
    jwt.decode(out.strip(), b"cd" * 32, ["HS256"])
