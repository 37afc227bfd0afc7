"""What clients see of S3's answers."""

import contextlib
import itertools
import os
import re
import signal
import socket
import struct
import subprocess
import time
import zlib

import pytest
from harness import (
    HTTP2, TIMEOUT, Nginx, Recorder, allow, frame, free_port, header_field, read_head, read_response,
    tells, tiny_s3, wait_until,
)  # fmt: skip

S3_HEADERS = [
    ("x-amz-request-id", "REQUEST"), ("x-amz-id-2", "ID2"), ("x-amz-meta-author", "ann"),
    ("X-Amz-Version-Id", "v1"), ("x-amz-bucket-region", "eu-west-1"), ("x-rgw-object-type", "Normal"),
    ("X-Minio-Deployment-Id", "d"), ("Seaweed-X-Amz-Owner", "o"), ("Server", "AmazonS3"),
]  # fmt: skip
KEPT = [
    ("ETag", '"tag"'), ("Last-Modified", "Mon, 02 Nov 2026 10:00:00 GMT"), ("Accept-Ranges", "bytes"),
    ("Content-Type", "text/x"), ("Content-Encoding", "br"), ("Content-Language", "de"),
    ("Content-Disposition", "inline"), ("Cache-Control", "max-age=60"), ("Expires", "0"),
]  # fmt: skip


@pytest.fixture
def server(nginx, origin, tmp_path):
    origin.answer = lambda r: (200, KEPT + S3_HEADERS, b"0123456789")

    def start(location):
        return nginx(
            f"location /m/ {{ s3_private_bucket example-bucket; {location} }}",
            f"proxy_cache_path {tmp_path}/cache keys_zone=z:1m;",
        )

    return start


def names(response, prefixes=("x-amz", "x-rgw", "x-minio", "seaweed")):
    return sorted(k.lower() for k, _ in response.headers if k.lower().startswith(prefixes))


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_no_header_tells_of_s3(server, method):
    n = server("add_header X-Amz-Own yes;")
    r = n.get("/m/a", method=method)
    assert r.status == 200
    assert {(k, v) for k, v in KEPT} <= set(r.headers)
    assert names(r) == ["x-amz-own"], "what nginx itself adds stays"
    assert "AmazonS3" not in str(r)


def test_headers_that_are_named_pass(server):
    n = server("s3_private_bucket_pass_headers X-Amz-Meta-* x-amz-version-id;")
    r = n.get("/m/a")
    assert names(r) == ["x-amz-meta-author", "x-amz-version-id"]
    assert r.get("x-amz-meta-author") == "ann"


def test_the_same_from_the_cache(server, origin):
    n = server("""proxy_cache z; proxy_cache_valid 200 1h; proxy_ignore_headers Expires Cache-Control;
        add_header X-Cache $upstream_cache_status;""")
    for status in ("MISS", "HIT"):
        r = n.get("/m/a")
        assert (r.get("X-Cache"), names(r)) == (status, [])
    assert len(origin.requests) == 1


def test_ranges_of_the_cache_and_other_locations(nginx, origin, tmp_path):
    origin.answer = lambda r: (200, KEPT + S3_HEADERS, b"0123456789")
    n = nginx(
        f"""location /m/ {{
            s3_private_bucket example-bucket; proxy_cache z; proxy_cache_valid 200 1h;
            proxy_ignore_headers Expires Cache-Control;
        }}
        location /other/ {{ proxy_pass {origin.url}; }}""",
        f"proxy_cache_path {tmp_path}/cache keys_zone=z:1m;",
    )
    for _ in range(2):
        r = n.get("/m/a", headers={"Range": "bytes=2-4"})
        assert (r.status, r.body, names(r)) == (206, b"234", [])
    assert len(names(n.get("/other/a"))) == 8


@pytest.mark.parametrize(
    "target, key",
    [
        ("/m/", "p/index.html"),
        ("/m/docs/", "p/docs/index.html"),
        ("/m/docs//", "p/docs//index.html"),
        ("/m/docs", "p/docs"),
        ("/m/a.html", "p/a.html"),
        ("/k/x", "p/x/index.html"),
        ("/", "p/index.html"),
        ("/e/", None),
    ],
)
def test_index_documents(nginx, origin, target, key):
    n = nginx("""
        merge_slashes off;
        s3_private_bucket_index index.html;
        location /m/ { s3_private_bucket abc prefix=p/; }
        location /k/ { s3_private_bucket abc prefix=p/; s3_private_bucket_key x/; }
        location = / { s3_private_bucket abc prefix=p/; }
        location /e/ { s3_private_bucket abc; s3_private_bucket_key $arg_none; }""")
    assert n.get(target).status == 200
    assert [r.target for r in origin.requests] == [f"/abc/{key or 'index.html'}"]


# --- errors --------------------------------------------------------------------------------


def s3_error(status, code, *headers):
    """An error as S3 sends it; HEAD has no body."""
    body = f"""<?xml version="1.0" encoding="UTF-8"?>
<Error><Code>{code}</Code><Message>hush</Message><AWSAccessKeyId>hush</AWSAccessKeyId>
<BucketName>example-bucket</BucketName><HostId>hush</HostId></Error>""".encode()
    common = [("Content-Type", "application/xml"), ("x-amz-request-id", "hush"), ("ETag", '"e"')]
    body = body if code else b""

    def answer(r):
        # A recorder leaves the body of a HEAD out, as S3 does.
        return status, [*common, *headers], body

    return answer


