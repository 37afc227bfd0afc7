"""Checks that the imports of src/ only point down: `make lint`."""

import re
import sys
from pathlib import Path

# From the top; src/lib.rs tells what each is for. What stands in one line may not use each other.
FLOORS = [
    ["module"],
    ["conf"],
    ["setup"],
    ["handler", "status"],
    ["answer"],
    ["request"],
    ["connections"],
    ["location", "log"],
    ["credentials", "counts"],
    ["nginx", "s3"],
]
# What a floor may not know, in code or in comments.
UNKNOWN = {"nginx": re.compile(r"(?i)bucket|\bs3\b|amz|sigv4"), "s3": re.compile(r"\bngx_\w|\bngx::")}


def floor(name):
    """The number of a module's floor, or None for one that has none."""
    return next((i for i, names in enumerate(FLOORS) if name in names), None)


def code(text):
    """The lines of a file, without comments and without its unit tests."""
    text = text.split("\n#[cfg(test)]\nmod tests", 1)[0]
    return [(n, line.split("//", 1)[0]) for n, line in enumerate(text.split("\n"), 1)]


def used(lines, here):
    """(line, module path) of all that a file uses of this crate."""
    joined, start = "", 0
    for n, line in lines:
        start = start if joined else n
        joined += " " + line.strip()
        if joined.strip().startswith(("use ", "pub use ")) and ";" not in joined:
            continue
        for root, path in re.findall(r"\b(crate|super|self)((?:::\w+)+)", joined):
            names = path.split("::")[1:]
            yield start, (names if root == "crate" else [*here[:-1], *names] if root == "super" else [*here, *names])
        for names in re.findall(r"\b(crate|super)::\{([^}]*)\}", joined):
            for name in re.findall(r"(\w+)(?:::|,|\s*$)", names[1]):
                yield start, [name] if names[0] == "crate" else [*here[:-1], name]
        joined = ""


def check(sources):
    """What is wrong with `sources`, the text of each file by its module's path, as lines."""
    wrong, graph = [], {path: set() for path in sources}
    for path, text in sources.items():
        wrong += lengths(path, text)
        here, own = path.split("/"), floor(path.split("/")[0])
        if own is None:
            wrong.append(f"src/{path}.rs: is on no floor; give it one in tests/floors.py")
            continue
        for n, names in used(code(text), here):
            other = floor(names[0])
            place = f"src/{path}.rs:{n}"
            if names[0] != here[0] and other is not None and other <= own:
                which = "beside" if other == own else "above"
                wrong.append(f"{place}: {here[0]} uses {'::'.join(names)}, which is {which} it")
            # The file that is meant: the longest path that there is.
            for end in range(len(names), 0, -1):
                if (file := "/".join(names[:end])) in sources:
                    if file != path:
                        graph[path].add((file, n))
                    break
        # Newer compilers take it, and then nobody sees that the oldest one does not.
        for n, line in enumerate(text.split("\n"), 1):
            if "= format_args!" in line:
                wrong.append(f"src/{path}.rs:{n}: what format_args! returns is gone with its statement before Rust 1.89")
        if unknown := UNKNOWN.get(here[0]):
            for n, line in enumerate(text.split("\n"), 1):
                if unknown.search(line):
                    wrong.append(f"src/{path}.rs:{n}: {here[0]} is not to know \"{unknown.search(line)[0]}\"")
    return wrong + circles(graph)


# How long files, beside their tests, and functions are at most.
FILE, FUNCTION = 400, 60


def lengths(path, text):
    """What of a file is too long to be read at once."""
    lines = [line for _, line in code(text)]
    if len(lines) > FILE:
        yield f"src/{path}.rs: has {len(lines)} lines beside its tests, more than {FILE}"
    start = None
    for n, line in enumerate(lines, 1):
        if match := re.match(r"( *)(?:pub )?(?:const )?(?:unsafe )?(?:extern \"C\" )?fn (\w+)", line):
            start = n, *match.groups()
        if start and line == start[1] + "}":
            if n - start[0] >= FUNCTION:
                yield f"src/{path}.rs:{start[0]}: {start[2]} has {n - start[0] + 1} lines, more than {FUNCTION}"
            start = None


def circles(graph):
    """The imports that close a circle of files."""
    wrong, done, way = [], set(), []

    def visit(path):
        if path in done:
            return
        way.append(path)
        for other, n in sorted(graph[path]):
            if other in way:
                circle = " -> ".join([*way[way.index(other) :], other])
                wrong.append(f"src/{path}.rs:{n}: closes the circle {circle}")
            else:
                visit(other)
        way.pop()
        done.add(path)

    for path in sorted(graph):
        visit(path)
    return wrong


def sources(root):
    """The text of each file below `root`, by its module's path; lib.rs only names the floors."""
    files = {str(file.relative_to(root).with_suffix("")): file.read_text() for file in root.rglob("*.rs")}
    return {path: text for path, text in files.items() if path != "lib"}


if __name__ == "__main__":
    found = check(sources(Path(__file__).parent.parent / "src"))
    sys.exit("\n".join(found) or 0)
