"""Every statement of the program, as the compiler reads it in the sources: what
Postgres takes its parameters for, and the plan that it has for any values."""
import ast
import contextlib
import functools
import os
import pathlib
import re
import subprocess

import pytest

from lib.stack import Stack

ROOT = pathlib.Path(__file__).resolve().parents[2]
STATEMENT = re.compile(
    r'struct\s+db_stmt\s+\w+\s*=\s*\{\s*"(?P<name>\w+)"\s*,'
    r'(?P<text>(?:\s*"(?:[^"\\]|\\.)*")+)\s*,\s*(?P<n>[\w\s+]+?)\s*\}')
DECLARED = re.compile(r"struct\s+db_stmt\s+\w+\s*=")


@functools.cache
def statements():
    """{name: SQL}"""
    found = {}
    for path in sorted(ROOT.glob("src/*/*.c")):
        if "struct db_stmt" not in path.read_text():
            continue
        text = subprocess.run(
            [*os.environ.get("CC", "cc").split(), "-E", "-P", "-std=gnu11",
             "-D_GNU_SOURCE", "-I", ROOT / "include", path],
            check=True, capture_output=True, text=True).stdout
        all_of_it = list(STATEMENT.finditer(text))
        assert len(all_of_it) == len(DECLARED.findall(text)), path
        for m in all_of_it:
            assert m["name"] not in found, m["name"]
            sql = "".join(ast.literal_eval(piece) for piece in re.findall(
                r'"(?:[^"\\]|\\.)*"', m["text"]))
            if m["n"].isdigit():
                assert int(m["n"]) == max(
                    map(int, re.findall(r"\$(\d+)", sql)), default=0), m["name"]
            found[m["name"]] = sql
    return found


# What each takes, and the tables of ours that it reads from end to end: for all
# of their rows, or as one that is run seldom.
KNOWN = {
    "app_counts": ("", "apps"),
    "app_delete": ("text, text", ""),
    "app_end_previous": ("text, text", ""),
    "app_find": ("text", ""),
    "app_insert": ("text, text, text, text, timestamp with time zone", ""),
    "app_list": ("bigint, integer, text", ""),
    "app_patch": ("text, text, text, boolean, timestamp with time zone", ""),
    "app_rotate": ("text, text, text, text, bigint, boolean", ""),
    "app_set_disabled": ("text, boolean", ""),
    "event_any": ("text", ""),
    "event_last_id": ("", ""),
    "event_list": ("bigint, bigint", ""),
    "event_list_app": ("bigint, bigint, text", ""),
    "event_note_opened": ("text", ""),
    "event_note_pruned": ("text", ""),
    "event_prune": ("bigint, bigint, timestamp with time zone", ""),
    "event_prune_begin": ("integer", ""),
    "facts": ("", ""),
    "requirements_numbers": ("", ""),
    "requirements_of": ("text", ""),
    "invite_create": ("text, text, bigint, timestamp with time zone", ""),
    "invite_find": ("text", ""),
    "invite_list": ("", ""),
    "invite_revoke": ("bigint", ""),
    "invite_use": ("bigint", ""),
    "jti_purge": ("", ""),
    "jti_use": ("bigint, text, double precision", ""),
    "name_event": ("text", ""),
    "reseal_again": ("bigint[]", ""),
    "reseal_key_uses": ("", "apps"),
    "reseal_last_id": ("", ""),
    "reseal_page": ("bigint, integer", ""),
    "reseal_write": (
        "text, bigint[], text[], text[], text[], text[], text[]", ""),
    "rights_calls": ("text", ""),
    "rights_creators": ("", ""),
    "rights_functions": ("", ""),
    "rights_sequences": ("text", ""),
    "rights_tables": ("text", ""),
    "schema_holder": ("", ""),
    "schema_newest": ("", ""),
    "schema_there": ("", ""),
    "set_actor": ("text, text, text", ""),
    "sweep_app": ("bigint", ""),
    "sweep_find": ("bigint", ""),
    "sweep_users": ("bigint, text", ""),
    "table_locks": ("text", ""),
    "use_note": ("bigint[], boolean[], double precision[], bigint[]", ""),
    "user_delete": ("bigint, text, text[], text[]", ""),
    "user_get": ("bigint, text", ""),
    "user_list": ("bigint, text, integer", ""),
    "user_patch": ("bigint, text, text[], text[], jsonb, bigint", ""),
    "user_put": ("bigint, text, text[], text[], jsonb", ""),
    "user_replace": ("bigint, text, text[], text[], jsonb", ""),
}

FILL = """
ALTER TABLE apps DISABLE TRIGGER USER;
INSERT INTO apps (name, public_key, encrypted_secret_key, master_key_id)
    SELECT 'app', md5(n::text) || md5((-n)::text), 'x', 'x'
    FROM generate_series(1, 10000) AS n;
ALTER TABLE apps ENABLE TRIGGER USER;
INSERT INTO app_events (app_id, public_key, event, actor)
    SELECT id, public_key, 'changed', 'x' FROM apps, generate_series(1, 5);
INSERT INTO app_uses SELECT id, now() FROM apps;
INSERT INTO users (app_id, user_id, information)
    SELECT id % 100 + 1, id, '{}' FROM apps;
INSERT INTO used_jtis SELECT id, public_key, now() FROM apps;
INSERT INTO invites (token_hash, uses_max) SELECT public_key, 1 FROM apps;
ANALYZE;
SET plan_cache_mode = force_generic_plan;
"""
TABLES = {"apps", "app_events", "app_uses", "users", "used_jtis", "invites"}


@pytest.fixture(scope="module")
def session(pg):
    with Stack(pg, way="idle") as s, \
            contextlib.closing(pg.connect(s.database)) as c:
        cur = c.cursor()
        cur.execute(FILL)
        yield cur


def nodes(plan):
    yield plan
    for below in plan.get("Plans", ()):
        yield from nodes(below)


def plan_of(cur, name, sql):
    """Its parameters' types, and the nodes of its plan."""
    cur.execute(f"PREPARE {name} AS {sql}")
    cur.execute("SELECT parameter_types::text[] FROM pg_prepared_statements"
                " WHERE name = %s", (name,))
    types, = cur.fetchone()
    nulls = f"({', '.join(['NULL'] * len(types))})" if types else ""
    cur.execute(f"EXPLAIN (FORMAT JSON) EXECUTE {name} {nulls}")
    plan, = cur.fetchone()
    return ", ".join(types), list(nodes(plan[0]["Plan"]))


def test_none_is_forgotten():
    assert sorted(statements()) == sorted(KNOWN)


@pytest.mark.parametrize("name", KNOWN)
def test_plan(session, name):
    types, plan = plan_of(session, name, statements()[name])
    scanned = {n["Relation Name"] for n in plan if n["Node Type"] == "Seq Scan"
               and n["Relation Name"] in TABLES}
    assert (types, " ".join(sorted(scanned))) == KNOWN[name]


def test_the_trail_of_one_app(session):
    """By its key and its number, whatever else there is in the trail."""
    _, plan = plan_of(session, "one", statements()["event_list_app"])
    used = {n["Index Name"] for n in plan if "Index Name" in n}
    assert used == {"app_events_public_key_idx", "app_events_app_id_id_idx",
                    "apps_public_key_key"}
