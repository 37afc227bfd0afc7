"""Every file of nginx-conf/ is started, and serves from a real S3 server as it says."""

import base64
import gzip
import hashlib
import json
import re
import struct
import threading
import time
import urllib.parse

import pytest
from demo import png
from examples import CONF, PLACEHOLDER, ROLE, credentials, example, iam, policy
from harness import (
    LISTED, MODIFIED, Recorder, SeaweedFS, allow, encode, free_port, module, relay, request, tells, wait_until,
)  # fmt: skip
from prometheus_client.parser import text_string_to_metric_families
from test_credentials import S3, Imds, Keys, zulu

IMAGE = b"\x89PNG image"
VIDEO = bytes(range(256)) * 4096 * 3
OBJECTS = {
    "index.html": b"<h1>index</h1>",
    "images/cat.png": IMAGE,
    "variants/cat.jpg/200.jpg": b"small cat",
    "video/film.mp4": VIDEO,
    "site/index.html": b"home",
    "site/docs/index.html": b"docs",
    "site/page.html": b"page",
    "downloads/big file+.iso": b"big",
    "app/index.html": b"app",
    "app/assets/app.js": b"script",
    "style.css": b"p { color: red }\n" * 100,
}
TESTED = {
    "basic.conf", "cache.conf", "slice-video.conf", "referer.conf", "s3-compatible.conf",
    "several-buckets.conf", "static-site-with-auth.conf", "keepalive.conf",
    "cors.conf", "error-pages.conf", "expires.conf", "gzip.conf", "spa.conf",
    "instance.conf", "container.conf", "web-identity.conf", "assume-role.conf",
    "sigv4.conf", "sigv2.conf", "presigned.conf", "redirects.conf", "failover.conf", "precompressed.conf", "clean-urls.conf",
    "google-cloud.conf", "refresh.conf", "tenants.conf", "oauth2.conf", "signed-links.conf", "health.conf",
    "fleet.conf", "images.conf", "listing.conf", "listing-json.conf", "download-names.conf", "requester-pays.conf",
    "metrics.conf",
    "iam-policy.json", "iam-policy-listing.json", "bucket-policy.json", "bucket-policy-header-only.json",
}  # fmt: skip


def test_every_example_has_a_test():
    assert {f.name for f in CONF.iterdir()} == TESTED


@pytest.fixture
def objects(s3):
    s3.create_bucket("example-bucket")
    s3.create_bucket("example-bucket-2")
    for key, body in OBJECTS.items():
        s3.put("example-bucket", key, body)
    s3.create_bucket("signed-example")
    for key, body in OBJECTS.items():
        s3.put("signed-example", key, body)
    s3.put("example-bucket-2", "second.txt", b"second")
    s3.put("example-bucket-2", "index.html", b"site two")
    s3.put_policy("example-bucket", policy("bucket-policy.json", "example-bucket", "open-sesame"))
    second = allow("example-bucket-2", values=["second-secret", "open-sesame"])
    s3.put_policy("example-bucket-2", second)


@pytest.fixture
def run(tmp_path, s3, secret, objects):
    second = tmp_path / "second"
    second.write_text("second-secret")
    second.chmod(0o600)
    secrets = {"/etc/nginx/s3-media.secret": secret, "/etc/nginx/s3-second.secret": second,
               "/etc/nginx/s3-credentials": credentials(tmp_path)}  # fmt: skip
    started = []

    def start(name, endpoint=None, replace=(), top=""):
        path = tmp_path / f"{len(started)}-{name}"
        n = example(path, name, endpoint or s3.url, secrets, replace, top=top)
        status, output = n.check()
        assert (status, [x for x in output.splitlines() if "s3_private" in x]) == (0, []), output
        started.append(n.start())
        n.hidden = tells(s3, "example-bucket", "signed-example")
        return n

    yield start
    for n in started:
        n.stop()


def test_basic(run):
    n = run("basic.conf")
    assert n.get("/s3-media/index.html").body == b"<h1>index</h1>"
    assert n.get("/s3-media/index.html", method="DELETE").status == 405


def test_cache(run):
    n = run("cache.conf")
    seen = [n.get("/images/cat.png") for _ in range(2)]
    assert [(r.body, r.get("X-Cache-Status")) for r in seen] == [(IMAGE, "MISS"), (IMAGE, "HIT")]


def test_slice_video(run):
    n = run("slice-video.conf")
    r = n.get("/video/film.mp4", headers={"Range": "bytes=2000000-2000009"})
    assert (r.status, r.body) == (206, VIDEO[2000000:2000010])
    assert n.get("/video/film.mp4").body == VIDEO


def test_referer(run, s3):
    s3.put_policy("example-bucket", allow("example-bucket", "aws:Referer", ["open-sesame"]))
    assert run("referer.conf").get("/index.html").body == b"<h1>index</h1>"


def test_s3_compatible(run, s3, ca):
    here = [("minio.example.com:9000", "s3.localhost upstream=here"),
            ("/etc/nginx/minio-ca.pem", ca),
            ("server {", f"upstream here {{ server 127.0.0.1:{s3.tls_port}; }}\nserver {{")]  # fmt: skip
    n = run("s3-compatible.conf", replace=here)
    assert n.get("/index.html").body == b"<h1>index</h1>"


def test_several_buckets(run):
    n = run("several-buckets.conf")
    for target, host, body in [
        ("/images/cat.png", "media.example.com", IMAGE),
        ("/documents/second.txt", "media.example.com", b"second"),
        ("/thumb/200/cat.jpg", "media.example.com", b"small cat"),
        ("/index.html", "one.example.com", b"<h1>index</h1>"),
        ("/index.html", "two.example.com", b"site two"),
    ]:
        assert n.get(target, headers={"Host": host}).body == body, (host, target)


# A bucket without any policy.
SIGNED = ("example-bucket", "signed-example")
ANN = {"Authorization": "Basic " + base64.b64encode(b"ann:tulip").decode()}


