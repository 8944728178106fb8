"""Fixtures, and the table of what each server does with each feature."""
import re

import pytest

from gates import GATES
from ways import ORIGIN, WAYS, Site

# Of each table: (file, line, feature) -> way -> text.
CELLS = {"ways": {}, "gates": {}}


@pytest.fixture(scope="session", params=WAYS, ids=lambda w: w.name)
def site(pg, request):
    """Each way in turn, running for all tests that ask for it."""
    with Site(pg, request.param, env={"POSTERN_CORS_ORIGINS": ORIGIN}) as s:
        yield s


@pytest.fixture(scope="session")
def known():
    """An app for each site."""
    return {}


@pytest.fixture()
def app(site, known):
    if site not in known:
        known[site] = site.register()
    return known[site]


@pytest.fixture()
def note(request):
    """Say what the table shows in place of `ok`."""
    def say(text):
        request.node.user_properties.append(("note", str(text)))

    return say


def cell_of(item):
    """(whose table, feature, way) of a test, and where it stands."""
    params = dict(item.callspec.params) if hasattr(item, "callspec") else {}
    gate = params.pop("gate", None)
    way = gate or params.pop("site", None) or params.pop("way", None)
    if way is None:
        return None
    words = [item.originalname.removeprefix("test_").replace("_", " ")]
    feature = " ".join(words + [str(v) for v in params.values()])
    return "gates" if gate else "ways", feature, way.name, *item.location[:2]


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    report = (yield).get_result()
    report.cell = cell_of(item)  # goes with it to who writes the tables


def pytest_runtest_logreport(report):
    cell = getattr(report, "cell", None)
    if cell is None or (report.when != "call" and report.passed):
        return
    table, feature, way, *place = cell
    row = CELLS[table].setdefault((*place, feature), {})
    if report.passed:
        said = [v for k, v in report.user_properties if k == "note"]
        row.setdefault(way, ", ".join(said) or "ok")
    else:
        row[way] = report.outcome.upper()


def group_of(nodeid):
    """A way's tests share its servers; the others, their file's."""
    given = nodeid.partition("[")[2].rstrip("]")
    for name in {kind.name for kind in (*WAYS, *GATES)}:
        if re.search(rf"(^|-){re.escape(name)}(-|$)", given):
            return name
    return nodeid.partition("::")[0]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    from xdist.scheduler import LoadScopeScheduling

    class ByGroup(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            return group_of(nodeid)

    return ByGroup(config, log)


def pytest_terminal_summary(terminalreporter):
    """Feature by way, from what the tests have asserted."""
    for table, title, ways in (
            ("ways", "what each server does", WAYS),
            ("gates", "what each server's gate does", GATES)):
        if CELLS[table]:
            write_table(terminalreporter, title, {
                feature: row for (*_, feature), row in sorted(
                    CELLS[table].items())}, ways)


def write_table(terminalreporter, title, cells, ways):
    ways = [w.name for w in ways if any(w.name in r for r in cells.values())]
    table = [["", *ways]] + [
        [feature, *(row.get(w, "-") for w in ways)]
        for feature, row in cells.items()]
    # A way's name is broken into words, a line each, to keep columns narrow.
    words = [w.split() for w in ways]
    deep = max(map(len, words))
    heads = [["", *((w + [""] * deep)[i] for w in words)] for i in range(deep)]
    table[:1] = heads
    width = [max(len(r[i]) for r in table) for i in range(len(ways) + 1)]
    terminalreporter.section(title)
    terminalreporter.write_line(
        "ok: as Postern means it. A number or a word: the server's own answer "
        "or manner.\n-: not a feature of this way, or not run.\n")
    for r in table:
        terminalreporter.write_line(
            "  ".join(c.ljust(n) for c, n in zip(r, width)).rstrip())
