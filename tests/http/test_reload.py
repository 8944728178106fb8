"""SIGHUP, setting by setting: which change takes effect, and which one the log
names, since it needs a restart. All settings of the table are gone through."""
import os
import re
import secrets
import shutil
import signal
import stat
import time

import pytest

from lib.process import SANITIZED, run_tool, wait_until
from lib.stack import Stack
from lib.tokens import ADMIN, REGISTRATION, App

KEY = secrets.token_hex(32)
OTHER = "another-token-for-the-tests-00000000001"
METRICS = "metrics-token-for-the-tests-0000000001"


def challenge(s):
    return s.ask("/v1/whoami")["WWW-Authenticate"]


def registers(s, name="x", token=None):
    token = token or REGISTRATION + ("2" if s.changed else "")
    return s.ask("/v1/apps", "POST", {"HTTP_AUTHORIZATION": "Bearer " + token},
                 b'{"name":"%s"}' % name.encode())


def bearer(path, token):
    return lambda s: s.ask(path, headers={
        "HTTP_AUTHORIZATION": "Bearer " + token}).status


def whoami(aud="https://api", **kw):
    def status(s):
        return s.ask("/v1/whoami", headers={
            "HTTP_" + k.upper().replace("-", "_"): v
            for k, v in s.app.auth(aud=aud, iat=int(time.time()),
                                   **kw).items()}).status
    return status


def seccomp(s):
    return [re.search(r"^Seccomp:\s+(\d)", open(
        f"/proc/{w}/status").read(), re.M).group(1) for w in s.workers()]


def of_log(pattern):
    return lambda s: bool(re.search(pattern, s.log()[s.mark:], re.M))


def mode(s):
    return oct(stat.S_IMODE(os.stat(s.sock).st_mode))


# NAME: (before, after, what is to be seen of it, before, after). None: nothing
# that a request shows; the workers are started with it as with the others.
UNSEEN = (None, None, None)
ROWS = {
    "ADMIN_TOKEN": (ADMIN, OTHER, bearer("/v1/apps", OTHER), 401, 200),
    "BASE_PATH": ("", "/api", lambda s: s.ask("/api/healthz").status,
                  404, 200),
    "CACHE_SIZE": ("10000", "10", *UNSEEN),
    "CACHE_TTL": ("30", "60", *UNSEEN),
    "CORS_ORIGINS": ("", "https://a.example", lambda s: s.ask(
        "/healthz", headers={"HTTP_ORIGIN": "https://a.example"})[
            "Access-Control-Allow-Origin"], None, "https://a.example"),
    "GOLIAUTH_ROWS": ("refuse", "accept", *UNSEEN),
    "JWT_ALGORITHMS": ("HS256", "HS256", *UNSEEN),  # all others' tokens'
    "JWT_AUDIENCE": ("", "https://api", whoami(aud="x"), 200, 401),
    "JWT_LEEWAY": ("30", "0", *UNSEEN),
    "JWT_MAX_AGE": ("0", "100", *UNSEEN),
    "JWT_REQUIRE_EXP": ("on", "off", whoami(exp=None),
                        401, 200),
    "JWT_SINGLE_USE": ("off", "off", *UNSEEN),  # goes with REQUIRE_EXP=on
    "KEY_BYTES": ("32", "16", lambda s: len(
        registers(s).json()["public_key"]), 64, 32),
    "LIMIT_APP": ("0", "100000/1", *UNSEEN),
    "LIMIT_FAILURES": ("0", "100000/1", *UNSEEN),
    "LIMIT_REGISTRATIONS": ("0", "100000/1", *UNSEEN),
    "LOG_FORMAT": ("logfmt", "json", of_log(r'^\{"time"'), False, True),
    "LOG_LEVEL": ("info", "debug", *UNSEEN),
    "LOG_TARGET": ("stderr", "stderr", *UNSEEN),  # there is no syslog here
    "MASTER_KEY": (KEY, KEY[::-1], *UNSEEN),
    "MASTER_KEYS_OLD": ("", KEY, whoami(), 200, 200),
    "MAX_BODY": ("65536", "1024", lambda s: registers(s, 2000 * "x").status,
                 400, 413),
    "MAX_REQUESTS": ("0", "100000", *UNSEEN),
    "METRICS_TOKEN": (METRICS, OTHER[::-1], bearer("/metrics", OTHER[::-1]),
                      401, 200),
    "OWN_KEY_AUDIENCE": ("required", "optional", *UNSEEN),
    "QUERY_TIMEOUT": ("2", "10", *UNSEEN),
    "REALM": ("first", "second", lambda s: "second" in challenge(s),
              False, True),
    "REGISTRATION": ("token", "open",
                     lambda s: s.ask("/v1/apps", "POST", body=b'{}').code,
                     "credentials_missing", "value_invalid"),
    "REGISTRATION_TOKEN": (
        REGISTRATION, REGISTRATION + "2",
        lambda s: registers(s, token=REGISTRATION + "2").status, 401, 201),
    "REQUEST_TIMEOUT": ("30", "60", *UNSEEN),
    "SANDBOX": ("on", "off", seccomp, ["2", "2"], ["0"] * 3),
    "TRUSTED_PROXIES": ("", "127.0.0.0/8", *UNSEEN),
    # The same for it and its address.
    "DATABASE_URL": (None, None, *UNSEEN),
    # More of them is obeyed at once.
    "WORKERS": ("2", "3", lambda s: len(s.workers()), 2, 3),
    "LISTEN": (None, None, lambda s: os.path.exists(s.sock + "2"),
               False, False),
    "BACKLOG": ("100", "200", *UNSEEN),
    "SOCKET_MODE": ("0660", "0600", mode, "0o660", "0o660"),
}


