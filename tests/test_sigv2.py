"""Requests that nginx signs with Signature Version 2: beside AWS's own signer, and in front of a real S3 server."""

import json
import re
import time
import urllib.parse
from email.utils import formatdate, parsedate_to_datetime

import pytest
from botocore.auth import HmacV1Auth, HmacV1QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from harness import LISTED, READER, READER_SECRET, request, starter, tiny_s3, wait_until
from test_autoindex import Lists, listing
from test_credentials import Imds
from test_s3 import KEYS, VIDEO, path
from test_sigv4 import ID, SECRET, TOKEN, bucket, credentials  # noqa: F401


@pytest.fixture
def sign(tmp_path, origin, credentials):  # noqa: F811
    yield from starter(tmp_path, f"""s3_private_bucket_endpoint {origin.url};
        s3_private_bucket_auth sigv2 file={credentials};
        s3_private_bucket_region eu-central-1;
        proxy_cache_path {tmp_path}/cache keys_zone=z:1m;""")


def asked(method, target, headers, in_host):
    """A request as AWS's own signer takes it; what stands in the host is part of what it signs."""
    key = target.partition("?")[0]
    return AWSRequest(method, f"http://s3.example.com{target}", headers,
                      auth_path=f"/{in_host}{key}" if in_host else None)  # fmt: skip


def proven(recorded, in_host=None, token=None, key=(ID, SECRET)):
    """Proves that a recorded request has the signature that AWS's own signer makes. Returns its date."""
    headers = {k: v for k, v in recorded.headers if k not in ("Authorization", "Date")}
    signer = HmacV1Auth(Credentials(*key, token))
    date = recorded.get("Date")
    signer._get_date = lambda: date
    theirs = asked(recorded.method, recorded.target, headers, in_host)
    signer.add_auth(theirs)
    assert recorded.get("Authorization") == theirs.headers["Authorization"]
    assert recorded.get("X-Amz-Security-Token") == token
    assert date == formatdate(parsedate_to_datetime(date).timestamp(), usegmt=True)
    return date


# --- on the wire ---------------------------------------------------------------------------


def test_what_goes_to_s3(sign, origin):
    n = sign("location /m/ { s3_private_bucket example-bucket; }")
    client = {"Authorization": "Basic x", "Date": "x", "X-Amz-Date": "x", "Content-Type": "x", "X-Amz-Acl": "x"}
    before = time.time()
    assert n.get("/m/a%20b%2Bc%25?acl", headers=client).status == 200
    r = origin.last()
    assert r.line == "GET /example-bucket/a%20b%2Bc%25 HTTP/1.1"
    assert {k for k, _ in r.headers} == {"Host", "Authorization", "Date"}
    assert int(before) <= parsedate_to_datetime(proven(r)).timestamp() <= time.time()


HOSTS = [
    # The endpoint, what is said of addressing, the bucket, and what of it stands in the host.
    ("{origin}", "auto", "example-bucket", None),
    ("{origin}", "auto", "$arg_b", None),
    ("http://s3.example.com:9000", "virtual", "example-bucket", "example-bucket"),
    ("http://s3.example.com", "virtual", "$arg_b", "example-bucket"),
    ("http://s3.example.com", "path", "example-bucket", None),
    ("http://example-bucket.example.com", "path", "example-bucket", None),
    ("http://s3.eu-west-1.amazonaws.com", "auto", "example-bucket", "example-bucket"),
    ("http://s3.eu-west-1.amazonaws.com", "auto", "my.bucket", None),
]
REQUESTS = [
    ("/m/key?b=example-bucket", "GET"),
    ("/m/key?b=example-bucket", "HEAD"),
    ("/m/?b=example-bucket", "GET"),
    ("/m/example-bucket/a%20b%C3%BC+c%25%3F%23?b=example-bucket", "GET"),
    ("/m/key?b=example-bucket&versionId=3/L4%2Bkqt+J%25l&response-content-type=text/plain;%20x&x=1&partNumber=2", "GET"),
    ("/m/key?b=example-bucket&response-content-disposition=a%3B+filename%3D%22%C3%BC%22&versionid=1", "HEAD"),
]  # fmt: skip