LOCATION = ("Location", "https://example-bucket.s3.eu-west-1.amazonaws.com/a")
# What S3 says, and what clients see; with another status for HEAD, which has no code.
TABLE = [
    (301, "PermanentRedirect", 502, 502, [LOCATION]),
    (302, "Found", 502, 502, [LOCATION]),
    (307, "TemporaryRedirect", 502, 502, [LOCATION]),
    (400, "KeyTooLongError", 404, 502, []),
    (400, "AuthorizationHeaderMalformed", 502, 502, []),
    (400, "ExpiredToken", 502, 502, []),
    (400, "", 502, 502, []),
    (401, "Unauthorized", 502, 502, [("WWW-Authenticate", "Basic realm=hush")]),
    (403, "AccessDenied", 404, 404, []),
    (403, "SignatureDoesNotMatch", 502, 404, []),
    (403, "InvalidAccessKeyId", 502, 404, []),
    (403, "RequestTimeTooSkewed", 502, 404, []),
    (403, "", 404, 404, []),
    (404, "NoSuchKey", 404, 404, []),
    (404, "NoSuchBucket", 502, 404, []),
    (404, "", 404, 404, []),
    (405, "MethodNotAllowed", 404, 404, []),
    (409, "OperationAborted", 502, 502, []),
    (412, "PreconditionFailed", 412, 412, []),
    (416, "InvalidRange", 416, 416, [("Content-Range", "bytes */10")]),
    (429, "TooManyRequests", 503, 503, []),
    (500, "InternalError", 500, 500, []),
    (501, "NotImplemented", 502, 502, []),
    (502, "BadGateway", 502, 502, []),
    (503, "SlowDown", 503, 503, [("Retry-After", "7")]),
    (503, "ServiceUnavailable", 503, 503, []),
    (504, "GatewayTimeout", 504, 504, []),
]


@pytest.fixture
def errors(nginx, origin, tmp_path):
    def start(location="", server="", **kw):
        return nginx(
            f"location /m/ {{ s3_private_bucket example-bucket; {location} }} {server}",
            f"proxy_cache_path {tmp_path}/cache keys_zone=z:1m;",
            **kw,
        )

    return start


def curl2(n, target, method):
    """Status, headers and body of a request over HTTP/2."""
    args = ["curl", "-sS", "-m", str(TIMEOUT), "--http2-prior-knowledge", "-D", "-", f"http://127.0.0.1:{n.port}{target}"]
    out = subprocess.run([*args, *(["-I"] if method == "HEAD" else [])], capture_output=True, check=True)
    head, _, body = out.stdout.partition(b"\r\n\r\n")
    lines = head.decode("latin1").split("\r\n")
    return int(lines[0].split()[1]), lines[1:], b"" if method == "HEAD" else body


@pytest.mark.parametrize("cache", [False, True])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("version", [1, 2])
def test_what_clients_see_of_every_status(errors, origin, cache, method, version):
    caching = "proxy_cache z; proxy_cache_valid any 1h; proxy_ignore_headers Set-Cookie;"
    n = errors(caching if cache else "", listen="http2" if version == 2 else "")
    answers = iter(TABLE)
    for i, (status, code, get, head, headers) in enumerate(answers):
        origin.answer = s3_error(status, code, *headers)
        # A cache turns HEAD into GET.
        expected = head if method == "HEAD" and not cache else get
        for again in range(2):
            if version == 1:
                r = n.get(f"/m/{i}", method=method)
                seen, head_lines, body = r.status, [f"{k}: {v}" for k, v in r.headers], r.body
            else:
                seen, head_lines, body = curl2(n, f"/m/{i}", method)
            case = (status, code, again, head_lines, body)
            assert seen == expected, case
            text = "\n".join(head_lines).lower()
            assert b"hush" not in body and b"example-bucket" not in body, case
            assert "hush" not in text and "xml" not in text and "amz" not in text, case
            assert "location:" not in text and "www-authenticate" not in text, case
            assert ('etag: "e"' in text) == (seen in (412, 416)), case
            assert ("content-range: bytes */10" in text) == (seen == 416), case
            assert ("retry-after: " in text) == (seen == 503), case
            assert ("retry-after: 7" in text) == (headers == [("Retry-After", "7")]), case
            length = int(re.search(r"content-length: (\d+)", text)[1])
            if method == "GET":
                assert len(body) == length and f"<h1>{seen} ".encode() in body, case
                server = re.search(r"server: (nginx/[\d.]+)", text)[1].encode()
                assert body.endswith(server + b"</center>\r\n</body>\r\n</html>\r\n"), case


@pytest.mark.parametrize("tokens", ["off", "on", "build"])
def test_the_page_is_nginx_s(errors, origin, tokens):
    origin.answer = s3_error(404, "NoSuchKey")
    n = errors(server=f"server_tokens {tokens}; location /n/ {{ return 404; }}")
    ours, own = n.get("/m/a"), n.get("/n/a")
    assert ours.body == own.body and own.get("Server").encode() in ours.body
    same = ("Content-Type", "Content-Length", "Connection", "Server")
    assert [ours.get(h) for h in same] == [own.get(h) for h in same]


def test_pass_shows_what_s3_says(errors, origin):
    n = errors("s3_private_bucket_errors pass;")
    for status, code, *_ in TABLE:
        origin.answer = s3_error(status, code)
        r = n.get("/m/a")
        assert (r.status, names(r)) == (status, [])
        assert (b"hush" in r.body) == bool(code)


class Dribble(Recorder):
    """Sends the header and then each byte of the body by itself."""

    def serve(self, s, number):
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # A client that has its page leaves, and nginx with it.
        with contextlib.suppress(ConnectionError), s, s.makefile("rb") as f:
            while head := read_head(f):
                self.requests.append(head)
                status, chunked, body = self.answer(head)
                length = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {len(body)}"
                s.sendall(f"HTTP/1.1 {status} X\r\n{length}\r\n\r\n".encode())
                # The client's proof that nginx has read the header is that it reads on.
                for i in range(len(body)):
                    s.sendall(b"1\r\n%c\r\n" % body[i] if chunked else body[i : i + 1])
                if chunked:
                    s.sendall(b"0\r\n\r\n")


