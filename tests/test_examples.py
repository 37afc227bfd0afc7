"""Every file of nginx-conf/ is started, and serves from a real S3 server as it says."""

import base64
import gzip
import json
import urllib.parse

import pytest
from examples import CONF, ROLE, credentials, example, iam, policy
from harness import Recorder, SeaweedFS, allow, request, tells, wait_until
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
    "sigv4.conf", "presigned.conf", "iam-policy.json", "bucket-policy.json", "bucket-policy-header-only.json",
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

    def start(name, endpoint=None, replace=()):
        n = example(tmp_path / f"{len(started)}-{name}", name, endpoint or s3.url, secrets, replace)
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
