"""Requests that nginx signs: on the wire, and in front of a real S3 server without any policy."""

import datetime
import re
import socket

import pytest
from harness import (
    READER, READER_SECRET, TIMEOUT, Authorization, Recorder, free_port, read_response, relay, request, starter,
    tells, tiny_s3, wait_until,
)  # fmt: skip
from test_s3 import KEYS, VIDEO, path, tls

ID, SECRET, TOKEN = "AKIDEXAMPLE", "wJalr/XUtn+FEMI", "IQoJ/b3JpZ2lu+X2Vj=="


@pytest.fixture
def credentials(tmp_path):
    file = tmp_path / "credentials"
    file.write_text(f"""
[default]
aws_access_key_id = {ID}
aws_secret_access_key = {SECRET}

[session]
aws_access_key_id = {ID}
aws_secret_access_key = {SECRET}
aws_session_token = {TOKEN}

[reader]
aws_access_key_id = {READER}
aws_secret_access_key = {READER_SECRET}

[wrong-secret]
aws_access_key_id = {READER}
aws_secret_access_key = {SECRET}
""")
    file.chmod(0o600)
    return file


@pytest.fixture
def sign(tmp_path, origin, credentials):
    """Starts nginx in front of the recording origin, with the default profile."""
    yield from starter(tmp_path, f"""s3_private_bucket_endpoint {origin.url};
        s3_private_bucket_auth sigv4 file={credentials};
        s3_private_bucket_region eu-central-1;
        proxy_cache_path {tmp_path}/cache keys_zone=z:1m;""")


def proven(recorded):
    return Authorization(recorded, SECRET, ID)


def utc(offset=0):
    now = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=offset)
    return now.strftime("%Y%m%dT%H%M%SZ")


# --- on the wire ---------------------------------------------------------------------------


def test_what_goes_to_s3(sign, origin):
    n = sign("location /m/ { s3_private_bucket example-bucket; }")
    client = {"Authorization": "Basic x", "X-Amz-Date": "x", "X-Amz-Acl": "x", "Cookie": "x"}
    before = utc()
    assert n.get("/m/a%20b%2Bc%25?acl", headers=client).status == 200
    r = origin.last()
    a = proven(r)
    assert r.line == "GET /example-bucket/a%20b%2Bc%25 HTTP/1.1"
    assert {k for k, _ in r.headers} == {
        "Host", "Authorization", "X-Amz-Date", "X-Amz-Content-Sha256"
    }  # fmt: skip
    assert a.scope == f"{a.date[:8]}/eu-central-1/s3/aws4_request"
    assert r.get("X-Amz-Content-Sha256") == "UNSIGNED-PAYLOAD"
    assert before <= a.date <= utc()


def test_tokens_owners_and_services(sign, origin, credentials):
    n = sign(f"""
        s3_private_bucket_expected_owner 111122223333;
        location /t/ {{
            s3_private_bucket example-bucket;
            s3_private_bucket_auth sigv4 file={credentials} profile=session service=s3-object-lambda;
        }}
        location /o/ {{ s3_private_bucket example-bucket; s3_private_bucket_expected_owner off; }}
        location /n/ {{ s3_private_bucket example-bucket; s3_private_bucket_auth none; }}""")
    n.get("/t/a")
    a = proven(origin.last())
    assert a.scope.endswith("/eu-central-1/s3-object-lambda/aws4_request")
    assert origin.last().get("X-Amz-Security-Token") == TOKEN
    assert origin.last().get("X-Amz-Expected-Bucket-Owner") == "111122223333"
    n.get("/o/a")
    assert "x-amz-expected-bucket-owner" not in proven(origin.last()).names
    n.get("/n/a")
    assert origin.last().get("X-Amz-Expected-Bucket-Owner") == "111122223333"
    assert origin.last().get("Authorization") is None