@pytest.mark.parametrize("chunked", [False, True])
def test_codes_that_come_late(nginx, chunked):
    """Also with a chunk of each byte, when the code itself is in pieces."""
    slow = Dribble()
    n = nginx(f"""location /m/ {{
        s3_private_bucket example-bucket; s3_private_bucket_endpoint {slow.url};
    }}""")
    for code, status in (("SignatureDoesNotMatch", 502), ("AccessDenied", 404)):
        body = f"<Error><Code>{code}</Code><Message>hush</Message></Error>".encode()
        slow.answer = lambda head, body=body: (403, chunked, body)
        for _ in range(3):
            r = n.get("/m/a")
            assert r.status == status and b"hush" not in r.body
        assert f"S3 answered 403 {code} for" in n.error_log()
    slow.close()


def is_read(s):
    """Whether the other end of a connection on loopback has read all that was sent."""
    ends = [f"0100007F:{port:04X}" for port in (s.getsockname()[1], s.getpeername()[1])]
    queues = {tuple(f[1:3]): f[4].split(":") for f in map(str.split, open("/proc/net/tcp"))}
    sent, arrived = queues.get(tuple(ends)), queues.get(tuple(ends[::-1]))
    return sent and arrived and (int(sent[0], 16), int(arrived[1], 16)) == (0, 0)


class Pieces(Recorder):
    """Answers with the pieces of `said`, each when the one before was read, and closes."""

    said = ()

    def serve(self, s, _):
        # nginx closes a connection whose rest it does not need.
        with contextlib.suppress(OSError), s, s.makefile("rb") as f:
            self.requests.append(read_head(f))
            for piece in self.said:
                s.sendall(piece)
                wait_until(lambda: is_read(s), "a piece to be read")


@pytest.mark.parametrize("cache", ["", "proxy_cache z; proxy_cache_valid 403 404 1h;"])
def test_codes_that_are_in_pieces(nginx, tmp_path, cache):
    """Neither a chunk's end nor a packet's hides a fault; what is missing stays 404."""
    origin = Pieces()
    n = nginx(
        f"""location /m/ {{
            s3_private_bucket example-bucket; s3_private_bucket_endpoint {origin.url};
            s3_private_bucket_auth none; {cache}
        }}""",
        f"proxy_cache_path {tmp_path}/cache keys_zone=z:1m;",
    )
    unframed, chunked = b"HTTP/1.0 %d X\r\n\r\n", b"HTTP/1.1 %d X\r\nTransfer-Encoding: chunked\r\n\r\n"
    done = 0
    for i, (status, seen, pieces) in enumerate([
        (403, 502, [unframed, b"<Error><Code>SignatureDoesNotMatch</Code>hush"]),
        (403, 404, [unframed, b"<Error><Code>AccessDenied</Code>hush"]),
        (404, 502, [unframed, b"<Error><Code>NoSuch", b"Bucket</Code>hush"]),
        (404, 404, [unframed + b"<Error>", b"<Code>NoSuchKey</Code>hush"]),
        # Nobody can tell what it means.
        (403, 502, [unframed, b"<Error>hush"]),
        (404, 502, [unframed]),
        (404, 502, [unframed, b"hush" * 300]),
        # An error page of a proxy before S3 has no code, and needs none.
        (503, 503, [unframed, b"<html>hush"]),
        (404, 502, [chunked + b"13;x=y\r\n<Error><Code>NoSuch\r\n", b"17\r\nBucket</Code>hush</Error>\r\n0\r\n\r\n"]),
        (403, 404, [chunked + b"c\r\n<Error><Code\r\n14\r", b"\n>AccessDenied</Code>\r\n0\r\n\r\n"]),
        (403, 502, [chunked, b"<Error><Code>AccessDenied</Code>hush"]),
        (404, 404, [chunked, b"0\r\n\r\n"]),
    ]):  # fmt: skip
        origin.said = [pieces[0] % status, *pieces[1:]]
        for _ in range(2):
            r = n.get(f"/m/{i}")
            assert r.status == seen and b"hush" not in r.body, pieces
            # The page does not wait for nginx to be done with S3.
            done += 1
            wait_until(lambda done=done: n.access_log().count("\n") == done, "the end of the request")
        assert len(origin.requests) == (1 if cache and seen == 404 else 2), pieces
        origin.requests.clear()
    origin.close()


class Bytes(Recorder):
    """Answers with the bytes of `said`, and closes the connection when it is to."""

    said, closes = b"", True

    def serve(self, s, _):
        with s, s.makefile("rb") as f:
            while head := read_head(f):
                self.requests.append(head)
                s.sendall(self.said)
                if self.closes:
                    return


@pytest.mark.parametrize("status", [400, 403, 404])
def test_an_error_that_is_cut_is_a_fault(nginx, status):
    """Its code, which tells what it means, has not come."""
    origin = Bytes()
    n = nginx(f"""location /m/ {{
        s3_private_bucket example-bucket; s3_private_bucket_endpoint {origin.url}; proxy_read_timeout 1s;
    }}""")
    for length in (b"Content-Length: 500", b"Transfer-Encoding: chunked"):
        origin.said = b"HTTP/1.1 %d X\r\n%s\r\n\r\n" % (status, length)
        origin.said += b"1f4\r\n<Error><Cod" if b"chunked" in length else b"<Error><Cod"
        for origin.closes, expected in ((True, 502), (False, 504)):
            r = n.get("/m/a")
            assert r.status == expected and b"<Error>" not in r.body
    origin.close()