def htpasswd(tmp_path):
    password = tmp_path / "htpasswd"
    password.write_text("ann:{PLAIN}tulip\n")
    return ("/etc/nginx/htpasswd", password)


def test_static_site_with_auth(run, tmp_path):
    n = run("static-site-with-auth.conf", replace=[htpasswd(tmp_path)])
    assert n.get("/page.html").status == 401
    for target, status, body in [
        ("/", 200, b"home"),
        ("/docs/", 200, b"docs"),
        ("/docs", 301, None),
        ("/page.html", 200, b"page"),
        ("/none.html", 404, b"There is no such page.\n"),
    ]:
        r = n.get(target, headers=ANN)
        assert (r.status, r.body if body else None) == (status, body), target


def test_sigv4(run, s3):
    n = run("sigv4.conf", replace=[SIGNED])
    assert request(s3.port, "/signed-example/index.html").status == 403
    assert n.get("/index.html").body == b"<h1>index</h1>"
    assert n.get("/index.html", method="DELETE").status == 405


def test_sigv2(run, s3):
    n = run("sigv2.conf", replace=[SIGNED, ("https://storage.example.com", s3.url)])
    assert n.get("/index.html").body == b"<h1>index</h1>"
    assert n.get("/images/cat.png", method="HEAD").status == 200


@pytest.fixture
def renewed(tmp_path):
    """Starts nginx with an example, in front of a server that knows keys which a stub of the platform gives."""
    running = []

    def start(name, keys, replace=(), secrets=(), **kw):
        server = S3(keys)
        n = example(tmp_path / name, name, server.server.url, dict(secrets), replace, **kw)
        running.append((n, server))
        assert n.check()[0] == 0
        return n.start()

    yield start
    for n, server in running:
        n.stop()
        server.server.close()
        assert server.wrong == []


def test_instance(renewed, tmp_path):
    imds, log = Imds(), tmp_path / "media.log"
    n = renewed("instance.conf", imds.keys, [("/var/log/nginx/media.log", log)],
                environment={"AWS_EC2_METADATA_SERVICE_ENDPOINT": imds.server.url})  # fmt: skip
    assert n.get("/index.html").body == b"keys 1"
    line = wait_until(log.read_text, "the log")
    state, left = line.split()[-2:]
    assert state == "ok" and 3500 < int(left) <= 3600
    imds.server.close()


def test_container(renewed):
    keys, down = Keys(), False
    answer = lambda r: (500, [], b"") if down else (200, [], keys.json())  # noqa: E731
    platform = Recorder(answer)
    of_ecs = {"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "",
              "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{platform.url}/v1/credentials",
              "AWS_CONTAINER_AUTHORIZATION_TOKEN": "open-sesame"}  # fmt: skip
    n = renewed("container.conf", keys, environment=of_ecs)
    assert [n.get("/a").get("X-Cache-Status") for _ in range(2)] == ["MISS", "HIT"]
    assert {(r.target, r.get("Authorization")) for r in platform.requests} == {("/v1/credentials", "open-sesame")}
    # Another nginx, when there are no keys: what is cached is served.
    n.stop()
    down = True
    n.start()
    wait_until(lambda: "could not be refreshed" in n.error_log(), "a failure")
    assert (n.get("/a").body, n.get("/b").status) == (b"keys 1", 503)
    platform.close()


def test_web_identity(renewed, tmp_path):
    keys, token = Keys(), tmp_path / "token"
    token.write_text("identity-1\n")

    def answer(r):
        form = urllib.parse.parse_qs(r.body.decode())
        assert (form["Action"], form["RoleArn"]) == (["AssumeRoleWithWebIdentity"], [ROLE])
        assert (form["WebIdentityToken"], form["RoleSessionName"]) == (["identity-1"], ["nginx-media"])
        body = f"""<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
            <AssumeRoleWithWebIdentityResult><Credentials><AccessKeyId>{keys.id()}</AccessKeyId>
            <SecretAccessKey>{keys.secret()}</SecretAccessKey><SessionToken>{keys.token()}</SessionToken>
            <Expiration>{zulu(3600)}</Expiration></Credentials></AssumeRoleWithWebIdentityResult>
            </AssumeRoleWithWebIdentityResponse>"""
        return 200, [], body.encode()

    sts = Recorder(answer)
    here = [("/var/run/secrets/tokens/media", token),
            ("session_name  nginx-media;", f"session_name nginx-media; endpoint {sts.url};")]  # fmt: skip
    n = renewed("web-identity.conf", keys, here)
    assert n.get("/index.html").body == b"keys 1"
    sts.close()


def test_assume_role(tmp_path):
    """Of a real STS, whose keys live for seconds."""
    server = SeaweedFS(tmp_path / "s3", iam=iam("4s"))
    try:
        server.create_bucket("example-bucket")
        server.put("example-bucket", "index.html", OBJECTS["index.html"])
        secrets = {"/etc/nginx/s3-credentials": credentials(tmp_path)}
        # The life is SeaweedFS's own where none is asked for.
        here = [("https://minio.example.com:9000", server.url), ("duration      1h;", "")]
        with example(tmp_path / "n", "assume-role.conf", server.url, secrets, here) as n:
            assert request(server.port, "/example-bucket/index.html").status == 403
            sets = lambda: n.error_log().count(': refreshed from role "media"')  # noqa: E731
            while sets() < 4:
                assert n.get("/index.html").body == OBJECTS["index.html"]
    finally:
        server.stop()


def test_presigned(run, s3, tmp_path):
    n = run("presigned.conf", replace=[SIGNED, htpasswd(tmp_path)])
    target = "/big%20file%2B.iso"
    r = n.get(target)
    assert (r.status, r.get("Location")) == (401, None)
    r = n.get(target, headers=ANN)
    assert r.status == 302 and "&X-Amz-Expires=60&" in r.get("Location")
    target = r.get("Location").removeprefix(s3.url)
    assert request(s3.port, target, headers={"Host": s3.url[7:]}).body == b"big"
    assert n.get("/", headers=ANN).status == 404


