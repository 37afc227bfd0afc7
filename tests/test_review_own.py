"""A hostile look at what operators add to requests, at names that AWS has elsewhere, and at what Google's answers tell."""

import base64
import hashlib

import botocore.session
import pytest
from botocore.loaders import Loader
from harness import (
    ACCESS_KEY, READER, READER_SECRET, SECRET_KEY, Authorization, Nginx, Recorder, make_cert, starter,
)  # fmt: skip

ID, SECRET = "AKIDEXAMPLE", "wJalr/XUtn+FEMI"
KEYS = f"s3_private_bucket_auth sigv4 access_key_id={ID} secret_access_key=data:{SECRET};"
CUSTOMER = "x-amz-server-side-encryption-customer-"


@pytest.fixture
def serve(tmp_path, origin):
    """Starts nginx, whose signed locations ask the recording origin."""
    yield from starter(tmp_path, f"""s3_private_bucket_endpoint {origin.url}; {KEYS}
        proxy_cache_path {tmp_path}/cache keys_zone=z:1m;""")


@pytest.fixture
def check(tmp_path):
    """What nginx -t says of a server{} and of http{}, but that all is well."""

    def check(server, http=""):
        status, output = Nginx(tmp_path / "check", server, http).check()
        lines = [line for line in output.splitlines() if "[" in line]
        assert (status != 0) == any("[emerg]" in line for line in lines), output
        return lines

    return check


# --- names of headers ----------------------------------------------------------------------


@pytest.mark.parametrize("above", ["", "proxy_headers_hash_bucket_size 32;", "proxy_headers_hash_bucket_size 256;"])
def test_headers_can_have_long_names(serve, origin, above):
    """As those of SSE-C have, for which nginx's table of names is too narrow by itself."""
    long = "x-" + "a" * 180
    n = serve(
        f"""location /c/ {{
            s3_private_bucket abc;
            s3_private_bucket_set_header {CUSTOMER}algorithm AES256;
            s3_private_bucket_set_header {CUSTOMER}key a;
            s3_private_bucket_set_header {CUSTOMER}key-MD5 b;
            if ($arg_if) {{ set $x 1; }}
        }}
        location /l/ {{
            s3_private_bucket abc; s3_private_bucket_set_header {long} $uri; proxy_cache z; proxy_cache_valid 200 1h;
        }}
        location /s/ {{ s3_private_bucket abc; s3_private_bucket_auth secret data:hush header={long}; }}""",
        http=above,
    )
    for headers in ({}, {"If-None-Match": '"x"'}):
        for target in ("/c/k", "/c/k?if=1"):
            assert n.get(target, headers=headers).status == 200
            sent = [origin.last().get(CUSTOMER + name) for name in ("algorithm", "key", "key-MD5")]
            assert sent == ["AES256", "a", "b"]
            Authorization(origin.last(), SECRET, ID)
    assert n.get("/l/k").status == 200 and origin.last().get(long) == "/l/k"
    Authorization(origin.last(), SECRET, ID, own=(long,))
    assert n.get("/s/k").status == 200 and origin.last().get(long) == "hush"


# --- what goes in clear --------------------------------------------------------------------

FAR = "s3_private_bucket_endpoint http://s3.example.com:9000;"
IN_CLEAR = ('[warn]', '"s3_private_bucket" sends a customer\'s key (SSE-C) unencrypted to "http://s3.example.com:9000"; '
            'use an https:// endpoint')  # fmt: skip


@pytest.mark.parametrize("endpoint, name, value, warns", [
    (FAR, "key", "hush", True),
    (FAR, "Key", "$http_x", True),
    (FAR, "key-MD5", "hush", False),
    (FAR, "algorithm", "AES256", False),
    (FAR, "key", "''", False),
    ("s3_private_bucket_endpoint https://s3.example.com:9000;", "key", "hush", False),
    ("s3_private_bucket_endpoint http://127.0.0.1:9000;", "key", "hush", False),
    (FAR.replace(";", " upstream=near;"), "key", "hush", False),
])  # fmt: skip
@pytest.mark.parametrize("auth", [KEYS, "s3_private_bucket_auth none;"])
def test_a_customers_key_in_clear_is_worth_a_warning(check, endpoint, name, value, warns, auth):
    here = f"""resolver 127.0.0.1; upstream near {{ server 127.0.0.1:1; }} {auth} {endpoint}
        s3_private_bucket_set_header {CUSTOMER}{name} {value};"""
    # Who serves nothing sends nothing.
    lines = check("location / { s3_private_bucket abc; } location /a/ { }", here)
    assert [all(part in line for part in IN_CLEAR) for line in lines] == [True] * warns
    assert not any("hush" in line for line in lines)


