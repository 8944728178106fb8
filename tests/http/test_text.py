"""Text beyond ASCII, as it stands and as JSON's escapes: kept, found and read
back unchanged wherever text is taken."""
import json
import os
import shutil
import time
import urllib.parse

import pytest

from lib.process import USER
from lib.tokens import ADMIN, REGISTRATION, raw_token

pytestmark = pytest.mark.strange

# By how many bytes each takes as UTF-8, and at the ends of each range.
TEXTS = {
    "ascii": "Zoe", "two": "Zoë", "two, first": "\u00a1x", "two, last": "\u07fb",
    "three": "佐伊", "three, first": "\u0905", "three, last": "\uffee",
    "four": "🦊 Zoë", "four, first": "\U00010000", "four, last": "\U0010fffd",
    "right to left": "זואי", "joined": "👩\u200d👧", "decomposed": "Zoe\u0308",
}
# In tokens and documents also what no name may have.
CONTROLS = {"U+007F": "a\x7fb", "U+0080": "a\x80b", "U+001F": "a\x1fb",
            "U+2028": "a\u2028b", "U+FEFF": "\ufeffb", "U+FFFF": "\uffff"}
ESCAPED = pytest.mark.parametrize("escaped", [False, True],
                                  ids=["raw", "escaped"])


def table(*texts):
    rows = {k: v for t in texts for k, v in t.items()}
    return pytest.mark.parametrize("text", rows.values(), ids=rows.keys())


def encode(value, escaped):
    return json.dumps(value, ensure_ascii=escaped)


def headers(app, payload=None, escaped=False, **claims):
    """With the claims' text as it stands, or escaped."""
    payload = payload or encode({"exp": int(time.time()) + 300, **claims},
                                escaped)
    return {"X-Public-Key": app.public, "Content-Type": "application/json",
            "Authorization": "Bearer " + raw_token(
                app.secret, payload=payload.encode())}


def admin(**more):
    return {"Authorization": "Bearer " + ADMIN,
            "Content-Type": "application/json", **more}


@ESCAPED
@table(TEXTS)
def test_app_names(site, text, escaped):
    body = encode({"name": text}, escaped)
    r = site.request("POST", "/v1/apps", {
        "Authorization": "Bearer " + REGISTRATION,
        "Content-Type": "application/json"}, body)
    assert (r.status, r.json()["name"]) == (201, text)
    path = "/v1/apps/" + r.json()["public_key"]
    assert site.get(path, admin()).json()["name"] == text
    r = site.request("PATCH", path, admin(),
                     encode({"name": "x" + text}, escaped))
    assert (r.status, r.json()["name"]) == (200, "x" + text)
    found = site.get("/v1/apps?search=" + urllib.parse.quote("x" + text),
                     admin())
    assert path[9:] in [a["public_key"] for a in found.json()["apps"]]
    shown = json.loads(site.tool("app", "get", path[9:], "--json").stdout)
    assert shown["name"] == "x" + text


@table(TEXTS)
def test_gate_names(site, text):
    app = site.register(text)
    r = site.get("/v1/auth", headers(app, sub=text))
    assert r.status == 204
    quoted = urllib.parse.quote(text, safe="")
    assert (r["X-App-Name"], r["X-Token-Subject"]) == (quoted, quoted)


@ESCAPED
@table(TEXTS, CONTROLS)
def test_claims(site, app, text, escaped):
    """In a name, a value and below."""
    claims = {"exp": int(time.time()) + 300, "c" + text: text,
              "deep": [{text: [text]}], "iss": text, "scope": text}
    r = site.get("/v1/whoami",
                 headers(app, payload=encode(claims, escaped)))
    assert (r.status, r.json().get("claims")) == (200, claims)


@ESCAPED
@table(TEXTS)
def test_users(site, app, text, escaped):
    """As a subject, in a path, in a list and behind a cursor."""
    mine = headers(app, sub=text, escaped=escaped)
    assert site.request("PUT", "/v1/me", mine, "{}").status == 201
    path = "/v1/users/" + urllib.parse.quote(text, safe="")
    assert site.get(path, mine).status == 200
    assert site.get(path, headers(app)).status == 200
    users = site.get("/v1/users", headers(app)).json()["users"]
    assert [u["user"] for u in users] == [text]
    after = site.get("/v1/users?after=" + urllib.parse.quote(text),
                     headers(app))
    assert after.json() == {"users": [], "next": None}
    assert site.get(path + "x", mine).status == 403


@ESCAPED
@table(TEXTS, CONTROLS)
def test_documents(site, app, text, escaped):
    auth = headers(app)
    whole = {"t": text, text: [text, {text: None}]}
    r = site.request("PUT", "/v1/users/u", auth, encode(whole, escaped))
    assert r.status == 201
    assert site.get("/v1/users/u", auth).json() == whole
    auth["Content-Type"] = "application/merge-patch+json"
    r = site.request("PATCH", "/v1/users/u", auth,
                     encode({"t": None, "n": {text: text}}, escaped))
    assert r.status == 200
    assert site.get("/v1/users/u", auth).json() == {
        text: whole[text], "n": {text: text}}


@table(TEXTS)
def test_tool(site, text):
    made = json.loads(site.tool("app", "create", text, "--json").stdout)
    assert made["name"] == text
    invite = json.loads(site.tool(
        "invite", "--label", text, "--json").stdout)
    assert invite["label"] == text
    token = site.tool("token", "--user", text,
                      stdin=made["secret_key"]).stdout.strip()
    r = site.get("/v1/whoami", {"X-Public-Key": made["public_key"],
                                "Authorization": "Bearer " + token})
    assert r.json()["claims"]["sub"] == text


@pytest.mark.parametrize("by", ["environment", "file"])
def test_settings(make, scratch, by):
    """The audience is compared as it was set."""
    text, env = "ünï-佐🦊", {}
    if by == "file":
        path = scratch.dir() / "conf"
        path.write_text(f"POSTERN_JWT_AUDIENCE={text}\n")
        path.chmod(0o600)
        if os.getuid() == 0:
            shutil.chown(path, USER, USER)
        env["POSTERN_CONFIG"] = str(path)
    else:
        env["POSTERN_JWT_AUDIENCE"] = text
    stack = make(env=env)
    app = stack.register()
    for escaped in (False, True):
        for aud, status in ((text, 200), (["x", text], 200), ("x", 401)):
            assert stack.get("/v1/whoami", headers(
                app, aud=aud, escaped=escaped)).status == status


@pytest.mark.parametrize("body", [
    b'{"name":"\xc3"}', b'{"name":"\xed\xa0\x80"}', b'{"name":"\xc0\xaf"}',
    b'{"name":"\xf4\x90\x80\x80"}', rb'{"name":"\ud800"}',
    rb'{"name":"\udc00\ud800"}', b'{"name":"\x80"}', b'{"name":"a\x7f"}'])
def test_bad_text(site, app, body):
    """Not UTF-8, or a control character in a name."""
    token = {"Authorization": "Bearer " + REGISTRATION,
             "Content-Type": "application/json"}
    assert site.request("POST", "/v1/apps", token, body).status == 400
    assert site.request("PATCH", "/v1/apps/" + app.public, admin(),
                        body).status == 400