def test_download_names(run, s3):
    s3.put("signed-example", "f/8c1d.bin", b"report")
    n = run("download-names.conf", replace=[SIGNED])

    def direct(target):
        url = n.get(f"/large/{target}").get("Location").removeprefix(s3.url)
        return request(s3.port, url, headers={"Host": s3.url[7:]})

    for get in (lambda target: n.get(f"/files/{target}"), direct):
        r = get("8c1d.bin?name=annual%20report-%C3%BC.pdf")
        assert (r.status, r.body) == (200, b"report")
        assert r.get("Content-Disposition") == "attachment; filename*=UTF-8''annual%20report-%C3%BC.pdf"
        assert r.get("Content-Type") == "application/octet-stream"
        for query in ("", "?name=", "?name=a;b", '?name="a"', *(f"?name=a{c}b" for c in (
                "%22", "%2F", "%5c", "%00", "%0d%0aX:%20y", "%3B", "%27", "%7f", "%", "%2", "%zz", "%E2%80%AE", "%e2%81%A6")),
                "?name=.a", "?name=..", "?name=%2e"):  # fmt: skip
            r = get("8c1d.bin" + query)
            assert r.status == 200 and "filename*" not in (r.get("Content-Disposition") or ""), query


def test_requester_pays(run, before_s3):
    n = run("requester-pays.conf", endpoint=before_s3.url, replace=[SIGNED])
    for _ in range(2):
        assert n.get("/index.html").body == b"<h1>index</h1>"
    assert [r.get("X-Amz-Request-Payer") for r in before_s3.requests] == ["requester"]


def test_cors(run):
    n = run("cors.conf", replace=[SIGNED])
    origin = {"Origin": "https://www.example.com"}
    r = n.get("/index.html", headers=origin)
    assert r.body == b"<h1>index</h1>"
    assert r.get("Access-Control-Allow-Origin") == "https://www.example.com"
    r = n.get("/index.html", method="OPTIONS", headers=origin)
    assert (r.status, r.get("Access-Control-Allow-Methods")) == (204, "GET, HEAD")
    assert n.get("/index.html", method="PUT", headers=origin).status == 405


def test_gzip(run):
    n = run("gzip.conf", replace=[SIGNED])
    r = n.get("/style.css", headers={"Accept-Encoding": "gzip"})
    assert r.get("Content-Encoding") == "gzip" and r.get("Vary") == "Accept-Encoding"
    assert gzip.decompress(r.body) == OBJECTS["style.css"]
    assert n.get("/style.css").body == OBJECTS["style.css"]


def test_expires(run, s3):
    s3.put("signed-example", "images/cat.png", IMAGE, "image/png")
    s3.put("signed-example", "index.html", b"<h1>index</h1>", "text/html")
    n = run("expires.conf", replace=[SIGNED])
    for target, age in [
        ("/images/cat.png", "max-age=2592000"),
        ("/style.css", "max-age=3600"),
        ("/index.html", "no-cache"),
    ]:
        r = n.get(target)
        assert (r.status, r.get("Cache-Control")) == (200, age), target


def test_spa(run):
    n = run("spa.conf", replace=[SIGNED])
    for target, status, body in [
        ("/", 200, b"app"),
        ("/some/route", 200, b"app"),
        ("/assets/app.js", 200, b"script"),
    ]:
        r = n.get(target)
        assert (r.status, r.body) == (status, body), target
        # A browser that looks at it again need not load it again.
        assert n.get(target, headers={"If-None-Match": r.get("ETag")}).status == 304
    assert n.get("/assets/none.js").status == 404


def test_error_pages(run, tmp_path):
    errors = tmp_path / "errors"
    errors.mkdir()
    (errors / "missing.html").write_text("not here")
    (errors / "unavailable.html").write_text("come back later")
    here = ("/var/www/media", tmp_path)
    n = run("error-pages.conf", replace=[SIGNED, here])
    r = n.get("/none")
    assert (r.status, r.body) == (404, b"not here")
    wrong = run("error-pages.conf", replace=[("example-bucket", "no-such-bucket"), here])
    r = wrong.get("/index.html")
    assert (r.status, r.body) == (502, b"come back later")


def test_the_iam_policy_only_reads():
    objects, bucket = json.loads((CONF / "iam-policy.json").read_text())["Statement"]
    assert (objects["Effect"], objects["Action"]) == ("Allow", "s3:GetObject")
    assert objects["Resource"] == "arn:aws:s3:::example-bucket/*"
    assert (bucket["Effect"], bucket["Action"]) == ("Allow", "s3:ListBucket")
    assert bucket["Resource"] == "arn:aws:s3:::example-bucket"


def test_the_iam_policy_of_listings_names_the_prefix():
    objects, folders = json.loads((CONF / "iam-policy-listing.json").read_text())["Statement"]
    assert (objects["Action"], objects["Resource"]) == ("s3:GetObject", "arn:aws:s3:::example-bucket/public/*")
    assert (folders["Action"], folders["Resource"]) == ("s3:ListBucket", "arn:aws:s3:::example-bucket")
    assert folders["Condition"] == {"StringLike": {"s3:prefix": "public/*"}}


@pytest.fixture
def listed(s3):
    s3.create_bucket(LISTED)
    for key in ("public/a b.txt", "public/docs/b.txt", "public/docs/.hidden", "public/site/index.html", "private/c.txt"):
        s3.put(LISTED, key, key.encode())
    return ("example-bucket", LISTED)


def test_listing(run, listed, tmp_path):
    n = run("listing.conf", replace=[listed, htpasswd(tmp_path)])
    for target in ("/", "/docs/", "/docs/b.txt"):
        assert n.get(target).status == 401
    links = re.findall('<a href="([^"]*)"', n.get("/", headers=ANN).body.decode())
    assert links == ["docs/", "site/", "a%20b.txt"]
    links = re.findall('<a href="([^"]*)"', n.get("/docs/", headers=ANN).body.decode())
    assert links == ["../", "b.txt"]
    for target, status, body in [
        ("/a%20b.txt", 200, b"public/a b.txt"),
        ("/site/", 200, b"public/site/index.html"),
        ("/docs", 301, None),
        ("/docs/.hidden", 404, None),
        ("/none/", 404, None),
        ("/private/", 404, None),
        ("/docs/%2e%2e/private/", 404, None),
    ]:
        r = n.get(target, headers=ANN)
        assert r.status == status and body in (None, r.body), target


