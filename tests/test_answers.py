"""What S3's answers are not to do: steer nginx, act for the site, blame it for what its clients ask."""

import re
import signal
import socket
import subprocess
import threading

import pytest
from harness import NGINX, Recorder, read_response, tiny_s3, wait_until
from test_response import Bytes, s3_error

VERSION = subprocess.run([NGINX, "-v"], capture_output=True, text=True, check=True).stderr
VERSION = tuple(map(int, re.search(r"nginx/(\d+)\.(\d+)\.(\d+)", VERSION).groups()))

STEERING = [
    ("X-Accel-Redirect", "/internal/a"),
    ("X-Accel-Expires", "3600"),
    ("X-Accel-Limit-Rate", "1"),
    ("X-Accel-Buffering", "no"),
    ("X-Accel-Charset", "koi8-r"),
    ("X-Accel-Other", "1"),
    ("Set-Cookie", "session=hush"),
    ("Refresh", "0; url=https://evil.example/"),
    ("WWW-Authenticate", "Basic realm=hush"),
]


def steered(status, code, *more):
    def answer(r):
        got, headers, body = s3_error(status, code)(r) if code else tiny_s3(r)
        return got, [*headers, *STEERING, ("Content-Type", "text/plain"), *more], body

    return answer


@pytest.fixture
def around(nginx, tmp_path):
    def start(location="", http=""):
        return nginx(
            f"""location /m/ {{ s3_private_bucket example-bucket; {location} }}
            location /internal/ {{ internal; return 200 internal; }}""",
            f"proxy_cache_path {tmp_path}/cache keys_zone=z:1m; {http}",
        )

    return start


@pytest.mark.parametrize("cache", ["", "proxy_cache z; add_header X-Cache $upstream_cache_status;"])
@pytest.mark.parametrize(
    "status, code, errors, seen",
    [(200, "", "mask", 200), (404, "NoSuchKey", "mask", 404), (403, "InvalidAccessKeyId", "mask", 502),
     (401, "AccessDenied", "mask", 502), (404, "NoSuchKey", "pass", 404), (401, "X", "pass", 401)],
)  # fmt: skip
def test_nothing_of_an_answer_steers_nginx(around, origin, cache, status, code, errors, seen):
    n = around(f"charset utf-8; s3_private_bucket_errors {errors}; {cache}")
    origin.answer = steered(status, code)
    for _ in range(2):
        for method in ("GET", "HEAD"):
            r = n.get("/m/a", method=method)
            # A HEAD has no code.
            head = seen == 502 and status == 403 and method == "HEAD" and not cache
            assert r.status == (404 if head else seen) and r.body != b"internal"
            names = {k.lower() for k, _ in r.headers}
            assert not names & {name.lower() for name, _ in STEERING}
            assert r.get("X-Cache") in (None, "MISS")
            if seen == 200:
                assert r.get("Content-Type") == "text/plain; charset=utf-8"


def test_what_is_named_steers_nginx(around, origin):
    n = around("s3_private_bucket_pass_headers X-Accel-Redirect;")
    origin.answer = steered(200, "")
    assert n.get("/m/a").body == b"internal"
    n = around("s3_private_bucket_pass_headers Set-Cookie Refresh; proxy_cache z; proxy_cache_valid 1h;")
    for _ in range(2):
        r = n.get("/m/b")
        assert (r.body, r.get("Set-Cookie")) == (b"0123456789", "session=hush")
        assert r.get("Refresh") and r.get("WWW-Authenticate") is None
    # As nginx does with a cookie.
    assert len(origin.requests) == 3


def test_what_the_user_ignores_is_ignored_too(around, origin):
    n = around("proxy_ignore_headers Cache-Control; proxy_cache z; proxy_cache_valid 1h;")
    origin.answer = steered(200, "", ("Cache-Control", "no-store"))
    assert {n.get("/m/a").status for _ in range(3)} == {200}
    assert len(origin.requests) == 1


