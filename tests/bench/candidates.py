"""Who answers one authenticated request: Postern, the bare FastCGI programs
that bound it, and the same written the way people would in Go, Node.js and
PHP. All run at once, on one Postgres with the same apps; only one is asked at
a time."""
import contextlib
import dataclasses
import json
import os
import pathlib
import re
import shutil
import subprocess
import time

# First: it says where the others are.
from rig import (HERE, HOUR, PROCESSORS, Result, Watch, build_program,
                 http_request, insert_apps, install, load, must_succeed,
                 new_apps, quiet, quiet_load, write_requests)
from lib.client import Client
from lib.process import can_connect, demoted, free_port, stop, wait_until
from lib.stack import Stack
from lib.tokens import gcm_seal, raw_token
from psycopg2.extras import execute_values
from servers import Nginx

APPS = 10000
ROTATION = 200
USERS = 10000  # of one app
NEW = 120000  # tokens; until one comes again no worker has its verdict
SCRIPTS = 100  # pgbench takes 128
WORKERS = 2 * PROCESSORS  # Postern's own default; the same for hello and PHP

# As the tutorial has it, and a table for the documents.
TUTORIAL = """
CREATE TABLE apps (
	id bigserial PRIMARY KEY, name text NOT NULL,
	public_key text NOT NULL UNIQUE, encrypted_secret_key text NOT NULL,
	created_at timestamptz NOT NULL DEFAULT now(),
	updated_at timestamptz NOT NULL DEFAULT now());
CREATE TABLE users (
	app_id bigint NOT NULL REFERENCES apps (id), user_id text NOT NULL,
	information jsonb NOT NULL,
	created_at timestamptz NOT NULL DEFAULT now(),
	updated_at timestamptz NOT NULL DEFAULT now(),
	PRIMARY KEY (app_id, user_id));
GRANT ALL ON ALL TABLES IN SCHEMA public TO server;
"""

PHP_FPM = """\
[global]
error_log = {dir}/error.log
[www]
listen = {sock}
listen.mode = 0666
listen.backlog = 1024
pm = static
pm.max_children = {workers}
env[DATABASE_DSN] = "pgsql:host={host};dbname={database}"
env[DATABASE_USER] = server
env[MASTER_KEY] = {master}
env[APCU] = {apcu}
"""

LIGHTTPD_FASTCGI = """
$SERVER["socket"] == "127.0.0.1:{port}" {{
	fastcgi.server = ("/" => ((
		"socket" => "{sock}", "check-local" => "disable",
		"fix-root-scriptname" => "enable")))
}}
"""

NGINX_FASTCGI = """
server {{
	listen 127.0.0.1:{port};
	location / {{
		fastcgi_pass unix:{sock};
		include fastcgi_params;
		gzip off;
		fastcgi_buffer_size 128k;
		fastcgi_buffers 4 128k;
	}}
}}
"""

LIGHTTPD_PROXY = """
$SERVER["socket"] == "127.0.0.1:{port}" {{
	fastcgi.server = ()
	proxy.server = ("/" => (("host" => "127.0.0.1", "port" => {back})))
}}
"""

LIGHTTPD_PHP = """
$SERVER["socket"] == "127.0.0.1:{port}" {{
	server.document-root = "{root}"
	url.rewrite-once = ("^/v1/" => "/api.php")
	fastcgi.server = (".php" => (("socket" => "{sock}")))
}}
"""


@dataclasses.dataclass
class Candidate:
    name: str
    port: int
    requests: list   # one file, or two: see load.lua
    roots: list      # process ids whose trees serve it, without Postgres
    kind: str = "whoami"
    judges: bool = True  # looks at the token at all

    def warm_up(self, seconds):
        load(self.port, self.requests, seconds, [])

    def measure(self, seconds, connections, postgres):
        r = quiet_load(self.port, self.requests, seconds,
                       [*self.roots, postgres], connections)
        return must_succeed(self.name, r)