def test_listing_json(run, listed):
    n = run("listing-json.conf", replace=[listed])
    r = n.get("/docs/", headers={"Accept": "application/json, */*;q=0.1"})
    (entry,) = json.loads(r.body)
    assert (entry["name"], entry["size"], r.get("Vary")) == ("b.txt", 17, "Accept")
    r = n.get("/docs/", headers={"Accept": "text/html,application/xhtml+xml"})
    assert (r.get("Content-Type"), r.get("Vary")) == ("text/html; charset=utf-8", "Accept")
    assert "Accept" not in [v for k, v in n.get("/docs/b.txt").headers if k == "Vary"]
    wait_until(lambda: n.access_log().count("\n") == 3, "three lines in the log")
    statuses = [line.split("|")[6] for line in n.access_log().splitlines()]
    assert statuses == ["MISS", "HIT", "MISS"]


def test_keepalive(run, s3, ca, tmp_path):
    log = tmp_path / "media.log"
    here = [("192.0.2.10:9000", f"127.0.0.1:{s3.tls_port}"),
            ("192.0.2.11:9000", f"127.0.0.2:{s3.tls_port} down"),
            ("minio.example.com:9000", "s3.localhost"), ("/var/log/nginx/media.log", str(log)),
            ("upstream=minio;", f"upstream=minio; proxy_ssl_trusted_certificate {ca};")]  # fmt: skip
    n = run("keepalive.conf", replace=here)
    for host in ("media.example.com", "second.example.com"):
        for _ in range(3):
            body = n.get("/index.html", headers={"Host": host}).body
            assert body == b"<h1>index</h1>"
    lines = wait_until(lambda: len(t := log.read_text().splitlines()) == 3 and t, "the log")
    # The test's endpoint is an address, which needs no DNS.
    assert [line.split()[-2] for line in lines] == ["new", "kept", "kept"]


@pytest.fixture
def before_s3(s3):
    """The real S3 server, behind one that records what reaches it."""
    recorder = Recorder(relay(s3.port))
    yield recorder
    recorder.close()


def asked(recorder):
    """The keys that S3 was asked for since the last call."""
    keys = [r.target.split("/", 2)[2] for r in recorder.requests]
    recorder.requests.clear()
    return keys


def test_failover(run, s3, before_s3, origin):
    """`origin` is the first bucket, and the replica is real."""
    replica = ("eu-west-1;", f"eu-west-1; s3_private_bucket_endpoint {before_s3.url};")
    here = [("example-bucket-replica", "signed-example"), replica]
    n = run("failover.conf", origin.url, here)
    assert n.get("/index.html").body == b"0123456789" and asked(before_s3) == []
    for status in (404, 403, 500, 502, 503):
        origin.answer = lambda r, status=status: (status, [], b"")
        r = n.get("/images/cat.png", headers={"Range": "bytes=1-3"})
        assert (r.status, r.body) == (206, IMAGE[1:4]), status
        assert n.get("/none").status == 404
        assert n.get("/index.html", method="HEAD").status == 200
        assert asked(before_s3) == ["images/cat.png", "none", "index.html"]
    for target, method in [("/", "GET"), ("/a%5Cb", "GET"), ("/index.html", "DELETE")]:
        assert n.get(target, method=method).status == {"/": 404, "/a%5Cb": 400}.get(target, 405)
    assert asked(before_s3) == []
    # Nothing listens there.
    nowhere = f"http://127.0.0.1:{free_port()}"
    assert run("failover.conf", nowhere, here).get("/index.html").body == b"<h1>index</h1>"
    assert asked(before_s3) == ["index.html"]


def test_failover_passes_by_no_access_rule(run, before_s3, origin):
    here = [("example-bucket-replica;", f"signed-example; s3_private_bucket_endpoint {before_s3.url};"),
            ("server {", "limit_req_zone $server_name zone=one:1m rate=1r/m;\nserver {"),
            ("location / {", """location = /auth { return 500; }
                location / { limit_req zone=one; auth_request /auth;""")]  # fmt: skip
    n = run("failover.conf", origin.url, here)
    assert [n.get("/index.html").status for _ in range(2)] == [500, 503]
    assert asked(origin) == asked(before_s3) == []


