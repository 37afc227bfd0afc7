"""What is counted, as text that Prometheus's own parser reads."""

import re
import socket
import ssl
import struct

import pytest
from harness import HTTP2, Nginx, Recorder, frame, header_field, request, starter, tiny_s3, wait_until
from prometheus_client.parser import text_string_to_metric_families
from test_connections import make, tls, trust  # noqa: F401
from test_credentials import imds, instance, s3  # noqa: F401

STATUS = "location = /status { s3_private_bucket_status; }"
BUCKET = "location / { s3_private_bucket example-bucket; }"
TEXT = "text/plain; version=0.0.4"
PREFIX = "s3_private_bucket_"


def read(n, target="/status", **kw):
    """The samples of a status page: by name behind the prefix and labels."""
    r = n.get(target, **kw)
    assert (r.status, r.get("Content-Type"), r.get("Cache-Control")) == (200, TEXT, "no-store")
    samples = {}
    for family in text_string_to_metric_families(r.body.decode()):
        assert family.documentation and family.type in ("counter", "gauge")
        for sample in family.samples:
            assert sample.name.startswith(PREFIX)
            key = (sample.name.removeprefix(PREFIX), *sample.labels.values())
            assert key not in samples
            samples[key] = sample.value
    return samples


def answers(n, **kw):
    """The answers by bucket, class and code."""
    return {key[1:]: value for key, value in read(n, **kw).items() if key[0] == "answers_total"}


def error(status, code):
    return status, [], b"<Error><Code>%s</Code></Error>" % (code if isinstance(code, bytes) else code.encode())


def by_key():
    """What a Recorder answers: an error for a key that names one, as "404-NoSuchKey"."""

    def answer(r):
        if found := re.search(r"/(\d\d\d)-?(\w*)", r.target):
            return error(int(found[1]), found[2]) if found[2] else (int(found[1]), [], b"")
        return tiny_s3(r)

    return answer


def test_what_s3_answers_is_counted(nginx, origin):
    origin.answer = by_key()
    n = nginx(BUCKET + STATUS)
    assert answers(n) == {}
    for target, count in [("/a", 3), ("/404-NoSuchKey", 2), ("/403-AccessDenied", 1), ("/503-SlowDown", 1),
                          ("/404", 1), ("/301-PermanentRedirect", 1), ("/500-MadeUp1", 1), ("/700", 1)]:  # fmt: skip
        for _ in range(count):
            n.get(target)
    n.get("/a", headers={"Range": "bytes=1-2"})
    n.get("/a", headers={"If-None-Match": '"tag"'})
    n.get("/a", method="HEAD")
    n.get("/404-NoSuchKey", method="HEAD")
    # What is not sent to S3 is no answer of it.
    assert (n.get("/a", method="POST").status, n.get("/%00").status) == (405, 400)
    assert answers(n) == {
        ("example-bucket", "2xx", ""): 5, ("example-bucket", "3xx", ""): 1,
        ("example-bucket", "4xx", "NoSuchKey"): 2, ("example-bucket", "4xx", "AccessDenied"): 1,
        ("example-bucket", "4xx", ""): 2, ("example-bucket", "5xx", "SlowDown"): 1,
        ("example-bucket", "3xx", "PermanentRedirect"): 1, ("example-bucket", "5xx", "MadeUp1"): 1,
        ("example-bucket", "other", ""): 1,
    }  # fmt: skip
    found = read(n)
    assert found["connections_total", "new"] + found["connections_total", "kept"] == len(origin.requests)
    assert found["connections_total", "new"] == origin.connections
    assert (found["signatures_total",], found["tls_handshakes_total", "full"]) == (0, 0)


def test_errors_that_clients_see_have_a_class(nginx, origin):
    origin.answer = by_key()
    n = nginx(BUCKET.replace("{", "{ s3_private_bucket_errors pass;") + STATUS)
    assert [n.get(target).status for target in ("/404-NoSuchKey", "/503-SlowDown")] == [404, 503]
    assert answers(n) == {("example-bucket", "4xx", ""): 1, ("example-bucket", "5xx", ""): 1}


