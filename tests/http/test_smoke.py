"""The whole path, once, in each of the two ways under lighttpd."""
import json
import os
import re
import subprocess

from lib.process import PATIENCE, REPO, SAN_ENV
from lib.tokens import REGISTRATION


def test_register_authenticate_serve(both):
    app = both.register("Zoë & co")
    r = both.get("/v1/whoami", app.auth(scope="x"))
    assert r.status == 200
    assert r.json()["app"] == {
        k: app.answer[k] for k in
        ("id", "name", "public_key", "created_at", "updated_at")}
    assert r.json()["claims"]["scope"] == "x"
    r = both.request("PUT", "/v1/users/ada", app.auth(), {"city": "London"})
    assert r.status == 201
    r = both.get("/v1/me", app.auth(sub="ada"))
    assert (r.status, r.json()) == (200, {"city": "London"})
    assert both.get("/v1/whoami").status == 401


def test_static_page(both):
    r = both.get("/")
    assert r.status == 200
    assert b"Postern" in r.body
    assert "default-src 'none'" in r["Content-Security-Policy"]


def shell_blocks(text):
    return re.findall(r"^```sh\n(.*?)^```$", text, re.M | re.S)


def test_readme_session(scratch, both):
    """What README says to paste, as it stands but for where and which."""
    text = (REPO / "README.md").read_text()
    session, = [b for b in shell_blocks(text) if b.startswith("VAR=")]
    d = scratch.dir()
    (d / "registration-token").write_text(REGISTRATION + "\n")
    (d / "bin").symlink_to(scratch.bin)
    head, _, rest = session.partition("\n")
    assert head == "VAR=var URL=http://127.0.0.1:8080"
    r = subprocess.run(
        ["bash", "-euo", "pipefail", "-c",
         f"VAR={d} URL=http://127.0.0.1:{both.port}\n{rest}"],
        capture_output=True, text=True, timeout=PATIENCE, cwd=d,
        env={"PATH": os.environ["PATH"], "HOME": str(d), **SAN_ENV})
    assert (r.returncode, r.stderr) == (0, "")
    whoami, stored, read = r.stdout.splitlines()
    assert json.loads(whoami)["app"]["name"] == "My first app"
    assert stored == read == '{"city": "London"}'
