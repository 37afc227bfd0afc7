"""Objects that redirect clients: s3_private_bucket_website_redirects."""

import pytest
from harness import tiny_s3, wait_until

HEADER = "x-amz-website-redirect-location"
ON = "s3_private_bucket_website_redirects on;"
STORED = "proxy_cache z; add_header X-Cache $upstream_cache_status always;"
CACHE = f"{STORED} proxy_cache_valid 200 206 1h;"


def leads(location, body=b"0123456789"):
    """An S3 whose objects redirect to a place, and those whose names end in .txt do not."""

    def answer(r):
        status, headers, body_ = tiny_s3(r, body)
        path = r.target.partition("?")[0]
        if status == 304 or path.endswith(".txt"):
            return status, headers, body_
        return status, [*headers, (HEADER, location), ("x-amz-request-id", "hush")], body_

    return answer


@pytest.fixture
def site(nginx, tmp_path):
    def start(locations, http=""):
        return nginx(locations, f"proxy_cache_path {tmp_path}/cache keys_zone=z:1m; {http}")

    return start


def is_redirect(r, location):
    assert (r.status, r.get("Location")) == (301, location), r
    assert r.get(HEADER) is None and r.get("ETag") is None and r.get("Last-Modified") is None
    assert r.get("Accept-Ranges") is None and r.get("Content-Type") == "text/html"
    return True


@pytest.mark.parametrize("errors", ["mask", "pass"])
@pytest.mark.parametrize("cache", ["", CACHE])
def test_clients_are_redirected(site, origin, cache, errors):
    n = site(f"""location /media/ {{ s3_private_bucket example-bucket prefix=public/; {ON} {cache}
        s3_private_bucket_errors {errors}; s3_private_bucket_index index.html; }}""")
    for name, value, location in [
        ("a", "/public/b c.html", "/media/b%20c.html"),
        ("b?x=1", "/public/d?x#y", "/media/d?x#y"),
        ("c", "/public/", "/media/"),
        ("d", "https://www.example.com/x", "https://www.example.com/x"),
        ("docs/", "/public/docs/x", "/media/docs/x"),
        ("", "/public/start", "/media/start"),
        ("e%20e", "/public/%C3%BC\xc3\xbc", "/media/%C3%BC%C3%BC"),
    ]:
        origin.answer = leads(value)
        for method in ("GET", "HEAD", "GET"):
            r = n.get(f"/media/{name}", method=method)
            assert is_redirect(r, location)
            assert b"0123" not in r.body and (b"301 Moved" in r.body) == (method == "GET")
        # With what a client says beside: S3 is not to be asked by its rules.
        for headers in ({"Range": "bytes=2-3"}, {"If-Range": '"tag"', "Range": "bytes=0-1"}, {"If-Match": '"tag"'}):
            assert is_redirect(n.get(f"/media/{name}", headers=headers), location)
    assert n.get("/media/x.txt").body == b"0123456789"
    assert (len(origin.requests) == 8) == bool(cache)
    assert "[error]" not in n.error_log()


def test_a_hit_redirects_whatever_it_was_stored_by(site, origin):
    n = site(f"""location /a/ {{ s3_private_bucket example-bucket; {CACHE} }}
        location /b/ {{ s3_private_bucket example-bucket; {CACHE} {ON} }}""")
    origin.answer = leads("/x")
    assert n.get("/a/o").status == 200
    r = n.get("/b/o", headers={"If-None-Match": '"tag"'})
    assert is_redirect(r, "/b/x") and r.get("X-Cache") == "HIT"
    r = n.get("/a/o", headers={"If-None-Match": '"tag"'})
    assert (r.status, r.get("X-Cache"), len(origin.requests)) == (304, "HIT", 1)
    assert n.get("/b/p", method="HEAD").status == 301
    r = n.get("/a/p")
    assert (r.status, r.get("X-Cache"), r.body) == (200, "HIT", b"0123456789")


def test_off_changes_nothing(site, origin):
    n = site("""location /m/ { s3_private_bucket example-bucket; }
        location /n/ { s3_private_bucket example-bucket; s3_private_bucket_pass_headers x-amz-*; }""")
    origin.answer = leads("https://evil.example/")
    r = n.get("/m/a")
    assert (r.status, r.body, r.get("Location"), r.get(HEADER)) == (200, b"0123456789", None, None)
    r = n.get("/n/a")
    assert (r.status, r.get("Location"), r.get(HEADER)) == (200, None, "https://evil.example/")