def table(scratch):
    """Each setting, and what the tool prints of it."""
    text = run_tool(scratch, ["settings"]).stdout
    return {re.search(r"^#POSTERN_(\w+?)(_FILE)? =", part, re.M).group(1): part
            for part in text.split("\n\n")[1:]}


def restart(part):
    flat = part.replace("\n# ", " ")
    return ("always" if "A change needs a restart" in flat else
            "zero" if "to or from 0 needs a restart" in flat else None)


def derived(part):
    """What a setting without a row was, and what else it may be."""
    default = re.search(r"^#POSTERN_\w+ = ?(.*)$", part, re.M).group(1)
    flat = part.replace("\n# ", " ")
    number = re.search(r"a whole number from (\d+) to (\d+)", flat)
    words = re.search(r"# Value: (\w+(\|\w+)+)\.", part)
    values = number.groups() if number else \
        words.group(1).split("|") if words else []
    others = [v for v in values if v != default]
    return default, (others or [default])[0]


class Site(Stack):
    """Its settings in a file, but for what belongs to the Stack itself."""

    def __init__(self, pg):
        super().__init__(pg, way="idle", ready=False)
        self.mark, self.changed = 0, False
        self.conf = self.dir / "reload.conf"
        self.before, self.after = (
            {"POSTERN_" + n: ROWS.get(n, derived(part))[i]
             for n, part in table(self.scratch).items()}
            for i in (0, 1))
        url = self.env["POSTERN_DATABASE_URL"]
        for k, v in (("POSTERN_DATABASE_URL", (url, url + " port=5432")),
                     ("POSTERN_LISTEN", ("unix:" + self.sock,
                                         f"unix:{self.sock}2"))):
            self.before[k], self.after[k] = v
        self.write(self.before)
        self.env = {"POSTERN_CONFIG": str(self.conf)}

    def write(self, settings):
        self.conf.write_text("".join(
            f"{k} = {v}\n" for k, v in settings.items()))
        self.conf.chmod(0o600)
        if os.getuid() == 0:
            shutil.chown(self.conf, "www-data")

    def ask(self, path, method="GET", headers=None, body=b""):
        params = {"REQUEST_METHOD": method, "REQUEST_URI": path,
                  "REMOTE_ADDR": "127.0.0.1", **(headers or {})}
        if body:
            params.update(CONTENT_TYPE="application/json",
                          CONTENT_LENGTH=len(body))
        return self.fcgi(params, body)

    def hup(self, settings):
        """The log's lines of one, when all workers are new and ready."""
        self.write(settings)
        self.changed = settings is self.after
        old, self.mark = set(self.workers()), len(self.log())
        self.process.send_signal(signal.SIGHUP)
        wait_until("the reload", lambda: re.search(
            r"event\W+reload\b", self.log()[self.mark:]))
        wait_until("new workers", lambda: self.workers()
                   and not old & set(self.workers()))
        wait_until("ready", lambda: self.ask("/readyz").status == 200)
        return self.log()[self.mark:]

    def needed(self, log):
        found = re.search(r"restart_needed\W+settings\W+([A-Z_ ]+)", log)
        return set(found.group(1).split()) if found else set()


@pytest.fixture(scope="module")
def site(pg):
    with Site(pg) as s:
        s.start_postern()
        wait_until("ready", lambda: s.ask("/readyz").status == 200)
        r = registers(s)
        assert r.status == 201, r
        s.app = App(r.json())
        yield s


def test_every_setting(site):
    known = table(site.scratch)
    assert set(known) >= set(ROWS)
    needs = {"POSTERN_" + n for n, part in known.items()
             if restart(part) == "always"}
    assert "POSTERN_LISTEN" in needs
    # To see what is there before, in an order that changes nothing else.
    for name, (_, _, look, before, _) in ROWS.items():
        if look and not (SANITIZED and name == "SANDBOX"):
            assert look(site) == before, name
    for _ in range(2):
        # Also when nothing changes any more: it is still needed.
        assert site.needed(site.hup(site.after)) == needs
    for name, (_, _, look, _, after) in ROWS.items():
        if look and not (SANITIZED and name == "SANDBOX"):
            assert look(site) == after, name
    assert site.needed(site.hup(site.before)) == set()


@pytest.mark.parametrize("name", [
    "BACKLOG", "SOCKET_MODE", "WORKERS", "REALM"])
def test_one_at_a_time(site, name):
    """Only those that need it are named, by themselves as well."""
    when = restart(table(site.scratch)[name])
    full = "POSTERN_" + name
    value = "0" if when == "zero" else ROWS[name][1]
    log = site.hup({**site.before, full: value})
    assert site.needed(log) == ({full} if when else set())
    assert len(site.workers()) == 2