@pytest.mark.parametrize("buffering", ["on", "off"])
@pytest.mark.parametrize("closes", [True, False])
@pytest.mark.parametrize("gzip", [True, False])
def test_an_error_that_is_cut_behind_its_code(nginx, closes, gzip, buffering):
    """Clients get the page at once: nginx would wait for a minute for what S3 owes it."""
    origin = Bytes()
    n = nginx(f"""gzip on; gzip_min_length 1; location /m/ {{
        s3_private_bucket example-bucket; s3_private_bucket_endpoint {origin.url};
        proxy_buffering {buffering};
    }}
    location = /page.html {{ ssi on; return 200 '<!--#include virtual="/m/a"-->rest'; default_type text/html; }}""")
    origin.closes = closes
    for framing in (b"Content-Length: 5000", b"Transfer-Encoding: chunked"):
        start = b"1388\r\n" if b"chunked" in framing else b""
        origin.said = b"HTTP/1.1 404 X\r\n%s\r\n\r\n%s<Error><Code>NoSuchKey</Code>hush" % (framing, start)
        with socket.create_connection(("127.0.0.1", n.port), TIMEOUT) as s, s.makefile("rb") as f:
            s.sendall(b"GET /m/a HTTP/1.1\r\nHost: a\r\n%s\r\n" % (b"Accept-Encoding: gzip\r\n" if gzip else b""))
            r = read_response(f)
        body = zlib.decompress(r.body, 31) if gzip else r.body
        assert (r.status, r.get("Content-Encoding")) == (404, "gzip" if gzip else None)
        assert body.startswith(b"<html>\r\n<head><title>404") and body.endswith(b"</html>\r\n")
    if closes:
        page = n.get("/page.html").body
        assert page.startswith(b"<html>") and page.endswith(b"</html>\r\nrest")
    origin.close()


def test_an_error_that_stalls_behind_its_code_over_http2(errors, origin):
    """The stream ends, too."""
    said = Bytes()
    n = errors(f"s3_private_bucket_endpoint {said.url};", listen="http2")
    said.closes = False
    said.said = b"HTTP/1.1 403 X\r\nContent-Length: 500\r\n\r\n<Error><Code>AccessDenied</Code>hush"
    status, _, body = curl2(n, "/m/a", "GET")
    assert status == 404 and body.endswith(b"</html>\r\n")
    said.close()


def test_chunks_with_a_trailer_come_to_an_end(nginx):
    origin = Bytes()
    n = nginx(f"""location /m/ {{
        s3_private_bucket example-bucket; s3_private_bucket_endpoint {origin.url}; proxy_read_timeout 60s;
    }}""")
    origin.said = b"HTTP/1.1 404 X\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhush\r\n0\r\nX-Trailer: x\r\n\r\n"
    origin.closes = False
    r = n.get("/m/a")
    assert r.status == 404 and b"hush" not in r.body
    origin.close()


@pytest.mark.parametrize("errors", ["mask", "pass"])
def test_an_object_without_an_end(nginx, tmp_path, errors):
    """Half of it would look like all of it."""
    origin = Bytes()
    s3 = f"s3_private_bucket_endpoint {origin.url}; s3_private_bucket_errors {errors};"
    n = nginx(
        f"""
        location /m/ {{ s3_private_bucket example-bucket; {s3} }}
        location /c/ {{
            s3_private_bucket example-bucket; {s3} proxy_cache z; proxy_cache_valid 200 206 1d;
        }}""",
        f"proxy_cache_path {tmp_path}/cache keys_zone=z:1m;",
    )
    for i, said in enumerate([
        b"HTTP/1.1 200 OK\r\n\r\nhalf",
        b"HTTP/1.1 200 OK\r\nContent-Length: 12x\r\n\r\nhalf",
        b"HTTP/1.0 206 OK\r\nContent-Length:\r\n\r\nhalf",
        b"half of something\r\n" * 10,
        b"\r\n\r\nhalf",
    ]):  # fmt: skip
        for location in ("m", "c"):
            origin.said = said
            before = n.error_log()
            assert n.get(f"/{location}/{i}").status == 502, said
            # nginx 1.23 and newer read the header themselves.
            reason = r"S3 answered without a valid length|sent invalid \"Content-Length\""
            assert len(re.findall(reason, n.error_log().removeprefix(before))) == 1
            origin.said = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nhalf"
            assert n.get(f"/{location}/{i}").body == b"half"
        origin.said = b""
        assert n.get(f"/c/{i}").body == b"half", "from the cache"

    for said, status in [
        (b"half of something\r\n" * 10, 502),
        (b"HTTP/1.1 200 OK\r\n\r\n", 200),
        (b"HTTP/1.1 304 Not Modified\r\n\r\n", 304),
    ]:
        origin.said = said
        assert n.get("/m/head", method="HEAD").status == status
    assert n.get("/m/a", headers={"If-None-Match": '"x"'}).status == 304
    origin.close()


def test_connections_live_on(nginx, origin):
    """1,000 missing keys over one connection of the client and one to S3."""
    n = nginx(
        """keepalive_requests 2000; location /m/ {
            s3_private_bucket example-bucket;
            s3_private_bucket_endpoint http://s3.example.com upstream=pool;
        }""",
        f"upstream pool {{ server 127.0.0.1:{origin.port}; keepalive 1; keepalive_requests 2000; }}",
    )
    origin.answer = s3_error(404, "NoSuchKey")
    with socket.create_connection(("127.0.0.1", n.port), TIMEOUT) as s, s.makefile("rb") as f:
        for i in range(1000):
            s.sendall(b"GET /m/%d HTTP/1.1\r\nHost: a\r\n\r\n" % i)
            assert read_response(f).status == 404
    assert (len(origin.requests), origin.connections) == (1000, 1)