# --- names that are not at the endpoint of a region ----------------------------------------

ZONE = ('the directory bucket "{}" is at the endpoint of its zone; write "s3_private_bucket_endpoint '
        'https://s3express-use1-az4.us-east-1.amazonaws.com" and "service=s3express"')  # fmt: skip
ALIASES = {
    "reports--use1-az4--x-s3": ZONE,
    "point--use1-az4--xa-s3": ZONE,
    "test-accessp-o0b1d075431d83bebde8xz5w8ijx1qzlbp3i3kuse10--op-s3":
    '"{}" is an access point of S3 on Outposts, which are not served; use one of a region',
    "mfzwi23gnjvgw.mrap":
    '"{}" is a Multi-Region Access Point, which take signatures of version 4A only; use one of a region',
}  # fmt: skip


@pytest.mark.parametrize("name", ALIASES)
@pytest.mark.parametrize("endpoint", ["", "s3_private_bucket_endpoint aws;", "s3_private_bucket_endpoint aws dualstack;"])
def test_names_of_other_endpoints_are_refused(check, name, endpoint):
    (line,) = check(f"resolver 127.0.0.1; {KEYS} {endpoint} location / {{ s3_private_bucket {name}; }}")
    assert f'"s3_private_bucket" cannot go to that "s3_private_bucket_endpoint": {ALIASES[name].format(name)} in' in line


def test_names_of_other_endpoints_are_refused_where_they_are_variables(tmp_path, ca):
    stub = Recorder(tls=make_cert(ca.parent, "stub", ["DNS:stub"]))
    bucket = "s3_private_bucket $arg_b; proxy_ssl_verify off;"
    with Nginx(
        tmp_path / "n",
        f"""location /aws/ {{ {bucket} s3_private_bucket_endpoint aws upstream=stub; }}
        location /url/ {{ {bucket} s3_private_bucket_endpoint https://s3express-use1-az4.us-east-1.amazonaws.com upstream=stub; }}""",
        f"upstream stub {{ server 127.0.0.1:{stub.port}; }} {KEYS}",
    ) as n:
        for name in ALIASES:
            assert n.get(f"/aws/k?b={name}").status == 404
            assert f'the bucket "{name}" is not at AWS\'s endpoint of its region' in n.error_log()
        assert stub.requests == []
        # As the SDK has it, where the endpoint is said.
        name = next(iter(ALIASES))
        assert n.get(f"/url/k?b={name}").status == 200
        assert stub.last().get("Host") == f"{name}.s3express-use1-az4.us-east-1.amazonaws.com"
        for name in ("abc-s3alias", "abc--ol-s3", "abc--table-s3", "x-s3", "mrap"):
            assert n.get(f"/aws/k?b={name}").status == 200
            assert stub.last().get("Host") == f"{name}.s3.us-east-1.amazonaws.com"
    stub.close()


# --- s3_private_bucket_set_arg -------------------------------------------------------------


