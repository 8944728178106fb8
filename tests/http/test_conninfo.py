"""A mistyped POSTERN_DATABASE_URL is refused wherever it is read, and no piece
of its password is in any output; nor is one that a service file or libpq's own
variables bring, or that only the connection shows to be wrong."""
import os
import shutil
import signal

import pytest

from lib.process import run_tool, wait_until
from lib.stack import Stack
from test_start import start

A, B = "qZ7kXwVu", "Jv9mRtGh"
NAME = "POSTERN_DATABASE_URL"

# What was meant, and how it was typed.
MISTYPED = {
    "a space": f"host=h user=u password={A} {B}",
    "a space, in double quotes": f'host=h password="{A} {B}"',
    "no equals sign": f"host=h password {A}",
    "a colon for it": f"host=h password:{A}",
    "a quote left open": f"host=h password='{A} {B}",
    "quotes kept": f'"host=h user=u password={A}"',
    "single quotes kept": f"'host=h user=u password={A}'",
    "quotes kept, URI": f'"postgresql://u:{A}@h/db"',
    "a quote at its end": f'postgresql://u:{A}@h/db"',
    "semicolons": f"host=h;user=u;password={A}",
    "semicolons and spaces": f"host=h; user=u; password={A}",
    "semicolons, the password first": f"password={A};host=h;user=u",
    "semicolons, as for .NET": f"Server=h;User Id=u;Password={A}",
    "commas": f"host=h,user=u,password={A}",
    "ampersands": f"host=h&user=u&password={A}",
    "a value forgotten": f"host= password={A}",
    "a user forgotten": f"user= password={A}",
    "an option of others": f"host=h passwd={A}",
    "another option of others": f"host=h pass={A} user=u",
    "the port in the host": f"host=h:5432 password={A}",
    "user and password in the host": f"host=u:{A}@h",
    "the password in the port": f"host=h port={A}",
    "a URI in dbname": f"dbname=postgresql://u:{A}@h/db",
    "a URI in an option": f"url=postgresql://u:{A}@h/db",
    "the name again": f"{NAME}=postgresql://u:{A}@h/db",
    "JDBC": f"jdbc:postgresql://h/db?user=u&password={A}",
    "JDBC with user and password": f"jdbc:postgresql://u:{A}@h/db",
    "another database's": f"mysql://u:{A}@h/db",
    "SQLAlchemy's": f"postgresql+psycopg://u:{A}@h/db",
    "capitals": f"PostgreSQL://u:{A}@h/db",
    "one slash": f"postgresql:/u:{A}@h/db",
    "no scheme": f"u:{A}@h/db",
    "a space before": f" postgresql://u:{A}@h/db",
    "an unencoded /": f"postgresql://u:{A}/{B}@h/db",
    "an unencoded / at its start": f"postgresql://u:/{A}@h/db",
    "an unencoded @": f"postgresql://u:{A}@{B}@h/db",
    "an unencoded @ at its end": f"postgresql://u:{A}@@h/db",
    "an unencoded @ and /": f"postgresql://u:{A}@{B}/{A}@h/db",
    "an unencoded @ and :": f"postgresql://u:{A}@{B}:{A}@h/db",
    "an unencoded @ and ?": f"postgresql://u:{A}@{B}?{A}@h/db",
    "an unencoded @ and #": f"postgresql://u:{A}@{B}#{A}@h/db",
    "an unencoded ? and /": f"postgresql://u:{A}?{B}/{A}@h/db",
    "an unencoded # and /": f"postgresql://u:{A}#{B}/{A}@h/db",
    "an unencoded %": f"postgresql://u:{A}%{B}@h/db",
    "an unencoded % at its end": f"postgresql://u:{A}%@h/db",
    "an unencoded space": f"postgresql://u:{A} {B}@h/db",
    "a line's end in it": f"postgresql://u:{A}@h/db\n{B}",
    "no host": f"postgresql://u:{A}/db",
    "a slash for the colon": f"postgresql://u/{A}@h/db",
    "a semicolon for it": f"postgresql://u;{A}@h/db",
    "a colon for the @": f"postgresql://u:{A}:h/db",
    "options after the URI": f"postgresql://h/db user=u password={A}",
    "options after a semicolon": f"postgresql://h/db;password={A}",
    "HTML in its query": f"postgresql://h/db?user=u&amp;password={A}",
    "an option of others in its query": f"postgresql://h/db?pwd={A}",
    "no value in its query": f"postgresql://h/db?{A}",
}