@dataclasses.dataclass
class Statement:
    """A statement of Postern's by pgbench, from as many connections as it has
    workers: what Postgres alone takes for it."""
    name: str
    pg: object
    database: str
    scripts: list  # each as often as the others
    kind: str = "pgbench"
    judges: bool = False

    def warm_up(self, seconds):
        self.run(seconds)

    def measure(self, seconds, connections, postgres):
        return quiet(lambda: self.run(seconds, [postgres]), seconds)

    def run(self, seconds, roots=()):
        with Watch(roots) as watch:
            r = subprocess.run(
                [self.pg.bin / "pgbench", "-n", "-M", "prepared", "-c",
                 str(WORKERS), "-j", str(PROCESSORS), "-T", str(seconds),
                 *(f"--file={s}" for s in self.scripts), "-h",
                 str(self.pg.dir), "-U", "server", self.database],
                capture_output=True, text=True, timeout=seconds + 60,
                cwd="/")
        if r.returncode != 0:
            raise SystemExit(f"{self.name}: {r.stderr[:1000]}")
        n = int(re.search(r"actually processed: (\d+)", r.stdout).group(1))
        failed = re.search(r"failed transactions: (\d+)", r.stdout)
        rate = float(re.search(r"tps = ([\d.]+)", r.stdout).group(1))
        nan = float("nan")  # it tells no percentiles
        return must_succeed(self.name, Result(
            n, rate, nan, nan, watch.served / n * 1e6,
            int(failed.group(1)) if failed else 0, watch.noise))


