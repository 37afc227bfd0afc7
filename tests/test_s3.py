"""In front of a real S3 server, with real bucket policies."""

import threading
import urllib.parse

import pytest
from harness import Nginx, allow, request, tells, wait_until

KEYS = [
    "index.html",
    "a b.txt",
    "a+b.txt",
    "ünï.txt",
    "a%b.txt",
    "a%2Fb.txt",
    "q?x#y.txt",
    "dir//double.txt",
    "sp'ec&i@l=,;:!$()*[]{}|^~.txt",
    "日本語/ファイル.txt",
    "p/in-prefix.txt",
]
VIDEO = bytes(range(256)) * 4096 * 5 + b"the end"


@pytest.fixture(scope="module")
def bucket(s3):
    name = "example-bucket"
    s3.create_bucket(name)
    for key in KEYS:
        s3.put(name, key, f"body of {key}".encode())
    s3.put(name, "video.bin", VIDEO, "video/mp4")
    s3.put_policy(name, allow(name, values=["open-sesame", "old-secret"]))
    return name


@pytest.fixture
def serve(tmp_path, s3, secret):
    started = []

    def start(server, http="", **kw):
        http = f"""s3_private_bucket_endpoint {s3.url};
            s3_private_bucket_auth secret {secret};
            proxy_cache_path {tmp_path}/cache keys_zone=z:1m;
            {http}"""
        started.append(Nginx(tmp_path / f"nginx{len(started)}", server, http, **kw).start())
        started[-1].hidden = tells(s3, "example-bucket", "referer-bucket")
        return started[-1]

    yield start
    for n in started:
        n.stop()


def path(key):
    return "/m/" + urllib.parse.quote(key)


def test_the_bucket_is_private(s3, bucket):
    for headers in ({}, {"User-Agent": "nope"}, {"User-Agent": ""}):
        assert request(s3.port, f"/{bucket}/index.html", headers=headers).status == 403


@pytest.mark.parametrize("key", KEYS)
def test_keys(serve, bucket, key):
    n = serve(f"merge_slashes off; location /m/ {{ s3_private_bucket {bucket}; }}")
    r = n.get(path(key))
    assert (r.status, r.body.decode()) == (200, f"body of {key}")


def test_requests_as_clients_make_them(serve, bucket):
    n = serve(f"location /m/ {{ s3_private_bucket {bucket}; }}")
    r = n.get("/m/video.bin", headers={"Range": "bytes=1000-1999"})
    assert (r.status, r.body) == (206, VIDEO[1000:2000])
    assert r.get("Content-Range") == f"bytes 1000-1999/{len(VIDEO)}"
    r = n.get("/m/video.bin", method="HEAD")
    assert (r.status, r.get("Content-Length")) == (200, str(len(VIDEO)))
    assert r.get("Content-Type") == "video/mp4"
    assert n.get("/m/video.bin", headers={"If-None-Match": r.get("ETag")}).status == 304
    modified = {"If-Modified-Since": r.get("Last-Modified")}
    assert n.get("/m/video.bin", headers=modified).status == 304
    assert n.get("/m/video.bin", headers={"If-Match": '"no"'}).status == 412
    assert n.get("/m/video.bin", headers={"Range": "bytes=99999999-"}).status == 416
    assert n.get("/m/no-such-key").status == 404
    assert n.get("/m/?list-type=2").status == 404
    assert n.get("/m/index.html?policy").body == b"body of index.html"


def test_cache_and_slices(serve, bucket):
    n = serve(f"""location /m/ {{
        s3_private_bucket {bucket}; slice 1m; proxy_cache z; proxy_cache_valid 200 206 1h;
        add_header X-Cache $upstream_cache_status;
    }}""")
    assert n.get("/m/video.bin").body == VIDEO
    r = n.get("/m/video.bin", headers={"Range": "bytes=2000000-2000009"})
    assert (r.status, r.body, r.get("X-Cache")) == (206, VIDEO[2000000:2000010], "HIT")


def test_a_wrong_secret_is_refused(serve, bucket, secret):
    secret.write_text("wrong")
    n = serve(f"location /m/ {{ s3_private_bucket {bucket}; }}")
    assert n.get("/m/index.html").status == 404
    assert (
        'S3 answered 403 AccessDenied for the bucket "example-bucket": the object does not exist, '
        'or the bucket policy for the header "User-Agent" does not let nginx in'
    ) in n.error_log()


def test_a_referer_policy(serve, s3, secret):
    name = "referer-bucket"
    s3.create_bucket(name)
    s3.put(name, "a.txt", b"by referer")
    s3.put_policy(name, allow(name, "aws:Referer", ["open-sesame"]))
    n = serve(f"""
        s3_private_bucket_auth secret {secret} header=Referer;
        location /m/ {{ s3_private_bucket {name}; }}
        location /ua/ {{ s3_private_bucket {name}; s3_private_bucket_auth secret {secret}; }}""")
    assert n.get("/m/a.txt", headers={"Referer": "https://example.com"}).body == b"by referer"
    assert n.get("/ua/a.txt").status == 404