def test_where_keys_come_from(sign, origin, tmp_path, credentials):
    for name, text in (("plain", SECRET), ("line", SECRET + "\n")):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o600)
    n = sign(
        f"""
        location /env/ {{ s3_private_bucket abc; s3_private_bucket_auth sigv4 env; }}
        location /plain/ {{
            s3_private_bucket abc;
            s3_private_bucket_auth sigv4 access_key_id={ID} secret_access_key={tmp_path}/plain;
        }}
        location /line/ {{
            s3_private_bucket abc;
            s3_private_bucket_auth sigv4 secret_access_key={tmp_path}/line access_key_id={ID};
        }}
        location /data/ {{
            s3_private_bucket abc;
            s3_private_bucket_auth sigv4 access_key_id={ID} secret_access_key=data:{SECRET};
        }}""",
        environment={"AWS_ACCESS_KEY_ID": ID, "AWS_SECRET_ACCESS_KEY": SECRET,
                     "AWS_SESSION_TOKEN": TOKEN},
    )  # fmt: skip
    for location in ("plain", "line", "data", "env"):
        n.get(f"/{location}/a")
        proven(origin.last())
    assert origin.last().get("X-Amz-Security-Token") == TOKEN
    # A reload reads them again, in a master process that has served workers.
    n.reload()
    n.get("/env/b")
    proven(origin.last())


def test_arguments_are_sorted_as_they_are_signed(sign, origin):
    n = sign("""location /m/ {
        s3_private_bucket abc;
        s3_private_bucket_pass_args versionId "a b" ~ \xe9 a a-b;
    }""")
    n.get("/m/k?versionId=a+b/%2B&~=1&%C3%A9=2&a-b=3&a=4&a%20b=5&policy=x")
    assert origin.last().target.endswith(
        "/k?%C3%A9=2&a=4&a%20b=5&a-b=3&versionId=a%20b%2F%2B&~=1"
    )
    proven(origin.last())


def test_head_under_a_cache(sign, origin):
    n = sign("""location /m/ {
        s3_private_bucket abc; proxy_cache z; proxy_cache_valid 200 1h;
        add_header X-Cache $upstream_cache_status;
    }
    location /p/ { s3_private_bucket abc; }
    location /c/ {
        s3_private_bucket abc; proxy_cache z; proxy_cache_valid 200 1h;
        proxy_cache_convert_head off; proxy_cache_key $request_method$uri;
    }""")
    for target, sent in (("/m/a", "GET"), ("/p/a", "HEAD"), ("/c/a", "HEAD")):
        assert n.get(target, method="HEAD").status == 200
        assert origin.last().method == sent
        proven(origin.last())
    assert n.get("/m/a").get("X-Cache") == "HIT"


def test_nothing_is_signed_on_a_cache_hit(sign, origin, tmp_path):
    n = sign(
        """location /m/ {
            s3_private_bucket abc; proxy_cache z; proxy_cache_valid 200 1h;
            add_header X-Cache $upstream_cache_status;
        }""",
        f"error_log {tmp_path}/debug.log debug;",
    )

    def get(status):
        start = (tmp_path / "debug.log").stat().st_size
        assert n.get("/m/a").get("X-Cache") == status

        def log():
            added = (tmp_path / "debug.log").read_bytes()[start:]
            return added if b"http log handler" in added else None

        return wait_until(log, "the debug log of a request")

    # Evaluated variables are in the debug log.
    assert b"AWS4-HMAC-SHA256" in get("MISS")
    assert b"AWS4-HMAC-SHA256" not in get("HIT")
    assert len(origin.requests) == 1


def test_the_method_of_subrequests(sign, origin):
    """A subrequest of a POST is a GET, whatever is inherited."""
    n = sign("""
        proxy_method PUT;
        location / { auth_request /check; empty_gif; error_page 405 =200 /done; }
        location = /check { internal; s3_private_bucket abc; s3_private_bucket_key key; }
        location = /done { return 200; }""")
    n.get("/x", method="POST")
    assert origin.last().method == "GET"
    proven(origin.last())