def test_precompressed(run, s3, before_s3):
    for key, kind in [("a.css", "text/x-own"), ("a.css.br", "binary/x"), ("a.css.gz", "binary/x"),
                      ("b.css", "text/x-own"), ("b.css.gz", "binary/x"), ("a.png", "image/png"),
                      ("private/a.css", "text/css")]:  # fmt: skip
        s3.put("signed-example", key, f"the bytes of {key}".encode(), kind)
    rules = """gzip on; gzip_types *; gzip_min_length 1; gzip_proxied any;
        location /private/ { deny all; }
        location / {"""
    n = run("precompressed.conf", before_s3.url, [SIGNED, ("location / {", rules)])

    def get(target, accept, status=200, **headers):
        accept = {} if accept is None else {"Accept-Encoding": accept}
        r = n.get(target, headers=accept | headers)
        assert r.status == status, target
        for name in ("Content-Type", "Content-Encoding"):
            assert len([k for k, _ in r.headers if k == name]) < 2, r.headers
        coding = r.get("Content-Encoding")
        return r.body if coding != "gzip" or b"bytes" in r.body else gzip.decompress(r.body), r

    def varies(r):
        return ("Vary", "Accept-Encoding") in r.headers

    for target, accept, key, kind, coding in [
        ("/a.css", "gzip, deflate, br", "a.css.br", "text/css", "br"),
        ("/a.css", "GZIP;q=0.8, br;q=0.0", "a.css.gz", "text/css", "gzip"),
        ("/a.css", "gzip;q=0, brx, xbr", "a.css", "text/css", None),
        ("/a.css", None, "a.css", "text/css", None),
        ("/a.css?x=.br", "", "a.css", "text/css", None),
        ("/b.css", "br", "b.css", "text/x-own", None),
        ("/b.css", "gzip", "b.css.gz", "text/css", "gzip"),
        # nginx's own compression, as the plain object is sent.
        ("/b.css", "gzip, br", "b.css", "text/x-own", "gzip"),
        ("/a.png", "br", "a.png", "image/png", None),
    ]:  # fmt: skip
        for _ in range(2):
            body, r = get(target, accept)
            assert body == f"the bytes of {key}".encode(), (target, accept)
            assert (r.get("Content-Type"), r.get("Content-Encoding")) == (kind, coding)
            assert varies(r) == ("png" not in target)
    keys = ["a.css.br", "a.css.gz", "a.css", "b.css.br", "b.css", "b.css.gz", "a.png"]
    assert asked(before_s3) == keys

    for accept, body in [("br", b"a.css.br"), ("", b".css")]:
        full = get("/a.css", accept)[1]
        last = {"Range": f"bytes=-{len(body)}"}
        assert get("/a.css", accept, 206, **last)[0] == body
        assert get("/a.css", accept, 200, Range="bytes=0-1,4-5")[1].body == full.body
        r = get("/a.css", accept, 304, **{"If-None-Match": full.get("ETag")})[1]
        assert varies(r)
    other = get("/a.css", "gzip")[1].get("ETag")
    assert get("/a.css", "br", 200, **{"If-Range": other, "Range": "bytes=2-"})[0] == b"the bytes of a.css.br"
    assert varies(get("/none.css", "br", 404)[1])
    assert get("/private/a.css", "br", 403) and asked(before_s3) == ["none.css.br", "none.css"]


def test_clean_urls(run, s3, before_s3, origin):
    for key in ("site/about.html", "site/v1.2/notes.html", "site/a b.html"):
        s3.put("signed-example", key, key.encode())
    for merge in ("on", "off"):
        slashes = ("server {", f"server {{ merge_slashes {merge};")
        n = run("clean-urls.conf", before_s3.url, [SIGNED, slashes])
        for target, status, seen in [
            ("/", 200, b"home"),
            ("/about?a=b", 200, b"site/about.html"),
            ("/v1.2/notes", 200, b"site/v1.2/notes.html"),
            ("/page.html", 200, b"page"),
            ("/docs", 200, b"docs"),
            ("/docs/", 200, b"docs"),
            ("/about/?a=b", 301, "/about?a=b"),
            ("/a%20b/", 301, "/a%20b"),
            ("/a%0D%0AX:%20y/", 301, "/a%0D%0AX:%20y"),
            ("/none/", 301, "/none"),
            ("/none", 404, None),
            ("/none.png", 404, None),
            ("//other.example/", 404 if merge == "off" else 301, "/other.example"),
        ]:
            r = n.get(target)
            assert r.status == status, (target, merge)
            assert seen in (None, r.body, r.get("Location")) or status == 404, (target, r)
            assert r.get("X") is None
    asked(before_s3)
    assert n.get("/none/").status == 301 and n.get("/none").status == 404
    assert asked(before_s3) == [f"site/{key}" for key in ("none/index.html", "none.html", "none/index.html")]
    # An access rule as its comment has it.
    rule = ("location / {", "location /docs { deny all; }\nlocation / {")
    n = run("clean-urls.conf", before_s3.url, [SIGNED, rule])
    targets = ("/docs", "/docs/", "/docs.html", "/docs/index.html", "/docs/index", "//docs", "/x/../docs", "/%64ocs")
    assert [n.get(target).status for target in targets] == [403] * len(targets)
    assert n.get("/about").status == 200 and asked(before_s3) == ["site/about.html"]
    # For AWS, a backslash is a byte of a key.
    origin.answer = lambda r: (404, [], b"")
    aws = ("server {", f"upstream aws {{ server 127.0.0.1:{origin.port}; }}\nserver {{ merge_slashes off;")
    n = run("clean-urls.conf", "http://s3.eu-central-1.amazonaws.com upstream=aws", [aws])
    for target in ("/%5Cother.example/", "/a%5C/", "//other.example/"):
        r = n.get(target)
        assert (r.status, r.get("Location")) == (404, None), target


def test_redirects(run, s3, before_s3):
    s3.put("signed-example", "site/old.html", b"moved")
    serve = before_s3.answer

    def as_aws(r):
        # SeaweedFS does not keep it.
        status, headers, body = serve(r)
        is_old = status == 200 and r.target.endswith("/old.html")
        return status, [*headers, *[("x-amz-website-redirect-location", "/site/docs/new.html")] * is_old], body

    before_s3.answer = as_aws
    n = run("redirects.conf", before_s3.url, [SIGNED])
    for _ in range(2):
        r = n.get("/old.html")
        assert (r.status, r.get("Location")) == (301, "/docs/new.html")
        assert r.get("Cache-Control") == "max-age=600" and b"moved" not in r.body
        assert (n.get("/docs").status, n.get("/docs").get("Location")) == (301, "./docs/")
        assert n.get("/docs/").body == b"docs"
    assert asked(before_s3) == ["site/old.html", "site/docs", "site/docs/index.html"]