def pieces(*words):
    """Of a password: all that are four characters long."""
    return {w[i:i + 4] for w in words for i in range(len(w) - 3)}


PIECES = pieces(A, B)


def assert_untold(text):
    found = {p for p in PIECES if p.lower() in text.lower()}
    assert not found, text


def assert_refused(r):
    text = r.stdout + r.stderr
    assert r.returncode == 1 and NAME in text, r
    # What follows tells what is wrong.
    assert len(text.split("characters, ")[1]) > 20, text
    assert_untold(text)


@pytest.mark.covers("ASVS-V2.10.4", "API8:2023")
@pytest.mark.parametrize("url", MISTYPED.values(), ids=MISTYPED)
def test_start_and_tool(scratch, url):
    assert_refused(start(scratch, {NAME: url}))
    for command in (["check"], ["migrate"]):
        assert_refused(run_tool(scratch, command, {NAME: url}, check=False))


def secret_file(d, text=""):
    f = d / "url"
    f.write_text(text)
    f.chmod(0o600)
    if os.getuid() == 0:
        shutil.chown(f, "www-data")
    return f


def test_reload(pg, scratch):
    """Each is refused, by a server that serves on."""
    f = secret_file(scratch.dir())
    database = pg.database()
    f.write_text(pg.url(database))
    with Stack(pg, database=database, env={NAME: None, NAME + "_FILE": str(f)},
               workers=1) as s:
        for n, url in enumerate(MISTYPED.values(), 1):
            f.write_text(url)
            s.process.send_signal(signal.SIGHUP)
            wait_until("the refusal", lambda: len(
                s.log_lines("reload_refused")) == n)
        assert s.log().count(NAME + "_FILE") == len(MISTYPED)
        assert_untold(s.log())
        assert s.get("/readyz").status == 200
        f.write_text(pg.url(database))
        s.reload()


def test_cgi(scratch):
    url = MISTYPED["an unencoded /"]
    r = start(scratch, {NAME: url, "GATEWAY_INTERFACE": "CGI/1.1",
                        "REQUEST_METHOD": "GET", "SCRIPT_NAME": "/p"})
    assert "Status: 500" in r.stdout and NAME in r.stderr
    assert_untold(r.stdout + r.stderr)


@pytest.mark.parametrize("setting", [
    "DATABASE_URL", "MASTER_KEY", "MASTER_KEYS_OLD", "ADMIN_TOKEN",
    "REGISTRATION_TOKEN", "METRICS_TOKEN"])
@pytest.mark.parametrize("secret", [
    f"postgresql://u:{A}@h/db", f"host=/run password={A}", A * 4,
    f"{A}/{B}", f'"{A}"'])
def test_secret_for_its_path(scratch, setting, secret):
    """X_FILE is set to the secret itself."""
    env = {"POSTERN_" + setting: None, f"POSTERN_{setting}_FILE": secret}
    r = start(scratch, env)
    assert r.returncode == 1 and f"POSTERN_{setting}_FILE" in r.stderr
    assert_untold(r.stdout + r.stderr)
    del env["POSTERN_" + setting]
    r = run_tool(scratch, ["app", "list"], env, check=False)
    assert r.returncode == 1 and f"POSTERN_{setting}_FILE" in r.stderr
    assert_untold(r.stdout + r.stderr)