def test_nested_locations_and_error_pages_get_no_signature(sign, origin):
    other = Recorder()
    n = sign(f"""
        location /m/ {{
            s3_private_bucket abc;
            error_page 404 = @other;
            proxy_intercept_errors on;
            location /m/app/ {{ proxy_pass {other.url}; }}
            location /m/off/ {{ s3_private_bucket off; proxy_pass {other.url}; }}
        }}
        location @other {{ proxy_pass {other.url}; }}""")
    origin.answer = lambda r: (404, [], b"")
    for target in ("/m/a", "/m/app/a", "/m/off/a"):
        assert n.get(target).status == 200
        assert "AWS4" not in str(other.last().head) and "Amz" not in str(other.last().head)
    assert len(origin.requests) == 1
    other.close()


def test_a_retry_sends_the_same_bytes(sign, origin):
    second = Recorder()
    n = sign(
        f"""location /m/ {{
            s3_private_bucket abc;
            s3_private_bucket_endpoint http://s3.example.com upstream=pool;
            proxy_next_upstream http_503;
        }}""",
        f"upstream pool {{ server 127.0.0.1:{origin.port}; server 127.0.0.1:{second.port} backup; }}",
    )
    origin.answer = lambda r: (503, [], b"")
    assert n.get("/m/a").status == 200
    assert origin.last().head == second.last().head
    proven(second.last())
    second.close()


def test_slices_and_background_updates_have_dates_of_their_own(sign, origin):
    n = sign(
        """location /s/ { s3_private_bucket abc; slice 4; }
        location /b/ {
            s3_private_bucket abc; proxy_cache z; proxy_cache_valid 200 1s;
            proxy_cache_use_stale updating; proxy_cache_background_update on;
            add_header X-Cache $upstream_cache_status;
        }""",
        clock=0,
    )

    def answer(r):
        # Each answer takes a minute of nginx's clock.
        n.set_clock(60 * (len(origin.requests) + 1))
        return tiny_s3(r)

    origin.answer = answer
    assert n.get("/s/a").body == b"0123456789"
    dates = [proven(r).date for r in origin.requests]
    assert len(dates) == len(set(dates)) == 3 and dates == sorted(dates)

    origin.answer = tiny_s3
    assert n.get("/b/a").get("X-Cache") == "MISS"
    # A day behind the three minutes of the slices.
    n.set_clock(86400 + 180)
    wait_until(lambda: n.get("/b/a").get("X-Cache") == "STALE", "a stale answer")
    origin.wait(5)
    first, update = [proven(r).date for r in origin.requests[3:5]]
    assert first < update and update[:8] > first[:8]