@pytest.mark.parametrize("byte", ["%0d%0aX-Evil:1", "%0a", "%01", "%09", "%7f"])
def test_an_argument_has_no_control_byte(serve, origin, byte):
    """Some servers send response-* as headers, byte by byte; Ceph sends two status lines, and none to HEAD."""
    sets = """s3_private_bucket abc; s3_private_bucket_key k;
        s3_private_bucket_set_arg response-content-disposition 'attachment; filename="$1"';"""
    n = serve(f"""location ~ "(?s)^/m/(.*)$" {{ {sets} }}
        location ~ "(?s)^/u/(.*)$" {{ {sets} return 302 $s3_private_bucket_presigned_url; }}
        location /p/ {{ s3_private_bucket abc; s3_private_bucket_pass_args response-content-disposition; }}""")
    for target in ("/m/", "/u/", "/p/k?response-content-disposition="):
        r = n.get(f"{target}a{byte}b")
        assert (r.status, r.get("Location")) == (400, None)
    assert not origin.requests
    assert 'the value of the argument "response-content-disposition" has a control byte' in n.error_log()
    assert n.get("/m/\xc3\xbc").status == 200 and n.get("/u/a").status == 302
    assert origin.last().target == "/abc/k?response-content-disposition=attachment%3B%20filename%3D%22%C3%BC%22"


@pytest.mark.parametrize("name, value, why", [
    ("response-content-type", "'text/plain\nhush'", "its value has a control byte"),
    ("$arg_n", "hush", "a name has no variables"),
    ("abac", "hush", "with it S3 is asked for something else than the object"),
])  # fmt: skip
def test_arguments_that_cannot_be_set(check, name, value, why):
    lines = check("", f"s3_private_bucket_set_arg {name} {value};")
    assert f'"s3_private_bucket_set_arg" directive cannot set "{name}": {why}; remove it' in lines[0]
    assert "hush" not in "".join(lines)


def test_sub_resources_are_those_of_the_sdk(check):
    """Arguments without a value that make another request of one."""
    operations = Loader().load_service_model("s3", "service-2")["operations"]
    queries = {o["http"]["requestUri"].partition("?")[2] for o in operations.values()}
    words = {word for query in queries for word in query.split("&") if word and "=" not in word}
    assert len(words) > 30
    for word in sorted(words):
        assert check("", f"s3_private_bucket_set_arg {word} x;"), word


@pytest.mark.parametrize("setting, status", [
    ("set_arg response-content-type text/plain", 502),
    ("set_arg response-content-type $arg_t", 400),
    ("set_arg response-content-type $arg_none", 502),
    ("set_header x-amz-checksum-mode x", 502),
    ("set_header x-amz-checksum-mode $arg_t", 400),
    ("set_header x-amz-checksum-mode $arg_none", 502),
    ("set_arg a 1; s3_private_bucket_pass_args t", 400),
    ("set_arg a 1; s3_private_bucket_set_arg b ''; s3_private_bucket_pass_args c", 502),
])  # fmt: skip
def test_what_an_operator_adds_is_no_fault_of_clients(serve, origin, setting, status):
    """Of a 400, operators have to hear."""
    n = serve(f"location /m/ {{ s3_private_bucket abc; s3_private_bucket_{setting}; }}")
    origin.answer = lambda r: (400, [], b"<Error><Code>InvalidRequest</Code></Error>")
    assert n.get("/m/k?t=x").status == status
    level = {400: "[info]", 502: "[error]"}[status]
    assert any(level in line and "S3 answered 400 InvalidRequest" in line for line in n.error_log().splitlines())


# --- variables -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["header_0", "header_7", "headers"])
@pytest.mark.parametrize("sets", ["location /x/ {{ set ${} x; }}", "location /x/ {{ return 200 ${}; }}", "map $uri ${} {{ default x; }}"])
def test_nobody_sets_the_variables_of_headers(check, name, sets):
    """They would be sent in place of what is signed, and shared in the cache."""
    name = f"s3_private_bucket_{name}"
    place = sets.format(name)
    location = f"location / {{ s3_private_bucket abc; s3_private_bucket_set_header x-amz-a $uri; {KEYS} }}"
    server, http = (location + place, "") if "location" in place else (location, place)
    lines = check(f"resolver 127.0.0.1; {server}", http)
    assert f'"s3_private_bucket" keeps headers in the variable "${name}", which nothing else may use; remove it' in lines[0]


# --- what answers tell ---------------------------------------------------------------------

GOOGLE = [("Alt-Svc", 'h3=":443"; ma=2592000'), ("x-goog-hash", "crc32c=a"), ("X-GUploader-UploadID", "a")]


