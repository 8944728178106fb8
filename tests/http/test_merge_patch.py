"""RFC 7396 in SQL: right by the RFC's own table and beside another program of
the same, and as much work as there are members."""
import json
import pathlib
import random
from concurrent.futures import ThreadPoolExecutor

import pytest

JSON = {"Content-Type": "application/json"}
MERGE = {"Content-Type": "application/merge-patch+json"}
NOTHING = object()  # not even null


@pytest.fixture(scope="module")
def session(pg):
    c = pg.connect(pg.database(), "server")
    yield c
    c.close()


def ask(session, text, *args):
    cur = session.cursor()
    cur.execute(text, args)
    return cur.fetchone()


def merged(session, target, patch):
    return ask(session, "SELECT postern_merge_patch(%s, %s)", None
               if target is NOTHING else json.dumps(target),
               json.dumps(patch))[0]


def merge(target, patch):
    """Section 2 of the RFC, word by word."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merge(result.get(name), value)
    return result


# Appendix A, in its order.
@pytest.mark.parametrize("target,patch,result", [
    ({"a": "b"}, {"a": "c"}, {"a": "c"}),
    ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
    ({"a": "b"}, {"a": None}, {}),
    ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
    ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
    ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
    ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
    ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
    (["a", "b"], ["c", "d"], ["c", "d"]),
    ({"a": "b"}, ["c"], ["c"]),
    ({"a": "foo"}, None, None),
    ({"a": "foo"}, "bar", "bar"),
    ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
    ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
    ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
])
def test_appendix(session, target, patch, result):
    assert merge(target, patch) == result
    assert merged(session, target, patch) == result


@pytest.mark.parametrize("target,patch,result", [
    (NOTHING, {"a": None, "b": 1}, {"b": 1}),
    (None, {}, {}), ({}, {}, {}), ({"a": None}, {}, {"a": None}),
    # What is in the place of an object makes way for a new one.
    ({"a": 1}, {"a": {"b": {"c": 2, "d": None}}}, {"a": {"b": {"c": 2}}}),
    ({"a": None}, {"a": {"b": None}}, {"a": {}}),
    ({"a": [{"b": 1}]}, {"a": {"b": 2}}, {"a": {"b": 2}}),
    ({"a": "x"}, {"a": {}}, {"a": {}}),
    # An object stays one, also without members.
    ({"a": {"b": 1}}, {"a": {}}, {"a": {"b": 1}}),
    ({"a": {"b": 1}}, {"a": {"b": None}}, {"a": {}}),
    ({"a": {"b": {}}}, {"a": {"b": {"c": None}}}, {"a": {"b": {}}}),
    # Arrays are taken as they are, with the nulls in them.
    ({"a": [1]}, {"a": [None, {"b": None}, [{"c": None}]]},
     {"a": [None, {"b": None}, [{"c": None}]]}),
    # Nulls of the document are none of the patch's.
    ({"a": None, "b": {"c": None, "d": 1}}, {"b": {"d": None}},
     {"a": None, "b": {"c": None}}),
    # The same name at each depth, and beside itself.
    ({"a": {"a": {"a": 1, "b": 2}}}, {"a": {"a": {"a": None}}, "b": 1},
     {"a": {"a": {"b": 2}}, "b": 1}),
    ({"a": {"x": 1}, "b": {"x": 1}, "c": {"x": 1}},
     {"a": {"x": 2}, "b": {"x": None}, "d": {"x": 4}},
     {"a": {"x": 2}, "b": {}, "c": {"x": 1}, "d": {"x": 4}}),
    # Names that mean something elsewhere.
    ({"": 1, "0": [1], "-1": 2, "a,b": {"{}": 1}, "a.b": 3, "null": 4},
     {"": None, "0": {"0": 1}, "-1": {"": 2}, "a,b": {"{}": None},
      "a.b": 5, "null": None, "__proto__": {"x": 1}, "\\": 1, '"': 2},
     {"0": {"0": 1}, "-1": {"": 2}, "a,b": {}, "a.b": 5,
      "__proto__": {"x": 1}, "\\": 1, '"': 2}),
    ({"é": 1, "e\u0301": 2, "\U0001f511": 3},
     {"é": None, "\U0001f511": {"ü": 1}},
     {"e\u0301": 2, "\U0001f511": {"ü": 1}}),
    ({"a": True, "b": 0}, {"a": False, "b": ""}, {"a": False, "b": ""}),
])
def test_neighbours(session, target, patch, result):
    assert merge(target, patch) == result
    assert merged(session, target, patch) == result


def anything(rng, depth):
    kind = rng.randrange(9 if depth > 0 else 5)
    if kind < 5:
        return (None, rng.randrange(3), "x", True, [])[kind]
    if kind == 5:
        return [anything(rng, depth - 1) for _ in range(rng.randrange(3))]
    return {rng.choice("abcdefgh"): anything(rng, depth - 1)
            for _ in range(rng.randrange(7))}


def test_like_another_program(session):
    rng = random.Random(7396)
    pairs = [(anything(rng, 6), anything(rng, 6)) for _ in range(1500)]
    assert sum(isinstance(t, dict) and isinstance(p, dict)
               for t, p in pairs) > 150
    cur = session.cursor()
    cur.execute("SELECT postern_merge_patch(t, p) FROM unnest(%s::jsonb[],"
                " %s::jsonb[]) WITH ORDINALITY AS u (t, p, n) ORDER BY n",
                tuple([json.dumps(d) for d in side] for side in zip(*pairs)))
    for (target, patch), (result,) in zip(pairs, cur.fetchall()):
        assert result == merge(target, patch), (target, patch)


def test_numbers_stay_exact(session):
    text, = ask(session, "SELECT postern_merge_patch(%s, %s)::text",
                '{"a":1.10,"b":{"c":12345678901234567890123},"d":1}',
                '{"b":{"e":0.1000000000000000055511},"d":2.50}')
    assert text == ('{"a": 1.10, "b": {"c": 12345678901234567890123, '
                    '"e": 0.1000000000000000055511}, "d": 2.50}')


def chain(depth, end="1"):
    return '{"a":' * depth + end + "}" * depth


def members(n, value):
    return "{" + ",".join(f'"k{i}":{value}' for i in range(n)) + "}"


# What is merged with what, n members.
SHAPES = {
    "new members": ("{}", lambda n: members(n, "1")),
    "other values": (lambda n: members(n, "1"), lambda n: members(n, "2")),
    "removed": (lambda n: members(n, "1"), lambda n: members(n, "null")),
    "nothing to remove": ("{}", lambda n: members(n, "null")),
    "a large document, a small patch": (
        lambda n: members(n, '"text"'), '{"k1":{"a":1},"k2":null}'),
    "a small document, a large patch": (
        '{"k1":1,"x":{"y":1}}', lambda n: members(n, '"text"')),
    "new objects": ("{}", lambda n: members(n, '{"a":1,"b":null}')),
    "nested": (lambda n: members(n, '{"a":1}'),
               lambda n: members(n, '{"a":2,"b":{"c":1}}')),
    "deep": (lambda n: members(n // 20, chain(31)),
             lambda n: members(n // 20, chain(31, "2"))),
    "one deep, wide at its end": (
        lambda n: chain(31, members(n, "1")),
        lambda n: chain(31, members(n, "2"))),
}


def cpu_ns(pid):
    """A process's time on a processor: others' load is not in it."""
    return int(pathlib.Path(f"/proc/{pid}/schedstat").read_text().split()[0])


def work(session, what, n):
    """CPU ns of Postgres for a merge, at its best. As in a patch, the document
    is a table's, where it is compressed."""
    target, patch = (part if isinstance(part, str) else part(n)
                     for part in what)
    cur = session.cursor()
    cur.execute("UPDATE merging SET target = %s", (target,))
    taken = []
    for _ in range(4):
        before = cpu_ns(session.get_backend_pid())
        cur.execute("SELECT postern_merge_patch(target, %s) FROM merging",
                    (patch,))
        taken.append(cpu_ns(session.get_backend_pid()) - before)
    assert cur.fetchone()[0] == merge(json.loads(target), json.loads(patch))
    return min(taken)