def test_the_cache_answers_by_itself(nginx, origin, tmp_path):
    n = nginx(
        """location / { s3_private_bucket example-bucket; proxy_cache c; proxy_cache_valid 200 404 1h;
            proxy_cache_bypass $arg_again; proxy_cache_use_stale error timeout http_503; }
        location /stale/ { s3_private_bucket stale-bucket; proxy_cache c; proxy_cache_valid 200 1s;
            proxy_cache_revalidate on; proxy_cache_use_stale http_503 updating; proxy_cache_background_update on; }
        """ + STATUS,
        http=f"proxy_cache_path {tmp_path}/cache keys_zone=c:1m;",
    )  # fmt: skip
    origin.answer = by_key()
    for _ in range(3):
        assert (n.get("/a").status, n.get("/404-NoSuchKey").status) == (200, 404)
    first = {("example-bucket", "2xx", ""): 1, ("example-bucket", "4xx", "NoSuchKey"): 1}
    assert answers(n) == first
    assert n.get("/a?again=1").status == 200
    first["example-bucket", "2xx", ""] = 2
    assert answers(n) == first
    # Stale: a background update is a request of its own, which S3 answers with 304.
    assert n.get("/stale/a").status == 200
    wait_until(lambda: n.get("/stale/a").status == 200 and ("stale-bucket", "3xx", "") in answers(n), "an update")
    found = answers(n)
    assert found["stale-bucket", "2xx", ""] == 1
    assert found["stale-bucket", "3xx", ""] == sum(bool(r.get("If-None-Match")) for r in origin.requests)
    assert sum(found.values()) == len(origin.requests)


def test_each_try_counts(tmp_path, secret):
    """nginx asks another server after a 503, and both have answered."""
    first, second = Recorder(lambda r: error(503, "SlowDown")), Recorder()
    http = f"""upstream both {{ server 127.0.0.1:{first.port}; server 127.0.0.1:{second.port} backup; }}
        s3_private_bucket_endpoint http://s3.example.com upstream=both;
        s3_private_bucket_auth secret {secret};"""
    server = BUCKET.replace("{", "{ proxy_next_upstream http_503;") + STATUS
    with Nginx(tmp_path / "n", server, http) as n:
        assert n.get("/a").status == 200
        assert answers(n) == {("example-bucket", "2xx", ""): 1, ("example-bucket", "5xx", "SlowDown"): 1}
    first.close(), second.close()


def test_a_part_of_another_version_is_an_answer_too(nginx, origin):
    """What is asked for as a whole then is answered twice."""
    n = nginx(BUCKET + STATUS)
    r = n.get("/a", headers={"Range": "bytes=1-2", "If-Range": '"old"'})
    assert (r.status, len(origin.requests)) == (200, 2)
    assert answers(n) == {("example-bucket", "2xx", ""): 2}


def test_slices_and_listings_count(nginx, origin, tmp_path):
    page = b"""<?xml version="1.0" encoding="UTF-8"?><ListBucketResult><Name>example-bucket</Name><Prefix></Prefix>
        <IsTruncated>false</IsTruncated><Contents><Key>a</Key><Size>1</Size>
        <LastModified>2026-11-02T10:00:00.000Z</LastModified></Contents></ListBucketResult>"""
    origin.answer = lambda r: (200, [], page) if "list-type" in r.target else tiny_s3(r)
    n = nginx(
        """location / { s3_private_bucket example-bucket; s3_private_bucket_autoindex html; }
        location /slices/ { slice 4; proxy_cache c; proxy_cache_valid 200 206 1h; s3_private_bucket sliced-bucket; }
        """ + STATUS,
        http=f"proxy_cache_path {tmp_path}/cache keys_zone=c:1m;",
    )  # fmt: skip
    assert b"a" in n.get("/").body
    assert [n.get("/slices/a").body for _ in range(2)] == [b"0123456789"] * 2
    assert answers(n) == {("example-bucket", "2xx", ""): 1, ("sliced-bucket", "2xx", ""): 3}


def test_signatures_are_counted(nginx, origin):
    n = nginx(f"""
        location / {{ s3_private_bucket example-bucket; {STATUS}
            s3_private_bucket_auth sigv4 access_key_id=AKIDEXAMPLE secret_access_key=data:hush-secret; }}
        location /secret/ {{ s3_private_bucket example-bucket; }}""")
    for target in ("/a", "/b", "/secret/c"):
        assert n.get(target).status == 200
    assert read(n)["signatures_total",] == 2


# --- processes -----------------------------------------------------------------------------