def test_google_cloud(run, before_s3):
    google = {"Cache-Control": "private, max-age=0", "Expires": MODIFIED, "Alt-Svc": 'h3=":443"',
              "X-GUploader-UploadID": "a", "x-goog-generation": "1", "x-goog-metageneration": "1",
              "x-goog-stored-content-encoding": "identity", "x-goog-stored-content-length": "14",
              "x-goog-hash": "crc32c=a", "x-goog-storage-class": "STANDARD"}  # fmt: skip
    s3 = before_s3.answer

    def answer(recorded):
        status, headers, body = s3(recorded)
        return status, headers + list(google.items()), body

    before_s3.answer = answer
    n = run("google-cloud.conf", replace=[SIGNED, ("https://storage.googleapis.com", before_s3.url)])
    for _ in range(3):
        r = n.get("/index.html")
        assert (r.body, r.get("Cache-Control")) == (b"<h1>index</h1>", "max-age=3600")
        seen = {k.lower(): v for k, v in r.headers}
        assert {k for k in google if k.lower() in seen} == {"Cache-Control", "Expires"}
        assert seen["expires"] != MODIFIED
    assert [n.get("/none").status for _ in range(2)] == [404, 404]
    assert "/auto/s3/aws4_request" in before_s3.last().get("Authorization")
    assert asked(before_s3) == ["index.html", "none"]


def test_refresh(run, s3, before_s3):
    here = [SIGNED, ("192.0.2.0/24", "127.0.0.1/32")]
    n, other = run("refresh.conf", before_s3.url, here), run("refresh.conf", before_s3.url, here[:1])
    reload = {"Cache-Control": "no-cache", "Pragma": "no-cache"}
    forged = reload | {"X-Forwarded-For": "192.0.2.1", "X-Real-IP": "192.0.2.1"}

    def get(n, headers=()):
        r = n.get("/refreshed.txt", headers=headers)
        return r.status, r.body, r.get("X-Cache-Status")

    s3.put("signed-example", "refreshed.txt", b"old")
    for server in (n, other):
        assert get(server) == (200, b"old", "MISS")
    s3.put("signed-example", "refreshed.txt", b"new text")
    assert get(n) == get(other, forged) == (200, b"old", "HIT")
    assert get(n, {"Cache-Control": "max-age=0"}) == (200, b"old", "HIT")
    # What is fetched anew is the whole object, whatever part of it the browser wants.
    ranged = {"Range": "bytes=1-2", "If-None-Match": '"x"'}
    assert get(n, reload | ranged) == (206, b"ew", "BYPASS")
    assert before_s3.last().get("Range") is before_s3.last().get("If-None-Match") is None
    assert get(n) == (200, b"new text", "HIT")
    # A fault takes nothing out of the cache.
    before_s3.answer = lambda r: (500, [], b"")
    assert get(n, {"cache-control": "max-age=0, No-Cache"})[::2] == (500, "BYPASS")
    assert get(n) == (200, b"new text", "HIT")


def tokens(recorded):
    """A service that knows users by their token: "Bearer ann" is ann."""
    scheme, _, user = (recorded.get("Authorization") or "").partition(" ")
    return (204, [("X-User", user)], b"") if scheme == "Bearer" else (401, [], b"")


def test_tenants(run, s3, before_s3, origin):
    for key in ("tenants/ann/a.txt", "tenants/bob/a.txt", "tenants/a.txt", "tenants//a.txt", "a.txt"):
        s3.put("signed-example", key, key.encode())
    origin.answer = tokens
    n = run("tenants.conf", before_s3.url, [SIGNED, ("127.0.0.1:9000", f"127.0.0.1:{origin.port}")])

    def get(user, target="/files/a.txt", **headers):
        return n.get(target, headers={"Authorization": f"Bearer {user}", "X-User": "bob", **headers})

    for _ in range(2):
        for user in ("ann", "bob"):
            r = get(user)
            assert r.body == f"tenants/{user}/a.txt".encode()
            assert r.get("Cache-Control") == "private, no-cache"
    assert get("eve").status == 404
    assert asked(before_s3) == [f"tenants/{user}/a.txt" for user in ("ann", "bob", "eve")]
    assert get("eve", **{"If-None-Match": get("ann").get("ETag")}).status == 404
    asked(before_s3)

    for user in ("", "ann/", "ann/../bob", "..", ".", "/", "ann%2f", "Ann", "ann bob", "-", "ann\\bob"):
        assert get(user).status == 404, user
    for target in ("/files/../bob/a.txt", "/files/..%2Fbob/a.txt", "/auth", "/files/%2e%2e/bob/a.txt"):
        assert get("ann", target).status == 404, target
    assert [r.status for r in map(get, ["ann"], ["/files/..%5Cbob/a.txt"])] == [400]
    assert n.get("/files/a.txt", headers={"X-User": "ann"}).status == 401
    origin.answer = lambda r: (204, [], b"")
    assert get("ann").status == 404
    origin.answer = lambda r: (503, [("X-User", "ann")], b"")
    assert get("ann").status == 500
    assert asked(before_s3) == []
    assert 'the prefix "tenants//" has an empty segment' in n.error_log()
    assert origin.last().get("X-Original-URI") == "/files/a.txt"


def oauth2_proxy(recorded):
    """Knows one session, and gives it another cookie."""
    path = recorded.target.partition("?")[0]
    if path == "/oauth2/auth":
        signed_in = recorded.get("Cookie") == "_oauth2_proxy=ann"
        return (202, [("Set-Cookie", "_oauth2_proxy=ann2; HttpOnly")], b"") if signed_in else (401, [], b"no")
    if path == "/oauth2/start":
        return 302, [("Location", "https://id.example/"), ("Set-Cookie", "_oauth2_proxy_csrf=1")], b""
    return 404, [], b""