@pytest.mark.parametrize("buffering", ["on", "off"])
def test_a_long_body_is_read_to_its_end(nginx, origin, buffering):
    n = nginx(
        f"""location /m/ {{
            s3_private_bucket example-bucket; proxy_buffering {buffering};
            proxy_buffers 2 4k; proxy_buffer_size 4k; proxy_busy_buffers_size 4k;
            proxy_max_temp_file_size 0;
            s3_private_bucket_endpoint http://s3.example.com upstream=pool;
        }}""",
        f"upstream pool {{ server 127.0.0.1:{origin.port}; keepalive 1; }}",
    )
    body = b"<Error><Code>NoSuchKey</Code>" + b"hush " * 200_000
    origin.answer = lambda r: (404, [], body)
    with socket.create_connection(("127.0.0.1", n.port), TIMEOUT) as s, s.makefile("rb") as f:
        for _ in range(3):
            s.sendall(b"GET /m/a HTTP/1.1\r\nHost: a\r\n\r\n")
            r = read_response(f)
            assert r.status == 404 and b"hush" not in r.body
    assert (len(origin.requests), origin.connections) == (3, 1)


def test_error_pages_of_the_site(errors, origin, tmp_path):
    (tmp_path / "big.html").write_bytes(b"our page\n" * 250_000)
    n = errors(
        "error_page 404 /big.html; error_page 502 503 = @down;",
        f"""location = /big.html {{ root {tmp_path}; }}
        location @down {{ return 503 "down: $s3_private_bucket_error"; }}""",
        listen="sndbuf=32k",
    )
    origin.answer = s3_error(403, "AccessDenied")
    with socket.socket() as s:
        # A slow client.
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        s.settimeout(TIMEOUT)
        s.connect(("127.0.0.1", n.port))
        s.sendall(b"GET /m/a HTTP/1.1\r\nHost: a\r\n\r\n" * 2)
        with s.makefile("rb", buffering=4096) as f:
            for _ in range(2):
                r = read_response(f)
                assert (r.status, r.body) == (404, b"our page\n" * 250_000)
    origin.answer = s3_error(403, "InvalidAccessKeyId")
    r = n.get("/m/a")
    assert (r.status, r.body) == (503, b"down: InvalidAccessKeyId")


@pytest.mark.parametrize("cache", ["", "proxy_cache z; proxy_cache_valid any 1h;"])
def test_error_pages_elsewhere(errors, origin, cache):
    n = errors(f"""error_page 404 https://www.example.com/sorry;
        error_page 502 =303 https://status.example.com/; {cache}""")
    for code, seen in [("AccessDenied", (302, "https://www.example.com/sorry")),
                       ("InvalidAccessKeyId", (303, "https://status.example.com/"))]:  # fmt: skip
        origin.answer = s3_error(403, code)
        for _ in range(2):
            r = n.get(f"/m/{code}")
            assert (r.status, r.get("Location")) == seen
            assert b"hush" not in r.body and names(r) == []


@pytest.mark.parametrize("protocol", ["--http1.0", "--http1.1", "--http2-prior-knowledge"])
@pytest.mark.parametrize("sendfile", ["on", "off"])
def test_pages_that_include_what_is_missing(errors, origin, tmp_path, protocol, sendfile):
    (tmp_path / "page.html").write_text('<!--#include virtual="/m/missing"-->' + "rest " * 500)
    n = errors(
        "", f"location = /page.html {{ root {tmp_path}; ssi on; sendfile {sendfile}; postpone_output 0; }}",
        listen="http2" if "2" in protocol else "",
    )  # fmt: skip
    origin.answer = s3_error(404, "NoSuchKey")
    out = subprocess.run(
        ["curl", "-sS", protocol, f"http://127.0.0.1:{n.port}/page.html"], capture_output=True, check=True
    ).stdout
    assert out.startswith(b"<html>\r\n<head><title>404 Not Found</title>")
    assert out.endswith(b"</html>\r\n" + b"rest " * 500) and b"hush" not in out


def test_pages_that_include_what_is_missing_and_what_is_late(errors, origin, tmp_path):
    includes = '<!--#include virtual="/m/late"--><!--#include virtual="/m/missing"-->'
    (tmp_path / "page.html").write_text(f"{includes}rest")
    n = errors("", f"location = /page.html {{ root {tmp_path}; ssi on; }}")
    missing = s3_error(404, "NoSuchKey")

    def answer(r):
        if r.target.endswith("missing"):
            return missing(r)
        wait_until(lambda: "404 NoSuchKey" in n.error_log(), "what is missing to be answered")
        return 200, [], b"late"

    origin.answer = answer
    body = n.get("/page.html").body
    assert body.startswith(b"late<html>") and body.endswith(b"</html>\r\nrest") and b"hush" not in body


def test_pages_that_are_sent_in_pieces(errors, origin):
    n = errors("limit_rate 150;")
    origin.answer = s3_error(404, "NoSuchKey")
    r = n.get("/m/a")
    assert r.status == 404 and r.body.endswith(b"</html>\r\n")


def test_pages_in_a_small_window_of_http2(errors, origin):
    n = errors(listen="http2")
    origin.answer = s3_error(404, "NoSuchKey")

    ask = {":method": "GET", ":path": "/m/a", ":scheme": "http", ":authority": "a"}
    fields = b"".join(header_field(name, value) for name, value in ask.items())
    body, ends = b"", False
    with socket.create_connection(("127.0.0.1", n.port), TIMEOUT) as s, s.makefile("rb") as f:
        # SETTINGS_INITIAL_WINDOW_SIZE: 10 bytes, and as many more for each piece.
        settings = frame(4, 0, 0, struct.pack(">HI", 4, 10))
        s.sendall(HTTP2 + settings + frame(1, 5, 1, fields))
        while not ends:
            head = f.read(9)
            payload = f.read(int.from_bytes(head[:3], "big"))
            assert head[3] not in (3, 7), "nginx gives up"
            if head[3] == 0:
                body, ends = body + payload, head[4] & 1
                s.sendall(frame(8, 0, 1, struct.pack(">I", 10)))
    assert body.startswith(b"<html>\r\n<head><title>404") and body.endswith(b"</html>\r\n")


