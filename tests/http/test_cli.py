"""The operator's tool, as it is called: arguments in, output and status out."""

import json
import os
import pty
import re
import subprocess
import termios
import time
from pathlib import Path

import jwt
import pytest

from lib.postgres import ask
from lib.process import BUILD
from lib.tokens import gcm_seal

ROOT = Path(__file__).resolve().parents[2]
TOOL = str(BUILD / "postern")
HEX64 = re.compile(r"[0-9a-f]{64}")


class Tool:
    """The tool with settings of its own and a database."""

    def __init__(self, pg, migrate=True):
        self.pg, self.name = pg, pg.database(migrate)
        self.env = {"POSTERN_DATABASE_URL": pg.url(self.name, "owner"),
                    "POSTERN_MASTER_KEY": run({}, "master-key").out.strip()}

    def __call__(self, *args, **kw):
        return run({**self.env, **kw.pop("env", {})}, *args, **kw)

    def sql(self, text):
        """The first column of the first row, if there is one."""
        rows = ask(self.pg.connect(self.name), text)
        return rows[0][0] if rows else None

    def create(self, name="an app"):
        got = self("app", "create", name, "--json")
        assert got.rc == 0
        return json.loads(got.out)


class Got:
    def __init__(self, done):
        self.rc, self.out, self.err = \
            done.returncode, done.stdout, done.stderr


def run(env, *args, stdin="", **kw):
    return Got(subprocess.run([TOOL, *args], env=env, input=stdin, text=True,
                              capture_output=True, timeout=30, **kw))


@pytest.fixture
def bare(pg):
    """A database without tables."""
    return Tool(pg, migrate=False)


@pytest.fixture
def tool(pg):
    """A migrated database, new for each test."""
    return Tool(pg)


@pytest.mark.parametrize("bits,digits", [(128, 32), (192, 48), (256, 64)])
def test_master_key(bits, digits):
    a = run({}, "master-key", "--bits", str(bits))
    b = run({}, "master-key", f"--bits={bits}")
    assert a.rc == 0 and re.fullmatch(f"[0-9a-f]{{{digits}}}\n", a.out)
    assert a.out != b.out and a.err == ""


@pytest.mark.parametrize("args", [
    [], ["nosuch"], ["master-key", "--bits", "12"], ["master-key", "x"],
    ["master-key", "--nope"], ["master-key", "-x"], ["master-key", "--bits"],
    ["migrate", "x"], ["migrate", "--grant", ""], ["check", "x"],
    ["settings", "x"], ["settings", "--json"], ["app"],
    ["app", "nosuch"], ["app", "create"], ["app", "create", ""],
    ["app", "create", " "], ["app", "create", "a", "b"],
    ["app", "create", "a\nb"], ["app", "create", "x" * 101],
    ["app", "get", "ab"], ["app", "get", "AB" * 32], ["app", "list", "x"],
    ["app", "list", "--limit", "0"], ["app", "list", "--limit", "-1"],
    ["app", "rotate", "ab" * 32, "--grace", "2592001"],
    ["app", "get", "ab" * 32, "--grace", "1"],
    ["token"], ["token", "--app", "--user", "u"], ["token", "--user", ""],
    ["token", "--user", "a\tb"], ["token", "--user", "u" * 256],
    ["token", "--app", "--claim", "sub=x"],
    ["token", "--app", "--claim", "exp=1"], ["token", "--app", "--claim", "x"],
    ["token", "--app", "--claim", "=x"],
    ["token", "--app", "--claim", "a=1", "--claim", "a=2"],
    ["token", "--app", "--expires", "0"],
    ["token", "--app", "--expires", "1e3"], ["token", "--app", "xyz"],
])
def test_usage(args):
    got = run({}, *args)
    assert (got.rc, got.out) == (2, "") and got.err != ""