HOSTILE = [
    "", "//evil.example/", "///evil.example", "/%2Fevil.example", "/\\evil.example", "\\\\evil.example",
    "javascript:alert(1)", "JavaScript:alert(1)", "data:text/html,x", "evil.example", "./x", "../x", "https:evil.example",
    "https:///evil.example", "https://", "http://\\evil.example", "https://a b/", "/p/../x", "/p/%2e%2e/x", "/x", "/p",
    "/p/%0d%0aSet-Cookie:%20x", "/p/%00", "/p/a\tb", "/p//evil.example", "ftp://example.com/", "/p/\x7f", "https://\xfc/",
]  # fmt: skip


@pytest.mark.parametrize("errors", ["mask", "pass"])
@pytest.mark.parametrize("cache", ["", CACHE + "proxy_cache_valid any 1h;"])
def test_what_leads_astray_is_a_fault(site, origin, cache, errors):
    n = site(f"""error_page 502 /own; location = /own {{ return 502 own; }}
        location /m/ {{ s3_private_bucket example-bucket prefix=p/; {ON} {cache} s3_private_bucket_errors {errors}; }}""")
    for i, value in enumerate(HOSTILE):
        origin.answer = leads(value)
        for method in ("GET", "HEAD", "GET"):
            r = n.get(f"/m/{i}", method=method, headers={"Range": "bytes=0-1"} if i % 2 else {})
            assert r.status == 502 and r.get("Location") is None, (value, r)
            assert {k.lower() for k, _ in r.headers} & {HEADER, "set-cookie", "etag"} == set()
            if method == "GET":
                assert (r.body == b"own") == (errors == "mask") and b"0123" not in r.body
        log = n.error_log()
        assert log.count(f's3_private_bucket: the object "p/{i}" redirects to "') == 3
    # None is stored.
    assert len(origin.requests) == 3 * len(HOSTILE)
    assert "which is not followed: its path begins with two slashes" in n.error_log()


@pytest.mark.parametrize(
    "location, target, value, expected",
    [
        ("location /m", "/m/a", "/b", "/m/b"),
        ("location = /a", "/a", "/b", "/b"),
        ("location ~ ^/[a-z]$", "/a", "/p%2Fb", "/p/b"),
        ("location ^~ /m/n/", "/m/n/a", "/b", "/m/n/b"),
    ],
)
def test_each_kind_of_location_tells_its_paths(site, origin, location, target, value, expected):
    n = site(f"{location} {{ s3_private_bucket example-bucket; {ON} }}")
    origin.answer = leads(value)
    assert is_redirect(n.get(target), expected)


def test_prefixes_with_variables(site, origin):
    n = site(f"""location ~ ^/(?<who>[a-z]+)/(.+)$ {{ s3_private_bucket example-bucket prefix=homes/$1/; {ON}
        if ($arg_x ~ (.)) {{ }} }}""")
    origin.answer = leads("/homes/ann/ann/b")
    assert is_redirect(n.get("/ann/a?x=y"), "/ann/b")
    assert n.get("/bob/a").status == 502
    assert "its key is outside of the location's prefix" in n.error_log()


@pytest.mark.parametrize(
    "locations, target",
    [
        ("location ~ ^/m/(.*)$ {{ s3_private_bucket example-bucket; s3_private_bucket_key $1; {} }}", "/m/a"),
        ("location /m/ {{ rewrite ^/m/(.*)$ /$1 break; s3_private_bucket example-bucket; {} }}", "/m/a"),
    ],
)
def test_without_a_path_only_urls_are_followed(site, origin, locations, target):
    n = site(locations.format(ON))
    origin.answer = leads("/b")
    assert n.get(target).status == 502
    assert "so that only a URL can be followed" in n.error_log()
    origin.answer = leads("https://www.example.com/b")
    assert is_redirect(n.get(target), "https://www.example.com/b")


