"""At `/` is the rest of the suite; here below a prefix, and behind the
program's name. Routes and Location come out the same."""
import pytest

from lib.tokens import REGISTRATION
from ways import SCRIPT, WAYS, Site


@pytest.mark.covers("ASVS-V13.1.1")
@pytest.mark.parametrize("mount", ["/api", SCRIPT])
@pytest.mark.parametrize("way", WAYS, ids=lambda w: w.name)
def test_mount(pg, way, mount, note):
    with Site(pg, way, mount=mount, script=mount == SCRIPT) as s:
        note("base path" if s.base else "ok")
        r = s.request("POST", "/v1/apps",
                      {"Authorization": "Bearer " + REGISTRATION},
                      {"name": "mounted"})
        assert r.status == 201, r
        assert r["Location"] == \
            f"{s.prefix}/v1/apps/{r.json()['public_key']}"
        app = s.register()
        assert s.get("/v1/whoami", app.auth()).status == 200
        for name in ("a%20b", "x.fcgi", "a%3Fb"):
            r = s.request("PUT", "/v1/users/" + name, app.auth(), {"n": name})
            assert r.status == 201, r
            assert s.get("/v1/users/" + name, app.auth()).json() == \
                {"n": name}
        r = s.get("/v1/users?limit=1", app.auth())
        assert [u["user"] for u in r.json()["users"]] == ["a b"]
        for path, status, code in (
                ("/v1/whoami", 401, "credentials_missing"),
                ("/v1/nothing", 404, "no_such_route")):
            r = s.get(path)
            assert (r.status, r.code) == (status, code)
        assert s.get("/healthz").status == 200
        r = s.get("/openapi.json")
        assert r.status == 200 and r.json()["servers"][0]["url"] == "."
        # Elsewhere there is no API.
        prefix, s.prefix = s.prefix, ""
        r = s.get("/v1/whoami", app.auth())
        assert r.status == 404, r
        s.prefix = prefix