def test_a_single_page_application(nginx, origin):
    n = nginx("""location / {
        s3_private_bucket example-bucket; error_page 404 =200 /index.html;
    }""")
    missing = s3_error(404, "NoSuchKey")
    origin.answer = lambda r: tiny_s3(r) if r.target.endswith("/index.html") else missing(r)
    r = n.get("/some/route")
    assert (r.status, r.body) == (200, b"0123456789")
    origin.answer = missing
    r = n.get("/some/route")
    assert r.status == 404 and b"hush" not in r.body


def test_what_is_missing_is_cached_and_faults_are_not(errors, origin):
    n = errors("""proxy_cache z; proxy_cache_valid any 1h;
        add_header X-Cache $upstream_cache_status always;""")
    for target, answer, first, second in [
        ("/m/1", s3_error(404, "NoSuchKey"), (404, "MISS"), (404, "HIT")),
        ("/m/2", s3_error(403, "AccessDenied"), (404, "MISS"), (404, "HIT")),
        ("/m/3", s3_error(403, "SignatureDoesNotMatch"), (502, "MISS"), (502, "MISS")),
        ("/m/4", s3_error(404, "NoSuchBucket"), (502, "MISS"), (502, "MISS")),
        ("/m/5", s3_error(301, "PermanentRedirect", LOCATION), (502, "MISS"), (502, "MISS")),
        ("/m/6", s3_error(400, "ExpiredToken", ("Cache-Control", "max-age=60")), (502, "MISS"), (502, "MISS")),
    ]:  # fmt: skip
        origin.answer = answer
        seen = [n.get(target) for _ in range(2)]
        assert [(r.status, r.get("X-Cache")) for r in seen] == [first, second], target
        assert all(b"hush" not in r.body for r in seen)


def test_interception_does_not_cache_faults_either(errors, origin):
    n = errors(
        "proxy_cache z; proxy_cache_valid any 1h; error_page 404 502 = @page;",
        'location @page { return 404 "ours"; }',
    )
    for code, requests in (("AccessDenied", 1), ("SignatureDoesNotMatch", 2)):
        origin.answer = s3_error(403, code)
        origin.requests.clear()
        for _ in range(2):
            assert n.get(f"/m/{code}").body == b"ours"
        assert len(origin.requests) == requests, code


@pytest.mark.parametrize(
    "status, code, stale",
    [(403, "SignatureDoesNotMatch", "http_403"), (404, "NoSuchBucket", "http_404"),
     (503, "SlowDown", "http_503"), (301, "PermanentRedirect", "http_502")],
)  # fmt: skip
def test_cached_objects_outlive_a_fault(errors, origin, status, code, stale):
    n = errors(f"""proxy_cache z; proxy_cache_valid 200 1s; proxy_cache_use_stale {stale};
        add_header X-Cache $upstream_cache_status always;""")
    assert n.get("/m/a").get("X-Cache") == "MISS"
    origin.answer = s3_error(status, code)
    wait_until(lambda: n.get("/m/a").get("X-Cache") == "STALE", "a stale answer")
    r = n.get("/m/a")
    assert (r.status, r.body) == (200, b"0123456789")
    assert f"S3 answered {status} {code}" in n.error_log()


def test_the_next_server_is_asked(nginx, origin):
    second = Recorder()
    n = nginx(
        """location /m/ {
            s3_private_bucket example-bucket;
            s3_private_bucket_endpoint http://s3.example.com upstream=pool;
            proxy_next_upstream http_403 http_404 http_503;
        }""",
        f"upstream pool {{ server 127.0.0.1:{origin.port} max_fails=0; server 127.0.0.1:{second.port} backup; }}",
    )
    for status, code in ((403, "AccessDenied"), (404, "NoSuchKey"), (503, "SlowDown")):
        origin.answer = s3_error(status, code)
        r = n.get("/m/a")
        assert (r.status, r.body, r.get("Retry-After")) == (200, b"0123456789", None)
    second.answer = s3_error(404, "NoSuchKey")
    origin.answer = s3_error(503, "SlowDown")
    r = n.get("/m/a")
    assert r.status == 404 and b"hush" not in r.body
    second.close()


def test_no_next_server_is_there(nginx, origin):
    n = nginx(
        """location /m/ {
            s3_private_bucket example-bucket;
            s3_private_bucket_endpoint http://s3.example.com upstream=pool;
            proxy_next_upstream http_404 http_503;
        }""",
        f"upstream pool {{ server 127.0.0.1:{origin.port}; server 127.0.0.1:{free_port()} backup; }}",
    )
    for status, code in ((404, "NoSuchKey"), (503, "SlowDown")):
        origin.answer = s3_error(status, code)
        r = n.get("/m/a")
        assert (r.status, r.get("Retry-After")) == (502, None)


