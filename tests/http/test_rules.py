"""contrib/prometheus: the alerts, by Prometheus' own tools, and on a server."""
import json
import re
import shutil
import subprocess
import urllib.error
import urllib.request

import pytest

from lib.process import REPO, demoted, free_port, stop, wait_until
from lib.tokens import ADMIN
from test_metrics import METRICS, scrape

CONTRIB = REPO / "contrib/prometheus"
RULES = CONTRIB / "postern.rules.yml"
CASES = REPO / "tests/http/postern.rules.test.yml"
ALERTS = re.findall(r"alert: (\w+)", RULES.read_text())


def promtool(*args):
    return subprocess.run(["promtool", *args], capture_output=True, text=True)


def run_cases(directory, rules):
    (directory / RULES.name).write_text(rules)
    shutil.copy(CASES, directory)
    return promtool("test", "rules", directory / CASES.name)


def test_well_formed():
    r = promtool("check", "rules", RULES)
    assert r.returncode == 0, r.stdout + r.stderr
    assert len(set(ALERTS)) == len(ALERTS) > 10


def test_each_fires_when_it_should(tmp_path):
    r = run_cases(tmp_path, RULES.read_text())
    assert r.returncode == 0, r.stdout + r.stderr
    assert set(re.findall(r'alertname="(\w+)"', CASES.read_text())) == \
        set(ALERTS)


def test_a_rule_that_is_wrong_is_found(tmp_path):
    """Of every alert: the cases are no use if they pass without it."""
    none = re.sub(r"(alert: )(\w+)", r"\1\2Renamed", RULES.read_text())
    r = run_cases(tmp_path, none)
    assert r.returncode != 0
    for name in ALERTS:
        assert f"{name}Renamed" in r.stdout + r.stderr, name


def expressions():
    """Of the rules' text: each expr, which may go on in indented lines."""
    return re.findall(r"expr:(.*?)\n +(?:for|labels):", RULES.read_text(), re.S)


def test_what_they_name_is_there(site, app):
    site.get("/v1/whoami", app.auth(secret="x" * 64))
    exprs = "\n".join(expressions())
    assert len(expressions()) == len(ALERTS)
    exported = set(re.findall(r"^# TYPE (\w+)", scrape(site), re.M))
    named = {re.sub(r"_bucket$", "", n)
             for n in re.findall(r"\bpostern_\w+", exprs)}
    assert named and named <= exported, named - exported
    code = "".join((REPO / name).read_text() for name in (
        "src/api/metrics.c", "src/http/problem.c", "src/api/routes.c"))
    for label, values in re.findall(r'(\w+)!?=~?"([^"]+)"', exprs):
        for value in values.split("|"):
            assert label in ("job", "status") or f'"{value}"' in code, value


def is_ready(port):
    """It listens before it has read its own log, and answers 503 until then."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/-/ready"):
            return True
    except urllib.error.URLError:
        return False


@pytest.fixture()
def prometheus(make, scratch):
    """One that has the example's settings, for a Postern of ours."""
    s = make(env={"POSTERN_METRICS_TOKEN": METRICS})
    d = scratch.dir()
    token = d / "token"
    token.write_text(METRICS)
    shutil.copy(RULES, d)
    config = (CONTRIB / "prometheus.yml").read_text()
    for old, new in (("/etc/prometheus/postern-metrics-token", str(token)),
                     ("127.0.0.1:80", f"127.0.0.1:{s.port}")):
        assert config.count(old) == 1
        config = config.replace(old, new)
    path = d / "prometheus.yml"
    path.write_text("global: {scrape_interval: 1s, evaluation_interval: 1s}\n"
                    + config)
    r = promtool("check", "config", path)
    assert r.returncode == 0, r.stdout + r.stderr
    port = free_port()
    process = subprocess.Popen(
        ["prometheus", f"--config.file={path}", f"--storage.tsdb.path={d}/data",
         f"--web.listen-address=127.0.0.1:{port}"], preexec_fn=demoted(),
        stdout=subprocess.DEVNULL, stderr=open(d / "prometheus.log", "ab"),
        cwd="/")
    try:
        wait_until("Prometheus", lambda: is_ready(port)
                   or process.poll() is not None)
        assert process.poll() is None, (d / "prometheus.log").read_text()
        yield s, lambda path: json.load(urllib.request.urlopen(
            f"http://127.0.0.1:{port}/api/v1/{path}"))["data"]
    finally:
        stop(process)


def test_prometheus(prometheus):
    """It scrapes, with the metrics token, and every rule can be worked out."""
    s, ask = prometheus
    app = s.register()
    s.get("/v1/whoami", app.auth())

    def rules():
        return [r for g in ask("rules")["groups"] for r in g["rules"]]

    wait_until("a scrape", lambda: [t["health"] for t in ask(
        "targets")["activeTargets"]] == ["up"])
    wait_until("its samples", lambda: ask(
        "query?query=postern_workers")["result"])
    wait_until("the rules' turn", lambda: rules() and all(
        r["health"] == "ok" for r in rules()))
    assert {r["name"] for r in rules()} == set(ALERTS)
    assert {r["state"] for r in rules()} == {"inactive"}
    [workers] = ask("query?query=postern_workers")["result"]
    assert workers["value"][1] == "2"
    # What no longer takes the token is down.
    assert ADMIN != METRICS
    s.process.kill()
    s.process.wait()
    s.process = None
    wait_until("its alarm", lambda: [
        r["state"] for r in rules() if r["name"] == "PosternDown"]
        == ["pending"])
