"""README.md and doc/ say what the source has: each directive, variable and example, and links that lead somewhere."""

import re

import pytest
from examples import credentials
from harness import ROOT, Nginx

# What stands in a page to be copied into nginx.conf.
SNIPPETS = [
    (page.name, text)
    for page in sorted([ROOT / "README.md", *(ROOT / "doc").glob("*.md")])
    for text in re.findall(r"(?ms)^ *```nginx\n(.*?)^ *```", page.read_text())
]
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


@pytest.mark.parametrize("page, text", SNIPPETS, ids=[f"{page}-{n}" for n, (page, _) in enumerate(SNIPPETS)])
def test_what_is_to_be_copied_is_accepted(tmp_path, page, text):
    text = re.sub(r"(?m)^(load_module .*|\.\.\.)$", "", text)
    keys = credentials(tmp_path)
    keys.write_text(keys.read_text().replace("[media]", "[default]"))
    text = text.replace("/etc/nginx/s3-credentials", str(keys))
    place = "server" if re.search(r"(?m)^location ", text) else "http"
    status, output = Nginx(tmp_path / "n", **{place: text}).check()
    assert status == 0 and "[warn]" not in output, output
