"""Folders as pages in front of a real S3 server: every name once, and every link to its object."""

import concurrent.futures
import gzip
import html.parser
import json
import subprocess
import urllib.parse

import pytest
from harness import LISTED, READER, READER_SECRET, TIMEOUT, Nginx, Recorder, relay, tells

ODD = [
    "a&b", "a+b", "%41", '"><script>', "javascript:x", "a b", "?q", "#f", "日本語", "x" * 255, "'", "a;b=c,d",
    "&amp;", "a%2fb", "http:", "~", "-", "ä", "a\u0308", " ", "a\tb", "<b>", "}", "|", "*", "a..", "c:d", "@", "\U0001f600",
]  # fmt: skip
MANY_FOLDERS = [f"d{i:04}" for i in range(1001)]
MANY_FILES = [f"f{i:04}" for i in range(2500)]
LONGEST = "/".join(["public", *["y" * 250] * 4, "z" * 13])
MIXED = ["a-b", "a.txt", "a0", "b/x", "b-c/x", "b.txt", "c/d/e", "c!", "zz/x", ".hidden", ".h/x"]
MIXED_SHOWN = ["b/", "b-c/", "c/", "zz/", "a-b", "a.txt", "a0", "b.txt", "c!"]


class Page(html.parser.HTMLParser):
    """The links of a page, with their texts."""

    def __init__(self, body):
        super().__init__()
        self.links, self.open = [], False
        self.tags = []
        self.feed(body.decode())

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        if tag == "a":
            self.links.append([dict(attrs)["href"], ""])
        self.open = tag == "a"

    def handle_endtag(self, tag):
        self.open = False

    def handle_data(self, data):
        if self.open:
            self.links[-1][1] += data


def walk(n, target, **kw):
    """The entries of all pages of a folder, as (link, name); each page links to the next as its header does."""
    entries, query, pages = [], "", 0
    while query is not None:
        r = n.get(target + query, **kw)
        assert r.status == 200, (target + query, r)
        links = [tuple(link) for link in Page(r.body).links if link[0] != "../"]
        query = (r.get("Link") or "").removeprefix("<").removesuffix('>; rel="next"') or None
        if query:
            assert links.pop() == (query, "Next page")
        entries += links
        pages += 1
    assert len(set(entries)) == len(entries)
    return entries, pages


@pytest.fixture(scope="module")
def bucket(s3):
    s3.create_bucket(LISTED)
    # It lists no 0x01, and its names have 255 bytes at most: others are in test_autoindex.py.
    keys = {f"public/odd/{name}": name for name in ODD}
    keys |= {f"public/odd folders/{name}/in": name for name in ODD}
    keys |= {f"public/many/{name}/in": name for name in MANY_FOLDERS} | {f"public/many/{name}": name for name in MANY_FILES}
    keys |= {f"public/mixed/{name}": name for name in MIXED}
    keys |= {LONGEST: "longest", "private/secret": "secret", "public-too/secret": "secret", "publi": "secret"}

    def put(key):
        s3.put(LISTED, key, keys[key].encode())

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(put, keys))


SETTINGS = (
    f"s3_private_bucket_auth sigv4 access_key_id={READER} secret_access_key=data:{READER_SECRET}; s3_private_bucket_autoindex html;"
)
SERVER = f"""
    location / {{ s3_private_bucket {LISTED} prefix=public/; s3_private_bucket_autoindex html; }}
    location /one/ {{ s3_private_bucket {LISTED} prefix=public/; s3_private_bucket_autoindex html page=1; }}
    location /seven/ {{ s3_private_bucket {LISTED} prefix=public/; s3_private_bucket_autoindex html page=7; }}
    location /json/ {{ s3_private_bucket {LISTED} prefix=public/; s3_private_bucket_autoindex json; }}
    location /xml/ {{ s3_private_bucket {LISTED} prefix=public/; s3_private_bucket_autoindex xml; }}
"""


@pytest.fixture
def asked(s3):
    recorder = Recorder(relay(s3.port))
    yield recorder
    recorder.close()


@pytest.fixture
def serve(tmp_path, s3, bucket):
    started = []

    def start(server=SERVER, http="", url=None, **kw):
        http = f"{SETTINGS} s3_private_bucket_endpoint {url or s3.url}; {http}"
        n = Nginx(tmp_path / f"nginx{len(started)}", server, http, **kw)
        n.hidden = tells(s3, LISTED)
        started.append(n.start())
        return n

    yield start
    for n in started:
        n.stop()