@pytest.fixture()
def merging(session):
    cur = session.cursor()
    cur.execute("CREATE TEMP TABLE merging AS SELECT '{}'::jsonb AS target;"
                "SET statement_timeout = 20000")
    yield session
    cur.execute("DROP TABLE merging; RESET statement_timeout")


@pytest.mark.covers("API4:2023")
@pytest.mark.parametrize("shape", SHAPES)
def test_work_grows_with_the_members(merging, shape):
    few, many = (work(merging, SHAPES[shape], n) for n in (1000, 8000))
    assert many < 20 * max(few, 1500000), (few, many)  # squared it were 64


# What fills a body of the default's 65,536 bytes; all of it.
BODIES = {
    "wide": members(5500, "1"), "removed": members(4500, "null"),
    "nested": members(3500, '{"a":1}'), "deep": members(330, chain(31)),
}


@pytest.mark.covers("API4:2023")
@pytest.mark.parametrize("kind", BODIES)
def test_no_harm_to_others(site, app, kind):
    """Two clients that patch without a pause, and another app."""
    body = BODIES[kind]
    assert 48000 < len(body) <= 65536
    other = site.register()
    for user in "ab":
        assert site.request(
            "PUT", f"/v1/users/{user}", {**app.auth(), **JSON},
            body.replace("null", "0")).status == 201
    assert site.request("PUT", "/v1/me", other.auth(sub="x"),
                        {}).status == 201

    def patches(user):
        return [site.request("PATCH", f"/v1/users/{user}",
                             {**app.auth(), **MERGE}, body).status
                for _ in range(6)]

    with ThreadPoolExecutor(2) as pool:
        running = [pool.submit(patches, user) for user in "ab"]
        others = []
        while not all(r.done() for r in running):
            others += [site.get(path, headers).status for path, headers in (
                ("/v1/whoami", other.auth()), ("/v1/me", other.auth(sub="x")),
                ("/readyz", None))]
            others.append(site.request("PUT", "/v1/me", other.auth(sub="x"),
                                       {"a": 1}).status)
    assert [r.result() for r in running] == [[200] * 6] * 2
    assert set(others) == {200}