def test_headers_of_google_are_dropped(serve, origin):
    n = serve("""add_header Alt-Svc 'h3=":8443"';
        location /m/ { s3_private_bucket abc; }
        location /p/ { s3_private_bucket abc; s3_private_bucket_pass_headers alt-svc x-goog-*; }
        location /e/ { s3_private_bucket abc; s3_private_bucket_errors pass; }
        location /c/ { s3_private_bucket abc; proxy_cache z; proxy_cache_valid 200 1h; }""")
    origin.answer = lambda r: (404 if "/e" in r.target else 200, [*GOOGLE, ("Age", "7"), ("Accept-Ranges", "bytes")], b"x")
    names = {name.lower() for name, _ in GOOGLE}
    for target, status, seen in [
        # The site's own stays.
        ("/m/k", 200, [("alt-svc", 'h3=":8443"')]),
        ("/p/k", 200, [("alt-svc", GOOGLE[0][1]), ("alt-svc", 'h3=":8443"'), ("x-goog-hash", "crc32c=a")]),
        ("/e/e", 404, []),
        ("/c/k", 200, [("alt-svc", 'h3=":8443"')]),
        ("/c/k", 200, [("alt-svc", 'h3=":8443"')]),
    ]:
        r = n.get(target)
        assert r.status == status and r.get("Age") == "7"
        found = [(k.lower(), v) for k, v in r.headers if k.lower() in names]
        assert sorted(found) == sorted(seen), target


def test_what_a_server_says_of_its_own_host_is_dropped(serve, origin):
    """MinIO sends Strict-Transport-Security over TLS, with includeSubDomains."""
    told = [("Strict-Transport-Security", "max-age=1; includeSubDomains"), ("NEL", "{}"), ("Report-To", "{}"),
            ("Reporting-Endpoints", 'a="https://s3"'), ("Clear-Site-Data", '"cookies"')]  # fmt: skip
    n = serve("add_header Strict-Transport-Security max-age=2; location /m/ { s3_private_bucket abc; }")
    origin.answer = lambda r: (200, [*told, ("Content-Language", "de")], b"x")
    r = n.get("/m/k")
    names = {name.lower() for name, _ in told}
    assert [(k.lower(), v) for k, v in r.headers if k.lower() in names] == [("strict-transport-security", "max-age=2")]
    assert r.get("Content-Language") == "de"


# --- access points at AWS ------------------------------------------------------------------

ARN = "arn:aws:s3:eu-west-1:123456789012:accesspoint/reports"


@pytest.mark.parametrize("host", [
    "s3.eu-west-1.amazonaws.com", "s3-eu-west-1.amazonaws.com", "s3.dualstack.eu-west-1.amazonaws.com", "s3-accelerate.amazonaws.com",
    "bucket.vpce-1a2b-3c4d.s3.eu-west-1.vpce.amazonaws.com",
])  # fmt: skip
def test_access_points_are_not_at_the_endpoint_of_buckets(check, host):
    """Where "reports-123456789012" is a bucket, of whoever made it."""
    server = f"s3_private_bucket_endpoint https://{host}; location / {{ s3_private_bucket {ARN}; {KEYS} }}"
    (line,) = check(f"resolver 127.0.0.1; {server}")
    assert (f'"s3_private_bucket" has an access point, which is not at "{host}"; write "s3_private_bucket_endpoint aws", or the '
            'URL of an endpoint for access points in') in line  # fmt: skip


@pytest.mark.parametrize("host", [
    "s3-accesspoint.eu-west-1.amazonaws.com", "s3-accesspoint-fips.dualstack.eu-west-1.amazonaws.com",
    "accesspoint.vpce-1a2b-3c4d.s3.eu-west-1.vpce.amazonaws.com", "s3.example.com",
])  # fmt: skip
def test_access_points_are_at_their_endpoints(check, host):
    server = f"s3_private_bucket_endpoint https://{host}; location / {{ s3_private_bucket {ARN}; {KEYS} }}"
    assert check(f"resolver 127.0.0.1; {server}") == []