def test_odd_names_lead_to_their_objects(serve):
    n = serve()
    entries, _ = walk(n, "/odd/")
    assert sorted(name for _, name in entries) == sorted(ODD)
    for link, name in entries:
        r = n.get(urllib.parse.urljoin("/odd/", link))
        assert (r.status, r.body.decode()) == (200, name), link
    tags = set(Page(n.get("/odd/").body).tags)
    assert tags == {"html", "head", "meta", "style", "title", "body", "h1", "hr", "pre", "a"}
    entries, _ = walk(n, "/odd%20folders/")
    assert sorted(name for _, name in entries) == sorted(f"{name}/" for name in ODD)
    for link, name in entries:
        assert walk(n, urllib.parse.urljoin("/odd%20folders/", link)) == ([("in", "in")], 1)
        assert n.get(urllib.parse.urljoin(urllib.parse.urljoin("/odd%20folders/", link), "in")).body.decode() == name[:-1]
    listed = json.loads(n.get("/json/odd/").body)
    assert sorted(entry["name"] for entry in listed) == sorted(ODD)


@pytest.mark.parametrize("location", ["", "/one", "/seven"])
def test_each_name_is_on_one_page(serve, location):
    n = serve()
    entries, _ = walk(n, f"{location}/mixed/")
    assert sorted(name for _, name in entries) == sorted(MIXED_SHOWN)
    entries, _ = walk(n, f"{location}/odd/")
    assert sorted(name for _, name in entries) == sorted(ODD)
    entries, _ = walk(n, f"{location}/odd%20folders/")
    assert sorted(name for _, name in entries) == sorted(f"{name}/" for name in ODD)


def test_thousands_of_names(serve):
    n = serve()
    entries, pages = walk(n, "/many/")
    assert [name for _, name in entries] == [*(f"{name}/" for name in MANY_FOLDERS), *MANY_FILES]
    assert pages == 4


def test_the_longest_key(serve):
    n = serve()
    assert len(LONGEST) == 1024
    segments, target = LONGEST.split("/")[1:], "/"
    for segment in segments[:-1]:
        assert target == "/" or walk(n, target)[0] == [(f"{segment}/", f"{segment}/")]
        target += f"{segment}/"
    assert walk(n, target)[0] == [(segments[-1], segments[-1])]
    assert n.get(target + segments[-1]).body == b"longest"
    assert n.get(target + segments[-1] + "z/").status == 404
    assert n.get(f"{target}?after={segments[-1]}").status == 200
    assert n.get(f"{target}?after={segments[-1]}z").status == 400


def test_nothing_outside_of_the_prefix_is_asked_for_or_shown(serve, asked):
    n = serve(url=asked.url, http="merge_slashes off;")
    hostile = ["..", "../", "../private/", "/", "//", "/private/", "private%2F..", "%2e%2e%2fprivate%2f", "..%2f..%2f", "a/../../private/",
               "%00", "%ff", "\\..\\", "..%5cprivate", "a%0d%0aHost:%20x", "x&prefix=private/", "x&list-type=2", "x?list-type=1", "x;prefix=private/",
               "x%26prefix%3Dprivate%2F", "x%23", "&after=../private", "x&continuation-token=y", "x" * 1030, "a%2f%2fb"]  # fmt: skip
    targets = [f"/?after={text}" for text in hostile] + [f"/mixed/?after={text}" for text in hostile]
    targets += [f"/{text}" for text in hostile] + [f"/{text}/" for text in hostile]
    targets += ["/?prefix=private/", "/?prefix=&delimiter=", "/?list-type=2&prefix=private/&after=a", "/mixed/?start-after=private/", "/?acl", "/?versions"]
    for target in targets:
        r = n.get(target)
        assert r.status in (200, 301, 400, 404), (target, r.status)
        links = [link for link, _ in Page(r.body).links] if r.status == 200 else []
        assert b"secret" not in r.body and not [link for link in links if "private" in link], target
    listings = [r.target for r in asked.requests if "list-type=2" in r.target]
    assert len(listings) > 20
    for target in listings:
        path, _, query = target.partition("?")
        args = urllib.parse.parse_qsl(query, keep_blank_values=True, strict_parsing=True)
        assert path == f"/{LISTED}/"
        names = [name for name, _ in args]
        assert names in (["delimiter", "list-type", "max-keys", "prefix"], ["delimiter", "list-type", "max-keys", "prefix", "start-after"])
        args = dict(args)
        assert (args["delimiter"], args["list-type"], args["max-keys"]) == ("/", "2", "1000")
        assert args["prefix"].startswith("public/") and args["prefix"].endswith("/")
        assert args.get("start-after", args["prefix"]).startswith(args["prefix"])
        assert not {"..", "."} & set(args["prefix"].split("/"))
    others = [r.target for r in asked.requests if "list-type=2" not in r.target]
    assert all(target.startswith(f"/{LISTED}/public/") and "?" not in target for target in others)


def curl(n, target, *args):
    command = ["curl", "-sS", "-m", str(TIMEOUT), "-D", "-", *args, f"http://127.0.0.1:{n.port}{target}"]
    return subprocess.run(command, capture_output=True, check=True).stdout.partition(b"\r\n\r\n")[::2]


