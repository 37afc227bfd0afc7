"""Folders as pages beside a cache, conditions, blocks and error pages: what a review found."""

import pytest
from test_autoindex import CACHE, HTML, listing, serve

INDEX = "s3_private_bucket_index index.html;"
CACHED = "proxy_cache c; proxy_cache_valid any 1h;"


def with_docs(path, origin, location):
    folders = {"": listing(("x", 1)), "docs/": listing(("x", 1), prefix="docs/")}
    return serve(path, origin, folders, location=location, http=CACHE.format(path))


@pytest.mark.parametrize("index", ["", INDEX])
@pytest.mark.parametrize(
    "condition",
    [("If-None-Match", "*"), ("If-Match", '"x"'), ("If-Unmodified-Since", "Mon, 02 Nov 2015 10:00:00 GMT"),
     ("If-Modified-Since", "Mon, 02 Nov 2037 10:00:00 GMT"), ("Range", "bytes=0-3")],
)  # fmt: skip
def test_no_condition_holds_for_a_page(tmp_path, origin, condition, index):
    path = tmp_path / "n"
    with with_docs(path, origin, f"s3_private_bucket_autoindex html valid=1h; {CACHED} {index}") as n:
        # From S3 and from the cache.
        for page in ("/files/", "/files/docs/"):
            first, again = (n.get(page, headers=[condition]) for _ in range(2))
            plain = n.get(page)
            assert [first.status, again.status] == [200, 200]
            assert first.body == again.body == plain.body


@pytest.mark.parametrize("first", ["/files/docs/index.html", "/plain/docs/"])
def test_a_stored_404_of_an_index_page_hides_no_folder(tmp_path, origin, first):
    around = f"}} location /plain/ {{ s3_private_bucket example-bucket; {INDEX} {CACHED}"
    with with_docs(tmp_path / "n", origin, HTML + INDEX + CACHED + around) as n:
        assert n.get(first).status == 404
        r = n.get("/files/docs/")
        assert r.status == 200 and b"Index of" in r.body
        # Of other objects it is stored.
        count = len(origin.requests)
        assert [n.get("/files/docs/none").status for _ in range(2)] == [404, 404]
        assert len(origin.requests) == count + 1


def test_a_page_is_stored_under_a_key_of_its_own(tmp_path, origin):
    """Not under the index page's that an operator wrote."""
    location = f"s3_private_bucket_autoindex html valid=1h; {INDEX} {CACHED} proxy_cache_key $uri;"
    with with_docs(tmp_path / "n", origin, location) as n:
        for _ in range(3):
            r = n.get("/files/docs/")
            assert r.status == 200 and b"Index of" in r.body
        assert n.get("/files/docs/?after=b").status == 200
        assert origin.last().target.endswith("start-after=docs%2Fb")


@pytest.mark.parametrize("index", ["", INDEX])
@pytest.mark.parametrize("block", ["if ($arg_x) { add_header X 1; }", "limit_except POST { allow all; } add_header X 1; deny all;"])
def test_blocks_have_folders_too(tmp_path, origin, index, block):
    with with_docs(tmp_path / "n", origin, HTML + index + block) as n:
        r = n.get("/files/docs/?x=1")
        assert (r.status, r.get("X")) == (200, "1") and b"Index of" in r.body
        assert n.get("/files/none/?x=1").status == 404


def test_a_page_in_the_place_of_an_error_has_its_status(tmp_path, origin):
    around = "} location /gone { error_page 410 /files/docs/; return 410;"
    with with_docs(tmp_path / "n", origin, HTML + around) as n:
        r = n.get("/gone")
        assert r.status == 410 and b"Index of" in r.body


def test_folders_where_errors_of_s3_pass(tmp_path, origin):
    with with_docs(tmp_path / "n", origin, HTML + INDEX + "s3_private_bucket_errors pass;") as n:
        r = n.get("/files/docs/")
        assert r.status == 200 and b"Index of" in r.body


@pytest.mark.parametrize("status", [201, 204, 206])
def test_nothing_but_a_listing_is_passed_on(tmp_path, origin, status):
    """Under another status of success S3's XML would be."""
    with with_docs(tmp_path / "n", origin, HTML) as n:
        origin.answer.folders["docs/"] = (status, [("Content-Range", "bytes 0-1/2")], listing(("x", 1)))
        for method in ("GET", "HEAD"):
            r = n.get("/files/docs/", method=method)
            assert r.status == 502 and b"ListBucket" not in r.body


def test_named_locations_beside_those_of_folders(tmp_path, origin):
    """A server's own stay, and each of many folders is found; other servers have theirs."""
    many = "".join(f"location /l{i}/ {{ s3_private_bucket example-bucket; {HTML} {INDEX} }}" for i in range(300))
    own = "error_page 418 = @own; location @own { return 200 own; } location /own { return 418; } "
    other = f"}} server {{ listen unix:{tmp_path}/s; server_name other; {own} {many}"
    location = f"}} {own} {many} {other} location /files/ {{ s3_private_bucket example-bucket; {HTML} {INDEX}"
    with with_docs(tmp_path / "n", origin, location) as n:
        for i in (0, 150, 299):
            assert b"Index of" in n.get(f"/l{i}/docs/").body
        assert n.get("/own").body == b"own"
