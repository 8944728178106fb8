import pytest

from host import Host
import texts

PRETENDED = set()


@pytest.fixture(scope="session")
def ran():
    """ran(path, how, lines): what was done with a document's blocks."""
    def note(path, how, lines):
        texts.RAN.setdefault(texts.name(path), {}).setdefault(
            how, set()).update(lines)
    return note


@pytest.fixture(scope="session")
def make_host(pg):
    hosts = []

    def make():
        hosts.append(Host(pg))
        return hosts[-1]

    yield make
    for h in hosts:
        PRETENDED.update(h.local_names(c) for c in h.commands())
        h.stop()


@pytest.fixture(scope="session")
def host(make_host, ran):
    """One that the README's part on hosting has made, to its end."""
    import test_documents
    h = make_host()
    test_documents.make_by_readme(h, ran)
    return h


def pytest_terminal_summary(terminalreporter):
    """What was run, and what was not."""
    out = terminalreporter
    out.section("commands of the documents")
    for path in map(texts.name, texts.DOCUMENTS):
        if path in texts.RAN:
            out.line(f"{path}: " + "; ".join(
                f"{how} {len(lines)} blocks (line "
                f"{', '.join(map(str, sorted(lines)))})"
                for how, lines in texts.RAN[path].items()))
    if PRETENDED:
        out.line("Of those that ran, these commands did not as they stand:")
        for line in sorted(PRETENDED):
            out.line(f"  {line}")