@pytest.mark.parametrize("args", [
    ["--help"], ["--version"], ["master-key", "--help"], ["migrate", "--help"],
    ["check", "--help"], ["token", "--help"], ["app", "--help"],
    ["app", "create", "--help"], ["app", "list", "-h"], ["settings", "--help"],
])
def test_help(args):
    got = run({}, *args)
    assert (got.rc, got.err) == (0, "") and got.out != ""


def test_nearest():
    assert "'check'" in run({}, "chek").err
    assert "'app list'" in run({}, "app", "lst").err
    assert "did you mean" not in run({}, "frobnicate").err


def test_not_under_a_web_server():
    got = run({"GATEWAY_INTERFACE": "CGI/1.1"}, "master-key")
    assert (got.rc, got.out) == (1, "") and "postern.fcgi" in got.err


def test_settings_missing():
    got = run({}, "app", "list")
    assert got.rc == 1 and "POSTERN_DATABASE_URL" in got.err


def test_before_migrations(bare):
    got = bare("app", "list")
    assert got.rc == 1 and "postern migrate" in got.err
    got = bare("check")
    assert got.rc == 1 and re.search(r"^FAIL  schema ", got.out, re.M)


def test_migrate(bare):
    tool = bare
    tool.sql('CREATE ROLE "Web server"')
    names = [p.stem for p in sorted((ROOT / "sql").glob("*.sql"))]
    got = tool("migrate")
    assert got.rc == 0
    assert got.out.splitlines() == ["applied " + n for n in names]
    again = tool("migrate", "--json")
    assert json.loads(again.out) == {
        "applied": [], "version": int(names[-1][:3])}
    assert tool("migrate").out.startswith("nothing to do")
    assert tool("migrate", "--grant", "Web server").rc == 0
    got = tool("migrate", "--grant", "nobody; --")
    assert got.rc == 1 and "does not exist" in got.err


def test_life_of_an_app(tool):
    made = tool.create("Ünïcode")
    key = made["public_key"]
    assert HEX64.fullmatch(key) and HEX64.fullmatch(made["secret_key"])
    shown = tool("app", "get", key, "--json")
    assert json.loads(shown.out) == {
        k: v for k, v in made.items() if k != "secret_key"}
    rotated = tool("app", "rotate", key, "--grace", "60", "--json")
    new = json.loads(rotated.out)
    assert new["secret_key"] != made["secret_key"]
    assert new["previous_valid_until"] and "not shown again" in rotated.err
    assert json.loads(tool("app", "disable", key, "--json").out)["disabled_at"]
    got = tool("token", "--app", key)
    assert (got.rc, got.out) == (1, "") and "disabled" in got.err
    assert not json.loads(
        tool("app", "enable", key, "--json").out)["disabled_at"]
    assert tool("app", "delete", key).out == f"deleted: {key}\n"
    for command in ("get", "rotate", "disable", "enable", "delete"):
        got = tool("app", command, key)
        assert (got.rc, got.out) == (1, "") and key in got.err
    actors = tool.sql("SELECT DISTINCT actor FROM app_events")
    assert re.fullmatch(r"cli:\S+", actors)


def test_secret_is_for_stdout_alone(tool):
    got = tool("app", "create", "words")
    secret = re.search(r"^secret_key: +([0-9a-f]{64})$", got.out, re.M)[1]
    assert secret not in got.err and "not shown again" in got.err
    key = re.search(r"^public_key: +([0-9a-f]{64})$", got.out, re.M)[1]
    for args in (["app", "get", key], ["app", "list"], ["check"]):
        got = tool(*args)
        assert secret not in got.out + got.err