SERVICES = f"""[mixed]
host=h;password={A}
[userinfo]
host=u:{A}@h
[port]
host=h
port={A}
[user]
user=u;password={A}
[sslmode]
host=h
sslmode={A} {B}
"""
ELSEWHERE = [
    *[({NAME: f"service={s}"}) for s in
      ("mixed", "userinfo", "port", "user", "sslmode")],
    {NAME: "dbname=x", "PGSERVICE": "userinfo"},
    {NAME: "dbname=x", "PGHOST": f"u:{A}@h"},
    {NAME: "dbname=x", "PGHOST": f"h;password={A}"},
    {NAME: "dbname=x", "PGHOST": f"postgresql://u:{A}@h/db"},
    {NAME: "host=h", "PGPORT": A + "/"},
    {NAME: "host=h", "PGUSER": f"u:{A}"},
    {NAME: "host=h", "PGDATABASE": f"db?password={A}"},
    {NAME: "host=h", "PGSSLMODE": f"{A} {B}"},
    {NAME: "host=h", "PGOPTIONS": A},
]


@pytest.fixture(scope="module")
def services(scratch):
    f = scratch.dir() / "services"
    f.write_text(SERVICES)
    return f


@pytest.mark.parametrize("env", ELSEWHERE, ids=str)
def test_resolved_elsewhere(scratch, services, env):
    env = {**env, "PGSERVICEFILE": str(services)}
    assert_refused(start(scratch, env))
    assert_refused(run_tool(scratch, ["check"], env, check=False))


@pytest.fixture()
def with_password(pg):
    """A role that needs one."""
    hba = pg.dir / "data/pg_hba.conf"
    before = hba.read_text()
    admin = pg.connect("postgres")
    cur = admin.cursor()
    cur.execute("CREATE ROLE guarded LOGIN PASSWORD 'another one'")
    hba.write_text("local all guarded scram-sha-256\n" + before)
    cur.execute("SELECT pg_reload_conf()")
    yield pg.url("postgres", "guarded")
    hba.write_text(before)
    cur.execute("SELECT pg_reload_conf()")
    cur.execute("DROP ROLE guarded")
    admin.close()


@pytest.mark.parametrize("way", ["conninfo", "uri", "PGPASSWORD",
                                 "PGPASSFILE", "service"])
def test_wrong_password(pg, scratch, with_password, way):
    """What the server says of it is told; the password isn't."""
    d = scratch.dir()
    env = {NAME: with_password}
    if way == "conninfo":
        env[NAME] += f" password={A}/{B}"
    elif way == "uri":
        env[NAME] = (f"postgresql://guarded:{A}%2F{B}@/postgres?host="
                     f"{pg.dir}")
    elif way == "PGPASSWORD":
        env["PGPASSWORD"] = f"{A}/{B}"
    else:
        f = secret_file(d, f"*:*:*:*:{A}/{B}\n" if way == "PGPASSFILE" else
                        f"[own]\npassword={A}/{B}\n")
        env[way if way == "PGPASSFILE" else "PGSERVICEFILE"] = str(f)
        if way == "service":
            env[NAME] += " service=own"

    def failed(text):
        return "password authentication failed" in text

    # Until it has read its new rules.
    wait_until("its refusal", lambda: run_tool(
        scratch, ["app", "list"], env, check=False).returncode == 1)
    for command in (["check"], ["migrate"]):
        r = run_tool(scratch, command, env, check=False)
        assert r.returncode == 1 and failed(r.stdout + r.stderr), r
        assert_untold(r.stdout + r.stderr)
    with Stack(pg, way="alone", workers=1, env=env) as s:
        wait_until("its word", lambda: failed(s.log()))
        assert_untold(s.log())


def test_plain_ones_serve(pg, scratch):
    """A password is taken whatever is in it, as long as libpq reads it so."""
    database = pg.database()
    for url in (f"{pg.url(database)} password='{A} /@%:?#;&= {B}'",
                f"{pg.url(database)} password={A}/@%:?#;&={B}",
                f"postgresql://server:{A}:?#;&={B}@/{database}?host={pg.dir}",
                f"postgresql:///{database}?host={pg.dir}&user=server"
                f"&password={A}/@%25:#;%3D{B}"):
        r = run_tool(scratch, ["app", "list"], {NAME: url})
        assert r.returncode == 0
        assert_untold(r.stderr)