def test_endpoints_of_all_partitions_are_known_by_their_url(tmp_path, ca):
    """As AWS's: with the bucket in the host name, and a backslash in keys."""
    stub = Recorder(tls=make_cert(ca.parent, "stub", ["DNS:stub"]))
    hosts = [f"s3.region-1.{suffix}" for suffix in (
        "amazonaws.com", "amazonaws.com.cn", "amazonaws.eu", "c2s.ic.gov", "sc2s.sgov.gov", "cloud.adc-e.uk", "csp.hci.ic.gov")]
    hosts.append("s3.amazonaws.eu.example.com")
    locations = (f"""location /{i}/ {{
        s3_private_bucket abc; s3_private_bucket_endpoint https://{host} upstream=stub; proxy_ssl_verify off;
    }}""" for i, host in enumerate(hosts))  # fmt: skip
    with Nginx(tmp_path / "n", "".join(locations), f"upstream stub {{ server 127.0.0.1:{stub.port}; }} {KEYS}") as n:
        for i, host in enumerate(hosts[:-1]):
            assert n.get(f"/{i}/a%5Cb").status == 200
            assert (stub.last().get("Host"), stub.last().target) == (f"abc.{host}", "/a%5Cb")
        assert n.get("/7/a%5Cb").status == 400 and n.get("/7/a").status == 200
        assert (stub.last().get("Host"), stub.last().target) == (hosts[-1], "/abc/a")
    stub.close()


# --- in front of a real S3 server ----------------------------------------------------------


def test_objects_that_a_customers_key_decrypts(tmp_path, s3):
    """All three headers as the reference has them; the cache keeps what is decrypted for those who have the key."""
    key = b"0123456789abcdef0123456789abcdef"
    algorithm, encoded, md5 = "AES256", base64.b64encode(key).decode(), base64.b64encode(hashlib.md5(key).digest()).decode()
    headers = {f"{CUSTOMER}algorithm": algorithm, f"{CUSTOMER}key": encoded, f"{CUSTOMER}key-MD5": md5}
    s3.create_bucket("signed-example")
    writer = botocore.session.get_session().create_client(
        "s3", "us-east-1", endpoint_url=s3.url, aws_access_key_id=ACCESS_KEY, aws_secret_access_key=SECRET_KEY)  # fmt: skip
    writer.put_object(Bucket="signed-example", Key="sse-c.txt", Body=b"a secret object", SSECustomerKey=key,
                      SSECustomerAlgorithm=algorithm)  # fmt: skip
    sets = "".join(f"s3_private_bucket_set_header {name} {value};" for name, value in headers.items())
    of_clients = sets.replace(encoded, "$http_x_key").replace(md5, "$http_x_md5")
    cached = "s3_private_bucket signed-example; proxy_cache z; proxy_cache_valid 200 1h;"
    with Nginx(
        tmp_path / "n",
        f"location /m/ {{ {cached} {sets} }} location /c/ {{ {cached} {of_clients} }} location /none/ {{ {cached} }}",
        f"""s3_private_bucket_endpoint {s3.url}; proxy_cache_path {tmp_path}/cache keys_zone=z:1m;
            s3_private_bucket_auth sigv4 access_key_id={READER} secret_access_key=data:{READER_SECRET};""",
    ) as n:
        mine = {"X-Key": encoded, "X-Md5": md5}
        for _ in range(2):
            for target, sent, status in [("/m/", {}, 200), ("/c/", mine, 200), ("/c/", {}, 502), ("/none/", {}, 502),
                                         ("/c/", mine | {"X-Key": encoded[::-1]}, 400)]:  # fmt: skip
                r = n.get(f"{target}sse-c.txt", headers=sent)
                assert (r.status, b"a secret object" == r.body) == (status, status == 200), (target, sent)
            assert n.get("/m/sse-c.txt", headers={"Range": "bytes=2-7"}).body == b"secret"
        assert encoded not in n.error_log() + n.access_log()
        files = [f.read_bytes() for f in (tmp_path / "cache").rglob("*") if f.is_file()]
        assert len(files) == 2 and not any(encoded.encode() in f for f in files)
