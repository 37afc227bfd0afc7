"""A hostile look at what is counted, at objects that redirect, and at Signature Version 2."""

import contextlib
import socket
import threading
import urllib.parse

import pytest
from botocore.auth import HmacV1QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from harness import read_response, tiny_s3, wait_until
from test_redirects import HEADER, ON, is_redirect, leads, site  # noqa: F401
from test_sigv2 import PRESIGNED
from test_sigv4 import ID, SECRET
from test_status import STATUS

CACHE = "proxy_cache z; proxy_cache_valid 200 206 1h; add_header X-Cache $upstream_cache_status always;"


# --- what is counted -----------------------------------------------------------------------


@pytest.mark.parametrize("directive", ["auth_request /status;", "mirror /status;"])
def test_a_subrequest_for_its_headers_shows_nothing(nginx, directive):
    n = nginx(f"{STATUS} location = /page {{ {directive} root /; try_files /etc/hostname =404; }}")
    s = socket.create_connection(("127.0.0.1", n.port), 10)
    s.sendall(b"GET /page HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    got = b"".join(iter(lambda: s.recv(65536), b""))
    s.close()
    assert got.startswith(b"HTTP/1.1 200 OK\r\n") and b"s3_private_bucket" not in got


# --- objects that redirect -----------------------------------------------------------------


def test_a_fault_on_a_hit_has_its_error_page(site, origin):  # noqa: F811
    n = site(f"""location = /own {{ add_header X-Own yes always; return 502 own; }}
        location /a/ {{ s3_private_bucket example-bucket; {CACHE} }}
        location /b/ {{ s3_private_bucket example-bucket; {CACHE} {ON} error_page 502 /own; }}
        location /c/ {{ s3_private_bucket example-bucket; {CACHE} {ON} error_page 502 = @other; }}
        location @other {{ s3_private_bucket other-bucket; {CACHE} }}
        location /d/ {{ s3_private_bucket example-bucket; {CACHE} {ON} }}
        location /e/ {{ s3_private_bucket example-bucket; {CACHE} {ON} error_page 502 /own; s3_private_bucket_errors pass; }}
        location /g/ {{ s3_private_bucket example-bucket; {CACHE} {ON} error_page 502 /own; proxy_intercept_errors off; }}
        location /h/ {{ s3_private_bucket example-bucket; {CACHE} {ON} error_page 502 /own; s3_private_bucket_errors pass;
            proxy_intercept_errors on; }}
        location /f/ {{ s3_private_bucket example-bucket; {CACHE} s3_private_bucket_errors pass; }}
        """)
    origin.answer = lambda r: (tiny_s3 if "other" in r.target else leads("//evil.example"))(r)
    assert (n.get("/a/o").status, n.get("/f/o").status) == (200, 200)
    for method in ("GET", "HEAD", "GET"):
        r = n.get("/b/o", method=method, headers={"Range": "bytes=0-1"})
        assert (r.status, r.body, r.get("X-Own"), r.get("ETag")) == (502, b"own" * (method == "GET"), "yes", None)
    # The page's own bucket and cache.
    assert [(r.status, r.body, r.get("X-Cache")) for r in (n.get("/c/o"), n.get("/c/o"))] == [
        (200, b"0123456789", "MISS"), (200, b"0123456789", "HIT")]  # fmt: skip
    assert "/other-bucket/c/o" in origin.last().target and len(origin.requests) == 3
    assert n.get("/h/o").body == b"own"
    for target in ("/d/o", "/e/o", "/g/o"):
        head, whole = n.get(target, method="HEAD"), n.get(target)
        assert (whole.status, whole.get("X-Cache"), b"502 Bad Gateway" in whole.body) == (502, "HIT", True)
        assert (head.status, head.body, head.get("Content-Length")) == (502, b"", whole.get("Content-Length"))
        assert whole.get("ETag") is None and whole.get("Last-Modified") is None and whole.get(HEADER) is None
    assert len(origin.requests) == 3
    # A line for each, but what answers with the page has none.
    assert n.error_log().count("its path begins with two slashes") == 3 + 2 + 1 + 6
    for place in "bdegh":
        assert n.get(f"/{place}/miss").body == n.get(f"/{place}/o").body


def test_connections_live_on_behind_a_fault_on_a_hit(site, origin):  # noqa: F811
    n = site(f"""location /a/ {{ s3_private_bucket example-bucket; {CACHE} }}
        location /d/ {{ s3_private_bucket example-bucket; {CACHE} {ON} }}""")
    origin.answer = leads("//evil.example")
    assert n.get("/a/o").status == 200
    with socket.create_connection(("127.0.0.1", n.port), 10) as s, s.makefile("rb") as f:
        s.sendall(b"GET /d/o HTTP/1.1\r\nHost: a\r\n\r\n" * 3)
        assert [read_response(f).status for _ in range(3)] == [502] * 3


def test_a_fault_of_a_stale_entry_has_its_error_page(site, origin):  # noqa: F811
    n = site(f"""error_page 502 /own; location = /own {{ return 502 own; }}
        location /a/ {{ s3_private_bucket example-bucket; proxy_cache z; proxy_cache_valid 200 1s; }}
        location /b/ {{ s3_private_bucket example-bucket; proxy_cache z; proxy_cache_valid 200 502 1s; {ON}
            proxy_cache_use_stale http_503; add_header X-Cache $upstream_cache_status always; }}""")
    origin.answer = leads("//evil.example")
    assert n.get("/a/o").status == 200
    origin.answer = lambda r: (503, [], b"")

    def is_asked():
        r = n.get("/b/o")
        assert (r.status, r.body) == (502, b"own")
        return len(origin.requests) > 2

    wait_until(is_asked, "the entry to be stale")
    # Nothing of it was stored.
    origin.answer = tiny_s3
    wait_until(lambda: n.get("/a/o").status == 200 and n.get("/b/o").status == 200, "the object anew")


class Endless:
    """An S3 whose one object redirects and goes on for as long as it is read; how much was."""

    def __init__(self, chunked):
        self.sent, self.connections = 0, 0
        self.framing = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: 1000000000000"
        self.chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n" if chunked else b"x" * 0x10000
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.url = "http://127.0.0.1:%d" % self.socket.getsockname()[1]
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        with contextlib.suppress(OSError):
            while True:
                s, _ = self.socket.accept()
                self.connections += 1
                threading.Thread(target=self.send, args=(s,), daemon=True).start()

    def send(self, s):
        with contextlib.suppress(OSError), s:
            while s.recv(65536):
                s.sendall(b"HTTP/1.1 200 OK\r\nx-amz-website-redirect-location: https://www.example.com/\r\n"
                          + self.framing + b"\r\n\r\n")  # fmt: skip
                while True:
                    s.sendall(self.chunk)
                    self.sent += len(self.chunk)

    def close(self):
        self.socket.close()


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("more", ["", "proxy_buffering off;", "s3_private_bucket_keepalive off;"])
def test_the_rest_of_an_object_that_redirects_is_not_read(site, more, chunked):  # noqa: F811
    """A client that follows the redirect on the same connection does not wait for it."""
    s3 = Endless(chunked)
    n = site(f"s3_private_bucket_endpoint {s3.url}; location /m/ {{ s3_private_bucket example-bucket; {ON} {more} }}")
    with socket.create_connection(("127.0.0.1", n.port), 10) as s, s.makefile("rb") as f:
        for _ in range(3):
            s.sendall(b"GET /m/o HTTP/1.1\r\nHost: a\r\n\r\n")
            r = read_response(f)
            assert is_redirect(r, "https://www.example.com/")
    assert s3.connections == 3 and s3.sent < 100_000_000
    assert "[warn]" not in n.error_log() and "[error]" not in n.error_log()
    s3.close()


def test_a_short_rest_is_worth_its_connection(site, origin):  # noqa: F811
    n = site(f"location /m/ {{ s3_private_bucket example-bucket; {ON} }}")
    for value, status in (("https://www.example.com/", 301), ("//evil.example", 502)):
        origin.answer = leads(value, b"x" * 65536)
        for method in ("GET", "HEAD", "GET"):
            assert n.get("/m/o", method=method).status == status
    origin.answer = leads("https://www.example.com/", b"x" * 10_000_000)
    assert [n.get("/m/o", method=method).status for method in ("HEAD", "HEAD")] == [301, 301]
    assert origin.connections == 1


# --- Signature Version 2 -------------------------------------------------------------------


def test_no_value_makes_a_url_one_for_something_else(nginx):
    """Values stand decoded in a signature: one is not to be read as another argument, such as one for an old version."""
    keys = f"access_key_id={ID} secret_access_key=data:{SECRET}"
    n = nginx(f"""s3_private_bucket_auth sigv2 {keys}; s3_private_bucket_pass_args response-content-type A;
        location /m/ {{ s3_private_bucket abc; {PRESIGNED} }}
        location /o/ {{ s3_private_bucket abc; {PRESIGNED} s3_private_bucket_set_arg response-expires $arg_t; }}
        location /s/ {{ s3_private_bucket abc; {PRESIGNED} s3_private_bucket_set_arg response-expires 'a&versionId=1'; }}
        location /p/ {{ s3_private_bucket abc; }}
        location /4/ {{ s3_private_bucket abc; {PRESIGNED} s3_private_bucket_auth sigv4 {keys}; }}""")
    for target in ("/m/k?response-content-type=a%26versionId%3D1", "/m/k?response-content-type=a%26versionId=1",
                   "/o/k?A=1&t=a%26b&response-content-type=%26tagging", "/s/k"):  # fmt: skip
        r = n.get(target)
        if r.status == 302:
            forged = urllib.parse.urlsplit(r.get("Location").replace("%26", "&").replace("%3D", "="))
            query = dict(urllib.parse.parse_qsl(forged.query))
            signer = HmacV1QueryAuth(Credentials(ID, SECRET))
            signer._get_date = lambda query=query: query["Expires"]
            args = forged.query.partition("&AWSAccessKeyId=")[0]
            theirs = AWSRequest("GET", f"http://s3.example.com{forged.path}?{args}")
            signer.add_auth(theirs)
            assert query["Signature"] not in urllib.parse.unquote(theirs.url), "S3 takes the forged URL"
        assert (r.status, r.get("Location")) == (400, None)
    log = n.error_log()
    assert log.count("cannot have the argument \"response-content-type\", whose value has a \"&\" before") == 3
    assert SECRET not in log and ID not in log
    for target in ("/m/k?response-content-type=text/x%3B%20a%3D%22Q%26A.b%22", "/m/k?A=%26tagging", "/m/a%26versionId",
                   "/4/k?response-content-type=a%26tagging"):  # fmt: skip
        assert n.get(target).status == 302
    # What no client sees the signature of.
    assert n.get("/p/k?response-content-type=a%26versionId%3D1").status == 200