def test_counts_stay_over_reloads(nginx, origin):
    n = nginx(BUCKET + STATUS)
    for round in range(1, 4):
        assert n.get("/a").status == 200
        assert answers(n) == {("example-bucket", "2xx", ""): round}
        n.reload()
    assert answers(n) == {("example-bucket", "2xx", ""): 3}
    conf = n.dir / "nginx.conf"
    text = conf.read_text()
    # Another bucket does not take the place of the first one.
    conf.write_text(text.replace("s3_private_bucket example-bucket", "s3_private_bucket other-bucket"))
    n.reload()
    assert n.get("/a").status == 200
    assert answers(n) == {("example-bucket", "2xx", ""): 3, ("other-bucket", "2xx", ""): 1}
    conf.write_text(text.replace("s3_private_bucket_status", "return 204"))
    n.reload()
    assert (n.get("/a").status, n.get("/status").status) == (200, 204)
    conf.write_text(text)
    n.reload()
    assert answers(n) == {}, "without the directive there was no memory"


def test_workers_add_up(tmp_path, secret):
    origin = Recorder()
    http = f"s3_private_bucket_endpoint {origin.url}; s3_private_bucket_auth secret {secret};"
    # Each worker has a port of its own, which tells it.
    server = BUCKET.replace("{", "{ add_header X-Pid $pid;") + STATUS
    n = Nginx(tmp_path / "n", server, http, listen="reuseport")
    conf = n.dir / "nginx.conf"
    conf.write_text(conf.read_text().replace("worker_processes 1", "worker_processes 2"))
    with n:
        seen, count = set(), 0
        while len(seen) < 2 or count < 40:
            seen.add(n.get("/a").get("X-Pid"))
            count += 1
            assert count < 2000
        assert answers(n) == {("example-bucket", "2xx", ""): count}
        found = read(n)
        assert found["connections_total", "new"] == origin.connections
        assert found["connections_total", "kept"] == count - origin.connections
    origin.close()


def shared(n):
    """How much memory the worker shares, in bytes."""
    (worker,) = wait_until(n.workers, "a worker")
    lines = open(f"/proc/{worker}/maps").read().splitlines()
    spans = [line.split()[0].split("-") for line in lines if "/dev/zero" in line]
    return sum(int(end, 16) - int(start, 16) for start, end in spans)


def test_without_it_there_is_nothing(nginx):
    without, shown = nginx(BUCKET), nginx(BUCKET + STATUS)
    assert (without.get("/a").status, shown.get("/a").status) == (200, 200)
    assert shared(shown) - shared(without) == 1 << 20
    for n in (without, shown):
        assert "s3_private_bucket" not in n.error_log() and "zone" not in n.error_log()
        assert n.check()[1].count("\n") == 2


# --- bounds --------------------------------------------------------------------------------


def test_what_clients_ask_for_is_bounded(nginx, origin):
    origin.answer = lambda r: error(404, "NoSuchBucket") if r.target.startswith("/none") else tiny_s3(r)
    n = nginx("location ~ ^/b/([^/]*)/(.*)$ { s3_private_bucket $1; s3_private_bucket_key $2; }"
              "location /own/ { s3_private_bucket tenant-1; }" + STATUS)  # fmt: skip
    for i in range(100):
        assert n.get(f"/b/none-{i}/a").status == 502
    assert answers(n) == {("(other)", "4xx", "NoSuchBucket"): 100}
    for i in range(100):
        assert n.get(f"/b/tenant-{i}/a").status == 200
    assert n.get("/own/a").status == 200
    found = answers(n)
    assert (len(found), found["(other)", "2xx", ""], found["tenant-1", "2xx", ""]) == (66, 36, 2)
    assert n.get("/b/No%22/a").status == 404
    assert answers(n) == found


def test_what_servers_say_is_bounded(nginx, origin):
    codes = [b'a"b', b"a\\b", b"a\nb", b"x" * 65, b"x" * 3000, b"\xff\xfe", b"a{b}", "é".encode(), b""]
    sent = iter(codes + [b"Code%d" % i for i in range(100)] + [b"NoSuchKey"])
    origin.answer = lambda r: error(404, next(sent))
    n = nginx(BUCKET + STATUS)
    for _ in range(len(codes) + 101):
        n.get("/a")
    found = answers(n)
    assert sum(found.values()) == len(codes) + 101
    labels = {code for _, _, code in found}
    assert labels == {"", "other", "NoSuchKey", *(f"Code{i}" for i in range(32))}
    # What has not the form of a code is none.
    assert [found["example-bucket", "4xx", code] for code in ("", "other", "NoSuchKey")] == [len(codes), 68, 1]


# --- what is asked for it ------------------------------------------------------------------