def test_secret_that_can_not_be_written(tool):
    with open("/dev/full", "w") as full:
        done = subprocess.run([TOOL, "app", "create", "x"], env=tool.env,
                              stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1
    assert "rotate " + tool.sql("SELECT public_key FROM apps") in done.stderr


def test_list_pages(tool):
    tool.sql("INSERT INTO apps (name, public_key, encrypted_secret_key) "
             "SELECT 'n' || i, lpad(to_hex(i), 64, '0'), 'x' "
             "FROM generate_series(1, 250) i")
    everything = json.loads(tool("app", "list", "--json").out)
    assert [a["name"] for a in everything["apps"]] == [
        f"n{i}" for i in range(1, 251)]
    assert everything["next"] is None
    for limit in (1, 100, 249):
        page = json.loads(tool("app", "list", "--json", "--limit",
                               str(limit)).out)
        assert len(page["apps"]) == limit
        assert page["next"] == page["apps"][-1]["id"]
        rest = json.loads(tool("app", "list", "--json", "--after",
                               str(page["next"])).out)
        assert page["apps"] + rest["apps"] == everything["apps"]
    page = json.loads(tool("app", "list", "--json", "--limit", "250").out)
    assert page == everything
    assert len(tool("app", "list").out.splitlines()) == 251


@pytest.mark.parametrize("raw,shown", [
    ("a\x1b[31mb", r"a\x1b[31mb"), ("a\nid: 9", r"a\x0aid: 9"),
    ("a\x7f", r"a\x7f"), ("a\x9b1m", r"a\xc2\x9b1m"),
    ("a\u202eb", r"a\xe2\x80\xaeb"), ("Grüße 名前", "Grüße 名前"),
])
def test_a_terminal_is_not_steered(tool, raw, shown):
    text = raw.replace("'", "''")
    tool.sql("INSERT INTO apps (name, public_key, encrypted_secret_key) "
             f"VALUES ('{text}', '{'ab' * 32}', 'x')")
    for args in (["app", "list"], ["app", "get", "ab" * 32]):
        assert f" {shown}\n" in tool(*args).out
    exact = json.loads(tool("app", "list", "--json").out)
    assert exact["apps"][0]["name"] == raw


def test_token_of_an_app(tool):
    app = tool.create()
    got = tool("token", "--app", app["public_key"])
    assert got.err == "" and got.out.count("\n") == 1
    claims = jwt.decode(got.out.strip(), app["secret_key"], ["HS256"])
    assert claims.keys() == {"iat", "exp", "jti"}
    assert claims["exp"] - claims["iat"] == 300
    assert abs(claims["iat"] - time.time()) < 30
    other = tool("token", "--app", app["public_key"])
    assert jwt.decode(other.out.strip(), app["secret_key"],
                      ["HS256"])["jti"] != claims["jti"]


def test_token_of_a_user(tool):
    app = tool.create()
    got = tool("token", "--user", 'ü"\\', app["public_key"], "--claim",
               "aud=https://x/?a=b", "--claim", 'q"=', "--expires", "7")
    claims = jwt.decode(got.out.strip(), app["secret_key"], ["HS256"],
                        audience="https://x/?a=b")
    assert claims["sub"] == 'ü"\\' and claims['q"'] == ""
    assert claims["exp"] - claims["iat"] == 7


def test_token_from_stdin_needs_no_settings():
    secret = "0f" * 32
    for line in (secret, secret + "\n", secret + "\r\n", secret + "\nmore"):
        got = run({}, "token", "--app", stdin=line)
        assert jwt.decode(got.out.strip(), secret, ["HS256"])
    for line in ("", "\n", "xyz", secret.upper(), secret * 3, secret + "0",
                 " " + secret):
        got = run({}, "token", "--app", stdin=line)
        assert (got.rc, got.out) == (1, "")


def test_token_too_long():
    got = run({}, "token", "--app", "--claim", "a=" + "x" * 8000,
              stdin="0f" * 32)
    assert (got.rc, got.out) == (1, "") and "8192" in got.err


def read_until(fd, text):
    seen = b""
    deadline = time.monotonic() + 10
    while text not in seen and time.monotonic() < deadline:
        seen += os.read(fd, 4096)
    return seen


@pytest.mark.parametrize("interrupt", [False, True])
def test_token_prompt_does_not_echo(interrupt):
    pid, fd = pty.fork()
    if pid == 0:
        os.execve(TOOL, [TOOL, "token", "--app"], {})
    try:
        assert b"secret key" in read_until(fd, b"shown")
        # The prompt comes first: wait until the terminal is silent.
        deadline = time.monotonic() + 10
        while (termios.tcgetattr(fd)[3] & termios.ECHO
               and time.monotonic() < deadline):
            os.sched_yield()
        os.write(fd, b"\x03" if interrupt else b"0f" * 32 + b"\n")
        seen = read_until(fd, b"digits" if interrupt else b"ey")
        assert b"0f0f" not in seen
    finally:
        status = os.waitpid(pid, 0)[1]
        os.close(fd)
    assert os.waitstatus_to_exitcode(status) == (1 if interrupt else 0)


def test_expired_app(tool):
    key = tool.create()["public_key"]
    tool.sql("UPDATE apps SET expires_at = now() - interval '1 s'")
    got = tool("token", "--app", key)
    assert (got.rc, got.out) == (1, "") and "expired" in got.err
    assert " expired " in tool("app", "list").out


def checks(got):
    answer = json.loads(got.out)
    assert answer["ok"] == (got.rc == 0)
    return {c["name"] for c in answer["checks"] if not c["ok"]}


def test_check(tool):
    assert checks(tool("check", "--json")) == set()
    tool.create()
    got = tool("check")
    assert got.rc == 0 and "1 under this master key" in got.out
    assert all(line.startswith("ok ") for line in got.out.splitlines())


def test_check_finds_what_is_wrong(tool):
    tool.create()
    old = re.search("fingerprint ([0-9a-f]{16})", tool("check").out)[1]
    new = run({}, "master-key", "--bits", "128").out.strip()
    got = tool("check", "--json", env={"POSTERN_MASTER_KEY": new})
    assert checks(got) == {"rows"} and old in got.out
    url = tool.env["POSTERN_DATABASE_URL"]
    for env, wrong in (
            ({"POSTERN_MASTER_KEY": "00" * 32}, "settings"),
            ({"POSTERN_NOSUCH": "1"}, "settings"),
            ({"POSTERN_DATABASE_URL": url + "x"}, "database"),
            ({"POSTERN_DATABASE_URL": url +
              " options='-c default_transaction_read_only=on'"}, "writable")):
        got = tool("check", "--json", env=env)
        assert checks(got) == {wrong}
        assert "00" * 32 not in got.out + got.err
    tool.sql("DELETE FROM postern_migrations WHERE version = "
             "(SELECT max(version) FROM postern_migrations)")
    assert checks(tool("check", "--json")) == {"schema"}


def test_goliauth_rows(tool):
    raw = os.urandom(32)
    sealed = gcm_seal(tool.env["POSTERN_MASTER_KEY"], raw)
    tool.sql("INSERT INTO apps (name, public_key, encrypted_secret_key, "
             "created_at, updated_at) VALUES ('goliauth', "
             f"'{'ab' * 32}', '{sealed}', now(), now())")
    accept = {"POSTERN_GOLIAUTH_ROWS": "accept"}
    assert checks(tool("check", "--json")) == {"rows"}
    assert checks(tool("check", "--json", env=accept)) == set()
    got = tool("token", "--app", "ab" * 32)
    assert (got.rc, got.out) == (1, "") and "POSTERN_GOLIAUTH_ROWS" in got.err
    got = tool("token", "--app", "ab" * 32, env=accept)
    assert jwt.decode(got.out.strip(), raw.hex(), ["HS256"])


def test_sealed_under_another_key(tool):
    key = tool.create()["public_key"]
    new = run({}, "master-key").out.strip()
    got = tool("token", "--app", key, env={"POSTERN_MASTER_KEY": new})
    assert (got.rc, got.out) == (1, "") and "POSTERN_MASTER_KEY" in got.err
    tool.sql("UPDATE apps SET encrypted_secret_key = "
             "reverse(encrypted_secret_key)")
    got = tool("token", "--app", key)
    assert (got.rc, got.out) == (1, "") and "rotate" in got.err