def test_the_sites_own_headers_stay(nginx, origin, tmp_path):
    (tmp_path / "users").write_text("u:{PLAIN}p\n")
    n = nginx(f"""location /m/ {{
            s3_private_bucket example-bucket; error_page 404 /m/private/404.html;
            add_header Set-Cookie site=1 always; add_header X-Accel-Mine 1;
        }}
        location /m/private/ {{
            s3_private_bucket example-bucket; auth_basic site; auth_basic_user_file {tmp_path}/users;
        }}""")  # fmt: skip
    assert n.get("/m/a").get("Set-Cookie") == "site=1" and n.get("/m/a").get("X-Accel-Mine") == "1"
    # nginx's own answer, in a location with a bucket, behind one of S3.
    origin.answer = steered(404, "NoSuchKey")
    r = n.get("/m/b")
    assert (r.status, r.get("WWW-Authenticate")) == (401, 'Basic realm="site"')


def test_vary_does_not_multiply_entries(around, origin):
    n = around("proxy_cache z; proxy_cache_valid 1h;")
    origin.answer = lambda r: (200, [("Vary", "Origin, Accept"), ("ETag", '"e"')], b"body")
    for value in ("https://a.example", "https://b.example", ""):
        r = n.get("/m/a", headers={"Origin": value, "Accept": value})
        assert (r.body, r.get("Vary")) == (b"body", "Origin, Accept")
    assert len(origin.requests) == 1
    # Whoever wants it, names it.
    n = around("proxy_cache z; proxy_cache_valid 1h; s3_private_bucket_pass_headers Vary;")
    for value in ("https://c.example", "https://d.example"):
        n.get("/m/b", headers={"Origin": value})
    assert len(origin.requests) == 3


def test_a_101_is_no_answer(around):
    """Behind it nginx would be a tunnel, and nobody asked for one."""
    origin = Bytes()
    origin.said = b"HTTP/1.1 101 X\r\nConnection: Upgrade\r\nUpgrade: x\r\nContent-Length: 0\r\n\r\nhush"
    n = around(f"s3_private_bucket_endpoint {origin.url};")
    r = n.get("/m/a", headers={"Connection": "Upgrade", "Upgrade": "x"})
    assert r.status == 502 and b"hush" not in r.body
    origin.close()


class Trailers(Recorder):
    """Answers with a trailer behind its chunks."""

    status = b"200"

    def serve(self, s, _):
        with s:
            while s.recv(65536):
                s.sendall(
                    b"HTTP/1.1 " + self.status + b" X\r\nTransfer-Encoding: chunked\r\nTrailer: x-amz-checksum\r\n\r\n"
                    b"4\r\nbody\r\n0\r\nx-amz-checksum: hush\r\nSet-Cookie: hush\r\nX-Mine: 1\r\n\r\n")  # fmt: skip


@pytest.mark.parametrize("status", [b"200", b"404"])
def test_trailers_hide_what_headers_hide(around, status):
    """Where nginx passes trailers on (since 1.27.2): before, there is no such directive."""
    origin = Trailers()
    origin.status = status
    trailers = "proxy_pass_trailers on;" if VERSION >= (1, 27, 2) else ""
    n = around(f"s3_private_bucket_endpoint {origin.url}; proxy_buffering off; {trailers}")
    with subprocess.Popen(
        ["curl", "-sS", "-i", "--raw", "-H", "TE: trailers", f"http://127.0.0.1:{n.port}/m/a"],
        stdout=subprocess.PIPE, text=True,
    ) as p:  # fmt: skip
        text = p.stdout.read()
    assert text.startswith(f"HTTP/1.1 {status.decode()} ") and "hush" not in text
    assert ("X-Mine: 1" in text) == (bool(trailers) and status == b"200")
    origin.close()


# --- what clients cause --------------------------------------------------------------------

# Requests that carry something for S3 beside the key.
CARRYING = [("/m/a?versionId=x", {}), ("/m/a", {"Range": "bytes=x"}), ("/m/a", {"If-Match": '"x"'})]


@pytest.mark.parametrize(
    "status, code, plain, carrying",
    [
        (400, "InvalidURI", 400, 400),
        (400, "InvalidArgument", 502, 400),
        (400, "InvalidRequest", 502, 400),
        (400, "InvalidRange", 502, 400),
        (400, "InvalidPartNumber", 502, 400),
        (400, "", 502, 400),
        (400, "NoSuchVersion", 404, 404),
        (404, "NoSuchVersion", 404, 404),
        (400, "ExpiredToken", 502, 502),
        (403, "InvalidArgument", 502, 502),
    ],
)
@pytest.mark.parametrize("cache", ["", "proxy_cache z; proxy_cache_valid any 1h;"])
def test_what_clients_cause_is_theirs(around, origin, status, code, plain, carrying, cache):
    n = around(f"s3_private_bucket_pass_args versionId; {cache}")
    origin.answer = s3_error(status, code)
    for _ in range(2):
        assert n.get("/m/plain").status == plain
        for target, headers in CARRYING:
            # Under a cache no header of the client goes to S3.
            expected = plain if cache and headers else carrying
            assert n.get(target, headers=headers).status == expected, (target, headers)
    # A 400 is never stored: it may be another's fault the next time.
    if cache and carrying == 400:
        asked = len(origin.requests)
        n.get("/m/a?versionId=x")
        assert len(origin.requests) == asked + 1
    assert n.get("/m/a?versionId=x", method="HEAD").status in (400, 502, 404)