def test_http2_head_and_gzip(serve):
    n = serve(http="gzip on; gzip_types *;", listen="http2")
    head, body = curl(n, "/many/", "--http2-prior-knowledge")
    assert head.startswith(b"HTTP/2 200") and b"link: <?after=" in head.lower()
    assert len(Page(body).links) == 1002
    head, _ = curl(n, "/many/", "--http2-prior-knowledge", "-I")
    assert head.startswith(b"HTTP/2 200") and f"content-length: {len(body)}".encode() in head.lower()
    head, zipped = curl(n, "/many/", "--http2-prior-knowledge", "-H", "Accept-Encoding: gzip")
    assert b"content-encoding: gzip" in head.lower() and gzip.decompress(zipped) == body


def test_a_cache_with_slices_in_the_same_server(serve, asked, tmp_path):
    cache = f"proxy_cache_path {tmp_path}/cache keys_zone=c:1m; proxy_cache c; proxy_cache_valid 200 206 1h;"
    server = f"""slice 64k;
        location / {{ s3_private_bucket {LISTED} prefix=public/; s3_private_bucket_autoindex html; }}
        location /kept/ {{ s3_private_bucket {LISTED} prefix=public/; s3_private_bucket_autoindex html valid=1h; }}"""
    n = serve(server, cache, url=asked.url)
    for _ in range(2):
        assert n.get("/mixed/a0").body == b"a0"
        assert n.get("/mixed/a0", headers={"Range": "bytes=1-"}).body == b"0"
        assert [name for _, name in walk(n, "/mixed/")[0]][-1] == "c!"
        assert walk(n, "/mixed/") == walk(n, "/kept/mixed/")
        r = n.get("/kept/mixed/", headers={"Range": "bytes=0-9", "If-Modified-Since": "Sun, 01 Jan 2034 00:00:00 GMT", "If-None-Match": "*"})
        assert r.status == 200 and r.get("Accept-Ranges") is None
    targets = [r.target for r in asked.requests]
    assert sum("list-type" in target for target in targets) == 5
    assert all(r.get("Range") is None for r in asked.requests if "list-type" in r.target)
    assert sum("list-type" not in target for target in targets) == 1


def test_errors_that_are_passed_on(serve, s3):
    server = f"location / {{ s3_private_bucket {LISTED} prefix=public/; s3_private_bucket_errors pass; }} location /other/ {{ s3_private_bucket other-example; s3_private_bucket_errors pass; }}"
    s3.create_bucket("other-example")
    n = serve(server)
    n.hidden = ()
    assert walk(n, "/mixed/")[0]
    assert n.get("/none/").status == 404
    r = n.get("/other/")
    assert r.status == 403 and b"<Code>AccessDenied</Code>" in r.body


def test_regular_expressions_and_keys(serve):
    server = f"""
        location ~ ^/re/(?<folder>[a-z]+)/ {{ s3_private_bucket {LISTED}; s3_private_bucket_key public/$folder/$arg_k; }}
        location ~ ^/ro/([a-z]+)/(.*)$ {{ s3_private_bucket {LISTED} prefix=public/$1/; s3_private_bucket_key $2; }}
        location = /exact {{ s3_private_bucket {LISTED} prefix=public/; s3_private_bucket_key mixed/; }}
        location /c {{ s3_private_bucket {LISTED} prefix=public/mixed/c/; }}
        location @named {{ s3_private_bucket {LISTED} prefix=public/; }}
        location /try/ {{ rewrite ^/try(/.*)$ $1 break; try_files "" @named; }}"""
    n = serve(server)
    for target in ("/re/mixed/", "/ro/mixed/", "/exact", "/try/mixed/"):
        assert [name for _, name in walk(n, target)[0]] == MIXED_SHOWN, target
    assert walk(n, "/ro/mixed/b/")[0] == [("x", "x")]
    assert n.get("/re/mixed/?k=a0").body == n.get("/ro/mixed/a0").body == b"a0"
    assert walk(n, "/c/")[0] == [("d/", "d/")]
    for method in ("GET", "HEAD"):
        r = n.get("/c?x", method=method)
        assert (r.status, r.get("Location")) == (301, "./c/?x")
    assert n.get("/c", method="PUT").status == 405
    assert n.get("/re/mixed/?k=../odd/").status == 400


def test_pages_inside_of_pages(serve, tmp_path):
    """A listing as a subrequest: SSI, and text before and behind it."""
    (tmp_path / "ssi.html").write_text('<p><!--# include virtual="/mixed/" --></p><!--# include virtual="/none/" -->end')
    server = f"""
        location / {{ s3_private_bucket {LISTED} prefix=public/; }}
        location = /ssi.html {{ root {tmp_path}; ssi on; }}
        location /around/ {{ s3_private_bucket {LISTED} prefix=public/; add_before_body /mixed/a0; add_after_body /mixed/; }}"""
    n = serve(server)
    page = n.get("/mixed/").body
    body = n.get("/ssi.html").body
    assert body.startswith(b"<p>" + page + b"</p>") and body.endswith(b"end") and b"404 Not Found" in body
    around = n.get("/around/mixed/").body
    assert around == b"a0" + page.replace(b"/mixed/", b"/around/mixed/") + page