@pytest.mark.parametrize("endpoint, addressing, name, in_host", HOSTS)
def test_signatures_are_those_of_the_sdk(sign, origin, credentials, endpoint, addressing, name, in_host):  # noqa: F811
    """Also with a token, an owner, and headers and arguments of the operator's own."""
    n = sign(f"""
        s3_private_bucket_endpoint {endpoint.format(origin=origin.url)} upstream=stub;
        s3_private_bucket_addressing {addressing};
        s3_private_bucket_pass_args versionId versionid partNumber x response-content-type response-content-disposition;
        s3_private_bucket_index index.html;
        location /m/ {{ s3_private_bucket {name}; }}
        location /o/ {{
            s3_private_bucket {name}; s3_private_bucket_expected_owner 111122223333;
            s3_private_bucket_auth sigv2 file={credentials} profile=session;
            s3_private_bucket_set_header X-Amz-Request-Payer requester;
            s3_private_bucket_set_header x-amz-meta-A '  $arg_x   b ';
            s3_private_bucket_set_header Content-Type text/x;
            s3_private_bucket_set_header x-other 1;
            s3_private_bucket_set_arg response-expires $time_iso8601;
        }}
        """, f"upstream stub {{ server 127.0.0.1:{origin.port}; }}")  # fmt: skip
    count = 0
    for target, method in REQUESTS:
        assert n.get(target, method=method).status == 200
        proven(origin.last(), in_host)
        assert n.get(target.replace("/m/", "/o/"), method=method).status == 200
        r = origin.last()
        proven(r, in_host, TOKEN)
        assert r.get("X-Amz-Expected-Bucket-Owner") == "111122223333" and "response-expires=20" in r.target
        assert r.get("X-Amz-Request-Payer") == "requester" and r.get("X-Amz-Content-Sha256") is None
        count += 2
    assert len(origin.requests) == count


def test_listings(sign, origin):
    n = sign("location /f/ { s3_private_bucket example-bucket prefix=p/; s3_private_bucket_autoindex html; }")
    origin.answer = Lists({"p/a/": listing(("x", 1), prefix="p/a/")})
    assert n.get("/f/a/?after=b").status == 200
    r = origin.last()
    assert "list-type=2" in r.target and r.target.startswith("/example-bucket/?delimiter=%2F")
    proven(r)


def test_slices_caches_and_updates(sign, origin):
    n = sign("""
        location /s/ { s3_private_bucket abc; slice 4; proxy_cache z; proxy_cache_valid 200 206 1h; }
        location /u/ {
            s3_private_bucket abc; proxy_cache z; proxy_cache_valid 200 1s;
            proxy_cache_use_stale updating; proxy_cache_background_update on;
            add_header X-Cache $upstream_cache_status;
        }""")
    assert n.get("/s/k").body == b"0123456789"
    assert len(origin.requests) == 3
    n.get("/u/k", method="HEAD")
    wait_until(lambda: n.get("/u/k").get("X-Cache") == "STALE", "the object to expire")
    origin.wait(5)
    for r in origin.requests:
        proven(r)
    assert {r.method for r in origin.requests} == {"GET"}


def test_keys_that_change(sign, origin, credentials):  # noqa: F811
    """A file that is written anew, and a source that gives a token."""
    n = sign("location /m/ { s3_private_bucket abc; s3_private_bucket_auth sigv2 file=%s profile=session; }" % credentials)
    n.get("/m/a")
    proven(origin.last(), token=TOKEN)
    longer = ("AKIDLONGER000000000", "another/secret")
    credentials.write_text("[session]\naws_access_key_id={}\naws_secret_access_key={}\n".format(*longer))

    def is_new():
        n.get("/m/a")
        return origin.last().get("Authorization").startswith(f"AWS {longer[0]}:")

    wait_until(is_new, "the new key")
    proven(origin.last(), key=longer)


def test_where_keys_come_from(sign, origin, tmp_path):
    (tmp_path / "plain").write_text(SECRET + "\n")
    (tmp_path / "plain").chmod(0o600)
    where = {
        "env": "env",
        "plain": f"access_key_id={ID} secret_access_key={tmp_path}/plain",
        "data": f"access_key_id={ID} secret_access_key=data:{SECRET}",
        "default": "default",
    }
    n = sign(
        "".join(f"location /{name}/ {{ s3_private_bucket abc; s3_private_bucket_auth sigv2 {words}; }}\n"
                for name, words in where.items()),
        environment={"AWS_ACCESS_KEY_ID": ID, "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_SESSION_TOKEN": TOKEN},
    )  # fmt: skip
    for name in where:
        assert n.get(f"/{name}/a").status == 200
        proven(origin.last(), token=TOKEN if name in ("env", "default") else None)