def test_a_good_answer_after_a_fault_is_cached(nginx, origin, tmp_path):
    second = Recorder()
    n = nginx(
        """location /m/ {
            s3_private_bucket example-bucket; proxy_cache z; proxy_cache_valid any 1h;
            s3_private_bucket_endpoint http://s3.example.com upstream=pool;
            proxy_next_upstream http_403 http_502; add_header X-Cache $upstream_cache_status always;
        }""",
        f"""upstream pool {{ server 127.0.0.1:{origin.port} max_fails=0; server 127.0.0.1:{second.port} backup; }}
        proxy_cache_path {tmp_path}/cache keys_zone=z:1m;""",
    )
    for status, code in ((403, "SignatureDoesNotMatch"), (400, "ExpiredToken")):
        origin.answer = s3_error(status, code)
        for cached in ("MISS", "HIT"):
            r = n.get(f"/m/{status}")
            assert (r.status, r.body, r.get("X-Cache")) == (200, b"0123456789", cached)
    # The last one to be asked is believed.
    second.answer = origin.answer
    for _ in range(2):
        assert (r := n.get("/m/b")).status == 502 and r.get("X-Cache") == "MISS"
    second.close()


def test_a_fault_that_comes_too_late_for_the_next_server(nginx, origin, tmp_path):
    n = nginx(
        """location /m/ {
            s3_private_bucket example-bucket; proxy_cache z; proxy_cache_valid any 1h;
            s3_private_bucket_endpoint http://s3.example.com upstream=pool;
            proxy_next_upstream http_403; proxy_next_upstream_timeout 1ms;
            error_page 403 = @denied; error_page 502 = @fault;
        }
        location @denied { return 200 denied; }
        location @fault { return 200 fault; }""",
        f"""upstream pool {{ server 127.0.0.1:{origin.port}; server 127.0.0.1:{free_port()} backup; }}
        proxy_cache_path {tmp_path}/cache keys_zone=z:1m;""",
    )
    fault = s3_error(403, "SignatureDoesNotMatch")

    def late(r):
        begin = time.monotonic()
        wait_until(lambda: time.monotonic() > begin + 0.1, "more than the timeout")
        return fault(r)

    origin.answer = late
    for _ in range(2):
        assert n.get("/m/a").body == b"fault"
    assert len(origin.requests) == 2


def test_slices_of_what_is_missing(errors, origin):
    n = errors("slice 4; proxy_cache z; proxy_cache_valid 206 404 1h;")
    origin.answer = s3_error(404, "NoSuchKey")
    r = n.get("/m/a")
    assert r.status == 404 and b"hush" not in r.body
    origin.answer = s3_error(403, "SignatureDoesNotMatch")
    assert n.get("/m/b").status == 502


def test_an_origin_that_is_down_and_other_locations(errors, origin, nginx):
    n = errors(
        "",
        f"""location /down/ {{
            s3_private_bucket example-bucket; s3_private_bucket_endpoint http://127.0.0.1:1;
        }}
        location /other/ {{ proxy_pass {origin.url}; }}""",
    )
    origin.answer = s3_error(404, "NoSuchKey")
    r = n.get("/down/a")
    assert r.status == 502 and b"<h1>502 Bad Gateway</h1>" in r.body
    assert b"hush" in n.get("/other/a").body


# --- logs ----------------------------------------------------------------------------------


def lines(n):
    found = re.findall(r"\[(\w+)\] [^\n]*s3_private_bucket: (S3 answered .*?)(?: while [^:]*)?, client:", n.error_log())
    return [f"{level}: {text}" for level, text in found]


BUCKET = 'for the bucket "example-bucket"'


def test_a_failed_reload_leaves_errors_masked(errors, origin):
    n = errors()
    n.tolerated = {"[emerg]", "[alert]", "exited on signal"}
    origin.answer = s3_error(404, "NoSuchKey")
    page = n.get("/m/a").body
    (worker,) = wait_until(n.workers, "a worker")
    # nginx gets as far as to link the filters of a configuration that has no bucket.
    n.write("location / { return 204; }")
    with (n.dir / "nginx.conf").open("a") as f:
        f.write("nonsense;")
    os.kill(n.process.pid, signal.SIGHUP)
    wait_until(lambda: 'unknown directive "nonsense"' in n.error_log(), "an error")
    os.kill(int(worker), signal.SIGKILL)
    wait_until(lambda: (now := n.workers()) and worker not in now, "a new worker")
    r = n.get("/m/a")
    assert (r.status, r.body, names(r)) == (404, page, [])


def test_a_reload_without_a_master_process_is_refused(errors, origin):
    n = errors(top="master_process off;")
    n.tolerated = {"[emerg]"}
    origin.answer = s3_error(404, "NoSuchKey")
    page = n.get("/m/a").body
    os.kill(n.process.pid, signal.SIGHUP)
    wait_until(lambda: 'cannot be reloaded with "master_process off"; restart nginx' in n.error_log(), "an error")
    r = n.get("/m/a")
    assert (r.status, r.body, names(r)) == (404, page, [])


def test_log_lines_name_the_cure(errors, origin):
    n = errors()
    region = ("x-amz-bucket-region", "eu-west-1")
    for answer, line in [
        (s3_error(404, "NoSuchKey"), f"info: S3 answered 404 NoSuchKey {BUCKET}"),
        (s3_error(403, "AccessDenied", region), f"warn: S3 answered 403 AccessDenied {BUCKET}: the object does not exist, or the bucket policy for the header \"User-Agent\" does not let nginx in"),
        (s3_error(404, "NoSuchBucket"), f"error: S3 answered 404 NoSuchBucket {BUCKET}: the bucket does not exist there; see \"s3_private_bucket\" and \"s3_private_bucket_endpoint\""),
        (s3_error(301, "PermanentRedirect", region), f"error: S3 answered 301 PermanentRedirect {BUCKET}: the bucket is in another region; write \"s3_private_bucket_region eu-west-1;\""),
        (s3_error(400, "AuthorizationHeaderMalformed", region), f"error: S3 answered 400 AuthorizationHeaderMalformed {BUCKET}: the bucket is in another region; write \"s3_private_bucket_region eu-west-1;\""),
        (s3_error(400, "ExpiredToken"), f"error: S3 answered 400 ExpiredToken {BUCKET}: the session token has expired; write new credentials and reload"),
        (s3_error(503, "SlowDown"), f"error: S3 answered 503 SlowDown {BUCKET}: S3 gets too many requests; cache more of them"),
        (s3_error(416, "InvalidRange"), f"info: S3 answered 416 InvalidRange {BUCKET}"),
        (s3_error(500, ""), f"error: S3 answered 500 without an error code {BUCKET}"),
    ]:  # fmt: skip
        origin.answer = answer
        n.get("/m/a")
        assert lines(n)[-1] == line
    origin.answer = s3_error(403, "")
    n.get("/m/a", method="HEAD")
    assert lines(n)[-1].startswith(f"warn: S3 answered 403 to HEAD {BUCKET}")
    assert "hush" not in n.error_log()