def test_midnight(sign, origin):
    """Date, scope and signature agree on both sides of it."""
    n = sign("location /m/ { s3_private_bucket abc; }", clock=0)
    now = datetime.datetime.now(datetime.UTC)
    midnight = (now + datetime.timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
    n.set_clock(int((midnight - now).total_seconds()) - 1)

    def after():
        n.get("/m/a")
        return proven(origin.last()).date.startswith(f"{midnight:%Y%m%d}")

    n.get("/m/a")
    wait_until(after, "midnight")
    days = [proven(r).date[:8] for r in origin.requests]
    assert days == sorted(days) and len(origin.requests) >= 2


# --- in front of a real S3 server ----------------------------------------------------------


@pytest.fixture(scope="module")
def bucket(s3):
    name = "signed-bucket"
    s3.create_bucket(name)
    for key in KEYS:
        s3.put(name, key, f"body of {key}".encode())
    s3.put(name, "video.bin", VIDEO, "video/mp4")
    return name


@pytest.fixture
def serve(sign, s3, credentials):
    def start(server, http="", profile="reader", **kw):
        n = sign(
            f"""s3_private_bucket_endpoint {s3.url};
            s3_private_bucket_auth sigv4 file={credentials} profile={profile};
            {server}""",
            http,
            **kw,
        )
        n.hidden = tells(s3, "signed-bucket")
        return n

    return start


def test_the_bucket_is_private(s3, bucket):
    for headers in ({}, {"User-Agent": "open-sesame"}):
        assert request(s3.port, f"/{bucket}/index.html", headers=headers).status == 403


@pytest.mark.parametrize("key", KEYS)
def test_keys(serve, bucket, key):
    n = serve(f"merge_slashes off; location /m/ {{ s3_private_bucket {bucket}; }}")
    r = n.get(path(key))
    assert (r.status, r.body.decode()) == (200, f"body of {key}")


def test_requests_as_clients_make_them(serve, bucket):
    n = serve(f"""location /m/ {{
        s3_private_bucket {bucket}; s3_private_bucket_pass_args response-content-disposition;
    }}""")
    r = n.get("/m/video.bin", headers={"Range": "bytes=1000-1999"})
    assert (r.status, r.body) == (206, VIDEO[1000:2000])
    r = n.get("/m/video.bin", method="HEAD")
    assert (r.status, r.get("Content-Length")) == (200, str(len(VIDEO)))
    assert n.get("/m/video.bin", headers={"If-None-Match": r.get("ETag")}).status == 304
    modified = {"If-Modified-Since": r.get("Last-Modified")}
    assert n.get("/m/video.bin", headers=modified).status == 304
    assert n.get("/m/video.bin", headers={"If-Match": '"no"'}).status == 412
    assert n.get("/m/no-such-key").status == 404
    assert n.get("/m/index.html?policy").body == b"body of index.html"
    r = n.get("/m/index.html?response-content-disposition=attachment;+filename=%22a+b%22")
    assert r.get("Content-Disposition") == 'attachment; filename="a b"'


def test_caches_and_slices(serve, bucket):
    n = serve(f"""location /m/ {{
        s3_private_bucket {bucket}; proxy_cache z; proxy_cache_valid 200 206 1h;
        add_header X-Cache $upstream_cache_status;
    }}
    location /s/ {{
        s3_private_bucket {bucket}; slice 1m; proxy_cache z; proxy_cache_valid 200 206 1h;
        add_header X-Cache $upstream_cache_status;
    }}""")
    assert n.get("/m/index.html", method="HEAD").get("X-Cache") == "MISS"
    r = n.get("/m/index.html")
    assert (r.body, r.get("X-Cache")) == (b"body of index.html", "HIT")
    assert n.get("/s/video.bin").body == VIDEO
    r = n.get("/s/video.bin", headers={"Range": "bytes=2000000-2000009"})
    assert (r.status, r.body, r.get("X-Cache")) == (206, VIDEO[2000000:2000010], "HIT")


def test_virtual_hosts_with_tls(sign, s3, ca, bucket, credentials):
    trust = f"proxy_ssl_trusted_certificate {ca};"
    server, http = tls(
        s3,
        ca,
        f"""location /v/ {{
            s3_private_bucket {bucket}; s3_private_bucket_addressing virtual; {trust}
        }}
        location /p/ {{ s3_private_bucket $arg_b; {trust} }}""",
    )
    n = sign(server + f"s3_private_bucket_auth sigv4 file={credentials} profile=reader;", http)
    assert n.get("/v/a%2Bb.txt").body == b"body of a+b.txt"
    assert n.get(f"/p/index.html?b={bucket}").body == b"body of index.html"


@pytest.mark.parametrize(
    "profile, code, cure",
    [
        ("default", "InvalidAccessKeyId", "S3 does not know the access key ID; was the key deleted?"),
        ("wrong-secret", "SignatureDoesNotMatch",
         "the secret access key does not belong to the access key ID"),
    ],
)  # fmt: skip
def test_wrong_keys_are_refused(serve, bucket, profile, code, cure):
    n = serve(f"location /m/ {{ s3_private_bucket {bucket}; }}", profile=profile)
    assert n.get("/m/index.html").status == 502
    assert f'S3 answered 403 {code} for the bucket "{bucket}": {cure}' in n.error_log()
    assert READER not in n.error_log() and SECRET not in n.error_log()


def test_clock_skew(serve, bucket):
    """S3 accepts 15 minutes either way."""
    n = serve(f"location /m/ {{ s3_private_bucket {bucket}; }}", clock=0)
    for offset, status in ((-1200, 502), (-600, 200), (600, 200), (1200, 502), (0, 200)):
        n.set_clock(offset)
        # nginx looks at its clock when an event arrives.
        wait_until(lambda: n.get("/m/index.html").status == status, f"{status} at {offset} s")
    for side in ("behind", "ahead of"):
        # As long as an answer takes, more or less.
        clock = rf"RequestTimeTooSkewed .*clock of this machine is wrong, 1(19|20)\d s {side} S3's"
        assert re.search(clock, n.error_log()), n.error_log()


def test_a_download_that_outlasts_a_signature(sign, s3, bucket, credentials):
    """nginx's clock is almost as late as S3 allows, so that a signature lives for 20 seconds: the
    client stops reading until S3 refuses the first slice's one, and then gets all the others."""
    tap = Recorder(relay(s3.port))
    n = sign(
        f"""
        s3_private_bucket_endpoint http://127.0.0.1:{s3.port} upstream=tap;
        s3_private_bucket_auth sigv4 file={credentials} profile=reader;
        location /m/ {{ s3_private_bucket {bucket}; slice 1m; proxy_buffers 4 8k; }}""",
        f"upstream tap {{ server 127.0.0.1:{tap.port}; }}",
        clock=-880,
        listen="sndbuf=32k",
    )
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32768)
        client.settimeout(TIMEOUT)
        client.connect(("127.0.0.1", n.port))
        client.sendall(b"GET /m/video.bin HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        (first, *_) = tap.wait(1)
        assert relay(s3.port)(first)[0] == 206
        wait_until(lambda: relay(s3.port)(first)[0] == 403, "the signature to expire", 120)
        fetched = len(tap.requests)
        assert fetched < 6, "slices are left"
        with client.makefile("rb") as f:
            assert read_response(f).body == VIDEO
    assert len(tap.requests) == 6
    dates = [Authorization(r, READER_SECRET, READER).date for r in tap.requests]
    assert dates == sorted(dates) and dates[-1] > dates[0]
    tap.close()


# --- logs and variables --------------------------------------------------------------------


def test_no_log_has_a_key_or_a_signature(sign, origin, tmp_path):
    down = free_port()
    log = "$http_authorization $upstream_http_authorization $s3_private_bucket_uri "
    log += "$s3_private_bucket_date $s3_private_bucket_method $s3_private_bucket_dollar"
    n = sign(
        f"""access_log {tmp_path}/all.log all_of_it;
        location /m/ {{ s3_private_bucket abc; ssi on; ssi_types *; }}
        location /down/ {{ s3_private_bucket abc; s3_private_bucket_endpoint http://127.0.0.1:{down}; }}""",
        f"log_format all_of_it '{log}';",
    )
    # A variable whose name is only known at run time.
    origin.answer = lambda r: (200, [], b'[<!--#echo var="s3_private_bucket_authorization" -->]')
    assert n.get("/m/a").body == b"[(none)]"
    proven(origin.last())
    assert n.get("/down/a").status == 502
    wait_until(lambda: (tmp_path / "all.log").read_text().count("\n") == 2, "the access log")
    logs = n.error_log() + n.access_log() + (tmp_path / "all.log").read_text()
    assert "/abc/a" in logs
    for secret in (SECRET, ID, "Signature", "AWS4"):
        assert secret not in logs, secret


# --- presigned URLs ------------------------------------------------------------------------


PRESIGNED = "return 302 $s3_private_bucket_presigned_url;"


def location(url, s3):
    """Asks S3 itself for a presigned URL."""
    prefix = f"http://127.0.0.1:{s3.port}"
    assert url.startswith(prefix)
    return request(s3.port, url.removeprefix(prefix), headers={"Host": f"127.0.0.1:{s3.port}"})


def test_presigned_urls(serve, s3, bucket):
    n = serve(f"""location /m/ {{
        s3_private_bucket {bucket};
        s3_private_bucket_pass_args response-content-type A;
        {PRESIGNED}
    }}""")
    for key in KEYS[:4]:
        r = n.get(path(key))
        assert (r.status, location(r.get("Location"), s3).body.decode()) == (302, f"body of {key}")
    r = n.get("/m/index.html?response-content-type=text%2Fx&A=1&acl")
    url = r.get("Location")
    assert re.search(r"\?A=1&X-Amz-Algorithm=.*&X-Amz-Expires=300&.*&response-content-type=", url)
    assert location(url, s3).get("Content-Type") == "text/x"
    # A HEAD is followed by a HEAD.
    url = n.get("/m/index.html", method="HEAD").get("Location")
    target = url.partition(str(s3.port))[2]
    host = {"Host": f"127.0.0.1:{s3.port}"}
    assert request(s3.port, target, method="HEAD", headers=host).status == 200

    url = n.get("/m/index.html").get("Location")
    altered = [
        url.replace("/index.html", "/video.bin"),
        url.replace("X-Amz-Expires=300", "X-Amz-Expires=3000"),
        url[:-1] + ("0" if url[-1] != "0" else "1"),
        url + "&versionId=1",
        url.partition("?")[0],
    ]
    assert location(url, s3).status == 200
    assert [location(a, s3).status for a in altered] == [403] * len(altered)


def test_presigned_urls_expire(serve, s3, bucket):
    n = serve(f"""location /m/ {{
        s3_private_bucket {bucket}; s3_private_bucket_presigned_expires 10s; {PRESIGNED}
    }}""")
    url = n.get("/m/index.html").get("Location")
    assert "X-Amz-Expires=10&" in url and location(url, s3).status == 200
    wait_until(lambda: location(url, s3).status == 403, "the URL to expire", 60)


def test_presigned_urls_of_temporary_credentials_and_owners(sign, origin, credentials):
    n = sign(f"""
        s3_private_bucket_auth sigv4 file={credentials} profile=session;
        s3_private_bucket_expected_owner 111122223333;
        s3_private_bucket_presigned_expires 7d;
        location /m/ {{ s3_private_bucket abc; {PRESIGNED} }}""")
    url = n.get("/m/a").get("Location")
    assert url.startswith(f"{origin.url}/abc/a?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=")
    assert "&X-Amz-Expected-Bucket-Owner=111122223333&X-Amz-Expires=604800&" in url
    assert "&X-Amz-Security-Token=IQoJ%2Fb3JpZ2lu%2BX2Vj%3D%3D&X-Amz-SignedHeaders=host&" in url
    assert not origin.requests


@pytest.mark.parametrize(
    "target, method, status",
    [("/m/", "GET", 404), ("/dot/a", "GET", 400), ("/m/a", "POST", 405), ("/none/a", "GET", 500)],
)
@pytest.mark.parametrize("accelerated", [False, True])
def test_what_is_not_signed_is_not_redirected(sign, origin, target, method, status, accelerated):
    # An application that leads there leaves its own upstream behind.
    origin.answer = lambda r: (200, [("X-Accel-Redirect", r.target.removeprefix("/app"))], b"")
    if accelerated:
        target = f"/app{target}"
        # nginx makes a GET of it.
        status = 302 if status == 405 else status
    n = sign(f"""
        location /app/ {{ proxy_pass {origin.url}; }}
        location /m/ {{ s3_private_bucket abc; {PRESIGNED} }}
        location /dot/ {{ s3_private_bucket abc; s3_private_bucket_key a/..; {PRESIGNED} }}
        location /none/ {{ s3_private_bucket abc; s3_private_bucket_auth none; {PRESIGNED} }}""")
    r = n.get(target, method=method)
    assert r.status == status and (r.get("Location") is None) == (status != 302)
    assert status == 302 or "s3_private_bucket: " in n.error_log()
    assert r.get("Allow") == ("GET, HEAD" if status == 405 else None)
    assert f"{status}" in str(r.body)


def test_an_empty_location_of_others_is_left_alone(sign, origin):
    n = sign("""location /m/ { s3_private_bucket abc; s3_private_bucket_errors pass; }
        location /x/ { return 302 $arg_none; }""")
    origin.answer = lambda r: (302, [("Location", "")], b"")
    assert n.get("/m/a").status == 302
    assert n.get("/x/a").status == 302