def test_keys_of_an_instance(sign, origin):
    """They come with a token, are fetched anew when S3 refuses them, and no URL outlives them."""
    imds = Imds(life=1000)
    n = sign(
        f"""s3_private_bucket_auth sigv2 instance; location /m/ {{ s3_private_bucket abc; }}
        location /u/ {{ s3_private_bucket abc; s3_private_bucket_presigned_expires 7d; {PRESIGNED} }}""",
        environment={"AWS_EC2_METADATA_SERVICE_ENDPOINT": imds.server.url},
    )

    def key(number):
        return {"token": imds.keys.token(number), "key": (imds.keys.id(number), imds.keys.secret(number))}

    assert n.get("/m/a").status == 200
    proven(origin.last(), **key(1))
    query = urllib.parse.parse_qs(urllib.parse.urlsplit(n.get("/u/a").get("Location")).query)
    assert query["x-amz-security-token"] == [imds.keys.token(1)] and query["AWSAccessKeyId"] == [imds.keys.id(1)]
    assert int(query["Expires"][0]) <= time.time() + 1000

    imds.keys.number = 2
    origin.answer = lambda r: (400, [], b"<Error><Code>ExpiredToken</Code></Error>")
    assert n.get("/m/b").status == 502
    origin.answer = tiny_s3

    def is_new():
        assert n.get("/m/a").status == 200
        return imds.keys.id(2) in origin.last().get("Authorization")

    wait_until(is_new, "new keys")
    proven(origin.last(), **key(2))
    assert "hush" not in n.error_log()
    imds.server.close()


def test_who_signs_otherwise_shares_no_cache(sign, origin, credentials):  # noqa: F811
    cached = "s3_private_bucket abc; proxy_cache z; proxy_cache_valid 200 1h; add_header X-Cache $upstream_cache_status;"
    n = sign(f"""
        location /2/ {{ {cached} }}
        location /also/ {{ {cached} }}
        location /4/ {{ {cached} s3_private_bucket_auth sigv4 file={credentials}; }}""")
    seen = [n.get(f"/{name}/k").get("X-Cache") for name in ("2", "4", "2", "also", "4")]
    assert seen == ["MISS", "MISS", "HIT", "HIT", "HIT"]


def test_a_fault_is_told(sign, origin):
    n = sign("location /m/ { s3_private_bucket abc; }")
    for code, cure in (
        ("SignatureVersionNotSupported", 'the server wants another signature; see "s3_private_bucket_auth"'),
        ("SignatureDoesNotMatch", "the secret access key does not belong to the access key ID"),
    ):
        origin.answer = lambda r, code=code: (403, [], f"<Error><Code>{code}</Code></Error>".encode())
        assert n.get("/m/a").status == 502
        assert f'S3 answered 403 {code} for the bucket "abc": {cure}' in n.error_log()


def test_no_log_has_a_key_or_a_signature(sign, origin, tmp_path):
    n = sign(
        f"""access_log {tmp_path}/all.log all_of_it;
        location /m/ {{ s3_private_bucket abc; ssi on; ssi_types *; }}""",
        "log_format all_of_it '$http_authorization $s3_private_bucket_http_date $s3_private_bucket_uri';",
    )
    origin.answer = lambda r: (200, [], b'[<!--#echo var="s3_private_bucket_authorization" -->]')
    assert n.get("/m/a").body == b"[(none)]"
    proven(origin.last())
    wait_until(lambda: (tmp_path / "all.log").read_text().count("\n") == 1, "the access log")
    logs = n.error_log() + n.access_log() + (tmp_path / "all.log").read_text()
    assert "/abc/a" in logs and SECRET not in logs and ID not in logs and "AWS " not in logs


# --- presigned URLs ------------------------------------------------------------------------

PRESIGNED = "return 302 $s3_private_bucket_presigned_url;"


@pytest.mark.parametrize("endpoint, addressing, name, in_host", HOSTS)
@pytest.mark.parametrize("more", [False, True])
def test_urls_are_those_of_the_sdk(sign, origin, credentials, endpoint, addressing, name, in_host, more):  # noqa: F811
    own = f"""s3_private_bucket_expected_owner 111122223333; s3_private_bucket_set_header x-amz-request-payer requester;
        s3_private_bucket_set_header x-amz-checksum-mode ENABLED;
        s3_private_bucket_auth sigv2 file={credentials} profile=session;"""
    n = sign(f"""
        s3_private_bucket_endpoint {endpoint.format(origin=origin.url)}; resolver 127.0.0.1:9;
        s3_private_bucket_addressing {addressing}; s3_private_bucket_presigned_expires 7d;
        s3_private_bucket_pass_args versionId x response-content-type;
        location /m/ {{ s3_private_bucket {name}; {own if more else ""} {PRESIGNED} }}""")
    for target, method in REQUESTS:
        if target.startswith("/m/?"):
            continue
        now = int(time.time())
        url = n.get(target, method=method).get("Location")
        scheme, host, *_ = (split := urllib.parse.urlsplit(url))
        assert host.startswith(f"{in_host}.") == bool(in_host) or not in_host
        query = urllib.parse.parse_qsl(split.query, keep_blank_values=True, strict_parsing=True)
        ours = [(k, v) for k, v in query if k in ("AWSAccessKeyId", "Expires", "Signature") or k.startswith("x-amz-")]
        args = split.query.partition("AWSAccessKeyId=")[0].rstrip("&")
        headers = {k: v for k, v in ours if k.startswith("x-amz-")}
        assert set(headers) == ({"x-amz-expected-bucket-owner", "x-amz-request-payer", "x-amz-security-token"} if more else set())
        signer = HmacV1QueryAuth(Credentials(ID, SECRET, TOKEN if more else None))
        expires = dict(ours)["Expires"]
        signer._get_date = lambda expires=expires: expires
        theirs = asked(method, split.path + (f"?{args}" if args else ""), headers, in_host)
        signer.add_auth(theirs)
        theirs = urllib.parse.urlsplit(theirs.url).query
        assert sorted(split.query.split("&")) == sorted(theirs.split("&"))
        assert now + 604800 <= int(expires) <= time.time() + 604800
    assert not origin.requests


