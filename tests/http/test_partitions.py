"""Tables that are not one heap: no statement goes by where a row lies (ctid,
which two rows of two partitions share) or by who wrote it (xmax, which a
partitioned table doesn't give)."""
import json

import pytest

from lib.process import at_once, wait_until
from lib.stack import Stack

PARTITIONED = """
ALTER TABLE {name} RENAME TO {name}_whole;
CREATE TABLE {name} (LIKE {name}_whole INCLUDING ALL) PARTITION BY HASH ({key});
CREATE TABLE {name}_0 PARTITION OF {name} FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE {name}_1 PARTITION OF {name} FOR VALUES WITH (MODULUS 2, REMAINDER 1);
DO $$
DECLARE made text;
BEGIN
    FOR made IN SELECT replace(pg_get_triggerdef(oid), '{name}_whole', '{name}')
        FROM pg_trigger WHERE tgrelid = '{name}_whole'::regclass
        AND NOT tgisinternal
    LOOP
        EXECUTE made;
    END LOOP;
END $$;
DROP TABLE {name}_whole;
"""
# Of users the rows of one app lie in both.
KEYS = {"users": "user_id", "used_jtis": "jti_hash"}


@pytest.fixture(scope="module")
def site(pg):
    database = pg.database()
    c = pg.connect(database)
    for name, key in KEYS.items():
        c.cursor().execute(PARTITIONED.format(name=name, key=key))
    c.cursor().execute("ALTER TABLE users ADD FOREIGN KEY (app_id)"
                       " REFERENCES apps (id) ON DELETE CASCADE")
    c.close()
    pg.migrate(database)  # grants anew
    with Stack(pg, database=database,
               env={"POSTERN_JWT_SINGLE_USE": "on"}) as s:
        yield s


@pytest.fixture()
def jti():
    n = iter(range(100000))
    return lambda: {"jti": str(next(n))}


def put(s, app, jti, user, headers=None):
    return s.request("PUT", "/v1/users/" + user,
                     {**app.auth(**jti()), **(headers or {})},
                     {"user": user})


def test_made_or_replaced(site, jti):
    """201 for the first, 200 for each after it, also of many at once, and of
    one that was deleted and comes again."""
    app = site.register()
    for _ in range(2):
        assert [put(site, app, jti, "ada").status for _ in range(3)] == [
            201, 200, 200]
        assert site.request("DELETE", "/v1/users/ada",
                            app.auth(**jti())).status == 204
    tokens = [app.auth(**jti()) for _ in range(12)]
    assert sorted(r.status for r in at_once(12, lambda i: site.request(
        "PUT", "/v1/users/bob", tokens[i], {"i": i}))) == [200] * 11 + [201]
    assert put(site, app, jti, "new", {"If-None-Match": "*"}).status == 201
    assert put(site, app, jti, "new", {"If-None-Match": "*"}).status == 412
    r = put(site, app, jti, "new", {"If-Match": "*"})
    assert (r.status, json.loads(r.body)) == (200, {"user": "new"})


def test_swept(site, jti):
    """A deleted app's documents go, and nobody else's."""
    app, other = site.register(), site.register()
    for a in (app, other):
        site.sql("INSERT INTO users (app_id, user_id, information)"
                 " SELECT %s, 'u' || i, '{}' FROM generate_series(1, 2500) AS i",
                 a.id)
    assert site.request("DELETE", "/v1/app", app.auth(**jti())).status == 204
    wait_until("swept", lambda: not site.sql(
        "SELECT 1 FROM apps WHERE id = %s", app.id))
    assert site.sql("SELECT app_id, count(*) FROM users WHERE app_id = ANY(%s)"
                    " GROUP BY 1", [app.id, other.id]) == [(other.id, 2500)]


def test_purged(site, jti):
    """Used tokens go when they are over, and no others."""
    app = site.register()
    site.sql("INSERT INTO used_jtis SELECT %s, 'j' || i, now() + CASE"
             " WHEN i %% 7 = 0 THEN interval '1 day' ELSE interval '-1 day' END"
             " FROM generate_series(1, 700) AS i", app.id)
    site.reload()
    wait_until("purged", lambda: site.sql(
        "SELECT count(*) FROM used_jtis WHERE app_id = %s", app.id) == [(100,)])
    assert site.sql("SELECT count(*) FROM used_jtis WHERE app_id = %s"
                    " AND expires_at > now()", app.id) == [(100,)]