def test_a_client_cannot_mark_servers_as_failed(nginx, origin):
    n = nginx(
        """location /m/ {
            s3_private_bucket example-bucket; s3_private_bucket_endpoint http://s3.example.com upstream=two;
            s3_private_bucket_pass_args versionId; proxy_next_upstream error timeout http_502;
        }""",
        f"upstream two {{ server 127.0.0.1:{origin.port}; server 127.0.0.1:{origin.port}; }}",
    )
    origin.answer = s3_error(400, "InvalidArgument")
    assert {n.get("/m/a?versionId=x").status for _ in range(10)} == {400}
    assert len(origin.requests) == 10 and "[error]" not in n.error_log()
    origin.answer = tiny_s3
    assert n.get("/m/a").status == 200


# --- folders -------------------------------------------------------------------------------


@pytest.mark.parametrize("valid, asked", [("404 1h", 1), ("301 1h", 3), ("any 1h", 1), ("200 1h", 3)])
def test_a_redirect_to_a_folder_is_kept_as_long_as_a_missing_object(around, origin, valid, asked):
    n = around(f"""s3_private_bucket_index index.html; s3_private_bucket_append_slash on;
        proxy_cache z; proxy_cache_valid {valid};""")
    origin.answer = s3_error(404, "NoSuchKey")
    for _ in range(3):
        r = n.get("/m/docs?x#y")
        assert (r.status, r.get("Location")) == (301, "./docs/?x")
    assert len(origin.requests) == asked


def test_what_s3_says_of_a_missing_object_counts(around, origin):
    n = around("""s3_private_bucket_index index.html; s3_private_bucket_append_slash on;
        proxy_cache z; proxy_cache_valid 404 1h;""")
    origin.answer = s3_error(404, "NoSuchKey", ("Cache-Control", "no-store"))
    assert {n.get("/m/docs").status for _ in range(3)} == {301}
    assert len(origin.requests) == 3


def test_a_folder_is_one_of_the_clients_path(nginx, origin):
    n = nginx("""
        s3_private_bucket_index index.html; s3_private_bucket_append_slash on;
        location /m/ { s3_private_bucket example-bucket; error_page 404 /errors/missing; }
        location /errors/ { s3_private_bucket example-bucket; }
        location /key/ { s3_private_bucket example-bucket; s3_private_bucket_key other/page; }
        location /rewritten { rewrite ^ /m/else break; s3_private_bucket example-bucket; }
        location /accel/ { s3_private_bucket example-bucket; s3_private_bucket_key x/docs; }
    """)
    origin.answer = s3_error(404, "NoSuchKey")
    for target, status, location in [
        ("/errors/missing", 301, "./missing/"),
        # The error page's key is not what the client asked for.
        ("/m/a.html", 404, None),
        ("/key/page.html", 404, None),
        ("/key/page", 301, "./page/"),
        ("/rewritten", 404, None),
        ("/accel/docs", 301, "./docs/"),
        ("/accel/d%6fcs", 301, "./d%6fcs/"),
        ("/accel/other", 404, None),
    ]:
        r = n.get(target)
        assert (r.status, r.get("Location")) == (status, location), target


# --- pages of pages ------------------------------------------------------------------------


