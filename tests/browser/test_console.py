"""The console in Debian's Chromium: what its users do, and what must never be.
Each story is a program for node; browser.mjs watches the page."""
import json
import os
import pathlib
import shutil
import signal
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest

from lib.process import PATIENCE, REPO
from lib.stack import Stack
from lib.tokens import ADMIN, REGISTRATION

HERE = pathlib.Path(__file__).resolve().parent
# On one site, as many at a time as there are processors.
STORIES = [(role, width) for role in ("operator", "developer")
           for width in (360, 768, 1280)] + [("keyboard",), ("guards",)]
WEIGHT = 150 * 1024
# The static pages and Postern side by side below a mount, and the pages alone
# below another, told where the API is.
MOUNTED = """
server.modules += ("mod_alias")
alias.url = ("/gate/" => var.www + "/", "/console/" => "@OTHER@/")
$HTTP["url"] =~ "^/gate/(v1/|(healthz|readyz|metrics|openapi\\.json)$)" {
	fastcgi.server = ("/" => ((
		"socket"              => var.socket,
		"check-local"         => "disable",
		"fix-root-scriptname" => "enable"
	)))
}
"""


def story(site, name, *args, path="/"):
    """Run one, and end what it started."""
    p = subprocess.Popen(
        ["node", HERE / f"{name}.mjs", *map(str, args)], cwd=HERE,
        env={**os.environ, "CONSOLE_URL": f"http://127.0.0.1:{site.port}{path}",
             "REGISTRATION": REGISTRATION, "ADMIN": ADMIN,
             "PATIENCE": str(PATIENCE)},
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, start_new_session=True)
    try:
        out, _ = p.communicate(timeout=PATIENCE * 8)
    except subprocess.TimeoutExpired:
        os.killpg(p.pid, signal.SIGKILL)
        out, _ = p.communicate()
        pytest.fail(f"{name} did not end: {out}", pytrace=False)
    if p.returncode != 0:
        pytest.fail(f"{name} {args}: {out}", pytrace=False)


@pytest.fixture(scope="module")
def told(request, site):
    """What each story that is asked for comes to."""
    asked = [item.callspec.params["tale"] for item in request.session.items
             if item.originalname == "test_story"]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        yield {tale: pool.submit(story, site, *tale) for tale in asked}


@pytest.mark.parametrize("tale", STORIES,
                         ids=lambda t: "-".join(map(str, t)))
def test_story(told, tale):
    told[tale].result()


def test_troubles(site):
    """The database goes away; a server without metrics or description; a page
    that came by plain http."""
    with site.database_away():
        story(site, "troubles", "away")
    story(site, "troubles", "without")
    story(site, "troubles", "plain")


# From before names were looked at: turned, unbroken, at the edges of what shows.
NAMES = ["evil \u202egro.knab", "W" * 100, " \u200b<b>&amp; "]


def test_names(site):
    """Whatever an app is called, each page holds it together and apart, and
    its operator can delete it."""
    apps = []
    for name in NAMES:
        apps.append(site.register("old"))
        site.sql("UPDATE apps SET name = %s WHERE public_key = %s", name,
                 apps[-1].public)
        site.request("PUT", "/v1/users/" + "%E2%80%AEx" + "W" * 200,
                     apps[-1].auth(), {})
    story(site, "names", 360, json.dumps(
        [[name, app.public, app.secret] for name, app in zip(NAMES, apps)]))
    for app in apps:
        assert site.get("/v1/app", app.auth()).status == 401


def test_upgrade(site):
    """A browser that was here before gets no mixture of two versions."""
    www = site.scratch.path / "www"
    try:
        story(site, "upgrade", www)
    finally:
        shutil.copytree(REPO / "www", www, dirs_exist_ok=True)


def test_weight():
    files = [p for p in (REPO / "www").rglob("*") if p.is_file()]
    assert sum(p.stat().st_size for p in files) <= WEIGHT


def test_mount(pg):
    other = pg.scratch.dir()
    shutil.copytree(REPO / "www", other / "www")
    page = other / "www" / "index.html"
    text = page.read_text()
    assert 'name="postern-api" content="./"' in text
    page.write_text(text.replace('content="./"', 'content="/gate/"'))
    with Stack(pg, env={"POSTERN_BASE_PATH": "/gate"}, ready=False,
               extra_conf=MOUNTED.replace("@OTHER@", f"{other}/www")) as s:
        story(s, "mount", path="/gate/")
        story(s, "mount", path="/console/")
