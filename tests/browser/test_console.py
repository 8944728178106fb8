"""The console in Debian's Chromium: what its users do, and what must never be.
Each story is a program for node; browser.mjs watches the page."""
import os
import pathlib
import shutil
import signal
import subprocess

import pytest

from harness import ADMIN, PATIENCE, REGISTRATION, REPO, Stack

HERE = pathlib.Path(__file__).resolve().parent
WIDTHS = [360, 768, 1280]
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


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("role", ["developer", "operator"])
def test_story(site, role, width):
    story(site, role, width)


def test_keyboard_alone(site):
    story(site, "keyboard")


def test_guards(site):
    story(site, "guards")


def test_troubles(site):
    """The database goes away, and a server without metrics or description."""
    with site.database_away():
        story(site, "troubles", "away")
    story(site, "troubles", "without")


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
