"""The whole path, once, in each of the two ways under lighttpd."""


def test_register_authenticate_serve(both):
    app = both.register("Zoë & co")
    r = both.get("/v1/whoami", app.auth(scope="x"))
    assert r.status == 200
    assert r.json()["app"] == {
        k: app.answer[k] for k in
        ("id", "name", "public_key", "created_at", "updated_at")}
    assert r.json()["claims"]["scope"] == "x"
    r = both.request("PUT", "/v1/users/ada", app.auth(), {"city": "London"})
    assert r.status == 201
    r = both.get("/v1/me", app.auth(sub="ada"))
    assert (r.status, r.json()) == (200, {"city": "London"})
    assert both.get("/v1/whoami").status == 401


def test_static_page(both):
    r = both.get("/")
    assert r.status == 200
    assert b"Postern" in r.body
    assert "default-src 'none'" in r["Content-Security-Policy"]