def test_oauth2(run, before_s3, origin):
    origin.answer = oauth2_proxy
    s3 = before_s3.answer

    def public(recorded):
        status, headers, body = s3(recorded)
        return status, [*headers, ("Cache-Control", "public, max-age=9"), ("Set-Cookie", "evil=1")], body

    before_s3.answer = public
    n = run("oauth2.conf", before_s3.url, [SIGNED, ("127.0.0.1:4180", f"127.0.0.1:{origin.port}")])
    ann = {"Cookie": "_oauth2_proxy=ann"}

    def stranger(target, **kw):
        r = n.get(target, **kw)
        assert (r.status, r.get("Location")) == (302, "https://id.example/"), target
        assert r.get("Set-Cookie") == "_oauth2_proxy_csrf=1"
        assert origin.last().get("X-Auth-Request-Redirect") == target

    stranger("/images/cat.png?a=b&c=d")
    stranger("/none", headers={"Cookie": "_oauth2_proxy=eve", "X-Auth-Request-Redirect": "https://evil.example/"})
    assert asked(before_s3) == []
    for target, status in [("/images/cat.png", 200), ("/images/cat.png", 200), ("/none", 404)]:
        r = n.get(target, headers=ann)
        assert r.status == status and [v for k, v in r.headers if k == "Set-Cookie"] == [
            "_oauth2_proxy=ann2; HttpOnly"]  # fmt: skip
        assert [v for k, v in r.headers if k == "Cache-Control"] == ["private, no-cache"]
    assert [r.get("Cookie") for r in before_s3.requests] == [None, None]
    assert asked(before_s3) == ["images/cat.png", "none"]
    # What is in nginx's cache is for those who are signed in.
    stranger("/images/cat.png")
    stranger("/images/cat.png", method="POST", body=b"x")
    assert n.get("/oauth2/auth", headers=ann).status == 404
    for status in (500, 403):
        origin.answer = lambda r, status=status: (status, [], b"")
        assert n.get("/images/cat.png", headers=ann).status == status
    assert asked(before_s3) == []


def test_signed_links(run, s3, before_s3, tmp_path):
    s3.put("signed-example", "a b.pdf", b"pdf")
    log = tmp_path / "files.log"
    n = run("signed-links.conf", before_s3.url, [SIGNED, (PLACEHOLDER, "tulip"), ("/var/log/nginx/files.log", log)])

    def link(path, expires, secret="tulip"):
        digest = hashlib.md5(f"{expires}{path} {secret}".encode()).digest()
        md5 = base64.urlsafe_b64encode(digest).decode().rstrip("=")
        return f"{encode(path)}?expires={expires}&md5={md5}"

    later = int(time.time()) + 1000
    good, later_still = link("/files/a b.pdf", later), link("/files/a b.pdf", later + 1)
    assert n.get(good.replace("%20", "%20%00")).status == 400
    for target, status in [
        (good, 200),
        (later_still, 200),
        ("/files/x/../a%20b.pdf" + good[len("/files/a%20b.pdf"):], 200),
        (f"{good}&versionId=1&md5=x&acl", 200),
        (link("/files/a b.pdf", later - 2000), 410),
        (link("/files/a b.pdf", later, "rose"), 403),
        (link("/files/a b.pdf", later, ""), 403),
        (link("/files/other.pdf", later).replace("other.pdf", "a%20b.pdf"), 403),
        (good.replace("expires=", "expires=1"), 403),
        (link("/files/a b.pdf", ""), 403),
        (link("/files/a b.pdf", 0), 403),
        (good.split("&md5")[0], 403),
        (good.replace("expires", "expire"), 403),
        ("/files/a%20b.pdf", 403),
        ("/files/a%20b.pdf?", 403),
        (good.replace("/files/", "/files/other/"), 403),
    ]:
        r = n.get(target)
        assert r.status == status, target
        assert r.body == b"pdf" or status != 200
    assert n.get(good, method="POST").status == 405
    assert [r.target for r in before_s3.requests] == ["/signed-example/a%20b.pdf"]
    lines = wait_until(lambda: len(t := log.read_text().splitlines()) == 18 and t, "the log")
    assert '"GET /files/a b.pdf" 200 3' in lines[1] and "md5" not in log.read_text()


def test_health(run, s3, before_s3, tmp_path):
    s3.put("signed-example", "health.txt", b"healthy")
    # Caching that the site has anyway is not asked.
    cached = f"""proxy_cache_path {tmp_path}/z keys_zone=z:1m;
        server {{ proxy_cache z; proxy_cache_valid any 1h;"""
    here = [SIGNED, ("192.0.2.0/24", "127.0.0.1"), ("server {", cached)]
    n = run("health.conf", before_s3.url, here)
    assert n.get("/health.txt").body == b"healthy"
    asked(before_s3)
    for _ in range(2):
        assert (n.get("/readyz").status, n.get("/livez").body) == (200, b"alive\n")
    assert asked(before_s3) == ["health.txt"] * 2
    answer, stalled = before_s3.answer, threading.Event()
    for status, seen in [(404, 404), (403, 404), (500, 500), (503, 503), (401, 502)]:
        before_s3.answer = lambda r, status=status: (status, [], b"")
        assert (n.get("/readyz").status, n.get("/livez").status) == (seen, 200), status
    before_s3.answer = lambda r: (stalled.wait(30), answer(r))[1]
    assert n.get("/readyz").status == 504
    stalled.set()
    assert n.get("/readyz").body == b"healthy"
    here[2] = ("server {", "server {")
    down = run("health.conf", f"http://127.0.0.1:{free_port()}", here)
    assert (down.get("/readyz").status, down.get("/livez").status) == (502, 200)
    before_s3.requests.clear()
    assert run("health.conf", before_s3.url, [SIGNED]).get("/readyz").status == 403
    assert asked(before_s3) == [] and "readyz" not in n.access_log()


def test_metrics(run, s3):
    port = free_port()
    here = [SIGNED, ("listen 9145", f"listen 127.0.0.1:{port}")]
    n = run("metrics.conf", replace=here)
    assert [n.get(target).status for target in ("/index.html", "/style.css", "/none")] == [200, 200, 404]
    text = request(port, "/metrics").body.decode()
    families = {family.name: family.samples for family in text_string_to_metric_families(text)}
    counted = {(*sample.labels.values(), sample.value) for sample in families["s3_private_bucket_answers"]}
    assert counted == {("signed-example", "2xx", "", 2), ("signed-example", "4xx", "NoSuchKey", 1)}
    assert families["s3_private_bucket_signatures"][0].value == 3
    # Clients of the site find an object of that name, or none; whoever is not of the network, nothing.
    assert (n.get("/metrics").status, request(port, "/").status) == (404, 404)
    n.stop()
    run("metrics.conf", replace=[*here, ("allow  127.0.0.1", "allow  127.0.0.2")])
    assert request(port, "/metrics").status == 403