def test_the_error_of_a_page_is_its_own(nginx, origin, tmp_path):
    """Not that of what it includes, though both are one request for nginx's memory."""
    n = nginx(
        f"""location /m/ {{ s3_private_bucket example-bucket; ssi on; access_log {tmp_path}/codes.log codes; }}
        location /inner/ {{ s3_private_bucket example-bucket; log_subrequest on; ssi on;
            access_log {tmp_path}/codes.log codes; }}""",
        "log_format codes '$uri $s3_private_bucket_error';",
    )

    def answer(r):
        if r.target.endswith(".html"):
            page = '<!--# include virtual="/inner/missing" -->'
            return 200, [("Content-Type", "text/html")], page.encode()
        return s3_error(403, "AccessDenied")(r)

    origin.answer = answer
    assert n.get("/m/a.html").status == 200
    log = tmp_path / "codes.log"
    expected = ["/inner/missing AccessDenied", "/m/a.html -"]
    wait_until(lambda: log.exists() and sorted(log.read_text().splitlines()) == expected, "both lines")


# --- parts of another version --------------------------------------------------------------

NEW = b"the new object, longer than the old one"


def careless(etag='"new"', modified="Tue, 03 Nov 2026 10:00:00 GMT"):
    """Ignores If-Range, as SeaweedFS and Ceph do."""

    def answer(r):
        common = [("ETag", etag), ("Last-Modified", modified), ("Accept-Ranges", "bytes")]
        common = [(name, value) for name, value in common if value]
        if not (rng := r.get("Range")):
            return 200, common, NEW
        first, _, last = rng.removeprefix("bytes=").partition("-")
        first, last = int(first), min(int(last or len(NEW)), len(NEW) - 1)
        cr = ("Content-Range", f"bytes {first}-{last}/{len(NEW)}")
        return 206, [*common, cr], NEW[first : last + 1]

    return answer


IF_RANGES = [('"old"', 200), ("Mon, 02 Nov 2026 10:00:00 GMT", 200), ('W/"new"', 200), ('"new"', 206),
             ("Tue, 03 Nov 2026 10:00:00 GMT", 206)]  # fmt: skip
WAYS = {
    "plain": ("", ""),
    "pass": ("s3_private_bucket_errors pass;", ""),
    "sigv4": ("s3_private_bucket_auth sigv4 access_key_id=a secret_access_key=data:b;", ""),
    "off": ("proxy_next_upstream off;", ""),
    "tries": ("proxy_next_upstream_tries 1; proxy_next_upstream_timeout 1ms;", ""),
    "unbuffered": ("proxy_buffering off;", ""),
    "group": ("s3_private_bucket_endpoint http://s3.example.com upstream=one;",
              "upstream one {{ server 127.0.0.1:{0}; keepalive 4; }}"),
    "group-of-two": ("s3_private_bucket_endpoint http://s3.example.com upstream=two;",
                     "upstream two {{ server 127.0.0.1:{0}; server 127.0.0.1:{0}; keepalive 4; }}"),
}  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("if_range, status", IF_RANGES)
def test_a_part_of_another_version_is_not_joined(around, origin, tmp_path, way, if_range, status):
    location, http = WAYS[way]
    n = around(f"{location} access_log {tmp_path}/states.log states;",
               http.format(origin.port) + "log_format states '$upstream_status|$s3_private_bucket_error';")  # fmt: skip
    origin.answer = careless()
    headers = {"Range": "bytes=8-", "If-Range": if_range}
    for method in ("GET", "HEAD", "GET"):
        r = n.get("/m/a", headers=headers, method=method)
        assert (r.status, r.get("ETag")) == (status, '"new"')
        assert r.body == (b"" if method == "HEAD" else NEW if status == 200 else NEW[8:])
        asked = origin.requests[-1 if status == 206 else -2 :]
        assert [a.get("Range") for a in asked] == (["bytes=8-"] if status == 206 else ["bytes=8-", None])
        if status == 200:
            first, second = (dict(a.headers) for a in asked)
            assert first.pop("Range") and first.pop("If-Range") == if_range
            assert first == second and {a.method for a in asked} == {method}
    states = "206, 200|-" if status == 200 else "206|-"
    log = tmp_path / "states.log"
    wait_until(lambda: log.read_text().splitlines() == [states] * 3, "three lines")
    # No server is to blame.
    origin.answer = tiny_s3
    assert n.get("/m/a").status == 200
    assert "[error]" not in n.error_log()