def test_methods(nginx):
    n = nginx(BUCKET + STATUS + "location = /fallback { error_page 405 /status; return 405; }")
    whole = n.get("/status")
    head = n.get("/status", method="HEAD")
    assert (head.status, head.body, head.get("Content-Type")) == (200, b"", TEXT)
    assert head.get("Content-Length") == str(len(whole.body))
    for method in ("POST", "PUT", "DELETE", "OPTIONS", "PROPFIND"):
        r = n.get("/status", method=method, body=b"x" * 100_000)
        assert (r.status, r.get("Allow")) == (405, "GET, HEAD")
    assert n.get("/status", body=b"x" * 100_000).body == whole.body
    # Conditions find no validator; a connection lives on behind an answer without a body.
    assert n.get("/status", headers={"If-None-Match": '"a"', "Range": "bytes=0-1"}).body == whole.body
    assert n.get("/status", headers={"If-None-Match": "*"}).status in (200, 304)
    assert n.get("/fallback").status == 405 and n.get("/fallback").body == whole.body


def test_it_is_a_location_as_others_are(nginx, tmp_path):
    n = nginx(BUCKET + STATUS + """
        location = /limited { s3_private_bucket_status; limit_except GET { deny all; } }
        location = /if { s3_private_bucket_status; if ($arg_x) { set $y 1; } }
        location = /denied { s3_private_bucket_status; deny all; }
        location = /page { ssi on; default_type text/html; root %s; }""" % tmp_path)  # fmt: skip
    (tmp_path / "page").write_text('before <!--#include virtual="/status" --> behind')
    page = n.get("/page").body
    assert (page[:7], page[-7:]) == (b"before ", b" behind") and b"signatures_total 0" in page
    assert n.get("/limited").get("Content-Type") == TEXT
    assert (n.get("/limited", method="POST").status, n.get("/denied").status) == (403, 403)
    assert {n.get(target).get("Content-Type") for target in ("/if", "/if?x=1")} == {TEXT}


def test_head_over_http2(tmp_path, origin, secret):
    http = f"s3_private_bucket_endpoint {origin.url}; s3_private_bucket_auth secret {secret};"
    with Nginx(tmp_path / "n", STATUS, http, listen="http2") as n:
        fields = [(":method", "HEAD"), (":scheme", "http"), (":path", "/status"), (":authority", "a")]
        block = b"".join(header_field(*field) for field in fields)
        with socket.create_connection(("127.0.0.1", n.port), 10) as s, s.makefile("rb") as f:
            s.sendall(HTTP2 + frame(4, 0, 0, b"") + frame(1, 5, 1, block))
            while True:
                head = f.read(9)
                length, kind, flags = struct.unpack(">I", b"\0" + head[:3])[0], head[3], head[4]
                f.read(length)
                if kind in (0, 1):
                    break
        assert (kind, flags & 1) == (1, 1), "the header ends the response"


# --- what is in it -------------------------------------------------------------------------


def test_no_key_and_no_secret_is_in_it(nginx, origin):
    origin.answer = by_key()
    n = nginx(f"""location / {{ s3_private_bucket example-bucket prefix=hidden-prefix/; {STATUS}
        s3_private_bucket_auth sigv4 access_key_id=AKIDEXAMPLE secret_access_key=data:hush-secret; }}""")
    for target in ("/hidden-key?hidden=arg", "/404-NoSuchKey/hidden-key"):
        n.get(target, headers={"User-Agent": "hidden-agent"})
    text = n.get("/status?hidden=1").body
    assert b"NoSuchKey" in text
    for hidden in (b"hidden", b"AKID", b"hush", b"127.0.0.1", str(origin.port).encode()):
        assert hidden not in text


def test_handshakes_are_full_or_resumed(make, ca, tls):  # noqa: F811
    origin = make.origin(tls, version=ssl.TLSVersion.TLSv1_2)
    origin.most = 1
    make.dns("127.0.0.1", ttl=60)
    n = make.nginx(origin.url, f"location / {{ s3_private_bucket example-bucket; {trust(ca)} }} {STATUS}")
    for _ in range(5):
        assert n.get("/a").status == 200
    found = read(n)
    count = {kind: found["tls_handshakes_total", kind] for kind in ("full", "resumed")}
    assert count == {"full": origin.resumed.count(False), "resumed": origin.resumed.count(True)}
    assert count["resumed"] >= 3 and found["connections_total", "new"] == 5
    origin.most = None
    for _ in range(5):
        assert n.get("/a").status == 200
    after = read(n)
    assert after["tls_handshakes_total", "resumed"] == count["resumed"] + 1
    assert after["connections_total", "kept"] == 4


