#!/usr/bin/python3
"""table.py [--check]: docs/reliability.md's table of the cluster, of the tests'
names and promises and of the figures that their last runs left; or whether it
has a row for each test, and no other."""
import json
import os
import pathlib
import platform
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent), str(HERE.parent / "faults")]
from rows import check, figures_of, promised, put, seconds  # noqa: E402

WAYS = "direct", "HAProxy", "pgbouncer"
HEAD = ["Fault", "Promised", "Another primary, by Patroni",
        *(f"503, {way}" for way in WAYS), "Wrong answers",
        "401 by a link whose end was not noticed yet", "Lost acknowledgements",
        "Last \"yes\" after the revocation", "Back to normal"]


def taken(f):
    if f["took_s"] is None:
        return "none"
    reset = f", reset after {f['reset_s']:.1f} s" if "reset_s" in f else ""
    return f"after {f['took_s']:.1f} s{reset}"


def refused(f):
    return ", ".join(f"{n} {kind}" for kind, n in sorted(
        f["failed"].items())) or "none"


def row(name, promise, f):
    ways = [f["ways"][way] for way in WAYS]

    def total(what):
        return sum(w[what] for w in ways)

    unheard = total("unheard") if all("unheard" in w for w in ways) else "-"
    yes = max(w["yes_s"] for w in ways)
    back = "; ".join(f"{way} {seconds(w['back_s'])}"
                     for way, w in zip(WAYS, ways))
    return [name, promise, taken(f), *map(refused, ways), total("wrong"),
            unheard, f"{total('lost')} of {total('acknowledged'):,}",
            seconds(yes) if total("yes") else "none", back]


def versions():
    def said(*command):
        out = subprocess.run(command, capture_output=True, text=True).stdout
        return out.split("\n")[0].strip()

    pg = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin/postgres"))[-1]
    return ", ".join([
        said("/usr/bin/patroni", "--version").capitalize(),
        said("/usr/bin/etcd", "--version").replace(" Version:", ""),
        "Postgres " + said(pg, "--version").split()[2],
        " ".join(said("/usr/sbin/haproxy", "-v").split()[:3]),
        said("/usr/sbin/pgbouncer", "--version")])


def write(rows):
    from members import TIMES
    from rig import binary, machine, table
    from ways import CACHE_TTL

    build = pathlib.Path(os.environ.get("POSTERN_BUILD", "build"))
    figures = json.loads((build / "cluster.json").read_text())
    text = table(HEAD, [row(*r) for r in figures_of(rows, figures)], len(HEAD))
    asked = sum(w["asked"] for f in figures.values()
                for w in f["ways"].values())
    times = ", ".join(f"`{k}` {v}" for k, v in TIMES.items())
    text += (f"\n\nIn all, {asked:,} requests. {times}, `POSTERN_CACHE_TTL` "
             f"{CACHE_TTL}; {versions()}; {binary()}; {machine()}; "
             f"Linux {platform.release()}.")
    put("cluster", text, rows)


if __name__ == "__main__":
    if sys.argv[1:] not in ([], ["--check"]):
        sys.exit(__doc__)
    rows = promised(HERE, ["test_cluster"])
    check("cluster", rows) if sys.argv[1:] else write(rows)