class Apps:
    """The same apps in Postern's database and in one like the tutorial's."""

    def __init__(self, pg, stack):
        self.pg, self.stack = pg, stack
        stack.tool("app", "create", "First")  # names the master key
        self.all = new_apps(APPS)
        insert_apps(stack, self.all)
        self.tutorial = pg.database(migrate=False)
        c = pg.connect(self.tutorial)
        try:
            cur = c.cursor()
            cur.execute(TUTORIAL)
            execute_values(
                cur, "INSERT INTO apps (name, public_key,"
                " encrypted_secret_key) VALUES %s",
                [("An app", a.public, gcm_seal(
                    stack.master_key, bytes.fromhex(a.secret)))
                 for a in self.all], page_size=1000)
            cur.execute("GRANT USAGE ON ALL SEQUENCES IN SCHEMA public"
                        " TO server; ANALYZE apps")
        finally:
            c.close()
        step = APPS // ROTATION
        self.chosen = self.all[::step]

    @staticmethod
    def requests(apps):
        """Of a user of each of these; an app may be there many times."""
        now = int(time.time())
        return (http_request("GET", "/v1/whoami", a, a.token(
            exp=24 * HOUR, sub=f"user-{i:06}", iat=now,
            scope="read write")) for i, a in enumerate(apps))

    def whoami(self):
        return self.requests(self.chosen)

    def users(self):
        return self.requests(self.chosen[:1] * USERS)

    def new(self):
        """None of the tokens that whoami has."""
        return self.requests((self.chosen[1:] + self.chosen[:1])
                             * (NEW // ROTATION))

    def documents(self, method):
        body = json.dumps(document(0)).encode() if method == "PUT" else b""
        return [http_request(method, f"/v1/users/user-{i:06}", a,
                             a.token(exp=24 * HOUR), body)
                for i, a in enumerate(self.chosen)]


def document(i):
    return {"name": f"Person {i}", "email": f"person-{i}@example.org",
            "language": "en", "theme": "dark", "newsletter": False,
            "address": {"street": "1 Long Road", "city": "Springfield",
                        "postcode": "12345", "country": "US"},
            "tags": ["a", "b", "c"], "logins": 42}


class Candidates:
    """All of them, running; `list` in the order of the table."""

    def __init__(self, pg):
        self.pg, self.scratch = pg, pg.scratch
        self.dir = self.scratch.dir()
        self.ends = contextlib.ExitStack()
        try:
            self.start()
        except BaseException:
            self.ends.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.ends.close()

    # -- processes

    def run(self, name, command, env=None, sock=None, port=None):
        """A peer's processes; the root's id."""
        log = open(self.dir / f"{name}.log", "ab")
        p = subprocess.Popen(
            [str(c) for c in command],
            env={"PATH": os.environ["PATH"], "HOME": str(self.dir),
                 **(env or {})},
            stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            preexec_fn=demoted(), cwd="/")
        log.close()
        self.ends.callback(stop, p)

        def up():
            if p.poll() is not None:
                raise SystemExit(f"{name} has ended:\n" + (
                    self.dir / f"{name}.log").read_text())
            return pathlib.Path(sock).exists() if sock else can_connect(port)

        wait_until(name, up)
        return p.pid

    def start(self):
        self.ports = {}
        self.roots = {}
        self.conf = 'server.modules += ("mod_rewrite", "mod_proxy")\n'
        # lighttpd is started last, when its part of each peer is known.
        self.stack = Stack(self.pg, way="alone", workers="auto")
        self.ends.callback(self.stack.stop)
        self.apps = Apps(self.pg, self.stack)
        self.start_hello()
        self.start_go()
        self.start_node()
        self.start_php()
        self.start_without_cache()
        self.start_lighttpd()
        self.start_nginx()
        self.make_list()
        self.add_statements()

    def behind_lighttpd(self, name, template, **values):
        self.ports[name] = free_port()
        self.conf += template.format(port=self.ports[name], **values)

    def start_hello(self):
        hello = install(self.scratch, build_program("hello", lambda out: [
            "cc", "-O2", "-Wall", "-Wextra", "-o", out, "hello.c", "-lfcgi"]))
        for name, more in (("hello", []), ("hello-early", ["early"])):
            sock = self.dir / name
            self.roots[name] = self.run(
                name, [hello, sock, WORKERS, *more], sock=sock)
            self.behind_lighttpd(name, LIGHTTPD_FASTCGI, sock=sock)

    def start_go(self):
        peer = install(self.scratch, build_program("peer", lambda out: [
            "go", "build", "-o", out, "main.go"], {
                "GO111MODULE": "off", "GOPATH": "/usr/share/gocode",
                "GOFLAGS": "", "GOCACHE": str(self.dir / "go-cache")}))
        shutil.rmtree(self.dir / "go-cache", ignore_errors=True)
        env = {"DATABASE_URL": self.pg.url(self.apps.tutorial)
               + " sslmode=disable", "MASTER_KEY": self.stack.master_key}
        for name, more in (("go", []), ("go map", ["-map"])):
            self.ports[name] = port = free_port()
            self.roots[name] = self.run(
                name, [peer, *more, "-http", f"127.0.0.1:{port}"], env,
                port=port)
        self.behind_lighttpd("go proxied", LIGHTTPD_PROXY, back=port)
        sock = self.dir / "go-fcgi"
        self.roots["go fcgi"] = self.run(
            "go fcgi", [peer, "-map", "-fcgi", sock], env, sock=sock)
        self.behind_lighttpd("go fcgi", LIGHTTPD_FASTCGI, sock=sock)

    def start_node(self):
        where = self.scratch.path / "node"
        shutil.copytree(HERE / "node_modules", where / "node_modules")
        shutil.copy(HERE / "peers" / "server.js", where)
        env = {"PGHOST": str(self.pg.dir), "PGDATABASE": self.apps.tutorial,
               "PGUSER": "server", "MASTER_KEY": self.stack.master_key,
               "NODE_ENV": "production"}
        for name, more in (("node", []), ("node map", ["cache"])):
            self.ports[name] = port = free_port()
            self.roots[name] = self.run(
                name, ["node", where / "server.js", port, PROCESSORS, *more],
                env, port=port)

    def start_php(self):
        root = self.scratch.path / "php"
        root.mkdir()
        shutil.copy(HERE / "peers" / "api.php", root)
        program, = pathlib.Path("/usr/sbin").glob("php-fpm[0-9]*")
        for name, apcu in (("php", 0), ("php apcu", 1)):
            d = self.scratch.dir()
            sock = d / "fpm"
            (d / "fpm.conf").write_text(PHP_FPM.format(
                dir=d, sock=sock, workers=WORKERS, host=self.pg.dir,
                database=self.apps.tutorial, master=self.stack.master_key,
                apcu=apcu))
            self.roots[name] = self.run(
                name, [program, "-F", "-y", d / "fpm.conf"], sock=sock)
            self.behind_lighttpd(name, LIGHTTPD_PHP, root=root, sock=sock)

    def start_without_cache(self):
        """Each key is cold: its row is read for each request."""
        s = Stack(self.pg, database=self.stack.database, way="alone",
                  workers="auto", env={
                      "POSTERN_CACHE_SIZE": "0",
                      "POSTERN_MASTER_KEY": self.stack.master_key})
        self.ends.callback(s.stop)
        self.roots["cold"] = s.process.pid
        self.behind_lighttpd("cold", LIGHTTPD_FASTCGI, sock=s.sock)

    def start_lighttpd(self):
        s = self.stack
        s.way = "external"
        s.start_lighttpd(self.conf)
        self.ports["postern"] = s.port
        wait_until("ready", lambda: s.get("/readyz").status == 200)

    def start_nginx(self):
        for name, way in (("nginx", 1), ("nginx kept", 2)):
            self.ports["hello " + name] = port = free_port()
            front = Nginx(self.stack, "contrib/nginx/postern.conf", way=way,
                          extra=NGINX_FASTCGI.format(
                              port=port, sock=self.dir / "hello"))
            self.ends.callback(front.stop)
            self.ports[name] = front.port
            self.roots[name] = front.process.pid

    # -- the list

    def make_list(self):
        files = {
            "whoami": self.apps.whoami(),
            "users": self.apps.users(),
            "new": self.apps.new(),
            "GET": self.apps.documents("GET"),
            "PUT": self.apps.documents("PUT"),
        }
        self.files = {k: write_requests(self.dir / f"{k}.requests", v)
                      for k, v in files.items()}
        lighttpd, postern = self.stack.lighttpd.pid, self.stack.process.pid
        r = self.roots
        self.list = []

        def add(name, port, roots, kind="whoami", judges=True):
            files = [self.files[k] for k in kind.split()]
            self.list.append(Candidate(
                name, self.ports[port], files, roots, kind, judges))

        add("hello", "hello", [lighttpd, r["hello"]], judges=False)
        add("hello-early", "hello-early", [lighttpd, r["hello-early"]],
            judges=False)
        add("Postern", "postern", [lighttpd, postern])
        add("Postern, each tenth token new", "postern", [lighttpd, postern],
            "whoami new")
        add("Postern, one app's users", "postern", [lighttpd, postern],
            "users")
        add("Postern, each token new", "postern", [lighttpd, postern], "new")
        add("Postern, each key cold", "cold", [lighttpd, r["cold"]])
        add("Go, own port, SELECT", "go", [r["go"]])
        add("Go, own port, key map", "go map", [r["go map"]])
        add("Go, key map, lighttpd proxy", "go proxied",
            [lighttpd, r["go map"]])
        add("Go, key map, lighttpd FastCGI", "go fcgi",
            [lighttpd, r["go fcgi"]])
        add("Node, own port, SELECT", "node", [r["node"]])
        add("Node, own port, key map", "node map", [r["node map"]])
        add("PHP-FPM, SELECT", "php", [lighttpd, r["php"]])
        add("PHP-FPM, APCu", "php apcu", [lighttpd, r["php apcu"]])
        add("Postern, nginx", "nginx", [r["nginx"], postern])
        add("Postern, nginx, kept", "nginx kept", [r["nginx kept"], postern])
        add("hello, nginx", "hello nginx kept", [r["nginx kept"], r["hello"]],
            judges=False)
        for kind in ("GET", "PUT"):
            add(f"{kind} document: Postern", "postern", [lighttpd, postern],
                kind)
            add(f"{kind} document: PHP-FPM, SELECT", "php",
                [lighttpd, r["php"]], kind)
            add(f"{kind} document: PHP-FPM, APCu", "php apcu",
                [lighttpd, r["php apcu"]], kind)

    def add_statements(self):
        """Those that a worker's connection has for a key that it doesn't
        know, and for a document's GET and PUT."""
        database, some = self.stack.database, self.apps.chosen[:SCRIPTS]
        c = self.pg.connect(database)
        cur = c.cursor()
        cur.execute("SELECT public_key, id FROM apps")
        ids = dict(cur.fetchall())

        def statement(part):
            cur.execute("SELECT query FROM pg_stat_activity WHERE datname ="
                        " %s AND usename = 'server' AND query LIKE %s",
                        [database, f"%{part}%"])
            return cur.fetchall()

        def add(name, part, ask, values):
            def found():
                ask()
                return statement(part)
            text = wait_until(name, found)[0][0]
            scripts = [self.dir / f"{name.split()[0]}.{i}"
                       for i in range(len(some))]
            for i, script in enumerate(scripts):
                sql = re.sub(r"\$(\d+)", lambda m: values(i)[int(m[1]) - 1],
                             " ".join(text.split()))
                # A colon would begin a variable of pgbench's.
                script.write_text(re.sub(
                    "'(?:[^']|'')*'", lambda m: "E" + m[0].replace(
                        "\\", r"\\").replace(":", r"\x3a"), sql) + "\n")
            self.list.append(Statement(name, self.pg, database, scripts))

        def literal(text):
            return "'" + text.replace("'", "''") + "'"

        def row(i):
            return [str(ids[some[i].public]), literal(f"user-{i:06}"), "NULL",
                    "NULL", literal(json.dumps(document(i)))]

        def document_of(method):
            body = document(0) if method == "PUT" else None
            return lambda: Client(self.ports["postern"]).request(
                method, "/v1/users/user-000000", some[0].auth(), body)

        add("cold key: pgbench", "UNION ALL SELECT",
            lambda: Client(self.ports["cold"]).get(
                "/v1/whoami", some[0].auth()),
            lambda i: [literal(some[i].public)])
        add("GET document: pgbench", "information::text FROM users",
            document_of("GET"), row)
        add("PUT document: pgbench", "INSERT INTO users", document_of("PUT"),
            row)
        c.close()

    # -- before anything is measured

    def check(self):
        self.write_documents()
        hello = self.list[0]
        try:  # which takes anything
            check_refuses(hello, self.apps.chosen)
        except Refused:
            pass
        else:
            raise SystemExit("the check of forged tokens finds nothing")
        for c in self.list:
            if isinstance(c, Statement):
                continue
            if c.judges:
                check_refuses(c, self.apps.chosen)
                check_accepts(c, self.apps.chosen)
            else:
                r = Client(c.port).get("/v1/whoami")
                expect(c, "answer", r.status == 200 and r.json())

    def write_documents(self):
        """Each user's document, in both databases."""
        for i, a in enumerate(self.apps.chosen):
            for name in ("postern", "php"):
                r = Client(self.ports[name]).request(
                    "PUT", f"/v1/users/user-{i:06}", a.auth(), document(i))
                if r.status not in (200, 201):
                    raise SystemExit(f"{name}: {r}")

    def trim_logs(self):
        """The logs of a round, which nobody will read."""
        for d in [self.dir, *self.scratch.path.glob("s*")]:
            for name in ("log", "access.log", "error.log"):
                if d != self.pg.dir and (d / name).exists():
                    os.truncate(d / name, 0)


class Refused(SystemExit):
    """A candidate that may not take part."""


def expect(candidate, what, ok):
    if not ok:
        raise Refused(f"{candidate.name} does not {what}")


def ask(c, app, token, i=0):
    headers = {"X-Public-Key": app.public}
    if token is not None:
        headers["Authorization"] = "Bearer " + token
    whoami = c.kind not in ("GET", "PUT")
    path = "/v1/whoami" if whoami else f"/v1/users/user-{i:06}"
    body = document(i) if c.kind == "PUT" else None
    return Client(c.port).request(
        "GET" if whoami else c.kind, path, headers, body)


def forged(app, other):
    """Tokens that nobody may take."""
    good = app.token(sub="user-000000")
    head, body, mac = good.split(".")
    return {
        "a changed signature": ".".join(
            [head, body, ("A" if mac[0] != "A" else "B") + mac[1:]]),
        "another app's key": app.token(secret=other.secret),
        "an unsigned token": raw_token(app.secret, '{"alg":"none"}', mac=b""),
        "an expired token": app.token(exp=-HOUR),
        "no token": None,
    }


def check_refuses(c, chosen):
    app, other = chosen[:2]
    for _ in range(2):  # cold, and warm after a good one
        for what, token in forged(app, other).items():
            r = ask(c, app, token)
            expect(c, f"refuse {what} ({r.status})", r.status == 401)
        expect(c, "take a good token", ask(
            c, app, app.token()).status in (200, 201))


def check_accepts(c, chosen):
    for i, app in enumerate(chosen[:20]):
        r = ask(c, app, app.token(sub=f"user-{i:06}"), i)
        expect(c, f"take a good token ({r})", r.status in (200, 201))
        if c.kind not in ("GET", "PUT"):
            expect(c, "name the app", r.json()["app"]["public_key"]
                   == app.public)
            expect(c, "give the claims", r.json()["claims"]["sub"]
                   == f"user-{i:06}")
        else:
            expect(c, "give the document", r.json() == document(i))
