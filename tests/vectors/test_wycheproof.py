"""Project Wycheproof's vectors against the product's own layers: the JWS layer
of auth/token under secrets and apps' own keys, the keys that base/jwk takes and
the signatures of base/crypto_key, and HMAC-SHA256 and AES-GCM of base/crypto,
which seal and token stand on. Every vector is accounted for: taken and right, or
refused.
"""
import base64
import collections
import json
import os
import pathlib
import subprocess

import pytest

REPO = pathlib.Path(__file__).resolve().parents[2]
BUILD = REPO / os.environ.get("POSTERN_BUILD", "build")
FOLDER = pathlib.Path(os.environ.get("POSTERN_WYCHEPROOF") or
                      REPO.parent / "shared" / "wycheproof")

# Called valid with a '?' inside the base64url text, which RFC 7515 section 2
# forbids: either answer is right.
EITHER = {372, 373}

# Called invalid for a padding that the file has lost: byte for byte they are
# 357, which is valid.
SAME_AS_VALID = {367: 357, 370: 357}


def groups(name, expected):
    """The file's groups; it has as many vectors as this test knows of."""
    path = FOLDER / name
    if not path.exists():
        pytest.skip(f"no {path} (POSTERN_WYCHEPROOF names another folder)")
    data = json.loads(path.read_text())
    assert sum(len(g["tests"]) for g in data["testGroups"]) == expected
    return data["testGroups"]


def ask(questions):
    """One answer for each (kind, field...), as ('ok', hex) or ('no', '')."""
    def field(f):
        return (f if isinstance(f, str) else bytes(f).hex()) or "-"
    lines = "".join(" ".join([kind, *map(field, fields)]) + "\n"
                    for kind, *fields in questions)
    r = subprocess.run([str(BUILD / "vectors" / "driver")], input=lines,
                       stdout=subprocess.PIPE, text=True, timeout=60,
                       check=True)
    answers = [line.partition(" ")[::2] for line in r.stdout.splitlines()]
    assert len(answers) == len(questions)
    return [(yes, "" if rest == "-" else rest) for yes, rest in answers]


@pytest.fixture()
def report(capsys):
    """Prints the counts, whatever comes of the test's other output."""
    def say(what, counts, total):
        assert sum(counts.values()) == total, counts
        with capsys.disabled():
            print(f"\nvectors: {what}: {total} = " + ", ".join(
                f"{n} {name}" for name, n in sorted(counts.items())))
    return say