def test_credentials(tmp_path, imds, s3):  # noqa: F811
    imds.faults = [(500, [], b"")]
    made = instance(imds, s3)
    made["server"] += STATUS
    with Nginx(tmp_path / "n", **made) as n:
        wait_until(lambda: n.get("/a").body == b"keys 1", "keys")
        found = read(n)
        assert 3500 < found["credentials_expiry_seconds", "instance"] <= 3600
        attempts = "credentials_refreshes_total"
        assert found[attempts, "instance", "success"] == imds.fetched() == 1
        assert found[attempts, "instance", "failure"] == 1
        assert found["signatures_total",] == len(s3.server.requests)
        imds.keys.number = 2
        s3.valid = [2]
        wait_until(lambda: n.get("/a").status == 200, "other keys")
        n.reload()
        found = read(n)
        assert (found[attempts, "instance", "success"], found[attempts, "instance", "failure"]) == (2, 1)
        assert found["answers_total", "example-bucket", "4xx", "ExpiredToken"] >= 1
        text = n.get("/status").body
        assert b"hush" not in text and b"ASIA" not in text and b"media" not in text


def test_credentials_of_files(tmp_path, origin):
    paths = [tmp_path / 'a"b', tmp_path / "plain"]
    for path in paths:
        path.touch(0o600)
        path.write_text("".join(f"[{name}]\naws_access_key_id = AKIDEXAMPLE\naws_secret_access_key = hush\n"
                                for name in ("default", "media")))  # fmt: skip
    server = "".join(
        f"""location /{i}/ {{ s3_private_bucket example-bucket;
            s3_private_bucket_auth sigv4 'file={path}' profile={profile}; }}"""
        for i, (path, profile) in enumerate((p, q) for p in paths for q in ("default", "media"))
    )
    with Nginx(tmp_path / "n", server + STATUS, f"s3_private_bucket_endpoint {origin.url};") as n:
        assert n.get("/0/a").status == 200
        names = {f"{path} profile={profile}" for path in paths for profile in ("default", "media")}
        found = read(n)
        attempts = {key[1:]: value for key, value in found.items() if key[0] == "credentials_refreshes_total"}
        assert set(attempts) == {(name, result) for name in names for result in ("success", "failure")}
        assert not any(key[0] == "credentials_expiry_seconds" for key in found), "they do not say"
        assert b"hush" not in n.get("/status").body


# --- the configuration ---------------------------------------------------------------------


OTHER_HANDLER = 'shares its location with another handler of requests (as "proxy_pass" is); give it one of its own'
BESIDE_A_BUCKET = 'shares its location with "s3_private_bucket"; give it one of its own'


@pytest.mark.parametrize(
    ("server", "message"),
    [
        ("s3_private_bucket_status;", "directive is not allowed here"),
        ("location / { s3_private_bucket_status on; }", 'invalid number of arguments in "s3_private_bucket_status"'),
        ("location / { if ($arg_x) { s3_private_bucket_status; } }", "directive is not allowed here"),
        ("location / { s3_private_bucket_status; s3_private_bucket_status; }", "directive is duplicate"),
        ("location / { s3_private_bucket_status; proxy_pass http://127.0.0.1; }", OTHER_HANDLER),
        ("location / { proxy_pass http://127.0.0.1; s3_private_bucket_status; }", OTHER_HANDLER),
        ("location / { stub_status; s3_private_bucket_status; }", OTHER_HANDLER),
        ("location / { s3_private_bucket example-bucket; s3_private_bucket_status; }", BESIDE_A_BUCKET),
        ("location / { s3_private_bucket_status; s3_private_bucket example-bucket; }", BESIDE_A_BUCKET),
    ],
)
def test_wrong_configurations(tmp_path, secret, server, message):
    n = Nginx(tmp_path / "n", server, f"s3_private_bucket_auth secret {secret};")
    status, output = n.check()
    assert status == 1 and message in output, output
    assert "s3_private_bucket_status" in output and f"in {n.dir}/nginx.conf:" in output


def test_a_configuration_without_buckets(tmp_path):
    with Nginx(tmp_path / "n", STATUS) as n:
        assert read(n) == {
            ("signatures_total",): 0, ("connections_total", "new"): 0, ("connections_total", "kept"): 0,
            ("tls_handshakes_total", "full"): 0, ("tls_handshakes_total", "resumed"): 0,
        }  # fmt: skip
