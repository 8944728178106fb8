"""Each of examples/, as its reader would run it, against a live server."""
import pathlib

from lib.process import REPO
import clients

EMPTY = "a user token needs a user: the name is empty"


def output(app, user):
    name = app.answer["name"]
    return (f"whoami, app token: {name}\nwhoami, user token: {name}, {user}\n"
            "stored and read: London\n")


def test_session(client, app, site):
    r = client.run(app)
    assert (r.returncode, r.stdout, r.stderr) == (0, output(app, "ada"), "")
    r = site.request("DELETE", "/v1/users/ada", app.auth())
    assert r.status == 204  # it was this app's, and really stored


def test_user_of_any_name(client, app, site):
    """Such as need quoting in JSON, in a path and in a shell."""
    user = "Zoë/\"'$HOME\\ #1?+%2F"
    r = client.run(app, user)
    assert (r.returncode, r.stdout, r.stderr) == (0, output(app, user), "")
    r = site.request("DELETE", "/v1/me", app.auth(sub=user))
    assert r.status == 204


def test_empty_user(client, app, site):
    r = client.run(app, "")
    assert r.returncode != 0
    assert r.stdout == ""
    assert EMPTY in r.stderr
    assert "London" not in str(site.get("/v1/users", app.auth()).body)


def test_wrong_secret(client, app, site):
    other = site.register()
    r = client.run(app, secret=other.secret)
    assert r.returncode != 0
    assert r.stdout == ""
    assert r.stderr == ("401 invalid_credentials: The credentials are not "
                        "valid.\n")


def test_all_are_here():
    """No example that no test runs; each says which bytes are the key."""
    names = {c.__name__.lower() for c in clients.CLIENTS}
    programs = [p for d in names for p in (REPO / "examples" / d).iterdir()
                if p.suffix in (".sh", ".py", ".mjs", ".js", ".php", ".go",
                                ".pl")]
    assert {p.name for p in pathlib.Path(REPO / "examples").iterdir()
            if p.is_dir()} == names
    assert len(programs) == len(names)
    for p in programs:
        text = " ".join(p.read_text().replace("//", " ").replace("#", " ")
                        .replace("*", " ").split())
        assert "HMAC key is the secret key's characters as they stand" in text
        assert EMPTY in text