def test_what_is_no_request_of_a_client_does_not_redirect(site, origin):
    n = site(f"""location /m/ {{ s3_private_bucket example-bucket; {ON} }}
        location /page/ {{ ssi on; ssi_types *; s3_private_bucket example-bucket; }}
        location /auth/ {{ auth_request /m/o; s3_private_bucket example-bucket; }}
        location /errors/ {{ error_page 404 /m/o; return 404; }}
        location /instead/ {{ error_page 404 = /m/o; return 404; }}""")
    redirected = leads("https://www.example.com/")
    page = b'<!--# include virtual="/m/o" -->'
    origin.answer = lambda r: tiny_s3(r, page) if r.target.endswith("page.txt") else redirected(r)
    assert n.get("/page/page.txt").body == b"0123456789"
    assert n.get("/auth/x.txt").body == b"0123456789"
    assert n.get("/errors/x").body == b"0123456789" and n.get("/errors/x").status == 404
    assert is_redirect(n.get("/instead/x"), "https://www.example.com/")


@pytest.mark.parametrize("cache", ["", CACHE])
def test_slices(site, origin, cache):
    n = site(f"""location /m/ {{ s3_private_bucket example-bucket; {ON} {cache} slice 4; }}""")
    origin.answer = leads("/b")
    for headers in ({}, {"Range": "bytes=5-6"}, {}):
        assert is_redirect(n.get("/m/a", headers=headers), "/m/b")
    # An object that begins to redirect while it is read is the object that it was, which nginx checks.
    count = len(origin.requests)
    origin.answer = lambda r: (leads("/b") if len(origin.requests) > count else tiny_s3)(r)
    r = n.get("/m/c")
    assert (r.status, r.body) == (200, b"0123456789")


def test_a_background_update_stores_the_object(site, origin):
    n = site(f"""location /m/ {{ s3_private_bucket example-bucket; {ON} {STORED} proxy_cache_valid 200 1s;
        proxy_cache_use_stale updating; proxy_cache_background_update on; }}""")
    origin.answer = leads("/b")
    assert is_redirect(n.get("/m/a"), "/m/b")
    origin.answer = leads("/c")

    def updated():
        r = n.get("/m/a")
        assert r.status == 301
        return r.get("Location") == "/m/c"

    wait_until(updated, "an update")


def test_revalidated_and_stale_entries_redirect(site, origin):
    n = site(f"""location /m/ {{ s3_private_bucket example-bucket; {ON} {STORED} proxy_cache_valid 200 1s;
        proxy_cache_revalidate on; proxy_cache_use_stale http_503; }}""")
    origin.answer = leads("/b")
    assert is_redirect(n.get("/m/a"), "/m/b")

    def seen(status):
        r = n.get("/m/a")
        assert is_redirect(r, "/m/b")
        return r.get("X-Cache") == status

    wait_until(lambda: seen("REVALIDATED"), "a revalidated entry")
    origin.answer = lambda r: (503, [], b"")
    wait_until(lambda: seen("STALE"), "a stale entry")


def test_inherited_and_switched_off(site, origin):
    n = site("""location /m/ { s3_private_bucket example-bucket;
            location /m/off/ { s3_private_bucket example-bucket; s3_private_bucket_website_redirects off; }
            if ($arg_x) { s3_private_bucket other-bucket; } }""", ON)  # fmt: skip
    origin.answer = leads("/b")
    assert is_redirect(n.get("/m/a"), "/m/b") and is_redirect(n.get("/m/a?x=1"), "/m/b")
    assert n.get("/m/off/a").status == 200


def test_folders_and_slashes_go_on(site, origin):
    n = site(f"""location /m/ {{ s3_private_bucket example-bucket; {ON} s3_private_bucket_index index.html;
        s3_private_bucket_append_slash on; }}""")
    origin.answer = lambda r: (404, [(HEADER, "/b")], b"<Error><Code>NoSuchKey</Code></Error>")
    r = n.get("/m/docs")
    assert (r.status, r.get("Location")) == (301, "./docs/")
    assert n.get("/m/docs/").status == 404


@pytest.mark.parametrize("cache", ["", CACHE])
def test_an_empty_object_redirects(site, origin, cache):
    """As most that redirect are. A part of nothing is none, which S3 says before all else."""
    n = site(f"location /m/ {{ s3_private_bucket example-bucket; {ON} {cache} }}")
    origin.answer = leads("/b", b"")
    for method in ("HEAD", "GET", "GET"):
        assert is_redirect(n.get("/m/a", method=method), "/m/b")
    r = n.get("/m/a", headers={"Range": "bytes=0-1"})
    assert is_redirect(r, "/m/b") if cache else (r.status, r.get("Location")) == (416, None)