def test_what_is_not_signed_is_not_redirected(sign, origin):
    n = sign(f"""location /m/ {{ s3_private_bucket abc; {PRESIGNED} }}
        location /c/ {{ s3_private_bucket abc; {PRESIGNED}
            s3_private_bucket_set_header x-amz-server-side-encryption-customer-key x; }}""")
    for target, method, status in (("/m/", "GET", 404), ("/m/a", "POST", 405), ("/c/a", "GET", 500)):
        r = n.get(target, method=method)
        assert (r.status, r.get("Location")) == (status, None)


# --- in front of a real S3 server ----------------------------------------------------------


@pytest.fixture
def serve(sign, s3, bucket, credentials):  # noqa: F811
    def start(server, profile="reader", **kw):
        return sign(f"""s3_private_bucket_endpoint {s3.url};
            s3_private_bucket_auth sigv2 file={credentials} profile={profile}; {server}""", **kw)  # fmt: skip

    return start


def test_a_real_server_takes_them(serve, s3, bucket):  # noqa: F811
    n = serve(f"""merge_slashes off; s3_private_bucket_pass_args response-content-type A;
        location /m/ {{ s3_private_bucket {bucket}; }}
        location /s/ {{ s3_private_bucket {bucket}; slice 1m; }}
        location /u/ {{ s3_private_bucket {bucket}; {PRESIGNED} }}""")
    for key in KEYS:
        r = n.get(path(key))
        assert (r.status, r.body.decode()) == (200, f"body of {key}")
        assert n.get(path(key), method="HEAD").status == 200
    assert n.get("/m/video.bin", headers={"Range": "bytes=5-9"}).body == VIDEO[5:10]
    assert n.get("/s/video.bin").body == VIDEO
    assert n.get("/m/none").status == 404
    # It takes an argument for its encoded self, other than AWS and its SDK: this one has nothing to encode.
    r = n.get("/m/index.html?response-content-type=textual&A=1&acl")
    assert (r.status, r.get("Content-Type")) == (200, "textual")

    host = {"Host": f"127.0.0.1:{s3.port}"}
    for query in ("", "?response-content-type=textual"):
        url = n.get(f"/u/index.html{query}").get("Location").removeprefix(f"http://127.0.0.1:{s3.port}")
        assert request(s3.port, url, headers=host).body == b"body of index.html"
        assert request(s3.port, url.replace("index.html", "video.bin"), headers=host).status == 403


def test_folders_of_a_real_server(serve, s3):
    s3.create_bucket(LISTED)
    for name in ("a b.txt", "x/y"):
        s3.put(LISTED, f"sigv2/{name}", b"x")
    n = serve(f"location /f/ {{ s3_private_bucket {LISTED} prefix=sigv2/; s3_private_bucket_autoindex json; }}")
    assert [e["name"] for e in json.loads(n.get("/f/").body)] == ["x", "a b.txt"]


@pytest.mark.parametrize(
    "profile, code, cure",
    [("wrong-secret", "SignatureDoesNotMatch", "the secret access key does not belong to the access key ID"),
     ("default", "InvalidAccessKeyId", "")],
)  # fmt: skip
def test_wrong_keys_are_refused(serve, bucket, profile, code, cure):  # noqa: F811
    n = serve(f"location /m/ {{ s3_private_bucket {bucket}; }}", profile=profile)
    assert n.get("/m/index.html").status == 502
    assert re.search(f'S3 answered 403 {code} for the bucket "{bucket}".*{cure}', n.error_log())
    assert READER not in n.error_log() and READER_SECRET not in n.error_log() and SECRET not in n.error_log()