def test_rotation_while_requests_flow(serve, bucket, secret):
    """The policy knows the old and the new secret; a reload moves from one to the other."""
    secret.write_text("old-secret")
    n = serve(f"location /m/ {{ s3_private_bucket {bucket}; }}")
    answers, stop = [], threading.Event()

    def flow():
        while not stop.is_set():
            answers.append(n.get("/m/index.html").status)

    threads = [threading.Thread(target=flow) for _ in range(3)]
    [t.start() for t in threads]
    try:
        wait_until(lambda: len(answers) > 30, "requests before the reload")
        secret.write_text("open-sesame")
        n.reload()
        seen = len(answers)
        wait_until(lambda: len(answers) > seen + 30, "requests after the reload")
    finally:
        stop.set()
        [t.join() for t in threads]
    assert set(answers) == {200}


def tls(s3, ca, server, host="s3.localhost"):
    """TLS to a name of the server's certificate, through an upstream group on loopback."""
    return (
        f"""s3_private_bucket_endpoint https://{host} upstream=pool;
        proxy_ssl_trusted_certificate {ca};
        {server}""",
        f"upstream pool {{ server 127.0.0.1:{s3.tls_port}; keepalive 4; }}",
    )


def test_tls_with_verification_path_and_virtual(serve, s3, ca, bucket):
    trust = f"proxy_ssl_trusted_certificate {ca};"
    n = serve(
        *tls(s3, ca, f"""
            location /m/ {{ s3_private_bucket {bucket}; {trust} }}
            location /v/ {{
                s3_private_bucket {bucket}; s3_private_bucket_addressing virtual; {trust}
            }}
            location /vars/ {{
                s3_private_bucket $arg_b; s3_private_bucket_addressing virtual; {trust}
            }}""")
    )  # fmt: skip
    for target in ("/m/index.html", "/v/index.html", f"/vars/index.html?b={bucket}"):
        assert n.get(target).body == b"body of index.html", target
    assert f"|{bucket}.s3.localhost|/index.html" in n.access_log()


def test_virtual_hosted_without_tls(serve, s3, bucket):
    n = serve(
        f"""s3_private_bucket_endpoint http://s3.localhost:{s3.port} upstream=pool;
        location /m/ {{ s3_private_bucket {bucket}; s3_private_bucket_addressing virtual; }}""",
        f"upstream pool {{ server 127.0.0.1:{s3.port}; }}",
    )
    assert n.get("/m/a%2Bb.txt").body == b"body of a+b.txt"


@pytest.mark.parametrize("case", ["another name", "an unknown CA"])
def test_a_certificate_that_does_not_match_is_refused(serve, s3, ca, bucket, case):
    other = case == "another name"
    trust = f"proxy_ssl_trusted_certificate {ca};" if other else ""
    host = "s3.example.org" if other else "s3.localhost"
    n = serve(*tls(s3, ca, f"location /m/ {{ s3_private_bucket {bucket}; {trust} }}", host))
    assert n.get("/m/index.html").status == 502
    reason = "certificate does not match" if other else "certificate verify error"
    assert reason in n.error_log()


def test_verification_can_be_switched_off(serve, s3, ca, bucket):
    n = serve(
        *tls(s3, ca, f"location /m/ {{ s3_private_bucket {bucket}; proxy_ssl_verify off; }}")
    )
    assert n.get("/m/index.html").body == b"body of index.html"


def test_a_download_of_a_replaced_object_begins_anew(serve, s3, bucket):
    """SeaweedFS ignores If-Range: what a client has would be joined to the end of another version."""
    n = serve("location /m/ { s3_private_bucket example-bucket; }")
    s3.put(bucket, "replaced.bin", b"old " * 1000)
    old = n.get("/m/replaced.bin")
    s3.put(bucket, "replaced.bin", b"new " * 1001)
    headers = {"Range": "bytes=2000-", "If-Range": old.get("ETag")}
    r = n.get("/m/replaced.bin", headers=headers)
    assert (r.status, r.body) == (200, b"new " * 1001)
    r = n.get("/m/replaced.bin", headers=headers | {"If-Range": r.get("ETag")})
    assert (r.status, r.body) == (206, b"new " * 501)


def test_a_backslash_opens_no_folder(serve, s3, bucket):
    s3.put(bucket, "closed/x", b"closed")
    n = serve("""location /m/ { s3_private_bucket example-bucket; }
        location /m/closed/ { deny all; }
        location /t/ { s3_private_bucket example-bucket prefix=tenants/$arg_t/; }""")
    s3.put(bucket, "tenants/other/x", b"other")
    assert n.get("/m/closed/x").status == 403
    for target in ("/m/closed%5Cx", "/m/%5Cclosed/x", "/m/closed%5C/x", "/m/a%5C..%5Cclosed/x"):
        assert n.get(target).status == 400, target
    assert n.get("/t/other/x").status == 404 and n.get("/t/x?t=other").body == b"other"