def test_fleet(run, s3, before_s3):
    """Three members, on one address with a port each."""
    ports = [free_port() for _ in range(3)]
    here = [SIGNED, *((f"192.0.2.1{i + 1}:8080", f"127.0.0.1:{port}") for i, port in enumerate(ports))]
    here += [(f"allow  192.0.2.1{i + 1};", "allow  127.0.0.1;") for i in range(3)]
    members = [run("fleet.conf", before_s3.url, [("listen 8080", f"listen 127.0.0.1:{port}"), *here])
               for port in ports]  # fmt: skip
    keys = [f"fleet/{i}" for i in range(40)]
    for key in keys:
        s3.put("signed-example", key, key.encode())

    def get_all(members):
        for n in members:
            for key in keys:
                assert n.get(f"/{key}?x=1").body == key.encode()
        return sorted(asked(before_s3))

    assert get_all(members) == sorted(keys)
    spelt = members[0].get("/%66leet//0", headers={"Range": "bytes=1-3"})
    assert (spelt.status, spelt.body) == (206, b"lee")
    for method, target, status in [("GET", "/none", 404), ("POST", "/fleet/0", 405), ("GET", "/a%5Cb", 400)]:
        assert {n.get(target, method=method).status for n in members} == {status}
    assert asked(before_s3) == ["none"]
    members[1].stop()
    moved = get_all([members[0], members[2]])
    assert 0 < len(moved) < 30 and len(set(moved)) == len(moved)
    strangers = [("allow  127.0.0.1;", "allow  127.0.0.2;")]
    lone = run("fleet.conf", before_s3.url, [("listen 8080", f"listen 127.0.0.1:{ports[1]}"), *here, *strangers])
    assert request(ports[1], "/fleet/0").status == 403
    lone.stop()
    assert asked(before_s3) == []


def test_images(run, s3, before_s3):
    s3.put("signed-example", "images/gradient a.png", png(600), "image/png")
    s3.put("signed-example", "images/text.png", b"no image", "image/png")
    port = free_port()
    n = run("images.conf", before_s3.url, [SIGNED, ("127.0.0.1:8081", f"127.0.0.1:{port}")],
            top=f"load_module {module('ngx_http_image_filter_module.so')};")  # fmt: skip

    def width(target, **kw):
        r = n.get(target, **kw)
        assert (r.status, r.get("Content-Type")) == (200, "image/png"), r
        return struct.unpack(">II", r.body[16:24])

    for _ in range(2):
        for w in (200, 400):
            assert width(f"/gradient%20a.png?w={w}&x={_}&acl") == (w, w)
    # No image is made larger.
    assert width("/gradient%20a.png?w=800") == (600, 600)
    assert asked(before_s3) == ["images/gradient%20a.png"] * 3
    cached = n.get("/gradient%20a.png?w=200")
    part = n.get("//gradient%20a.png?w=200", headers={"Range": "bytes=1-3", "Accept": "*/*"})
    assert (part.status, part.body) == (206, cached.body[1:4])
    assert n.get("/gradient%20a.png?w=200", method="HEAD").get("Content-Length") == str(len(cached.body))
    for query in ("", "?w=", "?w=201", "?w=0200", "?w=200%20", "?w=-", "?w=200,400", "?W=", "?w=300&w=200"):
        assert n.get(f"/gradient%20a.png{query}").status == 404, query
        assert request(port, f"/gradient%20a.png{query}").status in (404, 415), query
    asked(before_s3)
    for target, status, key in [("/none.png", 404, "none.png"), ("/text.png", 415, "text.png")]:
        assert [n.get(f"{target}?w=200").status for _ in range(2)] == [status] * 2
        assert asked(before_s3) == [f"images/{key}"]
    assert n.get("/a%0d%0aX:%20y?w=200").status == 404
    assert n.get("/a%5Cb?w=200").status == 400
    assert n.get("/gradient%20a.png?w=200", method="POST").status == 405
    # No fault is cached.
    s3_answer = before_s3.answer
    for status, seen in [(500, 500), (503, 503), (401, 502), (403, 404)]:
        before_s3.answer = lambda r, status=status: (status, [], b"")
        assert n.get(f"/{status}.png?w=200").status == seen
        if status != 403:
            assert n.get("/later.png?w=200").status == seen
    before_s3.answer = s3_answer
    s3.put("signed-example", "images/later.png", png(300), "image/png")
    assert width("/later.png?w=200") == (200, 200)
    # What a client has of a small image, and wants, is no part of the large one.
    first = n.get("/later.png?w=400", headers={"Range": "bytes=0-15", "If-Modified-Since": MODIFIED})
    assert (first.status, first.body) == (206, n.get("/later.png?w=400").body[:16])
    assert before_s3.last().get("Range") is before_s3.last().get("If-Modified-Since") is None


def test_policies(s3, objects):
    """With the header and the address, and with the header alone."""
    for name in ("bucket-policy.json", "bucket-policy-header-only.json"):
        s3.put_policy("example-bucket", policy(name, "example-bucket", "open-sesame"))
        for agent, status in [("open-sesame", 200), ("OPEN-SESAME", 403), ("", 403)]:
            r = request(s3.port, "/example-bucket/index.html", headers={"User-Agent": agent})
            assert r.status == status, (name, agent)
    elsewhere = policy("bucket-policy.json", "example-bucket", "open-sesame")
    elsewhere["Statement"][0]["Condition"]["IpAddress"]["aws:SourceIp"] = ["203.0.113.10/32"]
    s3.put_policy("example-bucket", elsewhere)
    headers = {"User-Agent": "open-sesame"}
    assert request(s3.port, "/example-bucket/index.html", headers=headers).status == 403