def test_one_line_a_second(errors, origin):
    n = errors(clock=0)
    origin.answer = s3_error(403, "InvalidAccessKeyId")
    for i in range(50):
        n.get(f"/m/{i}")
    stamps = re.findall(r"^(\S+ \S+) \[error\].*InvalidAccessKeyId", n.error_log(), re.M)
    assert stamps and len(stamps) == len(set(stamps))
    n.set_clock(100)
    wait_until(lambda: (n.get("/m/a"), len(lines(n)))[1] > len(stamps), "the next line")
    # Another code is another line.
    origin.answer = s3_error(404, "NoSuchBucket")
    n.get("/m/a")
    assert "NoSuchBucket" in lines(n)[-1]


def test_the_code_in_access_logs(nginx, origin, tmp_path):
    """Also where nginx redirects to an error page, which clears what modules know of a request."""
    log = f"access_log {tmp_path}/codes.log codes;"
    n = nginx(
        f"""location /m/ {{ s3_private_bucket example-bucket; {log} }}
        location /p/ {{ s3_private_bucket example-bucket; error_page 404 = @page; }}
        location @page {{ {log} return 404; }}""",
        "log_format codes '$request_uri $upstream_status $s3_private_bucket_error';",
    )
    origin.answer = s3_error(403, "AccessDenied")
    assert n.get("/m/a").status == n.get("/p/a").status == 404
    origin.answer = tiny_s3
    assert n.get("/m/b").status == 200
    expected = "/m/a 403 AccessDenied\n/p/a 403 AccessDenied\n/m/b 200 -\n"
    wait_until(lambda: (tmp_path / "codes.log").read_text() == expected, "the codes")


# --- folders -------------------------------------------------------------------------------


@pytest.mark.parametrize("cache", ["", "proxy_cache z; proxy_cache_valid any 1h;"])
def test_folders_get_a_slash(errors, origin, cache):
    n = errors(f"""s3_private_bucket_index index.html; s3_private_bucket_append_slash on; {cache}
        error_page 404 /own; """, "location = /own { return 404 own; }")  # fmt: skip
    origin.answer = s3_error(404, "NoSuchKey")
    for target, status, location in [
        ("/m/docs", 301, "./docs/"),
        ("/m/a/b%20c?x=1&y", 301, "./b%20c/?x=1&y"),
        ("/m/a:b", 301, "./a:b/"),
        ("/m/docs/", 404, None),
        ("/m/a.html", 404, None),
    ]:
        for method in ("GET", "HEAD", "GET"):
            r = n.get(target, method=method)
            assert (r.status, r.get("Location")) == (status, location), target
            assert b"hush" not in r.body
    origin.answer = s3_error(403, "InvalidAccessKeyId")
    assert n.get("/m/other").status == 502
    origin.answer = tiny_s3
    assert n.get("/m/there").status == 200


# --- in front of a real S3 server ----------------------------------------------------------


def test_nothing_tells_of_a_real_s3_server(s3, tmp_path, secret):
    s3.create_bucket("hidden-bucket")
    s3.put("hidden-bucket", "a.txt", b"body")
    s3.put("hidden-bucket", "docs/index.html", b"docs")
    s3.put_policy("hidden-bucket", allow("hidden-bucket", values=["open-sesame"]))
    wrong = tmp_path / "wrong"
    wrong.write_text("wrong")
    wrong.chmod(0o600)
    n = Nginx(
        tmp_path / "n",
        f"""s3_private_bucket_endpoint {s3.url}; s3_private_bucket_auth secret {secret};
        location /m/ {{
            s3_private_bucket hidden-bucket; s3_private_bucket_index index.html;
            s3_private_bucket_append_slash on;
        }}
        location /wrong/ {{ s3_private_bucket hidden-bucket; s3_private_bucket_auth secret {wrong}; }}
        location /none/ {{ s3_private_bucket no-such-bucket; }}
        location /key/ {{
            s3_private_bucket hidden-bucket;
            s3_private_bucket_auth sigv4 access_key_id=AKIAWRONG secret_access_key=data:wrong;
        }}""",
    )
    expected = {"/m/a.txt": 200, "/m/none.txt": 404, "/m/docs": 301, "/m/docs/": 200, "/wrong/a.txt": 404,
                "/key/a.txt": 502}  # fmt: skip
    n.hidden = tells(s3, "hidden-bucket", "no-such-bucket", "akiawrong")
    with n:
        for target, method in itertools.product([*expected, "/none/a.txt"], ["GET", "HEAD"]):
            for headers in ({}, {"Range": "bytes=1-2"}, {"Range": "bytes=99-"}, {"If-Match": '"x"'}):
                r = n.get(target, method=method, headers=headers)
                if not headers and method == "GET":
                    assert r.status == expected.get(target, r.status), (target, r)
