"""/metrics: who may read it, what it says, and whether Prometheus takes it."""
import os
import re
import secrets
import signal
import subprocess

import pytest

from lib.process import wait_until
from lib.tokens import ADMIN, REGISTRATION

METRICS = "metrics-token-for-the-tests-00000000001"


def bearer(token):
    return {"Authorization": "Bearer " + token}


def scrape(stack, token=ADMIN):
    r = stack.get("/metrics", bearer(token))
    assert r.status == 200, r
    assert r["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    return r.body.decode()


def value(text, name, **labels):
    """The sum of the samples that have these labels."""
    total = 0.0
    for line in text.splitlines():
        found = re.fullmatch(r"(\w+)(?:\{(.*)\})? (\S+)", line)
        if line.startswith("#") or found.group(1) != name:
            continue
        have = dict(re.findall(r'(\w+)="([^"]*)"', found.group(2) or ""))
        if labels.items() <= have.items():
            total += float(found.group(3))
    return total


@pytest.mark.covers("RFC8725-3.12", "API5:2023")
def test_who_may_read(make):
    s = make(env={"POSTERN_METRICS_TOKEN": METRICS})
    app = s.register()
    assert "postern_info" in scrape(s) and "postern_info" in scrape(s, METRICS)
    for headers in ({}, bearer(REGISTRATION), bearer("x" * 40), app.auth()):
        r = s.get("/metrics", headers)
        assert r.status == 401 and r["WWW-Authenticate"], r
        assert b"postern_" not in r.body
    # And the token opens nothing else.
    assert s.get("/v1/apps", bearer(METRICS)).status == 401
    assert s.request("POST", "/v1/apps", bearer(METRICS),
                     {"name": "x"}).status == 401
    assert s.request("POST", "/metrics", bearer(ADMIN), {}).status == 405
    head = s.request("HEAD", "/metrics", bearer(ADMIN))
    assert (head.status, head.body) == (200, b"")


@pytest.mark.covers("ASVS-V2.10.2")
def test_without_tokens(make):
    s = make(env={"POSTERN_ADMIN_TOKEN": None})
    assert s.get("/metrics", bearer("x" * 40)).status == 401


def test_tokens_must_differ(scratch, pg):
    r = subprocess.run(
        [scratch.bin / "postern.fcgi"], capture_output=True, text=True, env={
            "POSTERN_DATABASE_URL": "x=y", "POSTERN_MASTER_KEY": secrets.token_hex(32),
            "POSTERN_LISTEN": "127.0.0.1:1", "POSTERN_METRICS_TOKEN": METRICS,
            "POSTERN_ADMIN_TOKEN": METRICS})
    assert r.returncode == 1 and "POSTERN_METRICS_TOKEN" in r.stderr
    assert METRICS not in r.stderr


def test_promtool_takes_it(site, app):
    site.get("/v1/whoami", app.auth())
    site.get("/v1/whoami", app.auth(secret="x" * 64))
    text = scrape(site)
    r = subprocess.run(["promtool", "check", "metrics"], input=text,
                       capture_output=True, text=True)
    assert r.returncode == 0, r.stdout + r.stderr


def test_counts_of_all_workers(make):
    """Nothing is lost or counted twice, whichever worker it was, also when
    workers die."""
    s = make(workers=3)
    wait_until("all workers are there", lambda: value(
        scrape(s), "postern_database_up") == 3)
    app = s.register()
    before = scrape(s)
    for _ in range(40):
        assert s.get("/v1/whoami", app.auth()).status == 200
    for _ in range(7):
        assert s.get("/v1/whoami", app.auth(secret="x" * 64)).status == 401
    broken = {**app.auth(), "Authorization": "Bearer a.b"}
    for _ in range(3):
        assert s.get("/v1/whoami", broken).status == 401
    for _ in range(5):
        assert s.get("/v1/nothing").status == 404
    s.get("/v1/auth", app.auth())

    def grown(text, name, **labels):
        return value(text, name, **labels) - value(before, name, **labels)

    after = scrape(s)
    whoami = {"route": "/v1/whoami", "method": "GET"}
    requests = "postern_requests_total"
    assert grown(after, requests, status="200", **whoami) == 40
    assert grown(after, requests, status="401", **whoami) == 10
    assert grown(after, requests, status="404", route="none") == 5
    assert grown(after, requests, status="204", route="gate") == 1
    refusals = "postern_refusals_total"
    assert grown(after, refusals, reason="signature_bad", **whoami) == 7
    # As the log has it, though its problem is another.
    assert grown(after, refusals, reason="token_malformed", **whoami) == 3
    assert grown(after, refusals, route="none") == 5
    assert grown(after, refusals) == 15
    assert grown(after, "postern_refusals_total", reason="not_found") + grown(
        after, "postern_refusals_total", reason="no_such_route") == 5
    total = grown(after, requests)
    assert grown(after, "postern_request_duration_seconds_count") == total
    assert grown(after, "postern_request_duration_seconds_bucket",
                 le="+Inf") == total
    assert grown(after, "postern_key_cache_misses_total") <= 3
    assert grown(after, "postern_key_cache_hits_total") >= 40
    assert value(after, "postern_workers") == 3
    assert value(after, "postern_database_up") == 3
    assert 'scope="master"' in after

    died = s.workers()[0]
    os.kill(died, signal.SIGKILL)
    wait_until("another worker", lambda: died not in s.workers()
               and value(scrape(s), "postern_workers") == 3)
    text = scrape(s)
    assert value(text, requests, status="200", **whoami) == value(
        after, requests, status="200", **whoami)
    assert value(text, "postern_workers_died_total") == 1
    assert value(text, "postern_workers_started_total") == 4


def test_a_single_process_says_so(make):
    s = make(workers=0)
    text = scrape(s)
    assert 'scope="process"' in text and value(text, "postern_workers") == 1


def test_apps_and_keys(make):
    s = make()
    apps = [s.register() for _ in range(4)]
    s.sql("UPDATE apps SET disabled_at = now() WHERE id = %s", apps[0].id)
    s.sql("UPDATE apps SET expires_at = now() WHERE id = %s", apps[1].id)
    s.sql("UPDATE apps SET master_key_id = %s WHERE id = %s",
          'x"} 1\nforged 1', apps[2].id)
    text = scrape(s)
    assert [value(text, "postern_apps", state=state)
            for state in ("active", "disabled", "expired")] == [2, 1, 1]
    assert value(text, "postern_sealed_keys") == 3
    assert "forged" not in text
    s.sql("UPDATE apps SET master_key_id = NULL WHERE id = %s", apps[2].id)
    assert value(scrape(s), "postern_sealed_keys",
                 master_key_id="goliauth", state="goliauth") == 1


def test_keys_by_what_the_server_has(make):
    """Sealed under the current master key, a former one, and one that this
    server has not got."""
    s = make()
    s.register()
    keys = [secrets.token_hex(32), secrets.token_hex(32)]
    second = make(database=s.database, env={
        "POSTERN_MASTER_KEY": keys[0],
        "POSTERN_MASTER_KEYS_OLD": s.master_key})
    for _ in range(2):
        second.register()

    def states(stack):
        text = scrape(stack)
        return [value(text, "postern_sealed_keys", state=state)
                for state in ("current", "old", "missing", "goliauth")]

    assert states(s) == [1, 0, 2, 0]
    assert states(second) == [2, 1, 0, 0]
    third = make(database=s.database, env={"POSTERN_MASTER_KEY": keys[1]})
    assert states(third) == [0, 0, 3, 0]
    ids = re.findall(r'postern_sealed_keys\{master_key_id="([0-9a-f]{16})"',
                     scrape(third))
    assert len(set(ids)) == 2


def test_database_away(make):
    s = make()
    with s.database_away():
        wait_until("all down", lambda: value(
            scrape(s), "postern_database_up") == 0)
        text = scrape(s)
        assert "postern_apps" not in text
        assert value(text, "postern_database_losses_total") >= 2
    wait_until("all up", lambda: value(scrape(s), "postern_database_up") == 2)
    assert value(scrape(s), "postern_listener_age_seconds") < 60