@pytest.mark.parametrize("servers", [
    "server 127.0.0.1:{0}; server 127.0.0.2:1 down;",
    "server 127.0.0.1:{0}; server 127.0.0.2:1 backup;",
    "hash x; server 127.0.0.1:{0}; server 127.0.0.2:1 down;",
    "least_conn; server 127.0.0.1:{0} max_conns=1; server 127.0.0.2:1 down; keepalive 2;",
])  # fmt: skip
def test_the_same_server_is_asked_again(around, origin, servers):
    """No other need be there, and none is asked: it may be another cluster."""
    n = around("s3_private_bucket_endpoint http://s3.example.com upstream=pool;",
               f"upstream pool {{ zone pool 64k; {servers.format(origin.port)} }}")  # fmt: skip
    origin.answer = careless()
    for _ in range(5):
        r = n.get("/m/a", headers={"Range": "bytes=8-", "If-Range": '"old"'})
        assert (r.status, r.body) == (200, NEW)
    assert len(origin.requests) == 10 and "[error]" not in n.error_log()
    assert n.get("/m/a").body == NEW


@pytest.mark.parametrize("etag, modified", [("", ""), ('W/"old"', "")])
def test_a_part_without_a_validator_is_not_joined(around, origin, etag, modified):
    n = around()
    origin.answer = careless(etag, modified)
    r = n.get("/m/a", headers={"Range": "bytes=8-", "If-Range": '"old"'})
    assert (r.status, r.body) == (200, NEW)
    # Without a condition it is what the client asked for.
    r = n.get("/m/a", headers={"Range": "bytes=8-"})
    assert (r.status, r.body, len(origin.requests)) == (206, NEW[8:], 3)


@pytest.mark.parametrize("errors", ["mask", "pass"])
def test_where_nginx_cannot_ask_again(around, origin, errors):
    """A part that comes though none was asked for; a body that is not there any more."""
    n = around(f"s3_private_bucket_errors {errors};")
    partial = careless()
    origin.answer = lambda r: (206, [("ETag", '"new"'), ("Content-Range", "bytes 8-9/99")], b"ab")
    headers = {"Range": "bytes=8-", "If-Range": '"old"'}
    r = n.get("/m/a", headers=headers)
    assert r.status == 412 and b"ab" != r.body and len(origin.requests) == 2
    assert r.get("Content-Range") is None
    n = around(f"s3_private_bucket_errors {errors}; proxy_pass_request_body on; proxy_request_buffering off;")
    origin.answer = partial
    r = n.get("/m/a", headers=headers, body=b"body")
    assert r.status == 412 and NEW[8:] not in r.body


def test_servers_that_fail_behind_it_are_asked_as_often_as_ever(around, origin):
    n = around("s3_private_bucket_endpoint http://s3.example.com upstream=two; proxy_next_upstream http_500;",
               f"upstream two {{ server 127.0.0.1:{origin.port}; server 127.0.0.1:{origin.port}; }}")  # fmt: skip
    origin.answer = lambda r: careless()(r) if r.get("Range") else (500, [], b"")
    assert n.get("/m/a", headers={"Range": "bytes=8-", "If-Range": '"old"'}).status in (500, 502)
    assert len(origin.requests) <= 4


def test_caches_and_slices_answer_ranges_themselves(around, origin):
    n = around("proxy_cache z; proxy_cache_valid 200 206 1h; slice 16;")
    origin.answer = careless()
    r = n.get("/m/a", headers={"Range": "bytes=8-", "If-Range": '"old"'})
    assert (r.status, r.body) == (200, NEW)
    r = n.get("/m/a", headers={"Range": "bytes=8-", "If-Range": '"new"'})
    assert (r.status, r.body) == (206, NEW[8:])
    assert all(a.get("If-Range") is None for a in origin.requests)


@pytest.mark.parametrize("cache", ["", "proxy_cache z; proxy_cache_valid 200 206 1h;"])
@pytest.mark.parametrize("errors", ["mask", "pass"])
def test_an_empty_object_in_slices(around, origin, tmp_path, cache, errors):
    """AWS, Ceph and Garage say 416 to a range of it, from its first byte on too."""
    n = around(f"slice 16; {cache} s3_private_bucket_errors {errors}; access_log {tmp_path}/states.log states;",
               "log_format states '$upstream_status';")  # fmt: skip
    origin.answer = lambda r: tiny_s3(r, b"")
    for method in ("GET", "HEAD", "GET"):
        r = n.get("/m/a", method=method)
        assert (r.status, r.body, r.get("ETag"), r.get("Content-Length")) == (200, b"", '"tag"', "0")
    ranges = [a.get("Range") for a in origin.requests]
    assert ranges == ["bytes=0-15", None] * (1 if cache else 3)
    log = tmp_path / "states.log"
    wait_until(lambda: log.read_text().splitlines() == (["416, 200", "-", "-"] if cache else ["416, 200"] * 3), "three lines")
    # Behind the end of another there is nothing.
    origin.answer = tiny_s3
    assert n.get("/m/b", headers={"Range": "bytes=16-"}).status == 416
    assert n.get("/m/b").body == b"0123456789"
    assert [a.get("Range") for a in origin.requests[-2:]] == ["bytes=16-31", "bytes=0-15"]
    # It is asked again once.
    origin.answer = lambda r: (416, [], b"<Error><Code>InvalidRange</Code></Error>")
    count = len(origin.requests)
    assert n.get("/m/c").status == 416 and len(origin.requests) == count + 2
    assert "[error]" not in n.error_log()


