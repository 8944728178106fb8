"""The documents and what stands in them: blocks, links, names."""
import re

from lib.process import REPO

DOCUMENTS = [*sorted(REPO.glob("*.md")),
             *sorted(REPO.glob("docs/*.md")),
             *sorted(REPO.glob("examples/*.md")),
             *sorted(REPO.glob("contrib/*.md"))]
MANUALS = sorted(REPO.glob("man/*.[158]"))
# A part of docs/operating.md that takes two clusters.
ANOTHER_POSTGRES = "## Upgrading Postgres by logical replication"
RAN = {}  # {document's name: {what was done with it: lines of blocks}}


def name(path):
    return str(path.relative_to(REPO))


def blocks(path, kind):
    """(line, text) of each fenced block of that kind."""
    found, opened = [], None
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if not line.startswith("```"):
            if opened:
                opened[2].append(line)
        elif opened:
            if opened[1] == kind:
                found.append((opened[0], "\n".join(opened[2]) + "\n"))
            opened = None
        else:
            opened = (number + 1, line[3:].strip(), [])
    assert opened is None, f"{name(path)}:{opened[0]}: a block without an end"
    return found


def part(path, heading):
    """The numbers of a part's lines, from its heading to the next like it."""
    lines = path.read_text().splitlines()
    first = lines.index(heading) + 1
    like = heading.split()[0] + " "
    end = [n for n, line in enumerate(lines, 1)
           if n > first and line.startswith(like)]
    return range(first, end[0] if end else len(lines) + 1)


def prose(path):
    """The text without its blocks."""
    return re.sub(r"^```.*?^```$", "", path.read_text(), flags=re.M | re.S)


def anchors(path):
    """The headings' names, as they are made of them for links."""
    heads = re.findall(r"^#+ (.*)$", prose(path), re.M)
    return {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-")
            for h in heads}


def commands(block):
    """The simple commands of a console block: what stands behind a prompt."""
    text = block.replace("\\\n", " ")
    for line in re.findall(r"^[$#] (.*)$", text, re.M):
        for command in re.split(r"\s*(?:&&|\|\||[|;])\s*", line):
            yield command
