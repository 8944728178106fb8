"""From a bare machine to one that serves, by the README's steps as they stand:
a new user's root shell on a Debian with nothing in it. What is missing there is
systemd alone, in whose place a few lines of shell start what it would."""
import json
import re
import subprocess

import pytest

from debian_root import RELEASES, base
from lib.process import REPO, free_port
from packaging_tools import debian_view, or_skip

pytestmark = pytest.mark.long
INSTALL_PATIENCE = 1200

# As the installed units say: the server's user, its four files as credentials,
# the web server's group at the socket.
SYSTEMCTL = r"""#!/bin/bash
set -eu
say() { sed -n "s/^$1=//p" /usr/local/lib/systemd/system/postern.service; }
postern() {
	rm -rf /run/credentials; install -d -o postern -m 500 /run/credentials
	say LoadCredential | while IFS=: read -r name path; do
		install -o postern -m 400 "$path" "/run/credentials/$name"
	done
	install -d -o postern -g www-data -m 2750 /run/postern
	say Environment | sed "s|%d|/run/credentials|" >/run/environment
	cd /
	env -i PATH="$PATH" $(cat /run/environment) \
		POSTERN_LISTEN=unix:/run/postern/postern.sock \
		setsid setpriv --reuid=postern --regid=postern --clear-groups \
		$(say ExecStart) >/run/postern.log 2>&1 </dev/null &
	echo $! >/run/postern.pid
}
lighttpd() {
	sed -i "s/^var.port .*/var.port = $PORT/" /etc/lighttpd/lighttpd.conf
	setsid /usr/sbin/lighttpd -f /etc/lighttpd/lighttpd.conf -D \
		>/run/lighttpd.log 2>&1 </dev/null &
	echo $! >/run/lighttpd.pid
}
stop() {
	[ -e "/run/$1.pid" ] || return 0
	kill "$(cat "/run/$1.pid")" 2>/dev/null || true
	while kill -0 "$(cat "/run/$1.pid")" 2>/dev/null; do sleep 0.1; done
	rm "/run/$1.pid"
}
verb=$1; shift
for unit; do
	unit=${unit%.service}
	case $unit in --now | postern.socket) continue ;; esac
	case $verb in restart | stop) stop "$unit" ;; esac
	case $verb in enable | restart | start) "$unit" ;; esac
done
"""

# What a machine has done by itself when a line of the README is over: apt
# starts the database, systemd hands over a socket that is there.
AFTER = {
    "apt install": "pg_ctlcluster $(pg_lsclusters -h | cut -d' ' -f1,2) start",
    "systemctl enable": "for i in $(seq 300); do"
                        " [ -S /run/postern/postern.sock ] && break;"
                        " sleep 0.1; done",
    "systemctl restart": "for i in $(seq 300); do curl -fsS -o /dev/null"
                 " http://127.0.0.1:$PORT/readyz 2>/dev/null && break;"
                 " sleep 0.1; done",
}


def steps():
    """The blocks of the README's part on hosting, and the invite behind."""
    text = (REPO / "README.md").read_text()
    part = text[text.index("## Hosting it for real"):
                text.index("### Backing up and restoring")]
    return re.findall(r"^```sh\n(.*?)^```", part, re.M | re.S)


@pytest.mark.parametrize("release", RELEASES)
def test_by_the_readme(scratch, release):
    lower = or_skip(base, release)
    port, d, mnt = free_port(), scratch.dir(), scratch.dir()
    files = subprocess.run(["git", "ls-files", "-z"], cwd=REPO, check=True,
                           capture_output=True).stdout
    subprocess.run(["tar", "--null", "-T", "-", "-cf", mnt / "clone.tar"],
                   cwd=REPO, check=True, input=files)
    with debian_view(lower, d, {"/mnt": mnt}) as view:
        try:
            walk(view, port)
        finally:
            view.run("bash", "-c", f"""
                export PORT={port}
                systemctl stop lighttpd postern
                pg_ctlcluster $(pg_lsclusters -h | cut -d' ' -f1,2) stop
                """, check=False)


def walk(view, port):
    view.run("sh", "-euc", """
        rm /usr/sbin/policy-rc.d
        cat >/usr/local/bin/systemctl; chmod 755 /usr/local/bin/systemctl
        echo 'APT::Get::Assume-Yes "true";' >/etc/apt/apt.conf.d/99yes
        apt-get -qq update
        mkdir -p /root/postern; tar xf /mnt/clone.tar -C /root/postern
        """, input=SYSTEMCTL, patience=300)
    blocks = steps()
    assert "make install" in blocks[0] and "git pull" in blocks[-1]
    script = ["cd /root/postern"]
    for text in blocks:
        text = text.replace("127.0.0.1:8080", f"127.0.0.1:{port}")
        text = text.replace("git pull && ", "")  # there is nothing newer
        for line in text.splitlines():
            script.append(line)
            for word, more in AFTER.items():
                if line.startswith(word):
                    script.append(more)
    # A login of root's: its directory is nobody else's, and its umask careful.
    r = subprocess.run(
        view.command("bash", "-euxo", "pipefail", "-c", "\n".join(script),
                     env={"HOME": "/root", "PORT": str(port), "LC_ALL": "C",
                          "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin"
                                  ":/usr/bin:/sbin:/bin",
                          "DEBIAN_FRONTEND": "noninteractive"}),
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        errors="replace", timeout=INSTALL_PATIENCE, cwd="/")
    out = r.stdout
    assert r.returncode == 0, out[-5000:]
    # Nothing that a reader would have to know from elsewhere.
    for wrong in ("could not change directory", "event=", "authentication",
                  "FAIL ", "warn  ", "permission denied"):
        assert wrong not in out, [x for x in out.splitlines() if wrong in x]
    for line in (r"granted postern what the server needs",
                 r"^ok +schema", r"^ok +encoding", r"^ok +privileges",
                 r'^\{"status":"ready"\}', r"^ok +ready"):
        assert re.search(line, out, re.M), line
    # An app that was invited by what was printed.
    invite = re.search(r"\S{40,}", out[out.index("+ postern invite"):]).group(0)
    made = view.run(
        "curl", "-sS", f"http://127.0.0.1:{port}/v1/apps", "-H",
        f"Authorization: Bearer {invite}", "-H",
        "Content-Type: application/json", "-d", '{"name":"Invited"}').stdout
    assert json.loads(made)["name"] == "Invited"
    # And root's commands, with no more words than that.
    env = {"PATH": "/usr/local/bin:/usr/bin:/bin"}
    assert "Invited" in view.run("postern", "app", "list", env=env).stdout
    assert "FAIL" not in view.run("postern", "check", env=env).stdout