def test_a_client_that_leaves_while_it_is_asked_again(around, origin):
    n = around()
    answer, gate = careless(), threading.Event()

    def slowly(r):
        if not r.get("Range"):
            gate.wait(30)
        return answer(r)

    origin.answer = slowly
    with socket.create_connection(("127.0.0.1", n.port)) as s:
        s.sendall(b'GET /m/a HTTP/1.1\r\nHost: a\r\nRange: bytes=8-\r\nIf-Range: "old"\r\n\r\n')
        origin.wait(1)
    wait_until(lambda: "499" in n.access_log(), "nginx to see that it left")
    gate.set()
    assert n.get("/m/a").body == NEW


# --- requests within requests --------------------------------------------------------------


@pytest.mark.parametrize("status, code", [(404, "NoSuchKey"), (403, "InvalidAccessKeyId"), (500, "")])
@pytest.mark.parametrize("within", ["auth_request /m/auth;", "mirror /m/mirror;", "add_before_body /m/x;"])
def test_masked_errors_within_other_requests(nginx, origin, tmp_path, within, status, code):
    """Their pages are not the client's, and the connection goes on."""
    n = nginx(f"""location /m/ {{ s3_private_bucket example-bucket; }}
        location /site {{ {within} root {tmp_path}; default_type text/html; }}""")
    (tmp_path / "site").write_text("site")
    origin.answer = s3_error(status, code)
    with socket.create_connection(("127.0.0.1", n.port), 30) as s, s.makefile("rb") as f:
        # nginx closes a connection behind a 500.
        for _ in range(1 if "auth_request" in within else 3):
            s.sendall(b"GET /site HTTP/1.1\r\nHost: a\r\n\r\n")
            r = read_response(f)
            if "auth_request" in within:
                assert r.status == 500 and b"site" not in r.body and f.read() == b""
            elif "mirror" in within:
                assert (r.status, r.body) == (200, b"site")
            else:
                assert r.status == 200 and r.body.endswith(b"site")
                assert b"<html>" in r.body and b"hush" not in r.body


def test_a_masked_error_of_a_background_update(around, origin):
    """The client has its answer, and the request comes to an end."""
    n = around("""proxy_cache z; proxy_cache_valid 200 404 1s; proxy_cache_use_stale updating;
        proxy_cache_background_update on; add_header X-Cache $upstream_cache_status always;""",
        "map $host $unused { default 1; }")  # fmt: skip
    assert n.get("/m/a").status == 200
    origin.answer = s3_error(404, "NoSuchKey")
    with socket.create_connection(("127.0.0.1", n.port), 30) as s, s.makefile("rb") as f:

        def get():
            s.sendall(b"GET /m/a HTTP/1.1\r\nHost: a\r\n\r\n")
            return read_response(f)

        stale = wait_until(lambda: (r := get()).get("X-Cache") == "STALE" and r, "a stale answer")
        assert (stale.status, stale.body) == (200, b"0123456789")
        wait_until(lambda: get().status == 404, "the update")
    n.process.send_signal(signal.SIGQUIT)
    assert n.process.wait(30) == 0


def test_a_masked_error_at_a_small_rate(around):
    origin = Bytes()
    n = around(f"s3_private_bucket_endpoint {origin.url}; limit_rate 200;")
    body = b"<Error><Code>NoSuchKey</Code>" + b"hush" * 50_000
    origin.said = b"HTTP/1.1 404 X\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
    r = n.get("/m/a")
    assert r.status == 404 and r.body.endswith(b"</html>\r\n")
    origin.close()
