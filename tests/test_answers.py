"""What S3's answers are not to do: steer nginx, act for the site, blame it for what its clients ask."""

import re
import subprocess

import pytest
from harness import NGINX, Recorder, tiny_s3, wait_until
from test_response import s3_error

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
        f"upstream two {{ server 127.0.0.1:{origin.port}; server localhost:{origin.port}; }}",
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