def unb64(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def jwk_of(group):
    return group.get("private") or group.get("public") or group["jwk"]


def jws_keys(group):
    """The secret; of a public key, all that a confused verifier might take
    for one (RFC 8725 section 2.1)."""
    jwk = jwk_of(group)
    if jwk["kty"] == "oct":
        return [unb64(jwk["k"])]
    public = group.get("public", jwk)
    parts = [unb64(public[k]) for k in ("n", "e", "x", "y") if k in public]
    text = json.dumps(public, separators=(",", ":")).encode()
    pem = [group[k].encode() for k in group if k.endswith("Pem")]
    return [text, *parts, b"".join(parts), *pem]


@pytest.mark.covers("RFC8725-3.1", "RFC8725-3.2", "ASVS-V6.2.2")
def test_jws(report):
    counts = collections.Counter()
    cases = [(g, t) for g in groups("json_web_signature_test.json", 401)
             for t in g["tests"]]
    questions, owners = [], []
    for g, t in cases:
        for key in jws_keys(g):
            questions.append(("jws", key, t["jws"].encode()))
            owners.append((g, t))
    said = collections.defaultdict(list)
    for (g, t), answer in zip(owners, ask(questions)):
        said[t["tcId"]].append((g, t, answer))
    for answers in said.values():
        g, t, (yes, payload) = answers[0]
        if jwk_of(g)["kty"] != "oct":
            assert all(a[2][0] == "no" for a in answers), t
            counts["of other algorithms, refused"] += 1
        elif t["tcId"] in EITHER:
            counts["either way, here: " + yes] += 1
        elif t["tcId"] in SAME_AS_VALID:
            twin = said[SAME_AS_VALID[t["tcId"]]][0][1]
            assert t["jws"] == twin["jws"] and yes == "ok", t
            counts["invalid by name, the bytes of a valid one, taken"] += 1
        elif t["result"] == "valid":
            assert yes == "ok", t
            assert bytes.fromhex(payload) == unb64(t["jws"].split(".")[1]), t
            counts["valid, taken, payload right"] += 1
        else:
            assert t["result"] == "invalid" and yes == "no", t
            counts["invalid, refused"] += 1
    report("JWS", counts, 401)
    assert counts["of other algorithms, refused"] == 361


@pytest.mark.covers("ASVS-V6.2.2")
def test_hmac(report):
    counts = collections.Counter()
    cases = [(g, t) for g in groups("hmac_sha256_test.json", 174)
             for t in g["tests"]]
    answers = ask([("hmac", t["key"], t["msg"], t["tag"]) for _, t in cases])
    for (g, t), (yes, _) in zip(cases, answers):
        if g["tagSize"] != 256:
            # Nothing here ever compares a truncated MAC.
            assert yes == "no", t
            counts["of a truncated MAC, refused"] += 1
        elif t["result"] == "valid":
            assert yes == "ok", t
            counts["valid, taken"] += 1
        else:
            assert t["result"] == "invalid" and yes == "no", t
            counts["invalid, refused"] += 1
    report("HMAC-SHA256", counts, 174)
    assert counts["of a truncated MAC, refused"] == 87


@pytest.mark.covers("ASVS-V6.2.2", "ASVS-V6.2.3", "ASVS-V6.2.7")
def test_aes_gcm(report):
    counts = collections.Counter()
    cases = [(g, t) for g in groups("aes_gcm_test.json", 316)
             for t in g["tests"]]
    seals = ask([("seal", t["key"], t["iv"], t["aad"], t["msg"])
                 for _, t in cases])
    opens = ask([("open", t["key"], t["iv"], t["aad"], t["ct"] + t["tag"])
                 for _, t in cases])
    for (g, t), sealed, opened in zip(cases, seals, opens):
        if g["ivSize"] != 96:
            assert sealed[0] == "no" and opened[0] == "no", t
            counts["of another nonce's length, refused"] += 1
        elif t["result"] == "valid":
            assert sealed == ("ok", t["ct"] + t["tag"]), t
            assert opened == ("ok", t["msg"]), t
            counts["valid, sealed and opened right"] += 1
        else:
            assert t["result"] == "invalid" and opened[0] == "no", t
            counts["invalid, refused"] += 1
    report("AES-GCM", counts, 316)
    assert counts["of another nonce's length, refused"] == 119


@pytest.mark.covers("RFC8725-3.1", "RFC8725-3.2", "ASVS-V6.2.2")
def test_jws_own_keys(report):
    """Under the key that its group has, where its algorithm is one of ours."""
    counts = collections.Counter()
    cases = [(g, t) for g in groups("json_web_signature_test.json", 401)
             for t in g["tests"] if jwk_of(g)["kty"] != "oct"]
    answers = ask([("own", json.dumps(g["public"]).encode(), t["jws"].encode())
                   for g, t in cases])
    for (g, t), (yes, payload) in zip(cases, answers):
        alg = g["public"].get("alg")
        if alg not in ("RS256", "ES256", None):
            assert yes == "key", t
            counts["of a key for another algorithm, refused"] += 1
        elif alg is None:
            # By use or key_ops they are there to encrypt.
            assert (yes, t["result"]) == ("key", "invalid"), t
            counts["of a key for another use, refused"] += 1
        elif t["tcId"] in EITHER:
            counts["either way, here: " + yes] += 1
        elif ".." in t["jws"] and t["result"] == "valid":
            assert yes == "no", t
            counts["valid, but of an empty payload, refused"] += 1
        elif t["result"] == "valid":
            assert yes == "ok", (g["public"], t)
            assert bytes.fromhex(payload) == unb64(t["jws"].split(".")[1]), t
            counts[f"of {alg}, valid, taken, payload right"] += 1
        else:
            assert t["result"] == "invalid" and yes == "no", (g["public"], t)
            counts[f"of {alg}, invalid, refused"] += 1
    report("JWS, own keys", counts, 361)


def signatures(report, name, expected, what):
    counts = collections.Counter()
    cases = [(g, t) for g in groups(name, expected) for t in g["tests"]]
    answers = ask([("pem", g["publicKeyPem"].encode(), t["msg"], t["sig"])
                   for g, t in cases])
    for (g, t), (yes, _) in zip(cases, answers):
        if t["result"] == "acceptable":
            counts["either way, here: " + yes] += 1
        elif yes == "key":
            # A valid signature under a key that isn't taken here.
            counts[f"{t['result']}, of a key that is refused"] += 1
        else:
            assert yes == {"valid": "ok", "invalid": "no"}[t["result"]], (g, t)
            counts[f"{t['result']}, "
                   + ("taken" if yes == "ok" else "refused")] += 1
    report(what, counts, expected)
    return counts


@pytest.mark.covers("ASVS-V6.2.2")
def test_ecdsa(report):
    counts = signatures(report, "ecdsa_secp256r1_sha256_p1363_test.json", 262,
                        "ECDSA P-256, r and s")
    assert counts["valid, taken"] == 173


@pytest.mark.covers("ASVS-V6.2.2")
def test_ed25519(report):
    counts = signatures(report, "ed25519_test.json", 151, "Ed25519")
    assert counts["valid, taken"] == 88


@pytest.mark.covers("ASVS-V6.2.2")
def test_rsa(report):
    counts = signatures(report, "rsa_signature_2048_sha256_test.json", 259,
                        "RSA 2048, SHA-256")
    assert counts["valid, taken"] == 7
    # Their e is 3.
    assert counts["valid, of a key that is refused"] == 2


@pytest.mark.covers("RFC8725-3.1", "RFC8725-3.5")
def test_jwk(report):
    """Of a key set the key that the token names: a set is no key here."""
    counts = collections.Counter()
    questions, cases = [], []
    for g in groups("json_web_key_test.json", 26):
        for t in g["tests"]:
            header = json.loads(unb64(t["jws"].split(".")[0]))
            keys = jwk_of({"public": None, **g} if "public" not in g else
                          {"public": g["public"]})["keys"]
            key = next(k for k in keys if k.get("kid") == header.get("kid"))
            questions.append(("own", json.dumps(key).encode(),
                              t["jws"].encode()))
            cases.append((key, t))
    for (key, t), (yes, _) in zip(cases, ask(questions)):
        if key["kty"] == "oct":
            assert yes == "key", t
            counts["symmetric, refused as a key"] += 1
        elif t["result"] == "valid":
            assert yes == "ok", t
            counts["valid, taken"] += 1
        else:
            assert yes in ("key", "no"), t
            counts["invalid, refused " + {
                "key": "as a key", "no": "as a token"}[yes]] += 1
    report("JWK", counts, 26)
