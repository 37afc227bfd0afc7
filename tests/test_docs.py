"""README.md and doc/ say what the source has: each directive, variable and example, and links that lead somewhere."""

import re

import pytest
from harness import ROOT

PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "doc").glob("*.md")])
REFERENCE = (ROOT / "doc/directives.md").read_text()
CONF = (ROOT / "src/conf.rs").read_text()
CONTEXTS = {"MAIN": "http", "SRV": "server", "LOC": "location", "LIF": "if in location"}


def directives():
    """The directives of src/conf.rs: for each its contexts, in nginx's words and order."""
    found = {}
    # The flags stand behind the name, up to the comma of their argument.
    for name, flags in re.findall(r'c"(s3_private_bucket\w*)"[^,]*,\s*(?:type_: \()?([^,]*),', CONF):
        flags = flags.replace("EVERYWHERE", "NGX_HTTP_MAIN_CONF NGX_HTTP_SRV_CONF NGX_HTTP_LOC_CONF")
        found[name] = ", ".join(word for flag, word in CONTEXTS.items() if f"NGX_HTTP_{flag}_CONF" in flags)
    return found


def sections(text):
    """The parts of a page under its headings of the second level."""
    return dict(part.split("\n", 1) for part in re.split(r"(?m)^## ", text)[1:])


def anchors(text):
    """What a link can lead to in a page: its headings, as they are written in links."""
    headings = re.findall(r"(?m)^#{1,4} (.*)$", re.sub(r"(?ms)^ *```.*?^ *```", "", text))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_directive_has_its_reference():
    table, told = directives(), sections(REFERENCE)
    assert len(table) > 17
    index = re.findall(r"(?m)^\* \[(s3_private_bucket\w*)\]\(#\1\)$", REFERENCE)
    assert index == [name for name in told if name.startswith("s3_")]
    assert sorted(table) == sorted(index)
    for name, contexts in table.items():
        _, rule, syntax, default, context, blank, version, *_ = told[name].lstrip("\n").split("\n")
        assert (rule, blank) == ("| --- | --- |", ""), name
        assert re.match(rf"\| \*\*Syntax:\*\* \| (`|<code>){name}[ ;]", syntax), name
        assert default.startswith("| **Default:** | "), name
        assert context == f"| **Context:** | {contexts} |", name
        assert re.match(r"This directive appeared in version \d+\.\d+\.\d+[.,;]", version), name


def test_every_variable_is_told():
    source = (ROOT / "src/request/variables.rs").read_text()
    (table,) = re.findall(r"(?s)const DOCUMENTED: .*?\];", source)
    names = re.findall(r'Variable\("(\w+)"', table)
    told = re.findall(r"(?m)^\| `\$s3_private_bucket_(\w+)` \|", sections(REFERENCE)["Variables"])
    assert names and sorted(names) == sorted(told)


def test_every_example_is_told():
    told = re.findall(r"\]\(\.\./nginx-conf/(.*?)\)", (ROOT / "doc/examples.md").read_text())
    assert sorted(told) == sorted(file.name for file in (ROOT / "nginx-conf").iterdir())


def test_the_first_page_is_short():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 120


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    text = page.read_text()
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.is_relative_to(ROOT) and target.exists(), link
        assert not anchor or anchor in anchors(target.read_text()), link


def test_every_page_of_doc_is_on_the_first_page():
    linked = re.findall(r"\]\((doc/[\w-]+\.md)", (ROOT / "README.md").read_text())
    assert {f"doc/{page.name}" for page in (ROOT / "doc").iterdir()} == set(linked)
