"""postern reseal: from former master keys, and goliauth's, to the current one,
while the service goes on."""
import json
import os
import pty
import random
import secrets
import signal
import subprocess
import threading
import time

import psycopg2
import psycopg2.extras
import pytest

from harness import (PATIENCE, SAN_ENV, SANITIZED, App, Stack, demoted,
                     gcm_open, gcm_seal, wait_until)

BATCH = 500  # src/auth/reseal.c


def fingerprint(master):
    """base/seal.c's: HMAC-SHA256 of a label under the key, 8 bytes."""
    import hashlib
    import hmac
    return hmac.new(bytes.fromhex(master), b"postern master key id",
                    hashlib.sha256).hexdigest()[:16]


def bound(master, public):
    return f"postern-v1|{fingerprint(master)}|{public}"


def seal(master, public, raw):
    return gcm_seal(master, raw, bound(master, public))


class Keys:
    """Master keys of a test, by name, made when first asked for."""

    def __init__(self):
        self.keys = {}

    def __getitem__(self, name):
        return self.keys.setdefault(name, secrets.token_hex(32))

    def settings(self, current, *old):
        return {"POSTERN_MASTER_KEY": self[current],
                "POSTERN_MASTER_KEYS_OLD": " ".join(self[k] for k in old)}


@pytest.fixture
def keys():
    return Keys()


@pytest.fixture
def db(pg):
    return Database(pg)


class Database:
    """A database with rows as Postern or goliauth would have written them."""

    def __init__(self, pg):
        self.pg, self.name = pg, pg.database()
        self.secrets = {}  # public key: raw secret
        self.previous = {}

    def sql(self, text, *args):
        c = self.pg.connect(self.name)
        try:
            cur = c.cursor()
            cur.execute(text, args)
            return cur.fetchall() if cur.description else None
        finally:
            c.close()

    def fill(self, n, master, goliauth=False, previous=None):
        """n apps; previous is the master key of a former secret of each."""
        rows = []
        for _ in range(n):
            public, raw = secrets.token_hex(32), secrets.token_bytes(32)
            self.secrets[public] = raw
            row = ["an app", public,
                   gcm_seal(master, raw) if goliauth
                   else seal(master, public, raw),
                   None if goliauth else fingerprint(master), None, None]
            if previous:
                self.previous[public] = secrets.token_bytes(32)
                row[4:] = [seal(previous, public, self.previous[public]),
                           fingerprint(previous)]
            rows.append(row)
        c = self.pg.connect(self.name)
        try:
            psycopg2.extras.execute_values(
                c.cursor(),
                "INSERT INTO apps (name, public_key, encrypted_secret_key,"
                " master_key_id, previous_encrypted_secret_key,"
                " previous_master_key_id, previous_valid_until) VALUES %s",
                rows, page_size=1000, template="(%s, %s, %s, %s, %s, %s,"
                " now() + interval '1 day')")
        finally:
            c.close()
        return [row[1] for row in rows]

    def rows(self):
        return {r[0]: r[1:] for r in self.sql(
            "SELECT public_key, encrypted_secret_key, master_key_id,"
            " previous_encrypted_secret_key, previous_master_key_id,"
            " updated_at, rotated_at FROM apps")}

    def all_under(self, master):
        """Every secret opens, by another implementation, bound to its row."""
        rows = self.rows()
        assert rows.keys() == self.secrets.keys()
        for public, (text, key_id, was, was_id, *_) in rows.items():
            assert key_id == fingerprint(master)
            assert gcm_open(master, text,
                            bound(master, public)) == self.secrets[public]
            assert (was is None) == (public not in self.previous)
            if was is not None:
                assert was_id == fingerprint(master)
                assert gcm_open(master, was, bound(master, public)) == \
                    self.previous[public]
        return True

    def events(self):
        return dict(self.sql(
            "SELECT event, count(*) FROM app_events GROUP BY event"))

    def hidden(self):
        """What no output may hold."""
        raws = [*self.secrets.values(), *self.previous.values()]
        return [raw.hex() for raw in raws]


class Tool:
    def __init__(self, db, settings):
        self.env = {"POSTERN_DATABASE_URL": db.pg.url(db.name, "owner"),
                    **SAN_ENV, **settings}
        self.path = db.pg.scratch.bin / "postern"
        self.db = db

    def start(self, *args, **kw):
        return subprocess.Popen([self.path, *args], env=self.env, cwd="/",
                                preexec_fn=demoted(), text=True, **kw)

    def __call__(self, *args, rc=0):
        p = self.start(*args, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.out, self.err = p.communicate(timeout=2 * PATIENCE)
        assert p.returncode == rc, (p.returncode, self.out, self.err)
        self.tells_no_secret()
        return self.out

    def tells_no_secret(self):
        text = self.out + self.err
        masters = (self.env["POSTERN_MASTER_KEY"] + " " +
                   self.env["POSTERN_MASTER_KEYS_OLD"]).split()
        for hidden in masters + self.db.hidden():
            assert hidden not in text

    def json(self, *args, rc=0):
        got = json.loads(self(*args, "--json", rc=rc))
        if "secrets" in got:
            got["by"] = {s["key_id"] or s["format"]: {
                k: v for k, v in s.items()
                if k not in ("key_id", "format") and v}
                for s in got.pop("secrets")}
        return got


def test_rotation_of_the_master_key(db, keys):
    """Current and previous secrets, from two former keys."""
    db.fill(3, keys["a"])
    db.fill(4, keys["b"], previous=keys["a"])
    db.fill(5, keys["c"], previous=keys["b"])
    db.fill(6, keys["c"])
    before = db.rows()
    tool = Tool(db, keys.settings("c", "a", "b"))
    want = {"dry_run": True, "complete": True, "apps": 18, "resealed": 12,
            "failed": 0, "busy": 0, "master_key_id": fingerprint(keys["c"]),
            "by": {fingerprint(keys["a"]): {"resealed": 7},
                   fingerprint(keys["b"]): {"resealed": 9}}}
    assert tool.json("reseal", "--dry-run") == want
    assert tool.err == "" and db.rows() == before
    assert tool.json("reseal") == {**want, "dry_run": False}
    assert tool.err == ""
    db.all_under(keys["c"])
    # 7 with another current secret, 5 with another previous one only.
    assert db.events() == {"created": 18, "resealed": 12}
    actors = db.sql("SELECT DISTINCT actor FROM app_events"
                    " WHERE event = 'resealed'")
    assert len(actors) == 1 and actors[0][0].startswith("cli:")
    after = db.rows()
    for public, row in before.items():  # updated_at, rotated_at
        assert after[public][4:] == row[4:]
    assert "0 of 18 apps resealed under" in tool("reseal")
    assert db.rows() == after and db.events()["resealed"] == 12
